//! A group whose majority is gone for ever goes on by the word of its operator: with all that any survivor had written, whatever the
//! survivors lack of each other, through crashes in the middle, and undisturbed by who was lost.

use crate::group::Group;
use ringfort_cluster::replica::{Force, MembershipChange};
use ringfort_cluster::{Epoch, ReplicaId, Term};

const SECOND_US: u64 = 1_000_000;

/// Writes for a while over a bad network, then ends all but the survivors for ever, their leader last.
fn lose_the_majority(seed: u64, all: &[u64], survivors: &[u64]) -> Group {
    let mut group = Group::new(seed, all);
    group.wait_for_leader(3 * SECOND_US);
    group.lose(20);
    for _ in 0..40 {
        for leader in group.leaders() {
            group.propose(leader);
        }
        group.run(20_000);
    }
    for id in all.iter().filter(|id| !survivors.contains(id)) {
        group.crash(*id);
    }
    group.lose(0);
    group.lose_all_but(survivors);
    group
}

/// Who is chosen, and how; the others have given their word.
fn decide(group: &mut Group, survivors: &[u64]) -> (u64, Force) {
    group.wait_until("peace", 10 * SECOND_US, |group| {
        let mut all = survivors.iter();
        !all.any(|&id| group.has_leader(id))
    });
    let chosen = survivors.iter().copied();
    let chosen = chosen.max_by_key(|&id| group.last(id)).expect("survivors");
    let terms = survivors.iter().map(|&id| group.term(id));
    let term = terms.max().expect("survivors") + 1000;
    let epochs = survivors.iter().map(|&id| group.membership(id).epoch.0);
    let epoch = Epoch(epochs.max().expect("survivors") + 1000);
    let others: Vec<u64> = survivors
        .iter()
        .copied()
        .filter(|&id| id != chosen)
        .collect();
    for &other in &others {
        assert!(group.confine(other, chosen, Term(term)));
    }
    let learners = others.into_iter().map(ReplicaId).collect();
    let term = Term(term + 1);
    (
        chosen,
        Force {
            term,
            learners,
            epoch,
        },
    )
}

/// The chosen one leads, and the survivors come to have the same, with all that was acknowledged and survived.
fn goes_on(group: &mut Group, chosen: u64, survivors: &[u64]) {
    assert_eq!(group.leaders(), [chosen]);
    assert!(group.can_read(chosen));
    group.run(SECOND_US);
    for &id in survivors {
        let membership = group.membership(id);
        assert_eq!(membership.voters, [ReplicaId(chosen)]);
        assert_eq!(membership.learners.len(), survivors.len() - 1);
    }
    group.settle();
    for &id in survivors.iter().filter(|id| **id != chosen) {
        let promote = MembershipChange::Promote(ReplicaId(id));
        group.wait_until("promotion", 5 * SECOND_US, |group| {
            let leaders = group.leaders();
            if let [leader] = leaders[..] {
                let _ = group.change(leader, promote.clone());
            }
            group.membership(chosen).voters.contains(&ReplicaId(id))
        });
    }
    group.settle();
}

#[test]
fn survivors_of_unequal_length_go_on_with_all_that_any_of_them_had() {
    let mut kept = 0;
    for seed in 0..60 {
        for (all, survivors) in [
            (&[1, 2, 3, 4, 5][..], &[2, 4][..]),
            (&[1, 2, 3], &[3]),
            (&[1, 2, 3, 4], &[1, 4]),
        ] {
            let mut group = lose_the_majority(seed, all, survivors);
            kept += group.acknowledged();
            let (chosen, force) = decide(&mut group, survivors);
            assert!(group.force(chosen, &force), "seed {seed}");
            goes_on(&mut group, chosen, survivors);
        }
    }
    assert!(kept > 1000, "{kept} acknowledged writes survived");
}

#[test]
fn a_crash_before_anything_is_written_leaves_all_as_it_was_and_it_can_be_repeated() {
    for seed in 100..140 {
        let survivors = [1, 2];
        let mut group = lose_the_majority(seed, &[1, 2, 3, 4, 5], &survivors);
        let (chosen, force) = decide(&mut group, &survivors);
        let before = group.last(chosen);
        group.force_and_crash(chosen, &force);
        // What it had sent comes to the other one, or it does not.
        group.run((seed % 2) * SECOND_US);
        group.restart(chosen);
        assert_eq!(group.last(chosen), before);
        assert_eq!(group.membership(chosen).voters.len(), 5);
        let (chosen, force) = decide(&mut group, &survivors);
        assert!(group.force(chosen, &force), "seed {seed}");
        goes_on(&mut group, chosen, &survivors);
    }
}

#[test]
fn a_crash_after_it_was_written_changes_nothing_of_it() {
    for seed in 200..240 {
        let survivors = [1, 2];
        let mut group = lose_the_majority(seed, &[1, 2, 3, 4, 5], &survivors);
        let (chosen, force) = decide(&mut group, &survivors);
        assert!(group.force(chosen, &force), "seed {seed}");
        group.run((seed % 2) * SECOND_US);
        group.crash(chosen);
        group.run(SECOND_US);
        assert!(
            group.leaders().is_empty(),
            "seed {seed}: the other one has no vote"
        );
        group.restart(chosen);
        assert_eq!(group.wait_for_leader(5 * SECOND_US), chosen);
        group.run(SECOND_US);
        goes_on(&mut group, chosen, &survivors);
    }
}

#[test]
fn one_that_was_lost_and_comes_back_too_late_does_no_harm() {
    for seed in 300..340 {
        let survivors = [1, 2];
        let mut group = lose_the_majority(seed, &[1, 2, 3, 4, 5], &survivors);
        let (chosen, force) = decide(&mut group, &survivors);
        // With its old membership, before the other survivor has heard of the new one.
        group.restart(3);
        assert!(group.force(chosen, &force), "seed {seed}");
        group.restart(4);
        group.run(5 * SECOND_US);
        assert_eq!(group.leaders(), [chosen], "seed {seed}");
        goes_on(&mut group, chosen, &survivors);
    }
}

#[test]
fn who_leads_or_has_come_further_is_not_forced() {
    let mut group = Group::new(1, &[1, 2, 3]);
    let leader = group.wait_for_leader(3 * SECOND_US);
    let force = |term| Force {
        term: Term(term),
        learners: Vec::new(),
        epoch: Epoch(1000),
    };
    assert!(!group.force(leader, &force(1000)));
    let follower = [1, 2, 3].into_iter().find(|&id| id != leader);
    let follower = follower.expect("there are two");
    let term = group.term(follower);
    assert!(!group.force(follower, &force(term)));
}
