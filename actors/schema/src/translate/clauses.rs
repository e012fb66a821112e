//! Clauses of whole statements: options of tables and databases, how an ALTER is to be executed.

use std::ops::Range;

use super::Work;
use super::shape::{PartKind, outside_parens};
use crate::lex::TokenKind;

impl Work<'_, '_> {
    /// `ALGORITHM=… LOCK=…` say how the source executed the statement. The other flavour knows other ways, and
    /// refuses a statement that asks for one it cannot go.
    pub(super) fn drop_algorithm_and_lock(&mut self) {
        if self.is_index_statement() {
            let outside = outside_parens(self.tokens, 0..self.tokens.len());
            // Behind `ON table`, so that an index called `lock` or `algorithm` stays.
            let after_table = self.statement.tables.first().map_or(0, |t| t.span.end);
            for i in outside {
                if self.tokens.span(i).start >= after_table && self.tokens.is_any(i, &["ALGORITHM", "LOCK"]) {
                    self.delete(i..self.value_end(i));
                }
            }
            return;
        }
        for range in self.option_ranges() {
            if self.tokens.is_any(range.start, &["ALGORITHM", "LOCK"])
                && self.value_end(range.start) == range.end
            {
                self.delete_from_list(range);
            }
        }
    }

    pub(super) fn option_ranges(&self) -> Vec<Range<usize>> {
        self.shape.parts.iter().filter(|p| p.kind == PartKind::Options).map(|p| p.tokens.clone()).collect()
    }

    /// Behind the value of the option whose name ends at `name`: `name value`, `name = value`.
    pub(super) fn value_end(&self, name: usize) -> usize {
        let value = name + 1 + usize::from(self.tokens.punct(name + 1, '='));
        (value + 1).min(self.tokens.len())
    }

    /// Token `i` is this word, quoted or not: engines' own options are often printed in backticks.
    pub(super) fn is_option(&self, i: usize, words: &[&str]) -> bool {
        let named = self.tokens.is_kind(i, TokenKind::Word) || self.tokens.is_kind(i, TokenKind::QuotedIdent);
        named && self.tokens.ident(i).is_some_and(|name| words.iter().any(|w| name.eq_ignore_ascii_case(w)))
    }

    /// Takes out the options with these names, and says so.
    pub(super) fn drop_options(&mut self, names: &[&str]) {
        for range in self.option_ranges() {
            for i in outside_parens(self.tokens, range.clone()) {
                // A name, not the value of the option before it.
                if self.is_option(i, names) && !self.tokens.punct(i.wrapping_sub(1), '=') {
                    let option = self.tokens.ident(i).unwrap_or_default().to_ascii_uppercase();
                    let start = if self.tokens.is(i.wrapping_sub(1), "DEFAULT") { i - 1 } else { i };
                    let end = self.value_end(i);
                    if start == range.start && end == range.end {
                        self.delete_from_list(start..end);
                    } else {
                        self.delete(start..end);
                    }
                    self.note(format!("option {option} is left out"));
                }
            }
        }
    }

    /// `a, b` as the text of an index or of the statement's own object, for messages.
    pub(super) fn text_of(&self, range: Range<usize>) -> String {
        let Some(last) = range.end.checked_sub(1) else { return String::new() };
        let span = self.tokens.span(range.start).start..self.tokens.span(last).end;
        self.tokens.sql.get(span).unwrap_or("").to_owned()
    }

    /// Parts of one kind, as ranges of tokens.
    pub(super) fn parts_of(&self, kind: PartKind) -> Vec<Range<usize>> {
        self.shape.parts.iter().filter(|p| p.kind == kind).map(|p| p.tokens.clone()).collect()
    }
}
