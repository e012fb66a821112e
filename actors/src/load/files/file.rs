//! One file of rows, batch by batch: statements and the mark behind them in one target transaction.

use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::ids::TableName;
use dmnode_mysql::{ColumnType, TableInfo};
use tokio::sync::mpsc;

use super::catalog::{DataFile, open};
use super::marks::{Mark, Marks, damaged};
use super::splitter::{SplitError, Splitter};
use super::statement::{Meaning, meaning};
use crate::computed::Computed;
use crate::failpoint;
use crate::load::copy::{Expected, Written, truncated, undefaulted, without_values};
use crate::progress::{ProgressUpdate, SQL_MODE};
use crate::target::{ApplierConnection, ApplyBody, ApplyError, TargetTransaction};
use crate::unit::Heartbeat;

/// Statements of one transaction, by their size.
const BATCH_BYTES: usize = 4 << 20;
/// Pieces a file is read in, and how many of them wait.
const PIECE_BYTES: usize = 256 * 1024;
const PIECES: usize = 4;
/// What a statement has beside its rows when it goes to the target.
const PACKET_SLACK: usize = 64 * 1024;

/// A table that rows go to.
pub(super) struct LoadTable {
    pub source: TableName,
    pub target: TableName,
    /// Quoted; for statements that do not name them. `None` when they are not certain.
    pub columns: Option<String>,
    pub has_timestamps: bool,
    pub expected: Expected,
}

impl LoadTable {
    pub fn new(source: TableName, target: &TableInfo, columns: Option<String>) -> Self {
        let names = |which: fn(&ColumnType) -> bool| {
            target
                .columns
                .iter()
                .filter(move |column| which(&column.data_type))
                .map(|column| column.name.as_str())
        };
        let members = names(|data_type| matches!(data_type, ColumnType::Enum(_))).map(truncated);
        let vectors = names(|data_type| matches!(data_type, ColumnType::Vector(_))).map(undefaulted);
        Self {
            source,
            target: target.name.clone(),
            columns,
            has_timestamps: names(|data_type| matches!(data_type, ColumnType::Timestamp(_))).next().is_some(),
            expected: Expected { members: members.chain(vectors).collect(), computed: Computed::of(target) },
        }
    }
}

/// How the file's statements are to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct FileSession {
    names: Option<String>,
    time_zone: Option<String>,
    sql_mode: Option<String>,
}

/// What is set back behind each batch.
fn own_session() -> String {
    format!("SET NAMES utf8mb4; SET SESSION time_zone = '+00:00', sql_mode = '{SQL_MODE}'")
}

impl FileSession {
    /// Takes a setting over; an error names what cannot be honoured.
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "names" | "character_set_client" => {
                let charset = value.to_ascii_lowercase();
                if charset.is_empty()
                    || !charset.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                {
                    return Err(format!("SET NAMES {value}"));
                }
                self.names = Some(charset);
            }
            "time_zone" => self.time_zone = Some(value.to_owned()),
            "sql_mode" => {
                let upper = value.to_ascii_uppercase();
                let words = ["ANSI", "NO_BACKSLASH_ESCAPES", "ORACLE", "DB2", "MSSQL", "POSTGRESQL", "MAXDB"];
                if words.iter().any(|word| upper.contains(word)) {
                    return Err(format!("sql_mode {value}"));
                }
                self.sql_mode = Some(upper);
            }
            "foreign_key_checks"
            | "unique_checks"
            | "sql_notes"
            | "autocommit"
            | "sql_log_bin"
            | "character_set_results"
            | "collation_connection" => {}
            _ => return Err(format!("the setting {name}")),
        }
        Ok(())
    }

    /// mydumper writes bytes as they are in the column's character set, and the time zone; Dumpling writes `binary` too, but
    /// all its text is UTF-8.
    fn sql(&self, timezone: &str) -> String {
        let binary = self.names.as_deref() == Some("binary");
        let names = match &self.names {
            Some(_) if binary && self.time_zone.is_none() => "utf8mb4",
            Some(names) => names,
            None => "utf8mb4",
        };
        let fallback = if timezone.is_empty() { "+00:00" } else { timezone };
        let time_zone = self.time_zone.as_deref().unwrap_or(fallback);
        let sql_mode = self.sql_mode.as_deref().unwrap_or(SQL_MODE);
        format!("SET NAMES {names}; SET SESSION time_zone = '{time_zone}', sql_mode = '{sql_mode}'")
    }
}

/// What a batch does, in order.
enum Step {
    Session(String),
    Rows { sql: Vec<u8>, rows: u64, bare: u64 },
}

/// One transaction.
struct Batch<'a> {
    table: &'a LoadTable,
    file: &'a str,
    steps: &'a [Step],
    mark: Vec<u8>,
}

#[async_trait]
impl ApplyBody for Batch<'_> {
    async fn run(&mut self, transaction: &mut TargetTransaction<'_>) -> Result<(), ApplyError> {
        for step in self.steps {
            match step {
                Step::Session(sql) => {
                    transaction.execute_many(sql.as_bytes()).await?;
                }
                Step::Rows { sql, rows, bare } => self.write(transaction, sql, *rows, *bare).await?,
            }
        }
        transaction.execute_many(own_session().as_bytes()).await?;
        if transaction.execute(&self.mark).await?.affected_rows != 1 {
            return Err(damaged().object(self.file).into());
        }
        failpoint::hit("files.before_commit").await?;
        Ok(())
    }
}

impl Batch<'_> {
    async fn write(
        &self,
        transaction: &mut TargetTransaction<'_>,
        sql: &[u8],
        rows: u64,
        bare: u64,
    ) -> Result<(), ApplyError> {
        let summary = match transaction.execute(sql).await {
            Ok(summary) => summary,
            Err(error) => return Err(self.refused(error)),
        };
        let mut written = Written::default();
        written.add(transaction, &summary, &self.table.expected).await?;
        let members = written.error_members == 0 || written.error_members == bare;
        if written.rows == rows && written.warnings.is_empty() && members {
            return Ok(());
        }
        let texts: Vec<String> =
            written.warnings.iter().map(|warning| format!("{}: {}", warning.code, warning.text)).collect();
        Err(CodedError::new(
            codes::COPY_ROWS_REFUSED,
            "the target did not take the rows of a file as they are",
        )
        .object(format!("{} into {}", self.file, self.table.target))
        .cause(format!("{rows} rows in a statement, {} written; {}", written.rows, texts.join("; ")))
        .into())
    }

    /// A refusal by the target, without the row's values in it.
    fn refused(&self, error: ApplyError) -> ApplyError {
        let Some(code) = error.server_code().filter(|_| error.is_refusal()) else { return error };
        let (own, what) = match code {
            1062 | 1586 => (codes::COPY_DUPLICATE, "rows of a file exist in the target already"),
            _ => (codes::COPY_ROWS_REFUSED, "the target did not take the rows of a file"),
        };
        CodedError::new(own, what)
            .object(format!("{} into {}", self.file, self.table.target))
            .cause(format!("{code}: {}", without_values(&error.to_string())))
            .into()
    }
}

/// What loading a file needs.
pub(super) struct Loader<'a> {
    pub directory: &'a Path,
    pub marks: &'a Marks,
    /// The task's `timezone`, for files that do not say theirs.
    pub timezone: &'a str,
    /// The target's `max_allowed_packet`.
    pub packet: usize,
    pub heartbeat: &'a Heartbeat,
}

impl Loader<'_> {
    /// Loads what is missing of a file. Returns the number of rows that the file has.
    pub async fn load(
        &self,
        applier: &mut ApplierConnection,
        table: &LoadTable,
        file: &DataFile,
        mut mark: Mark,
    ) -> Result<u64, ApplyError> {
        let bad = |why: String| {
            ApplyError::from(
                CodedError::new(codes::DUMP_FILES, format!("a file cannot be loaded: {why}"))
                    .object(&file.name),
            )
        };
        let mut pieces = pieces(self.directory, &file.name);
        let mut splitter = Splitter::new(self.packet);
        let mut session = FileSession::default();
        let mut steps = Vec::new();
        let (mut bytes, mut seen, mut rows) = (0, 0u64, mark.rows);
        let mut statements = Vec::new();
        loop {
            let piece = pieces.recv().await.transpose().map_err(|err| bad(err.to_string()))?;
            self.heartbeat.beat();
            let ended = piece.is_none();
            let split = |error| match error {
                SplitError::TooLong => bad(format!(
                    "a statement is longer than the target's max_allowed_packet ({} bytes)",
                    self.packet
                )),
                SplitError::Unterminated => bad("it ends in the middle of a statement".to_owned()),
            };
            match piece {
                Some(piece) => splitter.push(&piece, &mut statements).map_err(split)?,
                None => std::mem::replace(&mut splitter, Splitter::new(0)).finish().map_err(split)?,
            }
            for statement in statements.drain(..) {
                let insert = match meaning(&statement) {
                    Meaning::Nothing => continue,
                    Meaning::Refused(what) => return Err(bad(format!("it has {what}"))),
                    Meaning::Set(settings) => {
                        for (name, value) in settings {
                            session.set(&name, &value).map_err(|what| bad(format!("it has {what}")))?;
                        }
                        if !steps.is_empty() {
                            steps.push(Step::Session(session.sql(self.timezone)));
                        }
                        continue;
                    }
                    Meaning::Insert(insert) => insert,
                };
                seen += 1;
                if seen <= mark.statements {
                    continue;
                }
                if insert.table != table.source.table.as_bytes() {
                    return Err(bad("it has rows of another table than its name says".to_owned()));
                }
                if table.has_timestamps && session.time_zone.is_none() && self.timezone.is_empty() {
                    return Err(bad("it has TIMESTAMP values and does not say in which time zone: give `timezone` in task.yaml".to_owned()));
                }
                let columns = match (&insert.columns, &table.columns) {
                    (Some(columns), _) => columns.as_slice(),
                    (None, Some(columns)) => columns.as_bytes(),
                    (None, None) => {
                        return Err(bad("its statements do not name the columns".to_owned()));
                    }
                };
                let values = statement.get(insert.rows_at..).unwrap_or_default();
                let sql =
                    [format!("INSERT INTO {} (", table.target).as_bytes(), columns, b") VALUES ", values]
                        .concat();
                if sql.len() + PACKET_SLACK.min(self.packet / 2) > self.packet {
                    return Err(split(SplitError::TooLong));
                }
                if steps.is_empty() {
                    steps.push(Step::Session(session.sql(self.timezone)));
                }
                bytes += sql.len();
                rows += insert.rows;
                steps.push(Step::Rows { sql, rows: insert.rows, bare: insert.bare });
                drop(statement);
                if bytes >= BATCH_BYTES {
                    let to = Mark { statements: seen, rows, done: false };
                    self.commit(applier, table, file, &steps, (mark, to)).await?;
                    mark = to;
                    steps.clear();
                    bytes = 0;
                }
            }
            if ended {
                break;
            }
        }
        if seen < mark.statements {
            return Err(bad("it has fewer statements than are loaded of it".to_owned()));
        }
        let to = Mark { statements: seen, rows, done: true };
        self.commit(applier, table, file, &steps, (mark, to)).await?;
        Ok(rows)
    }

    async fn commit(
        &self,
        applier: &mut ApplierConnection,
        table: &LoadTable,
        file: &DataFile,
        steps: &[Step],
        (from, to): (Mark, Mark),
    ) -> Result<(), ApplyError> {
        let mark = self.marks.advance_sql(&file.name, from, to);
        let mut batch = Batch { table, file: &file.name, steps, mark };
        applier.apply(&ProgressUpdate::unchanged(), &mut batch).await?;
        self.heartbeat.beat();
        failpoint::hit("files.after_commit").await?;
        Ok(())
    }
}

/// Reads a file in pieces, elsewhere. Nobody listening ends it.
fn pieces(directory: &Path, name: &str) -> mpsc::Receiver<std::io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(PIECES);
    let path = directory.join(name);
    tokio::task::spawn_blocking(move || {
        let mut reader = match open(&path) {
            Ok(reader) => reader,
            Err(error) => {
                let _ = sender.blocking_send(Err(error));
                return;
            }
        };
        loop {
            let mut buffer = vec![0; PIECE_BYTES];
            match reader.read(&mut buffer) {
                Ok(0) => return,
                Ok(len) => {
                    buffer.truncate(len);
                    if sender.blocking_send(Ok(buffer.into())).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let _ = sender.blocking_send(Err(error));
                    return;
                }
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_tools_are_understood() {
        let mut session = FileSession::default();
        session.set("names", "binary").unwrap();
        assert!(session.sql("").starts_with("SET NAMES utf8mb4;"), "Dumpling");
        assert!(session.sql("+08:00").contains("time_zone = '+08:00'"));
        session.set("time_zone", "+00:00").unwrap();
        assert!(
            session.sql("+08:00").starts_with("SET NAMES binary; SET SESSION time_zone = '+00:00'"),
            "mydumper"
        );
        session.set("foreign_key_checks", "0").unwrap();
        for (name, value) in [("sql_mode", "NO_BACKSLASH_ESCAPES"), ("names", "x y"), ("wsrep_on", "0")] {
            session.set(name, value).unwrap_err();
        }
    }
}
