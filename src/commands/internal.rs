//! Commands that a node writes into its own log. Clients cannot call them.

use crate::protocol::{parse_i64, OwnedArgs, Reply};
use crate::store::rdb::Records;
use crate::store::{Databases, Held, Keyspace, Limits, StringForm};

use super::spec::{Arity, Command, Flags, Group, KeyFlags, KeySpec, Run, Spread};
use super::{Call, CommandError, CommandResult};

pub static COMMANDS: &[Command] = &[
    Command {
        name: "RF.LIMITS",
        since: "7.2.0",
        group: Group::Server,
        complexity: "O(1)",
        summary: "Sets the thresholds of compact encodings and the longest string of a shard.",
        arity: Arity::Exact(10),
        flags: Flags::WRITE.and(Flags::INTERNAL),
        run: Run::Databases(limits),
        spread: Spread::Together,
        ..Command::BASE
    },
    Command {
        name: "RF.META",
        since: "7.2.0",
        group: Group::Server,
        complexity: "O(N) where N is the size of the topology.",
        summary: "Changes the topology of the cluster.",
        arity: Arity::Exact(2),
        flags: Flags::WRITE.and(Flags::INTERNAL),
        run: Run::Meta,
        spread: Spread::Together,
        ..Command::BASE
    },
    Command {
        name: "RF.PUT",
        since: "7.2.0",
        group: Group::Generic,
        complexity: "O(N) where N is the size of the value.",
        summary: "Sets a key to a value that a command over several shards has made.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(1, KeyFlags::OW_UPDATE)],
        flags: Flags::WRITE.and(Flags::INTERNAL),
        run: Run::Write(put),
        ..Command::BASE
    },
    Command {
        name: "RF.REMOVE",
        since: "7.2.0",
        group: Group::Generic,
        complexity: "O(1)",
        summary:
            "Removes a key that was evicted, or that a command over several shards has removed.",
        arity: Arity::Exact(2),
        keys: &[KeySpec::one(1, KeyFlags::RM_DELETE)],
        flags: Flags::WRITE.and(Flags::INTERNAL),
        run: Run::Write(remove),
        ..Command::BASE
    },
    Command {
        name: "RF.SWEEP",
        since: "7.2.0",
        group: Group::Generic,
        complexity: "O(N) where N is the number of keys in the range.",
        summary: "Removes the keys that are due in a range of hashes.",
        arity: Arity::Exact(3),
        flags: Flags::WRITE.and(Flags::INTERNAL),
        run: Run::Write(sweep),
        ..Command::BASE
    },
];

/// RF.PUT's words for [`StringForm::Raw`] and [`StringForm::Bytes`], which the record does not tell.
const RAW: &str = "RAW";
const BYTES: &str = "BYTES";

/// The arguments of RF.PUT; `record` is what [`put_record`](crate::store::rdb::put_record) makes.
pub fn put_args(key: &[u8], record: &[u8], form: StringForm) -> OwnedArgs {
    let word = match form {
        StringForm::Natural => None,
        StringForm::Bytes => Some(BYTES.as_bytes()),
        StringForm::Raw => Some(RAW.as_bytes()),
    };
    OwnedArgs::new([&b"RF.PUT"[..], key, record].into_iter().chain(word))
}

/// The arguments of RF.LIMITS.
pub fn limits_args(limits: &Limits) -> OwnedArgs {
    let numbers = limits.to_numbers();
    let name = std::iter::once("RF.LIMITS".to_string());
    OwnedArgs::new(name.chain(numbers.iter().map(i64::to_string)))
}

fn limits(databases: &mut Databases, call: &Call, reply: &mut Reply) -> CommandResult {
    let mut numbers = [0; 9];
    for (index, number) in numbers.iter_mut().enumerate() {
        *number = call.int(index + 1)?;
    }
    databases.set_limits(Limits::from_numbers(numbers));
    reply.ok();
    Ok(())
}

fn put(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let record = Records::new(call.arg(2)).next().and_then(Result::ok);
    let record = record.ok_or(CommandError::new("ERR Bad data format"))?;
    let held = Held {
        value: record.value,
        form: match () {
            () if call.is_word(3, RAW) => StringForm::Raw,
            () if call.is_word(3, BYTES) => StringForm::Bytes,
            () => StringForm::Natural,
        },
        deadline: record.deadline,
    };
    keyspace.set_held(call.arg(1), held, call.now);
    reply.ok();
    Ok(())
}

fn remove(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    reply.int(i64::from(keyspace.remove(call.arg(1), call.now)));
    Ok(())
}

fn sweep(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let [from, to] = [1, 2].map(|index| parse_i64(call.arg(index)).map(|hash| hash as u64));
    let (from, to) = (
        from.ok_or(CommandError::NotAnInteger)?,
        to.ok_or(CommandError::NotAnInteger)?,
    );
    reply.int(keyspace.remove_due(from, to, call.now) as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Shard;
    use super::*;
    use crate::store::rdb::put_record;
    use crate::store::{Deadline, StrRef, Timestamp, ValueRef};

    #[test]
    fn a_sweep_removes_what_is_due_and_nothing_else() {
        let mut shard = Shard::new();
        let now = shard.now;
        let keyspace = shard.databases.keyspace_mut(0);
        keyspace.set_str(b"gone", b"v", Deadline::At(Timestamp(now.0 + 10)), now);
        keyspace.set_str(b"later", b"v", Deadline::At(Timestamp(now.0 + 1000)), now);
        keyspace.set_str(b"ever", b"v", Deadline::None, now);
        shard.advance(11);
        assert_eq!(shard.run("RF.SWEEP 0 -1"), ":1");
        assert_eq!(shard.databases.keyspace(0).len(), 2);
    }

    #[test]
    fn a_put_brings_value_and_deadline() {
        let mut shard = Shard::new();
        let at = Timestamp(shard.now.0 + 500);
        let mut record = Vec::new();
        put_record(
            0,
            b"k",
            Some(at),
            ValueRef::Str(StrRef::Bytes(b"v")),
            &mut record,
        );
        assert_eq!(shard.run_args([&b"RF.PUT"[..], b"k", &record]), "+OK");
        assert_eq!(shard.run("GET k"), "$1 v");
        assert_eq!(
            shard.databases.keyspace(0).deadline(b"k", shard.now),
            Some(Some(at))
        );
        assert_eq!(shard.run("RF.REMOVE k"), ":1");
        assert_eq!(shard.run("GET k"), "$-1");
    }

    #[test]
    fn a_put_keeps_the_form_of_a_string() {
        let mut shard = Shard::new();
        let mut record = Vec::new();
        let value = ValueRef::Str(StrRef::Bytes(b"12"));
        put_record(0, b"k", None, value, &mut record);
        for (form, encoding) in [
            (StringForm::Natural, "$3 int"),
            (StringForm::Bytes, "$6 embstr"),
            (StringForm::Raw, "$3 raw"),
        ] {
            shard.raw(&put_args(b"k", &record, form).as_args());
            assert_eq!(shard.run("OBJECT ENCODING k"), encoding);
        }
    }

    #[test]
    fn limits_arrive_as_they_were_sent() {
        let mut shard = Shard::new();
        let wanted = Limits {
            hash_max_listpack_entries: 3,
            bulk_len_max: 1 << 40,
            ..Limits::default()
        };
        shard.raw(&limits_args(&wanted).as_args());
        assert_eq!(*shard.databases.limits(), wanted);
    }
}
