//! The background thread for disk work that must not hold up a worker's turn: syncs every second, snapshot chunks,
//! segments made ahead, removals. Jobs run one after another in the order in which they were submitted.

use std::io;
use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::wal::{WalError, WalSyncer};

/// Jobs that may wait. When full, `submit` refuses and the caller tries again later or does the work itself.
pub const DISK_JOBS_MAX: usize = 1024;

type Job = Box<dyn FnOnce() + Send>;
/// Called on the background thread with the first failed sync of a log. It must stop the process.
pub type SyncFailed = Box<dyn FnMut(WalError) + Send>;

/// The queue has no room; the job was dropped unexecuted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disk is behind: {DISK_JOBS_MAX} jobs are waiting")]
pub struct QueueFull;

/// A handle to the background thread; clones share it. The thread ends when the last handle is gone and its queue is empty.
#[derive(Clone)]
pub struct DiskWorker {
    jobs: Jobs,
    syncers: Arc<Mutex<Vec<WalSyncer>>>,
}

#[derive(Clone)]
enum Jobs {
    Thread(SyncSender<Job>),
    /// Jobs run at once, in the caller: for the simulator and for tests, where order must be a function of the seed.
    Inline,
}

impl DiskWorker {
    /// Starts the thread. With an interval it syncs the registered logs that often.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        sync_every: Option<Duration>,
        sync_failed: SyncFailed,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let (sender, receiver) = sync_channel(DISK_JOBS_MAX);
        let syncers = Arc::new(Mutex::new(Vec::new()));
        let thread = Loop {
            receiver,
            syncers: syncers.clone(),
            sync_every,
            sync_failed,
        };
        let handle = std::thread::Builder::new()
            .name("ringfort-disk".into())
            .spawn(move || thread.run())?;
        Ok((
            Self {
                jobs: Jobs::Thread(sender),
                syncers,
            },
            handle,
        ))
    }

    /// A worker without a thread: every job runs in the call that submits it, and nobody syncs by the clock.
    #[must_use]
    pub fn inline() -> Self {
        Self {
            jobs: Jobs::Inline,
            syncers: Arc::default(),
        }
    }

    /// Hands a job over. It reports its own completion, usually through a channel that it owns.
    ///
    /// # Errors
    /// `QueueFull`: the job was dropped.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) -> Result<(), QueueFull> {
        match &self.jobs {
            Jobs::Thread(sender) => sender.try_send(Box::new(job)).map_err(|_| QueueFull),
            Jobs::Inline => {
                job();
                Ok(())
            }
        }
    }

    /// Has a log synced at every interval from now on.
    pub fn sync_regularly(&self, syncer: WalSyncer) {
        self.syncers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(syncer);
    }
}

struct Loop {
    receiver: Receiver<Job>,
    syncers: Arc<Mutex<Vec<WalSyncer>>>,
    sync_every: Option<Duration>,
    sync_failed: SyncFailed,
}

impl Loop {
    fn run(mut self) {
        let mut due = self.sync_every.map(|every| Instant::now() + every);
        loop {
            let received = match due {
                Some(due) => self
                    .receiver
                    .recv_timeout(due.saturating_duration_since(Instant::now())),
                None => self
                    .receiver
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
            };
            match received {
                Ok(job) => job(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // Looked at after every job too: a long row of snapshot chunks must not put the sync off.
            if let (Some(every), Some(at)) = (self.sync_every, due) {
                if Instant::now() >= at {
                    self.sync_all();
                    due = Some(Instant::now() + every);
                }
            }
        }
        self.sync_all();
    }

    fn sync_all(&mut self) {
        let syncers = self
            .syncers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for syncer in syncers {
            if let Err(error) = syncer.sync() {
                (self.sync_failed)(error);
            }
        }
    }
}
