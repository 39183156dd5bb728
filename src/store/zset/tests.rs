//! Sorted sets against a map and a sorted vector, over both encodings.

use super::*;
use crate::store::Rng;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Limits that random operations soon reach.
static SMALL: LazyLock<Limits> = LazyLock::new(|| Limits {
    set_max_intset_entries: 12,
    set_max_listpack_entries: 8,
    set_max_listpack_value: 8,
    zset_max_listpack_entries: 8,
    zset_max_listpack_value: 8,
    ..Limits::default()
});

type Model = BTreeMap<Vec<u8>, f64>;

fn zset_of(pairs: &[(&str, f64)]) -> ZSet {
    let mut zset = ZSet::expecting(1, 1, &SMALL);
    for (member, score) in pairs {
        zset.insert(member.as_bytes(), *score, &SMALL);
    }
    zset
}

fn listed(zset: &ZSet) -> Vec<(Vec<u8>, f64)> {
    zset.iter().map(|(m, score)| (m.to_vec(), score)).collect()
}

fn sorted(model: &Model) -> Vec<(Vec<u8>, f64)> {
    let mut pairs: Vec<_> = model.iter().map(|(m, s)| (m.clone(), *s)).collect();
    pairs.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
    pairs
}

#[test]
fn a_listpack_keeps_pairs_in_order_and_whole_scores_as_integers() {
    let zset = zset_of(&[("b", 2.0), ("a", 2.0), ("c", -1.5), ("d", f64::INFINITY)]);
    let ZSetView::Listpack(pairs) = zset.view() else {
        panic!("{zset:?}")
    };
    let elements: Vec<_> = pairs.iter().collect();
    let expected = [
        Element::Bytes(b"c"),
        Element::Bytes(b"-1.5"),
        Element::Bytes(b"a"),
        Element::Int(2),
        Element::Bytes(b"b"),
        Element::Int(2),
        Element::Bytes(b"d"),
        Element::Bytes(b"inf"),
    ];
    assert_eq!(elements, expected);
}

#[test]
fn scores_of_every_kind_survive_the_listpack() {
    let scores = [
        f64::NEG_INFINITY,
        f64::MIN,
        -1e18,
        -0.1,
        5e-324,
        1e-7,
        0.1,
        1.0 / 3.0,
        9007199254740993.0,
        4.7e18,
        1e17 + 16.0,
        1.7976931348623157e308,
        f64::INFINITY,
    ];
    for score in scores {
        let zset = zset_of(&[("m", score)]);
        assert_eq!(zset.encoding(), "listpack");
        assert_eq!(zset.score(b"m"), Some(score));
    }
}

#[test]
fn encodings_change_at_the_limits() {
    let mut zset = zset_of(&[]);
    for n in 0..8 {
        zset.insert(n.to_string().as_bytes(), 1.0, &SMALL);
    }
    assert_eq!(zset.encoding(), "listpack");
    zset.insert(b"7", 2.0, &SMALL);
    assert_eq!(zset.encoding(), "listpack");
    zset.insert(b"8", 2.0, &SMALL);
    assert_eq!((zset.encoding(), zset.len()), ("skiplist", 9));
    assert_eq!(zset_of(&[("nine bytes", 1.0)]).encoding(), "skiplist");
    assert_eq!(ZSet::expecting(9, 1, &SMALL).encoding(), "skiplist");
    assert_eq!(ZSet::expecting(1, 9, &SMALL).encoding(), "skiplist");
    let mut zset = zset_of(&[("a", 1.0)]);
    zset.expect(8, &SMALL);
    assert_eq!(zset.encoding(), "listpack");
    zset.expect(9, &SMALL);
    assert_eq!(listed(&zset), [(b"a".to_vec(), 1.0)]);
    assert_eq!(zset.encoding(), "skiplist");
    zset.compact(&SMALL);
    assert_eq!(zset.encoding(), "listpack");
    assert_eq!(listed(&zset), [(b"a".to_vec(), 1.0)]);
}

#[test]
fn nan_is_never_stored() {
    for mut zset in [
        zset_of(&[("a", 1.0)]),
        zset_of(&[("a", 1.0), ("long enough", 1.0)]),
    ] {
        assert_eq!(zset.insert(b"a", f64::NAN, &SMALL), Updated::Unchanged);
        assert_eq!(zset.insert(b"b", f64::NAN, &SMALL), Updated::Unchanged);
        assert_eq!(zset.score(b"a"), Some(1.0));
        assert_eq!(zset.score(b"b"), None);
    }
    assert!(ZSet::from_members([(&b"a"[..], f64::NAN)]).is_err());
}

#[test]
fn negative_zero_equals_zero() {
    let mut zset = zset_of(&[("long enough", 0.0), ("b", -0.0)]);
    assert_eq!(
        zset.insert(b"long enough", -0.0, &SMALL),
        Updated::Unchanged
    );
    let range = ScoreRange {
        min: ScoreBound::Inclusive(0.0),
        max: ScoreBound::Inclusive(-0.0),
    };
    assert_eq!(zset.ranks_by_score(&range), 0..2);
    assert!(zset.remove(b"b").is_some() && zset.remove(b"long enough").is_some());
}

#[test]
fn listpacks_that_are_no_sorted_set_are_refused() {
    let parse =
        |elements: &[&str]| ZSet::from_listpack(elements.iter().map(|e| e.as_bytes()).collect());
    assert!(parse(&["a", "1", "b", "1", "0", "1.5"]).is_ok());
    for bad in [
        &[][..],
        &["a"],
        &["a", "x"],
        &["a", "nan"],
        &["a", "2", "b", "1"],
        &["b", "1", "a", "1"],
        &["a", "1", "a", "1"],
        &["a", "1", "a", "2"],
    ] {
        assert!(parse(bad).is_err(), "{bad:?}");
    }
    assert!(ZSet::from_members([(&b"a"[..], 1.0), (b"a", 2.0)]).is_err());
}

#[test]
fn a_scan_shows_whoever_stays_while_others_leave() {
    let mut zset = ZSet::expecting(1000, 1, &SMALL);
    for n in 0..1000u32 {
        zset.insert(n.to_string().as_bytes(), f64::from(n % 7), &SMALL);
    }
    let mut seen = std::collections::BTreeSet::new();
    let (mut cursor, mut victim) = (0, 1);
    loop {
        cursor = zset.scan(cursor, 10, |member, _| {
            seen.insert(member.to_vec());
        });
        if cursor == 0 {
            break;
        }
        zset.remove(victim.to_string().as_bytes());
        zset.remove((999 - victim + 1).to_string().as_bytes());
        victim += 2;
    }
    let survivors = listed(&zset);
    assert!(survivors.len() < 900);
    assert!(survivors.iter().all(|(member, _)| seen.contains(member)));
}

#[test]
fn a_full_sorted_set_takes_less_memory_than_a_skiplist_would() {
    let mut zset = ZSet::expecting(100_000, 16, &SMALL);
    let mut rng = Rng::new(3);
    for n in 0..100_000 {
        let score = rng.below(1 << 30) as f64;
        zset.insert(format!("member:{n:09}").as_bytes(), score, &SMALL);
    }
    // Redis: 32 for the dictionary's entry and 8 to 16 for its bucket, 48 or more for the node, 32 for
    // the member with its header.
    let per_member = zset.heap_bytes() / zset.len();
    assert!(per_member < 100, "{per_member} bytes a member");
}

/// What a snapshot does: each encoding through its own door.
fn restored(zset: &ZSet) -> ZSet {
    match zset.view() {
        ZSetView::Listpack(pairs) if !pairs.is_empty() => {
            ZSet::from_listpack(Listpack::from_bytes(pairs.as_bytes()).unwrap()).unwrap()
        }
        ZSetView::Listpack(_) => zset.clone(),
        ZSetView::Table(members) => {
            ZSet::from_members(members.iter().map(|(m, score)| (&**m, *score))).unwrap()
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(Vec<u8>, f64),
    Add(Vec<u8>, f64),
    Remove(Vec<u8>),
    PopFirst,
    PopLast,
    RemoveRanks(usize, usize),
    Restore,
    Compact,
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-5..5i32).prop_map(f64::from),
        2 => (-50..50i32).prop_map(|n| f64::from(n) / 10.0),
        1 => any::<f64>().prop_filter("no NaN in the model", |f| !f.is_nan()),
        1 => prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, 1e300, 1e-300]),
    ]
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..400u32).prop_map(|n| n.to_string().into_bytes()),
        2 => prop::collection::vec(97..103u8, 0..3),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        40 => (member(), score()).prop_map(|(m, s)| Op::Insert(m, s)),
        4 => (member(), score()).prop_map(|(m, s)| Op::Add(m, s)),
        20 => member().prop_map(Op::Remove),
        4 => Just(Op::PopFirst),
        4 => Just(Op::PopLast),
        1 => (any::<u8>(), 0..20usize).prop_map(|(at, n)| Op::RemoveRanks(at as usize, n)),
        2 => Just(Op::Restore),
        1 => Just(Op::Compact),
    ];
    prop::collection::vec(op, 0..600)
}

/// Runs one operation on both and checks that they answer alike.
fn apply(zset: &mut ZSet, model: &mut Model, op: Op) {
    match op {
        Op::Insert(member, score) => {
            let expected = match model.insert(member.clone(), score) {
                None => Updated::Added,
                Some(old) if old == score => Updated::Unchanged,
                Some(_) => Updated::Changed,
            };
            assert_eq!(zset.insert(&member, score, &SMALL), expected);
            assert_eq!(zset.score(&member), Some(score));
        }
        Op::Add(member, score) => {
            zset.update(&member, &SMALL, |old| old.is_none().then_some(score));
            model.entry(member).or_insert(score);
        }
        Op::Remove(member) => assert_eq!(zset.remove(&member), model.remove(&member)),
        Op::PopFirst => {
            let expected = sorted(model).first().cloned();
            model.retain(|m, _| expected.as_ref().is_none_or(|gone| gone.0 != *m));
            assert_eq!(zset.pop_first().map(|(m, s)| (m.to_vec(), s)), expected);
        }
        Op::PopLast => {
            let expected = sorted(model).last().cloned();
            model.retain(|m, _| expected.as_ref().is_none_or(|gone| gone.0 != *m));
            assert_eq!(zset.pop_last().map(|(m, s)| (m.to_vec(), s)), expected);
        }
        Op::RemoveRanks(at, count) => {
            let gone: Vec<_> = sorted(model).into_iter().skip(at).take(count).collect();
            model.retain(|m, _| gone.iter().all(|(member, _)| member != m));
            assert_eq!(zset.remove_ranks(at..at + count), gone.len());
        }
        Op::Restore => {
            let twin = restored(zset);
            let drawn = |z: &ZSet| z.random(&mut Rng::new(9)).map(|(m, s)| (m.to_vec(), s));
            assert_eq!(drawn(&twin), drawn(zset));
            assert_eq!(twin.encoding(), zset.encoding());
            *zset = twin;
        }
        Op::Compact => zset.compact(&SMALL),
    }
}

/// The running count of memory is what a recount says.
fn check_memory(zset: &ZSet) {
    if let Encoded::Full(full) = &zset.0 {
        assert_eq!(full.heap_bytes(), full.recount_bytes());
    }
}

fn bound(kind: u8, score: f64) -> ScoreBound {
    match kind % 2 {
        0 => ScoreBound::Inclusive(score),
        _ => ScoreBound::Exclusive(score),
    }
}

fn lex_bound(kind: u8, member: &[u8]) -> LexBound<'_> {
    match kind % 6 {
        0 => LexBound::Least,
        1 => LexBound::Greatest,
        2 | 3 => LexBound::Inclusive(member),
        _ => LexBound::Exclusive(member),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn behaves_like_a_sorted_map(
        ops in ops(),
        ranges in prop::collection::vec((any::<[u8; 2]>(), score(), score()), 10),
    ) {
        let (mut zset, mut model) = (zset_of(&[]), Model::new());
        for (turn, op) in ops.into_iter().enumerate() {
            apply(&mut zset, &mut model, op);
            prop_assert_eq!(zset.len(), model.len());
            if turn % 32 == 31 {
                check_memory(&zset);
            }
        }
        check_memory(&zset);
        let expected = sorted(&model);
        prop_assert_eq!(listed(&zset), expected.clone());
        let backwards: Vec<_> = zset.iter().rev().map(|(m, s)| (m.to_vec(), s)).collect();
        prop_assert!(backwards.iter().eq(expected.iter().rev()));
        for (rank, (member, score)) in expected.iter().enumerate() {
            prop_assert_eq!(zset.rank(member), Some((rank, *score)));
        }
        for (kinds, min, max) in ranges {
            let range = ScoreRange { min: bound(kinds[0], min), max: bound(kinds[1], max) };
            let within = |score: f64| !range.starts_after(score) && !range.ends_before(score);
            let ranks = zset.ranks_by_score(&range);
            let found: Vec<_> = zset.pairs(ranks).map(|(m, s)| (m.to_vec(), s)).collect();
            prop_assert!(found.iter().eq(expected.iter().filter(|(_, s)| within(*s))));
        }
    }

    #[test]
    fn ranges_by_member_hold_what_lies_between(
        members in prop::collection::btree_set(member(), 0..200),
        ranges in prop::collection::vec((any::<[u8; 2]>(), member(), member()), 10),
    ) {
        let mut zset = zset_of(&[]);
        for member in &members {
            zset.insert(member, 0.0, &SMALL);
        }
        for (kinds, min, max) in ranges {
            let range = LexRange { min: lex_bound(kinds[0], &min), max: lex_bound(kinds[1], &max) };
            let within = |m: &Vec<u8>| !range.starts_after(m) && !range.ends_before(m);
            let found: Vec<_> = zset.pairs(zset.ranks_by_lex(&range)).map(|(m, _)| m.to_vec()).collect();
            prop_assert!(found.iter().eq(members.iter().filter(|m| within(m))));
        }
    }

    #[test]
    fn listpack_bytes_from_outside_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut framed = ((bytes.len() + 7) as u32).to_le_bytes().to_vec();
        framed.extend([0xff, 0xff]);
        framed.extend(&bytes);
        framed.push(0xff);
        if let Ok(mut zset) = Listpack::from_bytes(&framed).map_err(|_| ()).and_then(|l| ZSet::from_listpack(l).map_err(|_| ())) {
            zset.insert(b"x", 1.0, &SMALL);
            zset.pop_first();
            prop_assert_eq!(zset.iter().count(), zset.len());
        }
    }
}
