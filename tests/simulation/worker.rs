//! Drives the shards of one worker as production does: ready, send, write one record for all shards, sync as the mode asks,
//! persisted, apply, answer. Between write and `persisted` simulated time passes, and the world goes on. Both halves of a turn are
//! in `worker/turn.rs`, what clients ask is in `reads.rs`, how replicas come and go in `replicas.rs`.

mod turn;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use ringfort::commands::registry;
use ringfort::durability::wal::RecordPosition;
use ringfort::durability::{SharedDisk, SimDisk, StateKeeper, Wal};
use ringfort::node::outbox::{Target, Waiter};
use ringfort::node::shard::{Asked, Replies, Shard};
use ringfort::protocol::{Args, OwnedArgs};
use ringfort_cluster::replica::wire::{judge, Envelope, Mine, Verdict};
use ringfort_cluster::replica::Message;
use ringfort_cluster::topology::META_GROUP;
use ringfort_cluster::{
    Epoch, Index, MetaCommand, Monotonic, NodeId, Outputs, ReplicaId, ShardId, Term,
};

use crate::context::{Context, Event};
use crate::plan::Bug;
use crate::reads::Held;
use crate::snapshots::{self, Capture};

/// Of how many ticks of a replica one brings the word that its leader is gone.
const TICKS_BETWEEN_RUMOURS: u64 = 20;

/// Why a process is no more.
#[derive(Debug)]
pub enum Ended {
    /// The disk failed it, or it was meant to die in this call.
    Died,
    /// Something happened that must not happen.
    Violation(String),
}

impl From<String> for Ended {
    fn from(violation: String) -> Self {
        Self::Violation(violation)
    }
}

/// The process stops over any error of the disk: it has promised what is not there.
pub fn died<E>(_error: E) -> Ended {
    Ended::Died
}

/// One shard of a worker.
pub struct Place {
    pub shard: Shard,
    /// The term in which it leads, as far as the driver has seen.
    leads: Option<Term>,
    /// The replica waits for `persisted`.
    is_writing: bool,
    /// The snapshot that was taken in with what is being written.
    taken_in: Option<Index>,
    pub capture: Option<Capture>,
    /// Reads that wait for a lease.
    pub waiting: Vec<Held>,
    /// The end of a lease that was given up (a deliberate bug).
    pub kept_lease: Option<Monotonic>,
}

impl Place {
    pub fn new(shard: Shard) -> Self {
        Self {
            shard,
            leads: None,
            is_writing: false,
            taken_in: None,
            capture: None,
            waiting: Vec::new(),
            kept_lease: None,
        }
    }

    /// The replica is no more.
    pub fn vacate(&mut self) {
        (self.leads, self.taken_in, self.capture) = (None, None, None);
        self.is_writing = false;
        self.kept_lease = None;
    }

    /// The node of a replica of this group, as far as is known.
    fn node_of(&self, replica: ReplicaId) -> Option<NodeId> {
        let nodes = self.shard.standing.nodes.iter();
        let known = nodes.clone().find(|(id, _)| *id == replica);
        known.map(|(_, node)| *node)
    }

    /// Puts messages on their way to the nodes of their receivers.
    fn post(&mut self, home: &Home, messages: &mut Vec<Message>, context: &mut Context) {
        for message in messages.drain(..) {
            self.post_one(home, message, context);
        }
    }

    pub fn post_one(&mut self, home: &Home, message: Message, context: &mut Context) {
        let replica = &mut self.shard.replica;
        let envelope = Envelope {
            shard: replica.shard(),
            epoch: replica.epoch(),
            from: ReplicaId(message.from),
            to: ReplicaId(message.to),
        };
        match self.node_of(envelope.to) {
            Some(node) => context.send((home.id, node), envelope, message),
            None => self.shard.replica.unreachable(envelope.to),
        }
    }
}

/// Who a worker is, and on what disk.
#[derive(Clone)]
pub struct Home {
    pub node: usize,
    pub id: NodeId,
    /// What the node is in its cluster, durably.
    pub state: Arc<StateKeeper>,
    pub life: u64,
    pub sim: SimDisk,
    pub disk: SharedDisk,
    pub hash_seed: u64,
    /// Up to where the durable snapshots of all shards of the node reach.
    pub covered: Rc<RefCell<BTreeMap<ShardId, Index>>>,
}

/// The shards of one worker and their log.
pub struct Worker {
    pub number: usize,
    pub places: Vec<Place>,
    pub wal: Wal,
    pub home: Home,
    /// Of the topology that it has taken up.
    pub topology_epoch: Epoch,
    /// The disk has failed it.
    pub is_dead: bool,
    outputs: Outputs,
    is_writing: bool,
    /// The record is to be written only when the disk is done (a deliberate bug).
    write_late: bool,
    /// `persisted` was said before its time (a deliberate bug).
    said_early: bool,
    turn_planned: bool,
    /// Where the last record stands that must be found after a crash.
    pub last_record: Option<RecordPosition>,
    /// How long the disk takes, beyond its usual time.
    pub slowness_us: u64,
}

/// Collects the answers of a turn.
#[derive(Default)]
pub struct Answers(Vec<(u32, u32, Vec<u8>)>);

impl Replies for Answers {
    fn reply(&mut self, asked: &Asked, _args: &Args, reply: &[u8]) {
        if let Waiter::Client { conn, uses, .. } = asked.target.waiter {
            self.0.push((conn, uses, reply.to_vec()));
        }
    }
}

impl Answers {
    pub fn put(&mut self, op: u32, attempt: u32, answer: Vec<u8>) {
        self.0.push((op, attempt, answer));
    }

    /// Sends the answers on their way to the clients.
    pub fn send(self, context: &mut Context) {
        for (op, attempt, answer) in self.0 {
            let at = context.now() + context.network.delay();
            let answer = Event::Answer {
                op,
                attempt,
                answer,
            };
            context.agenda.at(at, answer);
        }
    }
}

impl Worker {
    pub fn new(number: usize, places: Vec<Place>, wal: Wal, home: Home) -> Self {
        Self {
            number,
            places,
            wal,
            home,
            topology_epoch: Epoch::ZERO,
            is_dead: false,
            outputs: Outputs::default(),
            is_writing: false,
            write_late: false,
            said_early: false,
            turn_planned: false,
            last_record: None,
            slowness_us: 0,
        }
    }

    pub fn place(&mut self, shard: ShardId) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| place.shard.id == shard)
    }

    /// Whether a group has its place here, held or not.
    pub fn has(&self, group: ShardId) -> bool {
        let mut places = self.places.iter();
        places.any(|place| place.shard.replica.shard() == group)
    }

    /// Proposes to the meta group, which is led here.
    pub fn propose_meta(&mut self, command: &MetaCommand, context: &mut Context) {
        let meta = |place: &&mut Place| place.shard.replica.shard() == META_GROUP;
        let (Some(place), Ok(encoded)) = (self.places.iter_mut().find(meta), command.encode())
        else {
            return;
        };
        let args = OwnedArgs::new([&b"RF.META"[..], &encoded]);
        let command = registry().find(b"RF.META").expect("the table has it");
        let shard = &mut place.shard;
        let asked = shard.ask_write(0, &args.as_args(), command, None, Target::NOBODY);
        asked.expect("room for a command");
        self.wake(context);
    }

    /// Has the worker's turn come soon.
    pub fn wake(&mut self, context: &mut Context) {
        if !std::mem::replace(&mut self.turn_planned, true) {
            let (node, life) = (self.home.node, self.home.life);
            let worker = self.number;
            context.agenda.after(5, Event::Turn { node, life, worker });
        }
    }

    /// Whether a turn is between its halves.
    pub fn is_writing(&self) -> bool {
        self.is_writing
    }

    pub fn tick(&mut self, now: Monotonic, context: &mut Context) -> Result<(), Ended> {
        if self.is_dead {
            return Err(Ended::Died);
        }
        for at in 0..self.places.len() {
            let shard = &mut self.places[at].shard;
            if shard.standing.is_held {
                if context.plan.has_rumours && context.rng.one_in(TICKS_BETWEEN_RUMOURS) {
                    if let Some(leader) = shard.replica.leader() {
                        shard.replica.note_gone(leader);
                    }
                }
                shard.replica.tick(now);
                self.look_at_leadership(at, context)?;
            }
        }
        snapshots::carry_on(self, &self.home.clone(), context)?;
        self.retry_waiting(now, context);
        self.wake(context);
        Ok(())
    }

    /// Takes in a message that a node has sent to a replica.
    pub fn step(
        &mut self,
        from: NodeId,
        envelope: Envelope,
        message: Message,
        now: Monotonic,
        context: &mut Context,
    ) -> Result<(), Ended> {
        let of_group = |place: &Place| place.shard.replica.shard() == envelope.shard;
        let Some(at) = self.places.iter().position(of_group) else {
            return Ok(());
        };
        let place = &mut self.places[at];
        let shard = &mut place.shard;
        let mine = shard.standing.is_held.then(|| Mine {
            id: shard.replica.id(),
            membership: &shard.membership,
        });
        let tombstone = match mine {
            Some(_) => None,
            None => self.home.state.tombstone(envelope.shard),
        };
        match judge(&envelope, &message, mine, tombstone) {
            Verdict::Deliver => {}
            // Which replicas belong here the topology says, and that comes with the next report.
            _ => {
                context.strays += 1;
                return Ok(());
            }
        }
        // A newcomer hears of the others by their messages before the topology names them.
        if place.node_of(envelope.from).is_none() {
            place.shard.standing.nodes.push((envelope.from, from));
        }
        place.shard.replica.step(message, now);
        self.look_at_leadership(at, context)?;
        self.wake(context);
        Ok(())
    }

    /// Notices that a replica has become the leader or is none any more: nobody else can answer for what it proposed.
    pub fn look_at_leadership(&mut self, at: usize, context: &mut Context) -> Result<(), Ended> {
        let place = &mut self.places[at];
        let replica = &place.shard.replica;
        let term = replica.is_leader().then(|| replica.term());
        let leads =
            term.is_some() && replica.has_applied_own_term() && replica.transferring_to().is_none();
        let led = std::mem::replace(&mut place.shard.standing.leads, leads);
        let mut answers = Answers::default();
        if place.leads != term {
            self.leadership_changed(at, term, &mut answers, context)?;
        }
        let place = &mut self.places[at];
        if led && !leads {
            let text = b"-TRYAGAIN the leader has changed\r\n";
            place.shard.refuse(text, &mut answers);
            place.refuse_waiting(text, &mut answers);
        }
        answers.send(context);
        Ok(())
    }

    fn leadership_changed(
        &mut self,
        at: usize,
        term: Option<Term>,
        answers: &mut Answers,
        context: &mut Context,
    ) -> Result<(), Ended> {
        let place = &mut self.places[at];
        let (node, shard, replica) = (self.home.node, place.shard.id, place.shard.replica.id());
        if let Some(term) = term {
            context.oracle.leads(shard, term, replica)?;
            context.tell(|| format!("node {node} leads shard {shard} in term {term}"));
        }
        let had = std::mem::replace(&mut place.leads, term);
        if had.is_some() && !context.has_bug(Bug::WaitersKept) {
            let text: &[u8] = match context.has_bug(Bug::UnknownToldAsFailed) {
                true => b"-TRYAGAIN the leader is lost\r\n",
                false => b"-UNKNOWN the leader is lost\r\n",
            };
            place.shard.abandon(text, answers);
        }
        if term.is_some() && context.has_bug(Bug::StampGoesBack) {
            snapshots::forget_clock(place, self.home.hash_seed);
        }
        Ok(())
    }
}

/// The number of a transfer, as the announcement carries it.
pub fn transfer_number(data: &Bytes) -> usize {
    let bytes: [u8; 8] = data.as_ref().try_into().expect("eight bytes");
    u64::from_le_bytes(bytes) as usize
}
