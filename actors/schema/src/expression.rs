//! SQL expressions over one row, with MySQL's meaning.
//!
//! An expression is compiled against the columns of a table and then asked about rows. What is not certain to have the
//! server's answer is refused when it is compiled (with its place in the text), or, where only the values show it, when
//! it is evaluated: a wrong answer would lose or duplicate a row.

mod balance;
mod collate;
mod datum;
#[allow(missing_docs, reason = "arithmetic under its usual names")]
mod decimal;
mod evaluate;
mod functions;
mod kinds;
mod like;
mod literal;
mod parse;
#[allow(missing_docs, reason = "the parts of a date under their usual names")]
mod temporal;

use std::fmt;

pub use collate::Collation;
pub use datum::Datum;
pub use decimal::Decimal;
pub use temporal::{Temporal, TemporalKind};

use evaluate::Environment;
use parse::Node;

/// Why an expression cannot be compiled or evaluated. Never holds a value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The reason.
    pub reason: String,
    /// The character of the text, from one, where it is known.
    pub at: Option<usize>,
}

impl Fault {
    pub(crate) fn undecided(reason: impl Into<String>) -> Fault {
        Fault { reason: reason.into(), at: None }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{}, at character {at}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// What an expression may know of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnMeaning {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Kind,
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// NULL.
    Null,
    /// Any signed or unsigned integer, YEAR, BIT.
    Int,
    /// DECIMAL with so many digits behind the point.
    Decimal(u32),
    /// FLOAT and DOUBLE.
    Double,
    /// Text.
    Text,
    /// ENUM and SET: text, and a number.
    Member,
    /// Binary strings.
    Bytes,
    /// DATE, DATETIME, TIMESTAMP, TIME.
    Temporal(TemporalKind),
    /// Types that can only be compared with NULL here: JSON, geometry and the like.
    Opaque,
}

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Expression {
    root: Node,
    columns: Vec<usize>,
    boolean: bool,
}

impl Expression {
    /// Compiles `text` for a table with these columns.
    pub fn compile(text: &str, columns: &[ColumnMeaning]) -> Result<Expression, Fault> {
        let root = parse::parse(text, columns)?;
        let mut used = Vec::new();
        root.columns(&mut used);
        used.sort_unstable();
        used.dedup();
        let boolean = root.is_boolean();
        Ok(Expression { root, columns: used, boolean })
    }

    /// The columns it looks at, by their place.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// It answers nothing but 0, 1 and NULL.
    pub fn is_boolean(&self) -> bool {
        self.boolean
    }

    /// The value for a row. `now` is what NOW() answers.
    pub fn evaluate(&self, row: &dyn Fn(usize) -> Datum, now: Option<Temporal>) -> Result<Datum, Fault> {
        Environment { row, now }.evaluate(&self.root)
    }

    /// Whether a WHERE with it would take the row; None for NULL.
    pub fn truth(&self, row: &dyn Fn(usize) -> Datum, now: Option<Temporal>) -> Result<Option<bool>, Fault> {
        self.evaluate(row, now)?.truth()
    }
}

#[cfg(test)]
mod tests;
