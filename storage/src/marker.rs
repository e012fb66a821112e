//! The marker: whose data directory this is.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::error::StorageError;

const FORMAT: u32 = 1;

/// Whose data directory this is; a small JSON file that people can read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    format: u32,
    /// Name of the node.
    pub name: String,
    /// Identity of this directory: a lost and re-created one has another.
    pub incarnation: String,
    /// When it was created (UTC).
    pub created: String,
    /// The cluster, once the node belongs to one.
    pub cluster_id: Option<String>,
    /// The node's id in it.
    pub node_id: Option<u64>,
    /// This node began the cluster.
    pub founder: bool,
    /// The store was found damaged and set aside: where to, why.
    pub quarantined: Option<String>,
    /// Guards against a hand that slipped.
    checksum: u32,
}

impl Marker {
    /// The marker of a new directory.
    pub fn new(name: &str) -> Self {
        Self {
            format: FORMAT,
            name: name.to_owned(),
            incarnation: uuid::Uuid::new_v4().to_string(),
            created: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            cluster_id: None,
            node_id: None,
            founder: false,
            quarantined: None,
            checksum: 0,
        }
    }

    pub(crate) fn read(path: &Path) -> Result<Option<Self>, StorageError> {
        let Some(bytes) = durable::read_file(path)? else { return Ok(None) };
        let marker: Self = serde_json::from_slice(&bytes)
            .map_err(|err| StorageError::damaged(path, format!("it is not the JSON it was: {err}")))?;
        if marker.format != FORMAT {
            let message = format!(
                "{} has format {}, this program knows format {FORMAT}: use the newer program that wrote it",
                path.display(),
                marker.format
            );
            return Err(StorageError::Foreign { message });
        }
        if marker.checksum != marker.compute_checksum() {
            return Err(StorageError::damaged(path, "its checksum does not match: it was edited or damaged"));
        }
        Ok(Some(marker))
    }

    pub(crate) fn write(&mut self, path: &Path) -> Result<(), StorageError> {
        self.checksum = self.compute_checksum();
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|err| StorageError::io("write", path, std::io::Error::other(err)))?;
        text.push(b'\n');
        durable::write_file(path, &text)
    }

    fn compute_checksum(&self) -> u32 {
        let fields = format!(
            "{:?}",
            (
                self.format,
                &self.name,
                &self.incarnation,
                &self.created,
                &self.cluster_id,
                self.node_id,
                self.founder,
                &self.quarantined
            )
        );
        crc32fast::hash(fields.as_bytes())
    }
}
