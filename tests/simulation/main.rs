//! The deterministic simulation of a cluster: the production code of replicas, shards, log, snapshots and recovery under
//! simulated time, network and disks, with faults, judged from outside. `README.md` says how to run it and what it found.

mod campaign;
mod clients;
mod cluster;
mod context;
mod end;
mod faults;
mod govern;
mod losses;
mod node;
mod oracle;
mod plan;
mod reads;
mod replicas;
mod simulation;
mod snapshots;
mod start;
mod worker;

use campaign::{campaign, keep_panics};
use plan::{Bug, Fault};
use simulation::run;

/// Seeds of an ordinary test run.
const SEEDS: u64 = 40;
/// Within so many seeds every deliberate bug must show.
const BUG_SEEDS_MAX: u64 = 1000;

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {value:?}")),
    )
}

/// A share of the seeds; `scripts/sim.sh` runs more of them through `RINGFORT_SIM_SEEDS` and `RINGFORT_SIM_FIRST`.
#[test]
fn no_seed_loses_an_acknowledged_write_or_shows_a_stale_one() {
    let seeds = number("RINGFORT_SIM_SEEDS").unwrap_or(SEEDS);
    let first = number("RINGFORT_SIM_FIRST").unwrap_or(1);
    if seeds == 1 {
        return tell(first);
    }
    let summary = campaign(first, seeds, None, false);
    summary.print();
    assert!(summary.failures.is_empty(), "see above");
    if seeds >= SEEDS {
        for kind in Fault::DRAWN {
            assert!(summary.faults(*kind) > 0, "{kind:?} never came");
        }
        let happens = [
            "snapshots",
            "snapshots sent",
            "starts refused",
            "unknown",
            "replicas begun",
            "reads under lease",
        ];
        for name in happens {
            assert!(summary.total(name) > 0, "{name}: none");
        }
    }
}

/// One seed, with its story.
fn tell(seed: u64) {
    keep_panics();
    println!("{:?}", plan::Plan::new(seed, None));
    let report = run(seed, None, true);
    for line in &report.story {
        println!("{line}");
    }
    println!("seed {seed}: trace {:016x}", report.trace);
    if let Some(failure) = report.failure {
        panic!("seed {seed}: {failure}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    keep_panics();
    for seed in [3, 14, 159] {
        let (one, two) = (run(seed, None, false), run(seed, None, false));
        assert_eq!(one.trace, two.trace, "seed {seed}");
        assert_eq!(one.events, two.events, "seed {seed}");
    }
    assert_ne!(run(3, None, false).trace, run(4, None, false).trace);
}

/// `scripts/sim.sh --bugs` prints what this finds.
#[test]
fn each_deliberate_bug_is_found() {
    let mut missed = Vec::new();
    // An unoptimized build runs two seeds a second: there only those that show soon.
    let only = std::env::var("RINGFORT_SIM_BUG").ok();
    let wanted = |bug: &Bug| only.as_ref().is_none_or(|only| format!("{bug:?}") == *only);
    let bugs = Bug::ALL.iter().copied().filter(wanted);
    for bug in bugs.filter(|bug| !cfg!(debug_assertions) || !bug.is_rare()) {
        let summary = campaign(1, BUG_SEEDS_MAX, Some(bug), true);
        match summary.failures.first() {
            Some((seed, failure)) => {
                let what = failure.lines().next().unwrap_or_default();
                println!(
                    "found {bug:?} after {} seeds, at {seed}: {what}",
                    summary.seeds
                );
            }
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
