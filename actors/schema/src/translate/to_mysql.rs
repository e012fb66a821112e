//! What MariaDB writes and MySQL does not take.

use std::ops::Range;

use dmnode_model::CodedError;

use super::Work;
use super::shape::{Column, PartKind, outside_parens};
use crate::lex::TokenKind;
use crate::statement::{NameRole, StatementKind};

pub(super) fn run(work: &mut Work<'_, '_>) -> Result<(), CodedError> {
    sequences(work)?;
    versioning(work)?;
    statement_prefix(work)?;
    conditions(work);
    for column in work.columns() {
        column_type(work, &column)?;
        column_attributes(work, &column)?;
        column_default(work, &column);
    }
    for part in work.parts_of(PartKind::Index) {
        index_attributes(work, &part);
    }
    for part in work.parts_of(PartKind::Constraint) {
        constraint_name(work, &part);
    }
    for part in work.parts_of(PartKind::Action) {
        action(work, &part);
    }
    engine(work);
    work.drop_options(&OPTIONS);
    if !work.statement.schemas.is_empty() {
        work.drop_options(&["COMMENT"]);
    }
    Ok(())
}

/// Table options that MySQL does not have. None of them changes rows.
const OPTIONS: [&str; 7] = [
    "PAGE_CHECKSUM",
    "TRANSACTIONAL",
    "PAGE_COMPRESSED",
    "PAGE_COMPRESSION_LEVEL",
    "ENCRYPTED",
    "ENCRYPTION_KEY_ID",
    "IETF_QUOTES",
];

fn sequences(work: &Work<'_, '_>) -> Result<(), CodedError> {
    let remedy = "use an AUTO_INCREMENT column, or leave the object out with the block-allow-list";
    if work.statement.kind == StatementKind::Sequence {
        return work.refuse("a SEQUENCE", remedy);
    }
    if let Some(sequence) = work.statement.tables.iter().find(|t| t.role == NameRole::Sequence) {
        return work.refuse(format!("a default from the sequence {}", sequence.name), remedy);
    }
    Ok(())
}

fn versioning(work: &Work<'_, '_>) -> Result<(), CodedError> {
    let remedy = "the history of rows cannot be kept there; leave the table out with the block-allow-list";
    for i in 0..work.tokens.len() {
        let system = work.tokens.are(i, &["SYSTEM", "VERSIONING"]) || work.tokens.is(i, "SYSTEM_TIME");
        if system {
            return work.refuse("system versioning", remedy);
        }
        let row_bound = work.tokens.are(i, &["AS", "ROW"]) && work.tokens.is_any(i + 2, &["START", "END"]);
        if row_bound || work.tokens.are(i, &["WITHOUT", "OVERLAPS"]) || work.tokens.are(i, &["PERIOD", "FOR"])
        {
            return work.refuse("a PERIOD of time", remedy);
        }
    }
    Ok(())
}

/// `SET STATEMENT … FOR`, `OR REPLACE`, `ALTER ONLINE IGNORE TABLE`.
fn statement_prefix(work: &mut Work<'_, '_>) -> Result<(), CodedError> {
    let tokens = work.tokens;
    let verb = |i: &usize| tokens.is_any(*i, &["CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE"]);
    let first = if tokens.is(0, "SET") {
        let behind_for = |i: &usize| i.checked_sub(1).is_some_and(|f| tokens.is(f, "FOR"));
        let first = (0..tokens.len()).find(|i| verb(i) && behind_for(i)).unwrap_or(0);
        work.delete(0..first);
        first
    } else {
        0
    };
    let head_end = work.statement.tables.first().map(|t| t.span.start);
    let head_end = head_end.or(work.statement.schemas.first().map(|s| s.span.start)).unwrap_or(0);
    let mut i = first + 1;
    while tokens.span(i).start < head_end {
        if tokens.is_any(i, &["ONLINE", "OFFLINE"]) {
            work.delete(i..i + 1);
        } else if tokens.is(i, "IGNORE") && tokens.is(first, "ALTER") {
            return work.refuse(
                "ALTER IGNORE TABLE, which drops rows that it cannot keep",
                "remove the duplicate rows in the target and change the table there by hand, then skip the statement",
            );
        } else if tokens.are(i, &["OR", "REPLACE"]) {
            or_replace(work, i)?;
            i += 1;
        }
        i += 1;
    }
    Ok(())
}

fn or_replace(work: &mut Work<'_, '_>, at: usize) -> Result<(), CodedError> {
    let prelude = match &work.statement.kind {
        StatementKind::CreateTable { temporary: false, .. } => work
            .statement
            .tables
            .first()
            .map(|t| format!("DROP TABLE IF EXISTS {}", text(work, t.span.clone()))),
        StatementKind::CreateDatabase => work
            .statement
            .schemas
            .first()
            .map(|s| format!("DROP DATABASE IF EXISTS {}", text(work, s.span.clone()))),
        _ => None,
    };
    let Some(prelude) = prelude else {
        return work.refuse(
            "CREATE OR REPLACE of this object",
            "drop the object in the target by hand, then skip the statement",
        );
    };
    work.prelude.push(prelude);
    work.delete(at..at + 2);
    Ok(())
}

fn text(work: &Work<'_, '_>, span: Range<usize>) -> String {
    work.tokens.sql.get(span).unwrap_or("").to_owned()
}

/// `IF [NOT] EXISTS` where MySQL does not know it, `WAIT n`, `NOWAIT`.
fn conditions(work: &mut Work<'_, '_>) {
    let keeps_condition = matches!(
        work.statement.kind,
        StatementKind::CreateTable { .. }
            | StatementKind::DropTable { .. }
            | StatementKind::CreateDatabase
            | StatementKind::DropDatabase
    );
    let tokens = work.tokens;
    for i in outside_parens(tokens, 0..tokens.len()) {
        let words = if tokens.are(i, &["IF", "NOT", "EXISTS"]) {
            3
        } else if tokens.are(i, &["IF", "EXISTS"]) {
            2
        } else {
            0
        };
        if words > 0 && !keeps_condition {
            work.delete(i..i + words);
            work.note(
                "IF [NOT] EXISTS is left out: the statement fails in the target where the source ignored it",
            );
        }
        let is_wait = tokens.is(i, "WAIT") && tokens.is_kind(i + 1, TokenKind::Number);
        if is_wait {
            work.delete(i..i + 2);
        } else if tokens.is(i, "NOWAIT") {
            work.delete(i..i + 1);
        }
    }
}

fn column_type(work: &mut Work<'_, '_>, column: &Column) -> Result<(), CodedError> {
    let at = column.body.start;
    let missing = work.tokens.is_any(at, &["UUID", "INET4", "INET6", "XMLTYPE"])
        || (work.tokens.is(at, "VECTOR") && !work.version_is_at_least((9, 0, 0)));
    if missing {
        let what = format!(
            "column {} of type {}",
            work.column_name(column),
            work.tokens.text(at).to_ascii_uppercase()
        );
        return work.refuse(
            what,
            "change the column's type at the source (for example to BINARY or VARCHAR), or leave the table out",
        );
    }
    if work.tokens.is(at, "JSON") {
        // MariaDB's JSON is text, kept as it was written; MySQL's JSON would rewrite every value.
        work.replace(at..at + 1, "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
        let attributes = work.attributes(column);
        let position = attributes.into_iter().find(|i| work.tokens.is_any(*i, &["FIRST", "AFTER"]));
        let last = position.unwrap_or(column.body.end).saturating_sub(1);
        let name = work.tokens.text(column.name).to_owned();
        work.insert_after(last, format!(" CHECK (json_valid({name}))"));
        work.note(
            "JSON columns are text with a check for valid JSON in the target, as they are in the source",
        );
    }
    Ok(())
}

fn column_attributes(work: &mut Work<'_, '_>, column: &Column) -> Result<(), CodedError> {
    let attributes = work.attributes(column);
    let name = work.column_name(column);
    if let Some(at) = work.find(&attributes, "COMPRESSED") {
        let end = if work.tokens.punct(at + 1, '=') { at + 3 } else { at + 1 };
        work.delete(at..end);
        work.note(format!("column {name} is not compressed in the target"));
    }
    if let Some(at) = work.find(&attributes, "PERSISTENT") {
        work.replace(at..at + 1, "STORED");
    }
    if let Some(at) = work.find(&attributes, "REF_SYSTEM_ID") {
        work.delete(at..work.value_end(at));
        work.note(format!("column {name}: the target does not enforce its spatial reference system"));
    }
    if work.find(&attributes, "INVISIBLE").is_some() && !work.version_is_at_least((8, 0, 23)) {
        return work.refuse(format!("the invisible column {name}"), "use a target of MySQL 8.0.23 or newer");
    }
    for check in work.column_checks(column) {
        let named = work.tokens.is(check.start, "CONSTRAINT") && !work.tokens.is(check.start + 1, "CHECK");
        if named && is_generated_name(&work.tokens.ident(check.start + 1).unwrap_or_default()) {
            work.delete(check.start..check.start + 2);
        }
    }
    Ok(())
}

const NOW: [&str; 4] = ["CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP"];
const FUNCTIONS_WITHOUT_PARENS: [&str; 7] =
    ["CURRENT_DATE", "CURRENT_TIME", "CURRENT_USER", "CURRENT_ROLE", "UTC_DATE", "UTC_TIME", "UTC_TIMESTAMP"];
const NO_LITERAL_DEFAULT: [&str; 18] = [
    "TINYBLOB",
    "BLOB",
    "MEDIUMBLOB",
    "LONGBLOB",
    "TINYTEXT",
    "TEXT",
    "MEDIUMTEXT",
    "LONGTEXT",
    "JSON",
    "GEOMETRY",
    "POINT",
    "LINESTRING",
    "POLYGON",
    "MULTIPOINT",
    "MULTILINESTRING",
    "MULTIPOLYGON",
    "GEOMETRYCOLLECTION",
    "LONG",
];

/// MySQL wants parentheses round a default that is an expression, and round any default of a text or blob.
fn column_default(work: &mut Work<'_, '_>, column: &Column) {
    let attributes = work.attributes(column);
    let Some(at) = work.find(&attributes, "DEFAULT") else { return };
    let is_time = work.tokens.is_any(column.body.start, &["DATETIME", "TIMESTAMP"]);
    let needs_parens = work.tokens.is_any(column.body.start, &NO_LITERAL_DEFAULT);
    default_value(work, at + 1, is_time, needs_parens);
}

fn default_value(work: &mut Work<'_, '_>, value: usize, is_time: bool, needs_parens: bool) {
    let tokens = work.tokens;
    if tokens.punct(value, '(') || tokens.is(value, "NULL") {
        return;
    }
    let is_call = tokens.is_ident(value) && tokens.punct(value + 1, '(');
    let is_now = tokens.is_any(value, &NOW);
    if is_now && is_time {
        return;
    }
    let end = if is_call {
        tokens.skip_parens(value + 1)
    } else if is_now || tokens.is_any(value, &FUNCTIONS_WITHOUT_PARENS) {
        value + 1
    } else if needs_parens {
        let mut end = value;
        if tokens.punct(end, '-') || tokens.punct(end, '+') {
            end += 1;
        }
        // An introducer: `_utf8mb4'x'`.
        if tokens.is_kind(end, TokenKind::Word) && tokens.is_kind(end + 1, TokenKind::Text) {
            end += 1;
        }
        end + 1
    } else {
        return;
    };
    let text = work.text_of(value..end.min(tokens.len()));
    work.replace(value..end.min(tokens.len()), format!("({text})"));
}

fn index_attributes(work: &mut Work<'_, '_>, part: &Range<usize>) {
    for i in outside_parens(work.tokens, part.clone()) {
        visibility(work, i);
        if work.tokens.is(i, "CLUSTERING") {
            work.delete(i..work.value_end(i));
        }
    }
}

/// An ignored index is called an invisible one.
fn visibility(work: &mut Work<'_, '_>, i: usize) {
    if !work.tokens.is(i, "IGNORED") {
        return;
    }
    let not = i.wrapping_sub(1);
    if work.tokens.is(not, "NOT") {
        work.replace(not..i + 1, "VISIBLE");
    } else {
        work.replace(i..i + 1, "INVISIBLE");
    }
}

/// MariaDB numbers unnamed CHECKs within a table (`CONSTRAINT_1`); MySQL wants names unique within a database.
fn is_generated_name(name: &str) -> bool {
    name.strip_prefix("CONSTRAINT_").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn constraint_name(work: &mut Work<'_, '_>, part: &Range<usize>) {
    let start = part.clone().find(|i| work.tokens.is(*i, "CONSTRAINT"));
    if let Some(start) = start
        && work.tokens.is(start + 2, "CHECK")
        && is_generated_name(&work.tokens.ident(start + 1).unwrap_or_default())
    {
        work.delete(start..start + 2);
        work.note("a CHECK without a name of its own gets another generated name in the target");
    }
}

fn action(work: &mut Work<'_, '_>, part: &Range<usize>) {
    if work.tokens.are(part.start, &["ALTER", "KEY"]) {
        work.replace(part.start + 1..part.start + 2, "INDEX");
    }
    for i in outside_parens(work.tokens, part.clone()) {
        if work.tokens.is_any(part.start + 1, &["INDEX", "KEY"]) && work.tokens.is(part.start, "ALTER") {
            visibility(work, i);
        } else if work.tokens.are(i, &["SET", "DEFAULT"]) {
            default_value(work, i + 2, false, false);
        }
    }
}

/// Engines that only MariaDB has become InnoDB, which the target needs for exactly-once writing anyway.
fn engine(work: &mut Work<'_, '_>) {
    let known = [
        "INNODB",
        "MYISAM",
        "MEMORY",
        "HEAP",
        "CSV",
        "ARCHIVE",
        "BLACKHOLE",
        "MERGE",
        "MRG_MYISAM",
        "FEDERATED",
    ];
    for range in work.option_ranges() {
        for i in outside_parens(work.tokens, range) {
            if work.tokens.is(i, "ENGINE") {
                let value = i + 1 + usize::from(work.tokens.punct(i + 1, '='));
                let name = work.tokens.text(value).trim_matches(['\'', '"', '`']).to_ascii_uppercase();
                if !name.is_empty() && !known.contains(&name.as_str()) {
                    work.replace(value..value + 1, "InnoDB");
                    work.note(format!("engine {name} becomes InnoDB"));
                }
            } else if work.tokens.is(i, "ROW_FORMAT")
                && work.tokens.is(work.value_end(i).saturating_sub(1), "PAGE")
            {
                work.delete(i..work.value_end(i));
            }
        }
    }
}
