//! Declarations of the commands on whole databases.

use crate::commands::spec::{Acl, Arg, Arity, Command, Flags, Group, Merge, Run, Spread};

use super::database;

const FLUSH_MODE: Arg = Arg::one_of(
    "flush-type",
    &[
        Arg::word("async", "ASYNC").since("4.0.0"),
        Arg::word("sync", "SYNC").since("6.2.0"),
    ],
)
.optional();

pub static COMMANDS: &[Command] = &[
    Command {
        name: "DBSIZE",
        since: "1.0.0",
        group: Group::Server,
        complexity: "O(1)",
        summary: "Returns the number of keys in the database.",
        arity: Arity::Exact(1),
        acl: Acl::KEYSPACE,
        flags: Flags::READONLY.and(Flags::FAST),
        run: Run::Read(database::dbsize),
        spread: Spread::Everywhere(Merge::Sum),
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        ..Command::BASE
    },
    Command {
        name: "FLUSHALL",
        since: "1.0.0",
        group: Group::Server,
        complexity: "O(N) where N is the total number of keys in all databases",
        summary: "Removes all keys from all databases.",
        arity: Arity::AtLeast(1),
        args: &[FLUSH_MODE],
        acl: Acl::KEYSPACE.and(Acl::DANGEROUS),
        flags: Flags::WRITE,
        run: Run::Databases(database::flushall),
        spread: Spread::Everywhere(Merge::Ok),
        history: &[
            ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
            ("6.2.0", "Added the `SYNC` flushing mode modifier."),
        ],
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        ..Command::BASE
    },
    Command {
        name: "FLUSHDB",
        since: "1.0.0",
        group: Group::Server,
        complexity: "O(N) where N is the number of keys in the selected database",
        summary: "Remove all keys from the current database.",
        arity: Arity::AtLeast(1),
        args: &[FLUSH_MODE],
        acl: Acl::KEYSPACE.and(Acl::DANGEROUS),
        flags: Flags::WRITE,
        run: Run::Write(database::flushdb),
        spread: Spread::Everywhere(Merge::Ok),
        history: &[
            ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
            ("6.2.0", "Added the `SYNC` flushing mode modifier."),
        ],
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        ..Command::BASE
    },
    Command {
        name: "SWAPDB",
        since: "4.0.0",
        group: Group::Server,
        complexity:
            "O(N) where N is the count of clients watching or blocking on keys from both databases.",
        summary: "Swaps two Redis databases.",
        arity: Arity::Exact(3),
        args: &[Arg::int("index1"), Arg::int("index2")],
        acl: Acl::KEYSPACE.and(Acl::DANGEROUS),
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::CLUSTER_LIMITED),
        run: Run::Databases(database::swapdb),
        spread: Spread::Everywhere(Merge::Ok),
        ..Command::BASE
    },
];
