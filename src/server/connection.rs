//! One client connection: reads, parses, hands commands to the router, sends replies, and holds the client to its
//! limits. A client that does not read its replies is not read from either.

use std::cell::{Cell, RefCell};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::TcpStream;

use crate::node::{
    wall_clock, Client, ConnKey, Pending, Prepared, Session, Worker, PIPELINE_MAX, PREPARED_MAX,
};
use crate::protocol::{Args, Parsed, ParserLimits, ProtocolError, RequestParser, Span};
use crate::settings::OutputLimit;

use super::pending;
use super::{Local, Port, StdStream};

/// Bytes read at once when nothing tells how much is coming.
pub const READ_BYTES: usize = 64 << 10;
/// Replies of so many bytes do not wait for the turn to end.
const SEND_AT_ONCE_BYTES: usize = 32 << 10;
/// Unsent reply bytes beyond which the client is not read from until it has taken some.
const OUTPUT_PAUSE_BYTES: usize = 1 << 20;
/// An output buffer that grew beyond this is given back once it is empty.
const OUTPUT_KEPT_BYTES: usize = 64 << 10;
/// How often a paused client looks whether the pause is over.
const PAUSE_LOOK: Duration = Duration::from_millis(5);

/// What others on this thread hold of a connection.
pub struct Handle {
    pub conn: ConnKey,
    write: OwnedWriteHalf,
    /// The socket took less than it was given: the connection's task waits until it takes more.
    is_blocked: Cell<bool>,
    is_broken: Cell<bool>,
    /// Close once everything has been sent.
    is_closing: Cell<bool>,
    /// The connection's task waits for replies to go out before it reads on.
    waits_for_replies: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    client: Arc<Client>,
    /// Since when the unsent replies are beyond the soft limit.
    over_soft_since: Cell<Option<Instant>>,
}

impl Handle {
    /// Sends what is ready; leaves the rest to the connection's task.
    pub fn send(&self, worker: &mut Worker) {
        if !self.is_blocked.get() && !self.is_broken.get() {
            self.write_out(worker);
        }
        let limit = worker.live.client_output_buffer_limit.normal;
        if self.is_over_limit(limit, worker.io.outbox(self.conn).out.len()) {
            tracing::warn!(
                "client {} closed: its unsent replies are beyond client-output-buffer-limit",
                self.client.id
            );
            self.is_broken.set(true);
        }
        if self.is_blocked.get() || self.is_broken.get() || self.waits_for_replies.get() {
            self.wake();
        }
    }

    fn write_out(&self, worker: &mut Worker) {
        let mut sent = 0;
        let outbox = worker.io.outbox(self.conn);
        while sent < outbox.out.len() {
            match self.write.try_write(&outbox.out[sent..]) {
                Ok(0) => return self.is_broken.set(true),
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.is_blocked.set(true);
                    break;
                }
                Err(_) => return self.is_broken.set(true),
            }
        }
        outbox.sent(sent, OUTPUT_KEPT_BYTES);
        worker.io.stats.output_bytes.add(sent as u64);
    }

    /// Redis' rule: beyond the hard limit at once, beyond the soft one when it lasts.
    fn is_over_limit(&self, limit: OutputLimit, unsent: usize) -> bool {
        let over = |bytes: u64| bytes > 0 && unsent as u64 > bytes;
        if !over(limit.soft_bytes) {
            self.over_soft_since.set(None);
            return over(limit.hard_bytes);
        }
        let since = self.over_soft_since.get().unwrap_or_else(Instant::now);
        self.over_soft_since.set(Some(since));
        over(limit.hard_bytes) || since.elapsed().as_secs() >= limit.soft_seconds
    }

    /// Ends the connection: its task sees the end of its input.
    pub fn close(&self) {
        self.is_broken.set(true);
        let _ = SockRef::from(self.write.as_ref()).shutdown(std::net::Shutdown::Both);
        self.wake();
    }

    /// Has the connection's task look at what has changed.
    pub fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn remember(&self, waker: &Waker) {
        let mut place = self.waker.borrow_mut();
        if !place.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *place = Some(waker.clone());
        }
    }
}

/// Takes an accepted connection over and serves it on this thread.
pub fn take_over(local: &Rc<Local>, stream: StdStream, port: Port) {
    match open(local, stream, port) {
        Ok(connection) => drop(tokio::task::spawn_local(connection.run())),
        Err(error) => tracing::debug!("a connection was gone before it was served: {error}"),
    }
}

fn open(local: &Rc<Local>, stream: StdStream, port: Port) -> std::io::Result<Connection> {
    let fd = stream.as_raw_fd();
    let (peer, own) = (stream.peer_addr()?, stream.local_addr()?);
    let stream = TcpStream::from_std(stream)?;
    let mut worker = local.worker.borrow_mut();
    worker.take_up_changes();
    let open_to_all = worker.live.requirepass.is_empty();
    let id = local.shared.clients.next_id();
    let mut session = Session::new(id, peer.to_string(), own.to_string(), open_to_all);
    session.is_cluster = port == Port::Cluster;
    let client = Client::new(session.clone(), worker.number, fd, wall_clock());
    let conn = worker.io.open(client.clone());
    client.set_conn(conn);
    local.shared.clients.add(client.clone());
    worker.io.stats.connections_received.add(1);
    worker.io.stats.connected_clients.add(1);
    let (read, write) = stream.into_split();
    let handle = Rc::new(Handle {
        conn,
        write,
        is_blocked: Cell::new(false),
        is_broken: Cell::new(false),
        is_closing: Cell::new(false),
        waits_for_replies: Cell::new(false),
        waker: RefCell::default(),
        client,
        over_soft_since: Cell::new(None),
    });
    let mut conns = local.conns.borrow_mut();
    if conns.len() <= conn.place as usize {
        conns.resize(conn.place as usize + 1, None);
    }
    conns[conn.place as usize] = Some(handle.clone());
    let parser = RequestParser::new(ParserLimits::default());
    Ok(Connection {
        local: local.clone(),
        handle,
        read,
        session,
        parser,
        input: Vec::new(),
        spans: Vec::new(),
        requests: Vec::new(),
        prepared: Vec::new(),
        is_held_back: false,
        need: 0,
    })
}

fn has_hard_limit(worker: &Worker) -> bool {
    worker.live.client_output_buffer_limit.normal.hard_bytes > 0
}

/// Unsent bytes beyond which a client is not read from. Where an operator has set a hard limit the client may reach
/// it, and is cut there.
fn pause_bytes(worker: &Worker) -> usize {
    match worker.live.client_output_buffer_limit.normal.hard_bytes {
        0 => OUTPUT_PAUSE_BYTES,
        hard_bytes => hard_bytes as usize,
    }
}

/// Closes connections whose unsent replies were beyond a limit for too long.
pub fn close_over_limit(local: &Local) {
    let mut worker = local.worker.borrow_mut();
    let limit = worker.live.client_output_buffer_limit.normal;
    if limit.hard_bytes == 0 && limit.soft_bytes == 0 {
        return;
    }
    for handle in local.conns.borrow().iter().flatten() {
        if handle.is_over_limit(limit, worker.io.outbox(handle.conn).out.len()) {
            tracing::warn!(
                "client {} closed: its unsent replies are beyond client-output-buffer-limit",
                handle.client.id
            );
            handle.close();
        }
    }
}

/// Closes connections that were idle for longer than `timeout`.
pub fn close_idle(local: &Local) {
    let seconds = u64::from(local.worker.borrow().live.timeout_seconds);
    if seconds == 0 {
        return;
    }
    let now = wall_clock();
    for handle in local.conns.borrow().iter().flatten() {
        if handle.client.idle_ms(now) > seconds * 1000 {
            handle.close();
        }
    }
}

/// How long a client may take to notice that the node leaves, before its connection is closed from both ends.
const LAST_READ_MAX: Duration = Duration::from_millis(200);

/// What the connection's task does next.
enum Next {
    Close,
    /// The node leaves, and the client has been answered.
    Leave,
    /// CLIENT PAUSE holds the next command back.
    Paused,
    /// The last command leaves work that takes time.
    Pending(Pending),
}

/// How far the input was run.
enum Ran {
    /// All whole requests were run.
    All,
    Stopped(Next),
}

/// A parsed request: its bytes in the input, its arguments in the spans.
struct Request {
    start: usize,
    end: usize,
    first: usize,
    last: usize,
}

/// What [`Connection::parse_group`] found.
struct ParsedGroup {
    /// Behind the last whole request.
    end: usize,
    error: Option<ProtocolError>,
    /// The group is full; there may be more.
    is_more: bool,
}

struct Connection {
    local: Rc<Local>,
    handle: Rc<Handle>,
    read: OwnedReadHalf,
    session: Session,
    parser: RequestParser,
    /// The beginning of a request whose end has not come yet, and requests held back.
    input: Vec<u8>,
    spans: Vec<Span>,
    requests: Vec<Request>,
    prepared: Vec<Prepared>,
    /// Whole requests stand in `input`: their replies would have gone beyond what may wait unsent.
    is_held_back: bool,
    /// Bytes that the request in `input` lacks, as far as is known.
    need: usize,
}

impl Connection {
    async fn run(mut self) {
        loop {
            let mut next = std::future::poll_fn(|cx| self.poll(cx)).await;
            loop {
                match next {
                    Next::Close => return,
                    Next::Leave => return self.leave().await,
                    Next::Paused => tokio::time::sleep(PAUSE_LOOK).await,
                    Next::Pending(pending) => self.wait_for(pending).await,
                }
                // What was held back comes before anything that the socket still has.
                next = match self.run_held_back() {
                    Ran::All => break,
                    Ran::Stopped(Next::Close) => {
                        self.close_after_replies();
                        break;
                    }
                    Ran::Stopped(held) => held,
                };
            }
        }
    }

    /// Tells the client the end. What it sends from now on is read and not run: a connection that is closed with something unread would
    /// be reset, and replies on their way lost.
    async fn leave(&mut self) {
        let _ = SockRef::from(self.handle.write.as_ref()).shutdown(std::net::Shutdown::Write);
        let stream: &TcpStream = self.read.as_ref();
        let unheard = async {
            let mut buffer = [0; 4096];
            while stream.readable().await.is_ok() {
                match stream.try_read(&mut buffer) {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        };
        let _ = tokio::time::timeout(LAST_READ_MAX, unheard).await;
    }

    async fn wait_for(&self, pending: Pending) {
        let reply = pending::carry_out(&self.local, pending).await;
        let mut worker = self.local.worker.borrow_mut();
        worker.answer(self.handle.conn, true, &reply);
        self.handle.send(&mut worker);
    }

    /// Reads and runs until there is nothing to read.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        self.handle.remember(cx.waker());
        loop {
            if self.handle.is_broken.get() {
                return Poll::Ready(Next::Close);
            }
            let is_blocked = self.handle.is_blocked.get() && self.write_on(cx).is_pending();
            // A client with a hard limit is served up to it, so that it is cut there; any other waits.
            if is_blocked && !has_hard_limit(&self.local.worker.borrow()) {
                return Poll::Pending;
            }
            if self.handle.is_broken.get() {
                return Poll::Ready(Next::Close);
            }
            let (unsent, waiting, pause_bytes) = {
                let mut worker = self.local.worker.borrow_mut();
                let pause_bytes = pause_bytes(&worker);
                let outbox = worker.io.outbox(self.handle.conn);
                (outbox.out.len(), outbox.waiting(), pause_bytes)
            };
            if self.handle.is_closing.get() {
                if unsent == 0 && waiting == 0 {
                    return Poll::Ready(Next::Close);
                }
                self.handle.waits_for_replies.set(true);
                return Poll::Pending;
            }
            let is_full = unsent > pause_bytes || waiting > PIPELINE_MAX;
            let leaves = self.local.leaves_clients.get();
            self.handle.waits_for_replies.set(is_full || leaves);
            if is_full {
                return Poll::Pending;
            }
            let ran = match std::mem::take(&mut self.is_held_back) {
                true => Poll::Ready(self.run_held_back()),
                false => self.poll_read(cx),
            };
            let is_between = unsent == 0 && waiting == 0 && self.input.is_empty();
            match ran {
                Poll::Pending if leaves && is_between => return Poll::Ready(Next::Leave),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ran::All) => {}
                Poll::Ready(Ran::Stopped(Next::Close)) => self.close_after_replies(),
                Poll::Ready(Ran::Stopped(next)) => return Poll::Ready(next),
            }
        }
    }

    fn close_after_replies(&self) {
        self.handle.is_closing.set(true);
        self.handle.client.set_closing();
    }

    /// Sends what the socket did not take before.
    fn write_on(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stream: &TcpStream = self.read.as_ref();
        match stream.poll_write_ready(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_)) => {
                self.handle.is_broken.set(true);
                self.handle.is_blocked.set(false);
                Poll::Ready(())
            }
            Poll::Ready(Ok(())) => {
                self.handle.is_blocked.set(false);
                self.handle.write_out(&mut self.local.worker.borrow_mut());
                if self.handle.is_blocked.get() {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(())
            }
        }
    }

    /// One read, and all that it brought.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Ran> {
        let local = self.local.clone();
        if self.input.is_empty() {
            let mut buffer = local.read_buffer.borrow_mut();
            let mut into = ReadBuf::new(&mut buffer);
            let read = Pin::new(&mut self.read).poll_read(cx, &mut into);
            let bytes = into.filled().len();
            return match read {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(())) if bytes > 0 => {
                    let (consumed, ran) = self.run_requests(&mut buffer[..bytes], bytes);
                    self.input.extend_from_slice(&buffer[consumed..bytes]);
                    Poll::Ready(ran)
                }
                Poll::Ready(end) => self.end_of_input(end.is_err()),
            };
        }
        let have = self.input.len();
        // A large argument is read in large pieces, but memory grows only with what has really come.
        let room = self.need.clamp(READ_BYTES, have.max(READ_BYTES) * 2);
        self.input.reserve(room);
        let mut into = ReadBuf::uninit(&mut self.input.spare_capacity_mut()[..room]);
        let read = Pin::new(&mut self.read).poll_read(cx, &mut into);
        let bytes = into.filled().len();
        // SAFETY: the socket has filled so many bytes behind those that were there.
        unsafe { self.input.set_len(have + bytes) };
        match read {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if bytes > 0 => {
                let limit = local.worker.borrow().live.client_query_buffer_limit_bytes;
                if self.input.len() as u64 > limit {
                    tracing::warn!(
                        "client {} closed: its request is beyond client-query-buffer-limit",
                        self.session.id
                    );
                    self.handle.is_broken.set(true);
                    return Poll::Ready(Ran::Stopped(Next::Close));
                }
                Poll::Ready(self.run_input(bytes))
            }
            Poll::Ready(end) => self.end_of_input(end.is_err()),
        }
    }

    /// The client sends nothing more. It may still read: what it has asked is answered first.
    fn end_of_input(&self, is_broken: bool) -> Poll<Ran> {
        if is_broken {
            self.handle.is_broken.set(true);
        }
        Poll::Ready(Ran::Stopped(Next::Close))
    }

    /// Runs what is in `input`, of which `new` bytes have just come.
    fn run_input(&mut self, new: usize) -> Ran {
        let mut input = std::mem::take(&mut self.input);
        let (consumed, ran) = self.run_requests(&mut input, new);
        if consumed == input.len() && input.capacity() > READ_BYTES * 4 {
            input = Vec::new();
        }
        input.drain(..consumed.min(input.len()));
        self.input = input;
        ran
    }

    /// Goes on with requests that a pause or a long command held back.
    fn run_held_back(&mut self) -> Ran {
        if self.input.is_empty() {
            return Ran::All;
        }
        self.run_input(0)
    }

    /// Runs the requests in `input`; returns how many bytes they took.
    fn run_requests(&mut self, input: &mut [u8], new: usize) -> (usize, Ran) {
        let local = self.local.clone();
        let mut worker = local.worker.borrow_mut();
        worker.io.stats.input_bytes.add(new as u64);
        worker.refresh_clock();
        worker.take_up_changes();
        self.need = 0;
        if self.handle.client.is_closing() {
            // Killed by another connection: nothing that comes after is run.
            return (input.len(), Ran::Stopped(Next::Close));
        }
        self.parser.limits.bulk_bytes_max = worker.live.proto_max_bulk_len_bytes as i64;
        let mut at = 0;
        let ran = loop {
            let parsed = self.parse_group(&worker, input, at);
            let brought = self.requests.len() as u64;
            local.requests.set(local.requests.get() + brought);
            worker.io.start_clock();
            match self.run_group(&mut worker, input, &mut at) {
                Ran::All => {}
                stopped => {
                    // What was parsed behind this command comes again.
                    let behind = parsed.end > at || self.parser.is_inside_request();
                    if behind {
                        self.parser = RequestParser::new(self.parser.limits);
                    }
                    break stopped;
                }
            }
            at = parsed.end;
            if let Some(error) = parsed.error {
                worker.answer_protocol_error(self.handle.conn, error);
                at = input.len();
                break Ran::Stopped(Next::Close);
            }
            if !parsed.is_more {
                break Ran::All;
            }
            let pause_bytes = pause_bytes(&worker);
            if worker.io.outbox(self.handle.conn).out.len() > pause_bytes {
                self.is_held_back = true;
                break Ran::All;
            }
        };
        self.after_requests(&mut worker, input.len() - at);
        (at, ran)
    }

    /// Parses a few requests from `at` on and begins the look-ups of their keys. A client that has not
    /// authenticated gets its requests run one by one: the parser's limits depend on the outcome.
    fn parse_group(&mut self, worker: &Worker, input: &mut [u8], mut at: usize) -> ParsedGroup {
        let group_max = if self.session.authenticated {
            PREPARED_MAX
        } else {
            1
        };
        self.parser.limits.authenticated = self.session.authenticated;
        self.spans.clear();
        self.requests.clear();
        self.prepared.clear();
        let mut parsed = ParsedGroup {
            end: at,
            error: None,
            is_more: false,
        };
        while at < input.len() {
            if self.requests.len() == group_max {
                parsed.is_more = true;
                break;
            }
            let first = self.spans.len();
            match self.parser.parse(&mut input[at..], &mut self.spans) {
                Parsed::Command { consumed } => {
                    let args = Args::new(&input[at..], &self.spans[first..]);
                    let before = self.prepared.last();
                    let prepared = worker.prepare(&self.session, &args, before);
                    self.prepared.push(prepared);
                    worker.look_ahead(&self.session, &mut self.prepared);
                    self.requests.push(Request {
                        start: at,
                        end: at + consumed,
                        first,
                        last: self.spans.len(),
                    });
                    at += consumed;
                }
                Parsed::Empty { consumed } => at += consumed,
                Parsed::Incomplete { need } => {
                    self.need = need;
                    break;
                }
                Parsed::Error(error) => {
                    parsed.error = Some(error);
                    break;
                }
            }
        }
        parsed.end = at;
        parsed
    }

    /// Runs the parsed requests; `at` follows to the end of the last one that was run.
    fn run_group(&mut self, worker: &mut Worker, input: &[u8], at: &mut usize) -> Ran {
        for (number, request) in self.requests.iter().enumerate() {
            worker.look_ahead_running(&self.session, &mut self.prepared, number);
            let prepared = self.prepared[number];
            if self.local.shared.is_paused.load(Relaxed)
                && self
                    .local
                    .shared
                    .pause_now(worker.now())
                    .is_some_and(|pause| prepared.waits_for(pause))
            {
                return Ran::Stopped(Next::Paused);
            }
            let args = (
                &input[request.start..],
                &self.spans[request.first..request.last],
            );
            worker.dispatch(&mut self.session, self.handle.conn, args, prepared);
            *at = request.end;
            if let Some(pending) = self.session.pending.take() {
                return Ran::Stopped(Next::Pending(pending));
            }
            if self.session.close_after_reply {
                *at = input.len();
                return Ran::Stopped(Next::Close);
            }
        }
        Ran::All
    }

    /// Sends replies that are ready, or has the turn ended that will make them.
    #[inline]
    fn after_requests(&mut self, worker: &mut Worker, left: usize) {
        let conn = self.handle.conn;
        let unsent = worker.io.outbox(conn).out.len();
        let last = self.session.last_command;
        self.handle
            .client
            .was_active(worker.now(), last, left, unsent);
        if std::mem::take(&mut self.session.is_changed) {
            self.handle.client.update(&self.session);
        }
        if worker.flush_wanted {
            self.local.want_turn();
        }
        if unsent >= SEND_AT_ONCE_BYTES {
            self.handle.send(worker);
        } else if unsent > 0 && !worker.io.outbox(conn).is_waiting() {
            // With the turn, like the replies of writes: the first reply that goes out wakes a process, and then all are there.
            worker.io.touch(conn);
            self.local.want_turn();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let conn = self.handle.conn;
        self.local.conns.borrow_mut()[conn.place as usize] = None;
        self.local.shared.clients.remove(self.session.id);
        let mut worker = self.local.worker.borrow_mut();
        worker.io.close(conn);
        worker.io.stats.connected_clients.sub(1);
    }
}
