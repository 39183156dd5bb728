//! Streams of bulk data from one node to another (snapshots), each on a connection of its own: a header, chunks, and the receiver's
//! answer. TCP slows the sender down to what the receiver takes. Knows nothing of what is transferred.

use std::future::{poll_fn, Future};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use ringfort_cluster::NodeId;
use tokio::io::AsyncWrite;
use tokio::time::timeout;

use super::dial::{dial, DialError, Target};
use super::frame::{head, send_frame, FrameError, FrameReader};
use super::serve::Slot;
use super::stream::PeerStream;
use super::{Home, Peer, Purpose};

/// The largest chunk.
pub const STREAM_CHUNK_BYTES_MAX: usize = 1 << 20;
/// The largest header.
pub const STREAM_HEADER_BYTES_MAX: usize = 1 << 20;
/// The largest answer.
pub const STREAM_ANSWER_BYTES_MAX: usize = 64 << 10;
/// Streams that a worker receives at the same time; whoever comes beyond is told that it is busy.
pub const STREAMS_INFLIGHT_MAX: usize = 16;

/// Why a stream did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// It was never opened.
    #[error(transparent)]
    NotOpened(#[from] DialError),
    /// A chunk without bytes, or a part beyond its limit.
    #[error("a part of {bytes} bytes, 1 to {bytes_max} are allowed")]
    Size { bytes: usize, bytes_max: usize },
    /// The receiver wants no more: [`StreamSender::finish`] has its answer.
    #[error("the receiver has answered before the end")]
    AnsweredEarly,
    /// Damaged, broken off or closed.
    #[error("the stream broke: {0}")]
    Broken(#[from] FrameError),
    /// A step took too long.
    #[error("the other side was too slow")]
    TooSlow,
    /// An earlier step failed or was given up in the middle.
    #[error("the stream was given up before")]
    GivenUp,
}

impl From<io::Error> for StreamError {
    fn from(error: io::Error) -> Self {
        Self::Broken(FrameError::Io(error))
    }
}

/// The sending end.
pub struct StreamSender {
    to: NodeId,
    stream: PeerStream,
    reader: FrameReader,
    /// What the receiver said before the end.
    answer: Option<Bytes>,
    /// A part was not written whole.
    is_given_up: bool,
    step: Duration,
}

/// Opens a stream and sends its header.
///
/// # Errors
/// When there is no connection or the header is too long.
pub async fn open_stream(
    home: &Home,
    target: Target<'_>,
    header: &[u8],
) -> Result<StreamSender, StreamError> {
    check_size(header.len(), 0, STREAM_HEADER_BYTES_MAX)?;
    let (stream, to) = dial(home, target, Purpose::Snapshot).await?;
    let mut sender = StreamSender {
        to,
        stream,
        reader: FrameReader::new(STREAM_ANSWER_BYTES_MAX),
        answer: None,
        is_given_up: false,
        step: home.timing.step,
    };
    sender.put(header).await?;
    Ok(sender)
}

impl StreamSender {
    /// Who receives.
    pub fn to(&self) -> NodeId {
        self.to
    }

    /// Sends one chunk; waits while the receiver is behind.
    ///
    /// # Errors
    /// When the receiver is gone, stands still, or has answered already.
    pub async fn send(&mut self, chunk: &[u8]) -> Result<(), StreamError> {
        check_size(chunk.len(), 1, STREAM_CHUNK_BYTES_MAX)?;
        self.put(chunk).await
    }

    /// Says that this was all, and waits up to `limit` for the receiver's answer.
    ///
    /// # Errors
    /// When there is none.
    pub async fn finish(mut self, limit: Duration) -> Result<Vec<u8>, StreamError> {
        if self.answer.is_none() {
            match self.put(&[]).await {
                Ok(()) | Err(StreamError::AnsweredEarly) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(answer) = &self.answer {
            return Ok(answer.to_vec());
        }
        let answer = timeout(limit, self.reader.read(&mut self.stream))
            .await
            .map_err(|_| StreamError::TooSlow)??;
        Ok(answer.to_vec())
    }

    async fn put(&mut self, part: &[u8]) -> Result<(), StreamError> {
        if self.is_given_up {
            return Err(StreamError::GivenUp);
        }
        // Whoever drops the future in the middle leaves half a frame behind.
        self.is_given_up = true;
        let head = head(part);
        let mut written = 0;
        let limit = self.step;
        let write = poll_fn(|cx| self.poll_put(cx, [&head, part], &mut written));
        within(limit, write).await?;
        self.is_given_up = false;
        Ok(())
    }

    /// Writes, and listens for an answer meanwhile: a receiver that wants no more must not be written at for long.
    fn poll_put(
        &mut self,
        cx: &mut Context<'_>,
        parts: [&[u8]; 2],
        written: &mut usize,
    ) -> Poll<Result<(), StreamError>> {
        if self.answer.is_some() {
            return Poll::Ready(Err(StreamError::AnsweredEarly));
        }
        if let Poll::Ready(answer) = self.reader.poll_read(cx, &mut self.stream) {
            self.answer = Some(answer?);
            return Poll::Ready(Err(StreamError::AnsweredEarly));
        }
        let mut stream = Pin::new(&mut self.stream);
        loop {
            let rest = match written.checked_sub(parts[0].len()) {
                None => &parts[0][*written..],
                Some(behind) => &parts[1][behind..],
            };
            if rest.is_empty() {
                return stream.as_mut().poll_flush(cx).map_err(StreamError::from);
            }
            match stream.as_mut().poll_write(cx, rest) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()))
                }
                Poll::Ready(Ok(bytes)) => *written += bytes,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

/// The receiving end.
pub struct StreamReceiver {
    /// Who sends.
    pub from: Peer,
    /// What the sender says of it.
    pub header: Bytes,
    stream: PeerStream,
    reader: FrameReader,
    is_at_end: bool,
    step: Duration,
    /// Its place among those of the worker.
    _slot: Slot,
}

impl StreamReceiver {
    /// Waits for the header.
    pub(super) async fn open(
        mut stream: PeerStream,
        from: Peer,
        step: Duration,
        slot: Slot,
    ) -> Result<Self, StreamError> {
        let mut reader = FrameReader::new(STREAM_HEADER_BYTES_MAX);
        let header = within(step, async { Ok(reader.read(&mut stream).await?) }).await?;
        reader.set_bytes_max(STREAM_CHUNK_BYTES_MAX);
        Ok(Self {
            from,
            header,
            stream,
            reader,
            is_at_end: false,
            step,
            _slot: slot,
        })
    }

    /// The next chunk; `None` when the sender has said that this was all.
    ///
    /// # Errors
    /// When the sender is gone or stands still, or a chunk was damaged: what came is not the whole.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, StreamError> {
        if self.is_at_end {
            return Ok(None);
        }
        let chunk = within(self.step, async {
            Ok(self.reader.read(&mut self.stream).await?)
        })
        .await?;
        self.is_at_end = chunk.is_empty();
        Ok((!self.is_at_end).then_some(chunk))
    }

    /// Tells the sender what became of it, at the end or before.
    ///
    /// # Errors
    /// When the sender is gone or the answer is too long.
    pub async fn answer(mut self, answer: &[u8]) -> Result<(), StreamError> {
        check_size(answer.len(), 0, STREAM_ANSWER_BYTES_MAX)?;
        within(self.step, async {
            Ok(send_frame(&mut self.stream, answer).await?)
        })
        .await?;
        // The sender may be busy with its next chunk: what it still sends must not take the answer back.
        self.stream.close_gently(self.step).await;
        Ok(())
    }
}

async fn within<T>(
    limit: Duration,
    step: impl Future<Output = Result<T, StreamError>>,
) -> Result<T, StreamError> {
    timeout(limit, step)
        .await
        .unwrap_or(Err(StreamError::TooSlow))
}

fn check_size(bytes: usize, bytes_min: usize, bytes_max: usize) -> Result<(), StreamError> {
    if (bytes_min..=bytes_max).contains(&bytes) {
        return Ok(());
    }
    Err(StreamError::Size { bytes, bytes_max })
}
