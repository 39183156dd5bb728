//! What bitmap commands answer and leave behind, on one shard in memory.

use super::super::testing::Shard;
use crate::store::{Deadline, Limits, List, Value};

fn put(shard: &mut Shard, key: &str, bytes: &[u8]) {
    let args: [&[u8]; 3] = [b"SET", key.as_bytes(), bytes];
    assert_eq!(shard.run_args(args), "+OK");
}

fn get(shard: &Shard, key: &str) -> Vec<u8> {
    let keyspace = shard.databases.keyspace(0);
    let string = keyspace.get_str(key.as_bytes(), shard.now);
    string.expect("a string").expect("a key").to_vec()
}

fn put_list(shard: &mut Shard, key: &[u8]) {
    let mut list = List::default();
    list.push(crate::store::list::Side::Tail, b"x", &Limits::default());
    let now = shard.now;
    let keyspace = shard.databases.keyspace_mut(0);
    keyspace.set(key, Value::List(list), Deadline::None, now);
}

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NO_INTEGER: &str = "-ERR value is not an integer or out of range";
const BAD_OFFSET: &str = "-ERR bit offset is not an integer or out of range";

#[test]
fn bits_are_counted_from_the_highest_of_the_first_byte() {
    let mut shard = Shard::new();
    assert_eq!(shard.run("SETBIT k 0 1"), ":0");
    assert_eq!(shard.run("SETBIT k 15 1"), ":0");
    assert_eq!(get(&shard, "k"), [0x80, 0x01]);
    assert_eq!(shard.run("SETBIT k 0 0"), ":1");
    assert_eq!(shard.run("GETBIT k 15"), ":1");
    assert_eq!(shard.run("GETBIT k 0"), ":0");
    assert_eq!(shard.run("GETBIT k 4294967295"), ":0");
    assert_eq!(shard.run("SETBIT none 9 0"), ":0");
    assert_eq!(get(&shard, "none"), [0, 0]);
    // The digits of an integer are bits too.
    put(&mut shard, "n", b"1");
    assert_eq!(shard.run("GETBIT n 2"), ":1");
    assert_eq!(shard.run("SETBIT n 6 1"), ":0");
    assert_eq!(get(&shard, "n"), b"3");
}

#[test]
fn bits_and_offsets_are_within_their_bounds() {
    let mut shard = Shard::new();
    for offset in ["-1", "4294967296", "x", "1.0", "#1", "9223372036854775808"] {
        assert_eq!(shard.run(&format!("SETBIT k {offset} 1")), BAD_OFFSET);
        assert_eq!(shard.run(&format!("GETBIT k {offset}")), BAD_OFFSET);
    }
    for bit in ["2", "-1", "x", "01"] {
        assert_eq!(
            shard.run(&format!("SETBIT k 0 {bit}")),
            "-ERR bit is not an integer or out of range"
        );
    }
    put_list(&mut shard, b"l");
    assert_eq!(shard.run("SETBIT l 0 1"), WRONG_TYPE);
    assert_eq!(shard.run("GETBIT l 0"), WRONG_TYPE);
}

#[test]
fn set_bits_are_counted_in_bytes_or_bits() {
    let mut shard = Shard::new();
    put(&mut shard, "k", b"foobar");
    for (range, count) in [
        ("", 26),
        (" 0 0", 4),
        (" 1 1 BYTE", 6),
        (" 0 -5", 10),
        (" 5 30 BIT", 17),
        (" -1 -1 bit", 0),
        (" -2 -1 BIT", 1),
        (" -1 -2 what", 0),
        (" 3 1", 0),
        (" 0 9223372036854775807 BIT", 26),
    ] {
        assert_eq!(
            shard.run(&format!("BITCOUNT k{range}")),
            format!(":{count}"),
            "{range}"
        );
    }
    put(&mut shard, "long", &[0x81; 100]);
    assert_eq!(shard.run("BITCOUNT long"), ":200");
    assert_eq!(shard.run("BITCOUNT long 1 798 BIT"), ":198");
}

#[test]
fn the_first_bit_is_found_in_bytes_or_bits() {
    let mut shard = Shard::new();
    put(&mut shard, "k", &[0x00, 0xff, 0xf0]);
    put(&mut shard, "ones", &[0xff; 20]);
    for (query, place) in [
        ("k 1", 8),
        ("k 0", 0),
        ("k 1 2", 16),
        ("k 0 1", 20),
        ("k 0 1 1", -1),
        ("k 1 0 0", -1),
        ("k 1 7 15 BIT", 8),
        ("k 0 9 20 BIT", 20),
        ("k 0 9 19 BIT", -1),
        ("k 1 -4 -1 BIT", -1),
        ("k 1 -2 -16", -1),
        ("k 0 3", -1),
        ("ones 0", 160),
        ("ones 0 0 -1", -1),
        ("ones 0 5", 160),
        ("none 0", 0),
        ("none 1", -1),
        ("none 0 5 what", 0),
    ] {
        assert_eq!(
            shard.run(&format!("BITPOS {query}")),
            format!(":{place}"),
            "{query}"
        );
    }
    put(&mut shard, "one", b"\x01");
    // Both ends are cut off at the first byte, so it is looked at.
    assert_eq!(shard.run("BITPOS one 1 -2 -16"), ":7");
}

#[test]
fn a_range_that_cannot_be_read_is_refused_when_the_key_is_there() {
    let mut shard = Shard::new();
    assert_eq!(shard.run("BITCOUNT none 1"), ":0");
    put(&mut shard, "k", b"a");
    for query in [
        "BITCOUNT k 1",
        "BITCOUNT k 0 1 what",
        "BITCOUNT k 0 1 BIT x",
        "BITPOS k 1 0 1 what",
        "BITPOS k 1 x 1 BIT x",
    ] {
        assert_eq!(shard.run(query), "-ERR syntax error", "{query}");
    }
    for query in [
        "BITCOUNT k x 1",
        "BITCOUNT k 0 x what",
        "BITPOS k x",
        "BITPOS k 1 x",
        "BITPOS k 1 0 x",
    ] {
        assert_eq!(shard.run(query), NO_INTEGER, "{query}");
    }
    assert_eq!(
        shard.run("BITPOS k 2"),
        "-ERR The bit argument must be 1 or 0."
    );
    put_list(&mut shard, b"l");
    assert_eq!(shard.run("BITCOUNT l 1"), WRONG_TYPE);
    assert_eq!(shard.run("BITPOS l 1 x"), WRONG_TYPE);
}

#[test]
fn strings_are_combined_bit_by_bit() {
    let mut shard = Shard::new();
    put(&mut shard, "a", &[0xf0, 0x0f, 0xff]);
    put(&mut shard, "b", &[0x3c]);
    for (operation, expected) in [
        ("AND t a b", vec![0x30, 0, 0]),
        ("or t a b", vec![0xfc, 0x0f, 0xff]),
        ("XOR t a b b a none", vec![0, 0, 0]),
        ("Not t a", vec![0x0f, 0xf0, 0x00]),
        ("AND t a", vec![0xf0, 0x0f, 0xff]),
        ("AND t b none a", vec![0, 0, 0]),
    ] {
        assert_eq!(
            shard.run(&format!("BITOP {operation}")),
            ":3",
            "{operation}"
        );
        assert_eq!(get(&shard, "t"), expected, "{operation}");
    }
    put(&mut shard, "n", b"10");
    assert_eq!(shard.run("BITOP OR t n"), ":2");
    let keyspace = shard.databases.keyspace(0);
    assert_eq!(keyspace.encoding(b"t", shard.now), Some("raw"));
}

#[test]
fn a_combination_of_nothing_removes_its_target() {
    let mut shard = Shard::new();
    put(&mut shard, "t", b"x");
    assert_eq!(shard.run("BITOP AND t none other"), ":0");
    assert_eq!(shard.run("GET t"), "$-1");
    put_list(&mut shard, b"l");
    assert_eq!(shard.run("BITOP AND t none l"), WRONG_TYPE);
    put(&mut shard, "a", b"x");
    assert_eq!(shard.run("BITOP AND l a"), ":1");
    assert_eq!(shard.run("BITOP NAND t a"), "-ERR syntax error");
    assert_eq!(
        shard.run("BITOP NOT t a a"),
        "-ERR BITOP NOT must be called with a single source key."
    );
}

#[test]
fn bitfields_are_read_set_and_added_to_in_order() {
    let mut shard = Shard::new();
    assert_eq!(
        shard.run("BITFIELD k SET u8 0 255 GET u4 2 INCRBY i8 #1 -3 GET i8 8 SET i64 #1 -1"),
        "*5 :0 :15 :-3 :-3 :0"
    );
    assert_eq!(shard.run("BITFIELD k"), "*0");
    assert_eq!(
        shard.run("BITFIELD_RO k GET i64 64 GET u1 0 GET u8 1000"),
        "*3 :-1 :1 :0"
    );
    assert_eq!(shard.run("BITFIELD none GET u8 0"), "*1 :0");
    assert_eq!(shard.run("GET none"), "$-1");
}

#[test]
fn each_overflow_is_treated_as_last_told() {
    let mut shard = Shard::new();
    assert_eq!(
        shard.run("BITFIELD k SET u8 0 250 INCRBY u8 0 10 OVERFLOW SAT INCRBY u8 0 300 OVERFLOW FAIL INCRBY u8 0 1 GET u8 0"),
        "*5 :0 :4 :255 $-1 :255"
    );
    // It grows although the operation fails.
    assert_eq!(
        shard.run("BITFIELD new OVERFLOW FAIL SET u8 16 256"),
        "*1 $-1"
    );
    assert_eq!(get(&shard, "new"), [0, 0, 0]);
    shard.proto = crate::protocol::Proto::Resp3;
    assert_eq!(
        shard.run("BITFIELD new OVERFLOW fail SET u8 16 256"),
        "*1 _"
    );
}

#[test]
fn a_bitfield_says_what_it_does_not_understand() {
    let mut shard = Shard::new();
    let bad_type = "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";
    for (operations, error) in [
        ("GET u8", "-ERR syntax error"),
        ("SET u8 0", "-ERR syntax error"),
        ("INCRBY u8 0", "-ERR syntax error"),
        ("OVERFLOW", "-ERR syntax error"),
        ("what u8 0", "-ERR syntax error"),
        ("OVERFLOW what", "-ERR Invalid OVERFLOW type specified"),
        ("GET u64 0", bad_type),
        ("GET i65 0", bad_type),
        ("GET 8 0", bad_type),
        ("GET u8 -1", BAD_OFFSET),
        ("GET u8 #x", BAD_OFFSET),
        ("GET u8 4294967296", BAD_OFFSET),
        ("GET u8 #9223372036854775807", BAD_OFFSET),
        ("SET u8 0 x", NO_INTEGER),
        ("INCRBY u8 0 1.5", NO_INTEGER),
    ] {
        assert_eq!(
            shard.run(&format!("BITFIELD k {operations}")),
            error,
            "{operations}"
        );
    }
    assert_eq!(
        shard.run("BITFIELD_RO k SET u8 0 1"),
        "-ERR BITFIELD_RO only supports the GET subcommand"
    );
    put_list(&mut shard, b"l");
    assert_eq!(shard.run("BITFIELD l GET u8 0"), WRONG_TYPE);
    assert_eq!(shard.run("BITFIELD l SET u8 0 1"), WRONG_TYPE);
}
