//! sled, fenced in: opened on a thread of its own, every call guarded against its panics, values framed and cut
//! into small parts, and a flush that really reaches the disk.
//!
//! sled 0.34.7 flushes with `sync_file_range`, which survives a kill and not a power failure, and writes blobs
//! (pages above an eighth of a megabyte) without any sync. Parts of 4 KiB keep sixteen of them, a full leaf,
//! below that; should a blob file appear all the same it is synced by us.

use std::any::Any;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::durable;
use crate::error::StorageError;
use crate::frame::{frame, unframe};

/// Values are stored in parts of this size.
const PART: usize = 4096;
/// The largest value.
pub(crate) const MAX_VALUE: usize = 32 * 1024 * 1024;
const CACHE: u64 = 32 * 1024 * 1024;
/// An earlier instance may take so long to let go of the file.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// An ordered map of byte strings with durable flush.
#[derive(Debug)]
pub(crate) struct Engine {
    path: PathBuf,
    db: sled::Db,
    /// Our own handle on sled's file, for `fdatasync`.
    file: File,
}

/// Changes that take effect together or not at all.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    batch: sled::Batch,
}

impl Engine {
    /// Opens or creates the store, and has `check` look at all of it, on a thread of its own.
    pub fn open<T: Send + 'static>(
        path: &Path,
        check: impl FnOnce(&Engine) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<(Self, T), StorageError> {
        let owned = path.to_owned();
        let opened = thread::Builder::new()
            .name("sled-open".to_owned())
            .spawn(move || {
                let engine = Self::open_here(&owned)?;
                let checked = check(&engine)?;
                Ok((engine, checked))
            })
            .map_err(|err| StorageError::io("start a thread to open", path, err))?
            .join();
        match opened {
            Ok(result) => result,
            Err(panic) => {
                Err(StorageError::damaged(path, format!("sled gave up on it: {}", panic_text(&*panic))))
            }
        }
    }

    fn open_here(path: &Path) -> Result<Self, StorageError> {
        let give_up = Instant::now() + LOCK_PATIENCE;
        let db = loop {
            let config = sled::Config::new().path(path).cache_capacity(CACHE).flush_every_ms(None);
            match protect(path, || config.open()) {
                Err(StorageError::Io { source, .. })
                    if source.to_string().contains("could not acquire lock") && Instant::now() < give_up =>
                {
                    thread::sleep(Duration::from_millis(20));
                }
                other => break other?,
            }
        };
        let db_path = path.join("db");
        let file = File::open(&db_path).map_err(|err| StorageError::io("open", &db_path, err))?;
        file.sync_all().map_err(|err| StorageError::io("sync", &db_path, err))?;
        durable::sync_dir(path)?;
        durable::sync_parent(path)?;
        Ok(Self { path: path.to_owned(), db, file })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A value, or `None`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let mut found = None;
        self.for_each(key, &next_key(key), |_, value| {
            found = Some(value);
            Ok(false)
        })?;
        Ok(found)
    }

    /// Visits the values from `start` to `end` (exclusive) in order; the visitor says whether to go on. All keys
    /// of a range must be of one length.
    pub fn for_each(
        &self,
        start: &[u8],
        end: &[u8],
        mut visit: impl FnMut(&[u8], Vec<u8>) -> Result<bool, StorageError>,
    ) -> Result<(), StorageError> {
        let mut current: Option<(Vec<u8>, Vec<u8>)> = None;
        let mut parts = protect(&self.path, || Ok(self.db.range(start.to_vec()..end.to_vec())))?;
        while let Some(item) = protect(&self.path, || parts.next().transpose())? {
            let (part_key, part) = item;
            let Some((key, _number)) = part_key.split_last_chunk::<2>() else {
                return Err(StorageError::damaged(&self.path, "a key is too short"));
            };
            match &mut current {
                Some((same, value)) if same == key => {
                    if value.len() + part.len() > MAX_VALUE + PART {
                        return Err(StorageError::damaged(&self.path, "a value is longer than any can be"));
                    }
                    value.extend_from_slice(&part);
                }
                _ => {
                    if let Some((key, framed)) = current.replace((key.to_vec(), part.to_vec()))
                        && !visit(&key, self.unframe(&key, &framed)?)?
                    {
                        return Ok(());
                    }
                }
            }
        }
        if let Some((key, framed)) = current {
            visit(&key, self.unframe(&key, &framed)?)?;
        }
        Ok(())
    }

    fn unframe(&self, key: &[u8], framed: &[u8]) -> Result<Vec<u8>, StorageError> {
        unframe(key, framed).map(<[u8]>::to_vec).map_err(|err| {
            StorageError::damaged(&self.path, format!("the value of key {} is not whole: {err}", hex(key)))
        })
    }

    /// Adds the removal of the values from `start` to `end` (exclusive).
    pub fn remove_range(&self, changes: &mut Changes, start: &[u8], end: &[u8]) -> Result<(), StorageError> {
        protect(&self.path, || {
            for item in self.db.range(start.to_vec()..end.to_vec()).keys() {
                changes.batch.remove(item?);
            }
            Ok(())
        })
    }

    /// Makes changes visible; they are not durable before [`Self::flush`].
    pub fn apply(&self, changes: Changes) -> Result<(), StorageError> {
        protect(&self.path, || self.db.apply_batch(changes.batch))
    }

    /// Makes everything applied durable, power failure included.
    pub fn flush(&self) -> Result<(), StorageError> {
        protect(&self.path, || self.db.flush())?;
        self.sync_blobs()?;
        self.file.sync_data().map_err(|err| StorageError::io("sync", &self.path, err))
    }

    fn sync_blobs(&self) -> Result<(), StorageError> {
        let blobs = self.path.join("blobs");
        let entries = match fs::read_dir(&blobs) {
            Ok(entries) => entries,
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(err) => return Err(StorageError::io("list", &blobs, err)),
        };
        let mut any = false;
        for entry in entries {
            let path = entry.map_err(|err| StorageError::io("list", &blobs, err))?.path();
            match File::open(&path).and_then(|file| file.sync_all()) {
                Ok(()) => any = true,
                // sled removes blobs that no page needs any more.
                Err(err) if err.kind() == std::io::ErrorKind::NotFound => {}
                Err(err) => return Err(StorageError::io("sync", &path, err)),
            }
        }
        if any { durable::sync_dir(&blobs) } else { Ok(()) }
    }

    /// Closes the store; sled's own last words may fail, what was flushed is safe.
    pub fn close(self) {
        let Self { path, db, file } = self;
        drop(file);
        if let Err(err) = protect(&path, || {
            drop(db);
            Ok(())
        }) {
            tracing::warn!(error = %err, "closing the store failed");
        }
    }
}

impl Changes {
    /// Adds a value.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        for (number, part) in frame(key, value).chunks(PART).enumerate() {
            let mut part_key = key.to_vec();
            part_key.extend_from_slice(&u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes());
            self.batch.insert(part_key, part);
        }
    }
}

/// The first key after all keys that start with `key` and are longer by a part number.
fn next_key(key: &[u8]) -> Vec<u8> {
    let mut end = key.to_vec();
    end.extend_from_slice(&[0xff, 0xff, 0]);
    end
}

/// Runs a call into sled; its panics become errors.
fn protect<T>(path: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StorageError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(err))) => Err(StorageError::io("read or write", path, err)),
        Ok(Err(err)) => Err(StorageError::damaged(path, format!("sled says: {err}"))),
        Err(panic) => {
            Err(StorageError::damaged(path, format!("sled gave up on it: {}", panic_text(&*panic))))
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "for no stated reason".to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Engine {
        Engine::open(path, |_| Ok(())).unwrap().0
    }

    #[test]
    fn large_values_come_back_whole_and_make_no_blobs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sled");
        let big: Vec<u8> = (0..1_500_000_u32).map(|n| (n % 251) as u8).collect();
        let engine = open(&path);
        let mut changes = Changes::default();
        changes.put(b"big", &big);
        changes.put(b"bih", b"small");
        engine.apply(changes).unwrap();
        engine.flush().unwrap();
        engine.close();
        let engine = open(&path);
        assert_eq!(engine.get(b"big").unwrap().unwrap(), big);
        assert_eq!(engine.get(b"bih").unwrap().unwrap(), b"small");
        assert_eq!(engine.get(b"bii").unwrap(), None);
        let blobs = fs::read_dir(path.join("blobs")).map(|entries| entries.count()).unwrap_or(0);
        assert_eq!(blobs, 0);
    }

    #[test]
    fn a_range_can_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(&dir.path().join("sled"));
        let mut changes = Changes::default();
        for key in [b"a1", b"a2", b"a3"] {
            changes.put(key, &vec![7; 10_000]);
        }
        engine.apply(changes).unwrap();
        let mut changes = Changes::default();
        engine.remove_range(&mut changes, b"a1", b"a3").unwrap();
        engine.apply(changes).unwrap();
        let mut left = Vec::new();
        engine
            .for_each(b"a", b"b", |key, value| {
                left.push((key.to_vec(), value.len()));
                Ok(true)
            })
            .unwrap();
        assert_eq!(left, [(b"a3".to_vec(), 10_000)]);
    }
}
