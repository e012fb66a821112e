//! The definitions of source tables that a task follows, kept in `<task>_dmnode_schema` beside the progress.
//!
//! A row says how the table was at the watermark: it is written in the very transaction in which the watermark passes
//! the statement that made it so, or, for a definition that was derived, at any time later.

use dmnode_model::TableName;
use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::ids::{SourceId, TaskName};
use dmnode_mysql::{ColumnInfo, ColumnType, Connection, KeyColumn, KeyInfo, SqlError, TableInfo, TextRow};
use dmnode_schema::definition::{Column, Definition, Key, KeyKind, KeyPart};

use crate::progress::{table_name, text_literal};
use crate::target::target_error;

/// Suffix of the meta table.
pub(crate) const SUFFIX: &str = "dmnode_schema";

/// What becomes of a definition that is stored already.
const PUT_TAIL: &str = " ON DUPLICATE KEY UPDATE definition = VALUES(definition), \
     origin = VALUES(origin), location = VALUES(location), version = version + 1";
/// Size of a statement that stores several definitions, about.
const PUT_BYTES_MAX: usize = 512 * 1024;

/// Where a definition comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From the binlog's own description of the rows.
    Binlog,
    /// From the full copy.
    Copy,
    /// From what the source says now.
    Source,
    /// From the target's table.
    Target,
    /// From the statements that were followed.
    Ddl,
    /// From a person (`binlog-schema update`).
    Operator,
}

impl Origin {
    const ALL: [(Origin, &'static str); 6] = [
        (Origin::Binlog, "binlog"),
        (Origin::Copy, "copy"),
        (Origin::Source, "source"),
        (Origin::Target, "target"),
        (Origin::Ddl, "ddl"),
        (Origin::Operator, "operator"),
    ];

    /// As it is stored.
    pub(crate) fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(origin, _)| *origin == self).map_or("", |(_, name)| name)
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(origin, _)| *origin)
    }
}

/// A definition that is followed.
#[derive(Debug, Clone)]
pub(crate) struct Followed {
    pub definition: Definition,
    pub origin: Origin,
    /// For people: where in the binlog it is from.
    pub location: String,
}

/// The meta table of one task and source.
#[derive(Debug, Clone)]
pub(crate) struct DefinitionTable {
    table: String,
    source: String,
}

impl DefinitionTable {
    pub fn new(meta_schema: &str, task: &TaskName, source: &SourceId) -> Self {
        Self { table: table_name(meta_schema, task, SUFFIX), source: text_literal(source.as_str()) }
    }

    /// The statement that makes the meta table.
    pub fn create_sql(quoted_table: &str) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {quoted_table} (\
             source_id VARCHAR(64) NOT NULL, table_schema VARCHAR(64) NOT NULL, table_name VARCHAR(64) NOT NULL, \
             definition LONGTEXT NOT NULL, origin VARCHAR(16) NOT NULL, location TEXT NOT NULL, \
             version BIGINT UNSIGNED NOT NULL DEFAULT 1, \
             updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), \
             PRIMARY KEY (source_id, table_schema, table_name)) \
             ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
        )
    }

    /// Everything that is followed: first names, and definitions as long as `room` has room for them.
    pub async fn load(
        &self,
        conn: &mut Connection,
        mut room: impl FnMut(TableName, Option<Followed>) -> bool,
    ) -> Result<(), CodedError> {
        let sql = self.select("");
        let mut rows = match conn.stream(&sql).await {
            Ok(rows) => rows,
            // No such database, no such table: nothing is followed yet.
            Err(error) if matches!(error.code(), Some(1049 | 1146)) => return Ok(()),
            Err(error) => return Err(target_error(&error)),
        };
        let mut more = true;
        while let Some(row) = rows.next().await.map_err(|error| target_error(&error))? {
            let (name, followed) = if more {
                let (name, followed) = self.read(&row)?;
                (name, Some(followed))
            } else {
                (TableName::new(row.string(0).unwrap_or_default(), row.string(1).unwrap_or_default()), None)
            };
            more = room(name, followed);
        }
        Ok(())
    }

    /// The row of one table, if it is followed.
    pub async fn find(&self, conn: &mut Connection, name: &TableName) -> Result<Option<TextRow>, SqlError> {
        let condition = format!(
            " AND table_schema = {} AND table_name = {}",
            text_literal(&name.schema),
            text_literal(&name.table)
        );
        match conn.query_one(self.select(&condition)).await {
            Err(error) if matches!(error.code(), Some(1049 | 1146)) => Ok(None),
            other => other,
        }
    }

    fn select(&self, condition: &str) -> String {
        format!(
            "SELECT table_schema, table_name, definition, origin, location FROM {} WHERE source_id = {}{condition}",
            self.table, self.source
        )
    }

    /// What a row says.
    pub fn read(&self, row: &TextRow) -> Result<(TableName, Followed), CodedError> {
        let text = |index: usize| row.string(index).unwrap_or_default();
        let name = TableName::new(text(0), text(1));
        let definition: Definition = serde_json::from_str(&text(2)).map_err(|error| {
            CodedError::new(codes::SCHEMA_ROW, format!("saved schema of {name} is not proper JSON"))
                .object(format!("{} in {}", name, self.table))
                .cause(error)
        })?;
        let origin = Origin::parse(&text(3)).unwrap_or(Origin::Operator);
        Ok((name, Followed { definition, origin, location: text(4) }))
    }

    /// Stores a definition.
    pub fn put_sql(&self, name: &TableName, followed: &Followed) -> String {
        format!("{}{}{PUT_TAIL}", self.put_head(), self.put_row(name, followed))
    }

    /// Stores several definitions, in statements of bounded size.
    pub fn put_all_sql<'a>(
        &self,
        all: impl IntoIterator<Item = (&'a TableName, &'a Followed)>,
    ) -> Vec<String> {
        let mut statements = Vec::new();
        let mut sql = String::new();
        for (name, followed) in all {
            match sql.is_empty() {
                true => sql = self.put_head(),
                false => sql.push_str(", "),
            }
            sql.push_str(&self.put_row(name, followed));
            if sql.len() > PUT_BYTES_MAX {
                sql.push_str(PUT_TAIL);
                statements.push(std::mem::take(&mut sql));
            }
        }
        if !sql.is_empty() {
            sql.push_str(PUT_TAIL);
            statements.push(sql);
        }
        statements
    }

    fn put_head(&self) -> String {
        format!(
            "INSERT INTO {} (source_id, table_schema, table_name, definition, origin, location) VALUES ",
            self.table
        )
    }

    fn put_row(&self, name: &TableName, followed: &Followed) -> String {
        let json = serde_json::to_string(&followed.definition).unwrap_or_default();
        format!(
            "({}, {}, {}, {}, '{}', {})",
            self.source,
            text_literal(&name.schema),
            text_literal(&name.table),
            text_literal(&json),
            followed.origin.as_str(),
            text_literal(&followed.location),
        )
    }

    /// Forgets a definition.
    pub fn delete_sql(&self, name: &TableName) -> String {
        format!(
            "DELETE FROM {} WHERE source_id = {} AND table_schema = {} AND table_name = {}",
            self.table,
            self.source,
            text_literal(&name.schema),
            text_literal(&name.table)
        )
    }

    /// Forgets all definitions.
    pub fn delete_all_sql(&self) -> String {
        format!("DELETE FROM {} WHERE source_id = {}", self.table, self.source)
    }

    /// Takes what another task has followed: all of it, in the place of what is known of `tables`.
    pub fn take_sql<'a>(&self, other: &Self, tables: impl IntoIterator<Item = &'a TableName>) -> Vec<String> {
        const COLUMNS: &str = "source_id, table_schema, table_name, definition, origin, location, version";
        let mut statements: Vec<String> = tables.into_iter().map(|table| self.delete_sql(table)).collect();
        statements.push(format!(
            "INSERT INTO {} ({COLUMNS}) SELECT {COLUMNS} FROM {} AS other WHERE other.source_id = {} \
             ON DUPLICATE KEY UPDATE definition = other.definition, origin = other.origin, \
             location = other.location, version = other.version",
            self.table, other.table, other.source
        ));
        statements
    }

    /// Forgets what an earlier run of the task followed; what a person gave for this one stays, and what its copy has
    /// left, if it begins behind one.
    pub fn forget_followed_sql(&self, keep_copy: bool) -> String {
        let kept = if keep_copy { "'copy', 'operator'" } else { "'operator'" };
        format!("DELETE FROM {} WHERE source_id = {} AND origin NOT IN ({kept})", self.table, self.source)
    }
}

/// The definition in a server's description of a table.
pub(crate) fn definition_of(info: &TableInfo) -> Definition {
    let columns = info
        .columns
        .iter()
        .map(|column| Column {
            name: column.name.clone(),
            type_text: column.column_type_text.clone(),
            nullable: column.nullable,
            charset: column.charset.clone(),
            collation: column.collation.clone(),
            generated: column.generated,
            invisible: column.invisible,
            auto_increment: column.auto_increment,
        })
        .collect();
    let keys = info.keys.iter().map(|key| Key {
        name: key.name.clone(),
        kind: match (key.primary, key.unique) {
            (true, _) => KeyKind::Primary,
            (_, true) => KeyKind::Unique,
            _ => KeyKind::Index,
        },
        parts: key
            .columns
            .iter()
            .map(|part| KeyPart {
                column: part
                    .column
                    .and_then(|index| info.columns.get(index))
                    .map(|column| column.name.clone()),
                prefix: part.prefix_len,
            })
            .collect(),
    });
    Definition {
        columns,
        keys: keys.collect(),
        charset: info.charset.clone(),
        collation: info.collation.clone(),
    }
}

/// A definition as a server would describe it.
pub(crate) fn info_of(name: &TableName, definition: &Definition) -> TableInfo {
    let columns: Vec<ColumnInfo> = definition
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let lower = column.type_text.to_ascii_lowercase();
            // After the parameters: an ENUM's members may contain any word.
            let attributes = lower.rsplit(')').next().unwrap_or_default();
            ColumnInfo {
                name: column.name.clone(),
                ordinal: index + 1,
                data_type: ColumnType::parse(&column.type_text),
                unsigned: attributes.contains("unsigned") || attributes.contains("zerofill"),
                nullable: column.nullable,
                charset: column.charset.clone(),
                collation: column.collation.clone(),
                generated: column.generated,
                invisible: column.invisible,
                auto_increment: column.auto_increment,
                compressed: lower.contains("compressed"),
                column_type_text: column.type_text.clone(),
            }
        })
        .collect();
    let keys = definition
        .keys
        .iter()
        .map(|key| {
            let parts: Vec<KeyColumn> = key
                .parts
                .iter()
                .map(|part| {
                    let column = part
                        .column
                        .as_deref()
                        .and_then(|name| definition.column(name))
                        .map(|(index, _)| index);
                    KeyColumn {
                        column,
                        prefix_len: part.prefix,
                        expression: column.is_none().then(String::new),
                    }
                })
                .collect();
            let nullable = parts.iter().any(|part| {
                part.column.and_then(|index| columns.get(index)).is_none_or(|column| column.nullable)
            });
            KeyInfo {
                name: key.name.clone(),
                primary: key.kind == KeyKind::Primary,
                unique: key.kind != KeyKind::Index,
                columns: parts,
                nullable,
                index_type: "BTREE".to_owned(),
            }
        })
        .collect();
    TableInfo {
        name: name.clone(),
        columns,
        keys,
        engine: "InnoDB".to_owned(),
        charset: definition.charset.clone(),
        collation: definition.collation.clone(),
        foreign_keys: Vec::new(),
        create_sql: None,
    }
}
