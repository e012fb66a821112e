//! A statement in the other flavour's dialect.
//!
//! MySQL and MariaDB share most of their DDL. What differs is changed piece by piece, all other bytes stay; what the
//! target cannot express is refused by name; what it expresses differently is told in a note. A statement that
//! needs more than this is left as it is, and the target refuses it loudly.

mod clauses;
mod collation;
mod columns;
mod reserved;
mod shape;
#[cfg(test)]
mod tests;
mod to_mariadb;
mod to_mysql;

use std::ops::Range;

use dmnode_model::{CodedError, Flavor, codes};

use crate::lex::{SqlMode, TokenKind, Tokens};
use crate::statement::{Edits, Statement, StatementKind};
use shape::Shape;

pub use collation::translate_collation;

/// `8.0.36` as `(8, 0, 36)`.
pub type ServerVersion = (u32, u32, u32);

/// A statement in the target's dialect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Translated {
    /// The statement.
    pub sql: String,
    /// Statements to be executed before it, where the target needs two for one of the source
    /// (`CREATE OR REPLACE TABLE`).
    pub prelude: Vec<String>,
    /// What was changed that a reader of the target should know.
    pub notes: Vec<String>,
}

/// The statement as a server of flavour `to` takes it. Between servers of one flavour it stays as it is.
///
/// Refused, naming the object, is what the target cannot hold: a type it does not have, system versioning,
/// sequences, functional indexes.
pub fn translate(
    sql: &str,
    mode: SqlMode,
    from: Flavor,
    to: Flavor,
    to_version: ServerVersion,
) -> Result<Translated, CodedError> {
    translate_with_default(sql, mode, from, to, to_version, None)
}

/// [`translate`] for a statement of a MySQL session to which `CHARACTER SET utf8mb4` meant this collation
/// (`default_collation_for_utf8mb4`).
pub fn translate_with_default(
    sql: &str,
    mode: SqlMode,
    from: Flavor,
    to: Flavor,
    to_version: ServerVersion,
    utf8mb4_collation: Option<&str>,
) -> Result<Translated, CodedError> {
    if from == to {
        return Ok(Translated { sql: sql.to_owned(), ..Translated::default() });
    }
    let text = unwrap_executed_comments(sql, mode);
    let statement = Statement::classify(&text, "", mode);
    if !statement.is_ddl() {
        return Ok(Translated { sql: sql.to_owned(), ..Translated::default() });
    }
    let tokens = Tokens::of(&text, mode);
    let mut work = Work {
        tokens: &tokens,
        shape: Shape::of(&tokens, &statement),
        statement: &statement,
        edits: Edits::new(&text),
        removed: Vec::new(),
        prelude: Vec::new(),
        notes: Vec::new(),
        from,
        to,
        to_version,
        utf8mb4_collation,
    };
    work.drop_algorithm_and_lock();
    reserved::run(&mut work);
    match to {
        Flavor::Mariadb => to_mariadb::run(&mut work),
        Flavor::Mysql => to_mysql::run(&mut work),
    }
    .map_err(|err| err.statement(sql))?;
    collation::run(&mut work).map_err(|err| err.statement(sql))?;
    work.delete_removed();
    let Work { edits, prelude, notes, .. } = work;
    // A statement without any difference stays byte for byte, comments included.
    let sql = if edits.is_empty() && !changes_meaning(sql, mode) { sql.to_owned() } else { edits.apply() };
    let sql = if is_empty_alter_database(&sql, mode) { "DO 0".to_owned() } else { sql };
    Ok(Translated { sql, prelude, notes })
}

/// A definition from a MySQL server to which `CHARACTER SET utf8mb4` meant this collation, for one to which it means
/// another one. Everything else stays byte for byte.
pub fn with_utf8mb4_collation(sql: &str, mode: SqlMode, collation: &str) -> String {
    let statement = Statement::classify(sql, "", mode);
    let tokens = Tokens::of(sql, mode);
    let mut work = Work {
        tokens: &tokens,
        shape: Shape::of(&tokens, &statement),
        statement: &statement,
        edits: Edits::new(sql),
        removed: Vec::new(),
        prelude: Vec::new(),
        notes: Vec::new(),
        from: Flavor::Mysql,
        to: Flavor::Mysql,
        to_version: ServerVersion::default(),
        utf8mb4_collation: Some(collation),
    };
    collation::spell_defaults_out(&mut work);
    work.edits.apply()
}

/// The executed comments of one flavour mean nothing, or something else, to the other: their content is laid bare.
fn unwrap_executed_comments(sql: &str, mode: SqlMode) -> String {
    let tokens = Tokens::with_comment_marks(sql, mode);
    let mut edits = Edits::new(sql);
    for token in &tokens.list {
        if matches!(token.kind, TokenKind::CommentOpen | TokenKind::CommentClose) {
            edits.replace(token.start..token.end, " ");
        }
    }
    edits.apply()
}

/// No option of an `ALTER DATABASE` is left. Servers refuse the empty statement; one without effect stands for it.
fn is_empty_alter_database(sql: &str, mode: SqlMode) -> bool {
    let tokens = Tokens::of(sql, mode);
    tokens.is(0, "ALTER") && tokens.is_any(1, &["DATABASE", "SCHEMA"]) && tokens.len() <= 3
}

fn changes_meaning(sql: &str, mode: SqlMode) -> bool {
    Tokens::with_comment_marks(sql, mode).list.iter().any(|t| t.kind == TokenKind::CommentOpen)
}

/// A translation under way.
struct Work<'w, 'a> {
    tokens: &'w Tokens<'a>,
    shape: Shape,
    statement: &'w Statement,
    edits: Edits<'a>,
    /// Parts of lists that go.
    removed: Vec<Range<usize>>,
    prelude: Vec<String>,
    notes: Vec<String>,
    from: Flavor,
    to: Flavor,
    to_version: ServerVersion,
    utf8mb4_collation: Option<&'w str>,
}

impl Work<'_, '_> {
    fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// Takes out the tokens `range`.
    fn delete(&mut self, range: Range<usize>) {
        if let Some(last) = range.end.checked_sub(1).filter(|last| *last >= range.start) {
            self.edits.delete(self.tokens.span(range.start).start..self.tokens.span(last).end);
        }
    }

    /// Takes out a part of a list, with the comma that becomes one too many.
    fn delete_from_list(&mut self, range: Range<usize>) {
        self.removed.push(range);
    }

    /// Makes the deletions from lists: neighbours go together, so that each comma is counted once.
    fn delete_removed(&mut self) {
        let mut removed = std::mem::take(&mut self.removed);
        removed.sort_by_key(|r| r.start);
        let mut runs: Vec<Range<usize>> = Vec::new();
        for range in removed {
            match runs.last_mut() {
                Some(run) if range.start == run.end + 1 && self.tokens.punct(run.end, ',') => {
                    run.end = range.end
                }
                _ => runs.push(range),
            }
        }
        for run in runs {
            let before = run.start.wrapping_sub(1);
            if self.tokens.punct(before, ',') {
                self.delete(before..run.end);
            } else if self.tokens.punct(run.end, ',') {
                self.delete(run.start..run.end + 1);
            } else {
                self.delete(run);
            }
        }
    }

    fn replace(&mut self, range: Range<usize>, text: impl Into<String>) {
        if let Some(last) = range.end.checked_sub(1).filter(|last| *last >= range.start) {
            self.edits.replace(self.tokens.span(range.start).start..self.tokens.span(last).end, text);
        }
    }

    fn insert_after(&mut self, token: usize, text: impl Into<String>) {
        self.edits.insert(self.tokens.span(token).end, text);
    }

    /// The target cannot hold `what`.
    fn refuse<T>(&self, what: impl std::fmt::Display, remedy: &str) -> Result<T, CodedError> {
        let target = match self.to {
            Flavor::Mysql => "MySQL",
            Flavor::Mariadb => "MariaDB",
        };
        let object = self.statement.tables.first().map(|t| t.name.clone());
        let object = object.map_or_else(String::new, |name| {
            if name.schema.is_empty() { dmnode_model::quote_ident(&name.table) } else { name.quoted() }
        });
        let (major, minor, patch) = self.to_version;
        let error = CodedError::new(
            codes::DIALECT_NOT_IN_TARGET,
            format!("{what} does not exist in {target} {major}.{minor}.{patch}"),
        )
        .remedy(remedy);
        Err(if object.is_empty() { error } else { error.object(object) })
    }

    fn version_is_at_least(&self, version: ServerVersion) -> bool {
        self.to_version >= version
    }

    fn is_index_statement(&self) -> bool {
        matches!(self.statement.kind, StatementKind::CreateIndex | StatementKind::DropIndex)
    }
}
