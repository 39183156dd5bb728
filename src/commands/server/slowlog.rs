//! SLOWLOG: the commands that took long.

use std::sync::{MutexGuard, PoisonError};

use crate::protocol::Reply;

use super::super::help::help;
use super::super::registry::subcommand_syntax;
use super::super::slowlog::SlowLog;
use super::super::spec::{Arg, Arity, Command, Flags, Group, Run};
use super::super::{Call, CommandError, CommandResult, Host};

/// Entries that GET shows unless it is told how many.
const SHOWN_DEFAULT: i64 = 10;

pub const SLOWLOG: Command = Command {
    name: "SLOWLOG",
    since: "2.2.12",
    group: Group::Server,
    complexity: "Depends on subcommand.",
    summary: "Container for commands about slow commands.",
    arity: Arity::AtLeast(2),
    run: Run::Container,
    subcommands: &[
        Command {
            name: "GET",
            since: "2.2.12",
            group: Group::Server,
            complexity: "O(N) where N is the number of entries returned",
            summary: "Returns the newest slow commands.",
            arity: Arity::AtLeast(2),
            args: &[Arg::int("count").optional()],
            flags: Flags::ADMIN.and(Flags::LOADING).and(Flags::STALE),
            run: Run::Admin(get),
            history: &[(
                "4.0.0",
                "Added client IP address, port and name to the reply.",
            )],
            tips: &["request_policy:all_nodes", "nondeterministic_output"],
            ..Command::BASE
        },
        Command {
            name: "HELP",
            since: "6.2.0",
            group: Group::Server,
            complexity: "O(1)",
            summary: "Shows what the subcommands do.",
            arity: Arity::Exact(2),
            flags: Flags::LOADING.and(Flags::STALE),
            run: Run::Admin(help),
            ..Command::BASE
        },
        Command {
            name: "LEN",
            since: "2.2.12",
            group: Group::Server,
            complexity: "O(1)",
            summary: "Returns the number of slow commands remembered.",
            arity: Arity::Exact(2),
            flags: Flags::ADMIN.and(Flags::LOADING).and(Flags::STALE),
            run: Run::Admin(len),
            tips: &[
                "request_policy:all_nodes",
                "response_policy:agg_sum",
                "nondeterministic_output",
            ],
            ..Command::BASE
        },
        Command {
            name: "RESET",
            since: "2.2.12",
            group: Group::Server,
            complexity: "O(N) where N is the number of entries in the slowlog",
            summary: "Forgets the slow commands.",
            arity: Arity::Exact(2),
            flags: Flags::ADMIN.and(Flags::LOADING).and(Flags::STALE),
            run: Run::Admin(reset),
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            ..Command::BASE
        },
    ],
    ..Command::BASE
};

fn slowlog(host: &dyn Host) -> MutexGuard<'_, SlowLog> {
    host.slowlog()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

fn get(host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let count = match call.len() {
        2 => SHOWN_DEFAULT,
        3 => call
            .int(2)
            .ok()
            .filter(|count| *count >= -1)
            .ok_or(CommandError::new(
                "ERR count should be greater than or equal to -1",
            ))?,
        _ => return Err(CommandError::new(subcommand_syntax(&call.args))),
    };
    let log = slowlog(host);
    // -1 asks for all.
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(log.len());
    reply.array(count);
    for entry in log.newest().take(count) {
        reply.array(6);
        reply.int(entry.id as i64);
        reply.int(entry.at_seconds as i64);
        reply.int(entry.duration_us as i64);
        reply.array(entry.arguments.len());
        entry
            .arguments
            .iter()
            .for_each(|argument| reply.bulk(argument));
        reply.bulk(entry.client_address.as_bytes());
        reply.bulk(&entry.client_name);
    }
    Ok(())
}

fn len(host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    reply.int(slowlog(host).len() as i64);
    Ok(())
}

fn reset(host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    slowlog(host).reset();
    reply.ok();
    Ok(())
}
