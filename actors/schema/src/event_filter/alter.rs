//! The actions of an `ALTER TABLE`, and what each is called in `events`.

use std::ops::Range;

use super::column::{ColumnDefinition, changes, definition_at};
use super::event::Event;
use crate::lex::{SqlMode, TokenKind, Tokens};

/// One action of an `ALTER TABLE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterAction {
    /// Where it stands in the text.
    pub span: Range<usize>,
    /// What it is called, the name that DM gives it first.
    pub events: Vec<Event>,
    /// A comma stands before it (a partition clause behind other actions has none).
    pub after_comma: bool,
}

/// The actions, and where the first begins. None if the text is no `ALTER TABLE` that can be taken apart.
pub fn alter_actions(
    sql: &str,
    mode: SqlMode,
    name_end: usize,
    before: Option<&[ColumnDefinition]>,
    unique_keys: Option<&[String]>,
) -> Option<Vec<AlterAction>> {
    let tokens = Tokens::of(sql, mode);
    let mut at = (0..tokens.len()).find(|i| tokens.span(*i).start >= name_end)?;
    if tokens.is(at, "WAIT") && tokens.is_kind(at + 1, TokenKind::Number) {
        at += 2;
    } else if tokens.is(at, "NOWAIT") {
        at += 1;
    }
    let end = (at..tokens.len()).find(|i| tokens.punct(*i, ';')).unwrap_or(tokens.len());
    let mut actions = Vec::new();
    let mut after_comma = false;
    while at < end {
        let next = action_end(&tokens, at, end);
        if next == at {
            return None;
        }
        let span = tokens.span(at).start..tokens.span(next - 1).end;
        let events = events_of(&tokens, at, next, before, unique_keys);
        actions.push(AlterAction { span, events, after_comma });
        after_comma = tokens.punct(next, ',');
        at = if after_comma { next + 1 } else { next };
    }
    if actions.len() > 1 {
        for action in &mut actions {
            action.events.push(Event("multi schema change"));
        }
    }
    Some(actions)
}

/// Behind the last token of the action that begins at `at`.
fn action_end(tokens: &Tokens<'_>, at: usize, end: usize) -> usize {
    let verb = ["DROP", "TRUNCATE", "REORGANIZE", "REBUILD", "COALESCE", "ANALYZE", "CHECK", "OPTIMIZE"];
    let more = ["REPAIR", "DISCARD", "IMPORT", "EXCHANGE", "ADD", "SECONDARY_LOAD", "SECONDARY_UNLOAD"];
    let whole = (tokens.is_any(at, &verb) || tokens.is_any(at, &more)) && tokens.is(at + 1, "PARTITION")
        || tokens.are(at, &["ORDER", "BY"])
        || starts_partitioning(tokens, at);
    if whole {
        return end;
    }
    let mut i = at;
    while i < end {
        if tokens.punct(i, '(') {
            i = tokens.skip_parens(i);
            continue;
        }
        if tokens.punct(i, ',') || (i > at && starts_partitioning(tokens, i)) {
            return i;
        }
        i += 1;
    }
    end
}

fn starts_partitioning(tokens: &Tokens<'_>, i: usize) -> bool {
    tokens.are(i, &["PARTITION", "BY"]) || tokens.are(i, &["REMOVE", "PARTITIONING"])
}

fn events_of(
    tokens: &Tokens<'_>,
    at: usize,
    end: usize,
    before: Option<&[ColumnDefinition]>,
    unique_keys: Option<&[String]>,
) -> Vec<Event> {
    let list = |names: &[&'static str]| names.iter().map(|name| Event(name)).collect::<Vec<_>>();
    let verb = tokens.text(at).to_ascii_uppercase();
    let is = |n: usize, word: &str| tokens.is(at + n, word);
    match verb.as_str() {
        "ADD" => match tokens.text(at + 1).to_ascii_uppercase().as_str() {
            "PARTITION" => list(&["alter table", "add table partition"]),
            "CONSTRAINT" | "PRIMARY" | "UNIQUE" | "FOREIGN" | "CHECK" | "INDEX" | "KEY" | "FULLTEXT"
            | "SPATIAL" | "VECTOR" => added_constraint(tokens, at + 1, end),
            _ => list(&["alter table", "add column"]),
        },
        "DROP" => match tokens.text(at + 1).to_ascii_uppercase().as_str() {
            "PARTITION" => list(&["drop table partition"]),
            "PRIMARY" => list(&["drop primary key"]),
            "FOREIGN" => list(&["alter table", "drop foreign key"]),
            "CONSTRAINT" | "CHECK" => list(&["alter table", "modify constraint"]),
            "INDEX" | "KEY" => {
                let name_at = if tokens.are(at + 2, &["IF", "EXISTS"]) { at + 4 } else { at + 2 };
                let name = tokens.ident(name_at).unwrap_or_default();
                let unique =
                    unique_keys.is_some_and(|keys| keys.iter().any(|key| key.eq_ignore_ascii_case(&name)));
                if unique { list(&["drop index", "drop unique key"]) } else { list(&["drop index"]) }
            }
            _ => list(&["drop column"]),
        },
        "TRUNCATE" => list(&["truncate table partition"]),
        "REORGANIZE" => list(&["reorganize table partition"]),
        "REBUILD" => list(&["rebuild table partition"]),
        "COALESCE" => list(&["coalesce table partition"]),
        "EXCHANGE" => list(&["exchange table partition"]),
        "REMOVE" => list(&["alter table", "remove table partitioning"]),
        "PARTITION" => list(&["alter table", "alter table partitioning"]),
        "RENAME" if is(1, "COLUMN") => list(&["rename column"]),
        "RENAME" if is(1, "INDEX") || is(1, "KEY") => list(&["rename index"]),
        "RENAME" => list(&["rename table"]),
        "ALTER" if is(1, "INDEX") || is(1, "KEY") => list(&["alter table", "alter index visibility"]),
        "ALTER" if is(1, "CHECK") || is(1, "CONSTRAINT") => list(&["alter table", "modify constraint"]),
        "ALTER" => list(&["modify default value", "set default value"]),
        "MODIFY" | "CHANGE" => modified_column(tokens, at, end, verb == "CHANGE", before),
        _ => options(tokens, at, end),
    }
}

/// DM calls every key that is added so.
fn added_constraint(tokens: &Tokens<'_>, mut at: usize, end: usize) -> Vec<Event> {
    if tokens.is(at, "CONSTRAINT") {
        at += 1;
        let kind = |i: usize| tokens.is_any(i, &["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]);
        if !kind(at) && at < end {
            at += 1;
        }
    }
    let also = match tokens.text(at).to_ascii_uppercase().as_str() {
        "PRIMARY" => "add primary key",
        "FOREIGN" => "add foreign key",
        "CHECK" => return vec![Event("modify constraint")],
        _ => "create index",
    };
    vec![Event("modify constraint"), Event(also)]
}

fn modified_column(
    tokens: &Tokens<'_>,
    at: usize,
    end: usize,
    renames: bool,
    before: Option<&[ColumnDefinition]>,
) -> Vec<Event> {
    let mut name_at = at + 1;
    if tokens.is(name_at, "COLUMN") {
        name_at += 1;
    }
    if tokens.are(name_at, &["IF", "EXISTS"]) {
        name_at += 2;
    }
    // `t.c` and `db.t.c` name the column as well.
    while tokens.punct(name_at + 1, '.') {
        name_at += 2;
    }
    let old_name = tokens.ident(name_at).unwrap_or_default().into_owned();
    let mut new_at = if renames { name_at + 1 } else { name_at };
    while renames && tokens.punct(new_at + 1, '.') {
        new_at += 2;
    }
    let Some(new) = definition_at(tokens, new_at, end) else { return vec![Event("alter table")] };
    let old = before.and_then(|columns| columns.iter().find(|c| c.name.eq_ignore_ascii_case(&old_name)));
    let mut events = match old {
        Some(old) => changes(old, &new),
        // What it was before is not known: all that can be said is that it is modified.
        None => vec![Event("modify column")],
    };
    if new.moved {
        events.push(Event("modify columns order"));
    }
    if renames && new.name.to_lowercase() != old_name.to_lowercase() {
        events.push(Event("rename column"));
    }
    if events.is_empty() {
        events.push(Event("alter table"));
    }
    events
}

/// Options of the table: several may stand in one action.
fn options(tokens: &Tokens<'_>, at: usize, end: usize) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut plain = Vec::new();
    let mut i = at;
    while i < end {
        match tokens.text(i).to_ascii_uppercase().as_str() {
            "CHARSET" => events.extend([Event("modify charset"), Event("modify table charset and collate")]),
            "CHARACTER" if tokens.is(i + 1, "SET") => {
                events.extend([Event("modify charset"), Event("modify table charset and collate")]);
            }
            "COLLATE" => {
                events.extend([Event("modify collation"), Event("modify table charset and collate")])
            }
            "ENGINE" if tokens.is_kind(i, TokenKind::Word) => events.push(Event("modify storage engine")),
            "COMMENT" => plain.push(Event("modify table comment")),
            "AUTO_INCREMENT" => plain.push(Event("rebase auto id")),
            _ => {}
        }
        i += 1;
    }
    if events.is_empty() {
        events.push(Event("alter table"));
    }
    events.extend(plain);
    events
}
