//! The identity of a node: a number drawn once, when its data directory is made, and kept whatever address the node
//! has later. Knows nothing of what a node is.

use bincode::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// How many digits the written form has, as Redis Cluster has them.
pub const NODE_ID_DIGITS: usize = 40;

/// One process of the cluster. Its written form is that of a Redis Cluster id: 32 hexadecimal digits of the identity and
/// eight of a check value, so that an id that was cut short or mistyped is refused instead of meaning another node.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct NodeId(pub u128);

/// Text that is not the id of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeIdError {
    /// Not 40 hexadecimal digits.
    #[error("a node id has {NODE_ID_DIGITS} hexadecimal digits, 0-9 and a-f: see the ids in CLUSTER NODES")]
    Form,
    /// The check value does not fit the rest.
    #[error("no node can have this id: a digit is wrong or two are swapped")]
    Check,
}

impl NodeId {
    /// Nobody: no node ever has this identity.
    pub const ZERO: Self = Self(0);

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0
    }

    /// FNV-1a of the identity's bytes.
    fn check(self) -> u32 {
        self.0
            .to_be_bytes()
            .iter()
            .fold(0x811C_9DC5, |hash, &byte| {
                (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
            })
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}{:08x}", self.0, self.check())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({:x})", self.0)
    }
}

impl From<u128> for NodeId {
    fn from(number: u128) -> Self {
        Self(number)
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != NODE_ID_DIGITS || !text.bytes().all(digits) {
            return Err(NodeIdError::Form);
        }
        let (id, check) = text.split_at(NODE_ID_DIGITS - 8);
        let id = Self(u128::from_str_radix(id, 16).map_err(|_| NodeIdError::Form)?);
        match u32::from_str_radix(check, 16) {
            Ok(check) if check == id.check() => Ok(id),
            _ => Err(NodeIdError::Check),
        }
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

/// Takes the written form, and the plain number that data directories held before there were clusters.
struct Visitor;

impl serde::de::Visitor<'_> for Visitor {
    type Value = NodeId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a node id of 40 hexadecimal digits")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<NodeId, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<NodeId, E> {
        Ok(NodeId(number.into()))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<NodeId, E> {
        u64::try_from(number)
            .map(|number| NodeId(number.into()))
            .map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_is_written_as_redis_cluster_writes_it() {
        let id = NodeId(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        assert_eq!(id.to_string(), "0123456789abcdef0011223344556677ba7ecf7d");
        assert_eq!(NodeId::ZERO.to_string().len(), NODE_ID_DIGITS);
    }

    #[test]
    fn text_that_is_no_id_is_refused_with_the_reason() {
        let good = NodeId(7).to_string();
        assert_eq!(good.parse(), Ok(NodeId(7)));
        assert_eq!(
            good.to_uppercase().replace('0', "A").parse::<NodeId>(),
            Err(NodeIdError::Form)
        );
        assert_eq!(good[1..].parse::<NodeId>(), Err(NodeIdError::Form));
        assert_eq!("é".repeat(20).parse::<NodeId>(), Err(NodeIdError::Form));
        assert_eq!(
            good.replacen('7', "8", 1).parse::<NodeId>(),
            Err(NodeIdError::Check)
        );
    }

    proptest! {
        #[test]
        fn ids_come_back_as_they_were_written(number in any::<u128>()) {
            prop_assert_eq!(NodeId(number).to_string().parse(), Ok(NodeId(number)));
        }

        #[test]
        fn one_wrong_digit_is_always_noticed(number in any::<u128>(), at in 0..NODE_ID_DIGITS) {
            let mut text = NodeId(number).to_string().into_bytes();
            text[at] = if text[at] == b'0' { b'1' } else { b'0' };
            let text = String::from_utf8(text).unwrap();
            prop_assert_eq!(text.parse::<NodeId>(), Err(NodeIdError::Check));
        }

        #[test]
        fn any_text_is_an_id_or_an_error(text in ".{0,45}") {
            let _ = text.parse::<NodeId>();
        }
    }
}
