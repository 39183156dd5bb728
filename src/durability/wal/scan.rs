//! Reads a segment's records one after another through a large buffer, and looks for records behind damage.

use std::io;

use super::layout::{
    u64_at, RecordHeader, SegmentHeader, RECORD_ALIGN, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES,
};
use super::record::Items;
use super::RecordNumber;
use crate::durability::disk::{read_full_at, DiskFile};

/// Read at once: what the kernel copies is still in the processor's cache when it is looked at, which larger reads lose (measured).
/// A longer record makes the buffer grow to its own length, never beyond the file's.
const READ_BYTES: usize = 256 << 10;
/// Looked at in one go when searching behind damage.
const SEARCH_BYTES: usize = 256 << 10;

/// A part of a file in memory; used for one file after another.
#[derive(Default)]
pub(super) struct ReadBuffer {
    bytes: Vec<u8>,
    /// File offset of the first byte.
    start: u64,
    filled: usize,
}

/// What stands at the reader's offset.
pub(super) enum Step<'a> {
    Record {
        header: RecordHeader,
        items: Items<'a>,
    },
    /// No record with the expected number, or one that fails its checksum.
    Nothing,
    /// A record whose checksum holds and whose body makes no sense: no crash leaves that behind.
    Malformed,
}

/// Records of the same life of the file behind a bad one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evidence {
    pub records: u64,
    pub synced_through: RecordNumber,
}

pub(super) struct SegmentReader<'a> {
    file: &'a dyn DiskFile,
    len: u64,
    sequence: u64,
    crc_seed: u32,
    buffer: &'a mut ReadBuffer,
    /// Of the next record.
    pub offset: u64,
}

impl<'a> SegmentReader<'a> {
    pub fn new(
        file: &'a dyn DiskFile,
        len: u64,
        header: &SegmentHeader,
        buffer: &'a mut ReadBuffer,
    ) -> Self {
        buffer.filled = 0;
        Self {
            file,
            len,
            sequence: header.sequence,
            crc_seed: header.crc_seed(),
            buffer,
            offset: SEGMENT_HEADER_BYTES as u64,
        }
    }

    /// The record at the offset, which must have the expected number if there is one. Moves behind it.
    pub fn step(&mut self, expected: Option<RecordNumber>) -> io::Result<Step<'_>> {
        let (offset, sequence, crc_seed) = (self.offset, self.sequence, self.crc_seed);
        let window = self.window(offset, RECORD_HEADER_BYTES)?;
        let Some(header) = RecordHeader::decode(window, sequence, crc_seed) else {
            return Ok(Step::Nothing);
        };
        let len = header.len as usize;
        if expected.is_some_and(|number| number != header.number) {
            return Ok(Step::Nothing);
        }
        if self.len.saturating_sub(offset) < len as u64 {
            return Ok(Step::Nothing);
        }
        self.offset += len as u64;
        let window = self.window(offset, len)?;
        let record = window.get(..len).unwrap_or_default();
        if !header.is_whole(record, crc_seed) {
            return Ok(Step::Nothing);
        }
        let body = &record[RECORD_HEADER_BYTES..];
        Ok(match Items::parse(body, header.items) {
            Some(items) => Step::Record { header, items },
            None => Step::Malformed,
        })
    }

    /// Looks from an offset on for record headers with higher numbers than `after`, or without it, than that of a record at
    /// the very place, which is the torn one. A header is enough: its checksum is salted, so nothing but a write of this log put
    /// it there.
    pub fn search(&mut self, from: u64, after: Option<RecordNumber>) -> io::Result<Evidence> {
        let (sequence, crc_seed) = (self.sequence, self.crc_seed);
        let mut found = Evidence::default();
        let after = match after {
            Some(after) => Some(after),
            None => {
                RecordHeader::decode(self.window(from, RECORD_HEADER_BYTES)?, sequence, crc_seed)
                    .map(|torn| torn.number)
            }
        };
        let mut at = from;
        loop {
            let window = self.window(at, SEARCH_BYTES)?;
            let mut pos = 0;
            while pos + RECORD_HEADER_BYTES <= window.len() {
                // Most places fail here; the whole header is decoded only for the few that do not.
                let header = (u64_at(window, pos + 16) == sequence)
                    .then(|| RecordHeader::decode(&window[pos..], sequence, crc_seed))
                    .flatten();
                pos += match header {
                    Some(header) if after.is_none_or(|after| header.number > after) => {
                        found.records += 1;
                        found.synced_through = found.synced_through.max(header.synced_through);
                        header.len as usize
                    }
                    _ => RECORD_ALIGN,
                };
            }
            if window.len() < RECORD_HEADER_BYTES {
                return Ok(found);
            }
            at += pos as u64;
        }
    }

    /// The file from `offset` on: at least `want` bytes unless the file ends before.
    fn window(&mut self, offset: u64, want: usize) -> io::Result<&[u8]> {
        let want = self.len.saturating_sub(offset).min(want as u64) as usize;
        let buffer = &mut *self.buffer;
        let inside = offset >= buffer.start
            && offset + want as u64 <= buffer.start + buffer.filled as u64
            && buffer.filled > 0;
        if !inside {
            let size = want.max(READ_BYTES);
            if buffer.bytes.len() < size {
                buffer.bytes.resize(size, 0);
            }
            let overlap = offset
                .checked_sub(buffer.start)
                .filter(|from| *from < buffer.filled as u64);
            let kept = overlap.map_or(0, |from| {
                buffer.bytes.copy_within(from as usize..buffer.filled, 0);
                buffer.filled - from as usize
            });
            buffer.start = offset;
            buffer.filled = kept;
            let limit = self
                .len
                .saturating_sub(offset)
                .min(buffer.bytes.len() as u64) as usize;
            let read = read_full_at(
                self.file,
                offset + kept as u64,
                &mut buffer.bytes[kept..limit.max(kept)],
            )?;
            buffer.filled += read;
        }
        let from = (offset - self.buffer.start) as usize;
        Ok(self
            .buffer
            .bytes
            .get(from..self.buffer.filled)
            .unwrap_or_default())
    }
}
