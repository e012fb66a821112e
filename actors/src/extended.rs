//! Columns that a route adds to the rows of a table: DM's `extract-table`, `extract-schema` and `extract-source`.
//!
//! Every row of a source table gets the same values, which stand behind the source's own columns. The target's table must
//! exist with these columns beforehand, and the source's must not have them.

use bytes::Bytes;
use dmnode_mysql::{ColumnInfo, ColumnType, KeyInfo, TableInfo, Value};
use dmnode_schema::ExtendedColumn;

use crate::fit::Misfit;

/// Character sets whose text is that of utf8mb4 as long as it is ASCII.
const LIKE_UTF8: [&str; 5] = ["utf8mb4", "utf8mb3", "utf8", "ascii", "latin1"];

/// A column with the value that all rows of a source table get.
#[derive(Debug, Clone)]
pub(crate) struct Constant {
    /// The target's column; its text is in the character set of `value`.
    pub column: ColumnInfo,
    /// As it is written.
    pub value: Value,
    /// As it was found.
    text: String,
}

/// What the route's values are in the target's columns.
pub(crate) fn constants(
    route: &[ExtendedColumn],
    source: &TableInfo,
    target: &TableInfo,
) -> Result<Vec<Constant>, Misfit> {
    let one = |extended: &ExtendedColumn| {
        let misfit = |why: String| Misfit { column: extended.column.clone(), why };
        if source.column(&extended.column).is_some() {
            return Err(misfit(
                "is filled by an extract rule of the route, and exists in the source table as well"
                    .to_owned(),
            ));
        }
        let Some((_, column)) = target.column(&extended.column) else {
            return Err(misfit(
                "is filled by an extract rule of the route, and does not exist in the target table"
                    .to_owned(),
            ));
        };
        let value = value_of(&extended.value, column).map_err(|why| {
            misfit(format!(
                "cannot hold what its extract rule finds in the name: {why} ({})",
                column.column_type_text
            ))
        })?;
        let mut column = column.clone();
        let plain = extended.value.is_ascii()
            && column.charset.as_deref().is_some_and(|charset| LIKE_UTF8.contains(&charset));
        if column.data_type.is_text() && !is_binary(&column) && !plain {
            column.charset = Some("utf8mb4".to_owned());
            // The same text has other bytes at the target: equality by bytes is not equality there.
            column.collation = column.collation.filter(|collation| !collation.ends_with("_bin"));
        }
        Ok(Constant { column, value, text: extended.value.clone() })
    };
    route.iter().map(one).collect()
}

fn is_binary(column: &ColumnInfo) -> bool {
    column.charset.as_deref().is_none_or(|charset| charset == "binary")
}

fn value_of(text: &str, column: &ColumnInfo) -> Result<Value, &'static str> {
    if column.generated {
        return Err("it is a generated column");
    }
    match &column.data_type {
        kind if kind.is_integer() => {
            let number = if column.unsigned {
                text.parse().ok().map(Value::UInt)
            } else {
                text.parse().ok().map(Value::Int)
            };
            number.ok_or("it is not a number")
        }
        kind if kind.is_text() => Ok(Value::Bytes(Bytes::copy_from_slice(text.as_bytes()))),
        ColumnType::Binary(length) if text.len() != usize::try_from(*length).unwrap_or(usize::MAX) => {
            Err("it is not of the column's length")
        }
        ColumnType::Binary(_)
        | ColumnType::VarBinary(_)
        | ColumnType::TinyBlob
        | ColumnType::Blob
        | ColumnType::MediumBlob
        | ColumnType::LongBlob => Ok(Value::Bytes(Bytes::copy_from_slice(text.as_bytes()))),
        ColumnType::Year => match text.parse::<u16>() {
            Ok(year) if (1901..=2155).contains(&year) => Ok(Value::Year(year)),
            _ => Err("it is not a year"),
        },
        ColumnType::Date => {
            let form = if text.contains('-') { "%Y-%m-%d" } else { "%Y%m%d" };
            match jiff::civil::Date::strptime(form, text) {
                Ok(date) => Ok(Value::Date(date.to_string().as_str().into())),
                Err(_) => Err("it is not a date"),
            }
        }
        ColumnType::Enum(members) => {
            let place = members.iter().position(|member| member == text);
            let number = place.and_then(|place| u16::try_from(place + 1).ok());
            number.map(Value::Enum).ok_or("it is not one of the members")
        }
        _ => Err("its type must be a text, an integer, ENUM, DATE or YEAR"),
    }
}

impl Constant {
    /// The value as an expression of the source's server; a member of an ENUM by its number or by its name.
    pub fn sql(&self, member_by_number: bool) -> String {
        match &self.value {
            Value::Enum(number) if member_by_number => number.to_string(),
            Value::Int(number) => number.to_string(),
            Value::UInt(number) => number.to_string(),
            Value::Year(number) => number.to_string(),
            Value::Date(date) => format!("CAST('{date}' AS DATE)"),
            _ => {
                let hex = dmnode_mysql::hex(self.text.as_bytes());
                let text = matches!(self.value, Value::Enum(_)) || !is_binary(&self.column);
                format!("{}x'{hex}'", if text { "_utf8mb4 " } else { "" })
            }
        }
    }

    /// The column as if it came from the source.
    pub fn at_source(&self) -> ColumnInfo {
        let mut column = self.column.clone();
        if column.charset.is_some() && !is_binary(&column) {
            column.charset = Some("utf8mb4".to_owned());
        }
        column
    }
}

/// The target as the source's own columns see it: without the columns that the route adds and without keys over them.
pub(crate) fn without(target: &TableInfo, route: &[ExtendedColumn]) -> TableInfo {
    if route.is_empty() {
        return target.clone();
    }
    let added = |column: &ColumnInfo| {
        route.iter().any(|extended| extended.column.to_lowercase() == column.name.to_lowercase())
    };
    // By place with all columns: place without the added ones.
    let mut places = Vec::with_capacity(target.columns.len());
    let mut columns = Vec::with_capacity(target.columns.len());
    for column in &target.columns {
        places.push((!added(column)).then_some(columns.len()));
        if !added(column) {
            columns.push(column.clone());
        }
    }
    let key = |key: &KeyInfo| {
        let mut key = key.clone();
        for part in &mut key.columns {
            if let Some(place) = part.column {
                part.column = Some(places.get(place).copied().flatten()?);
            }
        }
        Some(key)
    };
    TableInfo { columns, keys: target.keys.iter().filter_map(key).collect(), ..target.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(type_text: &str, charset: Option<&str>) -> ColumnInfo {
        ColumnInfo {
            name: "c".to_owned(),
            ordinal: 1,
            data_type: ColumnType::parse(type_text),
            unsigned: type_text.contains("unsigned"),
            nullable: false,
            charset: charset.map(str::to_owned),
            collation: charset.map(|charset| format!("{charset}_bin")),
            generated: false,
            invisible: false,
            auto_increment: false,
            compressed: false,
            column_type_text: type_text.to_owned(),
        }
    }

    fn sql(text: &str, type_text: &str, charset: Option<&str>) -> Result<String, &'static str> {
        let column = column(type_text, charset);
        let value = value_of(text, &column)?;
        Ok(Constant { column, value, text: text.to_owned() }.sql(true))
    }

    #[test]
    fn a_name_becomes_a_value_of_the_columns_type() {
        for (text, type_text, charset, want) in [
            ("017", "int", None, Ok("17")),
            ("-1", "int unsigned", None, Err("it is not a number")),
            ("", "bigint", None, Err("it is not a number")),
            ("a'b", "varchar(20)", Some("utf8mb4"), Ok("_utf8mb4 x'612762'")),
            ("", "varchar(20)", Some("latin1"), Ok("_utf8mb4 x''")),
            ("ab", "varbinary(20)", None, Ok("x'6162'")),
            ("ab", "binary(3)", None, Err("it is not of the column's length")),
            ("2024", "year", None, Ok("2024")),
            ("20240131", "date", None, Ok("CAST('2024-01-31' AS DATE)")),
            ("2024-02-30", "date", None, Err("it is not a date")),
            ("b", "enum('a','b')", Some("utf8mb4"), Ok("2")),
            ("c", "enum('a','b')", Some("utf8mb4"), Err("it is not one of the members")),
            ("1", "float", None, Err("its type must be a text, an integer, ENUM, DATE or YEAR")),
        ] {
            assert_eq!(sql(text, type_text, charset), want.map(str::to_owned), "{text} into {type_text}");
        }
    }
}
