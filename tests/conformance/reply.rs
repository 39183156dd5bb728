//! A reply with its exact type, as it came over the wire.

use std::fmt;

/// One reply in RESP2 or RESP3.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Int(i64),
    Bulk(Vec<u8>),
    /// `$-1`.
    NullBulk,
    /// `*-1`.
    NullArray,
    /// `_`.
    Null,
    Double(Vec<u8>),
    Boolean(bool),
    BigNumber(Vec<u8>),
    Verbatim(Vec<u8>),
    Array(Vec<Reply>),
    Set(Vec<Reply>),
    Push(Vec<Reply>),
    /// Keys and values in turn.
    Map(Vec<Reply>),
}

/// Text in double quotes, unprintable bytes escaped as conformance files escape them.
pub fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    text
}

/// The notation of conformance files: what is printed can be pasted into one.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let list = |f: &mut fmt::Formatter<'_>, open: &str, items: &[Reply], close: &str| {
            let items: Vec<String> = items.iter().map(Reply::inner).collect();
            write!(f, "{open}{}{close}", items.join(" "))
        };
        match self {
            Reply::Simple(text) => write!(f, "+{}", lossy(text)),
            Reply::Error(text) => write!(f, "-{}", lossy(text)),
            Reply::Int(value) => write!(f, ":{value}"),
            Reply::Bulk(bytes) => f.write_str(&quoted(bytes)),
            Reply::NullBulk => f.write_str("nil"),
            Reply::NullArray => f.write_str("nil-array"),
            Reply::Null => f.write_str("null"),
            Reply::Double(text) => write!(f, ",{}", lossy(text)),
            Reply::Boolean(value) => f.write_str(if *value { "#t" } else { "#f" }),
            Reply::BigNumber(text) => write!(f, "({}", lossy(text)),
            Reply::Verbatim(text) => write!(f, "={}", quoted(text)),
            Reply::Array(items) => list(f, "[", items, "]"),
            Reply::Set(items) => list(f, "~[", items, "]"),
            Reply::Push(items) => list(f, ">[", items, "]"),
            Reply::Map(items) => list(f, "{", items, "}"),
        }
    }
}

impl Reply {
    /// As an element of an aggregate: lines of text need quotes there.
    fn inner(&self) -> String {
        match self {
            Reply::Simple(text) => format!("+{}", quoted(text)),
            Reply::Error(text) => format!("-{}", quoted(text)),
            other => other.to_string(),
        }
    }
}
