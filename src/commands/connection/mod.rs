//! The connection itself: protocol version, login, database.

mod client;
mod client_filter;
mod client_line;
mod client_table;
#[cfg(test)]
mod tests;

use crate::protocol::{Proto, Reply};

use super::report::REDIS_VERSION;
use super::spec::{Acl, Arg, Arity, Command, Flags, Group, Run};
use super::{registry, Call, CommandError, CommandResult, Host, Session};

pub static COMMANDS: &[Command] = &[
    Command {
        name: "AUTH",
        since: "1.0.0",
        group: Group::Connection,
        complexity: "O(N) where N is the number of passwords defined for the user",
        summary: "Logs the connection in.",
        arity: Arity::AtLeast(2),
        args: &[
            Arg::string("username").optional().since("6.0.0"),
            Arg::string("password"),
        ],
        acl: Acl::CONNECTION,
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::NO_AUTH)
            .and(Flags::ALLOW_BUSY),
        run: Run::Session(auth),
        history: &[("6.0.0", "Added ACL style (username and password).")],
        ..Command::BASE
    },
    client_table::CLIENT,
    Command {
        name: "ECHO",
        since: "1.0.0",
        group: Group::Connection,
        complexity: "O(1)",
        summary: "Answers with the given message.",
        arity: Arity::Exact(2),
        args: &[Arg::string("message")],
        acl: Acl::CONNECTION,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        run: Run::Session(echo),
        ..Command::BASE
    },
    Command {
        name: "HELLO",
        since: "6.0.0",
        group: Group::Connection,
        complexity: "O(1)",
        summary: "Chooses the protocol version, logs in and names the \
            connection, all optional.",
        arity: Arity::AtLeast(1),
        args: &[Arg::block(
            "arguments",
            &[
                Arg::int("protover"),
                Arg::block("auth", &[Arg::string("username"), Arg::string("password")])
                    .after("AUTH")
                    .optional(),
                Arg::string("clientname").after("SETNAME").optional(),
            ],
        )
        .optional()],
        acl: Acl::CONNECTION,
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::NO_AUTH)
            .and(Flags::ALLOW_BUSY),
        run: Run::Session(hello),
        history: &[(
            "6.2.0",
            "`protover` made optional; when called without arguments \
                the command reports the current connection's context.",
        )],
        ..Command::BASE
    },
    Command {
        name: "PING",
        since: "1.0.0",
        group: Group::Connection,
        complexity: "O(1)",
        summary: "Answers PONG, or with the given message.",
        arity: Arity::AtLeast(1),
        args: &[Arg::string("message").optional()],
        acl: Acl::CONNECTION,
        flags: Flags::FAST,
        run: Run::Session(ping),
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        ..Command::BASE
    },
    Command {
        name: "QUIT",
        since: "1.0.0",
        group: Group::Connection,
        complexity: "O(1)",
        summary: "Closes the connection.",
        arity: Arity::AtLeast(1),
        acl: Acl::CONNECTION,
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::NO_AUTH)
            .and(Flags::ALLOW_BUSY),
        run: Run::Session(quit),
        deprecated: Some(("7.2.0", "just closing the connection")),
        ..Command::BASE
    },
    Command {
        name: "RESET",
        since: "6.2.0",
        group: Group::Connection,
        complexity: "O(1)",
        summary: "Brings the connection back to the state of a fresh one.",
        arity: Arity::Exact(1),
        acl: Acl::CONNECTION,
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::NO_AUTH)
            .and(Flags::ALLOW_BUSY),
        run: Run::Session(reset),
        ..Command::BASE
    },
    Command {
        name: "SELECT",
        since: "1.0.0",
        group: Group::Connection,
        complexity: "O(1)",
        summary: "Chooses the database of the connection.",
        arity: Arity::Exact(2),
        args: &[Arg::int("index")],
        acl: Acl::CONNECTION,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        run: Run::Session(select),
        ..Command::BASE
    },
];

/// The one user that there is.
pub const DEFAULT_USER: &[u8] = b"default";

const WRONG_PASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";

const NO_PASSWORD: &str =
    "ERR AUTH <password> called without any password configured for the default user. \
    Are you sure your configuration is correct?";

const HELLO_NO_AUTH: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
    HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol \
    version at the same time";

fn ping(_: &mut Session, _: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    match call.len() {
        1 => reply.simple("PONG"),
        2 => reply.bulk(call.arg(1)),
        _ => {
            return Err(CommandError::new(
                "ERR wrong number of arguments for 'ping' command",
            ))
        }
    }
    Ok(())
}

fn echo(_: &mut Session, _: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    reply.bulk(call.arg(1));
    Ok(())
}

fn quit(session: &mut Session, _: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    session.close_after_reply = true;
    reply.ok();
    Ok(())
}

fn reset(session: &mut Session, host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    session.reset(host.settings().live().requirepass.is_empty());
    reply.set_proto(session.proto);
    reply.simple("RESET");
    Ok(())
}

fn select(session: &mut Session, host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let number = call.int(1)?;
    if session.is_cluster && number != 0 {
        return Err(CommandError::new(
            "ERR SELECT is not allowed in cluster mode",
        ));
    }
    session.database =
        database_of(host, number).ok_or(CommandError::new("ERR DB index is out of range"))?;
    reply.ok();
    Ok(())
}

/// The database of this number, if there is one.
fn database_of(host: &dyn Host, number: i64) -> Option<u16> {
    let databases = host.settings().startup().databases;
    u16::try_from(number)
        .ok()
        .filter(|number| u32::from(*number) < databases)
}

fn auth(session: &mut Session, host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let (user, password) = match call.len() {
        2 if host.settings().live().requirepass.is_empty() => {
            return Err(CommandError::new(NO_PASSWORD))
        }
        2 => (DEFAULT_USER, call.arg(1)),
        3 => (call.arg(1), call.arg(2)),
        _ => return Err(CommandError::Syntax),
    };
    log_in(session, host, user, password)?;
    reply.ok();
    Ok(())
}

fn log_in(session: &mut Session, host: &dyn Host, user: &[u8], password: &[u8]) -> CommandResult {
    let settings = host.settings().live();
    let expected = settings.requirepass.as_bytes();
    let allowed = user == DEFAULT_USER && (expected.is_empty() || same(expected, password));
    if !allowed {
        host.count_auth_denied();
        record_denied(session, host, user);
        return Err(CommandError::new(WRONG_PASS));
    }
    session.authenticated = true;
    Ok(())
}

/// For ACL LOG.
#[cold]
fn record_denied(session: &Session, host: &dyn Host, user: &[u8]) {
    let command = registry().by_id.get(session.last_command);
    let command = command.map_or("", |registered| &registered.full_name);
    let client = client::own_info(session, host, command);
    let mut log = host
        .acl_log()
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    log.record(user, client.trim_end().to_string(), host.now());
}

/// Compares in a time that tells nothing but the length of the longer text.
fn same(expected: &[u8], given: &[u8]) -> bool {
    let length = expected.len().max(given.len());
    let differences = (0..length).fold(expected.len() ^ given.len(), |differences, at| {
        let byte = |text: &[u8]| usize::from(text.get(at).copied().unwrap_or(0));
        differences | (byte(expected) ^ byte(given))
    });
    std::hint::black_box(differences) == 0
}

/// What HELLO was asked for.
#[derive(Default)]
struct Hello<'a> {
    proto: Option<Proto>,
    login: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

fn hello(session: &mut Session, host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let wanted = parse_hello(call)?;
    if let Some((user, password)) = wanted.login {
        log_in(session, host, user, password)?;
    }
    if !session.authenticated {
        return Err(CommandError::new(HELLO_NO_AUTH));
    }
    if let Some(name) = wanted.name {
        session.name = name.to_vec();
    }
    if let Some(proto) = wanted.proto {
        session.proto = proto;
        reply.set_proto(proto);
    }
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.int(i64::from(resp_number(session.proto)));
    reply.bulk(b"id");
    reply.int(session.id as i64);
    reply.bulk(b"mode");
    reply.bulk(if session.is_cluster {
        b"cluster"
    } else {
        b"standalone"
    });
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
    Ok(())
}

fn parse_hello<'a>(call: &Call<'a>) -> Result<Hello<'a>, CommandError> {
    let mut hello = Hello::default();
    if call.len() == 1 {
        return Ok(hello);
    }
    hello.proto = match call.int(1) {
        Ok(2) => Some(Proto::Resp2),
        Ok(3) => Some(Proto::Resp3),
        Ok(_) => return Err(CommandError::new("NOPROTO unsupported protocol version")),
        Err(_) => {
            return Err(CommandError::new(
                "ERR Protocol version is not an integer or out of range",
            ))
        }
    };
    let mut at = 2;
    while at < call.len() {
        let more = call.len() - at - 1;
        if call.is_word(at, "AUTH") && more >= 2 {
            hello.login = Some((call.arg(at + 1), call.arg(at + 2)));
            at += 3;
        } else if call.is_word(at, "SETNAME") && more >= 1 {
            hello.name = Some(client::checked_name(call.arg(at + 1))?);
            at += 2;
        } else {
            return Err(CommandError::new(format!(
                "ERR Syntax error in HELLO option '{}'",
                String::from_utf8_lossy(call.arg(at))
            )));
        }
    }
    Ok(hello)
}

/// The number of a protocol version.
fn resp_number(proto: Proto) -> u8 {
    match proto {
        Proto::Resp2 => 2,
        Proto::Resp3 => 3,
    }
}
