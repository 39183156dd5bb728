//! A point-in-time copy of a keyspace while it goes on changing: what a snapshot is made from.
//!
//! The walk goes segment by segment. Before a segment that the walk has not reached is changed, it is copied
//! out of turn and marked with the capture's generation; the walk passes it by later. So the copy is that of
//! the instant at which the capture began, no fork is needed, and no step is longer than one segment.

use super::entry::Entry;
use super::table::{Segment, Table};
use super::{Timestamp, ValueRef};

/// Writes one key into a snapshot's buffer.
pub type Encode = fn(
    database: u16,
    key: &[u8],
    deadline: Option<Timestamp>,
    value: ValueRef<'_>,
    out: &mut Vec<u8>,
);

/// A running capture of one keyspace.
pub struct Capture {
    /// The database number that the keyspace had when the capture began (SWAPDB may change it since).
    database: u16,
    generation: u32,
    encode: Encode,
    /// Where the walk stands; `None`: the table is done.
    next: Option<u64>,
    /// A table that was cleared during the capture, before the walk had finished it.
    aside: Option<Table>,
    copied: Copied,
}

/// What was copied and not yet taken by the snapshot's writer.
#[derive(Default)]
pub struct Copied {
    pub bytes: Vec<u8>,
    pub keys: u64,
}

impl Capture {
    pub fn new(database: u16, generation: u32, encode: Encode) -> Self {
        Self {
            database,
            generation,
            encode,
            next: Some(0),
            aside: None,
            copied: Copied::default(),
        }
    }

    /// Copies `segment` if that has not been done yet; to be called before any change to it.
    #[inline]
    pub fn before_change(&mut self, segment: &mut Segment) {
        if segment.copied_in != self.generation && self.aside.is_none() {
            self.copy(segment);
        }
    }

    fn copy(&mut self, segment: &mut Segment) {
        segment.copied_in = self.generation;
        for entry in segment.entries() {
            self.copy_entry(entry);
        }
    }

    fn copy_entry(&mut self, entry: Entry) {
        (self.encode)(
            self.database,
            entry.key(),
            entry.deadline(),
            entry.value(),
            &mut self.copied.bytes,
        );
        self.copied.keys += 1;
    }

    /// Keeps a cleared table until the walk is through with it.
    pub fn set_aside(&mut self, table: Table) {
        // A second clear meets keys that are younger than the capture: nothing of them is wanted.
        if self.aside.is_none() && self.next.is_some() {
            self.aside = Some(table);
        }
    }

    /// Copies segments until about `bytes_wanted` bytes are ready, and hands them out. `table` is the
    /// keyspace's own. Returns whether the capture is complete.
    pub fn step(&mut self, table: &mut Table, bytes_wanted: usize, out: &mut Copied) -> bool {
        let mut aside = self.aside.take();
        let walked = aside.as_mut().unwrap_or(table);
        while let Some(from) = self.next {
            if self.copied.bytes.len() >= bytes_wanted {
                break;
            }
            self.next = walked.segment_from(from).and_then(|(_, next)| next);
            if let Some(segment) = walked.segment_for(from) {
                if segment.copied_in != self.generation {
                    self.copy(segment);
                }
            }
        }
        if self.next.is_some() {
            self.aside = aside;
        }
        out.bytes.append(&mut self.copied.bytes);
        out.keys += std::mem::take(&mut self.copied.keys);
        self.next.is_none()
    }
}
