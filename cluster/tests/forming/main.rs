//! Nodes that become one cluster and never two, under every fault that a network and a process can have; and, once the faults stop,
//! do become one. Scripts beside it show the way of it.

#[path = "../script/mod.rs"]
mod script;
mod scripts;
mod world;

use world::{Faults, Flags, World};

const SECOND_US: u64 = 1_000_000;

/// Seeds of one campaign; `FORMING_SEEDS` asks for more of them.
fn seeds() -> u64 {
    let asked = std::env::var("FORMING_SEEDS").ok();
    asked.map_or(1000, |count| count.parse().expect("a number of seeds"))
}

/// Flags for every node, one of the ways in which operators write them.
fn draw_flags(world: &mut World, count: u64) -> Vec<Flags> {
    let all: Vec<u64> = (1..=count).collect();
    let expect = (2 + world.draw() % (count - 1)) as u32;
    let (way, seeds) = (world.draw() % 4, 1 + world.draw() % count);
    let unwilling = world.draw() % 3 == 0;
    all.iter()
        .map(|&id| {
            let join = match way {
                // All others, without oneself.
                0 => all.iter().copied().filter(|&other| other != id).collect(),
                // A few that everyone knows.
                1 => all[..seeds as usize].to_vec(),
                _ => all.clone(),
            };
            // One of them may be without the setting.
            let expect = Some(expect).filter(|_| !(unwilling && id == 1));
            Flags { join, expect }
        })
        .collect()
}

fn draw_faults(world: &mut World) -> Faults {
    Faults {
        loss_percent: [0, 5, 40][(world.draw() % 3) as usize],
        repeat_percent: [0, 70][(world.draw() % 2) as usize],
        delay_us_max: [0, 50_000, 3 * SECOND_US, 15 * SECOND_US][(world.draw() % 4) as usize],
        crash_permille: [0, 5, 30][(world.draw() % 3) as usize],
    }
}

/// Time with crashes, restarts and cuts by lot.
fn chaos(world: &mut World, flags: &[Flags], steps: u64) {
    let count = flags.len() as u64;
    for _ in 0..steps {
        let us = world.draw() % (SECOND_US / 2);
        world.run(us);
        let id = 1 + world.draw() % count;
        match world.draw() % 12 {
            0 | 1 if world.nodes[&id].is_up() => world.crash(id),
            2..=4 => {
                let other = 1 + world.draw() % count;
                world.cut.insert((id, other));
            }
            5 => world.cut.clear(),
            6..=9 if !world.nodes[&id].is_up() => {
                let mut flags = flags[id as usize - 1].clone();
                if world.draw() % 4 == 0 {
                    flags.expect = None;
                }
                world.start(id, flags);
            }
            _ => {}
        }
    }
}

/// No fault any more: now they must come together.
fn settle(world: &mut World, flags: &[Flags]) {
    world.faults = Faults::default();
    world.cut.clear();
    for (id, flags) in (1..).zip(flags) {
        assert_eq!(world.nodes[&id].refused, None, "seed {}", world.seed);
        if world.nodes[&id].is_up() {
            world.crash(id);
        }
        world.start(id, flags.clone());
    }
    let end = world.time + 30 * SECOND_US;
    while !world.all_belong() {
        let stuck: Vec<_> = (1..=flags.len() as u64)
            .map(|id| world.waiting(id))
            .collect();
        assert!(
            world.time < end,
            "seed {}: no cluster, {stuck:?} {flags:?}; repeat with FORMING_SEED={}",
            world.seed,
            world.seed
        );
        world.step();
    }
}

fn one_campaign(seed: u64) -> World {
    let mut world = World::new(seed);
    let count = 3 + world.draw() % 3;
    let flags = draw_flags(&mut world, count);
    world.faults = draw_faults(&mut world);
    for (id, flags) in (1..).zip(&flags) {
        world.start(id, flags.clone());
    }
    let steps = world.draw() % 120;
    chaos(&mut world, &flags, steps);
    settle(&mut world, &flags);
    world
}

#[test]
fn whatever_happens_there_are_never_two_clusters_and_in_the_end_there_is_one() {
    if let Ok(seed) = std::env::var("FORMING_SEED") {
        one_campaign(seed.parse().expect("a seed"));
        return;
    }
    let (mut give_ups, mut early) = (0, 0);
    for seed in 0..seeds() {
        let world = one_campaign(seed);
        assert_eq!(world.clusters.len(), 1, "seed {seed}");
        give_ups += world.give_ups;
        early += u64::from(world.nodes.values().any(|node| node.stored.gave_up > 0));
    }
    assert!(give_ups > 0 && early > 0, "no initiator ever gave up");
}

#[test]
fn the_same_seed_goes_the_same_way() {
    for seed in 0..10 {
        assert_eq!(one_campaign(seed).told, one_campaign(seed).told);
    }
}

#[test]
fn three_nodes_that_start_together_are_a_cluster_within_a_second_and_a_half() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        for id in 1..=3 {
            let flags = Flags {
                join: vec![1, 2, 3],
                expect: Some(3),
            };
            world.start(id, flags);
        }
        world.run(3 * SECOND_US / 2);
        let formed = world.clusters.len();
        assert_eq!(formed, 1, "seed {seed}");
        world.run(SECOND_US);
        assert!(world.all_belong(), "seed {seed}");
    }
}

#[test]
fn fewer_nodes_than_expected_never_form() {
    for seed in 0..30 {
        let mut world = World::new(seed);
        for id in 1..=2 {
            let flags = Flags {
                join: vec![1, 2, 3],
                expect: Some(3),
            };
            world.start(id, flags);
        }
        world.run(60 * SECOND_US);
        assert!(world.clusters.is_empty(), "seed {seed}");
        let waiting = world.waiting(1).expect("something to say");
        assert!(waiting.contains("2 of 3 expected nodes"), "{waiting}");
    }
}

#[test]
fn halves_of_a_list_never_form_one_each() {
    for seed in 0..30 {
        let mut world = World::new(seed);
        for id in 1..=4 {
            let flags = Flags {
                join: vec![1, 2, 3, 4],
                expect: Some(2),
            };
            world.start(id, flags);
        }
        for pair in [(1, 3), (1, 4), (2, 3), (2, 4)] {
            world.cut.insert(pair);
        }
        world.run(60 * SECOND_US);
        assert!(world.clusters.is_empty(), "seed {seed}");
        world.cut.clear();
        world.run(10 * SECOND_US);
        assert!(world.all_belong(), "seed {seed}");
    }
}
