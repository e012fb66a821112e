//! What a source table looks like at a position of its binlog: a model of its definition and an interpreter of the
//! statements that change it.
//!
//! The interpreter follows what MySQL and MariaDB do with a statement that has succeeded; it checks nothing. Whatever
//! it does not know makes the table [`Fate::Unknown`]: its definition is then derived from elsewhere.

mod alter;
mod column;
mod create;
mod data_type;
mod interpret;
mod key;

use serde::{Deserialize, Serialize};

use crate::lex::SqlMode;

pub use interpret::{Fate, interpret};

/// A table's columns and keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The columns in order, invisible ones included.
    pub columns: Vec<Column>,
    /// The keys; indexes that the server makes for foreign keys may be missing.
    pub keys: Vec<Key>,
    /// Default character set, of which new text columns are. `None`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// Default collation. `None`: the character set's default, or not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<String>,
}

/// A column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The type in the server's words, `int unsigned`, `varchar(20)`.
    #[serde(rename = "type")]
    pub type_text: String,
    /// May hold NULL.
    pub nullable: bool,
    /// Character set of text columns. `None`: no text, or not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// Collation of text columns. `None`: the character set's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<String>,
    /// Its value is computed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub generated: bool,
    /// Left out of `SELECT *`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub invisible: bool,
    /// AUTO_INCREMENT.
    #[serde(default, skip_serializing_if = "is_false")]
    pub auto_increment: bool,
}

/// What a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// The primary key.
    Primary,
    /// A unique key.
    Unique,
    /// Any other.
    Index,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its name, `PRIMARY` for the primary key.
    pub name: String,
    /// What it is.
    pub kind: KeyKind,
    /// Its parts in order.
    pub parts: Vec<KeyPart>,
}

/// A part of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPart {
    /// The column; `None` for an expression.
    pub column: Option<String>,
    /// Only so many characters of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<u32>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}

/// What the meaning of a statement depends on besides its text.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// How the session read it.
    pub mode: SqlMode,
    /// The server is MariaDB.
    pub mariadb: bool,
    /// `REAL_AS_FLOAT` was in the session's `sql_mode`.
    pub real_as_float: bool,
    /// A TIMESTAMP column without NULL or NOT NULL may hold NULL (`explicit_defaults_for_timestamp`).
    pub explicit_timestamps: bool,
    /// Character set and collation of the new table's database.
    pub charset: Option<String>,
    /// See `charset`.
    pub collation: Option<String>,
}

impl Definition {
    /// The column of this name and its place; names do not distinguish case.
    pub fn column(&self, name: &str) -> Option<(usize, &Column)> {
        self.columns.iter().enumerate().find(|(_, column)| same_name(&column.name, name))
    }

    /// The table as one line of SQL.
    pub fn create_sql(&self, quoted_name: &str) -> String {
        let quote = dmnode_model::quote_ident;
        let mut items: Vec<String> = Vec::new();
        for column in &self.columns {
            let mut item = format!("{} {}", quote(&column.name), column.type_text);
            if let Some(charset) = &column.charset {
                item += &format!(" CHARACTER SET {charset}");
                if let Some(collation) = &column.collation {
                    item += &format!(" COLLATE {collation}");
                }
            }
            if column.generated {
                // What it is computed from is not followed.
                item += " GENERATED ALWAYS AS (NULL)";
            }
            if !column.nullable {
                item += " NOT NULL";
            }
            if column.auto_increment {
                item += " AUTO_INCREMENT";
            }
            if column.invisible {
                item += " INVISIBLE";
            }
            items.push(item);
        }
        for key in &self.keys {
            let parts: Option<Vec<String>> = key
                .parts
                .iter()
                .map(|part| {
                    let name = quote(part.column.as_deref()?);
                    Some(part.prefix.map_or_else(|| name.clone(), |prefix| format!("{name}({prefix})")))
                })
                .collect();
            let Some(parts) = parts.map(|parts| parts.join(",")) else { continue };
            items.push(match key.kind {
                KeyKind::Primary => format!("PRIMARY KEY ({parts})"),
                KeyKind::Unique => format!("UNIQUE KEY {} ({parts})", quote(&key.name)),
                KeyKind::Index => format!("KEY {} ({parts})", quote(&key.name)),
            });
        }
        let mut sql = format!("CREATE TABLE {quoted_name} ({})", items.join(", "));
        if let Some(charset) = &self.charset {
            sql += &format!(" DEFAULT CHARSET={charset}");
        }
        if let Some(collation) = &self.collation {
            sql += &format!(" COLLATE={collation}");
        }
        sql
    }
}

/// Column and key names do not distinguish case.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    a == b || a.eq_ignore_ascii_case(b) || (!a.is_ascii() && a.to_lowercase() == b.to_lowercase())
}

#[cfg(test)]
mod tests;
