//! What the tests share that start real nodes: a node that ends with its test, and connections to it.

pub mod connection;
pub mod ports;

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use connection::{connect_to, Connection};
use ports::free_port;

/// A node that ends with the test.
pub struct Node {
    pub process: Child,
    port: u16,
    /// What it says: told when its test fails.
    said: File,
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
        let said = tempfile::tempfile().expect("a temporary file");
        let process = Command::new(env!("CARGO_BIN_EXE_ringfort"))
            .args(["serve", "--port", &port.to_string()])
            .args(closed.flat_map(|port| [*port, "0"]))
            .args(flags)
            .arg("--dir")
            .arg(dir)
            .stdout(Stdio::null())
            .stderr(said.try_clone().expect("a file of its own"))
            .spawn()
            .expect("the node starts");
        Self {
            process,
            port,
            said,
            _dir: None,
        }
    }

    pub fn connect(&self) -> Connection {
        connect_to(self.port)
    }
}

impl Node {
    /// Tells how the node fared.
    fn tell(&mut self) {
        let ended = self.process.try_wait();
        let mut said = String::new();
        let read = self.said.rewind();
        let _ = read.and_then(|()| self.said.read_to_string(&mut said));
        println!("the node, ended of itself: {ended:?}, said:\n{said}");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
