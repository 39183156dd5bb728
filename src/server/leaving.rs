//! The gentle end of a node among others: its workers hand the leadership of their groups over while connections are still served, and
//! take leave of the other nodes. Then its clients are told good-bye, each when it has been answered. Knows how long that may take, not
//! how it is done.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout_at, Instant};

use crate::node::{peers_of, Shared, Worker};

use super::{Ending, Local, Workers};

/// How long other nodes have to take the leadership over; what they have not taken by then they find out by election.
const HANDOVER_MAX: Duration = Duration::from_secs(3);
/// Between two looks at the workers.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A node that has handed groups over stays so long at least: the others learn where to send clients of their cluster ports.
const LINGER: Duration = Duration::from_millis(150);
/// How long other nodes have to say that they expect no more answers. Those of a version that knows no farewell never do.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// How long clients have for what they have asked; whoever is not answered by then is cut off.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// Between two looks at the clients.
const LOOK_AT_CLIENTS_EVERY: Duration = Duration::from_millis(2);

/// Closes the connections of all clients: what a client has sent is answered, and then it reads the end of the connection. To be called
/// when no new ones are accepted.
pub async fn leave_clients(workers: &Workers) {
    let all = async {
        for ending in &workers.endings {
            ending.leave_clients.notify_one();
        }
        for ending in &workers.endings {
            ending.clients_gone.notified().await;
        }
    };
    if timeout_at(Instant::now() + GOODBYE_MAX, all).await.is_err() {
        tracing::info!("some clients did not take their replies in time");
    }
}

/// The same for the clients of one worker.
pub(super) fn leave_clients_of(local: &Rc<Local>, ending: &Arc<Ending>) {
    local.leaves_clients.set(true);
    local
        .conns
        .borrow()
        .iter()
        .flatten()
        .for_each(|handle| handle.wake());
    let (local, ending) = (local.clone(), ending.clone());
    tokio::task::spawn_local(async move {
        while local.conns.borrow().iter().any(Option::is_some) {
            sleep(LOOK_AT_CLIENTS_EVERY).await;
        }
        ending.clients_gone.notify_one();
    });
}

/// Hands over what this node leads and another one could, and takes leave of the other nodes. Returns at once on a node alone.
pub async fn hand_over(shared: &Arc<Shared>) {
    let has_others = !peers_of(&shared.topology.current(), shared.node_id()).is_empty();
    if has_others {
        hand_over_to_others(shared).await;
    }
}

/// As [`hand_over`], where there are other nodes.
pub(super) async fn hand_over_to_others(shared: &Arc<Shared>) {
    let began = Instant::now();
    let handed = hand_all_over(shared, began + HANDOVER_MAX).await;
    let given = handed.unwrap_or(0);
    if handed.is_none() {
        tracing::warn!("not all groups have another leader yet: stopping all the same");
    } else if given > 0 {
        let took_ms = began.elapsed().as_millis();
        tracing::info!("{given} groups were handed over to other nodes in {took_ms} ms");
    }
    let linger = if given > 0 { LINGER } else { Duration::ZERO };
    tokio::join!(sleep(linger), take_leave(shared, handed.is_some()));
}

/// Returns how many groups were handed over, or `None` when the time was over before all were. The others hear first that the node goes
/// down, or they might give it back what it hands over.
async fn hand_all_over(shared: &Arc<Shared>, deadline: Instant) -> Option<usize> {
    loop {
        let look = |there: &mut Worker| {
            there.begin_to_leave();
            there.say_farewell();
            (there.left_to_hand_over(), there.handed_over())
        };
        let (left, given) = ask_all(shared, deadline, look).await?;
        if left == 0 {
            return Some(given);
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Waits until none of the other nodes, to which farewell was said, expects an answer or sends more commands. Where all groups could be handed
/// over, those that came back meanwhile go again.
async fn take_leave(shared: &Arc<Shared>, leads_nothing: bool) {
    let deadline = Instant::now() + FAREWELL_MAX;
    loop {
        let look = |there: &mut Worker| (there.left_to_hand_over(), there.left_to_release());
        match ask_all(shared, deadline, look).await {
            Some((left, 0)) if left == 0 || !leads_nothing => return,
            Some(_) => sleep(LOOK_EVERY).await,
            None => return tracing::info!("other nodes did not take leave in time"),
        }
    }
}

/// Asks all workers for two numbers and adds them up; `None` when the time is over.
async fn ask_all(
    shared: &Arc<Shared>,
    deadline: Instant,
    ask: impl Fn(&mut Worker) -> (usize, usize) + Copy + Send + 'static,
) -> Option<(usize, usize)> {
    let (sender, mut answers) = mpsc::unbounded_channel();
    for worker in 0..shared.inboxes.len() as u16 {
        let sender = sender.clone();
        shared.task(worker, move |there| {
            let _ = sender.send(ask(there));
        });
    }
    drop(sender);
    let mut sum = (0, 0);
    loop {
        match timeout_at(deadline, answers.recv()).await {
            Ok(Some((first, second))) => sum = (sum.0 + first, sum.1 + second),
            Ok(None) if Instant::now() < deadline => return Some(sum),
            _ => return None,
        }
    }
}

#[cfg(test)]
#[path = "leaving_tests.rs"]
mod tests;
