//! Hashes against a plain list of pairs, over both encodings.

use super::*;
use crate::store::Rng;
use proptest::prelude::*;

fn limits(entries: u32, value: u32) -> Limits {
    Limits {
        hash_max_listpack_entries: entries,
        hash_max_listpack_value: value,
        ..Limits::default()
    }
}

fn contents(hash: &Hash) -> Vec<(Vec<u8>, Vec<u8>)> {
    hash.iter().map(|(f, v)| (f.to_vec(), v.to_vec())).collect()
}

/// Sums anew what the hash keeps as running numbers.
fn recount(hash: &Hash) -> usize {
    match &hash.repr {
        Repr::Packed(listpack) => listpack.heap_bytes(),
        Repr::Table(table) => {
            let values: usize = hash
                .iter()
                .map(|(_, v)| allocation_bytes(v.byte_len()))
                .sum();
            allocation_bytes(std::mem::size_of::<Table>()) + table.fields.recount_bytes() + values
        }
    }
}

fn numbered(count: usize, limits: &Limits) -> Hash {
    let mut hash = Hash::new();
    for i in 0..count {
        hash.set(format!("f{i}").as_bytes(), i.to_string().as_bytes(), limits);
    }
    hash
}

#[test]
fn a_hash_becomes_a_table_one_field_past_the_limit_and_stays_one() {
    let limits = limits(4, 64);
    let mut hash = numbered(4, &limits);
    assert_eq!(hash.encoding(), "listpack");
    assert!(!hash.set(b"f0", b"again", &limits));
    assert_eq!(hash.encoding(), "listpack");
    assert!(hash.set(b"f4", b"4", &limits));
    assert_eq!(hash.encoding(), "hashtable");
    (1..5).for_each(|i| assert!(hash.remove(format!("f{i}").as_bytes())));
    assert_eq!((hash.len(), hash.encoding()), (1, "hashtable"));
}

#[test]
fn a_long_field_or_value_makes_a_table() {
    let limits = limits(128, 5);
    for (field, value, encoding) in [
        ("12345", "12345", "listpack"),
        ("123456", "1", "hashtable"),
        ("1", "123456", "hashtable"),
    ] {
        let mut hash = Hash::new();
        hash.set(field.as_bytes(), value.as_bytes(), &limits);
        assert_eq!(hash.encoding(), encoding, "{field} {value}");
    }
}

#[test]
fn more_pairs_at_once_than_a_listpack_holds_make_a_table_even_if_they_repeat() {
    let limits = limits(2, 64);
    let pairs = [(b"a".as_slice(), b"1".as_slice()); 3];
    let mut hash = Hash::new();
    assert_eq!(hash.extend(pairs.iter().copied(), &limits), 1);
    assert_eq!((hash.len(), hash.encoding()), (1, "hashtable"));
}

#[test]
fn removal_from_a_table_moves_the_last_pair() {
    let mut hash = numbered(5, &limits(0, 64));
    assert!(hash.remove(b"f1"));
    assert!(!hash.remove(b"f1"));
    let fields: Vec<_> = hash.iter().map(|(f, _)| f.to_vec()).collect();
    assert_eq!(fields, [b"f0", b"f4", b"f2", b"f3"]);
}

#[test]
fn snapshots_rebuild_the_same_hash() {
    let small = numbered(3, &Limits::default());
    let listpack = small.as_listpack().unwrap().clone();
    assert_eq!(Hash::from_listpack(listpack).as_ref(), Ok(&small));
    let mut large = numbered(300, &Limits::default());
    large.remove(b"f7");
    assert!(large.as_listpack().is_none());
    let pairs = contents(&large);
    let pairs = || pairs.iter().map(|(f, v)| (f.as_slice(), v.as_slice()));
    let copy = Hash::from_pairs_as_hashtable(pairs()).unwrap();
    assert_eq!((&copy, copy.encoding()), (&large, "hashtable"));
    assert_eq!(contents(&copy), contents(&large));
    assert_eq!(Hash::from_pairs(pairs(), &Limits::default()), large);
}

#[test]
fn pairs_that_make_no_hash_are_refused() {
    let packed = |values: &[&str]| values.iter().map(|v| v.as_bytes()).collect::<Listpack>();
    assert_eq!(Hash::from_listpack(packed(&["a"])), Err(BadPairs));
    assert_eq!(
        Hash::from_listpack(packed(&["a", "1", "a", "2"])),
        Err(BadPairs)
    );
    let twice = [(b"a".as_slice(), b"1".as_slice()); 2];
    assert_eq!(Hash::from_pairs_as_hashtable(twice), Err(BadPairs));
}

#[test]
fn every_pair_is_drawn_about_equally_often() {
    for limits in [limits(128, 64), limits(0, 64)] {
        let hash = numbered(10, &limits);
        let mut rng = Rng::new(7);
        let mut drawn = [0; 10];
        for _ in 0..10_000 {
            let (_, value) = hash.random(&mut rng).unwrap();
            drawn[value.with_bytes(|v| usize::from(v[0] - b'0'))] += 1;
        }
        assert!(drawn.iter().all(|n| (800..1200).contains(n)), "{drawn:?}");
    }
    assert_eq!(Hash::new().random(&mut Rng::new(7)), None);
}

#[test]
fn a_scan_of_a_table_shows_all_that_stays() {
    let mut hash = numbered(500, &Limits::default());
    let mut seen = HashSet::new();
    let (mut cursor, mut turn) = (0, 0);
    loop {
        cursor = hash.scan(cursor, 10, |field, _| {
            seen.insert(field.to_vec());
        });
        if cursor == 0 {
            break;
        }
        hash.remove(format!("f{}", 2 * turn + 1).as_bytes());
        hash.set(format!("new{turn}").as_bytes(), b"", &Limits::default());
        turn += 1;
    }
    assert!((0..500)
        .step_by(2)
        .all(|i| seen.contains(format!("f{i}").as_bytes())));
}

#[test]
fn a_scan_shows_a_listpack_whole_whatever_the_cursor() {
    let hash = numbered(20, &Limits::default());
    let mut shown = 0;
    assert_eq!(hash.scan(5, 1, |_, _| shown += 1), 0);
    assert_eq!(shown, 20);
}

#[derive(Clone, Debug)]
enum Change {
    Set(Vec<u8>, Vec<u8>),
    Extend(Vec<(Vec<u8>, Vec<u8>)>),
    Remove(Vec<u8>),
}

fn field() -> impl Strategy<Value = Vec<u8>> {
    (0u8..20).prop_map(|i| i.to_string().into_bytes())
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|v| v.to_string().into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..40),
        (60usize..200).prop_map(|len| vec![b'v'; len]),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (field(), value()).prop_map(|(f, v)| Change::Set(f, v)),
        1 => proptest::collection::vec((field(), value()), 0..5).prop_map(Change::Extend),
        3 => field().prop_map(Change::Remove),
    ]
}

/// Sets or removes in a list of pairs that behaves as the encoding says.
fn model_set(model: &mut Vec<(Vec<u8>, Vec<u8>)>, field: Vec<u8>, value: Vec<u8>) -> bool {
    match model.iter_mut().find(|(f, _)| *f == field) {
        Some(pair) => {
            pair.1 = value;
            false
        }
        None => {
            model.push((field, value));
            true
        }
    }
}

proptest! {
    #[test]
    fn any_changes_do_what_pairs_do(
        entries in 0u32..25,
        long in prop_oneof![Just(64u32), Just(500), Just(3)],
        changes in proptest::collection::vec(change(), 0..80),
    ) {
        let limits = limits(entries, long);
        let mut hash = Hash::new();
        let mut model = Vec::new();
        for change in changes {
            match change {
                Change::Set(f, v) => {
                    let new = hash.set(&f, &v, &limits);
                    prop_assert_eq!(new, model_set(&mut model, f, v));
                }
                Change::Extend(pairs) => {
                    let new = hash.extend(pairs.iter().map(|(f, v)| (f.as_slice(), v.as_slice())), &limits);
                    let wanted = pairs.into_iter().filter(|(f, v)| model_set(&mut model, f.clone(), v.clone()));
                    prop_assert_eq!(new, wanted.count());
                }
                Change::Remove(f) => {
                    let at = model.iter().position(|(field, _)| *field == f);
                    prop_assert_eq!(hash.remove(&f), at.is_some());
                    if let Some(at) = at {
                        match hash.encoding() {
                            "hashtable" => model.swap_remove(at),
                            _ => model.remove(at),
                        };
                    }
                }
            }
            prop_assert_eq!(&contents(&hash), &model);
            prop_assert_eq!(hash.len(), model.len());
            prop_assert_eq!(hash.is_empty(), model.is_empty());
            prop_assert_eq!(hash.heap_bytes(), recount(&hash));
            for (i, (f, v)) in model.iter().enumerate() {
                prop_assert!(hash.get(f).unwrap().eq_bytes(v));
                prop_assert!(hash.contains(f));
                prop_assert!(hash.pair_at(i).unwrap().0.eq_bytes(f));
            }
            prop_assert!(hash.get(b"absent").is_none() && hash.pair_at(model.len()).is_none());
            if hash.encoding() == "listpack" {
                prop_assert!(model.len() <= entries as usize);
            }
        }
        prop_assert_eq!(hash.clone().heap_bytes() > 0, true);
    }
}
