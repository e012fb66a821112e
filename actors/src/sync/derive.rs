//! The definition of a source table that was not followed so far, from whatever tells it best.
//!
//! In this order: the column names in the binlog (`binlog_row_metadata=FULL`), what the source says now, the target's
//! table; each only if it fits the rows. (What the full copy read is followed from its end on and never comes here.)

use dmnode_model::TableName;
use dmnode_model::codes;
use dmnode_model::config::Endpoint;
use dmnode_model::error::CodedError;
use dmnode_mysql::{Connection, RowDecoder, SessionOptions, SqlError, TableInfo, TableMap};
use dmnode_schema::definition::Definition;

use super::hidden::{visible, with_hashes};
use super::mapping::Mapping;
use crate::definitions::{Origin, definition_of};
use crate::fit::Misfit;
use crate::progress::text_literal;

/// How much later than a table's definition a change must be to be surely of that definition.
const SETTLED_SECONDS: u64 = 60;

/// What was found.
pub struct Derived {
    pub definition: Definition,
    pub origin: Origin,
    pub mapping: Result<Mapping, Misfit>,
}

/// A definition with its mapping, if it fits the rows.
fn fitting(
    map: &TableMap,
    info: &TableInfo,
    target: &TableInfo,
    alone: bool,
    origin: Origin,
) -> Option<Derived> {
    let mapping = Mapping::new(map, info, target, alone);
    let fits = match &mapping {
        Ok(mapping) => RowDecoder::new(map, &mapping.source).is_ok(),
        Err(_) => RowDecoder::new(map, info).is_ok(),
    };
    fits.then(|| Derived { definition: definition_of(info), origin, mapping })
}

/// Derives the definition that `map`, a description of rows, is of.
pub async fn derive(
    source: Option<&Endpoint>,
    map: &TableMap,
    target: &TableInfo,
    alone: bool,
) -> Result<Derived, CodedError> {
    let now = match source {
        None => None,
        Some(source) => match definition_at_source(source, &map.name, false).await {
            Ok(now) => now,
            Err(error) => {
                tracing::warn!(table = %map.name, error = %error,
                    "the source's definition of a table cannot be asked for");
                None
            }
        },
    };
    if let Some(names) = map.column_names() {
        let names = visible(names);
        let infos = [now.as_ref().map(|(info, _)| info), Some(target)];
        if let Some(info) = by_names(map, names, &infos)
            && let Some(derived) = fitting(map, &info, target, alone, Origin::Binlog)
        {
            return Ok(derived);
        }
        let missing = names.iter().find(|name| target.column(name).is_none());
        return Err(unknown(map, target).cause(match missing {
            Some(name) => format!("column `{name}` of the binlog does not exist in the target table"),
            None => "the types of its columns in the binlog are those of neither side".to_owned(),
        }));
    }
    let of_target = fitting(map, target, target, alone, Origin::Target);
    let Some((info, since)) = now else {
        return of_target.ok_or_else(|| unknown(map, target));
    };
    let Some(of_source) = fitting(map, &info, target, alone, Origin::Source) else {
        return of_target.ok_or_else(|| unknown(map, target));
    };
    let settled = since.is_some_and(|since| u64::from(map.timestamp) >= since + SETTLED_SECONDS);
    match of_target {
        // The source's table may have been altered later in the stream; the target's has followed up to here.
        Some(of_target) if !settled && !same_columns(&info, target) => {
            tracing::warn!(table = %map.name,
                "the target's table is not like the source's is now; taken for the work of a later DDL");
            Ok(of_target)
        }
        _ => Ok(of_source),
    }
}

/// The columns have the same names in the same order.
fn same_columns(a: &TableInfo, b: &TableInfo) -> bool {
    a.columns.len() == b.columns.len()
        && a.columns.iter().zip(&b.columns).all(|(a, b)| a.name.to_lowercase() == b.name.to_lowercase())
}

/// The columns named in the binlog, each as one of `infos` describes it: the first of them whose description fits.
fn by_names(map: &TableMap, names: &[String], infos: &[Option<&TableInfo>]) -> Option<TableInfo> {
    let model = infos.iter().flatten().next()?;
    let mut chosen = Vec::with_capacity(names.len());
    for name in names {
        let first = infos.iter().position(|info| info.is_some_and(|info| info.column(name).is_some()))?;
        chosen.push(first);
    }
    let build = |chosen: &[usize]| -> Option<TableInfo> {
        let mut columns = Vec::with_capacity(names.len());
        for (index, (name, from)) in names.iter().zip(chosen).enumerate() {
            let mut column = infos.get(*from).copied().flatten()?.column(name)?.1.clone();
            column.ordinal = index + 1;
            if let Some(collation) = map.collation(index)
                && column.data_type.is_text()
            {
                column.charset = Some(collation.charset.to_string());
            }
            columns.push(column);
        }
        let mut info = TableInfo { name: map.name.clone(), columns, keys: Vec::new(), ..(*model).clone() };
        for key in &model.keys {
            let parts: Option<Vec<_>> = key
                .columns
                .iter()
                .map(|part| {
                    let column = match part.column {
                        Some(index) => Some(info.column(&model.columns.get(index)?.name)?.0),
                        None => None,
                    };
                    Some(dmnode_mysql::KeyColumn { column, ..part.clone() })
                })
                .collect();
            if let Some(columns) = parts {
                info.keys.push(dmnode_mysql::KeyInfo { columns, ..key.clone() });
            }
        }
        Some(info)
    };
    // Each round takes the next description of the column that does not fit.
    for _ in 0..=names.len() * infos.len() {
        let info = build(&chosen)?;
        let (whole, _) = with_hashes(map, info.clone());
        let Err(error) = RowDecoder::new(map, &whole) else { return Some(info) };
        let column = error.column?;
        let index = names.iter().position(|name| name.to_lowercase() == column.to_lowercase())?;
        let next = (chosen[index] + 1..infos.len())
            .find(|from| infos[*from].is_some_and(|info| info.column(&names[index]).is_some()))?;
        chosen[index] = next;
    }
    None
}

fn unknown(map: &TableMap, target: &TableInfo) -> CodedError {
    CodedError::new(
        codes::SYNCER_UNIT_DML_COLUMN_NOT_MATCH,
        format!(
            "Column count doesn't match value count: {} (columns) vs {} (values): no definition of the table fits its rows",
            target.columns.len(),
            map.column_count
        ),
    )
    .object(format!("{} (source {})", target.name, map.name))
    .remedy("was a DDL skipped, or was the target's table changed by hand? tell the source's definition at this position with `binlog-schema update`, then resume-task; binlog_row_metadata=FULL at the source tells it by itself")
}

/// A table as the source has it now, and since when, in seconds since 1970; `with_create_sql` asks for its statement too.
pub(super) async fn definition_at_source(
    source: &Endpoint,
    name: &TableName,
    with_create_sql: bool,
) -> Result<Option<(TableInfo, Option<u64>)>, SqlError> {
    let options = SessionOptions { time_zone: Some("+00:00".into()), ..SessionOptions::default() };
    let mut conn = Connection::connect(source, &options).await?;
    // MySQL keeps old answers for a day; others do not know the variable.
    let _ = conn.execute("SET SESSION information_schema_stats_expiry = 0").await;
    let info = if with_create_sql {
        TableInfo::load_with_create_sql(&mut conn, name).await?
    } else {
        TableInfo::load(&mut conn, name).await?
    };
    let Some(info) = info else { return Ok(None) };
    // Asked last: a DDL in between makes the definition look younger, not older.
    let sql = format!(
        "SELECT UNIX_TIMESTAMP(CREATE_TIME) FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        text_literal(&name.schema),
        text_literal(&name.table)
    );
    let since = conn.query_one(sql).await?.and_then(|row| row.u64(0));
    conn.close().await;
    Ok(Some((info, since)))
}
