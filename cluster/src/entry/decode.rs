//! Reads a log entry without copying it: the arguments stay where they are and are told by their offsets.

use super::{EntryError, Header, Span, Stamp, ENTRY_BYTES_MAX, HEADER_BYTES, SEMANTICS_VERSION};
use crate::codec;

/// A log entry whose header has been read and checked.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    bytes: &'a [u8],
    header: Header,
}

impl<'a> Batch<'a> {
    /// Reads the header. The commands are checked while they are walked; for bytes of unknown origin
    /// call [`Batch::validate`] before the first one is applied.
    ///
    /// # Errors
    /// When the header is damaged or from a version that this program does not know.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EntryError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLarge);
        }
        let (header, length) = codec::decode_prefix::<Header>(bytes)?;
        assert_eq!(length, HEADER_BYTES, "the header has one length");
        if header.semantics > SEMANTICS_VERSION {
            return Err(EntryError::Semantics(header.semantics));
        }
        Ok(Self { bytes, header })
    }

    /// The leader's clock and seed.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.header.stamp
    }

    /// The version of the rules under which the entry was written.
    #[must_use]
    pub fn semantics(&self) -> u16 {
        self.header.semantics
    }

    /// How many commands the entry holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.header.commands as usize
    }

    /// Whether the entry holds no command.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.header.commands == 0
    }

    /// The whole entry: what the spans of a [`Cursor`] point into.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// A walk over the commands, from the first.
    #[must_use]
    pub fn cursor(&self) -> Cursor<'a> {
        Cursor {
            bytes: self.bytes,
            at: HEADER_BYTES,
            left: self.header.commands,
        }
    }

    /// Walks over all commands once, so that a later walk cannot fail.
    ///
    /// # Errors
    /// When the entry is damaged anywhere.
    pub fn validate(&self) -> Result<(), EntryError> {
        let mut cursor = self.cursor();
        let mut spans = Vec::new();
        while cursor.next_into(&mut spans)?.is_some() {}
        Ok(())
    }
}

/// A walk over the commands of an entry.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    left: u32,
}

impl Cursor<'_> {
    /// Puts the spans of the next command's arguments into `spans` and gives its database; `None` after the last
    /// one. The arguments are as many as there are spans, at least one.
    ///
    /// # Errors
    /// When the entry is damaged here; the walk cannot go on then.
    #[inline]
    pub fn next_into(&mut self, spans: &mut Vec<Span>) -> Result<Option<u16>, EntryError> {
        spans.clear();
        if self.left == 0 {
            return match self.bytes.len() - self.at {
                0 => Ok(None),
                trailing => Err(EntryError::Trailing(trailing)),
            };
        }
        let start = self.at;
        let database = u16::try_from(self.varint()?).map_err(|_| EntryError::Damaged(start))?;
        let argc = self.varint()? as usize;
        // Every argument takes a byte at least, so the claim can be checked before anything is allocated.
        if argc > self.bytes.len() - self.at {
            return Err(EntryError::Damaged(start));
        }
        if argc == 0 {
            return Err(EntryError::NoArguments);
        }
        spans.reserve(argc);
        let bytes = self.bytes;
        let mut at = self.at;
        for slot in &mut spans.spare_capacity_mut()[..argc] {
            // Nearly every length is one byte.
            let length = match bytes.get(at) {
                Some(&byte) if byte < 0x80 => {
                    at += 1;
                    usize::from(byte)
                }
                _ => {
                    self.at = at;
                    let length = self.varint_long()? as usize;
                    at = self.at;
                    length
                }
            };
            let end = at + length;
            if end > bytes.len() {
                return Err(EntryError::Damaged(at));
            }
            slot.write((at as u32, end as u32));
            at = end;
        }
        self.at = at;
        // SAFETY: so many were just written.
        unsafe { spans.set_len(argc) };
        self.left -= 1;
        Ok(Some(database))
    }

    /// Commands that are still to come.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left as usize
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<u32, EntryError> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u32::from(byte))
            }
            _ => self.varint_long(),
        }
    }

    #[cold]
    fn varint_long(&mut self) -> Result<u32, EntryError> {
        let start = self.at;
        let mut number = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let &byte = self.bytes.get(self.at).ok_or(EntryError::Damaged(start))?;
            self.at += 1;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return u32::try_from(number).map_err(|_| EntryError::Damaged(start));
            }
        }
        Err(EntryError::Damaged(start))
    }
}
