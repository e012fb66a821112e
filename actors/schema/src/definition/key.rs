//! Keys: their definitions, and the names that servers give to those without.

use super::{Definition, Key, KeyKind, KeyPart, same_name};
use crate::definition::column::Reader;
use crate::lex::TokenKind;

/// A key as written.
#[derive(Debug, Clone)]
pub(super) struct RawKey {
    pub name: Option<String>,
    pub kind: KeyKind,
    pub parts: Vec<KeyPart>,
    pub if_not_exists: bool,
}

impl Reader<'_, '_> {
    /// The place is at a word that opens a key or a constraint, not a column.
    pub fn at_key_or_constraint(&self) -> bool {
        let tokens = self.tokens;
        tokens.is_any(
            self.at,
            &["PRIMARY", "UNIQUE", "INDEX", "KEY", "FULLTEXT", "SPATIAL", "FOREIGN", "CHECK", "CONSTRAINT"],
        ) || tokens.is(self.at, "VECTOR") && tokens.is_any(self.at + 1, &["INDEX", "KEY"])
            || tokens.are(self.at, &["PERIOD", "FOR"])
    }

    /// Reads a key or a constraint; the outer `None` says that it is not understood, the inner one that it is no key.
    #[allow(clippy::option_option, reason = "not understood, or not a key")]
    pub fn key_or_constraint(&mut self) -> Option<Option<RawKey>> {
        let mut symbol = None;
        if self.take("CONSTRAINT") {
            self.take_if_exists();
            if !self.tokens.is_any(self.at, &["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]) {
                symbol = Some(self.name()?);
            }
        }
        let kind = if self.take("PRIMARY") {
            self.take("KEY").then_some(KeyKind::Primary)?
        } else if self.take("UNIQUE") {
            self.take_any(&["INDEX", "KEY"]);
            KeyKind::Unique
        } else if self.take_any(&["FULLTEXT", "SPATIAL", "VECTOR"]) {
            self.take_any(&["INDEX", "KEY"]);
            KeyKind::Index
        } else if self.take_any(&["INDEX", "KEY"]) {
            KeyKind::Index
        } else {
            // FOREIGN KEY, CHECK, PERIOD FOR.
            self.skip_item();
            return Some(None);
        };
        let if_not_exists = self.take_if_exists();
        let mut name = None;
        if !self.tokens.punct(self.at, '(') && !self.tokens.is_any(self.at, &["USING", "TYPE"]) {
            name = Some(self.name()?);
        }
        if self.take_any(&["USING", "TYPE"]) {
            self.at += 1;
        }
        let parts = self.key_parts()?;
        self.skip_item();
        let name = match kind {
            KeyKind::Primary => Some("PRIMARY".to_owned()),
            _ => name.or(symbol),
        };
        Some(Some(RawKey { name, kind, parts, if_not_exists }))
    }

    /// `(a, b(10) DESC, (expression))`.
    pub fn key_parts(&mut self) -> Option<Vec<KeyPart>> {
        if !self.take_punct('(') {
            return None;
        }
        let mut parts = Vec::new();
        loop {
            if self.tokens.punct(self.at, '(') {
                self.at = self.tokens.skip_parens(self.at);
                parts.push(KeyPart { column: None, prefix: None });
            } else if self.take("PERIOD") {
                return None;
            } else {
                let column = self.name()?;
                let mut prefix = None;
                if self.tokens.punct(self.at, '(') && self.tokens.is_kind(self.at + 1, TokenKind::Number) {
                    prefix = self.tokens.text(self.at + 1).parse().ok();
                    self.at = self.tokens.skip_parens(self.at);
                } else if self.take("WITHOUT") {
                    // WITHOUT OVERLAPS: rows are equal by more than their values.
                    return None;
                }
                parts.push(KeyPart { column: Some(column), prefix });
            }
            while self.take_any(&["ASC", "DESC"]) {}
            if self.take_punct(',') {
                continue;
            }
            return self.take_punct(')').then_some(parts);
        }
    }
}

impl Definition {
    /// Adds a key as the server does: named, its primary key's columns without NULL.
    pub(super) fn add_key(&mut self, raw: RawKey) {
        let exists = |name: &str| self.keys.iter().any(|key| same_name(&key.name, name));
        if raw.if_not_exists && raw.name.as_deref().is_some_and(exists) {
            return;
        }
        let first = raw.parts.first();
        // A prefix as long as the column is none.
        let parts: Vec<KeyPart> = raw
            .parts
            .iter()
            .map(|part| {
                let column =
                    part.column.as_deref().and_then(|name| self.column(name)).map(|(_, column)| column);
                let whole = |prefix: u32| {
                    column.is_some_and(|column| {
                        let inside = column.type_text.split(['(', ')']).nth(1);
                        !column.type_text.contains("text")
                            && !column.type_text.contains("blob")
                            && inside.and_then(|length| length.parse::<u32>().ok()) == Some(prefix)
                    })
                };
                KeyPart {
                    column: column.map(|column| column.name.clone()).or_else(|| part.column.clone()),
                    prefix: part.prefix.filter(|prefix| !whole(*prefix)),
                }
            })
            .collect();
        let name = raw.name.clone().unwrap_or_else(|| {
            let base = match first.and_then(|part| part.column.clone()) {
                Some(column) => self.column(&column).map_or(column, |(_, column)| column.name.clone()),
                None => "functional_index".to_owned(),
            };
            if !exists(&base) && !base.eq_ignore_ascii_case("PRIMARY") {
                return base;
            }
            (2..).map(|number| format!("{base}_{number}")).find(|name| !exists(name)).unwrap_or(base)
        });
        if raw.kind == KeyKind::Primary {
            self.keys.retain(|key| key.kind != KeyKind::Primary);
            for part in &parts {
                let name = part.column.as_deref().unwrap_or_default();
                if let Some(column) = self.columns.iter_mut().find(|column| same_name(&column.name, name)) {
                    column.nullable = false;
                }
            }
        }
        self.keys.push(Key { name, kind: raw.kind, parts });
    }

    /// Removes a key by name.
    pub(super) fn drop_key(&mut self, name: &str) {
        self.keys.retain(|key| !same_name(&key.name, name));
    }
}
