//! Reads the segments of one worker and generation in order, and judges the place where the records end: in order, by
//! a crash, by a power cut, or by damage. Changes nothing on disk; says what is to be changed.

use std::path::PathBuf;

use super::changes::{Changes, Cut, Resync};
use super::error::{Damage, RecoverError};
use super::hard_states::HardStates;
use super::layout::{RecordKind, SegmentHeader, SEGMENT_HEADER_BYTES};
use super::marks::Marks;
use super::reach::{DamagedLog, Reach};
use super::record::{Item, Items};
use super::recover::{Loss, RecordView, RecoverOptions};
use super::scan::{Evidence, ReadBuffer, SegmentReader, Step};
use super::segment::{Closed, Holdings};
use super::RecordNumber;
use crate::durability::disk::{SharedDisk, SharedFile};
use crate::durability::marker::LastStop;

/// A segment file in the directory.
pub(super) struct Found {
    pub path: PathBuf,
    pub worker: u32,
    pub sequence: u64,
    pub generation: u64,
    /// Or what is wrong with it.
    pub header: Result<SegmentHeader, &'static str>,
}

pub(super) type Consume<'c> =
    &'c mut dyn FnMut(&RecordView<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Whether a damaged log can be done without.
pub(super) type Spares<'c> = &'c mut dyn FnMut(&DamagedLog) -> bool;

/// What all chains together come to.
#[derive(Default)]
pub(super) struct Outcome {
    pub kept: Vec<Closed>,
    pub hard_states: HardStates,
    pub last_number: RecordNumber,
    pub records: u64,
    pub bytes: u64,
    pub losses: Vec<Loss>,
    pub changes: Changes,
}

pub(super) struct Replay<'c> {
    disk: &'c SharedDisk,
    options: RecoverOptions,
    newest: u64,
    consume: Consume<'c>,
    spares: Spares<'c>,
    buffer: ReadBuffer,
    /// Of the present chain, as is the next.
    marks: Marks,
    reach: Reach,
    /// Set by accepted damage: later generations may build on what was dropped, and go with it.
    cut_generation: Option<u64>,
    pub outcome: Outcome,
}

/// How the records of one segment end.
enum End {
    /// By the record with that number, which says that the log goes on in the next segment.
    Continues(RecordNumber),
    Final,
    /// Nothing valid stands there.
    Open,
    Damaged(&'static str),
}

/// The place in a chain where its records end.
#[derive(Clone, Copy, Default)]
struct Place {
    /// Which of the chain's segments.
    at: usize,
    offset: u64,
    /// The number that the next record would have; none if the chain holds no record at all.
    expected: Option<RecordNumber>,
}

enum Verdict {
    /// A crash in the middle of the last write, or simply the end.
    Torn,
    /// Records that were never synced, taken by a power cut.
    Unsynced,
    Damaged(&'static str),
}

impl<'c> Replay<'c> {
    pub fn new(
        disk: &'c SharedDisk,
        options: RecoverOptions,
        newest: u64,
        consume: Consume<'c>,
        spares: Spares<'c>,
    ) -> Self {
        Self {
            disk,
            options,
            newest,
            consume,
            spares,
            buffer: ReadBuffer::default(),
            marks: Marks::default(),
            reach: Reach::default(),
            cut_generation: None,
            outcome: Outcome::default(),
        }
    }

    /// Reads the segments of one worker and generation. Chains come in order of generation, then worker.
    pub fn chain(&mut self, chain: &[Found]) -> Result<(), RecoverError> {
        let generation = chain.first().map_or(0, |segment| segment.generation);
        if self.cut_generation.is_some_and(|cut| cut < generation) {
            return self.drop_chain(chain);
        }
        self.marks.clear();
        self.reach = Reach::default();
        self.read(chain)?;
        if generation == self.newest {
            self.plan_resync(chain);
        }
        Ok(())
    }

    fn read(&mut self, chain: &[Found]) -> Result<(), RecoverError> {
        const MISSING: Verdict = Verdict::Damaged("the segment after it is missing");
        let mut expected = None;
        // Where the former segment says that the log goes on; when it does not, it ends there.
        let mut before = Place::default();
        for (at, segment) in chain.iter().enumerate() {
            if at > 0 && chain[at - 1].sequence + 1 != segment.sequence {
                return self.judged(chain, (at - 1, before.offset), before, MISSING);
            }
            let header = match &segment.header {
                Ok(header) => header,
                Err(what) => return self.judged(chain, (at, 0), before, Verdict::Damaged(what)),
            };
            let (offset, end) = self.segment(segment, header, &mut expected)?;
            let place = Place {
                at,
                offset,
                expected,
            };
            match end {
                End::Continues(number) => {
                    before = Place {
                        expected: Some(number),
                        ..place
                    }
                }
                End::Final => return self.ended(chain, place),
                End::Open => return self.open_end(chain, place),
                End::Damaged(what) => {
                    return self.judged(chain, (at, offset), place, Verdict::Damaged(what));
                }
            }
        }
        self.judged(chain, (before.at, before.offset), before, MISSING)
    }

    /// A crash of the process may leave records unsynced.
    fn plan_resync(&mut self, chain: &[Found]) {
        for segment in chain {
            let first = self.marks.first_in(segment.sequence);
            let kept = self
                .outcome
                .kept
                .iter()
                .rev()
                .find(|kept| kept.path == segment.path);
            if let (Some(from), Some(kept)) = (first, kept) {
                let path = segment.path.clone();
                self.outcome.changes.resync.push(Resync {
                    path,
                    from,
                    end: kept.bytes,
                });
            }
        }
    }

    /// Reads one segment's records; says how they end, and where: before the record that goes on to the next segment, behind
    /// any other. Lists the segment as kept.
    fn segment(
        &mut self,
        segment: &Found,
        header: &SegmentHeader,
        expected: &mut Option<RecordNumber>,
    ) -> Result<(u64, End), RecoverError> {
        let failed = |error| RecoverError::io("read", &segment.path, error);
        let file = self.disk.open(&segment.path).map_err(failed)?;
        let len = file.len().map_err(failed)?;
        let mut reader = SegmentReader::new(&*file, len, header, &mut self.buffer);
        let mut holdings = Holdings::default();
        let mut first_record = RecordNumber(0);
        let end = loop {
            let offset = reader.offset;
            let (record, items) = match reader.step(*expected).map_err(failed)? {
                Step::Record { header, items } => (header, items),
                Step::Nothing if len < header.capacity => {
                    break (offset, End::Damaged("the file is shorter than it was"));
                }
                Step::Nothing => break (offset, End::Open),
                Step::Malformed => break (offset, End::Damaged("a record makes no sense")),
            };
            if first_record.0 == 0 {
                first_record = record.number;
            }
            *expected = Some(RecordNumber(record.number.0.saturating_add(1)));
            self.marks.note(&record, offset);
            self.outcome.last_number = self.outcome.last_number.max(record.number);
            match record.kind {
                RecordKind::Continues => break (offset, End::Continues(record.number)),
                RecordKind::Final => break (reader.offset, End::Final),
                RecordKind::Data => {}
            }
            self.reach.note(&items);
            note(&items, &mut holdings, &mut self.outcome);
            self.outcome.records += 1;
            let view = RecordView {
                worker: segment.worker,
                number: record.number,
                path: &segment.path,
                offset,
                items,
            };
            (self.consume)(&view).map_err(|source| RecoverError::Refused {
                path: segment.path.clone(),
                offset,
                source,
            })?;
        };
        let bytes = match end.1 {
            End::Continues(_) => reader.offset,
            _ => end.0,
        };
        self.outcome.bytes += bytes;
        let path = segment.path.clone();
        self.outcome.kept.push(Closed {
            path,
            bytes,
            first_record,
            holdings,
        });
        Ok(end)
    }

    /// The chain has its end record. What comes after it can only be an unused segment made ahead of need.
    fn ended(&mut self, chain: &[Found], place: Place) -> Result<(), RecoverError> {
        // One that cannot be read may just as well be the log of the next generation.
        let later = chain.iter().enumerate().skip(place.at + 1);
        let unreadable = later.filter_map(|(at, segment)| Some((at, segment.header.err()?)));
        if let Some((at, what)) = unreadable.into_iter().next() {
            return self.judged(chain, (at, 0), place, Verdict::Damaged(what));
        }
        let evidence = self.search(
            chain,
            place.at + 1,
            SEGMENT_HEADER_BYTES as u64,
            Some(RecordNumber(0)),
        )?;
        if evidence.records > 0 {
            let verdict = Verdict::Damaged("records follow the end of the log");
            return self.judged(chain, (place.at, place.offset), place, verdict);
        }
        let path = chain[place.at].path.clone();
        self.outcome.changes.trim.push((path, place.offset));
        self.remove_after(chain, place.at);
        Ok(())
    }

    /// The chain ends without an end record.
    fn open_end(&mut self, chain: &[Found], place: Place) -> Result<(), RecoverError> {
        let evidence = self.search(chain, place.at, place.offset, place.expected)?;
        let verdict = self.verdict(chain, &place, evidence);
        self.judged(chain, (place.at, place.offset), place, verdict)
    }

    fn verdict(&self, chain: &[Found], place: &Place, evidence: Evidence) -> Verdict {
        if let Some(what) = chain[place.at + 1..]
            .iter()
            .find_map(|segment| segment.header.err())
        {
            return Verdict::Damaged(what);
        }
        // Recovery and an orderly stop write an end record: without it something was cut off later. A log with nothing but its
        // first record may be one that was opened after an orderly stop, and the marker did not come to say so.
        let first = self
            .outcome
            .kept
            .iter()
            .rev()
            .nth(place.at)
            .map(|kept| kept.first_record.0);
        let is_unused = place
            .expected
            .is_none_or(|next| Some(next.0) == first.map(|first| first + 1));
        let ended = self.options.last_stop == LastStop::Orderly && !is_unused;
        if chain[place.at].generation < self.newest || ended {
            return Verdict::Damaged("the end of the log is missing");
        }
        if evidence.records == 0 {
            return Verdict::Torn;
        }
        // The first record of a log is synced before anything follows.
        let was_synced = place
            .expected
            .is_none_or(|bad| evidence.synced_through >= bad);
        if self.options.last_stop == LastStop::PowerCut && !was_synced {
            return Verdict::Unsynced;
        }
        Verdict::Damaged("a record is damaged and later ones are not")
    }

    /// Acts on a verdict about `bad` (a segment of the chain and an offset): an error, or the log ends at `place`.
    fn judged(
        &mut self,
        chain: &[Found],
        bad: (usize, u64),
        place: Place,
        verdict: Verdict,
    ) -> Result<(), RecoverError> {
        let path = chain
            .get(bad.0)
            .map(|segment| segment.path.clone())
            .unwrap_or_default();
        let damage = match verdict {
            Verdict::Torn => {
                tracing::info!(path = %path.display(), offset = bad.1, "the log ends here");
                None
            }
            Verdict::Unsynced => None,
            Verdict::Damaged(what) => {
                let damage = Damage {
                    path: path.clone(),
                    offset: bad.1,
                    what,
                };
                if self.is_spared(chain, &damage) {
                    self.drop_damaged(chain);
                    return Ok(());
                }
                if !self.options.accept_data_loss {
                    return Err(RecoverError::Damaged(damage));
                }
                self.cut_generation = chain.first().map(|segment| segment.generation);
                Some(damage)
            }
        };
        if !matches!(verdict, Verdict::Torn) {
            let evidence = self.search(chain, place.at, place.offset, place.expected)?;
            let loss = Loss {
                path,
                offset: bad.1,
                records: evidence.records,
                segments: chain.len() - place.at - 1,
                damage,
            };
            tracing::warn!(
                path = %loss.path.display(), offset = loss.offset, records = loss.records, segments = loss.segments,
                damaged = loss.damage.is_some(), "dropping the log from here on"
            );
            self.outcome.losses.push(loss);
        }
        self.cut(chain, place);
        Ok(())
    }

    /// Whether the consumer can do without a log that is damaged.
    fn is_spared(&mut self, chain: &[Found], damage: &Damage) -> bool {
        // A segment that cannot be read may just as well belong to another generation, which had other shards.
        let is_whole = chain.iter().all(|segment| segment.header.is_ok());
        let damaged = DamagedLog {
            damage: damage.clone(),
            shards: self.reach.shards().filter(|_| is_whole),
        };
        (self.spares)(&damaged)
    }

    /// Plans the removal of a whole log. Nothing of what it says counts for anybody any more.
    fn drop_damaged(&mut self, chain: &[Found]) {
        let is_in_chain = |kept: &Closed| chain.iter().any(|segment| segment.path == kept.path);
        self.outcome.kept.retain(|kept| !is_in_chain(kept));
        self.remove_all(chain);
    }

    fn remove_all(&mut self, chain: &[Found]) {
        let paths = chain.iter().map(|segment| segment.path.clone());
        self.outcome.changes.remove.extend(paths);
    }

    /// Plans the end record and the removal of what is behind it.
    fn cut(&mut self, chain: &[Found], place: Place) {
        self.remove_after(chain, place.at);
        let segment = &chain[place.at];
        match (place.expected, &segment.header) {
            (Some(number), Ok(header)) if place.offset > 0 => {
                let cut = Cut {
                    path: segment.path.clone(),
                    offset: place.offset,
                    number,
                    header: *header,
                };
                if let Some(last) = self.outcome.kept.last_mut() {
                    last.bytes = cut.end();
                }
                self.outcome.last_number = self.outcome.last_number.max(number);
                self.outcome.changes.cuts.push(cut);
            }
            // Nothing of the segment can be kept.
            (_, header) => {
                if header.is_ok() {
                    self.outcome.kept.pop();
                }
                self.outcome.changes.remove.push(segment.path.clone());
            }
        }
    }

    /// A whole chain goes because it may build on what was dropped before it.
    fn drop_chain(&mut self, chain: &[Found]) -> Result<(), RecoverError> {
        let evidence = self.search(chain, 0, SEGMENT_HEADER_BYTES as u64, Some(RecordNumber(0)))?;
        if let Some(first) = chain.first() {
            self.outcome.losses.push(Loss {
                path: first.path.clone(),
                offset: 0,
                records: evidence.records,
                segments: chain.len(),
                damage: None,
            });
        }
        self.remove_all(chain);
        Ok(())
    }

    fn remove_after(&mut self, chain: &[Found], at: usize) {
        self.outcome
            .changes
            .remove
            .extend(chain[at + 1..].iter().map(|segment| segment.path.clone()));
    }

    /// Looks for records with higher numbers than `after` from a place to the end of the chain; see `SegmentReader::search`.
    fn search(
        &mut self,
        chain: &[Found],
        at: usize,
        offset: u64,
        mut after: Option<RecordNumber>,
    ) -> Result<Evidence, RecoverError> {
        let mut total = Evidence::default();
        let mut from = offset;
        for segment in chain.get(at..).unwrap_or_default() {
            if let Ok(header) = &segment.header {
                let failed = |error| RecoverError::io("read", &segment.path, error);
                let file: SharedFile = self.disk.open(&segment.path).map_err(failed)?;
                let len = file.len().map_err(failed)?;
                let mut reader = SegmentReader::new(&*file, len, header, &mut self.buffer);
                let found = reader
                    .search(from.max(SEGMENT_HEADER_BYTES as u64), after)
                    .map_err(failed)?;
                total.records += found.records;
                total.synced_through = total.synced_through.max(found.synced_through);
            }
            from = SEGMENT_HEADER_BYTES as u64;
            after = after.or(Some(RecordNumber(0)));
        }
        Ok(total)
    }
}

fn note(items: &Items<'_>, holdings: &mut Holdings, outcome: &mut Outcome) {
    let (kept, hard_states) = (&mut outcome.kept, &mut outcome.hard_states);
    for item in items.iter() {
        match item {
            Item::Entries(run) => {
                holdings.note(run.shard, run.last());
                hard_states.raise_commit(run.shard, run.commit);
            }
            Item::HardState { shard, state } => hard_states.set(shard, state),
            Item::Forget(shard) => {
                holdings.forget(shard);
                kept.iter_mut().for_each(|kept| kept.holdings.forget(shard));
                hard_states.forget(shard);
            }
        }
    }
}
