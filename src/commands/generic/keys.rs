//! DEL, UNLINK, EXISTS, TYPE and TOUCH.

use crate::commands::{Call, CommandResult};
use crate::protocol::Reply;
use crate::store::Keyspace;

/// DEL and UNLINK: memory is freed as the key goes, for both.
pub fn del(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let removed = call
        .args
        .from(1)
        .filter(|key| keyspace.remove(key, call.now))
        .count();
    reply.int(removed as i64);
    Ok(())
}

/// A key that is named twice counts twice.
pub fn exists(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let found = call
        .args
        .from(1)
        .filter(|key| {
            let there = keyspace.contains(key, call.now);
            keyspace.count_look(there);
            there
        })
        .count();
    reply.int(found as i64);
    Ok(())
}

pub fn type_of(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let value = keyspace.peek(call.arg(1), call.now);
    keyspace.count_look(value.is_some());
    reply.simple(value.map_or("none", |value| value.type_name()));
    Ok(())
}

pub fn touch(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let found = call
        .args
        .from(1)
        .filter(|key| keyspace.touch(key, call.now))
        .count();
    reply.int(found as i64);
    Ok(())
}
