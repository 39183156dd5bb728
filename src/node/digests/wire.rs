//! What a node is asked about the digest of its copy of a shard, and its answers, as bytes. Reads nothing that no node says.

use bincode::{Decode, Encode};
use ringfort_cluster::codec::{self, CodecError};
use ringfort_cluster::forming::{shortened, REASON_BYTES_MAX};
use ringfort_cluster::{Index, ReplicaId, ShardId};

/// The layout of questions and answers.
const SCHEMA: u16 = 1;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum DigestAsk {
    /// To look at the state behind the mark when it comes.
    Await,
    /// To put the mark into the shard's log.
    Mark,
    /// How far it has come.
    Tell,
    /// To await the mark no longer: the comparison is over. Nodes of an earlier version do not understand it, and end by themselves.
    End,
}

/// A question about one shard. The token names the comparison: it is the mark's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct DigestQuestion {
    pub shard: ShardId,
    pub token: u64,
    pub ask: DigestAsk,
}

/// How a copy stands in a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum DigestAnswer {
    /// The mark has not come. The last entry that was applied.
    Awaiting(ReplicaId, Index),
    /// This cannot be done at the moment, and why.
    Busy(String),
    /// The mark was put into the log at this index. It may be lost with its leader.
    Marked(Index),
    /// The state behind the entry is being added up; so many keys are.
    Walking(Index, u64),
    /// What there was behind the entry.
    Done { index: Index, sum: u128, keys: u64 },
    /// There will be no digest, and why.
    Failed(String),
}

/// Why bytes are no question and no answer.
#[derive(Debug, thiserror::Error)]
pub enum DigestWireError {
    #[error("of layout {0}, which this program does not know")]
    Schema(u16),
    #[error("too long a reason")]
    Reason,
    #[error("{0}")]
    Codec(#[from] CodecError),
}

fn encode<T: Encode>(value: &T) -> Result<Vec<u8>, DigestWireError> {
    let mut bytes = codec::encode(&SCHEMA)?;
    codec::encode_into(value, &mut bytes)?;
    Ok(bytes)
}

fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, DigestWireError> {
    let (schema, length) = codec::decode_prefix::<u16>(bytes)?;
    match schema {
        SCHEMA => Ok(codec::decode(&bytes[length..])?),
        other => Err(DigestWireError::Schema(other)),
    }
}

impl DigestQuestion {
    /// The question as bytes.
    ///
    /// # Errors
    /// None that could be thought of: it is a few numbers.
    pub fn encode(&self) -> Result<Vec<u8>, DigestWireError> {
        encode(self)
    }

    /// Reads what [`DigestQuestion::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are of another version or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, DigestWireError> {
        decode(bytes)
    }
}

impl DigestAnswer {
    pub(crate) fn busy(reason: impl AsRef<str>) -> Self {
        Self::Busy(shortened(reason.as_ref()))
    }

    pub(crate) fn failed(reason: impl AsRef<str>) -> Self {
        Self::Failed(shortened(reason.as_ref()))
    }

    /// The answer as bytes.
    ///
    /// # Errors
    /// None that could be thought of: reasons are short.
    pub fn encode(&self) -> Result<Vec<u8>, DigestWireError> {
        encode(self)
    }

    /// Reads what [`DigestAnswer::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are of another version, damaged, or say what no node says.
    pub fn decode(bytes: &[u8]) -> Result<Self, DigestWireError> {
        let answer: Self = decode(bytes)?;
        match &answer {
            Self::Busy(reason) | Self::Failed(reason) if reason.len() > REASON_BYTES_MAX => {
                Err(DigestWireError::Reason)
            }
            _ => Ok(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_and_answered_comes_back_as_it_went() {
        for ask in [
            DigestAsk::Await,
            DigestAsk::Mark,
            DigestAsk::Tell,
            DigestAsk::End,
        ] {
            let question = DigestQuestion {
                shard: ShardId(7),
                token: u64::MAX,
                ask,
            };
            let bytes = question.encode().unwrap();
            assert_eq!(DigestQuestion::decode(&bytes).unwrap(), question);
            assert!(DigestQuestion::decode(&bytes[..bytes.len() - 1]).is_err());
        }
        let answers = [
            DigestAnswer::Awaiting(ReplicaId(3), Index(4)),
            DigestAnswer::busy("so"),
            DigestAnswer::Marked(Index(5)),
            DigestAnswer::Walking(Index(5), 6),
            DigestAnswer::Done {
                index: Index(5),
                sum: u128::MAX - 1,
                keys: 8,
            },
            DigestAnswer::failed("x".repeat(10_000)),
        ];
        for answer in answers {
            let bytes = answer.encode().unwrap();
            assert_eq!(DigestAnswer::decode(&bytes).unwrap(), answer);
        }
    }

    #[test]
    fn another_layout_and_a_reason_without_end_are_refused() {
        let mut bytes = DigestAnswer::Marked(Index(5)).encode().unwrap();
        bytes[1] = 2;
        let error = DigestAnswer::decode(&bytes).unwrap_err();
        assert!(matches!(error, DigestWireError::Schema(2)), "{error}");
        let long = DigestAnswer::Failed("x".repeat(REASON_BYTES_MAX + 1));
        let error = DigestAnswer::decode(&long.encode().unwrap()).unwrap_err();
        assert!(matches!(error, DigestWireError::Reason), "{error}");
    }
}
