//! Replicas that begin and end while the node runs, as its duties say. What the directory says of them comes first.

use std::sync::atomic::Ordering::Release;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use ringfort_cluster::{ReplicaId, ShardId};

use crate::durability::snapshot::remove_snapshots;
use crate::durability::ReplicaError;
use crate::store::Databases;

use super::group::{LEADER_LOST, NOT_PROPOSED};
use super::recovery::{newcomer, placeholder};
use super::snapshots::Present;
use super::worker::Worker;

/// How long the removal of snapshot files waits when the disk thread is behind.
const DISK_WAIT: Duration = Duration::from_millis(1);

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

    /// Ends a replica for good: it is noted, whoever waits for it is told, its data goes, and nothing of it comes back.
    /// Does nothing where another one is here, or none.
    ///
    /// # Errors
    /// A disk that fails or is full. The replica has ended, once that is noted; to be called again for the rest.
    pub fn drop_replica(&mut self, group: ShardId, id: ReplicaId) -> Result<(), ReplicaError> {
        let place = self.place_of_group(group)?;
        let state = self.shared.cluster_state().clone();
        state.end_replicas(&[(group, id)])?;
        if self.shards[place].replica.id() == id {
            self.vacate(place, group);
        }
        match state.is_littered(group) {
            true => self.tidy(place, group),
            false => Ok(()),
        }
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

    /// Sees to it that neither a snapshot nor the log brings back what earlier replicas of the group have left.
    fn tidy(&mut self, place: usize, group: ShardId) -> Result<(), ReplicaError> {
        let number = self.shards[place].id;
        let failed = |error: String| ReplicaError::Log(group, error);
        self.snapshots.remove_files(number).map_err(failed)?;
        if let Some(wal) = &mut self.wal {
            match wal.forget(&[number]) {
                Ok(()) => {}
                Err(error) if error.is_full() => return Err(failed(error.to_string())),
                Err(error) => super::stop_the_process(&error),
            }
        }
        self.shared.cluster_state().tidied(group);
        Ok(())
    }
}

impl super::snapshots::Snapshots {
    /// Removes a shard's snapshots, durably. Behind whatever the disk thread still does for one of them.
    fn remove_files(&self, number: ShardId) -> Result<(), String> {
        let (sender, done) = sync_channel(1);
        loop {
            let (disk, dir, sender) = (self.disk.clone(), self.dir.clone(), sender.clone());
            let job = move || {
                let removed = remove_snapshots(&disk, &dir, number);
                let _ = sender.send(removed.map_err(|error| error.to_string()));
            };
            match self.disk_worker.submit(job) {
                Ok(()) => break,
                Err(_) => std::thread::sleep(DISK_WAIT),
            }
        }
        done.recv()
            .unwrap_or_else(|_| Err("the disk thread is gone".into()))
    }
}

#[cfg(test)]
#[path = "replicas_tests.rs"]
mod tests;
