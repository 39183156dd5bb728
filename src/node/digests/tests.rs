//! Digests of a shard that goes on changing, against those of a shard that stands still; and what a worker does about marks.

use proptest::prelude::*;
use ringfort_cluster::{ReplicaId, ShardId};

use super::*;
use crate::commands::testing;
use crate::node::testing::Alone;
use crate::store::rdb::{put_record, Records};
use crate::store::{Databases, Deadline, Limits, Timestamp};

const ZERO: ShardId = ShardId(0);

// ---- the walk ----------------------------------------------------------------------------------------

/// A command of any type of value; `n` decides about its arguments.
fn line(kind: u8, n: u32) -> String {
    let (key, arg) = (n % 97, n / 97 % 50);
    match kind {
        0 => format!("SET str:{key} {arg}"),
        1 => format!("APPEND str:{key} part{arg}"),
        2 => format!("SET due:{key} {arg} PX {}", 1 + arg),
        3 => format!("RPUSH list:{key} a{arg} {arg}"),
        4 => format!("LPOP list:{key}"),
        5 => format!("SADD set:{key} {arg} {}", arg * 3),
        6 => format!("SADD set:{} word{arg}", key % 5),
        7 => format!("SPOP set:{key}"),
        8 => format!("HSET hash:{key} f{arg} {n}"),
        9 => format!("HDEL hash:{key} f{arg}"),
        10 => format!("ZADD zset:{key} {arg} m{}", arg / 2),
        11 => format!("ZREM zset:{key} m{arg}"),
        12 => format!("EXPIRE hash:{key} {}", 1 + arg),
        13 => format!("PERSIST hash:{key}"),
        14 => format!("DEL set:{key} str:{key}"),
        15 => format!("RENAME list:{key} list:{}", (key + 1) % 97),
        16 => "RF.SWEEP 0 -1".into(),
        17 => format!("SETRANGE str:{key} 40 {}", "x".repeat(arg as usize)),
        18 => match arg {
            0 => "FLUSHALL".into(),
            1 => "FLUSHDB".into(),
            2 | 3 => "SWAPDB 0 1".into(),
            4 => "RF.LIMITS 3 10 -2 512 128 64 4 64 536870912".into(),
            _ => format!("SADD set:{} {n}", key % 3),
        },
        _ => format!("SETBIT bits:{key} {arg} 1"),
    }
}

fn apply(shard: &mut testing::Shard, &(kind, n): &(u8, u32)) {
    // A little time passes with every third command, and some go to another database.
    shard.advance(u64::from(n % 3 == 0));
    shard.database = u16::from(n % 11 == 0);
    shard.run(&line(kind, n));
}

fn commands(max: usize) -> impl Strategy<Value = Vec<(u8, u32)>> {
    proptest::collection::vec((0u8..20, any::<u32>()), 1..max)
}

/// The shard as it comes back from a snapshot.
fn restored(databases: &Databases) -> Databases {
    let mut all = Vec::new();
    for number in 0..databases.count() as u16 {
        let keyspace = databases.keyspace(number);
        keyspace.for_each(Timestamp(0), |key, value, deadline| {
            put_record(number, key, deadline, value, &mut all);
        });
    }
    // Another node keeps its keys in another order.
    let mut copy = Databases::new(databases.count(), (77, 78), *databases.limits());
    for record in Records::new(&all) {
        let record = record.unwrap();
        let deadline = record.deadline.map_or(Deadline::None, Deadline::At);
        let keyspace = copy.keyspace_mut(record.database);
        keyspace.set(&record.key, record.value, deadline, Timestamp(0));
    }
    copy
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_digest_is_that_of_the_instant_at_which_the_walk_began(
        before in commands(1500),
        during in commands(800),
        every in 1usize..30,
        step_bytes in 1usize..2000,
    ) {
        let mut shard = testing::Shard::new();
        before.iter().for_each(|command| apply(&mut shard, command));
        let wanted = shard.databases.digest();
        prop_assert_eq!(restored(&shard.databases).digest(), wanted);
        let mut sum = shard.databases.begin_digest();
        let mut is_done = false;
        for (turn, command) in during.iter().enumerate() {
            apply(&mut shard, command);
            if turn % every == 0 && !is_done {
                is_done = shard.databases.digest_step(step_bytes, &mut sum);
            }
        }
        while !is_done {
            is_done = shard.databases.digest_step(step_bytes, &mut sum);
        }
        prop_assert_eq!(sum, wanted);
    }
}

fn digest_of(lines: &[&str]) -> Digest {
    let mut shard = testing::Shard::new();
    for line in lines {
        shard.run(line);
    }
    shard.databases.digest()
}

#[test]
fn whatever_belongs_to_the_state_counts() {
    let states: &[&[&str]] = &[
        &[],
        &["RF.LIMITS 3 10 -2 512 128 64 4 64 536870912"],
        &["SET k v"],
        &["SET k w"],
        &["SET kv x"],
        &["SET k v PX 100"],
        &["SET k v PX 101"],
        &["RPUSH k v"],
        &["SADD k v"],
        &["HSET k v w"],
        &["ZADD k 1 v"],
        &["ZADD k 2 v"],
        &["RPUSH k a b"],
        &["RPUSH k b a"],
        // SPOP goes by the order, so replicas must have the same.
        &["SADD k a b"],
        &["SADD k b a"],
        &["MSET a 1 b 2"],
        &["MSET a 2 b 1"],
    ];
    let digests: Vec<Digest> = states.iter().map(|lines| digest_of(lines)).collect();
    for (at, digest) in digests.iter().enumerate() {
        assert!(!digests[..at].contains(digest), "{:?}", states[at]);
    }
    let mut other = testing::Shard::new();
    other.database = 1;
    other.run("SET k v");
    assert!(!digests.contains(&other.databases.digest()), "the database");
}

#[test]
fn what_a_history_leaves_behind_and_no_replica_shares_does_not_count() {
    let one = digest_of(&["SET a 1", "SET b 2", "SET gone x", "DEL gone"]);
    let other = digest_of(&["SET b 2", "SET a 9", "SET a 1", "GET a", "OBJECT FREQ b"]);
    assert_eq!(one, other);
    assert_eq!(one.keys, 2);
    assert_eq!(one.to_string().len(), 40);
}

#[test]
fn a_key_that_is_due_counts_until_it_is_removed() {
    let mut shard = testing::Shard::new();
    shard.run("SET k v PX 10");
    let before = shard.databases.digest();
    shard.advance(20);
    assert_eq!(shard.run("GET k"), "$-1");
    assert_eq!(shard.databases.digest(), before);
    let mut sum = shard.databases.begin_digest();
    assert_eq!(shard.run("RF.SWEEP 0 -1"), ":1");
    while !shard.databases.digest_step(1, &mut sum) {}
    assert_eq!(sum, before);
    assert_eq!(shard.databases.digest(), digest_of(&[]));
}

// ---- on a worker -------------------------------------------------------------------------------------

impl Alone {
    fn ask(&mut self, ask: DigestAsk, token: u64) -> DigestAnswer {
        self.worker.answer_digest(DigestQuestion {
            shard: ZERO,
            token,
            ask,
        })
    }

    /// Puts the mark into the log, and gives the index at which it is applied.
    fn mark(&mut self, token: u64) -> Index {
        self.worker.flush();
        let answer = self.ask(DigestAsk::Mark, token);
        let DigestAnswer::Marked(index) = answer else {
            panic!("{answer:?}");
        };
        self.worker.flush();
        assert_eq!(self.worker.shards[0].applied().0, index);
        index
    }

    fn walk_to_the_end(&mut self) {
        while self.worker.background_step() {}
    }

    fn digest(&self) -> Digest {
        self.worker.shards[0].databases.digest()
    }
}

#[test]
fn the_state_behind_the_mark_is_told_while_writes_go_on() {
    for durability in ["everysec", "none"] {
        let dir = tempfile::tempdir().unwrap();
        let mut alone = Alone::start(dir.path(), durability);
        alone.write(0, 0..3000, "before");
        alone.worker.flush();
        let answer = alone.ask(DigestAsk::Await, 5);
        assert!(matches!(answer, DigestAnswer::Awaiting(ReplicaId(1), _)));
        let wanted = alone.digest();
        // What waits for the end of the turn comes behind the mark.
        alone.write(0, 3000..3001, "in the same turn");
        let answer = alone.ask(DigestAsk::Mark, 5);
        let DigestAnswer::Marked(index) = answer else {
            panic!("{answer:?}");
        };
        alone.worker.flush();
        assert_eq!(alone.worker.shards[0].applied().0, index.next());
        assert_eq!(
            alone.ask(DigestAsk::Tell, 5),
            DigestAnswer::Walking(index, 0)
        );
        for turn in 0..100 {
            alone.write(0, turn * 7..turn * 40 + 10, "after");
            alone.worker.flush();
            alone.worker.background_step();
        }
        alone.walk_to_the_end();
        assert_ne!(alone.digest(), wanted);
        let done = DigestAnswer::Done {
            index,
            sum: wanted.sum,
            keys: 3000,
        };
        assert_eq!(alone.ask(DigestAsk::Tell, 5), done);
        // Asked again, and by another comparison.
        assert_eq!(alone.ask(DigestAsk::Await, 5), done);
        let answer = alone.ask(DigestAsk::Tell, 6);
        assert!(matches!(answer, DigestAnswer::Failed(_)), "{answer:?}");
        alone.stop();
    }
}

#[test]
fn a_mark_that_nobody_awaits_begins_nothing_and_a_replay_neither() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = Alone::start(dir.path(), "everysec");
    alone.write(0, 0..100, "v");
    alone.mark(1);
    assert!(!alone.worker.background_step());
    alone.ask(DigestAsk::Await, 2);
    alone.mark(1);
    assert!(!alone.worker.background_step(), "the mark of another");
    alone.mark(2);
    assert!(alone.worker.digests.open() == 1);
    let before = alone.digest();
    alone.stop();
    let mut alone = Alone::start(dir.path(), "everysec");
    assert_eq!(alone.digest(), before);
    assert!(!alone.worker.background_step());
    let answer = alone.ask(DigestAsk::Tell, 2);
    assert!(matches!(answer, DigestAnswer::Failed(_)), "{answer:?}");
    alone.stop();
}

#[test]
fn a_snapshot_and_a_digest_of_one_shard_wait_for_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = Alone::start(dir.path(), "everysec");
    alone.write(0, 0..2000, "v");
    alone.worker.flush();
    alone.worker.snapshot_all();
    alone.worker.background_step();
    let answer = alone.ask(DigestAsk::Await, 1);
    assert!(matches!(answer, DigestAnswer::Busy(_)), "{answer:?}");
    alone.walk_to_the_end();
    alone.ask(DigestAsk::Await, 1);
    let taken = alone.worker.io.stats.snapshots_taken.get();
    alone.worker.snapshot_all();
    // The others are made meanwhile.
    while alone.worker.snapshots_open() > 1 {
        alone.worker.background_step();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(alone.worker.io.stats.snapshots_taken.get() - taken, 2);
    let index = alone.mark(1);
    alone.walk_to_the_end();
    let answer = alone.ask(DigestAsk::Tell, 1);
    let DigestAnswer::Done { index: at, .. } = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(at, index);
    let snapshots = alone.worker.io.stats.snapshots_taken.get() - taken;
    assert_eq!((snapshots, alone.worker.snapshots_open()), (3, 0));
    alone.stop();
}

#[test]
fn a_digest_that_nobody_asks_for_is_given_up_and_then_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = Alone::start(dir.path(), "none");
    alone.ask(DigestAsk::Await, 1);
    let answer = alone.ask(DigestAsk::Await, 2);
    assert!(matches!(answer, DigestAnswer::Busy(_)), "{answer:?}");
    let age = |alone: &mut Alone, by: Duration| {
        let known = alone.worker.digests.known.get_mut(&0).unwrap();
        known.heard = known.heard.checked_sub(by).unwrap();
        alone.worker.background_step();
    };
    age(&mut alone, UNHEARD_MAX + Duration::from_secs(1));
    assert_eq!(alone.worker.digests.open(), 0);
    alone.mark(1);
    assert!(!alone.worker.background_step());
    age(&mut alone, KEPT_FOR);
    assert!(alone.worker.digests.known.is_empty());
    let answer = alone.ask(DigestAsk::Await, 2);
    assert!(matches!(answer, DigestAnswer::Awaiting(..)), "{answer:?}");
    alone.stop();
}

#[test]
fn a_comparison_that_was_ended_leaves_its_place_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = Alone::start(dir.path(), "none");
    alone.write(0, 0..100, "v");
    for token in [1, 2] {
        let answer = alone.ask(DigestAsk::Await, token);
        assert!(matches!(answer, DigestAnswer::Awaiting(..)), "{answer:?}");
        // That of another is none of its business.
        alone.ask(DigestAsk::End, token + 7);
        assert_eq!(alone.worker.digests.open(), 1);
        if token == 2 {
            alone.mark(token);
        }
        let answer = alone.ask(DigestAsk::End, token);
        assert!(matches!(answer, DigestAnswer::Failed(_)), "{answer:?}");
        assert_eq!(alone.worker.digests.open(), 0);
        assert!(!alone.worker.background_step());
    }
    alone.stop();
}

#[test]
fn data_that_is_replaced_ends_a_walk_but_a_mark_may_come_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = Alone::start(dir.path(), "none");
    alone.write(0, 0..100, "v");
    alone.ask(DigestAsk::Await, 1);
    alone.worker.digest_replaced(0);
    let index = alone.mark(1);
    let answer = alone.ask(DigestAsk::Tell, 1);
    assert_eq!(answer, DigestAnswer::Walking(index, 0));
    alone.worker.digest_replaced(0);
    let answer = alone.ask(DigestAsk::Tell, 1);
    assert!(matches!(answer, DigestAnswer::Failed(_)), "{answer:?}");
    assert!(!alone.worker.background_step());
    // The next one finds its place free.
    alone.ask(DigestAsk::Await, 2);
    alone.mark(2);
    alone.walk_to_the_end();
    let answer = alone.ask(DigestAsk::Tell, 2);
    assert!(matches!(answer, DigestAnswer::Done { .. }), "{answer:?}");
    alone.stop();
}

#[test]
fn only_a_shard_that_is_here_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = Alone::start(dir.path(), "everysec");
    for shard in [2, 700, u16::MAX] {
        let answer = alone.worker.answer_digest(DigestQuestion {
            shard: ShardId(shard),
            token: 1,
            ask: DigestAsk::Await,
        });
        assert!(matches!(answer, DigestAnswer::Failed(_)), "{answer:?}");
    }
    alone.ask(DigestAsk::Await, 1);
    alone.mark(1);
    alone.worker.drop_replica(ZERO, ReplicaId(1)).unwrap();
    assert!(!alone.worker.background_step());
    for ask in [DigestAsk::Tell, DigestAsk::Await, DigestAsk::Mark] {
        let answer = alone.ask(ask, 1);
        assert!(matches!(answer, DigestAnswer::Failed(_)), "{answer:?}");
    }
    alone.stop();
}

#[test]
fn the_limits_of_a_shard_are_part_of_its_state() {
    let one = Databases::new(1, (1, 2), Limits::default());
    let other = Limits {
        set_max_intset_entries: 7,
        ..Limits::default()
    };
    let other = Databases::new(1, (1, 2), other);
    assert_ne!(one.digest(), other.digest());
}
