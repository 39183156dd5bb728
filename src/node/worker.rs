//! One worker: a thread's share of the shards and connections. Ends each turn with one log record for all its
//! shards (DESIGN 5). Knows no sockets.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ringfort_cluster::{Epoch, Monotonic, Outputs, ShardMap};

use crate::durability::wal::{record_bytes, Purpose, Wal, WalError};
use crate::settings::LiveView;
use crate::store::{HashSeed, Rng, Timestamp};

use super::catch_up::{Received, WantedSnapshot};
use super::cycle::ExpireAt;
use super::digests::Digests;
use super::follower_reads::FollowerReads;
use super::forward::Forwarding;
use super::handover::Leaving;
use super::host::NodeHost;
use super::io::{ConnKey, Io, Message};
use super::look_ahead::Step;
use super::outward::Outward;
use super::rounds::Rounds;
use super::shard::Shard;
use super::snapshots::Snapshots;
use super::tidying::Tidying;
use super::view::ViewReader;
use super::Shared;

/// Bytes of entries that may wait for the end of the turn before the turn is ended early.
pub const TURN_BYTES_MAX: usize = 4 << 20;
/// Messages for other nodes that are longer than this, in bytes, leave before the node writes its own log.
const EARLY_BYTES: usize = 16 << 10;

/// The operator hears of a disk that holds clients up for longer, in nanoseconds.
const SLOW_DISK_NS: u64 = 250_000_000;

/// How old a reading of the wall clock may be: a part of the millisecond in which it counts.
const CLOCK_STEP_NS: u64 = 200_000;

/// One worker of the node.
pub struct Worker {
    pub number: u16,
    pub workers: u16,
    pub map: ShardMap,
    /// Shard `s` of this worker stands at `s / workers`.
    pub shards: Vec<Shard>,
    /// Where each shard of the node lives.
    homes: Vec<Home>,
    /// Of all keyspaces of the node.
    pub(super) hash_seed: HashSeed,
    pub io: Io,
    pub host: NodeHost,
    pub shared: Arc<Shared>,
    pub live: LiveView,
    pub(super) view: ViewReader,
    pub(super) wal: Option<Wal>,
    /// `--durability always`: sync before anything is acknowledged.
    pub(super) sync_always: bool,
    pub(super) snapshots: Snapshots,
    pub(super) digests: Digests,
    pub(super) rng: Rng,
    /// The clock as of the beginning of the current step.
    now: Timestamp,
    /// When the system was asked for it: reading of `Io::ticks`.
    clock_read_at: u64,
    /// Shards (by their place in `shards`) with something waiting for the end of the turn.
    dirty: Vec<usize>,
    pub(super) turn_bytes: usize,
    /// Whether a command of the turn may make the data grow.
    turn_grows: bool,
    pub(super) outputs: Outputs,
    /// Replicas that time or a message has moved, by their place.
    pub(super) stirred: Vec<usize>,
    pub(super) rounds: Rounds,
    /// How often the cycle has run.
    pub(super) cycles: u32,
    /// The log has room for what leaders send.
    pub(super) may_follow: bool,
    /// The node's monotonic clock, when the wall clock was read.
    monotonic: Monotonic,
    /// How other nodes are spoken to; none where there is no peer port.
    pub(super) peers: Option<Outward>,
    pub(super) forwarding: Forwarding,
    pub(super) follower_reads: FollowerReads,
    /// Set when the node goes down.
    pub(super) leaving: Option<Leaving>,
    /// For the server.
    pub snapshots_wanted: Vec<WantedSnapshot>,
    pub(super) received: Vec<Received>,
    /// What ended replicas have left.
    pub(super) tidying: Vec<Tidying>,
    /// Counts the snapshots that have come.
    pub(super) tokens: u64,
    /// A replica here has become a leader or is one no more: others should hear of it.
    pub leadership_changed: bool,
    /// Of the topology that was taken up.
    pub(super) topology_epoch: Epoch,
    /// The cluster has put this node out.
    pub(super) is_removed: bool,
    /// When it was last told that the topology could not be followed.
    pub(super) topology_complained: Option<Monotonic>,
    /// What was heard of does not fit the topology that this node knows.
    pub topology_wanted: bool,
    /// The server is asked to call [`Worker::flush`] when this was false and becomes true.
    pub flush_wanted: bool,
    /// Why writes are refused at the moment, if they are: a full disk.
    pub(super) write_error: Option<String>,
    pub(super) expire_at: ExpireAt,
    /// While this is set the turn is not ended early: its commands belong into one record.
    pub(super) hold_turn: bool,
    /// Connections that CLIENT KILL asked to close; the server takes them.
    pub kills: Vec<ConnKey>,
}

/// What [`Worker::new`] is made from.
pub struct Parts {
    pub number: u16,
    pub workers: u16,
    pub map: ShardMap,
    pub shards: Vec<Shard>,
    pub io: Io,
    pub shared: Arc<Shared>,
    pub live: LiveView,
    pub wal: Option<Wal>,
    pub sync_always: bool,
    pub snapshots: Snapshots,
    pub seed: u64,
}

impl Worker {
    fn new(parts: Parts) -> Self {
        let host = NodeHost::new(parts.shared.clone(), parts.number);
        Self {
            number: parts.number,
            workers: parts.workers,
            map: parts.map,
            homes: homes(&parts.map, parts.workers),
            hash_seed: parts
                .shards
                .first()
                .map_or_else(HashSeed::default, |shard| shard.databases.seed()),
            shards: parts.shards,
            io: parts.io,
            host,
            view: ViewReader::new(&parts.shared.view),
            shared: parts.shared,
            live: parts.live,
            wal: parts.wal,
            sync_always: parts.sync_always,
            snapshots: parts.snapshots,
            digests: Digests::default(),
            rng: Rng::new(parts.seed),
            now: wall_clock(),
            clock_read_at: 0,
            dirty: Vec::new(),
            turn_bytes: 0,
            turn_grows: false,
            outputs: Outputs::default(),
            stirred: Vec::new(),
            rounds: Rounds::default(),
            cycles: 0,
            may_follow: true,
            monotonic: monotonic_clock(),
            peers: None,
            forwarding: Forwarding::new(parts.seed),
            follower_reads: FollowerReads::default(),
            leaving: None,
            snapshots_wanted: Vec::new(),
            received: Vec::new(),
            tidying: Vec::new(),
            tokens: 0,
            leadership_changed: false,
            topology_epoch: Epoch::ZERO,
            is_removed: false,
            topology_complained: None,
            topology_wanted: false,
            flush_wanted: false,
            write_error: None,
            expire_at: ExpireAt::default(),
            hold_turn: false,
            kills: Vec::new(),
        }
    }

    /// Reads the clock; to be called at the beginning of each step, so that one step has one time. The system is asked when
    /// enough time has gone by to matter in milliseconds; the counter that says so costs a third of asking.
    #[inline]
    pub fn refresh_clock(&mut self) -> Timestamp {
        let ticks = self.io.start_clock();
        let since = self.io.ticks.delta_as_nanos(self.clock_read_at, ticks);
        if since > CLOCK_STEP_NS {
            self.now = wall_clock();
            self.monotonic = monotonic_clock();
            self.clock_read_at = ticks;
        }
        self.now
    }

    /// A moment that is not before this step began: what a lease may be judged by.
    #[inline]
    pub(super) fn monotonic(&self) -> Monotonic {
        self.monotonic.plus_us(CLOCK_STEP_NS / 1000)
    }

    /// Reads the monotonic clock, for messages and ticks.
    pub(super) fn refresh_monotonic(&mut self) -> Monotonic {
        self.refresh_clock();
        self.monotonic = monotonic_clock();
        self.monotonic
    }

    /// Databases of every shard.
    pub(super) fn databases(&self) -> usize {
        let first = self.shards.first();
        first.map_or(0, |shard| shard.databases.count())
    }

    #[inline]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The place in `shards` of a shard of this worker.
    #[inline]
    pub fn place(&self, shard: u16) -> usize {
        usize::from(self.homes[usize::from(shard)].place)
    }

    /// As [`Worker::place`], if the shard lives on this worker.
    #[inline]
    pub fn place_here(&self, shard: u16) -> Option<usize> {
        let home = self.homes[usize::from(shard)];
        (home.worker == self.number).then_some(usize::from(home.place))
    }

    /// The worker on which a shard lives.
    #[inline]
    pub fn worker_of(&self, shard: u16) -> u16 {
        self.homes[usize::from(shard)].worker
    }

    /// To be called when something was added to the turn of the shard at `place`.
    #[inline]
    pub fn mark_dirty(&mut self, place: usize, was_idle: bool, bytes: usize) {
        if was_idle {
            self.dirty.push(place);
            self.shards[place].turn_begins(self.io.last_reading());
        }
        self.flush_wanted = true;
        self.turn_bytes += bytes;
        // While writes are refused each command is a turn of its own: those that free memory must not share the fate of others.
        let ends = self.turn_bytes > TURN_BYTES_MAX || self.write_error.is_some();
        if ends && !self.hold_turn {
            self.flush();
        }
    }

    /// The command that is asked next may make the data grow.
    #[inline]
    pub(super) fn expect_growth(&mut self) {
        if self.write_error.is_some() && !self.hold_turn && !self.dirty.is_empty() {
            self.flush();
        }
        self.turn_grows = true;
    }

    /// Ends the turn: one entry a shard, one log record for all of them, then apply and answer; and one batch of
    /// messages for each other worker. Returns false when the log had no room and the writes were refused.
    pub fn flush(&mut self) -> bool {
        self.end_turn(false)
    }

    /// As [`Worker::flush`], but writes may wait for the round of agreement before theirs, and answers to other nodes for company. Returns
    /// whether some do: then another turn is due within a millisecond.
    pub fn flush_in_rounds(&mut self) -> bool {
        self.end_turn(true);
        let peers = self.peers.as_ref();
        !self.dirty.is_empty() || peers.is_some_and(Outward::keeps_answers)
    }

    fn end_turn(&mut self, may_wait: bool) -> bool {
        self.flush_wanted = false;
        if self.forwarding.is_to_retry {
            self.retry_waiting();
        }
        let is_idle = self.dirty.is_empty() && self.stirred.is_empty();
        let done = is_idle || self.timed_flush(may_wait);
        // What waits for a round may grow the data as well.
        self.turn_grows &= !self.dirty.is_empty();
        self.io.stats.turns.add(1);
        if !self.io.remote.is_empty() {
            self.send_remote_replies();
        }
        self.release_the_left();
        self.send_outward(may_wait);
        if let Some(peers) = &mut self.peers {
            peers.end_turn();
        }
        self.send_outgoing();
        self.io.settle();
        done
    }

    fn timed_flush(&mut self, may_wait: bool) -> bool {
        let started = self.io.start_clock();
        let done = self.flush_shards(may_wait);
        let took = self.io.ticks.delta_as_nanos(started, self.io.ticks.raw());
        self.io.stats.turn_ns.add(took);
        done
    }

    fn flush_shards(&mut self, may_wait: bool) -> bool {
        let mut dirty = std::mem::take(&mut self.dirty);
        let now = self.refresh_clock();
        // Reads need no room in the log, whatever becomes of the writes.
        dirty.retain(|&place| {
            let writes = self.shards[place].has_writes();
            if !writes {
                self.shards[place].propose(now, 0, &mut self.io);
            }
            writes
        });
        let mut waiting = Vec::new();
        if may_wait && self.waits_for_round(&dirty) {
            std::mem::swap(&mut waiting, &mut dirty);
        } else {
            self.turn_bytes = 0;
        }
        if let Err(error) = self.reserve(&dirty) {
            self.refuse(&dirty, &error);
            dirty.clear();
        }
        let done = !dirty.is_empty() || self.write_error.is_none();
        for &place in &dirty {
            let seed = self.rng.next_u64();
            self.shards[place].propose(now, seed, &mut self.io);
        }
        if waiting.is_empty() {
            self.begin_round(&dirty);
        }
        self.take_stirred(&mut dirty);
        self.drive(&mut dirty);
        self.shorten_log_in_time();
        debug_assert!(self.dirty.is_empty());
        self.dirty = match waiting.is_empty() {
            true => dirty,
            false => waiting,
        };
        done
    }

    /// A leader's messages need not wait for its own disk. Where that takes no time, and they are short, they leave with the answers
    /// to what other leaders sent: one write for each node is cheaper than two.
    fn send_early(&mut self) {
        let peers = self.peers.as_ref();
        if peers.is_some_and(|peers| self.sync_always || peers.waiting_bytes() >= EARLY_BYTES) {
            self.send_outward(true);
        }
    }

    /// Sends what there is for other nodes; answers may wait for company.
    fn send_outward(&mut self, may_wait: bool) {
        let now = may_wait.then(|| self.round_clock());
        let Some(peers) = &mut self.peers else {
            return;
        };
        for node in peers.flush(now) {
            self.forward_down(node);
        }
    }

    /// Carries the replicas of these shards on until they have nothing more to do: write, then apply. Leaves the list empty.
    pub(super) fn drive(&mut self, active: &mut Vec<usize>) {
        while !active.is_empty() {
            if let Some(wal) = &mut self.wal {
                wal.begin();
            }
            active.retain(|&place| self.collect_ready(place));
            self.send_early();
            self.write_record();
            self.io.start_clock();
            for at in 0..4 {
                self.look_ahead_of(active, at, Step::Directory);
            }
            self.look_ahead_of(active, 0, Step::Segment);
            self.look_ahead_of(active, 1, Step::Segment);
            self.look_ahead_of(active, 2, Step::Segment);
            self.look_ahead_of(active, 0, Step::Place);
            self.look_ahead_of(active, 1, Step::Place);
            self.look_ahead_of(active, 0, Step::Entry);
            for (at, &place) in active.iter().enumerate() {
                self.look_ahead_of(active, at + 4, Step::Directory);
                self.look_ahead_of(active, at + 3, Step::Segment);
                self.look_ahead_of(active, at + 2, Step::Place);
                self.look_ahead_of(active, at + 1, Step::Entry);
                self.apply_committed(place);
            }
        }
    }

    /// While one shard is applied the memory that the next ones need is on its way.
    #[inline]
    fn look_ahead_of(&mut self, active: &[usize], at: usize, step: Step) {
        if let Some(&place) = active.get(at) {
            self.shards[place].look_up_turn(step);
        }
    }

    /// Puts what the replica wants written into the record; false when it has nothing to do.
    fn collect_ready(&mut self, place: usize) -> bool {
        let shard = &mut self.shards[place];
        if !shard.replica.ready(&mut self.outputs) {
            return false;
        }
        if !shard.standing.decides_alone {
            self.hand_out(place);
        }
        let shard = &mut self.shards[place];
        let Some(wal) = &mut self.wal else {
            return true;
        };
        let commit = shard.replica.known_commit_if_persisted();
        for entry in &self.outputs.entries {
            wal.push(shard.id, commit, entry);
        }
        if let Some(state) = self.outputs.hard_state {
            wal.push_hard_state(shard.id, state);
        }
        true
    }

    fn write_record(&mut self) {
        let Some(wal) = self.wal.as_mut().filter(|wal| !wal.is_record_empty()) else {
            return;
        };
        // The room was reserved; what fails now is the disk itself, and entries are half in Raft's hands:
        // going on could acknowledge what is not there.
        let begun = self.io.ticks.raw();
        if let Err(error) = wal.write() {
            super::stop_the_process(&error);
        }
        let begun = self.disk_took("aof-write", begun);
        if self.sync_always {
            let Some(wal) = &mut self.wal else { return };
            if let Err(error) = wal.sync() {
                super::stop_the_process(&error);
            }
            self.io.stats.log_syncs.add(1);
            self.disk_took("aof-fsync-always", begun);
        }
    }

    /// Notes how long the disk held the worker up; gives the time.
    #[inline]
    fn disk_took(&mut self, event: &'static str, begun: u64) -> u64 {
        let (now, nanos) = self.note_event(event, begun);
        if nanos > SLOW_DISK_NS {
            tracing::warn!(
                "the disk took {} ms to take in the log ({event}): clients waited",
                nanos / 1_000_000
            );
        }
        now
    }

    /// Something that began at a reading of the worker's clock ends now: LATENCY shows it, if it took long. Gives the new reading, and
    /// the nanoseconds.
    #[inline]
    pub(super) fn note_event(&self, event: &'static str, begun: u64) -> (u64, u64) {
        let now = self.io.ticks.raw();
        let nanos = self.io.ticks.delta_as_nanos(begun, now);
        self.io.slow.note_event(event, nanos);
        (now, nanos)
    }

    fn apply_committed(&mut self, place: usize) {
        let shard = &mut self.shards[place];
        shard.replica.persisted(&mut self.outputs);
        let was_alone = shard.standing.decides_alone;
        if !was_alone {
            self.hand_out(place);
            self.look_at_leadership(place);
        }
        self.apply_all(place);
        if !was_alone || !self.shards[place].standing.leads {
            self.look_at_leadership(place);
        }
    }

    /// Puts a replica's messages on their way, and sees to the snapshots that it asks for and has got.
    fn hand_out(&mut self, place: usize) {
        let mut messages = std::mem::take(&mut self.outputs.messages);
        self.post(place, &mut messages);
        self.outputs.messages = messages;
        for request in std::mem::take(&mut self.outputs.snapshot_requests) {
            self.snapshot_asked(place, request);
        }
        if let Some(snapshot) = self.outputs.snapshot.take() {
            self.take_in(place, &snapshot);
        }
    }

    /// Makes sure that the record of this turn finds room, before anything is proposed.
    fn reserve(&mut self, dirty: &[usize]) -> Result<(), WalError> {
        let Some(wal) = self.wal.as_mut().filter(|_| !dirty.is_empty()) else {
            return Ok(());
        };
        let bytes: usize = dirty
            .iter()
            .map(|&place| self.shards[place].pending_bytes())
            .sum();
        // A shard may have a new term to write beside its entry.
        let bytes = record_bytes(2 * dirty.len(), dirty.len(), bytes);
        let reserved = match self.turn_grows {
            true => wal.reserve(bytes, Purpose::Grows),
            false => wal.reserve(bytes, Purpose::Frees),
        };
        match reserved {
            Err(error) if error.is_full() && self.write_error.is_none() => {
                self.wait_for_room(bytes, error)?;
            }
            reserved => reserved?,
        }
        if self.turn_grows {
            self.accept_writes();
        }
        self.io.stats.log_appended_bytes.add(bytes as u64);
        Ok(())
    }

    /// There is room again.
    pub(super) fn accept_writes(&mut self) {
        if self.write_error.take().is_some() {
            self.publish_write_error();
            tracing::info!("writes are accepted again");
        }
    }

    fn refuse(&mut self, dirty: &[usize], error: &WalError) {
        let text = if error.is_full() {
            format!("MISCONF Errors writing to the log: {error}. The write was not applied; reads are served.")
        } else {
            format!("ERR {error}")
        };
        if self.write_error.is_none() {
            tracing::error!("writes are refused: {error}");
        }
        self.write_error = Some(text.clone());
        self.publish_write_error();
        for &place in dirty {
            self.shards[place].refuse(format!("-{text}\r\n").as_bytes(), &mut self.io);
        }
    }

    fn publish_write_error(&self) {
        let place = &self.shared.write_errors[usize::from(self.number)];
        *place
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = self.write_error.clone();
    }

    /// Makes the replicas leaders and takes up the settings; the worker serves afterwards.
    pub fn start(parts: Parts) -> Self {
        let mut worker = Self::new(parts);
        let held = |place: &usize| worker.shards[*place].standing.is_held;
        let mut places: Vec<usize> = (0..worker.shards.len()).filter(held).collect();
        for &place in &places {
            worker.look_at_membership(place);
            if worker.shards[place].standing.decides_alone {
                worker.shards[place].replica.campaign();
            }
        }
        worker.drive(&mut places);
        (0..worker.shards.len()).for_each(|place| worker.meta_applied(place));
        worker.take_up_settings();
        worker.flush();
        worker.cycle();
        worker.publish();
        worker.flush();
        worker
    }

    /// Ends the worker in order: what waits is written, the log is synced and closed.
    pub fn stop(mut self) {
        self.flush();
        if let Some(wal) = self.wal.take() {
            if let Err(error) = wal.close() {
                tracing::error!("{error}");
            }
        }
    }

    fn send_outgoing(&mut self) {
        for to in 0..self.workers {
            let batch = &mut self.io.outgoing[usize::from(to)];
            if !batch.is_empty() {
                self.shared.inboxes[usize::from(to)].send(batch);
            }
        }
    }

    /// Takes in what other workers sent.
    pub fn receive(&mut self) {
        let mut batch = self.shared.inboxes[usize::from(self.number)].take();
        self.refresh_clock();
        // What came together belongs into one record: the parts of an MSET are among it.
        self.hold_turn = true;
        for message in batch.drain(..) {
            match message {
                Message::Run(forwarded) => self.run_forwarded(&forwarded),
                Message::Done { waiter, reply } => self.io.complete_here(waiter, &reply),
                Message::Raft(from, packet) => {
                    let now = self.refresh_monotonic();
                    self.take_here(from, *packet, now);
                    self.answer_at_once(from);
                }
                Message::Task(task) => task(self),
            }
        }
        self.hold_turn = false;
        self.flush_wanted = true;
    }

    /// Sends a task to another worker, or runs it here.
    pub fn task(&mut self, worker: u16, task: impl FnOnce(&mut Worker) + Send + 'static) {
        if worker == self.number {
            return task(self);
        }
        self.io.outgoing[usize::from(worker)].push(Message::Task(Box::new(task)));
        self.flush_wanted = true;
    }

    /// Has every worker do it, this one too.
    pub fn task_everywhere(&mut self, task: impl Fn(&mut Worker) + Clone + Send + 'static) {
        for worker in 0..self.workers {
            self.task(worker, task.clone());
        }
    }
}

/// The node's monotonic clock, which goes on while the machine sleeps.
pub fn monotonic_clock() -> Monotonic {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Monotonic(time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000)
}

/// Where a shard lives on its node.
#[derive(Clone, Copy)]
struct Home {
    worker: u16,
    place: u16,
}

/// A table, because a division costs more than a look into it.
fn homes(map: &ShardMap, workers: u16) -> Vec<Home> {
    let home = |shard: u16| Home {
        worker: shard % workers,
        place: shard / workers,
    };
    // And the copy of the meta group, behind the last shard.
    (0..=map.shards()).map(home).collect()
}

/// The node's clock.
pub fn wall_clock() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(since.as_millis() as u64)
}
