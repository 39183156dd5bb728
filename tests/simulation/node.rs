//! One simulated node: a disk that outlives its processes, and the process of the moment, started by the production
//! recovery code.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use ringfort::durability::snapshot::find_snapshots;
use ringfort::durability::wal::{RecordPosition, Recovered};
use ringfort::durability::{
    lock_directory, recover, DiskLock, DiskWorker, LastStop, Marker, RecoverOptions, SharedDisk,
    SimDisk, Wal, WalOptions,
};
use ringfort::node::recovery::{read_snapshot, restored};
use ringfort::node::replay::Replay;
use ringfort::node::shard::Shard;
use ringfort::node::StartError;
use ringfort::store::Timestamp;
use ringfort_cluster::replica::Membership;
use ringfort_cluster::sim::{Clock, Micros};
use ringfort_cluster::{
    Config, HardState, Index, Monotonic, NodeId, Replica, ReplicaId, Restored, ShardId, Term,
};

use crate::context::{empty_databases, Context, DATABASES};
use crate::plan::{Bug, NODES};
use crate::snapshots::{spare_replica, SNAPSHOTS};
use crate::worker::{Home, Place, Worker};

const DIR: &str = "/data";
const LOGS: &str = "/data/wal";
const ELECTION_TICKS: usize = 10;

/// A process.
pub struct Process {
    pub workers: Vec<Worker>,
    marker: Marker,
    _lock: DiskLock,
}

/// A node.
pub struct Node {
    pub number: usize,
    pub sim: SimDisk,
    disk: SharedDisk,
    pub clock: Clock,
    /// Counts processes.
    pub life: u64,
    /// Counts boots of the machine.
    boot: u64,
    pub process: Option<Process>,
    pub paused_until: Micros,
    pub slowness_us: u64,
    /// A bit of its disk was turned over and not found yet.
    pub is_damaged: bool,
    /// It refuses to start, and rightly so.
    pub is_gone: bool,
    /// The capacity of its disk is bounded at the moment.
    pub is_full: bool,
    /// Where the last life's logs ended.
    last_records: Vec<(usize, RecordPosition)>,
}

/// Why a node did not start.
pub enum NoStart {
    /// The disk failed or is full, or the process was meant to die: it tries again.
    Disk,
    /// It refuses, with its words to the operator.
    Refused(String),
    Violation(String),
}

impl Node {
    pub fn new(number: usize, context: &mut Context) -> Self {
        let sim = SimDisk::new(context.rng.next_u64());
        let drift = context.rng.between(0, 400) as i64 - 200;
        Self {
            number,
            disk: Arc::new(sim.clone()),
            sim,
            clock: Clock::new(drift, 1_700_000_000_000_000 + context.rng.below(50_000_000)),
            life: 0,
            boot: 0,
            process: None,
            paused_until: 0,
            slowness_us: 0,
            is_damaged: false,
            is_gone: false,
            is_full: false,
            last_records: Vec::new(),
        }
    }

    pub fn id(&self) -> ReplicaId {
        ReplicaId(self.number as u64 + 1)
    }

    pub fn now(&self, context: &Context) -> Timestamp {
        Timestamp(self.clock.wall_ms(context.now()))
    }

    pub fn monotonic(&self, context: &Context) -> Monotonic {
        Monotonic(self.clock.monotonic_us(context.now()))
    }

    /// The process is gone; with `power` the machine too.
    pub fn crash(&mut self, power: bool) {
        if let Some(process) = self.process.take() {
            let ends = process.workers.iter();
            self.last_records = ends
                .filter_map(|worker| worker.last_record.map(|at| (worker.number, at)))
                .collect();
        }
        self.life += 1;
        if power {
            self.boot += 1;
            self.sim.power_cut();
        } else {
            self.sim.process_crash();
        }
    }

    /// Ends the process in order.
    pub fn stop(&mut self) {
        let Some(process) = self.process.take() else {
            return;
        };
        let Process {
            workers, marker, ..
        } = process;
        let mut closed = true;
        for worker in workers {
            closed &= worker.wal.close().is_ok();
        }
        if closed {
            let marker = Marker {
                clean: true,
                ..marker
            };
            // A marker that could not be written leaves the one of a crash, which is as good.
            let _ = marker.write(&self.disk, Path::new(DIR));
        }
        self.last_records.clear();
        self.life += 1;
        self.sim.process_crash();
    }

    /// Gives the node an empty disk.
    pub fn wipe(&mut self, context: &mut Context) {
        self.sim = SimDisk::new(context.rng.next_u64());
        self.disk = Arc::new(self.sim.clone());
    }

    /// Turns a bit over where damage cannot be taken for a torn end: before the last record of a log, or in a snapshot.
    pub fn flip(&mut self, context: &mut Context) -> bool {
        let mut places: Vec<(PathBuf, u64)> = Vec::new();
        for (dir, is_log) in [(LOGS, true), (SNAPSHOTS, false)] {
            for name in self.disk.list(Path::new(dir)).unwrap_or_default() {
                let path = Path::new(dir).join(&name);
                let len = self.disk.open(&path).and_then(|file| file.len());
                let len = match is_log {
                    true => self.settled(&name).min(len.unwrap_or(0)),
                    false => len.unwrap_or(0),
                };
                if len > 0 {
                    places.push((path, len));
                }
            }
        }
        if places.is_empty() {
            return false;
        }
        let (path, len) = &places[context.rng.index(places.len())];
        // Logs are mostly empty towards their end.
        let bit = context.rng.below(len * 8);
        let node = self.number;
        context.tell(|| format!("node {node}: bit {bit} of {} turns over", path.display()));
        self.is_damaged = self.sim.flip_bit(path, bit);
        self.is_damaged
    }

    /// How much of a segment lies before the last record of its log.
    fn settled(&self, name: &str) -> u64 {
        let mut parts = name.trim_end_matches(".log").split('-').skip(1);
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok());
        let (Some(worker), Some(sequence)) = (number(), number()) else {
            return 0;
        };
        let last = self.last_records.iter();
        let last = last.clone().find(|(of, _)| *of as u64 == worker);
        match last {
            Some((_, at)) if sequence < at.sequence => u64::MAX,
            Some((_, at)) if sequence == at.sequence => at.offset,
            _ => 0,
        }
    }

    /// Starts a process on what the disk holds.
    pub fn start(&mut self, context: &mut Context) -> Result<(), NoStart> {
        let started = self.load(context);
        match started {
            Ok(process) => {
                self.is_damaged = false;
                self.process = Some(process);
                Ok(())
            }
            Err(NoStart::Refused(_)) if self.sim.is_stopped() || self.is_full => Err(NoStart::Disk),
            Err(refusal) => Err(refusal),
        }
    }

    fn load(&mut self, context: &mut Context) -> Result<Process, NoStart> {
        let refused = |error: &dyn std::fmt::Display| NoStart::Refused(error.to_string());
        let dir = Path::new(DIR);
        let lock = lock_directory(&self.disk, dir).map_err(|error| refused(&error))?;
        let last = Marker::read(&self.disk, dir).map_err(|error| refused(&error))?;
        let boot = format!("boot {}", self.boot);
        let hash_seed = context.plan.seed ^ self.number as u64;
        let workers = 1 + context.rng.index(context.plan.workers);
        let marker = Marker {
            boot_id: boot.clone(),
            clean: false,
            durability: context.plan.mode,
            threads: workers as u32,
            shards: u32::from(context.plan.shards),
            databases: DATABASES,
            hash_seed,
            node_id: NodeId(self.id().get().into()),
            cluster_state: false,
        };
        self.disk.sync_dir(dir).map_err(|error| refused(&error))?;
        let mut shards = self.load_snapshots(hash_seed, context)?;
        let options = RecoverOptions {
            last_stop: LastStop::of(last.as_ref(), &boot),
            accept_data_loss: context.has_bug(Bug::DamageAccepted),
        };
        let mut never = |shard| Err(StartError(format!("nobody forgot shard {shard}")));
        let mut replay = Replay::new(&mut shards, options.accept_data_loss, &mut never);
        let recovered = recover(&self.disk, Path::new(LOGS), options, |record| {
            let mut items = record.items.iter();
            items.try_for_each(|item| replay.item(&item))
        })
        .map_err(|error| refused(&error))?;
        replay.check().map_err(|error| refused(&error))?;
        marker
            .write(&self.disk, dir)
            .map_err(|error| refused(&error))?;
        for shard in &mut shards {
            context.oracle.restored(shard).map_err(NoStart::Violation)?;
            let found = recovered.hard_states().get(&shard.id).copied();
            shard.replica = self.replica(shard, found, context)?;
        }
        let workers = self.open_logs(shards, workers, &recovered, hash_seed, context)?;
        Ok(Process {
            workers,
            marker,
            _lock: lock,
        })
    }

    fn load_snapshots(&self, hash_seed: u64, context: &Context) -> Result<Vec<Shard>, NoStart> {
        let refused = |error: &dyn std::fmt::Display| NoStart::Refused(error.to_string());
        let mut shards: Vec<Shard> = (0..context.plan.shards)
            .map(|id| {
                let id = ShardId(id);
                let start = (Index::ZERO, Term(0));
                let databases = empty_databases(hash_seed);
                Shard::new(id, databases, spare_replica(id), start, Timestamp(0))
            })
            .collect();
        let found = find_snapshots(&self.disk, Path::new(SNAPSHOTS));
        for file in found.map_err(|error| refused(&error))? {
            let loaded = read_snapshot(&self.disk, &file, DATABASES, hash_seed);
            let loaded = loaded.map_err(|error| refused(&error))?;
            shards[usize::from(file.shard.0)] = loaded.into_shard(spare_replica(file.shard));
        }
        Ok(shards)
    }

    fn replica(
        &self,
        shard: &mut Shard,
        found: Option<HardState>,
        context: &mut Context,
    ) -> Result<Replica, NoStart> {
        let membership = Membership::of_voters((1..=NODES as u64).map(ReplicaId));
        let mut restored: Restored = restored(shard, found, membership);
        if context.has_bug(Bug::TermLostAtRestart) && restored.has_run() {
            let last = restored.entries.last().map(|entry| entry.term);
            restored.hard_state.term = last.unwrap_or(restored.snapshot_term);
            restored.hard_state.vote = ReplicaId(0);
        }
        if context.has_bug(Bug::LogTruncatedAtRecovery) {
            restored.entries.pop();
            let last = restored.last_index();
            restored.hard_state.commit = restored.hard_state.commit.min(last);
        }
        let (node, id) = (self.number, shard.id);
        context.tell(|| {
            let state = restored.hard_state;
            format!(
                "node {node} shard {id}: snapshot {} log to {} term {} vote {} commit {}",
                restored.snapshot_index,
                restored.last_index(),
                state.term,
                state.vote,
                state.commit
            )
        });
        let config = Config {
            tick_us: context.plan.tick_us,
            election_ticks: ELECTION_TICKS,
            election_ticks_own: ELECTION_TICKS,
            election_jitter_ticks: ELECTION_TICKS,
            // Drawn anew for every life, from the run's own seed.
            seed: context.rng.next_u64(),
            // Little, so that followers that lag need snapshots.
            tail_bytes_max: 4096,
            // A fifth: the simulated clocks drift by far less.
            drift_margin_us: context.plan.tick_us * ELECTION_TICKS as u64 / 5,
            ..Config::new(shard.id, self.id())
        };
        Replica::new(&config, restored).map_err(|error| NoStart::Refused(error.to_string()))
    }

    fn open_logs(
        &self,
        shards: Vec<Shard>,
        workers: usize,
        recovered: &Recovered,
        hash_seed: u64,
        context: &mut Context,
    ) -> Result<Vec<Worker>, NoStart> {
        let covered = shards.iter().map(|shard| (shard.id, shard.snapshot_index));
        let covered: BTreeMap<ShardId, Index> = covered.collect();
        let home = Home {
            node: self.number,
            life: self.life,
            sim: self.sim.clone(),
            disk: self.disk.clone(),
            hash_seed,
            covered: Rc::new(RefCell::new(covered)),
        };
        let mut places: Vec<Vec<Place>> = (0..workers).map(|_| Vec::new()).collect();
        for shard in shards {
            places[usize::from(shard.id.0) % workers].push(Place::new(shard));
        }
        let mut opened = Vec::new();
        for (number, places) in places.into_iter().enumerate() {
            let options = WalOptions {
                segment_bytes: context.plan.segment_bytes,
                salt_seed: context.rng.next_u64(),
                ..WalOptions::new(DiskWorker::inline())
            };
            let states = places.iter().map(|place| &place.shard);
            let states: Vec<(ShardId, HardState)> = states
                .map(|shard| (shard.id, shard.replica.hard_state()))
                .collect();
            let disk = self.disk.clone();
            let logs = Path::new(LOGS);
            let wal = Wal::open(disk, logs, number as u32, options, recovered, &states)
                .map_err(|error| NoStart::Refused(error.to_string()))?;
            let mut worker = Worker::new(number, places, wal, home.clone());
            worker.slowness_us = self.slowness_us;
            opened.push(worker);
        }
        Ok(opened)
    }
}
