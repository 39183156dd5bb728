//! BITFIELD and BITFIELD_RO: a list of operations on integers within a string.

use smallvec::SmallVec;

use crate::protocol::Reply;
use crate::store::Keyspace;

use super::super::{Call, CommandError, CommandResult};
use super::integer::{Encoding, Overflow};
use super::{bit_offset, bytes};

#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

#[derive(Clone, Copy)]
struct Operation {
    action: Action,
    encoding: Encoding,
    offset: u64,
    overflow: Overflow,
}

impl Operation {
    /// The first bit behind what it touches.
    fn end(&self) -> u64 {
        self.offset + u64::from(self.encoding.bits)
    }

    fn writes(&self) -> bool {
        !matches!(self.action, Action::Get)
    }

    /// Does it on bytes that reach far enough, and answers.
    fn run(&self, bytes: &mut [u8], reply: &mut Reply) {
        let encoding = self.encoding;
        let old = encoding.read(bytes, self.offset);
        let new = match self.action {
            Action::Get => return reply.int(old),
            Action::Set(value) => encoding.fit_argument(value, self.overflow),
            Action::Add(value) => encoding.fit(i128::from(old) + i128::from(value), self.overflow),
        };
        let Some(new) = new else {
            return reply.null();
        };
        encoding.write(bytes, self.offset, new);
        reply.int(match self.action {
            Action::Add(_) => new,
            _ => old,
        });
    }
}

type Operations = SmallVec<[Operation; 8]>;

pub fn bitfield(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let operations = operations(keyspace, call)?;
    let written = operations.iter().filter(|operation| operation.writes());
    let Some(end) = written.map(Operation::end).max() else {
        return read_all(keyspace, call, &operations, reply);
    };
    let bytes_min = end.div_ceil(8) as usize;
    keyspace.edit_str(call.arg(1), call.now, |bytes| {
        // The string grows even if every operation then fails, as in Redis.
        if bytes.len() < bytes_min {
            bytes.resize(bytes_min, 0);
        }
        reply.array(operations.len());
        for operation in &operations {
            operation.run(bytes, reply);
        }
    })?;
    Ok(())
}

pub fn bitfield_ro(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let operations = operations(keyspace, call)?;
    if operations.iter().any(Operation::writes) {
        return Err(CommandError::new(
            "ERR BITFIELD_RO only supports the GET subcommand",
        ));
    }
    read_all(keyspace, call, &operations, reply)
}

fn read_all(
    keyspace: &Keyspace,
    call: &Call,
    operations: &[Operation],
    reply: &mut Reply,
) -> CommandResult {
    let bytes = bytes(keyspace, call, 1)?.unwrap_or_default();
    reply.array(operations.len());
    for operation in operations {
        reply.int(operation.encoding.read(&bytes, operation.offset));
    }
    Ok(())
}

fn operations(keyspace: &Keyspace, call: &Call) -> Result<Operations, CommandError> {
    let mut operations = Operations::new();
    let mut overflow = Overflow::Wrap;
    let mut at = 2;
    while at < call.len() {
        let left = call.len() - at - 1;
        if call.is_word(at, "OVERFLOW") && left >= 1 {
            overflow = overflow_at(call, at + 1)?;
            at += 2;
            continue;
        }
        let values = match () {
            () if call.is_word(at, "GET") && left >= 2 => 2,
            () if call.is_word(at, "SET") && left >= 3 => 3,
            () if call.is_word(at, "INCRBY") && left >= 3 => 3,
            () => return Err(CommandError::Syntax),
        };
        operations.push(operation(keyspace, call, at, overflow)?);
        at += 1 + values;
    }
    Ok(operations)
}

fn overflow_at(call: &Call, at: usize) -> Result<Overflow, CommandError> {
    let kinds = [
        ("WRAP", Overflow::Wrap),
        ("SAT", Overflow::Saturate),
        ("FAIL", Overflow::Fail),
    ];
    let found = kinds.iter().find(|(word, _)| call.is_word(at, word));
    found
        .map(|&(_, overflow)| overflow)
        .ok_or(CommandError::new("ERR Invalid OVERFLOW type specified"))
}

/// The operation at `at`, whose arguments are there.
fn operation(
    keyspace: &Keyspace,
    call: &Call,
    at: usize,
    overflow: Overflow,
) -> Result<Operation, CommandError> {
    let encoding = Encoding::parse(call.arg(at + 1)).ok_or(CommandError::new(
        "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
    ))?;
    let offset = bit_offset(keyspace, call.arg(at + 2), Some(encoding.bits))?;
    let action = if call.is_word(at, "GET") {
        Action::Get
    } else if call.is_word(at, "SET") {
        Action::Set(call.int(at + 3)?)
    } else {
        Action::Add(call.int(at + 3)?)
    };
    Ok(Operation {
        action,
        encoding,
        offset,
        overflow,
    })
}
