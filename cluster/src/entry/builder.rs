//! Collects the commands of one turn into the bytes of a log entry. The hot path of every write.

use super::{EntryError, Header, Span, Stamp, ENTRY_BYTES_MAX, HEADER_BYTES, SEMANTICS_VERSION};
use crate::codec;
use bytes::{Bytes, BytesMut};

/// Entries are cut one after another from a block of this size, which is used again as soon as all
/// entries cut from it are gone.
const BLOCK_BYTES: usize = 4 * 1024;

/// After an entry larger than this the builder starts from a fresh block, so that one huge value does not hold
/// its memory for good.
const REUSED_ENTRY_BYTES_MAX: usize = 256 * 1024;

/// Builds one log entry after another.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    buf: BytesMut,
    commands: u32,
}

impl BatchBuilder {
    /// An empty batch, which holds no memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a command: the number of its database and its arguments, the name first, which lie at `spans` of `from`. Gives
    /// the bytes that it takes.
    ///
    /// # Errors
    /// When the entry would become too large or there are no arguments; the batch is as before then.
    ///
    /// # Panics
    /// When a span does not lie in `from`.
    #[inline]
    pub fn push(
        &mut self,
        database: u16,
        from: &[u8],
        spans: &[Span],
    ) -> Result<usize, EntryError> {
        if spans.is_empty() {
            return Err(EntryError::NoArguments);
        }
        let room_bytes = room_bytes(spans);
        if room_bytes > ENTRY_BYTES_MAX - self.bytes().max(HEADER_BYTES) {
            return Err(EntryError::TooLarge);
        }
        if self.buf.is_empty() {
            self.start(room_bytes);
        }
        self.buf.reserve(room_bytes);
        let begin: *mut u8 = self.buf.spare_capacity_mut().as_mut_ptr().cast();
        // SAFETY: `room_bytes` are there, and reckoned from the same spans; no argument is longer than its span, since a
        // span that is none makes the slice below panic.
        let length = unsafe {
            let mut at = put_varint(begin, usize::from(database));
            at = put_varint(at, spans.len());
            for &(start, end) in spans {
                let arg = &from[start as usize..end as usize];
                at = put_varint(at, arg.len());
                put(at, arg, from.len() - start as usize);
                at = at.add(arg.len());
            }
            at.offset_from(begin) as usize
        };
        debug_assert!(length + SLACK_BYTES <= room_bytes);
        // SAFETY: so many bytes behind the old end were just written.
        unsafe { self.buf.set_len(self.buf.len() + length) };
        self.commands += 1;
        Ok(length)
    }

    /// Commands collected so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.commands as usize
    }

    /// Whether there is no command yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands == 0
    }

    /// Where the next command will be written, as far as is known: for a processor that likes to be told early.
    #[inline]
    #[must_use]
    pub fn tail(&self) -> *const u8 {
        self.buf.as_ptr().wrapping_add(self.buf.len())
    }

    /// Length of the entry so far, in bytes; 0 when it is empty.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.buf.len()
    }

    /// Forgets the commands collected so far.
    pub fn clear(&mut self) {
        self.buf.clear();
        self.commands = 0;
    }

    /// Closes the entry with its stamp and leaves the builder empty, ready for the next one.
    #[must_use]
    pub fn finish(&mut self, stamp: Stamp) -> Bytes {
        if self.buf.is_empty() {
            self.start(0);
        }
        let header = Header {
            stamp,
            semantics: SEMANTICS_VERSION,
            commands: std::mem::take(&mut self.commands),
        };
        let written = codec::encode_into_slice(&header, &mut self.buf[..HEADER_BYTES]);
        assert_eq!(written, Ok(HEADER_BYTES), "the header has one length");
        let entry = self.buf.split().freeze();
        if entry.len() > REUSED_ENTRY_BYTES_MAX {
            self.buf = BytesMut::new();
        }
        entry
    }

    /// Makes room for the header; it is written when the stamp is known.
    fn start(&mut self, bytes_expected: usize) {
        let bytes = HEADER_BYTES + bytes_expected;
        if self.buf.capacity() < bytes {
            self.buf.reserve(bytes.max(BLOCK_BYTES));
        }
        self.buf.extend_from_slice(&[0; HEADER_BYTES]);
    }
}

/// The longest LEB128 number that a command holds: a length of 32 bits.
const VARINT_BYTES_MAX: usize = 5;

/// Short arguments are moved with so many bytes at once, of which what belongs to nothing is written over.
const SLACK_BYTES: usize = 16;

/// What a command takes in an entry at most, and room for moves that write further than they need.
#[inline(always)]
fn room_bytes(spans: &[Span]) -> usize {
    let numbers = (spans.len() + 2) * VARINT_BYTES_MAX;
    let length = |&(start, end): &Span| end.saturating_sub(start) as usize;
    let bytes: usize = spans.iter().map(length).sum();
    bytes + numbers + SLACK_BYTES
}

/// Writes a LEB128 number and gives the place behind it.
///
/// # Safety
/// There must be room for [`VARINT_BYTES_MAX`] bytes.
#[inline(always)]
unsafe fn put_varint(into: *mut u8, number: usize) -> *mut u8 {
    if number < 0x80 {
        into.write(number as u8);
        return into.add(1);
    }
    put_long_varint(into, number)
}

#[cold]
unsafe fn put_long_varint(mut into: *mut u8, mut number: usize) -> *mut u8 {
    while number >= 0x80 {
        into.write(number as u8 | 0x80);
        into = into.add(1);
        number >>= 7;
    }
    into.write(number as u8);
    into.add(1)
}

/// Writes an argument.
///
/// # Safety
/// There must be room for its bytes and [`SLACK_BYTES`] more, and `readable` bytes from its beginning on.
#[inline(always)]
unsafe fn put(into: *mut u8, arg: &[u8], readable: usize) {
    if arg.len() <= SLACK_BYTES && readable >= SLACK_BYTES {
        return into
            .cast::<[u8; SLACK_BYTES]>()
            .write_unaligned(arg.as_ptr().cast::<[u8; SLACK_BYTES]>().read_unaligned());
    }
    std::ptr::copy_nonoverlapping(arg.as_ptr(), into, arg.len());
}
