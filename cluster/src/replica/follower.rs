//! How old a follower's data may be at most, proved by its own clock alone: it asks its leader how far the log is committed, and the leader
//! answers when a quorum has confirmed, after the question, that it leads. So whatever was acknowledged to anybody before the question was
//! asked lies at or before the index of the answer, and once that is applied the data is as of the asking, or newer.
//!
//! What a leader's messages say by themselves would prove less: one may have waited in a buffer for any length of time, and its sender may
//! have been deposed meanwhile.

use super::lease::read_index;
use super::Replica;
use crate::types::{Index, Monotonic};
use raft::eraftpb::{Entry, Message, MessageType};
use raft::{StateRole, INVALID_ID};

/// Contexts of followers' questions have this bit, those of a leader's own rounds have not.
pub(super) const ASKED_BY_FOLLOWER: u64 = 1 << 63;

/// Questions that wait at a leader for a quorum; further ones are dropped, and asked again.
pub(super) const QUESTIONS_PENDING_MAX: usize = 64;

/// What a follower knows of its age.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    last_number: u64,
    asked: Option<Asked>,
    /// All that was acknowledged before the moment lies at or before the index.
    answered: Option<(Monotonic, Index)>,
    /// A moment before which all that was acknowledged is applied.
    proved: Option<Monotonic>,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    context: u64,
    at: Monotonic,
}

impl Replica {
    /// Asks the leader how far the log is committed, unless a question is under way. False when there is nobody to ask. Without an
    /// answer a question is given up after half an election timeout.
    pub fn ask_how_fresh(&mut self, now: Monotonic) -> bool {
        let now = self.note_time(now);
        let raft = &self.raw.raft;
        let has_leader = raft.state == StateRole::Follower && raft.leader_id != INVALID_ID;
        if !has_leader || self.is_writing() || self.solo.is_some() {
            return false;
        }
        let patience_us = self.timing.round_timeout_us;
        let is_recent = |at: Monotonic| now < at.plus_us(patience_us);
        let fresh = &self.freshness;
        let is_asked = fresh.asked.is_some_and(|asked| is_recent(asked.at));
        // A newer answer would only be further ahead of what is applied.
        let is_behind = fresh
            .answered
            .is_some_and(|(at, index)| self.applied < index && is_recent(at));
        if is_asked || is_behind {
            return true;
        }
        let context = self.next_context(now);
        self.freshness.asked = Some(Asked { context, at: now });
        let _ = self.raw.raft.step(read_index(context));
        true
    }

    /// Everything that was acknowledged before this moment is applied here.
    #[must_use]
    pub fn fresh_as_of(&self) -> Option<Monotonic> {
        let fresh = &self.freshness;
        let newest = fresh.answered.filter(|(_, index)| *index <= self.applied);
        newest.map(|(at, _)| at).or(fresh.proved)
    }

    /// Whether what is applied here is no older than `age_us`, as seen at `now`: a moment not before that of the reading.
    #[must_use]
    pub fn is_fresh(&self, now: Monotonic, age_us: u64) -> bool {
        self.fresh_as_of()
            .is_some_and(|as_of| now <= as_of.plus_us(age_us))
    }

    /// Never used twice, by no replica of the group: who asks, and a time that goes on while the machine runs.
    fn next_context(&mut self, now: Monotonic) -> u64 {
        let number = now.get().max(self.freshness.last_number + 1);
        self.freshness.last_number = number;
        let id = self.id().get() & 0x7FFF;
        ASKED_BY_FOLLOWER | id << 48 | number & ((1 << 48) - 1)
    }

    /// Takes in an answer.
    pub(super) fn note_how_fresh(&mut self, context: u64, index: Index) {
        let asked = self.freshness.asked;
        if let Some(asked) = asked.filter(|asked| asked.context == context) {
            self.freshness.proved = self.fresh_as_of();
            self.freshness.answered = Some((asked.at, index));
            self.freshness.asked = None;
        }
    }
}

/// Whether a message is a question or its answer.
pub(super) fn is_of_follower(message: &Message) -> bool {
    matches!(
        message.msg_type,
        MessageType::MsgReadIndex | MessageType::MsgReadIndexResp
    )
}

/// From `raft`'s form to that of the wire: the context stands where it stands in a heartbeat.
pub(super) fn to_wire(mut message: Message, term: u64) -> Message {
    if is_of_follower(&message) {
        let entries = message.take_entries();
        if let Some(entry) = entries.into_iter().next() {
            message.context = entry.data;
        }
        message.term = term;
    }
    message
}

/// The way back.
pub(super) fn from_wire(mut message: Message) -> Message {
    if is_of_follower(&message) {
        let data = std::mem::take(&mut message.context);
        message.entries = vec![Entry {
            data,
            ..Default::default()
        }]
        .into();
        if message.msg_type == MessageType::MsgReadIndex {
            message.term = 0;
        }
    }
    message
}

/// The context of a question or answer, as it came by the wire.
pub(super) fn context_of(message: &Message) -> Option<u64> {
    let context = <[u8; 8]>::try_from(message.context.as_ref()).ok()?;
    let context = u64::from_le_bytes(context);
    (context & ASKED_BY_FOLLOWER != 0).then_some(context)
}
