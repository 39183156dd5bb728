//! A replica decides alone from now on, because its operator says that the majority of its group is gone for ever. Who is chosen
//! [`crate::recover`] decides; here it is carried out.
//!
//! It begins a term that nobody can have reached, leading, and the first thing in its log is [`MembershipChange::Force`]: this replica votes, the
//! other survivors learn. With that entry everything before it is committed, also what the old majority may never have agreed to: it may
//! have been acknowledged. All of it is one record of the written log, so a crash leaves the group as it was or as it is to be, and a
//! restart needs to know nothing of how it came about.

use super::lease::Lease;
use super::{EntryKind, HardState, Membership, MembershipChange, Replica};
use crate::codec;
use crate::types::{Epoch, Index, ReplicaId, Term};
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
};
use raft::{StateRole, INVALID_ID};

/// How a replica is to decide alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Force {
    /// The term that it begins.
    pub term: Term,
    /// The other survivors.
    pub learners: Vec<ReplicaId>,
    /// The membership is of this epoch, or of a newer one.
    pub epoch: Epoch,
}

/// Between the moment in which a replica was forced and that in which it has applied it.
#[derive(Debug)]
pub(super) struct Forcing {
    /// Where the change stands in the log.
    at: Index,
    /// The membership as of the last applied entry, to which a replay would come.
    applied: Membership,
}

impl Replica {
    /// Has this replica decide alone. Says whether it was done: not for one that leads, has reached that term, is writing, or has not
    /// applied what it was given. What `ready` gives next must be written before anything else is done, as always; if that fails
    /// it never happened.
    pub fn force(&mut self, force: &Force) -> bool {
        let raft = &self.raw.raft;
        let unstable = &raft.raft_log.unstable;
        let is_at_rest = self.in_flight.is_none()
            && self.solo.is_none()
            && self.delivered == self.applied
            && unstable.entries.is_empty()
            && unstable.snapshot.is_none();
        let is_free = raft.state != StateRole::Leader && raft.term < force.term.get();
        let change = MembershipChange::Force {
            voter: self.id(),
            learners: force.learners.clone(),
            epoch: force.epoch,
        };
        let forced = self.after_all().after(&change);
        let Some(forced) = forced.filter(|_| is_at_rest && is_free) else {
            return false;
        };
        let (state, before) = (self.hard_state(), self.membership());
        self.begin_alone(state, forced, force.term);
        let appended = self.append_change(&change);
        let at = appended.expect("a new leader has room for an entry").index;
        self.forcing = Some(Forcing {
            at,
            applied: before,
        });
        (self.confined, self.transfer) = (None, None);
        self.sending.clear();
        self.lease = Lease::default();
        self.note_membership();
        true
    }

    /// The membership to which the whole log leads, committed or not.
    fn after_all(&self) -> Membership {
        let store = self.raw.raft.store();
        let mut membership = self.membership();
        let changes = store
            .all()
            .filter(|entry| entry.index > self.applied && entry.kind == EntryKind::Membership);
        for entry in changes {
            let change = codec::decode::<MembershipChange>(&entry.data).ok();
            if let Some(next) = change.and_then(|change| membership.after(&change)) {
                membership = next;
            }
        }
        membership
    }

    /// Makes a `raft` over the same log that knows nobody else with a vote, and leads in that term.
    fn begin_alone(&mut self, state: HardState, membership: Membership, term: Term) {
        let mut store = std::mem::take(self.raw.raft.mut_store());
        store.note_hard_state(state);
        store.set_membership(membership);
        let raft = self.renew_raft(store);
        // Invariant 5: it votes for itself in a term in which it has not voted, and that is written with the entries.
        raft.become_follower(term.get() - 1, INVALID_ID);
        raft.become_candidate();
        raft.become_leader();
    }

    /// The membership after a change that was applied before the forced one, or is it; `None` when nothing is forced.
    pub(super) fn apply_while_forcing(
        &mut self,
        index: Index,
        change: &MembershipChange,
    ) -> Option<Membership> {
        let forcing = self.forcing.as_mut()?;
        if let Some(next) = forcing.applied.after(change) {
            forcing.applied = next;
        }
        if index < forcing.at {
            return Some(forcing.applied.clone());
        }
        let applied = self.forcing.take().map(|forcing| forcing.applied);
        let membership = self.membership();
        // Invariant 8: a replay comes to the same.
        assert!(
            applied.as_ref() == Some(&membership),
            "invariant 8: shard {} was forced to {membership:?} and comes to {applied:?}",
            self.shard
        );
        self.note_membership();
        Some(membership)
    }

    /// What `raft` does for a forced change that came from elsewhere: two steps by way of the joint state, out of which it goes at once.
    pub(super) fn follow_forced(
        &mut self,
        before: &Membership,
        voter: ReplicaId,
        learners: &[ReplicaId],
    ) -> Option<ConfState> {
        let leave = ConfChangeV2::default();
        if before.is_joint() {
            self.raw.apply_conf_change(&leave).ok()?;
        }
        let stays = |id: &ReplicaId| *id == voter || learners.contains(id);
        let members = [&before.voters, &before.outgoing, &before.learners];
        let members = members.into_iter().flatten().copied();
        let change = |id: ReplicaId, change_type| ConfChangeSingle {
            node_id: id.get(),
            change_type,
            ..Default::default()
        };
        let mut gone: Vec<ReplicaId> = members.filter(|id| !stays(id)).collect();
        gone.sort_unstable();
        gone.dedup();
        let mut changes = vec![change(voter, ConfChangeType::AddNode)];
        let learn = learners.iter();
        changes.extend(learn.map(|id| change(*id, ConfChangeType::AddLearnerNode)));
        let go = gone.into_iter();
        changes.extend(go.map(|id| change(id, ConfChangeType::RemoveNode)));
        let enter = ConfChangeV2 {
            changes: changes.into(),
            transition: ConfChangeTransition::Explicit,
            ..Default::default()
        };
        self.raw.apply_conf_change(&enter).ok()?;
        self.raw.apply_conf_change(&leave).ok()
    }
}
