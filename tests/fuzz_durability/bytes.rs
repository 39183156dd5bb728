//! Logs and snapshots as plain bytes: made once, changed at will, read back. Whatever the bytes, reading neither panics nor
//! asks for much memory nor gives out a record that was never written.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use proptest::prelude::*;
use ringfort::durability::snapshot::{find_snapshots, SnapshotReader};
use ringfort::durability::{
    DiskWorker, LastStop, RecoverOptions, SharedDisk, SimDisk, SnapshotMeta, SnapshotWriter, Wal,
    WalOptions,
};
use ringfort_cluster::replica::{EntryKind, Membership};
use ringfort_cluster::{HardState, Index, LogEntry, ReplicaId, ShardId, Term};

use crate::allocations::largest_in;
use crate::model::{read, Content};
use crate::random::Random;

/// A directory's files by name.
pub type Files = BTreeMap<String, Vec<u8>>;

pub fn dir() -> PathBuf {
    Path::new("/data").to_owned()
}

pub fn load(files: &Files) -> SharedDisk {
    let disk: SharedDisk = Arc::new(SimDisk::new(0));
    for (name, bytes) in files {
        let file = disk.create(&dir().join(name)).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        assert_eq!(file.write_at(0, bytes).unwrap(), bytes.len());
    }
    disk
}

pub fn dump(disk: &SharedDisk) -> Files {
    let mut files = Files::new();
    for name in disk.list(&dir()).unwrap() {
        let file = disk.open(&dir().join(&name)).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        assert_eq!(file.read_at(0, &mut bytes).unwrap(), bytes.len());
        files.insert(name, bytes);
    }
    files
}

pub fn options(last_stop: LastStop, accept_data_loss: bool) -> RecoverOptions {
    RecoverOptions {
        last_stop,
        accept_data_loss,
    }
}

/// A log of two lives and two workers with recycled segments, as a crash of the process leaves it.
pub fn a_log(seed: u64) -> Files {
    let mut random = Random(seed);
    let disk: SharedDisk = Arc::new(SimDisk::new(seed));
    let mut id = 0;
    let mut last = [0u64; 4];
    for life in 0..2u64 {
        let found = read(&disk, &dir(), options(LastStop::Crash, false)).unwrap();
        let mut wals: Vec<Wal> = (0..2)
            .map(|worker| {
                let options = WalOptions {
                    segment_bytes: 16_384,
                    salt_seed: random.next(),
                    disk_worker: DiskWorker::inline(),
                    headroom: Arc::default(),
                    expects_small_writes: false,
                };
                Wal::open(disk.clone(), &dir(), worker, options, &found.recovered, &[]).unwrap()
            })
            .collect();
        for turn in 0..60 + random.below(40) {
            let worker = random.below(2) as usize;
            let wal = &mut wals[worker];
            wal.begin();
            for shard in [worker, worker + 2] {
                id += 1;
                last[shard] += 1;
                let len = 8 + random.below(900) as usize;
                let mut data = random.bytes(len);
                data[..8].copy_from_slice(&u64::to_le_bytes(id));
                let (index, term) = (Index(last[shard]), Term(life + 1));
                let (kind, data) = (EntryKind::Commands, Bytes::from(data));
                let entry = LogEntry {
                    index,
                    term,
                    kind,
                    data,
                };
                wal.push(ShardId(shard as u16), Index(last[shard] - 1), &entry);
            }
            if random.one_in(10) {
                let (vote, commit) = (ReplicaId(1), Index(0));
                let state = HardState {
                    term: Term(life + 1),
                    vote,
                    commit,
                };
                wal.push_hard_state(ShardId(worker as u16), state);
            }
            wal.write().unwrap();
            if random.one_in(3) {
                wal.sync().unwrap();
            }
            if life == 1 && turn == 40 {
                // So that later segments have old records behind their own.
                let covered = |shard: ShardId| Index(last[usize::from(shard.0)]);
                wal.old_segments().release(&covered);
                wal.release(&covered);
            }
        }
    }
    dump(&disk)
}

/// One change of a file; positions and lengths are parts of 65,536 of the file.
#[derive(Clone, Debug)]
enum Change {
    Flip { at: u16, bit: u8 },
    Overwrite { at: u16, bytes: Vec<u8> },
    Cut { at: u16 },
    Insert { at: u16, bytes: Vec<u8> },
    Repeat { from: u16, to: u16, len: u16 },
    Zero { at: u16, len: u16 },
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        let len = file.len();
        let place = |part: &u16| usize::from(*part) * len / 65_536;
        match self {
            Self::Flip { at, bit } if len > 0 => file[place(at)] ^= 1 << (bit % 8),
            Self::Overwrite { at, bytes } => {
                let at = place(at);
                let end = (at + bytes.len()).min(len);
                file[at..end].copy_from_slice(&bytes[..end - at]);
            }
            Self::Cut { at } => file.truncate(place(at)),
            Self::Insert { at, bytes } => {
                let at = place(at);
                file.splice(at..at, bytes.iter().copied());
            }
            Self::Repeat {
                from,
                to,
                len: part,
            } => {
                let (from, to) = (place(from), place(to));
                let end = (from + place(part)).min(len).min(from + (len - to));
                file.copy_within(from..end, to);
            }
            Self::Zero { at, len: part } => {
                let at = place(at);
                let end = (at + place(part)).min(len);
                file[at..end].fill(0);
            }
            Self::Flip { .. } => {}
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let bytes = || prop::collection::vec(any::<u8>(), 1..600);
    prop_oneof![
        (any::<u16>(), any::<u8>()).prop_map(|(at, bit)| Change::Flip { at, bit }),
        (any::<u16>(), bytes()).prop_map(|(at, bytes)| Change::Overwrite { at, bytes }),
        any::<u16>().prop_map(|at| Change::Cut { at }),
        (any::<u16>(), bytes()).prop_map(|(at, bytes)| Change::Insert { at, bytes }),
        (any::<u16>(), any::<u16>(), 0u16..20_000).prop_map(|(from, to, len)| Change::Repeat {
            from,
            to,
            len
        }),
        (any::<u16>(), 0u16..20_000).prop_map(|(at, len)| Change::Zero { at, len }),
    ]
}

fn stop() -> impl Strategy<Value = LastStop> {
    prop_oneof![
        Just(LastStop::Crash),
        Just(LastStop::PowerCut),
        Just(LastStop::Orderly)
    ]
}

/// Reading a snapshot needs a buffer of 1 MiB, a log 256 KiB; files here are smaller, so more came from a length in the file.
const ALLOCATION_BYTES_MAX: usize = (1 << 20) + (64 << 10);

pub fn is_ordered_part(part: &[Content], whole: &[Content]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|record| whole.any(|known| known == record))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_change_of_log_files_panics_or_invents_a_record(
        changes in prop::collection::vec((any::<prop::sample::Index>(), change()), 1..6),
        last_stop in stop(),
        accept in any::<bool>(),
        seed in 0usize..4,
    ) {
        static LOGS: OnceLock<Vec<(Files, Vec<Content>)>> = OnceLock::new();
        let logs = LOGS.get_or_init(|| (0..4).map(|seed| {
            let files = a_log(seed);
            let whole = read(&load(&files), &dir(), options(LastStop::Crash, false)).unwrap();
            (files, whole.records)
        }).collect());
        let (mut files, whole) = logs[seed].clone();
        for (file, change) in &changes {
            let at = file.index(files.len());
            change.apply(files.values_mut().nth(at).unwrap());
        }
        let disk = load(&files);
        let (found, largest) = largest_in(|| read(&disk, &dir(), options(last_stop, accept)));
        prop_assert!(largest <= ALLOCATION_BYTES_MAX, "{largest} bytes at once");
        match found {
            Ok(found) => {
                prop_assert!(is_ordered_part(&found.records, &whole));
                // What was accepted once is accepted ever after, without a word about damage.
                let again = read(&disk, &dir(), options(LastStop::Crash, false));
                let again = again.map_err(|error| TestCaseError::fail(error.to_string()))?;
                prop_assert_eq!(again.records, found.records);
            }
            Err(error) => prop_assert!(!accept, "with --accept-data-loss: {}", error),
        }
    }

    #[test]
    fn no_change_of_a_snapshot_file_is_accepted(
        changes in prop::collection::vec(change(), 1..4),
        len in 0usize..600_000,
    ) {
        let disk: SharedDisk = Arc::new(SimDisk::new(1));
        let meta = SnapshotMeta {
            shard: ShardId(3),
            index: Index(77),
            term: Term(2),
            membership: Membership::of_voters([ReplicaId(1)]),
            semantics: 1,
            extra: vec![9; 40],
        };
        let mut writer = SnapshotWriter::begin(disk.clone(), &dir(), meta.clone()).unwrap();
        let data = Random(len as u64).bytes(len);
        writer.append(&data).unwrap();
        writer.finish(5).unwrap();
        let original = dump(&disk);
        let mut files = original.clone();
        for change in &changes {
            change.apply(files.values_mut().next().unwrap());
        }
        let disk = load(&files);
        let found = find_snapshots(&disk, &dir()).unwrap();
        let (opened, largest) = largest_in(|| SnapshotReader::open(&disk, &found[0]));
        prop_assert!(largest <= ALLOCATION_BYTES_MAX, "{largest} bytes at once");
        match opened {
            Ok(mut reader) => {
                prop_assert!(files == original);
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).unwrap();
                prop_assert!(bytes == data && reader.meta() == &meta && reader.records() == 5);
            }
            Err(error) => {
                prop_assert!(files != original);
                prop_assert!(error.to_string().contains("/data/shard-3-77.snap"), "{}", error);
            }
        }
    }
}
