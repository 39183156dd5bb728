//! Questions and answers between nodes: they come back as they were said, and nothing else is taken.

use super::*;
use crate::node::digests::DigestAsk;
use crate::node::operator::Done;
use proptest::prelude::*;
use ringfort_cluster::forming::JoinAnswer;
use ringfort_cluster::steward::{NodeLoad, Task};
use ringfort_cluster::topology::{ClusterId, Node, Ports};
use ringfort_cluster::{MetaCommand, ReplicaId};

fn node() -> Node {
    Node::new(NodeId(1), "h", Ports::default())
}

fn topology() -> Topology {
    let mut topology = Topology::default();
    let init = MetaCommand::Init {
        cluster_id: ClusterId(1),
        shards: 2,
        replicas: 3,
        node: node(),
    };
    topology.apply(&init).unwrap();
    topology
}

fn requests() -> Vec<Request> {
    let again = FormingMessage::JoinAnswer(JoinAnswer::TryAgain);
    vec![
        Request::Forming(again),
        Request::Report(Box::new(NodeReport {
            node: node(),
            epoch: Epoch(4),
            groups: Vec::new(),
            lost: vec![(ShardId(1), ReplicaId(2))],
            suspect: Vec::new(),
            load: NodeLoad {
                p99_us: 7,
                ..NodeLoad::default()
            },
        })),
        Request::Order(Order {
            to: NodeId(1),
            shard: ShardId(1),
            term: Term(2),
            based_on: Epoch(3),
            task: Task::AddLearner(ReplicaId(4)),
        }),
        Request::Offer(Box::new(topology())),
        Request::Operate(Box::new(OperatorQuestion::Drain {
            node: "abcd".into(),
            force: true,
        })),
        Request::Digest(DigestQuestion {
            shard: ShardId(1),
            token: 5,
            ask: DigestAsk::Mark,
        }),
    ]
}

fn answer() -> ReportAnswer {
    ReportAnswer {
        taken: true,
        leader: Some((NodeId(3), "h:1".into())),
        topology: Some(topology().encode().unwrap()),
        leaders: vec![(ShardId(0), Term(1), NodeId(2))],
        down: vec![NodeId(9)],
    }
}

fn responses() -> Vec<Response> {
    let again = FormingMessage::JoinAnswer(JoinAnswer::TryAgain);
    vec![
        Response::forming(again),
        Response::Report(Box::new(answer())),
        Response::Order(Ok(())),
        Response::Order(Err("no".into())),
        Response::Offer(Epoch(7)),
        Response::Refused("not yet".into()),
        Response::Digest(DigestAnswer::failed("so")),
        Response::Operate(Box::new(OperatorAnswer::Done(Done::default()))),
    ]
}

#[test]
fn what_is_said_comes_back() {
    for request in requests() {
        let bytes = request.encode().unwrap();
        assert_eq!(Request::decode(&bytes).unwrap(), request);
    }
    for response in responses() {
        let bytes = response.encode().unwrap();
        assert_eq!(Response::decode(&bytes).unwrap(), response);
    }
}

#[test]
fn what_is_cut_short_or_of_an_unknown_kind_is_refused() {
    for request in requests() {
        let bytes = request.encode().unwrap();
        assert!((0..bytes.len()).all(|end| Request::decode(&bytes[..end]).is_err()));
    }
    for response in responses() {
        let bytes = response.encode().unwrap();
        assert!((0..bytes.len()).all(|end| Response::decode(&bytes[..end]).is_err()));
    }
    assert!(matches!(
        Request::decode(&[99]),
        Err(ControlError::Kind(99))
    ));
    assert!(matches!(Response::decode(&[0]), Err(ControlError::Kind(0))));
}

#[test]
fn what_is_beyond_its_bounds_is_refused() {
    let too_many = |change: fn(&mut ReportAnswer)| {
        let mut answer = answer();
        change(&mut answer);
        let bytes = Response::Report(Box::new(answer)).encode().unwrap();
        let refused = Response::decode(&bytes);
        assert!(matches!(refused, Err(ControlError::Unsound(_))));
    };
    too_many(|answer| answer.down = vec![NodeId(1); NODES_MAX + 1]);
    too_many(|answer| {
        let leader = (ShardId(0), Term(1), NodeId(2));
        answer.leaders = vec![leader; GROUPS_OF_REPORT_MAX + 1];
    });
    too_many(|answer| answer.leader = Some((NodeId(1), "a".repeat(ADDRESS_BYTES_MAX + 1))));
    let long = OperatorQuestion::Undrain {
        node: "a".repeat(OPERATE_BYTES_MAX),
    };
    let long = Request::Operate(Box::new(long)).encode().unwrap();
    assert!(matches!(
        Request::decode(&long),
        Err(ControlError::Unsound(_))
    ));
    let long = codec::encode(&Some("a".repeat(REASON_BYTES_MAX + 1))).unwrap();
    assert!(Response::decode(&tagged(ORDER, &long)).is_err());
    let long = codec::encode(&"a".repeat(REASON_BYTES_MAX + 1)).unwrap();
    assert!(Response::decode(&tagged(REFUSED, &long)).is_err());
}

proptest! {
    #[test]
    fn damaged_bytes_never_panic(which in 0..8usize, at: prop::sample::Index, to: u8, noise: Vec<u8>) {
        let _ = (Request::decode(&noise), Response::decode(&noise));
        let mut bytes = responses()[which].encode().unwrap();
        let place = at.index(bytes.len());
        bytes[place] = to;
        let _ = (Request::decode(&bytes), Response::decode(&bytes));
        let mut bytes = requests()[which % 6].encode().unwrap();
        let place = at.index(bytes.len());
        bytes[place] = to;
        let _ = (Request::decode(&bytes), Response::decode(&bytes));
    }
}
