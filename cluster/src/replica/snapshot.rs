//! Snapshots between replicas. The replica decides who needs one and from which index; the data travels outside, and
//! what comes in here is a message that stands for data which is already there and checked.
//!
//! On the sender: [`Outputs::snapshot_requests`](super::Outputs::snapshot_requests) names the follower; the driver streams its durable
//! snapshot, then says [`report_snapshot`](Replica::report_snapshot), however that ended. Without that the follower would be left
//! out for good; so a transfer also ends after `snapshot_timeout_us`.
//!
//! On the receiver: when all data has come and is valid the driver [`install`](Replica::install)s it. The next `ready` gives it as
//! `snapshot`, or does not, when it is out of date by then: in that case the data is thrown away.

use super::outputs::{Message, SnapshotRequest};
use super::{Membership, Replica};
use crate::types::{Epoch, Index, Monotonic, ReplicaId, Term};
use bytes::Bytes;
use raft::eraftpb::{MessageType, Snapshot};
use raft::{ProgressState, SnapshotStatus};

/// What a snapshot is about, without its data.
#[derive(Debug, Clone, PartialEq, Eq, Default, bincode::Encode, bincode::Decode)]
pub struct SnapshotPlace {
    /// The last index that it covers.
    pub index: Index,
    /// The term of that index.
    pub term: Term,
    /// Who belonged to the shard at that index.
    pub membership: Membership,
}

/// Bytes in front of the driver's token in a `raft` snapshot: the epoch, for which `raft` has no place.
const EPOCH_BYTES: usize = 8;

impl SnapshotPlace {
    pub(super) fn to_raft(&self, token: &[u8]) -> Snapshot {
        let mut data = Vec::with_capacity(EPOCH_BYTES + token.len());
        data.extend_from_slice(&self.membership.epoch.get().to_le_bytes());
        data.extend_from_slice(token);
        let mut snapshot = Snapshot {
            data: data.into(),
            ..Default::default()
        };
        let metadata = snapshot.mut_metadata();
        metadata.index = self.index.get();
        metadata.term = self.term.get();
        metadata.set_conf_state(self.membership.to_raft());
        snapshot
    }

    /// Place and token of a snapshot, unless it is one that cannot be.
    pub(super) fn from_raft(snapshot: &Snapshot) -> Option<(Self, Bytes)> {
        let metadata = snapshot.get_metadata();
        let (&epoch, _) = snapshot.data.split_first_chunk::<EPOCH_BYTES>()?;
        let epoch = Epoch(u64::from_le_bytes(epoch));
        let place = Self {
            index: Index(metadata.index),
            term: Term(metadata.term),
            membership: Membership::from_raft(metadata.get_conf_state(), epoch),
        };
        let sound = place.index > Index::ZERO
            && place.term > Term::ZERO
            && place.membership.check().is_ok();
        sound.then(|| (place, snapshot.data.slice(EPOCH_BYTES..)))
    }
}

/// The message that hands a snapshot over: `term` is the sender's, `token` whatever the receiving driver finds its
/// data by.
#[must_use]
pub fn snapshot_message(
    (from, to): (ReplicaId, ReplicaId),
    term: Term,
    place: &SnapshotPlace,
    token: &[u8],
) -> Message {
    Message {
        msg_type: MessageType::MsgSnapshot,
        from: from.get(),
        to: to.get(),
        term: term.get(),
        snapshot: Some(place.to_raft(token)).into(),
        ..Default::default()
    }
}

/// Up to where the log in memory may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    /// What lies behind it is missing to a follower that follows.
    pub(super) missing: Index,
    /// What lies behind it will be needed by one that gets a snapshot.
    pub(super) behind_snapshot: Index,
    /// There are members that have not been heard of for an election timeout.
    pub(super) some_are_silent: bool,
}

/// A snapshot that is on its way to a follower.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending {
    to: ReplicaId,
    deadline: Monotonic,
}

/// From a snapshot's arrival until its receiver should have the rest of the log too; else it is one that lags like any other.
const SETTLE_US: u64 = 60_000_000;

/// A follower that has just got a snapshot, and still needs what was written meanwhile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settling {
    to: ReplicaId,
    /// Its snapshot reaches at least that far.
    from: Index,
    /// The end of the log when it came.
    until: Index,
    deadline: Monotonic,
}

impl Replica {
    /// Says that a snapshot is on this replica's disk, at that place. The log in memory is kept from there on for
    /// followers that lag, and followers that lag more get this snapshot.
    pub fn snapshot_is_durable(&mut self, place: SnapshotPlace) {
        self.raw.raft.mut_store().note_durable(place);
        self.compact();
    }

    /// The last index of the durable snapshot, as told.
    #[must_use]
    pub fn durable_snapshot(&self) -> Index {
        self.raw.raft.store().durable().index
    }

    /// Whether a new snapshot should be made soon: a follower needs one that is newer than the durable one.
    #[must_use]
    pub fn wants_snapshot(&self) -> bool {
        let store = self.raw.raft.store();
        store.wants_newer() && self.applied > store.durable().index
    }

    /// What the followers that take part, or did until a moment ago, still need of the log in memory. Those that are silent for long get a snapshot when they are back.
    pub(super) fn kept_for_followers(&self) -> Kept {
        let raft = &self.raw.raft;
        let mut kept = Kept {
            missing: self.applied,
            behind_snapshot: self.applied,
            some_are_silent: false,
        };
        if !self.is_leader() {
            return kept;
        }
        let store = raft.store();
        let (first, durable) = (store.compacted(), store.durable().index);
        let wants_newer = store.wants_newer();
        let others = raft.prs().iter().filter(|(&id, _)| id != raft.id);
        for (&id, progress) in others {
            let (id, matched) = (ReplicaId(id), Index(progress.matched));
            // One that takes a snapshot in needs what comes behind it, however busy it is with that: bounded in bytes and in time.
            let is_receiving = self.sending.iter().any(|sending| sending.to == id);
            let settling = self.settling.iter().find(|settling| settling.to == id);
            let settling = settling.filter(|settling| progress.matched < settling.until.get());
            if !is_receiving && settling.is_none() && !self.answers(id) {
                // Where it is, nobody knows in a new term: `matched` is 0 then. Who is known to need a snapshot has nothing of the log.
                let needs_snapshot = matched > Index::ZERO && matched < first;
                match self.may_soon_be_back(id) && !needs_snapshot {
                    true => kept.missing = kept.missing.min(matched),
                    false => kept.some_are_silent = true,
                }
                continue;
            }
            if progress.state == ProgressState::Snapshot {
                let pending = Index(progress.pending_snapshot);
                kept.behind_snapshot = kept.behind_snapshot.min(pending);
            } else if let Some(settling) = settling {
                let from = matched.max(settling.from);
                kept.behind_snapshot = kept.behind_snapshot.min(from);
            } else if matched < first {
                // It gets the durable snapshot, or waits for one of which nobody knows yet where it will be.
                let from = match durable >= first {
                    true => durable,
                    false if wants_newer => first,
                    false => continue,
                };
                kept.behind_snapshot = kept.behind_snapshot.min(from);
            } else {
                kept.missing = kept.missing.min(matched);
            }
        }
        kept
    }

    /// Says how sending a snapshot to a follower ended. Every request must be answered so.
    pub fn report_snapshot(&mut self, to: ReplicaId, ok: bool) {
        if self.solo.is_some() {
            return;
        }
        if self.in_flight.is_some() {
            return self.hold_report(super::Report::Snapshot(to, ok));
        }
        self.sending.retain(|sending| sending.to != to);
        self.settling.retain(|settling| settling.to != to);
        let progress = self.raw.raft.prs().get(to.get());
        if let Some(progress) = progress.filter(|_| ok) {
            // Its own word that it has it may have come already.
            let from = match progress.state {
                ProgressState::Snapshot => progress.pending_snapshot,
                _ => progress.matched,
            };
            self.settling.push(Settling {
                to,
                from: Index(from),
                until: self.last_index(),
                deadline: self.now.plus_us(SETTLE_US),
            });
        }
        let status = match ok {
            true => SnapshotStatus::Finish,
            false => SnapshotStatus::Failure,
        };
        self.raw.report_snapshot(to.get(), status);
    }

    /// Takes over a snapshot whose data has been received and checked in full. The same as
    /// [`step`](Replica::step) with [`snapshot_message`].
    pub fn install(
        &mut self,
        from: ReplicaId,
        term: Term,
        place: &SnapshotPlace,
        token: &[u8],
        now: Monotonic,
    ) {
        let message = snapshot_message((from, self.id()), term, place, token);
        self.step(message, now);
    }

    /// A newcomer asks for a snapshot with every answer until it has one. `raft` keeps what was asked while one is on its way, and
    /// would send the same again as soon as that has come. One that fails is asked for again.
    pub(super) fn forget_request_of(&mut self, follower: ReplicaId) {
        let progress = self.raw.raft.mut_prs().get_mut(follower.get());
        if let Some(progress) = progress.filter(|one| one.state == ProgressState::Snapshot) {
            progress.pending_request_snapshot = 0;
        }
    }

    /// Turns a message that would carry a snapshot into a request to the driver.
    pub(super) fn request_snapshot(&mut self, message: Message) -> Option<SnapshotRequest> {
        let (place, _) = SnapshotPlace::from_raft(message.get_snapshot())?;
        let to = ReplicaId(message.to);
        self.forget_request_of(to);
        let deadline = self.now.plus_us(self.timing.snapshot_timeout_us);
        self.sending.retain(|sending| sending.to != to);
        self.sending.push(Sending { to, deadline });
        Some(SnapshotRequest {
            to,
            term: Term(message.term),
            place,
        })
    }

    /// Gives up snapshots that take too long.
    pub(super) fn look_after_snapshots(&mut self) {
        let leads = self.is_leader();
        self.settling
            .retain(|settling| leads && self.now < settling.deadline);
        if self.sending.is_empty() {
            return;
        }
        let (now, leads) = (self.now, self.is_leader());
        let raft = &self.raw.raft;
        let waits = |to: ReplicaId| {
            let progress = raft.prs().get(to.get());
            progress.is_some_and(|progress| progress.state == ProgressState::Snapshot)
        };
        self.sending.retain(|sending| leads && waits(sending.to));
        let late = |sending: &&Sending| now >= sending.deadline;
        let late: Vec<ReplicaId> = self
            .sending
            .iter()
            .filter(late)
            .map(|late| late.to)
            .collect();
        for to in late {
            self.report_snapshot(to, false);
        }
    }
}
