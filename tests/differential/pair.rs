//! The two servers side by side, and the memory of what both were told.

use std::io;

use crate::command::{Check, Command};
use crate::compare;
use crate::differences::{self, Case};
use crate::resp::{self, Value};
use crate::server::{Proto, Server};

/// Commands that are remembered to explain a mismatch.
const HISTORY_MAX: usize = 60_000;

/// A command that both servers have been told, and where.
#[derive(Clone)]
pub struct Told {
    pub database: usize,
    pub proto: Proto,
    pub command: Command,
}

/// Two replies that should mean the same and do not.
pub struct Mismatch {
    pub told: Told,
    pub redis: String,
    pub ringfort: String,
    /// Length of the history before this command.
    pub before: usize,
    /// The command alone shows it: the replies can be compared again at the end of a shorter stream.
    pub shrinkable: bool,
}

/// What went wrong: a mismatch, or a server that is gone.
pub enum Trouble {
    Mismatch(Box<Mismatch>),
    Gone(String),
}

pub struct Pair {
    pub redis: Server,
    pub ringfort: Server,
    /// What the connections have selected.
    database: [usize; 2],
    pub history: Vec<Told>,
    /// How often each meant difference was seen.
    pub explained: std::collections::BTreeMap<&'static str, usize>,
}

impl Pair {
    pub fn start(redis: &str, ringfort: &str, threads: usize) -> io::Result<Self> {
        Ok(Self {
            redis: Server::redis(redis)?,
            ringfort: Server::ringfort(ringfort, threads)?,
            database: [0; 2],
            history: Vec::new(),
            explained: Default::default(),
        })
    }

    /// SELECT on both, when the connection is elsewhere.
    pub fn select(&mut self, proto: Proto, database: usize) -> Result<(), Trouble> {
        if self.database[proto as usize] == database {
            return Ok(());
        }
        let args = [b"SELECT".to_vec(), database.to_string().into_bytes()];
        let (redis, ringfort) = self.call_both(proto, &args)?;
        if redis != ringfort {
            let command = Command::new(args.to_vec());
            return Err(self.mismatch(proto, command, &redis, &ringfort));
        }
        self.database[proto as usize] = database;
        Ok(())
    }

    pub fn database(&self, proto: Proto) -> usize {
        self.database[proto as usize]
    }

    /// After a restart every connection is in database 0.
    pub fn forget_databases(&mut self) {
        self.database = [0; 2];
    }

    /// Sends a batch to both servers and compares all replies.
    pub fn batch(&mut self, proto: Proto, commands: &[Command]) -> Result<(), Trouble> {
        if self.history.len() >= HISTORY_MAX {
            self.history.drain(..HISTORY_MAX / 4);
        }
        let mut bytes = Vec::new();
        for command in commands {
            resp::encode(&mut bytes, &command.args);
        }
        self.redis
            .send(proto, &bytes)
            .map_err(|e| gone("redis", &e))?;
        let sent = self
            .ringfort
            .send(proto, &bytes)
            .map_err(|error| error.to_string());
        let mut kind = None;
        let mut trouble = None;
        for command in commands {
            let redis = self.redis.reply(proto).map_err(|e| gone("redis", &e))?;
            let mut reply = || {
                self.ringfort
                    .reply(proto)
                    .map_err(|error| error.to_string())
            };
            let ringfort = match sent.clone().and_then(|()| reply()) {
                Ok(reply) => reply,
                Err(error) => {
                    let text = format!("no reply: {error}");
                    return Err(trouble.unwrap_or_else(|| {
                        self.trouble(proto, command.clone(), format!("{redis:?}"), text)
                    }));
                }
            };
            if trouble.is_none() && !self.agree(command, kind.as_ref(), &redis, &ringfort) {
                trouble = Some(self.mismatch(proto, command.clone(), &redis, &ringfort));
            }
            self.remember(proto, command.clone());
            kind = Some(redis);
        }
        trouble.map_or(Ok(()), Err)
    }

    /// One command to both, compared and remembered.
    pub fn told(&mut self, proto: Proto, command: Command) -> Result<(Value, Value), Trouble> {
        let replies = self.asked(proto, command.clone());
        self.remember(proto, command);
        replies
    }

    /// One command to both, compared but not remembered: it changes nothing.
    pub fn asked(&mut self, proto: Proto, command: Command) -> Result<(Value, Value), Trouble> {
        let (redis, ringfort) = self.call_both(proto, &command.args)?;
        if !self.agree(&command, None, &redis, &ringfort) {
            return Err(self.mismatch(proto, command, &redis, &ringfort));
        }
        Ok((redis, ringfort))
    }

    /// One command to both, not compared.
    pub fn call_both(&mut self, proto: Proto, args: &[Vec<u8>]) -> Result<(Value, Value), Trouble> {
        let redis = self
            .redis
            .call(proto, args)
            .map_err(|e| gone("redis", &e))?;
        let ringfort = self.ringfort.call(proto, args).map_err(|error| {
            let command = Command::new(args.to_vec());
            let text = format!("no reply: {error}");
            self.trouble(proto, command, format!("{redis:?}"), text)
        })?;
        Ok((redis, ringfort))
    }

    /// Remembers a command that stands for what both did.
    pub fn remember(&mut self, proto: Proto, command: Command) {
        let database = self.database[proto as usize];
        self.history.push(Told {
            database,
            proto,
            command,
        });
    }

    fn agree(
        &mut self,
        command: &Command,
        kind: Option<&Value>,
        redis: &Value,
        ringfort: &Value,
    ) -> bool {
        if compare::same(command.check, redis, ringfort) {
            if command.check == Check::Scores && redis != ringfort {
                *self.explained.entry(differences::DIGITS).or_default() += 1;
            }
            return true;
        }
        let kind = kind.and_then(Value::text);
        let case = Case {
            command,
            kind,
            redis,
            ringfort,
        };
        let Some(id) = differences::explain(&case) else {
            return false;
        };
        *self.explained.entry(id).or_default() += 1;
        true
    }

    fn mismatch(&self, proto: Proto, command: Command, redis: &Value, ringfort: &Value) -> Trouble {
        self.trouble(
            proto,
            command,
            format!("{redis:?}"),
            format!("{ringfort:?}"),
        )
    }

    /// A mismatch whose command can be asked again.
    fn trouble(&self, proto: Proto, command: Command, redis: String, ringfort: String) -> Trouble {
        let database = self.database[proto as usize];
        Trouble::Mismatch(Box::new(Mismatch {
            told: Told {
                database,
                proto,
                command,
            },
            redis,
            ringfort,
            before: self.history.len(),
            shrinkable: true,
        }))
    }

    /// A mismatch that shows only over several commands; `what` says which.
    pub fn oddity(
        &self,
        proto: Proto,
        command: &Command,
        redis: String,
        ringfort: String,
    ) -> Trouble {
        match self.trouble(proto, command.clone(), redis, ringfort) {
            Trouble::Mismatch(mut mismatch) => {
                mismatch.shrinkable = false;
                Trouble::Mismatch(mismatch)
            }
            gone => gone,
        }
    }
}

fn gone(name: &str, error: &io::Error) -> Trouble {
    Trouble::Gone(format!("{name} does not answer: {error}"))
}
