//! The connection of a link that is up, written from two places: by the worker at the end of its turn, and by the link's task for
//! what was left. Knows no frames.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{ready, Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::stream::PeerStream;

/// The connection of a link that is up.
pub(super) enum Wire {
    Plain(TcpStream),
    /// Written by the link's task alone.
    Tls(RefCell<PeerStream>),
}

impl Wire {
    pub fn new(stream: PeerStream) -> Self {
        match stream {
            PeerStream::Plain(stream) => Self::Plain(stream),
            tls => Self::Tls(RefCell::new(tls)),
        }
    }

    /// One system call, or `WouldBlock` where only the task can write.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_write(bytes),
            // Encrypting and sending belong together and may take several writes.
            Self::Tls(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => loop {
                ready!(stream.poll_write_ready(cx))?;
                match stream.try_write(bytes) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    written => return Poll::Ready(written),
                }
            },
            Self::Tls(stream) => Pin::new(&mut *stream.borrow_mut()).poll_write(cx, bytes),
        }
    }

    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(&mut *stream.borrow_mut()).poll_flush(cx),
        }
    }

    /// Resolves when the other side ends the connection. It sends nothing on it.
    pub fn poll_end(&self, cx: &mut Context<'_>) -> Poll<String> {
        let mut byte = [0];
        let mut into = ReadBuf::new(&mut byte);
        let read = match self {
            Self::Plain(stream) => loop {
                if let Err(error) = ready!(stream.poll_read_ready(cx)) {
                    break Err(error);
                }
                match stream.try_read(into.initialize_unfilled()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Ok(bytes) => {
                        into.advance(bytes);
                        break Ok(());
                    }
                    Err(error) => break Err(error),
                }
            },
            Self::Tls(stream) => {
                ready!(Pin::new(&mut *stream.borrow_mut()).poll_read(cx, &mut into))
            }
        };
        Poll::Ready(match read {
            Ok(()) if into.filled().is_empty() => "the other side closed it".to_owned(),
            Ok(()) => "the other side sent bytes where it must only read".to_owned(),
            Err(error) => error.to_string(),
        })
    }
}
