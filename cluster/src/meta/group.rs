//! What a node has of the meta group: its replica, where it holds one, and the topology that is applied. Knows nothing of
//! disks and peers: a driver carries the replica as it carries that of a shard, and hands every committed entry in here.
//!
//! # The driver's contract
//!
//! That of [`Replica`], which is public for it, with these duties:
//!
//! - Entries go to the log under [`META_GROUP`]. Committed ones go to [`apply`](MetaGroup::apply), in order, on leader, follower and
//!   replay alike; then the driver tells [`Replica::applied`]. An entry that cannot be read ends this copy.
//! - A snapshot is [`encode_snapshot`](MetaGroup::encode_snapshot) at [`place`](MetaGroup::place). One that `ready` gave goes to
//!   [`install`](MetaGroup::install) before [`Replica::persisted`]; it has been checked by [`MetaSnapshot::decode`] when it came.
//! - A node without a copy, or with one that lags, takes the topology of others by [`offer`](MetaGroup::offer).
//!
//! A topology that was heard of stands beside the applied one and never in its place: what comes next in the log applies to what
//! came before it in the log, and to nothing else.

use super::{MetaCommand, MetaError, MetaReply};
use crate::codec::{self, CodecError};
use crate::replica::{
    EntryKind, LogEntry, Membership, ProposeError, Replica, SnapshotPlace, UnreadableChange,
};
use crate::topology::{ClusterId, Topology, TopologyError, META_GROUP};
use crate::types::{Index, Term};
use std::collections::BTreeMap;

/// Own proposals that are remembered until somebody asks for their outcome. Of those that are decided the oldest are forgotten
/// first; when all are undecided, another is refused as busy.
pub const PROPOSALS_MAX: usize = 1024;

/// The layout of a snapshot.
const SCHEMA: u16 = 1;

/// An own proposal: where it stands in the log as long as no other leader takes the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProposalTicket {
    pub index: Index,
    pub term: Term,
}

/// What became of an own proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposalOutcome {
    /// Its place in the log has not been reached.
    Pending,
    /// It was applied, and accepted or refused.
    Done(Result<MetaReply, MetaError>),
    /// Another entry has its place: it was not applied and never will be.
    Lost,
    /// This node leads no more, or a snapshot went past it. It may have been applied or be applied yet: look at the
    /// topology, or propose it again, which is harmless.
    Unknown,
}

/// Why a command was not proposed. It is certain then that it will not be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetaProposeError {
    #[error("this node does not lead the meta group")]
    NotLeader,
    /// Too much is under way, or the leader is new: try again soon.
    #[error("the meta group is busy")]
    Busy,
    #[error("{0}")]
    Command(#[from] CodecError),
}

/// What an entry has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetaApplied {
    /// A new leader's mark.
    Nothing,
    /// A command, accepted or refused: the same everywhere.
    Command(Result<MetaReply, MetaError>),
    /// The meta group's own membership is this from now on.
    Membership(Membership),
}

/// A committed entry cannot be read. This copy cannot go on: it would differ from the others'.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableEntry {
    #[error("entry {index} of the meta group cannot be read ({source}): start a newer ringfort, or rebuild this node from its peers")]
    Command { index: Index, source: CodecError },
    #[error("{0}")]
    Change(#[from] UnreadableChange),
}

/// Why a topology of others is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    #[error("{0}")]
    Topology(#[from] TopologyError),
    #[error("a topology of cluster {theirs} was offered to a node of cluster {ours}: is a peer address wrong?")]
    OtherCluster { theirs: ClusterId, ours: ClusterId },
}

/// A topology with the entry after which it was so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetaSnapshot {
    pub index: Index,
    pub term: Term,
    pub topology: Topology,
}

impl MetaSnapshot {
    /// The snapshot as bytes.
    ///
    /// # Errors
    /// Never for a topology within its bounds.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let mut bytes = codec::encode(&(SCHEMA, self.index, self.term))?;
        bytes.extend_from_slice(&self.topology.encode()?);
        Ok(bytes)
    }

    /// Reads what [`MetaSnapshot::encode`] wrote.
    ///
    /// # Errors
    /// When it is of another version, damaged, or cannot be.
    pub fn decode(bytes: &[u8]) -> Result<Self, TopologyError> {
        let ((schema, index, term), length) = codec::decode_prefix::<(u16, Index, Term)>(bytes)?;
        if schema != SCHEMA {
            return Err(TopologyError::Schema(schema));
        }
        let topology = Topology::decode(&bytes[length..])?;
        Ok(Self {
            index,
            term,
            topology,
        })
    }
}

/// The meta group as one node has it.
#[derive(Default)]
pub struct MetaGroup {
    /// The copy of this node, if it holds one.
    pub replica: Option<Replica>,
    /// What the copy has applied.
    applied: MetaSnapshot,
    /// What others have said, as long as it is newer.
    heard: Option<Topology>,
    /// Own proposals with what is known of their outcome.
    open: BTreeMap<ProposalTicket, Option<ProposalOutcome>>,
}

impl MetaGroup {
    /// A node without a copy, which knows of no cluster.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a node finds on its disk: the last snapshot; the entries behind it follow through [`apply`](Self::apply).
    #[must_use]
    pub fn restored(snapshot: MetaSnapshot) -> Self {
        Self {
            applied: snapshot,
            ..Self::default()
        }
    }

    /// From now on this node holds a copy. It must have applied as much as this group has.
    pub fn start(&mut self, replica: Replica) {
        assert_eq!(replica.shard(), META_GROUP, "a replica of the meta group");
        // Invariant 9: data and applied index move together.
        assert_eq!(
            replica.applied_index(),
            self.applied.index,
            "invariant 9: the meta group's replica and its topology differ"
        );
        self.replica = Some(replica);
    }

    /// The copy of this node was removed, or is to be made anew. What it knew stays known.
    pub fn stop(&mut self) -> Option<Replica> {
        let applied = std::mem::take(&mut self.applied).topology;
        if applied.epoch > self.topology().epoch {
            self.heard = Some(applied);
        }
        self.open.clear();
        self.replica.take()
    }

    /// The newest topology that this node knows.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        self.heard.as_ref().unwrap_or(&self.applied.topology)
    }

    /// Whether this node leads the meta group and knows all that was committed before: whoever decides anything from the topology
    /// does so here alone.
    #[must_use]
    pub fn leads(&self) -> bool {
        let leads = |replica: &Replica| replica.is_leader() && replica.has_applied_own_term();
        self.replica.as_ref().is_some_and(leads)
    }

    /// Proposes a command.
    ///
    /// # Errors
    /// [`MetaProposeError`]; nothing was proposed then.
    pub fn propose(&mut self, command: &MetaCommand) -> Result<ProposalTicket, MetaProposeError> {
        let leads = self.leads();
        let Some(replica) = self.replica.as_mut().filter(|replica| replica.is_leader()) else {
            return Err(MetaProposeError::NotLeader);
        };
        let data = command.encode()?;
        if !leads || self.open.len() >= PROPOSALS_MAX && !forget_oldest(&mut self.open) {
            return Err(MetaProposeError::Busy);
        }
        replica.propose(data).map_err(|error| match error {
            ProposeError::Busy => MetaProposeError::Busy,
            ProposeError::NotLeader => MetaProposeError::NotLeader,
        })?;
        let ticket = ProposalTicket {
            index: replica.last_index(),
            term: replica.term(),
        };
        self.open.insert(ticket, None);
        Ok(ticket)
    }

    /// What became of an own proposal. Any answer but [`ProposalOutcome::Pending`] is given once, and `Unknown` from then on.
    pub fn outcome(&mut self, ticket: ProposalTicket) -> ProposalOutcome {
        let leads = |replica: &Replica| replica.is_leader() && replica.term() == ticket.term;
        let leads = self.replica.as_ref().is_some_and(leads);
        let known = match self.open.get_mut(&ticket) {
            Some(outcome) => outcome.take(),
            None => return ProposalOutcome::Unknown,
        };
        if known.is_none() && leads {
            return ProposalOutcome::Pending;
        }
        self.open.remove(&ticket);
        known.unwrap_or(ProposalOutcome::Unknown)
    }

    /// Applies the next committed entry, of whatever kind.
    ///
    /// # Errors
    /// When it cannot be read; the replica must not be used any more then.
    pub fn apply(&mut self, entry: &LogEntry) -> Result<MetaApplied, UnreadableEntry> {
        // Invariant 9: no gap, no repeat.
        assert_eq!(
            entry.index,
            self.applied.index.next(),
            "invariant 9: the meta group would apply an entry out of its turn"
        );
        let applied = match entry.kind {
            EntryKind::Empty => MetaApplied::Nothing,
            EntryKind::Commands => MetaApplied::Command(self.apply_command(entry)?),
            EntryKind::Membership => MetaApplied::Membership(self.apply_membership(entry)?),
        };
        (self.applied.index, self.applied.term) = (entry.index, entry.term);
        self.settle_place(entry, &applied);
        self.drop_heard_if_old();
        Ok(applied)
    }

    fn apply_command(
        &mut self,
        entry: &LogEntry,
    ) -> Result<Result<MetaReply, MetaError>, UnreadableEntry> {
        let command = MetaCommand::decode(&entry.data).map_err(|source| {
            let index = entry.index;
            UnreadableEntry::Command { index, source }
        })?;
        Ok(self.applied.topology.apply(&command))
    }

    fn apply_membership(&mut self, entry: &LogEntry) -> Result<Membership, UnreadableEntry> {
        let replica = self.replica.as_mut();
        let replica = replica.expect("only a replica hands out changes of the membership");
        Ok(replica.apply_membership(entry)?)
    }

    /// Whoever proposed something for this place learns what stands there.
    fn settle_place(&mut self, entry: &LogEntry, applied: &MetaApplied) {
        let at = |term| ProposalTicket {
            index: entry.index,
            term,
        };
        for (ticket, outcome) in self.open.range_mut(at(Term::ZERO)..=at(Term(u64::MAX))) {
            *outcome = Some(match applied {
                MetaApplied::Command(reply) if ticket.term == entry.term => {
                    ProposalOutcome::Done(reply.clone())
                }
                _ => ProposalOutcome::Lost,
            });
        }
    }

    fn drop_heard_if_old(&mut self) {
        let applied = self.applied.topology.epoch;
        self.heard.take_if(|heard| heard.epoch <= applied);
    }

    /// What is applied, as bytes; it stands for [`place`](Self::place).
    ///
    /// # Errors
    /// Never for a topology within its bounds.
    pub fn encode_snapshot(&self) -> Result<Vec<u8>, CodecError> {
        self.applied.encode()
    }

    /// Where a snapshot that is made now lies in the log. `None` without a copy, or before there is anything to keep.
    #[must_use]
    pub fn place(&self) -> Option<SnapshotPlace> {
        let replica = self.replica.as_ref()?;
        let place = SnapshotPlace {
            index: self.applied.index,
            term: self.applied.term,
            membership: replica.membership(),
        };
        (place.index > Index::ZERO).then_some(place)
    }

    /// Takes in a snapshot that the replica has accepted, instead of all that was applied.
    ///
    /// # Errors
    /// When the bytes are no such snapshot; nothing has changed then.
    pub fn install(&mut self, bytes: &[u8]) -> Result<(), TopologyError> {
        let snapshot = MetaSnapshot::decode(bytes)?;
        // Invariant 9: data never goes back.
        assert!(
            snapshot.index >= self.applied.index,
            "invariant 9: the meta group at {} got a snapshot of {}",
            self.applied.index,
            snapshot.index
        );
        self.applied = snapshot;
        for (ticket, outcome) in &mut self.open {
            if ticket.index <= self.applied.index && outcome.is_none() {
                *outcome = Some(ProposalOutcome::Unknown);
            }
        }
        self.drop_heard_if_old();
        Ok(())
    }

    /// Takes the topology of another node when it is newer, and tells whether it was. A node that belongs to no cluster yet takes
    /// any.
    ///
    /// # Errors
    /// [`OfferError`]; nothing has changed then.
    pub fn offer(&mut self, bytes: &[u8]) -> Result<bool, OfferError> {
        let offered = Topology::decode(bytes)?;
        let known = self.topology();
        if known.is_formed() && offered.is_formed() && known.cluster_id != offered.cluster_id {
            let (theirs, ours) = (offered.cluster_id, known.cluster_id);
            return Err(OfferError::OtherCluster { theirs, ours });
        }
        let newer = offered.epoch > known.epoch;
        if newer {
            self.heard = Some(offered);
        }
        Ok(newer)
    }
}

/// Forgets the oldest proposal that is decided. False when none is.
fn forget_oldest(open: &mut BTreeMap<ProposalTicket, Option<ProposalOutcome>>) -> bool {
    let decided = open.iter().find(|(_, outcome)| outcome.is_some());
    let decided = decided.map(|(&ticket, _)| ticket);
    decided.is_some_and(|ticket| open.remove(&ticket).is_some())
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
