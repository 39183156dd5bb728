//! The operator's commands: what they are called, and who carries them out. They ask a cluster over HTTP and run no node.

mod args;
mod client;
mod failure;
mod node;
mod order;
mod plan;
mod progress;
mod recover;
mod remove;
mod shards;
mod status;
mod table;
mod target;
mod terminal;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;
mod top;
mod verify;
mod watch;

use std::io;
use std::time::Duration;

pub(super) use args::{commands, from_matches};
pub use target::{Target, HTTP_VARIABLE, PASSWORD_VARIABLE};

use client::{Answer, Client, Patience};
use failure::{Failure, Outcome};
use table::Paint;
use terminal::Terminal;
use text::clean_json;

/// A command, with whom to ask.
#[derive(Clone, Debug)]
pub struct Operation {
    target: Target,
    format: Format,
    order: Order,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    /// The body of the API's answer.
    Json,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Order {
    Status {
        watch: Option<Duration>,
        is_check: bool,
    },
    Shards {
        shard: Option<u32>,
    },
    NodeList,
    NodeShow {
        node: String,
    },
    NodeRemove(Leave),
    NodeDrain(Leave),
    NodeUndrain {
        node: String,
    },
    PlanAdd {
        count: u16,
        weight: u16,
        zone: String,
    },
    PlanRemove {
        node: String,
        is_forced: bool,
    },
    Rebalance,
    Top,
    Transfer {
        shard: u32,
        to: String,
    },
    Verify {
        shard: Option<u32>,
        within: Duration,
    },
    Recover {
        lost: Vec<String>,
        has_consent: bool,
    },
}

/// A node is to hold nothing any more.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Leave {
    node: String,
    is_forced: bool,
    /// Until it holds nothing.
    waits: bool,
    within: Option<Duration>,
}

/// What all commands need.
struct Session {
    target: Target,
    client: Client,
    format: Format,
}

impl Session {
    fn new(target: &Target, format: Format) -> Self {
        Self {
            target: target.clone(),
            client: Client::new(target, Patience::default()),
            format,
        }
    }

    fn polling_client(&self) -> Client {
        Client::for_polling(&self.target)
    }

    /// An answer as it came, or as text for people. That the reader has seen enough changes nothing of what was found.
    fn print<T>(
        &self,
        terminal: &mut Terminal,
        answer: &Answer<T>,
        text: impl FnOnce(Paint) -> String,
    ) -> io::Result<()> {
        let text = match self.format {
            Format::Json => format!("{}\n", clean_json(&answer.body)),
            Format::Text => text(terminal.paint),
        };
        match terminal.print(&text) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            printed => printed,
        }
    }
}

/// Carries it out and returns the exit code.
pub fn run(operation: &Operation) -> u8 {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    run_on(operation, &mut Terminal::new(&mut out, &mut err))
}

fn run_on(operation: &Operation, terminal: &mut Terminal) -> u8 {
    if operation.target.is_password_shown {
        // Whether this can be said is not what the exit code is about.
        let _ = terminal.note(
            "Warning: everybody on this machine can read a password on the command line. Use --password-file or RINGFORT_PASSWORD.",
        );
    }
    match carry_out(operation, terminal) {
        Ok(outcome) => outcome.exit_code(),
        Err(failure) => {
            if !failure.is_silent() {
                let _ = terminal.note(&format!("ringfort: {failure}"));
            }
            failure.exit_code()
        }
    }
}

fn carry_out(operation: &Operation, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let session = Session::new(&operation.target, operation.format);
    match &operation.order {
        Order::Status { watch, is_check } => status::status(&session, terminal, *watch, *is_check),
        Order::Shards { shard: None } => shards::list(&session, terminal),
        Order::Shards { shard: Some(shard) } => shards::show(&session, terminal, *shard),
        Order::NodeList => node::list(&session, terminal),
        Order::NodeShow { node } => node::show(&session, terminal, node),
        Order::NodeRemove(leave) => remove::leave(&session, terminal, leave, true),
        Order::NodeDrain(leave) => remove::leave(&session, terminal, leave, false),
        Order::NodeUndrain { node } => node::undrain(&session, terminal, node),
        Order::PlanAdd {
            count,
            weight,
            zone,
        } => plan::add(&session, terminal, *count, *weight, zone),
        Order::PlanRemove { node, is_forced } => plan::remove(&session, terminal, node, *is_forced),
        Order::Rebalance => order::rebalance(&session, terminal),
        Order::Top => top::top(&session, terminal),
        Order::Transfer { shard, to } => order::transfer(&session, terminal, *shard, to),
        Order::Verify { shard, within } => verify::verify(&session, terminal, *shard, *within),
        Order::Recover { lost, has_consent } => {
            recover::recover(&session, terminal, lost, *has_consent)
        }
    }
}
