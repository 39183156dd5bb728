//! Sorted set commands that take members out: by name, by range, from an end.

use super::bounds::{lex_range, ranks, score_range};
use super::PairWriter;
use crate::commands::spec::{Acl, Arg, Arity, Command, Flags, Group, KeyFlags, KeySpec, Run};
use crate::commands::{Call, CommandError, CommandResult};
use crate::protocol::Reply;
use crate::store::{Keyspace, ZSet};
use std::ops::Range;

pub static COMMANDS: &[Command] = &[
    Command {
        name: "ZMPOP",
        since: "7.0.0",
        group: Group::SortedSet,
        complexity: "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.",
        summary: "Returns the highest- or lowest-scoring members from one or more sorted sets after removing them. Deletes the sorted set if the last member was popped.",
        arity: Arity::AtLeast(4),
        keys: &[KeySpec::counted(1, KeyFlags::RW_ACCESS_DELETE)],
        args: &[Arg::int("numkeys"), Arg::key("key").multiple(), Arg::one_of("where", &[Arg::word("min", "MIN"), Arg::word("max", "MAX")]), Arg::int("count").after("COUNT").optional()],
        acl: Acl::SORTEDSET,
        flags: Flags::WRITE.and(Flags::MOVABLE_KEYS),
        run: Run::Write(zmpop),
        ..Command::BASE
    },
    Command {
        name: "ZPOPMAX",
        since: "5.0.0",
        group: Group::SortedSet,
        complexity: "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.",
        summary: "Returns the highest-scoring members from a sorted set after removing them. Deletes the sorted set if the last member was popped.",
        arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(1, KeyFlags::RW_ACCESS_DELETE)],
        args: &[Arg::key("key"), Arg::int("count").optional()],
        acl: Acl::SORTEDSET,
        flags: Flags::WRITE.and(Flags::FAST),
        run: Run::Write(zpopmax),
        ..Command::BASE
    },
    Command {
        name: "ZPOPMIN",
        since: "5.0.0",
        group: Group::SortedSet,
        complexity: "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.",
        summary: "Returns the lowest-scoring members from a sorted set after removing them. Deletes the sorted set if the last member was popped.",
        arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(1, KeyFlags::RW_ACCESS_DELETE)],
        args: &[Arg::key("key"), Arg::int("count").optional()],
        acl: Acl::SORTEDSET,
        flags: Flags::WRITE.and(Flags::FAST),
        run: Run::Write(zpopmin),
        ..Command::BASE
    },
    Command {
        name: "ZREM",
        since: "1.2.0",
        group: Group::SortedSet,
        complexity: "O(M*log(N)) with N being the number of elements in the sorted set and M the number of elements to be removed.",
        summary: "Removes one or more members from a sorted set. Deletes the sorted set if all members were removed.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(1, KeyFlags::RW_DELETE)],
        args: &[Arg::key("key"), Arg::string("member").multiple()],
        acl: Acl::SORTEDSET,
        flags: Flags::WRITE.and(Flags::FAST),
        run: Run::Write(zrem),
        history: &[("2.4.0", "Accepts multiple elements.")],
        ..Command::BASE
    },
    Command {
        name: "ZREMRANGEBYLEX",
        since: "2.8.9",
        group: Group::SortedSet,
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.",
        summary: "Removes members in a sorted set within a lexicographical range. Deletes the sorted set if all members were removed.",
        arity: Arity::Exact(4),
        keys: &[KeySpec::one(1, KeyFlags::RW_DELETE)],
        args: &[Arg::key("key"), Arg::string("min"), Arg::string("max")],
        acl: Acl::SORTEDSET,
        flags: Flags::WRITE,
        run: Run::Write(zremrangebylex),
        ..Command::BASE
    },
    Command {
        name: "ZREMRANGEBYRANK",
        since: "2.0.0",
        group: Group::SortedSet,
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.",
        summary: "Removes members in a sorted set within a range of indexes. Deletes the sorted set if all members were removed.",
        arity: Arity::Exact(4),
        keys: &[KeySpec::one(1, KeyFlags::RW_DELETE)],
        args: &[Arg::key("key"), Arg::int("start"), Arg::int("stop")],
        acl: Acl::SORTEDSET,
        flags: Flags::WRITE,
        run: Run::Write(zremrangebyrank),
        ..Command::BASE
    },
    Command {
        name: "ZREMRANGEBYSCORE",
        since: "1.2.0",
        group: Group::SortedSet,
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.",
        summary: "Removes members in a sorted set within a range of scores. Deletes the sorted set if all members were removed.",
        arity: Arity::Exact(4),
        keys: &[KeySpec::one(1, KeyFlags::RW_DELETE)],
        args: &[Arg::key("key"), Arg::double("min"), Arg::double("max")],
        acl: Acl::SORTEDSET,
        flags: Flags::WRITE,
        run: Run::Write(zremrangebyscore),
        ..Command::BASE
    },
];

fn zrem(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let removed = match keyspace.edit::<ZSet>(call.arg(1), call.now)? {
        Some(mut zset) => call
            .args
            .from(2)
            .filter(|member| zset.remove(member).is_some())
            .count(),
        None => 0,
    };
    reply.int(removed as i64);
    Ok(())
}

fn zremrangebyrank(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let (start, stop) = (call.int(2)?, call.int(3)?);
    remove_range(keyspace, call, reply, |zset| ranks(start, stop, zset.len()))
}

fn zremrangebyscore(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let range = score_range(call.arg(2), call.arg(3))?;
    remove_range(keyspace, call, reply, |zset| zset.ranks_by_score(&range))
}

fn zremrangebylex(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let range = lex_range(call.arg(2), call.arg(3))?;
    remove_range(keyspace, call, reply, |zset| zset.ranks_by_lex(&range))
}

fn remove_range(
    keyspace: &mut Keyspace,
    call: &Call,
    reply: &mut Reply,
    ranks: impl FnOnce(&ZSet) -> Range<usize>,
) -> CommandResult {
    let removed = match keyspace.edit::<ZSet>(call.arg(1), call.now)? {
        Some(mut zset) => {
            let ranks = ranks(&zset);
            zset.remove_ranks(ranks)
        }
        None => 0,
    };
    reply.int(removed as i64);
    Ok(())
}

/// From which end to pop.
#[derive(Clone, Copy)]
enum End {
    Min,
    Max,
}

fn zpopmin(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    pop(keyspace, call, reply, End::Min)
}

fn zpopmax(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    pop(keyspace, call, reply, End::Max)
}

fn pop(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply, end: End) -> CommandResult {
    let count = match call.len() {
        2 => None,
        3 => Some(call.int_at_least(2, 0, "ERR value is out of range, must be positive")?),
        _ => return Err(CommandError::Syntax),
    };
    let Some(mut zset) = keyspace.edit::<ZSet>(call.arg(1), call.now)? else {
        reply.array(0);
        return Ok(());
    };
    let wanted = zset.len().min(count.unwrap_or(1) as usize);
    match count {
        // Without a count there is one pair and no array around it, also in RESP3.
        None => reply.array(2 * wanted),
        Some(_) => PairWriter { with_scores: true }.header(reply, wanted),
    }
    let nested = count.is_some() && reply.is_resp3();
    take(&mut zset, wanted, end, reply, nested);
    Ok(())
}

/// Takes `count` members from one end and writes each with its score.
fn take(zset: &mut ZSet, count: usize, end: End, reply: &mut Reply, nested: bool) {
    let len = zset.len();
    let mut write = |member: crate::store::listpack::Element<'_>, score| {
        if nested {
            reply.array(2);
        }
        crate::commands::element::write_element(reply, member);
        reply.double(score);
    };
    let ranks = match end {
        End::Min => 0..count,
        End::Max => len - count..len,
    };
    let pairs = zset.pairs(ranks.clone());
    match end {
        End::Min => pairs.for_each(|(member, score)| write(member, score)),
        End::Max => pairs.rev().for_each(|(member, score)| write(member, score)),
    }
    zset.remove_ranks(ranks);
}

fn zmpop(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let numkeys = call.int_at_least(1, 1, "ERR numkeys should be greater than 0")? as usize;
    let place = numkeys.saturating_add(2);
    let end = match () {
        () if call.is_word(place, "MIN") => End::Min,
        () if call.is_word(place, "MAX") => End::Max,
        () => return Err(CommandError::Syntax),
    };
    let count = match call.len() - (place + 1) {
        0 => 1,
        2 if call.is_word(place + 1, "COUNT") => {
            call.int_at_least(place + 2, 1, "ERR count should be greater than 0")?
        }
        _ => return Err(zmpop_option_error(call, place + 1)),
    };
    for key in (2..place).map(|at| call.arg(at)) {
        let Some(mut zset) = keyspace.edit::<ZSet>(key, call.now)? else {
            continue;
        };
        let wanted = zset.len().min(count as usize);
        reply.array(2);
        reply.bulk(key);
        reply.array(wanted);
        take(&mut zset, wanted, end, reply, true);
        return Ok(());
    }
    reply.null_array();
    Ok(())
}

/// A COUNT that is none is told before what is wrong behind it.
fn zmpop_option_error(call: &Call, at: usize) -> CommandError {
    if at + 1 < call.len() && call.is_word(at, "COUNT") {
        if let Err(error) = call.int_at_least(at + 1, 1, "ERR count should be greater than 0") {
            return error;
        }
    }
    CommandError::Syntax
}
