//! DBSIZE, FLUSHDB, FLUSHALL and SWAPDB: every shard runs them.

use crate::commands::{Call, CommandError, CommandResult};
use crate::protocol::Reply;
use crate::store::{Databases, Keyspace};

pub fn dbsize(keyspace: &Keyspace, _call: &Call, reply: &mut Reply) -> CommandResult {
    reply.int(keyspace.len() as i64);
    Ok(())
}

pub fn flushdb(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    check_mode(call)?;
    keyspace.clear();
    reply.ok();
    Ok(())
}

pub fn flushall(databases: &mut Databases, call: &Call, reply: &mut Reply) -> CommandResult {
    check_mode(call)?;
    databases.clear();
    reply.ok();
    Ok(())
}

/// SYNC and ASYNC mean the same here: the command is done when it answers.
fn check_mode(call: &Call) -> CommandResult {
    match call.len() {
        1 => Ok(()),
        2 if call.is_word(1, "ASYNC") || call.is_word(1, "SYNC") => Ok(()),
        _ => Err(CommandError::Syntax),
    }
}

pub fn swapdb(databases: &mut Databases, call: &Call, reply: &mut Reply) -> CommandResult {
    let number = |index: usize, which: &str| {
        let number = call
            .int(index)
            .ok()
            .and_then(|number| i32::try_from(number).ok());
        number.ok_or_else(|| CommandError::new(format!("ERR invalid {which} DB index")))
    };
    let (first, second) = (number(1, "first")?, number(2, "second")?);
    let known = |number: i32| {
        let known = usize::try_from(number)
            .ok()
            .filter(|&number| number < databases.count());
        known.ok_or(CommandError::new("ERR DB index is out of range"))
    };
    let (first, second) = (known(first)?, known(second)?);
    databases.swap(first as u16, second as u16);
    reply.ok();
    Ok(())
}
