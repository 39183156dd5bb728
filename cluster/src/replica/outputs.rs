//! What a replica hands to its driver, and the small records in it.

use super::membership::Membership;
use super::snapshot::SnapshotPlace;
use crate::types::{Index, ReplicaId, Term};
use bincode::{Decode, Encode};
use bytes::Bytes;
use raft::eraftpb;

/// A message between replicas. It crosses the wire in a framing of our own, never in protobuf's.
pub use raft::eraftpb::{Message, MessageType};

/// What must survive a restart beside the log (invariant 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct HardState {
    pub term: Term,
    /// Whom this replica voted for in `term`; 0 for nobody.
    pub vote: ReplicaId,
    /// The highest index known to be committed. May be older than the truth.
    pub commit: Index,
}

impl HardState {
    pub(super) fn from_raft(state: &eraftpb::HardState) -> Self {
        Self {
            term: Term(state.term),
            vote: ReplicaId(state.vote),
            commit: Index(state.commit),
        }
    }

    pub(super) fn to_raft(self) -> eraftpb::HardState {
        eraftpb::HardState {
            term: self.term.get(),
            vote: self.vote.get(),
            commit: self.commit.get(),
            ..Default::default()
        }
    }
}

/// What an entry of the log is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub enum EntryKind {
    /// A batch of commands.
    #[default]
    Commands,
    /// Nothing: a new leader's first entry. It is applied by counting it.
    Empty,
    /// A change of the membership, see [`MembershipChange`](super::MembershipChange).
    Membership,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogEntry {
    pub index: Index,
    pub term: Term,
    pub kind: EntryKind,
    /// The bytes as they were proposed. Shared, never copied.
    pub data: Bytes,
}

/// What an entry costs in memory beside its data, in bytes; keeps the tail bounded when entries are tiny.
const ENTRY_OVERHEAD_BYTES: usize = std::mem::size_of::<LogEntry>();

impl LogEntry {
    /// What it costs in memory.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.data.len() + ENTRY_OVERHEAD_BYTES
    }

    #[inline]
    pub(super) fn from_raft(entry: eraftpb::Entry) -> Self {
        let kind = match entry.entry_type {
            eraftpb::EntryType::EntryNormal if entry.data.is_empty() => EntryKind::Empty,
            eraftpb::EntryType::EntryNormal => EntryKind::Commands,
            _ => EntryKind::Membership,
        };
        Self {
            index: Index(entry.index),
            term: Term(entry.term),
            kind,
            data: entry.data,
        }
    }

    #[inline]
    pub(super) fn to_raft(&self) -> eraftpb::Entry {
        let entry_type = match self.kind {
            EntryKind::Commands | EntryKind::Empty => eraftpb::EntryType::EntryNormal,
            EntryKind::Membership => eraftpb::EntryType::EntryConfChangeV2,
        };
        eraftpb::Entry {
            entry_type,
            term: self.term.get(),
            index: self.index.get(),
            data: self.data.clone(),
            ..Default::default()
        }
    }
}

/// A snapshot that a leader sent, to be taken in as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingSnapshot {
    /// The last index that it covers.
    pub index: Index,
    /// The term of that index.
    pub term: Term,
    /// Who belonged to the group at that index.
    pub membership: Membership,
    /// What the sender attached.
    pub data: Bytes,
}

/// A follower needs a snapshot. The driver streams one that lies at `place` or behind it and says
/// [`report_snapshot`](super::Replica::report_snapshot) when that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// Who needs it.
    pub to: ReplicaId,
    /// The term of this leader.
    pub term: Term,
    /// The durable snapshot, as told by [`snapshot_is_durable`](super::Replica::snapshot_is_durable).
    pub place: SnapshotPlace,
}

/// What the driver has to do. One value serves any number of replicas in turn and keeps its memory.
#[derive(Debug, Default)]
pub struct Outputs {
    /// To be sent now.
    pub messages: Vec<Message>,
    /// Snapshots to be sent to followers, on a way of their own.
    pub snapshot_requests: Vec<SnapshotRequest>,
    /// To be written now, in this order. Their first index may lie before the end of the written log: what was
    /// written from there on is void.
    pub entries: Vec<LogEntry>,
    /// To be written with the entries: the term or the vote changed.
    pub hard_state: Option<HardState>,
    /// To be taken in before the entries are written.
    pub snapshot: Option<IncomingSnapshot>,
    /// Whether anything of this must reach the disk before [`Replica::persisted`](super::Replica::persisted), as
    /// far as the durability mode asks for it.
    pub must_sync: bool,
    /// To be applied, in this order; an entry of kind [`EntryKind::Membership`] by
    /// [`apply_membership`](super::Replica::apply_membership).
    pub committed: Vec<LogEntry>,
}

impl Outputs {
    /// Empties everything and keeps the memory.
    pub fn clear(&mut self) {
        self.messages.clear();
        self.snapshot_requests.clear();
        self.entries.clear();
        self.hard_state = None;
        self.snapshot = None;
        self.must_sync = false;
        self.committed.clear();
    }

    /// Whether there is something to write.
    #[must_use]
    pub fn has_writes(&self) -> bool {
        !self.entries.is_empty() || self.hard_state.is_some() || self.snapshot.is_some()
    }
}
