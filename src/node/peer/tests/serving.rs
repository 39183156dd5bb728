//! The receiving end of links: damage, silence, and a connection that follows another.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::dial::dial;
use super::super::frame::{put_frame, send_frame, HEAD_BYTES};
use super::*;

const RAFT: Purpose = Purpose::Link(Channel::Raft);

async fn dial_raft(remote: &Remote) -> PeerStream {
    let home = home(LOCAL, timing());
    let (stream, found) = dial(&home, at(&remote.address), RAFT).await.unwrap();
    assert_eq!(found, REMOTE);
    stream
}

/// Sends a good frame and then `bytes`; the link must end with the good frame handed over.
fn closes_after(bytes: Vec<u8>) {
    on_a_worker(async {
        let remote = Remote::start(home(REMOTE, timing()));
        let mut stream = dial_raft(&remote).await;
        let mut all = Vec::new();
        put_frame(&mut all, b"good");
        all.extend(bytes);
        stream.write_all(&all).await.unwrap();
        let down = Event::IncomingDown(peer(0), Channel::Raft);
        remote.recorder.wait_for(down.clone()).await;
        let expected = [
            Event::IncomingUp(peer(0), Channel::Raft),
            Event::Frame(peer(0), Channel::Raft, Bytes::from_static(b"good")),
            Event::EndOfBatch,
            down,
        ];
        assert_eq!(remote.recorder.events(), expected);
        // Pings may have come before the end; a broken connection is an end as well.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
}

#[test]
fn a_damaged_frame_closes_the_link() {
    let mut bytes = Vec::new();
    put_frame(&mut bytes, b"damaged on its way");
    bytes[HEAD_BYTES + 3] ^= 1;
    put_frame(&mut bytes, b"never handed over");
    closes_after(bytes);
}

#[test]
fn a_length_beyond_the_limit_closes_the_link() {
    closes_after(vec![0xFF; HEAD_BYTES]);
}

#[test]
fn a_link_on_which_nothing_comes_is_closed() {
    on_a_worker(async {
        let remote = Remote::start(home(REMOTE, impatient()));
        let _stream = dial_raft(&remote).await;
        let down = Event::IncomingDown(peer(0), Channel::Raft);
        remote.recorder.wait_for(down).await;
    });
}

#[test]
fn nothing_of_a_connection_is_handed_over_once_another_follows_it() {
    on_a_worker(async {
        let remote = Remote::start(home(REMOTE, timing()));
        let mut old = dial_raft(&remote).await;
        send_frame(&mut old, b"old").await.unwrap();
        remote.recorder.wait_for_frames(1).await;
        let mut new = dial_raft(&remote).await;
        // The other side may have closed it already.
        let _ = send_frame(&mut old, b"late").await;
        send_frame(&mut new, b"new").await.unwrap();
        remote.recorder.wait_for_frames(2).await;
        let mut events = remote.recorder.events();
        events.retain(|event| *event != Event::EndOfBatch);
        let frame =
            |bytes: &'static [u8]| Event::Frame(peer(0), Channel::Raft, Bytes::from_static(bytes));
        let expected = [
            Event::IncomingUp(peer(0), Channel::Raft),
            frame(b"old"),
            Event::IncomingDown(peer(0), Channel::Raft),
            Event::IncomingUp(peer(0), Channel::Raft),
            frame(b"new"),
        ];
        assert_eq!(events, expected);
        drop(new);
        let down = Event::IncomingDown(peer(0), Channel::Raft);
        remote.recorder.wait_for_times(down, 2).await;
    });
}
