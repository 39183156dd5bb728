//! Intersections, unions and differences of sets, answered or stored.

use crate::commands::element::write_element;
use crate::commands::{Call, CommandError, CommandResult};
use crate::protocol::Reply;
use crate::store::listpack::Element;
use crate::store::{Deadline, Keyspace, Set, Value};

pub(super) fn sinter(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let sets = sets_at(keyspace, call, 1..call.len())?;
    write_members(reply, &intersection(&sets, usize::MAX));
    Ok(())
}

pub(super) fn sintercard(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let count = call.int_at_least(1, 1, "ERR numkeys should be greater than 0")? as usize;
    if count > call.len() - 2 {
        return Err(CommandError::new(
            "ERR Number of keys can't be greater than number of args",
        ));
    }
    let mut limit = 0;
    let mut at = 2 + count;
    while at < call.len() {
        if !call.is_word(at, "LIMIT") || at + 1 == call.len() {
            return Err(CommandError::Syntax);
        }
        limit = call.int_at_least(at + 1, 0, "ERR LIMIT can't be negative")?;
        at += 2;
    }
    let sets = sets_at(keyspace, call, 2..2 + count)?;
    let wanted = if limit == 0 {
        usize::MAX
    } else {
        limit as usize
    };
    reply.int(intersection(&sets, wanted).len() as i64);
    Ok(())
}

pub(super) fn sunion(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let sets = sets_at(keyspace, call, 1..call.len())?;
    let mut seen = Set::from_members([]);
    let mut union = Vec::new();
    for member in sets.iter().flatten().flat_map(|set| set.iter()) {
        if member.with_bytes(|bytes| seen.add(bytes, keyspace.limits())) {
            union.push(member);
        }
    }
    write_members(reply, &union);
    Ok(())
}

pub(super) fn sdiff(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let sets = sets_at(keyspace, call, 1..call.len())?;
    write_members(reply, &difference(&sets));
    Ok(())
}

pub(super) fn sinterstore(
    keyspace: &mut Keyspace,
    call: &Call,
    reply: &mut Reply,
) -> CommandResult {
    let sets = sets_at(keyspace, call, 2..call.len())?;
    let result = collected(keyspace, intersection(&sets, usize::MAX));
    store(keyspace, call, reply, result)
}

pub(super) fn sunionstore(
    keyspace: &mut Keyspace,
    call: &Call,
    reply: &mut Reply,
) -> CommandResult {
    let sets = sets_at(keyspace, call, 2..call.len())?;
    let members = sets.iter().flatten().flat_map(|set| set.iter());
    let result = collected(keyspace, members);
    store(keyspace, call, reply, result)
}

pub(super) fn sdiffstore(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let sets = sets_at(keyspace, call, 2..call.len())?;
    let result = collected(keyspace, difference(&sets));
    store(keyspace, call, reply, result)
}

/// The sets at the keys that these arguments name. Every key's type is checked, also behind an absent one.
fn sets_at<'a>(
    keyspace: &'a Keyspace,
    call: &Call,
    keys: std::ops::Range<usize>,
) -> Result<Vec<Option<&'a Set>>, CommandError> {
    let set_at = |index| Ok(keyspace.get_as::<Set>(call.arg(index), call.now)?);
    keys.map(set_at).collect()
}

/// The members that all sets have, at most `wanted`.
fn intersection<'a>(sets: &[Option<&'a Set>], wanted: usize) -> Vec<Element<'a>> {
    let Some(mut sets) = sets.iter().copied().collect::<Option<Vec<&Set>>>() else {
        return Vec::new();
    };
    // The smallest set has the fewest members to look for elsewhere.
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else {
        return Vec::new();
    };
    smallest
        .iter()
        .filter(|&member| others.iter().all(|set| set.has(member)))
        .take(wanted)
        .collect()
}

/// The members of the first set that no other has.
fn difference<'a>(sets: &[Option<&'a Set>]) -> Vec<Element<'a>> {
    let Some((&Some(first), others)) = sets.split_first() else {
        return Vec::new();
    };
    let mut others: Vec<&Set> = others.iter().copied().flatten().collect();
    // Large sets first: they are the likeliest to have a member, which ends its search.
    others.sort_by_key(|set| std::cmp::Reverse(set.len()));
    first
        .iter()
        .filter(|&member| !others.iter().any(|set| set.has(member)))
        .collect()
}

/// A set that grew by these members, in the encoding that they ask for.
fn collected<'a>(keyspace: &Keyspace, members: impl IntoIterator<Item = Element<'a>>) -> Set {
    let mut set = Set::new();
    for member in members {
        member.with_bytes(|bytes| set.add(bytes, keyspace.limits()));
    }
    set
}

/// Stores `result` at the destination, whatever was there; an empty one removes the key.
fn store(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply, result: Set) -> CommandResult {
    reply.int(result.len() as i64);
    keyspace.set(call.arg(1), Value::Set(result), Deadline::None, call.now);
    Ok(())
}

fn write_members(reply: &mut Reply, members: &[Element<'_>]) {
    reply.set(members.len());
    for &member in members {
        write_element(reply, member);
    }
}
