//! HRANDFIELD: one field, some different ones, or draws with repetition.

use crate::commands::element::write_element;
use crate::commands::random::distinct_indexes;
use crate::commands::{Call, CommandError, CommandResult};
use crate::protocol::Reply;
use crate::store::listpack::Element;
use crate::store::{Hash, Keyspace, Rng};

/// The shortest bulk string: `$0\r\n\r\n`.
const BULK_BYTES_MIN: usize = 6;

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
    let Some(hash) = keyspace.get_as::<Hash>(call.arg(1), call.now)? else {
        reply.array(0);
        return Ok(());
    };
    let bytes_max = usize::try_from(keyspace.limits().bulk_len_max).unwrap_or(usize::MAX);
    let mut drawn = Drawn { reply, with_values };
    match usize::try_from(count) {
        Ok(count) => drawn.different(hash, count, &mut call.rng()),
        Err(_) => {
            let count = count.unsigned_abs() as usize;
            return drawn.repeated(hash, count, bytes_max, &mut call.rng());
        }
    }
    Ok(())
}

/// Writes drawn pairs: flat in RESP2, an array for each pair in RESP3.
struct Drawn<'r, 'o> {
    reply: &'r mut Reply<'o>,
    with_values: bool,
}

impl Drawn<'_, '_> {
    fn header(&mut self, pairs: usize) {
        let flat = self.with_values && !self.reply.is_resp3();
        self.reply.array(if flat { 2 * pairs } else { pairs });
    }

    fn pair(&mut self, (field, value): Pair<'_>) {
        if self.with_values && self.reply.is_resp3() {
            self.reply.array(2);
        }
        write_element(self.reply, field);
        if self.with_values {
            write_element(self.reply, value);
        }
    }

    /// Up to `count` different pairs, each choice of them equally likely; all of them in the hash's order.
    fn different(&mut self, hash: &Hash, count: usize, rng: &mut Rng) {
        let len = hash.len();
        self.header(count.min(len));
        if count >= len {
            hash.iter().for_each(|pair| self.pair(pair));
            return;
        }
        let picks = Picks::of(hash);
        for index in distinct_indexes(rng, len, count) {
            picks.at(index).into_iter().for_each(|pair| self.pair(pair));
        }
    }

    /// `count` draws, each from all pairs. The reply may be far larger than the hash, so it may not grow
    /// beyond what one string may hold: a server that runs out of memory serves nobody.
    /// A count that cannot fit is refused before the first draw.
    fn repeated(
        &mut self,
        hash: &Hash,
        count: usize,
        bytes_max: usize,
        rng: &mut Rng,
    ) -> CommandResult {
        if count.saturating_mul(BULK_BYTES_MIN) > bytes_max {
            return Err(CommandError::OutOfRange);
        }
        let start = self.reply.mark();
        self.header(count);
        let (picks, len) = (Picks::of(hash), hash.len().max(1));
        for _ in 0..count {
            picks
                .at(rng.below(len))
                .into_iter()
                .for_each(|pair| self.pair(pair));
            if self.reply.mark() - start > bytes_max {
                return Err(CommandError::OutOfRange);
            }
        }
        Ok(())
    }
}

/// A hash whose pairs are found by index at once: a listpack is walked once, not once a draw.
enum Picks<'a> {
    Listed(Vec<Pair<'a>>),
    Table(&'a Hash),
}

impl<'a> Picks<'a> {
    fn of(hash: &'a Hash) -> Self {
        match hash.as_listpack() {
            Some(_) => Picks::Listed(hash.iter().collect()),
            None => Picks::Table(hash),
        }
    }

    fn at(&self, index: usize) -> Option<Pair<'a>> {
        match self {
            Picks::Listed(pairs) => pairs.get(index).copied(),
            Picks::Table(hash) => hash.pair_at(index),
        }
    }
}
