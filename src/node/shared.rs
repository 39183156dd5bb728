//! What all threads of a node share. Nothing here is touched once a command.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use ringfort_cluster::steward::NodeLoad;
use ringfort_cluster::{NodeId, ReplicaId, ShardId};

use tokio::sync::Notify;

use crate::commands::acl_log::AclLog;
use crate::commands::latency::LatencyLog;
use crate::commands::report::{ClientsReport, LogReport, MemoryReport, MovesReport, Report};
use crate::commands::slowlog::SlowLog;
use crate::commands::{registry, Flags, Pause, Shutdown};
use crate::durability::StateKeeper;
use crate::settings::Settings;
use crate::store::Timestamp;

use super::clients::Clients;
use super::io::Message;
use super::links_table::LinksTable;
use super::move_pace::MovePace;
use super::operator::{refused, Answering, Desk, OperatorQuestion, Refusal};
use super::process;
use super::report::{Identity, NodeHandle, NodeReport, State};
use super::snapshots::Present;
use super::stats::{NodeStats, WorkerStats};
use super::topology::TopologyCell;
use super::view::ViewCell;
use super::worker::{wall_clock, Worker};

/// Messages to one worker. Bounded by what connections may have under way ([`super::PIPELINE_MAX`] each).
#[derive(Default)]
pub struct Inbox {
    messages: Mutex<Vec<Message>>,
    /// Wakes the worker: messages have come, or the turn is to be ended.
    pub wake: Notify,
}

impl Inbox {
    pub fn send(&self, batch: &mut Vec<Message>) {
        lock(&self.messages).append(batch);
        self.wake.notify_one();
    }

    pub fn take(&self) -> Vec<Message> {
        std::mem::take(&mut *lock(&self.messages))
    }

    pub fn is_empty(&self) -> bool {
        lock(&self.messages).is_empty()
    }
}

/// What all threads of a node share.
pub struct Shared {
    pub settings: Arc<Settings>,
    pub identity: Identity,
    pub stats: NodeStats,
    pub clients: Clients,
    /// The cluster as this node knows it; shows nothing until the node has loaded.
    pub view: ViewCell,
    /// The newest topology; nothing before the node has loaded.
    pub topology: TopologyCell,
    failure: Mutex<Option<String>>,
    /// What operators ask.
    pub desk: Desk,
    /// To and from other nodes.
    pub links: LinksTable,
    pub inboxes: Vec<Inbox>,
    pub slowlog: Mutex<SlowLog>,
    pub acl_log: Mutex<AclLog>,
    pub latency: Mutex<LatencyLog>,
    pub pause: Mutex<Option<Pause>>,
    /// Whether `pause` holds anything.
    pub is_paused: AtomicBool,
    pub active_expire: AtomicBool,
    pub replication_id: Mutex<String>,
    /// Bytes that the process needs beside its data: what the allocator has handed out, less the data.
    pub memory_base: AtomicU64,
    memory_peak: AtomicU64,
    memory_startup: AtomicU64,
    /// By shard: the index that its durable snapshot covers, and that snapshot.
    pub snapshot_indexes: Vec<AtomicU64>,
    snapshots: Vec<Mutex<Present>>,
    pub snapshots_running: AtomicUsize,
    last_snapshot_ms: AtomicU64,
    /// Changes when the last snapshot ended.
    changes_saved: AtomicU64,
    pub keys_loaded: AtomicU64,
    state: Mutex<State>,
    /// Why a worker refuses writes, if one does.
    pub write_errors: Vec<Mutex<Option<String>>>,
    stopping: Mutex<Option<Shutdown>>,
    pub stop: Notify,
    /// By shard: whether this node leads it.
    led: Vec<AtomicBool>,
    /// By shard: whether no other node has a say or a copy.
    alone: Vec<AtomicBool>,
    node_id: OnceLock<NodeId>,
    cluster_state: OnceLock<Arc<StateKeeper>>,
    /// Held by the one command that runs over keys of several workers.
    pub gather_lock: Mutex<()>,
    /// How fast snapshots may leave for other nodes.
    pub move_pace: MovePace,
}

impl Shared {
    /// `shards` counts all shards of the node, the copy of the meta group among them.
    pub fn new(settings: Arc<Settings>, identity: Identity, shards: usize) -> Arc<Self> {
        let workers = settings.startup().threads;
        let names: Vec<String> = registry()
            .by_id
            .iter()
            .map(|command| command.full_name.clone())
            .collect();
        let internal = || {
            let all = registry().by_id.iter();
            all.map(|command| command.command.flags.has(Flags::INTERNAL))
        };
        let stats = (0..workers).map(|_| WorkerStats::new(internal())).collect();
        let replication_id = identity.replication_id.clone();
        let started = identity.started;
        Arc::new(Self {
            settings,
            identity,
            stats: NodeStats::new(stats, names),
            clients: Clients::default(),
            view: ViewCell::default(),
            topology: TopologyCell::default(),
            desk: Desk::default(),
            failure: Mutex::default(),
            links: LinksTable::default(),
            inboxes: (0..workers).map(|_| Inbox::default()).collect(),
            slowlog: Mutex::default(),
            acl_log: Mutex::default(),
            latency: Mutex::default(),
            pause: Mutex::default(),
            is_paused: AtomicBool::new(false),
            active_expire: AtomicBool::new(true),
            replication_id: Mutex::new(replication_id),
            memory_base: AtomicU64::new(0),
            memory_peak: AtomicU64::new(0),
            memory_startup: AtomicU64::new(process::allocator_memory().allocated),
            snapshot_indexes: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            snapshots: (0..shards).map(|_| Mutex::default()).collect(),
            snapshots_running: AtomicUsize::new(0),
            last_snapshot_ms: AtomicU64::new(started.0),
            changes_saved: AtomicU64::new(0),
            keys_loaded: AtomicU64::new(0),
            state: Mutex::new(State::Loading),
            write_errors: (0..workers).map(|_| Mutex::default()).collect(),
            stopping: Mutex::default(),
            stop: Notify::new(),
            led: (0..shards).map(|_| AtomicBool::new(false)).collect(),
            alone: (0..shards).map(|_| AtomicBool::new(false)).collect(),
            node_id: OnceLock::new(),
            cluster_state: OnceLock::new(),
            gather_lock: Mutex::default(),
            move_pace: MovePace::default(),
        })
    }

    /// Whether this node leads a shard.
    pub fn leads(&self, shard: u16) -> bool {
        let led = self.led.get(usize::from(shard));
        led.is_some_and(|led| led.load(Relaxed))
    }

    pub(super) fn note_leads(&self, shard: u16, leads: bool) {
        if let Some(led) = self.led.get(usize::from(shard)) {
            led.store(leads, Relaxed);
        }
    }

    /// Whether this node decides alone over a shard.
    pub fn decides_alone(&self, shard: u16) -> bool {
        let alone = self.alone.get(usize::from(shard));
        alone.is_some_and(|alone| alone.load(Relaxed))
    }

    pub(super) fn note_alone(&self, shard: u16, alone: bool) {
        if let Some(place) = self.alone.get(usize::from(shard)) {
            place.store(alone, Relaxed);
        }
    }

    /// Who this node is; nobody before its directory was read.
    pub fn node_id(&self) -> NodeId {
        self.node_id.get().copied().unwrap_or(NodeId::ZERO)
    }

    pub fn set_node_id(&self, id: NodeId) {
        let _ = self.node_id.set(id);
    }

    /// What this node has on disk about its part in the cluster.
    ///
    /// # Panics
    /// Before its directory was read.
    pub fn cluster_state(&self) -> &Arc<StateKeeper> {
        self.cluster_state.get().expect("the directory was read")
    }

    /// The last replica of a group that was given up here, if any.
    pub(super) fn tombstone(&self, group: ShardId) -> Option<ReplicaId> {
        self.cluster_state.get()?.tombstone(group)
    }

    pub fn set_cluster_state(&self, state: Arc<StateKeeper>) {
        let _ = self.cluster_state.set(state);
    }

    pub fn set_state(&self, state: State) {
        *lock(&self.state) = state;
    }

    /// Has a worker do something, from any thread.
    pub fn task(&self, worker: u16, task: impl FnOnce(&mut Worker) + Send + 'static) {
        let mut batch = vec![Message::Task(Box::new(task))];
        self.inboxes[usize::from(worker)].send(&mut batch);
    }

    /// Asks the node to go down.
    pub fn shut_down(&self, how: Shutdown) {
        *lock(&self.stopping) = Some(how);
        self.set_state(State::Stopping);
        self.stop.notify_one();
    }

    /// The node cannot go on, for a reason that its operator must read: it goes down at once.
    pub fn fail(&self, reason: String) {
        *lock(&self.failure) = Some(reason);
        self.shut_down(Shutdown {
            now: true,
            ..Shutdown::default()
        });
    }

    /// Why the node could not go on, if it could not.
    pub fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    /// How the node was asked to go down, if it was.
    pub fn shutdown_asked(&self) -> Option<Shutdown> {
        *lock(&self.stopping)
    }

    /// The pause that holds now, if any.
    pub fn pause_now(&self, now: Timestamp) -> Option<Pause> {
        let mut pause = lock(&self.pause);
        if pause.is_some_and(|pause| pause.until <= now) {
            *pause = None;
            self.is_paused.store(false, Relaxed);
        }
        *pause
    }

    /// A snapshot that was found at the start.
    pub fn note_loaded_snapshot(&self, shard: u16, snapshot: Present) {
        *lock(&self.snapshots[usize::from(shard)]) = snapshot;
    }

    /// A shard's newest snapshot.
    pub fn snapshot(&self, shard: u16) -> Present {
        *lock(&self.snapshots[usize::from(shard)])
    }

    pub fn note_snapshot(&self, shard: u16, snapshot: Present, now: Timestamp) {
        self.note_loaded_snapshot(shard, snapshot);
        self.last_snapshot_ms.store(now.0, Relaxed);
        if self.snapshots_running.load(Relaxed) == 0 {
            self.changes_saved
                .store(self.stats.sum(|worker| &worker.changes), Relaxed);
        }
    }

    /// Reads the allocator's figures; about ten times a second.
    pub fn measure_memory(&self) {
        let memory = process::allocator_memory();
        let data = self.stats.sum(|worker| &worker.memory_bytes);
        self.memory_base
            .store(memory.allocated.saturating_sub(data), Relaxed);
        self.memory_peak.fetch_max(memory.allocated, Relaxed);
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        self.stats
            .sample_rates(since.unwrap_or_default().as_micros() as u64);
    }

    /// Looks how clients' writes fare, and has moves follow that; about once a second.
    pub fn measure_writes(&self) {
        let p99_us = self.stats.measure_writes();
        self.move_pace.heard_p99(p99_us, Instant::now());
    }

    /// Everything, for INFO and the metrics page.
    pub fn full_report(&self) -> Report {
        let mut identity = self.identity.clone();
        identity.replication_id = lock(&self.replication_id).clone();
        Report {
            now: wall_clock(),
            state: NodeHandle::state(self),
            identity,
            clients: self.clients_report(),
            memory: self.memory_report(),
            cpu: process::cpu(),
            log: self.log_report(),
            totals: self.stats.totals(),
            rates: self.stats.rates(),
            commands: self.stats.commands(),
            errors: self.stats.errors(),
            slowlog_length: lock(&self.slowlog).len() as u64,
            databases: self.stats.databases(),
            workers: self.stats.worker_reports(),
            moves: MovesReport {
                sent_bytes: self.move_pace.sent_bytes(),
                share: self.move_pace.share(),
                write_p99_us: self.stats.write_p99_us(),
            },
        }
    }

    /// How busy the node is, for its cluster's operators.
    pub fn load(&self) -> NodeLoad {
        NodeLoad {
            memory_bytes: process::allocator_memory().allocated,
            ops_per_sec: self.stats.rates().commands_per_second,
            clients: u32::try_from(self.clients.all().len()).unwrap_or(u32::MAX),
            p99_us: self.stats.write_p99_us(),
            uptime_s: wall_clock().0.saturating_sub(self.identity.started.0) / 1000,
            refuses_writes: matches!(NodeHandle::state(self), State::WritesRefused(_)),
        }
    }

    fn clients_report(&self) -> ClientsReport {
        let buffers: Vec<(u64, u64)> = self
            .clients
            .all()
            .iter()
            .map(|client| client.buffer_bytes())
            .collect();
        ClientsReport {
            connected: buffers.len() as u64,
            blocked: 0,
            largest_input_bytes: buffers.iter().map(|b| b.0).max().unwrap_or(0),
            largest_output_bytes: buffers.iter().map(|b| b.1).max().unwrap_or(0),
            buffers_bytes: buffers.iter().map(|b| b.0 + b.1).sum(),
        }
    }

    fn memory_report(&self) -> MemoryReport {
        let memory = process::allocator_memory();
        let used = memory.allocated;
        MemoryReport {
            used,
            peak: self.memory_peak.fetch_max(used, Relaxed).max(used),
            startup: self.memory_startup.load(Relaxed),
            dataset: self.stats.sum(|worker| &worker.memory_bytes),
            allocated: memory.allocated,
            active: memory.active,
            resident: memory.resident,
            rss: process::resident_bytes(),
            system_total: process::system_memory_bytes(),
        }
    }

    fn log_report(&self) -> LogReport {
        let changes = self.stats.sum(|worker| &worker.changes);
        LogReport {
            bytes: self.stats.sum(|worker| &worker.log_bytes),
            segments: self.stats.sum(|worker| &worker.log_segments),
            appended_bytes: self.stats.sum(|worker| &worker.log_appended_bytes),
            syncs: self.stats.sum(|worker| &worker.log_syncs),
            syncs_pending: self.stats.sum(|worker| &worker.log_syncs_pending),
            entries_applied: self.stats.sum(|worker| &worker.entries_applied),
            snapshot_bytes: self
                .snapshots
                .iter()
                .map(|snapshot| lock(snapshot).bytes)
                .sum(),
            snapshots_taken: self.stats.sum(|worker| &worker.snapshots_taken),
            snapshots_failed: self.stats.sum(|worker| &worker.snapshots_failed),
            snapshot_running_since: (self.snapshots_running.load(Relaxed) > 0).then(wall_clock),
            last_snapshot: Timestamp(self.last_snapshot_ms.load(Relaxed)),
            last_snapshot_seconds: None,
            last_snapshot_failed: false,
            changes_since_snapshot: changes.saturating_sub(self.changes_saved.load(Relaxed)),
            keys_loaded: self.keys_loaded.load(Relaxed),
        }
    }
}

impl NodeHandle for Shared {
    fn state(&self) -> State {
        let state = lock(&self.state).clone();
        if state != State::Ready {
            return state;
        }
        match self
            .write_errors
            .iter()
            .find_map(|error| lock(error).clone())
        {
            Some(error) => State::WritesRefused(error),
            None => State::Ready,
        }
    }

    fn report(&self) -> NodeReport {
        self.full_report()
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn operate(&self, question: OperatorQuestion) -> Answering {
        // It may take long.
        if NodeHandle::state(self) == State::Loading && !self.desk.is_open() {
            return refused(Refusal::Unavailable, "this node is loading its data");
        }
        self.desk.ask(question)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
