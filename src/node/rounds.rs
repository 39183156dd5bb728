//! How a worker shares its rounds of agreement with other nodes among many commands. A round costs every node a message, a wake-up
//! and a turn, whether it holds one command or a hundred. So while one is under way, and little has come since, what comes waits
//! for its end, like writers at a log that wait for the sync before theirs. Groups that decide alone have no rounds.

use ringfort_cluster::Index;

use super::shard::Shard;
use super::worker::Worker;

/// With so much to propose, in bytes, a round is worth its price, and nothing waits.
const WORTH_BYTES: usize = 16 << 10;
/// How long commands wait at most for the round before theirs, in nanoseconds: one that takes longer waits for a node that is far
/// or gone, and others need not.
const WAIT_NS: u64 = 1_000_000;

/// The round of one worker that is under way. Times are in nanoseconds of one clock.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// Places of shards, and the index that each wants committed.
    open: Vec<(usize, Index)>,
    /// When it began.
    since: u64,
}

impl Rounds {
    /// Notices the end of the round, or gives it up when it takes too long. Returns whether it goes on.
    fn goes_on(&mut self, now: u64, mut is_open: impl FnMut(usize, Index) -> bool) -> bool {
        self.open.retain(|&(place, index)| is_open(place, index));
        if now.saturating_sub(self.since) > WAIT_NS {
            self.open.clear();
        }
        !self.open.is_empty()
    }

    /// A shard has proposed something that others have to agree to.
    fn open(&mut self, place: usize, index: Index, now: u64) {
        self.open.retain(|&(other, _)| other != place);
        self.open.push((place, index));
        self.since = now;
    }
}

impl Worker {
    /// Whether the writes of these shards wait for the end of the round that is under way.
    #[inline]
    pub(super) fn waits_for_round(&mut self, dirty: &[usize]) -> bool {
        let is_worth_it = self.turn_bytes >= WORTH_BYTES;
        if self.rounds.open.is_empty() || dirty.is_empty() || is_worth_it {
            return false;
        }
        let now = self.round_clock();
        let shards = &self.shards;
        let goes_on = self.rounds.goes_on(now, |place, index| {
            let replica = &shards[place].replica;
            replica.is_leader() && replica.committed() < index
        });
        goes_on && dirty.iter().all(|&place| has_rounds(&shards[place]))
    }

    /// What these shards have just proposed is a round, where others have a say.
    #[inline]
    pub(super) fn begin_round(&mut self, dirty: &[usize]) {
        for &place in dirty {
            let shard = &self.shards[place];
            if has_rounds(shard) && shard.replica.is_leader() {
                let index = shard.replica.last_index();
                let now = self.round_clock();
                self.rounds.open(place, index, now);
            }
        }
    }

    /// Nanoseconds of a clock that is cheap to read.
    #[inline]
    pub(super) fn round_clock(&self) -> u64 {
        self.io.ticks.delta_as_nanos(0, self.io.ticks.raw())
    }
}

fn has_rounds(shard: &Shard) -> bool {
    !shard.standing.decides_alone
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000;

    #[test]
    fn a_round_goes_on_until_every_shard_of_it_has_its_entry() {
        let mut rounds = Rounds::default();
        rounds.open(3, Index(7), 0);
        rounds.open(4, Index(9), 0);
        assert!(rounds.goes_on(10 * US, |place, index| (place, index) == (4, Index(9))));
        assert!(!rounds.goes_on(20 * US, |place, _| {
            assert_eq!(place, 4, "what has ended is not asked for again");
            false
        }));
    }

    #[test]
    fn nobody_waits_for_a_round_that_takes_more_than_a_millisecond() {
        let mut rounds = Rounds::default();
        rounds.open(3, Index(7), 5 * US);
        assert!(rounds.goes_on(1_005 * US, |_, _| true));
        assert!(!rounds.goes_on(1_006 * US, |_, _| true));
        assert!(!rounds.goes_on(1_007 * US, |_, _| true));
    }

    #[test]
    fn a_shard_that_proposes_again_has_one_place_in_the_round() {
        let mut rounds = Rounds::default();
        rounds.open(3, Index(7), 0);
        rounds.open(3, Index(8), US);
        assert!(!rounds.goes_on(2 * US, |_, index| index == Index(7)));
    }
}
