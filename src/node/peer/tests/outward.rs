//! What a worker says to other nodes, over real links: replies that are there before the link is.

use std::rc::Rc;

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
        assert!(outward.flush().is_empty());
        outward.push_reply(REMOTE, |frame| frame.extend_from_slice(b"second"));
        outward.push_forward(REMOTE, |frame| frame.extend_from_slice(b"a command"));
        assert_eq!(outward.flush(), [REMOTE], "whoever asked is told");
        let address = [(REMOTE, remote.address.clone())];
        outward.links.set_peers(&address);
        let up = Event::LinkUp(REMOTE, Channel::Forward);
        recorder.wait_for_times(up, 1).await;
        outward.push_reply(REMOTE, |frame| frame.extend_from_slice(b"third"));
        assert!(outward.flush().is_empty());
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
