//! The placement against a model of a cluster: scripts that anyone can read, and random joins, losses and departures.

mod forecast;
mod leaders;
mod model;
#[path = "../script/mod.rs"]
mod script;
mod scripts;

use model::{node, World};
use proptest::prelude::*;
use ringfort_cluster::placement::{plan, wishes, Step};
use ringfort_cluster::topology::{Wish, META_GROUP};
use ringfort_cluster::{MetaCommand, NodeId, ReplicaId, ShardId};

/// More rounds than any of the changes below needs.
const ROUNDS_MAX: usize = 2000;

fn join(world: &mut World, id: u128) {
    let join = MetaCommand::Join {
        cluster_id: None,
        node: node(id, ""),
    };
    world.apply(&join).expect("a node may join");
}

fn grown_to(count: u128, shards: u32) -> World {
    let mut world = World::new(shards, 3, node(1, ""));
    for id in 2..=count {
        join(&mut world, id);
        world.settle(ROUNDS_MAX);
    }
    world
}

/// What must hold once there is nothing more to do and all nodes are up.
fn check_settled(world: &World) {
    let staying: Vec<NodeId> = world.topology.staying().map(|node| node.id).collect();
    let copies = staying.len().min(3);
    for (&shard, group) in world
        .groups
        .iter()
        .filter(|(&shard, _)| shard != META_GROUP)
    {
        let place = world.topology.place(shard).expect("a group");
        let nodes: Vec<NodeId> = group
            .members
            .all()
            .iter()
            .map(|id| place.replicas[id].node)
            .collect();
        assert_eq!(nodes.len(), copies, "shard {shard}: {group:?}");
        assert!(
            nodes.iter().all(|node| staying.contains(node)),
            "shard {shard}"
        );
        assert_eq!(group.members.voters.len(), if copies == 3 { 3 } else { 1 });
        assert_eq!(group.members, place.members, "all is recorded");
    }
    let meta = &world.groups[&META_GROUP].members;
    assert_eq!(
        meta.all().len(),
        staying.len(),
        "everyone who stays has a topology"
    );
    let (total, loads) = (world.topology.shards.len() * copies, world.loads());
    for node in &staying {
        let (held, led) = loads[node];
        let fair = total / staying.len()..=total.div_ceil(staying.len());
        assert!(
            fair.contains(&held),
            "node {} holds {held}, {fair:?} is fair",
            node.0
        );
        if copies == 3 {
            let fair = world.topology.shards.len().div_ceil(staying.len());
            assert!(
                led <= fair + 3,
                "node {} leads {led}, {fair} is fair",
                node.0
            );
        }
    }
}

#[test]
fn the_nth_node_moves_no_more_than_its_share() {
    let mut world = grown_to(3, 64);
    for count in 4..=20 {
        let before = world.tally.copies;
        join(&mut world, count);
        world.settle(ROUNDS_MAX);
        check_settled(&world);
        let moved = world.tally.copies - before;
        assert!(
            moved * count as usize <= 64 * 3,
            "{moved} moved for node {count}"
        );
        assert!(moved > 0);
    }
}

#[test]
fn the_meta_group_never_has_more_members_than_a_group_can_have() {
    let mut world = World::new(1, 3, node(1, ""));
    for id in 2..=100 {
        join(&mut world, id);
        world.settle(ROUNDS_MAX);
    }
    let meta = &world.groups[&META_GROUP].members;
    assert_eq!((meta.voters.len(), meta.learners.len()), (3, 40));
    let before = meta.clone();
    join(&mut world, 101);
    world.settle(ROUNDS_MAX);
    assert_eq!(
        world.groups[&META_GROUP].members, before,
        "nobody gives way"
    );
}

#[test]
fn copies_are_made_a_bounded_number_at_a_time() {
    let mut world = grown_to(3, 64);
    join(&mut world, 4);
    let mut most = 0;
    for _ in 0..200 {
        let (_, steps) = world.round();
        let added = steps
            .iter()
            .filter(|step| matches!(step, Step::AddLearner { .. }));
        let added = added.filter(|step| step.shard() != META_GROUP).count();
        most = most.max(added);
    }
    assert_eq!(most, world.limits.copies_of_node_max);
    check_settled(&world);
}

#[test]
fn a_step_that_comes_late_is_refused_or_harmless() {
    let mut world = grown_to(3, 16);
    let mut late: Vec<Step> = Vec::new();
    for id in 4..=6 {
        join(&mut world, id);
        let leave = MetaCommand::Leave {
            node: NodeId(id - 3),
            force: false,
        };
        world.apply(&leave).expect("enough stay");
        for _ in 0..300 {
            let (_, steps) = world.round();
            for step in std::mem::replace(&mut late, steps) {
                world.carry_out(&step);
            }
        }
    }
    world.settle(ROUNDS_MAX);
    check_settled(&world);
}

#[test]
fn a_voter_that_is_down_gives_its_place_before_one_that_is_up() {
    let mut world = grown_to(3, 1);
    join(&mut world, 4);
    join(&mut world, 5);
    let wishes = vec![(ShardId(0), Wish::new(&[1, 4, 5].map(NodeId), &[]))];
    world
        .apply(&MetaCommand::SetWishes { wishes })
        .expect("a sound wish");
    assert!(world.take_down(NodeId(3)) && world.take_down(NodeId(5)));
    for _ in 0..20 {
        world.pass(10);
        let mut steps = plan(&world.topology, world.observe(), &world.limits);
        steps.retain(|step| step.shard() == ShardId(0));
        for step in &steps {
            assert!(world.carry_out(step), "{step:?}");
        }
        if let [Step::ChangeVoters {
            promote, demote, ..
        }] = &steps[..]
        {
            let place = &world.topology.shards[0];
            assert_eq!((promote.len(), demote.len()), (1, 1));
            assert_eq!(place.node_of(promote[0]), Some(NodeId(4)));
            assert_eq!(
                place.node_of(demote[0]),
                Some(NodeId(3)),
                "not node 2, which is up"
            );
            return;
        }
    }
    panic!("no voter was changed");
}

/// A node became a voter of the meta group, and before that was recorded it was told to leave and was removed: by the record it
/// only learned. With the next node that was lost the meta group had no majority any more, for ever.
#[test]
fn a_node_is_not_removed_while_it_may_have_become_a_voter() {
    for (rounds, after) in (0..20).flat_map(|rounds| (0..4).map(move |after| (rounds, after))) {
        for leaver in 2..=4 {
            let mut world = World::new(1, 3, node(1, ""));
            (2..=4).for_each(|id| join(&mut world, id));
            let turn = |world: &mut World, count| (0..count).for_each(|_| _ = world.round());
            turn(&mut world, rounds);
            let (node, force) = (NodeId(leaver), false);
            _ = world.apply(&MetaCommand::Leave { node, force });
            turn(&mut world, after);
            _ = world.apply(&MetaCommand::Remove { node });
            let meta = &world.groups[&META_GROUP].members;
            let node_of = |id| world.topology.meta.node_of(id).expect("a member's node");
            let is_there = |id: &ReplicaId| world.topology.nodes.contains_key(&node_of(*id));
            assert!(meta.voters.iter().all(is_there), "after {rounds} {after}");
            world.lose_data_of(NodeId(1));
            join(&mut world, 5);
            world.settle(ROUNDS_MAX);
            check_settled(&world);
        }
    }
}

#[test]
fn before_there_is_a_cluster_there_is_nothing_to_do() {
    let (topology, observed, limits) = Default::default();
    assert!(wishes(&topology, &observed, &limits).is_empty());
    assert!(plan(&topology, &observed, &limits).is_empty());
}

#[test]
fn what_is_not_heard_of_is_left_alone() {
    let mut world = grown_to(3, 8);
    join(&mut world, 4);
    world.round();
    let mut observed = world.observe().clone();
    observed.groups.retain(|&shard, _| shard == ShardId(5));
    observed.silent_ticks.remove(&NodeId(2));
    let steps = plan(&world.topology, &observed, &world.limits);
    assert!(
        steps.iter().all(|step| step.shard() == ShardId(5)),
        "{steps:?}"
    );
    let decided = wishes(&world.topology, &observed, &world.limits);
    assert!(
        decided.is_empty(),
        "an unknown node is not given up: {decided:?}"
    );
}

#[derive(Debug, Clone)]
enum Event {
    Join,
    Leave(prop::sample::Index, bool),
    Stay(prop::sample::Index),
    Remove(prop::sample::Index),
    Down(prop::sample::Index),
    Up(prop::sample::Index),
    LoseData(prop::sample::Index),
    Rounds(u8),
    Time(u8),
}

fn event() -> impl Strategy<Value = Event> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => Just(Event::Join),
        3 => (index(), any::<bool>()).prop_map(|(node, force)| Event::Leave(node, force)),
        1 => index().prop_map(Event::Stay),
        3 => index().prop_map(Event::Remove),
        3 => index().prop_map(Event::Down),
        3 => index().prop_map(Event::Up),
        1 => index().prop_map(Event::LoseData),
        8 => (0u8..12).prop_map(Event::Rounds),
        1 => any::<u8>().prop_map(Event::Time),
    ]
}

fn happen(world: &mut World, event: Event, next: &mut u128) {
    let ids: Vec<NodeId> = world.topology.nodes.keys().copied().collect();
    let pick = |index: prop::sample::Index| ids[index.index(ids.len())];
    match event {
        Event::Join if ids.len() < 9 => {
            *next += 1;
            join(world, *next);
        }
        Event::Join => {}
        Event::Leave(at, force) => {
            _ = world.apply(&MetaCommand::Leave {
                node: pick(at),
                force,
            })
        }
        Event::Stay(at) => _ = world.apply(&MetaCommand::Stay { node: pick(at) }),
        Event::Remove(at) => _ = world.apply(&MetaCommand::Remove { node: pick(at) }),
        Event::Down(at) => _ = world.take_down(pick(at)),
        Event::Up(at) => _ = world.down.remove(&pick(at)),
        Event::LoseData(at) => _ = world.lose_data_of(pick(at)),
        Event::Rounds(count) => {
            for _ in 0..count {
                world.round();
                assert!(
                    world.all_have_quorum(),
                    "a step has cost a group its quorum"
                );
            }
        }
        Event::Time(ticks) => world.pass(ticks.into()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn whatever_comes_and_goes_no_quorum_is_lost_and_all_finds_its_place(
        events in prop::collection::vec(event(), 1..60), shards in 1u32..20
    ) {
        let mut world = World::new(shards, 3, node(1, ""));
        let mut next = 1;
        for event in events {
            happen(&mut world, event, &mut next);
        }
        world.down.clear();
        world.settle(ROUNDS_MAX);
        check_settled(&world);
        let leaving: Vec<NodeId> = world.topology.nodes.keys().copied()
            .filter(|id| world.topology.nodes[id].draining).collect();
        for node in leaving {
            prop_assert_eq!(world.apply(&MetaCommand::Remove { node }), Ok(true));
        }
        world.settle(ROUNDS_MAX);
        check_settled(&world);
    }
}
