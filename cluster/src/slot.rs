//! From a key to its slot and from a slot to its shard. Pure arithmetic: knows nothing of who holds a shard.
//!
//! Slots are those of Redis Cluster: CRC16 in its XMODEM form (polynomial 0x1021, start 0, not reflected)
//! of the key, or of its hash tag, modulo 16,384.

use crate::crc16::crc16;
use crate::types::{ShardId, Slot};
use std::ops::RangeInclusive;

/// How many slots there are, as in Redis Cluster.
pub const SLOTS: u16 = 16_384;

/// The part of a key that decides its slot: what stands between the first `{` and the first `}` after
/// it, when that is not empty; else the whole key.
#[must_use]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    if !may_hold_brace(key) {
        return key;
    }
    let Some(open) = key.iter().position(|&byte| byte == b'{') else {
        return key;
    };
    let inner = &key[open + 1..];
    match inner.iter().position(|&byte| byte == b'}') {
        None | Some(0) => key,
        Some(close) => &inner[..close],
    }
}

/// Whether there is a `{`, eight bytes at a time: nearly no key has one, and this is asked of every key.
#[inline]
fn may_hold_brace(key: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    let mut found = 0;
    let mut chunks = key.chunks_exact(8);
    for chunk in &mut chunks {
        // A byte that is zero after the XOR is a brace; only such a byte borrows into its high bit.
        let word =
            u64::from_le_bytes(chunk.try_into().expect("eight bytes")) ^ (ONES * b'{' as u64);
        found |= word.wrapping_sub(ONES) & !word & HIGHS;
    }
    found != 0 || chunks.remainder().contains(&b'{')
}

/// The slot of a key.
#[inline]
#[must_use]
pub fn slot_of(key: &[u8]) -> Slot {
    Slot(crc16(hash_tag(key)) % SLOTS)
}

/// Which shard owns which slots: contiguous ranges of nearly equal length. Fixed for the life of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardMap {
    shards: u16,
}

/// A number of shards that no cluster can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} shards: there must be at least 1 and at most 16384")]
pub struct ShardCountError(pub u32);

impl ShardMap {
    /// A map over `shards` shards, from 1 to 16,384.
    ///
    /// # Errors
    /// When the number is outside that range.
    pub fn new(shards: u32) -> Result<Self, ShardCountError> {
        match u16::try_from(shards) {
            Ok(count) if (1..=SLOTS).contains(&count) => Ok(Self { shards: count }),
            _ => Err(ShardCountError(shards)),
        }
    }

    /// How many shards there are.
    #[must_use]
    pub const fn shards(self) -> u16 {
        self.shards
    }

    /// The shard that owns a slot.
    #[inline]
    #[must_use]
    pub const fn shard_of(self, slot: Slot) -> ShardId {
        ShardId(((slot.0 as u32 * self.shards as u32) / SLOTS as u32) as u16)
    }

    /// The shard that owns a key.
    #[inline]
    #[must_use]
    pub fn shard_of_key(self, key: &[u8]) -> ShardId {
        self.shard_of(slot_of(key))
    }

    /// The slots of a shard, first and last included; `None` when there is no such shard.
    #[must_use]
    pub fn range(self, shard: ShardId) -> Option<RangeInclusive<u16>> {
        if shard.0 >= self.shards {
            return None;
        }
        // The first slot whose shard, rounded down, is this one: hence rounded up here.
        let first = |shard: u32| (shard * u32::from(SLOTS)).div_ceil(u32::from(self.shards)) as u16;
        Some(first(u32::from(shard.0))..=first(u32::from(shard.0) + 1) - 1)
    }

    /// All shards in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = ShardId> {
        (0..self.shards).map(ShardId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(slot_of(b"foo"), Slot(12182));
        assert_eq!(slot_of(b"bar"), Slot(5061));
        assert_eq!(slot_of(b"hello"), Slot(866));
        assert_eq!(slot_of(b""), Slot(0));
    }

    #[test]
    fn only_the_first_complete_tag_counts() {
        assert_eq!(hash_tag(b"{user1000}.following"), b"user1000");
        assert_eq!(hash_tag(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(hash_tag(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(hash_tag(b"foo{bar}{zap}"), b"bar");
        assert_eq!(hash_tag(b"foo{bar"), b"foo{bar");
        assert_eq!(hash_tag(b"}foo{a}"), b"a");
    }

    #[test]
    fn impossible_shard_counts_are_refused() {
        for count in [0, 16_385, 65_536 + 64] {
            assert_eq!(ShardMap::new(count), Err(ShardCountError(count)));
        }
    }

    #[test]
    fn every_slot_has_exactly_the_shard_whose_range_holds_it() {
        for count in [1u32, 2, 3, 7, 64, 100, 1000, 16_383, 16_384] {
            let map = ShardMap::new(count).unwrap();
            let mut next = 0u32;
            for shard in map.iter() {
                let range = map.range(shard).unwrap();
                assert_eq!(u32::from(*range.start()), next, "{count} shards, {shard}");
                for slot in range.clone() {
                    assert_eq!(map.shard_of(Slot(slot)), shard);
                }
                let (small, length) = (16_384 / count, range.len() as u32);
                assert!(length == small || length == small + 1);
                next = u32::from(*range.end()) + 1;
            }
            assert_eq!(next, 16_384);
            assert_eq!(map.range(ShardId(map.shards())), None);
        }
    }

    proptest! {
        #[test]
        fn keys_with_one_tag_share_a_slot(tag in "[a-z]{1,9}", a in "[a-z]{0,9}", b in "[a-z]{0,9}") {
            prop_assert_eq!(
                slot_of(format!("{a}{{{tag}}}{b}").as_bytes()),
                slot_of(tag.as_bytes())
            );
        }
    }
}
