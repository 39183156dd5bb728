//! Bounds on what HTTP clients may take: connections, bytes a request, time a request; and who is at the other end. Knows no route.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Connections at the same time, over all addresses; a further one is closed at once.
pub const CONNECTIONS_MAX: usize = 128;

/// Bytes of a request's body.
pub const BODY_BYTES_MAX: usize = 64 << 10;

/// Bytes that a client may send before it gets an answer: a request's line, headers and body.
pub const REQUEST_BYTES_MAX: usize = (16 << 10) + BODY_BYTES_MAX;

/// How long a client may take to send a request, or to take in some of the answer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// After a failed accept (no file descriptor left), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The places that connections take.
pub fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(CONNECTIONS_MAX))
}

/// A listener whose connections are bounded.
pub struct GuardedListener {
    listener: TcpListener,
    places: Arc<Semaphore>,
    patience: Duration,
}

impl GuardedListener {
    pub fn new(listener: TcpListener, places: Arc<Semaphore>, patience: Duration) -> Self {
        Self {
            listener,
            places,
            patience,
        }
    }
}

impl axum::serve::Listener for GuardedListener {
    type Io = GuardedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (GuardedStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                // Without a place the stream is dropped here, and so closed.
                Ok((stream, address)) => {
                    if let Ok(place) = self.places.clone().try_acquire_owned() {
                        return (GuardedStream::new(stream, place, self.patience), address);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "an HTTP connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Caller {
    pub address: SocketAddr,
    /// Answers to it that are being waited for.
    awaited: Arc<AtomicUsize>,
}

impl Caller {
    #[cfg(test)]
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            awaited: Arc::default(),
        }
    }

    /// While this lives the client waits for the node, not the other way round: its time does not pass.
    pub fn answering(&self) -> Answering {
        self.awaited.fetch_add(1, Ordering::Relaxed);
        Answering(self.awaited.clone())
    }
}

impl Connected<IncomingStream<'_, GuardedListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, GuardedListener>) -> Self {
        Self {
            address: *stream.remote_addr(),
            awaited: stream.io().awaited.clone(),
        }
    }
}

/// See [`Caller::answering`].
pub struct Answering(Arc<AtomicUsize>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that ends when its client sends too much or takes too long.
pub struct GuardedStream {
    stream: TcpStream,
    /// Runs from the accept, anew from each byte written. Bytes read do not move it: a client that sends
    /// its request byte by byte gains nothing.
    deadline: Pin<Box<Sleep>>,
    patience: Duration,
    /// Bytes read since the last write.
    read_bytes: usize,
    /// Answers that its client waits for.
    awaited: Arc<AtomicUsize>,
    _place: OwnedSemaphorePermit,
}

impl GuardedStream {
    fn new(stream: TcpStream, place: OwnedSemaphorePermit, patience: Duration) -> Self {
        Self {
            stream,
            deadline: Box::pin(tokio::time::sleep(patience)),
            patience,
            read_bytes: 0,
            awaited: Arc::default(),
            _place: place,
        }
    }

    /// `pending`, unless the client's time is over.
    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        while self.deadline.as_mut().poll(cx).is_ready() {
            if self.awaited.load(Ordering::Relaxed) == 0 {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.deadline.as_mut().reset(Instant::now() + self.patience);
        }
        Poll::Pending
    }

    fn wrote(&mut self) {
        self.read_bytes = 0;
        let deadline = Instant::now() + self.patience;
        self.deadline.as_mut().reset(deadline);
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Pending => self.wait(cx),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                self.read_bytes += buf.filled().len() - before;
                if self.read_bytes > REQUEST_BYTES_MAX {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Pending => self.wait(cx),
            Poll::Ready(result) => {
                self.wrote();
                Poll::Ready(result)
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
