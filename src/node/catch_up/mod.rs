//! Snapshots between nodes: a follower that lags too far, or is new, gets the shard's newest snapshot file, and takes it in whole.
//! Knows no sockets: what is to be sent waits here for the server, which also brings what has come.

mod files;
mod wire;

use std::sync::atomic::Ordering::Release;

use ringfort_cluster::replica::{IncomingSnapshot, SnapshotPlace, SnapshotRequest};
use ringfort_cluster::{Index, NodeId, Term};

use super::recovery::LoadedSnapshot;
use super::snapshots::Present;
use super::worker::Worker;

pub use files::{Incoming, Outgoing, SnapshotFiles};
pub use wire::{Answer, Header};

/// A follower needs a snapshot.
pub struct WantedSnapshot {
    /// The shard's number on this node.
    pub shard: u16,
    /// The follower's node.
    pub to: NodeId,
    pub request: SnapshotRequest,
}

/// A snapshot that has come, and whose file is in place. Kept until the replica has decided about it.
pub(super) struct Received {
    token: u64,
    loaded: LoadedSnapshot,
}

/// What is to be done about a snapshot that is announced.
pub enum Offer {
    /// Receive it, for this shard.
    Take(u16),
    Answer(Answer),
}

impl Worker {
    /// Where this worker's snapshots lie.
    pub fn snapshot_files(&self) -> SnapshotFiles {
        let (disk, dir, are_kept) = self.snapshots.place();
        SnapshotFiles {
            disk,
            dir,
            are_kept,
            databases: self.databases() as u32,
            seed: self.hash_seed.0,
        }
    }

    // ---- sending -------------------------------------------------------------------------------------

    /// A follower of a shard needs a snapshot: the server sends the durable one.
    pub(super) fn snapshot_asked(&mut self, place: usize, request: SnapshotRequest) {
        let shard = &mut self.shards[place];
        let Some(to) = shard.node_of(request.to) else {
            return shard.replica.report_snapshot(request.to, false);
        };
        let shard = shard.id.0;
        // One for each follower: what was asked before is over.
        self.snapshots_wanted
            .retain(|wanted| (wanted.shard, wanted.request.to) != (shard, request.to));
        self.snapshots_wanted
            .push(WantedSnapshot { shard, to, request });
    }

    /// What is to be said of a snapshot that is sent, apart from the file. None when its sender leads no more.
    pub fn announce(&self, wanted: &WantedSnapshot) -> Option<Header> {
        let replica = &self.shards[self.place(wanted.shard)].replica;
        let request = &wanted.request;
        let leads = replica.is_leader() && replica.term() == request.term;
        leads.then(|| Header {
            group: replica.shard(),
            from: replica.id(),
            to: request.to,
            term: request.term,
            bytes: 0,
            index: Index::ZERO,
            index_term: Term::ZERO,
        })
    }

    /// Has a snapshot of a shard made soon, because there is none that could be sent.
    pub fn snapshot_needed(&mut self, shard: u16) {
        self.queue_unless_failing(self.place(shard));
    }

    /// Tells the replica how sending its snapshot ended. To be called for every one that was wanted.
    pub fn snapshot_sent(&mut self, wanted: &WantedSnapshot, ok: bool) {
        let place = self.place(wanted.shard);
        let replica = &mut self.shards[place].replica;
        // What another leadership asked for is not reported to this one.
        if replica.is_leader() && replica.term() == wanted.request.term {
            replica.report_snapshot(wanted.request.to, ok);
            self.stir(place);
        }
    }

    // ---- receiving -----------------------------------------------------------------------------------

    /// Whether a snapshot that node `from` announces should be received.
    pub fn judge_offer(&mut self, from: NodeId, header: &Header) -> Offer {
        let refused = |reason: String| Offer::Answer(Answer::refused(reason));
        let group = header.group;
        let number = self.local_number(group);
        let number = number.filter(|&number| self.worker_of(number) == self.number);
        let Some(number) = number else {
            return refused(format!("shard {group} does not live here"));
        };
        let Some(shard) = self.shards.get(self.place(number)) else {
            return refused(format!("shard {group} does not live here"));
        };
        let replica = &shard.replica;
        if !shard.standing.is_held || replica.id() != header.to {
            // Which replicas belong here the topology says.
            self.topology_wanted = true;
            return refused(format!(
                "replica {} of shard {group} is not here",
                header.to
            ));
        }
        if shard.node_of(header.from).is_some_and(|node| node != from) {
            let from = header.from;
            return refused(format!(
                "replica {from} of shard {group} is on another node"
            ));
        }
        if header.term < replica.term() {
            return refused(format!("shard {group} is in term {}", replica.term()));
        }
        if shard.applied().0 >= header.index {
            return Offer::Answer(Answer::NotNeeded);
        }
        Offer::Take(number)
    }

    /// Hands a snapshot over to the replica for which its group's leader has sent it. Its file must be in place, durable. Says
    /// whether the replica now is as far as the snapshot; if not, it did not want it, and the file should go.
    pub fn snapshot_received(
        &mut self,
        shard: u16,
        header: &Header,
        loaded: LoadedSnapshot,
    ) -> bool {
        let now = self.refresh_monotonic();
        let place = self.place(shard);
        let held = &self.shards[place];
        if !held.standing.is_held || held.replica.id() != header.to {
            return false;
        }
        let covers = SnapshotPlace {
            index: loaded.meta.index,
            term: loaded.meta.term,
            membership: loaded.meta.membership.clone(),
        };
        self.tokens += 1;
        let token = self.tokens;
        self.received.push(Received { token, loaded });
        let replica = &mut self.shards[place].replica;
        replica.install(header.from, header.term, &covers, &token.to_le_bytes(), now);
        self.look_at_leadership(place);
        self.stir(place);
        self.flush();
        // What the replica has not taken up until now it never will.
        self.received.retain(|received| received.token != token);
        if self.shards[place].applied().0 < covers.index {
            return false;
        }
        self.note_received(place, covers, header.bytes);
        true
    }

    /// The file of a snapshot that was received is the shard's newest, whether its data was taken in or the replica had come as
    /// far by itself.
    fn note_received(&mut self, place: usize, covers: SnapshotPlace, file_bytes: u64) {
        if !self.snapshots.are_kept() {
            return;
        }
        let shard = &mut self.shards[place];
        if covers.index < shard.snapshot_index {
            return;
        }
        shard.snapshot_index = covers.index;
        self.shared.snapshot_indexes[usize::from(shard.id.0)].store(covers.index.0, Release);
        let present = Present {
            bytes: file_bytes,
            memory_bytes: shard.databases.bytes() as u64,
        };
        self.shared.note_loaded_snapshot(shard.id.0, present);
        shard.replica.snapshot_is_durable(covers);
        self.release_log();
    }

    /// Replaces a shard's data by the snapshot that its replica has decided to take in.
    pub(super) fn take_in(&mut self, place: usize, snapshot: &IncomingSnapshot) {
        let is_it = |received: &Received| received.token.to_le_bytes() == snapshot.data[..];
        let at = self.received.iter().position(is_it);
        let at = at.expect("a replica takes in what it was handed");
        let loaded = self.received.swap_remove(at).loaded;
        self.give_up_snapshot(place);
        self.digest_replaced(place);
        let shard = &mut self.shards[place];
        shard.refuse(super::group::NOT_PROPOSED, &mut self.io);
        shard.replace_data(loaded);
        shard.standing.taken_in = Some(snapshot.index);
        shard.replica.snapshot_is_durable(SnapshotPlace {
            index: snapshot.index,
            term: snapshot.term,
            membership: snapshot.membership.clone(),
        });
        let covered = &self.shared.snapshot_indexes[usize::from(shard.id.0)];
        covered.store(snapshot.index.0, Release);
        tracing::info!(
            "shard {} took in a snapshot at index {}",
            shard.replica.shard(),
            snapshot.index
        );
        self.set_access(place);
        self.look_at_membership(place);
    }
}
