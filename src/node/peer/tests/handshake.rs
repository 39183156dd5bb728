//! Who is let in: the secret, the identity, the cluster, the version, and where the port may listen.

use std::net::IpAddr;

use ringfort_cluster::topology::ClusterId;
use tokio::io::{duplex, AsyncReadExt, AsyncWriteExt};

use super::super::hello::introduce;
use super::*;

const RAFT: Purpose = Purpose::Link(Channel::Raft);

fn with_secret(node: NodeId, text: &str) -> Arc<Home> {
    Arc::new(Home::new(node, secret(text), timing()))
}

fn of_cluster(node: NodeId, cluster: u128) -> Arc<Home> {
    let home = home(node, timing());
    home.set_cluster(ClusterId(cluster));
    home
}

type Met = (
    Result<NodeId, HandshakeError>,
    Result<(Peer, Purpose), HandshakeError>,
);

/// The handshake of two nodes; what each of them makes of it.
fn meet(dialer: Arc<Home>, acceptor: Arc<Home>, expected: NodeId) -> Met {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (mut near, mut far) = duplex(1024);
    runtime.block_on(async {
        let accept = async {
            let examined = examine(&mut far, &acceptor).await?;
            far.write_all(&examined.welcome()).await?;
            Ok((examined.from, examined.purpose))
        };
        tokio::join!(introduce(&mut near, &dialer, expected, RAFT, 7), accept)
    })
}

#[test]
fn both_sides_learn_who_is_there() {
    for expected in [REMOTE, NodeId::ZERO] {
        let (found, from) = meet(home(LOCAL, timing()), home(REMOTE, timing()), expected);
        assert_eq!(found.unwrap(), REMOTE);
        assert_eq!(from.unwrap(), (peer(7), RAFT));
    }
}

#[test]
fn a_wrong_secret_is_named_on_both_sides() {
    let none = |node| Arc::new(Home::new(node, PeerSecurity::default(), timing()));
    let pairs = [
        (with_secret(LOCAL, "one"), with_secret(REMOTE, "another")),
        (none(LOCAL), with_secret(REMOTE, "another")),
        (with_secret(LOCAL, "one"), none(REMOTE)),
    ];
    for (dialer, acceptor) in pairs {
        let (found, from) = meet(dialer, acceptor, REMOTE);
        assert!(matches!(found, Err(HandshakeError::Secret)));
        let error = from.unwrap_err();
        assert!(error
            .to_string()
            .contains("the cluster secret does not match"));
    }
}

#[test]
fn an_acceptor_that_cannot_prove_itself_is_not_believed() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (mut near, mut far) = duplex(1024);
    let found = runtime.block_on(async {
        let dialer = home(LOCAL, timing());
        let impostor = async {
            let mut hello = [0; 96];
            far.read_exact(&mut hello).await.unwrap();
            // Everything as it should be, but no secret to prove it with.
            let mut challenge = [0; 80];
            challenge[..10].copy_from_slice(&hello[..10]);
            challenge[16..32].copy_from_slice(&REMOTE.0.to_le_bytes());
            far.write_all(&challenge).await.unwrap();
            let mut proof = [0; 32];
            far.read_exact(&mut proof).await.unwrap();
            let mut verdict = [0; 33];
            verdict[1..].copy_from_slice(&proof); // The dialer's own proof, sent back.
            far.write_all(&verdict).await.unwrap();
        };
        tokio::join!(introduce(&mut near, &dialer, REMOTE, RAFT, 0), impostor).0
    });
    assert!(matches!(found, Err(HandshakeError::Secret)));
}

#[test]
fn another_node_under_the_address_is_named() {
    let (found, from) = meet(home(LOCAL, timing()), home(NodeId(0xC), timing()), REMOTE);
    for error in [found.unwrap_err(), from.unwrap_err()] {
        let HandshakeError::WrongNode { expected, found } = error else {
            panic!("{error}");
        };
        assert_eq!((expected, found), (REMOTE, NodeId(0xC)));
    }
}

#[test]
fn nodes_of_different_clusters_do_not_come_together() {
    let (found, from) = meet(of_cluster(LOCAL, 1), of_cluster(REMOTE, 2), REMOTE);
    let [near, far] = [found.unwrap_err(), from.unwrap_err()].map(|error| match error {
        HandshakeError::OtherCluster { ours, theirs } => (ours.0, theirs.0),
        other => panic!("{other}"),
    });
    assert_eq!((near, far), ((1, 2), (2, 1)));
}

#[test]
fn a_node_of_no_cluster_may_speak_to_one() {
    for (dialer, acceptor) in [(0, 2), (1, 0), (1, 1), (0, 0)] {
        let met = meet(
            of_cluster(LOCAL, dialer),
            of_cluster(REMOTE, acceptor),
            REMOTE,
        );
        assert!(met.0.is_ok() && met.1.is_ok());
    }
}

/// What a node makes of a peer that says `bytes` and nothing more.
fn hears(bytes: &[u8]) -> (HandshakeError, Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (mut near, mut far) = duplex(1024);
    runtime.block_on(async {
        near.write_all(bytes).await.unwrap();
        let error = examine(&mut far, &home(REMOTE, timing())).await.err();
        drop(far);
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.unwrap();
        (error.unwrap(), answer)
    })
}

#[test]
fn a_node_of_another_version_is_told_ours() {
    let (error, answer) = hears(b"ringfort\x01\x00");
    assert!(matches!(error, HandshakeError::Version { theirs: 1 }));
    assert_eq!(answer, b"ringfort\x02\x00");
}

#[test]
fn whoever_is_no_node_is_told_nothing() {
    let (error, answer) = hears(b"*1\r\n$4\r\nPING\r\n");
    assert!(matches!(error, HandshakeError::NotANode));
    assert!(answer.is_empty());
}

#[test]
fn links_tell_of_a_wrong_node_and_find_the_right_one_later() {
    on_a_worker(async {
        let other = Remote::start(home(NodeId(0xC), timing()));
        let address = other.address.clone();
        let local = Local::new(timing());
        local.lead_to(&address);
        let wrong = Event::WrongNode(REMOTE, NodeId(0xC));
        // Each of the two links tells it once, however often it tries.
        local.recorder.wait_for_times(wrong.clone(), 2).await;
        tokio::time::sleep(timing().refused_pause * 4).await;
        assert_eq!(local.recorder.events(), [wrong.clone(), wrong]);
        assert!(!local.links.is_up(REMOTE, Channel::Raft));
        assert!(other.recorder.events().is_empty());
        drop(other);
        let _remote = Remote::start_at(&address, home(REMOTE, timing()));
        local.is_up(1).await;
    });
}

#[test]
fn links_with_a_wrong_secret_stay_down_and_try_only_now_and_then() {
    on_a_worker(async {
        let raw = Raw::start();
        let local = Local::at_home(with_secret(LOCAL, "guessed"), 0);
        local.lead_to(&raw.address);
        let mut attempts = 0;
        let start = Instant::now();
        while start.elapsed() < timing().refused_pause * 4 {
            let (mut stream, _) = raw.listener.accept().await.unwrap();
            attempts += 1;
            let refused = examine(&mut stream, &raw.home).await.err();
            assert!(matches!(refused, Some(HandshakeError::Secret)));
        }
        // Two links, each after at least half a pause.
        let pauses = start.elapsed().as_millis() / (timing().refused_pause / 2).as_millis();
        assert!(
            (4..=2 * (pauses + 2)).contains(&attempts),
            "{attempts} in {pauses}"
        );
        assert!(local.recorder.events().is_empty());
    });
}

#[test]
fn without_secret_and_certificates_the_port_stays_on_loopback() {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let open = PeerSecurity::default();
    for inside in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
        open.may_listen(address(inside)).unwrap();
    }
    for outside in ["0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1"] {
        let error = open.may_listen(address(outside)).unwrap_err().to_string();
        assert!(
            error.contains(outside) && error.contains("--cluster-secret"),
            "{error}"
        );
        secret("long enough").may_listen(address(outside)).unwrap();
    }
    assert!(matches!(Secret::new(""), Err(SecurityError::EmptySecret)));
}

#[test]
fn an_unguarded_listener_beyond_loopback_is_refused_by_the_loop_too() {
    on_a_worker(async {
        let home = Arc::new(Home::new(REMOTE, PeerSecurity::default(), timing()));
        let refused = accept_loop(listen("0.0.0.0:0"), home, 1, |_, _| {}).await;
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    });
}

#[test]
fn a_peer_that_never_says_hello_is_dropped_and_a_silent_port_given_up() {
    on_a_worker(async {
        let quick = Timing {
            handshake: Duration::from_millis(50),
            ..timing()
        };
        let remote = Remote::start(home(REMOTE, quick.clone()));
        let mut mute = TcpStream::connect(&remote.address).await.unwrap();
        let ended = tokio::time::timeout(PATIENCE, mute.read(&mut [0])).await;
        assert!(matches!(ended, Ok(Ok(0) | Err(_))));

        let silent = listen("127.0.0.1:0");
        let address = silent.local_addr().unwrap().to_string();
        let home = home(LOCAL, quick);
        let asked = ask(&home, at(&address), b"anyone?", PATIENCE).await;
        let error = asked.unwrap_err();
        assert!(matches!(error, AskError::NotAsked(DialError::TooSlow)));
        assert!(error.is_certainly_unseen());
    });
}
