//! Which keys are due or may be evicted, and the removal of those that are due. The choice is the caller's: nothing
//! here reads a clock or draws by itself.

use super::{hash_key, is_due, Keyspace};
use crate::store::entry::Entry;
use crate::store::{Rng, Timestamp};

impl Keyspace {
    /// Looks for keys due at `now`, `segments_max` segments from hash `from` on. Returns where to go on
    /// (`None`: the end was reached) and the hash of a segment in which keys may be due.
    pub fn next_due(
        &self,
        from: u64,
        now: Timestamp,
        segments_max: usize,
    ) -> (Option<u64>, Option<u64>) {
        self.table.next_due(from, now, segments_max)
    }

    /// Removes the keys due at `now` in the part of the hash range from `from` on that one segment covers
    /// today, at most up to hash `to`. Returns how many.
    pub fn remove_due(&mut self, from: u64, to: u64, now: Timestamp) -> usize {
        let mut removed = 0;
        let mut at = Some(from);
        while let Some(hash) = at.filter(|&hash| hash <= to) {
            self.capture_segment(hash);
            let Some((_, next)) = self.table.segment_from(hash) else {
                break;
            };
            let seed = self.seed;
            let wanted = |entry: &Entry| {
                is_due(entry, now) && (from..=to).contains(&hash_key(seed, entry.key()))
            };
            for entry in self.table.due_in_segment(hash, wanted) {
                let entry_hash = self.hash(entry.key());
                let (place, _) = self
                    .table
                    .find(entry_hash, entry.key())
                    .expect("just listed");
                self.remove_at(entry_hash, place);
                removed += 1;
            }
            at = next;
        }
        self.expired += removed as u64;
        removed
    }

    /// Last hash of the segment that covers `from`.
    pub fn segment_end(&self, from: u64) -> u64 {
        match self.table.segment_from(from) {
            Some((_, Some(next))) => next - 1,
            _ => u64::MAX,
        }
    }

    /// Keys for eviction to choose from: their access bits and deadlines.
    pub fn sample(
        &self,
        rng: &mut Rng,
        wanted: usize,
        with_deadline_only: bool,
        mut visit: impl FnMut(&[u8], u32, Option<Timestamp>),
    ) {
        let mut entries = Vec::with_capacity(wanted);
        self.table
            .sample(rng, wanted, with_deadline_only, &mut entries);
        for entry in entries {
            visit(entry.key(), entry.access(), entry.deadline());
        }
    }
}
