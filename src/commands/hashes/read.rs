//! Hash commands that only read.

use crate::commands::element::write_element;
use crate::commands::scan::{parse_cursor, ScanOptions};
use crate::commands::{Call, CommandResult};
use crate::protocol::Reply;
use crate::store::listpack::Element;
use crate::store::{Hash, Keyspace};

fn write_value(reply: &mut Reply, value: Option<Element<'_>>) {
    match value {
        Some(value) => write_element(reply, value),
        None => reply.null(),
    }
}

pub(super) fn hget(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let hash = keyspace.get_as::<Hash>(call.arg(1), call.now)?;
    write_value(reply, hash.and_then(|hash| hash.get(call.arg(2))));
    Ok(())
}

pub(super) fn hmget(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let hash = keyspace.get_as::<Hash>(call.arg(1), call.now)?;
    reply.array(call.len() - 2);
    for field in call.args.from(2) {
        write_value(reply, hash.and_then(|hash| hash.get(field)));
    }
    Ok(())
}

pub(super) fn hexists(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let hash = keyspace.get_as::<Hash>(call.arg(1), call.now)?;
    let there = hash.is_some_and(|hash| hash.contains(call.arg(2)));
    reply.int(there as i64);
    Ok(())
}

pub(super) fn hlen(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let hash = keyspace.get_as::<Hash>(call.arg(1), call.now)?;
    reply.int(hash.map_or(0, Hash::len) as i64);
    Ok(())
}

pub(super) fn hstrlen(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let hash = keyspace.get_as::<Hash>(call.arg(1), call.now)?;
    let value = hash.and_then(|hash| hash.get(call.arg(2)));
    reply.int(value.map_or(0, |value| value.byte_len()) as i64);
    Ok(())
}

pub(super) fn hkeys(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let hash = keyspace.get_as::<Hash>(call.arg(1), call.now)?;
    reply.array(hash.map_or(0, Hash::len));
    for (field, _) in hash.into_iter().flat_map(Hash::iter) {
        write_element(reply, field);
    }
    Ok(())
}

pub(super) fn hvals(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let hash = keyspace.get_as::<Hash>(call.arg(1), call.now)?;
    reply.array(hash.map_or(0, Hash::len));
    for (_, value) in hash.into_iter().flat_map(Hash::iter) {
        write_element(reply, value);
    }
    Ok(())
}

pub(super) fn hgetall(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let hash = keyspace.get_as::<Hash>(call.arg(1), call.now)?;
    reply.map(hash.map_or(0, Hash::len));
    for (field, value) in hash.into_iter().flat_map(Hash::iter) {
        write_element(reply, field);
        write_element(reply, value);
    }
    Ok(())
}

pub(super) fn hscan(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let cursor = parse_cursor(call.arg(2))?;
    // Redis looks at the options only where there is a hash.
    let Some(hash) = keyspace.get_as::<Hash>(call.arg(1), call.now)? else {
        reply.array(2);
        reply.bulk(b"0");
        reply.array(0);
        return Ok(());
    };
    let options = ScanOptions::parse(call, 3, false)?;
    let mut shown = Vec::new();
    let next = hash.scan(cursor, options.count, |field, value| {
        if field.with_bytes(|field| options.lets_through(field)) {
            shown.push((field, value));
        }
    });
    reply.array(2);
    let mut digits = itoa::Buffer::new();
    reply.bulk(digits.format(next).as_bytes());
    reply.array(2 * shown.len());
    for (field, value) in shown {
        write_element(reply, field);
        write_element(reply, value);
    }
    Ok(())
}
