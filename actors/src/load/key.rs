//! Keys that a table is cut by: the leading columns of its row identity whose order is known here as exactly as by the server.
//!
//! The server reads the rows between two boundaries; later the stream has to tell on which side of a boundary a changed
//! row lies. Both must agree to the row. Integers, decimals, dates and times of one form, and binary strings are compared
//! here, where their order is certain; text is compared by the source, in the column's collation ([`Comparison`]).

use std::cmp::Ordering;
use std::collections::HashMap;

use dmnode_model::ids::quote_ident;
use dmnode_mysql::{ColumnInfo, ColumnType, TableInfo, Value, hex, unhex};
use serde::{Deserialize, Serialize};

use super::columns::charset_of;

/// How values of a column are compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// Integers of any width and sign.
    Integer,
    /// DECIMAL.
    Decimal,
    /// DATE, DATETIME and TIMESTAMP, the latter in UTC.
    Temporal,
    /// VARBINARY.
    Binary,
    /// BINARY.
    Padded,
    /// CHAR and VARCHAR.
    Text(TextOrder),
}

/// What a text is compared by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TextOrder {
    /// The character set of its bytes.
    pub charset: String,
    /// The column's collation.
    pub collation: String,
}

/// A column that a table is cut by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPart {
    /// The source column's name.
    pub name: String,
    /// How its values are compared.
    pub kind: KeyKind,
}

/// A value of such a column. Two values of one kind compare as the server compares them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyValue {
    /// [`KeyKind::Integer`]
    Integer(i128),
    /// [`KeyKind::Decimal`]
    Decimal(Decimal),
    /// [`KeyKind::Temporal`], without zeros at the end of the fraction.
    Temporal(String),
    /// [`KeyKind::Binary`] and [`KeyKind::Padded`]; the latter without the zeros at its end, which changes no comparison of
    /// two of them.
    Binary(Vec<u8>),
    /// [`KeyKind::Text`]: its bytes in the column's character set.
    Text(Vec<u8>, TextOrder),
}

/// Two texts whose order only a server knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Comparison {
    key: Vec<u8>,
    bound: Vec<u8>,
    by: TextOrder,
}

/// What a server has said of comparisons.
pub type Compared = HashMap<Comparison, Ordering>;

/// Why it cannot be told on which side of a boundary a key lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// They are of different kinds.
    Unlike,
    /// A server is to be asked.
    Ask(Comparison),
}

impl Comparison {
    /// An expression that is -1, 0 or 1 in every session.
    pub fn sql(&self) -> String {
        let text = |bytes| format!("{} COLLATE {}", text_literal(bytes, &self.by), self.by.collation);
        format!("STRCMP({}, {})", text(&self.key), text(&self.bound))
    }
}

fn text_literal(bytes: &[u8], by: &TextOrder) -> String {
    format!("_{} x'{}'", by.charset, hex(bytes))
}

/// A number of any length: no digits that say nothing, and no negative zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    whole: String,
    fraction: String,
}

/// The smallest key of a range: a value for each of the first columns, perhaps not for all.
pub type Bound = Vec<KeyValue>;

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(fraction) || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        let negative = negative && !(whole.is_empty() && fraction.is_empty());
        Some(Self { negative, whole: whole.to_owned(), fraction: fraction.to_owned() })
    }

    fn order(&self, other: &Self) -> Ordering {
        let size = |a: &Self, b: &Self| {
            let whole = a.whole.len().cmp(&b.whole.len()).then_with(|| a.whole.cmp(&b.whole));
            whole.then_with(|| a.fraction.cmp(&b.fraction))
        };
        match (self.negative, other.negative) {
            (false, false) => size(self, other),
            (true, true) => size(other, self),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }

    fn text(&self) -> String {
        let sign = if self.negative { "-" } else { "" };
        let whole = if self.whole.is_empty() { "0" } else { &self.whole };
        let point = if self.fraction.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{}", self.fraction)
    }
}

impl KeyValue {
    fn order(&self, bound: &Self, compared: &Compared) -> Result<Ordering, Unknown> {
        match (self, bound) {
            (Self::Integer(a), Self::Integer(b)) => Ok(a.cmp(b)),
            (Self::Decimal(a), Self::Decimal(b)) => Ok(a.order(b)),
            // Digits at fixed places; a fraction that ends earlier is the smaller one.
            (Self::Temporal(a), Self::Temporal(b)) => Ok(a.cmp(b)),
            (Self::Binary(a), Self::Binary(b)) => Ok(a.cmp(b)),
            (Self::Text(a, by), Self::Text(b, of_bound)) if by == of_bound => {
                if a == b {
                    return Ok(Ordering::Equal);
                }
                let question = Comparison { key: a.clone(), bound: b.clone(), by: by.clone() };
                compared.get(&question).copied().ok_or(Unknown::Ask(question))
            }
            _ => Err(Unknown::Unlike),
        }
    }

    /// As the server reads it.
    fn literal(&self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Decimal(number) => number.text(),
            Self::Temporal(text) => format!("'{text}'"),
            Self::Binary(bytes) => format!("x'{}'", hex(bytes)),
            // As the weaker side of a comparison it takes the column's collation.
            Self::Text(bytes, by) => text_literal(bytes, by),
        }
    }

    /// Whether every server takes it for what it is when it is compared with: no date that does not exist.
    fn is_plain(&self) -> bool {
        let Self::Temporal(text) = self else { return true };
        let number = |range| text.get(range).and_then(|digits: &str| digits.parse::<u16>().ok());
        let day = number(8..10).is_some_and(|day| (1..=28).contains(&day));
        number(0..4).is_some_and(|year| year > 0)
            && number(5..7).is_some_and(|month| (1..=12).contains(&month))
            && day
    }

    /// As it is stored in the plan.
    fn stored(&self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Decimal(number) => number.text(),
            Self::Temporal(text) => text.clone(),
            Self::Binary(bytes) | Self::Text(bytes, _) => hex(bytes),
        }
    }
}

impl KeyPart {
    fn of_column(column: &ColumnInfo) -> Option<Self> {
        if column.nullable || column.generated {
            return None;
        }
        let kind = match column.data_type {
            ref integer if integer.is_integer() => KeyKind::Integer,
            ColumnType::Decimal { .. } => KeyKind::Decimal,
            ColumnType::Date | ColumnType::DateTime(_) | ColumnType::Timestamp(_) => KeyKind::Temporal,
            ColumnType::VarBinary(_) => KeyKind::Binary,
            ColumnType::Binary(_) => KeyKind::Padded,
            ColumnType::Char(_) | ColumnType::VarChar(_) => KeyKind::Text(TextOrder::of(column)?),
            _ => return None,
        };
        // Stored compressed, a value is not what it compares as.
        (!column.compressed).then(|| Self { name: column.name.clone(), kind })
    }

    fn text(&self, text: &str) -> Option<KeyValue> {
        match &self.kind {
            KeyKind::Integer => text.parse().ok().map(KeyValue::Integer),
            KeyKind::Decimal => Decimal::parse(text).map(KeyValue::Decimal),
            KeyKind::Temporal => {
                let is_time = text.bytes().all(|byte| byte.is_ascii_digit() || b"-: .".contains(&byte));
                let text = match text.split_once('.') {
                    Some(_) => text.trim_end_matches('0').trim_end_matches('.'),
                    None => text,
                };
                (is_time && text.len() >= 10).then(|| KeyValue::Temporal(text.to_owned()))
            }
            KeyKind::Binary | KeyKind::Padded | KeyKind::Text(_) => None,
        }
    }

    fn bytes(&self, bytes: &[u8]) -> KeyValue {
        if let KeyKind::Text(by) = &self.kind {
            return KeyValue::Text(bytes.to_vec(), by.clone());
        }
        let padded = self.kind == KeyKind::Padded;
        let zeros = bytes.iter().rev().take_while(|byte| padded && **byte == 0).count();
        KeyValue::Binary(bytes[..bytes.len() - zeros].to_vec())
    }

    /// A value as the source sends it to a session in UTC that takes raw bytes.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<KeyValue> {
        match self.kind {
            KeyKind::Binary | KeyKind::Padded | KeyKind::Text(_) => Some(self.bytes(bytes)),
            _ => self.text(std::str::from_utf8(bytes).ok()?),
        }
    }

    /// A value of a row in the binlog.
    pub(crate) fn of(&self, value: &Value) -> Option<KeyValue> {
        match (&self.kind, value) {
            (KeyKind::Integer, Value::Int(number)) => Some(KeyValue::Integer((*number).into())),
            (KeyKind::Integer, Value::UInt(number)) => Some(KeyValue::Integer((*number).into())),
            (KeyKind::Decimal, Value::Decimal(text))
            | (KeyKind::Temporal, Value::Date(text) | Value::DateTime(text) | Value::Timestamp(text)) => {
                self.text(text.as_str())
            }
            (KeyKind::Binary | KeyKind::Padded | KeyKind::Text(_), Value::Bytes(bytes)) => {
                Some(self.bytes(bytes))
            }
            _ => None,
        }
    }

    fn parse_stored(&self, stored: &str) -> Option<KeyValue> {
        match self.kind {
            KeyKind::Binary | KeyKind::Padded | KeyKind::Text(_) => {
                unhex(stored.as_bytes()).map(|bytes| self.bytes(&bytes))
            }
            _ => self.text(stored),
        }
    }
}

impl TextOrder {
    /// Character sets whose names are the same words at every server, and their texts the same bytes in a row and in a literal.
    const CHARSETS: [&str; 4] = ["utf8mb4", "utf8mb3", "latin1", "ascii"];

    fn of(column: &ColumnInfo) -> Option<Self> {
        let (charset, collation) = (charset_of(column)?, column.collation.clone()?);
        let is_word = collation.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (Self::CHARSETS.contains(&charset.as_str()) && is_word).then_some(Self { charset, collation })
    }
}

/// The columns a table can be cut by, in the order of its row identity's key; none for a table that stays whole.
pub(super) fn key_parts(table: &TableInfo) -> Vec<KeyPart> {
    let Some(key) = table.row_identity() else { return Vec::new() };
    let parts = key.columns.iter().map_while(|part| KeyPart::of_column(table.columns.get(part.column?)?));
    parts.collect()
}

/// The columns as one value in the plan: the name of a single integer column, else JSON.
pub(super) fn store_parts(parts: &[KeyPart]) -> Option<String> {
    match parts {
        [] => None,
        [only] if is_bare(only) => Some(only.name.clone()),
        several => serde_json::to_string(several).ok(),
    }
}

/// See [`store_parts`].
pub(super) fn parse_parts(stored: &str) -> Result<Vec<KeyPart>, String> {
    if stored.starts_with('[') {
        return serde_json::from_str(stored).map_err(|err| format!("`key_column`: {err}"));
    }
    Ok(vec![KeyPart { name: stored.to_owned(), kind: KeyKind::Integer }])
}

fn is_bare(part: &KeyPart) -> bool {
    part.kind == KeyKind::Integer && !part.name.starts_with('[')
}

/// A boundary as one value in the plan: the number of a single integer column, else JSON.
pub(super) fn store_bound(parts: &[KeyPart], bound: &Bound) -> Option<String> {
    match (parts, bound.as_slice()) {
        ([only], [value]) if is_bare(only) => Some(value.stored()),
        _ => serde_json::to_string(&bound.iter().map(KeyValue::stored).collect::<Vec<_>>()).ok(),
    }
}

/// See [`store_bound`].
pub(super) fn parse_bound(parts: &[KeyPart], stored: &str) -> Option<Bound> {
    let values: Vec<String> = match parts {
        [only] if is_bare(only) => vec![stored.to_owned()],
        _ => serde_json::from_str(stored).ok()?,
    };
    if values.is_empty() || values.len() > parts.len() {
        return None;
    }
    parts.iter().zip(&values).map(|(part, value)| part.parse_stored(value)).collect()
}

/// Is a row with this key not below the boundary?
pub(super) fn is_at_least(key: &[KeyValue], bound: &Bound, compared: &Compared) -> Result<bool, Unknown> {
    for (at, bound) in bound.iter().enumerate() {
        match key.get(at).ok_or(Unknown::Unlike)?.order(bound, compared)? {
            Ordering::Less => return Ok(false),
            Ordering::Greater => return Ok(true),
            Ordering::Equal => {}
        }
    }
    Ok(true)
}

/// Whether a boundary may be used: every server takes its literals for what they are.
pub(super) fn is_plain(bound: &Bound) -> bool {
    bound.iter().all(KeyValue::is_plain)
}

/// The condition for keys from `lower` on and below `upper`, written so that the servers read ranges of the key's index
/// (a comparison of rows in parentheses is no range to them); empty for the whole table.
pub(super) fn condition(parts: &[KeyPart], lower: Option<&Bound>, upper: Option<&Bound>) -> String {
    let mut conditions = Vec::new();
    let (mut from, mut to) = (lower.map_or(&[][..], Vec::as_slice), upper.map_or(&[][..], Vec::as_slice));
    let mut parts = parts;
    // What both have in common stands in front.
    while let ([part, rest @ ..], [a, from_rest @ ..], [b, to_rest @ ..]) = (parts, from, to) {
        if a != b || to_rest.is_empty() {
            break;
        }
        conditions.push(format!("{} = {}", quote_ident(&part.name), a.literal()));
        (parts, from, to) = (rest, from_rest, to_rest);
    }
    conditions.extend(side(parts, from, (">", ">=")));
    conditions.extend(side(parts, to, ("<", "<")));
    conditions.join(" AND ")
}

/// One side of a range: `ends` compare the columns before the last one and the last one.
fn side(parts: &[KeyPart], bound: &[KeyValue], ends: (&str, &str)) -> Option<String> {
    let ([part, rest @ ..], [value, further @ ..]) = (parts, bound) else { return None };
    let (column, value) = (quote_ident(&part.name), value.literal());
    Some(match side(rest, further, ends) {
        None => format!("{column} {} {value}", ends.1),
        Some(inner) => format!("({column} {} {value} OR ({column} = {value} AND {inner}))", ends.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: KeyKind) -> KeyPart {
        KeyPart { name: "a".into(), kind }
    }

    fn bound(parts: &[KeyPart], values: &[&str]) -> Bound {
        parts.iter().zip(values).map(|(part, text)| part.parse_stored(text).unwrap()).collect()
    }

    #[test]
    fn values_are_ordered_as_the_servers_do() {
        for (kind, ascending) in [
            (KeyKind::Integer, &["-9223372036854775808", "-1", "0", "7", "18446744073709551615"][..]),
            (
                KeyKind::Decimal,
                &["-100.5", "-100.49", "-0.01", "0.00", "0.001", "0.01", "9.9", "10", "10.01"],
            ),
            (
                KeyKind::Temporal,
                &[
                    "0000-00-00",
                    "2025-12-31",
                    "2026-01-01 00:00:00",
                    "2026-01-01 00:00:00.000001",
                    "2026-01-01 00:00:00.1",
                ],
            ),
            (KeyKind::Binary, &["", "00", "0001", "01", "61", "6100", "6161", "ff"]),
        ] {
            let values: Vec<KeyValue> =
                ascending.iter().map(|text| part(kind.clone()).parse_stored(text).unwrap()).collect();
            for (i, a) in values.iter().enumerate() {
                for (j, b) in values.iter().enumerate() {
                    assert_eq!(a.order(b, &Compared::new()), Ok(i.cmp(&j)), "{kind:?} {a:?} {b:?}");
                }
            }
        }
        let decimal = |text| part(KeyKind::Decimal).text(text).unwrap();
        assert_eq!(decimal("-0.00"), decimal("0"));
        assert_eq!(decimal("007.50"), decimal("7.5"));
        assert_eq!(decimal("-.5").literal(), "-0.5");
        let temporal = |text| part(KeyKind::Temporal).text(text);
        assert_eq!(temporal("2026-01-01 00:00:00.100"), temporal("2026-01-01 00:00:00.1"));
        assert_eq!(temporal("2026-01-01 00:00:10"), Some(KeyValue::Temporal("2026-01-01 00:00:10".into())));
        assert_eq!(temporal("x' OR 1=1 -- "), None);
        let (padded, binary) = (part(KeyKind::Padded), part(KeyKind::Binary));
        assert_eq!(padded.bytes(b"a\0\0"), padded.bytes(b"a\0"));
        assert_ne!(binary.bytes(b"a\0\0"), binary.bytes(b"a\0"));
        assert_eq!(KeyValue::Integer(1).order(&decimal("1"), &Compared::new()), Err(Unknown::Unlike));
    }

    #[test]
    fn rows_lie_on_one_side_of_a_boundary() {
        let key = |a, b| [KeyValue::Integer(a), KeyValue::Integer(b)];
        let compared = Compared::new();
        let whole = vec![KeyValue::Integer(5), KeyValue::Integer(7)];
        let first = vec![KeyValue::Integer(5)];
        for (a, b, wanted, wanted_of_first) in [
            (4, 9, false, false),
            (5, 6, false, true),
            (5, 7, true, true),
            (5, 8, true, true),
            (6, 0, true, true),
        ] {
            assert_eq!(is_at_least(&key(a, b), &whole, &compared), Ok(wanted), "{a} {b}");
            assert_eq!(is_at_least(&key(a, b), &first, &compared), Ok(wanted_of_first), "{a} {b}");
        }
        assert_eq!(is_at_least(&[KeyValue::Integer(5)], &whole, &compared), Err(Unknown::Unlike));
        assert_eq!(is_at_least(&[KeyValue::Integer(4)], &whole, &compared), Ok(false));
        assert_eq!(is_at_least(&[], &first, &compared), Err(Unknown::Unlike));
    }

    #[test]
    fn text_is_compared_by_a_server_alone() {
        let by = TextOrder { charset: "utf8mb4".into(), collation: "utf8mb4_bin".into() };
        let text = |text: &str| KeyValue::Text(text.into(), by.clone());
        let (key, bound) = ([KeyValue::Integer(5), text("a")], vec![KeyValue::Integer(5), text("B")]);
        let mut compared = Compared::new();
        assert_eq!(is_at_least(&[KeyValue::Integer(6), text("a")], &bound, &compared), Ok(true));
        assert_eq!(is_at_least(&bound, &bound, &compared), Ok(true));
        let Err(Unknown::Ask(question)) = is_at_least(&key, &bound, &compared) else { panic!("known") };
        let sql = "STRCMP(_utf8mb4 x'61' COLLATE utf8mb4_bin, _utf8mb4 x'42' COLLATE utf8mb4_bin)";
        assert_eq!(question.sql(), sql);
        for (order, wanted) in [(Ordering::Less, false), (Ordering::Equal, true), (Ordering::Greater, true)] {
            compared.insert(question.clone(), order);
            assert_eq!(is_at_least(&key, &bound, &compared), Ok(wanted));
        }
    }

    #[test]
    fn what_is_stored_is_read_again() {
        let bare = vec![part(KeyKind::Integer)];
        assert_eq!(store_parts(&bare).as_deref(), Some("a"));
        assert_eq!(store_bound(&bare, &vec![KeyValue::Integer(-5)]).as_deref(), Some("-5"));
        let odd = vec![KeyPart { name: "[1]".into(), kind: KeyKind::Integer }];
        let by = TextOrder { charset: "latin1".into(), collation: "latin1_swedish_ci".into() };
        let text = vec![part(KeyKind::Text(by))];
        let all = [KeyKind::Integer, KeyKind::Decimal, KeyKind::Temporal, KeyKind::Binary].map(part).to_vec();
        for (parts, values) in [
            (&bare, &["7"][..]),
            (&odd, &["7"]),
            (&all, &["7", "-1.5", "2026-01-01 10:00:00.5", "00ff"]),
            (&all, &["7"]),
            (&text, &["e46b"]),
        ] {
            let bound = bound(parts, values);
            let stored = (store_parts(parts).unwrap(), store_bound(parts, &bound).unwrap());
            assert_eq!(parse_parts(&stored.0).as_ref(), Ok(parts));
            assert_eq!(parse_bound(parts, &stored.1), Some(bound));
        }
        for damaged in ["", "x", "[]", "[1]", r#"["1","2","3","4","5"]"#, r#"["1","x"]"#] {
            assert_eq!(parse_bound(&all, damaged), None, "{damaged}");
        }
        assert_eq!(parse_bound(&bare, "[1]"), None);
        assert!(parse_parts("[{").is_err());
    }

    #[test]
    fn conditions_are_half_open_ranges_of_the_index() {
        let parts: Vec<KeyPart> =
            ["a", "b"].map(|name| KeyPart { name: name.into(), kind: KeyKind::Integer }).to_vec();
        let bound = |values: &[i128]| Some(values.iter().copied().map(KeyValue::Integer).collect::<Bound>());
        for (lower, upper, wanted) in [
            (None, None, ""),
            (None, bound(&[-5]), "`a` < -5"),
            (bound(&[1]), bound(&[9]), "`a` >= 1 AND `a` < 9"),
            (bound(&[1, 2]), bound(&[1, 9]), "`a` = 1 AND `b` >= 2 AND `b` < 9"),
            (bound(&[1]), bound(&[1, 9]), "`a` = 1 AND `b` < 9"),
            (bound(&[1, 2]), bound(&[2]), "(`a` > 1 OR (`a` = 1 AND `b` >= 2)) AND `a` < 2"),
            (None, bound(&[1, 2]), "(`a` < 1 OR (`a` = 1 AND `b` < 2))"),
        ] {
            assert_eq!(condition(&parts, lower.as_ref(), upper.as_ref()), wanted);
        }
    }

    #[test]
    fn dates_that_do_not_exist_are_no_boundaries() {
        let temporal = |text: &str| part(KeyKind::Temporal).text(text).unwrap();
        for (text, plain) in [
            ("2026-02-28 10:00:00", true),
            ("2026-02-30", false),
            ("0000-00-00", false),
            ("2026-00-10", false),
            ("0000-00-00 00:00:00", false),
        ] {
            assert_eq!(is_plain(&vec![temporal(text)]), plain, "{text}");
        }
    }
}
