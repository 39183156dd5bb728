//! The log and the snapshots on a disk that fails in every way it can: random work, stopped at random calls, restarted,
//! compared with a model. Runs for `RINGFORT_FUZZ_SECONDS` (3 unless set) from `RINGFORT_FUZZ_SEED` on (a seed that
//! changes with the time unless set), and prints the seed and the command that repeats a failure.

mod allocations;
mod bytes;
mod damage;
mod log_run;
mod model;
mod random;
mod snapshot_run;

use std::panic::{catch_unwind, resume_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number"))
    })
}

/// Runs `scenario` with one seed after another until the time is over; at least `at_least` of them.
fn fuzz(test: &str, at_least: u64, scenario: fn(u64)) {
    let fixed = number("RINGFORT_FUZZ_SEED");
    let seconds = number("RINGFORT_FUZZ_SECONDS").unwrap_or(3);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_nanos() as u64);
    let first = fixed.unwrap_or(now % 1_000_000_000);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut seed = first;
    while seed - first < at_least || Instant::now() < until {
        if let Err(panic) = catch_unwind(|| scenario(seed)) {
            eprintln!("seed {seed} failed; to repeat: RINGFORT_FUZZ_SEED={seed} cargo test --test fuzz_durability {test}");
            resume_unwind(panic);
        }
        seed += 1;
    }
    println!("{test}: {} seeds from {first} on", seed - first);
}

#[test]
fn the_log_survives_crashes_and_power_cuts_at_any_call() {
    fuzz("the_log_survives", 20, log_run::run);
}

#[test]
fn damage_is_named_and_never_read_as_data() {
    fuzz("damage_is_named", 8, damage::run);
}

#[test]
fn a_snapshot_is_whole_or_not_there() {
    fuzz("a_snapshot_is_whole", 20, snapshot_run::run);
}
