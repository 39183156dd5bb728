//! DEBUG DIGEST: a sum over keys and values that does not depend on where they are or in which order they
//! came. Not Redis' sum: two servers of ours agree, a Redis and ours do not. Whether replicas are the same is another question, where the
//! order of a set's members counts, because later commands go by it: `store/digest.rs`.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::protocol::Reply;
use crate::store::listpack::Element;
use crate::store::{Databases, Keyspace, StrRef, Timestamp, ValueRef};

use super::super::super::{Call, CommandResult};

/// Hexadecimal digits of a digest, as many as Redis'.
const DIGITS: usize = 40;

pub fn digest(databases: &mut Databases, call: &Call, reply: &mut Reply) -> CommandResult {
    let mut sum = 0u128;
    for (number, keyspace) in databases.iter().enumerate() {
        keyspace.for_each(call.now, |key, value, deadline| {
            sum = sum.wrapping_add(key_digest(number, key, value, deadline));
        });
    }
    reply.simple(&hex(sum));
    Ok(())
}

pub fn digest_value(keyspace: &Keyspace, call: &Call, reply: &mut Reply) -> CommandResult {
    reply.array(call.len() - 2);
    for key in call.args.from(2) {
        let digest = keyspace.peek(key, call.now).map_or(0, value_digest);
        reply.simple(&hex(digest));
    }
    Ok(())
}

fn hex(digest: u128) -> String {
    format!("{digest:0DIGITS$x}")
}

fn key_digest(number: usize, key: &[u8], value: ValueRef<'_>, deadline: Option<Timestamp>) -> u128 {
    let mut hash = Hash::new(b'k');
    hash.number(number as u64);
    hash.bytes(key);
    hash.number(deadline.map_or(0, |deadline| deadline.0));
    hash.sum(value_digest(value));
    hash.finish()
}

fn value_digest(value: ValueRef<'_>) -> u128 {
    match value {
        ValueRef::Str(text) => string_digest(text),
        ValueRef::List(list) => {
            let mut hash = Hash::new(b'l');
            list.iter().for_each(|element| hash.element(element));
            hash.finish()
        }
        // Without an order: what is added up may come as it likes.
        ValueRef::Set(set) => unordered(b's', set.iter(), |hash, member| hash.element(member)),
        ValueRef::Hash(fields) => unordered(b'h', fields.iter(), |hash, (field, value)| {
            hash.element(field);
            hash.element(value);
        }),
        ValueRef::ZSet(zset) => unordered(b'z', zset.iter(), |hash, (member, score)| {
            hash.element(member);
            hash.number(score.to_bits());
        }),
    }
}

fn string_digest(text: StrRef<'_>) -> u128 {
    let mut hash = Hash::new(b'b');
    text.with_bytes(|bytes| hash.bytes(bytes));
    hash.finish()
}

fn unordered<T>(kind: u8, parts: impl Iterator<Item = T>, put: impl Fn(&mut Hash, T)) -> u128 {
    let sum = parts.fold(0u128, |sum, part| {
        let mut hash = Hash::new(kind);
        put(&mut hash, part);
        sum.wrapping_add(hash.finish())
    });
    let mut hash = Hash::new(kind.to_ascii_uppercase());
    hash.sum(sum);
    hash.finish()
}

/// Hashes parts so that their borders count.
struct Hash(SipHasher13);

impl Hash {
    fn new(kind: u8) -> Self {
        // The key is fixed: digests of different nodes are compared.
        let mut hash = SipHasher13::new_with_keys(0x7269_6e67, 0x666f_7274);
        hash.write_u8(kind);
        Self(hash)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.write_u64(bytes.len() as u64);
        self.0.write(bytes);
    }

    fn element(&mut self, element: Element<'_>) {
        element.with_bytes(|bytes| self.bytes(bytes));
    }

    fn number(&mut self, number: u64) {
        self.0.write_u64(number);
    }

    fn sum(&mut self, sum: u128) {
        self.0.write(&sum.to_le_bytes());
    }

    fn finish(&self) -> u128 {
        self.0.finish128().as_u128()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::testing::Shard;

    const NOTHING: &str = "+0000000000000000000000000000000000000000";

    #[test]
    fn the_digest_follows_the_data_and_not_its_history() {
        let mut a = Shard::new();
        let mut b = Shard::new();
        assert_eq!(a.run("DEBUG DIGEST"), NOTHING);
        for line in ["SET x 1", "SET y 2", "SET z 3"] {
            a.run(line);
        }
        for line in ["SET z 9", "SET y 2", "SET x 1", "SET z 3"] {
            b.run(line);
        }
        assert_eq!(a.run("DEBUG DIGEST"), b.run("DEBUG DIGEST"));
        b.run("SET x 2");
        assert_ne!(a.run("DEBUG DIGEST"), b.run("DEBUG DIGEST"));
    }

    #[test]
    fn the_database_of_a_key_counts() {
        let mut a = Shard::new();
        let mut b = Shard::new();
        b.database = 1;
        a.run("SET x 1");
        b.run("SET x 1");
        assert_ne!(a.run("DEBUG DIGEST"), b.run("DEBUG DIGEST"));
    }

    #[test]
    fn values_have_digests_of_their_own() {
        let mut shard = Shard::new();
        shard.run("SET a 1");
        shard.run("SET b 1");
        let reply = shard.run("DEBUG DIGEST-VALUE a b nothing");
        let parts: Vec<&str> = reply.split(' ').collect();
        assert_eq!((parts[0], parts[1]), ("*3", parts[2]));
        assert_eq!(parts[3], NOTHING);
    }
}
