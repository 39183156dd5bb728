//! RENAME, RENAMENX, COPY and MOVE: a value goes to another name or another database, its deadline with it.

use super::database_number;
use crate::commands::{Call, CommandError, CommandResult};
use crate::protocol::Reply;
use crate::store::{Databases, Keyspace, Timestamp};

const SAME_OBJECT: &str = "ERR source and destination objects are the same";

pub fn rename(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let (from, to) = (call.arg(1), call.arg(2));
    if !keyspace.contains(from, call.now) {
        return Err(CommandError::NoSuchKey);
    }
    move_value(keyspace, from, to, call.now);
    reply.ok();
    Ok(())
}

pub fn renamenx(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let (from, to) = (call.arg(1), call.arg(2));
    if !keyspace.contains(from, call.now) {
        return Err(CommandError::NoSuchKey);
    }
    // This covers a key that is to keep its name, too.
    let is_taken = keyspace.contains(to, call.now);
    if !is_taken {
        move_value(keyspace, from, to, call.now);
    }
    reply.int(i64::from(!is_taken));
    Ok(())
}

fn move_value(keyspace: &mut Keyspace, from: &[u8], to: &[u8], now: Timestamp) {
    if from == to {
        return;
    }
    let access = keyspace.access_bits(from, now);
    let Some(held) = keyspace.take(from, now) else {
        return;
    };
    keyspace.set_held(to, held, now);
    if let Some(access) = access {
        keyspace.set_access_bits(to, access, now);
    }
}

pub fn copy(databases: &mut Databases, call: &Call, reply: &mut Reply) -> CommandResult {
    let mut target = call.database;
    let mut replace = false;
    let mut index = 3;
    while index < call.len() {
        if call.is_word(index, "REPLACE") {
            replace = true;
        } else if call.is_word(index, "DB") && index + 1 < call.len() {
            index += 1;
            target = database_number(databases, call, index)?;
        } else {
            return Err(CommandError::Syntax);
        }
        index += 1;
    }
    let (from, to) = (call.arg(1), call.arg(2));
    if target == call.database && from == to {
        return Err(CommandError::new(SAME_OBJECT));
    }
    let source = databases.keyspace(call.database);
    source.get(from, call.now); // Counts, and marks the source as used.
    let found = source.held(from, call.now);
    let target = databases.keyspace_mut(target);
    match found {
        Some(held) if replace || !target.contains(to, call.now) => {
            target.set_held(to, held, call.now);
            reply.int(1);
        }
        _ => reply.int(0),
    }
    Ok(())
}

pub fn move_key(databases: &mut Databases, call: &Call, reply: &mut Reply) -> CommandResult {
    let key = call.arg(1);
    let target = database_number(databases, call, 2)?;
    if target == call.database {
        return Err(CommandError::new(SAME_OBJECT));
    }
    let (source, target) = databases.pair_mut(call.database, target);
    if target.contains(key, call.now) {
        reply.int(0);
        return Ok(());
    }
    let access = source.access_bits(key, call.now);
    let taken = source.take(key, call.now);
    reply.int(i64::from(taken.is_some()));
    if let (Some(held), Some(access)) = (taken, access) {
        target.set_held(key, held, call.now);
        target.set_access_bits(key, access, call.now);
    }
    Ok(())
}
