//! The steward from end to end: real replicas on several nodes, from the first node to three voters everywhere, through the loss and the
//! return of a node, with writes all the while. What the topology records is in the end what the groups really have.

mod departures;
mod meta;
mod node;
mod world;

use ringfort_cluster::topology::META_GROUP;
use ringfort_cluster::{MetaCommand, NodeId, ReplicaId, ShardId};
use world::{World, SECOND_US};

const SHARDS: u32 = 9;

/// Voters and learners of a group, as recorded.
fn roles(world: &World, shard: ShardId) -> (usize, usize) {
    let topology = world.topology();
    let members = &topology.place(shard).expect("a group").members;
    (members.voters.len(), members.learners.len())
}

fn all_have(world: &World, expected: (usize, usize)) {
    for shard in world.shards() {
        assert_eq!(roles(world, shard), expected, "shard {shard}");
    }
}

fn grown_to(count: u128) -> World {
    let mut world = World::new(SHARDS);
    for id in 2..=count {
        world.join(id);
        world.settle("joined");
    }
    world
}

/// Until leaders are spread: everyone's share, give or take one.
fn wait_for_balance(world: &mut World) {
    let up = world.nodes.values().filter(|node| node.up).count();
    let share = SHARDS as usize / up;
    let end = world.time + 60 * SECOND_US;
    loop {
        let led = world.led();
        let fair = |led: usize| (share.saturating_sub(1)..=share + 2).contains(&led);
        let nodes = world.nodes.values().filter(|node| node.up);
        if nodes.map(|node| led[&node.id()]).all(fair) {
            return;
        }
        assert!(world.time < end, "leaders are not spread: {led:?}");
        world.step();
    }
}

#[test]
fn one_node_two_nodes_three_nodes() {
    let mut world = World::new(SHARDS);
    world.settle("alone");
    all_have(&world, (1, 0));
    world.join(2);
    world.settle("two");
    all_have(&world, (1, 1));
    assert_eq!(roles(&world, META_GROUP), (1, 1));
    world.join(3);
    world.settle("three");
    all_have(&world, (3, 0));
    assert_eq!(roles(&world, META_GROUP), (3, 0));
    wait_for_balance(&mut world);
    world.run(5 * SECOND_US);
    world.check("three");
}

#[test]
fn when_all_is_done_nothing_more_is_ordered_or_proposed() {
    let mut world = grown_to(3);
    wait_for_balance(&mut world);
    world.run(5 * SECOND_US);
    let (orders, epoch, led) = (world.orders, world.topology().epoch, world.led());
    world.run(30 * SECOND_US);
    assert_eq!(world.orders, orders);
    assert_eq!(world.topology().epoch, epoch);
    assert_eq!(world.led(), led, "leaders stay where they are");
}

#[test]
fn a_node_dies_and_comes_back_and_nothing_is_lost() {
    let mut world = grown_to(3);
    wait_for_balance(&mut world);
    for id in 1..=3 {
        let leader = world.leader().expect("a leader");
        world.node(id).crash();
        world.run(8 * SECOND_US);
        for shard in world.shards() {
            let (node, _) = world.leader_of(shard).expect("the others go on");
            assert_ne!(node, NodeId(id));
        }
        assert!(world.leader().is_some_and(|new| new != NodeId(id)));
        let before = world.acknowledged[&ShardId(0)].len();
        world.run(3 * SECOND_US);
        assert!(
            world.acknowledged[&ShardId(0)].len() > before,
            "writes go on"
        );
        world.node(id).restart();
        world.settle("back");
        all_have(&world, (3, 0));
        wait_for_balance(&mut world);
        assert!(world.leader().is_some(), "after {leader:?}");
    }
}

#[test]
fn a_fourth_node_takes_the_place_of_one_that_stays_away() {
    let mut world = grown_to(3);
    world.node(2).crash();
    world.run(12 * SECOND_US);
    all_have(&world, (3, 0));
    world.join(4);
    world.run(30 * SECOND_US);
    let topology = world.topology();
    for shard in world.shards() {
        let place = topology.place(shard).expect("a shard");
        assert_eq!(place.replica_on(NodeId(2)), None, "shard {shard}");
        assert!(place.replica_on(NodeId(4)).is_some(), "shard {shard}");
    }
    world.node(2).restart();
    world.settle("back");
    let held: Vec<ShardId> = world.node(2).groups();
    let topology = world.topology();
    for shard in held {
        let place = topology.place(shard).expect("a group");
        assert!(
            place.replica_on(NodeId(2)).is_some(),
            "what is gone is dropped"
        );
    }
}

#[test]
fn a_node_that_lost_its_disk_gets_new_replicas_under_new_ids() {
    let mut world = grown_to(3);
    world.node(3).crash();
    world.node(3).disks.clear();
    world.run(SECOND_US);
    world.node(3).restart();
    world.settle("wiped");
    let topology = world.topology();
    for (shard, place) in topology.places() {
        let id = place.replica_on(NodeId(3)).expect("a new replica");
        assert!(id > ReplicaId(3), "shard {shard}: {id}");
        assert_eq!(place.members.voters.len(), 3);
        assert!(place.replicas.values().all(|held| !held.lost));
    }
}

#[test]
fn a_node_that_leaves_is_emptied_and_then_removed() {
    let mut world = grown_to(4);
    let node = NodeId(1);
    let force = false;
    world.propose(&MetaCommand::Leave { node, force });
    let end = world.time + 120 * SECOND_US;
    while world.topology().groups_that_need(node) > 0 {
        assert!(world.time < end, "not emptied: {:?}", world.refused.last());
        world.step();
    }
    world.propose(&MetaCommand::Remove { node });
    world.run(10 * SECOND_US);
    world.settle("removed");
    all_have(&world, (3, 0));
    assert!(world.node(1).groups().is_empty(), "it drops what it held");
}

#[test]
fn copies_and_transfers_go_on_while_leaders_of_the_meta_group_change() {
    let mut world = grown_to(3);
    world.join(4);
    for round in 0..6 {
        world.run(2 * SECOND_US);
        let leader = world.leader().map_or(1, |leader| leader.0);
        world.node(leader).crash();
        world.run((1 + round % 3) * SECOND_US);
        world.node(leader).restart();
    }
    world.settle("four");
    all_have(&world, (3, 0));
    wait_for_balance(&mut world);
}
