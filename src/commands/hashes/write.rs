//! Hash commands that change fields.

use crate::commands::{Call, CommandError, CommandResult};
use crate::protocol::{LongDouble, Reply};
use crate::store::listpack::Element;
use crate::store::{canonical_int, Hash, Keyspace};

pub(super) fn hset(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let new = set_pairs(keyspace, call, "hset")?;
    reply.int(new as i64);
    Ok(())
}

pub(super) fn hmset(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    set_pairs(keyspace, call, "hmset")?;
    reply.ok();
    Ok(())
}

/// Sets the fields and values behind the key; gives how many fields are new.
fn set_pairs(
    keyspace: &mut Keyspace,
    call: &Call,
    name: &'static str,
) -> Result<usize, CommandError> {
    if call.len() % 2 == 1 {
        return Err(CommandError::new(format!(
            "ERR wrong number of arguments for '{name}' command"
        )));
    }
    let limits = *keyspace.limits();
    let mut hash = keyspace.edit_or_default::<Hash>(call.arg(1), call.now)?;
    let pairs = (2..call.len())
        .step_by(2)
        .map(|at| (call.arg(at), call.arg(at + 1)));
    Ok(hash.extend(pairs, &limits))
}

pub(super) fn hsetnx(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let limits = *keyspace.limits();
    let mut hash = keyspace.edit_or_default::<Hash>(call.arg(1), call.now)?;
    let absent = !hash.contains(call.arg(2));
    if absent {
        hash.set(call.arg(2), call.arg(3), &limits);
    }
    reply.int(absent as i64);
    Ok(())
}

pub(super) fn hdel(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let removed = match keyspace.edit::<Hash>(call.arg(1), call.now)? {
        Some(mut hash) => call.args.from(2).filter(|field| hash.remove(field)).count(),
        None => 0,
    };
    reply.int(removed as i64);
    Ok(())
}

pub(super) fn hincrby(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let increment = call.int(3)?;
    let limits = *keyspace.limits();
    let mut hash = keyspace.edit_or_default::<Hash>(call.arg(1), call.now)?;
    let old = match hash.get(call.arg(2)) {
        None => 0,
        Some(Element::Int(value)) => value,
        Some(Element::Bytes(bytes)) => {
            canonical_int(bytes).ok_or(CommandError::new("ERR hash value is not an integer"))?
        }
    };
    let new = old.checked_add(increment).ok_or(CommandError::new(
        "ERR increment or decrement would overflow",
    ))?;
    let mut digits = itoa::Buffer::new();
    hash.set(call.arg(2), digits.format(new).as_bytes(), &limits);
    reply.int(new);
    Ok(())
}

pub(super) fn hincrbyfloat(
    keyspace: &mut Keyspace,
    call: &Call,
    reply: &mut Reply,
) -> CommandResult {
    let zero = LongDouble::parse(b"0").ok_or(CommandError::NotAFloat)?;
    let increment = LongDouble::parse(call.arg(3)).ok_or(CommandError::NotAFloat)?;
    // A sum with an infinity is none.
    if increment.checked_add(zero).is_none() {
        return Err(CommandError::new("ERR value is NaN or Infinity"));
    }
    let limits = *keyspace.limits();
    let mut hash = keyspace.edit_or_default::<Hash>(call.arg(1), call.now)?;
    let old = match hash.get(call.arg(2)) {
        None => zero,
        Some(value) => value
            .with_bytes(LongDouble::parse)
            .ok_or(CommandError::new("ERR hash value is not a float"))?,
    };
    let new = old.checked_add(increment).ok_or(CommandError::new(
        "ERR increment would produce NaN or Infinity",
    ))?;
    let text = new.to_text();
    hash.set(call.arg(2), text.as_bytes(), &limits);
    reply.bulk(text.as_bytes());
    Ok(())
}
