//! Writes snapshots of a worker's shards, one after another, a slice at a time between the worker's turns; the
//! file work is the disk thread's. The log is released behind them.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ringfort_cluster::{Index, ShardId};

use crate::durability::wal::OldSegments;
use crate::durability::{BackgroundSnapshot, DiskWorker, SharedDisk, SnapshotInfo, SnapshotMeta};
use crate::store::rdb::{put_record, Records};
use crate::store::{Copied, Deadline, Timestamp};

use super::recovery::SnapshotExtra;
use super::worker::Worker;

/// Bytes copied between two looks at the clock; also about the size of a chunk handed to the disk thread.
const COPY_BYTES: usize = 64 << 10;
/// After a snapshot failed (a full disk), how long until the next try.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How a snapshot ended, told by the disk thread.
type Ended = Arc<Mutex<Option<Result<SnapshotInfo, String>>>>;

/// The snapshot being written.
struct Running {
    place: usize,
    index: Index,
    keys: u64,
    /// Copied and not yet taken by the disk thread.
    waiting: Vec<u8>,
    phase: Phase,
}

enum Phase {
    Copying(BackgroundSnapshot),
    Finishing(Ended),
}

/// The snapshots of one worker.
pub struct Snapshots {
    disk: SharedDisk,
    dir: PathBuf,
    disk_worker: DiskWorker,
    pub(super) old: Option<Arc<OldSegments>>,
    running: Option<Running>,
    queue: VecDeque<usize>,
    retry_at: Option<Instant>,
    /// The last failure, until the next success.
    pub failed: Option<String>,
}

impl Snapshots {
    fn new(
        disk: SharedDisk,
        dir: PathBuf,
        disk_worker: DiskWorker,
        old: Option<Arc<OldSegments>>,
    ) -> Self {
        Self {
            disk,
            dir,
            disk_worker,
            old,
            running: None,
            queue: VecDeque::new(),
            retry_at: None,
            failed: None,
        }
    }

    /// The snapshots of a worker of a node with this disk; without one there are none.
    pub fn on(disk: Option<&super::recovery::Disk>) -> Self {
        match disk {
            Some(disk) => Self::new(
                disk.disk.clone(),
                disk.dir.join("snapshots"),
                disk.worker.clone(),
                Some(disk.recovered.old_segments()),
            ),
            None => {
                let disk = Arc::new(crate::durability::RealDisk);
                Self::new(disk, PathBuf::new(), DiskWorker::inline(), None)
            }
        }
    }

    /// Whether slices are wanted soon.
    pub fn is_active(&self) -> bool {
        self.running.is_some() || !self.queue.is_empty()
    }
}

impl Worker {
    /// Queues a snapshot of every shard (BGSAVE).
    pub fn snapshot_all(&mut self) {
        if self.wal.is_none() {
            return;
        }
        for place in 0..self.shards.len() {
            self.queue_snapshot(place);
        }
    }

    /// Number of shards whose snapshot is queued or being written.
    pub fn snapshots_open(&self) -> usize {
        self.snapshots.queue.len() + usize::from(self.snapshots.running.is_some())
    }

    fn queue_snapshot(&mut self, place: usize) {
        let running = self.snapshots.running.as_ref().map(|running| running.place);
        if running != Some(place) && !self.snapshots.queue.contains(&place) {
            self.snapshots.queue.push_back(place);
            self.shared.snapshots_running.fetch_add(1, Relaxed);
        }
    }

    /// Once a cycle: begins snapshots of the shards that hold the oldest log when the log has grown too long.
    pub(super) fn snapshot_cycle(&mut self) {
        let Some(wal) = &self.wal else { return };
        if self.snapshots.is_active()
            || self
                .snapshots
                .retry_at
                .is_some_and(|at| at > Instant::now())
        {
            return;
        }
        self.snapshots.retry_at = None;
        let data: usize = self
            .shards
            .iter()
            .map(|shard| shard.databases.bytes())
            .sum();
        let share = self.live.wal_max_bytes / u64::from(self.workers);
        let old_bytes = self.snapshots.old.as_ref().map_or(0, |old| old.bytes());
        if wal.bytes() + old_bytes <= share.max(data as u64) {
            return;
        }
        let holders = wal.oldest_holders(&|shard| self.covered(shard));
        for shard in holders {
            if self.worker_of(shard.0) == self.number {
                self.queue_snapshot(self.place(shard.0));
            }
        }
        self.release_log();
    }

    /// The index up to which a shard's durable snapshot reaches, on whatever worker it lives.
    fn covered(&self, shard: ShardId) -> Index {
        Index(self.shared.snapshot_indexes[usize::from(shard.0)].load(Acquire))
    }

    fn release_log(&mut self) {
        let shared = self.shared.clone();
        let covered =
            |shard: ShardId| Index(shared.snapshot_indexes[usize::from(shard.0)].load(Acquire));
        if let Some(old) = &self.snapshots.old {
            old.release(&covered);
        }
        if let Some(wal) = &mut self.wal {
            wal.release(&covered);
        }
    }

    /// One slice of snapshot work; true while there is more to do soon.
    pub fn snapshot_step(&mut self) -> bool {
        let ends = Instant::now() + Duration::from_micros(self.live.snapshot_slice_us);
        if self.snapshots.running.is_none() {
            self.begin_next();
        }
        let Some(mut running) = self.snapshots.running.take() else {
            return false;
        };
        let finished = match &running.phase {
            Phase::Finishing(ended) => ended.lock().unwrap_or_else(PoisonError::into_inner).take(),
            Phase::Copying(_) => {
                running = self.copy(running, ends);
                None
            }
        };
        match finished {
            None => self.snapshots.running = Some(running),
            Some(result) => self.end_snapshot(&running, result),
        }
        self.snapshots.is_active()
    }

    fn begin_next(&mut self) {
        let Some(place) = self.snapshots.queue.pop_front() else {
            return;
        };
        let shard = &mut self.shards[place];
        let (index, term) = shard.applied();
        let extra = SnapshotExtra {
            last_clock_ms: shard.last_clock().0,
            databases: shard.databases.count() as u16,
            limits: *shard.databases.limits(),
        };
        let meta = SnapshotMeta {
            shard: shard.id,
            index,
            term,
            membership: shard.replica.membership(),
            semantics: ringfort_cluster::entry::SEMANTICS_VERSION,
            extra: extra.encode(),
        };
        shard.databases.begin_capture(put_record);
        let Snapshots {
            disk,
            dir,
            disk_worker,
            ..
        } = &self.snapshots;
        let writer = BackgroundSnapshot::begin(disk_worker.clone(), disk.clone(), dir, meta);
        let phase = Phase::Copying(writer);
        self.snapshots.running = Some(Running {
            place,
            index,
            keys: 0,
            waiting: Vec::new(),
            phase,
        });
    }

    fn copy(&mut self, running: Running, ends: Instant) -> Running {
        let Running {
            place,
            index,
            mut keys,
            mut waiting,
            phase,
        } = running;
        let Phase::Copying(writer) = phase else {
            return Running {
                place,
                index,
                keys,
                waiting,
                phase,
            };
        };
        let databases = &mut self.shards[place].databases;
        loop {
            if !waiting.is_empty() {
                if let Err(back) = writer.append(std::mem::take(&mut waiting)) {
                    waiting = back;
                    break;
                }
            }
            if Instant::now() >= ends {
                break;
            }
            let mut copied = Copied::default();
            let complete = databases.capture_step(COPY_BYTES, &mut copied);
            keys += copied.keys;
            waiting = copied.bytes;
            if complete && waiting.is_empty() {
                return finish(Running {
                    place,
                    index,
                    keys,
                    waiting,
                    phase: Phase::Copying(writer),
                });
            }
        }
        Running {
            place,
            index,
            keys,
            waiting,
            phase: Phase::Copying(writer),
        }
    }

    fn end_snapshot(&mut self, running: &Running, result: Result<SnapshotInfo, String>) {
        self.shared.snapshots_running.fetch_sub(1, AcqRel);
        let shard = &mut self.shards[running.place];
        match result {
            Ok(info) => {
                shard.snapshot_index = running.index;
                let place = &self.shared.snapshot_indexes[usize::from(shard.id.0)];
                place.store(running.index.0, std::sync::atomic::Ordering::Release);
                self.io.stats.snapshots_taken.add(1);
                self.shared
                    .note_snapshot(shard.id.0, info.bytes, self.now());
                self.snapshots.failed = None;
                self.release_log();
            }
            Err(error) => {
                tracing::error!("{error}");
                self.io.stats.snapshots_failed.add(1);
                self.snapshots.failed = Some(error);
                let given_up = self.snapshots.queue.len();
                self.shared.snapshots_running.fetch_sub(given_up, AcqRel);
                self.snapshots.queue.clear();
                self.snapshots.retry_at = Some(Instant::now() + RETRY_AFTER);
            }
        }
    }

    /// Takes every shard through the bytes of a snapshot and back (DEBUG RELOAD).
    pub fn reload(&mut self) {
        self.flush();
        // A snapshot under way owns the capture: it ends first.
        while self.snapshot_step() {
            std::thread::sleep(Duration::from_millis(1));
        }
        for shard in &mut self.shards {
            let mut copied = Copied::default();
            shard.databases.begin_capture(put_record);
            while !shard.databases.capture_step(usize::MAX, &mut copied) {}
            shard.databases.clear();
            for record in Records::new(&copied.bytes) {
                let record = record.expect("written a moment ago");
                let deadline = record.deadline.map_or(Deadline::None, Deadline::At);
                let keyspace = shard.databases.keyspace_mut(record.database);
                keyspace.set(&record.key, record.value, deadline, Timestamp(0));
            }
        }
    }
}

/// Hands the end of a snapshot to the disk thread.
fn finish(running: Running) -> Running {
    let Phase::Copying(writer) = running.phase else {
        return running;
    };
    let ended: Ended = Arc::default();
    let tell = ended.clone();
    let done = move |result: Result<SnapshotInfo, crate::durability::snapshot::SnapshotError>| {
        let result = result.map_err(|error| error.to_string());
        *tell.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    };
    let phase = match writer.finish(running.keys, done) {
        Ok(()) => Phase::Finishing(ended),
        // The disk thread's queue is full: the next slice comes here again, with nothing more to copy.
        Err(writer) => Phase::Copying(writer),
    };
    Running { phase, ..running }
}
