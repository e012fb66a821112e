//! Whether a table of the target can take a table of the source column by column, with every value as it is.

use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::ids::{TableName, quote_ident};
use dmnode_mysql::{ColumnInfo, ColumnType, TableInfo, TextRow};

use crate::progress::text_literal;

/// Why a target table does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// The source's column.
    pub column: String,
    /// What is wrong with it, as the rest of a sentence that begins with the column.
    pub why: String,
}

/// The first thing that keeps the rows of `source` from going into `target`, column by column by their names. The
/// target's columns may be wider where that changes no value; those it computes by itself take none.
pub(crate) fn misfit(source: &TableInfo, target: &TableInfo) -> Option<Misfit> {
    let misfit = |column: &ColumnInfo, why: String| Some(Misfit { column: column.name.clone(), why });
    for from in &source.columns {
        let Some((_, to)) = target.column(&from.name) else {
            return misfit(from, "does not exist in the target table".to_owned());
        };
        if !to.generated
            && let Some(why) = unfit(from, to)
        {
            return misfit(
                from,
                format!("{why} ({} in the source, {} in the target)", described(from), described(to)),
            );
        }
    }
    None
}

/// Columns that only the target has and that take neither NULL nor a value of their own; they need a default.
pub(crate) fn target_only(source: &TableInfo, target: &TableInfo) -> Vec<String> {
    let further = target.columns.iter().filter(|column| {
        !column.nullable
            && !column.generated
            && !column.auto_increment
            && source.column(&column.name).is_none()
    });
    further.map(|column| column.name.clone()).collect()
}

/// The query for the columns of a table that have no default.
pub(crate) fn undefaulted_sql(table: &TableName) -> String {
    format!(
        "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} \
         AND COLUMN_DEFAULT IS NULL",
        text_literal(&table.schema),
        text_literal(&table.table)
    )
}

/// The first of `columns` that is among the rows of [`undefaulted_sql`].
pub(crate) fn undefaulted(
    columns: &[String],
    rows: &[TextRow],
    source: &TableName,
    target: &TableName,
) -> Option<CodedError> {
    let column = columns
        .iter()
        .find(|column| rows.iter().any(|row| row.str(0).is_some_and(|name| name == **column)))?;
    Some(
        CodedError::new(
            codes::TARGET_COLUMN_WITHOUT_DEFAULT,
            "a column that only the target has cannot stand without a value",
        )
        .object(format!("{}.{} (source {source})", target, quote_ident(column)))
        .remedy("give the column a default or let it be NULL, or drop it; then resume-task"),
    )
}

/// Why the values of a column cannot go into a column of another type by their own conversion. What the target refuses
/// loudly (a number out of range, a character it does not have) is no reason; what it would change silently is.
pub(crate) fn inconvertible(from: &ColumnInfo, to: &ColumnInfo) -> Option<&'static str> {
    if from.data_type.is_integer() && to.data_type.is_integer() {
        return None;
    }
    let texts = from.data_type.is_text() && to.data_type.is_text();
    if texts && !matches!(to.data_type, ColumnType::Char(_)) {
        return None;
    }
    // The binlog's CHAR has no trailing blanks either.
    if matches!((&from.data_type, &to.data_type), (ColumnType::Char(_), ColumnType::Char(_))) {
        return None;
    }
    unfit(from, to)
}

fn described(column: &ColumnInfo) -> String {
    match &column.charset {
        Some(charset) if column.data_type.is_text() => format!("{} {charset}", column.column_type_text),
        _ => column.column_type_text.clone(),
    }
}

fn unfit(from: &ColumnInfo, to: &ColumnInfo) -> Option<&'static str> {
    use ColumnType as T;
    const TYPE: Option<&str> = Some("has a type that cannot take its values unchanged");
    if let (Some(source), Some(target)) = (width(&from.data_type), width(&to.data_type)) {
        if from.unsigned != to.unsigned {
            return Some("is unsigned on one side only");
        }
        return if target < source { TYPE } else { None };
    }
    if let (Some(source), Some(target)) = (text(from), text(to)) {
        return (!same_charset(source, target)).then_some("has another character set");
    }
    let fits = match (&from.data_type, &to.data_type) {
        (T::Decimal { precision, scale }, T::Decimal { precision: to_precision, scale: to_scale }) => {
            if to.unsigned && !from.unsigned {
                return Some("is unsigned in the target only");
            }
            scale == to_scale && precision <= to_precision
        }
        (T::Float | T::Double, T::Double) | (T::Float, T::Float) => {
            if to.unsigned && !from.unsigned {
                return Some("is unsigned in the target only");
            }
            true
        }
        (T::Bit(bits), T::Bit(to_bits)) => bits <= to_bits,
        (T::Time(digits), T::Time(to_digits))
        | (T::DateTime(digits), T::DateTime(to_digits))
        | (T::Timestamp(digits), T::Timestamp(to_digits)) => {
            if to_digits < digits {
                return Some("has fewer fraction digits in the target");
            }
            true
        }
        // Trailing blanks are no part of a CHAR, but of a VARCHAR.
        (T::Char(_), T::Char(_)) => {
            let charsets = (from.charset.as_deref(), to.charset.as_deref());
            if let (Some(source), Some(target)) = charsets
                && !same_charset(source, target)
            {
                return Some("has another character set");
            }
            true
        }
        (
            T::VarBinary(_) | T::TinyBlob | T::Blob | T::MediumBlob | T::LongBlob,
            T::VarBinary(_) | T::TinyBlob | T::Blob | T::MediumBlob | T::LongBlob,
        ) => true,
        // Numbers travel, so new members may only follow.
        (T::Enum(members), T::Enum(to_members)) | (T::Set(members), T::Set(to_members)) => {
            if !to_members.starts_with(members) {
                return Some("has other members");
            }
            true
        }
        // JSON is text in MariaDB.
        (T::Json, T::Json) => true,
        (T::Json, _) => text(to).is_some_and(|charset| charset == "utf8mb4"),
        (_, T::Json) => text(from).is_some_and(|charset| matches!(charset, "utf8mb4" | "utf8mb3" | "utf8")),
        (T::Geometry(_), T::Geometry(_)) => true,
        (a, b) => a == b,
    };
    if fits { None } else { TYPE }
}

/// Bytes of an integer.
fn width(column: &ColumnType) -> Option<u8> {
    Some(match column {
        ColumnType::TinyInt => 1,
        ColumnType::SmallInt => 2,
        ColumnType::MediumInt => 3,
        ColumnType::Int => 4,
        ColumnType::BigInt => 8,
        _ => return None,
    })
}

/// The character set of text of any length.
fn text(column: &ColumnInfo) -> Option<&str> {
    let text = column.data_type.is_text() && !matches!(column.data_type, ColumnType::Char(_));
    text.then(|| column.charset.as_deref().unwrap_or_default())
}

fn same_charset(a: &str, b: &str) -> bool {
    let normal = |name: &str| if name == "utf8" { "utf8mb3".to_owned() } else { name.to_ascii_lowercase() };
    normal(a) == normal(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[&str]) -> TableInfo {
        let columns = columns
            .iter()
            .enumerate()
            .map(|(index, text)| {
                let (name, rest) = text.split_once(' ').unwrap();
                let (type_text, charset) = match rest.split_once(" / ") {
                    Some((type_text, charset)) => (type_text, Some(charset.to_owned())),
                    None => (rest, None),
                };
                ColumnInfo {
                    name: name.to_owned(),
                    ordinal: index + 1,
                    data_type: ColumnType::parse(type_text),
                    unsigned: type_text.contains("unsigned"),
                    nullable: true,
                    charset,
                    collation: None,
                    generated: false,
                    invisible: false,
                    auto_increment: false,
                    compressed: false,
                    column_type_text: type_text.to_owned(),
                }
            })
            .collect();
        TableInfo {
            name: TableName::new("s", "t"),
            columns,
            keys: Vec::new(),
            engine: "InnoDB".to_owned(),
            charset: None,
            collation: None,
            foreign_keys: Vec::new(),
            create_sql: None,
        }
    }

    #[test]
    fn only_what_takes_every_value_unchanged_fits() {
        let same = ["id int unsigned", "a varchar(10) / utf8", "b datetime(3)", "c enum('x','y')"];
        assert_eq!(misfit(&table(&same), &table(&same)), None);
        for (from, to) in [
            ("A int(11)", "a int"),
            ("a int", "a bigint"),
            ("a decimal(10,2)", "a decimal(12,2)"),
            ("a decimal(10,2) unsigned", "a decimal(10,2)"),
            ("a float", "a double"),
            ("a bit(3)", "a bit(8)"),
            ("a time", "a time(6)"),
            ("a varchar(10) / utf8", "a longtext / utf8mb3"),
            ("a varbinary(10)", "a blob"),
            ("a enum('x','y')", "a enum('x','y','z')"),
            ("a longtext / utf8mb4", "a json"),
            ("a json", "a longtext / utf8mb4"),
            ("a point", "a geometry"),
            ("a xmltype", "a xmltype"),
        ] {
            assert_eq!(misfit(&table(&[from]), &table(&[to])), None, "{from} into {to}");
        }
        for (from, to) in [
            ("a int", "a int unsigned"),
            ("a int unsigned", "a bigint"),
            ("a bigint", "a int"),
            ("a int", "a varchar(20) / utf8mb4"),
            ("a decimal(10,2)", "a decimal(10,3)"),
            ("a decimal(10,2)", "a decimal(9,2)"),
            ("a decimal(10,2)", "a decimal(10,2) unsigned"),
            ("a double", "a float"),
            ("a bit(8)", "a bit(3)"),
            ("a time(6)", "a time(3)"),
            ("a datetime(3)", "a datetime"),
            ("a datetime", "a timestamp"),
            ("a timestamp(6)", "a timestamp"),
            ("a varchar(10) / latin1", "a varchar(10) / utf8mb4"),
            ("a varchar(10) / utf8mb4", "a char(10) / utf8mb4"),
            ("a char(10) / latin1", "a char(10) / utf8mb4"),
            ("a text / utf8mb4", "a blob"),
            ("a binary(4)", "a binary(5)"),
            ("a binary(4)", "a varbinary(4)"),
            ("a enum('x','y')", "a enum('y','x')"),
            ("a set('x','y')", "a set('x')"),
            ("a json", "a longtext / latin1"),
            ("a int", "b int"),
        ] {
            assert_eq!(
                misfit(&table(&[from]), &table(&[to])).map(|it| it.column),
                Some("a".into()),
                "{from} into {to}"
            );
        }
        assert_eq!(misfit(&table(&["a int", "b int"]), &table(&["b int", "a int"])), None);
        let mut target = table(&["a int", "w int", "x int"]);
        target.columns[1].nullable = false;
        assert_eq!(misfit(&table(&["a int"]), &target), None);
        assert_eq!(target_only(&table(&["a int"]), &target), ["w"]);
    }
}
