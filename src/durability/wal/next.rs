//! The next segment of a log: made ahead of need on a background thread of the log's own, or on the spot where that failed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::error::WalError;
use super::headroom::Headroom;
use super::segment::{Plan, Segment};
use crate::durability::disk::Disk;
use crate::durability::worker::DiskWorker;

/// Freed files that are kept for recycling; more are removed.
const SPARES_MAX: usize = 8;
/// With less room than this for the log none is kept: what is free is to be seen as free.
const SPARE_ROOM_BYTES: u64 = 1 << 30;

#[derive(Default)]
enum Ahead {
    #[default]
    Nothing,
    Running,
    Ready(Box<Segment>),
    /// Not tried again ahead of need: the need itself will show the error.
    Failed,
}

#[derive(Default)]
struct State {
    ahead: Ahead,
    spares: Vec<PathBuf>,
    /// A freed file could not be removed.
    stuck: bool,
}

#[derive(Default)]
pub(super) struct NextSegment {
    state: Mutex<State>,
    changed: Condvar,
}

impl NextSegment {
    /// Starts making the segment on the log's background thread unless that has been done.
    pub fn prepare_ahead(self: &Arc<Self>, worker: &DiskWorker, plan: impl FnOnce() -> Plan) {
        let mut state = self.lock();
        if !matches!(state.ahead, Ahead::Nothing) {
            return;
        }
        state.ahead = Ahead::Running;
        let mut plan = plan();
        plan.spare = state.spares.pop();
        drop(state);
        let job = Job {
            next: self.clone(),
            plan,
            made: Ahead::Failed,
        };
        // A full queue drops the job, which marks it as failed.
        let _ = worker.submit_for_log(move || job.run());
    }

    /// The segment of this plan: the one made ahead, else one made now.
    pub fn take(&self, mut plan: Plan) -> Result<Segment, WalError> {
        let mut state = self.lock();
        while matches!(state.ahead, Ahead::Running) {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if let Ahead::Ready(segment) = std::mem::take(&mut state.ahead) {
            return Ok(*segment);
        }
        plan.spare = state.spares.pop();
        drop(state);
        plan.carry_out()
    }

    /// Puts a segment back that was taken and not used.
    pub fn give_back(&self, segment: Segment) {
        self.lock().ahead = Ahead::Ready(Box::new(segment));
    }

    /// Takes a freed file over for recycling, or removes it when there are enough. Runs in the order of the segments:
    /// once one could not be removed all later ones stay too, because a hole in their numbers would be taken for damage.
    pub fn keep_or_remove(&self, disk: &dyn Disk, path: &Path, headroom: &Headroom) {
        let dir = path.parent().unwrap_or(Path::new("."));
        let is_short = headroom.room(disk, dir) < SPARE_ROOM_BYTES;
        let keep = {
            let state = self.lock();
            if state.stuck {
                return;
            }
            state.spares.len() < SPARES_MAX && !is_short
        };
        let spare = path.with_extension("spare");
        let done = if keep {
            disk.rename(path, &spare)
        } else {
            // Synced: a file system may give the blocks out again only then.
            disk.remove(path).and_then(|()| disk.sync_dir(dir))
        };
        match done {
            Ok(()) if keep => self.lock().spares.push(spare),
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot free a WAL segment; it stays until the next start");
                self.lock().stuck = true;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Job {
    next: Arc<NextSegment>,
    plan: Plan,
    made: Ahead,
}

impl Job {
    fn run(mut self) {
        match self.plan.carry_out() {
            Ok(segment) => self.made = Ahead::Ready(Box::new(segment)),
            // The need itself will say so, if the room has not come by then.
            Err(error) if error.is_full() => {}
            Err(error) => tracing::warn!(%error, "preparing the next WAL segment failed"),
        }
    }
}

/// Also when the job never ran: whoever waits for the segment must not wait forever.
impl Drop for Job {
    fn drop(&mut self) {
        self.next.lock().ahead = std::mem::take(&mut self.made);
        self.next.changed.notify_all();
    }
}
