//! The command table: a file per family, one entry per command, and the handlers. Knows store and protocol,
//! no sockets, no node.

mod bitmaps;
mod call;
mod connection;
mod error;
pub mod gate;
pub mod glob;
mod help;
mod element;
mod error;
pub mod glob;
mod hashes;
pub mod histogram;
pub mod host;
mod internal;
pub mod latency;
mod lists;
mod random;
mod registry;
pub mod report;
mod scan;
mod session;
pub mod slowlog;
mod spec;
mod strings;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
pub mod testing_host;

pub use call::Call;
pub use error::{CommandError, CommandResult};
pub use host::{ClientReport, Host, Pause, Pending, Shutdown};
pub use internal::limits_args;
pub use registry::{for_each_key, registry, wrong_arity, Registered, Registry};
pub use session::{Replies, Session};
pub use spec::{
    Acl, Arg, ArgKind, Arity, Begin, Command, Find, Flags, Group, KeyFlags, KeySpec, Merge, Run,
    Spread,
};

/// Every family's commands.
static FAMILIES: &[&[Command]] = &[bitmaps::COMMANDS, strings::COMMANDS];
static FAMILIES: &[&[Command]] = &[connection::COMMANDS, strings::COMMANDS];
// One family a line.
static FAMILIES: &[&[Command]] = &[
    hashes::COMMANDS,
    internal::COMMANDS,
    lists::COMMANDS,
    strings::COMMANDS,
];
