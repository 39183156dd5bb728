//! The operator's commands as processes against real nodes: what they print and how they exit. What clusters do is tried in
//! `src/server/operate_tests.rs`.

mod support;

use std::io::{BufRead, Write};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use support::connection::{Connection, START_MAX};
use support::ports::free_port;
use support::Node;

/// A node alone, and where its operator asks it.
struct Alone {
    node: Node,
    http: String,
}

impl Alone {
    /// With these flags too.
    fn start(flags: &[&str]) -> Self {
        let http_port = free_port().to_string();
        let usual = ["--http-port", &http_port, "--threads", "1"];
        let alone = Self {
            node: Node::start(&[&usual[..], &["--requirepass", "hush"], flags].concat()),
            http: format!("127.0.0.1:{http_port}"),
        };
        let ends = Instant::now() + START_MAX;
        while code(&alone.run(&["status", "--check"])) != 0 {
            assert!(Instant::now() < ends, "{}", said(&alone.run(&["status"])));
            std::thread::sleep(Duration::from_millis(100));
        }
        alone
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = program();
        command.args(words).env("RINGFORT_HTTP", &self.http);
        command.env("RINGFORT_PASSWORD", "hush");
        command.output().expect("the command runs")
    }
}

/// Three nodes that have formed a cluster.
struct Three {
    dir: tempfile::TempDir,
    ports: [[u16; 3]; 3],
    nodes: Vec<Node>,
}

const CLUSTER_MAX: Duration = Duration::from_secs(90);

impl Three {
    fn start() -> Self {
        let mut all = Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
            ports: [[(); 3]; 3].map(|of_node| of_node.map(|()| free_port())),
            nodes: Vec::new(),
        };
        all.nodes = (0..3).map(|number| all.node(number)).collect();
        all.await_well(3);
        all
    }

    fn node(&self, number: usize) -> Node {
        let dir = self.dir.path().join(number.to_string());
        let peers = self.ports.map(|[_, peer, _]| format!("127.0.0.1:{peer}"));
        let [port, peer, http] = self.ports[number].map(|port| port.to_string());
        let flags = ["--peer-port", &peer, "--http-port", &http];
        let usual = ["--threads", "1", "--shards", "4"];
        let forming = ["--bootstrap-expect", "3", "--join", &peers.join(",")];
        let port = port.parse().expect("a port");
        Node::start_in(&dir, port, &[&flags[..], &usual, &forming].concat())
    }

    fn run(&self, words: &[&str]) -> Output {
        let http = self.ports.map(|[_, _, http]| format!("127.0.0.1:{http}"));
        let mut command = program();
        command.args(words).env("RINGFORT_HTTP", http.join(","));
        command.output().expect("the command runs")
    }

    /// Until so many nodes are there and nothing is wrong.
    fn await_well(&self, nodes: usize) {
        let ends = Instant::now() + CLUSTER_MAX;
        loop {
            let status = self.run(&["status", "--check"]);
            let is_whole = said(&status).contains(&format!("{nodes} nodes, 4 shards"));
            if is_whole && code(&status) == 0 {
                return;
            }
            assert!(Instant::now() < ends, "{}", said(&status));
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn does(&self, words: &[&str], expected: &str) {
        let done = self.run(words);
        assert_eq!(code(&done), 0, "{words:?}: {}", said(&done));
        assert!(said(&done).contains(expected), "{}", said(&done));
    }

    fn address(&self, number: usize) -> String {
        format!("127.0.0.1:{}", self.ports[number][0])
    }

    /// The beginning of its id, as it is shown.
    fn id(&self, number: usize) -> String {
        let shown = said(&self.run(&["node", "list"]));
        let line = shown
            .lines()
            .find(|line| line.contains(&self.address(number)));
        line.expect(&shown)[..8].to_owned()
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ringfort"))
}

/// The first line of what a node answers to a command.
fn ask(connection: &mut Connection, command: &str) -> String {
    let stream = connection.0.get_mut();
    let sent = stream.write_all(format!("{command}\r\n").as_bytes());
    sent.expect("the node takes it");
    let mut line = String::new();
    connection.0.read_line(&mut line).expect("the node answers");
    line.trim_end().to_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

/// Both outputs.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[test]
fn a_node_alone_answers_its_operator() {
    // It goes without a peer port where that one is taken.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = listener.local_addr().expect("a port").port().to_string();
    let node = Alone::start(&["--peer-port", &taken]);
    let mut client = node.node.connect();
    assert_eq!(ask(&mut client, "AUTH hush"), "+OK");
    assert_eq!(ask(&mut client, "SET key value"), "+OK");
    let status = said(&node.run(&["status"]));
    assert!(status.contains("1 node, 64 shards"), "{status}");
    let id = status
        .lines()
        .last()
        .and_then(|line| line.get(..8))
        .unwrap();
    let shown = node.run(&["node", "show", id, "-o", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(json["leads"], 64);
    assert_eq!(json["peer_port"], serde_json::Value::Null);
    assert_eq!(said(&node.run(&["shards"])).lines().count(), 65);
    assert_eq!(code(&node.run(&["plan", "add", "--count", "2"])), 0);

    // It is the last one, and refuses to go.
    let removal = node.run(&["node", "remove", id]);
    assert_eq!(code(&removal), 1, "{}", said(&removal));
    assert_eq!(code(&node.run(&["shards", "64"])), 1);
    assert_eq!(code(&node.run(&["top"])), 2);
    let gone = node.run(&["status", "--http", "127.0.0.1:1"]);
    assert_eq!(code(&gone), 3, "{}", said(&gone));

    let stranger = program()
        .args(["status", "--http", &node.http])
        .output()
        .expect("the command runs");
    assert_eq!(code(&stranger), 1);
    assert!(said(&stranger).contains("asks for a password"));
}

#[test]
fn a_node_is_drained_taken_back_and_removed_for_good() {
    let mut all = Three::start();
    let (second, third) = (all.id(1), all.id(2));
    all.does(&["shard", "transfer", "0", &second], "shard 0 is led");
    let refused = all.run(&["node", "drain", &third]);
    assert_eq!(code(&refused), 1, "{}", said(&refused));
    all.does(&["node", "drain", &third, "--force"], "holds nothing");
    all.does(&["node", "undrain", &all.address(2)], "takes its share");
    all.does(&["node", "undrain", &third], "does not drain");
    all.await_well(3);
    all.does(&["verify"], "4 shards have equal copies");
    all.does(&["node", "remove", &third, "--force"], "is removed");
    all.does(&["node", "remove", &third, "--force"], "was removed before");
    all.await_well(2);

    drop(all.nodes.pop());
    let mut again = all.node(2);
    let ended = again.process.wait().expect("it ends");
    assert_eq!(ended.code(), Some(3), "no node that was removed comes back");
}

#[test]
fn a_cluster_goes_on_without_most_of_its_nodes_when_its_operator_accepts_the_loss() {
    let mut all = Three::start();
    let mut client = all.nodes[0].connect();
    assert_eq!(ask(&mut client, "SET key value"), "+OK");
    let lost = format!("{},{}", all.id(1), all.id(2));
    all.nodes.truncate(1);
    let dry = all.run(&["recover", "--lost", &lost]);
    assert_eq!(code(&dry), 2, "{}", said(&dry));
    assert!(said(&dry).contains("--accept-data-loss"), "{}", said(&dry));
    let recover = ["recover", "--lost", &lost, "--accept-data-loss"];
    all.does(&recover, "The cluster goes on without");
    // Who does not know whether it was done says it again, in the same words.
    let again = all.run(&recover);
    assert_eq!(code(&again), 1, "{}", said(&again));
    assert!(said(&again).contains("nothing is to be recovered"));
    let ends = Instant::now() + CLUSTER_MAX;
    while ask(&mut client, "GET key") != "$5" {
        assert!(Instant::now() < ends, "it is not served");
        std::thread::sleep(Duration::from_millis(100));
        client = all.nodes[0].connect();
    }
    all.does(&["status", "--check"], "1 node, 4 shards");
}
