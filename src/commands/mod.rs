//! The command table: a file per family, one entry per command, and the handlers. Knows store and protocol,
//! no sockets, no node.

pub mod acl_log;
mod bitmaps;
mod call;
pub mod cluster;
mod connection;
mod element;
mod error;
pub mod gate;
mod generic;
mod hashes;
mod help;
pub mod histogram;
pub mod host;
mod internal;
pub mod latency;
mod lists;
mod random;
mod registry;
pub mod report;
mod scan;
mod server;
mod session;
mod sets;
pub mod slowlog;
mod spec;
mod strings;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
pub mod testing_host;
mod zsets;

pub use call::Call;
pub use error::{CommandError, CommandResult};
pub use host::{ClientReport, Host, Pause, Pending, Shutdown};
pub use internal::{limits_args, put_args};
pub use registry::{for_each_key, registry, wrong_arity, Registered, Registry};
pub use session::{Replies, Session};
pub use spec::{
    Acl, Arg, ArgKind, Arity, Begin, Command, Find, Flags, Group, KeyFlags, KeySpec, Merge,
    MoreKeys, Run, Spread,
};

/// Every family's commands.
// One family a line.
static FAMILIES: &[&[Command]] = &[
    bitmaps::COMMANDS,
    cluster::COMMANDS,
    connection::COMMANDS,
    generic::DATABASES,
    generic::DEADLINES,
    generic::KEYS,
    generic::OBJECT,
    generic::SORT,
    hashes::COMMANDS,
    internal::COMMANDS,
    lists::COMMANDS,
    server::COMMANDS,
    sets::COMMANDS,
    strings::COMMANDS,
    zsets::add::COMMANDS,
    zsets::combine::COMMANDS,
    zsets::random::COMMANDS,
    zsets::range::COMMANDS,
    zsets::read::COMMANDS,
    zsets::remove::COMMANDS,
];
