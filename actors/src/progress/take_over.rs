//! Becoming the one who may write: the epoch is raised on all rows of the source, the former owner's connections
//! are ended, and what it had committed is read.

use std::sync::Arc;
use std::time::Duration;

use dmnode_model::codes;
use dmnode_model::config::{Endpoint, SubtaskConfig};
use dmnode_model::error::CodedError;
use dmnode_model::ids::{Epoch, SourceId, TaskName, quote_ident};
use dmnode_mysql::{Connection, ServerInfo, SessionOptions, SqlError, TextRow};
use tokio_util::sync::CancellationToken;

use super::{AppliedSet, ProgressUpdate, Watermark, read_location, text_literal};
use crate::definitions::DefinitionTable;
use crate::sync::online::Online;
use crate::target::{ApplierConnection, ApplyError, target_error};
use crate::unit::{Heartbeat, UnitContext};

/// Strict about values, and without the settings that change them on the way.
pub(crate) const SQL_MODE: &str = "NO_AUTO_VALUE_ON_ZERO,STRICT_TRANS_TABLES,ALLOW_INVALID_DATES";
/// Session variables of the task's `target-database: session:` that must not change what rows become.
const OWN_VARIABLES: [&str; 16] = [
    "sql_mode",
    "time_zone",
    "autocommit",
    "foreign_key_checks",
    "unique_checks",
    "names",
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "collation_connection",
    "transaction_isolation",
    "tx_isolation",
    "transaction_read_only",
    "tx_read_only",
    "sql_log_bin",
    "innodb_lock_wait_timeout",
];
/// Tries to get the former owner's locks; each lasts about the lock wait time-out.
const TAKE_OVER_ATTEMPTS: u32 = 60;
/// Tries of a take-over whose connection to the target is lost.
const CONNECTION_ATTEMPTS: u32 = 3;
/// How long a killed connection may take to vanish: what it had begun is rolled back first, which for a large
/// transaction or an ALTER TABLE takes about as long as it had worked.
const KILL_WAIT: Duration = Duration::from_secs(600);
/// KILL is repeated this often: a statement may not have noticed.
const KILL_EVERY: Duration = Duration::from_secs(5);

/// Where and for whom progress is kept.
#[derive(Clone)]
pub struct TargetSpec {
    /// The target server.
    pub endpoint: Endpoint,
    /// Schema of the meta tables.
    pub meta_schema: String,
    /// The task.
    pub task: TaskName,
    /// The source.
    pub source: SourceId,
    /// The epoch of the source's assignment to this node.
    pub epoch: Epoch,
    /// Identity of the cluster.
    pub cluster_id: String,
    /// Ends waiting for the target (back-off, reconnecting). A transaction under way is not interrupted by it.
    pub abort: CancellationToken,
    /// Beaten at every try, so that waiting for the target is not taken for a hang.
    pub heartbeat: Heartbeat,
}

impl TargetSpec {
    /// That of a unit, with what ends its waiting.
    pub fn of(ctx: &UnitContext, subtask: &SubtaskConfig, abort: CancellationToken) -> Self {
        Self {
            endpoint: subtask.target.clone(),
            meta_schema: subtask.meta_schema.clone(),
            task: subtask.task.clone(),
            source: subtask.source_id.clone(),
            epoch: ctx.epoch,
            cluster_id: ctx.cluster_id.clone(),
            abort,
            heartbeat: ctx.heartbeat.clone(),
        }
    }
}

/// What all appliers of one generation share.
pub(crate) struct TargetShared {
    endpoint: Endpoint,
    session: SessionOptions,
    pub(crate) progress_table: String,
    pub(crate) source_literal: String,
    pub(crate) epoch: Epoch,
    pub(crate) abort: CancellationToken,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) server: ServerInfo,
}

impl TargetShared {
    pub(crate) async fn connect(&self) -> Result<Connection, SqlError> {
        Connection::connect(&self.endpoint, &self.session).await
    }

    /// Ends another connection of ours and waits until it is gone. A connection of somebody else that happens to
    /// have the number (the server was restarted) is left alone. `Ok` when it is certainly gone.
    pub(crate) async fn kill(&self, conn: &mut Connection, id: u32) -> Result<(), Lives> {
        let started = tokio::time::Instant::now();
        let mut wait = Duration::from_millis(2);
        let mut killed: Option<tokio::time::Instant> = None;
        let mut told = false;
        loop {
            self.heartbeat.beat();
            match self.is_there(conn, id).await {
                Ok(false) => return Ok(()),
                Ok(true) => {}
                Err(error) if error.is_connection_lost() => return Err(Lives::Lost(error)),
                Err(error) if started.elapsed() > KILL_WAIT => {
                    return Err(Lives::Stays(format!("it cannot be looked for: {error}")));
                }
                Err(error) => {
                    tracing::warn!(error = %error, connection = id, "cannot look for a former connection, once more")
                }
            }
            if killed.is_none_or(|at| at.elapsed() > KILL_EVERY) {
                match conn.execute(format!("KILL {id}")).await {
                    Ok(_) => killed = Some(tokio::time::Instant::now()),
                    // It is gone already.
                    Err(error) if error.code() == Some(1094) => {}
                    Err(error) if error.is_connection_lost() => return Err(Lives::Lost(error)),
                    // It ended and its number may be somebody else's by the time of the KILL: look again.
                    Err(error) if started.elapsed() < KILL_EVERY => {
                        tracing::warn!(error = %error, connection = id, "a former connection is not killed, looking again");
                    }
                    Err(error) => return Err(Lives::Stays(error.to_string())),
                }
            }
            if !told && started.elapsed() > KILL_EVERY {
                told = true;
                tracing::warn!(
                    connection = id,
                    "a former connection is killed and still rolls back, waiting for it"
                );
            }
            if started.elapsed() > KILL_WAIT {
                return Err(Lives::Stays(format!("it is still there {} s after KILL", KILL_WAIT.as_secs())));
            }
            if self.abort.is_cancelled() {
                return Err(Lives::Stays("the unit is being stopped".to_owned()));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_millis(500));
        }
    }

    /// Whether a connection of our own account has this number.
    async fn is_there(&self, conn: &mut Connection, id: u32) -> Result<bool, SqlError> {
        let sql = format!(
            "SELECT 1 FROM information_schema.processlist \
             WHERE id = {id} AND id <> CONNECTION_ID() AND user = SUBSTRING_INDEX(USER(), '@', 1)"
        );
        match conn.query(&sql).await {
            Ok(rows) => Ok(!rows.is_empty()),
            // A server without the view, or that does not show it to the account: everybody may see their own.
            Err(error) if matches!(error.code(), Some(1109 | 1142 | 1146 | 1227)) => {
                let user = conn.query_one("SELECT SUBSTRING_INDEX(USER(), '@', 1)").await?;
                let user = user.and_then(|row| row.string(0));
                let (own, rows) = (conn.id(), conn.query("SHOW PROCESSLIST").await?);
                Ok(rows.iter().any(|row| row.u64(0) == Some(id.into()) && id != own && row.string(1) == user))
            }
            Err(error) => Err(error),
        }
    }

    /// `BEGIN` and the compare-and-set.
    pub(crate) fn begin_sql(
        &self,
        applier: u32,
        token: u64,
        sequence: u64,
        update: &ProgressUpdate,
    ) -> Vec<u8> {
        let mut sql = b"BEGIN;".to_vec();
        sql.extend_from_slice(&self.update_sql(applier, token, sequence, sequence + 1, update));
        sql.push(b';');
        sql
    }

    /// Changes the row from one sequence number to the other (or stays at it).
    pub(crate) fn update_sql(
        &self,
        applier: u32,
        token: u64,
        from: u64,
        to: u64,
        update: &ProgressUpdate,
    ) -> Vec<u8> {
        let mut sql = format!("UPDATE {} SET seq = {to}, conn_id = CONNECTION_ID()", self.progress_table);
        if let Some(watermark) = &update.watermark {
            sql.push_str(&format!(
                ", watermark_no = {}, watermark_file = {}, watermark_pos = {}, watermark_gtid = {}, flavor = {}",
                watermark.number,
                text_literal(&watermark.file),
                watermark.pos,
                optional_literal(watermark.gtid.as_deref()),
                optional_literal(watermark.flavor),
            ));
        }
        if let Some(applied) = &update.applied {
            sql.push_str(", applied = ");
            sql.push_str(&optional_literal(Some(applied.as_str()).filter(|text| !text.is_empty())));
        }
        sql.push_str(&format!(
            " WHERE source_id = {} AND applier = {applier} AND epoch = {} AND token = {token} AND seq = {from}",
            self.source_literal, self.epoch.0
        ));
        sql.into_bytes()
    }
}

fn optional_literal(text: Option<&str>) -> String {
    text.map_or_else(|| "NULL".to_owned(), text_literal)
}

/// Why a connection may still be there.
#[derive(Debug)]
pub(crate) enum Lives {
    /// It is there, or it is not known.
    Stays(String),
    /// The connection that looked for it was lost.
    Lost(SqlError),
}

impl std::fmt::Display for Lives {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stays(why) => f.write_str(why),
            Self::Lost(error) => error.fmt(f),
        }
    }
}

/// The progress table of one source in one task.
pub struct ProgressStore {
    spec: TargetSpec,
    shared: Arc<TargetShared>,
}

/// The result of a take-over.
pub struct TakeOver {
    /// One connection per applier, not yet opened. Only these can write.
    pub appliers: Vec<ApplierConnection>,
    /// Up to where everything is applied; `None` when nothing was recorded yet.
    pub watermark: Option<Watermark>,
    /// What is applied beyond the watermark.
    pub applied: AppliedSet,
}

impl ProgressStore {
    /// Connects, looks at the target server and creates the meta tables that are missing.
    pub async fn open(spec: TargetSpec) -> Result<Self, CodedError> {
        let mut endpoint = spec.endpoint.clone();
        endpoint.session.retain(|name, _| {
            let kept = !OWN_VARIABLES.contains(&name.trim().to_ascii_lowercase().as_str());
            if !kept {
                tracing::warn!(variable = %name, "a session variable of the target is set by the task itself, the configured value is not used");
            }
            kept
        });
        let session = SessionOptions {
            time_zone: Some("+00:00".into()),
            sql_mode: Some(SQL_MODE.into()),
            charset: "utf8mb4",
            foreign_key_checks: Some(false),
            isolation_read_committed: false,
            found_rows: true,
            extra: vec![
                ("unique_checks".into(), "1".into()),
                ("autocommit".into(), "1".into()),
                ("innodb_lock_wait_timeout".into(), "10".into()),
            ],
            local_infile: true,
            ..SessionOptions::default()
        };
        let mut conn = Connection::connect(&endpoint, &session).await.map_err(|err| target_error(&err))?;
        let server = ServerInfo::probe(&mut conn).await.map_err(|err| target_error(&err))?;
        let read_committed = !(server.log_bin && server.binlog_format.eq_ignore_ascii_case("STATEMENT"));
        let session = SessionOptions { isolation_read_committed: read_committed, ..session };
        let table = |suffix: &str| table_name(&spec.meta_schema, &spec.task, suffix);
        for sql in create_tables(&spec) {
            conn.execute(&sql).await.map_err(|err| {
                target_error(&err).object(quote_ident(&spec.meta_schema)).remedy(
                    "the target's user needs CREATE, SELECT, INSERT, UPDATE, DELETE on the meta schema",
                )
            })?;
        }
        crate::sync::dm::upgrade_layout(&mut conn, &table("syncer_checkpoint"))
            .await
            .map_err(|err| target_error(&err).object(quote_ident(&spec.meta_schema)))?;
        Online::upgrade_layout(&mut conn, &table(crate::sync::online::SUFFIX))
            .await
            .map_err(|err| target_error(&err).object(quote_ident(&spec.meta_schema)))?;
        super::meta::check_version(&mut conn, &spec.meta_schema, &spec.task).await?;
        let shared = TargetShared {
            endpoint,
            session,
            progress_table: table("dmnode_progress"),
            source_literal: text_literal(spec.source.as_str()),
            epoch: spec.epoch,
            abort: spec.abort.clone(),
            heartbeat: spec.heartbeat.clone(),
            server,
        };
        conn.close().await;
        Ok(Self { spec, shared: Arc::new(shared) })
    }

    /// What is known of the target server.
    pub fn server(&self) -> &ServerInfo {
        &self.shared.server
    }

    /// A further connection with the appliers' session, for reading.
    pub async fn connect(&self) -> Result<Connection, CodedError> {
        self.shared.connect().await.map_err(|err| target_error(&err))
    }

    /// The full, quoted name of one of the task's meta tables.
    pub fn table(&self, suffix: &str) -> String {
        table_name(&self.spec.meta_schema, &self.spec.task, suffix)
    }

    /// The watermark as it is recorded, without taking over.
    pub async fn read_watermark(&self) -> Result<Option<Watermark>, CodedError> {
        let mut conn = self.connect().await?;
        let rows = conn.query(&self.select("")).await.map_err(|err| target_error(&err))?;
        Ok(Rows::read(&rows)?.watermark)
    }

    fn select(&self, suffix: &str) -> String {
        format!(
            "SELECT applier, epoch, seq, conn_id, watermark_no, watermark_file, watermark_pos, watermark_gtid, \
             flavor, applied, cluster_id FROM {} WHERE source_id = {} ORDER BY applier {suffix}",
            self.shared.progress_table, self.shared.source_literal
        )
    }

    /// Fences every former owner and generation, and gives this one `count` appliers. Afterwards nothing that
    /// others have begun can be committed any more.
    pub async fn take_over(&self, count: u32) -> Result<TakeOver, ApplyError> {
        let mut attempt = 0;
        loop {
            match self.try_take_over(count).await {
                // Nothing is decided before its COMMIT, and a repeated take-over gives a token of its own.
                Err(error) if error.is_connection_lost() && attempt < CONNECTION_ATTEMPTS => {
                    attempt += 1;
                    tracing::warn!(attempt, error = %error, "the target was lost during the take-over, once more");
                    tokio::select! {
                        () = self.shared.abort.cancelled() => return Err(ApplyError::Cancelled),
                        () = tokio::time::sleep(Duration::from_secs(1)) => {}
                    }
                    self.shared.heartbeat.beat();
                }
                other => return other,
            }
        }
    }

    async fn try_take_over(&self, count: u32) -> Result<TakeOver, ApplyError> {
        let count = count.max(1);
        let mut conn = self.shared.connect().await?;
        conn.execute("SET SESSION innodb_lock_wait_timeout = 1").await?;
        // Among concurrent first owners the row decides; nobody's row is overwritten here.
        let mut attempt = 0;
        let rows = loop {
            self.shared.heartbeat.beat();
            match self.lock_rows(&mut conn).await {
                Ok(rows) => break rows,
                Err(ApplyError::Sql(error))
                    if error.is_transient_conflict() && attempt < TAKE_OVER_ATTEMPTS =>
                {
                    attempt += 1;
                    tracing::info!(attempt, error = %error, "the former owner holds the progress rows, ending its connections");
                    conn.execute("ROLLBACK").await?;
                    self.kill_former(&mut conn).await?;
                }
                Err(error) => return Err(error),
            }
            if self.shared.abort.is_cancelled() {
                return Err(ApplyError::Cancelled);
            }
        };
        self.check_epoch(&rows)?;
        // Whatever the former owner still has running (a DDL above all) ends before anything is looked at; while the
        // rows are locked here it cannot begin anything new.
        for id in &rows.connections {
            if let Err(why) = self.shared.kill(&mut conn, *id).await {
                if let Lives::Lost(error) = why {
                    return Err(error.into());
                }
                return Err(CodedError::new(
                    codes::TAKE_OVER,
                    format!("connection {id} of the former owner cannot be ended"),
                )
                .cause(why)
                .object(self.shared.progress_table.clone())
                .remedy("end it in the target (KILL); the take-over is tried again")
                .into());
            }
        }
        let token: u64 = rand::random();
        let sequence = rows.sequence + 1;
        conn.execute(format!(
            "DELETE FROM {} WHERE source_id = {} AND applier >= {count}",
            self.shared.progress_table, self.shared.source_literal
        ))
        .await?;
        conn.execute(self.rewrite_sql(&rows, count, token, sequence)).await?;
        // When the answer to this is lost the unit fails and takes over again: a token of its own each time.
        conn.execute("COMMIT").await?;
        conn.close().await;
        let appliers = (0..count)
            .map(|index| ApplierConnection::new(Arc::clone(&self.shared), index, token, sequence))
            .collect();
        Ok(TakeOver { appliers, watermark: rows.watermark, applied: rows.applied })
    }

    async fn lock_rows(&self, conn: &mut Connection) -> Result<Rows, ApplyError> {
        let select = self.select("FOR UPDATE");
        conn.execute("BEGIN").await?;
        let mut found = conn.query(&select).await?;
        if found.is_empty() {
            conn.execute("ROLLBACK").await?;
            conn.execute(format!(
                "INSERT IGNORE INTO {} (source_id, applier, epoch, token, seq) VALUES ({}, 0, 0, 0, 0)",
                self.shared.progress_table, self.shared.source_literal
            ))
            .await?;
            conn.execute("BEGIN").await?;
            found = conn.query(&select).await?;
        }
        Ok(Rows::read(&found)?)
    }

    fn check_epoch(&self, rows: &Rows) -> Result<(), ApplyError> {
        if rows.cluster.as_deref().is_some_and(|cluster| cluster != self.spec.cluster_id) {
            tracing::warn!(
                task = %self.spec.task, source = %self.spec.source,
                "the progress in the target was written by another cluster; it is taken over"
            );
            return Ok(());
        }
        if rows.epoch > self.spec.epoch.0 {
            return Err(ApplyError::Fenced(format!(
                "epoch {} owns the source in the target, this node has epoch {}",
                rows.epoch, self.spec.epoch.0
            )));
        }
        Ok(())
    }

    /// Ends the connections named in the rows, also by transactions that are still open.
    async fn kill_former(&self, conn: &mut Connection) -> Result<(), ApplyError> {
        conn.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED").await?;
        let rows = conn.query(&self.select("")).await;
        conn.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
        let rows = Rows::read(&rows?)?;
        // A higher epoch may be at work already: it is not to be disturbed.
        self.check_epoch(&rows)?;
        for id in &rows.connections {
            if let Err(why) = self.shared.kill(conn, *id).await {
                tracing::warn!(connection = id, why = %why, "a connection of the former owner cannot be ended yet");
            }
        }
        Ok(())
    }

    fn rewrite_sql(&self, rows: &Rows, count: u32, token: u64, sequence: u64) -> String {
        let watermark = rows.watermark.as_ref().map(super::WatermarkText::new);
        let cluster = text_literal(&self.spec.cluster_id);
        let mut sql = format!(
            "INSERT INTO {} (source_id, applier, epoch, token, seq, conn_id, watermark_no, watermark_file, \
             watermark_pos, watermark_gtid, flavor, applied, cluster_id) VALUES ",
            self.shared.progress_table
        );
        for applier in 0..count {
            let position = match &watermark {
                Some(w) => format!(
                    "{}, {}, {}, {}, {}",
                    w.number,
                    text_literal(&w.file),
                    w.pos,
                    optional_literal(w.gtid.as_deref()),
                    optional_literal(w.flavor)
                ),
                None => "0, NULL, NULL, NULL, NULL".to_owned(),
            };
            let applied = (applier == 0 && !rows.applied.is_empty()).then(|| rows.applied.to_string());
            sql.push_str(&format!(
                "{}({}, {applier}, {}, {token}, {sequence}, NULL, {position}, {}, {cluster})",
                if applier > 0 { ", " } else { "" },
                self.shared.source_literal,
                self.spec.epoch.0,
                optional_literal(applied.as_deref()),
            ));
        }
        sql.push_str(
            " ON DUPLICATE KEY UPDATE epoch = VALUES(epoch), token = VALUES(token), seq = VALUES(seq), \
             conn_id = VALUES(conn_id), watermark_no = VALUES(watermark_no), \
             watermark_file = VALUES(watermark_file), watermark_pos = VALUES(watermark_pos), \
             watermark_gtid = VALUES(watermark_gtid), flavor = VALUES(flavor), applied = VALUES(applied), \
             cluster_id = VALUES(cluster_id)",
        );
        sql
    }
}

/// The rows of one source, put together.
#[derive(Default)]
struct Rows {
    epoch: u64,
    sequence: u64,
    connections: Vec<u32>,
    watermark: Option<Watermark>,
    applied: AppliedSet,
    cluster: Option<String>,
}

impl Rows {
    fn read(rows: &[TextRow]) -> Result<Self, CodedError> {
        let mut all = Self::default();
        for row in rows {
            all.add(row).map_err(|why| {
                CodedError::new(codes::PROGRESS_ROW, "a progress row in the target cannot be read")
                    .cause(why)
                    .remedy("it was changed by hand or by a newer version; restore it, or start with --remove-meta")
            })?;
        }
        all.prune();
        Ok(all)
    }

    /// What the watermark has passed need not be remembered; rows of other appliers may still name it.
    fn prune(&mut self) {
        if let Some(watermark) = &self.watermark {
            self.applied.prune(&watermark.location);
        }
    }

    fn add(&mut self, row: &TextRow) -> Result<(), String> {
        let text = |index: usize| row.str(index).map(|text| text.into_owned());
        let number =
            |index: usize, name: &str| row.u64(index).ok_or_else(|| format!("`{name}` is not a number"));
        self.epoch = self.epoch.max(number(1, "epoch")?);
        self.sequence = self.sequence.max(number(2, "seq")?);
        if let Some(id) = row.u64(3).and_then(|id| u32::try_from(id).ok()) {
            self.connections.push(id);
        }
        let watermark_number = number(4, "watermark_no")?;
        if let (Some(file), Some(pos)) = (text(5), row.u64(6))
            && self.watermark.as_ref().is_none_or(|best| watermark_number > best.number)
        {
            let location = read_location(file, pos, text(7).as_deref(), text(8).as_deref())?;
            self.watermark = Some(Watermark { number: watermark_number, location });
        }
        if let Some(applied) = text(9) {
            self.applied.union(&AppliedSet::parse(&applied)?);
        }
        self.cluster = self.cluster.take().or_else(|| text(10).filter(|cluster| !cluster.is_empty()));
        Ok(())
    }
}

/// The full, quoted name of a task's meta table.
pub(crate) fn table_name(meta_schema: &str, task: &TaskName, suffix: &str) -> String {
    format!("{}.{}", quote_ident(meta_schema), quote_ident(&format!("{task}_{suffix}")))
}

fn create_tables(spec: &TargetSpec) -> Vec<String> {
    let table = |suffix: &str| table_name(&spec.meta_schema, &spec.task, suffix);
    let options = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin";
    vec![
        format!("CREATE DATABASE IF NOT EXISTS {} DEFAULT CHARSET utf8mb4", quote_ident(&spec.meta_schema)),
        format!(
            "CREATE TABLE IF NOT EXISTS {} (\
             source_id VARCHAR(64) NOT NULL, applier INT NOT NULL, epoch BIGINT UNSIGNED NOT NULL, \
             token BIGINT UNSIGNED NOT NULL, seq BIGINT UNSIGNED NOT NULL, conn_id BIGINT UNSIGNED NULL, \
             watermark_no BIGINT UNSIGNED NOT NULL DEFAULT 0, watermark_file VARCHAR(255) NULL, \
             watermark_pos BIGINT UNSIGNED NULL, watermark_gtid LONGTEXT NULL, flavor VARCHAR(16) NULL, \
             applied LONGTEXT NULL, cluster_id VARCHAR(64) NULL, \
             updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), \
             PRIMARY KEY (source_id, applier)) {options}",
            table("dmnode_progress")
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {} (\
             source_id VARCHAR(64) NOT NULL, txn_id VARCHAR(300) NOT NULL, statement_no INT NOT NULL, \
             stage VARCHAR(16) NOT NULL, sql_text LONGTEXT NOT NULL, objects LONGTEXT NOT NULL, \
             digest_before VARCHAR(64) NOT NULL, location TEXT NOT NULL, \
             updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), \
             PRIMARY KEY (source_id, txn_id, statement_no)) {options}",
            table("dmnode_ddl")
        ),
        DefinitionTable::create_sql(&table(crate::definitions::SUFFIX)),
        Online::create_sql(&table(crate::sync::online::SUFFIX)),
        format!(
            "CREATE TABLE IF NOT EXISTS {} (\
             id VARCHAR(32) NOT NULL, cp_schema VARCHAR(128) NOT NULL, cp_table VARCHAR(128) NOT NULL, \
             binlog_name VARCHAR(128), binlog_pos INT UNSIGNED, binlog_gtid TEXT, \
             exit_safe_binlog_name VARCHAR(128) DEFAULT '', exit_safe_binlog_pos INT UNSIGNED DEFAULT 0, \
             exit_safe_binlog_gtid TEXT, table_info JSON NOT NULL, is_global BOOLEAN, \
             create_time timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, \
             update_time timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, \
             UNIQUE KEY uk_id_schema_table (id, cp_schema, cp_table))",
            table("syncer_checkpoint")
        ),
        super::meta::Facts::create_sql(&spec.meta_schema, &spec.task),
    ]
}
