//! `ringfort demo`: a cluster of several nodes on this machine, in one go, for trying out. Every node is a process of this program; all end
//! with it. Knows of nodes no more than their flags.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use clap::{value_parser, Arg, ArgMatches};

/// Nodes of one demo. More would only fight for the cores.
pub const NODES_MAX: u16 = 16;
/// How long the nodes may take until they form a cluster.
const READY_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a node may take to end before it is killed.
const END_WITHIN: Duration = Duration::from_secs(20);
/// From a node's first port to the next node's.
const PORT_STEP: u16 = 1;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demo {
    pub nodes: u16,
    /// Clients' port of the first node; the others follow.
    pub port: u16,
    /// Where the nodes keep their data; a temporary directory, removed at the end, without it.
    pub dir: Option<PathBuf>,
}

pub(super) fn command() -> clap::Command {
    clap::Command::new("demo")
        .about("Run a cluster of several nodes on this machine, to try it out; Ctrl-C ends it")
        .arg(
            Arg::new("nodes")
                .long("nodes")
                .value_name("NUMBER")
                .value_parser(value_parser!(u16).range(1..=i64::from(NODES_MAX)))
                .default_value("3")
                .help("How many"),
        )
        .arg(
            Arg::new("port")
                .long("port")
                .value_name("PORT")
                .value_parser(value_parser!(u16).range(1024..=50_000))
                .default_value("6379")
                .help("Port for Redis clients of the first node; the others follow by ones"),
        )
        .arg(
            Arg::new("dir")
                .long("dir")
                .value_name("DIRECTORY")
                .value_parser(value_parser!(PathBuf))
                .help("Keep the data here, for another demo [default: a temporary directory]"),
        )
        .after_help("Example:\n  ringfort demo --nodes 3\n  redis-cli -p 6380 SET key value")
}

impl Demo {
    pub(super) fn from_matches(matches: &ArgMatches) -> Self {
        let number = |name| *matches.get_one::<u16>(name).expect("it has a default");
        Self {
            nodes: number("nodes"),
            port: number("port"),
            dir: matches.get_one::<PathBuf>("dir").cloned(),
        }
    }

    /// Clients' port of a node.
    fn client_port(&self, node: u16) -> u16 {
        self.port + node * PORT_STEP
    }

    fn cluster_port(&self, node: u16) -> u16 {
        self.client_port(node) + 1000
    }

    fn http_port(&self, node: u16) -> u16 {
        self.client_port(node) + 2000
    }

    fn peer_port(&self, node: u16) -> u16 {
        self.client_port(node) + 10_000
    }

    fn flags(&self, node: u16, dir: &Path) -> Vec<String> {
        let mut flags = vec![
            ("port", self.client_port(node).to_string()),
            ("cluster-port", self.cluster_port(node).to_string()),
            ("http-port", self.http_port(node).to_string()),
            ("peer-port", self.peer_port(node).to_string()),
            (
                "dir",
                dir.join(format!("node-{}", node + 1)).display().to_string(),
            ),
            ("log-level", "warn".to_string()),
            ("threads", "1".to_string()),
        ];
        if self.nodes > 1 {
            let peers: Vec<String> = (0..self.nodes)
                .map(|peer| format!("127.0.0.1:{}", self.peer_port(peer)))
                .collect();
            flags.push(("join", peers.join(",")));
            flags.push(("bootstrap-expect", self.nodes.to_string()));
        }
        let mut args = vec!["serve".to_string()];
        for (name, value) in flags {
            args.extend([format!("--{name}"), value]);
        }
        args
    }
}

/// The nodes' processes. Dropped, they end.
struct Nodes(Vec<Child>);

impl Nodes {
    fn start(demo: &Demo, program: &Path, dir: &Path) -> std::io::Result<Self> {
        let mut nodes = Self(Vec::new());
        for node in 0..demo.nodes {
            let mut command = Command::new(program);
            command
                .args(demo.flags(node, dir))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped());
            // What this process was told is not for the nodes.
            for (name, _) in std::env::vars_os() {
                if name.to_string_lossy().starts_with("RINGFORT_") {
                    command.env_remove(name);
                }
            }
            let mut child = command.spawn()?;
            if let Some(log) = child.stderr.take() {
                std::thread::spawn(move || {
                    for line in BufReader::new(log).lines().map_while(Result::ok) {
                        eprintln!("node {}: {line}", node + 1);
                    }
                });
            }
            nodes.0.push(child);
        }
        Ok(nodes)
    }

    /// A node that has ended by itself.
    fn ended(&mut self) -> Option<(usize, ExitStatus)> {
        let nodes = self.0.iter_mut().enumerate();
        nodes
            .into_iter()
            .find_map(|(number, child)| match child.try_wait() {
                Ok(Some(status)) => Some((number, status)),
                _ => None,
            })
    }

    fn end(&mut self) {
        for child in &self.0 {
            if let Some(pid) = rustix::process::Pid::from_raw(child.id() as i32) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
        }
        let until = Instant::now() + END_WITHIN;
        for child in &mut self.0 {
            while matches!(child.try_wait(), Ok(None)) {
                if Instant::now() >= until {
                    let _ = child.kill();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        self.0.clear();
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs until `stopped` says so. `program` is this program.
///
/// # Errors
/// When a node cannot be started, ends by itself, or the nodes form no cluster in time.
pub fn run(
    demo: &Demo,
    program: &Path,
    stopped: &dyn Fn() -> bool,
) -> Result<(), Box<dyn std::error::Error>> {
    for node in 0..demo.nodes {
        let port = demo.client_port(node);
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Err(
                format!("port {port} is in use: give another first port with --port").into(),
            );
        }
    }
    let temporary = match &demo.dir {
        Some(_) => None,
        None => Some(Temporary::new()?),
    };
    let dir = match (&demo.dir, &temporary) {
        (Some(dir), _) => dir.clone(),
        (None, Some(temporary)) => temporary.0.clone(),
        (None, None) => unreachable!("one or the other"),
    };
    let mut nodes = Nodes::start(demo, program, &dir)?;
    let began = Instant::now();
    let mut is_announced = false;
    while !stopped() {
        if let Some((number, status)) = nodes.ended() {
            return Err(format!("node {} has ended ({status})", number + 1).into());
        }
        if !is_announced {
            if (0..demo.nodes).all(|node| is_ready(demo.http_port(node))) {
                is_announced = true;
                announce(demo, &dir);
            } else if began.elapsed() > READY_WITHIN {
                return Err("the nodes have formed no cluster in time".into());
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
    println!("Ending the nodes.");
    nodes.end();
    Ok(())
}

/// A directory that goes with its owner.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("ringfort-demo-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Asks a node's `/readyz`.
fn is_ready(http_port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        use std::io::{Read, Write};
        let mut stream = TcpStream::connect(("127.0.0.1", http_port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(&answer[9..] == b"200")
    };
    ask().unwrap_or(false)
}

fn announce(demo: &Demo, dir: &Path) {
    println!(
        "A cluster of {} nodes is ready; every node answers for all keys.",
        demo.nodes
    );
    for node in 0..demo.nodes {
        println!(
            "  node {}: redis-cli -p {}    cluster clients: redis-cli -c -p {}    http://127.0.0.1:{}/metrics",
            node + 1,
            demo.client_port(node),
            demo.cluster_port(node),
            demo.http_port(node)
        );
    }
    println!("  Data: {}", dir.display());
    println!("Ctrl-C ends it.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_a_demo_share_no_port_and_know_each_other() {
        let demo = Demo {
            nodes: NODES_MAX,
            port: 6379,
            dir: None,
        };
        let mut ports: Vec<u16> = (0..demo.nodes)
            .flat_map(|node| {
                [
                    demo.client_port(node),
                    demo.cluster_port(node),
                    demo.http_port(node),
                    demo.peer_port(node),
                ]
            })
            .collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), usize::from(NODES_MAX) * 4);
        let flags = demo.flags(3, Path::new("/d"));
        let join = flags.iter().position(|flag| flag == "--join").unwrap();
        assert_eq!(flags[join + 1].split(',').count(), usize::from(NODES_MAX));
        assert!(flags.contains(&"/d/node-4".to_string()));
    }
}
