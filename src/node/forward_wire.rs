//! Forwarded commands and their replies as bytes: what two nodes say to each other on a Forward link.
//!
//! ```text
//! frame     record ...
//! command   1 u8 | request u64 | round u32 | shard u16 | database u16 | protocol u8 | flags u8 | count u32 | count x ( length u32 | bytes )
//! reply     2 u8 | request u64 | status u8 | leader u128 | length u32 | bytes
//! farewell  3 u8
//! release   4 u8
//! ```
//!
//! Numbers are little-endian. A command that a node refuses because it does not lead the shard is answered with status 1 and the node
//! that does, 0 if that is unknown: it was certainly not applied. `round` is the sender's count of such answers for the shard; a node that
//! has refused one command of a round refuses all that follow, so that none overtakes another.
//!
//! A node that is about to go down says farewell: it takes no more commands. Each worker that has asked it releases it when it has heard
//! what became of everything that it had sent there; after that it sends no more commands until the node's link comes anew. A farewell has
//! a frame of its own, because versions that do not know it read no further; they never release anybody.

use ringfort_cluster::NodeId;

use crate::protocol::{Args, OwnedArgs, Proto};

const COMMAND: u8 = 1;
const REPLY: u8 = 2;
const FAREWELL: u8 = 3;
const RELEASE: u8 = 4;
const UNTOUCHED: u8 = 1;
/// Arguments of one command.
const ARGS_MAX: usize = 1 << 20;

/// A command from another node.
#[derive(Debug, PartialEq)]
pub struct Command {
    pub head: Head,
    pub args: OwnedArgs,
}

/// What a frame holds.
#[derive(Debug, PartialEq)]
pub enum Record<'a> {
    Command(Command),
    Reply {
        request: u64,
        outcome: Outcome<'a>,
    },
    /// Whoever sends this takes no more commands.
    Farewell,
    /// The worker that sends this wants nothing more of a node that has said farewell.
    Release,
}

/// What became of a forwarded command.
#[derive(Debug, PartialEq)]
pub enum Outcome<'a> {
    Reply(&'a [u8]),
    /// It was not applied; this node leads the shard, perhaps.
    NotLeader(Option<NodeId>),
}

/// The fixed part of a command.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head {
    pub request: u64,
    pub round: u32,
    pub shard: u16,
    pub database: u16,
    pub proto: Proto,
    pub untouched: bool,
}

/// Appends a command.
pub fn put_command(out: &mut Vec<u8>, head: &Head, args: &Args) {
    out.push(COMMAND);
    out.extend_from_slice(&head.request.to_le_bytes());
    out.extend_from_slice(&head.round.to_le_bytes());
    out.extend_from_slice(&head.shard.to_le_bytes());
    out.extend_from_slice(&head.database.to_le_bytes());
    out.push(u8::from(head.proto == Proto::Resp3));
    out.push(if head.untouched { UNTOUCHED } else { 0 });
    out.extend_from_slice(&(args.len() as u32).to_le_bytes());
    for arg in args.from(0) {
        out.extend_from_slice(&(arg.len() as u32).to_le_bytes());
        out.extend_from_slice(arg);
    }
}

/// Appends what became of a command.
pub fn put_reply(out: &mut Vec<u8>, request: u64, outcome: &Outcome) {
    let (status, leader, bytes) = match outcome {
        Outcome::Reply(bytes) => (0, NodeId(0), *bytes),
        Outcome::NotLeader(leader) => (1, leader.unwrap_or(NodeId(0)), &b""[..]),
    };
    out.push(REPLY);
    out.extend_from_slice(&request.to_le_bytes());
    out.push(status);
    out.extend_from_slice(&leader.0.to_le_bytes());
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends that this node takes no more commands.
pub fn put_farewell(out: &mut Vec<u8>) {
    out.push(FAREWELL);
}

/// Appends that this worker expects nothing more.
pub fn put_release(out: &mut Vec<u8>) {
    out.push(RELEASE);
}

/// A walk over a frame. `None` stands where the bytes are no record; nothing follows it.
pub struct Records<'a> {
    bytes: &'a [u8],
    is_over: bool,
}

impl<'a> Records<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            is_over: false,
        }
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn length(&mut self) -> Option<usize> {
        Some(u32::from_le_bytes(self.array()?) as usize)
    }

    fn record(&mut self) -> Option<Record<'a>> {
        match self.byte()? {
            COMMAND => self.command().map(Record::Command),
            REPLY => self.reply(),
            FAREWELL => Some(Record::Farewell),
            RELEASE => Some(Record::Release),
            _ => None,
        }
    }

    fn command(&mut self) -> Option<Command> {
        let request = u64::from_le_bytes(self.array()?);
        let round = u32::from_le_bytes(self.array()?);
        let shard = u16::from_le_bytes(self.array()?);
        let database = u16::from_le_bytes(self.array()?);
        let proto = match self.byte()? {
            0 => Proto::Resp2,
            1 => Proto::Resp3,
            _ => return None,
        };
        let untouched = self.byte()? & UNTOUCHED != 0;
        let count = self.length()?;
        // Each argument takes four bytes at least: no length from outside decides how much is reserved.
        if count == 0 || count > ARGS_MAX || count * 4 > self.bytes.len() {
            return None;
        }
        let mut args = Vec::with_capacity(count);
        for _ in 0..count {
            let len = self.length()?;
            args.push(self.take(len)?);
        }
        let head = Head {
            request,
            round,
            shard,
            database,
            proto,
            untouched,
        };
        Some(Command {
            head,
            args: OwnedArgs::new(args),
        })
    }

    fn reply(&mut self) -> Option<Record<'a>> {
        let request = u64::from_le_bytes(self.array()?);
        let status = self.byte()?;
        let leader = NodeId(u128::from_le_bytes(self.array()?));
        let len = self.length()?;
        let bytes = self.take(len)?;
        let outcome = match status {
            0 => Outcome::Reply(bytes),
            1 => Outcome::NotLeader((leader != NodeId(0)).then_some(leader)),
            _ => return None,
        };
        Some(Record::Reply { request, outcome })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Option<Record<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over || self.bytes.is_empty() {
            return None;
        }
        let record = self.record();
        self.is_over = record.is_none();
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Vec<u8> {
        let mut frame = Vec::new();
        let head = Head {
            request: 7 << 48 | 9,
            round: 3,
            shard: 63,
            database: 15,
            proto: Proto::Resp3,
            untouched: true,
        };
        let args = OwnedArgs::new([&b"SET"[..], b"key", b""]);
        put_command(&mut frame, &head, &args.as_args());
        put_reply(&mut frame, 5, &Outcome::Reply(b"+OK\r\n"));
        put_reply(&mut frame, 6, &Outcome::NotLeader(Some(NodeId(99))));
        put_reply(&mut frame, 7, &Outcome::NotLeader(None));
        frame
    }

    #[test]
    fn commands_and_replies_arrive_as_they_were_sent() {
        let frame = frame();
        let records: Vec<_> = Records::new(&frame).map(Option::unwrap).collect();
        let Record::Command(command) = &records[0] else {
            panic!("{records:?}")
        };
        let head = command.head;
        assert_eq!((head.request, head.round), (7 << 48 | 9, 3));
        assert_eq!((head.shard, head.database), (63, 15));
        assert!(head.proto == Proto::Resp3 && head.untouched);
        let args = command.args.as_args();
        let args: Vec<&[u8]> = args.from(0).collect();
        assert_eq!(args, [&b"SET"[..], b"key", b""]);
        let outcomes: Vec<_> = records[1..]
            .iter()
            .map(|record| match record {
                Record::Reply { request, outcome } => (*request, outcome),
                _ => panic!("{records:?}"),
            })
            .collect();
        assert_eq!(outcomes[0], (5, &Outcome::Reply(b"+OK\r\n")));
        assert_eq!(outcomes[1], (6, &Outcome::NotLeader(Some(NodeId(99)))));
        assert_eq!(outcomes[2], (7, &Outcome::NotLeader(None)));
    }

    #[test]
    fn a_farewell_and_its_answer_arrive_as_they_were_sent() {
        let mut frame = Vec::new();
        put_farewell(&mut frame);
        put_release(&mut frame);
        let records: Vec<_> = Records::new(&frame).collect();
        assert_eq!(records, [Some(Record::Farewell), Some(Record::Release)]);
    }

    #[test]
    fn damaged_frames_end_the_walk() {
        let good = frame();
        for end in 0..good.len() {
            let read = Records::new(&good[..end]).flatten().count();
            assert!(read < 4);
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] = 0xff;
            // Whatever it says: no panic, no endless walk, nothing reserved beyond the frame.
            assert!(Records::new(&bad).count() <= 5);
        }
        let long = [&[COMMAND][..], &[0; 18], &[0xff; 4]].concat();
        assert_eq!(Records::new(&long).collect::<Vec<_>>(), [None]);
    }
}
