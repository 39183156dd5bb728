//! What guards the peer port: the shared secret, certificates, and the rule that without either it stays on loopback. Knows
//! no connection.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use hmac::{Hmac, Mac};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sha2::Sha256;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::node::loopback::is_loopback;

/// Bytes of a proof.
pub(super) const PROOF_BYTES: usize = 32;

/// What is wrong with the way in which the peer port is to be guarded.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// Anyone could become a member.
    #[error("the peer port would be open to everybody on {0}: set --cluster-secret (or certificates for the peer port), or listen on 127.0.0.1")]
    Open(IpAddr),
    /// An empty secret guards nothing.
    #[error("the cluster secret is empty: choose a long random one, the same on every node")]
    EmptySecret,
    /// A file of certificates or keys that cannot be used.
    #[error("{file}: {reason}")]
    File { file: String, reason: String },
    /// The files do not fit together.
    #[error("the certificates of the peer port cannot be used: {0}")]
    Certificates(String),
}

/// What guards the peer port.
#[derive(Clone, Default)]
pub struct PeerSecurity {
    /// The same on every node.
    pub secret: Option<Secret>,
    /// Certificates for both sides of every connection.
    pub tls: Option<Arc<PeerTls>>,
}

impl PeerSecurity {
    /// Whether the peer port may listen on `address`.
    ///
    /// # Errors
    /// Without secret and certificates, beyond loopback: the text says what to do.
    pub fn may_listen(&self, address: IpAddr) -> Result<(), SecurityError> {
        if is_loopback(address) || self.secret.is_some() || self.tls.is_some() {
            return Ok(());
        }
        Err(SecurityError::Open(address))
    }

    /// A proof over `parts` by whoever knows the secret. Without a secret anyone can give it, but not somebody with one: so two
    /// nodes of which one has none do not take each other for members.
    pub(super) fn prove(&self, parts: &[&[u8]]) -> [u8; PROOF_BYTES] {
        self.mac(parts).finalize().into_bytes().into()
    }

    /// Whether `proof` is the one over `parts`. Takes as long for a near miss as for any other.
    pub(super) fn is_proof(&self, parts: &[&[u8]], proof: &[u8; PROOF_BYTES]) -> bool {
        self.mac(parts).verify_slice(proof).is_ok()
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let key: &[u8] = self.secret.as_ref().map_or(&[], |secret| &secret.0);
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key)
            .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        for part in parts {
            mac.update(part);
        }
        mac
    }
}

/// The secret that all nodes of a cluster share. Never shown.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Takes the secret's text.
    ///
    /// # Errors
    /// When it is empty.
    pub fn new(text: &str) -> Result<Self, SecurityError> {
        if text.is_empty() {
            return Err(SecurityError::EmptySecret);
        }
        Ok(Self(text.as_bytes().into()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Certificates, read and checked: each side of a connection shows one that the CA has signed. The dialer also checks that
/// it names the host that was dialed.
pub struct PeerTls {
    pub(super) acceptor: TlsAcceptor,
    pub(super) connector: TlsConnector,
}

impl PeerTls {
    /// Reads PEM files: this node's certificate (with what it is signed by, up to the CA), its key, and the CA.
    ///
    /// # Errors
    /// When a file cannot be read or the three do not fit together.
    pub fn load(certificate: &Path, key: &Path, ca: &Path) -> Result<Self, SecurityError> {
        let chain = certificates(certificate)?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| in_file(key, error))?;
        let mut roots = RootCertStore::empty();
        for root in certificates(ca)? {
            roots.add(root).map_err(|error| in_file(ca, error))?;
        }
        let roots = Arc::new(roots);
        let unusable = |error: &dyn fmt::Display| SecurityError::Certificates(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| unusable(&error))?;
        let versions = &[&rustls::version::TLS13];
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(|error| unusable(&error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), private.clone_key())
            .map_err(|error| unusable(&error))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| unusable(&error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, private)
            .map_err(|error| unusable(&error))?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
        })
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, SecurityError> {
    let all: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| in_file(file, error))?;
    if all.is_empty() {
        return Err(in_file(file, "holds no certificate in PEM form"));
    }
    Ok(all)
}

fn in_file(file: &Path, reason: impl fmt::Display) -> SecurityError {
    SecurityError::File {
        file: file.display().to_string(),
        reason: reason.to_string(),
    }
}
