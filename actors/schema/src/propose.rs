//! What an operator may run instead of a DDL that a target refused.

use crate::lex::{SqlMode, Tokens};
use crate::statement::{Edits, Statement, StatementKind, rewrite};

/// A statement that the target may take, with qualified names; empty when the target seems to have what the statement
/// wants. `code` is the number of the server's refusal. `None`: nothing can be derived.
pub fn propose_replacement(code: u16, sql: &str, schema: &str, mode: SqlMode) -> Option<String> {
    let statement = Statement::classify(sql, schema, mode);
    if !statement.is_ddl() || mode.ansi_quotes || mode.no_backslash_escapes {
        return None;
    }
    match code {
        // Table, column, key, partition exist already; nothing to drop.
        1007 | 1008 | 1050 | 1051 | 1060 | 1061 | 1068 | 1091 | 1507 | 1517 | 1826 => {
            let single = statement.kind != StatementKind::AlterTable || !has_comma(sql, mode);
            return single.then(String::new);
        }
        _ => {}
    }
    let tokens = Tokens::of(sql, mode);
    let mut edits = Edits::new(sql);
    match code {
        // ALGORITHM or LOCK that the operation cannot have.
        1845 | 1846 | 1221 | 4158 => without_algorithm(&tokens, &mut edits),
        // Unknown collation, unknown character set, unknown engine.
        1273 | 1115 => without_charset(&tokens, code, &mut edits),
        1286 | 1178 => option_value(&tokens, "ENGINE", "InnoDB", &mut edits),
        _ => return None,
    }
    if edits.is_empty() {
        return None;
    }
    let changed = edits.apply();
    let statement = Statement::classify(&changed, schema, mode);
    Some(rewrite(&changed, &statement, Clone::clone, str::to_owned))
}

fn has_comma(sql: &str, mode: SqlMode) -> bool {
    let tokens = Tokens::of(sql, mode);
    (0..tokens.len()).any(|i| tokens.punct(i, ','))
}

/// `, ALGORITHM = x` and `, LOCK = x` as actions of their own.
fn without_algorithm(tokens: &Tokens<'_>, edits: &mut Edits<'_>) {
    for i in 0..tokens.len() {
        if !tokens.is_any(i, &["ALGORITHM", "LOCK"]) || i == 0 {
            continue;
        }
        let value = if tokens.punct(i + 1, '=') { i + 2 } else { i + 1 };
        let end = tokens.span(value).end;
        if tokens.punct(i - 1, ',') {
            edits.delete(tokens.span(i - 1).start..end);
        } else if tokens.punct(value + 1, ',') {
            edits.delete(tokens.span(i).start..tokens.span(value + 1).end);
        } else {
            edits.delete(tokens.span(i).start..end);
        }
    }
}

/// Without `COLLATE x` (1273), or with utf8mb4 for `CHARACTER SET x` (1115).
fn without_charset(tokens: &Tokens<'_>, code: u16, edits: &mut Edits<'_>) {
    if code == 1115 {
        for i in 0..tokens.len() {
            let at = if tokens.is(i, "CHARSET") {
                i + 1
            } else if tokens.are(i, &["CHARACTER", "SET"]) {
                i + 2
            } else {
                continue;
            };
            let value = if tokens.punct(at, '=') { at + 1 } else { at };
            edits.replace(tokens.span(value), "utf8mb4");
        }
        return;
    }
    for i in 0..tokens.len() {
        if tokens.is(i, "COLLATE") {
            let value = if tokens.punct(i + 1, '=') { i + 2 } else { i + 1 };
            let start = if tokens.is(i.wrapping_sub(1), "DEFAULT") { i - 1 } else { i };
            edits.delete(tokens.span(start).start..tokens.span(value).end);
        }
    }
}

fn option_value(tokens: &Tokens<'_>, option: &str, value: &str, edits: &mut Edits<'_>) {
    for i in 0..tokens.len() {
        if tokens.is(i, option) {
            let at = if tokens.punct(i + 1, '=') { i + 2 } else { i + 1 };
            edits.replace(tokens.span(at), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn propose(code: u16, sql: &str) -> Option<String> {
        propose_replacement(code, sql, "db", SqlMode::default())
    }

    #[test]
    fn what_can_be_derived_is_proposed() {
        assert_eq!(propose(1060, "ALTER TABLE t ADD a INT").as_deref(), Some(""));
        assert_eq!(propose(1060, "ALTER TABLE t ADD a INT, ADD b INT"), None);
        assert_eq!(propose(1050, "CREATE TABLE t (a INT, b INT)").as_deref(), Some(""));
        assert_eq!(
            propose(1846, "ALTER TABLE t ADD a INT, ALGORITHM=INSTANT, LOCK = NONE").as_deref(),
            Some("ALTER TABLE `db`.`t` ADD a INT")
        );
        assert_eq!(
            propose(1845, "ALTER TABLE t ALGORITHM=INPLACE, MODIFY a BIGINT").as_deref(),
            Some("ALTER TABLE `db`.`t`  MODIFY a BIGINT")
        );
        assert_eq!(
            propose(1273, "CREATE TABLE t (a INT) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci")
                .as_deref(),
            Some("CREATE TABLE `db`.`t` (a INT) DEFAULT CHARSET=utf8mb4 ")
        );
        assert_eq!(
            propose(1286, "CREATE TABLE t (a INT) ENGINE=TokuDB").as_deref(),
            Some("CREATE TABLE `db`.`t` (a INT) ENGINE=InnoDB")
        );
        assert_eq!(propose(1064, "CREATE TABLE t (a INT) ENGINE=TokuDB"), None);
    }
}
