//! One connection to one node: sends what it is given, in order, and hands every answer back. Decides nothing.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::keys::{self, What, HEAD_BYTES};
use crate::reply::{encode, first, Reply};
use crate::{Load, Operation};

/// Without any answer for so long the connection is given up, as clients do.
const ANSWER_US_MAX: u64 = 3_000_000;
const CONNECT_MAX: Duration = Duration::from_secs(1);
const CONNECT_PAUSE: Duration = Duration::from_millis(50);

pub struct Connection {
    address: String,
    stream: RefCell<Option<Rc<TcpStream>>>,
    out: RefCell<Vec<u8>>,
    under_way: RefCell<VecDeque<Operation>>,
    answered_us: Cell<u64>,
    close: Notify,
}

impl Connection {
    pub fn new(address: &str) -> Rc<Self> {
        Rc::new(Self {
            address: address.to_owned(),
            stream: RefCell::default(),
            out: RefCell::default(),
            under_way: RefCell::default(),
            answered_us: Cell::new(0),
            close: Notify::new(),
        })
    }

    pub fn is_up(&self) -> bool {
        self.stream.borrow().is_some()
    }

    /// Takes a command, to be sent with the next [`Connection::write`].
    pub fn send(&self, mut operation: Operation, now: u64, value_bytes: usize) {
        let mut out = self.out.borrow_mut();
        let name = operation.what.name();
        let name = name.as_bytes();
        operation.sent_us = now;
        match operation.what {
            What::Set { key, version } => {
                let value = keys::value(key, version, value_bytes);
                encode(&mut out, &[b"SET", name, &value]);
            }
            What::Get { .. } => {
                let last = (HEAD_BYTES - 1).to_string();
                encode(&mut out, &[b"GETRANGE", name, b"0", last.as_bytes()]);
            }
            What::SharedSet { value, .. } => {
                encode(&mut out, &[b"SET", name, value.to_string().as_bytes()]);
            }
            What::SharedGet { .. } => encode(&mut out, &[b"GET", name]),
        }
        self.under_way.borrow_mut().push_back(operation);
    }

    /// Sends what the socket takes; the rest goes the next time. Sees whether the node still answers.
    pub fn write(&self, now: u64) {
        let oldest = self.under_way.borrow().front().map(|one| one.sent_us);
        if oldest.is_some_and(|sent| now > sent.max(self.answered_us.get()) + ANSWER_US_MAX) {
            self.close.notify_one();
        }
        let mut out = self.out.borrow_mut();
        let stream = self.stream.borrow();
        let Some(stream) = stream.as_ref().filter(|_| !out.is_empty()) else {
            return;
        };
        // A broken connection shows where it is read.
        if let Ok(written) = stream.try_write(&out) {
            out.drain(..written);
        }
    }

    /// Connects, reads replies, and connects again, until the node is none of the cluster.
    pub async fn run(self: Rc<Self>, load: Rc<Load>) {
        loop {
            match timeout(CONNECT_MAX, TcpStream::connect(&self.address)).await {
                Ok(Ok(stream)) => {
                    let _ = stream.set_nodelay(true);
                    let stream = Rc::new(stream);
                    *self.stream.borrow_mut() = Some(stream.clone());
                    tokio::select! {
                        () = self.read(&stream, &load) => {}
                        () = self.close.notified() => {}
                    }
                    *self.stream.borrow_mut() = None;
                    self.out.borrow_mut().clear();
                    let lost = std::mem::take(&mut *self.under_way.borrow_mut());
                    lost.into_iter().for_each(|one| load.lost(one));
                }
                _ if !load.is_listed(&self.address) => return,
                _ => {}
            }
            load.ask_for_map();
            sleep(CONNECT_PAUSE).await;
        }
    }

    /// Reads until the connection ends.
    async fn read(&self, stream: &TcpStream, load: &Load) {
        let mut bytes: Vec<u8> = Vec::new();
        let mut piece = vec![0; 64 << 10];
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut piece) {
                Ok(0) => return,
                Ok(count) => bytes.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(_) => return,
            }
            let now = load.now();
            self.answered_us.set(now);
            let mut at = 0;
            loop {
                match first(&bytes[at..]) {
                    Ok(Some((reply, len))) => {
                        self.answered(&reply, load, now);
                        at += len;
                    }
                    Ok(None) => break,
                    Err(error) => return eprintln!("elastic-load: {}: {error}", self.address),
                }
            }
            bytes.drain(..at);
            load.write_all();
        }
    }

    fn answered(&self, reply: &Reply<'_>, load: &Load, now: u64) {
        let operation = self.under_way.borrow_mut().pop_front();
        let Some(operation) = operation else {
            return eprintln!("elastic-load: {} answered what nobody asked", self.address);
        };
        match reply {
            Reply::Error(text) => load.refused(operation, text, now),
            // GETRANGE of nothing is empty.
            Reply::Bytes(b"") | Reply::Status | Reply::Nothing => {
                load.answered(operation, None, now)
            }
            Reply::Bytes(bytes) => load.answered(operation, Some(bytes), now),
        }
    }
}

/// Asks a node for the list of nodes, over a connection of its own.
pub async fn ask_for_nodes(address: &str) -> Option<String> {
    let asked = async {
        let stream = TcpStream::connect(address).await.ok()?;
        stream.writable().await.ok()?;
        let mut command = Vec::new();
        encode(&mut command, &[b"CLUSTER", b"NODES"]);
        stream.try_write(&command).ok()?;
        let mut bytes = Vec::new();
        let mut piece = vec![0; 64 << 10];
        loop {
            if let Ok(Some((reply, _))) = first(&bytes) {
                return match reply {
                    Reply::Bytes(text) => Some(String::from_utf8_lossy(text).into_owned()),
                    _ => None,
                };
            }
            stream.readable().await.ok()?;
            match stream.try_read(&mut piece) {
                Ok(0) => return None,
                Ok(count) => bytes.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    };
    timeout(CONNECT_MAX, asked).await.ok().flatten()
}
