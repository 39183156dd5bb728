//! Reads a snapshot: the whole file is checked before the first byte is given out.

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use ringfort_cluster::codec;

use super::format::{
    self, chunk_crc, u32_at, BadPrefix, Totals, CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, CRC_BYTES,
    FOOTER_BYTES, FORMAT_VERSION, PREFIX_BYTES,
};
use super::{SnapshotError, SnapshotFile, SnapshotMeta};
use crate::durability::disk::{read_full_at, SharedDisk, SharedFile};

/// Read at once.
const READ_BYTES: usize = 1 << 20;

/// A snapshot whose checksums all hold. Reading gives the stream of bytes that was appended; chunks are borrowed
/// from the buffer by `fill_buf`.
pub struct SnapshotReader {
    path: PathBuf,
    meta: SnapshotMeta,
    totals: Totals,
    input: Input,
    /// Where the chunks begin, and what their checksums start from.
    start: (u64, u32),
    crc: u32,
    /// The unread part of the present chunk, in the input's buffer.
    chunk: std::ops::Range<usize>,
}

impl SnapshotReader {
    /// Opens a snapshot and checks all of it.
    ///
    /// # Errors
    /// Damage (with the byte offset), an unknown version, a failing disk.
    pub fn open(disk: &SharedDisk, file: &SnapshotFile) -> Result<Self, SnapshotError> {
        let path = file.path.clone();
        let opened = disk.open(&path).and_then(Input::new);
        let mut input = opened.map_err(|error| SnapshotError::io("open", &path, error))?;
        let (meta, crc) = read_head(&mut input, &path)?;
        if (meta.shard, meta.index) != (file.shard, file.index) {
            let what = "it is another snapshot under this name";
            return Err(SnapshotError::Damaged {
                path,
                offset: 0,
                what,
            });
        }
        let start = (input.offset, crc);
        let totals = Totals::default();
        let mut reader = Self {
            path,
            meta,
            totals,
            input,
            start,
            crc,
            chunk: 0..0,
        };
        reader.totals = reader.check()?;
        reader.rewind();
        Ok(reader)
    }

    #[must_use]
    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// As given to `finish`.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.totals.records
    }

    /// Length of the stream.
    #[must_use]
    pub fn stream_bytes(&self) -> u64 {
        self.totals.bytes
    }

    /// Walks all chunks to the end of the file.
    fn check(&mut self) -> Result<Totals, SnapshotError> {
        let mut seen = Totals::default();
        loop {
            match self.next_chunk()? {
                Next::Chunk(range) => {
                    seen.chunks += 1;
                    seen.bytes += range.len() as u64;
                }
                Next::End(totals) => {
                    seen.records = totals.records;
                    if seen != totals {
                        return Err(self.damaged("its chunks do not add up"));
                    }
                    if self.input.offset != self.input.len {
                        return Err(self.damaged("it goes on after its end"));
                    }
                    return Ok(totals);
                }
            }
        }
    }

    fn rewind(&mut self) {
        self.input.seek(self.start.0);
        self.crc = self.start.1;
        self.chunk = 0..0;
    }

    /// The chunk at the input's offset, checked. A length is believed only within its bound.
    fn next_chunk(&mut self) -> Result<Next, SnapshotError> {
        let io_failed = |path: &Path, error| SnapshotError::io("read", path, error);
        let header = self
            .input
            .peek(CHUNK_HEADER_BYTES)
            .map_err(|error| io_failed(&self.path, error))?;
        let Some(header) = header else {
            return Err(self.damaged("its end is missing"));
        };
        let bytes = self.input.bytes(header);
        let (len, crc) = (u32_at(bytes, 0), u32_at(bytes, 4));
        let body = if len == 0 {
            FOOTER_BYTES - CHUNK_HEADER_BYTES
        } else {
            len as usize
        };
        if body > CHUNK_BYTES_MAX {
            return Err(self.damaged("a chunk is too long"));
        }
        let whole = self
            .input
            .peek(CHUNK_HEADER_BYTES + body)
            .map_err(|error| io_failed(&self.path, error))?;
        let Some(whole) = whole else {
            return Err(self.damaged("a chunk is cut off"));
        };
        let range = whole.start + CHUNK_HEADER_BYTES..whole.end;
        let bytes = self.input.bytes(range.clone());
        if chunk_crc(self.crc, len, bytes) != crc {
            return Err(self.damaged("the checksum of a chunk is wrong"));
        }
        let next = if len == 0 {
            Next::End(Totals::decode(bytes))
        } else {
            Next::Chunk(range)
        };
        self.crc = crc;
        self.input.consume(CHUNK_HEADER_BYTES + body);
        Ok(next)
    }

    fn damaged(&self, what: &'static str) -> SnapshotError {
        SnapshotError::Damaged {
            path: self.path.clone(),
            offset: self.input.offset,
            what,
        }
    }
}

enum Next {
    /// Where its bytes are in the input's buffer.
    Chunk(std::ops::Range<usize>),
    End(Totals),
}

impl BufRead for SnapshotReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.is_empty() && self.input.offset < self.input.len {
            // Checked a second time: the file may have gone bad since.
            match self.next_chunk().map_err(io::Error::other)? {
                Next::Chunk(range) => self.chunk = range,
                Next::End(_) => {}
            }
        }
        Ok(self.input.bytes(self.chunk.clone()))
    }

    fn consume(&mut self, bytes: usize) {
        self.chunk.start = (self.chunk.start + bytes).min(self.chunk.end);
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let chunk = self.fill_buf()?;
        let len = chunk.len().min(into.len());
        into[..len].copy_from_slice(&chunk[..len]);
        self.consume(len);
        Ok(len)
    }
}

/// The checked description of a snapshot, and the length of its file; nothing behind the head is looked at.
pub(super) fn open_head(
    file: SharedFile,
    path: &Path,
) -> Result<(SnapshotMeta, u64), SnapshotError> {
    let mut input = Input::new(file).map_err(|error| SnapshotError::io("open", path, error))?;
    let (meta, _) = read_head(&mut input, path)?;
    Ok((meta, input.len))
}

fn read_head(input: &mut Input, path: &Path) -> Result<(SnapshotMeta, u32), SnapshotError> {
    let damaged = |what| SnapshotError::Damaged {
        path: path.to_owned(),
        offset: 0,
        what,
    };
    let failed = |error| SnapshotError::io("read", path, error);
    let prefix = input
        .peek(PREFIX_BYTES)
        .map_err(failed)?
        .ok_or_else(|| damaged("it is too short"))?;
    let prefix: &[u8; PREFIX_BYTES] = input
        .bytes(prefix)
        .try_into()
        .map_err(|_| damaged("it is too short"))?;
    let meta_len = format::decode_prefix(prefix).map_err(|bad| match bad {
        BadPrefix::Damaged => damaged("its header is damaged"),
        BadPrefix::Version(version) => SnapshotError::Version {
            path: path.to_owned(),
            version,
            known: FORMAT_VERSION,
        },
    })?;
    let len = PREFIX_BYTES + meta_len + CRC_BYTES;
    let head = input
        .peek(len)
        .map_err(failed)?
        .ok_or_else(|| damaged("it is too short"))?;
    let (covered, crc) = input.bytes(head).split_at(len - CRC_BYTES);
    let crc = u32_at(crc, 0);
    if crc32fast::hash(covered) != crc {
        return Err(damaged("its header is damaged"));
    }
    let meta = codec::decode(&covered[PREFIX_BYTES..])
        .map_err(|_| damaged("its header makes no sense"))?;
    input.consume(len);
    Ok((meta, crc))
}

/// The file through a buffer of bounded size.
struct Input {
    file: SharedFile,
    len: u64,
    /// Of the next unread byte.
    offset: u64,
    buffer: Vec<u8>,
    /// The unread part of the buffer.
    window: std::ops::Range<usize>,
}

impl Input {
    fn new(file: SharedFile) -> io::Result<Self> {
        Ok(Self {
            len: file.len()?,
            file,
            offset: 0,
            buffer: Vec::new(),
            window: 0..0,
        })
    }

    /// Where the next `want` bytes are in the buffer; none if the file ends before.
    fn peek(&mut self, want: usize) -> io::Result<Option<std::ops::Range<usize>>> {
        if self.len.saturating_sub(self.offset) < want as u64 {
            return Ok(None);
        }
        if self.window.len() < want {
            self.buffer
                .resize(READ_BYTES.max(want).max(self.buffer.len()), 0);
            self.buffer.copy_within(self.window.clone(), 0);
            let kept = self.window.len();
            let read = read_full_at(
                &*self.file,
                self.offset + kept as u64,
                &mut self.buffer[kept..],
            )?;
            self.window = 0..kept + read;
        }
        let range = self.window.start..self.window.start + want;
        Ok((range.end <= self.window.end).then_some(range))
    }

    fn bytes(&self, range: std::ops::Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    fn consume(&mut self, bytes: usize) {
        self.window.start += bytes;
        self.offset += bytes as u64;
    }

    fn seek(&mut self, offset: u64) {
        self.offset = offset;
        self.window = 0..0;
    }
}
