//! Declarations of the commands on deadlines.

use crate::commands::spec::{Acl, Arg, Arity, Command, Flags, Group, KeyFlags, KeySpec, Run};

use super::expire;

/// What EXPIRE and its kin ask of the deadline that is there.
const CONDITION: Arg = Arg::one_of(
    "condition",
    &[
        Arg::word("nx", "NX"),
        Arg::word("xx", "XX"),
        Arg::word("gt", "GT"),
        Arg::word("lt", "LT"),
    ],
)
.optional()
.since("7.0.0");

const EXPIRE_HISTORY: &[(&str, &str)] = &[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")];

pub static COMMANDS: &[Command] = &[
    Command {
        name: "EXPIRE",
        since: "1.0.0",
        group: Group::Generic,
        complexity: "O(1)",
        summary: "Sets the expiration time of a key in seconds.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(1, KeyFlags::RW_UPDATE)],
        args: &[Arg::key("key"), Arg::int("seconds"), CONDITION],
        acl: Acl::KEYSPACE,
        flags: Flags::WRITE.and(Flags::FAST),
        run: Run::Write(expire::expire),
        history: EXPIRE_HISTORY,
        ..Command::BASE
    },
    Command {
        name: "EXPIREAT",
        since: "1.2.0",
        group: Group::Generic,
        complexity: "O(1)",
        summary: "Sets the expiration time of a key to a Unix timestamp.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(1, KeyFlags::RW_UPDATE)],
        args: &[
            Arg::key("key"),
            Arg::unix_time("unix-time-seconds"),
            CONDITION,
        ],
        acl: Acl::KEYSPACE,
        flags: Flags::WRITE.and(Flags::FAST),
        run: Run::Write(expire::expireat),
        history: EXPIRE_HISTORY,
        ..Command::BASE
    },
    Command {
        name: "EXPIRETIME",
        since: "7.0.0",
        group: Group::Generic,
        complexity: "O(1)",
        summary: "Returns the expiration time of a key as a Unix timestamp.",
        arity: Arity::Exact(2),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key")],
        acl: Acl::KEYSPACE,
        flags: Flags::READONLY.and(Flags::FAST),
        run: Run::Read(expire::expiretime),
        ..Command::BASE
    },
    Command {
        name: "PERSIST",
        since: "2.2.0",
        group: Group::Generic,
        complexity: "O(1)",
        summary: "Removes the expiration time of a key.",
        arity: Arity::Exact(2),
        keys: &[KeySpec::one(1, KeyFlags::RW_UPDATE)],
        args: &[Arg::key("key")],
        acl: Acl::KEYSPACE,
        flags: Flags::WRITE.and(Flags::FAST),
        run: Run::Write(expire::persist),
        ..Command::BASE
    },
    Command {
        name: "PEXPIRE",
        since: "2.6.0",
        group: Group::Generic,
        complexity: "O(1)",
        summary: "Sets the expiration time of a key in milliseconds.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(1, KeyFlags::RW_UPDATE)],
        args: &[Arg::key("key"), Arg::int("milliseconds"), CONDITION],
        acl: Acl::KEYSPACE,
        flags: Flags::WRITE.and(Flags::FAST),
        run: Run::Write(expire::pexpire),
        history: EXPIRE_HISTORY,
        ..Command::BASE
    },
    Command {
        name: "PEXPIREAT",
        since: "2.6.0",
        group: Group::Generic,
        complexity: "O(1)",
        summary: "Sets the expiration time of a key to a Unix milliseconds timestamp.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(1, KeyFlags::RW_UPDATE)],
        args: &[
            Arg::key("key"),
            Arg::unix_time("unix-time-milliseconds"),
            CONDITION,
        ],
        acl: Acl::KEYSPACE,
        flags: Flags::WRITE.and(Flags::FAST),
        run: Run::Write(expire::pexpireat),
        history: EXPIRE_HISTORY,
        ..Command::BASE
    },
    Command {
        name: "PEXPIRETIME",
        since: "7.0.0",
        group: Group::Generic,
        complexity: "O(1)",
        summary: "Returns the expiration time of a key as a Unix milliseconds timestamp.",
        arity: Arity::Exact(2),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key")],
        acl: Acl::KEYSPACE,
        flags: Flags::READONLY.and(Flags::FAST),
        run: Run::Read(expire::pexpiretime),
        ..Command::BASE
    },
    Command {
        name: "PTTL",
        since: "2.6.0",
        group: Group::Generic,
        complexity: "O(1)",
        summary: "Returns the expiration time in milliseconds of a key.",
        arity: Arity::Exact(2),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key")],
        acl: Acl::KEYSPACE,
        flags: Flags::READONLY.and(Flags::FAST),
        run: Run::Read(expire::pttl),
        history: &[("2.8.0", "Added the -2 reply.")],
        tips: &["nondeterministic_output"],
        ..Command::BASE
    },
    Command {
        name: "TTL",
        since: "1.0.0",
        group: Group::Generic,
        complexity: "O(1)",
        summary: "Returns the expiration time in seconds of a key.",
        arity: Arity::Exact(2),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key")],
        acl: Acl::KEYSPACE,
        flags: Flags::READONLY.and(Flags::FAST),
        run: Run::Read(expire::ttl),
        history: &[("2.8.0", "Added the -2 reply.")],
        tips: &["nondeterministic_output"],
        ..Command::BASE
    },
];
