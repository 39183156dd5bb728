//! The differences that are meant: ringfort is a Redis 7.2, the server it is compared with a 7.0.
//! README.md in this directory explains each one; a difference that is not there does not pass.

use crate::command::{Check, Command};
use crate::compare;
use crate::resp::Value;

/// What is known about one reply of the stream.
pub struct Case<'a> {
    pub command: &'a Command,
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
    Difference {
        id: "sort-skiplist",
        explains: |case| encodings(case, b"zset", "skiplist", "listpack"),
    },
    Difference {
        id: "negative-zero",
        explains: |case| {
            let unsigned = (without_sign(case.redis), without_sign(case.ringfort));
            case.command.check == Check::Scores
                && compare::same(Check::Scores, &unsigned.0, &unsigned.1)
        },
    },
    Difference {
        id: "zrank-withscore",
        explains: |case| {
            // 7.0 refuses a fourth argument of any kind.
            let name = case.command.name();
            let theirs = format!(
                "ERR wrong number of arguments for '{}' command",
                name.to_lowercase()
            );
            let knows = |reply: &Value| {
                !reply.is_error() || error(reply, "ERR syntax error") || error(reply, WRONG_TYPE)
            };
            ["ZRANK", "ZREVRANK"].contains(&name.as_str())
                && case.command.args.len() == 4
                && error(case.redis, &theirs)
                && knows(case.ringfort)
        },
    },
    Difference {
        id: "size-hint",
        explains: |case| encodings(case, b"zset", "listpack", "skiplist"),
    },
    Difference {
        id: "getkeys-zrank",
        explains: |case| {
            let words = &case.command.args;
            let asked = words.get(2).map(|word| word.to_ascii_uppercase());
            case.command.name() == "COMMAND"
                && matches!(asked.as_deref(), Some(b"ZRANK" | b"ZREVRANK"))
                && error(
                    case.redis,
                    "ERR Invalid number of arguments specified for command",
                )
        },
    },
    Difference {
        id: "sort-errno",
        explains: |case| {
            let text = "ERR One or more scores can't be converted into double";
            ["SORT", "SORT_RO"].contains(&case.command.name().as_str())
                && error(case.redis, text)
                && !case.ringfort.is_error()
        },
    },
    Difference {
        id: "lpos-rank",
        explains: |case| {
            let text = "ERR value is out of range, value must between -9223372036854775807 and \
                        9223372036854775807";
            case.command.name() == "LPOS" && error(case.ringfort, text)
        },
    },
];

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

/// The reply with every score of -0 written as 0.
fn without_sign(reply: &Value) -> Value {
    let all = |items: &[Value]| items.iter().map(without_sign).collect();
    match reply {
        Value::Bulk(text) if text == b"-0" => Value::Bulk(b"0".to_vec()),
        Value::Double(text) if text == "-0" => Value::Double("0".into()),
        Value::Array(items) => Value::Array(all(items)),
        Value::Map(items) => Value::Map(all(items)),
        other => other.clone(),
    }
}

fn error(reply: &Value, text: &str) -> bool {
    matches!(reply, Value::Error(error) if error == text)
}

/// Explained by the check itself (`Check::Scores`), listed so that README.md must explain it too.
pub const DIGITS: &str = "digits";

/// Explained where the command tables are compared (table.rs).
pub const COMMAND_TABLE: &str = "command-table";

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
    coded.extend([DIGITS, COMMAND_TABLE]);
    documented.sort();
    coded.sort();
    assert_eq!(documented, coded, "README.md and differences.rs disagree");
}

fn encodings(case: &Case, kind: &[u8], redis: &str, ringfort: &str) -> bool {
    case.kind == Some(kind)
        && case.redis.text() == Some(redis.as_bytes())
        && case.ringfort.text() == Some(ringfort.as_bytes())
}
