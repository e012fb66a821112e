//! Runs one generation of a unit on the multi-thread pool and tells how it ended, whatever it does.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::child::Exit;
use crate::unit::{UnitContext, UnitDone, UnitResult};

/// How long a generation waits for its predecessor to be gone. The fence in the target makes going on safe; waiting
/// only saves the two from getting in each other's way.
const PREDECESSOR_PATIENCE: Duration = Duration::from_secs(20);

/// Serialises the generations of one subtask on this node.
pub(super) type Slot = Arc<tokio::sync::Mutex<()>>;

/// Starts the unit; `on_exit` is told its end.
pub(super) fn spawn<F>(
    pool: &Handle,
    ctx: UnitContext,
    slot: Slot,
    unit: BoxFuture<'static, UnitResult>,
    on_exit: impl FnOnce(Exit) -> F + Send + 'static,
) -> AbortHandle
where
    F: Future<Output = ()> + Send + 'static,
{
    let guarded = AssertUnwindSafe(async move {
        let _turn = match wait_turn(&ctx, slot).await {
            Turn::Mine(guard) => Some(guard),
            Turn::Late => None,
            Turn::Cancelled => return Ok(UnitDone::Cancelled),
        };
        crate::failpoint::hit("unit.start").await?;
        unit.await
    })
    .catch_unwind();
    let task = pool.spawn(guarded);
    let abort = task.abort_handle();
    pool.spawn(async move {
        let exit = match task.await {
            Ok(Ok(Ok(done))) => Exit::Done(done),
            Ok(Ok(Err(error))) => Exit::Failed(error),
            Ok(Err(payload)) => Exit::Panicked(panic_text(payload.as_ref())),
            Err(join) if join.is_panic() => Exit::Panicked("while it was dropped".to_owned()),
            Err(_) => Exit::Aborted,
        };
        on_exit(exit).await;
    });
    abort
}

enum Turn {
    Mine(tokio::sync::OwnedMutexGuard<()>),
    Late,
    Cancelled,
}

async fn wait_turn(ctx: &UnitContext, slot: Slot) -> Turn {
    let beating = async {
        loop {
            ctx.heartbeat.beat();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        biased;
        () = ctx.cancel.cancelled() => Turn::Cancelled,
        guard = slot.lock_owned() => Turn::Mine(guard),
        () = beating => Turn::Late,
        () = tokio::time::sleep(PREDECESSOR_PATIENCE) => {
            tracing::warn!(task = %ctx.task, source = %ctx.source, generation = ctx.generation,
                "the former generation has not ended; going on without it, it is fenced");
            Turn::Late
        }
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "with a value that is no text".to_owned())
}
