//! INFO stats, commandstats, errorstats, latencystats and keyspace: what was done, and what there is.

use super::{Lines, Source};

pub fn stats(source: &Source, lines: &mut Lines) {
    let (totals, rates) = (&source.report.totals, &source.report.rates);
    let kib = |bytes: u64| format!("{:.2}", bytes as f64 / 1024.0);
    lines.put("total_connections_received", totals.connections_received);
    lines.put("total_commands_processed", totals.commands_processed);
    lines.put("instantaneous_ops_per_sec", rates.commands_per_second);
    lines.put("total_net_input_bytes", totals.input_bytes);
    lines.put("total_net_output_bytes", totals.output_bytes);
    lines.zeros(&["total_net_repl_input_bytes", "total_net_repl_output_bytes"]);
    lines.put(
        "instantaneous_input_kbps",
        kib(rates.input_bytes_per_second),
    );
    lines.put(
        "instantaneous_output_kbps",
        kib(rates.output_bytes_per_second),
    );
    lines.put("instantaneous_input_repl_kbps", "0.00");
    lines.put("instantaneous_output_repl_kbps", "0.00");
    lines.put("rejected_connections", totals.connections_rejected);
    lines.zeros(&["sync_full", "sync_partial_ok", "sync_partial_err"]);
    lines.put("expired_keys", totals.expired_keys);
    lines.put("expired_stale_perc", "0.00");
    lines.zeros(&[
        "expired_time_cap_reached_count",
        "expire_cycle_cpu_milliseconds",
    ]);
    lines.put("evicted_keys", totals.evicted_keys);
    lines.zeros(&[
        "evicted_clients",
        "total_eviction_exceeded_time",
        "current_eviction_exceeded_time",
    ]);
    lines.put("keyspace_hits", totals.keyspace_hits);
    lines.put("keyspace_misses", totals.keyspace_misses);
    lines.zeros(NOT_HERE);
    lines.put("total_error_replies", totals.error_replies);
    lines.zeros(&["dump_payload_sanitizations"]);
    lines.put("total_reads_processed", totals.reads);
    lines.put("total_writes_processed", totals.writes);
    lines.zeros(&[
        "io_threaded_reads_processed",
        "io_threaded_writes_processed",
        "reply_buffer_shrinks",
        "reply_buffer_expands",
    ]);
    lines.put("eventloop_cycles", totals.turns);
    lines.put("eventloop_duration_sum", totals.turn_us);
    let command_us: u64 = source
        .report
        .commands
        .iter()
        .map(|used| used.microseconds())
        .sum();
    lines.put("eventloop_duration_cmd_sum", command_us);
    lines.put(
        "instantaneous_eventloop_cycles_per_sec",
        rates.turns_per_second,
    );
    let mean_us = totals.turn_us.checked_div(totals.turns).unwrap_or(0);
    lines.put("instantaneous_eventloop_duration_usec", mean_us);
    lines.put("acl_access_denied_auth", totals.auth_denied);
    lines.zeros(&[
        "acl_access_denied_cmd",
        "acl_access_denied_key",
        "acl_access_denied_channel",
    ]);
}

/// What Redis counts and this server does not do.
const NOT_HERE: &[&str] = &[
    "pubsub_channels",
    "pubsub_patterns",
    "pubsubshard_channels",
    "latest_fork_usec",
    "total_forks",
    "migrate_cached_sockets",
    "slave_expires_tracked_keys",
    "active_defrag_hits",
    "active_defrag_misses",
    "active_defrag_key_hits",
    "active_defrag_key_misses",
    "total_active_defrag_time",
    "current_active_defrag_time",
    "tracking_total_keys",
    "tracking_total_items",
    "tracking_total_prefixes",
    "unexpected_error_replies",
];

pub fn commandstats(source: &Source, lines: &mut Lines) {
    for used in &source.report.commands {
        lines.put(
            &format!("cmdstat_{}", used.name),
            format_args!(
                "calls={},usec={},usec_per_call={:.2},rejected_calls={},failed_calls={}",
                used.calls,
                used.microseconds(),
                used.microseconds_per_call(),
                used.rejected,
                used.failed
            ),
        );
    }
}

pub fn errorstats(source: &Source, lines: &mut Lines) {
    for (kind, count) in &source.report.errors {
        lines.put(&format!("errorstat_{kind}"), format_args!("count={count}"));
    }
}

pub fn latencystats(source: &Source, lines: &mut Lines) {
    if !source.live.latency_tracking {
        return;
    }
    for used in &source.report.commands {
        if used.latency.count() == 0 {
            continue;
        }
        let percentiles = source.live.latency_tracking_info_percentiles.iter();
        let shown: Vec<String> = percentiles
            .map(|percentile| {
                let us = used.latency.percentile_ns(*percentile) as f64 / 1e3;
                format!("p{percentile}={us:.3}")
            })
            .collect();
        lines.put(
            &format!("latency_percentiles_usec_{}", used.name),
            shown.join(","),
        );
    }
}

pub fn keyspace(source: &Source, lines: &mut Lines) {
    for database in &source.report.databases {
        lines.put(
            &format!("db{}", database.number),
            format_args!(
                "keys={},expires={},avg_ttl={}",
                database.keys, database.expires, database.ttl_ms_mean
            ),
        );
    }
}
