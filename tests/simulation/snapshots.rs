//! Snapshots of the simulated nodes: taken a slice at a time while the shard goes on, sent whole to followers that lag, and
//! taken in by them: durable first, then in place of the data.

use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use ringfort::durability::snapshot::SnapshotFile;
use ringfort::durability::{SnapshotMeta, SnapshotWriter};
use ringfort::node::recovery::{describe, read_snapshot};
use ringfort::node::shard::Shard;
use ringfort::store::rdb::{put_record, Records};
use ringfort::store::{Copied, Timestamp};
use ringfort_cluster::replica::{snapshot_message, IncomingSnapshot, SnapshotPlace};
use ringfort_cluster::{Config, Outputs, Replica, ReplicaId, Restored, ShardId};

use crate::context::{empty_databases, Context, Transfer, DATABASES};
use crate::plan::Bug;
use crate::worker::{died, transfer_number, Answers, Ended, Home, Place, Worker};

/// Where snapshots stand on a node's disk.
pub const SNAPSHOTS: &str = "/data/snapshots";
/// Bytes copied in one slice: little, so that writes come in between.
const SLICE_BYTES: usize = 96;

/// A snapshot being taken.
pub struct Capture {
    meta: SnapshotMeta,
    records: Vec<u8>,
}

fn place_of(meta: &SnapshotMeta) -> SnapshotPlace {
    SnapshotPlace {
        index: meta.index,
        term: meta.term,
        membership: meta.membership.clone(),
    }
}

/// One slice of work: begins a snapshot when the log has grown long, or takes the present one further.
pub fn carry_on(worker: &mut Worker, home: &Home, context: &mut Context) -> Result<(), Ended> {
    if context.has_bug(Bug::LogFreedTooEarly) {
        for place in &worker.places {
            let applied = place.shard.applied().0;
            home.covered.borrow_mut().insert(place.shard.id, applied);
        }
        release(worker, home);
    }
    let running = |place: &Place| place.capture.is_some();
    match worker.places.iter().position(running) {
        Some(at) => slice(worker, at, home, context),
        None => {
            begin(worker, home, context);
            Ok(())
        }
    }
}

fn begin(worker: &mut Worker, home: &Home, context: &mut Context) {
    let old = worker.wal.old_segments();
    let mut held = worker.places.iter().map(|place| &place.shard);
    let is_wanted = held.any(|shard| shard.standing.is_held && shard.replica.wants_snapshot());
    if !is_wanted && worker.wal.bytes() + old.bytes() <= context.plan.snapshot_bytes {
        return;
    }
    let covered = home.covered.borrow();
    let reaches = |shard: ShardId| covered.get(&shard).copied().unwrap_or_default();
    let mut holders = worker.wal.oldest_holders(&reaches);
    if holders.is_empty() && context.rng.one_in(20) {
        holders.extend(worker.places.iter().map(|place| place.shard.id));
    }
    drop(covered);
    let wanted = |place: &&mut Place| {
        let shard = &place.shard;
        let is_due = holders.contains(&shard.id) || shard.replica.wants_snapshot();
        shard.standing.is_held && is_due && shard.applied().0 > shard.snapshot_index
    };
    if let Some(place) = worker.places.iter_mut().find(wanted) {
        let shard = &mut place.shard;
        let mut meta = describe(shard);
        if context.has_bug(Bug::EntryAppliedTwice) {
            meta.index = meta.index.previous();
        }
        shard.databases.begin_capture(put_record);
        place.capture = Some(Capture {
            meta,
            records: Vec::new(),
        });
    } else {
        release(worker, home);
    }
}

fn slice(worker: &mut Worker, at: usize, home: &Home, context: &mut Context) -> Result<(), Ended> {
    let place = &mut worker.places[at];
    let Some(mut capture) = place.capture.take() else {
        return Ok(());
    };
    let mut copied = Copied::default();
    let is_complete = place.shard.databases.capture_step(SLICE_BYTES, &mut copied);
    capture.records.append(&mut copied.bytes);
    if !is_complete {
        place.capture = Some(capture);
        return Ok(());
    }
    if context.has_bug(Bug::SnapshotBehindItsIndex) {
        (capture.meta.index, capture.meta.term) = place.shard.applied();
    }
    let (shard, index) = (place.shard.id, capture.meta.index);
    let covered = place_of(&capture.meta);
    match write(home, capture.meta, &capture.records) {
        Ok(()) => {}
        Err(_) if home.sim.is_stopped() => return Err(Ended::Died),
        // The former one is still in place: another time.
        Err(_) => return Ok(()),
    }
    context.snapshots += 1;
    context.note(index.get());
    place.shard.snapshot_index = index;
    place.shard.replica.snapshot_is_durable(covered);
    home.covered.borrow_mut().insert(shard, index);
    release(worker, home);
    Ok(())
}

fn write(home: &Home, meta: SnapshotMeta, records: &[u8]) -> Result<(), String> {
    let text = |error: ringfort::durability::snapshot::SnapshotError| error.to_string();
    let mut writer =
        SnapshotWriter::begin(home.disk.clone(), Path::new(SNAPSHOTS), meta).map_err(text)?;
    writer.append(records).map_err(text)?;
    writer.finish(0).map(drop).map_err(text)
}

fn release(worker: &mut Worker, home: &Home) {
    let covered = home.covered.borrow();
    let reaches = |shard: ShardId| covered.get(&shard).copied().unwrap_or_default();
    worker.wal.old_segments().release(&reaches);
    worker.wal.release(&reaches);
}

/// Sends a shard's data as of now to the followers that need a snapshot.
pub fn send(place: &mut Place, outputs: &mut Outputs, home: &Home, context: &mut Context) {
    for request in outputs.snapshot_requests.drain(..) {
        // One walk over the data at a time: the follower is served when it asks again.
        let may = place.capture.is_none();
        if may {
            let (whole, token) = to_send(place, context);
            let ids = (place.shard.replica.id(), request.to);
            let message = snapshot_message(ids, request.term, &whole, &token);
            context.snapshots_sent += 1;
            place.post_one(home, message, context);
        }
        place.shard.replica.report_snapshot(request.to, may);
    }
}

fn to_send(place: &mut Place, context: &mut Context) -> (SnapshotPlace, Bytes) {
    let shard = &mut place.shard;
    let meta = describe(shard);
    let mut copied = Copied::default();
    shard.databases.begin_capture(put_record);
    while !shard.databases.capture_step(usize::MAX, &mut copied) {}
    let mut records = copied.bytes;
    if context.has_bug(Bug::SnapshotIncomplete) {
        drop_last_record(&mut records);
    }
    let whole = place_of(&meta);
    let number = context.transfers.len() as u64;
    context.transfers.push(Rc::new(Transfer { meta, records }));
    (whole, Bytes::copy_from_slice(&number.to_le_bytes()))
}

fn drop_last_record(records: &mut Vec<u8>) {
    let whole = |bytes: &[u8]| {
        let read: Result<Vec<_>, _> = Records::new(bytes).collect();
        read.ok().map(|read| read.len())
    };
    let all = whole(records).unwrap_or(0);
    while !records.is_empty() && whole(records).is_none_or(|left| left == all) {
        records.pop();
    }
}

/// Replaces a follower's data by what a leader sent.
pub fn take_in(
    place: &mut Place,
    snapshot: &IncomingSnapshot,
    home: &Home,
    context: &mut Context,
) -> Result<(), Ended> {
    let transfer = context.transfers[transfer_number(&snapshot.data)].clone();
    let mut answers = Answers::default();
    place
        .shard
        .refuse(b"-TRYAGAIN not the leader\r\n", &mut answers);
    answers.send(context);
    place.capture = None;
    write(home, transfer.meta.clone(), &transfer.records).map_err(died)?;
    let dir = Path::new(SNAPSHOTS);
    let found = ringfort::durability::snapshot::find_snapshots(&home.disk, dir).map_err(died)?;
    let is_it = |file: &&SnapshotFile| file.shard == place.shard.id && file.index == snapshot.index;
    let file = found.iter().find(is_it).ok_or(Ended::Died)?;
    let loaded = read_snapshot(&home.disk, file, DATABASES, home.hash_seed).map_err(died)?;
    let fresh = spare_replica(place.shard.replica.shard());
    let replica = std::mem::replace(&mut place.shard.replica, fresh);
    let standing = std::mem::take(&mut place.shard.standing);
    place.shard = loaded.into_shard(replica);
    place.shard.standing = standing;
    let covers = SnapshotPlace {
        index: snapshot.index,
        term: snapshot.term,
        membership: snapshot.membership.clone(),
    };
    place.shard.replica.snapshot_is_durable(covers);
    context
        .losses
        .holds(place.shard.replica.shard(), &snapshot.membership);
    home.covered
        .borrow_mut()
        .insert(place.shard.id, snapshot.index);
    let node = home.node;
    context.tell(|| format!("node {node} takes in a snapshot at {}", snapshot.index));
    Ok(context.oracle.restored(&place.shard)?)
}

/// Takes away what a shard knows of the stamps before.
pub fn forget_clock(place: &mut Place, hash_seed: u64) {
    let shard = &mut place.shard;
    let (id, applied, snapshot_index) = (shard.id, shard.applied(), shard.snapshot_index);
    let databases = std::mem::replace(&mut shard.databases, empty_databases(hash_seed));
    let replica = std::mem::replace(&mut shard.replica, spare_replica(id));
    let standing = std::mem::take(&mut shard.standing);
    let meta = shard.meta.take();
    place.shard = Shard::new(id, databases, replica, applied, Timestamp(0));
    place.shard.standing = standing;
    place.shard.meta = meta;
    place.shard.snapshot_index = snapshot_index;
}

/// Stands where a node has no replica, or in for one that is being moved: it knows nobody.
pub fn spare_replica(group: ShardId) -> Replica {
    let config = Config::new(group, ReplicaId(u64::MAX));
    Replica::new(&config, Restored::joining()).expect("a fresh replica starts")
}
