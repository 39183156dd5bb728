//! LCS: the longest common subsequence of two strings, by the textbook's table of prefix lengths.

use std::borrow::Cow;

use crate::protocol::Reply;
use crate::store::{Keyspace, StrRef};

use super::super::{Call, CommandError, CommandResult};

#[derive(Default)]
struct Options {
    length_only: bool,
    ranges: bool,
    with_length: bool,
    length_min: u64,
}

pub fn lcs(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let a = string(keyspace, call, 1)?;
    let b = string(keyspace, call, 2)?;
    let options = options(call)?;
    let table_bytes = (a.len() as u64 + 1) * (b.len() as u64 + 1) * 4;
    if table_bytes > keyspace.limits().bulk_len_max {
        return Err(CommandError::new(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    if options.length_only {
        reply.int(i64::from(length(&a, &b)));
        return Ok(());
    }
    let table = Table::new(&a, &b)?;
    if options.ranges {
        write_ranges(&table, &options, reply);
    } else {
        reply.bulk(&table.subsequence());
    }
    Ok(())
}

fn string<'a>(
    keyspace: &'a Keyspace,
    call: &Call,
    index: usize,
) -> Result<Cow<'a, [u8]>, CommandError> {
    match keyspace.get_str(call.arg(index), call.now) {
        Ok(None) => Ok(Cow::Borrowed(b"")),
        Ok(Some(StrRef::Bytes(bytes))) => Ok(Cow::Borrowed(bytes)),
        Ok(Some(integer)) => Ok(Cow::Owned(integer.to_vec())),
        Err(_) => Err(CommandError::new(
            "ERR The specified keys must contain string values",
        )),
    }
}

fn options(call: &Call) -> Result<Options, CommandError> {
    let mut options = Options::default();
    let mut at = 3;
    while at < call.len() {
        if call.is_word(at, "IDX") {
            options.ranges = true;
        } else if call.is_word(at, "LEN") {
            options.length_only = true;
        } else if call.is_word(at, "WITHMATCHLEN") {
            options.with_length = true;
        } else if call.is_word(at, "MINMATCHLEN") && at + 1 < call.len() {
            at += 1;
            options.length_min = call.int(at)?.max(0) as u64;
        } else {
            return Err(CommandError::Syntax);
        }
        at += 1;
    }
    if options.ranges && options.length_only {
        return Err(CommandError::new(
            "ERR If you want both the length and indexes, please just use IDX.",
        ));
    }
    Ok(options)
}

/// The length alone needs two rows of the table.
fn length(a: &[u8], b: &[u8]) -> u32 {
    let mut above = vec![0u32; b.len() + 1];
    let mut row = above.clone();
    for byte in a {
        for (j, other) in b.iter().enumerate() {
            row[j + 1] = if byte == other {
                above[j] + 1
            } else {
                row[j].max(above[j + 1])
            };
        }
        std::mem::swap(&mut row, &mut above);
    }
    above[b.len()]
}

/// `lengths[i * (b.len() + 1) + j]` is the answer for the first `i` bytes of `a` and the first `j` of `b`.
struct Table<'a> {
    a: &'a [u8],
    b: &'a [u8],
    lengths: Vec<u32>,
}

/// A run of bytes that the two strings share: where it starts in each, and how long it is.
struct Match {
    a: usize,
    b: usize,
    length: usize,
}

impl<'a> Table<'a> {
    fn new(a: &'a [u8], b: &'a [u8]) -> Result<Self, CommandError> {
        let width = b.len() + 1;
        let size = (a.len() + 1) * width;
        let mut lengths = Vec::new();
        lengths.try_reserve_exact(size).map_err(|_| {
            CommandError::new("ERR Insufficient memory, failed allocating transient memory for LCS")
        })?;
        lengths.resize(size, 0);
        for (i, byte) in a.iter().enumerate() {
            let (done, rest) = lengths.split_at_mut((i + 1) * width);
            let (above, row) = (&done[i * width..], &mut rest[..width]);
            for (j, other) in b.iter().enumerate() {
                row[j + 1] = if byte == other {
                    above[j] + 1
                } else {
                    row[j].max(above[j + 1])
                };
            }
        }
        Ok(Self { a, b, lengths })
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.lengths[i * (self.b.len() + 1) + j]
    }

    /// Walks from the ends of both strings to a start and calls `shared` for every place that they share.
    fn walk(&self, mut shared: impl FnMut(usize, usize)) {
        let (mut i, mut j) = (self.a.len(), self.b.len());
        while i > 0 && j > 0 {
            if self.a[i - 1] == self.b[j - 1] {
                (i, j) = (i - 1, j - 1);
                shared(i, j);
            } else if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
    }

    fn length(&self) -> u32 {
        self.at(self.a.len(), self.b.len())
    }

    fn subsequence(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.length() as usize);
        self.walk(|i, _| bytes.push(self.a[i]));
        bytes.reverse();
        bytes
    }

    /// The runs, the last one first.
    fn matches(&self) -> Vec<Match> {
        let mut matches: Vec<Match> = Vec::new();
        self.walk(|a, b| match matches.last_mut() {
            Some(run) if run.a == a + 1 && run.b == b + 1 => {
                (run.a, run.b) = (a, b);
                run.length += 1;
            }
            _ => matches.push(Match { a, b, length: 1 }),
        });
        matches
    }
}

fn write_ranges(table: &Table, options: &Options, reply: &mut Reply) {
    let mut matches = table.matches();
    matches.retain(|run| run.length as u64 >= options.length_min);
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(matches.len());
    for run in &matches {
        reply.array(2 + usize::from(options.with_length));
        for start in [run.a, run.b] {
            reply.array(2);
            reply.int(start as i64);
            reply.int((start + run.length - 1) as i64);
        }
        if options.with_length {
            reply.int(run.length as i64);
        }
    }
    reply.bulk(b"len");
    reply.int(i64::from(table.length()));
}
