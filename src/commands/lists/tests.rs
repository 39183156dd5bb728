//! What one command's reply does not show: encodings, memory, keys that come and go. Replies and errors
//! are in `tests/conformance/lists`.

use crate::commands::testing::Shard;
use crate::commands::{for_each_key, registry, KeyFlags};
use crate::protocol::OwnedArgs;
use crate::store::list::List;
use crate::store::Limits;

fn encoding(shard: &Shard, key: &str) -> Option<&'static str> {
    let keyspace = shard.databases.keyspace(0);
    keyspace.encoding(key.as_bytes(), shard.now)
}

#[test]
fn an_emptied_list_takes_its_key_and_memory_along() {
    let mut shard = Shard::new();
    shard.run("SET warm up");
    let before = shard.databases.keyspace(0).bytes();
    for emptying in [
        "LPOP l 3",
        "RPOP l 5",
        "LTRIM l 1 0",
        "LREM l 0 x",
        "LMPOP 1 l RIGHT COUNT 9",
    ] {
        assert_eq!(shard.run("RPUSH l x x x"), ":3");
        assert!(shard.databases.keyspace(0).bytes() > before);
        shard.run(emptying);
        assert_eq!(encoding(&shard, "l"), None, "{emptying}");
        assert_eq!(shard.databases.keyspace(0).bytes(), before, "{emptying}");
    }
}

#[test]
fn memory_is_counted_through_every_change() {
    let mut shard = Shard::new();
    let long = "y".repeat(5000);
    for i in 0..300 {
        let value = format!("{i:0>60}");
        shard.run_args(["RPUSH", "l", &value]);
        shard.run_args(["LINSERT", "l", "BEFORE", &value, &long]);
    }
    shard.run("LTRIM l 7 -9");
    shard.run("LMOVE l other LEFT RIGHT");
    shard.run_args(["LSET", "l", "0", "short"]);
    shard.run_args(["LREM", "l", "3", &long]);
    let keyspace = shard.databases.keyspace(0);
    let lists = ["l", "other"].map(|key| {
        let list = keyspace.peek_as::<List>(key.as_bytes(), shard.now);
        list.unwrap().unwrap().heap_bytes()
    });
    let counted = keyspace.bytes();
    shard.run("LPOP l 100000");
    let without = shard.databases.keyspace(0).bytes();
    assert!(counted - without >= lists[0] && counted - without < lists[0] + 200);
}

#[test]
fn pushes_of_one_command_decide_the_encoding_together() {
    let mut shard = Shard::new();
    let half = "x".repeat(4100);
    shard.run_args(["RPUSH", "l", &half, &half]);
    assert_eq!(encoding(&shard, "l"), Some("quicklist"));
    shard.run_args(["RPUSH", "m", &half]);
    assert_eq!(encoding(&shard, "m"), Some("listpack"));
    // An insert that finds no pivot has made room all the same, as in Redis.
    assert_eq!(
        shard.run_args(["LINSERT", "m", "BEFORE", "none", &half]),
        ":-1"
    );
    assert_eq!(encoding(&shard, "m"), Some("quicklist"));
    assert_eq!(shard.run("LREM m 1 none"), ":0");
    assert_eq!(encoding(&shard, "m"), Some("quicklist"));
}

#[test]
fn the_setting_for_nodes_is_the_keyspace_s() {
    let mut shard = Shard::new();
    shard.databases.keyspace_mut(0).set_limits(Limits {
        list_max_listpack_size: 2,
        ..Limits::default()
    });
    shard.run("RPUSH l a b");
    assert_eq!(encoding(&shard, "l"), Some("listpack"));
    shard.run("RPUSH l c");
    assert_eq!(encoding(&shard, "l"), Some("quicklist"));
    assert_eq!(shard.run("LRANGE l 0 -1"), "*3 $1 a $1 b $1 c");
}

#[test]
fn long_lists_answer_ranges_from_any_node() {
    let mut shard = Shard::new();
    for i in 0..5000 {
        shard.run(&format!("RPUSH l value:{i:0>40}"));
    }
    assert_eq!(encoding(&shard, "l"), Some("quicklist"));
    for (start, stop, first, count) in [(0, 599, 0, 600), (2400, 2410, 2400, 11), (-3, -1, 4997, 3)]
    {
        let reply = shard.run(&format!("LRANGE l {start} {stop}"));
        let wanted: Vec<_> = (first..first + count)
            .map(|i| format!("$46 value:{i:0>40}"))
            .collect();
        assert_eq!(reply, format!("*{count} {}", wanted.join(" ")));
    }
    assert_eq!(
        shard.run(&format!("LPOS l value:{:0>40} RANK -1", 1234)),
        ":1234"
    );
}

#[test]
fn a_move_between_keys_that_expired_finds_nothing() {
    let mut shard = Shard::new();
    shard.run("RPUSH l a b");
    let now = shard.now;
    shard
        .databases
        .keyspace_mut(0)
        .set_deadline(b"l", Some(now), now);
    shard.advance(1);
    assert_eq!(shard.run("LMOVE l m LEFT LEFT"), "$-1");
    assert_eq!(shard.run("RPUSHX l c"), ":0");
    assert_eq!(shard.run("RPUSH l c"), ":1");
}

#[test]
fn keys_are_where_the_table_says() {
    for (line, wanted) in [
        ("LMOVE a b LEFT RIGHT", vec![(1, true), (2, true)]),
        ("LMPOP 2 a b LEFT COUNT 1", vec![(2, true), (3, true)]),
        ("LMPOP 9 a b LEFT", vec![]),
        ("LRANGE a 0 -1", vec![(1, false)]),
    ] {
        let args = OwnedArgs::new(line.split(' '));
        let found = registry().resolve(&args.as_args()).unwrap();
        let mut keys = Vec::new();
        for_each_key(found.command, &args.as_args(), |at, flags: KeyFlags| {
            keys.push((at, flags.writes()))
        });
        assert_eq!(keys, wanted, "{line}");
    }
}
