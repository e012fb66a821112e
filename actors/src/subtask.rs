//! One subtask: which units run, in which order.
//!
//! | mode | units |
//! |---|---|
//! | full | copy; then the stream up to the latest chunk's position when chunks differ |
//! | incremental | stream |
//! | all | copy, then stream |
//! | dump | dump into files |
//! | load | files |
//! | load&sync | files, then stream |

use std::sync::Arc;

use dmnode_model::config::{SourceConfig, SubtaskConfig, TaskMode};

use crate::joining;
use crate::load::dump::{self, Dumped};
use crate::load::{self, LoadSpec, Loaded, files};
use crate::sync::{self, SyncSpec};
use crate::target::ApplyError;
use crate::unit::{UnitContext, UnitDone, UnitResult};

/// One generation of a subtask, from where the last one left off.
pub async fn run(ctx: UnitContext, source: Arc<SourceConfig>, subtask: Arc<SubtaskConfig>) -> UnitResult {
    let copies = match subtask.mode {
        TaskMode::Full | TaskMode::All => true,
        TaskMode::Incremental => false,
        TaskMode::Dump => {
            // The target has no part in it.
            return Ok(match Box::pin(dump::run(ctx, LoadSpec { source, subtask })).await? {
                Dumped::Complete => UnitDone::Finished,
                Dumped::Cancelled => UnitDone::Cancelled,
            });
        }
        TaskMode::Load | TaskMode::LoadAndSync => false,
    };
    tokio::select! {
        biased;
        () = ctx.cancel.cancelled() => return Ok(UnitDone::Cancelled),
        followed = Box::pin(sync::dm::follow(&ctx, &source, &subtask)) => followed.map_err(ApplyError::into_coded)?,
    }
    let mut until = None;
    if matches!(subtask.mode, TaskMode::Load | TaskMode::LoadAndSync) {
        let spec = LoadSpec { source: Arc::clone(&source), subtask: Arc::clone(&subtask) };
        match Box::pin(files::run(ctx.clone(), spec)).await? {
            Loaded::Cancelled => return Ok(UnitDone::Cancelled),
            Loaded::Complete { .. } if subtask.mode == TaskMode::Load => return Ok(UnitDone::Finished),
            Loaded::Complete { .. } => {}
        }
    }
    if copies {
        joining::show_waiting(&ctx, &subtask);
        let mode = subtask.mode;
        let subtask = Arc::new(joining::of_copy(&subtask));
        let spec = LoadSpec { source: Arc::clone(&source), subtask };
        match Box::pin(load::run(ctx.clone(), spec)).await? {
            Loaded::Cancelled => return Ok(UnitDone::Cancelled),
            Loaded::Complete { consistent, .. } if mode == TaskMode::Full && consistent => {
                return Ok(UnitDone::Finished);
            }
            Loaded::Complete { latest, .. } if mode == TaskMode::Full => until = Some(latest),
            Loaded::Complete { .. } => {}
        }
    }
    if ctx.cancel.is_cancelled() {
        return Ok(UnitDone::Cancelled);
    }
    if until.is_none() {
        return Box::pin(joining::run(ctx, source, subtask)).await;
    }
    let spec = SyncSpec { source: (*source).clone(), subtask: (*subtask).clone(), until };
    Box::pin(sync::run(ctx, spec)).await
}
