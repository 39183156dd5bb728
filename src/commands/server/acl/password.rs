//! ACL GENPASS: chance from the system, in hexadecimal digits.

use crate::protocol::Reply;

use super::super::super::registry::subcommand_syntax;
use super::super::super::{Call, CommandError, CommandResult, Host};

const BITS_DEFAULT: i64 = 256;
const BITS_MAX: i64 = 4096;
const BITS_PER_DIGIT: usize = 4;

pub fn genpass(host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    let bits = match call.len() {
        2 => BITS_DEFAULT,
        3 => call.int(2)?,
        _ => return Err(CommandError::new(subcommand_syntax(&call.args))),
    };
    if !(1..=BITS_MAX).contains(&bits) {
        return Err(CommandError::new(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             {BITS_MAX}"
        )));
    }
    let digits = (bits as usize).div_ceil(BITS_PER_DIGIT);
    let mut bytes = vec![0; digits.div_ceil(2)];
    host.fill_random(&mut bytes)
        .map_err(|error| CommandError::new(format!("ERR the system gives no chance: {error}")))?;
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(digits);
    reply.bulk(text.as_bytes());
    Ok(())
}
