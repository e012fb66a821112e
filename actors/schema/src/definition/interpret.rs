//! From a statement to what becomes of the tables it names.

use std::collections::BTreeMap;

use dmnode_model::TableName;

use super::column::Reader;
use super::key::RawKey;
use super::{Context, Definition, KeyKind};
use crate::lex::Tokens;
use crate::statement::{NameRole, Statement, StatementKind};

/// What a statement makes of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is so now.
    Is(Definition),
    /// It has changed in a way that is not followed: derive its definition anew.
    Unknown,
    /// It exists no more.
    Gone,
}

/// What `statement` makes of the tables it changes; those it leaves as they are do not appear. `known` answers the
/// definition of a table before the statement, as far as it is known.
pub fn interpret(
    statement: &Statement,
    sql: &str,
    context: &Context,
    known: &dyn Fn(&TableName) -> Option<Definition>,
) -> BTreeMap<TableName, Fate> {
    let mut fates = BTreeMap::new();
    let before = |name: &TableName| known(name).map_or(Fate::Unknown, Fate::Is);
    let target = statement.tables.iter().find(|reference| reference.role == NameRole::Target);
    match &statement.kind {
        StatementKind::CreateTable { temporary: true, .. } | StatementKind::DropTable { temporary: true } => {
        }
        StatementKind::CreateTable { like, select, .. } => {
            let Some(target) = target else { return fates };
            if has_if_not_exists(statement, sql, context) && known(&target.name).is_some() {
                return fates;
            }
            let fate = if *like {
                let model = statement.tables.iter().find(|reference| reference.role == NameRole::Like);
                model.map_or(Fate::Unknown, |model| before(&model.name))
            } else if *select {
                Fate::Unknown
            } else {
                let tokens = Tokens::of(sql, context.mode);
                let mut reader = behind(&tokens, target.span.end, context);
                reader.create_table().map_or(Fate::Unknown, Fate::Is)
            };
            fates.insert(target.name.clone(), fate);
        }
        StatementKind::AlterTable => {
            let Some(target) = target else { return fates };
            let tokens = Tokens::of(sql, context.mode);
            let actions = behind(&tokens, target.span.end, context).alter_table();
            let exchanged = statement.tables.iter().any(|reference| reference.role == NameRole::Exchange);
            let mut fate = match (actions, known(&target.name)) {
                (Some(actions), Some(definition)) => {
                    actions.apply(&definition, context).map_or(Fate::Unknown, Fate::Is)
                }
                _ => Fate::Unknown,
            };
            if exchanged && fate == Fate::Unknown {
                for reference in &statement.tables {
                    if reference.role == NameRole::Exchange {
                        fates.insert(reference.name.clone(), Fate::Unknown);
                    }
                }
            }
            let mut name = target.name.clone();
            for (_, to) in statement.renames() {
                fates.insert(name, Fate::Gone);
                name = to;
            }
            if let Fate::Is(definition) = &mut fate {
                definition.keys.retain(|key| !key.parts.is_empty());
            }
            fates.insert(name, fate);
        }
        StatementKind::RenameTable(pairs) => {
            for (from, to) in pairs {
                let moved = match fates.remove(from) {
                    Some(fate) => fate,
                    None => before(from),
                };
                fates.insert(from.clone(), Fate::Gone);
                fates.insert(to.clone(), moved);
            }
        }
        StatementKind::DropTable { .. } => {
            for name in statement.changed_tables() {
                fates.insert(name.clone(), Fate::Gone);
            }
        }
        StatementKind::CreateIndex | StatementKind::DropIndex => {
            let Some(target) = target else { return fates };
            let fate = known(&target.name)
                .and_then(|definition| index(statement, sql, context, definition))
                .map_or(Fate::Unknown, Fate::Is);
            fates.insert(target.name.clone(), fate);
        }
        _ => {}
    }
    fates
}

/// A reader behind a name.
fn behind<'t, 'a>(tokens: &'t Tokens<'a>, end: usize, context: &'t Context) -> Reader<'t, 'a> {
    let at = tokens.list.iter().position(|token| token.start >= end).unwrap_or(tokens.len());
    Reader { tokens, at, context }
}

/// `IF NOT EXISTS` before the table's name.
fn has_if_not_exists(statement: &Statement, sql: &str, context: &Context) -> bool {
    let Some(target) = statement.tables.iter().find(|reference| reference.role == NameRole::Target) else {
        return false;
    };
    let tokens = Tokens::of(sql, context.mode);
    let at = tokens.list.iter().position(|token| token.start >= target.span.start).unwrap_or(0);
    at >= 3 && tokens.are(at - 3, &["IF", "NOT", "EXISTS"])
}

/// CREATE INDEX and DROP INDEX.
fn index(
    statement: &Statement,
    sql: &str,
    context: &Context,
    mut definition: Definition,
) -> Option<Definition> {
    let target = statement.tables.iter().find(|reference| reference.role == NameRole::Target)?;
    let tokens = Tokens::of(sql, context.mode);
    let word = (0..tokens.len()).find(|at| tokens.is_any(*at, &["INDEX", "KEY"]))?;
    let unique = tokens.is(word.wrapping_sub(1), "UNIQUE");
    let mut reader = Reader { tokens: &tokens, at: word + 1, context };
    let if_not_exists = reader.take_if_exists();
    let name = reader.name()?;
    if statement.kind == StatementKind::DropIndex {
        definition.drop_key(&name);
        return Some(definition);
    }
    let mut reader = behind(&tokens, target.span.end, context);
    while !reader.ended() && !tokens.punct(reader.at, '(') {
        reader.at += 1;
    }
    let parts = reader.key_parts()?;
    let kind = if unique { KeyKind::Unique } else { KeyKind::Index };
    definition.add_keys(vec![RawKey { name: Some(name), kind, parts, if_not_exists }]);
    Some(definition)
}
