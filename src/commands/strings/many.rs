//! Commands on several strings at once.

use crate::protocol::Reply;
use crate::store::{Deadline, Keyspace, StrRef, ValueRef};

use super::super::{Call, CommandError, CommandResult};
use super::values::write;

pub fn mget(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    reply.array(call.len() - 1);
    for key in call.args.from(1) {
        let string: Option<StrRef> = match keyspace.get(key, call.now) {
            Some(ValueRef::Str(string)) => Some(string),
            // Another type reads as absent.
            _ => None,
        };
        write(string, reply);
    }
    Ok(())
}

pub fn mset(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    check_pairs(call, "mset")?;
    set_all(keyspace, call);
    reply.ok();
    Ok(())
}

pub fn msetnx(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    check_pairs(call, "msetnx")?;
    let mut keys = call.args.from(1).step_by(2);
    let all_absent = !keys.any(|key| keyspace.contains(key, call.now));
    if all_absent {
        set_all(keyspace, call);
    }
    reply.int(all_absent.into());
    Ok(())
}

fn check_pairs(call: &Call, command: &str) -> CommandResult {
    match call.len() % 2 {
        1 => Ok(()),
        _ => Err(CommandError::new(format!(
            "ERR wrong number of arguments for '{command}' command"
        ))),
    }
}

fn set_all(keyspace: &mut Keyspace, call: &Call) {
    for at in (1..call.len()).step_by(2) {
        keyspace.set_str(call.arg(at), call.arg(at + 1), Deadline::None, call.now);
    }
}
