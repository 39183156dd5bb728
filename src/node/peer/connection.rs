//! One connection of a link, whichever side has dialed it: the bytes that wait to be written to it, the frames that come by it, the beats that
//! show whether the other side is there, and its end. Knows neither who dials nor what the frames mean.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::{ready, Context, Poll};

use super::frame::{put_frame, FrameError, FrameReader, FRAME_BYTES_MAX, HEAD_BYTES};
use super::links::SendError;
use super::pace::{Beats, Misses};
use super::stream::PeerStream;
use super::wake::Wake;
use super::wire::Wire;
use super::Timing;

/// A buffer that grew beyond this is given back once it is empty.
const OUT_KEPT_BYTES: usize = 1 << 20;
/// Writes in a row for a peer that takes everything, before others on this thread have their turn.
const WRITES_MAX: usize = 16;

/// Who sends on a connection. Who sends says so when it has nothing to say; who hears gives up when nothing comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ways {
    /// This side alone.
    Out,
    /// The other side alone.
    In,
    Both,
}

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// On this side somebody wanted it.
    Cut(String),
    /// Nothing came.
    Silent,
    /// What waits does not go out.
    Stuck,
    /// The other side sent on a connection that is not for it.
    Unasked,
    Failed(FrameError),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut(why) => f.write_str(why),
            Self::Silent => f.write_str("nothing came"),
            Self::Stuck => f.write_str("the other side takes nothing"),
            Self::Unasked => f.write_str("the other side sent bytes where it must only read"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// A connection, as its task and the workers' turns share it.
pub(super) struct Connection {
    ways: Ways,
    /// There from [`Connection::open`] on.
    wire: OnceCell<Wire>,
    /// Why it is over.
    fault: RefCell<Option<String>>,
    /// The other side has sent something.
    has_heard: Cell<bool>,
    /// Frames for the wire, of which the first `sent` bytes are gone.
    out: RefCell<Vec<u8>>,
    sent: Cell<usize>,
    /// All bytes that the wire has taken.
    taken_bytes: Cell<u64>,
    /// The wire took less than it was given: the task sends on.
    is_blocked: Cell<bool>,
    /// The task that carries it.
    carrier: Wake,
    /// The task of the link it is lent to.
    borrower: Wake,
}

/// The beats of a connection, what had been sent at the last one, and how long nothing has moved in either direction.
struct Pulse {
    beats: Beats,
    taken_bytes: u64,
    unsent: Misses,
    unheard: Misses,
}

impl Connection {
    pub fn new(ways: Ways) -> Self {
        Self {
            ways,
            wire: OnceCell::new(),
            fault: RefCell::default(),
            has_heard: Cell::new(false),
            out: RefCell::default(),
            sent: Cell::new(0),
            taken_bytes: Cell::new(0),
            is_blocked: Cell::new(false),
            carrier: Wake::default(),
            borrower: Wake::default(),
        }
    }

    /// The handshake is done: frames may go.
    pub fn open(&self, stream: PeerStream) {
        let opened = self.wire.set(Wire::new(stream));
        assert!(opened.is_ok(), "a connection is opened once");
    }

    /// Nothing goes or comes by it any more.
    pub fn is_over(&self) -> bool {
        self.fault.borrow().is_some()
    }

    /// Both sides send on it, and the other has begun to.
    pub fn can_be_lent(&self) -> bool {
        self.ways == Ways::Both && self.has_heard.get() && !self.is_over()
    }

    /// Ends it, with what waits; its tasks learn of it. The first reason stays.
    pub fn end(&self, why: &str) {
        if self.is_over() {
            return;
        }
        *self.fault.borrow_mut() = Some(why.to_owned());
        *self.out.borrow_mut() = Vec::new();
        self.sent.set(0);
        self.is_blocked.set(false);
        self.carrier.wake();
        self.borrower.wake();
    }

    /// Resolves with the reason when it is over.
    pub async fn ended(&self) -> String {
        poll_fn(|cx| {
            self.borrower.remember(cx);
            match &*self.fault.borrow() {
                Some(why) => Poll::Ready(why.clone()),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Appends a frame to what is to be sent.
    pub fn put(&self, frame: &[u8], backlog_bytes_max: usize) -> Result<(), SendError> {
        if self.is_over() {
            return Err(SendError::Down);
        }
        if frame.len() > FRAME_BYTES_MAX {
            return Err(SendError::TooLong);
        }
        let waiting = self.backlog_bytes();
        // The largest frame is larger than what may wait: it goes when nothing waits.
        if waiting > 0 && waiting + HEAD_BYTES + frame.len() > backlog_bytes_max {
            return Err(SendError::Full);
        }
        put_frame(&mut self.out.borrow_mut(), frame);
        Ok(())
    }

    /// Says that this side is there.
    pub fn ping(&self) {
        put_frame(&mut self.out.borrow_mut(), &[]);
        self.flush();
    }

    /// One write, unless the task is at it already.
    pub fn flush(&self) {
        if !self.is_blocked.get() {
            self.write_once();
        }
    }

    /// Bytes that wait to be sent.
    pub fn backlog_bytes(&self) -> usize {
        self.out.borrow().len() - self.sent.get()
    }

    /// Gives the wire what waits; leaves to the task what it does not take.
    fn write_once(&self) {
        let written = match self.wire.get() {
            Some(wire) if self.backlog_bytes() > 0 => {
                wire.try_write(&self.out.borrow()[self.sent.get()..])
            }
            _ => return,
        };
        match written {
            Ok(bytes) if bytes > 0 => {
                self.took(bytes);
                if self.backlog_bytes() > 0 {
                    self.block();
                }
            }
            Ok(_) => self.end("the connection takes no more"),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.block(),
            Err(error) => self.end(&error.to_string()),
        }
    }

    fn block(&self) {
        self.is_blocked.set(true);
        self.carrier.wake();
    }

    fn took(&self, bytes: usize) {
        self.taken_bytes.set(self.taken_bytes.get() + bytes as u64);
        let mut out = self.out.borrow_mut();
        let sent = self.sent.get() + bytes;
        self.sent.set(0);
        if sent < out.len() {
            // Moved up only when as much is gone as is left, so that every byte moves once or twice.
            if sent >= out.len() - sent {
                out.drain(..sent);
            } else {
                self.sent.set(sent);
            }
        } else if out.capacity() > OUT_KEPT_BYTES {
            *out = Vec::new();
        } else {
            out.clear();
        }
    }

    /// Everything that an open connection does by itself, until it ends. `take` is given what has come after each read. To be
    /// called by one task.
    pub async fn carry(
        &self,
        timing: &Timing,
        mut take: impl FnMut(&mut FrameReader) -> Result<(), FrameError>,
    ) -> End {
        let Some(wire) = self.wire.get() else {
            return End::Cut("it was never open".to_owned());
        };
        let mut reader = FrameReader::new(FRAME_BYTES_MAX);
        let mut pulse = Pulse {
            beats: Beats::new(timing),
            taken_bytes: self.taken_bytes.get(),
            unsent: Misses::new(timing),
            unheard: Misses::new(timing),
        };
        loop {
            let read = poll_fn(|cx| self.poll_carry(cx, wire, &mut reader, &mut pulse)).await;
            if let Err(end) = read {
                return end;
            }
            pulse.unheard.moved();
            self.has_heard.set(true);
            if let Err(error) = take(&mut reader) {
                return End::Failed(error);
            }
        }
    }

    /// Resolves when something has come, or with the end.
    fn poll_carry(
        &self,
        cx: &mut Context<'_>,
        wire: &Wire,
        reader: &mut FrameReader,
        pulse: &mut Pulse,
    ) -> Poll<Result<(), End>> {
        self.carrier.remember(cx);
        if let Some(why) = &*self.fault.borrow() {
            return Poll::Ready(Err(End::Cut(why.clone())));
        }
        // Both before the clock: after a pause of this process the wire takes more and has bytes already, and nothing stood still.
        if self.is_blocked.get() {
            if let Poll::Ready(Err(error)) = self.poll_send_on(cx, wire) {
                return Poll::Ready(Err(End::Failed(error.into())));
            }
        }
        if let Poll::Ready(read) = self.poll_hear(cx, wire, reader) {
            return Poll::Ready(read);
        }
        while pulse.beats.poll(cx).is_ready() {
            if self.ways != Ways::In && self.is_stuck(pulse) {
                return Poll::Ready(Err(End::Stuck));
            }
            if self.ways != Ways::Out && pulse.unheard.missed() {
                return Poll::Ready(Err(End::Silent));
            }
        }
        Poll::Pending
    }

    /// One read.
    fn poll_hear(
        &self,
        cx: &mut Context<'_>,
        mut wire: &Wire,
        reader: &mut FrameReader,
    ) -> Poll<Result<(), End>> {
        let failed = |error: io::Error| End::Failed(error.into());
        let closed = Err(End::Failed(FrameError::Closed));
        Poll::Ready(if self.ways == Ways::Out {
            match ready!(wire.poll_end(cx)).map_err(failed)? {
                true => Err(End::Unasked),
                false => closed,
            }
        } else {
            match ready!(reader.poll_fill(cx, &mut wire)).map_err(failed)? {
                0 => closed,
                _ => Ok(()),
            }
        })
    }

    /// Sends what the wire did not take before.
    fn poll_send_on(&self, cx: &mut Context<'_>, wire: &Wire) -> Poll<io::Result<()>> {
        for _ in 0..WRITES_MAX {
            if self.backlog_bytes() == 0 {
                ready!(wire.poll_flush(cx))?;
                self.is_blocked.set(false);
                return Poll::Ready(Ok(()));
            }
            let written = wire.poll_write(cx, &self.out.borrow()[self.sent.get()..]);
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.took(bytes),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One beat: says on an idle connection that we are there; notices one that is stuck.
    fn is_stuck(&self, pulse: &mut Pulse) -> bool {
        let taken_bytes = self.taken_bytes.get();
        let moves = taken_bytes != pulse.taken_bytes;
        pulse.taken_bytes = taken_bytes;
        let waits = self.backlog_bytes() > 0;
        if !moves && !waits {
            self.ping();
        } else {
            self.flush();
        }
        if moves || !waits {
            pulse.unsent.moved();
            return false;
        }
        pulse.unsent.missed()
    }
}
