//! Strings: every command of the family.

use super::{Family, Generator, Kind, FUTURE_SECONDS};
use crate::command::{cmd, Command};

pub const COMMANDS: Family = &[
    (14, set),
    (8, |g| cmd!("GET", string_key(g))),
    (2, |g| {
        let value = g.value();
        cmd!("GETSET", g.key(Kind::Str), value)
    }),
    (2, |g| cmd!("GETDEL", string_key(g))),
    (4, getex),
    (3, |g| cmd!("MGET").with(g.keys(Kind::Any, 6))),
    (4, |g| cmd!("MSET").with(pairs(g))),
    (3, |g| cmd!("MSETNX").with(pairs(g))),
    (4, |g| {
        let value = g.value();
        cmd!("APPEND", string_key(g), value)
    }),
    (3, |g| cmd!("STRLEN", string_key(g))),
    (4, |g| {
        let (start, end) = (g.index(), g.index());
        let name = if g.one_in(4) { "SUBSTR" } else { "GETRANGE" };
        cmd!(name, string_key(g), start, end)
    }),
    (3, setrange),
    (2, |g| {
        let value = g.value();
        cmd!("SETNX", string_key(g), value)
    }),
    (2, |g| setex(g, "SETEX")),
    (2, |g| setex(g, "PSETEX")),
    (3, |g| cmd!("INCR", g.key(Kind::Num))),
    (2, |g| cmd!("DECR", g.key(Kind::Num))),
    (3, |g| {
        let delta = g.delta();
        cmd!("INCRBY", g.key(Kind::Num), delta)
    }),
    (2, |g| {
        let delta = g.delta();
        cmd!("DECRBY", g.key(Kind::Num), delta)
    }),
    (5, |g| {
        let float = g.float();
        cmd!("INCRBYFLOAT", g.key(Kind::Num), float)
    }),
    (4, lcs),
];

/// Text, numbers and bitmaps are all strings.
fn string_key(g: &mut Generator) -> String {
    let kind = *g
        .random
        .pick(&[Kind::Str, Kind::Str, Kind::Str, Kind::Num, Kind::Bit]);
    g.key(kind)
}

/// No deadline in the past: Redis keeps such a key until it is touched, and DBSIZE counts it.
fn set(g: &mut Generator) -> Command {
    let number = g.one_in(3);
    let (key, value) = if number {
        (
            g.key(Kind::Num),
            g.random.range(-1000, 1000).to_string().into(),
        )
    } else {
        (g.key(Kind::Str), g.value())
    };
    let command = cmd!("SET", key, value);
    if g.one_in(2) {
        return command;
    }
    let command = match g.random.below(8) {
        0 => command.arg("EX").arg(g.far()),
        1 => command.arg("px").arg(g.far()),
        2 => command.arg("EXAT").arg(FUTURE_SECONDS + g.far()),
        3 => command.arg("PXAT").arg(1000 * FUTURE_SECONDS + g.far()),
        4 => command.arg("KEEPTTL"),
        _ => command,
    };
    command.with(g.options(&["NX", "XX", "GET", "get"], 4))
}

/// Not to be mutated: with value and time swapped, the key would expire during the run.
fn setex(g: &mut Generator, name: &str) -> Command {
    let time = match g.random.below(10) {
        0 => (*g.random.pick(&["0", "-1", "abc", "9223372036854775807"])).into(),
        _ => g.far().to_string(),
    };
    let value = g.value();
    cmd!(name, g.key(Kind::Str), time, value).fixed()
}

fn getex(g: &mut Generator) -> Command {
    let command = cmd!("GETEX", string_key(g));
    match g.random.below(8) {
        0 => command.arg("EX").arg(g.far()),
        1 => command.arg("PX").arg(g.far()),
        2 => command.arg("EXAT").arg(g.deadline_seconds()),
        3 => command.arg("pxat").arg(g.deadline_ms()),
        4 | 5 => command.arg("PERSIST"),
        _ => command,
    }
}

/// Keys of several shards with their values; now and then a key twice.
fn pairs(g: &mut Generator) -> Vec<Vec<u8>> {
    let count = 1 + g.random.below(5);
    (0..count)
        .flat_map(|_| [g.key(Kind::Str).into_bytes(), g.value()])
        .collect()
}

fn setrange(g: &mut Generator) -> Command {
    let offset = match g.random.below(20) {
        0 => -1,
        1 => 536_870_912,
        2 => i64::MAX,
        3 => g.random.range(0, 2000),
        _ => g.random.range(0, 30),
    };
    let value = g.value();
    cmd!("SETRANGE", string_key(g), offset, value)
}

fn lcs(g: &mut Generator) -> Command {
    let first = string_key(g);
    let mut command = cmd!("LCS", first, string_key(g));
    command = command.with(g.options(&["LEN", "IDX", "WITHMATCHLEN"], 3));
    if g.one_in(4) {
        command = command.arg("MINMATCHLEN").arg(g.random.range(-1, 5));
    }
    command
}
