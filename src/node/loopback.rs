//! Connections within one machine. Knows sockets, and nothing of who speaks on them.

use std::net::IpAddr;

use socket2::SockRef;

/// Whether an address is one of this machine alone.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Within a machine there is no congestion to control, and what an elaborate algorithm reckons for each packet (BBR, where it is the
/// system's default) costs three to four percent of a server's work. Reno is in every Linux kernel and open to everybody.
pub fn spare_congestion_control(socket: &SockRef<'_>, peer: IpAddr) {
    #[cfg(target_os = "linux")]
    if is_loopback(peer) {
        // Without it everything works as well.
        let _ = socket.set_tcp_congestion(b"reno");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, peer);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_in_all_its_forms() {
        for (address, is_it) in [
            ("127.0.0.1", true),
            ("127.9.8.7", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(is_loopback(address.parse().unwrap()), is_it, "{address}");
        }
    }
}
