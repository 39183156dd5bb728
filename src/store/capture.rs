//! A point-in-time copy of a keyspace while it goes on changing: what a snapshot is made from, and a digest added up of.
//!
//! The walk goes segment by segment. Before a segment that the walk has not reached is changed, it is copied
//! out of turn and marked with the capture's generation; the walk passes it by later. So the copy is that of
//! the instant at which the capture began, no fork is needed, and no step is longer than one segment.

use super::digest::{Digest, Summing};
use super::entry::Entry;
use super::table::{prefetch, Segment, Table};
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
    sink: Sink,
    /// Where the walk stands; `None`: the table is done.
    next: Option<u64>,
    /// A table that was cleared during the capture, before the walk had finished it.
    aside: Option<Table>,
}

/// What becomes of the keys.
pub enum Sink {
    Records(Encode, Copied),
    /// Nothing is kept but the sum, so what changes ahead of the walk takes no memory.
    Digest(Box<Summing>),
}

impl Sink {
    pub fn records(encode: Encode) -> Self {
        Self::Records(encode, Copied::default())
    }

    pub fn digest() -> Self {
        Self::Digest(Box::default())
    }

    fn add(&mut self, database: u16, entry: Entry) {
        let (key, deadline, value) = (entry.key(), entry.deadline(), entry.value());
        match self {
            Self::Records(encode, copied) => {
                encode(database, key, deadline, value, &mut copied.bytes);
                copied.keys += 1;
            }
            Self::Digest(summing) => summing.add(database, key, deadline, value),
        }
    }

    /// Bytes of records that were not handed out yet.
    fn bytes(&self) -> usize {
        match self {
            Self::Records(_, copied) => copied.bytes.len(),
            Self::Digest(summing) => summing.bytes(),
        }
    }
}

/// What was copied and not yet taken by the snapshot's writer.
#[derive(Default)]
pub struct Copied {
    pub bytes: Vec<u8>,
    pub keys: u64,
}

impl Capture {
    pub fn new(database: u16, generation: u32, sink: Sink) -> Self {
        Self {
            database,
            generation,
            sink,
            next: Some(0),
            aside: None,
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
        // The keys lie all over the memory: they are waited for together.
        for entry in segment.entries() {
            let (first, second) = entry.lines();
            prefetch(first);
            prefetch(second);
        }
        for entry in segment.entries() {
            self.sink.add(self.database, entry);
        }
    }

    /// Keeps a cleared table until the walk is through with it.
    pub fn set_aside(&mut self, table: Table) {
        // A second clear meets keys that are younger than the capture: nothing of them is wanted.
        if self.aside.is_none() && self.next.is_some() {
            self.aside = Some(table);
        }
    }

    /// Goes over segments until about `bytes_wanted` bytes are there to be handed out. `table` is the keyspace's own. Returns whether
    /// the capture is complete.
    pub fn step(&mut self, table: &mut Table, bytes_wanted: usize) -> bool {
        let mut aside = self.aside.take();
        let walked = aside.as_mut().unwrap_or(table);
        while let Some(from) = self.next {
            if self.sink.bytes() >= bytes_wanted {
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
        self.next.is_none()
    }

    /// Hands out what was copied; nothing where a digest is added up.
    pub fn take_copied(&mut self, out: &mut Copied) {
        if let Sink::Records(_, copied) = &mut self.sink {
            out.bytes.append(&mut copied.bytes);
            out.keys += std::mem::take(&mut copied.keys);
        }
    }

    /// Hands out what was added up since the last time; nothing where records are copied.
    pub fn take_digest(&mut self) -> Digest {
        match &mut self.sink {
            Sink::Records(..) => Digest::default(),
            Sink::Digest(summing) => summing.take(),
        }
    }
}
