//! Carries snapshots between nodes: the worker says who needs one and what becomes of one that has come, the peer port streams the
//! bytes, threads that may wait read and write the files. Knows nothing of what is in them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::{sleep, timeout};

use crate::node::catch_up::{Answer, Header, Offer, Outgoing, SnapshotFiles, WantedSnapshot};
use crate::node::move_pace::MovePace;
use crate::node::peer::{open_stream, SnapshotHandler, StreamError, StreamReceiver, Target};
use crate::node::yield_to_others;

use super::Local;

/// Snapshots that a worker sends at the same time; more wait.
const SENDING_MAX: usize = 2;
/// Read and sent at once.
const CHUNK_BYTES: usize = 512 << 10;
/// From the request to the receiver's answer; the replica gives up a little later (`Config::snapshot_timeout_us`).
const TRANSFER_MAX: Duration = Duration::from_secs(590);
/// Between two looks whether the snapshot that is to be sent has been made.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// After a transfer that failed, before the replica hears of it: it asks again at once.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The transfers of one worker.
#[derive(Default)]
pub(super) struct CatchUp {
    /// Shard and receiver of those under way.
    sending: RefCell<Vec<Transfer>>,
    /// By shard: the number of the newest that is coming in.
    receiving: RefCell<HashMap<u16, u64>>,
    numbers: Cell<u64>,
}

type Transfer = (u16, u128);

fn transfer_of(wanted: &WantedSnapshot) -> Transfer {
    (wanted.shard, u128::from(wanted.request.to.get()))
}

// ---- sending -----------------------------------------------------------------------------------------

/// Begins to send the snapshots that followers need, as many as may be sent at a time. To be called now and then.
pub(super) fn send_wanted(local: &Rc<Local>) {
    if local.peers.get().is_none() {
        return;
    }
    while let Some(wanted) = next_wanted(local) {
        local
            .catch_up
            .sending
            .borrow_mut()
            .push(transfer_of(&wanted));
        spawn_local(send(local.clone(), wanted));
    }
}

fn next_wanted(local: &Local) -> Option<WantedSnapshot> {
    let sending = local.catch_up.sending.borrow();
    if sending.len() >= SENDING_MAX {
        return None;
    }
    let wanted = &mut local.worker.borrow_mut().snapshots_wanted;
    let at = wanted
        .iter()
        .position(|wanted| !sending.contains(&transfer_of(wanted)))?;
    Some(wanted.remove(at))
}

/// Sends one snapshot, and tells the replica how that ended.
async fn send(local: Rc<Local>, wanted: WantedSnapshot) {
    let began = Instant::now();
    let result = timeout(TRANSFER_MAX, transfer(&local, &wanted))
        .await
        .unwrap_or_else(|_| Err("it took too long".into()));
    let (shard, to) = (wanted.shard, wanted.to);
    match &result {
        Ok(bytes) => tracing::info!(
            "sent a snapshot of shard {shard} to node {to}: {bytes} bytes in {:?}",
            began.elapsed()
        ),
        Err(reason) => {
            tracing::warn!("a snapshot of shard {shard} did not reach node {to}: {reason}");
        }
    }
    let is_over = {
        let mut sending = local.catch_up.sending.borrow_mut();
        sending.retain(|other| *other != transfer_of(&wanted));
        !sending.iter().any(|(other, _)| *other == shard)
    };
    if is_over {
        let files = local.worker.borrow().snapshot_files();
        let _ = spawn_blocking(move || files.clear_sent(shard)).await;
    }
    send_wanted(&local);
    if result.is_err() {
        sleep(RETRY_PAUSE).await;
    }
    let ok = result.is_ok();
    local.worker.borrow_mut().snapshot_sent(&wanted, ok);
    local.want_turn();
}

/// Gives the bytes that the receiver now has.
async fn transfer(local: &Rc<Local>, wanted: &WantedSnapshot) -> Result<u64, String> {
    let header = local.worker.borrow().announce(wanted);
    let header = header.ok_or("the shard is not led from here any more")?;
    let peers = local.peers.get().ok_or("there is no peer port")?;
    let address = peers.links.address(wanted.to);
    let address = address.ok_or("nobody knows where that node is")?;
    let file = find(local, wanted).await?;
    let header = Header {
        bytes: file.bytes(),
        index: file.meta().index,
        index_term: file.meta().term,
        ..header
    };
    let target = Target {
        address: &address,
        node: wanted.to,
        // Shards are spread over workers by their number, on every node.
        worker: wanted.shard,
    };
    let opened = open_stream(&peers.home, target, &header.encode()).await;
    let mut stream = opened.map_err(|error| error.to_string())?;
    let pace = Pace::new(file.bytes());
    let mut offset = 0;
    while offset < file.bytes() {
        let from = file.clone();
        let chunk = blocking(move || from.read(offset, CHUNK_BYTES)).await?;
        let chunk = chunk.map_err(|error| error.to_string())?;
        match stream.send(&chunk).await {
            Ok(()) => {}
            Err(StreamError::AnsweredEarly) => break,
            Err(error) => return Err(error.to_string()),
        }
        offset += chunk.len() as u64;
        pace.keep(local, offset, chunk.len() as u64).await;
    }
    let answer = stream.finish(TRANSFER_MAX).await;
    let answer = answer.map_err(|error| error.to_string())?;
    match Answer::decode(&answer).map_err(|error| error.to_string())? {
        Answer::TakenIn | Answer::NotNeeded => Ok(offset),
        Answer::Refused(reason) => Err(format!("refused: {reason}")),
    }
}

/// The shard's newest snapshot, held open; has one made when there is none that will do.
async fn find(local: &Rc<Local>, wanted: &WantedSnapshot) -> Result<Outgoing, String> {
    let (shard, to) = (wanted.shard, wanted.request.to);
    let at_least = wanted.request.place.index;
    let mut is_told = false;
    loop {
        let files = local.worker.borrow().snapshot_files();
        match blocking(move || files.newest(shard, at_least, to)).await? {
            Ok(Some(file)) => return Ok(file),
            Ok(None) => {}
            // A new one takes its place.
            Err(error) if !is_told => {
                tracing::error!("{error}");
                is_told = true;
            }
            Err(_) => {}
        }
        {
            let mut worker = local.worker.borrow_mut();
            if worker.announce(wanted).is_none() {
                return Err("the shard is not led from here any more".into());
            }
            worker.snapshot_needed(shard);
        }
        sleep(LOOK_PAUSE).await;
    }
}

/// Holds a transfer to its rate and to what all of the node's may send, so that clients have their part of the network and the disk.
struct Pace {
    began: Instant,
    /// Bytes a second that it has in any case.
    least: u64,
}

impl Pace {
    fn new(file_bytes: u64) -> Self {
        Self {
            began: Instant::now(),
            least: MovePace::least(file_bytes),
        }
    }

    /// Waits until more may be sent, when `all` bytes were, the last `bytes` just now.
    async fn keep(&self, local: &Local, all: u64, bytes: u64) {
        let (own, limit) = {
            let live = &local.worker.borrow().live;
            (live.snapshot_send_bytes_per_sec, live.move_bytes_per_sec)
        };
        let shared = local.shared.move_pace.sent(bytes, limit, Instant::now());
        let wait = shared
            .min(self.until(all, self.least))
            .max(self.until(all, own));
        if wait > Duration::ZERO {
            sleep(wait).await;
        }
    }

    /// From now until `bytes` may have been sent, at `rate` bytes a second.
    fn until(&self, bytes: u64, rate: u64) -> Duration {
        let due = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        due.saturating_sub(self.began.elapsed())
    }
}

// ---- receiving ---------------------------------------------------------------------------------------

/// Takes in the snapshots that other nodes send to this worker.
pub(super) fn snapshot_handler(local: &Rc<Local>) -> SnapshotHandler {
    // Weak: what holds the handler belongs to the worker.
    let local = Rc::downgrade(local);
    Rc::new(move |stream| {
        if let Some(local) = local.upgrade() {
            spawn_local(receive(local, stream));
        }
    })
}

async fn receive(local: Rc<Local>, mut stream: StreamReceiver) {
    let node = stream.from.node;
    let taken = timeout(TRANSFER_MAX, take(&local, &mut stream)).await;
    let answer = match taken {
        Ok(Ok(answer)) => answer,
        Ok(Err(reason)) => Answer::refused(reason),
        Err(_) => Answer::refused("it took too long"),
    };
    if let Answer::Refused(reason) = &answer {
        tracing::warn!("did not take a snapshot of node {node}: {reason}");
    }
    if let Err(error) = stream.answer(&answer.encode()).await {
        tracing::info!("node {node} did not hear what became of its snapshot: {error}");
    }
}

/// Marks a shard's newest transfer; the mark goes with it.
struct Receiving {
    local: Rc<Local>,
    shard: u16,
    number: u64,
}

impl Receiving {
    fn begin(local: &Rc<Local>, shard: u16) -> Self {
        let catch_up = &local.catch_up;
        let number = catch_up.numbers.get() + 1;
        catch_up.numbers.set(number);
        catch_up.receiving.borrow_mut().insert(shard, number);
        Self {
            local: local.clone(),
            shard,
            number,
        }
    }

    /// Whoever sends again has given up what it sent before.
    fn check_newest(&self) -> Result<(), String> {
        let newest = self.local.catch_up.receiving.borrow();
        match newest.get(&self.shard) == Some(&self.number) {
            true => Ok(()),
            false => Err("another transfer of this shard has followed".into()),
        }
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if self.check_newest().is_ok() {
            let receiving = &self.local.catch_up.receiving;
            receiving.borrow_mut().remove(&self.shard);
        }
    }
}

/// Receives one snapshot. An error is the reason for a refusal.
async fn take(local: &Rc<Local>, stream: &mut StreamReceiver) -> Result<Answer, String> {
    let node = stream.from.node;
    let header = Header::decode(&stream.header).map_err(|error| error.to_string())?;
    let judge = || local.worker.borrow_mut().judge_offer(node, &header);
    let shard = match judge() {
        Offer::Take(shard) => shard,
        Offer::Answer(answer) => return Ok(answer),
    };
    let receiving = Receiving::begin(local, shard);
    let files = local.worker.borrow().snapshot_files();
    let (number, announced, place) = (receiving.number, header.clone(), files.clone());
    let mut file = blocking(move || place.begin(shard, &announced, number)).await??;
    loop {
        let chunk = stream.next_chunk().await;
        receiving.check_newest()?;
        let Some(chunk) = chunk.map_err(|error| error.to_string())? else {
            break;
        };
        file = blocking(move || file.append(&chunk).map(|()| file)).await??;
    }
    // Much may have happened since it began.
    if let Offer::Answer(answer) = judge() {
        return Ok(answer);
    }
    let loaded = in_background(move || file.check_and_place()).await??;
    let has = {
        let mut worker = local.worker.borrow_mut();
        worker.snapshot_received(shard, &header, loaded)
    };
    local.want_turn();
    clear(files, shard, &header, has).await?;
    match has {
        true => Ok(Answer::TakenIn),
        false => Err("the replica does not want it".into()),
    }
}

/// After the replica's decision: there is one snapshot of the shard too many.
async fn clear(files: SnapshotFiles, shard: u16, header: &Header, has: bool) -> Result<(), String> {
    let index = header.index;
    blocking(move || match has {
        true => files.clear_below(shard, index),
        false => files.remove(shard, index),
    })
    .await
}

/// Runs what waits for the disk where it holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    spawn_blocking(work)
        .await
        .map_err(|_| "the work on its file ended badly".into())
}

/// As [`blocking`], for work of seconds: it gets what processor time others leave.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (sender, done) = oneshot::channel();
    let thread = std::thread::Builder::new().name("ringfort-move".into());
    let begun = thread.spawn(move || {
        yield_to_others();
        let _ = sender.send(work());
    });
    begun.map_err(|error| format!("there is no thread for it: {error}"))?;
    done.await
        .map_err(|_| "the work on its file ended badly".into())
}

#[cfg(test)]
mod tests;
