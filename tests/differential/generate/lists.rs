//! Lists: every command of the family that does not block.

use super::{Family, Generator, Kind};
use crate::command::{cmd, Command};

pub const COMMANDS: Family = &[
    (8, |g| push(g, "RPUSH")),
    (8, |g| push(g, "LPUSH")),
    (2, |g| push(g, "RPUSHX")),
    (2, |g| push(g, "LPUSHX")),
    (5, |g| pop(g, "LPOP")),
    (5, |g| pop(g, "RPOP")),
    (3, |g| cmd!("LLEN", g.key(Kind::List))),
    (6, |g| {
        let (start, end) = (g.index(), g.index());
        cmd!("LRANGE", g.key(Kind::List), start, end)
    }),
    (4, |g| {
        let index = g.index();
        cmd!("LINDEX", g.key(Kind::List), index)
    }),
    (4, |g| {
        let (index, member) = (g.index(), g.member());
        cmd!("LSET", g.key(Kind::List), index, member)
    }),
    (4, |g| {
        let place = *g.random.pick(&["BEFORE", "after", "AFTER", "BETWEEN"]);
        let (pivot, member) = (g.member(), g.member());
        cmd!("LINSERT", g.key(Kind::List), place, pivot, member)
    }),
    (4, |g| {
        let (count, member) = (g.random.range(-3, 3), g.member());
        cmd!("LREM", g.key(Kind::List), count, member)
    }),
    (2, |g| {
        let (start, end) = (g.index(), g.index());
        cmd!("LTRIM", g.key(Kind::List), start, end)
    }),
    (5, lpos),
    (5, |g| {
        let (from, to) = (end(g), end(g));
        let (source, target) = (g.key(Kind::List), g.key(Kind::List));
        cmd!("LMOVE", source, target, from, to)
    }),
    (3, |g| {
        let (source, target) = (g.key(Kind::List), g.key(Kind::List));
        cmd!("RPOPLPUSH", source, target)
    }),
    (4, lmpop),
];

fn push(g: &mut Generator, name: &str) -> Command {
    cmd!(name, g.key(Kind::List)).with(g.members(5))
}

fn pop(g: &mut Generator, name: &str) -> Command {
    let command = cmd!(name, g.key(Kind::List));
    if g.one_in(2) {
        return command;
    }
    let count = *g.random.pick(&[0, 1, 2, 3, 5, 20, -1, i64::MAX]);
    command.arg(count)
}

fn lpos(g: &mut Generator) -> Command {
    let member = g.member();
    let mut command = cmd!("LPOS", g.key(Kind::List), member);
    if g.one_in(2) {
        let rank = *g.random.pick(&[1, 2, 3, -1, -2, 0, 9]);
        command = command.arg("RANK").arg(rank);
    }
    if g.one_in(2) {
        command = command.arg("COUNT").arg(g.random.range(-1, 4));
    }
    if g.one_in(3) {
        command = command.arg("MAXLEN").arg(g.random.range(-1, 20));
    }
    command
}

fn end(g: &mut Generator) -> &'static str {
    match g.random.below(20) {
        0 => "MIDDLE",
        1..=9 => "LEFT",
        10 => "right",
        _ => "RIGHT",
    }
}

fn lmpop(g: &mut Generator) -> Command {
    let keys = g.keys(Kind::List, 4);
    let count = if g.one_in(12) {
        g.random.range(-1, 6)
    } else {
        keys.len() as i64
    };
    let mut command = cmd!("LMPOP", count).with(keys).arg(end(g));
    if g.one_in(2) {
        command = command.arg("COUNT").arg(g.random.range(0, 5));
    }
    command
}
