//! Values of expressions, and how they compare and convert.

use std::cmp::Ordering;

use super::collate::Collation;
use super::decimal::Decimal;
use super::temporal::{Temporal, TemporalKind};
use super::{Fault, Kind};

/// A value.
#[derive(Debug, Clone)]
pub enum Datum {
    /// NULL.
    Null,
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    UInt(u64),
    /// An exact number.
    Decimal(Decimal),
    /// A floating-point number.
    Double(f64),
    /// Text and how it compares.
    Text(String, Collation),
    /// A member of ENUM or members of SET: number and text.
    Member(u64, String, Collation),
    /// A binary string.
    Bytes(Vec<u8>),
    /// A literal `x'…'`, `b'…'`: a binary string, or a number where one is needed.
    Hex(Vec<u8>),
    /// A date or time.
    Temporal(Temporal),
    /// Not NULL, and nothing more is known.
    Opaque,
}

/// A number for arithmetic.
#[derive(Debug, Clone)]
pub enum Number {
    Int(i128),
    Decimal(Decimal),
    Double(f64),
}

impl Datum {
    /// TRUE, FALSE or NULL.
    pub fn bool(value: Option<bool>) -> Datum {
        value.map_or(Datum::Null, |value| Datum::Int(value.into()))
    }

    /// NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }

    /// A literal's or a function's text.
    pub(super) fn literal(text: impl Into<String>) -> Datum {
        Datum::Text(text.into(), Collation::literal())
    }

    pub(super) fn int(value: i128) -> Result<Datum, Fault> {
        if let Ok(value) = i64::try_from(value) {
            return Ok(Datum::Int(value));
        }
        u64::try_from(value).map(Datum::UInt).map_err(|_| overflow())
    }

    pub(super) fn decimal(value: Option<Decimal>) -> Result<Datum, Fault> {
        value.map(Datum::Decimal).ok_or_else(overflow)
    }

    pub(super) fn double(value: f64) -> Result<Datum, Fault> {
        if value.is_finite() { Ok(Datum::Double(value)) } else { Err(overflow()) }
    }

    /// As a condition.
    pub fn truth(&self) -> Result<Option<bool>, Fault> {
        Ok(match self.number()? {
            None => None,
            Some(Number::Int(value)) => Some(value != 0),
            Some(Number::Decimal(value)) => Some(!value.is_zero()),
            Some(Number::Double(value)) => Some(value != 0.0),
        })
    }

    /// As a number; None for NULL.
    pub(super) fn number(&self) -> Result<Option<Number>, Fault> {
        Ok(Some(match self {
            Datum::Null => return Ok(None),
            Datum::Int(value) => Number::Int((*value).into()),
            Datum::UInt(value) | Datum::Member(value, ..) => Number::Int((*value).into()),
            Datum::Decimal(value) => Number::Decimal(value.clone()),
            Datum::Double(value) => Number::Double(*value),
            Datum::Text(text, _) => Number::Double(leading_number(text)),
            Datum::Bytes(bytes) => Number::Double(leading_number(&String::from_utf8_lossy(bytes))),
            Datum::Hex(bytes) => {
                if bytes.len() > 8 {
                    return Err(overflow());
                }
                Number::Int(bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte)).into())
            }
            Datum::Temporal(value) if value.digits > 0 => {
                let fraction = format!("{:06}", value.micros);
                let sign = if value.negative { "-" } else { "" };
                let text = format!(
                    "{sign}{}.{}",
                    value.number().abs(),
                    fraction.get(..value.digits.into()).unwrap_or("0")
                );
                Number::Decimal(Decimal::parse(&text).ok_or_else(overflow)?)
            }
            Datum::Temporal(value) => Number::Int(value.number().into()),
            Datum::Opaque => return Err(opaque()),
        }))
    }

    /// As text with its collation; None for NULL.
    pub(super) fn text(&self) -> Result<Option<(String, Collation)>, Fault> {
        let plain = |text: String| (text, Collation::number());
        Ok(Some(match self {
            Datum::Null => return Ok(None),
            Datum::Int(value) => plain(value.to_string()),
            Datum::UInt(value) => plain(value.to_string()),
            Datum::Decimal(value) => plain(value.to_string()),
            Datum::Double(_) => {
                return Err(Fault::undecided(
                    "how the server writes a floating-point number as text is not known here: CAST it to DECIMAL",
                ));
            }
            Datum::Text(text, collation) | Datum::Member(_, text, collation) => (text.clone(), *collation),
            Datum::Temporal(value) => plain(value.to_string()),
            Datum::Bytes(_) | Datum::Hex(_) => {
                return Err(Fault::undecided(
                    "a binary string is used as text: CONVERT it to CHAR at the source",
                ));
            }
            Datum::Opaque => return Err(opaque()),
        }))
    }

    /// A binary string: its bytes.
    pub(super) fn binary(&self) -> Option<&[u8]> {
        match self {
            Datum::Bytes(bytes) | Datum::Hex(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self, Datum::Text(..) | Datum::Member(..))
    }

    /// The order of two values; None if one is NULL.
    pub fn compare(&self, other: &Datum) -> Result<Option<Ordering>, Fault> {
        if self.is_null() || other.is_null() {
            return Ok(None);
        }
        if let (Datum::Temporal(a), Datum::Temporal(b)) = (self, other) {
            return compare_temporals(a, b).map(Some);
        }
        if self.is_text() && other.is_text() {
            let (Some((a, left)), Some((b, right))) = (self.text()?, other.text()?) else { return Ok(None) };
            return left.merge(right)?.compare(&a, &b).map(Some);
        }
        match (self.binary(), other.binary()) {
            (Some(a), Some(b)) => return Ok(Some(a.cmp(b))),
            (Some(a), None) if other.is_text() => {
                return Ok(other.text()?.map(|(b, _)| a.cmp(b.as_bytes())));
            }
            (None, Some(b)) if self.is_text() => {
                return Ok(self.text()?.map(|(a, _)| a.as_bytes().cmp(b)));
            }
            _ => {}
        }
        let temporal =
            |a: &Datum, b: &Datum| matches!(a, Datum::Temporal(_)) && !matches!(b, Datum::Temporal(_));
        if temporal(self, other) || temporal(other, self) {
            return Err(Fault::undecided(
                "a date or time is compared with a value of another type: use CAST",
            ));
        }
        let (Some(a), Some(b)) = (self.number_beside(other)?, other.number_beside(self)?) else {
            return Ok(None);
        };
        Ok(Some(compare_numbers(&a, &b)))
    }

    /// The number that a comparison with `other` takes: beside an integer, the text of an integer is one.
    fn number_beside(&self, other: &Datum) -> Result<Option<Number>, Fault> {
        if let Datum::Text(text, _) = self
            && matches!(other, Datum::Int(_) | Datum::UInt(_))
            && let Ok(number) = text.trim().parse::<i128>()
        {
            return Ok(Some(Number::Int(number)));
        }
        self.number()
    }

    /// The same value as another type, as branches of CASE, IF and the like have one type together.
    pub(super) fn unified(self, kind: Kind) -> Result<Datum, Fault> {
        Ok(match (kind, &self) {
            (_, Datum::Null) => self,
            (Kind::Decimal(scale), _) => match self.number()? {
                Some(Number::Int(value)) => Datum::Decimal(Decimal::from_int(value).with_scale(scale)),
                Some(Number::Decimal(value)) => Datum::Decimal(value.with_scale(scale.max(value.scale()))),
                _ => self,
            },
            (Kind::Double, _) => match self.number()? {
                Some(number) => Datum::Double(number.to_f64()),
                None => Datum::Null,
            },
            (Kind::Text, Datum::Text(..)) => self,
            (Kind::Text, _) => match self.text()? {
                Some((text, collation)) => Datum::Text(text, collation),
                None => Datum::Null,
            },
            (Kind::Temporal(TemporalKind::DateTime), Datum::Temporal(value)) => {
                Datum::Temporal(Temporal { kind: TemporalKind::DateTime, ..*value })
            }
            _ => self,
        })
    }
}

fn compare_temporals(a: &Temporal, b: &Temporal) -> Result<Ordering, Fault> {
    if (a.kind == TemporalKind::Time) != (b.kind == TemporalKind::Time) {
        return Err(Fault::undecided("a time is compared with a date: use CAST"));
    }
    Ok(a.rank().cmp(&b.rank()))
}

impl Number {
    pub fn to_f64(&self) -> f64 {
        match self {
            // The nearest double, as the servers convert.
            Number::Int(value) => *value as f64,
            Number::Decimal(value) => value.to_f64(),
            Number::Double(value) => *value,
        }
    }

    pub fn to_decimal(&self) -> Option<Decimal> {
        match self {
            Number::Int(value) => Some(Decimal::from_int(*value)),
            Number::Decimal(value) => Some(value.clone()),
            Number::Double(_) => None,
        }
    }
}

pub(super) fn compare_numbers(a: &Number, b: &Number) -> Ordering {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => a.cmp(b),
        (Number::Double(_), _) | (_, Number::Double(_)) => {
            a.to_f64().partial_cmp(&b.to_f64()).unwrap_or(Ordering::Equal)
        }
        _ => a.to_decimal().cmp(&b.to_decimal()),
    }
}

/// The number that a text begins with; 0 for none.
fn leading_number(text: &str) -> f64 {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace());
    let bytes = text.as_bytes();
    let digits = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let start = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let mut end = digits(start);
    let mut any = end > start;
    if bytes.get(end) == Some(&b'.') {
        let behind = digits(end + 1);
        any = any || behind > end + 1;
        end = behind;
    }
    if !any {
        return 0.0;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let behind = digits(end + 1 + sign);
        if behind > end + 1 + sign {
            end = behind;
        }
    }
    text.get(..end).and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

pub(super) fn overflow() -> Fault {
    Fault::undecided("a value is out of the range of its type")
}

pub(super) fn opaque() -> Fault {
    Fault::undecided("a column of this type can only be compared with NULL")
}
