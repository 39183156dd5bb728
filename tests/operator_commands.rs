//! The operator's commands as processes against a real node: what they print and how they exit. Clusters of several nodes are tried in
//! `src/server/operate_tests.rs`.

use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const START_MAX: Duration = Duration::from_secs(60);

/// A node alone, which ends with the test.
struct Node {
    process: Child,
    http: String,
    _dir: tempfile::TempDir,
}

impl Node {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (port, http_port) = (free_port().to_string(), free_port().to_string());
        let process = program()
            .args(["serve", "--cluster-port", "0", "--threads", "1"])
            .args(["--requirepass", "hush"])
            .args(["--port", &port, "--http-port", &http_port])
            .arg("--dir")
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the node starts");
        let node = Self {
            process,
            http: format!("127.0.0.1:{http_port}"),
            _dir: dir,
        };
        let ends = Instant::now() + START_MAX;
        while code(&node.run(&["status", "--check"])) != 0 {
            assert!(Instant::now() < ends, "{}", said(&node.run(&["status"])));
            std::thread::sleep(Duration::from_millis(100));
        }
        node
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = program();
        command.args(words).env("RINGFORT_HTTP", &self.http);
        command.env("RINGFORT_PASSWORD", "hush");
        command.output().expect("the command runs")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    free.expect("a free port").port()
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ringfort"))
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
    let node = Node::start();
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
