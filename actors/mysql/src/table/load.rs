//! Reading table descriptions from `information_schema`.

use std::collections::BTreeMap;

use dmnode_model::TableName;

use super::{ColumnInfo, ColumnType, ForeignKey, KeyColumn, KeyInfo, TableInfo};
use crate::{connection::Connection, error::SqlError, literal::write_string, text_row::TextRow};

impl TableInfo {
    /// Describes a table; `None` if there is no such base table.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn load(connection: &mut Connection, name: &TableName) -> Result<Option<Self>, SqlError> {
        Ok(load(connection, &name.schema, Some(&[&name.table])).await?.pop())
    }

    /// Describes the base tables of a schema that have one of these names, as the server compares names: where it knows
    /// no case, a table may be found under another spelling, and one of another case may come in addition.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn load_some(
        connection: &mut Connection,
        schema: &str,
        tables: &[&str],
    ) -> Result<Vec<Self>, SqlError> {
        if tables.is_empty() {
            return Ok(Vec::new());
        }
        load(connection, schema, Some(tables)).await
    }

    /// Describes all base tables of a schema, in order of their names.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn load_schema_tables(
        connection: &mut Connection,
        schema: &str,
    ) -> Result<Vec<Self>, SqlError> {
        load(connection, schema, None).await
    }

    /// Like [`TableInfo::load`], with `SHOW CREATE TABLE` in [`TableInfo::create_sql`].
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn load_with_create_sql(
        connection: &mut Connection,
        name: &TableName,
    ) -> Result<Option<Self>, SqlError> {
        let Some(mut table) = Self::load(connection, name).await? else { return Ok(None) };
        let row = connection.query_one(format!("SHOW CREATE TABLE {}", name.quoted())).await?;
        table.create_sql = row.and_then(|row| row.string(1));
        Ok(Some(table))
    }
}

/// Expressions of functional key parts are a column of STATISTICS only in MySQL 8.0.13 and later.
const UNKNOWN_COLUMN: u16 = 1054;

async fn load(
    connection: &mut Connection,
    schema: &str,
    names: Option<&[&str]>,
) -> Result<Vec<TableInfo>, SqlError> {
    let condition = |schema_column: &str, table_column: &str| {
        let mut sql = format!("{schema_column} = ").into_bytes();
        write_string(schema, &mut sql);
        match names {
            None => {}
            // MariaDB opens one table for this, and looks at all names of the schema for a list.
            Some([name]) => {
                sql.extend_from_slice(format!(" AND {table_column} = ").as_bytes());
                write_string(name, &mut sql);
            }
            Some(names) => {
                sql.extend_from_slice(format!(" AND {table_column} IN (").as_bytes());
                for (index, name) in names.iter().enumerate() {
                    if index > 0 {
                        sql.push(b',');
                    }
                    write_string(name, &mut sql);
                }
                sql.push(b')');
            }
        }
        sql
    };
    let of_table = condition("TABLE_SCHEMA", "TABLE_NAME");
    let statement = |select: &str, condition: &[u8], order: &str| {
        [select.as_bytes(), b" WHERE ", condition, b" ORDER BY ", order.as_bytes()].concat()
    };

    let rows = connection
        .query(statement(
            "SELECT T.TABLE_SCHEMA, T.TABLE_NAME, T.ENGINE, T.TABLE_COLLATION, C.CHARACTER_SET_NAME \
             FROM information_schema.TABLES T LEFT JOIN information_schema.COLLATION_CHARACTER_SET_APPLICABILITY C \
             ON C.COLLATION_NAME = T.TABLE_COLLATION",
            &[
                &condition("T.TABLE_SCHEMA", "T.TABLE_NAME")[..],
                b" AND T.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')",
            ]
            .concat(),
            "T.TABLE_NAME",
        ))
        .await?;
    let mut tables: BTreeMap<String, TableInfo> = BTreeMap::new();
    for row in &rows {
        let name = text(row, 1);
        let collation = row.string(3);
        tables.insert(
            name.clone(),
            TableInfo {
                name: TableName::new(text(row, 0), name),
                columns: Vec::new(),
                keys: Vec::new(),
                engine: text(row, 2),
                charset: row.string(4).or_else(|| {
                    collation.as_deref().and_then(|name| name.split('_').next().map(str::to_owned))
                }),
                collation,
                foreign_keys: Vec::new(),
                create_sql: None,
            },
        );
    }
    if tables.is_empty() {
        return Ok(Vec::new());
    }

    let rows = connection
        .query(statement(
            "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, CHARACTER_SET_NAME, COLLATION_NAME, EXTRA, \
             GENERATION_EXPRESSION FROM information_schema.COLUMNS",
            &of_table,
            "TABLE_NAME, ORDINAL_POSITION",
        ))
        .await?;
    for row in &rows {
        if let Some(table) = tables.get_mut(&text(row, 0)) {
            let ordinal = table.columns.len() + 1;
            table.columns.push(column(row, ordinal));
        }
    }

    load_keys(connection, &mut tables, |select| {
        statement(select, &of_table, "TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX")
    })
    .await?;
    load_foreign_keys(connection, &mut tables, &of_table, &condition("CONSTRAINT_SCHEMA", "TABLE_NAME"))
        .await?;
    Ok(tables.into_values().collect())
}

/// Two queries, not a join: MariaDB opens all tables of the schema for the other side of one, for each table.
async fn load_foreign_keys(
    connection: &mut Connection,
    tables: &mut BTreeMap<String, TableInfo>,
    of_table: &[u8],
    of_constraint: &[u8],
) -> Result<(), SqlError> {
    const COLUMNS: &[u8] = b"SELECT TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, \
        REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE ";
    const ORDER: &[u8] =
        b" AND REFERENCED_TABLE_NAME IS NOT NULL ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION";
    const RULES: &[u8] = b"SELECT TABLE_NAME, CONSTRAINT_NAME, UPDATE_RULE, DELETE_RULE \
        FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE ";
    let rows = connection.query([COLUMNS, of_table, ORDER].concat()).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let mut rules = BTreeMap::new();
    for row in &connection.query([RULES, of_constraint].concat()).await? {
        rules.insert((text(row, 0), text(row, 1)), (text(row, 2), text(row, 3)));
    }
    for row in &rows {
        let (child, name) = (text(row, 0), text(row, 1));
        let Some(table) = tables.get_mut(&child) else { continue };
        // Without a rule it has been dropped between the two queries.
        let Some((on_update, on_delete)) = rules.get(&(child, name.clone())) else { continue };
        if table.foreign_keys.last().is_none_or(|key| key.name != name) {
            table.foreign_keys.push(ForeignKey {
                name,
                columns: Vec::new(),
                referenced_table: TableName::new(text(row, 3), text(row, 4)),
                referenced_columns: Vec::new(),
                on_update: on_update.clone(),
                on_delete: on_delete.clone(),
            });
        }
        if let Some(key) = table.foreign_keys.last_mut() {
            key.columns.push(text(row, 2));
            key.referenced_columns.push(text(row, 5));
        }
    }
    Ok(())
}

async fn load_keys(
    connection: &mut Connection,
    tables: &mut BTreeMap<String, TableInfo>,
    statement: impl Fn(&str) -> Vec<u8>,
) -> Result<(), SqlError> {
    const COLUMNS: &str = "TABLE_NAME, INDEX_NAME, NON_UNIQUE, COLUMN_NAME, SUB_PART, NULLABLE, INDEX_TYPE";
    let from = |expression: &str| {
        statement(&format!("SELECT {COLUMNS}, {expression} FROM information_schema.STATISTICS"))
    };
    let rows = match connection.query(from("EXPRESSION")).await {
        Err(error) if error.code() == Some(UNKNOWN_COLUMN) => connection.query(from("NULL")).await?,
        other => other?,
    };
    for row in &rows {
        let Some(table) = tables.get_mut(&text(row, 0)) else { continue };
        let name = text(row, 1);
        let part = KeyColumn {
            column: row.str(3).and_then(|column| table.column(&column).map(|(index, _)| index)),
            prefix_len: row.u64(4).and_then(|len| u32::try_from(len).ok()),
            expression: row.string(7),
        };
        // A part that is no known column (a hidden one) is an expression, whatever the server calls it.
        let part = if part.column.is_none() && part.expression.is_none() {
            KeyColumn { expression: Some(String::new()), ..part }
        } else {
            part
        };
        let nullable = row.str(5).is_some_and(|nullable| nullable.eq_ignore_ascii_case("YES"));
        if table.keys.last().is_none_or(|key| key.name != name) {
            table.keys.push(KeyInfo {
                primary: name == "PRIMARY",
                unique: row.u64(2) == Some(0),
                columns: Vec::new(),
                nullable: false,
                index_type: text(row, 6),
                name,
            });
        }
        if let Some(key) = table.keys.last_mut() {
            key.nullable |= nullable;
            key.columns.push(part);
        }
    }
    for table in tables.values_mut() {
        for key in &mut table.keys {
            for part in &mut key.columns {
                // Servers report a prefix as long as the column for some types (spatial, MariaDB's long unique).
                if key.index_type == "SPATIAL" || key.index_type == "FULLTEXT" {
                    part.prefix_len = None;
                }
            }
        }
        table.keys.sort_by_key(|key| !key.primary);
    }
    Ok(())
}

fn column(row: &TextRow, ordinal: usize) -> ColumnInfo {
    let type_text = text(row, 2);
    let extra = text(row, 6).to_ascii_uppercase();
    let data_type = ColumnType::parse(&type_text);
    let lower = type_text.to_ascii_lowercase();
    // After the parameters: an ENUM's members may contain any word.
    let attributes = lower.rsplit(')').next().unwrap_or_default();
    ColumnInfo {
        name: text(row, 1),
        ordinal,
        // ZEROFILL implies UNSIGNED.
        unsigned: attributes.contains("unsigned") || attributes.contains("zerofill"),
        nullable: row.str(3).is_some_and(|nullable| nullable.eq_ignore_ascii_case("YES")),
        charset: row.string(4),
        collation: row.string(5),
        // MySQL says VIRTUAL GENERATED for generated columns, and DEFAULT_GENERATED for what only has a default
        // expression. System versioning columns cannot be written either.
        generated: row.str(7).is_some_and(|expression| !expression.is_empty())
            || extra.contains("VIRTUAL GENERATED")
            || extra.contains("STORED GENERATED"),
        invisible: extra.contains("INVISIBLE"),
        auto_increment: extra.contains("AUTO_INCREMENT"),
        compressed: lower.contains("compressed"),
        data_type,
        column_type_text: type_text,
    }
}

fn text(row: &TextRow, index: usize) -> String {
    row.string(index).unwrap_or_default()
}
