//! Since when groups that had a leader have none, as the reports say: for a moment that is nothing to worry about. Decides nothing.

use super::{Seen, Steward};
use crate::types::{Monotonic, ShardId};
use std::collections::{BTreeMap, BTreeSet};

/// Of groups that nobody was ever seen to lead nothing is known here.
#[derive(Debug, Default)]
pub(super) struct Vacancies {
    /// The groups that were led when last looked at.
    led: BTreeSet<ShardId>,
    since: BTreeMap<ShardId, Monotonic>,
}

impl Vacancies {
    pub fn note(&mut self, seen: &Seen, now: Monotonic) {
        let led = seen.groups.keys().copied().collect();
        let before = std::mem::replace(&mut self.led, led);
        self.since.retain(|group, _| !self.led.contains(group));
        let gone = before.difference(&self.led);
        self.since.extend(gone.map(|group| (*group, now)));
    }
}

impl Steward {
    /// Groups without a leader that had one less than `us` ago: an election or a transfer is likely under way.
    pub fn lately_led(&self, us: u64, now: Monotonic) -> impl Iterator<Item = ShardId> + '_ {
        let vacant = self.vacancies.since.iter();
        vacant
            .filter(move |(_, since)| now.since_us(**since) < us)
            .map(|(group, _)| *group)
    }
}
