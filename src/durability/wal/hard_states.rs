//! The last hard state of every shard, as records name them one after another.

use ringfort_cluster::{HardState, Index, ShardId};

#[derive(Debug, Default)]
pub(super) struct HardStates {
    by_shard: Vec<Option<HardState>>,
    known: usize,
}

impl HardStates {
    /// Term and vote are the new ones; the commit index only rises.
    pub fn set(&mut self, shard: ShardId, state: HardState) {
        let slot = self.slot(shard);
        let commit = state.commit.max(slot.commit);
        *slot = HardState { commit, ..state };
    }

    /// The commit index that entries name outlives the segment that they are in: without it, nobody would miss them.
    pub fn raise_commit(&mut self, shard: ShardId, commit: Index) {
        let slot = self.slot(shard);
        slot.commit = slot.commit.max(commit);
    }

    /// The shard's next replica starts from nothing.
    pub fn forget(&mut self, shard: ShardId) {
        let slot = self.by_shard.get_mut(usize::from(shard.0));
        if slot.and_then(Option::take).is_some() {
            self.known -= 1;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (ShardId, HardState)> + '_ {
        let shards = (0..=u16::MAX).map(ShardId).zip(&self.by_shard);
        shards.filter_map(|(shard, state)| state.map(|state| (shard, state)))
    }

    pub fn len(&self) -> usize {
        self.known
    }

    fn slot(&mut self, shard: ShardId) -> &mut HardState {
        let at = usize::from(shard.0);
        if at >= self.by_shard.len() {
            self.by_shard.resize(at + 1, None);
        }
        let slot = &mut self.by_shard[at];
        self.known += usize::from(slot.is_none());
        slot.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use ringfort_cluster::{ReplicaId, Term};

    use super::*;

    #[test]
    fn the_commit_index_never_falls_and_the_vote_is_the_last() {
        let mut states = HardStates::default();
        states.raise_commit(ShardId(3), Index(9));
        let vote = HardState {
            term: Term(2),
            vote: ReplicaId(1),
            commit: Index(4),
        };
        states.set(ShardId(3), vote);
        states.set(ShardId(0), HardState::default());
        let expected = [
            (ShardId(0), HardState::default()),
            (
                ShardId(3),
                HardState {
                    commit: Index(9),
                    ..vote
                },
            ),
        ];
        assert_eq!(states.iter().collect::<Vec<_>>(), expected);
        assert_eq!(states.len(), 2);
        states.forget(ShardId(3));
        states.forget(ShardId(9));
        assert_eq!(states.iter().collect::<Vec<_>>(), expected[..1]);
        assert_eq!(states.len(), 1);
    }
}
