//! How long clients' writes take here, from joining a shard's turn to their reply: counted once for each turn of a shard, by its oldest write.

use super::stats::Counter;
use crate::commands::histogram::{bucket_of, Histogram, BUCKETS};

/// The counts of one worker, which alone adds to them.
#[derive(Debug)]
pub struct WriteTimes(Box<[Counter]>);

impl Default for WriteTimes {
    fn default() -> Self {
        Self((0..BUCKETS).map(|_| Counter::default()).collect())
    }
}

impl WriteTimes {
    /// So many writes of a turn were answered this long after the first of them was asked.
    pub fn answered(&self, writes: u64, nanoseconds: u64) {
        self.0[bucket_of(nanoseconds)].add(writes);
    }

    pub fn histogram(&self) -> Histogram {
        Histogram::from_counts(self.0.iter().map(Counter::get).collect())
    }
}

/// The writes of the last seconds: what was counted loses half its weight every second.
#[derive(Debug, Default)]
pub struct RecentWrites {
    seen: Histogram,
    recent: Histogram,
}

impl RecentWrites {
    /// Once a second, with all that was ever counted. Gives the time that 99 of 100 writes did not exceed, in microseconds; 0 without any.
    pub fn p99_us(&mut self, all: Histogram) -> u64 {
        let mut recent = all.since(&self.seen);
        recent.add(&self.recent.halved());
        self.seen = all;
        self.recent = recent;
        self.recent.percentile_ns(99.0) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_p99_follows_what_happens_now_within_seconds() {
        let times = WriteTimes::default();
        let mut recent = RecentWrites::default();
        assert_eq!(recent.p99_us(times.histogram()), 0);
        times.answered(10_000, 1_000_000);
        let calm = recent.p99_us(times.histogram());
        assert!((1_000..1_200).contains(&calm), "{calm}");
        times.answered(9_000, 1_000_000);
        times.answered(1_000, 50_000_000);
        assert!(recent.p99_us(times.histogram()) > 50_000);
        for _ in 0..4 {
            times.answered(10_000, 1_000_000);
            recent.p99_us(times.histogram());
        }
        times.answered(10_000, 1_000_000);
        assert_eq!(recent.p99_us(times.histogram()), calm);
        (0..40).for_each(|_| {
            recent.p99_us(times.histogram());
        });
        assert_eq!(recent.p99_us(times.histogram()), 0, "nobody writes");
    }
}
