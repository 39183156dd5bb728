//! Holds what DESIGN says of the source itself: who may use whom, what the pure parts must not touch, how long
//! a file may be, that no file is dead and no command undocumented. Reads the sources as text.

mod source;

use std::path::Path;

use ringfort::commands::{registry, Run};
use source::{Source, Tree};

/// Which rooms a room may use (DESIGN 3). `cluster` is the crate `ringfort_cluster`; `main` may use all.
/// Tests may reach further: what they build to look at is no dependency of the product.
const EDGES: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("store", &[]),
    ("settings", &[]),
    ("commands", &["protocol", "settings", "store"]),
    ("durability", &["cluster", "settings"]),
    (
        "node",
        &[
            "cluster",
            "commands",
            "durability",
            "protocol",
            "settings",
            "store",
        ],
    ),
    ("server", &["cluster", "node", "protocol", "settings"]),
    ("admin", &["node", "settings"]),
    ("cli", &["admin", "settings"]),
];

/// Reads the world, which a sans-IO crate does not.
const WORLD: &[&str] = &[
    "std::net",
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "Instant::now",
    "SystemTime",
    "RandomState",
    "rand::",
    "getrandom",
    "quanta",
    "tokio",
];

/// Reads a clock or draws by chance, which the store does not (invariant 2).
const CLOCK_AND_CHANCE: &[&str] = &[
    "Instant",
    "SystemTime",
    "quanta",
    "chrono",
    "rand::",
    "getrandom",
    "RandomState",
    "std::net",
    "std::fs",
    "std::thread",
    "tokio",
];

/// Uses of a forbidden word that are sound, each with its reason.
const ALLOWED: &[(&str, &str, &str)] = &[(
    "src/store/member_table.rs",
    "RandomState",
    "keys the hash against crafted members; nothing that leaves the table depends on the hash",
)];

const LINES_MAX: usize = 700;
/// Longer files, each with its reason.
const LONG: &[(&str, &str)] = &[];

/// Left undone, in any spelling. Put together so that this file does not hold them itself.
fn unfinished() -> Vec<String> {
    [
        ["to", "do!("],
        ["unimple", "mented!("],
        ["#[ign", "ore"],
        ["FIX", "ME"],
        ["TO", "DO"],
    ]
    .map(|parts| parts.concat())
    .to_vec()
}

fn assert_none(complaints: Vec<String>, rule: &str) {
    assert!(
        complaints.is_empty(),
        "{rule}:\n  {}",
        complaints.join("\n  ")
    );
}

#[test]
fn rooms_use_only_the_rooms_that_they_may() {
    let mut complaints = Vec::new();
    for source in Tree::read().sources.iter().filter(|source| !source.is_test) {
        let Some(room) = source.room() else { continue };
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == room) else {
            complaints.push(format!(
                "{}: the room {room} is not in DESIGN 3",
                source.path
            ));
            continue;
        };
        for (line, used) in source.rooms_used() {
            if used != room && is_room(&used) && !allowed.contains(&used.as_str()) {
                complaints.push(format!(
                    "{}:{line}: {room} must not use {used}",
                    source.path
                ));
            }
        }
    }
    assert_none(complaints, "the dependency edges of DESIGN 3");
}

fn is_room(name: &str) -> bool {
    name == "cluster" || EDGES.iter().any(|(room, _)| *room == name)
}

#[test]
fn the_cluster_crate_touches_nothing_of_the_world() {
    assert_without(|source| source.path.starts_with("cluster/src/"), WORLD);
}

#[test]
fn the_store_reads_no_clock_and_no_chance() {
    assert_without(
        |source| source.path.starts_with("src/store/"),
        CLOCK_AND_CHANCE,
    );
}

#[test]
fn the_cluster_crate_does_not_know_the_server() {
    assert_without(
        |source| source.path.starts_with("cluster/src/"),
        &["ringfort::"],
    );
}

#[test]
fn the_server_knows_nothing_of_the_simulator_s_engine() {
    // It opens ways past checks, for deliberate bugs.
    assert_without(
        |source| source.path.starts_with("src/"),
        &["ringfort_cluster::sim", "cluster::sim", "Mistake"],
    );
}

fn assert_without(concerned: fn(&Source) -> bool, words: &[&str]) {
    let mut complaints = Vec::new();
    for source in Tree::read()
        .sources
        .iter()
        .filter(|source| !source.is_test && concerned(source))
    {
        for (number, line) in source.product_lines() {
            for word in words {
                let allowed = ALLOWED
                    .iter()
                    .any(|(path, held, _)| *path == source.path && held == word);
                if line.contains(word) && !allowed {
                    complaints.push(format!("{}:{number}: {word}", source.path));
                }
            }
        }
    }
    assert_none(complaints, "time, chance and input come in as arguments");
}

#[test]
fn no_file_grows_without_end() {
    let tree = Tree::read();
    let long = |source: &&Source| source.text.lines().count() > LINES_MAX;
    let complaints = tree
        .sources
        .iter()
        .filter(long)
        .filter(|source| !LONG.iter().any(|(path, _)| *path == source.path));
    let complaints =
        complaints.map(|source| format!("{}: {} lines", source.path, source.text.lines().count()));
    assert_none(
        complaints.collect(),
        &format!("files of at most {LINES_MAX} lines"),
    );
    for (path, reason) in LONG {
        let source = tree.sources.iter().find(|source| source.path == *path);
        let still = source.as_ref().is_some_and(long);
        assert!(
            still,
            "{path} need not be listed as long any more ({reason})"
        );
    }
}

#[test]
fn every_file_opens_with_its_job() {
    let tree = Tree::read();
    let silent = tree
        .sources
        .iter()
        .filter(|source| !source.text.starts_with("//!"));
    let silent: Vec<String> = silent.map(|source| source.path.clone()).collect();
    assert_none(silent, "each file opens with //!, its job and its boundary");
}

#[test]
fn nothing_is_left_undone() {
    let mut complaints = Vec::new();
    for source in Tree::read().sources {
        for (number, line) in source.text.lines().enumerate() {
            for word in unfinished() {
                if line.contains(&word) {
                    complaints.push(format!("{}:{}: {word}", source.path, number + 1));
                }
            }
        }
    }
    assert_none(complaints, "no stubs, no ignored tests");
}

#[test]
fn no_file_is_dead() {
    let tree = Tree::read();
    let mut dead = tree.unreachable.clone();
    for path in source::files(Path::new(""), "resp") {
        if !path.starts_with("tests/conformance/") {
            dead.push(format!("{path}: not where the conformance runner looks"));
        }
    }
    assert_none(
        dead,
        "every source file belongs to a module tree, every .resp to the conformance test",
    );
}

#[test]
fn every_command_is_documented() {
    let mut complaints = Vec::new();
    for registered in &registry().by_id {
        let command = registered.command;
        let mut complain =
            |what: &str| complaints.push(format!("{}: {what}", registered.full_name));
        if command.name.is_empty() || command.name != command.name.to_ascii_uppercase() {
            complain("the name is not in capitals");
        }
        if command.summary.is_empty() {
            complain("no summary");
        } else if !command.summary.ends_with('.') {
            complain("the summary is no sentence");
        }
        let numbers: Vec<_> = command.since.split('.').map(str::parse::<u32>).collect();
        if numbers.len() != 3 || numbers.iter().any(Result::is_err) {
            complain("`since` is no version");
        }
        if command.complexity.is_empty() {
            complain("no complexity");
        }
        if matches!(command.run, Run::Container) && command.subcommands.is_empty() {
            complain("neither runs nor has subcommands");
        }
    }
    assert_none(complaints, "each command is declared in full");
}
