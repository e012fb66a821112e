//! What a table looks like: columns, keys, foreign keys.

mod column_type;
mod load;

use dmnode_model::TableName;

pub use column_type::{ColumnType, GeometryKind};

/// Description of a table, read from `information_schema`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInfo {
    /// The table's name, spelt as the server spells it.
    pub name: TableName,
    /// Its columns in order, invisible ones included.
    pub columns: Vec<ColumnInfo>,
    /// Its keys, the primary key first if there is one.
    pub keys: Vec<KeyInfo>,
    /// Storage engine, e.g. `InnoDB`.
    pub engine: String,
    /// Default character set of the table.
    pub charset: Option<String>,
    /// Default collation of the table.
    pub collation: Option<String>,
    /// The foreign keys this table declares (it is the child).
    pub foreign_keys: Vec<ForeignKey>,
    /// `SHOW CREATE TABLE`, if asked for.
    pub create_sql: Option<String>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// One-based place in the table.
    pub ordinal: usize,
    /// Its type.
    pub data_type: ColumnType,
    /// UNSIGNED (also of DECIMAL, FLOAT and DOUBLE).
    pub unsigned: bool,
    /// May hold NULL.
    pub nullable: bool,
    /// Character set of text columns; `None` for the others.
    pub charset: Option<String>,
    /// Collation of text columns.
    pub collation: Option<String>,
    /// A generated column, virtual or stored: its value cannot be written.
    pub generated: bool,
    /// Left out of `SELECT *` and of INSERT without a column list.
    pub invisible: bool,
    /// AUTO_INCREMENT.
    pub auto_increment: bool,
    /// Stored compressed by MariaDB (`COMPRESSED` column attribute).
    pub compressed: bool,
    /// The type in the server's words, e.g. `int(10) unsigned`.
    pub column_type_text: String,
}

/// A key (index).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its name; `PRIMARY` for the primary key.
    pub name: String,
    /// The primary key.
    pub primary: bool,
    /// Unique (true for the primary key too).
    pub unique: bool,
    /// Its parts in order.
    pub columns: Vec<KeyColumn>,
    /// At least one part may be NULL, so a unique key may hold several rows of NULLs.
    pub nullable: bool,
    /// `BTREE`, `HASH`, `FULLTEXT`, `SPATIAL`, …
    pub index_type: String,
}

/// A part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyColumn {
    /// Index into [`TableInfo::columns`]; `None` for an expression.
    pub column: Option<usize>,
    /// Only so many characters (bytes for binary strings) of the column are in the key.
    pub prefix_len: Option<u32>,
    /// A functional key part.
    pub expression: Option<String>,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// Its name.
    pub name: String,
    /// Columns of this table, by name.
    pub columns: Vec<String>,
    /// The table referred to.
    pub referenced_table: TableName,
    /// Columns of the table referred to.
    pub referenced_columns: Vec<String>,
    /// `ON UPDATE`, e.g. `CASCADE`.
    pub on_update: String,
    /// `ON DELETE`.
    pub on_delete: String,
}

impl TableInfo {
    /// The key that identifies a row: the primary key, else a unique key over whole NOT NULL columns.
    ///
    /// A key with a functional part or a prefix, or with a generated column (whose value a row image may lack),
    /// is not used unless it is the primary key over whole columns.
    pub fn row_identity(&self) -> Option<&KeyInfo> {
        let usable = |key: &&KeyInfo| {
            key.unique
                && !key.nullable
                && !key.columns.is_empty()
                && key.columns.iter().all(|part| {
                    part.prefix_len.is_none()
                        && part.expression.is_none()
                        && part.column.is_some_and(|index| {
                            self.columns.get(index).is_some_and(|column| key.primary || !column.generated)
                        })
                })
        };
        self.keys.iter().filter(|key| key.primary).find(usable).or_else(|| self.keys.iter().find(usable))
    }

    /// The column of this name; column names do not distinguish case.
    pub fn column(&self, name: &str) -> Option<(usize, &ColumnInfo)> {
        self.columns.iter().enumerate().find(|(_, column)| {
            column.name == name
                || column.name.eq_ignore_ascii_case(name)
                || column.name.to_lowercase() == name.to_lowercase()
        })
    }
}
