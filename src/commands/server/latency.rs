//! LATENCY: events that took long, and how long commands take.

use std::sync::{MutexGuard, PoisonError};

use crate::protocol::Reply;

use super::super::help::help;
use super::super::latency::{Event, LatencyLog};
use super::super::report::CommandUse;
use super::super::spec::{Arg, Arity, Command, Flags, Group, Run};
use super::super::{Call, CommandError, CommandResult, Host};
use super::doctor;

pub const LATENCY: Command = Command {
    name: "LATENCY",
    since: "2.8.13",
    group: Group::Server,
    complexity: "Depends on subcommand.",
    summary: "Container for commands about delays.",
    arity: Arity::AtLeast(2),
    run: Run::Container,
    subcommands: &[
        Command {
            name: "DOCTOR",
            since: "2.8.13",
            group: Group::Server,
            complexity: "O(1)",
            summary: "Tells what is unusual about delays.",
            arity: Arity::Exact(2),
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE),
            run: Run::Admin(doctor),
            tips: &[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ],
            ..Command::BASE
        },
        Command {
            name: "GRAPH",
            since: "2.8.13",
            group: Group::Server,
            complexity: "O(1)",
            summary: "Draws the samples of an event.",
            arity: Arity::Exact(3),
            args: &[Arg::string("event")],
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE),
            run: Run::Admin(graph),
            tips: &[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ],
            ..Command::BASE
        },
        Command {
            name: "HELP",
            since: "2.8.13",
            group: Group::Server,
            complexity: "O(1)",
            summary: "Shows what the subcommands do.",
            arity: Arity::Exact(2),
            flags: Flags::LOADING.and(Flags::STALE),
            run: Run::Admin(help),
            ..Command::BASE
        },
        Command {
            name: "HISTOGRAM",
            since: "7.0.0",
            group: Group::Server,
            complexity:
                "O(N) where N is the number of commands with latency information being retrieved.",
            summary: "Returns how long commands took, by doubling durations.",
            arity: Arity::AtLeast(2),
            args: &[Arg::string("command").optional().multiple()],
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE),
            run: Run::Admin(histogram),
            tips: &[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ],
            ..Command::BASE
        },
        Command {
            name: "HISTORY",
            since: "2.8.13",
            group: Group::Server,
            complexity: "O(1)",
            summary: "Returns the samples of an event.",
            arity: Arity::Exact(3),
            args: &[Arg::string("event")],
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE),
            run: Run::Admin(history),
            tips: &[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ],
            ..Command::BASE
        },
        Command {
            name: "LATEST",
            since: "2.8.13",
            group: Group::Server,
            complexity: "O(1)",
            summary: "Returns the latest sample of each event.",
            arity: Arity::Exact(2),
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE),
            run: Run::Admin(latest),
            tips: &[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ],
            ..Command::BASE
        },
        Command {
            name: "RESET",
            since: "2.8.13",
            group: Group::Server,
            complexity: "O(1)",
            summary: "Forgets the samples of some or all events.",
            arity: Arity::AtLeast(2),
            args: &[Arg::string("event").optional().multiple()],
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE),
            run: Run::Admin(reset),
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            ..Command::BASE
        },
    ],
    ..Command::BASE
};

fn log(host: &dyn Host) -> MutexGuard<'_, LatencyLog> {
    host.latency()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

fn latest(host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    let log = log(host);
    reply.array(log.events().len());
    for (name, event) in log.events() {
        let latest = event.latest().unwrap_or_default();
        reply.array(4);
        reply.bulk(name.as_bytes());
        reply.int(latest.at_seconds as i64);
        reply.int(latest.duration_ms as i64);
        reply.int(event.duration_ms_max as i64);
    }
    Ok(())
}

fn history(host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let log = log(host);
    let samples = log.event(call.arg(2)).map_or(&[][..], Event::samples);
    reply.array(samples.len());
    for sample in samples {
        reply.array(2);
        reply.int(sample.at_seconds as i64);
        reply.int(sample.duration_ms as i64);
    }
    Ok(())
}

fn reset(host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let mut log = log(host);
    let forgotten = match call.len() {
        2 => log.reset(),
        _ => call.args.from(2).filter(|name| log.reset_one(name)).count(),
    };
    reply.int(forgotten as i64);
    Ok(())
}

fn graph(host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let log = log(host);
    let Some(event) = log.event(call.arg(2)) else {
        return Err(CommandError::new(format!(
            "ERR No samples available for event '{}'",
            String::from_utf8_lossy(call.arg(2))
        )));
    };
    let name = String::from_utf8_lossy(call.arg(2));
    let text = doctor::graph(&name, event, host.now().0 / 1_000);
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn doctor(host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    let threshold_ms = host.settings().live().latency_monitor_threshold_ms;
    let text = doctor::latency(&log(host), threshold_ms);
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn histogram(host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let used: Vec<CommandUse> = host
        .command_use()
        .into_iter()
        .filter(|used| used.latency.count() > 0 && is_wanted(call, &used.name))
        .collect();
    reply.map(used.len());
    for used in used {
        reply.bulk(used.name.as_bytes());
        reply.map(2);
        reply.bulk(b"calls");
        reply.int(used.latency.count() as i64);
        reply.bulk(b"histogram_usec");
        let doublings = used.latency.cumulative_us();
        reply.map(doublings.len());
        for (bound_us, calls) in doublings {
            reply.int(bound_us as i64);
            reply.int(calls as i64);
        }
    }
    Ok(())
}

/// Whether a command was asked for by its name, or by its container's.
fn is_wanted(call: &Call, name: &str) -> bool {
    let container = name.split('|').next().unwrap_or(name);
    call.len() == 2
        || call.args.from(2).any(|wanted| {
            wanted.eq_ignore_ascii_case(name.as_bytes())
                || wanted.eq_ignore_ascii_case(container.as_bytes())
        })
}
