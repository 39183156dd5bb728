//! A packed sequence of integers and byte strings in one allocation, in Redis' listpack layout, so that
//! the bytes go into snapshots and DUMP payloads as they are. Knows nothing of the types built on it.
//!
//! ```text
//! total bytes: u32 | elements: u16 | element ... | 0xFF
//! ```
//! Both numbers are little endian; 65,535 elements means "that many or more, count them".

mod codec;
#[cfg(test)]
mod tests;

/// Only text that comes back unchanged may be kept as a number.
pub use super::value::canonical_int as parse_int;
pub use codec::{Element, Needle};

use super::memory::allocation_bytes;
use codec::{backlen_bytes, backlen_is, checked_entry_len, decode, read_backlen, Encoded, END};

const HEADER_BYTES: usize = 6;
const EMPTY_BYTES: usize = HEADER_BYTES + 1;
const COUNT_UNKNOWN: u16 = u16::MAX;

/// No listpack grows beyond this; ask [`Listpack::has_room_for`] before adding to one that may.
pub const LISTPACK_BYTES_MAX: usize = 1 << 30;

/// Most bytes one element takes besides its own.
pub const ELEMENT_OVERHEAD_MAX: usize = 10;

/// A sequence packed into one buffer.
///
/// Elements are found by walking, so keep it short; [`Position`]s are good until the next change.
#[derive(Clone)]
pub struct Listpack {
    /// The listpack and, after it, unused bytes up to the allocator's size class.
    buf: Box<[u8]>,
}

/// Where an element lies in a listpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(usize);

/// The bytes given are not a listpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid listpack")]
pub struct BadListpack;

impl Default for Listpack {
    fn default() -> Self {
        Self::new()
    }
}

impl Listpack {
    pub fn new() -> Self {
        Self::with_capacity(EMPTY_BYTES)
    }

    /// An empty listpack with room for `bytes` in all, header included.
    pub fn with_capacity(bytes: usize) -> Self {
        let capacity = allocation_bytes(bytes.clamp(EMPTY_BYTES, LISTPACK_BYTES_MAX));
        let mut buf = vec![0; capacity].into_boxed_slice();
        buf[..4].copy_from_slice(&(EMPTY_BYTES as u32).to_le_bytes());
        buf[HEADER_BYTES] = END;
        Self { buf }
    }

    /// Takes in bytes that nobody vouches for: every length, every backlen, the count and the end are
    /// checked, so that no later operation can go wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadListpack> {
        if bytes.len() < EMPTY_BYTES || bytes.len() > LISTPACK_BYTES_MAX {
            return Err(BadListpack);
        }
        if read_total(bytes) != bytes.len() || bytes[bytes.len() - 1] != END {
            return Err(BadListpack);
        }
        let end = bytes.len() - 1;
        let mut at = HEADER_BYTES;
        let mut count = 0usize;
        while at < end {
            let entry = checked_entry_len(&bytes[..=end], at).ok_or(BadListpack)?;
            if !backlen_is(&bytes[..end], at + entry, entry) {
                return Err(BadListpack);
            }
            at += entry + backlen_bytes(entry);
            count += 1;
        }
        let declared = u16::from_le_bytes([bytes[4], bytes[5]]);
        if declared != COUNT_UNKNOWN && usize::from(declared) != count {
            return Err(BadListpack);
        }
        let mut buf = Vec::with_capacity(allocation_bytes(bytes.len()));
        buf.extend_from_slice(bytes);
        buf.resize(buf.capacity(), 0);
        let mut listpack = Self {
            buf: buf.into_boxed_slice(),
        };
        listpack.set_count(count.min(usize::from(COUNT_UNKNOWN)) as u16);
        Ok(listpack)
    }

    /// The listpack in its layout.
    pub fn as_bytes(&self) -> &[u8] {
        &self.buf[..self.bytes()]
    }

    /// Length of the layout.
    #[inline]
    pub fn bytes(&self) -> usize {
        read_total(&self.buf)
    }

    /// Bytes taken from the allocator.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        allocation_bytes(self.buf.len())
    }

    /// Number of elements. Counts them where there are 65,535 or more.
    #[inline]
    pub fn len(&self) -> usize {
        match self.count() {
            COUNT_UNKNOWN => self.iter().count(),
            count => usize::from(count),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes() == EMPTY_BYTES
    }

    /// Whether elements of `added` bytes in all (each with [`ELEMENT_OVERHEAD_MAX`]) still fit under
    /// [`LISTPACK_BYTES_MAX`]. Adding without room is a bug of the caller and panics.
    pub fn has_room_for(&self, added: usize) -> bool {
        self.bytes()
            .checked_add(added)
            .is_some_and(|sum| sum <= LISTPACK_BYTES_MAX)
    }

    pub fn push_back(&mut self, value: &[u8]) {
        self.push_element_back(Element::of(value));
    }

    pub fn push_front(&mut self, value: &[u8]) {
        self.splice(HEADER_BYTES, 0, Element::of(value));
    }

    /// Appends an element without a look whether its bytes are a number: for one taken from another
    /// listpack and for numbers.
    pub fn push_element_back(&mut self, element: Element<'_>) {
        self.splice(self.end(), 0, element);
    }

    pub fn insert_before(&mut self, at: Position, value: &[u8]) {
        self.splice(at.0, 0, Element::of(value));
    }

    pub fn insert_after(&mut self, at: Position, value: &[u8]) {
        let next = decode(&self.buf, at.0).1;
        self.splice(next, 0, Element::of(value));
    }

    /// Puts `value` in the place of an element, which keeps its position.
    pub fn replace(&mut self, at: Position, value: &[u8]) {
        let old = decode(&self.buf, at.0).1 - at.0;
        self.splice(at.0, old, Element::of(value));
    }

    /// Removes an element; gives the one that takes its position, if any.
    pub fn remove(&mut self, at: Position) -> Option<Position> {
        self.remove_range(at, 1);
        self.position_at(at.0)
    }

    /// Removes up to `count` elements from `at` on; gives how many there were to remove.
    pub fn remove_range(&mut self, at: Position, count: usize) -> usize {
        let end = self.end();
        let mut stop = at.0;
        let mut removed = 0;
        while removed < count && stop < end {
            stop = decode(&self.buf, stop).1;
            removed += 1;
        }
        self.cut(at.0, stop - at.0, removed);
        removed
    }

    /// Removes up to `count` elements at the end.
    pub fn remove_last(&mut self, count: usize) -> usize {
        let end = self.end();
        let mut start = end;
        let mut removed = 0;
        while removed < count && start > HEADER_BYTES {
            start = previous(&self.buf, start);
            removed += 1;
        }
        self.cut(start, end - start, removed);
        removed
    }

    /// Removes up to `max` elements equal to `value`, in one pass over the bytes; gives how many.
    pub fn remove_matching(&mut self, value: &[u8], max: usize) -> usize {
        let needle = Needle::new(value);
        let end = self.end();
        let (mut read, mut write, mut removed) = (HEADER_BYTES, HEADER_BYTES, 0);
        while read < end && removed < max {
            let (element, next) = decode(&self.buf, read);
            if needle.matches(element) {
                removed += 1;
            } else {
                if write != read {
                    self.buf.copy_within(read..next, write);
                }
                write += next - read;
            }
            read = next;
        }
        self.cut(write, read - write, removed);
        removed
    }

    /// As [`Listpack::remove_matching`], from the end backwards.
    pub fn remove_matching_back(&mut self, value: &[u8], max: usize) -> usize {
        let needle = Needle::new(value);
        let end = self.end();
        let (mut read, mut write, mut removed) = (end, end, 0);
        while read > HEADER_BYTES && removed < max {
            let start = previous(&self.buf, read);
            if needle.matches(decode(&self.buf, start).0) {
                removed += 1;
            } else {
                write -= read - start;
                if write != start {
                    self.buf.copy_within(start..read, write);
                }
            }
            read = start;
        }
        self.cut(read, write - read, removed);
        removed
    }

    #[inline]
    pub fn first(&self) -> Option<Position> {
        self.position_at(HEADER_BYTES)
    }

    pub fn last(&self) -> Option<Position> {
        self.prev_of(self.end())
    }

    #[inline]
    pub fn next(&self, at: Position) -> Option<Position> {
        self.position_at(decode(&self.buf, at.0).1)
    }

    pub fn prev(&self, at: Position) -> Option<Position> {
        self.prev_of(at.0)
    }

    /// The element at an index; -1 is the last one.
    pub fn seek(&self, index: i64) -> Option<Position> {
        let count = match self.count() {
            COUNT_UNKNOWN => None,
            count => Some(i64::from(count)),
        };
        if count.is_some_and(|count| index >= count || index < -count) {
            return None;
        }
        // Walk from the nearer end where the count tells which that is.
        let index = match count {
            Some(count) if index >= 0 && index > count / 2 => index - count,
            Some(count) if index < 0 && -index > count / 2 + 1 => index + count,
            _ => index,
        };
        let mut at = if index >= 0 {
            self.first()
        } else {
            self.last()
        };
        let steps = if index >= 0 { index } else { -(index + 1) };
        for _ in 0..steps {
            at = match index >= 0 {
                true => self.next(at?),
                false => self.prev(at?),
            };
        }
        at
    }

    #[inline]
    pub fn get(&self, at: Position) -> Element<'_> {
        decode(&self.buf, at.0).0
    }

    /// The element at an index, negative from the end.
    pub fn get_index(&self, index: i64) -> Option<Element<'_>> {
        self.seek(index).map(|at| self.get(at))
    }

    /// The first element equal to `value` from `from` on, when after each one looked at `skip` more are
    /// passed over: 1 looks at the fields of field-value pairs alone.
    pub fn find(&self, from: Option<Position>, value: &[u8], skip: usize) -> Option<Position> {
        let needle = Needle::new(value);
        let end = self.end();
        let mut at = from?.0;
        while at < end {
            let (element, mut next) = decode(&self.buf, at);
            if needle.matches(element) {
                return Some(Position(at));
            }
            for _ in 0..skip {
                if next < end {
                    next = decode(&self.buf, next).1;
                }
            }
            at = next;
        }
        None
    }

    pub fn iter(&self) -> Iter<'_> {
        self.iter_from(Position(HEADER_BYTES))
    }

    /// Iterates from `at` to the end; backwards it yields the last one first and `at` last.
    pub fn iter_from(&self, at: Position) -> Iter<'_> {
        Iter {
            bytes: &self.buf,
            front: at.0,
            back: self.end(),
        }
    }

    /// Iterates over the elements before `at`, and `at` itself.
    pub fn iter_to(&self, at: Position) -> Iter<'_> {
        Iter {
            bytes: &self.buf,
            front: HEADER_BYTES,
            back: decode(&self.buf, at.0).1,
        }
    }

    /// Splits off everything from `at` on into a listpack of its own.
    pub fn split_off(&mut self, at: Position) -> Listpack {
        let mut tail = Listpack::with_capacity(EMPTY_BYTES + self.end() - at.0);
        for element in self.iter_from(at) {
            tail.push_element_back(element);
        }
        self.cut(at.0, self.end() - at.0, tail.len());
        tail
    }

    /// Appends all elements of `other`.
    pub fn append(&mut self, other: &Listpack) {
        let at = self.end();
        let added = other.end() - HEADER_BYTES;
        let count = self.len() + other.len();
        self.open(at, 0, added);
        self.buf[at..at + added].copy_from_slice(&other.buf[HEADER_BYTES..other.end()]);
        self.set_count(count.min(usize::from(COUNT_UNKNOWN)) as u16);
    }

    fn position_at(&self, offset: usize) -> Option<Position> {
        (offset < self.end()).then_some(Position(offset))
    }

    fn prev_of(&self, offset: usize) -> Option<Position> {
        (offset > HEADER_BYTES).then(|| Position(previous(&self.buf, offset)))
    }

    /// Offset of the end byte.
    #[inline]
    fn end(&self) -> usize {
        self.bytes() - 1
    }

    fn count(&self) -> u16 {
        u16::from_le_bytes([self.buf[4], self.buf[5]])
    }

    fn set_count(&mut self, count: u16) {
        self.buf[4..6].copy_from_slice(&count.to_le_bytes());
    }

    /// Puts `element` at `at` in the place of `removed` bytes: one whole element, or none.
    fn splice(&mut self, at: usize, removed: usize, element: Element<'_>) {
        let encoded = Encoded::new(element);
        self.open(at, removed, encoded.len());
        encoded.write(&mut self.buf[at..at + encoded.len()]);
        if removed == 0 && self.count() != COUNT_UNKNOWN {
            self.set_count(self.count() + 1);
        }
    }

    /// Makes the `removed` bytes at `at` a gap of `added` bytes, growing the buffer if it must.
    fn open(&mut self, at: usize, removed: usize, added: usize) {
        let total = self.bytes();
        let new_total = total - removed + added;
        assert!(
            new_total <= LISTPACK_BYTES_MAX,
            "a listpack of {new_total} bytes: its owner must convert before"
        );
        if new_total > self.buf.len() {
            let capacity = allocation_bytes(new_total + headroom(new_total));
            let mut buf = std::mem::take(&mut self.buf).into_vec();
            buf.reserve_exact(capacity - buf.len());
            buf.resize(capacity, 0);
            self.buf = buf.into_boxed_slice();
        }
        self.buf.copy_within(at + removed..total, at + added);
        self.buf[..4].copy_from_slice(&(new_total as u32).to_le_bytes());
        self.release_slack();
    }

    /// Removes `bytes` at `at` that hold `count` elements.
    fn cut(&mut self, at: usize, bytes: usize, count: usize) {
        if count == 0 {
            return;
        }
        if self.count() != COUNT_UNKNOWN {
            self.set_count(self.count() - count as u16);
        }
        self.open(at, bytes, 0);
    }

    /// Gives memory back once an eighth of what is in use lies unused beyond it. The margin keeps a
    /// listpack that grows and shrinks by one element from reallocating each time.
    fn release_slack(&mut self) {
        let total = self.bytes();
        if allocation_bytes(total + total / 8) < self.buf.len() {
            let mut buf = std::mem::take(&mut self.buf).into_vec();
            buf.truncate(allocation_bytes(total));
            self.buf = buf.into_boxed_slice();
        }
    }
}

/// Same elements in the same order.
impl PartialEq for Listpack {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes() || self.iter().eq(other.iter())
    }
}

impl Eq for Listpack {}

impl std::fmt::Debug for Listpack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Listpack({} bytes)", self.bytes())
    }
}

impl<'a> FromIterator<&'a [u8]> for Listpack {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(values: I) -> Self {
        let mut listpack = Self::new();
        for value in values {
            listpack.push_back(value);
        }
        listpack
    }
}

/// Elements of a listpack from either end.
#[derive(Clone)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    front: usize,
    back: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (element, next) = decode(self.bytes, self.front);
        self.front = next;
        Some(element)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        self.back = previous(self.bytes, self.back);
        Some(decode(self.bytes, self.back).0)
    }
}

/// What a listpack that must grow takes beyond its need. Up to 16 KiB the allocator's classes are far enough
/// apart to make growth rare; beyond they are pages, and growing page by page would copy too often.
fn headroom(bytes: usize) -> usize {
    const CLASSES_APART_BYTES_MAX: usize = 16 << 10;
    if bytes <= CLASSES_APART_BYTES_MAX {
        0
    } else {
        bytes / 16
    }
}

/// Start of the element that ends where `offset` begins.
fn previous(bytes: &[u8], offset: usize) -> usize {
    let (entry, backlen) = read_backlen(bytes, offset);
    offset - backlen - entry
}

#[inline]
fn read_total(bytes: &[u8]) -> usize {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize
}
