//! All client connections of the node, for CLIENT LIST, CLIENT KILL and the limits. Not on the hot path: a
//! connection writes a few relaxed atomics each time it was read from.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::commands::{registry, ClientReport, Session};
use crate::protocol::Proto;
use crate::store::Timestamp;

use super::io::ConnKey;

/// One connection, as others see it.
pub struct Client {
    pub id: u64,
    pub worker: u16,
    pub fd: i32,
    pub address: String,
    local_address: String,
    since: Timestamp,
    last_active_ms: AtomicU64,
    last_command: AtomicUsize,
    query_bytes: AtomicU64,
    output_bytes: AtomicU64,
    closing: AtomicBool,
    /// What commands may change: the connection puts a copy here when they have.
    session: Mutex<Session>,
    conn: Mutex<Option<ConnKey>>,
}

impl Client {
    pub fn new(session: Session, worker: u16, fd: i32, now: Timestamp) -> Arc<Self> {
        Arc::new(Self {
            id: session.id,
            worker,
            fd,
            address: session.address.clone(),
            local_address: session.local_address.clone(),
            since: now,
            last_active_ms: AtomicU64::new(now.0),
            last_command: AtomicUsize::new(usize::MAX),
            query_bytes: AtomicU64::new(0),
            output_bytes: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            session: Mutex::new(session),
            conn: Mutex::new(None),
        })
    }

    /// The place of the connection at its worker.
    pub fn set_conn(&self, conn: ConnKey) {
        *self.conn.lock().unwrap_or_else(PoisonError::into_inner) = Some(conn);
    }

    pub fn conn(&self) -> Option<ConnKey> {
        *self.conn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection was read from; to be called once a read, not once a command.
    #[inline]
    pub fn was_active(
        &self,
        now: Timestamp,
        last_command: usize,
        query_bytes: usize,
        output_bytes: usize,
    ) {
        self.last_active_ms.store(now.0, Relaxed);
        self.last_command.store(last_command, Relaxed);
        self.query_bytes.store(query_bytes as u64, Relaxed);
        self.output_bytes.store(output_bytes as u64, Relaxed);
    }

    /// A command changed the session.
    pub fn update(&self, session: &Session) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = session.clone();
    }

    /// Whether the connection is to be closed.
    #[inline]
    pub fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    pub fn set_closing(&self) {
        self.closing.store(true, Relaxed);
    }

    pub fn name(&self) -> Vec<u8> {
        self.session
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .name
            .clone()
    }

    pub fn idle_ms(&self, now: Timestamp) -> u64 {
        now.0.saturating_sub(self.last_active_ms.load(Relaxed))
    }

    pub fn buffer_bytes(&self) -> (u64, u64) {
        (
            self.query_bytes.load(Relaxed),
            self.output_bytes.load(Relaxed),
        )
    }

    fn report(&self, now: Timestamp) -> ClientReport {
        let session = self
            .session
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let (query_bytes, output_bytes) = self.buffer_bytes();
        let command = registry().by_id.get(self.last_command.load(Relaxed));
        ClientReport {
            id: self.id,
            address: self.address.clone(),
            local_address: self.local_address.clone(),
            fd: self.fd,
            name: session.name,
            age_seconds: now.0.saturating_sub(self.since.0) / 1000,
            idle_seconds: self.idle_ms(now) / 1000,
            database: session.database,
            query_bytes,
            query_free_bytes: 0,
            argument_bytes: 0,
            output_bytes,
            memory_bytes: query_bytes + output_bytes + std::mem::size_of::<Client>() as u64,
            command: command.map_or("NULL", |command| &command.full_name),
            resp: if session.proto == Proto::Resp3 { 3 } else { 2 },
            lib_name: session.lib_name,
            lib_version: session.lib_version,
            no_evict: session.no_evict,
            no_touch: session.no_touch,
            readonly: session.is_readonly,
            closing: self.closing.load(Relaxed),
            ..ClientReport::default()
        }
    }
}

/// The connections of all workers.
#[derive(Default)]
pub struct Clients {
    next_id: AtomicU64,
    by_id: Mutex<HashMap<u64, Arc<Client>>>,
}

impl Clients {
    /// A number for a new connection, ascending from 1.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Relaxed) + 1
    }

    pub fn add(&self, client: Arc<Client>) {
        self.lock().insert(client.id, client);
    }

    pub fn remove(&self, id: u64) {
        self.lock().remove(&id);
    }

    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.lock().get(&id).cloned()
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    pub fn all(&self) -> Vec<Arc<Client>> {
        self.lock().values().cloned().collect()
    }

    pub fn report(&self, id: u64, now: Timestamp) -> Option<ClientReport> {
        let client = self.lock().get(&id).cloned();
        client.map(|client| client.report(now))
    }

    pub fn reports(&self, now: Timestamp) -> Vec<ClientReport> {
        self.all().iter().map(|client| client.report(now)).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Client>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
