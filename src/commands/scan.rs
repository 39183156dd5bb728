//! What HSCAN, SSCAN, ZSCAN and SCAN have in common: the cursor and the options. Knows no types.

use super::{Call, CommandError};
use crate::settings::glob;

/// Elements that a step shows unless COUNT says otherwise.
const COUNT_DEFAULT: usize = 10;

/// A cursor as `strtoul` of C reads it: a sign is allowed, a negative one wraps, nothing at all is 0.
pub fn parse_cursor(text: &[u8]) -> Result<u64, CommandError> {
    let invalid = || CommandError::new("ERR invalid cursor");
    let (negative, digits) = match text {
        [] => return Ok(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(invalid());
    }
    let value = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse::<u64>().ok())
        .ok_or_else(invalid)?;
    Ok(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

/// The options behind the cursor.
pub struct ScanOptions<'a> {
    /// About how many elements to look at in this step; at least 1.
    pub count: usize,
    pattern: Option<&'a [u8]>,
    /// The type of SCAN's TYPE, for commands that take it.
    pub type_name: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    /// Reads the options from argument `first` on; TYPE is one where `with_type`.
    pub fn parse(call: &Call<'a>, first: usize, with_type: bool) -> Result<Self, CommandError> {
        let mut options = Self {
            count: COUNT_DEFAULT,
            pattern: None,
            type_name: None,
        };
        let mut at = first;
        while at < call.len() {
            if at + 1 == call.len() {
                return Err(CommandError::Syntax);
            }
            if call.is_word(at, "COUNT") {
                match call.int(at + 1)? {
                    count @ 1.. => options.count = count as usize,
                    _ => return Err(CommandError::Syntax),
                }
            } else if call.is_word(at, "MATCH") {
                // A lone star matches everything: nothing to compare.
                options.pattern = Some(call.arg(at + 1)).filter(|&pattern| pattern != b"*");
            } else if with_type && call.is_word(at, "TYPE") {
                options.type_name = Some(call.arg(at + 1));
            } else {
                return Err(CommandError::Syntax);
            }
            at += 2;
        }
        Ok(options)
    }

    /// Whether the pattern, if there is one, lets `text` through.
    pub fn lets_through(&self, text: &[u8]) -> bool {
        self.pattern
            .is_none_or(|pattern| glob::matches(pattern, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_c_reads_them() {
        for (text, expected) in [
            ("0", Some(0)),
            ("", Some(0)),
            ("007", Some(7)),
            ("+1", Some(1)),
            ("-1", Some(u64::MAX)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("+", None),
            (" 0", None),
            ("1x", None),
            ("--1", None),
        ] {
            assert_eq!(parse_cursor(text.as_bytes()).ok(), expected, "{text:?}");
        }
    }
}
