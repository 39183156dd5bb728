//! The clocks of connections: how long to wait before the next attempt, and the beats by which silence and standstill are noticed.
//! Knows no connection.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{interval_at, Instant, Interval, MissedTickBehavior};

use super::Timing;

/// The beats of a connection, one for each `Timing::ping`. Those at which nothing moved are counted ([`Misses`]), so that no clock
/// is read for what does move. A pause of this process counts as one beat.
pub(super) struct Beats(Interval);

impl Beats {
    pub fn new(timing: &Timing) -> Self {
        let mut clock = interval_at(Instant::now() + timing.ping, timing.ping);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(clock)
    }

    /// Resolves with every beat.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_tick(cx).map(|_| ())
    }
}

/// Beats in a row at which nothing had moved in one direction.
pub(super) struct Misses {
    missed: u32,
    missed_max: u32,
}

impl Misses {
    pub fn new(timing: &Timing) -> Self {
        Self {
            missed: 0,
            missed_max: timing.beats_max(),
        }
    }

    /// Something has moved.
    pub fn moved(&mut self) {
        self.missed = 0;
    }

    /// Nothing has moved at this beat. Says whether that has lasted for `Timing::stalled`.
    pub fn missed(&mut self) -> bool {
        self.missed += 1;
        self.missed >= self.missed_max
    }
}

/// The pauses between attempts.
pub(super) struct Backoff {
    first: Duration,
    last: Duration,
    next: Duration,
}

impl Backoff {
    pub fn new(timing: &Timing) -> Self {
        Self {
            first: timing.backoff_first,
            last: timing.backoff_last,
            next: timing.backoff_first,
        }
    }

    /// The connection has held.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let pause = jittered(self.next);
        self.next = (self.next * 2).min(self.last);
        pause
    }
}

/// Between half and all of `pause`, so that many links do not dial in step.
pub(super) fn jittered(pause: Duration) -> Duration {
    // Every RandomState has keys of its own, which is chance enough for this.
    let chance = RandomState::new().build_hasher().finish() as u32;
    pause / 2 + (pause / 2).mul_f64(f64::from(chance) / f64::from(u32::MAX))
}
