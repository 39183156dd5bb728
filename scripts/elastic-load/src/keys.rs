//! The keys of the load. Those of the data have one command under way at a time and hold a version that only grows: what was
//! acknowledged must be there, and nothing older may be read. A few shared ones have many; what was seen of them is noted for the judge.

use std::fmt::Write;

/// Keys with several commands under way, and operations until one is replaced: the judge's work grows with both.
const SHARED_KEYS: usize = 48;
const SHARED_OPERATIONS_MAX: u32 = 150;
/// Operations without an answer until a shared key is replaced.
const SHARED_UNKNOWN_MAX: u32 = 8;
/// Keys looked at for one that is free.
const LOOKS_MAX: usize = 256;
/// Examples of lost writes that are told.
const EXAMPLES_MAX: usize = 10;
/// What of a value says its version and key.
pub const HEAD_BYTES: usize = 22;

/// What a command is about.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// Writes a version of a data key.
    Set {
        key: u32,
        version: u32,
    },
    /// Reads a data key that nobody writes meanwhile.
    Get {
        key: u32,
    },
    /// Writes a value to a shared key.
    SharedSet {
        key: u32,
        value: u64,
    },
    SharedGet {
        key: u32,
    },
}

/// One attempt on a shared key, as the judge wants it. Times in microseconds; no `returned`: its outcome is unknown.
pub struct Attempt {
    key: u32,
    client: u64,
    write: Option<u64>,
    invoked_us: u64,
    returned_us: Option<u64>,
    refused: bool,
    read: Option<u64>,
}

pub struct Keys {
    /// The newest version sent, and the newest acknowledged, by key.
    sent: Vec<u32>,
    acknowledged: Vec<u32>,
    /// Keys that a command is under way for.
    busy: Vec<bool>,
    /// Violations found: a read of something older than what was acknowledged, or of what was never written.
    pub lost: u64,
    pub examples: Vec<String>,
    shared: Vec<Shared>,
    shared_numbers: u32,
    values: u64,
    pub attempts: Vec<Attempt>,
    random: u64,
}

struct Shared {
    key: u32,
    operations: u32,
    unknown: u32,
}

impl Keys {
    pub fn new(count: usize, seed: u64) -> Self {
        let mut keys = Self {
            sent: vec![0; count],
            acknowledged: vec![0; count],
            busy: vec![false; count],
            lost: 0,
            examples: Vec::new(),
            shared: Vec::new(),
            shared_numbers: 0,
            values: 0,
            attempts: Vec::new(),
            random: seed,
        };
        for _ in 0..SHARED_KEYS {
            let shared = keys.new_shared();
            keys.shared.push(shared);
        }
        keys
    }

    pub fn count(&self) -> usize {
        self.sent.len()
    }

    fn new_shared(&mut self) -> Shared {
        self.shared_numbers += 1;
        Shared {
            key: self.shared_numbers,
            operations: 0,
            unknown: 0,
        }
    }

    /// Evenly drawn from `0..below` (splitmix64).
    pub fn draw(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % below.max(1)
    }

    /// A key that no command is under way for.
    pub fn take(&mut self) -> Option<u32> {
        let first = self.draw(self.count() as u64) as usize;
        let candidates = (0..self.count().min(LOOKS_MAX)).map(|step| (first + step) % self.count());
        let key = candidates.into_iter().find(|&key| !self.busy[key])?;
        Some(key as u32)
    }

    pub fn write(&mut self, key: u32) -> What {
        let at = key as usize;
        self.busy[at] = true;
        self.sent[at] += 1;
        What::Set {
            key,
            version: self.sent[at],
        }
    }

    pub fn read(&mut self, key: u32) -> What {
        self.busy[key as usize] = true;
        What::Get { key }
    }

    /// Reads or writes a key that others read and write too.
    pub fn shared(&mut self) -> What {
        let place = self.draw(SHARED_KEYS as u64) as usize;
        let shared = &self.shared[place];
        if shared.operations >= SHARED_OPERATIONS_MAX || shared.unknown >= SHARED_UNKNOWN_MAX {
            self.shared[place] = self.new_shared();
        }
        self.shared[place].operations += 1;
        let key = self.shared[place].key;
        if self.draw(2) == 0 {
            return What::SharedGet { key };
        }
        self.values += 1;
        let value = self.values;
        What::SharedSet { key, value }
    }

    /// A write was acknowledged.
    pub fn written(&mut self, key: u32, version: u32) {
        let at = key as usize;
        self.acknowledged[at] = version;
        self.busy[at] = false;
    }

    /// A command was given up: whether it was carried out nobody knows.
    pub fn given_up(&mut self, what: What) {
        if let What::Set { key, .. } | What::Get { key } = what {
            self.busy[key as usize] = false;
        }
    }

    /// Something was read of a data key: none where there is nothing.
    pub fn seen(&mut self, key: u32, value: Option<&[u8]>) {
        let at = key as usize;
        self.busy[at] = false;
        let version = value.and_then(|value| version_of(key, value));
        let fits = match (value, version) {
            (None, _) => self.acknowledged[at] == 0,
            (Some(_), None) => false,
            (Some(_), Some(version)) => (self.acknowledged[at]..=self.sent[at]).contains(&version),
        };
        if !fits {
            self.lost += 1;
            if self.examples.len() < EXAMPLES_MAX {
                let shown = value.map(String::from_utf8_lossy);
                self.examples.push(format!(
                    "{} shows {shown:?}; version {} was acknowledged, {} sent",
                    name(key),
                    self.acknowledged[at],
                    self.sent[at]
                ));
            }
        }
    }

    /// An attempt on a shared key ended, or will never be heard of again.
    pub fn note(&mut self, client: u64, what: What, invoked_us: u64, outcome: Outcome) {
        let (key, write) = match what {
            What::SharedSet { key, value } => (key, Some(value)),
            What::SharedGet { key } => (key, None),
            What::Set { .. } | What::Get { .. } => return,
        };
        let (returned_us, refused, read) = match outcome {
            Outcome::Unknown => (None, false, None),
            Outcome::Refused(at) => (Some(at), true, None),
            Outcome::Answered(at, value) => (Some(at), false, value),
        };
        if returned_us.is_none() {
            // A read without an answer says nothing.
            if write.is_none() {
                return;
            }
            if let Some(shared) = self.shared.iter_mut().find(|shared| shared.key == key) {
                shared.unknown += 1;
            }
        }
        self.attempts.push(Attempt {
            key,
            client,
            write,
            invoked_us,
            returned_us,
            refused,
            read,
        });
    }
}

/// How an attempt ended.
pub enum Outcome {
    /// At a time, and what was read.
    Answered(u64, Option<u64>),
    Refused(u64),
    Unknown,
}

impl What {
    /// Whether it is about a key with several commands under way. Those are not sent again when their outcome is unknown: each such attempt
    /// doubles the work of the judge.
    pub fn is_shared(self) -> bool {
        matches!(self, What::SharedSet { .. } | What::SharedGet { .. })
    }

    /// The name of its key.
    pub fn name(self) -> String {
        match self {
            What::Set { key, .. } | What::Get { key } => name(key),
            What::SharedSet { key, .. } | What::SharedGet { key } => format!("shared:{key}"),
        }
    }
}

fn name(key: u32) -> String {
    format!("d:{key:010}")
}

/// A value of so many bytes.
pub fn value(key: u32, version: u32, bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.max(HEAD_BYTES));
    out.extend_from_slice(format!("{version:010}:{key:010}:").as_bytes());
    out.resize(bytes.max(HEAD_BYTES), b'v');
    out
}

/// The version in a value, where it is one of this key.
fn version_of(key: u32, value: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(value.get(..HEAD_BYTES)?).ok()?;
    let (version, rest) = text.split_once(':')?;
    (rest == format!("{key:010}:")).then(|| version.parse().ok())?
}

impl Attempt {
    /// A line of JSON: key, client, kind, argument, invoked, returned, outcome, value; seconds.
    pub fn line(&self, out: &mut String) {
        let kind = if self.write.is_some() { "set" } else { "get" };
        let number =
            |value: Option<u64>| value.map_or("null".to_owned(), |value| value.to_string());
        let outcome = match self.returned_us {
            None => "unknown",
            Some(_) if self.refused => "refused",
            Some(_) => "ok",
        };
        let seconds = |us: u64| us as f64 / 1e6;
        let returned = self
            .returned_us
            .map_or("null".to_owned(), |at| format!("{:.6}", seconds(at)));
        let _ = writeln!(
            out,
            "[{},{},\"{kind}\",{},{:.6},{returned},\"{outcome}\",{}]",
            self.key,
            self.client,
            number(self.write),
            seconds(self.invoked_us),
            number(self.read),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(key: u32, version: u32) -> Vec<u8> {
        value(key, version, 64)
    }

    #[test]
    fn what_is_older_than_what_was_acknowledged_is_a_loss() {
        let mut keys = Keys::new(4, 1);
        for _ in 0..3 {
            let What::Set { key, version } = keys.write(2) else {
                panic!("a write");
            };
            if version < 3 {
                keys.written(key, version);
            }
        }
        for version in [2, 3] {
            keys.seen(2, Some(&shown(2, version)));
        }
        keys.seen(3, None);
        assert_eq!(keys.lost, 0);
        for bad in [
            None,
            Some(shown(2, 1)),
            Some(shown(2, 4)),
            Some(shown(1, 3)),
        ] {
            let before = keys.lost;
            keys.seen(2, bad.as_deref());
            assert_eq!(keys.lost, before + 1, "{bad:?}");
        }
    }

    #[test]
    fn a_key_under_way_is_not_taken() {
        let mut keys = Keys::new(10, 1);
        let mut taken = Vec::new();
        while let Some(key) = keys.take() {
            keys.read(key);
            taken.push(key);
        }
        taken.sort_unstable();
        assert_eq!(taken, (0..10).collect::<Vec<_>>());
        keys.seen(4, None);
        assert_eq!(keys.take(), Some(4));
    }

    #[test]
    fn an_attempt_is_a_line_that_the_judge_reads() {
        let mut keys = Keys::new(1, 1);
        let set = What::SharedSet { key: 7, value: 9 };
        keys.note(3, set, 1_000_000, Outcome::Unknown);
        keys.note(
            3,
            What::SharedGet { key: 7 },
            1,
            Outcome::Answered(2, Some(9)),
        );
        let mut lines = String::new();
        keys.attempts.iter().for_each(|one| one.line(&mut lines));
        let wanted = "[7,3,\"set\",9,1.000000,null,\"unknown\",null]\n[7,3,\"get\",null,0.000001,0.000002,\"ok\",9]\n";
        assert_eq!(lines, wanted);
    }
}
