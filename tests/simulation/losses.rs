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

    /// Whether all that a machine knows may be lost: a majority of every group is left.
    pub fn may_lose(&self, machine: usize) -> bool {
        let bears = |group: ShardId, voters: &[ReplicaId]| {
            let is_left = |id: &&ReplicaId| {
                let copy = (group, **id);
                !self.unsound.contains(&copy) && self.machines.get(&copy) != Some(&machine)
            };
            voters.is_empty() || voters.iter().filter(is_left).count() > voters.len() / 2
        };
        let mut groups = self.memberships.iter();
        groups.all(|(&group, membership)| {
            bears(group, &membership.voters) && bears(group, &membership.outgoing)
        })
    }

    /// All replicas of a machine have forgotten something, or everything.
    pub fn loses(&mut self, machine: usize) {
        let lost = self.machines.iter().filter(|(_, at)| **at == machine);
        self.unsound.extend(lost.map(|(&copy, _)| copy));
    }
}
