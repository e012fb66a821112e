//! A transaction that cannot be committed without its compare-and-set.

use std::time::Duration;

use bytes::Bytes;
use dmnode_mysql::{Connection, ExecSummary, MultiError, SqlError, TextRow};

use super::ApplyError;
use crate::unit::Heartbeat;

/// A server may take so long for one packet of row changes, or for the commit of a large transaction, before the
/// unit is taken for hung.
const ANSWER_LIMIT: Duration = Duration::from_secs(600);

/// Larger texts are sent after the prefix, not with it.
const TRAVELS_WITH_PREFIX: usize = 1 << 20;

/// A connection that has sent more than this at once is not used for a further transaction.
const KEPT_BUFFER: usize = 4 << 20;

/// What a packet holds beside a statement's text.
const PACKET_MARGIN: usize = 64;

/// Parameters of together more than a protocol frame are sent before their statement, in pieces of about this size.
const FRAME: usize = 0x00ff_ffff;

/// The most that the server must take at once (its `max_allowed_packet`) for a statement with parameters of these sizes.
/// Parameters that travel on their own count one by one: the server adds up the pieces of each.
pub(crate) fn packet_needed(sql: usize, parameters: &[usize], packet_max: usize) -> usize {
    let whole = sql + parameters.iter().sum::<usize>() + PACKET_MARGIN;
    if parameters.is_empty() || whole < FRAME || packet_max <= FRAME + PACKET_MARGIN {
        return whole;
    }
    parameters.iter().copied().max().unwrap_or(0).max(sql) + PACKET_MARGIN
}

/// Statements in the prefix: `BEGIN` and the compare-and-set.
const PREFIX_STATEMENTS: usize = 2;

/// One open transaction. Only [`super::ApplierConnection::apply`] makes and commits one.
///
/// `BEGIN` and the compare-and-set travel with the first statements of the body, which saves a round trip. When
/// the compare-and-set turns out not to match, what followed it is rolled back.
pub struct TargetTransaction<'a> {
    conn: &'a mut Connection,
    heartbeat: &'a Heartbeat,
    /// `BEGIN; UPDATE …;`, until it is sent.
    prefix: Option<&'a [u8]>,
    moved: bool,
    /// The driver keeps buffers of the size of the largest packet for as long as the connection lives.
    swollen: bool,
    /// What the last statement's warnings were, where they cannot be asked for any more.
    listed: Option<Vec<TextRow>>,
}

impl<'a> TargetTransaction<'a> {
    pub(super) fn new(conn: &'a mut Connection, heartbeat: &'a Heartbeat, prefix: &'a [u8]) -> Self {
        Self { conn, heartbeat, prefix: Some(prefix), moved: false, swollen: false, listed: None }
    }

    /// Sends what begins the transaction unless that has been done.
    pub(super) async fn ensure_begun(&mut self) -> Result<(), ApplyError> {
        if let Some(prefix) = self.prefix.take() {
            match self.heartbeat.while_pending(ANSWER_LIMIT, self.conn.execute_many(prefix.to_vec())).await {
                Ok(summaries) => self.check(&summaries)?,
                Err(error) => return Err(error.error.into()),
            }
        }
        if self.moved { Err(ApplyError::Moved) } else { Ok(()) }
    }

    fn check(&mut self, summaries: &[ExecSummary]) -> Result<(), ApplyError> {
        match summaries.get(1) {
            Some(summary) if summary.affected_rows == 1 => Ok(()),
            Some(_) => {
                self.moved = true;
                Err(ApplyError::Moved)
            }
            // The compare-and-set itself failed; the caller has the server's error.
            None => Ok(()),
        }
    }

    pub(super) fn has_moved(&self) -> bool {
        self.moved
    }

    /// Several statements in one round trip, one summary each. On an error, those before the failing one have
    /// taken effect in this transaction.
    pub async fn execute_many(&mut self, sql: &[u8]) -> Result<Vec<ExecSummary>, ApplyError> {
        self.listed = None;
        if sql.len() > TRAVELS_WITH_PREFIX {
            // Together they might be more than the server takes in one packet.
            self.ensure_begun().await?;
        }
        let Some(prefix) = self.prefix.take() else {
            if self.moved {
                return Err(ApplyError::Moved);
            }
            return Ok(self
                .heartbeat
                .while_pending(ANSWER_LIMIT, self.conn.execute_many(sql.to_vec()))
                .await?);
        };
        let mut all = Vec::with_capacity(prefix.len() + sql.len());
        all.extend_from_slice(prefix);
        all.extend_from_slice(sql);
        match self.heartbeat.while_pending(ANSWER_LIMIT, self.conn.execute_many(all)).await {
            Ok(mut summaries) => {
                self.check(&summaries)?;
                Ok(summaries.split_off(PREFIX_STATEMENTS.min(summaries.len())))
            }
            Err(mut error) => {
                // A failing row statement after a compare-and-set that did not match means nothing.
                self.check(&error.done)?;
                if error.index < PREFIX_STATEMENTS {
                    return Err(error.error.into());
                }
                error.index -= PREFIX_STATEMENTS;
                error.done.drain(..PREFIX_STATEMENTS.min(error.done.len()));
                Err(MultiError { ..error }.into())
            }
        }
    }

    /// One statement.
    pub async fn execute(&mut self, sql: impl AsRef<[u8]>) -> Result<ExecSummary, ApplyError> {
        self.listed = None;
        self.ensure_begun().await?;
        Ok(self.heartbeat.while_pending(ANSWER_LIMIT, self.conn.execute(sql)).await?)
    }

    /// One prepared statement, whose parameters are binary strings.
    pub async fn execute_prepared(
        &mut self,
        sql: &[u8],
        parameters: Vec<Vec<u8>>,
    ) -> Result<ExecSummary, ApplyError> {
        self.ensure_begun().await?;
        self.swollen |= parameters.iter().map(Vec::len).sum::<usize>() > KEPT_BUFFER;
        let run = self.conn.execute_prepared(sql, parameters);
        let (summary, listed) = self.heartbeat.while_pending(ANSWER_LIMIT, run).await?;
        self.listed = Some(listed);
        Ok(summary)
    }

    /// The warnings of the last statement.
    pub async fn warnings(&mut self) -> Result<Vec<TextRow>, ApplyError> {
        match self.listed.take() {
            Some(listed) => Ok(listed),
            None => self.query("SHOW WARNINGS").await,
        }
    }

    /// Whether the connection holds more memory than it is worth.
    pub(super) fn is_swollen(&self) -> bool {
        self.swollen
    }

    /// Rows of a query inside the transaction.
    pub async fn query(&mut self, sql: impl AsRef<[u8]>) -> Result<Vec<TextRow>, ApplyError> {
        self.ensure_begun().await?;
        Ok(self.conn.query(sql).await?)
    }

    /// Changes the progress row once more, for transactions whose identity is known only at their end.
    pub(crate) async fn set_progress(&mut self, sql: &[u8]) -> Result<(), ApplyError> {
        self.ensure_begun().await?;
        if self.conn.execute(sql).await?.affected_rows == 1 {
            Ok(())
        } else {
            self.moved = true;
            Err(ApplyError::Moved)
        }
    }

    /// `LOAD DATA LOCAL`, fed from a channel.
    pub async fn load_data(
        &mut self,
        sql: &str,
        data: tokio::sync::mpsc::Receiver<Bytes>,
    ) -> Result<ExecSummary, ApplyError> {
        self.listed = None;
        self.ensure_begun().await?;
        Ok(self.conn.load_data(sql, data).await?)
    }

    /// Any error here leaves the outcome unknown.
    pub(super) async fn commit(self) -> Result<(), SqlError> {
        self.heartbeat.while_pending(ANSWER_LIMIT, self.conn.execute("COMMIT")).await.map(|_| ())
    }

    /// Undoes everything; `false` when the connection is of no use any more.
    pub(super) async fn rollback(self) -> bool {
        // A statement list that was cut short may have left foreign key checks on.
        !self.conn.is_closed()
            && self.conn.execute("ROLLBACK").await.is_ok()
            && self.conn.execute("SET foreign_key_checks = 0").await.is_ok()
    }
}
