//! What must not be lost any more: a group can bear the loss of some of its replicas, and no system can bear that of more.
//! Knows which replicas have forgotten what they promised; decides about no fault.

use std::collections::{BTreeMap, BTreeSet};

use ringfort_cluster::{Membership, ReplicaId, ShardId};

/// A replica of a group.
type Copy = (ShardId, ReplicaId);

/// The copies of all groups.
#[derive(Default)]
pub struct Losses {
    machines: BTreeMap<Copy, usize>,
    unsound: BTreeSet<Copy>,
    memberships: BTreeMap<ShardId, Membership>,
}

impl Losses {
    /// A replica begins on a machine.
    pub fn begins(&mut self, copy: Copy, machine: usize) {
        self.machines.insert(copy, machine);
    }

    /// A replica has ended for good.
    pub fn ends(&mut self, copy: Copy) {
        self.machines.remove(&copy);
        self.unsound.insert(copy);
    }

    /// A membership holds, unless a newer one is known.
    pub fn holds(&mut self, group: ShardId, membership: &Membership) {
        let known = self.memberships.entry(group).or_default();
        if known.is_unknown() || known.epoch < membership.epoch {
            known.clone_from(membership);
        }
    }

    /// Whether all that a machine knows may be lost: a majority of every group is left, also if a learner gets the vote of a sound
    /// voter just now.
    pub fn may_lose(&self, machine: usize) -> bool {
        let is_here = |group, id| self.machines.get(&(group, id)) == Some(&machine);
        let is_left = |group, id| !self.unsound.contains(&(group, id)) && !is_here(group, id);
        let bears = |group: ShardId, voters: &[ReplicaId]| {
            let left = voters.iter().filter(|&&id| is_left(group, id));
            voters.is_empty() || left.count() > voters.len() / 2
        };
        let mut groups = self.memberships.iter();
        groups.all(|(&group, membership)| {
            let Membership {
                voters, outgoing, ..
            } = membership;
            let lists = [voters, outgoing, &membership.learners];
            let all: BTreeSet<ReplicaId> = lists.into_iter().flatten().copied().collect();
            let missing = all.iter().filter(|&&id| !is_left(group, id));
            // What a promotion that is under way makes of the group shows only when it is applied.
            let bears_promotion = !all.iter().any(|&id| is_here(group, id))
                || missing.count() <= voters.len().saturating_sub(1) / 2;
            bears_promotion && bears(group, voters) && bears(group, outgoing)
        })
    }

    /// All replicas of a machine have forgotten something, or everything.
    pub fn loses(&mut self, machine: usize) {
        let lost = self.machines.iter().filter(|(_, at)| **at == machine);
        self.unsound.extend(lost.map(|(&copy, _)| copy));
    }
}
