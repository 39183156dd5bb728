//! List commands that take elements away and answer them.

use super::side;
use crate::commands::element::write_element;
use crate::commands::{Call, CommandError, CommandResult};
use crate::protocol::Reply;
use crate::store::list::{List, Side};
use crate::store::{Keyspace, Limits};

pub(super) fn lpop(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    pop(keyspace, call, reply, Side::Head)
}

pub(super) fn rpop(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    pop(keyspace, call, reply, Side::Tail)
}

fn pop(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply, side: Side) -> CommandResult {
    let count = match call.len() {
        2 => None,
        3 => Some(call.int_at_least(2, 0, "ERR value is out of range, must be positive")?),
        _ => {
            let name = match side {
                Side::Head => "lpop",
                Side::Tail => "rpop",
            };
            return Err(CommandError::new(format!(
                "ERR wrong number of arguments for '{name}' command"
            )));
        }
    };
    let limits = *keyspace.limits();
    let Some(mut list) = keyspace.edit::<List>(call.arg(1), call.now)? else {
        match count {
            Some(_) => reply.null_array(),
            None => reply.null(),
        }
        return Ok(());
    };
    match count {
        Some(count) => pop_many(&mut list, side, count as usize, &limits, reply),
        None => {
            if let Some(element) = list.peek(side) {
                write_element(reply, element);
            }
            list.drop_end(side, 1, &limits);
        }
    }
    Ok(())
}

/// Answers up to `count` elements from an end, in the order in which they go, and removes them.
fn pop_many(list: &mut List, side: Side, count: usize, limits: &Limits, reply: &mut Reply) {
    let count = count.min(list.len());
    reply.array(count);
    if count == 0 {
        return;
    }
    let elements = match side {
        Side::Head => list.iter(),
        Side::Tail => list.iter_back_from(list.len() - 1),
    };
    elements
        .take(count)
        .for_each(|element| write_element(reply, element));
    list.drop_end(side, count, limits);
}

pub(super) fn lmpop(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let keys = call.int_at_least(1, 1, "ERR numkeys should be greater than 0")? as usize;
    // The side stands behind the keys; a count beyond the arguments leaves none.
    let side_at = keys.saturating_add(2);
    if side_at >= call.len() {
        return Err(CommandError::Syntax);
    }
    let side = side(call, side_at)?;
    let count = match call.len() - side_at {
        1 => 1,
        3 if call.is_word(side_at + 1, "COUNT") => {
            call.int_at_least(side_at + 2, 1, "ERR count should be greater than 0")? as usize
        }
        4.. if call.is_word(side_at + 1, "COUNT") => {
            // The first count is looked at before what is wrong behind it.
            call.int_at_least(side_at + 2, 1, "ERR count should be greater than 0")?;
            return Err(CommandError::Syntax);
        }
        _ => return Err(CommandError::Syntax),
    };
    let limits = *keyspace.limits();
    for key in call.args.from(2).take(keys) {
        if let Some(mut list) = keyspace.edit::<List>(key, call.now)? {
            reply.array(2);
            reply.bulk(key);
            pop_many(&mut list, side, count, &limits, reply);
            return Ok(());
        }
    }
    reply.null_array();
    Ok(())
}
