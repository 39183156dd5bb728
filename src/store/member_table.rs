//! Byte strings with a value each, found by hash or by index: what full sets and sorted sets stand on.
//! Knows nothing of types or encodings.
//!
//! Members lie densely in the order of their arrival; a removal moves the last one into the gap. So the
//! order, and with it every random pick and every scan, is a function of the operation history alone
//! (invariant 4): a copy that takes the members in order behaves alike. The hash decides nothing
//! that anyone can see.
//!
//! Memory: 16 bytes a member plus its value and its own bytes, and 9 bytes a bucket of the index, which
//! is filled between 7/16 and 7/8.

use super::memory::allocation_bytes;
use super::sip::{hash_key, HashSeed};
use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

/// Below this capacity a table never gives memory back.
const SHRINK_CAPACITY_MIN: usize = 64;

/// Members are numbered with `u32`: the memory they take ends a node long before.
const MEMBERS_MAX: usize = u32::MAX as usize;

/// See the module's text.
#[derive(Clone)]
pub(super) struct MemberTable<V> {
    members: Vec<(Box<[u8]>, V)>,
    /// Which index a hash stands for; 32 bits of the hash are kept to grow without rehashing members.
    index: HashTable<Slot>,
    /// Bytes that the allocator holds for all the boxes.
    boxes_bytes: usize,
}

#[derive(Clone, Copy)]
struct Slot {
    hash: u32,
    index: u32,
}

impl Slot {
    /// The 32 bits twice: the table takes its buckets from the low end and its tags from the high end.
    fn spread(&self) -> u64 {
        spread(self.hash)
    }
}

fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

impl<V> Default for MemberTable<V> {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl<V> MemberTable<V> {
    pub fn with_capacity(members: usize) -> Self {
        Self {
            members: Vec::with_capacity(members),
            index: HashTable::with_capacity(members),
            boxes_bytes: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// The member at `index` and its value; panics when `index` is not below [`MemberTable::len`].
    pub fn at(&self, index: usize) -> (&[u8], &V) {
        let (member, value) = &self.members[index];
        (member, value)
    }

    pub fn value_mut(&mut self, index: usize) -> &mut V {
        &mut self.members[index].1
    }

    pub fn find(&self, member: &[u8]) -> Option<usize> {
        self.find_hashed(hash_of(member), member)
    }

    fn find_hashed(&self, hash: u32, member: &[u8]) -> Option<usize> {
        self.index
            .find(spread(hash), |slot| {
                slot.hash == hash && *self.members[slot.index as usize].0 == *member
            })
            .map(|slot| slot.index as usize)
    }

    /// Appends a member that is not there yet and answers its index; else `Err` with the one it has.
    pub fn insert(&mut self, member: &[u8], value: V) -> Result<usize, usize> {
        let hash = hash_of(member);
        if let Some(index) = self.find_hashed(hash, member) {
            return Err(index);
        }
        let index = self.members.len();
        assert!(index < MEMBERS_MAX, "more members than a u32 can number");
        self.index.insert_unique(
            spread(hash),
            Slot {
                hash,
                index: index as u32,
            },
            Slot::spread,
        );
        if index == self.members.capacity() {
            // Half as much again, not twice: the slack of a big table is memory that no one uses.
            self.members.reserve_exact((index / 2).max(4));
        }
        self.boxes_bytes += allocation_bytes(member.len());
        self.members.push((member.into(), value));
        Ok(index)
    }

    /// Takes out the member at `index`; the last one moves there.
    pub fn swap_remove(&mut self, index: usize) -> (Box<[u8]>, V) {
        let last = self.members.len() - 1;
        let hash = hash_of(&self.members[index].0);
        self.index
            .find_entry(spread(hash), |slot| slot.index as usize == index)
            .unwrap_or_else(|_| unreachable!("every member is in the index"))
            .remove();
        if index != last {
            let moved = hash_of(&self.members[last].0);
            self.index
                .find_mut(spread(moved), |slot| slot.index as usize == last)
                .unwrap_or_else(|| unreachable!("every member is in the index"))
                .index = index as u32;
        }
        let removed = self.members.swap_remove(index);
        self.boxes_bytes -= allocation_bytes(removed.0.len());
        self.shrink_when_sparse();
        removed
    }

    fn shrink_when_sparse(&mut self) {
        let capacity = self.members.capacity();
        if capacity > SHRINK_CAPACITY_MIN && self.members.len() < capacity / 8 {
            let keep = self.members.len() * 2;
            self.members.shrink_to(keep);
            self.index.shrink_to(keep, Slot::spread);
        }
    }

    /// Members and values in index order.
    pub fn as_slice(&self) -> &[(Box<[u8]>, V)] {
        &self.members
    }

    /// Shows about `count` members and answers the cursor to go on from; 0 begins and 0 ends a walk.
    ///
    /// The walk goes downwards: a cursor is the number of members still to visit, those with the lowest
    /// indexes. A removal moves only the last member, and only to a lower index: from the part
    /// already seen, or within the part to come. So whoever stays all the time is seen.
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        mut show: impl FnMut(&'a [u8], &'a V),
    ) -> u64 {
        let len = self.members.len();
        let end = match usize::try_from(cursor) {
            Ok(cursor) if cursor > 0 => cursor.min(len),
            _ => len,
        };
        let start = end.saturating_sub(count.max(1));
        for (member, value) in self.members[start..end].iter().rev() {
            show(member, value);
        }
        start as u64
    }

    /// Bytes that the allocator holds for this table.
    pub fn heap_bytes(&self) -> usize {
        allocation_bytes(self.members.capacity() * size_of::<(Box<[u8]>, V)>())
            + allocation_bytes(self.index.allocation_size())
            + self.boxes_bytes
    }

    /// What [`MemberTable::heap_bytes`] must answer, counted anew.
    #[cfg(test)]
    pub fn recount_bytes(&self) -> usize {
        let boxes: usize = self
            .members
            .iter()
            .map(|(member, _)| allocation_bytes(member.len()))
            .sum();
        self.heap_bytes() - self.boxes_bytes + boxes
    }
}

/// Keyed, so that no client can choose members that collide. The key differs from process to process:
/// nothing that leaves the table depends on it, so replicas agree nevertheless (invariant 2).
fn hash_of(member: &[u8]) -> u32 {
    static KEY: OnceLock<HashSeed> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        let keys = RandomState::new();
        (keys.hash_one(0), keys.hash_one(1))
    });
    hash_key(*key, member) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn numbered(members: std::ops::Range<u32>) -> MemberTable<u32> {
        let mut table = MemberTable::with_capacity(0);
        for n in members {
            table.insert(n.to_string().as_bytes(), n).unwrap();
        }
        table
    }

    #[test]
    fn the_last_member_fills_a_gap() {
        let mut table = numbered(0..5);
        assert_eq!(table.swap_remove(1), (Box::from(*b"1"), 1));
        let order: Vec<u32> = table.as_slice().iter().map(|(_, n)| *n).collect();
        assert_eq!(order, [0, 4, 2, 3]);
        assert_eq!(table.find(b"4"), Some(1));
        assert_eq!(table.find(b"1"), None);
        assert_eq!(table.insert(b"3", 9), Err(3));
    }

    #[test]
    fn a_scan_shows_whoever_stays_while_others_come_and_go() {
        let mut table = numbered(0..1000);
        let mut seen = HashSet::new();
        let (mut cursor, mut turn) = (0, 0u32);
        loop {
            cursor = table.scan(cursor, 7, |_, n| {
                seen.insert(*n);
            });
            if cursor == 0 {
                break;
            }
            // Odd members leave from both ends and the middle, newcomers arrive.
            for victim in [turn * 2 + 1, 999 - turn * 2, 501 + turn * 2] {
                if let Some(index) = table.find(victim.to_string().as_bytes()) {
                    table.swap_remove(index);
                }
            }
            let newcomer = 5000 + turn;
            table
                .insert(newcomer.to_string().as_bytes(), newcomer)
                .unwrap();
            turn += 1;
        }
        assert!((0..1000).step_by(2).all(|even| seen.contains(&even)));
    }

    #[test]
    fn memory_returns_after_most_members_left() {
        let mut table = numbered(0..100_000);
        let full = table.heap_bytes();
        while table.len() > 10 {
            table.swap_remove(table.len() / 2);
        }
        assert!(table.heap_bytes() < full / 100);
        assert_eq!(table.heap_bytes(), table.recount_bytes());
        let found = |(member, _): &(Box<[u8]>, u32)| table.find(member).is_some();
        assert!(table.as_slice().iter().all(found));
    }
}
