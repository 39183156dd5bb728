//! COMMAND DOCS: what a command is for and which arguments it takes.

use crate::protocol::Reply;

use super::super::super::spec::{Arg, ArgKind, Flags};
use super::super::super::{Call, CommandResult, Host, Registered};
use super::{visible_subcommands, wanted};

pub fn docs(_: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let wanted: Vec<_> = wanted(call).into_iter().flatten().collect();
    reply.map(wanted.len());
    wanted
        .iter()
        .for_each(|registered| named(registered, reply));
    Ok(())
}

fn named(registered: &Registered, reply: &mut Reply) {
    reply.bulk(registered.full_name.as_bytes());
    let fields = fields(registered);
    reply.map(fields.len());
    fields.iter().for_each(|field| field.write(reply));
}

/// One field of a command's documentation.
enum Field<'a> {
    Text(&'static str, &'a str),
    Flags(Vec<&'static str>),
    History(&'a [(&'static str, &'static str)]),
    Arguments(&'a [Arg]),
    Subcommands(&'a [&'static Registered]),
}

fn fields(registered: &Registered) -> Vec<Field<'_>> {
    let command = registered.command;
    let subcommands = visible_subcommands(registered);
    let mut fields = vec![
        Field::Text("summary", command.summary),
        Field::Text("since", command.since),
        Field::Text("group", command.group.name()),
        Field::Text("complexity", command.complexity),
    ];
    let flags = doc_flags(registered);
    if !flags.is_empty() {
        fields.push(Field::Flags(flags));
    }
    if let Some((since, replaced_by)) = command.deprecated {
        fields.push(Field::Text("deprecated_since", since));
        fields.push(Field::Text("replaced_by", replaced_by));
    }
    if !command.history.is_empty() {
        fields.push(Field::History(command.history));
    }
    if !command.args.is_empty() {
        fields.push(Field::Arguments(command.args));
    }
    if !subcommands.is_empty() {
        fields.push(Field::Subcommands(subcommands));
    }
    fields
}

fn doc_flags(registered: &Registered) -> Vec<&'static str> {
    let command = registered.command;
    let flags = [
        (command.deprecated.is_some(), "deprecated"),
        (command.flags.has(Flags::OPAQUE), "syscmd"),
    ];
    let set = flags.iter().filter(|(is_set, _)| *is_set);
    set.map(|(_, name)| *name).collect()
}

impl Field<'_> {
    fn write(&self, reply: &mut Reply) {
        match self {
            Field::Text(name, text) => pair(name, text, reply),
            Field::Flags(flags) => {
                reply.bulk(b"doc_flags");
                reply.set(flags.len());
                flags.iter().for_each(|flag| reply.simple(flag));
            }
            Field::History(history) => {
                reply.bulk(b"history");
                reply.set(history.len());
                for (version, change) in *history {
                    reply.array(2);
                    reply.bulk(version.as_bytes());
                    reply.bulk(change.as_bytes());
                }
            }
            Field::Arguments(args) => arguments(args, reply),
            Field::Subcommands(subcommands) => {
                reply.bulk(b"subcommands");
                reply.map(subcommands.len());
                subcommands.iter().for_each(|sub| named(sub, reply));
            }
        }
    }
}

fn arguments(args: &[Arg], reply: &mut Reply) {
    reply.bulk(b"arguments");
    reply.array(args.len());
    args.iter().for_each(|arg| argument(arg, reply));
}

fn argument(arg: &Arg, reply: &mut Reply) {
    let is_group = matches!(arg.kind, ArgKind::OneOf | ArgKind::Block);
    let flags = arg_flags(arg);
    let optional_fields = [
        !is_group,
        arg.key_spec.is_some(),
        arg.token.is_some(),
        arg.since.is_some(),
        arg.deprecated.is_some(),
        !flags.is_empty(),
        is_group,
    ];
    reply.map(2 + optional_fields.iter().filter(|is_there| **is_there).count());
    pair("name", arg.name, reply);
    pair("type", arg.kind.name(), reply);
    if !is_group {
        pair("display_text", arg.name, reply);
    }
    if let Some(index) = arg.key_spec {
        reply.bulk(b"key_spec_index");
        reply.int(index as i64);
    }
    if let Some(token) = arg.token {
        pair("token", token, reply);
    }
    if let Some(since) = arg.since {
        pair("since", since, reply);
    }
    if let Some(version) = arg.deprecated {
        pair("deprecated_since", version, reply);
    }
    if !flags.is_empty() {
        reply.bulk(b"flags");
        reply.set(flags.len());
        flags.iter().for_each(|flag| reply.simple(flag));
    }
    if is_group {
        arguments(arg.args, reply);
    }
}

fn arg_flags(arg: &Arg) -> Vec<&'static str> {
    let flags = [
        (arg.optional, "optional"),
        (arg.multiple, "multiple"),
        (arg.multiple_token, "multiple_token"),
    ];
    let set = flags.iter().filter(|(is_set, _)| *is_set);
    set.map(|(_, name)| *name).collect()
}

fn pair(name: &str, text: &str, reply: &mut Reply) {
    reply.bulk(name.as_bytes());
    reply.bulk(text.as_bytes());
}
