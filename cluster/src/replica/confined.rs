//! A replica that may have forgotten what it acknowledged takes part again, because all replicas of its group agreed on whom to elect. Until
//! it has what that one has, it helps nobody else. See [`crate::suspects`].

use super::{Message, Replica};
use crate::types::{ReplicaId, Term};
use raft::INVALID_ID;

/// Whom a replica may help into office, as long as its log has no entry of a newer term than `term`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Confined {
    to: ReplicaId,
    term: Term,
}

impl Replica {
    /// Takes part from now on, in terms after `term`, and helps only `to` into office, or whoever has an entry of such a term; stands
    /// for election only if it is `to` itself. This ends with the first entry of such a term: the log of whoever has one goes on
    /// from that of the elected. Says whether it was done: not for one that leads or has a leader, has come further than `term`,
    /// or is writing. Lasts as long as the process: who was confined and restarts before [`Replica::is_past`] that term must
    /// be kept from taking part.
    pub fn confine(&mut self, to: ReplicaId, term: Term) -> bool {
        let has_leader = self.hears_leader();
        let raft = &mut self.raw.raft;
        let is_free = !has_leader && raft.term <= term.get();
        if self.in_flight.is_some() || self.solo.is_some() || !is_free {
            return false;
        }
        // Invariant 5: in which terms up to this one it has voted nobody knows.
        raft.become_follower(term.get(), INVALID_ID);
        self.confined = Some(Confined { to, term });
        true
    }

    /// The term under which it was confined, for as long as the process lasts.
    #[must_use]
    pub fn confined_in(&self) -> Option<Term> {
        self.confined.map(|confined| confined.term)
    }

    /// Whether its log holds an entry of a newer term.
    #[must_use]
    pub fn is_past(&self, term: Term) -> bool {
        self.last_entry().0 > term
    }

    fn confined(&self) -> Option<Confined> {
        self.confined
            .filter(|confined| !self.is_past(confined.term))
    }

    /// Whether it must not stand for election.
    pub(super) fn must_not_stand(&self) -> bool {
        self.confined()
            .is_some_and(|confined| confined.to != self.id())
    }

    /// Whether it may answer this candidate.
    pub(super) fn may_help(&self, candidate: &Message) -> bool {
        self.confined().is_none_or(|confined| {
            candidate.from == confined.to.get() || candidate.log_term > confined.term.get()
        })
    }
}
