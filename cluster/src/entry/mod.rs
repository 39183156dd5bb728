//! What a log entry of a shard holds: the leader's stamp and the argv of every command of one turn.
//! Knows nothing of what the commands mean, nor of the log that carries them.
//!
//! ```text
//! header   codec version u8 | clock_ms u64 | seed u64 | semantics u16 | commands u32     (little-endian)
//! command  database varint | argc varint | argc x ( length varint | bytes )
//! ```
//!
//! A varint is LEB128: seven bits a byte, the lowest first, at most five bytes. Between the commands
//! stands nothing, and nothing after the last one. An entry without commands is a mark (`mark.rs`).

mod builder;
mod decode;
mod mark;
#[cfg(test)]
mod tests;

pub use builder::BatchBuilder;
pub use decode::{Batch, Cursor};
pub use mark::{mark, mark_of};

use bincode::{Decode, Encode};

/// The version of what commands mean. A change that would let an old and a new replica answer one
/// entry differently raises it, and the cluster writes it only when every node knows it.
pub const SEMANTICS_VERSION: u16 = 1;

/// The largest entry, in bytes. Offsets into an entry are 32 bits wide.
pub const ENTRY_BYTES_MAX: usize = 0x7FFF_FFFF;

/// The length of an entry's header, in bytes.
pub const HEADER_BYTES: usize = 23;

/// Where one argument lies in its entry: start and end offset in bytes.
pub type Span = (u32, u32);

/// The leader's clock and its source of chance, the same for every replica that applies the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Stamp {
    /// Milliseconds since the Unix epoch. Never goes backwards along a log (invariant 2).
    pub clock_ms: u64,
    /// Seed of everything that a command draws at random.
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, Encode, Decode)]
struct Header {
    stamp: Stamp,
    semantics: u16,
    commands: u32,
}

/// Why an entry cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The batch would grow beyond [`ENTRY_BYTES_MAX`]. Nothing of the command was taken.
    #[error("log entry would be larger than {ENTRY_BYTES_MAX} bytes")]
    TooLarge,
    /// A command without even a name.
    #[error("command without arguments in a log entry")]
    NoArguments,
    /// The header cannot be read.
    #[error("log entry header: {0}")]
    Header(#[from] crate::codec::CodecError),
    /// Written under rules that this program does not know.
    #[error("log entry has semantics version {0}, this program knows up to {SEMANTICS_VERSION}: upgrade this node")]
    Semantics(u16),
    /// The bytes end inside a command, or hold a number that cannot be.
    #[error("log entry is damaged at byte {0}")]
    Damaged(usize),
    /// More bytes than the commands that the header announces.
    #[error("log entry has {0} bytes after its last command")]
    Trailing(usize),
}
