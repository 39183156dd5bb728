//! The background threads for disk work that must not hold up a worker's turn: one for syncs every second, snapshot chunks and
//! removals, and one for the segments of the log that are made ahead, which a turn waits for when they are late. On each, jobs run one
//! after another in the order in which they were submitted.

use std::io;
use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// A handle to the background threads; clones share it. They end when the last handle is gone and their queues are empty.
#[derive(Clone)]
pub struct DiskWorker {
    /// None: jobs run at once, in the caller; for the simulator and for tests, where order must be a function of the seed.
    queues: Option<Queues>,
    syncers: Arc<Mutex<Vec<WalSyncer>>>,
}

#[derive(Clone)]
struct Queues {
    bulk: SyncSender<Job>,
    log: SyncSender<Job>,
}

impl DiskWorker {
    /// Starts the threads. With an interval the registered logs are synced that often. The handle ends behind both.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        sync_every: Option<Duration>,
        sync_failed: SyncFailed,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let (bulk, receiver) = sync_channel(DISK_JOBS_MAX);
        let (log, of_log) = sync_channel::<Job>(DISK_JOBS_MAX);
        let syncers = Arc::new(Mutex::new(Vec::new()));
        let thread = Loop {
            receiver,
            syncers: syncers.clone(),
            sync_every,
            sync_failed,
        };
        let log_thread = std::thread::Builder::new()
            .name("ringfort-log".into())
            .spawn(move || of_log.iter().for_each(|job| job()))?;
        let handle = std::thread::Builder::new()
            .name("ringfort-disk".into())
            .spawn(move || {
                thread.run();
                // A job that panicked there has said so.
                let _ = log_thread.join();
            })?;
        Ok((
            Self {
                queues: Some(Queues { bulk, log }),
                syncers,
            },
            handle,
        ))
    }

    /// A worker without a thread: every job runs in the call that submits it, and nobody syncs by the clock.
    #[must_use]
    pub fn inline() -> Self {
        Self {
            queues: None,
            syncers: Arc::default(),
        }
    }

    /// Hands a job over. It reports its own completion, usually through a channel that it owns.
    ///
    /// # Errors
    /// `QueueFull`: the job was dropped.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) -> Result<(), QueueFull> {
        self.hand_over(job, |queues| &queues.bulk)
    }

    /// As [`DiskWorker::submit`], for what a worker's turn may come to wait for: it waits for nothing else.
    ///
    /// # Errors
    /// `QueueFull`: the job was dropped.
    pub fn submit_for_log(&self, job: impl FnOnce() + Send + 'static) -> Result<(), QueueFull> {
        self.hand_over(job, |queues| &queues.log)
    }

    fn hand_over(
        &self,
        job: impl FnOnce() + Send + 'static,
        queue: impl Fn(&Queues) -> &SyncSender<Job>,
    ) -> Result<(), QueueFull> {
        let Some(queues) = &self.queues else {
            job();
            return Ok(());
        };
        let handed = queue(queues).try_send(Box::new(job));
        handed.map_err(|_| QueueFull)
    }

    /// Has a log synced at every interval from now on.
    pub fn sync_regularly(&self, syncer: WalSyncer) {
        lock(&self.syncers).push(syncer);
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
        let syncers = lock(&self.syncers).clone();
        for syncer in syncers {
            if let Err(error) = syncer.sync() {
                // Reported once: no later sync of this log can succeed.
                lock(&self.syncers).retain(|known| !known.is_same_log(&syncer));
                (self.sync_failed)(error);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc::channel;

    use ringfort_cluster::ShardId;

    use super::*;
    use crate::durability::wal::recover;
    use crate::durability::{
        DiskCall, LastStop, RecoverOptions, SharedDisk, SimDisk, Wal, WalOptions,
    };

    fn a_log(disk: &SharedDisk) -> Wal {
        let options = RecoverOptions {
            last_stop: LastStop::Crash,
            accept_data_loss: false,
        };
        let dir = Path::new("/data");
        let found = recover(disk, dir, options, |_| Ok::<(), io::Error>(())).unwrap();
        let options = WalOptions::new(DiskWorker::inline());
        Wal::open(disk.clone(), dir, 0, options, &found, &[]).unwrap()
    }

    fn write(wal: &mut Wal) {
        wal.begin();
        wal.push_hard_state(ShardId(1), Default::default());
        wal.write().unwrap();
    }

    #[test]
    fn jobs_run_in_order_and_all_before_the_thread_ends() {
        let (worker, thread) = DiskWorker::start(None, Box::new(|_| {})).unwrap();
        let (sender, receiver) = channel();
        for number in 0..100 {
            let sender = sender.clone();
            worker.submit(move || sender.send(number).unwrap()).unwrap();
        }
        drop((worker, sender));
        thread.join().unwrap();
        assert_eq!(
            receiver.iter().collect::<Vec<_>>(),
            (0..100).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_full_queue_refuses_jobs_and_takes_them_again_later() {
        let (worker, thread) = DiskWorker::start(None, Box::new(|_| {})).unwrap();
        let (go_on, wait) = channel::<()>();
        let (started, has_started) = channel();
        let first = move || {
            started.send(()).unwrap();
            let _ = wait.recv();
        };
        worker.submit(first).unwrap();
        has_started.recv().unwrap();
        for _ in 0..DISK_JOBS_MAX {
            worker.submit(|| {}).unwrap();
        }
        assert_eq!(worker.submit(|| {}), Err(QueueFull));
        drop(go_on);
        while worker.submit(|| {}).is_err() {
            std::thread::yield_now();
        }
        drop(worker);
        thread.join().unwrap();
    }

    #[test]
    fn registered_logs_are_synced_by_the_clock() {
        let disk: SharedDisk = Arc::new(SimDisk::new(1));
        let every = Duration::from_millis(2);
        let (worker, thread) =
            DiskWorker::start(Some(every), Box::new(|error| panic!("{error}"))).unwrap();
        let mut wal = a_log(&disk);
        worker.sync_regularly(wal.syncer());
        for _ in 0..3 {
            write(&mut wal);
            while wal.synced() < wal.written() {
                std::thread::yield_now();
            }
        }
        drop(worker);
        thread.join().unwrap();
    }

    #[test]
    fn a_failed_sync_is_reported_once() {
        let disk = SimDisk::new(1);
        let shared: SharedDisk = Arc::new(disk.clone());
        let mut wal = a_log(&shared);
        write(&mut wal);
        disk.fail(DiskCall::Sync, 0, io::ErrorKind::Other);
        let (sender, receiver) = channel();
        let report: SyncFailed = Box::new(move |error| sender.send(error.to_string()).unwrap());
        let (worker, thread) = DiskWorker::start(Some(Duration::from_millis(1)), report).unwrap();
        worker.sync_regularly(wal.syncer());
        let message = receiver.recv().unwrap();
        assert!(message.contains("/data/wal-0-000001.log"), "{message}");
        std::thread::sleep(Duration::from_millis(10));
        drop(worker);
        thread.join().unwrap();
        assert_eq!(receiver.iter().count(), 0);
        assert!(wal.sync().is_err() && wal.write().is_err());
    }
}
