//! One key with its value in one allocation. The only place that knows the bytes of an entry.
//!
//! ```text
//! 0        1         4          8                                              (offset in bytes)
//! +--------+---------+----------+-------------+-----------------------+-----+-------+
//! | kind   | access  | key len  | deadline    | int | *Value | len    | key | bytes |
//! | +flags | 24 bits | u32      | u64, if any | i64 | 8      | u32    |     |       |
//! +--------+---------+----------+-------------+-----------------------+-----+-------+
//! ```
//! A string of at most [`INLINE_MAX`] bytes lies behind its key; an integer takes eight bytes before the
//! key; everything else is a pointer to a boxed [`Value`]. The allocation is always a whole size class of
//! the allocator, so that a value may change in place while the class stays the same.

use std::alloc::{alloc, dealloc, handle_alloc_error, Layout};
use std::ptr::NonNull;

use super::memory::allocation_bytes;
use super::value::{StrRef, Value, ValueRef};
use super::Timestamp;

/// Longest string kept beside its key; a longer one has a growable buffer of its own.
pub const INLINE_MAX: usize = 4096;

const KIND_MASK: u8 = 0b11;
const KIND_BYTES: u8 = 0;
const KIND_INT: u8 = 1;
const KIND_BOXED: u8 = 2;
/// The entry has a deadline.
const FLAG_DEADLINE: u8 = 0b100;
/// The string was edited in place: OBJECT ENCODING says `raw` whatever its length.
const FLAG_RAW: u8 = 0b1000;

const HEADER_BYTES: usize = 8;

/// What an entry is made from.
pub enum Content<'a> {
    Int(i64),
    /// At most [`INLINE_MAX`] bytes.
    Bytes {
        bytes: &'a [u8],
        raw: bool,
    },
    Boxed(Box<Value>),
}

/// An owning, untagged pointer to one entry. `Copy` so that the table can hold it in an array: whoever
/// removes it from the table calls [`Entry::free`], once.
#[derive(Clone, Copy)]
pub struct Entry(NonNull<u8>);

// An entry has no ties to a thread: its bytes and its boxed value are plain owned data.
unsafe impl Send for Entry {}

impl Entry {
    pub fn new(
        key: &[u8],
        content: Content<'_>,
        deadline: Option<Timestamp>,
        access: u32,
    ) -> Entry {
        let (kind, body) = match &content {
            Content::Int(_) => (KIND_INT, 8),
            Content::Boxed(_) => (KIND_BOXED, 8),
            Content::Bytes { bytes, raw } => {
                assert!(bytes.len() <= INLINE_MAX);
                (
                    KIND_BYTES | if *raw { FLAG_RAW } else { 0 },
                    4 + bytes.len(),
                )
            }
        };
        let flags = kind | if deadline.is_some() { FLAG_DEADLINE } else { 0 };
        let deadline_bytes = if deadline.is_some() { 8 } else { 0 };
        let size = HEADER_BYTES + deadline_bytes + body + key.len();
        let layout = layout_for(size);
        // SAFETY: the layout has a size above 0; every write below stays within `size` bytes.
        unsafe {
            let Some(ptr) = NonNull::new(alloc(layout)) else {
                handle_alloc_error(layout)
            };
            let entry = Entry(ptr);
            let base = ptr.as_ptr();
            (base as *mut u32).write(u32::from(flags) | (access << 8));
            (base.add(4) as *mut u32).write(key.len() as u32);
            if let Some(Timestamp(at)) = deadline {
                (base.add(HEADER_BYTES) as *mut u64).write(at);
            }
            let body = base.add(HEADER_BYTES + deadline_bytes);
            let key_at = match content {
                Content::Int(value) => {
                    (body as *mut i64).write(value);
                    body.add(8)
                }
                Content::Boxed(value) => {
                    (body as *mut *mut Value).write(Box::into_raw(value));
                    body.add(8)
                }
                Content::Bytes { bytes, .. } => {
                    (body as *mut u32).write(bytes.len() as u32);
                    let to = body.add(4 + key.len());
                    to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
                    body.add(4)
                }
            };
            key_at.copy_from_nonoverlapping(key.as_ptr(), key.len());
            entry
        }
    }

    /// Frees the entry and its value. The pointer must not be used afterwards.
    ///
    /// # Safety
    /// The entry was made by [`Entry::new`], is no longer reachable, and is freed once.
    pub unsafe fn free(self) {
        if self.kind() == KIND_BOXED {
            drop(Box::from_raw(self.boxed_ptr()));
        }
        self.free_shell();
    }

    /// Frees the entry and hands its boxed value out, if it has one.
    ///
    /// # Safety
    /// As [`Entry::free`].
    pub unsafe fn into_boxed(self) -> Option<Box<Value>> {
        let value = (self.kind() == KIND_BOXED).then(|| Box::from_raw(self.boxed_ptr()));
        self.free_shell();
        value
    }

    unsafe fn free_shell(self) {
        dealloc(self.0.as_ptr(), layout_for(self.size()));
    }

    /// The first two cache lines of the entry, for prefetching.
    #[inline]
    pub fn lines(&self) -> (*const u8, *const u8) {
        let start = self.0.as_ptr();
        (start, start.wrapping_add(64))
    }

    /// Bytes of the allocation, without what a boxed value holds.
    #[inline]
    pub fn shell_bytes(&self) -> usize {
        allocation_bytes(self.size())
    }

    /// Bytes of everything the entry owns.
    #[inline]
    pub fn total_bytes(&self) -> usize {
        self.shell_bytes() + self.boxed().map_or(0, Value::total_bytes)
    }

    #[inline]
    fn word(&self) -> u32 {
        // SAFETY: the header is always there and aligned.
        unsafe { (self.0.as_ptr() as *const u32).read() }
    }

    #[inline]
    fn kind(&self) -> u8 {
        self.word() as u8 & KIND_MASK
    }

    #[inline]
    fn has_deadline(&self) -> bool {
        self.word() as u8 & FLAG_DEADLINE != 0
    }

    pub fn is_raw(&self) -> bool {
        self.word() as u8 & FLAG_RAW != 0
    }

    #[inline]
    fn key_len(&self) -> usize {
        // SAFETY: as in `word`.
        unsafe { (self.0.as_ptr().add(4) as *const u32).read() as usize }
    }

    #[inline]
    fn body_offset(&self) -> usize {
        HEADER_BYTES + if self.has_deadline() { 8 } else { 0 }
    }

    #[inline]
    fn key_offset(&self) -> usize {
        self.body_offset() + if self.kind() == KIND_BYTES { 4 } else { 8 }
    }

    #[inline]
    fn inline_len(&self) -> usize {
        debug_assert!(self.kind() == KIND_BYTES);
        // SAFETY: an inline string has its length at the start of its body.
        unsafe { (self.0.as_ptr().add(self.body_offset()) as *const u32).read() as usize }
    }

    fn size(&self) -> usize {
        let bytes = if self.kind() == KIND_BYTES {
            self.inline_len()
        } else {
            0
        };
        self.key_offset() + self.key_len() + bytes
    }

    /// The key. Its lifetime is the caller's promise that the entry stays in the table.
    #[inline]
    pub fn key<'a>(&self) -> &'a [u8] {
        // SAFETY: the key lies within the allocation.
        unsafe {
            std::slice::from_raw_parts(self.0.as_ptr().add(self.key_offset()), self.key_len())
        }
    }

    #[inline]
    pub fn deadline(&self) -> Option<Timestamp> {
        // SAFETY: the flag says that the field is there.
        self.has_deadline()
            .then(|| unsafe { Timestamp((self.0.as_ptr().add(HEADER_BYTES) as *const u64).read()) })
    }

    /// Changes the deadline in place; false if the entry has no room for one or would keep a needless one.
    #[inline]
    pub fn set_deadline_in_place(&self, deadline: Option<Timestamp>) -> bool {
        match deadline {
            Some(Timestamp(at)) if self.has_deadline() => {
                // SAFETY: the flag says that the field is there.
                unsafe { (self.0.as_ptr().add(HEADER_BYTES) as *mut u64).write(at) };
                true
            }
            None => !self.has_deadline(),
            Some(_) => false,
        }
    }

    /// The 24 bits that eviction reads: last access (LRU) or frequency (LFU).
    #[inline]
    pub fn access(&self) -> u32 {
        self.word() >> 8
    }

    /// Not data: never part of a digest or a log entry, hence through a shared reference.
    #[inline]
    pub fn set_access(&self, access: u32) {
        // SAFETY: one thread owns the shard, and no reference into the header is ever handed out.
        unsafe {
            let word = self.0.as_ptr() as *mut u32;
            word.write((word.read() & 0xff) | (access << 8));
        }
    }

    #[inline]
    pub fn value<'a>(&self) -> ValueRef<'a> {
        let body = self.body_offset();
        // SAFETY: the kind tells what the body holds; lifetimes as in `key`.
        unsafe {
            match self.kind() {
                KIND_INT => ValueRef::Str(StrRef::Int(
                    (self.0.as_ptr().add(body) as *const i64).read(),
                )),
                KIND_BOXED => (*self.boxed_ptr()).as_value_ref(),
                _ => {
                    let start = self.0.as_ptr().add(self.key_offset() + self.key_len());
                    ValueRef::Str(StrRef::Bytes(std::slice::from_raw_parts(
                        start,
                        self.inline_len(),
                    )))
                }
            }
        }
    }

    fn boxed_ptr(&self) -> *mut Value {
        // SAFETY: callers have checked the kind.
        unsafe { (self.0.as_ptr().add(self.body_offset()) as *const *mut Value).read() }
    }

    pub fn boxed<'a>(&self) -> Option<&'a Value> {
        // SAFETY: the kind says that the pointer is there; lifetime as in `key`.
        (self.kind() == KIND_BOXED).then(|| unsafe { &*self.boxed_ptr() })
    }

    /// The boxed value for change; the caller holds the keyspace exclusively.
    pub fn boxed_mut<'a>(&self) -> Option<&'a mut Value> {
        // SAFETY: as in `boxed`, with the keyspace borrowed mutably by the caller.
        (self.kind() == KIND_BOXED).then(|| unsafe { &mut *self.boxed_ptr() })
    }

    /// Overwrites an integer or inline string with another when the allocation has the very same class
    /// and the deadline needs no other room; false otherwise.
    #[inline(always)]
    pub fn overwrite_in_place(&self, content: &Content<'_>, deadline: Option<Timestamp>) -> bool {
        if deadline.is_some() != self.has_deadline() {
            return false;
        }
        let body = self.body_offset();
        match content {
            Content::Int(value) if self.kind() == KIND_INT => {
                // SAFETY: the body of an integer entry is eight bytes.
                unsafe { (self.0.as_ptr().add(body) as *mut i64).write(*value) };
            }
            Content::Bytes { bytes, raw } if self.kind() == KIND_BYTES => {
                let key_end = self.key_offset() + self.key_len();
                if allocation_bytes(key_end + bytes.len()) != self.shell_bytes() {
                    return false;
                }
                // SAFETY: the same class means the same room; the new bytes come from elsewhere.
                unsafe {
                    let base = self.0.as_ptr();
                    (base.add(body) as *mut u32).write(bytes.len() as u32);
                    base.add(key_end)
                        .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
                    let flags = base.read() & !FLAG_RAW;
                    base.write(flags | if *raw { FLAG_RAW } else { 0 });
                }
            }
            _ => return false,
        }
        self.set_deadline_in_place(deadline)
    }
}

fn layout_for(size: usize) -> Layout {
    Layout::from_size_align(allocation_bytes(size), 8).expect("an entry is far below isize::MAX")
}
