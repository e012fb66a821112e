//! What MySQL writes and MariaDB does not take.

use std::ops::Range;

use dmnode_model::CodedError;

use super::Work;
use super::shape::{Column, PartKind, outside_parens};
use crate::lex::TokenKind;
use crate::statement::StatementKind;

pub(super) fn run(work: &mut Work<'_, '_>) -> Result<(), CodedError> {
    for column in work.columns() {
        column_type(work, &column)?;
        column_attributes(work, &column);
    }
    for part in work.parts_of(PartKind::Index) {
        if work.statement.kind != StatementKind::DropIndex {
            functional_index(work, &part)?;
        }
        index_attributes(work, &part);
    }
    for part in work.parts_of(PartKind::Constraint) {
        unenforced_constraint(work, part)?;
    }
    for part in work.parts_of(PartKind::Action) {
        action(work, &part)?;
    }
    work.drop_options(&OPTIONS);
    database_read_only(work);
    json_arrows(work);
    Ok(())
}

/// Options of tables and databases that MariaDB does not have. None of them changes rows.
const OPTIONS: [&str; 9] = [
    "ENCRYPTION",
    "COMPRESSION",
    "TABLESPACE",
    "AUTOEXTEND_SIZE",
    "ENGINE_ATTRIBUTE",
    "SECONDARY_ENGINE",
    "SECONDARY_ENGINE_ATTRIBUTE",
    "SECONDARY_LOAD",
    "SECONDARY_UNLOAD",
];

fn column_type(work: &mut Work<'_, '_>, column: &Column) -> Result<(), CodedError> {
    let at = column.body.start;
    if work.tokens.is(at, "VECTOR") && !work.version_is_at_least((11, 7, 1)) {
        let what = format!("column {} of type VECTOR", work.column_name(column));
        return work.refuse(what, "use a target of MariaDB 11.7 or newer, or leave the table out");
    }
    if work.tokens.is(at, "GEOMCOLLECTION") {
        work.replace(at..at + 1, "geometrycollection");
    }
    if work.tokens.is(at, "JSON") {
        work.note("JSON columns are text with a check for valid JSON in the target");
    }
    Ok(())
}

fn column_attributes(work: &mut Work<'_, '_>, column: &Column) {
    let attributes = work.attributes(column);
    let name = work.column_name(column);
    if let Some(at) = work.find(&attributes, "VISIBLE") {
        work.delete(at..at + 1);
    }
    if let Some(at) = work.find(&attributes, "SRID") {
        work.delete(at..at + 2);
        work.note(format!("column {name}: the target does not enforce its spatial reference system"));
    }
    if let Some(at) = attributes.iter().copied().find(|i| work.tokens.are(*i, &["NOT", "SECONDARY"])) {
        work.delete(at..at + 2);
    }
    for word in ["COLUMN_FORMAT", "STORAGE", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"] {
        if let Some(at) = work.find(&attributes, word) {
            work.delete(at..work.value_end(at));
        }
    }
    let not_null = attributes.iter().copied().find(|i| work.tokens.are(*i, &["NOT", "NULL"]));
    if let Some(expression_end) = work.generated_end(column) {
        for i in attributes.iter().copied().filter(|i| *i >= expression_end && work.tokens.is(*i, "NULL")) {
            let not = i.wrapping_sub(1);
            let start = if work.tokens.is(not, "NOT") { not } else { i };
            work.delete(start..i + 1);
            work.note(format!("generated column {name} is not declared NOT NULL in the target"));
        }
    } else if let Some(at) = work.find(&attributes, "INVISIBLE") {
        let has_default =
            work.find(&attributes, "DEFAULT").is_some() || work.find(&attributes, "AUTO_INCREMENT").is_some();
        if not_null.is_some() && !has_default {
            work.delete(at..at + 1);
            work.note(format!(
                "column {name} is visible in the target: there an invisible column needs a default"
            ));
        }
    }
    for check in work.column_checks(column) {
        if work.tokens.are(check.end, &["NOT", "ENFORCED"]) {
            work.delete(check.start..check.end + 2);
            work.note(format!("column {name}: a CHECK that is not enforced is left out"));
        } else if work.tokens.is(check.end, "ENFORCED") {
            work.delete(check.end..check.end + 1);
        }
    }
}

/// `KEY k ((lower(a)))`.
fn functional_index(work: &Work<'_, '_>, part: &Range<usize>) -> Result<(), CodedError> {
    let outside_table = work.statement.tables.first().map_or(0, |t| t.span.end);
    let is_statement = work.is_index_statement();
    let opens = |i: &usize| {
        work.tokens.punct(*i, '(') && (!is_statement || work.tokens.span(*i).start >= outside_table)
    };
    let Some(list) = part.clone().find(opens) else { return Ok(()) };
    let end = work.tokens.skip_parens(list);
    let functional = (list + 1..end).any(|i| {
        let first = work.tokens.punct(i - 1, ',') || i == list + 1;
        first && work.tokens.punct(i, '(')
    });
    if functional {
        let what = format!("the functional index {}", work.text_of(part.start..end));
        return work.refuse(
            what,
            "drop the index at the source, index a generated column instead, or leave the table out",
        );
    }
    Ok(())
}

fn index_attributes(work: &mut Work<'_, '_>, part: &Range<usize>) {
    for i in outside_parens(work.tokens, part.clone()) {
        if work.tokens.is(i, "VISIBLE") {
            work.delete(i..i + 1);
        } else if work.tokens.is(i, "INVISIBLE") {
            ignored(work, i);
        } else if work.tokens.are(i, &["WITH", "PARSER"]) {
            work.delete(i..i + 3);
            work.note("a FULLTEXT index has the default parser in the target");
        } else if work.tokens.is_any(i, &["ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"]) {
            work.delete(i..work.value_end(i));
        }
    }
}

/// An invisible index is called an ignored one.
fn ignored(work: &mut Work<'_, '_>, i: usize) {
    if work.version_is_at_least((10, 6, 0)) {
        work.replace(i..i + 1, "IGNORED");
    } else {
        work.delete(i..i + 1);
        work.note("an invisible index is visible in the target");
    }
}

fn unenforced_constraint(work: &mut Work<'_, '_>, part: Range<usize>) -> Result<(), CodedError> {
    let last = part.end.wrapping_sub(1);
    if !work.tokens.is(last, "ENFORCED") {
        return Ok(());
    }
    if !work.tokens.is(last.wrapping_sub(1), "NOT") {
        work.delete(last..part.end);
        return Ok(());
    }
    if work.statement.kind == StatementKind::AlterTable && work.shape.parts.len() == 1 {
        return work.refuse(
            "a CHECK constraint that is not enforced",
            "nothing is lost without it: skip the statement",
        );
    }
    let text = work.text_of(part.clone());
    work.delete_from_list(part);
    work.note(format!("a constraint that is not enforced is left out: {text}"));
    Ok(())
}

/// What an ALTER does to existing things.
fn action(work: &mut Work<'_, '_>, part: &Range<usize>) -> Result<(), CodedError> {
    let start = part.start;
    if work.tokens.is(start, "ALTER") {
        for i in part.clone() {
            let is_index = work.tokens.is_any(start + 1, &["INDEX", "KEY"]);
            if work.tokens.is_any(i, &["VISIBLE", "INVISIBLE"]) && i + 1 == part.end {
                if !is_index {
                    return work.refuse(
                        "changing the visibility of a column alone",
                        "define the whole column in the target by hand (MODIFY … INVISIBLE), then skip the statement",
                    );
                }
                let hidden = work.tokens.is(i, "INVISIBLE");
                work.replace(i..i + 1, if hidden { "IGNORED" } else { "NOT IGNORED" });
            }
        }
        if work.tokens.is(part.end.wrapping_sub(1), "ENFORCED") {
            return work.refuse(
                "switching the enforcement of a CHECK",
                "drop or add the CHECK in the target by hand",
            );
        }
    } else if work.tokens.are(start, &["DROP", "CHECK"]) {
        work.replace(start + 1..start + 2, "CONSTRAINT");
    }
    Ok(())
}

fn database_read_only(work: &mut Work<'_, '_>) {
    if work.statement.schemas.is_empty() {
        return;
    }
    for range in work.option_ranges() {
        for i in range {
            if work.tokens.are(i, &["READ", "ONLY"]) {
                work.delete(i..work.value_end(i + 1));
                work.note("option READ ONLY of the database is left out");
            }
        }
    }
}

/// `a->'$.b'` and `a->>'$.b'` as the functions they stand for.
fn json_arrows(work: &mut Work<'_, '_>) {
    let tokens = work.tokens;
    for i in 0..tokens.len() {
        let arrow = tokens.is_ident(i) && tokens.punct(i + 1, '-') && tokens.punct(i + 2, '>');
        if !arrow {
            continue;
        }
        let unquote = tokens.punct(i + 3, '>');
        let path = i + 3 + usize::from(unquote);
        if tokens.is_kind(path, TokenKind::Text) {
            let call = format!("JSON_EXTRACT({},{})", tokens.text(i), tokens.text(path));
            work.replace(i..path + 1, if unquote { format!("JSON_UNQUOTE({call})") } else { call });
        }
    }
}
