//! The tables as they are now, read from `information_schema`.

use std::collections::BTreeMap;

use anyhow::Result;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rand::Rng;
use rand::rngs::StdRng;

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    /// `int`, `varchar`, …
    pub data_type: String,
    /// `int(10) unsigned`, `enum('a','b')`, …
    pub column_type: String,
    pub nullable: bool,
    pub auto_increment: bool,
    pub generated: bool,
    pub has_default: bool,
}

impl Column {
    /// Whether it may be part of a key without a prefix length, and is short.
    pub fn is_short(&self) -> bool {
        !self.is_long() && !self.is_spatial() && self.data_type != "json" && self.data_type != "vector"
    }

    pub fn is_long(&self) -> bool {
        self.data_type.ends_with("text") || self.data_type.ends_with("blob")
    }

    pub fn is_spatial(&self) -> bool {
        ["geometry", "point", "linestring", "polygon", "multipoint"].contains(&self.data_type.as_str())
    }

    pub fn is_number(&self) -> bool {
        let whole = self.data_type.ends_with("int") && !self.is_spatial();
        whole || ["decimal", "float", "double"].contains(&self.data_type.as_str())
    }

    pub fn is_text(&self) -> bool {
        self.data_type.ends_with("char") || self.data_type.ends_with("text")
    }
}

/// An index.
#[derive(Clone, Debug)]
pub struct Index {
    pub name: String,
    pub unique: bool,
    pub columns: Vec<String>,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    pub indexes: Vec<Index>,
    pub foreign_keys: Vec<String>,
    /// Whether a foreign key refers to it.
    pub referenced: bool,
    /// Partitions; none when it has no partitions.
    pub partitions: Vec<String>,
    /// How it is partitioned (`HASH`, `RANGE`, …).
    pub partition_method: String,
}

impl Table {
    pub fn quoted(&self) -> String {
        format!("`{}`", self.name)
    }

    /// Columns that a statement may give a value.
    pub fn writable(&self) -> Vec<&Column> {
        self.columns.iter().filter(|column| !column.generated).collect()
    }

    pub fn primary(&self) -> Option<&Index> {
        self.indexes.iter().find(|index| index.name == "PRIMARY")
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    pub fn is_key(&self, column: &Column) -> bool {
        self.indexes.iter().any(|index| index.columns.contains(&column.name))
    }

    /// Whether a foreign key may rest on an index of it. Without `foreign_key_checks` the server drops such an index all
    /// the same; whether it then still knows the foreign key depends on what it has in its caches.
    pub fn has_relations(&self) -> bool {
        self.referenced || !self.foreign_keys.is_empty()
    }

    pub fn any_column(&self, rng: &mut StdRng, wanted: impl Fn(&Column) -> bool) -> Option<&Column> {
        let fitting: Vec<&Column> = self.columns.iter().filter(|column| wanted(column)).collect();
        pick(rng, &fitting).copied()
    }
}

/// All tables of the schema.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    pub tables: Vec<Table>,
}

impl Catalog {
    /// Reads them.
    pub async fn load(connection: &mut Conn, schema: &str) -> Result<Self> {
        let schema = crate::tables::quote_text(schema);
        let mut tables: BTreeMap<String, Table> = BTreeMap::new();
        type ColumnRow = (String, String, String, String, String, String, bool);
        let columns: Vec<ColumnRow> = connection
            .query(format!(
                "SELECT c.table_name, c.column_name, c.data_type, c.column_type, c.is_nullable, c.extra, \
                 c.column_default IS NOT NULL FROM information_schema.columns c JOIN information_schema.tables t \
                 ON t.table_schema = c.table_schema AND t.table_name = c.table_name AND t.table_type = 'BASE TABLE' \
                 WHERE c.table_schema = {schema} ORDER BY c.table_name, c.ordinal_position"
            ))
            .await?;
        for (table, name, data_type, column_type, nullable, extra, has_default) in columns {
            let extra = extra.to_ascii_uppercase();
            let entry = tables.entry(table.clone()).or_insert_with(|| Table {
                name: table,
                columns: Vec::new(),
                indexes: Vec::new(),
                foreign_keys: Vec::new(),
                referenced: false,
                partitions: Vec::new(),
                partition_method: String::new(),
            });
            entry.columns.push(Column {
                name,
                data_type: data_type.to_ascii_lowercase(),
                column_type: column_type.to_ascii_lowercase(),
                nullable: nullable.eq_ignore_ascii_case("yes"),
                auto_increment: extra.contains("AUTO_INCREMENT"),
                generated: extra.contains("VIRTUAL GENERATED") || extra.contains("STORED GENERATED"),
                has_default,
            });
        }
        let parts: Vec<(String, String, bool, Option<String>)> = connection
            .query(format!(
                "SELECT table_name, index_name, non_unique = 0, column_name FROM information_schema.statistics \
                 WHERE table_schema = {schema} ORDER BY table_name, index_name, seq_in_index"
            ))
            .await?;
        for (table, index, unique, column) in parts {
            let Some(table) = tables.get_mut(&table) else { continue };
            if table.indexes.last().is_none_or(|last| last.name != index) {
                table.indexes.push(Index { name: index, unique, columns: Vec::new() });
            }
            if let Some(last) = table.indexes.last_mut() {
                last.columns.extend(column);
            }
        }
        let keys: Vec<(String, String, String)> = connection
            .query(format!(
                "SELECT table_name, constraint_name, referenced_table_name FROM information_schema.referential_constraints \
                 WHERE constraint_schema = {schema}"
            ))
            .await?;
        for (table, key, parent) in keys {
            if let Some(table) = tables.get_mut(&table) {
                table.foreign_keys.push(key);
            }
            if let Some(parent) = tables.get_mut(&parent) {
                parent.referenced = true;
            }
        }
        let partitions: Vec<(String, String, String)> = connection
            .query(format!(
                "SELECT table_name, partition_name, partition_method FROM information_schema.partitions \
                 WHERE table_schema = {schema} AND partition_name IS NOT NULL \
                 ORDER BY table_name, partition_ordinal_position"
            ))
            .await?;
        for (table, partition, method) in partitions {
            if let Some(table) = tables.get_mut(&table) {
                table.partitions.push(partition);
                table.partition_method = method;
            }
        }
        Ok(Self { tables: tables.into_values().collect() })
    }

    pub fn any(&self, rng: &mut StdRng) -> Option<&Table> {
        pick(rng, &self.tables)
    }

    pub fn any_where(&self, rng: &mut StdRng, wanted: impl Fn(&Table) -> bool) -> Option<&Table> {
        let fitting: Vec<&Table> = self.tables.iter().filter(|table| wanted(table)).collect();
        pick(rng, &fitting).copied()
    }

    pub fn has(&self, name: &str) -> bool {
        self.tables.iter().any(|table| table.name == name)
    }
}

/// Any of the items.
pub fn pick<'a, T>(rng: &mut StdRng, items: &'a [T]) -> Option<&'a T> {
    if items.is_empty() { None } else { items.get(rng.random_range(0..items.len())) }
}

/// An identifier in backticks.
pub fn quoted(name: &str) -> String {
    crate::tables::quote_ident(name)
}
