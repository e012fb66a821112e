//! Settings of a session, made once when a connection is opened.

use std::time::Duration;

use crate::literal::write_string;

/// How long to wait for a connection when nothing else is said.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a session should be like.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// `time_zone`, e.g. `+00:00`.
    pub time_zone: Option<String>,
    /// `sql_mode`, complete.
    pub sql_mode: Option<String>,
    /// `SET NAMES`: `utf8mb4`, or `binary` to be given the bytes of text columns as they are stored.
    pub charset: &'static str,
    /// `foreign_key_checks`.
    pub foreign_key_checks: Option<bool>,
    /// READ COMMITTED instead of the server's default isolation.
    pub isolation_read_committed: bool,
    /// An UPDATE counts the rows it matched, not only those it changed.
    pub found_rows: bool,
    /// Further `SET SESSION name = value`; a value that is not a number is sent as a string.
    pub extra: Vec<(String, String)>,
    /// [`Connection::load_data`](crate::Connection::load_data) will be used.
    pub local_infile: bool,
    /// Time limit of connecting, logging in and these settings together.
    pub connect_timeout: Duration,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            time_zone: None,
            sql_mode: None,
            charset: "utf8mb4",
            foreign_key_checks: None,
            isolation_read_committed: false,
            found_rows: false,
            extra: Vec::new(),
            local_infile: false,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
        }
    }
}

impl SessionOptions {
    /// The statements that make a session so, in order. The endpoint's own `session:` map comes last: it wins.
    pub(crate) fn statements<'a>(
        &'a self,
        session: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Vec<String> {
        let mut statements = vec![format!("SET NAMES {}", self.charset)];
        if self.isolation_read_committed {
            statements.push("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned());
        }
        let mut set = |name: &str, value: &str| {
            statements.push(format!("SET SESSION {name} = {}", set_value(value)));
        };
        if let Some(time_zone) = &self.time_zone {
            set("time_zone", time_zone);
        }
        if let Some(sql_mode) = &self.sql_mode {
            set("sql_mode", sql_mode);
        }
        if let Some(checks) = self.foreign_key_checks {
            set("foreign_key_checks", if checks { "1" } else { "0" });
        }
        let extra = self.extra.iter().map(|(name, value)| (name, value));
        for (name, value) in extra.chain(session) {
            set(&variable_name(name), value);
        }
        statements
    }
}

/// A variable's name as it may stand in SQL. Names are letters, digits, `_` and `.`; anything else is quoted.
fn variable_name(name: &str) -> String {
    if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.') {
        name.to_owned()
    } else {
        dmnode_model::quote_ident(name)
    }
}

/// Numbers and the words ON, OFF and DEFAULT stay bare, all else becomes a string.
fn set_value(value: &str) -> String {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let word = ["ON", "OFF", "TRUE", "FALSE", "DEFAULT"].iter().any(|word| value.eq_ignore_ascii_case(word));
    if number || word {
        return value.to_owned();
    }
    let mut out = Vec::with_capacity(value.len() + 2);
    write_string(value, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn settings_become_statements_and_the_users_come_last() {
        let options = SessionOptions {
            time_zone: Some("+00:00".into()),
            sql_mode: Some(String::new()),
            foreign_key_checks: Some(false),
            isolation_read_committed: true,
            extra: vec![("innodb_lock_wait_timeout".into(), "5".into())],
            ..SessionOptions::default()
        };
        let users = BTreeMap::from([("sql_mode".to_owned(), "ANSI'QUOTES".to_owned())]);
        assert_eq!(
            options.statements(&users),
            [
                "SET NAMES utf8mb4",
                "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
                "SET SESSION time_zone = '+00:00'",
                "SET SESSION sql_mode = ''",
                "SET SESSION foreign_key_checks = 0",
                "SET SESSION innodb_lock_wait_timeout = 5",
                "SET SESSION sql_mode = 'ANSI''QUOTES'",
            ]
        );
    }
}
