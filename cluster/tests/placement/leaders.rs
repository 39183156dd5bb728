//! Balance of the leaders: they never move back and forth, stay where an operator has put them, and are even to within one by an
//! operator's word. And a part of what `scripts/placement.sh` does, with fewer nodes.

use crate::model::{node, World};
use crate::{check_settled, grown_to, join, ROUNDS_MAX};
use proptest::prelude::*;
use ringfort_cluster::placement::{plan, rebalance, wishes, Step};
use ringfort_cluster::topology::{Node, META_GROUP};
use ringfort_cluster::{MetaCommand, NodeId, ShardId};
use std::collections::{BTreeMap, BTreeSet};

fn leader(world: &World, shard: ShardId) -> Option<NodeId> {
    let place = world.topology.place(shard)?;
    world.groups[&shard].leader.and_then(|id| place.node_of(id))
}

fn leaders(world: &World) -> BTreeMap<ShardId, NodeId> {
    let shards = world.groups.keys().filter(|&&shard| shard != META_GROUP);
    shards
        .filter_map(|&shard| Some((shard, leader(world, shard)?)))
        .collect()
}

/// Rounds until there is nothing to do; no leader may come back to where it was.
fn settle_without_return(world: &mut World) {
    let mut left: BTreeMap<ShardId, BTreeSet<NodeId>> = BTreeMap::new();
    for _ in 0..ROUNDS_MAX {
        let before = leaders(world);
        if world.round() == (0, Vec::new()) {
            return;
        }
        for (shard, now) in leaders(world) {
            let was = before.get(&shard).copied().filter(|was| *was != now);
            let left = left.entry(shard).or_default();
            assert!(!left.contains(&now), "shard {shard} is back on {now}");
            left.extend(was);
        }
    }
    panic!("no end of it");
}

/// Hands a shard to another of its nodes, as an operator does.
fn transfer(world: &mut World, shard: ShardId, to: NodeId) {
    let place = world.topology.place(shard).expect("a shard");
    let to = place.replica_on(to).expect("a copy");
    assert!(world.carry_out(&Step::TransferLeader { shard, to }));
}

/// As the steward does by the operator's word.
fn rebalanced(world: &mut World) {
    world.limits.leader_slack_percent = 0;
    for command in rebalance(&world.topology, world.observe(), &world.limits) {
        world.apply(&command).expect("a sound wish");
    }
    world.settle(ROUNDS_MAX);
    let more = rebalance(&world.topology, world.observe(), &world.limits);
    assert!(more.is_empty(), "a second look moves nothing: {more:?}");
}

fn led(world: &World) -> Vec<usize> {
    let mut led: Vec<usize> = world.loads().values().map(|&(_, led)| led).collect();
    led.sort_unstable();
    led
}

#[test]
fn leaders_never_move_back_and_forth_while_nodes_come_and_go() {
    let mut world = grown_to(3, 64);
    for id in 4..=8 {
        join(&mut world, id);
        settle_without_return(&mut world);
    }
    for id in [2, 5, 7] {
        let (node, force) = (NodeId(id), false);
        let leave = MetaCommand::Leave { node, force };
        world.apply(&leave).expect("enough stay");
        settle_without_return(&mut world);
        assert_eq!(world.loads()[&node], (0, 0));
    }
    check_settled(&world);
}

#[test]
fn a_leader_moved_by_hand_stays_within_the_slack_and_while_it_is_held() {
    let mut world = grown_to(3, 64);
    rebalanced(&mut world);
    world.limits.leader_slack_percent = 10;
    assert_eq!(led(&world), [21, 21, 22]);
    let before = leaders(&world);
    let mut of_first = before.iter().filter(|(_, node)| **node == NodeId(1));
    let (&shard, _) = of_first.next().expect("it leads some");
    transfer(&mut world, shard, NodeId(2));
    assert_eq!(world.round(), (0, Vec::new()), "the slack is two");
    let more: Vec<ShardId> = of_first.take(6).map(|(&shard, _)| shard).collect();
    more.iter()
        .for_each(|&shard| transfer(&mut world, shard, NodeId(2)));
    let mut observed = world.observe().clone();
    observed.held_leaders = more.iter().copied().chain([shard]).collect();
    let steps = plan(&world.topology, &observed, &world.limits);
    let moved: BTreeSet<ShardId> = steps.iter().map(Step::shard).collect();
    assert!(!moved.is_empty(), "others make up for it");
    assert!(moved.is_disjoint(&observed.held_leaders));
    settle_without_return(&mut world);
}

#[test]
fn two_nodes_share_the_votes_by_an_operators_word_alone() {
    let mut world = grown_to(2, 16);
    assert_eq!(led(&world), [0, 16]);
    rebalanced(&mut world);
    assert_eq!(led(&world), [8, 8]);
    let decided = wishes(&world.topology, world.observe(), &world.limits);
    assert!(decided.is_empty(), "nobody takes it back: {decided:?}");
    let copies = world.tally.copies;
    join(&mut world, 3);
    world.settle(ROUNDS_MAX);
    check_settled(&world);
    assert_eq!(world.tally.copies - copies, 16);
}

#[test]
fn a_large_cluster_is_formed_and_loses_a_zone() {
    let zone = |id: u128| format!("zone{}", id % 5);
    let mut world = World::new(256, 3, node(1, &zone(1)));
    for id in 2..=60 {
        let (cluster_id, node) = (None, node(id, &zone(id)));
        world
            .apply(&MetaCommand::Join { cluster_id, node })
            .expect("there is room");
        world.round();
    }
    world.settle(ROUNDS_MAX);
    let lost: Vec<NodeId> = (1..=60).filter(|id| id % 5 == 2).map(NodeId).collect();
    assert!(lost.iter().all(|&node| world.take_down(node)));
    world.pass(world.limits.replace_after_ticks);
    world.settle(ROUNDS_MAX);
    let loads = world.loads();
    for (node, (held, _)) in loads.iter().filter(|(node, _)| !lost.contains(node)) {
        assert!((16..=16).contains(held), "node {} holds {held}", node.0);
    }
    for place in &world.topology.shards {
        let zones: BTreeSet<u128> = place.wish.nodes().map(|id| id.0 % 5).collect();
        assert!(zones.len() == 3 && !zones.contains(&2));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn by_an_operators_word_everybody_leads_as_much_as_the_others(
        count in 3u128..9, per_node in 4u32..12, by_hand in prop::collection::vec(any::<(u16, usize)>(), 0..40)
    ) {
        let shards = count as u32 * per_node;
        let mut world = grown_to(count, shards);
        for (shard, to) in by_hand {
            let shard = ShardId(shard % shards as u16);
            let nodes: Vec<NodeId> = world.topology.place(shard).expect("a shard").wish.nodes().collect();
            transfer(&mut world, shard, nodes[to % nodes.len()]);
        }
        rebalanced(&mut world);
        let led = led(&world);
        prop_assert!(led.iter().all(|&led| led == per_node as usize), "{led:?}");
        check_settled(&world);
    }

    #[test]
    fn leaders_follow_the_weights(weights in prop::collection::vec(1u16..5, 4..8)) {
        let heavy = |id: u128, weight: u16| Node { weight: weight * 100, ..node(id, "") };
        let mut world = World::new(64, 3, heavy(1, weights[0]));
        for (id, &weight) in (2..).zip(&weights[1..]) {
            let (cluster_id, node) = (None, heavy(id, weight));
            world.apply(&MetaCommand::Join { cluster_id, node }).expect("there is room");
            world.round();
        }
        // From one node, that leads all, to several at once: what is handed over on the way is not foreseen.
        world.settle(ROUNDS_MAX);
        rebalanced(&mut world);
        let all: usize = weights.iter().map(|&weight| usize::from(weight)).sum();
        // As much as copies follow them: nobody leads what it does not hold. One that is heavy enough to hold every shard leads its share by
        // weight, which is more than half of them.
        for (node, (held, led)) in world.loads() {
            let weight = weights[node.0 as usize - 1];
            let share = 64 * usize::from(weight) / all;
            let most = (held / 2 + 2).max(share + 1);
            prop_assert!(led <= most, "node {} holds {held} and leads {led}", node.0);
        }
    }
}
