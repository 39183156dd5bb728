//! Free ports for nodes that are about to start.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

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
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port from {FIRST} on is free");
}
