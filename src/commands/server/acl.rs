//! ACL, as far as one user goes.

use crate::protocol::Reply;

use super::super::help::help;
use super::super::spec::{Acl, Arg, Arity, Command, Flags, Group, Run};
use super::super::{registry, Registered};
use super::super::{Call, CommandError, CommandResult, Host};

pub const ACL: Command = Command {
    name: "ACL",
    since: "6.0.0",
    group: Group::Server,
    complexity: "Depends on subcommand.",
    summary: "Container for commands about users and what they may do.",
    arity: Arity::AtLeast(2),
    run: Run::Container,
    subcommands: &[
        Command {
            name: "CAT",
            since: "6.0.0",
            group: Group::Server,
            complexity: "O(1) since the categories and commands are a fixed set.",
            summary: "Lists the categories of commands, or the commands of one.",
            arity: Arity::AtLeast(2),
            args: &[Arg::string("categoryname").optional()],
            flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
            run: Run::Admin(cat),
            ..Command::BASE
        },
        Command {
            name: "HELP",
            since: "6.0.0",
            group: Group::Server,
            complexity: "O(1)",
            summary: "Shows what the subcommands do.",
            arity: Arity::Exact(2),
            flags: Flags::LOADING.and(Flags::STALE),
            run: Run::Admin(help),
            ..Command::BASE
        },
        Command {
            name: "USERS",
            since: "6.0.0",
            group: Group::Server,
            complexity: "O(N). Where N is the number of configured users.",
            summary: "Lists the users.",
            arity: Arity::Exact(2),
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE),
            run: Run::Admin(users),
            ..Command::BASE
        },
        Command {
            name: "WHOAMI",
            since: "6.0.0",
            group: Group::Server,
            complexity: "O(1)",
            summary: "Returns the user of the connection.",
            arity: Arity::Exact(2),
            flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
            run: Run::Admin(whoami),
            ..Command::BASE
        },
    ],
    ..Command::BASE
};

fn whoami(_: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    reply.bulk(b"default");
    Ok(())
}

fn users(_: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    reply.array(1);
    reply.bulk(b"default");
    Ok(())
}

fn cat(_: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let names = match call.len() {
        2 => Acl::ALL.names().into_iter().map(str::to_string).collect(),
        3 => commands_of(call.arg(2)).ok_or_else(|| {
            CommandError::new(format!(
                "ERR Unknown category '{}'",
                String::from_utf8_lossy(call.arg(2))
            ))
        })?,
        _ => {
            return Err(CommandError::new(
                super::super::registry::subcommand_syntax(&call.args),
            ))
        }
    };
    reply.array(names.len());
    names
        .iter()
        .for_each(|name: &String| reply.bulk(name.as_bytes()));
    Ok(())
}

/// Names of the commands in a category; `None` if there is no such category.
fn commands_of(category: &[u8]) -> Option<Vec<String>> {
    let category = category.to_ascii_lowercase();
    let known = Acl::ALL.names();
    let category = known.iter().find(|name| name.as_bytes() == category)?;
    let belongs = |registered: &&&Registered| {
        let command = registered.command;
        !command.flags.has(Flags::INTERNAL)
            && !command.flags.has(Flags::DEBUG)
            && command.categories().names().contains(category)
    };
    let commands = registry().by_id.iter().filter(belongs);
    Some(
        commands
            .map(|registered| registered.full_name.clone())
            .collect(),
    )
}
