//! The listening end: accepts connections from other nodes, goes through the handshake, and hands each to the worker that
//! its dialer's number points at. Knows nothing of what is said afterwards.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::hello::{self, Examined, HandshakeError};
use super::stream::{set_options, Parked, PeerStream, Socket};
use super::Home;

/// Handshakes at the same time; further connections wait in the kernel's queue. Each takes at most `Timing::handshake`.
const HANDSHAKES_MAX: usize = 256;
/// Wait after a failed accept (no file descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Refused connections are told of so often at most, so that nobody can flood the log.
const REFUSAL_PAUSE: Duration = Duration::from_secs(1);

/// A connection whose dialer has proved who it is, on its way to a worker.
pub struct Accepted {
    pub(super) parked: Parked,
    pub(super) examined: Examined,
}

/// Accepts on `listener` for good. `hand_over` gets the number of the worker that is to take the connection over
/// ([`Serving::take_over`](super::Serving::take_over)); it must not block.
///
/// # Errors
/// At once, when the node has nothing to guard an address beyond loopback, or the socket cannot be registered with the
/// runtime.
pub async fn accept_loop<F>(
    listener: StdListener,
    home: Arc<Home>,
    workers: u16,
    hand_over: F,
) -> std::io::Result<()>
where
    F: Fn(u16, Accepted) + Send + Sync + 'static,
{
    home.security
        .may_listen(listener.local_addr()?.ip())
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::PermissionDenied, error))?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let hand_over = Arc::new(hand_over);
    let refusals = Arc::new(Refusals::default());
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return Ok(()); // The semaphore is never closed.
        };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("accept failed on the peer port: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (home, hand_over, refusals) = (home.clone(), hand_over.clone(), refusals.clone());
        tokio::spawn(async move {
            match receive(stream, &home).await {
                Ok(accepted) => {
                    let worker = accepted.examined.from.worker % workers.max(1);
                    hand_over(worker, accepted);
                }
                Err(error) => refusals.tell(address, &error),
            }
            drop(place);
        });
    }
}

async fn receive(stream: TcpStream, home: &Arc<Home>) -> Result<Accepted, HandshakeError> {
    let limit = home.timing.handshake;
    let too_slow = || HandshakeError::Io(std::io::ErrorKind::TimedOut.into());
    let deadline = tokio::time::Instant::now() + limit;
    let wrapped = tokio::time::timeout_at(deadline, wrap(stream, home));
    let mut stream = wrapped.await.map_err(|_| too_slow())??;
    let examined = tokio::time::timeout_at(deadline, hello::examine(&mut stream, home));
    match examined.await.map_err(|_| too_slow())? {
        Ok(examined) => Ok(Accepted {
            parked: stream.park()?,
            examined,
        }),
        Err(error) => {
            if !matches!(error, HandshakeError::Io(_)) {
                stream.close_gently(limit).await;
            }
            Err(error)
        }
    }
}

async fn wrap(stream: TcpStream, home: &Home) -> Result<PeerStream, HandshakeError> {
    set_options(&stream, home.timing.stalled)?;
    let Some(tls) = &home.security.tls else {
        return Ok(PeerStream::Plain(stream));
    };
    let tls = tls.acceptor.accept(Socket::Here(stream)).await?;
    Ok(PeerStream::Tls(Box::new(tls.into())))
}

/// Tells the operator of refused connections, now and then.
#[derive(Default)]
struct Refusals(Mutex<Option<Instant>>);

impl Refusals {
    fn tell(&self, address: SocketAddr, error: &HandshakeError) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < REFUSAL_PAUSE) {
            tracing::debug!("refused a peer connection from {address}: {error}");
            return;
        }
        *last = Some(Instant::now());
        tracing::warn!("refused a peer connection from {address}: {error}");
    }
}
