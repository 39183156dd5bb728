//! The bytes of an open connection, used from two places: the worker writes at the end of its turn, the connection's task reads, and writes
//! what was left. Knows no frames.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{ready, Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::PeerStream;

/// An open connection. TLS reads to write and writes to read, so all its polls must come from one task.
pub(super) struct Wire(RefCell<PeerStream>);

impl Wire {
    pub fn new(stream: PeerStream) -> Self {
        Self(RefCell::new(stream))
    }

    /// One system call, or `WouldBlock` where only the task can write.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &*self.0.borrow() {
            PeerStream::Plain(stream) => stream.try_write(bytes),
            // Encrypting and sending belong together and may take several writes.
            PeerStream::Tls(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(cx, bytes)
    }

    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(cx)
    }

    /// For a connection on which the other side only reads: resolves when it ends, or sends all the same (true).
    pub fn poll_end(mut self: &Self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut byte = [0];
        let mut into = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self).poll_read(cx, &mut into))?;
        Poll::Ready(Ok(!into.filled().is_empty()))
    }
}

impl AsyncRead for &Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(cx, into)
    }
}
