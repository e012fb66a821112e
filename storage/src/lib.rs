//! What is on disk: the data directory with its marker, the Raft log and vote, snapshots.
//!
//! Three rules: nothing is acknowledged before it would survive a power failure; every value is framed with
//! length and checksum; a store that may have forgotten something is set aside, never used.

mod data_dir;
mod durable;
mod engine;
mod error;
mod frame;
mod guard;
mod log_store;
mod marker;
mod record;
mod snapshots;

pub use data_dir::{DataDir, Store};
pub use durable::{create_dir, read_file, sync_dir, write_file};
pub use error::StorageError;
pub use frame::{FRAME_HEADER, FRAME_VERSION, FrameError, frame, unframe};
pub use log_store::{Done, LogEnds, LogStore};
pub use marker::Marker;
pub use record::{LogPosition, LogRecord, VoteRecord};
pub use snapshots::{MAX_SNAPSHOT, SnapshotFile, SnapshotStore};
