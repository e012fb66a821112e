//! The directory a dump is written to.
//!
//! The file `.dmnode-dump` says whose it is. It is written before anything else, into an empty directory only: so whatever
//! stands beside it was made by the dump and may be removed when it begins again. `metadata` is removed first and written
//! last, so that a directory that has it is complete.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dmnode_model::codes;
use dmnode_model::config::DumpCompression;
use dmnode_model::error::CodedError;
use dmnode_storage::{create_dir, read_file, sync_dir, write_file};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::layout::{METADATA, Metadata};
use super::output::{Place, failed as write_failed};
use crate::load::LoadSpec;
use crate::unit::UnitContext;

const MARKER: &str = ".dmnode-dump";
const VERSION: u32 = 1;

/// What the marker says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    version: u32,
    cluster: String,
    task: String,
    source: String,
    /// What the files depend on.
    settings: String,
    epoch: u64,
    /// Tells generations from each other.
    token: String,
}

impl Marker {
    fn same_dump(&self, other: &Self) -> bool {
        self.cluster == other.cluster && self.task == other.task && self.source == other.source
    }
}

/// A directory that is ours to write to.
pub(super) struct Directory {
    pub path: PathBuf,
    marker: Marker,
}

/// What was found.
pub(super) enum Opened {
    /// An earlier generation has completed the dump.
    Complete,
    /// Empty but for the marker.
    Empty(Directory),
}

impl Directory {
    /// Makes the directory ready. What an interrupted dump of the same task left in it is removed.
    pub fn open(ctx: &UnitContext, spec: &LoadSpec) -> Result<Opened, CodedError> {
        let path = local(&spec.subtask.load.dir)?;
        let wanted = Marker {
            version: VERSION,
            cluster: ctx.cluster_id.clone(),
            task: ctx.task.to_string(),
            source: ctx.source.to_string(),
            settings: settings(spec),
            epoch: ctx.epoch.0,
            token: uuid::Uuid::new_v4().to_string(),
        };
        create_dir(&path).map_err(|err| unusable(&path, "it cannot be made").cause(err))?;
        let directory = Self { path, marker: wanted };
        let path = directory.path.as_path();
        match read_marker(path)? {
            None => {
                let mut entries = fs::read_dir(path).map_err(|err| write_failed(path, &err))?;
                if entries.next().is_some() {
                    return Err(unusable(path, "it is not empty and was not made by a dump of this task"));
                }
            }
            Some(found) if !found.same_dump(&directory.marker) => {
                return Err(unusable(
                    path,
                    &format!("it belongs to task {} and source {}", found.task, found.source),
                ));
            }
            Some(found) if found.epoch > directory.marker.epoch => return Err(fenced(path)),
            Some(found) if path.join(METADATA).exists() => {
                if found.settings != directory.marker.settings {
                    return Err(unusable(path, "it holds a dump of this task with other settings"));
                }
                return Ok(Opened::Complete);
            }
            Some(_) => {}
        }
        let text = serde_json::to_vec(&directory.marker).map_err(|err| {
            CodedError::new(codes::INTERNAL, "the marker of a dump cannot be written").cause(err)
        })?;
        write_file(&path.join(MARKER), &text).map_err(|err| {
            CodedError::new(codes::DUMP_WRITE, "a file of the dump cannot be written").cause(err)
        })?;
        directory.remove(|_| true).map_err(|err| write_failed(path, &err))?;
        Ok(Opened::Empty(directory))
    }

    /// Removes files, but never the marker. `metadata` goes first: a directory that has it is complete.
    fn remove(&self, which: impl Fn(&str) -> bool) -> io::Result<()> {
        let metadata = self.path.join(METADATA);
        if metadata.exists() {
            fs::remove_file(&metadata)?;
            fs::File::open(&self.path)?.sync_all()?;
        }
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            if name != MARKER && entry.file_type()?.is_file() && which(&name.to_string_lossy()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Whether nobody else has begun a dump here.
    fn check(&self) -> Result<(), CodedError> {
        match read_marker(&self.path)? {
            Some(marker) if marker == self.marker => Ok(()),
            _ => Err(fenced(&self.path)),
        }
    }

    /// Where this generation's files go to.
    pub fn place(&self, compression: DumpCompression) -> Place {
        Place::new(self.path.clone(), compression, format!(".{}.tmp", self.marker.token))
    }

    /// Every file is there: says so.
    pub fn complete(&self, metadata: &Metadata, written: &BTreeSet<String>) -> Result<(), CodedError> {
        let failed = |err| {
            CodedError::new(codes::DUMP_WRITE, "the metadata of the dump cannot be written")
                .object(self.path.display())
                .cause(err)
        };
        // What a former generation's last write may have left after its end.
        self.remove(|name| !written.contains(name)).map_err(|err| write_failed(&self.path, &err))?;
        // The names of the data files are durable before the file that vouches for them.
        sync_dir(&self.path).map_err(failed)?;
        self.check()?;
        write_file(&self.path.join(METADATA), metadata.text().as_bytes()).map_err(failed)
    }
}

fn read_marker(path: &Path) -> Result<Option<Marker>, CodedError> {
    let bytes = read_file(&path.join(MARKER))
        .map_err(|err| unusable(path, "its marker cannot be read").cause(err))?;
    let Some(bytes) = bytes else { return Ok(None) };
    match serde_json::from_slice::<Marker>(&bytes) {
        Ok(marker) if marker.version == VERSION => Ok(Some(marker)),
        _ => Err(unusable(path, "its marker `.dmnode-dump` is damaged or of another version")),
    }
}

/// The path of a `loaders.dir`; other places than a local directory cannot be written to.
pub(crate) fn local(dir: &str) -> Result<PathBuf, CodedError> {
    match dir.split_once("://") {
        None => Ok(PathBuf::from(dir)),
        Some(("file" | "local", path)) => Ok(PathBuf::from(path)),
        Some((scheme, _)) => Err(CodedError::new(
            codes::DUMP_STORAGE,
            format!(
                "`dir` of the loader is in `{scheme}` storage, and dmnode works with local directories only"
            ),
        )
        .object("loaders")),
    }
}

/// A digest of what the files depend on.
fn settings(spec: &LoadSpec) -> String {
    let (dump, subtask) = (&spec.subtask.dump, &spec.subtask);
    let text = format!(
        "{:?} {:?} {:?} {:?} {} {}:{}",
        subtask.block_allow_list,
        dump.file_type,
        dump.compression,
        dump.where_condition,
        subtask.case_sensitive,
        spec.source.from.host,
        spec.source.from.port,
    );
    dmnode_mysql::hex(&Sha256::digest(text))
}

fn unusable(path: &Path, why: &str) -> CodedError {
    CodedError::new(codes::DUMP_DIRECTORY, format!("the directory of the dump cannot be used: {why}"))
        .object(path.display())
}

fn fenced(path: &Path) -> CodedError {
    CodedError::new(codes::FENCED, "another node has begun this dump anew in the same directory")
        .object(path.display())
}
