//! What a connection remembers between commands: plain data, no sockets.

use crate::protocol::Proto;

use super::host::Pending;

/// The state of one client connection that commands can see and change.
#[derive(Clone, Debug)]
pub struct Session {
    /// Unique on this node, ascending (CLIENT ID).
    pub id: u64,
    pub database: u16,
    pub proto: Proto,
    pub authenticated: bool,
    pub name: Vec<u8>,
    pub lib_name: Vec<u8>,
    pub lib_version: Vec<u8>,
    /// `ip:port` of the peer and of our end.
    pub address: String,
    pub local_address: String,
    pub no_evict: bool,
    pub no_touch: bool,
    /// The connection came in by the cluster port.
    pub is_cluster: bool,
    /// READONLY: replicas may answer its reads.
    pub is_readonly: bool,
    pub replies: Replies,
    /// Set by QUIT and by CLIENT KILL of oneself: close once the reply is out.
    pub close_after_reply: bool,
    /// Work that the node has still to do before the reply; the node takes it from here.
    pub pending: Option<Pending>,
    /// Id of the last command, `usize::MAX` before the first.
    pub last_command: usize,
    /// A command has run that may have changed this; the connection takes the mark away.
    pub is_changed: bool,
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Replies {
    #[default]
    On,
    Off,
    /// The next command's reply is dropped; set by CLIENT REPLY SKIP.
    SkipNext,
}

impl Session {
    /// A fresh connection; `authenticated` when no password is asked for.
    pub fn new(id: u64, address: String, local_address: String, authenticated: bool) -> Self {
        Self {
            id,
            database: 0,
            proto: Proto::Resp2,
            authenticated,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_version: Vec::new(),
            address,
            local_address,
            no_evict: false,
            no_touch: false,
            is_cluster: false,
            is_readonly: false,
            replies: Replies::On,
            close_after_reply: false,
            pending: None,
            last_command: usize::MAX,
            is_changed: false,
        }
    }

    /// RESET: back to the state of a fresh connection.
    pub fn reset(&mut self, authenticated: bool) {
        let address = std::mem::take(&mut self.address);
        let local_address = std::mem::take(&mut self.local_address);
        let is_cluster = self.is_cluster;
        *self = Session::new(self.id, address, local_address, authenticated);
        self.is_cluster = is_cluster;
    }
}
