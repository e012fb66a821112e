//! What a statement of the binlog does and which names it uses, and the statement with those names changed.

use std::ops::Range;

use dmnode_model::{TableName, quote_ident};

use crate::lex::{SqlMode, TokenKind, Tokens};

/// Words of statements that change tables or rows.
const TABLE_WORDS: [&str; 27] = [
    "TABLE",
    "TABLES",
    "INDEX",
    "KEY",
    "DATABASE",
    "SCHEMA",
    "COLUMN",
    "PARTITION",
    "SEQUENCE",
    "TRUNCATE",
    "RENAME",
    "INSERT",
    "UPDATE",
    "DELETE",
    "REPLACE",
    "MERGE",
    "LOAD",
    "IMPORT",
    "CALL",
    "DO",
    "EXECUTE",
    "PREPARE",
    "SELECT",
    "VALUES",
    "WITH",
    "BEGIN",
    "BINLOG",
];

/// What an XA statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XaVerb {
    /// `XA START` or `XA BEGIN`.
    Start,
    /// `XA END`.
    End,
    /// `XA PREPARE`.
    Prepare,
    /// `XA COMMIT`.
    Commit,
    /// `XA ROLLBACK`.
    Rollback,
    /// `XA RECOVER`.
    Recover,
}

/// The class of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementKind {
    /// `BEGIN`, `START TRANSACTION`.
    Begin,
    /// `COMMIT`.
    Commit,
    /// `ROLLBACK` of the whole transaction.
    Rollback,
    /// `SAVEPOINT x`.
    Savepoint,
    /// `ROLLBACK TO x`.
    RollbackToSavepoint,
    /// `RELEASE SAVEPOINT x`.
    ReleaseSavepoint,
    /// `XA …`.
    Xa(XaVerb),
    /// `CREATE DATABASE`; the name is in [`Statement::schemas`].
    CreateDatabase,
    /// `ALTER DATABASE`; without a name in the text the reference has an empty span.
    AlterDatabase,
    /// `DROP DATABASE`.
    DropDatabase,
    /// `CREATE TABLE`.
    CreateTable {
        /// `TEMPORARY`: exists in one session of the source only.
        temporary: bool,
        /// `LIKE other`.
        like: bool,
        /// `… SELECT`, `… TABLE x`, `… VALUES`: also writes rows.
        select: bool,
    },
    /// `ALTER TABLE`; a new name has the role [`NameRole::RenameTo`].
    AlterTable,
    /// `RENAME TABLE`: old and new names in the order of the statement.
    RenameTable(Vec<(TableName, TableName)>),
    /// `DROP TABLE`.
    DropTable {
        /// `TEMPORARY`.
        temporary: bool,
    },
    /// `TRUNCATE TABLE`.
    TruncateTable,
    /// `CREATE INDEX`.
    CreateIndex,
    /// `DROP INDEX`.
    DropIndex,
    /// `CREATE`, `ALTER` or `DROP SEQUENCE` (MariaDB): a sequence has state that replicates like rows.
    Sequence,
    /// Changes no rows of any table and no table; the text says what it is about ("view", "trigger", "grant" …).
    NoRows(&'static str),
    /// Changes rows by itself (a statement-format change), or cannot be known not to; the text is its verb.
    Dml(&'static str),
    /// Not recognised.
    Unknown,
}

/// What a table's name is used for in its statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRole {
    /// The object that the statement creates, changes or drops.
    Target,
    /// The new name of a renamed table.
    RenameTo,
    /// The model of `CREATE TABLE … LIKE`.
    Like,
    /// The parent of a foreign key.
    References,
    /// The other table of `EXCHANGE PARTITION` or `CONVERT … TABLE`.
    Exchange,
    /// A member of a `MERGE` table's `UNION`.
    Union,
    /// Read by a `SELECT` or a join.
    Select,
    /// A sequence used by a default value.
    Sequence,
}

impl NameRole {
    /// The statement changes the table (or sequence) of this name.
    pub fn is_changed(self) -> bool {
        matches!(self, NameRole::Target | NameRole::RenameTo | NameRole::Exchange)
    }
}

/// One table-like name in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRef {
    /// The full name; the schema is the statement's default schema when the text does not give one (a parent's that of
    /// its child).
    pub name: TableName,
    /// Where the name stands in the text, in bytes.
    pub span: Range<usize>,
    /// What it is used for.
    pub role: NameRole,
}

/// One database name in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaRef {
    /// The name.
    pub name: String,
    /// Where it stands in the text; empty where the text leaves it out (`ALTER DATABASE CHARACTER SET …`).
    pub span: Range<usize>,
}

/// A classified statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What it does.
    pub kind: StatementKind,
    /// Every table-like name, in the order of the text.
    pub tables: Vec<NameRef>,
    /// Every database name that does not qualify a table.
    pub schemas: Vec<SchemaRef>,
    /// `IF EXISTS` or `IF NOT EXISTS` stands before the object's name.
    pub conditional: bool,
    /// Qualifiers of column names (`t.` in `ADD COLUMN t.c INT`), with their dot: left out when names change.
    pub(crate) qualifiers: Vec<Range<usize>>,
}

impl Statement {
    /// Classifies `sql`, which ran with `default_schema` as the current database. Never fails: what is not
    /// recognised is [`StatementKind::Unknown`].
    pub fn classify(sql: &str, default_schema: &str, mode: SqlMode) -> Statement {
        crate::classify::classify(sql, default_schema, mode)
    }

    /// Of a statement that is not recognised: whether it certainly changes neither tables nor rows. Each word is looked
    /// at, wherever it stands: what may be about a table is taken to be.
    pub fn names_no_table(&self, sql: &str, mode: SqlMode) -> bool {
        let tokens = Tokens::of(sql, mode);
        let ends = |at: usize| (at..tokens.len()).all(|i| tokens.punct(i, ';'));
        !tokens.unterminated
            && self.tables.is_empty()
            && tokens.is_kind(0, TokenKind::Word)
            && !(0..tokens.len())
                .any(|i| tokens.is_any(i, &TABLE_WORDS) || (tokens.punct(i, ';') && !ends(i)))
    }

    /// The tables that the statement creates, changes, renames or drops.
    pub fn changed_tables(&self) -> impl Iterator<Item = &TableName> {
        self.tables.iter().filter(|t| t.role.is_changed()).map(|t| &t.name)
    }

    /// Old and new name of every table renamed by `RENAME TABLE` or `ALTER TABLE … RENAME`.
    pub fn renames(&self) -> Vec<(TableName, TableName)> {
        if let StatementKind::RenameTable(pairs) = &self.kind {
            return pairs.clone();
        }
        let Some(target) = self.tables.iter().find(|t| t.role == NameRole::Target) else { return Vec::new() };
        let renamed = self.tables.iter().filter(|t| t.role == NameRole::RenameTo);
        renamed.map(|to| (target.name.clone(), to.name.clone())).collect()
    }

    /// Changes the structure of tables or databases: to be executed on the target when in scope.
    pub fn is_ddl(&self) -> bool {
        matches!(
            self.kind,
            StatementKind::CreateDatabase
                | StatementKind::AlterDatabase
                | StatementKind::DropDatabase
                | StatementKind::CreateTable { .. }
                | StatementKind::AlterTable
                | StatementKind::RenameTable(_)
                | StatementKind::DropTable { .. }
                | StatementKind::TruncateTable
                | StatementKind::CreateIndex
                | StatementKind::DropIndex
                | StatementKind::Sequence
        )
    }
}

/// The statement with every table name given by `table` and every database name given by `schema`, quoted and
/// fully qualified. All other bytes stay as they are.
pub fn rewrite(
    sql: &str,
    statement: &Statement,
    mut table: impl FnMut(&TableName) -> TableName,
    mut schema: impl FnMut(&str) -> String,
) -> String {
    let mut edits = Edits::new(sql);
    for reference in &statement.tables {
        edits.replace(reference.span.clone(), table(&reference.name).to_string());
    }
    for reference in &statement.schemas {
        let quoted = quote_ident(&schema(&reference.name));
        let text = if reference.span.is_empty() { format!(" {quoted}") } else { quoted };
        edits.replace(reference.span.clone(), text);
    }
    for span in &statement.qualifiers {
        edits.delete(span.clone());
    }
    edits.apply()
}

/// Replacements of parts of a text.
#[derive(Debug)]
pub(crate) struct Edits<'a> {
    sql: &'a str,
    list: Vec<(Range<usize>, String)>,
}

impl<'a> Edits<'a> {
    pub fn new(sql: &'a str) -> Self {
        Edits { sql, list: Vec::new() }
    }

    pub fn replace(&mut self, span: Range<usize>, text: impl Into<String>) {
        self.list.push((span, text.into()));
    }

    pub fn insert(&mut self, at: usize, text: impl Into<String>) {
        self.list.push((at..at, text.into()));
    }

    pub fn delete(&mut self, span: Range<usize>) {
        self.list.push((span, String::new()));
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The text with all edits made. An edit inside one that starts earlier is dropped: the outer one wins.
    pub fn apply(mut self) -> String {
        self.list.sort_by(|(a, _), (b, _)| {
            a.start
                .cmp(&b.start)
                .then_with(|| a.is_empty().cmp(&b.is_empty()).reverse())
                .then(b.end.cmp(&a.end))
        });
        let mut out = String::with_capacity(self.sql.len() + 64);
        let mut done = 0;
        for (span, text) in &self.list {
            if span.start < done {
                continue;
            }
            out.push_str(self.sql.get(done..span.start).unwrap_or(""));
            // Two names that touched (`RENAME"a"TO"b"`) must not grow together with the words around them.
            out.push_str(text);
            done = span.end;
        }
        out.push_str(self.sql.get(done..).unwrap_or(""));
        out
    }
}
