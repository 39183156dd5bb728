//! The one user, `default`: what it may do (everything), and the answers where Redis would make or remove others.

use crate::protocol::{Args, Reply};

use super::super::super::registry::subcommand_syntax;
use super::super::super::spec::{Acl, Flags};
use super::super::super::{registry, wrong_arity, Registered};
use super::super::super::{Call, CommandError, CommandResult, Host};
use super::sha256::sha256_hex;

const DEFAULT: &[u8] = b"default";

const NO_ACL_FILE: &str =
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER \
     command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store \
     users in the Redis configuration.";

const NO_OTHER_USERS: &str =
    "ERR ACL SETUSER is not supported yet: users other than 'default' come with a later version of ringfort. CONFIG \
     SET requirepass changes the password of 'default'";

/// Names of what `default` is, and the digest of its password if it has one.
fn default_user(host: &dyn Host) -> (Vec<&'static str>, Option<String>) {
    let live = host.settings().live();
    match live.requirepass.as_bytes() {
        [] => (vec!["on", "nopass", "sanitize-payload"], None),
        password => (vec!["on", "sanitize-payload"], Some(sha256_hex(password))),
    }
}

pub fn whoami(_: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    reply.bulk(DEFAULT);
    Ok(())
}

pub fn users(_: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    reply.array(1);
    reply.bulk(DEFAULT);
    Ok(())
}

pub fn list(host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    let (flags, digest) = default_user(host);
    let password = digest.map_or(String::new(), |digest| format!(" #{digest}"));
    let line = format!("user default {}{password} ~* &* +@all", flags.join(" "));
    reply.array(1);
    reply.bulk(line.as_bytes());
    Ok(())
}

pub fn getuser(host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    if call.arg(2) != DEFAULT {
        reply.null();
        return Ok(());
    }
    let (flags, digest) = default_user(host);
    reply.map(6);
    reply.bulk(b"flags");
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"passwords");
    reply.array(usize::from(digest.is_some()));
    digest
        .iter()
        .for_each(|digest| reply.bulk(digest.as_bytes()));
    for (name, rules) in [("commands", "+@all"), ("keys", "~*"), ("channels", "&*")] {
        reply.bulk(name.as_bytes());
        reply.bulk(rules.as_bytes());
    }
    reply.bulk(b"selectors");
    reply.array(0);
    Ok(())
}

/// There are no others to remove.
pub fn deluser(_: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    if call.args.from(2).any(|name| name == DEFAULT) {
        return Err(CommandError::new(
            "ERR The 'default' user cannot be removed",
        ));
    }
    reply.int(0);
    Ok(())
}

pub fn setuser(_: &dyn Host, _: &Call, _: &mut Reply) -> CommandResult {
    Err(CommandError::new(NO_OTHER_USERS))
}

/// SAVE and LOAD.
pub fn no_file(_: &dyn Host, _: &Call, _: &mut Reply) -> CommandResult {
    Err(CommandError::new(NO_ACL_FILE))
}

/// The user may run whatever is a command with as many arguments as it takes.
pub fn dryrun(_: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    if call.arg(2) != DEFAULT {
        let name = String::from_utf8_lossy(call.arg(2));
        return Err(CommandError::new(format!("ERR User '{name}' not found")));
    }
    let inner = call.args.tail().tail().tail();
    let Some(found) = find(&inner) else {
        let name = String::from_utf8_lossy(inner.at(0));
        return Err(CommandError::new(format!("ERR Command '{name}' not found")));
    };
    if !found.command.arity.allows(inner.len()) {
        return Err(CommandError::new(wrong_arity(found)));
    }
    reply.ok();
    Ok(())
}

/// The command or subcommand that `args` name.
fn find(args: &Args) -> Option<&'static Registered> {
    let found = registry().find(args.at(0))?;
    let flags = found.command.flags;
    if flags.has(Flags::INTERNAL) {
        return None;
    }
    if found.subcommands.is_empty() || flags.has(Flags::OPAQUE) || args.len() == 1 {
        return Some(found);
    }
    let mut subcommands = found.subcommands.iter().copied();
    subcommands.find(|sub| sub.command.name.as_bytes().eq_ignore_ascii_case(args.at(1)))
}

pub fn cat(_: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let names = match call.len() {
        2 => Acl::ALL.names().into_iter().map(str::to_string).collect(),
        3 => commands_of(call.arg(2)).ok_or_else(|| {
            CommandError::new(format!(
                "ERR Unknown category '{}'",
                String::from_utf8_lossy(call.arg(2))
            ))
        })?,
        _ => return Err(CommandError::new(subcommand_syntax(&call.args))),
    };
    reply.array(names.len());
    names
        .iter()
        .for_each(|name: &String| reply.bulk(name.as_bytes()));
    Ok(())
}

/// Names of the commands in a category; `None` if there is no such category.
fn commands_of(category: &[u8]) -> Option<Vec<String>> {
    let category = category.to_ascii_lowercase();
    let known = Acl::ALL.names();
    let category = known.iter().find(|name| name.as_bytes() == category)?;
    let belongs = |registered: &&&Registered| {
        let command = registered.command;
        !command.flags.has(Flags::INTERNAL)
            && !command.flags.has(Flags::DEBUG)
            && command.categories().names().contains(category)
    };
    let commands = registry().by_id.iter().filter(belongs);
    Some(
        commands
            .map(|registered| registered.full_name.clone())
            .collect(),
    )
}
