//! SPOP and SRANDMEMBER: one member, some different ones, or picks with repeats.

use crate::commands::element::write_element;
use crate::commands::random::{distinct_indexes, write_repeated_picks};
use crate::commands::{Call, CommandError, CommandResult};
use crate::protocol::Reply;
use crate::store::listpack::Element;
use crate::store::{Keyspace, Set, SetView};

pub(super) fn spop(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    match call.len() {
        2 => pop_one(keyspace, call, reply),
        3 => pop_some(keyspace, call, reply),
        _ => Err(CommandError::Syntax),
    }
}

fn pop_one(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let popped = match keyspace.edit::<Set>(call.arg(1), call.now)? {
        Some(mut set) => set.pop_random(&mut call.rng()),
        None => None,
    };
    reply.bulk_or_null(popped.as_deref());
    Ok(())
}

fn pop_some(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let count = call.int_at_least(2, 0, "ERR value is out of range, must be positive")?;
    let Some(mut set) = keyspace.edit::<Set>(call.arg(1), call.now)? else {
        reply.set(0);
        return Ok(());
    };
    let count = set.len().min(count as usize);
    reply.set(count);
    if count == set.len() {
        set.iter().for_each(|member| write_element(reply, member));
        *set = Set::new();
        return Ok(());
    }
    let mut rng = call.rng();
    for _ in 0..count {
        if let Some(member) = set.pop_random(&mut rng) {
            reply.bulk(&member);
        }
    }
    Ok(())
}

pub(super) fn srandmember(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    match call.len() {
        2 => {
            let set = keyspace.get_as::<Set>(call.arg(1), call.now)?;
            match set.and_then(|set| set.random(&mut call.rng())) {
                Some(member) => write_element(reply, member),
                None => reply.null(),
            }
            Ok(())
        }
        3 => pick_some(keyspace, call, reply),
        _ => Err(CommandError::Syntax),
    }
}

fn pick_some(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let count = call.int_within(2, -i64::MAX, i64::MAX)?;
    let set = keyspace.get_as::<Set>(call.arg(1), call.now)?;
    let Some(set) = set.filter(|_| count != 0) else {
        reply.array(0);
        return Ok(());
    };
    // A listpack is walked once, not once a pick.
    let listed: Option<Vec<Element<'_>>> = match set.view() {
        SetView::Listpack(listpack) => Some(listpack.iter().collect()),
        _ => None,
    };
    let at = |index: usize| match &listed {
        Some(members) => members[index],
        None => set.at(index),
    };
    let mut rng = call.rng();
    match usize::try_from(count) {
        Ok(count) => {
            let indexes = distinct_indexes(&mut rng, set.len(), count);
            reply.array(indexes.len());
            for index in indexes {
                write_element(reply, at(index));
            }
            Ok(())
        }
        Err(_) => {
            let count = count.unsigned_abs();
            reply.array(count as usize);
            let bytes_max = keyspace.limits().bulk_len_max;
            write_repeated_picks(
                reply,
                &mut rng,
                (set.len(), count),
                bytes_max,
                |reply, i| write_element(reply, at(i)),
            )
        }
    }
}
