//! Commands that were spread over several shards: collects the replies of the parts and makes one of them.

use crate::commands::Merge;
use crate::protocol::{Proto, Reply};

use super::outbox::Target;

/// How the parts of a spread command become one reply.
pub enum Join {
    Merge(Merge),
    /// Arrays with one element a key; `places[part]` names the positions of that part's keys.
    InOrder(Vec<Vec<u32>>),
}

/// A command whose parts are under way.
pub struct Collector {
    pub target: Target,
    join: Join,
    parts: Vec<Option<Vec<u8>>>,
    missing: usize,
}

impl Collector {
    pub fn new(target: Target, join: Join, parts: usize) -> Self {
        Self {
            target,
            join,
            parts: (0..parts).map(|_| None).collect(),
            missing: parts,
        }
    }

    /// Takes the reply of one part; true when it was the last one.
    pub fn take(&mut self, part: u32, reply: &[u8]) -> bool {
        let slot = &mut self.parts[part as usize];
        assert!(slot.is_none(), "a part answered twice");
        *slot = Some(reply.to_vec());
        self.missing -= 1;
        self.missing == 0
    }

    /// The one reply, once all parts are there.
    pub fn finish(self) -> Vec<u8> {
        let parts: Vec<Vec<u8>> = self
            .parts
            .into_iter()
            .map(|part| part.expect("all parts are there"))
            .collect();
        if let Some(error) = parts.iter().find(|part| part.first() == Some(&b'-')) {
            return error.clone();
        }
        join(&self.join, &parts, self.target.proto)
    }
}

fn join(how: &Join, parts: &[Vec<u8>], proto: Proto) -> Vec<u8> {
    let mut out = Vec::new();
    let mut reply = Reply::new(&mut out, proto);
    match how {
        Join::Merge(Merge::Sum) => reply.int(parts.iter().map(|part| integer(part)).sum()),
        Join::Merge(Merge::Ok) => reply.ok(),
        Join::Merge(Merge::AddHex) => {
            let sum = parts.iter().map(|part| hex(part)).fold([0u8; 20], add);
            let text: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
            reply.simple(&text);
        }
        Join::Merge(Merge::Concat | Merge::InKeyOrder) => {
            let lists: Vec<_> = parts.iter().map(|part| elements(part)).collect();
            reply.array(lists.iter().map(Vec::len).sum());
            lists
                .iter()
                .flatten()
                .for_each(|element| reply.raw(element));
        }
        Join::InOrder(places) => {
            let count = places.iter().map(Vec::len).sum();
            let mut ordered = vec![&[][..]; count];
            for (part, places) in parts.iter().zip(places) {
                for (element, &place) in elements(part).into_iter().zip(places) {
                    ordered[place as usize] = element;
                }
            }
            reply.array(count);
            ordered.iter().for_each(|element| reply.raw(element));
        }
    }
    out
}

/// The number of an integer reply or of a header line.
fn integer(reply: &[u8]) -> i64 {
    let line = reply.strip_suffix(b"\r\n").unwrap_or(reply);
    crate::store::canonical_int(&line[1.min(line.len())..])
        .expect("our own handlers answer integers")
}

fn hex(reply: &[u8]) -> [u8; 20] {
    let digits = &reply[1..reply.len() - 2];
    let mut bytes = [0u8; 20];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let pair = std::str::from_utf8(pair).expect("our own handlers answer digits");
        *byte = u8::from_str_radix(pair, 16).expect("our own handlers answer digits");
    }
    bytes
}

/// Adds as numbers of 160 bits, so that the order of the parts does not matter.
fn add(mut sum: [u8; 20], part: [u8; 20]) -> [u8; 20] {
    let mut carry = 0;
    for (a, b) in sum.iter_mut().zip(part).rev() {
        let total = u16::from(*a) + u16::from(b) + carry;
        *a = total as u8;
        carry = total >> 8;
    }
    sum
}

/// The elements of a flat array of strings, integers and nulls, each with its own header.
fn elements(reply: &[u8]) -> Vec<&[u8]> {
    let mut at = line_end(reply);
    let count = integer(&reply[..at]);
    (0..count)
        .map(|_| {
            let start = at;
            at += line_end(&reply[at..]);
            if reply[start] == b'$' && reply[start + 1] != b'-' {
                at += integer(&reply[start..at]) as usize + 2;
            }
            &reply[start..at]
        })
        .collect()
}

/// Length of the first line, its end included.
pub fn line_end(bytes: &[u8]) -> usize {
    memchr::memchr(b'\n', bytes).expect("a reply has whole lines") + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(how: Join, parts: &[&[u8]]) -> String {
        let mut collector = Collector::new(Target::NOBODY, how, parts.len());
        for (part, reply) in parts.iter().enumerate().rev() {
            assert_eq!(collector.take(part as u32, reply), part == 0);
        }
        String::from_utf8(collector.finish()).expect("text")
    }

    #[test]
    fn parts_become_one_reply() {
        assert_eq!(
            joined(Join::Merge(Merge::Sum), &[b":2\r\n", b":40\r\n"]),
            ":42\r\n"
        );
        assert_eq!(
            joined(Join::Merge(Merge::Ok), &[b"+OK\r\n", b"+OK\r\n"]),
            "+OK\r\n"
        );
        assert_eq!(
            joined(Join::Merge(Merge::Ok), &[b"+OK\r\n", b"-ERR no\r\n"]),
            "-ERR no\r\n"
        );
        let arrays: [&[u8]; 2] = [b"*2\r\n$1\r\na\r\n$-1\r\n", b"*1\r\n$3\r\nb\r\n\r\n"];
        assert_eq!(
            joined(Join::InOrder(vec![vec![2, 0], vec![1]]), &arrays),
            "*3\r\n$-1\r\n$3\r\nb\r\n\r\n$1\r\na\r\n"
        );
        assert_eq!(
            joined(Join::Merge(Merge::Concat), &arrays),
            "*3\r\n$1\r\na\r\n$-1\r\n$3\r\nb\r\n\r\n"
        );
    }
}
