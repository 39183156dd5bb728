//! INFO: which sections were asked for, and their text. What stands in a section is in the files beside.

mod memory;
mod sections;
mod usage;

use crate::protocol::Reply;
use crate::settings::Live;

use super::super::report::Report;
use super::super::{Call, CommandResult, Host, Session};

/// What a section is written from.
struct Source<'a> {
    report: Report,
    live: &'a Live,
    host: &'a dyn Host,
    /// Of the connection that asks.
    session: &'a Session,
}

/// When a section is shown without being named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// Always (`default`).
    Default,
    /// With `all`.
    All,
    /// With `everything`, and by default, but not with `all`: Redis keeps modules apart.
    Modules,
}

type Write = fn(&Source, &mut Lines);

/// Names of sections in the order of INFO.
const SECTIONS: &[(&str, &str, Shown, Write)] = &[
    ("server", "Server", Shown::Default, sections::server),
    ("clients", "Clients", Shown::Default, sections::clients),
    ("memory", "Memory", Shown::Default, memory::memory),
    (
        "persistence",
        "Persistence",
        Shown::Default,
        sections::persistence,
    ),
    ("stats", "Stats", Shown::Default, usage::stats),
    (
        "replication",
        "Replication",
        Shown::Default,
        sections::replication,
    ),
    ("cpu", "CPU", Shown::Default, sections::cpu),
    ("modules", "Modules", Shown::Modules, |_, _| {}),
    (
        "commandstats",
        "Commandstats",
        Shown::All,
        usage::commandstats,
    ),
    (
        "errorstats",
        "Errorstats",
        Shown::Default,
        usage::errorstats,
    ),
    (
        "latencystats",
        "Latencystats",
        Shown::All,
        usage::latencystats,
    ),
    ("cluster", "Cluster", Shown::Default, sections::cluster),
    ("keyspace", "Keyspace", Shown::Default, usage::keyspace),
    ("ringfort", "Ringfort", Shown::Default, sections::ringfort),
];

/// The text of INFO, line by line.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn put(&mut self, name: &str, value: impl std::fmt::Display) {
        use std::fmt::Write;
        // Writing into a string does not fail.
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    fn flag(&mut self, name: &str, is_set: bool) {
        self.put(name, u8::from(is_set));
    }

    /// Fields that are 0 because this server has nothing of the kind.
    fn zeros(&mut self, names: &[&str]) {
        names.iter().for_each(|name| self.put(name, 0));
    }
}

pub fn info(
    session: &mut Session,
    host: &dyn Host,
    call: &Call,
    reply: &mut Reply,
) -> CommandResult {
    let live = host.settings().live();
    let source = Source {
        report: host.report(),
        live: &live,
        host,
        session,
    };
    let mut lines = Lines::default();
    for (name, heading, shown, write) in SECTIONS {
        if !is_wanted(call, name, *shown) {
            continue;
        }
        if !lines.0.is_empty() {
            lines.0.push_str("\r\n");
        }
        lines.0.push_str(&format!("# {heading}\r\n"));
        write(&source, &mut lines);
    }
    reply.verbatim("txt", lines.0.as_bytes());
    Ok(())
}

fn is_wanted(call: &Call, name: &str, shown: Shown) -> bool {
    let by_default = matches!(shown, Shown::Default | Shown::Modules);
    if call.len() == 1 {
        return by_default;
    }
    (1..call.len()).any(|at| {
        call.is_word(at, name)
            || call.is_word(at, "everything")
            || call.is_word(at, "all") && shown != Shown::Modules
            || call.is_word(at, "default") && by_default
    })
}
