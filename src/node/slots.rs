//! The keys of one slot (CLUSTER COUNTKEYSINSLOT and GETKEYSINSLOT): the shard that owns the slot is walked in slices, so
//! that a large one holds nobody up for long.

use ringfort_cluster::{slot_of, Slot};

use crate::protocol::{Proto, Reply};

use super::worker::Worker;

/// Keys that one slice looks at, and those of the last segment beyond that.
const SLICE_KEYS: usize = 8_192;

/// A walk over the keys of a slot.
pub struct SlotWalk {
    slot: u16,
    /// None: the keys are only counted.
    keys_max: Option<usize>,
    /// The hash to go on from; None at the end.
    cursor: Option<u64>,
    found: usize,
    keys: Vec<u8>,
}

impl SlotWalk {
    pub fn counting(slot: u16) -> Self {
        Self::new(slot, None)
    }

    /// At most `keys_max` keys.
    pub fn listing(slot: u16, keys_max: usize) -> Self {
        Self::new(slot, Some(keys_max))
    }

    fn new(slot: u16, keys_max: Option<usize>) -> Self {
        Self {
            slot,
            keys_max,
            cursor: Some(0),
            found: 0,
            keys: Vec::new(),
        }
    }

    /// Whether all is found that was asked for.
    pub fn is_done(&self) -> bool {
        self.cursor.is_none() || self.is_full()
    }

    fn is_full(&self) -> bool {
        self.keys_max.is_some_and(|keys_max| self.found >= keys_max)
    }

    fn take(&mut self, key: &[u8]) {
        if self.is_full() || slot_of(key).0 != self.slot {
            return;
        }
        self.found += 1;
        if self.keys_max.is_some() {
            Reply::new(&mut self.keys, Proto::Resp2).bulk(key);
        }
    }

    /// What the client hears.
    pub fn reply(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, Proto::Resp2);
        match self.keys_max {
            None => reply.int(self.found as i64),
            Some(_) => {
                reply.array(self.found);
                reply.raw(&self.keys);
            }
        }
        out
    }
}

impl Worker {
    /// The worker that must take the slices of a walk.
    pub fn home_of(&self, walk: &SlotWalk) -> u16 {
        self.worker_of(self.map.shard_of(Slot(walk.slot)).0)
    }

    /// A slice of a walk whose home is here. A key that is there throughout the walk is seen exactly once.
    pub fn walk_slot(&mut self, walk: &mut SlotWalk) {
        // What was asked before the walk counts.
        self.flush();
        let Some(cursor) = walk.cursor else { return };
        let now = self.refresh_clock();
        let place = self.place(self.map.shard_of(Slot(walk.slot)).0);
        // The cluster port has this one database.
        let keyspace = self.shards[place].databases.keyspace(0);
        walk.cursor = keyspace.scan(cursor, SLICE_KEYS, now, |key, _| walk.take(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_takes_the_keys_of_its_slot_and_no_more_than_asked() {
        let mut walk = SlotWalk::listing(12182, 2);
        for key in [&b"foo"[..], b"bar", b"{foo}1", b"{foo}2"] {
            walk.take(key);
        }
        assert!(walk.is_done());
        assert_eq!(walk.reply(), b"*2\r\n$3\r\nfoo\r\n$6\r\n{foo}1\r\n");
        let mut walk = SlotWalk::counting(12182);
        for key in [&b"foo"[..], b"bar", b"{foo}1"] {
            walk.take(key);
        }
        assert!(!walk.is_done());
        assert_eq!(walk.reply(), b":2\r\n");
        assert_eq!(SlotWalk::listing(1, 0).reply(), b"*0\r\n");
        assert!(SlotWalk::listing(1, 0).is_done());
    }
}
