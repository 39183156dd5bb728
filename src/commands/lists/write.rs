//! List commands that add, change, move or drop elements.

use super::{side, span};
use crate::commands::{Call, CommandError, CommandResult};
use crate::protocol::Reply;
use crate::store::list::{List, Side};
use crate::store::Keyspace;

pub(super) fn lpush(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    push(keyspace, call, reply, Side::Head)
}

pub(super) fn rpush(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    push(keyspace, call, reply, Side::Tail)
}

fn push(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply, side: Side) -> CommandResult {
    let limits = *keyspace.limits();
    let mut list = keyspace.edit_or_default::<List>(call.arg(1), call.now)?;
    list.extend(side, call.args.from(2), &limits);
    reply.int(list.len() as i64);
    Ok(())
}

pub(super) fn lpushx(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    push_existing(keyspace, call, reply, Side::Head)
}

pub(super) fn rpushx(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    push_existing(keyspace, call, reply, Side::Tail)
}

fn push_existing(
    keyspace: &mut Keyspace,
    call: &Call,
    reply: &mut Reply,
    side: Side,
) -> CommandResult {
    let limits = *keyspace.limits();
    let Some(mut list) = keyspace.edit::<List>(call.arg(1), call.now)? else {
        reply.int(0);
        return Ok(());
    };
    list.extend(side, call.args.from(2), &limits);
    reply.int(list.len() as i64);
    Ok(())
}

pub(super) fn linsert(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let before = call.is_word(2, "BEFORE");
    if !before && !call.is_word(2, "AFTER") {
        return Err(CommandError::Syntax);
    }
    let limits = *keyspace.limits();
    let Some(mut list) = keyspace.edit::<List>(call.arg(1), call.now)? else {
        reply.int(0);
        return Ok(());
    };
    match list.insert(call.arg(3), call.arg(4), before, &limits) {
        true => reply.int(list.len() as i64),
        false => reply.int(-1),
    }
    Ok(())
}

pub(super) fn lset(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let limits = *keyspace.limits();
    let Some(mut list) = keyspace.edit::<List>(call.arg(1), call.now)? else {
        return Err(CommandError::NoSuchKey);
    };
    if !list.set(call.int(2)?, call.arg(3), &limits) {
        return Err(CommandError::IndexOutOfRange);
    }
    reply.ok();
    Ok(())
}

pub(super) fn lrem(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let count = call.int(2)?;
    let limits = *keyspace.limits();
    let removed = match keyspace.edit::<List>(call.arg(1), call.now)? {
        Some(mut list) => list.remove(count, call.arg(3), &limits),
        None => 0,
    };
    reply.int(removed as i64);
    Ok(())
}

pub(super) fn ltrim(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let (start, stop) = (call.int(2)?, call.int(3)?);
    let limits = *keyspace.limits();
    if let Some(mut list) = keyspace.edit::<List>(call.arg(1), call.now)? {
        let (start, count) = span(start, stop, list.len());
        list.trim(start, count, &limits);
    }
    reply.ok();
    Ok(())
}

pub(super) fn lmove(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let (from, to) = (side(call, 3)?, side(call, 4)?);
    move_element(keyspace, call, reply, from, to)
}

pub(super) fn rpoplpush(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    move_element(keyspace, call, reply, Side::Tail, Side::Head)
}

fn move_element(
    keyspace: &mut Keyspace,
    call: &Call,
    reply: &mut Reply,
    from: Side,
    to: Side,
) -> CommandResult {
    let (source, destination) = (call.arg(1), call.arg(2));
    let limits = *keyspace.limits();
    if keyspace.peek_as::<List>(source, call.now)?.is_none() {
        reply.null();
        return Ok(());
    }
    // Both types are checked before anything changes.
    keyspace.peek_as::<List>(destination, call.now)?;
    let moved = match keyspace.edit::<List>(source, call.now)? {
        Some(mut list) if source == destination => list.rotate(from, to, &limits),
        Some(mut list) => list.pop(from, &limits),
        None => None,
    };
    let Some(value) = moved else {
        reply.null();
        return Ok(());
    };
    if source != destination {
        keyspace
            .edit_or_default::<List>(destination, call.now)?
            .push(to, &value, &limits);
    }
    reply.bulk(&value);
    Ok(())
}
