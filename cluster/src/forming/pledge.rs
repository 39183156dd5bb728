//! What a node must not forget while a cluster is being formed, and the rules by which that changes. Two clusters cannot be
//! formed because of what stands here; everything else decides only how soon there is one.
//!
//! A cluster is formed by an initiator to which a majority of the listed nodes are pledged. Any two such majorities have a
//! node in common. It is pledged to one initiator at a time, and that pledge ends in three ways: the initiator itself says that
//! the attempt is over, which it says durably and forms nothing by it any more; the same initiator makes a later attempt, which
//! says the same; or the node belongs to a cluster, and then never gives a pledge again.

use super::message::{About, Pledge};
use crate::codec::{self, CodecError};
use crate::topology::ClusterId;
use crate::NodeId;
use bincode::{Decode, Encode};

/// What a node keeps on its disk about forming a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Stored {
    /// The cluster that it belongs to: as stored here, or that of a topology found on the disk.
    pub cluster_id: Option<ClusterId>,
    pub pledge: Option<Pledge>,
    /// Where the node was to which it is pledged: nobody else may know where that cluster is.
    pub initiator_at: Option<String>,
    /// Its own attempts up to this one are over, and have formed nothing.
    pub gave_up: u64,
}

impl Stored {
    /// As bytes, for a file.
    ///
    /// # Errors
    /// Never: it is a few numbers and an address.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(self)
    }

    /// Reads what [`Stored::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are of another version or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(bytes)
    }

    /// The attempt that the node itself makes.
    pub(super) fn initiates(&self, me: NodeId) -> Option<u64> {
        let own = self.pledge.filter(|pledge| pledge.to == me);
        own.map(|pledge| pledge.attempt)
    }

    /// Begins an attempt of its own.
    pub(super) fn initiate(&self, me: NodeId) -> Self {
        let attempt = self.gave_up.saturating_add(1);
        Self {
            pledge: Some(Pledge { to: me, attempt }),
            initiator_at: None,
            ..self.clone()
        }
    }

    /// Ends its own attempt, if it makes one.
    pub(super) fn give_up(&self, me: NodeId) -> Self {
        match self.initiates(me) {
            Some(attempt) => Self {
                pledge: None,
                gave_up: attempt,
                ..self.clone()
            },
            None => self.clone(),
        }
    }

    /// What follows from the word of another node that belongs to no cluster.
    pub(super) fn after(&self, me: NodeId, other: &About) -> Self {
        let mut next = self.clone();
        let (id, attempt) = (other.node.id, other.initiates());
        let over = |pledge: &mut Pledge| pledge.to == id && other.gave_up >= pledge.attempt;
        if next.pledge.take_if(over).is_some() {
            next.initiator_at = None;
        }
        // Of two initiators the one with the higher identity gives up.
        if next.initiates(me).is_some() && attempt.is_some() && id < me {
            next = next.give_up(me);
        }
        let may_pledge = |attempt: &u64| match next.pledge {
            None => true,
            Some(pledge) => pledge.to == id && pledge.attempt < *attempt,
        };
        let attempt = attempt.filter(|attempt| *attempt > other.gave_up);
        if let Some(attempt) = attempt.filter(may_pledge) {
            next.pledge = Some(Pledge { to: id, attempt });
            next.initiator_at = Some(other.node.peer_address());
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::tests::node;

    const ME: NodeId = NodeId(5);

    fn pledged(to: u128, attempt: u64) -> Stored {
        Stored {
            pledge: Some(Pledge {
                to: NodeId(to),
                attempt,
            }),
            initiator_at: (NodeId(to) != ME).then(|| node(to).peer_address()),
            ..Stored::default()
        }
    }

    fn about(id: u128, pledge: Option<(u128, u64)>, gave_up: u64) -> About {
        About {
            node: node(id),
            incarnation: 1,
            expects: Some(3),
            cluster_id: None,
            pledge: pledge.map(|(to, attempt)| Pledge {
                to: NodeId(to),
                attempt,
            }),
            gave_up,
        }
    }

    #[test]
    fn a_pledge_is_given_to_an_initiator_and_to_nobody_else() {
        let free = Stored::default();
        assert_eq!(free.after(ME, &about(3, Some((3, 1)), 0)), pledged(3, 1));
        assert_eq!(free.after(ME, &about(9, Some((9, 1)), 0)), pledged(9, 1));
        assert_eq!(free.after(ME, &about(3, Some((2, 1)), 0)), free);
        assert_eq!(free.after(ME, &about(3, None, 0)), free);
    }

    #[test]
    fn a_pledge_holds_until_its_initiator_says_that_the_attempt_is_over() {
        let bound = pledged(3, 2);
        for other in [
            about(1, Some((1, 1)), 0),
            about(2, None, 9),
            about(3, Some((3, 2)), 1),
            about(3, Some((3, 1)), 0),
        ] {
            assert_eq!(bound.after(ME, &other), bound, "{other:?}");
        }
        assert_eq!(bound.after(ME, &about(3, None, 2)), Stored::default());
        assert_eq!(bound.after(ME, &about(3, Some((3, 4)), 3)), pledged(3, 4));
        assert_eq!(
            bound.after(ME, &about(3, Some((1, 7)), 2)),
            Stored::default()
        );
    }

    #[test]
    fn an_old_word_frees_no_pledge_to_a_later_attempt() {
        let bound = pledged(3, 2);
        assert_eq!(bound.after(ME, &about(3, None, 1)), bound);
    }

    #[test]
    fn an_initiator_gives_way_to_a_lower_one_alone() {
        let mine = Stored::default().initiate(ME);
        assert_eq!(mine, pledged(5, 1));
        assert_eq!(mine.after(ME, &about(7, Some((7, 1)), 0)), mine);
        assert_eq!(mine.after(ME, &about(3, Some((2, 1)), 0)), mine);
        let given_way = Stored {
            gave_up: 1,
            ..pledged(3, 1)
        };
        assert_eq!(mine.after(ME, &about(3, Some((3, 1)), 0)), given_way);
        let again = given_way.after(ME, &about(3, None, 1)).initiate(ME);
        assert_eq!(
            again.initiates(ME),
            Some(2),
            "an attempt is never made twice"
        );
    }

    #[test]
    fn what_is_stored_comes_back() {
        let stored = Stored {
            cluster_id: Some(ClusterId(4)),
            gave_up: 3,
            ..pledged(8, 2)
        };
        assert_eq!(Stored::decode(&stored.encode().unwrap()), Ok(stored));
        assert!(Stored::decode(b"").is_err());
    }
}
