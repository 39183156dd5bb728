//! What the cluster knows of a node. Knows nothing of whether it is alive: that is observed, not agreed upon.

use crate::entry::SEMANTICS_VERSION;
use crate::NodeId;
use bincode::{Decode, Encode};

/// Length of an announced host name.
pub const HOST_BYTES_MAX: usize = 255;

/// Length of a zone's name.
pub const ZONE_BYTES_MAX: usize = 64;

/// Length of a node's version.
pub const VERSION_BYTES_MAX: usize = 64;

/// How much a node should hold that is not told otherwise.
const WEIGHT_DEFAULT: u16 = 100;

/// Where a node listens, by who calls there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Plain clients.
    pub plain: u16,
    /// Cluster-aware clients.
    pub cluster: u16,
    /// Other nodes.
    pub peer: u16,
    /// Operators.
    pub http: u16,
}

impl Default for Ports {
    /// Those of a node that is not told otherwise.
    fn default() -> Self {
        Self {
            plain: 6379,
            cluster: 7379,
            peer: 16379,
            http: 8379,
        }
    }
}

/// The peer port of a node that is alone and listens for no others: one that nobody listens on.
pub const PEER_PORT_NONE: u16 = 1;

/// A node that belongs to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Node {
    pub id: NodeId,
    /// The name or address under which clients and other nodes reach it.
    pub host: String,
    /// Plain clients.
    pub port: u16,
    /// Cluster-aware clients.
    pub cluster_port: u16,
    /// Other nodes, or [`PEER_PORT_NONE`].
    pub peer_port: u16,
    /// Operators.
    pub http_port: u16,
    /// Nodes of one zone may fail together. Empty: it fails alone.
    pub zone: String,
    /// How much it should hold, relative to the others.
    pub weight: u16,
    /// Of the program, for people.
    pub version: String,
    /// The newest semantics of entries that it can apply.
    pub semantics: u32,
    /// It is to hold nothing. Set and unset by commands of their own, whatever a joining node says.
    pub draining: bool,
    /// Another identity has turned up at its address, so it is probably gone. It is not removed for that, but gets
    /// nothing new; once it says where it is, it is as good as any.
    pub suspect: bool,
}

/// Why a node cannot be taken as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    #[error("a node must have an identity: the one in its data directory is zero")]
    NoIdentity,
    #[error("the announced host is empty: set --announce-host")]
    NoHost,
    #[error("the announced peer port is 0: set --announce-peer-port")]
    NoPeerPort,
    #[error("the {what} has {length} bytes: at most {max} are possible")]
    TooLong {
        what: &'static str,
        length: usize,
        max: usize,
    },
    #[error("the {what} holds a space or a control character")]
    Unprintable { what: &'static str },
}

impl Node {
    /// A node that runs this program, in no zone and with the usual weight.
    #[must_use]
    pub fn new(id: NodeId, host: impl Into<String>, ports: Ports) -> Self {
        Self {
            id,
            host: host.into(),
            port: ports.plain,
            cluster_port: ports.cluster,
            peer_port: ports.peer,
            http_port: ports.http,
            zone: String::new(),
            weight: WEIGHT_DEFAULT,
            version: env!("CARGO_PKG_VERSION").into(),
            semantics: u32::from(SEMANTICS_VERSION),
            draining: false,
            suspect: false,
        }
    }

    /// Whether all of it is within bounds and fit to stand in the replies that clients parse.
    ///
    /// # Errors
    /// The first thing that is not.
    pub fn check(&self) -> Result<(), NodeError> {
        let texts = [
            ("announced host", &self.host, HOST_BYTES_MAX),
            ("zone", &self.zone, ZONE_BYTES_MAX),
            ("version", &self.version, VERSION_BYTES_MAX),
        ];
        for (what, text, max) in texts {
            let length = text.len();
            if length > max {
                return Err(NodeError::TooLong { what, length, max });
            }
            if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
                return Err(NodeError::Unprintable { what });
            }
        }
        match self {
            _ if self.id == NodeId::ZERO => Err(NodeError::NoIdentity),
            _ if self.host.is_empty() => Err(NodeError::NoHost),
            _ if self.peer_port == 0 => Err(NodeError::NoPeerPort),
            _ => Ok(()),
        }
    }

    /// Where it listens for other nodes, if it does.
    #[must_use]
    pub fn open_peer_port(&self) -> Option<u16> {
        (self.peer_port != PEER_PORT_NONE).then_some(self.peer_port)
    }

    /// Where other nodes call it: `host:port`, with brackets around an IPv6 address.
    #[must_use]
    pub fn peer_address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.peer_port),
            false => format!("{}:{}", self.host, self.peer_port),
        }
    }

    /// Whether another node would be called under the same address.
    #[must_use]
    pub fn has_address_of(&self, other: &Self) -> bool {
        (&self.host, self.peer_port) == (&other.host, other.peer_port)
    }
}
