//! One shard on this node: its data, its Raft replica, and the commands that wait for the end of the turn.
//! [`Shard::apply`] is the only door through which data changes.

mod replaced;

use std::cell::Cell;
use std::collections::VecDeque;

use bytes::Bytes;
use ringfort_cluster::entry::Cursor;
use ringfort_cluster::replica::{EntryKind, Membership, MembershipChange};
use ringfort_cluster::topology::Topology;
use ringfort_cluster::{
    codec, Batch, BatchBuilder, Index, LogEntry, Replica, ShardId, Stamp, Term,
};

use crate::commands::{registry, Call, CommandError, Registered, Run};
use crate::protocol::{Args, Proto, Reply, Span};
use crate::store::{prefetch, Databases, Timestamp};

use super::group::Standing;
use super::look_ahead::{look_ahead, Step, ENTRY_AHEAD, PLACE_AHEAD};
use super::outbox::{Target, Waiter};

/// A command whose reply somebody waits for.
#[derive(Clone, Copy)]
pub struct Asked {
    pub target: Target,
    pub command: &'static Registered,
    /// The hash of the command's one key, whose look-up has begun; 0 where it is not known.
    hash: u64,
    database: u16,
    /// What the second step of the look-up gave.
    place: Option<u8>,
    /// Reads that follow a write of the same connection run between the writes, at their place.
    is_read: bool,
}

impl Asked {
    fn is_awaited(&self) -> bool {
        !matches!(self.target.waiter, Waiter::Nobody)
    }
}

/// The commands of one turn, in the order in which they were asked.
#[derive(Default)]
struct Turn {
    asked: Vec<Asked>,
    /// Arguments of the reads; those of the writes are in the entry itself.
    reads: BatchBuilder,
    /// An empty vector that was `asked` before, for its memory.
    spare: Vec<Asked>,
    /// When the first of them was asked: a reading of the worker's clock.
    asked_at: u64,
}

/// A turn whose entry is on its way through the log.
struct InFlight {
    index: Index,
    asked_at: u64,
    asked: Vec<Asked>,
    reads: Bytes,
    /// Reads of later turns that had nothing for the log.
    later: Vec<LaterReads>,
}

/// A turn of reads alone that came while writes were on their way: its connections may have asked for those before.
struct LaterReads {
    stamp: Stamp,
    asked: Vec<Asked>,
    reads: Bytes,
}

/// Takes the replies of commands as they are applied.
pub trait Replies {
    fn reply(&mut self, asked: &Asked, args: &Args, reply: &[u8]);

    /// A turn's writes are answered: so many, the first of which was asked at a reading of the worker's clock.
    fn answered(&mut self, _asked_at: u64, _writes: usize) {}
}

/// One shard on this node.
pub struct Shard {
    /// Its number in this node's log and snapshots. The copy of the meta group stands behind the last shard.
    pub id: ShardId,
    pub databases: Databases,
    pub replica: Replica,
    /// How the replica stands in its group, as of the last look.
    pub standing: Standing,
    /// Who belongs to the group, as of `applied`.
    pub membership: Membership,
    /// The state of the meta group, on the one shard that is this node's copy of it.
    pub meta: Option<Box<Topology>>,
    /// The entry being built: the writes of this turn.
    writes: BatchBuilder,
    turn: Turn,
    in_flight: VecDeque<InFlight>,
    /// The clock of the last entry applied or proposed: no stamp is older (invariant 2).
    pub(super) last_clock: Timestamp,
    /// The clock of the last entry applied: what an entry is applied by is a function of the log alone, also where this
    /// replica has proposed more since.
    applied_clock: Timestamp,
    /// Index and term of the last entry applied.
    applied: (Index, Term),
    /// The reply of the command being applied.
    scratch: Vec<u8>,
    /// The last index that a durable snapshot covers.
    pub snapshot_index: Index,
    /// Entries that a replay has read and that are not known to be committed yet.
    pub(super) unapplied: Vec<LogEntry>,
}

impl Shard {
    /// `applied` is the last entry whose effects are in `databases`.
    pub fn new(
        id: ShardId,
        databases: Databases,
        replica: Replica,
        applied: (Index, Term),
        last_clock: Timestamp,
    ) -> Self {
        Self {
            id,
            databases,
            standing: Standing::default(),
            membership: replica.membership(),
            meta: None,
            replica,
            writes: BatchBuilder::new(),
            turn: Turn::default(),
            in_flight: VecDeque::new(),
            last_clock,
            applied_clock: last_clock,
            applied,
            scratch: Vec::new(),
            snapshot_index: Index(0),
            unapplied: Vec::new(),
        }
    }

    /// A write is about to join the turn: what it will touch first is on its way.
    #[inline]
    pub fn expect_write(&self) {
        prefetch(&self.turn);
        prefetch(&self.writes);
    }

    /// The second step: where the command will be put.
    #[inline]
    pub fn expect_write_soon(&self) {
        let asked = &self.turn.asked;
        prefetch(asked.as_ptr().wrapping_add(asked.len()));
        let tail = self.writes.tail();
        prefetch(tail);
        prefetch(tail.wrapping_add(64));
    }

    /// The first command of a turn was asked, at a reading of the worker's clock.
    #[inline]
    pub fn turn_begins(&mut self, now: u64) {
        self.turn.asked_at = now;
    }

    /// Whether anything waits for the end of the turn.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.turn.asked.is_empty() && self.writes.is_empty()
    }

    /// Whether the turn has anything for the log.
    #[inline]
    pub fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Whether nobody waits for an entry that is on its way through the log.
    pub fn is_drained(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Bytes of the entry being built.
    pub fn pending_bytes(&self) -> usize {
        self.writes.bytes()
    }

    /// The clock that a read sees: never behind what was applied.
    #[inline]
    pub fn read_clock(&self, now: Timestamp) -> Timestamp {
        now.max(self.last_clock)
    }

    /// The clock of the last entry applied.
    pub fn applied_clock(&self) -> Timestamp {
        self.applied_clock
    }

    /// Goes on behind entries that are lost, with the operator's consent.
    pub(super) fn skip_to(&mut self, index: Index, term: Term) {
        self.applied = (index, term);
        self.unapplied.clear();
    }

    /// The last entry applied.
    pub fn applied(&self) -> (Index, Term) {
        self.applied
    }

    /// Adds a write to the turn's entry. `hash` is that of the command's one key, if it is known. Gives the bytes that
    /// it takes.
    ///
    /// # Errors
    /// When the entry would become too large; nothing was added then.
    #[inline(always)]
    pub fn ask_write(
        &mut self,
        database: u16,
        args: &Args,
        command: &'static Registered,
        hash: Option<u64>,
        target: Target,
    ) -> Result<usize, CommandError> {
        let (bytes, spans) = args.parts();
        let pushed = self.writes.push(database, bytes, spans);
        let bytes = pushed.map_err(|error| CommandError::new(format!("ERR {error}")))?;
        self.turn.asked.push(Asked {
            target,
            command,
            hash: hash.unwrap_or(0),
            database,
            place: None,
            is_read: false,
        });
        Ok(bytes)
    }

    /// Adds a read that must see the turn's earlier writes. Gives the bytes that it takes.
    pub fn ask_read(
        &mut self,
        database: u16,
        args: &Args,
        command: &'static Registered,
        target: Target,
    ) -> Result<usize, CommandError> {
        let (bytes, spans) = args.parts();
        let pushed = self.turn.reads.push(database, bytes, spans);
        let bytes = pushed.map_err(|error| CommandError::new(format!("ERR {error}")))?;
        self.turn.asked.push(Asked {
            target,
            command,
            hash: 0,
            database,
            place: None,
            is_read: true,
        });
        Ok(bytes)
    }

    /// Closes the turn: proposes its entry. A turn of reads alone runs behind what is on its way, at once where nothing is.
    pub fn propose(&mut self, now: Timestamp, seed: u64, replies: &mut impl Replies) {
        let clock = self.read_clock(now);
        let stamp = Stamp {
            clock_ms: clock.0,
            seed,
        };
        let reads = match self.turn.reads.is_empty() {
            true => Bytes::new(),
            false => self.turn.reads.finish(stamp),
        };
        let spare = std::mem::take(&mut self.turn.spare);
        let asked = std::mem::replace(&mut self.turn.asked, spare);
        if self.writes.is_empty() {
            let turn = LaterReads {
                stamp,
                asked,
                reads,
            };
            return match self.in_flight.back_mut() {
                Some(last) => last.later.push(turn),
                None => self.run_later(&turn, replies),
            };
        }
        let entry = self.writes.finish(stamp);
        match self.replica.propose(entry) {
            Ok(()) => {
                self.last_clock = clock;
                let index = self.replica.last_index();
                self.in_flight.push_back(InFlight {
                    index,
                    asked_at: self.turn.asked_at,
                    asked,
                    reads,
                    later: Vec::new(),
                });
            }
            Err(error) => {
                let text = format!("-TRYAGAIN {error}; the command was not applied\r\n");
                let nothing = Args::new(&[], &[]);
                asked
                    .iter()
                    .for_each(|asked| replies.reply(asked, &nothing, text.as_bytes()));
            }
        }
    }

    /// Refuses everything that waits for the end of the turn; it is certain not to be applied.
    pub fn refuse(&mut self, reply: &[u8], replies: &mut impl Replies) {
        self.writes.clear();
        self.turn.reads.clear();
        let nothing = Args::new(&[], &[]);
        for asked in std::mem::take(&mut self.turn.asked) {
            replies.reply(&asked, &nothing, reply);
        }
    }

    /// Answers everything that is on its way through the log: this replica does not lead any more, and whether the
    /// entries will be applied is decided elsewhere.
    pub fn abandon(&mut self, reply: &[u8], replies: &mut impl Replies) {
        let nothing = Args::new(&[], &[]);
        for in_flight in self.in_flight.drain(..) {
            let later = in_flight.later.iter().flat_map(|turn| &turn.asked);
            for asked in in_flight.asked.iter().chain(later) {
                replies.reply(asked, &nothing, reply);
            }
        }
    }

    /// Applies a committed entry. The same code runs live, at replay and (with nobody asking) on followers.
    ///
    /// # Panics
    /// When the entry cannot be read: it was checked by the sum of its record, so this is a bug, and going
    /// on would let replicas differ.
    pub fn apply(&mut self, entry: &LogEntry, replies: &mut impl Replies) {
        // Invariant 9: no gap, no repeat.
        assert!(
            entry.index == self.applied.0.next(),
            "invariant 9: {} after {}",
            entry.index,
            self.applied.0
        );
        if entry.kind == EntryKind::Membership {
            self.apply_change(entry);
        }
        if entry.kind == EntryKind::Commands {
            let asked = match self.in_flight.front() {
                Some(first) if first.index == entry.index => self.in_flight.pop_front(),
                _ => None,
            };
            self.apply_batch(&entry.data, asked, replies);
        }
        self.applied = (entry.index, entry.term);
    }

    /// What the entry makes of the membership. The replica is told of it by the driver, and comes to the same.
    fn apply_change(&mut self, entry: &LogEntry) {
        let change: MembershipChange =
            codec::decode(&entry.data).expect("a committed change can be read");
        if let Some(next) = self.membership.after(&change) {
            self.membership = next;
        }
    }

    fn apply_batch(
        &mut self,
        data: &[u8],
        in_flight: Option<InFlight>,
        replies: &mut impl Replies,
    ) {
        let batch = Batch::decode(data).expect("a committed entry can be read");
        let stamp = batch.stamp();
        self.applied_clock = self.applied_clock.max(Timestamp(stamp.clock_ms));
        self.last_clock = self.last_clock.max(self.applied_clock);
        let (mut waiting, asked_at, reads, later) = match in_flight {
            Some(turn) => (turn.asked, turn.asked_at, turn.reads, turn.later),
            None => (Vec::new(), 0, Bytes::new(), Vec::new()),
        };
        let mut queued = QueuedReads::new(&reads);
        let mut asked = waiting.iter().peekable();
        let mut writes = waiting.iter().filter(|asked| !asked.is_read);
        let mut cursor = batch.cursor();
        let mut group = GROUP.take().unwrap_or_default();
        let mut number = 0u64;
        // In a turn of its own the worker has begun with the first commands.
        let mut is_begun = asked.peek().is_some_and(|asked| asked.hash != 0);
        while group.fill(&mut cursor) {
            self.begin_look_ups(&mut group, batch.bytes(), &mut writes, is_begun);
            for at in 0..group.len {
                while let Some(read) = asked.next_if(|asked| asked.is_read) {
                    self.run_read(read, &mut queued, stamp, replies);
                }
                self.look_ahead(&mut group, at, is_begun);
                let write = asked.next();
                let call = Call {
                    args: Args::new(batch.bytes(), &group.spans[at]),
                    now: self.applied_clock,
                    seed: stamp
                        .seed
                        .wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
                    database: group.databases[at],
                    proto: write.map_or(Proto::Resp2, |asked| asked.target.proto),
                };
                self.run_write(write, &call, group.look_ups[at].key);
                if let Some(write) = write {
                    replies.reply(write, &call.args, &self.scratch);
                }
                number += 1;
            }
            is_begun = false;
        }
        for read in asked {
            self.run_read(read, &mut queued, stamp, replies);
        }
        // What the node proposed for itself tells nothing of how clients fare.
        if waiting.iter().any(Asked::is_awaited) {
            replies.answered(asked_at, waiting.len());
        }
        for turn in &later {
            self.run_later(turn, replies);
        }
        GROUP.set(Some(group));
        waiting.clear();
        // The next turn finds its memory still in the cache.
        if self.turn.asked.is_empty() {
            self.turn.asked = waiting;
        } else {
            self.turn.spare = waiting;
        }
    }

    /// Takes the look-ups of the first commands of the turn in flight a step further: for the worker, which applies
    /// several shards one after the other and begins with the next ones ahead of time.
    pub fn look_up_turn(&mut self, step: Step) {
        let Some(turn) = self.in_flight.front_mut() else {
            return;
        };
        let count = match step {
            Step::Directory | Step::Segment | Step::Place => PLACE_AHEAD,
            Step::Entry => ENTRY_AHEAD,
        };
        let known = turn.asked.iter_mut().filter(|asked| asked.hash != 0);
        for asked in known.take(count) {
            let keyspace = self.databases.keyspace(asked.database);
            match step {
                Step::Directory => keyspace.prefetch_directory(asked.hash),
                Step::Segment => keyspace.prefetch_segment(asked.hash),
                Step::Place => asked.place = keyspace.prefetch_place(asked.hash),
                Step::Entry => {
                    if let Some(place) = asked.place {
                        keyspace.prefetch_entry(asked.hash, place);
                    }
                }
            }
        }
    }

    /// Has the memory of the group's keys on its way before the first of them is needed. `is_begun`: somebody has done so for the
    /// first [`PLACE_AHEAD`] of them.
    fn begin_look_ups<'a>(
        &self,
        group: &mut Group,
        bytes: &[u8],
        writes: &mut impl Iterator<Item = &'a Asked>,
        is_begun: bool,
    ) {
        let begun = if is_begun { PLACE_AHEAD } else { 0 };
        for at in 0..group.len {
            let keyspace = self.databases.keyspace(group.databases[at]);
            let asked = writes.next().filter(|asked| asked.hash != 0);
            let key = match asked {
                Some(asked) => asked.command.single_key.zip(Some(asked.hash)),
                // The key of almost every command stands behind its name; a guess that is wrong costs a prefetch.
                None => group.spans[at].get(1).map(|&(start, end)| {
                    let key = &bytes[start as usize..end as usize];
                    (1, keyspace.hash(key))
                }),
            };
            if let Some((_, hash)) = key.filter(|_| at >= begun) {
                keyspace.prefetch_directory(hash);
            }
            group.look_ups[at] = LookUp {
                database: group.databases[at],
                key,
                place: asked.and_then(|asked| asked.place),
            };
        }
        for look_up in group.look_ups[..group.len].iter().skip(begun) {
            if let Some((_, hash)) = look_up.key {
                let keyspace = self.databases.keyspace(look_up.database);
                keyspace.prefetch_segment(hash);
            }
        }
    }

    #[inline(always)]
    fn look_ahead(&self, group: &mut Group, at: usize, is_begun: bool) {
        look_ahead(
            &mut group.look_ups[..group.len],
            at,
            is_begun,
            |later| {
                let keyspace = self.databases.keyspace(later.database);
                later.place = later
                    .key
                    .and_then(|(_, hash)| keyspace.prefetch_place(hash));
            },
            |soon| {
                if let Some(((_, hash), place)) = soon.key.zip(soon.place) {
                    let keyspace = self.databases.keyspace(soon.database);
                    keyspace.prefetch_entry(hash, place);
                }
            },
        );
    }

    /// Runs a write and leaves its reply in `scratch`. `key`: the place of its key and the hash.
    #[inline(always)]
    fn run_write(&mut self, asked: Option<&Asked>, call: &Call, key: Option<(usize, u64)>) {
        self.scratch.clear();
        let mut reply = Reply::new(&mut self.scratch, call.proto);
        let run = match asked {
            Some(asked) => asked.command.command.run,
            None => registry()
                .called(&call.args, None)
                .map_or(Run::Container, |found| found.command.run),
        };
        let untouched = asked.is_some_and(|asked| asked.target.untouched);
        if untouched {
            self.databases.set_untouched(true);
        }
        let result = match run {
            Run::Write(run) => {
                let keyspace = self.databases.keyspace_mut(call.database);
                match key {
                    Some((key, hash)) => keyspace.expect(call.arg(key), hash, |keyspace| {
                        run(keyspace, call, &mut reply)
                    }),
                    None => run(keyspace, call, &mut reply),
                }
            }
            Run::Databases(run) => run(&mut self.databases, call, &mut reply),
            Run::Meta => super::meta::apply(self.meta.as_deref_mut(), call, &mut reply),
            // Invariant 9 would break if one replica ran what another skipped.
            _ => panic!(
                "an entry holds {:?}, which is no write",
                String::from_utf8_lossy(call.arg(0))
            ),
        };
        if let Err(error) = result {
            reply.rewind(0);
            error.write(&mut reply);
        }
        if untouched {
            self.databases.set_untouched(false);
        }
    }

    fn run_later(&mut self, turn: &LaterReads, replies: &mut impl Replies) {
        let mut queued = QueuedReads::new(&turn.reads);
        for read in &turn.asked {
            self.run_read(read, &mut queued, turn.stamp, replies);
        }
    }

    fn run_read(
        &mut self,
        asked: &Asked,
        queued: &mut QueuedReads,
        stamp: Stamp,
        replies: &mut impl Replies,
    ) {
        let (database, args) = queued.next();
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        let now = Timestamp(stamp.clock_ms);
        let call = self.read_call(args, database, now, stamp.seed, asked.target.proto);
        if asked.target.untouched {
            self.databases.set_untouched(true);
        }
        self.read(asked.command, &call, &mut out);
        if asked.target.untouched {
            self.databases.set_untouched(false);
        }
        replies.reply(asked, &args, &out);
        self.scratch = out;
    }

    /// What a read is given: it sees no time before that of the last write.
    #[inline(always)]
    pub fn read_call<'a>(
        &self,
        args: Args<'a>,
        database: u16,
        now: Timestamp,
        seed: u64,
        proto: Proto,
    ) -> Call<'a> {
        Call {
            args,
            now: self.read_clock(now),
            seed,
            database,
            proto,
        }
    }

    /// Runs a read against applied state and appends its reply to `out`.
    #[inline]
    pub fn read(&self, command: &Registered, call: &Call, out: &mut Vec<u8>) {
        let mut reply = Reply::new(out, call.proto);
        let mark = reply.mark();
        let Run::Read(run) = command.command.run else {
            panic!("{} was routed as a read", command.full_name);
        };
        if let Err(error) = run(self.databases.keyspace(call.database), call, &mut reply) {
            reply.rewind(mark);
            error.write(&mut reply);
        }
    }
}

/// Commands applied together, so that their look-ups overlap.
const GROUP_MAX: usize = 32;

thread_local! {
    /// For its memory: shards of a thread are applied one after the other, and what all share stays in the cache.
    static GROUP: Cell<Option<Box<Group>>> = const { Cell::new(None) };
}

/// Commands of an entry, decoded.
#[derive(Default)]
struct Group {
    len: usize,
    databases: [u16; GROUP_MAX],
    spans: [Vec<Span>; GROUP_MAX],
    look_ups: [LookUp; GROUP_MAX],
}

/// The look-up of a command's key, under way.
#[derive(Clone, Copy, Default)]
struct LookUp {
    database: u16,
    /// Which argument is the key, and its hash.
    key: Option<(usize, u64)>,
    /// What the second step gave.
    place: Option<u8>,
}

impl Group {
    /// Decodes the next commands; false at the end of the entry.
    fn fill(&mut self, cursor: &mut Cursor) -> bool {
        self.len = 0;
        while self.len < GROUP_MAX {
            let spans = &mut self.spans[self.len];
            match cursor
                .next_into(spans)
                .expect("a committed entry can be read")
            {
                Some(database) => self.databases[self.len] = database,
                None => break,
            }
            self.len += 1;
        }
        self.len > 0
    }
}

/// The arguments of a turn's reads, in order.
struct QueuedReads<'a> {
    batch: Option<(Batch<'a>, Cursor<'a>)>,
    spans: Vec<Span>,
}

impl<'a> QueuedReads<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let batch = (!bytes.is_empty()).then(|| Batch::decode(bytes).expect("made by this node"));
        Self {
            batch: batch.map(|batch| {
                let cursor = batch.cursor();
                (batch, cursor)
            }),
            spans: Vec::new(),
        }
    }

    fn next(&mut self) -> (u16, Args<'_>) {
        let (batch, cursor) = self.batch.as_mut().expect("a read was asked");
        let database = cursor
            .next_into(&mut self.spans)
            .expect("made by this node");
        (
            database.expect("one for each read asked"),
            Args::new(batch.bytes(), &self.spans),
        )
    }
}

#[cfg(test)]
#[path = "shard_tests.rs"]
pub(super) mod tests;
