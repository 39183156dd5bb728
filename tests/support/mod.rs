//! What the tests share that start real nodes: a node that ends with its test, and connections to it.

pub mod connection;
pub mod ports;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use connection::{connect_to, Connection};
use ports::free_port;

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

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
