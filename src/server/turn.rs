//! The beat of a worker's thread: ends turns, sends replies, takes over accepted connections, and runs what goes
//! by the clock.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::node::peer::ControlHandler;
use crate::node::{ConnKey, CYCLE_MS};

use super::govern::Office;
use super::{catch_up, connection, leaving, peers, Arrival, Ending, Local, PeerSetup};

/// How often a turn looks for further connections that are ready: a bound for how long the first one waits.
const LOOKS_MAX: usize = 4;
/// Requests that a look must have brought to be followed by another.
const WORTH_A_LOOK: u64 = 8;
/// How long writes wait for the round of agreement before theirs, when nothing else brings a turn.
const ROUND_WAIT: Duration = Duration::from_millis(1);
/// Pause between two slices of a snapshot, so that turns come first; longer while clients' writes suffer, as all that moves are made of.
const SNAPSHOT_PAUSE: Duration = Duration::from_micros(500);

/// Serves until it is told to stop.
pub async fn serve(
    local: Rc<Local>,
    setup: Option<PeerSetup>,
    mut accepted: mpsc::Receiver<Arrival>,
    ending: Arc<Ending>,
) {
    if let Some(setup) = &setup {
        let silent: ControlHandler = Rc::new(|_, _| Box::pin(async { Vec::new() }));
        let control = setup.office.as_ref().map_or(silent, Office::handler);
        peers::start(&local, setup, control, catch_up::snapshot_handler(&local));
        if let Some(office) = &setup.office {
            office.open(&local);
        }
    }
    let turns = tokio::task::spawn_local(turns(local.clone()));
    let clock = tokio::task::spawn_local(clock(local.clone()));
    loop {
        let arrival = tokio::select! {
            biased;
            () = ending.stop.notified() => break,
            () = ending.leave_clients.notified() => {
                leaving::leave_clients_of(&local, &ending);
                continue;
            }
            Some(arrival) = accepted.recv() => arrival,
            else => break,
        };
        match arrival {
            Arrival::Client { stream, port } => connection::take_over(&local, stream, port),
            Arrival::Node(accepted) => {
                if let Some(peers) = local.peers.get() {
                    peers.take_over(*accepted);
                }
            }
        }
    }
    turns.abort();
    clock.abort();
    let _ = tokio::join!(turns, clock);
}

/// Ends a turn whenever somebody asks for it. The task is woken behind the connections that are ready at the same
/// time, so one turn holds what all of them sent.
async fn turns(local: Rc<Local>) {
    let wake = &local.shared.inboxes[local.number].wake;
    let mut touched = Vec::new();
    let mut some_wait = false;
    loop {
        if some_wait {
            let _ = tokio::time::timeout(ROUND_WAIT, wake.notified()).await;
        } else {
            wake.notified().await;
        }
        gather_more(&local).await;
        some_wait = end_turn(&local, &mut touched);
    }
}

/// Lets connections join the turn that have become ready since it began: an entry for many commands costs hardly more than
/// one for a few. It goes on looking while it finds pipelines; where clients send commands one by one a look that brings
/// nothing would be the dearer part of a short turn.
async fn gather_more(local: &Local) {
    for _ in 0..LOOKS_MAX {
        let before = local.requests.get();
        tokio::task::yield_now().await;
        if local.requests.get() - before < WORTH_A_LOOK {
            return;
        }
    }
}

/// Returns whether writes wait for the round of agreement before theirs.
fn end_turn(local: &Local, touched: &mut Vec<ConnKey>) -> bool {
    let (kills, some_wait) = {
        let mut worker = local.worker.borrow_mut();
        if !local.shared.inboxes[local.number].is_empty() {
            worker.receive();
        }
        let some_wait = worker.flush_in_rounds();
        std::mem::swap(touched, &mut worker.io.touched);
        (std::mem::take(&mut worker.kills), some_wait)
    };
    for conn in touched.drain(..) {
        if let Some(handle) = local.handle(conn) {
            let mut worker = local.worker.borrow_mut();
            worker.io.seen(conn);
            handle.send(&mut worker);
        }
    }
    for conn in kills {
        if let Some(handle) = local.handle(conn) {
            handle.close();
        }
    }
    some_wait
}

async fn clock(local: Rc<Local>) {
    let mut cycle = tokio::time::interval(Duration::from_millis(CYCLE_MS));
    // A pause is not made up for by a burst of cycles.
    cycle.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut snapshots = false;
    loop {
        if snapshots {
            let pause = SNAPSHOT_PAUSE.div_f64(local.shared.move_pace.share());
            tokio::select! {
                _ = cycle.tick() => run_cycle(&local),
                () = tokio::time::sleep(pause) => {}
            }
        } else {
            cycle.tick().await;
            run_cycle(&local);
        }
        snapshots = local.worker.borrow_mut().background_step();
    }
}

fn run_cycle(local: &Rc<Local>) {
    local.worker.borrow_mut().cycle();
    local.want_turn();
    catch_up::send_wanted(local);
    connection::close_over_limit(local);
    connection::close_idle(local);
}
