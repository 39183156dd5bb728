//! HRANDFIELD: one field, some different ones, or draws with repetition.

use crate::commands::element::write_element;
use crate::commands::random::{distinct_indexes, write_repeated_picks};
use crate::commands::{Call, CommandError, CommandResult};
use crate::protocol::Reply;
use crate::store::listpack::Element;
use crate::store::{Hash, Keyspace};

type Pair<'a> = (Element<'a>, Element<'a>);

pub(super) fn hrandfield(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    if call.len() == 2 {
        let hash = keyspace.get_as::<Hash>(call.arg(1), call.now)?;
        match hash.and_then(|hash| hash.random(&mut call.rng())) {
            Some((field, _)) => write_element(reply, field),
            None => reply.null(),
        }
        return Ok(());
    }
    let count = call.int_within(2, -i64::MAX, i64::MAX)?;
    let with_values = match call.len() {
        3 => false,
        4 if call.is_word(3, "WITHVALUES") => true,
        _ => return Err(CommandError::Syntax),
    };
    if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(CommandError::OutOfRange);
    }
    let hash = keyspace.get_as::<Hash>(call.arg(1), call.now)?;
    let Some(hash) = hash.filter(|_| count != 0) else {
        reply.array(0);
        return Ok(());
    };
    pick_some(
        hash,
        count,
        with_values,
        keyspace.limits().bulk_len_max,
        call,
        reply,
    )
}

/// Up to `count` different pairs, or `-count` picks with repeats.
fn pick_some(
    hash: &Hash,
    count: i64,
    with_values: bool,
    bytes_max: u64,
    call: &Call,
    reply: &mut Reply,
) -> CommandResult {
    let (pairs, writer) = (Pairs::of(hash), PairWriter { with_values });
    let mut rng = call.rng();
    let Ok(different) = usize::try_from(count) else {
        let count = count.unsigned_abs();
        writer.header(reply, count as usize);
        let picks = (hash.len(), count);
        return write_repeated_picks(reply, &mut rng, picks, bytes_max, |reply, index| {
            writer.pair(reply, pairs.at(index));
        });
    };
    let len = hash.len();
    writer.header(reply, different.min(len));
    if different >= len {
        // The whole hash comes in its own order, as in Redis.
        (0..len).for_each(|index| writer.pair(reply, pairs.at(index)));
        return Ok(());
    }
    for index in distinct_indexes(&mut rng, len, different) {
        writer.pair(reply, pairs.at(index));
    }
    Ok(())
}

/// Writes pairs: flat in RESP2, an array for each pair in RESP3.
struct PairWriter {
    with_values: bool,
}

impl PairWriter {
    fn header(&self, reply: &mut Reply, pairs: usize) {
        let flat = self.with_values && !reply.is_resp3();
        reply.array(if flat { 2 * pairs } else { pairs });
    }

    fn pair(&self, reply: &mut Reply, pair: Option<Pair<'_>>) {
        let Some((field, value)) = pair else { return };
        if self.with_values && reply.is_resp3() {
            reply.array(2);
        }
        write_element(reply, field);
        if self.with_values {
            write_element(reply, value);
        }
    }
}

/// Pairs of a hash by index, each found at once: a listpack is walked once, not once a pick.
enum Pairs<'a> {
    Listed(Vec<Pair<'a>>),
    Table(&'a Hash),
}

impl<'a> Pairs<'a> {
    fn of(hash: &'a Hash) -> Self {
        match hash.as_listpack() {
            Some(_) => Pairs::Listed(hash.iter().collect()),
            None => Pairs::Table(hash),
        }
    }

    fn at(&self, index: usize) -> Option<Pair<'a>> {
        match self {
            Pairs::Listed(pairs) => pairs.get(index).copied(),
            Pairs::Table(hash) => hash.pair_at(index),
        }
    }
}
