//! A value on its way from one key to another, with all that OBJECT ENCODING tells of it. Knows no commands.

use super::{Deadline, Keyspace};
use crate::store::entry::Entry;
use crate::store::value::canonical_int;
use crate::store::{StrRef, Timestamp, Value, ValueRef};

/// A value as its key held it.
#[derive(Clone, Debug)]
pub struct Held {
    pub value: Value,
    pub form: StringForm,
    pub deadline: Option<Timestamp>,
}

/// How a string is kept, where its bytes alone do not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringForm {
    /// As [`Keyspace::set_str`] keeps these bytes. All containers, too.
    Natural,
    /// As bytes, although they read as an integer (INCRBYFLOAT).
    Bytes,
    /// As bytes that were edited in place: `raw` whatever their length (APPEND, SETRANGE).
    Raw,
}

impl StringForm {
    fn of(entry: &Entry) -> StringForm {
        match entry.value() {
            ValueRef::Str(StrRef::Bytes(_)) if entry.is_raw() => StringForm::Raw,
            ValueRef::Str(StrRef::Bytes(bytes)) if canonical_int(bytes).is_some() => {
                StringForm::Bytes
            }
            _ => StringForm::Natural,
        }
    }
}

impl Keyspace {
    /// A deep copy of what `key` holds, without any trace of the look.
    pub fn held(&self, key: &[u8], now: Timestamp) -> Option<Held> {
        let (_, entry) = self.find_live(key, now)?;
        Some(Held {
            value: entry.value().to_value(),
            form: StringForm::of(&entry),
            deadline: entry.deadline(),
        })
    }

    /// How the string at `key` is kept.
    pub fn string_form(&self, key: &[u8], now: Timestamp) -> Option<StringForm> {
        let (_, entry) = self.find_live(key, now)?;
        Some(StringForm::of(&entry))
    }

    /// Removes `key` and hands out what it held.
    pub fn take(&mut self, key: &[u8], now: Timestamp) -> Option<Held> {
        let hash = self.hash(key);
        let (place, entry) = self.prepare(hash, key, now)?;
        let (form, deadline) = (StringForm::of(&entry), entry.deadline());
        self.entry_bytes -= entry.total_bytes();
        let entry = self.table.remove(hash, place);
        let inline = match entry.value() {
            ValueRef::Str(string) if entry.boxed().is_none() => Some(string.to_vec()),
            _ => None,
        };
        // SAFETY: the entry has just left the table, and nothing refers to it.
        let boxed = unsafe { entry.into_boxed() };
        let value = boxed.map_or_else(|| Value::Str(inline.expect("not boxed")), |value| *value);
        Some(Held {
            value,
            form,
            deadline,
        })
    }

    /// Sets `key` to what another key held, whatever it held itself.
    pub fn set_held(&mut self, key: &[u8], held: Held, now: Timestamp) {
        let deadline = held.deadline.map_or(Deadline::None, Deadline::At);
        match (held.value, held.form) {
            (Value::Str(bytes), StringForm::Bytes) => {
                self.set_bytes(key, bytes, false, deadline, now);
            }
            (Value::Str(bytes), StringForm::Raw) => {
                self.set_bytes(key, bytes, true, deadline, now);
            }
            (value, _) => self.set(key, value, deadline, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Limits;

    #[test]
    fn a_string_that_moves_is_kept_as_it_was() {
        let now = Timestamp(1_000);
        let mut keyspace = Keyspace::new((1, 2), Limits::default());
        keyspace.set_str(b"int", b"12", Deadline::None, now);
        keyspace.set_bytes(b"embstr", b"12".to_vec(), false, Deadline::None, now);
        keyspace.set_bytes(b"raw", b"12".to_vec(), true, Deadline::None, now);
        for form in ["int", "embstr", "raw"] {
            let copy = keyspace.held(form.as_bytes(), now).expect("just set");
            keyspace.set_held(b"copy", copy, now);
            assert_eq!(keyspace.encoding(b"copy", now), Some(form), "copied");
            let moved = keyspace.take(form.as_bytes(), now).expect("still there");
            keyspace.set_held(b"moved", moved, now);
            assert_eq!(keyspace.encoding(b"moved", now), Some(form), "moved");
            assert!(!keyspace.contains(form.as_bytes(), now));
        }
    }

    #[test]
    fn a_long_string_and_a_deadline_move_too() {
        let now = Timestamp(1_000);
        let mut keyspace = Keyspace::new((1, 2), Limits::default());
        let until = Timestamp(5_000);
        keyspace.set_str(b"long", &[b'x'; 10_000], Deadline::At(until), now);
        let bytes = keyspace.bytes();
        let held = keyspace.take(b"long", now).expect("just set");
        keyspace.set_held(b"gone", held, now);
        assert_eq!(keyspace.deadline(b"gone", now), Some(Some(until)));
        assert_eq!(keyspace.bytes(), bytes);
    }
}
