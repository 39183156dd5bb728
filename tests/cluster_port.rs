//! The cluster port of a real node, seen as a cluster-aware client sees it: raw RESP, no client library.

mod support;

use std::collections::{BTreeSet, HashSet};
use std::io::{BufRead, Read, Write};

use support::connection::{connect_to, Connection};
use support::ports::free_port;
use support::Node;

/// More than there are shards and workers, so that all of them get some.
const KEYS: usize = 3_000;

struct Cluster {
    node: Node,
    port: u16,
}

impl Cluster {
    fn start(flags: &[&str]) -> Self {
        let port = free_port();
        let text = port.to_string();
        let node = Node::start(&[&["--threads", "2", "--cluster-port", &text], flags].concat());
        Self { node, port }
    }

    fn connect(&self) -> Connection {
        connect_to(self.port)
    }
}

fn send(connection: &mut Connection, line: &str) {
    let stream = connection.0.get_mut();
    stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
}

/// Sends one inline command; its reply, header lines and values one an element.
fn ask(connection: &mut Connection, line: &str) -> Vec<String> {
    send(connection, line);
    reply(connection)
}

fn reply(connection: &mut Connection) -> Vec<String> {
    let mut header = String::new();
    connection.0.read_line(&mut header).expect("a reply");
    let header = header.trim_end().to_string();
    let count = || header[1..].parse::<usize>().expect("a length");
    match header.as_bytes()[0] {
        b'$' => {
            let mut bytes = vec![0; count() + 2];
            connection.0.read_exact(&mut bytes).expect("a value");
            bytes.truncate(bytes.len() - 2);
            vec![String::from_utf8(bytes).expect("text")]
        }
        b'*' => {
            let count = count();
            let elements = (0..count).flat_map(|_| reply(connection));
            let elements: Vec<String> = elements.collect();
            [vec![header], elements].concat()
        }
        _ => vec![header],
    }
}

fn one(connection: &mut Connection, line: &str) -> String {
    ask(connection, line).concat()
}

fn number(connection: &mut Connection, line: &str) -> usize {
    let reply = one(connection, line);
    let digits = reply
        .strip_prefix(':')
        .unwrap_or_else(|| panic!("{line}: {reply}"));
    digits.parse().expect("a number")
}

#[test]
fn a_node_alone_serves_every_key_and_moves_none() {
    let cluster = Cluster::start(&[]);
    let mut connection = cluster.connect();
    for key in 0..KEYS {
        send(&mut connection, &format!("SET key:{key} {key}"));
        send(&mut connection, &format!("GET key:{key}"));
    }
    for key in 0..KEYS {
        assert_eq!(reply(&mut connection), ["+OK"]);
        assert_eq!(reply(&mut connection), [key.to_string()]);
    }
    assert_eq!(number(&mut connection, "DBSIZE"), KEYS);
    let mut plain = cluster.node.connect();
    assert_eq!(number(&mut plain, "DBSIZE"), KEYS);
    assert_eq!(one(&mut plain, "GET key:7"), "7");
}

#[test]
fn keys_of_several_slots_are_refused_here_and_served_on_the_plain_port() {
    let cluster = Cluster::start(&[]);
    let mut connection = cluster.connect();
    let cross = "-CROSSSLOT Keys in request don't hash to the same slot";
    for command in [
        "MSET foo 1 bar 2",
        "MGET foo bar",
        "DEL foo bar",
        "RENAME foo bar",
    ] {
        assert_eq!(one(&mut connection, command), cross, "{command}");
    }
    assert_eq!(one(&mut connection, "MSET {k}foo 1 {k}bar 2"), "+OK");
    assert_eq!(
        one(&mut connection, "SELECT 1"),
        "-ERR SELECT is not allowed in cluster mode"
    );
    let mut plain = cluster.node.connect();
    assert_eq!(one(&mut plain, "MSET foo 1 bar 2"), "+OK");
    assert_eq!(one(&mut plain, "SELECT 1"), "+OK");
    let disabled = one(&mut plain, "CLUSTER SLOTS");
    assert!(disabled.starts_with("-ERR This instance has cluster support disabled"));
    assert!(disabled.ends_with(&cluster.port.to_string()), "{disabled}");
}

#[test]
fn slots_shards_and_nodes_agree_and_cover_every_slot_once() {
    let cluster = Cluster::start(&[]);
    let mut connection = cluster.connect();
    let id = one(&mut connection, "CLUSTER MYID");
    assert_eq!(id.len(), 40);
    let port = format!(":{}", cluster.port);
    let slots = ask(&mut connection, "CLUSTER SLOTS");
    let host = "127.0.0.1";
    assert_eq!(
        slots,
        ["*1", "*3", ":0", ":16383", "*4", host, &port, &id, "*0"]
    );
    let shards = ask(&mut connection, "CLUSTER SHARDS");
    assert_eq!(shards[..6], ["*1", "*4", "slots", "*2", ":0", ":16383"]);
    assert!(shards.contains(&id) && shards.contains(&port) && shards.contains(&"master".into()));
    let nodes = one(&mut connection, "CLUSTER NODES");
    let start = format!("{id} {host}:{}@", cluster.port);
    assert!(nodes.starts_with(&start), "{nodes}");
    assert!(
        nodes.ends_with(" myself,master - 0 0 1 connected 0-16383\n"),
        "{nodes}"
    );
    let info = one(&mut connection, "CLUSTER INFO");
    assert!(
        info.starts_with("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n"),
        "{info}"
    );
    let info = one(&mut connection, "INFO");
    assert!(info.contains(&format!("\r\nnode_id:{id}\r\n")), "{info}");
    assert!(
        info.contains(&format!("\r\ntcp_port:{}\r\n", cluster.port)),
        "{info}"
    );
}

#[test]
fn the_keys_of_all_slots_are_all_keys() {
    let cluster = Cluster::start(&[]);
    let mut connection = cluster.connect();
    for key in 0..KEYS {
        send(&mut connection, &format!("SET key:{key} x"));
    }
    (0..KEYS).for_each(|_| assert_eq!(reply(&mut connection), ["+OK"]));
    (0..KEYS).for_each(|key| send(&mut connection, &format!("CLUSTER KEYSLOT key:{key}")));
    let slots: BTreeSet<String> = (0..KEYS).flat_map(|_| reply(&mut connection)).collect();
    // In one pipeline: each answer waits for its walk and comes in order.
    for slot in &slots {
        send(
            &mut connection,
            &format!("CLUSTER COUNTKEYSINSLOT {}", &slot[1..]),
        );
    }
    let counts = slots.iter().map(|slot| {
        let count = reply(&mut connection).concat();
        (
            slot[1..].parse().expect("a slot"),
            count[1..].parse().expect("a count"),
        )
    });
    let counts: Vec<(usize, usize)> = counts.collect();
    assert_eq!(counts.iter().map(|(_, count)| count).sum::<usize>(), KEYS);
    let mut seen = HashSet::new();
    for (slot, count) in counts {
        let keys = ask(
            &mut connection,
            &format!("CLUSTER GETKEYSINSLOT {slot} 100"),
        );
        assert_eq!(keys.len() - 1, count, "slot {slot}");
        for key in &keys[1..] {
            assert_eq!(
                number(&mut connection, &format!("CLUSTER KEYSLOT {key}")),
                slot
            );
            assert!(seen.insert(key.clone()), "{key} twice");
        }
    }
    assert_eq!(seen.len(), KEYS);
}

#[test]
fn what_is_announced_is_what_clients_are_told() {
    let flags = [
        "--announce-host",
        "a.example",
        "--announce-cluster-port",
        "30001",
    ];
    let cluster = Cluster::start(&flags);
    let mut connection = cluster.connect();
    let slots = ask(&mut connection, "CLUSTER SLOTS");
    assert_eq!(slots[5..7], ["a.example", ":30001"]);
    let nodes = one(&mut connection, "CLUSTER NODES");
    assert!(nodes.contains(" a.example:30001@"), "{nodes}");
}
