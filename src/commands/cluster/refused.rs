//! CLUSTER's orders to change slots or members by hand: refused, with ringfort's way to the same end.

use crate::protocol::Reply;

use super::{check_port, Call, CommandError, CommandResult, Host, Session};

fn refuse(session: &Session, host: &dyn Host, call: &Call, way: &str) -> CommandResult {
    check_port(session, host)?;
    let name = String::from_utf8_lossy(call.arg(1)).to_ascii_uppercase();
    Err(CommandError::new(format!(
        "ERR CLUSTER {name} is not for clients here: {way}"
    )))
}

/// ADDSLOTS, DELSLOTS and their like.
pub fn slots(session: &mut Session, host: &dyn Host, call: &Call, _: &mut Reply) -> CommandResult {
    let way =
        "ringfort places all slots by itself; to add a node, start it with --join HOST:PEERPORT";
    refuse(session, host, call, way)
}

/// MEET.
pub fn meet(session: &mut Session, host: &dyn Host, call: &Call, _: &mut Reply) -> CommandResult {
    let way = "start the new node with --join HOST:PEERPORT of any node";
    refuse(session, host, call, way)
}

/// FORGET.
pub fn forget(session: &mut Session, host: &dyn Host, call: &Call, _: &mut Reply) -> CommandResult {
    let way = "a node that stays away is replaced by the others, where there are enough";
    refuse(session, host, call, way)
}

/// REPLICATE and FAILOVER.
pub fn roles(session: &mut Session, host: &dyn Host, call: &Call, _: &mut Reply) -> CommandResult {
    let way =
        "ringfort places the copies of each shard (--replicas) and elects their leaders by itself";
    refuse(session, host, call, way)
}

/// RESET.
pub fn reset(session: &mut Session, host: &dyn Host, call: &Call, _: &mut Reply) -> CommandResult {
    let way = "stop the node and start it on an empty data directory";
    refuse(session, host, call, way)
}

/// BUMPEPOCH, SET-CONFIG-EPOCH and SAVECONFIG.
pub fn epochs(session: &mut Session, host: &dyn Host, call: &Call, _: &mut Reply) -> CommandResult {
    let way = "ringfort numbers and stores its topology by itself";
    refuse(session, host, call, way)
}
