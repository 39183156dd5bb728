//! Of which shards a log can hold anything, as far as what can be read of it says so. That decides what damage in it may have cost.

use std::collections::BTreeSet;

use ringfort_cluster::ShardId;

use super::error::Damage;
use super::record::{Item, Items};

/// A damaged log, for whoever can perhaps do without it: nothing of it is kept then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedLog {
    pub damage: Damage,
    /// The shards of which the log can hold anything; `None`: it may be any of them.
    pub shards: Option<BTreeSet<ShardId>>,
}

/// What the records of one log have shown so far.
#[derive(Default)]
pub(super) struct Reach {
    shards: Option<BTreeSet<ShardId>>,
    /// A record spoke of a shard that the first one did not name: the first one does not say all.
    exceeded: bool,
}

impl Reach {
    /// Takes notice of the next record. The first one of a log names every shard that its worker has.
    pub fn note(&mut self, items: &Items<'_>) {
        let named = items.iter().map(|item| match item {
            Item::Entries(run) => run.shard,
            Item::HardState { shard, .. } | Item::Forget(shard) => shard,
        });
        match &self.shards {
            None => self.shards = Some(named.collect()),
            Some(known) => {
                let mut named = named;
                self.exceeded |= named.any(|shard| !known.contains(&shard));
            }
        }
    }

    /// The shards of which the log can hold anything, if that is known.
    pub fn shards(&self) -> Option<BTreeSet<ShardId>> {
        self.shards.clone().filter(|_| !self.exceeded)
    }
}
