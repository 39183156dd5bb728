//! RESP2 and RESP3 as a client sees them: commands to bytes, bytes to values. Knows no commands.
//!
//! Trusts the server to end: a reply that is not RESP is an `InvalidData` error.

use std::fmt;
use std::io::{self, BufRead, Error, ErrorKind};

/// A reply, with its RESP type kept: a set is not an array, a double is not a bulk string.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Simple(Vec<u8>),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    /// `$-1`
    NullBulk,
    /// `*-1`
    NullArray,
    /// `_`
    Null,
    Array(Vec<Value>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    /// Keys and values in turns, as they came.
    Map(Vec<Value>),
    /// The text after the comma.
    Double(String),
    Bool(bool),
    BigNumber(String),
    /// Format and text together, as in `txt:...`.
    Verbatim(Vec<u8>),
}

impl Value {
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null | Value::NullBulk | Value::NullArray)
    }

    /// The elements of whatever has elements.
    pub fn items(&self) -> Option<&[Value]> {
        match self {
            Value::Array(items) | Value::Set(items) | Value::Push(items) | Value::Map(items) => {
                Some(items)
            }
            _ => None,
        }
    }

    /// The bytes of a simple, bulk, double or verbatim string.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Value::Simple(text) | Value::Bulk(text) | Value::Verbatim(text) => Some(text),
            Value::Double(text) | Value::BigNumber(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    pub fn int(&self) -> Option<i64> {
        match self {
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, open: &str, items: &[Value]| {
            write!(f, "{open}{}:", items.len())?;
            for item in items.iter().take(200) {
                write!(f, " {item:?}")?;
            }
            f.write_str(if items.len() > 200 { " ...]" } else { "]" })
        };
        match self {
            Value::Simple(text) => write!(f, "+{}", printable(text)),
            Value::Error(text) => write!(f, "-{text}"),
            Value::Int(value) => write!(f, ":{value}"),
            Value::Bulk(text) => write!(f, "\"{}\"", printable(text)),
            Value::NullBulk => f.write_str("$-1"),
            Value::NullArray => f.write_str("*-1"),
            Value::Null => f.write_str("_"),
            Value::Array(items) => list(f, "[*", items),
            Value::Set(items) => list(f, "[~", items),
            Value::Push(items) => list(f, "[>", items),
            Value::Map(items) => list(f, "[%", items),
            Value::Double(text) => write!(f, ",{text}"),
            Value::Bool(value) => write!(f, "#{}", if *value { 't' } else { 'f' }),
            Value::BigNumber(text) => write!(f, "({text}"),
            Value::Verbatim(text) => write!(f, "=\"{}\"", printable(text)),
        }
    }
}

/// Bytes as redis-cli would quote them, shortened when they are long.
pub fn printable(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 400;
    let shown = &bytes[..bytes.len().min(SHOWN_MAX)];
    let mut text = shown.escape_ascii().to_string();
    if bytes.len() > SHOWN_MAX {
        text.push_str(&format!("... ({} bytes)", bytes.len()));
    }
    text
}

/// Appends one command.
pub fn encode(out: &mut Vec<u8>, args: &[Vec<u8>]) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// Reads one reply.
pub fn read(input: &mut impl BufRead) -> io::Result<Value> {
    let line = read_line(input)?;
    let (kind, rest) = line.split_first().ok_or_else(|| bad(&line))?;
    Ok(match kind {
        b'+' => Value::Simple(rest.to_vec()),
        b'-' => Value::Error(String::from_utf8_lossy(rest).into_owned()),
        b':' => Value::Int(number(rest)?),
        b'$' if rest == b"-1" => Value::NullBulk,
        b'*' if rest == b"-1" => Value::NullArray,
        b'_' => Value::Null,
        b'$' => Value::Bulk(read_bytes(input, number(rest)? as usize)?),
        b'=' => Value::Verbatim(read_bytes(input, number(rest)? as usize)?),
        b'*' => Value::Array(read_items(input, number(rest)?)?),
        b'~' => Value::Set(read_items(input, number(rest)?)?),
        b'>' => Value::Push(read_items(input, number(rest)?)?),
        b'%' => Value::Map(read_items(input, 2 * number(rest)?)?),
        b',' => Value::Double(String::from_utf8_lossy(rest).into_owned()),
        b'(' => Value::BigNumber(String::from_utf8_lossy(rest).into_owned()),
        b'#' => Value::Bool(rest == b"t"),
        _ => return Err(bad(&line)),
    })
}

fn read_items(input: &mut impl BufRead, count: i64) -> io::Result<Vec<Value>> {
    (0..count).map(|_| read(input)).collect()
}

fn read_bytes(input: &mut impl BufRead, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len + 2];
    input.read_exact(&mut bytes)?;
    if !bytes.ends_with(b"\r\n") {
        return Err(bad(&bytes));
    }
    bytes.truncate(len);
    Ok(bytes)
}

fn read_line(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    if input.read_until(b'\n', &mut line)? == 0 {
        return Err(Error::new(ErrorKind::UnexpectedEof, "connection closed"));
    }
    if !line.ends_with(b"\r\n") {
        return Err(bad(&line));
    }
    line.truncate(line.len() - 2);
    Ok(line)
}

fn number(text: &[u8]) -> io::Result<i64> {
    let number = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok());
    number.ok_or_else(|| bad(text))
}

fn bad(bytes: &[u8]) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!("not RESP: \"{}\"", printable(bytes)),
    )
}
