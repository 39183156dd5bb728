//! The commands of the meta group: the only way in which a [`Topology`](crate::topology::Topology) changes. Applied by
//! every node in the order of the group's log, so with the same outcome everywhere. Nothing here knows who proposes them or why.
//!
//! A command that is refused changes nothing and says why; one that is accepted raises the epoch, unless all that it says
//! held before. So each may be proposed again by whoever does not know what became of it.

mod apply;
mod error;
mod record;
mod recover;

pub use error::MetaError;
pub use recover::{Recovery, EPOCHS_PASSED_OVER, IDS_PASSED_OVER};

use crate::codec::{self, CodecError};
use crate::topology::{ClusterId, Members, Node, Wish};
use crate::types::{Epoch, ReplicaId, ShardId};
use crate::NodeId;
use bincode::{Decode, Encode};

/// The layout of an encoded command.
const SCHEMA: u16 = 1;

/// The largest command, encoded. Read and written.
pub const COMMAND_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How many wishes one command may hold. More go into several.
pub const WISHES_MAX: usize = 1024;

/// Which of the cluster's named bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum ShelfName {
    Settings,
    Users,
    Functions,
}

/// A change of the topology.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum MetaCommand {
    /// Forms a cluster of one node, which votes alone for every shard.
    Init {
        cluster_id: ClusterId,
        shards: u32,
        replicas: u8,
        node: Node,
    },
    /// A node comes, or comes back under whatever address. A new identity at an old address is a new node; the one that
    /// was there becomes suspect. `cluster_id` is the cluster whose data it has, if any: clusters never merge.
    Join {
        cluster_id: Option<ClusterId>,
        node: Node,
    },
    /// A node that belongs to the cluster describes itself anew.
    Update { node: Node },
    /// A node is to hold nothing any more. Refused where the others are too few for all replicas, unless forced.
    Leave { node: NodeId, force: bool },
    /// Takes a `Leave` back.
    Stay { node: NodeId },
    /// A node that left, and holds nothing, is forgotten and never let in again.
    Remove { node: NodeId },
    /// Sets, or with `None` removes, one of the named bytes.
    SetItem {
        shelf: ShelfName,
        name: String,
        value: Option<Vec<u8>>,
    },
    /// How many copies every shard should have.
    SetReplicas { replicas: u8 },
    /// Entries are written under newer semantics from now on. Refused until every node knows them.
    RaiseSemantics { semantics: u32 },
    /// Where groups should be.
    SetWishes { wishes: Vec<(ShardId, Wish)> },
    /// Gives out the next replica id of a group to a node that is wished for, before the group hears of it. `replica` must be
    /// the next id, so that two proposals of one step give out one id.
    Allot {
        shard: ShardId,
        node: NodeId,
        replica: ReplicaId,
    },
    /// What a group's membership of the epoch `changed` is.
    RecordMembership {
        shard: ShardId,
        members: Members,
        changed: Epoch,
    },
    /// A node has lost its replica (wiped or doubtful disk, memory only): it needs a new one under a new id.
    MarkLost { shard: ShardId, replica: ReplicaId },
    /// Nodes are gone for ever, by the word of the operator.
    Recover(Recovery),
}

/// What an accepted command has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetaReply {
    /// After the command.
    pub epoch: Epoch,
    /// False: all of it held before.
    pub changed: bool,
}

impl MetaCommand {
    /// The command as bytes, for the log.
    ///
    /// # Errors
    /// When it is larger than [`COMMAND_BYTES_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let mut bytes = codec::encode(&SCHEMA)?;
        codec::encode_into(self, &mut bytes)?;
        if bytes.len() > COMMAND_BYTES_MAX {
            return Err(CodecError::TooLarge(bytes.len()));
        }
        Ok(bytes)
    }

    /// Reads what [`MetaCommand::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are too many, of another version, or no command.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        if bytes.len() > COMMAND_BYTES_MAX {
            return Err(CodecError::TooLarge(bytes.len()));
        }
        let (schema, length) = codec::decode_prefix::<u16>(bytes)?;
        if schema != SCHEMA {
            return Err(CodecError::Damaged(format!(
                "cluster command of layout {schema}, but this program knows only layout {SCHEMA}"
            )));
        }
        codec::decode(&bytes[length..])
    }
}

#[cfg(test)]
mod tests;
