//! What becomes of a statement of the stream: skipped, executed in the target in the target's words, or a stop.

use std::collections::BTreeSet;

use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::{Flavor, TableName, quote_ident};
use dmnode_mysql::{QueryEvent, ServerInfo};
use dmnode_schema::{
    NameRole, SqlMode, Statement, StatementKind, rewrite_routed, strip_create_select_suffix,
    translate_collation, translate_with_default,
};

use super::scope::Scope;
use crate::load::DdlCopied;
use crate::progress::text_literal;

/// An object whose state before and after tells whether a statement has been executed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// A table of the target.
    Table(TableName),
    /// A database of the target.
    Database(String),
}

impl Object {
    /// Its name for statements.
    pub fn quoted(&self) -> String {
        match self {
            Object::Table(name) => name.quoted(),
            Object::Database(name) => quote_ident(name),
        }
    }
}

/// How to find out after a crash whether the statement took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// Doing it twice is the same as doing it once.
    Repeatable,
    /// The objects' definitions differ before and after; equal ones mean that it may be done (again).
    Definitions,
    /// A marker table is renamed by the same statement.
    Marker,
    /// Equal definitions say nothing: only a person can decide.
    Person,
}

/// A statement ready for the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ddl {
    /// The statements, executed in order.
    pub statements: Vec<String>,
    /// The objects they change.
    pub objects: Vec<Object>,
    /// How a repetition is decided.
    pub evidence: Evidence,
    /// Errors that mean "is already so" (the target was prepared, or several sources share it).
    pub tolerated: &'static [u16],
    /// The tables at the source, as far as they are in scope.
    pub sources: Vec<TableName>,
    /// How the statements are to be read.
    pub mode: SqlMode,
}

/// The decision.
#[derive(Debug, PartialEq)]
pub enum Decision {
    /// Nothing to do in the target; the text says why.
    Skip(&'static str),
    /// About an object of this kind, which carries no rows and is not migrated.
    NotMigrated(&'static str),
    /// Execute.
    Execute(Ddl),
}

/// The kind of a statement on a sequence.
pub const SEQUENCE: &str = "sequence";
/// Kinds of statements without rows that are not about an object either.
const NO_OBJECTS: [&str; 8] =
    ["empty", "set", "flush", "query", "table maintenance", "cache", "administration", "prepared statement"];

/// From and to.
#[derive(Debug, Clone, Copy)]
pub struct Servers<'a> {
    /// The source's flavour.
    pub source: Flavor,
    /// The target.
    pub target: &'a ServerInfo,
}

/// Decides on a statement of the stream. `copied` says whether the copy contains a DDL on a table (`None`: there is no
/// copy under way).
pub fn decide(
    query: &QueryEvent,
    scope: &Scope,
    servers: Servers<'_>,
    copied: Option<&mut dyn FnMut(&TableName) -> DdlCopied>,
) -> Result<Decision, CodedError> {
    let Some(text) = query.sql_text() else {
        return Err(CodedError::new(
            codes::SYNCER_PARSE_DDL,
            "parse DDL: a statement is in a character set that is not supported and has characters beyond ASCII",
        )
        .remedy("run it in the target by hand, then `binlog skip` it here"));
    };
    let mode = query.sql_mode.map(|bits| SqlMode::from_bits(bits, servers.source)).unwrap_or_default();
    let utf8mb4 = query.default_collation_for_utf8mb4.as_ref().map(|collation| collation.name.as_ref());
    let utf8mb4 = super::ddl_session::meant_by_utf8mb4(utf8mb4, servers.source);
    let words = Words { text: &text, schema: &query.schema, mode, thread_id: query.thread_id, utf8mb4 };
    decide_words(words, scope, servers, copied)
}

/// Decides on a statement of an operator: the source's names, the target's dialect.
pub fn decide_operators(text: &str, scope: &Scope, servers: Servers<'_>) -> Result<Decision, CodedError> {
    let servers = Servers { source: servers.target.flavor, target: servers.target };
    let words = Words { text, schema: "", mode: SqlMode::default(), thread_id: 0, utf8mb4: None };
    decide_words(words, scope, servers, None)
}

/// A statement and how it is to be read.
struct Words<'a> {
    text: &'a str,
    schema: &'a str,
    mode: SqlMode,
    thread_id: u32,
    /// What `CHARACTER SET utf8mb4` means to it.
    utf8mb4: Option<&'a str>,
}

fn decide_words(
    words: Words<'_>,
    scope: &Scope,
    servers: Servers<'_>,
    mut copied: Option<&mut dyn FnMut(&TableName) -> DdlCopied>,
) -> Result<Decision, CodedError> {
    let mode = words.mode;
    let text = strip_create_select_suffix(words.text, mode);
    let mut statement = Statement::classify(&text, words.schema, mode);
    if scope.lower_case {
        lower_case(&mut statement);
    }
    let statement = statement;
    let stop = |code: u32, message: &str| CodedError::new(code, message).statement(&text);
    match &statement.kind {
        StatementKind::Begin
        | StatementKind::Commit
        | StatementKind::Rollback
        | StatementKind::Savepoint
        | StatementKind::RollbackToSavepoint
        | StatementKind::ReleaseSavepoint
        | StatementKind::Xa(_) => return Ok(Decision::Skip("transaction control")),
        StatementKind::NoRows(what) if NO_OBJECTS.contains(what) => return Ok(Decision::Skip(what)),
        StatementKind::NoRows(what) => return Ok(Decision::NotMigrated(what)),
        StatementKind::Sequence => {
            for name in statement.changed_tables() {
                if scope.has_table(name)? {
                    return Ok(Decision::NotMigrated(SEQUENCE));
                }
            }
            return Ok(Decision::Skip("out of scope"));
        }
        StatementKind::Unknown if statement.names_no_table(&text, mode) => {
            return Ok(Decision::NotMigrated("unknown"));
        }
        StatementKind::CreateTable { temporary: true, .. } | StatementKind::DropTable { temporary: true } => {
            return Ok(Decision::Skip("temporary table"));
        }
        StatementKind::Dml(_) | StatementKind::Unknown => {
            let mut all_out = !statement.tables.is_empty();
            for reference in &statement.tables {
                all_out &= !scope.has_table(&reference.name)?;
            }
            if all_out {
                return Ok(Decision::Skip("out of scope"));
            }
            return Err(match statement.kind {
                StatementKind::Dml(verb) => {
                    // The statement has row values: it is described, not shown.
                    CodedError::new(
                        codes::STATEMENT_FORMAT,
                        format!("a change is in the binlog as a statement ({verb}), not as rows"),
                    )
                    .cause(format!("written by connection {} of the source", words.thread_id))
                }
                _ => CodedError::new(
                    codes::SYNCER_PARSE_DDL,
                    "parse DDL: a statement of the binlog is not understood",
                )
                .statement(text.chars().take(60).collect::<String>())
                .remedy(
                    "if it does not matter to the target, `binlog skip` it; if it does, `binlog replace` it",
                ),
            });
        }
        StatementKind::CreateDatabase | StatementKind::AlterDatabase | StatementKind::DropDatabase => {
            let Some(schema) = statement.schemas.first().map(|schema| schema.name.clone()) else {
                return Err(stop(
                    codes::SYNCER_PARSE_DDL,
                    "parse DDL: a statement on a database without its name",
                ));
            };
            if !scope.has_schema(&schema)? {
                if statement.kind == StatementKind::DropDatabase && scope.has_tables_without(&schema)? {
                    return Err(stop(
                        codes::DDL_UNSUPPORTED,
                        "a database is dropped that has tables in the task and is not in its block-allow-list itself",
                    )
                    .remedy("take the tables out with remove-table (and drop them in the target), then resume-task"));
                }
                return Ok(Decision::Skip("out of scope"));
            }
            if statement.kind == StatementKind::DropDatabase && copied.is_some() {
                return Err(stop(codes::DDL_DURING_COPY, "a database was dropped while it was copied"));
            }
            if statement.kind == StatementKind::DropDatabase && scope.router().is_schema_shared(&schema)? {
                return Err(shared(stop(
                    codes::DDL_UNSUPPORTED,
                    "a database is dropped whose target also holds what other routes lead there",
                )));
            }
            let target = scope.router().route_schema(&schema)?;
            let sql = rewrite_routed(&text, &statement, scope.router())?;
            let tolerated: &[u16] = match statement.kind {
                StatementKind::CreateDatabase => &[1007],
                StatementKind::DropDatabase => &[1008],
                _ => &[],
            };
            return Ok(Decision::Execute(Ddl {
                statements: in_target_words(&sql, mode, servers, words.utf8mb4)?,
                objects: vec![Object::Database(target)],
                evidence: Evidence::Repeatable,
                tolerated,
                sources: Vec::new(),
                mode,
            }));
        }
        StatementKind::CreateTable { .. }
        | StatementKind::AlterTable
        | StatementKind::RenameTable(_)
        | StatementKind::DropTable { .. }
        | StatementKind::TruncateTable
        | StatementKind::CreateIndex
        | StatementKind::DropIndex => {}
    }

    let mut inside = Vec::new();
    let mut outside = Vec::new();
    for name in statement.changed_tables() {
        if scope.has_table(name)? { inside.push(name.clone()) } else { outside.push(name.clone()) }
    }
    if inside.is_empty() {
        return Ok(Decision::Skip("out of scope"));
    }
    if let Some(copied) = &mut copied {
        let answers: BTreeSet<u8> = inside
            .iter()
            .map(|name| match copied(name) {
                DdlCopied::Yes => 0,
                DdlCopied::No => 1,
                DdlCopied::Mixed => 2,
            })
            .collect();
        match answers.into_iter().collect::<Vec<_>>()[..] {
            [0] => return Ok(Decision::Skip("contained in the copy")),
            [1] => {}
            _ => {
                return Err(stop(
                    codes::DDL_DURING_COPY,
                    "a table was changed while it was copied: some of its chunks have the old structure, some the new",
                ));
            }
        }
    }
    if matches!(statement.kind, StatementKind::DropTable { .. } | StatementKind::TruncateTable) {
        for name in &inside {
            if scope.router().is_shared(name)? {
                return Err(shared(stop(
                    codes::DDL_UNSUPPORTED,
                    "a table is dropped or emptied whose target also holds the rows of other tables",
                ))
                .object(format!("{} (source {name})", scope.router().route(name)?)));
            }
        }
    }
    let mut objects = BTreeSet::new();
    for name in &inside {
        objects.insert(Object::Table(scope.router().route(name)?));
    }
    let objects: Vec<Object> = objects.into_iter().collect();
    let mixed = || {
        stop(
            codes::DDL_UNSUPPORTED,
            "a statement changes tables inside and outside of the task's scope, and they depend on each other",
        )
        .remedy("take all of them into the block-allow-list or none; for now do in the target by hand what is needed, then `binlog skip` the statement")
    };
    let execute =
        |sql: &str, evidence: Evidence, tolerated: &'static [u16]| -> Result<Decision, CodedError> {
            Ok(Decision::Execute(Ddl {
                statements: in_target_words(sql, mode, servers, words.utf8mb4)?,
                objects: objects.clone(),
                evidence,
                tolerated,
                sources: inside.clone(),
                mode,
            }))
        };
    match &statement.kind {
        StatementKind::DropTable { .. } => {
            // Written anew: it may name tables out of scope, and what is not there need not be dropped.
            let names: Vec<String> = objects
                .iter()
                .filter_map(|object| match object {
                    Object::Table(name) => Some(name.quoted()),
                    Object::Database(_) => None,
                })
                .collect();
            execute(&format!("DROP TABLE IF EXISTS {}", names.join(", ")), Evidence::Repeatable, &[])
        }
        StatementKind::RenameTable(pairs) => {
            let mut renames = Vec::new();
            for (from, to) in pairs {
                match (scope.has_table(from)?, scope.has_table(to)?) {
                    (true, true) => renames.push(format!(
                        "{} TO {}",
                        scope.router().route(from)?.quoted(),
                        scope.router().route(to)?.quoted()
                    )),
                    (false, false) => {}
                    _ => return Err(mixed()),
                }
            }
            let condition = if statement.conditional { "IF EXISTS " } else { "" };
            execute(&format!("RENAME TABLE {condition}{}", renames.join(", ")), Evidence::Marker, &[])
        }
        _ if !outside.is_empty() => Err(mixed()),
        StatementKind::CreateTable { select: true, .. } => Err(stop(
            codes::STATEMENT_FORMAT,
            "CREATE TABLE … SELECT is in the binlog as a statement, its rows are not",
        )),
        StatementKind::CreateTable { like, .. } => {
            if *like {
                for model in statement.tables.iter().filter(|reference| reference.role == NameRole::Like) {
                    if !scope.has_table(&model.name)? {
                        return Err(mixed());
                    }
                }
            }
            let sql = rewrite_routed(&text, &statement, scope.router())?;
            execute(&sql, Evidence::Definitions, &[1050])
        }
        StatementKind::TruncateTable => {
            execute(&rewrite_routed(&text, &statement, scope.router())?, Evidence::Repeatable, &[])
        }
        _ => {
            let sql = rewrite_routed(&text, &statement, scope.router())?;
            let exchanges = statement.tables.iter().any(|reference| reference.role == NameRole::Exchange);
            execute(&sql, if exchanges { Evidence::Person } else { Evidence::Definitions }, &[])
        }
    }
}

/// Several sources' rows are in one table: nobody here can tell which of them are meant.
fn shared(error: CodedError) -> CodedError {
    error.remedy("delete the rows of this shard in the target by hand, if they are not wanted, then `binlog skip` the statement")
}

/// The names as a source with `lower_case_table_names` keeps them.
pub(super) fn lower_case(statement: &mut Statement) {
    let lower =
        |name: &mut TableName| *name = TableName::new(name.schema.to_lowercase(), name.table.to_lowercase());
    for reference in &mut statement.tables {
        lower(&mut reference.name);
    }
    for schema in &mut statement.schemas {
        schema.name = schema.name.to_lowercase();
    }
    if let StatementKind::RenameTable(pairs) = &mut statement.kind {
        for (from, to) in pairs {
            lower(from);
            lower(to);
        }
    }
}

fn in_target_words(
    sql: &str,
    mode: SqlMode,
    servers: Servers<'_>,
    utf8mb4: Option<&str>,
) -> Result<Vec<String>, CodedError> {
    let version = servers.target.version;
    let version = (u32::from(version.0), u32::from(version.1), u32::from(version.2));
    let translated =
        translate_with_default(sql, mode, servers.source, servers.target.flavor, version, utf8mb4)?;
    for note in &translated.notes {
        tracing::info!(note = %note, "a DDL is written differently for the target");
    }
    let mut statements = translated.prelude;
    statements.push(translated.sql);
    Ok(statements)
}

/// The settings under which a statement means in the target what it meant at the source. The connection is not used
/// for anything else afterwards.
pub fn session(query: &QueryEvent, timestamp: u32, servers: Servers<'_>) -> Vec<String> {
    let mut settings = Vec::new();
    if let Some(bits) = query.sql_mode {
        settings.push(format!("SET SESSION sql_mode = '{}'", sql_mode_names(bits)));
    }
    if let Some(checks) = query.foreign_key_checks() {
        settings.push(format!("SET SESSION foreign_key_checks = {}", u8::from(checks)));
    }
    if let Some(checks) = query.unique_checks() {
        settings.push(format!("SET SESSION unique_checks = {}", u8::from(checks)));
    }
    if let Some(zone) = query.time_zone.as_deref().filter(|zone| *zone != "SYSTEM") {
        settings.push(format!("SET SESSION time_zone = {}", text_literal(zone)));
    }
    if timestamp > 0 {
        let fraction = query.microseconds.map(|micros| format!(".{micros:06}")).unwrap_or_default();
        settings.push(format!("SET SESSION timestamp = {timestamp}{fraction}"));
    }
    if let Some(collation) = &query.collation_server {
        let version = servers.target.version;
        let version = (u32::from(version.0), u32::from(version.1), u32::from(version.2));
        let (name, _) = translate_collation(&collation.name, servers.source, servers.target.flavor, version);
        settings.push(format!("SET SESSION collation_server = {}", text_literal(&name)));
    }
    settings
}

/// `sql_mode` bits that both flavours know by the same name.
const SQL_MODES: [(u32, &str); 19] = [
    (0, "REAL_AS_FLOAT"),
    (1, "PIPES_AS_CONCAT"),
    (2, "ANSI_QUOTES"),
    (3, "IGNORE_SPACE"),
    (5, "ONLY_FULL_GROUP_BY"),
    (6, "NO_UNSIGNED_SUBTRACTION"),
    (7, "NO_DIR_IN_CREATE"),
    (19, "NO_AUTO_VALUE_ON_ZERO"),
    (20, "NO_BACKSLASH_ESCAPES"),
    (21, "STRICT_TRANS_TABLES"),
    (22, "STRICT_ALL_TABLES"),
    (23, "NO_ZERO_IN_DATE"),
    (24, "NO_ZERO_DATE"),
    (25, "ALLOW_INVALID_DATES"),
    (26, "ERROR_FOR_DIVISION_BY_ZERO"),
    (27, "TRADITIONAL"),
    (29, "HIGH_NOT_PRECEDENCE"),
    (30, "NO_ENGINE_SUBSTITUTION"),
    (31, "PAD_CHAR_TO_FULL_LENGTH"),
];

fn sql_mode_names(bits: u64) -> String {
    let names: Vec<&str> =
        SQL_MODES.iter().filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, name)| *name).collect();
    names.join(",")
}

/// `SHOW CREATE …` for an object.
pub fn show_create(object: &Object) -> String {
    match object {
        Object::Table(name) => format!("SHOW CREATE TABLE {}", name.quoted()),
        Object::Database(name) => format!("SHOW CREATE DATABASE {}", quote_ident(name)),
    }
}

/// A definition without what changes by itself: the next AUTO_INCREMENT value.
pub fn stable(definition: &str) -> String {
    const OPTION: &str = " AUTO_INCREMENT=";
    match definition.rfind(OPTION) {
        // Only as a table option, which comes after the last parenthesis of the columns.
        Some(at) if definition.rfind("\n)").is_some_and(|end| end < at) => {
            let rest = definition[at + OPTION.len()..].trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{}{rest}", &definition[..at])
        }
        _ => definition.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_have_names() {
        assert_eq!(sql_mode_names((1 << 2) | (1 << 21) | (1 << 40)), "ANSI_QUOTES,STRICT_TRANS_TABLES");
    }

    #[test]
    fn auto_increment_is_left_out_of_definitions_only_as_an_option() {
        let with = "CREATE TABLE `t` (\n  `a` int COMMENT ' AUTO_INCREMENT=7'\n) ENGINE=InnoDB AUTO_INCREMENT=12 COMMENT='x'";
        assert_eq!(
            stable(with),
            "CREATE TABLE `t` (\n  `a` int COMMENT ' AUTO_INCREMENT=7'\n) ENGINE=InnoDB COMMENT='x'"
        );
        let without = "CREATE TABLE `t` (\n  `a` int COMMENT ' AUTO_INCREMENT=7'\n) ENGINE=InnoDB";
        assert_eq!(stable(without), without);
    }
}
