//! The copy of the meta group on a node: a shard whose state is the topology. Its entries travel and are kept like those of any shard.

use ringfort_cluster::meta::MetaCommand;
use ringfort_cluster::topology::Topology;

use crate::commands::{Call, CommandError, CommandResult};
use crate::protocol::Reply;

/// Applies a command of the meta group. Replies with the epoch after it, and whether anything changed.
///
/// # Errors
/// What the topology refuses, in words.
pub(super) fn apply(
    topology: Option<&mut Topology>,
    call: &Call,
    reply: &mut Reply,
) -> CommandResult {
    let Some(topology) = topology else {
        return Err(CommandError::new("ERR not the meta group"));
    };
    let command = MetaCommand::decode(call.arg(1))
        .map_err(|error| CommandError::new(format!("ERR {error}")))?;
    let done = topology
        .apply(&command)
        .map_err(|error| CommandError::new(format!("META {error}")))?;
    reply.array(2);
    reply.int(done.epoch.0 as i64);
    reply.int(i64::from(done.changed));
    Ok(())
}
