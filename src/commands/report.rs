//! What a node tells of itself: plain numbers, gathered by the node, shown by INFO and by the metrics page.

use crate::store::Timestamp;

use super::histogram::Histogram;

/// The version of Redis whose behaviour this server has.
pub const REDIS_VERSION: &str = "7.2.5";

/// The version of this program.
pub const RINGFORT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Everything at one moment. Counters count since the start or the last CONFIG RESETSTAT.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub now: Timestamp,
    pub state: State,
    pub identity: Identity,
    pub clients: ClientsReport,
    pub memory: MemoryReport,
    pub cpu: CpuReport,
    pub log: LogReport,
    pub totals: Totals,
    pub rates: Rates,
    /// Commands that were called, failed or were rejected at least once.
    pub commands: Vec<CommandUse>,
    /// Error replies by their first word (`ERR`, `WRONGTYPE`).
    pub errors: Vec<(String, u64)>,
    /// Databases that hold keys.
    pub databases: Vec<DatabaseSize>,
    pub workers: Vec<WorkerReport>,
    pub moves: MovesReport,
    /// Entries in SLOWLOG.
    pub slowlog_length: u64,
}

/// Whether the node serves.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum State {
    #[default]
    Ready,
    /// For other nodes, to form a cluster or to be taken in; the reason in words.
    Waiting(String),
    /// Reading snapshot and log.
    Loading,
    /// Reads only, for this reason (a full disk).
    WritesRefused(String),
    /// On its way down.
    Stopping,
}

/// What does not change while the process lives.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// 40 hexadecimal digits, new with each start.
    pub run_id: String,
    /// 40 hexadecimal digits (`master_replid`).
    pub replication_id: String,
    pub process_id: u32,
    pub started: Timestamp,
    /// Kernel's name, release and machine.
    pub os: String,
    pub executable: String,
    /// Empty: none.
    pub config_file: String,
    /// Where clients connect: `ip:port`.
    pub listeners: Vec<std::net::SocketAddr>,
    /// Where cluster-aware clients connect.
    pub cluster_listeners: Vec<std::net::SocketAddr>,
}

#[derive(Clone, Debug, Default)]
pub struct ClientsReport {
    pub connected: u64,
    pub blocked: u64,
    /// Bytes of the largest query buffer and of the longest unsent reply.
    pub largest_input_bytes: u64,
    pub largest_output_bytes: u64,
    /// Bytes of all clients' buffers.
    pub buffers_bytes: u64,
}

/// All in bytes.
#[derive(Clone, Debug, Default)]
pub struct MemoryReport {
    /// What `maxmemory` is compared with.
    pub used: u64,
    pub peak: u64,
    /// `used` before any data was there.
    pub startup: u64,
    /// Keys, values and their tables.
    pub dataset: u64,
    /// The allocator's own figures.
    pub allocated: u64,
    pub active: u64,
    pub resident: u64,
    /// The process' resident set.
    pub rss: u64,
    pub system_total: u64,
}

/// Seconds of processor time.
#[derive(Clone, Debug, Default)]
pub struct CpuReport {
    pub user: f64,
    pub system: f64,
    pub user_children: f64,
    pub system_children: f64,
}

/// Write-ahead log and snapshots of all workers.
#[derive(Clone, Debug, Default)]
pub struct LogReport {
    pub bytes: u64,
    pub segments: u64,
    pub appended_bytes: u64,
    pub syncs: u64,
    /// Syncs that are under way or due.
    pub syncs_pending: u64,
    /// Entries that shards have applied.
    pub entries_applied: u64,
    /// Bytes on disk of the newest snapshots.
    pub snapshot_bytes: u64,
    pub snapshots_taken: u64,
    pub snapshots_failed: u64,
    pub snapshot_running_since: Option<Timestamp>,
    /// When all shards had a finished snapshot; 0: at the start.
    pub last_snapshot: Timestamp,
    pub last_snapshot_seconds: Option<u64>,
    pub last_snapshot_failed: bool,
    pub changes_since_snapshot: u64,
    /// Keys read at the start.
    pub keys_loaded: u64,
}

/// Snapshots on their way to other nodes, and what holds them back.
#[derive(Clone, Debug, Default)]
pub struct MovesReport {
    pub sent_bytes: u64,
    /// The part of the allowed pace that clients' writes leave them now: up to 1.
    pub share: f64,
    /// The time that 99 of 100 writes of the last seconds did not exceed; 0 when there were none.
    pub write_p99_us: u64,
}

/// Counters over all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub connections_received: u64,
    pub connections_rejected: u64,
    pub commands_processed: u64,
    pub input_bytes: u64,
    pub output_bytes: u64,
    pub reads: u64,
    pub writes: u64,
    pub turns: u64,
    pub turn_us: u64,
    pub error_replies: u64,
    pub keyspace_hits: u64,
    pub keyspace_misses: u64,
    pub expired_keys: u64,
    pub evicted_keys: u64,
    pub auth_denied: u64,
}

/// Means over the last second or two.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    pub commands_per_second: u64,
    pub input_bytes_per_second: u64,
    pub output_bytes_per_second: u64,
    pub turns_per_second: u64,
}

/// How one command was used.
#[derive(Clone, Debug, Default)]
pub struct CommandUse {
    /// `get`, `config|set`.
    pub name: String,
    pub calls: u64,
    pub nanoseconds: u64,
    /// Refused before they ran.
    pub rejected: u64,
    /// Answered with an error.
    pub failed: u64,
    pub latency: Histogram,
}

impl CommandUse {
    pub fn microseconds(&self) -> u64 {
        self.nanoseconds / 1_000
    }

    pub fn microseconds_per_call(&self) -> f64 {
        match self.calls {
            0 => 0.0,
            calls => self.nanoseconds as f64 / 1_000.0 / calls as f64,
        }
    }
}

/// The size of one database over all shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatabaseSize {
    pub number: u32,
    pub keys: u64,
    /// Keys with a deadline.
    pub expires: u64,
    /// Mean time to live of those, in milliseconds.
    pub ttl_ms_mean: u64,
}

/// One worker's own figures.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorkerReport {
    pub shards: u64,
    /// Of these, those that it leads, those in which it votes, and those of which it has a copy without a vote: most are being filled.
    pub shards_led: u64,
    pub shards_voting: u64,
    pub shards_learning: u64,
    pub connected_clients: u64,
    pub commands_processed: u64,
    pub turns: u64,
    pub busy_us: u64,
    pub memory_bytes: u64,
    pub forwarded: u64,
    pub log_bytes: u64,
    pub log_syncs: u64,
    pub entries_applied: u64,
}

impl Report {
    pub fn uptime_seconds(&self) -> u64 {
        self.now.0.saturating_sub(self.identity.started.0) / 1_000
    }

    /// How long the running snapshot has taken so far.
    pub fn snapshot_running_seconds(&self) -> Option<u64> {
        let since = self.log.snapshot_running_since?;
        Some(self.now.0.saturating_sub(since.0) / 1_000)
    }
}

impl Identity {
    /// 16 hexadecimal digits that stand for this version of the program.
    pub fn build_id(&self) -> String {
        let digest = RINGFORT_VERSION
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        format!("{digest:016x}")
    }
}

impl MemoryReport {
    /// Used memory that is not data.
    pub fn overhead(&self) -> u64 {
        self.used.saturating_sub(self.dataset)
    }

    pub fn fragmentation_ratio(&self) -> f64 {
        self.rss as f64 / self.used.max(1) as f64
    }

    pub fn fragmentation_bytes(&self) -> i64 {
        self.rss as i64 - self.used as i64
    }
}
