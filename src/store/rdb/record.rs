//! One key of a snapshot or of a move between shards: database, deadline, key, value in its exact encoding.
//!
//! ```text
//! database: length | deadline: 0, or 1 and u64 ms | key: string | value: type byte, body
//! ```

use super::decode::{read_value, Decoding};
use super::encode::{encode_value, Form};
use super::wire::{put_blob, put_len, BadFormat, Reader};
use crate::store::{Timestamp, Value, ValueRef};

/// A key as [`Records`] reads it.
#[derive(Debug)]
pub struct Record {
    pub database: u16,
    pub key: Vec<u8>,
    pub deadline: Option<Timestamp>,
    pub value: Value,
}

/// Appends one key; an [`Encode`](crate::store::Encode).
pub fn put_record(
    database: u16,
    key: &[u8],
    deadline: Option<Timestamp>,
    value: ValueRef<'_>,
    out: &mut Vec<u8>,
) {
    put_len(out, usize::from(database));
    match deadline {
        None => out.push(0),
        Some(Timestamp(ms)) => {
            out.push(1);
            out.extend_from_slice(&ms.to_le_bytes());
        }
    }
    put_blob(out, key);
    encode_value(value, Form::Exact, out);
}

/// The keys in bytes that [`put_record`] wrote, one after the other; ends behind the first error.
pub struct Records<'a> {
    reader: Option<Reader<'a>>,
}

impl<'a> Records<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            reader: Some(Reader::new(bytes)),
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, BadFormat>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut().filter(|reader| !reader.is_at_end())?;
        let record = read_record(reader);
        if record.is_err() {
            self.reader = None;
        }
        Some(record)
    }
}

fn read_record(reader: &mut Reader<'_>) -> Result<Record, BadFormat> {
    let database = u16::try_from(reader.len()?).map_err(|_| BadFormat)?;
    let deadline = match reader.byte()? {
        0 => None,
        1 => Some(Timestamp(reader.u64()?)),
        _ => return Err(BadFormat),
    };
    Ok(Record {
        database,
        key: reader.string()?.into_owned(),
        deadline,
        value: read_value(reader, Decoding::Exact)?,
    })
}
