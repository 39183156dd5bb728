//! Connections to nodes that may still be starting. Starts no node.

use std::io::BufReader;
use std::net::TcpStream;
use std::time::Duration;

pub const START_MAX: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A connection with a time limit for each read.
pub struct Connection(pub BufReader<TcpStream>);

/// A connection to a port on which a node listens, or will in a moment.
pub fn connect_to(port: u16) -> Connection {
    // Looks are counted, not time: a pause of the machine is no failure.
    let mut looks_left = START_MAX.as_millis() / LOOK_EVERY.as_millis();
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => {
                let timeout = stream.set_read_timeout(Some(START_MAX));
                timeout.expect("a time limit");
                return Connection(BufReader::new(stream));
            }
            Err(error) => assert!(looks_left > 0, "the node does not listen: {error}"),
        }
        looks_left -= 1;
        std::thread::sleep(LOOK_EVERY);
    }
}
