//! Snapshot files: each written once, whole or not at all, checked when read.
//!
//! The two newest are kept. The log keeps enough entries behind the newest snapshot that the one before it serves
//! as well, should the newest be damaged.

use std::fs;
use std::path::{Path, PathBuf};

use crate::durable;
use crate::error::StorageError;
use crate::frame::{frame, unframe};
use crate::record::LogPosition;

const CONTEXT: &[u8] = b"dmnode snapshot";
const EXTENSION: &str = "snapshot";
const KEEP: usize = 2;
/// The largest snapshot.
pub const MAX_SNAPSHOT: usize = 1024 * 1024 * 1024;

/// The directory of snapshots.
#[derive(Clone, Debug)]
pub struct SnapshotStore {
    dir: PathBuf,
}

/// A snapshot: the state after the entry at `position`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// The last entry it contains.
    pub position: LogPosition,
    /// The bytes, opaque here.
    pub bytes: Vec<u8>,
}

impl SnapshotStore {
    /// Opens or creates the directory.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        durable::create_dir(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Writes a snapshot durably, and forgets all but the one before it.
    pub fn save(&self, snapshot: &SnapshotFile) -> Result<(), StorageError> {
        if snapshot.bytes.len() > MAX_SNAPSHOT {
            return Err(StorageError::OutOfOrder {
                what: format!("a snapshot of {} bytes", snapshot.bytes.len()),
            });
        }
        let mut payload = snapshot.position.to_bytes().to_vec();
        payload.extend_from_slice(&snapshot.bytes);
        durable::write_file(&self.path_of(snapshot.position), &frame(CONTEXT, &payload))?;
        for old in self.list()?.iter().rev().skip(KEEP) {
            fs::remove_file(old).map_err(|err| StorageError::io("remove", old, err))?;
        }
        Ok(())
    }

    /// The newest whole snapshot. Damaged ones are renamed and passed over.
    pub fn newest(&self) -> Result<Option<SnapshotFile>, StorageError> {
        for path in self.list()?.into_iter().rev() {
            match self.read(&path)? {
                Ok(snapshot) => return Ok(Some(snapshot)),
                Err(reason) => {
                    let aside = path.with_extension("damaged");
                    tracing::warn!(file = %path.display(), reason, "a snapshot is damaged; the one before it is used");
                    fs::rename(&path, &aside).map_err(|err| StorageError::io("rename", &path, err))?;
                }
            }
        }
        Ok(None)
    }

    fn read(&self, path: &Path) -> Result<Result<SnapshotFile, String>, StorageError> {
        let bytes = durable::read_file(path)?.unwrap_or_default();
        let payload = match unframe(CONTEXT, &bytes) {
            Ok(payload) => payload,
            Err(err) => return Ok(Err(err.to_string())),
        };
        let snapshot = payload.split_at_checked(LogPosition::SIZE).and_then(|(position, bytes)| {
            Some(SnapshotFile { position: LogPosition::from_bytes(position)?, bytes: bytes.to_vec() })
        });
        Ok(snapshot.ok_or_else(|| "it is too short".to_owned()))
    }

    fn path_of(&self, position: LogPosition) -> PathBuf {
        let LogPosition { term, node, index } = position;
        self.dir.join(format!("{index:020}-{term:020}-{node:020}.{EXTENSION}"))
    }

    /// The snapshot files, oldest first.
    fn list(&self) -> Result<Vec<PathBuf>, StorageError> {
        let entries = fs::read_dir(&self.dir).map_err(|err| StorageError::io("list", &self.dir, err))?;
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(|err| StorageError::io("list", &self.dir, err))?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(index: u64) -> SnapshotFile {
        SnapshotFile { position: LogPosition { term: 1, node: 1, index }, bytes: vec![index as u8; 100] }
    }

    #[test]
    fn the_newest_whole_one_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let store = SnapshotStore::open(&dir.path().join("snapshots")).unwrap();
        assert_eq!(store.newest().unwrap(), None);
        for index in [5, 90, 1000] {
            store.save(&snapshot(index)).unwrap();
        }
        assert_eq!(store.list().unwrap().len(), 2);
        assert_eq!(store.newest().unwrap(), Some(snapshot(1000)));

        let newest = store.path_of(snapshot(1000).position);
        let bytes = fs::read(&newest).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            fs::write(&newest, &damaged).unwrap();
            assert_eq!(store.newest().unwrap(), Some(snapshot(90)), "byte {at}");
        }
        for cut in 0..bytes.len() {
            fs::write(&newest, &bytes[..cut]).unwrap();
            assert_eq!(store.newest().unwrap(), Some(snapshot(90)), "cut at {cut}");
        }
    }
}
