//! Functions. Those whose answer depends on the server, the session or chance are not here.

use std::cmp::Ordering;

use super::collate::Collation;
use super::datum::{Datum, Number, overflow};
use super::decimal::Decimal;
use super::evaluate::{Environment, as_date_time, blurred, compare, is_mixed, joined};
use super::kinds::common_kind;
use super::parse::{Comparison, Node, as_text};
use super::temporal::{Temporal, TemporalKind, days_in_month};
use super::{Fault, Kind};

/// Longest text that a function makes.
const TEXT_MAX: usize = 16 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    If,
    IfNull,
    NullIf,
    Coalesce,
    IsNull,
    Greatest,
    Least,
    Abs,
    Ceil,
    Floor,
    Round,
    Truncate,
    Sign,
    Mod,
    Concat,
    ConcatWs,
    Length,
    CharLength,
    Upper,
    Lower,
    Trim,
    LTrim,
    RTrim,
    Substring,
    Left,
    Right,
    Replace,
    Reverse,
    Repeat,
    LPad,
    RPad,
    Locate,
    Instr,
    Ascii,
    Hex,
    Field,
    FindInSet,
    StrCmp,
    SubstringIndex,
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Microsecond,
    Quarter,
    DayOfWeek,
    Weekday,
    DayOfYear,
    Date,
    LastDay,
    DateDiff,
    ToDays,
    Now,
    CurDate,
}

/// By name: the function, least and most arguments.
fn lookup(name: &str) -> Option<(Function, usize, usize)> {
    use Function as F;
    const MANY: usize = 1000;
    Some(match name {
        "IF" => (F::If, 3, 3),
        "IFNULL" => (F::IfNull, 2, 2),
        "NULLIF" => (F::NullIf, 2, 2),
        "COALESCE" => (F::Coalesce, 1, MANY),
        "ISNULL" => (F::IsNull, 1, 1),
        "GREATEST" => (F::Greatest, 2, MANY),
        "LEAST" => (F::Least, 2, MANY),
        "ABS" => (F::Abs, 1, 1),
        "CEIL" | "CEILING" => (F::Ceil, 1, 1),
        "FLOOR" => (F::Floor, 1, 1),
        "ROUND" => (F::Round, 1, 2),
        "TRUNCATE" => (F::Truncate, 2, 2),
        "SIGN" => (F::Sign, 1, 1),
        "MOD" => (F::Mod, 2, 2),
        "CONCAT" => (F::Concat, 1, MANY),
        "CONCAT_WS" => (F::ConcatWs, 2, MANY),
        "LENGTH" | "OCTET_LENGTH" => (F::Length, 1, 1),
        "CHAR_LENGTH" | "CHARACTER_LENGTH" => (F::CharLength, 1, 1),
        "UPPER" | "UCASE" => (F::Upper, 1, 1),
        "LOWER" | "LCASE" => (F::Lower, 1, 1),
        "LTRIM" => (F::LTrim, 1, 1),
        "RTRIM" => (F::RTrim, 1, 1),
        "SUBSTRING" | "SUBSTR" | "MID" => (F::Substring, 2, 3),
        "LEFT" => (F::Left, 2, 2),
        "RIGHT" => (F::Right, 2, 2),
        "REPLACE" => (F::Replace, 3, 3),
        "REVERSE" => (F::Reverse, 1, 1),
        "REPEAT" => (F::Repeat, 2, 2),
        "LPAD" => (F::LPad, 3, 3),
        "RPAD" => (F::RPad, 3, 3),
        "LOCATE" => (F::Locate, 2, 3),
        "INSTR" => (F::Instr, 2, 2),
        "ASCII" => (F::Ascii, 1, 1),
        "HEX" => (F::Hex, 1, 1),
        "FIELD" => (F::Field, 2, MANY),
        "FIND_IN_SET" => (F::FindInSet, 2, 2),
        "STRCMP" => (F::StrCmp, 2, 2),
        "SUBSTRING_INDEX" => (F::SubstringIndex, 3, 3),
        "YEAR" => (F::Year, 1, 1),
        "MONTH" => (F::Month, 1, 1),
        "DAY" | "DAYOFMONTH" => (F::Day, 1, 1),
        "HOUR" => (F::Hour, 1, 1),
        "MINUTE" => (F::Minute, 1, 1),
        "SECOND" => (F::Second, 1, 1),
        "MICROSECOND" => (F::Microsecond, 1, 1),
        "QUARTER" => (F::Quarter, 1, 1),
        "DAYOFWEEK" => (F::DayOfWeek, 1, 1),
        "WEEKDAY" => (F::Weekday, 1, 1),
        "DAYOFYEAR" => (F::DayOfYear, 1, 1),
        "DATE" => (F::Date, 1, 1),
        "LAST_DAY" => (F::LastDay, 1, 1),
        "DATEDIFF" => (F::DateDiff, 2, 2),
        "TO_DAYS" => (F::ToDays, 1, 1),
        "NOW" | "CURRENT_TIMESTAMP" | "LOCALTIME" | "LOCALTIMESTAMP" => (F::Now, 0, 0),
        "CURDATE" | "CURRENT_DATE" => (F::CurDate, 0, 0),
        _ => return None,
    })
}

/// A call, its arguments checked.
pub(super) fn build(name: &str, arguments: Vec<Node>) -> Result<Node, Fault> {
    let Some((function, least, most)) = lookup(name) else {
        return Err(Fault::undecided(format!("the function {name} is not supported")));
    };
    if arguments.len() < least || arguments.len() > most {
        return Err(Fault::undecided(format!("{name} has {} arguments here", arguments.len())));
    }
    check(function, arguments)
}

/// `TRIM` and its one-sided forms with the text to take off.
pub(super) fn build_trim(side: &str, arguments: Vec<Node>) -> Result<Node, Fault> {
    let function = match side {
        "LTRIM" => Function::LTrim,
        "RTRIM" => Function::RTrim,
        _ => Function::Trim,
    };
    check(function, arguments)
}

fn check(function: Function, arguments: Vec<Node>) -> Result<Node, Fault> {
    use Function as F;
    let kinds = || arguments.iter().map(Node::kind);
    if kinds().any(|kind| kind == Kind::Opaque) && function != F::IsNull {
        return Err(super::datum::opaque());
    }
    let texts =
        |range: std::ops::Range<usize>| arguments.get(range).unwrap_or(&[]).iter().try_for_each(as_text);
    let whole = |at: usize| match arguments.get(at).map(Node::kind) {
        Some(Kind::Int | Kind::Null) | None => Ok(()),
        _ => Err(Fault::undecided("a whole number is expected as argument")),
    };
    let all = 0..arguments.len();
    let date = Kind::Temporal(TemporalKind::Date);
    let kind = match function {
        F::If => common_kind(kinds().skip(1))?,
        F::IfNull | F::Coalesce => common_kind(kinds())?,
        F::NullIf => {
            if common_kind(kinds()).is_err() {
                return Err(Fault::undecided("NULLIF compares values of different types"));
            }
            kinds().next().unwrap_or(Kind::Null)
        }
        F::IsNull => Kind::Int,
        F::Greatest | F::Least => match common_kind(kinds())? {
            kind @ (Kind::Int | Kind::Decimal(_) | Kind::Double | Kind::Null) => kind,
            _ => return Err(Fault::undecided("GREATEST and LEAST take numbers")),
        },
        F::Abs | F::Ceil | F::Floor | F::Round | F::Truncate | F::Sign => {
            let kind = kinds().next().unwrap_or(Kind::Null);
            if !matches!(kind, Kind::Int | Kind::Decimal(_) | Kind::Null)
                && !matches!((function, kind), (F::Abs | F::Sign | F::Ceil | F::Floor, Kind::Double))
            {
                return Err(Fault::undecided("an exact number is expected: CAST it to DECIMAL"));
            }
            let digits = match arguments.get(1) {
                None => 0,
                Some(Node::Literal(Datum::Int(digits))) => *digits,
                Some(_) => return Err(Fault::undecided("the number of digits must be a constant")),
            };
            match (function, kind) {
                (F::Sign, _) => Kind::Int,
                (F::Ceil | F::Floor, Kind::Decimal(_)) => Kind::Int,
                (F::Round | F::Truncate, Kind::Decimal(scale)) => {
                    Kind::Decimal(scale.min(u32::try_from(digits.max(0)).unwrap_or(scale)))
                }
                (_, kind) => kind,
            }
        }
        F::Mod => {
            let [a, b] = <[Node; 2]>::try_from(arguments).map_err(|_| overflow())?;
            return Ok(Node::Arithmetic(super::parse::Arithmetic::Mod, a.into(), b.into()));
        }
        F::Length | F::Hex => {
            let text = match kinds().next() {
                Some(Kind::Bytes) => true,
                // HEX of a number is that of its value.
                Some(Kind::Int) if function == F::Hex => true,
                Some(Kind::Decimal(_)) if function == F::Hex => false,
                _ => texts(all).is_ok(),
            };
            if !text {
                return Err(Fault::undecided("a text, a binary string or a whole number is expected"));
            }
            if function == F::Hex { Kind::Text } else { Kind::Int }
        }
        F::CharLength | F::Ascii | F::FindInSet | F::StrCmp | F::Instr => {
            texts(all)?;
            Kind::Int
        }
        F::Locate => {
            texts(0..2)?;
            whole(2)?;
            Kind::Int
        }
        F::Field => {
            if !kinds().all(|kind| matches!(kind, Kind::Text | Kind::Member | Kind::Null))
                && !kinds().all(|kind| matches!(kind, Kind::Int | Kind::Null))
            {
                return Err(Fault::undecided("FIELD takes texts, or whole numbers"));
            }
            Kind::Int
        }
        F::Concat
        | F::ConcatWs
        | F::Upper
        | F::Lower
        | F::Trim
        | F::LTrim
        | F::RTrim
        | F::Replace
        | F::Reverse => {
            texts(all)?;
            Kind::Text
        }
        F::Substring => {
            texts(0..1)?;
            whole(1)?;
            whole(2)?;
            Kind::Text
        }
        F::Left | F::Right | F::Repeat => {
            texts(0..1)?;
            whole(1)?;
            Kind::Text
        }
        F::LPad | F::RPad => {
            texts(0..1)?;
            texts(2..3)?;
            whole(1)?;
            Kind::Text
        }
        F::SubstringIndex => {
            texts(0..2)?;
            whole(2)?;
            Kind::Text
        }
        F::Hour | F::Minute | F::Second | F::Microsecond => match kinds().next() {
            Some(Kind::Temporal(_) | Kind::Null) => Kind::Int,
            _ => return Err(Fault::undecided("a date or time is expected: use CAST")),
        },
        F::Year | F::Month | F::Day | F::Quarter | F::DayOfWeek | F::Weekday | F::DayOfYear | F::ToDays => {
            dates(&arguments)?;
            Kind::Int
        }
        F::DateDiff => {
            dates(&arguments)?;
            Kind::Int
        }
        F::Date | F::LastDay => {
            dates(&arguments)?;
            date
        }
        F::Now => Kind::Temporal(TemporalKind::DateTime),
        F::CurDate => date,
    };
    Ok(Node::Call(function, arguments, kind))
}

fn dates(arguments: &[Node]) -> Result<(), Fault> {
    let is_date = |node: &Node| {
        matches!(
            node.kind(),
            Kind::Temporal(TemporalKind::Date | TemporalKind::DateTime) | Kind::Null | Kind::Text
        )
    };
    if arguments.iter().all(is_date) { Ok(()) } else { Err(Fault::undecided("a date is expected: use CAST")) }
}

pub(super) fn call(
    environment: &Environment<'_>,
    function: Function,
    nodes: &[Node],
    kind: Kind,
) -> Result<Datum, Fault> {
    use Function as F;
    let evaluate = |at: usize| nodes.get(at).map_or(Ok(Datum::Null), |node| environment.evaluate(node));
    // These look at one argument after the other.
    match function {
        F::If => {
            let at = if environment.truth(&nodes[0])? == Some(true) { 1 } else { 2 };
            let mixed = is_mixed(nodes.iter().skip(1));
            return evaluate(at)?.unified(kind).map(|value| blurred(value, mixed));
        }
        F::IfNull | F::Coalesce => {
            for at in 0..nodes.len() {
                let value = evaluate(at)?;
                if !value.is_null() {
                    return value.unified(kind).map(|value| blurred(value, is_mixed(nodes.iter())));
                }
            }
            return Ok(Datum::Null);
        }
        F::NullIf => {
            let (a, b) = (evaluate(0)?, evaluate(1)?);
            if compare(Comparison::Equal, &a, &b)? == Some(true) {
                return Ok(Datum::Null);
            }
            // MySQL gives the result the collation of the comparison.
            let same = match (&a, &b) {
                (Datum::Text(_, x) | Datum::Member(_, _, x), Datum::Text(_, y) | Datum::Member(_, _, y)) => {
                    x == y
                }
                _ => false,
            };
            return Ok(blurred(a, !same && !matches!(nodes[1], Node::Literal(_))));
        }
        F::IsNull => return Ok(Datum::bool(Some(evaluate(0)?.is_null()))),
        F::Now | F::CurDate => {
            let now =
                environment.now.ok_or_else(|| Fault::undecided("the time of the change is not known"))?;
            return Ok(Datum::Temporal(if function == F::Now {
                Temporal { kind: TemporalKind::DateTime, micros: 0, digits: 0, ..now }
            } else {
                now.date()
            }));
        }
        _ => {}
    }
    let values = (0..nodes.len()).map(evaluate).collect::<Result<Vec<_>, _>>()?;
    // MariaDB looks at the replacement only where something is replaced, MySQL always.
    if function == F::Replace
        && matches!(values[..], [ref text, ref what, Datum::Null] if !text.is_null() && !what.is_null())
    {
        return Err(Fault::undecided("REPLACE with NULL as replacement depends on the server"));
    }
    let nulls_count = !matches!(function, F::ConcatWs | F::Field);
    if nulls_count && values.iter().any(Datum::is_null)
        || values.first().is_some_and(|v| v.is_null() && function == F::ConcatWs)
    {
        return Ok(Datum::Null);
    }
    match function {
        F::Greatest | F::Least => {
            let wanted = if function == F::Greatest { Ordering::Greater } else { Ordering::Less };
            let mut best = values[0].clone();
            for value in values.into_iter().skip(1) {
                if value.compare(&best)? == Some(wanted) {
                    best = value;
                }
            }
            best.unified(kind)
        }
        F::Abs | F::Ceil | F::Floor | F::Round | F::Truncate | F::Sign => numeric(function, &values),
        F::Field => field(&values),
        F::Year
        | F::Month
        | F::Day
        | F::Quarter
        | F::DayOfWeek
        | F::Weekday
        | F::DayOfYear
        | F::ToDays
        | F::Date
        | F::LastDay
        | F::DateDiff
        | F::Hour
        | F::Minute
        | F::Second
        | F::Microsecond => temporal(function, &values),
        F::Length | F::Hex if values[0].binary().is_some() => {
            let bytes = values[0].binary().unwrap_or_default();
            Ok(if function == F::Length {
                Datum::Int(i64::try_from(bytes.len()).unwrap_or(i64::MAX))
            } else {
                Datum::literal(hex(bytes))
            })
        }
        F::Hex if matches!(values[0], Datum::Int(_) | Datum::UInt(_)) => match values[0].number()? {
            Some(Number::Int(value)) => {
                let bits = i64::try_from(value).map(|v| v as u64).or_else(|_| u64::try_from(value));
                Ok(Datum::literal(format!("{:X}", bits.map_err(|_| overflow())?)))
            }
            _ => Ok(Datum::Null),
        },
        _ => textual(function, &values),
    }
}

fn numeric(function: Function, values: &[Datum]) -> Result<Datum, Fault> {
    use Function as F;
    let digits = match values.get(1) {
        Some(Datum::Int(digits)) => (*digits).clamp(-66, 30),
        _ => 0,
    };
    let number = values[0].number()?;
    if let (Some(Number::Int(value)), true) = (&number, digits >= 0) {
        return Ok(match function {
            F::Sign => Datum::Int(i64::try_from(value.signum()).unwrap_or(0)),
            F::Abs => {
                // Of the smallest integer there is none.
                if matches!(values[0], Datum::Int(i64::MIN)) {
                    return Err(overflow());
                }
                if matches!(values[0], Datum::UInt(_)) { values[0].clone() } else { Datum::int(value.abs())? }
            }
            _ => values[0].clone(),
        });
    }
    let decimal = match &number {
        Some(Number::Int(value)) => Decimal::from_int(*value),
        Some(Number::Decimal(value)) => value.clone(),
        Some(Number::Double(value)) => {
            return match function {
                F::Abs => Datum::double(value.abs()),
                F::Ceil => Datum::double(value.ceil()),
                F::Floor => Datum::double(value.floor()),
                _ => Ok(Datum::Int(if *value > 0.0 {
                    1
                } else if *value < 0.0 {
                    -1
                } else {
                    0
                })),
            };
        }
        None => return Ok(Datum::Null),
    };
    let integer = |value: Decimal| match value.to_i128().map(Datum::int) {
        Some(Ok(datum)) => datum,
        _ => Datum::Decimal(value),
    };
    Ok(match function {
        F::Abs => Datum::Decimal(if decimal.is_negative() { decimal.neg() } else { decimal }),
        F::Sign => Datum::Int(if decimal.is_zero() {
            0
        } else if decimal.is_negative() {
            -1
        } else {
            1
        }),
        F::Ceil => integer(decimal.neg().floor().neg()),
        F::Floor => integer(decimal.floor()),
        _ if digits < 0 => {
            return Err(Fault::undecided("ROUND and TRUNCATE before the point are not supported"));
        }
        F::Round => Datum::Decimal(decimal.round(u32::try_from(digits).unwrap_or(0))),
        _ => Datum::Decimal(decimal.truncate(u32::try_from(digits).unwrap_or(0))),
    })
}

fn field(values: &[Datum]) -> Result<Datum, Fault> {
    let mut place = 0;
    for (index, value) in values.iter().enumerate().skip(1) {
        if compare(Comparison::Equal, &values[0], value)? == Some(true) {
            place = index;
            break;
        }
    }
    Ok(Datum::Int(i64::try_from(place).unwrap_or(0)))
}

fn temporal(function: Function, values: &[Datum]) -> Result<Datum, Fault> {
    use Function as F;
    if let Datum::Temporal(value) = &values[0]
        && matches!(function, F::Hour | F::Minute | F::Second | F::Microsecond)
    {
        return Ok(Datum::Int(
            match function {
                F::Hour => value.hour,
                F::Minute => value.minute,
                F::Second => value.second,
                _ => value.micros,
            }
            .into(),
        ));
    }
    let Some(date) = as_date_time(&values[0])? else { return Ok(Datum::Null) };
    let whole = |days: Option<i64>| days.map_or(Datum::Null, Datum::Int);
    Ok(match function {
        F::Year => Datum::Int(date.year.into()),
        F::Month => Datum::Int(date.month.into()),
        F::Day => Datum::Int(date.day.into()),
        F::Quarter => Datum::Int((date.month.div_ceil(3)).into()),
        F::Date => Datum::Temporal(date.date()),
        // 1970-01-01 was a Thursday.
        F::DayOfWeek => whole(date.days().map(|days| (days + 4).rem_euclid(7) + 1)),
        F::Weekday => whole(date.days().map(|days| (days + 3).rem_euclid(7))),
        F::DayOfYear => {
            let first = Temporal { month: 1, day: 1, ..date.date() };
            whole(date.days().zip(first.days()).map(|(day, first)| day - first + 1))
        }
        F::ToDays => whole(date.days().map(|days| days + 719_528)),
        F::LastDay if date.month > 0 => {
            Datum::Temporal(Temporal { day: days_in_month(date.year, date.month), ..date.date() })
        }
        F::DateDiff => {
            let Some(other) = as_date_time(&values[1])? else { return Ok(Datum::Null) };
            whole(date.days().zip(other.days()).map(|(a, b)| a - b))
        }
        _ => Datum::Null,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn textual(function: Function, values: &[Datum]) -> Result<Datum, Fault> {
    use Function as F;
    let text = |at: usize| -> Result<(String, Collation), Fault> {
        Ok(values
            .get(at)
            .map_or(Ok(None), Datum::text)?
            .unwrap_or_else(|| (String::new(), Collation::literal())))
    };
    let number = |at: usize| -> Result<i64, Fault> {
        match values.get(at).map_or(Ok(None), Datum::number)? {
            Some(Number::Int(value)) => {
                Ok(i64::try_from(value.clamp(i128::from(i64::MIN), i128::from(i64::MAX))).unwrap_or(0))
            }
            _ => Err(Fault::undecided("a whole number is expected as argument")),
        }
    };
    let count = |length: usize| Datum::Int(i64::try_from(length).unwrap_or(i64::MAX));
    let (first, collation) = if function == F::ConcatWs || function == F::Concat {
        (String::new(), Collation::literal())
    } else {
        text(0)?
    };
    // The server compares the result as all the texts that it is made of, or as the first: where that makes a
    // difference, it is not known here.
    let others: &[usize] = match function {
        F::Replace => &[1, 2],
        F::LPad | F::RPad => &[2],
        F::Trim | F::LTrim | F::RTrim | F::SubstringIndex => &[1],
        _ => &[],
    };
    let mut all = collation;
    for at in others.iter().filter(|at| **at < values.len()) {
        all = joined(all, text(*at)?.1)?;
    }
    let collation = if all == collation { collation } else { Collation::mixed() };
    let made = |text: String| Datum::Text(text, collation);
    Ok(match function {
        F::Concat | F::ConcatWs => {
            let (separator, mut collation) =
                if function == F::ConcatWs { text(0)? } else { (String::new(), text(0)?.1) };
            let mut out = String::new();
            let skip = usize::from(function == F::ConcatWs);
            let mut begun = false;
            for (at, value) in values.iter().enumerate().skip(skip) {
                if value.is_null() {
                    continue;
                }
                if begun {
                    out.push_str(&separator);
                }
                begun = true;
                let (part, its) = text(at)?;
                collation = joined(collation, its)?;
                out.push_str(&part);
                if out.len() > TEXT_MAX {
                    return Err(overflow());
                }
            }
            Datum::Text(out, collation)
        }
        F::Length if first.is_ascii() => count(first.len()),
        // The server counts the bytes of the column's own character set.
        F::Length => {
            return Err(Fault::undecided(
                "LENGTH counts bytes of the column's character set: use CHAR_LENGTH",
            ));
        }
        F::CharLength => count(first.chars().count()),
        F::Upper | F::Lower if !first.is_ascii() => {
            return Err(Fault::undecided("upper and lower case beyond ASCII depend on the collation"));
        }
        F::Upper => made(first.to_ascii_uppercase()),
        F::Lower => made(first.to_ascii_lowercase()),
        F::Trim | F::LTrim | F::RTrim => {
            let what = if values.len() > 1 { text(1)?.0 } else { " ".to_owned() };
            let mut rest = first.as_str();
            if !what.is_empty() {
                if function != F::RTrim {
                    rest = rest.trim_start_matches(what.as_str());
                }
                if function != F::LTrim {
                    rest = rest.trim_end_matches(what.as_str());
                }
            }
            made(rest.to_owned())
        }
        F::Substring => {
            let chars: Vec<char> = first.chars().collect();
            let (start, length) = (number(1)?, if values.len() > 2 { number(2)? } else { i64::MAX });
            let size = i64::try_from(chars.len()).unwrap_or(i64::MAX);
            let from = if start > 0 { start - 1 } else { size.saturating_add(start) };
            if start == 0 || from < 0 || from >= size || length <= 0 {
                return Ok(made(String::new()));
            }
            let skip = usize::try_from(from).unwrap_or(usize::MAX);
            let take = usize::try_from(length).unwrap_or(usize::MAX);
            made(chars.into_iter().skip(skip).take(take).collect())
        }
        F::Left => {
            made(first.chars().take(usize::try_from(number(1)?.max(0)).unwrap_or(usize::MAX)).collect())
        }
        F::Right => {
            let size = first.chars().count();
            let keep = usize::try_from(number(1)?.max(0)).unwrap_or(usize::MAX);
            made(first.chars().skip(size.saturating_sub(keep)).collect())
        }
        F::Replace => {
            let (what, with) = (text(1)?.0, text(2)?.0);
            if what.is_empty() { made(first) } else { made(first.replace(&what, &with)) }
        }
        F::Reverse => made(first.chars().rev().collect()),
        F::Repeat => {
            let times = usize::try_from(number(1)?.max(0)).unwrap_or(usize::MAX);
            if first.len().saturating_mul(times) > TEXT_MAX {
                return Err(overflow());
            }
            made(first.repeat(times))
        }
        F::LPad | F::RPad => {
            let (length, pad) = (number(1)?, text(2)?.0);
            let size = first.chars().count();
            let Ok(wanted) = usize::try_from(length) else { return Ok(Datum::Null) };
            if wanted <= size {
                return Ok(made(first.chars().take(wanted).collect()));
            }
            if pad.is_empty() || wanted > TEXT_MAX {
                return Err(Fault::undecided("a text is padded with nothing, or beyond all bounds"));
            }
            let filling: String = pad.chars().cycle().take(wanted - size).collect();
            made(if function == F::LPad { filling + &first } else { first + &filling })
        }
        F::Locate | F::Instr => {
            let (needle, hay, collation) = if function == F::Locate {
                let (hay, its) = text(1)?;
                (first, hay, joined(collation, its)?)
            } else {
                let (needle, its) = text(1)?;
                (needle, first, joined(collation, its)?)
            };
            let start = if values.len() > 2 { number(2)? } else { 1 };
            if start < 1 {
                return Ok(Datum::Int(0));
            }
            let (hay, needle): (Vec<char>, Vec<char>) = (hay.chars().collect(), needle.chars().collect());
            let mut at = usize::try_from(start - 1).unwrap_or(usize::MAX);
            while at.checked_add(needle.len()).is_some_and(|end| end <= hay.len()) {
                let mut same = true;
                for (a, b) in hay[at..].iter().zip(&needle) {
                    same = same && collation.same_char(*a, *b)?;
                }
                if same {
                    return Ok(count(at + 1));
                }
                at += 1;
            }
            Datum::Int(0)
        }
        F::Ascii if first.is_ascii() => Datum::Int(first.bytes().next().unwrap_or(0).into()),
        F::Ascii => {
            return Err(Fault::undecided("ASCII of other characters depends on the column's character set"));
        }
        F::Hex if first.is_ascii() => Datum::literal(hex(first.as_bytes())),
        F::Hex => {
            return Err(Fault::undecided("HEX of other characters depends on the column's character set"));
        }
        F::FindInSet => {
            let (set, its) = text(1)?;
            let collation = joined(collation, its)?;
            let mut place = 0;
            for (index, item) in set.split(',').enumerate() {
                if !set.is_empty() && collation.compare(item, &first)? == Ordering::Equal {
                    place = index + 1;
                    break;
                }
            }
            count(place)
        }
        F::StrCmp => {
            let (other, its) = text(1)?;
            Datum::Int(match joined(collation, its)?.compare(&first, &other)? {
                Ordering::Less => -1,
                Ordering::Equal => 0,
                Ordering::Greater => 1,
            })
        }
        F::SubstringIndex => {
            let (delimiter, times) = (text(1)?.0, number(2)?);
            if delimiter.is_empty() || times == 0 {
                return Ok(made(String::new()));
            }
            let parts: Vec<&str> = first.split(delimiter.as_str()).collect();
            let keep = usize::try_from(times.unsigned_abs()).unwrap_or(usize::MAX).min(parts.len());
            let kept = if times > 0 { &parts[..keep] } else { &parts[parts.len() - keep..] };
            made(kept.join(&delimiter))
        }
        _ => Datum::Null,
    })
}
