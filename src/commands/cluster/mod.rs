//! CLUSTER, READONLY, READWRITE and ASKING: what cluster-aware clients ask. The cluster's shape comes from the node as
//! a [`ClusterView`]; these commands never change it.

pub mod port;
mod refused;
mod show;
mod table;
#[cfg(test)]
mod tests;
pub mod view;

pub use table::COMMANDS;
pub use view::{ClusterView, SlotRange, ViewNode};

use crate::protocol::Reply;

use super::{Call, CommandError, CommandResult, Host, Pending, Session};
use view::SLOTS;

/// Redis' words, then where to go.
fn disabled(host: &dyn Host) -> CommandError {
    let port = host.settings().startup().cluster.cluster_port;
    CommandError::new(match port {
        0 => "ERR This instance has cluster support disabled: there is no cluster-port".to_string(),
        port => format!(
            "ERR This instance has cluster support disabled on this port: cluster clients connect to cluster-port {port}"
        ),
    })
}

/// Cluster-aware clients come in by the cluster port alone.
fn check_port(session: &Session, host: &dyn Host) -> CommandResult {
    match session.is_cluster {
        true => Ok(()),
        false => Err(disabled(host)),
    }
}

fn asking(session: &mut Session, host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    // Slots never stand between two nodes: there is no -ASK to be asked for.
    check_port(session, host)?;
    reply.ok();
    Ok(())
}

fn readonly(session: &mut Session, host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    check_port(session, host)?;
    session.is_readonly = true;
    host.want_follower_reads();
    reply.ok();
    Ok(())
}

fn readwrite(session: &mut Session, host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    check_port(session, host)?;
    session.is_readonly = false;
    reply.ok();
    Ok(())
}

/// On both ports: it also tells plain clients which keys share a shard.
fn keyslot(host: &dyn Host, call: &Call, reply: &mut Reply) -> CommandResult {
    reply.int(i64::from(host.slot_of(call.arg(2))));
    Ok(())
}

fn info(session: &mut Session, host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    check_port(session, host)?;
    reply.verbatim("txt", show::info(&host.cluster_view()).as_bytes());
    Ok(())
}

fn nodes(session: &mut Session, host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    check_port(session, host)?;
    reply.verbatim("txt", show::nodes(&host.cluster_view()).as_bytes());
    Ok(())
}

fn slots(session: &mut Session, host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    check_port(session, host)?;
    show::slots(&host.cluster_view(), reply);
    Ok(())
}

fn shards(session: &mut Session, host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    check_port(session, host)?;
    show::shards(&host.cluster_view(), reply);
    Ok(())
}

/// MYID, and MYSHARDID: what Redis calls a shard is a node here.
fn myid(session: &mut Session, host: &dyn Host, _: &Call, reply: &mut Reply) -> CommandResult {
    check_port(session, host)?;
    reply.bulk(host.cluster_view().own_id.as_bytes());
    Ok(())
}

/// All workers have links of their own, one for each kind of traffic.
fn links(session: &mut Session, host: &dyn Host, _: &Call, _: &mut Reply) -> CommandResult {
    check_port(session, host)?;
    session.pending = Some(Pending::Links(session.proto));
    Ok(())
}

/// Which copies there are is no client's business: every node is shown as a master without replicas.
fn replicas(
    session: &mut Session,
    host: &dyn Host,
    call: &Call,
    reply: &mut Reply,
) -> CommandResult {
    check_port(session, host)?;
    check_node(host, call)?;
    reply.array(0);
    Ok(())
}

/// Nobody reports failures of others: each shard's leader is found by election.
fn failure_reports(
    session: &mut Session,
    host: &dyn Host,
    call: &Call,
    reply: &mut Reply,
) -> CommandResult {
    check_port(session, host)?;
    check_node(host, call)?;
    reply.int(0);
    Ok(())
}

fn check_node(host: &dyn Host, call: &Call) -> CommandResult {
    let id = call.arg(2);
    match host.cluster_view().node(id) {
        Some(_) => Ok(()),
        None => Err(CommandError::new(format!(
            "ERR Unknown node {}",
            String::from_utf8_lossy(id)
        ))),
    }
}

fn count_keys(session: &mut Session, host: &dyn Host, call: &Call, _: &mut Reply) -> CommandResult {
    check_port(session, host)?;
    let slot = slot(call.int(2)?).ok_or(CommandError::new("ERR Invalid slot"))?;
    session.pending = Some(Pending::CountKeysInSlot(slot));
    Ok(())
}

fn get_keys(session: &mut Session, host: &dyn Host, call: &Call, _: &mut Reply) -> CommandResult {
    check_port(session, host)?;
    let (number, count) = (call.int(2)?, call.int(3)?);
    let count = usize::try_from(count).ok();
    let (slot, count) = slot(number)
        .zip(count)
        .ok_or(CommandError::new("ERR Invalid slot or number of keys"))?;
    session.pending = Some(Pending::KeysInSlot { slot, count });
    Ok(())
}

/// The slot of this number, if there is one.
fn slot(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|&slot| slot < SLOTS)
}
