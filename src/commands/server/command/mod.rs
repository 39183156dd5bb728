//! COMMAND: the table, told to clients.

mod docs;
mod entry;
mod keys;

use crate::protocol::Reply;
use crate::settings::glob;

use super::super::help::help;
use super::super::spec::{Acl, Arg, Arity, Command, Flags, Group, Run};
use super::super::{registry, Call, CommandError, CommandResult, Host, Registered};

pub const COMMAND: Command = Command {
    name: "COMMAND",
    since: "2.8.13",
    group: Group::Server,
    complexity: "O(N) where N is the total number of Redis commands",
    summary: "Returns what the server knows of its commands.",
    arity: Arity::AtLeast(1),
    acl: Acl::CONNECTION,
    flags: Flags::LOADING.and(Flags::STALE),
    run: Run::Admin(all),
    subcommands: &[
        Command {
            name: "COUNT",
            since: "2.8.13",
            group: Group::Server,
            complexity: "O(1)",
            summary: "Returns the number of commands.",
            arity: Arity::Exact(2),
            acl: Acl::CONNECTION,
            flags: Flags::LOADING.and(Flags::STALE),
            run: Run::Admin(count),
            ..Command::BASE
        },
        Command {
            name: "DOCS",
            since: "7.0.0",
            group: Group::Server,
            complexity: "O(N) where N is the number of commands to look up",
            summary: "Returns the documentation of commands.",
            arity: Arity::AtLeast(2),
            args: &[Arg::string("command-name").optional().multiple()],
            acl: Acl::CONNECTION,
            flags: Flags::LOADING.and(Flags::STALE),
            run: Run::Admin(docs::docs),
            tips: &["nondeterministic_output_order"],
            ..Command::BASE
        },
        Command {
            name: "GETKEYS",
            since: "2.8.13",
            group: Group::Server,
            complexity: "O(N) where N is the number of arguments to the command",
            summary: "Returns the keys among the arguments of a command.",
            arity: Arity::AtLeast(4),
            acl: Acl::CONNECTION,
            flags: Flags::LOADING.and(Flags::STALE),
            run: Run::Admin(keys::getkeys),
            ..Command::BASE
        },
        Command {
            name: "GETKEYSANDFLAGS",
            since: "7.0.0",
            group: Group::Server,
            complexity: "O(N) where N is the number of arguments to the command",
            summary: "Returns the keys among the arguments of a command, and what it does to them.",
            arity: Arity::AtLeast(4),
            acl: Acl::CONNECTION,
            flags: Flags::LOADING.and(Flags::STALE),
            run: Run::Admin(keys::getkeysandflags),
            ..Command::BASE
        },
        Command {
            name: "HELP",
            since: "5.0.0",
            group: Group::Server,
            complexity: "O(1)",
            summary: "Shows what the subcommands do.",
            arity: Arity::Exact(2),
            acl: Acl::CONNECTION,
            flags: Flags::LOADING.and(Flags::STALE),
            run: Run::Admin(help),
            ..Command::BASE
        },
        Command {
            name: "INFO",
            since: "2.8.13",
            group: Group::Server,
            complexity: "O(N) where N is the number of commands to look up",
            summary: "Returns what the server knows of some commands.",
            arity: Arity::AtLeast(2),
            args: &[Arg::string("command-name").optional().multiple()],
            acl: Acl::CONNECTION,
            flags: Flags::LOADING.and(Flags::STALE),
            run: Run::Admin(info),
            history: &[(
                "7.0.0",
                "Allowed to be called with no argument to get info on all commands.",
            )],
            tips: &["nondeterministic_output_order"],
            ..Command::BASE
        },
        Command {
            name: "LIST",
            since: "7.0.0",
            group: Group::Server,
            complexity: "O(N) where N is the total number of Redis commands",
            summary: "Returns the names of commands.",
            arity: Arity::AtLeast(2),
            args: &[Arg::one_of(
                "filterby",
                &[
                    Arg::string("module-name").after("MODULE"),
                    Arg::string("category").after("ACLCAT"),
                    Arg::pattern("pattern").after("PATTERN"),
                ],
            )
            .after("FILTERBY")
            .optional()],
            acl: Acl::CONNECTION,
            flags: Flags::LOADING.and(Flags::STALE),
            run: Run::Admin(list),
            tips: &["nondeterministic_output_order"],
            ..Command::BASE
        },
    ],
    tips: &["nondeterministic_output_order"],
    ..Command::BASE
};

/// The commands that clients may see, by name or all.
fn wanted(call: &Call) -> Vec<Option<&'static Registered>> {
    match call.len() {
        0..=2 => visible().map(Some).collect(),
        _ => call.args.from(2).map(find).collect(),
    }
}

/// All commands but our own internal ones.
fn visible() -> impl Iterator<Item = &'static Registered> {
    registry()
        .commands
        .iter()
        .copied()
        .filter(|registered| !registered.command.flags.has(Flags::INTERNAL))
}

/// The subcommands that clients may see.
fn visible_subcommands(registered: &Registered) -> &[&'static Registered] {
    match registered.command.flags.has(Flags::OPAQUE) {
        true => &[],
        false => &registered.subcommands,
    }
}

/// The command of this name; a subcommand by `container|name`.
fn find(name: &[u8]) -> Option<&'static Registered> {
    let mut parts = name.splitn(2, |byte| *byte == b'|');
    let top = parts.next().and_then(|top| registry().find(top))?;
    let found = match parts.next() {
        None => top,
        Some(sub) => visible_subcommands(top)
            .iter()
            .find(|candidate| candidate.command.name.as_bytes().eq_ignore_ascii_case(sub))?,
    };
    (!found.command.flags.has(Flags::INTERNAL)).then_some(found)
}

fn all(_: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    let commands: Vec<_> = visible().collect();
    reply.array(commands.len());
    commands
        .iter()
        .for_each(|registered| entry::write(registered, reply));
    Ok(())
}

fn info(_: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let wanted = wanted(call);
    reply.array(wanted.len());
    for registered in wanted {
        match registered {
            Some(registered) => entry::write(registered, reply),
            None => reply.null(),
        }
    }
    Ok(())
}

fn count(_: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    reply.int(visible().count() as i64);
    Ok(())
}

fn list(_: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let names: Vec<&str> = match call.len() {
        2 => visible()
            .map(|registered| registered.full_name.as_str())
            .collect(),
        5 if call.is_word(2, "FILTERBY") => filtered(call)?,
        _ => return Err(CommandError::Syntax),
    };
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk(name.as_bytes()));
    Ok(())
}

/// Names of the commands and subcommands that a filter lets through.
fn filtered(call: &Call) -> Result<Vec<&'static str>, CommandError> {
    let text = call.arg(4).to_ascii_lowercase();
    let lets_through: Box<dyn Fn(&Registered) -> bool> = match () {
        // There are no modules.
        () if call.is_word(3, "MODULE") => Box::new(|_| false),
        () if call.is_word(3, "ACLCAT") => Box::new(|registered| {
            let categories = registered.command.categories().names();
            categories.iter().any(|name| name.as_bytes() == text)
        }),
        () if call.is_word(3, "PATTERN") => {
            Box::new(|registered| glob::matches(&text, registered.full_name.as_bytes()))
        }
        () => return Err(CommandError::Syntax),
    };
    let with_subcommands = visible()
        .flat_map(|top| std::iter::once(top).chain(visible_subcommands(top).iter().copied()));
    Ok(with_subcommands
        .filter(|registered| lets_through(registered))
        .map(|registered| registered.full_name.as_str())
        .collect())
}
