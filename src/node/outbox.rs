//! The replies of one connection, in the order in which it asked. Knows no sockets: the server takes
//! [`Outbox::out`] and writes it.

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::protocol::Proto;

/// Replies that wait for an earlier one are mostly `+OK`, integers and short strings.
type Short = SmallVec<[u8; 24]>;

enum Slot {
    Waiting,
    Ready(Short),
    /// Waiting, and nobody wants the reply (CLIENT REPLY OFF or SKIP).
    Unwanted,
}

/// A reply's place in its connection's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seq(pub u64);

/// The ordered replies of one connection.
#[derive(Default)]
pub struct Outbox {
    /// Bytes ready to be sent.
    pub out: Vec<u8>,
    slots: VecDeque<Slot>,
    head: u64,
}

impl Outbox {
    /// Whether a command of this connection still waits for its reply.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        !self.slots.is_empty()
    }

    /// The first `bytes` of `out` were sent. Keeps the buffer's memory up to `kept_max` bytes.
    pub fn sent(&mut self, bytes: usize, kept_max: usize) {
        if bytes < self.out.len() {
            self.out.drain(..bytes);
        } else if self.out.capacity() > kept_max {
            self.out = Vec::new();
        } else {
            self.out.clear();
        }
    }

    /// Commands whose reply is not yet in `out`.
    pub fn waiting(&self) -> usize {
        self.slots.len()
    }

    /// Takes a place at the end of the order.
    #[inline]
    pub fn reserve(&mut self, wanted: bool) -> Seq {
        let seq = Seq(self.head + self.slots.len() as u64);
        self.slots.push_back(if wanted {
            Slot::Waiting
        } else {
            Slot::Unwanted
        });
        seq
    }

    /// Fills a reserved place with its reply.
    #[inline]
    pub fn fill(&mut self, seq: Seq, reply: &[u8]) {
        let index = (seq.0 - self.head) as usize;
        if index > 0 {
            let wanted = matches!(self.slots[index], Slot::Waiting);
            self.slots[index] = Slot::Ready(if wanted {
                Short::from_slice(reply)
            } else {
                Short::new()
            });
            return;
        }
        if let Some(Slot::Waiting) = self.slots.pop_front() {
            self.out.extend_from_slice(reply);
        }
        self.head += 1;
        while let Some(Slot::Ready(reply)) = self.slots.front() {
            self.out.extend_from_slice(reply);
            self.slots.pop_front();
            self.head += 1;
        }
    }
}

/// Who waits for the result of a command on a shard.
#[derive(Clone, Copy, Debug)]
pub enum Waiter {
    /// Nobody: the node proposed it for itself.
    Nobody,
    /// A connection of the worker: its place in the slab, the place's use count, and the reply's place.
    Client { conn: u32, uses: u32, seq: Seq },
    /// A part of a command that was spread over several shards.
    Part { collector: u32, part: u32 },
}

/// A waiter and the worker on which it waits.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub worker: u16,
    pub waiter: Waiter,
    pub proto: Proto,
    /// The client's looks leave no mark of use (CLIENT NO-TOUCH).
    pub untouched: bool,
}

impl Target {
    /// Of commands that the node proposes for itself.
    pub const NOBODY: Target = Target {
        worker: 0,
        waiter: Waiter::Nobody,
        proto: Proto::Resp2,
        untouched: false,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_leave_in_the_order_of_the_questions() {
        let mut outbox = Outbox::default();
        let places: Vec<Seq> = (0..4).map(|n| outbox.reserve(n != 2)).collect();
        outbox.fill(places[3], b"d");
        outbox.fill(places[1], b"b");
        assert_eq!(outbox.out, b"");
        outbox.fill(places[0], b"a");
        assert_eq!(outbox.out, b"ab");
        outbox.fill(places[2], b"nobody wants this");
        assert_eq!(outbox.out, b"abd");
        assert!(!outbox.is_waiting());
    }
}
