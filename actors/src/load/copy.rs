//! Copies one chunk within a target transaction ([`super::parcel`]): the rows, and the statement that says they are there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::ids::TableName;
use dmnode_model::position::Location;
use dmnode_mysql::{
    Connection, ExecSummary, RowStream, SqlError, TextRow, json_is_typed_sql, json_types_sql,
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::chunks::{Chunk, ChunkTable, DoneChunk};
use super::columns::CopyColumn;
use super::inventory::{identity, source_error};
use super::key::{KeyPart, condition};
use super::progress::{CopyCounters, earned};
use super::text::{
    BUFFER_BYTES, LoadText, RowSize, insert_head, load_statement, push_long_values, push_values,
};
use crate::computed::Computed;
use crate::failpoint;
use crate::target::{ApplyError, TargetTransaction, packet_needed};
use crate::unit::Heartbeat;

/// Buffers between reader and loader. With their size this bounds the memory of a worker.
const BUFFERS: usize = 4;
/// Size of one INSERT.
const INSERT_BYTES: usize = 1 << 20;
/// Patience with a reader that is slower than the network, and all warnings, so that each can be looked at.
pub(super) const SESSION: &[u8] = b"SET SESSION net_read_timeout = 7200, max_error_count = 65535";
/// Warnings that say nothing about the rows: a deprecated character set, collation or syntax.
const HARMLESS: [u64; 5] = [1287, 1681, 3719, 3720, 3778];
/// No server takes less in a packet.
const PACKET_LEAST: usize = 1024;
/// What a packet holds beside the statement.
const PACKET_SLACK: usize = 64;
/// "Data truncated for column": what a server says to the error value of an ENUM.
const TRUNCATED: u64 = 1265;
/// "Field doesn't have a default value": what it says to an empty vector.
const NO_DEFAULT: u64 = 1364;
/// As many warnings as a server lists.
const WARNINGS_MOST: u64 = 65_535;
/// The readers' place to return to.
pub(super) const SAVEPOINT: &str = "dmnode_chunk";

/// A chunk to be copied.
#[derive(Clone)]
pub(super) struct Job {
    pub table: Arc<JobTable>,
    pub chunk: Chunk,
    /// What the chunk counts for in the progress.
    pub weight: u64,
}

/// What the chunks of a table share.
pub(super) struct JobTable {
    pub source: TableName,
    pub target: TableName,
    pub transactional: bool,
    pub digest: String,
    /// The columns the chunks are ranges of.
    pub key: Vec<KeyPart>,
    /// The task's own condition on rows.
    pub condition: String,
    pub columns: Vec<CopyColumn>,
    /// What the target computes by itself.
    pub computed: Computed,
    /// Chunks that are not done yet.
    pub left: std::sync::atomic::AtomicUsize,
}

impl Job {
    /// The rows of the chunk; with `types`, three values more for each JSON column.
    pub fn select(&self, types: bool) -> String {
        let mut columns: Vec<String> =
            self.table.columns.iter().map(|column| column.select.clone()).collect();
        if types {
            columns.extend(self.json_columns().flat_map(json_types_sql));
        }
        self.select_of(&columns.join(","), "")
    }

    /// Whether there is JSON in the chunk with types that its text does not tell; `None` without JSON columns.
    pub fn select_typed(&self) -> Option<String> {
        let typed: Vec<String> = self.json_columns().map(json_is_typed_sql).collect();
        let further = typed.join(" OR ");
        (!typed.is_empty()).then(|| format!("{} LIMIT 1", self.select_of("1", &further)))
    }

    /// Whether there are empty vectors in the chunk, which LOAD DATA cannot write; `None` without VECTOR columns.
    fn select_empty_vector(&self) -> Option<String> {
        let vectors = self.table.columns.iter().filter(|column| column.vector);
        let empty: Vec<String> = vectors.map(|column| format!("LENGTH({}) = 0", column.select)).collect();
        (!empty.is_empty()).then(|| format!("{} LIMIT 1", self.select_of("1", &empty.join(" OR "))))
    }

    fn json_columns(&self) -> impl Iterator<Item = &str> {
        self.table.columns.iter().filter(|column| column.json).map(|column| column.select.as_str())
    }

    fn select_of(&self, columns: &str, further: &str) -> String {
        let range = condition(&self.table.key, self.chunk.lower.as_ref(), self.chunk.upper.as_ref());
        let conditions: Vec<String> = std::iter::once(range)
            .chain((!self.table.condition.is_empty()).then(|| format!("({})", self.table.condition)))
            .chain((!further.is_empty()).then(|| format!("({further})")))
            .filter(|condition| !condition.is_empty())
            .collect();
        let filter = if conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", conditions.join(" AND "))
        };
        // SQL_NO_CACHE: MariaDB's query cache must not hold the table.
        format!("SELECT SQL_NO_CACHE {columns} FROM {}{filter}", self.table.source)
    }
}

/// When data last moved, and how much is waiting to be digested by the target.
pub(super) struct Pulse {
    heartbeat: Heartbeat,
    moved: Mutex<(Instant, u64)>,
}

impl Pulse {
    pub fn new(heartbeat: Heartbeat) -> Self {
        Self { heartbeat, moved: Mutex::new((Instant::now(), 0)) }
    }

    pub fn begin(&self) {
        *self.moved.lock() = (Instant::now(), 0);
        self.heartbeat.beat();
    }

    fn add(&self, bytes: u64) {
        let mut moved = self.moved.lock();
        *moved = (Instant::now(), moved.1 + bytes);
        drop(moved);
        self.heartbeat.beat();
    }

    /// Beats for a target that digests what it was sent (a large COMMIT above all), as long as that is plausible.
    pub async fn keep(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let (since, bytes) = *self.moved.lock();
            // 1 MB/s is slower than any disk; nothing sent means nothing to wait for.
            if since.elapsed() < Duration::from_secs(bytes >> 20) {
                self.heartbeat.beat();
            }
        }
    }
}

/// A chunk on its way.
pub(super) struct CopyChunk<'a> {
    pub job: &'a Job,
    pub chunks: &'a ChunkTable,
    pub reader: &'a mut Connection,
    /// Another session on the source, to look at the table while the reader holds it.
    pub check: &'a mut Connection,
    pub location: &'a Location,
    pub local_infile: bool,
    /// The target's `max_allowed_packet`.
    pub packet: usize,
    pub counters: &'a CopyCounters,
    pub pulse: &'a Pulse,
    /// What was counted.
    pub counted: Counted,
}

/// Rows and bytes of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub rows: u64,
    pub bytes: u64,
    /// Error values, each of which the target takes with a warning.
    error_members: u64,
    /// What the rows have earned of the chunk's weight.
    pub work: u64,
}

impl Counted {
    fn add(&mut self, row: RowSize) {
        self.rows += 1;
        self.bytes += row.bytes;
        self.error_members += row.error_members;
    }
}

impl CopyChunk<'_> {
    /// Writes the rows, and answers the statement that marks the chunk done.
    pub async fn copy(&mut self, transaction: &mut TargetTransaction<'_>) -> Result<Vec<u8>, ApplyError> {
        let table = &self.job.table;
        if table.transactional {
            // What is read after it keeps its metadata lock only until the chunk is done: the copy does not hold up
            // the source's DDL any longer than that.
            self.execute(&format!("SAVEPOINT {SAVEPOINT}")).await?;
        }
        let types = self.has_typed_json().await?;
        let empty_vectors = self.has_empty_vector().await?;
        let select = self.job.select(types);
        let mut rows = self.reader.stream(&select).await.map_err(|err| read_error(&err, &table.source))?;
        let mut pump = Pump {
            rows: &mut rows,
            table: &table.source,
            columns: &table.columns,
            counters: self.counters,
            pulse: self.pulse,
            packet: self.packet,
            types,
            weight: self.job.weight,
            counted: &mut self.counted,
        };
        let expected =
            Expected { members: member_warnings(&table.columns), computed: table.computed.clone() };
        // Types of JSON can only be written as expressions, empty vectors only as DEFAULT.
        let (read, written) = if self.local_infile && !types && !empty_vectors {
            let sql = load_statement(&table.target, &table.columns);
            let (sender, receiver) = mpsc::channel(BUFFERS);
            tokio::join!(pump.load_text(sender), load(transaction, &sql, receiver, &expected))
        } else {
            let head = insert_head(&table.target, &table.columns, table.computed.any());
            let (sender, receiver) = mpsc::channel(BUFFERS);
            tokio::join!(pump.insert_text(sender, &head), insert(transaction, receiver, &expected))
        };
        let written = match (read, written) {
            (Err(error), _) => return Err(error),
            (Ok(()), Err(error)) => {
                if is_transient(&error) {
                    // The snapshot is to be used again, so the rest of the rows must go.
                    pump.drain().await?;
                    return Err(error);
                }
                return Err(write_error(error, table));
            }
            (Ok(()), Ok(written)) => written,
        };
        drop(rows);
        if !written.warnings.is_empty()
            || written.rows != self.counted.rows
            || written.error_members != self.counted.error_members
        {
            return Err(self.refused(&written));
        }
        failpoint::hit("load.chunk_rows").await?;
        // Nobody can have changed the table since it was read and not be seen here: the reader still holds it.
        if identity(self.check, &table.source).await?.as_ref() != Some(&table.digest) {
            return Err(changed(&table.source).into());
        }
        if table.transactional {
            self.execute(&format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}")).await?;
        }
        let location = self.location.clone();
        let done = DoneChunk { location, rows: self.counted.rows, bytes: self.counted.bytes };
        Ok(self.chunks.done_sql(&table.source, self.job.chunk.number, &table.digest, &done))
    }

    /// Whether the chunk has JSON that must be written with its types.
    async fn has_typed_json(&mut self) -> Result<bool, ApplyError> {
        let Some(select) = self.job.select_typed() else { return Ok(false) };
        match self.reader.query_one(&select).await {
            Ok(None) => Ok(false),
            Ok(Some(_)) => {
                // Four bytes for each of at most a gigabyte of values: without an end, for our purposes.
                self.execute("SET SESSION group_concat_max_len = 4294967295").await?;
                Ok(true)
            }
            // MySQL 5.7 cannot be asked for the types.
            Err(error) if error.code() == Some(1064) => {
                tracing::warn!(table = %self.job.table.source,
                    "the source cannot tell the types in JSON documents: decimals and dates in them become doubles and strings");
                Ok(false)
            }
            Err(error) => Err(read_error(&error, &self.job.table.source).into()),
        }
    }

    async fn has_empty_vector(&mut self) -> Result<bool, ApplyError> {
        let Some(select) = self.job.select_empty_vector() else { return Ok(false) };
        let found = self.reader.query_one(&select).await;
        Ok(found.map_err(|err| read_error(&err, &self.job.table.source))?.is_some())
    }

    async fn execute(&mut self, sql: &str) -> Result<(), CodedError> {
        self.reader
            .execute(sql)
            .await
            .map(drop)
            .map_err(|err| source_error(&err).object(&self.job.table.source))
    }

    /// The rows did not all arrive as they are.
    fn refused(&self, written: &Written) -> ApplyError {
        let table = &self.job.table;
        let duplicate = written.warnings.iter().any(|warning| matches!(warning.code, 1062 | 1586));
        let (code, what) = if duplicate {
            (codes::COPY_DUPLICATE, "rows of a chunk exist in the target already")
        } else {
            (codes::COPY_ROWS_REFUSED, "the target did not take the rows of a chunk as they are")
        };
        let texts: Vec<String> =
            written.warnings.iter().map(|warning| format!("{}: {}", warning.code, warning.text)).collect();
        let error = CodedError::new(code, what)
            .object(format!("{} into {}, chunk {}", table.source, table.target, self.job.chunk.number))
            .cause(format!(
                "{} rows read, {} written; {}",
                self.counted.rows,
                written.rows,
                texts.join("; ")
            ));
        // A function's result was too large.
        if written.warnings.iter().any(|warning| warning.code == 1301) {
            return error
                .remedy("a value is larger than the target's max_allowed_packet: SET GLOBAL max_allowed_packet there to more, then resume-task")
                .into();
        }
        error.into()
    }
}

/// One INSERT on its way to the target.
struct Piece {
    sql: Bytes,
    /// Values that are not in the text; with any, the statement is a prepared one.
    parameters: Vec<Vec<u8>>,
    /// Told when it has been executed.
    taken: Option<oneshot::Sender<()>>,
}

impl Piece {
    fn text(sql: &mut Vec<u8>) -> Self {
        Self { sql: std::mem::take(sql).into(), parameters: Vec::new(), taken: None }
    }
}

/// Moves rows from the reader into buffers.
struct Pump<'a, 'b> {
    rows: &'a mut RowStream<'b>,
    table: &'a TableName,
    columns: &'a [CopyColumn],
    counters: &'a CopyCounters,
    pulse: &'a Pulse,
    packet: usize,
    /// The rows carry the types in their JSON.
    types: bool,
    /// The chunk's.
    weight: u64,
    counted: &'a mut Counted,
}

impl Pump<'_, '_> {
    /// Ends early without an error when nobody listens any more: the listener has the error.
    async fn load_text(&mut self, sender: mpsc::Sender<Bytes>) -> Result<(), ApplyError> {
        let mut text = LoadText::new(self.columns);
        let mut since = Counted::default();
        while let Some(mut row) = self.rows.next().await.map_err(|err| read_error(&err, self.table))? {
            let mut size = RowSize::default();
            for (index, column) in self.columns.iter().enumerate() {
                text.begin_value(index);
                let Some(value) = row.take(index) else {
                    text.null();
                    continue;
                };
                size.add(&value, column);
                if value.len() <= BUFFER_BYTES {
                    text.part(index, &value);
                    continue;
                }
                // A large value goes out while it is escaped, so that there is no second one of it.
                for part in value.chunks(BUFFER_BYTES) {
                    text.part(index, part);
                    if let Some(buffer) = text.full()
                        && !self.send_pieces(&sender, buffer).await
                    {
                        return Ok(());
                    }
                    self.pulse.add(0);
                }
            }
            text.end_row();
            since.add(size);
            if let Some(buffer) = text.full() {
                self.count(&mut since);
                if !self.send_pieces(&sender, buffer).await {
                    return Ok(());
                }
            }
        }
        self.count(&mut since);
        self.send_pieces(&sender, text.take()).await;
        Ok(())
    }

    /// Sends data that the driver puts into one packet each: a row may be larger than a packet may be. `false` when
    /// nobody listens any more.
    async fn send_pieces(&self, sender: &mpsc::Sender<Bytes>, mut data: Bytes) -> bool {
        let most = (self.packet / 2).clamp(PACKET_LEAST, INSERT_BYTES);
        while data.len() > most {
            if sender.send(data.split_to(most)).await.is_err() {
                return false;
            }
        }
        sender.send(data).await.is_ok()
    }

    async fn insert_text(&mut self, sender: mpsc::Sender<Piece>, head: &str) -> Result<(), ApplyError> {
        let most = self.packet.saturating_sub(PACKET_SLACK).max(PACKET_LEAST);
        let mut sql = Vec::new();
        let mut values = Vec::new();
        let mut since = Counted::default();
        while let Some(mut row) = self.rows.next().await.map_err(|err| read_error(&err, self.table))? {
            values.clear();
            if let Some((size, parameters)) =
                push_long_values(&mut row, self.columns, self.types, &mut values)
            {
                drop(row);
                let text = [head.as_bytes(), &values].concat();
                let lengths: Vec<usize> = parameters.iter().map(Vec::len).collect();
                let needed = packet_needed(text.len(), &lengths, self.packet);
                if needed > self.packet {
                    return Err(self.too_large(size.bytes, needed));
                }
                if !sql.is_empty() && sender.send(Piece::text(&mut sql)).await.is_err() {
                    return Ok(());
                }
                // One at a time: the channel has no measure of their size.
                let (taken, wait) = oneshot::channel();
                let piece = Piece { sql: text.into(), parameters, taken: Some(taken) };
                if sender.send(piece).await.is_err() || wait.await.is_err() {
                    return Ok(());
                }
                since.add(size);
                self.count(&mut since);
                continue;
            }
            let size = push_values(&row, self.columns, self.types, &mut values).ok_or_else(|| {
                CodedError::new(codes::INTERNAL, "a JSON document and the types in it do not belong together")
                    .object(self.table)
            })?;
            drop(row);
            if head.len() + values.len() > most {
                return Err(self.too_large(size.bytes, head.len() + values.len()));
            }
            if !sql.is_empty() && sql.len() + 1 + values.len() > most.min(INSERT_BYTES) {
                self.count(&mut since);
                if sender.send(Piece::text(&mut sql)).await.is_err() {
                    return Ok(());
                }
            }
            sql.extend_from_slice(if sql.is_empty() { head.as_bytes() } else { b"," });
            sql.extend_from_slice(&values);
            since.add(size);
        }
        self.count(&mut since);
        if !sql.is_empty() {
            let _ = sender.send(Piece::text(&mut sql)).await;
        }
        Ok(())
    }

    /// The target would cut the connection, which looks like a lost one.
    fn too_large(&self, bytes: u64, statement: usize) -> ApplyError {
        CodedError::new(codes::COPY_ROWS_REFUSED, "a row is too large for the target's max_allowed_packet")
            .object(self.table)
            .cause(format!(
                "a row of {bytes} bytes makes a statement of {statement} bytes; the target takes {}",
                self.packet
            ))
            .remedy("SET GLOBAL max_allowed_packet in the target to more than that (at most 1 GB), or allow local_infile there, then resume-task")
            .into()
    }

    fn count(&mut self, since: &mut Counted) {
        let Counted { rows, bytes, error_members, .. } = std::mem::take(since);
        self.counted.rows += rows;
        self.counted.bytes += bytes;
        self.counted.error_members += error_members;
        let work = earned(self.weight, self.counted.bytes);
        self.counters.add(rows, bytes, work - self.counted.work);
        self.counted.work = work;
        self.pulse.add(bytes);
    }

    async fn drain(&mut self) -> Result<(), ApplyError> {
        let mut seen: u64 = 0;
        while self.rows.next().await.map_err(|err| read_error(&err, self.table))?.is_some() {
            seen += 1;
            if seen.is_multiple_of(1000) {
                self.pulse.add(0);
            }
        }
        Ok(())
    }
}

/// What the target may warn of.
pub(super) struct Expected {
    /// How its words about error values begin.
    pub members: Vec<String>,
    pub computed: Computed,
}

/// What the target says it has taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    pub rows: u64,
    /// Warnings about error values.
    pub error_members: u64,
    /// The first few that matter.
    pub warnings: Vec<Warning>,
}

#[derive(Clone, Debug)]
pub(super) struct Warning {
    pub code: u64,
    pub text: String,
}

/// How many warnings an error names.
const WARNINGS_SHOWN: usize = 5;

impl Written {
    /// Adds what one statement did. A warning that nobody can look at counts as one that matters.
    pub async fn add(
        &mut self,
        transaction: &mut TargetTransaction<'_>,
        summary: &ExecSummary,
        expected: &Expected,
    ) -> Result<(), ApplyError> {
        self.rows += summary.affected_rows;
        if summary.warnings == 0 {
            return Ok(());
        }
        let rows = transaction.warnings().await?;
        if rows.len() < usize::from(summary.warnings) {
            self.warnings.push(Warning { code: 0, text: format!("{} warnings", summary.warnings) });
        }
        let is_member = |row: &&TextRow| {
            matches!(row.u64(1), Some(TRUNCATED | NO_DEFAULT))
                && row.str(2).is_some_and(|text| expected.members.iter().any(|start| text.starts_with(start)))
        };
        let mut found = rows.iter().filter(is_member).count() as u64;
        if found == WARNINGS_MOST {
            // All that are listed; there may be more of them.
            let count = transaction.query("SELECT @@warning_count").await?;
            found = count.first().and_then(|row| row.u64(0)).unwrap_or(found);
        }
        self.error_members += found;
        let matters = rows
            .iter()
            .filter(|row| !row.u64(1).is_some_and(|code| HARMLESS.contains(&code)) && !is_member(row))
            .filter(|row| {
                let warning = row.u64(1).zip(row.str(2));
                !warning.is_some_and(|(code, text)| expected.computed.explains(code, &text))
            });
        self.warnings.extend(matters.take(WARNINGS_SHOWN).map(|row| Warning {
            code: row.u64(1).unwrap_or(0),
            text: without_values(&row.str(2).unwrap_or_default()),
        }));
        Ok(())
    }
}

/// How a server's words about the error value of each column begin.
fn member_warnings(columns: &[CopyColumn]) -> Vec<String> {
    let members = columns.iter().filter(|column| column.member).map(|column| truncated(&column.name));
    let vectors = columns.iter().filter(|column| column.vector).map(|column| undefaulted(&column.name));
    members.chain(vectors).collect()
}

/// How a server says that it has taken the error value of an ENUM.
pub(super) fn truncated(column: &str) -> String {
    format!("Data truncated for column '{column}' at row ")
}

/// How a server says that it has made an empty vector.
pub(super) fn undefaulted(column: &str) -> String {
    format!("Field '{column}' doesn't have a default value")
}

async fn load(
    transaction: &mut TargetTransaction<'_>,
    sql: &str,
    receiver: mpsc::Receiver<Bytes>,
    expected: &Expected,
) -> Result<Written, ApplyError> {
    let summary = transaction.load_data(sql, receiver).await?;
    let mut written = Written::default();
    written.add(transaction, &summary, expected).await?;
    Ok(written)
}

async fn insert(
    transaction: &mut TargetTransaction<'_>,
    mut receiver: mpsc::Receiver<Piece>,
    expected: &Expected,
) -> Result<Written, ApplyError> {
    let mut written = Written::default();
    while let Some(Piece { sql, parameters, taken }) = receiver.recv().await {
        let summary = if parameters.is_empty() {
            transaction.execute(&sql).await?
        } else {
            transaction.execute_prepared(&sql, parameters).await?
        };
        if let Some(taken) = taken {
            // Who waits for it may have gone.
            let _ = taken.send(());
        }
        written.add(transaction, &summary, expected).await?;
        if !written.warnings.is_empty() {
            break;
        }
    }
    Ok(written)
}

/// A failed read of a chunk. A table that has changed under the snapshot is planned again by the next generation.
pub(super) fn read_error(error: &SqlError, table: &TableName) -> CodedError {
    match error.code() {
        // Table definition has changed; no such table; no such column; no such key.
        Some(1412 | 1146 | 1054 | 1176) => changed(table).cause(error),
        _ => source_error(error).object(table),
    }
}

pub(super) fn changed(table: &TableName) -> CodedError {
    CodedError::new(
        codes::COPY_SNAPSHOT_UNSTABLE,
        "the table was altered, renamed or dropped while it was copied",
    )
    .object(table)
}

fn is_transient(error: &ApplyError) -> bool {
    let sql = match error {
        ApplyError::Sql(error) => error,
        ApplyError::Multi(error) => &error.error,
        ApplyError::Moved => return true,
        ApplyError::Fenced(_)
        | ApplyError::Cancelled
        | ApplyError::Coded(_)
        | ApplyError::CannotRepeat(_) => {
            return false;
        }
    };
    sql.is_connection_lost() || sql.is_transient_conflict()
}

/// A refusal by the target, without the row's values in it.
fn write_error(error: ApplyError, table: &JobTable) -> ApplyError {
    let Some(code) = error.server_code().filter(|_| error.is_refusal()) else { return error };
    let (own, what) = match code {
        1062 | 1586 => (codes::COPY_DUPLICATE, "rows of a chunk exist in the target already"),
        _ => (codes::COPY_ROWS_REFUSED, "the target did not take the rows of a chunk"),
    };
    CodedError::new(own, what)
        .object(format!("{} into {}", table.source, table.target))
        .cause(format!("{code}: {}", without_values(&error.to_string())))
        .into()
}

/// The server's sentence without the quoted values in it; names of columns and keys stay.
pub(super) fn without_values(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('\'') {
        let (before, quoted) = rest.split_at(start);
        if before.ends_with(char::is_alphanumeric) {
            // An apostrophe.
            out.push_str(before);
            out.push('\'');
            rest = &quoted[1..];
            continue;
        }
        let named = ["column ", "key ", "Field ", "field ", "Column ", "table "]
            .iter()
            .any(|word| before.ends_with(word));
        out.push_str(before);
        let inner = &quoted[1..];
        if named {
            let end = inner.find('\'').map_or(inner.len(), |end| end + 1);
            out.push('\'');
            out.push_str(&inner[..end]);
            rest = &inner[end..];
        } else {
            // A value may hold quotes itself: it ends where the sentence goes on, or nowhere.
            out.push_str("(value)");
            rest = [" for key ", " for column ", " at row ", " for CAST"]
                .iter()
                .filter_map(|word| inner.rfind(word))
                .min()
                .map_or("", |at| &inner[at..]);
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_from_the_servers_sentences() {
        for (text, want) in [
            ("Duplicate entry 'o'hara-1' for key 't.PRIMARY'", "Duplicate entry (value) for key 't.PRIMARY'"),
            ("Field 'w' doesn't have a default value", "Field 'w' doesn't have a default value"),
            ("Data truncated for column 'c' at row 3", "Data truncated for column 'c' at row 3"),
            (
                "Incorrect string value: '\\xF0\\x9F' for column 'c' at row 1",
                "Incorrect string value: (value) for column 'c' at row 1",
            ),
            ("Truncated incorrect DOUBLE value: 'secret", "Truncated incorrect DOUBLE value: (value)"),
        ] {
            assert_eq!(without_values(text), want);
        }
    }
}
