//! Brings a node up and down, in order: ports, directory, cluster, data, workers, clients.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use ringfort::cli::logging::LogControl;
use ringfort::node::early::Early;
use ringfort::node::peer::{accept_loop, Home, PeerSecurity, PeerTls, Secret, Timing};
use ringfort::node::report::{Identity, State};
use ringfort::node::{described_node, peers_of, process, recovery, removal, wall_clock};
use ringfort::node::{Node, Shared, Shutdown};
use ringfort::server::formation::{form, setup, Announcing, Formation, FormationError, Formed};
use ringfort::server::{
    bind, hand_over, leave_clients, listen, reserve, Accepted, Arrival, Listener, Office,
    PeerSetup, Port, Workers,
};
use ringfort::settings::{Settings, Startup};
use ringfort_cluster::forming::{Setup, Stored};
use ringfort_cluster::topology::Topology;
use tokio::signal::unix::{signal, Signal, SignalKind};

use crate::AnyError;

/// The sockets of a node, reserved before anything is read, so that a port in use is told at once.
struct Ports {
    clients: Listener,
    cluster: Option<Listener>,
    http: Option<Listener>,
    peers: Vec<TcpListener>,
}

impl Ports {
    fn bind(startup: &Startup) -> Result<Self, AnyError> {
        let optional = |addresses, port| match port {
            0 => Ok(None),
            port => bind(addresses, port, startup.tcp_backlog).map(Some),
        };
        Ok(Self {
            clients: bind(&startup.bind, startup.port, startup.tcp_backlog)?,
            cluster: optional(&startup.bind, startup.cluster.cluster_port)?,
            http: optional(&startup.http_bind, startup.http_port)?,
            peers: peer_sockets(startup)?,
        })
    }

    fn peer_port(&self) -> u16 {
        let address = self.peers.first().map(TcpListener::local_addr);
        address
            .and_then(Result::ok)
            .map_or(0, |address| address.port())
    }
}

/// A node that was told to join must be reachable; one that was not can do without.
fn peer_sockets(startup: &Startup) -> Result<Vec<TcpListener>, AnyError> {
    let cluster = &startup.cluster;
    if cluster.peer_port == 0 {
        return match cluster.join.is_empty() {
            true => Ok(Vec::new()),
            false => Err("join needs a peer-port, on which other nodes reach this one".into()),
        };
    }
    // A node that dials one that still loads would wait in vain for its handshake, and then pause: refused, it comes again at once.
    match reserve(&cluster.peer_bind, cluster.peer_port) {
        Ok(listener) => Ok(listener.into_sockets()),
        Err(error) if cluster.join.is_empty() => {
            tracing::error!("{error}: no other node can join this one (see --peer-port)");
            Ok(Vec::new())
        }
        Err(error) => Err(error.into()),
    }
}

fn addresses_of(listener: Option<&Listener>) -> Vec<SocketAddr> {
    listener.map(Listener::addresses).unwrap_or_default()
}

/// What guards the peer port, by the settings.
fn security(startup: &Startup, sockets: &[TcpListener]) -> Result<PeerSecurity, AnyError> {
    let cluster = &startup.cluster;
    let secret = match cluster.secret.as_str() {
        "" => None,
        text => Some(Secret::new(text)?),
    };
    let files = [
        &cluster.peer_tls_cert_file,
        &cluster.peer_tls_key_file,
        &cluster.peer_tls_ca_file,
    ];
    let tls = match files.map(|file| Path::new(file.as_str())) {
        [cert, key, ca] if files.iter().all(|file| !file.is_empty()) => {
            Some(Arc::new(PeerTls::load(cert, key, ca)?))
        }
        _ if files.iter().all(|file| file.is_empty()) => None,
        _ => {
            return Err("peer-tls-cert-file, peer-tls-key-file and peer-tls-ca-file belong together: give all three or none".into())
        }
    };
    let security = PeerSecurity { secret, tls };
    for socket in sockets {
        security.may_listen(socket.local_addr()?.ip())?;
    }
    Ok(security)
}

/// The cluster does not take this node, and to start it again as it is changes nothing.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StaysOut(String);

/// Whether an error says so.
pub fn stays_out(error: &AnyError) -> bool {
    let refused = error.downcast_ref::<FormationError>();
    error.is::<StaysOut>() || matches!(refused, Some(FormationError::Refused(_)))
}

/// The node's place in its cluster.
struct Place {
    topology: Topology,
    home: Arc<Home>,
    setup: Setup,
    announcing: Option<Box<Announcing>>,
}

/// Runs a node until SIGTERM, SIGINT or SHUTDOWN.
pub fn serve(settings: &Arc<Settings>) -> Result<(), AnyError> {
    let startup = settings.startup().clone();
    process::allow_open_files(u64::from(settings.live().maxclients));
    process::start_allocator_thread();
    let logs = ringfort::cli::logging::start(startup.log_format, settings.live().log_level);
    let mut ports = Ports::bind(&startup)?;
    let cluster_addresses = addresses_of(ports.cluster.as_ref());
    let http_addresses = addresses_of(ports.http.as_ref());
    let identity = identity(
        settings,
        ports.clients.addresses(),
        cluster_addresses.clone(),
    )?;
    let directory = Arc::new(recovery::open_directory(&startup)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut signals = runtime.block_on(async { StopSignals::catch() })?;
    let early = Early::new(settings.clone());
    let admin = match ports.http.take() {
        Some(listener) => Some(ringfort::admin::AdminServer::start(
            listener.into_sockets(),
            early.clone(),
        )?),
        None => None,
    };
    let place = runtime.block_on(async {
        tokio::select! {
            place = find_place(&directory, &startup, &identity, &ports, &early) => place.map(Some),
            () = signals.caught() => Ok(None),
        }
    })?;
    let Some(place) = place else {
        return Ok(());
    };
    // The shards, and the copy of the meta group.
    let shards = place.topology.shards.len() + 1;
    let shared = Shared::new(settings.clone(), identity, shards);
    shared.topology.offer(Arc::new(place.topology.clone()));
    let keeper = directory.state.clone();
    shared.topology.set_keeper(Box::new(move |topology| {
        let kept = keeper.keep_topology(topology);
        kept.map_err(|error| error.to_string())
    }));
    early.hand_to(shared.clone());
    let directory = Arc::into_inner(directory).ok_or("the data directory is still in use")?;
    let mut node = Node::load(shared.clone(), directory, &place.topology)?;
    let home = place.home;
    let office = Office::new(home.clone(), place.setup, place.announcing);
    let meeting = PeerSetup {
        home: home.clone(),
        peers: peers_of(&place.topology, shared.node_id()),
        office: Some(office),
    };
    let workers = Workers::start(node.take_parts(), &shared, Some(meeting))?;
    runtime.block_on(async {
        let mut accepting = ports
            .clients
            .accept(Port::Plain, &shared, &workers.accepted)?;
        if let Some(cluster) = ports.cluster.take() {
            accepting.extend(cluster.accept(Port::Cluster, &shared, &workers.accepted)?);
        }
        let sockets = std::mem::take(&mut ports.peers);
        let met = meet(sockets, startup.tcp_backlog, home, &workers.accepted);
        shared.set_state(State::Ready);
        announce(settings, &shared, &cluster_addresses, &http_addresses);
        wait_for_stop(&shared, &mut signals, logs.as_ref()).await;
        end(accepting).await;
        if !shared.shutdown_asked().is_some_and(|how| how.now) {
            tokio::select! {
                () = async {
                    hand_over(&shared).await;
                    leave_clients(&workers).await;
                } => {}
                () = signals.caught() => tracing::info!("told twice: stopping at once"),
            }
        }
        end(met).await;
        Ok::<(), AnyError>(())
    })?;
    shared.set_state(State::Stopping);
    workers.stop();
    node.close();
    drop(admin);
    tracing::info!("stopped");
    shared
        .failure()
        .map_or(Ok(()), |why| Err(StaysOut(why).into()))
}

async fn end(tasks: Vec<tokio::task::JoinHandle<()>>) {
    for task in tasks {
        task.abort();
        let _ = task.await;
    }
}

/// Finds or forms the node's cluster.
async fn find_place(
    directory: &Arc<recovery::Directory>,
    startup: &Startup,
    identity: &Identity,
    ports: &Ports,
    early: &Arc<Early>,
) -> Result<Place, AnyError> {
    let described = described_node(directory.node_id, startup, identity, ports.peer_port());
    let known = directory.topology()?;
    let removed = known
        .as_ref()
        .and_then(|known| removal(known, directory.node_id));
    if let Some(why) = removed {
        return Err(StaysOut(why).into());
    }
    let security = security(startup, &ports.peers)?;
    let home = Arc::new(Home::new(directory.node_id, security, Timing::default()));
    if ports.peers.is_empty() {
        // Nobody reaches it, so it asks nobody in; what there is to govern it governs alone.
        let setup = setup(described.clone(), &startup.cluster, Vec::new())?;
        let topology = match known {
            Some(topology) => topology,
            None => recovery::found_alone(directory, described, startup)?,
        };
        return Ok(Place {
            topology,
            home,
            setup,
            announcing: None,
        });
    }
    let mut stored = match &directory.state.state().forming[..] {
        [] => Stored::default(),
        bytes => Stored::decode(bytes)?,
    };
    let mut others = Vec::new();
    if let Some(topology) = &known {
        stored.cluster_id = Some(topology.cluster_id);
        others = peers_of(topology, directory.node_id);
    }
    let others = others.into_iter().map(|(_, address)| address).collect();
    let setup = setup(described.clone(), &startup.cluster, others)?;
    let keeper = directory.state.clone();
    let (founder, at) = (directory.clone(), startup.clone());
    let early = early.clone();
    let formation = Formation {
        home: home.clone(),
        setup: setup.clone(),
        stored,
        store: Box::new(move |stored| {
            let bytes = stored.encode().map_err(|error| error.to_string())?;
            let kept = keeper.change(|state| state.forming = bytes);
            kept.map_err(|error| error.to_string())
        }),
        found: Box::new(move || {
            let founded = recovery::found_alone(&founder, described, &at);
            founded
                .map(|topology| topology.cluster_id)
                .map_err(|error| error.to_string())
        }),
        waits: Box::new(move |why| early.waits(why)),
    };
    let formed = form(formation, &ports.peers, startup.tcp_backlog).await?;
    let (topology, announcing) = match formed {
        Formed::Founded(_) => (directory.topology()?, None),
        Formed::Joined(topology) => (Some(*topology), None),
        Formed::Member(announcing) => match known {
            Some(topology) => (Some(topology), Some(announcing)),
            // It was taken in and then ended before it knew of what.
            None => (taken_in(*announcing).await?, None),
        },
    };
    let topology = topology.ok_or("the cluster has no topology")?;
    directory.state.keep_topology(&topology)?;
    Ok(Place {
        topology,
        home,
        setup,
        announcing,
    })
}

async fn taken_in(announcing: Announcing) -> Result<Option<Topology>, AnyError> {
    let tasks = tokio::task::LocalSet::new();
    let topology = tasks.run_until(announcing.announce()).await?;
    Ok(topology.map(|topology| *topology))
}

/// Accepts what other nodes dial: from now on this one can answer.
fn meet(
    sockets: Vec<TcpListener>,
    backlog: u32,
    home: Arc<Home>,
    workers: &[Accepted],
) -> Vec<tokio::task::JoinHandle<()>> {
    let count = workers.len() as u16;
    let accept = |socket: TcpListener| {
        let (home, workers) = (home.clone(), workers.to_vec());
        tokio::spawn(async move {
            let hand_over = move |worker: u16, node| {
                // One that is full makes the dialer try again.
                let _ = workers[usize::from(worker)].try_send(Arrival::Node(Box::new(node)));
            };
            let met = async {
                listen(&socket, backlog)?;
                accept_loop(socket, home, count, hand_over).await
            };
            if let Err(error) = met.await {
                tracing::error!("the peer port: {error}");
            }
        })
    };
    sockets.into_iter().map(accept).collect()
}

fn identity(
    settings: &Settings,
    listeners: Vec<SocketAddr>,
    cluster_listeners: Vec<SocketAddr>,
) -> Result<Identity, AnyError> {
    Ok(Identity {
        run_id: process::random_id()?,
        replication_id: process::random_id()?,
        process_id: std::process::id(),
        started: wall_clock(),
        os: process::os(),
        executable: process::executable(),
        config_file: settings
            .file()
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
        listeners,
        cluster_listeners,
    })
}

/// A few lines for whoever started the node by hand.
fn announce(settings: &Settings, shared: &Shared, cluster: &[SocketAddr], http: &[SocketAddr]) {
    let startup = settings.startup();
    println!("ringfort {} is ready.", env!("CARGO_PKG_VERSION"));
    for address in &shared.identity.listeners {
        println!(
            "  Redis clients: {address}    (redis-cli -h {} -p {})",
            address.ip(),
            address.port()
        );
    }
    for address in cluster {
        println!(
            "  Cluster:       {address}    (redis-cli -c -h {} -p {})",
            address.ip(),
            address.port()
        );
    }
    for address in http {
        println!("  HTTP:          http://{address}/metrics  /healthz  /readyz");
    }
    println!(
        "  Data:          {} ({})",
        startup.dir.display(),
        startup.durability.name()
    );
}

/// SIGTERM and SIGINT. What comes while nobody looks is seen at the next look, so there is one of these for all of a process.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// To be called within a runtime.
    ///
    /// # Errors
    /// When the system does not let them be caught.
    pub fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for one of them.
    pub async fn caught(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Returns when the node is to go down.
async fn wait_for_stop(shared: &Shared, signals: &mut StopSignals, logs: Option<&LogControl>) {
    let mut level = tokio::time::interval(std::time::Duration::from_secs(1));
    loop {
        tokio::select! {
            () = signals.caught() => shared.shut_down(Shutdown::default()),
            () = shared.stop.notified() => {}
            _ = level.tick() => if let Some(logs) = logs {
                logs.set_level(shared.settings.live().log_level);
            },
        }
        if shared.shutdown_asked().is_some() {
            tracing::info!("stopping");
            return;
        }
    }
}
