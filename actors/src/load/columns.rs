//! How each column is read and written so that its value arrives unchanged.
//!
//! The source sends raw bytes (`character_set_results = binary`): numbers and times as ASCII, text in the column's own
//! character set. `LOAD DATA … CHARACTER SET binary` stores bytes as they come, which is right when both columns have
//! the same character set; else the bytes go through a user variable and `CONVERT(… USING <source charset>)`.

use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::ids::quote_ident;
use dmnode_mysql::{ColumnInfo, ColumnType, TableInfo};
use dmnode_schema::ExtendedColumn;

use crate::extended::{constants, without};
use crate::fit::misfit;

/// How the bytes of a value become an SQL literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Literal {
    /// Digits, signs, dates: quoted as they are.
    Ascii,
    /// `x'…'`.
    Binary,
    /// BIT: `b'…'` semantics of a hexadecimal number.
    Bits,
    /// `_charset x'…'`, or quoted where the bytes allow it.
    Text(String),
    /// Digits that must stay a number.
    Number,
}

/// One column of the copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CopyColumn {
    /// What is selected in the source.
    pub select: String,
    /// The target column's name.
    pub name: String,
    /// The quoted target column.
    pub target: String,
    /// The value in `LOAD DATA … SET`, with `@v` for the raw bytes; `None` when they can be stored directly.
    pub set: Option<String>,
    /// For multi-row INSERT.
    pub literal: Literal,
    /// The bytes never hold tab, newline or backslash.
    pub plain: bool,
    /// An ENUM, which travels by number; 0 is the error value.
    pub member: bool,
    /// A VECTOR, whose empty value (an ALTER leaves it in a NOT NULL column) no expression has.
    pub vector: bool,
    /// JSON in binary form on both sides, with types that its text does not tell.
    pub json: bool,
}

impl CopyColumn {
    /// Whether a value of it can be written by a lenient statement only.
    pub fn is_error(&self, value: &[u8]) -> bool {
        (self.member && value == b"0") || (self.vector && value.is_empty())
    }
}

/// Character sets whose bytes can be trusted as they are only with a conversion: their characters have several bytes
/// of fixed size, and storing from binary may pad.
const WIDE: [&str; 4] = ["ucs2", "utf16", "utf16le", "utf32"];

/// The columns to copy, in the source's order; they go to the target's columns of the same names, wherever those are.
/// What the target computes by itself is left to it. Behind them stand those that the table's route adds.
pub(super) fn map_columns(
    source: &TableInfo,
    target: &TableInfo,
    route: &[ExtendedColumn],
) -> Result<Vec<CopyColumn>, CodedError> {
    let mismatch = |column: &str, why: &str| {
        CodedError::new(codes::COPY_TARGET_MISMATCH, format!("column {} {why}", quote_ident(column)))
            .object(format!("{} into {}", source.name, target.name))
    };
    let added = constants(route, source, target).map_err(|misfit| mismatch(&misfit.column, &misfit.why))?;
    let (whole, target) = (target, &without(target, route));
    if let Some(misfit) = misfit(source, target) {
        return Err(mismatch(&misfit.column, &misfit.why));
    }
    let mut columns = Vec::new();
    for column in &source.columns {
        if let Some((_, to)) = target.column(&column.name)
            && !to.generated
        {
            columns.push(map_column(column, to).map_err(|why| mismatch(&column.name, &why))?);
        }
    }
    if columns.is_empty() {
        return Err(mismatch("", "of any kind to copy is missing"));
    }
    for constant in &added {
        // Read as if the source had it.
        let Some((_, to)) = whole.column(&constant.column.name) else { continue };
        let mut column = map_column(&constant.at_source(), to).map_err(|why| mismatch(&to.name, &why))?;
        column.select = constant.sql(column.member);
        columns.push(column);
    }
    if columns.iter().any(|column| column.set.is_some()) {
        // Where LOAD DATA has a SET, the servers forget that an AUTO_INCREMENT column outside of it was given a value: 0 would
        // become the next number in spite of NO_AUTO_VALUE_ON_ZERO (seen on MariaDB 10.11).
        for column in &mut columns {
            let counts = whole.column(&column.name).is_some_and(|(_, to)| to.auto_increment);
            if counts && column.set.is_none() {
                column.set = Some("@v".to_owned());
            }
        }
    }
    Ok(columns)
}

fn map_column(from: &ColumnInfo, to: &ColumnInfo) -> Result<CopyColumn, String> {
    let name = quote_ident(&from.name);
    let charset = charset_of(from);
    let bits = matches!(from.data_type, ColumnType::Bit(_));
    if bits != matches!(to.data_type, ColumnType::Bit(_)) {
        return Err("is BIT on one side only".to_owned());
    }
    // By number: the error value '' is not told from a member '' otherwise.
    let member = matches!((&from.data_type, &to.data_type), (ColumnType::Enum(_), ColumnType::Enum(_)));
    if member {
        return Ok(CopyColumn {
            select: format!("{name} + 0"),
            name: to.name.clone(),
            target: quote_ident(&to.name),
            set: Some("CAST(@v AS UNSIGNED)".to_owned()),
            literal: Literal::Number,
            plain: true,
            member,
            vector: false,
            json: false,
        });
    }
    let vector = matches!(from.data_type, ColumnType::Vector(_));
    let json = from.data_type == ColumnType::Json && to.data_type == ColumnType::Json;
    let select = match from.data_type {
        // The text of a FLOAT has six digits only. A product with a DOUBLE has them all, and keeps the sign of zero.
        ColumnType::Float => format!("{name} * 1e0"),
        _ => name,
    };
    let literal = match (&charset, bits) {
        (_, true) => Literal::Bits,
        (Some(charset), _) => Literal::Text(charset.clone()),
        (None, _) if is_ascii(&from.data_type) => Literal::Ascii,
        (None, _) => Literal::Binary,
    };
    let set = match &charset {
        Some(charset) => (!stores_raw(charset, from, to)).then(|| format!("CONVERT(@v USING {charset})")),
        None if is_ascii(&from.data_type) => {
            let wide = charset_of(to).is_some_and(|charset| WIDE.contains(&charset.as_str()));
            let own_reader = matches!(
                to.data_type,
                ColumnType::Json | ColumnType::Inet4 | ColumnType::Inet6 | ColumnType::Uuid
            );
            (wide || own_reader).then(|| "CONVERT(@v USING ascii)".to_owned())
        }
        None => None,
    };
    let plain = literal == Literal::Ascii;
    let target = quote_ident(&to.name);
    Ok(CopyColumn { select, name: to.name.clone(), target, set, plain, literal, member, vector, json })
}

/// The character set of the bytes the source sends, for columns that hold text.
pub(super) fn charset_of(column: &ColumnInfo) -> Option<String> {
    let text = column.data_type.is_text()
        || matches!(column.data_type, ColumnType::Enum(_) | ColumnType::Set(_) | ColumnType::Json);
    if !text {
        return match &column.data_type {
            ColumnType::Inet4 | ColumnType::Inet6 | ColumnType::Uuid => Some("ascii".to_owned()),
            ColumnType::Other(_) => {
                column.charset.as_deref().filter(|charset| *charset != "binary").map(normal)
            }
            _ => None,
        };
    }
    match column.charset.as_deref() {
        Some("binary") => None,
        Some(charset) => Some(normal(charset)),
        None => Some("utf8mb4".to_owned()),
    }
}

/// `utf8` and `utf8mb3` are the same.
fn normal(charset: &str) -> String {
    match charset {
        "utf8" => "utf8mb3".to_owned(),
        other => other.to_ascii_lowercase(),
    }
}

fn stores_raw(charset: &str, from: &ColumnInfo, to: &ColumnInfo) -> bool {
    if WIDE.contains(&charset) || matches!(from.data_type, ColumnType::Enum(_) | ColumnType::Set(_)) {
        return false;
    }
    match &to.data_type {
        ColumnType::Json | ColumnType::Enum(_) | ColumnType::Set(_) => false,
        ColumnType::Inet4 | ColumnType::Inet6 | ColumnType::Uuid | ColumnType::Other(_) => false,
        _ => match charset_of(to) {
            Some(other) => {
                other == charset || (charset == "ascii" || charset == "utf8mb3") && other == "utf8mb4"
            }
            // Text into a binary column: its bytes. Into a number or a time: ASCII, or refused by the target.
            None => true,
        },
    }
}

/// Sent as ASCII digits, signs and letters.
fn is_ascii(column_type: &ColumnType) -> bool {
    matches!(
        column_type,
        ColumnType::TinyInt
            | ColumnType::SmallInt
            | ColumnType::MediumInt
            | ColumnType::Int
            | ColumnType::BigInt
            | ColumnType::Decimal { .. }
            | ColumnType::Float
            | ColumnType::Double
            | ColumnType::Year
            | ColumnType::Date
            | ColumnType::Time(_)
            | ColumnType::DateTime(_)
            | ColumnType::Timestamp(_)
    )
}
