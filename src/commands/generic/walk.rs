//! SCAN, KEYS and RANDOMKEY, on one shard; a node walks over its shards.

use crate::commands::scan::{parse_cursor, ScanOptions};
use crate::commands::{Call, CommandResult};
use crate::protocol::Reply;
use crate::settings::glob;
use crate::store::Keyspace;

/// One step over this shard. The cursor is the hash to go on from, in the order of [`Keyspace::scan`]; 0
/// begins and 0 ends. Clients see another one, which names the shard too.
pub fn scan(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let from = parse_cursor(call.arg(1))?;
    let options = ScanOptions::parse(call, 2, true)?;
    let mut keys = Vec::new();
    let mut shown = 0;
    let mut out = Reply::new(&mut keys, call.proto);
    let next = keyspace.scan(from, options.count, call.now, |key, value| {
        let wanted_type = options
            .type_name
            .is_none_or(|name| name.eq_ignore_ascii_case(value.type_name().as_bytes()));
        if wanted_type && options.lets_through(key) {
            out.bulk(key);
            shown += 1;
        }
    });
    reply.array(2);
    reply.bulk(next.unwrap_or(0).to_string().as_bytes());
    reply.array(shown);
    reply.raw(&keys);
    Ok(())
}

pub fn keys(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    let pattern = call.arg(1);
    let mut keys = Vec::new();
    let mut shown = 0;
    let mut out = Reply::new(&mut keys, call.proto);
    keyspace.for_each(call.now, |key, _, _| {
        if pattern == b"*" || glob::matches(pattern, key) {
            out.bulk(key);
            shown += 1;
        }
    });
    reply.array(shown);
    reply.raw(&keys);
    Ok(())
}

pub fn randomkey(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    reply.bulk_or_null(keyspace.random_key(&mut call.rng(), call.now));
    Ok(())
}
