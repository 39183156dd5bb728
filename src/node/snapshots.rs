//! Writes snapshots of a worker's shards, one after another, a slice at a time between the worker's turns; the
//! file work is the disk thread's. The log is released behind them. Without a disk they are made in memory, when another node needs one.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ringfort_cluster::replica::SnapshotPlace;
use ringfort_cluster::{Index, ShardId};

use crate::durability::wal::{OldSegments, Purpose, WalError};
use crate::durability::{BackgroundSnapshot, DiskWorker, MemoryDisk, SharedDisk, SnapshotInfo};
use crate::store::rdb::{put_record, Records};
use crate::store::{Copied, Deadline, Timestamp};

use super::process::system_memory_bytes;
use super::recovery::describe;
use super::worker::Worker;

/// Bytes copied between two looks at the clock; also about the size of a chunk handed to the disk thread.
const COPY_BYTES: usize = 64 << 10;
/// After a snapshot failed (a full disk), how long until the next try.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A snapshot's file beside its data: descriptions, sums, and the rounding to whole blocks.
const FILE_BYTES: u64 = 8 << 10;
/// Left free beside what snapshots need: for the marker, directories, and what is written until the need is told again.
const SLACK_BYTES: u64 = 512 << 10;
/// Bytes of log after which a worker tells again what its snapshots need.
const NEED_EVERY_BYTES: u64 = 256 << 10;
/// How long a turn may wait for snapshots to make room in the log before its writes are refused.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(1);
const ROOM_WAIT_STEP: Duration = Duration::from_millis(1);
/// After such a wait was in vain, how long no turn waits: reads wait with the writes.
const ROOM_WAIT_PAUSE: Duration = Duration::from_secs(10);

/// Where nothing is kept, the snapshots on their way between nodes may take this part of the machine's memory: one in so many.
const MEMORY_PART: u64 = 4;

/// A shard's newest snapshot; nothing but zeros before the first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Present {
    /// Of its file.
    pub bytes: u64,
    /// What the shard took in memory when it was made.
    pub memory_bytes: u64,
}

/// Bytes of disk that the next snapshots of these shards take beyond their present ones. Each shard is given with what it
/// takes in memory, and no file grows more than that does. One snapshot is written at a time, beside the one that it
/// replaces.
pub fn room_needed(shards: impl Iterator<Item = (u64, Present)>) -> u64 {
    let (mut growth, mut largest) = (0u64, 0u64);
    for (memory_bytes, present) in shards {
        let grown = FILE_BYTES + memory_bytes.saturating_sub(present.memory_bytes);
        growth += grown;
        largest = largest.max(present.bytes + grown);
    }
    growth + largest + SLACK_BYTES
}

/// How a snapshot ended, told by the disk thread.
type Ended = Arc<Mutex<Option<Result<SnapshotInfo, String>>>>;

/// The snapshot being written.
struct Running {
    place: usize,
    covers: SnapshotPlace,
    /// What the shard took when it began.
    memory_bytes: u64,
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
    pub(super) disk: SharedDisk,
    pub(super) dir: PathBuf,
    pub(super) disk_worker: DiskWorker,
    /// They lie on a disk, and a restart begins with them.
    are_kept: bool,
    old: Option<Arc<OldSegments>>,
    running: Option<Running>,
    queue: VecDeque<usize>,
    retry_at: Option<Instant>,
    /// What the log had appended when the need of room was told last, and the segment that was written then.
    told_at: (u64, u64),
    /// The log needs what is left of the disk: snapshots are made in the writers' own turns.
    pressed: bool,
    /// No turn waits for room before.
    wait_from: Option<Instant>,
    /// The last failure, until the next success.
    pub failed: Option<String>,
}

impl Snapshots {
    fn new(disk: SharedDisk, dir: PathBuf, disk_worker: DiskWorker) -> Self {
        Self {
            disk,
            dir,
            disk_worker,
            are_kept: false,
            old: None,
            running: None,
            queue: VecDeque::new(),
            retry_at: None,
            told_at: (0, 0),
            pressed: false,
            wait_from: None,
            failed: None,
        }
    }

    /// The snapshots of one of the `workers` of a node with this disk. Without one they are made in memory, for other nodes alone.
    pub fn on(disk: Option<&super::recovery::Disk>, workers: u16) -> Self {
        let Some(disk) = disk else {
            let bytes_max = system_memory_bytes() / (MEMORY_PART * u64::from(workers.max(1)));
            let disk = Arc::new(MemoryDisk::new(bytes_max));
            return Self::new(disk, PathBuf::new(), DiskWorker::inline());
        };
        let dir = disk.dir.join("snapshots");
        Self {
            are_kept: true,
            old: Some(disk.recovered.old_segments()),
            ..Self::new(disk.disk.clone(), dir, disk.worker.clone())
        }
    }

    /// The disk, the directory on it, and whether what lies there outlives its use.
    pub(super) fn place(&self) -> (SharedDisk, PathBuf, bool) {
        (self.disk.clone(), self.dir.clone(), self.are_kept)
    }

    /// Whether snapshots are there for a restart, and not for other nodes alone.
    pub(super) fn are_kept(&self) -> bool {
        self.are_kept
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

    /// Whether the snapshot that is being written is this shard's.
    pub(super) fn snapshot_runs_at(&self, place: usize) -> bool {
        let running = self.snapshots.running.as_ref();
        running.is_some_and(|running| running.place == place)
    }

    /// Queues a snapshot that somebody waits for, unless the disk has just failed one.
    pub(super) fn queue_unless_failing(&mut self, place: usize) {
        let now = Instant::now();
        if self.snapshots.retry_at.is_none_or(|at| at <= now) {
            self.queue_snapshot(place);
        }
    }

    /// Sees to followers that need a newer snapshot than there is, and to logs in memory that have become too long.
    fn queue_wanted(&mut self) {
        for place in 0..self.shards.len() {
            let shard = &mut self.shards[place];
            if !shard.standing.is_held || !shard.replica.wants_snapshot() {
                continue;
            }
            if self.snapshots.are_kept {
                self.queue_unless_failing(place);
                continue;
            }
            // Where nothing is kept a snapshot costs the memory that it takes: it is made when it is to be sent.
            let (index, term) = shard.applied();
            shard.replica.snapshot_is_durable(SnapshotPlace {
                index,
                term,
                membership: shard.membership.clone(),
            });
        }
    }

    fn queue_snapshot(&mut self, place: usize) {
        let running = self.snapshots.running.as_ref().map(|running| running.place);
        let is_held = self.shards[place].standing.is_held;
        if is_held && running != Some(place) && !self.snapshots.queue.contains(&place) {
            self.snapshots.queue.push_back(place);
            self.shared.snapshots_running.fetch_add(1, Relaxed);
        }
    }

    /// Tells how much of the disk the log has to leave for snapshots, and sees whether it comes near to that.
    fn tell_need(&mut self) {
        let Some(wal) = &self.wal else { return };
        let shards = self.shards.iter();
        let sizes = shards.map(|shard| {
            let present = self.shared.snapshot(shard.id.0);
            (shard.databases.bytes() as u64, present)
        });
        let stats = &self.io.stats;
        stats.snapshot_need_bytes.set(room_needed(sizes));
        let workers = &self.shared.stats;
        wal.headroom()
            .set(workers.sum(|worker| &worker.snapshot_need_bytes));
        let others = workers.sum(|worker| &worker.log_bytes) - stats.log_bytes.get();
        // Half of what the logs may have is left for the time that the snapshots take.
        let is_short = wal.room() < wal.bytes() + others + self.old_log().0;
        // Who refuses writes makes snapshots of whatever has changed: they may be smaller than those of before a FLUSHALL.
        self.snapshots.pressed = is_short || self.write_error.is_some();
        self.snapshots.told_at = (stats.log_appended_bytes.get(), wal.sequence());
    }

    /// After each turn that wrote: on a disk that is nearly full the log is shortened early, and at the writers' pace.
    #[inline]
    pub(super) fn shorten_log_in_time(&mut self) {
        let Some(wal) = &self.wal else { return };
        let (appended, sequence) = self.snapshots.told_at;
        let since = self.io.stats.log_appended_bytes.get() - appended;
        if since > NEED_EVERY_BYTES || wal.sequence() != sequence {
            self.tell_need();
            if self.snapshots.pressed {
                self.snapshot_cycle();
            }
        }
        if self.snapshots.pressed {
            self.snapshot_step();
        }
    }

    /// The log has no room for a record of so many bytes: waits while snapshots can make some. `full` is the answer else.
    pub(super) fn wait_for_room(&mut self, bytes: usize, full: WalError) -> Result<(), WalError> {
        let began = Instant::now();
        if self.snapshots.wait_from.is_some_and(|from| from > began) {
            self.snapshot_cycle();
            return Err(full);
        }
        loop {
            self.snapshot_cycle();
            let is_busy = self.snapshot_step();
            self.release_log();
            let Some(wal) = &mut self.wal else {
                return Ok(());
            };
            match wal.reserve(bytes, Purpose::Grows) {
                Err(error) if error.is_full() => {}
                reserved => return reserved,
            }
            // A log of several segments may still wait for a sync, an old one for other workers.
            let is_short = wal.segments() == 1 && self.old_log().1 == 0;
            let is_over = began.elapsed() >= ROOM_WAIT_MAX;
            if (is_short && !is_busy) || self.snapshots.retry_at.is_some() || is_over {
                self.snapshots.wait_from = Some(Instant::now() + ROOM_WAIT_PAUSE);
                return Err(full);
            }
            std::thread::sleep(ROOM_WAIT_STEP);
        }
    }

    /// Bytes and segments of earlier generations' logs, which the first worker counts as its own.
    pub(super) fn old_log(&self) -> (u64, u64) {
        let old = self.snapshots.old.as_ref().filter(|_| self.number == 0);
        old.map_or((0, 0), |old| (old.bytes(), old.segments()))
    }

    /// While writes are refused: sees whether they need not be any more.
    pub(super) fn look_for_room(&mut self) {
        let Some(wal) = self.wal.as_mut().filter(|_| self.write_error.is_some()) else {
            return;
        };
        if wal.reserve(0, Purpose::Grows).is_ok() {
            self.accept_writes();
        }
    }

    /// Once a cycle: begins snapshots of the shards that hold the oldest log when the log has grown too long.
    pub(super) fn snapshot_cycle(&mut self) {
        self.queue_wanted();
        self.tell_need();
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
        if wal.bytes() + old_bytes <= share.max(data as u64) && !self.snapshots.pressed {
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

    pub(super) fn release_log(&mut self) {
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
        if self.digests.is_open_at(place) {
            if !self.snapshots.pressed {
                return self.snapshots.queue.push_back(place);
            }
            self.give_up_digest(place, "the disk is full, and a snapshot had to make room");
        }
        let shard = &mut self.shards[place];
        if !shard.standing.is_held {
            // It was dropped meanwhile.
            self.shared.snapshots_running.fetch_sub(1, AcqRel);
            return;
        }
        let meta = describe(shard);
        let covers = SnapshotPlace {
            index: meta.index,
            term: meta.term,
            membership: meta.membership.clone(),
        };
        let memory_bytes = shard.databases.bytes() as u64;
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
            covers,
            memory_bytes,
            keys: 0,
            waiting: Vec::new(),
            phase,
        });
    }

    fn copy(&mut self, mut running: Running, ends: Instant) -> Running {
        let Phase::Copying(writer) = &running.phase else {
            return running;
        };
        let databases = &mut self.shards[running.place].databases;
        loop {
            if !running.waiting.is_empty() {
                if let Err(back) = writer.append(std::mem::take(&mut running.waiting)) {
                    running.waiting = back;
                    return running;
                }
            }
            if Instant::now() >= ends {
                return running;
            }
            let mut copied = Copied::default();
            let complete = databases.capture_step(COPY_BYTES, &mut copied);
            running.keys += copied.keys;
            running.waiting = copied.bytes;
            if complete && running.waiting.is_empty() {
                return finish(running);
            }
        }
    }

    fn end_snapshot(&mut self, running: &Running, result: Result<SnapshotInfo, String>) {
        self.shared.snapshots_running.fetch_sub(1, AcqRel);
        let shard = &mut self.shards[running.place];
        match result {
            // For other nodes alone: nothing rests on it.
            Ok(_) if !self.snapshots.are_kept => {
                self.io.stats.snapshots_taken.add(1);
                self.snapshots.failed = None;
            }
            Ok(info) => {
                shard.snapshot_index = running.covers.index;
                let place = &self.shared.snapshot_indexes[usize::from(shard.id.0)];
                place.store(running.covers.index.0, std::sync::atomic::Ordering::Release);
                // Followers that lag get it; the log before it is needed no more.
                shard.replica.snapshot_is_durable(running.covers.clone());
                self.io.stats.snapshots_taken.add(1);
                let snapshot = Present {
                    bytes: info.bytes,
                    memory_bytes: running.memory_bytes,
                };
                self.shared.note_snapshot(shard.id.0, snapshot, self.now());
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

    /// The shard's data is about to be replaced as a whole: a snapshot of what it was is of no use.
    pub(super) fn give_up_snapshot(&mut self, place: usize) {
        let running = self.snapshots.running.take();
        match running {
            Some(running) if running.place == place => {
                self.shared.snapshots_running.fetch_sub(1, AcqRel);
            }
            other => self.snapshots.running = other,
        }
    }

    /// Takes every shard through the bytes of a snapshot and back (DEBUG RELOAD).
    pub fn reload(&mut self) {
        self.flush();
        self.give_up_digests("DEBUG RELOAD");
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

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn shards_without_snapshots_need_room_for_all_and_for_the_largest_twice() {
        let shards = [MIB, 3 * MIB].map(|bytes| (bytes, Present::default()));
        let needed = room_needed(shards.into_iter());
        assert_eq!(needed, 7 * MIB + 3 * FILE_BYTES + SLACK_BYTES);
    }

    #[test]
    fn a_snapshot_needs_room_for_what_its_shard_has_grown_and_for_itself() {
        let present = Present {
            bytes: MIB,
            memory_bytes: 2 * MIB,
        };
        let grown = [(5 * MIB, present), (2 * MIB, present), (0, present)];
        let needed = room_needed(grown.into_iter());
        assert_eq!(needed, 3 * MIB + 4 * MIB + 4 * FILE_BYTES + SLACK_BYTES);
    }
}
