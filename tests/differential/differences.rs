//! The differences that are meant: ringfort is a Redis 7.2, the server it is compared with a 7.0.
//! README.md in this directory explains each one; a difference that is not there does not pass.

use crate::resp::Value;

/// What is known about one reply of the stream.
pub struct Case<'a> {
    /// The type of the key, for OBJECT ENCODING.
    pub kind: Option<&'a [u8]>,
    pub redis: &'a Value,
    pub ringfort: &'a Value,
}

/// A meant difference: its heading in README.md, and the replies it explains.
pub struct Difference {
    pub id: &'static str,
    explains: fn(&Case) -> bool,
}

pub const DIFFERENCES: &[Difference] = &[
    Difference {
        id: "set-listpack",
        explains: |case| encodings(case, b"set", "hashtable", "listpack"),
    },
    Difference {
        id: "list-listpack",
        explains: |case| encodings(case, b"list", "quicklist", "listpack"),
    },
];

/// Explained by the check itself (`Check::Scores`), listed so that README.md must explain it too.
pub const DIGITS: &str = "digits";

/// The id of the meant difference that this is, if it is one.
pub fn explain(case: &Case) -> Option<&'static str> {
    DIFFERENCES
        .iter()
        .find(|difference| (difference.explains)(case))
        .map(|difference| difference.id)
}

/// Every difference of the code has its heading in README.md, and the other way round.
pub fn assert_documented() {
    let readme = include_str!("README.md");
    let mut documented: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'))
        .collect();
    let mut coded: Vec<&str> = DIFFERENCES.iter().map(|known| known.id).collect();
    coded.push(DIGITS);
    documented.sort();
    coded.sort();
    assert_eq!(documented, coded, "README.md and differences.rs disagree");
}

fn encodings(case: &Case, kind: &[u8], redis: &str, ringfort: &str) -> bool {
    case.kind == Some(kind)
        && case.redis.text() == Some(redis.as_bytes())
        && case.ringfort.text() == Some(ringfort.as_bytes())
}
