//! The set type: which encoding it is in, when that changes, and one interface to all three. Knows no
//! commands.
//!
//! | encoding | while |
//! |---|---|
//! | intset | all members are integers, at most `set_max_intset_entries` |
//! | listpack | at most `set_max_listpack_entries`, none longer than `set_max_listpack_value` bytes |
//! | hashtable | always |
//!
//! A set never goes back to a smaller encoding while it lives, as in Redis.

#[cfg(test)]
mod tests;

use super::intset::IntSet;
use super::listpack::{Element, Listpack, ELEMENT_OVERHEAD_MAX};
use super::member_table::MemberTable;
use super::memory::allocation_bytes;
use super::{canonical_int, Limits, Rng};

/// Members without order and without repeats; see the module's text for its encodings.
#[derive(Clone)]
pub struct Set(Encoded);

#[derive(Clone)]
enum Encoded {
    IntSet(IntSet),
    Listpack(Listpack),
    /// Boxed: most sets are small, and each key carries this enum's size.
    Table(Box<MemberTable<()>>),
}

/// What a snapshot or DUMP keeps of a set: enough to bring it back exactly.
pub enum SetView<'a> {
    IntSet(&'a IntSet),
    Listpack(&'a Listpack),
    /// The members of [`Set::iter`] in its order are the rest.
    Table,
}

/// A listpack does not hold a set: it is empty or has an element twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the listpack of a set")]
pub struct BadSetListpack;

impl Set {
    /// An empty set that takes the encoding its members ask for as they come.
    pub fn new() -> Self {
        Self(Encoded::IntSet(IntSet::new()))
    }

    /// An empty set for `expected` members of which `first` is the first: where they cannot fit a
    /// compact encoding it starts as a hash table.
    pub fn expecting(first: &[u8], expected: usize, limits: &Limits) -> Self {
        if canonical_int(first).is_some() && expected <= limits.set_max_intset_entries as usize {
            Self::new()
        } else if expected <= limits.set_max_listpack_entries as usize {
            Self(Encoded::Listpack(Listpack::new()))
        } else {
            Self(Encoded::Table(Box::default()))
        }
    }

    /// To be called before `expected` members are added at once: a compact set that those alone would
    /// outgrow becomes a hash table.
    pub fn expect(&mut self, expected: usize, limits: &Limits) {
        let most = match self.0 {
            Encoded::IntSet(_) => limits.set_max_intset_entries,
            Encoded::Listpack(_) => limits.set_max_listpack_entries,
            Encoded::Table(_) => return,
        };
        if expected > most as usize {
            self.become_table();
        }
    }

    /// A set in the intset encoding, however many members it has.
    pub fn from_intset(intset: IntSet) -> Self {
        Self(Encoded::IntSet(intset))
    }

    /// A set in the listpack encoding, in the listpack's order.
    pub fn from_listpack(listpack: Listpack) -> Result<Self, BadSetListpack> {
        let mut seen = MemberTable::with_capacity(listpack.len());
        let unique = listpack
            .iter()
            .all(|member| member.with_bytes(|bytes| seen.insert(bytes, ())).is_ok());
        if !unique || listpack.is_empty() {
            return Err(BadSetListpack);
        }
        Ok(Self(Encoded::Listpack(listpack)))
    }

    /// A set in the hashtable encoding with its members in the given order. Repeats are left out.
    pub fn from_members<'a>(members: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut table = Box::<MemberTable<()>>::default();
        for member in members {
            let _repeat = table.insert(member, ());
        }
        Self(Encoded::Table(table))
    }

    pub fn view(&self) -> SetView<'_> {
        match &self.0 {
            Encoded::IntSet(intset) => SetView::IntSet(intset),
            Encoded::Listpack(listpack) => SetView::Listpack(listpack),
            Encoded::Table(_) => SetView::Table,
        }
    }

    /// The name that OBJECT ENCODING shows.
    pub fn encoding(&self) -> &'static str {
        match self.0 {
            Encoded::IntSet(_) => "intset",
            Encoded::Listpack(_) => "listpack",
            Encoded::Table(_) => "hashtable",
        }
    }

    pub fn len(&self) -> usize {
        match &self.0 {
            Encoded::IntSet(intset) => intset.len(),
            Encoded::Listpack(listpack) => listpack.len(),
            Encoded::Table(table) => table.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the allocator holds for this set. O(1).
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Encoded::IntSet(intset) => intset.heap_bytes(),
            Encoded::Listpack(listpack) => listpack.heap_bytes(),
            Encoded::Table(table) => {
                allocation_bytes(size_of::<MemberTable<()>>()) + table.heap_bytes()
            }
        }
    }

    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.0 {
            Encoded::IntSet(intset) => {
                canonical_int(member).is_some_and(|value| intset.contains(value))
            }
            Encoded::Listpack(listpack) => listpack.find(listpack.first(), member, 0).is_some(),
            Encoded::Table(table) => table.find(member).is_some(),
        }
    }

    /// As [`Set::contains`], for a member of another set.
    pub fn has(&self, member: Element<'_>) -> bool {
        match (&self.0, member) {
            (Encoded::IntSet(intset), Element::Int(value)) => intset.contains(value),
            _ => member.with_bytes(|bytes| self.contains(bytes)),
        }
    }

    /// False when it was there already. May change the encoding.
    pub fn add(&mut self, member: &[u8], limits: &Limits) -> bool {
        match &mut self.0 {
            Encoded::IntSet(_) => self.add_to_intset(member, limits),
            Encoded::Listpack(listpack) => {
                if listpack.find(listpack.first(), member, 0).is_some() {
                    return false;
                }
                if listpack_takes(listpack.len(), member.len(), limits)
                    && listpack.has_room_for(member.len() + ELEMENT_OVERHEAD_MAX)
                {
                    listpack.push_back(member);
                } else {
                    self.become_table().insert(member, ()).ok();
                }
                true
            }
            Encoded::Table(table) => table.insert(member, ()).is_ok(),
        }
    }

    /// False when it was not there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.0 {
            Encoded::IntSet(intset) => {
                canonical_int(member).is_some_and(|value| intset.remove(value))
            }
            Encoded::Listpack(listpack) => {
                let found = listpack.find(listpack.first(), member, 0);
                found.map(|at| listpack.remove(at)).is_some()
            }
            Encoded::Table(table) => table.find(member).map(|at| table.swap_remove(at)).is_some(),
        }
    }

    /// The members in the order in which [`Set::at`] counts them.
    pub fn iter(&self) -> Members<'_> {
        Members(match &self.0 {
            Encoded::IntSet(intset) => Walk::IntSet(intset, 0),
            Encoded::Listpack(listpack) => Walk::Listpack(listpack.iter()),
            Encoded::Table(table) => Walk::Table(table.as_slice().iter()),
        })
    }

    /// The member at `index`, which must be below [`Set::len`]. A walk for listpacks, else O(1).
    pub fn at(&self, index: usize) -> Element<'_> {
        let found = match &self.0 {
            Encoded::IntSet(intset) => intset.get(index).map(Element::Int),
            Encoded::Listpack(listpack) => listpack.get_index(index as i64),
            Encoded::Table(table) => Some(Element::Bytes(table.at(index).0)),
        };
        found.unwrap_or_else(|| panic!("member {index} of {}", self.len()))
    }

    /// Any member, each as likely as the next; none when the set is empty.
    pub fn random(&self, rng: &mut Rng) -> Option<Element<'_>> {
        let len = self.len();
        (len > 0).then(|| self.at(rng.below(len)))
    }

    /// Takes out a member as [`Set::random`] picks it.
    pub fn pop_random(&mut self, rng: &mut Rng) -> Option<Box<[u8]>> {
        let len = self.len();
        (len > 0).then(|| self.take(rng.below(len)))
    }

    /// Takes out the member at `index`, which must be below [`Set::len`].
    pub fn take(&mut self, index: usize) -> Box<[u8]> {
        let member = match &mut self.0 {
            Encoded::Table(table) => return table.swap_remove(index).0,
            _ => self.at(index).to_box(),
        };
        self.remove(&member);
        member
    }

    /// Shows about `count` members and answers the cursor to go on from; 0 begins and 0 ends a walk.
    /// Compact encodings show all at once, as in Redis. Members that stay are never missed.
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, mut show: impl FnMut(Element<'a>)) -> u64 {
        match &self.0 {
            Encoded::Table(table) => {
                table.scan(cursor, count, |member, ()| show(Element::Bytes(member)))
            }
            _ => {
                self.iter().for_each(show);
                0
            }
        }
    }

    fn add_to_intset(&mut self, member: &[u8], limits: &Limits) -> bool {
        let Encoded::IntSet(intset) = &mut self.0 else {
            unreachable!("the caller looked")
        };
        if let Some(value) = canonical_int(member) {
            let added = intset.add(value);
            if added && intset.len() > limits.set_max_intset_entries as usize {
                self.become_table();
            }
            return added;
        }
        let longest = digits(intset.get(0)).max(digits(intset.get(intset.len().wrapping_sub(1))));
        if listpack_takes(intset.len(), member.len().max(longest), limits) {
            let mut listpack = Listpack::new();
            intset
                .iter()
                .for_each(|value| listpack.push_element_back(Element::Int(value)));
            listpack.push_back(member);
            self.0 = Encoded::Listpack(listpack);
        } else {
            self.become_table().insert(member, ()).ok();
        }
        true
    }

    /// Changes to the hashtable encoding, members in their order.
    fn become_table(&mut self) -> &mut MemberTable<()> {
        if !matches!(self.0, Encoded::Table(_)) {
            let mut table = Box::new(MemberTable::with_capacity(self.len() + 1));
            for member in self.iter() {
                let _repeat = member.with_bytes(|bytes| table.insert(bytes, ()));
            }
            self.0 = Encoded::Table(table);
        }
        match &mut self.0 {
            Encoded::Table(table) => table,
            _ => unreachable!("it was just made one"),
        }
    }
}

impl Default for Set {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.encoding())?;
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The members of a set; see [`Set::iter`].
#[derive(Clone)]
pub struct Members<'a>(Walk<'a>);

#[derive(Clone)]
enum Walk<'a> {
    IntSet(&'a IntSet, usize),
    Listpack(super::listpack::Iter<'a>),
    Table(std::slice::Iter<'a, (Box<[u8]>, ())>),
}

impl<'a> Iterator for Members<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        match &mut self.0 {
            Walk::IntSet(intset, index) => {
                let value = intset.get(*index)?;
                *index += 1;
                Some(Element::Int(value))
            }
            Walk::Listpack(elements) => elements.next(),
            Walk::Table(members) => members.next().map(|(member, ())| Element::Bytes(member)),
        }
    }
}

/// Whether a listpack of `len` members may take one more of `member_bytes`.
fn listpack_takes(len: usize, member_bytes: usize, limits: &Limits) -> bool {
    len < limits.set_max_listpack_entries as usize
        && member_bytes <= limits.set_max_listpack_value as usize
}

/// Length of an integer in decimal; 0 for none.
fn digits(value: Option<i64>) -> usize {
    value.map_or(0, |value| Element::Int(value).byte_len())
}
