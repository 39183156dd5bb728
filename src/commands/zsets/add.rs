//! ZADD and ZINCRBY: members and scores come in.

use crate::commands::spec::{Acl, Arg, Arity, Command, Flags, Group, KeyFlags, KeySpec, Run};
use crate::commands::{Call, CommandError, CommandResult};
use crate::protocol::{parse_f64, Reply};
use crate::store::{Deadline, Keyspace, Limits, Updated, Value, ZSet};
use smallvec::SmallVec;

pub static COMMANDS: &[Command] = &[
    Command {
        name: "ZADD",
        since: "1.2.0",
        group: Group::SortedSet,
        complexity: "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
        summary: "Adds one or more members to a sorted set, or updates their scores. Creates the key if it doesn't exist.",
        arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(1, KeyFlags::RW_UPDATE)],
        args: &[Arg::key("key"), Arg::one_of("condition", &[Arg::word("nx", "NX"), Arg::word("xx", "XX")]).optional().since("3.0.2"), Arg::one_of("comparison", &[Arg::word("gt", "GT"), Arg::word("lt", "LT")]).optional().since("6.2.0"), Arg::word("change", "CH").optional().since("3.0.2"), Arg::word("increment", "INCR").optional().since("3.0.2"), Arg::block("score_member", &[Arg::double("score"), Arg::string("member")]).multiple()],
        acl: Acl::SORTEDSET,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        run: Run::Write(zadd),
        history: &[("2.4.0", "Accepts multiple elements."), ("3.0.2", "Added the `XX`, `NX`, `CH` and `INCR` options."), ("6.2.0", "Added the `GT` and `LT` options.")],
        ..Command::BASE
    },
    Command {
        name: "ZINCRBY",
        since: "1.2.0",
        group: Group::SortedSet,
        complexity: "O(log(N)) where N is the number of elements in the sorted set.",
        summary: "Increments the score of a member in a sorted set.",
        arity: Arity::Exact(4),
        keys: &[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)],
        args: &[Arg::key("key"), Arg::int("increment"), Arg::string("member")],
        acl: Acl::SORTEDSET,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        run: Run::Write(zincrby),
        ..Command::BASE
    },
];

/// What stands between ZADD's key and its first score.
#[derive(Clone, Copy, Default)]
struct Options {
    /// Only new members.
    nx: bool,
    /// Only members that are there.
    xx: bool,
    /// Only to a greater score, or to a lower.
    gt: bool,
    lt: bool,
    /// Answer how many scores changed too.
    changed: bool,
    /// The score is an increment.
    increment: bool,
}

/// What ZADD did to its members.
#[derive(Default)]
struct Outcome {
    added: usize,
    changed: usize,
    /// Score of the last member that an option did not exclude.
    score: Option<f64>,
}

fn zadd(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let (options, first) = Options::parse(call);
    let words = call.len() - first;
    if words == 0 || words % 2 == 1 {
        return Err(CommandError::Syntax);
    }
    options.check(words / 2)?;
    let scores = (first..call.len())
        .step_by(2)
        .map(|at| parse_f64(call.arg(at)).ok_or(CommandError::NotAFloat))
        .collect::<Result<SmallVec<[f64; 4]>, _>>()?;
    let members = (first + 1..call.len()).step_by(2).map(|at| call.arg(at));
    let outcome = add(keyspace, call, options, &scores, members)?;
    match (options.increment, outcome.score) {
        (true, Some(score)) => reply.double(score),
        (true, None) => reply.null(),
        (false, _) if options.changed => reply.int((outcome.added + outcome.changed) as i64),
        (false, _) => reply.int(outcome.added as i64),
    }
    Ok(())
}

fn zincrby(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    // Redis reads ZINCRBY by ZADD's grammar: an option's name in the place of the score leaves nothing to add.
    if ["NX", "XX", "GT", "LT", "CH", "INCR"]
        .iter()
        .any(|word| call.is_word(2, word))
    {
        return Err(CommandError::Syntax);
    }
    let increment = parse_f64(call.arg(2)).ok_or(CommandError::NotAFloat)?;
    let options = Options {
        increment: true,
        ..Options::default()
    };
    let member = std::iter::once(call.arg(3));
    let outcome = add(keyspace, call, options, &[increment], member)?;
    if let Some(score) = outcome.score {
        reply.double(score);
    }
    Ok(())
}

fn add<'a>(
    keyspace: &mut Keyspace,
    call: &Call,
    options: Options,
    scores: &[f64],
    members: impl Iterator<Item = &'a [u8]> + Clone,
) -> Result<Outcome, CommandError> {
    let limits = *keyspace.limits();
    let pairs = scores.iter().copied().zip(members.clone());
    if let Some(mut zset) = keyspace.edit::<ZSet>(call.arg(1), call.now)? {
        zset.expect(scores.len(), &limits);
        return options.apply(&mut zset, pairs, &limits);
    }
    if options.xx {
        return Ok(Outcome::default());
    }
    let first_bytes = members.clone().next().map_or(0, <[u8]>::len);
    let mut zset = ZSet::expecting(scores.len(), first_bytes, &limits);
    let outcome = options.apply(&mut zset, pairs, &limits)?;
    keyspace.set(call.arg(1), Value::ZSet(zset), Deadline::None, call.now);
    Ok(outcome)
}

impl Options {
    /// Reads the options, and gives where the first score stands.
    fn parse(call: &Call) -> (Options, usize) {
        let mut options = Options::default();
        let mut at = 2;
        loop {
            let flag = match () {
                () if call.is_word(at, "NX") => &mut options.nx,
                () if call.is_word(at, "XX") => &mut options.xx,
                () if call.is_word(at, "GT") => &mut options.gt,
                () if call.is_word(at, "LT") => &mut options.lt,
                () if call.is_word(at, "CH") => &mut options.changed,
                () if call.is_word(at, "INCR") => &mut options.increment,
                () => return (options, at),
            };
            *flag = true;
            at += 1;
        }
    }

    fn check(&self, pairs: usize) -> CommandResult {
        if self.nx && self.xx {
            return Err(CommandError::new(
                "ERR XX and NX options at the same time are not compatible",
            ));
        }
        if (self.nx && (self.gt || self.lt)) || (self.gt && self.lt) {
            return Err(CommandError::new(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        if self.increment && pairs > 1 {
            return Err(CommandError::new(
                "ERR INCR option supports a single increment-element pair",
            ));
        }
        Ok(())
    }

    fn apply<'a>(
        &self,
        zset: &mut ZSet,
        pairs: impl Iterator<Item = (f64, &'a [u8])>,
        limits: &Limits,
    ) -> Result<Outcome, CommandError> {
        let mut outcome = Outcome::default();
        for (given, member) in pairs {
            let mut wanted = Ok(None);
            let updated = zset.update(member, limits, |current| {
                wanted = self.wanted(given, current);
                wanted.as_ref().ok().copied().flatten()
            });
            outcome.score = wanted?;
            match updated {
                Updated::Added => outcome.added += 1,
                Updated::Changed => outcome.changed += 1,
                Updated::Unchanged => {}
            }
        }
        Ok(outcome)
    }

    /// The score that a member gets, or none where an option excludes it.
    fn wanted(&self, given: f64, current: Option<f64>) -> Result<Option<f64>, CommandError> {
        let Some(current) = current else {
            return Ok((!self.xx).then_some(given));
        };
        if self.nx {
            return Ok(None);
        }
        let score = if self.increment {
            current + given
        } else {
            given
        };
        if score.is_nan() {
            return Err(CommandError::new(
                "ERR resulting score is not a number (NaN)",
            ));
        }
        let excluded = (self.lt && score >= current) || (self.gt && score <= current);
        Ok((!excluded).then_some(score))
    }
}
