//! The digests of the shards here, each of the state behind one entry of its log, so that the copies of a shard can be compared while it
//! goes on serving. Who compares asks every copy to await a mark, has the leader put the mark into the log (`ringfort_cluster::entry::mark`),
//! and then asks every copy what it has found. Decides nothing: `server/govern/verify` does.
//!
//! A copy that awaits the mark begins to add its state up when the mark is applied, in slices between the worker's turns, as snapshots
//! are made: what is about to change before the walk has come there is added first (`store/capture.rs`). Nothing is kept but the sum. A
//! shard has one walk at a time, so a snapshot of it waits until the digest is known, unless the disk is full. What nobody awaits, as in
//! a replay of the log, begins nothing.

mod wire;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ringfort_cluster::entry::{mark, mark_of, HEADER_BYTES};
use ringfort_cluster::replica::EntryKind;
use ringfort_cluster::{Index, LogEntry, Stamp};

use crate::durability::wal::{record_bytes, Purpose};
pub use crate::store::Digest;

use super::shard::Shard;
use super::worker::Worker;

pub use wire::{DigestAnswer, DigestAsk, DigestQuestion, DigestWireError};

/// Comparisons that one worker takes part in at a time.
const OPEN_MAX: usize = 16;
/// A comparison under way that nobody has asked about for so long is given up.
const UNHEARD_MAX: Duration = Duration::from_secs(20);
/// How long a digest is kept after it was last asked for. At most one for each shard is.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// Bytes added between two looks at the clock.
const STEP_BYTES: usize = 64 << 10;

/// What a shard knows of a comparison: the driver of its replica tells it of every entry that was applied.
#[derive(Clone, Debug, Default)]
pub enum Awaited {
    /// Nothing.
    #[default]
    Nothing,
    /// The mark with this token.
    Mark(u64),
    /// The mark has come, and the walk has begun.
    Come(Box<Walk>),
}

/// A walk over the state behind an entry.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    index: Index,
    digest: Digest,
}

impl Shard {
    /// To be told of every entry right behind its effects.
    #[inline]
    pub(super) fn look_for_mark(&mut self, entry: &LogEntry) {
        if let Awaited::Mark(token) = self.standing.awaited {
            let is_it = entry.kind == EntryKind::Commands && mark_of(&entry.data) == Some(token);
            if is_it {
                self.standing.awaited = Awaited::Come(Box::new(Walk {
                    index: entry.index,
                    digest: self.databases.begin_digest(),
                }));
            }
        }
    }
}

/// What has become of a comparison here.
enum State {
    /// The shard's [`Awaited`] has it.
    Awaiting,
    Walking(Walk),
    Done(Walk),
    Failed(String),
}

struct Comparison {
    token: u64,
    state: State,
    /// When it was last asked about.
    heard: Instant,
}

impl Comparison {
    fn is_open(&self) -> bool {
        matches!(self.state, State::Awaiting | State::Walking(_))
    }
}

/// The comparisons of a worker's shards.
#[derive(Default)]
pub struct Digests {
    /// By the shard's place.
    known: BTreeMap<usize, Comparison>,
    /// Whose turn it is where snapshots are made at the same time.
    is_next: bool,
}

impl Digests {
    fn open(&self) -> usize {
        self.known.values().filter(|known| known.is_open()).count()
    }

    fn is_walking(&self) -> bool {
        let mut states = self.known.values().map(|known| &known.state);
        states.any(|state| matches!(state, State::Walking(_)))
    }

    /// Whether the shard's capture is taken, or may be at any moment.
    pub(super) fn is_open_at(&self, place: usize) -> bool {
        self.known.get(&place).is_some_and(Comparison::is_open)
    }
}

impl Worker {
    /// Answers a question about a shard of this worker.
    pub fn answer_digest(&mut self, question: DigestQuestion) -> DigestAnswer {
        let is_shard = question.shard.0 < self.map.shards();
        let place = self.place_of_group(question.shard);
        let place = match place {
            Ok(place) if is_shard && self.shards[place].standing.is_held => place,
            _ => return DigestAnswer::failed("this node has no copy of the shard"),
        };
        self.settle_digest(place);
        match question.ask {
            DigestAsk::Await => self.await_mark(place, question.token),
            DigestAsk::Mark => self.put_mark(place, question.token),
            DigestAsk::Tell => self.tell_digest(place, question.token),
            DigestAsk::End => self.end_digest(place, question.token),
        }
    }

    fn await_mark(&mut self, place: usize, token: u64) -> DigestAnswer {
        match self.digests.known.get(&place) {
            Some(known) if known.token == token => return self.tell_digest(place, token),
            Some(known) if known.is_open() => {
                return DigestAnswer::busy("the shard is being compared already");
            }
            _ => {}
        }
        if self.snapshot_runs_at(place) {
            return DigestAnswer::busy("a snapshot of the shard is being made");
        }
        if self.digests.open() >= OPEN_MAX {
            return DigestAnswer::busy("too many shards are being compared");
        }
        self.shards[place].standing.awaited = Awaited::Mark(token);
        let comparison = Comparison {
            token,
            state: State::Awaiting,
            heard: Instant::now(),
        };
        self.digests.known.insert(place, comparison);
        self.tell_digest(place, token)
    }

    /// Puts the mark into the log, as an entry of its own. What waits for the end of the turn stands behind it.
    fn put_mark(&mut self, place: usize, token: u64) -> DigestAnswer {
        if !self.shards[place].leads() {
            return DigestAnswer::busy("this node does not lead the shard");
        }
        if let Some(wal) = &mut self.wal {
            let bytes = record_bytes(2, 1, HEADER_BYTES);
            if let Err(error) = wal.reserve(bytes, Purpose::Grows) {
                return DigestAnswer::busy(error.to_string());
            }
            self.io.stats.log_appended_bytes.add(bytes as u64);
        }
        let now = self.refresh_clock();
        let shard = &mut self.shards[place];
        let clock = shard.read_clock(now);
        let stamp = Stamp {
            clock_ms: clock.0,
            seed: token,
        };
        if let Err(error) = shard.replica.propose(mark(stamp)) {
            return DigestAnswer::busy(error.to_string());
        }
        // Invariant 2: no later stamp is older.
        shard.last_clock = clock;
        let index = shard.replica.last_index();
        self.stir(place);
        DigestAnswer::Marked(index)
    }

    fn tell_digest(&mut self, place: usize, token: u64) -> DigestAnswer {
        let known = self.digests.known.get_mut(&place);
        let Some(known) = known.filter(|known| known.token == token) else {
            return DigestAnswer::failed("the node does not know of the comparison: it was restarted, or was not asked for long");
        };
        known.heard = Instant::now();
        let shard = &self.shards[place];
        match &known.state {
            State::Awaiting => DigestAnswer::Awaiting(shard.replica.id(), shard.applied().0),
            State::Walking(walk) => DigestAnswer::Walking(walk.index, walk.digest.keys),
            State::Done(walk) => DigestAnswer::Done {
                index: walk.index,
                sum: walk.digest.sum,
                keys: walk.digest.keys,
            },
            State::Failed(reason) => DigestAnswer::failed(reason),
        }
    }

    /// Makes place for the next comparison of the shard.
    fn end_digest(&mut self, place: usize, token: u64) -> DigestAnswer {
        let known = self.digests.known.get(&place);
        if known.is_some_and(|known| known.token == token) {
            self.give_up_digest(place, "the comparison was ended");
        }
        self.tell_digest(place, token)
    }

    /// A walk that has begun where its entry was applied is taken up.
    fn settle_digest(&mut self, place: usize) {
        let Some(known) = self.digests.known.get_mut(&place) else {
            return;
        };
        let awaited = &mut self.shards[place].standing.awaited;
        if let (State::Awaiting, Awaited::Come(walk)) = (&known.state, &awaited) {
            known.state = State::Walking(**walk);
            *awaited = Awaited::Nothing;
        }
    }

    /// The comparison of the shard cannot go on here.
    pub(super) fn give_up_digest(&mut self, place: usize, why: &str) {
        self.settle_digest(place);
        let Some(known) = self.digests.known.get_mut(&place) else {
            return;
        };
        if known.is_open() {
            known.state = State::Failed(why.into());
            self.shards[place].standing.awaited = Awaited::Nothing;
            self.shards[place].databases.end_capture();
        }
    }

    /// The shard's data is about to be replaced as a whole. A mark that has not come may come behind that.
    pub(super) fn digest_replaced(&mut self, place: usize) {
        self.settle_digest(place);
        let known = self.digests.known.get(&place);
        if known.is_some_and(|known| matches!(known.state, State::Walking(_))) {
            self.give_up_digest(place, "a snapshot replaced the data that was looked at");
        }
    }

    /// Gives up all of them.
    pub(crate) fn give_up_digests(&mut self, why: &str) {
        let places: Vec<usize> = self.digests.known.keys().copied().collect();
        for place in places {
            self.give_up_digest(place, why);
        }
    }

    /// A slice of a snapshot or of a digest; true while there is more to do soon.
    pub fn background_step(&mut self) -> bool {
        let has_digests = self.look_after_digests();
        self.digests.is_next = !self.digests.is_next || !self.snapshots.is_active();
        if has_digests && self.digests.is_next {
            return self.digest_step() || self.snapshots.is_active();
        }
        self.snapshot_step() || has_digests
    }

    /// Takes up the walks that have begun, and forgets what nobody asks about. Returns whether there is a walk to go on with.
    fn look_after_digests(&mut self) -> bool {
        if self.digests.known.is_empty() {
            return false;
        }
        let places: Vec<usize> = self.digests.known.keys().copied().collect();
        for place in places {
            self.settle_digest(place);
            let known = &self.digests.known[&place];
            let unheard = known.heard.elapsed();
            if known.is_open() && unheard > UNHEARD_MAX {
                self.give_up_digest(place, "nobody asked about it for long");
            } else if unheard > KEPT_FOR {
                self.digests.known.remove(&place);
            }
        }
        self.digests.is_walking()
    }

    /// A slice of one walk, the first one's until it is done.
    fn digest_step(&mut self) -> bool {
        let slice = Duration::from_micros(self.live.snapshot_slice_us);
        let ends = Instant::now() + slice;
        for (place, known) in &mut self.digests.known {
            let State::Walking(walk) = &mut known.state else {
                continue;
            };
            let databases = &mut self.shards[*place].databases;
            while !databases.digest_step(STEP_BYTES, &mut walk.digest) {
                if Instant::now() >= ends {
                    return true;
                }
            }
            known.state = State::Done(*walk);
            break;
        }
        self.digests.is_walking()
    }
}

#[cfg(test)]
mod tests;
