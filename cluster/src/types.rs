//! The small numbers of replication, each with a type of its own, so that they cannot be swapped.
//! Knows nothing of what they number.

use serde::{Deserialize, Serialize};

/// Declares a number that counts upwards, with its display and the helpers that all of them share.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            bincode::Encode, bincode::Decode,
        )]
        pub struct $name(pub $int);

        impl $name {
            /// The first of them all; often it stands for "none yet".
            pub const ZERO: Self = Self(0);

            /// The bare number, for arithmetic and for files.
            #[must_use]
            pub const fn get(self) -> $int {
                self.0
            }

            /// The one that follows. Stays at the type's maximum, which nothing here ever reaches.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// The one before, or zero.
            #[must_use]
            pub const fn previous(self) -> Self {
                Self(self.0.saturating_sub(1))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$int> for $name {
            fn from(number: $int) -> Self {
                Self(number)
            }
        }
    };
}

number!(
    /// One Raft group, which owns a contiguous range of slots.
    ShardId(u16)
);
number!(
    /// One of the 16,384 key buckets of Redis Cluster.
    Slot(u16)
);
number!(
    /// A term of Raft. It never goes backwards.
    Term(u64)
);
number!(
    /// A place in the log of a shard. The first entry has 1; 0 is the place before it.
    Index(u64)
);
number!(
    /// A node's copy of a shard. Never reused (invariant 7), never 0.
    ReplicaId(u64)
);
number!(
    /// A version of the topology.
    Epoch(u64)
);

number!(
    /// Microseconds on a node's own monotonic clock, one that also counts while the machine sleeps
    /// (`CLOCK_BOOTTIME`). Means nothing to any other node, nor after a restart of this one.
    Monotonic(u64)
);

impl Monotonic {
    /// The moment that many microseconds later.
    #[must_use]
    pub const fn plus_us(self, us: u64) -> Self {
        Self(self.0.saturating_add(us))
    }

    /// Microseconds from an earlier moment to this one; 0 when that one is later.
    #[must_use]
    pub const fn since_us(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl ShardId {
    /// The shard's number as an offset into a table of all shards.
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl Slot {
    /// The slot's number as an offset into a table of all slots.
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_order_count_and_print_as_numbers() {
        assert!(Index(9) < Index(10));
        assert_eq!(Index(9).next(), Index(10));
        assert_eq!(Index::ZERO.previous(), Index::ZERO);
        assert_eq!(format!("{:>4}|{}", Term(7), ShardId(63)), "   7|63");
        assert_eq!(Slot(16_383).as_usize(), 16_383);
    }

    #[test]
    fn the_last_number_has_itself_as_next() {
        assert_eq!(Epoch(u64::MAX).next(), Epoch(u64::MAX));
        assert_eq!(ShardId(u16::MAX).next(), ShardId(u16::MAX));
    }
}
