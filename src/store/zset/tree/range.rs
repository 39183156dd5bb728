//! Walks a stretch of the tree from both ends. A walk descends once a leaf, not once an entry.

use super::{node::Leaf, Entry, Tree};
use std::iter::FusedIterator;

/// The entries between two ranks, in order.
#[derive(Clone)]
pub(in crate::store::zset) struct Range<'a> {
    tree: &'a Tree,
    start: usize,
    end: usize,
    /// The leaf that holds `start`, and where in it.
    front: Option<(&'a Leaf, usize)>,
    /// The leaf that holds `end - 1`, and where in it.
    back: Option<(&'a Leaf, usize)>,
}

impl<'a> Range<'a> {
    pub(super) fn new(tree: &'a Tree, start: usize, end: usize) -> Self {
        Self {
            tree,
            start,
            end,
            front: None,
            back: None,
        }
    }
}

impl Iterator for Range<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if self.start == self.end {
            return None;
        }
        let (leaf, at) = match self.front {
            Some((leaf, at)) if at < leaf.len() => (leaf, at),
            _ => self.tree.leaf_at(self.start),
        };
        self.front = Some((leaf, at + 1));
        self.start += 1;
        Some(leaf.get(at))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end - self.start;
        (left, Some(left))
    }

    fn nth(&mut self, n: usize) -> Option<Entry> {
        self.start = self.end.min(self.start.saturating_add(n));
        self.front = None;
        self.next()
    }
}

impl DoubleEndedIterator for Range<'_> {
    fn next_back(&mut self) -> Option<Entry> {
        if self.start == self.end {
            return None;
        }
        self.end -= 1;
        let (leaf, at) = match self.back {
            Some((leaf, at)) if at > 0 => (leaf, at - 1),
            _ => self.tree.leaf_at(self.end),
        };
        self.back = Some((leaf, at));
        Some(leaf.get(at))
    }

    fn nth_back(&mut self, n: usize) -> Option<Entry> {
        self.end = self.start.max(self.end.saturating_sub(n));
        self.back = None;
        self.next_back()
    }
}

impl ExactSizeIterator for Range<'_> {}
impl FusedIterator for Range<'_> {}
