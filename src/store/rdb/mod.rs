//! The RDB object encoding of one value: what DUMP, RESTORE, snapshots and moves between shards carry.
//! Knows no files and no commands.
//!
//! A value is its type byte and a body made of lengths and strings (`wire`). Redis 7.2 writes RDB version 11;
//! everything that its RESTORE reads is read here, and what is written here it reads. All input is checked:
//! sizes before anything is allocated, packed layouts element by element.

mod crc64;
mod decode;
mod encode;
mod legacy;
mod lzf;
mod record;
#[cfg(test)]
mod tests;
mod wire;

pub use decode::{decode_value, Decoding};
pub use encode::{encode_value, Form};
pub use record::{put_record, Record, Records};
pub use wire::BadFormat;

use super::{Limits, Value, ValueRef};

/// RDB version of Redis 7.2.
const VERSION: u16 = 11;
/// Version and checksum behind a DUMP payload.
const FOOTER_BYTES: usize = 2 + 8;

/// Type bytes of the format.
mod kind {
    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    pub const ZSET: u8 = 3;
    pub const HASH: u8 = 4;
    pub const ZSET_2: u8 = 5;
    pub const HASH_ZIPMAP: u8 = 9;
    pub const LIST_ZIPLIST: u8 = 10;
    pub const SET_INTSET: u8 = 11;
    pub const ZSET_ZIPLIST: u8 = 12;
    pub const HASH_ZIPLIST: u8 = 13;
    pub const LIST_QUICKLIST: u8 = 14;
    pub const HASH_LISTPACK: u8 = 16;
    pub const ZSET_LISTPACK: u8 = 17;
    pub const LIST_QUICKLIST_2: u8 = 18;
    pub const SET_LISTPACK: u8 = 20;
    /// Ours, in [`super::Form::Exact`] only: a list that is one listpack. Redis writes it as a quicklist of
    /// one node and decides anew when it reads it.
    pub const LIST_LISTPACK: u8 = 200;
}

/// Containers of a quicklist's nodes.
mod node {
    pub const PLAIN: usize = 1;
    pub const PACKED: usize = 2;
}

/// Why RESTORE refuses a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    #[error("DUMP payload version or checksum are wrong")]
    VersionOrChecksum,
    #[error("Bad data format")]
    BadFormat,
}

/// The payload that DUMP answers: value, RDB version, CRC-64 of both.
pub fn dump(value: ValueRef<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    encode_value(value, Form::Dump, &mut out);
    out.extend_from_slice(&VERSION.to_le_bytes());
    let checksum = crc64::crc64(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// The value of a DUMP payload of this or an older version, in the encoding that `limits` ask for.
pub fn restore(payload: &[u8], limits: &Limits) -> Result<Value, RestoreError> {
    let split = payload.len().checked_sub(FOOTER_BYTES);
    let (value, footer) = payload.split_at(split.ok_or(RestoreError::VersionOrChecksum)?);
    let mut footer = wire::Reader::new(footer);
    let version = footer.u16().map_err(|_| RestoreError::VersionOrChecksum)?;
    let checksum = footer.u64().map_err(|_| RestoreError::VersionOrChecksum)?;
    if version > VERSION || checksum != crc64::crc64(&payload[..payload.len() - 8]) {
        return Err(RestoreError::VersionOrChecksum);
    }
    decode_value(value, Decoding::Natural(limits)).map_err(|_| RestoreError::BadFormat)
}
