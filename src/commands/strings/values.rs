//! Commands that read or replace a whole string.

use crate::protocol::Reply;
use crate::store::{Deadline, Keyspace, StrRef};

use super::super::{Call, CommandResult};
use super::options::{moment, For, Options, Unit};

pub fn get(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let value = keyspace.get_str(call.arg(1), call.now)?;
    write(value, reply);
    Ok(())
}

/// A string, or a null where there is none.
#[inline]
pub fn write(value: Option<StrRef>, reply: &mut Reply) {
    match value {
        None => reply.null(),
        Some(StrRef::Bytes(bytes)) => reply.bulk(bytes),
        Some(StrRef::Int(value)) => reply.bulk_int(value),
    }
}

pub fn set(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let (key, value) = (call.arg(1), call.arg(2));
    // Nearly every SET there is.
    if call.len() == 3 {
        keyspace.set_str(key, value, Deadline::None, call.now);
        reply.ok();
        return Ok(());
    }
    let options = Options::read(call, 3, For::Set)?;
    let deadline = match options.expiry {
        Some((unit, index)) => Deadline::At(moment(call, index, unit, "set")?),
        None if options.keep_ttl => Deadline::Keep,
        None => Deadline::None,
    };
    if options.get {
        get(keyspace, call, reply)?;
    }
    let refused = (options.only_new || options.only_existing)
        && keyspace.contains(key, call.now) == options.only_new;
    if !refused {
        keyspace.set_str(key, value, deadline, call.now);
    }
    match (options.get, refused) {
        (true, _) => {}
        (false, true) => reply.null(),
        (false, false) => reply.ok(),
    }
    Ok(())
}

pub fn setnx(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let absent = !keyspace.contains(call.arg(1), call.now);
    if absent {
        keyspace.set_str(call.arg(1), call.arg(2), Deadline::None, call.now);
    }
    reply.int(absent.into());
    Ok(())
}

pub fn setex(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    set_with_span(keyspace, call, reply, Unit::Seconds, "setex")
}

pub fn psetex(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    set_with_span(keyspace, call, reply, Unit::Milliseconds, "psetex")
}

fn set_with_span(
    keyspace: &mut Keyspace,
    call: &Call,
    reply: &mut Reply,
    unit: Unit,
    command: &str,
) -> CommandResult {
    let deadline = Deadline::At(moment(call, 2, unit, command)?);
    keyspace.set_str(call.arg(1), call.arg(3), deadline, call.now);
    reply.ok();
    Ok(())
}

pub fn getset(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    get(keyspace, call, reply)?;
    keyspace.set_str(call.arg(1), call.arg(2), Deadline::None, call.now);
    Ok(())
}

pub fn getdel(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    get(keyspace, call, reply)?;
    keyspace.remove(call.arg(1), call.now);
    Ok(())
}

pub fn getex(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let key = call.arg(1);
    let options = Options::read(call, 2, For::GetEx)?;
    let value = keyspace.get_str(key, call.now)?;
    write(value, reply);
    if value.is_none() {
        return Ok(());
    }
    if let Some((unit, index)) = options.expiry {
        let at = moment(call, index, unit, "getex")?;
        if unit.is_absolute() && at <= call.now {
            keyspace.remove(key, call.now);
        } else {
            keyspace.set_deadline(key, Some(at), call.now);
        }
    } else if options.persist {
        keyspace.set_deadline(key, None, call.now);
    }
    Ok(())
}
