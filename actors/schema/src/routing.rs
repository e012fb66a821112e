//! Statements as the target gets them: names routed, a source's own suffix taken off.

use std::borrow::Cow;

use dmnode_model::{CodedError, TableName};

use crate::lex::{SqlMode, Tokens};
use crate::route::Router;
use crate::statement::{Statement, rewrite};

/// The statement with every name as `router` gives it.
pub fn rewrite_routed(sql: &str, statement: &Statement, router: &Router) -> Result<String, CodedError> {
    let tables = statement.tables.iter().map(|t| router.route(&t.name)).collect::<Result<Vec<_>, _>>();
    let schemas =
        statement.schemas.iter().map(|s| router.route_schema(&s.name)).collect::<Result<Vec<_>, _>>();
    let mut tables = tables.map_err(|err| err.statement(sql))?.into_iter();
    let mut schemas = schemas.map_err(|err| err.statement(sql))?.into_iter();
    let table = |name: &TableName| tables.next().unwrap_or_else(|| name.clone());
    let schema = |name: &str| schemas.next().unwrap_or_else(|| name.to_owned());
    Ok(rewrite(sql, statement, table, schema))
}

/// MySQL logs `CREATE TABLE … SELECT` as `CREATE TABLE (…) START TRANSACTION` and rows. A session that executes
/// this suffix takes nothing but `BINLOG`, `COMMIT` and `ROLLBACK` afterwards, so it is taken off.
pub fn strip_create_select_suffix(sql: &str, mode: SqlMode) -> Cow<'_, str> {
    let tokens = Tokens::of(sql, mode);
    if !tokens.is(0, "CREATE") || tokens.unterminated {
        return Cow::Borrowed(sql);
    }
    let mut end = tokens.len();
    while end > 0 && tokens.punct(end - 1, ';') {
        end -= 1;
    }
    match end.checked_sub(2) {
        Some(at) if tokens.are(at, &["START", "TRANSACTION"]) => {
            let kept = sql.get(..tokens.span(at).start).unwrap_or(sql);
            Cow::Borrowed(kept.trim_end())
        }
        _ => Cow::Borrowed(sql),
    }
}

/// The statements of a text, cut at the semicolons outside of strings and comments; empty ones are left out.
pub fn split_statements(text: &str, mode: SqlMode) -> Vec<String> {
    let tokens = Tokens::of(text, mode);
    let mut statements = Vec::new();
    let (mut start, mut has_words) = (0, false);
    for token in 0..=tokens.len() {
        let span = tokens.span(token);
        if token < tokens.len() && !tokens.punct(token, ';') {
            has_words = true;
            continue;
        }
        if has_words {
            statements.push(text.get(start..span.start).unwrap_or("").trim().to_owned());
        }
        (start, has_words) = (span.end, false);
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmnode_model::config::RouteRule;

    fn router() -> Router {
        let rule = RouteRule {
            schema_pattern: "shop*".into(),
            target_schema: "all`shops".into(),
            ..Default::default()
        };
        Router::new(&[rule], false).unwrap()
    }

    fn routed(sql: &str) -> String {
        let statement = Statement::classify(sql, "shop1", SqlMode::default());
        rewrite_routed(sql, &statement, &router()).unwrap()
    }

    #[test]
    fn names_follow_the_routes() {
        assert_eq!(routed("DROP TABLE a, x.b /* c */"), "DROP TABLE `all``shops`.`a`, `x`.`b` /* c */");
        assert_eq!(routed("CREATE DATABASE shop2"), "CREATE DATABASE `all``shops`");
        assert_eq!(
            routed("ALTER DATABASE CHARACTER SET utf8mb4"),
            "ALTER DATABASE `all``shops` CHARACTER SET utf8mb4"
        );
    }

    #[test]
    fn a_routing_error_names_the_statement() {
        let rule = |target: &str| RouteRule {
            schema_pattern: "a".into(),
            target_schema: target.into(),
            ..Default::default()
        };
        let router = Router::new(&[rule("x"), rule("y")], false).unwrap();
        for sql in ["DROP TABLE a.t", "DROP DATABASE a"] {
            let statement = Statement::classify(sql, "", SqlMode::default());
            assert!(rewrite_routed(sql, &statement, &router).is_err(), "{sql}");
        }
    }

    #[test]
    fn create_select_suffix_goes() {
        let strip = |sql| strip_create_select_suffix(sql, SqlMode::default()).into_owned();
        assert_eq!(
            strip("CREATE TABLE `t` (\n `a` int\n) START TRANSACTION"),
            "CREATE TABLE `t` (\n `a` int\n)"
        );
        assert_eq!(strip("create table t (a int) start transaction;"), "create table t (a int)");
        assert_eq!(
            strip("CREATE TABLE t (a int) COMMENT='START TRANSACTION'"),
            "CREATE TABLE t (a int) COMMENT='START TRANSACTION'"
        );
        assert_eq!(strip("START TRANSACTION"), "START TRANSACTION");
    }
}
