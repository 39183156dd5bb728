//! The metrics that have one value, and those that each worker has: names, meaning and where the value is.
//!
//! A counter stands here without its `_total`.

use super::metrics::Kind::{self, Counter, Gauge};
use super::metrics::Page;
use crate::node::report::{State, WorkerReport};

type Single = (&'static str, Kind, &'static str, fn(&Page) -> f64);
type PerWorker = (&'static str, Kind, &'static str, fn(&WorkerReport) -> f64);

fn flag(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

fn sum(page: &Page, figure: fn(&WorkerReport) -> u64) -> f64 {
    let workers = page.report.workers.iter();
    workers.map(figure).sum::<u64>() as f64
}

#[rustfmt::skip]
pub(super) static SINGLE: &[Single] = &[
    ("redis_up", Gauge, "Whether the server answers", |_| 1.0),
    ("redis_uptime_in_seconds", Gauge, "Seconds since the start", |p| p.report.uptime_seconds() as f64),
    ("redis_start_time_seconds", Gauge, "Unix time of the start", |p| p.report.identity.started.0 as f64 / 1e3),
    ("redis_process_id", Gauge, "Process id", |p| f64::from(p.report.identity.process_id)),
    ("redis_configured_hz", Gauge, "Rounds a second of background work", |p| f64::from(p.live.hz)),
    ("redis_io_threads_active", Gauge, "Redis' own I/O threads: none here, see ringfort_workers", |_| 0.0),

    ("redis_connected_clients", Gauge, "Connections", |p| p.report.clients.connected as f64),
    ("redis_blocked_clients", Gauge, "Connections that wait in a blocking command", |p| p.report.clients.blocked as f64),
    ("redis_client_recent_max_input_buffer_bytes", Gauge, "Largest query buffer", |p| p.report.clients.largest_input_bytes as f64),
    ("redis_client_recent_max_output_buffer_bytes", Gauge, "Longest unsent reply", |p| p.report.clients.largest_output_bytes as f64),
    ("redis_mem_clients_normal", Gauge, "Bytes of clients' buffers", |p| p.report.clients.buffers_bytes as f64),
    ("redis_config_maxclients", Gauge, "Setting maxclients", |p| f64::from(p.live.maxclients)),
    ("redis_config_maxmemory", Gauge, "Setting maxmemory", |p| p.live.maxmemory_bytes as f64),

    ("redis_memory_used_bytes", Gauge, "What maxmemory is compared with", |p| p.report.memory.used as f64),
    ("redis_memory_used_peak_bytes", Gauge, "Its highest value", |p| p.report.memory.peak as f64),
    ("redis_memory_used_rss_bytes", Gauge, "Resident set of the process", |p| p.report.memory.rss as f64),
    ("redis_memory_used_startup_bytes", Gauge, "Memory used before there was data", |p| p.report.memory.startup as f64),
    ("redis_memory_used_dataset_bytes", Gauge, "Keys, values and their tables", |p| p.report.memory.dataset as f64),
    ("redis_memory_used_overhead_bytes", Gauge, "Used memory that is not data", |p| p.report.memory.overhead() as f64),
    ("redis_memory_used_lua_bytes", Gauge, "Memory of scripts", |_| 0.0),
    ("redis_memory_used_scripts_bytes", Gauge, "Memory of scripts", |_| 0.0),
    ("redis_memory_max_bytes", Gauge, "Setting maxmemory", |p| p.live.maxmemory_bytes as f64),
    ("redis_mem_fragmentation_ratio", Gauge, "Resident set by used memory", |p| p.report.memory.fragmentation_ratio()),
    ("redis_mem_fragmentation_bytes", Gauge, "Resident set beyond used memory", |p| p.report.memory.fragmentation_bytes() as f64),
    ("redis_mem_not_counted_for_eviction_bytes", Gauge, "Memory that maxmemory does not count", |_| 0.0),
    ("redis_allocator_allocated_bytes", Gauge, "Bytes handed out by the allocator", |p| p.report.memory.allocated as f64),
    ("redis_allocator_active_bytes", Gauge, "Bytes of pages in use", |p| p.report.memory.active as f64),
    ("redis_allocator_resident_bytes", Gauge, "Bytes of pages in memory", |p| p.report.memory.resident as f64),
    ("redis_total_system_memory_bytes", Gauge, "Memory of the machine", |p| p.report.memory.system_total as f64),
    ("redis_lazyfree_pending_objects", Gauge, "Values waiting to be freed", |_| 0.0),
    ("redis_active_defrag_running", Gauge, "Whether memory is being moved", |_| 0.0),

    ("redis_loading_dump_file", Gauge, "Whether snapshot and log are being read", |p| flag(p.report.state == State::Loading)),
    ("redis_rdb_changes_since_last_save", Gauge, "Changes since the last snapshot", |p| p.report.log.changes_since_snapshot as f64),
    ("redis_rdb_bgsave_in_progress", Gauge, "Whether a snapshot is being written", |p| flag(p.report.log.snapshot_running_since.is_some())),
    ("redis_rdb_last_save_timestamp_seconds", Gauge, "Unix time of the last snapshot", |p| (p.report.log.last_snapshot.0 / 1000) as f64),
    ("redis_rdb_last_bgsave_status", Gauge, "Whether the last snapshot succeeded", |p| flag(!p.report.log.last_snapshot_failed)),
    ("redis_rdb_last_bgsave_duration_sec", Gauge, "Seconds that the last snapshot took, -1: none yet", |p| p.report.log.last_snapshot_seconds.map_or(-1.0, |s| s as f64)),
    ("redis_rdb_current_bgsave_duration_sec", Gauge, "Seconds that the running snapshot has taken, -1: none", |p| p.report.snapshot_running_seconds().map_or(-1.0, |s| s as f64)),
    ("ringfort_move_sent_bytes", Counter, "Bytes of snapshots sent to other nodes", |p| p.report.moves.sent_bytes as f64),
    ("ringfort_move_pace_share", Gauge, "Part of move-bytes-per-sec that the time of clients' writes leaves to moves now", |p| p.report.moves.share),
    ("ringfort_write_p99_seconds", Gauge, "Time that 99 of 100 writes of the last seconds did not exceed, 0: none", |p| p.report.moves.write_p99_us as f64 / 1e6),
    ("redis_aof_enabled", Gauge, "Whether there is a log", |p| flag(p.durability != "none")),
    ("redis_aof_current_size_bytes", Gauge, "Size of the log", |p| p.report.log.bytes as f64),
    ("redis_aof_pending_bio_fsync", Gauge, "Syncs under way", |p| p.report.log.syncs_pending as f64),
    ("redis_aof_last_write_status", Gauge, "Whether writes to the log succeed", |p| flag(!matches!(p.report.state, State::WritesRefused(_)))),

    ("redis_connections_received", Counter, "Connections accepted", |p| p.report.totals.connections_received as f64),
    ("redis_rejected_connections", Counter, "Connections refused because of maxclients", |p| p.report.totals.connections_rejected as f64),
    ("redis_commands_processed", Counter, "Commands run", |p| p.report.totals.commands_processed as f64),
    ("redis_instantaneous_ops_per_sec", Gauge, "Commands a second", |p| p.report.rates.commands_per_second as f64),
    ("redis_instantaneous_input_kbps", Gauge, "KiB read a second", |p| p.report.rates.input_bytes_per_second as f64 / 1024.0),
    ("redis_instantaneous_output_kbps", Gauge, "KiB written a second", |p| p.report.rates.output_bytes_per_second as f64 / 1024.0),
    ("redis_net_input_bytes", Counter, "Bytes read from clients", |p| p.report.totals.input_bytes as f64),
    ("redis_net_output_bytes", Counter, "Bytes written to clients", |p| p.report.totals.output_bytes as f64),
    ("redis_keyspace_hits", Counter, "Reads that found their key", |p| p.report.totals.keyspace_hits as f64),
    ("redis_keyspace_misses", Counter, "Reads that found no key", |p| p.report.totals.keyspace_misses as f64),
    ("redis_expired_keys", Counter, "Keys removed after their deadline", |p| p.report.totals.expired_keys as f64),
    ("redis_evicted_keys", Counter, "Keys removed to make room", |p| p.report.totals.evicted_keys as f64),
    ("redis_total_error_replies", Gauge, "Error replies", |p| p.report.totals.error_replies as f64),
    ("redis_acl_access_denied_auth", Counter, "Failed attempts to authenticate", |p| p.report.totals.auth_denied as f64),
    ("redis_slowlog_length", Gauge, "Entries in SLOWLOG", |p| p.report.slowlog_length as f64),

    ("redis_connected_slaves", Gauge, "Redis replicas: there are none of that kind", |_| 0.0),
    ("redis_master_repl_offset", Gauge, "Bytes appended to the log", |p| p.report.log.appended_bytes as f64),

    ("redis_cpu_user_seconds", Counter, "Processor time of the program", |p| p.report.cpu.user),
    ("redis_cpu_sys_seconds", Counter, "Processor time of the kernel", |p| p.report.cpu.system),
    ("redis_cpu_user_children_seconds", Counter, "Processor time of child processes", |p| p.report.cpu.user_children),
    ("redis_cpu_sys_children_seconds", Counter, "Processor time of the kernel for child processes", |p| p.report.cpu.system_children),

    ("ringfort_ready", Gauge, "Whether reads and writes are served", |p| flag(p.report.state == State::Ready)),
    ("ringfort_workers", Gauge, "Worker threads", |p| p.report.workers.len() as f64),
    ("ringfort_shards_led", Gauge, "Shards that this node leads", |p| sum(p, |w| w.shards_led)),
    ("ringfort_shards_voting", Gauge, "Shards in which this node's copies vote", |p| sum(p, |w| w.shards_voting)),
    ("ringfort_shards_learning", Gauge, "Copies of shards without a vote: most of them are being filled", |p| sum(p, |w| w.shards_learning)),
    ("ringfort_wal_bytes", Gauge, "Size of the write-ahead logs", |p| p.report.log.bytes as f64),
    ("ringfort_wal_segments", Gauge, "Files of the write-ahead logs", |p| p.report.log.segments as f64),
    ("ringfort_wal_appended_bytes", Counter, "Bytes appended to the write-ahead logs", |p| p.report.log.appended_bytes as f64),
    ("ringfort_wal_syncs", Counter, "Syncs of the write-ahead logs", |p| p.report.log.syncs as f64),
    ("ringfort_raft_entries_applied", Counter, "Log entries applied", |p| p.report.log.entries_applied as f64),
    ("ringfort_snapshot_bytes", Gauge, "Size of the newest snapshots", |p| p.report.log.snapshot_bytes as f64),
    ("ringfort_snapshots", Counter, "Snapshots of shards written", |p| p.report.log.snapshots_taken as f64),
    ("ringfort_snapshots_failed", Counter, "Snapshots of shards that failed", |p| p.report.log.snapshots_failed as f64),
    ("ringfort_keys_loaded", Gauge, "Keys read at the start", |p| p.report.log.keys_loaded as f64),
];

#[rustfmt::skip]
pub(super) static WORKER: &[PerWorker] = &[
    ("ringfort_worker_shards", Gauge, "Shards of a worker", |w| w.shards as f64),
    ("ringfort_worker_shards_led", Gauge, "Shards that a worker's replicas lead", |w| w.shards_led as f64),
    ("ringfort_worker_shards_voting", Gauge, "Shards in which a worker's replicas vote", |w| w.shards_voting as f64),
    ("ringfort_worker_shards_learning", Gauge, "Copies of a worker's shards without a vote", |w| w.shards_learning as f64),
    ("ringfort_worker_connected_clients", Gauge, "Connections of a worker", |w| w.connected_clients as f64),
    ("ringfort_worker_commands_processed", Counter, "Commands run by a worker", |w| w.commands_processed as f64),
    ("ringfort_worker_commands_forwarded", Counter, "Commands handed to another worker", |w| w.forwarded as f64),
    ("ringfort_worker_turns", Counter, "Turns of a worker", |w| w.turns as f64),
    ("ringfort_worker_busy_seconds", Counter, "Time in turns that had work", |w| w.busy_us as f64 / 1e6),
    ("ringfort_worker_memory_bytes", Gauge, "Data of a worker's shards", |w| w.memory_bytes as f64),
    ("ringfort_worker_wal_bytes", Gauge, "Size of a worker's write-ahead log", |w| w.log_bytes as f64),
    ("ringfort_worker_wal_syncs", Counter, "Syncs of a worker's write-ahead log", |w| w.log_syncs as f64),
    ("ringfort_worker_raft_entries_applied", Counter, "Log entries applied by a worker", |w| w.entries_applied as f64),
];
