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

/// The rounds of one worker that others may wait for.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// Places of shards, and the index that each wants committed.
    open: Vec<(usize, Index)>,
    /// When the newest one began: reading of the worker's ticks.
    since: u64,
}

impl Worker {
    /// Whether the writes of these shards wait for the end of the round that is under way.
    #[inline]
    pub(super) fn waits_for_round(&mut self, dirty: &[usize]) -> bool {
        if self.rounds.open.is_empty() || dirty.is_empty() {
            return false;
        }
        let shards = &self.shards;
        let is_open = |&(place, index): &(usize, Index)| {
            let replica = &shards[place].replica;
            replica.is_leader() && replica.committed() < index
        };
        self.rounds.open.retain(is_open);
        let ticks = &self.io.ticks;
        let age = ticks.delta_as_nanos(self.rounds.since, ticks.raw());
        if age > WAIT_NS {
            self.rounds.open.clear();
        }
        let has_others = |&place: &usize| has_rounds(&self.shards[place]);
        !self.rounds.open.is_empty()
            && self.turn_bytes < WORTH_BYTES
            && dirty.iter().all(has_others)
    }

    /// What these shards have just proposed is a round, where others have a say.
    #[inline]
    pub(super) fn begin_round(&mut self, dirty: &[usize]) {
        for &place in dirty {
            let shard = &self.shards[place];
            if has_rounds(shard) && shard.replica.is_leader() {
                let index = shard.replica.last_index();
                self.rounds.open.retain(|&(other, _)| other != place);
                self.rounds.open.push((place, index));
                self.rounds.since = self.io.ticks.raw();
            }
        }
    }
}

fn has_rounds(shard: &Shard) -> bool {
    !shard.standing.decides_alone
}
