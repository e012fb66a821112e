//! CREATE TABLE: the definition list and the options behind it.

use super::column::{RawColumn, Reader, charset_of, normal};
use super::key::RawKey;
use super::{Context, Definition};

/// Character set and collation among the options of a table.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    pub charset: Option<String>,
    pub collation: Option<String>,
}

impl Options {
    /// Sets a table's defaults.
    pub fn set(&self, definition: &mut Definition, context: &Context) {
        let named = self.charset.clone().filter(|name| name != "default");
        let charset = named.clone().or_else(|| self.collation.as_deref().and_then(charset_of)).map(normal);
        if let Some(charset) = charset {
            definition.charset = Some(charset);
            definition.collation.clone_from(&self.collation);
        } else if self.charset.is_some() {
            definition.charset.clone_from(&context.charset);
            definition.collation.clone_from(&context.collation);
        } else if self.collation.is_some() {
            definition.collation.clone_from(&self.collation);
        }
    }
}

impl Reader<'_, '_> {
    /// `[DEFAULT] CHARACTER SET [=] x` and `[DEFAULT] COLLATE [=] x`; `false` when something else stands here.
    pub fn table_option(&mut self, options: &mut Options) -> Option<bool> {
        let start = self.at;
        self.take("DEFAULT");
        if self.take_charset() {
            options.charset = Some(self.word()?);
            // The one named last wins.
            options.collation = None;
            return Some(true);
        }
        if self.take("COLLATE") {
            options.collation = Some(self.word()?);
            return Some(true);
        }
        self.at = start;
        Some(false)
    }

    /// From the opening parenthesis on. `None`: not understood.
    pub fn create_table(&mut self) -> Option<Definition> {
        if !self.take_punct('(') {
            return None;
        }
        let (mut columns, mut keys): (Vec<RawColumn>, Vec<RawKey>) = (Vec::new(), Vec::new());
        loop {
            if self.at_key_or_constraint() {
                keys.extend(self.key_or_constraint()?);
            } else {
                let mut column = self.column()?;
                keys.append(&mut column.keys);
                columns.push(column);
            }
            if self.take_punct(',') {
                continue;
            }
            if self.take_punct(')') {
                break;
            }
            return None;
        }
        let mut options = Options::default();
        while !self.ended() {
            if self.tokens.is(self.at, "PARTITION") {
                break;
            }
            if !self.table_option(&mut options)? {
                self.skip_one();
            }
        }
        let mut definition = Definition {
            charset: self.context.charset.clone(),
            collation: self.context.collation.clone(),
            ..Definition::default()
        };
        options.set(&mut definition, self.context);
        for column in &columns {
            let column = column.resolve(&definition, self.context);
            definition.columns.push(column);
        }
        definition.add_keys(keys);
        Some(definition)
    }
}

impl Definition {
    /// Adds the keys of one statement. Those with a name come first: names are given around them.
    pub(super) fn add_keys(&mut self, keys: Vec<RawKey>) {
        let (named, unnamed): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.name.is_some());
        for key in named.into_iter().chain(unnamed) {
            self.add_key(key);
        }
    }
}
