//! Deadlines: EXPIRE and its kin, TTL and its kin, PERSIST.

use crate::commands::{Call, CommandError, CommandResult};
use crate::protocol::Reply;
use crate::store::{Keyspace, Timestamp};

/// What a number given to or answered by a command counts.
#[derive(Clone, Copy)]
struct Clock {
    ms_per_unit: i64,
    /// Counted from now, not from the epoch.
    relative: bool,
}

const SECONDS_FROM_NOW: Clock = Clock {
    ms_per_unit: 1000,
    relative: true,
};
const MS_FROM_NOW: Clock = Clock {
    ms_per_unit: 1,
    relative: true,
};
const UNIX_SECONDS: Clock = Clock {
    ms_per_unit: 1000,
    relative: false,
};
const UNIX_MS: Clock = Clock {
    ms_per_unit: 1,
    relative: false,
};

pub fn expire(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    set_deadline(keyspace, call, SECONDS_FROM_NOW, "expire", reply)
}

pub fn pexpire(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    set_deadline(keyspace, call, MS_FROM_NOW, "pexpire", reply)
}

pub fn expireat(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    set_deadline(keyspace, call, UNIX_SECONDS, "expireat", reply)
}

pub fn pexpireat(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    set_deadline(keyspace, call, UNIX_MS, "pexpireat", reply)
}

pub fn ttl(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    show_deadline(keyspace, call, SECONDS_FROM_NOW, reply)
}

pub fn pttl(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    show_deadline(keyspace, call, MS_FROM_NOW, reply)
}

pub fn expiretime(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    show_deadline(keyspace, call, UNIX_SECONDS, reply)
}

pub fn pexpiretime(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    show_deadline(keyspace, call, UNIX_MS, reply)
}

pub fn persist(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let key = call.arg(1);
    let had_deadline = matches!(keyspace.deadline(key, call.now), Some(Some(_)));
    if had_deadline {
        keyspace.set_deadline(key, None, call.now);
    }
    reply.int(i64::from(had_deadline));
    Ok(())
}

fn set_deadline(
    keyspace: &mut Keyspace,
    call: &Call,
    clock: Clock,
    name: &str,
    reply: &mut Reply,
) -> CommandResult {
    let condition = Condition::parse(call)?;
    let deadline = clock
        .deadline(call.int(2)?, call.now)
        .ok_or_else(|| CommandError::new(format!("ERR invalid expire time in '{name}' command")))?;
    let key = call.arg(1);
    let allowed = match keyspace.deadline(key, call.now) {
        None => false,
        Some(current) => condition.allows(current.map(|at| at.0 as i64), deadline),
    };
    reply.int(i64::from(allowed));
    if !allowed {
        return Ok(());
    }
    match u64::try_from(deadline) {
        Ok(ms) if ms > call.now.0 => {
            keyspace.set_deadline(key, Some(Timestamp(ms)), call.now);
        }
        _ => {
            keyspace.remove(key, call.now);
        }
    }
    Ok(())
}

fn show_deadline(
    keyspace: &Keyspace,
    call: &Call,
    clock: Clock,
    reply: &mut Reply,
) -> CommandResult {
    let found = keyspace.deadline(call.arg(1), call.now);
    keyspace.count_look(found.is_some());
    reply.int(match found {
        None => -2,
        Some(None) => -1,
        Some(Some(deadline)) => clock.shown(deadline, call.now),
    });
    Ok(())
}

impl Clock {
    /// The deadline, in ms since the epoch and perhaps long past; `None` where it overflows.
    fn deadline(self, given: i64, now: Timestamp) -> Option<i64> {
        let base = if self.relative { now.0 as i64 } else { 0 };
        given.checked_mul(self.ms_per_unit)?.checked_add(base)
    }

    fn shown(self, deadline: Timestamp, now: Timestamp) -> i64 {
        let base = if self.relative { now.0 } else { 0 };
        let ms = deadline.0.saturating_sub(base) as i64;
        match self.ms_per_unit {
            1 => ms,
            // To the nearest second.
            unit => (ms + unit / 2) / unit,
        }
    }
}

/// NX, XX, GT, LT.
#[derive(Default)]
struct Condition {
    only_without: bool,
    only_with: bool,
    only_later: bool,
    only_earlier: bool,
}

impl Condition {
    fn parse(call: &Call) -> Result<Self, CommandError> {
        let mut condition = Self::default();
        for index in 3..call.len() {
            let flag = match () {
                _ if call.is_word(index, "NX") => &mut condition.only_without,
                _ if call.is_word(index, "XX") => &mut condition.only_with,
                _ if call.is_word(index, "GT") => &mut condition.only_later,
                _ if call.is_word(index, "LT") => &mut condition.only_earlier,
                _ => {
                    // Redis prints it as a C string: nothing behind a NUL.
                    let option = call
                        .arg(index)
                        .split(|&byte| byte == 0)
                        .next()
                        .unwrap_or_default();
                    let option = String::from_utf8_lossy(option);
                    return Err(CommandError::new(format!(
                        "ERR Unsupported option {option}"
                    )));
                }
            };
            *flag = true;
        }
        let others = condition.only_with || condition.only_later || condition.only_earlier;
        if condition.only_without && others {
            return Err(CommandError::new(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if condition.only_later && condition.only_earlier {
            return Err(CommandError::new(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(condition)
    }

    /// No deadline counts as one that never comes.
    fn allows(&self, current: Option<i64>, wanted: i64) -> bool {
        match current {
            None => !self.only_with && !self.only_later,
            Some(current) => {
                !self.only_without
                    && (!self.only_later || wanted > current)
                    && (!self.only_earlier || wanted < current)
            }
        }
    }
}
