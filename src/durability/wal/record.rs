//! What a record holds: runs of entries, hard states, and shards to be forgotten. Builds one in a buffer that is used again and again, and
//! reads one in place. Knows nothing of segments and files.

use ringfort_cluster::replica::EntryKind;
use ringfort_cluster::{HardState, Index, LogEntry, ReplicaId, ShardId, Term};

use super::layout::{
    u32_at, u64_at, RecordHeader, RecordKind, RECORD_ALIGN, RECORD_BYTES_MAX, RECORD_HEADER_BYTES,
};
use super::RecordNumber;

/// In front of every run of entries, and the whole of a hard state.
pub const ITEM_HEADER_BYTES: usize = 32;
/// In front of every entry of a run.
pub const ENTRY_HEADER_BYTES: usize = 5;
/// A buffer that grew beyond this for one large record gives its memory back.
const BUFFER_KEPT_BYTES_MAX: usize = 4 << 20;

const ITEM_ENTRIES: u8 = 1;
const ITEM_HARD_STATE: u8 = 2;
const ITEM_FORGET: u8 = 3;

/// An upper bound for the length of a record with that many runs (or hard states), entries and entry bytes.
#[must_use]
pub fn record_bytes(items: usize, entries: usize, payload_bytes: usize) -> usize {
    RECORD_HEADER_BYTES
        + items * ITEM_HEADER_BYTES
        + entries * ENTRY_HEADER_BYTES
        + payload_bytes
        + RECORD_ALIGN
}

/// The run that the next entry may still join.
struct OpenRun {
    at: usize,
    shard: ShardId,
    term: Term,
    last: Index,
    commit: Index,
    count: u32,
}

fn code_of(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::Commands => 0,
        EntryKind::Empty => 1,
        EntryKind::Membership => 2,
    }
}

fn kind_of(code: u8) -> Option<EntryKind> {
    match code {
        0 => Some(EntryKind::Commands),
        1 => Some(EntryKind::Empty),
        2 => Some(EntryKind::Membership),
        _ => None,
    }
}

/// A record under construction.
#[derive(Default)]
pub(super) struct RecordBuilder {
    bytes: Vec<u8>,
    /// Length of `bytes` without the padding at the end that `finish` adds.
    unpadded: Option<usize>,
    items: u32,
    run: Option<OpenRun>,
    /// What the segment will hold once this record is in it: highest index and commit index by run.
    pub(super) runs: Vec<(ShardId, Index, Index)>,
    /// What the WAL must remember once this record is written.
    pub(super) hard_states: Vec<(ShardId, HardState)>,
    /// The shards of which nothing before this record counts.
    pub(super) forgotten: Vec<ShardId>,
}

impl RecordBuilder {
    pub fn begin(&mut self) {
        if self.bytes.capacity() > BUFFER_KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.bytes.resize(RECORD_HEADER_BYTES, 0);
        self.items = 0;
        self.unpadded = None;
        self.run = None;
        self.runs.clear();
        self.hard_states.clear();
        self.forgotten.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// Length of the finished record.
    pub fn len(&self) -> usize {
        self.bytes
            .len()
            .max(RECORD_HEADER_BYTES)
            .next_multiple_of(RECORD_ALIGN)
    }

    pub fn push(&mut self, shard: ShardId, commit: Index, entry: &LogEntry) {
        let (term, index) = (entry.term, entry.index);
        let follows = self.run.as_ref().is_some_and(|run| {
            run.shard == shard
                && run.term == term
                && run.last.0.checked_add(1) == Some(index.0)
                && run.commit == commit
        });
        if !follows {
            self.close_run();
            let at = self.item(ITEM_ENTRIES, shard, term.0, index.0, commit.0);
            self.run = Some(OpenRun {
                at,
                shard,
                term,
                last: index,
                commit,
                count: 0,
            });
        }
        // A longer entry makes the record too long, which `write` refuses: the cut length is never stored.
        self.bytes
            .extend_from_slice(&(entry.data.len() as u32).to_le_bytes());
        self.bytes.push(code_of(entry.kind));
        self.bytes.extend_from_slice(&entry.data);
        if let Some(run) = &mut self.run {
            run.last = index;
            run.count += 1;
        }
    }

    pub fn push_hard_state(&mut self, shard: ShardId, state: HardState) {
        self.close_run();
        self.item(
            ITEM_HARD_STATE,
            shard,
            state.term.0,
            state.vote.0,
            state.commit.0,
        );
        self.hard_states.push((shard, state));
    }

    /// Must be the first that the record says of the shard.
    pub fn push_forget(&mut self, shard: ShardId) {
        self.close_run();
        self.item(ITEM_FORGET, shard, 0, 0, 0);
        self.forgotten.push(shard);
    }

    /// Closes the record and fills in its header. May be repeated with other numbers.
    pub fn finish(
        &mut self,
        kind: RecordKind,
        sequence: u64,
        number: RecordNumber,
        synced_through: RecordNumber,
        crc_seed: u32,
    ) -> &[u8] {
        self.close_run();
        let len = self.len();
        self.unpadded.get_or_insert(self.bytes.len());
        debug_assert!(len <= RECORD_BYTES_MAX);
        self.bytes.resize(len, 0);
        let header = RecordHeader {
            len: len as u32,
            sequence,
            number,
            synced_through,
            items: self.items,
            kind,
        };
        header.encode_into(&mut self.bytes, crc_seed);
        &self.bytes
    }

    fn item(&mut self, kind: u8, shard: ShardId, first: u64, second: u64, third: u64) -> usize {
        // `finish` came before, for a write that failed: what it added goes again.
        if let Some(unpadded) = self.unpadded.take() {
            self.bytes.truncate(unpadded);
        }
        let at = self.bytes.len();
        let mut header = [0; ITEM_HEADER_BYTES];
        header[0] = kind;
        header[2..4].copy_from_slice(&shard.0.to_le_bytes());
        header[8..16].copy_from_slice(&first.to_le_bytes());
        header[16..24].copy_from_slice(&second.to_le_bytes());
        header[24..32].copy_from_slice(&third.to_le_bytes());
        self.bytes.extend_from_slice(&header);
        self.items += 1;
        at
    }

    fn close_run(&mut self) {
        if let Some(run) = self.run.take() {
            self.bytes[run.at + 4..run.at + 8].copy_from_slice(&run.count.to_le_bytes());
            self.runs.push((run.shard, run.last, run.commit));
        }
    }
}

/// One item of a record, borrowed from the reader's buffer.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    Entries(Run<'a>),
    HardState {
        shard: ShardId,
        state: HardState,
    },
    /// The replica that kept its log here is gone for good: nothing that came before says anything of the shard.
    Forget(ShardId),
}

/// Consecutive entries of one shard and term. An index that an earlier record held too replaces that entry
/// and cuts off those after it.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    pub shard: ShardId,
    pub term: Term,
    pub first: Index,
    pub count: u32,
    /// What was known to be committed when the run was written.
    pub commit: Index,
    bytes: &'a [u8],
}

/// One entry of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub index: Index,
    pub kind: EntryKind,
    pub data: &'a [u8],
}

impl<'a> Run<'a> {
    #[must_use]
    pub fn last(&self) -> Index {
        Index(self.first.0 + u64::from(self.count) - 1)
    }

    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let (bytes, first) = (self.bytes, self.first.0);
        let mut at = 0;
        (0..u64::from(self.count)).map(move |nth| {
            // `Items::parse` has walked these frames: all of them lie within `bytes`.
            let len = u32_at(bytes, at) as usize;
            let start = at + ENTRY_HEADER_BYTES;
            let entry = Entry {
                index: Index(first + nth),
                kind: kind_of(bytes[at + 4]).unwrap_or_default(),
                data: &bytes[start..start + len],
            };
            at = start + len;
            entry
        })
    }
}

/// The items of a record, checked.
#[derive(Clone, Copy, Debug)]
pub struct Items<'a> {
    body: &'a [u8],
    count: u32,
}

impl<'a> Items<'a> {
    /// Walks the whole body once, so that later reading cannot go wrong. `None`: the body is not what its count says.
    pub(super) fn parse(body: &'a [u8], count: u32) -> Option<Self> {
        let mut at = 0;
        for _ in 0..count {
            at += item_at(body, at)?.1;
        }
        (body.len() - at < RECORD_ALIGN).then_some(Self { body, count })
    }

    pub fn iter(&self) -> impl Iterator<Item = Item<'a>> + use<'a> {
        let (body, mut at) = (self.body, 0);
        (0..self.count).map_while(move |_| {
            let (item, bytes) = item_at(body, at)?;
            at += bytes;
            Some(item)
        })
    }
}

/// The item at an offset and how many bytes it takes.
fn item_at(body: &[u8], at: usize) -> Option<(Item<'_>, usize)> {
    let rest = body.get(at..)?;
    let header = rest.get(..ITEM_HEADER_BYTES)?;
    let shard = ShardId(u16::from_le_bytes([header[2], header[3]]));
    let count = u32_at(header, 4);
    let (first, second, third) = (u64_at(header, 8), u64_at(header, 16), u64_at(header, 24));
    match header[0] {
        ITEM_HARD_STATE => {
            let state = HardState {
                term: Term(first),
                vote: ReplicaId(second),
                commit: Index(third),
            };
            Some((Item::HardState { shard, state }, ITEM_HEADER_BYTES))
        }
        ITEM_FORGET => Some((Item::Forget(shard), ITEM_HEADER_BYTES)),
        ITEM_ENTRIES => {
            second.checked_add(u64::from(count.checked_sub(1)?))?;
            let frames = &rest[ITEM_HEADER_BYTES..];
            let len = frames_len(frames, count)?;
            let run = Run {
                shard,
                term: Term(first),
                first: Index(second),
                count,
                commit: Index(third),
                bytes: &frames[..len],
            };
            Some((Item::Entries(run), ITEM_HEADER_BYTES + len))
        }
        _ => None,
    }
}

fn frames_len(frames: &[u8], count: u32) -> Option<usize> {
    let mut at = 0usize;
    for _ in 0..count {
        let header = frames.get(at..at.checked_add(ENTRY_HEADER_BYTES)?)?;
        kind_of(header[4])?;
        at = at.checked_add(ENTRY_HEADER_BYTES + u32_at(header, 0) as usize)?;
        if at > frames.len() {
            return None;
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(term: u64, index: u64, data: &'static [u8]) -> LogEntry {
        let (kind, data) = (EntryKind::Commands, data.into());
        LogEntry {
            index: Index(index),
            term: Term(term),
            kind,
            data,
        }
    }

    fn body(builder: &mut RecordBuilder) -> (Vec<u8>, u32) {
        let bytes = builder.finish(RecordKind::Data, 1, RecordNumber(1), RecordNumber(0), 9);
        let header = RecordHeader::decode(bytes, 1, 9).unwrap();
        assert_eq!(header.len as usize, bytes.len());
        (bytes[RECORD_HEADER_BYTES..].to_vec(), header.items)
    }

    #[test]
    fn consecutive_entries_of_a_shard_and_term_share_a_run() {
        let mut builder = RecordBuilder::default();
        builder.begin();
        for index in 5..8 {
            builder.push(ShardId(2), Index(4), &entry(3, index, b"same run"));
        }
        builder.push(ShardId(2), Index(4), &entry(4, 8, b"new term"));
        builder.push(ShardId(9), Index(0), &entry(4, 1, b""));
        let (body, items) = body(&mut builder);
        let items: Vec<Item> = Items::parse(&body, items).unwrap().iter().collect();
        let runs: Vec<(u16, u64, u64, u32)> = items
            .iter()
            .map(|item| match item {
                Item::Entries(run) => (run.shard.0, run.term.0, run.first.0, run.count),
                _ => panic!("nothing else was pushed"),
            })
            .collect();
        assert_eq!(runs, [(2, 3, 5, 3), (2, 4, 8, 1), (9, 4, 1, 1)]);
        assert_eq!(builder.runs.len(), 3);
    }

    #[test]
    fn entries_and_hard_states_come_back_in_order() {
        let state = HardState {
            term: Term(6),
            vote: ReplicaId(11),
            commit: Index(40),
        };
        let mut builder = RecordBuilder::default();
        builder.begin();
        let first = LogEntry {
            kind: EntryKind::Membership,
            ..entry(6, 41, b"first")
        };
        builder.push(ShardId(1), Index(40), &first);
        builder.push_hard_state(ShardId(1), state);
        builder.push(ShardId(1), Index(40), &entry(6, 42, b"second"));
        let (body, items) = body(&mut builder);
        let items = Items::parse(&body, items).unwrap();
        let mut seen = Vec::new();
        for item in items.iter() {
            match item {
                Item::Entries(run) => {
                    seen.extend(run.entries().map(|e| (e.index.0, e.kind, e.data.to_vec())));
                }
                Item::HardState { shard, state: read } => {
                    assert_eq!((shard, read), (ShardId(1), state));
                    assert_eq!(seen.len(), 1);
                }
                Item::Forget(_) => panic!("none was pushed"),
            }
        }
        assert_eq!(
            seen,
            [
                (41, EntryKind::Membership, b"first".to_vec()),
                (42, EntryKind::Commands, b"second".to_vec()),
            ]
        );
    }

    #[test]
    fn a_body_that_contradicts_its_lengths_is_refused() {
        let mut builder = RecordBuilder::default();
        builder.begin();
        builder.push(
            ShardId(1),
            Index(0),
            &entry(1, u64::MAX, b"last possible index"),
        );
        let (good, items) = body(&mut builder);
        assert!(Items::parse(&good, items).is_some());
        assert!(Items::parse(&good, items + 1).is_none(), "an item too few");
        assert!(
            Items::parse(&good, 0).is_none(),
            "bytes that belong to nothing"
        );
        let mut bad = good.clone();
        bad[4] = 2;
        assert!(
            Items::parse(&bad, items).is_none(),
            "an index beyond the last"
        );
        let mut bad = good.clone();
        bad[ITEM_HEADER_BYTES..ITEM_HEADER_BYTES + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(
            Items::parse(&bad, items).is_none(),
            "an entry beyond the end"
        );
        let mut bad = good.clone();
        bad[ITEM_HEADER_BYTES + 4] = 9;
        assert!(
            Items::parse(&bad, items).is_none(),
            "an unknown kind of entry"
        );
        let mut bad = good;
        bad[0] = 77;
        assert!(Items::parse(&bad, items).is_none(), "an unknown item");
    }

    proptest! {
        /// Bodies come with a sound checksum, but whoever can write files can also compute one.
        #[test]
        fn any_bytes_are_refused_or_read_without_a_panic(
            mut body in prop::collection::vec(any::<u8>(), 0..400),
            kinds in prop::collection::vec(0u8..4, 0..12),
            count in 0u32..12,
        ) {
            // Bias towards what looks like items: short counts and lengths.
            for (nth, kind) in kinds.iter().enumerate() {
                if let Some(place) = body.get_mut(nth * ITEM_HEADER_BYTES) {
                    *place = *kind;
                }
                if let Some(place) = body.get_mut(nth * ITEM_HEADER_BYTES + 4..nth * ITEM_HEADER_BYTES + 8) {
                    place.copy_from_slice(&u32::from(*kind).to_le_bytes());
                }
            }
            if let Some(items) = Items::parse(&body, count) {
                let mut bytes = 0;
                for item in items.iter() {
                    bytes += ITEM_HEADER_BYTES;
                    if let Item::Entries(run) = item {
                        prop_assert!(run.last().0 - run.first.0 + 1 == u64::from(run.count));
                        bytes += run.entries().map(|e| e.data.len() + ENTRY_HEADER_BYTES).sum::<usize>();
                    }
                }
                prop_assert!(bytes <= body.len());
            }
        }
    }
}
