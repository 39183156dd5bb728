//! Reads the two packed layouts that came before listpacks, ziplist and zipmap. Nothing writes them.

use super::wire::{BadFormat, Reader};
use crate::store::listpack::Element;

const END: u8 = 0xFF;
/// Length bytes from here on: a `u32` follows.
const LONG: u8 = 0xFE;

/// The elements of a ziplist:
/// `total: u32 | offset of the last entry: u32 | count: u16 | entry ... | 0xFF`, little endian;
/// an entry is `length of the one before: u8, or 0xFE and u32 | encoding | data`.
pub fn ziplist(bytes: &[u8]) -> Result<Vec<Element<'_>>, BadFormat> {
    let mut reader = Reader::new(bytes);
    let total = little_u32(&mut reader)?;
    let _last_entry = reader.take(4)?;
    let declared = reader.take(2)?;
    let declared = u16::from_le_bytes([declared[0], declared[1]]);
    if total != bytes.len() {
        return Err(BadFormat);
    }
    let mut elements = Vec::new();
    loop {
        match reader.byte()? {
            END => break,
            LONG => drop(reader.take(4)?),
            _ => {}
        }
        elements.push(ziplist_element(&mut reader)?);
    }
    let counted = declared == u16::MAX || usize::from(declared) == elements.len();
    if !reader.is_at_end() || !counted {
        return Err(BadFormat);
    }
    Ok(elements)
}

fn ziplist_element<'a>(reader: &mut Reader<'a>) -> Result<Element<'a>, BadFormat> {
    let encoding = reader.byte()?;
    let integer_bytes = match encoding {
        0..0x40 => return reader.take(usize::from(encoding)).map(Element::Bytes),
        0x40..0x80 => {
            let len = usize::from(encoding & 0x3F) << 8 | usize::from(reader.byte()?);
            return reader.take(len).map(Element::Bytes);
        }
        0x80 => {
            let len = reader.take(4)?;
            let len = u32::from_be_bytes([len[0], len[1], len[2], len[3]]);
            return reader.take(len as usize).map(Element::Bytes);
        }
        0xC0 => 2,
        0xD0 => 4,
        0xE0 => 8,
        0xF0 => 3,
        0xFE => 1,
        0xF1..=0xFD => return Ok(Element::Int(i64::from(encoding - 0xF1))),
        _ => return Err(BadFormat),
    };
    let mut value = [0u8; 8];
    value[8 - integer_bytes..].copy_from_slice(reader.take(integer_bytes)?);
    // From the top bytes down again, so that the sign is kept.
    let value = i64::from_le_bytes(value) >> (64 - 8 * integer_bytes);
    Ok(Element::Int(value))
}

/// The fields and values of a zipmap, in turn:
/// `count: u8 | (length | field | length | free: u8 | value | free bytes) ... | 0xFF`.
pub fn zipmap(bytes: &[u8]) -> Result<Vec<Element<'_>>, BadFormat> {
    let mut reader = Reader::new(bytes);
    let declared = reader.byte()?;
    let mut elements = Vec::new();
    while let Some(len) = zipmap_len(&mut reader)? {
        elements.push(Element::Bytes(reader.take(len)?));
        let len = zipmap_len(&mut reader)?.ok_or(BadFormat)?;
        let free = reader.byte()?;
        elements.push(Element::Bytes(reader.take(len)?));
        reader.take(usize::from(free))?;
    }
    let counted = declared >= LONG || usize::from(declared) == elements.len() / 2;
    if !reader.is_at_end() || !counted {
        return Err(BadFormat);
    }
    Ok(elements)
}

/// `None` at the end mark.
fn zipmap_len(reader: &mut Reader<'_>) -> Result<Option<usize>, BadFormat> {
    match reader.byte()? {
        END => Ok(None),
        LONG => little_u32(reader).map(Some),
        len => Ok(Some(usize::from(len))),
    }
}

fn little_u32(reader: &mut Reader<'_>) -> Result<usize, BadFormat> {
    let bytes = reader.take(4)?;
    Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
}
