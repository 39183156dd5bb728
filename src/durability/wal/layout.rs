//! The bytes of a segment header and of a record header. Knows nothing of files and of what records hold.
//! `src/durability/README.md` draws them.

use crc32fast::Hasher;

use super::RecordNumber;

/// First bytes of every WAL segment.
const MAGIC: [u8; 8] = *b"RINGFWAL";
/// Raised with every change of the bytes below; an unknown one is refused.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// A sector of its own, so that no write of a record can tear the header.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 512;
/// The fixed part in front of every record.
pub const RECORD_HEADER_BYTES: usize = 48;
/// Records begin at multiples of this, so that a search for them behind damage has few places to look at.
pub(crate) const RECORD_ALIGN: usize = 8;
/// The longest record: a batch of every shard's entries, each up to the largest accepted argument.
pub const RECORD_BYTES_MAX: usize = 1 << 30;
/// What an end record takes; every segment keeps this much free for it.
pub(crate) const END_RECORD_BYTES: usize = RECORD_HEADER_BYTES;

/// Numbers, sequences and generations count from 1 by ones: a higher one was not written by this program, and counting on from
/// it must not overflow.
pub(crate) const COUNT_MAX: u64 = u64::MAX >> 1;

const CRC_AT: usize = SEGMENT_HEADER_BYTES - 4;

/// Who wrote a segment, and in which of its file's lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub worker: u32,
    pub generation: u64,
    pub sequence: u64,
    /// Unknown to clients: nobody can send a value that looks like a record of this segment.
    pub salt: u64,
    /// Length that the file was given. It never gets shorter before the log has its end record.
    pub capacity: u64,
}

/// Why a segment header is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    Damaged,
    Version(u32),
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.worker.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.generation.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.salt.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.capacity.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<Self, BadHeader> {
        if bytes[0..8] != MAGIC || crc32fast::hash(&bytes[..CRC_AT]) != u32_at(bytes, CRC_AT) {
            return Err(BadHeader::Damaged);
        }
        let version = u32_at(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(BadHeader::Version(version));
        }
        let header = Self {
            worker: u32_at(bytes, 12),
            generation: u64_at(bytes, 16),
            sequence: u64_at(bytes, 24),
            salt: u64_at(bytes, 32),
            capacity: u64_at(bytes, 40),
        };
        if header.generation > COUNT_MAX || header.sequence > COUNT_MAX {
            return Err(BadHeader::Damaged);
        }
        Ok(header)
    }

    /// What the checksums of the segment's records start from: bytes of an earlier life of the file never match.
    pub fn crc_seed(&self) -> u32 {
        u32_at(&self.encode(), CRC_AT)
    }
}

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordKind {
    /// Entries and hard states.
    Data,
    /// Last of its segment; the log goes on in the next one.
    Continues,
    /// Last of its generation: closed in order, or cut here by recovery.
    Final,
}

impl RecordKind {
    fn code(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Continues => 2,
            Self::Final => 3,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Data),
            2 => Some(Self::Continues),
            3 => Some(Self::Final),
            _ => None,
        }
    }
}

/// The fixed part in front of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    /// Bytes of the whole record: header, body, padding.
    pub len: u32,
    pub sequence: u64,
    pub number: RecordNumber,
    /// The last record known to be synced when this one was written.
    pub synced_through: RecordNumber,
    pub body_crc: u32,
    pub items: u32,
    pub kind: RecordKind,
}

impl RecordHeader {
    /// Writes the header over the first bytes of `record`, which must be at least that long.
    pub fn encode_into(&self, record: &mut [u8], crc_seed: u32) {
        let header = &mut record[..RECORD_HEADER_BYTES];
        header[4..8].copy_from_slice(&self.len.to_le_bytes());
        header[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        header[16..24].copy_from_slice(&self.number.0.to_le_bytes());
        header[24..32].copy_from_slice(&self.synced_through.0.to_le_bytes());
        header[32..36].copy_from_slice(&self.body_crc.to_le_bytes());
        header[36..40].copy_from_slice(&self.items.to_le_bytes());
        header[40..48].copy_from_slice(&u64::from(self.kind.code()).to_le_bytes());
        let crc = seeded_crc(crc_seed, &header[4..]);
        header[0..4].copy_from_slice(&crc.to_le_bytes());
    }

    /// The header at the start of `bytes`, if there is one of this segment's present life.
    pub fn decode(bytes: &[u8], sequence: u64, crc_seed: u32) -> Option<Self> {
        let header = bytes.get(..RECORD_HEADER_BYTES)?;
        // The cheap comparison first: a search behind damage looks at millions of places.
        if u64_at(header, 8) != sequence || u32_at(header, 0) != seeded_crc(crc_seed, &header[4..])
        {
            return None;
        }
        let len = u32_at(header, 4);
        let fits = (RECORD_HEADER_BYTES..=RECORD_BYTES_MAX).contains(&(len as usize));
        let kind = u8::try_from(u64_at(header, 40))
            .ok()
            .and_then(RecordKind::from_code)?;
        let number = u64_at(header, 16);
        let counts = (1..=COUNT_MAX).contains(&number);
        (fits && counts && len as usize % RECORD_ALIGN == 0).then_some(Self {
            len,
            sequence,
            number: RecordNumber(number),
            synced_through: RecordNumber(u64_at(header, 24)),
            body_crc: u32_at(header, 32),
            items: u32_at(header, 36),
            kind,
        })
    }
}

pub(crate) fn seeded_crc(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

/// Callers have checked that the bytes are there.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Callers have checked that the bytes are there.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> SegmentHeader {
        SegmentHeader {
            worker: 3,
            generation: 7,
            sequence: 42,
            salt: 0xDEAD_BEEF,
            capacity: 1 << 24,
        }
    }

    fn record() -> RecordHeader {
        RecordHeader {
            len: 64,
            sequence: 42,
            number: RecordNumber(9),
            synced_through: RecordNumber(8),
            body_crc: 77,
            items: 2,
            kind: RecordKind::Data,
        }
    }

    #[test]
    fn headers_come_back_as_they_were_written() {
        assert_eq!(SegmentHeader::decode(&segment().encode()), Ok(segment()));
        let mut bytes = [0; RECORD_HEADER_BYTES];
        record().encode_into(&mut bytes, 5);
        assert_eq!(RecordHeader::decode(&bytes, 42, 5), Some(record()));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let good = segment().encode();
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                SegmentHeader::decode(&bad),
                Err(BadHeader::Damaged),
                "bit {bit}"
            );
        }
        let mut good = [0; RECORD_HEADER_BYTES];
        record().encode_into(&mut good, 5);
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(&bad, 42, 5), None, "bit {bit}");
        }
    }

    #[test]
    fn a_record_of_another_life_of_the_file_is_none() {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        record().encode_into(&mut bytes, segment().crc_seed());
        let next_life = SegmentHeader {
            salt: 1,
            ..segment()
        };
        assert_eq!(RecordHeader::decode(&bytes, 42, next_life.crc_seed()), None);
        assert_eq!(RecordHeader::decode(&bytes, 43, segment().crc_seed()), None);
    }

    #[test]
    fn an_unknown_format_version_is_told_apart_from_damage() {
        let mut bytes = segment().encode();
        bytes[8] = 200;
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(BadHeader::Version(200)));
    }
}
