//! The head grammar: what a statement is, by its first words, and where its names stand.

mod select;
mod table;

use dmnode_model::TableName;

use crate::lex::{SqlMode, TokenKind, Tokens};
use crate::statement::{NameRef, NameRole, SchemaRef, Statement, StatementKind, XaVerb};

pub(crate) use table::starts_query;

/// See [`Statement::classify`].
pub(crate) fn classify(sql: &str, default_schema: &str, mode: SqlMode) -> Statement {
    let tokens = Tokens::of(sql, mode);
    let mut head = Head {
        tokens: &tokens,
        at: 0,
        default_schema,
        tables: Vec::new(),
        schemas: Vec::new(),
        qualifiers: Vec::new(),
        conditional: false,
    };
    let kind = if tokens.unterminated { None } else { head.statement() };
    let mut statement = Statement {
        kind: kind.unwrap_or(StatementKind::Unknown),
        tables: head.tables,
        schemas: head.schemas,
        qualifiers: head.qualifiers,
        conditional: head.conditional,
    };
    if statement.is_ddl() && has_second_statement(&tokens) {
        statement.kind = StatementKind::Unknown;
    }
    statement.tables.sort_by_key(|t| t.span.start);
    statement
}

/// Something follows the `;` that ends the statement.
fn has_second_statement(tokens: &Tokens<'_>) -> bool {
    let end = (0..tokens.len()).find(|i| tokens.punct(*i, ';'));
    end.is_some_and(|end| (end..tokens.len()).any(|i| !tokens.punct(i, ';')))
}

/// A statement being read from the left.
struct Head<'t, 'a> {
    tokens: &'t Tokens<'a>,
    at: usize,
    default_schema: &'t str,
    tables: Vec<NameRef>,
    schemas: Vec<SchemaRef>,
    qualifiers: Vec<std::ops::Range<usize>>,
    conditional: bool,
}

impl Head<'_, '_> {
    /// Steps over `word` if it is next.
    fn take(&mut self, word: &str) -> bool {
        let found = self.tokens.is(self.at, word);
        if found {
            self.at += 1;
        }
        found
    }

    fn take_any(&mut self, words: &[&str]) -> bool {
        let found = self.tokens.is_any(self.at, words);
        if found {
            self.at += 1;
        }
        found
    }

    fn take_all(&mut self, words: &[&str]) -> bool {
        let found = self.tokens.are(self.at, words);
        if found {
            self.at += words.len();
        }
        found
    }

    fn take_punct(&mut self, c: char) -> bool {
        let found = self.tokens.punct(self.at, c);
        if found {
            self.at += 1;
        }
        found
    }

    fn take_if_exists(&mut self) {
        if self.take_all(&["IF", "EXISTS"]) || self.take_all(&["IF", "NOT", "EXISTS"]) {
            // Behind the first name the words are about a part of the table.
            self.conditional |= self.tables.is_empty();
        }
    }

    /// MariaDB's `WAIT n` and `NOWAIT` behind a table's name.
    fn take_wait(&mut self) {
        if self.tokens.is(self.at, "WAIT") && self.tokens.is_kind(self.at + 1, TokenKind::Number) {
            self.at += 2;
        } else {
            self.take("NOWAIT");
        }
    }

    /// Reads `t`, `db.t` or the old form `.t`, and remembers it.
    fn table_name(&mut self, role: NameRole) -> Option<TableName> {
        let schema = self.default_schema;
        self.table_name_in(role, schema)
    }

    /// A table's name; without a schema it is of this one.
    fn table_name_in(&mut self, role: NameRole, schema: &str) -> Option<TableName> {
        let start = self.tokens.span(self.at).start;
        let leading_dot = self.take_punct('.');
        let first = self.tokens.ident(self.at)?;
        let mut end = self.tokens.span(self.at).end;
        self.at += 1;
        let mut name = TableName::new(schema, first.as_ref());
        if !leading_dot
            && self.tokens.punct(self.at, '.')
            && let Some(second) = self.tokens.ident(self.at + 1)
        {
            name = TableName::new(first.as_ref(), second.as_ref());
            end = self.tokens.span(self.at + 1).end;
            self.at += 2;
        }
        self.tables.push(NameRef { name: name.clone(), span: start..end, role });
        Some(name)
    }

    /// Reads `a, b, c`.
    fn table_list(&mut self, role: NameRole) -> Option<()> {
        loop {
            self.table_name(role)?;
            if !self.take_punct(',') {
                return Some(());
            }
        }
    }

    fn schema_name(&mut self) -> Option<()> {
        let name = self.tokens.ident(self.at)?.into_owned();
        self.schemas.push(SchemaRef { name, span: self.tokens.span(self.at) });
        self.at += 1;
        Some(())
    }

    fn statement(&mut self) -> Option<StatementKind> {
        use StatementKind::{Begin, Commit, Dml, NoRows, TruncateTable, Unknown};
        if self.tokens.len() == 0 {
            return Some(NoRows("empty"));
        }
        while self.take_punct(';') {}
        if self.tokens.punct(self.at, '(') {
            return Some(Dml("select"));
        }
        let word = self.tokens.text(self.at).to_ascii_uppercase();
        if !self.tokens.is_kind(self.at, TokenKind::Word) {
            return None;
        }
        self.at += 1;
        Some(match word.as_str() {
            "BEGIN" if self.tokens.is(self.at, "NOT") => Unknown,
            "BEGIN" => Begin,
            "START" if self.tokens.is(self.at, "TRANSACTION") => Begin,
            "COMMIT" => Commit,
            "ROLLBACK" => self.rollback(),
            "SAVEPOINT" => StatementKind::Savepoint,
            "RELEASE" if self.tokens.is(self.at, "SAVEPOINT") => StatementKind::ReleaseSavepoint,
            "XA" => self.xa()?,
            "CREATE" => self.create()?,
            "ALTER" => self.alter()?,
            "DROP" => self.drop()?,
            "RENAME" if self.take_any(&["TABLE", "TABLES"]) => self.rename_table()?,
            "RENAME" if self.take_any(&["USER"]) => NoRows("user"),
            "TRUNCATE" => {
                self.take("TABLE");
                self.table_name(NameRole::Target)?;
                TruncateTable
            }
            "SET" if self.take("STATEMENT") => self.set_statement()?,
            "SET" if self.tokens.is_any(self.at, &["PASSWORD", "ROLE", "DEFAULT"]) => NoRows("user"),
            "SET" => NoRows("set"),
            "GRANT" | "REVOKE" => NoRows("grant"),
            "FLUSH" => NoRows("flush"),
            "ANALYZE"
                if !self.tokens.is_any(self.at, &["TABLE", "TABLES", "LOCAL", "NO_WRITE_TO_BINLOG"]) =>
            {
                Dml("analyze")
            }
            "ANALYZE" | "OPTIMIZE" | "REPAIR" | "CHECK" | "CHECKSUM" => NoRows("table maintenance"),
            "INSTALL" | "UNINSTALL" => NoRows("plugin"),
            "LOAD" if self.tokens.is(self.at, "INDEX") => NoRows("cache"),
            "START" | "STOP" | "RESET" | "PURGE" | "CHANGE" | "KILL" | "SHUTDOWN" | "RESTART" | "LOCK"
            | "UNLOCK" | "CACHE" | "CLONE" | "BACKUP" => NoRows("administration"),
            "USE" | "SHOW" | "DESCRIBE" | "DESC" | "EXPLAIN" | "HELP" | "HANDLER" => NoRows("query"),
            "INSERT" | "REPLACE" | "UPDATE" | "DELETE" | "LOAD" | "CALL" | "DO" | "SELECT" | "WITH"
            | "VALUES" | "TABLE" | "BINLOG" => self.dml(&word),
            _ => Unknown,
        })
    }

    fn rollback(&mut self) -> StatementKind {
        self.take("WORK");
        if self.take("TO") { StatementKind::RollbackToSavepoint } else { StatementKind::Rollback }
    }

    fn xa(&mut self) -> Option<StatementKind> {
        let verb = match self.tokens.text(self.at).to_ascii_uppercase().as_str() {
            "START" | "BEGIN" => XaVerb::Start,
            "END" => XaVerb::End,
            "PREPARE" => XaVerb::Prepare,
            "COMMIT" => XaVerb::Commit,
            "ROLLBACK" => XaVerb::Rollback,
            "RECOVER" => XaVerb::Recover,
            _ => return None,
        };
        Some(StatementKind::Xa(verb))
    }

    /// MariaDB's `SET STATEMENT variable = value, … FOR statement`.
    fn set_statement(&mut self) -> Option<StatementKind> {
        let mut depth = 0usize;
        while self.at < self.tokens.len() {
            if depth == 0 && self.take("FOR") {
                if self.tokens.are(self.at, &["SET", "STATEMENT"]) {
                    return None;
                }
                return self.statement();
            }
            if self.tokens.punct(self.at, '(') {
                depth += 1;
            } else if self.tokens.punct(self.at, ')') {
                depth = depth.saturating_sub(1);
            }
            self.at += 1;
        }
        None
    }

    fn create(&mut self) -> Option<StatementKind> {
        let mut temporary = false;
        loop {
            if self.take("TEMPORARY") {
                temporary = true;
            } else if self.take("DEFINER") {
                self.definer();
            } else if self.take("ALGORITHM") {
                self.take_punct('=');
                self.at += 1;
            } else if self.tokens.are(self.at, &["SQL", "SECURITY"]) {
                self.at += 3;
            } else if self.tokens.are(self.at, &["SPATIAL", "REFERENCE"]) {
                return Some(StatementKind::NoRows("spatial reference system"));
            } else if !self.take_all(&["OR", "REPLACE"])
                && !self.take_all(&["JSON", "RELATIONAL", "DUALITY"])
                && !self.take_any(&CREATE_PREFIXES)
            {
                break;
            }
        }
        if self.take_any(&["TABLE"]) {
            return self.create_table(temporary);
        }
        if self.take_any(&["DATABASE", "SCHEMA"]) {
            self.take_if_exists();
            self.schema_name()?;
            return Some(StatementKind::CreateDatabase);
        }
        if self.take_any(&["INDEX", "KEY"]) {
            return self.index_on(StatementKind::CreateIndex);
        }
        if self.take("SEQUENCE") {
            self.take_if_exists();
            self.table_name(NameRole::Target)?;
            return Some(StatementKind::Sequence);
        }
        if self.take("VIEW") {
            self.take_if_exists();
            self.table_name(NameRole::Target)?;
            self.select_names();
            return Some(StatementKind::NoRows("view"));
        }
        self.object_without_rows()
    }

    fn definer(&mut self) {
        self.take_punct('=');
        self.at += 1;
        if self.take_punct('@') {
            self.at += 1;
        } else if self.tokens.punct(self.at, '(') {
            self.at = self.tokens.skip_parens(self.at);
        }
    }

    fn alter(&mut self) -> Option<StatementKind> {
        loop {
            if self.take("DEFINER") {
                self.definer();
            } else if self.take("ALGORITHM") {
                self.take_punct('=');
                self.at += 1;
            } else if self.tokens.are(self.at, &["SQL", "SECURITY"]) {
                self.at += 3;
            } else if !self.take_all(&["JSON", "RELATIONAL", "DUALITY"])
                && !self.take_any(&[
                    "ONLINE",
                    "OFFLINE",
                    "IGNORE",
                    "UNDO",
                    "LOGFILE",
                    "RESOURCE",
                    "MATERIALIZED",
                ])
            {
                break;
            }
        }
        if self.take("TABLE") {
            return self.alter_table();
        }
        if self.take_any(&["DATABASE", "SCHEMA"]) {
            return self.alter_database();
        }
        if self.take("SEQUENCE") {
            self.take_if_exists();
            self.table_name(NameRole::Target)?;
            return Some(StatementKind::Sequence);
        }
        if self.take("VIEW") {
            self.take_if_exists();
            self.table_name(NameRole::Target)?;
            self.select_names();
            return Some(StatementKind::NoRows("view"));
        }
        self.object_without_rows()
    }

    fn alter_database(&mut self) -> Option<StatementKind> {
        let starts_option = |i: usize| self.tokens.is_any(i, &DATABASE_OPTIONS) || i >= self.tokens.len();
        let reserved = self.tokens.is_any(self.at, &["DEFAULT", "CHARACTER", "COLLATE", "READ"]);
        // CHARSET, COMMENT and ENCRYPTION may be names: they are if an option follows.
        let named = self.tokens.is_ident(self.at)
            && !reserved
            && (!starts_option(self.at) || (starts_option(self.at + 1) && self.at + 1 < self.tokens.len()));
        if named {
            self.schema_name()?;
        } else {
            let end = self.tokens.span(self.at.checked_sub(1)?).end;
            self.schemas.push(SchemaRef { name: self.default_schema.to_owned(), span: end..end });
        }
        Some(StatementKind::AlterDatabase)
    }

    fn drop(&mut self) -> Option<StatementKind> {
        let temporary = self.take("TEMPORARY");
        self.take_any(&["ONLINE", "OFFLINE"]);
        if self.take_any(&["TABLE", "TABLES"]) {
            self.take_if_exists();
            self.table_list(NameRole::Target)?;
            return Some(StatementKind::DropTable { temporary });
        }
        if self.take_any(&["DATABASE", "SCHEMA"]) {
            self.take_if_exists();
            self.schema_name()?;
            return Some(StatementKind::DropDatabase);
        }
        if self.take_any(&["INDEX", "KEY"]) {
            return self.index_on(StatementKind::DropIndex);
        }
        if self.take("SEQUENCE") {
            self.take_if_exists();
            self.table_list(NameRole::Target)?;
            return Some(StatementKind::Sequence);
        }
        if self.take("VIEW") {
            self.take_if_exists();
            self.table_list(NameRole::Target)?;
            return Some(StatementKind::NoRows("view"));
        }
        if self.tokens.is(self.at, "PREPARE") {
            return Some(StatementKind::NoRows("prepared statement"));
        }
        self.take_any(&["UNDO", "LOGFILE", "RESOURCE", "SPATIAL", "MATERIALIZED"]);
        self.object_without_rows()
    }

    /// `[IF …] name … ON table`.
    fn index_on(&mut self, kind: StatementKind) -> Option<StatementKind> {
        self.take_if_exists();
        self.tokens.ident(self.at)?;
        self.at += 1;
        while self.at < self.tokens.len() {
            if self.take("ON") {
                self.table_name(NameRole::Target)?;
                return Some(kind);
            }
            self.at += 1;
        }
        None
    }

    /// Everything that may be created, altered or dropped and holds no rows of tables.
    fn object_without_rows(&mut self) -> Option<StatementKind> {
        let word = self.tokens.text(self.at).to_ascii_uppercase();
        let what = match word.as_str() {
            "VIEW" => "view",
            "TRIGGER" => "trigger",
            "PROCEDURE" | "FUNCTION" | "PACKAGE" | "LIBRARY" => "routine",
            "EVENT" => "event",
            "USER" | "ROLE" => "user",
            "SERVER" => "server",
            "TABLESPACE" => "tablespace",
            "GROUP" => "group",
            "INSTANCE" => "administration",
            "REFERENCE" => "spatial reference system",
            "CATALOG" => "catalog",
            _ => return None,
        };
        Some(StatementKind::NoRows(what))
    }
}

const CREATE_PREFIXES: [&str; 12] = [
    "AGGREGATE",
    "ONLINE",
    "OFFLINE",
    "UNIQUE",
    "FULLTEXT",
    "SPATIAL",
    "VECTOR",
    "UNDO",
    "LOGFILE",
    "RESOURCE",
    "MATERIALIZED",
    "EXTERNAL",
];

const DATABASE_OPTIONS: [&str; 8] =
    ["DEFAULT", "CHARACTER", "CHARSET", "COLLATE", "ENCRYPTION", "READ", "COMMENT", "UPGRADE"];

#[cfg(test)]
mod tests;
