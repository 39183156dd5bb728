//! One replica of a shard: a Raft state machine that neither reads nor writes anything itself. Its driver carries
//! messages, writes the log, applies what is committed and says when that is done.
//!
//! # The driver's contract
//!
//! In this order, once a turn:
//!
//! 1. Feed it: [`tick`](Replica::tick), [`step`](Replica::step), [`propose`](Replica::propose).
//! 2. [`ready`](Replica::ready). When it gives `false` there is nothing to do.
//! 3. Send `messages`. These are a leader's; a follower's wait inside until its write is done.
//! 4. Take in `snapshot`, write `entries` and `hard_state`, and with them
//!    [`known_commit_if_persisted`](Replica::known_commit_if_persisted), as one record; the records of several
//!    replicas may share one write. Sync when `must_sync` and the durability mode ask for it.
//! 5. [`persisted`](Replica::persisted), also when there was nothing to write. Only now does the replica count itself.
//! 6. Send `messages`, apply `committed` in order, and say [`applied`](Replica::applied) when the effects are there
//!    (invariant 9: not earlier).
//! 7. Go back to 2 until it gives `false`.
//!
//! Between `ready` and `persisted` the replica takes no proposal ([`ProposeError::Busy`]) and keeps messages back; it stays
//! correct, it only waits. If the write fails the replica must not be used any more: it has promised what is not there.
//!
//! A group of one voter differs in nothing but this: nobody has to answer, so its entries are committed by being persisted.

mod config;
mod log_store;
mod outputs;
#[cfg(test)]
mod tests;

pub use config::{
    Config, RestoreError, Restored, APPENDS_INFLIGHT_MAX, APPEND_BYTES_MAX, COMMITTED_BYTES_MAX,
};
pub use outputs::{EntryKind, HardState, IncomingSnapshot, LogEntry, Membership, Message, Outputs};

use crate::types::{Index, ReplicaId, ShardId, Term};
use bytes::Bytes;
use log_store::LogStore;
use raft::eraftpb::MessageType;
use raft::{RawNode, Ready, StateRole, INVALID_ID};

/// Messages that arrive between `ready` and `persisted` and wait for it; further ones are dropped, which Raft forgives.
pub const MESSAGES_HELD_MAX: usize = 1024;

/// Why a proposal was not taken. It is certain then that it will not be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Too much is uncommitted, a write is under way or leadership is being handed over: try again soon.
    #[error("the shard is busy")]
    Busy,
    /// Another replica leads, or none.
    #[error("this replica does not lead the shard")]
    NotLeader,
}

/// One replica of a shard.
pub struct Replica {
    shard: ShardId,
    raw: RawNode<LogStore>,
    /// The `Ready` that the driver is writing.
    in_flight: Option<InFlight>,
    held: Vec<Message>,
    one_voter: bool,
    tail_bytes_max: usize,
    /// Ticks during which no vote is granted, because leases of the time before the restart may still run.
    silent_ticks: usize,
    term: Term,
    /// The last entry handed out to be applied.
    delivered: Index,
    applied: Index,
    applied_term: Term,
}

struct InFlight {
    ready: Ready,
    known_commit: Index,
}

impl Replica {
    /// Starts a replica from what it had on disk. It is a follower until it is elected; in a group of one voter
    /// [`campaign`](Self::campaign) makes it the leader at once.
    ///
    /// # Errors
    /// When the settings or the restored state cannot be.
    pub fn new(config: &Config, restored: Restored) -> Result<Self, RestoreError> {
        restored.check()?;
        let (applied, term) = (restored.applied, restored.hard_state.term);
        let silent_ticks = match restored.has_run() && !restored.membership.is_one_voter() {
            true => config.election_ticks,
            false => 0,
        };
        let one_voter = restored.membership.voters == [config.id];
        let store = LogStore::new(restored);
        let applied_term = store.term_of(applied).unwrap_or_default();
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config.to_raft(applied), store, &logger)
            .map_err(|error| RestoreError::Config(error.to_string()))?;
        let mut replica = Self {
            shard: config.shard,
            raw,
            in_flight: None,
            held: Vec::new(),
            one_voter,
            tail_bytes_max: config.tail_bytes_max,
            silent_ticks,
            term,
            delivered: applied,
            applied,
            applied_term,
        };
        replica.compact();
        Ok(replica)
    }

    /// Stands for election now. Does nothing for a leader, or while a write is under way.
    pub fn campaign(&mut self) {
        if self.in_flight.is_none() {
            // The only refusal is that of a replica which may not stand, and then there is nothing to do.
            let _ = self.raw.campaign();
        }
    }

    /// Appends an entry to the log of the shard, to be written with the next `ready`. Empty data is not a proposal.
    ///
    /// # Errors
    /// [`ProposeError`]; nothing was taken then.
    #[inline]
    pub fn propose(&mut self, data: impl Into<Bytes>) -> Result<(), ProposeError> {
        let raft = &mut self.raw.raft;
        if raft.state != StateRole::Leader || raft.prs().get(raft.id).is_none() {
            return Err(ProposeError::NotLeader);
        }
        if self.in_flight.is_some() || raft.lead_transferee.is_some() {
            return Err(ProposeError::Busy);
        }
        let data = data.into();
        assert!(!data.is_empty(), "an empty entry is a new leader's mark");
        let entry = raft::eraftpb::Entry {
            data,
            ..Default::default()
        };
        // What `RawNode::propose` comes to for a leader, without a message around it.
        if !raft.append_entry(&mut [entry]) {
            return Err(ProposeError::Busy);
        }
        if !self.one_voter {
            raft.bcast_append();
        }
        Ok(())
    }

    /// Lets time pass by one tick. Ticks that were missed during a pause are not to be made up for (invariant 6).
    pub fn tick(&mut self) {
        self.silent_ticks = self.silent_ticks.saturating_sub(1);
        if self.in_flight.is_none() {
            self.raw.tick();
        }
    }

    /// Takes in a message of another replica. Messages that make no sense here are dropped.
    pub fn step(&mut self, message: Message) {
        if self.in_flight.is_some() {
            if self.held.len() < MESSAGES_HELD_MAX {
                self.held.push(message);
            }
            return;
        }
        let asks_for_vote = matches!(
            message.msg_type,
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote
        );
        // Invariant 5: the leases of the old leader must run out first.
        if asks_for_vote && self.silent_ticks > 0 {
            return;
        }
        // Only leaders take proposals, and only their own: a forwarded one could be applied twice.
        if message.msg_type == MessageType::MsgPropose {
            return;
        }
        let _ = self.raw.step(message);
    }

    /// Says that a message to a replica was lost, so that it is not waited for.
    pub fn unreachable(&mut self, replica: ReplicaId) {
        if self.in_flight.is_none() {
            self.raw.report_unreachable(replica.get());
        }
    }

    /// Empties `outputs` and fills it with what there is to send and to write; `false` when there is nothing. After
    /// `true`, [`persisted`](Self::persisted) must follow.
    pub fn ready(&mut self, outputs: &mut Outputs) -> bool {
        outputs.clear();
        assert!(self.in_flight.is_none(), "ready() before persisted()");
        if !self.raw.has_ready() {
            return false;
        }
        let mut ready = self.raw.ready();
        self.check_term();
        outputs.messages.append(&mut ready.take_messages());
        self.take_in_snapshot(&ready, outputs);
        let known_commit = self.known_commit(&ready);
        let store = self.raw.raft.mut_store();
        for entry in ready.take_entries() {
            let entry = LogEntry::from_raft(entry);
            outputs.entries.push(entry.clone());
            store.append(entry);
        }
        outputs.must_sync = ready.must_sync();
        // The commit index alone need not be written: it can be learned again.
        if ready.must_sync() {
            outputs.hard_state = self.changed_hard_state(&ready);
        }
        self.in_flight = Some(InFlight {
            ready,
            known_commit,
        });
        true
    }

    /// The commit index that will hold as soon as what `ready` gave is persisted. A record of the write-ahead log carries
    /// it, so that a restart knows what was committed.
    #[must_use]
    pub fn known_commit_if_persisted(&self) -> Index {
        match &self.in_flight {
            Some(in_flight) => in_flight.known_commit,
            None => self.committed(),
        }
    }

    /// Says that what `ready` gave is written (and synced, when the durability mode asks for it). Empties `outputs` and fills
    /// it with what there is to send and to apply.
    pub fn persisted(&mut self, outputs: &mut Outputs) {
        outputs.clear();
        let InFlight {
            mut ready,
            known_commit,
        } = self.in_flight.take().expect("persisted() without ready()");
        outputs
            .messages
            .append(&mut ready.take_persisted_messages());
        for entry in ready.take_committed_entries() {
            self.deliver(entry, outputs);
        }
        let mut light = self.raw.advance_append(ready);
        outputs.messages.append(&mut light.take_messages());
        for entry in light.take_committed_entries() {
            self.deliver(entry, outputs);
        }
        // Invariant 1: what the write-ahead log says is committed is committed.
        assert!(
            self.committed() >= known_commit,
            "invariant 1: shard {} wrote commit {known_commit} and has {}",
            self.shard,
            self.committed()
        );
        if !self.held.is_empty() {
            for message in std::mem::take(&mut self.held) {
                self.step(message);
            }
        }
    }

    /// Says that every entry up to `index` has had its effect.
    #[inline]
    pub fn applied(&mut self, index: Index) {
        // Invariant 9: applied once, and only what was handed out.
        assert!(
            self.applied <= index && index <= self.delivered,
            "invariant 9: shard {} applied {index} after {} with {} handed out",
            self.shard,
            self.applied,
            self.delivered
        );
        self.raw.advance_apply_to(index.get());
        self.applied = index;
        self.applied_term = self.raw.raft.store().term_of(index).unwrap_or_default();
        self.compact();
    }

    /// Drops applied entries from memory. A group of one voter keeps none; any other keeps a tail for slow
    /// followers, bounded in bytes. Memory alone: the written log is the driver's to shorten, behind a snapshot.
    #[inline]
    fn compact(&mut self) {
        let tail_bytes_max = if self.one_voter {
            0
        } else {
            self.tail_bytes_max
        };
        let store = self.raw.raft.mut_store();
        store.compact(self.applied, tail_bytes_max);
    }
}

/// Questions.
impl Replica {
    /// The shard it belongs to.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Who it is.
    #[must_use]
    pub fn id(&self) -> ReplicaId {
        ReplicaId(self.raw.raft.id)
    }

    /// Whether it leads the shard, as far as it knows.
    #[inline]
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// Who leads the shard, as far as it knows.
    #[must_use]
    pub fn leader(&self) -> Option<ReplicaId> {
        match self.raw.raft.leader_id {
            INVALID_ID => None,
            id => Some(ReplicaId(id)),
        }
    }

    /// Whether it leads and has applied an entry of its own term, so that it knows all that was ever committed. What a leader
    /// of several voters needs beside it is a lease.
    #[inline]
    #[must_use]
    pub fn can_read(&self) -> bool {
        self.is_leader() && self.applied_term.get() == self.raw.raft.term
    }

    /// Its term.
    #[must_use]
    pub fn term(&self) -> Term {
        Term(self.raw.raft.term)
    }

    /// The last index of its log, written or not.
    #[inline]
    #[must_use]
    pub fn last_index(&self) -> Index {
        Index(self.raw.raft.raft_log.last_index())
    }

    /// The last index known to be committed.
    #[inline]
    #[must_use]
    pub fn committed(&self) -> Index {
        Index(self.raw.raft.raft_log.committed)
    }

    /// The last index that was applied, as told by [`applied`](Self::applied).
    #[inline]
    #[must_use]
    pub fn applied_index(&self) -> Index {
        self.applied
    }

    /// The first index whose entry is still in memory, or would be the next.
    #[must_use]
    pub fn first_index(&self) -> Index {
        Index(self.raw.raft.raft_log.first_index())
    }

    /// Bytes that the log holds in memory.
    #[must_use]
    pub fn log_bytes(&self) -> usize {
        self.raw.raft.store().bytes()
    }

    /// Who votes and who learns.
    #[must_use]
    pub fn membership(&self) -> Membership {
        self.raw.raft.store().membership()
    }

    /// Term, vote and commit as they are now; for a write-ahead log that starts a new segment.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        HardState::from_raft(&self.raw.raft.hard_state())
    }
}

impl Replica {
    /// The hard state of a `Ready`, when more than its commit index is new.
    fn changed_hard_state(&mut self, ready: &Ready) -> Option<HardState> {
        let state = HardState::from_raft(ready.hs()?);
        let store = self.raw.raft.mut_store();
        store.note_hard_state(state).then_some(state)
    }

    fn take_in_snapshot(&mut self, ready: &Ready, outputs: &mut Outputs) {
        let snapshot = ready.snapshot();
        if snapshot.is_empty() {
            return;
        }
        let metadata = snapshot.get_metadata();
        let (index, term) = (Index(metadata.index), Term(metadata.term));
        // Invariant 9: data never goes back behind what is applied.
        assert!(
            index >= self.delivered,
            "invariant 9: shard {} got a snapshot at {index} with {} handed out",
            self.shard,
            self.delivered
        );
        let conf_state = metadata.get_conf_state().clone();
        outputs.snapshot = Some(IncomingSnapshot {
            index,
            term,
            membership: Membership::from_raft(&conf_state),
            data: snapshot.data.clone(),
        });
        self.raw.raft.mut_store().restore(index, term, conf_state);
        self.one_voter = self.raw.raft.store().membership().voters == [self.id()];
        self.delivered = index;
    }

    fn known_commit(&self, ready: &Ready) -> Index {
        match ready.entries().last() {
            Some(last) if self.one_voter && self.is_leader() => Index(last.index),
            _ => self.committed(),
        }
    }

    #[inline]
    fn deliver(&mut self, entry: raft::eraftpb::Entry, outputs: &mut Outputs) {
        let entry = LogEntry::from_raft(entry);
        // Invariant 9: no gap, no repeat.
        assert!(
            entry.index == self.delivered.next(),
            "invariant 9: shard {} would apply {} after {}",
            self.shard,
            entry.index,
            self.delivered
        );
        self.delivered = entry.index;
        outputs.committed.push(entry);
    }

    /// Invariant 5: a term never goes backwards.
    fn check_term(&mut self) {
        let term = self.term();
        assert!(
            term >= self.term,
            "invariant 5: shard {} went from term {} back to {term}",
            self.shard,
            self.term
        );
        self.term = term;
    }
}
