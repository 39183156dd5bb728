//! What SSCAN, HSCAN and ZSCAN have in common: cursor, MATCH, COUNT and the shape of the reply.

use super::glob::glob_match;
use super::{Call, CommandError};
use crate::protocol::Reply;

/// Elements that one call looks at when COUNT does not say.
const COUNT_DEFAULT: usize = 10;

/// The arguments of a scan behind its key.
pub struct Scan<'a> {
    pub cursor: u64,
    /// About how many elements to look at.
    pub count: usize,
    pattern: Option<&'a [u8]>,
}

impl<'a> Scan<'a> {
    /// Reads the cursor at argument `index`, as C's `strtoul` would: an empty one is 0, a sign is allowed.
    pub fn cursor(call: &Call<'a>, index: usize) -> Result<u64, CommandError> {
        let text = call.arg(index);
        let (negative, digits) = match text {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] => (false, digits),
            digits => (false, digits),
        };
        let invalid = || CommandError::new("ERR invalid cursor");
        if digits.is_empty() && !text.is_empty() {
            return Err(invalid());
        }
        let mut cursor: u64 = 0;
        for &byte in digits {
            let digit = byte.wrapping_sub(b'0');
            cursor = cursor
                .checked_mul(10)
                .and_then(|tens| tens.checked_add(u64::from(digit)))
                .filter(|_| digit <= 9)
                .ok_or_else(invalid)?;
        }
        Ok(if negative {
            cursor.wrapping_neg()
        } else {
            cursor
        })
    }

    /// Reads the options from argument `first` on.
    pub fn options(call: &Call<'a>, cursor: u64, first: usize) -> Result<Self, CommandError> {
        let mut scan = Scan {
            cursor,
            count: COUNT_DEFAULT,
            pattern: None,
        };
        let mut at = first;
        while at < call.len() {
            if at + 1 < call.len() && call.is_word(at, "COUNT") {
                let count = call.int(at + 1)?;
                scan.count = usize::try_from(count)
                    .ok()
                    .filter(|&count| count > 0)
                    .ok_or(CommandError::Syntax)?;
            } else if at + 1 < call.len() && call.is_word(at, "MATCH") {
                scan.pattern = Some(call.arg(at + 1)).filter(|pattern| *pattern != b"*");
            } else {
                return Err(CommandError::Syntax);
            }
            at += 2;
        }
        Ok(scan)
    }

    /// Whether an element with this name is to be shown.
    pub fn wants(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob_match(pattern, name))
    }

    /// The reply of a scan: the cursor to go on from, and `count` bulk strings that `elements` holds.
    pub fn reply(reply: &mut Reply, cursor: u64, count: usize, elements: &[u8]) {
        reply.array(2);
        let mut digits = itoa::Buffer::new();
        reply.bulk(digits.format(cursor).as_bytes());
        reply.array(count);
        reply.raw(elements);
    }
}
