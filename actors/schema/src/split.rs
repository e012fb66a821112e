//! A statement of several operations as several statements of one each, for targets that refuse the whole.
//!
//! A server makes all operations of an `ALTER TABLE` at once, out of the table as it was before. One after the other
//! they mean the same only in a fitting order: what uses a name comes behind what makes it, what takes a name away
//! comes before what gives it to something else. Where there is no such order, the statement is not split.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::lex::{SqlMode, Tokens};
use crate::statement::{Statement, StatementKind};

/// A statement is cut into so many parts at most.
const PARTS_MAX: usize = 200;

/// The statements that do one after the other what `sql` does at once; `None` when it is one operation, or when its
/// operations cannot be parted.
pub fn split_operations(sql: &str, mode: SqlMode) -> Option<Vec<String>> {
    let statement = Statement::classify(sql, "", mode);
    let tokens = Tokens::of(sql, mode);
    let mut end = tokens.len();
    while end > 0 && tokens.punct(end - 1, ';') {
        end -= 1;
    }
    let parts = match &statement.kind {
        StatementKind::AlterTable => Alter::read(&tokens, &statement, end)?.statements()?,
        StatementKind::DropTable { temporary: false } => one_per_name(sql, &statement)?,
        StatementKind::RenameTable(_) => one_per_pair(sql, &statement)?,
        _ => return None,
    };
    (2..=PARTS_MAX).contains(&parts.len()).then_some(parts)
}

/// `sql` without `ALGORITHM` and `LOCK`, which say how and not what; `None` when it has neither, or nothing else.
pub fn without_hints(sql: &str, mode: SqlMode) -> Option<String> {
    let statement = Statement::classify(sql, "", mode);
    if statement.kind != StatementKind::AlterTable {
        return None;
    }
    let tokens = Tokens::of(sql, mode);
    let start = behind_name(&tokens, &statement)?;
    let items = items(&tokens, start..tokens.len());
    let kept: Vec<&str> =
        items.iter().filter(|item| !is_hint(&tokens, item)).map(|item| text(&tokens, item)).collect();
    if kept.len() == items.len() || kept.is_empty() {
        return None;
    }
    Some(format!("{} {}", head(&tokens, start), kept.join(", ")))
}

/// Whether the target's refusal can have its cause in the operations being together: the server says so, or what it
/// misses is made by another operation of the statement.
pub fn splitting_may_help(code: u16, message: &str, sql: &str, mode: SqlMode) -> bool {
    match code {
        // Unsupported DDL (TiDB); not supported yet; one FULLTEXT at a time; not supported for this operation, with a
        // reason.
        8200 | 1235 | 1795 | 1845 | 1846 => true,
        // A foreign key dropped and made again under its name (1005 hides 121; 1022, 1826).
        1005 | 1022 | 1826 => {
            let operations = operations(sql, mode);
            operations.iter().any(|operation| {
                operation.drops.iter().any(|name| {
                    matches!(name, Name::Constraint(_))
                        && operations.iter().any(|other| other.makes.contains(name))
                })
            })
        }
        // Unknown column, column of a key, key to be dropped or renamed: if another operation makes it.
        1054 | 1072 | 1091 | 1176 => operations(sql, mode).iter().flat_map(|o| &o.makes).any(|name| {
            let name = name.text();
            ["'", "`", "\""]
                .iter()
                .any(|quote| message.to_lowercase().contains(&format!("{quote}{name}{quote}")))
        }),
        _ => false,
    }
}

fn operations(sql: &str, mode: SqlMode) -> Vec<Operation> {
    let statement = Statement::classify(sql, "", mode);
    let tokens = Tokens::of(sql, mode);
    if statement.kind != StatementKind::AlterTable {
        return Vec::new();
    }
    Alter::read(&tokens, &statement, tokens.len()).map_or_else(Vec::new, |alter| alter.operations)
}

fn one_per_name(sql: &str, statement: &Statement) -> Option<Vec<String>> {
    let condition = if statement.conditional { "IF EXISTS " } else { "" };
    let names = statement.tables.iter().map(|reference| sql.get(reference.span.clone()));
    names.map(|name| Some(format!("DROP TABLE {condition}{}", name?.trim()))).collect()
}

fn one_per_pair(sql: &str, statement: &Statement) -> Option<Vec<String>> {
    let condition = if statement.conditional { "IF EXISTS " } else { "" };
    let name = |index: usize| sql.get(statement.tables.get(index)?.span.clone()).map(str::trim);
    (0..statement.tables.len() / 2)
        .map(|pair| Some(format!("RENAME TABLE {condition}{} TO {}", name(2 * pair)?, name(2 * pair + 1)?)))
        .collect()
}

/// Something that an operation makes, takes away or needs. Names are folded: they do not differ by case alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Column(String),
    Key(String),
    Constraint(String),
}

impl Name {
    fn text(&self) -> &str {
        match self {
            Name::Column(name) | Name::Key(name) | Name::Constraint(name) => name,
        }
    }
}

/// When an operation is done, as far as names do not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Default character set and conversion: what is added later has the new default, what is there is converted.
    Charset,
    /// Foreign keys and checks hold on to columns and keys.
    DropConstraint,
    /// A key without columns vanishes by itself.
    DropKey,
    Columns,
    Keys,
    Constraints,
    Options,
    Partitions,
    /// All others name the table as it was.
    Rename,
}

#[derive(Debug)]
struct Operation {
    text: String,
    stage: Stage,
    makes: BTreeSet<Name>,
    drops: BTreeSet<Name>,
    /// Every word of the operation: what it may need.
    words: BTreeSet<String>,
    /// About the primary key, or a column that must be a key at every moment: not to be parted from its like.
    primary: bool,
}

struct Alter {
    head: String,
    operations: Vec<Operation>,
}

impl Alter {
    fn read(tokens: &Tokens<'_>, statement: &Statement, end: usize) -> Option<Alter> {
        let start = behind_name(tokens, statement)?;
        let mut operations = Vec::new();
        for item in items(tokens, start..end) {
            if is_hint(tokens, &item) {
                continue;
            }
            // `ADD (a INT, KEY (a))` is an operation for each.
            if let Some(open) = opened_list(tokens, &item) {
                let close = tokens.skip_parens(open);
                if close != item.end {
                    return None;
                }
                for inner in items(tokens, open + 1..close - 1) {
                    let sql = format!("ADD {}", text(tokens, &inner));
                    operations.push(Operation::added(tokens, inner.start, &inner, sql)?);
                }
                continue;
            }
            operations.push(Operation::read(tokens, &item)?);
        }
        Some(Alter { head: head(tokens, start), operations })
    }

    /// In an order in which each finds what it needs.
    fn statements(self) -> Option<Vec<String>> {
        let mut groups = self.operations;
        merge_primary(&mut groups);
        if groups.iter().filter(|operation| operation.stage == Stage::Rename).count() > 1 {
            return None;
        }
        let mut ordered: Vec<String> = Vec::new();
        while !groups.is_empty() {
            let free = (0..groups.len()).filter(|at| {
                groups.iter().enumerate().all(|(other, o)| other == *at || !must_precede(o, &groups[*at]))
            });
            // The stage only decides among those that names leave free, then the order of the text.
            let next = free.min_by_key(|at| (groups[*at].stage, *at))?;
            ordered.push(format!("{} {}", self.head, groups.remove(next).text));
        }
        Some(ordered)
    }
}

/// `first` makes what `second` uses, or frees a name that `second` gives away again.
fn must_precede(first: &Operation, second: &Operation) -> bool {
    // Keys and constraints are named only by what takes them away, and that means the old ones.
    let made_for = first.makes.iter().any(|name| {
        matches!(name, Name::Column(_))
            && second.words.contains(name.text())
            && !second.makes.contains(name)
            && !second.drops.contains(name)
    });
    made_for || first.drops.iter().any(|name| second.makes.contains(name))
}

/// A primary key that goes and one that comes, and columns that number themselves, stay one operation.
fn merge_primary(operations: &mut Vec<Operation>) {
    let Some(first) = operations.iter().position(|operation| operation.primary) else { return };
    let mut at = first + 1;
    while at < operations.len() {
        // The key that such a column needs.
        let needed = operations[first]
            .makes
            .iter()
            .any(|name| matches!(name, Name::Column(_)) && operations[at].words.contains(name.text()))
            && operations[at].stage == Stage::Keys;
        if operations[at].primary || needed {
            let other = operations.remove(at);
            let into = &mut operations[first];
            into.text = format!("{}, {}", into.text, other.text);
            into.makes.extend(other.makes);
            into.drops.extend(other.drops);
            into.words.extend(other.words);
            into.stage = into.stage.max(other.stage).min(Stage::Keys);
        } else {
            at += 1;
        }
    }
}

impl Operation {
    fn new(tokens: &Tokens<'_>, range: &Range<usize>, text: String, stage: Stage) -> Self {
        let words = range.clone().filter_map(|i| tokens.ident(i)).map(|word| word.to_lowercase()).collect();
        let primary = range.clone().any(|i| {
            tokens.is(i, "AUTO_INCREMENT") && !tokens.punct(i + 1, '=') || tokens.are(i, &["PRIMARY", "KEY"])
        });
        Operation { text, stage, makes: BTreeSet::new(), drops: BTreeSet::new(), words, primary }
    }

    fn makes(mut self, name: Name) -> Self {
        self.makes.insert(name);
        self
    }

    fn drops(mut self, name: Name) -> Self {
        self.drops.insert(name);
        self
    }

    fn read(tokens: &Tokens<'_>, item: &Range<usize>) -> Option<Operation> {
        let sql = text(tokens, item).to_owned();
        let new = |stage| Operation::new(tokens, item, sql.clone(), stage);
        let at = item.start;
        // Work on partitions stands alone in its statement, and versions of rows belong to several operations.
        let system = |i: usize| tokens.are(i, &["SYSTEM", "VERSIONING"]) || tokens.are(i, &["PERIOD", "FOR"]);
        if item.clone().any(system)
            || tokens.is_any(at, &PARTITION_WORK) && tokens.is_any(at + 1, &["PARTITION", "TABLESPACE"])
        {
            return None;
        }
        let verb = tokens.text(at).to_ascii_uppercase();
        match verb.as_str() {
            "ADD" => Operation::added(tokens, at + 1, item, sql),
            "DROP" => {
                let next = at + 1;
                if tokens.is(next, "PARTITION") {
                    return None;
                }
                if tokens.are(next, &["PRIMARY", "KEY"]) {
                    return Some(new(Stage::DropKey));
                }
                if tokens.are(next, &["FOREIGN", "KEY"]) {
                    let name = name(tokens, skip_condition(tokens, next + 2))?;
                    return Some(new(Stage::DropConstraint).drops(Name::Constraint(name)));
                }
                if tokens.is_any(next, &["CONSTRAINT", "CHECK"]) {
                    let name = name(tokens, skip_condition(tokens, next + 1))?;
                    return Some(
                        new(Stage::DropConstraint)
                            .drops(Name::Constraint(name.clone()))
                            .drops(Name::Key(name)),
                    );
                }
                if tokens.is_any(next, &["INDEX", "KEY"]) {
                    let name = name(tokens, skip_condition(tokens, next + 1))?;
                    return Some(new(Stage::DropKey).drops(Name::Key(name)));
                }
                let column =
                    name(tokens, skip_condition(tokens, next + usize::from(tokens.is(next, "COLUMN"))))?;
                Some(new(Stage::Columns).drops(Name::Column(column)))
            }
            "CHANGE" => {
                let old_at = skip_condition(tokens, at + 1 + usize::from(tokens.is(at + 1, "COLUMN")));
                let (old, new_name) = (name(tokens, old_at)?, name(tokens, old_at + 1)?);
                let operation = new(Stage::Columns);
                Some(if old == new_name {
                    operation
                } else {
                    operation.drops(Name::Column(old)).makes(Name::Column(new_name))
                })
            }
            "MODIFY" | "ALTER" => Some(new(Stage::Columns)),
            "RENAME" => {
                let next = at + 1;
                if tokens.is_any(next, &["COLUMN", "INDEX", "KEY"]) {
                    let old_at = skip_condition(tokens, next + 1);
                    let (old, new_name) = (name(tokens, old_at)?, name(tokens, old_at + 2)?);
                    let kind = if tokens.is(next, "COLUMN") { Name::Column } else { Name::Key };
                    let stage = if tokens.is(next, "COLUMN") { Stage::Columns } else { Stage::DropKey };
                    return Some(new(stage).drops(kind(old)).makes(kind(new_name)));
                }
                Some(new(Stage::Rename))
            }
            "CONVERT" if tokens.is(at + 1, "TO") => Some(new(Stage::Charset)),
            "CONVERT" => None,
            "PARTITION" => Some(new(Stage::Partitions)),
            "REMOVE" if tokens.is(at + 1, "PARTITIONING") => Some(new(Stage::Partitions)),
            _ => {
                let charset = item.clone().any(|i| {
                    tokens.is_any(i, &["CHARSET", "COLLATE"]) || tokens.are(i, &["CHARACTER", "SET"])
                });
                Some(new(if charset { Stage::Charset } else { Stage::Options }))
            }
        }
    }

    /// What follows `ADD`, from token `at` on.
    fn added(tokens: &Tokens<'_>, at: usize, item: &Range<usize>, sql: String) -> Option<Operation> {
        let new = |stage| Operation::new(tokens, item, sql.clone(), stage);
        let mut at = at;
        if tokens.is_any(at, &["PARTITION", "PERIOD", "SYSTEM"]) {
            return None;
        }
        if tokens.is(at, "COLUMN") {
            let column = name(tokens, skip_condition(tokens, at + 1))?;
            return Some(new(Stage::Columns).makes(Name::Column(column)));
        }
        let mut constraint = None;
        if tokens.is(at, "CONSTRAINT") {
            at = skip_condition(tokens, at + 1);
            if !tokens.is_any(at, &["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]) {
                constraint = name(tokens, at);
                at += 1;
            }
        }
        let named = |operation: Operation| match &constraint {
            Some(name) => operation.makes(Name::Constraint(name.clone())),
            None => operation,
        };
        if tokens.are(at, &["PRIMARY", "KEY"]) {
            return Some(new(Stage::Keys));
        }
        if tokens.are(at, &["FOREIGN", "KEY"]) || tokens.is(at, "CHECK") {
            return Some(named(new(Stage::Constraints)));
        }
        if tokens.is_any(at, &["UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR", "INDEX", "KEY"])
            && !is_column(tokens, at)
        {
            if tokens.is_any(at, &["UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR"]) {
                at += 1;
            }
            at += usize::from(tokens.is_any(at, &["INDEX", "KEY"]));
            at = skip_condition(tokens, at);
            let own = (!tokens.punct(at, '(') && !tokens.is(at, "USING")).then(|| name(tokens, at)).flatten();
            let operation = named(new(Stage::Keys));
            return Some(match own.or_else(|| constraint.clone()) {
                Some(name) => operation.makes(Name::Key(name)),
                None => operation,
            });
        }
        let column = name(tokens, skip_condition(tokens, at))?;
        Some(new(Stage::Columns).makes(Name::Column(column)))
    }
}

/// First words of work on partitions; `ADD` and `DROP PARTITION` are told where they are read.
const PARTITION_WORK: [&str; 12] = [
    "COALESCE",
    "REORGANIZE",
    "TRUNCATE",
    "EXCHANGE",
    "ANALYZE",
    "CHECK",
    "OPTIMIZE",
    "REBUILD",
    "REPAIR",
    "DISCARD",
    "IMPORT",
    "CONVERT",
];

/// `VECTOR` is a column's name in `ADD vector INT`, and a key's first word in `ADD VECTOR INDEX (v)`.
fn is_column(tokens: &Tokens<'_>, at: usize) -> bool {
    tokens.is(at, "VECTOR") && !tokens.is_any(at + 1, &["INDEX", "KEY"])
}

/// A name without its qualifiers, folded.
fn name(tokens: &Tokens<'_>, mut at: usize) -> Option<String> {
    while tokens.punct(at + 1, '.') && tokens.is_ident(at + 2) {
        at += 2;
    }
    tokens.ident(at).map(|name| name.to_lowercase())
}

fn skip_condition(tokens: &Tokens<'_>, at: usize) -> usize {
    if tokens.are(at, &["IF", "NOT", "EXISTS"]) {
        at + 3
    } else if tokens.are(at, &["IF", "EXISTS"]) {
        at + 2
    } else {
        at
    }
}

/// The first token behind `ALTER … TABLE name [WAIT n]`.
fn behind_name(tokens: &Tokens<'_>, statement: &Statement) -> Option<usize> {
    let end = statement.tables.iter().map(|reference| reference.span.end).min()?;
    let mut at = (0..tokens.len()).find(|i| tokens.span(*i).start >= end)?;
    if tokens.is(at, "WAIT") {
        at += 2;
    } else if tokens.is(at, "NOWAIT") {
        at += 1;
    }
    Some(at)
}

fn head(tokens: &Tokens<'_>, start: usize) -> String {
    tokens.sql.get(..tokens.span(start).start).unwrap_or("").trim_end().to_owned()
}

fn text<'a>(tokens: &Tokens<'a>, range: &Range<usize>) -> &'a str {
    let Some(last) = range.end.checked_sub(1).filter(|last| *last >= range.start) else { return "" };
    tokens.sql.get(tokens.span(range.start).start..tokens.span(last).end).unwrap_or("")
}

fn is_hint(tokens: &Tokens<'_>, item: &Range<usize>) -> bool {
    let assigned = |i: usize| tokens.punct(i, '=') || item.len() == 2;
    (tokens.is_any(item.start, &["ALGORITHM", "LOCK"]) && assigned(item.start + 1))
        || (tokens.is_any(item.start, &["WITH", "WITHOUT"]) && tokens.is(item.start + 1, "VALIDATION"))
}

/// The parenthesis of `ADD (…)` and `ADD COLUMN (…)`.
fn opened_list(tokens: &Tokens<'_>, item: &Range<usize>) -> Option<usize> {
    if !tokens.is(item.start, "ADD") {
        return None;
    }
    let at = skip_condition(tokens, item.start + 1 + usize::from(tokens.is(item.start + 1, "COLUMN")));
    tokens.punct(at, '(').then_some(at)
}

/// The parts between the commas outside of parentheses. `ORDER BY` and `PARTITION BY` have what follows, and begin
/// one without a comma.
fn items(tokens: &Tokens<'_>, range: Range<usize>) -> Vec<Range<usize>> {
    let mut items = Vec::new();
    let (mut start, mut at) = (range.start, range.start);
    while at < range.end {
        if tokens.punct(at, '(') {
            at = tokens.skip_parens(at).max(at + 1);
            continue;
        }
        if tokens.are(at, &["ORDER", "BY"])
            || tokens.are(at, &["PARTITION", "BY"])
            || tokens.are(at, &["REMOVE", "PARTITIONING"])
        {
            if at > start {
                items.push(start..at);
            }
            items.push(at..range.end);
            return items;
        }
        if tokens.punct(at, ',') {
            items.push(start..at);
            start = at + 1;
        }
        at += 1;
    }
    if start < range.end {
        items.push(start..range.end);
    }
    items.retain(|item| !item.is_empty());
    items
}

#[cfg(test)]
mod tests;
