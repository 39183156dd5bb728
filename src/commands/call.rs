//! One invocation of a command: its arguments, and the time and chance it may use.

use crate::protocol::{Args, Proto};
use crate::store::{Rng, Timestamp};

use super::CommandError;

/// What a handler is given beside the data it works on.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The whole argument vector; `args[0]` is the command's name, for a subcommand `args[1]` too.
    pub args: Args<'a>,
    /// The entry's stamp, or for a read the node's clock; never older than the shard's last stamp.
    pub now: Timestamp,
    /// Seed of this command's random choices; the same on every replica.
    pub seed: u64,
    /// The selected database.
    pub database: u16,
    pub proto: Proto,
}

impl<'a> Call<'a> {
    #[inline]
    pub fn arg(&self, index: usize) -> &'a [u8] {
        self.args.at(index)
    }

    pub fn len(&self) -> usize {
        self.args.len()
    }

    pub fn is_empty(&self) -> bool {
        self.args.is_empty()
    }

    /// Random choices of this call.
    pub fn rng(&self) -> Rng {
        Rng::new(self.seed)
    }

    /// Whether argument `index` is there and is the word `word`, in any case.
    pub fn is_word(&self, index: usize, word: &str) -> bool {
        self.args
            .get(index)
            .is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// Argument `index` as a signed 64-bit integer in Redis' strict notation.
    pub fn int(&self, index: usize) -> Result<i64, CommandError> {
        crate::store::canonical_int(self.arg(index)).ok_or(CommandError::NotAnInteger)
    }

    /// As [`Call::int`], within bounds.
    pub fn int_within(&self, index: usize, min: i64, max: i64) -> Result<i64, CommandError> {
        let value = self.int(index)?;
        if value < min || value > max {
            return Err(CommandError::new(format!(
                "ERR value is out of range, value must between {min} and {max}"
            )));
        }
        Ok(value)
    }

    /// As [`Call::int`], at least `min`; else, and where it is no integer, the error is `message`.
    pub fn int_at_least(
        &self,
        index: usize,
        min: i64,
        message: &'static str,
    ) -> Result<i64, CommandError> {
        match self.int(index) {
            Ok(value) if value >= min => Ok(value),
            _ => Err(CommandError::new(message)),
        }
    }
}
