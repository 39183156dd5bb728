//! Collects the commands of one turn into the bytes of a log entry. The hot path of every write.

use super::{EntryError, Header, Stamp, ENTRY_BYTES_MAX, HEADER_BYTES, SEMANTICS_VERSION};
use crate::codec;
use bytes::{Bytes, BytesMut};
use std::mem::MaybeUninit;

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

    /// Adds a command: the number of its database and its arguments, the name first. Gives the bytes that it takes.
    ///
    /// # Errors
    /// When the entry would become too large or there are no arguments; the batch is as before then.
    #[inline]
    pub fn push<'a, I>(&mut self, database: u16, argv: I) -> Result<usize, EntryError>
    where
        I: IntoIterator<Item = &'a [u8]>,
        I::IntoIter: ExactSizeIterator + Clone,
    {
        let argv = argv.into_iter();
        let argc = argv.len();
        if argc == 0 {
            return Err(EntryError::NoArguments);
        }
        let length = command_bytes(database, argv.clone());
        if length > ENTRY_BYTES_MAX - self.bytes().max(HEADER_BYTES) {
            return Err(EntryError::TooLarge);
        }
        if self.buf.is_empty() {
            self.start(length);
        }
        self.buf.reserve(length);
        let mut room = Room(&mut self.buf.spare_capacity_mut()[..length]);
        room.put_varint(usize::from(database));
        room.put_varint(argc);
        for arg in argv {
            room.put_varint(arg.len());
            room.put(arg);
        }
        assert!(
            room.0.is_empty(),
            "the length was reckoned from the same arguments"
        );
        // SAFETY: so many bytes behind the old end were written: the room began there and nothing is left of it.
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

/// What a command takes in an entry.
#[inline(always)]
fn command_bytes<'a>(
    database: u16,
    argv: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
) -> usize {
    let numbers = usize::from(database) | argv.len();
    let (numbers, bytes) = argv
        .clone()
        .fold((numbers, 0usize), |(numbers, bytes), arg| {
            (numbers | arg.len(), bytes.saturating_add(arg.len()))
        });
    match numbers {
        // Every number is one byte.
        0..0x80 => bytes + 2 + argv.len(),
        _ => {
            let lengths = argv.map(|arg| varint_bytes(arg.len()));
            let others = [
                varint_bytes(usize::from(database)),
                varint_bytes(lengths.len()),
            ];
            lengths.chain(others).fold(bytes, usize::saturating_add)
        }
    }
}

/// The length of a number in LEB128.
fn varint_bytes(number: usize) -> usize {
    match number {
        0..0x80 => 1,
        _ => (number.ilog2() / 7 + 1) as usize,
    }
}

/// Memory that is being written from its beginning on; what is left of it. A command is a dozen small pieces, and a growing buffer
/// would ask before each whether it has to grow.
struct Room<'a>(&'a mut [MaybeUninit<u8>]);

impl Room<'_> {
    /// Takes the first `count` bytes off. Panics where there are fewer.
    #[inline(always)]
    fn take(&mut self, count: usize) -> &mut [MaybeUninit<u8>] {
        let (taken, left) = std::mem::take(&mut self.0).split_at_mut(count);
        self.0 = left;
        taken
    }

    #[inline(always)]
    fn put_byte(&mut self, byte: u8) {
        self.take(1)[0].write(byte);
    }

    /// Writes a LEB128 number.
    #[inline(always)]
    fn put_varint(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.put_byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.put_byte(number as u8);
    }

    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) {
        let into = self.take(bytes.len());
        // SAFETY: as long as each other, and the room is nobody else's.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), into.as_mut_ptr().cast(), bytes.len());
        }
    }
}
