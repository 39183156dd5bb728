//! What a node reports to the steward, about once a second and after changes. Knows nothing of what follows from it.

use super::{decode, encode, WireError};
use crate::replica::Replica;
use crate::topology::{Members, Node, META_GROUP, REPLICAS_OF_SHARD_MAX};
use crate::types::{Epoch, Index, ReplicaId, ShardId, Term};
use crate::SLOTS;
use bincode::{Decode, Encode};

/// The groups that a node can have a copy of: every shard and the meta group; and as many again that it lost.
pub const GROUPS_OF_REPORT_MAX: usize = SLOTS as usize + 1;

/// What a node says of itself and of its replicas.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NodeReport {
    /// As it describes itself; where the topology says otherwise, that is changed.
    pub node: Node,
    /// Of the newest topology that it knows.
    pub epoch: Epoch,
    pub groups: Vec<GroupReport>,
    /// Replicas of the topology whose data it has not got any more.
    pub lost: Vec<(ShardId, ReplicaId)>,
    /// Replicas that may lack what they had acknowledged, and take part in nothing before that is decided.
    pub suspect: Vec<(ShardId, ReplicaId)>,
    /// How busy it is, for people.
    pub load: NodeLoad,
}

/// How busy a node is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct NodeLoad {
    /// Of the process.
    pub memory_bytes: u64,
    pub ops_per_sec: u64,
    pub clients: u32,
    /// Of commands of its clients, over the last seconds; 0 where it is not known.
    pub p99_us: u64,
    pub uptime_s: u64,
    /// Its disk is full or fails.
    pub refuses_writes: bool,
}

/// One replica of a node.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct GroupReport {
    pub shard: ShardId,
    pub replica: ReplicaId,
    pub term: Term,
    /// How much data it holds.
    pub bytes: u64,
    /// The last entry that it has applied.
    pub applied: Index,
    /// What only the leader knows.
    pub leads: Option<LedGroup>,
}

/// A group as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LedGroup {
    pub members: Members,
    /// The epoch of `members`.
    pub changed: Epoch,
    /// A change of the membership or a transfer of the leadership is under way.
    pub changing: bool,
    /// The members that lack nothing but the newest entries, the leader among them.
    pub caught_up: Vec<ReplicaId>,
}

impl GroupReport {
    /// What there is to say of a replica. One that leads, but has not yet applied an entry of its own term, says that it does not: it may
    /// not know the newest membership.
    #[must_use]
    pub fn of(replica: &Replica, bytes: u64) -> Self {
        let leads = replica.is_leader() && replica.has_applied_own_term();
        Self {
            shard: replica.shard(),
            replica: replica.id(),
            term: replica.term(),
            bytes,
            applied: replica.last_applied(),
            leads: leads.then(|| LedGroup::of(replica)),
        }
    }
}

impl LedGroup {
    fn of(replica: &Replica) -> Self {
        let membership = replica.membership();
        let members = Members::from(&membership);
        let caught_up = |id: &ReplicaId| *id == replica.id() || replica.has_caught_up(*id);
        Self {
            caught_up: members.all().into_iter().filter(caught_up).collect(),
            changed: membership.epoch,
            changing: replica.is_changing() || replica.transferring_to().is_some(),
            members,
        }
    }

    fn is_sound(&self, shard: ShardId) -> bool {
        let count = self.members.all().len();
        let fits = shard == META_GROUP || count <= REPLICAS_OF_SHARD_MAX;
        fits && self.members.is_sound() && self.caught_up.len() <= count
    }
}

impl NodeReport {
    /// The report as bytes.
    ///
    /// # Errors
    /// When it is larger than anything that is encoded.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        encode(self)
    }

    /// Reads what [`NodeReport::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are of another version, damaged, or say what no node says.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let report: Self = decode(bytes)?;
        let sound = |group: &GroupReport| {
            let led = group.leads.as_ref();
            led.is_none_or(|led| led.is_sound(group.shard))
        };
        let lists = [report.groups.len(), report.lost.len(), report.suspect.len()];
        match () {
            () if report.node.check().is_err() => Err(WireError::Unsound("node")),
            () if lists.iter().any(|&count| count > GROUPS_OF_REPORT_MAX) => {
                Err(WireError::Unsound("number of groups"))
            }
            () if !report.groups.iter().all(sound) => Err(WireError::Unsound("group")),
            () => Ok(report),
        }
    }
}
