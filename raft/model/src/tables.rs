//! Tables that join or leave a task after its start (`add-table`, `remove-table`, `resync-table`, `update-task`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::TableName;

/// What is to become of tables.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum TableOp {
    /// They are copied and join the stream.
    #[default]
    Add,
    /// The stream leaves them; the target keeps its rows.
    Remove,
    /// They leave the stream, their target tables are emptied, and they join as new ones do.
    Resync,
}

impl TableOp {
    /// The command's name.
    pub fn as_str(self) -> &'static str {
        match self {
            TableOp::Add => "add-table",
            TableOp::Remove => "remove-table",
            TableOp::Resync => "resync-table",
        }
    }
}

/// An operation on tables of one source in one task, as the cluster has agreed on it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TableOperation {
    /// Tells it from all others of the task, and orders them.
    pub number: u64,
    /// What is to be done.
    pub op: TableOp,
    /// The source's names of the tables.
    pub tables: BTreeSet<TableName>,
    /// The tables have joined.
    pub done: bool,
}

impl TableOperation {
    /// The tables have not joined yet.
    pub fn is_pending(&self) -> bool {
        !self.done && self.op != TableOp::Remove
    }
}

/// Tables that are in scope or not whatever the block-allow list says of them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct TableChoice {
    /// These and no others; database statements are out of scope as well.
    pub only: Option<BTreeSet<TableName>>,
    /// In scope.
    pub added: BTreeSet<TableName>,
    /// Out of scope; stronger than `added`.
    pub removed: BTreeSet<TableName>,
    /// The copy empties the target's tables of these before it begins: by dropping a table that the task itself has made
    /// (`true`), else by deleting its rows.
    pub emptied: BTreeMap<TableName, bool>,
}

impl TableChoice {
    /// What the operations amount to, those that are `pending` being out of scope.
    pub fn of(operations: &[TableOperation], pending: impl Fn(&TableOperation) -> bool) -> Self {
        let mut choice = Self::default();
        for operation in operations {
            let tables = operation.tables.iter().cloned();
            if operation.op == TableOp::Remove || pending(operation) {
                choice.removed.extend(tables);
            } else {
                choice.added.extend(tables);
            }
        }
        choice
    }

    /// Whether the table is in scope; `None` leaves it to the list.
    pub fn decide(&self, table: &TableName) -> Option<bool> {
        if let Some(only) = &self.only {
            return Some(only.contains(table));
        }
        if self.removed.contains(table) {
            return Some(false);
        }
        self.added.contains(table).then_some(true)
    }

    /// Whether tables of the database are in scope for themselves, without the database.
    pub fn has_single_tables_of(&self, schema: &str) -> bool {
        self.only.iter().flatten().chain(&self.added).any(|table| table.schema == schema)
    }
}

/// Reads `schema.table`, each part in backticks or not.
pub fn parse_table(text: &str) -> Option<TableName> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.trim().chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '`' if quoted && chars.peek() == Some(&'`') => {
                chars.next();
                parts.last_mut()?.push('`');
            }
            '`' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            other => parts.last_mut()?.push(other),
        }
    }
    match parts.as_slice() {
        [schema, table] if !quoted && !schema.is_empty() && !table.is_empty() => {
            Some(TableName::new(schema.clone(), table.clone()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(number: u64, op: TableOp, table: &str, done: bool) -> TableOperation {
        TableOperation { number, op, tables: BTreeSet::from([TableName::new("a", table)]), done }
    }

    #[test]
    fn pending_tables_are_out_of_scope_until_they_have_joined() {
        let operations = [
            operation(1, TableOp::Add, "joined", true),
            operation(2, TableOp::Add, "coming", false),
            operation(3, TableOp::Resync, "again", false),
            operation(4, TableOp::Remove, "gone", true),
        ];
        let choice = TableChoice::of(&operations, TableOperation::is_pending);
        let decide = |table: &str| choice.decide(&TableName::new("a", table));
        assert_eq!(decide("joined"), Some(true));
        for out in ["coming", "again", "gone"] {
            assert_eq!(decide(out), Some(false), "{out}");
        }
        assert_eq!(decide("other"), None);
        assert!(choice.has_single_tables_of("a") && !choice.has_single_tables_of("b"));
        let only = TableChoice { only: Some(BTreeSet::from([TableName::new("a", "t")])), ..choice };
        assert_eq!(only.decide(&TableName::new("a", "t")), Some(true));
        assert_eq!(only.decide(&TableName::new("a", "joined")), Some(false));
    }

    #[test]
    fn names_are_read_with_and_without_backticks() {
        assert_eq!(parse_table("a.b"), Some(TableName::new("a", "b")));
        assert_eq!(parse_table("`a.x`.`b``c`"), Some(TableName::new("a.x", "b`c")));
        for bad in ["a", "a.", ".b", "a.b.c", "`a.b", ""] {
            assert_eq!(parse_table(bad), None, "{bad}");
        }
    }
}
