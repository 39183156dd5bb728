//! Commands on a single bit.

use crate::protocol::Reply;
use crate::store::Keyspace;

use super::super::{Call, CommandError, CommandResult};
use super::bit_offset;

pub fn getbit(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let offset = bit_offset(keyspace, call.arg(2), None)?;
    let string = keyspace.get_str(call.arg(1), call.now)?;
    let bit = string.is_some_and(|string| string.with_bytes(|bytes| bit(bytes, offset)));
    reply.int(bit.into());
    Ok(())
}

/// The bit at `offset`; beyond the end all are clear.
fn bit(bytes: &[u8], offset: u64) -> bool {
    bytes
        .get((offset / 8) as usize)
        .is_some_and(|byte| byte & mask(offset) != 0)
}

fn mask(offset: u64) -> u8 {
    0x80 >> (offset % 8)
}

pub fn setbit(keyspace: &mut Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let offset = bit_offset(keyspace, call.arg(2), None)?;
    let on = match call.arg(3) {
        b"0" => false,
        b"1" => true,
        _ => {
            return Err(CommandError::new(
                "ERR bit is not an integer or out of range",
            ))
        }
    };
    let was = keyspace.edit_str(call.arg(1), call.now, |bytes| {
        let was = bit(bytes, offset);
        let place = (offset / 8) as usize;
        if bytes.len() <= place {
            bytes.resize(place + 1, 0);
        }
        if on {
            bytes[place] |= mask(offset);
        } else {
            bytes[place] &= !mask(offset);
        }
        was
    })?;
    reply.int(was.into());
    Ok(())
}
