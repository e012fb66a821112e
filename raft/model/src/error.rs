//! The error every room reports to users: a code, one sentence, where, why and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::codes::{self, Policy, Scope};
use crate::status::ProcessError;

/// Longest statement kept in an error; the rest is cut.
const STATEMENT_BYTES_MAX: usize = 4096;
/// Longest cause kept in an error.
const CAUSE_BYTES_MAX: usize = 4096;

/// A coded error. The code tells class, scope, level and policy (see [`codes::info`]).
///
/// The rare texts are boxed: errors are returned everywhere and should be small. None of the texts may hold a password or a row value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CodedError {
    /// Number from [`codes`].
    pub code: u32,
    /// One sentence, lower case, no full stop.
    pub message: String,
    /// The table, source, task or setting it is about.
    pub object: Option<Box<str>>,
    /// Where in the stream (a [`crate::Location`] as text) or in a file (line and column).
    pub location: Option<Box<str>>,
    /// The statement that failed.
    pub statement: Option<Box<str>>,
    /// The error below this one.
    pub cause: Option<Box<str>>,
    /// What to do; when missing, the code's own advice is shown.
    pub remedy: Option<Box<str>>,
    /// Overrides the code's scope: database errors belong to the source or to the target.
    pub scope: Option<Scope>,
}

impl CodedError {
    /// An error with a code and a sentence.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            object: None,
            location: None,
            statement: None,
            cause: None,
            remedy: None,
            scope: None,
        }
    }

    /// Names the object it is about.
    #[must_use]
    pub fn object(mut self, object: impl fmt::Display) -> Self {
        self.object = Some(object.to_string().into());
        self
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, location: impl fmt::Display) -> Self {
        self.location = Some(location.to_string().into());
        self
    }

    /// Shows the statement, cut when very long.
    #[must_use]
    pub fn statement(mut self, sql: impl fmt::Display) -> Self {
        self.statement = Some(cut(sql.to_string(), STATEMENT_BYTES_MAX).into());
        self
    }

    /// Shows the error below.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cut(cause.to_string(), CAUSE_BYTES_MAX).into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl fmt::Display) -> Self {
        self.remedy = Some(remedy.to_string().into());
        self
    }

    /// Says whose fault it is, where the code alone does not.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// Puts a context before the message, as DM does: `<context>: <message>`.
    #[must_use]
    pub fn annotate(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// Whether to retry, to wait for the operator or to give up.
    pub fn policy(&self) -> Policy {
        codes::policy(self.code)
    }

    /// The message with location, statement and object in front of it, in DM's manner.
    pub fn full_message(&self) -> String {
        let mut context = Vec::new();
        if let Some(location) = &self.location {
            // Callers that know both ends of the event spell them out themselves.
            let spelled = location.starts_with("startLocation:") || !location.contains("position:");
            context.push(if spelled { location.to_string() } else { format!("startLocation: [{location}]") });
        }
        if let Some(object) = self.object.as_ref().filter(|object| !self.message.contains(&***object)) {
            context.push(object.to_string());
        }
        if let Some(statement) = &self.statement {
            context.push(format!("origin SQL: [{statement}]"));
        }
        if context.is_empty() {
            return self.message.clone();
        }
        format!("{}: {}", context.join(", "), self.message)
    }

    /// What to do: this error's own remedy, else the code's; may be empty.
    pub fn workaround(&self) -> &str {
        match &self.remedy {
            Some(remedy) => remedy,
            None => codes::info(self.code).map_or("", |info| info.workaround),
        }
    }

    fn effective_scope(&self) -> Scope {
        self.scope.unwrap_or_else(|| codes::info(self.code).map_or(Scope::NotSet, |info| info.scope))
    }

    /// DM's shape for `query-status`.
    pub fn to_process_error(&self) -> ProcessError {
        let info = codes::info(self.code);
        ProcessError {
            code: self.code,
            class: info.map_or("not-set", |info| info.class).to_owned(),
            scope: self.effective_scope().as_str().to_owned(),
            level: info.map_or(codes::Level::High, |info| info.level).as_str().to_owned(),
            message: self.full_message(),
            raw_cause: self.cause.as_deref().unwrap_or_default().to_owned(),
            workaround: self.workaround().to_owned(),
        }
    }
}

impl fmt::Display for CodedError {
    /// `[code=N:class=C:scope=S:level=L], Message: M, RawCause: R, Workaround: W`; empty parts are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProcessError { code, class, scope, level, message, raw_cause, workaround } =
            self.to_process_error();
        write!(f, "[code={code}:class={class}:scope={scope}:level={level}]")?;
        for (label, text) in [("Message", message), ("RawCause", raw_cause), ("Workaround", workaround)] {
            if !text.is_empty() {
                write!(f, ", {label}: {text}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for CodedError {}

fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let mut end = bytes_max;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_like_dm() {
        let error = CodedError::new(codes::SYNCER_UNIT_DML_COLUMN_NOT_MATCH, "column count differs")
            .object("`db`.`t`")
            .at("position: (mysql-bin.000001, 4), gtid-set: ")
            .cause("boom")
            .remedy("look");
        assert_eq!(
            error.to_string(),
            "[code=36027:class=sync-unit:scope=internal:level=high], \
             Message: startLocation: [position: (mysql-bin.000001, 4), gtid-set: ], `db`.`t`: column count differs, \
             RawCause: boom, Workaround: look"
        );
        assert_eq!(error.policy(), Policy::WaitForOperator);
    }

    #[test]
    fn the_codes_advice_stands_in_for_a_missing_remedy() {
        let error = CodedError::new(codes::CONFIG_EMPTY_SOURCE_ID, "empty source-id not valid");
        assert!(error.workaround().contains("source-id"));
        assert_eq!(error.clone().scope(Scope::Upstream).to_process_error().scope, "upstream");
        let unknown = CodedError::new(99, "x").to_process_error();
        assert_eq!((unknown.class.as_str(), unknown.scope.as_str()), ("not-set", "not-set"));
    }

    #[test]
    fn long_statements_are_cut_between_characters() {
        let error = CodedError::new(codes::PARSE_SQL, "x").statement("é".repeat(5000));
        let statement = error.statement.unwrap();
        assert!(statement.len() <= STATEMENT_BYTES_MAX + 3 && statement.ends_with('…'));
    }
}
