//! HELP of containers: written from the table, in the form that Redis gives it.

use crate::protocol::Reply;

use super::spec::{Arg, ArgKind, Command, Run};
use super::{registry, Call, CommandError, CommandResult, Host};

/// Runs `<container> HELP`.
pub fn help(_: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let Some(container) = registry().find(call.arg(0)) else {
        return Err(CommandError::Syntax);
    };
    let lines = lines(container.command);
    reply.array(lines.len());
    lines.iter().for_each(|line| reply.simple(line));
    Ok(())
}

fn lines(container: &Command) -> Vec<String> {
    let mut lines = vec![format!(
        "{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        container.name
    )];
    if !matches!(container.run, Run::Container) {
        lines.push("(no subcommand)".into());
        lines.push(format!("    {}", container.summary));
    }
    let others = container
        .subcommands
        .iter()
        .filter(|sub| sub.name != "HELP");
    for sub in others {
        let arguments: String = sub
            .args
            .iter()
            .map(|arg| format!(" {}", usage(arg)))
            .collect();
        lines.push(format!("{}{arguments}", sub.name));
        lines.push(format!("    {}", sub.summary));
    }
    lines.push("HELP".into());
    lines.push("    Print this help.".into());
    lines
}

/// An argument as people write it: `[TYPE (NORMAL|PUBSUB)]`, `<key> [<key> ...]`.
fn usage(arg: &Arg) -> String {
    let plain = match arg.kind {
        ArgKind::PureToken => String::new(),
        ArgKind::OneOf => {
            let choices: Vec<String> = arg.args.iter().map(usage).collect();
            format!("({})", choices.join("|"))
        }
        ArgKind::Block => {
            let parts: Vec<String> = arg.args.iter().map(usage).collect();
            parts.join(" ")
        }
        _ => format!("<{}>", arg.name),
    };
    let one = match arg.token {
        Some(token) if plain.is_empty() => token.to_string(),
        Some(token) => format!("{token} {plain}"),
        None => plain.clone(),
    };
    let several = match (arg.multiple, arg.multiple_token) {
        (true, true) => format!("{one} [{one} ...]"),
        (true, false) => format!("{one} [{plain} ...]"),
        _ => one,
    };
    if arg.optional {
        format!("[{several}]")
    } else {
        several
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_written_as_people_know_it() {
        const ON_OFF: &[Arg] = &[Arg::word("on", "ON"), Arg::word("off", "OFF")];
        for (arg, text) in [
            (Arg::key("key"), "<key>"),
            (Arg::string("x").optional().multiple(), "[<x> [<x> ...]]"),
            (
                Arg::one_of("mode", ON_OFF).after("TYPE").optional(),
                "[TYPE (ON|OFF)]",
            ),
            (Arg::int("n").after("SAMPLES").optional(), "[SAMPLES <n>]"),
            (Arg::int("id").after("ID").multiple(), "ID <id> [<id> ...]"),
            (
                Arg::string("p").after("PREFIX").multiple_token(),
                "PREFIX <p> [PREFIX <p> ...]",
            ),
            (Arg::word("now", "NOW").optional(), "[NOW]"),
        ] {
            let usage: String = usage(&arg);
            assert_eq!(usage, text);
        }
    }

    #[test]
    fn every_container_describes_its_subcommands() {
        for registered in &registry().commands {
            let command = registered.command;
            if command.subcommands.is_empty() {
                continue;
            }
            let lines = lines(command);
            for sub in command.subcommands {
                assert!(
                    lines.iter().any(|line| line.starts_with(sub.name)),
                    "{}",
                    sub.name
                );
            }
            assert_eq!(lines.last().unwrap(), "    Print this help.");
        }
    }
}
