//! Forecasts against what the model of a cluster does when the change is really made.

use crate::check_settled;
use crate::model::{node, World};
use crate::ROUNDS_MAX;
use proptest::prelude::*;
use ringfort_cluster::placement::{forecast, Change, Forecast, ForecastRefused, Holds};
use ringfort_cluster::topology::{Node, META_GROUP};
use ringfort_cluster::{MetaCommand, MetaError, NodeId, ShardId};
use std::collections::{BTreeMap, BTreeSet};

/// On which nodes each shard really is.
type Copies = BTreeMap<ShardId, BTreeSet<NodeId>>;

fn join(world: &mut World, id: NodeId, weight: u16, zone: &str) {
    let node = Node {
        weight,
        ..node(id.0, zone)
    };
    let cluster_id = None;
    world
        .apply(&MetaCommand::Join { cluster_id, node })
        .expect("a node may join");
}

/// A settled cluster of nodes with these weights and zones.
fn cluster(shards: u32, nodes: &[(u16, &str)]) -> World {
    let first = Node {
        weight: nodes[0].0,
        ..node(1, nodes[0].1)
    };
    let mut world = World::new(shards, 3, first);
    for (id, (weight, zone)) in (2..).zip(&nodes[1..]) {
        join(&mut world, NodeId(id), *weight, zone);
    }
    world.settle(ROUNDS_MAX);
    world
}

fn copies(world: &World) -> Copies {
    let shards = world.groups.iter().filter(|(&id, _)| id != META_GROUP);
    let on = |shard: ShardId, ids: BTreeSet<_>| {
        let place = world.topology.place(shard).expect("a group");
        ids.iter().filter_map(|&id| place.node_of(id)).collect()
    };
    shards
        .map(|(&shard, group)| (shard, on(shard, group.members.all())))
        .collect()
}

fn leaders(world: &World) -> BTreeMap<ShardId, NodeId> {
    let shards = world.groups.iter().filter(|(&id, _)| id != META_GROUP);
    let leader = |shard: ShardId, group: &crate::model::Group| {
        let place = world.topology.place(shard)?;
        group.leader.and_then(|id| place.node_of(id))
    };
    shards
        .filter_map(|(&shard, group)| Some((shard, leader(shard, group)?)))
        .collect()
}

/// Each shard of another size.
fn sizes(world: &World) -> BTreeMap<ShardId, u64> {
    let shards = 0..world.topology.shards.len() as u16;
    shards
        .map(|shard| (ShardId(shard), 1_000 + u64::from(shard)))
        .collect()
}

fn told(world: &World, change: &Change) -> Forecast {
    let nobody = BTreeSet::new();
    forecast(
        &world.topology,
        change,
        &sizes(world),
        &leaders(world),
        &nobody,
    )
}

/// Really makes the change, under the ids of the forecast, and waits until all is done.
fn made(world: &mut World, change: &Change, told: &Forecast) {
    match change {
        Change::Remove { node, force } => {
            let (node, force) = (*node, *force);
            world
                .apply(&MetaCommand::Leave { node, force })
                .expect("it was not refused");
        }
        Change::Add { nodes } => {
            for (&id, (weight, zone)) in told.new_nodes.iter().zip(nodes) {
                join(world, id, *weight, zone);
                world.round();
            }
        }
    }
    world.settle(ROUNDS_MAX);
}

fn check(world: &mut World, change: &Change) {
    let forecast = told(world, change);
    if forecast.refused.is_some() {
        assert_eq!((forecast.moves.len(), forecast.leaders.len()), (0, 0));
        assert_eq!(forecast.holds_before, forecast.holds_after);
        return;
    }
    let (before, led, sizes) = (copies(world), leaders(world), sizes(world));
    let begun = world.tally.copies;
    made(world, change, &forecast);
    let after = copies(world);
    let mut expected = before.clone();
    for to_do in &forecast.moves {
        let nodes = expected.get_mut(&to_do.shard).expect("a shard");
        assert!(to_do.from.is_none_or(|from| nodes.remove(&from)));
        assert!(to_do.to.is_none_or(|to| nodes.insert(to)));
        let bytes = to_do.to.map_or(0, |_| sizes[&to_do.shard]);
        assert_eq!(to_do.bytes, bytes);
    }
    assert_eq!(expected, after, "told otherwise");
    assert_eq!(forecast.copies(), world.tally.copies - begun, "copies made");
    let voters = |shard: ShardId| &world.topology.shards[shard.as_usize()].wish.voters;
    let gone: Vec<ShardId> = (led.iter())
        .filter(|(&shard, node)| !voters(shard).contains(node))
        .map(|(&shard, _)| shard)
        .collect();
    assert_eq!(forecast.leaders, gone);
    for (holds, copies) in [
        (&forecast.holds_before, &before),
        (&forecast.holds_after, &after),
    ] {
        for (node, holds) in holds {
            let held = copies.iter().filter(|(_, nodes)| nodes.contains(node));
            let bytes = held.clone().map(|(shard, _)| sizes[shard]).sum();
            let replicas = held.count();
            assert_eq!(*holds, Holds { replicas, bytes }, "node {node}");
        }
    }
}

#[test]
fn a_fourth_node_is_told_its_share_and_nobody_else_gets_anything() {
    let mut world = cluster(64, &[(100, ""); 3]);
    let nodes = vec![(100, String::new())];
    let change = Change::Add { nodes };
    let forecast = told(&world, &change);
    let newcomer = forecast.new_nodes[0];
    assert!(forecast.moves.iter().all(|one| one.to == Some(newcomer)));
    assert_eq!(forecast.copies(), 48);
    assert_eq!(forecast.holds_after[&newcomer].replicas, 48);
    assert_eq!(forecast.holds_after[&newcomer].bytes, forecast.bytes());
    check(&mut world, &change);
    check_settled(&world);
}

#[test]
fn what_would_be_refused_is_told_with_the_reason() {
    let world = cluster(8, &[(100, ""); 3]);
    let (node, force) = (NodeId(2), false);
    let forecast = told(&world, &Change::Remove { node, force });
    let (left, replicas) = (2, 3);
    let reason = MetaError::TooFewNodes { left, replicas };
    assert_eq!(forecast.refused, Some(ForecastRefused::Meta(reason)));
    assert!(forecast.moves.is_empty() && forecast.leaders.is_empty());
    let node = NodeId(9);
    let forecast = told(&world, &Change::Remove { node, force });
    let reason = ForecastRefused::Meta(MetaError::NoSuchNode(node));
    assert_eq!(forecast.refused, Some(reason));
    let nodes = vec![(100, String::new()); 65];
    let forecast = told(&world, &Change::Add { nodes });
    assert_eq!(forecast.refused, Some(ForecastRefused::TooMany(65)));
    let nodes = vec![(100, "two words".into())];
    let forecast = told(&world, &Change::Add { nodes });
    assert!(matches!(
        forecast.refused,
        Some(ForecastRefused::Meta(MetaError::Node(_)))
    ));
    assert!(forecast.new_nodes.is_empty());
}

#[test]
fn nothing_is_told_to_go_to_a_node_that_is_given_up() {
    let world = cluster(16, &[(100, ""); 5]);
    let silent = BTreeSet::from([NodeId(2)]);
    let (node, force) = (NodeId(1), false);
    let change = Change::Remove { node, force };
    let (sizes, leaders) = (sizes(&world), leaders(&world));
    let forecast = forecast(&world.topology, &change, &sizes, &leaders, &silent);
    assert!(forecast.refused.is_none());
    assert_eq!(forecast.holds_before[&NodeId(2)].replicas, 0, "is replaced");
    assert!(forecast.moves.iter().all(|one| one.from == Some(node)));
    assert!(forecast.moves.iter().all(|one| one.to != Some(NodeId(2))));
}

fn some_nodes(max: usize) -> impl Strategy<Value = Vec<(u16, &'static str)>> {
    let zone = prop::sample::select(vec!["", "", "a", "b", "c"]);
    let weight = prop::sample::select(vec![50u16, 100, 100, 100, 300]);
    prop::collection::vec((weight, zone), 1..=max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_is_told_is_what_happens(
        nodes in some_nodes(7), more in some_nodes(3), shards in 1u32..40,
        gone in any::<prop::sample::Index>(), force in any::<bool>(), remove_first in any::<bool>()
    ) {
        let mut world = cluster(shards, &nodes);
        let node = NodeId(gone.index(nodes.len()) as u128 + 1);
        let remove = Change::Remove { node, force };
        let nodes = more.into_iter().map(|(weight, zone)| (weight, zone.to_owned())).collect();
        let add = Change::Add { nodes };
        let changes = if remove_first { [remove, add] } else { [add, remove] };
        for change in changes {
            check(&mut world, &change);
        }
    }
}
