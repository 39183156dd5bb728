//! What clients felt: latencies, throughput in any second, the longest wait, and the errors that they met. Knows nothing of keys.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Acknowledgements are counted by slots of so many microseconds; a second is as many slots as fill it, wherever it begins.
const SLOT_US: u64 = 10_000;
const SLOTS_PER_SECOND: usize = 100;
/// Each power of two of a latency has so many buckets: a figure is within 1.6 % of the truth.
const STEPS_BITS: u32 = 6;
const STEPS: u64 = 1 << STEPS_BITS;

/// Latencies in microseconds.
#[derive(Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    pub max: u64,
}

fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let shift = 63 - value.leading_zeros() - STEPS_BITS;
    (u64::from(shift + 1) * STEPS + (value >> shift) - STEPS) as usize
}

/// The largest value of a bucket.
fn value_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    ((bucket % STEPS + STEPS + 1) << shift) - 1
}

impl Histogram {
    pub fn add(&mut self, value: u64) {
        let at = bucket(value);
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    /// The value that `share` of all do not exceed; 0 when there is none.
    pub fn at(&self, share: f64) -> u64 {
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return value_of(bucket).min(self.max);
            }
        }
        0
    }
}

/// One phase of a run.
pub struct Phase {
    pub name: String,
    began_us: u64,
    latencies: Histogram,
    slots: Vec<u32>,
    acknowledged: u64,
    gap_us: u64,
    /// Replies that a plain client would have seen as errors, and connections that broke: by their first word.
    retried: BTreeMap<String, u64>,
    gave_up: u64,
}

impl Phase {
    pub fn begin(name: &str, now_us: u64) -> Self {
        Self {
            name: name.to_owned(),
            began_us: now_us,
            latencies: Histogram::default(),
            slots: Vec::new(),
            acknowledged: 0,
            gap_us: 0,
            retried: BTreeMap::new(),
            gave_up: 0,
        }
    }

    /// A command that was due at `due_us` is answered; the shard had given its last answer at `before_us`.
    pub fn answered(&mut self, now_us: u64, due_us: u64, before_us: u64) {
        let latency = now_us.saturating_sub(due_us);
        self.latencies.add(latency);
        self.acknowledged += 1;
        let slot = (now_us.saturating_sub(self.began_us) / SLOT_US) as usize;
        if slot >= self.slots.len() {
            self.slots.resize(slot + 1, 0);
        }
        self.slots[slot] += 1;
        // Only as long as something was asked did anybody wait.
        let silence = now_us.saturating_sub(before_us.max(self.began_us));
        self.gap_us = self.gap_us.max(silence.min(latency));
    }

    pub fn retried(&mut self, why: &str) {
        let word = why.split_whitespace().next().unwrap_or("?");
        *self.retried.entry(word.to_owned()).or_default() += 1;
    }

    /// A command was given up after all its tries.
    pub fn gave_up(&mut self) {
        self.gave_up += 1;
    }

    /// Commands acknowledged in the worst second, and when in the phase that began, in seconds; those of the mean second in a shorter phase.
    fn lowest_second(&self, now_us: u64) -> (u64, f64) {
        let whole = (now_us.saturating_sub(self.began_us) / SLOT_US) as usize;
        let slot = |at: usize| u64::from(self.slots.get(at).copied().unwrap_or(0));
        if whole < SLOTS_PER_SECOND {
            return (self.per_second(now_us) as u64, 0.0);
        }
        let mut sum: u64 = (0..SLOTS_PER_SECOND).map(slot).sum();
        let mut lowest = (sum, 0);
        for end in SLOTS_PER_SECOND..whole {
            sum += slot(end);
            sum -= slot(end - SLOTS_PER_SECOND);
            lowest = lowest.min((sum, end + 1 - SLOTS_PER_SECOND));
        }
        let seconds = lowest.1 as f64 / SLOTS_PER_SECOND as f64;
        (lowest.0, seconds)
    }

    fn per_second(&self, now_us: u64) -> f64 {
        let seconds = now_us.saturating_sub(self.began_us).max(1) as f64 / 1e6;
        self.acknowledged as f64 / seconds
    }

    /// As one line of JSON.
    pub fn report(&self, now_us: u64) -> String {
        let mut text = String::new();
        let seconds = now_us.saturating_sub(self.began_us) as f64 / 1e6;
        let (lowest, lowest_at) = self.lowest_second(now_us);
        let _ = write!(
            text,
            "{{\"phase\":\"{}\",\"began\":{:.3},\"seconds\":{seconds:.3},\"acknowledged\":{},\"per_second\":{:.1},\
             \"lowest_second\":{lowest},\"lowest_at\":{lowest_at:.2},\"p50_us\":{},\"p99_us\":{},\"max_us\":{},\"gap_us\":{},\"gave_up\":{},\"retried\":{{",
            self.name,
            self.began_us as f64 / 1e6,
            self.acknowledged,
            self.per_second(now_us),
            self.latencies.at(0.5),
            self.latencies.at(0.99),
            self.latencies.max,
            self.gap_us,
            self.gave_up,
        );
        for (at, (word, count)) in self.retried.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let word: String = word.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
            let _ = write!(text, "{comma}\"{word}\":{count}");
        }
        text.push_str("}}");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_two_percent_of_the_truth() {
        let mut histogram = Histogram::default();
        (1..=100_000).for_each(|value| histogram.add(value));
        for (share, truth) in [(0.5, 50_000.0), (0.99, 99_000.0), (0.999, 99_900.0)] {
            let found = histogram.at(share) as f64;
            assert!((found / truth - 1.0).abs() < 0.02, "{share}: {found}");
        }
        assert_eq!(histogram.at(1.0), 100_000);
        assert_eq!(Histogram::default().at(0.5), 0);
    }

    #[test]
    fn the_lowest_second_is_found_wherever_it_begins() {
        let mut phase = Phase::begin("p", 0);
        // 1000 a second, but nothing between 1.5 s and 2.3 s.
        for at in (0..4_000_000u64).step_by(1000) {
            if !(1_500_000..2_300_000).contains(&at) {
                phase.answered(at, at, at);
            }
        }
        assert_eq!(phase.lowest_second(4_000_000), (200, 1.3));
    }

    #[test]
    fn a_wait_is_no_longer_than_something_was_asked_for() {
        let mut phase = Phase::begin("p", 0);
        phase.answered(900_000, 899_000, 100_000);
        assert_eq!(phase.gap_us, 1000);
        phase.answered(1_000_000, 100_000, 900_000);
        assert_eq!(phase.gap_us, 100_000);
    }
}
