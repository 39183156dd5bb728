//! Which addresses are asked and who was heard lately. Knows nothing of pledges.

use super::message::{About, OTHERS_MAX};
use crate::types::Monotonic;
use crate::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// Addresses that `--join` may name.
pub const JOIN_MAX: usize = 256;

/// Nodes and addresses that are remembered beside those of `--join`.
pub const HEARD_MAX: usize = 256;

/// Who was heard of within so long counts as seen.
const FRESH_US: u64 = 3_000_000;

/// An address that was passed on is asked for so long after it was last heard of.
const LEARNED_US: u64 = 60_000_000;

/// Who answers where.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// The addresses of `--join`, and who answered there last.
    listed: BTreeMap<String, Option<NodeId>>,
    /// Addresses that others passed on, and when.
    learned: BTreeMap<String, Monotonic>,
    /// Those without a cluster.
    heard: BTreeMap<NodeId, Heard>,
}

#[derive(Debug)]
struct Heard {
    at: Monotonic,
    address: String,
    /// It may become an initiator.
    may_initiate: bool,
}

impl Peers {
    pub fn new(join: &[String]) -> Self {
        Self {
            listed: join.iter().map(|address| (address.clone(), None)).collect(),
            ..Self::default()
        }
    }

    /// Every address to ask.
    pub fn addresses(&self) -> impl Iterator<Item = &String> {
        let learned = self.learned.keys();
        let new = learned.filter(|address| !self.listed.contains_key(*address));
        self.listed.keys().chain(new)
    }

    /// Whether an address is one of those.
    pub fn asks(&self, address: &str) -> bool {
        self.listed.contains_key(address) || self.learned.contains_key(address)
    }

    /// This node answered there.
    pub fn answered(&mut self, address: &str, node: NodeId) {
        if let Some(at) = self.listed.get_mut(address) {
            *at = Some(node);
        }
    }

    /// Somebody knows of a node there.
    pub fn learn(&mut self, address: &str, now: Monotonic) {
        if self.learned.len() < HEARD_MAX || self.learned.contains_key(address) {
            self.learned.insert(address.to_owned(), now);
        }
    }

    /// A node has spoken for itself.
    pub fn heard(&mut self, about: &About, now: Monotonic) {
        let (id, address) = (about.node.id, about.node.peer_address());
        self.learn(&address, now);
        if about.cluster_id.is_some() {
            self.heard.remove(&id);
            return;
        }
        if self.heard.len() < HEARD_MAX || self.heard.contains_key(&id) {
            let heard = Heard {
                at: now,
                address,
                may_initiate: about.expects.is_some(),
            };
            self.heard.insert(id, heard);
        }
    }

    /// Forgets what was not heard of for long.
    pub fn forget(&mut self, now: Monotonic) {
        self.learned.retain(|_, at| now.since_us(*at) <= LEARNED_US);
        self.heard
            .retain(|_, heard| now.since_us(heard.at) <= FRESH_US);
    }

    /// How many nodes without a cluster were heard lately.
    pub fn seen(&self) -> usize {
        self.heard.len()
    }

    /// Whether one of them comes before this node as an initiator.
    pub fn any_initiates_before(&self, me: NodeId) -> bool {
        let mut before = self.heard.range(..me);
        before.any(|(_, heard)| heard.may_initiate)
    }

    /// Where they are, to be passed on.
    pub fn others(&self) -> Vec<String> {
        let addresses = self.heard.values().map(|heard| heard.address.clone());
        addresses.take(OTHERS_MAX).collect()
    }

    pub fn all_listed_answered(&self) -> bool {
        self.listed.values().all(Option::is_some)
    }

    /// How many of the listed addresses answered at all.
    pub fn listed_answered(&self) -> usize {
        self.listed.values().flatten().count()
    }

    pub fn listed_count(&self) -> usize {
        self.listed.len()
    }

    /// How many of these nodes answer at listed addresses.
    pub fn listed_among(&self, nodes: &BTreeSet<NodeId>) -> usize {
        let listed: BTreeSet<NodeId> = self.listed.values().flatten().copied().collect();
        listed.intersection(nodes).count()
    }
}
