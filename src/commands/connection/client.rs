//! CLIENT: what a connection may say of itself and do to others.

use crate::protocol::Reply;

use super::super::host::Pause;
use super::super::registry::subcommand_syntax;
use super::super::{Call, CommandError, CommandResult, Host, Replies, Session};
use super::client_filter::Filter;
use super::client_line::{line, own_line};
use crate::store::Timestamp;

/// A name that a connection may bear: visible ASCII without blanks.
pub fn checked_name(name: &[u8]) -> Result<&[u8], CommandError> {
    if is_visible(name) {
        Ok(name)
    } else {
        Err(CommandError::new(
            "ERR Client names cannot contain spaces, newlines or special characters.",
        ))
    }
}

fn is_visible(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// ON or OFF.
fn on_off(call: &Call, at: usize) -> Result<bool, CommandError> {
    match () {
        () if call.is_word(at, "ON") => Ok(true),
        () if call.is_word(at, "OFF") => Ok(false),
        () => Err(CommandError::Syntax),
    }
}

pub(super) fn id(
    session: &mut Session,
    _: &dyn Host,
    _: &Call,
    reply: &mut Reply,
) -> CommandResult {
    reply.int(session.id as i64);
    Ok(())
}

pub(super) fn get_name(
    session: &mut Session,
    _: &dyn Host,
    _: &Call,
    reply: &mut Reply,
) -> CommandResult {
    reply.bulk_or_null(Some(session.name.as_slice()).filter(|name| !name.is_empty()));
    Ok(())
}

pub(super) fn set_name(
    session: &mut Session,
    _: &dyn Host,
    call: &Call,
    reply: &mut Reply,
) -> CommandResult {
    session.name = checked_name(call.arg(2))?.to_vec();
    reply.ok();
    Ok(())
}

pub(super) fn set_info(
    session: &mut Session,
    _: &dyn Host,
    call: &Call,
    reply: &mut Reply,
) -> CommandResult {
    let (field, name) = if call.is_word(2, "LIB-NAME") {
        (&mut session.lib_name, "lib-name")
    } else if call.is_word(2, "LIB-VER") {
        (&mut session.lib_version, "lib-ver")
    } else {
        return Err(CommandError::new(format!(
            "ERR Unrecognized option '{}'",
            String::from_utf8_lossy(call.arg(2))
        )));
    };
    if !is_visible(call.arg(3)) {
        return Err(CommandError::new(format!(
            "ERR {name} cannot contain spaces, newlines or special characters."
        )));
    }
    *field = call.arg(3).to_vec();
    reply.ok();
    Ok(())
}

pub(super) fn info(
    session: &mut Session,
    host: &dyn Host,
    _: &Call,
    reply: &mut Reply,
) -> CommandResult {
    reply.verbatim("txt", own_info(session, host, "client|info").as_bytes());
    Ok(())
}

/// The connection's own line, with its line feed; `command` is the one that runs.
pub(super) fn own_info(session: &Session, host: &dyn Host, command: &'static str) -> String {
    own_line(
        host.client(session.id).unwrap_or_default(),
        session,
        command,
    )
}

pub(super) fn list(
    session: &mut Session,
    host: &dyn Host,
    call: &Call,
    reply: &mut Reply,
) -> CommandResult {
    let filter = Filter::parse_list(call)?;
    let mut clients = host.clients();
    clients.retain(|client| filter.lets_through(client));
    clients.sort_by_key(|client| client.id);
    let mut text = String::new();
    for client in clients {
        if client.id == session.id {
            text.push_str(&own_line(client, session, "client|list"));
        } else {
            text.push_str(&line(&client));
        }
    }
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

pub(super) fn kill(
    session: &mut Session,
    host: &dyn Host,
    call: &Call,
    reply: &mut Reply,
) -> CommandResult {
    let one_by_address = call.len() == 3;
    let filter = Filter::parse_kill(call)?;
    let mut killed = 0;
    for client in host
        .clients()
        .iter()
        .filter(|client| filter.lets_through(client))
    {
        if client.id != session.id {
            killed += i64::from(host.kill_client(client.id));
        } else if !filter.skips_self() {
            session.close_after_reply = true;
            killed += 1;
        }
    }
    match (one_by_address, killed) {
        (true, 0) => return Err(CommandError::new("ERR No such client")),
        (true, _) => reply.ok(),
        (false, _) => reply.int(killed),
    }
    Ok(())
}

pub(super) fn pause(
    _: &mut Session,
    host: &dyn Host,
    call: &Call,
    reply: &mut Reply,
) -> CommandResult {
    if call.len() > 4 {
        return Err(CommandError::new(subcommand_syntax(&call.args)));
    }
    let writes_only = match () {
        () if call.len() == 3 || call.is_word(3, "ALL") => false,
        () if call.is_word(3, "WRITE") => true,
        () => {
            return Err(CommandError::new(
                "ERR CLIENT PAUSE mode must be WRITE or ALL",
            ))
        }
    };
    let invalid = CommandError::new("ERR timeout is not an integer or out of range");
    let timeout_ms = call.int(2).map_err(|_| invalid.clone())?;
    let timeout_ms =
        u64::try_from(timeout_ms).map_err(|_| CommandError::new("ERR timeout is negative"))?;
    let until = host.now().0.checked_add(timeout_ms).ok_or(invalid)?;
    host.pause_clients(Pause {
        until: Timestamp(until),
        writes_only,
    });
    reply.ok();
    Ok(())
}

pub(super) fn unpause(
    _: &mut Session,
    host: &dyn Host,
    _: &Call,
    reply: &mut Reply,
) -> CommandResult {
    host.unpause_clients();
    reply.ok();
    Ok(())
}

/// No command blocks yet, so there is never anybody to wake.
pub(super) fn unblock(
    _: &mut Session,
    _: &dyn Host,
    call: &Call,
    reply: &mut Reply,
) -> CommandResult {
    if call.len() > 4 {
        return Err(CommandError::new(subcommand_syntax(&call.args)));
    }
    if call.len() == 4 && !call.is_word(3, "TIMEOUT") && !call.is_word(3, "ERROR") {
        return Err(CommandError::new(
            "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
        ));
    }
    call.int(2)?;
    reply.int(0);
    Ok(())
}

pub(super) fn reply_mode(
    session: &mut Session,
    _: &dyn Host,
    call: &Call,
    reply: &mut Reply,
) -> CommandResult {
    if call.is_word(2, "ON") {
        session.replies = Replies::On;
        reply.ok();
    } else if call.is_word(2, "OFF") {
        session.replies = Replies::Off;
    } else if call.is_word(2, "SKIP") {
        // While replies are off there is nothing to skip.
        if session.replies != Replies::Off {
            session.replies = Replies::SkipNext;
        }
    } else {
        return Err(CommandError::Syntax);
    }
    Ok(())
}

pub(super) fn no_evict(
    session: &mut Session,
    _: &dyn Host,
    call: &Call,
    reply: &mut Reply,
) -> CommandResult {
    session.no_evict = on_off(call, 2)?;
    reply.ok();
    Ok(())
}

pub(super) fn no_touch(
    session: &mut Session,
    _: &dyn Host,
    call: &Call,
    reply: &mut Reply,
) -> CommandResult {
    session.no_touch = on_off(call, 2)?;
    reply.ok();
    Ok(())
}

pub(super) fn caching(_: &mut Session, _: &dyn Host, _: &Call, _: &mut Reply) -> CommandResult {
    Err(CommandError::new(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
    ))
}

pub(super) fn tracking(
    _: &mut Session,
    host: &dyn Host,
    call: &Call,
    reply: &mut Reply,
) -> CommandResult {
    let on = on_off(call, 2)?;
    let mut at = 3;
    while at < call.len() {
        let more = call.len() - at - 1;
        if call.is_word(at, "REDIRECT") && more >= 1 {
            let id = call.int(at + 1)?;
            if !host.clients().iter().any(|client| client.id as i64 == id) {
                return Err(CommandError::new(
                    "ERR The client ID you want redirect to does not exist",
                ));
            }
            at += 2;
        } else if call.is_word(at, "PREFIX") && more >= 1 {
            at += 2;
        } else if ["BCAST", "OPTIN", "OPTOUT", "NOLOOP"]
            .iter()
            .any(|word| call.is_word(at, word))
        {
            at += 1;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if on {
        return Err(CommandError::new(
            "ERR client-side caching is not supported by this server",
        ));
    }
    reply.ok();
    Ok(())
}

pub(super) fn tracking_info(
    _: &mut Session,
    _: &dyn Host,
    _: &Call,
    reply: &mut Reply,
) -> CommandResult {
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(1);
    reply.bulk(b"off");
    reply.bulk(b"redirect");
    reply.int(-1);
    reply.bulk(b"prefixes");
    reply.array(0);
    Ok(())
}

pub(super) fn get_redir(
    _: &mut Session,
    _: &dyn Host,
    _: &Call,
    reply: &mut Reply,
) -> CommandResult {
    reply.int(-1);
    Ok(())
}
