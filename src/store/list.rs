//! The list type: one listpack while small, a chain of listpacks beyond. Holds elements and their order;
//! knows neither keys nor replies.

mod node;
mod quicklist;
#[cfg(test)]
mod tests;

use super::listpack::{self, Element, Listpack, Needle};
use super::memory::allocation_bytes;
use super::types::Limits;
use node::{NodeIter, NodeLimit};
pub use node::{NodeRef, OwnedNode};
use quicklist::Quicklist;
use std::collections::vec_deque;

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Head,
    Tail,
}

/// A list of byte strings.
///
/// Its encoding follows Redis: a listpack becomes a quicklist when what is about to be added takes it over
/// `list-max-listpack-size`; a quicklist becomes a listpack again when removals left one node of at most
/// half that size. Both follow from the history of operations alone, so that replicas agree.
#[derive(Clone)]
pub struct List {
    repr: Repr,
}

#[derive(Clone)]
enum Repr {
    Packed(Listpack),
    Quick(Box<Quicklist>),
}

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

impl List {
    pub fn new() -> Self {
        Self::from_listpack(Listpack::new())
    }

    /// A list of these values, in the encoding that its size asks for.
    pub fn from_values<'v>(values: impl IntoIterator<Item = &'v [u8]>, limits: &Limits) -> Self {
        let limit = NodeLimit::new(limits);
        let mut list = Self::new();
        for value in values {
            match &mut list.repr {
                Repr::Packed(listpack) if !limit.exceeded(value.len(), 0) => {
                    listpack.push_back(value);
                    list.settle(limits);
                }
                _ => list.quick_mut().push(Side::Tail, value, limit),
            }
        }
        list
    }

    /// Exactly the list that a listpack holds, encoded as `listpack` whatever its size.
    pub fn from_listpack(listpack: Listpack) -> Self {
        Self {
            repr: Repr::Packed(listpack),
        }
    }

    /// Exactly the quicklist of these nodes; empty ones are left out.
    pub fn from_nodes(nodes: impl IntoIterator<Item = OwnedNode>) -> Self {
        let mut quick = Quicklist::default();
        for node in nodes {
            quick.push_node(node);
        }
        Self {
            repr: Repr::Quick(Box::new(quick)),
        }
    }

    /// The nodes in order; a list encoded as `listpack` is one of them.
    pub fn nodes(&self) -> impl Iterator<Item = NodeRef<'_>> {
        let (packed, quick) = match &self.repr {
            Repr::Packed(listpack) => (Some(NodeRef::Packed(listpack)), None),
            Repr::Quick(quick) => (None, Some(quick.nodes())),
        };
        packed.into_iter().chain(quick.into_iter().flatten())
    }

    /// The listpack of a list that is one.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match &self.repr {
            Repr::Packed(listpack) => Some(listpack),
            Repr::Quick(_) => None,
        }
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.repr {
            Repr::Packed(listpack) => listpack.len(),
            Repr::Quick(quick) => quick.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        match &self.repr {
            Repr::Packed(listpack) => listpack.is_empty(),
            Repr::Quick(quick) => quick.len() == 0,
        }
    }

    /// As OBJECT ENCODING names it.
    pub fn encoding(&self) -> &'static str {
        match &self.repr {
            Repr::Packed(_) => "listpack",
            Repr::Quick(_) => "quicklist",
        }
    }

    /// Bytes taken from the allocator, beyond the list's own struct.
    pub fn heap_bytes(&self) -> usize {
        match &self.repr {
            Repr::Packed(listpack) => listpack.heap_bytes(),
            Repr::Quick(quick) => {
                allocation_bytes(std::mem::size_of::<Quicklist>()) + quick.heap_bytes()
            }
        }
    }

    /// Adds one element at an end.
    pub fn push(&mut self, side: Side, value: &[u8], limits: &Limits) {
        self.extend(side, std::iter::once(value), limits);
    }

    /// Adds elements at an end, one after the other. The encoding is decided on all of them at once, before
    /// the first is added.
    pub fn extend<'v, I>(&mut self, side: Side, values: I, limits: &Limits)
    where
        I: Iterator<Item = &'v [u8]> + Clone,
    {
        let (bytes, count) = values
            .clone()
            .fold((0, 0), |(bytes, count), v| (bytes + v.len(), count + 1));
        self.make_room(bytes, count, limits);
        match &mut self.repr {
            Repr::Packed(listpack) => values.for_each(|value| match side {
                Side::Head => listpack.push_front(value),
                Side::Tail => listpack.push_back(value),
            }),
            Repr::Quick(quick) => {
                let limit = NodeLimit::new(limits);
                values.for_each(|value| quick.push(side, value, limit));
            }
        }
    }

    /// The element at an end.
    pub fn peek(&self, side: Side) -> Option<Element<'_>> {
        self.get(match side {
            Side::Head => 0,
            Side::Tail => -1,
        })
    }

    /// Takes the element at an end.
    pub fn pop(&mut self, side: Side, limits: &Limits) -> Option<Vec<u8>> {
        let value = self.peek(side)?.to_vec();
        self.drop_end(side, 1, limits);
        Some(value)
    }

    /// Moves the element at one end to an end (LMOVE of a list to itself); gives the element. The encoding
    /// is decided once the element is back, so that a list whose size does not change keeps it.
    pub fn rotate(&mut self, from: Side, to: Side, limits: &Limits) -> Option<Vec<u8>> {
        let value = self.peek(from)?.to_vec();
        let at = match from {
            Side::Head => 0,
            Side::Tail => self.len() - 1,
        };
        self.cut(at, 1);
        self.push(to, &value, limits);
        self.shrink(limits);
        Some(value)
    }

    /// Removes up to `count` elements at an end.
    pub fn drop_end(&mut self, side: Side, count: usize, limits: &Limits) {
        let start = match side {
            Side::Head => 0,
            Side::Tail => self.len().saturating_sub(count),
        };
        self.remove_range(start, count, limits);
    }

    /// The element at an index, negative from the end.
    pub fn get(&self, index: i64) -> Option<Element<'_>> {
        match &self.repr {
            Repr::Packed(listpack) => listpack.get_index(index),
            Repr::Quick(quick) => quick.get(self.absolute(index)?),
        }
    }

    /// Replaces the element at an index, negative from the end; false where there is none.
    pub fn set(&mut self, index: i64, value: &[u8], limits: &Limits) -> bool {
        self.make_room(value.len(), 1, limits);
        let Some(index) = self.absolute(index) else {
            return false;
        };
        match &mut self.repr {
            Repr::Packed(listpack) => {
                let at = listpack.seek(index as i64).expect("an index within len");
                listpack.replace(at, value);
            }
            Repr::Quick(quick) => {
                quick.replace(index, value, NodeLimit::new(limits));
                self.shrink(limits);
            }
        }
        true
    }

    /// Inserts `value` before or after the first element equal to `pivot`; false where there is none.
    pub fn insert(&mut self, pivot: &[u8], value: &[u8], before: bool, limits: &Limits) -> bool {
        self.make_room(value.len(), 1, limits);
        match &mut self.repr {
            Repr::Packed(listpack) => {
                let Some(at) = listpack.find(listpack.first(), pivot, 0) else {
                    return false;
                };
                match before {
                    true => listpack.insert_before(at, value),
                    false => listpack.insert_after(at, value),
                }
                true
            }
            Repr::Quick(quick) => quick.insert(pivot, value, before, NodeLimit::new(limits)),
        }
    }

    /// Removes elements equal to `value`: up to `count` from the head, up to `-count` from the tail, or
    /// all for 0. Gives how many it removed.
    pub fn remove(&mut self, count: i64, value: &[u8], limits: &Limits) -> usize {
        let max = match count {
            0 => usize::MAX,
            _ => usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX),
        };
        let side = if count < 0 { Side::Tail } else { Side::Head };
        let removed = match &mut self.repr {
            Repr::Packed(listpack) if side == Side::Head => listpack.remove_matching(value, max),
            Repr::Packed(listpack) => listpack.remove_matching_back(value, max),
            Repr::Quick(quick) => quick.remove_matching(value, max, side),
        };
        if removed > 0 {
            self.shrink(limits);
        }
        removed
    }

    /// Removes up to `count` elements from index `start` on.
    pub fn remove_range(&mut self, start: usize, count: usize, limits: &Limits) {
        self.cut(start, count);
        self.shrink(limits);
    }

    fn cut(&mut self, start: usize, count: usize) {
        match &mut self.repr {
            Repr::Packed(listpack) => {
                if let Some(at) = listpack.seek(start as i64) {
                    listpack.remove_range(at, count);
                }
            }
            Repr::Quick(quick) => quick.remove_range(start, count),
        }
    }

    /// Keeps only the `count` elements from index `start` on.
    pub fn trim(&mut self, start: usize, count: usize, limits: &Limits) {
        let tail = start.saturating_add(count);
        let len = self.len();
        if tail < len {
            self.remove_range(tail, len - tail, limits);
        }
        self.remove_range(0, start, limits);
    }

    pub fn iter(&self) -> Iter<'_> {
        self.iter_from(0)
    }

    /// The elements from index `start` on.
    pub fn iter_from(&self, start: usize) -> Iter<'_> {
        match &self.repr {
            Repr::Packed(listpack) => match listpack.seek(start as i64) {
                Some(at) => Iter::packed(listpack.iter_from(at), true),
                None => Iter::empty(),
            },
            Repr::Quick(quick) => match quick.iter_from(start) {
                Some((node, rest)) => Iter::quick(node, rest, true),
                None => Iter::empty(),
            },
        }
    }

    /// The elements backwards, from index `start` down to the first.
    pub fn iter_back_from(&self, start: usize) -> Iter<'_> {
        match &self.repr {
            Repr::Packed(listpack) => match listpack.seek(start as i64) {
                Some(at) => Iter::packed(listpack.iter_to(at), false),
                None => Iter::empty(),
            },
            Repr::Quick(quick) => match quick.iter_to(start) {
                Some((node, rest)) => Iter::quick(node, rest, false),
                None => Iter::empty(),
            },
        }
    }

    /// Indices of the elements equal to `value`, from one end to the other, among the first `max_len`
    /// elements met.
    pub fn positions<'l>(
        &'l self,
        value: &'l [u8],
        from: Side,
        max_len: usize,
    ) -> impl Iterator<Item = usize> + 'l {
        let needle = Needle::new(value);
        let len = self.len();
        let elements = match from {
            Side::Head => self.iter(),
            Side::Tail => self.iter_back_from(len.wrapping_sub(1)),
        };
        elements
            .take(max_len)
            .enumerate()
            .filter(move |&(_, element)| needle.matches(element))
            .map(move |(walked, _)| match from {
                Side::Head => walked,
                Side::Tail => len - 1 - walked,
            })
    }

    /// Chooses the encoding by size alone, as after loading a foreign dump.
    pub fn settle(&mut self, limits: &Limits) {
        let limit = NodeLimit::new(limits);
        match &mut self.repr {
            Repr::Packed(listpack) => {
                if limit.exceeded(listpack.bytes(), listpack.len()) {
                    self.quick_mut();
                }
            }
            Repr::Quick(quick) => {
                if let Some(listpack) =
                    quick.take_as_listpack(|bytes, count| limit.fits(bytes, count))
                {
                    self.repr = Repr::Packed(listpack);
                }
            }
        }
    }

    /// The index counted from the head, where the list has it.
    fn absolute(&self, index: i64) -> Option<usize> {
        let len = self.len();
        let index = match index {
            0.. => usize::try_from(index).ok()?,
            _ => len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?,
        };
        (index < len).then_some(index)
    }

    /// Turns a listpack into a quicklist where `bytes` in `count` more elements would not fit.
    fn make_room(&mut self, bytes: usize, count: usize, limits: &Limits) {
        if let Repr::Packed(listpack) = &self.repr {
            let bytes = listpack.bytes().saturating_add(bytes);
            if NodeLimit::new(limits).exceeded(bytes, listpack.len().saturating_add(count)) {
                self.quick_mut();
            }
        }
    }

    /// Turns a quicklist that removals left small into a listpack.
    fn shrink(&mut self, limits: &Limits) {
        if let Repr::Quick(quick) = &mut self.repr {
            let limit = NodeLimit::new(limits);
            if let Some(listpack) =
                quick.take_as_listpack(|bytes, count| limit.fits_half(bytes, count))
            {
                self.repr = Repr::Packed(listpack);
            }
        }
    }

    /// The quicklist, made of the listpack if there is none yet.
    fn quick_mut(&mut self) -> &mut Quicklist {
        if let Repr::Packed(listpack) = &mut self.repr {
            let mut quick = Quicklist::default();
            quick.push_node(OwnedNode::Packed(std::mem::take(listpack)));
            self.repr = Repr::Quick(Box::new(quick));
        }
        match &mut self.repr {
            Repr::Quick(quick) => quick,
            Repr::Packed(_) => unreachable!("just made a quicklist"),
        }
    }
}

/// Same elements in the same order, whatever the encoding.
impl PartialEq for List {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for List {}

impl std::fmt::Debug for List {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "List({}, {} elements)", self.encoding(), self.len())
    }
}

/// Elements of a list, in the direction in which the iteration began.
#[derive(Clone)]
pub struct Iter<'a> {
    node: NodeIter<'a>,
    rest: Option<vec_deque::Iter<'a, node::Node>>,
    forward: bool,
}

impl<'a> Iter<'a> {
    fn empty() -> Self {
        Self {
            node: NodeIter::Plain(None),
            rest: None,
            forward: true,
        }
    }

    fn packed(elements: listpack::Iter<'a>, forward: bool) -> Self {
        Self {
            node: NodeIter::Packed(elements),
            rest: None,
            forward,
        }
    }

    fn quick(node: NodeIter<'a>, rest: vec_deque::Iter<'a, node::Node>, forward: bool) -> Self {
        Self {
            node,
            rest: Some(rest),
            forward,
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        loop {
            let element = match self.forward {
                true => self.node.next(),
                false => self.node.next_back(),
            };
            if element.is_some() {
                return element;
            }
            let rest = self.rest.as_mut()?;
            let node = match self.forward {
                true => rest.next()?,
                false => rest.next_back()?,
            };
            self.node = node.iter();
        }
    }
}
