//! Executing a DDL exactly once: a durable intent, the statement on the same connection, then the done mark.
//!
//! A DDL commits by itself, so it cannot share a transaction with the progress row. What happened to it after a crash
//! is told by evidence in the target (definitions, a marker table), never by hope.

use std::collections::HashMap;

use async_trait::async_trait;
use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::ids::{SourceId, TaskName, quote_ident};
use dmnode_model::policy::Fault;
use dmnode_mysql::{SqlError, hex};
use dmnode_schema::{split_operations, splitting_may_help, without_hints};
use sha2::{Digest, Sha256};

use super::applier::{Applier, Statement};
use super::ddl::{Ddl, Evidence, Object, show_create, stable};
use crate::failpoint;
use crate::progress::{ProgressStore, TxnId, text_literal};
use crate::target::{ApplierConnection, ApplyBody, ApplyError, TargetTransaction};

/// `ALGORITHM` or `LOCK` is not supported for an operation; with a reason.
const ALTER_NOT_SUPPORTED: u16 = 1845;
const ALTER_NOT_SUPPORTED_REASON: u16 = 1846;
/// How often a lost connection is survived within one statement.
const ATTEMPTS: u32 = 5;

/// An intent found in the target.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Intent {
    stage: String,
    digest: String,
    sql: String,
}

/// The stages of an intent, besides `intent` itself.
const DONE: &str = "done";
const REFUSED: &str = "refused";
/// Refused as a whole, and executed operation by operation since: the whole is not to be tried again.
const SPLIT: &str = "split";
/// Refused for its `ALGORITHM` or `LOCK`, and executed without them.
const PLAIN: &str = "plain";

/// The DDL table of one source, and the marker tables.
pub struct DdlLog {
    table: String,
    source: String,
    marker: String,
    marker_done: String,
    /// By transaction and statement number: what earlier generations have left.
    left: HashMap<(String, u32), Intent>,
}

impl DdlLog {
    /// Reads what earlier generations have left.
    pub async fn open(
        store: &ProgressStore,
        meta_schema: &str,
        task: &TaskName,
        source: &SourceId,
    ) -> Result<Self, CodedError> {
        let [marker, marker_done] = marker_names(task, source)
            .map(|name| format!("{}.{}", quote_ident(meta_schema), quote_ident(&name)));
        let table = store.table("dmnode_ddl");
        let source = text_literal(source.as_str());
        let mut conn = store.connect().await?;
        let rows = conn
            .query(format!(
                "SELECT txn_id, statement_no, stage, digest_before, sql_text FROM {table} WHERE source_id = {source}"
            ))
            .await
            .map_err(|error| crate::target::target_error(&error))?;
        conn.close().await;
        let left = rows
            .iter()
            .filter(|row| row.str(2).is_none_or(|stage| stage != REFUSED))
            .filter_map(|row| {
                let number = u32::try_from(row.u64(1)?).ok()?;
                let intent = Intent { stage: row.string(2)?, digest: row.string(3)?, sql: row.string(4)? };
                Some(((row.string(0)?, number), intent))
            })
            .collect();
        Ok(Self { table, source, marker, marker_done, left })
    }

    /// Executes the statements of one DDL; the transaction itself is finished by the caller.
    pub async fn execute(
        &mut self,
        applier: &mut Applier,
        id: &TxnId,
        place: &str,
        ddl: &Ddl,
        session: &[String],
    ) -> Result<(), ApplyError> {
        let last = ddl.statements.len();
        for (number, sql) in ddl.statements.iter().enumerate() {
            let key = (id.to_string(), u32::try_from(number).unwrap_or(u32::MAX));
            if number + 1 == last {
                return self.proper(applier, key, place, sql, ddl, session).await;
            }
            // What comes before the statement proper is preparation, which may be repeated.
            let step = Step { sql, evidence: Evidence::Repeatable };
            if let Some(error) = self.one(applier, &key, place, step, ddl, session).await? {
                self.mark(applier, &key, REFUSED).await?;
                return Err(refused(sql, place).cause(cause(&error)).into());
            }
        }
        Ok(())
    }

    /// The statement itself: whole where the target takes it, else without hints or operation by operation.
    async fn proper(
        &mut self,
        applier: &mut Applier,
        key: (String, u32),
        place: &str,
        sql: &str,
        ddl: &Ddl,
        session: &[String],
    ) -> Result<(), ApplyError> {
        let begun = self.left.get(&key).map(|intent| intent.stage.clone());
        let stage = match begun.as_deref() {
            Some(SPLIT) => SPLIT,
            Some(PLAIN) => PLAIN,
            _ => {
                let step = Step { sql, evidence: ddl.evidence };
                let Some(error) = self.one(applier, &key, place, step, ddl, session).await? else {
                    return Ok(());
                };
                let Some(stage) = other_way(sql, ddl, &error) else {
                    self.mark(applier, &key, REFUSED).await?;
                    return Err(refused(sql, place).cause(cause(&error)).into());
                };
                tracing::warn!(location = %place, error = %cause(&error), way = stage,
                    "the target refused a DDL as a whole: it is executed otherwise");
                // From here on the whole is not tried again: it would find its first operations done.
                self.mark(applier, &key, stage).await?;
                stage
            }
        };
        let parts = parts_of(sql, ddl, stage);
        if parts.is_empty() {
            return Err(
                unsure(sql, place, "it was begun operation by operation, and cannot be split now").into()
            );
        }
        for (index, part) in parts.iter().enumerate() {
            let number = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(key.1).saturating_add(1);
            let part_key = (key.0.clone(), number);
            if self.left.get(&part_key).is_some_and(|intent| intent.sql != *part) {
                let why = "it was begun in other operations than those it is split into now";
                return Err(unsure(sql, place, why).into());
            }
            let evidence = match ddl.evidence {
                // Each of them makes one name of another: the definitions tell.
                Evidence::Marker => Evidence::Definitions,
                other => other,
            };
            let step = Step { sql: part, evidence };
            if let Some(error) = self.one(applier, &part_key, place, step, ddl, session).await? {
                self.mark(applier, &part_key, REFUSED).await?;
                let done = match index {
                    0 => "none is executed".to_owned(),
                    _ => format!("executed are: {}", parts[..index].join("; ")),
                };
                let cause = format!("{} (operation {} of {}; {done})", cause(&error), index + 1, parts.len());
                return Err(refused(part, place).cause(cause).into());
            }
        }
        Ok(())
    }

    /// The statement that removes the traces of a DDL, and of the finished ones before it.
    pub fn clear_sql(&self, id: &TxnId) -> String {
        format!(
            "DELETE FROM {} WHERE source_id = {} AND (txn_id = {} OR stage = 'done')",
            self.table,
            self.source,
            text_literal(&id.to_string())
        )
    }

    /// The statement that removes all traces, when everything that was read is applied.
    pub fn clear_all_sql(&self) -> String {
        format!("DELETE FROM {} WHERE source_id = {}", self.table, self.source)
    }

    /// One statement, exactly once. The error is the target's refusal: it certainly did not happen.
    async fn one(
        &mut self,
        applier: &mut Applier,
        key: &(String, u32),
        place: &str,
        step: Step<'_>,
        ddl: &Ddl,
        session: &[String],
    ) -> Result<Option<SqlError>, ApplyError> {
        let Step { sql, evidence } = step;
        let mut found = self.left.remove(key);
        let mut attempt = 0;
        loop {
            if found.as_ref().is_some_and(|intent| intent.stage == DONE) {
                return Ok(None);
            }
            let digest = self.digest(&mut applier.conn, &ddl.objects, evidence).await?;
            if let Some(intent) = &found {
                match self.happened(evidence, &intent.digest, &digest) {
                    Some(true) => {
                        tracing::info!(location = %place, "an interrupted DDL had been executed");
                        return self.mark_done(applier, key).await.map(|()| None);
                    }
                    Some(false) => {}
                    None => {
                        return Err(refused(sql, place)
                            .cause("it was interrupted, and nothing in the target tells whether it took effect")
                            .remedy(format!(
                                "look; if it did, run UPDATE {} SET stage = 'done' WHERE source_id = {} AND txn_id = '{}'; if not, run it by hand and do the same; then resume-task",
                                self.table, self.source, key.0
                            ))
                            .into());
                    }
                }
            }
            let sql_to_run = if evidence == Evidence::Marker {
                self.with_marker(&mut applier.conn, sql).await?
            } else {
                sql.to_owned()
            };
            let digest = if evidence == Evidence::Marker { "marker".to_owned() } else { digest };
            let mut intent = Intend { sql: self.intent_sql(key, place, sql, &ddl.objects, &digest) };
            let update = crate::progress::ProgressUpdate::unchanged();
            applier.conn.apply(&update, &mut intent).await?;
            found = Some(Intent { stage: "intent".to_owned(), digest, sql: sql.to_owned() });
            failpoint::hit("sync.ddl_after_intent").await?;
            let result = run(&mut applier.conn, &sql_to_run, session).await;
            failpoint::hit("sync.ddl_after_execute").await?;
            match result {
                Ok(()) => return self.mark_done(applier, key).await.map(|()| None),
                Err(ApplyError::Sql(error))
                    if error.code().is_some_and(|code| ddl.tolerated.contains(&code)) =>
                {
                    tracing::warn!(location = %place, error = %error, "the target had it already");
                    return self.mark_done(applier, key).await.map(|()| None);
                }
                Err(ApplyError::Sql(error)) if error.is_connection_lost() && attempt < ATTEMPTS => {
                    attempt += 1;
                    tracing::warn!(location = %place, error = %error, "the connection was lost during a DDL");
                    applier.conn.replace().await?;
                }
                Err(ApplyError::Sql(error)) if error.is_transient_conflict() && attempt < ATTEMPTS => {
                    attempt += 1;
                    // The session carries the source's settings, under which definitions may be shown otherwise.
                    applier.conn.discard();
                }
                // Whether it happened is not certain, or it may be taken later: the intent stays open for the next attempt.
                Err(ApplyError::Sql(error)) if error.fault() != Fault::Refused => {
                    applier.conn.discard();
                    return Err(ApplyError::Sql(error));
                }
                Err(ApplyError::Sql(error)) => {
                    // It certainly did not happen: whatever is changed by hand from here on says nothing about it.
                    applier.conn.discard();
                    return Ok(Some(error));
                }
                Err(other) => return Err(other),
            }
        }
    }

    /// Did the statement take effect? `None`: nobody knows.
    fn happened(&self, evidence: Evidence, before: &str, now: &str) -> Option<bool> {
        match evidence {
            Evidence::Repeatable => Some(false),
            Evidence::Definitions => Some(before != now),
            Evidence::Marker => Some(now == "renamed"),
            Evidence::Person => None,
        }
    }

    async fn digest(
        &self,
        conn: &mut ApplierConnection,
        objects: &[Object],
        evidence: Evidence,
    ) -> Result<String, ApplyError> {
        if evidence == Evidence::Marker {
            let there = definition(conn, &format!("SHOW CREATE TABLE {}", self.marker_done)).await?;
            return Ok(if there.is_some() { "renamed" } else { "marker" }.to_owned());
        }
        let mut hasher = Sha256::new();
        for object in objects {
            match definition(conn, &show_create(object)).await? {
                Some(text) => hasher.update(stable(&text)),
                None => hasher.update("\0"),
            }
            hasher.update("\0\0");
        }
        Ok(hex(&hasher.finalize()))
    }

    /// The marker is renamed by the same atomic statement: where it is tells what happened to the others.
    async fn with_marker(&self, conn: &mut ApplierConnection, sql: &str) -> Result<String, ApplyError> {
        // Whoever was fenced must not touch the markers of its successor.
        conn.apply(&crate::progress::ProgressUpdate::unchanged(), &mut crate::target::NoRows).await?;
        let conn = conn.same_connection()?;
        conn.execute(format!("DROP TABLE IF EXISTS {}", self.marker_done)).await?;
        conn.execute(format!(
            "CREATE TABLE IF NOT EXISTS {} (id INT PRIMARY KEY) ENGINE=InnoDB",
            self.marker
        ))
        .await?;
        Ok(format!("{sql}, {} TO {}", self.marker, self.marker_done))
    }

    async fn mark_done(&self, applier: &mut Applier, key: &(String, u32)) -> Result<(), ApplyError> {
        // The session carries the settings of the source's session.
        applier.conn.discard();
        self.mark(applier, key, DONE).await
    }

    async fn mark(&self, applier: &mut Applier, key: &(String, u32), stage: &str) -> Result<(), ApplyError> {
        let sql = format!(
            "UPDATE {} SET stage = '{stage}' WHERE source_id = {} AND txn_id = {} AND statement_no = {}",
            self.table,
            self.source,
            text_literal(&key.0),
            key.1
        );
        let update = crate::progress::ProgressUpdate::unchanged();
        applier.conn.apply(&update, &mut Statement(&sql)).await
    }

    fn intent_sql(
        &self,
        key: &(String, u32),
        place: &str,
        sql: &str,
        objects: &[Object],
        digest: &str,
    ) -> String {
        let objects: Vec<String> = objects.iter().map(Object::quoted).collect();
        format!(
            "INSERT INTO {} (source_id, txn_id, statement_no, stage, sql_text, objects, digest_before, location) \
             VALUES ({}, {}, {}, 'intent', {}, {}, '{digest}', {}) \
             ON DUPLICATE KEY UPDATE stage = 'intent', digest_before = '{digest}'",
            self.table,
            self.source,
            text_literal(&key.0),
            key.1,
            text_literal(sql),
            text_literal(&objects.join(", ")),
            text_literal(place),
        )
    }
}

/// The tables that tell whether a RENAME took effect: before it the first one is there, after it the second.
/// Never longer than the 64 characters of a table's name.
pub(crate) fn marker_names(task: &TaskName, source: &SourceId) -> [String; 2] {
    let digest = hex(&Sha256::digest(format!("{task}\0{source}").as_bytes()));
    ["", "x"].map(|suffix| format!("{task}_dmnode_m{}{suffix}", &digest[..8]))
}

/// The statement under the source's settings, on the connection of the intent and no other.
async fn run(conn: &mut ApplierConnection, sql: &str, session: &[String]) -> Result<(), ApplyError> {
    let conn = conn.same_connection()?;
    for setting in session {
        conn.execute(setting).await.map_err(|error| {
            if error.is_connection_lost() {
                ApplyError::Sql(error)
            } else {
                CodedError::new(codes::DDL_REFUSED, "the target refused a setting that a DDL depends on")
                    .statement(setting)
                    .cause(&error)
                    .remedy("grant the target's user SESSION_VARIABLES_ADMIN (MySQL) or load the time zone tables, then resume-task")
                    .into()
            }
        })?;
    }
    conn.execute(sql).await?;
    Ok(())
}

/// `None` when the object does not exist.
async fn definition(conn: &mut ApplierConnection, show: &str) -> Result<Option<String>, ApplyError> {
    match conn.connection().await?.query_one(show).await {
        Ok(row) => Ok(row.and_then(|row| row.string(1))),
        // No such database, no such table.
        Err(error) if matches!(error.code(), Some(1049 | 1146)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// One statement for the target, and how a repetition of it is decided.
struct Step<'a> {
    sql: &'a str,
    evidence: Evidence,
}

/// The way on when the target has refused a statement for a reason that lies in its form.
fn other_way(sql: &str, ddl: &Ddl, error: &SqlError) -> Option<&'static str> {
    let code = error.code()?;
    if !splitting_may_help(code, &error.message, sql, ddl.mode) {
        return None;
    }
    let hints = matches!(code, ALTER_NOT_SUPPORTED | ALTER_NOT_SUPPORTED_REASON);
    let ways: &[&'static str] = if hints { &[PLAIN, SPLIT] } else { &[SPLIT, PLAIN] };
    ways.iter().copied().find(|way| !parts_of(sql, ddl, way).is_empty())
}

/// The statements of one way; none when it is not one for this statement.
fn parts_of(sql: &str, ddl: &Ddl, way: &str) -> Vec<String> {
    match way {
        PLAIN => without_hints(sql, ddl.mode).into_iter().collect(),
        _ if ddl.evidence == Evidence::Person => Vec::new(),
        _ => split_operations(sql, ddl.mode).unwrap_or_default(),
    }
}

fn cause(error: &SqlError) -> String {
    let code = error.code().unwrap_or(0);
    format!("ERROR {code}: {}", super::applier::without_values(code, &error.message))
}

/// Only a person can tell what is left to do.
fn unsure(sql: &str, place: &str, why: &str) -> CodedError {
    refused(sql, place).cause(why).remedy(
        "compare the table's definitions, do by hand in the target what is missing, then `binlog skip` the statement",
    )
}

fn refused(sql: &str, place: &str) -> CodedError {
    CodedError::new(codes::DDL_REFUSED, "the target refused a DDL").statement(sql).at(place)
}

/// The intent as the body of a transaction.
struct Intend {
    sql: String,
}

#[async_trait]
impl ApplyBody for Intend {
    async fn run(&mut self, transaction: &mut TargetTransaction<'_>) -> Result<(), ApplyError> {
        transaction.execute(&self.sql).await.map(|_| ())
    }
}
