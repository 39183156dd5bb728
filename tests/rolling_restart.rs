//! A cluster of real nodes under load whose nodes are stopped and started one after another, as for an upgrade: whoever writes through
//! the others hears of no error, and nothing is done twice. One of the nodes holds no shard, so that all it is asked it asks others.

#[path = "support/connection.rs"]
mod connection;
#[path = "support/ports.rs"]
mod ports;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use connection::connect_to;
use ports::free_port;

/// Three that hold the shards, and one that holds none.
const NODES: usize = 4;
const VOTES: [u64; NODES] = [0, 8, 8, 8];
const CLIENTS_OF_EACH: usize = 3;
/// How many commands a client sends together.
const TOGETHER: u64 = 4;
/// For whatever a cluster must come to: so long that a slow machine is no failure.
const PATIENCE: Duration = Duration::from_secs(120);
/// Looks for that, ten a second.
const LOOKS_MAX: u32 = 1_200;
/// For an answer by HTTP.
const HTTP_MAX: Duration = Duration::from_secs(5);

struct Node {
    flags: Vec<String>,
    port: u16,
    http_port: u16,
    dir: tempfile::TempDir,
    process: Option<Child>,
}

impl Node {
    fn new(peer_port: u16, join: &str, weight: &str) -> Self {
        let (port, http_port) = (free_port(), free_port());
        let ports = [
            ("port", port),
            ("http-port", http_port),
            ("peer-port", peer_port),
            ("cluster-port", 0),
        ];
        let ports = ports.map(|(name, port)| (name, port.to_string()));
        let rest = [
            ("join", join),
            ("bootstrap-expect", "3"),
            ("shards", "8"),
            ("threads", "1"),
            ("weight", weight),
            ("unavailable-wait-ms", "5000"),
        ];
        let rest = rest.map(|(name, value)| (name, value.to_string()));
        let flags = ports.into_iter().chain(rest);
        let flags = flags.flat_map(|(name, value)| [format!("--{name}"), value]);
        let mut node = Self {
            flags: flags.collect(),
            port,
            http_port,
            dir: tempfile::tempdir().expect("a directory"),
            process: None,
        };
        node.start();
        node
    }

    fn start(&mut self) {
        let log = self.dir.path().join("log");
        let log = File::options().create(true).append(true).open(log);
        let process = Command::new(env!("CARGO_BIN_EXE_ringfort"))
            .arg("serve")
            .args(&self.flags)
            .arg("--dir")
            .arg(self.dir.path().join("data"))
            .stdout(Stdio::null())
            .stderr(log.expect("a file for its log"))
            .spawn();
        self.process = Some(process.expect("the node starts"));
    }

    /// As a service manager does it.
    fn stop(&mut self) {
        let mut process = self.process.take().expect("it runs");
        let killed = Command::new("kill").arg(process.id().to_string()).status();
        assert!(killed.expect("kill").success());
        assert!(process.wait().expect("it ends").success());
    }

    /// What its HTTP port answers, where it does.
    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http_port)).ok()?;
        stream.set_read_timeout(Some(HTTP_MAX)).ok()?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(answer)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("log"));
            eprintln!(
                "--- node at port {}:\n{}",
                self.port,
                log.unwrap_or_default()
            );
        }
    }
}

/// Whether the cluster is whole, as the node that is asked hears it: all nodes are up, and have votes in so many shards.
fn is_whole(asked: &Node, expected: &[u64]) -> bool {
    let answer = asked.get("/v1/cluster").unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let Ok(view) = serde_json::from_str::<serde_json::Value>(body) else {
        return false;
    };
    let nodes = view["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let mut votes: Vec<u64> = nodes
        .iter()
        .filter_map(|node| node["votes"].as_u64())
        .collect();
    votes.sort_unstable();
    let is_zero = |what: &serde_json::Value| what.as_u64() == Some(0);
    votes == expected
        && nodes.iter().all(|node| node["state"] == "up")
        && view["problems"].as_array().is_some_and(Vec::is_empty)
        && is_zero(&view["shards_short"])
        && is_zero(&view["shards_without_leader"])
        && is_zero(&view["moves"]["copying"])
        && is_zero(&view["moves"]["waiting"])
}

/// Looks are counted, not time: a pause of the machine is no failure.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..LOOKS_MAX {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("waited in vain until {what}");
}

/// A line of a reply, or nothing where the connection has ended.
fn line(connection: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let is_there = connection.read_line(&mut line).is_ok_and(|bytes| bytes > 0);
    is_there.then(|| line.trim_end().to_string())
}

/// Counts up until told to stop, or until the node takes leave. Returns how far the replies came.
fn count_up(connection: &mut BufReader<TcpStream>, key: &str, from: u64, stop: &AtomicBool) -> u64 {
    let commands = format!("INCR {key}\r\n").repeat(TOGETHER as usize);
    let mut count = from;
    while !stop.load(Relaxed) && connection.get_mut().write_all(commands.as_bytes()).is_ok() {
        for nth in 0..TOGETHER {
            let Some(reply) = line(connection) else {
                assert_eq!(nth, 0, "{key}: some of what was sent together was answered");
                return count;
            };
            count += 1;
            assert_eq!(reply, format!(":{count}"), "{key}");
        }
    }
    count
}

/// Counts up by way of one node, over all its lives.
fn count_for_ever(port: u16, key: &str, stop: &AtomicBool) -> u64 {
    let mut count = 0;
    while !stop.load(Relaxed) {
        let mut connection = connect_to(port).0;
        let timeout = connection.get_ref().set_read_timeout(Some(PATIENCE));
        timeout.expect("a time limit");
        // A node that is about to end may still let somebody in, and closes without a word.
        let asked = connection
            .get_mut()
            .write_all(format!("INCRBY {key} 0\r\n").as_bytes());
        let Some(found) = asked.ok().and_then(|()| line(&mut connection)) else {
            continue;
        };
        assert_eq!(
            found,
            format!(":{count}"),
            "{key}: nothing was lost or done twice"
        );
        count = count_up(&mut connection, key, count, stop);
    }
    count
}

fn counting(nodes: &[Node], stop: &Arc<AtomicBool>) -> Vec<JoinHandle<u64>> {
    let clients = (0..NODES * CLIENTS_OF_EACH).map(|number| {
        let (port, stop) = (nodes[number % NODES].port, stop.clone());
        std::thread::spawn(move || count_for_ever(port, &format!("count:{number}"), &stop))
    });
    clients.collect()
}

#[test]
fn whoever_writes_while_each_node_is_started_anew_hears_of_no_error() {
    let peer_ports: Vec<u16> = (0..NODES).map(|_| free_port()).collect();
    let join: Vec<String> = peer_ports
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    let weights = ["100", "100", "100", "1"];
    let start = |(port, weight): (&u16, _)| Node::new(*port, &join.join(","), weight);
    let mut all = peer_ports.iter().zip(weights);
    let mut nodes: Vec<Node> = all.by_ref().take(NODES - 1).map(start).collect();
    until("there is a cluster", || is_whole(&nodes[0], &[8, 8, 8]));
    nodes.extend(all.map(start));
    until("the cluster is whole", || is_whole(&nodes[0], &VOTES));
    let stop = Arc::new(AtomicBool::new(false));
    let clients = counting(&nodes, &stop);
    for node in &mut nodes {
        std::thread::sleep(Duration::from_millis(500));
        node.stop();
        // The others notice that it is gone, as they do in an upgrade.
        std::thread::sleep(Duration::from_millis(300));
        node.start();
        until("the cluster is whole again", || is_whole(node, &VOTES));
        let failed = clients.iter().any(JoinHandle::is_finished);
        assert!(!failed, "a client has ended: its panic says why");
    }
    stop.store(true, Relaxed);
    for client in clients {
        assert!(client.join().expect("no error") > 0);
    }
}
