//! What this crate adds to every write: the slot of its key, its place in a batch, and the way of the batch
//! through a group of one voter. Run with `cargo bench -p ringfort-cluster`.

use bytes::Bytes;
use criterion::{criterion_group, criterion_main, Criterion};
use ringfort_cluster::replica::{Config, Outputs, Replica, Restored};
use ringfort_cluster::{slot_of, Batch, BatchBuilder, ReplicaId, ShardId, Stamp};
use std::hint::black_box;

const KEY: &[u8] = b"key:000000012345";
const VALUE: &[u8] = &[b'v'; 64];
const STAMP: Stamp = Stamp {
    clock_ms: 1_700_000_000_000,
    seed: 7,
};

fn slots(c: &mut Criterion) {
    c.bench_function("slot of a 16-byte key", |b| {
        b.iter(|| slot_of(black_box(KEY)))
    });
}

fn entries(c: &mut Criterion) {
    let set = [b"SET", KEY, VALUE].concat();
    let (name, key) = (3, 3 + KEY.len() as u32);
    let spans = [(0, name), (name, key), (key, set.len() as u32)];
    let mut builder = BatchBuilder::new();
    c.bench_function("entry: push 16 SET and finish", |b| {
        b.iter(|| {
            for _ in 0..16 {
                builder.push(0, black_box(&set), &spans).expect("fits");
            }
            builder.finish(STAMP)
        });
    });
    c.bench_function("entry: push 1 SET and finish", |b| {
        b.iter(|| {
            builder.push(0, black_box(&set), &spans).expect("fits");
            builder.finish(STAMP)
        });
    });
    for _ in 0..16 {
        builder.push(0, &set, &spans).expect("fits");
    }
    let entry = builder.finish(STAMP);
    let mut spans = Vec::new();
    c.bench_function("entry: walk over 16 SET", |b| {
        b.iter(|| {
            let batch = Batch::decode(black_box(&entry)).expect("sound");
            let mut cursor = batch.cursor();
            while cursor.next_into(&mut spans).expect("sound").is_some() {
                black_box(&spans);
            }
        });
    });
}

/// A leader of a group of one that has applied its first entry.
fn leader(outputs: &mut Outputs) -> Replica {
    let config = Config::new(ShardId(0), ReplicaId(1));
    let mut replica = Replica::new(&config, Restored::fresh([ReplicaId(1)])).expect("sound");
    replica.campaign();
    assert!(replica.ready(outputs));
    replica.persisted(outputs);
    replica.applied(outputs.committed[0].index);
    replica
}

fn cycle(replica: &mut Replica, outputs: &mut Outputs, data: Bytes) {
    replica.propose(data).expect("leads");
    assert!(replica.ready(outputs));
    black_box(replica.known_commit_if_persisted());
    black_box(&outputs.entries);
    replica.persisted(outputs);
    let last = outputs.committed.last().expect("committed").index;
    replica.applied(last);
}

fn cycles(c: &mut Criterion) {
    let mut outputs = Outputs::default();
    let mut replica = leader(&mut outputs);
    let data = Bytes::from_static(&[b'x'; 120]);
    c.bench_function("replica: propose, ready, persisted, applied", |b| {
        b.iter(|| cycle(&mut replica, &mut outputs, data.clone()));
    });
    let mut shards: Vec<Replica> = (0..64).map(|_| leader(&mut outputs)).collect();
    c.bench_function("replica: the same over 64 shards in turn", |b| {
        b.iter(|| {
            for replica in &mut shards {
                cycle(replica, &mut outputs, data.clone());
            }
        });
    });
    c.bench_function("replica: ready with nothing to do", |b| {
        b.iter(|| replica.ready(&mut outputs));
    });
}

criterion_group!(benches, slots, entries, cycles);
criterion_main!(benches);
