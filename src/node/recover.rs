//! What the replicas of a worker do when their group lost its majority for good: they yield to the one that was chosen, or are it. Who that
//! is `ringfort_cluster::recover` decides.

use ringfort_cluster::recover::{Choose, Yield};
use ringfort_cluster::suspects::Told;
use ringfort_cluster::{Index, ReplicaId, ShardId, Term};

use crate::durability::DirectoryError;

use super::recovery::named;
use super::worker::Worker;

impl Worker {
    /// Has replicas here help nobody else into office from now on; says of which groups. It is noted first: one that restarts before it
    /// has anything of the new leader's counts as suspect, and waits to be replaced.
    ///
    /// # Errors
    /// A disk that fails or is full: none has yielded.
    pub fn yield_to(&mut self, all: &[Yield]) -> Result<Vec<ShardId>, DirectoryError> {
        let is_as_told = |asked: &&Yield| self.is_as_told(asked.shard, asked.replica, asked.last);
        let asked: Vec<&Yield> = all.iter().filter(is_as_told).collect();
        let keeper = self.shared.cluster_state().clone();
        let new = |group: &ShardId| !keeper.is_suspect(*group);
        let new: Vec<ShardId> = asked.iter().map(|one| one.shard).filter(new).collect();
        if !new.is_empty() {
            keeper.change(|state| state.suspects.extend(&new))?;
        }
        let yields = |asked: &&&Yield| self.take_part(asked.shard, asked.to, asked.term);
        let yielded: Vec<ShardId> = asked.iter().filter(yields).map(|one| one.shard).collect();
        let not: Vec<ShardId> = new
            .into_iter()
            .filter(|group| !yielded.contains(group))
            .collect();
        if !not.is_empty() {
            keeper.change(|state| state.suspects.retain(|group| !not.contains(group)))?;
        }
        Ok(yielded)
    }

    /// Has replicas here decide alone from now on; says of which groups. It is done when it is written.
    pub fn choose(&mut self, all: &[Choose]) -> Vec<ShardId> {
        let mut chosen = Vec::new();
        for asked in all {
            let is_chosen =
                self.is_as_told(asked.shard, asked.replica, asked.last) && self.force(asked);
            if is_chosen {
                chosen.push(asked.shard);
            }
        }
        chosen
    }

    fn force(&mut self, asked: &Choose) -> bool {
        let Ok(place) = self.place_of_group(asked.shard) else {
            return false;
        };
        let forced = self.shards[place].replica.force(&asked.force());
        if forced {
            tracing::warn!(
                "{}: by the word of the operator replica {} decides alone from now on",
                named(&[asked.shard]),
                asked.replica
            );
            self.takes_part(place);
        }
        forced
    }

    fn is_as_told(&self, group: ShardId, replica: ReplicaId, last: (Term, Index)) -> bool {
        let told = self.tell_standings(&[group]).pop();
        let told: Option<Told> = told.and_then(|(_, told)| told);
        told.is_some_and(|told| {
            (told.replica, told.last, told.has_leader) == (replica, last, false)
        })
    }
}
