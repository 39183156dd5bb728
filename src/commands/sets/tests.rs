//! What conformance files cannot say: chance, order, memory.

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
        shard.run(&format!("SADD s m{n}"));
    }
    shard
}

#[test]
fn the_same_history_pops_the_same_members() {
    for members in [20, 500] {
        let (mut one, mut other) = (filled(members), filled(members));
        for turn in 0..members / 4 {
            for shard in [&mut one, &mut other] {
                shard.run(&format!("SREM s m{}", turn * 3));
            }
            assert_eq!(one.run("SPOP s"), other.run("SPOP s"));
            assert_eq!(one.run("SRANDMEMBER s -3"), other.run("SRANDMEMBER s -3"));
        }
    }
}

#[test]
fn popping_takes_each_member_once() {
    for members in [30, 500] {
        let mut shard = filled(members);
        let mut popped = Vec::new();
        popped.extend(bulks(&shard.run("SPOP s 7")));
        popped.extend(bulks(&shard.run("SPOP s")));
        assert_eq!(shard.run("SCARD s"), format!(":{}", members - 8));
        popped.extend(bulks(&shard.run("SPOP s 100000")));
        assert_eq!(shard.run("SCARD s"), ":0");
        let different: BTreeSet<_> = popped.iter().collect();
        assert_eq!((popped.len(), different.len()), (members, members));
    }
}

#[test]
fn different_members_are_asked_for_and_given() {
    for members in [30, 500] {
        let mut shard = filled(members);
        for count in [1, 5, members - 1, members, members * 2] {
            let given = bulks(&shard.run(&format!("SRANDMEMBER s {count}")));
            let different: BTreeSet<_> = given.iter().collect();
            assert_eq!(given.len(), count.min(members));
            assert_eq!(different.len(), given.len());
        }
    }
}

#[test]
fn a_key_gives_all_its_memory_back() {
    let mut shard = Shard::new();
    // The first key brings the table, which stays.
    shard.run("SADD s a");
    shard.run("SREM s a");
    let empty = shard.databases.bytes();
    for n in 0..1000 {
        shard.run(&format!("SADD s m{n}"));
        shard.run(&format!("SADD n {n}"));
    }
    assert!(shard.databases.bytes() > empty + 20_000);
    for n in 0..1000 {
        shard.run(&format!("SREM s m{n}"));
        shard.run(&format!("SREM n {n}"));
    }
    assert_eq!(shard.run("SCARD s"), ":0");
    shard.run("SADD a 1 2 3");
    shard.run("SUNIONSTORE b a");
    shard.run("SPOP a 3");
    shard.run("SDIFFSTORE b b b");
    assert_eq!(shard.databases.bytes(), empty);
}

#[test]
fn a_stored_set_has_the_order_in_which_it_grew() {
    let (mut one, mut other) = (filled(300), filled(300));
    for shard in [&mut one, &mut other] {
        shard.run("SADD t m5 m299 x y m1");
        shard.run("SUNIONSTORE u t s");
        shard.run("SINTERSTORE i s t");
        shard.run("SDIFFSTORE d s t");
    }
    for key in ["u", "i", "d"] {
        let line = format!("SMEMBERS {key}");
        assert_eq!(one.run(&line), other.run(&line));
    }
    assert_eq!(bulks(&one.run("SMEMBERS u"))[..3], ["m5", "m299", "x"]);
}

#[test]
fn expired_sets_are_no_inputs() {
    let mut shard = filled(3);
    let deadline = crate::store::Timestamp(shard.now.0 + 10);
    let now = shard.now;
    let keyspace = shard.databases.keyspace_mut(0);
    assert!(keyspace.set_deadline(b"s", Some(deadline), now));
    shard.run("SADD t m1");
    assert_eq!(shard.run("SINTER s t"), "*1 $2 m1");
    shard.advance(11);
    assert_eq!(shard.run("SINTER s t"), "*0");
    assert_eq!(shard.run("SMOVE s t m1"), ":0");
    assert_eq!(shard.run("SADD s new"), ":1");
    assert_eq!(shard.run("SMEMBERS s"), "*1 $3 new");
}
