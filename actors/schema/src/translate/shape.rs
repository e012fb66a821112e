//! The parts of a `CREATE TABLE`, `ALTER TABLE` or `CREATE INDEX`: which tokens define which column, which are an
//! index, which are options.

use std::ops::Range;

use crate::classify::starts_query;
use crate::lex::Tokens;
use crate::statement::{Statement, StatementKind};

/// A column being defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    /// The token of its name.
    pub name: usize,
    /// Its type and attributes; the type is the first token.
    pub body: Range<usize>,
}

/// A part of the statement between commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub tokens: Range<usize>,
    pub kind: PartKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartKind {
    /// Defines columns (see [`Shape::columns`]).
    Columns,
    /// An index.
    Index,
    /// A named or unnamed constraint that is not an index: `CHECK`, `FOREIGN KEY`.
    Constraint,
    /// `ALTER … ` of an existing thing, `DROP`, `RENAME`, partition work.
    Action,
    /// Options of the table or database.
    Options,
}

/// All parts of a statement. Empty where the statement has none of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    pub columns: Vec<Column>,
    pub parts: Vec<Part>,
}

impl Shape {
    pub fn of(tokens: &Tokens<'_>, statement: &Statement) -> Shape {
        let mut shape = Shape::default();
        let after =
            |end: usize| (0..tokens.len()).find(|i| tokens.span(*i).start >= end).unwrap_or(tokens.len());
        let target = statement.tables.first().map_or(0, |t| t.span.end);
        match statement.kind {
            StatementKind::CreateTable { like: false, .. } => shape.read_create(tokens, after(target)),
            StatementKind::AlterTable => shape.read_alter(tokens, after(target)),
            StatementKind::CreateIndex | StatementKind::DropIndex => {
                shape.push(0..tokens.len(), PartKind::Index);
            }
            StatementKind::CreateDatabase | StatementKind::AlterDatabase => {
                let name = statement.schemas.first().map_or(0, |s| s.span.end);
                shape.push(after(name)..tokens.len(), PartKind::Options);
            }
            _ => {}
        }
        shape
    }

    fn push(&mut self, tokens: Range<usize>, kind: PartKind) {
        if !tokens.is_empty() {
            self.parts.push(Part { tokens, kind });
        }
    }

    fn read_create(&mut self, tokens: &Tokens<'_>, after_name: usize) {
        let mut options = after_name;
        if tokens.punct(after_name, '(') && !starts_query(tokens, after_name) {
            options = tokens.skip_parens(after_name);
            for part in split(tokens, after_name + 1..options.saturating_sub(1)) {
                self.read_definition(tokens, part);
            }
        }
        let mut end = options;
        let mut depth = 0usize;
        while end < tokens.len() && (depth > 0 || !starts_query(tokens, end)) {
            depth = next_depth(tokens, end, depth);
            end += 1;
        }
        self.push(options..end, PartKind::Options);
    }

    /// One element between the parentheses of `CREATE TABLE`, or what follows `ADD`.
    fn read_definition(&mut self, tokens: &Tokens<'_>, part: Range<usize>) {
        let kind = definition_kind(tokens, part.start);
        if kind == PartKind::Columns {
            self.read_column(tokens, part.clone());
        }
        self.push(part, kind);
    }

    fn read_column(&mut self, tokens: &Tokens<'_>, part: Range<usize>) {
        let mut name = part.start;
        while tokens.punct(name + 1, '.') && tokens.is_ident(name + 2) {
            name += 2;
        }
        if name + 1 < part.end && tokens.is_ident(name) {
            self.columns.push(Column { name, body: name + 1..part.end });
        }
    }

    fn read_alter(&mut self, tokens: &Tokens<'_>, after_name: usize) {
        for part in split(tokens, after_name..tokens.len()) {
            let mut at = part.start;
            if tokens.is(at, "ADD") {
                at += 1;
                let column_word = tokens.is(at, "COLUMN");
                at += usize::from(column_word);
                at = skip_if_exists(tokens, at);
                if tokens.punct(at, '(') {
                    let end = tokens.skip_parens(at);
                    for inner in split(tokens, at + 1..end.saturating_sub(1)) {
                        self.read_definition(tokens, inner);
                    }
                } else if !column_word && (tokens.is(at, "PARTITION") || tokens.is(at, "SYSTEM")) {
                    self.push(part, PartKind::Action);
                } else if column_word || definition_kind(tokens, at) == PartKind::Columns {
                    self.read_column(tokens, at..part.end);
                    self.push(part, PartKind::Columns);
                } else {
                    let kind = definition_kind(tokens, at);
                    self.push(part, kind);
                }
            } else if tokens.is_any(at, &["MODIFY", "CHANGE"]) {
                let change = tokens.is(at, "CHANGE");
                at += 1;
                at += usize::from(tokens.is(at, "COLUMN"));
                at = skip_if_exists(tokens, at);
                if change {
                    while tokens.punct(at + 1, '.') {
                        at += 2;
                    }
                    at += 1;
                }
                self.read_column(tokens, at..part.end);
                self.push(part, PartKind::Columns);
            } else if tokens.is_any(at, &ACTION_WORDS) {
                self.push(part, PartKind::Action);
            } else {
                self.push(part, PartKind::Options);
            }
        }
    }
}

const ACTION_WORDS: [&str; 20] = [
    "ALTER",
    "DROP",
    "RENAME",
    "TRUNCATE",
    "COALESCE",
    "REORGANIZE",
    "EXCHANGE",
    "ANALYZE",
    "CHECK",
    "OPTIMIZE",
    "REBUILD",
    "REPAIR",
    "REMOVE",
    "DISABLE",
    "ENABLE",
    "FORCE",
    "ORDER",
    "IMPORT",
    "DISCARD",
    "PARTITION",
];

pub(crate) fn skip_if_exists(tokens: &Tokens<'_>, at: usize) -> usize {
    if tokens.are(at, &["IF", "NOT", "EXISTS"]) {
        at + 3
    } else if tokens.are(at, &["IF", "EXISTS"]) {
        at + 2
    } else {
        at
    }
}

fn definition_kind(tokens: &Tokens<'_>, at: usize) -> PartKind {
    let mut first = at;
    if tokens.is(first, "CONSTRAINT") {
        first += 1;
        if !tokens.is_any(first, &["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]) {
            first += 1;
        }
    }
    if tokens.is_any(first, &["CHECK", "FOREIGN"]) {
        return PartKind::Constraint;
    }
    if tokens.is(first, "PERIOD") && tokens.is(first + 1, "FOR") {
        return PartKind::Action;
    }
    let vector = tokens.is(first, "VECTOR") && tokens.is_any(first + 1, &["INDEX", "KEY"]);
    if vector || tokens.is_any(first, &["PRIMARY", "UNIQUE", "KEY", "INDEX", "FULLTEXT", "SPATIAL"]) {
        return PartKind::Index;
    }
    PartKind::Columns
}

pub(crate) fn next_depth(tokens: &Tokens<'_>, i: usize, depth: usize) -> usize {
    if tokens.punct(i, '(') {
        depth + 1
    } else if tokens.punct(i, ')') {
        depth.saturating_sub(1)
    } else {
        depth
    }
}

/// The ranges between the commas of `range` that stand outside of parentheses.
pub(crate) fn split(tokens: &Tokens<'_>, range: Range<usize>) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut depth = 0usize;
    let mut start = range.start;
    for i in range.clone() {
        depth = next_depth(tokens, i, depth);
        if depth == 0 && tokens.punct(i, ',') {
            parts.push(start..i);
            start = i + 1;
        }
    }
    if start < range.end {
        parts.push(start..range.end);
    }
    parts
}

/// The tokens of `range` that stand outside of parentheses.
pub(crate) fn outside_parens(tokens: &Tokens<'_>, range: Range<usize>) -> Vec<usize> {
    let mut depth = 0usize;
    let mut outside = Vec::new();
    for i in range {
        let before = depth;
        depth = next_depth(tokens, i, depth);
        if before == 0 && depth == 0 {
            outside.push(i);
        }
    }
    outside
}
