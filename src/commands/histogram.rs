//! Durations counted in buckets of growing width: what LATENCY HISTOGRAM and INFO latencystats read.

/// Buckets within each doubling of the duration.
const STEPS: usize = 8;

/// Upper bound of the first bucket, in nanoseconds; Redis, too, resolves no finer.
pub const FIRST_NS: u64 = 1 << 10;

/// Doublings: the last bucket begins at about 18 minutes.
const DOUBLINGS: usize = 30;

/// Number of buckets; the last one also takes all that is longer.
pub const BUCKETS: usize = DOUBLINGS * STEPS + 1;

/// The bucket of a duration.
#[inline]
pub fn bucket_of(nanoseconds: u64) -> usize {
    if nanoseconds <= FIRST_NS {
        return 0;
    }
    // Bounds are inclusive, so the exact powers of two belong below.
    let above = nanoseconds - 1;
    let doubling = above.ilog2() as usize - FIRST_NS.ilog2() as usize;
    let step = (above >> (above.ilog2() as usize - STEPS.ilog2() as usize)) as usize % STEPS;
    (1 + doubling * STEPS + step).min(BUCKETS - 1)
}

/// The longest duration of a bucket, in nanoseconds.
pub fn upper_bound_ns(bucket: usize) -> u64 {
    match bucket {
        0 => FIRST_NS,
        _ => {
            let (doubling, step) = ((bucket - 1) / STEPS, (bucket - 1) % STEPS);
            (FIRST_NS << doubling) + ((FIRST_NS << doubling) / STEPS as u64) * (step as u64 + 1)
        }
    }
}

/// How Redis prints a bound: its histogram resolves two digits, and names the top of the range that it cannot
/// tell from the bound (65536 ns show as 66 us).
fn shown_bound_us(bound_ns: u64) -> u64 {
    (bound_ns + bound_ns / 128 - 1) / 1_000
}

/// Counts by bucket; empty when nothing was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
}

impl Histogram {
    /// `counts` by bucket, at most [`BUCKETS`] of them.
    pub fn from_counts(mut counts: Vec<u64>) -> Self {
        counts.truncate(BUCKETS);
        while counts.last() == Some(&0) {
            counts.pop();
        }
        Self { counts }
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds another histogram's counts.
    pub fn add(&mut self, other: &Histogram) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
    }

    /// With half the counts, rounded down.
    pub fn halved(&self) -> Histogram {
        Self::from_counts(self.counts.iter().map(|count| count / 2).collect())
    }

    /// What was counted since `earlier`.
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let before = earlier.counts.iter().chain(std::iter::repeat(&0));
        let counts = self
            .counts
            .iter()
            .zip(before)
            .map(|(now, then)| now.saturating_sub(*then))
            .collect();
        Histogram::from_counts(counts)
    }

    /// The duration that `percentile` (0 to 100) of all calls did not exceed, in nanoseconds, as exact as the buckets are.
    pub fn percentile_ns(&self, percentile: f64) -> u64 {
        let wanted = ((percentile / 100.0 * self.count() as f64).round() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_bound_ns(bucket);
            }
        }
        0
    }

    /// Cumulative counts at each doubling from the first to the last that holds calls: the longest duration in
    /// microseconds and how many calls took at most that. Doublings that add nothing are left out.
    pub fn cumulative_us(&self) -> Vec<(u64, u64)> {
        let mut cumulative = Vec::new();
        let mut seen = 0;
        let mut shown = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            let ends_doubling = bucket % STEPS == 0;
            if seen > shown && (ends_doubling || bucket + 1 == self.counts.len()) {
                let doubling = bucket.div_ceil(STEPS);
                cumulative.push((shown_bound_us(FIRST_NS << doubling), seen));
                shown = seen;
            }
        }
        cumulative
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(durations: &[u64]) -> Histogram {
        let mut counts = vec![0; BUCKETS];
        for duration in durations {
            counts[bucket_of(*duration)] += 1;
        }
        Histogram::from_counts(counts)
    }

    #[test]
    fn every_duration_lies_within_its_bucket() {
        for shift in 0..40 {
            for offset in [0, 1, 5, 77] {
                let duration = (1u64 << shift) + offset;
                let bucket = bucket_of(duration);
                assert!(duration <= upper_bound_ns(bucket), "{duration}");
                if bucket > 0 {
                    assert!(duration > upper_bound_ns(bucket - 1), "{duration}");
                }
            }
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_right_within_a_bucket() {
        let durations: Vec<u64> = (1..=1000).map(|n| n * 1_000).collect();
        let histogram = histogram(&durations);
        for (percentile, exact) in [(50.0, 500_000), (99.0, 990_000), (100.0, 1_000_000)] {
            let found = histogram.percentile_ns(percentile);
            assert!(
                found >= exact && found < exact + exact / 7,
                "{percentile}: {found}"
            );
        }
        assert_eq!(Histogram::default().percentile_ns(50.0), 0);
    }

    #[test]
    fn doublings_are_shown_in_microseconds_as_redis_shows_them() {
        let histogram = histogram(&[500, 900, 3_000, 1_000_000]);
        assert_eq!(histogram.cumulative_us(), [(1, 2), (4, 3), (1056, 4)]);
        assert_eq!(histogram.count(), 4);
    }

    #[test]
    fn a_difference_holds_what_came_later() {
        let mut sum = histogram(&[500]);
        let before = sum.clone();
        sum.add(&histogram(&[3_000]));
        assert_eq!(sum.since(&before), histogram(&[3_000]));
        assert_eq!(sum.since(&sum), Histogram::default());
    }
}
