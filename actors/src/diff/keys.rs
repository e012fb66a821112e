//! Keys: which columns identify a row on both sides, their values as text, and ranges of them in SQL.
//!
//! Rows of a range are found by comparing key columns with literals, each server by its own collation. The ranges
//! `…, (h1, h2], …, (hn, ∞)` cover every row of a server whatever its order is, because `<= h` and `> h` exclude each
//! other; two servers that order differently only give false alarms, which end when the rows are read by key.

use dmnode_model::ids::quote_ident;
use dmnode_mysql::{ColumnInfo, ColumnType, TableInfo, unhex};

/// How a key column is read and written back as a literal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Spelling {
    /// Digits, a sign, a point.
    Number,
    /// Text of digits and separators.
    Time,
    /// Hexadecimal of utf8mb4.
    Text,
    /// Hexadecimal.
    Bytes,
}

/// A column of the key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct KeyColumn {
    pub name: String,
    spelling: Spelling,
    integer: bool,
}

/// The key both tables have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Key {
    pub columns: Vec<KeyColumn>,
}

/// A key's values as the servers spell them.
pub(super) type KeyValues = Vec<Vec<u8>>;

impl Key {
    /// The target's row identity, when it identifies rows in every source, too.
    pub fn common(target: &TableInfo, sources: &[TableInfo]) -> Option<Key> {
        let names = |table: &TableInfo| -> Vec<Vec<String>> {
            let usable =
                table.keys.iter().filter(|key| key.unique && !key.nullable && !key.columns.is_empty());
            let columns = |key: &dmnode_mysql::KeyInfo| -> Option<Vec<String>> {
                key.columns
                    .iter()
                    .map(|part| {
                        let whole = part.prefix_len.is_none() && part.expression.is_none();
                        let column =
                            part.column.filter(|_| whole).and_then(|index| table.columns.get(index))?;
                        Some(column.name.to_lowercase())
                    })
                    .collect()
            };
            usable.filter_map(columns).collect()
        };
        let sorted = |mut columns: Vec<String>| {
            columns.sort();
            columns
        };
        let of_sources: Vec<Vec<Vec<String>>> =
            sources.iter().map(|source| names(source).into_iter().map(sorted).collect()).collect();
        names(target).into_iter().find_map(|columns| {
            let wanted = sorted(columns.clone());
            if !of_sources.iter().all(|keys| keys.contains(&wanted)) {
                return None;
            }
            let columns: Option<Vec<KeyColumn>> = columns
                .iter()
                .map(|name| {
                    let (_, column) = target.column(name)?;
                    let spelling = spelling(column)?;
                    let same = sources.iter().all(|source| {
                        source.column(name).is_some_and(|(_, other)| {
                            self::spelling(other) == Some(spelling)
                                && is_spelt_alike(&column.data_type, &other.data_type)
                                && !other.generated
                        })
                    });
                    let integer = column.data_type.is_integer()
                        && sources.iter().all(|source| {
                            source.column(name).is_some_and(|(_, other)| other.data_type.is_integer())
                        });
                    (same && !column.generated).then(|| KeyColumn {
                        name: column.name.clone(),
                        spelling,
                        integer,
                    })
                })
                .collect();
            columns.map(|columns| Key { columns })
        })
    }

    /// Whether keys can be ordered here.
    pub fn is_integer(&self) -> bool {
        self.columns.iter().all(|column| column.integer)
    }

    /// The smaller of two integer keys.
    pub fn smaller(&self, a: KeyValues, b: KeyValues) -> KeyValues {
        let numbers = |key: &KeyValues| -> Vec<i128> {
            key.iter()
                .map(|text| std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0))
                .collect()
        };
        if numbers(&b) < numbers(&a) { b } else { a }
    }

    /// The key's values as a select list.
    pub fn select(&self) -> String {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let name = quote_ident(&column.name);
                match column.spelling {
                    Spelling::Number if column.integer => format!("{name} + 0"),
                    Spelling::Number | Spelling::Time => format!("CAST({name} AS CHAR)"),
                    Spelling::Text => format!("HEX(CONVERT({name} USING utf8mb4))"),
                    Spelling::Bytes => format!("HEX({name})"),
                }
            })
            .collect();
        columns.join(", ")
    }

    pub fn order(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|column| quote_ident(&column.name)).collect();
        names.join(", ")
    }

    /// The values in front of a row made with [`Key::select`].
    pub fn read(&self, row: &dmnode_mysql::TextRow) -> KeyValues {
        (0..self.columns.len()).map(|index| row.bytes(index).unwrap_or_default().to_vec()).collect()
    }

    /// `> low AND <= high`, each optional.
    pub fn range(&self, low: Option<&KeyValues>, high: Option<&KeyValues>) -> String {
        match (low, high) {
            (None, None) => "1 = 1".to_owned(),
            (Some(low), None) => self.beyond(low, ">", ">"),
            (None, Some(high)) => self.beyond(high, "<", "<="),
            (Some(low), Some(high)) => {
                format!("{} AND {}", self.beyond(low, ">", ">"), self.beyond(high, "<", "<="))
            }
        }
    }

    /// `(a, b) > (x, y)` spelt out, since servers do not use an index for row comparisons.
    fn beyond(&self, key: &KeyValues, strict: &str, last: &str) -> String {
        let mut alternatives = Vec::new();
        let mut equal = Vec::new();
        for (index, (column, value)) in self.columns.iter().zip(key).enumerate() {
            let name = quote_ident(&column.name);
            let value = column.literal(value);
            let operator = if index + 1 == self.columns.len() { last } else { strict };
            let mut terms = equal.clone();
            terms.push(format!("{name} {operator} {value}"));
            alternatives.push(terms.join(" AND "));
            equal.push(format!("{name} = {value}"));
        }
        if alternatives.len() == 1 {
            return alternatives.remove(0);
        }
        // The first column alone lets the server use the index as a range.
        let first = self.columns.first().zip(key.first()).map_or_else(String::new, |(column, value)| {
            format!("{} {strict}= {} AND ", quote_ident(&column.name), column.literal(value))
        });
        format!(
            "{first}({})",
            alternatives.iter().map(|one| format!("({one})")).collect::<Vec<_>>().join(" OR ")
        )
    }

    /// Rows with one of these keys.
    pub fn any_of(&self, keys: &[KeyValues]) -> String {
        if let [column] = self.columns.as_slice() {
            let values: Vec<String> =
                keys.iter().filter_map(|key| key.first()).map(|value| column.literal(value)).collect();
            return format!("{} IN ({})", quote_ident(&column.name), values.join(", "));
        }
        let row = |key: &KeyValues| {
            let terms: Vec<String> = self
                .columns
                .iter()
                .zip(key)
                .map(|(column, value)| format!("{} = {}", quote_ident(&column.name), column.literal(value)))
                .collect();
            format!("({})", terms.join(" AND "))
        };
        keys.iter().map(row).collect::<Vec<_>>().join(" OR ")
    }

    /// Column names and values for people.
    pub fn shown(&self, key: &KeyValues) -> Vec<(String, Option<String>)> {
        self.columns
            .iter()
            .zip(key)
            .map(|(column, value)| {
                let text = String::from_utf8_lossy(value).into_owned();
                let shown = match column.spelling {
                    Spelling::Number | Spelling::Time => text,
                    Spelling::Bytes => format!("0x{text}"),
                    Spelling::Text => match unhex(value) {
                        Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                        None => text,
                    },
                };
                (column.name.clone(), Some(shown))
            })
            .collect()
    }
}

impl KeyColumn {
    fn literal(&self, value: &[u8]) -> String {
        // The texts come from a server's number, time or HEX: nothing in them can end a literal. Anything else is not
        // let through.
        let text: String = value
            .iter()
            .map(|byte| char::from(*byte))
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.' | ':' | ' '))
            .collect();
        match self.spelling {
            Spelling::Number if !text.is_empty() => text,
            Spelling::Number | Spelling::Time => format!("'{text}'"),
            Spelling::Text if text.is_empty() => "''".to_owned(),
            Spelling::Text => format!("_utf8mb4 x'{text}'"),
            Spelling::Bytes => format!("x'{text}'"),
        }
    }
}

/// `None` for types that cannot serve as a key here: equality of floating point numbers and documents is not that of
/// their literals.
fn spelling(column: &ColumnInfo) -> Option<Spelling> {
    use ColumnType as T;
    match &column.data_type {
        kind if kind.is_integer() => Some(Spelling::Number),
        T::Decimal { .. } | T::Year => Some(Spelling::Number),
        T::Date | T::Time(_) | T::DateTime(_) | T::Timestamp(_) => Some(Spelling::Time),
        T::Char(_) | T::VarChar(_) | T::Enum(_) if column.charset.as_deref() != Some("binary") => {
            Some(Spelling::Text)
        }
        T::Binary(_) | T::VarBinary(_) => Some(Spelling::Bytes),
        _ => None,
    }
}

/// Whether equal values have equal texts: trailing digits and padding count.
fn is_spelt_alike(a: &ColumnType, b: &ColumnType) -> bool {
    use ColumnType as T;
    match (a, b) {
        (T::Decimal { scale: a, .. }, T::Decimal { scale: b, .. }) => a == b,
        (T::Decimal { .. }, _) | (_, T::Decimal { .. }) => false,
        (T::Time(a), T::Time(b)) => a == b,
        (T::DateTime(a) | T::Timestamp(a), T::DateTime(b) | T::Timestamp(b)) => a == b,
        (T::Date, T::Date) => true,
        (T::Date | T::Time(_) | T::DateTime(_) | T::Timestamp(_), _) => false,
        (T::Binary(a), T::Binary(b)) => a == b,
        (T::Binary(_), _) | (_, T::Binary(_)) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(columns: &[(&str, Spelling)]) -> Key {
        let column = |(name, spelling): &(&str, Spelling)| KeyColumn {
            name: (*name).to_owned(),
            spelling: *spelling,
            integer: *spelling == Spelling::Number,
        };
        Key { columns: columns.iter().map(column).collect() }
    }

    fn values(texts: &[&str]) -> KeyValues {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn ranges_of_one_column() {
        let key = key(&[("id", Spelling::Number)]);
        assert_eq!(key.range(None, None), "1 = 1");
        assert_eq!(key.range(Some(&values(&["-5"])), Some(&values(&["9"]))), "`id` > -5 AND `id` <= 9");
        assert_eq!(key.any_of(&[values(&["1"]), values(&["2"])]), "`id` IN (1, 2)");
    }

    #[test]
    fn ranges_of_several_columns_are_spelt_out() {
        let key = key(&[("a", Spelling::Text), ("b", Spelling::Bytes)]);
        let (low, high) = (values(&["C3A9", "00FF"]), values(&["", ""]));
        assert_eq!(
            key.range(Some(&low), None),
            "`a` >= _utf8mb4 x'C3A9' AND ((`a` > _utf8mb4 x'C3A9') OR (`a` = _utf8mb4 x'C3A9' AND `b` > x'00FF'))"
        );
        assert_eq!(key.range(None, Some(&high)), "`a` <= '' AND ((`a` < '') OR (`a` = '' AND `b` <= x''))");
        assert_eq!(key.any_of(std::slice::from_ref(&low)), "(`a` = _utf8mb4 x'C3A9' AND `b` = x'00FF')");
        assert_eq!(
            key.shown(&low),
            [("a".to_owned(), Some("é".to_owned())), ("b".to_owned(), Some("0x00FF".to_owned()))]
        );
    }

    #[test]
    fn integer_keys_are_ordered_as_numbers() {
        let key = key(&[("a", Spelling::Number), ("b", Spelling::Number)]);
        let (a, b) = (values(&["9", "100"]), values(&["10", "1"]));
        assert_eq!(key.smaller(b.clone(), a.clone()), a);
        assert_eq!(key.smaller(values(&["9", "-1"]), a), values(&["9", "-1"]));
    }

    #[test]
    fn nothing_foreign_gets_into_a_literal() {
        let column = &key(&[("a", Spelling::Time)]).columns[0];
        assert_eq!(column.literal(b"2020-01-01 00:00:00'; DROP"), "'2020-01-01 00:00:00 DROP'");
    }
}
