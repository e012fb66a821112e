//! Types that operands and results get from one another.

use super::datum::Datum;
use super::parse::{Arithmetic, Node};
use super::temporal::{Temporal, TemporalKind};
use super::{Fault, Kind};

pub(super) fn arithmetic_kind(operator: Arithmetic, a: Kind, b: Kind) -> Kind {
    use Arithmetic::{Add, Div, Mod, Mul, Sub};
    let scale = |kind: Kind| match kind {
        Kind::Decimal(scale) => scale,
        _ => 0,
    };
    let inexact = |kind: Kind| matches!(kind, Kind::Double | Kind::Text | Kind::Bytes);
    if !matches!(operator, Add | Sub | Mul | Div | Mod) {
        return Kind::Int;
    }
    if inexact(a) || inexact(b) {
        return Kind::Double;
    }
    let decimal = matches!(a, Kind::Decimal(_)) || matches!(b, Kind::Decimal(_));
    match operator {
        Div => Kind::Decimal((scale(a) + 4).min(super::decimal::SCALE_MAX)),
        Mul if decimal => Kind::Decimal((scale(a) + scale(b)).min(super::decimal::SCALE_MAX)),
        _ if decimal => Kind::Decimal(scale(a).max(scale(b))),
        _ => Kind::Int,
    }
}

/// The type that results of branches have together.
pub(super) fn common_kind(kinds: impl Iterator<Item = Kind>) -> Result<Kind, Fault> {
    let mut common = Kind::Null;
    for kind in kinds {
        common = match (common, kind) {
            (Kind::Null, kind) | (kind, Kind::Null) => kind,
            (a, b) if a == b => a,
            (Kind::Member, Kind::Text) | (Kind::Text, Kind::Member) => Kind::Text,
            (Kind::Int, Kind::Decimal(s)) | (Kind::Decimal(s), Kind::Int) => Kind::Decimal(s),
            (Kind::Decimal(a), Kind::Decimal(b)) => Kind::Decimal(a.max(b)),
            (Kind::Double, Kind::Int | Kind::Decimal(_)) | (Kind::Int | Kind::Decimal(_), Kind::Double) => {
                Kind::Double
            }
            (Kind::Text | Kind::Member, Kind::Int | Kind::Decimal(_))
            | (Kind::Int | Kind::Decimal(_), Kind::Text | Kind::Member) => Kind::Text,
            (Kind::Temporal(TemporalKind::Date), Kind::Temporal(TemporalKind::DateTime))
            | (Kind::Temporal(TemporalKind::DateTime), Kind::Temporal(TemporalKind::Date)) => {
                Kind::Temporal(TemporalKind::DateTime)
            }
            _ => {
                return Err(Fault::undecided(
                    "results of different types stand side by side: CAST them to one type",
                ));
            }
        };
    }
    Ok(if common == Kind::Member { Kind::Text } else { common })
}

/// Gives both sides of a comparison types that can be compared: a constant beside a date becomes a date.
pub(super) fn align(a: &mut Node, b: &mut Node) -> Result<(), Fault> {
    for node in [&*a, &*b] {
        if node.kind() == Kind::Opaque {
            return Err(super::datum::opaque());
        }
    }
    match (a.kind(), b.kind()) {
        (Kind::Temporal(x), Kind::Temporal(y)) => {
            let mixed = (x == TemporalKind::Time) != (y == TemporalKind::Time);
            if mixed { Err(Fault::undecided("a time is compared with a date: use CAST")) } else { Ok(()) }
        }
        (Kind::Temporal(kind), _) => to_temporal(kind, b),
        (_, Kind::Temporal(kind)) => to_temporal(kind, a),
        _ => Ok(()),
    }
}

pub(super) fn to_temporal(kind: TemporalKind, node: &mut Node) -> Result<(), Fault> {
    let parsed = match &*node {
        Node::Literal(Datum::Null) => return Ok(()),
        Node::Literal(Datum::Text(text, _)) if kind == TemporalKind::Time => Temporal::parse_time(text),
        Node::Literal(Datum::Text(text, _)) => Temporal::parse_date_time(text),
        Node::Literal(Datum::Int(number)) if kind != TemporalKind::Time => {
            u64::try_from(*number).ok().and_then(Temporal::parse_number)
        }
        _ => {
            return Err(Fault::undecided(
                "a date or time is compared with a value of another type: use CAST",
            ));
        }
    };
    match parsed {
        Some(value) => {
            *node = Node::Literal(Datum::Temporal(value));
            Ok(())
        }
        None => Err(Fault::undecided("a date or time is compared with a constant that is none")),
    }
}
