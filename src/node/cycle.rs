//! What a worker does by the clock: takes up changed settings, removes keys that are due, keeps memory below
//! `maxmemory`, and publishes its figures. Removals are log entries that the leader proposes (invariant 3).

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::commands::registry;
use crate::commands::report::DatabaseSize;
use crate::protocol::{OwnedArgs, Proto};
use crate::settings::{Live, MaxmemoryPolicy};
use crate::store::{Limits, Timestamp};

use super::outbox::Target;
use super::router::Question;
use super::worker::Worker;

/// Time between two cycles at the default `hz` of 10.
pub const CYCLE_MS: u64 = 100;
/// The figures of a worker are published every so many cycles, and when somebody asks for them.
const FIGURES_CYCLES: u32 = 5;
/// And it is looked how writes fare.
const SECOND_CYCLES: u32 = (1000 / CYCLE_MS) as u32;
/// Part of a cycle that the removal of due keys may take.
const EXPIRE_BUDGET: Duration = Duration::from_millis(25);
/// Segments looked at between two looks at the clock.
const EXPIRE_SEGMENTS: usize = 256;
/// Keys removed at most before a write that found the memory full is refused or let in.
const EVICTIONS_PER_WRITE_MAX: usize = 64;
/// Places in the keyspaces that are sampled for one eviction.
const EVICTION_DRAWS: usize = 16;

impl Worker {
    /// One cycle. `due` tells how late it is, so that expiry keeps its share.
    pub fn cycle(&mut self) {
        self.refresh_clock();
        self.take_up_changes();
        // On a full disk due keys stay where they are, unseen: the little room left is the operator's.
        if self.shared.active_expire.load(Relaxed) && self.write_error.is_none() {
            let begun = self.io.ticks.raw();
            self.expire_cycle();
            self.note_event("expire-cycle", begun);
        }
        self.keep_below_max();
        // Where memory is bounded the workers live by each other's figures.
        self.cycles = self.cycles.wrapping_add(1);
        if self.live.maxmemory_bytes > 0 || self.cycles % FIGURES_CYCLES == 0 {
            self.publish();
        }
        if self.number == 0 && self.cycles % SECOND_CYCLES == 0 {
            self.shared.measure_writes();
        }
        self.snapshot_cycle();
        self.look_for_room();
        self.look_whether_to_follow();
        self.flush_wanted = true;
    }

    /// Follows CONFIG SET; costs one load while nothing changes.
    #[inline]
    pub fn take_up_changes(&mut self) {
        if self.live.refresh() {
            self.take_up_settings();
        }
    }

    /// After a command that may have changed settings: what is asked behind it must run under them, here and on the
    /// workers to which it goes.
    pub(super) fn spread_changed_settings(&mut self) {
        if !self.live.refresh() {
            return;
        }
        self.take_up_settings();
        let own = self.number;
        for worker in (0..self.workers).filter(|&worker| worker != own) {
            self.task(worker, Worker::take_up_changes);
        }
    }

    /// Brings changed settings to the shards. What decides about data goes through the log.
    pub fn take_up_settings(&mut self) {
        let limits = limits(&self.live);
        let mut changed = Vec::new();
        for place in 0..self.shards.len() {
            self.set_access(place);
            let shard = &self.shards[place];
            if shard.leads() && shard.meta.is_none() && *shard.databases.limits() != limits {
                changed.push(place);
            }
        }
        let args = crate::commands::limits_args(&limits);
        for place in changed {
            let shard = self.shards[place].id.0;
            self.propose_own(&args, 0, shard);
        }
        self.io.set_slow(
            self.live.slowlog_log_slower_than_us,
            self.live.slowlog_max_len,
            self.live.latency_monitor_threshold_ms,
        );
    }

    /// How use of a shard's keys is counted. No part of the data: every node may have it its own way.
    pub(super) fn set_access(&mut self, place: usize) {
        let lfu = matches!(
            self.live.maxmemory_policy,
            MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu
        );
        let (factor, decay) = (self.live.lfu_log_factor, self.live.lfu_decay_time_minutes);
        self.shards[place].databases.set_access(lfu, factor, decay);
    }

    /// Adds a command of the node's own to a shard's turn.
    pub(super) fn propose_own(&mut self, args: &OwnedArgs, database: u16, shard: u16) {
        // What the node decides for a shard its leader decides.
        if !self.shards[self.place(shard)].leads() {
            return;
        }
        let args = args.as_args();
        let command = registry()
            .find(args.at(0))
            .expect("internal commands are declared");
        self.ask(
            &Question {
                command,
                args,
                database,
                proto: Proto::Resp2,
            },
            shard,
            None,
            Target::NOBODY,
        );
    }

    // ---- expiry --------------------------------------------------------------------------------------

    /// Goes over the keyspaces from where the last cycle stopped and proposes the removal of what is due.
    fn expire_cycle(&mut self) {
        let ends = Instant::now() + EXPIRE_BUDGET;
        let now = self.now();
        let places = self.shards.len();
        for _ in 0..places {
            let place = self.expire_at.place % places;
            let databases = self.shards[place].databases.count() as u16;
            while self.expire_at.database < databases {
                if Instant::now() >= ends {
                    return;
                }
                self.expire_keyspace(place, now);
            }
            self.expire_at = ExpireAt {
                place: place + 1,
                database: 0,
                hash: 0,
            };
        }
    }

    fn expire_keyspace(&mut self, place: usize, now: Timestamp) {
        let database = self.expire_at.database;
        let shard = &self.shards[place];
        let keyspace = shard.databases.keyspace(database);
        if keyspace.len_with_deadline() == 0 {
            self.expire_at.database += 1;
            self.expire_at.hash = 0;
            return;
        }
        let (next, due) = keyspace.next_due(self.expire_at.hash, now, EXPIRE_SEGMENTS);
        if let Some(from) = due {
            let range = [from, keyspace.segment_end(from)].map(|hash| hash.to_string());
            let number = shard.id.0;
            let args = OwnedArgs::new([b"RF.SWEEP", range[0].as_bytes(), range[1].as_bytes()]);
            self.propose_own(&args, database, number);
        }
        match next {
            Some(hash) => self.expire_at.hash = hash,
            None => {
                self.expire_at.database += 1;
                self.expire_at.hash = 0;
            }
        }
    }

    // ---- eviction ------------------------------------------------------------------------------------

    /// To be called before each command that may take memory; false when there is none and none can be made.
    #[inline]
    pub fn make_room(&mut self) -> bool {
        let has_room = self.keep_below_max();
        self.expect_growth();
        has_room
    }

    /// Keeps memory below `maxmemory`; false when there is no room and none can be made.
    #[inline]
    fn keep_below_max(&mut self) -> bool {
        let max = self.live.maxmemory_bytes;
        // What is refused for lack of disk needs no memory.
        if max == 0 || self.write_error.is_some() || self.used_memory() <= max {
            return true;
        }
        self.evict(max)
    }

    /// Bytes that `maxmemory` is compared with: this worker's data as of now, the others' as published, and
    /// what the process needs besides.
    pub fn used_memory(&self) -> u64 {
        let own: usize = self
            .shards
            .iter()
            .map(|shard| shard.databases.bytes())
            .sum();
        let published = self.io.stats.memory_bytes.get();
        let all = self.shared.stats.sum(|worker| &worker.memory_bytes);
        self.shared.memory_base.load(Relaxed) + all - published + own as u64
    }

    #[cold]
    fn evict(&mut self, max: u64) -> bool {
        if self.live.maxmemory_policy == MaxmemoryPolicy::Noeviction {
            return false;
        }
        let begun = self.io.ticks.raw();
        let has_room = self.evict_some(max);
        self.note_event("eviction-cycle", begun);
        has_room
    }

    fn evict_some(&mut self, max: u64) -> bool {
        // What waits for the end of the turn counts too.
        self.flush();
        for _ in 0..EVICTIONS_PER_WRITE_MAX {
            if self.used_memory() <= max {
                return true;
            }
            let Some((place, database, key)) = self.pick_victim() else {
                return self.used_memory() <= max;
            };
            let shard = self.shards[place].id.0;
            self.propose_own(&OwnedArgs::new([&b"RF.REMOVE"[..], &key]), database, shard);
            self.flush();
            self.io.stats.evicted_keys.add(1);
        }
        // Progress was made; the next writes go on with it.
        true
    }

    /// The best key to give up among a few drawn ones, by the policy.
    fn pick_victim(&mut self) -> Option<(usize, u16, Vec<u8>)> {
        use MaxmemoryPolicy as Policy;
        let policy = self.live.maxmemory_policy;
        let volatile = matches!(
            policy,
            Policy::VolatileLru
                | Policy::VolatileLfu
                | Policy::VolatileRandom
                | Policy::VolatileTtl
        );
        let wanted = self.live.maxmemory_samples as usize;
        let now = self.now();
        let mut best: Option<Victim> = None;
        let mut seen = 0;
        let populated: Vec<(usize, u16)> = self.populated(volatile);
        if populated.is_empty() {
            return None;
        }
        for draw in 0..EVICTION_DRAWS + populated.len() {
            // Chance first; then, lest a lone key be missed for ever, one keyspace after another.
            let at = match draw.checked_sub(EVICTION_DRAWS) {
                None => self.rng.below(populated.len()),
                Some(number) => number,
            };
            let (place, database) = populated[at];
            let keyspace = self.shards[place].databases.keyspace(database);
            let access = &keyspace.access;
            keyspace.sample(&mut self.rng, 1, volatile, |key, bits, deadline| {
                seen += 1;
                let score = match policy {
                    Policy::AllkeysLru | Policy::VolatileLru => access.idle_seconds(bits, now),
                    Policy::AllkeysLfu | Policy::VolatileLfu => {
                        255 - u64::from(access.frequency(bits, now))
                    }
                    Policy::VolatileTtl => u64::MAX - deadline.map_or(u64::MAX, |at| at.0),
                    _ => 0,
                };
                if best.as_ref().is_none_or(|best| score > best.score) {
                    best = Some(Victim {
                        score,
                        place,
                        database,
                        key: key.to_vec(),
                    });
                }
            });
            if seen >= wanted {
                break;
            }
        }
        best.map(|victim| (victim.place, victim.database, victim.key))
    }

    fn populated(&self, volatile: bool) -> Vec<(usize, u16)> {
        let mut populated = Vec::new();
        for (place, shard) in self.shards.iter().enumerate() {
            if !shard.leads() {
                continue;
            }
            for (number, keyspace) in shard.databases.iter().enumerate() {
                let keys = if volatile {
                    keyspace.len_with_deadline()
                } else {
                    keyspace.len()
                };
                if keys > 0 {
                    populated.push((place, number as u16));
                }
            }
        }
        populated
    }

    // ---- figures -------------------------------------------------------------------------------------

    pub(super) fn publish(&mut self) {
        self.io.settle();
        let mut sizes: Vec<DatabaseSize> = Vec::new();
        let now = self.now();
        let (mut bytes, mut applied) = (0, 0);
        for shard in &mut self.shards {
            bytes += shard.databases.bytes();
            applied += shard.applied().0 .0;
            for (number, keyspace) in shard.databases.iter_mut().enumerate() {
                let (hits, misses, expired) = keyspace.take_counts();
                self.io.stats.keyspace_hits.add(hits);
                self.io.stats.keyspace_misses.add(misses);
                self.io.stats.expired_keys.add(expired);
                if keyspace.is_empty() {
                    continue;
                }
                let ttl = keyspace.ttl_ms_mean(now);
                let expires = keyspace.len_with_deadline() as u64;
                let size = DatabaseSize {
                    number: number as u32,
                    keys: keyspace.len() as u64,
                    expires,
                    ttl_ms_mean: ttl,
                };
                match sizes.iter_mut().find(|of| of.number == size.number) {
                    Some(sum) => add_size(sum, &size),
                    None => sizes.push(size),
                }
            }
        }
        let stats = &self.io.stats;
        stats.publish_databases(sizes);
        stats.memory_bytes.set(bytes as u64);
        stats.entries_applied.set(applied);
        let count = self.map.shards();
        let shards = self.shards.iter().filter(|shard| shard.id.0 < count);
        stats.shards.set(shards.clone().count() as u64);
        let led = shards.clone().filter(|shard| shard.leads());
        stats.shards_led.set(led.count() as u64);
        let held = shards.filter(|shard| shard.standing.is_held);
        let voting = held
            .clone()
            .filter(|shard| shard.membership.votes(shard.replica.id()));
        let voting = voting.count() as u64;
        stats.shards_voting.set(voting);
        stats.shards_learning.set(held.count() as u64 - voting);
        if let Some(wal) = &self.wal {
            let (bytes, segments) = self.old_log();
            stats.log_bytes.set(wal.bytes() + bytes);
            stats.log_segments.set(wal.segments() + segments);
            stats
                .log_syncs_pending
                .set(u64::from(wal.synced() < wal.written()));
        }
        if self.number == 0 {
            self.shared.measure_memory();
        }
    }
}

fn add_size(sum: &mut DatabaseSize, size: &DatabaseSize) {
    let expires = sum.expires + size.expires;
    let weighted = sum.ttl_ms_mean * sum.expires + size.ttl_ms_mean * size.expires;
    sum.ttl_ms_mean = weighted.checked_div(expires).unwrap_or(0);
    sum.expires = expires;
    sum.keys += size.keys;
}

/// A key that may be evicted; the highest score goes first.
struct Victim {
    score: u64,
    place: usize,
    database: u16,
    key: Vec<u8>,
}

/// Where the removal of due keys goes on.
#[derive(Clone, Copy, Default)]
pub(super) struct ExpireAt {
    place: usize,
    database: u16,
    hash: u64,
}

/// The part of the settings that decides about data.
pub fn limits(live: &Live) -> Limits {
    Limits {
        hash_max_listpack_entries: live.hash_max_listpack_entries,
        hash_max_listpack_value: live.hash_max_listpack_value,
        list_max_listpack_size: live.list_max_listpack_size,
        set_max_intset_entries: live.set_max_intset_entries,
        set_max_listpack_entries: live.set_max_listpack_entries,
        set_max_listpack_value: live.set_max_listpack_value,
        zset_max_listpack_entries: live.zset_max_listpack_entries,
        zset_max_listpack_value: live.zset_max_listpack_value,
        bulk_len_max: live.proto_max_bulk_len_bytes,
    }
}
