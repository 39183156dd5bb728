//! The handshake: who is there, of which cluster, for which purpose, and whether both know the secret. Works on any stream of bytes;
//! the picture of the bytes is in the module above.

use std::io;
use std::sync::Arc;

use ringfort_cluster::topology::ClusterId;
use ringfort_cluster::NodeId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::node::process::fill_random;

use super::security::PROOF_BYTES;
use super::{Channel, Home, Peer, Purpose};

const MAGIC: &[u8; 8] = b"ringfort";
/// Of everything on a peer connection. In version 1 only the dialer sent on a Raft link.
const VERSION: u16 = 2;
/// Magic and version, the same in every version.
const PREFIX_BYTES: usize = 10;
const HELLO_BYTES: usize = 96;
const CHALLENGE_BYTES: usize = 80;
const NONCE_BYTES: usize = 32;
/// The verdict and its proof.
pub(super) const VERDICT_BYTES: usize = 1 + PROOF_BYTES;

const DIALER: &[u8] = b"ringfort peer dialer";
const ACCEPTOR: &[u8] = b"ringfort peer acceptor";

/// Why two nodes did not come together.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection broke.
    #[error("the connection broke during the handshake: {0}")]
    Io(#[from] io::Error),
    /// Something else than a node.
    #[error("no ringfort node speaks there: check that the address names a peer port")]
    NotANode,
    /// A node of another version.
    #[error("the other node speaks version {theirs} of the peer protocol, this one {VERSION}")]
    Version { theirs: u16 },
    /// One of the two does not know the secret of the other.
    #[error("the cluster secret does not match: --cluster-secret must be the same on every node")]
    Secret,
    /// Somebody else has the address.
    #[error("node {found} answers where node {expected} was expected")]
    WrongNode { expected: NodeId, found: NodeId },
    /// A node of another cluster.
    #[error("the other node belongs to cluster {theirs}, this one to {ours}: a node joins only one cluster, with an empty data directory")]
    OtherCluster { ours: ClusterId, theirs: ClusterId },
    /// It has as many connections of this purpose as it takes.
    #[error("the other node is busy, try again later")]
    Busy,
}

/// What the acceptor thinks of the dialer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Welcome = 0,
    Secret = 1,
    WrongNode = 2,
    OtherCluster = 3,
    Busy = 4,
}

impl Verdict {
    fn from_byte(byte: u8) -> Option<Self> {
        let all = [
            Self::Welcome,
            Self::Secret,
            Self::WrongNode,
            Self::OtherCluster,
            Self::Busy,
        ];
        all.into_iter().find(|verdict| *verdict as u8 == byte)
    }
}

impl Purpose {
    fn to_byte(self) -> u8 {
        match self {
            Self::Link(Channel::Raft) => 1,
            Self::Link(Channel::Forward) => 2,
            Self::Control => 3,
            Self::Snapshot => 4,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Link(Channel::Raft),
            2 => Self::Link(Channel::Forward),
            3 => Self::Control,
            4 => Self::Snapshot,
            _ => return None,
        })
    }
}

/// A dialer that has proved itself and waits for the verdict.
pub(super) struct Examined {
    pub from: Peer,
    pub purpose: Purpose,
    home: Arc<Home>,
    hello: [u8; HELLO_BYTES],
    challenge: [u8; CHALLENGE_BYTES],
}

impl Examined {
    /// The bytes that let the dialer in.
    pub fn welcome(&self) -> [u8; VERDICT_BYTES] {
        self.verdict(Verdict::Welcome)
    }

    /// The bytes that send the dialer away for now.
    pub fn busy(&self) -> [u8; VERDICT_BYTES] {
        self.verdict(Verdict::Busy)
    }

    fn verdict(&self, verdict: Verdict) -> [u8; VERDICT_BYTES] {
        let verdict = [verdict as u8];
        let parts: [&[u8]; 4] = [ACCEPTOR, &self.hello, &self.challenge, &verdict];
        let mut bytes = [0; VERDICT_BYTES];
        bytes[0] = verdict[0];
        bytes[1..].copy_from_slice(&self.home.security.prove(&parts));
        bytes
    }
}

/// The dialer's side. Returns who is there, once the acceptor has let it in.
///
/// # Errors
/// When the acceptor does not, or is not whom it should be.
pub(super) async fn introduce<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    home: &Home,
    expected: NodeId,
    purpose: Purpose,
    worker: u16,
) -> Result<NodeId, HandshakeError> {
    let hello = hello(home, expected, purpose, worker)?;
    stream.write_all(&hello).await?;
    stream.flush().await?;
    let challenge: [u8; CHALLENGE_BYTES] = read_versioned(stream).await?;
    let proof = home.security.prove(&[DIALER, &hello, &challenge]);
    stream.write_all(&proof).await?;
    stream.flush().await?;

    let mut answer = [0; VERDICT_BYTES];
    stream.read_exact(&mut answer).await?;
    let verdict = Verdict::from_byte(answer[0]).ok_or(HandshakeError::NotANode)?;
    let mut theirs = [0; PROOF_BYTES];
    theirs.copy_from_slice(&answer[1..]);
    let parts: [&[u8]; 4] = [ACCEPTOR, &hello, &challenge, &answer[..1]];
    if verdict == Verdict::Secret || !home.security.is_proof(&parts, &theirs) {
        return Err(HandshakeError::Secret);
    }
    let found = NodeId(number(&challenge, 16));
    match verdict {
        Verdict::Welcome => Ok(found),
        Verdict::WrongNode => Err(HandshakeError::WrongNode { expected, found }),
        Verdict::OtherCluster => Err(HandshakeError::OtherCluster {
            ours: home.cluster(),
            theirs: ClusterId(number(&challenge, 32)),
        }),
        Verdict::Busy => Err(HandshakeError::Busy),
        Verdict::Secret => Err(HandshakeError::Secret),
    }
}

/// The acceptor's side up to the verdict: a refusal is sent here, a welcome by whoever takes the connection over.
///
/// # Errors
/// When the dialer was refused or is no node.
pub(super) async fn examine<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    home: &Arc<Home>,
) -> Result<Examined, HandshakeError> {
    let challenge = challenge(home)?;
    let hello: [u8; HELLO_BYTES] = match read_versioned(stream).await {
        Err(HandshakeError::Version { theirs }) => {
            // So that the dialer can name both versions too.
            stream.write_all(&challenge[..PREFIX_BYTES]).await?;
            stream.flush().await?;
            return Err(HandshakeError::Version { theirs });
        }
        read => read?,
    };
    let purpose = Purpose::from_byte(hello[10]).ok_or(HandshakeError::NotANode)?;
    stream.write_all(&challenge).await?;
    stream.flush().await?;
    let mut proof = [0; PROOF_BYTES];
    stream.read_exact(&mut proof).await?;

    let examined = Examined {
        from: Peer {
            node: NodeId(number(&hello, 16)),
            worker: u16::from_le_bytes([hello[12], hello[13]]),
        },
        purpose,
        home: home.clone(),
        hello,
        challenge,
    };
    if !home
        .security
        .is_proof(&[DIALER, &hello, &challenge], &proof)
    {
        let mut refusal = [0; VERDICT_BYTES];
        refusal[0] = Verdict::Secret as u8;
        stream.write_all(&refusal).await?;
        stream.flush().await?;
        return Err(HandshakeError::Secret);
    }
    if let Some((verdict, error)) = objection(&examined) {
        stream.write_all(&examined.verdict(verdict)).await?;
        stream.flush().await?;
        return Err(error);
    }
    Ok(examined)
}

/// What speaks against a dialer that knows the secret. Compares with what the challenge said of this node, so both sides see the same.
fn objection(examined: &Examined) -> Option<(Verdict, HandshakeError)> {
    let (hello, challenge) = (&examined.hello, &examined.challenge);
    let ours = ClusterId(number(challenge, 32));
    let theirs = ClusterId(number(hello, 32));
    let expected = NodeId(number(hello, 48));
    let found = NodeId(number(challenge, 16));
    // First of all: what stands at a wrong address may well be of another cluster.
    if expected != NodeId::ZERO && expected != found {
        let error = HandshakeError::WrongNode { expected, found };
        return Some((Verdict::WrongNode, error));
    }
    if ours != theirs && ours != ClusterId::default() && theirs != ClusterId::default() {
        let error = HandshakeError::OtherCluster { ours, theirs };
        return Some((Verdict::OtherCluster, error));
    }
    None
}

fn hello(
    home: &Home,
    expected: NodeId,
    purpose: Purpose,
    worker: u16,
) -> io::Result<[u8; HELLO_BYTES]> {
    let mut bytes = [0; HELLO_BYTES];
    put_prefix(&mut bytes);
    bytes[10] = purpose.to_byte();
    bytes[12..14].copy_from_slice(&worker.to_le_bytes());
    bytes[16..32].copy_from_slice(&home.node.0.to_le_bytes());
    bytes[32..48].copy_from_slice(&home.cluster().0.to_le_bytes());
    bytes[48..64].copy_from_slice(&expected.0.to_le_bytes());
    fill_random(&mut bytes[HELLO_BYTES - NONCE_BYTES..])?;
    Ok(bytes)
}

fn challenge(home: &Home) -> io::Result<[u8; CHALLENGE_BYTES]> {
    let mut bytes = [0; CHALLENGE_BYTES];
    put_prefix(&mut bytes);
    bytes[16..32].copy_from_slice(&home.node.0.to_le_bytes());
    bytes[32..48].copy_from_slice(&home.cluster().0.to_le_bytes());
    fill_random(&mut bytes[CHALLENGE_BYTES - NONCE_BYTES..])?;
    Ok(bytes)
}

fn put_prefix(bytes: &mut [u8]) {
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
}

/// Reads magic and version, and the rest only if both are ours.
async fn read_versioned<const BYTES: usize, S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<[u8; BYTES], HandshakeError> {
    let mut bytes = [0; BYTES];
    let (prefix, rest) = bytes.split_at_mut(PREFIX_BYTES);
    stream.read_exact(prefix).await?;
    if &prefix[..8] != MAGIC {
        return Err(HandshakeError::NotANode);
    }
    let theirs = u16::from_le_bytes([prefix[8], prefix[9]]);
    if theirs != VERSION {
        return Err(HandshakeError::Version { theirs });
    }
    stream.read_exact(rest).await?;
    Ok(bytes)
}

fn number(bytes: &[u8], at: usize) -> u128 {
    let mut number = [0; 16];
    number.copy_from_slice(&bytes[at..at + 16]);
    u128::from_le_bytes(number)
}
