//! Writing files so that they survive a power failure: temporary file, fsync, rename, fsync of the directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::StorageError;

/// Replaces `path` by a file with these bytes; after a crash there is the old one or the new one.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let temporary = temporary_name(path);
    let written = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if let Err(err) = written {
        // The first error is the one to report; a leftover temporary file is overwritten next time.
        let _ = fs::remove_file(&temporary);
        return Err(StorageError::io("write", path, err));
    }
    sync_parent(path)
}

/// Creates a directory and makes its name durable.
pub fn create_dir(path: &Path) -> Result<(), StorageError> {
    fs::create_dir_all(path).map_err(|err| StorageError::io("create the directory", path, err))?;
    sync_parent(path)
}

/// Makes names in the directory of `path` durable.
pub fn sync_parent(path: &Path) -> Result<(), StorageError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_dir(parent)
}

/// Makes the names in a directory durable.
pub fn sync_dir(path: &Path) -> Result<(), StorageError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|err| StorageError::io("sync", path, err))
}

/// Reads a file; `None` when there is none.
pub fn read_file(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(StorageError::io("read", path, err)),
    }
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}
