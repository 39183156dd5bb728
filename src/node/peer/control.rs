//! Single questions between nodes: one request, one response, on a connection of their own. Knows nothing of what is asked.

use std::time::Duration;

use bytes::Bytes;
use ringfort_cluster::NodeId;
use tokio::time::{timeout, timeout_at, Instant};

use super::dial::{dial, DialError, Target};
use super::frame::{send_frame, FrameError, FrameReader};
use super::serve::ControlHandler;
use super::stream::PeerStream;
use super::{Home, Peer, Purpose};

/// The largest request and the largest response.
pub const CONTROL_BYTES_MAX: usize = 8 << 20;
/// Questions that a worker has open at the same time; whoever comes beyond is told that it is busy.
pub const CONTROL_INFLIGHT_MAX: usize = 64;

/// Why a question has no response.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It was never asked.
    #[error(transparent)]
    NotAsked(#[from] DialError),
    /// It was never asked: it is too long.
    #[error("a request of {bytes} bytes is longer than {CONTROL_BYTES_MAX}")]
    TooLarge { bytes: usize },
    /// The other node may have done what it was asked for.
    #[error("no response: {0}")]
    NoResponse(#[from] FrameError),
    /// The other node may have done what it was asked for, or may yet do it.
    #[error("no response in time")]
    TooSlow,
}

impl AskError {
    /// The other node has certainly not seen the request.
    pub fn is_certainly_unseen(&self) -> bool {
        matches!(self, Self::NotAsked(_) | Self::TooLarge { .. })
    }
}

/// Asks one question; `limit` is for all of it. Returns who answered, and what.
///
/// # Errors
/// When there is no response; the error says whether the request can have been seen.
pub async fn ask(
    home: &Home,
    target: Target<'_>,
    request: &[u8],
    limit: Duration,
) -> Result<(NodeId, Vec<u8>), AskError> {
    let bytes = request.len();
    if bytes > CONTROL_BYTES_MAX {
        return Err(AskError::TooLarge { bytes });
    }
    let deadline = Instant::now() + limit;
    let (mut stream, found) = timeout_at(deadline, dial(home, target, Purpose::Control))
        .await
        .unwrap_or(Err(DialError::TooSlow))?;
    let exchange = async {
        send_frame(&mut stream, request)
            .await
            .map_err(FrameError::Io)?;
        FrameReader::new(CONTROL_BYTES_MAX).read(&mut stream).await
    };
    let response = timeout_at(deadline, exchange)
        .await
        .map_err(|_| AskError::TooSlow)??;
    Ok((found, response.to_vec()))
}

/// The other end of [`ask`]. The handler runs to its end, also when the asker has gone.
pub(super) async fn answer(
    mut stream: PeerStream,
    from: Peer,
    handler: &ControlHandler,
    step: Duration,
) -> Result<(), FrameError> {
    let mut reader = FrameReader::new(CONTROL_BYTES_MAX);
    let request: Bytes = timeout(step, reader.read(&mut stream))
        .await
        .map_err(|_| too_slow())??;
    let response = handler(from.node, request.to_vec()).await;
    let bytes = response.len();
    if bytes > CONTROL_BYTES_MAX {
        let bytes_max = CONTROL_BYTES_MAX;
        return Err(FrameError::TooLong { bytes, bytes_max });
    }
    timeout(step, send_frame(&mut stream, &response))
        .await
        .map_err(|_| too_slow())??;
    stream.close_gently(step).await;
    Ok(())
}

fn too_slow() -> FrameError {
    FrameError::Io(std::io::ErrorKind::TimedOut.into())
}
