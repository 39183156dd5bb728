//! Which records are synced. Shared by the worker that writes the log and the thread that syncs it every second.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::WalError;
use super::RecordNumber;
use crate::durability::disk::SharedFile;

/// The file that takes records now, and before it those that still wait for their last sync.
type Unsynced = Vec<(PathBuf, SharedFile)>;

#[derive(Default)]
pub(super) struct SyncState {
    files: Mutex<Unsynced>,
    written: AtomicU64,
    synced: AtomicU64,
    /// Held during a sync: a failure that the kernel reports once must not look like success to a second caller.
    syncing: Mutex<Option<SyncFailure>>,
    failed: AtomicBool,
}

#[derive(Clone)]
struct SyncFailure {
    path: PathBuf,
    reason: String,
}

impl SyncFailure {
    fn error(&self) -> WalError {
        WalError::SyncFailed {
            path: self.path.clone(),
            reason: self.reason.clone(),
        }
    }
}

impl SyncState {
    pub fn start_at(number: RecordNumber) -> Self {
        let state = Self::default();
        state.written.store(number.0, Ordering::Release);
        state.synced.store(number.0, Ordering::Release);
        state
    }

    /// Called before the first record goes into the file.
    pub fn add_file(&self, path: &Path, file: &SharedFile) {
        lock(&self.files).push((path.to_owned(), file.clone()));
    }

    pub fn wrote(&self, number: RecordNumber) {
        self.written.store(number.0, Ordering::Release);
    }

    pub fn written(&self) -> RecordNumber {
        RecordNumber(self.written.load(Ordering::Acquire))
    }

    pub fn synced(&self) -> RecordNumber {
        RecordNumber(self.synced.load(Ordering::Acquire))
    }

    /// An error once any sync has failed.
    pub fn check(&self) -> Result<(), WalError> {
        if !self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        match &*lock(&self.syncing) {
            Some(failure) => Err(failure.error()),
            None => Ok(()),
        }
    }

    /// Makes everything durable that is written now; says up to which record.
    pub fn sync(&self) -> Result<RecordNumber, WalError> {
        let mut failure = lock(&self.syncing);
        if let Some(failure) = &*failure {
            return Err(failure.error());
        }
        // First the number, then the files: whatever has that number or a lower one is in a file of the list.
        let through = self.written();
        if through == self.synced() {
            return Ok(through);
        }
        let files: Unsynced = lock(&self.files).clone();
        for (path, file) in &files {
            if let Err(error) = file.sync() {
                let failed = SyncFailure {
                    path: path.clone(),
                    reason: error.to_string(),
                };
                *failure = Some(failed.clone());
                self.failed.store(true, Ordering::Release);
                return Err(failed.error());
            }
        }
        // All but the last were closed before the list was copied. Files added since stay behind it.
        lock(&self.files).drain(..files.len().saturating_sub(1));
        self.synced.store(through.0, Ordering::Release);
        Ok(through)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Syncs a worker's log from another thread (`everysec`).
#[derive(Clone)]
pub struct WalSyncer {
    pub(super) state: Arc<SyncState>,
}

impl WalSyncer {
    /// Makes all written records durable; says up to which.
    ///
    /// # Errors
    /// The first failure is final: this and every later call, and every later write, report it. The caller stops
    /// the process.
    pub fn sync(&self) -> Result<RecordNumber, WalError> {
        self.state.sync()
    }

    pub(crate) fn is_same_log(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }

    #[must_use]
    pub fn written(&self) -> RecordNumber {
        self.state.written()
    }

    #[must_use]
    pub fn synced(&self) -> RecordNumber {
        self.state.synced()
    }
}
