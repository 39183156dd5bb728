//! What dropped replicas leave behind goes: their data, their snapshots, their part of the log. On other threads, as long as it may take: a
//! gigabyte is neither freed nor unlinked within a turn.

use std::sync::mpsc::{sync_channel, Receiver, TryRecvError};
use std::time::Duration;

use ringfort_cluster::ShardId;

use crate::durability::snapshot::remove_snapshots;
use crate::durability::wal::RecordNumber;
use crate::durability::ReplicaError;
use crate::store::Databases;

use super::snapshots::Snapshots;
use super::worker::Worker;

/// How long the removal of snapshot files waits when the disk thread is behind.
const DISK_WAIT: Duration = Duration::from_millis(1);
/// Data of so many bytes takes no longer to free than to hand over.
const FREED_AT_ONCE_BYTES: usize = 1 << 20;
/// Of threads that nobody waits for; 0 is usual, 19 the least.
const BACKGROUND_NICE: i32 = 10;

/// What an ended replica has left, on its way out.
pub(super) struct Tidying {
    group: ShardId,
    /// The shard's number in log and snapshots.
    number: ShardId,
    step: Step,
}

enum Step {
    /// Its snapshots are to be removed, when the disk thread takes that up.
    Begun,
    /// They are being removed.
    Files(Receiver<Result<(), String>>),
    /// They are gone; the log is to say so.
    Gone,
    /// Once this record is durable.
    Log(RecordNumber),
}

impl Worker {
    /// Whether something that an earlier replica has left is on its way out.
    pub(super) fn is_tidying(&self, group: ShardId) -> bool {
        self.tidying.iter().any(|one| one.group == group)
    }

    pub(super) fn begin_to_tidy(&mut self, place: usize, group: ShardId) {
        if self.is_tidying(group) {
            return;
        }
        self.tidying.push(Tidying {
            group,
            number: self.shards[place].id,
            step: Step::Begun,
        });
        self.tidy_on();
    }

    /// Carries the tidying on as far as it goes without waiting. To be called now and then, between turns.
    pub fn tidy_on(&mut self) {
        for mut one in std::mem::take(&mut self.tidying) {
            if !self.tidy_one(&mut one) {
                self.tidying.push(one);
            }
        }
    }

    /// Whether nothing is left.
    fn tidy_one(&mut self, one: &mut Tidying) -> bool {
        if let Step::Begun = one.step {
            match self.snapshots.begin_to_remove(one.number) {
                Some(removal) => one.step = Step::Files(removal),
                None => return false,
            }
        }
        if let Step::Files(removal) = &one.step {
            one.step = match removal.try_recv() {
                Err(TryRecvError::Empty) => return false,
                Ok(Ok(())) => Step::Gone,
                Ok(Err(error)) => {
                    self.complain_of(&error);
                    Step::Begun
                }
                Err(TryRecvError::Disconnected) => Step::Begun,
            };
        }
        if let Step::Gone = one.step {
            match self.begin_to_forget(one.number) {
                Some(record) => one.step = Step::Log(record),
                None => return false,
            }
        }
        let Step::Log(record) = one.step else {
            return false;
        };
        if let Some(wal) = &mut self.wal {
            if wal.synced() < record {
                return false;
            }
            wal.forgotten(&[one.number]);
        }
        self.shared.cluster_state().tidied(one.group);
        true
    }

    /// None while the log has no room.
    fn begin_to_forget(&mut self, number: ShardId) -> Option<RecordNumber> {
        let Some(wal) = &mut self.wal else {
            return Some(RecordNumber::default());
        };
        let mut begun = wal.begin_to_forget(&[number]);
        // Elsewhere the log is synced by the clock.
        if begun.is_ok() && self.sync_always {
            begun = wal.sync();
        }
        match begun {
            Ok(record) => Some(record),
            Err(error) if error.is_full() => {
                self.complain_of(&error.to_string());
                None
            }
            Err(error) => super::stop_the_process(&error),
        }
    }

    fn complain_of(&mut self, error: &str) {
        if self.may_complain() {
            tracing::warn!("what a dropped replica has left cannot be removed yet: {error}");
        }
    }

    /// Sees to it, and waits, that neither a snapshot nor the log brings back what earlier replicas of the group have left.
    pub(super) fn tidy(&mut self, place: usize, group: ShardId) -> Result<(), ReplicaError> {
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

impl Snapshots {
    /// Removes a shard's snapshots, durably.
    fn remove_files(&self, number: ShardId) -> Result<(), String> {
        let done = loop {
            match self.begin_to_remove(number) {
                Some(done) => break done,
                None => std::thread::sleep(DISK_WAIT),
            }
        };
        done.recv()
            .unwrap_or_else(|_| Err("the disk thread is gone".into()))
    }

    /// Has the disk thread do so, behind whatever it still does for one of them; none when too much waits for it.
    fn begin_to_remove(&self, number: ShardId) -> Option<Receiver<Result<(), String>>> {
        let (sender, done) = sync_channel(1);
        let (disk, dir) = (self.disk.clone(), self.dir.clone());
        let job = move || {
            let removed = remove_snapshots(&disk, &dir, number);
            let _ = sender.send(removed.map_err(|error| error.to_string()));
        };
        self.disk_worker.submit(job).ok().map(|()| done)
    }
}

/// Frees data that nobody can reach any more, elsewhere if there is much of it.
pub(super) fn free(data: Databases) {
    if data.bytes() <= FREED_AT_ONCE_BYTES {
        return drop(data);
    }
    let freeing = std::thread::Builder::new().name("ringfort-free".into());
    // Where the system gives no thread it is freed here, as what was to be moved there is dropped.
    let _ = freeing.spawn(move || {
        yield_to_others();
        drop(data);
    });
}

/// Has this thread get what processor time others leave: moves can wait, clients cannot.
pub fn yield_to_others() {
    // Best effort: without it all share alike.
    let _ = rustix::process::setpriority_process(None, BACKGROUND_NICE);
}
