//! Listening sockets: binds what the settings name, accepts, and hands connections to the workers in turn.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::node::loopback::{is_loopback, spare_congestion_control};
use crate::node::{settings, Shared};
use crate::settings::BindAddress;

use super::{Accepted, Arrival, Port};

/// What Redis answers to a connection beyond `maxclients`.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";
/// Wait after a failed accept (no file descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What Redis answers beyond loopback when there is no password and protected mode is on.
const PROTECTED: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to connect from external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same host the server is running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable the protected mode by editing the Redis configuration file, and setting the protected mode option to 'no', and then restarting the server. 3) If you started the server manually just for testing, restart it with the '--protected-mode no' option. 4) Setup a an authentication password for the default user. NOTE: You only need to do one of the above things in order for the server to start accepting connections from the outside.\r\n";

/// The sockets of one port.
pub struct Listener {
    sockets: Vec<StdListener>,
}

/// Binds `port` on all addresses. An address marked as optional may be missing on this machine.
///
/// # Errors
/// When an address cannot be bound; the text names it.
pub fn bind(addresses: &[BindAddress], port: u16, backlog: u32) -> io::Result<Listener> {
    let listener = reserve(addresses, port)?;
    for socket in &listener.sockets {
        listen(socket, backlog)?;
    }
    Ok(listener)
}

/// Has a reserved socket listen: so many connections may wait to be accepted.
///
/// # Errors
/// When somebody else listens on its port meanwhile.
pub fn listen(socket: &StdListener, backlog: u32) -> io::Result<()> {
    SockRef::from(socket).listen(backlog.min(i32::MAX as u32) as i32)
}

/// Binds `port` on all addresses as [`bind`] does, but does not listen: whoever connects is refused at once, until somebody does ([`listen`]).
///
/// # Errors
/// When an address cannot be bound; the text names it.
pub fn reserve(addresses: &[BindAddress], port: u16) -> io::Result<Listener> {
    let mut sockets = Vec::new();
    for address in addresses {
        let place = SocketAddr::new(address.ip, port);
        match bind_one(place) {
            Ok(socket) => sockets.push(socket),
            Err(error) if address.optional && error.kind() == io::ErrorKind::AddrNotAvailable => {}
            Err(error) => {
                let text = format!("cannot listen on {place}: {error}");
                return Err(io::Error::new(error.kind(), text));
            }
        }
    }
    if sockets.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            "bind: no address to listen on",
        ));
    }
    Ok(Listener { sockets })
}

fn bind_one(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Listener {
    /// Where it listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets
            .iter()
            .filter_map(|socket| socket.local_addr().ok())
            .collect()
    }

    /// The sockets, for a server that is not ours (HTTP).
    pub fn into_sockets(self) -> Vec<StdListener> {
        self.sockets
    }

    /// Accepts for good, on the current runtime.
    ///
    /// # Errors
    /// When a socket cannot be registered with the runtime.
    pub fn accept(
        self,
        port: Port,
        shared: &Arc<Shared>,
        workers: &[Accepted],
    ) -> io::Result<Vec<tokio::task::JoinHandle<()>>> {
        let mut tasks = Vec::new();
        for socket in self.sockets {
            let listener = TcpListener::from_std(socket)?;
            let workers = workers.to_vec();
            tasks.push(tokio::spawn(accept(
                listener,
                port,
                shared.clone(),
                workers,
            )));
        }
        Ok(tasks)
    }
}

async fn accept(listener: TcpListener, port: Port, shared: Arc<Shared>, workers: Vec<Accepted>) {
    let mut next = 0;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("accept failed: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(stream) = admit(stream, peer.ip(), &shared) else {
            continue;
        };
        next = (next + 1) % workers.len();
        if workers[next]
            .send(Arrival::Client { stream, port })
            .await
            .is_err()
        {
            return; // The node is going down.
        }
    }
}

/// Refuses what may not come in, and sets the socket's options.
fn admit(stream: TcpStream, peer: IpAddr, shared: &Shared) -> Option<std::net::TcpStream> {
    let live = settings(shared).live();
    let stats = &shared.stats.workers()[0];
    let refusal = if live.protected_mode && live.requirepass.is_empty() && !is_loopback(peer) {
        Some(PROTECTED)
    } else if shared.clients.len() >= live.maxclients as usize {
        Some(TOO_MANY)
    } else {
        None
    };
    if let Some(text) = refusal {
        stats.connections_rejected.add(1);
        // Best effort: the socket's own buffer takes it or it is lost.
        let _ = stream.try_write(text);
        return None;
    }
    let socket = SockRef::from(&stream);
    let _ = socket.set_tcp_nodelay(true);
    spare_congestion_control(&socket, peer);
    if live.tcp_keepalive_seconds > 0 {
        let time = Duration::from_secs(u64::from(live.tcp_keepalive_seconds));
        let _ =
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(time).with_interval(time / 3));
    }
    stream.into_std().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream as StdTcpStream;

    use super::*;
    use crate::settings::Builder;

    /// Where a node that loads took connections of others, each hung in its handshake for two seconds.
    #[test]
    fn a_reserved_port_refuses_connections_until_somebody_listens() {
        let settings = Builder::new().build();
        let listener = reserve(&settings.startup().cluster.peer_bind, 0).unwrap();
        let address = listener.addresses()[0];
        let refused = StdTcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        listen(&listener.sockets[0], 1).unwrap();
        assert!(StdTcpStream::connect(address).is_ok());
    }
}
