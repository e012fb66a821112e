//! Named places where a test can make a running process misbehave.
//!
//! With the cargo feature `failpoints`, [`hit`] looks for the file `$DMNODE_FAILPOINT_DIR/<name>`, removes it and does
//! what its text says, once:
//!
//! | text | effect |
//! |---|---|
//! | `panic` | the task panics |
//! | `error` | the place returns an error (60999) |
//! | `hang` | the place never returns |
//! | `pause N` | the place returns after N milliseconds |
//! | `exit` | the process dies as by `kill -9` |
//!
//! Without the feature a hit is nothing.

use dmnode_model::error::CodedError;

/// Every failpoint there is, with what is true at that moment.
pub const NAMES: &[(&str, &str)] = &[
    ("unit.start", "a subtask's generation has started and has done nothing yet"),
    ("load.after_take_over", "the progress rows carry this epoch, nothing is planned in this generation"),
    ("load.before_plan", "the target table exists, its chunks are not planned"),
    ("load.after_drop", "a table changed by its source was dropped, its old plan still exists"),
    ("load.snapshot_locked", "the source's tables are locked for the snapshot"),
    ("load.before_chunk", "a chunk's transaction has begun, no row is written"),
    ("load.chunk_rows", "some rows of a chunk are written, the chunk is not marked done"),
    ("load.before_chunk_commit", "a chunk is written and marked done, not committed"),
    ("load.after_chunk_commit", "a chunk is committed"),
    ("load.before_finish", "all chunks are committed, the watermark is not set"),
    ("dump.empty", "the directory of a dump is empty but for its marker"),
    ("dump.before_rename", "a file of a dump is written and has no name yet"),
    ("dump.after_chunk", "the files of a chunk of a dump are written"),
    ("dump.before_metadata", "every file of a dump is written but the metadata"),
    ("files.before_commit", "statements of a file and their mark are written, not committed"),
    ("files.after_commit", "statements of a file and their mark are committed"),
    ("files.before_finish", "every file is loaded, the load is not marked as complete"),
    ("tables.before_join", "a table's own stream has come to where it joins, it is not the task's yet"),
    ("tables.after_join", "a table has joined the task, the metadata of its copy is still there"),
    ("sync.before_commit", "an apply transaction is written, not committed"),
    ("sync.after_commit", "an apply transaction is committed, nobody has been told"),
    ("sync.ddl_after_intent", "the intent of a DDL is recorded, the DDL is not executed"),
    ("sync.ddl_after_execute", "a DDL is executed, it is not recorded as done"),
    (
        "sync.ddl_before_passed",
        "a DDL is dealt with, the watermark has not passed it and no definition is stored",
    ),
    (
        "sync.ddl_after_passed",
        "the watermark has passed a DDL, and the definitions after it are stored with it",
    ),
];

/// How many columns the caches of tables hold at least in tests that look at them; 0 is the product's own bound.
#[cfg(feature = "failpoints")]
pub static CACHED_COLUMNS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// The bound of a cache of tables.
pub(crate) fn cached_columns(own: usize) -> usize {
    #[cfg(feature = "failpoints")]
    match CACHED_COLUMNS.load(std::sync::atomic::Ordering::Relaxed) {
        0 => {}
        wished => return wished,
    }
    own
}

/// Does what a test asked for at this place, if anything.
#[cfg(feature = "failpoints")]
#[allow(clippy::panic, reason = "a panic on request is what this is for")]
pub async fn hit(name: &str) -> Result<(), CodedError> {
    debug_assert!(NAMES.iter().any(|(known, _)| *known == name), "failpoint {name} is not listed");
    let Ok(dir) = std::env::var("DMNODE_FAILPOINT_DIR") else { return Ok(()) };
    let path = std::path::Path::new(&dir).join(name);
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(()) };
    // Whoever removes the file has drawn the shot: two tasks at the same place must not both act.
    if std::fs::remove_file(&path).is_err() {
        return Ok(());
    }
    tracing::warn!(failpoint = name, action = text.trim(), "failpoint hit");
    let mut words = text.split_whitespace();
    match (words.next(), words.next()) {
        (Some("panic"), _) => panic!("failpoint {name}"),
        (Some("error"), _) => Err(CodedError::new(
            dmnode_model::codes::FAILPOINT,
            format!("failpoint {name} asked for an error"),
        )),
        (Some("hang"), _) => std::future::pending().await,
        (Some("exit"), _) => std::process::abort(),
        (Some("pause"), Some(millis)) => {
            let millis = millis.parse().unwrap_or(0);
            tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
            Ok(())
        }
        (other, _) => {
            tracing::error!(failpoint = name, action = ?other, "unknown failpoint action");
            Ok(())
        }
    }
}

/// Nothing: the feature `failpoints` is off.
#[cfg(not(feature = "failpoints"))]
#[inline]
#[allow(clippy::unused_async, reason = "the same signature as with the feature")]
pub async fn hit(_name: &str) -> Result<(), CodedError> {
    Ok(())
}
