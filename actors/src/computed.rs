//! Warnings about what the target computes by itself: generated columns, and the values of functional indexes.
//!
//! A generated column may be computed from a value that its expression does not fit (text taken as a number, say): a source
//! without strict mode stores what comes out and warns. A strict session of the target would refuse the row. So rows of
//! tables with such columns or indexes are written without strict mode, and every warning is looked at: those of
//! expressions pass, those about a column that is written stop the row as strict mode would have.

use dmnode_mysql::TableInfo;

/// What an expression may warn of: data truncated (1265), out of range (1264), a value of the wrong form (1292, 1366, 1411,
/// and MariaDB's 1916, 1918), too long (1406), division by zero (1365), overflow of a time (1441).
const OF_EXPRESSIONS: [u64; 10] = [1264, 1265, 1292, 1365, 1366, 1406, 1411, 1441, 1916, 1918];

/// The same of a functional index of MySQL, whose hidden column it computes: truncated, out of range, JSON that is no such value or out
/// of range, too long.
const OF_INDEXES: [u64; 5] = [3751, 3752, 3903, 3904, 3907];
/// How MySQL names the hidden column of a functional index.
const HIDDEN: &str = "!hidden!";

/// What a target table computes: its generated columns, and whether an index has an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Computed {
    columns: Vec<String>,
    indexes: bool,
}

impl Computed {
    /// Those of a table.
    pub fn of(info: &TableInfo) -> Self {
        let generated = info.columns.iter().filter(|column| column.generated);
        Self {
            columns: generated.map(|column| column.name.clone()).collect(),
            indexes: info.keys.iter().flat_map(|key| &key.columns).any(|part| part.expression.is_some()),
        }
    }

    /// Whether there are any.
    pub fn any(&self) -> bool {
        self.indexes || !self.columns.is_empty()
    }

    /// Whether a warning is about an expression and not about a value that is written. The servers name the column
    /// whenever a value is stored in it; the operand of an expression has no name.
    pub fn explains(&self, code: u64, text: &str) -> bool {
        if self.indexes && OF_INDEXES.contains(&code) {
            return true;
        }
        if !self.any() || !OF_EXPRESSIONS.contains(&code) {
            return false;
        }
        let Some(at) = text.find("for column ") else { return is_unnamed_operand(code, text) };
        let named = text.get(at..).unwrap_or_default();
        if self.indexes && named.starts_with(&format!("for column '{HIDDEN}")) {
            return true;
        }
        self.columns.iter().any(|name| {
            named.starts_with(&format!("for column '{name}' at row "))
                || named.contains(&format!(".`{name}` at row "))
        })
    }
}

/// Whether a refusal or a warning is about the operand of an expression, not about a value that is written. Those of a CHECK
/// constraint are: the source may have taken the row with a warning (INSERT IGNORE, no strict mode), and the row still has to
/// meet the constraint.
pub fn is_of_operand(code: u64, text: &str) -> bool {
    OF_EXPRESSIONS.contains(&code)
        && match text.find("for column ") {
            Some(at) => text.get(at..).is_some_and(|named| named.starts_with("for column ''")),
            None => is_unnamed_operand(code, text),
        }
}

/// Of the codes above and of no column at all.
fn is_unnamed_operand(code: u64, text: &str) -> bool {
    text.starts_with("Truncated incorrect ") || code == 1365
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_computed_passes() {
        let computed = Computed { columns: vec!["g".to_owned()], indexes: false };
        for (code, text) in [
            (1292, "Truncated incorrect DOUBLE value: 'x'"),
            (1264, "Out of range value for column 'g' at row 3"),
            (1292, "Incorrect datetime value: 'x' for column `a`.`t`.`g` at row 1"),
            (1365, "Division by 0"),
        ] {
            assert!(computed.explains(code, text), "{text}");
            assert!(!Computed::default().explains(code, text), "{text}");
        }
        for (code, text) in [
            (1264, "Out of range value for column 'gg' at row 3"),
            (1265, "Data truncated for column 'a' at row 1"),
            (1292, "Incorrect datetime value: 'x' for column `g`.`t`.`d` at row 1"),
            (1062, "Duplicate entry 'x' for key 'g'"),
            (1300, "Invalid utf8mb4 character string"),
        ] {
            assert!(!computed.explains(code, text), "{text}");
        }
        assert!(is_of_operand(1292, "Truncated incorrect DECIMAL value: 'x'"));
        assert!(is_of_operand(1366, "Incorrect DECIMAL value: 'x' for column '' at row -1"));
        assert!(!is_of_operand(1366, "Incorrect DECIMAL value: 'x' for column 'd' at row 1"));
        assert!(!is_of_operand(4025, "CONSTRAINT `c` failed for `a`.`t`"));
        let indexed = Computed { columns: Vec::new(), indexes: true };
        let text = "Value is out of range for functional index 'f' at row 1";
        assert!(indexed.explains(3752, text) && !computed.explains(3752, text));
        assert!(!indexed.explains(1264, "Out of range value for column 'g' at row 3"));
    }
}
