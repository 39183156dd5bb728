//! What a worker answers through: the outboxes of its connections, the collectors of spread commands, and the
//! batches for other workers. Apart from [`super::Worker`] so that a shard can be applied while replies flow.

use std::sync::Arc;

use ringfort_cluster::replica::wire::Packet;
use ringfort_cluster::NodeId;

use crate::commands::histogram::FIRST_NS;
use crate::commands::Registered;
use crate::protocol::{Args, OwnedArgs};

use super::clients::Client;
use super::fan::Collector;
use super::outbox::{Outbox, Seq, Target, Waiter};
use super::shard::{Asked, Replies};
use super::slowlog::Slow;
use super::stats::WorkerStats;
use super::worker::Worker;

/// A connection's place in its worker's slab. `uses` tells it from earlier ones at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnKey {
    pub place: u32,
    pub uses: u32,
}

/// What one worker tells another. All messages of a turn travel as one batch.
pub enum Message {
    /// Run a command on a shard of yours.
    Run(Forwarded),
    /// The reply of a command that you forwarded.
    Done { waiter: Waiter, reply: Vec<u8> },
    /// A message between replicas, for a shard of yours.
    Raft(NodeId, Box<Packet>),
    /// Anything rare.
    Task(Box<dyn FnOnce(&mut Worker) + Send>),
}

/// A command that another worker's connection asked.
pub struct Forwarded {
    pub shard: u16,
    pub database: u16,
    pub command: &'static Registered,
    pub target: Target,
    pub args: OwnedArgs,
}

/// Takes a reply within this process.
pub type Callback = Box<dyn FnOnce(&[u8]) + Send>;

/// The slab of outboxes and what else replies pass through.
pub struct Io {
    pub worker: u16,
    /// Of the connection whose command is dispatched: its looks leave no mark of use (CLIENT NO-TOUCH).
    pub untouched: bool,
    /// Of that connection too: commands over all keys mean those that this node leads (the cluster port).
    pub led_only: bool,
    outboxes: Vec<Place>,
    free: Vec<u32>,
    /// Connections whose outbox has something to send since the server last looked.
    pub touched: Vec<ConnKey>,
    collectors: Vec<Option<Collector>>,
    free_collectors: Vec<u32>,
    /// Messages of this turn, by worker.
    pub outgoing: Vec<Vec<Message>>,
    /// Replies for other nodes: who asked, the request, the reply.
    pub(super) remote: Vec<(u16, u64, Vec<u8>)>,
    callbacks: Vec<Option<Callback>>,
    pub stats: Arc<WorkerStats>,
    pub(super) ticks: quanta::Clock,
    /// When the last command ended, or what came before the next one: reading of `ticks`.
    since: u64,
    pub slow: Slow,
    brief: Brief,
}

/// Commands of one kind that ran one upon the other, each for no longer than [`FIRST_NS`]: what is counted of them is the same
/// whether it is written down one by one or together.
#[derive(Default)]
struct Brief {
    /// The command's id.
    command: usize,
    calls: u64,
    /// All together.
    ticks: u64,
    /// The longest that one may take; none is brief where it is 0.
    ticks_max: u64,
}

#[derive(Default)]
struct Place {
    uses: u32,
    outbox: Option<Outbox>,
    client: Option<Arc<Client>>,
    is_touched: bool,
}

impl Io {
    pub fn new(worker: u16, workers: u16, stats: Arc<WorkerStats>, slow: Slow) -> Self {
        Self {
            worker,
            untouched: false,
            led_only: false,
            outboxes: Vec::new(),
            free: Vec::new(),
            touched: Vec::new(),
            collectors: Vec::new(),
            free_collectors: Vec::new(),
            outgoing: (0..workers).map(|_| Vec::new()).collect(),
            remote: Vec::new(),
            callbacks: Vec::new(),
            stats,
            ticks: quanta::Clock::new(),
            since: 0,
            slow,
            brief: Brief::default(),
        }
    }

    /// Takes up what counts as slow.
    pub fn set_slow(&mut self, threshold_us: i64, len_max: usize, latency_ms: u64) {
        self.settle();
        (self.slow.threshold_us, self.slow.len_max) = (threshold_us, len_max);
        self.slow.latency_ms = latency_ms;
        self.brief.ticks_max = match self.slow.is_slow(FIRST_NS) {
            true => 0,
            false => self.ticks_of(FIRST_NS),
        };
    }

    /// So many ticks take no longer than `nanos`.
    fn ticks_of(&self, nanos: u64) -> u64 {
        const MANY: u64 = 1 << 24;
        let many_nanos = self.ticks.delta_as_nanos(0, MANY).max(1);
        (nanos * MANY / many_nanos).saturating_sub(1)
    }

    /// A place for a new connection.
    pub fn open(&mut self, client: Arc<Client>) -> ConnKey {
        let place = self.free.pop().unwrap_or_else(|| {
            self.outboxes.push(Place::default());
            self.outboxes.len() as u32 - 1
        });
        let slot = &mut self.outboxes[place as usize];
        slot.uses += 1;
        slot.outbox = Some(Outbox::default());
        slot.is_touched = false;
        slot.client = Some(client);
        ConnKey {
            place,
            uses: slot.uses,
        }
    }

    /// Gives the place back; replies that are still under way to it are dropped.
    pub fn close(&mut self, conn: ConnKey) {
        let place = &mut self.outboxes[conn.place as usize];
        place.outbox = None;
        place.client = None;
        self.free.push(conn.place);
    }

    /// The outbox of an open connection.
    #[inline]
    pub fn outbox(&mut self, conn: ConnKey) -> &mut Outbox {
        self.outboxes[conn.place as usize]
            .outbox
            .as_mut()
            .expect("an open connection has an outbox")
    }

    /// The server has looked at this connection's outbox.
    pub fn seen(&mut self, conn: ConnKey) {
        self.outboxes[conn.place as usize].is_touched = false;
    }

    /// The target of a reply to a connection of this worker.
    #[inline(always)]
    pub fn target(&mut self, conn: ConnKey, proto: crate::protocol::Proto, wanted: bool) -> Target {
        let seq = self.outbox(conn).reserve(wanted);
        let waiter = Waiter::Client {
            conn: conn.place,
            uses: conn.uses,
            seq,
        };
        Target {
            worker: self.worker,
            waiter,
            proto,
            untouched: self.untouched,
        }
    }

    /// Opens a collector and returns its number.
    pub fn collect(&mut self, collector: Collector) -> u32 {
        match self.free_collectors.pop() {
            Some(number) => {
                self.collectors[number as usize] = Some(collector);
                number
            }
            None => {
                self.collectors.push(Some(collector));
                self.collectors.len() as u32 - 1
            }
        }
    }

    /// A target whose reply `call` gets, once.
    pub fn call_back(&mut self, call: Callback) -> Target {
        let free = self.callbacks.iter().position(Option::is_none);
        let number = free.unwrap_or_else(|| {
            self.callbacks.push(None);
            self.callbacks.len() - 1
        });
        self.callbacks[number] = Some(call);
        Target {
            worker: self.worker,
            waiter: Waiter::Callback(number as u32),
            ..Target::NOBODY
        }
    }

    /// Brings a reply to whoever waits for it, on this worker or another.
    #[inline]
    pub fn complete(&mut self, target: Target, reply: &[u8]) {
        if target.worker != self.worker && !matches!(target.waiter, Waiter::Nobody) {
            let done = Message::Done {
                waiter: target.waiter,
                reply: reply.to_vec(),
            };
            return self.outgoing[usize::from(target.worker)].push(done);
        }
        self.complete_here(target.waiter, reply);
    }

    /// As [`Io::complete`], for a waiter of this worker.
    #[inline]
    pub fn complete_here(&mut self, waiter: Waiter, reply: &[u8]) {
        match waiter {
            Waiter::Nobody => {}
            Waiter::Client { conn, uses, seq } => self.fill(conn, uses, seq, reply),
            Waiter::Remote { asker, request, .. } => {
                self.remote.push((asker, request, reply.to_vec()));
            }
            Waiter::Callback(number) => {
                if let Some(call) = self.callbacks[number as usize].take() {
                    call(reply);
                }
            }
            Waiter::Part { collector, part } => {
                let slot = &mut self.collectors[collector as usize];
                if slot.as_mut().expect("parts answer once").take(part, reply) {
                    let whole = slot.take().expect("just used");
                    self.free_collectors.push(collector);
                    let target = whole.target;
                    self.complete(target, &whole.finish());
                }
            }
        }
    }

    #[inline]
    fn fill(&mut self, conn: u32, uses: u32, seq: Seq, reply: &[u8]) {
        let place = &mut self.outboxes[conn as usize];
        if place.uses != uses {
            return;
        }
        if let Some(outbox) = &mut place.outbox {
            outbox.fill(seq, reply);
            self.touch(ConnKey { place: conn, uses });
        }
    }

    /// Has the server look at this connection's outbox when the turn ends.
    #[inline]
    pub fn touch(&mut self, conn: ConnKey) {
        let place = &mut self.outboxes[conn.place as usize];
        if !place.is_touched {
            place.is_touched = true;
            self.touched.push(conn);
        }
    }

    /// The next command begins now, not where the last one ended. Gives the reading of `ticks`.
    #[inline]
    pub fn start_clock(&mut self) -> u64 {
        self.since = self.ticks.raw();
        self.since
    }

    /// The last reading of `ticks`: when a step began, or a command ended.
    #[inline]
    pub fn last_reading(&self) -> u64 {
        self.since
    }

    /// Counts a command that has just run. Commands follow one upon the other, so the end of one is the beginning of the next,
    /// and the clock is read once a command.
    #[inline]
    pub fn count(
        &mut self,
        command: &Registered,
        args: &Args,
        reply: &[u8],
        client: Option<(u16, u32)>,
    ) {
        self.count_calls(command, args, reply, client, 1);
    }

    /// As [`Io::count`]; `calls` is 0 for a part of a command that another part stands for.
    #[inline]
    fn count_calls(
        &mut self,
        command: &Registered,
        args: &Args,
        reply: &[u8],
        client: Option<(u16, u32)>,
        calls: u64,
    ) {
        let ended = self.ticks.raw();
        let ticks = ended.saturating_sub(self.since);
        self.since = ended;
        if ticks > self.brief.ticks_max || reply.first() == Some(&b'-') {
            return self.count_alone(command, args, reply, client, (calls, ticks));
        }
        if self.brief.command != command.id {
            self.settle();
            self.brief.command = command.id;
        }
        self.brief.calls += calls;
        self.brief.ticks += ticks;
    }

    #[inline(never)]
    fn count_alone(
        &mut self,
        command: &Registered,
        args: &Args,
        reply: &[u8],
        client: Option<(u16, u32)>,
        (calls, ticks): (u64, u64),
    ) {
        let nanos = self.ticks.delta_as_nanos(0, ticks);
        self.stats.called_often(command.id, calls, nanos);
        if reply.first() == Some(&b'-') {
            self.stats.failed(command.id);
            self.stats.error_reply(&reply[1..]);
        }
        if self.slow.is_slow(nanos) {
            let client = client.and_then(|(worker, place)| match worker == self.worker {
                true => self.outboxes[place as usize].client.clone(),
                false => self.slow.client_at(worker, place),
            });
            self.slow.note(command, args, nanos, client.as_deref());
        }
    }

    /// Writes down what is counted and not yet written: before anybody looks, and when a turn ends.
    pub fn settle(&mut self) {
        let (calls, ticks) = (
            std::mem::take(&mut self.brief.calls),
            std::mem::take(&mut self.brief.ticks),
        );
        if calls + ticks > 0 {
            let nanos = self.ticks.delta_as_nanos(0, ticks);
            self.stats.called_often(self.brief.command, calls, nanos);
        }
    }
}

impl Replies for Io {
    #[inline]
    fn reply(&mut self, asked: &Asked, args: &Args, reply: &[u8]) {
        let (client, calls) = match asked.target.waiter {
            Waiter::Client { conn, .. } => (Some((asked.target.worker, conn)), 1),
            // A command over several shards is one call, which its first part stands for.
            Waiter::Part { part, .. } => (None, u64::from(part == 0)),
            _ => (None, 1),
        };
        self.count_calls(asked.command, args, reply, client, calls);
        self.complete(asked.target, reply);
    }

    fn answered(&mut self, asked_at: u64, writes: usize) {
        let took = self.ticks.delta_as_nanos(asked_at, self.since);
        self.stats.write_times.answered(writes as u64, took);
    }
}
