//! One shard on this node: its data, its Raft replica, and the commands that wait for the end of the turn.
//! [`Shard::apply`] is the only door through which data changes.

use std::collections::VecDeque;

use bytes::Bytes;
use ringfort_cluster::entry::Cursor;
use ringfort_cluster::replica::EntryKind;
use ringfort_cluster::{Batch, BatchBuilder, Index, LogEntry, Replica, ShardId, Stamp, Term};

use crate::commands::{registry, Call, CommandError, CommandResult, Registered, Run};
use crate::protocol::{Args, Proto, Reply, Span};
use crate::store::{Databases, Timestamp};

use super::outbox::Target;

/// A command whose reply somebody waits for.
#[derive(Clone, Copy)]
pub struct Asked {
    pub target: Target,
    pub command: &'static Registered,
    /// Reads that follow a write of the same connection run between the writes, at their place.
    is_read: bool,
}

/// The commands of one turn, in the order in which they were asked.
#[derive(Default)]
struct Turn {
    asked: Vec<Asked>,
    /// Arguments of the reads; those of the writes are in the entry itself.
    reads: BatchBuilder,
    /// An empty vector that was `asked` before, for its memory.
    spare: Vec<Asked>,
}

/// A turn whose entry is on its way through the log.
struct InFlight {
    index: Index,
    asked: Vec<Asked>,
    reads: Bytes,
}

/// Takes the replies of commands as they are applied.
pub trait Replies {
    /// `started` is what [`Replies::clock`] gave before the command ran.
    fn reply(&mut self, asked: &Asked, args: &Args, started: u64, reply: &[u8]);
    /// A clock for measuring commands, in units of its own.
    fn clock(&self) -> u64;
}

/// One shard on this node.
pub struct Shard {
    pub id: ShardId,
    pub databases: Databases,
    pub replica: Replica,
    /// The entry being built: the writes of this turn.
    writes: BatchBuilder,
    turn: Turn,
    in_flight: VecDeque<InFlight>,
    /// The clock of the last entry applied or proposed: no stamp is older (invariant 2).
    last_clock: Timestamp,
    /// Index and term of the last entry applied.
    applied: (Index, Term),
    /// Commands being applied, and the reply of one; kept for their memory.
    group: Group,
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
            replica,
            writes: BatchBuilder::new(),
            turn: Turn::default(),
            in_flight: VecDeque::new(),
            last_clock,
            applied,
            group: Group::default(),
            scratch: Vec::new(),
            snapshot_index: Index(0),
            unapplied: Vec::new(),
        }
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

    /// Bytes of the entry being built.
    pub fn pending_bytes(&self) -> usize {
        self.writes.bytes()
    }

    /// The clock that a read sees: never behind what was applied.
    #[inline]
    pub fn read_clock(&self, now: Timestamp) -> Timestamp {
        now.max(self.last_clock)
    }

    /// The clock of the last entry.
    pub fn last_clock(&self) -> Timestamp {
        self.last_clock
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

    /// Adds a write to the turn's entry.
    ///
    /// # Errors
    /// When the entry would become too large; nothing was added then.
    #[inline]
    pub fn ask_write(
        &mut self,
        database: u16,
        args: &Args,
        command: &'static Registered,
        target: Target,
    ) -> CommandResult {
        let pushed = self.writes.push(database, args.from(0));
        pushed.map_err(|error| CommandError::new(format!("ERR {error}")))?;
        self.turn.asked.push(Asked {
            target,
            command,
            is_read: false,
        });
        Ok(())
    }

    /// Adds a read that must see the turn's earlier writes.
    pub fn ask_read(
        &mut self,
        database: u16,
        args: &Args,
        command: &'static Registered,
        target: Target,
    ) -> CommandResult {
        let pushed = self.turn.reads.push(database, args.from(0));
        pushed.map_err(|error| CommandError::new(format!("ERR {error}")))?;
        self.turn.asked.push(Asked {
            target,
            command,
            is_read: true,
        });
        Ok(())
    }

    /// Closes the turn: proposes its entry. What only reads wait in runs at once.
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
            let mut queued = QueuedReads::new(&reads);
            return asked
                .iter()
                .for_each(|read| self.run_read(read, &mut queued, stamp, replies));
        }
        let entry = self.writes.finish(stamp);
        match self.replica.propose(entry) {
            Ok(()) => {
                self.last_clock = clock;
                let index = self.replica.last_index();
                self.in_flight.push_back(InFlight {
                    index,
                    asked,
                    reads,
                });
            }
            Err(error) => {
                let text = format!("-TRYAGAIN {error}; the command was not applied\r\n");
                let now = replies.clock();
                let nothing = Args::new(&[], &[]);
                asked
                    .iter()
                    .for_each(|asked| replies.reply(asked, &nothing, now, text.as_bytes()));
            }
        }
    }

    /// Refuses everything that waits for the end of the turn; it is certain not to be applied.
    pub fn refuse(&mut self, reply: &[u8], replies: &mut impl Replies) {
        self.writes.clear();
        self.turn.reads.clear();
        let (now, nothing) = (replies.clock(), Args::new(&[], &[]));
        for asked in std::mem::take(&mut self.turn.asked) {
            replies.reply(&asked, &nothing, now, reply);
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
        if entry.kind == EntryKind::Commands {
            let asked = match self.in_flight.front() {
                Some(first) if first.index == entry.index => self.in_flight.pop_front(),
                _ => None,
            };
            self.apply_batch(&entry.data, asked, replies);
        }
        self.applied = (entry.index, entry.term);
    }

    fn apply_batch(
        &mut self,
        data: &[u8],
        in_flight: Option<InFlight>,
        replies: &mut impl Replies,
    ) {
        let batch = Batch::decode(data).expect("a committed entry can be read");
        let stamp = batch.stamp();
        self.last_clock = self.last_clock.max(Timestamp(stamp.clock_ms));
        let (mut waiting, reads) = match in_flight {
            Some(in_flight) => (in_flight.asked, in_flight.reads),
            None => (Vec::new(), Bytes::new()),
        };
        let mut queued = QueuedReads::new(&reads);
        let mut asked = waiting.iter().peekable();
        let mut cursor = batch.cursor();
        let mut group = std::mem::take(&mut self.group);
        let mut number = 0u64;
        while group.fill(&mut cursor) {
            self.probe_group(&mut group, batch.bytes());
            for at in 0..group.len {
                while let Some(read) = asked.next_if(|asked| asked.is_read) {
                    self.run_read(read, &mut queued, stamp, replies);
                }
                let args = Args::new(batch.bytes(), &group.spans[at]);
                let seed = stamp
                    .seed
                    .wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                let started = replies.clock();
                let write = asked.next();
                self.run_write(write, group.databases[at], args, seed, group.hashes[at]);
                if let Some(write) = write {
                    replies.reply(write, &args, started, &self.scratch);
                }
                number += 1;
            }
        }
        for read in asked {
            self.run_read(read, &mut queued, stamp, replies);
        }
        self.group = group;
        waiting.clear();
        self.turn.spare = waiting;
    }

    /// Has the memory of the group's keys on its way before the first of them is needed.
    fn probe_group(&self, group: &mut Group, bytes: &[u8]) {
        if group.len == 1 {
            group.hashes[0] = None; // Nothing to overlap with.
            return;
        }
        let mut probes = [None; GROUP_MAX];
        for (at, place) in probes.iter_mut().enumerate().take(group.len) {
            // The key of almost every command stands behind its name; a guess that is wrong costs a prefetch.
            let keyspace = self.databases.keyspace(group.databases[at]);
            let key = group.spans[at].get(1);
            *place = key.map(|&(start, end)| keyspace.probe(&bytes[start as usize..end as usize]));
            group.hashes[at] = place.map(|probe| probe.hash);
        }
        let keyspace = |at: usize| self.databases.keyspace(group.databases[at]);
        let mut pointers = [None; GROUP_MAX];
        for (at, place) in pointers.iter_mut().enumerate().take(group.len) {
            *place = probes[at].and_then(|probe| keyspace(at).probe_pointer(probe));
        }
        for (at, pointer) in pointers.iter().enumerate().take(group.len) {
            if let Some(pointer) = pointer {
                keyspace(at).probe_entry(*pointer);
            }
        }
    }

    #[inline]
    fn run_write(
        &mut self,
        asked: Option<&Asked>,
        database: u16,
        args: Args,
        seed: u64,
        hash: Option<u64>,
    ) {
        self.scratch.clear();
        let proto = asked.map_or(Proto::Resp2, |asked| asked.target.proto);
        let mut reply = Reply::new(&mut self.scratch, proto);
        let run = match asked {
            Some(asked) => asked.command.command.run,
            None => registry()
                .resolve(&args)
                .map_or(Run::Container, |found| found.command.run),
        };
        let call = Call {
            args,
            now: self.last_clock,
            seed,
            database,
            proto,
        };
        let untouched = asked.is_some_and(|asked| asked.target.untouched);
        if untouched {
            self.databases.set_untouched(true);
        }
        let result = match run {
            Run::Write(run) => {
                let keyspace = self.databases.keyspace_mut(database);
                match hash {
                    Some(hash) => keyspace.expect(args.at(1), hash, |keyspace| {
                        run(keyspace, &call, &mut reply)
                    }),
                    None => run(keyspace, &call, &mut reply),
                }
            }
            Run::Databases(run) => run(&mut self.databases, &call, &mut reply),
            // Invariant 9 would break if one replica ran what another skipped.
            _ => panic!(
                "an entry holds {:?}, which is no write",
                String::from_utf8_lossy(args.at(0))
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

    fn run_read(
        &mut self,
        asked: &Asked,
        queued: &mut QueuedReads,
        stamp: Stamp,
        replies: &mut impl Replies,
    ) {
        let started = replies.clock();
        let (database, args) = queued.next();
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        let now = Timestamp(stamp.clock_ms);
        if asked.target.untouched {
            self.databases.set_untouched(true);
        }
        self.read(
            asked.command,
            database,
            args,
            now,
            stamp.seed,
            asked.target.proto,
            &mut out,
        );
        if asked.target.untouched {
            self.databases.set_untouched(false);
        }
        replies.reply(asked, &args, started, &out);
        self.scratch = out;
    }

    /// Runs a read against applied state and appends its reply to `out`.
    #[inline]
    #[allow(clippy::too_many_arguments)] // Every one of them differs from call to call.
    pub fn read(
        &self,
        command: &Registered,
        database: u16,
        args: Args,
        now: Timestamp,
        seed: u64,
        proto: Proto,
        out: &mut Vec<u8>,
    ) {
        let mut reply = Reply::new(out, proto);
        let mark = reply.mark();
        let call = Call {
            args,
            now: self.read_clock(now),
            seed,
            database,
            proto,
        };
        let Run::Read(run) = command.command.run else {
            panic!("{} was routed as a read", command.full_name);
        };
        if let Err(error) = run(self.databases.keyspace(database), &call, &mut reply) {
            reply.rewind(mark);
            error.write(&mut reply);
        }
    }
}

/// Commands applied together, so that their look-ups overlap.
const GROUP_MAX: usize = 16;

/// Commands of an entry, decoded.
#[derive(Default)]
struct Group {
    len: usize,
    databases: [u16; GROUP_MAX],
    spans: [Vec<Span>; GROUP_MAX],
    /// Hash of the argument behind the name.
    hashes: [Option<u64>; GROUP_MAX],
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
