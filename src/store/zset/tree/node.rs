//! The nodes of the counted B+ tree: what happens below the root. Knows nothing of the set's length.

use super::{Entry, Seek};
use std::cmp::Ordering;

/// 63 entries make a leaf of 760 bytes: the allocator's class of 768, well filled.
pub(super) const LEAF_ENTRIES: usize = 63;
/// 64 children of 40 bytes: an allocation of 2560 bytes.
pub(super) const INNER_CHILDREN: usize = 64;
/// A node that a removal left this empty looks for a neighbour to join.
const SPARSE_AT_MOST: usize = 16;
/// Two neighbours join when they leave room for what may come.
const JOINED_AT_MOST: usize = 48;

pub(super) enum Node {
    Leaf(Box<Leaf>),
    /// Always with capacity [`INNER_CHILDREN`], so that memory can be counted in nodes.
    Inner(Vec<Child>),
}

#[derive(Clone)]
pub(super) struct Leaf {
    scores: [f64; LEAF_ENTRIES],
    ids: [u32; LEAF_ENTRIES],
    len: u32,
}

#[derive(Clone)]
pub(super) struct Child {
    /// The first entry of this subtree, its two halves apart: the child is eight bytes smaller so.
    first_score: f64,
    first_id: u32,
    /// Entries in this subtree; members are numbered with `u32`, so it fits.
    count: u32,
    node: Node,
}

/// How many nodes a tree has; every node is made and dropped through it.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub(super) struct NodeCount {
    pub leaves: usize,
    pub inners: usize,
}

impl NodeCount {
    pub fn new_leaf(&mut self) -> Box<Leaf> {
        self.leaves += 1;
        Box::new(Leaf {
            scores: [0.0; LEAF_ENTRIES],
            ids: [0; LEAF_ENTRIES],
            len: 0,
        })
    }

    pub fn new_inner(&mut self) -> Vec<Child> {
        self.inners += 1;
        Vec::with_capacity(INNER_CHILDREN)
    }

    fn dropped(&mut self, node: &Node) {
        match node {
            Node::Leaf(_) => self.leaves -= 1,
            Node::Inner(_) => self.inners -= 1,
        }
    }
}

impl Node {
    /// Puts `entry` into this subtree; answers the right half when this node had to split.
    ///
    /// A full node to whose end something comes hands only that to its new sibling: a set filled in
    /// ascending order has full nodes.
    pub fn insert(
        &mut self,
        entry: Entry,
        seek: &impl Seek,
        nodes: &mut NodeCount,
    ) -> Option<Child> {
        match self {
            Node::Leaf(leaf) => leaf.insert(entry, seek, nodes),
            Node::Inner(children) => {
                let at = child_for(children, seek);
                let child = &mut children[at];
                let split = child.node.insert(entry, seek, nodes);
                match split {
                    None => {
                        child.count += 1;
                        child.refresh_first();
                        None
                    }
                    Some(sibling) => {
                        child.count = child.node.count();
                        child.refresh_first();
                        insert_child(children, at + 1, sibling, nodes)
                    }
                }
            }
        }
    }

    /// Takes the entry that `seek` calls equal out of this subtree; false when there is none. A leaf or
    /// inner node below this one that is left sparse joins a neighbour; an empty one goes.
    pub fn remove(&mut self, seek: &impl Seek, nodes: &mut NodeCount) -> bool {
        match self {
            Node::Leaf(leaf) => leaf.remove(seek),
            Node::Inner(children) => {
                let at = child_for(children, seek);
                let child = &mut children[at];
                if !child.node.remove(seek, nodes) {
                    return false;
                }
                child.count -= 1;
                if child.count == 0 {
                    nodes.dropped(&children.remove(at).node);
                } else {
                    child.refresh_first();
                    if child.node.width() <= SPARSE_AT_MOST {
                        join_neighbour(children, at, nodes);
                    }
                }
                true
            }
        }
    }

    pub fn renumber(&mut self, id: u32, seek: &impl Seek) {
        match self {
            Node::Leaf(leaf) => {
                let at = leaf.position(|entry| seek(entry) == Ordering::Less);
                assert!(at < leaf.len(), "table and tree hold the same members");
                leaf.ids[at] = id;
            }
            Node::Inner(children) => {
                let at = child_for(children, seek);
                let child = &mut children[at];
                child.node.renumber(id, seek);
                child.refresh_first();
            }
        }
    }

    /// How many entries of this subtree come before the first for which `before` is false.
    pub fn rank(&self, before: &impl Fn(Entry) -> bool) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.position(before),
            Node::Inner(children) => {
                let at = children
                    .partition_point(|child| before(child.first()))
                    .saturating_sub(1);
                let passed: usize = children[..at].iter().map(|c| c.count as usize).sum();
                passed + children[at].node.rank(before)
            }
        }
    }

    /// The leaf that holds the entry at `rank`, and where in it; `rank` must lie in this subtree.
    pub fn leaf_at(&self, mut rank: usize) -> (&Leaf, usize) {
        let mut node = self;
        loop {
            match node {
                Node::Leaf(leaf) => return (leaf, rank),
                Node::Inner(children) => {
                    let mut at = 0;
                    while rank >= children[at].count as usize {
                        rank -= children[at].count as usize;
                        at += 1;
                    }
                    node = &children[at].node;
                }
            }
        }
    }

    /// Appends a child; the node must be an inner one with room.
    pub fn adopt(&mut self, child: Child) {
        match self {
            Node::Inner(children) => children.push(child),
            Node::Leaf(_) => unreachable!("a leaf has no children"),
        }
    }

    /// The only child of an inner node, taken out.
    pub fn take_only_child(&mut self) -> Option<Node> {
        match self {
            Node::Inner(children) if children.len() == 1 => children.pop().map(|child| child.node),
            _ => None,
        }
    }

    /// The first entry; the node must not be empty.
    fn first(&self) -> Entry {
        match self {
            Node::Leaf(leaf) => leaf.get(0),
            Node::Inner(children) => children[0].first(),
        }
    }

    fn count(&self) -> u32 {
        match self {
            Node::Leaf(leaf) => leaf.len,
            Node::Inner(children) => children.iter().map(|child| child.count).sum(),
        }
    }

    /// Entries of a leaf, children of an inner node.
    fn width(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.len(),
            Node::Inner(children) => children.len(),
        }
    }

    /// Moves everything from `right`, the next node at the same depth, to the end of this one.
    fn absorb(&mut self, right: Node) {
        match (self, right) {
            (Node::Leaf(left), Node::Leaf(right)) => left.extend(&right, 0),
            (Node::Inner(left), Node::Inner(mut right)) => left.append(&mut right),
            _ => unreachable!("neighbours have the same depth"),
        }
    }
}

impl Clone for Node {
    fn clone(&self) -> Self {
        match self {
            Node::Leaf(leaf) => Node::Leaf(leaf.clone()),
            Node::Inner(children) => {
                let mut copy = Vec::with_capacity(INNER_CHILDREN);
                copy.extend_from_slice(children);
                Node::Inner(copy)
            }
        }
    }
}

impl Child {
    /// `node` must not be empty.
    pub fn of(node: Node) -> Self {
        let first = node.first();
        Self {
            first_score: first.score,
            first_id: first.id,
            count: node.count(),
            node,
        }
    }

    fn first(&self) -> Entry {
        Entry {
            score: self.first_score,
            id: self.first_id,
        }
    }

    /// To be called after every change below.
    fn refresh_first(&mut self) {
        let first = self.node.first();
        self.first_score = first.score;
        self.first_id = first.id;
    }
}

impl Leaf {
    pub fn len(&self) -> usize {
        self.len as usize
    }

    pub fn get(&self, at: usize) -> Entry {
        Entry {
            score: self.scores[at],
            id: self.ids[at],
        }
    }

    /// How many entries come before the first for which `before` is false.
    fn position(&self, before: impl Fn(Entry) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = (low + high) / 2;
            if before(self.get(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn insert(&mut self, entry: Entry, seek: &impl Seek, nodes: &mut NodeCount) -> Option<Child> {
        let at = self.position(|other| seek(other) == Ordering::Less);
        if self.len() < LEAF_ENTRIES {
            self.insert_at(at, entry);
            return None;
        }
        let mut right = nodes.new_leaf();
        if at == LEAF_ENTRIES {
            right.insert_at(0, entry);
        } else {
            let half = LEAF_ENTRIES / 2 + 1;
            right.extend(self, half);
            self.len = half as u32;
            if at <= half {
                self.insert_at(at, entry);
            } else {
                right.insert_at(at - half, entry);
            }
        }
        Some(Child::of(Node::Leaf(right)))
    }

    /// There must be room.
    fn insert_at(&mut self, at: usize, entry: Entry) {
        let len = self.len();
        self.scores.copy_within(at..len, at + 1);
        self.ids.copy_within(at..len, at + 1);
        self.scores[at] = entry.score;
        self.ids[at] = entry.id;
        self.len += 1;
    }

    fn remove(&mut self, seek: &impl Seek) -> bool {
        let at = self.position(|other| seek(other) == Ordering::Less);
        let len = self.len();
        if at == len || seek(self.get(at)) != Ordering::Equal {
            return false;
        }
        self.scores.copy_within(at + 1..len, at);
        self.ids.copy_within(at + 1..len, at);
        self.len -= 1;
        true
    }

    /// Appends the entries of `other` from `start` on.
    fn extend(&mut self, other: &Leaf, start: usize) {
        let (len, more) = (self.len(), other.len() - start);
        self.scores[len..len + more].copy_from_slice(&other.scores[start..start + more]);
        self.ids[len..len + more].copy_from_slice(&other.ids[start..start + more]);
        self.len += more as u32;
    }
}

/// The child under which `seek`'s entry is, or would have to come.
fn child_for(children: &[Child], seek: &impl Seek) -> usize {
    children
        .partition_point(|child| seek(child.first()) != Ordering::Greater)
        .saturating_sub(1)
}

fn insert_child(
    children: &mut Vec<Child>,
    at: usize,
    child: Child,
    nodes: &mut NodeCount,
) -> Option<Child> {
    if children.len() < INNER_CHILDREN {
        children.insert(at, child);
        return None;
    }
    let mut right = nodes.new_inner();
    if at == INNER_CHILDREN {
        right.push(child);
    } else {
        let half = INNER_CHILDREN / 2;
        right.extend(children.drain(half..));
        if at <= half {
            children.insert(at, child);
        } else {
            right.insert(at - half, child);
        }
    }
    Some(Child::of(Node::Inner(right)))
}

/// Joins the sparse child at `at` with the neighbour that leaves more room, if one leaves enough.
fn join_neighbour(children: &mut Vec<Child>, at: usize, nodes: &mut NodeCount) {
    let width = |at: usize| children.get(at).map_or(usize::MAX, |c| c.node.width());
    let before = width(at.wrapping_sub(1));
    let after = width(at + 1);
    if width(at).saturating_add(before.min(after)) > JOINED_AT_MOST {
        return;
    }
    let left = if before <= after { at - 1 } else { at };
    let right = children.remove(left + 1);
    nodes.dropped(&right.node);
    children[left].count += right.count;
    children[left].node.absorb(right.node);
}

#[cfg(test)]
impl Node {
    /// Counts nodes anew and checks everything that must hold between a node and its children.
    pub fn check(&self, depth_below: usize, nodes: &mut NodeCount) {
        match self {
            Node::Leaf(leaf) => {
                nodes.leaves += 1;
                assert_eq!(depth_below, 0, "all leaves have the same depth");
                assert!(leaf.len() <= LEAF_ENTRIES);
            }
            Node::Inner(children) => {
                nodes.inners += 1;
                assert!(!children.is_empty());
                assert_eq!(children.capacity(), INNER_CHILDREN);
                for child in children {
                    assert_eq!(child.first(), child.node.first());
                    assert_eq!(child.count, child.node.count());
                    child.node.check(depth_below - 1, nodes);
                }
            }
        }
    }

    pub fn depth(&self) -> usize {
        match self {
            Node::Leaf(_) => 0,
            Node::Inner(children) => 1 + children[0].node.depth(),
        }
    }
}
