//! Attributes of columns.

use std::ops::Range;

use super::Work;
use super::shape::{Column, outside_parens};

impl Work<'_, '_> {
    pub(super) fn columns(&self) -> Vec<Column> {
        self.shape.columns.clone()
    }

    /// The tokens of a column's type and attributes that stand outside of parentheses.
    pub(super) fn attributes(&self, column: &Column) -> Vec<usize> {
        outside_parens(self.tokens, column.body.clone())
    }

    /// Where one of the attributes stands. A word behind `COMMENT` or the like would be a string, so words are safe.
    pub(super) fn find(&self, attributes: &[usize], word: &str) -> Option<usize> {
        attributes.iter().copied().find(|i| self.tokens.is(*i, word))
    }

    /// The column's name, quoted, for messages.
    pub(super) fn column_name(&self, column: &Column) -> String {
        dmnode_model::quote_ident(&self.tokens.ident(column.name).unwrap_or_default())
    }

    /// `GENERATED ALWAYS AS (…)` or `AS (…)`: the token behind the expression.
    pub(super) fn generated_end(&self, column: &Column) -> Option<usize> {
        let open = |i: &usize| self.tokens.is(*i, "AS") && self.tokens.punct(*i + 1, '(');
        let at = self.attributes(column).into_iter().find(open)?;
        Some(self.tokens.skip_parens(at + 1))
    }

    /// The `[CONSTRAINT [name]] CHECK (…)` clauses among the attributes, with what follows about enforcement.
    pub(super) fn column_checks(&self, column: &Column) -> Vec<Range<usize>> {
        let mut checks = Vec::new();
        for i in self.attributes(column) {
            if !self.tokens.is(i, "CHECK") {
                continue;
            }
            let mut start = i;
            for back in 1..=2 {
                if i.checked_sub(back)
                    .is_some_and(|c| c >= column.body.start && self.tokens.is(c, "CONSTRAINT"))
                {
                    start = i - back;
                    break;
                }
            }
            checks.push(start..self.tokens.skip_parens(i + 1));
        }
        checks
    }
}
