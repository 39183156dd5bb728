//! What looks leave behind: counted hits and misses, and the marks of use that eviction reads. Knows no commands.

use super::Keyspace;
use crate::store::Timestamp;

impl Keyspace {
    /// Counts a look that left no other trace (EXISTS, TTL, OBJECT).
    #[inline]
    pub fn count_look(&self, found: bool) {
        let count = if found { &self.hits } else { &self.misses };
        count.set(count.get() + 1);
    }

    /// Marks `key` as used and counts the look; false if there is no such key. Marks it for a client whose
    /// looks leave no mark, too: that is what TOUCH is for.
    pub fn touch(&self, key: &[u8], now: Timestamp) -> bool {
        let found = self.find_live(key, now);
        self.count_look(found.is_some());
        if let Some((_, entry)) = found {
            entry.set_access(self.access.marked(entry.access(), now));
        }
        found.is_some()
    }

    /// Marks `key` as used without counting the look, which is counted elsewhere.
    pub fn mark_used(&self, key: &[u8], now: Timestamp) {
        if let Some((_, entry)) = self.find_live(key, now) {
            entry.set_access(self.access.touched(entry.access(), now));
        }
    }

    /// While set, looks and changes leave no mark of use (CLIENT NO-TOUCH). New values are marked as ever.
    pub fn set_untouched(&self, untouched: bool) {
        self.access.set_untouched(untouched);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Deadline, Limits};

    const MADE: Timestamp = Timestamp(1_000_000);
    const LATER: Timestamp = Timestamp(1_090_000);

    fn keyspace() -> Keyspace {
        let mut keyspace = Keyspace::new((1, 2), Limits::default());
        keyspace.set_bytes(b"k", b"v".to_vec(), true, Deadline::None, MADE);
        keyspace
    }

    fn idle_seconds(keyspace: &Keyspace) -> u64 {
        let bits = keyspace.access_bits(b"k", LATER).expect("the key is there");
        keyspace.access.idle_seconds(bits, LATER)
    }

    #[test]
    fn what_an_untouched_look_sees_stays_idle_but_for_touch() {
        let mut keyspace = keyspace();
        keyspace.set_untouched(true);
        assert!(keyspace.get(b"k", LATER).is_some());
        keyspace.mark_used(b"k", LATER);
        assert_eq!(idle_seconds(&keyspace), 90);
        assert_eq!(keyspace.take_counts(), (1, 0, 0), "the look counts");
        assert!(keyspace.touch(b"k", LATER));
        assert_eq!(idle_seconds(&keyspace), 0);
    }

    #[test]
    fn an_untouched_change_in_place_leaves_no_mark_and_a_new_value_does() {
        let mut keyspace = keyspace();
        keyspace.set_untouched(true);
        for added in [1, 5_000, 1] {
            let add = |bytes: &mut Vec<u8>| bytes.resize(bytes.len() + added, b'x');
            assert_eq!(keyspace.edit_str(b"k", LATER, add), Ok(()));
            assert_eq!(idle_seconds(&keyspace), 90);
        }
        keyspace.set_str(b"k", b"new", Deadline::None, LATER);
        assert_eq!(idle_seconds(&keyspace), 0);
    }

    #[test]
    fn looks_are_marked_again_once_the_untouched_ones_are_over() {
        let keyspace = keyspace();
        keyspace.set_untouched(true);
        keyspace.set_untouched(false);
        assert!(keyspace.get(b"k", LATER).is_some());
        assert_eq!(idle_seconds(&keyspace), 0);
    }

    #[test]
    fn untouched_looks_do_not_count_for_frequency() {
        let mut keyspace = Keyspace::new((1, 2), Limits::default());
        keyspace.access = crate::store::access::AccessClock::new(true, 0, 0);
        keyspace.set_str(b"k", b"v", Deadline::None, MADE);
        let before = keyspace.access_bits(b"k", LATER);
        keyspace.set_untouched(true);
        assert!(keyspace.get(b"k", LATER).is_some());
        keyspace.set_str(b"k", b"w", Deadline::None, LATER);
        assert_eq!(keyspace.access_bits(b"k", LATER), before);
        keyspace.set_untouched(false);
        assert!(keyspace.get(b"k", LATER).is_some());
        assert_ne!(keyspace.access_bits(b"k", LATER), before);
    }
}
