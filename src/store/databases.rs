//! All databases of one shard: what a snapshot holds and an entry is applied to.

use super::access::AccessClock;
use super::capture::{Capture, Copied, Encode, Sink};
use super::digest::{Digest, Summing};
use super::{HashSeed, Keyspace, Limits, Timestamp};

/// The databases of one shard, by number.
pub struct Databases {
    keyspaces: Vec<Keyspace>,
    limits: Limits,
    seed: HashSeed,
    /// Counts captures; marks which segments the running one has copied.
    generation: u32,
}

impl Databases {
    /// `seed` keys the hash that orders every keyspace; see [`Keyspace::new`].
    pub fn new(count: usize, seed: HashSeed, limits: Limits) -> Self {
        let keyspaces = (0..count).map(|_| Keyspace::new(seed, limits)).collect();
        Self {
            keyspaces,
            limits,
            seed,
            generation: 0,
        }
    }

    /// What keys the hash of every keyspace here.
    pub fn seed(&self) -> HashSeed {
        self.seed
    }

    pub fn count(&self) -> usize {
        self.keyspaces.len()
    }

    /// Database `number`; panics when there is none: SELECT has checked it.
    #[inline]
    pub fn keyspace(&self, number: u16) -> &Keyspace {
        &self.keyspaces[usize::from(number)]
    }

    #[inline]
    pub fn keyspace_mut(&mut self, number: u16) -> &mut Keyspace {
        &mut self.keyspaces[usize::from(number)]
    }

    /// Two different databases at once (MOVE, COPY ... DB).
    pub fn pair_mut(&mut self, first: u16, second: u16) -> (&mut Keyspace, &mut Keyspace) {
        let pair = self
            .keyspaces
            .get_disjoint_mut([usize::from(first), usize::from(second)]);
        let [a, b] = pair.expect("two different databases that exist");
        (a, b)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Keyspace> {
        self.keyspaces.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Keyspace> {
        self.keyspaces.iter_mut()
    }

    pub fn swap(&mut self, first: u16, second: u16) {
        self.keyspaces.swap(usize::from(first), usize::from(second));
    }

    /// Removes every key of every database.
    pub fn clear(&mut self) {
        self.keyspaces.iter_mut().for_each(Keyspace::clear);
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Thresholds of compact encodings. They decide element order, so they change by log entries only.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.keyspaces
            .iter_mut()
            .for_each(|keyspace| keyspace.set_limits(limits));
    }

    /// How accesses are recorded: follows `maxmemory-policy`; not replicated data.
    pub fn set_access(&mut self, lfu: bool, lfu_log_factor: u32, lfu_decay_minutes: u32) {
        for keyspace in &mut self.keyspaces {
            keyspace.access = AccessClock::new(lfu, lfu_log_factor, lfu_decay_minutes);
        }
    }

    /// [`Keyspace::set_untouched`] of all databases.
    pub fn set_untouched(&self, untouched: bool) {
        self.keyspaces
            .iter()
            .for_each(|keyspace| keyspace.set_untouched(untouched));
    }

    /// Bytes of all keys, values and tables.
    pub fn bytes(&self) -> usize {
        self.keyspaces.iter().map(Keyspace::bytes).sum()
    }

    /// Begins a point-in-time copy; [`Databases::capture_step`] carries it on. One capture at a time: an earlier one that has not
    /// ended is given up.
    pub fn begin_capture(&mut self, encode: Encode) {
        self.begin(|| Sink::records(encode));
    }

    /// Copies about `bytes_wanted` bytes more; true when everything has been handed out.
    pub fn capture_step(&mut self, bytes_wanted: usize, out: &mut Copied) -> bool {
        for keyspace in &mut self.keyspaces {
            let Some(mut capture) = keyspace.capture.take() else {
                continue;
            };
            let wanted = bytes_wanted.saturating_sub(out.bytes.len());
            let complete = capture.step(&mut keyspace.table, wanted);
            capture.take_copied(out);
            if !complete {
                keyspace.capture = Some(capture);
                return false;
            }
        }
        true
    }

    /// Begins to add up what is here at this instant, and gives the part that is known already; [`Databases::digest_step`] brings the
    /// others. A capture like that of [`Databases::begin_capture`].
    pub fn begin_digest(&mut self) -> Digest {
        self.begin(Sink::digest);
        Digest::of_limits(&self.limits)
    }

    /// Adds about `bytes_wanted` bytes more to the sum; true when everything was added.
    pub fn digest_step(&mut self, bytes_wanted: usize, sum: &mut Digest) -> bool {
        for keyspace in &mut self.keyspaces {
            let Some(mut capture) = keyspace.capture.take() else {
                continue;
            };
            let complete = capture.step(&mut keyspace.table, bytes_wanted);
            sum.join(capture.take_digest());
            if !complete {
                keyspace.capture = Some(capture);
                return false;
            }
        }
        true
    }

    /// Gives up the capture that is under way, if there is one.
    pub fn end_capture(&mut self) {
        for keyspace in &mut self.keyspaces {
            keyspace.capture = None;
        }
    }

    fn begin(&mut self, sink: impl Fn() -> Sink) {
        self.generation += 1;
        for (number, keyspace) in self.keyspaces.iter_mut().enumerate() {
            keyspace.table.born_in = self.generation;
            let capture = Capture::new(number as u16, self.generation, sink());
            keyspace.capture = Some(Box::new(capture));
        }
    }

    /// The sum over all that two replicas share at the same index, in one go. Keys that are due and not yet removed count, as they do
    /// in the log.
    pub fn digest(&self) -> Digest {
        let mut sum = Digest::of_limits(&self.limits);
        let mut summing = Summing::default();
        for (number, keyspace) in self.keyspaces.iter().enumerate() {
            keyspace.for_each(Timestamp(0), |key, value, deadline| {
                summing.add(number as u16, key, deadline, value);
            });
        }
        sum.join(summing.take());
        sum
    }
}
