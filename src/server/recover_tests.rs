//! Nodes in one process, most of which are gone for ever: by the word of the operator the others go on with what they have, and become whole
//! again with new nodes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ringfort_cluster::topology::Topology;
use ringfort_cluster::{NodeId, ShardId};

use crate::node::operator::{
    OperatorAnswer, OperatorError, OperatorQuestion, RecoverView, Refusal,
};
use crate::node::report::{NodeHandle, State};

use super::revival_tests::{all_whole, check_keys, three, until, Member, KEYS, SHARDS};

fn recover(at: &Member, lost: &[NodeId], accept: bool) -> Result<RecoverView, OperatorError> {
    let answer = at.shared().desk.ask(OperatorQuestion::Recover {
        lost: lost.iter().map(NodeId::to_string).collect(),
        accept_data_loss: accept,
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    match runtime.block_on(answer) {
        OperatorAnswer::Recover(view) => Ok(*view),
        OperatorAnswer::Refused(error) => Err(error),
        other => panic!("{other:?}"),
    }
}

fn ids(members: &[Member]) -> Vec<NodeId> {
    let ids = members.iter().map(|member| member.shared().node_id());
    ids.collect()
}

fn is_led(member: &Member) -> bool {
    (0..=SHARDS as u16).all(|shard| member.shared().leads(shard))
}

/// What was written is on every node, not only on a majority.
fn settle() {
    std::thread::sleep(Duration::from_secs(1));
}

#[test]
fn one_of_three_goes_on_alone_with_everything_and_grows_again() {
    let mut members = three();
    settle();
    let all = ids(&members);
    let error = recover(&members[2], &all[..2], true).unwrap_err();
    assert_eq!(error.kind, Refusal::Conflict);
    assert!(
        error
            .reason
            .contains("answers: if it is to go, stop it first"),
        "{error}"
    );
    let error = recover(&members[2], &all[2..], true).unwrap_err();
    assert!(error.reason.contains("is not lost"), "{error}");
    let survivor = members.pop().unwrap();
    members.iter_mut().for_each(|member| member.running = None);

    // One is lost, and the other does not answer.
    let error = recover(&survivor, &all[..1], true).unwrap_err();
    assert!(
        error
            .reason
            .contains(&format!("node {} does not answer", all[1])),
        "{error}"
    );
    let plan = recover(&survivor, &all[..2], false).unwrap();
    assert!(!plan.done && plan.notes[0].starts_with("Nothing was changed"));
    assert_eq!((plan.groups.len(), plan.left_alone), (SHARDS + 1, 0));
    assert!(plan
        .groups
        .iter()
        .all(|group| group.node == all[2].to_string()));
    assert!(!is_led(&survivor), "nothing was changed");

    let done = recover(&survivor, &all[..2], true).unwrap();
    assert!(done.done && done.empty_shards.is_empty());
    until("it leads everything", || is_led(&survivor));
    let topology = survivor.topology();
    assert_eq!(topology.nodes.keys().collect::<Vec<_>>(), [&all[2]]);
    assert!(topology.removed.contains_key(&all[0]));
    let error = recover(&survivor, &all[..2], true).unwrap_err();
    assert!(
        error.reason.contains("nothing is to be recovered"),
        "{error}"
    );
    let survivors = [survivor];
    check_keys(&survivors);

    // Who was lost and comes back with its data is told that it is out, and ends.
    members[0].start();
    until("it is told that it is out", || {
        let why = members[0].shared().failure().unwrap_or_default();
        why.contains("was removed from the cluster") && why.contains("start it with an empty --dir")
    });
    assert!((0..=SHARDS as u16).all(|shard| !members[0].shared().leads(shard)));
    drop(members);
    check_keys(&survivors);

    let [survivor] = survivors;
    let join = Some(survivor.peer_port);
    let members = [survivor, Member::new(join), Member::new(join)];
    all_whole(&members);
    check_keys(&members);
    // A restart finds all of it again, in the log and in snapshots.
    let [mut survivor, second, third] = members;
    survivor.running = None;
    survivor.start();
    check_keys(&[survivor, second, third]);
}

#[test]
fn suspects_that_wait_for_one_that_never_comes_back_go_on_by_the_word_of_the_operator() {
    let mut members = three();
    settle();
    let all = ids(&members);
    members.iter_mut().for_each(Member::lose_power);
    members.pop();
    members.iter_mut().for_each(Member::start);
    let error = recover(&members[0], &all[1..2], true).unwrap_err();
    assert!(error.reason.contains("answers"), "{error}");
    let done = recover(&members[0], &all[2..], true).unwrap();
    assert_eq!((done.groups.len(), done.left_alone), (SHARDS + 1, 0));
    assert!(done.groups.iter().all(|group| group.suspect));
    check_keys(&members);
    until("nobody is doubted any more", || {
        members.iter().all(|member| {
            let shared = member.shared();
            shared.topology.doubts().suspect.is_empty()
                && shared.cluster_state().suspects().is_empty()
        })
    });
    members.push(Member::new(Some(members[0].peer_port)));
    all_whole(&members);
    check_keys(&members);
}

fn on_nodes(topology: &Topology, shard: ShardId) -> BTreeSet<NodeId> {
    let place = topology.place(shard).unwrap();
    let voters = place.members.voters.iter();
    voters.filter_map(|id| place.node_of(*id)).collect()
}

fn shard_of(topology: &Topology, key: &str) -> ShardId {
    let map = topology.shard_map().unwrap();
    map.shard_of_key(key.as_bytes())
}

#[test]
fn two_of_five_go_on_and_shards_that_were_on_the_lost_alone_begin_again_empty() {
    let first = Member::new(None);
    let join = Some(first.peer_port);
    let mut members = vec![first];
    members.extend((0..4).map(|_| Member::new(join)));
    let shards = || (0..SHARDS as u16).map(ShardId);
    until(
        "every shard has three voters and nothing is under way",
        || {
            members.iter().all(|member| {
                let topology = member.topology();
                let is_whole = |shard| {
                    let members = &topology.place(shard).unwrap().members;
                    members.learners.is_empty() && on_nodes(&topology, shard).len() == 3
                };
                topology.nodes.len() == 5 && shards().all(is_whole)
            })
        },
    );
    let mut client = members[0].client();
    for key in 0..KEYS {
        until("a write is taken", || {
            client.ask(&format!("SET key:{key} {key}")) == "+OK"
        });
    }
    settle();
    let topology = members[0].topology();
    let lost = on_nodes(&topology, ShardId(0));
    let empty: Vec<u32> = shards()
        .filter(|shard| on_nodes(&topology, *shard) == lost)
        .map(|shard| shard.0.into())
        .collect();
    members.retain(|member| !lost.contains(&member.shared().node_id()));
    assert_eq!(members.len(), 2);
    let lost: Vec<NodeId> = lost.into_iter().collect();
    let done = recover(&members[1], &lost, true).unwrap();
    assert_eq!(done.empty_shards, empty);
    until(
        "every shard is served, with all that was not only on the lost",
        || {
            let mut client = members[0].client();
            (0..KEYS).all(|key| {
                let name = format!("key:{key}");
                let shard = u32::from(shard_of(&topology, &name).0);
                let expected = match empty.contains(&shard) {
                    true => "(nil)".to_owned(),
                    false => key.to_string(),
                };
                client.ask(&format!("GET {name}")) == expected
            })
        },
    );
    let join = Some(members[0].peer_port);
    members.push(Member::new(join));
    all_whole(&members);
    let started = Instant::now();
    check_keys_written(&members);
    assert!(started.elapsed() < Duration::from_secs(60));
}

fn order(at: &Member, question: &OperatorQuestion) -> Result<(), OperatorError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    match runtime.block_on(at.shared().desk.ask(question.clone())) {
        OperatorAnswer::Done(_) => Ok(()),
        OperatorAnswer::Refused(error) => Err(error),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_node_that_was_removed_says_so_while_it_runs_and_stays_out_when_it_comes_back() {
    let mut members = three();
    let mut removed = Member::new(Some(members[0].peer_port));
    let id = removed.shared().node_id();
    until("all know it", || {
        let mut all = members.iter();
        all.all(|member| member.topology().nodes.contains_key(&id))
    });
    let mut client = removed.client();
    until("it serves", || client.ask("GET key:1") == "1");
    let node = id.to_string();
    let (force, name) = (false, node.clone());
    order(&members[0], &OperatorQuestion::Drain { node, force }).unwrap();
    let remove = OperatorQuestion::Remove { node: name };
    until("it is drained and removed", || {
        order(&members[0], &remove).is_ok()
    });
    until("it says so", || {
        let state = NodeHandle::state(&**removed.shared());
        matches!(state, State::Waiting(why) if why.contains("was removed from the cluster"))
    });
    until("its clients are told", || {
        let answer = client.ask("GET key:1");
        answer.starts_with("-CLUSTERDOWN this node was removed from the cluster")
    });
    until("it holds nothing", || {
        removed.shared().cluster_state().state().replicas.is_empty()
    });
    assert!(
        removed.shared().failure().is_none(),
        "it stays until it is stopped"
    );
    removed.running = None;
    removed.start();
    until("it is told that it is out", || {
        let why = removed.shared().failure().unwrap_or_default();
        why.contains("stays out: start it with an empty --dir")
    });
    all_whole(&members);
    check_keys(&members);
    members.clear();
}

fn check_keys_written(members: &[Member]) {
    let mut client = members[0].client();
    for key in 0..KEYS {
        until("a write is taken", || {
            client.ask(&format!("SET key:{key} {key}")) == "+OK"
        });
    }
    check_keys(members);
}
