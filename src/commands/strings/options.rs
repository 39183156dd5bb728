//! The options that SET and GETEX share: conditions and expiry times.

use crate::store::Timestamp;

use super::super::{Call, CommandError};

/// Which of the two commands reads the options; some words mean something to one of them only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    Set,
    GetEx,
}

/// In what an expiry time is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    Milliseconds,
    UnixSeconds,
    UnixMilliseconds,
}

const UNITS: [(&str, Unit); 4] = [
    ("EX", Unit::Seconds),
    ("PX", Unit::Milliseconds),
    ("EXAT", Unit::UnixSeconds),
    ("PXAT", Unit::UnixMilliseconds),
];

impl Unit {
    /// Whether the time is a moment, not a span from now.
    pub fn is_absolute(self) -> bool {
        matches!(self, Unit::UnixSeconds | Unit::UnixMilliseconds)
    }

    fn is_seconds(self) -> bool {
        matches!(self, Unit::Seconds | Unit::UnixSeconds)
    }
}

/// What stood behind the key (and the value).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub only_new: bool,
    pub only_existing: bool,
    pub get: bool,
    pub keep_ttl: bool,
    pub persist: bool,
    /// The expiry's unit and the argument that holds the number.
    pub expiry: Option<(Unit, usize)>,
}

impl Options {
    /// Reads the arguments from `first` on. Words may repeat; those that exclude each other are a syntax error.
    pub fn read(call: &Call, first: usize, reader: For) -> Result<Options, CommandError> {
        let mut options = Options::default();
        let mut at = first;
        while at < call.len() {
            at += options.take(call, at, reader)?;
        }
        Ok(options)
    }

    /// Takes up the option at `at` and tells how many arguments it has.
    fn take(&mut self, call: &Call, at: usize, reader: For) -> Result<usize, CommandError> {
        let is = |word| call.is_word(at, word);
        let set = reader == For::Set;
        if set && is("NX") && !self.only_existing {
            self.only_new = true;
        } else if set && is("XX") && !self.only_new {
            self.only_existing = true;
        } else if set && is("GET") {
            self.get = true;
        } else if set && is("KEEPTTL") && self.expiry.is_none() {
            self.keep_ttl = true;
        } else if !set && is("PERSIST") && self.expiry.is_none() {
            self.persist = true;
        } else {
            let unit = UNITS.iter().find(|(word, _)| is(word));
            let (_, unit) = *unit.ok_or(CommandError::Syntax)?;
            let other = self.expiry.is_some_and(|(before, _)| before != unit);
            if other || self.keep_ttl || self.persist || at + 1 == call.len() {
                return Err(CommandError::Syntax);
            }
            self.expiry = Some((unit, at + 1));
            return Ok(2);
        }
        Ok(1)
    }
}

/// The moment that argument `index` tells, in `unit`; `command` names the command in the error.
pub fn moment(
    call: &Call,
    index: usize,
    unit: Unit,
    command: &str,
) -> Result<Timestamp, CommandError> {
    let invalid = || CommandError::new(format!("ERR invalid expire time in '{command}' command"));
    let number = call.int(index)?;
    if number <= 0 {
        return Err(invalid());
    }
    let factor = if unit.is_seconds() { 1000 } else { 1 };
    let base = if unit.is_absolute() {
        0
    } else {
        i64::try_from(call.now.0).map_err(|_| invalid())?
    };
    let at = number
        .checked_mul(factor)
        .and_then(|ms| ms.checked_add(base))
        .ok_or_else(invalid)?;
    Ok(Timestamp(at as u64))
}
