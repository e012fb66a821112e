//! An SQL expression per column whose text is the same for the same value, whatever the server's flavour, the
//! column's character set and the session.
//!
//! Both sides of a column are looked at together: equal character sets are compared by bytes, different ones as
//! utf8mb4; numbers and times with different scales by the larger one. Types that have nothing in common are compared
//! as text. Where the servers' own words cannot be trusted to agree (JSON, doubles), the final word is [`is_equal`]'s.

use dmnode_model::ids::quote_ident;
use dmnode_mysql::{ColumnInfo, ColumnType, TableInfo};

use super::json;

/// Values of columns that can be longer are compared by their digest: a concatenation beyond `max_allowed_packet`
/// would become NULL.
const INLINE_BYTES_MAX: u64 = 1024;
/// Most digits behind the point both servers have.
const SCALE_MAX: u8 = 30;

/// How two texts of a column are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Meaning {
    /// Byte by byte.
    Text,
    /// As floating point numbers.
    Number,
    /// As JSON values; the servers write them differently, so no checksum of theirs can be used.
    Json,
}

/// A column that all tables have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ComparedColumn {
    pub name: String,
    pub meaning: Meaning,
    form: Form,
    long: bool,
}

impl ComparedColumn {
    /// The canonical text.
    pub fn text(&self) -> String {
        self.form.sql(&quote_ident(&self.name), self.long)
    }

    /// The canonical text with a mark for NULL; NULL itself only when the server gave up.
    pub fn marked(&self) -> String {
        format!("IF({} IS NULL, 'n', CONCAT('v', {}))", quote_ident(&self.name), self.text())
    }
}

/// Whether two canonical texts mean the same value.
pub(super) fn is_equal(meaning: Meaning, a: Option<&[u8]>, b: Option<&[u8]>) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return a == b };
    if a == b {
        return true;
    }
    match meaning {
        Meaning::Text => false,
        Meaning::Number => match (number(a), number(b)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        },
        Meaning::Json => json::is_equal(a, b),
    }
}

/// The number, and whether it is shown multiplied.
fn number(text: &[u8]) -> Option<(bool, f64)> {
    let text = std::str::from_utf8(text).ok()?;
    let (multiplied, digits) = match text.strip_prefix('t') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    Some((multiplied, digits.parse().ok()?))
}

/// The columns to compare.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Columns {
    pub common: Vec<ComparedColumn>,
    /// Names of columns with data that the target lacks.
    pub missing: Vec<String>,
    /// Names of columns with data that only the target has.
    pub extra: Vec<String>,
}

impl Columns {
    /// Pairs the columns by name. Generated columns follow from others and are left out.
    pub fn pair(target: &TableInfo, sources: &[TableInfo]) -> Columns {
        let mut columns = Columns::default();
        for source in sources {
            for column in source.columns.iter().filter(|column| !column.generated) {
                if target.column(&column.name).is_none() && !columns.missing.contains(&column.name) {
                    columns.missing.push(column.name.clone());
                }
            }
        }
        for column in target.columns.iter().filter(|column| !column.generated) {
            let of_sources: Option<Vec<&ColumnInfo>> =
                sources.iter().map(|source| source.column(&column.name).map(|(_, other)| other)).collect();
            match of_sources {
                None => columns.extra.push(column.name.clone()),
                Some(others) if others.iter().any(|other| other.generated) => {}
                Some(mut all) => {
                    all.push(column);
                    columns.common.push(compare(&all));
                }
            }
        }
        columns
    }
}

fn compare(columns: &[&ColumnInfo]) -> ComparedColumn {
    let (form, meaning) = form(columns);
    ComparedColumn {
        // Column names do not distinguish case, so one spelling serves all tables.
        name: columns.last().map(|column| column.name.clone()).unwrap_or_default(),
        long: columns.iter().any(|column| is_long(column)),
        form,
        meaning,
    }
}

/// How a column becomes canonical text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// An integer, YEAR or BIT: `+ 0` takes ZEROFILL and the bits' bytes away.
    Integer,
    /// A number with so many digits behind the point.
    Decimal(u8),
    /// DOUBLE.
    Double,
    /// FLOAT, also where another table has DOUBLE.
    Float,
    /// A date or time as the server writes it.
    Plain,
    /// With so many digits of the second's fraction.
    Time(u8),
    /// With so many digits of the second's fraction.
    DateTime(u8),
    /// The stored bytes.
    Bytes,
    /// As utf8mb4.
    Utf8,
    /// The server's text, as utf8mb4.
    AsText,
    /// The JSON text itself.
    Json,
}

impl Form {
    /// The expression. Long values give their digest.
    fn sql(&self, name: &str, long: bool) -> String {
        let of_bytes = |bytes: String| {
            if long { format!("SHA2({bytes}, 256)") } else { format!("HEX({bytes})") }
        };
        match self {
            Form::Integer => format!("CAST({name} + 0 AS CHAR)"),
            Form::Decimal(scale) => format!("CAST(CAST({name} AS DECIMAL(65, {scale})) AS CHAR)"),
            // The servers write the same digits but differ in where they change to the form with an exponent, and
            // MySQL cuts digits from an expression (not from a column) beyond 22 characters. So small values are
            // shown multiplied, by a power of two, which is exact.
            Form::Double => format!(
                "IF(ABS({name}) < 1e-2 AND ABS({name}) >= 1e-16, CONCAT('t', {name} * 1152921504606846976e0), \
                 CONCAT({name}))"
            ),
            // A column by itself gives six digits only; the product with a DOUBLE has them all.
            Form::Float => {
                format!("IF(ABS({name}) < 1e-2, CONCAT('t', {name} * 1e45), CONCAT({name} * 1e0))")
            }
            Form::Plain => format!("CAST({name} AS CHAR)"),
            Form::Time(digits) => format!("CAST(CAST({name} AS TIME({digits})) AS CHAR)"),
            Form::DateTime(digits) => format!("CAST(CAST({name} AS DATETIME({digits})) AS CHAR)"),
            Form::Bytes => of_bytes(name.to_owned()),
            Form::Utf8 => of_bytes(format!("CONVERT({name} USING utf8mb4)")),
            Form::AsText => of_bytes(format!("CONVERT(CAST({name} AS CHAR) USING utf8mb4)")),
            Form::Json => format!("CONVERT({name} USING utf8mb4)"),
        }
    }
}

/// The form that suits every table's column, and how its texts are compared.
fn form(columns: &[&ColumnInfo]) -> (Form, Meaning) {
    use ColumnType as T;
    let all = |test: &dyn Fn(&ColumnInfo) -> bool| columns.iter().all(|column| test(column));
    let is_integer =
        |column: &ColumnInfo| column.data_type.is_integer() || matches!(column.data_type, T::Year);
    let text = |form: Form| (form, Meaning::Text);
    // The largest of a parameter, and whether all have the same.
    let largest = |parameter: &dyn Fn(&ColumnType) -> u8| {
        let values = || columns.iter().map(|column| parameter(&column.data_type));
        let largest = values().max().unwrap_or(0);
        (largest, values().all(|value| value == largest))
    };
    if all(&is_integer) || all(&|column| matches!(column.data_type, T::Bit(_))) {
        return text(Form::Integer);
    }
    if all(&|column| is_integer(column) || matches!(column.data_type, T::Decimal { .. })) {
        let (scale, _) = largest(&|kind| match kind {
            T::Decimal { scale, .. } => *scale,
            _ => 0,
        });
        return text(Form::Decimal(scale.min(SCALE_MAX)));
    }
    if all(&|column| matches!(column.data_type, T::Double)) {
        return (Form::Double, Meaning::Number);
    }
    if all(&|column| matches!(column.data_type, T::Float | T::Double)) {
        return (Form::Float, Meaning::Number);
    }
    if all(&|column| matches!(column.data_type, T::Date)) {
        return text(Form::Plain);
    }
    let (digits, same) = largest(&|kind| match kind {
        T::Time(digits) | T::DateTime(digits) | T::Timestamp(digits) => *digits,
        _ => 0,
    });
    if all(&|column| matches!(column.data_type, T::Time(_))) {
        return text(if same { Form::Plain } else { Form::Time(digits) });
    }
    if all(&|column| matches!(column.data_type, T::DateTime(_) | T::Timestamp(_))) {
        return text(if same { Form::Plain } else { Form::DateTime(digits) });
    }
    if all(&|column| matches!(column.data_type, T::Json)) {
        return text(Form::Utf8);
    }
    if all(&|column| is_text(column) || matches!(column.data_type, T::Json)) {
        if columns.iter().any(|column| matches!(column.data_type, T::Json)) {
            return (Form::Json, Meaning::Json);
        }
        let members = columns.iter().any(|column| matches!(column.data_type, T::Enum(_) | T::Set(_)));
        let first = columns.first().and_then(|column| charset(column));
        let same = first.is_some() && all(&|column| charset(column) == first);
        return text(if same && !members { Form::Bytes } else { Form::Utf8 });
    }
    // The stored form of a geometry is the same on both servers: the reference system, then WKB.
    if all(&is_bytes)
        || all(&|column| matches!(column.data_type, T::Geometry(_)))
        || all(&|column| matches!(column.data_type, T::Vector(_)))
    {
        return text(Form::Bytes);
    }
    text(Form::AsText)
}

fn is_text(column: &ColumnInfo) -> bool {
    column.data_type.is_text() && column.charset.as_deref() != Some("binary")
        || matches!(column.data_type, ColumnType::Enum(_) | ColumnType::Set(_))
}

fn is_bytes(column: &ColumnInfo) -> bool {
    use ColumnType as T;
    matches!(
        column.data_type,
        T::Binary(_) | T::VarBinary(_) | T::TinyBlob | T::Blob | T::MediumBlob | T::LongBlob
    ) || column.data_type.is_text() && column.charset.as_deref() == Some("binary")
}

/// `utf8` and `utf8mb3` are the same.
fn charset(column: &ColumnInfo) -> Option<&str> {
    column.charset.as_deref().map(|charset| if charset == "utf8" { "utf8mb3" } else { charset })
}

/// Whether the column's values may be too long to be written out.
fn is_long(column: &ColumnInfo) -> bool {
    use ColumnType as T;
    match &column.data_type {
        T::Char(length) | T::VarChar(length) => u64::from(*length) * 4 > INLINE_BYTES_MAX,
        T::Binary(length) | T::VarBinary(length) => u64::from(*length) > INLINE_BYTES_MAX,
        T::TinyText | T::TinyBlob => false,
        T::Text
        | T::MediumText
        | T::LongText
        | T::Blob
        | T::MediumBlob
        | T::LongBlob
        | T::Json
        | T::Geometry(_)
        | T::Vector(_)
        | T::Set(_)
        | T::Other(_) => true,
        T::TinyInt
        | T::SmallInt
        | T::MediumInt
        | T::Int
        | T::BigInt
        | T::Decimal { .. }
        | T::Float
        | T::Double
        | T::Bit(_)
        | T::Year
        | T::Date
        | T::Time(_)
        | T::DateTime(_)
        | T::Timestamp(_)
        | T::Enum(_)
        | T::Inet4
        | T::Inet6
        | T::Uuid => false,
    }
}
