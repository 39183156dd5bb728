//! What a replica does sooner because its driver knows that the leader's process has ended, instead of only not having heard of it for a
//! while: it stands for election as soon as nobody is bound by a promise any more. Knows nothing of how that became known.
//!
//! The word may be wrong (somebody refuses connections in the leader's name), so it moves only the moment at which something is tried: no
//! promise is shortened by it, and no lease has to take it into account.

use super::Replica;
use crate::types::ReplicaId;
use raft::{StateRole, INVALID_ID};

/// Ticks from the end of the own promise to the candidacy of the first in line: those of the others end a little earlier or later.
const WAIT_TICKS: usize = 1;
/// Ticks between the candidacies of two in line: enough for an election.
const BETWEEN_TICKS: usize = 3;

/// What is known of the leader's end.
#[derive(Debug, Default)]
pub(super) struct Haste {
    /// Who is gone, and the term in which it led.
    gone: Option<(ReplicaId, u64)>,
    waited: usize,
}

impl Replica {
    /// The process of this replica has ended, as far as the driver knows: nobody listens where it was, say. Where it was the leader, this
    /// replica stands for election, or helps another that does, once its promise has ended. Any message of the leader takes it back.
    pub fn note_gone(&mut self, id: ReplicaId) {
        let led = self.leader() == Some(id) && self.raw.raft.state == StateRole::Follower;
        if led && !self.hurries() {
            let gone = Some((id, self.raw.raft.term));
            self.haste = Haste { gone, waited: 0 };
        }
    }

    /// Whether the leader of this term is gone.
    pub(super) fn hurries(&self) -> bool {
        let term = self.raw.raft.term;
        self.haste.gone.is_some_and(|(_, led_in)| led_in == term)
    }

    /// The leader is there after all.
    pub(super) fn hear_of_leader(&mut self) {
        self.haste.gone = None;
    }

    /// What a tick comes to for a follower that hurries.
    pub(super) fn tick_in_haste(&mut self) {
        if self.is_silent() || self.is_bound() || self.must_not_stand() {
            self.haste.waited = 0;
            return;
        }
        if self.haste.waited < WAIT_TICKS + BETWEEN_TICKS * self.place_in_line() {
            self.haste.waited += 1;
            return;
        }
        self.haste.waited = 0;
        self.let_go_of_leader();
        self.jitter.draw_little();
        // Who may not stand has nothing to do.
        let _ = self.raw.campaign();
    }

    /// `raft` would ignore candidates until it has counted an election timeout since the leader's last message.
    pub(super) fn let_go_of_leader(&mut self) {
        if self.hurries() && !self.is_bound() && self.raw.raft.state == StateRole::Follower {
            self.raw.raft.leader_id = INVALID_ID;
        }
    }

    /// Who of the other voters stands first, second and so on: another one for each shard, so that what a node led is spread over the others.
    fn place_in_line(&self) -> usize {
        let gone = self.haste.gone.map_or(INVALID_ID, |(id, _)| id.get());
        let raft = &self.raw.raft;
        let voters = raft.prs().conf().voters().ids();
        let mut line: Vec<u64> = voters.iter().filter(|id| *id != gone).collect();
        line.sort_unstable();
        let place = line
            .iter()
            .position(|id| *id == raft.id)
            .unwrap_or_default();
        (place + self.shard.0 as usize) % line.len().max(1)
    }
}
