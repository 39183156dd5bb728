//! CLIENT: what a connection may say of itself and do to others.

use crate::protocol::Reply;

use super::super::help::help;
use super::super::host::Pause;
use super::super::registry::subcommand_syntax;
use super::super::spec::{Acl, Arg, Arity, Command, Flags, Group, Run};
use super::super::{Call, CommandError, CommandResult, Host, Replies, Session};
use super::client_filter::Filter;
use super::client_line::{line, own_line};
use crate::store::Timestamp;

pub const CLIENT: Command =
Command {
name: "CLIENT",
since: "2.4.0",
group: Group::Connection,
complexity: "Depends on subcommand.",
summary: "Container for commands about connections.",
arity: Arity::AtLeast(2),
run: Run::Container,
subcommands: &[Command {
name: "CACHING",
since: "6.0.0",
group: Group::Connection,
complexity: "O(1)",
summary: "Says whether the keys of the next command are tracked.",
arity: Arity::Exact(3),
args: &[Arg::one_of("mode", &[Arg::word("yes", "YES"), Arg::word("no", "NO")])],
acl: Acl::CONNECTION,
flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
run: Run::Session(caching),
..Command::BASE }, Command {
name: "GETNAME",
since: "2.6.9",
group: Group::Connection,
complexity: "O(1)",
summary: "Returns the name of the connection.",
arity: Arity::Exact(2),
acl: Acl::CONNECTION,
flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
run: Run::Session(get_name),
..Command::BASE }, Command {
name: "GETREDIR",
since: "6.0.0",
group: Group::Connection,
complexity: "O(1)",
summary: "Returns the client that invalidation messages are redirected to.",
arity: Arity::Exact(2),
acl: Acl::CONNECTION,
flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
run: Run::Session(get_redir),
..Command::BASE }, Command {
name: "HELP",
since: "5.0.0",
group: Group::Connection,
complexity: "O(1)",
summary: "Shows what the subcommands do.",
arity: Arity::Exact(2),
acl: Acl::CONNECTION,
flags: Flags::LOADING.and(Flags::STALE),
run: Run::Admin(help),
..Command::BASE }, Command {
name: "ID",
since: "5.0.0",
group: Group::Connection,
complexity: "O(1)",
summary: "Returns the number of the connection.",
arity: Arity::Exact(2),
acl: Acl::CONNECTION,
flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
run: Run::Session(id),
..Command::BASE }, Command {
name: "INFO",
since: "6.2.0",
group: Group::Connection,
complexity: "O(1)",
summary: "Returns what CLIENT LIST says of this connection.",
arity: Arity::Exact(2),
acl: Acl::CONNECTION,
flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
run: Run::Session(info),
tips: &["nondeterministic_output"],
..Command::BASE }, Command {
name: "KILL",
since: "2.4.0",
group: Group::Connection,
complexity: "O(N) where N is the number of client connections",
summary: "Closes connections.",
arity: Arity::AtLeast(3),
args: &[Arg::one_of("filter", &[Arg::string("old-format"), Arg::one_of("new-format", &[Arg::int("client-id").after("ID").optional().since("2.8.12"), Arg::one_of("client-type", &[Arg::word("normal", "NORMAL"), Arg::word("master", "MASTER").since("3.2.0"), Arg::word("slave", "SLAVE"), Arg::word("replica", "REPLICA").since("5.0.0"), Arg::word("pubsub", "PUBSUB")]).after("TYPE").optional().since("2.8.12"), Arg::string("username").after("USER").optional(), Arg::string("addr").after("ADDR").optional(), Arg::string("laddr").after("LADDR").optional().since("6.2.0"), Arg::one_of("skipme", &[Arg::word("yes", "YES"), Arg::word("no", "NO")]).after("SKIPME").optional()]).multiple()])],
acl: Acl::CONNECTION,
flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
run: Run::Session(kill),
history: &[("2.8.12", "Added new filter format."), ("2.8.12", "`ID` option."), ("3.2.0", "Added `master` type in for `TYPE` option."), ("5.0.0", "Replaced `slave` `TYPE` with `replica`. `slave` still supported for backward compatibility."), ("6.2.0", "`LADDR` option.")],
..Command::BASE }, Command {
name: "LIST",
since: "2.4.0",
group: Group::Connection,
complexity: "O(N) where N is the number of client connections",
summary: "Lists the connections.",
arity: Arity::AtLeast(2),
args: &[Arg::one_of("client-type", &[Arg::word("normal", "NORMAL"), Arg::word("master", "MASTER"), Arg::word("replica", "REPLICA"), Arg::word("pubsub", "PUBSUB")]).after("TYPE").optional().since("5.0.0"), Arg::int("client-id").after("ID").optional().multiple().since("6.2.0")],
acl: Acl::CONNECTION,
flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
run: Run::Session(list),
history: &[("2.8.12", "Added unique client `id` field."), ("5.0.0", "Added optional `TYPE` filter."), ("6.0.0", "Added `user` field."), ("6.2.0", "Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields and the optional `ID` filter."), ("7.0.0", "Added `resp`, `multi-mem`, `rbs` and `rbp` fields."), ("7.0.3", "Added `ssub` field.")],
tips: &["nondeterministic_output"],
..Command::BASE }, Command {
name: "NO-EVICT",
since: "7.0.0",
group: Group::Connection,
complexity: "O(1)",
summary: "Keeps the connection when clients are evicted.",
arity: Arity::Exact(3),
args: &[Arg::one_of("enabled", &[Arg::word("on", "ON"), Arg::word("off", "OFF")])],
acl: Acl::CONNECTION,
flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
run: Run::Session(no_evict),
..Command::BASE }, Command {
name: "NO-TOUCH",
since: "7.2.0",
group: Group::Connection,
complexity: "O(1)",
summary: "Lets the commands of the connection leave no trace in the keys' access times.",
arity: Arity::Exact(3),
args: &[Arg::one_of("enabled", &[Arg::word("on", "ON"), Arg::word("off", "OFF")])],
acl: Acl::CONNECTION,
flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
run: Run::Session(no_touch),
..Command::BASE }, Command {
name: "PAUSE",
since: "2.9.50",
group: Group::Connection,
complexity: "O(1)",
summary: "Holds back the commands of all clients for a while.",
arity: Arity::AtLeast(3),
args: &[Arg::int("timeout"), Arg::one_of("mode", &[Arg::word("write", "WRITE"), Arg::word("all", "ALL")]).optional().since("6.2.0")],
acl: Acl::CONNECTION,
flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
run: Run::Session(pause),
history: &[("6.2.0", "`CLIENT PAUSE WRITE` mode added along with the `mode` option.")],
..Command::BASE }, Command {
name: "REPLY",
since: "3.2.0",
group: Group::Connection,
complexity: "O(1)",
summary: "Turns the replies to the connection on or off.",
arity: Arity::Exact(3),
args: &[Arg::one_of("action", &[Arg::word("on", "ON"), Arg::word("off", "OFF"), Arg::word("skip", "SKIP")])],
acl: Acl::CONNECTION,
flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
run: Run::Session(reply_mode),
..Command::BASE }, Command {
name: "SETINFO",
since: "7.2.0",
group: Group::Connection,
complexity: "O(1)",
summary: "Tells the server about the client library.",
arity: Arity::Exact(4),
args: &[Arg::one_of("attr", &[Arg::string("libname").after("LIB-NAME"), Arg::string("libver").after("LIB-VER")])],
acl: Acl::CONNECTION,
flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
run: Run::Session(set_info),
tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
..Command::BASE }, Command {
name: "SETNAME",
since: "2.6.9",
group: Group::Connection,
complexity: "O(1)",
summary: "Names the connection.",
arity: Arity::Exact(3),
args: &[Arg::string("connection-name")],
acl: Acl::CONNECTION,
flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
run: Run::Session(set_name),
tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
..Command::BASE }, Command {
name: "TRACKING",
since: "6.0.0",
group: Group::Connection,
complexity: "O(1). Some options may introduce additional complexity.",
summary: "Turns client-side caching on or off.",
arity: Arity::AtLeast(3),
args: &[Arg::one_of("status", &[Arg::word("on", "ON"), Arg::word("off", "OFF")]), Arg::int("client-id").after("REDIRECT").optional(), Arg::string("prefix").after("PREFIX").optional().multiple_token(), Arg::word("bcast", "BCAST").optional(), Arg::word("optin", "OPTIN").optional(), Arg::word("optout", "OPTOUT").optional(), Arg::word("noloop", "NOLOOP").optional()],
acl: Acl::CONNECTION,
flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
run: Run::Session(tracking),
..Command::BASE }, Command {
name: "TRACKINGINFO",
since: "6.2.0",
group: Group::Connection,
complexity: "O(1)",
summary: "Returns how client-side caching is set up.",
arity: Arity::Exact(2),
acl: Acl::CONNECTION,
flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
run: Run::Session(tracking_info),
..Command::BASE }, Command {
name: "UNBLOCK",
since: "5.0.0",
group: Group::Connection,
complexity: "O(log N) where N is the number of client connections",
summary: "Ends the wait of a client in a blocking command.",
arity: Arity::AtLeast(3),
args: &[Arg::int("client-id"), Arg::one_of("unblock-type", &[Arg::word("timeout", "TIMEOUT"), Arg::word("error", "ERROR")]).optional()],
acl: Acl::CONNECTION,
flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
run: Run::Session(unblock),
..Command::BASE }, Command {
name: "UNPAUSE",
since: "6.2.0",
group: Group::Connection,
complexity: "O(N) Where N is the number of paused clients",
summary: "Ends a pause.",
arity: Arity::Exact(2),
acl: Acl::CONNECTION,
flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
run: Run::Session(unpause),
..Command::BASE }],
..Command::BASE };

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

fn id(session: &mut Session, _: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    reply.int(session.id as i64);
    Ok(())
}

fn get_name(session: &mut Session, _: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    reply.bulk_or_null(Some(session.name.as_slice()).filter(|name| !name.is_empty()));
    Ok(())
}

fn set_name(session: &mut Session, _: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    session.name = checked_name(call.arg(2))?.to_vec();
    reply.ok();
    Ok(())
}

fn set_info(session: &mut Session, _: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
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

fn info(session: &mut Session, host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    let clients = host.clients();
    let own = clients.iter().find(|client| client.id == session.id);
    let text = own_line(own.cloned().unwrap_or_default(), session, "client|info");
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn list(session: &mut Session, host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
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

fn kill(session: &mut Session, host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
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

fn pause(_: &mut Session, host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
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

fn unpause(_: &mut Session, host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    host.unpause_clients();
    reply.ok();
    Ok(())
}

/// No command blocks yet, so there is never anybody to wake.
fn unblock(_: &mut Session, _: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
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

fn reply_mode(
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

fn no_evict(session: &mut Session, _: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    session.no_evict = on_off(call, 2)?;
    reply.ok();
    Ok(())
}

fn no_touch(session: &mut Session, _: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    session.no_touch = on_off(call, 2)?;
    reply.ok();
    Ok(())
}

fn caching(_: &mut Session, _: &dyn Host, _: &Call, _: &mut Reply) -> CommandResult {
    Err(CommandError::new(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
    ))
}

fn tracking(_: &mut Session, host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
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

fn tracking_info(_: &mut Session, _: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
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

fn get_redir(_: &mut Session, _: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    reply.int(-1);
    Ok(())
}
