//! Plays the scripts in `tests/scenarios/forming/`. What a command prints stands indented below it and must match;
//! `REWRITE_SCENARIOS=1` rewrites it.
//!
//! | command | does |
//! |---|---|
//! | `start N A,B,C [EXPECT]` | starts node N with `--join` to nodes A, B, C (`-` for none), and `--bootstrap-expect` |
//! | `crash N` | ends its process; the disk stays |
//! | `cut A B`, `heal` | A and B do not hear each other; all hear each other again |
//! | `run SECONDS` | lets time pass; prints what was decided |
//! | `show` | for each node its cluster, its pledge, and what it tells its operator |

use super::script;
use super::world::{Flags, World};
use std::fmt::Write as _;

fn run(world: &mut World, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| -> u64 { words[at].parse().expect("a number") };
    let mut printed = String::new();
    match words[0] {
        "start" => {
            let numbers = words[2].split(',').filter(|word| *word != "-");
            let join = numbers.map(|word| word.parse().expect("a node")).collect();
            let expect = words.get(3).map(|word| word.parse().expect("a number"));
            world.start(number(1), Flags { join, expect });
        }
        "crash" => world.crash(number(1)),
        "cut" => _ = world.cut.insert((number(1), number(2))),
        "heal" => world.cut.clear(),
        "run" => {
            world.run(number(1) * 1_000_000);
            for line in world.told.drain(..) {
                writeln!(printed, "  {line}").expect("a string takes everything");
            }
        }
        "show" => {
            for id in world.nodes.keys().copied().collect::<Vec<_>>() {
                writeln!(printed, "  {}", show(world, id)).expect("a string takes everything");
            }
        }
        _ => panic!("no such command: {line}"),
    }
    printed
}

fn show(world: &World, id: u64) -> String {
    let node = &world.nodes[&id];
    let cluster = match node.cluster() {
        Some(cluster) => format!("in the cluster of node {}", cluster.0 >> 64),
        None => "without a cluster".to_owned(),
    };
    let pledge = match node.stored.pledge {
        Some(pledge) => format!(", pledged to {} ({})", pledge.to.0, pledge.attempt),
        None => String::new(),
    };
    let waiting = world.waiting(id).map(|text| format!(": {text}"));
    let down = if node.is_up() { "" } else { ", down" };
    format!(
        "node {id} {cluster}{pledge}{down}{}",
        waiting.unwrap_or_default()
    )
}

#[test]
fn every_script_goes_as_it_is_written() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/forming");
    script::every_file_goes_as_written(directory, || {
        let mut world = World::new(1);
        move |line: &str| run(&mut world, line)
    });
}
