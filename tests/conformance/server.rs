//! The server under test: one started here, or one that runs already.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::client::Client;
use super::ports::free_port;
use super::reply::Reply;
use super::script::Only;

const START_TIMEOUT: Duration = Duration::from_secs(20);
/// `redis` to start a redis-server, or the address of any server.
const TARGET_VARIABLE: &str = "RINGFORT_CONFORMANCE_ADDR";
/// The address for the files in [`CLUSTER_FILES`], where `TARGET_VARIABLE` names another server.
const CLUSTER_VARIABLE: &str = "RINGFORT_CONFORMANCE_CLUSTER_ADDR";
/// Files for a server in cluster mode.
const CLUSTER_FILES: &str = "tests/conformance/cluster/";

pub struct Server {
    address: String,
    /// None: the files for it are passed over.
    cluster_address: Option<String>,
    is_ringfort: bool,
    /// Dropped before `dir`.
    child: Option<Running>,
    _dir: Option<tempfile::TempDir>,
}

/// Ends the process when the test is over.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// Starts or finds the server.
    pub fn start() -> Self {
        match std::env::var(TARGET_VARIABLE) {
            Ok(target) if target == "redis" => Self::spawn("redis-server", |command, port, dir| {
                command.args([
                    "--port",
                    port,
                    "--dir",
                    dir,
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                ]);
                command.args(["--enable-debug-command", "yes"]);
            }),
            Ok(address) => Self::running(address),
            Err(_) => Self::ringfort(),
        }
    }

    fn ringfort() -> Self {
        let cluster_port = free_port().to_string();
        let server = Self::spawn(env!("CARGO_BIN_EXE_ringfort"), |command, port, dir| {
            command.args(["--port", port, "--dir", dir, "--http-port", "0"]);
            command.args(["--cluster-port", &cluster_port]);
            command.args(["--threads", "2", "--enable-debug-command", "yes"]);
        });
        Self {
            cluster_address: Some(format!("127.0.0.1:{cluster_port}")),
            ..server
        }
    }

    fn running(address: String) -> Self {
        let mut client = Client::connect(&address)
            .unwrap_or_else(|error| panic!("{TARGET_VARIABLE}={address}: {error}"));
        let info = client.call(&["INFO", "server"]);
        let is_ringfort = matches!(info, Ok(Reply::Bulk(text) | Reply::Verbatim(text))
            if String::from_utf8_lossy(&text).contains("ringfort_version"));
        Self {
            address,
            cluster_address: std::env::var(CLUSTER_VARIABLE).ok(),
            is_ringfort,
            child: None,
            _dir: None,
        }
    }

    fn spawn(program: &str, configure: impl Fn(&mut Command, &str, &str)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let mut command = Command::new(program);
        configure(
            &mut command,
            &port.to_string(),
            &dir.path().display().to_string(),
        );
        // Settings come as variables too: those of the test are none.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("RINGFORT_") {
                command.env_remove(name);
            }
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit());
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let mut child = Running(child);
        let address = format!("127.0.0.1:{port}");
        let deadline = Instant::now() + START_TIMEOUT;
        while !answers(&address) {
            if let Ok(Some(status)) = child.0.try_wait() {
                panic!("{program} ended: {status}");
            }
            assert!(Instant::now() < deadline, "{program} does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            child: Some(child),
            _dir: Some(dir),
            ..Self::running(address)
        }
    }

    /// Where the file of this name is played, if anywhere.
    pub fn address(&self, file: &str) -> Option<&str> {
        match file.starts_with(CLUSTER_FILES) {
            true => self.cluster_address.as_deref(),
            false => Some(&self.address),
        }
    }

    /// Whether steps of this scope are for this server.
    pub fn runs(&self, only: Only) -> bool {
        match only {
            Only::All => true,
            Only::Ringfort => self.is_ringfort,
            Only::Redis => !self.is_ringfort,
        }
    }

    pub fn describe(&self) -> String {
        let name = if self.is_ringfort {
            "ringfort"
        } else {
            "redis"
        };
        let how = if self.child.is_some() {
            "started for this test"
        } else {
            "running already"
        };
        format!("{name} at {} ({how})", self.address)
    }
}

fn answers(address: &str) -> bool {
    let reply = Client::connect(address).and_then(|mut client| client.call(&["TYPE", "none"]));
    matches!(reply, Ok(Reply::Simple(_)))
}
