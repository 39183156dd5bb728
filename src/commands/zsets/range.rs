//! ZRANGE in all its forms, and ZRANGESTORE: members between two ranks, scores or members.

use super::bounds::{lex_range, ranks, score_range};
use super::PairWriter;
use crate::commands::spec::{Acl, Arg, Arity, Command, Flags, Group, KeyFlags, KeySpec, Run};
use crate::commands::{Call, CommandError, CommandResult};
use crate::protocol::Reply;
use crate::store::{Deadline, Keyspace, LexRange, ScoreRange, Value, ZSet};
use std::ops::Range;

/// `LIMIT offset count`, as every command of the family takes it.
const LIMIT: Arg = Arg::block("limit", &[Arg::int("offset"), Arg::int("count")])
    .after("LIMIT")
    .optional();
const WITHSCORES: Arg = Arg::word("withscores", "WITHSCORES").optional();
const REV: Arg = Arg::word("rev", "REV").optional();
const SORTBY: Arg = Arg::one_of(
    "sortby",
    &[Arg::word("byscore", "BYSCORE"), Arg::word("bylex", "BYLEX")],
)
.optional();

pub static COMMANDS: &[Command] = &[
    Command {
        name: "ZRANGE",
        since: "1.2.0",
        group: Group::SortedSet,
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.",
        summary: "Returns members in a sorted set within a range of indexes.",
        arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key"), Arg::string("start"), Arg::string("stop"), SORTBY.since("6.2.0"), REV.since("6.2.0"), LIMIT.since("6.2.0"), WITHSCORES],
        acl: Acl::SORTEDSET,
        flags: Flags::READONLY,
        run: Run::Read(zrange),
        history: &[("6.2.0", "Added the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options.")],
        ..Command::BASE
    },
    Command {
        name: "ZRANGEBYLEX",
        since: "2.8.9",
        group: Group::SortedSet,
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).",
        summary: "Returns members in a sorted set within a lexicographical range.",
        arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key"), Arg::string("min"), Arg::string("max"), LIMIT],
        acl: Acl::SORTEDSET,
        flags: Flags::READONLY,
        run: Run::Read(zrangebylex),
        deprecated: Some(("6.2.0", "`ZRANGE` with the `BYLEX` argument")),
        ..Command::BASE
    },
    Command {
        name: "ZRANGEBYSCORE",
        since: "1.0.5",
        group: Group::SortedSet,
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).",
        summary: "Returns members in a sorted set within a range of scores.",
        arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key"), Arg::double("min"), Arg::double("max"), WITHSCORES.since("2.0.0"), LIMIT],
        acl: Acl::SORTEDSET,
        flags: Flags::READONLY,
        run: Run::Read(zrangebyscore),
        history: &[("2.0.0", "Added the `WITHSCORES` modifier.")],
        deprecated: Some(("6.2.0", "`ZRANGE` with the `BYSCORE` argument")),
        ..Command::BASE
    },
    Command {
        name: "ZRANGESTORE",
        since: "6.2.0",
        group: Group::SortedSet,
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements stored into the destination key.",
        summary: "Stores a range of members from sorted set in a key.",
        arity: Arity::AtLeast(5),
        keys: &[KeySpec::one(1, KeyFlags::OW_UPDATE), KeySpec::one(2, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("dst"), Arg::key("src").spec(1), Arg::string("min"), Arg::string("max"), SORTBY, REV, LIMIT],
        acl: Acl::SORTEDSET,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        run: Run::Write(zrangestore),
        ..Command::BASE
    },
    Command {
        name: "ZREVRANGE",
        since: "1.2.0",
        group: Group::SortedSet,
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.",
        summary: "Returns members in a sorted set within a range of indexes in reverse order.",
        arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key"), Arg::int("start"), Arg::int("stop"), WITHSCORES],
        acl: Acl::SORTEDSET,
        flags: Flags::READONLY,
        run: Run::Read(zrevrange),
        deprecated: Some(("6.2.0", "`ZRANGE` with the `REV` argument")),
        ..Command::BASE
    },
    Command {
        name: "ZREVRANGEBYLEX",
        since: "2.8.9",
        group: Group::SortedSet,
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).",
        summary: "Returns members in a sorted set within a lexicographical range in reverse order.",
        arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key"), Arg::string("max"), Arg::string("min"), LIMIT],
        acl: Acl::SORTEDSET,
        flags: Flags::READONLY,
        run: Run::Read(zrevrangebylex),
        deprecated: Some(("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments")),
        ..Command::BASE
    },
    Command {
        name: "ZREVRANGEBYSCORE",
        since: "2.2.0",
        group: Group::SortedSet,
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).",
        summary: "Returns members in a sorted set within a range of scores in reverse order.",
        arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(1, KeyFlags::RO_ACCESS)],
        args: &[Arg::key("key"), Arg::double("max"), Arg::double("min"), WITHSCORES, LIMIT],
        acl: Acl::SORTEDSET,
        flags: Flags::READONLY,
        run: Run::Read(zrevrangebyscore),
        history: &[("2.1.6", "`min` and `max` can be exclusive.")],
        deprecated: Some(("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments")),
        ..Command::BASE
    },
];

/// What a range is taken over.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// What a command's name fixes, and its options may not change.
#[derive(Clone, Copy)]
struct Form {
    /// Where the first end of the range stands.
    first: usize,
    by: Option<By>,
    reverse: Option<bool>,
    store: bool,
}

impl Form {
    const fn fixed(by: By, reverse: bool) -> Form {
        Form {
            first: 2,
            by: Some(by),
            reverse: Some(reverse),
            store: false,
        }
    }
}

/// A range as it was asked for.
struct Query<'a> {
    ends: Ends<'a>,
    reverse: bool,
    /// Members to pass over, and members to take then; negative ones: an empty range, and no limit.
    offset: i64,
    count: i64,
    with_scores: bool,
}

enum Ends<'a> {
    Ranks(i64, i64),
    Scores(ScoreRange),
    Members(LexRange<'a>),
}

fn zrange(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let form = Form {
        first: 2,
        by: None,
        reverse: None,
        store: false,
    };
    answer(keyspace, call, reply, form)
}

fn zrevrange(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    answer(keyspace, call, reply, Form::fixed(By::Rank, true))
}

fn zrangebyscore(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    answer(keyspace, call, reply, Form::fixed(By::Score, false))
}

fn zrevrangebyscore(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    answer(keyspace, call, reply, Form::fixed(By::Score, true))
}

fn zrangebylex(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    answer(keyspace, call, reply, Form::fixed(By::Lex, false))
}

fn zrevrangebylex(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    answer(keyspace, call, reply, Form::fixed(By::Lex, true))
}

fn answer(keyspace: &Keyspace, call: &Call, reply: &mut Reply, form: Form) -> CommandResult {
    let query = Query::parse(call, form)?;
    let Some(zset) = keyspace.get_as::<ZSet>(call.arg(1), call.now)? else {
        reply.array(0);
        return Ok(());
    };
    let writer = PairWriter {
        with_scores: query.with_scores,
    };
    let pairs = zset.pairs(query.ranks(zset));
    if query.reverse {
        writer.all(reply, pairs.rev());
    } else {
        writer.all(reply, pairs);
    }
    Ok(())
}

fn zrangestore(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let form = Form {
        first: 3,
        by: None,
        reverse: None,
        store: true,
    };
    let query = Query::parse(call, form)?;
    let source = keyspace.get_as::<ZSet>(call.arg(2), call.now)?;
    let limits = *keyspace.limits();
    let ranks = source.map_or(0..0, |zset| query.ranks(zset));
    let mut result = ZSet::expecting(ranks.len(), 0, &limits);
    for (member, score) in source
        .into_iter()
        .flat_map(|zset| zset.pairs(ranks.clone()))
    {
        member.with_bytes(|bytes| result.insert(bytes, score, &limits));
    }
    reply.int(result.len() as i64);
    keyspace.set(call.arg(1), Value::ZSet(result), Deadline::None, call.now);
    Ok(())
}

impl<'a> Query<'a> {
    fn parse(call: &Call<'a>, form: Form) -> Result<Self, CommandError> {
        let (mut by, mut reverse) = (form.by, form.reverse);
        let (mut offset, mut count, mut with_scores) = (0, -1, false);
        let mut at = form.first + 2;
        while at < call.len() {
            if !form.store && call.is_word(at, "WITHSCORES") {
                with_scores = true;
            } else if at + 2 < call.len() && call.is_word(at, "LIMIT") {
                offset = call.int(at + 1)?;
                count = call.int(at + 2)?;
                at += 2;
            } else if reverse.is_none() && call.is_word(at, "REV") {
                reverse = Some(true);
            } else if by.is_none() && call.is_word(at, "BYLEX") {
                by = Some(By::Lex);
            } else if by.is_none() && call.is_word(at, "BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
            at += 1;
        }
        let by = by.unwrap_or(By::Rank);
        let reverse = reverse.unwrap_or(false);
        if count != -1 && by == By::Rank {
            return Err(CommandError::new(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Lex {
            return Err(CommandError::new(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        Ok(Query {
            ends: Ends::parse(call, form.first, by, reverse)?,
            reverse,
            // A limit of -1 was let through above: between ranks it means nothing.
            offset: if by == By::Rank { 0 } else { offset },
            count,
            with_scores,
        })
    }

    /// The ranks that the query asks for.
    fn ranks(&self, zset: &ZSet) -> Range<usize> {
        let found = match &self.ends {
            Ends::Ranks(start, stop) => {
                let len = zset.len();
                let asked = ranks(*start, *stop, len);
                match self.reverse {
                    true => len - asked.end..len - asked.start,
                    false => asked,
                }
            }
            Ends::Scores(range) => zset.ranks_by_score(range),
            Ends::Members(range) => zset.ranks_by_lex(range),
        };
        let skipped = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let skipped = skipped.min(found.len());
        let taken = usize::try_from(self.count).unwrap_or(usize::MAX);
        let taken = taken.min(found.len() - skipped);
        if self.reverse {
            let end = found.end - skipped;
            end - taken..end
        } else {
            let start = found.start + skipped;
            start..start + taken
        }
    }
}

impl<'a> Ends<'a> {
    /// Reads both ends; a reversed range over scores or members names its greater end first.
    fn parse(call: &Call<'a>, first: usize, by: By, reverse: bool) -> Result<Self, CommandError> {
        let (min, max) = match reverse && by != By::Rank {
            true => (first + 1, first),
            false => (first, first + 1),
        };
        Ok(match by {
            By::Rank => Ends::Ranks(call.int(min)?, call.int(max)?),
            By::Score => Ends::Scores(score_range(call.arg(min), call.arg(max))?),
            By::Lex => Ends::Members(lex_range(call.arg(min), call.arg(max))?),
        })
    }
}
