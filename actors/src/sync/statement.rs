//! SQL text for row changes: many rows in one statement, many statements in one packet.

use std::sync::Arc;

use bytes::Bytes;
use dmnode_mysql::{
    ColumnType, Row, Value, decimals, is_beyond_double, is_error_value, long_value, write_exact_match,
    write_ident, write_literal, write_parameter, write_parameter_match, write_rounded_match,
};

use super::change::{Change, RowChange};
use super::compact::Group;
use super::table::{Shape, Table};
use crate::lenient::{self, Write};

/// Most rows in one statement.
const ROWS_MAX: usize = 1000;
/// Fewest updates that are worth the multi-row form.
const MERGED_UPDATES_MIN: usize = 2;

/// What a statement must report to have done what it was meant to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// So many affected (for UPDATE: matched) rows.
    Rows(u64),
    /// Nothing to check.
    Any,
}

/// What a statement does, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// SET.
    Session,
}

/// One statement of a packet.
#[derive(Debug)]
pub struct Planned {
    /// The table; `None` for session settings.
    pub table: Option<Arc<Table>>,
    /// What it does.
    pub verb: Verb,
    /// What it must report.
    pub expect: Expect,
    /// Number of the change it comes from when every change has its own statement.
    pub change: Option<usize>,
    /// Error values it writes (of ENUM, of VECTOR), each of which the target takes with a warning.
    pub error_members: usize,
}

/// Statements that travel together.
#[derive(Debug, Default)]
pub struct Packet {
    /// The text, statements divided by `;`.
    pub sql: Vec<u8>,
    /// Values too long for a text. A packet that has any is one prepared statement.
    pub parameters: Vec<Bytes>,
    /// The statements.
    pub statements: Vec<Planned>,
}

impl Packet {
    /// Bytes that travel.
    pub fn size(&self) -> usize {
        self.sql.len() + self.parameters.iter().map(Bytes::len).sum::<usize>()
    }

    /// Appends a value, as a parameter when the statement is `long` and the value is, too.
    fn value(&mut self, row: &Row, index: usize, table: &Table, long: bool) {
        match row.values.get(index) {
            Some(value) => match long_value(value).filter(|_| long) {
                Some(bytes) => {
                    write_parameter(value, table.column(index), &mut self.sql);
                    self.parameters.push(bytes.clone());
                }
                None => write_literal(value, table.column(index), &mut self.sql),
            },
            None => self.sql.extend_from_slice(b"NULL"),
        }
    }
}

/// What the SQL text depends on besides the rows.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    /// Statement hints and row aliases (MySQL 8.0.20 and later).
    pub modern_mysql: bool,
    /// About how large a packet may become.
    pub packet_limit: usize,
    /// The target's `max_allowed_packet`: no packet may be larger.
    pub packet_max: usize,
    /// Many rows in one statement.
    pub multiple_rows: bool,
}

/// Builds packets.
pub struct Builder {
    dialect: Dialect,
    packets: Vec<Packet>,
    current: Packet,
    /// Error values in the statement that is being written.
    error_members: usize,
    /// How rows are written that come whole.
    write: Write,
    /// Rows are found by the values of their key, not by a lookup in it.
    by_value: bool,
}

impl Builder {
    /// Starts with no packet.
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            packets: Vec::new(),
            current: Packet::default(),
            error_members: 0,
            write: Write::Insert,
            by_value: false,
        }
    }

    /// The packets.
    pub fn finish(mut self) -> Vec<Packet> {
        self.cut();
        self.packets
    }

    fn cut(&mut self) {
        if !self.current.statements.is_empty() {
            self.packets.push(std::mem::take(&mut self.current));
        }
    }

    /// Ends the packet if a row of this size would make it too large.
    fn make_room(&mut self, memory: usize) {
        if self.current.sql.len() + memory * 2 > self.dialect.packet_limit {
            self.cut();
        }
    }

    fn end(&mut self, table: &Arc<Table>, verb: Verb, expect: u64, change: Option<usize>) {
        if self.current.parameters.is_empty() {
            self.current.sql.push(b';');
        }
        self.current.statements.push(Planned {
            table: Some(Arc::clone(table)),
            verb,
            expect: Expect::Rows(expect),
            change,
            error_members: std::mem::take(&mut self.error_members),
        });
        // Alone at the end of its packet, so that its warnings can be asked for.
        let members = self.current.statements.last().is_some_and(|planned| planned.error_members > 0);
        if table.gives_warnings() || members || !self.current.parameters.is_empty() {
            self.cut();
        }
    }

    fn session(&mut self, sql: &str) {
        self.current.sql.extend_from_slice(sql.as_bytes());
        self.current.sql.push(b';');
        self.current.statements.push(Planned {
            table: None,
            verb: Verb::Session,
            expect: Expect::Any,
            change: None,
            error_members: 0,
        });
    }

    /// Everything of a batch, merged.
    pub fn groups(&mut self, groups: &[Group<'_>]) {
        for group in groups {
            match group {
                Group::Net { table, deletes, updates, inserts } => {
                    self.deletes(table, deletes);
                    let has_rest = table.writable.iter().any(|index| !table.identity.contains(index));
                    if updates.len() >= MERGED_UPDATES_MIN && has_rest && self.dialect.multiple_rows {
                        self.merged_updates(table, updates);
                    } else {
                        for (before, after) in updates {
                            self.update(table, before, after, None);
                        }
                    }
                    self.inserts(table, inserts, None);
                }
                Group::Sequence(changes) => self.sequence(changes),
            }
        }
    }

    /// The packet of one change; `None` when it changes nothing.
    pub fn single(dialect: Dialect, row: &RowChange, table: &Arc<Table>, number: usize) -> Option<Packet> {
        let mut builder = Self::new(dialect);
        match row {
            RowChange::Insert(row) => builder.inserts(table, &[row], Some(number)),
            RowChange::Update(before, after) => builder.update(table, before, after, Some(number)),
            RowChange::Delete(row) => builder.delete(table, row, Some(number)),
        }
        builder.finish().into_iter().next()
    }

    /// An UPDATE or DELETE whose row was not found, though it may be there: servers keep the digits of values that were
    /// there before the column got its decimals (`MODIFY c FLOAT(9,3)`), and a lookup by a key rounds to the column's
    /// decimals. This one compares values without the key. Without a key it takes a row that shows the same values:
    /// the copy and the replication write the rounded ones. `None` where there is no such column.
    pub fn single_by_value(
        dialect: Dialect,
        row: &RowChange,
        table: &Arc<Table>,
        number: usize,
    ) -> Option<Packet> {
        if !finds_by_decimals(table) {
            return None;
        }
        let mut builder = Self { by_value: true, ..Self::new(dialect) };
        match row {
            RowChange::Insert(_) => return None,
            RowChange::Update(before, after) => builder.update(table, before, after, Some(number)),
            RowChange::Delete(row) => builder.delete(table, row, Some(number)),
        }
        builder.finish().into_iter().next()
    }

    /// A row that takes the place of whatever is in its way. Only for safe mode.
    pub fn replace(dialect: Dialect, row: &Row, table: &Arc<Table>, number: usize) -> Option<Packet> {
        let mut builder = Self::new(dialect);
        builder.write = Write::Replace;
        builder.inserts(table, &[row], Some(number));
        builder.finish().into_iter().next()
    }

    /// Original order, neighbours of one table and kind merged.
    fn sequence(&mut self, changes: &[&Change]) {
        let mut checks = false;
        let mut rest = changes;
        while let Some((first, _)) = rest.split_first() {
            let wanted = fires(first);
            checks = self.foreign_key_checks(checks, wanted);
            let most = if self.dialect.multiple_rows { usize::MAX } else { 1 };
            let run = rest
                .iter()
                .take(most)
                .take_while(|change| {
                    change.table.number == first.table.number
                        && std::mem::discriminant(&change.row) == std::mem::discriminant(&first.row)
                        && fires(change) == wanted
                })
                .count();
            let (run, tail) = rest.split_at(run);
            rest = tail;
            let table = &first.table;
            match &first.row {
                RowChange::Insert(_) => {
                    let rows: Vec<&Row> = run
                        .iter()
                        .filter_map(|change| match &change.row {
                            RowChange::Insert(row) => Some(row),
                            RowChange::Update(..) | RowChange::Delete(_) => None,
                        })
                        .collect();
                    self.inserts(table, &rows, None);
                }
                RowChange::Delete(_) => {
                    let rows: Vec<&Row> = run
                        .iter()
                        .filter_map(|change| match &change.row {
                            RowChange::Delete(row) => Some(row),
                            RowChange::Update(..) | RowChange::Insert(_) => None,
                        })
                        .collect();
                    // With actions, deleting a row may delete the next one of the list: their counts would differ.
                    if table.shape == Shape::Keyless || table.cascades {
                        for row in rows {
                            self.delete(table, row, None);
                        }
                    } else {
                        self.deletes(table, &rows);
                    }
                }
                RowChange::Update(..) => {
                    for change in run {
                        if let RowChange::Update(before, after) = &change.row {
                            self.update(table, before, after, None);
                        }
                    }
                }
            }
        }
        self.foreign_key_checks(checks, false);
    }

    fn foreign_key_checks(&mut self, now: bool, wanted: bool) -> bool {
        if now != wanted {
            self.session(if wanted { "SET foreign_key_checks=1" } else { "SET foreign_key_checks=0" });
        }
        wanted
    }

    fn inserts(&mut self, table: &Arc<Table>, rows: &[&Row], change: Option<usize>) {
        self.values(table, rows, change, Verb::Insert, 1, |_, _| {});
    }

    /// `INSERT … ON DUPLICATE KEY UPDATE` of rows that are known to exist and to change: two affected rows each.
    fn merged_updates(&mut self, table: &Arc<Table>, updates: &[(&Row, &Row)]) {
        let rows: Vec<&Row> = updates.iter().map(|(_, after)| *after).collect();
        let alias = self.dialect.modern_mysql;
        self.values(table, &rows, None, Verb::Update, 2, |table, out| {
            out.extend_from_slice(if alias {
                b" AS dmnode_new ON DUPLICATE KEY UPDATE "
            } else {
                b" ON DUPLICATE KEY UPDATE "
            });
            let mut first = true;
            for index in &table.writable {
                let column = table.column(*index);
                let name = &column.name;
                if table.identity.contains(index) {
                    // A key column with ON UPDATE CURRENT_TIMESTAMP would change by itself unless it is named.
                    if matches!(column.data_type, ColumnType::Timestamp(_) | ColumnType::DateTime(_)) {
                        comma(&mut first, out);
                        write_table(table, out);
                        out.push(b'.');
                        write_ident(name, out);
                        out.push(b'=');
                        write_table(table, out);
                        out.push(b'.');
                        write_ident(name, out);
                    }
                    continue;
                }
                comma(&mut first, out);
                write_ident(name, out);
                if alias {
                    out.extend_from_slice(b"=dmnode_new.");
                    write_ident(name, out);
                } else {
                    out.extend_from_slice(b"=VALUES(");
                    write_ident(name, out);
                    out.push(b')');
                }
            }
        });
    }

    fn values(
        &mut self,
        table: &Arc<Table>,
        rows: &[&Row],
        change: Option<usize>,
        verb: Verb,
        each: u64,
        tail: impl Fn(&Table, &mut Vec<u8>),
    ) {
        let most = if self.dialect.multiple_rows { ROWS_MAX } else { 1 };
        let mut count: usize = 0;
        let lenient = table.is_lenient() || rows.iter().any(|row| has_error_value(table, row));
        for row in rows {
            let memory = row.memory();
            let long = is_long(&[row]);
            if count > 0
                && (long || count >= most || self.current.sql.len() + memory * 2 > self.dialect.packet_limit)
            {
                tail(table, &mut self.current.sql);
                self.end(table, verb, count as u64 * each, change);
                count = 0;
            }
            if count == 0 {
                self.make_room(memory);
                if long {
                    self.cut();
                }
                let start = lenient::begin(self.write, lenient);
                let out = &mut self.current.sql;
                out.extend_from_slice(start.as_bytes());
                write_table(table, out);
                out.extend_from_slice(b" (");
                let mut first = true;
                for index in &table.writable {
                    comma(&mut first, out);
                    write_ident(&table.column(*index).name, out);
                }
                out.extend_from_slice(b") VALUES ");
            } else {
                self.current.sql.push(b',');
            }
            self.current.sql.push(b'(');
            let mut first = true;
            for index in &table.writable {
                comma(&mut first, &mut self.current.sql);
                self.current.value(row, *index, table, long);
                self.error_members += usize::from(is_error(table, row, *index));
            }
            self.current.sql.push(b')');
            count += 1;
            if long {
                tail(table, &mut self.current.sql);
                self.end(table, verb, each, change);
                count = 0;
            }
        }
        if count > 0 {
            tail(table, &mut self.current.sql);
            self.end(table, verb, count as u64 * each, change);
        }
    }

    fn update(&mut self, table: &Arc<Table>, before: &Row, after: &Row, change: Option<usize>) {
        let changed: Vec<usize> = table
            .writable
            .iter()
            .copied()
            .filter(|index| before.values.get(*index) != after.values.get(*index))
            .collect();
        if changed.is_empty() {
            return;
        }
        self.make_room(before.memory() + after.memory());
        let long = is_long(&[before, after]);
        if long {
            self.cut();
        }
        let out = &mut self.current.sql;
        let lenient = table.is_lenient() || changed.iter().any(|index| is_error(table, after, *index));
        out.extend_from_slice(lenient::begin(Write::Update, lenient).as_bytes());
        write_table(table, out);
        out.extend_from_slice(b" SET ");
        let mut first = true;
        for index in &changed {
            let out = &mut self.current.sql;
            comma(&mut first, out);
            write_ident(&table.column(*index).name, out);
            out.push(b'=');
            self.current.value(after, *index, table, long);
            self.error_members += usize::from(is_error(table, after, *index));
        }
        // A column with ON UPDATE CURRENT_TIMESTAMP would change by itself unless it is named.
        let out = &mut self.current.sql;
        for index in table.writable.iter().filter(|index| !changed.contains(index)) {
            let column = table.column(*index);
            if matches!(column.data_type, ColumnType::Timestamp(_) | ColumnType::DateTime(_)) {
                comma(&mut first, out);
                write_ident(&column.name, out);
                out.push(b'=');
                write_ident(&column.name, out);
            }
        }
        write_where(table, before, long, self.by_value, &mut self.current);
        self.end(table, Verb::Update, 1, change);
    }

    fn delete(&mut self, table: &Arc<Table>, row: &Row, change: Option<usize>) {
        self.make_room(row.memory());
        let long = is_long(&[row]);
        if long {
            self.cut();
        }
        let out = &mut self.current.sql;
        out.extend_from_slice(b"DELETE FROM ");
        write_table(table, out);
        write_where(table, row, long, self.by_value, &mut self.current);
        self.end(table, Verb::Delete, 1, change);
    }

    fn deletes(&mut self, table: &Arc<Table>, rows: &[&Row]) {
        let is_wide = |row: &&Row| {
            table.identity.iter().any(|index| row.values.get(*index).is_some_and(is_beyond_double))
        };
        if rows.len() == 1 || !self.dialect.multiple_rows || rows.iter().any(is_wide) {
            for row in rows {
                self.delete(table, row, None);
            }
            return;
        }
        let tuple = table.identity.len() > 1;
        let mut count: usize = 0;
        for row in rows {
            let memory: usize =
                table.identity.iter().filter_map(|index| row.values.get(*index)).map(Value::memory).sum();
            if count > 0
                && (count >= ROWS_MAX || self.current.sql.len() + memory * 2 > self.dialect.packet_limit)
            {
                self.current.sql.push(b')');
                self.end(table, Verb::Delete, count as u64, None);
                count = 0;
            }
            if count == 0 {
                self.make_room(memory);
                let hint = self.dialect.modern_mysql;
                let out = &mut self.current.sql;
                out.extend_from_slice(b"DELETE ");
                if let (true, Some(key)) = (hint, &table.identity_name) {
                    // Without statistics the server would rather scan a fresh table.
                    out.extend_from_slice(b"/*+ INDEX(");
                    write_ident(&table.info.name.table, out);
                    out.push(b' ');
                    write_ident(key, out);
                    out.extend_from_slice(b") */ ");
                }
                out.extend_from_slice(b"FROM ");
                write_table(table, out);
                out.extend_from_slice(b" WHERE ");
                if tuple {
                    out.push(b'(');
                }
                let mut first = true;
                for index in &table.identity {
                    comma(&mut first, out);
                    write_ident(&table.column(*index).name, out);
                }
                if tuple {
                    out.push(b')');
                }
                out.extend_from_slice(b" IN (");
            } else {
                self.current.sql.push(b',');
            }
            if tuple {
                self.current.sql.push(b'(');
            }
            let mut first = true;
            for index in &table.identity {
                comma(&mut first, &mut self.current.sql);
                self.current.value(row, *index, table, false);
            }
            if tuple {
                self.current.sql.push(b')');
            }
            count += 1;
        }
        if count > 0 {
            self.current.sql.push(b')');
            self.end(table, Verb::Delete, count as u64, None);
        }
    }
}

/// Whether the change must run with foreign key checks so that its actions take place.
pub fn fires(change: &Change) -> bool {
    change.table.fires_actions && change.foreign_key_checks && !matches!(change.row, RowChange::Insert(_))
}

fn comma(first: &mut bool, out: &mut Vec<u8>) {
    if !std::mem::replace(first, false) {
        out.push(b',');
    }
}

fn write_table(table: &Table, out: &mut Vec<u8>) {
    write_ident(&table.info.name.schema, out);
    out.push(b'.');
    write_ident(&table.info.name.table, out);
}

/// Whether a value of the row can only be written by a lenient statement.
fn is_error(table: &Table, row: &Row, index: usize) -> bool {
    row.values.get(index).is_some_and(|value| is_error_value(value, table.column(index)))
}

fn has_error_value(table: &Table, row: &Row) -> bool {
    // Most tables cannot have any.
    table.error_values && table.writable.iter().any(|index| is_error(table, row, *index))
}

/// Whether a statement with these rows has values that travel as parameters.
fn is_long(rows: &[&Row]) -> bool {
    rows.iter().any(|row| row.values.iter().any(|value| long_value(value).is_some()))
}

/// What a row is found by has a number with a fixed count of decimals (`FLOAT(9,3)`).
fn finds_by_decimals(table: &Table) -> bool {
    let columns = if table.shape == Shape::Keyless { &table.writable } else { &table.identity };
    columns.iter().any(|index| decimals(table.column(*index)).is_some())
}

/// The WHERE clause that finds exactly one row; `by_value` as [`Builder::single_by_value`] says.
fn write_where(table: &Table, row: &Row, long: bool, by_value: bool, packet: &mut Packet) {
    packet.sql.extend_from_slice(b" WHERE ");
    if table.shape != Shape::Keyless {
        for (place, index) in table.identity.iter().enumerate() {
            if place > 0 {
                packet.sql.extend_from_slice(b" AND ");
            }
            let column = table.column(*index);
            let is_exact = by_value && decimals(column).is_some();
            if let Some(value) = row.values.get(*index).filter(|value| is_exact || is_beyond_double(value)) {
                write_exact_match(value, column, &mut packet.sql);
                continue;
            }
            write_ident(&column.name, &mut packet.sql);
            packet.sql.push(b'=');
            packet.value(row, *index, table, false);
        }
        return;
    }
    write_all_columns(table, row, long, by_value, packet);
    packet.sql.extend_from_slice(b" LIMIT 1");
}

/// With `rounded`, numbers with a count of decimals are compared as they show.
fn write_all_columns(table: &Table, row: &Row, long: bool, rounded: bool, packet: &mut Packet) {
    let mut first = true;
    for index in &table.writable {
        let out = &mut packet.sql;
        if !std::mem::replace(&mut first, false) {
            out.extend_from_slice(b" AND ");
        }
        match row.values.get(*index) {
            Some(value) => match long_value(value).filter(|_| long) {
                Some(bytes) => {
                    write_parameter_match(value, table.column(*index), out);
                    packet.parameters.push(bytes.clone());
                }
                None => match decimals(table.column(*index)).filter(|_| rounded) {
                    Some(decimals) => write_rounded_match(value, table.column(*index), decimals, out),
                    None => write_exact_match(value, table.column(*index), out),
                },
            },
            None => out.extend_from_slice(b"FALSE"),
        }
    }
}

/// The condition that one column has exactly the row's value.
pub fn exact_column(table: &Table, row: &Row, index: usize, out: &mut Vec<u8>) {
    match row.values.get(index) {
        Some(value) => write_exact_match(value, table.column(index), out),
        None => out.extend_from_slice(b"FALSE"),
    }
}

/// The query that finds exactly this row, byte for byte.
pub fn exact_match(table: &Table, row: &Row) -> Vec<u8> {
    let mut packet = Packet { sql: b"SELECT 1 FROM ".to_vec(), ..Packet::default() };
    write_table(table, &mut packet.sql);
    packet.sql.extend_from_slice(b" WHERE ");
    write_all_columns(table, row, false, false, &mut packet);
    packet.sql.extend_from_slice(b" LIMIT 1");
    packet.sql
}
