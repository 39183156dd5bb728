//! What is said about a snapshot on its way: the header before its bytes, the answer behind them. Both begin with a version.

use ringfort_cluster::codec::{self, CodecError};
use ringfort_cluster::{Index, ReplicaId, ShardId, Term};

/// Raised with every change of what follows it; an unknown one is refused.
const VERSION: u16 = 1;
/// The longest reason for a refusal.
pub const REASON_BYTES_MAX: usize = 1024;

/// What comes: the file of a snapshot, byte by byte. Its own sums cover all of it.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Header {
    /// The group, as all nodes number it.
    pub group: ShardId,
    /// The group's leader.
    pub from: ReplicaId,
    /// For whom it is.
    pub to: ReplicaId,
    /// The leader's term.
    pub term: Term,
    /// Length of the file.
    pub bytes: u64,
    /// The last index that the snapshot covers, and the term of that.
    pub index: Index,
    pub index_term: Term,
}

/// What the receiver made of it.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Answer {
    /// Taken in; it is durable there, where anything is.
    TakenIn,
    /// The replica is that far already.
    NotNeeded,
    /// Why not.
    Refused(String),
}

impl Answer {
    /// A refusal whose reason is not too long to be sent.
    pub fn refused(reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        let mut end = reason.len().min(REASON_BYTES_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        Self::Refused(reason)
    }

    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// # Errors
    /// Anything but an answer.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        decode(bytes)
    }
}

impl Header {
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// # Errors
    /// Anything but a header.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        decode(bytes)
    }
}

fn encode<T: bincode::Encode>(value: &T) -> Vec<u8> {
    let mut bytes = codec::encode(&VERSION).expect("a number");
    codec::encode_into(value, &mut bytes).expect("a few numbers and a short text");
    bytes
}

fn decode<T: bincode::Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    let (version, length) = codec::decode_prefix::<u16>(bytes)?;
    if version != VERSION {
        let text = format!("version {version} of snapshot transfers, not {VERSION}");
        return Err(CodecError::Damaged(text));
    }
    codec::decode(&bytes[length..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            group: ringfort_cluster::topology::META_GROUP,
            from: ReplicaId(1),
            to: ReplicaId(2),
            term: Term(3),
            bytes: 4,
            index: Index(5),
            index_term: Term(3),
        }
    }

    #[test]
    fn headers_and_answers_come_back_as_they_went() {
        assert_eq!(Header::decode(&header().encode()), Ok(header()));
        for answer in [
            Answer::TakenIn,
            Answer::NotNeeded,
            Answer::refused("no room"),
        ] {
            assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn another_version_and_anything_cut_off_are_refused() {
        let bytes = header().encode();
        for end in 0..bytes.len() {
            assert!(Header::decode(&bytes[..end]).is_err());
        }
        let mut other = bytes;
        other[1] = 9;
        let error = Header::decode(&other).unwrap_err().to_string();
        assert!(error.contains("version 9"), "{error}");
    }

    #[test]
    fn a_long_reason_is_cut_where_a_letter_ends() {
        let Answer::Refused(reason) = Answer::refused("ä".repeat(REASON_BYTES_MAX) + "x") else {
            panic!("a refusal");
        };
        assert_eq!(reason.len(), REASON_BYTES_MAX);
        let Answer::Refused(reason) = Answer::refused(format!("x{}", "ä".repeat(REASON_BYTES_MAX)))
        else {
            panic!("a refusal");
        };
        assert_eq!(reason.len(), REASON_BYTES_MAX - 1);
    }
}
