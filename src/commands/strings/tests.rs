//! What string commands answer and leave behind, on one shard in memory.

use super::super::testing::Shard;
use crate::store::{Deadline, Limits, List, Timestamp, Value};

/// A shard whose strings may have at most ten bytes.
fn tight() -> Shard {
    let mut shard = Shard::new();
    let limits = Limits {
        bulk_len_max: 10,
        ..Limits::default()
    };
    shard.databases.keyspace_mut(0).set_limits(limits);
    shard
}

fn put_list(shard: &mut Shard, key: &[u8]) {
    let mut list = List::default();
    list.push(crate::store::list::Side::Tail, b"x", &Limits::default());
    let now = shard.now;
    let keyspace = shard.databases.keyspace_mut(0);
    keyspace.set(key, Value::List(list), Deadline::None, now);
}

fn deadline(shard: &Shard, key: &str) -> Option<Timestamp> {
    let keyspace = shard.databases.keyspace(0);
    keyspace
        .deadline(key.as_bytes(), shard.now)
        .expect("the key is there")
}

fn encoding(shard: &Shard, key: &str) -> &'static str {
    let keyspace = shard.databases.keyspace(0);
    keyspace
        .encoding(key.as_bytes(), shard.now)
        .expect("the key is there")
}

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NO_INTEGER: &str = "-ERR value is not an integer or out of range";

#[test]
fn set_takes_its_conditions_at_their_word() {
    let mut shard = Shard::new();
    assert_eq!(shard.run("SET k 1 XX"), "$-1");
    assert_eq!(shard.run("SET k 1 nx"), "+OK");
    assert_eq!(shard.run("SET k 2 NX"), "$-1");
    assert_eq!(shard.run("SET k 3 XX GET"), "$1 1");
    assert_eq!(shard.run("SET k 4 NX GET"), "$1 3");
    assert_eq!(shard.run("GET k"), "$1 3");
    assert_eq!(shard.run("SET none 4 XX GET"), "$-1");
    assert_eq!(shard.run("SET none 4 NX GET"), "$-1");
    assert_eq!(shard.run("GET none"), "$1 4");
}

#[test]
fn set_replaces_another_type_but_does_not_get_it() {
    let mut shard = Shard::new();
    put_list(&mut shard, b"l");
    assert_eq!(shard.run("SET l 1 GET"), WRONG_TYPE);
    assert_eq!(shard.run("GET l"), WRONG_TYPE);
    assert_eq!(shard.run("SET l 1"), "+OK");
    assert_eq!(shard.run("GET l"), "$1 1");
}

#[test]
fn every_unit_of_time_sets_the_deadline_that_it_means() {
    let mut shard = Shard::new();
    let now = shard.now.0;
    for (options, at) in [
        ("EX 100".to_string(), now + 100_000),
        ("PX 100".to_string(), now + 100),
        (format!("EXAT {}", now / 1000 + 5), (now / 1000 + 5) * 1000),
        (format!("PXAT {}", now + 7), now + 7),
        ("EX 1 EX 2".to_string(), now + 2000),
    ] {
        assert_eq!(shard.run(&format!("SET k v {options}")), "+OK");
        assert_eq!(deadline(&shard, "k"), Some(Timestamp(at)), "{options}");
        assert_eq!(
            shard.run(&format!("SET e v KEEPTTL {options}")),
            "-ERR syntax error"
        );
        shard.run("SET g v");
        assert_eq!(shard.run(&format!("GETEX g {options}")), "$1 v");
        assert_eq!(deadline(&shard, "g"), Some(Timestamp(at)), "{options}");
    }
    shard.run("SET k w KEEPTTL");
    assert_eq!(deadline(&shard, "k"), Some(Timestamp(now + 2000)));
    shard.run("SET k w");
    assert_eq!(deadline(&shard, "k"), None);
}

#[test]
fn a_key_is_gone_when_its_time_is_over() {
    let mut shard = Shard::new();
    assert_eq!(shard.run("SETEX s 1 v"), "+OK");
    assert_eq!(shard.run("PSETEX p 1000 v"), "+OK");
    shard.advance(1000);
    assert_eq!(shard.run("MGET s p"), "*2 $1 v $1 v");
    shard.advance(1);
    assert_eq!(shard.run("MGET s p"), "*2 $-1 $-1");
    assert_eq!(shard.run("SET s w NX"), "+OK");
    assert_eq!(deadline(&shard, "s"), None);
}

#[test]
fn times_that_cannot_be_name_the_command() {
    let mut shard = Shard::new();
    let invalid = |command| format!("-ERR invalid expire time in '{command}' command");
    shard.run("SET k v");
    for time in ["0", "-1", "9223372036854775807"] {
        assert_eq!(shard.run(&format!("SET k v EX {time}")), invalid("set"));
        assert_eq!(shard.run(&format!("GETEX k EX {time}")), invalid("getex"));
        assert_eq!(shard.run(&format!("SETEX k {time} v")), invalid("setex"));
        assert_eq!(shard.run(&format!("PSETEX k {time} v")), invalid("psetex"));
    }
    assert_eq!(shard.run("SET k v PXAT 9223372036854775807"), "+OK");
    assert_eq!(
        shard.run("SET k v EXAT 9223372036854775807"),
        invalid("set")
    );
    assert_eq!(shard.run("SET k v EX 1.5"), NO_INTEGER);
    assert_eq!(shard.run("GETEX none EX 0"), "$-1");
}

#[test]
fn options_that_exclude_each_other_are_a_syntax_error() {
    let mut shard = Shard::new();
    shard.run("SET k v");
    for options in [
        "NX XX",
        "XX NX",
        "EX 1 PX 1",
        "PXAT 1 EXAT 1",
        "EX",
        "KEEPTTL EX 1",
        "EX 1 KEEPTTL",
        "PERSIST",
        "what",
        "EX 1 what",
    ] {
        assert_eq!(
            shard.run(&format!("SET k v {options}")),
            "-ERR syntax error",
            "{options}"
        );
    }
    for options in [
        "NX",
        "GET",
        "KEEPTTL",
        "PERSIST EX 1",
        "EX 1 PERSIST",
        "PX",
        "EX 1 EXAT 1",
    ] {
        assert_eq!(
            shard.run(&format!("GETEX k {options}")),
            "-ERR syntax error",
            "{options}"
        );
    }
}

#[test]
fn getex_changes_the_deadline_and_nothing_else() {
    let mut shard = Shard::new();
    let now = shard.now.0;
    shard.run("SET k v EX 10");
    assert_eq!(shard.run("GETEX k"), "$1 v");
    assert_eq!(deadline(&shard, "k"), Some(Timestamp(now + 10_000)));
    assert_eq!(shard.run("GETEX k PERSIST"), "$1 v");
    assert_eq!(deadline(&shard, "k"), None);
    assert_eq!(shard.run(&format!("GETEX k PXAT {now}")), "$1 v");
    assert_eq!(shard.run("GET k"), "$-1");
    put_list(&mut shard, b"l");
    assert_eq!(shard.run("GETEX l EX 0"), WRONG_TYPE);
}

#[test]
fn getset_and_getdel_give_what_was_there() {
    let mut shard = Shard::new();
    assert_eq!(shard.run("GETSET k 1"), "$-1");
    shard.run("GETEX k EX 10");
    assert_eq!(shard.run("GETSET k 2"), "$1 1");
    assert_eq!(deadline(&shard, "k"), None);
    assert_eq!(shard.run("GETDEL k"), "$1 2");
    assert_eq!(shard.run("GETDEL k"), "$-1");
    put_list(&mut shard, b"l");
    assert_eq!(shard.run("GETSET l 1"), WRONG_TYPE);
    assert_eq!(shard.run("GETDEL l"), WRONG_TYPE);
}

#[test]
fn several_keys_are_set_together_or_not_at_all() {
    let mut shard = Shard::new();
    put_list(&mut shard, b"l");
    assert_eq!(shard.run("MSETNX a 1 b 2"), ":1");
    assert_eq!(shard.run("MSETNX c 3 a 4"), ":0");
    assert_eq!(shard.run("MSETNX c 3 l 4"), ":0");
    assert_eq!(shard.run("MGET a b c l"), "*4 $1 1 $1 2 $-1 $-1");
    assert_eq!(shard.run("MSET a 5 a 6 l 7"), "+OK");
    assert_eq!(shard.run("MGET a l"), "*2 $1 6 $1 7");
    for command in ["mset", "msetnx"] {
        assert_eq!(
            shard.run(&format!("{command} a 1 b")),
            format!("-ERR wrong number of arguments for '{command}' command")
        );
    }
}

#[test]
fn a_counter_counts_and_refuses_what_is_no_number() {
    let mut shard = Shard::new();
    assert_eq!(shard.run("INCR n"), ":1");
    assert_eq!(shard.run("INCRBY n 41"), ":42");
    assert_eq!(shard.run("DECRBY n -8"), ":50");
    assert_eq!(shard.run("DECR n"), ":49");
    shard.run("GETEX n EX 10");
    shard.run("INCR n");
    assert!(deadline(&shard, "n").is_some());
    for value in ["abc", "1.0", "", "01", "9223372036854775808"] {
        shard.run_args(["SET", "n", value]);
        assert_eq!(shard.run("INCR n"), NO_INTEGER, "{value}");
    }
    assert_eq!(shard.run("INCRBY n x"), NO_INTEGER);
    put_list(&mut shard, b"l");
    assert_eq!(shard.run("INCR l"), WRONG_TYPE);
}

#[test]
fn a_counter_does_not_go_over_its_ends() {
    let mut shard = Shard::new();
    let overflow = "-ERR increment or decrement would overflow";
    shard.run("SET n 9223372036854775807");
    assert_eq!(shard.run("INCR n"), overflow);
    assert_eq!(
        shard.run("DECRBY n -9223372036854775808"),
        "-ERR decrement would overflow"
    );
    assert_eq!(shard.run("INCRBY n -9223372036854775808"), ":-1");
    shard.run("SET n -9223372036854775808");
    assert_eq!(shard.run("DECR n"), overflow);
    assert_eq!(shard.run("GET n"), "$20 -9223372036854775808");
}

#[test]
fn floats_are_added_in_the_precision_of_redis() {
    let mut shard = Shard::new();
    assert_eq!(shard.run("INCRBYFLOAT f 0.1"), "$3 0.1");
    assert_eq!(shard.run("INCRBYFLOAT f 0.2"), "$3 0.3");
    assert_eq!(
        shard.run("INCRBYFLOAT f 5.0e3"),
        "$22 5000.29999999999999982"
    );
    shard.run("SET f 3");
    assert_eq!(shard.run("INCRBYFLOAT f 1"), "$1 4");
    // Redis keeps the text, not the integer.
    assert_eq!(encoding(&shard, "f"), "embstr");
    assert_eq!(shard.run("INCR f"), ":5");
    assert_eq!(
        shard.run("INCRBYFLOAT f inf"),
        "-ERR increment would produce NaN or Infinity"
    );
    assert_eq!(
        shard.run("INCRBYFLOAT f x"),
        "-ERR value is not a valid float"
    );
    shard.run("SET f x");
    assert_eq!(
        shard.run("INCRBYFLOAT f 1"),
        "-ERR value is not a valid float"
    );
    put_list(&mut shard, b"l");
    assert_eq!(shard.run("INCRBYFLOAT l x"), WRONG_TYPE);
}

#[test]
fn a_range_is_cut_to_the_string() {
    let mut shard = Shard::new();
    shard.run("SET k abcdef");
    for (range, part) in [
        ("0 -1", "abcdef"),
        ("1 2", "bc"),
        ("-3 -2", "de"),
        ("4 100", "ef"),
        ("-100 1", "ab"),
        ("0 -100", "a"),
        ("3 1", ""),
        ("-1 -2", ""),
        ("6 7", ""),
        ("9223372036854775807 9223372036854775807", ""),
        ("-9223372036854775808 9223372036854775807", "abcdef"),
    ] {
        let expected = format!("${} {part}", part.len());
        for command in ["GETRANGE", "SUBSTR"] {
            assert_eq!(
                shard.run(&format!("{command} k {range}")),
                expected.trim_end(),
                "{range}"
            );
        }
    }
    shard.run("SET n -1234");
    assert_eq!(shard.run("GETRANGE n 0 1"), "$2 -1");
    assert_eq!(shard.run("STRLEN n"), ":5");
    assert_eq!(shard.run("GETRANGE none 0 -1"), "$0");
    assert_eq!(shard.run("GETRANGE none x 0"), NO_INTEGER);
}

#[test]
fn a_part_is_written_over_zeros_or_the_string_that_was_there() {
    let mut shard = Shard::new();
    assert_eq!(shard.run_args(["SETRANGE", "k", "2", ""]), ":0");
    assert_eq!(shard.run("GET k"), "$-1");
    assert_eq!(shard.run("SETRANGE k 2 ab"), ":4");
    assert_eq!(shard.run("GET k"), "$4 \0\0ab");
    assert_eq!(shard.run("SETRANGE k 0 xyz"), ":4");
    assert_eq!(shard.run("GET k"), "$4 xyzb");
    assert_eq!(shard.run_args(["SETRANGE", "k", "2", ""]), ":4");
    shard.run("SET n 12345 EX 10");
    assert_eq!(shard.run("SETRANGE n 1 9"), ":5");
    assert_eq!(
        (shard.run("GET n").as_str(), encoding(&shard, "n")),
        ("$5 19345", "raw")
    );
    assert!(deadline(&shard, "n").is_some());
    assert_eq!(shard.run("SETRANGE n -1 x"), "-ERR offset is out of range");
    assert_eq!(shard.run("SETRANGE n x x"), NO_INTEGER);
}

#[test]
fn appending_makes_the_key_even_with_nothing() {
    let mut shard = Shard::new();
    assert_eq!(shard.run_args(["APPEND", "k", ""]), ":0");
    assert_eq!(shard.run("GET k"), "$0");
    assert_eq!(shard.run("APPEND n 12"), ":2");
    assert_eq!(encoding(&shard, "n"), "int");
    assert_eq!(shard.run("APPEND n 3"), ":3");
    assert_eq!(
        (shard.run("GET n").as_str(), encoding(&shard, "n")),
        ("$3 123", "raw")
    );
    let long = "x".repeat(10_000);
    assert_eq!(shard.run_args(["APPEND", "n", &long]), ":10003");
    assert_eq!(shard.run("STRLEN n"), ":10003");
}

#[test]
fn no_command_makes_a_string_longer_than_allowed() {
    let mut shard = tight();
    let too_long = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    assert_eq!(shard.run("SETRANGE k 9 x"), ":10");
    assert_eq!(shard.run("APPEND k x"), too_long);
    for offset in ["10", "9223372036854775807"] {
        assert_eq!(shard.run(&format!("SETRANGE k {offset} x")), too_long);
        assert_eq!(shard.run(&format!("SETRANGE none {offset} x")), too_long);
    }
    assert_eq!(shard.run("STRLEN k"), ":10");
    assert_eq!(
        shard.run("LCS k k"),
        "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
    );
}

#[test]
fn lcs_finds_the_subsequence_its_length_and_its_places() {
    let mut shard = Shard::resp3();
    shard.run("MSET a ohmytext b mynewtext");
    assert_eq!(shard.run("LCS a b"), "$6 mytext");
    assert_eq!(shard.run("LCS a b LEN"), ":6");
    assert_eq!(
        shard.run("LCS a b IDX"),
        "%2 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6"
    );
    assert_eq!(
        shard.run("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN"),
        "%2 $7 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $3 len :6"
    );
    shard.proto = crate::protocol::Proto::Resp2;
    assert_eq!(shard.run("LCS a none IDX"), "*4 $7 matches *0 $3 len :0");
    assert_eq!(shard.run("LCS none none"), "$0");
}

#[test]
fn lcs_says_what_it_cannot_do() {
    let mut shard = Shard::new();
    put_list(&mut shard, b"l");
    assert_eq!(
        shard.run("LCS l none what"),
        "-ERR The specified keys must contain string values"
    );
    assert_eq!(shard.run("LCS a b what"), "-ERR syntax error");
    assert_eq!(shard.run("LCS a b MINMATCHLEN"), "-ERR syntax error");
    assert_eq!(shard.run("LCS a b MINMATCHLEN x"), NO_INTEGER);
    assert_eq!(
        shard.run("LCS a b LEN IDX"),
        "-ERR If you want both the length and indexes, please just use IDX."
    );
}

#[test]
fn a_null_is_a_null_in_either_protocol() {
    let mut shard = Shard::resp3();
    assert_eq!(shard.run("GET none"), "_");
    assert_eq!(shard.run("SET none 1 XX"), "_");
    assert_eq!(shard.run("MGET none"), "*1 _");
}
