//! The flags of a node, made from the table of settings.

use crate::settings::{Kind, Row, Scope, TABLE};
use clap::{value_parser, Arg, ArgAction, ArgMatches, Command};
use std::path::PathBuf;

const CONFIG: &str = "config";

/// Whether help lists the flags.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Listing {
    Shown,
    Hidden,
}

/// Adds a flag for each setting, and `--config`.
pub(super) fn add(command: Command, listing: Listing) -> Command {
    let config = Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("TOML file with settings [env: RINGFORT_CONFIG]")
        .hide(listing == Listing::Hidden);
    TABLE
        .iter()
        .filter(|row| row.is_operable())
        .fold(command.arg(config), |command, row| {
            command.arg(flag(row).hide(listing == Listing::Hidden))
        })
}

/// The file given by `--config`.
pub(super) fn config(matches: &ArgMatches) -> Option<PathBuf> {
    matches.get_one::<PathBuf>(CONFIG).cloned()
}

/// Names and values of the settings given as flags. Their values are not checked yet.
pub(super) fn given(matches: &ArgMatches) -> Vec<(String, String)> {
    TABLE
        .iter()
        .filter(|row| row.is_operable())
        .filter_map(|row| Some((row.name.to_string(), value_of(row, matches)?)))
        .collect()
}

fn value_of(row: &Row, matches: &ArgMatches) -> Option<String> {
    if row.scope == Scope::FlagOnly {
        return matches.get_flag(row.name).then(|| "yes".to_string());
    }
    let values: Vec<&str> = matches
        .get_many::<String>(row.name)?
        .map(String::as_str)
        .collect();
    Some(values.join(" "))
}

fn flag(row: &'static Row) -> Arg {
    let arg = Arg::new(row.name)
        .long(row.name)
        .help_heading(row.group.heading());
    if row.scope == Scope::FlagOnly {
        return arg.action(ArgAction::SetTrue).help(row.doc);
    }
    let arg = arg
        .value_name(value_name(row.kind))
        .action(action(row.kind))
        .allow_negative_numbers(true)
        .allow_hyphen_values(matches!(row.kind, Kind::Addresses))
        .help(format!("{} [default: {}]", row.doc, shown_default(row)))
        .long_help(format!(
            "{}\n[default: {}] [allowed: {}] [env: {}]",
            row.doc,
            shown_default(row),
            row.kind.allowed(),
            row.variable()
        ));
    match row.alias {
        Some(alias) => arg.alias(alias),
        None => arg,
    }
}

fn shown_default(row: &Row) -> &'static str {
    if row.default.is_empty() {
        "none"
    } else {
        row.default
    }
}

fn action(kind: Kind) -> ArgAction {
    match kind {
        // These may be said in parts: --bind 127.0.0.1 --bind ::1
        Kind::Addresses | Kind::HostPorts | Kind::OutputLimits | Kind::Percentiles => {
            ArgAction::Append
        }
        _ => ArgAction::Set,
    }
}

fn value_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Integer { .. } | Kind::Clamped { .. } => "NUMBER",
        Kind::Bytes { .. } => "BYTES",
        Kind::Seconds { .. } => "TIME",
        Kind::Bool => "YES|NO",
        Kind::Choice(_) => "WORD",
        Kind::Text | Kind::Word { .. } => "TEXT",
        Kind::Secret | Kind::Sealed => "SECRET",
        Kind::HostPorts => "HOST:PORT",
        Kind::Addresses => "ADDRESS",
        Kind::OutputLimits => "LIMITS",
        Kind::Percentiles => "NUMBERS",
    }
}
