//! COMMAND GETKEYS and GETKEYSANDFLAGS.

use crate::protocol::Reply;

use super::super::super::spec::KeyFlags;
use super::super::super::{
    for_each_key, registry, Call, CommandError, CommandResult, Host, Registered,
};
use crate::protocol::Args;

pub fn getkeys(_: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let (inner, keys) = keys(call)?;
    reply.array(keys.len());
    keys.iter().for_each(|(at, _)| reply.bulk(inner.at(*at)));
    Ok(())
}

pub fn getkeysandflags(_: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let (inner, keys) = keys(call)?;
    reply.array(keys.len());
    for (at, flags) in keys {
        reply.array(2);
        reply.bulk(inner.at(at));
        let names = flags.names();
        reply.set(names.len());
        names.iter().for_each(|name| reply.simple(name));
    }
    Ok(())
}

/// The command that was asked about, and its keys.
fn keys<'a>(call: &Call<'a>) -> Result<(Args<'a>, Vec<(usize, KeyFlags)>), CommandError> {
    let inner = call.args.tail().tail();
    let found = find(&inner).ok_or(CommandError::new("ERR Invalid command specified"))?;
    let command = found.command;
    if command.keys.is_empty() {
        return Err(CommandError::new("ERR The command has no key arguments"));
    }
    if !command.arity.allows(inner.len()) {
        return Err(CommandError::new(
            "ERR Invalid number of arguments specified for command",
        ));
    }
    let mut keys = Vec::new();
    for_each_key(command, &inner, |at, flags| keys.push((at, flags)));
    if keys.is_empty() {
        return Err(CommandError::new(
            "ERR Invalid arguments specified for command",
        ));
    }
    Ok((inner, keys))
}

/// The command, or the subcommand if its container is named with one.
fn find(args: &Args) -> Option<&'static Registered> {
    let found = registry().find(args.get(0)?)?;
    if found.subcommands.is_empty() {
        return Some(found);
    }
    let name = args.get(1)?;
    let mut subcommands = found.subcommands.iter();
    subcommands
        .find(|sub| sub.command.name.as_bytes().eq_ignore_ascii_case(name))
        .copied()
}
