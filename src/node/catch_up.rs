//! Snapshots between nodes: a follower that lags too far, or is new, gets the shard's newest snapshot file, and takes it in whole.
//! Knows no sockets: what is to be sent waits here for the server, which also brings what has come.

use std::sync::atomic::Ordering::Release;

use ringfort_cluster::replica::{IncomingSnapshot, SnapshotPlace, SnapshotRequest};
use ringfort_cluster::{NodeId, ReplicaId, Term};

use super::recovery::LoadedSnapshot;
use super::worker::Worker;

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
    shard: u16,
    loaded: LoadedSnapshot,
}

impl Worker {
    /// A follower of a shard needs a snapshot: the server sends the durable one.
    pub(super) fn snapshot_asked(&mut self, place: usize, request: SnapshotRequest) {
        let shard = &mut self.shards[place];
        match shard.node_of(request.to) {
            Some(to) => self.snapshots_wanted.push(WantedSnapshot {
                shard: shard.id.0,
                to,
                request,
            }),
            None => shard.replica.report_snapshot(request.to, false),
        }
    }

    /// Hands a snapshot over to the replica for which its group's leader has sent it. Its file must be in place, durable.
    pub fn snapshot_received(
        &mut self,
        shard: u16,
        (from, term): (ReplicaId, Term),
        loaded: LoadedSnapshot,
    ) {
        let now = self.refresh_monotonic();
        let covers = SnapshotPlace {
            index: loaded.meta.index,
            term: loaded.meta.term,
            membership: loaded.meta.membership.clone(),
        };
        self.tokens += 1;
        let token = self.tokens;
        // What the replica has not taken up until now it never will.
        self.received.retain(|received| received.shard != shard);
        self.received.push(Received {
            token,
            shard,
            loaded,
        });
        let place = self.place(shard);
        let replica = &mut self.shards[place].replica;
        replica.install(from, term, &covers, &token.to_le_bytes(), now);
        self.look_at_leadership(place);
        self.stir(place);
    }

    /// Replaces a shard's data by the snapshot that its replica has decided to take in.
    pub(super) fn take_in(&mut self, place: usize, snapshot: &IncomingSnapshot) {
        let is_it = |received: &Received| received.token.to_le_bytes() == snapshot.data[..];
        let known = self.received.iter();
        let at = known
            .clone()
            .position(is_it)
            .expect("a replica takes in what it was handed");
        let loaded = self.received.swap_remove(at).loaded;
        self.give_up_snapshot(place);
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
        self.look_at_membership(place);
    }
}
