//! Splits an inline request into words, with the quoting rules of `redis-cli` and Redis' config files.

use super::Span;

/// A quote that is not closed, or closed in the middle of a word.
#[derive(Debug, PartialEq, Eq)]
pub struct UnbalancedQuotes;

/// Appends the words of `line` to `spans`. Escapes are resolved in place: a word never gets longer.
///
/// `"..."` knows `\xHH`, `\n`, `\r`, `\t`, `\b`, `\a` and `\` before any other byte; `'...'` knows `\'` only.
/// A quote may open within a word but must be followed by a blank when it closes.
pub fn split(line: &mut [u8], spans: &mut Vec<Span>) -> Result<(), UnbalancedQuotes> {
    let mut read = 0;
    loop {
        while line.get(read).is_some_and(|&byte| is_blank(byte)) {
            read += 1;
        }
        if read == line.len() {
            return Ok(());
        }
        let start = read;
        let mut write = read;
        while let Some(&byte) = line.get(read) {
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => break,
                b'"' => {
                    read = unquote_double(line, read + 1, &mut write)?;
                    break;
                }
                b'\'' => {
                    read = unquote_single(line, read + 1, &mut write)?;
                    break;
                }
                _ => {
                    put(line, &mut write, byte);
                    read += 1;
                }
            }
        }
        // A line is at most LINE_BYTES_MAX long.
        spans.push((start as u32, write as u32));
    }
}

/// Reads from behind a `"` to behind the closing one; returns that offset.
fn unquote_double(
    line: &mut [u8],
    mut read: usize,
    write: &mut usize,
) -> Result<usize, UnbalancedQuotes> {
    loop {
        let byte = match (line.get(read).copied(), line.get(read + 1).copied()) {
            (None, _) => return Err(UnbalancedQuotes),
            (Some(b'"'), after) => return closed(after, read + 1),
            (Some(b'\\'), Some(escape)) => match hex_escape(&line[read..]) {
                Some(byte) => {
                    read += 4;
                    put(line, write, byte);
                    continue;
                }
                None => {
                    read += 1;
                    unescape(escape)
                }
            },
            (Some(byte), _) => byte,
        };
        put(line, write, byte);
        read += 1;
    }
}

/// Reads from behind a `'` to behind the closing one; returns that offset.
fn unquote_single(
    line: &mut [u8],
    mut read: usize,
    write: &mut usize,
) -> Result<usize, UnbalancedQuotes> {
    loop {
        let byte = match (line.get(read).copied(), line.get(read + 1).copied()) {
            (None, _) => return Err(UnbalancedQuotes),
            (Some(b'\''), after) => return closed(after, read + 1),
            (Some(b'\\'), Some(b'\'')) => {
                read += 1;
                b'\''
            }
            (Some(byte), _) => byte,
        };
        put(line, write, byte);
        read += 1;
    }
}

fn closed(after: Option<u8>, next: usize) -> Result<usize, UnbalancedQuotes> {
    match after {
        Some(byte) if !is_blank(byte) => Err(UnbalancedQuotes),
        _ => Ok(next),
    }
}

fn put(line: &mut [u8], write: &mut usize, byte: u8) {
    line[*write] = byte;
    *write += 1;
}

/// The byte of `\xHH` at the start of `text`.
fn hex_escape(text: &[u8]) -> Option<u8> {
    let &[b'\\', b'x', high, low, ..] = text else {
        return None;
    };
    let high = char::from(high).to_digit(16)?;
    let low = char::from(low).to_digit(16)?;
    Some((high * 16 + low) as u8)
}

fn unescape(escape: u8) -> u8 {
    match escape {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

/// C's `isspace` in the "C" locale.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}
