//! Which rows a transaction touches, as hashes: two transactions that share no hash can be applied in any order.
//!
//! Every unique key of the target table gives one hash per image. Equality is the collation's equality where it can
//! be computed exactly; where it cannot, the change uses the whole table. A hash collision costs parallelism, a
//! missed conflict would cost correctness: every doubt is decided for the conflict.

use std::hash::{DefaultHasher, Hash, Hasher};

use dmnode_mysql::{ColumnInfo, Row, TableInfo, Value};

use super::change::{Change, RowChange};

/// A use of something by a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Use {
    /// What is used.
    pub key: u64,
    /// Alone, or together with other shared uses.
    pub exclusive: bool,
}

/// How values of a column are compared by a unique key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fold {
    /// By their value.
    Exact,
    /// Binary strings: by their bytes, zero bytes at the end do not count (BINARY pads with them).
    Binary,
    /// Text under a binary collation: by its bytes, blanks at the end do not count.
    TextBytes,
    /// Text under a well-known collation: printable ASCII without case, blanks at the end do not count.
    TextAscii,
    /// Not known.
    Unknown,
}

#[derive(Debug, Clone)]
struct Part {
    column: usize,
    fold: Fold,
    prefix: Option<usize>,
}

/// How the changes of one table are turned into uses.
#[derive(Debug, Clone)]
pub struct KeyPlan {
    /// The table as a whole, or the group of tables connected by foreign keys.
    whole: u64,
    /// Everything uses the whole.
    exclusive: bool,
    /// Values may turn out to be incomparable, so every change uses the whole at least in a shared way.
    fragile: bool,
    keys: Vec<(u64, Vec<Part>)>,
}

impl KeyPlan {
    /// Derived from the target's unique keys; `component` is the group of tables connected by foreign keys.
    pub fn new(info: &TableInfo, component: Option<u64>) -> Self {
        let whole = match component {
            Some(component) => hash_of(&("component", component)),
            None => hash_of(&("table", &info.name.schema, &info.name.table)),
        };
        let mut plan = Self { whole, exclusive: component.is_some(), fragile: false, keys: Vec::new() };
        if info.row_identity().is_none() {
            plan.exclusive = true;
        }
        for (index, key) in info.keys.iter().enumerate().filter(|(_, key)| key.unique) {
            let parts: Option<Vec<Part>> = key
                .columns
                .iter()
                .map(|part| {
                    let column = part.column?;
                    let description = info.columns.get(column)?;
                    let fold = fold_of(description);
                    (!description.generated && fold != Fold::Unknown).then_some(Part {
                        column,
                        fold,
                        prefix: part.prefix_len.map(|len| usize::try_from(len).unwrap_or(usize::MAX)),
                    })
                })
                .collect();
            match parts {
                Some(parts) if !parts.is_empty() => {
                    plan.fragile |= parts.iter().any(|part| part.fold != Fold::Exact);
                    plan.keys.push((hash_of(&(whole, index)), parts));
                }
                _ => plan.exclusive = true,
            }
        }
        plan
    }

    /// Adds the uses of one change.
    pub fn uses(&self, change: &RowChange, out: &mut Vec<Use>) {
        let start = out.len();
        let whole = Use { key: self.whole, exclusive: true };
        if self.exclusive {
            out.push(whole);
            return;
        }
        let fits = match change {
            RowChange::Insert(row) | RowChange::Delete(row) => self.image(row, out),
            RowChange::Update(before, after) => self.image(before, out) && self.image(after, out),
        };
        if !fits {
            out.truncate(start);
            out.push(whole);
        } else if self.fragile {
            out.push(Use { key: self.whole, exclusive: false });
        }
    }

    /// `false` when a value cannot be compared.
    fn image(&self, row: &Row, out: &mut Vec<Use>) -> bool {
        'keys: for (seed, parts) in &self.keys {
            let mut hasher = DefaultHasher::new();
            seed.hash(&mut hasher);
            for part in parts {
                match row.values.get(part.column) {
                    // Rows with a NULL in a unique key are never equal by it.
                    Some(Value::Null) => continue 'keys,
                    None | Some(Value::Absent) => return false,
                    Some(value) => {
                        if !hash_value(value, part, &mut hasher) {
                            return false;
                        }
                    }
                }
            }
            out.push(Use { key: hasher.finish(), exclusive: true });
        }
        true
    }
}

fn hash_of(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Collations under which printable ASCII text is equal exactly when it is equal without case.
fn is_plain_collation(collation: &str) -> bool {
    const FAMILIES: [&str; 6] = ["utf8mb4_", "utf8mb3_", "utf8_", "latin1_", "ascii_", "uca1400_"];
    const KINDS: [&str; 12] = [
        "general_ci",
        "general_nopad_ci",
        "unicode_ci",
        "unicode_nopad_ci",
        "unicode_520_ci",
        "unicode_520_nopad_ci",
        "0900_ai_ci",
        "0900_as_ci",
        "0900_as_cs",
        "swedish_ci",
        "swedish_nopad_ci",
        "general_cs",
    ];
    FAMILIES.iter().any(|family| {
        collation.strip_prefix(family).is_some_and(|kind| {
            let kind = kind.strip_prefix("uca1400_").map_or(kind, |rest| {
                // uca1400[_nopad]_ai_ci and the like, without a language.
                match rest {
                    "ai_ci" | "as_ci" | "as_cs" | "nopad_ai_ci" | "nopad_as_ci" | "nopad_as_cs" => {
                        "general_ci"
                    }
                    other => other,
                }
            });
            KINDS.contains(&kind)
        })
    })
}

fn fold_of(column: &ColumnInfo) -> Fold {
    use dmnode_mysql::ColumnType as T;
    match &column.data_type {
        T::TinyInt | T::SmallInt | T::MediumInt | T::Int | T::BigInt | T::Decimal { .. } => Fold::Exact,
        // A FLOAT of one shard may equal a DOUBLE of another.
        T::Float | T::Double => Fold::Unknown,
        T::Bit(_) | T::Year | T::Date | T::Time(_) | T::DateTime(_) | T::Timestamp(_) => Fold::Exact,
        T::Enum(_) | T::Set(_) | T::Inet4 | T::Inet6 | T::Uuid => Fold::Exact,
        T::Binary(_) | T::VarBinary(_) | T::TinyBlob | T::Blob | T::MediumBlob | T::LongBlob => Fold::Binary,
        T::Char(_) | T::VarChar(_) | T::TinyText | T::Text | T::MediumText | T::LongText => {
            match column.collation.as_deref() {
                Some("binary") => Fold::Binary,
                // In these families a blank is one byte; in UTF-16 and its like it is not.
                Some(name)
                    if (name.ends_with("_bin"))
                        && ["utf8", "latin1", "ascii"].iter().any(|family| name.starts_with(family)) =>
                {
                    Fold::TextBytes
                }
                Some(name) if is_plain_collation(name) => Fold::TextAscii,
                _ => Fold::Unknown,
            }
        }
        T::Json | T::Geometry(_) | T::Vector(_) | T::Other(_) => Fold::Unknown,
    }
}

fn hash_value(value: &Value, part: &Part, hasher: &mut DefaultHasher) -> bool {
    match (part.fold, value) {
        (Fold::Binary, Value::Bytes(bytes)) => {
            let bytes = cut(bytes, part.prefix);
            trim(bytes, 0).hash(hasher);
        }
        (Fold::TextBytes, Value::Bytes(bytes)) => {
            // A prefix counts characters.
            if part.prefix.is_some() && !bytes.is_ascii() {
                return false;
            }
            trim(cut(bytes, part.prefix), b' ').hash(hasher);
        }
        (Fold::TextAscii, Value::Bytes(bytes)) => {
            if !bytes.iter().all(|byte| (0x20..0x7f).contains(byte)) {
                return false;
            }
            for byte in trim(cut(bytes, part.prefix), b' ') {
                byte.to_ascii_lowercase().hash(hasher);
            }
            0xffu8.hash(hasher);
        }
        // Merged tables may differ in sign, digits and fractions.
        (Fold::Exact, Value::Int(number)) => i128::from(*number).hash(hasher),
        (Fold::Exact, Value::UInt(number) | Value::Bit(number)) => i128::from(*number).hash(hasher),
        (Fold::Exact, Value::Decimal(text)) => normal_decimal(text.as_bytes()).hash(hasher),
        (Fold::Exact, Value::Time(text) | Value::DateTime(text) | Value::Timestamp(text)) => {
            normal_fraction(text.as_bytes()).hash(hasher);
        }
        (Fold::Exact, value) => value.hash(hasher),
        _ => return false,
    }
    true
}

/// Without zeros at either end, without a sign of zero.
fn normal_decimal(text: &[u8]) -> (bool, &[u8]) {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let first = digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len());
    let digits = normal_fraction(&digits[first..]);
    (negative && !digits.is_empty(), digits)
}

/// Without zeros at the end of the fraction.
fn normal_fraction(text: &[u8]) -> &[u8] {
    if !text.contains(&b'.') {
        return text;
    }
    trim(trim(text, b'0'), b'.')
}

fn cut(bytes: &[u8], prefix: Option<usize>) -> &[u8] {
    prefix.and_then(|len| bytes.get(..len)).unwrap_or(bytes)
}

fn trim(bytes: &[u8], pad: u8) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != pad).map_or(0, |last| last + 1);
    &bytes[..end]
}

/// The uses of a whole transaction, each once, the exclusive one where both exist.
pub fn write_set(changes: &[Change]) -> Vec<Use> {
    let mut uses = Vec::with_capacity(changes.len() * 2);
    for change in changes {
        change.table.keys.uses(&change.row, &mut uses);
    }
    uses.sort_unstable_by(|a, b| a.key.cmp(&b.key).then(b.exclusive.cmp(&a.exclusive)));
    uses.dedup_by_key(|use_| use_.key);
    uses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_are_written_in_many_ways() {
        let same = [b"1.50".as_slice(), b"1.5", b"01.500"];
        assert!(same.iter().all(|text| normal_decimal(text) == normal_decimal(b"1.5")));
        for zero in [b"0".as_slice(), b"-0.00", b"0.0", b"-0"] {
            assert_eq!(normal_decimal(zero), (false, b"".as_slice()));
        }
        assert_ne!(normal_decimal(b"10"), normal_decimal(b"1"));
        assert_ne!(normal_decimal(b"-1"), normal_decimal(b"1"));
        assert_ne!(normal_decimal(b"0.1"), normal_decimal(b"1"));
        assert_eq!(normal_fraction(b"2026-01-01 10:00:00.500"), normal_fraction(b"2026-01-01 10:00:00.5"));
        assert_eq!(normal_fraction(b"2026-01-01 10:00:00.000"), normal_fraction(b"2026-01-01 10:00:00"));
        assert_ne!(normal_fraction(b"10:00:00"), normal_fraction(b"10:00:0"));
    }

    #[test]
    fn collations_whose_equality_is_not_known_are_left_out() {
        for known in
            ["utf8mb4_0900_ai_ci", "utf8mb4_general_ci", "utf8mb4_uca1400_ai_ci", "latin1_swedish_ci"]
        {
            assert!(is_plain_collation(known), "{known}");
        }
        for unknown in [
            "utf8mb4_ja_0900_as_cs",
            "latin1_german2_ci",
            "utf8mb4_de_pb_0900_ai_ci",
            "utf16_general_ci",
            "gbk_chinese_ci",
            "utf8mb4_danish_ci",
        ] {
            assert!(!is_plain_collation(unknown), "{unknown}");
        }
    }
}
