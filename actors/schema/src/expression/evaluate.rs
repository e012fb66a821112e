//! Evaluation over one row.

use std::cmp::Ordering;

use super::collate::Collation;
use super::datum::{Datum, Number, overflow};
use super::decimal::Decimal;
use super::parse::{Arithmetic, CastType, Comparison, Logic, Node, Unit};
use super::temporal::{Temporal, TemporalKind};
use super::{Fault, Kind, functions, like};

/// What an expression is evaluated against.
pub(super) struct Environment<'e> {
    pub row: &'e dyn Fn(usize) -> Datum,
    pub now: Option<Temporal>,
}

type Evaluated = Result<Datum, Fault>;

impl Environment<'_> {
    pub fn evaluate(&self, node: &Node) -> Evaluated {
        Ok(match node {
            Node::Literal(datum) => datum.clone(),
            Node::Column(index, _) => (self.row)(*index),
            Node::Not(a) => Datum::bool(self.truth(a)?.map(|truth| !truth)),
            Node::Negate(a) => negate(&self.evaluate(a)?)?,
            Node::BitNot(a) => match self.bits(a)? {
                Some(bits) => Datum::UInt(!bits),
                None => Datum::Null,
            },
            Node::Logic(logic, a, b) => Datum::bool(self.logic(*logic, a, b)?),
            Node::Compare(comparison, a, b) => {
                Datum::bool(compare(*comparison, &self.evaluate(a)?, &self.evaluate(b)?)?)
            }
            Node::Is(a, None) => Datum::bool(Some(self.evaluate(a)?.is_null())),
            Node::Is(a, Some(wanted)) => Datum::bool(Some(self.truth(a)? == Some(*wanted))),
            Node::Arithmetic(operator, a, b) => self.arithmetic(*operator, a, b)?,
            Node::Between(a, low, high) => {
                let value = self.evaluate(a)?;
                let above = compare(Comparison::GreaterEqual, &value, &self.evaluate(low)?)?;
                let below = compare(Comparison::LessEqual, &value, &self.evaluate(high)?)?;
                Datum::bool(and(above, below))
            }
            Node::In(a, list) => {
                let value = self.evaluate(a)?;
                let mut found = Some(false);
                for item in list {
                    let item = self.evaluate(item)?;
                    if same_bits_only(&value, &item) {
                        return Err(Fault::undecided(
                            "IN compares a negative number with an unsigned one beyond 2^63: servers differ",
                        ));
                    }
                    found = or(found, compare(Comparison::Equal, &value, &item)?);
                    if found == Some(true) {
                        break;
                    }
                }
                Datum::bool(found)
            }
            Node::Like(a, pattern, escape) => {
                let (Some((text, left)), Some((pattern, right))) =
                    (self.evaluate(a)?.text()?, self.evaluate(pattern)?.text()?)
                else {
                    return Ok(Datum::Null);
                };
                Datum::bool(Some(like::like(&text, &pattern, *escape, left.merge(right)?)?))
            }
            Node::Regexp(a, pattern) => {
                let (Some((text, left)), Some((pattern, right))) =
                    (self.evaluate(a)?.text()?, self.evaluate(pattern)?.text()?)
                else {
                    return Ok(Datum::Null);
                };
                Datum::bool(Some(like::regexp(&text, &pattern, left.merge(right)?)?))
            }
            Node::Case(branches, otherwise, kind) => {
                let mixed = is_mixed(branches.iter().map(|(_, result)| result).chain(otherwise.as_deref()));
                for (condition, result) in branches {
                    if self.truth(condition)? == Some(true) {
                        return self.evaluate(result)?.unified(*kind).map(|value| blurred(value, mixed));
                    }
                }
                match otherwise {
                    Some(node) => blurred(self.evaluate(node)?.unified(*kind)?, mixed),
                    None => Datum::Null,
                }
            }
            Node::Call(function, arguments, kind) => functions::call(self, *function, arguments, *kind)?,
            Node::Cast(a, cast) => self.cast(&self.evaluate(a)?, *cast)?,
            Node::Collate(a, collation) => match self.evaluate(a)?.text()? {
                Some((text, _)) => Datum::Text(text, *collation),
                None => Datum::Null,
            },
            Node::Shift(date, amount, unit, minus) => {
                let kind = node.kind();
                self.shift(date, amount, *unit, *minus, kind == Kind::Temporal(TemporalKind::DateTime))?
            }
        })
    }

    pub fn truth(&self, node: &Node) -> Result<Option<bool>, Fault> {
        self.evaluate(node)?.truth()
    }

    fn logic(&self, logic: Logic, a: &Node, b: &Node) -> Result<Option<bool>, Fault> {
        let left = self.truth(a)?;
        match (logic, left) {
            (Logic::And, Some(false)) => return Ok(Some(false)),
            (Logic::Or, Some(true)) => return Ok(Some(true)),
            _ => {}
        }
        let right = self.truth(b)?;
        Ok(match logic {
            Logic::And => and(left, right),
            Logic::Or => or(left, right),
            Logic::Xor => match (left, right) {
                (Some(a), Some(b)) => Some(a != b),
                _ => None,
            },
        })
    }

    /// The 64 bits of an integer.
    fn bits(&self, node: &Node) -> Result<Option<u64>, Fault> {
        let bits = |value: i128| {
            i64::try_from(value)
                .map(|value| value as u64)
                .or_else(|_| u64::try_from(value))
                .map_err(|_| overflow())
        };
        Ok(match self.evaluate(node)?.number()? {
            None => None,
            Some(Number::Int(value)) => Some(bits(value)?),
            Some(Number::Decimal(value)) => Some(bits(value.round(0).to_i128().ok_or_else(overflow)?)?),
            Some(Number::Double(_)) => {
                return Err(Fault::undecided(
                    "bits of a floating-point number or a text depend on the server",
                ));
            }
        })
    }

    fn arithmetic(&self, operator: Arithmetic, a: &Node, b: &Node) -> Evaluated {
        use Arithmetic::{BitAnd, BitOr, BitXor, ShiftLeft, ShiftRight};
        if matches!(operator, BitAnd | BitOr | BitXor | ShiftLeft | ShiftRight) {
            let (Some(a), Some(b)) = (self.bits(a)?, self.bits(b)?) else { return Ok(Datum::Null) };
            let shift = u32::try_from(b).ok();
            return Ok(Datum::UInt(match operator {
                BitAnd => a & b,
                BitOr => a | b,
                BitXor => a ^ b,
                ShiftLeft => shift.and_then(|by| a.checked_shl(by)).unwrap_or(0),
                _ => shift.and_then(|by| a.checked_shr(by)).unwrap_or(0),
            }));
        }
        let (left, right) = (self.evaluate(a)?, self.evaluate(b)?);
        calculate(operator, &left, &right)
    }

    fn shift(&self, date: &Node, amount: &Node, unit: Unit, minus: bool, with_time: bool) -> Evaluated {
        let (Datum::Temporal(date), Some(Number::Int(amount))) =
            (self.evaluate(date)?, self.evaluate(amount)?.number()?)
        else {
            return Ok(Datum::Null);
        };
        let amount = if minus { -amount } else { amount };
        // Beyond this every date has left the calendar.
        let amount =
            amount.clamp(-i128::from(u32::MAX) * 1_000_000_000, i128::from(u32::MAX) * 1_000_000_000);
        let moved = match unit {
            Unit::Months(months) => i64::try_from(amount)
                .ok()
                .and_then(|n| n.checked_mul(months))
                .and_then(|n| if n.abs() > 200_000 { None } else { date.plus(n, 0, with_time) }),
            Unit::Micros(micros) => date.plus(0, amount * i128::from(micros), with_time),
        };
        // MySQL answers with a date of the year 0, MariaDB with NULL.
        if moved.is_some_and(|moved| moved.year == 0) {
            return Err(Fault::undecided("a date becomes one of the year 0"));
        }
        Ok(moved.map_or(Datum::Null, Datum::Temporal))
    }

    fn cast(&self, value: &Datum, cast: CastType) -> Evaluated {
        if value.is_null() {
            return Ok(Datum::Null);
        }
        Ok(match cast {
            CastType::Signed | CastType::Unsigned => {
                let number = match (value, value.number()?) {
                    // Text is read up to the first character that is no digit.
                    (Datum::Text(text, _), _) => leading_integer(text)?,
                    (_, Some(Number::Int(value))) => value,
                    (_, Some(Number::Decimal(value))) => value.round(0).to_i128().ok_or_else(overflow)?,
                    _ => {
                        return Err(Fault::undecided(
                            "how a floating-point number is rounded depends on the server",
                        ));
                    }
                };
                if cast == CastType::Signed {
                    let wrapped = i64::try_from(number).or_else(|_| u64::try_from(number).map(|n| n as i64));
                    Datum::Int(wrapped.map_err(|_| overflow())?)
                } else {
                    let wrapped = u64::try_from(number).or_else(|_| i64::try_from(number).map(|n| n as u64));
                    Datum::UInt(wrapped.map_err(|_| overflow())?)
                }
            }
            CastType::Char(length) => match value.text()? {
                Some((text, _)) => {
                    let cut = match length {
                        Some(length) => {
                            text.chars().take(usize::try_from(length).unwrap_or(usize::MAX)).collect()
                        }
                        None => text,
                    };
                    Datum::literal(cut)
                }
                None => Datum::Null,
            },
            CastType::Decimal(precision, scale) => {
                let number = match value.number()? {
                    Some(Number::Int(value)) => Decimal::from_int(value),
                    Some(Number::Decimal(value)) => value,
                    _ => match value {
                        Datum::Text(text, _) => Decimal::parse(text.trim()).ok_or_else(|| {
                            Fault::undecided("a text that is no plain number is cast to DECIMAL")
                        })?,
                        _ => return Err(overflow()),
                    },
                };
                let rounded = number.with_scale(scale);
                let digits = rounded.to_string().bytes().filter(u8::is_ascii_digit).count();
                let leading = usize::from(rounded.to_string().trim_start_matches('-').starts_with("0."));
                if digits - leading > usize::try_from(precision).unwrap_or(0) {
                    return Err(overflow());
                }
                Datum::Decimal(rounded)
            }
            CastType::Double => Datum::double(value.number()?.map_or(0.0, |number| number.to_f64()))?,
            CastType::Date => match as_date_time(value)? {
                Some(value) => Datum::Temporal(value.date()),
                None => Datum::Null,
            },
            CastType::DateTime(digits) => match as_date_time(value)? {
                Some(value) if value.digits > digits => {
                    return Err(Fault::undecided("a fraction of a second is cut off: CAST to DATETIME(6)"));
                }
                Some(value) => Datum::Temporal(Temporal { kind: TemporalKind::DateTime, digits, ..value }),
                None => Datum::Null,
            },
        })
    }
}

/// Whether the numbers differ by nothing but their signedness. With a list that is not constant MySQL's IN takes such numbers for equal
/// (`cmp_item_int` knows no signs), with a constant one it does not.
fn same_bits_only(a: &Datum, b: &Datum) -> bool {
    match (a, b) {
        (Datum::UInt(unsigned), Datum::Int(signed)) | (Datum::Int(signed), Datum::UInt(unsigned)) => {
            *signed < 0 && signed.cast_unsigned() == *unsigned
        }
        _ => false,
    }
}

/// A date, or what a text or number says of one; None where the server answers NULL.
pub(super) fn as_date_time(value: &Datum) -> Result<Option<Temporal>, Fault> {
    match value {
        Datum::Null => Ok(None),
        Datum::Temporal(value) if value.kind == TemporalKind::Time => {
            Err(Fault::undecided("a time is used as a date"))
        }
        Datum::Temporal(value) => Ok(Some(*value)),
        Datum::Text(text, _) => match Temporal::parse_date_time(text) {
            Some(value) => Ok(Some(value)),
            None if text.bytes().any(|b| b.is_ascii_digit()) => Err(Fault::undecided(
                "a text that is no date in the form YYYY-MM-DD [hh:mm:ss] is used as one",
            )),
            None => Ok(None),
        },
        Datum::Int(number) => match u64::try_from(*number).ok().and_then(Temporal::parse_number) {
            Some(value) => Ok(Some(value)),
            None => {
                Err(Fault::undecided("a number that is no date in the form YYYYMMDD[hhmmss] is used as one"))
            }
        },
        _ => Err(Fault::undecided("a value that is no date is used as one")),
    }
}

fn leading_integer(text: &str) -> Result<i128, Fault> {
    let text = text.trim_start();
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let end = digits.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
    if digits.get(end..end + 1).is_some_and(|next| matches!(next, "." | "e" | "E")) {
        return Err(Fault::undecided("a text with a point or an exponent is cast to an integer"));
    }
    if end == 0 {
        return Ok(0);
    }
    let number: i128 = digits.get(..end).unwrap_or("0").parse().map_err(|_| overflow())?;
    Ok(if negative { -number } else { number })
}

fn negate(value: &Datum) -> Evaluated {
    match value.number()? {
        None => Ok(Datum::Null),
        Some(Number::Int(value)) => i64::try_from(-value).map(Datum::Int).map_err(|_| overflow()),
        Some(Number::Decimal(value)) => Ok(Datum::Decimal(value.neg())),
        Some(Number::Double(value)) => Ok(Datum::Double(-value)),
    }
}

pub(super) fn calculate(operator: Arithmetic, left: &Datum, right: &Datum) -> Evaluated {
    use Arithmetic::{Add, Div, IntDiv, Mod, Mul, Sub};
    let (Some(a), Some(b)) = (left.number()?, right.number()?) else { return Ok(Datum::Null) };
    let unsigned = matches!(left, Datum::UInt(_)) || matches!(right, Datum::UInt(_));
    let integer = |value: Option<i128>| {
        let value = value.ok_or_else(overflow)?;
        if unsigned {
            u64::try_from(value).map(Datum::UInt).map_err(|_| overflow())
        } else {
            i64::try_from(value).map(Datum::Int).map_err(|_| overflow())
        }
    };
    if let (Number::Int(a), Number::Int(b)) = (&a, &b)
        && operator != Div
    {
        if matches!(operator, IntDiv | Mod) && *b == 0 {
            return Ok(Datum::Null);
        }
        return match operator {
            Add => integer(a.checked_add(*b)),
            Sub => integer(a.checked_sub(*b)),
            Mul => integer(a.checked_mul(*b)),
            IntDiv => integer(a.checked_div(*b)),
            _ => {
                let rest = a.checked_rem(*b).ok_or_else(overflow)?;
                Datum::int(rest)
            }
        };
    }
    if let (Some(x), Some(y)) = (a.to_decimal(), b.to_decimal()) {
        if matches!(operator, Div | IntDiv | Mod) && y.is_zero() {
            return Ok(Datum::Null);
        }
        return match operator {
            Add => Datum::decimal(x.add(&y)),
            Sub => Datum::decimal(x.sub(&y)),
            Mul => Datum::decimal(x.mul(&y)),
            Div => Datum::decimal(x.div(&y)),
            Mod => Datum::decimal(x.rem(&y)),
            _ => {
                // The whole part of the exact quotient.
                let rest = x.rem(&y).and_then(|rest| x.sub(&rest)).ok_or_else(overflow)?;
                let whole = rest.div(&y).map(|quotient| quotient.round(0)).ok_or_else(overflow)?;
                integer(whole.to_i128())
            }
        };
    }
    let (x, y) = (a.to_f64(), b.to_f64());
    if matches!(operator, Div | IntDiv | Mod) && y == 0.0 {
        return Ok(Datum::Null);
    }
    match operator {
        Add => Datum::double(x + y),
        Sub => Datum::double(x - y),
        Mul => Datum::double(x * y),
        Div => Datum::double(x / y),
        Mod => Datum::double(x % y),
        _ => Err(Fault::undecided("DIV of a floating-point number or a text depends on the server")),
    }
}

pub(super) fn compare(comparison: Comparison, a: &Datum, b: &Datum) -> Result<Option<bool>, Fault> {
    if comparison == Comparison::NullSafe && (a.is_null() || b.is_null()) {
        return Ok(Some(a.is_null() && b.is_null()));
    }
    let Some(order) = a.compare(b)? else { return Ok(None) };
    Ok(Some(match comparison {
        Comparison::Equal | Comparison::NullSafe => order == Ordering::Equal,
        Comparison::NotEqual => order != Ordering::Equal,
        Comparison::Less => order == Ordering::Less,
        Comparison::LessEqual => order != Ordering::Greater,
        Comparison::Greater => order == Ordering::Greater,
        Comparison::GreaterEqual => order != Ordering::Less,
    }))
}

fn and(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

fn or(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

/// Collation of a text that is made of several.
pub(super) fn joined(a: Collation, b: Collation) -> Result<Collation, Fault> {
    a.merge(b)
}

/// The collation of a result depends on all that might have been the result.
pub(super) fn is_mixed<'n>(results: impl Iterator<Item = &'n Node>) -> bool {
    let (mut count, mut literal) = (0, true);
    for result in results.filter(|node| node.kind() != Kind::Null) {
        count += 1;
        literal = literal && matches!(result, Node::Literal(_));
    }
    count > 1 && !literal
}

/// A text of which it is not known how it compares.
pub(super) fn blurred(value: Datum, mixed: bool) -> Datum {
    match value {
        Datum::Text(text, _) if mixed => Datum::Text(text, Collation::mixed()),
        Datum::Member(number, text, _) if mixed => Datum::Member(number, text, Collation::mixed()),
        value => value,
    }
}
