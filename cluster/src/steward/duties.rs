//! Which replicas a node has to start and to drop, so that it holds what the topology says. Pure: the node does it.

use crate::topology::{ReplicaFate, Topology};
use crate::types::{ReplicaId, ShardId};
use crate::NodeId;
use std::collections::BTreeMap;

/// Whether a node may take a replica that it has not got for one that never began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// The process has just started, and all that it ever began should be on its disk.
    Restart,
    /// It goes on: what is new to it has been given out since.
    Running,
}

/// What a node has to do, drops first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Duties {
    /// Removed for ever, or given up: the data goes too.
    pub drop: Vec<(ShardId, ReplicaId)>,
    /// New: each starts with `Restored::joining()`, and gets a snapshot from its leader.
    pub start: Vec<(ShardId, ReplicaId)>,
    /// To be reported as lost: the node had them, perhaps, and has them no more. They must not start again under their ids, because
    /// they may have acknowledged what they do not know any more.
    pub lost: Vec<(ShardId, ReplicaId)>,
}

/// Compares what a node holds with what it should hold. With [`Since::Restart`] the topology must be at least as new as any by which the
/// node has started a replica: a node keeps its topology on the disk before it acts upon it, or asks its cluster first.
#[must_use]
pub fn duties(
    topology: &Topology,
    me: NodeId,
    here: &BTreeMap<ShardId, ReplicaId>,
    since: Since,
) -> Duties {
    let mut duties = Duties::default();
    // Also what was given out to it and never became a member, of which the topology says nothing any more.
    if topology.removed.contains_key(&me) {
        duties.drop = here.iter().map(|(&shard, &id)| (shard, id)).collect();
        return duties;
    }
    for (&shard, &id) in here {
        let place = topology.place(shard);
        let given_up = place.and_then(|place| place.replicas.get(&id));
        let given_up = given_up.is_some_and(|held| held.lost || held.node != me);
        if given_up || topology.fate(shard, id) == ReplicaFate::Removed {
            duties.drop.push((shard, id));
        }
    }
    for (shard, id, held) in topology.held_by(me) {
        if held.lost || here.get(&shard) == Some(&id) {
            continue;
        }
        match since {
            Since::Restart => duties.lost.push((shard, id)),
            Since::Running => duties.start.push((shard, id)),
        }
    }
    duties
}
