//! Which connections CLIENT LIST and CLIENT KILL mean.

use super::super::host::ClientReport;
use super::super::{Call, CommandError};
use super::DEFAULT_USER;

/// The kind of a connection, in the words of CLIENT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Pubsub,
    /// Replicas and masters are no clients here: nothing matches.
    Nobody,
}

/// Conditions that a connection must all meet.
#[derive(Default)]
pub struct Filter {
    ids: Option<Vec<u64>>,
    kind: Option<Kind>,
    address: Option<String>,
    local_address: Option<String>,
    spare_self: bool,
}

impl Filter {
    /// CLIENT LIST's arguments.
    pub fn parse_list(call: &Call) -> Result<Self, CommandError> {
        let mut filter = Self::default();
        if call.len() == 4 && call.is_word(2, "TYPE") {
            filter.kind = Some(parse_kind(call.arg(3))?);
        } else if call.len() > 3 && call.is_word(2, "ID") {
            let invalid = |_| CommandError::new("ERR Invalid client ID");
            let ids = (3..call.len())
                .map(|at| call.int(at).map(|id| id as u64).map_err(invalid))
                .collect::<Result<_, _>>()?;
            filter.ids = Some(ids);
        } else if call.len() != 2 {
            return Err(CommandError::Syntax);
        }
        Ok(filter)
    }

    /// CLIENT KILL's arguments: one address, or conditions by name.
    pub fn parse_kill(call: &Call) -> Result<Self, CommandError> {
        if call.len() == 3 {
            return Ok(Self {
                address: Some(text(call.arg(2))),
                ..Self::default()
            });
        }
        let mut filter = Self {
            spare_self: true,
            ..Self::default()
        };
        for at in (2..call.len()).step_by(2) {
            if at + 1 == call.len() {
                return Err(CommandError::Syntax);
            }
            filter.parse_condition(call, at)?;
        }
        Ok(filter)
    }

    fn parse_condition(&mut self, call: &Call, at: usize) -> Result<(), CommandError> {
        let value = call.arg(at + 1);
        if call.is_word(at, "ID") {
            let id = call.int(at + 1).ok().and_then(|id| u64::try_from(id).ok());
            let id = id
                .filter(|id| *id > 0)
                .ok_or(CommandError::new("ERR client-id should be greater than 0"))?;
            self.ids = Some(vec![id]);
        } else if call.is_word(at, "TYPE") {
            self.kind = Some(parse_kind(value)?);
        } else if call.is_word(at, "ADDR") {
            self.address = Some(text(value));
        } else if call.is_word(at, "LADDR") {
            self.local_address = Some(text(value));
        } else if call.is_word(at, "USER") {
            // All connections are the default user's, so this condition holds for each of them.
            if value != DEFAULT_USER {
                return Err(CommandError::new(format!(
                    "ERR No such user '{}'",
                    text(value)
                )));
            }
        } else if call.is_word(at, "SKIPME") {
            self.spare_self = match () {
                () if call.is_word(at + 1, "YES") => true,
                () if call.is_word(at + 1, "NO") => false,
                () => return Err(CommandError::Syntax),
            };
        } else {
            return Err(CommandError::Syntax);
        }
        Ok(())
    }

    /// Whether the connection that asks is left alone.
    pub fn skips_self(&self) -> bool {
        self.spare_self
    }

    pub fn lets_through(&self, client: &ClientReport) -> bool {
        let kind = match client.channels + client.patterns {
            0 => Kind::Normal,
            _ => Kind::Pubsub,
        };
        let equal =
            |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|w| w == found);
        self.ids.as_ref().is_none_or(|ids| ids.contains(&client.id))
            && self.kind.is_none_or(|wanted| wanted == kind)
            && equal(&self.address, &client.address)
            && equal(&self.local_address, &client.local_address)
    }
}

fn parse_kind(word: &[u8]) -> Result<Kind, CommandError> {
    match word.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(Kind::Normal),
        b"pubsub" => Ok(Kind::Pubsub),
        b"master" | b"replica" | b"slave" => Ok(Kind::Nobody),
        _ => Err(CommandError::new(format!(
            "ERR Unknown client type '{}'",
            text(word)
        ))),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
