//! Bytes from a client to argument vectors: multibulk and inline requests, bounded and resumable.
//! Copies no argument and knows no command.
//!
//! Format: <https://redis.io/docs/latest/develop/reference/protocol-spec/>. As lenient as Redis 7.2 where
//! Redis is lenient: the byte after a CR and the two bytes after a bulk's data are skipped unread.

mod error;
mod inline;

pub use error::ProtocolError;

use super::Span;

/// Longest inline request and longest line with a count or a length, in bytes, as in Redis.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// What a client that has not authenticated may send: so many arguments of so many bytes.
const UNAUTHENTICATED_ARGS_MAX: i64 = 10;
const UNAUTHENTICATED_BULK_BYTES_MAX: i64 = 16_384;
/// Offsets are `u32`: a request must end below 4 GiB.
const FRAME_BYTES_MAX: usize = u32::MAX as usize;
/// Spans kept for the next request that comes in pieces; a longer list is given back to the allocator.
const SPANS_KEPT_MAX: usize = 64;

/// Bounds of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParserLimits {
    /// Arguments of one request.
    pub multibulk_args_max: i64,
    /// Bytes of one argument (`proto-max-bulk-len`).
    pub bulk_bytes_max: i64,
    /// False while the client still owes a password: Redis then takes small requests only.
    ///
    /// The check is made while parsing, so until this is true requests have to be parsed and run one by one.
    pub authenticated: bool,
}

impl Default for ParserLimits {
    fn default() -> Self {
        Self {
            multibulk_args_max: 1024 * 1024,
            bulk_bytes_max: 512 * 1024 * 1024,
            authenticated: true,
        }
    }
}

/// What [`RequestParser::parse`] found at the start of the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A whole request of `consumed` bytes; its arguments were appended to the spans.
    Command { consumed: usize },
    /// A request without arguments (an empty line, `*0`, `*-1`): skip it, nobody gets an answer.
    Empty { consumed: usize },
    /// The request goes on beyond the buffer, by at least `need` bytes.
    Incomplete { need: usize },
    /// Answer with the error, then close the connection: there is no way back into step.
    Error(ProtocolError),
}

/// Parses the requests of one connection.
///
/// The caller keeps unconsumed bytes at the front of its buffer. Between an [`Parsed::Incomplete`] and the
/// next call they must stay as they are and may only grow at the end: the parser goes on where it stopped
/// and never reads a byte twice to find a request's end, however small the pieces it arrives in.
#[derive(Debug, Default)]
pub struct RequestParser {
    pub limits: ParserLimits,
    pending: Pending,
}

/// How far a request that has not arrived in full was read. All offsets count from the request's start.
#[derive(Debug, Default)]
struct Pending {
    /// Arguments still to come; 0 while the request's first line is incomplete.
    args_left: usize,
    /// Length of the argument at `at`, once its `$` line was read.
    bulk_bytes: Option<usize>,
    /// The first byte that was not understood yet.
    at: usize,
    /// Up to here no line end was found.
    scanned: usize,
    spans: Vec<Span>,
}

/// Why a step could not go on.
enum Stop {
    Need(usize),
    Error(ProtocolError),
}

impl From<ProtocolError> for Stop {
    fn from(error: ProtocolError) -> Self {
        Stop::Error(error)
    }
}

impl RequestParser {
    pub fn new(limits: ParserLimits) -> Self {
        Self {
            limits,
            pending: Pending::default(),
        }
    }

    /// Parses the request at the start of `buf`. A whole request's arguments are appended to `spans` as
    /// offsets into `buf`; in every other case `spans` stays as it was.
    ///
    /// `buf` is mutable because quoted words of an inline request are unescaped in place.
    #[inline]
    pub fn parse(&mut self, buf: &mut [u8], spans: &mut Vec<Span>) -> Parsed {
        match buf.first() {
            None => Parsed::Incomplete { need: 1 },
            Some(b'*') => self.multibulk(buf, spans),
            Some(_) => self.inline(buf, spans),
        }
    }

    /// True while part of a request was read and the rest is awaited.
    pub fn is_inside_request(&self) -> bool {
        self.pending.at > 0 || self.pending.scanned > 0
    }

    #[inline]
    fn multibulk(&mut self, buf: &[u8], spans: &mut Vec<Span>) -> Parsed {
        if self.pending.at != 0 {
            return self.resume(buf, spans);
        }
        let (count, at) = match self.count_line(buf) {
            Ok(line) => line,
            Err(stop) => return self.stopped(stop),
        };
        self.pending.scanned = 0;
        if count <= 0 {
            return Parsed::Empty { consumed: at };
        }
        let mut cursor = Cursor {
            args_left: count as usize,
            bulk_bytes: None,
            at,
            scanned: at,
        };
        let first = spans.len();
        match cursor.run(&self.limits, buf, spans) {
            Ok(()) => Parsed::Command {
                consumed: cursor.at,
            },
            Err(stop) => {
                self.pending.spans.extend(spans.drain(first..));
                self.suspend(cursor, stop)
            }
        }
    }

    /// Goes on with a request whose beginning was read by an earlier call.
    #[cold]
    fn resume(&mut self, buf: &[u8], spans: &mut Vec<Span>) -> Parsed {
        let mut cursor = Cursor {
            args_left: self.pending.args_left,
            bulk_bytes: self.pending.bulk_bytes,
            at: self.pending.at,
            scanned: self.pending.scanned,
        };
        match cursor.run(&self.limits, buf, &mut self.pending.spans) {
            Ok(()) => {
                spans.append(&mut self.pending.spans);
                self.forget_pending();
                Parsed::Command {
                    consumed: cursor.at,
                }
            }
            Err(stop) => self.suspend(cursor, stop),
        }
    }

    #[cold]
    fn suspend(&mut self, cursor: Cursor, stop: Stop) -> Parsed {
        self.pending.args_left = cursor.args_left;
        self.pending.bulk_bytes = cursor.bulk_bytes;
        self.pending.at = cursor.at;
        self.pending.scanned = cursor.scanned;
        self.stopped(stop)
    }

    #[cold]
    fn stopped(&mut self, stop: Stop) -> Parsed {
        match stop {
            Stop::Need(need) => Parsed::Incomplete { need },
            Stop::Error(error) => {
                self.forget_pending();
                Parsed::Error(error)
            }
        }
    }

    fn forget_pending(&mut self) {
        let mut spans = std::mem::take(&mut self.pending.spans);
        spans.clear();
        spans.shrink_to(SPANS_KEPT_MAX);
        self.pending = Pending {
            spans,
            ..Pending::default()
        };
    }

    /// The number of arguments and the offset behind its line.
    #[inline]
    fn count_line(&mut self, buf: &[u8]) -> Result<(i64, usize), Stop> {
        let (count, next) = match short_line(buf, 0, b'*') {
            Some((count, next)) => (Some(count as i64), next),
            None => {
                let too_big = ProtocolError::TooBigMultibulkCount;
                let (end, next) = line_end(buf, 0, &mut self.pending.scanned, too_big)?;
                (super::parse_i64(&buf[1..end]), next)
            }
        };
        match count {
            Some(count) if count <= self.limits.multibulk_args_max => {
                if count > UNAUTHENTICATED_ARGS_MAX && !self.limits.authenticated {
                    return Err(ProtocolError::UnauthenticatedMultibulkLength.into());
                }
                Ok((count, next))
            }
            _ => Err(ProtocolError::InvalidMultibulkLength.into()),
        }
    }

    fn inline(&mut self, buf: &mut [u8], spans: &mut Vec<Span>) -> Parsed {
        let scanned = self.pending.scanned;
        let window = &buf[..buf.len().min(LINE_BYTES_MAX + 1)];
        let Some(found) = memchr::memchr(b'\n', &window[scanned.min(window.len())..]) else {
            if buf.len() > LINE_BYTES_MAX {
                return self.stopped(ProtocolError::TooBigInlineRequest.into());
            }
            self.pending.scanned = buf.len();
            return Parsed::Incomplete { need: 1 };
        };
        self.pending.scanned = 0;
        let newline = scanned + found;
        let end = newline - usize::from(newline > 0 && buf[newline - 1] == b'\r');
        let first = spans.len();
        if inline::split(&mut buf[..end], spans).is_err() {
            spans.truncate(first);
            return self.stopped(ProtocolError::UnbalancedQuotes.into());
        }
        let consumed = newline + 1;
        if spans.len() == first {
            return Parsed::Empty { consumed };
        }
        Parsed::Command { consumed }
    }
}

/// The reading position inside a multibulk request, behind its first line.
struct Cursor {
    args_left: usize,
    bulk_bytes: Option<usize>,
    at: usize,
    scanned: usize,
}

impl Cursor {
    /// Reads arguments until none is left.
    #[inline]
    fn run(&mut self, limits: &ParserLimits, buf: &[u8], out: &mut Vec<Span>) -> Result<(), Stop> {
        if self.bulk_bytes.is_none() && buf.len() <= FRAME_BYTES_MAX {
            self.run_short(limits, buf, out);
        }
        while self.args_left > 0 {
            let bulk_bytes = match self.bulk_bytes {
                Some(bulk_bytes) => bulk_bytes,
                None => self.bulk_line(limits, buf)?,
            };
            let end = self.at + bulk_bytes;
            if buf.len() < end + 2 {
                self.bulk_bytes = Some(bulk_bytes);
                return Err(Stop::Need(end + 2 - buf.len()));
            }
            self.bulk_bytes = None;
            // Both fit: `bulk_line` refused what would end beyond FRAME_BYTES_MAX.
            out.push((self.at as u32, end as u32));
            self.at = end + 2;
            self.scanned = self.at;
            self.args_left -= 1;
        }
        Ok(())
    }

    /// Reads arguments for as long as they are short, allowed and there as a whole.
    #[inline(always)]
    fn run_short(&mut self, limits: &ParserLimits, buf: &[u8], out: &mut Vec<Span>) {
        let (mut at, mut left) = (self.at, self.args_left);
        while left > 0 {
            let Some((length, next)) = short_line(buf, at, b'$') else {
                break;
            };
            let end = next + length;
            if length as i64 > limits.bulk_bytes_max || end + 2 > buf.len() {
                break;
            }
            out.push((next as u32, end as u32));
            at = end + 2;
            left -= 1;
        }
        (self.at, self.scanned, self.args_left) = (at, at, left);
    }

    /// Reads the `$` line at `at`, moves behind it and returns the length it announces.
    fn bulk_line(&mut self, limits: &ParserLimits, buf: &[u8]) -> Result<usize, Stop> {
        let too_big = ProtocolError::TooBigBulkCount;
        let (end, next) = line_end(buf, self.at, &mut self.scanned, too_big)?;
        if buf[self.at] != b'$' {
            return Err(ProtocolError::ExpectedBulk(buf[self.at]).into());
        }
        let length = super::parse_i64(&buf[self.at + 1..end]);
        self.accept_length(limits, length, next)
    }

    #[inline]
    fn accept_length(
        &mut self,
        limits: &ParserLimits,
        length: Option<i64>,
        next: usize,
    ) -> Result<usize, Stop> {
        let length = match length {
            Some(length) if (0..=limits.bulk_bytes_max).contains(&length) => length,
            _ => return Err(ProtocolError::InvalidBulkLength.into()),
        };
        if length > UNAUTHENTICATED_BULK_BYTES_MAX && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedBulkLength.into());
        }
        if length as usize > FRAME_BYTES_MAX.saturating_sub(next + 2) {
            return Err(ProtocolError::InvalidBulkLength.into());
        }
        self.at = next;
        self.scanned = next;
        Ok(length as usize)
    }
}

/// The commonest lines at once, as one word: `mark`, one to three digits without a leading zero, and a line end. Returns the number and
/// the offset behind the line; `None` leaves the line to the slow path. The largest number is below every limit but the caller's own.
#[inline(always)]
fn short_line(buf: &[u8], at: usize, mark: u8) -> Option<(usize, usize)> {
    let word = u64::from_le_bytes(buf.get(at..at + 8)?.try_into().ok()?);
    let byte = |place: usize| (word >> (8 * place)) as u8;
    let digit = |place: usize| usize::from(byte(place).wrapping_sub(b'0'));
    let first = digit(1);
    if byte(0) != mark || first > 9 {
        return None;
    }
    if byte(2) == b'\r' {
        return Some((first, at + 4));
    }
    let second = digit(2);
    // A zero is a number only when it stands alone.
    if first == 0 || second > 9 {
        return None;
    }
    if byte(3) == b'\r' {
        return Some((first * 10 + second, at + 5));
    }
    let third = digit(3);
    (third <= 9 && byte(4) == b'\r').then_some((first * 100 + second * 10 + third, at + 6))
}

/// Where the line at `start` ends and where the next begins. `scanned` remembers how far was searched.
#[cold]
fn line_end(
    buf: &[u8],
    start: usize,
    scanned: &mut usize,
    too_big: ProtocolError,
) -> Result<(usize, usize), Stop> {
    let from = (*scanned).max(start).min(buf.len());
    let window_end = buf.len().min(start + LINE_BYTES_MAX + 1);
    match memchr::memchr(b'\r', &buf[from.min(window_end)..window_end]) {
        // The byte behind the CR belongs to the line too.
        Some(found) if from + found + 1 < buf.len() => Ok((from + found, from + found + 2)),
        Some(found) => {
            *scanned = from + found;
            Err(Stop::Need(1))
        }
        None if buf.len() - start > LINE_BYTES_MAX => Err(too_big.into()),
        None => {
            *scanned = buf.len();
            Err(Stop::Need(1))
        }
    }
}

#[cfg(test)]
mod tests;
