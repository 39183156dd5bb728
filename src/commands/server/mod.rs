//! The server: its state, settings, memory, delays and life.

mod acl;
mod command;
mod config;
mod debug;
mod doctor;
mod info;
mod latency;
mod memory;
mod persistence;
mod slowlog;
#[cfg(test)]
mod tests;

use crate::protocol::Reply;

use super::report::REDIS_VERSION;
use super::spec::{Acl, Arg, Arity, Command, Flags, Group, Run};
use super::{Call, CommandResult, Host};

pub static COMMANDS: &[Command] = &[
    acl::ACL,
    command::COMMAND,
    config::CONFIG,
    debug::DEBUG,
    latency::LATENCY,
    memory::MEMORY,
    persistence::BGREWRITEAOF,
    persistence::BGSAVE,
    persistence::LASTSAVE,
    persistence::SAVE,
    persistence::SHUTDOWN,
    slowlog::SLOWLOG,
    Command {
        name: "INFO",
        since: "1.0.0",
        group: Group::Server,
        complexity: "O(1)",
        summary: "Returns the state of the server in sections.",
        arity: Arity::AtLeast(1),
        args: &[Arg::string("section").optional().multiple()],
        acl: Acl::DANGEROUS,
        flags: Flags::LOADING.and(Flags::STALE),
        run: Run::Session(info::info),
        history: &[(
            "7.0.0",
            "Added support for taking multiple section arguments.",
        )],
        tips: &[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ],
        ..Command::BASE
    },
    Command {
        name: "LOLWUT",
        since: "5.0.0",
        group: Group::Server,
        complexity: "O(1)",
        summary: "Draws something and names the version.",
        arity: Arity::AtLeast(1),
        args: &[Arg::int("version").after("VERSION").optional()],
        flags: Flags::READONLY.and(Flags::FAST),
        run: Run::Admin(lolwut),
        ..Command::BASE
    },
    Command {
        name: "ROLE",
        since: "2.8.12",
        group: Group::Server,
        complexity: "O(1)",
        summary: "Returns the part that the server plays in replication.",
        arity: Arity::Exact(1),
        acl: Acl::ADMIN.and(Acl::DANGEROUS),
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST),
        run: Run::Admin(role),
        ..Command::BASE
    },
    Command {
        name: "TIME",
        since: "2.6.0",
        group: Group::Server,
        complexity: "O(1)",
        summary: "Returns the server's clock.",
        arity: Arity::Exact(1),
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        run: Run::Admin(time),
        tips: &["nondeterministic_output"],
        ..Command::BASE
    },
];

fn role(_: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    reply.array(3);
    reply.bulk(b"master");
    // There is no stream of bytes for Redis replicas, so there is no offset in one.
    reply.int(0);
    reply.array(0);
    Ok(())
}

fn time(host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    let now_us = host.now_us();
    reply.array(2);
    reply.bulk((now_us / 1_000_000).to_string().as_bytes());
    reply.bulk((now_us % 1_000_000).to_string().as_bytes());
    Ok(())
}

fn lolwut(_: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    if call.len() > 2 && call.is_word(1, "VERSION") {
        call.int(2)?;
    }
    let text = format!("{RING}Redis ver. {REDIS_VERSION}\n");
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// A ring fort from above: bank, ditch, three houses, one entrance.
const RING: &str = "
        . - ~ ~ - .
     .'  _ - - _   '.
   .'  .'   o   '.   '.
  /   /  o      o \\   \\
  |   |           |   |
  \\   \\           /   /
   '.  '._     _.'  .'
     '.   |   |   .'
        '-'   '-'

";
