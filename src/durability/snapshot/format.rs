//! Names and bytes of snapshot files. `src/durability/README.md` draws them.

use crc32fast::Hasher;
use ringfort_cluster::{Index, ShardId};

const MAGIC: [u8; 8] = *b"RINGSNAP";
/// Raised with every change of the bytes; an unknown one is refused.
pub(super) const FORMAT_VERSION: u32 = 1;
/// The longest chunk. A reader needs memory for one.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;
/// The longest encoded description.
pub const META_BYTES_MAX: usize = 17 << 20;

/// Magic, version, length of the description.
pub(super) const PREFIX_BYTES: usize = 16;
/// Behind prefix and description.
pub(super) const CRC_BYTES: usize = 4;
/// Length and checksum.
pub(super) const CHUNK_HEADER_BYTES: usize = 8;
/// A chunk header with length 0, then chunks, bytes and records, eight bytes each.
pub(super) const FOOTER_BYTES: usize = CHUNK_HEADER_BYTES + 24;

pub(super) fn name(shard: ShardId, index: Index) -> String {
    format!("shard-{shard}-{index}.snap")
}

pub(super) fn temp_name(shard: ShardId, index: Index) -> String {
    format!("shard-{shard}-{index}.snap.tmp")
}

/// Of a snapshot that is received; `number` tells those apart that come at the same time.
pub(super) fn part_name(shard: ShardId, index: Index, number: u64) -> String {
    format!("shard-{shard}-{index}.snap.{number}.part")
}

pub(super) fn is_leftover(name: &str) -> bool {
    let received = || Some(name.strip_suffix(".part")?.rsplit_once('.')?.0);
    name.strip_suffix(".tmp")
        .or_else(received)
        .is_some_and(|name| parse_name(name).is_some())
}

/// Shard and index of a snapshot's file name.
pub(super) fn parse_name(text: &str) -> Option<(ShardId, Index)> {
    let (shard, index) = text
        .strip_prefix("shard-")?
        .strip_suffix(".snap")?
        .split_once('-')?;
    let parsed = (ShardId(shard.parse().ok()?), Index(index.parse().ok()?));
    // One spelling only: two files must not claim to be the same snapshot.
    (name(parsed.0, parsed.1) == text).then_some(parsed)
}

/// The start of the file: prefix, description, checksum.
pub(super) fn encode_head(meta: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + meta.len() + CRC_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&(meta.len() as u32).to_le_bytes());
    bytes.extend_from_slice(meta);
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// Why a prefix is not one.
pub(super) enum BadPrefix {
    Damaged,
    Version(u32),
}

/// The length of the description that follows the prefix. Not yet covered by a checksum, so bounded.
pub(super) fn decode_prefix(prefix: &[u8; PREFIX_BYTES]) -> Result<usize, BadPrefix> {
    let version = u32_at(prefix, 8);
    let len = u32_at(prefix, 12) as usize;
    if prefix[..8] != MAGIC || len > META_BYTES_MAX {
        return Err(BadPrefix::Damaged);
    }
    if version != FORMAT_VERSION {
        return Err(BadPrefix::Version(version));
    }
    Ok(len)
}

/// What the file must add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub chunks: u64,
    pub bytes: u64,
    pub records: u64,
}

impl Totals {
    pub fn encode(&self) -> [u8; FOOTER_BYTES - CHUNK_HEADER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES - CHUNK_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&self.chunks.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.records.to_le_bytes());
        bytes
    }

    /// `bytes` holds at least as many as `encode` gives.
    pub fn decode(bytes: &[u8]) -> Self {
        Self {
            chunks: u64_at(bytes, 0),
            bytes: u64_at(bytes, 8),
            records: u64_at(bytes, 16),
        }
    }
}

/// The checksum of a chunk (or, with length 0, of the footer). Starts from the one before it, the first from that of the
/// head: chunks that are missing, swapped or of another snapshot do not pass.
pub(super) fn chunk_crc(previous: u32, len: u32, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(previous);
    hasher.update(&len.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

pub(super) fn chunk_header(
    previous: u32,
    bytes: &[u8],
    len: u32,
) -> ([u8; CHUNK_HEADER_BYTES], u32) {
    let crc = chunk_crc(previous, len, bytes);
    let mut header = [0; CHUNK_HEADER_BYTES];
    header[..4].copy_from_slice(&len.to_le_bytes());
    header[4..].copy_from_slice(&crc.to_le_bytes());
    (header, crc)
}

/// Callers have checked that the bytes are there.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
