//! The family on one shard.

use crate::commands::spec::KeyFlags;
use crate::commands::testing::Shard;
use crate::commands::{for_each_key, registry, Call};
use crate::protocol::{OwnedArgs, Proto};
use crate::store::list::Side;
use crate::store::{Deadline, Hash, Limits, List, Set, Timestamp, Value, ZSet};

const NOW: u64 = 1_700_000_000_000;

/// A shard with a key of each type: `s`, `l` (3 1 2), `h` (f v), `set` (3 1 2 10), `z` (b a c by score).
fn shard() -> Shard {
    let mut shard = Shard::new();
    let limits = Limits::default();
    let mut list = List::new();
    list.extend(Side::Tail, [&b"3"[..], b"1", b"2"].into_iter(), &limits);
    let hash = Hash::from_pairs([(&b"f"[..], &b"v"[..])], &limits);
    let mut set = Set::new();
    for member in ["3", "1", "2", "10"] {
        set.add(member.as_bytes(), &limits);
    }
    let mut zset = ZSet::default();
    for (member, score) in [("a", 2.0), ("b", 1.0), ("c", 3.0)] {
        zset.insert(member.as_bytes(), score, &limits);
    }
    let keyspace = shard.databases.keyspace_mut(0);
    let mut put = |key: &str, value: Value| {
        keyspace.set(key.as_bytes(), value, Deadline::None, Timestamp(NOW));
    };
    put("s", Value::Str(b"text".to_vec()));
    put("l", Value::List(list));
    put("h", Value::Hash(hash));
    put("set", Value::Set(set));
    put("z", Value::ZSet(zset));
    shard
}

#[test]
fn keys_are_counted_named_and_removed() {
    let mut shard = shard();
    assert_eq!(shard.run("EXISTS s none s"), ":2");
    assert_eq!(shard.run("TOUCH s l none"), ":2");
    for (key, name) in [
        ("s", "string"),
        ("l", "list"),
        ("h", "hash"),
        ("set", "set"),
        ("z", "zset"),
    ] {
        assert_eq!(shard.run(&format!("TYPE {key}")), format!("+{name}"));
    }
    assert_eq!(shard.run("TYPE none"), "+none");
    assert_eq!(shard.run("DEL s s l none"), ":2");
    assert_eq!(shard.run("UNLINK h"), ":1");
    assert_eq!(shard.run("DBSIZE"), ":2");
}

#[test]
fn a_renamed_key_keeps_value_and_deadline() {
    let mut shard = shard();
    assert_eq!(shard.run("RENAME none x"), "-ERR no such key");
    assert_eq!(shard.run("RENAME none none"), "-ERR no such key");
    assert_eq!(shard.run("RENAME s s"), "+OK");
    assert_eq!(shard.run("EXPIRE s 100"), ":1");
    assert_eq!(shard.run("RENAME s l"), "+OK");
    assert_eq!(shard.run("GET l"), "$4 text");
    assert_eq!(shard.run("TTL l"), ":100");
    assert_eq!(shard.run("EXISTS s"), ":0");
    assert_eq!(shard.run("RENAMENX l z"), ":0");
    assert_eq!(shard.run("RENAMENX l l"), ":0");
    assert_eq!(shard.run("RENAMENX l new"), ":1");
    assert_eq!(shard.run("TTL new"), ":100");
    // What is renamed onto a key with a deadline does not inherit that.
    assert_eq!(shard.run("RENAME z new"), "+OK");
    assert_eq!(shard.run("TTL new"), ":-1");
}

#[test]
fn a_copy_stands_on_its_own() {
    let mut shard = shard();
    assert_eq!(shard.run("EXPIRE z 50"), ":1");
    assert_eq!(shard.run("COPY z copy"), ":1");
    assert_eq!(shard.run("TTL copy"), ":50");
    assert_eq!(shard.run("SORT copy ALPHA"), "*3 $1 a $1 b $1 c");
    assert_eq!(shard.run("COPY l copy"), ":0");
    assert_eq!(shard.run("COPY l copy REPLACE"), ":1");
    assert_eq!(shard.run("TTL copy"), ":-1");
    assert_eq!(shard.run("SORT copy"), "*3 $1 1 $1 2 $1 3");
    assert_eq!(shard.run("COPY none copy REPLACE"), ":0");
    assert_eq!(shard.run("EXISTS copy"), ":1");
    assert_eq!(shard.run("COPY s s DB 3"), ":1");
    assert_eq!(shard.run("COPY s s DB 3"), ":0");
    assert_eq!(
        shard.run("COPY s s"),
        "-ERR source and destination objects are the same"
    );
    assert_eq!(
        shard.run("COPY s s DB 0"),
        "-ERR source and destination objects are the same"
    );
    assert_eq!(shard.run("COPY s t DB 16"), "-ERR DB index is out of range");
    assert_eq!(shard.run("COPY s t DB -1"), "-ERR DB index is out of range");
    assert_eq!(
        shard.run("COPY s t DB x"),
        "-ERR value is not an integer or out of range"
    );
    assert_eq!(
        shard.run("COPY s t DB 99999999999"),
        "-ERR value is out of range, value must between -2147483648 and 2147483647"
    );
    assert_eq!(shard.run("COPY s t DB"), "-ERR syntax error");
    assert_eq!(shard.run("COPY s t REPLACE x"), "-ERR syntax error");
    shard.database = 3;
    assert_eq!(shard.run("GET s"), "$4 text");
}

#[test]
fn a_key_moves_to_another_database_unless_it_is_there() {
    let mut shard = shard();
    assert_eq!(shard.run("EXPIRE s 50"), ":1");
    assert_eq!(
        shard.run("MOVE s 0"),
        "-ERR source and destination objects are the same"
    );
    assert_eq!(shard.run("MOVE s 16"), "-ERR DB index is out of range");
    assert_eq!(shard.run("MOVE s 1"), ":1");
    assert_eq!(shard.run("MOVE s 1"), ":0");
    assert_eq!(shard.run("SET s other"), "+OK");
    assert_eq!(shard.run("MOVE s 1"), ":0");
    assert_eq!(shard.run("GET s"), "$5 other");
    shard.database = 1;
    assert_eq!(shard.run("GET s"), "$4 text");
    assert_eq!(shard.run("TTL s"), ":50");
}

#[test]
fn deadlines_are_set_shown_and_met() {
    let mut shard = shard();
    assert_eq!(shard.run("TTL s"), ":-1");
    assert_eq!(shard.run("PTTL none"), ":-2");
    assert_eq!(shard.run("EXPIRE none 1"), ":0");
    assert_eq!(shard.run("EXPIRE s 10"), ":1");
    assert_eq!(shard.run("EXPIRETIME s"), format!(":{}", NOW / 1000 + 10));
    assert_eq!(shard.run("PEXPIRETIME s"), format!(":{}", NOW + 10_000));
    shard.advance(600);
    // 9.4 seconds are shown as 9, 9.5 as 10.
    assert_eq!(shard.run("TTL s"), ":9");
    assert_eq!(shard.run("PTTL s"), ":9400");
    assert_eq!(shard.run("PEXPIRE s 9500"), ":1");
    assert_eq!(shard.run("TTL s"), ":10");
    assert_eq!(shard.run("PERSIST s"), ":1");
    assert_eq!(shard.run("PERSIST s"), ":0");
    assert_eq!(shard.run("PERSIST none"), ":0");
    assert_eq!(shard.run(&format!("PEXPIREAT s {}", NOW + 700)), ":1");
    shard.advance(101);
    assert_eq!(shard.run("EXISTS s"), ":0");
    assert_eq!(shard.run(&format!("EXPIREAT l {}", NOW / 1000 + 5)), ":1");
    assert_eq!(shard.run("EXPIRE l 0"), ":1");
    assert_eq!(shard.run("EXISTS l"), ":0");
    assert_eq!(shard.run("EXPIRE h -9223372036854775"), ":1");
    assert_eq!(shard.run("EXPIREAT z 1"), ":1");
    assert_eq!(shard.run("EXISTS h z"), ":0");
}

#[test]
fn conditions_on_deadlines_are_kept() {
    let mut shard = shard();
    // No deadline counts as one that never comes.
    for (condition, before, seconds, expected) in [
        ("XX", None, 10, 0),
        ("GT", None, 10, 0),
        ("NX", None, 10, 1),
        ("NX", Some(10), 20, 0),
        ("XX", Some(10), 20, 1),
        ("GT", Some(10), 20, 1),
        ("GT", Some(10), 10, 0),
        ("GT", Some(10), 5, 0),
        ("LT", Some(10), 5, 1),
        ("LT", Some(10), 10, 0),
        ("LT", Some(10), 20, 0),
        ("LT", None, 10, 1),
        ("XX GT", None, 10, 0),
        ("XX LT", Some(10), 5, 1),
        ("gt", Some(10), 20, 1),
    ] {
        shard.run("PERSIST s");
        if let Some(before) = before {
            shard.run(&format!("EXPIRE s {before}"));
        }
        let got = shard.run(&format!("EXPIRE s {seconds} {condition}"));
        assert_eq!(
            got,
            format!(":{expected}"),
            "{condition} {before:?} {seconds}"
        );
        let shown = if expected == 1 {
            seconds
        } else {
            before.unwrap_or(-1)
        };
        assert_eq!(shard.run("TTL s"), format!(":{shown}"));
    }
    for (options, error) in [
        (
            "NX XX",
            "NX and XX, GT or LT options at the same time are not compatible",
        ),
        (
            "LT NX",
            "NX and XX, GT or LT options at the same time are not compatible",
        ),
        (
            "GT LT",
            "GT and LT options at the same time are not compatible",
        ),
        ("what", "Unsupported option what"),
    ] {
        assert_eq!(
            shard.run(&format!("EXPIRE s 1 {options}")),
            format!("-ERR {error}")
        );
    }
    for (command, number) in [
        ("expire", "9223372036854775807"),
        ("expire", "-9223372036854775807"),
        ("pexpire", "9223372036854775807"),
        ("expireat", "9223372036854776"),
    ] {
        assert_eq!(
            shard.run(&format!("{command} s {number}")),
            format!("-ERR invalid expire time in '{command}' command")
        );
    }
    assert_eq!(
        shard.run("EXPIRE s 1.5"),
        "-ERR value is not an integer or out of range"
    );
}

#[test]
fn a_key_is_found_by_pattern() {
    let mut shard = shard();
    assert_eq!(shard.run("KEYS se?"), "*1 $3 set");
    assert_eq!(shard.run("KEYS none*"), "*0");
    assert_eq!(shard.run("EXPIRE set 1"), ":1");
    shard.advance(1001);
    assert_eq!(shard.run("KEYS se*"), "*0");
    let all = shard.run("KEYS *");
    assert!(all.starts_with("*4 ") && all.contains("$1 h"), "{all}");
}

#[test]
fn databases_are_counted_emptied_and_swapped() {
    let mut shard = shard();
    shard.database = 1;
    assert_eq!(shard.run("SET other 1"), "+OK");
    assert_eq!(shard.run("SWAPDB 0 1"), "+OK");
    assert_eq!(shard.run("DBSIZE"), ":5");
    assert_eq!(shard.run("SWAPDB 0 0"), "+OK");
    assert_eq!(shard.run("SWAPDB x 1"), "-ERR invalid first DB index");
    assert_eq!(
        shard.run("SWAPDB 0 99999999999"),
        "-ERR invalid second DB index"
    );
    assert_eq!(shard.run("SWAPDB 0 16"), "-ERR DB index is out of range");
    assert_eq!(shard.run("SWAPDB -1 0"), "-ERR DB index is out of range");
    assert_eq!(shard.run("FLUSHDB ASYNC"), "+OK");
    assert_eq!(shard.run("DBSIZE"), ":0");
    assert_eq!(shard.run("FLUSHDB now"), "-ERR syntax error");
    assert_eq!(shard.run("FLUSHALL SYNC ASYNC"), "-ERR syntax error");
    shard.database = 0;
    assert_eq!(shard.run("DBSIZE"), ":1");
    assert_eq!(shard.run("FLUSHALL sync"), "+OK");
    assert_eq!(shard.run("DBSIZE"), ":0");
}

#[test]
fn object_looks_without_touching() {
    let mut shard = shard();
    for (key, encoding) in [
        ("s", "embstr"),
        ("l", "listpack"),
        ("h", "listpack"),
        ("set", "intset"),
        ("z", "listpack"),
    ] {
        let length = encoding.len();
        assert_eq!(
            shard.run(&format!("OBJECT ENCODING {key}")),
            format!("${length} {encoding}")
        );
    }
    assert_eq!(shard.run("OBJECT ENCODING none"), "$-1");
    shard.advance(5000);
    assert_eq!(shard.run("OBJECT IDLETIME s"), ":5");
    assert_eq!(shard.run("OBJECT IDLETIME s"), ":5");
    assert_eq!(shard.run("TOUCH s"), ":1");
    assert_eq!(shard.run("OBJECT IDLETIME s"), ":0");
    assert_eq!(shard.run("OBJECT REFCOUNT s"), ":1");
    assert_eq!(shard.run("SET n 7"), "+OK");
    assert_eq!(shard.run("OBJECT REFCOUNT n"), ":2147483647");
    assert!(shard
        .run("OBJECT FREQ s")
        .starts_with("-ERR An LFU maxmemory policy is not selected"));
    shard.databases.set_access(true, 10, 1);
    assert_eq!(shard.run("SET fresh 1"), "+OK");
    assert_eq!(shard.run("OBJECT FREQ fresh"), ":5");
    assert_eq!(shard.run("OBJECT FREQ none"), "$-1");
    assert!(shard
        .run("OBJECT IDLETIME s")
        .starts_with("-ERR An LFU maxmemory policy is selected"));
    assert_eq!(
        shard.run("OBJECT WHAT s"),
        "-ERR unknown subcommand 'WHAT'. Try OBJECT HELP."
    );
}

/// The payload that DUMP answers.
fn dumped(shard: &mut Shard, key: &str) -> Vec<u8> {
    let reply = shard.raw(&OwnedArgs::new(["DUMP", key]).as_args());
    let start = reply
        .iter()
        .position(|&byte| byte == b'\n')
        .expect("a header")
        + 1;
    reply[start..reply.len() - 2].to_vec()
}

#[test]
fn what_was_dumped_is_restored() {
    let mut shard = shard();
    for key in ["s", "l", "h", "set", "z"] {
        let payload = dumped(&mut shard, key);
        let mut restore = |key: &str, ttl: &str, options: &[&str]| {
            let mut args = vec![b"RESTORE".to_vec(), key.into(), ttl.into(), payload.clone()];
            args.extend(options.iter().map(|option| option.as_bytes().to_vec()));
            shard.run_args(args)
        };
        assert_eq!(
            restore(key, "0", &[]),
            "-BUSYKEY Target key name already exists."
        );
        assert_eq!(restore("copy", "5000", &["REPLACE"]), "+OK");
        assert_eq!(dumped(&mut shard, "copy"), dumped(&mut shard, key));
        assert_eq!(shard.run("PTTL copy"), ":5000");
    }
    assert_eq!(shard.run("DUMP none"), "$-1");
}

#[test]
fn restore_minds_its_options() {
    let mut shard = shard();
    let payload = dumped(&mut shard, "s");
    let restore = |shard: &mut Shard, ttl: &str, options: &str| {
        let mut args = vec![
            b"RESTORE".to_vec(),
            b"new".to_vec(),
            ttl.into(),
            payload.clone(),
        ];
        args.extend(
            options
                .split_whitespace()
                .map(|option| option.as_bytes().to_vec()),
        );
        shard.run_args(args)
    };
    let error = |text: &str| format!("-ERR {text}");
    assert_eq!(
        restore(&mut shard, "-1", ""),
        error("Invalid TTL value, must be >= 0")
    );
    assert_eq!(
        restore(&mut shard, "x", ""),
        error("value is not an integer or out of range")
    );
    assert_eq!(restore(&mut shard, "0", "WHAT"), error("syntax error"));
    assert_eq!(restore(&mut shard, "0", "IDLETIME"), error("syntax error"));
    assert_eq!(
        restore(&mut shard, "0", "IDLETIME 1 FREQ 1"),
        error("syntax error")
    );
    assert_eq!(
        restore(&mut shard, "0", "IDLETIME -1"),
        error("Invalid IDLETIME value, must be >= 0")
    );
    assert_eq!(
        restore(&mut shard, "0", "FREQ 256"),
        error("Invalid FREQ value, must be >= 0 and <= 255")
    );
    assert_eq!(
        shard.run("RESTORE new 0 abc"),
        error("DUMP payload version or checksum are wrong")
    );
    assert_eq!(shard.run("EXISTS new"), ":0");
    assert_eq!(restore(&mut shard, "0", "IDLETIME 1000"), "+OK");
    assert_eq!(shard.run("TTL new"), ":-1");
    assert_eq!(shard.run("OBJECT IDLETIME new"), ":1000");
    let deadline = (NOW + 7000).to_string();
    assert_eq!(restore(&mut shard, &deadline, "ABSTTL REPLACE"), "+OK");
    assert_eq!(shard.run("TTL new"), ":7");
    assert_eq!(restore(&mut shard, "9223372036854775807", "REPLACE"), "+OK");
    // A deadline that is past already: the key is not made, and one that it replaces goes.
    assert_eq!(restore(&mut shard, "1", "ABSTTL REPLACE"), "+OK");
    assert_eq!(shard.run("EXISTS new"), ":0");
}

#[test]
fn elements_are_sorted_by_number_or_by_bytes() {
    let mut shard = shard();
    assert_eq!(shard.run("SORT l"), "*3 $1 1 $1 2 $1 3");
    assert_eq!(shard.run("SORT_RO l DESC"), "*3 $1 3 $1 2 $1 1");
    assert_eq!(shard.run("SORT set ALPHA"), "*4 $1 1 $2 10 $1 2 $1 3");
    assert_eq!(shard.run("SORT z ALPHA DESC"), "*3 $1 c $1 b $1 a");
    assert_eq!(
        shard.run("SORT z"),
        "-ERR One or more scores can't be converted into double"
    );
    assert_eq!(shard.run("SORT none"), "*0");
    assert_eq!(
        shard.run("SORT h"),
        "-WRONGTYPE Operation against a key holding the wrong kind of value"
    );
    assert_eq!(shard.run("SORT l LIMIT 1 5"), "*2 $1 2 $1 3");
    assert_eq!(shard.run("SORT l LIMIT -1 2"), "*2 $1 1 $1 2");
    assert_eq!(shard.run("SORT l LIMIT 0 -5"), "*3 $1 1 $1 2 $1 3");
    assert_eq!(shard.run("SORT l LIMIT 5 2"), "*0");
    assert_eq!(
        shard.run("SORT l LIMIT 9223372036854775807 9223372036854775807"),
        "*0"
    );
    assert_eq!(shard.run("SORT l LIMIT 0"), "-ERR syntax error");
    assert_eq!(
        shard.run("SORT l LIMIT x 1"),
        "-ERR value is not an integer or out of range"
    );
    assert_eq!(shard.run("SORT_RO l STORE x"), "-ERR syntax error");
}

#[test]
fn a_constant_pattern_keeps_the_order_of_the_elements() {
    let mut shard = shard();
    assert_eq!(shard.run("SORT l BY nosort"), "*3 $1 3 $1 1 $1 2");
    assert_eq!(shard.run("SORT l BY nosort DESC LIMIT 0 2"), "*2 $1 2 $1 1");
    assert_eq!(shard.run("SORT z BY nosort DESC"), "*3 $1 c $1 a $1 b");
    assert_eq!(shard.run("SORT z BY # LIMIT 1 1"), "*1 $1 a");
    // A set has no order that may reach a key.
    assert_eq!(shard.run("SORT set BY nosort STORE out"), ":4");
    assert_eq!(shard.run("SORT out BY nosort"), "*4 $1 1 $2 10 $1 2 $1 3");
}

#[test]
fn other_keys_weigh_and_replace_elements() {
    let mut shard = shard();
    for line in [
        "SET w_1 30",
        "SET w_2 20",
        "SET name_1 one",
        "SET name_3 three",
    ] {
        assert_eq!(shard.run(line), "+OK");
    }
    // w_3 is missing: it weighs 0.
    assert_eq!(shard.run("SORT l BY w_*"), "*3 $1 3 $1 2 $1 1");
    assert_eq!(
        shard.run("SORT l BY w_* GET # GET name_* GET h->f GET l"),
        "*12 $1 3 $5 three $-1 $-1 $1 2 $-1 $-1 $-1 $1 1 $3 one $-1 $-1"
    );
    assert_eq!(shard.run("SORT l ALPHA BY name_*"), "*3 $1 2 $1 1 $1 3");
    assert_eq!(
        shard.run("SORT l BY name_*"),
        "-ERR One or more scores can't be converted into double"
    );
    let hash = Hash::from_pairs([(&b"f"[..], &b"from 1"[..])], &Limits::default());
    shard
        .databases
        .keyspace_mut(0)
        .set(b"h1", Value::Hash(hash), Deadline::None, Timestamp(NOW));
    assert_eq!(shard.run("SORT l GET h*->f"), "*3 $6 from 1 $-1 $-1");
    assert_eq!(shard.run("SORT l GET h*->f STORE out"), ":3");
    assert_eq!(shard.run("SORT out BY nosort"), "*3 $6 from 1 $0  $0");
    assert_eq!(shard.run("SORT none STORE out"), ":0");
    assert_eq!(shard.run("EXISTS out"), ":0");
}

#[test]
fn the_keys_of_sort_are_known_before_it_runs() {
    let keys = |line: &str| {
        let args = OwnedArgs::new(line.split(' '));
        let found = registry().resolve(&args.as_args()).expect("a command");
        let mut keys = Vec::new();
        for_each_key(found.command, &args.as_args(), |at, flags: KeyFlags| {
            keys.push((
                String::from_utf8_lossy(args.as_args().at(at)).into_owned(),
                flags.writes(),
            ));
        });
        keys
    };
    let key = |name: &str, writes: bool| (name.to_owned(), writes);
    assert_eq!(keys("SORT l"), [key("l", false)]);
    assert_eq!(
        keys("SORT l BY store STORE out DESC"),
        [key("l", false), key("out", true)]
    );
    assert_eq!(keys("SORT l LIMIT 0 store GET store"), [key("l", false)]);
    assert_eq!(
        keys("SORT l STORE a STORE b"),
        [key("l", false), key("b", true)]
    );
    assert_eq!(keys("SORT l STORE"), [key("l", false)]);

    let shard = shard();
    let patterns = |line: &str| {
        let args = OwnedArgs::new(line.split(' '));
        let call = Call {
            args: args.as_args(),
            now: shard.now,
            seed: 0,
            database: 0,
            proto: Proto::Resp2,
        };
        let more_keys = registry()
            .find(b"SORT")
            .and_then(|sort| sort.command.more_keys);
        let keys = more_keys.expect("SORT reads them")(shard.databases.keyspace(0), &call);
        keys.map(|keys| {
            keys.iter()
                .map(|key| String::from_utf8_lossy(key).into_owned())
                .collect()
        })
    };
    let some = |keys: &[&str]| Ok(keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>());
    assert_eq!(patterns("SORT z BY nosort GET #"), some(&[]));
    assert_eq!(
        patterns("SORT z BY w_* GET h_*->f"),
        some(&["h_b", "w_b", "h_a", "w_a", "h_c", "w_c"])
    );
    assert!(patterns("SORT h BY w_*").is_err());
}

#[test]
fn a_look_that_is_no_use_counts_as_hit_or_miss_all_the_same() {
    let mut shard = shard();
    for (line, expected) in [
        ("EXISTS s s none", (2, 1)),
        ("TYPE s", (1, 0)),
        ("TYPE none", (0, 1)),
        ("TTL s", (1, 0)),
        ("PTTL none", (0, 1)),
        ("EXPIRETIME s", (1, 0)),
        ("PEXPIRETIME none", (0, 1)),
        ("OBJECT ENCODING s", (1, 0)),
        ("OBJECT REFCOUNT none", (0, 1)),
        ("OBJECT IDLETIME s", (1, 0)),
        ("OBJECT FREQ s", (1, 0)),
        ("TOUCH s none", (1, 1)),
        ("DUMP s", (1, 0)),
        ("COPY s copy", (1, 0)),
        ("MEMORY USAGE s", (0, 0)),
        ("EXPIRE s 100", (0, 0)),
        ("PERSIST s", (0, 0)),
        ("RENAME s t", (0, 0)),
        ("DEL none", (0, 0)),
    ] {
        shard.run(line);
        let (hits, misses, _) = shard.databases.keyspace_mut(0).take_counts();
        assert_eq!((hits, misses), expected, "{line}");
    }
}

#[test]
fn a_look_at_a_key_does_not_keep_it_from_growing_idle() {
    let mut shard = shard();
    shard.advance(60_000);
    for line in ["EXISTS s", "TYPE s", "TTL s", "OBJECT ENCODING s"] {
        shard.run(line);
        assert_eq!(shard.run("OBJECT IDLETIME s"), ":60", "{line}");
    }
    shard.run("TOUCH s");
    assert_eq!(shard.run("OBJECT IDLETIME s"), ":0");
}
