//! OBJECT: looks at how a key is kept. The look counts as a hit or miss and does not mark the key as used.

use crate::commands::host::Host;
use crate::commands::spec::{Acl, Arg, Arity, Command, Flags, Group, KeyFlags, KeySpec, Run};
use crate::commands::{Call, CommandError, CommandResult};
use crate::protocol::Reply;
use crate::store::{Keyspace, StrRef, ValueRef};

/// What the subcommands on a key have in common.
const ON_KEY: Command = Command {
    since: "2.2.3",
    group: Group::Generic,
    complexity: "O(1)",
    arity: Arity::Exact(3),
    keys: &[KeySpec::one(2, KeyFlags::RO)],
    args: &[Arg::key("key")],
    acl: Acl::KEYSPACE,
    flags: Flags::READONLY,
    tips: &["nondeterministic_output"],
    ..Command::BASE
};

pub static COMMANDS: &[Command] = &[Command {
    name: "OBJECT",
    since: "2.2.3",
    group: Group::Generic,
    complexity: "Depends on subcommand.",
    summary: "A container for object introspection commands.",
    arity: Arity::AtLeast(2),
    subcommands: &[
        Command {
            name: "ENCODING",
            summary: "Returns the internal encoding of a Redis object.",
            run: Run::Read(encoding),
            ..ON_KEY
        },
        Command {
            name: "FREQ",
            since: "4.0.0",
            summary: "Returns the logarithmic access frequency counter of a Redis object.",
            run: Run::Read(freq),
            ..ON_KEY
        },
        Command {
            name: "HELP",
            since: "6.2.0",
            group: Group::Generic,
            summary: "Returns helpful text about the different subcommands.",
            arity: Arity::Exact(2),
            acl: Acl::KEYSPACE,
            flags: Flags::LOADING.and(Flags::STALE),
            run: Run::Admin(help),
            ..Command::BASE
        },
        Command {
            name: "IDLETIME",
            summary: "Returns the time since the last access to a Redis object.",
            run: Run::Read(idletime),
            ..ON_KEY
        },
        Command {
            name: "REFCOUNT",
            summary: "Returns the reference count of a value of a key.",
            run: Run::Read(refcount),
            ..ON_KEY
        },
    ],
    ..Command::BASE
}];

const HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
    "HELP",
    "    Prints this help.",
];

fn help(_host: &dyn Host, _call: &Call, reply: &mut Reply) -> CommandResult {
    reply.array(HELP.len());
    HELP.iter().for_each(|line| reply.simple(line));
    Ok(())
}

fn encoding(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let encoding = keyspace.encoding(call.arg(2), call.now);
    keyspace.count_look(encoding.is_some());
    reply.bulk_or_null(encoding.map(str::as_bytes));
    Ok(())
}

fn freq(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let found = keyspace.access_bits(call.arg(2), call.now);
    keyspace.count_look(found.is_some());
    match found {
        None => reply.null(),
        Some(access) if keyspace.access.lfu => {
            reply.int(i64::from(keyspace.access.frequency(access, call.now)));
        }
        Some(_) => {
            return Err(CommandError::new(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                 switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ))
        }
    }
    Ok(())
}

fn idletime(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let found = keyspace.access_bits(call.arg(2), call.now);
    keyspace.count_look(found.is_some());
    match found {
        None => reply.null(),
        Some(access) if !keyspace.access.lfu => {
            reply.int(keyspace.access.idle_seconds(access, call.now) as i64);
        }
        Some(_) => {
            return Err(CommandError::new(
                "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching \
                 between policies at runtime LRU and LFU data will take some time to adjust.",
            ))
        }
    }
    Ok(())
}

/// Nothing is shared here; the small integers that Redis shares are told as it tells them.
fn refcount(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    const SHARED: i64 = i32::MAX as i64;
    const SHARED_INTEGERS: std::ops::Range<i64> = 0..10_000;
    let found = keyspace.peek(call.arg(2), call.now);
    keyspace.count_look(found.is_some());
    match found {
        None => reply.null(),
        Some(ValueRef::Str(StrRef::Int(value))) if SHARED_INTEGERS.contains(&value) => {
            reply.int(SHARED);
        }
        Some(_) => reply.int(1),
    }
    Ok(())
}
