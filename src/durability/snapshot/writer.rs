//! Writes a snapshot under a temporary name and puts it in place when all of it is durable.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ringfort_cluster::codec;

use super::format::{
    self, chunk_header, Totals, CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, FOOTER_BYTES, META_BYTES_MAX,
};
use super::transfer::remove_older;
use super::{SnapshotError, SnapshotMeta};
use crate::durability::disk::{write_all_at, SharedDisk, SharedFile};
use crate::durability::worker::{DiskWorker, QueueFull};

/// Synced along the way each time so much was written: one sync of a gigabyte would hold up all other disk work.
const SYNC_EVERY_BYTES: u64 = 16 << 20;
/// Chunks of one snapshot that may wait for the disk. When full, the shard stops producing until there is room.
pub const CHUNKS_WAITING_MAX: usize = 8;

/// A snapshot that is in place and durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    pub meta: SnapshotMeta,
    pub path: PathBuf,
    /// Of the file.
    pub bytes: u64,
}

/// A snapshot under construction. Dropped before `finish`, it leaves nothing behind.
pub struct SnapshotWriter {
    disk: SharedDisk,
    dir: PathBuf,
    meta: SnapshotMeta,
    temp: PathBuf,
    file: SharedFile,
    offset: u64,
    unsynced: u64,
    crc: u32,
    totals: Totals,
    /// The chunk being filled, behind room for its header.
    chunk: Vec<u8>,
    in_place: bool,
}

impl SnapshotWriter {
    /// Creates the temporary file.
    ///
    /// # Errors
    /// A full or failing disk, or a description that is too long.
    pub fn begin(disk: SharedDisk, dir: &Path, meta: SnapshotMeta) -> Result<Self, SnapshotError> {
        let temp = dir.join(format::temp_name(meta.shard, meta.index));
        let encoded = codec::encode(&meta).map_err(|error| SnapshotError::Meta {
            path: temp.clone(),
            what: error.to_string(),
        })?;
        if encoded.len() > META_BYTES_MAX {
            let what = format!("{} bytes are more than {META_BYTES_MAX}", encoded.len());
            return Err(SnapshotError::Meta { path: temp, what });
        }
        let file = disk
            .create(&temp)
            .map_err(|error| SnapshotError::io("create", &temp, error))?;
        let head = format::encode_head(&encoded);
        let crc = format::u32_at(&head, head.len() - format::CRC_BYTES);
        let mut writer = Self {
            disk,
            dir: dir.to_owned(),
            meta,
            temp,
            file,
            offset: 0,
            unsynced: 0,
            crc,
            totals: Totals::default(),
            chunk: vec![0; CHUNK_HEADER_BYTES],
            in_place: false,
        };
        writer.write(&head)?;
        Ok(writer)
    }

    /// Adds bytes. The reader gives them back as one stream: pieces have no borders there.
    ///
    /// # Errors
    /// A full or failing disk: drop the writer and try another time.
    pub fn append(&mut self, mut bytes: &[u8]) -> Result<(), SnapshotError> {
        while !bytes.is_empty() {
            let room = CHUNK_HEADER_BYTES + CHUNK_BYTES_MAX - self.chunk.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
            if self.chunk.len() == CHUNK_HEADER_BYTES + CHUNK_BYTES_MAX {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Makes the snapshot durable, gives it its name, and only then removes the shard's older ones. `records` is whatever
    /// the owner counts; the reader gives it back.
    ///
    /// # Errors
    /// A full or failing disk; the former snapshot is still in place then.
    pub fn finish(mut self, records: u64) -> Result<SnapshotInfo, SnapshotError> {
        self.flush()?;
        self.totals.records = records;
        let totals = self.totals.encode();
        let (header, _) = chunk_header(self.crc, &totals, 0);
        let mut footer = [0; FOOTER_BYTES];
        footer[..CHUNK_HEADER_BYTES].copy_from_slice(&header);
        footer[CHUNK_HEADER_BYTES..].copy_from_slice(&totals);
        self.write(&footer)?;
        let path = self
            .dir
            .join(format::name(self.meta.shard, self.meta.index));
        self.file
            .sync()
            .and_then(|()| self.disk.rename(&self.temp, &path))
            .map_err(|error| SnapshotError::io("put in place", &path, error))?;
        self.in_place = true;
        // The rename is not durable until the directory is.
        self.disk
            .sync_dir(&self.dir)
            .map_err(|error| SnapshotError::io("put in place", &path, error))?;
        remove_older(&self.disk, &self.dir, self.meta.shard, self.meta.index);
        Ok(SnapshotInfo {
            meta: self.meta.clone(),
            path,
            bytes: self.offset,
        })
    }

    /// Gives the snapshot up and removes the temporary file, as dropping does.
    pub fn abort(self) {}

    fn flush(&mut self) -> Result<(), SnapshotError> {
        let Some(len) = self
            .chunk
            .len()
            .checked_sub(CHUNK_HEADER_BYTES)
            .filter(|len| *len > 0)
        else {
            return Ok(());
        };
        let mut chunk = std::mem::take(&mut self.chunk);
        let (header, crc) = chunk_header(self.crc, &chunk[CHUNK_HEADER_BYTES..], len as u32);
        chunk[..CHUNK_HEADER_BYTES].copy_from_slice(&header);
        self.write(&chunk)?;
        self.crc = crc;
        self.totals.chunks += 1;
        self.totals.bytes += len as u64;
        chunk.truncate(CHUNK_HEADER_BYTES);
        self.chunk = chunk;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let failed = |error| SnapshotError::io("write", &self.temp, error);
        write_all_at(&*self.file, self.offset, bytes).map_err(failed)?;
        self.offset += bytes.len() as u64;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC_EVERY_BYTES {
            self.file.sync().map_err(failed)?;
            self.unsynced = 0;
        }
        Ok(())
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.in_place {
            // Best effort: the next start clears leftovers away.
            let _ = self.disk.remove(&self.temp);
        }
    }
}

/// A snapshot whose file work runs on the background thread: its methods only hand work over and never wait.
pub struct BackgroundSnapshot {
    worker: DiskWorker,
    state: Arc<Mutex<State>>,
    waiting: Arc<AtomicUsize>,
}

enum State {
    Planned {
        disk: SharedDisk,
        dir: PathBuf,
        meta: SnapshotMeta,
    },
    Writing(Box<SnapshotWriter>),
    Failed(SnapshotError),
    Over,
}

impl State {
    fn writer(&mut self) -> Option<&mut SnapshotWriter> {
        if matches!(self, Self::Planned { .. }) {
            if let Self::Planned { disk, dir, meta } = std::mem::replace(self, Self::Over) {
                *self = match SnapshotWriter::begin(disk, &dir, meta) {
                    Ok(writer) => Self::Writing(Box::new(writer)),
                    Err(error) => Self::Failed(error),
                };
            }
        }
        match self {
            Self::Writing(writer) => Some(writer),
            _ => None,
        }
    }
}

impl BackgroundSnapshot {
    /// Plans a snapshot; the file is made with the first chunk.
    #[must_use]
    pub fn begin(worker: DiskWorker, disk: SharedDisk, dir: &Path, meta: SnapshotMeta) -> Self {
        let state = State::Planned {
            disk,
            dir: dir.to_owned(),
            meta,
        };
        Self {
            worker,
            state: Arc::new(Mutex::new(state)),
            waiting: Arc::default(),
        }
    }

    /// Whether `append` has room now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Acquire) < CHUNKS_WAITING_MAX
    }

    /// Hands bytes over (about `CHUNK_BYTES_MAX` at a time is best). Errors of the disk show at `finish`.
    ///
    /// # Errors
    /// Gives the bytes back when `CHUNKS_WAITING_MAX` wait already, or the worker's queue is full: go on later.
    pub fn append(&self, bytes: Vec<u8>) -> Result<(), Vec<u8>> {
        if !self.has_room() {
            return Err(bytes);
        }
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let (state, waiting) = (self.state.clone(), self.waiting.clone());
        // Behind a lock so that a refused job gives its bytes back.
        let bytes = Arc::new(Mutex::new(bytes));
        let job_bytes = bytes.clone();
        let submitted = self.worker.submit(move || {
            let bytes = std::mem::take(&mut *lock(&job_bytes));
            let mut state = lock(&state);
            if let Some(Err(error)) = state.writer().map(|writer| writer.append(&bytes)) {
                *state = State::Failed(error);
            }
            waiting.fetch_sub(1, Ordering::AcqRel);
        });
        submitted.map_err(|QueueFull| {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            std::mem::take(&mut *lock(&bytes))
        })
    }

    /// Puts the snapshot in place once all chunks are written; `done` hears of it on the background thread.
    ///
    /// # Errors
    /// Gives the snapshot back when the worker's queue is full: finish it later.
    pub fn finish(
        self,
        records: u64,
        done: impl FnOnce(Result<SnapshotInfo, SnapshotError>) + Send + 'static,
    ) -> Result<(), Self> {
        let state = self.state.clone();
        let submitted = self.worker.submit(move || {
            let mut state = lock(&state);
            state.writer();
            match std::mem::replace(&mut *state, State::Over) {
                State::Writing(writer) => done(writer.finish(records)),
                State::Failed(error) => done(Err(error)),
                State::Planned { .. } | State::Over => {}
            }
        });
        submitted.map_err(|QueueFull| self)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
