//! Compares what the two servers say about the commands that both have: COMMAND INFO, field by field.

use std::collections::BTreeSet;

use crate::command::{cmd, Check};
use crate::pair::{Pair, Trouble};
use crate::resp::Value;
use crate::server::Proto;

/// Fields of one command in the reply of COMMAND INFO, and whether their order means anything.
const FIELDS: [(&str, bool); 7] = [
    ("name", true),
    ("arity", true),
    ("flags", false),
    ("first key", true),
    ("last key", true),
    ("step", true),
    ("ACL categories", false),
];

/// What 7.2 changed, by command and field; `command-table` in README.md.
const CHANGED: &[(&str, &str)] = &[("zrank", "arity"), ("zrevrank", "arity")];

/// Every command that ringfort knows must describe itself as Redis does.
pub fn compare(pair: &mut Pair) -> Result<(), Trouble> {
    let proto = Proto::Resp2;
    let all = pair.redis.call(proto, &cmd!("COMMAND", "LIST").args);
    let all = all.map_err(|error| Trouble::Gone(format!("redis: {error}")))?;
    let names = all
        .items()
        .unwrap_or_default()
        .iter()
        .filter_map(Value::text);
    let mut odd = Vec::new();
    for name in names {
        let info = cmd!("COMMAND", "INFO", name.to_vec()).check(Check::Kind);
        let (redis, ringfort) = pair.call_both(proto, &info.args)?;
        let (Some(theirs), Some(ours)) = (entry(&redis), entry(&ringfort)) else {
            // Not there yet: the server says so when it is called.
            continue;
        };
        let name = String::from_utf8_lossy(name).into_owned();
        for (at, (field, ordered)) in FIELDS.iter().enumerate() {
            let (a, b) = (theirs.get(at), ours.get(at));
            let same = if *ordered {
                a == b
            } else {
                words(a) == words(b)
            };
            if !same && !CHANGED.contains(&(&name, field)) {
                odd.push((name.clone(), *field, format!("{a:?}"), format!("{b:?}")));
            }
        }
    }
    let Some((name, field, redis, ringfort)) = odd.first() else {
        return Ok(());
    };
    for (name, field, redis, ringfort) in &odd {
        println!("COMMAND INFO {name}: {field}: redis {redis}, ringfort {ringfort}");
    }
    let command = cmd!("COMMAND", "INFO", name.as_str());
    let redis = format!("{field}: {redis}");
    Err(pair.oddity(proto, &command, redis, format!("{field}: {ringfort}")))
}

/// The one command that a reply of COMMAND INFO describes, unless it is null.
fn entry(reply: &Value) -> Option<&[Value]> {
    reply.items()?.first()?.items()
}

fn words(field: Option<&Value>) -> BTreeSet<&[u8]> {
    let items = field.and_then(Value::items).unwrap_or_default();
    items.iter().filter_map(Value::text).collect()
}
