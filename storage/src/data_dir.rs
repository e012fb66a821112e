//! The data directory: lock, marker, store, snapshots, quarantine.
//!
//! ```text
//! data-dir/
//!   node.json      the marker: whose directory this is
//!   LOCK           held while a node runs
//!   raft/guard     vote and end of the log, beside sled
//!   raft/sled/     log, vote, marks
//!   raft/snapshots/
//!   quarantine-…/  a damaged raft/, set aside with the reason
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::durable;
use crate::error::StorageError;
use crate::log_store::LogStore;
use crate::marker::Marker;
use crate::snapshots::{SnapshotFile, SnapshotStore};

/// A node's data directory, locked while this lives.
#[derive(Clone, Debug)]
pub struct DataDir {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    marker: Mutex<Marker>,
    lock: Mutex<Option<File>>,
}

/// The opened store of a node.
#[derive(Debug)]
pub struct Store {
    /// Log and vote.
    pub log: LogStore,
    /// The snapshots.
    pub snapshots: SnapshotStore,
    /// The snapshot to start from.
    pub snapshot: Option<SnapshotFile>,
}

impl DataDir {
    /// Opens the data directory of the node `name`, or makes a new one. `replace` lets a node go on whose store was
    /// set aside: it starts as if new.
    pub fn open(path: &Path, name: &str, replace: bool) -> Result<Self, StorageError> {
        let path = std::path::absolute(path).map_err(|err| StorageError::io("resolve", path, err))?;
        durable::create_dir(&path)?;
        let lock = lock(&path)?;
        let marker_path = marker_path(&path);
        let mut marker = match Marker::read(&marker_path)? {
            Some(marker) => marker,
            None if path.join("raft").exists() => {
                let message = format!(
                    "{} holds a Raft store but no marker (node.json), so nobody can tell whose it is. Restore \
                     the file from a backup of this directory, or give this node an empty directory.",
                    path.display()
                );
                return Err(StorageError::Foreign { message });
            }
            None => {
                let mut marker = Marker::new(name);
                marker.write(&marker_path)?;
                marker
            }
        };
        if marker.name != name {
            let message = format!(
                "the data directory {} belongs to node `{}` (created {}{}), not to `{name}`.\nEither start with \
                 `--name {}`, or give `{name}` a directory of its own: `--data-dir DIR`.",
                path.display(),
                marker.name,
                marker.created,
                marker.cluster_id.as_ref().map(|id| format!(", cluster {id}")).unwrap_or_default(),
                marker.name,
            );
            return Err(StorageError::Foreign { message });
        }
        if let Some(quarantined) = &marker.quarantined {
            if !replace {
                return Err(StorageError::Quarantined {
                    message: quarantine_text(&path, &marker, quarantined),
                });
            }
            tracing::warn!(reason = %quarantined, "the damaged store stays aside; this node starts as a new one");
            marker = Marker::new(name);
            marker.write(&marker_path)?;
        }
        Ok(Self { inner: Arc::new(Inner { path, marker: Mutex::new(marker), lock: Mutex::new(Some(lock)) }) })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The marker as it is now.
    pub fn marker(&self) -> Marker {
        self.inner.marker.lock().clone()
    }

    /// Changes the marker, durably.
    pub fn update_marker(&self, change: impl FnOnce(&mut Marker)) -> Result<(), StorageError> {
        let mut marker = self.inner.marker.lock();
        let mut changed = marker.clone();
        change(&mut changed);
        changed.write(&marker_path(&self.inner.path))?;
        *marker = changed;
        Ok(())
    }

    /// After a quarantine: a new marker, for a node that comes back as a new one.
    pub fn begin_anew(&self) -> Result<(), StorageError> {
        let mut marker = self.inner.marker.lock();
        let mut fresh = Marker::new(&marker.name);
        fresh.write(&marker_path(&self.inner.path))?;
        *marker = fresh;
        Ok(())
    }

    /// Lets another process use the directory, after the store was closed.
    pub fn release(&self) {
        self.inner.lock.lock().take();
    }

    /// Opens the Raft store. A damaged one is set aside, and the error says what to do; other errors (no
    /// permission, disk trouble) leave everything as it is.
    pub fn open_store(&self) -> Result<Store, StorageError> {
        match self.open_store_here() {
            Err(StorageError::Damaged { path, reason }) => {
                Err(self.quarantine(&format!("{} is damaged: {reason}", path.display()))?)
            }
            other => other,
        }
    }

    fn open_store_here(&self) -> Result<Store, StorageError> {
        let raft = self.inner.path.join("raft");
        // The id is written to the marker after the store was created, so with an id there must be a store.
        let must_exist = self.inner.marker.lock().node_id.is_some();
        let log = LogStore::open(&raft, must_exist)?;
        let opened = SnapshotStore::open(&raft.join("snapshots")).and_then(|snapshots| {
            let snapshot = snapshots.newest()?;
            if let Some(purged) = log.ends().purged
                && snapshot.as_ref().is_none_or(|snapshot| snapshot.position < purged)
            {
                let reason = format!("the log begins after {purged}, and no whole snapshot reaches that far");
                return Err(StorageError::damaged(&raft, reason));
            }
            Ok((snapshots, snapshot))
        });
        match opened {
            Ok((snapshots, snapshot)) => Ok(Store { log, snapshots, snapshot }),
            Err(err) => {
                log.close();
                Err(err)
            }
        }
    }

    /// Sets the store aside, so that nothing later trusts it, and says so in the marker. Gives the error to report.
    pub fn quarantine(&self, reason: &str) -> Result<StorageError, StorageError> {
        let path = &self.inner.path;
        let raft = path.join("raft");
        let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let aside = (0..)
            .map(|n: u32| {
                path.join(if n == 0 {
                    format!("quarantine-{stamp}")
                } else {
                    format!("quarantine-{stamp}-{n}")
                })
            })
            .find(|candidate| !candidate.exists())
            .unwrap_or_else(|| path.join("quarantine"));
        let text = format!("{reason}; it was moved to {}", aside.display());
        // First the marker: a crash in between must not let the node start without its vote.
        self.update_marker(|marker| marker.quarantined = Some(text.clone()))?;
        if raft.exists() {
            fs::rename(&raft, &aside).map_err(|err| StorageError::io("move aside", &raft, err))?;
            durable::sync_dir(path)?;
            durable::write_file(&aside.join("REASON.txt"), format!("{reason}\n").as_bytes())?;
        }
        tracing::error!(reason, moved_to = %aside.display(), "the Raft store is damaged and was set aside");
        Ok(StorageError::Quarantined { message: quarantine_text(path, &self.marker(), &text) })
    }
}

fn marker_path(dir: &Path) -> PathBuf {
    dir.join("node.json")
}

fn lock(dir: &Path) -> Result<File, StorageError> {
    let path = dir.join("LOCK");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|err| StorageError::io("open", &path, err))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StorageError::Locked { path: dir.to_owned() }),
        Err(TryLockError::Error(err)) => Err(StorageError::io("lock", &path, err)),
    }
}

fn quarantine_text(path: &Path, marker: &Marker, what: &str) -> String {
    let name = &marker.name;
    format!(
        "the Raft store of node `{name}` in {} cannot be trusted any more: {what}.\n\
         Its vote and its log are not certain, so it must not go on under its old id.\n\
         - In a cluster of several nodes: rejoin as a new node, nothing is lost:\n\
         \x20   dmnode start --name {name} --data-dir {} --join HOST:PORT --replace\n\
         \x20 (HOST:PORT is any other node).\n\
         - In a cluster of one: restore {} from a backup, or begin anew in an empty directory; the progress of \
         the tasks is in the target and is found again by `start-task`.",
        path.display(),
        path.display(),
        path.display(),
    )
}
