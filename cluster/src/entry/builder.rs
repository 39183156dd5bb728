//! Collects the commands of one turn into the bytes of a log entry. The hot path of every write.

use super::{EntryError, Header, Stamp, ENTRY_BYTES_MAX, HEADER_BYTES, SEMANTICS_VERSION};
use crate::codec;
use bytes::{BufMut, Bytes, BytesMut};

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

    /// Adds a command: the number of its database and its arguments, the name first.
    ///
    /// # Errors
    /// When the entry would become too large or there are no arguments; the batch is as before then.
    #[inline]
    pub fn push<'a, I>(&mut self, database: u16, argv: I) -> Result<(), EntryError>
    where
        I: IntoIterator<Item = &'a [u8]>,
        I::IntoIter: ExactSizeIterator + Clone,
    {
        let argv = argv.into_iter();
        let argc = argv.len();
        if argc == 0 {
            return Err(EntryError::NoArguments);
        }
        let length = argv.clone().fold(
            varint_bytes(usize::from(database)).saturating_add(varint_bytes(argc)),
            |sum, arg| {
                sum.saturating_add(varint_bytes(arg.len()))
                    .saturating_add(arg.len())
            },
        );
        if length > ENTRY_BYTES_MAX - self.bytes().max(HEADER_BYTES) {
            return Err(EntryError::TooLarge);
        }
        if self.buf.is_empty() {
            self.start(length);
        }
        self.buf.reserve(length);
        put_varint(&mut self.buf, usize::from(database));
        put_varint(&mut self.buf, argc);
        for arg in argv {
            put_varint(&mut self.buf, arg.len());
            self.buf.extend_from_slice(arg);
        }
        self.commands += 1;
        Ok(())
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

/// The length of a number in LEB128.
#[inline]
fn varint_bytes(number: usize) -> usize {
    match number {
        0..0x80 => 1,
        _ => (number.ilog2() / 7 + 1) as usize,
    }
}

/// Appends a LEB128 number.
#[inline]
fn put_varint(out: &mut BytesMut, mut number: usize) {
    while number >= 0x80 {
        out.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}
