//! The operator's commands as processes against a real node: what they print and how they exit. Clusters of several nodes are tried in
//! `src/server/operate_tests.rs`.

mod support;

use std::io::{BufRead, Write};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use support::{free_port, Connection, Node, START_MAX};

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
