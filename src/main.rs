//! The `ringfort` program: reads the command line, then runs a node until it is told to stop.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;

use ringfort::cli::{self, CliError, Invocation};
use ringfort::node::report::{Identity, State};
use ringfort::node::topology::described_node;
use ringfort::node::{process, recovery, wall_clock, Node, Shared, Shutdown};
use ringfort::server::{bind, Listener, Port, Workers};
use ringfort::settings::Settings;
use tokio::signal::unix::{signal, SignalKind};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Data in huge pages: look-ups are random, and nothing here ever forks, which is what makes huge pages dear to others.
/// Without effect where the system has them switched off.
#[export_name = "_rjem_malloc_conf"]
pub static ALLOCATOR_SETTINGS: &[u8; 11] = b"thp:always\0";

/// Wait for the HTTP port and others to end by themselves.
const EXIT_FAILURE: u8 = 1;

fn main() -> ExitCode {
    let settings = match cli::parse(std::env::args_os(), std::env::vars_os()) {
        Ok(Invocation::Serve(settings)) => settings,
        Ok(Invocation::Demo(demo)) => return run_demo(&demo),
        Ok(Invocation::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(CliError::EXIT_CODE as u8);
        }
    };
    match serve(Arc::new(*settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            eprintln!("ringfort: {error}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

/// A cluster on this machine, until Ctrl-C.
fn run_demo(demo: &cli::demo::Demo) -> ExitCode {
    let stopped = Arc::new(AtomicBool::new(false));
    let tell = stopped.clone();
    let watch = std::thread::spawn(move || -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let (mut terminate, mut interrupt) = (
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
            );
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tell.store(true, Relaxed);
            Ok(())
        })
    });
    let program = std::env::current_exe();
    let done = program
        .map_err(AnyError::from)
        .and_then(|program| cli::demo::run(demo, &program, &|| stopped.load(Relaxed)));
    drop(watch);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringfort: {error}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

type AnyError = Box<dyn std::error::Error>;

/// Runs a node until SIGTERM, SIGINT or SHUTDOWN.
fn serve(settings: Arc<Settings>) -> Result<(), AnyError> {
    let startup = settings.startup().clone();
    process::allow_open_files(u64::from(settings.live().maxclients));
    process::start_allocator_thread();
    let logs = cli::logging::start(startup.log_format, settings.live().log_level);
    // Bound before anything is read, so that a port in use is told at once.
    let clients = bind(&startup.bind, startup.port, startup.tcp_backlog)?;
    let cluster = match startup.cluster.cluster_port {
        0 => None,
        port => Some(bind(&startup.bind, port, startup.tcp_backlog)?),
    };
    let http = match startup.http_port {
        0 => None,
        port => Some(bind(&startup.http_bind, port, startup.tcp_backlog)?),
    };
    let cluster_addresses = addresses_of(cluster.as_ref());
    let identity = identity(&settings, clients.addresses(), cluster_addresses.clone())?;
    if !startup.cluster.join.is_empty() {
        tracing::warn!(
            "several nodes form no cluster yet: join has no effect, this node stands alone"
        );
    }
    let http_addresses = addresses_of(http.as_ref());
    let directory = recovery::open_directory(&startup)?;
    let topology = match directory.topology()? {
        Some(topology) => topology,
        None => {
            let peer_port = startup.cluster.peer_port;
            let node = described_node(directory.node_id, &startup, &identity, peer_port);
            recovery::found_alone(&directory, node, &startup)?
        }
    };
    // The shards, and the copy of the meta group.
    let shared = Shared::new(settings.clone(), identity, topology.shards.len() + 1);
    let admin = match http {
        Some(listener) => Some(ringfort::admin::AdminServer::start(
            listener.into_sockets(),
            shared.clone(),
        )?),
        None => None,
    };
    let mut node = Node::load(shared.clone(), directory, &topology)?;
    let workers = Workers::start(node.take_parts(), &shared, None)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let addresses = clients.addresses();
        let mut accepting = clients.accept(Port::Plain, &shared, &workers.accepted)?;
        if let Some(cluster) = cluster {
            accepting.extend(cluster.accept(Port::Cluster, &shared, &workers.accepted)?);
        }
        shared.set_state(State::Ready);
        announce(&settings, &addresses, &cluster_addresses, &http_addresses);
        let stopping = wait_for_stop(&shared, logs.as_ref()).await;
        accepting.iter().for_each(tokio::task::JoinHandle::abort);
        for task in accepting {
            let _ = task.await;
        }
        stopping
    })?;
    shared.set_state(State::Stopping);
    workers.stop();
    node.close();
    drop(admin);
    tracing::info!("stopped");
    Ok(())
}

fn addresses_of(listener: Option<&Listener>) -> Vec<SocketAddr> {
    listener.map(Listener::addresses).unwrap_or_default()
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
fn announce(
    settings: &Settings,
    clients: &[SocketAddr],
    cluster: &[SocketAddr],
    http: &[SocketAddr],
) {
    let startup = settings.startup();
    println!("ringfort {} is ready.", env!("CARGO_PKG_VERSION"));
    for address in clients {
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

/// Returns when the node is to go down.
async fn wait_for_stop(
    shared: &Shared,
    logs: Option<&cli::logging::LogControl>,
) -> Result<(), AnyError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut level = tokio::time::interval(std::time::Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = terminate.recv() => shared.shut_down(Shutdown::default()),
            _ = interrupt.recv() => shared.shut_down(Shutdown::default()),
            () = shared.stop.notified() => {}
            _ = level.tick() => if let Some(logs) = logs {
                logs.set_level(shared.settings.live().log_level);
            },
        }
        if shared.shutdown_asked().is_some() {
            tracing::info!("stopping");
            return Ok(());
        }
    }
}
