//! Listeners and connections: bytes in, commands to the node's router, bytes out. Knows the node and the
//! protocol, no command by name.

mod catch_up;
mod connection;
mod control;
#[cfg(test)]
mod follower_read_tests;
pub mod formation;
pub mod govern;
mod leaving;
mod listener;
#[cfg(test)]
mod operate_tests;
mod peers;
#[cfg(test)]
mod peers_tests;
mod pending;
#[cfg(test)]
mod recover_tests;
#[cfg(test)]
mod revival_tests;
mod turn;
#[cfg(test)]
mod verify_tests;

use std::cell::{Cell, OnceCell, RefCell};
use std::net::TcpStream as StdStream;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{mpsc, Notify};
use tokio::task::LocalSet;

use crate::node::peer::Accepted as PeerAccepted;
use crate::node::{ConnKey, Shared, Worker, WorkerParts};

pub use govern::Office;
pub use leaving::{hand_over, leave_clients};
pub use listener::{bind, listen, reserve, Listener};
pub use peers::PeerSetup;

/// Connections accepted and not yet taken over by their worker.
const ACCEPTED_MAX: usize = 1024;

/// A connection that was accepted, on its way to its worker.
pub enum Arrival {
    Client { stream: StdStream, port: Port },
    Node(Box<PeerAccepted>),
}

/// By which port a client came in (DESIGN 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The whole cluster as one Redis.
    Plain,
    /// A node of a Redis Cluster.
    Cluster,
}

/// Where accepted connections are handed to one worker.
pub type Accepted = mpsc::Sender<Arrival>;

/// A worker's thread, as seen by the connections on it.
pub(crate) struct Local {
    pub worker: RefCell<Worker>,
    pub shared: Arc<Shared>,
    number: usize,
    /// The connections, by their place in the worker's slab.
    conns: RefCell<Vec<Option<Rc<connection::Handle>>>>,
    /// The other nodes; none where there is no peer port.
    peers: OnceCell<peers::Peers>,
    /// Snapshots on their way from and to other nodes.
    catch_up: catch_up::CatchUp,
    /// How many requests the connections have brought.
    requests: Cell<u64>,
    /// Clients are told good-bye: each as soon as it has been answered.
    leaves_clients: Cell<bool>,
    /// What a connection reads into before it is known how much there is.
    pub read_buffer: RefCell<Vec<u8>>,
}

impl Local {
    /// Has the turn ended soon: when all connections that are ready now have been read.
    pub fn want_turn(&self) {
        self.shared.inboxes[self.number].wake.notify_one();
    }

    fn handle(&self, conn: ConnKey) -> Option<Rc<connection::Handle>> {
        let conns = self.conns.borrow();
        let handle = conns.get(conn.place as usize)?.as_ref()?;
        (handle.conn == conn).then(|| handle.clone())
    }
}

/// What a worker's thread is told towards its end.
#[derive(Default)]
struct Ending {
    /// Clients are to be told good-bye.
    leave_clients: Notify,
    /// None of them is left.
    clients_gone: Notify,
    stop: Notify,
}

/// The threads of the workers.
pub struct Workers {
    threads: Vec<std::thread::JoinHandle<()>>,
    endings: Vec<Arc<Ending>>,
    pub accepted: Vec<Accepted>,
}

impl Workers {
    /// Starts a thread for each worker.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        parts: Vec<WorkerParts>,
        shared: &Arc<Shared>,
        setup: Option<PeerSetup>,
    ) -> std::io::Result<Self> {
        let mut workers = Self {
            threads: Vec::new(),
            endings: Vec::new(),
            accepted: Vec::new(),
        };
        for parts in parts {
            let (sender, receiver) = mpsc::channel(ACCEPTED_MAX);
            let ending = Arc::new(Ending::default());
            workers.endings.push(ending.clone());
            let (shared, setup) = (shared.clone(), setup.clone());
            let name = format!("worker-{}", parts.number);
            let thread = std::thread::Builder::new()
                .name(name)
                .spawn(move || run(parts, shared, setup, receiver, ending))?;
            workers.threads.push(thread);
            workers.accepted.push(sender);
        }
        Ok(workers)
    }

    /// Ends the workers: each finishes its turn and closes its log. Whoever could still hand them connections does not hold them up.
    pub fn stop(self) {
        self.endings
            .iter()
            .for_each(|ending| ending.stop.notify_one());
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker ended badly");
            }
        }
    }
}

/// One worker's thread. Ends when it is told to.
fn run(
    parts: WorkerParts,
    shared: Arc<Shared>,
    setup: Option<PeerSetup>,
    accepted: mpsc::Receiver<Arrival>,
    ending: Arc<Ending>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => crate::node::stop_the_process(&error),
    };
    let number = usize::from(parts.number);
    let local = Rc::new(Local {
        worker: RefCell::new(Worker::start(parts)),
        shared,
        number,
        conns: RefCell::default(),
        peers: OnceCell::new(),
        catch_up: catch_up::CatchUp::default(),
        requests: Cell::new(0),
        leaves_clients: Cell::new(false),
        read_buffer: RefCell::new(vec![0; connection::READ_BYTES]),
    });
    let tasks = LocalSet::new();
    tasks.block_on(
        &runtime,
        turn::serve(local.clone(), setup, accepted, ending),
    );
    // The connections' tasks hold the worker: they end here, before the log is closed.
    drop(tasks);
    match Rc::try_unwrap(local) {
        Ok(local) => local.worker.into_inner().stop(),
        Err(_) => {
            tracing::error!("a connection outlived its worker; the log ends as after a crash")
        }
    }
}
