//! What a command answers when it cannot do what it was asked: Redis' errors, to the letter.

use std::borrow::Cow;

use crate::protocol::Reply;
use crate::store::WrongType;

/// An error reply. The variants are those that many commands share; `Other` carries a whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    WrongType,
    Syntax,
    NotAnInteger,
    NotAFloat,
    NoSuchKey,
    IndexOutOfRange,
    OutOfRange,
    /// A complete error text with its code: `ERR min or max is not a float`.
    Other(Cow<'static, str>),
}

/// What a handler returns: its reply is written, or this error takes the place of what was written.
pub type CommandResult = Result<(), CommandError>;

impl CommandError {
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        CommandError::Other(text.into())
    }

    pub fn text(&self) -> &str {
        match self {
            CommandError::WrongType => {
                "WRONGTYPE Operation against a key holding the wrong kind of value"
            }
            CommandError::Syntax => "ERR syntax error",
            CommandError::NotAnInteger => "ERR value is not an integer or out of range",
            CommandError::NotAFloat => "ERR value is not a valid float",
            CommandError::NoSuchKey => "ERR no such key",
            CommandError::IndexOutOfRange => "ERR index out of range",
            CommandError::OutOfRange => "ERR value is out of range",
            CommandError::Other(text) => text,
        }
    }

    pub fn write(&self, reply: &mut Reply) {
        reply.error(self.text());
    }
}

impl From<WrongType> for CommandError {
    fn from(_: WrongType) -> Self {
        CommandError::WrongType
    }
}
