//! Frames: bytes with their length and checksum in front. A damaged one is an error, never a panic, and memory grows only with
//! what has really come (invariant 11).

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{ready, Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The largest payload on a link: what one Raft message or one command may need, with room for what is said around it.
pub const FRAME_BYTES_MAX: usize = ringfort_cluster::replica::wire::FRAME_BYTES_MAX + (1 << 20);
const _: () = assert!(FRAME_BYTES_MAX <= u32::MAX as usize - HEAD_BYTES);

/// Length and checksum.
pub(super) const HEAD_BYTES: usize = 8;
/// Room for one read when nothing tells how much is coming.
const READ_BYTES: usize = 64 << 10;
/// With less room than this left, a read gets a new piece of the buffer.
const READ_ROOM_BYTES_MIN: usize = 16 << 10;
/// A read buffer that grew beyond this for a large frame is given back after it.
const READ_KEPT_BYTES: usize = 1 << 20;

/// Bytes that are no frames.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than what may come here.
    #[error("a frame of {bytes} bytes came, at most {bytes_max} are allowed")]
    TooLong { bytes: usize, bytes_max: usize },
    /// Damaged on the way.
    #[error("a frame of {bytes} bytes does not match its checksum")]
    Checksum { bytes: usize },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The connection ended, perhaps within a frame.
    #[error("the other side closed the connection")]
    Closed,
}

/// Appends `payload` as a frame. The caller has checked its length.
pub(super) fn put_frame(out: &mut Vec<u8>, payload: &[u8]) {
    out.extend_from_slice(&head(payload));
    out.extend_from_slice(payload);
}

/// What stands before `payload`.
pub(super) fn head(payload: &[u8]) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    head[4..].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
    head
}

/// Sends `payload` as a frame; a small one as one packet.
pub(super) async fn send_frame<S: AsyncWrite + Unpin>(
    stream: &mut S,
    payload: &[u8],
) -> io::Result<()> {
    if payload.len() <= READ_ROOM_BYTES_MIN {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + payload.len());
        put_frame(&mut bytes, payload);
        stream.write_all(&bytes).await?;
    } else {
        stream.write_all(&head(payload)).await?;
        stream.write_all(payload).await?;
    }
    stream.flush().await
}

/// Finds the frames in what a connection brings.
pub(super) struct FrameReader {
    buffer: BytesMut,
    bytes_max: usize,
}

impl FrameReader {
    /// For frames of at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            bytes_max,
        }
    }

    /// From now on frames may have `bytes_max` bytes.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// The next frame that has come whole.
    pub fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(bytes) = self.length()? else {
            return Ok(None);
        };
        if self.buffer.len() < HEAD_BYTES + bytes {
            return Ok(None);
        }
        let expected = u32::from_le_bytes([
            self.buffer[4],
            self.buffer[5],
            self.buffer[6],
            self.buffer[7],
        ]);
        self.buffer.advance(HEAD_BYTES);
        let frame = self.buffer.split_to(bytes);
        if bytes > READ_KEPT_BYTES {
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        if crc32fast::hash(&frame) != expected {
            return Err(FrameError::Checksum { bytes });
        }
        Ok(Some(frame.freeze()))
    }

    /// The payload's length of the frame that begins the buffer.
    fn length(&self) -> Result<Option<usize>, FrameError> {
        if self.buffer.len() < HEAD_BYTES {
            return Ok(None);
        }
        let length = [
            self.buffer[0],
            self.buffer[1],
            self.buffer[2],
            self.buffer[3],
        ];
        let bytes = u32::from_le_bytes(length) as usize;
        if bytes > self.bytes_max {
            let bytes_max = self.bytes_max;
            return Err(FrameError::TooLong { bytes, bytes_max });
        }
        Ok(Some(bytes))
    }

    /// One read of what the connection has; 0 at its end.
    pub fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        self.make_room();
        pin!(stream.read_buf(&mut self.buffer)).poll(cx)
    }

    /// A large frame is read in large pieces, each at most as large as what is there already: a length that only claims to be
    /// large costs nothing.
    fn make_room(&mut self) {
        let have = self.buffer.len();
        let missing = match self.length() {
            Ok(Some(bytes)) => (HEAD_BYTES + bytes).saturating_sub(have),
            _ => 0,
        };
        let wanted = missing.clamp(READ_BYTES, have.max(READ_BYTES));
        if self.buffer.capacity() - have < READ_ROOM_BYTES_MIN || missing > READ_BYTES {
            self.buffer.reserve(wanted);
        }
    }

    /// Waits for one whole frame. May be given up and called again.
    pub async fn read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
    ) -> Result<Bytes, FrameError> {
        loop {
            if let Some(frame) = self.next()? {
                return Ok(frame);
            }
            let read = std::future::poll_fn(|cx| self.poll_fill(cx, stream)).await?;
            if read == 0 {
                return Err(FrameError::Closed);
            }
        }
    }

    /// Like [`FrameReader::read`], as a step of somebody else's poll.
    pub fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<Result<Bytes, FrameError>> {
        loop {
            if let Some(frame) = self.next()? {
                return Poll::Ready(Ok(frame));
            }
            if ready!(self.poll_fill(cx, stream))? == 0 {
                return Poll::Ready(Err(FrameError::Closed));
            }
        }
    }
}
