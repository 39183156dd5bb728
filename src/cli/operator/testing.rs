//! Values and a small HTTP server for the tests of the commands.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::table::Paint;
use super::terminal::Terminal;
use crate::admin::api::{ClusterView, NodeView};

/// An id that begins like this.
pub(super) fn id(start: &str) -> String {
    format!("{start:0<40}")
}

fn node(start: &str, host: &str) -> NodeView {
    NodeView {
        id: id(start),
        host: host.into(),
        port: 6379,
        cluster_port: 7379,
        peer_port: Some(16379),
        http_port: 8379,
        weight: 100,
        version: "0.1.0".into(),
        leads: 21,
        holds: 64,
        votes: 64,
        wished: 64,
        needed_by: 65,
        memory_bytes: 98 << 20,
        data_bytes: 64 << 20,
        uptime_s: 7500,
        ..NodeView::default()
    }
}

/// Three nodes, all well.
pub(super) fn cluster() -> ClusterView {
    let mut nodes = vec![
        node("c3", "10.0.0.11"),
        node("b2", "10.0.0.10"),
        node("a1", "10.0.0.9"),
    ];
    nodes[0].lag_entries_max = 7;
    nodes[1].ops_per_sec = 130;
    nodes[1].p99_us = Some(870);
    nodes[2].ops_per_sec = 81_200;
    nodes[2].p99_us = Some(1200);
    nodes[2].memory_bytes = 1_288_490_189;
    nodes[2].leads = 22;
    ClusterView {
        id: id("c1"),
        epoch: 1012,
        leader: id("b2"),
        replicas: 3,
        shards: 64,
        nodes,
        ..ClusterView::default()
    }
}

/// What a command has printed.
#[derive(Default)]
pub(super) struct Printed {
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Printed {
    /// No terminal, no colours.
    pub(super) fn terminal(&mut self) -> Terminal<'_> {
        Terminal {
            out: &mut self.out,
            err: &mut self.err,
            paint: Paint(false),
            out_is_terminal: false,
            err_is_terminal: false,
        }
    }

    pub(super) fn out(&self) -> String {
        String::from_utf8(self.out.clone()).unwrap()
    }

    pub(super) fn err(&self) -> String {
        String::from_utf8(self.err.clone()).unwrap()
    }
}

/// Answers each request by what a function makes of it: head and body as text to the bytes of an answer.
pub(super) struct Server {
    pub(super) address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(super) fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = seen.clone();
        // Ends with the process of the test; nobody knows its port afterwards.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = serve(stream, &answer, &notes);
            }
        });
        Self { address, seen }
    }

    /// Always the same status and body.
    pub(super) fn fixed(status: u16, body: &str) -> Self {
        let answer = reply(status, body);
        Self::start(move |_| answer.clone())
    }

    /// The requests so far.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

pub(super) fn reply(status: u16, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub(super) fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    reply(200, &serde_json::to_string(value).unwrap())
}

fn serve(
    mut stream: TcpStream,
    answer: &dyn Fn(&str) -> Vec<u8>,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = Vec::new();
    let mut some = [0; 4096];
    while !is_whole(&request) {
        let length = stream.read(&mut some)?;
        if length == 0 {
            return Ok(());
        }
        request.extend_from_slice(&some[..length]);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    seen.lock().unwrap().push(request.clone());
    stream.write_all(&answer(&request))
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    body.len() >= length.map_or(0, |length| length.trim().parse().unwrap())
}
