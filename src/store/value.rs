//! The types a key can hold, owned ([`Value`]) and borrowed ([`ValueRef`]).

use super::memory::allocation_bytes;
use super::{Hash, List, Set, ZSet};

/// An owned value.
#[derive(Clone, Debug)]
pub enum Value {
    /// A string of any bytes; see [`Value::int_or_bytes`] for its compact form.
    Str(Vec<u8>),
    List(List),
    Hash(Hash),
    Set(Set),
    ZSet(ZSet),
}

/// A borrowed value.
#[derive(Clone, Copy)]
pub enum ValueRef<'a> {
    Str(StrRef<'a>),
    List(&'a List),
    Hash(&'a Hash),
    Set(&'a Set),
    ZSet(&'a ZSet),
}

/// A string, or the integer it was stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrRef<'a> {
    Int(i64),
    Bytes(&'a [u8]),
}

impl<'a> StrRef<'a> {
    /// Calls `f` with the string's bytes; an integer is written into a buffer on the stack.
    #[inline]
    pub fn with_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            StrRef::Bytes(bytes) => f(bytes),
            StrRef::Int(value) => f(itoa::Buffer::new().format(*value).as_bytes()),
        }
    }

    pub fn to_vec(&self) -> Vec<u8> {
        self.with_bytes(<[u8]>::to_vec)
    }

    pub fn len(&self) -> usize {
        self.with_bytes(<[u8]>::len)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Value {
    pub fn as_value_ref(&self) -> ValueRef<'_> {
        match self {
            Value::Str(bytes) => ValueRef::Str(StrRef::Bytes(bytes)),
            Value::List(list) => ValueRef::List(list),
            Value::Hash(hash) => ValueRef::Hash(hash),
            Value::Set(set) => ValueRef::Set(set),
            Value::ZSet(zset) => ValueRef::ZSet(zset),
        }
    }

    /// Bytes of the box and of all that the value owns.
    pub fn total_bytes(&self) -> usize {
        allocation_bytes(std::mem::size_of::<Value>())
            + match self {
                Value::Str(bytes) => allocation_bytes(bytes.capacity()),
                Value::List(list) => list.heap_bytes(),
                Value::Hash(hash) => hash.heap_bytes(),
                Value::Set(set) => set.heap_bytes(),
                Value::ZSet(zset) => zset.heap_bytes(),
            }
    }
}

impl ValueRef<'_> {
    /// The name that TYPE answers.
    pub fn type_name(&self) -> &'static str {
        match self {
            ValueRef::Str(_) => "string",
            ValueRef::List(_) => "list",
            ValueRef::Hash(_) => "hash",
            ValueRef::Set(_) => "set",
            ValueRef::ZSet(_) => "zset",
        }
    }

    /// A deep copy.
    pub fn to_value(&self) -> Value {
        match self {
            ValueRef::Str(string) => Value::Str(string.to_vec()),
            ValueRef::List(list) => Value::List((*list).clone()),
            ValueRef::Hash(hash) => Value::Hash((*hash).clone()),
            ValueRef::Set(set) => Value::Set((*set).clone()),
            ValueRef::ZSet(zset) => Value::ZSet((*zset).clone()),
        }
    }
}

/// A container type that a key can hold: what the typed accessors of the keyspace work on.
///
/// Strings are no `Container`: they live inside their entry and are read and written as bytes.
pub trait Container: Default {
    fn of(value: &Value) -> Option<&Self>;
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    fn into_value(self) -> Value;
    /// An empty container's key is removed.
    fn has_elements(&self) -> bool;
}

macro_rules! container {
    ($type:ident) => {
        impl Container for $type {
            fn of(value: &Value) -> Option<&Self> {
                match value {
                    Value::$type(inner) => Some(inner),
                    _ => None,
                }
            }
            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                match value {
                    Value::$type(inner) => Some(inner),
                    _ => None,
                }
            }
            fn into_value(self) -> Value {
                Value::$type(self)
            }
            fn has_elements(&self) -> bool {
                self.len() > 0
            }
        }
    };
}

container!(List);
container!(Hash);
container!(Set);
container!(ZSet);

/// `text` as an integer if it is the canonical decimal form of one (no sign but `-`, no leading zero).
#[inline]
pub fn canonical_int(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [] | [b'0', ..] => return None,
        _ => {}
    }
    let mut value: u64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
    }
    match (negative, value) {
        (false, _) => i64::try_from(value).ok(),
        (true, v) if v <= i64::MIN.unsigned_abs() => Some((v as i64).wrapping_neg()),
        _ => None,
    }
}
