//! What a worker says to other nodes, over real links: replies that are there before the link is.

use std::rc::Rc;

use ringfort_cluster::replica::{Message, MessageType};
use ringfort_cluster::{Epoch, ShardId};

use super::super::super::outward::Outward;
use super::*;

/// A node that had just started asked over its own link, was answered before the link in the other direction was up, and the reply was dropped:
/// its client waited until it gave up.
#[test]
fn a_reply_waits_for_the_link_and_a_command_does_not() {
    on_a_worker(async {
        let remote = Remote::start(home(REMOTE, timing()));
        let local = Local::new(timing());
        let Local {
            links,
            recorder,
            _sink,
        } = local;
        let mut outward = Outward::new(Rc::new(links));
        outward.push_reply(REMOTE, |frame| frame.extend_from_slice(b"first,"));
        assert!(outward.flush(None).is_empty());
        outward.push_reply(REMOTE, |frame| frame.extend_from_slice(b"second"));
        outward.push_forward(REMOTE, |frame| frame.extend_from_slice(b"a command"));
        assert_eq!(outward.flush(None), [REMOTE], "whoever asked is told");
        let address = [(REMOTE, remote.address.clone())];
        outward.links.set_peers(&address);
        let up = Event::LinkUp(REMOTE, Channel::Forward);
        recorder.wait_for_times(up, 1).await;
        outward.push_reply(REMOTE, |frame| frame.extend_from_slice(b"third"));
        assert!(outward.flush(None).is_empty());
        remote.recorder.wait_for_frames(2).await;
        assert_eq!(remote.recorder.frames(), ["first,second", "third"]);
    });
}

#[test]
fn a_link_that_is_cut_is_told_of_on_both_sides_and_dialed_again() {
    on_a_worker(async {
        let remote = Remote::start(home(REMOTE, timing()));
        let local = Local::new(timing());
        local.lead_to(&remote.address);
        local.is_up(1).await;
        local.links.cut(REMOTE, Channel::Forward, "a test");
        let sent = local.links.send(REMOTE, Channel::Forward, b"x");
        assert_eq!(sent, Err(SendError::Down));
        let down = Event::LinkDown(REMOTE, Channel::Forward);
        local.recorder.wait_for_times(down, 1).await;
        let gone = Event::IncomingDown(peer(0), Channel::Forward);
        remote.recorder.wait_for_times(gone, 1).await;
        let up = Event::LinkUp(REMOTE, Channel::Forward);
        local.recorder.wait_for_times(up, 2).await;
    });
}

fn acknowledgement() -> Message {
    Message {
        msg_type: MessageType::MsgAppendResponse,
        from: 1,
        to: 2,
        term: 3,
        index: 4,
        ..Default::default()
    }
}

#[test]
fn an_answer_that_nobody_waits_for_leaves_with_the_next_message_or_after_a_millisecond() {
    const GROUP: (ShardId, Epoch) = (ShardId(5), Epoch(1));
    on_a_worker(async {
        let remote = Remote::start(home(REMOTE, timing()));
        let local = Local::new(timing());
        local.lead_to(&remote.address);
        local.is_up(1).await;
        let Local {
            links, recorder: _, ..
        } = local;
        let mut outward = Outward::new(Rc::new(links));
        let answer = |outward: &mut Outward| {
            assert!(outward.push_raft(REMOTE, GROUP, &acknowledgement(), false));
        };
        let frames = || remote.recorder.frames().len();

        answer(&mut outward);
        outward.flush(Some(1_000));
        assert!(outward.keeps_answers());
        outward.flush(Some(900_000));
        assert_eq!(frames(), 0, "it waits for company");
        outward.flush(Some(1_001_000));
        assert!(!outward.keeps_answers());
        remote.recorder.wait_for_frames(1).await;

        answer(&mut outward);
        let heartbeat = Message {
            msg_type: MessageType::MsgHeartbeatResponse,
            ..acknowledgement()
        };
        outward.push_raft(REMOTE, GROUP, &heartbeat, false);
        outward.flush(Some(2_000_000));
        remote.recorder.wait_for_frames(2).await;

        outward.is_waited_for_by(REMOTE);
        answer(&mut outward);
        outward.flush(Some(3_000_000));
        remote.recorder.wait_for_frames(3).await;
        outward.end_turn();
        answer(&mut outward);
        outward.flush(Some(4_000_000));
        assert!(outward.keeps_answers(), "the next one is another matter");
        outward.flush(None);
        remote.recorder.wait_for_frames(4).await;
    });
}
