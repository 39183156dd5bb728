//! One database of one shard: keys, values, deadlines, memory accounting. Every change of data passes
//! through here; nothing here knows commands, RESP, clocks or chance.
//!
//! A key past its deadline reads as absent. It is removed only by a method that takes `&mut self`, which
//! only `apply` can call (invariant 3).

mod ahead;
mod edit;
mod expiry;
mod held;
mod traces;

use std::cell::Cell;

use super::access::AccessClock;
use super::capture::Capture;
use super::entry::{Content, Entry, INLINE_MAX};
use super::sip::{hash_key, HashSeed};
use super::table::{Place, Table};
use super::value::{canonical_int, Container, StrRef, Value, ValueRef};
use super::{Limits, Rng, Timestamp, WrongType};

pub use edit::Edit;
pub use held::{Held, StringForm};

/// What a write does to the deadline of the key that it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// The key stays for good.
    None,
    /// As it was (SET KEEPTTL, APPEND, INCR).
    Keep,
    At(Timestamp),
}

// `expected` holds an address for comparing alone, and only while a command runs.
unsafe impl Send for Keyspace {}

/// One database of one shard.
pub struct Keyspace {
    pub(super) table: Table,
    seed: HashSeed,
    limits: Limits,
    /// Bytes of entries and what they own, table excluded.
    entry_bytes: usize,
    pub(super) capture: Option<Box<Capture>>,
    pub access: AccessClock,
    /// Address and length of the key whose hash is known already; see [`Keyspace::expect`].
    expected: Cell<(*const u8, usize, u64)>,
    hits: Cell<u64>,
    misses: Cell<u64>,
    /// Keys removed because their deadline had passed.
    expired: u64,
}

impl Keyspace {
    /// `seed` keys the hash: the same on all replicas of a cluster, unknown to clients.
    pub fn new(seed: HashSeed, limits: Limits) -> Self {
        Self {
            table: Table::new(),
            seed,
            limits,
            entry_bytes: 0,
            capture: None,
            access: AccessClock::default(),
            expected: Cell::new((std::ptr::null(), 0, 0)),
            hits: Cell::new(0),
            misses: Cell::new(0),
            expired: 0,
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    // ---- reading -------------------------------------------------------------------------------------

    /// The value of `key`; counts a hit or miss and marks the key as used.
    #[inline]
    pub fn get(&self, key: &[u8], now: Timestamp) -> Option<ValueRef<'_>> {
        match self.find_live(key, now) {
            Some((_, entry)) => {
                self.hits.set(self.hits.get() + 1);
                entry.set_access(self.access.touched(entry.access(), now));
                Some(entry.value())
            }
            None => {
                self.misses.set(self.misses.get() + 1);
                None
            }
        }
    }

    /// The value of `key` without any trace of the look (DEBUG, writes); see [`Keyspace::count_look`].
    #[inline]
    pub fn peek(&self, key: &[u8], now: Timestamp) -> Option<ValueRef<'_>> {
        self.find_live(key, now).map(|(_, entry)| entry.value())
    }

    pub fn contains(&self, key: &[u8], now: Timestamp) -> bool {
        self.find_live(key, now).is_some()
    }

    /// [`Keyspace::get`] for commands that work on strings.
    #[inline]
    pub fn get_str(&self, key: &[u8], now: Timestamp) -> Result<Option<StrRef<'_>>, WrongType> {
        match self.get(key, now) {
            None => Ok(None),
            Some(ValueRef::Str(string)) => Ok(Some(string)),
            Some(_) => Err(WrongType),
        }
    }

    /// As [`Keyspace::get_str`], without counting or marking: for writes that look first.
    #[inline]
    pub fn peek_str(&self, key: &[u8], now: Timestamp) -> Result<Option<StrRef<'_>>, WrongType> {
        match self.peek(key, now) {
            None => Ok(None),
            Some(ValueRef::Str(string)) => Ok(Some(string)),
            Some(_) => Err(WrongType),
        }
    }

    /// [`Keyspace::get`] for commands that work on one container type: `keyspace.get_as::<List>(key, now)?`.
    pub fn get_as<T: Container>(
        &self,
        key: &[u8],
        now: Timestamp,
    ) -> Result<Option<&T>, WrongType> {
        if self.get(key, now).is_none() {
            return Ok(None);
        }
        self.peek_as(key, now)
    }

    /// As [`Keyspace::get_as`], without counting or marking.
    pub fn peek_as<T: Container>(
        &self,
        key: &[u8],
        now: Timestamp,
    ) -> Result<Option<&T>, WrongType> {
        match self.find_live(key, now) {
            None => Ok(None),
            Some((_, entry)) => entry.boxed().and_then(T::of).map(Some).ok_or(WrongType),
        }
    }

    /// Deadline of `key`: outer `None` when there is no such key.
    pub fn deadline(&self, key: &[u8], now: Timestamp) -> Option<Option<Timestamp>> {
        self.find_live(key, now).map(|(_, entry)| entry.deadline())
    }

    /// The raw 24 access bits of `key`, to be read with [`Keyspace::access`].
    pub fn access_bits(&self, key: &[u8], now: Timestamp) -> Option<u32> {
        self.find_live(key, now).map(|(_, entry)| entry.access())
    }

    pub fn set_access_bits(&self, key: &[u8], bits: u32, now: Timestamp) {
        if let Some((_, entry)) = self.find_live(key, now) {
            entry.set_access(bits);
        }
    }

    /// The name that OBJECT ENCODING answers.
    pub fn encoding(&self, key: &[u8], now: Timestamp) -> Option<&'static str> {
        /// Longest string that Redis keeps beside its object header.
        const EMBSTR_MAX: usize = 44;
        let (_, entry) = self.find_live(key, now)?;
        Some(match entry.value() {
            ValueRef::Str(StrRef::Int(_)) => "int",
            ValueRef::Str(StrRef::Bytes(bytes)) if bytes.len() <= EMBSTR_MAX && !entry.is_raw() => {
                "embstr"
            }
            ValueRef::Str(_) => "raw",
            ValueRef::List(list) => list.encoding(),
            ValueRef::Hash(hash) => hash.encoding(),
            ValueRef::Set(set) => set.encoding(),
            ValueRef::ZSet(zset) => zset.encoding(),
        })
    }

    /// Bytes that `key` takes with all it holds, its place in the table excluded (MEMORY USAGE).
    pub fn key_bytes(&self, key: &[u8], now: Timestamp) -> Option<usize> {
        let (_, entry) = self.find_live(key, now)?;
        Some(entry.total_bytes())
    }

    /// Number of keys, those included that are due and not yet removed (as DBSIZE counts).
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    /// Number of keys with a deadline.
    pub fn len_with_deadline(&self) -> usize {
        self.table.with_deadline()
    }

    /// Mean time to live of the keys that have a deadline, in milliseconds, from a few of them.
    pub fn ttl_ms_mean(&self, now: Timestamp) -> u64 {
        const SEGMENTS_SAMPLED: usize = 8;
        let segments = self.table.segments().take(SEGMENTS_SAMPLED);
        let deadlines = segments
            .flat_map(|segment| segment.entries())
            .filter_map(|entry| entry.deadline());
        let (sum, count) = deadlines.fold((0u64, 0u64), |(sum, count), at| {
            (sum.saturating_add(at.0.saturating_sub(now.0)), count + 1)
        });
        sum.checked_div(count).unwrap_or(0)
    }

    /// Bytes that all keys, values and the table take, by allocator size class.
    pub fn bytes(&self) -> usize {
        self.entry_bytes + self.table.heap_bytes()
    }

    /// Hits, misses and expired keys since the last call.
    pub fn take_counts(&mut self) -> (u64, u64, u64) {
        (
            self.hits.take(),
            self.misses.take(),
            std::mem::take(&mut self.expired),
        )
    }

    /// One step of SCAN: calls `visit` for every key of at least one segment from hash `cursor` on, until
    /// `wanted` keys were seen. Returns the hash to go on from; `None` at the end. A key that is there
    /// during the whole walk is visited exactly once.
    pub fn scan(
        &self,
        mut cursor: u64,
        wanted: usize,
        now: Timestamp,
        mut visit: impl FnMut(&[u8], ValueRef<'_>),
    ) -> Option<u64> {
        let mut seen = 0;
        loop {
            let (segment, next) = self.table.segment_from(cursor)?;
            let mut entries: Vec<(u64, Entry)> = segment
                .entries()
                .filter(|entry| !is_due(entry, now))
                .map(|entry| (self.hash(entry.key()), entry))
                .filter(|&(hash, _)| hash >= cursor)
                .collect();
            // By hash, then key: an order that does not depend on how the segment came to be.
            entries.sort_unstable_by(|a, b| (a.0, a.1.key()).cmp(&(b.0, b.1.key())));
            seen += entries.len();
            for (_, entry) in &entries {
                visit(entry.key(), entry.value());
            }
            match next {
                Some(next) if seen < wanted => cursor = next,
                next => return next,
            }
        }
    }

    /// Calls `visit` for each key, in no promised order.
    pub fn for_each(
        &self,
        now: Timestamp,
        mut visit: impl FnMut(&[u8], ValueRef<'_>, Option<Timestamp>),
    ) {
        for entry in self.table.segments().flat_map(|segment| segment.entries()) {
            if !is_due(&entry, now) {
                visit(entry.key(), entry.value(), entry.deadline());
            }
        }
    }

    /// A key drawn evenly from all; `None` if there is none that is not due.
    pub fn random_key(&self, rng: &mut Rng, now: Timestamp) -> Option<&[u8]> {
        /// Draws that miss (empty places, keys that are due) before the walk gives up on chance.
        const DRAWS_MAX: usize = 4096;
        if self.is_empty() {
            return None;
        }
        let drawn =
            (0..DRAWS_MAX).find_map(|_| self.table.draw(rng).filter(|entry| !is_due(entry, now)));
        let all = || self.table.segments().flat_map(|segment| segment.entries());
        drawn
            .or_else(|| all().find(|entry| !is_due(entry, now)))
            .map(|entry| entry.key())
    }

    // ---- writing -------------------------------------------------------------------------------------

    /// Sets `key` to a string, whatever it held. Integers in canonical form are kept as such.
    #[inline(always)]
    pub fn set_str(&mut self, key: &[u8], bytes: &[u8], deadline: Deadline, now: Timestamp) {
        // Each with the kind known where it is put: the path of a SET is made for one.
        match canonical_int(bytes) {
            Some(value) => self.put(key, Content::Int(value), deadline, now),
            None if bytes.len() <= INLINE_MAX => {
                self.put(key, Content::Bytes { bytes, raw: false }, deadline, now);
            }
            None => {
                let value = Box::new(Value::Str(bytes.to_vec()));
                self.put_other(key, Content::Boxed(value), deadline, now);
            }
        }
    }

    /// Sets `key` to a string that is kept as bytes even if it reads as an integer. `edited` as in an entry that
    /// was edited in place: its encoding is `raw` whatever its length.
    pub fn set_bytes(
        &mut self,
        key: &[u8],
        bytes: Vec<u8>,
        edited: bool,
        deadline: Deadline,
        now: Timestamp,
    ) {
        let content = if bytes.len() <= INLINE_MAX {
            Content::Bytes {
                bytes: &bytes,
                raw: edited,
            }
        } else {
            Content::Boxed(Box::new(Value::Str(bytes)))
        };
        self.put_other(key, content, deadline, now);
    }

    /// Sets `key` to an integer (INCR and its kin).
    #[inline]
    pub fn set_int(&mut self, key: &[u8], value: i64, deadline: Deadline, now: Timestamp) {
        self.put_other(key, Content::Int(value), deadline, now);
    }

    /// Sets `key` to the integer that `change` makes of the string there, or of nothing; the deadline stays.
    /// One look-up for what INCR does.
    ///
    /// # Errors
    /// That of `change`, and [`WrongType`]; nothing was set then.
    #[inline]
    pub fn change_int<E: From<WrongType>>(
        &mut self,
        key: &[u8],
        now: Timestamp,
        change: impl FnOnce(Option<StrRef<'_>>) -> Result<i64, E>,
    ) -> Result<i64, E> {
        let hash = self.hash(key);
        let found = self.prepare(hash, key, now);
        let old = match found.map(|(_, entry)| entry.value()) {
            None => None,
            Some(ValueRef::Str(string)) => Some(string),
            Some(_) => return Err(WrongType.into()),
        };
        let new = change(old)?;
        self.put_found(found, hash, key, Content::Int(new), Deadline::Keep, now);
        Ok(new)
    }

    /// Sets `key` to any value, whatever it held. An empty container removes the key.
    pub fn set(&mut self, key: &[u8], value: Value, deadline: Deadline, now: Timestamp) {
        match value {
            Value::Str(bytes) => self.set_str(key, &bytes, deadline, now),
            Value::List(list) if !list.has_elements() => drop(self.remove(key, now)),
            Value::Hash(hash) if !hash.has_elements() => drop(self.remove(key, now)),
            Value::Set(set) if !set.has_elements() => drop(self.remove(key, now)),
            Value::ZSet(zset) if !zset.has_elements() => drop(self.remove(key, now)),
            container => self.put_other(key, Content::Boxed(Box::new(container)), deadline, now),
        }
    }

    /// Edits the bytes of a string in place, an absent one as empty; the deadline stays. A string that was
    /// absent and is still empty afterwards is not made.
    pub fn edit_str<R>(
        &mut self,
        key: &[u8],
        now: Timestamp,
        edit: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> Result<R, WrongType> {
        let hash = self.hash(key);
        let Some((_, entry)) = self.prepare(hash, key, now) else {
            let mut bytes = Vec::new();
            let result = edit(&mut bytes);
            if !bytes.is_empty() {
                self.set_bytes(key, bytes, true, Deadline::Keep, now);
            }
            return Ok(result);
        };
        if let Some(value) = entry.boxed_mut() {
            let before = value.total_bytes();
            let Value::Str(bytes) = value else {
                return Err(WrongType);
            };
            let result = edit(bytes);
            self.entry_bytes = self.entry_bytes + value.total_bytes() - before;
            entry.set_access(self.access.touched(entry.access(), now));
            return Ok(result);
        }
        let ValueRef::Str(string) = entry.value() else {
            return Err(WrongType);
        };
        // Redis edits a string in place once it is raw, and makes a new one of any other.
        let kept = (entry.is_raw() && self.access.is_untouched()).then(|| entry.access());
        let mut bytes = string.to_vec();
        let result = edit(&mut bytes);
        self.set_bytes(key, bytes, true, Deadline::Keep, now);
        if let Some(access) = kept {
            self.set_access_bits(key, access, now);
        }
        Ok(result)
    }

    /// The container at `key` for change, if there is one. When the guard goes and the container is empty,
    /// the key goes too.
    pub fn edit<T: Container>(
        &mut self,
        key: &[u8],
        now: Timestamp,
    ) -> Result<Option<Edit<'_, T>>, WrongType> {
        let hash = self.hash(key);
        let Some((place, entry)) = self.prepare(hash, key, now) else {
            return Ok(None);
        };
        entry.set_access(self.access.touched(entry.access(), now));
        let Some(value) = entry.boxed_mut() else {
            return Err(WrongType);
        };
        let bytes_before = value.total_bytes();
        let inner: *mut T = T::of_mut(value).ok_or(WrongType)?;
        Ok(Some(Edit {
            keyspace: self,
            hash,
            place,
            bytes_before,
            inner,
        }))
    }

    /// The container at `key` for change, made empty when there is none; see [`Keyspace::edit`].
    pub fn edit_or_default<T: Container>(
        &mut self,
        key: &[u8],
        now: Timestamp,
    ) -> Result<Edit<'_, T>, WrongType> {
        if !self.contains(key, now) {
            self.put_other(
                key,
                Content::Boxed(Box::new(T::default().into_value())),
                Deadline::None,
                now,
            );
        }
        Ok(self
            .edit(key, now)?
            .expect("the key was just found or made"))
    }

    /// Removes `key`; false if there was none.
    pub fn remove(&mut self, key: &[u8], now: Timestamp) -> bool {
        let hash = self.hash(key);
        let Some((place, _)) = self.prepare(hash, key, now) else {
            return false;
        };
        self.remove_at(hash, place);
        true
    }

    /// Sets or clears the deadline; false if there is no such key. A deadline at or before `now` does not
    /// remove the key: the caller decides (EXPIRE deletes).
    pub fn set_deadline(
        &mut self,
        key: &[u8],
        deadline: Option<Timestamp>,
        now: Timestamp,
    ) -> bool {
        let hash = self.hash(key);
        let Some((place, entry)) = self.prepare(hash, key, now) else {
            return false;
        };
        let had = entry.deadline().is_some();
        if entry.set_deadline_in_place(deadline) {
            self.table.after_deadline_change(place, had, deadline);
            return true;
        }
        let access = entry.access();
        self.entry_bytes -= entry.shell_bytes();
        let moved = match entry.value() {
            ValueRef::Str(StrRef::Int(value)) => {
                Entry::new(key, Content::Int(value), deadline, access)
            }
            ValueRef::Str(StrRef::Bytes(bytes)) if entry.boxed().is_none() => Entry::new(
                key,
                Content::Bytes {
                    bytes,
                    raw: entry.is_raw(),
                },
                deadline,
                access,
            ),
            _ => {
                // The box changes hands: the old entry must give it up before the new one takes it.
                let value = std::mem::replace(
                    entry.boxed_mut().expect("neither integer nor inline"),
                    Value::Str(Vec::new()),
                );
                Entry::new(key, Content::Boxed(Box::new(value)), deadline, access)
            }
        };
        self.entry_bytes += moved.shell_bytes();
        let old = self.table.replace(place, moved);
        // SAFETY: `old` has just left the table.
        unsafe { old.free() };
        true
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        let table = std::mem::take(&mut self.table);
        self.entry_bytes = 0;
        match &mut self.capture {
            Some(capture) => {
                self.table.born_in = table.born_in;
                capture.set_aside(table);
            }
            None => drop(table),
        }
    }

    // ---- inner ---------------------------------------------------------------------------------------

    /// The keyed hash that orders the keyspace (SipHash-1-3).
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let (address, len, hash) = self.expected.get();
        if std::ptr::eq(address, key.as_ptr()) && len == key.len() {
            return hash;
        }
        hash_key(self.seed, key)
    }

    /// Runs `f`, in which the hash of `key` (that very slice) need not be computed again.
    #[inline]
    pub fn expect<R>(&mut self, key: &[u8], hash: u64, f: impl FnOnce(&mut Self) -> R) -> R {
        self.expected.set((key.as_ptr(), key.len(), hash));
        let result = f(self);
        // The address means nothing once the caller's buffer may change.
        self.expected.set((std::ptr::null(), 0, 0));
        result
    }

    /// [`Keyspace::expect`] for reads.
    #[inline]
    pub fn expect_read<R>(&self, key: &[u8], hash: u64, f: impl FnOnce(&Self) -> R) -> R {
        self.expected.set((key.as_ptr(), key.len(), hash));
        let result = f(self);
        self.expected.set((std::ptr::null(), 0, 0));
        result
    }

    #[inline]
    fn find_live(&self, key: &[u8], now: Timestamp) -> Option<(Place, Entry)> {
        self.table
            .find(self.hash(key), key)
            .filter(|(_, entry)| !is_due(entry, now))
    }

    /// Makes ready to change what lies at `key`: a running snapshot gets its copy first, and a key that is
    /// due is removed.
    #[inline]
    fn prepare(&mut self, hash: u64, key: &[u8], now: Timestamp) -> Option<(Place, Entry)> {
        self.capture_segment(hash);
        let (place, entry) = self.table.find(hash, key)?;
        if is_due(&entry, now) {
            self.remove_at(hash, place);
            self.expired += 1;
            return None;
        }
        Some((place, entry))
    }

    #[inline]
    fn capture_segment(&mut self, hash: u64) {
        if let Some(capture) = &mut self.capture {
            if let Some(segment) = self.table.segment_for(hash) {
                capture.before_change(segment);
            }
        }
    }

    fn remove_at(&mut self, hash: u64, place: Place) {
        let entry = self.table.remove(hash, place);
        self.entry_bytes -= entry.total_bytes();
        // SAFETY: the entry has just left the table.
        unsafe { entry.free() };
    }

    #[inline(always)]
    fn put(&mut self, key: &[u8], content: Content<'_>, deadline: Deadline, now: Timestamp) {
        let hash = self.hash(key);
        let found = self.prepare(hash, key, now);
        self.put_found(found, hash, key, content, deadline, now);
    }

    /// [`Keyspace::put`], not as part of its caller.
    fn put_other(&mut self, key: &[u8], content: Content<'_>, deadline: Deadline, now: Timestamp) {
        self.put(key, content, deadline, now);
    }

    /// As [`Keyspace::put`], where `found` is what [`Keyspace::prepare`] has just given.
    #[inline(always)]
    fn put_found(
        &mut self,
        found: Option<(Place, Entry)>,
        hash: u64,
        key: &[u8],
        content: Content<'_>,
        deadline: Deadline,
        now: Timestamp,
    ) {
        let deadline = match (deadline, found) {
            (Deadline::At(at), _) => Some(at),
            (Deadline::Keep, Some((_, entry))) => entry.deadline(),
            _ => None,
        };
        let Some((place, old)) = found else {
            return self.put_new(hash, key, content, deadline, now);
        };
        let access = self.access.replaced(old.access(), now);
        let had = old.deadline();
        if !old.overwrite_in_place(&content, deadline) {
            return self.exchange((place, old), key, content, deadline, access);
        }
        old.set_access(access);
        if had != deadline {
            self.table
                .after_deadline_change(place, had.is_some(), deadline);
        }
    }

    #[inline(never)]
    fn put_new(
        &mut self,
        hash: u64,
        key: &[u8],
        content: Content<'_>,
        deadline: Option<Timestamp>,
        now: Timestamp,
    ) {
        let entry = Entry::new(key, content, deadline, self.access.fresh(now));
        self.entry_bytes += entry.total_bytes();
        let seed = self.seed;
        self.table.insert(hash, entry, |key| hash_key(seed, key));
    }

    #[inline(never)]
    fn exchange(
        &mut self,
        (place, old): (Place, Entry),
        key: &[u8],
        content: Content<'_>,
        deadline: Option<Timestamp>,
        access: u32,
    ) {
        let entry = Entry::new(key, content, deadline, access);
        self.entry_bytes = self.entry_bytes + entry.total_bytes() - old.total_bytes();
        let old = self.table.replace(place, entry);
        // SAFETY: `old` has just left the table.
        unsafe { old.free() };
    }
}

/// Whether the entry's deadline has come: Redis counts the millisecond of the deadline itself as past only
/// when the clock is beyond it.
#[inline]
pub(super) fn is_due(entry: &Entry, now: Timestamp) -> bool {
    matches!(entry.deadline(), Some(at) if at < now)
}

#[cfg(test)]
#[path = "keyspace_tests.rs"]
mod tests;
