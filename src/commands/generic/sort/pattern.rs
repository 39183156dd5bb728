//! The patterns of BY and GET: `weight_*` names a string, `object_*->field` a field of a hash, `#` the
//! element itself.

use super::options::{By, SortOptions};
use super::run::elements;
use crate::commands::{Call, CommandError};
use crate::store::{Keyspace, Timestamp, ValueRef};

/// A pattern taken apart.
pub enum Pattern<'a> {
    Element,
    /// Without a star: refers to nothing.
    Constant,
    Key {
        before: &'a [u8],
        after: &'a [u8],
        field: Option<&'a [u8]>,
    },
}

impl<'a> Pattern<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        if text == b"#" {
            return Pattern::Element;
        }
        let Some(star) = memchr::memchr(b'*', text) else {
            return Pattern::Constant;
        };
        let (before, rest) = (&text[..star], &text[star + 1..]);
        // An arrow with nothing behind it belongs to the key.
        let arrow = memchr::memmem::find(rest, b"->").filter(|arrow| arrow + 2 < rest.len());
        Pattern::Key {
            before,
            after: &rest[..arrow.unwrap_or(rest.len())],
            field: arrow.map(|arrow| &rest[arrow + 2..]),
        }
    }

    /// Whether it is the same for every element: BY with such a pattern means "do not sort".
    pub fn is_constant(&self) -> bool {
        !matches!(self, Pattern::Key { .. })
    }

    /// The key that the pattern names for an element.
    fn key(&self, element: &[u8]) -> Option<Vec<u8>> {
        match self {
            Pattern::Key { before, after, .. } => Some([before, element, after].concat()),
            _ => None,
        }
    }

    /// What the pattern refers to for an element.
    pub fn look_up(&self, keyspace: &Keyspace, element: &[u8], now: Timestamp) -> Option<Vec<u8>> {
        let field = match self {
            Pattern::Element => return Some(element.to_vec()),
            Pattern::Constant => return None,
            Pattern::Key { field, .. } => field,
        };
        let value = keyspace.get(&self.key(element)?, now)?;
        match (field, value) {
            (None, ValueRef::Str(string)) => Some(string.to_vec()),
            (Some(field), ValueRef::Hash(hash)) => hash.get(field).map(|value| value.to_vec()),
            _ => None,
        }
    }
}

/// The keys that BY and GET refer to, which only the elements tell. Where keys lie in several shards, these
/// have to be brought to the sorted key before the command runs. None where the command fails anyway.
pub fn pattern_keys(keyspace: &Keyspace, call: &Call) -> Result<Vec<Vec<u8>>, CommandError> {
    let options = SortOptions::parse(call, true)?;
    let mut patterns: Vec<&Pattern> = options.gets.iter().collect();
    if let Some(By::Key(pattern)) = &options.by {
        patterns.push(pattern);
    }
    patterns.retain(|pattern| !pattern.is_constant());
    if patterns.is_empty() {
        return Ok(Vec::new());
    }
    let elements = elements(keyspace.peek(call.arg(1), call.now))?;
    let keys = elements
        .iter()
        .flat_map(|element| patterns.iter().filter_map(|pattern| pattern.key(element)));
    Ok(keys.collect())
}
