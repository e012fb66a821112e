//! Names in queries and in statements that change rows.

use std::collections::HashSet;

use super::Head;
use crate::statement::{NameRole, StatementKind};

/// What is known about one level of parentheses of a query.
#[derive(Default)]
struct Level {
    /// A `SELECT` stands here, so that `FROM` names tables (and is not `EXTRACT(DAY FROM d)`).
    is_query: bool,
    /// A comma separates tables here.
    in_from: bool,
}

/// Words that end the list of tables of a `FROM`.
const AFTER_FROM: [&str; 15] = [
    "WHERE",
    "GROUP",
    "ORDER",
    "HAVING",
    "LIMIT",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "SET",
    "SELECT",
    "WINDOW",
    "INTO",
    "PROCEDURE",
    "DUPLICATE",
    "VALUES",
];

impl Head<'_, '_> {
    /// A statement that changes rows, its verb already read. Names are taken up as far as they can be told; none
    /// at all means that nothing is known.
    pub(super) fn dml(&mut self, verb: &str) -> StatementKind {
        match verb {
            "INSERT" | "REPLACE" => {
                while self.take_any(&["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO"]) {}
                let _ = self.table_name(NameRole::Target);
                self.select_names();
                StatementKind::Dml(if verb == "INSERT" { "insert" } else { "replace" })
            }
            "UPDATE" => {
                while self.take_any(&["LOW_PRIORITY", "IGNORE"]) {}
                self.query_names(true, NameRole::Target);
                StatementKind::Dml("update")
            }
            "DELETE" => {
                self.query_names(false, NameRole::Target);
                StatementKind::Dml("delete")
            }
            "LOAD" => {
                while self.at < self.tokens.len() {
                    if self.take_all(&["INTO", "TABLE"]) {
                        let _ = self.table_name(NameRole::Target);
                        break;
                    }
                    self.at += 1;
                }
                StatementKind::Dml("load data")
            }
            "CALL" => StatementKind::Dml("call"),
            "DO" => StatementKind::Dml("do"),
            "BINLOG" => StatementKind::Dml("binlog"),
            _ => StatementKind::Dml("select"),
        }
    }

    /// Takes up the tables that a query from here on reads.
    pub(super) fn select_names(&mut self) {
        self.query_names(false, NameRole::Select);
    }

    /// Reads to the end; `expecting` says that a table's name is next.
    fn query_names(&mut self, mut expecting: bool, role: NameRole) {
        let mut levels = vec![Level { is_query: true, in_from: false }];
        let mut common_tables: HashSet<String> = HashSet::new();
        let first = self.tables.len();
        while self.at < self.tokens.len() {
            if self.take_punct('(') {
                levels.push(Level { is_query: expecting, in_from: false });
                continue;
            }
            if self.take_punct(')') {
                if levels.len() > 1 {
                    levels.pop();
                }
                expecting = false;
                continue;
            }
            let Some(level) = levels.last_mut() else { return };
            if self.tokens.punct(self.at, ',') {
                expecting = level.in_from;
                self.at += 1;
            } else if expecting && self.tokens.is_any(self.at, &["LATERAL", "JSON_TABLE", "XMLTABLE"]) {
                expecting = self.tokens.is(self.at, "LATERAL") && !self.tokens.punct(self.at + 1, '(');
                level.in_from = true;
                self.at += 1;
            } else if self.tokens.is_any(self.at, &AFTER_FROM) {
                level.is_query |= self.tokens.is(self.at, "SELECT");
                level.in_from = false;
                expecting = false;
                self.at += 1;
            } else if level.is_query && self.tokens.is_any(self.at, &["FROM", "JOIN", "STRAIGHT_JOIN"]) {
                expecting = true;
                self.at += 1;
            } else if level.is_query && self.tokens.is(self.at, "USING") && role == NameRole::Target {
                // `DELETE FROM a USING b JOIN c`; the parenthesised list of a join's USING names columns.
                expecting = !self.tokens.punct(self.at + 1, '(');
                self.at += 1;
            } else if self.tokens.is_any(self.at, &["WITH", "RECURSIVE"]) {
                self.at += 1;
                self.common_table(&mut common_tables);
            } else if expecting && self.tokens.is_ident(self.at) {
                level.in_from = true;
                expecting = false;
                if self.table_name(role).is_none() {
                    return;
                }
            } else {
                if self.tokens.punct(self.at.wrapping_sub(1), ',')
                    || self.tokens.punct(self.at.wrapping_sub(1), ')')
                {
                    self.common_table(&mut common_tables);
                }
                self.at += 1;
            }
        }
        let default_schema = self.default_schema;
        let mut index = 0;
        self.tables.retain(|t| {
            index += 1;
            let unqualified = t.name.schema == default_schema;
            let is_common = common_tables.contains(&t.name.table.to_lowercase());
            let is_dual = t.name.table.eq_ignore_ascii_case("dual");
            index <= first || !(unqualified && (is_common || is_dual))
        });
    }

    /// Remembers `name` if `name [(columns)] AS (` is next.
    fn common_table(&mut self, names: &mut HashSet<String>) {
        let Some(name) = self.tokens.ident(self.at) else { return };
        let mut next = self.at + 1;
        if self.tokens.punct(next, '(') {
            next = self.tokens.skip_parens(next);
        }
        if self.tokens.is(next, "AS") && self.tokens.punct(next + 1, '(') {
            names.insert(name.to_lowercase());
        }
    }
}
