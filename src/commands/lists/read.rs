//! List commands that only read.

use super::span;
use crate::commands::element::write_element;
use crate::commands::{Call, CommandError, CommandResult};
use crate::protocol::Reply;
use crate::store::list::{List, Side};
use crate::store::Keyspace;

pub(super) fn llen(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let list = keyspace.get_as::<List>(call.arg(1), call.now)?;
    reply.int(list.map_or(0, List::len) as i64);
    Ok(())
}

pub(super) fn lindex(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    // Redis looks at the index only where there is a list.
    let Some(list) = keyspace.get_as::<List>(call.arg(1), call.now)? else {
        reply.null();
        return Ok(());
    };
    match list.get(call.int(2)?) {
        Some(element) => write_element(reply, element),
        None => reply.null(),
    }
    Ok(())
}

pub(super) fn lrange(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let (start, stop) = (call.int(2)?, call.int(3)?);
    let Some(list) = keyspace.get_as::<List>(call.arg(1), call.now)? else {
        reply.array(0);
        return Ok(());
    };
    let (start, count) = span(start, stop, list.len());
    reply.array(count);
    list.iter_from(start)
        .take(count)
        .for_each(|element| write_element(reply, element));
    Ok(())
}

/// The options of LPOS.
struct Search {
    /// 1 is the first match from the head, -1 the first from the tail.
    rank: i64,
    /// Matches to answer, 0 for all; without it one match, not in an array.
    count: Option<usize>,
    /// Elements to look at, 0 for all.
    len_max: usize,
}

impl Search {
    fn parse(call: &Call) -> Result<Self, CommandError> {
        let mut search = Self {
            rank: 1,
            count: None,
            len_max: 0,
        };
        let mut at = 3;
        while at < call.len() {
            if at + 1 == call.len() {
                return Err(CommandError::Syntax);
            }
            if call.is_word(at, "RANK") {
                search.rank = call.int_within(at + 1, -i64::MAX, i64::MAX)?;
                if search.rank == 0 {
                    return Err(CommandError::new(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
                         second ... or use negative to start from the end of the list",
                    ));
                }
            } else if call.is_word(at, "COUNT") {
                let count = call.int_at_least(at + 1, 0, "ERR COUNT can't be negative")?;
                search.count = Some(count as usize);
            } else if call.is_word(at, "MAXLEN") {
                let max = call.int_at_least(at + 1, 0, "ERR MAXLEN can't be negative")?;
                search.len_max = max as usize;
            } else {
                return Err(CommandError::Syntax);
            }
            at += 2;
        }
        Ok(search)
    }
}

pub(super) fn lpos(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let search = Search::parse(call)?;
    let Some(list) = keyspace.get_as::<List>(call.arg(1), call.now)? else {
        match search.count {
            Some(_) => reply.array(0),
            None => reply.null(),
        }
        return Ok(());
    };
    let or_all = |max: usize| if max == 0 { usize::MAX } else { max };
    let from = if search.rank > 0 {
        Side::Head
    } else {
        Side::Tail
    };
    let mut found = list
        .positions(call.arg(2), from, or_all(search.len_max))
        .skip(search.rank.unsigned_abs() as usize - 1);
    match search.count {
        None => match found.next() {
            Some(index) => reply.int(index as i64),
            None => reply.null(),
        },
        Some(count) => {
            let found: Vec<usize> = found.take(or_all(count)).collect();
            reply.array(found.len());
            found.iter().for_each(|&index| reply.int(index as i64));
        }
    }
    Ok(())
}
