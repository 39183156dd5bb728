//! The node's side of the seam to connection and server commands.

use std::cell::RefCell;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::commands::acl_log::AclLog;
use crate::commands::cluster::ClusterView;
use crate::commands::latency::LatencyLog;
use crate::commands::report::{CommandUse, Report};
use crate::commands::slowlog::SlowLog;
use crate::commands::{ClientReport, Host, Pause};
use crate::settings::Settings;
use crate::store::Timestamp;

use super::worker::{wall_clock, Worker};
use super::Shared;

/// What a command left for the worker to do once the handler has returned.
type Task = Box<dyn FnOnce(&mut Worker)>;

/// What a worker shows of its node to commands.
pub struct NodeHost {
    shared: Arc<Shared>,
    worker: u16,
    tasks: RefCell<Vec<Task>>,
}

impl NodeHost {
    pub fn new(shared: Arc<Shared>, worker: u16) -> Self {
        Self {
            shared,
            worker,
            tasks: RefCell::default(),
        }
    }

    fn later(&self, task: impl FnOnce(&mut Worker) + 'static) {
        self.tasks.borrow_mut().push(Box::new(task));
    }
}

impl Worker {
    /// Does what the last command left to do.
    pub(super) fn run_host_tasks(&mut self) {
        let tasks = self.host.tasks.take();
        for task in tasks {
            task(self);
        }
    }
}

impl Host for NodeHost {
    fn now(&self) -> Timestamp {
        wall_clock()
    }

    fn now_us(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.unwrap_or_default().as_micros() as u64
    }

    fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    fn report(&self) -> Report {
        self.shared.full_report()
    }

    fn command_use(&self) -> Vec<CommandUse> {
        self.shared.stats.commands()
    }

    fn count_auth_denied(&self) {
        self.shared.stats.workers()[usize::from(self.worker)]
            .auth_denied
            .add(1);
    }

    fn reset_statistics(&self) {
        self.shared.stats.reset();
    }

    fn slowlog(&self) -> &Mutex<SlowLog> {
        &self.shared.slowlog
    }

    fn latency(&self) -> &Mutex<LatencyLog> {
        &self.shared.latency
    }

    fn acl_log(&self) -> &Mutex<AclLog> {
        &self.shared.acl_log
    }

    fn fill_random(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        super::process::fill_random(bytes)
    }

    fn clients(&self) -> Vec<ClientReport> {
        self.shared.clients.reports(self.now())
    }

    fn client(&self, id: u64) -> Option<ClientReport> {
        self.shared.clients.report(id, self.now())
    }

    fn kill_client(&self, id: u64) -> bool {
        let Some(client) = self.shared.clients.get(id) else {
            return false;
        };
        client.set_closing();
        if let Some(conn) = client.conn() {
            self.later(move |worker| {
                worker.task(client.worker, move |there| {
                    there.kills.push(conn);
                    there.flush_wanted = true;
                })
            });
        }
        true
    }

    fn pause_clients(&self, pause: Pause) {
        let mut current = self
            .shared
            .pause
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let running = current.filter(|current| current.until > self.now());
        *current = Some(match running {
            None => pause,
            Some(running) => Pause {
                until: running.until.max(pause.until),
                writes_only: running.writes_only && pause.writes_only,
            },
        });
        self.shared.is_paused.store(true, Relaxed);
    }

    fn unpause_clients(&self) {
        *self
            .shared
            .pause
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        self.shared.is_paused.store(false, Relaxed);
    }

    fn begin_snapshot(&self) -> bool {
        if self.shared.snapshots_running.load(Relaxed) > 0 {
            return false;
        }
        self.later(|worker| worker.task_everywhere(|there| there.snapshot_all()));
        true
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    fn set_active_expire(&self, on: bool) {
        self.shared.active_expire.store(on, Relaxed);
    }

    fn change_replication_id(&self) {
        if let Ok(id) = super::process::random_id() {
            *self
                .shared
                .replication_id
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = id;
        }
    }

    fn purge_memory(&self) {
        super::process::purge_allocator();
    }

    fn allocator_report(&self) -> String {
        super::process::allocator_report()
    }

    fn cluster_view(&self) -> Arc<ClusterView> {
        self.shared.view.current()
    }

    fn want_follower_reads(&self) {
        self.later(|worker| worker.task_everywhere(Worker::want_follower_reads));
    }

    fn slot_of(&self, key: &[u8]) -> u16 {
        ringfort_cluster::slot_of(key).0
    }

    fn abort_shutdown(&self) -> bool {
        // A shutdown here waits for nothing: once begun it cannot be revoked.
        let _ = self.worker;
        false
    }
}
