//! The data of a shard that is replaced as a whole: by a snapshot, or by nothing when its replica ends.

use ringfort_cluster::{Index, Replica, Term};

use super::Shard;
use crate::node::recovery::LoadedSnapshot;
use crate::node::tidying::free;
use crate::store::{Databases, Timestamp};

impl Shard {
    /// Takes a snapshot's data in place of what is here.
    pub(in crate::node) fn replace_data(&mut self, loaded: LoadedSnapshot) {
        let clock = Timestamp(loaded.extra.last_clock_ms);
        self.applied = (loaded.meta.index, loaded.meta.term);
        self.snapshot_index = loaded.meta.index;
        self.membership = loaded.meta.membership;
        free(std::mem::replace(&mut self.databases, loaded.databases));
        self.applied_clock = clock;
        self.last_clock = self.last_clock.max(clock);
        if let Some(topology) = loaded.extra.topology {
            self.meta = Some(Box::new(topology));
        }
    }

    /// Has no data any more, and a placeholder for its replica. Nobody may wait for anything here.
    pub(in crate::node) fn vacate(&mut self, empty: Databases, placeholder: Replica) {
        self.replica = placeholder;
        self.membership = self.replica.membership();
        free(std::mem::replace(&mut self.databases, empty));
        self.meta = None;
        self.applied = (Index::ZERO, Term(0));
        self.applied_clock = Timestamp(0);
        self.snapshot_index = Index::ZERO;
    }
}
