//! `ringfort node remove` and `node drain`: gives the order, and follows the node until it holds nothing. All that matters is kept by the
//! cluster: a run that ends early can be repeated.

use std::time::{Duration, Instant};

use serde_json::json;

use super::failure::{Failure, Outcome};
use super::node::path;
use super::order::said;
use super::plan::{removal_path, summary};
use super::progress::{Progress, Step};
use super::status::address;
use super::terminal::Terminal;
use super::text::{clean, duration, short};
use super::watch::{observe, Seen, Stop};
use super::{Leave, Session};
use crate::admin::api::{ClusterView, Done, NodeState, NodeView, PlanView, Refusal};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For as long the cluster may be out of reach, an election or a restart of the node that is asked.
const UNREACHABLE_MAX: Duration = Duration::from_secs(60);
/// An order to drain can be repeated without harm when nobody knows what became of it.
const ATTEMPTS_MAX: u32 = 3;
/// A node that is seen so often as taking part was told to again, by somebody else.
const TAKEN_BACK_AFTER: u32 = 5;
/// Without a change for that long, what is wrong in the cluster is shown.
const STILL_FOR: Duration = Duration::from_secs(30);
const PROBLEMS_SHOWN_MAX: usize = 20;

/// Drains a node. With `lets_go` the cluster forgets it when it holds nothing.
pub(super) fn leave(
    session: &Session,
    terminal: &mut Terminal,
    leave: &Leave,
    lets_go: bool,
) -> Result<Outcome, Failure> {
    let left = match lets_go {
        true => remove(session, terminal, leave),
        false => drain(session, terminal, leave),
    };
    left.map_err(unread)
}

fn remove(session: &Session, terminal: &mut Terminal, leave: &Leave) -> Result<Outcome, Failure> {
    let node = match begin(session, terminal, leave) {
        // An earlier run may have come to its end after it was cut off.
        Err(Failure::Refused {
            kind: Refusal::NotFound,
            ..
        }) if is_id(&leave.node) => {
            let done = session.client.delete::<Done>(&path(&leave.node))?;
            terminal.print(&format!("{}\n", said(&done.value)))?;
            return Ok(Outcome::Done);
        }
        begun => begun?,
    };
    if !leave.waits {
        let id = short(&node.id, 8);
        terminal.print(&format!(
            "It is being drained. `ringfort node remove {id}` lets it go once it holds nothing.\n"
        ))?;
        return Ok(Outcome::Done);
    }
    Following::new(session, &node, true).follow(terminal, leave.within, &Stop::catch()?)
}

fn drain(session: &Session, terminal: &mut Terminal, leave: &Leave) -> Result<Outcome, Failure> {
    let node = begin(session, terminal, leave)?;
    if !leave.waits {
        terminal.print("It is being drained. `ringfort status` shows how far it is.\n")?;
        return Ok(Outcome::Done);
    }
    Following::new(session, &node, false).follow(terminal, leave.within, &Stop::catch()?)
}

/// Without anybody who reads along nothing is done any more, and what was begun goes on: that is not done.
fn unread(failure: Failure) -> Failure {
    match failure {
        Failure::Output(error) => Failure::Unknown(format!(
            "cannot write the output: {error}. What has begun goes on: look with `ringfort status`, and repeat the command"
        )),
        failure => failure,
    }
}

/// Whether it is an id or a part of one: nothing else can name a node that is no part of the cluster any more.
fn is_id(node: &str) -> bool {
    node.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Says what will move, and gives the order.
fn begin(session: &Session, terminal: &mut Terminal, leave: &Leave) -> Result<NodeView, Failure> {
    let node = session.client.get::<NodeView>(&path(&leave.node))?.value;
    let name = format!("Node {} ({})", short(&node.id, 8), address(&node));
    if matches!(node.state, NodeState::Draining | NodeState::Drained) {
        terminal.print(&format!("{name} is being drained already; going on.\n"))?;
    } else {
        let plan = session
            .client
            .get::<PlanView>(&removal_path(&node.id, leave.is_forced))?
            .value;
        if let Some(reason) = &plan.refused {
            return Err(Failure::refused(clean(reason)));
        }
        terminal.print(&format!(
            "{name} gives everything away: {}.\n",
            summary(&plan)
        ))?;
    }
    order_drain(session, &node.id, leave.is_forced)?;
    Ok(node)
}

fn order_drain(session: &Session, id: &str, is_forced: bool) -> Result<(), Failure> {
    let mut attempt = 1;
    loop {
        match session.client.post::<Done>(
            &format!("{}/drain", path(id)),
            &json!({ "force": is_forced }),
        ) {
            Ok(_) => return Ok(()),
            Err(Failure::Unknown(_)) if attempt < ATTEMPTS_MAX => attempt += 1,
            Err(failure) => return Err(failure),
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Behind a node that is drained.
struct Following<'a> {
    session: &'a Session,
    id: &'a str,
    /// When it holds nothing, the cluster forgets it.
    lets_go: bool,
    /// It was told so, and nobody knows whether it was done.
    was_let_go: bool,
    seen_up: u32,
    silent_since: Option<Instant>,
    shown: Vec<String>,
}

impl<'a> Following<'a> {
    fn new(session: &'a Session, node: &'a NodeView, lets_go: bool) -> Self {
        Self {
            session,
            id: &node.id,
            lets_go,
            was_let_go: false,
            seen_up: 0,
            silent_since: None,
            shown: Vec::new(),
        }
    }

    fn follow(
        mut self,
        terminal: &mut Terminal,
        within: Option<Duration>,
        stop: &Stop,
    ) -> Result<Outcome, Failure> {
        let client = self.session.polling_client();
        let observations = observe(LOOK_EVERY, move || client.get::<ClusterView>("/v1/cluster"));
        let end = within.and_then(|within| Instant::now().checked_add(within));
        let mut progress = Progress::new(terminal, Instant::now());
        loop {
            let done = match observations.next_until(stop, end) {
                Seen::Something(Ok(answer)) => self.look(terminal, &mut progress, &answer.value)?,
                Seen::Something(Err(failure)) => self.bear(terminal, &progress, failure)?,
                Seen::Stopped => {
                    progress.end();
                    terminal.note(&format!("Interrupted. {}", self.goes_on()))?;
                    return Ok(Outcome::Interrupted);
                }
                Seen::Late => {
                    let within = duration(within.unwrap_or_default());
                    return Err(Failure::Unknown(format!(
                        "it is not done within {within}. {}",
                        self.goes_on()
                    )));
                }
            };
            if let Some(message) = done {
                progress.end();
                terminal.print(&format!("{message}\n"))?;
                return Ok(Outcome::Done);
            }
        }
    }

    fn goes_on(&self) -> String {
        let id = short(self.id, 8);
        let what = if self.lets_go { "remove" } else { "drain" };
        format!(
            "The drain goes on by itself: `ringfort node {what} {id}` follows it again{}, `ringfort node undrain {id}` takes it back.",
            if self.lets_go { " and finishes the removal" } else { "" }
        )
    }

    /// What is to be said at the end, when it is reached.
    fn look(
        &mut self,
        terminal: &mut Terminal,
        progress: &mut Progress,
        cluster: &ClusterView,
    ) -> Result<Option<String>, Failure> {
        self.silent_since = None;
        let id = short(self.id, 8);
        let Some(node) = cluster.nodes.iter().find(|node| node.id == self.id) else {
            return match self.lets_go {
                true => Ok(Some(format!("Node {id} is removed."))),
                false => Err(Failure::refused(format!(
                    "node {id} is no part of the cluster any more: it was removed meanwhile"
                ))),
            };
        };
        self.seen_up = if node.state == NodeState::Up {
            self.seen_up + 1
        } else {
            0
        };
        if self.seen_up >= TAKEN_BACK_AFTER {
            return Err(Failure::refused(format!(
                "the drain of node {id} was taken back: somebody has undrained it"
            )));
        }
        let step = Step::of(node, &cluster.moves);
        let now = Instant::now();
        progress.show(terminal, step, now)?;
        if node.state == NodeState::Drained || (node.state == NodeState::Down && step.is_last()) {
            return match self.lets_go {
                true => self.let_go(terminal, progress),
                false => Ok(Some(format!("Node {id} holds nothing. `ringfort node undrain {id}` lets it take part again."))),
            };
        }
        if progress.still_for(now) >= STILL_FOR {
            for problem in &cluster.problems {
                self.say_once(terminal, progress, &format!("! {}", clean(problem)))?;
            }
        }
        Ok(None)
    }

    fn let_go(
        &mut self,
        terminal: &mut Terminal,
        progress: &Progress,
    ) -> Result<Option<String>, Failure> {
        let id = short(self.id, 8);
        match self.session.client.delete::<Done>(&path(self.id)) {
            Ok(done) if done.value.message.is_empty() => Ok(Some(format!("Node {id} is removed."))),
            Ok(done) => Ok(Some(said(&done.value))),
            Err(Failure::Refused {
                kind: Refusal::NotFound,
                ..
            }) => Ok(Some(format!("Node {id} is removed."))),
            // It is drained, but something still counts on it.
            Err(Failure::Refused {
                kind: Refusal::Conflict,
                reason,
            }) => {
                self.say_once(terminal, progress, &reason)?;
                Ok(None)
            }
            // The next look shows what became of it.
            Err(Failure::Unknown(_) | Failure::Unreachable(_)) => {
                self.was_let_go = true;
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// A look that failed is no reason to give up: leaders change, nodes restart.
    fn bear(
        &mut self,
        terminal: &mut Terminal,
        progress: &Progress,
        failure: Failure,
    ) -> Result<Option<String>, Failure> {
        if !failure.may_pass() {
            return Err(failure);
        }
        let reason = failure.to_string();
        let now = Instant::now();
        let since = *self.silent_since.get_or_insert(now);
        if now.duration_since(since) >= UNREACHABLE_MAX {
            return Err(match self.was_let_go {
                true => Failure::Unknown(format!("the node was told to go, and since then {reason}\nLook with `ringfort status` at another node.")),
                false => Failure::Unreachable(format!("{reason}\n{}", self.goes_on())),
            });
        }
        let line = reason.lines().next().unwrap_or_default();
        self.say_once(terminal, progress, &format!("Trying again: {line}"))?;
        Ok(None)
    }

    fn say_once(
        &mut self,
        terminal: &mut Terminal,
        progress: &Progress,
        line: &str,
    ) -> Result<(), Failure> {
        if self.shown.len() < PROBLEMS_SHOWN_MAX && !self.shown.iter().any(|shown| shown == line) {
            self.shown.push(line.to_string());
            progress.note(terminal, line)?;
        }
        Ok(())
    }
}
