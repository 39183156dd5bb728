//! What the tests share that start real nodes: a node that ends with its test, and connections to it.

use std::io::BufReader;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const START_MAX: Duration = Duration::from_secs(30);

/// A node that ends with the test.
pub struct Node {
    pub process: Child,
    port: u16,
    _dir: Option<tempfile::TempDir>,
}

impl Node {
    /// With these flags beside port and directory. There is no HTTP port and no cluster port unless they name one.
    pub fn start(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut node = Self::start_in(dir.path(), free_port(), flags);
        node._dir = Some(dir);
        node
    }

    /// On this port, with data that outlives it.
    pub fn start_in(dir: &Path, port: u16, flags: &[&str]) -> Self {
        let others = ["--http-port", "--cluster-port"];
        let closed = others.iter().filter(|port| !flags.contains(*port));
        let process = Command::new(env!("CARGO_BIN_EXE_ringfort"))
            .args(["serve", "--port", &port.to_string()])
            .args(closed.flat_map(|port| [*port, "0"]))
            .args(flags)
            .arg("--dir")
            .arg(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the node starts");
        Self {
            process,
            port,
            _dir: None,
        }
    }

    pub fn connect(&self) -> Connection {
        connect_to(self.port)
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    free.expect("a free port").port()
}

/// A connection to a port on which a node listens, or will in a moment.
pub fn connect_to(port: u16) -> Connection {
    let ends = Instant::now() + START_MAX;
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => {
                let timeout = stream.set_read_timeout(Some(START_MAX));
                timeout.expect("a time limit");
                return Connection(BufReader::new(stream));
            }
            Err(error) => assert!(Instant::now() < ends, "the node does not listen: {error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A connection with a time limit for each read.
pub struct Connection(pub BufReader<TcpStream>);
