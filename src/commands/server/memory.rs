//! MEMORY: where the memory goes.

use crate::protocol::Reply;
use crate::store::Keyspace;

use super::super::help::help;
use super::super::report::Report;
use super::super::spec::{Arg, Arity, Command, Flags, Group, KeyFlags, KeySpec, Run};
use super::super::{Call, CommandError, CommandResult, Host};
use super::doctor;

pub const MEMORY: Command = Command {
    name: "MEMORY",
    since: "4.0.0",
    group: Group::Server,
    complexity: "Depends on subcommand.",
    summary: "Container for commands about memory.",
    arity: Arity::AtLeast(2),
    run: Run::Container,
    subcommands: &[
        Command {
            name: "DOCTOR",
            since: "4.0.0",
            group: Group::Server,
            complexity: "O(1)",
            summary: "Tells what is unusual about the use of memory.",
            arity: Arity::Exact(2),
            run: Run::Admin(doctor),
            tips: &[
                "nondeterministic_output",
                "request_policy:all_shards",
                "response_policy:special",
            ],
            ..Command::BASE
        },
        Command {
            name: "HELP",
            since: "4.0.0",
            group: Group::Server,
            complexity: "O(1)",
            summary: "Shows what the subcommands do.",
            arity: Arity::Exact(2),
            flags: Flags::LOADING.and(Flags::STALE),
            run: Run::Admin(help),
            ..Command::BASE
        },
        Command {
            name: "MALLOC-STATS",
            since: "4.0.0",
            group: Group::Server,
            complexity: "Depends on how much memory is allocated, could be slow",
            summary: "Returns the report of the allocator.",
            arity: Arity::Exact(2),
            run: Run::Admin(malloc_stats),
            tips: &[
                "nondeterministic_output",
                "request_policy:all_shards",
                "response_policy:special",
            ],
            ..Command::BASE
        },
        Command {
            name: "PURGE",
            since: "4.0.0",
            group: Group::Server,
            complexity: "Depends on how much memory is allocated, could be slow",
            summary: "Gives free memory back to the system.",
            arity: Arity::Exact(2),
            run: Run::Admin(purge),
            tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
            ..Command::BASE
        },
        Command {
            name: "STATS",
            since: "4.0.0",
            group: Group::Server,
            complexity: "O(1)",
            summary: "Returns how memory is used.",
            arity: Arity::Exact(2),
            run: Run::Admin(stats),
            tips: &[
                "nondeterministic_output",
                "request_policy:all_shards",
                "response_policy:special",
            ],
            ..Command::BASE
        },
        Command {
            name: "USAGE",
            since: "4.0.0",
            group: Group::Server,
            complexity: "O(N) where N is the number of samples.",
            summary: "Returns the bytes that a key takes.",
            arity: Arity::AtLeast(3),
            keys: &[KeySpec::one(2, KeyFlags::RO)],
            args: &[
                Arg::key("key"),
                Arg::int("count").after("SAMPLES").optional(),
            ],
            flags: Flags::READONLY,
            run: Run::Read(usage),
            ..Command::BASE
        },
    ],
    ..Command::BASE
};

/// Values are accounted for exactly, as with SAMPLES 0 in Redis: no number of samples changes the answer.
fn usage(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    for at in (3..call.len()).step_by(2) {
        if !call.is_word(at, "SAMPLES") || at + 1 == call.len() || call.int(at + 1)? < 0 {
            return Err(CommandError::Syntax);
        }
    }
    match keyspace.key_bytes(call.arg(2), call.now) {
        Some(bytes) => reply.int(bytes as i64),
        None => reply.null(),
    }
    Ok(())
}

/// A figure of MEMORY STATS.
enum Figure {
    Int(u64),
    Signed(i64),
    Double(f64),
}

fn stats(host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    let report = host.report();
    let (before, after) = figures(&report);
    reply.map(before.len() + report.databases.len() + after.len());
    before.iter().for_each(|figure| write(figure, reply));
    for database in &report.databases {
        reply.bulk(format!("db.{}", database.number).as_bytes());
        reply.map(3);
        // The table is part of the data set here, and deadlines stand in the entries.
        for name in ["main", "expires", "slot-to-keys"] {
            write(
                &(&format!("overhead.hashtable.{name}"), Figure::Int(0)),
                reply,
            );
        }
    }
    after.iter().for_each(|figure| write(figure, reply));
    Ok(())
}

fn write((name, figure): &(&str, Figure), reply: &mut Reply) {
    reply.bulk(name.as_bytes());
    match figure {
        Figure::Int(value) => reply.int(*value as i64),
        Figure::Signed(value) => reply.int(*value),
        Figure::Double(value) => reply.double(*value),
    }
}

type Figures = Vec<(&'static str, Figure)>;

/// The figures before and behind those of the databases.
fn figures(report: &Report) -> (Figures, Figures) {
    use Figure::{Double, Int, Signed};
    let memory = &report.memory;
    let keys: u64 = report.databases.iter().map(|database| database.keys).sum();
    let beyond_startup = memory.used.saturating_sub(memory.startup);
    let before = vec![
        ("peak.allocated", Int(memory.peak)),
        ("total.allocated", Int(memory.used)),
        ("startup.allocated", Int(memory.startup)),
        ("replication.backlog", Int(0)),
        ("clients.slaves", Int(0)),
        ("clients.normal", Int(report.clients.buffers_bytes)),
        ("cluster.links", Int(0)),
        ("aof.buffer", Int(0)),
        ("lua.caches", Int(0)),
        ("functions.caches", Int(0)),
    ];
    let after = vec![
        ("overhead.total", Int(memory.overhead())),
        ("keys.count", Int(keys)),
        (
            "keys.bytes-per-key",
            Int(beyond_startup.checked_div(keys).unwrap_or(0)),
        ),
        ("dataset.bytes", Int(memory.dataset)),
        (
            "dataset.percentage",
            Double(percentage(memory.dataset, beyond_startup)),
        ),
        (
            "peak.percentage",
            Double(percentage(memory.used, memory.peak)),
        ),
        ("allocator.allocated", Int(memory.allocated)),
        ("allocator.active", Int(memory.active)),
        ("allocator.resident", Int(memory.resident)),
        (
            "allocator-fragmentation.ratio",
            Double(ratio(memory.active, memory.allocated)),
        ),
        (
            "allocator-fragmentation.bytes",
            Signed(difference(memory.active, memory.allocated)),
        ),
        (
            "allocator-rss.ratio",
            Double(ratio(memory.resident, memory.active)),
        ),
        (
            "allocator-rss.bytes",
            Signed(difference(memory.resident, memory.active)),
        ),
        (
            "rss-overhead.ratio",
            Double(ratio(memory.rss, memory.resident)),
        ),
        (
            "rss-overhead.bytes",
            Signed(difference(memory.rss, memory.resident)),
        ),
        ("fragmentation", Double(memory.fragmentation_ratio())),
        ("fragmentation.bytes", Signed(memory.fragmentation_bytes())),
    ];
    (before, after)
}

/// `part` of `whole`, in percent; 0 of nothing.
pub fn percentage(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => (part as f64 * 100.0 / whole as f64).min(100.0),
    }
}

/// `a` by `b`; 0 if there is no `b`.
pub fn ratio(a: u64, b: u64) -> f64 {
    match b {
        0 => 0.0,
        b => a as f64 / b as f64,
    }
}

pub fn difference(a: u64, b: u64) -> i64 {
    a as i64 - b as i64
}

fn doctor(host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    let live = host.settings().live();
    let text = doctor::memory(&host.report(), live.maxmemory_bytes);
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn malloc_stats(host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    reply.verbatim("txt", host.allocator_report().as_bytes());
    Ok(())
}

fn purge(host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    host.purge_memory();
    reply.ok();
    Ok(())
}
