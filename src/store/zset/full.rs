//! The big form of a sorted set: members by hash in a table, their order in a tree. Knows no limits.

use super::bounds::compare;
use super::tree::{self, Entry, Seek, Tree};
use crate::store::member_table::MemberTable;
use std::cmp::Ordering;
use std::ops::Range;

/// Table and tree hold the same members; the tree's ids are the table's indexes.
#[derive(Clone)]
pub(super) struct Full {
    table: MemberTable<f64>,
    tree: Tree,
}

impl Full {
    pub fn with_capacity(members: usize) -> Self {
        Self {
            table: MemberTable::with_capacity(members),
            tree: Tree::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn heap_bytes(&self) -> usize {
        self.table.heap_bytes() + self.tree.heap_bytes()
    }

    pub fn find(&self, member: &[u8]) -> Option<usize> {
        self.table.find(member)
    }

    /// The member and score at a table index.
    pub fn at(&self, index: usize) -> (&[u8], f64) {
        let (member, score) = self.table.at(index);
        (member, *score)
    }

    /// Adds a member that is not there yet; false when it is.
    pub fn insert(&mut self, member: &[u8], score: f64) -> bool {
        let Ok(index) = self.table.insert(member, score) else {
            return false;
        };
        let id = index as u32;
        self.tree
            .insert(Entry { score, id }, seek(&self.table, score, member));
        true
    }

    /// Gives the member at `index` another score.
    pub fn rescore(&mut self, index: usize, score: f64) {
        let (member, old) = self.table.at(index);
        let found = self.tree.remove(seek(&self.table, *old, member));
        assert!(found, "table and tree hold the same members");
        let id = index as u32;
        self.tree
            .insert(Entry { score, id }, seek(&self.table, score, member));
        *self.table.value_mut(index) = score;
    }

    /// Takes out the member at `index`; the table's last member moves there.
    pub fn remove(&mut self, index: usize) -> (Box<[u8]>, f64) {
        let (member, score) = self.table.at(index);
        let found = self.tree.remove(seek(&self.table, *score, member));
        assert!(found, "table and tree hold the same members");
        let last = self.table.len() - 1;
        if index != last {
            let (member, score) = self.table.at(last);
            self.tree
                .renumber(index as u32, seek(&self.table, *score, member));
        }
        self.table.swap_remove(index)
    }

    /// The table index of the member at `rank`, which must be below [`Full::len`].
    pub fn index_at(&self, rank: usize) -> usize {
        self.tree.at(rank).id as usize
    }

    pub fn rank_of(&self, index: usize) -> usize {
        let (member, score) = self.table.at(index);
        let seek = seek(&self.table, *score, member);
        self.tree.rank(|entry| seek(entry) == Ordering::Less)
    }

    /// How many members come first for which `before` holds, by score.
    pub fn count_scores(&self, before: impl Fn(f64) -> bool) -> usize {
        self.tree.rank(|entry| before(entry.score))
    }

    /// How many members come first for which `before` holds, by member.
    pub fn count_members(&self, before: impl Fn(&[u8]) -> bool) -> usize {
        self.tree
            .rank(|entry| before(self.table.at(entry.id as usize).0))
    }

    /// Members and scores in order of rank.
    pub fn pairs(&self, ranks: Range<usize>) -> FullPairs<'_> {
        FullPairs {
            table: &self.table,
            entries: self.tree.range(ranks.start, ranks.end),
        }
    }

    /// Members and scores in table order.
    pub fn as_slice(&self) -> &[(Box<[u8]>, f64)] {
        self.table.as_slice()
    }

    /// Builds the table in the given order, and the tree with full leaves. None when a member comes twice
    /// or a score is NaN.
    pub fn from_members<'a>(members: impl Iterator<Item = (&'a [u8], f64)>) -> Option<Self> {
        let mut table = MemberTable::with_capacity(members.size_hint().0.min(PRESIZED_MEMBERS_MAX));
        for (member, score) in members {
            if score.is_nan() || table.insert(member, score).is_err() {
                return None;
            }
        }
        let mut ids: Vec<u32> = (0..table.len() as u32).collect();
        let key = |id: u32| {
            let (member, score) = table.at(id as usize);
            (*score, member)
        };
        ids.sort_unstable_by(|&a, &b| compare(key(a), key(b)));
        let mut tree = Tree::new();
        for id in ids {
            // All that are there come before: no comparison needed.
            let (score, _) = key(id);
            tree.insert(Entry { score, id }, |_| Ordering::Less);
        }
        Some(Self { table, tree })
    }

    /// Shows about `count` members; see [`MemberTable::scan`].
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        mut show: impl FnMut(&'a [u8], f64),
    ) -> u64 {
        self.table
            .scan(cursor, count, |member, score| show(member, *score))
    }

    #[cfg(test)]
    pub fn recount_bytes(&self) -> usize {
        self.tree.check();
        self.table.recount_bytes() + self.tree.heap_bytes()
    }
}

/// A size hint from outside may be a lie; up to here it is believed.
const PRESIZED_MEMBERS_MAX: usize = 1 << 16;

/// Members and scores by rank, from both ends.
#[derive(Clone)]
pub(super) struct FullPairs<'a> {
    table: &'a MemberTable<f64>,
    entries: tree::Range<'a>,
}

impl<'a> FullPairs<'a> {
    fn member(&self, entry: Entry) -> (&'a [u8], f64) {
        (self.table.at(entry.id as usize).0, entry.score)
    }
}

impl<'a> Iterator for FullPairs<'a> {
    type Item = (&'a [u8], f64);

    fn next(&mut self) -> Option<Self::Item> {
        self.entries.next().map(|entry| self.member(entry))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl DoubleEndedIterator for FullPairs<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.entries.next_back().map(|entry| self.member(entry))
    }
}

/// Where (`score`, `member`) stands among the entries of the tree.
fn seek<'a>(table: &'a MemberTable<f64>, score: f64, member: &'a [u8]) -> impl Seek + 'a {
    move |entry: Entry| match entry.score.partial_cmp(&score) {
        // The entry's member lies elsewhere in memory: fetched only where scores do not decide.
        Some(Ordering::Equal) | None => table.at(entry.id as usize).0.cmp(member),
        Some(unequal) => unequal,
    }
}
