//! The write-ahead log of one worker: one record a turn for all its shards, in preallocated and recycled segment
//! files. Knows nothing of what entries mean and never decides when to sync or to snapshot.
//!
//! A turn, in order: `reserve` (a full disk shows here, before anything is proposed), `begin`, `push`
//! and `push_hard_state`, `write`, and in mode `always` `sync`. A record is one unit: recovered whole or not at all.

mod chain;
mod changes;
mod error;
mod forget;
mod full_disk;
mod hard_states;
mod headroom;
mod layout;
mod marks;
mod next;
mod old;
mod reach;
mod record;
mod recover;
mod scan;
mod segment;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::hash_map::RandomState;
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringfort_cluster::{HardState, Index, LogEntry, ShardId};

use super::disk::{write_all_at, SharedDisk};
use super::worker::DiskWorker;
use full_disk::freeing_bytes;
use hard_states::HardStates;
use layout::{
    RecordKind, SegmentHeader, END_RECORD_BYTES, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES,
};
use next::NextSegment;
use record::RecordBuilder;
use segment::{Closed, Plan, Segment};
use sync::SyncState;

pub use error::{Damage, RecoverError, WalError};
pub use headroom::Headroom;
pub use layout::RECORD_BYTES_MAX;
pub use old::OldSegments;
pub use reach::DamagedLog;
pub use record::{record_bytes, Entry, Item, Items, Run, ENTRY_HEADER_BYTES, ITEM_HEADER_BYTES};
pub use recover::{
    recover, recover_checked, recover_sparing, Loss, RecordView, RecoverOptions, Recovered,
};
pub use sync::WalSyncer;

/// The next segment is asked for when this part of the current one is used: early, because a busy disk takes long to make it.
const AHEAD_BEHIND: u64 = 8;
/// Size of a segment file unless set otherwise.
pub const SEGMENT_BYTES_DEFAULT: u64 = 16 << 20;

/// Number of a record. Counts upwards within a worker's log and never goes back, also not over restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordNumber(pub u64);

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPosition {
    pub number: RecordNumber,
    /// The segment's number in its file name.
    pub sequence: u64,
    /// Byte offset in the segment.
    pub offset: u64,
}

/// How a log is kept.
#[derive(Clone)]
pub struct WalOptions {
    pub segment_bytes: u64,
    /// Where segment salts are drawn from. Must be unknown to clients; the simulator passes its own seed.
    pub salt_seed: u64,
    /// Makes the next segment ahead of need and removes freed ones.
    pub disk_worker: DiskWorker,
    /// What the logs leave free; the same for all logs of a disk.
    pub headroom: Arc<Headroom>,
    /// Records are synced by the clock and not one by one: see `DiskFile::expect_small_writes`.
    pub expects_small_writes: bool,
}

/// What a record is for, as far as a full disk is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Its entries may make the data grow.
    Grows,
    /// Its entries take no memory, or give some back: it may use the end that every segment keeps for such records.
    Frees,
}

impl WalOptions {
    /// The defaults, with a random salt seed.
    #[must_use]
    pub fn new(disk_worker: DiskWorker) -> Self {
        let salt_seed = RandomState::new().build_hasher().finish();
        Self {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            salt_seed,
            disk_worker,
            headroom: Arc::default(),
            expects_small_writes: false,
        }
    }
}

/// The log of one worker.
pub struct Wal {
    disk: SharedDisk,
    dir: PathBuf,
    worker: u32,
    generation: u64,
    options: WalOptions,
    current: Segment,
    /// Oldest first.
    closed: VecDeque<Closed>,
    next: Arc<NextSegment>,
    old: Arc<OldSegments>,
    sync: Arc<SyncState>,
    last: RecordNumber,
    builder: RecordBuilder,
    /// For records that the WAL itself writes while `builder` holds the caller's.
    own_builder: RecordBuilder,
    hard_states: HardStates,
    /// The sequence whose successor was asked for ahead of need.
    asked_ahead: u64,
    /// There was no room for a record that grows the data, and not enough has come since.
    refusing: bool,
    /// The last record whose sync was asked for so that segments can be freed.
    sync_asked: RecordNumber,
}

impl Wal {
    /// Opens a new generation of the worker's log behind what was recovered. `hard_states` are those of this worker's
    /// shards; they are durable when this returns, so that nothing but entries keeps the older generations alive.
    ///
    /// # Errors
    /// When there is no room for a segment or the disk fails.
    pub fn open(
        disk: SharedDisk,
        dir: &Path,
        worker: u32,
        options: WalOptions,
        recovered: &Recovered,
        hard_states: &[(ShardId, HardState)],
    ) -> Result<Self, WalError> {
        let mut table = HardStates::default();
        for (shard, state) in hard_states {
            table.set(*shard, *state);
        }
        let generation = recovered.generation() + 1;
        let header = SegmentHeader {
            worker,
            generation,
            sequence: recovered.last_sequence(worker) + 1,
            salt: 0,
            capacity: 0,
        };
        let freeing = freeing_bytes(hard_states.len());
        let bytes_needed = first_bytes(hard_states.len(), freeing);
        let plan = Plan {
            // A node must be able to start so that it can be freed.
            at_all_costs: true,
            ..plan(&disk, dir, &options, header, bytes_needed)
        };
        let next = Arc::new(NextSegment::default());
        let current = next.take(plan)?;
        let sync = Arc::new(SyncState::start_at(recovered.last_number()));
        sync.add_file(&current.path, &current.file);
        let mut wal = Self {
            disk,
            dir: dir.to_owned(),
            worker,
            generation,
            options,
            current,
            closed: VecDeque::new(),
            next,
            old: recovered.old_segments(),
            sync,
            last: recovered.last_number(),
            builder: RecordBuilder::default(),
            own_builder: RecordBuilder::default(),
            hard_states: table,
            asked_ahead: 0,
            refusing: false,
            sync_asked: RecordNumber(0),
        };
        wal.builder.begin();
        wal.write_checkpoint()?;
        wal.sync()?;
        Ok(wal)
    }

    /// Makes sure that a record of up to `bytes` (see `record_bytes`) finds its place.
    ///
    /// # Errors
    /// `Full`: refuse the writes, go on reading, ask again next time. Once it was said, records that grow the data are
    /// refused until there is room for a good many of them.
    pub fn reserve(&mut self, bytes: usize, purpose: Purpose) -> Result<(), WalError> {
        if bytes > RECORD_BYTES_MAX {
            return Err(WalError::TooLarge {
                bytes,
                max: RECORD_BYTES_MAX,
            });
        }
        let begun = self.current.first_record.0 > 0;
        let fits = begun && self.current.has_room(bytes + self.freeing_bytes());
        if fits && !self.refusing {
            return Ok(());
        }
        let (disk, dir) = (&*self.disk, &self.dir);
        let may_go_on = !self.refusing || self.options.headroom.may_resume(disk, dir);
        let made = match may_go_on {
            true if fits => Ok(()),
            true => self.make_room(bytes),
            false => Err(self.full(bytes)),
        };
        match made {
            Ok(()) => self.refusing = false,
            Err(error) if !error.is_full() => return Err(error),
            Err(error) => {
                self.refusing = true;
                self.take_last_room(bytes, purpose, error)?;
            }
        }
        Ok(())
    }

    /// Starts a record; what was pushed since the last `write` is forgotten.
    pub fn begin(&mut self) {
        self.builder.begin();
    }

    /// Adds an entry; `commit` is what will be known as committed once it is written. Consecutive entries of a shard
    /// should be pushed one after another: they share a header then.
    pub fn push(&mut self, shard: ShardId, commit: Index, entry: &LogEntry) {
        self.builder.push(shard, commit, entry);
    }

    /// Adds a shard's term, vote and commit index.
    pub fn push_hard_state(&mut self, shard: ShardId, state: HardState) {
        self.builder.push_hard_state(shard, state);
    }

    /// Whether nothing was pushed since `begin` or the last `write`.
    #[must_use]
    pub fn is_record_empty(&self) -> bool {
        self.builder.is_empty()
    }

    /// Writes the record and starts an empty one. Durable only after a sync; a crash of the process alone keeps it.
    ///
    /// # Errors
    /// The record then is not part of the log, and stays in the buffer: another `write` tries again, `begin` drops it.
    pub fn write(&mut self) -> Result<RecordPosition, WalError> {
        self.sync.check()?;
        self.reserve(self.builder.len(), Purpose::Frees)?;
        let position = self.append(RecordKind::Data, false)?;
        for shard in self.builder.forgotten.drain(..) {
            self.hard_states.forget(shard);
        }
        for (shard, state) in self.builder.hard_states.drain(..) {
            self.hard_states.set(shard, state);
        }
        for (shard, index, commit) in self.builder.runs.drain(..) {
            self.current.holdings.note(shard, index);
            self.hard_states.raise_commit(shard, commit);
        }
        self.builder.begin();
        let is_used = self.current.tail > self.current.capacity / AHEAD_BEHIND;
        if is_used && self.asked_ahead < self.current.sequence {
            self.prepare_next();
        }
        Ok(position)
    }

    /// `fdatasync`: every written record is durable when this returns. For mode `always`.
    ///
    /// # Errors
    /// Final: the caller stops the process without acknowledging anything more.
    pub fn sync(&mut self) -> Result<RecordNumber, WalError> {
        self.sync.sync()
    }

    /// For syncing from another thread.
    #[must_use]
    pub fn syncer(&self) -> WalSyncer {
        WalSyncer {
            state: self.sync.clone(),
        }
    }

    /// The segments of earlier generations, which all workers share.
    #[must_use]
    pub fn old_segments(&self) -> Arc<OldSegments> {
        self.old.clone()
    }

    /// The last record known to be durable.
    #[must_use]
    pub fn synced(&self) -> RecordNumber {
        self.sync.synced()
    }

    /// The last record written.
    #[must_use]
    pub fn written(&self) -> RecordNumber {
        self.last
    }

    /// Bytes of log that this worker's snapshots have not yet made superfluous, without older generations.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.closed.iter().map(|segment| segment.bytes).sum::<u64>() + self.current.tail
    }

    /// Segments that hold this log, without older generations.
    #[must_use]
    pub fn segments(&self) -> u64 {
        self.closed.len() as u64 + 1
    }

    /// Frees the oldest segments as far as `covered` (the index of each shard's durable snapshot) allows; says how
    /// many. Always oldest first: see `OldSegments::release`, which must have removed all older generations before.
    pub fn release(&mut self, covered: &dyn Fn(ShardId) -> Index) -> usize {
        if !self.old.is_empty() {
            return 0;
        }
        self.close_covered(covered);
        let mut freed = 0;
        while let Some(oldest) = self.closed.front() {
            let successor = self
                .closed
                .get(1)
                .map_or(self.current.first_record, |next| next.first_record);
            // The successor begins with all hard states: only when these are durable may older ones go.
            let hard_states_kept = successor.0 > 0 && successor <= self.sync.synced();
            if !hard_states_kept {
                self.ask_for_sync();
                break;
            }
            if oldest.holdings.uncovered(covered).next().is_some() {
                break;
            }
            let (disk, next, path) = (self.disk.clone(), self.next.clone(), oldest.path.clone());
            let headroom = self.options.headroom.clone();
            if self
                .options
                .disk_worker
                .submit(move || next.keep_or_remove(&*disk, &path, &headroom))
                .is_err()
            {
                break; // The disk is behind; the next call finds the segment still here.
            }
            self.closed.pop_front();
            freed += 1;
        }
        freed
    }

    /// The shards that keep the oldest segment (of older generations too) alive: snapshot these to free it. Empty when
    /// there is only the segment being written. May name shards of other workers.
    #[must_use]
    pub fn oldest_holders(&self, covered: &dyn Fn(ShardId) -> Index) -> Vec<ShardId> {
        if !self.old.is_empty() {
            return self.old.oldest_holders(covered);
        }
        let oldest = match self.closed.front() {
            Some(oldest) => &oldest.holdings,
            // See `close_covered`.
            None if self.refusing => &self.current.holdings,
            None => return Vec::new(),
        };
        oldest.uncovered(covered).collect()
    }

    /// Ends the log in order: a last record that says so, and a sync.
    ///
    /// # Errors
    /// When the disk fails; the log then looks as after a crash.
    pub fn close(mut self) -> Result<(), WalError> {
        self.own_builder.begin();
        self.append(RecordKind::Final, true)?;
        self.sync()?;
        Ok(())
    }

    #[cold]
    fn make_room(&mut self, bytes: usize) -> Result<(), WalError> {
        self.sync.check()?;
        if self.current.first_record.0 > 0 {
            self.switch(bytes, false)?;
        }
        // An earlier call may have stopped here, on a full disk: a segment without its checkpoint is never left behind,
        // because what comes before it may be freed.
        let opening = opening_bytes(self.hard_states.len(), bytes + self.freeing_bytes());
        let room = || self.options.headroom.room(&*self.disk, &self.dir);
        self.current.extend(opening, &self.dir, room)?;
        self.write_checkpoint()
    }

    /// Goes on in the next segment, the old one being closed by a record that says so.
    fn switch(&mut self, bytes: usize, at_all_costs: bool) -> Result<(), WalError> {
        let bytes_needed = first_bytes(self.hard_states.len(), bytes + self.freeing_bytes());
        let header = self.next_header();
        let plan = Plan {
            at_all_costs,
            ..plan(&self.disk, &self.dir, &self.options, header, bytes_needed)
        };
        let next = self.next.take(plan)?;
        self.own_builder.begin();
        if let Err(error) = self.append(RecordKind::Continues, true) {
            self.next.give_back(next);
            return Err(error);
        }
        self.sync.add_file(&next.path, &next.file);
        let closed = std::mem::replace(&mut self.current, next);
        self.closed.push_back(closed.into());
        Ok(())
    }

    /// All hard states, as the first record of a segment: those in older segments are not needed any more.
    fn write_checkpoint(&mut self) -> Result<(), WalError> {
        self.own_builder.begin();
        for (shard, state) in self.hard_states.iter() {
            self.own_builder.push_hard_state(shard, state);
        }
        self.append(RecordKind::Data, true)?;
        Ok(())
    }

    /// One record, one write. Nothing changes when it fails: the next attempt goes to the same place.
    fn append(&mut self, kind: RecordKind, own: bool) -> Result<RecordPosition, WalError> {
        let builder = if own {
            &mut self.own_builder
        } else {
            &mut self.builder
        };
        let segment = &mut self.current;
        let number = RecordNumber(self.last.0 + 1);
        let bytes = builder.finish(
            kind,
            segment.sequence,
            number,
            self.sync.synced(),
            segment.crc_seed,
        );
        let offset = segment.tail;
        write_all_at(&*segment.file, offset, bytes)
            .map_err(|error| WalError::io("append to the WAL segment", &segment.path, error))?;
        segment.tail += bytes.len() as u64;
        if segment.first_record.0 == 0 {
            segment.first_record = number;
        }
        self.last = number;
        self.sync.wrote(number);
        Ok(RecordPosition {
            number,
            sequence: segment.sequence,
            offset,
        })
    }

    fn prepare_next(&mut self) {
        self.asked_ahead = self.current.sequence;
        let bytes_needed = first_bytes(self.hard_states.len(), self.freeing_bytes());
        self.next.prepare_ahead(&self.options.disk_worker, || {
            plan(
                &self.disk,
                &self.dir,
                &self.options,
                self.next_header(),
                bytes_needed,
            )
        });
    }

    fn next_header(&self) -> SegmentHeader {
        SegmentHeader {
            worker: self.worker,
            generation: self.generation,
            sequence: self.current.sequence + 1,
            salt: 0,
            capacity: 0,
        }
    }
}

/// What goes into a new segment first: all hard states and the record that it is made for.
fn opening_bytes(hard_states: usize, record: usize) -> usize {
    record_bytes(hard_states, 0, 0) + record.max(RECORD_HEADER_BYTES)
}

/// The least length of a new segment's file.
fn first_bytes(hard_states: usize, record: usize) -> u64 {
    (SEGMENT_HEADER_BYTES + opening_bytes(hard_states, record) + END_RECORD_BYTES) as u64
}

fn plan(
    disk: &SharedDisk,
    dir: &Path,
    options: &WalOptions,
    header: SegmentHeader,
    bytes_needed: u64,
) -> Plan {
    // SplitMix64's finalizer over what makes the segment unique.
    let mut salt = options.salt_seed
        ^ header.sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (u64::from(header.worker) << 48);
    salt = (salt ^ (salt >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    salt = (salt ^ (salt >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    Plan {
        disk: disk.clone(),
        dir: dir.to_owned(),
        header: SegmentHeader {
            salt: salt ^ (salt >> 31),
            ..header
        },
        bytes_wanted: options.segment_bytes,
        bytes_needed,
        spare: None,
        headroom: options.headroom.clone(),
        expects_small_writes: options.expects_small_writes,
        at_all_costs: false,
    }
}
