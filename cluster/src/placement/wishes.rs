//! Decides where every group should be, and who should vote there. Knows nothing of how to get there.

use super::propose::{propose_with, CHAINS_MAX};
use super::{propose, Candidate, Health, Limits, Observed};
use crate::meta::{MetaCommand, WISHES_MAX};
use crate::topology::{Node, Place, Topology, Wish, META_GROUP};
use crate::types::ShardId;
use crate::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// The meta group has as many voters as the shards, but never fewer than this, where there are as many nodes.
const META_VOTERS_MIN: u8 = 3;

/// Learners of the meta group. A group has no more than `replica::MEMBERS_MAX` members, voters counted twice; further nodes take the topology
/// from others.
const META_LEARNERS_MAX: usize = 40;

/// Chains of moves that are tried to even everything out by an operator's word: more than could ever be needed.
const CHAINS_OF_REBALANCE_MAX: usize = 1 << 16;

/// Rounds in which votes change places.
const VOTE_ROUNDS_MAX: usize = 64;

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
    let shards = wished_shards(&health, CHAINS_MAX);
    commands(topology, shards, wished_meta(&health))
}

/// The wishes that spread copies and votes as evenly as they can be, with as few moves as that takes. An operator's word: by itself
/// the placement looks less long for what can be evened out, and lets whoever votes go on doing so.
#[must_use]
pub fn rebalance(topology: &Topology, observed: &Observed, limits: &Limits) -> Vec<MetaCommand> {
    if !topology.is_formed() {
        return Vec::new();
    }
    let health = Health::new(topology, observed, limits);
    let mut shards = wished_shards(&health, CHAINS_OF_REBALANCE_MAX);
    spread_votes(&health, &mut shards);
    commands(topology, shards, wished_meta(&health))
}

/// What differs from the wishes that stand, as commands.
fn commands(topology: &Topology, shards: Vec<(ShardId, Wish)>, meta: Wish) -> Vec<MetaCommand> {
    let mut changed = shards;
    changed.push((META_GROUP, meta));
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

fn wished_shards(health: &Health, chains_max: usize) -> Vec<(ShardId, Wish)> {
    let (candidates, replicas) = candidates(health, health.topology.replicas);
    let shards = || (0..).map(ShardId).zip(&health.topology.shards);
    let held: Vec<(ShardId, Vec<NodeId>)> = shards()
        .map(|(shard, place)| (shard, place.wish.nodes().collect()))
        .collect();
    let sets = propose_with(&held, &candidates, replicas, chains_max);
    (shards().zip(sets))
        .map(|((shard, place), nodes)| (shard, with_roles(place, nodes)))
        .collect()
}

/// An odd number votes. What is wished of the same nodes already stays; else those that vote go on doing so where others only learn.
fn with_roles(place: &Place, mut nodes: Vec<NodeId>) -> Wish {
    let wish = &place.wish;
    let is_wished = |node: &NodeId| wish.voters.contains(node) || wish.learners.contains(node);
    let as_many = wish.voters.len() + wish.learners.len() == nodes.len();
    if as_many && wish.voters.len() == odd(nodes.len()) && nodes.iter().all(is_wished) {
        return wish.clone();
    }
    let votes = |node: &NodeId| {
        let replica = place.replica_on(*node);
        replica.is_some_and(|id| place.members.voters.contains(&id))
    };
    nodes.sort_by_key(|node| (!votes(node), !place.wish.voters.contains(node), *node));
    let learners = nodes.split_off(odd(nodes.len()));
    Wish::new(&nodes, &learners)
}

/// Has votes change places with learners of the same shard, where one node votes more than its share and the other less: where a
/// single copy votes, its node leads.
fn spread_votes(health: &Health, shards: &mut [(ShardId, Wish)]) {
    let weight = |node: &NodeId| {
        let node = health.topology.nodes.get(node);
        node.map_or(1, |node| u64::from(node.weight.max(1)))
    };
    let mut votes: BTreeMap<NodeId, u64> = BTreeMap::new();
    for node in shards.iter().flat_map(|(_, wish)| &wish.voters) {
        *votes.entry(*node).or_default() += 1;
    }
    // Each exchange evens something out, so that there is an end; a few rounds are enough nearly always.
    for _ in 0..VOTE_ROUNDS_MAX {
        let mut changed = false;
        for (_, wish) in shards
            .iter_mut()
            .filter(|(_, wish)| !wish.learners.is_empty())
        {
            let count = |node: &NodeId| votes.get(node).copied().unwrap_or(0);
            let fullest = |one: &&NodeId, other: &&NodeId| {
                (count(one) * weight(other)).cmp(&(count(other) * weight(one)))
            };
            let learners = wish.learners.iter().filter(|node| health.is_alive(**node));
            let (Some(&from), Some(&to)) =
                (wish.voters.iter().max_by(fullest), learners.min_by(fullest))
            else {
                continue;
            };
            if count(&from) * weight(&to) > (count(&to) + 1) * weight(&from) {
                let exchange = |nodes: &[NodeId], gone, come| {
                    let kept = nodes.iter().copied().filter(|node| *node != gone);
                    kept.chain([come]).collect::<Vec<_>>()
                };
                let (voters, learners) = (&wish.voters, &wish.learners);
                *wish = Wish::new(&exchange(voters, from, to), &exchange(learners, to, from));
                *votes.entry(from).or_default() -= 1;
                *votes.entry(to).or_default() += 1;
                changed = true;
            }
        }
        if !changed {
            return;
        }
    }
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
