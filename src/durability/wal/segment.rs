//! Segment files: their names, and how one becomes ready for records. A file carries a segment's name only when
//! its header is durable, so a bad header under such a name is always damage.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringfort_cluster::{Index, ShardId};

use super::error::WalError;
use super::headroom::Headroom;
use super::layout::{SegmentHeader, COUNT_MAX, END_RECORD_BYTES, SEGMENT_HEADER_BYTES};
use super::RecordNumber;
use crate::durability::disk::{is_full, write_all_at, SharedDisk, SharedFile};

/// Below this a smaller segment is not worth its file: the disk counts as full.
pub(super) const SEGMENT_BYTES_MIN: u64 = 16 << 10;
/// A new segment takes at most this part of the room: a log is freed segment by segment, so it needs several.
const ROOM_PART: u64 = 4;

pub(super) fn segment_name(worker: u32, sequence: u64) -> String {
    format!("wal-{worker}-{sequence:06}.log")
}

/// Worker and sequence of a segment's file name.
pub(super) fn parse_segment_name(name: &str) -> Option<(u32, u64)> {
    let (worker, sequence) = name
        .strip_prefix("wal-")?
        .strip_suffix(".log")?
        .split_once('-')?;
    let parsed = (worker.parse().ok()?, sequence.parse().ok()?);
    // One spelling only: two files must not claim to be the same segment.
    (parsed.1 <= COUNT_MAX && segment_name(parsed.0, parsed.1) == name).then_some(parsed)
}

/// Files that no log needs: half made, or kept for recycling by a process that is gone.
pub(super) fn is_leftover(name: &str) -> bool {
    name.starts_with("wal-") && (name.ends_with(".tmp") || name.ends_with(".spare"))
}

/// The highest index by shard that a segment holds.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    by_shard: Vec<Index>,
}

impl Holdings {
    pub fn note(&mut self, shard: ShardId, index: Index) {
        let at = usize::from(shard.0);
        if at >= self.by_shard.len() {
            self.by_shard.resize(at + 1, Index(0));
        }
        self.by_shard[at] = self.by_shard[at].max(index);
    }

    /// Whatever entries of the shard are here, nobody needs them any more.
    pub fn forget(&mut self, shard: ShardId) {
        if let Some(held) = self.by_shard.get_mut(usize::from(shard.0)) {
            *held = Index(0);
        }
    }

    /// The shards whose entries here are not all covered, as `covered` sees it.
    pub fn uncovered<'a>(
        &'a self,
        covered: &'a dyn Fn(ShardId) -> Index,
    ) -> impl Iterator<Item = ShardId> + 'a {
        let shards = (0..=u16::MAX).map(ShardId).zip(self.by_shard.iter());
        shards
            .filter(|(shard, held)| held.0 > 0 && **held > covered(*shard))
            .map(|(shard, _)| shard)
    }
}

/// A segment that takes records.
pub(super) struct Segment {
    pub file: SharedFile,
    pub path: PathBuf,
    pub sequence: u64,
    pub crc_seed: u32,
    /// Length of the file: records must end `END_RECORD_BYTES` before it.
    pub capacity: u64,
    /// Where the next record goes.
    pub tail: u64,
    /// 0 until one is written.
    pub first_record: RecordNumber,
    pub holdings: Holdings,
}

impl Segment {
    /// Whether a record of that many bytes fits, and an end record behind it.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.tail + (bytes + END_RECORD_BYTES) as u64 <= self.capacity
    }

    /// Makes room in the file itself, for a record that is larger than a whole segment; `room` is what the log may take.
    pub fn extend(
        &mut self,
        bytes: usize,
        dir: &Path,
        room: impl FnOnce() -> u64,
    ) -> Result<(), WalError> {
        if !self.has_room(bytes) {
            let len = self.tail + (bytes + END_RECORD_BYTES) as u64;
            if len - self.capacity > room() {
                let full = io::ErrorKind::StorageFull.into();
                return Err(no_room(full, dir, &self.path, bytes as u64));
            }
            self.file
                .allocate(len)
                .map_err(|error| no_room(error, dir, &self.path, bytes as u64))?;
            self.capacity = len;
        }
        Ok(())
    }
}

/// A segment that takes no more records.
pub(super) struct Closed {
    pub path: PathBuf,
    pub bytes: u64,
    pub first_record: RecordNumber,
    pub holdings: Holdings,
}

impl From<Segment> for Closed {
    fn from(segment: Segment) -> Self {
        Self {
            path: segment.path,
            bytes: segment.tail,
            first_record: segment.first_record,
            holdings: segment.holdings,
        }
    }
}

/// What a new segment is to be.
#[derive(Clone)]
pub(super) struct Plan {
    pub disk: SharedDisk,
    pub dir: PathBuf,
    pub header: SegmentHeader,
    pub bytes_wanted: u64,
    /// Less is of no use; more than `bytes_wanted` for a large record.
    pub bytes_needed: u64,
    /// A freed file to use again.
    pub spare: Option<PathBuf>,
    pub headroom: Arc<Headroom>,
    pub expects_small_writes: bool,
    /// Take what is needed, and no more, even out of the room for snapshots.
    pub at_all_costs: bool,
}

impl Plan {
    /// Makes the file: allocated, its header durable, under its final name.
    pub fn carry_out(&self) -> Result<Segment, WalError> {
        let name = segment_name(self.header.worker, self.header.sequence);
        let path = self.dir.join(&name);
        let temp = self.dir.join(name.replace(".log", ".tmp"));
        let made = self.make(&temp, &path);
        if made.is_err() {
            // Best effort: the next start clears leftovers away.
            let _ = self.disk.remove(&temp);
        }
        made
    }

    fn make(&self, temp: &Path, path: &Path) -> Result<Segment, WalError> {
        let spare = self.spare.as_ref().filter(|spare| !self.gave_up(spare));
        let file = match spare {
            // Its former names must be gone for good before it gets new content: under a segment's name it would be damage.
            Some(spare) => self
                .disk
                .rename(spare, temp)
                .and_then(|()| self.disk.sync_dir(&self.dir))
                .and_then(|()| self.disk.open(temp)),
            None => self.disk.create(temp),
        }
        .map_err(|error| no_room(error, &self.dir, temp, self.bytes_needed))?;
        let capacity = self.allocate(&file, temp, spare.is_some())?;
        let header = SegmentHeader {
            capacity,
            ..self.header
        };
        write_all_at(&*file, 0, &header.encode())
            .and_then(|()| file.sync())
            .and_then(|()| self.disk.rename(temp, path))
            .and_then(|()| self.disk.sync_dir(&self.dir))
            .map_err(|error| no_room(error, &self.dir, path, self.bytes_needed))?;
        if self.expects_small_writes {
            file.expect_small_writes();
        }
        Ok(Segment {
            file,
            path: path.to_owned(),
            sequence: self.header.sequence,
            crc_seed: header.crc_seed(),
            capacity,
            tail: SEGMENT_HEADER_BYTES as u64,
            first_record: RecordNumber(0),
            holdings: Holdings::default(),
        })
    }

    fn room(&self) -> u64 {
        self.headroom.room(&*self.disk, &self.dir)
    }

    /// Whether the freed file was removed, because the snapshots need its room.
    fn gave_up(&self, spare: &Path) -> bool {
        let short = self.room() == 0;
        short && self.disk.remove(spare).is_ok() && self.disk.sync_dir(&self.dir).is_ok()
    }

    /// Takes the wanted space, or on a nearly full disk as much as there is down to the need.
    fn allocate(&self, file: &SharedFile, path: &Path, recycled: bool) -> Result<u64, WalError> {
        let failed = |error| no_room(error, &self.dir, path, self.bytes_needed);
        let needed = self.bytes_needed.max(SEGMENT_BYTES_MIN);
        let present = file.len().map_err(failed)?;
        if present >= needed && recycled {
            return Ok(present);
        }
        let room = self.room();
        if needed.saturating_sub(present) > room && !self.at_all_costs {
            return Err(failed(io::ErrorKind::StorageFull.into()));
        }
        let mut bytes = self.bytes_wanted.min(room / ROOM_PART).max(needed);
        loop {
            match file.allocate(bytes) {
                Ok(()) => return Ok(bytes),
                Err(error) if is_full(&error) && bytes > needed => bytes = (bytes / 2).max(needed),
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

fn no_room(error: io::Error, dir: &Path, path: &Path, bytes: u64) -> WalError {
    if is_full(&error) {
        WalError::Full {
            dir: dir.to_owned(),
            bytes,
        }
    } else {
        WalError::io("prepare the WAL segment", path, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_has_one_spelling_of_its_name() {
        assert_eq!(parse_segment_name("wal-3-000042.log"), Some((3, 42)));
        assert_eq!(
            parse_segment_name("wal-3-1000042.log"),
            Some((3, 1_000_042))
        );
        for name in [
            "wal-3-42.log",
            "wal-03-000042.log",
            "wal-3-000042.tmp",
            "wal--1.log",
            "wal-0-18446744073709551615.log",
            "x",
        ] {
            assert_eq!(parse_segment_name(name), None, "{name}");
        }
    }

    #[test]
    fn holdings_name_the_shards_beyond_their_snapshot() {
        let mut holdings = Holdings::default();
        holdings.note(ShardId(4), Index(10));
        holdings.note(ShardId(4), Index(7));
        holdings.note(ShardId(1), Index(5));
        let covered = |shard: ShardId| if shard.0 == 1 { Index(5) } else { Index(9) };
        assert_eq!(
            holdings.uncovered(&covered).collect::<Vec<_>>(),
            [ShardId(4)]
        );
    }
}
