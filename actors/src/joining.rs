//! Tables that join a running subtask (`add-table`, `resync-table`, a wider block-allow list).
//!
//! ```text
//! main stream ────────────(without the tables)────────────── stopped ── main stream with the tables ──►
//! side task:   copy ──► own stream, until it is near ──► until the source's present ─┘ join: one target transaction
//! ```
//!
//! The tables are copied and followed by a task of their own beside the subtask's stream: it has its own progress, plan and
//! definitions in the meta schema, under the task's name with `_dmj` and the operation's number. When it is near, the main
//! stream is stopped and fenced; the side task reads up to where the source is then, which is beyond everything that the
//! main stream can have applied. From there on the tables are to the main stream what copied tables are: each is one chunk
//! that holds all up to the side stream's watermark. That is written in one transaction of the main stream's progress.
//!
//! Every step is decided by what is in the target: which operations have begun and which have joined is a fact of the task
//! (`tables` in `<task>_dmnode_meta`), written under the fence of the main progress. So any node goes on at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dmnode_model::codes::{self, Policy};
use dmnode_model::config::{SourceConfig, SubtaskConfig, TaskMode};
use dmnode_model::error::CodedError;
use dmnode_model::gtid::Flavor;
use dmnode_model::ids::TaskName;
use dmnode_model::position::Location;
use dmnode_model::status::JoiningTables;
use dmnode_model::tables::{TableChoice, TableOp, TableOperation};
use dmnode_mysql::{Connection, ServerInfo, SessionOptions, current_location};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::failpoint;
use crate::load::filter::reaches;
use crate::load::{self, LoadSpec, Loaded, join_statements, made_by_copy};
use crate::meta::remove_meta;
use crate::progress::meta::{Facts, Statements};
use crate::progress::{ProgressStore, ProgressUpdate, TakeOver, TargetSpec};
use crate::sync::{self, SyncSpec};
use crate::target::{ApplyError, target_error};
use crate::unit::{Heartbeat, StatusCell, UnitContext, UnitDone, UnitResult};

/// The fact that says which operations have begun and which have joined.
const TABLES: &str = "tables";
/// A side stream that needs no longer than this for what was written meanwhile is near enough to join.
const NEAR: Duration = Duration::from_secs(3);
/// Rounds of catching up after which the tables join although they are not near: the source writes faster than they come.
const ROUNDS_MAX: u32 = 60;
/// Pause before a failed side task is tried again, doubled each time up to the second.
const RETRY: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(60)];
/// A side task that shows no sign of life for so long is begun anew.
const HANG: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_secs(5);
/// How long the other half may take to end.
const END: Duration = Duration::from_secs(20);

/// What the target says of the operations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Ledger {
    /// A side task may have left something.
    begun: BTreeSet<u64>,
    /// The tables are the main stream's.
    joined: BTreeSet<u64>,
}

/// The operations that are still to be carried out, in order.
fn pending<'a>(operations: &'a [TableOperation], joined: &BTreeSet<u64>) -> Vec<&'a TableOperation> {
    let mut pending: Vec<_> = operations
        .iter()
        .filter(|operation| operation.is_pending() && !joined.contains(&operation.number))
        .collect();
    pending.sort_by_key(|operation| operation.number);
    pending
}

/// What the copy of the subtask itself has to do: tables that are added later are left to their own copy.
pub(crate) fn of_copy(subtask: &SubtaskConfig) -> SubtaskConfig {
    let is_added = |operation: &TableOperation| operation.is_pending() && operation.op == TableOp::Add;
    SubtaskConfig { choice: TableChoice::of(&subtask.operations, is_added), ..subtask.clone() }
}

/// Shows what waits for the copy.
pub(crate) fn show_waiting(ctx: &UnitContext, subtask: &SubtaskConfig) {
    let waiting = pending(&subtask.operations, &BTreeSet::new());
    let shown = waiting.iter().map(|operation| shown(operation, "waiting")).collect();
    ctx.status.show_tables(shown, false);
}

fn shown(operation: &TableOperation, stage: &str) -> JoiningTables {
    JoiningTables {
        number: operation.number,
        op: operation.op.as_str().to_owned(),
        tables: operation.tables.iter().map(ToString::to_string).collect(),
        stage: stage.to_owned(),
        error: None,
        copy: None,
    }
}

/// Replicates, and lets tables join.
pub async fn run(ctx: UnitContext, source: Arc<SourceConfig>, subtask: Arc<SubtaskConfig>) -> UnitResult {
    if subtask.operations.is_empty() {
        let spec = SyncSpec { source: (*source).clone(), subtask: (*subtask).clone(), until: None };
        return Box::pin(sync::run(ctx, spec)).await;
    }
    let joining = Joining { ctx, source, subtask };
    loop {
        let turn = tokio::select! {
            biased;
            () = joining.ctx.cancel.cancelled() => return Ok(UnitDone::Cancelled),
            turn = Box::pin(joining.look()) => turn.map_err(ApplyError::into_coded)?,
        };
        if let Some(done) = Box::pin(joining.turn(turn)).await? {
            return Ok(done);
        }
    }
}

/// What a look at the target has shown.
struct Turn {
    ledger: Ledger,
    next: Option<TableOperation>,
}

/// How the side task ended.
enum Side {
    /// Near enough to join.
    Near,
    Cancelled,
}

struct Joining {
    ctx: UnitContext,
    source: Arc<SourceConfig>,
    subtask: Arc<SubtaskConfig>,
}

impl Joining {
    async fn store(&self, ctx: &UnitContext, subtask: &SubtaskConfig) -> Result<ProgressStore, CodedError> {
        ProgressStore::open(TargetSpec::of(ctx, subtask, ctx.cancel.clone())).await
    }

    fn facts(&self) -> Facts {
        Facts::new(&self.subtask.meta_schema, &self.subtask.task, &self.subtask.source_id)
    }

    /// Fences former owners, reads what they have done, clears what they have left, and says what comes next.
    async fn look(&self) -> Result<Turn, ApplyError> {
        let store = self.store(&self.ctx, &self.subtask).await?;
        let mut taken = store.take_over(1).await?;
        let mut conn = store.connect().await?;
        let mut ledger = self.ledger(&mut conn).await?;
        conn.close().await;
        let former = ledger.clone();
        let known: BTreeSet<u64> = self.subtask.operations.iter().map(|operation| operation.number).collect();
        ledger.joined.retain(|number| known.contains(number));
        let pending = pending(&self.subtask.operations, &ledger.joined);
        let waiting: BTreeSet<u64> = pending.iter().map(|operation| operation.number).collect();
        for number in ledger.begun.clone() {
            if !waiting.contains(&number) {
                self.clear(number).await?;
                ledger.begun.remove(&number);
            }
        }
        let next = pending.first().map(|operation| (*operation).clone());
        ledger.begun.extend(next.iter().map(|operation| operation.number));
        if ledger != former {
            let sql = self.facts().put_sql(TABLES, &ledger_text(&ledger));
            self.write(&mut taken, vec![sql]).await?;
        }
        self.show(&ledger, |_| None);
        Ok(Turn { ledger, next })
    }

    async fn ledger(&self, conn: &mut Connection) -> Result<Ledger, CodedError> {
        let Some(text) = self
            .facts()
            .get(conn, TABLES)
            .await
            .map_err(|error| target_error(&error))?
            .filter(|text| !text.is_empty())
        else {
            return Ok(Ledger::default());
        };
        serde_json::from_str(&text).map_err(|error| {
            CodedError::new(codes::PROGRESS_ROW, "what the target says of tables that joined cannot be read")
                .object(TABLES)
                .cause(error)
        })
    }

    async fn write(&self, taken: &mut TakeOver, statements: Vec<String>) -> Result<(), ApplyError> {
        let Some(applier) = taken.appliers.first_mut() else {
            return Err(CodedError::new(codes::INTERNAL, "a take-over without applier").into());
        };
        applier.apply(&ProgressUpdate::unchanged(), &mut Statements(statements)).await
    }

    /// Ends whatever a side task may still have under way, and drops its meta tables.
    async fn clear(&self, number: u64) -> Result<(), ApplyError> {
        let side = self.side(number, TableChoice::default());
        self.store(&self.ctx, &side).await?.take_over(1).await?;
        remove_meta(&side).await?;
        tracing::info!(task = %self.ctx.task, source = %self.ctx.source, operation = number,
            "the metadata of a copy beside the task is dropped");
        Ok(())
    }

    /// The side task as a subtask.
    fn side(&self, number: u64, choice: TableChoice) -> SubtaskConfig {
        SubtaskConfig {
            task: side_name(&self.subtask.task, number),
            mode: TaskMode::All,
            meta: None,
            start_time: None,
            safe_mode_window: None,
            operations: Vec::new(),
            choice,
            ..(*self.subtask).clone()
        }
    }

    fn show(&self, ledger: &Ledger, of_next: impl Fn(&TableOperation) -> Option<JoiningTables>) {
        let pending = pending(&self.subtask.operations, &ledger.joined);
        let joined = self
            .subtask
            .operations
            .iter()
            .filter(|operation| operation.is_pending() && ledger.joined.contains(&operation.number))
            .map(|operation| shown(operation, "joined"));
        let on_their_way =
            pending.iter().map(|operation| of_next(operation).unwrap_or_else(|| shown(operation, "waiting")));
        self.ctx.status.show_tables(joined.chain(on_their_way).collect(), !pending.is_empty());
    }

    /// `None` when the target is to be looked at again.
    async fn turn(&self, turn: Turn) -> Result<Option<UnitDone>, CodedError> {
        let Turn { ledger, next } = turn;
        let main = self.main(&ledger);
        let Some(operation) = next else {
            return Box::pin(sync::run(self.ctx.clone(), main)).await.map(Some);
        };
        tracing::info!(task = %self.ctx.task, source = %self.ctx.source, operation = operation.number,
            op = operation.op.as_str(), tables = operation.tables.len(), "tables are on their way into the task");
        let main_ctx = UnitContext { cancel: self.ctx.cancel.child_token(), ..self.ctx.clone() };
        let side_ctx = self.side_ctx(&operation);
        let mut main = Box::pin(sync::run(main_ctx.clone(), main));
        let mut side = Box::pin(self.side_task(&side_ctx, &ledger, &operation));
        tokio::select! {
            ended = &mut main => {
                side_ctx.cancel.cancel();
                let _ = tokio::time::timeout(END, side).await;
                return ended.map(Some);
            }
            ended = &mut side => {
                if matches!(ended, Side::Cancelled) {
                    return main.await.map(Some);
                }
            }
        }
        drop(side);
        main_ctx.cancel.cancel();
        main.await?;
        if self.ctx.cancel.is_cancelled() {
            return Ok(Some(UnitDone::Cancelled));
        }
        self.join(&ledger, &operation).await
    }

    /// The stream of the tables that have joined.
    fn main(&self, ledger: &Ledger) -> SyncSpec {
        let is_out =
            |operation: &TableOperation| operation.is_pending() && !ledger.joined.contains(&operation.number);
        let choice = TableChoice::of(&self.subtask.operations, is_out);
        let subtask = SubtaskConfig { choice, ..(*self.subtask).clone() };
        SyncSpec { source: (*self.source).clone(), subtask, until: None }
    }

    fn side_ctx(&self, operation: &TableOperation) -> UnitContext {
        UnitContext {
            task: side_name(&self.subtask.task, operation.number),
            cancel: self.ctx.cancel.child_token(),
            heartbeat: Heartbeat::new(),
            status: StatusCell::new(),
            ..self.ctx.clone()
        }
    }

    /// Copies and follows until near; what fails is tried again or waits for the operator, and the main stream goes on.
    async fn side_task(&self, ctx: &UnitContext, ledger: &Ledger, operation: &TableOperation) -> Side {
        let mut pause = RETRY[0];
        loop {
            let failed = tokio::select! {
                biased;
                () = ctx.cancel.cancelled() => return Side::Cancelled,
                ended = Box::pin(self.approach(ctx, ledger, operation)) => match ended {
                    Ok(side) => return side,
                    Err(error) => error,
                },
                () = silence(&ctx.heartbeat) => {
                    CodedError::new(codes::UNIT_CANCELLED, "the copy of joining tables shows no sign of life")
                }
            };
            let again = codes::policy(failed.code) == Policy::Retry || failed.code == codes::UNIT_CANCELLED;
            tracing::warn!(task = %self.ctx.task, source = %self.ctx.source, operation = operation.number,
                again, error = %failed, "tables that are to join cannot go on");
            self.show(ledger, |one| {
                (one.number == operation.number).then(|| JoiningTables {
                    error: Some(failed.to_process_error()),
                    ..shown(one, if again { "waiting" } else { "stopped" })
                })
            });
            if !again {
                ctx.cancel.cancelled().await;
                return Side::Cancelled;
            }
            tokio::select! {
                () = ctx.cancel.cancelled() => return Side::Cancelled,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(RETRY[1]),
            }
        }
    }

    async fn approach(
        &self,
        ctx: &UnitContext,
        ledger: &Ledger,
        operation: &TableOperation,
    ) -> Result<Side, CodedError> {
        let stage = |stage: &'static str| {
            self.show(ledger, |one| {
                let copy = ctx.status.snapshot().1.copy;
                (one.number == operation.number).then(|| JoiningTables { copy, ..shown(one, stage) })
            });
        };
        stage("copying");
        let side = self.side_of(operation).await?;
        let copy = LoadSpec { source: Arc::clone(&self.source), subtask: Arc::new(side.clone()) };
        let copied = {
            let mut copying = Box::pin(load::run(ctx.clone(), copy));
            loop {
                tokio::select! {
                    copied = &mut copying => break copied?,
                    () = tokio::time::sleep(Duration::from_secs(1)) => stage("copying"),
                }
            }
        };
        if copied == Loaded::Cancelled {
            return Ok(Side::Cancelled);
        }
        stage("catching up");
        for _ in 0..ROUNDS_MAX {
            let begun = Instant::now();
            let (present, _) = self.present().await?;
            if self.follow(ctx, &side, present).await? == UnitDone::Cancelled {
                return Ok(Side::Cancelled);
            }
            if begun.elapsed() < NEAR {
                break;
            }
        }
        Ok(Side::Near)
    }

    /// The side task with what it has to empty first.
    async fn side_of(&self, operation: &TableOperation) -> Result<SubtaskConfig, CodedError> {
        let mut choice = TableChoice { only: Some(operation.tables.clone()), ..TableChoice::default() };
        if operation.op == TableOp::Resync {
            let (conn, info) = self.source_session().await?;
            conn.close().await;
            let mut target = self.store(&self.ctx, &self.subtask).await?.connect().await?;
            let made = made_by_copy(&mut target, &self.subtask, info.flavor).await?;
            target.close().await;
            choice.emptied = operation
                .tables
                .iter()
                .map(|table| (table.clone(), made.contains(table)))
                .collect::<BTreeMap<_, _>>();
        }
        Ok(self.side(operation.number, choice))
    }

    async fn follow(&self, ctx: &UnitContext, side: &SubtaskConfig, until: Location) -> UnitResult {
        let spec = SyncSpec { source: (*self.source).clone(), subtask: side.clone(), until: Some(until) };
        Box::pin(sync::run(ctx.clone(), spec)).await
    }

    async fn source_session(&self) -> Result<(Connection, ServerInfo), CodedError> {
        let failed = |error: dmnode_mysql::SqlError| sync::source_failed(&self.source, &error);
        let mut conn =
            Connection::connect(&self.source.from, &SessionOptions::default()).await.map_err(failed)?;
        let info = ServerInfo::probe(&mut conn).await.map_err(failed)?;
        Ok((conn, info))
    }

    /// Where the source is now, and what kind of server it is.
    async fn present(&self) -> Result<(Location, Flavor), CodedError> {
        let (mut conn, info) = self.source_session().await?;
        let location = current_location(&mut conn, &info)
            .await
            .map_err(|error| sync::source_failed(&self.source, &error))?;
        conn.close().await;
        Ok((location, info.flavor))
    }

    /// The main stream has ended. Whatever happens here, the main stream goes on after it.
    async fn join(
        &self,
        ledger: &Ledger,
        operation: &TableOperation,
    ) -> Result<Option<UnitDone>, CodedError> {
        let since = Instant::now();
        let joined = tokio::select! {
            biased;
            () = self.ctx.cancel.cancelled() => return Ok(Some(UnitDone::Cancelled)),
            joined = Box::pin(self.try_join(ledger, operation)) => joined,
        };
        match joined {
            Ok(true) => {
                tracing::info!(task = %self.ctx.task, source = %self.ctx.source, operation = operation.number,
                held_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX), "tables have joined the task")
            }
            Ok(false) => {}
            Err(ApplyError::Fenced(why)) => return Err(ApplyError::Fenced(why).into_coded()),
            // The side task meets it again, beside the main stream.
            Err(error) => {
                tracing::warn!(task = %self.ctx.task, source = %self.ctx.source, operation = operation.number,
                error = %error.into_coded(), "tables could not join yet")
            }
        }
        Ok(None)
    }

    async fn try_join(&self, ledger: &Ledger, operation: &TableOperation) -> Result<bool, ApplyError> {
        self.show(ledger, |one| (one.number == operation.number).then(|| shown(one, "joining")));
        let store = self.store(&self.ctx, &self.subtask).await?;
        // From here on nothing of the main stream can be committed but by this take-over: all it has ever applied was in the
        // source's binlog before the position that is asked for now.
        let mut taken = store.take_over(1).await?;
        if taken.watermark.is_none() {
            return Ok(false);
        }
        let (present, flavor) = self.present().await?;
        let side = self.side(
            operation.number,
            TableChoice { only: Some(operation.tables.clone()), ..TableChoice::default() },
        );
        let side_ctx = UnitContext { heartbeat: self.ctx.heartbeat.clone(), ..self.side_ctx(operation) };
        if self.follow(&side_ctx, &side, present.clone()).await? == UnitDone::Cancelled {
            return Ok(false);
        }
        failpoint::hit("tables.before_join").await?;
        let side_taken = self.store(&side_ctx, &side).await?.take_over(1).await?;
        let Some(watermark) = side_taken.watermark.filter(|watermark| reaches(&watermark.location, &present))
        else {
            return Ok(false);
        };
        let mut conn = store.connect().await?;
        let mut statements =
            join_statements(&mut conn, &self.subtask, &side, flavor, &operation.tables, &watermark.location)
                .await?;
        conn.close().await;
        let mut joined = ledger.clone();
        joined.joined.insert(operation.number);
        statements.push(self.facts().put_sql(TABLES, &ledger_text(&joined)));
        self.write(&mut taken, statements).await?;
        failpoint::hit("tables.after_join").await?;
        Ok(true)
    }
}

/// The side task's name.
fn side_name(task: &TaskName, number: u64) -> TaskName {
    TaskName::new(format!("{task}{}{number}", crate::meta::SIDE))
}

fn ledger_text(ledger: &Ledger) -> String {
    // Numbers only: this cannot fail.
    serde_json::to_string(ledger).unwrap_or_default()
}

/// Ends when the heart has not beaten for [`HANG`].
async fn silence(heartbeat: &Heartbeat) {
    let (mut count, mut since) = (heartbeat.count(), Instant::now());
    while since.elapsed() < HANG {
        tokio::time::sleep(LOOK).await;
        if heartbeat.count() != count {
            (count, since) = (heartbeat.count(), Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use dmnode_model::TableName;

    use super::*;

    #[test]
    fn what_the_target_says_decides_what_is_still_to_be_done() {
        let operation = |number, op, done| TableOperation {
            number,
            op,
            tables: BTreeSet::from([TableName::new("a", format!("t{number}"))]),
            done,
        };
        let operations = [
            operation(9, TableOp::Add, false),
            operation(7, TableOp::Resync, false),
            operation(5, TableOp::Add, true),
            operation(6, TableOp::Remove, true),
        ];
        let numbers = |joined: &[u64]| -> Vec<u64> {
            let joined = joined.iter().copied().collect();
            pending(&operations, &joined).iter().map(|operation| operation.number).collect()
        };
        assert_eq!(numbers(&[]), [7, 9]);
        // Joined, and the cluster does not know it yet.
        assert_eq!(numbers(&[7]), [9]);
        let ledger = Ledger { begun: BTreeSet::from([9]), joined: BTreeSet::from([7]) };
        assert_eq!(serde_json::from_str::<Ledger>(&ledger_text(&ledger)).unwrap(), ledger);
        assert_eq!(side_name(&TaskName::new("mig"), 90_000).as_str(), "mig_dmj90000");
    }
}
