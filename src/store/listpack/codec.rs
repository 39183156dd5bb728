//! How one element lies in a listpack: encoding, data and backlen. Knows nothing of the sequence around it.
//!
//! ```text
//! 0xxxxxxx                     unsigned 7 bit integer
//! 10llllll data                string of up to 63 bytes
//! 110xxxxx xxxxxxxx            signed 13 bit integer, high byte first
//! 1110llll llllllll data       string of up to 4095 bytes, high byte first
//! 11110000 4-byte-length data  string, little endian like all below
//! 11110001 11110010 11110011 11110100   signed integers of 16, 24, 32 and 64 bits
//! 11111111                     end of the listpack
//! ```
//!
//! After encoding and data comes the backlen, the length of the two, 7 bits a byte, to be read from its
//! last byte backwards; every byte but the one that is read last has its top bit set.
//! Format: <https://github.com/antirez/listpack/blob/master/listpack.md>.

use crate::store::value::canonical_int as parse_int;
use std::cmp::Ordering;

/// The byte that ends a listpack.
pub(super) const END: u8 = 0xFF;

const STRING_SHORT_MAX: usize = 63;
const STRING_MEDIUM_MAX: usize = 4095;

/// One element: integers in canonical decimal are kept as numbers, all else as bytes.
#[derive(Clone, Copy, Debug)]
pub enum Element<'a> {
    Int(i64),
    Bytes(&'a [u8]),
}

impl<'a> Element<'a> {
    /// The element as the encoder would keep these bytes.
    pub fn of(bytes: &'a [u8]) -> Self {
        match parse_int(bytes) {
            Some(value) => Element::Int(value),
            None => Element::Bytes(bytes),
        }
    }

    /// Calls `f` with the element as bytes.
    #[inline]
    pub fn with_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        match *self {
            Element::Int(value) => f(itoa::Buffer::new().format(value).as_bytes()),
            Element::Bytes(bytes) => f(bytes),
        }
    }

    /// Appends the element as bytes.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        self.with_bytes(|bytes| out.extend_from_slice(bytes));
    }

    /// The element as bytes of its own.
    pub fn to_vec(&self) -> Vec<u8> {
        self.with_bytes(|bytes| bytes.to_vec())
    }

    /// The element as a box of its own.
    pub fn to_box(&self) -> Box<[u8]> {
        self.with_bytes(|bytes| bytes.into())
    }

    /// Length of the element as bytes.
    pub fn byte_len(&self) -> usize {
        self.with_bytes(|bytes| bytes.len())
    }

    /// Compares with bytes; to compare one value with many elements use [`Needle`].
    pub fn eq_bytes(&self, other: &[u8]) -> bool {
        Needle::new(other).matches(*self)
    }

    /// Order of the two as bytes.
    pub fn cmp_bytes(&self, other: &[u8]) -> Ordering {
        self.with_bytes(|bytes| bytes.cmp(other))
    }
}

/// Equality of what the elements say: a number equals its decimal text.
impl PartialEq for Element<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (*self, *other) {
            (Element::Int(a), Element::Int(b)) => a == b,
            (Element::Bytes(a), Element::Bytes(b)) => a == b,
            (Element::Int(a), Element::Bytes(b)) | (Element::Bytes(b), Element::Int(a)) => {
                parse_int(b) == Some(a)
            }
        }
    }
}

impl Eq for Element<'_> {}

/// A value to look for, parsed once however many elements it is compared with.
#[derive(Clone, Copy)]
pub struct Needle<'a> {
    bytes: &'a [u8],
    int: Option<i64>,
}

impl<'a> Needle<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            int: parse_int(bytes),
        }
    }

    #[inline]
    pub fn matches(&self, element: Element<'_>) -> bool {
        match element {
            Element::Int(value) => self.int == Some(value),
            Element::Bytes(bytes) => bytes == self.bytes,
        }
    }
}

/// An element ready to be copied into place.
pub(super) struct Encoded<'a> {
    head: [u8; 9],
    head_len: u8,
    backlen_len: u8,
    backlen: [u8; 5],
    payload: &'a [u8],
}

impl<'a> Encoded<'a> {
    pub(super) fn new(element: Element<'a>) -> Self {
        let (head, head_len, payload): (_, _, &[u8]) = match element {
            Element::Int(value) => {
                let (head, len) = int_head(value);
                (head, len, &[])
            }
            Element::Bytes(bytes) => {
                let (head, len) = string_head(bytes.len());
                (head, len, bytes)
            }
        };
        let (backlen, backlen_len) = encode_backlen(head_len + payload.len());
        Self {
            head,
            head_len: head_len as u8,
            backlen_len: backlen_len as u8,
            backlen,
            payload,
        }
    }

    /// Bytes the element takes in a listpack.
    pub(super) fn len(&self) -> usize {
        usize::from(self.head_len) + self.payload.len() + usize::from(self.backlen_len)
    }

    /// Writes the element; `out` must be exactly [`Encoded::len`] long.
    pub(super) fn write(&self, out: &mut [u8]) {
        let (head, rest) = out.split_at_mut(usize::from(self.head_len));
        let (payload, backlen) = rest.split_at_mut(self.payload.len());
        head.copy_from_slice(&self.head[..head.len()]);
        payload.copy_from_slice(self.payload);
        backlen.copy_from_slice(&self.backlen[..backlen.len()]);
    }
}

fn int_head(value: i64) -> ([u8; 9], usize) {
    let mut head = [0; 9];
    let bytes = value.to_le_bytes();
    let len = match value {
        0..=127 => {
            head[0] = value as u8;
            return (head, 1);
        }
        -4096..=4095 => {
            let bits = (value as u16) & 0x1FFF;
            head[0] = 0xC0 | (bits >> 8) as u8;
            head[1] = bits as u8;
            return (head, 2);
        }
        -0x8000..=0x7FFF => 2,
        -0x80_0000..=0x7F_FFFF => 3,
        -0x8000_0000..=0x7FFF_FFFF => 4,
        _ => 8,
    };
    head[0] = match len {
        2 => 0xF1,
        3 => 0xF2,
        4 => 0xF3,
        _ => 0xF4,
    };
    head[1..=len].copy_from_slice(&bytes[..len]);
    (head, len + 1)
}

fn string_head(len: usize) -> ([u8; 9], usize) {
    let mut head = [0; 9];
    if len <= STRING_SHORT_MAX {
        head[0] = 0x80 | len as u8;
        (head, 1)
    } else if len <= STRING_MEDIUM_MAX {
        head[0] = 0xE0 | (len >> 8) as u8;
        head[1] = len as u8;
        (head, 2)
    } else {
        head[0] = 0xF0;
        head[1..5].copy_from_slice(&(len as u32).to_le_bytes());
        (head, 5)
    }
}

/// Bytes the backlen of an entry of `entry_len` takes. The odd limits, one below what would fit, are
/// the format's own: a reader that walks forward relies on them.
#[inline]
pub(super) fn backlen_bytes(entry_len: usize) -> usize {
    match entry_len {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    }
}

fn encode_backlen(entry_len: usize) -> ([u8; 5], usize) {
    let len = backlen_bytes(entry_len);
    let mut bytes = [0; 5];
    for (i, byte) in bytes[..len].iter_mut().enumerate() {
        let bits = (entry_len >> (7 * (len - 1 - i))) as u8 & 0x7F;
        *byte = if i == 0 { bits } else { bits | 0x80 };
    }
    (bytes, len)
}

/// Reads the backlen that ends just before `end`; gives the length of encoding and data and the bytes
/// the backlen itself takes.
#[inline]
pub(super) fn read_backlen(bytes: &[u8], end: usize) -> (usize, usize) {
    let mut value = 0;
    let mut taken = 0;
    loop {
        let byte = bytes[end - 1 - taken];
        value |= usize::from(byte & 0x7F) << (7 * taken);
        taken += 1;
        if byte & 0x80 == 0 || taken == 5 {
            return (value, taken);
        }
    }
}

/// Decodes the element at `at`, which must be the start of a valid one; gives it and the offset of
/// what follows it.
#[inline]
pub(super) fn decode(bytes: &[u8], at: usize) -> (Element<'_>, usize) {
    let first = bytes[at];
    match first {
        // The two commonest forms first, with their one-byte backlen known.
        0x80..=0xBF => {
            let len = usize::from(first & 0x3F);
            let data = at + 1;
            (Element::Bytes(&bytes[data..data + len]), data + len + 1)
        }
        0x00..=0x7F => (Element::Int(i64::from(first)), at + 2),
        0xC0..=0xDF => {
            let bits = u16::from_be_bytes([first & 0x1F, bytes[at + 1]]);
            // Move the 13th bit up to the sign and back.
            (Element::Int(i64::from(((bits << 3) as i16) >> 3)), at + 3)
        }
        0xE0..=0xEF => {
            let len = usize::from(u16::from_be_bytes([first & 0x0F, bytes[at + 1]]));
            string_at(bytes, at, 2, len)
        }
        0xF0 => {
            let len = int_at(bytes, at + 1, 4) as u32 as usize;
            string_at(bytes, at, 5, len)
        }
        0xF1 => (Element::Int(int_at(bytes, at + 1, 2)), at + 4),
        0xF2 => (Element::Int(int_at(bytes, at + 1, 3)), at + 5),
        0xF3 => (Element::Int(int_at(bytes, at + 1, 4)), at + 6),
        _ => (Element::Int(int_at(bytes, at + 1, 8)), at + 10),
    }
}

fn string_at(bytes: &[u8], at: usize, head: usize, len: usize) -> (Element<'_>, usize) {
    let data = at + head;
    let next = data + len + backlen_bytes(head + len);
    (Element::Bytes(&bytes[data..data + len]), next)
}

/// A little-endian signed integer of `width` bytes.
fn int_at(bytes: &[u8], at: usize, width: usize) -> i64 {
    let mut wide = [0; 8];
    wide[8 - width..].copy_from_slice(&bytes[at..at + width]);
    i64::from_le_bytes(wide) >> (64 - 8 * width)
}

/// Length of encoding and data of the entry at `at` in bytes nobody vouches for, or nothing where they
/// are not an entry that lies wholly before the end.
pub(super) fn checked_entry_len(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let len = match *rest.first()? {
        0x00..=0x7F => 1,
        first @ 0x80..=0xBF => 1 + usize::from(first & 0x3F),
        0xC0..=0xDF => 2,
        first @ 0xE0..=0xEF => 2 + usize::from(u16::from_be_bytes([first & 0x0F, *rest.get(1)?])),
        0xF0 => {
            let len: [u8; 4] = rest.get(1..5)?.try_into().ok()?;
            (u32::from_le_bytes(len) as usize).checked_add(5)?
        }
        0xF1 => 3,
        0xF2 => 4,
        0xF3 => 5,
        0xF4 => 9,
        _ => return None,
    };
    (len < rest.len()).then_some(len)
}

/// Whether the backlen that follows an entry is the one that a writer would have put there.
pub(super) fn backlen_is(bytes: &[u8], at: usize, entry_len: usize) -> bool {
    let (expected, len) = encode_backlen(entry_len);
    bytes.get(at..at + len) == Some(&expected[..len])
}
