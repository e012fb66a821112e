//! One table of a dump: what is read before the snapshot, and its chunks, which are read in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dmnode_model::codes;
use dmnode_model::config::{DumpConfig, DumpFileType};
use dmnode_model::error::CodedError;
use dmnode_mysql::{Connection, TableInfo, TextRow};

use super::counters::DumpCounters;
use super::layout::data_file;
use super::output::{Output, Place};
use super::rows::{Statements, csv_header, for_files, push_csv, push_sql};
use crate::computed::Computed;
use crate::failpoint;
use crate::load::chunks::Chunk;
use crate::load::columns::{charset_of, map_columns};
use crate::load::copy::{Job, JobTable, SAVEPOINT, changed, read_error};
use crate::load::inventory::{SourceTable, identity, show_create, source_error};
use crate::load::plan::{Size, cut};
use crate::load::prepare::Desk;
use crate::load::text::RowSize;
use crate::unit::Heartbeat;

/// Rows of a chunk when the task says nothing: DM's.
const CHUNK_ROWS: u64 = 200_000;
/// How much text is gathered before it goes to the file.
const TEXT_BYTES: usize = 128 * 1024;

/// A table with its chunks.
pub(super) struct DumpTable {
    pub table: Arc<JobTable>,
    /// `CREATE TABLE`, of the moment of its digest.
    pub create: String,
    pub chunks: Vec<Chunk>,
    pub rows: u64,
}

/// Reads what the table is; `None` when it has vanished. The digest is compared after each chunk, so that the definition is
/// that of the snapshot.
pub(super) async fn prepare(
    desk: &mut Desk,
    table: SourceTable,
    dump: &DumpConfig,
    pause: &(dyn Fn() -> Result<(), CodedError> + Sync),
) -> Result<Option<DumpTable>, CodedError> {
    let name = table.name;
    if !table.transactional {
        return Err(CodedError::new(
            codes::COPY_TABLE_UNSUPPORTED,
            "a table whose engine has no snapshots cannot be dumped at the position of the others",
        )
        .object(&name)
        .remedy("ALTER TABLE … ENGINE=InnoDB, or leave the table out with the block-allow-list"));
    }
    let Some(digest) = identity(&mut desk.raw, &name).await? else { return Ok(None) };
    let Some(create) = show_create(&mut desk.text, &name).await? else { return Ok(None) };
    let loaded = TableInfo::load(&mut desk.text, &name).await;
    let Some(info) = loaded.map_err(|err| source_error(&err).object(&name))? else { return Ok(None) };
    let mut columns = map_columns(&info, &info, &[])?;
    for column in &mut columns {
        let charset = info.column(&column.name).and_then(|(_, column)| charset_of(column));
        for_files(column, charset, dump.file_type == DumpFileType::Csv);
    }
    let row_bytes = table.bytes.checked_div(table.rows).unwrap_or(0).max(1);
    let rows = if dump.rows == 0 { CHUNK_ROWS } else { dump.rows };
    let chunk_rows = rows.min((dump.chunk_filesize / row_bytes).max(1));
    // The size of a file is kept by counting; by estimate the table is cut by rows only.
    let size = Size { rows: table.rows, bytes: 0, chunk_rows, chunk_bytes: u64::MAX };
    let (key, chunks) = cut::<CodedError>(&mut desk.raw, &info, size, pause).await?;
    let table = Arc::new(JobTable {
        source: name.clone(),
        target: name,
        transactional: true,
        digest,
        key,
        condition: dump.where_condition.clone(),
        columns,
        computed: Computed::of(&info),
        left: AtomicUsize::new(chunks.len()),
    });
    Ok(Some(DumpTable { table, create, chunks, rows: size.rows }))
}

/// Where chunks go to.
pub(super) struct Desks {
    pub place: Arc<Place>,
    pub dump: DumpConfig,
    pub counters: Arc<DumpCounters>,
    pub heartbeat: Heartbeat,
}

impl Desks {
    /// Writes the files of one chunk.
    pub async fn write(
        &self,
        job: &Job,
        reader: &mut Connection,
        check: &mut Connection,
    ) -> Result<(), CodedError> {
        let table = &job.table.source;
        let failed = |err| source_error(&err).object(table);
        // What is read after it keeps its metadata lock only until the chunk is done.
        reader.execute(format!("SAVEPOINT {SAVEPOINT}")).await.map_err(failed)?;
        self.read(job, reader).await?;
        // Nobody can have changed the table since it was read and not be seen here: the reader still holds it.
        if identity(check, table).await?.as_ref() != Some(&job.table.digest) {
            return Err(changed(table));
        }
        reader.execute(format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}")).await.map_err(failed)?;
        if job.table.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.counters.tables_done.fetch_add(1, Ordering::Relaxed);
        }
        self.heartbeat.beat();
        failpoint::hit("dump.after_chunk").await
    }

    async fn read(&self, job: &Job, reader: &mut Connection) -> Result<(), CodedError> {
        let table = &job.table.source;
        let types = self.dump.file_type == DumpFileType::Sql && has_typed_json(job, reader).await?;
        let mut rows = reader.stream(&job.select(types)).await.map_err(|err| read_error(&err, table))?;
        let mut files = Files::new(self, job, types);
        while let Some(row) = rows.next().await.map_err(|err| read_error(&err, table))? {
            files.push(&row).await?;
        }
        files.end_file().await
    }
}

/// Whether the chunk has JSON that must be written with its types.
async fn has_typed_json(job: &Job, reader: &mut Connection) -> Result<bool, CodedError> {
    let Some(select) = job.select_typed() else { return Ok(false) };
    let failed = |err| read_error(&err, &job.table.source);
    match reader.query_one(&select).await {
        Ok(None) => Ok(false),
        Ok(Some(_)) => {
            // Four bytes for each of at most a gigabyte of values: without an end, for our purposes.
            reader.execute("SET SESSION group_concat_max_len = 4294967295").await.map_err(failed)?;
            Ok(true)
        }
        // MySQL 5.7 cannot be asked for the types.
        Err(error) if error.code() == Some(1064) => {
            tracing::warn!(table = %job.table.source,
                "the source cannot tell the types in JSON documents: decimals and dates in them become doubles and strings");
            Ok(false)
        }
        Err(error) => Err(failed(error)),
    }
}

/// The files of a chunk, one after the other.
struct Files<'a> {
    desks: &'a Desks,
    job: &'a Job,
    types: bool,
    statements: Statements,
    output: Option<Output>,
    number: u32,
    text: Vec<u8>,
    values: Vec<u8>,
    rows: u64,
    bytes: u64,
}

impl<'a> Files<'a> {
    fn new(desks: &'a Desks, job: &'a Job, types: bool) -> Self {
        let table = &job.table;
        let size = desks.dump.statement_size;
        let statements = Statements::new(&table.source, &table.columns, size, table.computed.any());
        Self {
            desks,
            job,
            types,
            statements,
            output: None,
            number: 0,
            text: Vec::new(),
            values: Vec::new(),
            rows: 0,
            bytes: 0,
        }
    }

    async fn push(&mut self, row: &TextRow) -> Result<(), CodedError> {
        let kind = self.desks.dump.file_type;
        if self.output.is_none() {
            let name = data_file(&self.job.table.source, self.job.chunk.number, self.number, kind);
            self.output = Some(Output::create(&self.desks.place, &name).await?);
            match kind {
                DumpFileType::Sql => self.text.extend_from_slice(self.statements.header().as_bytes()),
                DumpFileType::Csv => self.text.extend_from_slice(&csv_header(&self.job.table.columns)),
            }
        }
        let size = self.row(row, kind)?;
        self.rows += 1;
        self.bytes += size.bytes;
        let before = self.output.as_ref().map_or(0, |output| output.size);
        if before + self.text.len() as u64 >= self.desks.dump.chunk_filesize {
            return self.end_file().await;
        }
        if self.text.len() >= TEXT_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    fn row(&mut self, row: &TextRow, kind: DumpFileType) -> Result<RowSize, CodedError> {
        let table = &self.job.table;
        match kind {
            DumpFileType::Sql => {
                self.values.clear();
                let size = push_sql(row, &table.columns, self.types, &mut self.values).ok_or_else(|| {
                    CodedError::new(
                        codes::INTERNAL,
                        "a JSON document and the types in it do not belong together",
                    )
                    .object(&table.source)
                })?;
                self.statements.push(&self.values, size.error_members > 0, &mut self.text);
                Ok(size)
            }
            DumpFileType::Csv => push_csv(row, &table.columns, &mut self.text).ok_or_else(|| {
                CodedError::new(
                    codes::COPY_TABLE_UNSUPPORTED,
                    "the error value of an ENUM or an empty vector cannot be written as CSV",
                )
                .object(&table.source)
                .remedy("leave `--filetype csv` out: SQL holds every value; or correct the rows")
            }),
        }
    }

    async fn flush(&mut self) -> Result<(), CodedError> {
        if let Some(output) = &mut self.output {
            output.write(&self.text).await?;
            self.text.clear();
            self.desks.counters.add(std::mem::take(&mut self.rows), std::mem::take(&mut self.bytes));
            self.desks.heartbeat.beat();
        }
        Ok(())
    }

    async fn end_file(&mut self) -> Result<(), CodedError> {
        self.statements.close(&mut self.text);
        self.flush().await?;
        if let Some(output) = self.output.take() {
            failpoint::hit("dump.before_rename").await?;
            output.finish(&self.desks.place).await?;
            self.number += 1;
        }
        Ok(())
    }
}
