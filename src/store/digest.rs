//! The sum by which replicas are compared (invariant 4): of everything of a shard that two replicas share at the same index, and so of
//! everything that a snapshot carries: keys, values in their exact encoding with the order of their elements, deadlines, limits. It does not
//! depend on where a keyspace keeps its keys. Marks of use and the forms of strings that no snapshot keeps are no part of it.
//!
//! DEBUG DIGEST answers another question, whether two servers have the same content whatever its history was: there the order of a set's
//! members does not count. Here it does, because SPOP and its like go by it.

use std::fmt;
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::rdb::put_record;
use super::{Limits, Timestamp, ValueRef};

/// A record's buffer is kept for the next one if it is not larger than this.
const BUFFER_BYTES_KEPT: usize = 64 << 10;

/// The sum of a shard's state, or of a part of it. Parts are joined in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    pub sum: u128,
    pub keys: u64,
}

/// As 40 hexadecimal digits, like those of DEBUG DIGEST.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:040x}", self.sum)
    }
}

impl Digest {
    /// Of a shard without keys.
    pub(super) fn of_limits(limits: &Limits) -> Self {
        let numbers = limits.to_numbers();
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        Self {
            sum: sum_of(&bytes, b'l'),
            keys: 0,
        }
    }

    pub fn join(&mut self, other: Self) {
        self.sum = self.sum.wrapping_add(other.sum);
        self.keys += other.keys;
    }
}

/// Adds keys up.
#[derive(Default)]
pub(super) struct Summing {
    /// Of the keys since the last [`Summing::take`].
    digest: Digest,
    /// Bytes of their records.
    bytes: usize,
    record: Vec<u8>,
}

impl Summing {
    /// An [`Encode`](super::Encode) that keeps no more than a sum.
    pub fn add(
        &mut self,
        database: u16,
        key: &[u8],
        deadline: Option<Timestamp>,
        value: ValueRef<'_>,
    ) {
        self.record.clear();
        put_record(database, key, deadline, value, &mut self.record);
        self.digest.join(Digest {
            sum: sum_of(&self.record, b'k'),
            keys: 1,
        });
        self.bytes += self.record.len();
        if self.record.capacity() > BUFFER_BYTES_KEPT {
            self.record = Vec::new();
        }
    }

    /// Bytes added since the last [`Summing::take`].
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What was added since the last time.
    pub fn take(&mut self) -> Digest {
        self.bytes = 0;
        std::mem::take(&mut self.digest)
    }
}

fn sum_of(bytes: &[u8], kind: u8) -> u128 {
    // The key is fixed: digests of different nodes are compared.
    let mut hasher = SipHasher13::new_with_keys(0x7269_6e67_666f_7274, u64::from(kind));
    hasher.write(bytes);
    hasher.finish128().as_u128()
}
