//! The replies of one connection, in the order in which it asked. Knows no sockets: the server takes
//! [`Outbox::out`] and writes it.

use crate::protocol::Proto;
use crate::store::word;

/// Bytes of a reply that a slot holds itself: replies that wait for an earlier one are mostly `+OK`, integers and
/// short strings.
const SHORT_MAX: usize = 15;

/// The place of a reply that is not in `out` yet. Two words that are written and read as such: bytes written one by one
/// and read together soon after would have to wait for each other.
#[derive(Clone, Copy)]
struct Slot {
    /// The first eight bytes of a reply, the first one lowest.
    first: u64,
    /// The next seven, and above them the length of the reply or one of the states below.
    rest: u64,
}

const STATE_SHIFT: u32 = 56;
/// Answered places are taken out of the list together, when nothing waits or when there are so many.
const ANSWERED_MAX: usize = 1024;
const WAITING: u64 = 0xff;
/// Waiting, and nobody wants the reply (CLIENT REPLY OFF or SKIP).
const UNWANTED: u64 = 0xfe;
/// The reply is in [`Outbox::long`], at the number in the first word.
const LONG: u64 = 0xfd;

impl Slot {
    #[inline]
    fn of_state(state: u64) -> Self {
        Self {
            first: 0,
            rest: state << STATE_SHIFT,
        }
    }

    /// `reply` has at most [`SHORT_MAX`] bytes.
    #[inline]
    fn short(reply: &[u8]) -> Self {
        let (first, rest) = reply.split_at(reply.len().min(8));
        Self {
            first: word(first),
            rest: word(rest) | (reply.len() as u64) << STATE_SHIFT,
        }
    }

    #[inline]
    fn state(self) -> u64 {
        self.rest >> STATE_SHIFT
    }

    #[inline]
    fn is_ready(&self) -> bool {
        self.state() < UNWANTED
    }
}

/// A reply's place in its connection's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seq(pub u64);

/// The ordered replies of one connection.
#[derive(Default)]
pub struct Outbox {
    /// Bytes ready to be sent.
    pub out: Vec<u8>,
    /// Of which the first `gone` are answered. A ring would cost more for what every command does twice.
    slots: Vec<Slot>,
    gone: usize,
    /// The number of the first slot.
    head: u64,
    /// Replies that are ready and too long for a slot, with the free places among them.
    long: Vec<Vec<u8>>,
    long_free: Vec<u32>,
}

impl Outbox {
    /// Whether a command of this connection still waits for its reply.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        self.gone < self.slots.len()
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
        self.slots.len() - self.gone
    }

    /// Takes a place at the end of the order.
    #[inline]
    pub fn reserve(&mut self, wanted: bool) -> Seq {
        let seq = Seq(self.head + self.slots.len() as u64);
        self.slots
            .push(Slot::of_state(if wanted { WAITING } else { UNWANTED }));
        seq
    }

    /// Fills a reserved place with its reply.
    #[inline(always)]
    pub fn fill(&mut self, seq: Seq, reply: &[u8]) {
        let index = (seq.0 - self.head) as usize;
        debug_assert!(index >= self.gone, "a place is filled once");
        let state = self.slots[index].state();
        if index > self.gone {
            self.slots[index] = match state {
                UNWANTED => Slot::short(b""),
                _ if reply.len() <= SHORT_MAX => Slot::short(reply),
                _ => self.keep_long(reply),
            };
            return;
        }
        if state == WAITING {
            self.out.extend_from_slice(reply);
        }
        self.gone += 1;
        while let Some(&slot) = self.slots.get(self.gone).filter(|slot| slot.is_ready()) {
            self.gone += 1;
            self.put_out(slot);
        }
        if self.gone == self.slots.len() || self.gone > ANSWERED_MAX {
            self.forget_answered();
        }
    }

    #[inline]
    fn forget_answered(&mut self) {
        let gone = self.gone;
        self.head += std::mem::take(&mut self.gone) as u64;
        self.slots.drain(..gone);
        if self.slots.is_empty() && !self.long.is_empty() {
            (self.long, self.long_free) = (Vec::new(), Vec::new());
        }
    }

    #[inline]
    fn put_out(&mut self, slot: Slot) {
        let len = slot.state() as usize;
        if len <= SHORT_MAX {
            // All bytes of the slot, whatever their number: moves of a fixed size.
            let end = self.out.len() + len;
            self.out.reserve(16);
            self.out.extend_from_slice(&slot.first.to_le_bytes());
            self.out.extend_from_slice(&slot.rest.to_le_bytes());
            return self.out.truncate(end);
        }
        let number = slot.first as u32;
        let reply = std::mem::take(&mut self.long[number as usize]);
        self.long_free.push(number);
        self.out.extend_from_slice(&reply);
    }

    #[cold]
    fn keep_long(&mut self, reply: &[u8]) -> Slot {
        let number = self.long_free.pop().unwrap_or_else(|| {
            self.long.push(Vec::new());
            self.long.len() as u32 - 1
        });
        self.long[number as usize] = reply.to_vec();
        Slot {
            first: u64::from(number),
            ..Slot::of_state(LONG)
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
    /// Another node: a worker of it, its request, and the round of the request (see `forward_wire`).
    Remote {
        asker: u16,
        round: u32,
        request: u64,
    },
    /// Something in this process; see `Io::call_back`.
    Callback(u32),
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
        let places: Vec<Seq> = (0..7).map(|n| outbox.reserve(n != 2)).collect();
        let (long, longer) = ([b'x'; 15], [b'y'; 300]);
        outbox.fill(places[6], &longer);
        outbox.fill(places[4], &longer);
        outbox.fill(places[3], b"d");
        outbox.fill(places[1], b"b");
        assert_eq!(outbox.out, b"");
        outbox.fill(places[0], b"a");
        assert_eq!(outbox.out, b"ab");
        outbox.fill(places[2], b"nobody wants this");
        let expected = [&b"abd"[..], &longer].concat();
        assert_eq!(outbox.out, expected);
        assert!(outbox.is_waiting());
        outbox.fill(places[5], &long);
        assert_eq!(outbox.out, [&expected[..], &long, &longer].concat());
        assert!(!outbox.is_waiting());
    }
}
