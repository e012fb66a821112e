//! ALTER TABLE: its actions, and what the server makes of all of them together.
//!
//! The order is the server's (`mysql_prepare_alter_table`): first the existing columns, each dropped, changed or kept;
//! a changed column without FIRST or AFTER stays where it was; then the moved and the new ones in the order of the
//! statement; then the keys, whose parts follow their columns' names.

use super::column::{Place, RawColumn, Reader};
use super::create::Options;
use super::data_type::{converted, has_charset};
use super::key::RawKey;
use super::{Column, Context, Definition, KeyKind, same_name};

/// The actions of one statement.
#[derive(Debug, Default)]
pub(super) struct Actions {
    /// New columns, and changed ones with their old name.
    columns: Vec<(Option<String>, RawColumn, bool)>,
    renamed_columns: Vec<(String, String)>,
    dropped_columns: Vec<String>,
    visible: Vec<(String, bool)>,
    keys: Vec<RawKey>,
    dropped_keys: Vec<String>,
    renamed_keys: Vec<(String, String)>,
    options: Options,
    convert: Option<Options>,
}

impl Reader<'_, '_> {
    /// From behind the table's name on. `None`: not understood.
    pub fn alter_table(&mut self) -> Option<Actions> {
        let mut actions = Actions::default();
        if self.take("WAIT") {
            self.at += 1;
        } else {
            self.take("NOWAIT");
        }
        while !self.ended() {
            if self.tokens.are(self.at, &["PARTITION", "BY"]) {
                break;
            }
            self.action(&mut actions)?;
            // Options of a table need no comma between them.
            if !self.take_punct(',') && self.tokens.punct(self.at, ')') {
                return None;
            }
        }
        Some(actions)
    }

    fn action(&mut self, actions: &mut Actions) -> Option<()> {
        let tokens = self.tokens;
        if self.take("ADD") {
            return self.add(actions);
        }
        if self.take("DROP") {
            return self.drop(actions);
        }
        if self.take("CHANGE") {
            self.take("COLUMN");
            self.take_if_exists();
            let old = self.name()?;
            let column = self.column()?;
            actions.changed(Some(old), column, false);
            return Some(());
        }
        if self.take("MODIFY") {
            self.take("COLUMN");
            self.take_if_exists();
            let column = self.column()?;
            actions.changed(Some(column.name.clone()), column, false);
            return Some(());
        }
        if self.take("ALTER") {
            if self.tokens.is_any(self.at, &["INDEX", "KEY", "CHECK", "CONSTRAINT"]) {
                self.skip_item();
                return Some(());
            }
            self.take("COLUMN");
            self.take_if_exists();
            let name = self.name()?;
            if self.take("SET") && self.tokens.is_any(self.at, &["VISIBLE", "INVISIBLE"]) {
                actions.visible.push((name, self.tokens.is(self.at, "VISIBLE")));
            }
            self.skip_item();
            return Some(());
        }
        if self.take("CONVERT") {
            if !self.take("TO") {
                // CONVERT PARTITION … TO TABLE, CONVERT TABLE … TO PARTITION.
                return None;
            }
            let mut options = Options::default();
            while !self.at_item_end() && self.table_option(&mut options)? {}
            actions.convert = Some(options);
            return Some(());
        }
        if self.take("RENAME") {
            if self.take("COLUMN") {
                self.take_if_exists();
                let old = self.name()?;
                let new = self.take("TO").then(|| self.name())??;
                actions.renamed_columns.push((old, new));
            } else if self.take_any(&["INDEX", "KEY"]) {
                self.take_if_exists();
                let old = self.name()?;
                let new = self.take("TO").then(|| self.name())??;
                actions.renamed_keys.push((old, new));
            } else {
                // The table itself: the caller knows the names.
                self.skip_item();
            }
            return Some(());
        }
        if tokens.is(self.at, "ORDER") {
            // ORDER BY a, b: the commas are its own.
            while !self.ended() {
                self.at += 1;
            }
            return Some(());
        }
        if self.table_option(&mut actions.options)? {
            return Some(());
        }
        if self.at_item_end() {
            return Some(());
        }
        // Options and everything else that leaves columns and keys as they are. One token at a time: a character
        // set may stand among them.
        if tokens.is_any(
            self.at,
            &[
                "EXCHANGE",
                "REORGANIZE",
                "COALESCE",
                "TRUNCATE",
                "ANALYZE",
                "REBUILD",
                "REPAIR",
                "OPTIMIZE",
                "CHECK",
            ],
        ) {
            while !self.ended() {
                self.skip_one();
            }
            return Some(());
        }
        self.skip_one();
        while !self.at_item_end() {
            if self.table_option(&mut actions.options)? {
                continue;
            }
            self.skip_one();
        }
        Some(())
    }

    fn add(&mut self, actions: &mut Actions) -> Option<()> {
        if self.tokens.is(self.at, "PARTITION") {
            while !self.ended() {
                self.skip_one();
            }
            return Some(());
        }
        if self.tokens.are(self.at, &["SYSTEM", "VERSIONING"]) {
            self.skip_item();
            return Some(());
        }
        if self.at_key_or_constraint() {
            actions.keys.extend(self.key_or_constraint()?);
            return Some(());
        }
        self.take("COLUMN");
        let if_not_exists = self.take_if_exists();
        if self.take_punct('(') {
            loop {
                if self.at_key_or_constraint() {
                    actions.keys.extend(self.key_or_constraint()?);
                } else {
                    let column = self.column()?;
                    actions.changed(None, column, if_not_exists);
                }
                if self.take_punct(',') {
                    continue;
                }
                return self.take_punct(')').then_some(());
            }
        }
        let column = self.column()?;
        actions.changed(None, column, if_not_exists);
        Some(())
    }

    fn drop(&mut self, actions: &mut Actions) -> Option<()> {
        if self.take("PRIMARY") {
            actions.dropped_keys.push("PRIMARY".to_owned());
        } else if self.take_any(&["INDEX", "KEY"]) {
            self.take_if_exists();
            actions.dropped_keys.push(self.name()?);
        } else if self.take("CONSTRAINT") {
            // Of whatever kind: a foreign key or a check of this name is no key of ours.
            self.take_if_exists();
            actions.dropped_keys.push(self.name()?);
        } else if self.tokens.is(self.at, "PARTITION") {
            while !self.ended() {
                self.skip_one();
            }
            return Some(());
        } else if self.tokens.is_any(self.at, &["FOREIGN", "CHECK"])
            || self.tokens.are(self.at, &["PERIOD", "FOR"])
            || self.tokens.are(self.at, &["SYSTEM", "VERSIONING"])
        {
            self.skip_item();
            return Some(());
        } else {
            self.take("COLUMN");
            self.take_if_exists();
            actions.dropped_columns.push(self.name()?);
        }
        self.skip_item();
        Some(())
    }
}

impl Actions {
    fn changed(&mut self, old: Option<String>, mut column: RawColumn, if_not_exists: bool) {
        self.keys.append(&mut column.keys);
        self.columns.push((old, column, if_not_exists));
    }

    /// The table after the statement. `None`: it does not go together with the table as it is known.
    pub fn apply(self, before: &Definition, context: &Context) -> Option<Definition> {
        let mut after = Definition { columns: Vec::new(), ..before.clone() };
        self.options.set(&mut after, context);
        if let Some(convert) = &self.convert {
            convert.set(&mut after, context);
        }
        let mut rest: Vec<Option<&(Option<String>, RawColumn, bool)>> =
            self.columns.iter().map(Some).collect();
        // Old and new name of every column that stays.
        let mut names: Vec<(String, String)> = Vec::new();
        for column in &before.columns {
            if self.dropped_columns.iter().any(|name| same_name(name, &column.name)) {
                continue;
            }
            let changed = rest.iter_mut().find(|slot| {
                slot.is_some_and(|(old, ..)| old.as_ref().is_some_and(|old| same_name(old, &column.name)))
            });
            if let Some(slot) = changed
                && let Some((_, raw, _)) = *slot
            {
                names.push((column.name.clone(), raw.name.clone()));
                if raw.place == Place::Default {
                    after.columns.push(raw.resolve(&after, context));
                    *slot = None;
                }
                continue;
            }
            let mut kept = column.clone();
            if let Some((_, new)) = self.renamed_columns.iter().find(|(old, _)| same_name(old, &column.name))
            {
                kept.name.clone_from(new);
            }
            if let Some((_, visible)) = self.visible.iter().find(|(name, _)| same_name(name, &column.name)) {
                kept.invisible = !visible;
            }
            if self.convert.is_some() {
                let members = kept.type_text.starts_with("enum(") || kept.type_text.starts_with("set(");
                if members && !kept.type_text.is_ascii() {
                    // MySQL does not convert the members: it reads their bytes in the new character set (seen on 9.7).
                    return None;
                }
                convert(&mut kept, &after);
            }
            names.push((column.name.clone(), kept.name.clone()));
            after.columns.push(kept);
        }
        for (old, raw, if_not_exists) in rest.into_iter().flatten() {
            let known = old.as_ref().is_none_or(|old| names.iter().any(|(name, _)| same_name(name, old)));
            let exists = after.column(&raw.name).is_some();
            if exists && *if_not_exists || !known {
                // MODIFY IF EXISTS of a column that is not there; without IF the statement could not have succeeded.
                continue;
            }
            if exists {
                return None;
            }
            let column = raw.resolve(&after, context);
            let place = match &raw.place {
                Place::Default => after.columns.len(),
                Place::First => 0,
                Place::After(other) => after.column(other)?.0 + 1,
            };
            after.columns.insert(place, column);
        }
        for name in &self.dropped_keys {
            after.drop_key(name);
        }
        for (old, new) in &self.renamed_keys {
            if let Some(key) = after.keys.iter_mut().find(|key| same_name(&key.name, old)) {
                key.name.clone_from(new);
            }
        }
        for key in &mut after.keys {
            key.parts.retain_mut(|part| {
                let Some(column) = &mut part.column else { return true };
                let Some((_, new)) = names.iter().find(|(old, _)| same_name(old, column)) else {
                    return false;
                };
                column.clone_from(new);
                true
            });
        }
        after.keys.retain(|key| !key.parts.is_empty());
        after.add_keys(self.keys);
        // A changed column of the primary key has no NULL, whatever the statement leaves out.
        let primary: Vec<String> = after
            .keys
            .iter()
            .filter(|key| key.kind == KeyKind::Primary)
            .flat_map(|key| key.parts.iter().filter_map(|part| part.column.clone()))
            .collect();
        for column in &mut after.columns {
            if primary.iter().any(|name| same_name(name, &column.name)) {
                column.nullable = false;
            }
        }
        Some(after)
    }
}

/// CONVERT TO CHARACTER SET.
fn convert(column: &mut Column, table: &Definition) {
    let base = column.type_text.split(['(', ' ']).next().unwrap_or_default().to_owned();
    let Some(charset) = table.charset.as_deref().filter(|_| has_charset(&base)) else { return };
    if charset == "binary" {
        return;
    }
    column.type_text = converted(&column.type_text, column.charset.as_deref(), charset);
    column.charset = Some(charset.to_owned());
    column.collation.clone_from(&table.collation);
}
