//! Runs commands on one in-memory shard, for the families' unit tests: no log, no sockets, a clock that
//! stands still until told otherwise.

use crate::protocol::{Args, OwnedArgs, Proto, Reply};
use crate::store::{Databases, Limits, Timestamp};

use super::{registry, Call, CommandError, CommandResult, Run, Spread};

/// A shard with 16 databases and a clock.
pub struct Shard {
    pub databases: Databases,
    pub now: Timestamp,
    pub seed: u64,
    pub database: u16,
    pub proto: Proto,
}

impl Default for Shard {
    fn default() -> Self {
        Self::new()
    }
}

impl Shard {
    pub fn new() -> Self {
        Self {
            databases: Databases::new(16, (1, 2), Limits::default()),
            now: Timestamp(1_700_000_000_000),
            seed: 42,
            database: 0,
            proto: Proto::Resp2,
        }
    }

    pub fn resp3() -> Self {
        Self {
            proto: Proto::Resp3,
            ..Self::new()
        }
    }

    /// Lets `ms` milliseconds pass.
    pub fn advance(&mut self, ms: u64) {
        self.now.0 += ms;
    }

    /// Runs a command given as words separated by spaces, and returns the raw reply with CRLF shown as a
    /// space: `run("LRANGE l 0 -1")` gives `*1 $1 a`.
    pub fn run(&mut self, line: &str) -> String {
        self.run_args(line.split(' '))
    }

    /// As [`Shard::run`] with any arguments.
    pub fn run_args<I, A>(&mut self, args: I) -> String
    where
        I: IntoIterator<Item = A>,
        A: AsRef<[u8]>,
    {
        let reply = self.raw(&OwnedArgs::new(args).as_args());
        let text = String::from_utf8_lossy(&reply).replace("\r\n", " ");
        text.trim_end_matches(' ').to_string()
    }

    /// The raw reply.
    pub fn raw(&mut self, args: &Args) -> Vec<u8> {
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, self.proto);
        if let Err(error) = self.dispatch(args, &mut reply) {
            reply.rewind(0);
            error.write(&mut reply);
        }
        out
    }

    fn dispatch(&mut self, args: &Args, reply: &mut Reply) -> CommandResult {
        let found = registry().resolve(args).map_err(CommandError::new)?;
        self.seed = self.seed.wrapping_add(1);
        let call = Call {
            args: *args,
            now: self.now,
            seed: self.seed,
            database: self.database,
            proto: self.proto,
        };
        assert!(
            !matches!(found.command.spread, Spread::Cursor | Spread::Draw),
            "{} walks over shards: test it through a node",
            found.full_name
        );
        match found.command.run {
            Run::Read(run) => run(self.databases.keyspace(self.database), &call, reply),
            Run::Write(run) => run(self.databases.keyspace_mut(self.database), &call, reply),
            Run::Databases(run) => run(&mut self.databases, &call, reply),
            Run::Session(_) | Run::Admin(_) | Run::Meta | Run::Container => {
                panic!("{} does not run on a shard", found.full_name)
            }
        }
    }
}
