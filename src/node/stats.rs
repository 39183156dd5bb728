//! Counters of a node. Each worker writes its own, without locks; anybody reads and adds them up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::commands::histogram::{bucket_of, Histogram, BUCKETS};
use crate::commands::report::{CommandUse, DatabaseSize, Rates, Totals, WorkerReport};

use super::write_times::{RecentWrites, WriteTimes};

/// Kinds of error that are told apart; further ones count as [`OTHER_ERRORS`].
pub const ERROR_KINDS_MAX: usize = 128;

/// The kind that errors beyond [`ERROR_KINDS_MAX`] count as.
pub const OTHER_ERRORS: &str = "OTHER";

/// A number that one thread writes and any thread reads.
///
/// With a single writer, load and store do what `fetch_add` does, without locking the bus.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub fn add(&self, count: u64) {
        self.set(self.get().wrapping_add(count));
    }

    /// Counts down (gauges such as connected clients).
    #[inline]
    pub fn sub(&self, count: u64) {
        self.set(self.get().wrapping_sub(count));
    }

    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one worker. Only that worker calls the methods that change them.
#[derive(Debug)]
pub struct WorkerStats {
    pub connections_received: Counter,
    pub connections_rejected: Counter,
    /// Of clients: what the node itself puts into its log is not counted.
    pub commands_processed: Counter,
    pub input_bytes: Counter,
    pub output_bytes: Counter,
    pub reads: Counter,
    pub writes: Counter,
    pub turns: Counter,
    /// Time spent at the ends of turns that had work: writing the log, applying, answering.
    pub turn_ns: Counter,
    pub error_replies: Counter,
    pub keyspace_hits: Counter,
    pub keyspace_misses: Counter,
    pub expired_keys: Counter,
    pub evicted_keys: Counter,
    pub auth_denied: Counter,
    /// Commands handed to another worker.
    pub forwarded: Counter,
    pub log_appended_bytes: Counter,
    pub log_syncs: Counter,
    pub entries_applied: Counter,
    pub changes: Counter,
    pub snapshots_taken: Counter,
    pub snapshots_failed: Counter,

    /// Gauges.
    pub connected_clients: Counter,
    pub shards: Counter,
    /// Shards that this worker's replicas lead, those in which they vote, and those in which they do not yet.
    pub shards_led: Counter,
    pub shards_voting: Counter,
    pub shards_learning: Counter,
    /// Bytes of all keyspaces.
    pub memory_bytes: Counter,
    /// Bytes of disk that the next snapshots of this worker's shards need.
    pub snapshot_need_bytes: Counter,
    /// The first worker counts the logs of earlier generations too.
    pub log_bytes: Counter,
    pub log_segments: Counter,
    /// 1 while written records wait for their sync.
    pub log_syncs_pending: Counter,

    /// Of writes asked here.
    pub write_times: WriteTimes,

    commands: Box<[CommandCounters]>,
    errors: Mutex<BTreeMap<String, u64>>,
    databases: Mutex<Vec<DatabaseSize>>,
}

#[derive(Debug, Default)]
struct CommandCounters {
    is_internal: bool,
    calls: Counter,
    nanoseconds: Counter,
    rejected: Counter,
    failed: Counter,
    /// Made at the first call: most commands are never called.
    latency: OnceLock<Box<[Counter]>>,
}

impl WorkerStats {
    /// `internal`: by command id, whether no client calls it.
    pub fn new(internal: impl IntoIterator<Item = bool>) -> Arc<Self> {
        let counter = Counter::default;
        let of_command = |is_internal| CommandCounters {
            is_internal,
            ..CommandCounters::default()
        };
        Arc::new(Self {
            connections_received: counter(),
            connections_rejected: counter(),
            commands_processed: counter(),
            input_bytes: counter(),
            output_bytes: counter(),
            reads: counter(),
            writes: counter(),
            turns: counter(),
            turn_ns: counter(),
            error_replies: counter(),
            keyspace_hits: counter(),
            keyspace_misses: counter(),
            expired_keys: counter(),
            evicted_keys: counter(),
            auth_denied: counter(),
            forwarded: counter(),
            log_appended_bytes: counter(),
            log_syncs: counter(),
            entries_applied: counter(),
            changes: counter(),
            snapshots_taken: counter(),
            snapshots_failed: counter(),
            connected_clients: counter(),
            shards: counter(),
            shards_led: counter(),
            shards_voting: counter(),
            shards_learning: counter(),
            memory_bytes: counter(),
            snapshot_need_bytes: counter(),
            log_bytes: counter(),
            log_segments: counter(),
            log_syncs_pending: counter(),
            write_times: WriteTimes::default(),
            commands: internal.into_iter().map(of_command).collect(),
            errors: Mutex::default(),
            databases: Mutex::default(),
        })
    }

    /// A command ran `calls` times and took this long in all: for runs too short to be timed one by one.
    #[inline]
    pub fn called_often(&self, command: usize, calls: u64, nanoseconds: u64) {
        let counters = &self.commands[command];
        counters.calls.add(calls);
        counters.nanoseconds.add(nanoseconds);
        let latency = counters.latency.get_or_init(no_latencies);
        latency[bucket_of(nanoseconds / calls.max(1))].add(calls);
        if !counters.is_internal {
            self.commands_processed.add(calls);
        }
    }

    /// A command was refused before it ran (arity, NOAUTH, OOM).
    pub fn rejected(&self, command: usize) {
        self.commands[command].rejected.add(1);
    }

    /// A command ran and answered with an error.
    pub fn failed(&self, command: usize) {
        self.commands[command].failed.add(1);
    }

    /// An error reply went out; `text` begins with its kind.
    pub fn error_reply(&self, text: &[u8]) {
        self.error_replies.add(1);
        let kind = text
            .split(|b| *b == b' ')
            .next()
            .map(String::from_utf8_lossy)
            .unwrap_or_default();
        let mut errors = lock(&self.errors);
        if let Some(count) = errors.get_mut(kind.as_ref()) {
            *count += 1;
        } else if errors.len() < ERROR_KINDS_MAX {
            errors.insert(kind.into_owned(), 1);
        } else {
            *errors.entry(OTHER_ERRORS.to_string()).or_default() += 1;
        }
    }

    /// What the databases of this worker's shards hold; call about once a second.
    pub fn publish_databases(&self, databases: Vec<DatabaseSize>) {
        *lock(&self.databases) = databases;
    }

    fn report(&self) -> WorkerReport {
        WorkerReport {
            shards: self.shards.get(),
            shards_led: self.shards_led.get(),
            shards_voting: self.shards_voting.get(),
            shards_learning: self.shards_learning.get(),
            connected_clients: self.connected_clients.get(),
            commands_processed: self.commands_processed.get(),
            turns: self.turns.get(),
            busy_us: self.turn_ns.get() / 1_000,
            memory_bytes: self.memory_bytes.get(),
            forwarded: self.forwarded.get(),
            log_bytes: self.log_bytes.get(),
            log_syncs: self.log_syncs.get(),
            entries_applied: self.entries_applied.get(),
        }
    }
}

fn no_latencies() -> Box<[Counter]> {
    (0..BUCKETS).map(|_| Counter::default()).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The counters of all workers together, since the start or the last reset.
pub struct NodeStats {
    workers: Vec<Arc<WorkerStats>>,
    /// Name of each command id.
    names: Vec<String>,
    /// The sums at the last reset. Workers' counters themselves never go back: they have one writer.
    baseline: Mutex<Sums>,
    rates: Mutex<RateMeter>,
    writes: Mutex<RecentWrites>,
    /// As last measured.
    write_p99_us: AtomicU64,
}

#[derive(Clone, Debug, Default)]
struct Sums {
    totals: Totals,
    commands: Vec<CommandUse>,
    errors: BTreeMap<String, u64>,
}

impl NodeStats {
    /// `names` by command id.
    pub fn new(workers: Vec<Arc<WorkerStats>>, names: Vec<String>) -> Self {
        Self {
            workers,
            names,
            baseline: Mutex::default(),
            rates: Mutex::default(),
            writes: Mutex::default(),
            write_p99_us: AtomicU64::new(0),
        }
    }

    pub fn workers(&self) -> &[Arc<WorkerStats>] {
        &self.workers
    }

    /// One figure, added up over the workers: `stats.sum(|worker| &worker.log_bytes)`.
    pub fn sum(&self, figure: impl Fn(&WorkerStats) -> &Counter) -> u64 {
        self.workers.iter().map(|worker| figure(worker).get()).sum()
    }

    /// The largest value that any worker has.
    pub fn max(&self, figure: impl Fn(&WorkerStats) -> &Counter) -> u64 {
        self.workers
            .iter()
            .map(|worker| figure(worker).get())
            .max()
            .unwrap_or(0)
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        let mut baseline = lock(&self.baseline);
        *baseline = Sums {
            totals: self.raw_totals(),
            commands: self.raw_commands(),
            errors: self.raw_errors(),
        };
        *lock(&self.rates) = RateMeter::default();
    }

    pub fn totals(&self) -> Totals {
        // The baseline first: what is read later is never behind it.
        let baseline = lock(&self.baseline);
        since(&self.raw_totals(), &baseline.totals)
    }

    /// Commands that were called, rejected or failed, in the order of their ids.
    pub fn commands(&self) -> Vec<CommandUse> {
        let baseline = lock(&self.baseline);
        let none = CommandUse::default();
        self.raw_commands()
            .into_iter()
            .enumerate()
            .map(|(id, now)| {
                let then = baseline.commands.get(id).unwrap_or(&none);
                CommandUse {
                    calls: now.calls.saturating_sub(then.calls),
                    nanoseconds: now.nanoseconds.saturating_sub(then.nanoseconds),
                    rejected: now.rejected.saturating_sub(then.rejected),
                    failed: now.failed.saturating_sub(then.failed),
                    latency: now.latency.since(&then.latency),
                    name: now.name,
                }
            })
            .filter(|used| used.calls + used.rejected + used.failed > 0)
            .collect()
    }

    /// Error replies by kind.
    pub fn errors(&self) -> Vec<(String, u64)> {
        let baseline = lock(&self.baseline);
        self.raw_errors()
            .into_iter()
            .map(|(kind, now)| {
                let then = baseline.errors.get(&kind).copied().unwrap_or(0);
                (kind, now.saturating_sub(then))
            })
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// The databases that hold keys, as the workers last published them.
    pub fn databases(&self) -> Vec<DatabaseSize> {
        let mut sums: BTreeMap<u32, DatabaseSize> = BTreeMap::new();
        for worker in &self.workers {
            for part in lock(&worker.databases).iter().filter(|db| db.keys > 0) {
                let sum = sums.entry(part.number).or_insert(DatabaseSize {
                    number: part.number,
                    ..DatabaseSize::default()
                });
                let expires = sum.expires + part.expires;
                // A mean of means, weighted by how many keys each stands for.
                sum.ttl_ms_mean = (sum.ttl_ms_mean * sum.expires + part.ttl_ms_mean * part.expires)
                    .checked_div(expires)
                    .unwrap_or(0);
                sum.expires = expires;
                sum.keys += part.keys;
            }
        }
        sums.into_values().collect()
    }

    pub fn worker_reports(&self) -> Vec<WorkerReport> {
        self.workers.iter().map(|worker| worker.report()).collect()
    }

    /// Takes a sample for [`NodeStats::rates`]; call about every 100 ms.
    pub fn sample_rates(&self, now_us: u64) {
        let totals = self.raw_totals();
        lock(&self.rates).sample(now_us, &totals);
    }

    /// Measures [`NodeStats::write_p99_us`] anew; call about once a second.
    pub fn measure_writes(&self) -> u64 {
        let mut all = Histogram::default();
        for worker in &self.workers {
            all.add(&worker.write_times.histogram());
        }
        let p99_us = lock(&self.writes).p99_us(all);
        self.write_p99_us.store(p99_us, Ordering::Relaxed);
        p99_us
    }

    /// The time that 99 of 100 writes of the last seconds did not exceed, in microseconds; 0 when there were none.
    pub fn write_p99_us(&self) -> u64 {
        self.write_p99_us.load(Ordering::Relaxed)
    }

    pub fn rates(&self) -> Rates {
        lock(&self.rates).rates()
    }

    fn raw_totals(&self) -> Totals {
        Totals {
            connections_received: self.sum(|w| &w.connections_received),
            connections_rejected: self.sum(|w| &w.connections_rejected),
            commands_processed: self.sum(|w| &w.commands_processed),
            input_bytes: self.sum(|w| &w.input_bytes),
            output_bytes: self.sum(|w| &w.output_bytes),
            reads: self.sum(|w| &w.reads),
            writes: self.sum(|w| &w.writes),
            turns: self.sum(|w| &w.turns),
            turn_us: self.sum(|w| &w.turn_ns) / 1_000,
            error_replies: self.sum(|w| &w.error_replies),
            keyspace_hits: self.sum(|w| &w.keyspace_hits),
            keyspace_misses: self.sum(|w| &w.keyspace_misses),
            expired_keys: self.sum(|w| &w.expired_keys),
            evicted_keys: self.sum(|w| &w.evicted_keys),
            auth_denied: self.sum(|w| &w.auth_denied),
        }
    }

    fn raw_commands(&self) -> Vec<CommandUse> {
        self.names
            .iter()
            .enumerate()
            .map(|(id, name)| {
                let mut used = CommandUse {
                    name: name.clone(),
                    ..CommandUse::default()
                };
                for worker in &self.workers {
                    let counters = &worker.commands[id];
                    used.calls += counters.calls.get();
                    used.nanoseconds += counters.nanoseconds.get();
                    used.rejected += counters.rejected.get();
                    used.failed += counters.failed.get();
                    if let Some(latency) = counters.latency.get() {
                        let counts = latency.iter().map(Counter::get).collect();
                        used.latency.add(&Histogram::from_counts(counts));
                    }
                }
                used
            })
            .collect()
    }

    fn raw_errors(&self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for worker in &self.workers {
            for (kind, count) in lock(&worker.errors).iter() {
                *sums.entry(kind.clone()).or_default() += count;
            }
        }
        sums
    }
}

fn since(now: &Totals, then: &Totals) -> Totals {
    Totals {
        connections_received: now.connections_received - then.connections_received,
        connections_rejected: now.connections_rejected - then.connections_rejected,
        commands_processed: now.commands_processed - then.commands_processed,
        input_bytes: now.input_bytes - then.input_bytes,
        output_bytes: now.output_bytes - then.output_bytes,
        reads: now.reads - then.reads,
        writes: now.writes - then.writes,
        turns: now.turns - then.turns,
        turn_us: now.turn_us - then.turn_us,
        error_replies: now.error_replies - then.error_replies,
        keyspace_hits: now.keyspace_hits - then.keyspace_hits,
        keyspace_misses: now.keyspace_misses - then.keyspace_misses,
        expired_keys: now.expired_keys - then.expired_keys,
        evicted_keys: now.evicted_keys - then.evicted_keys,
        auth_denied: now.auth_denied - then.auth_denied,
    }
}

/// Means over the last [`RATE_SAMPLES`] samples.
#[derive(Debug, Default)]
struct RateMeter {
    /// Time and totals, the oldest first.
    samples: std::collections::VecDeque<(u64, Totals)>,
}

/// As many as Redis takes the mean of.
const RATE_SAMPLES: usize = 16;

impl RateMeter {
    fn sample(&mut self, now_us: u64, totals: &Totals) {
        if self.samples.len() > RATE_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((now_us, *totals));
    }

    fn rates(&self) -> Rates {
        let (Some((from, first)), Some((to, last))) = (self.samples.front(), self.samples.back())
        else {
            return Rates::default();
        };
        let elapsed_us = to.saturating_sub(*from);
        let per_second = |now: u64, then: u64| {
            (u128::from(now.saturating_sub(then)) * 1_000_000)
                .checked_div(u128::from(elapsed_us))
                .unwrap_or(0) as u64
        };
        Rates {
            commands_per_second: per_second(last.commands_processed, first.commands_processed),
            input_bytes_per_second: per_second(last.input_bytes, first.input_bytes),
            output_bytes_per_second: per_second(last.output_bytes, first.output_bytes),
            turns_per_second: per_second(last.turns, first.turns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeStats {
        let workers = (0..2).map(|_| WorkerStats::new([false, false, true]));
        let names = ["get", "set", "rf.sweep"];
        NodeStats::new(workers.collect(), names.map(String::from).to_vec())
    }

    #[test]
    fn figures_of_all_workers_add_up() {
        let node = node();
        node.workers()[0].called_often(0, 1, 5_000);
        node.workers()[1].called_often(0, 10, 20_000);
        node.workers()[1].failed(0);
        let commands = node.commands();
        assert_eq!(commands.len(), 1, "set was not used");
        let get = &commands[0];
        assert_eq!((get.name.as_str(), get.calls, get.failed), ("get", 11, 1));
        assert_eq!(get.microseconds(), 25);
        assert_eq!(get.latency.count(), 11);
        assert_eq!(node.totals().commands_processed, 11);
    }

    #[test]
    fn what_a_node_does_for_itself_is_no_command_of_clients() {
        let node = node();
        for tick in 0..10u64 {
            node.sample_rates(tick * 100_000);
            node.workers()[0].called_often(2, 100, 0);
            node.workers()[1].called_often(1, 1, 5_000);
        }
        assert_eq!(node.totals().commands_processed, 10);
        assert_eq!(node.rates().commands_per_second, 10);
        let calls: Vec<u64> = node.commands().iter().map(|used| used.calls).collect();
        assert_eq!(calls, [10, 1_000], "each is told by its name");
    }

    #[test]
    fn a_reset_lets_counters_begin_anew() {
        let node = node();
        let worker = &node.workers()[0];
        worker.called_often(0, 1, 5_000);
        worker.rejected(1);
        worker.error_reply(b"ERR no");
        worker.connected_clients.add(3);
        node.reset();
        assert!(node.commands().is_empty());
        assert!(node.errors().is_empty());
        assert_eq!(node.totals(), Totals::default());
        assert_eq!(node.sum(|w| &w.connected_clients), 3, "gauges stay");
        worker.called_often(1, 1, 1_000);
        assert_eq!(node.commands()[0].name, "set");
        assert_eq!(node.commands()[0].latency.count(), 1);
    }

    #[test]
    fn errors_count_by_their_first_word_and_are_bounded() {
        let node = node();
        node.workers()[0].error_reply(b"ERR no");
        node.workers()[1].error_reply(b"ERR other");
        node.workers()[1].error_reply(b"WRONGTYPE x");
        let expected = [("ERR".to_string(), 2), ("WRONGTYPE".to_string(), 1)];
        assert_eq!(node.errors(), expected);
        for n in 0..1_000 {
            node.workers()[0].error_reply(format!("E{n} x").as_bytes());
        }
        assert!(node.errors().len() <= ERROR_KINDS_MAX + 2);
        assert_eq!(node.totals().error_replies, 1_003);
    }

    #[test]
    fn databases_add_up_and_their_time_to_live_is_a_weighted_mean() {
        let node = node();
        let part = |keys, expires, ttl_ms_mean| {
            vec![DatabaseSize {
                number: 3,
                keys,
                expires,
                ttl_ms_mean,
            }]
        };
        node.workers()[0].publish_databases(part(10, 1, 1_000));
        node.workers()[1].publish_databases(part(5, 3, 2_000));
        let sum = node.databases()[0];
        assert_eq!((sum.keys, sum.expires, sum.ttl_ms_mean), (15, 4, 1_750));
        node.workers()[0].publish_databases(part(0, 0, 0));
        node.workers()[1].publish_databases(part(0, 0, 0));
        assert!(node.databases().is_empty());
    }

    #[test]
    fn rates_are_means_over_the_last_samples() {
        let node = node();
        assert_eq!(node.rates().commands_per_second, 0);
        for tick in 0..40u64 {
            node.sample_rates(tick * 100_000);
            node.workers()[0].called_often(0, 50, 0);
            node.workers()[0].input_bytes.add(1_000);
        }
        let rates = node.rates();
        assert_eq!(rates.commands_per_second, 500);
        assert_eq!(rates.input_bytes_per_second, 10_000);
    }
}
