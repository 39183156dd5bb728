//! RESP2 and RESP3: bytes to commands and replies to bytes. Knows no commands.

mod args;
mod float_text;
mod long_double;
mod natural;
mod number;
mod parser;
mod reply;

pub use args::{Args, OwnedArgs, Span};
pub use long_double::{format_incr_float, LongDouble};
pub use number::{format_double, parse_f64, parse_i64};
pub use parser::{Parsed, ParserLimits, ProtocolError, RequestParser, LINE_BYTES_MAX};
pub use reply::{Proto, Reply};
