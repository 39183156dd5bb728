//! RESP2 and RESP3: bytes to commands and replies to bytes. Knows no commands.

mod args;
mod reply;

pub use args::{Args, OwnedArgs, Span};
pub use reply::{format_double, Proto, Reply};
