//! What cannot be compared reply by reply: chance, cursors, clocks, opaque payloads. Each step runs alone,
//! between two batches, and leaves both servers with the same data.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::command::{cmd, Check, Command};
use crate::generate::Kind;
use crate::keyspace;
use crate::pair::{Pair, Trouble};
use crate::resp::Value;
use crate::server::Proto;

/// A loop of SCAN calls longer than this does not end.
const SCAN_CALLS_MAX: usize = 20_000;
/// Longer than the deadline that `Step::Expire` sets, with a margin for a busy machine.
const EXPIRE_WAIT: Duration = Duration::from_millis(15);

#[derive(Debug)]
pub enum Step {
    /// SPOP with its count.
    SetPop(String, Option<usize>),
    /// SRANDMEMBER, HRANDFIELD or ZRANDMEMBER.
    RandomElements {
        kind: Kind,
        key: String,
        count: Option<i64>,
        with_values: bool,
    },
    /// SCAN, SSCAN, HSCAN or ZSCAN until the cursor is 0 again.
    Scan {
        kind: Kind,
        key: Option<String>,
        options: Vec<Vec<u8>>,
    },
    /// A deadline that passes: of PEXPIRE, or one that SET was given already past.
    Expire {
        key: String,
        by_set: bool,
    },
    /// DUMP of one key, RESTORE to another; also of Redis' payload in ringfort.
    DumpRestore {
        from: String,
        to: String,
        ttl: i64,
    },
    RandomKey,
}

pub fn run(pair: &mut Pair, proto: Proto, step: Step) -> Result<(), Trouble> {
    match step {
        Step::SetPop(key, count) => set_pop(pair, proto, &key, count),
        Step::RandomElements {
            kind,
            key,
            count,
            with_values,
        } => {
            let mut command = cmd!(random_command(kind), key);
            if let Some(count) = count {
                command = command.arg(count);
            }
            if with_values {
                command = command.arg(values_word(kind));
            }
            random_elements(pair, proto, kind, command, count)
        }
        Step::Scan { kind, key, options } => scan(pair, proto, kind, key, options),
        Step::Expire { key, by_set } => {
            let command = if by_set {
                cmd!("SET", key.as_str(), "gone", "PXAT", "1")
            } else {
                cmd!("PEXPIRE", key.as_str(), "1")
            };
            expire(pair, proto, &key, command)
        }
        Step::DumpRestore { from, to, ttl } => dump_restore(pair, proto, &from, &to, ttl),
        Step::RandomKey => random_key(pair, proto),
    }
}

fn set_pop(pair: &mut Pair, proto: Proto, key: &str, count: Option<usize>) -> Result<(), Trouble> {
    let members = cmd!("SMEMBERS", key).check(Check::Unordered);
    let (before, _) = pair.asked(proto, members)?;
    let mut command = cmd!("SPOP", key);
    if let Some(count) = count {
        command = command.arg(count as i64);
    }
    if before.is_error() {
        return pair.asked(proto, command).map(|_| ());
    }
    let (redis, ringfort) = pair.call_both(proto, &command.args)?;
    let before: BTreeSet<Value> = before.items().unwrap_or_default().iter().cloned().collect();
    let popped = elements(&redis);
    let odd = |why: &str| format!("{ringfort:?}: {why}");
    let theirs = elements(&ringfort);
    let complaint = if std::mem::discriminant(&redis) != std::mem::discriminant(&ringfort) {
        Some(odd("another RESP type"))
    } else if theirs.len() != popped.len() {
        Some(odd("another number of members"))
    } else if !theirs.is_subset(&before) {
        Some(odd("not a member"))
    } else {
        None
    };
    if let Some(complaint) = complaint {
        return Err(pair.oddity(proto, &command, format!("{redis:?}"), complaint));
    }
    let left = pair.ringfort.call(proto, &cmd!("SMEMBERS", key).args);
    let left = left.map(|left| elements(&left)).unwrap_or_default();
    if left != before.difference(&theirs).cloned().collect() {
        let complaint = odd("popped members are still there, or others are gone");
        return Err(pair.oddity(proto, &command, format!("{redis:?}"), complaint));
    }
    // From here on both go on with what Redis kept.
    pair.call_both(proto, &cmd!("DEL", key).args)?;
    pair.remember(proto, cmd!("DEL", key));
    let kept: Vec<Vec<u8>> = before
        .difference(&popped)
        .filter_map(|member| member.text().map(<[u8]>::to_vec))
        .collect();
    if !kept.is_empty() {
        pair.told(proto, cmd!("SADD", key).with(kept))?;
    }
    Ok(())
}

/// The elements of a reply as a set; of a single string, the string.
fn elements(reply: &Value) -> BTreeSet<Value> {
    match reply.items() {
        Some(items) => items.iter().cloned().collect(),
        None if reply.is_null() => BTreeSet::new(),
        None => BTreeSet::from([reply.clone()]),
    }
}

fn random_command(kind: Kind) -> &'static str {
    match kind {
        Kind::Hash => "HRANDFIELD",
        Kind::Zset => "ZRANDMEMBER",
        _ => "SRANDMEMBER",
    }
}

fn values_word(kind: Kind) -> &'static str {
    if kind == Kind::Hash {
        "WITHVALUES"
    } else {
        "WITHSCORES"
    }
}

fn random_elements(
    pair: &mut Pair,
    proto: Proto,
    kind: Kind,
    command: Command,
    count: Option<i64>,
) -> Result<(), Trouble> {
    let key = command.args[1].clone();
    let all = match kind {
        Kind::Hash => cmd!("HGETALL", key).check(Check::Pairs),
        Kind::Zset => cmd!("ZRANGE", key, "0", "-1", "WITHSCORES").check(Check::Scores),
        _ => cmd!("SMEMBERS", key).check(Check::Unordered),
    };
    let (all_redis, all_ringfort) = pair.asked(proto, all)?;
    if all_redis.is_error() {
        return pair.asked(proto, command).map(|_| ());
    }
    let (redis, ringfort) = pair.call_both(proto, &command.args)?;
    let width = if command.args.len() > 3 { 2 } else { 1 };
    let pairs = kind != Kind::Set;
    let drawn = groups(&redis, width);
    let theirs = groups(&ringfort, width);
    let universe = universe(&all_ringfort, pairs, width);
    let complaint = if std::mem::discriminant(&redis) != std::mem::discriminant(&ringfort) {
        Some("another RESP type")
    } else if drawn.len() != theirs.len() {
        Some("another number of elements")
    } else if !theirs.iter().all(|element| universe.contains(element)) {
        Some("not an element")
    } else if count.is_some_and(|count| count > 0)
        && theirs.iter().collect::<BTreeSet<_>>().len() != theirs.len()
    {
        Some("an element twice")
    } else {
        None
    };
    match complaint {
        Some(why) => {
            let text = format!("{ringfort:?}: {why}");
            Err(pair.oddity(proto, &command, format!("{redis:?}"), text))
        }
        None => Ok(()),
    }
}

/// The drawn elements, each with its value when there is one; RESP3 nests pairs, RESP2 does not.
fn groups(reply: &Value, width: usize) -> Vec<Vec<Value>> {
    match reply.items() {
        Some(items) if items.iter().all(|item| item.items().is_some()) => items
            .iter()
            .filter_map(|item| item.items().map(<[Value]>::to_vec))
            .collect(),
        Some(items) => items.chunks(width).map(<[Value]>::to_vec).collect(),
        None if reply.is_null() => Vec::new(),
        None => vec![vec![reply.clone()]],
    }
}

fn universe(all: &Value, pairs: bool, width: usize) -> BTreeSet<Vec<Value>> {
    let stored = if pairs { 2 } else { 1 };
    groups(all, stored)
        .into_iter()
        .map(|group| group[..width].to_vec())
        .collect()
}

fn scan(
    pair: &mut Pair,
    proto: Proto,
    kind: Kind,
    key: Option<String>,
    options: Vec<Vec<u8>>,
) -> Result<(), Trouble> {
    let (name, width) = match kind {
        Kind::Set => ("SSCAN", 1),
        Kind::Hash => ("HSCAN", 2),
        Kind::Zset => ("ZSCAN", 2),
        _ => ("SCAN", 1),
    };
    let call = |cursor: &[u8]| {
        let mut command = cmd!(name);
        command = command.with(key.clone().map(String::into_bytes));
        command.arg(cursor.to_vec()).with(options.clone())
    };
    let start = call(b"0");
    let mut found = [BTreeSet::new(), BTreeSet::new()];
    for (side, found) in found.iter_mut().enumerate() {
        let mut cursor = b"0".to_vec();
        for calls in 0.. {
            let server = if side == 0 {
                &mut pair.redis
            } else {
                &mut pair.ringfort
            };
            let reply = server.call(proto, &call(&cursor).args);
            let reply = reply.map_err(|error| Trouble::Gone(format!("{name}: {error}")))?;
            match reply.items() {
                Some([Value::Bulk(next), page]) if calls < SCAN_CALLS_MAX => {
                    let page = page.items().unwrap_or_default();
                    found.extend(page.chunks(width).map(<[Value]>::to_vec));
                    cursor = next.clone();
                }
                // A wrong type, or no end: both sides show the same or it is a mismatch.
                _ => {
                    found.insert(vec![reply]);
                    break;
                }
            }
            if cursor == b"0" {
                break;
            }
        }
    }
    let flat = |set: &BTreeSet<Vec<Value>>| Value::Array(set.iter().flatten().cloned().collect());
    let (redis, ringfort) = (flat(&found[0]), flat(&found[1]));
    if crate::compare::same(Check::Scores, &redis, &ringfort) {
        return Ok(());
    }
    Err(pair.oddity(proto, &start, format!("{redis:?}"), format!("{ringfort:?}")))
}

fn expire(pair: &mut Pair, proto: Proto, key: &str, command: Command) -> Result<(), Trouble> {
    pair.asked(proto, command)?;
    std::thread::sleep(EXPIRE_WAIT);
    // The removal stands for it in the history: a repetition then needs no waiting.
    pair.remember(proto, cmd!("DEL", key));
    for command in [
        cmd!("KEYS", key.replace('{', "\\{")).check(Check::Unordered),
        cmd!("EXISTS", key),
        cmd!("TYPE", key),
        cmd!("PTTL", key),
        cmd!("RENAME", key, key),
        cmd!("DEL", key),
    ] {
        pair.asked(proto, command)?;
    }
    Ok(())
}

fn dump_restore(
    pair: &mut Pair,
    proto: Proto,
    from: &str,
    to: &str,
    ttl: i64,
) -> Result<(), Trouble> {
    let dump = cmd!("DUMP", from);
    let (redis, ringfort) = pair.call_both(proto, &dump.args)?;
    let (Value::Bulk(theirs), Value::Bulk(ours)) = (&redis, &ringfort) else {
        let same = redis == ringfort;
        let oddity = || pair.oddity(proto, &dump, format!("{redis:?}"), format!("{ringfort:?}"));
        return if same { Ok(()) } else { Err(oddity()) };
    };
    let restore = |payload: &[u8]| cmd!("RESTORE", to, ttl, payload.to_vec(), "REPLACE");
    let expected = pair.redis.call(proto, &restore(theirs).args);
    let expected = expected.map_err(|error| Trouble::Gone(format!("redis: {error}")))?;
    if from != to {
        pair.remember(proto, cmd!("COPY", from, to, "REPLACE"));
    }
    pair.remember(
        proto,
        if ttl == 0 {
            cmd!("PERSIST", to)
        } else {
            cmd!("PEXPIRE", to, ttl)
        },
    );
    for (payload, whose) in [(theirs, "redis'"), (ours, "its own")] {
        let command = restore(payload);
        let reply = pair.ringfort.call(proto, &command.args);
        let reply = reply.map_err(|error| Trouble::Gone(format!("ringfort: {error}")))?;
        if reply != expected {
            let ringfort = format!("{reply:?} for {whose} payload");
            return Err(pair.oddity(proto, &command, format!("{expected:?}"), ringfort));
        }
        keyspace::compare_key(pair, proto, to.as_bytes(), true)?;
    }
    Ok(())
}

fn random_key(pair: &mut Pair, proto: Proto) -> Result<(), Trouble> {
    let command = cmd!("RANDOMKEY");
    let (redis, ringfort) = pair.call_both(proto, &command.args)?;
    let fits = match (&redis, &ringfort) {
        (Value::Bulk(_), Value::Bulk(key)) => {
            let (there, _) = pair.asked(proto, cmd!("EXISTS", key.clone()))?;
            there == Value::Int(1)
        }
        _ => redis == ringfort,
    };
    if fits {
        return Ok(());
    }
    Err(pair.oddity(
        proto,
        &command,
        format!("{redis:?}"),
        format!("{ringfort:?}"),
    ))
}
