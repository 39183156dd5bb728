//! What nodes ask each other in single questions, and the answers, as bytes: one byte that says what it is, then the rest. Reads
//! nothing that no node says; does nothing.

use ringfort_cluster::codec::{self, CodecError};
use ringfort_cluster::forming::{
    shortened, FormingMessage, MessageError, ADDRESS_BYTES_MAX, REASON_BYTES_MAX,
};
use ringfort_cluster::recover::{RecoverAnswer, RecoverQuestion};
use ringfort_cluster::steward::{NodeReport, Order, WireError, GROUPS_OF_REPORT_MAX};
use ringfort_cluster::suspects::{SuspectsAnswer, SuspectsQuestion};
use ringfort_cluster::topology::{Topology, TopologyError, NODES_MAX};
use ringfort_cluster::{Epoch, NodeId, ShardId, Term};

use crate::node::digests::{DigestAnswer, DigestQuestion, DigestWireError};
use crate::node::operator::{OperatorAnswer, OperatorQuestion};

/// The layout of a [`ReportAnswer`].
const SCHEMA: u16 = 1;

const FORMING: u8 = 1;
const REPORT: u8 = 2;
const ORDER: u8 = 3;
const OFFER: u8 = 4;
const REFUSED: u8 = 5;
const SUSPECTS: u8 = 6;
const OPERATE: u8 = 7;
const DIGEST: u8 = 8;
const RECOVER: u8 = 9;

/// The longest question of an operator: what HTTP takes in, and the names of its fields.
const OPERATE_BYTES_MAX: usize = 80 << 10;

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// On the way into a cluster, or back.
    Forming(FormingMessage),
    /// How a node is, for the meta group's leader.
    Report(Box<NodeReport>),
    /// For the leader of a group.
    Order(Order),
    /// A topology that is probably newer than the other's.
    Offer(Box<Topology>),
    /// About replicas that may have forgotten what they acknowledged.
    Suspects(SuspectsQuestion),
    /// What an operator has asked another node, for the leader of the meta group.
    Operate(Box<OperatorQuestion>),
    /// About the digest of the node's copy of a shard.
    Digest(DigestQuestion),
    /// About groups that lost their majority for good.
    Recover(RecoverQuestion),
}

/// The answer to a question of the same kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    Forming(Box<FormingMessage>),
    Report(Box<ReportAnswer>),
    /// Why an order was not carried out, if it was not.
    Order(Result<(), String>),
    /// The epoch of what the other knows now.
    Offer(Epoch),
    Suspects(SuspectsAnswer),
    Operate(Box<OperatorAnswer>),
    Digest(DigestAnswer),
    Recover(RecoverAnswer),
    /// This question has no answer here.
    Refused(String),
}

/// What a node that reports is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct ReportAnswer {
    /// Who was asked leads the meta group and has taken the report.
    pub taken: bool,
    /// Who leads the meta group, as far as is known, and where it is.
    pub leader: Option<(NodeId, String)>,
    /// The encoded topology, where it is newer than the reporter's.
    pub topology: Option<Vec<u8>>,
    /// The leaders of all groups, as far as they are known.
    pub leaders: Vec<(ShardId, Term, NodeId)>,
    /// The nodes that are taken for down.
    pub down: Vec<NodeId>,
}

/// Why bytes are no question and no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("of kind {0}, which this program does not know: it was sent by a newer ringfort")]
    Kind(u8),
    #[error("empty")]
    Empty,
    #[error("{0}")]
    Forming(#[from] MessageError),
    #[error("{0}")]
    Steward(#[from] WireError),
    #[error("{0}")]
    Topology(#[from] TopologyError),
    #[error("cannot be read: {0}")]
    Codec(#[from] CodecError),
    #[error("what an operator asks or is told cannot be read: {0}")]
    Operate(#[from] serde_json::Error),
    #[error("{0}")]
    Digest(#[from] DigestWireError),
    #[error("what no node sends: {0}")]
    Unsound(&'static str),
}

fn tagged(kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + rest.len());
    bytes.push(kind);
    bytes.extend_from_slice(rest);
    bytes
}

fn kind_of(bytes: &[u8]) -> Result<(u8, &[u8]), ControlError> {
    let (kind, rest) = bytes.split_first().ok_or(ControlError::Empty)?;
    Ok((*kind, rest))
}

fn text_of(bytes: &[u8]) -> Result<String, ControlError> {
    let text: String = codec::decode(bytes)?;
    match text.len() <= REASON_BYTES_MAX {
        true => Ok(text),
        false => Err(ControlError::Unsound("too long a reason")),
    }
}

impl Request {
    /// The question as bytes.
    ///
    /// # Errors
    /// When it is larger than anything that is encoded.
    pub fn encode(&self) -> Result<Vec<u8>, ControlError> {
        Ok(match self {
            Self::Forming(message) => tagged(FORMING, &message.encode()?),
            Self::Report(report) => tagged(REPORT, &report.encode()?),
            Self::Order(order) => tagged(ORDER, &order.encode()?),
            Self::Offer(topology) => tagged(OFFER, &topology.encode()?),
            Self::Suspects(question) => tagged(SUSPECTS, &question.encode()?),
            Self::Recover(question) => tagged(RECOVER, &question.encode()?),
            Self::Operate(question) => tagged(OPERATE, &serde_json::to_vec(question)?),
            Self::Digest(question) => tagged(DIGEST, &question.encode()?),
        })
    }

    /// Reads what [`Request::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are of another version, damaged, or ask what no node asks.
    pub fn decode(bytes: &[u8]) -> Result<Self, ControlError> {
        let (kind, rest) = kind_of(bytes)?;
        Ok(match kind {
            FORMING => Self::Forming(FormingMessage::decode(rest)?),
            REPORT => Self::Report(Box::new(NodeReport::decode(rest)?)),
            ORDER => Self::Order(Order::decode(rest)?),
            OFFER => Self::Offer(Box::new(Topology::decode(rest)?)),
            SUSPECTS => Self::Suspects(SuspectsQuestion::decode(rest)?),
            RECOVER => Self::Recover(RecoverQuestion::decode(rest)?),
            OPERATE if rest.len() > OPERATE_BYTES_MAX => {
                return Err(ControlError::Unsound("too long a question"));
            }
            OPERATE => Self::Operate(serde_json::from_slice(rest)?),
            DIGEST => Self::Digest(DigestQuestion::decode(rest)?),
            kind => return Err(ControlError::Kind(kind)),
        })
    }
}

impl Response {
    /// The answer to a message on the way into a cluster.
    pub fn forming(message: FormingMessage) -> Self {
        Self::Forming(Box::new(message))
    }

    /// The answer as bytes.
    ///
    /// # Errors
    /// When it is larger than anything that is encoded.
    pub fn encode(&self) -> Result<Vec<u8>, ControlError> {
        Ok(match self {
            Self::Forming(message) => tagged(FORMING, &message.encode()?),
            Self::Report(answer) => {
                let mut bytes = codec::encode(&SCHEMA)?;
                codec::encode_into(&**answer, &mut bytes)?;
                tagged(REPORT, &bytes)
            }
            Self::Order(done) => {
                let refused = done.as_ref().err().map(|text| shortened(text));
                tagged(ORDER, &codec::encode(&refused)?)
            }
            Self::Offer(epoch) => tagged(OFFER, &codec::encode(epoch)?),
            Self::Suspects(answer) => tagged(SUSPECTS, &answer.encode()?),
            Self::Recover(answer) => tagged(RECOVER, &answer.encode()?),
            Self::Operate(answer) => tagged(OPERATE, &serde_json::to_vec(answer)?),
            Self::Digest(answer) => tagged(DIGEST, &answer.encode()?),
            Self::Refused(text) => tagged(REFUSED, &codec::encode(&shortened(text))?),
        })
    }

    /// Reads what [`Response::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are of another version, damaged, or say what no node says.
    pub fn decode(bytes: &[u8]) -> Result<Self, ControlError> {
        let (kind, rest) = kind_of(bytes)?;
        Ok(match kind {
            FORMING => Self::forming(FormingMessage::decode(rest)?),
            REPORT => Self::Report(Box::new(ReportAnswer::decode(rest)?)),
            ORDER => {
                let refused: Option<String> = codec::decode(rest)?;
                if refused
                    .as_ref()
                    .is_some_and(|text| text.len() > REASON_BYTES_MAX)
                {
                    return Err(ControlError::Unsound("too long a reason"));
                }
                Self::Order(refused.map_or(Ok(()), Err))
            }
            OFFER => Self::Offer(codec::decode(rest)?),
            SUSPECTS => Self::Suspects(SuspectsAnswer::decode(rest)?),
            RECOVER => Self::Recover(RecoverAnswer::decode(rest)?),
            OPERATE => Self::Operate(serde_json::from_slice(rest)?),
            DIGEST => Self::Digest(DigestAnswer::decode(rest)?),
            REFUSED => Self::Refused(text_of(rest)?),
            kind => return Err(ControlError::Kind(kind)),
        })
    }
}

impl ReportAnswer {
    fn decode(bytes: &[u8]) -> Result<Self, ControlError> {
        let (schema, length) = codec::decode_prefix::<u16>(bytes)?;
        if schema != SCHEMA {
            return Err(ControlError::Unsound("an answer of another layout"));
        }
        let answer: Self = codec::decode(&bytes[length..])?;
        let address = answer.leader.as_ref().map_or(0, |(_, at)| at.len());
        match () {
            () if address > ADDRESS_BYTES_MAX => Err(ControlError::Unsound("too long an address")),
            () if answer.leaders.len() > GROUPS_OF_REPORT_MAX => {
                Err(ControlError::Unsound("number of leaders"))
            }
            () if answer.down.len() > NODES_MAX => Err(ControlError::Unsound("number of nodes")),
            () => Ok(answer),
        }
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
