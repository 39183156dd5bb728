//! Certificates on both sides: everything works as without them, and nobody else comes in.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::two_way::WholeNode;
use super::*;

/// A CA of its own, which has signed one node's certificate for 127.0.0.1, as files.
fn certificates(directory: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let node = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let node = node.signed_by(&key, &ca).unwrap();
    std::fs::write(directory.join("ca.pem"), ca.pem()).unwrap();
    std::fs::write(directory.join("node.pem"), node.pem()).unwrap();
    std::fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
}

fn load(directory: &Path) -> Result<PeerTls, SecurityError> {
    let file = |name| directory.join(name);
    PeerTls::load(&file("node.pem"), &file("key.pem"), &file("ca.pem"))
}

fn tls_home(node: NodeId, directory: &Path) -> Arc<Home> {
    let security = PeerSecurity {
        secret: None,
        tls: Some(Arc::new(load(directory).unwrap())),
    };
    Arc::new(Home::new(node, security, timing()))
}

#[test]
fn links_and_questions_go_through_tls() {
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path());
    on_a_worker(async {
        let make = |home, incoming| {
            let control: ControlHandler = Rc::new(|_, request| Box::pin(async { request }));
            Serving::new(home, incoming, control, Rc::new(drop))
        };
        let home = tls_home(REMOTE, directory.path());
        let remote = Remote::start_with("127.0.0.1:0", home, Box::new(make));
        let local = Local::at_home(tls_home(LOCAL, directory.path()), 0);
        local.lead_to(&remote.address);
        local.is_up(1).await;
        let frames: Vec<_> = (0..40).map(|number| vec![number; 100_000]).collect();
        for frame in &frames {
            local.send(Channel::Forward, frame);
        }
        remote.recorder.wait_for_frames(frames.len()).await;
        assert!(remote.recorder.frames() == frames);

        let asker = tls_home(LOCAL, directory.path());
        let answer = ask(&asker, at(&remote.address), b"echo", PATIENCE).await;
        assert_eq!(answer.unwrap(), (REMOTE, b"echo".to_vec()));
        drop(remote);
        let down = Event::LinkDown(REMOTE, Channel::Forward);
        local.recorder.wait_for(down).await;
    });
}

#[test]
fn frames_go_both_ways_at_once_through_tls() {
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path());
    on_a_worker(async {
        let small = WholeNode::start(tls_home(LOCAL, directory.path()), 1);
        let large = WholeNode::start(tls_home(REMOTE, directory.path()), 1);
        large.meets(&small);
        small.meets(&large);
        small.is_up(REMOTE, 1).await;
        large.is_up(LOCAL, 1).await;
        let frames: Vec<_> = (1..=60).map(|number| vec![number; 300_000]).collect();
        // More than the sockets hold: both sides read while they cannot write.
        for frame in &frames {
            small.workers[0].send(REMOTE, frame);
            large.workers[0].send(LOCAL, frame);
        }
        for node in [&small, &large] {
            let recorder = &node.workers[0].recorder;
            recorder.wait_for_frames(frames.len()).await;
            assert!(recorder.frames() == frames);
        }
        assert_eq!(small.dialers().len() + large.dialers().len(), 1);
    });
}

#[test]
fn a_certificate_of_another_ca_and_none_at_all_are_refused() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificates(ours.path());
    certificates(theirs.path());
    on_a_worker(async {
        let quick = Timing {
            handshake: Duration::from_millis(500),
            ..timing()
        };
        let remote = Remote::start(tls_home(REMOTE, ours.path()));
        let strangers = [
            tls_home(LOCAL, theirs.path()),
            Arc::new(Home::new(LOCAL, PeerSecurity::default(), quick)),
        ];
        for stranger in strangers {
            let error = ask(&stranger, at(&remote.address), b"x", PATIENCE).await;
            assert!(error.unwrap_err().is_certainly_unseen());
        }
        // One that trusts our CA but is signed by another is refused by the acceptor.
        let mixed = theirs.path();
        std::fs::copy(ours.path().join("ca.pem"), mixed.join("ca.pem")).unwrap();
        let error = ask(&tls_home(LOCAL, mixed), at(&remote.address), b"x", PATIENCE).await;
        assert!(error.unwrap_err().is_certainly_unseen());
    });
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let error = load(directory.path()).err().unwrap().to_string();
    assert!(error.contains("node.pem"), "{error}");
    certificates(directory.path());
    std::fs::write(directory.path().join("ca.pem"), "nothing").unwrap();
    let error = load(directory.path()).err().unwrap().to_string();
    assert!(error.contains("ca.pem"), "{error}");
}
