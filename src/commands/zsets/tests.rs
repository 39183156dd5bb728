//! What conformance files cannot say: chance, order, memory, many members.

use crate::commands::testing::Shard;
use std::collections::BTreeSet;

/// The bulk strings of a reply.
fn bulks(reply: &str) -> Vec<String> {
    let words = reply
        .split(' ')
        .filter(|word| !word.starts_with(['$', '*', '~', ':']));
    words.map(str::to_owned).collect()
}

fn filled(members: usize) -> Shard {
    let mut shard = Shard::new();
    for n in 0..members {
        shard.run(&format!("ZADD z {} m{n}", n * 7919 % members));
    }
    shard
}

#[test]
fn every_form_of_range_agrees_on_many_members() {
    let mut shard = filled(2000);
    let all = bulks(&shard.run("ZRANGE z 0 -1"));
    assert_eq!(all.len(), 2000);
    assert_eq!(bulks(&shard.run("ZRANGEBYSCORE z -inf +inf")), all);
    assert_eq!(bulks(&shard.run("ZRANGE z 100 199")), all[100..200]);
    assert_eq!(bulks(&shard.run("ZRANGEBYSCORE z 100 (200")), all[100..200]);
    let limited = shard.run("ZRANGEBYSCORE z -inf +inf LIMIT 100 100");
    assert_eq!(bulks(&limited), all[100..200]);
    let mut backwards = bulks(&shard.run("ZREVRANGEBYSCORE z (200 100"));
    backwards.reverse();
    assert_eq!(backwards, all[100..200]);
    assert_eq!(shard.run("ZCOUNT z 100 (200"), ":100");
    for rank in [0, 1, 62, 63, 64, 1000, 1999] {
        let member = &all[rank];
        assert_eq!(shard.run(&format!("ZRANK z {member}")), format!(":{rank}"));
        let reversed = format!(":{}", 1999 - rank);
        assert_eq!(shard.run(&format!("ZREVRANK z {member}")), reversed);
    }
}

#[test]
fn the_same_history_picks_the_same_members() {
    for members in [20, 500] {
        let (mut one, mut other) = (filled(members), filled(members));
        for turn in 0..members / 4 {
            for shard in [&mut one, &mut other] {
                shard.run(&format!("ZREM z m{}", turn * 3));
            }
            for line in [
                "ZRANDMEMBER z",
                "ZRANDMEMBER z -3",
                "ZRANDMEMBER z 3",
                "ZSCAN z 0",
            ] {
                assert_eq!(one.run(line), other.run(line));
            }
        }
    }
}

#[test]
fn different_members_are_asked_for_and_given() {
    for members in [30, 500] {
        let mut shard = filled(members);
        for count in [1, 5, members - 1, members, members * 2] {
            let given = bulks(&shard.run(&format!("ZRANDMEMBER z {count}")));
            let different: BTreeSet<_> = given.iter().collect();
            assert_eq!(given.len(), count.min(members));
            assert_eq!(different.len(), given.len());
        }
    }
}

#[test]
fn a_scan_in_steps_shows_each_member_once() {
    let mut shard = filled(500);
    let mut seen = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let reply = bulks(&shard.run(&format!("ZSCAN z {cursor} COUNT 33")));
        cursor.clone_from(&reply[0]);
        seen.extend(reply[1..].iter().step_by(2).cloned());
        if cursor == "0" {
            break;
        }
    }
    let different: BTreeSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), different.len()), (500, 500));
}

#[test]
fn a_key_gives_all_its_memory_back() {
    let mut shard = Shard::new();
    // The first key brings the table, which stays.
    shard.run("ZADD z 1 a");
    shard.run("ZREM z a");
    let empty = shard.databases.bytes();
    for n in 0..1000 {
        shard.run(&format!("ZADD z {n} m{n}"));
    }
    assert!(shard.databases.bytes() > empty + 50_000);
    shard.run("ZUNIONSTORE u 1 z");
    shard.run("ZRANGESTORE r z 0 99");
    shard.run("ZREMRANGEBYRANK z 0 499");
    shard.run("ZREMRANGEBYSCORE z 500 749");
    shard.run("ZPOPMAX z 100000");
    shard.run("ZDIFFSTORE u 2 u u");
    shard.run("ZMPOP 2 z r MIN COUNT 1000");
    assert_eq!(shard.databases.bytes(), empty);
}

#[test]
fn sums_are_rounded_in_the_order_of_redis() {
    // The smallest input is added up first, whatever the order of the keys.
    let mut shard = Shard::new();
    shard.run("ZADD big 1e16 m 0 a 0 b");
    shard.run("ZADD middle 1 m 0 a");
    shard.run("ZADD small 1 m");
    let sum = "$17 10000000000000002";
    for keys in ["big middle small", "small big middle"] {
        let reply = shard.run(&format!("ZINTER 3 {keys} WITHSCORES"));
        assert_eq!(reply, format!("*2 $1 m {sum}"));
        let reply = shard.run(&format!("ZUNION 3 {keys} WITHSCORES"));
        assert!(reply.ends_with(sum), "{reply}");
    }
}

#[test]
fn an_increment_that_has_no_result_changes_nothing() {
    let mut shard = Shard::new();
    shard.run("ZADD z inf m");
    let error = "-ERR resulting score is not a number (NaN)";
    assert_eq!(shard.run("ZINCRBY z -inf m"), error);
    assert_eq!(shard.run("ZADD z INCR -inf m"), error);
    assert_eq!(shard.run("ZSCORE z m"), "$3 inf");
    assert_eq!(
        shard.run("ZINCRBY fresh nan m"),
        "-ERR value is not a valid float"
    );
    assert_eq!(shard.run("ZCARD fresh"), ":0");
}

#[test]
fn expired_sorted_sets_are_no_inputs() {
    let mut shard = filled(3);
    let deadline = crate::store::Timestamp(shard.now.0 + 10);
    let now = shard.now;
    let keyspace = shard.databases.keyspace_mut(0);
    assert!(keyspace.set_deadline(b"z", Some(deadline), now));
    assert_eq!(shard.run("ZINTERCARD 1 z"), ":3");
    shard.advance(11);
    assert_eq!(shard.run("ZINTERCARD 1 z"), ":0");
    assert_eq!(shard.run("ZADD z XX 1 m1"), ":0");
    assert_eq!(shard.run("ZPOPMIN z"), "*0");
    assert_eq!(shard.run("ZADD z 1 new"), ":1");
    assert_eq!(shard.run("ZRANGE z 0 -1"), "*1 $3 new");
}
