//! Sorted sets: every command of the family that does not block; ZRANDMEMBER and ZSCAN are in `steps`.

use super::{Family, Generator, Kind};
use crate::command::{cmd, Check, Command};

pub const COMMANDS: Family = &[
    (16, zadd),
    (5, |g| {
        let key = g.key(Kind::Lex);
        let members = g.members(5).into_iter();
        // Fixed: another score would leave the order by member undefined.
        cmd!("ZADD", key)
            .with(members.flat_map(|member| ["0".into(), member]))
            .fixed()
    }),
    (4, |g| {
        let (score, member) = (score(g), g.member());
        scores(cmd!("ZINCRBY", g.key(Kind::Zset), score, member))
    }),
    (6, |g| {
        let members: Vec<_> = (0..1 + g.random.below(4)).map(|_| g.member()).collect();
        cmd!("ZREM", g.key(Kind::Zset)).with(members)
    }),
    (2, |g| cmd!("ZCARD", g.key(Kind::Zset))),
    (3, |g| {
        let member = g.member();
        scores(cmd!("ZSCORE", g.key(Kind::Zset), member))
    }),
    (2, |g| {
        scores(cmd!("ZMSCORE", g.key(Kind::Zset)).with(g.members(4)))
    }),
    (3, |g| by_member(g, "ZRANK")),
    (3, |g| by_member(g, "ZREVRANK")),
    (3, |g| by_score(g, "ZCOUNT")),
    (2, |g| by_lex(g, "ZLEXCOUNT")),
    (9, zrange),
    (4, zrangestore),
    (3, |g| by_index(g, "ZREVRANGE")),
    (3, |g| {
        let command = by_score(g, "ZRANGEBYSCORE");
        limited(g, command, true)
    }),
    (3, |g| {
        let command = by_score(g, "ZREVRANGEBYSCORE");
        limited(g, command, true)
    }),
    (2, |g| {
        let command = by_lex(g, "ZRANGEBYLEX");
        limited(g, command, false)
    }),
    (2, |g| {
        let command = by_lex(g, "ZREVRANGEBYLEX");
        limited(g, command, false)
    }),
    (2, |g| by_score(g, "ZREMRANGEBYSCORE")),
    (2, |g| by_lex(g, "ZREMRANGEBYLEX")),
    (2, |g| {
        let (start, end) = (g.index(), g.index());
        cmd!("ZREMRANGEBYRANK", g.key(Kind::Zset), start, end)
    }),
    (4, |g| pop(g, "ZPOPMIN")),
    (4, |g| pop(g, "ZPOPMAX")),
    (4, zmpop),
    (3, |g| combine(g, "ZUNION", None)),
    (3, |g| combine(g, "ZINTER", None)),
    (2, |g| combine(g, "ZDIFF", None)),
    (3, |g| {
        let target = target(g);
        combine(g, "ZUNIONSTORE", Some(target))
    }),
    (3, |g| {
        let target = target(g);
        combine(g, "ZINTERSTORE", Some(target))
    }),
    (2, |g| {
        let target = target(g);
        combine(g, "ZDIFFSTORE", Some(target))
    }),
    (3, zintercard),
    (1, zrandmember_errors),
];

fn scores(command: Command) -> Command {
    command.check(Check::Scores)
}

fn score(g: &mut Generator) -> String {
    match g.random.below(40) {
        0 => "inf".into(),
        1 => "-inf".into(),
        2 => (*g.random.pick(&["nan", "abc", "", "0x1A", "-0"])).into(),
        3 => (*g
            .random
            .pick(&["1e300", "-1e-7", "12345678901234567", "1e21", "0.000012345"]))
        .into(),
        4..=12 => format!("{}", g.random.range(-500, 500) as f64 / 10.0),
        13..=16 => format!("{}", g.random.range(-50_000, 50_000) as f64 / 1000.0),
        _ => g.random.range(-20, 20).to_string(),
    }
}

fn zadd(g: &mut Generator) -> Command {
    let mut command = cmd!("ZADD", g.key(Kind::Zset));
    if g.one_in(3) {
        command = command.with(g.options(&["NX", "XX", "GT", "LT", "CH", "INCR"], 4));
    }
    let members = g.members(4);
    // One score for many at times: then the order is by member.
    let same = g.one_in(3).then(|| score(g));
    let pairs: Vec<Vec<u8>> = members
        .into_iter()
        .flat_map(|member| {
            let score = same.clone().unwrap_or_else(|| score(g));
            [score.into_bytes(), member]
        })
        .collect();
    scores(command.with(pairs))
}

/// WITHSCORE came with 7.2.
fn by_member(g: &mut Generator, name: &str) -> Command {
    let member = g.member();
    cmd!(name, g.key(Kind::Zset), member)
}

fn score_bound(g: &mut Generator) -> String {
    match g.random.below(12) {
        0 | 1 => "-inf".into(),
        2 | 3 => "+inf".into(),
        4 | 5 => format!("({}", score(g)),
        _ => score(g),
    }
}

fn lex_bound(g: &mut Generator) -> Vec<u8> {
    match g.random.below(12) {
        0 | 1 => "-".into(),
        2 | 3 => "+".into(),
        4 => g.member(),
        5..=7 => [b"(".to_vec(), g.member()].concat(),
        _ => [b"[".to_vec(), g.member()].concat(),
    }
}

fn by_score(g: &mut Generator, name: &str) -> Command {
    let (low, high) = (score_bound(g), score_bound(g));
    cmd!(name, g.key(Kind::Zset), low, high)
}

fn by_lex(g: &mut Generator, name: &str) -> Command {
    let (low, high) = (lex_bound(g), lex_bound(g));
    cmd!(name, g.key(Kind::Lex), low, high)
}

fn by_index(g: &mut Generator, name: &str) -> Command {
    let (start, end) = (g.index(), g.index());
    let command = cmd!(name, g.key(Kind::Zset), start, end);
    scores(command.with(g.options(&["WITHSCORES"], 2)))
}

fn limited(g: &mut Generator, mut command: Command, with_scores: bool) -> Command {
    if with_scores {
        command = command.with(g.options(&["WITHSCORES"], 2));
    }
    if g.one_in(2) {
        command = limit(g, command);
    }
    scores(command)
}

fn limit(g: &mut Generator, command: Command) -> Command {
    let (offset, count) = (g.random.range(-1, 5), g.random.range(-1, 6));
    command.arg("LIMIT").arg(offset).arg(count)
}

/// Source and range, as ZRANGE and ZRANGESTORE share them.
fn ranged(g: &mut Generator, command: Command) -> Command {
    let mut command = match g.random.below(4) {
        0 => {
            let (low, high) = (score_bound(g), score_bound(g));
            let command = command.arg(g.key(Kind::Zset));
            command.arg(low).arg(high).arg("BYSCORE")
        }
        1 => {
            let (low, high) = (lex_bound(g), lex_bound(g));
            let command = command.arg(g.key(Kind::Lex));
            command.arg(low).arg(high).arg("BYLEX")
        }
        _ => {
            let command = command.arg(g.key(Kind::Zset));
            command.arg(g.index()).arg(g.index())
        }
    };
    command = command.with(g.options(&["REV"], 3));
    if g.one_in(4) {
        command = limit(g, command);
    }
    command
}

fn zrange(g: &mut Generator) -> Command {
    let command = cmd!("ZRANGE");
    let command = ranged(g, command);
    scores(command.with(g.options(&["WITHSCORES"], 2)))
}

fn zrangestore(g: &mut Generator) -> Command {
    let command = cmd!("ZRANGESTORE", target(g));
    ranged(g, command)
}

fn target(g: &mut Generator) -> String {
    g.key(Kind::Zset)
}

fn pop(g: &mut Generator, name: &str) -> Command {
    let command = cmd!(name, g.key(Kind::Zset));
    let command = if g.one_in(2) {
        command.arg(g.random.range(-1, 4))
    } else {
        command
    };
    scores(command)
}

fn zmpop(g: &mut Generator) -> Command {
    let keys = g.keys(Kind::Zset, 4);
    let side = *g.random.pick(&["MIN", "max", "MAX", "MID"]);
    let mut command = cmd!("ZMPOP", keys.len() as i64).with(keys).arg(side);
    if g.one_in(2) {
        command = command.arg("COUNT").arg(g.random.range(0, 5));
    }
    scores(command)
}

/// Sorted sets and plain sets mix in these commands.
fn sources(g: &mut Generator) -> Vec<Vec<u8>> {
    let count = 1 + g.random.below(4);
    (0..count)
        .map(|_| {
            let kind = if g.one_in(5) { Kind::Set } else { Kind::Zset };
            g.key(kind).into_bytes()
        })
        .collect()
}

fn combine(g: &mut Generator, name: &str, target: Option<String>) -> Command {
    let keys = sources(g);
    let count = keys.len();
    let mut command = cmd!(name);
    let stores = target.is_some();
    if let Some(target) = target {
        command = command.arg(target);
    }
    let number = if g.one_in(15) {
        g.random.range(-1, 6)
    } else {
        count as i64
    };
    command = command.arg(number).with(keys);
    if !name.starts_with("ZDIFF") {
        if g.one_in(3) {
            command = command.arg("WEIGHTS");
            for _ in 0..count {
                command = command.arg(weight(g));
            }
        }
        if g.one_in(3) {
            let how = *g.random.pick(&["SUM", "min", "MAX", "AVG"]);
            command = command.arg("AGGREGATE").arg(how);
        }
    }
    if !stores {
        command = command.with(g.options(&["WITHSCORES"], 2));
    }
    scores(command)
}

fn weight(g: &mut Generator) -> String {
    match g.random.below(10) {
        0 => "inf".into(),
        1 => "abc".into(),
        2 => "-0.5".into(),
        _ => g.random.range(-3, 3).to_string(),
    }
}

fn zintercard(g: &mut Generator) -> Command {
    let keys = sources(g);
    let command = cmd!("ZINTERCARD", keys.len() as i64).with(keys);
    if g.one_in(2) {
        command.arg("LIMIT").arg(g.random.range(-1, 5))
    } else {
        command
    }
}

fn zrandmember_errors(g: &mut Generator) -> Command {
    let tail = g.words(&[
        "abc",
        "0",
        "-9223372036854775808",
        "2 WITHSCORE",
        "2 WITHSCORES X",
    ]);
    cmd!("ZRANDMEMBER", g.key(Kind::Zset)).with(tail).fixed()
}
