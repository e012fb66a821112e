//! Statements under filters: which of their operations remain.

use std::ops::Range;

use dmnode_model::{CodedError, TableName, codes};

use super::alter::alter_actions;
use super::column::columns_of_create;
use super::event::Event;
use super::{EventFilter, Subject, Text, Verdict};
use crate::lex::{SqlMode, Tokens};
use crate::statement::{NameRole, Statement, StatementKind};

/// What is left of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilteredStatement {
    /// All of it.
    Whole,
    /// Nothing; the text names the rule.
    Nothing(String),
    /// These operations of it, in the words of the statement.
    Part {
        /// The statement that is left.
        sql: String,
        /// The rule that took the rest.
        rule: String,
    },
}

/// A statement and what is known of it.
pub struct StatementFilter<'a> {
    /// The rules.
    pub filter: &'a EventFilter,
    /// The text.
    pub sql: &'a str,
    /// How it is read.
    pub mode: SqlMode,
    /// What it is.
    pub statement: &'a Statement,
    /// Default database of the session.
    pub schema: &'a str,
    /// The changed table's `SHOW CREATE TABLE` before the statement.
    pub before: Option<&'a str>,
}

impl StatementFilter<'_> {
    /// The kind of a change that `sql` makes depends on what the table was before.
    pub fn compares_columns(sql: &str, mode: SqlMode) -> bool {
        let tokens = Tokens::of(sql, mode);
        (0..tokens.len()).any(|i| tokens.is_any(i, &["MODIFY", "CHANGE", "DROP"]))
    }

    /// Asks the rules about every operation. Tables that are not `in_scope` are left alone.
    pub fn apply(
        &self,
        in_scope: &dyn Fn(&TableName) -> Result<bool, CodedError>,
    ) -> Result<FilteredStatement, CodedError> {
        if self.filter.is_empty() {
            return Ok(FilteredStatement::Whole);
        }
        match &self.statement.kind {
            StatementKind::AlterTable => self.alter(in_scope),
            StatementKind::DropTable { temporary: false } => self.drop_tables(in_scope),
            StatementKind::RenameTable(pairs) => self.rename(pairs, in_scope),
            StatementKind::CreateDatabase => self.database(&[Event("create database")]),
            StatementKind::DropDatabase => self.database(&[Event("drop database")]),
            StatementKind::AlterDatabase => {
                self.database(&[Event("alter database"), Event("modify schema charset and collate")])
            }
            StatementKind::CreateTable { temporary: false, .. } => self.one("create table", in_scope),
            StatementKind::TruncateTable => self.one("truncate table", in_scope),
            StatementKind::CreateIndex => self.one("create index", in_scope),
            StatementKind::DropIndex => {
                let unique = self.before.is_some_and(|before| {
                    let name = Tokens::of(self.sql, self.mode);
                    let at = (0..name.len()).find(|i| name.is(*i, "INDEX")).map_or(0, |i| i + 1);
                    let at = if name.are(at, &["IF", "EXISTS"]) { at + 2 } else { at };
                    let index = name.ident(at).unwrap_or_default();
                    columns_of_create(before).1.iter().any(|key| key.eq_ignore_ascii_case(&index))
                });
                let events = [Event("drop index"), Event("drop unique key")];
                let list = if unique { &events[..] } else { &events[..1] };
                self.on_target(list, in_scope)
            }
            // What is not understood, and changes that came as statements, can be known by their text alone.
            StatementKind::Unknown | StatementKind::Dml(_) | StatementKind::Sequence => {
                self.by_text(in_scope)
            }
            _ => Ok(FilteredStatement::Whole),
        }
    }

    fn decide(
        &self,
        schema: &str,
        table: Option<&str>,
        events: &[Event],
        parts: &[String],
        part: usize,
    ) -> Result<Option<String>, CodedError> {
        let subject = Subject { schema, table, events, text: Some(Text { whole: self.sql, parts, part }) };
        match self.filter.decide(subject)? {
            Verdict::Do => Ok(None),
            Verdict::Ignore(rule) => Ok(Some(rule)),
            Verdict::Error(rule) => {
                let what = events.first().map_or("a statement", |event| event.0);
                let object = match table {
                    Some(table) => TableName::new(schema, table).quoted(),
                    None => dmnode_model::quote_ident(schema),
                };
                Err(CodedError::new(
                    codes::SYNCER_UNIT_BINLOG_EVENT_FILTER,
                    format!("{what} is forbidden by a filter"),
                )
                .object(object)
                .statement(if matches!(self.statement.kind, StatementKind::Dml(_)) { "" } else { self.sql })
                .cause(rule)
                .remedy("skip the statement with `binlog skip`, or change the filter"))
            }
        }
    }

    fn database(&self, events: &[Event]) -> Result<FilteredStatement, CodedError> {
        let Some(schema) = self.statement.schemas.first() else { return Ok(FilteredStatement::Whole) };
        Ok(outcome(self.decide(&schema.name, None, events, &[], 0)?))
    }

    fn one(
        &self,
        event: &'static str,
        in_scope: &dyn Fn(&TableName) -> Result<bool, CodedError>,
    ) -> Result<FilteredStatement, CodedError> {
        self.on_target(&[Event(event)], in_scope)
    }

    fn on_target(
        &self,
        events: &[Event],
        in_scope: &dyn Fn(&TableName) -> Result<bool, CodedError>,
    ) -> Result<FilteredStatement, CodedError> {
        let Some(name) = self.target() else { return Ok(FilteredStatement::Whole) };
        if !in_scope(name)? {
            return Ok(FilteredStatement::Whole);
        }
        Ok(outcome(self.decide(&name.schema, Some(&name.table), events, &[], 0)?))
    }

    fn target(&self) -> Option<&TableName> {
        self.statement.tables.iter().find(|t| t.role == NameRole::Target).map(|t| &t.name)
    }

    fn by_text(
        &self,
        in_scope: &dyn Fn(&TableName) -> Result<bool, CodedError>,
    ) -> Result<FilteredStatement, CodedError> {
        if let Some(name) = self.target() {
            if !in_scope(name)? {
                return Ok(FilteredStatement::Whole);
            }
            return Ok(outcome(self.decide(&name.schema, Some(&name.table), &[], &[], 0)?));
        }
        Ok(outcome(self.decide(self.schema, None, &[], &[], 0)?))
    }

    fn alter(
        &self,
        in_scope: &dyn Fn(&TableName) -> Result<bool, CodedError>,
    ) -> Result<FilteredStatement, CodedError> {
        let Some(target) = self.statement.tables.iter().find(|t| t.role == NameRole::Target) else {
            return Ok(FilteredStatement::Whole);
        };
        let TableName { schema, table } = &target.name;
        if !in_scope(&target.name)? {
            return Ok(FilteredStatement::Whole);
        }
        let known = self.before.map(columns_of_create);
        let (columns, unique) = match &known {
            Some((columns, unique)) => (Some(columns.as_slice()), Some(unique.as_slice())),
            None => (None, None),
        };
        let actions = alter_actions(self.sql, self.mode, target.span.end, columns, unique);
        let Some(actions) = actions.filter(|actions| !actions.is_empty()) else {
            return Ok(outcome(self.decide(schema, Some(table), &[Event("alter table")], &[], 0)?));
        };
        let head = 0..actions[0].span.start;
        let head_text = self.sql.get(head.clone()).unwrap_or("");
        let parts: Vec<String> = actions
            .iter()
            .map(|action| format!("{head_text}{}", self.sql.get(action.span.clone()).unwrap_or("")))
            .collect();
        let mut verdicts = Vec::new();
        for (part, action) in actions.iter().enumerate() {
            verdicts.push(self.decide(schema, Some(table), &action.events, &parts, part)?);
        }
        if verdicts.iter().all(Option::is_none) {
            return Ok(FilteredStatement::Whole);
        }
        let rule = verdicts.iter().flatten().next().cloned().unwrap_or_default();
        if verdicts.iter().all(Option::is_some) {
            return Ok(FilteredStatement::Nothing(rule));
        }
        let tokens = Tokens::of(self.sql, self.mode);
        let mut sql = text_of(&tokens, head);
        sql.push(' ');
        let mut first = true;
        for (action, verdict) in actions.iter().zip(&verdicts) {
            if verdict.is_some() {
                continue;
            }
            if !first {
                sql.push_str(if action.after_comma { ", " } else { " " });
            }
            first = false;
            sql.push_str(&text_of(&tokens, action.span.clone()));
        }
        Ok(FilteredStatement::Part { sql, rule })
    }

    fn drop_tables(
        &self,
        in_scope: &dyn Fn(&TableName) -> Result<bool, CodedError>,
    ) -> Result<FilteredStatement, CodedError> {
        let (mut kept, mut rule) = (Vec::new(), None);
        for reference in self.statement.tables.iter().filter(|t| t.role == NameRole::Target) {
            let TableName { schema, table } = &reference.name;
            let verdict = if in_scope(&reference.name)? {
                self.decide(schema, Some(table), &[Event("drop table")], &[], 0)?
            } else {
                None
            };
            match verdict {
                Some(found) => rule = Some(found),
                None => kept.push(reference.name.quoted()),
            }
        }
        Ok(match rule {
            None => FilteredStatement::Whole,
            Some(rule) if kept.is_empty() => FilteredStatement::Nothing(rule),
            Some(rule) => {
                FilteredStatement::Part { sql: format!("DROP TABLE IF EXISTS {}", kept.join(", ")), rule }
            }
        })
    }

    fn rename(
        &self,
        pairs: &[(TableName, TableName)],
        in_scope: &dyn Fn(&TableName) -> Result<bool, CodedError>,
    ) -> Result<FilteredStatement, CodedError> {
        let (mut kept, mut rule) = (Vec::new(), None);
        for (from, to) in pairs {
            let mut verdict = None;
            for name in [from, to] {
                if verdict.is_none() && in_scope(name)? {
                    verdict =
                        self.decide(&name.schema, Some(&name.table), &[Event("rename table")], &[], 0)?;
                }
            }
            match verdict {
                Some(found) => rule = Some(found),
                None => kept.push(format!("{} TO {}", from.quoted(), to.quoted())),
            }
        }
        Ok(match rule {
            None => FilteredStatement::Whole,
            Some(rule) if kept.is_empty() => FilteredStatement::Nothing(rule),
            Some(rule) => FilteredStatement::Part { sql: format!("RENAME TABLE {}", kept.join(", ")), rule },
        })
    }
}

fn outcome(rule: Option<String>) -> FilteredStatement {
    rule.map_or(FilteredStatement::Whole, FilteredStatement::Nothing)
}

/// The text of a part without comments, whose marks might open in one part and close in another.
fn text_of(tokens: &Tokens<'_>, span: Range<usize>) -> String {
    let text = tokens.sql.get(span.clone()).unwrap_or("");
    if !tokens.sql.contains("/*") {
        return text.trim().to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for token in tokens.list.iter().filter(|t| t.start >= span.start && t.end <= span.end) {
        if token.start > end && !out.is_empty() {
            out.push(' ');
        }
        out.push_str(tokens.sql.get(token.start..token.end).unwrap_or(""));
        end = token.end;
    }
    out
}
