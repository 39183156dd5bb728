//! The hash type: a listpack of fields and values while small, a table beyond. Holds pairs and their order;
//! knows neither keys nor replies.

#[cfg(test)]
mod tests;

use super::listpack::{Element, Listpack, Position, ELEMENT_OVERHEAD_MAX};
use super::member_table::MemberTable;
use super::memory::allocation_bytes;
use super::types::{Limits, Rng};
use std::collections::HashSet;

/// Pairs of field and value.
///
/// The order of the pairs is a function of the history of operations alone: a listpack keeps the order of
/// arrival, a table moves its last pair into the place of a removed one. A hash that became a table stays one.
#[derive(Clone)]
pub struct Hash {
    repr: Repr,
}

#[derive(Clone)]
enum Repr {
    /// Field, value, field, value ...
    Packed(Listpack),
    Table(Box<Table>),
}

#[derive(Clone, Default)]
struct Table {
    fields: MemberTable<Box<[u8]>>,
    /// Bytes that the allocator holds for the values.
    values_bytes: usize,
}

/// The pairs given do not make a hash: a field without a value, or one field twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the fields and values of a hash")]
pub struct BadPairs;

impl Default for Hash {
    fn default() -> Self {
        Self::new()
    }
}

impl Hash {
    pub fn new() -> Self {
        Self {
            repr: Repr::Packed(Listpack::new()),
        }
    }

    /// A hash of these pairs, in the encoding that they ask for; the last value of a field counts.
    pub fn from_pairs<'p>(
        pairs: impl IntoIterator<Item = (&'p [u8], &'p [u8])>,
        limits: &Limits,
    ) -> Self {
        let mut hash = Self::new();
        for (field, value) in pairs {
            hash.set(field, value, limits);
        }
        hash
    }

    /// Exactly the hash that a listpack holds, encoded as `listpack` whatever its size.
    pub fn from_listpack(listpack: Listpack) -> Result<Self, BadPairs> {
        let mut fields = HashSet::new();
        let mut elements = listpack.iter();
        while let Some(field) = elements.next() {
            if elements.next().is_none() || !fields.insert(field.to_box()) {
                return Err(BadPairs);
            }
        }
        Ok(Self {
            repr: Repr::Packed(listpack),
        })
    }

    /// Exactly the hash of these pairs in this order, encoded as `hashtable` whatever its size.
    pub fn from_pairs_as_hashtable<'p>(
        pairs: impl IntoIterator<Item = (&'p [u8], &'p [u8])>,
    ) -> Result<Self, BadPairs> {
        let pairs = pairs.into_iter();
        let mut table = Table {
            fields: MemberTable::with_capacity(pairs.size_hint().0),
            values_bytes: 0,
        };
        for (field, value) in pairs {
            if !table.set(field, value) {
                return Err(BadPairs);
            }
        }
        Ok(Self {
            repr: Repr::Table(Box::new(table)),
        })
    }

    /// The listpack of a hash that is one.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match &self.repr {
            Repr::Packed(listpack) => Some(listpack),
            Repr::Table(_) => None,
        }
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        match &self.repr {
            Repr::Packed(listpack) => listpack.len() / 2,
            Repr::Table(table) => table.fields.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        match &self.repr {
            Repr::Packed(listpack) => listpack.is_empty(),
            Repr::Table(table) => table.fields.len() == 0,
        }
    }

    /// As OBJECT ENCODING names it.
    pub fn encoding(&self) -> &'static str {
        match &self.repr {
            Repr::Packed(_) => "listpack",
            Repr::Table(_) => "hashtable",
        }
    }

    /// Bytes taken from the allocator, beyond the hash's own struct.
    pub fn heap_bytes(&self) -> usize {
        match &self.repr {
            Repr::Packed(listpack) => listpack.heap_bytes(),
            Repr::Table(table) => {
                allocation_bytes(std::mem::size_of::<Table>())
                    + table.fields.heap_bytes()
                    + table.values_bytes
            }
        }
    }

    /// The value of a field.
    pub fn get(&self, field: &[u8]) -> Option<Element<'_>> {
        match &self.repr {
            Repr::Packed(listpack) => {
                let value = listpack.next(field_position(listpack, field)?)?;
                Some(listpack.get(value))
            }
            Repr::Table(table) => {
                let (_, value) = table.fields.at(table.fields.find(field)?);
                Some(Element::Bytes(value))
            }
        }
    }

    pub fn contains(&self, field: &[u8]) -> bool {
        match &self.repr {
            Repr::Packed(listpack) => field_position(listpack, field).is_some(),
            Repr::Table(table) => table.fields.find(field).is_some(),
        }
    }

    /// Sets a field; true where it is new.
    pub fn set(&mut self, field: &[u8], value: &[u8], limits: &Limits) -> bool {
        self.make_room(std::iter::once((field, value)), limits);
        match &mut self.repr {
            Repr::Packed(listpack) => {
                if let Some(at) = field_position(listpack, field) {
                    if let Some(at) = listpack.next(at) {
                        listpack.replace(at, value);
                    }
                    return false;
                }
                listpack.push_back(field);
                listpack.push_back(value);
                if self.len() > limits.hash_max_listpack_entries as usize {
                    self.table_mut();
                }
                true
            }
            Repr::Table(table) => table.set(field, value),
        }
    }

    /// Sets several fields; gives how many are new. The encoding is decided on all of them at once, before
    /// the first is set.
    pub fn extend<'p, I>(&mut self, pairs: I, limits: &Limits) -> usize
    where
        I: Iterator<Item = (&'p [u8], &'p [u8])> + Clone,
    {
        self.make_room(pairs.clone(), limits);
        pairs
            .filter(|(field, value)| self.set(field, value, limits))
            .count()
    }

    /// Removes a field; false where there is none.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match &mut self.repr {
            Repr::Packed(listpack) => match field_position(listpack, field) {
                Some(at) => listpack.remove_range(at, 2) > 0,
                None => false,
            },
            Repr::Table(table) => match table.fields.find(field) {
                Some(index) => {
                    let (_, value) = table.fields.swap_remove(index);
                    table.values_bytes -= allocation_bytes(value.len());
                    true
                }
                None => false,
            },
        }
    }

    /// Fields and values in order.
    pub fn iter(&self) -> Iter<'_> {
        match &self.repr {
            Repr::Packed(listpack) => Iter::Packed(listpack.iter()),
            Repr::Table(table) => Iter::Table(table.fields.as_slice().iter()),
        }
    }

    /// The pair at `index` in order. Walks in a listpack; at once in a table.
    pub fn pair_at(&self, index: usize) -> Option<(Element<'_>, Element<'_>)> {
        match &self.repr {
            Repr::Packed(listpack) => {
                let field = listpack.seek(2 * i64::try_from(index).ok()?)?;
                Some((listpack.get(field), listpack.get(listpack.next(field)?)))
            }
            Repr::Table(table) => {
                let (field, value) = table.fields.as_slice().get(index)?;
                Some((Element::Bytes(field), Element::Bytes(value)))
            }
        }
    }

    /// A pair drawn evenly from all; none where the hash is empty.
    pub fn random(&self, rng: &mut Rng) -> Option<(Element<'_>, Element<'_>)> {
        match self.len() {
            0 => None,
            len => self.pair_at(rng.below(len)),
        }
    }

    /// One step of HSCAN: shows about `count` pairs and gives the cursor to go on from; 0 begins and 0
    /// ends. A listpack is shown whole. A pair that is there during the whole walk is shown at least once;
    /// see [`MemberTable::scan`].
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        mut show: impl FnMut(Element<'a>, Element<'a>),
    ) -> u64 {
        match &self.repr {
            Repr::Packed(_) => {
                self.iter().for_each(|(field, value)| show(field, value));
                0
            }
            Repr::Table(table) => table.fields.scan(cursor, count, |field, value| {
                show(Element::Bytes(field), Element::Bytes(value))
            }),
        }
    }

    /// Turns a listpack into a table where what comes in does not belong into one: too many pairs, a
    /// long field or value, or too much in all.
    fn make_room<'p>(
        &mut self,
        pairs: impl Iterator<Item = (&'p [u8], &'p [u8])>,
        limits: &Limits,
    ) {
        let Repr::Packed(listpack) = &self.repr else {
            return;
        };
        let long = limits.hash_max_listpack_value as usize;
        let (mut count, mut bytes) = (0, 0usize);
        let mut fits = true;
        for (field, value) in pairs {
            count += 1;
            bytes += field.len() + value.len() + 2 * ELEMENT_OVERHEAD_MAX;
            fits &= field.len() <= long && value.len() <= long;
        }
        fits &= count <= limits.hash_max_listpack_entries as usize;
        if !fits || !listpack.has_room_for(bytes) {
            self.table_mut();
        }
    }

    /// The table, made of the listpack if there is none yet.
    fn table_mut(&mut self) -> &mut Table {
        if let Repr::Packed(_) = &self.repr {
            let mut table = Table::default();
            for (field, value) in self.iter() {
                field.with_bytes(|field| value.with_bytes(|value| table.set(field, value)));
            }
            self.repr = Repr::Table(Box::new(table));
        }
        match &mut self.repr {
            Repr::Table(table) => table,
            Repr::Packed(_) => unreachable!("just made a table"),
        }
    }
}

impl Table {
    fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        if let Some(index) = self.fields.find(field) {
            let old = self.fields.value_mut(index);
            if old.len() == value.len() {
                old.copy_from_slice(value);
                return false;
            }
            self.values_bytes -= allocation_bytes(old.len());
            *old = value.into();
            self.values_bytes += allocation_bytes(value.len());
            return false;
        }
        let new = self.fields.insert(field, value.into()).is_ok();
        self.values_bytes += allocation_bytes(value.len());
        new
    }
}

/// Where a field stands in a listpack of pairs.
fn field_position(listpack: &Listpack, field: &[u8]) -> Option<Position> {
    listpack.find(listpack.first(), field, 1)
}

/// Same pairs in the same order, whatever the encoding.
impl PartialEq for Hash {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Hash {}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hash({}, {} fields)", self.encoding(), self.len())
    }
}

/// A field and its value in a table.
type Pair = (Box<[u8]>, Box<[u8]>);

/// Fields and values of a hash in order.
#[derive(Clone)]
pub enum Iter<'a> {
    Packed(super::listpack::Iter<'a>),
    Table(std::slice::Iter<'a, Pair>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Element<'a>, Element<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Iter::Packed(elements) => Some((elements.next()?, elements.next()?)),
            Iter::Table(pairs) => pairs
                .next()
                .map(|(field, value)| (Element::Bytes(field), Element::Bytes(value))),
        }
    }
}
