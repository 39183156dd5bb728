//! Links over loopback: order, backlog, and what a broken connection means.

use super::super::frame::FrameReader;
use super::*;

/// A frame that says which one it is, with a length of its own.
fn numbered(number: u32) -> Vec<u8> {
    let bytes = 4 + (number as usize * 7919) % 20_000;
    let mut frame = vec![number as u8; bytes];
    frame[..4].copy_from_slice(&number.to_le_bytes());
    frame
}

#[test]
fn frames_arrive_in_order_and_whole_through_partial_writes() {
    on_a_worker(async {
        let remote = Remote::start(home(REMOTE, timing()));
        let local = Local::new(timing());
        local.lead_to(&remote.address);
        local.is_up(1).await;
        const FRAMES: u32 = 800;
        for number in 0..FRAMES {
            let sent = local.links.send(REMOTE, Channel::Raft, &numbered(number));
            sent.unwrap();
            if number % 100 == 99 {
                local.links.flush();
            }
        }
        remote.recorder.wait_for_frames(FRAMES as usize).await;
        for (number, frame) in (0..).zip(remote.recorder.frames()) {
            assert!(frame == numbered(number), "frame {number}");
        }
        assert_eq!(local.links.backlog_bytes(REMOTE, Channel::Raft), 0);
    });
}

#[test]
fn frames_of_one_write_are_handed_over_as_one_batch_and_channels_are_told_apart() {
    on_a_worker(async {
        let remote = Remote::start(home(REMOTE, timing()));
        let local = Local::at_home(home(LOCAL, timing()), 3);
        local.lead_to(&remote.address);
        local.is_up(1).await;
        for frame in [b"a", b"b"] {
            local.links.send(REMOTE, Channel::Forward, frame).unwrap();
        }
        local.links.flush();
        remote.recorder.wait_for(Event::EndOfBatch).await;
        local.send(Channel::Raft, b"c");
        remote.recorder.wait_for_times(Event::EndOfBatch, 2).await;
        let mut events = remote.recorder.events();
        events.retain(|event| !matches!(event, Event::IncomingUp(..)));
        let frame = |channel, frame: &'static [u8]| {
            Event::Frame(peer(3), channel, Bytes::from_static(frame))
        };
        let expected = [
            frame(Channel::Forward, b"a"),
            frame(Channel::Forward, b"b"),
            Event::EndOfBatch,
            frame(Channel::Raft, b"c"),
            Event::EndOfBatch,
        ];
        assert_eq!(events, expected);
    });
}

#[test]
fn a_backlog_is_bounded_and_goes_out_when_the_reader_is_back() {
    on_a_worker(async {
        let raw = Raw::start();
        let local = Local::new(timing());
        local.lead_to(&raw.address);
        let [_raft, mut forward] = raw.accept_both().await;
        local.is_up(1).await;
        let frame = vec![1; 4 << 20];
        let mut taken = 0;
        let refusal = loop {
            match local.links.send(REMOTE, Channel::Forward, &frame) {
                Ok(()) => taken += 1,
                Err(error) => break error,
            }
            local.links.flush();
            // The link's task sends what the socket takes.
            tokio::task::yield_now().await;
        };
        assert_eq!(refusal, SendError::Full);
        let backlog = local.links.backlog_bytes(REMOTE, Channel::Forward);
        assert!(backlog <= FORWARD_BACKLOG_BYTES_MAX, "{backlog}");
        assert!(backlog > FORWARD_BACKLOG_BYTES_MAX - (8 << 20), "{backlog}");
        // The other channel does not feel it.
        local.send(Channel::Raft, b"heartbeat");
        assert_eq!(local.links.backlog_bytes(REMOTE, Channel::Raft), 0);

        let mut reader = FrameReader::new(FRAME_BYTES_MAX);
        for _ in 0..taken {
            assert!(reader.read(&mut forward).await.unwrap() == frame);
        }
        assert_eq!(local.links.backlog_bytes(REMOTE, Channel::Forward), 0);
        local.send(Channel::Forward, b"on");
        assert_eq!(reader.read(&mut forward).await.unwrap(), &b"on"[..]);
    });
}

#[test]
fn a_frame_larger_than_the_backlog_is_taken_when_nothing_waits() {
    on_a_worker(async {
        let raw = Raw::start();
        let local = Local::new(timing());
        local.lead_to(&raw.address);
        let [mut raft, _forward] = raw.accept_both().await;
        local.is_up(1).await;
        let large = vec![1; RAFT_BACKLOG_BYTES_MAX + 1];
        local.send(Channel::Raft, &large);
        // More than the sockets can have taken of the first.
        let more = local.links.send(REMOTE, Channel::Raft, &vec![2; 16 << 20]);
        assert_eq!(more, Err(SendError::Full));
        let mut reader = FrameReader::new(FRAME_BYTES_MAX);
        assert!(next_frame(&mut reader, &mut raft).await == large);
    });
}

#[test]
fn nobody_and_those_who_are_down_are_told_apart_from_those_who_are_behind() {
    on_a_worker(async {
        let local = Local::new(timing());
        let nobody = local.links.send(REMOTE, Channel::Raft, b"x");
        assert_eq!(nobody, Err(SendError::Down));
        local.lead_to("127.0.0.1:1");
        tokio::time::sleep(Duration::from_millis(30)).await;
        let down = local.links.send(REMOTE, Channel::Raft, b"x");
        assert_eq!(down, Err(SendError::Down));
        let is_news = |event: &Event| *event != Event::NobodyListens(REMOTE);
        assert!(!local.recorder.events().iter().any(is_news));
        assert_eq!(local.links.address(REMOTE).unwrap(), "127.0.0.1:1");
    });
}

#[test]
fn a_peer_that_came_back_on_its_port_is_found_again() {
    on_a_worker(async {
        let remote = Remote::start(home(REMOTE, timing()));
        let address = remote.address.clone();
        let local = Local::new(timing());
        local.lead_to(&address);
        local.is_up(1).await;
        drop(remote);
        for channel in Channel::ALL {
            local
                .recorder
                .wait_for(Event::LinkDown(REMOTE, channel))
                .await;
            assert!(!local.links.is_up(REMOTE, channel));
        }
        let remote = Remote::start_at(&address, home(REMOTE, timing()));
        local.is_up(2).await;
        local.send(Channel::Forward, b"again");
        remote.recorder.wait_for_frames(1).await;
        for channel in Channel::ALL {
            let mut changes = local.recorder.changes();
            let (up, down) = (
                Event::LinkUp(REMOTE, channel),
                Event::LinkDown(REMOTE, channel),
            );
            changes.retain(|event| *event == up || *event == down);
            assert_eq!(changes, [up.clone(), down, up]);
        }
    });
}

#[test]
fn nothing_sent_before_a_link_went_down_arrives_after_it_is_up_again() {
    on_a_worker(async {
        let raw = Raw::start();
        let local = Local::new(timing());
        local.lead_to(&raw.address);
        let [raft, _forward] = raw.accept_both().await;
        local.is_up(1).await;
        // More than the sockets hold: a part of it still waits in the link when the connection breaks.
        for _ in 0..16 {
            local.send(Channel::Raft, &vec![1; 1 << 20]);
        }
        assert!(local.links.backlog_bytes(REMOTE, Channel::Raft) > 0);
        drop(raft);
        let down = Event::LinkDown(REMOTE, Channel::Raft);
        until("the link is down", || {
            // Whoever sends on does not know yet; what is taken now must not arrive later either.
            let _ = local.links.send(REMOTE, Channel::Raft, b"before");
            local.links.flush();
            local.recorder.count(&down) == 1
        })
        .await;
        let (mut raft, _) = raw.accept().await;
        let up = Event::LinkUp(REMOTE, Channel::Raft);
        local.recorder.wait_for_times(up, 2).await;
        local.send(Channel::Raft, b"after");
        let mut reader = FrameReader::new(FRAME_BYTES_MAX);
        assert_eq!(next_frame(&mut reader, &mut raft).await, &b"after"[..]);
    });
}

#[test]
fn a_link_that_its_owner_has_closed_is_told_of_once_and_comes_back_when_wanted() {
    on_a_worker(async {
        let remote = Remote::start(home(REMOTE, timing()));
        let local = Local::new(timing());
        local.lead_to(&remote.address);
        local.is_up(1).await;
        local.links.set_peers(&[]);
        let refused = local.links.send(REMOTE, Channel::Raft, b"x");
        assert_eq!(refused, Err(SendError::Down));
        // From within a call nobody is told of anything: what there is, is of the beginning, both channels' and that Raft comes back.
        assert_eq!(local.recorder.changes().len(), 3);
        local.lead_to(&remote.address);
        local.is_up(2).await;
        let raft: Vec<_> = local.recorder.changes();
        for channel in Channel::ALL {
            let down = Event::LinkDown(REMOTE, channel);
            assert_eq!(raft.iter().filter(|event| **event == down).count(), 1);
        }
        assert_eq!(local.links.address(REMOTE), Some(remote.address.clone()));
        local.links.set_peers(&[]);
        for channel in Channel::ALL {
            let down = Event::LinkDown(REMOTE, channel);
            local.recorder.wait_for_times(down, 2).await;
        }
        assert_eq!(local.links.address(REMOTE), None);
    });
}

#[test]
fn a_node_that_moved_is_dialed_at_its_new_address() {
    on_a_worker(async {
        let old = Remote::start(home(REMOTE, timing()));
        let new = Remote::start(home(REMOTE, timing()));
        let local = Local::new(timing());
        local.lead_to(&old.address);
        local.is_up(1).await;
        local.lead_to(&new.address);
        local.is_up(2).await;
        for channel in Channel::ALL {
            old.recorder
                .wait_for(Event::IncomingDown(peer(0), channel))
                .await;
        }
        local.send(Channel::Raft, b"here");
        new.recorder.wait_for_frames(1).await;
        assert!(old.recorder.frames().is_empty());
    });
}

#[test]
fn that_nobody_listens_any_more_is_told_with_every_attempt_and_not_before() {
    on_a_worker(async {
        let remote = Remote::start(home(REMOTE, timing()));
        let local = Local::new(timing());
        local.lead_to(&remote.address);
        local.is_up(1).await;
        let nobody = Event::NobodyListens(REMOTE);
        assert_eq!(local.recorder.count(&nobody), 0);
        drop(remote);
        local.recorder.wait_for_times(nobody, 3).await;
    });
}

#[test]
fn dropped_links_close_their_connections() {
    on_a_worker(async {
        let remote = Remote::start(home(REMOTE, timing()));
        let local = Local::new(timing());
        local.lead_to(&remote.address);
        local.is_up(1).await;
        drop(local);
        for channel in Channel::ALL {
            let down = Event::IncomingDown(peer(0), channel);
            remote.recorder.wait_for(down).await;
        }
    });
}

#[test]
fn a_peer_that_takes_nothing_is_given_up() {
    on_a_worker(async {
        let raw = Raw::start();
        let local = Local::new(impatient());
        local.lead_to(&raw.address);
        let [mut raft, _forward] = raw.accept_both().await;
        local.is_up(1).await;
        for _ in 0..16 {
            local.send(Channel::Forward, &vec![1; 1 << 20]);
        }
        let down = Event::LinkDown(REMOTE, Channel::Forward);
        tokio::select! {
            () = local.recorder.wait_for(down) => {}
            () = ping_for_ever(&mut raft) => {}
        }
        assert!(local.links.is_up(REMOTE, Channel::Raft));
    });
}

#[test]
fn pings_keep_an_idle_link_open_and_reach_nobody() {
    on_a_worker(async {
        let remote = Remote::start(home(REMOTE, impatient()));
        let local = Local::new(impatient());
        local.lead_to(&remote.address);
        local.is_up(1).await;
        tokio::time::sleep(impatient().stalled * 2).await;
        assert!(local.links.is_up(REMOTE, Channel::Raft));
        assert!(local.links.is_up(REMOTE, Channel::Forward));
        // Both ends have told of the beginning, and of nothing else. Raft frames may come back where they go.
        assert_eq!(local.recorder.events().len(), 3);
        assert_eq!(remote.recorder.events().len(), 2);
    });
}

#[test]
fn a_sign_of_life_ends_the_pause_before_the_next_attempt() {
    on_a_worker(async {
        let patient = Timing {
            backoff_first: PATIENCE * 10,
            backoff_last: PATIENCE * 10,
            ..timing()
        };
        let remote = Remote::start(home(REMOTE, timing()));
        let address = remote.address.clone();
        drop(remote);
        let local = Local::new(patient);
        local.lead_to(&address);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let _remote = Remote::start_at(&address, home(REMOTE, timing()));
        local.links.nudge(REMOTE);
        local.is_up(1).await;
    });
}
