//! The connections by which other nodes send to a worker, one for each of their workers and channel. Where one follows another, the older one is
//! ended first. Knows neither who has dialed them nor what comes by them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::connection::Connection;
use super::frame::{FrameError, FrameReader};
use super::{Channel, Incoming, Peer};

/// A worker's table of them. Whoever is in it has been told of as up.
#[derive(Default)]
pub(super) struct Inbound(RefCell<HashMap<(Peer, Channel), Rc<Connection>>>);

impl Inbound {
    /// From now on `from` sends by `connection`; nothing of an older one is handed over any more.
    pub fn follow(
        &self,
        from: Peer,
        channel: Channel,
        connection: &Rc<Connection>,
        sink: &dyn Incoming,
    ) {
        let key = (from, channel);
        let old = self.0.borrow_mut().insert(key, connection.clone());
        if let Some(old) = old {
            let node = from.node;
            tracing::info!("a new {channel:?} link of node {node} follows one that was open");
            old.end("another connection follows it");
            sink.incoming_down(from, channel);
        }
        sink.incoming_up(from, channel);
    }

    /// `connection` has ended. Where another one follows it, that was told already.
    pub fn leave(
        &self,
        from: Peer,
        channel: Channel,
        connection: &Rc<Connection>,
        sink: &dyn Incoming,
    ) {
        let key = (from, channel);
        let is_this = |held: &Rc<Connection>| Rc::ptr_eq(held, connection);
        if self.0.borrow().get(&key).is_some_and(is_this) {
            self.0.borrow_mut().remove(&key);
            sink.incoming_down(from, channel);
        }
    }

    /// The connection by which `from` sends, if this side may send on it too.
    pub fn lendable(&self, from: Peer, channel: Channel) -> Option<Rc<Connection>> {
        let table = self.0.borrow();
        let connection = table.get(&(from, channel))?;
        connection.can_be_lent().then(|| connection.clone())
    }
}

/// Hands over the frames of one read.
pub(super) fn hand_over(
    reader: &mut FrameReader,
    from: Peer,
    channel: Channel,
    sink: &dyn Incoming,
) -> Result<(), FrameError> {
    let mut any = false;
    let end = loop {
        match reader.next() {
            Ok(Some(frame)) if frame.is_empty() => {} // A ping.
            Ok(Some(frame)) => {
                any = true;
                sink.frame(from, channel, frame);
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    if any {
        sink.end_of_batch();
    }
    end
}
