//! A group's membership in its two forms: as Raft has it, and as the topology records it. Nothing else.

use crate::replica::Membership;
use crate::topology::Members;
use crate::types::Epoch;

impl From<&Membership> for Members {
    fn from(membership: &Membership) -> Self {
        let sorted = |ids: &[crate::ReplicaId]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids
        };
        Self {
            voters: sorted(&membership.voters),
            outgoing: sorted(&membership.outgoing),
            learners: sorted(&membership.learners),
            learners_next: sorted(&membership.learners_next),
        }
    }
}

impl Members {
    /// The form that Raft has, of that epoch.
    #[must_use]
    pub fn to_membership(&self, epoch: Epoch) -> Membership {
        Membership {
            voters: self.voters.clone(),
            outgoing: self.outgoing.clone(),
            learners: self.learners.clone(),
            learners_next: self.learners_next.clone(),
            epoch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReplicaId;

    #[test]
    fn a_membership_comes_back_from_its_other_form() {
        let ids = |ids: &[u64]| ids.iter().copied().map(ReplicaId).collect::<Vec<_>>();
        let membership = Membership {
            voters: ids(&[1, 4]),
            outgoing: ids(&[1, 2]),
            learners: ids(&[3]),
            learners_next: ids(&[2]),
            epoch: Epoch(7),
        };
        let members = Members::from(&membership);
        assert_eq!(members.to_membership(Epoch(7)), membership);
        let unsorted = Membership::of_voters(ids(&[3, 1]));
        assert_eq!(Members::from(&unsorted), Members::new(&ids(&[1, 3]), &[]));
    }
}
