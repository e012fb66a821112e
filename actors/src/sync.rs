//! Continuous replication: the source's transactions, whole and in order of their conflicts, into the target.

use dmnode_model::config::{SourceConfig, SubtaskConfig};
use dmnode_model::position::Location;

use crate::unit::{UnitContext, UnitResult};

/// What a sync unit has to do.
#[derive(Clone)]
pub struct SyncSpec {
    /// The source.
    pub source: SourceConfig,
    /// The task's part on it.
    pub subtask: SubtaskConfig,
    /// Finish when everything up to here is applied; otherwise go on for ever.
    pub until: Option<Location>,
}

/// Replicates until cancelled, or until `spec.until` is reached.
pub async fn run(ctx: UnitContext, spec: SyncSpec) -> UnitResult {
    let _ = (ctx, spec);
    todo!()
}
