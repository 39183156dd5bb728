//! A node of a quicklist and what the settings let it hold: a listpack of bounded size, or one element
//! too big for that. Knows nothing of the chain.

use super::super::listpack::{self, Element, Listpack, ELEMENT_OVERHEAD_MAX};
use super::super::memory::allocation_bytes;
use super::super::types::Limits;
use super::Side;

/// Bytes of a node where `list-max-listpack-size` counts elements: keeps a node of many or of big
/// elements quick to change.
const COUNTED_NODE_BYTES_MAX: usize = 8192;
const NODE_ELEMENTS_MAX: usize = 32_767;
/// Node sizes of the settings -1 to -5.
const NODE_BYTES: [usize; 5] = [4096, 8192, 16_384, 32_768, 65_536];
/// What Redis takes for the cost of an element whose encoding is not known yet.
pub(super) const ELEMENT_OVERHEAD_ESTIMATE: usize = 8;
/// What `list-max-listpack-size` allows a node, or a list kept as one listpack.
#[derive(Clone, Copy)]
pub(super) struct NodeLimit {
    bytes: usize,
    /// Set where the setting counts elements.
    count: Option<usize>,
}

impl NodeLimit {
    pub(super) fn new(limits: &Limits) -> Self {
        let setting = limits.list_max_listpack_size;
        if setting >= 0 {
            Self {
                bytes: COUNTED_NODE_BYTES_MAX,
                // 0 would leave no room for anything.
                count: Some((setting as usize).clamp(1, NODE_ELEMENTS_MAX)),
            }
        } else {
            let level = setting.unsigned_abs() as usize - 1;
            Self {
                bytes: NODE_BYTES[level.min(NODE_BYTES.len() - 1)],
                count: None,
            }
        }
    }

    /// Whether a node must not hold that much.
    pub(super) fn exceeded(&self, bytes: usize, count: usize) -> bool {
        bytes > self.bytes || self.count.is_some_and(|max| count > max)
    }

    /// Whether a quicklist of one such node may become a listpack. Where the setting counts elements
    /// their bytes do not matter here, as in Redis.
    pub(super) fn fits(&self, bytes: usize, count: usize) -> bool {
        match self.count {
            Some(max) => count <= max,
            None => bytes <= self.bytes,
        }
    }

    /// As [`NodeLimit::fits`] after a removal: at half the limit, so that a list that stays around it is
    /// not converted back and forth.
    pub(super) fn fits_half(&self, bytes: usize, count: usize) -> bool {
        match self.count {
            Some(max) => count <= max / 2,
            None => bytes <= self.bytes / 2,
        }
    }

    /// Whether an element fills a node alone.
    pub(super) fn too_big(&self, value: &[u8]) -> bool {
        value.len() + ELEMENT_OVERHEAD_MAX > self.bytes
    }
}

/// A node of a quicklist, for building one.
pub enum OwnedNode {
    Packed(Listpack),
    Plain(Box<[u8]>),
}

/// A node of a quicklist, for reading it.
#[derive(Clone, Copy)]
pub enum NodeRef<'a> {
    Packed(&'a Listpack),
    Plain(&'a [u8]),
}

/// A node, with the number of its elements at hand without a look at its bytes.
#[derive(Clone)]
pub enum Node {
    Packed(Listpack, u32),
    Plain(Box<[u8]>),
}

impl Node {
    pub(super) fn new(value: &[u8], limit: NodeLimit) -> Self {
        if limit.too_big(value) {
            return Node::Plain(value.into());
        }
        let mut listpack = Listpack::new();
        listpack.push_back(value);
        Node::Packed(listpack, 1)
    }

    pub(super) fn count(&self) -> usize {
        match self {
            Node::Packed(_, count) => *count as usize,
            Node::Plain(_) => 1,
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Node::Packed(listpack, _) => listpack.heap_bytes(),
            Node::Plain(bytes) => allocation_bytes(bytes.len()),
        }
    }

    /// Whether the node takes one more element.
    pub(super) fn admits(&self, value: &[u8], limit: NodeLimit) -> bool {
        match self {
            Node::Packed(listpack, count) => {
                let bytes = listpack.bytes() + value.len() + ELEMENT_OVERHEAD_ESTIMATE;
                !limit.too_big(value) && !limit.exceeded(bytes, *count as usize + 1)
            }
            Node::Plain(_) => false,
        }
    }

    /// The elements of the node.
    #[inline]
    pub(super) fn iter(&self) -> NodeIter<'_> {
        match self {
            Node::Packed(listpack, _) => NodeIter::Packed(listpack.iter()),
            Node::Plain(bytes) => NodeIter::Plain(Some(bytes)),
        }
    }

    /// Puts `value` between elements so that it gets index `gap`; only for a node that admits it.
    pub(super) fn insert(&mut self, gap: usize, value: &[u8]) {
        if let Node::Packed(listpack, count) = self {
            match listpack.seek(gap as i64) {
                Some(at) => listpack.insert_before(at, value),
                None => listpack.push_back(value),
            }
            *count += 1;
        }
    }

    pub(super) fn remove_range(&mut self, start: usize, removed: usize) {
        if let Node::Packed(listpack, count) = self {
            if let Some(at) = listpack.seek(start as i64) {
                *count -= listpack.remove_range(at, removed) as u32;
            }
        }
    }

    pub(super) fn remove_matching(&mut self, value: &[u8], max: usize, side: Side) -> usize {
        let Node::Packed(listpack, count) = self else {
            return 0;
        };
        let removed = match side {
            Side::Head => listpack.remove_matching(value, max),
            Side::Tail => listpack.remove_matching_back(value, max),
        };
        *count -= removed as u32;
        removed
    }
}

/// Elements of one node from either end.
#[derive(Clone)]
pub enum NodeIter<'a> {
    Packed(listpack::Iter<'a>),
    Plain(Option<&'a [u8]>),
}

impl<'a> Iterator for NodeIter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        match self {
            NodeIter::Packed(elements) => elements.next(),
            NodeIter::Plain(element) => element.take().map(Element::Bytes),
        }
    }
}

impl DoubleEndedIterator for NodeIter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            NodeIter::Packed(elements) => elements.next_back(),
            NodeIter::Plain(element) => element.take().map(Element::Bytes),
        }
    }
}
