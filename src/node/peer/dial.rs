//! Dials another node: connects, wraps the connection in TLS where that is asked for, and introduces this node. All within one time limit.

use std::io;

use ringfort_cluster::NodeId;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use super::hello::{self, HandshakeError};
use super::stream::{set_options, PeerStream, Socket};
use super::{Home, Purpose};

/// Whom a single connection is for.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// `host:port` of the peer port.
    pub address: &'a str,
    /// Who must be there; [`NodeId::ZERO`] for whoever is.
    pub node: NodeId,
    /// Which worker should serve it: this one, modulo the number that the other node has.
    pub worker: u16,
}

/// Why there is no connection. Nothing was asked or sent.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody answers, or not for long.
    #[error("cannot connect: {0}")]
    Unreachable(io::Error),
    /// Connecting and the handshake took too long.
    #[error("no answer in time")]
    TooSlow,
    /// The certificates did not convince one of the two.
    #[error("no TLS connection: {0}")]
    Tls(io::Error),
    /// The two did not come together.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
}

impl DialError {
    /// Trying again soon is of no use.
    pub(super) fn is_refusal(&self) -> bool {
        use HandshakeError::{Busy, Io};
        matches!(self, Self::Tls(_))
            || matches!(self, Self::Handshake(error) if !matches!(error, Io(_) | Busy))
    }

    /// Nobody listens there, says the machine itself: the process that did has ended.
    pub(super) fn is_nobody_there(&self) -> bool {
        matches!(self, Self::Unreachable(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    }
}

/// Connects for a purpose. Returns the connection and who is there.
pub(super) async fn dial(
    home: &Home,
    target: Target<'_>,
    purpose: Purpose,
) -> Result<(PeerStream, NodeId), DialError> {
    let attempt = async {
        let mut stream = connect(home, target.address).await?;
        let found =
            hello::introduce(&mut stream, home, target.node, purpose, target.worker).await?;
        Ok((stream, found))
    };
    tokio::time::timeout(home.timing.handshake, attempt)
        .await
        .unwrap_or(Err(DialError::TooSlow))
}

async fn connect(home: &Home, address: &str) -> Result<PeerStream, DialError> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(DialError::Unreachable)?;
    set_options(&stream, home.timing.stalled).map_err(DialError::Unreachable)?;
    let Some(tls) = &home.security.tls else {
        return Ok(PeerStream::Plain(stream));
    };
    let name = server_name(address).map_err(DialError::Tls)?;
    let tls = tls
        .connector
        .connect(name, Socket::Here(stream))
        .await
        .map_err(DialError::Tls)?;
    Ok(PeerStream::Tls(Box::new(tls.into())))
}

/// The host of `host:port`, as a certificate names it.
fn server_name(address: &str) -> io::Result<ServerName<'static>> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).map_err(|error| {
        let text = format!("no certificate can name the host {host:?}: {error}");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })
}
