//! DM's binlog event filters: which changes of rows and which statements a task leaves out, or stops at.
//!
//! A rule sees row changes by their kind and statements by what they do (see [`Event`]) and by their text. The rules
//! that match a table are asked in DM's order, those without a table pattern first; the first that decides wins.

mod alter;
mod column;
mod event;
mod statement;

use dmnode_model::config::FilterRule;
use dmnode_model::{CodedError, TableName, codes, regular_expression};
use fancy_regex::Regex;

use crate::pattern::{Pattern, PatternError};

pub use alter::{AlterAction, alter_actions};
pub use event::Event;
pub use statement::{FilteredStatement, StatementFilter};

/// How much a pattern may backtrack on one statement.
const BACKTRACK_LIMIT: usize = 1_000_000;

/// Compiled rules.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    text: String,
    schema: Pattern,
    table: Option<Pattern>,
    events: Vec<String>,
    statements: Vec<(String, Regex)>,
    action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Do,
    Ignore,
    Error,
}

/// What the rules say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Goes on.
    Do,
    /// Is left out; the text names the rule.
    Ignore(String),
    /// The task stops; the text names the rule.
    Error(String),
}

/// What a rule is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Database at the source.
    pub schema: &'a str,
    /// Table at the source; none for a statement on a database.
    pub table: Option<&'a str>,
    /// What it does, the name that DM gives it first; empty when that is not known.
    pub events: &'a [Event],
    /// The statement.
    pub text: Option<Text<'a>>,
}

/// The text of a statement that may consist of several operations.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// All of it.
    pub whole: &'a str,
    /// Each operation as a statement of its own; empty if there is only one.
    pub parts: &'a [String],
    /// The operation that is asked about.
    pub part: usize,
}

impl EventFilter {
    /// Compiles the rules; a bad pattern is refused with its place.
    pub fn new(rules: &[FilterRule], case_sensitive: bool) -> Result<EventFilter, CodedError> {
        let mut compiled =
            rules.iter().map(|rule| Rule::new(rule, case_sensitive)).collect::<Result<Vec<_>, _>>()?;
        // DM asks the rules of the database first.
        compiled.sort_by_key(|rule| rule.table.is_some());
        Ok(EventFilter { rules: compiled })
    }

    /// There are no rules.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Some rule names an event that only the table's definition before a statement can tell.
    pub fn needs_definitions(&self) -> bool {
        self.rules.iter().any(|rule| {
            rule.events.iter().any(|event| event::needs_definition(event))
                || (rule.action == Action::Do && !rule.events.is_empty())
        })
    }

    /// Asks the rules in order.
    pub fn decide(&self, subject: Subject<'_>) -> Result<Verdict, CodedError> {
        for rule in &self.rules {
            if !rule.covers(&subject).map_err(|err| rule.gave_up(&err))? {
                continue;
            }
            let verdict = rule.decide(&subject)?;
            if verdict != Verdict::Do {
                return Ok(verdict);
            }
        }
        Ok(Verdict::Do)
    }

    /// The rules that match none of these tables, as text.
    pub fn unmatched(&self, schemas: &[String], tables: &[TableName]) -> Result<Vec<String>, CodedError> {
        let mut unmatched = Vec::new();
        for rule in &self.rules {
            let mut found = false;
            for schema in schemas {
                let subject = Subject { schema, table: None, events: &[], text: None };
                found = found
                    || (rule.table.is_none() && rule.covers(&subject).map_err(|err| rule.gave_up(&err))?);
            }
            for TableName { schema, table } in tables {
                let subject = Subject { schema, table: Some(table), events: &[], text: None };
                found = found || rule.covers(&subject).map_err(|err| rule.gave_up(&err))?;
            }
            if !found {
                let patterns: Vec<&Pattern> =
                    std::iter::once(&rule.schema).chain(rule.table.as_ref()).collect();
                unmatched.push(format!("{}{}", rule.text, crate::filter::meaning(&patterns)));
            }
        }
        Ok(unmatched)
    }
}

impl Rule {
    fn new(rule: &FilterRule, case_sensitive: bool) -> Result<Rule, CodedError> {
        let text = describe(rule);
        let bad = |cause: String, object: &str| {
            CodedError::new(codes::CONFIG_BINLOG_EVENT_FILTER, "generate binlog event filter")
                .object(format!("{text}, pattern `{object}`"))
                .cause(cause)
                .remedy("correct the rule in `filters` of the task or the source")
        };
        let pattern =
            |text: &str| Pattern::new(text, case_sensitive).map_err(|err| bad(err.reason, &err.pattern));
        let schema = pattern(&rule.schema_pattern)?;
        let table = (!rule.table_pattern.is_empty()).then(|| pattern(&rule.table_pattern)).transpose()?;
        let statements = rule.sql_pattern.iter().map(|text| {
            let regex = regular_expression::compile(text, true, BACKTRACK_LIMIT);
            regex.map(|regex| (text.clone(), regex)).map_err(|reason| bad(reason, text))
        });
        let action = match rule.action.as_str() {
            "Do" => Action::Do,
            "Error" => Action::Error,
            "Ignore" => Action::Ignore,
            other => return Err(bad(format!("`action` is `{other}`, expected Do, Ignore or Error"), "")),
        };
        let events = rule.events.iter().map(|event| event::canonical(event)).collect();
        Ok(Rule { schema, table, events, statements: statements.collect::<Result<_, _>>()?, action, text })
    }

    /// A rule without a table pattern is about the database and everything in it.
    fn covers(&self, subject: &Subject<'_>) -> Result<bool, PatternError> {
        Ok(self.schema.matches(subject.schema)?
            && match (&self.table, subject.table) {
                (None, _) => true,
                (Some(pattern), Some(table)) => pattern.matches(table)?,
                (Some(_), None) => false,
            })
    }

    fn decide(&self, subject: &Subject<'_>) -> Result<Verdict, CodedError> {
        if !subject.events.is_empty()
            && let verdict @ (Verdict::Ignore(_) | Verdict::Error(_)) =
                self.judge(event::matches(&self.events, subject.events))
        {
            return Ok(verdict);
        }
        match subject.text {
            Some(text) if !self.statements.is_empty() => Ok(self.judge(self.matches_part(text)?)),
            _ => Ok(Verdict::Do),
        }
    }

    fn judge(&self, matched: bool) -> Verdict {
        match (self.action, matched) {
            (Action::Ignore, true) | (Action::Do, false) => Verdict::Ignore(self.text.clone()),
            (Action::Error, true) => Verdict::Error(self.text.clone()),
            _ => Verdict::Do,
        }
    }

    /// A pattern means the operation in which it is found; one that is found only in the statement as a whole means all
    /// of them.
    fn matches_part(&self, text: Text<'_>) -> Result<bool, CodedError> {
        let Some(own) = text.parts.get(text.part) else { return self.matches_text(text.whole) };
        if self.matches_text(own)? {
            return Ok(true);
        }
        for part in text.parts {
            if self.matches_text(part)? {
                return Ok(false);
            }
        }
        self.matches_text(text.whole)
    }

    fn matches_text(&self, sql: &str) -> Result<bool, CodedError> {
        for (text, regex) in &self.statements {
            let found = regex.is_match(sql).map_err(|err| {
                self.gave_up(&PatternError { pattern: text.clone(), reason: err.to_string() })
            })?;
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn gave_up(&self, err: &PatternError) -> CodedError {
        CodedError::new(codes::SYNCER_UNIT_BINLOG_EVENT_FILTER, "a filter could not be decided")
            .object(&self.text)
            .cause(err)
            .remedy("write the pattern so that it needs less backtracking")
    }
}

fn describe(rule: &FilterRule) -> String {
    let name = if rule.name.is_empty() {
        "a filter of the source".to_owned()
    } else {
        format!("filters.{}", rule.name)
    };
    let table =
        if rule.table_pattern.is_empty() { String::new() } else { format!(".`{}`", rule.table_pattern) };
    format!("{name} (`{}`{table}, {})", rule.schema_pattern, rule.action)
}

#[cfg(test)]
mod tests;
