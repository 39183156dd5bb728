//! Events that took long: what LATENCY LATEST and HISTORY show. Bounded in events and in samples an event.

use std::collections::BTreeMap;

/// Samples kept of one event.
pub const SAMPLES_MAX: usize = 160;

/// Events that are told apart; the names come from our own code.
const EVENTS_MAX: usize = 64;

/// One slow occurrence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Seconds since the Unix epoch.
    pub at_seconds: u64,
    pub duration_ms: u64,
}

/// The occurrences of one event, at most one a second.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// The oldest first.
    samples: Vec<Sample>,
    pub duration_ms_max: u64,
}

impl Event {
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    pub fn latest(&self) -> Option<Sample> {
        self.samples.last().copied()
    }

    fn record(&mut self, sample: Sample) {
        self.duration_ms_max = self.duration_ms_max.max(sample.duration_ms);
        match self.samples.last_mut() {
            Some(last) if last.at_seconds == sample.at_seconds => {
                last.duration_ms = last.duration_ms.max(sample.duration_ms);
            }
            _ => {
                if self.samples.len() == SAMPLES_MAX {
                    self.samples.remove(0);
                }
                self.samples.push(sample);
            }
        }
    }
}

/// All events, by name: `command`, `fast-command`, `aof-write` (the log), `expire-cycle` ...
#[derive(Debug, Default)]
pub struct LatencyLog {
    events: BTreeMap<&'static str, Event>,
}

impl LatencyLog {
    /// Takes an occurrence in. Whether it was slow enough is the caller's decision.
    pub fn record(&mut self, event: &'static str, sample: Sample) {
        if self.events.len() < EVENTS_MAX || self.events.contains_key(event) {
            self.events.entry(event).or_default().record(sample);
        }
    }

    pub fn events(&self) -> impl ExactSizeIterator<Item = (&'static str, &Event)> {
        self.events.iter().map(|(name, event)| (*name, event))
    }

    pub fn event(&self, name: &[u8]) -> Option<&Event> {
        self.events
            .iter()
            .find(|(known, _)| known.as_bytes() == name)
            .map(|(_, event)| event)
    }

    /// Forgets one event; false if it is unknown.
    pub fn reset_one(&mut self, name: &[u8]) -> bool {
        let before = self.events.len();
        self.events.retain(|known, _| known.as_bytes() != name);
        self.events.len() < before
    }

    /// Forgets all events and says how many there were.
    pub fn reset(&mut self) -> usize {
        std::mem::take(&mut self.events).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_seconds: u64, duration_ms: u64) -> Sample {
        Sample {
            at_seconds,
            duration_ms,
        }
    }

    #[test]
    fn one_sample_a_second_holds_the_longest() {
        let mut log = LatencyLog::default();
        log.record("command", sample(1, 5));
        log.record("command", sample(1, 9));
        log.record("command", sample(1, 7));
        log.record("command", sample(2, 3));
        let event = log.event(b"command").unwrap();
        assert_eq!(event.samples(), [sample(1, 9), sample(2, 3)]);
        assert_eq!(event.duration_ms_max, 9);
        assert_eq!(event.latest(), Some(sample(2, 3)));
    }

    #[test]
    fn old_samples_go() {
        let mut log = LatencyLog::default();
        for second in 0..500 {
            log.record("command", sample(second, 1));
        }
        let event = log.event(b"command").unwrap();
        assert_eq!(event.samples().len(), SAMPLES_MAX);
        assert_eq!(event.samples()[0].at_seconds, 500 - SAMPLES_MAX as u64);
    }

    #[test]
    fn events_are_forgotten_by_name_or_all() {
        let mut log = LatencyLog::default();
        log.record("a", sample(1, 1));
        log.record("b", sample(1, 1));
        assert!(log.reset_one(b"a"));
        assert!(!log.reset_one(b"a"));
        assert_eq!(log.reset(), 1);
        assert_eq!(log.events().len(), 0);
    }
}
