//! When a leader last had an answer of each member: who is silent may be down, however much of the log it is known to have. Knows nothing
//! of what was answered.

use super::Replica;
use crate::types::{Monotonic, ReplicaId};
use raft::eraftpb::{Message, MessageType};
use raft::StateRole;

/// The last answers of the members, in one term.
#[derive(Debug, Default)]
pub(super) struct Heard {
    term: u64,
    /// When the first of them came, shortly after this leader began.
    since: Monotonic,
    /// Members only, so there are never more than these.
    at: Vec<(ReplicaId, Monotonic)>,
}

impl Heard {
    fn note(&mut self, term: u64, from: ReplicaId, now: Monotonic) {
        if self.term != term {
            self.term = term;
            self.since = now;
            self.at.clear();
        }
        match self.at.iter_mut().find(|(id, _)| *id == from) {
            Some((_, at)) => *at = now,
            None => self.at.push((from, now)),
        }
    }

    fn last(&self, term: u64, from: ReplicaId) -> Option<Monotonic> {
        let of_term = self.at.iter().filter(|_| self.term == term);
        of_term.copied().find(|(id, _)| *id == from).map(|it| it.1)
    }

    /// Forgets who is no member any more.
    pub(super) fn retain(&mut self, is_member: impl Fn(ReplicaId) -> bool) {
        self.at.retain(|(id, _)| is_member(*id));
    }
}

impl Replica {
    /// Takes up that a member has answered this leader.
    #[inline]
    pub(super) fn note_answer(&mut self, message: &Message) {
        let is_answer = matches!(
            message.msg_type,
            MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse
        );
        let raft = &self.raw.raft;
        let concerns = raft.state == StateRole::Leader && message.term == raft.term;
        if is_answer && concerns && raft.prs().get(message.from).is_some() {
            let from = ReplicaId(message.from);
            self.heard.note(raft.term, from, self.now);
        }
    }

    /// Whether a member has answered this leader within one election timeout, which is several heartbeats. `raft` has a mark of its own, but
    /// takes it from everybody once in an election timeout and gives it back with the next answer.
    pub(super) fn answers(&self, id: ReplicaId) -> bool {
        let since = self.heard.last(self.raw.raft.term, id);
        let lately = |at: Monotonic| self.now < at.plus_us(self.timing.election_timeout_us);
        id == self.id() || since.is_some_and(lately)
    }

    /// Whether a member that may be silent now has answered this leader so lately, or this leader is so new, that it may soon be back where it
    /// was: a process that is started anew, a machine that rebooted. Meant for members that do not answer.
    pub(super) fn may_soon_be_back(&self, id: ReplicaId) -> bool {
        let term = self.raw.raft.term;
        let since = self.heard.last(term, id).unwrap_or(self.heard.since);
        self.heard.term == term && self.now < since.plus_us(self.absence_us)
    }
}
