//! One node's log through several lives: random turns on several workers, snapshots that let segments go, full
//! disks, failing writes and syncs, stops at any call, power cuts, another number of workers after each start.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ringfort::durability::wal::{record_bytes, Headroom, Purpose, WalError, ENTRY_HEADER_BYTES};
use ringfort::durability::{
    DiskCall, DiskWorker, DurabilityMode, LastStop, Marker, RecoverOptions, SharedDisk, SimDisk,
    Wal, WalOptions,
};
use ringfort_cluster::replica::EntryKind;
use ringfort_cluster::{HardState, Index, LogEntry, NodeId, ReplicaId, ShardId, Term};

use crate::model::{read, replay, Chain, Content, Read};
use crate::random::Random;

/// What the shard's replica would have in memory.
#[derive(Clone, Copy, Default)]
struct Shard {
    last: u64,
    commit: u64,
    term: u64,
    /// Of the durable snapshot.
    covered: u64,
}

struct Run {
    random: Random,
    disk: SimDisk,
    shared: SharedDisk,
    dir: PathBuf,
    shards: Vec<Shard>,
    /// Chains of all lives in replay order.
    history: Vec<Chain>,
    /// Where the present life's chains begin.
    present: usize,
    boot: u64,
    always: bool,
    /// The power went since the last complete recovery.
    power_cut: bool,
    ids: u64,
}

/// The process is gone, by a planned stop or because it must not go on.
struct Stopped;

pub fn run(seed: u64) {
    let mut random = Random(seed);
    let disk = SimDisk::new(random.next());
    let shards = 1 + random.below(6) as usize;
    let mut run = Run {
        shared: Arc::new(disk.clone()),
        disk,
        dir: Path::new("/data").to_owned(),
        shards: vec![Shard::default(); shards],
        history: Vec::new(),
        present: 0,
        boot: 0,
        always: random.one_in(2),
        power_cut: false,
        ids: 0,
        random,
    };
    for _ in 0..8 {
        run.life();
    }
}

impl Run {
    /// From a start to the next crash or orderly stop.
    fn life(&mut self) {
        if self.random.one_in(2) {
            let stop = 1 + self.random.below(400);
            self.disk.stop_at_call(stop);
        }
        let stopped = match self.start() {
            Ok(mut wals) => {
                let done = self.work(&mut wals);
                done.is_err() || self.random.one_in(2) || self.stop_in_order(wals).is_err()
            }
            Err(Stopped) => true,
        };
        if stopped {
            if self.random.one_in(2) {
                self.disk.process_crash();
            } else {
                self.disk.power_cut();
                self.boot += 1;
                self.power_cut = true;
            }
        } else if self.random.one_in(2) {
            self.disk.power_cut();
            self.boot += 1;
            self.power_cut = true;
        } else {
            self.disk.process_crash();
        }
        self.disk.set_capacity(u64::MAX);
    }

    fn start(&mut self) -> Result<Vec<Wal>, Stopped> {
        let boot = self.boot.to_string();
        let marker = self.io(Marker::read(&self.shared, &self.dir))?;
        let last_stop = LastStop::of(marker.as_ref(), &boot);
        let options = RecoverOptions {
            last_stop,
            accept_data_loss: false,
        };
        let found = self.io(read(&self.shared, &self.dir, options))?;
        self.check(&found);
        self.adopt(&found);
        let marker_first = self.random.one_in(2);
        if marker_first {
            self.io(self.marker(false).write(&self.shared, &self.dir))?;
        }
        let threads = 1 + self.random.below(3);
        let mut wals = Vec::new();
        let headroom = Arc::new(Headroom::default());
        if self.random.one_in(2) {
            headroom.set(self.random.below(40_000));
        }
        for worker in 0..threads as u32 {
            let options = WalOptions {
                segment_bytes: 16_384 + self.random.below(40_000),
                salt_seed: self.random.next(),
                disk_worker: DiskWorker::inline(),
                headroom: headroom.clone(),
                expects_small_writes: false,
            };
            let states: Vec<(ShardId, HardState)> = found
                .recovered
                .hard_states()
                .iter()
                .filter(|(shard, _)| u64::from(shard.0) % threads == u64::from(worker))
                .map(|(shard, state)| (*shard, *state))
                .collect();
            wals.push(self.io(Wal::open(
                self.shared.clone(),
                &self.dir,
                worker,
                options,
                &found.recovered,
                &states,
            ))?);
        }
        if !marker_first {
            self.io(self.marker(false).write(&self.shared, &self.dir))?;
        }
        self.history
            .resize(self.present + wals.len(), Chain::default());
        Ok(wals)
    }

    /// Compares what recovery gave with what it must give.
    fn check(&mut self, found: &Read) {
        let mut rest = found
            .records
            .iter()
            .filter(|record| record.id().is_some())
            .peekable();
        for (at, chain) in self.history.iter().enumerate() {
            let keep = |attempt: &crate::model::Attempt| match self.power_cut {
                true => attempt.synced,
                false => attempt.written,
            };
            let required = match at < self.present {
                true => chain.attempts.len(),
                false => chain
                    .attempts
                    .iter()
                    .rposition(keep)
                    .map_or(0, |last| last + 1),
            };
            let next = rest.peek().and_then(|record| record.id());
            let start = chain
                .attempts
                .iter()
                .position(|attempt| attempt.content.id() == next);
            let start = start.unwrap_or(required);
            for gone in &chain.attempts[..start] {
                for (shard, _, entry) in &gone.content.entries {
                    let covered = self.shards[usize::from(shard.0)].covered;
                    assert!(
                        entry.index.0 <= covered,
                        "an entry that no snapshot covers is gone"
                    );
                }
            }
            let mut end = start;
            while let Some(attempt) = chain.attempts.get(end) {
                if rest
                    .peek()
                    .is_none_or(|record| record.id() != attempt.content.id())
                {
                    break;
                }
                assert_eq!(
                    rest.next(),
                    Some(&attempt.content),
                    "a record came back changed"
                );
                end += 1;
            }
            assert!(
                end >= required,
                "chain {at}: {required} records must be there, {end} are"
            );
        }
        assert!(rest.next().is_none(), "a record that should not be there");
    }

    /// Takes what survived as the truth of the next life.
    fn adopt(&mut self, found: &Read) {
        let alive: Vec<u64> = found.records.iter().filter_map(Content::id).collect();
        for chain in &mut self.history[self.present..] {
            let end = chain
                .attempts
                .iter()
                .rposition(|a| a.content.id().is_some_and(|id| alive.contains(&id)));
            // Released records are in no segment any more; those before the last survivor stay in the model.
            let keep = end.map_or_else(
                || chain.attempts.iter().take_while(|a| a.synced).count(),
                |last| last + 1,
            );
            chain.attempts.truncate(keep);
            for attempt in &mut chain.attempts {
                (attempt.written, attempt.synced) = (true, true);
            }
        }
        self.compare_shards(found);
        self.present = self.history.len();
        self.power_cut = false;
    }

    /// Logs, votes and commit indexes must be what all records together make of them, whatever segments are gone.
    fn compare_shards(&mut self, found: &Read) {
        let shards = self.shards.len() as u16;
        let all = || {
            self.history
                .iter()
                .flat_map(|chain| &chain.attempts)
                .map(|a| &a.content)
        };
        let expected = replay(shards, all());
        let actual = replay(shards, found.records.iter());
        let mut states: BTreeMap<ShardId, HardState> = BTreeMap::new();
        let mut commits = vec![0; self.shards.len()];
        for content in all() {
            for (shard, state) in &content.hard_states {
                states.insert(*shard, *state);
            }
            let named = content
                .entries
                .iter()
                .map(|(shard, commit, _)| (shard, commit.0));
            for (shard, commit) in
                named.chain(content.hard_states.iter().map(|(s, h)| (s, h.commit.0)))
            {
                let known = &mut commits[usize::from(shard.0)];
                *known = commit.max(*known);
            }
        }
        for (at, shard) in self.shards.iter_mut().enumerate() {
            let id = ShardId(at as u16);
            assert_eq!(
                actual[at].above(shard.covered),
                expected[at].above(shard.covered),
                "shard {at}"
            );
            let state = found
                .recovered
                .hard_states()
                .get(&id)
                .copied()
                .unwrap_or_default();
            let known = states.get(&id).copied().unwrap_or_default();
            assert_eq!(
                (state.term, state.vote),
                (known.term, known.vote),
                "shard {at} forgot its vote"
            );
            shard.last = actual[at].last().max(shard.covered);
            assert!(
                state.commit.0 <= shard.last,
                "shard {at} knows a commit beyond its log"
            );
            shard.commit = state.commit.0.max(shard.covered);
            let last_term = actual[at]
                .entries
                .values()
                .next_back()
                .map_or(0, |entry| entry.term.0);
            shard.term = shard.term.max(last_term).max(state.term.0);
        }
    }

    fn work(&mut self, wals: &mut [Wal]) -> Result<(), Stopped> {
        for _ in 0..self.random.below(120) {
            let worker = self.random.below(wals.len() as u64) as usize;
            let mut done = Ok(());
            match self.random.below(40) {
                0..=26 => done = self.turn(wals, worker),
                27..=29 => done = self.sync(wals, worker),
                30..=32 => self.snapshot(wals),
                33 => self.disk.set_short_writes(true),
                34 => self.disk.fail(DiskCall::Write, 0, ErrorKind::Other),
                35 => self
                    .disk
                    .fail(DiskCall::Allocate, 0, ErrorKind::StorageFull),
                36 if self.random.one_in(8) => {
                    let after = self.random.below(3);
                    self.disk.fail(DiskCall::Sync, after, ErrorKind::Other);
                }
                37 => self
                    .disk
                    .set_capacity(self.disk.used() + self.random.below(20_000)),
                _ => self.disk.set_capacity(u64::MAX),
            }
            for (wal, chain) in wals.iter().zip(&mut self.history[self.present..]) {
                chain.synced_until(wal.synced());
            }
            done?;
        }
        Ok(())
    }

    /// One turn of a worker: entries for some of its shards, one record.
    fn turn(&mut self, wals: &mut [Wal], worker: usize) -> Result<(), Stopped> {
        let before = self.shards.clone();
        let content = self.content(wals.len(), worker);
        let wal = &mut wals[worker];
        let Some(content) = content else {
            return Ok(());
        };
        if self.random.one_in(2) {
            let payload = content
                .entries
                .iter()
                .map(|(_, _, entry)| entry.data.len())
                .sum();
            let items = content.entries.len() + content.hard_states.len();
            assert!(ENTRY_HEADER_BYTES < record_bytes(items, content.entries.len(), payload));
            let purpose = match self.random.one_in(3) {
                true => Purpose::Frees,
                false => Purpose::Grows,
            };
            let bytes = record_bytes(items, content.entries.len(), payload);
            if let Err(error) = wal.reserve(bytes, purpose) {
                self.shards = before;
                return self.failed(&error);
            }
        }
        wal.begin();
        let mut states = content.hard_states.iter();
        for (shard, commit, entry) in &content.entries {
            wal.push(*shard, *commit, entry);
        }
        for (shard, state) in states.by_ref() {
            wal.push_hard_state(*shard, *state);
        }
        let chain = self.present + worker;
        self.history[chain].attempt(content);
        let number = loop {
            match wal.write() {
                Ok(position) => break position.number,
                Err(WalError::Io { .. }) if !self.disk.is_stopped() && self.random.one_in(2) => {}
                Err(error) => {
                    if error.is_full() {
                        self.history[chain].drop_failed();
                    }
                    self.shards = before;
                    return self.failed(&error);
                }
            }
        };
        if let Some(last) = self.history[chain].attempts.last_mut() {
            last.written = true;
            last.number = Some(number);
        }
        if self.always {
            self.sync(wals, worker)?;
        }
        Ok(())
    }

    fn content(&mut self, workers: usize, worker: usize) -> Option<Content> {
        let mut content = Content::default();
        self.ids += 1;
        let random = &mut self.random;
        for (at, shard) in self.shards.iter_mut().enumerate() {
            if at % workers != worker || random.one_in(3) {
                continue;
            }
            let id = ShardId(at as u16);
            if random.one_in(8) {
                // A new leader may replace what is not committed.
                shard.term += 1;
                if shard.last > shard.commit && random.one_in(2) {
                    shard.last = shard.commit + random.below(shard.last - shard.commit);
                }
                let vote = ReplicaId(1 + random.below(3));
                let (term, commit) = (Term(shard.term), Index(shard.commit));
                content
                    .hard_states
                    .push((id, HardState { term, vote, commit }));
            }
            for _ in 0..1 + random.below(3) {
                shard.last += 1;
                let len = if random.one_in(40) {
                    30_000
                } else {
                    8 + random.below(2_000) as usize
                };
                let mut data = random.bytes(len);
                data[..8].copy_from_slice(&self.ids.to_le_bytes());
                let kind = EntryKind::Commands;
                let (index, term) = (Index(shard.last), Term(shard.term));
                let entry = LogEntry {
                    index,
                    term,
                    kind,
                    data: Bytes::from(data),
                };
                content.entries.push((id, Index(shard.commit), entry));
            }
            shard.commit += random.below(shard.last - shard.commit + 1);
        }
        (!content.entries.is_empty()).then_some(content)
    }

    fn sync(&mut self, wals: &mut [Wal], worker: usize) -> Result<(), Stopped> {
        let wal = &mut wals[worker];
        let result = if self.random.one_in(2) {
            wal.sync()
        } else {
            wal.syncer().sync()
        };
        match result {
            Ok(number) => {
                assert_eq!((number, wal.synced()), (wal.written(), wal.written()));
                Ok(())
            }
            Err(_) => {
                // Once for all: no later sync or write succeeds.
                assert!(wal.sync().is_err() && wal.syncer().sync().is_err());
                wal.begin();
                assert!(matches!(wal.write(), Err(WalError::SyncFailed { .. })));
                Err(Stopped)
            }
        }
    }

    fn snapshot(&mut self, wals: &mut [Wal]) {
        let shard = self.random.below(self.shards.len() as u64) as usize;
        let all = self.random.one_in(4);
        for (at, state) in self.shards.iter_mut().enumerate() {
            if at == shard || all {
                state.covered = state.covered.max(state.commit);
            }
        }
        let covered = self.shards.clone();
        let covered = |shard: ShardId| Index(covered[usize::from(shard.0)].covered);
        for wal in wals {
            let bytes = wal.bytes();
            let holders = wal.oldest_holders(&covered);
            assert!(holders
                .iter()
                .all(|holder| usize::from(holder.0) < self.shards.len()));
            wal.old_segments().release(&covered);
            let freed = wal.release(&covered);
            assert!(freed == 0 || wal.bytes() < bytes);
        }
    }

    fn stop_in_order(&mut self, wals: Vec<Wal>) -> Result<(), Stopped> {
        self.disk.set_capacity(u64::MAX);
        for (worker, wal) in wals.into_iter().enumerate() {
            if wal.close().is_err() {
                return Err(Stopped);
            }
            for attempt in &mut self.history[self.present + worker].attempts {
                attempt.synced |= attempt.written;
            }
            self.history[self.present + worker].drop_failed();
        }
        self.marker(true)
            .write(&self.shared, &self.dir)
            .map_err(|_| Stopped)
    }

    fn marker(&self, clean: bool) -> Marker {
        Marker {
            boot_id: self.boot.to_string(),
            clean,
            durability: if self.always {
                DurabilityMode::Always
            } else {
                DurabilityMode::Everysec
            },
            threads: 1,
            shards: self.shards.len() as u32,
            databases: 16,
            hash_seed: 0,
            node_id: NodeId(1),
            cluster_state: false,
        }
    }

    /// Only a planned stop may make a start or an orderly end fail.
    fn io<T, E: std::fmt::Display>(&self, result: Result<T, E>) -> Result<T, Stopped> {
        result.map_err(|error| {
            assert!(self.disk.is_stopped(), "{error}");
            Stopped
        })
    }

    /// A full disk refuses the turn; a failing one ends the process in half of the cases.
    fn failed(&mut self, error: &WalError) -> Result<(), Stopped> {
        match error {
            WalError::Full { .. } => Ok(()),
            WalError::Io { .. } if !self.disk.is_stopped() && self.random.one_in(2) => Ok(()),
            _ => Err(Stopped),
        }
    }
}
