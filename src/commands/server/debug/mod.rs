//! DEBUG: what test suites use. Off unless `enable-debug-command` allows it.

mod digest;
mod object;
mod protocol;

use std::time::Duration;

use crate::protocol::Reply;
use crate::settings::glob;
use crate::settings::parse_bytes;

use super::super::help::help;
use super::super::host::Pending;
use super::super::spec::{
    Arg, Arity, Command, Flags, Group, KeyFlags, KeySpec, Merge, Run, Spread,
};
use super::super::{Call, CommandError, CommandResult, Host, Session};
use protocol::protocol;

pub const DEBUG: Command = Command {
    name: "DEBUG",
    since: "1.0.0",
    group: Group::Server,
    complexity: "Depends on subcommand.",
    summary: "Container for commands that test suites use.",
    arity: Arity::AtLeast(2),
    flags: Flags::ADMIN
        .and(Flags::NOSCRIPT)
        .and(Flags::LOADING)
        .and(Flags::STALE)
        .and(Flags::OPAQUE),
    run: Run::Container,
    subcommands: &[
        Command {
            name: "CHANGE-REPL-ID",
            since: "1.0.0",
            group: Group::Server,
            complexity: "Depends on subcommand.",
            summary: "Gives the server a new replication id.",
            arity: Arity::Exact(2),
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE)
                .and(Flags::DEBUG),
            run: Run::Admin(change_repl_id),
            ..Command::BASE
        },
        Command {
            name: "DIGEST",
            since: "1.0.0",
            group: Group::Server,
            complexity: "Depends on subcommand.",
            summary: "Returns a sum over all keys and values.",
            arity: Arity::Exact(2),
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE)
                .and(Flags::DEBUG),
            run: Run::Databases(digest::digest),
            spread: Spread::Everywhere(Merge::AddHex),
            ..Command::BASE
        },
        Command {
            name: "DIGEST-VALUE",
            since: "1.0.0",
            group: Group::Server,
            complexity: "Depends on subcommand.",
            summary: "Returns a sum over the value of each key.",
            arity: Arity::AtLeast(3),
            keys: &[KeySpec::range(2, -1, 1, KeyFlags::RO)],
            args: &[Arg::key("key").multiple()],
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE)
                .and(Flags::DEBUG),
            run: Run::Read(digest::digest_value),
            spread: Spread::ByKey(Merge::InKeyOrder),
            ..Command::BASE
        },
        Command {
            name: "ERROR",
            since: "1.0.0",
            group: Group::Server,
            complexity: "Depends on subcommand.",
            summary: "Answers with this error.",
            arity: Arity::Exact(3),
            args: &[Arg::string("string")],
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE)
                .and(Flags::DEBUG),
            run: Run::Admin(error),
            ..Command::BASE
        },
        Command {
            name: "HELP",
            since: "1.0.0",
            group: Group::Server,
            complexity: "Depends on subcommand.",
            summary: "Shows what the subcommands do.",
            arity: Arity::Exact(2),
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE)
                .and(Flags::DEBUG),
            run: Run::Admin(help),
            ..Command::BASE
        },
        Command {
            name: "LOG",
            since: "1.0.0",
            group: Group::Server,
            complexity: "Depends on subcommand.",
            summary: "Writes a line into the server's log.",
            arity: Arity::Exact(3),
            args: &[Arg::string("message")],
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE)
                .and(Flags::DEBUG),
            run: Run::Admin(log),
            ..Command::BASE
        },
        Command {
            name: "OBJECT",
            since: "1.0.0",
            group: Group::Server,
            complexity: "Depends on subcommand.",
            summary: "Returns how a value is stored.",
            arity: Arity::AtLeast(3),
            keys: &[KeySpec::one(2, KeyFlags::RO)],
            args: &[Arg::key("key"), Arg::word("fast", "FAST").optional()],
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE)
                .and(Flags::DEBUG),
            run: Run::Read(object::object),
            ..Command::BASE
        },
        Command {
            name: "PROTOCOL",
            since: "1.0.0",
            group: Group::Server,
            complexity: "Depends on subcommand.",
            summary: "Answers with a value of this type.",
            arity: Arity::Exact(3),
            args: &[Arg::string("type")],
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE)
                .and(Flags::DEBUG),
            run: Run::Admin(protocol),
            ..Command::BASE
        },
        Command {
            name: "QUICKLIST-PACKED-THRESHOLD",
            since: "1.0.0",
            group: Group::Server,
            complexity: "Depends on subcommand.",
            summary: "Has no effect: elements of lists are all stored alike.",
            arity: Arity::Exact(3),
            args: &[Arg::string("size")],
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE)
                .and(Flags::DEBUG),
            run: Run::Admin(quicklist_packed_threshold),
            ..Command::BASE
        },
        Command {
            name: "RELOAD",
            since: "1.0.0",
            group: Group::Server,
            complexity: "Depends on subcommand.",
            summary: "Writes a snapshot and reads it back.",
            arity: Arity::AtLeast(2),
            args: &[Arg::word("nosave", "NOSAVE").optional()],
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE)
                .and(Flags::DEBUG),
            run: Run::Session(reload),
            ..Command::BASE
        },
        Command {
            name: "SET-ACTIVE-EXPIRE",
            since: "1.0.0",
            group: Group::Server,
            complexity: "Depends on subcommand.",
            summary: "Turns the removal of keys that nobody asks for on or off.",
            arity: Arity::Exact(3),
            args: &[Arg::string("0|1")],
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE)
                .and(Flags::DEBUG),
            run: Run::Admin(set_active_expire),
            ..Command::BASE
        },
        Command {
            name: "SLEEP",
            since: "1.0.0",
            group: Group::Server,
            complexity: "Depends on subcommand.",
            summary: "Stops the worker of this connection for some seconds.",
            arity: Arity::Exact(3),
            args: &[Arg::double("seconds")],
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE)
                .and(Flags::DEBUG),
            run: Run::Admin(sleep),
            ..Command::BASE
        },
        Command {
            name: "STRINGMATCH-LEN",
            since: "1.0.0",
            group: Group::Server,
            complexity: "Depends on subcommand.",
            summary: "Says whether a pattern matches a text.",
            arity: Arity::Exact(4),
            args: &[Arg::string("pattern"), Arg::string("text")],
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE)
                .and(Flags::DEBUG),
            run: Run::Admin(stringmatch_len),
            ..Command::BASE
        },
    ],
    ..Command::BASE
};

/// Longer sleeps than a day are a mistake in the unit.
const SLEEP_SECONDS_MAX: f64 = 86_400.0;

/// As in Redis, what is no number counts as 0.
fn sleep(host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let seconds = std::str::from_utf8(call.arg(2))
        .ok()
        .and_then(|text| text.parse::<f64>().ok())
        .filter(|seconds| seconds.is_finite())
        .unwrap_or(0.0);
    host.sleep(Duration::from_secs_f64(
        seconds.clamp(0.0, SLEEP_SECONDS_MAX),
    ));
    reply.ok();
    Ok(())
}

fn set_active_expire(host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    host.set_active_expire(call.int(2).unwrap_or(0) != 0);
    reply.ok();
    Ok(())
}

fn change_repl_id(host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    host.change_replication_id();
    reply.ok();
    Ok(())
}

/// Reading back what was never written cannot be had: NOSAVE reloads from log and snapshot, which hold all.
fn reload(session: &mut Session, _: &dyn Host, call: &Call, _: &mut Reply) -> CommandResult {
    let known = |at: usize| {
        ["MERGE", "NOFLUSH", "NOSAVE"]
            .iter()
            .any(|word| call.is_word(at, word))
    };
    if !(2..call.len()).all(known) {
        return Err(CommandError::new(
            "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
        ));
    }
    session.pending = Some(Pending::Reload);
    Ok(())
}

fn error(_: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    reply.error(&String::from_utf8_lossy(call.arg(2)));
    Ok(())
}

fn log(_: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    tracing::warn!(message = %String::from_utf8_lossy(call.arg(2)).escape_debug(), "DEBUG LOG");
    reply.ok();
    Ok(())
}

fn quicklist_packed_threshold(_: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let bytes = std::str::from_utf8(call.arg(2)).ok().and_then(parse_bytes);
    if bytes.is_none_or(|bytes| bytes > i64::from(u32::MAX)) {
        return Err(CommandError::new(
            "ERR argument must be a memory value bigger than 1 and smaller than 4gb",
        ));
    }
    reply.ok();
    Ok(())
}

fn stringmatch_len(_: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    reply.int(i64::from(glob::matches(call.arg(2), call.arg(3))));
    Ok(())
}
