//! Drives the shards of one worker as production does: ready, send, write one record for all shards, sync as the mode asks,
//! persisted, apply, answer. Between write and `persisted` simulated time passes, and the world goes on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use ringfort::commands::{registry, Run};
use ringfort::durability::wal::{record_bytes, Purpose, RecordPosition};
use ringfort::durability::{DurabilityMode, SharedDisk, SimDisk, Wal};
use ringfort::node::outbox::{Seq, Target, Waiter};
use ringfort::node::shard::{Asked, Replies, Shard};
use ringfort::protocol::{Args, OwnedArgs, Proto};
use ringfort::store::Timestamp;
use ringfort_cluster::replica::{EntryKind, Message};
use ringfort_cluster::{Index, Monotonic, Outputs, ReplicaId, ShardId, Term};

use crate::context::{Context, Event};
use crate::plan::{Bug, MILLISECOND};
use crate::snapshots::{self, Capture};

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
}

impl Place {
    pub fn new(shard: Shard) -> Self {
        Self {
            shard,
            leads: None,
            is_writing: false,
            taken_in: None,
            capture: None,
        }
    }
}

/// Who a worker is, and on what disk.
#[derive(Clone)]
pub struct Home {
    pub node: usize,
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
    home: Home,
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

/// What a client asks of a shard.
pub struct Question<'a> {
    pub op: u32,
    pub attempt: u32,
    pub args: &'a OwnedArgs,
    pub shard: ShardId,
}

impl Worker {
    pub fn new(number: usize, places: Vec<Place>, wal: Wal, home: Home) -> Self {
        Self {
            number,
            places,
            wal,
            home,
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

    /// Has the worker's turn come soon.
    pub fn wake(&mut self, context: &mut Context) {
        if !std::mem::replace(&mut self.turn_planned, true) {
            let (node, life) = (self.home.node, self.home.life);
            let worker = self.number;
            context.agenda.after(5, Event::Turn { node, life, worker });
        }
    }

    pub fn tick(&mut self, now: Monotonic, context: &mut Context) -> Result<(), Ended> {
        for at in 0..self.places.len() {
            let replica = &mut self.places[at].shard.replica;
            replica.tick(now);
            let key = (replica.id(), replica.shard());
            context.committed.insert(key, replica.committed());
            self.look_at_leadership(at, context)?;
        }
        snapshots::carry_on(self, &self.home.clone(), context)?;
        self.wake(context);
        Ok(())
    }

    pub fn step(
        &mut self,
        shard: ShardId,
        message: Message,
        now: Monotonic,
        context: &mut Context,
    ) -> Result<(), Ended> {
        let Some(at) = self.places.iter().position(|place| place.shard.id == shard) else {
            return Ok(());
        };
        self.places[at].shard.replica.step(message, now);
        self.look_at_leadership(at, context)?;
        self.wake(context);
        Ok(())
    }

    /// Takes a client's command; what cannot be taken is answered at once.
    pub fn ask(&mut self, question: &Question, now: Timestamp, context: &mut Context) {
        let bug = context.plan.bug;
        let Some(place) = self.place(question.shard) else {
            return;
        };
        let target = Target {
            worker: 0,
            waiter: Waiter::Client {
                conn: question.op,
                uses: question.attempt,
                seq: Seq(0),
            },
            proto: Proto::Resp2,
            untouched: false,
        };
        let args = question.args.as_args();
        let command = registry().find(args.at(0)).expect("a known command");
        let is_read = matches!(command.command.run, Run::Read(_));
        let mut answers = Answers::default();
        // Invariant 2: who has not applied an entry of its own term does not know the last stamp of its log.
        let too_early = bug == Some(Bug::ProposesTooEarly) && place.shard.replica.is_leader();
        let replica = &place.shard.replica;
        let leads = replica.is_leader() && replica.has_applied_own_term() || too_early;
        let reads_here = is_read
            && (bug == Some(Bug::ReadFromFollower) || bug == Some(Bug::ReadWithoutLease) && leads);
        if reads_here {
            let mut reply = Vec::new();
            let call = place.shard.read_call(args, 0, now, 0, Proto::Resp2);
            place.shard.read(command, &call, &mut reply);
            answers.0.push((question.op, question.attempt, reply));
        } else if !leads {
            let hint = place.shard.replica.leader().map_or(0, ReplicaId::get);
            let text = format!("-NOTLEADER {hint}\r\n");
            answers
                .0
                .push((question.op, question.attempt, text.into_bytes()));
        } else {
            if is_read {
                // Through the log: the read runs where this write is applied.
                let fence = OwnedArgs::new([&b"DEL"[..], b"fence"]);
                let del = registry().find(b"DEL").expect("a known command");
                let fence = fence.as_args();
                let asked = place.shard.ask_write(0, &fence, del, None, Target::NOBODY);
                asked.expect("room for a fence");
                let asked = place.shard.ask_read(0, &args, command, target);
                asked.expect("room for a read");
            } else {
                let asked = place.shard.ask_write(0, &args, command, None, target);
                asked.expect("room for a write");
            }
            if bug == Some(Bug::ReplyBeforeCommit) && args.at(0) == b"SET" {
                let ok = b"+OK\r\n".to_vec();
                answers.0.push((question.op, question.attempt, ok));
            }
        }
        answers.send(context);
        self.wake(context);
    }

    /// The first half of a turn: what the replicas want sent is sent, what they want written is written.
    pub fn turn(&mut self, now: Timestamp, context: &mut Context) -> Result<(), Ended> {
        self.turn_planned = false;
        if self.is_writing {
            return Ok(());
        }
        self.propose(now, context)?;
        self.wal.begin();
        let mut is_active = false;
        for at in 0..self.places.len() {
            is_active |= self.collect(at, context)?;
        }
        if !is_active {
            return Ok(());
        }
        let has_record = !self.wal.is_record_empty();
        let always = context.plan.mode == DurabilityMode::Always;
        self.write_late = has_record && context.has_bug(Bug::AnswerBeforeWrite);
        if has_record && !self.write_late {
            self.last_record = Some(self.wal.write().map_err(died)?);
        }
        self.is_writing = true;
        self.said_early =
            self.write_late || has_record && always && context.has_bug(Bug::AnswerBeforeSync);
        if self.said_early {
            self.persisted(context)?;
        }
        let mut delay = 10;
        if has_record {
            delay += match always {
                true => context.rng.between(50, 400) + self.slowness_us,
                false => context.rng.between(5, 20) + self.slowness_us / 10,
            };
        }
        if self.said_early {
            delay += context.rng.below(3 * MILLISECOND);
        }
        let (node, life, worker) = (self.home.node, self.home.life, self.number);
        context
            .agenda
            .after(delay, Event::Written { node, life, worker });
        Ok(())
    }

    /// The second half: what was written counts, what is committed is applied and answered.
    pub fn written(&mut self, context: &mut Context) -> Result<(), Ended> {
        if self.write_late {
            self.last_record = Some(self.wal.write().map_err(died)?);
        }
        if context.plan.mode == DurabilityMode::Always {
            self.wal.sync().map_err(died)?;
        }
        if !self.said_early {
            self.persisted(context)?;
        }
        self.is_writing = false;
        self.wake(context);
        Ok(())
    }

    pub fn sync(&mut self) -> Result<(), Ended> {
        self.wal.sync().map(drop).map_err(died)
    }

    /// Every shard's pending commands become one entry, if the log has room for all of them.
    fn propose(&mut self, now: Timestamp, context: &mut Context) -> Result<(), Ended> {
        let writing: Vec<usize> = (0..self.places.len())
            .filter(|&at| self.places[at].shard.has_writes())
            .collect();
        if writing.is_empty() {
            return Ok(());
        }
        let bytes = writing
            .iter()
            .map(|&at| self.places[at].shard.pending_bytes());
        let bytes = record_bytes(2 * writing.len(), writing.len(), bytes.sum());
        let reserved = self.wal.reserve(bytes, Purpose::Grows);
        let mut answers = Answers::default();
        for at in writing {
            let shard = &mut self.places[at].shard;
            match &reserved {
                Ok(()) => shard.propose(now, context.rng.next_u64(), &mut answers),
                Err(error) if error.is_full() => {
                    shard.refuse(b"-MISCONF the disk is full\r\n", &mut answers);
                }
                Err(_) => return Err(Ended::Died),
            }
        }
        answers.send(context);
        Ok(())
    }

    /// Puts what one replica wants written into the record; false when it wants nothing.
    fn collect(&mut self, at: usize, context: &mut Context) -> Result<bool, Ended> {
        let mut outputs = std::mem::take(&mut self.outputs);
        let place = &mut self.places[at];
        place.is_writing = place.shard.replica.ready(&mut outputs);
        let id = place.shard.id;
        if place.is_writing {
            for message in outputs.messages.drain(..) {
                context.send(self.home.node, id, message);
            }
            snapshots::send(place, &mut outputs, self.home.node, context);
            if let Some(snapshot) = outputs.snapshot.take() {
                snapshots::take_in(place, &snapshot, &self.home, context)?;
                place.taken_in = Some(snapshot.index);
            }
            let commit = place.shard.replica.known_commit_if_persisted();
            for entry in &outputs.entries {
                self.wal.push(id, commit, entry);
            }
            if let Some(state) = outputs.hard_state {
                if !context.has_bug(Bug::VoteNotWritten) {
                    self.wal.push_hard_state(id, state);
                }
            }
        }
        let is_active = place.is_writing;
        self.outputs = outputs;
        Ok(is_active)
    }

    fn persisted(&mut self, context: &mut Context) -> Result<(), Ended> {
        for at in 0..self.places.len() {
            if std::mem::take(&mut self.places[at].is_writing) {
                self.finish(at, context)?;
                self.look_at_leadership(at, context)?;
            }
        }
        Ok(())
    }

    /// One replica's write is done.
    fn finish(&mut self, at: usize, context: &mut Context) -> Result<(), Ended> {
        let place = &mut self.places[at];
        place.shard.replica.persisted(&mut self.outputs);
        let id = place.shard.id;
        for message in self.outputs.messages.drain(..) {
            context.send(self.home.node, id, message);
        }
        if let Some(index) = place.taken_in.take() {
            place.shard.replica.applied(index);
        }
        let mut answers = Answers::default();
        for entry in &self.outputs.committed {
            let asked = answers.0.len();
            place.shard.apply(entry, &mut answers);
            context.oracle.applied(entry, &place.shard)?;
            context.note(entry.index.get() ^ entry.term.get() << 32);
            if answers.0.len() > asked && entry.kind == EntryKind::Commands {
                context.oracle.acknowledged(id, entry.index);
            }
        }
        if let Some(last) = self.outputs.committed.last() {
            place.shard.replica.applied(last.index);
        }
        answers.send(context);
        Ok(())
    }

    /// Notices that a replica has become the leader or is none any more: nobody else can answer for what it proposed.
    fn look_at_leadership(&mut self, at: usize, context: &mut Context) -> Result<(), Ended> {
        let place = &mut self.places[at];
        let replica = &place.shard.replica;
        let leads = replica.is_leader().then(|| replica.term());
        if leads == place.leads {
            return Ok(());
        }
        if let Some(term) = leads {
            context.oracle.leads(place.shard.id, term, replica.id())?;
            let (node, shard) = (self.home.node, place.shard.id);
            context.tell(|| format!("node {node} leads shard {shard} in term {term}"));
        }
        let had = std::mem::replace(&mut place.leads, leads);
        if had.is_some() && !context.has_bug(Bug::WaitersKept) {
            let text: &[u8] = match context.has_bug(Bug::UnknownToldAsFailed) {
                true => b"-TRYAGAIN the leader is lost\r\n",
                false => b"-UNKNOWN the leader is lost\r\n",
            };
            let mut answers = Answers::default();
            place.shard.abandon(text, &mut answers);
            answers.send(context);
        }
        if leads.is_some() && context.has_bug(Bug::StampGoesBack) {
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
