//! Decides where every group should be, and who should vote there. Knows nothing of how to get there.

use super::{propose, Candidate, Health, Limits, Observed};
use crate::meta::{MetaCommand, WISHES_MAX};
use crate::topology::{Node, Place, Topology, Wish, META_GROUP};
use crate::types::ShardId;
use crate::NodeId;
use std::collections::BTreeSet;

/// The meta group has as many voters as the shards, but never fewer than this, where there are as many nodes.
const META_VOTERS_MIN: u8 = 3;

/// Learners of the meta group. A group has no more than `replica::MEMBERS_MAX` members, voters counted twice; further nodes take the topology
/// from others.
const META_LEARNERS_MAX: usize = 40;

/// The wishes that differ from those that are stored, as commands. Nothing when all is decided.
///
/// A node that leaves gets nothing, at once. A node that is given up is replaced only where the others are enough for all
/// replicas: losing nodes never lowers the number of copies or of voters, only leaving does.
#[must_use]
pub fn wishes(topology: &Topology, observed: &Observed, limits: &Limits) -> Vec<MetaCommand> {
    if !topology.is_formed() {
        return Vec::new();
    }
    let health = Health::new(topology, observed, limits);
    let mut changed: Vec<(ShardId, Wish)> = wished_shards(&health);
    changed.push((META_GROUP, wished_meta(&health)));
    changed.retain(|(shard, wish)| {
        topology
            .place(*shard)
            .is_some_and(|place| place.wish != *wish)
    });
    (changed.chunks(WISHES_MAX))
        .map(|wishes| MetaCommand::SetWishes {
            wishes: wishes.to_vec(),
        })
        .collect()
}

/// The nodes that may hold replicas, when each shard should have `replicas` of them; and how many there can be.
fn candidates(health: &Health, replicas: u8) -> (Vec<Candidate>, usize) {
    let staying: Vec<&Node> = health.topology.staying().collect();
    let replicas = usize::from(replicas).min(staying.len());
    let counted_on = staying
        .iter()
        .filter(|node| !health.is_given_up(node.id))
        .count();
    let candidates = (staying.into_iter())
        .filter(|node| counted_on < replicas || !health.is_given_up(node.id))
        .map(|node| Candidate {
            id: node.id,
            weight: node.weight,
            zone: node.zone.clone(),
        });
    (candidates.collect(), replicas)
}

fn wished_shards(health: &Health) -> Vec<(ShardId, Wish)> {
    let (candidates, replicas) = candidates(health, health.topology.replicas);
    let shards = || (0..).map(ShardId).zip(&health.topology.shards);
    let held: Vec<(ShardId, Vec<NodeId>)> = shards()
        .map(|(shard, place)| (shard, place.wish.nodes().collect()))
        .collect();
    (shards().zip(propose(&held, &candidates, replicas)))
        .map(|((shard, place), nodes)| (shard, with_roles(place, nodes)))
        .collect()
}

/// An odd number votes. Where one only learns, those that vote already go on doing so.
fn with_roles(place: &Place, mut nodes: Vec<NodeId>) -> Wish {
    let votes = |node: &NodeId| {
        let replica = place.replica_on(*node);
        replica.is_some_and(|id| place.members.voters.contains(&id))
    };
    nodes.sort_by_key(|node| (!votes(node), !place.wish.voters.contains(node), *node));
    let learners = nodes.split_off(odd(nodes.len()));
    Wish::new(&nodes, &learners)
}

/// The meta group votes on a few nodes; the others learn, as many as there may be, so that nodes have a copy of the topology for as long
/// as they belong to the cluster. One that leaves, and has nothing else left, gives its copy up at last: before that it is not removed.
fn wished_meta(health: &Health) -> Wish {
    let topology = health.topology;
    let (candidates, replicas) = candidates(health, topology.replicas.max(META_VOTERS_MIN));
    let held = [(META_GROUP, topology.meta.wish.voters.clone())];
    let voters = propose(&held, &candidates, odd(replicas))
        .pop()
        .unwrap_or_default();
    let voting: BTreeSet<NodeId> = voters.iter().copied().collect();
    let learns = |node: &&Node| {
        let is_empty = node.draining && !topology.holds_data(node.id);
        !voting.contains(&node.id) && !is_empty
    };
    let learning = topology.nodes.values().filter(learns);
    let mut learners: Vec<NodeId> = learning.map(|node| node.id).collect();
    // Those that learn already go on doing so.
    learners.sort_by_key(|id| (!topology.meta.wish.learners.contains(id), *id));
    learners.truncate(META_LEARNERS_MAX);
    Wish::new(&voters, &learners)
}

/// The largest odd number that is not larger: an even number of voters survives no more losses than one fewer.
fn odd(count: usize) -> usize {
    match count % 2 {
        0 => count.saturating_sub(1),
        _ => count,
    }
}
