//! The keyspace against a plain map: content, deadlines, accounting, SCAN and point-in-time copies.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::{Copied, Databases};
use super::*;

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

#[derive(Clone, Debug)]
enum Op {
    Set(u16, Vec<u8>, Option<u8>),
    Append(u16, Vec<u8>),
    Remove(u16),
    Take(u16),
    Deadline(u16, Option<u8>),
    Wait(u8),
    Sweep,
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    let bytes = prop_oneof![
        Just(b"17".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..90),
        (4000usize..4200).prop_map(|n| vec![b'x'; n]),
    ];
    prop_oneof![
        12 => (0u16..700, bytes.clone(), proptest::option::of(any::<u8>())).prop_map(|(k, v, d)| Op::Set(k, v, d)),
        3 => (0u16..700, bytes).prop_map(|(k, v)| Op::Append(k, v)),
        5 => (0u16..700).prop_map(Op::Remove),
        2 => (0u16..700).prop_map(Op::Take),
        3 => (0u16..700, proptest::option::of(any::<u8>())).prop_map(|(k, d)| Op::Deadline(k, d)),
        2 => any::<u8>().prop_map(Op::Wait),
        1 => Just(Op::Sweep),
        1 => Just(Op::Clear),
    ]
}

fn key(number: u16) -> Vec<u8> {
    format!("key:{number}").into_bytes()
}

fn apply(keyspace: &mut Keyspace, model: &mut Model, now: &mut u64, op: Op) {
    let at = Timestamp(*now);
    let deadline = |d: Option<u8>| d.map(|d| *now + u64::from(d));
    match op {
        Op::Set(k, v, d) => {
            let until = deadline(d).map_or(Deadline::None, |at| Deadline::At(Timestamp(at)));
            keyspace.set_str(&key(k), &v, until, at);
            model.insert(key(k), (v, deadline(d)));
        }
        Op::Append(k, v) => {
            keyspace
                .edit_str(&key(k), at, |bytes| bytes.extend_from_slice(&v))
                .unwrap();
            match model.get_mut(&key(k)) {
                Some((bytes, _)) => bytes.extend_from_slice(&v),
                None if v.is_empty() => {}
                None => drop(model.insert(key(k), (v, None))),
            }
        }
        Op::Remove(k) => assert_eq!(
            keyspace.remove(&key(k), at),
            model.remove(&key(k)).is_some()
        ),
        Op::Take(k) => {
            let taken = keyspace.take(&key(k), at).map(|held| match held.value {
                Value::Str(bytes) => (bytes, held.deadline.map(|at| at.0)),
                other => panic!("{other:?}"),
            });
            assert_eq!(taken, model.remove(&key(k)));
        }
        Op::Deadline(k, d) => {
            let done = keyspace.set_deadline(&key(k), deadline(d).map(Timestamp), at);
            assert_eq!(
                done,
                model
                    .get_mut(&key(k))
                    .map(|entry| entry.1 = deadline(d))
                    .is_some()
            );
        }
        Op::Wait(ms) => {
            *now += u64::from(ms) / 8;
            model.retain(|_, (_, deadline)| deadline.is_none_or(|at| at >= *now));
        }
        Op::Sweep => {
            let mut from = Some(0);
            while let Some(hash) = from {
                let (next, due) = keyspace.next_due(hash, at, 1000);
                if let Some(due) = due {
                    keyspace.remove_due(due, keyspace.segment_end(due), at);
                }
                from = next;
            }
            assert_eq!(keyspace.len(), model.len());
        }
        Op::Clear => {
            keyspace.clear();
            model.clear();
        }
    }
}

fn check(keyspace: &Keyspace, model: &Model, now: u64) {
    let mut content = Model::new();
    keyspace.for_each(Timestamp(now), |key, value, deadline| {
        let ValueRef::Str(string) = value else {
            panic!("only strings here")
        };
        let old = content.insert(key.to_vec(), (string.to_vec(), deadline.map(|at| at.0)));
        assert!(old.is_none(), "a key stands twice");
    });
    assert_eq!(&content, model);
    for (key, (bytes, _)) in model {
        let found = keyspace
            .get_str(key, Timestamp(now))
            .unwrap()
            .map(|string| string.to_vec());
        assert_eq!(found.as_ref(), Some(bytes));
    }
    let entries = keyspace
        .table
        .segments()
        .flat_map(|segment| segment.entries());
    assert_eq!(
        keyspace.entry_bytes,
        entries.map(|entry| entry.total_bytes()).sum::<usize>()
    );
    let with_deadline = keyspace
        .table
        .segments()
        .flat_map(|s| s.entries())
        .filter(|e| e.deadline().is_some());
    assert_eq!(keyspace.len_with_deadline(), with_deadline.count());
}

fn encode(
    database: u16,
    key: &[u8],
    deadline: Option<Timestamp>,
    value: ValueRef<'_>,
    out: &mut Vec<u8>,
) {
    let ValueRef::Str(string) = value else {
        panic!("only strings here")
    };
    let line = (
        database,
        key.to_vec(),
        deadline.map(|at| at.0),
        string.to_vec(),
    );
    out.extend_from_slice(format!("{line:?}\n").as_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_keyspace_behaves_as_a_map_with_deadlines(ops in proptest::collection::vec(op(), 1..1500)) {
        let mut keyspace = Keyspace::new((7, 9), Limits::default());
        let (mut model, mut now) = (Model::new(), 1000);
        for op in ops {
            apply(&mut keyspace, &mut model, &mut now, op);
        }
        check(&keyspace, &model, now);
    }

    #[test]
    fn a_copy_is_that_of_the_instant_at_which_it_began(
        before in proptest::collection::vec(op(), 1..1200),
        during in proptest::collection::vec(op(), 1..1200),
        every in 1usize..40,
    ) {
        let mut databases = Databases::new(2, (7, 9), Limits::default());
        let (mut model, mut now) = (Model::new(), 1000);
        for op in before {
            apply(databases.keyspace_mut(0), &mut model, &mut now, op);
        }
        let mut wanted = BTreeSet::new();
        databases.keyspace(0).for_each(Timestamp(0), |key, value, deadline| {
            let mut line = Vec::new();
            encode(0, key, deadline, value, &mut line);
            wanted.insert(line);
        });
        databases.begin_capture(encode);
        let (mut copied, mut done, mut number) = (Copied::default(), false, 0u16);
        for (turn, op) in during.into_iter().enumerate() {
            apply(databases.keyspace_mut(number), &mut model, &mut now, op);
            if turn % 97 == 96 {
                databases.swap(0, 1);
                number = 1 - number;
            }
            if turn % every == 0 && !done {
                let more = copied.bytes.len() + 100;
                done = databases.capture_step(more, &mut copied);
            }
        }
        while !done {
            let more = copied.bytes.len() + 100;
            done = databases.capture_step(more, &mut copied);
        }
        let got: Vec<Vec<u8>> = copied.bytes.split_inclusive(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
        prop_assert_eq!(got.len() as u64, copied.keys);
        prop_assert_eq!(got.len(), wanted.len());
        prop_assert_eq!(got.into_iter().collect::<BTreeSet<_>>(), wanted);
        check(databases.keyspace(number), &model, now);
    }

    #[test]
    fn scan_visits_once_what_is_there_all_along(ops in proptest::collection::vec(op(), 1..1500)) {
        let mut keyspace = Keyspace::new((7, 9), Limits::default());
        let lasting: Vec<Vec<u8>> = (0..150).map(|n| format!("lasting:{n}").into_bytes()).collect();
        for key in &lasting {
            keyspace.set_str(key, b"v", Deadline::None, Timestamp(0));
        }
        let (mut cursor, mut now, mut seen) = (Some(0), 1000, Vec::new());
        for op in ops.into_iter().filter(|op| !matches!(op, Op::Clear | Op::Sweep)) {
            let mut model = Model::new();
            keyspace.for_each(Timestamp(now), |key, value, deadline| {
                let ValueRef::Str(string) = value else { panic!() };
                model.insert(key.to_vec(), (string.to_vec(), deadline.map(|at| at.0)));
            });
            apply(&mut keyspace, &mut model, &mut now, op);
            if let Some(from) = cursor {
                cursor = keyspace.scan(from, 1, Timestamp(now), |key, _| seen.push(key.to_vec()));
            }
        }
        while let Some(from) = cursor {
            cursor = keyspace.scan(from, 10, Timestamp(now), |key, _| seen.push(key.to_vec()));
        }
        for key in &lasting {
            prop_assert_eq!(seen.iter().filter(|seen| *seen == key).count(), 1);
        }
    }
}

#[test]
fn growth_and_shrinking_keep_every_key_and_give_memory_back() {
    let mut keyspace = Keyspace::new((7, 9), Limits::default());
    for n in 0..50_000u32 {
        keyspace.set_str(&n.to_be_bytes(), b"value", Deadline::None, Timestamp(0));
    }
    assert_eq!(keyspace.len(), 50_000);
    for n in 0..50_000u32 {
        assert!(keyspace.contains(&n.to_be_bytes(), Timestamp(0)), "{n}");
    }
    let full = keyspace.bytes();
    for n in 0..49_900u32 {
        assert!(keyspace.remove(&n.to_be_bytes(), Timestamp(0)), "{n}");
    }
    assert_eq!(keyspace.len(), 100);
    assert!(
        keyspace.bytes() < full / 20,
        "{} of {full}",
        keyspace.bytes()
    );
}

#[test]
fn a_random_key_is_drawn_evenly() {
    let mut keyspace = Keyspace::new((7, 9), Limits::default());
    for n in 0..300u16 {
        keyspace.set_str(&n.to_be_bytes(), b"v", Deadline::None, Timestamp(0));
    }
    let mut rng = super::Rng::new(5);
    let mut counts = BTreeMap::new();
    for _ in 0..300 * 200 {
        let key = keyspace
            .random_key(&mut rng, Timestamp(0))
            .expect("there are keys")
            .to_vec();
        *counts.entry(key).or_insert(0u32) += 1;
    }
    assert_eq!(counts.len(), 300);
    // 200 expected of each; 14 is one standard deviation.
    assert!(
        counts.values().all(|count| (120..290).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn a_key_past_its_deadline_reads_as_absent_and_stays_until_a_write() {
    let mut keyspace = Keyspace::new((7, 9), Limits::default());
    keyspace.set_str(b"k", b"v", Deadline::At(Timestamp(100)), Timestamp(0));
    assert!(keyspace.get(b"k", Timestamp(100)).is_some());
    assert!(keyspace.get(b"k", Timestamp(101)).is_none());
    assert_eq!(keyspace.len(), 1); // Invariant 3: a read removes nothing.
    assert!(!keyspace.remove(b"k", Timestamp(101)));
    assert_eq!(keyspace.len(), 0);
}

#[test]
fn a_lone_key_takes_as_much_as_one_among_many() {
    let now = Timestamp(1_000);
    let mut keyspace = Keyspace::new((1, 2), Limits::default());
    keyspace.set_str(b"key", b"value", Deadline::None, now);
    let alone = keyspace.key_bytes(b"key", now);
    assert!(alone.is_some_and(|bytes| (8..=64).contains(&bytes)));
    for number in 0..1_000 {
        let key = format!("other:{number}");
        keyspace.set_str(key.as_bytes(), b"value", Deadline::None, now);
    }
    assert_eq!(keyspace.key_bytes(b"key", now), alone);
}
