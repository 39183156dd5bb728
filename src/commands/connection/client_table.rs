//! The entries of CLIENT and its subcommands.

use super::super::help::help;
use super::super::spec::{Acl, Arg, Arity, Command, Flags, Group, Run};
use super::client::{
    caching, get_name, get_redir, id, info, kill, list, no_evict, no_touch, pause, reply_mode,
    set_info, set_name, tracking, tracking_info, unblock, unpause,
};

const ON_OFF: &[Arg] = &[Arg::word("on", "ON"), Arg::word("off", "OFF")];

const YES_NO: &[Arg] = &[Arg::word("yes", "YES"), Arg::word("no", "NO")];

const LIST_TYPES: &[Arg] = &[
    Arg::word("normal", "NORMAL"),
    Arg::word("master", "MASTER"),
    Arg::word("replica", "REPLICA"),
    Arg::word("pubsub", "PUBSUB"),
];

const KILL_TYPES: &[Arg] = &[
    Arg::word("normal", "NORMAL"),
    Arg::word("master", "MASTER").since("3.2.0"),
    Arg::word("slave", "SLAVE"),
    Arg::word("replica", "REPLICA").since("5.0.0"),
    Arg::word("pubsub", "PUBSUB"),
];

const KILL_FILTERS: &[Arg] = &[
    Arg::int("client-id").after("ID").optional().since("2.8.12"),
    Arg::one_of("client-type", KILL_TYPES)
        .after("TYPE")
        .optional()
        .since("2.8.12"),
    Arg::string("username").after("USER").optional(),
    Arg::string("addr").after("ADDR").optional(),
    Arg::string("laddr")
        .after("LADDR")
        .optional()
        .since("6.2.0"),
    Arg::one_of("skipme", YES_NO).after("SKIPME").optional(),
];

const KILL_FORMS: &[Arg] = &[
    Arg::string("old-format").deprecated("2.8.12"),
    Arg::one_of("new-format", KILL_FILTERS).multiple(),
];

pub const CLIENT: Command = Command {
    name: "CLIENT",
    since: "2.4.0",
    group: Group::Connection,
    complexity: "Depends on subcommand.",
    summary: "Container for commands about connections.",
    arity: Arity::AtLeast(2),
    run: Run::Container,
    subcommands: &[
        Command {
            name: "CACHING",
            since: "6.0.0",
            group: Group::Connection,
            complexity: "O(1)",
            summary: "Says whether the keys of the next command are tracked.",
            arity: Arity::Exact(3),
            args: &[Arg::one_of("mode", YES_NO)],
            acl: Acl::CONNECTION,
            flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
            run: Run::Session(caching),
            ..Command::BASE
        },
        Command {
            name: "GETNAME",
            since: "2.6.9",
            group: Group::Connection,
            complexity: "O(1)",
            summary: "Returns the name of the connection.",
            arity: Arity::Exact(2),
            acl: Acl::CONNECTION,
            flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
            run: Run::Session(get_name),
            ..Command::BASE
        },
        Command {
            name: "GETREDIR",
            since: "6.0.0",
            group: Group::Connection,
            complexity: "O(1)",
            summary: "Returns the client that invalidation messages are \
                redirected to.",
            arity: Arity::Exact(2),
            acl: Acl::CONNECTION,
            flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
            run: Run::Session(get_redir),
            ..Command::BASE
        },
        Command {
            name: "HELP",
            since: "5.0.0",
            group: Group::Connection,
            complexity: "O(1)",
            summary: "Shows what the subcommands do.",
            arity: Arity::Exact(2),
            acl: Acl::CONNECTION,
            flags: Flags::LOADING.and(Flags::STALE),
            run: Run::Admin(help),
            ..Command::BASE
        },
        Command {
            name: "ID",
            since: "5.0.0",
            group: Group::Connection,
            complexity: "O(1)",
            summary: "Returns the number of the connection.",
            arity: Arity::Exact(2),
            acl: Acl::CONNECTION,
            flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
            run: Run::Session(id),
            ..Command::BASE
        },
        Command {
            name: "INFO",
            since: "6.2.0",
            group: Group::Connection,
            complexity: "O(1)",
            summary: "Returns what CLIENT LIST says of this connection.",
            arity: Arity::Exact(2),
            acl: Acl::CONNECTION,
            flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
            run: Run::Session(info),
            tips: &["nondeterministic_output"],
            ..Command::BASE
        },
        Command {
            name: "KILL",
            since: "2.4.0",
            group: Group::Connection,
            complexity: "O(N) where N is the number of client connections",
            summary: "Closes connections.",
            arity: Arity::AtLeast(3),
            args: &[Arg::one_of("filter", KILL_FORMS)],
            acl: Acl::CONNECTION,
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE),
            run: Run::Session(kill),
            history: &[
                ("2.8.12", "Added new filter format."),
                ("2.8.12", "`ID` option."),
                ("3.2.0", "Added `master` type in for `TYPE` option."),
                (
                    "5.0.0",
                    "Replaced `slave` `TYPE` with `replica`. `slave` still \
                        supported for backward compatibility.",
                ),
                ("6.2.0", "`LADDR` option."),
            ],
            ..Command::BASE
        },
        Command {
            name: "LIST",
            since: "2.4.0",
            group: Group::Connection,
            complexity: "O(N) where N is the number of client connections",
            summary: "Lists the connections.",
            arity: Arity::AtLeast(2),
            args: &[
                Arg::one_of("client-type", LIST_TYPES)
                    .after("TYPE")
                    .optional()
                    .since("5.0.0"),
                Arg::int("client-id")
                    .after("ID")
                    .optional()
                    .multiple()
                    .since("6.2.0"),
            ],
            acl: Acl::CONNECTION,
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE),
            run: Run::Session(list),
            history: &[
                ("2.8.12", "Added unique client `id` field."),
                ("5.0.0", "Added optional `TYPE` filter."),
                ("6.0.0", "Added `user` field."),
                (
                    "6.2.0",
                    "Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields \
                        and the optional `ID` filter.",
                ),
                (
                    "7.0.0",
                    "Added `resp`, `multi-mem`, `rbs` and `rbp` fields.",
                ),
                ("7.0.3", "Added `ssub` field."),
            ],
            tips: &["nondeterministic_output"],
            ..Command::BASE
        },
        Command {
            name: "NO-EVICT",
            since: "7.0.0",
            group: Group::Connection,
            complexity: "O(1)",
            summary: "Keeps the connection when clients are evicted.",
            arity: Arity::Exact(3),
            args: &[Arg::one_of("enabled", ON_OFF)],
            acl: Acl::CONNECTION,
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE),
            run: Run::Session(no_evict),
            ..Command::BASE
        },
        Command {
            name: "NO-TOUCH",
            since: "7.2.0",
            group: Group::Connection,
            complexity: "O(1)",
            summary: "Lets the commands of the connection leave no trace in the \
                keys' access times.",
            arity: Arity::Exact(3),
            args: &[Arg::one_of("enabled", ON_OFF)],
            acl: Acl::CONNECTION,
            flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
            run: Run::Session(no_touch),
            ..Command::BASE
        },
        Command {
            name: "PAUSE",
            since: "2.9.50",
            group: Group::Connection,
            complexity: "O(1)",
            summary: "Holds back the commands of all clients for a while.",
            arity: Arity::AtLeast(3),
            args: &[
                Arg::int("timeout"),
                Arg::one_of(
                    "mode",
                    &[Arg::word("write", "WRITE"), Arg::word("all", "ALL")],
                )
                .optional()
                .since("6.2.0"),
            ],
            acl: Acl::CONNECTION,
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE),
            run: Run::Session(pause),
            history: &[(
                "6.2.0",
                "`CLIENT PAUSE WRITE` mode added along with the `mode` \
                    option.",
            )],
            ..Command::BASE
        },
        Command {
            name: "REPLY",
            since: "3.2.0",
            group: Group::Connection,
            complexity: "O(1)",
            summary: "Turns the replies to the connection on or off.",
            arity: Arity::Exact(3),
            args: &[Arg::one_of(
                "action",
                &[
                    Arg::word("on", "ON"),
                    Arg::word("off", "OFF"),
                    Arg::word("skip", "SKIP"),
                ],
            )],
            acl: Acl::CONNECTION,
            flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
            run: Run::Session(reply_mode),
            ..Command::BASE
        },
        Command {
            name: "SETINFO",
            since: "7.2.0",
            group: Group::Connection,
            complexity: "O(1)",
            summary: "Tells the server about the client library.",
            arity: Arity::Exact(4),
            args: &[Arg::one_of(
                "attr",
                &[
                    Arg::string("libname").after("LIB-NAME"),
                    Arg::string("libver").after("LIB-VER"),
                ],
            )],
            acl: Acl::CONNECTION,
            flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
            run: Run::Session(set_info),
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            ..Command::BASE
        },
        Command {
            name: "SETNAME",
            since: "2.6.9",
            group: Group::Connection,
            complexity: "O(1)",
            summary: "Names the connection.",
            arity: Arity::Exact(3),
            args: &[Arg::string("connection-name")],
            acl: Acl::CONNECTION,
            flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
            run: Run::Session(set_name),
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            ..Command::BASE
        },
        Command {
            name: "TRACKING",
            since: "6.0.0",
            group: Group::Connection,
            complexity: "O(1). Some options may introduce additional complexity.",
            summary: "Turns client-side caching on or off.",
            arity: Arity::AtLeast(3),
            args: &[
                Arg::one_of("status", ON_OFF),
                Arg::int("client-id").after("REDIRECT").optional(),
                Arg::string("prefix")
                    .after("PREFIX")
                    .optional()
                    .multiple_token(),
                Arg::word("bcast", "BCAST").optional(),
                Arg::word("optin", "OPTIN").optional(),
                Arg::word("optout", "OPTOUT").optional(),
                Arg::word("noloop", "NOLOOP").optional(),
            ],
            acl: Acl::CONNECTION,
            flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
            run: Run::Session(tracking),
            ..Command::BASE
        },
        Command {
            name: "TRACKINGINFO",
            since: "6.2.0",
            group: Group::Connection,
            complexity: "O(1)",
            summary: "Returns how client-side caching is set up.",
            arity: Arity::Exact(2),
            acl: Acl::CONNECTION,
            flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
            run: Run::Session(tracking_info),
            ..Command::BASE
        },
        Command {
            name: "UNBLOCK",
            since: "5.0.0",
            group: Group::Connection,
            complexity: "O(log N) where N is the number of client connections",
            summary: "Ends the wait of a client in a blocking command.",
            arity: Arity::AtLeast(3),
            args: &[
                Arg::int("client-id"),
                Arg::one_of(
                    "unblock-type",
                    &[Arg::word("timeout", "TIMEOUT"), Arg::word("error", "ERROR")],
                )
                .optional(),
            ],
            acl: Acl::CONNECTION,
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE),
            run: Run::Session(unblock),
            ..Command::BASE
        },
        Command {
            name: "UNPAUSE",
            since: "6.2.0",
            group: Group::Connection,
            complexity: "O(N) Where N is the number of paused clients",
            summary: "Ends a pause.",
            arity: Arity::Exact(2),
            acl: Acl::CONNECTION,
            flags: Flags::ADMIN
                .and(Flags::NOSCRIPT)
                .and(Flags::LOADING)
                .and(Flags::STALE),
            run: Run::Session(unpause),
            ..Command::BASE
        },
    ],
    ..Command::BASE
};
