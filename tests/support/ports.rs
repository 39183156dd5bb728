//! Free ports for nodes that are about to start.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{Domain, Socket, Type};

/// Below the ports that the system gives to outgoing connections (32768 and above on Linux): one of those would be taken, now and
/// then, between this moment and the node's own.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// A port that was free a moment ago, and that this process has not been given before.
///
/// # Panics
///
/// When all of them are taken.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    // Processes that run side by side begin at different places.
    let begin = std::process::id().wrapping_mul(997);
    for _ in 0..COUNT {
        let given = GIVEN.fetch_add(1, Ordering::Relaxed);
        let place = begin.wrapping_add(given.into()) % u32::from(COUNT);
        let port = FIRST + u16::try_from(place).expect("below COUNT");
        if is_free(port) {
            return port;
        }
    }
    panic!("no port from {FIRST} on is free");
}

/// Bound and not listened on: a process that another test starts in this moment inherits the socket for as long as it takes it to
/// become another program, and if it were one that listens, clients of the node to come were connected to it, and then reset.
fn is_free(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    // As the node will: what is left of ended connections is no hindrance.
    let reused = socket.set_reuse_address(true);
    reused.and_then(|()| socket.bind(&address.into())).is_ok()
}
