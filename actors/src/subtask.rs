//! One subtask: which units run, in which order.
//!
//! | mode | units |
//! |---|---|
//! | full | copy; then the stream up to the latest chunk's position when chunks differ |
//! | incremental | stream |
//! | all | copy, then stream |

use std::sync::Arc;

use dmnode_model::codes;
use dmnode_model::config::{SourceConfig, SubtaskConfig, TaskMode};
use dmnode_model::error::CodedError;

use crate::load::{self, LoadSpec, Loaded};
use crate::sync::{self, SyncSpec};
use crate::target::ApplyError;
use crate::unit::{UnitContext, UnitDone, UnitResult};

/// One generation of a subtask, from where the last one left off.
pub async fn run(ctx: UnitContext, source: Arc<SourceConfig>, subtask: Arc<SubtaskConfig>) -> UnitResult {
    let copies = match subtask.mode {
        TaskMode::Full | TaskMode::All => true,
        TaskMode::Incremental => false,
        TaskMode::Dump | TaskMode::Load | TaskMode::LoadAndSync => {
            return Err(CodedError::new(
                codes::COPY_MODE_UNSUPPORTED,
                format!(
                    "task-mode `{}` works with dump files, which dmnode does not write",
                    subtask.mode.as_str()
                ),
            )
            .object(&subtask.task));
        }
    };
    tokio::select! {
        biased;
        () = ctx.cancel.cancelled() => return Ok(UnitDone::Cancelled),
        followed = Box::pin(sync::dm::follow(&ctx, &source, &subtask)) => followed.map_err(ApplyError::into_coded)?,
    }
    let mut until = None;
    if copies {
        let spec = LoadSpec { source: Arc::clone(&source), subtask: Arc::clone(&subtask) };
        match Box::pin(load::run(ctx.clone(), spec)).await? {
            Loaded::Cancelled => return Ok(UnitDone::Cancelled),
            Loaded::Complete { consistent, .. } if subtask.mode == TaskMode::Full && consistent => {
                return Ok(UnitDone::Finished);
            }
            Loaded::Complete { latest, .. } if subtask.mode == TaskMode::Full => until = Some(latest),
            Loaded::Complete { .. } => {}
        }
    }
    if ctx.cancel.is_cancelled() {
        return Ok(UnitDone::Cancelled);
    }
    let spec = SyncSpec { source: (*source).clone(), subtask: (*subtask).clone(), until };
    Box::pin(sync::run(ctx, spec)).await
}
