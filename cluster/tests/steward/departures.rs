//! Nodes that are removed while nobody reaches them, what they sent comes in long after, and an operator has leaders spread evenly.

use crate::world::{World, SECOND_US};
use crate::{all_have, grown_to, wait_for_balance, SHARDS};
use ringfort_cluster::{MetaCommand, Monotonic, NodeId, ShardId, Term};

/// A node that does not lead the meta group.
fn not_the_leader(world: &World) -> NodeId {
    let leader = world.leader();
    let mut others = world.nodes.keys().copied();
    others
        .find(|id| Some(*id) != leader)
        .expect("there are several nodes")
}

fn terms(world: &World) -> Vec<(ShardId, NodeId, Term)> {
    let led = |shard| {
        let (node, replica) = world.leader_of(shard).expect("a leader");
        (shard, node, replica.term())
    };
    world.shards().map(led).collect()
}

/// Has a node leave that nobody reaches, until it is removed.
fn removed_while_cut_off(world: &mut World, node: NodeId) {
    world.cut.insert(node);
    world.run(5 * SECOND_US);
    let force = false;
    world.propose(&MetaCommand::Leave { node, force });
    let end = world.time + 120 * SECOND_US;
    while world.topology().groups_that_need(node) > 0 {
        assert!(world.time < end, "not emptied: {:?}", world.refused.last());
        world.step();
    }
    world.propose(&MetaCommand::Remove { node });
    world.run(10 * SECOND_US);
}

#[test]
fn a_node_that_is_removed_while_it_is_cut_off_disturbs_nobody_when_it_is_back() {
    let mut world = grown_to(4);
    wait_for_balance(&mut world);
    let node = not_the_leader(&world);
    assert!(!world.nodes[&node].shards.is_empty());
    removed_while_cut_off(&mut world, node);
    all_have(&world, (3, 0));
    assert!(
        !world.nodes[&node].shards.is_empty(),
        "it knows nothing yet"
    );
    let before = terms(&world);
    world.cut.clear();
    world.run(20 * SECOND_US);
    assert!(
        world.nodes[&node].shards.is_empty(),
        "it drops what it held"
    );
    assert_eq!(terms(&world), before, "nobody had to be elected anew");
    world.settle("removed");
}

#[test]
fn what_a_removed_replica_sent_comes_in_late_and_changes_nothing() {
    let mut world = grown_to(4);
    wait_for_balance(&mut world);
    let node = not_the_leader(&world);
    removed_while_cut_off(&mut world, node);
    // It may hold what it sends back for as long as it likes.
    let before = terms(&world);
    let topology = world.topology();
    assert!(world.deliver_late() > 0);
    world.run(SECOND_US);
    assert_eq!(terms(&world), before);
    assert_eq!(world.topology(), topology);
    world.nodes.remove(&node);
    world.cut.clear();
    world.settle("late");
    all_have(&world, (3, 0));
}

#[test]
fn by_an_operators_word_leaders_are_even_to_within_one() {
    let mut world = grown_to(4);
    wait_for_balance(&mut world);
    let now = Monotonic(world.time);
    let leader = world.leader().expect("a leader");
    let steward = |world: &mut World| {
        let node = world.nodes.get_mut(&leader).expect("a node");
        node.steward.take().expect("it leads")
    };
    let mut own = steward(&mut world);
    own.rebalance(now);
    assert!(own.is_rebalancing());
    world.nodes.get_mut(&leader).expect("a node").steward = Some(own);
    world.run(20 * SECOND_US);
    let led = world.led();
    let share = SHARDS as usize / led.len();
    assert!(
        led.values().all(|&led| led == share || led == share + 1),
        "{led:?}"
    );
    assert!(!steward(&mut world).is_rebalancing(), "it is done");
}
