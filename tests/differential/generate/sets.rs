//! Sets: every command of the family; SPOP, SRANDMEMBER and SSCAN are in `steps`.

use super::{Family, Generator, Kind};
use crate::command::{cmd, Check, Command};

pub const COMMANDS: Family = &[
    (14, |g| {
        let members = if g.one_in(2) {
            integers(g)
        } else {
            g.members(5)
        };
        cmd!("SADD", g.key(Kind::Set)).with(members)
    }),
    (7, |g| {
        let members = (0..1 + g.random.below(5)).map(|_| g.member());
        let members: Vec<_> = members.collect();
        cmd!("SREM", g.key(Kind::Set)).with(members)
    }),
    (4, |g| {
        cmd!("SMEMBERS", g.key(Kind::Set)).check(Check::Unordered)
    }),
    (4, |g| {
        let member = g.member();
        cmd!("SISMEMBER", g.key(Kind::Set), member)
    }),
    (3, |g| {
        cmd!("SMISMEMBER", g.key(Kind::Set)).with(g.members(4))
    }),
    (3, |g| cmd!("SCARD", g.key(Kind::Set))),
    (5, |g| {
        let member = g.member();
        cmd!("SMOVE", g.key(Kind::Set), g.key(Kind::Set), member)
    }),
    (3, |g| read(g, "SINTER")),
    (3, |g| read(g, "SUNION")),
    (3, |g| read(g, "SDIFF")),
    (3, |g| store(g, "SINTERSTORE")),
    (3, |g| store(g, "SUNIONSTORE")),
    (3, |g| store(g, "SDIFFSTORE")),
    (3, sintercard),
    (2, random_errors),
];

/// Mostly what an intset holds, of every width.
fn integers(g: &mut Generator) -> Vec<Vec<u8>> {
    let span = *g.random.pick(&[100, 40_000, 5_000_000_000]);
    (0..1 + g.random.below(6))
        .map(|_| g.random.range(-span, span).to_string().into_bytes())
        .collect()
}

fn read(g: &mut Generator, name: &str) -> Command {
    cmd!(name)
        .with(g.keys(Kind::Set, 4))
        .check(Check::Unordered)
}

fn store(g: &mut Generator, name: &str) -> Command {
    cmd!(name, g.key(Kind::Set)).with(g.keys(Kind::Set, 4))
}

fn sintercard(g: &mut Generator) -> Command {
    let keys = g.keys(Kind::Set, 4);
    let count = if g.one_in(12) {
        g.random.range(-1, 6)
    } else {
        keys.len() as i64
    };
    let command = cmd!("SINTERCARD", count).with(keys);
    if g.one_in(2) {
        command.arg("LIMIT").arg(g.random.range(-1, 5))
    } else {
        command
    }
}

fn random_errors(g: &mut Generator) -> Command {
    let name = *g.random.pick(&["SPOP", "SRANDMEMBER"]);
    let tail = g.words(&["abc", "0", "-9223372036854775808", "1 2", "1.5"]);
    cmd!(name, g.key(Kind::Set)).with(tail).fixed()
}
