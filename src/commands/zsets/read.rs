//! Sorted set commands that look at members one by one, or count.

use super::bounds::{lex_range, score_range};
use crate::commands::element::write_element;
use crate::commands::scan::{parse_cursor, ScanOptions};
use crate::commands::spec::{Acl, Arg, Arity, Command, Flags, Group, KeyFlags, KeySpec, Run};
use crate::commands::{Call, CommandError, CommandResult};
use crate::protocol::{format_double, Reply};
use crate::store::{Keyspace, ZSet};

pub static COMMANDS: &[Command] = &[
    Command {
        name: "ZCARD",
        since: "1.2.0",
        group: Group::SortedSet,
        complexity: "O(1)",
        summary: "Returns the number of members in a sorted set.",
        arity: Arity::Exact(2),
        keys: &[KeySpec::one(1, KeyFlags::RO)],
        args: &[Arg::key("key")],
        acl: Acl::SORTEDSET,
        flags: Flags::READONLY.and(Flags::FAST),
        run: Run::Read(zcard),
        ..Command::BASE
    },
    Command {
        name: "ZCOUNT",
        since: "2.0.0",
        group: Group::SortedSet,
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Returns the count of members in a sorted set that have scores within a range.",
        arity: Arity::Exact(4),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key"), Arg::double("min"), Arg::double("max")],
        acl: Acl::SORTEDSET,
        flags: Flags::READONLY.and(Flags::FAST),
        run: Run::Read(zcount),
        ..Command::BASE
    },
    Command {
        name: "ZLEXCOUNT",
        since: "2.8.9",
        group: Group::SortedSet,
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Returns the number of members in a sorted set within a lexicographical range.",
        arity: Arity::Exact(4),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key"), Arg::string("min"), Arg::string("max")],
        acl: Acl::SORTEDSET,
        flags: Flags::READONLY.and(Flags::FAST),
        run: Run::Read(zlexcount),
        ..Command::BASE
    },
    Command {
        name: "ZMSCORE",
        since: "6.2.0",
        group: Group::SortedSet,
        complexity: "O(N) where N is the number of members being requested.",
        summary: "Returns the score of one or more members in a sorted set.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key"), Arg::string("member").multiple()],
        acl: Acl::SORTEDSET,
        flags: Flags::READONLY.and(Flags::FAST),
        run: Run::Read(zmscore),
        ..Command::BASE
    },
    Command {
        name: "ZRANK",
        since: "2.0.0",
        group: Group::SortedSet,
        complexity: "O(log(N))",
        summary: "Returns the index of a member in a sorted set ordered by ascending scores.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key"), Arg::string("member"), Arg::word("withscore", "WITHSCORE").optional()],
        acl: Acl::SORTEDSET,
        flags: Flags::READONLY.and(Flags::FAST),
        run: Run::Read(zrank),
        history: &[("7.2.0", "Added the optional `WITHSCORE` argument.")],
        ..Command::BASE
    },
    Command {
        name: "ZREVRANK",
        since: "2.0.0",
        group: Group::SortedSet,
        complexity: "O(log(N))",
        summary: "Returns the index of a member in a sorted set ordered by descending scores.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key"), Arg::string("member"), Arg::word("withscore", "WITHSCORE").optional()],
        acl: Acl::SORTEDSET,
        flags: Flags::READONLY.and(Flags::FAST),
        run: Run::Read(zrevrank),
        history: &[("7.2.0", "Added the optional `WITHSCORE` argument.")],
        ..Command::BASE
    },
    Command {
        name: "ZSCAN",
        since: "2.8.0",
        group: Group::SortedSet,
        complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection..",
        summary: "Iterates over members and scores of a sorted set.",
        arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key"), Arg::int("cursor"), Arg::pattern("pattern").after("MATCH").optional(), Arg::int("count").after("COUNT").optional()],
        acl: Acl::SORTEDSET,
        flags: Flags::READONLY,
        run: Run::Read(zscan),
        tips: &["nondeterministic_output"],
        ..Command::BASE
    },
    Command {
        name: "ZSCORE",
        since: "1.2.0",
        group: Group::SortedSet,
        complexity: "O(1)",
        summary: "Returns the score of a member in a sorted set.",
        arity: Arity::Exact(3),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key"), Arg::string("member")],
        acl: Acl::SORTEDSET,
        flags: Flags::READONLY.and(Flags::FAST),
        run: Run::Read(zscore),
        ..Command::BASE
    },
];

fn zcard(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let zset = keyspace.get_as::<ZSet>(call.arg(1), call.now)?;
    reply.int(zset.map_or(0, ZSet::len) as i64);
    Ok(())
}

fn zscore(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let zset = keyspace.get_as::<ZSet>(call.arg(1), call.now)?;
    write_score(reply, zset.and_then(|zset| zset.score(call.arg(2))));
    Ok(())
}

fn zmscore(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let zset = keyspace.get_as::<ZSet>(call.arg(1), call.now)?;
    reply.array(call.len() - 2);
    for member in call.args.from(2) {
        write_score(reply, zset.and_then(|zset| zset.score(member)));
    }
    Ok(())
}

fn write_score(reply: &mut Reply, score: Option<f64>) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

fn zrank(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    answer_rank(keyspace, call, reply, "zrank", |rank, _| rank)
}

fn zrevrank(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    answer_rank(keyspace, call, reply, "zrevrank", |rank, len| {
        len - 1 - rank
    })
}

fn answer_rank(
    keyspace: &Keyspace,
    call: &Call,
    reply: &mut Reply,
    name: &str,
    direction: fn(rank: usize, len: usize) -> usize,
) -> CommandResult {
    let with_score = match call.len() {
        3 => false,
        4 if call.is_word(3, "WITHSCORE") => true,
        4 => return Err(CommandError::Syntax),
        _ => {
            return Err(CommandError::new(format!(
                "ERR wrong number of arguments for '{name}' command"
            )))
        }
    };
    let zset = keyspace.get_as::<ZSet>(call.arg(1), call.now)?;
    let found = zset.and_then(|zset| {
        let (rank, score) = zset.rank(call.arg(2))?;
        Some((direction(rank, zset.len()), score))
    });
    match found {
        Some((rank, score)) if with_score => {
            reply.array(2);
            reply.int(rank as i64);
            reply.double(score);
        }
        Some((rank, _)) => reply.int(rank as i64),
        None if with_score => reply.null_array(),
        None => reply.null(),
    }
    Ok(())
}

fn zcount(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let range = score_range(call.arg(2), call.arg(3))?;
    let zset = keyspace.get_as::<ZSet>(call.arg(1), call.now)?;
    reply.int(zset.map_or(0, |zset| zset.ranks_by_score(&range).len()) as i64);
    Ok(())
}

fn zlexcount(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let range = lex_range(call.arg(2), call.arg(3))?;
    let zset = keyspace.get_as::<ZSet>(call.arg(1), call.now)?;
    reply.int(zset.map_or(0, |zset| zset.ranks_by_lex(&range).len()) as i64);
    Ok(())
}

fn zscan(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let cursor = parse_cursor(call.arg(2))?;
    // As in Redis, the options of a scan over nothing are not looked at.
    let Some(zset) = keyspace.get_as::<ZSet>(call.arg(1), call.now)? else {
        reply.array(2);
        reply.bulk(b"0");
        reply.array(0);
        return Ok(());
    };
    let options = ScanOptions::parse(call, 3, false)?;
    let mut shown = Vec::new();
    let next = zset.scan(cursor, options.count, |member, score| {
        if member.with_bytes(|bytes| options.lets_through(bytes)) {
            shown.push((member, score));
        }
    });
    // Redis prints what its hash table holds in another way than what a listpack holds.
    let format = match zset.is_compact() {
        true => format_double,
        false => seventeen_digits,
    };
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    reply.array(2 * shown.len());
    for (member, score) in shown {
        write_element(reply, member);
        reply.bulk(format(score).as_bytes());
    }
    Ok(())
}

/// A double as C's `%.17g` prints it.
fn seventeen_digits(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return format_double(value);
    }
    let text = format!("{value:.16e}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| text.trim_end_matches('0').trim_end_matches('.').to_owned();
    if (-4..17).contains(&exponent) {
        let fixed = format!("{value:.*}", (16 - exponent) as usize);
        return match fixed.contains('.') {
            true => trimmed(&fixed),
            false => fixed,
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::seventeen_digits;

    #[test]
    fn seventeen_digits_are_those_of_c() {
        for (value, text) in [
            (0.1, "0.10000000000000001"),
            (1.0, "1"),
            (-2.5, "-2.5"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (1.5e300, "1.5000000000000001e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (123456.789, "123456.789"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (0.0, "0"),
        ] {
            assert_eq!(seventeen_digits(value), text);
        }
    }
}
