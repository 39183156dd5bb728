//! The clusters that were found, and whom to ask next to be taken in. Knows nothing of pledges.

use crate::topology::ClusterId;
use crate::types::Monotonic;
use std::collections::{BTreeMap, BTreeSet};

/// Between two attempts to be taken in.
const JOIN_EVERY_US: u64 = 1_000_000;

/// A cluster of which nothing was heard for so long is not counted upon.
const FOUND_US: u64 = 10_000_000;

/// Redirections that are followed at once; further ones wait for the next attempt.
const REDIRECTS_MAX: u8 = 3;

/// A member of a cluster, where it answered.
#[derive(Debug)]
struct Found {
    cluster_id: ClusterId,
    leader: Option<String>,
    at: Monotonic,
}

/// What was found, by the address that answered.
#[derive(Debug, Default)]
pub(super) struct Finder {
    found: BTreeMap<String, Found>,
    next: Option<Monotonic>,
    turns: usize,
    redirects: u8,
}

impl Finder {
    pub fn heard(
        &mut self,
        address: &str,
        cluster_id: ClusterId,
        leader: Option<String>,
        now: Monotonic,
    ) {
        let found = Found {
            cluster_id,
            leader,
            at: now,
        };
        self.found.insert(address.to_owned(), found);
    }

    /// Whoever is at this address belongs to no cluster.
    pub fn gone(&mut self, address: &str) {
        self.found.remove(address);
    }

    pub fn forget(&mut self, now: Monotonic) {
        self.found
            .retain(|_, found| now.since_us(found.at) <= FOUND_US);
    }

    pub fn has(&self, wanted: Option<ClusterId>) -> bool {
        let fits = |found: &Found| wanted.is_none_or(|id| id == found.cluster_id);
        self.found.values().any(fits)
    }

    /// Each cluster that was found, once.
    pub fn clusters(&self) -> BTreeSet<ClusterId> {
        self.found.values().map(|found| found.cluster_id).collect()
    }

    /// Whom to ask now to be taken in by the wanted cluster, or by any: one after another those that answered, and those whom they take
    /// for the leader.
    pub fn next(&mut self, wanted: Option<ClusterId>, now: Monotonic) -> Option<String> {
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        let fits = |found: &&Found| wanted.is_none_or(|id| id == found.cluster_id);
        let leaders = self.found.values().filter(fits);
        let leaders: BTreeSet<&String> =
            leaders.filter_map(|found| found.leader.as_ref()).collect();
        let members = self.found.iter().filter(|(_, found)| fits(found));
        let members = members.map(|(address, _)| address);
        let targets: Vec<&String> = leaders.into_iter().chain(members).collect();
        let target = (*targets.get(self.turns % targets.len().max(1))?).clone();
        self.turns = self.turns.wrapping_add(1);
        self.next = Some(now.plus_us(JOIN_EVERY_US));
        self.redirects = REDIRECTS_MAX;
        Some(target)
    }

    /// Whether a redirection is followed at once.
    pub fn may_follow(&mut self) -> bool {
        let follow = self.redirects > 0;
        self.redirects = self.redirects.saturating_sub(1);
        follow
    }
}
