//! Listpacks against a plain vector, and bytes that are none.

use super::*;
use proptest::prelude::*;

fn packed(values: &[&[u8]]) -> Listpack {
    values.iter().copied().collect()
}

fn contents(listpack: &Listpack) -> Vec<Vec<u8>> {
    listpack.iter().map(|e| e.to_vec()).collect()
}

#[test]
fn bytes_are_the_documented_layout() {
    let listpack = packed(&[b"1", b"-1", b"hello", b"1000"]);
    assert_eq!(
        listpack.as_bytes(),
        b"\x16\0\0\0\x04\0\x01\x01\xDF\xFF\x02\x85hello\x06\xC3\xE8\x02\xFF"
    );
}

#[test]
fn every_width_of_integer_and_string_comes_back() {
    let mut values: Vec<Vec<u8>> = [
        0,
        1,
        127,
        128,
        4095,
        4096,
        -1,
        -4096,
        -4097,
        32767,
        32768,
        -32768,
        -32769,
        8388607,
        8388608,
        -8388608,
        -8388609,
        2147483647,
        2147483648,
        -2147483648,
        -2147483649,
        i64::MAX,
        i64::MIN,
    ]
    .iter()
    .map(|v: &i64| v.to_string().into_bytes())
    .collect();
    for len in [
        0, 1, 63, 64, 126, 127, 4095, 4096, 16377, 16378, 16379, 70_000, 2_097_146, 2_097_147,
    ] {
        values.push(vec![b'x'; len]);
    }
    for almost in [
        "-0",
        "00",
        "+1",
        " 1",
        "9223372036854775808",
        "-9223372036854775809",
        "-",
        "1a",
    ] {
        values.push(almost.as_bytes().to_vec());
    }
    let listpack: Listpack = values.iter().map(|v| v.as_slice()).collect();
    assert_eq!(contents(&listpack), values);
    let mut backwards: Vec<_> = listpack.iter().rev().map(|e| e.to_vec()).collect();
    backwards.reverse();
    assert_eq!(backwards, values);
    assert_eq!(
        Listpack::from_bytes(listpack.as_bytes()).as_ref(),
        Ok(&listpack)
    );
}

#[test]
fn more_elements_than_the_header_can_say_are_counted() {
    let mut listpack: Listpack = (0..70_000).map(|_| b"".as_slice()).collect();
    assert_eq!(listpack.len(), 70_000);
    assert_eq!(listpack.remove_last(69_000), 69_000);
    assert_eq!(listpack.len(), 1000);
    assert_eq!(listpack.seek(-1000), listpack.first());
    assert_eq!(listpack.seek(-1001), None);
    assert_eq!(listpack.seek(1000), None);
    let again = Listpack::from_bytes(listpack.as_bytes()).unwrap();
    assert_eq!(again.len(), 1000);
}

#[test]
fn elements_compare_as_bytes_however_they_are_kept() {
    assert_eq!(Element::Int(12), Element::Bytes(b"12"));
    assert_ne!(Element::Int(12), Element::Bytes(b"012"));
    assert!(Element::Int(12).eq_bytes(b"12"));
    assert!(!Element::Bytes(b"a").eq_bytes(b"b"));
    assert_eq!(
        Element::Int(9).cmp_bytes(b"10"),
        std::cmp::Ordering::Greater
    );
    assert_eq!(Element::Int(-12).byte_len(), 3);
}

#[test]
fn find_looks_at_fields_alone() {
    let listpack = packed(&[b"a", b"b", b"b", b"c"]);
    let at = listpack.find(listpack.first(), b"b", 1).unwrap();
    assert_eq!(Some(at), listpack.seek(2));
    assert_eq!(listpack.find(listpack.first(), b"c", 1), None);
    assert_eq!(listpack.find(None, b"c", 0), None);
}

#[test]
fn damage_of_any_single_byte_is_noticed_or_harmless() {
    let listpack = packed(&[b"1", b"some text", b"-300", &[b'x'; 300], b"70000"]);
    for at in 0..listpack.bytes() {
        for flip in 1..=255u8 {
            let mut bytes = listpack.as_bytes().to_vec();
            bytes[at] ^= flip;
            if let Ok(taken) = Listpack::from_bytes(&bytes) {
                assert_eq!(taken.iter().count(), taken.len());
                assert_eq!(taken.iter().rev().count(), taken.len());
            }
        }
    }
    for cut in 0..listpack.bytes() {
        assert!(Listpack::from_bytes(&listpack.as_bytes()[..cut]).is_err());
    }
}

#[test]
fn memory_is_given_back_when_elements_go() {
    let mut listpack: Listpack = (0..100).map(|_| [b'x'; 60].as_slice()).collect();
    let full = listpack.heap_bytes();
    assert!(full <= listpack.bytes() + listpack.bytes() / 4);
    listpack.remove_last(90);
    assert!(
        listpack.heap_bytes() < full / 6,
        "{}",
        listpack.heap_bytes()
    );
}

/// One change to a sequence, with indices taken modulo its length.
#[derive(Clone, Debug)]
enum Change {
    PushBack(Vec<u8>),
    PushFront(Vec<u8>),
    InsertBefore(usize, Vec<u8>),
    InsertAfter(usize, Vec<u8>),
    Replace(usize, Vec<u8>),
    Remove(usize),
    RemoveRange(usize, usize),
    RemoveLast(usize),
    RemoveMatching(Vec<u8>, usize),
    RemoveMatchingBack(Vec<u8>, usize),
    SplitAndJoin(usize),
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|v| v.to_string().into_bytes()),
        (-5i64..5).prop_map(|v| v.to_string().into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..10),
        (0usize..5000).prop_map(|len| vec![b'y'; len]),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let small = || (-5i64..5).prop_map(|v| v.to_string().into_bytes());
    prop_oneof![
        4 => value().prop_map(Change::PushBack),
        4 => value().prop_map(Change::PushFront),
        2 => (any::<usize>(), value()).prop_map(|(i, v)| Change::InsertBefore(i, v)),
        2 => (any::<usize>(), value()).prop_map(|(i, v)| Change::InsertAfter(i, v)),
        3 => (any::<usize>(), value()).prop_map(|(i, v)| Change::Replace(i, v)),
        2 => any::<usize>().prop_map(Change::Remove),
        1 => (any::<usize>(), 0usize..6).prop_map(|(i, n)| Change::RemoveRange(i, n)),
        1 => (0usize..6).prop_map(Change::RemoveLast),
        1 => (small(), 1usize..4).prop_map(|(v, n)| Change::RemoveMatching(v, n)),
        1 => (small(), 1usize..4).prop_map(|(v, n)| Change::RemoveMatchingBack(v, n)),
        1 => any::<usize>().prop_map(Change::SplitAndJoin),
    ]
}

fn apply(listpack: &mut Listpack, model: &mut Vec<Vec<u8>>, change: Change) {
    let at = |i: usize, model: &Vec<Vec<u8>>| (!model.is_empty()).then(|| i % model.len());
    match change {
        Change::PushBack(v) => {
            listpack.push_back(&v);
            model.push(v);
        }
        Change::PushFront(v) => {
            listpack.push_front(&v);
            model.insert(0, v);
        }
        Change::InsertBefore(i, v) => {
            if let Some(i) = at(i, model) {
                listpack.insert_before(listpack.seek(i as i64).unwrap(), &v);
                model.insert(i, v);
            }
        }
        Change::InsertAfter(i, v) => {
            if let Some(i) = at(i, model) {
                listpack.insert_after(listpack.seek(i as i64).unwrap(), &v);
                model.insert(i + 1, v);
            }
        }
        Change::Replace(i, v) => {
            if let Some(i) = at(i, model) {
                listpack.replace(listpack.seek(i as i64).unwrap(), &v);
                model[i] = v;
            }
        }
        Change::Remove(i) => {
            if let Some(i) = at(i, model) {
                let next = listpack.remove(listpack.seek(i as i64).unwrap());
                model.remove(i);
                assert_eq!(
                    next.map(|p| listpack.get(p).to_vec()),
                    model.get(i).cloned()
                );
            }
        }
        Change::RemoveRange(i, n) => {
            if let Some(i) = at(i, model) {
                let stop = (i + n).min(model.len());
                let removed = listpack.remove_range(listpack.seek(i as i64).unwrap(), n);
                assert_eq!(removed, model.drain(i..stop).count());
            }
        }
        Change::RemoveLast(n) => {
            let start = model.len().saturating_sub(n);
            assert_eq!(listpack.remove_last(n), model.drain(start..).count());
        }
        Change::RemoveMatching(v, n) => {
            let mut left = n;
            model.retain(|e| {
                *e != v || left == 0 || {
                    left -= 1;
                    false
                }
            });
            assert_eq!(listpack.remove_matching(&v, n), n - left);
        }
        Change::RemoveMatchingBack(v, n) => {
            let mut left = n;
            model.reverse();
            model.retain(|e| {
                *e != v || left == 0 || {
                    left -= 1;
                    false
                }
            });
            model.reverse();
            assert_eq!(listpack.remove_matching_back(&v, n), n - left);
        }
        Change::SplitAndJoin(i) => {
            if let Some(i) = at(i, model) {
                let tail = listpack.split_off(listpack.seek(i as i64).unwrap());
                assert_eq!(contents(listpack), model[..i]);
                assert_eq!(contents(&tail), model[i..]);
                listpack.append(&tail);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_changes_do_what_a_vector_does(changes in proptest::collection::vec(change(), 0..60)) {
        let mut listpack = Listpack::new();
        let mut model: Vec<Vec<u8>> = Vec::new();
        for change in changes {
            apply(&mut listpack, &mut model, change);
            prop_assert_eq!(listpack.len(), model.len());
            prop_assert_eq!(&contents(&listpack), &model);
            let mut backwards: Vec<_> = listpack.iter().rev().map(|e| e.to_vec()).collect();
            backwards.reverse();
            prop_assert_eq!(&backwards, &model);
            for i in -(model.len() as i64)..model.len() as i64 {
                let wanted = &model[i.rem_euclid(model.len() as i64) as usize];
                prop_assert!(listpack.get_index(i).unwrap().eq_bytes(wanted));
            }
            let again = Listpack::from_bytes(listpack.as_bytes());
            prop_assert_eq!(again.as_ref(), Ok(&listpack));
            prop_assert!(listpack.buf.len() >= listpack.bytes());
        }
    }

    #[test]
    fn garbage_is_refused_or_harmless(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), honest: bool) {
        if honest && bytes.len() >= EMPTY_BYTES {
            // With a header and an end that fit, the checks further in are reached.
            let total = bytes.len() as u32;
            bytes[..4].copy_from_slice(&total.to_le_bytes());
            bytes[4..6].copy_from_slice(&COUNT_UNKNOWN.to_le_bytes());
            *bytes.last_mut().unwrap() = END;
        }
        if let Ok(listpack) = Listpack::from_bytes(&bytes) {
            prop_assert_eq!(listpack.iter().count(), listpack.iter().rev().count());
        }
    }
}
