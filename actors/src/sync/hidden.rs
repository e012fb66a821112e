//! Columns that are in the binlog and in no definition.

use std::ops::Range;

use dmnode_mysql::{ColumnInfo, ColumnType, KeyInfo, TableInfo, TableMap};

/// MySQL's generated invisible primary key.
pub(super) const GENERATED_KEY: &str = "my_row_id";
/// Names of columns that no definition has and that cloud vendors add as a key.
const HIDDEN: &str = "(hidden column)";
/// How MariaDB names the columns of hashes.
const HASH: &str = "DB_ROW_HASH_";
/// Bytes of an index entry, in both flavours.
const ENTRY_BYTES: u64 = 3072;

/// Adds the columns that MariaDB keeps for unique keys over long values: it compares hashes of them (`USING HASH`), one
/// for each such key, behind all others. Rows have them in the binlog; what they are follows from the other columns, so
/// they are never written. Answers their places.
pub(super) fn with_hashes(map: &TableMap, mut source: TableInfo) -> (TableInfo, Range<usize>) {
    let own = source.columns.len();
    let keys = source.keys.iter().filter(|key| key.unique && is_long(key, &source)).count();
    let named = |name: &String| name.starts_with(HASH);
    let fits = map.column_count > own
        && map.column_count - own <= keys
        && map.column_names().is_none_or(|names| names.iter().skip(own).all(named));
    if !fits {
        return (source, own..own);
    }
    for place in own..map.column_count {
        let name = map.column_names().and_then(|names| names.get(place)).cloned();
        let name = name.unwrap_or_else(|| format!("{HASH}{}", place - own + 1));
        source.columns.push(added(place, name, true, map.unsigned(place)));
    }
    (source, own..map.column_count)
}

/// The names of a table's columns without those of hashes.
pub(super) fn visible(names: &[String]) -> &[String] {
    let hashes = names.iter().rev().take_while(|name| name.starts_with(HASH)).count();
    names.get(..names.len() - hashes).unwrap_or(names)
}

/// The key is too long for an index, which only MariaDB takes.
fn is_long(key: &KeyInfo, table: &TableInfo) -> bool {
    use ColumnType as T;
    // So the server calls it in information_schema. A definition that was followed does not know.
    if key.index_type == "HASH" {
        return true;
    }
    let bytes = |column: &ColumnInfo| match &column.data_type {
        T::TinyText | T::Text | T::MediumText | T::LongText => u64::MAX,
        T::TinyBlob | T::Blob | T::MediumBlob | T::LongBlob => u64::MAX,
        T::Char(length) | T::VarChar(length) => u64::from(*length) * width(column.charset.as_deref()),
        T::Binary(length) | T::VarBinary(length) => u64::from(*length),
        _ => 0,
    };
    let parts = key.columns.iter().filter(|part| part.prefix_len.is_none());
    let columns = parts.filter_map(|part| table.columns.get(part.column?));
    columns.map(bytes).fold(0, u64::saturating_add) > ENTRY_BYTES
}

/// The most bytes of a character; the least possible where it is not known, so that no key of MySQL seems long.
fn width(charset: Option<&str>) -> u64 {
    match charset {
        Some("utf8mb4" | "utf16" | "utf16le" | "utf32" | "gb18030") => 4,
        Some("utf8mb3" | "utf8" | "ujis" | "eucjpms") => 3,
        Some("ucs2" | "gbk" | "gb2312" | "sjis" | "cp932" | "big5" | "euckr") => 2,
        _ => 1,
    }
}

/// Adds the column that servers add to the binlog of a table without a key: MySQL's generated invisible primary key in
/// front, those of cloud vendors at the end. Answers its place.
pub(super) fn with_hidden(map: &TableMap, mut source: TableInfo) -> (TableInfo, Option<usize>) {
    if map.column_count != source.columns.len() + 1 || source.keys.iter().any(|key| key.primary) {
        return (source, None);
    }
    let names = map.column_names();
    let first = names.and_then(|names| names.first());
    let at_front = match first {
        Some(name) => name.eq_ignore_ascii_case(GENERATED_KEY),
        None => !fits_behind(map, &source),
    };
    let name = match names {
        Some(names) => if at_front { names.first() } else { names.last() }.cloned(),
        None => Some(if at_front { GENERATED_KEY } else { HIDDEN }.to_owned()),
    };
    let place = if at_front { 0 } else { source.columns.len() };
    let unsigned = Some(map.unsigned(place).unwrap_or(at_front));
    let column = added(place, name.unwrap_or_default(), false, unsigned);
    source.columns.insert(place, column);
    if at_front {
        for part in source.keys.iter_mut().flat_map(|key| &mut key.columns) {
            part.column = part.column.map(|index| index + 1);
        }
    }
    (source, Some(place))
}

/// The definition fits the columns in front of the last one of the binlog.
fn fits_behind(map: &TableMap, source: &TableInfo) -> bool {
    let mut behind = source.clone();
    let name = map.column_names().and_then(|names| names.last()).cloned().unwrap_or_default();
    behind.columns.push(added(behind.columns.len(), name, false, map.unsigned(map.column_count - 1)));
    dmnode_mysql::RowDecoder::new(map, &behind).is_ok()
}

/// A column of numbers that is never written.
fn added(place: usize, name: String, nullable: bool, unsigned: Option<bool>) -> ColumnInfo {
    ColumnInfo {
        name,
        ordinal: place + 1,
        data_type: ColumnType::BigInt,
        unsigned: unsigned.unwrap_or(false),
        nullable,
        charset: None,
        collation: None,
        generated: true,
        invisible: true,
        auto_increment: false,
        compressed: false,
        column_type_text: "bigint".to_owned(),
    }
}
