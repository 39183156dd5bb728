//! ZRANDMEMBER: one member, some different ones, or picks with repeats.

use super::PairWriter;
use crate::commands::element::write_element;
use crate::commands::random::{distinct_indexes, write_repeated_picks};
use crate::commands::spec::{Acl, Arg, Arity, Command, Flags, Group, KeyFlags, KeySpec, Run};
use crate::commands::{Call, CommandError, CommandResult};
use crate::protocol::Reply;
use crate::store::listpack::Element;
use crate::store::{Keyspace, ZSet};

pub static COMMANDS: &[Command] = &[Command {
    name: "ZRANDMEMBER",
    since: "6.2.0",
    group: Group::SortedSet,
    complexity: "O(N) where N is the number of elements returned",
    summary: "Returns one or more random members from a sorted set.",
    arity: Arity::AtLeast(2),
    keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
    args: &[
        Arg::key("key"),
        Arg::block(
            "options",
            &[
                Arg::int("count"),
                Arg::word("withscores", "WITHSCORES").optional(),
            ],
        )
        .optional(),
    ],
    acl: Acl::SORTEDSET,
    flags: Flags::READONLY,
    run: Run::Read(zrandmember),
    tips: &["nondeterministic_output"],
    ..Command::BASE
}];

fn zrandmember(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    if call.len() > 2 {
        return pick_some(keyspace, call, reply);
    }
    let zset = keyspace.get_as::<ZSet>(call.arg(1), call.now)?;
    match zset.and_then(|zset| zset.random(&mut call.rng())) {
        Some((member, _)) => write_element(reply, member),
        None => reply.null(),
    }
    Ok(())
}

fn pick_some(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let count = call.int_within(2, -i64::MAX, i64::MAX)?;
    let with_scores = match call.len() {
        3 => false,
        4 if call.is_word(3, "WITHSCORES") => true,
        _ => return Err(CommandError::Syntax),
    };
    if with_scores && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(CommandError::OutOfRange);
    }
    let zset = keyspace.get_as::<ZSet>(call.arg(1), call.now)?;
    let Some(zset) = zset.filter(|_| count != 0) else {
        reply.array(0);
        return Ok(());
    };
    let writer = PairWriter { with_scores };
    // A listpack is walked once, not once a pick.
    let listed: Option<Vec<(Element<'_>, f64)>> = zset.is_compact().then(|| zset.iter().collect());
    let at = |index: usize| match &listed {
        Some(pairs) => pairs[index],
        None => zset.at(index),
    };
    let mut rng = call.rng();
    let Ok(distinct) = usize::try_from(count) else {
        let count = count.unsigned_abs();
        writer.header(reply, count as usize);
        let bytes_max = keyspace.limits().bulk_len_max;
        return write_repeated_picks(
            reply,
            &mut rng,
            (zset.len(), count),
            bytes_max,
            |reply, i| {
                let (member, score) = at(i);
                writer.pair(reply, member, score);
            },
        );
    };
    let indexes = distinct_indexes(&mut rng, zset.len(), distinct);
    writer.all(reply, indexes.into_iter().map(at));
    Ok(())
}
