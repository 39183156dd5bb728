//! Commands that look at a range of bits: how many are set, and which is the first.

use crate::protocol::Reply;
use crate::store::Keyspace;

use super::super::{Call, CommandError, CommandResult};
use super::bytes;

/// The bits of a range, as offsets of the first and of the one behind the last. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: u64,
    end: u64,
}

/// What a client asks for: places from the end when negative.
struct Asked {
    start: i64,
    end: Option<i64>,
    in_bits: bool,
}

impl Asked {
    const ALL: Asked = Asked {
        start: 0,
        end: None,
        in_bits: false,
    };

    /// Reads `start [end [BYTE|BIT]]` from argument `first` on.
    fn read(call: &Call, first: usize) -> Result<Asked, CommandError> {
        if call.len() - first > 3 {
            return Err(CommandError::Syntax);
        }
        let start = call.int(first)?;
        let in_bits = match call.len() - first {
            1 | 2 => false,
            3 if call.is_word(first + 2, "BIT") => true,
            3 if call.is_word(first + 2, "BYTE") => false,
            _ => return Err(CommandError::Syntax),
        };
        let end = match call.len() - first {
            1 => None,
            _ => Some(call.int(first + 1)?),
        };
        Ok(Asked {
            start,
            end,
            in_bits,
        })
    }

    /// The bits that lie within a string; `None` when there are none.
    fn within(&self, bytes: &[u8]) -> Option<Range> {
        let unit = if self.in_bits { 1 } else { 8 };
        let total = bytes.len() as i64 * 8 / unit;
        let place = |at: i64| if at < 0 { (total + at).max(0) } else { at };
        let start = place(self.start);
        let end = place(self.end.unwrap_or(total - 1)).min(total - 1);
        (start <= end).then(|| Range {
            start: (start * unit) as u64,
            end: ((end + 1) * unit) as u64,
        })
    }
}

impl Range {
    /// Calls `visit` with every byte that the range touches: its place, and the mask of its bits in the range.
    fn edges(self, mut visit: impl FnMut(usize, u8)) {
        let (first, last) = ((self.start / 8) as usize, ((self.end - 1) / 8) as usize);
        let head = 0xFF >> (self.start % 8);
        let tail = !(0x7Fu8 >> ((self.end - 1) % 8));
        if first == last {
            return visit(first, head & tail);
        }
        visit(first, head);
        visit(last, tail);
    }

    /// The bytes that lie between the first and the last one.
    fn middle(self, bytes: &[u8]) -> &[u8] {
        let (first, last) = ((self.start / 8) as usize, ((self.end - 1) / 8) as usize);
        bytes.get(first + 1..last).unwrap_or_default()
    }
}

pub fn bitcount(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    // Redis 7.2 does not look at the rest when there is no such key.
    let Some(bytes) = bytes(keyspace, call, 1)? else {
        reply.int(0);
        return Ok(());
    };
    let asked = match call.len() {
        2 => Asked::ALL,
        4 | 5 => {
            let (start, end) = (call.int(2)?, call.int(3)?);
            // Both told from the end, the wrong way round: Redis answers before it looks at the unit.
            if start < 0 && end < 0 && start > end {
                reply.int(0);
                return Ok(());
            }
            Asked::read(call, 2)?
        }
        _ => return Err(CommandError::Syntax),
    };
    let count = asked.within(&bytes).map_or(0, |range| {
        let mut count = set_bits(range.middle(&bytes));
        range.edges(|place, mask| count += u64::from((bytes[place] & mask).count_ones()));
        count
    });
    reply.int(count as i64);
    Ok(())
}

fn set_bits(bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(8);
    let mut count = 0;
    for chunk in &mut chunks {
        let word = u64::from_ne_bytes(chunk.try_into().expect("eight bytes"));
        count += u64::from(word.count_ones());
    }
    let rest = chunks.remainder().iter();
    count + rest.map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

pub fn bitpos(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let bit = match call.int(2)? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::new("ERR The bit argument must be 1 or 0.")),
    };
    // An absent key is an endless row of clear bits, whatever the range.
    let Some(bytes) = bytes(keyspace, call, 1)? else {
        reply.int(if bit { -1 } else { 0 });
        return Ok(());
    };
    let asked = match call.len() {
        3 => Asked::ALL,
        _ => Asked::read(call, 3)?,
    };
    let found = asked.within(&bytes).and_then(|range| {
        // Without an end the string counts as followed by clear bits.
        let behind = (!bit && asked.end.is_none()).then_some(range.end);
        first(&bytes, range, bit).or(behind)
    });
    reply.int(found.map_or(-1, |place| place as i64));
    Ok(())
}

/// The first bit in the range that is `wanted`.
fn first(bytes: &[u8], range: Range, wanted: bool) -> Option<u64> {
    // Looking for a clear bit is looking for a set one with everything turned over.
    let turned = if wanted { 0 } else { 0xFF };
    let (mut head, mut tail) = (None, None);
    range.edges(|place, mask| {
        let byte = (bytes[place] ^ turned) & mask;
        let found = (byte != 0).then(|| place as u64 * 8 + u64::from(byte.leading_zeros()));
        if place as u64 == range.start / 8 {
            head = found;
        } else {
            tail = found;
        }
    });
    let in_middle = || {
        let middle = range.middle(bytes);
        let place = skip(middle, turned);
        middle.get(place).map(|byte| {
            (range.start / 8 + 1 + place as u64) * 8 + u64::from((byte ^ turned).leading_zeros())
        })
    };
    head.or_else(in_middle).or(tail)
}

/// How many bytes at the start are `byte`.
fn skip(bytes: &[u8], byte: u8) -> usize {
    let same = u64::from_ne_bytes([byte; 8]);
    let words = bytes
        .chunks_exact(8)
        .take_while(|chunk| u64::from_ne_bytes((*chunk).try_into().expect("eight bytes")) == same)
        .count();
    let rest = &bytes[words * 8..];
    words * 8 + rest.iter().take_while(|&&other| other == byte).count()
}
