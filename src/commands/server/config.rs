//! CONFIG: the settings of the running node.

use crate::protocol::Reply;

use super::super::help::help;
use super::super::spec::{Arg, Arity, Command, Flags, Group, Run};
use super::super::{Call, CommandError, CommandResult, Host, Session};

pub const CONFIG: Command = Command {
    name: "CONFIG",
    since: "2.0.0",
    group: Group::Server,
    complexity: "Depends on subcommand.",
    summary: "Container for commands about settings.",
    arity: Arity::AtLeast(2),
    run: Run::Container,
    subcommands: &[
        Command {
            name: "GET",
            since: "2.0.0",
            group: Group::Server,
            complexity: "O(N) when N is the number of configuration parameters provided",
            summary: "Returns the values of settings.",
            arity: Arity::AtLeast(3),
            args: &[Arg::block("parameter", &[Arg::string("parameter")]).multiple()],
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE),
            run: Run::Session(get),
            history: &[(
                "7.0.0",
                "Added the ability to pass multiple pattern parameters in one call",
            )],
            ..Command::BASE
        },
        Command {
            name: "HELP",
            since: "5.0.0",
            group: Group::Server,
            complexity: "O(1)",
            summary: "Shows what the subcommands do.",
            arity: Arity::Exact(2),
            flags: Flags::LOADING.and(Flags::STALE),
            run: Run::Admin(help),
            ..Command::BASE
        },
        Command {
            name: "RESETSTAT",
            since: "2.0.0",
            group: Group::Server,
            complexity: "O(1)",
            summary: "Lets the counters of INFO begin anew.",
            arity: Arity::Exact(2),
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE),
            run: Run::Admin(resetstat),
            ..Command::BASE
        },
        Command {
            name: "REWRITE",
            since: "2.8.0",
            group: Group::Server,
            complexity: "O(1)",
            summary: "Writes the settings that hold now into the configuration file.",
            arity: Arity::Exact(2),
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE),
            run: Run::Admin(rewrite),
            ..Command::BASE
        },
        Command {
            name: "SET",
            since: "2.0.0",
            group: Group::Server,
            complexity: "O(N) when N is the number of configuration parameters provided",
            summary: "Changes settings.",
            arity: Arity::AtLeast(4),
            args: &[
                Arg::block("data", &[Arg::string("parameter"), Arg::string("value")]).multiple(),
            ],
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE),
            run: Run::Admin(set),
            history: &[(
                "7.0.0",
                "Added the ability to set multiple parameters in one call.",
            )],
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            ..Command::BASE
        },
    ],
    ..Command::BASE
};

fn get(session: &mut Session, host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let patterns: Vec<&[u8]> = call.args.from(2).collect();
    let found = host.settings().get(&patterns);
    reply.map(found.len());
    for (name, mut value) in found {
        if session.is_cluster && name.eq_ignore_ascii_case("cluster-enabled") {
            value = "yes".into();
        }
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    Ok(())
}

fn set(host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    if call.len() % 2 == 1 {
        return Err(CommandError::Syntax);
    }
    let texts: Vec<_> = call.args.from(2).map(String::from_utf8_lossy).collect();
    let pairs: Vec<(&str, &str)> = texts
        .chunks_exact(2)
        .map(|pair| (pair[0].as_ref(), pair[1].as_ref()))
        .collect();
    host.settings()
        .set(&pairs)
        .map_err(|error| CommandError::new(error.to_string()))?;
    reply.ok();
    Ok(())
}

fn resetstat(host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    host.reset_statistics();
    reply.ok();
    Ok(())
}

fn rewrite(host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    host.settings()
        .rewrite()
        .map_err(|error| CommandError::new(error.to_string()))?;
    reply.ok();
    Ok(())
}
