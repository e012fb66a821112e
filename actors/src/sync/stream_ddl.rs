//! Statements of the stream: a barrier, then what [`super::ddl`] decides.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dmnode_model::BinlogPosition;
use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_mysql::BinlogEvent;

use super::change::describe;
use super::ddl::{CONTAINED, Decision, Servers, decide, session};
use super::stream::{Halt, Open, Stream};
use super::tracker::{Statements, Tracked};
use crate::progress::TxnId;

/// A DDL may take so long before the unit is taken for hung.
const DDL_LIMIT: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);

impl Stream {
    /// A statement: DDL, or something that must not be there.
    pub(super) async fn statement(
        &mut self,
        event: &BinlogEvent,
        query: &dmnode_mysql::QueryEvent,
        inside: bool,
        end: BinlogPosition,
    ) -> Result<(), Halt> {
        let id = self.assembler.identity(&end);
        // A statement that failed at the source and is in the binlog all the same changed nothing here only if it
        // is DDL; partly done changes of rows come as rows.
        if self.open.known {
            return if inside { Ok(()) } else { self.finish_empty(end).await };
        }
        let at = describe(&id, &end);
        let (source, target) = (self.reader.flavor(), self.target.clone());
        let servers = Servers { source, target: &target };
        let filtered = self.filtered(query).await.map_err(|error| error.at(&at))?;
        let query = filtered.as_deref().unwrap_or(query);
        let decision = if filtered.is_none() {
            Decision::Skip("left out by a filter")
        } else {
            let gtid = self.assembler.gtid().cloned();
            let filter = self.filter.as_ref();
            let mut copied = filter.map(|filter| {
                |table: &dmnode_model::TableName| filter.ddl_is_copied(table, &end, gtid.as_ref())
            });
            let copied = copied.as_mut().map(|copied| copied as &mut (dyn FnMut(&_) -> _ + '_));
            decide(query, &self.scope, servers, copied).map_err(|error| error.at(&at))?
        };
        match decision {
            Decision::Skip(why) => {
                tracing::debug!(location = %at, why, "statement skipped");
                self.shared.counters.skipped.fetch_add(1, Ordering::Relaxed);
                let tracked = if why == CONTAINED {
                    Tracked::default()
                } else {
                    self.tables.track(&self.scope, query, source, &at).await?
                };
                if inside || tracked.is_empty() {
                    if !inside {
                        self.finish_empty(end).await?;
                    }
                    return Ok(());
                }
                self.barrier().await?;
                self.scheduler.clear();
                self.passed(id, end, &tracked.statements).await
            }
            Decision::Execute(ddl) => {
                if !self.open.changes.is_empty() {
                    return Err(CodedError::new(
                        codes::DDL_UNSUPPORTED,
                        "a DDL stands after row changes in one transaction",
                    )
                    .at(at)
                    .into());
                }
                self.barrier().await?;
                tracing::info!(location = %at, objects = ?ddl.objects, "executing a DDL");
                let mut settings = session(query, event.header.timestamp, servers);
                let further =
                    self.tables.ddl_settings(query, event.header.timestamp, source, &ddl.statements);
                settings.extend(further.await.map_err(|error| error.at(&at))?);
                let applier = Arc::clone(&self.appliers[0]);
                let mut applier = applier.lock().await;
                // The number tells the statements of one transaction apart.
                let key = if inside { id_inside(&id, self.open.ddls) } else { id.clone() };
                self.open.ddls += 1;
                let heartbeat = self.ctx.heartbeat.clone();
                heartbeat
                    .while_pending(DDL_LIMIT, self.ddl.execute(&mut applier, &key, &at, &ddl, &settings))
                    .await?;
                self.shared.counters.ddls.fetch_add(1, Ordering::Relaxed);
                drop(applier);
                let tracked = self.tables.track(&self.scope, query, source, &at).await?;
                self.scheduler.clear();
                if !inside {
                    // The watermark passes the DDL together with the removal of its traces.
                    let mut statements = vec![self.ddl.clear_sql(&key)];
                    statements.extend(tracked.statements);
                    self.passed(id, end, &statements).await?;
                }
                Ok(())
            }
        }
    }

    /// Behind a barrier: the watermark passes a statement in one target transaction with what belongs to it.
    async fn passed(&mut self, id: TxnId, end: BinlogPosition, statements: &[String]) -> Result<(), Halt> {
        let applier = Arc::clone(&self.appliers[0]);
        let mut applier = applier.lock().await;
        self.reader.passed(end.clone(), self.assembler.gtid());
        let update = {
            let mut window = self.shared.window.lock();
            let ordinal = window.push(id, end);
            window.done(ordinal);
            applier.book.update(&mut window, &[]).unwrap_or_default()
        };
        applier.conn.apply(&update, &mut Statements(statements)).await?;
        applier.book.committed(&update, Vec::new());
        self.shared.lag.applied(self.assembler.timestamp());
        self.open = Open::default();
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
