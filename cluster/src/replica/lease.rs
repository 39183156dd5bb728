//! The leader's lease, and the promises that make it one.
//!
//! A lease comes from one ReadIndex round: heartbeats with a context of their own, answered by a quorum. It counts from the
//! *sending* of the round, on the leader's monotonic clock (invariant 6). Who answers promises not to help another leader
//! into office for one election timeout from the *receipt*, on its own clock. The margin covers the difference in
//! speed of the two clocks.
//!
//! Promises are kept in time, not in ticks: ticks come late and then close together. Two things would break them. A restart
//! forgets them, so a restarted voter is silent for one election timeout. A transfer overrides them, so a leader that begins
//! one gives up its lease *for the rest of its term*: the order to stand for election may arrive long after the transfer
//! was given up. A leader that stays in office after all therefore begins a new term.

use super::follower::ASKED_BY_FOLLOWER;
use super::Replica;
use crate::types::{Index, Monotonic};
use raft::eraftpb::{Entry, Message, MessageType};

/// How `raft` marks a candidate that was told by the leader to stand.
pub(super) const CAMPAIGN_TRANSFER: &[u8] = b"CampaignTransfer";

/// A leader's lease and the round that will renew it.
#[derive(Debug, Default)]
pub(super) struct Lease {
    /// The term that all of this belongs to.
    term: u64,
    until: Monotonic,
    round: Option<Round>,
    /// The context of the last round. Never used twice: a heartbeat's answer that comes late would count for
    /// another round (stale reads in etcd, 2025).
    last_context: u64,
    /// When the last round was sent.
    last_sent: Monotonic,
    /// The term in which no lease is taken any more.
    given_up: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Round {
    context: u64,
    sent: Monotonic,
}

impl Lease {
    /// Forgets lease and round, as every change of membership or leadership demands.
    pub(super) fn reset(&mut self) {
        self.until = Monotonic::ZERO;
        self.round = None;
    }

    fn give_up(&mut self, term: u64) {
        self.reset();
        self.given_up = Some(term);
    }

    fn begin(&mut self, term: u64, now: Monotonic) -> u64 {
        if self.term != term {
            self.reset();
            self.term = term;
        }
        self.last_context += 1;
        self.last_sent = now;
        self.round = Some(Round {
            context: self.last_context,
            sent: now,
        });
        self.last_context
    }

    fn answered(&mut self, term: u64, context: u64, length_us: u64) {
        let Some(round) = self.round.filter(|round| round.context == context) else {
            return;
        };
        if self.term == term && self.given_up != Some(term) {
            self.until = self.until.max(round.sent.plus_us(length_us));
        }
        self.round = None;
    }

    fn holds(&self, term: u64, now: Monotonic) -> bool {
        self.term == term && now < self.until
    }
}

fn is_of_follower(context: &[u8]) -> bool {
    let context = <[u8; 8]>::try_from(context).map(u64::from_le_bytes);
    context.is_ok_and(|context| context & ASKED_BY_FOLLOWER != 0)
}

/// The question who leads, in `raft`'s form; its answer carries the context.
pub(super) fn read_index(context: u64) -> Message {
    Message {
        msg_type: MessageType::MsgReadIndex,
        entries: vec![Entry {
            data: context.to_le_bytes().to_vec().into(),
            ..Default::default()
        }]
        .into(),
        ..Default::default()
    }
}

/// What a voter has promised, in time.
#[derive(Debug, Default)]
pub(super) struct Promise {
    /// Until then it helps nobody but the leader it heard of.
    pub until: Monotonic,
    /// Until then it answers no candidate at all, because it may have forgotten a promise.
    pub silent_until: Option<Monotonic>,
}

impl Replica {
    /// Asks the other voters whether this replica still leads, as far as there is need: not when a round is under way
    /// already or was sent a moment ago. True when a round is under way now. Without an answer it is
    /// given up after half an election timeout, and the next call sends another.
    ///
    /// Every heartbeat carries such a round anyway; this is for a leader whose lease has run out while commands wait.
    pub fn renew_lease(&mut self, now: Monotonic) -> bool {
        let now = self.note_time(now);
        let lease = &self.lease;
        let fresh =
            self.lease_valid(now) && now < lease.last_sent.plus_us(self.timing.lease_interval_us);
        if fresh || self.is_writing() {
            return self.lease.round.is_some();
        }
        if let Some(context) = self.begin_round() {
            // What `RawNode::read_index` comes to, and the only way to send heartbeats now.
            let _ = self.raw.raft.step(read_index(context));
        }
        self.lease.round.is_some()
    }

    /// Whether nobody else can lead the shard at this time. Read the clock *after* the command came in: the answer says
    /// nothing about what happens later than `now`. A voter that decides alone has no need of a lease.
    #[inline]
    #[must_use]
    pub fn lease_valid(&self, now: Monotonic) -> bool {
        self.is_leader() && (self.one_voter || self.lease.holds(self.raw.raft.term, now))
    }

    /// The end of the lease, for metrics and tests; `None` without one.
    #[must_use]
    pub fn lease_end(&self) -> Option<Monotonic> {
        let valid = self.is_leader() && self.lease.term == self.raw.raft.term;
        (valid && self.lease.until > Monotonic::ZERO).then_some(self.lease.until)
    }

    /// Puts a round into the heartbeats that the next tick sends, at no further cost.
    pub(super) fn join_round_to_heartbeat(&mut self) {
        let raft = &self.raw.raft;
        let due = raft.heartbeat_elapsed() + 1 >= raft.heartbeat_timeout();
        if !due || self.one_voter {
            return;
        }
        if let Some(context) = self.begin_round() {
            let raft = &mut self.raw.raft;
            let (committed, id) = (raft.raft_log.committed, raft.id);
            let round = read_index(context);
            raft.read_only.add_request(committed, round, id);
        }
    }

    /// A new round, unless there is a reason against it: then `raft` would drop it in silence.
    fn begin_round(&mut self) -> Option<u64> {
        let now = self.now;
        let raft = &mut self.raw.raft;
        let term = raft.term;
        if let Some(round) = self.lease.round {
            let lost = now >= round.sent.plus_us(self.timing.round_timeout_us);
            if self.lease.term == term && !lost {
                return None;
            }
        }
        self.lease.round = None;
        let possible = self.raw.raft.state == raft::StateRole::Leader
            && !self.one_voter
            && self.raw.raft.commit_to_current_term()
            && self.raw.raft.lead_transferee.is_none()
            && self.lease.given_up != Some(term);
        if !possible {
            return None;
        }
        // One round of its own at a time: what it asked before is not asked any more. Followers' questions are answered with the new one.
        let pending = &mut self.raw.raft.read_only;
        pending
            .pending_read_index
            .retain(|context, _| is_of_follower(context));
        pending
            .read_index_queue
            .retain(|context| is_of_follower(context));
        Some(self.lease.begin(term, now))
    }

    /// Takes in the answers of a quorum.
    pub(super) fn note_rounds(&mut self, ready: &mut raft::Ready) {
        for state in ready.take_read_states() {
            let Ok(context) = <[u8; 8]>::try_from(state.request_ctx.as_slice()) else {
                continue;
            };
            let context = u64::from_le_bytes(context);
            if context & ASKED_BY_FOLLOWER != 0 {
                self.note_how_fresh(context, Index(state.index));
                continue;
            }
            let (term, length_us) = (self.raw.raft.term, self.timing.lease_us);
            self.lease.answered(term, context, length_us);
        }
    }

    /// No lease any more in this term (invariant 6).
    pub(super) fn give_up_lease(&mut self) {
        self.lease.give_up(self.raw.raft.term);
        let pending = &mut self.raw.raft.read_only;
        pending.pending_read_index.clear();
        pending.read_index_queue.clear();
    }

    /// Takes up a reading of the clock. Readings that go backwards are not believed.
    pub(super) fn note_time(&mut self, now: Monotonic) -> Monotonic {
        self.now = self.now.max(now);
        if self.was_restarted && self.promise.silent_until.is_none() {
            // Invariant 5: counted from the first moment that is known.
            let end = self.now.plus_us(self.timing.election_timeout_us);
            self.promise.silent_until = Some(end);
            self.promise.until = end;
        }
        self.now
    }

    /// Whether a message of a candidate must stay unanswered, and what a leader's message promises.
    pub(super) fn keeps_promise(&mut self, message: &Message) -> bool {
        match message.msg_type {
            MessageType::MsgHeartbeat | MessageType::MsgAppend | MessageType::MsgSnapshot => {
                if message.term >= self.raw.raft.term {
                    let end = self.now.plus_us(self.timing.election_timeout_us);
                    self.promise.until = self.promise.until.max(end);
                    self.hear_of_leader();
                }
                true
            }
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote
                if !self.may_help(message) =>
            {
                false
            }
            // It would stand for election at once.
            MessageType::MsgTimeoutNow => !self.must_not_stand(),
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => {
                // Only a candidate that the leader itself has chosen is heard, and that leader has no lease.
                let chosen = message.context == CAMPAIGN_TRANSFER;
                self.let_go_of_leader();
                !self.is_silent() && (chosen || !self.is_bound())
            }
            _ => true,
        }
    }

    /// Whether it may have forgotten a promise.
    pub(super) fn is_silent(&self) -> bool {
        self.was_restarted
            && self
                .promise
                .silent_until
                .is_none_or(|silent_until| self.now < silent_until)
    }

    /// Whether a promise to a leader holds. A leader is bound by its own lease.
    pub(super) fn is_bound(&self) -> bool {
        let leads_safely = self.is_leader() && !self.one_voter && self.lease_valid(self.now);
        self.has_promised() || leads_safely
    }

    pub(super) fn has_promised(&self) -> bool {
        self.now < self.promise.until
    }
}
