//! Connection and server commands whose replies do not depend on the machine.

use super::{Family, Generator, Kind};
use crate::command::{cmd, Check, Command};

pub const COMMANDS: Family = &[
    (6, |g| {
        let value = g.value();
        if g.one_in(3) {
            cmd!("PING")
        } else {
            cmd!("PING", value)
        }
    }),
    (4, |g| {
        let value = g.value();
        cmd!("ECHO", value)
    }),
    (4, |g| {
        let database = *g
            .random
            .pick(&["16", "-1", "abc", "", "9223372036854775808"]);
        cmd!("SELECT", database).fixed()
    }),
    (8, |_| cmd!("DBSIZE")),
    (1, |g| {
        let (first, second) = (g.random.range(0, 3), g.random.range(0, 3));
        cmd!("SWAPDB", first, second)
    }),
    (1, |g| flush(g)),
    (3, |_| cmd!("TIME").check(Check::Kind).fixed()),
    (12, unknown),
    (8, getkeys),
    (3, |g| {
        let name = *g.random.pick(&["ringfort", "", "two words", "x\ny"]);
        cmd!("CLIENT", "SETNAME", name)
    }),
    (3, |_| cmd!("CLIENT", "GETNAME")),
    (2, |_| cmd!("CLIENT", "ID").check(Check::Kind).fixed()),
    (2, |_| cmd!("AUTH", "no password is set")),
    (4, limits),
    (3, |g| {
        let what = *g
            .random
            .pick(&["hash-max-listpack-entries", "maxmemory-policy", "no-such"]);
        cmd!("CONFIG", "GET", what).check(Check::Pairs).fixed()
    }),
    (2, |_| cmd!("SLOWLOG", "LEN").check(Check::Kind).fixed()),
    (2, |_| cmd!("INFO").check(Check::Kind).fixed()),
    (2, |_| cmd!("COMMAND", "COUNT").check(Check::Kind).fixed()),
];

/// Rare: everything starts again from nothing.
fn flush(g: &mut Generator) -> Command {
    if !g.one_in(4) {
        return cmd!("DBSIZE");
    }
    let name = *g.random.pick(&["FLUSHDB", "FLUSHDB", "FLUSHALL"]);
    cmd!(name).with(g.options(&["SYNC"], 3))
}

fn unknown(g: &mut Generator) -> Command {
    let command = match g.random.below(6) {
        0 => cmd!("NOSUCHCOMMAND"),
        1 => cmd!("GETT", g.key(Kind::Any)),
        2 => cmd!("CONFIG", "NOSUCH", "x"),
        3 => cmd!("OBJECT", "NOSUCH", g.key(Kind::Any)),
        4 => cmd!("CLIENT", "NOSUCH"),
        _ => cmd!("COMMAND", "NOSUCH"),
    };
    if g.one_in(2) {
        let value = g.value();
        command.arg(value).fixed()
    } else {
        command.fixed()
    }
}

/// COMMAND GETKEYS of whatever the stream would send.
fn getkeys(g: &mut Generator) -> Command {
    let inner = loop {
        let inner = g.command();
        // OBJECT, MEMORY and the like answer alike; a nested COMMAND or CONFIG says nothing.
        if !["COMMAND", "CONFIG", "CLIENT"].contains(&inner.name().as_str()) {
            break inner;
        }
    };
    cmd!("COMMAND", "GETKEYS").with(inner.args).fixed()
}

/// The thresholds that both versions have.
fn limits(g: &mut Generator) -> Command {
    let (name, value) = *g.random.pick(&[
        ("hash-max-listpack-entries", "128"),
        ("hash-max-listpack-entries", "8"),
        ("hash-max-listpack-value", "64"),
        ("hash-max-listpack-value", "20"),
        ("zset-max-listpack-entries", "128"),
        ("zset-max-listpack-entries", "8"),
        ("zset-max-listpack-value", "64"),
        ("set-max-intset-entries", "512"),
        ("set-max-intset-entries", "16"),
        ("list-max-listpack-size", "-2"),
        ("list-max-listpack-size", "8"),
        ("hash-max-listpack-entries", "abc"),
        ("no-such-setting", "1"),
    ]);
    cmd!("CONFIG", "SET", name, value).fixed()
}
