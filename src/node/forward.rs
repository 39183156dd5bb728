//! Commands whose shard another node leads: sent there in batches, answered in order, held back while nobody leads. A write whose outcome is
//! unknown is never sent again (REPLICATION "Commands").

use std::collections::{BTreeMap, HashMap, VecDeque};

use ringfort_cluster::{Monotonic, NodeId};

use crate::commands::{registry, Registered, Spread};
use crate::protocol::{Args, OwnedArgs, Proto};

use super::farewell::Farewells;
use super::forward_wire::{put_command, put_reply, Command, Head, Outcome, Record, Records};
use super::io::Forwarded;
use super::outbox::{Target, Waiter};
use super::peer::Peer;
use super::router::Question;
use super::topology::REMOVED;
use super::worker::Worker;

/// Bytes of commands that one worker keeps for other nodes, or until somebody leads their shard; beyond it they are refused.
pub const HELD_BYTES_MAX: usize = 256 << 20;
/// How long a former leader may take to answer what it was sent. One that is there answers at once, that it leads no more at least.
const FORMER_LEADER_WAIT_US: u64 = 200_000;
/// What a command costs beside its arguments, for that bound.
const HELD_OVERHEAD_BYTES: usize = 256;

const UNKNOWN: &str = "UNKNOWN the node that leads the shard was lost while the command was under way: it may have been applied or not";
const NO_LEADER: &str =
    "CLUSTERDOWN nobody leads the shard at the moment; the command was not applied";
const TOO_MUCH: &str = "BUSY too many commands wait for other nodes; the command was not applied";

/// A command that cannot be run here.
struct Held {
    target: Target,
    command: &'static Registered,
    shard: u16,
    database: u16,
    args: OwnedArgs,
    /// Until when it may wait for a leader.
    until: Monotonic,
    /// Counts what was asked, in order.
    number: u64,
}

impl Held {
    fn cost(&self) -> usize {
        self.args().payload_bytes() + HELD_OVERHEAD_BYTES
    }

    fn args(&self) -> Args<'_> {
        self.args.as_args()
    }

    fn proto(&self) -> Proto {
        self.target.proto
    }
}

/// A command on its way to another node.
struct Sent {
    held: Held,
    to: NodeId,
}

/// What the last node that refused a command of a shard said of it.
struct Hint {
    refused_by: NodeId,
    leader: Option<NodeId>,
}

/// The commands of one worker that other nodes run, and what they ask of this one.
#[derive(Default)]
pub struct Forwarding {
    next_request: u64,
    next_number: u64,
    sent: HashMap<u64, Sent>,
    /// By shard, in the order in which they were asked.
    waiting: BTreeMap<u16, VecDeque<Held>>,
    held_bytes: usize,
    /// Shards whose former leader has not answered everything, and until when it may. What comes later waits: it must not overtake
    /// what a former leader refuses.
    doubted: BTreeMap<u16, Monotonic>,
    /// A shard has a leader, or an answer has come: what waits may go on with the next turn.
    pub(super) is_to_retry: bool,
    /// By shard: how often a node has refused it, and what was said of its leader then.
    rounds: BTreeMap<u16, u32>,
    hints: BTreeMap<u16, Hint>,
    /// Nodes that take no more commands, and what is left to do before this one ends.
    pub(super) farewells: Farewells,
    /// Workers of other nodes that ask.
    askers: Vec<Peer>,
    /// By the worker that takes its commands in, asker and shard: the round whose commands are refused, and those before it.
    refused: HashMap<(u16, u16, u16), u32>,
}

impl Forwarding {
    /// The numbers of requests begin where chance says: a late reply to one from before a restart must not fit one from after it.
    pub fn new(seed: u64) -> Self {
        Self {
            next_request: seed,
            ..Self::default()
        }
    }

    /// Whether commands of the shard wait: later ones must not overtake them.
    #[inline]
    pub fn has_waiting(&self, shard: u16) -> bool {
        !self.waiting.is_empty() && self.waiting.contains_key(&shard)
    }

    /// Whether commands of the shard are at another node than this one.
    fn has_sent_elsewhere(&self, shard: u16, leader: Option<NodeId>) -> bool {
        let mut sent = self.sent.values();
        sent.any(|sent| sent.held.shard == shard && Some(sent.to) != leader)
    }

    /// Whether a node has commands of this worker that it has not answered.
    pub(super) fn has_sent_to(&self, node: NodeId) -> bool {
        self.sent.values().any(|sent| sent.to == node)
    }

    /// Has whatever is asked of the shards of commands sent to a node wait behind those.
    pub(super) fn queue_behind(&mut self, node: NodeId) {
        let sent = self.sent.values().filter(|sent| sent.to == node);
        for shard in sent.map(|sent| sent.held.shard) {
            self.waiting.entry(shard).or_default();
        }
    }

    /// Refuses a round of an asker, and those before it: what was asked later must not come before what was refused.
    fn refuse_round(&mut self, worker: u16, (asker, round): (u16, u32), shard: u16) {
        let refused = self.refused.entry((worker, asker, shard)).or_default();
        *refused = round.max(*refused);
    }

    /// Whether what another node has asked belongs to a round that was refused here.
    pub(super) fn was_refused(&self, target: &Target, shard: u16) -> bool {
        let Waiter::Remote { asker, round, .. } = target.waiter else {
            return false;
        };
        let refused = self.refused.get(&(target.worker, asker, shard));
        refused.is_some_and(|&refused| round <= refused)
    }

    fn asker(&mut self, peer: Peer) -> u16 {
        let known = self.askers.iter().position(|asker| *asker == peer);
        known.unwrap_or_else(|| {
            self.askers.push(peer);
            self.askers.len() - 1
        }) as u16
    }
}

impl Worker {
    /// A command that cannot be run on this replica now: goes to the leader's node, or waits.
    #[cold]
    pub(super) fn ask_elsewhere(&mut self, question: &Question, shard: u16, target: Target) {
        if self.forwarding.held_bytes > HELD_BYTES_MAX {
            return self.complete_error(target, TOO_MUCH);
        }
        // What another node sends here goes back to it.
        if self.is_removed && !matches!(target.waiter, Waiter::Remote { .. }) {
            return self.complete_error(target, REMOVED);
        }
        let wait_us = self.live.unavailable_wait_ms.saturating_mul(1000);
        let held = Held {
            target,
            command: question.command,
            shard,
            database: question.database,
            args: OwnedArgs::copy_of(&question.args),
            until: self.monotonic().plus_us(wait_us),
            number: self.forwarding.next_number,
        };
        self.forwarding.next_number += 1;
        self.forwarding.held_bytes += held.cost();
        if self.forwarding.has_waiting(shard) {
            return self.hold(held);
        }
        if let Err(held) = self.send_on(held) {
            self.hold(held);
        }
    }

    fn hold(&mut self, held: Held) {
        // The node that asked for it holds it back itself.
        if matches!(held.target.waiter, Waiter::Remote { .. }) {
            self.forwarding.held_bytes -= held.cost();
            return self.refuse_remote(held.target, held.shard);
        }
        let shard = held.shard;
        let waiting = self.forwarding.waiting.entry(shard).or_default();
        waiting.push_back(held);
        let place = self.place(shard);
        let now = self.monotonic();
        let shard = &mut self.shards[place];
        if shard.leads() && shard.replica.renew_lease(now) {
            self.stir(place);
        }
    }

    /// The node to which commands of a shard are to be sent, if it is another and can be reached.
    fn leader_elsewhere(&self, shard: u16) -> Option<NodeId> {
        let held = &self.shards[self.place(shard)];
        let peers = self.peers.as_ref()?;
        let (me, farewells) = (self.shared.node_id(), &self.forwarding.farewells);
        let fits =
            |node: &NodeId| *node != me && peers.can_forward(*node) && !farewells.has_left(*node);
        if held.standing.is_held {
            return held.leader_node().filter(fits);
        }
        let hint = self.forwarding.hints.get(&shard);
        let named = hint.and_then(|hint| hint.leader).filter(fits);
        named.or_else(|| {
            // Any may say who leads, but for the one that has just been asked: it is the last to be asked again.
            let nodes = &held.standing.nodes;
            let asked = hint.and_then(|hint| {
                let mut nodes = nodes.iter();
                nodes.position(|(_, node)| *node == hint.refused_by)
            });
            let (first, last) = nodes.split_at(asked.map_or(0, |at| at + 1));
            let mut in_turn = last.iter().chain(first).map(|(_, node)| *node);
            in_turn.find(fits)
        })
    }

    /// Sends a command to its leader's node; gives it back when there is none.
    fn send_on(&mut self, held: Held) -> Result<(), Held> {
        // What another node has sent here is not sent on: the two might send it back and forth.
        if matches!(held.target.waiter, Waiter::Remote { .. }) {
            return Err(held);
        }
        let Some(to) = self.leader_elsewhere(held.shard) else {
            return Err(held);
        };
        let Some(peers) = &mut self.peers else {
            return Err(held);
        };
        let forwarding = &mut self.forwarding;
        forwarding.next_request = forwarding.next_request.wrapping_add(1);
        // Replies come to the worker of the leader's choice; it sees here whose they are.
        let request = u64::from(self.number) << 48 | forwarding.next_request & ((1 << 48) - 1);
        let head = Head {
            request,
            round: 1 + forwarding.rounds.get(&held.shard).copied().unwrap_or(0),
            shard: held.shard,
            database: held.database,
            proto: held.proto(),
            untouched: held.target.untouched,
        };
        peers.push_forward(to, |frame| put_command(frame, &head, &held.args()));
        forwarding.sent.insert(request, Sent { held, to });
        self.flush_wanted = true;
        Ok(())
    }

    /// Looks again at the commands that wait, in their order.
    pub fn retry_waiting(&mut self) {
        self.forwarding.is_to_retry = false;
        if self.forwarding.waiting.is_empty() {
            return;
        }
        let now = self.monotonic();
        let shards: Vec<u16> = self.forwarding.waiting.keys().copied().collect();
        for shard in shards {
            if self.waits_for_former_leader(shard, now) || self.waits_for_refusals(shard) {
                continue;
            }
            let mut waiting = self.forwarding.waiting.remove(&shard).unwrap_or_default();
            while let Some(held) = waiting.pop_front() {
                if let Err(held) = self.retry(held, now) {
                    waiting.push_front(held);
                    break;
                }
            }
            if !waiting.is_empty() {
                self.forwarding.waiting.insert(shard, waiting);
            }
        }
    }

    fn retry(&mut self, held: Held, now: Monotonic) -> Result<(), Held> {
        if self.is_removed {
            self.forwarding.held_bytes -= held.cost();
            self.complete_error(held.target, REMOVED);
            return Ok(());
        }
        let shard = &self.shards[self.place(held.shard)];
        let runs_here = match held.command.is_write {
            true => shard.leads(),
            false => shard.may_read(now),
        };
        if runs_here {
            self.forwarding.held_bytes -= held.cost();
            let question = Question {
                command: held.command,
                args: held.args(),
                database: held.database,
                proto: held.proto(),
            };
            match held.command.command.spread {
                Spread::Cursor => self.scan_for(&question, held.target, false),
                _ => self.join_turn(&question, self.place(held.shard), None, held.target),
            }
            return Ok(());
        }
        if now >= held.until {
            self.forwarding.held_bytes -= held.cost();
            self.complete_error(held.target, NO_LEADER);
            return Ok(());
        }
        self.send_on(held)
    }

    // ---- what comes back -----------------------------------------------------------------------------

    /// Takes in a frame of commands and replies.
    pub fn take_forward_frame(&mut self, from: Peer, frame: &[u8]) {
        for record in Records::new(frame) {
            match record {
                None => {
                    tracing::warn!("node {} sent a frame of commands that is none", from.node);
                    return;
                }
                Some(Record::Command(command)) => self.run_for(from, command),
                Some(Record::Reply { request, outcome }) => self.heard(request, &outcome),
                Some(Record::Farewell) => self.take_farewell(from.node),
                Some(Record::Release) => self.forwarding.farewells.released(from),
            }
        }
    }

    fn heard(&mut self, request: u64, outcome: &Outcome) {
        let asker = (request >> 48) as u16;
        if asker != self.number && asker < self.workers {
            // It was asked by another worker of this node.
            let mut bytes = Vec::new();
            put_reply(&mut bytes, request, outcome);
            return self.task(asker, move |there| {
                for record in Records::new(&bytes).flatten() {
                    if let Record::Reply { request, outcome } = record {
                        there.heard(request, &outcome);
                    }
                }
            });
        }
        // One that was given up is not waited for any more.
        let Some(Sent { held, to }) = self.forwarding.sent.remove(&request) else {
            return;
        };
        self.forwarding.is_to_retry |= self.forwarding.doubted.contains_key(&held.shard);
        match outcome {
            Outcome::Reply(reply) => {
                self.forwarding.held_bytes -= held.cost();
                self.io.complete(held.target, reply);
                self.flush_wanted = true;
            }
            Outcome::NotLeader(leader) => {
                let hint = Hint {
                    refused_by: to,
                    leader: leader.filter(|leader| *leader != to),
                };
                self.forwarding.hints.insert(held.shard, hint);
                *self.forwarding.rounds.entry(held.shard).or_default() += 1;
                self.hold_again(held);
            }
        }
    }

    /// A command comes back to wait: before those that were asked behind it.
    fn hold_again(&mut self, held: Held) {
        let waiting = self.forwarding.waiting.entry(held.shard).or_default();
        let behind = waiting.partition_point(|other| other.number < held.number);
        waiting.insert(behind, held);
        self.flush_wanted = true;
    }

    /// A node cannot be reached any more: what it was asked may have been done or not.
    pub fn forward_down(&mut self, node: NodeId) {
        self.give_up(|sent, _| sent.to == node);
    }

    /// Another node leads the shard now, or none. The former leader may never answer; if it does, it says what became of a command.
    pub(super) fn leader_moved(&mut self, shard: u16, leader: Option<NodeId>) {
        self.forwarding.is_to_retry |= leader.is_some();
        self.flush_wanted = true;
        if self.forwarding.has_sent_elsewhere(shard, leader) {
            let until = self.monotonic().plus_us(FORMER_LEADER_WAIT_US);
            self.forwarding.doubted.entry(shard).or_insert(until);
            self.forwarding.waiting.entry(shard).or_default();
        }
    }

    /// Whether a former leader of the shard still has to answer. It is not waited for longer than that.
    fn waits_for_former_leader(&mut self, shard: u16, now: Monotonic) -> bool {
        let Some(&until) = self.forwarding.doubted.get(&shard) else {
            return false;
        };
        let leader = self.shards[self.place(shard)].leader_node();
        let has_sent = |forwarding: &Forwarding| forwarding.has_sent_elsewhere(shard, leader);
        if now < until && has_sent(&self.forwarding) {
            return true;
        }
        // Who has said farewell answers everything before it goes.
        self.give_up(|sent, farewells| {
            sent.held.shard == shard && Some(sent.to) != leader && !farewells.has_left(sent.to)
        });
        if has_sent(&self.forwarding) {
            return true;
        }
        self.forwarding.doubted.remove(&shard);
        false
    }

    /// Whether another node than the one to be asked next still has commands of a shard of which there is no replica here: if it refuses
    /// them they come first. Where there is a replica, that goes by its leader's moves.
    fn waits_for_refusals(&self, shard: u16) -> bool {
        let is_held = self.shards[self.place(shard)].standing.is_held;
        let next = || self.leader_elsewhere(shard);
        !is_held && self.forwarding.has_sent_elsewhere(shard, next())
    }

    fn give_up(&mut self, which: impl Fn(&Sent, &Farewells) -> bool) {
        let (sent, farewells) = (self.forwarding.sent.iter(), &self.forwarding.farewells);
        let mut requests: Vec<u64> = sent
            .filter(|(_, sent)| which(sent, farewells))
            .map(|(request, _)| *request)
            .collect();
        requests.sort_unstable();
        for request in requests {
            let Some(Sent { held, .. }) = self.forwarding.sent.remove(&request) else {
                continue;
            };
            // A read changes nothing: it is asked again.
            if !held.command.is_write {
                self.hold_again(held);
                continue;
            }
            self.forwarding.held_bytes -= held.cost();
            self.complete_error(held.target, UNKNOWN);
        }
        self.flush_wanted = true;
    }

    /// The cluster has removed this node: the others answer it no more, whatever they have got of it.
    pub(super) fn give_up_as_removed(&mut self) {
        self.give_up(|_, _| true);
        self.retry_waiting();
    }

    /// Another node's worker sends here no more: if it comes again it counts its rounds anew, and replies that it had for any worker of
    /// this node may be lost with the link, while the one on which they were asked goes on.
    pub fn asker_gone(&mut self, peer: Peer) {
        self.forwarding.farewells.asker_gone(peer);
        self.task_everywhere(move |there| there.forward_down(peer.node));
        let askers = &self.forwarding.askers;
        let Some(gone) = askers.iter().position(|asker| *asker == peer) else {
            return;
        };
        let here = self.number;
        self.task_everywhere(move |there| {
            let is_of_it = |&(worker, asker, _): &(u16, u16, u16)| {
                worker == here && usize::from(asker) == gone
            };
            let refused = &mut there.forwarding.refused;
            refused.retain(|of, _| !is_of_it(of));
        });
    }

    // ---- for other nodes -----------------------------------------------------------------------------

    fn run_for(&mut self, from: Peer, asked: Command) {
        let Command { head, args } = asked;
        let asker = self.forwarding.asker(from);
        let target = Target {
            worker: self.number,
            waiter: Waiter::Remote {
                asker,
                round: head.round,
                request: head.request,
            },
            proto: head.proto,
            untouched: head.untouched,
        };
        let fits = head.shard < self.map.shards() && usize::from(head.database) < self.databases();
        let command = registry().called(&args.as_args(), None);
        let Some(command) = command.filter(|command| command.runs_on_shards && fits) else {
            return self.complete_error(
                target,
                "ERR this node cannot run a command that another sent: are both of one version?",
            );
        };
        let is_late = self.forwarding.was_refused(&target, head.shard);
        if is_late || !self.shared.leads(head.shard) {
            return self.refuse_remote(target, head.shard);
        }
        if command.command.spread == Spread::Cursor {
            let question = Question {
                command,
                args: args.as_args(),
                database: head.database,
                proto: head.proto,
            };
            return self.scan_for(&question, target, false);
        }
        self.hand_over(Forwarded {
            shard: head.shard,
            database: head.database,
            command,
            target,
            args,
        });
    }

    /// Answers that a command of another node was not applied here, and by whom it could be.
    pub(super) fn refuse_remote(&mut self, target: Target, shard: u16) {
        let Waiter::Remote {
            asker,
            round,
            request,
        } = target.waiter
        else {
            return;
        };
        let leader = match self.worker_of(shard) == self.number {
            true => self.shards[self.place(shard)].leader_node(),
            false => None,
        };
        let worker = target.worker;
        self.forwarding.refuse_round(worker, (asker, round), shard);
        // Who asked is known to the worker that took the command in.
        self.task(worker, move |there| {
            let refused = &mut there.forwarding;
            refused.refuse_round(worker, (asker, round), shard);
            there.reply_remote(asker, request, &Outcome::NotLeader(leader));
        });
    }

    fn reply_remote(&mut self, asker: u16, request: u64, outcome: &Outcome) {
        let to = self.forwarding.askers[usize::from(asker)];
        if let Some(peers) = &mut self.peers {
            peers.push_reply(to.node, |frame| put_reply(frame, request, outcome));
        }
        self.flush_wanted = true;
    }

    /// Sends the replies that this turn has brought for other nodes.
    pub(super) fn send_remote_replies(&mut self) {
        let replies = std::mem::take(&mut self.io.remote);
        for (asker, request, reply) in &replies {
            self.reply_remote(*asker, *request, &Outcome::Reply(reply));
        }
        self.io.remote = replies;
        self.io.remote.clear();
    }
}
