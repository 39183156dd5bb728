//! Runs the conformance files beside this one against a server, and checks that they name every command.
//! `README.md` describes the files and how to run them.

mod client;
mod expect;
#[path = "../support/ports.rs"]
mod ports;
mod reply;
mod run;
mod script;
mod server;
mod tokens;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use ringfort::commands::{registry, Flags};

/// Commands that no file can hold, each with its reason.
const NOT_COVERED: &[(&str, &str)] = &[("shutdown", "ends the server that all files share")];

/// Every conformance file, by path.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance"),
        &mut files,
    );
    files.sort();
    files
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(dir).expect("the conformance directory is readable");
    for path in entries.map(|entry| entry.expect("a directory entry").path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "resp")
        {
            files.push(path);
        }
    }
}

fn parse(path: &Path) -> script::Script {
    let text = std::fs::read_to_string(path).expect("a conformance file is UTF-8 text");
    let name = path
        .strip_prefix(env!("CARGO_MANIFEST_DIR"))
        .unwrap_or(path);
    script::Script::parse(&name.display().to_string(), &text)
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_file_gives_the_expected_replies() {
    let server = server::Server::start();
    let wanted = std::env::var("RINGFORT_CONFORMANCE_FILES").unwrap_or_default();
    let mut mismatches = 0;
    let mut checked = 0;
    for path in files() {
        let script = parse(&path);
        if !script.name.contains(&wanted) {
            continue;
        }
        let outcome = run::run(&script, &server);
        checked += outcome.steps;
        for mismatch in &outcome.mismatches {
            println!("{mismatch}\n");
        }
        mismatches += outcome.mismatches.len();
    }
    println!("{checked} steps on {} checked", server.describe());
    assert!(
        mismatches == 0,
        "{mismatches} replies differ from the conformance files"
    );
    assert!(checked > 0, "no conformance file matches {wanted:?}");
}

#[test]
fn every_command_occurs_in_a_file() {
    let called: HashSet<String> = files()
        .iter()
        .flat_map(|path| parse(path).calls())
        .collect();
    let mut missing = Vec::new();
    for registered in &registry().by_id {
        let name = registered.full_name.as_str();
        let exempt = NOT_COVERED.iter().any(|(exempt, _)| *exempt == name);
        let is_container = !registered.subcommands.is_empty();
        if !exempt
            && !is_container
            && !registered.command.flags.has(Flags::INTERNAL)
            && !called.contains(name)
        {
            missing.push(name);
        }
    }
    assert!(
        missing.is_empty(),
        "no file under tests/conformance calls: {}",
        missing.join(", ")
    );
}
