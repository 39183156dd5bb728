//! One replica of a shard: a Raft state machine that neither reads nor writes anything itself. Its driver carries
//! messages, writes the log, applies what is committed and says when that is done.
//!
//! # The driver's contract
//!
//! In this order, once a turn:
//!
//! 1. Feed it: [`tick`](Replica::tick), [`step`](Replica::step), [`propose`](Replica::propose) and its like, with the
//!    time of the node's monotonic clock.
//! 2. [`ready`](Replica::ready). When it gives `false` there is nothing to do.
//! 3. Send `messages`. These are a leader's; a follower's wait inside until its write is done.
//! 4. Take in `snapshot`, write `entries` and `hard_state`, and with them
//!    [`known_commit_if_persisted`](Replica::known_commit_if_persisted), as one record; the records of several
//!    replicas may share one write. Sync when `must_sync` and the durability mode ask for it.
//! 5. [`persisted`](Replica::persisted), also when there was nothing to write. Only now does the replica count itself.
//! 6. Send `messages`, apply `committed` in order (changes of the membership by
//!    [`apply_membership`](Replica::apply_membership)), and say [`applied`](Replica::applied) when the effects are there
//!    (invariant 9: not earlier). A snapshot that was taken in counts as applied too.
//!    `snapshot_requests`, here and in 3, are answered in time by [`report_snapshot`](Replica::report_snapshot); a
//!    message that could not be sent by [`unreachable`](Replica::unreachable).
//! 7. Go back to 2 until it gives `false`.
//!
//! Between `ready` and `persisted` the replica takes no proposal ([`ProposeError::Busy`]) and keeps messages back; it stays
//! correct, it only waits. If the write fails the replica must not be used any more: it has promised what is not there.
//!
//! A group of one voter differs in nothing but this: nobody has to answer, so its entries are committed by being persisted.
//! A replica that is alone takes a short way (`solo.rs`), which cannot be told from the long one.

mod admit;
mod change;
mod config;
mod confined;
mod follower;
mod forced;
mod haste;
mod heard;
mod lease;
mod log_store;
mod membership;
mod outputs;
mod questions;
mod snapshot;
mod solo;
#[cfg(test)]
mod tests;
mod ticks;
pub mod wire;

pub use admit::NUMBER_MAX;
pub use change::TransferError;
pub use config::{
    Config, RestoreError, Restored, APPENDS_INFLIGHT_MAX, APPEND_BYTES_MAX, COMMITTED_BYTES_MAX,
};
pub use forced::Force;
pub use membership::{
    ChangeError, ChangeOutcome, ChangeTicket, Matched, Membership, MembershipChange,
    UnreadableChange, MEMBERS_MAX,
};
pub use outputs::{
    EntryKind, HardState, IncomingSnapshot, LogEntry, Message, MessageType, Outputs,
    SnapshotRequest,
};
pub use snapshot::{snapshot_message, SnapshotPlace};

use crate::types::{Index, Monotonic, ReplicaId, ShardId, Term};
use bytes::Bytes;
use change::Transfer;
use config::Timing;
use confined::Confined;
use follower::Freshness;
use forced::Forcing;
use haste::Haste;
use heard::Heard;
use lease::{Lease, Promise};
use log_store::LogStore;
use raft::{RawNode, Ready, StateRole};
use snapshot::{Sending, Settling};
use solo::Solo;
use std::collections::VecDeque;
use ticks::Jitter;

/// Messages that arrive between `ready` and `persisted` and wait for it; further ones are dropped, which Raft forgives.
pub const MESSAGES_HELD_MAX: usize = 1024;

/// For followers that are behind, but take part or did until a moment ago, the log in memory may have so many times the bytes of its tail.
const LAG_TAILS: usize = 4;

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
    /// What `raw` was made from; its `applied` is that of the start.
    raft_config: raft::Config,
    /// While this is set `raw` stands still, all but its log.
    solo: Option<Solo>,
    /// Takes the long way in any case, for tests that compare.
    #[cfg(test)]
    never_solo: bool,
    /// The `Ready` that the driver is writing.
    in_flight: Option<InFlight>,
    /// What came in meanwhile.
    held: Vec<Message>,
    reports: Vec<Report>,
    tick_owed: bool,
    /// Whether it decides alone.
    one_voter: bool,
    /// Whether it is the only replica.
    alone: bool,
    tail_bytes_max: usize,
    absence_us: u64,
    tail_bytes_small: usize,
    log_bytes_max: usize,
    promote_lag_entries_max: u64,
    timing: Timing,
    /// The latest moment that it knows of.
    now: Monotonic,
    last_tick: Option<Monotonic>,
    jitter: Jitter,
    haste: Haste,
    lease: Lease,
    promise: Promise,
    freshness: Freshness,
    heard: Heard,
    was_restarted: bool,
    confined: Option<Confined>,
    forcing: Option<Forcing>,
    transfer: Option<Transfer>,
    sending: Vec<Sending>,
    settling: Vec<Settling>,
    /// Changes of the membership that were handed out and not carried out.
    changes_due: VecDeque<Index>,
    /// The last one that was carried out, or may have been.
    last_change: Index,
    term: Term,
    /// The last entry handed out to be applied.
    delivered: Index,
    applied: Index,
    applied_term: Term,
}

/// What the driver reports about a peer; kept while a write is under way, at most one of a kind for each peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    Unreachable(ReplicaId),
    Snapshot(ReplicaId, bool),
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
        let timing = config.timing()?;
        let (applied, term) = (restored.applied, restored.hard_state.term);
        let (was_restarted, unknown) = (
            restored.may_have_promised(),
            restored.membership.is_unknown(),
        );
        let store = LogStore::new(restored);
        let applied_term = store.term_of(applied).unwrap_or_default();
        let raft_config = config.to_raft(applied);
        let mut raw = RawNode::new(&raft_config, store, &no_logger())
            .map_err(|error| RestoreError::Config(error.to_string()))?;
        if unknown {
            // Whoever leads must send a snapshot: the log alone does not say who was there before its first entry.
            raw.raft.pending_request_snapshot = 1;
        }
        let mut replica = Self {
            shard: config.shard,
            raw,
            raft_config,
            solo: None,
            #[cfg(test)]
            never_solo: false,
            in_flight: None,
            held: Vec::new(),
            reports: Vec::new(),
            tick_owed: false,
            one_voter: false,
            alone: false,
            tail_bytes_max: config.tail_bytes_max,
            absence_us: config.absence_us,
            tail_bytes_small: config.tail_bytes_small.min(config.tail_bytes_max),
            log_bytes_max: config.log_bytes_max.max(config.tail_bytes_max),
            promote_lag_entries_max: config.promote_lag_entries_max,
            timing,
            now: Monotonic::ZERO,
            last_tick: None,
            jitter: Jitter::new(config.election_jitter_ticks, config.seed),
            haste: Haste::default(),
            lease: Lease::default(),
            promise: Promise::default(),
            freshness: Freshness::default(),
            heard: Heard::default(),
            was_restarted,
            confined: None,
            forcing: None,
            transfer: None,
            sending: Vec::new(),
            settling: Vec::new(),
            changes_due: VecDeque::new(),
            last_change: applied,
            term,
            delivered: applied,
            applied,
            applied_term,
        };
        replica.note_membership();
        replica.compact();
        Ok(replica)
    }

    /// Stands for election now. Does nothing for a leader, while a write is under way, or while this replica is bound by a
    /// promise to a leader.
    pub fn campaign(&mut self) {
        // `raft` leaves it to its caller that who stands for election is a voter.
        let may_stand = self.raw.raft.promotable() && self.solo.is_none() && !self.must_not_stand();
        if may_stand && !self.is_writing() && !self.is_silent() && !self.is_bound() {
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
        if let Some(solo) = &mut self.solo {
            return solo.propose(data.into(), self.delivered);
        }
        if raft.state != StateRole::Leader || raft.prs().get(raft.id).is_none() {
            return Err(ProposeError::NotLeader);
        }
        if self.in_flight.is_some() || raft.lead_transferee.is_some() {
            return Err(ProposeError::Busy);
        }
        if !self.alone && raft.store().bytes() > self.log_bytes_max {
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
        if !self.alone {
            raft.bcast_append();
        }
        Ok(())
    }

    /// Takes in a message of another replica. Messages that make no sense here are dropped.
    pub fn step(&mut self, message: Message, now: Monotonic) {
        self.note_time(now);
        if self.solo.is_some() {
            return;
        }
        self.note_answer(&message);
        if self.in_flight.is_some() {
            if self.held.len() < MESSAGES_HELD_MAX {
                self.held.push(message);
            }
            return;
        }
        self.step_now(message);
    }

    fn step_now(&mut self, message: Message) {
        // Until it is applied that this replica decides alone, whoever led before could cut it off again.
        if self.forcing.is_some() {
            return;
        }
        if admit::is_sound(&message, &self.raw.raft) && self.keeps_promise(&message) {
            let asks_for_snapshot = message.request_snapshot != 0;
            let from = ReplicaId(message.from);
            let _ = self.raw.step(follower::from_wire(message));
            if asks_for_snapshot {
                self.forget_request_of(from);
            }
        }
    }

    /// Says that a message to a replica was lost, so that it is not waited for.
    pub fn unreachable(&mut self, replica: ReplicaId) {
        if self.solo.is_some() {
            return;
        }
        if self.in_flight.is_some() {
            return self.hold_report(Report::Unreachable(replica));
        }
        self.raw.report_unreachable(replica.get());
    }

    fn hold_report(&mut self, report: Report) {
        let bounded = self.reports.len() < 3 * MEMBERS_MAX;
        if bounded && !self.reports.contains(&report) {
            self.reports.push(report);
        }
    }

    /// Empties `outputs` and fills it with what there is to send and to write; `false` when there is nothing. After
    /// `true`, [`persisted`](Self::persisted) must follow.
    #[inline]
    pub fn ready(&mut self, outputs: &mut Outputs) -> bool {
        outputs.clear();
        assert!(!self.is_writing(), "ready() before persisted()");
        match &mut self.solo {
            Some(solo) => solo.ready(outputs),
            None => self.ready_by_raft(outputs),
        }
    }

    fn ready_by_raft(&mut self, outputs: &mut Outputs) -> bool {
        if !self.raw.has_ready() {
            return false;
        }
        let mut ready = self.raw.ready();
        self.check_term();
        self.note_rounds(&mut ready);
        self.send(ready.take_messages(), outputs);
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
        match (&self.in_flight, &self.solo) {
            (Some(in_flight), _) => in_flight.known_commit,
            (None, Some(solo)) => self.last_to_write(solo),
            (None, None) => self.committed(),
        }
    }

    /// Says that what `ready` gave is written (and synced, when the durability mode asks for it). Empties `outputs` and fills
    /// it with what there is to send and to apply.
    #[inline]
    pub fn persisted(&mut self, outputs: &mut Outputs) {
        outputs.clear();
        match self.solo {
            Some(_) => self.persisted_solo(outputs),
            None => self.persisted_by_raft(outputs),
        }
    }

    fn persisted_by_raft(&mut self, outputs: &mut Outputs) {
        let InFlight {
            mut ready,
            known_commit,
        } = self.in_flight.take().expect("persisted() without ready()");
        self.send(ready.take_persisted_messages(), outputs);
        for entry in ready.take_committed_entries() {
            self.deliver(entry, outputs);
        }
        let mut light = self.raw.advance_append(ready);
        self.send(light.take_messages(), outputs);
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
        self.take_in_held();
    }

    /// What came while a write was under way.
    fn take_in_held(&mut self) {
        if !self.held.is_empty() {
            for message in std::mem::take(&mut self.held) {
                self.step_now(message);
            }
        }
        for report in std::mem::take(&mut self.reports) {
            match report {
                Report::Unreachable(id) => self.unreachable(id),
                Report::Snapshot(id, ok) => self.report_snapshot(id, ok),
            }
        }
        if std::mem::take(&mut self.tick_owed) {
            self.tick_now();
        }
    }

    /// The last entry whose effects are there.
    #[must_use]
    pub fn last_applied(&self) -> Index {
        self.applied
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
        assert!(
            self.changes_due.front().is_none_or(|&due| index < due),
            "invariant 9: shard {} applied {index} without its membership change",
            self.shard
        );
        self.applied = index;
        if let Some(solo) = &mut self.solo {
            if index == self.delivered {
                solo.forget_applied();
            }
            return;
        }
        self.raw.advance_apply_to(index.get());
        self.applied_term = self.raw.raft.store().term_of(index).unwrap_or_default();
        self.compact();
        if !self.one_voter {
            self.end_joint_state();
        } else if self.alone {
            self.enter_solo();
        }
    }

    /// Drops applied entries from memory. A replica that is alone keeps none; any other keeps a tail, bounded in bytes: a short one, a
    /// longer one for followers that are silent, and more for a time for those that are just catching up or may soon be back (`Replica::kept_for_followers`).
    /// Memory alone: the written log is the driver's to shorten, behind a snapshot.
    #[inline]
    fn compact(&mut self) {
        let applied = self.applied;
        if self.alone {
            self.raw.raft.mut_store().compact(applied, 0);
        } else if self.raw.raft.store().bytes() > self.tail_bytes_small {
            self.compact_behind_followers();
        }
    }

    #[cold]
    fn compact_behind_followers(&mut self) {
        let kept = self.kept_for_followers();
        let applied = self.applied;
        let lag = self.tail_bytes_max.saturating_mul(LAG_TAILS);
        let lag = lag.min(self.log_bytes_max);
        let tail = match kept.some_are_silent {
            true => self.tail_bytes_max,
            // Not to be here again with the next entry.
            false => self.tail_bytes_small - self.tail_bytes_small / 4,
        };
        let log = self.log_bytes_max;
        let store = self.raw.raft.mut_store();
        store.compact(applied.min(kept.missing).min(kept.behind_snapshot), tail);
        store.compact(applied.min(kept.behind_snapshot), lag);
        store.compact(applied, log);
    }
}

impl Replica {
    /// Whether the driver is between `ready` and `persisted`.
    #[inline]
    fn is_writing(&self) -> bool {
        let alone = self.solo.as_ref().is_some_and(|solo| solo.is_writing);
        alone || self.in_flight.is_some()
    }

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
        let (place, data) = SnapshotPlace::from_raft(snapshot).expect("checked before it came in");
        // Invariant 9: data never goes back behind what is applied.
        assert!(
            place.index >= self.delivered,
            "invariant 9: shard {} got a snapshot at {} with {} handed out",
            self.shard,
            place.index,
            self.delivered
        );
        self.delivered = place.index;
        self.changes_due.clear();
        self.last_change = place.index;
        outputs.snapshot = Some(IncomingSnapshot {
            index: place.index,
            term: place.term,
            membership: place.membership.clone(),
            data,
        });
        self.raw.raft.mut_store().restore(place);
        self.note_membership();
    }

    /// Sorts what is to be sent: snapshots go a way of their own.
    #[inline]
    fn send(&mut self, messages: Vec<Message>, outputs: &mut Outputs) {
        for message in messages {
            match message.msg_type {
                MessageType::MsgSnapshot => {
                    let request = self.request_snapshot(message);
                    outputs.snapshot_requests.extend(request);
                }
                _ => {
                    let message = follower::to_wire(message, self.raw.raft.term);
                    outputs.messages.push(message);
                }
            }
        }
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
        self.delivered = next_delivered(self.shard, self.delivered, entry.index);
        self.note_delivered(&entry);
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

/// Invariant 9: what is handed out has no gap and no repeat. Gives the index that is handed out.
#[inline]
fn next_delivered(shard: ShardId, delivered: Index, index: Index) -> Index {
    assert!(
        index == delivered.next(),
        "invariant 9: shard {shard} would apply {index} after {delivered}"
    );
    index
}

/// `raft` reports what it does; all that matters of it is in `Outputs`.
fn no_logger() -> slog::Logger {
    slog::Logger::root(slog::Discard, slog::o!())
}
