//! INFO server, clients, persistence, replication, cpu, cluster and ringfort.

use crate::settings::Durability;

use super::super::super::report::{State, REDIS_VERSION, RINGFORT_VERSION};
use super::{Lines, Source};

pub fn server(source: &Source, lines: &mut Lines) {
    let (report, identity) = (&source.report, &source.report.identity);
    lines.put("redis_version", REDIS_VERSION);
    lines.put("ringfort_version", RINGFORT_VERSION);
    lines.put("redis_git_sha1", "00000000");
    lines.put("redis_git_dirty", 0);
    lines.put("redis_build_id", identity.build_id());
    let mode = match source.session.is_cluster {
        true => "cluster",
        false => "standalone",
    };
    lines.put("redis_mode", mode);
    lines.put("os", &identity.os);
    lines.put("arch_bits", usize::BITS);
    lines.put("monotonic_clock", "POSIX clock_gettime");
    lines.put("multiplexing_api", "epoll");
    lines.put("atomicvar_api", "c11-builtin");
    lines.put("gcc_version", "0.0.0");
    lines.put("process_id", identity.process_id);
    lines.put("process_supervised", "no");
    lines.put("run_id", &identity.run_id);
    let listeners = match source.session.is_cluster {
        true => &identity.cluster_listeners,
        false => &identity.listeners,
    };
    lines.put("tcp_port", listeners.first().map_or(0, |at| at.port()));
    lines.put("server_time_usec", source.host.now_us());
    lines.put("uptime_in_seconds", report.uptime_seconds());
    lines.put("uptime_in_days", report.uptime_seconds() / 86_400);
    lines.put("hz", source.live.hz);
    lines.put("configured_hz", source.live.hz);
    // Redis' clock for LRU: seconds in 24 bits.
    lines.put("lru_clock", (report.now.0 / 1_000) & 0x00FF_FFFF);
    lines.put("executable", &identity.executable);
    lines.put("config_file", &identity.config_file);
    lines.put("io_threads_active", 0);
    let binds: String = listeners
        .iter()
        .map(|at| format!("bind={},", at.ip()))
        .collect();
    if let Some(first) = listeners.first() {
        lines.put(
            "listener0",
            format_args!("name=tcp,{binds}port={}", first.port()),
        );
    }
}

pub fn clients(source: &Source, lines: &mut Lines) {
    let clients = &source.report.clients;
    lines.put("connected_clients", clients.connected);
    lines.put("cluster_connections", 0);
    lines.put("maxclients", source.live.maxclients);
    lines.put(
        "client_recent_max_input_buffer",
        clients.largest_input_bytes,
    );
    lines.put(
        "client_recent_max_output_buffer",
        clients.largest_output_bytes,
    );
    lines.put("blocked_clients", clients.blocked);
    lines.zeros(&[
        "tracking_clients",
        "clients_in_timeout_table",
        "total_blocking_keys",
        "total_blocking_keys_on_nokey",
    ]);
}

pub fn persistence(source: &Source, lines: &mut Lines) {
    let (report, log) = (&source.report, &source.report.log);
    let seconds = |seconds: Option<u64>| seconds.map_or(-1, |seconds| seconds as i64);
    let status = |failed: bool| if failed { "err" } else { "ok" };
    let running = seconds(report.snapshot_running_seconds());
    let last = seconds(log.last_snapshot_seconds);
    lines.flag("loading", report.state == State::Loading);
    lines.zeros(&[
        "async_loading",
        "current_cow_peak",
        "current_cow_size",
        "current_cow_size_age",
    ]);
    lines.put("current_fork_perc", "0.00");
    lines.zeros(&["current_save_keys_processed", "current_save_keys_total"]);
    lines.put("rdb_changes_since_last_save", log.changes_since_snapshot);
    lines.flag(
        "rdb_bgsave_in_progress",
        log.snapshot_running_since.is_some(),
    );
    lines.put("rdb_last_save_time", log.last_snapshot.0 / 1_000);
    lines.put("rdb_last_bgsave_status", status(log.last_snapshot_failed));
    lines.put("rdb_last_bgsave_time_sec", last);
    lines.put("rdb_current_bgsave_time_sec", running);
    lines.put("rdb_saves", log.snapshots_taken);
    lines.zeros(&["rdb_last_cow_size", "rdb_last_load_keys_expired"]);
    lines.put("rdb_last_load_keys_loaded", log.keys_loaded);
    let has_log = source.host.settings().startup().durability != Durability::None;
    lines.flag("aof_enabled", has_log);
    lines.flag(
        "aof_rewrite_in_progress",
        log.snapshot_running_since.is_some(),
    );
    lines.put("aof_rewrite_scheduled", 0);
    lines.put("aof_last_rewrite_time_sec", last);
    lines.put("aof_current_rewrite_time_sec", running);
    lines.put(
        "aof_last_bgrewrite_status",
        status(log.last_snapshot_failed),
    );
    lines.put("aof_rewrites", log.snapshots_taken);
    lines.put(
        "aof_rewrites_consecutive_failures",
        u8::from(log.last_snapshot_failed),
    );
    let refused = matches!(report.state, State::WritesRefused(_));
    lines.put("aof_last_write_status", status(refused));
    lines.zeros(&[
        "aof_last_cow_size",
        "module_fork_in_progress",
        "module_fork_last_cow_size",
    ]);
    if has_log {
        lines.put("aof_current_size", log.bytes);
        lines.put("aof_base_size", log.snapshot_bytes);
        lines.zeros(&["aof_pending_rewrite", "aof_buffer_length"]);
        lines.put("aof_pending_bio_fsync", log.syncs_pending);
        lines.put("aof_delayed_fsync", 0);
    }
}

pub fn replication(source: &Source, lines: &mut Lines) {
    lines.put("role", "master");
    lines.put("connected_slaves", 0);
    lines.put("master_failover_state", "no-failover");
    lines.put("master_replid", &source.report.identity.replication_id);
    lines.put("master_replid2", "0".repeat(40));
    lines.put("master_repl_offset", 0);
    lines.put("second_repl_offset", -1);
    lines.zeros(&[
        "repl_backlog_active",
        "repl_backlog_size",
        "repl_backlog_first_byte_offset",
        "repl_backlog_histlen",
    ]);
}

pub fn cpu(source: &Source, lines: &mut Lines) {
    let cpu = &source.report.cpu;
    let mut seconds = |name: &str, value: f64| lines.put(name, format_args!("{value:.6}"));
    seconds("used_cpu_sys", cpu.system);
    seconds("used_cpu_user", cpu.user);
    seconds("used_cpu_sys_children", cpu.system_children);
    seconds("used_cpu_user_children", cpu.user_children);
    // There is no main thread: the workers are all alike.
    seconds("used_cpu_sys_main_thread", cpu.system);
    seconds("used_cpu_user_main_thread", cpu.user);
}

pub fn cluster(source: &Source, lines: &mut Lines) {
    lines.flag("cluster_enabled", source.session.is_cluster);
}

/// What Redis has no field for.
pub fn ringfort(source: &Source, lines: &mut Lines) {
    let (report, log) = (&source.report, &source.report.log);
    let startup = source.host.settings().startup();
    let (state, reason) = match &report.state {
        State::Ready => ("ready", ""),
        State::Waiting(reason) => ("waiting", reason.as_str()),
        State::Loading => ("loading", ""),
        State::WritesRefused(reason) => ("writes-refused", reason.as_str()),
        State::Stopping => ("stopping", ""),
    };
    lines.put("node_id", &source.host.cluster_view().own_id);
    lines.put("state", state);
    lines.put("state_reason", reason);
    lines.put("durability", startup.durability.name());
    lines.put("shards", startup.shards);
    lines.put("workers", report.workers.len());
    lines.put("wal_bytes", log.bytes);
    lines.put("wal_segments", log.segments);
    lines.put("wal_appended_bytes", log.appended_bytes);
    lines.put("wal_syncs", log.syncs);
    lines.put("entries_applied", log.entries_applied);
    lines.put("snapshot_bytes", log.snapshot_bytes);
    lines.put("snapshots_taken", log.snapshots_taken);
    lines.put("snapshots_failed", log.snapshots_failed);
    for (number, worker) in report.workers.iter().enumerate() {
        lines.put(
            &format!("worker{number}"),
            format_args!(
                "shards={},clients={},commands={},forwarded={},busy_us={},memory={},wal_bytes={}",
                worker.shards,
                worker.connected_clients,
                worker.commands_processed,
                worker.forwarded,
                worker.busy_us,
                worker.memory_bytes,
                worker.log_bytes
            ),
        );
    }
}
