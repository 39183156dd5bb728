//! Failed attempts to log in: what ACL LOG shows. Bounded in entries and in bytes of a name.

use std::collections::VecDeque;

use crate::store::Timestamp;

/// Entries kept; Redis' default of `acllog-max-len`.
pub const ENTRIES_MAX: usize = 128;

/// Bytes kept of the name of a user, which anybody can send.
pub const USERNAME_BYTES_MAX: usize = 256;

/// Attempts under one name within this time of each other are one entry.
const GROUPED_WITHIN_MS: u64 = 60_000;

/// Newest entries among which a new attempt looks for its own.
const GROUPED_AMONG: usize = 10;

/// One entry: attempts of one kind, one soon after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeniedLogin {
    pub id: u64,
    pub count: u64,
    pub username: Vec<u8>,
    /// The last client that tried, as a line of CLIENT LIST.
    pub client: String,
    pub created: Timestamp,
    pub updated: Timestamp,
}

/// The newest failed attempts.
#[derive(Debug, Default)]
pub struct AclLog {
    /// The newest first.
    entries: VecDeque<DeniedLogin>,
    next_id: u64,
}

impl AclLog {
    pub fn record(&mut self, username: &[u8], client: String, now: Timestamp) {
        let username = &username[..username.len().min(USERNAME_BYTES_MAX)];
        let is_same = |entry: &DeniedLogin| {
            entry.username == username && now.0.saturating_sub(entry.updated.0) <= GROUPED_WITHIN_MS
        };
        let known = self.entries.iter().take(GROUPED_AMONG).position(is_same);
        let entry = match known.and_then(|at| self.entries.remove(at)) {
            Some(known) => DeniedLogin {
                count: known.count + 1,
                client,
                updated: now,
                ..known
            },
            None => {
                self.next_id += 1;
                DeniedLogin {
                    id: self.next_id - 1,
                    count: 1,
                    username: username.to_vec(),
                    client,
                    created: now,
                    updated: now,
                }
            }
        };
        self.entries.truncate(ENTRIES_MAX - 1);
        self.entries.push_front(entry);
    }

    pub fn newest(&self) -> impl ExactSizeIterator<Item = &DeniedLogin> {
        self.entries.iter()
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(log: &AclLog) -> Vec<(u64, u64, &[u8])> {
        let entries = log.newest();
        entries
            .map(|entry| (entry.id, entry.count, &entry.username[..]))
            .collect()
    }

    #[test]
    fn attempts_of_one_minute_are_one_entry_that_comes_to_the_front() {
        let mut log = AclLog::default();
        log.record(b"a", "first".into(), Timestamp(1_000));
        log.record(b"b", "other".into(), Timestamp(2_000));
        log.record(b"a", "second".into(), Timestamp(61_000));
        assert_eq!(shown(&log), [(0, 2, &b"a"[..]), (1, 1, b"b")]);
        let first = log.newest().next().expect("two entries");
        assert_eq!(
            (first.created, first.updated),
            (Timestamp(1_000), Timestamp(61_000))
        );
        assert_eq!(first.client, "second");
        log.record(b"a", "third".into(), Timestamp(121_001));
        assert_eq!(shown(&log)[0], (2, 1, &b"a"[..]));
    }

    #[test]
    fn the_log_and_its_names_do_not_grow_without_end() {
        let mut log = AclLog::default();
        for number in 0..2 * ENTRIES_MAX {
            let name = format!("{number}{}", "x".repeat(USERNAME_BYTES_MAX));
            log.record(name.as_bytes(), String::new(), Timestamp(1));
        }
        assert_eq!(log.newest().len(), ENTRIES_MAX);
        assert!(log
            .newest()
            .all(|entry| entry.username.len() == USERNAME_BYTES_MAX));
        log.clear();
        assert_eq!(log.newest().len(), 0);
    }
}
