//! What one command's reply does not show: encodings, memory, scans and draws over tables. Replies and
//! errors are in `tests/conformance/hashes`.

use crate::commands::testing::Shard;
use crate::store::{Hash, Limits};
use std::collections::{HashMap, HashSet};

fn filled(fields: usize) -> Shard {
    let mut shard = Shard::new();
    for i in 0..fields {
        shard.run(&format!("HSET h f{i} v{i}"));
    }
    shard
}

fn encoding(shard: &Shard) -> Option<&'static str> {
    shard.databases.keyspace(0).encoding(b"h", shard.now)
}

/// The bulk strings of a reply, in order.
fn bulks(reply: &str) -> Vec<String> {
    let words: Vec<&str> = reply.split(' ').collect();
    let pairs = words.windows(2).filter(|pair| pair[0].starts_with('$'));
    pairs.map(|pair| pair[1].to_owned()).collect()
}

#[test]
fn a_hash_is_a_table_from_its_129th_field_on() {
    let mut shard = filled(128);
    assert_eq!(encoding(&shard), Some("listpack"));
    shard.run("HSET h f0 again");
    assert_eq!(encoding(&shard), Some("listpack"));
    shard.run("HINCRBY h one-more 1");
    assert_eq!(encoding(&shard), Some("hashtable"));
    for i in 1..128 {
        assert_eq!(
            shard.run(&format!("HGET h f{i}")),
            format!("${} v{i}", 1 + i.to_string().len())
        );
        assert_eq!(shard.run(&format!("HDEL h f{i}")), ":1");
    }
    assert_eq!(encoding(&shard), Some("hashtable"));
    assert_eq!(shard.run("HMGET h f0 one-more"), "*2 $5 again $1 1");
}

#[test]
fn an_emptied_hash_takes_its_key_and_memory_along() {
    for fields in [5, 500] {
        let mut shard = Shard::new();
        shard.run("SET warm up");
        let before = shard.databases.keyspace(0).bytes();
        for i in 0..fields {
            shard.run(&format!("HSET h f{i} v{i}"));
        }
        let hash = shard.databases.keyspace(0).peek_as::<Hash>(b"h", shard.now);
        let held = hash.unwrap().unwrap().heap_bytes();
        assert!(shard.databases.keyspace(0).bytes() >= before + held);
        for i in 0..fields {
            shard.run(&format!("HDEL h f{i} none"));
        }
        assert_eq!(encoding(&shard), None);
        assert_eq!(shard.databases.keyspace(0).bytes(), before);
    }
}

#[test]
fn a_refused_increment_leaves_no_empty_key() {
    let mut shard = Shard::new();
    assert_eq!(
        shard.run("HINCRBYFLOAT h f inf"),
        "-ERR value is NaN or Infinity"
    );
    assert_eq!(
        shard.run("HINCRBY h f 1.5"),
        "-ERR value is not an integer or out of range"
    );
    assert_eq!(encoding(&shard), None);
    shard.run("HSET h text abc");
    shard.run("HINCRBY h text 1");
    assert_eq!(shard.run("HGETALL h"), "*2 $4 text $3 abc");
}

#[test]
fn a_scan_of_a_table_meets_every_field_once_while_nothing_changes() {
    let mut shard = filled(1000);
    let mut seen = Vec::new();
    let mut cursor = "0".to_owned();
    let mut steps = 0;
    loop {
        let reply = bulks(&shard.run(&format!("HSCAN h {cursor} COUNT 30")));
        seen.extend(reply[1..].chunks(2).map(|pair| pair[0].clone()));
        cursor = reply[0].clone();
        steps += 1;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(steps, 34);
    assert_eq!(seen.len(), 1000);
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), 1000);
}

#[test]
fn a_scan_from_a_cursor_nobody_gave_out_ends_too() {
    let mut shard = filled(200);
    for cursor in ["18446744073709551615", "-1", "200", "1"] {
        let reply = bulks(&shard.run(&format!("HSCAN h {cursor} COUNT 1000")));
        assert_eq!(reply[0], "0", "from {cursor}");
    }
    assert_eq!(
        bulks(&shard.run("HSCAN h 0 COUNT 1000 MATCH f19?")).len(),
        1 + 2 * 10
    );
}

#[test]
fn different_fields_are_drawn_evenly_and_never_twice() {
    for fields in [20, 300] {
        let mut shard = filled(fields);
        let mut drawn: HashMap<String, usize> = HashMap::new();
        for _ in 0..2000 {
            let reply = bulks(&shard.run(&format!("HRANDFIELD h {}", fields / 4)));
            assert_eq!(reply.len(), fields / 4);
            assert_eq!(reply.iter().collect::<HashSet<_>>().len(), fields / 4);
            reply
                .into_iter()
                .for_each(|field| *drawn.entry(field).or_default() += 1);
        }
        assert_eq!(drawn.len(), fields);
        assert!(drawn.values().all(|n| (380..620).contains(n)), "{drawn:?}");
    }
}

#[test]
fn drawn_values_belong_to_their_fields() {
    for fields in [20, 300] {
        let mut shard = filled(fields);
        for count in ["7", "-50", "1000"] {
            let reply = bulks(&shard.run(&format!("HRANDFIELD h {count} WITHVALUES")));
            assert!(!reply.is_empty());
            assert!(reply.chunks(2).all(|pair| pair[0][1..] == pair[1][1..]));
        }
        let repeated = bulks(&shard.run("HRANDFIELD h -2000"));
        let different: HashSet<_> = repeated.iter().collect();
        assert_eq!(repeated.len(), 2000);
        assert!(different.len() > fields * 9 / 10);
    }
}

#[test]
fn a_reply_of_repetitions_has_a_bound() {
    let mut shard = Shard::new();
    shard.databases.keyspace_mut(0).set_limits(Limits {
        bulk_len_max: 100_000,
        ..Limits::default()
    });
    shard.run(&format!("HSET h f {}", "v".repeat(1000)));
    assert_eq!(
        shard.run("HRANDFIELD h -100 WITHVALUES"),
        "-ERR value is out of range"
    );
    assert_eq!(
        shard.run("HRANDFIELD h -20000"),
        "-ERR value is out of range"
    );
    assert_eq!(bulks(&shard.run("HRANDFIELD h -10000")).len(), 10_000);
}

#[test]
fn the_same_stamp_draws_the_same_fields() {
    let (mut one, mut other) = (filled(300), filled(300));
    for command in [
        "HRANDFIELD h",
        "HRANDFIELD h 10",
        "HRANDFIELD h -10 WITHVALUES",
    ] {
        assert_eq!(one.run(command), other.run(command));
    }
}
