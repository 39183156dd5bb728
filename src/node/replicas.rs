//! Replicas that begin and end while the node runs, as its duties say. What the directory says of them comes first.

use std::sync::atomic::Ordering::Release;

use ringfort_cluster::{ReplicaId, ShardId};

use crate::durability::ReplicaError;
use crate::store::Databases;

use super::group::{LEADER_LOST, NOT_PROPOSED};
use super::recovery::{newcomer, placeholder};
use super::snapshots::Present;
use super::worker::Worker;

impl Worker {
    /// Has the replica of a group begin here, with nothing: its leader will send a snapshot. Does nothing where it has begun.
    ///
    /// # Errors
    /// When it must not begin, or a disk that fails: it has not begun then.
    pub fn start_replica(&mut self, group: ShardId, id: ReplicaId) -> Result<(), ReplicaError> {
        let place = self.place_of_group(group)?;
        let state = self.shared.cluster_state().clone();
        let held = &self.shards[place];
        if held.standing.is_held && held.replica.id() == id {
            return Ok(());
        }
        let is_suspect = |(suspect, here): (ShardId, ReplicaId)| suspect == group && here == id;
        if state.suspects().into_iter().any(is_suspect) {
            return Err(ReplicaError::Occupied(group, id));
        }
        if self.is_tidying(group) {
            return Err(ReplicaError::NotGone(group));
        }
        self.forget_never_begun(group, id)?;
        if state.is_littered(group) {
            self.tidy(place, group)?;
        }
        state.begin_replicas(&[(group, id)])?;
        let shard = &mut self.shards[place];
        shard.replica = newcomer(group, id);
        shard.standing.is_held = true;
        self.look_at_membership(place);
        self.look_at_leadership(place);
        self.stir(place);
        Ok(())
    }

    /// A replica may be noted as begun, ahead of its beginning, and the topology may have moved on meanwhile: it never began, and no duty
    /// names it any more. The one that takes its place (ids are given out in order) ends it.
    fn forget_never_begun(&self, group: ShardId, successor: ReplicaId) -> Result<(), ReplicaError> {
        let state = self.shared.cluster_state();
        let place = self.place_of_group(group)?;
        let is_held = self.shards[place].standing.is_held;
        match state.replica(group) {
            Some(noted) if noted < successor && !is_held && !state.is_suspect(group) => {
                state.end_replicas(&[(group, noted)])?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Ends a replica for good: it is noted, whoever waits for it is told, its data goes, and nothing of it comes back.
    /// Does nothing where another one is here, or none.
    ///
    /// # Errors
    /// A disk that fails or is full. The replica has ended, once that is noted; to be called again for the rest.
    pub fn drop_replica(&mut self, group: ShardId, id: ReplicaId) -> Result<(), ReplicaError> {
        let place = self.end_replica(group, id)?;
        match self.shared.cluster_state().is_littered(group) && !self.is_tidying(group) {
            true => self.tidy(place, group),
            false => Ok(()),
        }
    }

    /// As [`Worker::drop_replica`], but what it leaves behind goes later, off this thread: [`Worker::tidy_on`] sees to it.
    ///
    /// # Errors
    /// A disk that fails or is full.
    pub fn drop_replica_soon(&mut self, group: ShardId, id: ReplicaId) -> Result<(), ReplicaError> {
        let place = self.end_replica(group, id)?;
        if self.shared.cluster_state().is_littered(group) {
            self.begin_to_tidy(place, group);
        }
        Ok(())
    }

    /// Gives the place in which it was.
    fn end_replica(&mut self, group: ShardId, id: ReplicaId) -> Result<usize, ReplicaError> {
        let place = self.place_of_group(group)?;
        self.shared.cluster_state().end_replicas(&[(group, id)])?;
        if self.shards[place].replica.id() == id {
            self.vacate(place, group);
        }
        Ok(place)
    }

    /// As [`Worker::may_complain`]: what has begun to go will be gone soon.
    pub fn may_complain_of(&mut self, error: &ReplicaError) -> bool {
        !matches!(error, ReplicaError::NotGone(_)) && self.may_complain()
    }

    pub(super) fn place_of_group(&self, group: ShardId) -> Result<usize, ReplicaError> {
        let number = self.local_number(group);
        let number = number.filter(|&number| self.worker_of(number) == self.number);
        let number = number.ok_or(ReplicaError::NoPlace(group))?;
        Ok(self.place(number))
    }

    /// Puts a placeholder without data in the place of a replica.
    fn vacate(&mut self, place: usize, group: ShardId) {
        self.give_up_snapshot(place);
        self.give_up_digest(place, "the node has given its copy up");
        let count = self.databases();
        let shard = &mut self.shards[place];
        shard.abandon(LEADER_LOST, &mut self.io);
        shard.refuse(NOT_PROPOSED, &mut self.io);
        let limits = *shard.databases.limits();
        shard.vacate(
            Databases::new(count, self.hash_seed, limits),
            placeholder(group),
        );
        let number = shard.id.0;
        shard.standing.is_held = false;
        shard.standing.decides_alone = false;
        shard.standing.taken_in = None;
        self.look_at_leadership(place);
        self.set_access(place);
        self.shared.snapshot_indexes[usize::from(number)].store(0, Release);
        self.shared.note_loaded_snapshot(number, Present::default());
    }
}

#[cfg(test)]
#[path = "replicas_tests.rs"]
mod tests;
