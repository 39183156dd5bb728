//! Reads the logs of all workers back and decides what a bad record means: the torn tail of a crash, what a power cut
//! may take, or damage. Changes files only after all logs were read and found good. Knows nothing of what entries mean.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringfort_cluster::{HardState, ShardId};

use super::chain::{Found, Replay};
use super::error::{Damage, RecoverError};
use super::layout::{BadHeader, SegmentHeader, FORMAT_VERSION, SEGMENT_HEADER_BYTES};
use super::reach::DamagedLog;
use super::record::Items;
use super::segment::{is_leftover, parse_segment_name};
use super::{OldSegments, RecordNumber};
use crate::durability::disk::{read_full_at, SharedDisk};
use crate::durability::marker::LastStop;

/// What the caller knows about the last run, and what the operator allows.
#[derive(Clone, Copy, Debug)]
pub struct RecoverOptions {
    pub last_stop: LastStop,
    /// `--accept-data-loss`: cut the log at damage instead of refusing to start.
    pub accept_data_loss: bool,
}

/// One record of a worker's log.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    pub worker: u32,
    pub number: RecordNumber,
    pub path: &'a Path,
    /// In the file.
    pub offset: u64,
    pub items: Items<'a>,
}

/// Records that were dropped: unsynced ones after a power cut, or damaged ones with the operator's consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    pub path: PathBuf,
    /// Where the log was cut.
    pub offset: u64,
    /// Intact records behind the cut that went with it.
    pub records: u64,
    /// Whole segments that went with it.
    pub segments: usize,
    /// Set when synced data was damaged; a power cut leaves it unset.
    pub damage: Option<Damage>,
}

/// What was found; new generations of the workers' logs are opened behind it.
#[derive(Debug)]
pub struct Recovered {
    generation: u64,
    last_sequence: BTreeMap<u32, u64>,
    last_number: RecordNumber,
    hard_states: BTreeMap<ShardId, HardState>,
    old: Arc<OldSegments>,
    /// Records delivered.
    pub records: u64,
    /// Bytes of log read.
    pub bytes: u64,
    pub losses: Vec<Loss>,
}

impl Recovered {
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn last_sequence(&self, worker: u32) -> u64 {
        self.last_sequence.get(&worker).copied().unwrap_or(0)
    }

    pub(super) fn last_number(&self) -> RecordNumber {
        self.last_number
    }

    /// The segments that were read; they stay until released.
    #[must_use]
    pub fn old_segments(&self) -> Arc<OldSegments> {
        self.old.clone()
    }

    /// The last hard state of every shard, its commit index raised to what later entries named.
    #[must_use]
    pub fn hard_states(&self) -> &BTreeMap<ShardId, HardState> {
        &self.hard_states
    }
}

/// Reads all records in the directory in order of generation, worker and position, handing each to `consume`.
///
/// The consumer sees entries as they were written: an index that comes again replaces the entry and cuts off those
/// after it; entries that its snapshot covers may come too. It checks that no index is skipped.
///
/// # Errors
/// Damage, an unknown format version, a failing disk, or what `consume` returns. Nothing was changed on disk then.
pub fn recover<E>(
    disk: &SharedDisk,
    dir: &Path,
    options: RecoverOptions,
    consume: impl FnMut(&RecordView<'_>) -> Result<(), E>,
) -> Result<Recovered, RecoverError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    recover_checked(disk, dir, options, consume, || Ok(()))
}

/// As [`recover`], for a consumer that knows only at the end whether all is well: `check` is asked when everything was read.
///
/// # Errors
/// As [`recover`], and what `check` returns. Nothing was changed on disk then.
pub fn recover_checked<E>(
    disk: &SharedDisk,
    dir: &Path,
    options: RecoverOptions,
    consume: impl FnMut(&RecordView<'_>) -> Result<(), E>,
    check: impl FnOnce() -> Result<(), E>,
) -> Result<Recovered, RecoverError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    recover_sparing(disk, dir, options, consume, |_| false, check)
}

/// As [`recover_checked`], for a consumer that can do without a damaged log, perhaps: `spares` is asked about each one. Where it
/// agrees the whole log of that worker and generation goes, once `check` was content, and all others are read as ever; it may have
/// been given records of it before.
///
/// # Errors
/// As [`recover_checked`].
pub fn recover_sparing<E>(
    disk: &SharedDisk,
    dir: &Path,
    options: RecoverOptions,
    mut consume: impl FnMut(&RecordView<'_>) -> Result<(), E>,
    mut spares: impl FnMut(&DamagedLog) -> bool,
    check: impl FnOnce() -> Result<(), E>,
) -> Result<Recovered, RecoverError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let names = disk
        .list(dir)
        .map_err(|error| RecoverError::io("list", dir, error))?;
    let found = find(disk, dir, &names)?;
    let newest = found
        .iter()
        .map(|segment| segment.generation)
        .max()
        .unwrap_or(0);
    let mut last_sequence: BTreeMap<u32, u64> = BTreeMap::new();
    let mut chains: BTreeMap<(u64, u32), Vec<Found>> = BTreeMap::new();
    for segment in found {
        let last = last_sequence.entry(segment.worker).or_default();
        *last = (*last).max(segment.sequence);
        chains
            .entry((segment.generation, segment.worker))
            .or_default()
            .push(segment);
    }
    let mut consume = |view: &RecordView<'_>| consume(view).map_err(Into::into);
    let mut replay = Replay::new(disk, options, newest, &mut consume, &mut spares);
    for chain in chains.into_values() {
        replay.chain(&chain)?;
    }
    let outcome = replay.outcome;
    check().map_err(|source| RecoverError::Unfit {
        dir: dir.to_owned(),
        source: source.into(),
    })?;
    for name in names.iter().filter(|name| is_leftover(name)) {
        let path = dir.join(name);
        disk.remove(&path)
            .map_err(|error| RecoverError::io("remove", &path, error))?;
    }
    outcome.changes.carry_out(disk, dir)?;
    Ok(Recovered {
        generation: newest,
        last_sequence,
        last_number: outcome.last_number,
        hard_states: outcome.hard_states.iter().collect(),
        old: Arc::new(OldSegments::new(disk.clone(), VecDeque::from(outcome.kept))),
        records: outcome.records,
        bytes: outcome.bytes,
        losses: outcome.losses,
    })
}

/// All segments by worker and sequence, their headers read.
fn find(disk: &SharedDisk, dir: &Path, names: &[String]) -> Result<Vec<Found>, RecoverError> {
    let mut found = Vec::new();
    for (worker, sequence, name) in names
        .iter()
        .filter_map(|name| parse_segment_name(name).map(|(w, s)| (w, s, name)))
    {
        let path = dir.join(name);
        let failed = |error| RecoverError::io("read", &path, error);
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let file = disk.open(&path).map_err(failed)?;
        read_full_at(&*file, 0, &mut bytes).map_err(failed)?;
        let header = match SegmentHeader::decode(&bytes) {
            Ok(header) if (header.worker, header.sequence) == (worker, sequence) => Ok(header),
            Ok(_) => Err("it is another segment under this name"),
            Err(BadHeader::Damaged) => Err("its header is damaged"),
            Err(BadHeader::Version(version)) => {
                return Err(RecoverError::Version {
                    path,
                    version,
                    known: FORMAT_VERSION,
                });
            }
        };
        let generation = header.map_or(0, |header| header.generation);
        found.push(Found {
            path,
            worker,
            sequence,
            generation,
            header,
        });
    }
    found.sort_by_key(|segment| (segment.worker, segment.sequence));
    place_damaged(&mut found);
    Ok(found)
}

/// A segment without a readable header belongs where its neighbours are: generations never go back in a worker's log.
fn place_damaged(found: &mut [Found]) {
    for at in 0..found.len() {
        if found[at].header.is_err() {
            let before = at
                .checked_sub(1)
                .map(|at| &found[at])
                .filter(|other| other.worker == found[at].worker);
            let after = found[at + 1..]
                .iter()
                .find(|other| other.header.is_ok() && other.worker == found[at].worker);
            found[at].generation = before.or(after).map_or(0, |other| other.generation);
        }
    }
}
