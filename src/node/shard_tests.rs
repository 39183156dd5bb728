//! Reads and writes of several turns, on a shard whose entries are on their way through the log for a while.

use bytes::Bytes;
use ringfort_cluster::{Config, Index, Outputs, Replica, ReplicaId, Restored, ShardId, Term};

use super::*;
use crate::store::Limits;

/// Replies in the order in which they came.
#[derive(Default)]
pub struct Told(pub Vec<String>, pub usize);

impl Replies for Told {
    fn reply(&mut self, _: &Asked, _: &Args, reply: &[u8]) {
        self.0.push(String::from_utf8_lossy(reply).into_owned());
    }

    fn answered(&mut self, _: u64, writes: usize) {
        self.1 += writes;
    }
}

/// A shard that leads alone; what it proposes waits until `persist`.
pub struct Lone {
    pub shard: Shard,
    outputs: Outputs,
    pub told: Told,
    /// All entries that it has applied.
    pub entries: Vec<LogEntry>,
}

impl Lone {
    pub fn new() -> Self {
        let databases = Databases::new(1, (1, 2), Limits::default());
        let restored = Restored::fresh([ReplicaId(1)]);
        let mut replica = Replica::new(&Config::new(ShardId(0), ReplicaId(1)), restored).unwrap();
        replica.campaign();
        let applied = (Index(0), Term(0));
        let mut lone = Self {
            shard: Shard::new(ShardId(0), databases, replica, applied, Timestamp(0)),
            outputs: Outputs::default(),
            told: Told::default(),
            entries: Vec::new(),
        };
        lone.persist();
        lone
    }

    pub fn ask<W: AsRef<[u8]>>(&mut self, words: &[W]) {
        self.ask_for(words, Target::NOBODY);
    }

    fn ask_for<W: AsRef<[u8]>>(&mut self, words: &[W], target: Target) {
        let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
        let bytes = Bytes::from(words.concat());
        let mut end = 0;
        let spans: Vec<Span> = words
            .iter()
            .map(|word| {
                end += word.len();
                ((end - word.len()) as u32, end as u32)
            })
            .collect();
        let args = Args::new(&bytes, &spans);
        let command = registry().find(words[0]).unwrap();
        let asked = match command.is_write {
            true => self.shard.ask_write(0, &args, command, None, target),
            false => self.shard.ask_read(0, &args, command, target),
        };
        assert!(asked.is_ok());
    }

    pub fn end_turn(&mut self) {
        self.shard.propose(Timestamp(1), 0, &mut self.told);
    }

    /// Carries everything through the log.
    pub fn persist(&mut self) {
        while self.shard.replica.ready(&mut self.outputs) {
            self.apply();
            self.shard.replica.persisted(&mut self.outputs);
            self.apply();
        }
    }

    fn apply(&mut self) {
        for entry in std::mem::take(&mut self.outputs.committed) {
            self.shard.apply(&entry, &mut self.told);
            self.shard.replica.applied(entry.index);
            self.entries.push(entry);
        }
    }
}

/// A pipeline that came in two pieces: the second had only reads, was a turn of its own, and its replies told of the time before the
/// writes of the first, which waited for other nodes.
#[test]
fn a_turn_of_reads_alone_comes_behind_the_writes_on_their_way() {
    let mut lone = Lone::new();
    lone.ask(&["SET", "key", "new"]);
    lone.end_turn();
    lone.ask(&["GET", "key"]);
    lone.end_turn();
    assert!(lone.told.0.is_empty(), "{:?}", lone.told.0);
    lone.ask(&["SET", "key", "newer"]);
    lone.ask(&["GET", "key"]);
    lone.end_turn();
    lone.persist();
    let wanted = ["+OK\r\n", "$3\r\nnew\r\n", "+OK\r\n", "$5\r\nnewer\r\n"];
    assert_eq!(lone.told.0, wanted);
}

/// An idle node once seemed slow to itself by its own writes, and held moves up for them.
#[test]
fn writes_that_nobody_waits_for_tell_nothing_of_how_clients_fare() {
    let mut lone = Lone::new();
    lone.ask(&["SET", "key", "the node's"]);
    lone.end_turn();
    lone.persist();
    assert_eq!(lone.told.1, 0);
    let target = Target {
        waiter: Waiter::Callback(0),
        ..Target::NOBODY
    };
    lone.ask_for(&["SET", "key", "a client's"], target);
    lone.end_turn();
    lone.persist();
    assert_eq!(lone.told.1, 1);
}

#[test]
fn a_turn_of_reads_alone_runs_at_once_where_nothing_is_on_its_way() {
    let mut lone = Lone::new();
    lone.ask(&["GET", "key"]);
    lone.end_turn();
    assert_eq!(lone.told.0, ["$-1\r\n"]);
}

#[test]
fn reads_behind_writes_that_are_given_up_are_answered_with_them() {
    let mut lone = Lone::new();
    lone.ask(&["SET", "key", "new"]);
    lone.end_turn();
    lone.ask(&["GET", "key"]);
    lone.ask(&["GET", "other"]);
    lone.end_turn();
    lone.shard.abandon(b"-UNKNOWN\r\n", &mut lone.told);
    assert_eq!(lone.told.0, ["-UNKNOWN\r\n"; 3]);
    lone.persist();
    assert_eq!(lone.told.0.len(), 3);
}

#[test]
#[should_panic(expected = "invariant 9")]
fn an_entry_is_never_applied_twice() {
    let mut lone = Lone::new();
    let first = lone.entries[0].clone();
    lone.shard.apply(&first, &mut lone.told);
}
