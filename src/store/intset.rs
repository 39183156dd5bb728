//! A sorted set of integers in one buffer, in Redis' intset layout, so that DUMP payloads and snapshots
//! carry it as it is. Knows nothing of the set type that wraps it.
//!
//! ```text
//! offset  0          4          8
//!         +----------+----------+---------+---------+----
//!         | encoding |  length  | integer | integer | ...    all little-endian
//!         +----------+----------+---------+---------+----
//! ```
//!
//! `encoding` (2, 4 or 8) is the width of every integer in bytes: the widest member decides. It never
//! shrinks again, as in Redis.

use super::memory::allocation_bytes;

const HEADER_BYTES: usize = 8;

/// A strictly ascending sequence of integers; see the module's picture for its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct IntSet {
    buf: Vec<u8>,
}

/// Why bytes are not an intset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntSetError {
    #[error("intset header is short, empty or of an unknown width")]
    Header,
    #[error("intset length does not fit its bytes")]
    Length,
    #[error("intset members are not strictly ascending")]
    Order,
}

impl IntSet {
    pub fn new() -> Self {
        let mut buf = Vec::with_capacity(HEADER_BYTES + 8);
        buf.extend_from_slice(&2u32.to_le_bytes());
        buf.extend_from_slice(&0u32.to_le_bytes());
        Self { buf }
    }

    /// Takes bytes from outside: checks width, length and order, so that every later access is in bounds.
    /// An empty intset is refused as well: an empty set has no key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IntSetError> {
        let (header, body) = bytes
            .split_at_checked(HEADER_BYTES)
            .ok_or(IntSetError::Header)?;
        let width = le_u32(&header[..4]) as usize;
        let len = le_u32(&header[4..]) as usize;
        if !matches!(width, 2 | 4 | 8) || len == 0 {
            return Err(IntSetError::Header);
        }
        if len.checked_mul(width) != Some(body.len()) {
            return Err(IntSetError::Length);
        }
        let set = Self {
            buf: bytes.to_vec(),
        };
        let ascending = (1..len).all(|i| set.at(i - 1) < set.at(i));
        ascending.then_some(set).ok_or(IntSetError::Order)
    }

    /// The whole buffer, as [`IntSet::from_bytes`] takes it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.buf
    }

    pub fn len(&self) -> usize {
        le_u32(&self.buf[4..8]) as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The member at `index` in ascending order.
    pub fn get(&self, index: usize) -> Option<i64> {
        (index < self.len()).then(|| self.at(index))
    }

    pub fn contains(&self, value: i64) -> bool {
        self.search(value).is_ok()
    }

    /// False when it was there already.
    pub fn add(&mut self, value: i64) -> bool {
        let Err(position) = self.search(value) else {
            return false;
        };
        if width_of(value) > self.width() {
            self.widen(width_of(value));
        }
        let width = self.width();
        self.reserve(width);
        let at = HEADER_BYTES + position * width;
        let end = self.buf.len();
        self.buf.resize(end + width, 0);
        self.buf.copy_within(at..end, at + width);
        self.put(position, value);
        self.set_len(self.len() + 1);
        true
    }

    /// False when it was not there.
    pub fn remove(&mut self, value: i64) -> bool {
        let Ok(position) = self.search(value) else {
            return false;
        };
        let width = self.width();
        let at = HEADER_BYTES + position * width;
        self.buf.drain(at..at + width);
        self.set_len(self.len() - 1);
        true
    }

    /// The members in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + '_ {
        (0..self.len()).map(|index| self.at(index))
    }

    /// Bytes that the allocator holds for this set.
    pub fn heap_bytes(&self) -> usize {
        allocation_bytes(self.buf.capacity())
    }

    fn width(&self) -> usize {
        le_u32(&self.buf[..4]) as usize
    }

    /// The position of `value`, or where it would have to stand.
    fn search(&self, value: i64) -> Result<usize, usize> {
        if width_of(value) > self.width() {
            return Err(if value < 0 { 0 } else { self.len() });
        }
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.at(middle).cmp(&value) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    fn at(&self, index: usize) -> i64 {
        let width = self.width();
        let start = HEADER_BYTES + index * width;
        let bytes = &self.buf[start..start + width];
        match *bytes {
            [a, b] => i64::from(i16::from_le_bytes([a, b])),
            [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
            _ => i64::from_le_bytes(bytes.try_into().expect("widths are 2, 4 and 8")),
        }
    }

    /// Overwrites the slot at `index`; the value must fit the current width.
    fn put(&mut self, index: usize, value: i64) {
        let width = self.width();
        let start = HEADER_BYTES + index * width;
        self.buf[start..start + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }

    fn widen(&mut self, width: usize) {
        let values: Vec<i64> = self.iter().collect();
        self.buf.truncate(HEADER_BYTES);
        self.buf[..4].copy_from_slice(&(width as u32).to_le_bytes());
        self.reserve((values.len() + 1) * width);
        self.buf.resize(HEADER_BYTES + values.len() * width, 0);
        for (index, value) in values.into_iter().enumerate() {
            self.put(index, value);
        }
    }

    /// Room for `additional` bytes, rounded up to what the allocator hands out anyway: no slack that
    /// nobody can use, and no reallocation for every member.
    fn reserve(&mut self, additional: usize) {
        let needed = self.buf.len() + additional;
        if needed > self.buf.capacity() {
            self.buf
                .reserve_exact(allocation_bytes(needed) - self.buf.len());
        }
    }

    fn set_len(&mut self, len: usize) {
        self.buf[4..8].copy_from_slice(&(len as u32).to_le_bytes());
    }
}

impl Default for IntSet {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for IntSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The narrowest width in bytes that holds `value`.
fn width_of(value: i64) -> usize {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

fn le_u32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("the caller cuts four bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn bytes_are_those_of_redis() {
        let mut set = IntSet::new();
        for value in [5, -1, 300] {
            assert!(set.add(value));
        }
        assert_eq!(
            set.as_bytes(),
            [2, 0, 0, 0, 3, 0, 0, 0, 0xff, 0xff, 5, 0, 0x2c, 1]
        );
    }

    #[test]
    fn a_wide_member_widens_all_and_width_stays_after_it_left() {
        let mut set = IntSet::new();
        for value in [1, i64::from(i32::MAX), i64::MIN, 2] {
            assert!(set.add(value));
        }
        assert_eq!(set.as_bytes()[0], 8);
        assert!(set.remove(i64::MIN));
        assert_eq!(set.as_bytes()[0], 8);
        assert_eq!(set.iter().collect::<Vec<_>>(), [1, 2, i64::from(i32::MAX)]);
        assert_eq!(IntSet::from_bytes(set.as_bytes()), Ok(set));
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let parse = IntSet::from_bytes;
        assert_eq!(parse(b""), Err(IntSetError::Header));
        assert_eq!(parse(&[2, 0, 0, 0, 0, 0, 0, 0]), Err(IntSetError::Header));
        assert_eq!(
            parse(&[3, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1]),
            Err(IntSetError::Header)
        );
        assert_eq!(
            parse(&[2, 0, 0, 0, 2, 0, 0, 0, 1, 0]),
            Err(IntSetError::Length)
        );
        assert_eq!(
            parse(&[8, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
            Err(IntSetError::Length)
        );
        assert_eq!(
            parse(&[2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 1, 0]),
            Err(IntSetError::Order)
        );
    }

    /// Integers around every width's edges, and a few close together so that removals hit.
    fn integers() -> impl Strategy<Value = i64> {
        prop_oneof![
            -20..20i64,
            Just(i64::from(i16::MAX) + 1),
            Just(i64::from(i16::MIN)),
            Just(i64::from(i32::MIN) - 1),
            Just(i64::MAX),
            any::<i64>(),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_set(ops in prop::collection::vec((any::<bool>(), integers()), 0..200)) {
            let (mut set, mut model) = (IntSet::new(), BTreeSet::new());
            for (add, value) in ops {
                if add {
                    prop_assert_eq!(set.add(value), model.insert(value));
                } else {
                    prop_assert_eq!(set.remove(value), model.remove(&value));
                }
                prop_assert_eq!(set.contains(value), model.contains(&value));
                prop_assert_eq!(set.len(), model.len());
            }
            prop_assert!(set.iter().eq(model.iter().copied()));
            if !set.is_empty() {
                prop_assert_eq!(IntSet::from_bytes(set.as_bytes()), Ok(set));
            }
        }

        #[test]
        fn bytes_from_outside_never_panic(
            header in prop::sample::select(vec![[2u8, 0, 0, 0], [4, 0, 0, 0], [8, 0, 0, 0], [9, 9, 9, 9]]),
            len in 0u8..6,
            body in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut bytes = header.to_vec();
            bytes.extend([len, 0, 0, 0]);
            bytes.extend(body);
            if let Ok(mut set) = IntSet::from_bytes(&bytes) {
                prop_assert_eq!(set.as_bytes(), &bytes[..]);
                set.add(i64::MAX);
                set.remove(0);
                prop_assert!(set.iter().count() == set.len());
            }
        }
    }
}
