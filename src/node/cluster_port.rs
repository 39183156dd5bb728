//! What a connection of the cluster port is told instead of a reply: its keys belong elsewhere, or not together. A plain
//! connection never comes here.

use std::borrow::Cow;

use ringfort_cluster::slot_of;

use crate::commands::cluster::{port, view::ClusterView};
use crate::commands::{for_each_key, Flags, Registered};
use crate::protocol::Args;

use super::worker::Worker;

const CROSS_SLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";
const NOT_SERVED: &str = "CLUSTERDOWN Hash slot not served";

/// Where the keys of a command belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slots {
    None,
    One(u16),
    Several,
}

impl Worker {
    /// The error that a command gets on the cluster port in place of being run.
    pub(super) fn misdirected(
        &mut self,
        command: &Registered,
        args: &Args,
    ) -> Option<Cow<'static, str>> {
        let slots = Slots::of(command, args);
        if let Some(text) = redirection(slots, self.view.current(&self.shared.view)) {
            return Some(text);
        }
        if command.command.flags.has(Flags::CLUSTER_LIMITED) {
            let databases = self.shared.settings.startup().databases;
            return port::refusal(command, args, databases).map(Cow::Borrowed);
        }
        None
    }
}

impl Slots {
    /// Of all the keys that a command names.
    #[inline]
    pub(super) fn of(command: &Registered, args: &Args) -> Self {
        if let Some(key) = command.single_key.and_then(|at| args.get(at)) {
            return Self::One(slot_of(key).0);
        }
        let mut slots = Self::None;
        for_each_key(command.command, args, |at, _| {
            let slot = slot_of(args.at(at)).0;
            slots = match slots {
                Self::None => Self::One(slot),
                Self::One(first) if first == slot => slots,
                _ => Self::Several,
            };
        });
        slots
    }
}

#[inline]
fn redirection(slots: Slots, view: &ClusterView) -> Option<Cow<'static, str>> {
    match slots {
        Slots::None => None,
        Slots::Several => Some(CROSS_SLOT.into()),
        Slots::One(slot) if view.leads(slot) => None,
        Slots::One(slot) => Some(match view.leader(slot) {
            Some(leader) => format!("MOVED {slot} {}:{}", leader.host, leader.port).into(),
            None => NOT_SERVED.into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::cluster::{SlotRange, ViewNode};
    use crate::commands::registry;
    use crate::protocol::OwnedArgs;

    fn slots(line: &str) -> Slots {
        let args = OwnedArgs::new(line.split(' '));
        let args = args.as_args();
        Slots::of(registry().resolve(&args).expect("a command"), &args)
    }

    fn node(id: &str, port: u16, first: u16, last: u16) -> ViewNode {
        ViewNode {
            id: id.into(),
            host: "10.0.0.1".into(),
            port,
            plain_port: 0,
            peer_port: 0,
            ranges: vec![SlotRange { first, last }],
            is_up: true,
        }
    }

    #[test]
    fn all_keys_of_a_command_count() {
        assert_eq!(slots("PING"), Slots::None);
        assert_eq!(slots("GET foo"), Slots::One(12182));
        assert_eq!(slots("MGET foo foo {foo}1"), Slots::One(12182));
        assert_eq!(slots("MGET foo bar"), Slots::Several);
        assert_eq!(slots("MSET foo bar {foo}2 1"), Slots::One(12182));
        assert_eq!(slots("SORT foo STORE bar"), Slots::Several);
        assert_eq!(slots("SUNIONSTORE d {d}1 {d}2 x"), Slots::Several);
        assert_eq!(slots("ZUNION 2 foo bar"), Slots::Several);
        assert_eq!(slots("OBJECT ENCODING foo"), Slots::One(12182));
    }

    #[test]
    fn keys_of_others_are_sent_there_and_own_ones_are_not() {
        let nodes = vec![node("a", 7001, 0, 99), node("b", 7002, 100, 199)];
        let view = ClusterView::new(1, "a".into(), nodes);
        let answer = |slots| redirection(slots, &view);
        assert_eq!(answer(Slots::None), None);
        assert_eq!(answer(Slots::One(99)), None);
        assert_eq!(
            answer(Slots::One(100)).as_deref(),
            Some("MOVED 100 10.0.0.1:7002")
        );
        assert_eq!(answer(Slots::One(200)).as_deref(), Some(NOT_SERVED));
        assert_eq!(answer(Slots::Several).as_deref(), Some(CROSS_SLOT));
    }
}
