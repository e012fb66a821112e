//! How far each file is loaded: `<task>_dmnode_file`, beside the progress.

use std::collections::BTreeMap;

use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::ids::{SourceId, TaskName};
use dmnode_mysql::Connection;

use crate::progress::{table_name, text_literal};
use crate::target::target_error;

/// Rows of one INSERT of marks.
const ROWS: usize = 500;

/// How far a file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Statements with rows that are in the target.
    pub statements: u64,
    pub rows: u64,
    pub done: bool,
}

/// The marks of one source in one task.
pub(super) struct Marks {
    table: String,
    source: String,
}

/// What is recorded.
#[derive(Default)]
pub(super) struct Recorded {
    /// The directory as it was when the load began.
    pub digest: Option<String>,
    /// All is loaded.
    pub complete: bool,
    pub files: BTreeMap<String, Mark>,
}

impl Marks {
    pub fn new(meta_schema: &str, task: &TaskName, source: &SourceId) -> Self {
        Self { table: table_name(meta_schema, task, "dmnode_file"), source: text_literal(source.as_str()) }
    }

    pub fn create_sql(&self) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (source_id VARCHAR(64) NOT NULL, file VARCHAR(400) NOT NULL, \
             statements BIGINT UNSIGNED NOT NULL, row_count BIGINT UNSIGNED NOT NULL, done TINYINT NOT NULL, \
             digest CHAR(64) NULL, \
             updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), \
             PRIMARY KEY (source_id, file)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
            self.table
        )
    }

    /// Writes the marks of a load that begins; the row without a file's name is the directory's.
    pub fn begin_sql(&self, digest: &str, files: &[&str]) -> Vec<Vec<u8>> {
        let head = format!(
            "INSERT INTO {} (source_id, file, statements, row_count, done, digest) VALUES ",
            self.table
        );
        let row = |file: &str, digest: &str| {
            format!("({}, {}, 0, 0, 0, {digest})", self.source, text_literal(file))
        };
        let mut statements = vec![format!("{head}{}", row("", &text_literal(digest))).into_bytes()];
        for files in files.chunks(ROWS) {
            let rows: Vec<String> = files.iter().map(|file| row(file, "NULL")).collect();
            statements.push(format!("{head}{}", rows.join(", ")).into_bytes());
        }
        statements
    }

    /// From one mark to the next; matches one row, unless the file is not as far as was thought.
    pub fn advance_sql(&self, file: &str, from: Mark, to: Mark) -> Vec<u8> {
        format!(
            "UPDATE {} SET statements = {}, row_count = {}, done = {} WHERE source_id = {} AND file = {} AND \
             statements = {} AND row_count = {} AND done = {}",
            self.table,
            to.statements,
            to.rows,
            u8::from(to.done),
            self.source,
            text_literal(file),
            from.statements,
            from.rows,
            u8::from(from.done),
        )
        .into_bytes()
    }

    pub async fn read(&self, conn: &mut Connection) -> Result<Recorded, CodedError> {
        let sql = format!(
            "SELECT file, statements, row_count, done, digest FROM {} WHERE source_id = {}",
            self.table, self.source
        );
        let mut recorded = Recorded::default();
        for row in conn.query(&sql).await.map_err(|err| target_error(&err))? {
            let number = |index: usize| row.u64(index).ok_or_else(damaged);
            let mark = Mark { statements: number(1)?, rows: number(2)?, done: number(3)? != 0 };
            let file = row.string(0).ok_or_else(damaged)?;
            if file.is_empty() {
                recorded.digest = row.string(4);
                recorded.complete = mark.done;
            } else {
                recorded.files.insert(file, mark);
            }
        }
        Ok(recorded)
    }
}

/// A mark is not what was written.
pub(super) fn damaged() -> CodedError {
    CodedError::new(codes::COPY_META, "the marks of the load in the target are not as they were written")
}
