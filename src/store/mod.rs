//! The data of a shard: keyspaces, value types, expiry, memory accounting. Knows no RESP, reads no clock
//! and no random source (invariant 2): time and chance come in as arguments.

mod access;
mod capture;
mod databases;
mod digest;
mod entry;
pub mod hash;
mod intset;
mod keyspace;
pub mod list;
pub mod listpack;
mod member_table;
pub mod memory;
pub mod rdb;
mod set;
mod sip;
mod table;
mod types;
mod value;
mod word;
mod zset;

pub use capture::{Copied, Encode};
pub use databases::Databases;
pub use digest::Digest;
pub use hash::Hash;
pub use intset::{IntSet, IntSetError};
pub use keyspace::{Deadline, Edit, Held, Keyspace, StringForm};
pub use list::List;
pub use set::{BadSetListpack, Members, Set, SetView};
pub use sip::{hash_key, HashSeed};
pub use table::prefetch;
pub use types::{Limits, Rng, Timestamp, WrongType};
pub use value::{canonical_int, Container, StrRef, Value, ValueRef};
pub use word::word;
pub use zset::{
    BadZSet, LexBound, LexRange, Pairs, ScoreBound, ScoreRange, Updated, ZSet, ZSetView,
};
