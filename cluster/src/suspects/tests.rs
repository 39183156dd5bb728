//! Who is elected among replicas that may have forgotten, and when nobody is.

use super::*;
use crate::steward::WireError;
use crate::topology::Replica as Held;
use crate::types::ShardId;

/// Replica `n` is on node `n`; these vote.
fn place(voters: &[u64]) -> Place {
    let ids: Vec<ReplicaId> = voters.iter().copied().map(ReplicaId).collect();
    let held = |id: &ReplicaId| Held {
        node: NodeId(id.0.into()),
        based_on: Epoch::ZERO,
        lost: false,
    };
    Place {
        next_replica: ReplicaId(9),
        replicas: ids.iter().map(|id| (*id, held(id))).collect(),
        members: Members::new(&ids, &[]),
        changed: Epoch(2),
        ..Place::default()
    }
}

fn told(place: &Place, id: u64, suspect: bool, last: (u64, u64)) -> (NodeId, Option<Told>) {
    let told = Told {
        replica: ReplicaId(id),
        suspect,
        has_leader: false,
        term: Term(last.0 + 1),
        last: (Term(last.0), Index(last.1)),
        committed: Index(last.1 / 2),
        members: place.members.clone(),
        changed: place.changed,
    };
    (NodeId(id.into()), Some(told))
}

fn elected(verdict: &Verdict) -> Option<u64> {
    match verdict {
        Verdict::Elect(election) => Some(election.elected.0),
        _ => None,
    }
}

fn three(lasts: [(u64, u64); 3], suspect: [bool; 3]) -> (Place, Heard) {
    let place = place(&[1, 2, 3]);
    let heard = (1..).zip(lasts).zip(suspect);
    let heard = heard.map(|((id, last), suspect)| told(&place, id, suspect, last));
    let heard = heard.collect();
    (place, heard)
}

#[test]
fn the_most_advanced_is_elected_by_term_then_index_then_node() {
    for (lasts, expected) in [
        ([(3, 10), (3, 12), (2, 40)], 2),
        ([(3, 10), (2, 12), (4, 1)], 3),
        ([(3, 10), (3, 10), (3, 10)], 1),
        ([(1, 0), (3, 10), (3, 10)], 2),
    ] {
        let (place, heard) = three(lasts, [true; 3]);
        let verdict = decide(&place, &heard);
        assert_eq!(elected(&verdict), Some(expected), "{lasts:?}");
        let Verdict::Elect(election) = verdict else {
            panic!("decided");
        };
        assert_eq!(election.others.len(), 2);
        assert!(!election.others.contains_key(&election.node));
    }
}

#[test]
fn all_go_on_from_a_term_that_nobody_can_have_reached() {
    let (place, mut heard) = three([(3, 10), (3, 12), (2, 40)], [true, true, false]);
    let third = heard.get_mut(&NodeId(3)).and_then(Option::as_mut).unwrap();
    third.term = Term(50);
    let Verdict::Elect(election) = decide(&place, &heard) else {
        panic!("decided");
    };
    assert_eq!(election.term, Term(50 + TERMS_FORGOTTEN_MAX));
}

#[test]
fn a_sound_voter_counts_too_and_may_be_the_one() {
    let (place, heard) = three([(3, 10), (3, 12), (3, 14)], [true, true, false]);
    assert_eq!(elected(&decide(&place, &heard)), Some(3));
    let (place, heard) = three([(3, 10), (3, 15), (3, 14)], [true, true, false]);
    assert_eq!(elected(&decide(&place, &heard)), Some(2));
}

#[test]
fn where_the_sound_are_a_majority_or_somebody_leads_nothing_is_decided() {
    let (place, mut heard) = three([(3, 10), (3, 12), (3, 14)], [false, true, false]);
    assert_eq!(decide(&place, &heard), Verdict::GoesOn);
    heard.remove(&NodeId(2));
    assert_eq!(
        decide(&place, &heard),
        Verdict::GoesOn,
        "without the suspect too"
    );
    let (place, mut heard) = three([(3, 10), (3, 12), (3, 14)], [true, true, false]);
    heard
        .get_mut(&NodeId(3))
        .and_then(Option::as_mut)
        .unwrap()
        .has_leader = true;
    assert_eq!(decide(&place, &heard), Verdict::GoesOn);
}

#[test]
fn as_long_as_anybody_has_not_answered_the_group_waits_for_its_node() {
    for absent in 1..=3u128 {
        let (place, mut heard) = three([(3, 10), (3, 12), (3, 14)], [true; 3]);
        heard.remove(&NodeId(absent));
        let waits = Waits::ForNodes([NodeId(absent)].into());
        assert_eq!(decide(&place, &heard), Verdict::Waits(waits));
    }
}

#[test]
fn a_voter_that_is_gone_may_have_known_more_than_all_others() {
    let (mut place, mut heard) = three([(3, 10), (3, 12), (3, 14)], [true; 3]);
    heard.insert(NodeId(3), None);
    let waits = Verdict::Waits(Waits::ForReplicas([ReplicaId(3)].into()));
    assert_eq!(decide(&place, &heard), waits);
    // Also where the cluster has given it up, and when its node claims to have it yet.
    let (_, heard) = three([(3, 10), (3, 12), (3, 14)], [true; 3]);
    place.replicas.get_mut(&ReplicaId(3)).unwrap().lost = true;
    assert_eq!(decide(&place, &heard), waits);
}

#[test]
fn the_newest_membership_that_anybody_knows_counts() {
    let (mut place, mut heard) = three([(3, 10), (3, 12), (3, 14)], [true; 3]);
    let newer = self::place(&[1, 2, 4]);
    let second = heard.get_mut(&NodeId(2)).and_then(Option::as_mut).unwrap();
    (second.members, second.changed) = (newer.members.clone(), Epoch(3));
    // Nobody knows where replica 4 is.
    let waits = Waits::ForReplicas([ReplicaId(4)].into());
    assert_eq!(decide(&place, &heard), Verdict::Waits(waits));
    let fourth = newer.replicas[&ReplicaId(4)].clone();
    place.replicas.insert(ReplicaId(4), fourth);
    let waits = Waits::ForNodes([NodeId(4)].into());
    assert_eq!(decide(&place, &heard), Verdict::Waits(waits));
    let (node, mut fourth) = told(&newer, 4, true, (3, 13));
    fourth.as_mut().unwrap().changed = Epoch(3);
    heard.insert(node, fourth);
    // Replica 3 is no member any more, however much it knows.
    assert_eq!(elected(&decide(&place, &heard)), Some(4));
    // Two that disagree about the same step.
    let fourth = heard.get_mut(&node).and_then(Option::as_mut).unwrap();
    fourth.members = self::place(&[1, 3, 4]).members;
    assert_eq!(decide(&place, &heard), Verdict::Waits(Waits::Unclear));
}

#[test]
fn a_replica_that_was_given_out_and_never_began_is_asked_for_and_not_missed() {
    let (mut place, mut heard) = three([(3, 10), (3, 12), (3, 14)], [true; 3]);
    let fourth = self::place(&[4]).replicas[&ReplicaId(4)].clone();
    place.replicas.insert(ReplicaId(4), fourth);
    let waits = Waits::ForNodes([NodeId(4)].into());
    assert_eq!(decide(&place, &heard), Verdict::Waits(waits));
    heard.insert(NodeId(4), None);
    assert_eq!(elected(&decide(&place, &heard)), Some(3));
}

#[test]
fn a_learner_that_knows_more_than_the_voters_is_left_to_the_operator() {
    let (mut place, _) = three([(1, 1); 3], [true; 3]);
    place.members = Members::new(&[ReplicaId(1), ReplicaId(2)], &[ReplicaId(3)]);
    let heard = |learner: (u64, u64)| -> Heard {
        let all = [(1, true, (3, 12)), (2, true, (3, 10)), (3, false, learner)];
        all.map(|(id, suspect, last)| told(&place, id, suspect, last))
            .into()
    };
    let waits = Waits::BehindLearner(ReplicaId(3));
    assert_eq!(decide(&place, &heard((3, 13))), Verdict::Waits(waits));
    assert_eq!(elected(&decide(&place, &heard((3, 12)))), Some(1));
}

#[test]
fn in_a_joint_change_both_sides_must_have_sound_majorities_to_go_on() {
    let (mut place, mut heard) = three([(3, 10), (3, 12), (3, 14)], [false, false, true]);
    place.members.outgoing = vec![ReplicaId(3)];
    for told in heard.values_mut().flatten() {
        told.members = place.members.clone();
    }
    assert_eq!(elected(&decide(&place, &heard)), Some(3));
}

#[test]
fn nobody_is_believed_about_a_replica_of_another_node() {
    let (place, mut heard) = three([(3, 10), (3, 12), (3, 14)], [true; 3]);
    let third = heard.remove(&NodeId(3)).unwrap();
    heard.insert(NodeId(7), third);
    let waits = Waits::ForNodes([NodeId(3)].into());
    assert_eq!(decide(&place, &heard), Verdict::Waits(waits));
}

#[test]
fn questions_and_answers_come_back_and_what_no_node_says_is_refused() {
    let (_, heard) = three([(3, 10), (3, 12), (3, 14)], [true; 3]);
    let told = heard.into_values().next().unwrap();
    let ask = Agree {
        shard: ShardId(3),
        replica: ReplicaId(1),
        suspect: true,
        last: (Term(3), Index(9)),
        elected: ReplicaId(2),
        term: Term(1003),
    };
    let many = vec![ShardId(0); GROUPS_OF_QUESTION_MAX + 1];
    let high = Agree {
        term: Term(u64::MAX),
        ..ask.clone()
    };
    for question in [
        SuspectsQuestion::Tell(vec![ShardId(1)]),
        SuspectsQuestion::Agree(vec![ask]),
    ] {
        let bytes = question.encode().unwrap();
        assert_eq!(SuspectsQuestion::decode(&bytes), Ok(question));
        assert!(SuspectsQuestion::decode(&bytes[..bytes.len() - 1]).is_err());
    }
    for question in [
        SuspectsQuestion::Tell(many.clone()),
        SuspectsQuestion::Agree(vec![high]),
    ] {
        let refused = SuspectsQuestion::decode(&question.encode().unwrap());
        assert!(matches!(refused, Err(WireError::Unsound(_))));
    }
    let mut wrong = told.clone();
    wrong.as_mut().unwrap().term = Term(u64::MAX);
    let answers = [
        SuspectsAnswer::Told(vec![(ShardId(1), told), (ShardId(2), None)]),
        SuspectsAnswer::Agreed(vec![ShardId(4)]),
    ];
    for answer in answers {
        let bytes = answer.encode().unwrap();
        assert_eq!(SuspectsAnswer::decode(&bytes), Ok(answer));
    }
    let bad = [
        SuspectsAnswer::Told(vec![(ShardId(1), wrong)]),
        SuspectsAnswer::Agreed(many),
    ];
    for answer in bad {
        let refused = SuspectsAnswer::decode(&answer.encode().unwrap());
        assert!(matches!(refused, Err(WireError::Unsound(_))));
    }
}
