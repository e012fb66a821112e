//! Statements that write the error value of an ENUM (index 0), or rows of a table with generated columns (see
//! [`crate::computed`]): what a strict session may refuse.
//!
//! They are lenient for themselves alone, and every warning they give is looked at: there must be exactly one about an ENUM
//! for each such value, so that nothing else is let through.

macro_rules! lenient {
    ($verb:literal, $tail:literal) => {
        concat!(
            "/*M! SET STATEMENT sql_mode='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES' FOR */ ",
            $verb,
            " /*+ SET_VAR(sql_mode='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES') */ ",
            $tail
        )
    };
}

/// How an INSERT begins. MariaDB sees the first comment, MySQL the second.
pub(crate) const INSERT: &str = lenient!("INSERT", "INTO ");
/// How an UPDATE begins.
pub(crate) const UPDATE: &str = lenient!("UPDATE", "");
