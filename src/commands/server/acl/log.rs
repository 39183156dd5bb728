//! ACL LOG. With one user, who may do everything, all that is denied is to log in.

use std::sync::PoisonError;

use crate::protocol::Reply;
use crate::store::Timestamp;

use super::super::super::acl_log::DeniedLogin;
use super::super::super::registry::subcommand_syntax;
use super::super::super::{Call, CommandError, CommandResult, Host};

/// Entries shown unless a count says otherwise.
const COUNT_DEFAULT: usize = 10;

pub fn log(host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let mut log = host
        .acl_log()
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let count = match call.len() {
        2 => COUNT_DEFAULT,
        3 if call.is_word(2, "RESET") => {
            log.clear();
            reply.ok();
            return Ok(());
        }
        3 => usize::try_from(call.int(2)?).unwrap_or(0),
        _ => return Err(CommandError::new(subcommand_syntax(&call.args))),
    };
    let shown = log.newest().len().min(count);
    reply.array(shown);
    for entry in log.newest().take(shown) {
        write(entry, call.now, reply);
    }
    Ok(())
}

fn write(entry: &DeniedLogin, now: Timestamp, reply: &mut Reply) {
    reply.map(10);
    reply.bulk(b"count");
    reply.int(entry.count as i64);
    for (name, text) in [
        ("reason", &b"auth"[..]),
        ("context", b"toplevel"),
        ("object", b"AUTH"),
        ("username", &entry.username),
    ] {
        reply.bulk(name.as_bytes());
        reply.bulk(text);
    }
    reply.bulk(b"age-seconds");
    reply.double(now.0.saturating_sub(entry.updated.0) as f64 / 1_000.0);
    reply.bulk(b"client-info");
    reply.bulk(entry.client.as_bytes());
    for (name, number) in [
        ("entry-id", entry.id),
        ("timestamp-created", entry.created.0),
        ("timestamp-last-updated", entry.updated.0),
    ] {
        reply.bulk(name.as_bytes());
        reply.int(number as i64);
    }
}
