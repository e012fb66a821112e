//! Statements that write the error value of an ENUM (index 0), or rows of a table with generated columns (see
//! [`crate::computed`]): what a strict session may refuse.
//!
//! They are lenient for themselves alone, and every warning they give is looked at: there must be exactly one about an ENUM
//! for each such value, so that nothing else is let through. It works for prepared statements as well.

/// What a statement does with rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Insert,
    Replace,
    Update,
}

// MariaDB sees the first comment, MySQL the second.
macro_rules! begin {
    ($lenient:expr, $verb:literal, $tail:literal) => {
        if $lenient {
            concat!(
                "/*M! SET STATEMENT sql_mode='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES' FOR */ ",
                $verb,
                " /*+ SET_VAR(sql_mode='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES') */ ",
                $tail
            )
        } else {
            concat!($verb, " ", $tail)
        }
    };
}

/// How the statement begins, up to the name of the table.
pub(crate) fn begin(write: Write, lenient: bool) -> &'static str {
    match write {
        Write::Insert => begin!(lenient, "INSERT", "INTO "),
        Write::Replace => begin!(lenient, "REPLACE", "INTO "),
        Write::Update => begin!(lenient, "UPDATE", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lenient_statement_does_the_same() {
        assert_eq!(begin(Write::Insert, false), "INSERT INTO ");
        assert_eq!(begin(Write::Replace, false), "REPLACE INTO ");
        assert_eq!(begin(Write::Update, false), "UPDATE ");
        for (write, verb) in
            [(Write::Insert, "INSERT"), (Write::Replace, "REPLACE"), (Write::Update, "UPDATE")]
        {
            let text = begin(write, true);
            assert!(
                text.starts_with("/*M! SET STATEMENT") && text.contains(&format!("*/ {verb} /*+ SET_VAR"))
            );
        }
    }
}
