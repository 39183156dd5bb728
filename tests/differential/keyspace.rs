//! Compares all data of the two servers: every key of every database, its type, value and deadline.

use crate::command::{cmd, Check, Command};
use crate::generate::DATABASES;
use crate::pair::{Pair, Trouble};
use crate::resp::Value;
use crate::server::Proto;

/// What fits into a listpack-encoded set or sorted set of Redis 7.2 at its default settings.
const LISTPACK_ENTRIES_MAX: usize = 128;
const LISTPACK_VALUE_BYTES_MAX: usize = 64;

/// Every database, then back to where the connection was. `encodings` also compares OBJECT ENCODING, which
/// a restart may change.
pub fn compare_all(pair: &mut Pair, encodings: bool) -> Result<usize, Trouble> {
    let proto = Proto::Resp2;
    let database = pair.database(proto);
    let mut keys_seen = 0;
    for number in 0..DATABASES {
        pair.select(proto, number)?;
        let (keys, _) = pair.asked(proto, cmd!("KEYS", "*").check(Check::Unordered))?;
        for key in keys.items().unwrap_or_default() {
            compare_key(pair, proto, key.text().unwrap_or_default(), encodings)?;
            keys_seen += 1;
        }
        pair.asked(proto, cmd!("DBSIZE"))?;
    }
    pair.select(proto, database)?;
    Ok(keys_seen)
}

/// One key of the selected database.
pub fn compare_key(
    pair: &mut Pair,
    proto: Proto,
    key: &[u8],
    encodings: bool,
) -> Result<(), Trouble> {
    let key = || key.to_vec();
    let (kind, _) = pair.asked(proto, cmd!("TYPE", key()))?;
    let value = match kind.text() {
        Some(b"string") => cmd!("GET", key()),
        Some(b"list") => cmd!("LRANGE", key(), "0", "-1"),
        Some(b"hash") => cmd!("HGETALL", key()).check(Check::Pairs),
        Some(b"set") => cmd!("SMEMBERS", key()).check(Check::Unordered),
        Some(b"zset") => cmd!("ZRANGE", key(), "0", "-1", "WITHSCORES").check(Check::Scores),
        _ => return Ok(()),
    };
    let (value, _) = pair.asked(proto, value)?;
    pair.asked(proto, cmd!("PTTL", key()).check(Check::Near(60_000)))?;
    if encodings {
        let asked = [cmd!("TYPE", key()), encoding_of(&key())];
        // As a batch: the type explains the encoding.
        pair.batch(proto, &asked)?;
        match kind.text() {
            Some(b"set") => fits_its_encoding(pair, proto, &key(), &value, 1)?,
            Some(b"zset") => fits_its_encoding(pair, proto, &key(), &value, 2)?,
            _ => {}
        }
    }
    Ok(())
}

fn encoding_of(key: &[u8]) -> Command {
    cmd!("OBJECT", "ENCODING", key.to_vec()).check(Check::Encoding)
}

/// Where the two encodings need not be the same, the rule itself is checked. `width` is the number of
/// elements of the reply that a member takes.
fn fits_its_encoding(
    pair: &mut Pair,
    proto: Proto,
    key: &[u8],
    members: &Value,
    width: usize,
) -> Result<(), Trouble> {
    let command = encoding_of(key);
    let encoding = pair.ringfort.call(proto, &command.args);
    let encoding = encoding.map_err(|error| Trouble::Gone(format!("ringfort: {error}")))?;
    let members = members.items().unwrap_or_default();
    let short = |member: &Value| {
        member
            .text()
            .is_none_or(|text| text.len() <= LISTPACK_VALUE_BYTES_MAX)
    };
    let count = members.len() / width;
    let small = count <= LISTPACK_ENTRIES_MAX && members.iter().step_by(width).all(short);
    if encoding.text() == Some(b"listpack") && !small {
        let text = format!("{encoding:?} with {count} members");
        return Err(pair.oddity(proto, &command, "not listpack".into(), text));
    }
    Ok(())
}
