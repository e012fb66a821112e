//! Statements of the stream: a barrier, then what [`super::ddl`] decides.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::{BinlogPosition, StreamDecision, StreamOp};
use dmnode_mysql::{BinlogEvent, QueryEvent};
use dmnode_schema::SqlMode;

use super::change::describe;
use super::ddl::{Ddl, Decision, SEQUENCE, Servers, decide, decide_operators, session};
use super::decisions::start_of;
use super::online::Move;
use super::refusal::{Refused, explain};
use super::stream::{Halt, Open, Stream};
use super::tracker::{Statements, Tracked};
use crate::failpoint;
use crate::load::DdlCopied;
use crate::progress::TxnId;

/// A DDL may take so long before the unit is taken for hung.
const DDL_LIMIT: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);
/// What the operator reads once, however many there are.
pub(super) const NO_SEQUENCES: &str = "sequences are not migrated: create those that are needed in the target before the switch, and let them start behind the source's values";
const NOT_KNOWN: &str =
    "statements of an unknown kind, about no table, were passed over: the log has the place of the first";
/// To ask both servers for definitions.
const EXPLAIN_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

impl Stream {
    /// A statement: DDL, or something that must not be there.
    pub(super) async fn statement(
        &mut self,
        event: &BinlogEvent,
        query: &QueryEvent,
        inside: bool,
        end: BinlogPosition,
    ) -> Result<(), Halt> {
        let id = self.assembler.identity(&end);
        // A statement that failed at the source and is in the binlog all the same changed nothing here only if it
        // is DDL; partly done changes of rows come as rows.
        if self.open.known {
            return if inside { Ok(()) } else { self.finish_empty(end).await };
        }
        let start = start_of(event);
        let place = Place { at: in_dms_words(&start, &end, &id), short: describe(&id, &end) };
        self.look_at_new_tables(query).map_err(|error| error.at(&place.at))?;
        let decided = self.decisions.take(&start);
        let mut moves = Vec::new();
        let steps = self
            .steps(query, event, &end, decided.as_ref(), &mut moves)
            .await
            .map_err(|halt| halt.at(&place.at))?;
        if steps.is_empty() {
            self.shared.counters.skipped.fetch_add(1, Ordering::Relaxed);
        } else if !self.open.changes.is_empty() {
            return Err(CodedError::new(
                codes::DDL_UNSUPPORTED,
                "a DDL stands after row changes in one transaction",
            )
            .at(place.at)
            .into());
        } else {
            self.barrier().await?;
        }
        for step in &steps {
            let key = match &step.origin {
                StepOrigin::Operator(number, index) => id_decided(&id, (*number, *index)),
                // The number tells the statements of one transaction apart.
                StepOrigin::Statement if inside => id_inside(&id, self.open.ddls),
                StepOrigin::Statement => id.clone(),
                StepOrigin::Online(name) => id_online(&id, name),
            };
            self.execute(event, &key, step, &place).await?;
            self.shared.counters.ddls.fetch_add(1, Ordering::Relaxed);
        }
        // Whatever is done in the target, the source's tables are as the source's statement has left them.
        let mut tracked = self.track(query, &end, &place.short).await?;
        if !moves.is_empty() {
            tracked.also(self.online.apply(&self.scope, &moves));
            self.report_online(&moves, &place.short);
        }
        if steps.is_empty() && inside {
            self.tables.keep(tracked);
            return Ok(());
        }
        if steps.is_empty() && tracked.is_empty() {
            return self.finish_empty(end).await;
        }
        if steps.is_empty() {
            self.barrier().await?;
        } else {
            self.open.ddls += 1;
        }
        self.scheduler.clear();
        if inside {
            self.tables.keep(tracked);
            return Ok(());
        }
        // The watermark passes the DDL together with the removal of its traces.
        let mut statements = vec![self.ddl.clear_sql(&id)];
        statements.extend(tracked.statements);
        self.passed(id, end, &statements).await
    }

    /// Follows what a statement does to the source's tables, unless the copy read them later.
    async fn track(
        &mut self,
        query: &QueryEvent,
        end: &BinlogPosition,
        at: &str,
    ) -> Result<Tracked, CodedError> {
        let filter = self.filter.as_ref();
        let gtid = self.assembler.gtid();
        let copied = |table: &dmnode_model::TableName| {
            filter.is_some_and(|filter| filter.ddl_is_copied(table, end, gtid) == DdlCopied::Yes)
        };
        self.tables.track(&self.scope, query, self.reader.flavor(), at, &copied).await
    }

    /// Behind a barrier: the watermark passes a statement in one target transaction with what belongs to it.
    async fn passed(&mut self, id: TxnId, end: BinlogPosition, statements: &[String]) -> Result<(), Halt> {
        // What was derived before goes first.
        let mut all = self.tables.unsaved(false);
        all.extend_from_slice(statements);
        failpoint::hit("sync.ddl_before_passed").await?;
        let applier = Arc::clone(&self.appliers[0]);
        let mut applier = applier.lock().await;
        self.reader.passed(end.clone(), self.assembler.gtid());
        let update = {
            let mut window = self.shared.window.lock();
            let ordinal = window.push(id, end);
            window.done(ordinal);
            applier.book.update(&mut window, &[]).unwrap_or_default()
        };
        applier.conn.apply(&update, &mut Statements(&all)).await?;
        failpoint::hit("sync.ddl_after_passed").await?;
        applier.book.committed(&update, Vec::new());
        self.shared.lag.applied(self.assembler.timestamp());
        self.open = Open::default();
        Ok(())
    }

    /// What is to be executed for the statement: what the operator has decided, else what the statement says. `moves`
    /// gets what it means for online schema changes.
    async fn steps(
        &mut self,
        query: &QueryEvent,
        event: &BinlogEvent,
        end: &BinlogPosition,
        decided: Option<&StreamDecision>,
        moves: &mut Vec<Move>,
    ) -> Result<Vec<DdlStep>, Halt> {
        let mut steps = Vec::new();
        if let Some(decided) = decided {
            steps = self.decided_steps(query, end, decided)?;
        }
        let instead = decided.is_some_and(|decided| decided.op != StreamOp::Inject);
        let judged = match self.online.judge(&self.scope, query, self.reader.flavor()) {
            // What cannot be followed by itself is followed as an operator says.
            Err(_) if instead => None,
            judged => judged?,
        };
        if instead {
            let judged = judged.unwrap_or_default();
            moves.extend(judged.moves.into_iter().filter(|step| !matches!(step, Move::Collect { .. })));
            return Ok(steps);
        }
        let Some(judged) = judged else {
            let step = self.own_step(query, StepOrigin::Statement, end).await?;
            steps.extend(step);
            return Ok(steps);
        };
        for (name, query) in self.online_statements(&judged.moves, query, event, end).await? {
            steps.extend(self.own_step(&query, StepOrigin::Online(name), end).await?);
        }
        if let Some(rest) = &judged.rest {
            steps.extend(self.own_step(rest, StepOrigin::Statement, end).await?);
        }
        *moves = judged.moves;
        Ok(steps)
    }

    fn decided_steps(
        &self,
        query: &QueryEvent,
        end: &BinlogPosition,
        decided: &StreamDecision,
    ) -> Result<Vec<DdlStep>, CodedError> {
        let (source, target) = (self.reader.flavor(), self.target.clone());
        let servers = Servers { source, target: &target };
        tracing::warn!(location = %end, op = decided.op.as_str(),
            statements = decided.statements.len(), "a statement is handled as an operator decided");
        let mut steps = Vec::new();
        for (index, sql) in decided.statements.iter().enumerate() {
            match decide_operators(sql, &self.scope, servers)? {
                Decision::Execute(ddl) => steps.push(DdlStep {
                    ddl,
                    query: query.clone(),
                    origin: StepOrigin::Operator(decided.number, index),
                }),
                Decision::Skip(why) | Decision::NotMigrated(why) => {
                    tracing::warn!(why, "an operator's statement has nothing to do");
                }
            }
        }
        Ok(steps)
    }

    /// What a statement of the source comes to, behind the filters.
    async fn own_step(
        &mut self,
        query: &QueryEvent,
        origin: StepOrigin,
        end: &BinlogPosition,
    ) -> Result<Option<DdlStep>, CodedError> {
        let Some(query) = self.filtered(query).await?.map(Cow::into_owned) else { return Ok(None) };
        let (source, target) = (self.reader.flavor(), self.target.clone());
        let servers = Servers { source, target: &target };
        let gtid = self.assembler.gtid().cloned();
        let filter = self.filter.as_ref();
        let mut copied = filter
            .map(|filter| |table: &dmnode_model::TableName| filter.ddl_is_copied(table, end, gtid.as_ref()));
        let copied = copied.as_mut().map(|copied| copied as &mut (dyn FnMut(&_) -> _ + '_));
        match decide(&query, &self.scope, servers, copied)? {
            Decision::Execute(ddl) => Ok(Some(DdlStep { ddl, query, origin })),
            Decision::NotMigrated(kind) => {
                self.shared.passed_over(kind, &end.to_string());
                match kind {
                    SEQUENCE => self.shared.warn(NO_SEQUENCES.to_owned()),
                    "unknown" => self.shared.warn(NOT_KNOWN.to_owned()),
                    _ => {}
                }
                Ok(None)
            }
            Decision::Skip(why) => {
                tracing::debug!(location = %end, why, "statement skipped");
                Ok(None)
            }
        }
    }

    async fn execute(
        &mut self,
        event: &BinlogEvent,
        key: &TxnId,
        step: &DdlStep,
        place: &Place,
    ) -> Result<(), Halt> {
        let DdlStep { ddl, query, origin } = step;
        tracing::info!(location = %place.short, objects = ?ddl.objects, "executing a DDL");
        let (source, target) = (self.reader.flavor(), self.target.clone());
        let servers = Servers { source, target: &target };
        let settings = if matches!(origin, StepOrigin::Operator(..)) {
            session(&plain(query), event.header.timestamp, servers)
        } else {
            session(query, event.header.timestamp, servers)
        };
        let further = self.tables.ddl_settings(query, event.header.timestamp, source, &ddl.statements);
        let mut all = settings;
        all.extend(further.await.map_err(|error| error.at(&place.at))?);
        let applier = Arc::clone(&self.appliers[0]);
        let mut applier = applier.lock().await;
        let heartbeat = self.ctx.heartbeat.clone();
        let executed = heartbeat
            .while_pending(DDL_LIMIT, self.ddl.execute(&mut applier, key, &place.short, ddl, &all))
            .await;
        drop(applier);
        let error = match executed {
            Ok(()) => return Ok(()),
            Err(error) => match Halt::from(error) {
                Halt::Failed(error) if error.code == codes::DDL_REFUSED => error.at(&place.at),
                other => return Err(other),
            },
        };
        let text = query.sql_text().unwrap_or_default();
        let mode = query.sql_mode.map(|bits| SqlMode::from_bits(bits, source)).unwrap_or_default();
        let start = start_of(event);
        let refused = Refused {
            task: &self.ctx.task,
            start: &start,
            sources: &ddl.sources,
            objects: &ddl.objects,
            statement: &text,
            schema: &query.schema,
            mode,
        };
        let [source, target] = &self.endpoints;
        let explained = heartbeat.while_pending(EXPLAIN_LIMIT, explain(error, refused, source, target));
        Err(explained.await.into())
    }
}

/// One DDL to be executed.
struct DdlStep {
    ddl: Ddl,
    /// Whose session counts.
    query: QueryEvent,
    origin: StepOrigin,
}

/// Where a DDL comes from.
enum StepOrigin {
    /// The statement itself.
    Statement,
    /// An operator: number of the decision, and which of its statements.
    Operator(u64, usize),
    /// An online schema change: which of its statements.
    Online(String),
}

/// Where it is, for errors and for the log.
struct Place {
    at: String,
    short: String,
}

/// The identity under which a statement of an online schema change is noted.
fn id_online(id: &TxnId, name: &str) -> TxnId {
    TxnId::Position(BinlogPosition { file: format!("{id}~{name}"), pos: 0 })
}

/// Both ends of the event, as operators' scripts read them.
fn in_dms_words(start: &BinlogPosition, end: &BinlogPosition, id: &TxnId) -> String {
    let gtid = match id {
        TxnId::Gtid(gtid) => gtid.to_string(),
        TxnId::Position(_) => String::new(),
    };
    format!(
        "startLocation: [position: {start}, gtid-set: {gtid}], endLocation: [position: {end}, gtid-set: {gtid}]"
    )
}

/// An operator writes with ordinary quotes and backslashes, whatever the source's session did.
pub(super) fn plain(query: &QueryEvent) -> QueryEvent {
    const ANSI: u64 = 1 << 18;
    const ANSI_QUOTES: u64 = 1 << 2;
    const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;
    let mut query = query.clone();
    query.sql_mode = query.sql_mode.map(|bits| bits & !(ANSI | ANSI_QUOTES | NO_BACKSLASH_ESCAPES));
    query
}

/// The identity under which a statement of a decision is noted.
fn id_decided(id: &TxnId, (number, index): (u64, usize)) -> TxnId {
    TxnId::Position(BinlogPosition { file: format!("{id}#{number}/{index}"), pos: 0 })
}

impl Stream {
    /// Stores definitions that were derived; `due` leaves those that are young for later.
    pub(super) async fn save_definitions(&mut self, due: bool) -> Result<(), Halt> {
        let statements = self.tables.unsaved(due);
        if statements.is_empty() {
            return Ok(());
        }
        let applier = Arc::clone(&self.appliers[0]);
        let mut applier = applier.lock().await;
        let update = crate::progress::ProgressUpdate::unchanged();
        applier.conn.apply(&update, &mut Statements(&statements)).await?;
        Ok(())
    }
}

/// The identity under which a DDL inside a transaction is noted. A transaction without GTID is known by its end,
/// which is not reached yet: the statement's own end serves.
fn id_inside(id: &TxnId, number: u32) -> TxnId {
    match id {
        TxnId::Gtid(gtid) => TxnId::Position(BinlogPosition { file: format!("{gtid}/{number}"), pos: 0 }),
        TxnId::Position(position) => TxnId::Position(position.clone()),
    }
}
