//! A made-up node and a connection to it, for the unit tests of session and admin commands.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::protocol::{OwnedArgs, Proto, Reply};
use crate::settings::{Builder, Settings};
use crate::store::Timestamp;

use super::acl_log::AclLog;
use super::cluster::ClusterView;
use super::host::{ClientReport, Pause};
use super::latency::LatencyLog;
use super::report::{CommandUse, Report};
use super::slowlog::SlowLog;
use super::{gate, registry, Call, CommandError, CommandResult, Host, Run, Session};

/// Remembers what it was asked for.
pub struct FakeHost {
    settings: Settings,
    pub report: RefCell<Report>,
    pub cluster: RefCell<Arc<ClusterView>>,
    pub slowlog: Mutex<SlowLog>,
    pub latency: Mutex<LatencyLog>,
    pub acl_log: Mutex<AclLog>,
    pub clients: RefCell<Vec<ClientReport>>,
    /// Each order that was given, in words.
    pub orders: RefCell<Vec<String>>,
    pub snapshot_running: Cell<bool>,
}

impl FakeHost {
    fn new(flags: &[(&str, &str)]) -> Self {
        let builder = Builder::new().flags(flags.iter().copied());
        Self {
            settings: builder.expect("settings that hold").build(),
            report: RefCell::default(),
            cluster: RefCell::default(),
            slowlog: Mutex::default(),
            latency: Mutex::default(),
            acl_log: Mutex::default(),
            clients: RefCell::default(),
            orders: RefCell::default(),
            snapshot_running: Cell::new(false),
        }
    }

    fn order(&self, text: impl Into<String>) {
        self.orders.borrow_mut().push(text.into());
    }
}

impl Host for FakeHost {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000)
    }

    fn now_us(&self) -> u64 {
        1_700_000_000_000_123
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn report(&self) -> Report {
        Report {
            now: self.now(),
            ..self.report.borrow().clone()
        }
    }

    fn command_use(&self) -> Vec<CommandUse> {
        self.report.borrow().commands.clone()
    }

    fn reset_statistics(&self) {
        self.order("reset statistics");
    }

    fn count_auth_denied(&self) {
        self.order("auth denied");
    }

    fn slowlog(&self) -> &Mutex<SlowLog> {
        &self.slowlog
    }

    fn latency(&self) -> &Mutex<LatencyLog> {
        &self.latency
    }

    fn acl_log(&self) -> &Mutex<AclLog> {
        &self.acl_log
    }

    fn fill_random(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        bytes
            .iter_mut()
            .zip(1u64..)
            .for_each(|(byte, n)| *byte = n as u8);
        Ok(())
    }

    fn clients(&self) -> Vec<ClientReport> {
        self.clients.borrow().clone()
    }

    fn client(&self, id: u64) -> Option<ClientReport> {
        let clients = self.clients.borrow();
        clients.iter().find(|client| client.id == id).cloned()
    }

    fn kill_client(&self, id: u64) -> bool {
        self.order(format!("kill {id}"));
        let mut clients = self.clients.borrow_mut();
        let before = clients.len();
        clients.retain(|client| client.id != id);
        clients.len() < before
    }

    fn pause_clients(&self, pause: Pause) {
        let writes = if pause.writes_only { " writes" } else { "" };
        self.order(format!("pause{writes} until {}", pause.until.0));
    }

    fn unpause_clients(&self) {
        self.order("unpause");
    }

    fn begin_snapshot(&self) -> bool {
        !self.snapshot_running.replace(true)
    }

    fn sleep(&self, duration: Duration) {
        self.order(format!("sleep {duration:?}"));
    }

    fn set_active_expire(&self, on: bool) {
        self.order(format!("active expire {on}"));
    }

    fn change_replication_id(&self) {
        self.order("change replication id");
    }

    fn purge_memory(&self) {
        self.order("purge");
    }

    fn allocator_report(&self) -> String {
        "allocator\n".into()
    }

    fn cluster_view(&self) -> Arc<ClusterView> {
        self.cluster.borrow().clone()
    }

    /// As long as the key is: this node knows no better.
    fn slot_of(&self, key: &[u8]) -> u16 {
        key.len() as u16
    }

    fn abort_shutdown(&self) -> bool {
        false
    }
}

/// A connection to a made-up node.
pub struct Connection {
    pub host: FakeHost,
    pub session: Session,
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}

impl Connection {
    pub fn new() -> Self {
        Self::with_flags(&[])
    }

    /// To a node that was started with these settings.
    pub fn with_flags(flags: &[(&str, &str)]) -> Self {
        let host = FakeHost::new(flags);
        let session = Session::new(7, "127.0.0.1:5000".into(), "127.0.0.1:6379".into(), true);
        host.clients.borrow_mut().push(ClientReport {
            id: 7,
            address: session.address.clone(),
            local_address: session.local_address.clone(),
            ..ClientReport::default()
        });
        Self { host, session }
    }

    /// As one that came in by the cluster port.
    pub fn on_cluster_port(mut self) -> Self {
        self.session.is_cluster = true;
        self
    }

    pub fn resp3(mut self) -> Self {
        self.session.proto = Proto::Resp3;
        self
    }

    /// Runs a command given as words separated by spaces; the reply comes raw, CRLF as a space.
    pub fn run(&mut self, line: &str) -> String {
        self.run_args(line.split(' '))
    }

    pub fn run_args<I, A>(&mut self, args: I) -> String
    where
        I: IntoIterator<Item = A>,
        A: AsRef<[u8]>,
    {
        let args = OwnedArgs::new(args);
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, self.session.proto);
        if let Err(error) = self.dispatch(&args, &mut reply) {
            reply.rewind(0);
            error.write(&mut reply);
        }
        let text = String::from_utf8_lossy(&out).replace("\r\n", " ");
        text.trim_end_matches(' ').to_string()
    }

    fn dispatch(&mut self, args: &OwnedArgs, reply: &mut Reply) -> CommandResult {
        let args = args.as_args();
        let found = registry().resolve(&args).map_err(CommandError::new)?;
        if let Some(refusal) = gate::refusal(found.command, &self.session, &self.host) {
            return Err(refusal);
        }
        let call = Call {
            args,
            now: self.host.now(),
            seed: 1,
            database: self.session.database,
            proto: self.session.proto,
        };
        match found.command.run {
            Run::Session(run) => run(&mut self.session, &self.host, &call, reply),
            Run::Admin(run) => run(&self.host, &call, reply),
            _ => panic!("{} needs data", found.full_name),
        }
    }

    /// The orders that the node was given so far.
    pub fn orders(&self) -> Vec<String> {
        self.host.orders.borrow().clone()
    }
}
