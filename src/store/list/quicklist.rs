//! A chain of nodes: listpacks of bounded size, with elements too big for one in plain nodes of their
//! own. Keeps its length and memory as running sums. Knows nothing of when a list becomes one.

use super::super::listpack::{self, Element, Listpack, Needle, ELEMENT_OVERHEAD_MAX};
use super::super::memory::allocation_bytes;
use super::node::{Node, NodeIter, NodeLimit, NodeRef, OwnedNode, ELEMENT_OVERHEAD_ESTIMATE};
use super::Side;
use std::collections::{vec_deque, VecDeque};

/// Header and end of one of two listpacks fall away when they are merged.
const MERGE_SAVES: usize = 7;

/// The chain. No node in it is empty.
#[derive(Default)]
pub struct Quicklist {
    nodes: VecDeque<Node>,
    len: usize,
    /// Sum of the nodes' own allocations.
    nodes_heap_bytes: usize,
}

impl Clone for Quicklist {
    fn clone(&self) -> Self {
        let mut copy = Self::default();
        copy.nodes.reserve_exact(self.nodes.len());
        self.nodes
            .iter()
            .for_each(|node| copy.add(copy.nodes.len(), node.clone()));
        copy
    }
}

impl Quicklist {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn heap_bytes(&self) -> usize {
        allocation_bytes(self.nodes.capacity() * std::mem::size_of::<Node>())
            + self.nodes_heap_bytes
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeRef<'_>> {
        self.nodes.iter().map(|node| match node {
            Node::Packed(listpack, _) => NodeRef::Packed(listpack),
            Node::Plain(bytes) => NodeRef::Plain(bytes),
        })
    }

    pub(super) fn push_node(&mut self, node: OwnedNode) {
        let node = match node {
            OwnedNode::Packed(listpack) => {
                let count = listpack.len() as u32;
                Node::Packed(listpack, count)
            }
            OwnedNode::Plain(bytes) => Node::Plain(bytes),
        };
        if node.count() > 0 {
            self.add(self.nodes.len(), node);
        }
    }

    /// The only node as a listpack, where `fits` lets it be one: it is then no longer here.
    pub(super) fn take_as_listpack(
        &mut self,
        fits: impl Fn(usize, usize) -> bool,
    ) -> Option<Listpack> {
        if self.nodes.len() != 1 {
            return None;
        }
        let bytes = match &self.nodes[0] {
            Node::Packed(listpack, _) => listpack.bytes(),
            Node::Plain(bytes) => bytes.len() + ELEMENT_OVERHEAD_MAX + MERGE_SAVES,
        };
        if !fits(bytes, self.len) || bytes > listpack::LISTPACK_BYTES_MAX {
            return None;
        }
        Some(match self.take(0) {
            Node::Packed(listpack, _) => listpack,
            Node::Plain(bytes) => std::iter::once(&*bytes).collect(),
        })
    }

    pub(super) fn push(&mut self, side: Side, value: &[u8], limit: NodeLimit) {
        let (index, end) = match side {
            Side::Head => (0, 0),
            Side::Tail => (self.nodes.len().saturating_sub(1), self.nodes.len()),
        };
        match self.nodes.get(index) {
            Some(node) if node.admits(value, limit) => self.change(index, |node| {
                if let Node::Packed(listpack, count) = node {
                    match side {
                        Side::Head => listpack.push_front(value),
                        Side::Tail => listpack.push_back(value),
                    }
                    *count += 1;
                }
            }),
            _ => self.add(end, Node::new(value, limit)),
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Element<'_>> {
        let (node, local) = self.locate(index)?;
        match &self.nodes[node] {
            Node::Packed(listpack, _) => listpack.get_index(local as i64),
            Node::Plain(bytes) => Some(Element::Bytes(bytes)),
        }
    }

    /// The elements from `index` on: the rest of its node, and the nodes after it.
    pub(super) fn iter_from(
        &self,
        index: usize,
    ) -> Option<(NodeIter<'_>, vec_deque::Iter<'_, Node>)> {
        let (node, local) = self.locate(index)?;
        let elements = match &self.nodes[node] {
            Node::Packed(listpack, _) => {
                NodeIter::Packed(listpack.iter_from(listpack.seek(local as i64)?))
            }
            Node::Plain(bytes) => NodeIter::Plain(Some(bytes)),
        };
        Some((elements, self.nodes.range(node + 1..)))
    }

    /// The elements up to `index`: the beginning of its node, and the nodes before it.
    pub(super) fn iter_to(
        &self,
        index: usize,
    ) -> Option<(NodeIter<'_>, vec_deque::Iter<'_, Node>)> {
        let (node, local) = self.locate(index)?;
        let elements = match &self.nodes[node] {
            Node::Packed(listpack, _) => {
                NodeIter::Packed(listpack.iter_to(listpack.seek(local as i64)?))
            }
            Node::Plain(bytes) => NodeIter::Plain(Some(bytes)),
        };
        Some((elements, self.nodes.range(..node)))
    }

    /// Replaces the element at an index that exists. Where its node would grow beyond the limit, the
    /// node is split around it instead.
    pub(super) fn replace(&mut self, index: usize, value: &[u8], limit: NodeLimit) {
        let Some((i, local)) = self.locate(index) else {
            return;
        };
        let fits = match &self.nodes[i] {
            Node::Packed(listpack, count) => {
                let bytes = listpack.bytes() + value.len() + ELEMENT_OVERHEAD_ESTIMATE;
                !limit.too_big(value) && !limit.exceeded(bytes, *count as usize)
            }
            Node::Plain(_) => false,
        };
        if fits {
            self.change(i, |node| {
                if let Node::Packed(listpack, _) = node {
                    if let Some(at) = listpack.seek(local as i64) {
                        listpack.replace(at, value);
                    }
                }
            });
        } else if self.nodes[i].count() == 1 {
            self.take(i);
            self.add(i, Node::new(value, limit));
        } else {
            self.change(i, |node| node.remove_range(local, 1));
            self.insert_at(i, local, value, true, limit);
        }
    }

    /// Inserts beside the first element equal to `pivot`; false where there is none.
    pub(super) fn insert(
        &mut self,
        pivot: &[u8],
        value: &[u8],
        before: bool,
        limit: NodeLimit,
    ) -> bool {
        let needle = Needle::new(pivot);
        let found = self.nodes.iter().enumerate().find_map(|(i, node)| {
            let local = node.iter().position(|element| needle.matches(element))?;
            Some((i, local))
        });
        let Some((i, local)) = found else {
            return false;
        };
        match before {
            true => self.insert_at(i, local, value, true, limit),
            false => self.insert_at(i, local + 1, value, false, limit),
        }
        true
    }

    /// Removes up to `max` elements equal to `value`, beginning at `side`.
    pub(super) fn remove_matching(&mut self, value: &[u8], max: usize, side: Side) -> usize {
        let mut removed = 0;
        let mut i = match side {
            Side::Head => 0,
            Side::Tail => self.nodes.len(),
        };
        loop {
            match side {
                Side::Head if i >= self.nodes.len() => break,
                Side::Tail if i == 0 => break,
                Side::Tail => i -= 1,
                Side::Head => {}
            }
            if removed == max {
                break;
            }
            let gone = match &self.nodes[i] {
                Node::Plain(bytes) => usize::from(**bytes == *value),
                Node::Packed(..) => {
                    self.change(i, |node| node.remove_matching(value, max - removed, side))
                }
            };
            removed += gone;
            let emptied = match &self.nodes[i] {
                Node::Plain(_) => gone == 1,
                Node::Packed(_, count) => *count == 0,
            };
            if emptied {
                self.take(i);
            } else if side == Side::Head {
                i += 1;
            }
        }
        removed
    }

    pub(super) fn remove_range(&mut self, start: usize, count: usize) {
        let Some((mut i, mut local)) = self.locate(start) else {
            return;
        };
        let mut left = count.min(self.len - start);
        // Whole nodes first cost nothing to look into; they leave in one move.
        if local > 0 {
            let here = left.min(self.nodes[i].count() - local);
            self.change(i, |node| node.remove_range(local, here));
            left -= here;
            i += 1;
            local = 0;
        }
        let mut whole = 0;
        while i + whole < self.nodes.len() && left >= self.nodes[i + whole].count() && left > 0 {
            left -= self.nodes[i + whole].count();
            whole += 1;
        }
        self.take_nodes(i, whole);
        if left > 0 {
            self.change(i, |node| node.remove_range(local, left));
        }
    }

    /// Inserts into node `i` at index `gap` of it; `before` tells the half that gets the element if the
    /// node must be split, and which neighbour may get it at the node's edge.
    fn insert_at(&mut self, i: usize, gap: usize, value: &[u8], before: bool, limit: NodeLimit) {
        if self.nodes[i].admits(value, limit) {
            self.change(i, |node| node.insert(gap, value));
        } else if gap == 0 {
            match i.checked_sub(1) {
                Some(prev) if self.nodes[prev].admits(value, limit) => {
                    let end = self.nodes[prev].count();
                    self.change(prev, |node| node.insert(end, value));
                }
                _ => self.add(i, Node::new(value, limit)),
            }
        } else if gap == self.nodes[i].count() {
            match self.nodes.get(i + 1) {
                Some(next) if next.admits(value, limit) => {
                    self.change(i + 1, |node| node.insert(0, value));
                }
                _ => self.add(i + 1, Node::new(value, limit)),
            }
        } else {
            self.split(i, gap);
            let (half, end) = match before {
                true => (i, gap),
                false => (i + 1, 0),
            };
            if self.nodes[half].admits(value, limit) {
                self.change(half, |node| node.insert(end, value));
                self.merge_around(if before { i + 1 } else { i }, limit);
            } else {
                self.add(i + 1, Node::new(value, limit));
            }
        }
    }

    /// Splits a packed node so that its elements from `gap` on become the node after it.
    fn split(&mut self, i: usize, gap: usize) {
        let tail = self.change(i, |node| match node {
            Node::Packed(listpack, count) => {
                let at = listpack.seek(gap as i64)?;
                let tail = listpack.split_off(at);
                let tail_count = *count - gap as u32;
                *count = gap as u32;
                Some(Node::Packed(tail, tail_count))
            }
            Node::Plain(_) => None,
        });
        if let Some(tail) = tail {
            self.add(i + 1, tail);
        }
    }

    /// After a split at `center`: merges what has become small with its neighbours.
    fn merge_around(&mut self, mut center: usize, limit: NodeLimit) {
        if center >= 2 && self.merge(center - 2, limit) {
            center -= 1;
        }
        self.merge(center + 1, limit);
        if center >= 1 && self.merge(center - 1, limit) {
            center -= 1;
        }
        self.merge(center, limit);
    }

    /// Merges node `i` and the one after it where both exist and fit into one.
    fn merge(&mut self, i: usize, limit: NodeLimit) -> bool {
        let (Some(Node::Packed(left, left_count)), Some(Node::Packed(right, right_count))) =
            (self.nodes.get(i), self.nodes.get(i + 1))
        else {
            return false;
        };
        let bytes = left.bytes() + right.bytes() - MERGE_SAVES;
        if limit.exceeded(bytes, (*left_count + *right_count) as usize) {
            return false;
        }
        let Node::Packed(right, right_count) = self.take(i + 1) else {
            return false;
        };
        self.change(i, |node| {
            if let Node::Packed(left, left_count) = node {
                left.append(&right);
                *left_count += right_count;
            }
        });
        true
    }

    /// Node and index within it of the element at `index`, walking from the nearer end.
    fn locate(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        if index <= self.len / 2 {
            let mut before = 0;
            for (i, node) in self.nodes.iter().enumerate() {
                if index < before + node.count() {
                    return Some((i, index - before));
                }
                before += node.count();
            }
        } else {
            let mut after = self.len;
            for (i, node) in self.nodes.iter().enumerate().rev() {
                after -= node.count();
                if index >= after {
                    return Some((i, index - after));
                }
            }
        }
        None
    }

    /// Changes a node, keeping the sums.
    #[inline]
    fn change<R>(&mut self, i: usize, change: impl FnOnce(&mut Node) -> R) -> R {
        let node = &mut self.nodes[i];
        let (count, heap_bytes) = (node.count(), node.heap_bytes());
        let result = change(node);
        self.len = self.len - count + node.count();
        self.nodes_heap_bytes = self.nodes_heap_bytes - heap_bytes + node.heap_bytes();
        result
    }

    fn add(&mut self, i: usize, node: Node) {
        self.len += node.count();
        self.nodes_heap_bytes += node.heap_bytes();
        self.nodes.insert(i, node);
    }

    fn take(&mut self, i: usize) -> Node {
        let node = self.nodes.remove(i).expect("a node that exists");
        self.forget(&node);
        node
    }

    fn take_nodes(&mut self, start: usize, count: usize) {
        let mut sums = (0, 0);
        for node in self.nodes.drain(start..start + count) {
            sums.0 += node.count();
            sums.1 += node.heap_bytes();
        }
        self.len -= sums.0;
        self.nodes_heap_bytes -= sums.1;
        self.release_slack();
    }

    fn forget(&mut self, node: &Node) {
        self.len -= node.count();
        self.nodes_heap_bytes -= node.heap_bytes();
        self.release_slack();
    }

    /// Gives the chain's own memory back once three quarters of it lie unused.
    fn release_slack(&mut self) {
        if self.nodes.capacity() > 16 && self.nodes.len() < self.nodes.capacity() / 4 {
            self.nodes.shrink_to(self.nodes.len() * 2);
        }
    }
}
