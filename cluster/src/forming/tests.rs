//! One node on its way into a cluster: what it says, stores and decides, message by message.

use super::member::{answer, join_answer, MemberAnswer, ProposalOutcome, Standing};
use super::*;
use crate::meta::MetaCommand;
use crate::topology::tests::node;
use crate::types::Epoch;
use proptest::prelude::*;

fn address(id: u128) -> String {
    node(id).peer_address()
}

fn setup(id: u128, join: &[u128], expect: Option<u32>) -> Setup {
    Setup {
        node: node(id),
        incarnation: 7,
        join: join.iter().copied().map(address).collect(),
        peers: Vec::new(),
        bootstrap_expect: expect,
    }
}

fn at(ms: u64) -> Monotonic {
    Monotonic(1_000_000_000 + ms * 1000)
}

/// A node without a cluster.
fn other(id: u128, pledge: Option<(u128, u64)>) -> About {
    About {
        node: node(id),
        incarnation: 1,
        expects: Some(3),
        cluster_id: None,
        pledge: pledge.map(|(to, attempt)| Pledge {
            to: NodeId(to),
            attempt,
        }),
        gave_up: 0,
    }
}

fn answers(about: About) -> FormingMessage {
    FormingMessage::HelloAnswer {
        about,
        others: vec![],
        leader: None,
    }
}

fn member(id: u128, cluster: u128) -> FormingMessage {
    FormingMessage::HelloAnswer {
        about: About {
            cluster_id: Some(ClusterId(cluster)),
            ..other(id, None)
        },
        others: vec![],
        leader: None,
    }
}

/// Node 1 of three, and all have answered it.
fn initiator() -> Forming {
    let mut forming = Forming::new(setup(1, &[1, 2, 3], Some(3)), Stored::default());
    forming.tick(at(0));
    for id in [1, 2, 3] {
        let about = if id == 1 {
            forming.about()
        } else {
            other(id, None)
        };
        forming.answer(&address(id), &answers(about), at(1));
    }
    forming
}

fn formed_topology(nodes: &[u128]) -> Topology {
    let mut topology = Topology::default();
    let init = MetaCommand::Init {
        cluster_id: ClusterId(9),
        shards: 1,
        replicas: 3,
        node: node(nodes[0]),
    };
    topology.apply(&init).unwrap();
    for &id in &nodes[1..] {
        let node = node(id);
        topology
            .apply(&MetaCommand::Join {
                cluster_id: None,
                node,
            })
            .unwrap();
    }
    topology
}

#[test]
fn without_join_a_node_forms_a_cluster_at_once() {
    let mut forming = Forming::new(setup(1, &[], None), Stored::default());
    assert_eq!(forming.tick(at(0)).verdict, Some(Verdict::FormAlone));
    let out = forming.formed(ClusterId(9));
    assert_eq!(out.store.unwrap().cluster_id, Some(ClusterId(9)));
    assert_eq!(forming.tick(at(100)).verdict, None);
}

#[test]
fn without_bootstrap_expect_a_node_asks_for_ever_and_says_so() {
    let mut forming = Forming::new(setup(1, &[1, 2, 3], None), Stored::default());
    for ms in (0..60_000).step_by(100) {
        let out = forming.tick(at(ms));
        assert!(out.verdict.is_none() && out.store.is_none());
        assert_eq!(out.requests.len(), if ms % 300 == 0 { 3 } else { 0 });
        for id in [2, 3] {
            forming.answer(&address(id), &answers(other(id, None)), at(ms));
        }
    }
    let waiting = forming.waiting(at(60_000)).unwrap();
    assert!(waiting.contains("--bootstrap-expect"), "{waiting}");
    assert_eq!(forming.waiting(at(5_000)), None);
}

#[test]
fn the_lowest_of_enough_nodes_stores_its_own_pledge_before_it_asks() {
    let mut forming = initiator();
    let out = forming.tick(at(100));
    let own = Pledge {
        to: NodeId(1),
        attempt: 1,
    };
    assert_eq!(out.store.unwrap().pledge, Some(own));
    assert_eq!(out.requests.len(), 3);
    for (_, request) in out.requests {
        let FormingMessage::Hello { about } = request else {
            panic!("{request:?}")
        };
        assert_eq!(about.pledge, Some(own));
    }
}

#[test]
fn a_node_that_is_not_the_lowest_waits() {
    let mut forming = Forming::new(setup(2, &[1, 2, 3], Some(3)), Stored::default());
    for ms in (0..5_000).step_by(100) {
        for id in [1, 3] {
            forming.answer(&address(id), &answers(other(id, None)), at(ms));
        }
        assert!(forming.tick(at(ms)).store.is_none());
    }
}

#[test]
fn a_node_that_never_forms_is_not_waited_for() {
    let mut forming = Forming::new(setup(2, &[1, 2, 3], Some(3)), Stored::default());
    forming.tick(at(0));
    let unwilling = About {
        expects: None,
        ..other(1, None)
    };
    forming.answer(&address(1), &answers(unwilling), at(1));
    forming.answer(&address(3), &answers(other(3, None)), at(1));
    assert!(forming.tick(at(2_000)).store.is_some());
}

#[test]
fn it_forms_with_as_many_pledges_as_are_expected_and_not_before() {
    let mut forming = initiator();
    forming.tick(at(100));
    let granted = |id| answers(other(id, Some((1, 1))));
    assert_eq!(
        forming.answer(&address(2), &granted(2), at(101)).verdict,
        None
    );
    assert_eq!(
        forming.answer(&address(2), &granted(2), at(102)).verdict,
        None
    );
    let out = forming.answer(&address(3), &granted(3), at(103));
    assert_eq!(out.verdict, Some(Verdict::Form));
}

#[test]
fn pledges_to_others_or_to_other_attempts_do_not_count() {
    let mut forming = initiator();
    forming.tick(at(100));
    for pledge in [None, Some((2, 1)), Some((1, 2)), Some((1, 0))] {
        for id in [2, 3] {
            let out = forming.answer(&address(id), &answers(other(id, pledge)), at(101));
            assert_eq!(out.verdict, None, "{pledge:?}");
        }
    }
}

#[test]
fn who_is_not_listed_does_not_count_for_the_majority_of_the_list() {
    let mut forming = Forming::new(setup(1, &[7, 8, 9], Some(2)), Stored::default());
    forming.tick(at(0));
    for ms in [1_100, 1_200] {
        for id in [2, 3, 4, 5] {
            let about = other(id, Some((1, 1)));
            let out = forming.request(&FormingMessage::Hello { about }, at(ms));
            assert_eq!(out.verdict, None);
        }
        assert_eq!(forming.tick(at(ms)).verdict, None);
    }
    let granted = |id| answers(other(id, Some((1, 1))));
    assert_eq!(
        forming.answer(&address(7), &granted(7), at(1_300)).verdict,
        None
    );
    assert_eq!(
        forming.answer(&address(8), &granted(7), at(1_300)).verdict,
        None
    );
    let out = forming.answer(&address(9), &granted(9), at(1_300));
    assert_eq!(out.verdict, Some(Verdict::Form));
}

#[test]
fn a_pledge_is_stored_with_the_answer_that_gives_it() {
    let mut forming = Forming::new(setup(2, &[1, 2, 3], Some(3)), Stored::default());
    let about = other(1, Some((1, 4)));
    let out = forming.request(&FormingMessage::Hello { about }, at(0));
    let pledge = Some(Pledge {
        to: NodeId(1),
        attempt: 4,
    });
    assert_eq!(out.store.unwrap().pledge, pledge);
    let Some(FormingMessage::HelloAnswer { about, .. }) = out.answer else {
        panic!("no answer")
    };
    assert_eq!(about.pledge, pledge);
}

#[test]
fn nothing_changes_between_the_verdict_and_the_cluster() {
    let stored = Stored::default().initiate(NodeId(5));
    let mut forming = Forming::new(setup(5, &[5, 6], Some(2)), stored.clone());
    forming.tick(at(0));
    let about = forming.about();
    forming.answer(&address(5), &answers(about), at(1));
    let out = forming.answer(&address(6), &answers(other(6, Some((5, 1)))), at(1));
    assert_eq!(out.verdict, Some(Verdict::Form));
    let about = other(1, Some((1, 1)));
    let out = forming.request(&FormingMessage::Hello { about }, at(2));
    assert!(out.store.is_none());
    assert_eq!(forming.stored, stored);
    assert!(forming.tick(at(3_000)).requests.is_empty());
    assert!(forming.formed(ClusterId(1)).store.is_some());
}

#[test]
fn an_initiator_that_may_form_no_more_gives_up_when_it_starts() {
    let stored = Stored::default().initiate(NodeId(1));
    let mut forming = Forming::new(setup(1, &[1, 2], None), stored);
    let stored = forming.tick(at(0)).store.unwrap();
    assert_eq!((stored.pledge, stored.gave_up), (None, 1));
}

#[test]
fn a_cluster_that_is_found_is_joined_instead_of_formed() {
    let mut forming = initiator();
    forming.answer(&address(3), &member(3, 9), at(2));
    let out = forming.tick(at(100));
    assert!(out.store.is_none());
    let join = out
        .requests
        .iter()
        .find(|(_, request)| matches!(request, FormingMessage::Join { .. }));
    assert_eq!(join.unwrap().0, address(3));
    let topology = formed_topology(&[3, 1]).encode().unwrap();
    let welcome = FormingMessage::JoinAnswer(JoinAnswer::Welcome {
        topology: topology.clone(),
    });
    let out = forming.answer(&address(3), &welcome, at(101));
    assert_eq!(out.store.unwrap().cluster_id, Some(ClusterId(9)));
    assert_eq!(out.verdict, Some(Verdict::Joined { topology }));
}

#[test]
fn a_welcome_that_does_not_name_this_node_is_none() {
    let mut forming = Forming::new(setup(4, &[3], None), Stored::default());
    forming.tick(at(0));
    let topology = formed_topology(&[3, 1]).encode().unwrap();
    for topology in [topology, b"garbage".to_vec()] {
        let welcome = FormingMessage::JoinAnswer(JoinAnswer::Welcome { topology });
        assert_eq!(forming.answer(&address(3), &welcome, at(1)).verdict, None);
    }
}

#[test]
fn redirections_are_followed_a_few_times_at_once() {
    let mut forming = Forming::new(setup(4, &[3], None), Stored::default());
    forming.tick(at(0));
    forming.answer(&address(3), &member(3, 9), at(1));
    forming.tick(at(2));
    let redirect = FormingMessage::JoinAnswer(JoinAnswer::Redirect {
        address: address(8),
    });
    let follow = |forming: &mut Forming| forming.answer(&address(3), &redirect, at(3)).requests;
    let followed: usize = (0..10).map(|_| follow(&mut forming).len()).sum();
    assert_eq!(followed, 3);
}

fn refused(out: FormingOutputs) -> String {
    match out.verdict {
        Some(Verdict::Refused(error)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_only_an_operator_can_mend_ends_it() {
    let joining = || {
        let mut forming = Forming::new(setup(4, &[2, 3], None), Stored::default());
        forming.tick(at(0));
        forming
    };
    let mut forming = joining();
    let reason = "node 4 was removed".to_owned();
    let cluster_id = ClusterId(9);
    let no = FormingMessage::JoinAnswer(JoinAnswer::Refused { cluster_id, reason });
    let error = refused(forming.answer(&address(3), &no, at(1)));
    assert!(error.contains("was removed"), "{error}");

    let mut forming = joining();
    forming.answer(&address(2), &member(2, 8), at(1));
    forming.answer(&address(3), &member(3, 9), at(1));
    let error = refused(forming.tick(at(2)));
    assert!(error.contains("two clusters"), "{error}");

    let mut forming = joining();
    let error = refused(forming.answer(&address(2), &answers(other(4, None)), at(1)));
    assert!(error.contains("copied"), "{error}");

    let pledged = Stored::default().after(NodeId(4), &other(1, Some((1, 1))));
    let error = refused(Forming::new(setup(4, &[], None), pledged).tick(at(0)));
    assert!(error.contains("promised"), "{error}");

    let many: Vec<u128> = (1..=JOIN_MAX as u128 + 1).collect();
    let error = refused(Forming::new(setup(4, &many, None), Stored::default()).tick(at(0)));
    assert!(error.contains("257 addresses"), "{error}");
}

fn of_cluster(id: u128) -> Stored {
    Stored {
        cluster_id: Some(ClusterId(id)),
        ..Stored::default()
    }
}

#[test]
fn a_member_goes_on_at_once_and_says_where_it_is() {
    let mut forming = Forming::new(setup(2, &[1, 2, 3], Some(3)), of_cluster(9));
    assert_eq!(forming.tick(at(0)).verdict, Some(Verdict::Member));
    forming.answer(&address(3), &member(3, 9), at(1));
    let out = forming.tick(at(2));
    let (to, FormingMessage::Join { about }) = &out.requests[0] else {
        panic!("{:?}", out.requests)
    };
    assert_eq!((to, about.cluster_id), (&address(3), Some(ClusterId(9))));
    let topology = formed_topology(&[1, 2]).encode().unwrap();
    let welcome = FormingMessage::JoinAnswer(JoinAnswer::Welcome { topology });
    let out = forming.answer(&address(3), &welcome, at(3));
    assert!(matches!(out.verdict, Some(Verdict::Joined { .. })));
    assert!(forming.tick(at(10_000)).requests.is_empty(), "said once");
}

#[test]
fn a_member_never_pledges_and_never_forms() {
    let mut forming = Forming::new(setup(2, &[1, 2, 3], Some(2)), of_cluster(9));
    for ms in (0..3_000).step_by(100) {
        let about = other(1, Some((1, 1)));
        let out = forming.request(&FormingMessage::Hello { about }, at(ms));
        assert!(out.store.is_none());
        forming.answer(&address(3), &answers(other(3, Some((2, 1)))), at(ms));
        assert!(forming.tick(at(ms)).store.is_none());
    }
}

#[test]
fn data_of_its_own_keeps_a_node_out_of_another_cluster() {
    let mut forming = Forming::new(setup(2, &[3], None), of_cluster(8));
    for ms in (0..5_000).step_by(100) {
        assert!(!matches!(
            forming.tick(at(ms)).verdict,
            Some(Verdict::Refused(_))
        ));
        forming.answer(&address(3), &member(3, 9), at(ms));
    }
    let error = refused(forming.tick(at(5_000)));
    assert!(error.contains("empty --dir"), "{error}");
}

fn standing(topology: &Topology, leads: bool) -> Standing<'_> {
    let leader = Some(NodeId(1));
    Standing {
        topology,
        leader,
        leads,
    }
}

fn join_of(about: About) -> FormingMessage {
    FormingMessage::Join { about }
}

#[test]
fn a_member_sends_who_wants_in_to_the_leader() {
    let topology = formed_topology(&[1, 2]);
    let me = other(2, None);
    let reply = answer(&join_of(other(4, None)), &me, standing(&topology, false));
    let expected = FormingMessage::JoinAnswer(JoinAnswer::Redirect {
        address: address(1),
    });
    assert_eq!(reply, Some(MemberAnswer::Now(expected)));
    let about = other(4, None);
    let hello = answer(
        &FormingMessage::Hello { about },
        &me,
        standing(&topology, false),
    );
    let Some(MemberAnswer::Now(FormingMessage::HelloAnswer { leader, .. })) = hello else {
        panic!("{hello:?}")
    };
    assert_eq!(leader, Some(address(1)));
}

#[test]
fn the_leader_proposes_who_is_new_or_elsewhere_and_welcomes_who_is_known() {
    let topology = formed_topology(&[1, 2]);
    let (me, leads) = (other(1, None), standing(&topology, true));
    let proposed = |about| answer(&join_of(about), &me, leads);
    let new = MetaCommand::Join {
        cluster_id: None,
        node: node(4),
    };
    assert_eq!(proposed(other(4, None)), Some(MemberAnswer::Propose(new)));
    let mut moved = other(2, None);
    moved.node.host = "elsewhere".into();
    let update = MetaCommand::Update {
        node: moved.node.clone(),
    };
    assert_eq!(proposed(moved), Some(MemberAnswer::Propose(update)));
    let known = proposed(other(2, None));
    let Some(MemberAnswer::Now(FormingMessage::JoinAnswer(JoinAnswer::Welcome { .. }))) = known
    else {
        panic!("{known:?}")
    };
}

#[test]
fn what_became_of_the_proposal_is_the_answer() {
    let mut topology = formed_topology(&[1, 2]);
    let told = |outcome: &ProposalOutcome, topology: &Topology| match join_answer(outcome, topology)
    {
        FormingMessage::JoinAnswer(answer) => answer,
        other => panic!("{other:?}"),
    };
    let answer = told(&ProposalOutcome::Unknown, &topology);
    assert_eq!(answer, JoinAnswer::TryAgain);
    let answer = told(&ProposalOutcome::Accepted, &topology);
    assert!(matches!(answer, JoinAnswer::Welcome { .. }), "{answer:?}");
    let reply = topology.apply(&MetaCommand::Join {
        cluster_id: Some(ClusterId(1)),
        node: node(3),
    });
    let JoinAnswer::Refused { reason, .. } = told(&reply.into(), &topology) else {
        panic!("not refused")
    };
    assert!(reason.contains("two clusters never merge"), "{reason}");
    assert_eq!(topology.epoch, Epoch(2));
}

#[test]
fn a_long_reason_is_cut_between_two_characters() {
    let text = shortened(&"ä".repeat(REASON_BYTES_MAX));
    assert_eq!(text.len(), REASON_BYTES_MAX);
    let odd = shortened(&format!("a{}", "ä".repeat(REASON_BYTES_MAX)));
    assert_eq!(odd.len(), REASON_BYTES_MAX - 1);
}

fn any_message() -> impl Strategy<Value = FormingMessage> {
    let pledge = prop::option::of((1u128..9, 0u64..9));
    let about = (1u128..9, pledge, any::<u64>()).prop_map(|(id, pledge, gave_up)| About {
        gave_up,
        ..other(id, pledge)
    });
    let text = || "[a-z0-9:]{0,30}";
    let join_answer = prop_oneof![
        Just(JoinAnswer::TryAgain),
        Just(JoinAnswer::NoCluster),
        text().prop_map(|address| JoinAnswer::Redirect { address }),
        text().prop_map(|reason| JoinAnswer::Refused {
            cluster_id: ClusterId(3),
            reason
        }),
        prop::collection::vec(any::<u8>(), 0..40)
            .prop_map(|topology| JoinAnswer::Welcome { topology }),
    ];
    prop_oneof![
        about
            .clone()
            .prop_map(|about| FormingMessage::Hello { about }),
        about
            .clone()
            .prop_map(|about| FormingMessage::Join { about }),
        (
            about,
            prop::collection::vec(text(), 0..4),
            prop::option::of(text())
        )
            .prop_map(|(about, others, leader)| FormingMessage::HelloAnswer {
                about,
                others,
                leader
            }),
        join_answer.prop_map(FormingMessage::JoinAnswer),
    ]
}

proptest! {
    #[test]
    fn messages_come_back_as_they_went(message in any_message()) {
        let bytes = message.encode().unwrap();
        prop_assert_eq!(FormingMessage::decode(&bytes), Ok(message));
    }

    #[test]
    fn garbage_is_a_message_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 4..300)) {
        bytes[..4].copy_from_slice(&[1, 1, 0, 1]);
        let _ = FormingMessage::decode(&bytes);
    }

    #[test]
    fn whatever_is_said_at_whatever_address_a_node_goes_on(
        said in prop::collection::vec((any_message(), 1u128..9, any::<bool>(), 0u64..4000), 0..80),
        expect in prop::option::of(1u32..4),
    ) {
        let mut forming = Forming::new(setup(4, &[1, 2, 3], expect), Stored::default());
        let mut now = 0;
        for (message, id, is_answer, ms) in said {
            now += ms;
            let before = forming.stored.clone();
            let out = match is_answer {
                true => forming.answer(&address(id), &message, at(now)),
                false => forming.request(&message, at(now)),
            };
            prop_assert_eq!(out.store.is_some(), forming.stored != before);
            prop_assert!(forming.stored.gave_up >= before.gave_up);
            forming.tick(at(now));
        }
    }
}

#[test]
fn a_message_beyond_its_bounds_is_not_read() {
    let about = other(1, None);
    let many = FormingMessage::HelloAnswer {
        about,
        others: vec![String::new(); OTHERS_MAX + 1],
        leader: None,
    };
    let error = FormingMessage::decode(&many.encode().unwrap()).unwrap_err();
    assert!(matches!(error, MessageError::Unsound(_)), "{error}");
    let mut about = other(1, None);
    about.node.host = String::new();
    let nowhere = FormingMessage::Hello { about };
    assert!(FormingMessage::decode(&nowhere.encode().unwrap()).is_err());
    let mut newer = FormingMessage::JoinAnswer(JoinAnswer::TryAgain)
        .encode()
        .unwrap();
    newer[1] = 2;
    assert_eq!(FormingMessage::decode(&newer), Err(MessageError::Schema(2)));
}
