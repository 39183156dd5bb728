//! Small types that every part of the store shares.

/// Milliseconds since the Unix epoch, as read from an entry's stamp or, for reads, from the node's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

/// Pseudo-random numbers that every replica draws alike: seeded from an entry's stamp.
///
/// The generator is SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, without modulo bias worth speaking of; `bound` must not be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }
}

/// When compact encodings give way to full ones, and how long a string may get: Redis' settings of the same
/// names. They change by log entries only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub hash_max_listpack_entries: u32,
    pub hash_max_listpack_value: u32,
    /// Positive: entries a list node; negative: -1 to -5 for 4, 8, 16, 32, 64 KiB a node.
    pub list_max_listpack_size: i32,
    pub set_max_intset_entries: u32,
    pub set_max_listpack_entries: u32,
    pub set_max_listpack_value: u32,
    pub zset_max_listpack_entries: u32,
    pub zset_max_listpack_value: u32,
    /// Longest string that a command may build (`proto-max-bulk-len`): part of the data's rules, since
    /// replicas must agree on which APPEND is refused.
    pub bulk_len_max: u64,
}

impl Limits {
    /// In a fixed order, for log entries and snapshots.
    pub fn to_numbers(self) -> [i64; 9] {
        [
            i64::from(self.hash_max_listpack_entries),
            i64::from(self.hash_max_listpack_value),
            i64::from(self.list_max_listpack_size),
            i64::from(self.set_max_intset_entries),
            i64::from(self.set_max_listpack_entries),
            i64::from(self.set_max_listpack_value),
            i64::from(self.zset_max_listpack_entries),
            i64::from(self.zset_max_listpack_value),
            self.bulk_len_max as i64,
        ]
    }

    /// The reverse of [`Limits::to_numbers`].
    pub fn from_numbers(numbers: [i64; 9]) -> Self {
        Self {
            hash_max_listpack_entries: numbers[0] as u32,
            hash_max_listpack_value: numbers[1] as u32,
            list_max_listpack_size: numbers[2] as i32,
            set_max_intset_entries: numbers[3] as u32,
            set_max_listpack_entries: numbers[4] as u32,
            set_max_listpack_value: numbers[5] as u32,
            zset_max_listpack_entries: numbers[6] as u32,
            zset_max_listpack_value: numbers[7] as u32,
            bulk_len_max: numbers[8] as u64,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hash_max_listpack_entries: 128,
            hash_max_listpack_value: 64,
            list_max_listpack_size: -2,
            set_max_intset_entries: 512,
            set_max_listpack_entries: 128,
            set_max_listpack_value: 64,
            zset_max_listpack_entries: 128,
            zset_max_listpack_value: 64,
            bulk_len_max: 512 << 20,
        }
    }
}

/// The key exists and holds another type than the command works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongType;
