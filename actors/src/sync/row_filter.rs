//! Expression filters: rows that are left out because of their values.
//!
//! DM's meaning: an insert is left out if its expression is true for the new row, a delete for the old one, an update if
//! those for the old and the new row are both true (one that is not given counts as true). Several filters of a table
//! are joined by OR. NULL is not true.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use dmnode_model::TableName;
use dmnode_model::codes;
use dmnode_model::config::{ExpressionFilter, SubtaskConfig};
use dmnode_model::error::CodedError;
use dmnode_mysql::{ColumnInfo, ColumnType, Connection, Row, SqlError, Value, decode_text};
use dmnode_schema::expression::{
    Collation, ColumnMeaning, Datum, Decimal, Expression, Fault, Kind, Temporal, TemporalKind,
};
use jiff::tz::{Offset, TimeZone};

use super::change::RowChange;
use super::table::Table;

/// The expression filters of a task.
pub struct RowFilters {
    filters: Vec<ExpressionFilter>,
    case_sensitive: bool,
    zone: TimeZone,
    /// By the table's number, which is a new one after every DDL.
    compiled: HashMap<u32, Option<Arc<TableFilter>>>,
}

/// The filters of one table, compiled for its columns.
pub struct TableFilter {
    table: TableName,
    columns: Vec<ColumnInfo>,
    zone: TimeZone,
    insert: Vec<(String, Expression)>,
    update: Vec<(String, Option<Expression>, Option<Expression>)>,
    delete: Vec<(String, Expression)>,
}

/// Tables whose filters are kept compiled.
const COMPILED_MAX: usize = 20_000;

impl RowFilters {
    /// From the task. Without a `timezone` it is the target's: in it TIMESTAMP values are compared with constants.
    pub async fn new(subtask: &SubtaskConfig, target: &mut Connection) -> Result<Self, SqlError> {
        let filters = subtask.expression_filters.clone();
        let zone = if filters.is_empty() {
            TimeZone::UTC
        } else if subtask.timezone.is_empty() {
            let sql = "SELECT TIME_TO_SEC(TIMEDIFF(CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', @@global.time_zone), UTC_TIMESTAMP()))";
            let seconds = target.query_one(sql).await?.and_then(|row| row.string(0));
            fixed(seconds.and_then(|text| text.parse::<f64>().ok()).map_or(0, |seconds| seconds as i32))
        } else {
            zone_of(&subtask.timezone)
        };
        Ok(Self { filters, case_sensitive: subtask.case_sensitive, zone, compiled: HashMap::new() })
    }

    /// What is to be asked about the rows of a table; None if there is nothing.
    pub fn of(&mut self, table: &Table) -> Result<Option<Arc<TableFilter>>, CodedError> {
        if self.filters.is_empty() {
            return Ok(None);
        }
        if let Some(known) = self.compiled.get(&table.number) {
            return Ok(known.clone());
        }
        let compiled = self.compile(&table.source, table.source_columns())?.map(Arc::new);
        if self.compiled.len() >= COMPILED_MAX {
            self.compiled.clear();
        }
        self.compiled.insert(table.number, compiled.clone());
        Ok(compiled)
    }

    fn compile(&self, name: &TableName, columns: &[ColumnInfo]) -> Result<Option<TableFilter>, CodedError> {
        let same = |a: &str, b: &str| {
            if self.case_sensitive { a == b } else { a.to_lowercase() == b.to_lowercase() }
        };
        let own: Vec<&ExpressionFilter> = self
            .filters
            .iter()
            .filter(|filter| same(&filter.schema, &name.schema) && same(&filter.table, &name.table))
            .collect();
        if own.is_empty() {
            return Ok(None);
        }
        let meanings: Vec<ColumnMeaning> = columns.iter().map(meaning).collect();
        let mut table = TableFilter {
            table: name.clone(),
            columns: columns.to_vec(),
            zone: self.zone.clone(),
            insert: Vec::new(),
            update: Vec::new(),
            delete: Vec::new(),
        };
        for filter in own {
            let compiled = |text: &str| -> Result<Option<Expression>, CodedError> {
                if text.is_empty() {
                    return Ok(None);
                }
                Expression::compile(text, &meanings).map(Some).map_err(|fault| wrong(filter, text, &fault))
            };
            let named = |expression: Expression| (filter.name.clone(), expression);
            table.insert.extend(compiled(&filter.insert_value_expr)?.map(named));
            table.delete.extend(compiled(&filter.delete_value_expr)?.map(named));
            let (old, new) =
                (compiled(&filter.update_old_value_expr)?, compiled(&filter.update_new_value_expr)?);
            if old.is_some() || new.is_some() {
                table.update.push((filter.name.clone(), old, new));
            }
        }
        Ok(Some(table))
    }
}

/// Compiles every filter of a table, to see whether that can be done.
pub fn check(filters: &[ExpressionFilter], columns: &[ColumnInfo]) -> Vec<CodedError> {
    let meanings: Vec<ColumnMeaning> = columns.iter().map(meaning).collect();
    let mut errors = Vec::new();
    for filter in filters {
        for text in [
            &filter.insert_value_expr,
            &filter.update_old_value_expr,
            &filter.update_new_value_expr,
            &filter.delete_value_expr,
        ] {
            if !text.is_empty()
                && let Err(fault) = Expression::compile(text, &meanings)
            {
                errors.push(wrong(filter, text, &fault));
            }
        }
    }
    errors
}

fn wrong(filter: &ExpressionFilter, text: &str, fault: &Fault) -> CodedError {
    CodedError::new(
        codes::CONFIG_EXPR_FILTER_WRONG_GRAMMAR,
        format!("expression-filter name({}) SQL({text}) has wrong grammar", filter.name),
    )
    .object(TableName::new(filter.schema.as_str(), filter.table.as_str()))
    .cause(fault)
    .remedy("correct the expression; docs/rules.md lists what expressions may hold")
}

impl TableFilter {
    /// Whether a change is left out. `timestamp` is the time of the change at the source.
    pub fn leaves_out(&self, change: &RowChange, timestamp: u32) -> Result<bool, CodedError> {
        let now = self.local_time(i64::from(timestamp));
        let is_true = |name: &str, expression: &Expression, row: &Row| {
            expression.truth(&|at| self.datum(row, at), now).map(|truth| truth == Some(true)).map_err(
                |fault| {
                    CodedError::new(
                        codes::EXPRESSION_UNDECIDED,
                        "an expression filter cannot be decided for a row",
                    )
                    .object(format!("{} (expression-filter.{name})", self.table))
                    .cause(fault)
                },
            )
        };
        match change {
            RowChange::Insert(row) => any(&self.insert, |(name, expression)| is_true(name, expression, row)),
            RowChange::Delete(row) => any(&self.delete, |(name, expression)| is_true(name, expression, row)),
            RowChange::Update(before, after) => any(&self.update, |(name, old, new)| {
                let holds = |expression: &Option<Expression>, row| match expression {
                    Some(expression) => is_true(name, expression, row),
                    None => Ok(true),
                };
                Ok(holds(old, before)? && holds(new, after)?)
            }),
        }
    }

    fn datum(&self, row: &Row, at: usize) -> Datum {
        match (row.values.get(at), self.columns.get(at)) {
            (Some(value), Some(column)) => datum(value, column, &|text| self.local(text)),
            _ => Datum::Opaque,
        }
    }

    fn local_time(&self, seconds: i64) -> Option<Temporal> {
        let moment = jiff::Timestamp::from_second(seconds).ok()?;
        let text = moment.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
        Temporal::parse_date_time(&text)
    }

    /// A TIMESTAMP, which is kept in UTC, in the session's zone.
    fn local(&self, text: &str) -> Option<Temporal> {
        let utc = Temporal::parse_date_time(text)?;
        if !utc.is_whole() {
            return Some(utc);
        }
        let civil: jiff::civil::DateTime = text.replacen(' ', "T", 1).parse().ok()?;
        let zoned = civil.to_zoned(TimeZone::UTC).ok()?.with_time_zone(self.zone.clone());
        let local = Temporal::parse_date_time(&zoned.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string())?;
        Some(Temporal { digits: utc.digits, ..local })
    }
}

fn any<T>(list: &[T], mut test: impl FnMut(&T) -> Result<bool, CodedError>) -> Result<bool, CodedError> {
    for item in list {
        if test(item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn fixed(seconds: i32) -> TimeZone {
    Offset::from_seconds(seconds).map_or(TimeZone::UTC, TimeZone::fixed)
}

/// `+08:00`, or a name.
fn zone_of(text: &str) -> TimeZone {
    let offset = || {
        let (sign, rest) = match text.split_at_checked(1)? {
            ("+", rest) => (1, rest),
            ("-", rest) => (-1, rest),
            _ => return None,
        };
        let (hours, minutes) = rest.split_once(':')?;
        Some(sign * (hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60))
    };
    match offset() {
        Some(seconds) => fixed(seconds),
        None => jiff::tz::TimeZoneDatabase::bundled().get(text).unwrap_or(TimeZone::UTC),
    }
}

/// What an expression may know of a column.
pub fn meaning(column: &ColumnInfo) -> ColumnMeaning {
    let kind = match &column.data_type {
        ColumnType::TinyInt
        | ColumnType::SmallInt
        | ColumnType::MediumInt
        | ColumnType::Int
        | ColumnType::BigInt
        | ColumnType::Bit(_)
        | ColumnType::Year => Kind::Int,
        ColumnType::Decimal { scale, .. } => Kind::Decimal((*scale).into()),
        ColumnType::Float | ColumnType::Double => Kind::Double,
        ColumnType::Date => Kind::Temporal(TemporalKind::Date),
        ColumnType::Time(_) => Kind::Temporal(TemporalKind::Time),
        ColumnType::DateTime(_) | ColumnType::Timestamp(_) => Kind::Temporal(TemporalKind::DateTime),
        ColumnType::Char(_)
        | ColumnType::VarChar(_)
        | ColumnType::TinyText
        | ColumnType::Text
        | ColumnType::MediumText
        // Characters that cannot be decoded are met when a row has some.
        | ColumnType::LongText => Kind::Text,
        ColumnType::Enum(_) | ColumnType::Set(_) => Kind::Member,
        ColumnType::Binary(_)
        | ColumnType::VarBinary(_)
        | ColumnType::TinyBlob
        | ColumnType::Blob
        | ColumnType::MediumBlob
        | ColumnType::LongBlob => Kind::Bytes,
        _ => Kind::Opaque,
    };
    ColumnMeaning { name: column.name.clone(), kind }
}

/// A value for an expression. `local` gives a TIMESTAMP in the session's zone.
pub fn datum(value: &Value, column: &ColumnInfo, local: &dyn Fn(&str) -> Option<Temporal>) -> Datum {
    let collation = || column.collation.as_deref().map_or_else(Collation::literal, Collation::of_column);
    let temporal = |value: Option<Temporal>| value.map_or(Datum::Opaque, Datum::Temporal);
    match value {
        Value::Null => Datum::Null,
        Value::Int(number) => Datum::Int(*number),
        Value::UInt(number) | Value::Bit(number) => Datum::UInt(*number),
        Value::Year(year) => Datum::Int(i64::from(*year)),
        Value::Float(number) => Datum::Double((*number).into()),
        Value::Double(number) => Datum::Double(*number),
        Value::Decimal(text) => Decimal::parse(text).map_or(Datum::Opaque, Datum::Decimal),
        Value::Date(text) => temporal(Temporal::parse_date_time(text)),
        Value::DateTime(text) => temporal(Temporal::parse_date_time(text)),
        Value::Time(text) => temporal(Temporal::parse_time(text)),
        Value::Timestamp(text) => temporal(local(text)),
        Value::Enum(index) => {
            let members =
                if let ColumnType::Enum(members) = &column.data_type { members.as_slice() } else { &[] };
            let text = usize::from(*index).checked_sub(1).and_then(|at| members.get(at));
            Datum::Member(u64::from(*index), text.cloned().unwrap_or_default(), collation())
        }
        Value::Set(mask) => {
            let members =
                if let ColumnType::Set(members) = &column.data_type { members.as_slice() } else { &[] };
            let chosen = members.iter().enumerate().filter(|(bit, _)| *bit < 64 && mask >> bit & 1 == 1);
            let text: Vec<&str> = chosen.map(|(_, member)| member.as_str()).collect();
            Datum::Member(*mask, text.join(","), collation())
        }
        Value::Bytes(bytes) => match (meaning(column).kind, column.charset.as_deref()) {
            (Kind::Text, Some(charset)) => match decode_text(charset, bytes) {
                Some(text) => Datum::Text(Cow::into_owned(text), collation()),
                None => Datum::Opaque,
            },
            (Kind::Bytes, _) => Datum::Bytes(bytes.to_vec()),
            _ => Datum::Opaque,
        },
        _ => Datum::Opaque,
    }
}
