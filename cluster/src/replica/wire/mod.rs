//! Messages as bytes, in a framing of our own: one frame carries what one node has to say to another, for any number of
//! shards. Knows nothing of sockets, and is no place for protobuf (its parser never sees a byte from outside).
//!
//! ```text
//! frame    version u8 | record ...
//! record   kind and flags u8 | changed varint | one signed varint for each changed field | tail
//! tail     Append    count varint | count x ( term step and kind varint | length varint | bytes )
//!          Snapshot  length varint | place (codec) | length varint | token
//! ```
//!
//! A record without fields, Patient, ends a frame whose answers may wait for company.
//!
//! A field is written as its difference from the same field of the record before, and not at all when there is none:
//! `changed` has a bit for each that differs. The shard is expected to be the next one. So the heartbeats of many
//! shards between two nodes, put into one frame in the order of their shards, cost a few bytes each. Differences wrap around, so every
//! number can be written. A varint is LEB128; a signed one has its sign in the lowest bit.
//!
//! The transport delimits frames and guards them against damage; what is not guarded there is found here or by
//! [`Replica::step`](super::Replica::step), as an error and never as a panic (invariant 11).

mod decode;
mod encode;
mod stale;
#[cfg(test)]
mod tests;

pub use decode::FrameReader;
pub use encode::FrameBuilder;
pub use stale::{judge, Mine, Verdict};

use super::Message;
use crate::codec::CodecError;
use crate::entry::ENTRY_BYTES_MAX;
use crate::types::{Epoch, ReplicaId, ShardId};
use raft::eraftpb::MessageType;

/// The first byte of every frame.
pub const WIRE_VERSION: u8 = 1;

/// The largest frame, in bytes: room for the largest entry, because one entry is always sent.
pub const FRAME_BYTES_MAX: usize = ENTRY_BYTES_MAX + FRAME_BYTES_SOFT;

/// From this size on a frame should be sent and another begun, in bytes.
pub const FRAME_BYTES_SOFT: usize = 1024 * 1024;

/// Entries of one message. A sender splits nothing: `raft` bounds its messages in bytes, and an entry is larger than this
/// limit suggests.
pub const ENTRIES_MAX: usize = 64 * 1024;

/// What the receiver of a snapshot finds its data by, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4096;

/// Whom a message concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Envelope {
    pub shard: ShardId,
    /// The epoch of the sender's membership.
    pub epoch: Epoch,
    pub from: ReplicaId,
    pub to: ReplicaId,
}

/// What a record of a frame says. Read one at a time and hardly ever kept, so its size does not matter.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq)]
pub enum Packet {
    /// A message from replica to replica.
    Message(Envelope, Message),
    /// A replica is gone for good (invariant 7), said by a node to another.
    Gone { shard: ShardId, replica: ReplicaId },
    /// Nobody waits for the answers to this frame: they may leave with what is sent next. See [`FrameBuilder::push_patient`].
    Patient,
}

/// Why a message could not be written or a frame not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The frame has no room for this message: send it and begin another.
    #[error("the frame is full")]
    Full,
    /// The message is larger than any frame, or has too many entries.
    #[error("a message is too large for the wire ({0})")]
    TooLarge(usize),
    /// Such a message is not for the wire.
    #[error("{0} is not a message from replica to replica")]
    Unsendable(String),
    /// The frame is empty or larger than [`FRAME_BYTES_MAX`].
    #[error("a frame of {0} bytes")]
    Length(usize),
    /// Written by a version of this program that we do not know.
    #[error(
        "frame version {0}, but this program knows only version {WIRE_VERSION}: upgrade this node"
    )]
    Version(u8),
    /// The bytes are not a record.
    #[error("the frame is damaged at byte {0}")]
    Damaged(usize),
    /// The place of a snapshot cannot be read.
    #[error("the snapshot in a frame is damaged: {0}")]
    Snapshot(CodecError),
}

/// The numbers of a record, each with a bit of its own in `changed`. Heartbeats use the first seven, which
/// fit into one byte.
const SHARD: usize = 0;
const EPOCH: usize = 1;
const FROM: usize = 2;
const TO: usize = 3;
const TERM: usize = 4;
const COMMIT: usize = 5;
const CONTEXT: usize = 6;
const INDEX: usize = 7;
const LOG_TERM: usize = 8;
const COMMIT_TERM: usize = 9;
const REJECT_HINT: usize = 10;
const REQUEST_SNAPSHOT: usize = 11;
const FIELDS: usize = 12;

/// Numbers of a record, and those that the next one is compared with.
type Fields = [u64; FIELDS];

const REJECT_FLAG: u8 = 0x10;
/// A message with the context of a round; a candidate that the leader chose.
const CONTEXT_FLAG: u8 = 0x20;
const KIND_MASK: u8 = 0x0F;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Heartbeat = 0,
    HeartbeatResponse = 1,
    Append = 2,
    AppendResponse = 3,
    RequestVote = 4,
    RequestVoteResponse = 5,
    RequestPreVote = 6,
    RequestPreVoteResponse = 7,
    TimeoutNow = 8,
    Snapshot = 9,
    ReadIndex = 10,
    ReadIndexResponse = 11,
    Gone = 12,
    Patient = 13,
}

/// All kinds, at the place of their number.
const KINDS: [(Kind, MessageType); 12] = [
    (Kind::Heartbeat, MessageType::MsgHeartbeat),
    (Kind::HeartbeatResponse, MessageType::MsgHeartbeatResponse),
    (Kind::Append, MessageType::MsgAppend),
    (Kind::AppendResponse, MessageType::MsgAppendResponse),
    (Kind::RequestVote, MessageType::MsgRequestVote),
    (
        Kind::RequestVoteResponse,
        MessageType::MsgRequestVoteResponse,
    ),
    (Kind::RequestPreVote, MessageType::MsgRequestPreVote),
    (
        Kind::RequestPreVoteResponse,
        MessageType::MsgRequestPreVoteResponse,
    ),
    (Kind::TimeoutNow, MessageType::MsgTimeoutNow),
    (Kind::Snapshot, MessageType::MsgSnapshot),
    (Kind::ReadIndex, MessageType::MsgReadIndex),
    (Kind::ReadIndexResponse, MessageType::MsgReadIndexResp),
];

impl Kind {
    /// The fields that a record of this kind has, in the order in which they are written.
    const fn fields(self) -> &'static [usize] {
        match self {
            Self::Patient => &[],
            Self::Gone => &[SHARD, FROM],
            Self::Heartbeat | Self::HeartbeatResponse => {
                &[SHARD, EPOCH, FROM, TO, TERM, COMMIT, CONTEXT]
            }
            Self::ReadIndex => &[SHARD, EPOCH, FROM, TO, TERM, CONTEXT],
            Self::ReadIndexResponse => &[SHARD, EPOCH, FROM, TO, TERM, CONTEXT, INDEX],
            Self::Append => &[SHARD, EPOCH, FROM, TO, TERM, COMMIT, INDEX, LOG_TERM],
            Self::AppendResponse => &[
                SHARD,
                EPOCH,
                FROM,
                TO,
                TERM,
                COMMIT,
                INDEX,
                LOG_TERM,
                REJECT_HINT,
                REQUEST_SNAPSHOT,
            ],
            Self::RequestVote | Self::RequestPreVote => &[
                SHARD,
                EPOCH,
                FROM,
                TO,
                TERM,
                COMMIT,
                INDEX,
                LOG_TERM,
                COMMIT_TERM,
            ],
            Self::RequestVoteResponse | Self::RequestPreVoteResponse => {
                &[SHARD, EPOCH, FROM, TO, TERM, COMMIT, COMMIT_TERM]
            }
            Self::TimeoutNow | Self::Snapshot => &[SHARD, EPOCH, FROM, TO, TERM],
        }
    }

    const fn asks_for_vote(self) -> bool {
        matches!(self, Self::RequestVote | Self::RequestPreVote)
    }

    /// Whether it may carry the context of a round.
    const fn has_round(self) -> bool {
        matches!(
            self,
            Self::Heartbeat | Self::HeartbeatResponse | Self::ReadIndex | Self::ReadIndexResponse
        )
    }
}

/// What a field is compared with: its value in the record before; the next shard.
fn expected(field: usize, last: &Fields) -> u64 {
    match field {
        SHARD => last[SHARD].wrapping_add(1),
        _ => last[field],
    }
}

/// The fields before the first record, so that shard 0 is the expected one.
const fn first_expectation() -> Fields {
    let mut fields = [0; FIELDS];
    fields[SHARD] = u64::MAX;
    fields
}
