//! Where one group, a shard or the meta group, is: its replicas, who of them votes, and where it should be.

use crate::types::{Epoch, ReplicaId};
use crate::NodeId;
use bincode::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};

/// Replicas of a shard at one time, with those that come and those that go.
pub const REPLICAS_OF_SHARD_MAX: usize = 24;

/// A node's copy of a group.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Replica {
    pub node: NodeId,
    /// The membership that the group had when the id was given out. An id that is no member of a newer one can
    /// never become one, because the step that would add it builds on the older: so it is forgotten then.
    pub based_on: Epoch,
    /// Its node has lost it and will not bring it back. It counts as dead and never holds the node's place.
    pub lost: bool,
}

/// Who belongs to a group, as Raft has it. Each list is in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Members {
    pub voters: Vec<ReplicaId>,
    /// The voters that are left behind by a joint change that is not over yet; else empty.
    pub outgoing: Vec<ReplicaId>,
    pub learners: Vec<ReplicaId>,
    /// Of `outgoing` those that will be learners when the joint change is over.
    pub learners_next: Vec<ReplicaId>,
}

/// On which nodes a group should be. Each list is in order, and no node is in both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Wish {
    pub voters: Vec<NodeId>,
    pub learners: Vec<NodeId>,
}

/// What became of a replica id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaFate {
    /// It is, or may become, the copy of this node.
    Held(NodeId),
    /// It was removed and will never be again: whoever speaks under it is to be told so.
    Removed,
    /// It was not given out yet, as far as this copy of the topology knows.
    Unknown,
}

/// Where a group is and where it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Place {
    /// The id that is given out next. Ids are never given out twice (invariant 7).
    pub next_replica: ReplicaId,
    pub replicas: BTreeMap<ReplicaId, Replica>,
    /// Who belongs to the group, as last recorded.
    pub members: Members,
    /// The epoch of `members`: how many changes have led to them.
    pub changed: Epoch,
    pub wish: Wish,
}

impl Members {
    /// Lists in order.
    #[must_use]
    pub fn new(voters: &[ReplicaId], learners: &[ReplicaId]) -> Self {
        let mut members = Self {
            voters: voters.to_vec(),
            learners: learners.to_vec(),
            ..Self::default()
        };
        members.voters.sort_unstable();
        members.learners.sort_unstable();
        members
    }

    /// Whether a joint change is under way.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Everyone, each once.
    #[must_use]
    pub fn all(&self) -> BTreeSet<ReplicaId> {
        let lists = [
            &self.voters,
            &self.outgoing,
            &self.learners,
            &self.learners_next,
        ];
        lists.into_iter().flatten().copied().collect()
    }

    /// Whether the lists are in order and could be a group's.
    pub(crate) fn is_sound(&self) -> bool {
        let lists = [
            &self.voters,
            &self.outgoing,
            &self.learners,
            &self.learners_next,
        ];
        let in_order = |list: &Vec<ReplicaId>| list.windows(2).all(|pair| pair[0] < pair[1]);
        let voters: BTreeSet<_> = self.voters.iter().chain(&self.outgoing).collect();
        !self.voters.is_empty()
            && lists.into_iter().all(in_order)
            && !self.learners.iter().any(|id| voters.contains(id))
            && self.learners_next.iter().all(|id| {
                self.outgoing.binary_search(id).is_ok() && self.voters.binary_search(id).is_err()
            })
    }
}

impl Wish {
    /// Lists in order.
    #[must_use]
    pub fn new(voters: &[NodeId], learners: &[NodeId]) -> Self {
        let (mut voters, mut learners) = (voters.to_vec(), learners.to_vec());
        voters.sort_unstable();
        learners.sort_unstable();
        Self { voters, learners }
    }

    /// All nodes of it.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.voters.iter().chain(&self.learners).copied()
    }

    /// Whether the lists are in order and name no node twice.
    pub(crate) fn is_sound(&self) -> bool {
        let in_order = |list: &[NodeId]| list.windows(2).all(|pair| pair[0] < pair[1]);
        !self.voters.is_empty()
            && in_order(&self.voters)
            && in_order(&self.learners)
            && !self
                .learners
                .iter()
                .any(|id| self.voters.binary_search(id).is_ok())
    }
}

impl Place {
    /// A group that begins on a node, which votes alone.
    #[must_use]
    pub fn beginning_on(node: NodeId) -> Self {
        let first = Replica {
            node,
            based_on: Epoch::ZERO,
            lost: false,
        };
        Self {
            next_replica: ReplicaId(2),
            replicas: BTreeMap::from([(ReplicaId(1), first)]),
            members: Members::new(&[ReplicaId(1)], &[]),
            changed: Epoch::ZERO,
            wish: Wish::new(&[node], &[]),
        }
    }

    /// What became of a replica id.
    #[must_use]
    pub fn fate(&self, replica: ReplicaId) -> ReplicaFate {
        match self.replicas.get(&replica) {
            Some(held) => ReplicaFate::Held(held.node),
            None if replica >= self.next_replica => ReplicaFate::Unknown,
            None => ReplicaFate::Removed,
        }
    }

    /// The copy that a node has or is about to have; a lost one does not count.
    #[must_use]
    pub fn replica_on(&self, node: NodeId) -> Option<ReplicaId> {
        (self.replicas.iter())
            .find(|(_, replica)| replica.node == node && !replica.lost)
            .map(|(&id, _)| id)
    }

    /// Whether a member, as last recorded, is on a node.
    pub(crate) fn has_member_on(&self, node: NodeId) -> bool {
        let members = self.members.all();
        members.into_iter().any(|id| self.node_of(id) == Some(node))
    }

    /// The node of a replica.
    #[must_use]
    pub fn node_of(&self, replica: ReplicaId) -> Option<NodeId> {
        self.replicas.get(&replica).map(|replica| replica.node)
    }
}
