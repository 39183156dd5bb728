//! Strings.

use crate::protocol::Reply;
use crate::store::{Deadline, Keyspace, StrRef};

use super::spec::{Acl, Arg, Arity, Command, Flags, Group, KeyFlags, KeySpec, Merge, Run, Spread};
use super::{Call, CommandError, CommandResult};

pub static COMMANDS: &[Command] = &[
    Command {
        name: "GET",
        since: "1.0.0",
        group: Group::String,
        complexity: "O(1)",
        summary: "Returns the string value of a key.",
        arity: Arity::Exact(2),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key")],
        acl: Acl::STRING,
        flags: Flags::READONLY.and(Flags::FAST),
        run: Run::Read(get),
        ..Command::BASE
    },
    Command {
        name: "INCR",
        since: "1.0.0",
        group: Group::String,
        complexity: "O(1)",
        summary: "Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
        arity: Arity::Exact(2),
        keys: &[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)],
        args: &[Arg::key("key")],
        acl: Acl::STRING,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        run: Run::Write(incr),
        ..Command::BASE
    },
    Command {
        name: "MSET",
        since: "1.0.1",
        group: Group::String,
        complexity: "O(N) where N is the number of keys to set.",
        summary: "Atomically creates or modifies the string values of one or more keys.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::range(1, -1, 2, KeyFlags::OW_UPDATE)],
        args: &[Arg::block("data", &[Arg::key("key"), Arg::string("value")]).multiple()],
        acl: Acl::STRING,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        run: Run::Write(mset),
        spread: Spread::ByKey(Merge::Ok),
        ..Command::BASE
    },
    Command {
        name: "SET",
        since: "1.0.0",
        group: Group::String,
        complexity: "O(1)",
        summary: "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(1, KeyFlags::OW_UPDATE)],
        args: &[Arg::key("key"), Arg::string("value")],
        acl: Acl::STRING,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        run: Run::Write(set),
        ..Command::BASE
    },
];

fn get(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    match keyspace.get_str(call.arg(1), call.now)? {
        None => reply.null(),
        Some(StrRef::Bytes(bytes)) => reply.bulk(bytes),
        Some(StrRef::Int(value)) => reply.bulk_int(value),
    }
    Ok(())
}

fn set(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    if call.len() > 3 {
        return Err(CommandError::Syntax);
    }
    keyspace.set_str(call.arg(1), call.arg(2), Deadline::None, call.now);
    reply.ok();
    Ok(())
}

fn mset(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    if call.len() % 2 == 0 {
        return Err(CommandError::new(
            "ERR wrong number of arguments for 'mset' command",
        ));
    }
    for at in (1..call.len()).step_by(2) {
        keyspace.set_str(call.arg(at), call.arg(at + 1), Deadline::None, call.now);
    }
    reply.ok();
    Ok(())
}

fn incr(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let old = match keyspace.get_str(call.arg(1), call.now)? {
        None => 0,
        Some(StrRef::Int(value)) => value,
        Some(StrRef::Bytes(bytes)) => {
            crate::store::canonical_int(bytes).ok_or(CommandError::NotAnInteger)?
        }
    };
    let new = old.checked_add(1).ok_or(CommandError::new(
        "ERR increment or decrement would overflow",
    ))?;
    keyspace.set_int(call.arg(1), new, Deadline::Keep, call.now);
    reply.int(new);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Shard;

    #[test]
    fn a_counter_counts_and_refuses_what_is_no_number() {
        let mut shard = Shard::new();
        assert_eq!(shard.run("INCR n"), ":1");
        assert_eq!(shard.run("SET n abc"), "+OK");
        assert_eq!(
            shard.run("INCR n"),
            "-ERR value is not an integer or out of range"
        );
    }
}
