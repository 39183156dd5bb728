//! Hashes: every command of the family; HRANDFIELD with chance in it and HSCAN are in `steps`.

use super::{Family, Generator, Kind};
use crate::command::{cmd, Check, Command};

pub const COMMANDS: Family = &[
    (12, |g| cmd!("HSET", g.key(Kind::Hash)).with(fields(g))),
    (2, |g| cmd!("HMSET", g.key(Kind::Hash)).with(fields(g))),
    (3, |g| {
        let (field, value) = (g.member(), g.value());
        cmd!("HSETNX", g.key(Kind::Hash), field, value)
    }),
    (6, |g| {
        let field = g.member();
        cmd!("HGET", g.key(Kind::Hash), field)
    }),
    (4, |g| cmd!("HMGET", g.key(Kind::Hash)).with(few(g))),
    (4, |g| {
        cmd!("HGETALL", g.key(Kind::Hash)).check(Check::Pairs)
    }),
    (2, |g| {
        cmd!("HKEYS", g.key(Kind::Hash)).check(Check::Unordered)
    }),
    (2, |g| {
        cmd!("HVALS", g.key(Kind::Hash)).check(Check::Unordered)
    }),
    (3, |g| cmd!("HLEN", g.key(Kind::Hash))),
    (3, |g| {
        let field = g.member();
        cmd!("HEXISTS", g.key(Kind::Hash), field)
    }),
    (7, |g| cmd!("HDEL", g.key(Kind::Hash)).with(few(g))),
    (2, |g| {
        let field = g.member();
        cmd!("HSTRLEN", g.key(Kind::Hash), field)
    }),
    (4, |g| {
        let (field, delta) = (counter(g), g.delta());
        cmd!("HINCRBY", g.key(Kind::Hash), field, delta)
    }),
    (5, |g| {
        let (field, float) = (counter(g), g.float());
        cmd!("HINCRBYFLOAT", g.key(Kind::Hash), field, float)
    }),
    (1, hrandfield_errors),
];

fn fields(g: &mut Generator) -> Vec<Vec<u8>> {
    let fields = g.members(4);
    fields
        .into_iter()
        .flat_map(|field| [field, g.value()])
        .collect()
}

/// A few fields, never hundreds.
fn few(g: &mut Generator) -> Vec<Vec<u8>> {
    (0..1 + g.random.below(5)).map(|_| g.member()).collect()
}

/// A field that HINCRBY mostly finds a number in.
fn counter(g: &mut Generator) -> Vec<u8> {
    if g.one_in(6) {
        g.member()
    } else {
        format!("counter{}", g.random.below(4)).into_bytes()
    }
}

fn hrandfield_errors(g: &mut Generator) -> Command {
    let tail = g.words(&[
        "abc",
        "0",
        "-9223372036854775808",
        "2 WITHVALUE",
        "2 WITHVALUES X",
    ]);
    cmd!("HRANDFIELD", g.key(Kind::Hash)).with(tail).fixed()
}
