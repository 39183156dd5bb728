//! Reads the ends of ranges: ranks, scores and members.

use crate::commands::CommandError;
use crate::protocol::parse_f64;
use crate::store::{LexBound, LexRange, ScoreBound, ScoreRange};
use std::ops::Range;

/// `start` and `stop` as ranks of a sorted set of `len` members: negative ones count from the end, both
/// are within.
pub fn ranks(start: i64, stop: i64, len: usize) -> Range<usize> {
    let from_end = |index: i64| {
        if index < 0 {
            index.saturating_add(len as i64)
        } else {
            index
        }
    };
    let start = from_end(start).max(0) as usize;
    let end = from_end(stop).saturating_add(1).max(0) as usize;
    let end = end.min(len);
    start.min(end)..end
}

/// `min` and `max`, each a float, exclusive behind a `(`.
pub fn score_range(min: &[u8], max: &[u8]) -> Result<ScoreRange, CommandError> {
    let bounds = score_bound(min).zip(score_bound(max));
    let (min, max) = bounds.ok_or_else(|| CommandError::new("ERR min or max is not a float"))?;
    Ok(ScoreRange { min, max })
}

fn score_bound(text: &[u8]) -> Option<ScoreBound> {
    match text {
        [b'(', text @ ..] => lenient_f64(text).map(ScoreBound::Exclusive),
        text => lenient_f64(text).map(ScoreBound::Inclusive),
    }
}

/// A float as `strtod` reads it, with none of the checks that scores get: blanks may lead, nothing is 0, and what
/// does not fit a double becomes infinite or 0.
fn lenient_f64(text: &[u8]) -> Option<f64> {
    if text.is_empty() {
        return Some(0.0);
    }
    // Blanks alone are no number: nothing was read, and they are left over.
    let text = text.trim_ascii_start();
    if text.is_empty() {
        return None;
    }
    let overflowing = || std::str::from_utf8(text).ok()?.parse::<f64>().ok();
    parse_f64(text)
        .or_else(overflowing)
        .filter(|value| !value.is_nan())
}

/// `min` and `max`, each `-`, `+`, or a member behind `[` or `(`.
pub fn lex_range<'a>(min: &'a [u8], max: &'a [u8]) -> Result<LexRange<'a>, CommandError> {
    let bounds = lex_bound(min).zip(lex_bound(max));
    let (min, max) =
        bounds.ok_or_else(|| CommandError::new("ERR min or max not valid string range item"))?;
    Ok(LexRange { min, max })
}

fn lex_bound(text: &[u8]) -> Option<LexBound<'_>> {
    match text {
        b"-" => Some(LexBound::Least),
        b"+" => Some(LexBound::Greatest),
        [b'[', member @ ..] => Some(LexBound::Inclusive(member)),
        [b'(', member @ ..] => Some(LexBound::Exclusive(member)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_from_either_end() {
        assert_eq!(ranks(0, -1, 5), 0..5);
        assert_eq!(ranks(-2, -1, 5), 3..5);
        assert_eq!(ranks(-100, 1, 5), 0..2);
        assert_eq!(ranks(3, 100, 5), 3..5);
        assert!(ranks(3, 1, 5).is_empty());
        assert!(ranks(5, 9, 5).is_empty());
        assert!(ranks(0, -6, 5).is_empty());
        assert!(ranks(i64::MAX, i64::MIN, 5).is_empty());
        assert_eq!(ranks(i64::MIN, i64::MAX, 5), 0..5);
        assert!(ranks(0, -1, 0).is_empty());
    }

    #[test]
    fn score_bounds_are_read_as_c_reads_them() {
        use ScoreBound::{Exclusive, Inclusive};
        for (text, expected) in [
            ("1.5", Some(Inclusive(1.5))),
            ("(1", Some(Exclusive(1.0))),
            ("-inf", Some(Inclusive(f64::NEG_INFINITY))),
            ("(+inf", Some(Exclusive(f64::INFINITY))),
            ("", Some(Inclusive(0.0))),
            ("(", Some(Exclusive(0.0))),
            (" 2", Some(Inclusive(2.0))),
            ("0x10", Some(Inclusive(16.0))),
            ("1e400", Some(Inclusive(f64::INFINITY))),
            ("1e-400", Some(Inclusive(0.0))),
            ("nan", None),
            ("1 ", None),
            ("a", None),
            ("((1", None),
        ] {
            assert_eq!(score_bound(text.as_bytes()), expected, "{text:?}");
        }
    }
}
