//! What happens when time passes: heartbeats, candidacies, and the end of what takes too long. Promises are kept in time, see
//! `lease.rs`; ticks decide only when something is tried.

use super::Replica;
use crate::types::Monotonic;
use raft::StateRole;

/// A candidate that has no answer tries again after so many ticks, and its jitter; twice as many when it asks for
/// real votes. A whole election timeout would be lost otherwise, because of one late message.
const CANDIDACY_TICKS_MIN: usize = 2;

/// Below this is the jitter of a candidate that knows who stands before it.
const LITTLE_TICKS: usize = 3;

/// What an attempt to be elected waits for beyond `raft`'s timeout.
#[derive(Debug)]
pub(super) struct Jitter {
    ticks_max: usize,
    /// The state of splitmix64.
    state: u64,
    drawn: usize,
    waited: usize,
}

impl Jitter {
    pub(super) fn new(ticks_max: usize, seed: u64) -> Self {
        let mut jitter = Self {
            ticks_max,
            state: seed,
            drawn: 0,
            waited: 0,
        };
        jitter.draw();
        jitter
    }

    fn draw(&mut self) {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        self.drawn = (mixed % (self.ticks_max as u64 + 1)) as usize;
        self.waited = 0;
    }

    /// For candidates of whom few are expected at once.
    pub(super) fn draw_little(&mut self) {
        self.draw();
        self.drawn %= LITTLE_TICKS;
    }

    /// One more tick of waiting, unless that and the drawn ones were enough.
    fn waits(&mut self, ticks: usize) -> bool {
        let waits = self.waited < ticks + self.drawn;
        self.waited += usize::from(waits);
        waits
    }
}

impl Replica {
    /// Lets time pass by one tick. Ticks that were missed during a pause are not to be made up for (invariant 6): one
    /// that follows the last in less than half its time does not count. One that falls into a write comes after
    /// it, and several of them come as one.
    pub fn tick(&mut self, now: Monotonic) {
        let now = self.note_time(now);
        let hasty = |last: Monotonic| now < last.plus_us(self.timing.tick_us / 2);
        if self.last_tick.is_some_and(hasty) {
            return;
        }
        self.last_tick = Some(now);
        if self.solo.is_some() {
            return;
        }
        if self.in_flight.is_some() {
            self.tick_owed = true;
        } else {
            self.tick_now();
        }
    }

    pub(super) fn tick_now(&mut self) {
        if self.is_leader() {
            self.join_round_to_heartbeat();
            self.raw.tick();
        } else if self.may_tick_to_election() {
            self.raw.tick();
        }
        self.look_after_transfer();
        self.look_after_snapshots();
        self.end_joint_state();
    }

    /// Whether a follower's or candidate's tick may pass: the one that would make it stand for election waits for its
    /// promises and for its jitter.
    fn may_tick_to_election(&mut self) -> bool {
        let raft = &self.raw.raft;
        if !raft.promotable() {
            return true;
        }
        let patience = match raft.state {
            StateRole::PreCandidate => CANDIDACY_TICKS_MIN,
            StateRole::Candidate => 2 * CANDIDACY_TICKS_MIN,
            _ if self.hurries() => {
                self.tick_in_haste();
                return false;
            }
            _ if raft.election_elapsed + 1 < raft.randomized_election_timeout() => {
                self.jitter.waited = 0;
                return true;
            }
            _ => 0,
        };
        let may_not = self.is_silent() || self.is_bound() || self.must_not_stand();
        if self.jitter.waits(patience) || may_not {
            return false;
        }
        self.jitter.draw();
        if patience > 0 {
            // Tried in vain: somebody was still bound by a promise, or the votes were split.
            let _ = self.raw.campaign();
        }
        patience == 0
    }
}
