//! Starts the two servers on free ports and speaks with them. Ends only what it started.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use crate::ports::free_port;
use crate::resp::{self, Value};

const START_SECONDS_MAX: u64 = 30;
/// A reply that takes longer counts as none.
const REPLY_SECONDS_MAX: u64 = 60;

/// The protocol version of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proto {
    Resp2,
    Resp3,
}

/// Whether a redis-server stands in for ringfort, to try the test itself.
pub fn is_redis(program: &str) -> bool {
    let file = Path::new(program).file_name().unwrap_or_default();
    file.to_string_lossy().starts_with("redis-server")
}

/// One server process with its directory, and a connection of each protocol version.
pub struct Server {
    name: &'static str,
    program: String,
    arguments: Vec<String>,
    port: u16,
    directory: tempfile::TempDir,
    child: Child,
    resp2: Connection,
    resp3: Connection,
}

impl Server {
    /// A redis-server that writes nothing to disk.
    pub fn redis(program: &str) -> io::Result<Self> {
        let arguments = ["--save", "", "--appendonly", "no"];
        Self::launch("redis", program, &arguments, &[])
    }

    /// A ringfort with its shards over `threads` workers; a program named redis-server* may stand in.
    pub fn ringfort(program: &str, threads: usize) -> io::Result<Self> {
        if is_redis(program) {
            let arguments = ["--save", "", "--appendonly", "yes"];
            return Self::launch("ringfort", program, &arguments, &[]);
        }
        let threads = threads.to_string();
        let arguments = [
            "serve",
            "--threads",
            &threads,
            "--durability",
            "everysec",
            "--cluster-port",
            "0",
        ];
        Self::launch("ringfort", program, &arguments, &["--http-port"])
    }

    fn launch(
        name: &'static str,
        program: &str,
        arguments: &[&str],
        port_flags: &[&str],
    ) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = free_port();
        let mut all: Vec<String> = arguments.iter().map(|text| text.to_string()).collect();
        for flag in port_flags {
            all.extend([flag.to_string(), free_port().to_string()]);
        }
        let dir = directory.path().display().to_string();
        all.extend(["--bind", "127.0.0.1", "--dir", &dir].map(String::from));
        all.extend(["--enable-debug-command".into(), "yes".into()]);
        all.extend(["--port".into(), port.to_string()]);
        let (child, resp2, resp3) = spawn(name, program, &all, &directory, port)?;
        Ok(Self {
            name,
            program: program.into(),
            arguments: all,
            port,
            directory,
            child,
            resp2,
            resp3,
        })
    }

    /// Kills the process (SIGKILL) and starts it again on the same data.
    pub fn crash_and_restart(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        (self.child, self.resp2, self.resp3) = spawn(
            self.name,
            &self.program,
            &self.arguments,
            &self.directory,
            self.port,
        )?;
        Ok(())
    }

    /// Sends all commands at once; read the replies with [`Server::reply`].
    pub fn send(&mut self, proto: Proto, bytes: &[u8]) -> io::Result<()> {
        self.connection(proto).writer.write_all(bytes)
    }

    pub fn reply(&mut self, proto: Proto) -> io::Result<Value> {
        resp::read(&mut self.connection(proto).reader)
    }

    /// One command, one reply.
    pub fn call(&mut self, proto: Proto, args: &[Vec<u8>]) -> io::Result<Value> {
        let mut bytes = Vec::new();
        resp::encode(&mut bytes, args);
        self.send(proto, &bytes)?;
        self.reply(proto)
    }

    /// The end of what the process printed.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read(self.directory.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(2000)..]).into_owned()
    }

    fn connection(&mut self, proto: Proto) -> &mut Connection {
        match proto {
            Proto::Resp2 => &mut self.resp2,
            Proto::Resp3 => &mut self.resp3,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Connection {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

fn spawn(
    name: &str,
    program: &str,
    arguments: &[String],
    directory: &tempfile::TempDir,
    port: u16,
) -> io::Result<(Child, Connection, Connection)> {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(directory.path().join("log"))?;
    // SORT ALPHA and KEYS must not depend on the caller's locale.
    let mut command = Process::new(program);
    // RINGFORT_* are settings to ringfort: those of whoever runs the test must not reach it.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RINGFORT_") {
            command.env_remove(name);
        }
    }
    let mut child = command
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .map_err(|error| {
            io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
        })?;
    let opened = connect(&mut child, port, "2")
        .and_then(|resp2| Ok((resp2, connect(&mut child, port, "3")?)));
    match opened {
        Ok((resp2, resp3)) => Ok((child, resp2, resp3)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            let log = std::fs::read_to_string(directory.path().join("log")).unwrap_or_default();
            let text = format!("{name} ({program}) does not answer: {error}\n{log}");
            Err(io::Error::other(text))
        }
    }
}

/// Connects and says HELLO, waiting until the server is there.
fn connect(child: &mut Child, port: u16, version: &str) -> io::Result<Connection> {
    let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
    loop {
        match try_connect(port, version) {
            Ok(connection) => return Ok(connection),
            Err(error) => {
                if child.try_wait()?.is_some() || Instant::now() > deadline {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

fn try_connect(port: u16, version: &str) -> io::Result<Connection> {
    let writer = TcpStream::connect(("127.0.0.1", port))?;
    writer.set_nodelay(true)?;
    writer.set_read_timeout(Some(Duration::from_secs(REPLY_SECONDS_MAX)))?;
    writer.set_write_timeout(Some(Duration::from_secs(REPLY_SECONDS_MAX)))?;
    let reader = BufReader::with_capacity(1 << 16, writer.try_clone()?);
    let mut connection = Connection { reader, writer };
    // HELLO is answered while data is being loaded, DBSIZE is not.
    for words in [&["HELLO", version][..], &["DBSIZE"]] {
        let args: Vec<Vec<u8>> = words.iter().map(|&word| word.into()).collect();
        let mut bytes = Vec::new();
        resp::encode(&mut bytes, &args);
        connection.writer.write_all(&bytes)?;
        if let Value::Error(text) = resp::read(&mut connection.reader)? {
            return Err(io::Error::other(text));
        }
    }
    Ok(connection)
}
