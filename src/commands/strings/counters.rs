//! Commands that take a string for a number.

use crate::protocol::{LongDouble, Reply};
use crate::store::{canonical_int, Deadline, Keyspace, StrRef};

use super::super::{Call, CommandError, CommandResult};

pub fn incr(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    add(keyspace, call, reply, 1)
}

pub fn decr(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    add(keyspace, call, reply, -1)
}

pub fn incrby(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let increment = call.int(2)?;
    add(keyspace, call, reply, increment)
}

pub fn decrby(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let decrement = call.int(2)?;
    let increment = decrement
        .checked_neg()
        .ok_or(CommandError::new("ERR decrement would overflow"))?;
    add(keyspace, call, reply, increment)
}

fn add(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply, increment: i64) -> CommandResult {
    let new = keyspace.change_int(call.arg(1), call.now, |old| {
        let old = match old {
            None => 0,
            Some(StrRef::Int(value)) => value,
            Some(StrRef::Bytes(bytes)) => canonical_int(bytes).ok_or(CommandError::NotAnInteger)?,
        };
        old.checked_add(increment).ok_or(CommandError::new(
            "ERR increment or decrement would overflow",
        ))
    })?;
    reply.int(new);
    Ok(())
}

pub fn incrbyfloat(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let key = call.arg(1);
    let number = |text: &[u8]| LongDouble::parse(text).ok_or(CommandError::NotAFloat);
    let old = match keyspace.peek_str(key, call.now)? {
        None => number(b"0")?,
        Some(string) => string.with_bytes(number)?,
    };
    let sum = old
        .checked_add(number(call.arg(2))?)
        .ok_or(CommandError::new(
            "ERR increment would produce NaN or Infinity",
        ))?;
    let text = sum.to_text();
    reply.bulk(text.as_bytes());
    keyspace.set_bytes(key, text.into_bytes(), false, Deadline::Keep, call.now);
    Ok(())
}
