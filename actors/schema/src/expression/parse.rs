//! The grammar of expressions.

use super::balance::balanced;
use super::collate::Collation;
use super::datum::Datum;
use super::functions::{self, Function};
use super::kinds::{align, arithmetic_kind, common_kind};
use super::temporal::{Temporal, TemporalKind};
use super::{ColumnMeaning, Fault, Kind, literal};
use crate::lex::{SqlMode, TokenKind, Tokens};

/// Longest expression.
const TEXT_MAX: usize = 64 << 10;
/// Deepest nesting.
const DEPTH_MAX: usize = 100;
/// Most operators in rows such as `a + b + c`, all together: each makes the tree deeper. AND and OR are not counted.
const CHAIN_MAX: usize = 300;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    NullSafe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    IntDiv,
    Mod,
    BitAnd,
    BitOr,
    BitXor,
    ShiftLeft,
    ShiftRight,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logic {
    And,
    Or,
    Xor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CastType {
    Signed,
    Unsigned,
    Char(Option<u32>),
    Decimal(u32, u32),
    Double,
    Date,
    DateTime(u8),
}

/// A unit of INTERVAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Months(i64),
    Micros(i64),
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Literal(Datum),
    Column(usize, Kind),
    Not(Box<Node>),
    Negate(Box<Node>),
    BitNot(Box<Node>),
    Logic(Logic, Box<Node>, Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    /// Against NULL, or TRUE and FALSE.
    Is(Box<Node>, Option<bool>),
    Arithmetic(Arithmetic, Box<Node>, Box<Node>),
    Between(Box<Node>, Box<Node>, Box<Node>),
    In(Box<Node>, Vec<Node>),
    Like(Box<Node>, Box<Node>, Option<char>),
    Regexp(Box<Node>, Box<Node>),
    /// Conditions with results, the result otherwise, and the type of all.
    Case(Vec<(Node, Node)>, Option<Box<Node>>, Kind),
    Call(Function, Vec<Node>, Kind),
    Cast(Box<Node>, CastType),
    Collate(Box<Node>, Collation),
    Shift(Box<Node>, Box<Node>, Unit, bool),
}

impl Node {
    pub fn columns(&self, into: &mut Vec<usize>) {
        match self {
            Node::Literal(_) => {}
            Node::Column(index, _) => into.push(*index),
            Node::Not(a) | Node::Negate(a) | Node::BitNot(a) | Node::Is(a, _) | Node::Cast(a, _) => {
                a.columns(into);
            }
            Node::Collate(a, _) => a.columns(into),
            Node::Logic(_, a, b)
            | Node::Compare(_, a, b)
            | Node::Arithmetic(_, a, b)
            | Node::Like(a, b, _)
            | Node::Regexp(a, b)
            | Node::Shift(a, b, ..) => [a, b].into_iter().for_each(|n| n.columns(into)),
            Node::Between(a, b, c) => [a, b, c].into_iter().for_each(|n| n.columns(into)),
            Node::In(a, list) => {
                a.columns(into);
                list.iter().for_each(|n| n.columns(into));
            }
            Node::Case(branches, otherwise, _) => {
                for (condition, result) in branches {
                    condition.columns(into);
                    result.columns(into);
                }
                if let Some(otherwise) = otherwise {
                    otherwise.columns(into);
                }
            }
            Node::Call(_, arguments, _) => arguments.iter().for_each(|n| n.columns(into)),
        }
    }

    pub fn is_boolean(&self) -> bool {
        match self {
            Node::Literal(Datum::Int(0 | 1) | Datum::Null) => true,
            Node::Not(_)
            | Node::Logic(..)
            | Node::Compare(..)
            | Node::Is(..)
            | Node::Between(..)
            | Node::In(..)
            | Node::Like(..)
            | Node::Regexp(..) => true,
            Node::Case(branches, otherwise, _) => {
                branches.iter().all(|(_, result)| result.is_boolean())
                    && otherwise.as_ref().is_none_or(|node| node.is_boolean())
            }
            Node::Call(function, ..) => matches!(function, Function::IsNull),
            _ => false,
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Node::Literal(datum) => match datum {
                Datum::Null => Kind::Null,
                Datum::Int(_) | Datum::UInt(_) => Kind::Int,
                Datum::Decimal(value) => Kind::Decimal(value.scale()),
                Datum::Double(_) => Kind::Double,
                Datum::Text(..) => Kind::Text,
                Datum::Member(..) => Kind::Member,
                Datum::Bytes(_) | Datum::Hex(_) => Kind::Bytes,
                Datum::Temporal(value) => Kind::Temporal(value.kind),
                Datum::Opaque => Kind::Opaque,
            },
            Node::Column(_, kind) | Node::Case(.., kind) | Node::Call(.., kind) => *kind,
            Node::Not(_)
            | Node::Logic(..)
            | Node::Compare(..)
            | Node::Is(..)
            | Node::Between(..)
            | Node::In(..)
            | Node::Like(..)
            | Node::Regexp(..)
            | Node::BitNot(_) => Kind::Int,
            Node::Negate(a) => match a.kind() {
                Kind::Text | Kind::Bytes => Kind::Double,
                Kind::Member | Kind::Temporal(_) => Kind::Int,
                kind => kind,
            },
            Node::Arithmetic(operator, a, b) => arithmetic_kind(*operator, a.kind(), b.kind()),
            Node::Cast(_, cast) => match cast {
                CastType::Signed | CastType::Unsigned => Kind::Int,
                CastType::Char(_) => Kind::Text,
                CastType::Decimal(_, scale) => Kind::Decimal(*scale),
                CastType::Double => Kind::Double,
                CastType::Date => Kind::Temporal(TemporalKind::Date),
                CastType::DateTime(_) => Kind::Temporal(TemporalKind::DateTime),
            },
            Node::Collate(a, _) => a.kind(),
            Node::Shift(a, _, unit, _) => match (a.kind(), unit) {
                (Kind::Temporal(TemporalKind::Date), Unit::Months(_)) => Kind::Temporal(TemporalKind::Date),
                (Kind::Temporal(TemporalKind::Date), Unit::Micros(micros))
                    if micros % 86_400_000_000 == 0 =>
                {
                    Kind::Temporal(TemporalKind::Date)
                }
                _ => Kind::Temporal(TemporalKind::DateTime),
            },
        }
    }
}

pub(super) fn parse(text: &str, columns: &[ColumnMeaning]) -> Result<Node, Fault> {
    if text.len() > TEXT_MAX {
        return Err(Fault::undecided(format!("an expression has at most {TEXT_MAX} bytes")));
    }
    let tokens = Tokens::of(text, SqlMode::default());
    let mut parser = Parser { tokens: &tokens, at: 0, columns, depth: 0, chain: 0 };
    if tokens.unterminated {
        return Err(Fault::undecided("a string, name or comment does not end"));
    }
    let node = parser.expression()?;
    if parser.at < tokens.len() {
        return Err(parser.fault("something follows that is not part of an expression"));
    }
    Ok(node)
}

pub(super) struct Parser<'p, 't> {
    tokens: &'p Tokens<'t>,
    at: usize,
    columns: &'p [ColumnMeaning],
    depth: usize,
    chain: usize,
}

type Parsed = Result<Node, Fault>;

impl Parser<'_, '_> {
    fn fault(&self, reason: impl Into<String>) -> Fault {
        self.fault_at(self.at, reason)
    }

    fn fault_at(&self, token: usize, reason: impl Into<String>) -> Fault {
        let start = self.tokens.span(token).start;
        let at = self.tokens.sql.get(..start).map_or(1, |before| before.chars().count() + 1);
        Fault { reason: reason.into(), at: Some(at) }
    }

    /// Gives a fault without a place that of a token.
    fn placed<T>(&self, token: usize, result: Result<T, Fault>) -> Result<T, Fault> {
        result.map_err(|fault| if fault.at.is_some() { fault } else { self.fault_at(token, fault.reason) })
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.tokens.is(self.at, word);
        self.at += usize::from(found);
        found
    }

    fn take_punct(&mut self, c: char) -> bool {
        let found = self.tokens.punct(self.at, c);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, c: char) -> Result<(), Fault> {
        if self.take_punct(c) { Ok(()) } else { Err(self.fault(format!("`{c}` is expected"))) }
    }

    fn expect_word(&mut self, word: &str) -> Result<(), Fault> {
        if self.take(word) { Ok(()) } else { Err(self.fault(format!("{word} is expected"))) }
    }

    /// An operator of several characters without blanks in between.
    fn take_operator(&mut self, operator: &str) -> bool {
        let count = operator.len();
        for (i, c) in operator.chars().enumerate() {
            let joined =
                i == 0 || self.tokens.span(self.at + i).start == self.tokens.span(self.at + i - 1).end;
            if !self.tokens.punct(self.at + i, c) || !joined {
                return false;
            }
        }
        self.at += count;
        true
    }

    /// One more operator that makes the tree deeper without a parenthesis.
    fn link(&mut self) -> Result<(), Fault> {
        self.chain += 1;
        if self.chain > CHAIN_MAX {
            return Err(self.fault("too many operators follow one another"));
        }
        Ok(())
    }

    fn expression(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.fault("the expression is nested too deeply"));
        }
        let node = self.or();
        self.depth -= 1;
        node
    }

    fn or(&mut self) -> Parsed {
        let mut parts = vec![self.xor()?];
        while self.take("OR") || self.take_operator("||") {
            parts.push(self.xor()?);
        }
        Ok(balanced(Logic::Or, parts))
    }

    fn xor(&mut self) -> Parsed {
        let mut left = self.and()?;
        while self.take("XOR") {
            self.link()?;
            left = Node::Logic(Logic::Xor, left.into(), self.and()?.into());
        }
        Ok(left)
    }

    fn and(&mut self) -> Parsed {
        let mut parts = vec![self.not()?];
        while self.take("AND") || self.take_operator("&&") {
            parts.push(self.not()?);
        }
        Ok(balanced(Logic::And, parts))
    }

    fn not(&mut self) -> Parsed {
        if self.take("NOT") {
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                return Err(self.fault("the expression is nested too deeply"));
            }
            let node = self.not()?;
            self.depth -= 1;
            return Ok(Node::Not(node.into()));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Parsed {
        let mut left = self.predicate()?;
        loop {
            if self.take("IS") {
                self.link()?;
                let not = self.take("NOT");
                let truth = if self.take("NULL") || self.take("UNKNOWN") {
                    None
                } else if self.take("TRUE") {
                    Some(true)
                } else if self.take("FALSE") {
                    Some(false)
                } else {
                    return Err(self.fault("NULL, TRUE, FALSE or UNKNOWN is expected"));
                };
                left = Node::Is(left.into(), truth);
                if not {
                    left = Node::Not(left.into());
                }
                continue;
            }
            let start = self.at;
            let Some(comparison) = self.comparison_operator() else { return Ok(left) };
            self.link()?;
            if self.tokens.is_any(self.at, &["ALL", "ANY", "SOME"]) {
                return Err(self.fault("subqueries cannot be evaluated for one row"));
            }
            let right = self.predicate()?;
            left = self.compare(comparison, left, right, start)?;
        }
    }

    fn comparison_operator(&mut self) -> Option<Comparison> {
        use Comparison::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual, NullSafe};
        [
            ("<=>", NullSafe),
            ("<=", LessEqual),
            (">=", GreaterEqual),
            ("<>", NotEqual),
            ("!=", NotEqual),
            ("<", Less),
            (">", Greater),
            ("=", Equal),
        ]
        .into_iter()
        .find(|(text, _)| {
            let shift = self.tokens.punct(self.at + 1, '<') || self.tokens.punct(self.at + 1, '>');
            !(text.len() == 1 && shift && *text != "=") && self.take_operator(text)
        })
        .map(|(_, comparison)| comparison)
    }

    fn compare(&self, comparison: Comparison, mut a: Node, mut b: Node, at: usize) -> Parsed {
        self.placed(at, align(&mut a, &mut b))?;
        Ok(Node::Compare(comparison, a.into(), b.into()))
    }

    fn predicate(&mut self) -> Parsed {
        let left = self.bits(0)?;
        let start = self.at;
        let not = self.take("NOT");
        let node = if self.take("IN") {
            self.expect('(')?;
            let mut list = Vec::new();
            let mut operand = left;
            loop {
                let item_at = self.at;
                let mut item = self.expression()?;
                self.placed(item_at, align(&mut operand, &mut item))?;
                list.push(item);
                if !self.take_punct(',') {
                    break;
                }
            }
            self.expect(')')?;
            Node::In(operand.into(), list)
        } else if self.take("BETWEEN") {
            let mut operand = left;
            let mut low = self.bits(0)?;
            self.placed(start, align(&mut operand, &mut low))?;
            self.expect_word("AND")?;
            self.link()?;
            let mut high = self.predicate()?;
            self.placed(start, align(&mut operand, &mut high))?;
            Node::Between(operand.into(), low.into(), high.into())
        } else if self.take("LIKE") {
            self.placed(start, as_text(&left))?;
            let pattern = self.simple()?;
            let escape = if self.take("ESCAPE") {
                match self.simple()? {
                    Node::Literal(Datum::Text(text, _)) if text.chars().count() <= 1 => text.chars().next(),
                    _ => return Err(self.fault("ESCAPE takes one character")),
                }
            } else {
                Some('\\')
            };
            Node::Like(left.into(), pattern.into(), escape)
        } else if self.take("REGEXP") || self.take("RLIKE") {
            self.placed(start, as_text(&left))?;
            let pattern_at = self.at;
            let pattern = self.bits(0)?;
            if let Node::Literal(Datum::Text(text, _)) = &pattern {
                let checked = super::like::regexp("", text, Collation::literal()).map(|_| ());
                self.placed(pattern_at, checked)?;
            }
            Node::Regexp(left.into(), pattern.into())
        } else if not {
            return Err(self.fault("IN, BETWEEN, LIKE or REGEXP is expected"));
        } else {
            return Ok(left);
        };
        Ok(if not { Node::Not(node.into()) } else { node })
    }

    /// Arithmetic, by precedence.
    fn bits(&mut self, least: u8) -> Parsed {
        let mut left = self.simple()?;
        loop {
            let start = self.at;
            let Some((operator, precedence)) = self.arithmetic_operator() else { return Ok(left) };
            if precedence < least {
                self.at = start;
                return Ok(left);
            }
            self.link()?;
            if matches!(operator, Arithmetic::Add | Arithmetic::Sub) && self.tokens.is(self.at, "INTERVAL") {
                let (amount, unit) = self.interval()?;
                left = self.shift(left, amount, unit, operator == Arithmetic::Sub, start)?;
                continue;
            }
            let right = self.bits(precedence + 1)?;
            for node in [&left, &right] {
                if node.kind() == Kind::Opaque {
                    return Err(self.fault_at(start, super::datum::opaque().reason));
                }
            }
            if precedence <= 3 || precedence == 6 {
                for node in [&left, &right] {
                    if matches!(node.kind(), Kind::Bytes) && !matches!(node, Node::Literal(_)) {
                        return Err(self.fault_at(start, "bits of a binary string cannot be combined here"));
                    }
                }
            }
            left = Node::Arithmetic(operator, left.into(), right.into());
        }
    }

    fn arithmetic_operator(&mut self) -> Option<(Arithmetic, u8)> {
        use Arithmetic::{Add, BitAnd, BitOr, BitXor, Div, IntDiv, Mod, Mul, ShiftLeft, ShiftRight, Sub};
        if self.tokens.punct(self.at, '|') && self.tokens.punct(self.at + 1, '|')
            || self.tokens.punct(self.at, '&') && self.tokens.punct(self.at + 1, '&')
        {
            return None;
        }
        if self.take_operator("<<") {
            return Some((ShiftLeft, 3));
        }
        if self.take_operator(">>") {
            return Some((ShiftRight, 3));
        }
        for (c, operator, precedence) in [
            ('|', BitOr, 1),
            ('&', BitAnd, 2),
            ('+', Add, 4),
            ('-', Sub, 4),
            ('*', Mul, 5),
            ('/', Div, 5),
            ('%', Mod, 5),
            ('^', BitXor, 6),
        ] {
            if self.take_punct(c) {
                return Some((operator, precedence));
            }
        }
        if self.take("DIV") {
            return Some((IntDiv, 5));
        }
        self.take("MOD").then_some((Mod, 5))
    }

    /// `INTERVAL n unit`.
    fn interval(&mut self) -> Result<(Node, Unit), Fault> {
        self.expect_word("INTERVAL")?;
        let amount = self.expression()?;
        let unit_at = self.at;
        let word = self.tokens.text(self.at).to_ascii_uppercase();
        self.at += 1;
        let unit = match word.as_str() {
            "YEAR" => Unit::Months(12),
            "QUARTER" => Unit::Months(3),
            "MONTH" => Unit::Months(1),
            "WEEK" => Unit::Micros(7 * 86_400_000_000),
            "DAY" => Unit::Micros(86_400_000_000),
            "HOUR" => Unit::Micros(3_600_000_000),
            "MINUTE" => Unit::Micros(60_000_000),
            "SECOND" => Unit::Micros(1_000_000),
            "MICROSECOND" => Unit::Micros(1),
            _ => return Err(self.fault_at(unit_at, format!("the unit {word} is not supported"))),
        };
        if amount.kind() != Kind::Int {
            return Err(self.fault_at(unit_at, "the amount of an INTERVAL must be a whole number"));
        }
        Ok((amount, unit))
    }

    fn shift(&self, mut date: Node, amount: Node, unit: Unit, minus: bool, at: usize) -> Parsed {
        if let Node::Literal(Datum::Text(text, _)) = &date {
            let parsed = Temporal::parse_date_time(text);
            date =
                Node::Literal(Datum::Temporal(parsed.ok_or_else(|| self.fault_at(at, "this is no date"))?));
        }
        if !matches!(date.kind(), Kind::Temporal(TemporalKind::Date | TemporalKind::DateTime) | Kind::Null) {
            return Err(self.fault_at(at, "an INTERVAL is added to something that is no date: use CAST"));
        }
        Ok(Node::Shift(date.into(), amount.into(), unit, minus))
    }

    fn simple(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.fault("the expression is nested too deeply"));
        }
        let mut node = self.primary()?;
        while self.take("COLLATE") {
            self.link()?;
            let name = self.tokens.ident(self.at).unwrap_or_default().into_owned();
            let at = self.at;
            self.at += 1;
            if !matches!(node.kind(), Kind::Text | Kind::Member) {
                return Err(self.fault_at(at, "COLLATE stands behind something that is no text"));
            }
            node = Node::Collate(node.into(), Collation::explicit(&name));
        }
        self.depth -= 1;
        Ok(node)
    }

    fn primary(&mut self) -> Parsed {
        let at = self.at;
        let text = self.tokens.text(at);
        if self.take_punct('(') {
            if self.tokens.is_any(self.at, &["SELECT", "WITH", "VALUES", "TABLE"]) {
                return Err(self.fault("subqueries cannot be evaluated for one row"));
            }
            let node = self.expression()?;
            if self.tokens.punct(self.at, ',') {
                return Err(self.fault("rows of several values are not supported"));
            }
            self.expect(')')?;
            return Ok(node);
        }
        if self.take_punct('-') {
            return Ok(match self.simple()? {
                Node::Literal(Datum::Int(value)) => {
                    let negated = value.checked_neg().ok_or_else(super::datum::overflow);
                    Node::Literal(Datum::Int(self.placed(at, negated)?))
                }
                Node::Literal(Datum::UInt(value)) if value == 1 << 63 => Node::Literal(Datum::Int(i64::MIN)),
                Node::Literal(Datum::Decimal(value)) => Node::Literal(Datum::Decimal(value.neg())),
                Node::Literal(Datum::Double(value)) => Node::Literal(Datum::Double(-value)),
                node if node.kind() == Kind::Opaque => {
                    return Err(self.fault_at(at, super::datum::opaque().reason));
                }
                node => Node::Negate(node.into()),
            });
        }
        if self.take_punct('+') {
            return self.simple();
        }
        if self.take_punct('~') {
            return Ok(Node::BitNot(self.simple()?.into()));
        }
        if self.take_punct('!') {
            return Ok(Node::Not(self.simple()?.into()));
        }
        let unreadable = || self.fault_at(at, "this literal cannot be read");
        match self.tokens.list.get(at).map(|token| token.kind) {
            None => Err(self.fault("the expression ends where something is expected")),
            Some(TokenKind::Number) => {
                let node = Node::Literal(literal::number(text).ok_or_else(unreadable)?);
                self.at += 1;
                Ok(node)
            }
            Some(TokenKind::Text) => self.string(),
            Some(TokenKind::Variable) => Err(self.fault("variables have no value here")),
            Some(TokenKind::QuotedIdent) => self.column(),
            Some(TokenKind::Word) => self.word(text),
            _ => Err(self.fault(format!("`{text}` is not expected here"))),
        }
    }

    /// A string; strings side by side are one.
    fn string(&mut self) -> Parsed {
        let unreadable = |parser: &Self| parser.fault("this literal cannot be read");
        let mut datum = literal::string(self.tokens.text(self.at)).ok_or_else(|| unreadable(self))?;
        self.at += 1;
        while let Datum::Text(text, _) = &mut datum
            && self.tokens.is_kind(self.at, TokenKind::Text)
            && let Some(Datum::Text(more, _)) = literal::string(self.tokens.text(self.at))
        {
            text.push_str(&more);
            self.at += 1;
        }
        Ok(Node::Literal(datum))
    }

    fn column(&mut self) -> Parsed {
        let at = self.at;
        let mut name = self.tokens.ident(self.at).unwrap_or_default().into_owned();
        self.at += 1;
        while self.take_punct('.') {
            name = self.tokens.ident(self.at).unwrap_or_default().into_owned();
            self.at += 1;
        }
        let lower = name.to_lowercase();
        let found = self.columns.iter().position(|column| column.name.to_lowercase() == lower);
        match found {
            Some(index) => Ok(Node::Column(index, self.columns[index].kind)),
            None => Err(self.fault_at(at, format!("the table has no column `{name}`"))),
        }
    }

    fn word(&mut self, text: &str) -> Parsed {
        let at = self.at;
        let upper = text.to_ascii_uppercase();
        let next_is_text = self.tokens.is_kind(at + 1, TokenKind::Text);
        match upper.as_str() {
            "NULL" => return self.constant(Datum::Null),
            "TRUE" => return self.constant(Datum::Int(1)),
            "FALSE" => return self.constant(Datum::Int(0)),
            "CASE" => return self.case(),
            "EXISTS" | "SELECT" => return Err(self.fault("subqueries cannot be evaluated for one row")),
            "BINARY" => return Err(self.fault("write COLLATE …_bin instead of BINARY")),
            "INTERVAL" => {
                let (amount, unit) = self.interval()?;
                let plus_at = self.at;
                self.expect('+')?;
                let date = self.simple()?;
                return self.shift(date, amount, unit, false, plus_at);
            }
            "DATE" | "TIMESTAMP" | "TIME" if next_is_text => {
                self.at += 1;
                let Node::Literal(Datum::Text(text, _)) = self.string()? else {
                    return Err(self.fault_at(at, "this literal cannot be read"));
                };
                let parsed = match upper.as_str() {
                    "TIME" => Temporal::parse_time(&text),
                    "DATE" => Temporal::parse_date_time(&text).filter(|t| t.kind == TemporalKind::Date),
                    _ => Temporal::parse_date_time(&text)
                        .map(|value| Temporal { kind: TemporalKind::DateTime, ..value }),
                };
                let parsed = parsed.ok_or_else(|| self.fault_at(at, "this is no date or time"))?;
                return Ok(Node::Literal(Datum::Temporal(parsed)));
            }
            "_UTF8MB4" | "_UTF8" | "_UTF8MB3" | "_ASCII" if next_is_text => {
                self.at += 1;
                return self.string();
            }
            _ => {}
        }
        if self.tokens.punct(at + 1, '(') {
            self.at += 2;
            return self.call(&upper, at);
        }
        if matches!(upper.as_str(), "CURRENT_TIMESTAMP" | "LOCALTIME" | "LOCALTIMESTAMP") {
            self.at += 1;
            return Ok(Node::Call(Function::Now, Vec::new(), Kind::Temporal(TemporalKind::DateTime)));
        }
        if upper == "CURRENT_DATE" {
            self.at += 1;
            return Ok(Node::Call(Function::CurDate, Vec::new(), Kind::Temporal(TemporalKind::Date)));
        }
        self.column()
    }

    fn constant(&mut self, datum: Datum) -> Parsed {
        self.at += 1;
        Ok(Node::Literal(datum))
    }

    fn case(&mut self) -> Parsed {
        let start = self.at;
        self.at += 1;
        let operand = if self.tokens.is(self.at, "WHEN") { None } else { Some(self.expression()?) };
        let mut branches = Vec::new();
        while self.take("WHEN") {
            let condition_at = self.at;
            let mut condition = self.expression()?;
            if let Some(operand) = &operand {
                condition = self.compare(Comparison::Equal, operand.clone(), condition, condition_at)?;
            }
            self.expect_word("THEN")?;
            branches.push((condition, self.expression()?));
        }
        let otherwise = if self.take("ELSE") { Some(Box::new(self.expression()?)) } else { None };
        self.expect_word("END")?;
        if branches.is_empty() {
            return Err(self.fault_at(start, "CASE without WHEN"));
        }
        let kinds = branches.iter().map(|(_, result)| result.kind());
        let kind = common_kind(kinds.chain(otherwise.as_ref().map(|node| node.kind())));
        Ok(Node::Case(branches, otherwise, self.placed(start, kind)?))
    }

    /// A function; its `(` has been read.
    fn call(&mut self, name: &str, at: usize) -> Parsed {
        match name {
            "CAST" => {
                let value = self.expression()?;
                self.expect_word("AS")?;
                return self.cast(value, at);
            }
            "CONVERT" => {
                let value = self.expression()?;
                if self.take("USING") {
                    return Err(self.fault("CONVERT … USING is not supported"));
                }
                self.expect(',')?;
                return self.cast(value, at);
            }
            "DATE_ADD" | "DATE_SUB" | "ADDDATE" | "SUBDATE" => {
                let date = self.expression()?;
                self.expect(',')?;
                let (amount, unit) = if self.tokens.is(self.at, "INTERVAL") {
                    self.interval()?
                } else if matches!(name, "ADDDATE" | "SUBDATE") {
                    (self.expression()?, Unit::Micros(86_400_000_000))
                } else {
                    return Err(self.fault("INTERVAL is expected"));
                };
                self.expect(')')?;
                return self.shift(date, amount, unit, name.contains("SUB"), at);
            }
            "EXTRACT" => {
                let unit = self.tokens.text(self.at).to_ascii_uppercase();
                self.at += 1;
                self.expect_word("FROM")?;
                let value = self.expression()?;
                self.expect(')')?;
                return self.placed(at, functions::build(&unit, vec![value]));
            }
            "TRIM" => return self.trim(at),
            "POSITION" => {
                let needle = self.bits(0)?;
                self.expect_word("IN")?;
                let text = self.expression()?;
                self.expect(')')?;
                return self.placed(at, functions::build("LOCATE", vec![needle, text]));
            }
            _ => {}
        }
        let mut arguments = Vec::new();
        if !self.take_punct(')') {
            loop {
                arguments.push(self.expression()?);
                let substring = matches!(name, "SUBSTRING" | "SUBSTR" | "MID");
                let more = self.take_punct(',')
                    || substring
                        && (arguments.len() == 1 && self.take("FROM")
                            || arguments.len() == 2 && self.take("FOR"));
                if !more {
                    break;
                }
            }
            self.expect(')')?;
        }
        self.placed(at, functions::build(name, arguments))
    }

    fn trim(&mut self, at: usize) -> Parsed {
        let side = if self.take("LEADING") {
            "LTRIM"
        } else if self.take("TRAILING") {
            "RTRIM"
        } else {
            self.take("BOTH");
            "TRIM"
        };
        let mut arguments = Vec::new();
        if !self.take("FROM") {
            arguments.push(self.expression()?);
            if self.take("FROM") {
                arguments.insert(0, self.expression()?);
            }
        } else {
            arguments.push(self.expression()?);
        }
        self.expect(')')?;
        self.placed(at, functions::build_trim(side, arguments))
    }

    fn cast(&mut self, value: Node, at: usize) -> Parsed {
        let word = self.tokens.text(self.at).to_ascii_uppercase();
        let word_at = self.at;
        self.at += 1;
        let mut lengths = Vec::new();
        if self.take_punct('(') {
            loop {
                let number: Option<u32> = self.tokens.text(self.at).parse().ok();
                lengths.push(number.ok_or_else(|| self.fault("a length is expected"))?);
                self.at += 1;
                if !self.take_punct(',') {
                    break;
                }
            }
            self.expect(')')?;
        }
        let cast = match word.as_str() {
            "SIGNED" => CastType::Signed,
            "UNSIGNED" => CastType::Unsigned,
            "CHAR" => CastType::Char(lengths.first().copied()),
            "DECIMAL" => {
                let precision = lengths.first().copied().unwrap_or(10);
                let scale = lengths.get(1).copied().unwrap_or(0);
                if precision > super::decimal::DIGITS_MAX
                    || scale > super::decimal::SCALE_MAX
                    || scale > precision
                {
                    return Err(self
                        .fault_at(word_at, "a DECIMAL has at most 65 digits, 30 of them behind the point"));
                }
                CastType::Decimal(precision, scale)
            }
            "DOUBLE" => CastType::Double,
            "DATE" => CastType::Date,
            "DATETIME" => CastType::DateTime(
                lengths.first().copied().and_then(|n| u8::try_from(n).ok()).unwrap_or(0).min(6),
            ),
            _ => return Err(self.fault_at(word_at, format!("CAST to {word} is not supported"))),
        };
        if matches!(cast, CastType::Signed | CastType::Unsigned) {
            self.take("INTEGER");
            self.take("INT");
        }
        self.expect(')')?;
        if matches!(value.kind(), Kind::Opaque) {
            return Err(self.fault_at(at, super::datum::opaque().reason));
        }
        if matches!(cast, CastType::Char(_)) {
            self.placed(at, as_text(&value))?;
        }
        let exact = !matches!(value.kind(), Kind::Double);
        if matches!(cast, CastType::Signed | CastType::Unsigned | CastType::Decimal(..)) && !exact {
            return Err(self.fault_at(at, "how a floating-point number is rounded depends on the server"));
        }
        Ok(Node::Cast(value.into(), cast))
    }
}

/// The value is used as text.
pub(super) fn as_text(node: &Node) -> Result<(), Fault> {
    match node.kind() {
        Kind::Double => Err(Fault::undecided(
            "how the server writes a floating-point number as text is not known here: CAST it to DECIMAL",
        )),
        Kind::Bytes => Err(Fault::undecided("a binary string is used as text")),
        Kind::Opaque => Err(super::datum::opaque()),
        _ => Ok(()),
    }
}
