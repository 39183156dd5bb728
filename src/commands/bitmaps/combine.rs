//! BITOP: strings combined bit by bit. A shorter one counts as followed by zeros.

use crate::protocol::Reply;
use crate::store::{Deadline, Keyspace};

use super::super::{Call, CommandError, CommandResult};
use super::bytes;

#[derive(Clone, Copy)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

pub fn bitop(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let operation = operation(call)?;
    let mut result = Vec::new();
    let mut sources = Vec::with_capacity(call.len() - 3);
    for index in 3..call.len() {
        sources.push(bytes(keyspace, call, index)?.unwrap_or_default());
    }
    let length = sources.iter().map(|source| source.len()).max().unwrap_or(0);
    for (number, source) in sources.iter().enumerate() {
        match number {
            0 => {
                result.extend_from_slice(source);
                result.resize(length, 0);
            }
            _ => combine(&mut result, source, operation),
        }
    }
    if let Operation::Not = operation {
        result.iter_mut().for_each(|byte| *byte = !*byte);
    }
    drop(sources);
    let target = call.arg(2);
    if length == 0 {
        keyspace.remove(target, call.now);
    } else {
        keyspace.set_bytes(target, result, true, Deadline::None, call.now);
    }
    reply.int(length as i64);
    Ok(())
}

fn operation(call: &Call) -> Result<Operation, CommandError> {
    let operations = [
        ("AND", Operation::And),
        ("OR", Operation::Or),
        ("XOR", Operation::Xor),
        ("NOT", Operation::Not),
    ];
    let found = operations.iter().find(|(word, _)| call.is_word(1, word));
    let (_, operation) = *found.ok_or(CommandError::Syntax)?;
    if matches!(operation, Operation::Not) && call.len() != 4 {
        return Err(CommandError::new(
            "ERR BITOP NOT must be called with a single source key.",
        ));
    }
    Ok(operation)
}

/// Combines a source into the result, which is at least as long.
fn combine(result: &mut [u8], source: &[u8], operation: Operation) {
    let (common, rest) = result.split_at_mut(source.len());
    let pairs = common.iter_mut().zip(source);
    match operation {
        Operation::And => {
            pairs.for_each(|(byte, other)| *byte &= other);
            rest.fill(0);
        }
        Operation::Or => pairs.for_each(|(byte, other)| *byte |= other),
        Operation::Xor => pairs.for_each(|(byte, other)| *byte ^= other),
        Operation::Not => {}
    }
}
