//! Commands that take longer than a turn: SAVE, DEBUG RELOAD, SHUTDOWN, and walks over the keys of a slot. The connection that asked waits; others
//! are served.

use std::rc::Rc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::node::{Pending, SlotWalk, Worker};
use crate::protocol::Proto;

use super::Local;

/// How often the outcome is looked for.
const LOOK: Duration = Duration::from_millis(2);

/// Does the work and gives the reply.
pub async fn carry_out(local: &Rc<Local>, pending: Pending) -> Vec<u8> {
    match pending {
        Pending::Save => save(local).await,
        Pending::Reload => reload(local).await,
        Pending::CountKeysInSlot(slot) => walk(local, SlotWalk::counting(slot)).await,
        Pending::KeysInSlot { slot, count } => walk(local, SlotWalk::listing(slot, count)).await,
        Pending::Links(proto) => links(local, proto).await,
        Pending::Shutdown(how) => {
            if how.save == Some(true) {
                let saved = save(local).await;
                if saved.first() == Some(&b'-') && !how.force {
                    return b"-ERR Errors trying to SHUTDOWN. Check logs.\r\n".to_vec();
                }
            }
            local.shared.shut_down(how);
            std::future::pending().await
        }
    }
}

/// Has every worker do something.
fn on_all_workers(local: &Local, task: impl Fn(&mut Worker) + Clone + Send + 'static) {
    local.worker.borrow_mut().task_everywhere(task);
    local.want_turn();
}

async fn save(local: &Rc<Local>) -> Vec<u8> {
    let shared = &local.shared;
    if shared.snapshots_running.load(Acquire) > 0 {
        return b"-ERR Background save already in progress\r\n".to_vec();
    }
    let failed_before = shared.stats.sum(|worker| &worker.snapshots_failed);
    let begun = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = begun.clone();
    on_all_workers(local, move |worker| {
        worker.snapshot_all();
        count.fetch_add(1, std::sync::atomic::Ordering::Release);
    });
    let workers = usize::from(local.worker.borrow().workers);
    while begun.load(Acquire) < workers || shared.snapshots_running.load(Acquire) > 0 {
        tokio::time::sleep(LOOK).await;
    }
    match shared.stats.sum(|worker| &worker.snapshots_failed) == failed_before {
        true => b"+OK\r\n".to_vec(),
        false => b"-ERR the snapshot failed, see the log\r\n".to_vec(),
    }
}

async fn reload(local: &Rc<Local>) -> Vec<u8> {
    let done = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = done.clone();
    on_all_workers(local, move |worker| {
        worker.reload();
        count.fetch_add(1, Relaxed);
    });
    let workers = usize::from(local.worker.borrow().workers);
    while done.load(Relaxed) < workers {
        tokio::time::sleep(LOOK).await;
    }
    b"+OK\r\n".to_vec()
}

/// CLUSTER LINKS: each worker knows what waits on its own.
async fn links(local: &Rc<Local>, proto: Proto) -> Vec<u8> {
    let (sender, mut parts) = mpsc::unbounded_channel();
    on_all_workers(local, move |worker| drop(sender.send(worker.backlogs())));
    let mut backlogs = Vec::new();
    while let Some(part) = parts.recv().await {
        backlogs.extend(part);
    }
    let worker = local.worker.borrow();
    worker.write_links(&backlogs, proto)
}

/// Walks over the keys of a slot, slice by slice at the worker that has them.
async fn walk(local: &Rc<Local>, mut walk: SlotWalk) -> Vec<u8> {
    let home = local.worker.borrow().home_of(&walk);
    while !walk.is_done() {
        let (done, slice) = oneshot::channel();
        local.worker.borrow_mut().task(home, move |there| {
            there.walk_slot(&mut walk);
            // Nobody waits any more where the client has gone.
            let _ = done.send(walk);
        });
        local.want_turn();
        // Others come first, also where the slice is here and there already.
        tokio::task::yield_now().await;
        walk = match slice.await {
            Ok(walked) => walked,
            Err(_) => return b"-ERR the node is going down\r\n".to_vec(),
        };
    }
    walk.reply()
}
