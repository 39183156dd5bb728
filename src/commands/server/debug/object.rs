//! DEBUG OBJECT: how a value is stored.

use crate::protocol::Reply;
use crate::store::{rdb, Keyspace, ValueRef};

use super::super::super::{Call, CommandError, CommandResult};

/// Bytes of a DUMP payload beside the value: type in front, version and checksum behind.
const DUMP_FRAME_BYTES: usize = 1 + 2 + 8;

pub fn object(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    if call.len() > 4 || call.len() == 4 && !call.is_word(3, "FAST") {
        return Err(CommandError::new(
            super::super::super::registry::subcommand_syntax(&call.args),
        ));
    }
    let (key, now) = (call.arg(2), call.now);
    let (Some(value), Some(encoding), Some(access)) = (
        keyspace.peek(key, now),
        keyspace.encoding(key, now),
        keyspace.access_bits(key, now),
    ) else {
        return Err(CommandError::NoSuchKey);
    };
    let mut text = format!("Value at:0x0 refcount:1 encoding:{encoding}");
    // FAST leaves out what costs time with large values.
    if call.len() == 3 {
        let bytes = rdb::dump(value).len().saturating_sub(DUMP_FRAME_BYTES);
        text.push_str(&format!(" serializedlength:{bytes}"));
    }
    let idle = keyspace.access.idle_seconds(access, now);
    text.push_str(&format!(" lru:{access} lru_seconds_idle:{idle}"));
    if let (ValueRef::List(list), "quicklist") = (value, encoding) {
        let nodes = list.nodes().count();
        let mean = list.len() as f64 / nodes.max(1) as f64;
        let limit = keyspace.limits().list_max_listpack_size;
        text.push_str(&format!(
            " ql_nodes:{nodes} ql_avg_node:{mean:.2} ql_listpack_max:{limit} ql_compressed:0 ql_uncompressed_size:{}",
            list.heap_bytes()
        ));
    }
    reply.simple(&text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::super::testing::Shard;

    #[test]
    fn a_value_tells_its_encoding_and_length() {
        let mut shard = Shard::new();
        shard.run("SET a b");
        shard.run("SET n 12");
        shard.advance(3_000);
        let reply = shard.run("DEBUG OBJECT a");
        assert!(
            reply.starts_with("+Value at:0x0 refcount:1 encoding:embstr serializedlength:2 lru:")
        );
        assert!(reply.ends_with("lru_seconds_idle:3"), "{reply}");
        assert!(shard
            .run("DEBUG OBJECT n FAST")
            .contains("encoding:int lru:"));
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let mut shard = Shard::new();
        assert_eq!(shard.run("DEBUG OBJECT a"), "-ERR no such key");
        assert_eq!(
            shard.run("DEBUG OBJECT a b"),
            "-ERR unknown subcommand or wrong number of arguments for 'OBJECT'. Try DEBUG HELP."
        );
    }
}
