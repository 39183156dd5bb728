//! ACL and its subcommands, declared.

use super::super::super::help::help;
use super::super::super::spec::{Arg, Arity, Command, Flags, Group, Run};
use super::{log, password, users};

/// What most of the subcommands have in common.
const FOR_ADMINS: Command = Command {
    since: "6.0.0",
    group: Group::Server,
    complexity: "O(1)",
    arity: Arity::Exact(2),
    flags: Flags::ADMIN
        .and(Flags::NOSCRIPT)
        .and(Flags::LOADING)
        .and(Flags::STALE),
    ..Command::BASE
};

const FOR_ALL: Command = Command {
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
    ..FOR_ADMINS
};

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
            complexity: "O(1) since the categories and commands are a fixed set.",
            summary: "Lists the categories of commands, or the commands of one.",
            arity: Arity::AtLeast(2),
            args: &[Arg::string("category").optional()],
            run: Run::Admin(users::cat),
            ..FOR_ALL
        },
        Command {
            name: "DELUSER",
            complexity: "O(1) amortized time considering the typical user.",
            summary: "Removes users.",
            arity: Arity::AtLeast(3),
            args: &[Arg::string("username").multiple()],
            run: Run::Admin(users::deluser),
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            ..FOR_ADMINS
        },
        Command {
            name: "DRYRUN",
            since: "7.0.0",
            complexity: "O(1).",
            summary: "Tells whether a user may run a command, without running it.",
            arity: Arity::AtLeast(4),
            args: &[
                Arg::string("username"),
                Arg::string("command"),
                Arg::string("arg").optional().multiple(),
            ],
            run: Run::Admin(users::dryrun),
            ..FOR_ADMINS
        },
        Command {
            name: "GENPASS",
            summary: "Makes a password that nobody can guess.",
            arity: Arity::AtLeast(2),
            args: &[Arg::int("bits").optional()],
            run: Run::Admin(password::genpass),
            ..FOR_ALL
        },
        Command {
            name: "GETUSER",
            complexity: "O(N). Where N is the number of password, command and pattern rules that the user has.",
            summary: "Tells what a user may do.",
            arity: Arity::Exact(3),
            args: &[Arg::string("username")],
            run: Run::Admin(users::getuser),
            history: &[
                ("6.2.0", "Added Pub/Sub channel patterns."),
                (
                    "7.0.0",
                    "Added selectors and changed the format of key and channel patterns from a list to their rule \
                     representation.",
                ),
            ],
            ..FOR_ADMINS
        },
        Command {
            name: "HELP",
            summary: "Shows what the subcommands do.",
            flags: Flags::LOADING.and(Flags::STALE),
            run: Run::Admin(help),
            ..FOR_ALL
        },
        Command {
            name: "LIST",
            complexity: "O(N). Where N is the number of configured users.",
            summary: "Tells what the users may do, in the form of an ACL file.",
            run: Run::Admin(users::list),
            ..FOR_ADMINS
        },
        Command {
            name: "LOAD",
            complexity: "O(N). Where N is the number of configured users.",
            summary: "Reads the users from the ACL file, if there is one.",
            run: Run::Admin(users::no_file),
            ..FOR_ADMINS
        },
        Command {
            name: "LOG",
            complexity: "O(N) with N being the number of entries shown.",
            summary: "Lists failed attempts to log in.",
            arity: Arity::AtLeast(2),
            args: &[Arg::one_of(
                "operation",
                &[Arg::int("count"), Arg::word("reset", "RESET")],
            )
            .optional()],
            run: Run::Admin(log::log),
            history: &[(
                "7.2.0",
                "Added entry ID, timestamp created, and timestamp last updated.",
            )],
            ..FOR_ADMINS
        },
        Command {
            name: "SAVE",
            complexity: "O(N). Where N is the number of configured users.",
            summary: "Writes the users to the ACL file, if there is one.",
            run: Run::Admin(users::no_file),
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            ..FOR_ADMINS
        },
        Command {
            name: "SETUSER",
            complexity: "O(N). Where N is the number of rules provided.",
            summary: "Creates or changes a user: comes with a later version.",
            arity: Arity::AtLeast(3),
            args: &[
                Arg::string("username"),
                Arg::string("rule").optional().multiple(),
            ],
            run: Run::Admin(users::setuser),
            history: &[
                ("6.2.0", "Added Pub/Sub channel patterns."),
                ("7.0.0", "Added selectors and key based permissions."),
            ],
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            ..FOR_ADMINS
        },
        Command {
            name: "USERS",
            complexity: "O(N). Where N is the number of configured users.",
            summary: "Lists the users.",
            run: Run::Admin(users::users),
            ..FOR_ADMINS
        },
        Command {
            name: "WHOAMI",
            summary: "Returns the user of the connection.",
            run: Run::Admin(users::whoami),
            ..FOR_ALL
        },
    ],
    ..Command::BASE
};
