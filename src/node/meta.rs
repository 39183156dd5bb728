//! The copy of the meta group on a node: a shard whose state is the topology. Its entries travel and are kept like those of any shard.
//! And what a worker tells of its replicas to those who look after the cluster, and does for them. Decides nothing.

use ringfort_cluster::meta::{MetaCommand, MetaReply};
use ringfort_cluster::steward::{self, Begun, GroupReport, Order, OrderRefused, Task};
use ringfort_cluster::topology::Topology;
use ringfort_cluster::{Epoch, NodeId, ShardId, Term};

use crate::commands::{registry, Call, CommandError, CommandResult};
use crate::protocol::{Args, Proto, Reply, Span};

use super::io::Callback;
use super::router::Question;
use super::worker::Worker;

const COMMAND: &[u8] = b"RF.META";
const NOT_LEADER: &[u8] = b"-TRYAGAIN this node does not lead the meta group\r\n";

/// Applies a command of the meta group. Replies with the epoch after it, and whether anything changed.
///
/// # Errors
/// What the topology refuses, in words.
pub(super) fn apply(
    topology: Option<&mut Topology>,
    call: &Call,
    reply: &mut Reply,
) -> CommandResult {
    let Some(topology) = topology else {
        return Err(CommandError::new("ERR not the meta group"));
    };
    let command = MetaCommand::decode(call.arg(1))
        .map_err(|error| CommandError::new(format!("ERR {error}")))?;
    let done = topology
        .apply(&command)
        .map_err(|error| CommandError::new(format!("META {error}")))?;
    reply.array(2);
    reply.int(done.epoch.0 as i64);
    reply.int(i64::from(done.changed));
    Ok(())
}

/// What became of a proposal to the meta group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposed {
    /// Applied and accepted.
    Done(MetaReply),
    /// Applied, and the topology refused it for this reason.
    Refused(String),
    /// It was not applied and never will be.
    NotApplied(String),
    /// It may have been applied, or be applied yet.
    Unknown(String),
}

impl Proposed {
    /// Reads the reply that the callback of [`Worker::propose_meta`] gets.
    pub fn read(reply: &[u8]) -> Self {
        let text = String::from_utf8_lossy(reply);
        let text = text.trim_end();
        if let Some(reason) = text.strip_prefix("-META ") {
            return Self::Refused(reason.into());
        }
        if let Some(reason) = text.strip_prefix("-UNKNOWN ") {
            return Self::Unknown(reason.into());
        }
        if let Some(error) = text.strip_prefix('-') {
            return Self::NotApplied(error.into());
        }
        match numbers(text) {
            Some([epoch, changed]) => Self::Done(MetaReply {
                epoch: Epoch(epoch),
                changed: changed != 0,
            }),
            None => Self::Unknown(format!("a reply that makes no sense: {text}")),
        }
    }
}

/// The two numbers of an accepted command's reply.
fn numbers(text: &str) -> Option<[u64; 2]> {
    let mut lines = text.strip_prefix("*2\r\n")?.split("\r\n");
    let mut number = || lines.next()?.strip_prefix(':')?.parse().ok();
    Some([number()?, number()?])
}

/// What a worker knows of its replicas and their leaders.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub groups: Vec<GroupReport>,
    /// Who leads each group that it has a copy of, as far as that copy knows.
    pub leaders: Vec<(ShardId, Term, NodeId)>,
}

impl Worker {
    /// The worker that has, or would have, this node's copy of a group; `None` for what is no group.
    pub fn worker_of_group(&self, group: ShardId) -> Option<u16> {
        self.local_number(group)
            .map(|number| self.worker_of(number))
    }

    /// The place of this node's copy of the meta group, if it is here and held.
    fn meta_place(&self) -> Option<usize> {
        let number = self.map.shards();
        if self.worker_of(number) != self.number {
            return None;
        }
        let place = self.place(number);
        let shard = self.shards.get(place)?;
        shard.standing.is_held.then_some(place)
    }

    /// Whether this node leads the meta group and knows all that was committed before. To be asked on the meta group's worker, as are
    /// the three that follow.
    pub fn leads_meta(&self) -> bool {
        let place = self.meta_place();
        place.is_some_and(|place| self.shards[place].leads())
    }

    /// The term in which this node leads the meta group, if it does.
    pub fn meta_term(&self) -> Option<Term> {
        let place = self.meta_place().filter(|_| self.leads_meta())?;
        Some(self.shards[place].replica.term())
    }

    /// The node that leads the meta group, as far as this one's copy knows.
    pub fn meta_leader(&self) -> Option<NodeId> {
        self.leader_at(self.meta_place()?)
    }

    fn leader_at(&self, place: usize) -> Option<NodeId> {
        let shard = &self.shards[place];
        match shard.replica.leader() == Some(shard.replica.id()) {
            true => Some(self.shared.node_id()),
            false => shard.leader_node(),
        }
    }

    /// Proposes a command to the meta group. `done` gets the reply, which [`Proposed::read`] reads; it may be called at once.
    pub fn propose_meta(&mut self, command: &MetaCommand, done: Callback) {
        if !self.leads_meta() {
            return done(NOT_LEADER);
        }
        let encoded = match command.encode() {
            Ok(encoded) => encoded,
            Err(error) => return done(format!("-ERR {error}\r\n").as_bytes()),
        };
        let mut bytes = COMMAND.to_vec();
        bytes.extend_from_slice(&encoded);
        let (name_end, end) = (COMMAND.len() as u32, bytes.len() as u32);
        let spans: [Span; 2] = [(0, name_end), (name_end, end)];
        let question = Question {
            command: registry().find(COMMAND).expect("the table has it"),
            args: Args::new(&bytes, &spans),
            database: 0,
            proto: Proto::Resp2,
        };
        let target = self.io.call_back(done);
        self.join_turn(&question, self.place(self.map.shards()), None, target);
    }

    /// What there is to say of this worker's replicas.
    pub fn group_reports(&self) -> Vec<GroupReport> {
        let held = self.shards.iter().filter(|shard| shard.standing.is_held);
        held.map(|shard| GroupReport::of(&shard.replica, shard.databases.bytes() as u64))
            .collect()
    }

    /// The reports of this worker's replicas, and the leaders that they know. What did not fit the topology counts as told.
    pub fn account(&mut self) -> Account {
        self.leadership_changed = false;
        self.topology_wanted = false;
        let held = (0..self.shards.len()).filter(|&at| self.shards[at].standing.is_held);
        let leader = |at: usize| {
            let replica = &self.shards[at].replica;
            let node = self.leader_at(at)?;
            Some((replica.shard(), replica.term(), node))
        };
        Account {
            leaders: held.filter_map(leader).collect(),
            groups: self.group_reports(),
        }
    }

    /// Carries out an order for a group that has its copy on this worker. A transfer begins when what is under way has ended.
    ///
    /// # Errors
    /// [`OrderRefused`]; nothing has changed then.
    pub fn obey(&mut self, order: &Order) -> Result<Begun, OrderRefused> {
        let not_here = OrderRefused::OtherShard(order.shard);
        let number = self.local_number(order.shard).ok_or(not_here.clone())?;
        let place = self.place(number);
        let is_here = self.worker_of(number) == self.number
            && (self.shards.get(place)).is_some_and(|shard| shard.standing.is_held);
        if !is_here {
            return Err(not_here);
        }
        if matches!(order.task, Task::TransferLeader(_)) {
            self.begin_to_hand_over(place, order)?;
            return Ok(Begun::Transfer);
        }
        let now = self.refresh_monotonic();
        let begun = steward::carry_out(order, &mut self.shards[place].replica, now);
        self.stir(place);
        begun
    }

    /// A replica's state has moved on: where it is the meta group's, everybody on this node can know.
    pub(super) fn meta_applied(&mut self, place: usize) {
        let Some(topology) = &self.shards[place].meta else {
            return;
        };
        if topology.epoch > self.shared.topology.epoch() {
            let topology = std::sync::Arc::new(Topology::clone(topology));
            self.shared.topology.offer(topology);
        }
    }
}

#[cfg(test)]
#[path = "meta_tests.rs"]
mod tests;
