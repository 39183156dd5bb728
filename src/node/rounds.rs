//! How a worker shares its rounds of agreement with other nodes among many commands. A round costs every node a message, a wake-up
//! and a turn, whether it holds one command or a hundred. So while one is under way, and little has come since, what comes waits
//! for its end, like writers at a log that wait for the sync before theirs; and when it has ended, the next one waits a moment for
//! the clients that were answered, which usually go on at once: else they would form two groups that wait for each other. Groups that
//! decide alone have no rounds.

use ringfort_cluster::Index;

use super::shard::Shard;
use super::worker::Worker;

/// With so much to propose, in bytes, a round is worth its price, and nothing waits.
const WORTH_BYTES: usize = 16 << 10;
/// How long commands wait at most for the round before theirs, in nanoseconds: one that takes longer waits for a node that is far
/// or gone, and others need not.
const WAIT_NS: u64 = 1_000_000;
/// How long a round waits at most for the clients of the one before, in nanoseconds; and no longer than half of what that one took.
const LINGER_NS: u64 = 250_000;

/// The rounds of one worker that others may wait for.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// Of the round under way: places of shards, and the index that each wants committed.
    open: Vec<(usize, Index)>,
    /// When it began: reading of the worker's ticks.
    since: u64,
    /// Commands in it.
    commands: usize,
    /// Commands that have come since.
    pub(super) waiting: usize,
    /// Of the round before: its commands, when it was seen to have ended, and how long the next one waits for its clients.
    expected: usize,
    ended_at: u64,
    linger_ns: u64,
}

impl Worker {
    /// Whether the writes of these shards wait for a round to end, or for company.
    #[inline]
    pub(super) fn waits_for_round(&mut self, dirty: &[usize]) -> bool {
        self.look_at_round();
        let rounds = &self.rounds;
        let is_worth_it = self.turn_bytes >= WORTH_BYTES;
        if is_worth_it || dirty.is_empty() || rounds.is_idle() {
            return false;
        }
        let has_others = |&place: &usize| has_rounds(&self.shards[place]);
        if !dirty.iter().all(has_others) {
            return false;
        }
        let ticks = &self.io.ticks;
        let has_company = rounds.waiting >= rounds.expected - rounds.expected / 4;
        let lingers = || ticks.delta_as_nanos(rounds.ended_at, ticks.raw()) < rounds.linger_ns;
        !rounds.open.is_empty() || (!has_company && lingers())
    }

    /// Notices the end of a round.
    #[inline]
    fn look_at_round(&mut self) {
        let rounds = &mut self.rounds;
        if rounds.open.is_empty() {
            return;
        }
        let shards = &self.shards;
        rounds.open.retain(|&(place, index)| {
            let replica = &shards[place].replica;
            replica.is_leader() && replica.committed() < index
        });
        let now = self.io.ticks.raw();
        let took = self.io.ticks.delta_as_nanos(rounds.since, now);
        if rounds.open.is_empty() {
            rounds.expected = rounds.commands;
            rounds.ended_at = now;
            rounds.linger_ns = LINGER_NS.min(took / 2);
        } else if took > WAIT_NS {
            rounds.open.clear();
            rounds.expected = 0;
        }
    }

    /// What these shards have just proposed is a round, where others have a say.
    #[inline]
    pub(super) fn begin_round(&mut self, dirty: &[usize]) {
        let commands = std::mem::take(&mut self.rounds.waiting);
        for &place in dirty {
            let shard = &self.shards[place];
            if has_rounds(shard) && shard.replica.is_leader() {
                let rounds = &mut self.rounds;
                let index = shard.replica.last_index();
                rounds.open.retain(|&(other, _)| other != place);
                rounds.open.push((place, index));
                rounds.commands = commands;
                rounds.since = self.io.ticks.raw();
            }
        }
    }
}

impl Rounds {
    /// Nothing is under way, and nobody is expected.
    fn is_idle(&self) -> bool {
        self.open.is_empty() && self.expected == 0
    }
}

fn has_rounds(shard: &Shard) -> bool {
    !shard.standing.decides_alone
}
