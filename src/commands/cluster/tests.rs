//! CLUSTER and its kin over a made-up node: what clients see of one node, and of three from any of them.

use std::sync::Arc;

use super::super::testing_host::Connection;
use super::super::Pending;
use super::view::SLOTS;
use super::{ClusterView, SlotRange, ViewNode};
use crate::protocol::Proto;

/// Ids that sort otherwise than the ports do.
const IDS: [char; 3] = ['c', 'a', 'b'];

fn id(number: usize) -> String {
    IDS[number].to_string().repeat(40)
}

/// Three nodes that lead every third of 64 shards, seen by one of them; the last one is down.
fn view_of_three(own: usize) -> Arc<ClusterView> {
    let node = |number: usize| ViewNode {
        id: id(number),
        host: format!("10.0.0.{}", number + 1),
        port: 7379 + number as u16,
        plain_port: 6379,
        peer_port: 16379,
        ranges: (0..64)
            .filter(|shard| *shard as usize % 3 == number || *shard == 63)
            .map(|shard: u16| SlotRange {
                first: shard * 256,
                last: shard * 256 + 255,
            })
            .collect(),
        is_up: number != 2,
    };
    Arc::new(ClusterView::new(9, id(own), (0..3).map(node).collect()))
}

fn connection(own: usize) -> Connection {
    let connection = Connection::new().on_cluster_port();
    connection.host.cluster.replace(view_of_three(own));
    connection
}

fn alone() -> Connection {
    let node = ViewNode {
        id: id(0),
        host: "127.0.0.1".into(),
        port: 7379,
        plain_port: 6379,
        peer_port: 16379,
        ranges: vec![SlotRange {
            first: 0,
            last: SLOTS - 1,
        }],
        is_up: true,
    };
    let connection = Connection::new().on_cluster_port();
    let view = ClusterView::new(1, id(0), vec![node]);
    connection.host.cluster.replace(Arc::new(view));
    connection
}

#[test]
fn one_node_is_a_cluster_of_one() {
    let mut connection = alone();
    let id = id(0);
    assert_eq!(
        connection.run("CLUSTER SLOTS"),
        format!("*1 *3 :0 :16383 *4 $9 127.0.0.1 :7379 $40 {id} *0")
    );
    assert_eq!(
        connection.run("CLUSTER SHARDS"),
        format!(
            "*1 *4 $5 slots *2 :0 :16383 $5 nodes *1 *14 $2 id $40 {id} $4 port :7379 $2 ip $9 127.0.0.1 \
             $8 endpoint $9 127.0.0.1 $4 role $6 master $18 replication-offset :0 $6 health $6 online"
        )
    );
    let nodes = connection.run("CLUSTER NODES");
    let line = format!("{id} 127.0.0.1:7379@16379 myself,master - 0 0 1 connected 0-16383\n");
    assert_eq!(nodes, format!("${} {line}", line.len()));
    let info = connection.run("CLUSTER INFO");
    for field in [
        "cluster_state:ok ",
        "cluster_slots_assigned:16384 ",
        "cluster_slots_ok:16384 ",
        "cluster_slots_fail:0 ",
        "cluster_known_nodes:1 ",
        "cluster_size:1 ",
        "cluster_current_epoch:1 ",
    ] {
        assert!(info.contains(field), "{field}: {info}");
    }
    assert_eq!(connection.run("CLUSTER MYID"), format!("$40 {id}"));
    assert_eq!(connection.run("CLUSTER MYSHARDID"), format!("$40 {id}"));
}

#[test]
fn resp3_has_maps_where_redis_has_them() {
    let mut connection = alone().resp3();
    assert!(connection.run("CLUSTER SLOTS").ends_with(" %0"));
    let shards = connection.run("CLUSTER SHARDS");
    assert!(shards.starts_with("*1 %2 $5 slots *2 "), "{shards}");
    assert!(shards.contains(" $5 nodes *1 %7 $2 id "), "{shards}");
    assert!(connection
        .run("CLUSTER INFO")
        .contains("txt:cluster_state:ok"));
    assert!(connection.run("CLUSTER NODES").contains("txt:"));
}

#[test]
fn every_node_shows_the_same_cluster() {
    for command in ["CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER INFO"] {
        let first = connection(0).run(command);
        assert_eq!(connection(1).run(command), first, "{command}");
        assert_eq!(connection(2).run(command), first, "{command}");
    }
    let nodes = |own| connection(own).run("CLUSTER NODES");
    let without_myself = |own| nodes(own).replace("myself,", "");
    // The length of the text comes first and is the same: one line has the word.
    assert_eq!(without_myself(0), without_myself(1));
    assert_eq!(without_myself(0), without_myself(2));
    for own in 0..3 {
        let mine = format!(
            "{} 10.0.0.{}:{}@16379 myself,master",
            id(own),
            own + 1,
            7379 + own
        );
        assert!(nodes(own).contains(&mine), "{}", nodes(own));
        assert_eq!(nodes(own).matches("myself").count(), 1);
    }
}

#[test]
fn every_slot_stands_in_exactly_one_range() {
    let slots = connection(0).run("CLUSTER SLOTS");
    let numbers: Vec<u32> = slots
        .split(' ')
        .filter_map(|word| word.strip_prefix(':')?.parse().ok())
        .collect();
    // First and last slot, then the port.
    let mut next = 0;
    for range in numbers.chunks(3) {
        assert_eq!(range[0], next);
        assert!(range[1] >= range[0]);
        next = range[1] + 1;
    }
    assert_eq!(next, u32::from(SLOTS));
    // Shard 62 belongs to the last node and all three claim shard 63: the first by id has it.
    assert_eq!(numbers.len() / 3, 64);
    assert!(slots.contains(&format!(":16128 :16383 *4 $8 10.0.0.2 :7380 $40 {}", id(1))));
}

#[test]
fn nodes_has_a_master_a_line_and_slots_at_its_end() {
    let text = connection(1).run("CLUSTER NODES");
    let lines: Vec<&str> = text.trim_end().split('\n').collect();
    assert_eq!(lines.len(), 3);
    for (line, number) in lines.iter().zip([1, 2, 0]) {
        let words: Vec<&str> = line.split(' ').collect();
        // The first line has the length of the text before it.
        let words = &words[words.len() - 8 - ranges_in(line)..];
        assert_eq!(words[0], id(number));
        assert!(!words[1].contains(','), "no extra fields: {line}");
        assert!(
            words[2] == "master" || words[2] == "myself,master",
            "{line}"
        );
        assert_eq!(&words[3..7], ["-", "0", "0", "9"]);
        let link = if number == 2 {
            "disconnected"
        } else {
            "connected"
        };
        assert_eq!(words[7], link);
    }
}

fn ranges_in(line: &str) -> usize {
    let words = line.split(' ').rev();
    words
        .take_while(|word| !word.ends_with("connected"))
        .count()
}

#[test]
fn a_leader_that_is_down_is_shown_and_counted() {
    let info = connection(0).run("CLUSTER INFO");
    // Shards 2, 5, ... 62: 21 of them.
    for field in [
        "cluster_state:fail ",
        "cluster_slots_assigned:16384 ",
        "cluster_slots_ok:11008 ",
        "cluster_slots_fail:5376 ",
        "cluster_known_nodes:3 ",
        "cluster_size:3 ",
        "cluster_my_epoch:9 ",
    ] {
        assert!(info.contains(field), "{field}: {info}");
    }
    let shards = connection(0).run("CLUSTER SHARDS");
    assert_eq!(shards.matches("$6 failed").count(), 1);
    assert_eq!(shards.matches("$6 online").count(), 2);
}

#[test]
fn copies_and_reports_are_none_for_nodes_that_there_are() {
    let mut connection = connection(0);
    for command in ["REPLICAS", "SLAVES", "COUNT-FAILURE-REPORTS"] {
        let known = connection.run(&format!("CLUSTER {command} {}", id(2)));
        let expected = if command.starts_with("COUNT") {
            ":0"
        } else {
            "*0"
        };
        assert_eq!(known, expected);
        let unknown = connection.run(&format!("CLUSTER {command} nobody"));
        assert_eq!(unknown, "-ERR Unknown node nobody");
    }
}

#[test]
fn keys_of_a_slot_are_work_for_the_node() {
    let mut connection = alone();
    assert_eq!(connection.run("CLUSTER COUNTKEYSINSLOT 16383"), "");
    let pending = connection.session.pending.take();
    assert_eq!(pending, Some(Pending::CountKeysInSlot(16_383)));
    assert_eq!(connection.run("CLUSTER GETKEYSINSLOT 7 0"), "");
    let pending = connection.session.pending.take();
    assert_eq!(pending, Some(Pending::KeysInSlot { slot: 7, count: 0 }));
    assert_eq!(connection.run("CLUSTER LINKS"), "");
    let pending = connection.session.pending.take();
    assert_eq!(pending, Some(Pending::Links(Proto::Resp2)));
    let not_integer = "-ERR value is not an integer or out of range";
    for (command, error) in [
        ("COUNTKEYSINSLOT 16384", "-ERR Invalid slot"),
        ("COUNTKEYSINSLOT -1", "-ERR Invalid slot"),
        ("COUNTKEYSINSLOT x", not_integer),
        (
            "GETKEYSINSLOT 16384 1",
            "-ERR Invalid slot or number of keys",
        ),
        ("GETKEYSINSLOT 1 -1", "-ERR Invalid slot or number of keys"),
        ("GETKEYSINSLOT 1 x", not_integer),
    ] {
        assert_eq!(connection.run(&format!("CLUSTER {command}")), error);
        assert_eq!(connection.session.pending, None);
    }
    assert_eq!(connection.run("CLUSTER KEYSLOT abc"), ":3");
}

#[test]
fn orders_to_change_the_cluster_name_ringforts_way() {
    let mut connection = alone();
    for (order, way) in [
        ("ADDSLOTS 1", "--join"),
        ("ADDSLOTSRANGE 1 2", "--join"),
        ("DELSLOTS 1", "--join"),
        ("DELSLOTSRANGE 1 2", "--join"),
        ("FLUSHSLOTS", "--join"),
        ("SETSLOT 1 STABLE", "--join"),
        ("MEET 127.0.0.1 7000", "--join"),
        ("FORGET x", "replaced"),
        ("REPLICATE x", "--replicas"),
        ("FAILOVER", "elects"),
        ("RESET HARD", "empty data directory"),
        ("BUMPEPOCH", "by itself"),
        ("SET-CONFIG-EPOCH 1", "by itself"),
        ("SAVECONFIG", "by itself"),
    ] {
        let reply = connection.run(&format!("CLUSTER {order}"));
        let name = order.split(' ').next().unwrap();
        let start = format!("-ERR CLUSTER {name} is not for clients here: ");
        assert!(reply.starts_with(&start) && reply.contains(way), "{reply}");
    }
}

#[test]
fn mistakes_are_answered_as_redis_does() {
    let mut connection = alone();
    for (command, error) in [
        (
            "CLUSTER FOO",
            "-ERR unknown subcommand 'FOO'. Try CLUSTER HELP.",
        ),
        (
            "CLUSTER",
            "-ERR wrong number of arguments for 'cluster' command",
        ),
        (
            "CLUSTER KEYSLOT",
            "-ERR wrong number of arguments for 'cluster|keyslot' command",
        ),
        (
            "READONLY x",
            "-ERR wrong number of arguments for 'readonly' command",
        ),
    ] {
        assert_eq!(connection.run(command), error);
    }
}

#[test]
fn the_cluster_port_says_that_it_is_one() {
    let mut connection = alone();
    assert!(connection
        .run("HELLO")
        .contains("$4 mode $7 cluster $4 role $6 master"));
    let info = connection.run("INFO server cluster ringfort");
    assert!(info.contains(" redis_mode:cluster "), "{info}");
    assert!(info.contains(" cluster_enabled:1 "), "{info}");
    assert!(info.contains(&format!(" node_id:{} ", id(0))), "{info}");
    assert!(connection
        .run("CONFIG GET cluster-enabled")
        .ends_with("$3 yes"));
    assert_eq!(connection.run("SELECT 0"), "+OK");
    for number in [1, 99, -1] {
        let reply = connection.run(&format!("SELECT {number}"));
        assert_eq!(reply, "-ERR SELECT is not allowed in cluster mode");
    }
}

#[test]
fn a_session_may_read_from_replicas_until_it_says_otherwise() {
    let mut connection = alone();
    assert_eq!(connection.run("READONLY"), "+OK");
    assert!(connection.session.is_readonly);
    assert!(connection.run("CLIENT INFO").contains(" flags=r "));
    assert_eq!(connection.run("READWRITE"), "+OK");
    assert!(!connection.session.is_readonly);
    assert_eq!(connection.run("ASKING"), "+OK");
    connection.run("READONLY");
    assert_eq!(connection.run("RESET"), "+RESET");
    assert!(!connection.session.is_readonly && connection.session.is_cluster);
}

#[test]
fn the_plain_port_names_the_other_one() {
    let mut connection = Connection::new();
    let start = "-ERR This instance has cluster support disabled";
    for command in [
        "CLUSTER INFO",
        "CLUSTER SLOTS",
        "CLUSTER MYID",
        "CLUSTER COUNTKEYSINSLOT 1",
        "CLUSTER ADDSLOTS 1",
        "READONLY",
        "READWRITE",
        "ASKING",
    ] {
        let reply = connection.run(command);
        assert!(
            reply.starts_with(start) && reply.contains("cluster-port 7379"),
            "{command}: {reply}"
        );
    }
    assert_eq!(connection.session.pending, None);
    assert_eq!(connection.run("CLUSTER KEYSLOT abcd"), ":4");
    assert!(connection.run("CLUSTER HELP").contains("KEYSLOT <key>"));
    assert!(connection
        .run("INFO server cluster")
        .contains("redis_mode:standalone"));
    let mut without = Connection::with_flags(&[("cluster-port", "0")]);
    assert!(without
        .run("CLUSTER INFO")
        .contains("there is no cluster-port"));
}
