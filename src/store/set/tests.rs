//! Sets against a plain ordered set, over all encodings.

use super::*;
use crate::store::Rng;
use proptest::prelude::*;
use std::collections::BTreeSet;
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

fn set_of(members: &[&str]) -> Set {
    let mut set = Set::new();
    for member in members {
        assert!(set.add(member.as_bytes(), &SMALL));
    }
    set
}

fn members(set: &Set) -> Vec<Vec<u8>> {
    set.iter().map(|member| member.to_vec()).collect()
}

#[test]
fn integers_outgrow_an_intset_into_a_hash_table() {
    let mut set = Set::new();
    for n in 0..12 {
        set.add(n.to_string().as_bytes(), &SMALL);
    }
    assert_eq!(set.encoding(), "intset");
    assert!(!set.add(b"7", &SMALL));
    assert!(set.add(b"12", &SMALL));
    assert_eq!(set.encoding(), "hashtable");
    assert_eq!(set.len(), 13);
}

#[test]
fn a_word_among_integers_makes_a_listpack_while_it_fits() {
    let mut set = set_of(&["3", "1", "word"]);
    assert_eq!(set.encoding(), "listpack");
    assert_eq!(members(&set), [&b"1"[..], b"3", b"word"]);
    assert!(set.add(b"-5", &SMALL));
    assert!(!set.add(b"3", &SMALL));
    assert!(set.contains(b"-5") && set.contains(b"1") && !set.contains(b"01"));
    // Nine integers are more than a listpack takes, and so is a long one.
    let mut set = set_of(&["1", "2", "3", "4", "5", "6", "7", "8"]);
    set.add(b"word", &SMALL);
    assert_eq!(set.encoding(), "hashtable");
    let mut set = set_of(&["-123456789"]);
    set.add(b"word", &SMALL);
    assert_eq!(set.encoding(), "hashtable");
}

#[test]
fn a_long_word_makes_a_hash_table() {
    let mut set = set_of(&["a"]);
    assert!(set.add(b"nine bytes", &SMALL));
    assert_eq!(set.encoding(), "hashtable");
    assert_eq!(members(&set), [&b"a"[..], b"nine bytes"]);
}

#[test]
fn integers_that_do_not_come_back_unchanged_stay_words() {
    for odd in ["01", "+1", "-0", " 1", "9223372036854775808", ""] {
        let set = set_of(&["5", odd]);
        assert_ne!(set.encoding(), "intset", "{odd:?}");
        assert!(set.contains(odd.as_bytes()) && set.contains(b"5"));
    }
    assert_eq!(set_of(&["-9223372036854775808"]).encoding(), "intset");
}

#[test]
fn many_expected_members_skip_the_compact_encodings() {
    let encoding = |first: &str, n| Set::expecting(first.as_bytes(), n, &SMALL).encoding();
    assert_eq!(encoding("1", 12), "intset");
    assert_eq!(encoding("1", 13), "hashtable");
    assert_eq!(encoding("a", 8), "listpack");
    assert_eq!(encoding("a", 9), "hashtable");
    let mut set = set_of(&["1"]);
    set.expect(12, &SMALL);
    assert_eq!(set.encoding(), "intset");
    set.expect(13, &SMALL);
    assert_eq!((set.encoding(), set.len()), ("hashtable", 1));
}

#[test]
fn random_members_are_equally_likely() {
    for set in [
        set_of(&["1", "2", "3", "4"]),
        set_of(&["a", "2", "c", "4"]),
        set_of(&["a", "2", "a long member", "4"]),
    ] {
        let mut rng = Rng::new(7);
        let mut drawn = [0usize; 4];
        for _ in 0..4000 {
            let member = set.random(&mut rng).unwrap().to_vec();
            drawn[members(&set).iter().position(|m| *m == member).unwrap()] += 1;
        }
        assert!(
            drawn.iter().all(|n| (900..1100).contains(n)),
            "{drawn:?} from {set:?}"
        );
    }
    assert!(Set::new().random(&mut Rng::new(1)).is_none());
}

#[test]
fn a_listpack_with_a_repeat_or_without_members_is_no_set() {
    let of = |members: &[&str]| members.iter().map(|m| m.as_bytes()).collect::<Listpack>();
    assert!(Set::from_listpack(of(&["a", "b"])).is_ok());
    assert!(Set::from_listpack(of(&["a", "b", "a"])).is_err());
    assert!(Set::from_listpack(of(&[])).is_err());
}

/// What a snapshot does: each encoding through its own door.
fn restored(set: &Set) -> Set {
    match set.view() {
        SetView::IntSet(intset) => {
            Set::from_intset(IntSet::from_bytes(intset.as_bytes()).unwrap_or_default())
        }
        SetView::Listpack(listpack) if !listpack.is_empty() => {
            Set::from_listpack(Listpack::from_bytes(listpack.as_bytes()).unwrap()).unwrap()
        }
        SetView::Listpack(_) => set.clone(),
        SetView::Table => {
            let members = members(set);
            Set::from_members(members.iter().map(|m| &m[..]))
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Add(Vec<u8>),
    Remove(Vec<u8>),
    Pop(u64),
    Restore,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let member = prop_oneof![
        6 => (-30..30i64).prop_map(|n| n.to_string().into_bytes()),
        1 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        3 => prop::collection::vec(97..103u8, 0..2),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    let op = prop_oneof![
        6 => member.clone().prop_map(Op::Add),
        4 => member.prop_map(Op::Remove),
        1 => any::<u64>().prop_map(Op::Pop),
        1 => Just(Op::Restore),
    ];
    prop::collection::vec(op, 0..150)
}

proptest! {
    #[test]
    fn behaves_like_a_plain_set(ops in ops()) {
        let (mut set, mut model) = (Set::new(), BTreeSet::<Vec<u8>>::new());
        for op in ops {
            match op {
                Op::Add(member) => {
                    prop_assert_eq!(set.add(&member, &SMALL), model.insert(member.clone()));
                    prop_assert!(set.contains(&member));
                }
                Op::Remove(member) => {
                    prop_assert_eq!(set.remove(&member), model.remove(&member));
                    prop_assert!(!set.contains(&member));
                }
                Op::Pop(seed) => {
                    // A restored set draws alike.
                    let twin = restored(&set).pop_random(&mut Rng::new(seed));
                    let popped = set.pop_random(&mut Rng::new(seed));
                    prop_assert_eq!(&popped, &twin);
                    prop_assert_eq!(popped.is_some(), !model.is_empty());
                    if let Some(member) = popped {
                        prop_assert!(model.remove(&member[..]));
                    }
                }
                Op::Restore => {
                    let twin = restored(&set);
                    prop_assert_eq!(members(&twin), members(&set));
                    prop_assert_eq!(twin.encoding(), set.encoding());
                    set = twin;
                }
            }
            prop_assert_eq!(set.len(), model.len());
            if let Encoded::Table(table) = &set.0 {
                prop_assert_eq!(table.heap_bytes(), table.recount_bytes());
            }
        }
        let mut found = members(&set);
        found.sort();
        prop_assert!(found.iter().eq(model.iter()));
        let mut scanned = Vec::new();
        let mut cursor = 0;
        loop {
            cursor = set.scan(cursor, 3, |member| scanned.push(member.to_vec()));
            if cursor == 0 {
                break;
            }
        }
        scanned.sort();
        prop_assert_eq!(scanned, found);
    }
}
