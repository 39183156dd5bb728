//! A connection to a peer, plain or in TLS, that can be moved to another thread's runtime. Knows no frames.

use std::io;
use std::net::TcpStream as StdStream;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use crate::node::loopback::spare_congestion_control;

/// What is read at once of what nobody wants any more.
const DRAIN_BYTES: usize = 16 << 10;

/// An open connection.
pub(super) enum PeerStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<Socket>>),
}

/// The socket below TLS: it leaves one runtime and is taken up by another, without TLS noticing.
pub(super) enum Socket {
    Here(TcpStream),
    Away(Option<StdStream>),
}

/// A connection on its way to another thread.
pub(super) struct Parked(PeerStreamAway);

enum PeerStreamAway {
    Plain(StdStream),
    Tls(Box<TlsStream<Socket>>),
}

/// Sets what every connection between nodes has.
pub(super) fn set_options(stream: &TcpStream, stalled: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    if let Ok(peer) = stream.peer_addr() {
        spare_congestion_control(&socket, peer.ip());
    }
    // The kernel gives up what the other side does not confirm as early as we do.
    socket.set_tcp_user_timeout(Some(stalled))
}

impl PeerStream {
    /// Takes it off this thread's runtime.
    pub fn park(self) -> io::Result<Parked> {
        Ok(Parked(match self {
            Self::Plain(stream) => PeerStreamAway::Plain(stream.into_std()?),
            Self::Tls(mut tls) => {
                let socket = tls.get_mut().0;
                if let Socket::Here(stream) = std::mem::replace(socket, Socket::Away(None)) {
                    *socket = Socket::Away(Some(stream.into_std()?));
                }
                PeerStreamAway::Tls(tls)
            }
        }))
    }

    /// Ends our side, and waits until the other has ended its own: a socket that is closed with bytes unread takes back
    /// what was sent last.
    pub async fn close_gently(mut self, limit: Duration) {
        let drain = async {
            self.shutdown().await?;
            let mut waste = vec![0; DRAIN_BYTES];
            while self.read(&mut waste).await? > 0 {}
            io::Result::Ok(())
        };
        // It is closed in any case.
        let _ = tokio::time::timeout(limit, drain).await;
    }
}

impl Parked {
    /// Takes it up on this thread's runtime.
    pub fn resume(self) -> io::Result<PeerStream> {
        Ok(match self.0 {
            PeerStreamAway::Plain(stream) => PeerStream::Plain(TcpStream::from_std(stream)?),
            PeerStreamAway::Tls(mut tls) => {
                let socket = tls.get_mut().0;
                if let Socket::Away(stream) = socket {
                    let stream = stream.take().ok_or(io::ErrorKind::NotConnected)?;
                    *socket = Socket::Here(TcpStream::from_std(stream)?);
                }
                PeerStream::Tls(tls)
            }
        })
    }
}

impl Socket {
    fn here(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        match self {
            Self::Here(stream) => Ok(Pin::new(stream)),
            Self::Away(_) => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.here()?.poll_read(cx, into)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.here()?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.here()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.here()?.poll_shutdown(cx)
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
