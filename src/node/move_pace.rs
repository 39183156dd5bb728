//! How fast this node may send snapshots to others: at most what the operator allows, over all workers together, and less while clients'
//! writes take much longer than they do without moves. Knows nothing of what is sent.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What "no limit" means while clients are slowed down: bytes a second.
const UNLIMITED_BYTES_PER_SEC: u64 = 1 << 30;
/// Writes suffer when their p99 is so many times what it is without moves, and at least so much longer.
const SUFFER_TIMES: u64 = 3;
const SUFFER_US: u64 = 3_000;
/// They do well again below these: between the two nothing changes.
const WELL_TIMES: u64 = 2;
const WELL_US: u64 = 1_500;
/// Seconds in a row in which they do well, until moves are faster by half again.
const WELL_SECONDS: u32 = 3;
/// The part of the allowed pace that is always left, in thousandths.
const SHARE_MIN: u64 = 60;
const SHARE_MAX: u64 = 1000;
/// After the last byte of a move, until the p99 counts as one without moves.
const CALM_AFTER: Duration = Duration::from_secs(4);
/// A move gets through within so many seconds whatever holds it back: well before it is given up and begins anew.
const SECONDS_MAX: u64 = 300;

/// The pace of a node's moves.
pub struct MovePace {
    /// All that was sent.
    sent_bytes: AtomicU64,
    /// The part of the allowed pace that moves have now, in thousandths.
    share: AtomicU64,
    state: Mutex<State>,
}

struct State {
    /// When what was granted will have been sent.
    granted_until: Instant,
    last_sent: Option<Instant>,
    /// The p99 without moves, in microseconds; 0: not known.
    calm_us: u64,
    /// Seconds in which writes did well, in a row.
    well: u32,
}

impl Default for MovePace {
    fn default() -> Self {
        Self {
            sent_bytes: AtomicU64::new(0),
            share: AtomicU64::new(SHARE_MAX),
            state: Mutex::new(State {
                granted_until: Instant::now(),
                last_sent: None,
                calm_us: 0,
                well: 0,
            }),
        }
    }
}

impl MovePace {
    /// So many bytes were just sent, at most `limit` bytes a second being allowed (0: no limit): how long until the next ones may follow.
    pub fn sent(&self, bytes: u64, limit: u64, now: Instant) -> Duration {
        self.sent_bytes.fetch_add(bytes, Relaxed);
        let mut state = self.state();
        state.last_sent = Some(now);
        let share = self.share.load(Relaxed);
        let allowed = match limit {
            0 if share == SHARE_MAX => {
                state.granted_until = now;
                return Duration::ZERO;
            }
            0 => UNLIMITED_BYTES_PER_SEC,
            limit => limit,
        };
        let pace = (allowed as f64 * share as f64 / SHARE_MAX as f64).max(1.0);
        let takes = Duration::from_secs_f64(bytes as f64 / pace);
        state.granted_until = state.granted_until.max(now) + takes;
        state.granted_until.saturating_duration_since(now)
    }

    /// The pace below which no transfer of a file of so many bytes is held, in bytes a second.
    pub fn least(file_bytes: u64) -> u64 {
        file_bytes / SECONDS_MAX + 1
    }

    /// Once a second, with the p99 of clients' writes; 0 when there are none.
    pub fn heard_p99(&self, p99_us: u64, now: Instant) {
        let mut state = self.state();
        let moves = state
            .last_sent
            .is_some_and(|at| now.saturating_duration_since(at) < CALM_AFTER);
        let share = self.share.load(Relaxed);
        self.share
            .store(state.next_share(share, p99_us, moves), Relaxed);
    }

    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Relaxed)
    }

    /// The part of the allowed pace that moves have now: up to 1.
    pub fn share(&self) -> f64 {
        self.share.load(Relaxed) as f64 / SHARE_MAX as f64
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Halved while writes suffer, half more after some seconds in which they did well, else as it is.
    fn next_share(&mut self, share: u64, p99_us: u64, moves: bool) -> u64 {
        if !moves {
            self.well = 0;
            if p99_us > 0 {
                self.calm_us = match self.calm_us {
                    0 => p99_us,
                    calm => (7 * calm + p99_us) / 8,
                };
            }
            return SHARE_MAX;
        }
        let calm = self.calm_us;
        if p99_us > (SUFFER_TIMES * calm).max(calm + SUFFER_US) {
            self.well = 0;
            return (share / 2).max(SHARE_MIN);
        }
        if p99_us > (WELL_TIMES * calm).max(calm + WELL_US) {
            self.well = 0;
            return share;
        }
        self.well += 1;
        if self.well < WELL_SECONDS {
            return share;
        }
        self.well = 0;
        (share * 3 / 2).min(SHARE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn all_transfers_together_keep_to_the_limit() {
        let (pace, now) = (MovePace::default(), Instant::now());
        assert_eq!(pace.sent(MIB, 2 * MIB, now), Duration::from_millis(500));
        assert_eq!(pace.sent(MIB, 2 * MIB, now), Duration::from_secs(1));
        let later = at(now, 60);
        assert_eq!(pace.sent(MIB, 2 * MIB, later), Duration::from_millis(500));
        assert_eq!(pace.sent_bytes(), 3 * MIB);
        assert_eq!(pace.sent(MIB, 0, at(now, 70)), Duration::ZERO);
    }

    #[test]
    fn moves_slow_down_while_writes_suffer_and_recover_step_by_step() {
        let (pace, start) = (MovePace::default(), Instant::now());
        let mut second = 10;
        let mut hear = |p99_us, is_moving| {
            second += 1;
            if is_moving {
                pace.sent(1, 0, at(start, second));
            }
            pace.heard_p99(p99_us, at(start, second));
            pace.share()
        };
        (0..20).for_each(|_| assert!(hear(2_000, false) > 0.99));
        assert!(hear(5_000, true) > 0.99, "worse, but bearable");
        assert!(hear(20_000, true) < 0.51);
        assert!(hear(4_500, true) > 0.49, "in between nothing changes");
        (0..20).for_each(|_| {
            hear(20_000, true);
        });
        let least = hear(20_000, true);
        assert!(
            (0.05..0.1).contains(&least),
            "a move always goes on: {least}"
        );
        let steps: Vec<f64> = (0..6).map(|_| hear(2_000, true)).collect();
        assert!(
            steps[1] <= least && steps[2] > least && steps[5] > steps[2],
            "{steps:?}"
        );
        (0..30).for_each(|_| {
            hear(2_000, true);
        });
        assert!(hear(2_000, true) > 0.99);
    }

    #[test]
    fn what_moves_cost_is_not_taken_for_the_calm() {
        let (pace, start) = (MovePace::default(), Instant::now());
        pace.heard_p99(1_000, start);
        for second in 1..30 {
            pace.sent(1, 0, at(start, second));
            pace.heard_p99(60_000, at(start, second));
        }
        assert!(pace.share() < 0.1);
        pace.heard_p99(60_000, at(start, 32));
        assert_eq!(
            pace.state().calm_us,
            1_000,
            "what was sent last still counts"
        );
    }

    #[test]
    fn the_slowest_move_is_through_before_it_is_given_up() {
        let file = 100 << 30;
        assert!(file / MovePace::least(file) <= SECONDS_MAX);
    }
}
