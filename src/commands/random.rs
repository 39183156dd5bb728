//! Random picks from containers: SPOP, SRANDMEMBER, HRANDFIELD, ZRANDMEMBER. Knows indexes, no containers.

use super::{CommandError, CommandResult};
use crate::protocol::Reply;
use crate::store::Rng;
use std::collections::HashMap;

/// The shortest bulk string, which every pick costs at least: `$0\r\n\r\n`.
const PICK_BYTES_MIN: u64 = 6;

/// `count` different indexes below `len`, every choice and order as likely as any other; all of them when there are
/// no more.
pub fn distinct_indexes(rng: &mut Rng, len: usize, count: usize) -> Vec<usize> {
    let count = count.min(len);
    // Fisher and Yates' shuffle, broken off after `count` steps; only places that changed are kept.
    let mut moved: HashMap<usize, usize> = HashMap::new();
    (0..count)
        .map(|at| {
            let drawn = at + rng.below(len - at);
            let here = moved.get(&at).copied().unwrap_or(at);
            moved.insert(drawn, here).unwrap_or(drawn)
        })
        .collect()
}

/// Writes `count` picks with repeats from `len` elements by `write`. The reply may be far larger than the data
/// it is drawn from, so it ends with an error beyond `bytes_max`: a server that runs out of memory serves
/// nobody. A count that cannot fit is refused before the first pick.
pub fn write_repeated_picks(
    reply: &mut Reply,
    rng: &mut Rng,
    (len, count): (usize, u64),
    bytes_max: u64,
    mut write: impl FnMut(&mut Reply, usize),
) -> CommandResult {
    if count.saturating_mul(PICK_BYTES_MIN) > bytes_max {
        return Err(CommandError::OutOfRange);
    }
    let start = reply.mark();
    for _ in 0..count {
        write(reply, rng.below(len));
        if (reply.mark() - start) as u64 > bytes_max {
            return Err(CommandError::OutOfRange);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_different_and_complete() {
        let mut rng = Rng::new(5);
        for (len, count) in [(0, 3), (1, 1), (10, 3), (10, 10), (10, 99), (1000, 400)] {
            let mut indexes = distinct_indexes(&mut rng, len, count);
            assert_eq!(indexes.len(), count.min(len));
            indexes.sort_unstable();
            indexes.dedup();
            assert_eq!(indexes.len(), count.min(len));
            assert!(indexes.iter().all(|&index| index < len));
        }
    }

    #[test]
    fn every_index_is_equally_likely_at_every_place() {
        let mut rng = Rng::new(5);
        let mut drawn = [[0usize; 5]; 3];
        for _ in 0..10_000 {
            for (place, index) in distinct_indexes(&mut rng, 5, 3).into_iter().enumerate() {
                drawn[place][index] += 1;
            }
        }
        let even = |n: &usize| (1800..2200).contains(n);
        assert!(drawn.iter().flatten().all(even), "{drawn:?}");
    }
}
