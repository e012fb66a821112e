//! Names inside `CREATE TABLE`, `ALTER TABLE` and `RENAME TABLE`.

use dmnode_model::TableName;

use super::Head;
use crate::lex::{TokenKind, Tokens};
use crate::statement::{NameRole, StatementKind};

impl Head<'_, '_> {
    pub(super) fn rename_table(&mut self) -> Option<StatementKind> {
        self.take_if_exists();
        let mut pairs = Vec::new();
        loop {
            let from = self.table_name(NameRole::Target)?;
            self.take_wait();
            if !self.take("TO") {
                return None;
            }
            let to = self.table_name(NameRole::RenameTo)?;
            pairs.push((from, to));
            if !self.take_punct(',') {
                return Some(StatementKind::RenameTable(pairs));
            }
        }
    }

    pub(super) fn create_table(&mut self, temporary: bool) -> Option<StatementKind> {
        self.take_if_exists();
        let own = self.table_name(NameRole::Target)?;
        let after_name = self.at;
        self.take_punct('(');
        if self.take("LIKE") {
            self.table_name(NameRole::Like)?;
            return Some(StatementKind::CreateTable { temporary, like: true, select: false });
        }
        self.at = after_name;
        let mut depth = 0usize;
        let mut select = false;
        while self.at < self.tokens.len() {
            if depth == 0 && starts_query(self.tokens, self.at) {
                select = true;
                self.select_names();
                break;
            }
            if depth == 1 && self.at_element_start() {
                self.column_qualifier();
            }
            self.body_token(&mut depth, &own)?;
        }
        Some(StatementKind::CreateTable { temporary, like: false, select })
    }

    pub(super) fn alter_table(&mut self) -> Option<StatementKind> {
        self.take_if_exists();
        let own = self.table_name(NameRole::Target)?;
        self.take_wait();
        let mut depth = 0usize;
        let mut action_start = true;
        while self.at < self.tokens.len() {
            if action_start {
                action_start = false;
                self.action(&mut depth)?;
            }
            if depth == 0 && self.tokens.punct(self.at, ',') {
                action_start = true;
            }
            if depth == 1 && self.at_added_column() {
                self.column_qualifier();
            }
            self.body_token(&mut depth, &own)?;
        }
        Some(StatementKind::AlterTable)
    }

    /// The first words of one action of `ALTER TABLE`.
    fn action(&mut self, depth: &mut usize) -> Option<()> {
        if self.take("RENAME") {
            if self.tokens.is_any(self.at, &["INDEX", "KEY", "COLUMN"]) {
                return Some(());
            }
            if !self.take_any(&["TO", "AS"]) {
                self.take_punct('=');
            }
            self.table_name(NameRole::RenameTo)?;
        } else if self.take_all(&["EXCHANGE", "PARTITION"]) {
            self.at += 1;
            if self.take_all(&["WITH", "TABLE"]) {
                self.table_name(NameRole::Exchange)?;
            }
        } else if self.take_all(&["CONVERT", "TABLE"]) {
            self.table_name(NameRole::Exchange)?;
        } else if self.take_all(&["CONVERT", "PARTITION"]) {
            self.at += 1;
            if self.take_all(&["TO", "TABLE"]) {
                self.table_name(NameRole::Exchange)?;
            }
        } else if self.tokens.is_any(self.at, &["ADD", "DROP", "MODIFY", "CHANGE", "ALTER"]) {
            let changes = self.tokens.is(self.at, "CHANGE");
            self.at += 1;
            if !self.take("COLUMN") {
                self.take_all(&["FOREIGN", "KEY"]);
            }
            self.take_if_exists();
            // `ADD (a INT, …)` is left to the caller's loop, which counts parentheses.
            if *depth == 0 && !self.tokens.punct(self.at, '(') {
                self.column_qualifier();
                if changes {
                    self.at += 1;
                    self.column_qualifier();
                }
            }
        }
        Some(())
    }

    /// At a token behind the `(` or a `,` that separates column definitions at depth one.
    fn at_element_start(&self) -> bool {
        let before = self.at.wrapping_sub(1);
        self.tokens.punct(before, ',') || self.tokens.punct(before, '(')
    }

    /// At the start of a column inside `ADD [COLUMN] ( … )`.
    fn at_added_column(&self) -> bool {
        let before = self.at.wrapping_sub(1);
        let behind_open =
            self.tokens.punct(before, '(') && self.tokens.is_any(before.wrapping_sub(1), &["ADD", "COLUMN"]);
        behind_open || (self.tokens.punct(before, ',') && self.tokens.is_kind(self.at + 3, TokenKind::Word))
    }

    /// Remembers the qualifier of a column that is being defined: `t.` or `db.t.`.
    fn column_qualifier(&mut self) {
        let (first, mut last) = (self.at, self.at);
        while self.tokens.is_ident(last) && self.tokens.punct(last + 1, '.') && self.tokens.is_ident(last + 2)
        {
            last += 2;
        }
        if last > first {
            self.qualifiers.push(self.tokens.span(first).start..self.tokens.span(last).start);
            self.at = last;
        }
    }

    /// One token of the body: counts parentheses and takes up the names that may stand anywhere in it.
    fn body_token(&mut self, depth: &mut usize, own: &TableName) -> Option<()> {
        let tokens = self.tokens;
        if self.take_punct('(') {
            *depth += 1;
        } else if self.take_punct(')') {
            *depth = depth.saturating_sub(1);
        } else if self.take("REFERENCES") {
            // The parent is looked for beside the child, whatever the session's schema is: so do both flavours.
            self.table_name_in(NameRole::References, &own.schema)?;
        } else if *depth == 0 && tokens.is(self.at, "UNION") {
            self.at += 1;
            self.take_punct('=');
            if self.take_punct('(') {
                if !self.tokens.punct(self.at, ')') {
                    self.table_list(NameRole::Union)?;
                }
                self.take_punct(')');
            }
        } else if !(self.sequence_call() || *depth > 0 && self.own_qualifier(own)) {
            self.at += 1;
        }
        Some(())
    }

    /// `nextval(s)`, `NEXT VALUE FOR s` and the like (MariaDB).
    fn sequence_call(&mut self) -> bool {
        let start = self.at;
        let call = self.tokens.is_any(start, &["NEXTVAL", "LASTVAL", "SETVAL"])
            && self.tokens.punct(start + 1, '(')
            && self.tokens.is_ident(start + 2);
        let phrase =
            self.tokens.is_any(start, &["NEXT", "PREVIOUS"]) && self.tokens.are(start + 1, &["VALUE", "FOR"]);
        if call {
            // The parenthesis is counted by the caller's loop when it meets the closing one; keep the two in step.
            self.at = start + 2;
            let named = self.table_name(NameRole::Sequence).is_some();
            self.at = if self.tokens.punct(self.at, ')') {
                self.at + 1
            } else {
                self.tokens.skip_parens(start + 1)
            };
            return named;
        }
        if phrase {
            self.at = start + 3;
            return self.table_name(NameRole::Sequence).is_some();
        }
        false
    }

    /// `t.c` or `db.t.c` inside an expression, where `t` is the table itself.
    fn own_qualifier(&mut self, own: &TableName) -> bool {
        let first = self.at;
        let same = |i: usize, name: &str| self.tokens.ident(i).is_some_and(|n| n.eq_ignore_ascii_case(name));
        let joined = |i: usize| self.tokens.punct(i + 1, '.') && self.tokens.is_ident(i + 2);
        if self.tokens.punct(first.wrapping_sub(1), '.') || !joined(first) {
            return false;
        }
        let column = if joined(first + 2) {
            if !(same(first, &own.schema) && same(first + 2, &own.table)) {
                return false;
            }
            first + 4
        } else {
            if !same(first, &own.table) {
                return false;
            }
            first + 2
        };
        if self.tokens.punct(column + 1, '(') {
            return false;
        }
        self.qualifiers.push(self.tokens.span(first).start..self.tokens.span(column).start);
        self.at = column + 1;
        true
    }
}

/// The query of `CREATE TABLE … [AS] SELECT` begins at token `i`.
pub(crate) fn starts_query(tokens: &Tokens<'_>, i: usize) -> bool {
    let mut first = i;
    while tokens.punct(first, '(') {
        first += 1;
    }
    if tokens.is(first, "WITH") {
        return !tokens.is_any(first + 1, &["SYSTEM", "PARSER"]);
    }
    tokens.is_any(first, &["SELECT", "TABLE", "VALUES"])
}
