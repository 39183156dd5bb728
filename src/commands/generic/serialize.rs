//! DUMP and RESTORE.

use crate::commands::{Call, CommandError, CommandResult};
use crate::protocol::Reply;
use crate::store::rdb::{dump as dump_value, restore as restore_value};
use crate::store::{Deadline, Keyspace, Timestamp};

pub fn dump(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    match keyspace.get(call.arg(1), call.now) {
        Some(value) => reply.bulk(&dump_value(value)),
        None => reply.null(),
    }
    Ok(())
}

pub fn restore(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let options = RestoreOptions::parse(call)?;
    let key = call.arg(1);
    if !options.replace && keyspace.contains(key, call.now) {
        return Err(CommandError::new("BUSYKEY Target key name already exists."));
    }
    let ttl = match call.int(2)? {
        ..0 => return Err(CommandError::new("ERR Invalid TTL value, must be >= 0")),
        ttl => ttl as u64,
    };
    let value = restore_value(call.arg(3), keyspace.limits())
        .map_err(|error| CommandError::new(format!("ERR {error}")))?;
    let deadline = match (ttl, options.absolute) {
        (0, _) => None,
        (ttl, true) => Some(ttl),
        (ttl, false) => Some((ttl + call.now.0).min(i64::MAX as u64)),
    };
    reply.ok();
    if deadline.is_some_and(|at| at <= call.now.0) {
        keyspace.remove(key, call.now);
        return Ok(());
    }
    let deadline = deadline.map_or(Deadline::None, |ms| Deadline::At(Timestamp(ms)));
    keyspace.set(key, value, deadline, call.now);
    let access = keyspace
        .access
        .restored(options.idle_seconds, options.frequency, call.now);
    keyspace.set_access_bits(key, access, call.now);
    Ok(())
}

/// What may stand behind the payload.
#[derive(Default)]
struct RestoreOptions {
    replace: bool,
    absolute: bool,
    idle_seconds: Option<u64>,
    frequency: Option<u8>,
}

impl RestoreOptions {
    fn parse(call: &Call) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut index = 4;
        while index < call.len() {
            let has_value = index + 1 < call.len();
            if call.is_word(index, "REPLACE") {
                options.replace = true;
            } else if call.is_word(index, "ABSTTL") {
                options.absolute = true;
            } else if call.is_word(index, "IDLETIME") && has_value && options.frequency.is_none() {
                index += 1;
                let idle = u64::try_from(call.int(index)?)
                    .map_err(|_| CommandError::new("ERR Invalid IDLETIME value, must be >= 0"))?;
                options.idle_seconds = Some(idle);
            } else if call.is_word(index, "FREQ") && has_value && options.idle_seconds.is_none() {
                index += 1;
                let frequency = u8::try_from(call.int(index)?).map_err(|_| {
                    CommandError::new("ERR Invalid FREQ value, must be >= 0 and <= 255")
                })?;
                options.frequency = Some(frequency);
            } else {
                return Err(CommandError::Syntax);
            }
            index += 1;
        }
        Ok(options)
    }
}
