//! Set commands on single members, and those that list them.

use crate::commands::element::write_element;
use crate::commands::scan::{parse_cursor, ScanOptions};
use crate::commands::{Call, CommandResult};
use crate::protocol::Reply;
use crate::store::{Deadline, Keyspace, Limits, Set, Value};

pub(super) fn sadd(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let added = add_members(keyspace, call)?;
    reply.int(added as i64);
    Ok(())
}

/// Adds the members behind the key; gives how many are new.
fn add_members(keyspace: &mut Keyspace, call: &Call) -> Result<usize, crate::store::WrongType> {
    let key = call.arg(1);
    let limits = *keyspace.limits();
    let members = call.args.from(2);
    if let Some(mut set) = keyspace.edit::<Set>(key, call.now)? {
        set.expect(members.len(), &limits);
        return Ok(add_all(&mut set, members, &limits));
    }
    let mut set = Set::expecting(call.arg(2), members.len(), &limits);
    let added = add_all(&mut set, members, &limits);
    keyspace.set(key, Value::Set(set), Deadline::None, call.now);
    Ok(added)
}

fn add_all<'a>(set: &mut Set, members: impl Iterator<Item = &'a [u8]>, limits: &Limits) -> usize {
    members.filter(|member| set.add(member, limits)).count()
}

pub(super) fn srem(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let removed = match keyspace.edit::<Set>(call.arg(1), call.now)? {
        Some(mut set) => call.args.from(2).filter(|m| set.remove(m)).count(),
        None => 0,
    };
    reply.int(removed as i64);
    Ok(())
}

pub(super) fn smove(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let (source, destination, member) = (call.arg(1), call.arg(2), call.arg(3));
    let Some(set) = keyspace.peek_as::<Set>(source, call.now)? else {
        reply.int(0);
        return Ok(());
    };
    let there = set.contains(member);
    keyspace.peek_as::<Set>(destination, call.now)?;
    if there && source != destination {
        let limits = *keyspace.limits();
        if let Some(mut set) = keyspace.edit::<Set>(source, call.now)? {
            set.remove(member);
        }
        keyspace
            .edit_or_default::<Set>(destination, call.now)?
            .add(member, &limits);
    }
    reply.int(there as i64);
    Ok(())
}

pub(super) fn scard(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let set = keyspace.get_as::<Set>(call.arg(1), call.now)?;
    reply.int(set.map_or(0, Set::len) as i64);
    Ok(())
}

pub(super) fn sismember(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let set = keyspace.get_as::<Set>(call.arg(1), call.now)?;
    reply.int(set.is_some_and(|set| set.contains(call.arg(2))) as i64);
    Ok(())
}

pub(super) fn smismember(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let set = keyspace.get_as::<Set>(call.arg(1), call.now)?;
    reply.array(call.len() - 2);
    for member in call.args.from(2) {
        reply.int(set.is_some_and(|set| set.contains(member)) as i64);
    }
    Ok(())
}

pub(super) fn smembers(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let set = keyspace.get_as::<Set>(call.arg(1), call.now)?;
    reply.set(set.map_or(0, Set::len));
    for member in set.into_iter().flat_map(Set::iter) {
        write_element(reply, member);
    }
    Ok(())
}

pub(super) fn sscan(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let cursor = parse_cursor(call.arg(2))?;
    // As in Redis, the options of a scan over nothing are not looked at.
    let Some(set) = keyspace.get_as::<Set>(call.arg(1), call.now)? else {
        reply.array(2);
        reply.bulk(b"0");
        reply.array(0);
        return Ok(());
    };
    let options = ScanOptions::parse(call, 3, false)?;
    let mut shown = Vec::new();
    let next = set.scan(cursor, options.count, |member| {
        if member.with_bytes(|bytes| options.lets_through(bytes)) {
            shown.push(member);
        }
    });
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    reply.array(shown.len());
    for member in shown {
        write_element(reply, member);
    }
    Ok(())
}
