//! The placement of a large cluster, simulated: what is decided, moved and paid in time of computation when it is formed and when nodes
//! come and go. `scripts/placement.sh` runs it. The cluster is the model of the tests, in which a copy takes one round.
//!
//! | argument | means |
//! |---|---|
//! | `NODES` | how many nodes there are when it is formed (100) |
//! | `SHARDS` | how many shards (1,024) |
//! | `MIB` | the size of each (128) |
//!
//! | column | says |
//! |---|---|
//! | `% moved`, `125/N` | copies made, of all there are; what one node that joins N may have moved |
//! | `most held`, `most led` | by one node, and how many times the mean of all that are up that is |
//! | `wishes`, `plan` | computing one: the mean and the longest |

#[path = "../tests/placement/model.rs"]
mod model;

use model::{computed, node, Spent, Tally, World};
use ringfort_cluster::placement::Limits;
use ringfort_cluster::{MetaCommand, NodeId};
use std::collections::BTreeSet;
use std::time::Duration;

const ZONES: u128 = 10;
const REPLICAS: u8 = 3;
const ROUNDS_MAX: usize = 1_000_000;

/// So many nodes join one by one, because each moves much; then several are waited for together.
const ONE_BY_ONE: u128 = 100;
const AT_ONCE: u128 = 10;

struct Asked {
    nodes: u128,
    shards: u32,
    shard_mib: u64,
}

fn main() {
    // `cargo bench` adds a flag of its own.
    let args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let numbers: Result<Vec<u64>, _> = args.map(|arg| arg.parse()).collect();
    let Ok(numbers) = numbers else {
        eprintln!("usage: placement [NODES [SHARDS [MIB]]]");
        std::process::exit(2);
    };
    let number = |at: usize, default| numbers.get(at).copied().unwrap_or(default);
    // At most as many nodes as a cluster may have, less the one that is added, and as many shards as there are slots.
    let asked = Asked {
        nodes: number(0, 100).clamp(20, 1000).into(),
        shards: number(1, 1024).clamp(1, 16384) as u32,
        shard_mib: number(2, 128),
    };
    run(&asked);
}

fn run(asked: &Asked) {
    let Asked { nodes, shards, .. } = *asked;
    let began = computed();
    println!(
        "{nodes} nodes in {ZONES} zones, {shards} shards x {REPLICAS} of {} MiB; time of the processor alone",
        asked.shard_mib
    );
    println!("{}", heading());
    let mut world = World::new(shards, REPLICAS, member(1));
    let mut most = (0.0, 0);
    measured(asked, &mut world, "form", |world| most = form(world, nodes));
    world.limits = Limits {
        replace_after_ticks: world.limits.replace_after_ticks,
        ..Limits::default()
    };
    measured(asked, &mut world, "nothing changes", |world| {
        (0..10).for_each(|_| _ = world.round());
    });
    measured(asked, &mut world, "one more joins", |world| {
        join(world, nodes + 1);
        world.settle(ROUNDS_MAX);
    });
    measured(asked, &mut world, "one is removed", |world| {
        remove(world, NodeId(nodes / 2));
    });
    measured(asked, &mut world, "one is lost", |world| {
        lose(world, &[NodeId(nodes / 3)]);
    });
    let zone: Vec<NodeId> = (world.topology.nodes.values())
        .filter(|node| node.zone == zone(7) && !world.down.contains(&node.id))
        .map(|node| node.id)
        .collect();
    let title = format!("a zone of {} is lost", zone.len());
    measured(asked, &mut world, &title, |world| lose(world, &zone));
    println!("nodes joined one by one up to {ONE_BY_ONE}, then {AT_ONCE} at a time, each decided about on its own");
    println!("the N-th node of those that form it moved at most {:.2}/N of all copies (N = {}); allowed: 1.25/N", most.0, most.1);
    println!(
        "with all that the model does: {:.0} s",
        (computed() - began).as_secs_f64()
    );
}

/// Lets nodes join a cluster of one. Gives what the one moved that moved most, as a part of an N-th of all copies, and its N.
fn form(world: &mut World, nodes: u128) -> (f64, u128) {
    // Nodes that join at once, as after a power cut of all: the limits of daily work would only make the table wait.
    world.limits = Limits {
        copies_max: 4096,
        copies_of_node_max: 1024,
        copies_from_node_max: 1024,
        transfers_max: 4096,
        steps_max: 4096,
        ..world.limits
    };
    let all = world.topology.shards.len() * usize::from(REPLICAS);
    let mut most = (0.0, 0);
    for id in 2..=nodes {
        join(world, id);
        let before = world.tally.wished;
        world.round();
        // The first nodes get copies that were not there before.
        let moved = (world.tally.wished - before) as f64 * id as f64 / all as f64;
        if id > u128::from(REPLICAS) && moved > most.0 {
            most = (moved, id);
        }
        if id <= ONE_BY_ONE || id % AT_ONCE == 0 {
            world.settle(ROUNDS_MAX);
        }
    }
    world.settle(ROUNDS_MAX);
    most
}

fn zone(id: u128) -> String {
    format!("zone{}", id % ZONES)
}

fn member(id: u128) -> ringfort_cluster::topology::Node {
    node(id, &zone(id))
}

fn join(world: &mut World, id: u128) {
    let (cluster_id, node) = (None, member(id));
    world
        .apply(&MetaCommand::Join { cluster_id, node })
        .expect("there is room for a node");
}

fn remove(world: &mut World, node: NodeId) {
    let force = false;
    let leave = MetaCommand::Leave { node, force };
    world.apply(&leave).expect("enough stay");
    world.settle(ROUNDS_MAX);
    world
        .apply(&MetaCommand::Remove { node })
        .expect("it holds nothing");
    world.settle(ROUNDS_MAX);
}

/// Nodes go at once and never come back.
fn lose(world: &mut World, nodes: &[NodeId]) {
    for &node in nodes {
        assert!(world.take_down(node), "a shard would be lost");
    }
    for _ in 0..20 {
        world.round();
    }
    world.pass(world.limits.replace_after_ticks);
    world.settle(ROUNDS_MAX);
}

/// Does something, checks what is there then, and prints what it has cost.
fn measured(asked: &Asked, world: &mut World, title: &str, act: impl FnOnce(&mut World)) {
    world.tally = Tally::default();
    act(world);
    check(world);
    println!("{}", line(asked, world, title));
}

/// Every shard has its copies on distinct nodes in distinct zones, and nobody more than its share.
fn check(world: &World) {
    let gone = |id: &NodeId| world.down.contains(id) || !world.topology.nodes.contains_key(id);
    for (number, place) in world.topology.shards.iter().enumerate() {
        let nodes: BTreeSet<NodeId> = place.wish.nodes().collect();
        let zones: BTreeSet<&str> = (nodes.iter())
            .map(|id| world.topology.nodes[id].zone.as_str())
            .collect();
        assert_eq!(nodes.len(), usize::from(REPLICAS), "shard {number}");
        assert_eq!(zones.len(), nodes.len(), "zones of shard {number}");
        assert!(!nodes.iter().any(gone), "shard {number} is on a lost node");
        assert_eq!(place.members.voters.len(), nodes.len(), "shard {number}");
    }
}

fn heading() -> String {
    format!(
        "{:<23} {:>6} {:>7} {:>7} {:>9} {:>6} {:>7} {:>6} {:>11} {:>11} {:>14} {:>14} {:>7}",
        "",
        "plans",
        "steps",
        "copies",
        "transfers",
        "GiB",
        "% moved",
        "125/N",
        "most held",
        "most led",
        "wishes, ms",
        "plan, ms",
        "both, s"
    )
}

fn line(asked: &Asked, world: &World, title: &str) -> String {
    let tally = &world.tally;
    let loads = world.loads();
    let up = || loads.iter().filter(|(node, _)| !world.down.contains(node));
    let worst = |load: fn(&(usize, usize)) -> usize| {
        let most = up().map(|(_, both)| load(both)).max().unwrap_or(0);
        let all: usize = up().map(|(_, both)| load(both)).sum();
        let mean = all as f64 / up().count() as f64;
        format!("{most} ({:.2})", most as f64 / mean)
    };
    let all = world.topology.shards.len() * usize::from(REPLICAS);
    format!(
        "{title:<23} {:>6} {:>7} {:>7} {:>9} {:>6} {:>7.3} {:>6.3} {:>11} {:>11} {:>14} {:>14} {:>7.2}",
        tally.plans.calls,
        tally.steps,
        tally.copies,
        tally.transfers,
        tally.copies as u64 * asked.shard_mib / 1024,
        tally.copies as f64 * 100.0 / all as f64,
        125.0 / up().count() as f64,
        worst(|load| load.0),
        worst(|load| load.1),
        times(&tally.wishes),
        times(&tally.plans),
        (tally.wishes.all + tally.plans.all).as_secs_f64(),
    )
}

/// The mean and the longest.
fn times(spent: &Spent) -> String {
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let mean = ms(spent.all) / f64::from(spent.calls.max(1));
    format!("{mean:.1} {:.1}", ms(spent.longest))
}
