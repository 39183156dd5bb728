//! Commands that read or change a part of a string.

use crate::protocol::Reply;
use crate::store::{Deadline, Keyspace};

use super::super::{Call, CommandError, CommandResult};
use super::TOO_LONG;

pub fn strlen(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let string = keyspace.get_str(call.arg(1), call.now)?;
    reply.int(string.map_or(0, |string| string.len() as i64));
    Ok(())
}

/// GETRANGE and SUBSTR.
pub fn getrange(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let (start, end) = (call.int(2)?, call.int(3)?);
    match keyspace.get_str(call.arg(1), call.now)? {
        None => reply.bulk(b""),
        Some(string) => string.with_bytes(|bytes| reply.bulk(part(bytes, start, end))),
    }
    Ok(())
}

/// The bytes from `start` to `end`, both included, both counted from the end when negative.
fn part(bytes: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let length = bytes.len() as i64;
    // What lies before the first byte counts as the first byte, also for `end`: Redis answers
    // GETRANGE k 0 -100 with one byte.
    let place = |at: i64| if at < 0 { (length + at).max(0) } else { at };
    let (start, end) = (place(start), place(end).min(length - 1));
    if start > end {
        return b"";
    }
    &bytes[start as usize..=end as usize]
}

pub fn append(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let (key, tail) = (call.arg(1), call.arg(2));
    let Some(string) = keyspace.peek_str(key, call.now)? else {
        keyspace.set_str(key, tail, Deadline::None, call.now);
        reply.int(tail.len() as i64);
        return Ok(());
    };
    check_length(keyspace, string.len(), tail.len())?;
    let length = keyspace.edit_str(key, call.now, |bytes| {
        bytes.extend_from_slice(tail);
        bytes.len()
    })?;
    reply.int(length as i64);
    Ok(())
}

pub fn setrange(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let (key, patch) = (call.arg(1), call.arg(3));
    let offset = usize::try_from(call.int(2)?)
        .map_err(|_| CommandError::new("ERR offset is out of range"))?;
    let old_length = keyspace
        .peek_str(key, call.now)?
        .map_or(0, |string| string.len());
    if patch.is_empty() {
        reply.int(old_length as i64);
        return Ok(());
    }
    check_length(keyspace, offset, patch.len())?;
    let length = keyspace.edit_str(key, call.now, |bytes| {
        let end = offset + patch.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset..end].copy_from_slice(patch);
        bytes.len()
    })?;
    reply.int(length as i64);
    Ok(())
}

fn check_length(keyspace: &Keyspace, before: usize, more: usize) -> CommandResult {
    let total = (before as u64).checked_add(more as u64);
    match total {
        Some(total) if total <= keyspace.limits().bulk_len_max => Ok(()),
        _ => Err(TOO_LONG),
    }
}
