//! Runs many seeds on all cores and sums up. Each seed runs on one thread alone, so threads change nothing of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::plan::{Bug, Fault};
use crate::simulation::{run, Report};

/// Failures after which a campaign ends: more of them say little more.
const FAILURES_MAX: usize = 20;

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What the last panic of this thread said.
pub fn last_panic() -> String {
    LAST_PANIC.with(|last| last.borrow().clone())
}

/// Has panics of runs kept as text instead of printed: with a deliberate bug they are what is wanted.
pub fn keep_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let is_run = std::thread::current().name() == Some("run");
            LAST_PANIC.with(|last| *last.borrow_mut() = format!("panic: {info}"));
            if !is_run {
                usual(info);
            }
        }));
    });
}

/// What a campaign came to.
#[derive(Default)]
pub struct Summary {
    pub seeds: u64,
    pub took: Duration,
    pub failures: Vec<(u64, String)>,
    faults: BTreeMap<Fault, u64>,
    totals: [u64; TOTALS.len()],
}

const TOTALS: [&str; 22] = [
    "events",
    "entries",
    "digests compared",
    "elections",
    "snapshots",
    "snapshots sent",
    "starts",
    "starts refused",
    "replicas begun",
    "stray messages",
    "reads under lease",
    "ms to settle",
    "messages",
    "cut off",
    "lost",
    "doubled",
    "late",
    "commands answered",
    "refused",
    "unknown",
    "histories undecided",
    "faults",
];

impl Summary {
    fn add(&mut self, report: Report) {
        self.seeds += 1;
        let (network, seen) = (report.network, report.seen);
        let faults = report.faults.iter().map(|(_, count)| count).sum();
        let numbers = [
            report.events,
            report.entries,
            report.digests,
            report.elections,
            report.snapshots,
            report.snapshots_sent,
            report.restarts,
            report.refused_starts,
            report.newcomers,
            report.strays,
            report.lease_reads,
            report.settled_us / 1000,
            network.sent,
            network.cut_off,
            network.lost,
            network.doubled,
            network.late,
            seen.ok,
            seen.failed,
            seen.unknown,
            seen.undecided,
            faults,
        ];
        for (total, number) in self.totals.iter_mut().zip(numbers) {
            *total += number;
        }
        for (kind, count) in report.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        if let Some(failure) = report.failure {
            self.failures.push((report.seed, failure));
        }
    }

    /// Of all runs together.
    pub fn total(&self, name: &str) -> u64 {
        let at = TOTALS.iter().position(|known| *known == name);
        self.totals[at.expect("a known total")]
    }

    /// How often a kind of fault came.
    pub fn faults(&self, kind: Fault) -> u64 {
        self.faults.get(&kind).copied().unwrap_or(0)
    }

    /// For people.
    pub fn print(&self) {
        let seconds = self.took.as_secs_f64();
        println!(
            "{} seeds in {seconds:.1} s: {:.1} seeds/s",
            self.seeds,
            self.seeds as f64 / seconds
        );
        for (name, total) in TOTALS.iter().zip(self.totals) {
            println!("  {name:<20} {total:>12}");
        }
        for (kind, count) in &self.faults {
            println!("  {:<20} {count:>12}", format!("{kind:?}"));
        }
        for (seed, failure) in &self.failures {
            println!("FAILED seed {seed}: {failure}");
            println!("  again: scripts/sim.sh 1 {seed}");
        }
        println!("{} failures", self.failures.len());
    }
}

/// Runs the seeds from `first` on, so many of them or until the first failure.
pub fn campaign(first: u64, seeds: u64, bug: Option<Bug>, stop_at_failure: bool) -> Summary {
    keep_panics();
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let summary = Mutex::new(Summary::default());
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let work = || {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= seeds {
                        return;
                    }
                    let report = run(first + number, bug, false);
                    let failed = report.failure.is_some();
                    let mut summary = summary.lock().expect("no run panics here");
                    summary.add(report);
                    let enough = summary.failures.len() >= FAILURES_MAX;
                    if failed && stop_at_failure || enough {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            };
            let thread = std::thread::Builder::new().name("run".into());
            thread.spawn_scoped(scope, work).expect("a thread");
        }
    });
    let mut summary = summary.into_inner().expect("no run panics here");
    summary.took = began.elapsed();
    summary.failures.sort();
    summary
}
