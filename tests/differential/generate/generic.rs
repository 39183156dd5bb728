//! Generic keys: existence, names, deadlines, SORT, OBJECT; and which step runs between two batches.

use super::{Family, Generator, Kind, DATABASES};
use crate::command::{cmd, Check, Command};
use crate::steps::Step;

pub const COMMANDS: Family = &[
    (10, |g| {
        let name = *g.random.pick(&["DEL", "UNLINK"]);
        cmd!(name).with(g.keys(Kind::Any, 3))
    }),
    (4, |g| cmd!("EXISTS").with(g.keys(Kind::Any, 4))),
    (3, |g| cmd!("TYPE", g.key(Kind::Any))),
    (2, |g| cmd!("TOUCH").with(g.keys(Kind::Any, 3))),
    (4, |g| two_keys(g, "RENAME")),
    (3, |g| two_keys(g, "RENAMENX")),
    (4, |g| {
        let mut command = two_keys(g, "COPY");
        if g.one_in(4) {
            command = command.arg("DB").arg(database(g));
        }
        command.with(g.options(&["REPLACE"], 2))
    }),
    (3, |g| {
        let database = database(g);
        cmd!("MOVE", g.key(Kind::Any), database)
    }),
    (5, |g| {
        let far = g.far();
        expire(g, "EXPIRE", far)
    }),
    (4, |g| {
        let far = g.far();
        expire(g, "PEXPIRE", far)
    }),
    (4, |g| {
        let at = g.deadline_seconds();
        expire(g, "EXPIREAT", at)
    }),
    (4, |g| {
        let at = g.deadline_ms();
        expire(g, "PEXPIREAT", at)
    }),
    (4, |g| cmd!("TTL", g.key(Kind::Any)).check(Check::Near(30))),
    (3, |g| {
        cmd!("PTTL", g.key(Kind::Any)).check(Check::Near(30_000))
    }),
    (2, |g| {
        cmd!("EXPIRETIME", g.key(Kind::Any)).check(Check::Near(30))
    }),
    (2, |g| {
        cmd!("PEXPIRETIME", g.key(Kind::Any)).check(Check::Near(30_000))
    }),
    (4, |g| cmd!("PERSIST", g.key(Kind::Any))),
    (2, |g| cmd!("KEYS", g.pattern()).check(Check::Unordered)),
    (6, |g| {
        cmd!("OBJECT", "ENCODING", g.key(Kind::Any)).check(Check::Encoding)
    }),
    (1, |g| {
        cmd!("OBJECT", "REFCOUNT", g.key(Kind::Any)).check(Check::Kind)
    }),
    (1, |g| {
        cmd!("OBJECT", "IDLETIME", g.key(Kind::Any)).check(Check::Near(120))
    }),
    (1, |g| cmd!("OBJECT", "FREQ", g.key(Kind::Any))),
    (7, sort),
    (1, |g| {
        cmd!(
            "RESTORE",
            g.key(Kind::Any),
            0,
            "neither payload nor checksum"
        )
    }),
    (1, |g| {
        cmd!("MEMORY", "USAGE", g.key(Kind::Any)).check(Check::Kind)
    }),
    (2, |g| {
        let tail = g.words(&["abc", "0 COUNT 0", "0 COUNT abc", "0 MATCH", "0 BAD x"]);
        cmd!("SCAN").with(tail).fixed()
    }),
    (1, |g| cmd!("DUMP", g.key(Kind::Any)).check(Check::Kind)),
];

fn two_keys(g: &mut Generator, name: &str) -> Command {
    // Mostly the same type, so that the pools keep their types.
    let kind = *g.random.pick(&super::KINDS);
    let (first, second) = (g.key(kind), g.key(kind));
    cmd!(name, first, second)
}

fn database(g: &mut Generator) -> String {
    match g.random.below(12) {
        0 => (*g.random.pick(&["-1", "16", "99", "abc"])).into(),
        _ => g.random.below(DATABASES).to_string(),
    }
}

fn expire(g: &mut Generator, name: &str, at: i64) -> Command {
    let command = cmd!(name, g.key(Kind::Any), at);
    if g.one_in(2) {
        command.with(g.options(&["NX", "XX", "GT", "LT"], 4))
    } else {
        command
    }
}

/// Only forms whose order is defined are compared in order or stored: Redis sorts in place and
/// unstably, and a set sorted BY nothing comes in the order of its table.
fn sort(g: &mut Generator) -> Command {
    let kind = *g.random.pick(&[Kind::List, Kind::Set, Kind::Zset]);
    let name = if g.one_in(4) { "SORT_RO" } else { "SORT" };
    let mut command = cmd!(name, g.key(kind));
    match g.random.below(6) {
        0 => {
            return command
                .arg("BY")
                .arg("nosort")
                .check(Check::Unordered)
                .fixed()
        }
        1 => {
            let pattern = *g.random.pick(&["n:*", "h:*->counter1", "none:*"]);
            return command
                .arg("BY")
                .arg(pattern)
                .check(Check::Unordered)
                .fixed();
        }
        2 => {}
        _ => command = command.arg("ALPHA"),
    }
    command = command.with(g.options(&["DESC"], 3));
    if g.one_in(3) {
        command = command
            .arg("LIMIT")
            .arg(g.random.range(-1, 5))
            .arg(g.random.range(-1, 8));
    }
    if g.one_in(5) {
        let patterns = ["#", "n:*", "h:*->counter1", "s:1"];
        command = command.arg("GET").arg(*g.random.pick(&patterns));
        command = command.arg("GET").arg("#");
    }
    if g.one_in(5) {
        command = command.arg("STORE").arg(g.key(Kind::List));
    }
    command.fixed()
}

/// Commands with chance, a cursor, a clock or opaque bytes in them, each with its own way to compare.
pub fn step(g: &mut Generator) -> Step {
    match g.random.below(24) {
        0..=4 => {
            let count = if g.one_in(3) {
                None
            } else {
                Some(g.random.below(6))
            };
            Step::SetPop(g.key(Kind::Set), count)
        }
        5..=8 => {
            let kind = *g.random.pick(&[Kind::Set, Kind::Hash, Kind::Zset]);
            let count = if g.one_in(4) {
                None
            } else {
                Some(g.random.range(-8, 12))
            };
            let with_values = count.is_some() && kind != Kind::Set && g.one_in(2);
            let key = g.key(kind);
            Step::RandomElements {
                kind,
                key,
                count,
                with_values,
            }
        }
        9..=14 => scan(g),
        15 | 16 => {
            let (key, by_set) = (g.key(Kind::Any), g.one_in(3));
            Step::Expire { key, by_set }
        }
        17..=21 => {
            let (from, to) = (g.key(Kind::Any), g.key(Kind::Any));
            let ttl = if g.one_in(2) { 0 } else { g.far() };
            Step::DumpRestore { from, to, ttl }
        }
        _ => Step::RandomKey,
    }
}

fn scan(g: &mut Generator) -> Step {
    let kind = *g
        .random
        .pick(&[Kind::Any, Kind::Set, Kind::Hash, Kind::Zset]);
    let key = (kind != Kind::Any).then(|| g.key(kind));
    let mut options = Vec::new();
    if g.one_in(2) {
        options.extend([
            b"COUNT".to_vec(),
            g.random.range(1, 40).to_string().into_bytes(),
        ]);
    }
    if g.one_in(2) {
        options.extend([b"MATCH".to_vec(), g.pattern().into_bytes()]);
    }
    if kind == Kind::Any && g.one_in(3) {
        let name = *g
            .random
            .pick(&["string", "list", "hash", "set", "zset", "stream"]);
        options.extend([b"TYPE".to_vec(), name.into()]);
    }
    Step::Scan { kind, key, options }
}
