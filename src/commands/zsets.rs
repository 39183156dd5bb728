//! Sorted sets: every command of the family that does not block. Each file beside declares the commands it
//! runs.

pub(super) mod add;
mod algebra;
mod bounds;
pub(super) mod combine;
pub(super) mod random;
pub(super) mod range;
pub(super) mod read;
pub(super) mod remove;
#[cfg(test)]
mod tests;

use crate::commands::element::write_element;
use crate::protocol::Reply;
use crate::store::listpack::Element;

/// Writes members with or without their scores: flat in RESP2, in RESP3 an array for each pair.
struct PairWriter {
    with_scores: bool,
}

impl PairWriter {
    fn header(&self, reply: &mut Reply, pairs: usize) {
        let flat = self.with_scores && !reply.is_resp3();
        reply.array(if flat { 2 * pairs } else { pairs });
    }

    fn pair(&self, reply: &mut Reply, member: Element<'_>, score: f64) {
        if self.with_scores && reply.is_resp3() {
            reply.array(2);
        }
        write_element(reply, member);
        if self.with_scores {
            reply.double(score);
        }
    }

    fn all<'a>(&self, reply: &mut Reply, pairs: impl ExactSizeIterator<Item = (Element<'a>, f64)>) {
        self.header(reply, pairs.len());
        pairs.for_each(|(member, score)| self.pair(reply, member, score));
    }
}
