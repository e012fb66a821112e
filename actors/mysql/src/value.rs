//! Column values as they leave the row decoder.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use bytes::Bytes;

/// One column value of a row image.
///
/// Cloning is cheap: long values share the memory of the event they came in. Equality is equality of
/// representation (floats by their bits, text by its bytes), not the equality of a collation.
#[derive(Debug, Clone)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// The column was left out of the row image. Only generated columns may be: the decoder refuses an image
    /// that lacks any other.
    Absent,
    /// A signed integer of any width.
    Int(i64),
    /// An unsigned integer of any width.
    UInt(u64),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// DECIMAL, with as many digits after the point as the column has.
    Decimal(SmallText),
    /// Text in the column's own character set, binary strings, geometry, vectors and the internal form of
    /// MariaDB's INET4, INET6 and UUID (in the order in which they are written).
    Bytes(Bytes),
    /// DATE as `2026-08-01`; may be zero in parts.
    Date(SmallText),
    /// TIME as `-838:59:59.000000`.
    Time(SmallText),
    /// DATETIME as `2026-08-01 12:00:00.123456`; may be zero in parts.
    DateTime(SmallText),
    /// TIMESTAMP in UTC, in the form of a DATETIME; `0000-00-00 00:00:00` is the zero value.
    Timestamp(SmallText),
    /// YEAR; 0 is `0000`.
    Year(u16),
    /// BIT of up to 64 bits.
    Bit(u64),
    /// ENUM by its one-based index; 0 is the empty error value.
    Enum(u16),
    /// SET as a bit mask.
    Set(u64),
    /// JSON as UTF-8 text.
    Json(Bytes),
    /// JSON with values whose types its text does not have (decimals, dates, …), in MySQL's binary form.
    /// [`Value::json_text`] has the text.
    JsonBinary(Bytes),
}

impl Value {
    /// True for [`Value::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// A JSON value as the server would print it.
    pub fn json_text(&self) -> Option<Bytes> {
        match self {
            Self::Json(text) => Some(text.clone()),
            // It was parsed before when the value was made, so it parses.
            Self::JsonBinary(document) => crate::decode::json::to_text(document).ok().map(|(text, _)| text),
            _ => None,
        }
    }

    /// About how many bytes of memory the value keeps alive.
    pub fn memory(&self) -> usize {
        std::mem::size_of::<Self>()
            + match self {
                Self::Bytes(bytes) | Self::Json(bytes) | Self::JsonBinary(bytes) => bytes.len(),
                _ => 0,
            }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) | (Self::Absent, Self::Absent) => true,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::UInt(a), Self::UInt(b)) | (Self::Bit(a), Self::Bit(b)) | (Self::Set(a), Self::Set(b)) => {
                a == b
            }
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Double(a), Self::Double(b)) => a.to_bits() == b.to_bits(),
            (Self::Decimal(a), Self::Decimal(b))
            | (Self::Date(a), Self::Date(b))
            | (Self::Time(a), Self::Time(b))
            | (Self::DateTime(a), Self::DateTime(b))
            | (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b))
            | (Self::Json(a), Self::Json(b))
            | (Self::JsonBinary(a), Self::JsonBinary(b)) => a == b,
            (Self::Year(a), Self::Year(b)) | (Self::Enum(a), Self::Enum(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Null | Self::Absent => {}
            Self::Int(v) => v.hash(state),
            Self::UInt(v) | Self::Bit(v) | Self::Set(v) => v.hash(state),
            Self::Float(v) => v.to_bits().hash(state),
            Self::Double(v) => v.to_bits().hash(state),
            Self::Decimal(v) | Self::Date(v) | Self::Time(v) | Self::DateTime(v) | Self::Timestamp(v) => {
                v.hash(state)
            }
            Self::Bytes(v) | Self::Json(v) | Self::JsonBinary(v) => v.hash(state),
            Self::Year(v) | Self::Enum(v) => v.hash(state),
        }
    }
}

/// A complete row image: one value per column of the table, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Row {
    /// The values.
    pub values: Vec<Value>,
}

impl Row {
    /// About how many bytes of memory the row keeps alive.
    pub fn memory(&self) -> usize {
        std::mem::size_of::<Self>() + self.values.iter().map(Value::memory).sum::<usize>()
    }
}

/// Longest text kept without an allocation: a DATETIME(6) has 26 characters.
const INLINE: usize = 30;

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE] },
    Heap(Arc<str>),
}

/// ASCII text, kept inline when it is short. Holds decimals, dates and times.
#[derive(Clone)]
pub struct SmallText(Repr);

impl SmallText {
    /// The text of these bytes, which must be ASCII.
    pub(crate) fn from_ascii(text: &[u8]) -> Self {
        debug_assert!(text.is_ascii());
        if text.len() <= INLINE {
            let mut bytes = [0; INLINE];
            bytes[..text.len()].copy_from_slice(text);
            // `text.len()` is at most INLINE: the cast keeps it.
            Self(Repr::Inline { len: text.len() as u8, bytes })
        } else {
            Self(Repr::Heap(String::from_utf8_lossy(text).into()))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Inline { .. } => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Repr::Heap(text) => text,
        }
    }

    /// The text's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len).min(INLINE)],
            Repr::Heap(text) => text.as_bytes(),
        }
    }
}

impl From<&str> for SmallText {
    fn from(text: &str) -> Self {
        Self::from_ascii(text.as_bytes())
    }
}

impl std::ops::Deref for SmallText {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for SmallText {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for SmallText {}

impl Hash for SmallText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for SmallText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for SmallText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_small() {
        assert!(std::mem::size_of::<Value>() <= 40, "{}", std::mem::size_of::<Value>());
    }

    #[test]
    fn small_text_of_any_length_reads_back() {
        for len in [0, 1, INLINE, INLINE + 1, 67] {
            let text = "9".repeat(len);
            assert_eq!(SmallText::from(text.as_str()).as_str(), text);
        }
    }

    #[test]
    fn floats_are_equal_by_their_bits() {
        assert_ne!(Value::Double(0.0), Value::Double(-0.0));
        assert_eq!(Value::Float(1.5), Value::Float(1.5));
    }
}
