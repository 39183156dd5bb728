//! What nodes say to each other before, or without, belonging to one cluster, and its bytes. Knows nothing of what follows from it.

use crate::codec::{self, CodecError};
use crate::topology::{ClusterId, Node};
use crate::NodeId;
use bincode::{Decode, Encode};

/// The layout of an encoded message.
const SCHEMA: u16 = 1;

/// The longest address, `host:port`.
pub const ADDRESS_BYTES_MAX: usize = 270;

/// Addresses that one answer passes on.
pub const OTHERS_MAX: usize = 64;

/// The longest reason for a refusal.
pub const REASON_BYTES_MAX: usize = 1024;

/// As much of a text as a reason may have.
#[must_use]
pub fn shortened(text: &str) -> String {
    let mut ends = (0..=text.len().min(REASON_BYTES_MAX)).rev();
    let end = ends.find(|&end| text.is_char_boundary(end));
    text[..end.unwrap_or(0)].to_owned()
}

/// A node's promise to help nobody but this initiator to form a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Pledge {
    /// The initiator; an initiator's first pledge is to itself.
    pub to: NodeId,
    /// Which of its attempts. They are counted, so that the end of one is not taken for that of the next.
    pub attempt: u64,
}

/// What a node says of itself. Nothing of it is said before it is durable.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct About {
    pub node: Node,
    /// Drawn when the process starts: two of them under one identity are two processes.
    pub incarnation: u64,
    /// With how many nodes it would begin a cluster; without it, it never does.
    pub expects: Option<u32>,
    /// The cluster that it belongs to.
    pub cluster_id: Option<ClusterId>,
    pub pledge: Option<Pledge>,
    /// Its own attempts up to this one are over, and have formed nothing.
    pub gave_up: u64,
}

impl About {
    /// The attempt that this node makes as an initiator.
    #[must_use]
    pub fn initiates(&self) -> Option<u64> {
        let own = self.pledge.filter(|pledge| pledge.to == self.node.id);
        own.map(|pledge| pledge.attempt)
    }
}

/// What becomes of a node that wants to join.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum JoinAnswer {
    /// It belongs to the cluster, whose topology this is.
    Welcome { topology: Vec<u8> },
    /// Ask this address, which probably leads the meta group.
    Redirect { address: String },
    /// Nobody leads the meta group now, or it is busy.
    TryAgain,
    /// The cluster does not take it, and an operator must read why.
    Refused {
        cluster_id: ClusterId,
        reason: String,
    },
    /// Who was asked belongs to no cluster itself.
    NoCluster,
}

/// A request, or the answer to one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum FormingMessage {
    /// "This is how I stand; how do you?" An initiator that says so asks for a pledge, and whoever says that it is pledged gives one.
    Hello { about: About },
    /// The answer to it.
    HelloAnswer {
        about: About,
        /// Where there are more nodes without a cluster.
        others: Vec<String>,
        /// Of a member: who leads the meta group, as far as it knows.
        leader: Option<String>,
    },
    /// "Take me in", or of a member that comes back: "this is where I am now".
    Join { about: About },
    /// The answer to it.
    JoinAnswer(JoinAnswer),
}

/// Why a message is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("the other node speaks version {0} of forming a cluster, this one {SCHEMA}: start the same ringfort on both")]
    Schema(u16),
    #[error("message cannot be read: {0}")]
    Codec(#[from] CodecError),
    #[error("message that no node sends: {0}")]
    Unsound(&'static str),
}

impl FormingMessage {
    /// The message as bytes.
    ///
    /// # Errors
    /// When it is larger than anything that is encoded.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let mut bytes = codec::encode(&SCHEMA)?;
        codec::encode_into(self, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads what [`FormingMessage::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are of another version, damaged, or say what no node says.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let (schema, length) = codec::decode_prefix::<u16>(bytes)?;
        if schema != SCHEMA {
            return Err(MessageError::Schema(schema));
        }
        let message: Self = codec::decode(&bytes[length..])?;
        message.check().map_err(MessageError::Unsound)?;
        Ok(message)
    }

    fn check(&self) -> Result<(), &'static str> {
        let about = match self {
            Self::Hello { about } | Self::Join { about } | Self::HelloAnswer { about, .. } => {
                Some(about)
            }
            Self::JoinAnswer(_) => None,
        };
        if about.is_some_and(|about| about.node.check().is_err()) {
            return Err("a node that cannot be");
        }
        match self {
            Self::HelloAnswer { others, leader, .. } => {
                let fits = |address: &String| address.len() <= ADDRESS_BYTES_MAX;
                let all_fit = others.iter().chain(leader).all(fits);
                match others.len() <= OTHERS_MAX && all_fit {
                    true => Ok(()),
                    false => Err("too many or too long addresses"),
                }
            }
            Self::JoinAnswer(JoinAnswer::Redirect { address })
                if address.len() > ADDRESS_BYTES_MAX =>
            {
                Err("too long an address")
            }
            Self::JoinAnswer(JoinAnswer::Refused { reason, .. })
                if reason.len() > REASON_BYTES_MAX =>
            {
                Err("too long a reason")
            }
            _ => Ok(()),
        }
    }
}
