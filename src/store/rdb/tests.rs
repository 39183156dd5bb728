//! Payloads of a real Redis, older layouts by hand, every encoding there and back, and damage everywhere.

use super::*;
use crate::store::list::Side;
use crate::store::{Hash, List, Rng, Set, Timestamp, ZSet};
use proptest::prelude::*;

fn bytes_of(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits");
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// Type, encoding and content in one line.
fn show(value: &Value) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (encoding, items): (_, Vec<String>) = match value {
        Value::Str(bytes) => ("string", vec![text(bytes)]),
        Value::List(list) => (
            list.encoding(),
            list.iter().map(|e| text(&e.to_vec())).collect(),
        ),
        Value::Set(set) => (
            set.encoding(),
            set.iter().map(|e| text(&e.to_vec())).collect(),
        ),
        Value::Hash(hash) => {
            let pairs = hash
                .iter()
                .map(|(f, v)| [text(&f.to_vec()), text(&v.to_vec())].join("="));
            (hash.encoding(), pairs.collect())
        }
        Value::ZSet(zset) => {
            let pairs = zset
                .iter()
                .map(|(m, score)| format!("{}={score}", text(&m.to_vec())));
            (zset.encoding(), pairs.collect())
        }
    };
    format!("{encoding}: {}", items.join(" "))
}

/// The body of a value, without footer.
fn natural(bytes: &[u8]) -> Result<String, BadFormat> {
    decode_value(bytes, Decoding::Natural(&Limits::default())).map(|value| show(&value))
}

fn ziplist_of(entries: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut previous = 0;
    for entry in entries {
        body.push(previous as u8);
        body.extend_from_slice(entry);
        previous = entry.len() + 1;
    }
    let total = (10 + body.len() + 1) as u32;
    let mut bytes = total.to_le_bytes().to_vec();
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(entries.len() as u16).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes.push(0xFF);
    bytes
}

fn with_blob(kind: u8, blob: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    wire::put_blob(&mut bytes, blob);
    bytes
}

#[test]
fn payloads_of_redis_are_restored() {
    let a70 = "a".repeat(70);
    for (payload, expected) in [
        ("000568656c6c6f0a006372df766534200a", "string: hello".to_owned()),
        ("00c17fff0a001760822854808480", "string: -129".to_owned()),
        ("00c30940c8016161e0bb000161610a001f99f72e01b20de3", format!("string: {}", "a".repeat(200))),
        ("000b39393939393939393939390a0023b048fb0edbef7f", "string: 99999999999".to_owned()),
        ("120102111100000003008161020201f290eefe04ff0a0027199a328370af5f", "listpack: a 2 -70000".to_owned()),
        (
            "1203020d0d0000000200816102816202ff020c0c00000002008163020101ff02090900000001000201ff0a00de9000a375bdb348",
            "quicklist: a b c 1 2".to_owned(),
        ),
        (
            "1203010c616161616161616161616161020a0a0000000100816202ff010f6363636363636363636363636363630a00ef03b614be441474",
            "quicklist: aaaaaaaaaaaa b ccccccccccccccc".to_owned(),
        ),
        ("0b0e0200000003000000feff010003000a001b18460ee16f04bb", "intset: -2 1 3".to_owned()),
        ("0202016101620a00fe642125eb033d0d", "listpack: a b".to_owned()),
        ("1012120000000400816602817602816e020c01ff0a0001369481d35b8974", "listpack: f=v n=12".to_owned()),
        ("04010166c3094046017676e039000176760a00f21bfa0a02f2749c", format!("hashtable: f={}", "v".repeat(70))),
        ("111d1d0000000600816202842d696e660581610283312e35048163020301ff0a002970c58fcde6fc31", "listpack: b=-inf a=1.5 c=3".to_owned()),
        ("0502c3094046016161e03900016161000000000000f83f0162000000000000f0ff0a001d4cc797ef77d527", format!("skiplist: b=-inf {a70}=1.5")),
    ] {
        let value = restore(&bytes_of(payload), &Limits::default());
        assert_eq!(value.map(|value| show(&value)), Ok(expected), "{payload}");
    }
}

#[test]
fn layouts_of_older_versions_are_read() {
    let numbers = ziplist_of(&[
        b"\x02ab",
        b"\xFE\x80",
        b"\xC0\x00\x80",
        b"\xF0\x01\x00\x80",
        b"\xD0\x00\x00\x00\x80",
        b"\xE0\x00\x00\x00\x00\x00\x00\x00\x80",
        b"\xF1",
        b"\xFD",
        b"\x40\x03xyz",
        b"\x80\x00\x00\x00\x01q",
    ]);
    let all = "ab -128 -32768 -8388607 -2147483648 -9223372036854775808 0 12 xyz q";
    assert_eq!(
        natural(&with_blob(kind::LIST_ZIPLIST, &numbers)),
        Ok(format!("listpack: {all}"))
    );
    let mut two_nodes = vec![kind::LIST_QUICKLIST, 2];
    wire::put_blob(&mut two_nodes, &ziplist_of(&[b"\x01a"]));
    wire::put_blob(&mut two_nodes, &ziplist_of(&[b"\x01b", b"\xF2"]));
    assert_eq!(natural(&two_nodes), Ok("quicklist: a b 1".into()));
    assert_eq!(
        natural(b"\x01\x02\x01a\xC0\x05"),
        Ok("listpack: a 5".into())
    );
    let pairs = ziplist_of(&[b"\x01a", b"\xF2", b"\x01b", b"\x031.5"]);
    assert_eq!(
        natural(&with_blob(kind::HASH_ZIPLIST, &pairs)),
        Ok("listpack: a=1 b=1.5".into())
    );
    assert_eq!(
        natural(&with_blob(kind::ZSET_ZIPLIST, &pairs)),
        Ok("listpack: a=1 b=1.5".into())
    );
    let zipmap = b"\x02\x01f\x01\x00v\x01g\x02\x01xy!\xFF";
    assert_eq!(
        natural(&with_blob(kind::HASH_ZIPMAP, zipmap)),
        Ok("listpack: f=v g=xy".into())
    );
    assert_eq!(
        natural(b"\x03\x03\x01a\x031.5\x01b\xFE\x01c\xFF"),
        Ok("listpack: c=-inf a=1.5 b=inf".into())
    );
}

#[test]
fn what_is_no_value_is_refused() {
    let unsorted = ziplist_of(&[b"\x01a", b"\xF3", b"\x01b", b"\xF2"]);
    let odd = ziplist_of(&[b"\x01a", b"\xF3", b"\x01b"]);
    let twice = ziplist_of(&[b"\x01a", b"\xF3", b"\x01a", b"\xF3"]);
    for (bytes, why) in [
        (b"".to_vec(), "nothing"),
        (b"\x06".to_vec(), "a module"),
        (
            b"\xC8\x07\x07\x00\x00\x00\x00\x00\xFF".to_vec(),
            "an encoding of ours",
        ),
        (b"\x00\x05abc".to_vec(), "a short string"),
        (b"\x00\x01ab".to_vec(), "bytes behind the value"),
        (
            b"\x00\x81\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF".to_vec(),
            "a length without bounds",
        ),
        (
            b"\x00\xC3\x03\x80\xFF\xFF\xFF\xFF\x00a\x20".to_vec(),
            "an expansion without bounds",
        ),
        (b"\x01\x00".to_vec(), "an empty list"),
        (b"\x02\x00".to_vec(), "an empty set"),
        (b"\x04\x00".to_vec(), "an empty hash"),
        (b"\x05\x00".to_vec(), "an empty sorted set"),
        (b"\x12\x00".to_vec(), "a list without nodes"),
        (
            b"\x12\x01\x02\x07\x07\x00\x00\x00\x00\x00\xFF".to_vec(),
            "a list of an empty node",
        ),
        (b"\x12\x01\x03\x01a".to_vec(), "an unknown container"),
        (
            b"\x01\x81\x00\x00\x00\x00\xFF\xFF\xFF\xFF".to_vec(),
            "more elements than bytes",
        ),
        (b"\x02\x02\x01a\x01a".to_vec(), "a member twice"),
        (b"\x04\x02\x01a\x01b\x01a\x01b".to_vec(), "a field twice"),
        (
            b"\x05\x01\x01a\x00\x00\x00\x00\x00\x00\xF8\x7F".to_vec(),
            "a score that is no number",
        ),
        (
            b"\x03\x01\x01a\xFD".to_vec(),
            "an older score that is no number",
        ),
        (
            with_blob(kind::ZSET_ZIPLIST, &unsorted),
            "scores out of order",
        ),
        (with_blob(kind::HASH_ZIPLIST, &odd), "a field without value"),
        (
            with_blob(kind::HASH_ZIPLIST, &twice),
            "a packed field twice",
        ),
        (
            with_blob(kind::HASH_ZIPMAP, b"\x02\x01f\x01\x00v\xFF"),
            "a zipmap's count",
        ),
        (
            with_blob(
                kind::SET_INTSET,
                b"\x02\x00\x00\x00\x02\x00\x00\x00\x02\x00\x01\x00",
            ),
            "an unsorted intset",
        ),
    ] {
        assert_eq!(natural(&bytes), Err(BadFormat), "{why}");
    }
}

#[test]
fn version_and_checksum_of_a_payload_are_checked() {
    let value = Value::Str(b"hello".to_vec());
    let payload = dump(value.as_value_ref());
    let limits = Limits::default();
    assert_eq!(
        restore(&payload, &limits).map(|value| show(&value)),
        Ok("string: hello".into())
    );
    let refused = |payload: &[u8]| restore(payload, &limits).err();
    for at in 0..payload.len() {
        let mut damaged = payload.clone();
        damaged[at] ^= 1;
        assert_eq!(
            refused(&damaged),
            Some(RestoreError::VersionOrChecksum),
            "bit of byte {at}"
        );
        assert_eq!(
            refused(&payload[..at]),
            Some(RestoreError::VersionOrChecksum),
            "{at} bytes"
        );
    }
    let sealed = |body: &[u8], version: u16| {
        let mut payload = body.to_vec();
        payload.extend_from_slice(&version.to_le_bytes());
        payload.extend_from_slice(&crc64::crc64(&payload).to_le_bytes());
        payload
    };
    assert_eq!(
        refused(&sealed(b"\x00\x01a", 12)),
        Some(RestoreError::VersionOrChecksum)
    );
    assert_eq!(refused(&sealed(b"\x00\x01a", 1)), None);
    assert_eq!(
        refused(&sealed(b"\x00\x02a", 11)),
        Some(RestoreError::BadFormat)
    );
}

#[test]
fn a_restored_value_takes_the_encoding_its_size_asks_for() {
    let tiny = Limits {
        hash_max_listpack_entries: 1,
        set_max_intset_entries: 1,
        set_max_listpack_entries: 1,
        zset_max_listpack_entries: 1,
        list_max_listpack_size: 2,
        ..Limits::default()
    };
    for value in samples(3) {
        let mut bytes = Vec::new();
        encode_value(value.as_value_ref(), Form::Dump, &mut bytes);
        let limited = decode_value(&bytes, Decoding::Natural(&tiny)).expect("our own payload");
        let encoding = show(&limited);
        let full = ["quicklist", "hashtable", "skiplist", "string"];
        assert!(
            full.iter().any(|name| encoding.starts_with(name)),
            "{encoding}"
        );
        let mut bytes = Vec::new();
        encode_value(limited.as_value_ref(), Form::Dump, &mut bytes);
        let back =
            decode_value(&bytes, Decoding::Natural(&Limits::default())).expect("our own payload");
        if !encoding.starts_with("quicklist") {
            assert_eq!(
                show(&back).split(':').next(),
                show(&value).split(':').next()
            );
        }
    }
}

/// One value of each encoding, with about `size` elements.
fn samples(size: usize) -> Vec<Value> {
    let limits = Limits::default();
    let mut rng = Rng::new(size as u64);
    let mut text = || format!("value-{}", rng.next_u64()).into_bytes();
    let words: Vec<Vec<u8>> = (0..size.max(1)).map(|_| text()).collect();
    let words = || words.iter().map(Vec::as_slice);
    let mut list = List::new();
    list.extend(Side::Tail, words(), &limits);
    list.push(Side::Head, b"-70000", &limits);
    let hash = Hash::from_pairs(words().zip(words()), &limits);
    let mut words_set = Set::expecting(b"x", size, &limits);
    let mut numbers_set = Set::new();
    let mut zset = ZSet::default();
    for (at, word) in words().enumerate() {
        words_set.add(word, &limits);
        numbers_set.add((at as i64 * 70_000).to_string().as_bytes(), &limits);
        zset.insert(word, at as f64 / 4.0 - 1.0, &limits);
    }
    vec![
        Value::Str(words().next().expect("a word").to_vec()),
        Value::Str(b"-2147483649".to_vec()),
        Value::List(list),
        Value::Hash(hash),
        Value::Set(words_set),
        Value::Set(numbers_set),
        Value::ZSet(zset),
    ]
}

fn exact(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_value(value.as_value_ref(), Form::Exact, &mut bytes);
    bytes
}

#[test]
fn exact_decoding_keeps_encoding_and_order() {
    // 1,000 elements bring all of them into their full encodings, 3 leave them compact.
    for value in samples(3).into_iter().chain(samples(1000)) {
        let bytes = exact(&value);
        let back = decode_value(&bytes, Decoding::Exact).expect("our own bytes");
        assert_eq!(show(&back), show(&value));
        assert_eq!(exact(&back), bytes);
    }
}

#[test]
fn a_list_of_one_node_stays_the_list_it_was() {
    let limits = Limits {
        list_max_listpack_size: 4,
        ..Limits::default()
    };
    let mut list = List::from_values((0..5).map(|_| &b"x"[..]), &limits);
    list.drop_end(Side::Tail, 1, &limits);
    list.drop_end(Side::Tail, 1, &limits);
    assert_eq!(list.encoding(), "quicklist");
    let value = Value::List(list);
    let back = decode_value(&exact(&value), Decoding::Exact).expect("our own bytes");
    assert_eq!(show(&back), show(&value));
}

#[test]
fn records_come_back_one_after_the_other() {
    let mut bytes = Vec::new();
    let values = samples(20);
    for (number, value) in values.iter().enumerate() {
        let deadline = (number % 2 == 1).then_some(Timestamp(1 << (number + 30)));
        let key = format!("key {number}");
        put_record(
            number as u16 * 90,
            key.as_bytes(),
            deadline,
            value.as_value_ref(),
            &mut bytes,
        );
    }
    let records: Vec<Record> = Records::new(&bytes)
        .map(|record| record.expect("our own bytes"))
        .collect();
    assert_eq!(records.len(), values.len());
    for (number, (record, value)) in records.iter().zip(&values).enumerate() {
        assert_eq!(record.database, number as u16 * 90);
        assert_eq!(record.key, format!("key {number}").as_bytes());
        assert_eq!(record.deadline.is_some(), number % 2 == 1);
        assert_eq!(show(&record.value), show(value));
    }
    for end in [1, 5, bytes.len() - 1] {
        let last = Records::new(&bytes[..end]).last();
        assert!(matches!(last, Some(Err(BadFormat))), "{end} bytes");
    }
}

/// Whatever came out of damaged bytes must be sound all through.
fn use_up(value: &Value) {
    let mut out = Vec::new();
    encode_value(value.as_value_ref(), Form::Dump, &mut out);
    show(value);
    assert!(value.total_bytes() > 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_values_are_errors_or_sound_values(
        which in 0usize..7,
        size in prop_oneof![Just(2usize), Just(10), Just(200)],
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = exact(&samples(size)[which]);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            for decoding in [Decoding::Exact, Decoding::Natural(&Limits::default())] {
                if let Ok(value) = decode_value(bytes, decoding) {
                    use_up(&value);
                }
            }
        }
    }

    #[test]
    fn bytes_of_no_meaning_are_errors_or_sound_values(
        kind in prop_oneof![0u8..21, Just(kind::LIST_LISTPACK)],
        body in prop::collection::vec(any::<u8>(), 0..120),
        as_blob: bool,
    ) {
        let mut bytes = vec![kind];
        match as_blob {
            true => wire::put_blob(&mut bytes, &body),
            false => bytes.extend_from_slice(&body),
        }
        for decoding in [Decoding::Exact, Decoding::Natural(&Limits::default())] {
            if let Ok(value) = decode_value(&bytes, decoding) {
                use_up(&value);
            }
        }
        for record in Records::new(&bytes).flatten() {
            use_up(&record.value);
        }
    }

    #[test]
    fn damaged_ziplists_are_errors_or_sound_lists(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut list = ziplist_of(&[b"\x02ab", b"\xFE\x80", b"\xD0\x00\x00\x00\x80", b"\x40\x03xyz", b"\xF3"]);
        for (at, byte) in changes {
            let at = at.index(list.len());
            list[at] = byte;
        }
        for kind in [kind::LIST_ZIPLIST, kind::HASH_ZIPLIST, kind::ZSET_ZIPLIST, kind::HASH_ZIPMAP] {
            if let Ok(value) = decode_value(&with_blob(kind, &list), Decoding::Exact) {
                use_up(&value);
            }
        }
    }
}
