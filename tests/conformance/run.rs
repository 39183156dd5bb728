//! Plays one conformance file against a server.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use super::client::Client;
use super::expect::{expand, Saved, Wanted};
use super::reply::{quoted, Reply};
use super::script::{Action, Script, Step};
use super::server::Server;

#[derive(Default)]
pub struct Outcome {
    pub steps: usize,
    /// Each names its file and line.
    pub mismatches: Vec<String>,
}

struct Run<'a> {
    address: &'a str,
    connections: HashMap<String, Client>,
    current: String,
    saved: Saved,
}

/// Runs all steps on fresh connections, after a FLUSHALL; none where the server has no port for the file. A reply that differs does not end the file; a
/// connection that breaks does.
pub fn run(script: &Script, server: &Server) -> Outcome {
    let mut outcome = Outcome::default();
    let Some(address) = server.address(&script.name) else {
        return outcome;
    };
    let mut run = Run {
        address,
        connections: HashMap::new(),
        current: "main".into(),
        saved: Saved::new(),
    };
    let flushed = run.client().and_then(|client| client.call(&["FLUSHALL"]));
    if !matches!(&flushed, Ok(Reply::Simple(ok)) if ok == b"OK") {
        outcome
            .mismatches
            .push(format!("{}: FLUSHALL answered {flushed:?}", script.name));
        return outcome;
    }
    for step in script.steps.iter().filter(|step| server.runs(step.only)) {
        match run.step(step) {
            Ok(None) => outcome.steps += 1,
            Ok(Some(mismatch)) => {
                outcome
                    .mismatches
                    .push(format!("{}:{}: {mismatch}", script.name, step.line));
            }
            Err(error) => {
                outcome.mismatches.push(format!(
                    "{}:{}: the connection failed: {error}; the rest of the file was not run",
                    script.name, step.line
                ));
                return outcome;
            }
        }
    }
    // A server that answered once too often is found out here.
    for (name, mut client) in run.connections {
        let last = client.call(&["EXISTS", "no such key"]);
        if !matches!(last, Ok(Reply::Int(0))) {
            outcome.mismatches.push(format!(
                "{}: EXISTS at the end, connection {name}, answered {last:?}",
                script.name
            ));
        }
    }
    outcome
}

impl Run<'_> {
    fn client(&mut self) -> io::Result<&mut Client> {
        if !self.connections.contains_key(&self.current) {
            let client = Client::connect(self.address)?;
            self.connections.insert(self.current.clone(), client);
        }
        Ok(self.connections.get_mut(&self.current).expect("just made"))
    }

    /// What differs, if anything does.
    fn step(&mut self, step: &Step) -> io::Result<Option<String>> {
        match &step.action {
            Action::Call(args, expected) => {
                let args: Vec<_> = args.iter().map(|arg| expand(arg, &self.saved)).collect();
                let reply = self.client()?.call(&args)?;
                let words: Vec<_> = args.iter().map(|arg| word(arg)).collect();
                Ok(self.compare(&words.join(" "), expected, reply))
            }
            Action::Send(bytes, expected) => {
                let bytes = expand(bytes, &self.saved);
                self.client()?.send(&bytes)?;
                match expected {
                    Some(expected) => {
                        let reply = self.client()?.read()?;
                        Ok(self.compare(&word(&bytes), expected, reply))
                    }
                    None => Ok(None),
                }
            }
            Action::Read(expected) => {
                let reply = self.client()?.read()?;
                Ok(self.compare("(nothing was sent)", expected, reply))
            }
            Action::Closed => {
                let closed = self.client()?.is_closed();
                self.connections.remove(&self.current);
                Ok((!closed).then(|| "the connection is still open".into()))
            }
            Action::As(name) => {
                self.current.clone_from(name);
                self.client().map(|_| None)
            }
            Action::Resp(version) => {
                let reply = self.client()?.call(&["HELLO", &version.to_string()])?;
                let refused = matches!(reply, Reply::Error(_));
                Ok(refused.then(|| format!("HELLO {version} answered {reply}")))
            }
            Action::Sleep(ms) => {
                std::thread::sleep(Duration::from_millis(*ms));
                Ok(None)
            }
        }
    }

    fn compare(&mut self, sent: &str, wanted: &Wanted, reply: Reply) -> Option<String> {
        if wanted.expected.matches(&reply, &mut self.saved) {
            return None;
        }
        Some(format!(
            "> {sent}\n  got      {reply}\n  expected {}",
            wanted.text
        ))
    }
}

/// An argument as one would write it.
fn word(arg: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 200;
    let plain = !arg.is_empty()
        && arg
            .iter()
            .all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(byte));
    match arg.get(..SHOWN_BYTES_MAX) {
        Some(start) if arg.len() > SHOWN_BYTES_MAX => format!("{}...", quoted(start)),
        _ if plain => String::from_utf8_lossy(arg).into_owned(),
        _ => quoted(arg),
    }
}
