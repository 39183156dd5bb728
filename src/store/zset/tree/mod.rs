//! The order of a sorted set: a counted B+ tree of (score, member id). Members themselves stay in the
//! table beside it; the tree asks for them, through the caller's `seek`, only where scores are equal.
//! Knows no commands and no encodings.
//!
//! Leaves hold scores and ids in two arrays, 12 bytes an entry, and fill one allocation of 768 bytes.
//! Inner nodes hold, for each child, its first entry and the number of entries below it: so rank, select and
//! the bounds of a range are one descent each. Every leaf has the same depth.

mod node;
mod range;
#[cfg(test)]
mod tests;

use crate::store::memory::allocation_bytes;
use node::{Child, Leaf, Node, NodeCount};
pub(super) use range::Range;
use std::cmp::Ordering;

/// One entry as the tree holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Entry {
    pub score: f64,
    pub id: u32,
}

/// How an entry of the tree stands to the one that is sought.
pub(super) trait Seek: Fn(Entry) -> Ordering {}
impl<F: Fn(Entry) -> Ordering> Seek for F {}

/// See the module's text.
#[derive(Clone)]
pub(super) struct Tree {
    root: Node,
    len: usize,
    nodes: NodeCount,
}

impl Tree {
    pub fn new() -> Self {
        let mut nodes = NodeCount::default();
        Self {
            root: Node::Leaf(nodes.new_leaf()),
            len: 0,
            nodes,
        }
    }

    /// Puts `entry` where `seek` says it belongs; an equal one must not be there.
    pub fn insert(&mut self, entry: Entry, seek: impl Seek) {
        self.len += 1;
        if let Some(sibling) = self.root.insert(entry, &seek, &mut self.nodes) {
            let root = Node::Inner(self.nodes.new_inner());
            let lower = std::mem::replace(&mut self.root, root);
            self.root.adopt(Child::of(lower));
            self.root.adopt(sibling);
        }
    }

    /// Takes out the entry that `seek` calls equal; false when there is none.
    pub fn remove(&mut self, seek: impl Seek) -> bool {
        if !self.root.remove(&seek, &mut self.nodes) {
            return false;
        }
        self.len -= 1;
        while let Some(only) = self.root.take_only_child() {
            self.root = only;
            self.nodes.inners -= 1;
        }
        if self.len == 0 {
            *self = Self::new();
        }
        true
    }

    /// The member of the entry that `seek` calls equal is called `id` from now on. The entry must be there.
    pub fn renumber(&mut self, id: u32, seek: impl Seek) {
        self.root.renumber(id, &seek);
    }

    /// How many entries come before the first for which `before` is false; `before` must hold for a prefix.
    pub fn rank(&self, before: impl Fn(Entry) -> bool) -> usize {
        self.root.rank(&before)
    }

    /// The entry at `rank`; panics when there are not so many.
    pub fn at(&self, rank: usize) -> Entry {
        let (leaf, at) = self.leaf_at(rank);
        leaf.get(at)
    }

    /// The entries with ranks from `start` up to but without `end`, from both ends.
    pub fn range(&self, start: usize, end: usize) -> Range<'_> {
        let end = end.min(self.len);
        Range::new(self, start.min(end), end)
    }

    /// Bytes that the allocator holds for all nodes.
    pub fn heap_bytes(&self) -> usize {
        self.nodes.leaves * allocation_bytes(size_of::<Leaf>())
            + self.nodes.inners * allocation_bytes(node::INNER_CHILDREN * size_of::<Child>())
    }

    fn leaf_at(&self, rank: usize) -> (&Leaf, usize) {
        assert!(rank < self.len, "rank {rank} of {}", self.len);
        self.root.leaf_at(rank)
    }
}
