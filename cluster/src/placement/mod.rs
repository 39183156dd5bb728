//! What should be where, and what to do next to get there. Pure: from the topology and what is observed to wishes, which
//! are stored in the topology, and steps, which the leader of the meta group has carried out. It acts on nothing itself.
//!
//! The loop: propose what [`wishes`] gives; when it gives nothing, carry out what [`plan`] gives; observe; again. A step is
//! safe to repeat, and safe when it comes late:
//!
//! - every change of a membership names the one that it builds on (`based_on`), and the group's leader must refuse it when
//!   its membership is of another epoch, or when a change is under way;
//! - the id of a new replica is given out by the meta group ([`MetaCommand::Allot`]) before the group hears of it.
//!
//! [`MetaCommand::Allot`]: crate::meta::MetaCommand::Allot

mod forecast;
mod leaders;
mod propose;
mod shares;
mod steps;
mod wishes;

pub use forecast::{forecast, Change, Forecast, ForecastRefused, Holds, Move, FORECAST_NODES_MAX};
pub use propose::{propose, Candidate};
pub use steps::plan;
pub use wishes::{rebalance, wishes};

use crate::topology::{Members, Topology};
use crate::types::{Epoch, ReplicaId, ShardId};
use crate::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// What the leader of the meta group sees of the cluster. What it has not heard of is left out, and left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// For how many ticks nothing was heard of a node.
    pub silent_ticks: BTreeMap<NodeId, u64>,
    /// What the leader of each group, the meta group among them, says of it.
    pub groups: BTreeMap<ShardId, GroupSeen>,
    /// Shards whose leaders balance leaves where they are.
    pub held_leaders: BTreeSet<ShardId>,
}

/// A group as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSeen {
    pub leader: ReplicaId,
    /// The membership that is applied, and its epoch: how many changes have led to it.
    pub members: Members,
    pub changed: Epoch,
    /// A change of the membership is in the log and not applied yet.
    pub changing: bool,
    /// The voters and learners that lack nothing but the newest entries; the leader is one of them.
    pub caught_up: BTreeSet<ReplicaId>,
}

/// How careful the placement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Replicas that are being filled at one time.
    pub copies_max: usize,
    /// Of these on one node.
    pub copies_of_node_max: usize,
    /// Of these from one node: the leader of a group sends all its copies.
    pub copies_from_node_max: usize,
    /// Leaders that are moved for balance in one plan.
    pub transfers_max: usize,
    /// By how many percent of an even split, rounded down, a node may lead more than another before leaders move.
    pub leader_slack_percent: u64,
    /// Steps in one plan.
    pub steps_max: usize,
    /// A node of which nothing was heard for longer gets no steps.
    pub alive_ticks_max: u64,
    /// A node of which nothing was heard for as long is replaced where there is room.
    pub replace_after_ticks: u64,
}

impl Default for Limits {
    /// For ticks of 100 ms: silence of one second is noticed, five minutes of it are acted upon.
    fn default() -> Self {
        Self {
            copies_max: 16,
            copies_of_node_max: 4,
            copies_from_node_max: 8,
            transfers_max: 4,
            leader_slack_percent: 10,
            steps_max: 256,
            alive_ticks_max: 10,
            replace_after_ticks: 3000,
        }
    }
}

/// One thing to do next. There is at most one for each group in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The topology has not heard of the group's newest membership: propose it as `RecordMembership`.
    Record {
        shard: ShardId,
        members: Members,
        changed: Epoch,
    },
    /// Allot the id, then add it to the group as a learner, which begins to copy.
    AddLearner {
        shard: ShardId,
        node: NodeId,
        replica: ReplicaId,
        based_on: Epoch,
    },
    /// Promote these learners and demote these voters to learners, in one joint change. The leader is never among them.
    ChangeVoters {
        shard: ShardId,
        promote: Vec<ReplicaId>,
        demote: Vec<ReplicaId>,
        based_on: Epoch,
    },
    /// Remove a learner; its node drops the copy and remembers the id as gone.
    Remove {
        shard: ShardId,
        replica: ReplicaId,
        based_on: Epoch,
    },
    /// Hand leadership to another voter.
    TransferLeader { shard: ShardId, to: ReplicaId },
}

impl Step {
    /// The group that it is about.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        match self {
            Self::Record { shard, .. }
            | Self::AddLearner { shard, .. }
            | Self::ChangeVoters { shard, .. }
            | Self::Remove { shard, .. }
            | Self::TransferLeader { shard, .. } => *shard,
        }
    }
}

/// The nodes that have been silent for so long that they are replaced where there is room.
#[must_use]
pub fn given_up(topology: &Topology, observed: &Observed, limits: &Limits) -> BTreeSet<NodeId> {
    let health = Health::new(topology, observed, limits);
    health.given_up.into_iter().collect()
}

/// The nodes that were heard of lately, at the address that is known.
#[must_use]
pub fn counted_on(topology: &Topology, observed: &Observed, limits: &Limits) -> BTreeSet<NodeId> {
    let health = Health::new(topology, observed, limits);
    health.alive.into_iter().collect()
}

/// Which nodes may be counted on.
struct Health<'a> {
    topology: &'a Topology,
    /// Heard of lately, at the address that is known. In order.
    alive: Vec<NodeId>,
    /// Silent for so long that they are to be replaced. In order.
    given_up: Vec<NodeId>,
}

impl<'a> Health<'a> {
    fn new(topology: &'a Topology, observed: &Observed, limits: &Limits) -> Self {
        let (mut alive, mut given_up) = (Vec::new(), Vec::new());
        for (&id, &silent) in &observed.silent_ticks {
            let Some(node) = topology.nodes.get(&id) else {
                continue;
            };
            // A node whose address was taken by another is not waited for.
            let patience = match node.suspect {
                true => limits.alive_ticks_max + 1,
                false => limits.replace_after_ticks,
            };
            if !node.suspect && silent <= limits.alive_ticks_max {
                alive.push(id);
            }
            if silent >= patience {
                given_up.push(id);
            }
        }
        Self {
            topology,
            alive,
            given_up,
        }
    }

    fn is_alive(&self, node: NodeId) -> bool {
        self.alive.binary_search(&node).is_ok()
    }

    fn is_given_up(&self, node: NodeId) -> bool {
        self.given_up.binary_search(&node).is_ok()
    }
}
