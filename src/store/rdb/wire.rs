//! The primitives of the RDB format: lengths, strings, scores. Knows no value types.

use std::borrow::Cow;

use super::lzf;

/// The bytes are not what their type says. One error for all damage: RESTORE answers it with one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad data format")]
pub struct BadFormat;

/// Marks of the first byte of a length, in its top two bits or whole.
const LENGTH_14_BITS: u8 = 0x40;
const LENGTH_32_BITS: u8 = 0x80;
const LENGTH_64_BITS: u8 = 0x81;
const ENCODED: u8 = 0xC0;
const ENCODED_INT8: u8 = 0;
const ENCODED_INT16: u8 = 1;
const ENCODED_INT32: u8 = 2;
const ENCODED_LZF: u8 = 3;
/// Longer text is never an integer of 32 bits.
const INTEGER_TEXT_MAX: usize = 11;

/// Appends a length.
pub fn put_len(out: &mut Vec<u8>, len: usize) {
    match len {
        0..=0x3F => out.push(len as u8),
        0x40..=0x3FFF => out.extend_from_slice(&[LENGTH_14_BITS | (len >> 8) as u8, len as u8]),
        0x4000..=0xFFFF_FFFF => {
            out.push(LENGTH_32_BITS);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
        _ => {
            out.push(LENGTH_64_BITS);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// Appends a string; short integers in their binary form.
pub fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() <= INTEGER_TEXT_MAX {
        if let Some(value) = crate::store::listpack::parse_int(bytes) {
            if put_small_int(out, value) {
                return;
            }
        }
    }
    put_blob(out, bytes);
}

/// Appends a string that is no number.
pub fn put_blob(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends an integer as a string.
pub fn put_int(out: &mut Vec<u8>, value: i64) {
    if !put_small_int(out, value) {
        put_blob(out, itoa::Buffer::new().format(value).as_bytes());
    }
}

fn put_small_int(out: &mut Vec<u8>, value: i64) -> bool {
    if let Ok(value) = i8::try_from(value) {
        out.extend_from_slice(&[ENCODED | ENCODED_INT8, value as u8]);
    } else if let Ok(value) = i16::try_from(value) {
        out.push(ENCODED | ENCODED_INT16);
        out.extend_from_slice(&value.to_le_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        out.push(ENCODED | ENCODED_INT32);
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        return false;
    }
    true
}

/// Bytes that the compressed strings of one value may become. Without a bound a payload of 512 MiB could
/// ask for 44 GiB.
const DECOMPRESSED_BYTES_MAX: usize = 2 << 30;

/// A reading position in bytes that nobody vouches for.
pub struct Reader<'a> {
    rest: &'a [u8],
    decompressed_bytes: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            decompressed_bytes: 0,
        }
    }

    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn take(&mut self, len: usize) -> Result<&'a [u8], BadFormat> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(BadFormat)?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn byte(&mut self) -> Result<u8, BadFormat> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadFormat> {
        self.take(N)?.try_into().map_err(|_| BadFormat)
    }

    pub fn len(&mut self) -> Result<usize, BadFormat> {
        let first = self.byte()?;
        self.len_after(first)
    }

    fn len_after(&mut self, first: u8) -> Result<usize, BadFormat> {
        let len = match first {
            0..LENGTH_14_BITS => u64::from(first),
            LENGTH_14_BITS..LENGTH_32_BITS => {
                u64::from(first & 0x3F) << 8 | u64::from(self.byte()?)
            }
            LENGTH_32_BITS => u64::from(u32::from_be_bytes(self.array()?)),
            LENGTH_64_BITS => u64::from_be_bytes(self.array()?),
            _ => return Err(BadFormat),
        };
        usize::try_from(len).map_err(|_| BadFormat)
    }

    /// A number of things to come, each of at least `bytes_each` bytes: never more than the rest can hold,
    /// so that it may size an allocation.
    pub fn count(&mut self, bytes_each: usize) -> Result<usize, BadFormat> {
        let count = self.len()?;
        if count > self.rest.len() / bytes_each {
            return Err(BadFormat);
        }
        Ok(count)
    }

    pub fn string(&mut self) -> Result<Cow<'a, [u8]>, BadFormat> {
        let first = self.byte()?;
        if first < ENCODED {
            let len = self.len_after(first)?;
            return self.take(len).map(Cow::Borrowed);
        }
        let number = match first & !ENCODED {
            ENCODED_INT8 => i64::from(i8::from_le_bytes(self.array()?)),
            ENCODED_INT16 => i64::from(i16::from_le_bytes(self.array()?)),
            ENCODED_INT32 => i64::from(i32::from_le_bytes(self.array()?)),
            ENCODED_LZF => return self.compressed(),
            _ => return Err(BadFormat),
        };
        Ok(Cow::Owned(number.to_string().into_bytes()))
    }

    fn compressed(&mut self) -> Result<Cow<'a, [u8]>, BadFormat> {
        let packed_len = self.len()?;
        let len = self.len()?;
        let packed = self.take(packed_len)?;
        self.decompressed_bytes = self.decompressed_bytes.saturating_add(len);
        if self.decompressed_bytes > DECOMPRESSED_BYTES_MAX {
            return Err(BadFormat);
        }
        lzf::decompress(packed, len)
            .map(Cow::Owned)
            .ok_or(BadFormat)
    }

    /// A score in binary.
    pub fn double(&mut self) -> Result<f64, BadFormat> {
        self.array().map(f64::from_le_bytes)
    }

    /// A score as text, as Redis wrote it before version 4.
    pub fn text_double(&mut self) -> Result<f64, BadFormat> {
        match self.byte()? {
            253 => Ok(f64::NAN),
            254 => Ok(f64::INFINITY),
            255 => Ok(f64::NEG_INFINITY),
            len => {
                let text =
                    std::str::from_utf8(self.take(usize::from(len))?).map_err(|_| BadFormat)?;
                text.parse().map_err(|_| BadFormat)
            }
        }
    }

    pub fn u16(&mut self) -> Result<u16, BadFormat> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, BadFormat> {
        self.array().map(u64::from_le_bytes)
    }
}
