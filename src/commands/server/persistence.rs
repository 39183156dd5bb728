//! Snapshots on demand, and the end of the process.

use crate::protocol::Reply;

use super::super::host::{Pending, Shutdown};
use super::super::spec::{Acl, Arg, Arity, Command, Flags, Group, Run};
use super::super::{Call, CommandError, CommandResult, Host, Session};

pub const BGREWRITEAOF: Command = Command {
    name: "BGREWRITEAOF",
    since: "1.0.0",
    group: Group::Server,
    complexity: "O(1)",
    summary: "Shortens the log by a snapshot in the background.",
    arity: Arity::Exact(1),
    flags: Flags::ADMIN
        .and(Flags::NOSCRIPT)
        .and(Flags::NO_ASYNC_LOADING),
    run: Run::Admin(bgrewriteaof),
    ..Command::BASE
};

pub const BGSAVE: Command = Command {
    name: "BGSAVE",
    since: "1.0.0",
    group: Group::Server,
    complexity: "O(1)",
    summary: "Writes a snapshot in the background.",
    arity: Arity::AtLeast(1),
    args: &[Arg::word("schedule", "SCHEDULE").optional().since("3.2.2")],
    flags: Flags::ADMIN
        .and(Flags::NOSCRIPT)
        .and(Flags::NO_ASYNC_LOADING),
    run: Run::Admin(bgsave),
    history: &[("3.2.2", "Added the `SCHEDULE` option.")],
    ..Command::BASE
};

pub const LASTSAVE: Command = Command {
    name: "LASTSAVE",
    since: "1.0.0",
    group: Group::Server,
    complexity: "O(1)",
    summary: "Returns the Unix time of the last snapshot.",
    arity: Arity::Exact(1),
    acl: Acl::ADMIN.and(Acl::DANGEROUS),
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
    run: Run::Admin(lastsave),
    tips: &["nondeterministic_output"],
    ..Command::BASE
};

pub const SAVE: Command = Command {
    name: "SAVE",
    since: "1.0.0",
    group: Group::Server,
    complexity: "O(N) where N is the total number of keys in all databases",
    summary: "Writes a snapshot and waits for it.",
    arity: Arity::Exact(1),
    flags: Flags::ADMIN
        .and(Flags::NOSCRIPT)
        .and(Flags::NO_ASYNC_LOADING)
        .and(Flags::NO_MULTI),
    run: Run::Session(save),
    ..Command::BASE
};

pub const SHUTDOWN: Command = Command {
    name: "SHUTDOWN",
    since: "1.0.0",
    group: Group::Server,
    complexity: "O(N) when saving, where N is the total number of keys in \
            all databases when saving data, otherwise O(1)",
    summary: "Stops the server.",
    arity: Arity::AtLeast(1),
    args: &[
        Arg::one_of(
            "save-selector",
            &[Arg::word("nosave", "NOSAVE"), Arg::word("save", "SAVE")],
        )
        .optional(),
        Arg::word("now", "NOW").optional().since("7.0.0"),
        Arg::word("force", "FORCE").optional().since("7.0.0"),
        Arg::word("abort", "ABORT").optional().since("7.0.0"),
    ],
    flags: Flags::ADMIN
        .and(Flags::NOSCRIPT)
        .and(Flags::LOADING)
        .and(Flags::STALE)
        .and(Flags::NO_MULTI)
        .and(Flags::ALLOW_BUSY),
    run: Run::Session(shutdown),
    history: &[("7.0.0", "Added the `NOW`, `FORCE` and `ABORT` modifiers.")],
    ..Command::BASE
};

/// The node answers, also that a snapshot is being written already.
fn save(session: &mut Session, _: &dyn Host, _: &Call, _: &mut Reply) -> CommandResult {
    session.pending = Some(Pending::Save);
    Ok(())
}

fn bgsave(host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    if call.len() > 2 || call.len() == 2 && !call.is_word(1, "SCHEDULE") {
        return Err(CommandError::Syntax);
    }
    if !host.begin_snapshot() {
        return Err(CommandError::new("ERR Background save already in progress"));
    }
    reply.simple("Background saving started");
    Ok(())
}

fn bgrewriteaof(host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    if !host.begin_snapshot() {
        return Err(CommandError::new(
            "ERR Background append only file rewriting already in progress",
        ));
    }
    reply.simple("Background append only file rewriting started");
    Ok(())
}

fn lastsave(host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    reply.int((host.report().log.last_snapshot.0 / 1_000) as i64);
    Ok(())
}

fn shutdown(
    session: &mut Session,
    host: &dyn Host,
    call: &Call,
    reply: &mut Reply,
) -> CommandResult {
    let mut wanted = Shutdown::default();
    let mut abort = false;
    for at in 1..call.len() {
        match () {
            () if call.is_word(at, "NOSAVE") && wanted.save != Some(true) => {
                wanted.save = Some(false)
            }
            () if call.is_word(at, "SAVE") && wanted.save != Some(false) => {
                wanted.save = Some(true)
            }
            () if call.is_word(at, "NOW") => wanted.now = true,
            () if call.is_word(at, "FORCE") => wanted.force = true,
            () if call.is_word(at, "ABORT") => abort = true,
            () => return Err(CommandError::Syntax),
        }
    }
    if !abort {
        session.pending = Some(Pending::Shutdown(wanted));
        return Ok(());
    }
    if wanted != Shutdown::default() {
        return Err(CommandError::Syntax);
    }
    if !host.abort_shutdown() {
        return Err(CommandError::new("ERR No shutdown in progress."));
    }
    reply.ok();
    Ok(())
}
