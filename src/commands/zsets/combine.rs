//! Unions, intersections and differences of sorted sets and sets, answered, counted or stored: the commands.
//! What they compute is in [`super::algebra`].

use super::algebra::{Aggregate, Input, Operation, Scored};
use super::PairWriter;
use crate::commands::spec::{Acl, Arg, Arity, Command, Flags, Group, KeyFlags, KeySpec, Run};
use crate::commands::{Call, CommandError, CommandResult};
use crate::protocol::{parse_f64, Reply};
use crate::store::listpack::Element;
use crate::store::{Deadline, Keyspace, Value, ValueRef, ZSet};

const WEIGHTS: Arg = Arg::int("weight").after("WEIGHTS").optional().multiple();
const AGGREGATE: Arg = Arg::one_of(
    "aggregate",
    &[
        Arg::word("sum", "SUM"),
        Arg::word("min", "MIN"),
        Arg::word("max", "MAX"),
    ],
)
.after("AGGREGATE")
.optional();

pub static COMMANDS: &[Command] = &[
    Command {
        name: "ZDIFF",
        since: "6.2.0",
        group: Group::SortedSet,
        complexity: "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.",
        summary: "Returns the difference between multiple sorted sets.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::counted(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::int("numkeys"), Arg::key("key").multiple(), Arg::word("withscores", "WITHSCORES").optional()],
        acl: Acl::SORTEDSET,
        flags: Flags::READONLY.and(Flags::MOVABLE_KEYS),
        run: Run::Read(zdiff),
        ..Command::BASE
    },
    Command {
        name: "ZDIFFSTORE",
        since: "6.2.0",
        group: Group::SortedSet,
        complexity: "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.",
        summary: "Stores the difference of multiple sorted sets in a key.",
        arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(1, KeyFlags::OW_UPDATE), KeySpec::counted(2, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("destination"), Arg::int("numkeys"), Arg::key("key").spec(1).multiple()],
        acl: Acl::SORTEDSET,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLE_KEYS),
        run: Run::Write(zdiffstore),
        ..Command::BASE
    },
    Command {
        name: "ZINTER",
        since: "6.2.0",
        group: Group::SortedSet,
        complexity: "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.",
        summary: "Returns the intersect of multiple sorted sets.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::counted(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::int("numkeys"), Arg::key("key").multiple(), WEIGHTS, AGGREGATE, Arg::word("withscores", "WITHSCORES").optional()],
        acl: Acl::SORTEDSET,
        flags: Flags::READONLY.and(Flags::MOVABLE_KEYS),
        run: Run::Read(zinter),
        ..Command::BASE
    },
    Command {
        name: "ZINTERCARD",
        since: "7.0.0",
        group: Group::SortedSet,
        complexity: "O(N*K) worst case with N being the smallest input sorted set, K being the number of input sorted sets.",
        summary: "Returns the number of members of the intersect of multiple sorted sets.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::counted(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::int("numkeys"), Arg::key("key").multiple(), Arg::int("limit").after("LIMIT").optional()],
        acl: Acl::SORTEDSET,
        flags: Flags::READONLY.and(Flags::MOVABLE_KEYS),
        run: Run::Read(zintercard),
        ..Command::BASE
    },
    Command {
        name: "ZINTERSTORE",
        since: "2.0.0",
        group: Group::SortedSet,
        complexity: "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.",
        summary: "Stores the intersect of multiple sorted sets in a key.",
        arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(1, KeyFlags::OW_UPDATE), KeySpec::counted(2, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("destination"), Arg::int("numkeys"), Arg::key("key").spec(1).multiple(), WEIGHTS, AGGREGATE],
        acl: Acl::SORTEDSET,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLE_KEYS),
        run: Run::Write(zinterstore),
        ..Command::BASE
    },
    Command {
        name: "ZUNION",
        since: "6.2.0",
        group: Group::SortedSet,
        complexity: "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.",
        summary: "Returns the union of multiple sorted sets.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::counted(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::int("numkeys"), Arg::key("key").multiple(), WEIGHTS, AGGREGATE, Arg::word("withscores", "WITHSCORES").optional()],
        acl: Acl::SORTEDSET,
        flags: Flags::READONLY.and(Flags::MOVABLE_KEYS),
        run: Run::Read(zunion),
        ..Command::BASE
    },
    Command {
        name: "ZUNIONSTORE",
        since: "2.0.0",
        group: Group::SortedSet,
        complexity: "O(N)+O(M log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.",
        summary: "Stores the union of multiple sorted sets in a key.",
        arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(1, KeyFlags::OW_UPDATE), KeySpec::counted(2, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("destination"), Arg::int("numkeys"), Arg::key("key").spec(1).multiple(), WEIGHTS, AGGREGATE],
        acl: Acl::SORTEDSET,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLE_KEYS),
        run: Run::Write(zunionstore),
        ..Command::BASE
    },
];

fn zunion(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    answer(keyspace, call, reply, Operation::Union)
}

fn zinter(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    answer(keyspace, call, reply, Operation::Intersection)
}

fn zdiff(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    answer(keyspace, call, reply, Operation::Difference)
}

fn zunionstore(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    store(keyspace, call, reply, Operation::Union)
}

fn zinterstore(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    store(keyspace, call, reply, Operation::Intersection)
}

fn zdiffstore(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    store(keyspace, call, reply, Operation::Difference)
}

fn zintercard(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let query = Query::parse(keyspace, call, Form::Count, Operation::Intersection)?;
    let wanted = match query.limit {
        0 => usize::MAX,
        limit => limit,
    };
    reply.int(query.operation.count(query.inputs, wanted) as i64);
    Ok(())
}

fn answer(
    keyspace: &Keyspace,
    call: &Call,
    reply: &mut Reply,
    operation: Operation,
) -> CommandResult {
    let query = Query::parse(keyspace, call, Form::Answer, operation)?;
    let writer = PairWriter {
        with_scores: query.with_scores,
    };
    let result = query.operation.run(query.inputs, query.aggregate);
    let result = super::algebra::in_order(result);
    let pairs = result.iter().map(|(m, score)| (Element::Bytes(m), *score));
    writer.all(reply, pairs);
    Ok(())
}

/// Stores the result at the destination, whatever was there; an empty one removes the key.
fn store(
    keyspace: &mut Keyspace,
    call: &Call,
    reply: &mut Reply,
    operation: Operation,
) -> CommandResult {
    let query = Query::parse(keyspace, call, Form::Store, operation)?;
    let result: Scored = query.operation.run(query.inputs, query.aggregate);
    let members = result.iter().map(|(member, score)| (&**member, *score));
    let Ok(mut zset) = ZSet::from_members(members) else {
        unreachable!("an operation's result has no member twice and no score that is NaN")
    };
    zset.compact(keyspace.limits());
    reply.int(zset.len() as i64);
    keyspace.set(call.arg(1), Value::ZSet(zset), Deadline::None, call.now);
    Ok(())
}

/// What a command does with its result: it decides which options there are, and where the keys stand.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Answer,
    Count,
    Store,
}

struct Query<'a> {
    operation: Operation,
    inputs: Vec<Input<'a>>,
    aggregate: Aggregate,
    with_scores: bool,
    /// 0: none.
    limit: usize,
}

impl<'a> Query<'a> {
    fn parse(
        keyspace: &'a Keyspace,
        call: &Call,
        form: Form,
        operation: Operation,
    ) -> Result<Self, CommandError> {
        let count_at = if form == Form::Store { 2 } else { 1 };
        let numkeys = call.int(count_at)?;
        if numkeys < 1 {
            return Err(CommandError::new(format!(
                "ERR at least 1 input key is needed for '{}' command",
                String::from_utf8_lossy(call.arg(0)).to_lowercase()
            )));
        }
        if numkeys > (call.len() - count_at - 1) as i64 {
            return Err(CommandError::Syntax);
        }
        let first = count_at + 1;
        let end = first + numkeys as usize;
        let inputs = (first..end)
            .map(|at| input_at(keyspace, call, at))
            .collect::<Result<Vec<_>, _>>()?;
        let mut query = Query {
            operation,
            inputs,
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: 0,
        };
        query.parse_options(call, form, end)?;
        Ok(query)
    }

    fn parse_options(&mut self, call: &Call, form: Form, mut at: usize) -> CommandResult {
        let combines = self.operation != Operation::Difference && form != Form::Count;
        while at < call.len() {
            let behind = call.len() - at - 1;
            if combines && behind >= self.inputs.len() && call.is_word(at, "WEIGHTS") {
                for input in &mut self.inputs {
                    at += 1;
                    input.weight = parse_f64(call.arg(at))
                        .ok_or(CommandError::new("ERR weight value is not a float"))?;
                }
            } else if combines && behind >= 1 && call.is_word(at, "AGGREGATE") {
                at += 1;
                self.aggregate = match () {
                    () if call.is_word(at, "SUM") => Aggregate::Sum,
                    () if call.is_word(at, "MIN") => Aggregate::Min,
                    () if call.is_word(at, "MAX") => Aggregate::Max,
                    () => return Err(CommandError::Syntax),
                };
            } else if form == Form::Answer && call.is_word(at, "WITHSCORES") {
                self.with_scores = true;
            } else if form == Form::Count && behind >= 1 && call.is_word(at, "LIMIT") {
                at += 1;
                self.limit = call.int_at_least(at, 0, "ERR LIMIT can't be negative")? as usize;
            } else {
                return Err(CommandError::Syntax);
            }
            at += 1;
        }
        Ok(())
    }
}

fn input_at<'a>(keyspace: &'a Keyspace, call: &Call, at: usize) -> Result<Input<'a>, CommandError> {
    match keyspace.get(call.arg(at), call.now) {
        None => Ok(Input::absent()),
        Some(ValueRef::ZSet(zset)) => Ok(Input::zset(zset)),
        Some(ValueRef::Set(set)) => Ok(Input::set(set)),
        Some(_) => Err(CommandError::WrongType),
    }
}
