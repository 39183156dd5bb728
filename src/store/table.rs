//! The hash table of a keyspace: extendible hashing over segments of 64 entries. Knows entries, not types.
//!
//! The top bits of a key's hash choose a segment through the directory; within the segment one byte of the
//! hash is compared for all 64 places at once. A full segment splits in two by its next hash bit, so that
//! growth never pauses: the work of one insertion is bounded by one segment (and, rarely, by a copy of the
//! directory, eight bytes a segment). Segments partition the hash space in order. Hence
//! - SCAN's cursor is a hash prefix: splits and merges neither hide nor repeat an entry,
//! - a snapshot copies segment by segment, each just before its first change,
//! - a segment's earliest deadline tells in one look whether any of its keys can be due.
//!
//! After Fagin, Nievergelt, Pippenger, Strong: "Extendible hashing" (1979).

use std::ptr::NonNull;

use super::entry::Entry;
use super::memory::allocation_bytes;
use super::word::same_bytes;
use super::{Rng, Timestamp};

/// Places of a segment; a bit mask of them fits one word.
const PLACES: usize = 64;
/// Two neighbours merge when both fit into one with this many entries.
const MERGE_AT_MOST: u32 = 24;
/// The directory may double while it has fewer slots than this, or than the table has entries: keys whose
/// hashes agree in more bits (somebody has learned the seed) overflow instead of eating the memory.
const DIRECTORY_FREE_SLOTS: usize = 64;

/// Where an entry lies: valid until the table changes.
#[derive(Clone, Copy)]
pub struct Place {
    segment: NonNull<Segment>,
    index: usize,
}

/// Ten cache lines: fingerprints, the small fields, pointers. A look-up touches the first, one of the last eight,
/// and the entry.
#[repr(C, align(64))]
pub struct Segment {
    /// One byte of each key's hash, never 0; 0 where the place is empty.
    fingerprints: [u8; PLACES],
    occupied: u64,
    /// Which places hold an entry with a deadline.
    with_deadline: u64,
    /// No deadline in here is earlier; exact after a sweep, else a lower bound.
    earliest: Timestamp,
    /// How many top bits of the hash all entries here share.
    depth: u8,
    /// Generation of the last snapshot that has copied this segment.
    pub copied_in: u32,
    /// Entries beyond 64 that no split within the directory's bound could part.
    overflow: Vec<Entry>,
    entries: [Option<Entry>; PLACES],
}

/// The byte of a hash that a segment compares.
#[inline]
fn fingerprint(hash: u64) -> u8 {
    (hash as u8).max(1)
}

/// Asks the processor to bring a line of memory nearer; never faults.
#[inline]
pub fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect but on the cache, whatever the address.
    unsafe {
        use std::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

impl Segment {
    fn new(depth: u8, copied_in: u32) -> NonNull<Segment> {
        let segment = Box::new(Segment {
            fingerprints: [0; PLACES],
            entries: [None; PLACES],
            occupied: 0,
            with_deadline: 0,
            earliest: Timestamp(u64::MAX),
            depth,
            copied_in,
            overflow: Vec::new(),
        });
        NonNull::from(Box::leak(segment))
    }

    /// The places whose fingerprint is `fingerprint`, as a bit mask.
    #[inline]
    fn candidates(&self, fingerprint: u8) -> u64 {
        places_of(&self.fingerprints, fingerprint)
    }

    fn place(&mut self, index: usize, hash: u64, entry: Entry) {
        self.fingerprints[index] = fingerprint(hash);
        self.entries[index] = Some(entry);
        self.occupied |= 1 << index;
        self.note_deadline(index, entry.deadline());
    }

    fn place_or_overflow(&mut self, hash: u64, entry: Entry) {
        if self.occupied != u64::MAX {
            return self.place(self.occupied.trailing_ones() as usize, hash, entry);
        }
        self.earliest = self
            .earliest
            .min(entry.deadline().unwrap_or(Timestamp(u64::MAX)));
        self.overflow.push(entry);
    }

    fn note_deadline(&mut self, index: usize, deadline: Option<Timestamp>) {
        match deadline {
            Some(at) => {
                self.with_deadline |= 1 << index;
                self.earliest = self.earliest.min(at);
            }
            None => self.with_deadline &= !(1 << index),
        }
    }

    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        ones(self.occupied)
            .map(|index| self.entries[index].expect("occupied place"))
            .chain(self.overflow.iter().copied())
    }

    fn has_overflow(&self) -> bool {
        !self.overflow.is_empty()
    }
}

/// The indexes of the bits set in `mask`, ascending.
#[inline]
fn ones(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (mask != 0).then(|| {
            let index = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            index
        })
    })
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn places_of(bytes: &[u8; PLACES], wanted: u8) -> u64 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};
    let mut mask = 0;
    // SAFETY: SSE2 is part of x86_64, and each load reads 16 of the 64 bytes.
    unsafe {
        let wanted = _mm_set1_epi8(wanted as i8);
        for part in 0..4 {
            let chunk = _mm_loadu_si128(bytes.as_ptr().add(part * 16).cast());
            let equal = _mm_movemask_epi8(_mm_cmpeq_epi8(chunk, wanted)) as u16;
            mask |= u64::from(equal) << (part * 16);
        }
    }
    mask
}

#[cfg(not(target_arch = "x86_64"))]
fn places_of(bytes: &[u8; PLACES], wanted: u8) -> u64 {
    bytes.iter().enumerate().fold(0, |mask, (index, &byte)| {
        mask | (u64::from(byte == wanted) << index)
    })
}

/// The table. It owns its entries.
pub struct Table {
    /// `1 << depth` pointers; a segment of a lesser depth stands in several neighbouring places.
    directory: Vec<NonNull<Segment>>,
    depth: u8,
    len: usize,
    with_deadline: usize,
    segments: usize,
    /// Generation of the running snapshot: the first segment of an empty table holds nothing it wants.
    pub born_in: u32,
}

// The pointers are owned; nothing in a segment is tied to a thread.
unsafe impl Send for Table {}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

impl Table {
    /// An empty table takes no memory until its first entry.
    pub fn new() -> Self {
        Self {
            directory: Vec::new(),
            depth: 0,
            len: 0,
            with_deadline: 0,
            segments: 0,
            born_in: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Number of entries with a deadline.
    pub fn with_deadline(&self) -> usize {
        self.with_deadline
    }

    /// Bytes of directory and segments, without the entries.
    pub fn heap_bytes(&self) -> usize {
        allocation_bytes(self.directory.capacity() * 8)
            + self.segments * allocation_bytes(std::mem::size_of::<Segment>())
    }

    #[inline]
    fn slot_of(&self, hash: u64) -> usize {
        // A shift by 64 (depth 0) would overflow: shift in two steps.
        ((hash >> 1) >> (63 - self.depth)) as usize
    }

    #[inline]
    fn segment_at(&self, hash: u64) -> Option<NonNull<Segment>> {
        self.directory.get(self.slot_of(hash)).copied()
    }

    /// The segment that holds (or would hold) keys with this hash.
    pub fn segment_for(&mut self, hash: u64) -> Option<&mut Segment> {
        // SAFETY: directory pointers are valid, and `self` is borrowed mutably.
        self.segment_at(hash)
            .map(|mut segment| unsafe { segment.as_mut() })
    }

    /// Begins a look-up ahead of need: the way to the segment is on its way.
    #[inline]
    pub fn prefetch_directory(&self, hash: u64) {
        prefetch(self.directory.as_ptr().wrapping_add(self.slot_of(hash)));
    }

    /// First step: the segment's fingerprints are on their way.
    #[inline]
    pub fn prefetch_segment(&self, hash: u64) {
        if let Some(segment) = self.segment_at(hash) {
            prefetch(segment.as_ptr());
        }
    }

    /// Second step: the pointer at the place that the fingerprints name is on its way.
    #[inline]
    pub fn prefetch_place(&self, hash: u64) -> Option<u8> {
        // SAFETY: directory pointers are valid while `self` lives.
        let segment = unsafe { self.segment_at(hash)?.as_ref() };
        let mask = segment.candidates(fingerprint(hash));
        if mask == 0 {
            return None;
        }
        let place = mask.trailing_zeros() as usize;
        prefetch(&segment.entries[place]);
        Some(place as u8)
    }

    /// Third step: the entry is on its way. `place` is a hint: the table may have changed since the second step.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64, place: u8) {
        let Some(segment) = self.segment_at(hash) else {
            return;
        };
        // SAFETY: as in `prefetch_place`.
        let segment = unsafe { segment.as_ref() };
        if let Some(Some(entry)) = segment.entries.get(usize::from(place)) {
            let (first, second) = entry.lines();
            prefetch(first);
            prefetch(second);
        }
    }

    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<(Place, Entry)> {
        let pointer = self.segment_at(hash)?;
        // SAFETY: directory pointers are valid while `self` lives.
        let segment = unsafe { pointer.as_ref() };
        for index in ones(segment.candidates(fingerprint(hash))) {
            let entry = segment.entries[index].expect("occupied place");
            if same_bytes(entry.key(), key) {
                return Some((
                    Place {
                        segment: pointer,
                        index,
                    },
                    entry,
                ));
            }
        }
        if segment.has_overflow() {
            let found = segment
                .overflow
                .iter()
                .position(|entry| entry.key() == key)?;
            return Some((
                Place {
                    segment: pointer,
                    index: PLACES + found,
                },
                segment.overflow[found],
            ));
        }
        None
    }

    /// The entry at `place`.
    pub fn entry_at(&self, place: Place) -> Entry {
        // SAFETY: a `Place` comes from `find`, and the table has not changed since.
        let segment = unsafe { place.segment.as_ref() };
        match place.index.checked_sub(PLACES) {
            Some(extra) => segment.overflow[extra],
            None => segment.entries[place.index].expect("a Place holds an entry"),
        }
    }

    /// Puts `new` where another entry of the same key lies, and returns the old one for the caller to free.
    pub fn replace(&mut self, place: Place, new: Entry) -> Entry {
        let mut pointer = place.segment;
        // SAFETY: a `Place` comes from `find`, and the table has not changed since.
        let segment = unsafe { pointer.as_mut() };
        if place.index >= PLACES {
            let slot = &mut segment.overflow[place.index - PLACES];
            let old = std::mem::replace(slot, new);
            self.with_deadline += new.deadline().is_some() as usize;
            self.with_deadline -= old.deadline().is_some() as usize;
            segment.earliest = segment
                .earliest
                .min(new.deadline().unwrap_or(Timestamp(u64::MAX)));
            return old;
        }
        let old = segment.entries[place.index]
            .replace(new)
            .expect("a Place holds an entry");
        self.after_deadline_change(place, old.deadline().is_some(), new.deadline());
        old
    }

    /// To be called when the deadline of the entry at `place` was changed in place.
    pub fn after_deadline_change(&mut self, place: Place, had: bool, deadline: Option<Timestamp>) {
        self.with_deadline += deadline.is_some() as usize;
        self.with_deadline -= had as usize;
        let mut pointer = place.segment;
        // SAFETY: as in `replace`.
        let segment = unsafe { pointer.as_mut() };
        if place.index < PLACES {
            segment.note_deadline(place.index, deadline);
        } else if let Some(at) = deadline {
            segment.earliest = segment.earliest.min(at);
        }
    }

    /// Adds an entry whose key is not in the table. `hash_of` is asked for the hashes of a segment that
    /// must split.
    pub fn insert(&mut self, hash: u64, entry: Entry, hash_of: impl Fn(&[u8]) -> u64) {
        if self.directory.is_empty() {
            self.directory.push(Segment::new(0, self.born_in));
            self.segments = 1;
        }
        self.len += 1;
        self.with_deadline += entry.deadline().is_some() as usize;
        loop {
            let mut pointer = self.segment_at(hash).expect("directory is not empty");
            // SAFETY: directory pointers are valid, and `self` is borrowed mutably.
            let segment = unsafe { pointer.as_mut() };
            let may_double = self.directory.len() <= self.len.max(DIRECTORY_FREE_SLOTS);
            if segment.occupied != u64::MAX || (segment.depth == self.depth && !may_double) {
                return segment.place_or_overflow(hash, entry);
            }
            self.split(hash, &hash_of);
        }
    }

    fn split(&mut self, hash: u64, hash_of: &impl Fn(&[u8]) -> u64) {
        let mut pointer = self.segment_at(hash).expect("only a full segment splits");
        // SAFETY: as in `insert`.
        let segment = unsafe { pointer.as_mut() };
        if segment.depth == self.depth {
            self.double_directory();
        }
        let depth = segment.depth + 1;
        let mut upper_pointer = Segment::new(depth, segment.copied_in);
        // SAFETY: freshly made and not yet shared.
        let upper = unsafe { upper_pointer.as_mut() };
        self.segments += 1;
        segment.depth = depth;
        let mut earliest = Timestamp(u64::MAX);
        for index in ones(segment.occupied) {
            let entry = segment.entries[index].expect("occupied place");
            let entry_hash = hash_of(entry.key());
            if (entry_hash >> (64 - depth)) & 1 == 1 {
                upper.place(upper.occupied.trailing_ones() as usize, entry_hash, entry);
                segment.entries[index] = None;
                segment.fingerprints[index] = 0;
                segment.occupied &= !(1 << index);
                segment.with_deadline &= !(1 << index);
            } else if let Some(at) = entry.deadline() {
                earliest = earliest.min(at);
            }
        }
        segment.earliest = earliest;
        for entry in std::mem::take(&mut segment.overflow) {
            let entry_hash = hash_of(entry.key());
            let half = if (entry_hash >> (64 - depth)) & 1 == 1 {
                &mut *upper
            } else {
                &mut *segment
            };
            half.place_or_overflow(entry_hash, entry);
        }
        let (first, span) = self.slots_of(hash, depth - 1);
        for slot in first + span / 2..first + span {
            self.directory[slot] = upper_pointer;
        }
    }

    /// First directory slot, and number of slots, of the segment of `depth` that covers `hash`.
    fn slots_of(&self, hash: u64, depth: u8) -> (usize, usize) {
        let span = 1usize << (self.depth - depth);
        (self.slot_of(hash) & !(span - 1), span)
    }

    fn double_directory(&mut self) {
        let mut doubled = Vec::with_capacity(self.directory.len() * 2);
        for &segment in &self.directory {
            doubled.extend([segment, segment]);
        }
        self.directory = doubled;
        self.depth += 1;
    }

    /// Takes the entry at `place` out; the caller frees it.
    pub fn remove(&mut self, hash: u64, place: Place) -> Entry {
        let mut pointer = place.segment;
        // SAFETY: as in `replace`.
        let segment = unsafe { pointer.as_mut() };
        let entry = if place.index >= PLACES {
            segment.overflow.swap_remove(place.index - PLACES)
        } else {
            segment.fingerprints[place.index] = 0;
            segment.occupied &= !(1 << place.index);
            segment.with_deadline &= !(1 << place.index);
            segment.entries[place.index]
                .take()
                .expect("a Place holds an entry")
        };
        self.len -= 1;
        self.with_deadline -= entry.deadline().is_some() as usize;
        if segment.occupied.count_ones() <= MERGE_AT_MOST / 2 {
            self.merge(hash);
        }
        entry
    }

    /// Joins the segment of `hash` with its neighbour when both together are small.
    fn merge(&mut self, hash: u64) {
        let mut pointer = self.segment_at(hash).expect("directory is not empty");
        // SAFETY: directory pointers are valid, and `self` is borrowed mutably; the two differ.
        let segment = unsafe { pointer.as_mut() };
        if segment.depth == 0 {
            return;
        }
        let neighbour_hash = hash ^ (1 << (64 - segment.depth));
        let mut neighbour_pointer = self.segment_at(neighbour_hash).expect("directory is full");
        let neighbour = unsafe { neighbour_pointer.as_mut() };
        let together = segment.occupied.count_ones() + neighbour.occupied.count_ones();
        // A snapshot that copied one of the two and not the other must find them apart.
        if neighbour.depth != segment.depth
            || together > MERGE_AT_MOST
            || neighbour.copied_in != segment.copied_in
            || segment.has_overflow()
            || neighbour.has_overflow()
        {
            return;
        }
        for index in ones(neighbour.occupied) {
            let entry = neighbour.entries[index].expect("occupied place");
            let low_byte = u64::from(neighbour.fingerprints[index]);
            segment.place(segment.occupied.trailing_ones() as usize, low_byte, entry);
        }
        segment.depth -= 1;
        let (first, span) = self.slots_of(hash, segment.depth);
        self.directory[first..first + span].fill(pointer);
        self.segments -= 1;
        // SAFETY: no directory slot names the neighbour any more; its entries have moved.
        drop(unsafe { Box::from_raw(neighbour_pointer.as_ptr()) });
    }

    /// The segment that covers hash `from`, with the first hash behind it (`None`: it is the last).
    pub fn segment_from(&self, from: u64) -> Option<(&Segment, Option<u64>)> {
        // SAFETY: directory pointers are valid while `self` lives.
        let segment = unsafe { self.segment_at(from)?.as_ref() };
        let last = if segment.depth == 0 {
            u64::MAX
        } else {
            from | (u64::MAX >> segment.depth)
        };
        Some((segment, last.checked_add(1)))
    }

    /// A place of a segment, both drawn evenly, or `None` where that place is empty: so every entry is as
    /// likely as any other, and the caller tries again.
    pub fn draw(&self, rng: &mut Rng) -> Option<Entry> {
        if self.directory.is_empty() {
            return None;
        }
        let slot = rng.below(self.directory.len());
        // SAFETY: directory pointers are valid while `self` lives.
        let segment = unsafe { self.directory[slot].as_ref() };
        // A segment that stands in several slots counts only at its first.
        if slot & ((1 << (self.depth - segment.depth)) - 1) != 0 {
            return None;
        }
        match segment.overflow.len() {
            0 => segment.entries[rng.below(PLACES)],
            extra => segment.entries().nth(rng.below(PLACES + extra)),
        }
    }

    /// Entries around a random place, for eviction to choose from; fewer than `wanted` only when one
    /// segment has fewer.
    pub fn sample(&self, rng: &mut Rng, wanted: usize, with_deadline: bool, out: &mut Vec<Entry>) {
        if self.directory.is_empty() {
            return;
        }
        // SAFETY: as in `draw`.
        let segment = unsafe { self.directory[rng.below(self.directory.len())].as_ref() };
        let mask = if with_deadline {
            segment.with_deadline
        } else {
            segment.occupied
        };
        let turned = rng.below(PLACES) as u32;
        for index in ones(mask.rotate_right(turned)).take(wanted) {
            out.push(segment.entries[(index + turned as usize) % PLACES].expect("occupied place"));
        }
    }

    /// Walks segments from hash `from` until one holds a deadline before `now` or `budget` segments
    /// were seen. Returns the hash to go on from (`None` at the end) and whether the last one may be due.
    pub fn next_due(
        &self,
        mut from: u64,
        now: Timestamp,
        budget: usize,
    ) -> (Option<u64>, Option<u64>) {
        for _ in 0..budget {
            let Some((segment, next)) = self.segment_from(from) else {
                return (None, None);
            };
            if segment.earliest < now {
                return (next, Some(from));
            }
            match next {
                Some(next) => from = next,
                None => return (None, None),
            }
        }
        (Some(from), None)
    }

    /// The entries of the segment at `from` that `wanted` picks from those with a deadline; the segment's
    /// bound is made exact for the time when they are gone.
    pub fn due_in_segment(&mut self, from: u64, wanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let Some(segment) = self.segment_for(from) else {
            return Vec::new();
        };
        let mut due = Vec::new();
        let mut earliest = Timestamp(u64::MAX);
        for entry in segment.entries() {
            match entry.deadline() {
                Some(_) if wanted(&entry) => due.push(entry),
                Some(at) => earliest = earliest.min(at),
                None => {}
            }
        }
        segment.earliest = earliest;
        due
    }

    /// All segments in order of their hash range.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> + '_ {
        let mut slot = 0;
        std::iter::from_fn(move || {
            // SAFETY: directory pointers are valid while `self` lives.
            let segment = unsafe { self.directory.get(slot)?.as_ref() };
            slot += 1 << (self.depth - segment.depth);
            Some(segment)
        })
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let mut slot = 0;
        while slot < self.directory.len() {
            let pointer = self.directory[slot];
            // SAFETY: each segment is visited once (its first slot), and each entry is owned by one place.
            unsafe {
                let segment = Box::from_raw(pointer.as_ptr());
                slot += 1 << (self.depth - segment.depth);
                for entry in segment.entries() {
                    entry.free();
                }
            }
        }
    }
}
