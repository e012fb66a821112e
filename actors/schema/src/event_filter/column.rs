//! Column definitions, as far as the kind of a change depends on them.

use super::event::Event;
use crate::lex::{SqlMode, TokenKind, Tokens};

/// A column as a definition writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: String,
    base: String,
    family: Family,
    /// Lengths, or the elements of ENUM and SET.
    arguments: Vec<String>,
    unsigned: bool,
    charset: Option<String>,
    collation: Option<String>,
    auto_increment: bool,
    default: Option<String>,
    pub(super) moved: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// Integers by their size.
    Int(u8),
    /// Strings by their size: what a column of this type can hold, in bits.
    String(u8),
    Other,
}

fn family(base: &str) -> Family {
    match base {
        "tinyint" => Family::Int(1),
        "smallint" => Family::Int(2),
        "mediumint" => Family::Int(3),
        "int" => Family::Int(4),
        "bigint" => Family::Int(8),
        "char" | "binary" | "tinytext" | "tinyblob" => Family::String(8),
        "varchar" | "varbinary" | "text" | "blob" => Family::String(16),
        "mediumtext" | "mediumblob" => Family::String(24),
        "longtext" | "longblob" => Family::String(32),
        _ => Family::Other,
    }
}

/// The columns and the unique keys of a `CREATE TABLE`.
pub(super) fn columns_of_create(sql: &str) -> (Vec<ColumnDefinition>, Vec<String>) {
    let tokens = Tokens::of(sql, SqlMode::default());
    let (mut columns, mut unique) = (Vec::new(), Vec::new());
    let Some(open) = (0..tokens.len()).find(|i| tokens.punct(*i, '(')) else { return (columns, unique) };
    let close = tokens.skip_parens(open).saturating_sub(1);
    let mut at = open + 1;
    while at < close {
        let mut end = at;
        while end < close && !tokens.punct(end, ',') {
            end = if tokens.punct(end, '(') { tokens.skip_parens(end) } else { end + 1 };
        }
        if tokens.is(at, "UNIQUE") {
            let name_at = if tokens.is_any(at + 1, &["KEY", "INDEX"]) { at + 2 } else { at + 1 };
            unique.extend(tokens.ident(name_at).map(std::borrow::Cow::into_owned));
        } else if tokens.is_kind(at, TokenKind::QuotedIdent)
            || !tokens.is_any(at, &["PRIMARY", "KEY", "INDEX", "CONSTRAINT", "FULLTEXT", "SPATIAL", "CHECK"])
        {
            columns.extend(definition_at(&tokens, at, end));
        }
        at = end + 1;
    }
    (columns, unique)
}

/// Reads `name type …` up to token `end`.
pub(super) fn definition_at(tokens: &Tokens<'_>, at: usize, end: usize) -> Option<ColumnDefinition> {
    let name = tokens.ident(at)?.into_owned();
    let mut i = at + 1;
    let word = tokens.text(i).to_ascii_lowercase();
    let base = match word.as_str() {
        "integer" | "int4" => "int",
        "int1" | "bool" | "boolean" => "tinyint",
        "int2" => "smallint",
        "int3" | "middleint" => "mediumint",
        "int8" | "serial" => "bigint",
        "dec" | "numeric" | "fixed" => "decimal",
        "real" | "float8" => "double",
        "float4" => "float",
        "nchar" | "character" => "char",
        "nvarchar" | "varcharacter" => "varchar",
        "long" => "mediumtext",
        other => other,
    };
    let mut base = base.to_owned();
    if word == "national" {
        base = if tokens.is(i + 1, "VARCHAR") { "varchar".into() } else { "char".into() };
        i += 1;
    }
    i += 1;
    if tokens.is(i, "PRECISION") {
        i += 1;
    }
    if tokens.is_any(i, &["VARYING", "VARCHAR"]) {
        base = "varchar".into();
        i += 1;
    }
    let mut arguments = Vec::new();
    if tokens.punct(i, '(') {
        let close = tokens.skip_parens(i);
        for n in i + 1..close.saturating_sub(1) {
            if !tokens.punct(n, ',') {
                arguments.push(tokens.text(n).to_owned());
            }
        }
        i = close;
    }
    let family = family(&base);
    let mut column = ColumnDefinition {
        name,
        family,
        arguments,
        unsigned: word == "serial",
        charset: None,
        collation: None,
        auto_increment: word == "serial",
        default: None,
        moved: false,
        base,
    };
    while i < end {
        match tokens.text(i).to_ascii_uppercase().as_str() {
            "UNSIGNED" | "ZEROFILL" => column.unsigned = true,
            "CHARSET" => column.charset = Some(tokens.text(i + 1).to_ascii_lowercase()),
            "CHARACTER" if tokens.is(i + 1, "SET") => {
                column.charset = Some(tokens.text(i + 2).to_ascii_lowercase());
            }
            "COLLATE" => column.collation = Some(tokens.text(i + 1).to_ascii_lowercase()),
            "AUTO_INCREMENT" => column.auto_increment = true,
            "DEFAULT" => column.default = Some(default_text(tokens, i + 1, end)),
            "FIRST" => column.moved = true,
            // `GENERATED ALWAYS AS (…)` has parentheses; `AFTER x` does not.
            "AFTER" => column.moved = true,
            "COMMENT" => i += 1,
            _ => {}
        }
        i = if tokens.punct(i, '(') { tokens.skip_parens(i) } else { i + 1 };
    }
    if column.default.as_deref() == Some("null") {
        column.default = None;
    }
    Some(column)
}

/// A default in one spelling: numbers and strings of the same text are the same.
fn default_text(tokens: &Tokens<'_>, at: usize, end: usize) -> String {
    let signed = tokens.punct(at, '-') || tokens.punct(at, '+');
    let last = if tokens.punct(at, '(') {
        tokens.skip_parens(at)
    } else if signed {
        at + 2
    } else if tokens.punct(at + 1, '(') {
        tokens.skip_parens(at + 1)
    } else {
        at + 1
    };
    let parts: Vec<&str> = (at..last.min(end)).map(|i| tokens.text(i)).collect();
    let text = parts.concat();
    if tokens.is_kind(at, TokenKind::Text) {
        return text.trim_matches(['\'', '"']).to_owned();
    }
    match text.to_ascii_lowercase().as_str() {
        "now()" | "current_timestamp()" | "localtime" | "localtime()" => "current_timestamp".to_owned(),
        "true" => "1".to_owned(),
        "false" => "0".to_owned(),
        other => other.to_owned(),
    }
}

/// What becomes of a column, in DM's order: the first name is the one that DM gives the change.
pub(super) fn changes(old: &ColumnDefinition, new: &ColumnDefinition) -> Vec<Event> {
    let mut events = Vec::new();
    events.extend(type_change(old, new));
    if old.auto_increment && !new.auto_increment {
        events.push(Event("remove auto increment"));
    }
    if old.default != new.default {
        events.push(Event("modify default value"));
    }
    // A definition without a character set takes the table's: only a named one is a change for sure.
    if new.charset.is_some() && old.charset.is_some() && old.charset != new.charset {
        events.push(Event("modify charset"));
    }
    if new.collation.is_some() && old.collation.is_some() && old.collation != new.collation {
        events.push(Event("modify collation"));
    }
    events
}

fn type_change(old: &ColumnDefinition, new: &ColumnDefinition) -> Option<Event> {
    const RANGE: Event = Event("value range decrease");
    const PRECISION: Event = Event("precision decrease");
    const MODIFY: Event = Event("modify column");
    let sign_toggled = old.unsigned != new.unsigned;
    if old.base != new.base {
        return match (old.family, new.family) {
            (Family::Int(a), Family::Int(b)) => (b < a || sign_toggled).then_some(RANGE),
            (Family::String(a), Family::String(b)) => {
                let char_like = |base: &str| matches!(base, "char" | "varchar");
                (b < a || (char_like(&old.base) && char_like(&new.base))).then_some(MODIFY)
            }
            _ => Some(MODIFY),
        };
    }
    match old.base.as_str() {
        "decimal" => (numbers(old, &[10, 0]) != numbers(new, &[10, 0]) || sign_toggled).then_some(PRECISION),
        "enum" | "set" => (!new.arguments.starts_with(&old.arguments)).then_some(RANGE),
        "binary" => (numbers(old, &[1]) != numbers(new, &[1])).then_some(PRECISION),
        _ if matches!(old.family, Family::Int(_)) => sign_toggled.then_some(PRECISION),
        _ => {
            let default = match old.base.as_str() {
                "char" | "bit" => &[1][..],
                "datetime" | "timestamp" | "time" => &[0],
                _ => &[],
            };
            let (a, b) = (numbers(old, default), numbers(new, default));
            let shorter = a.len() > b.len() || a.iter().zip(&b).any(|(a, b)| b < a);
            (shorter || sign_toggled).then_some(RANGE)
        }
    }
}

/// Lengths, completed by their defaults.
fn numbers(column: &ColumnDefinition, defaults: &[u64]) -> Vec<u64> {
    let mut numbers: Vec<u64> = column.arguments.iter().filter_map(|text| text.parse().ok()).collect();
    numbers.extend(defaults.iter().skip(numbers.len()));
    numbers
}
