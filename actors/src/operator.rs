//! What operators write by hand: the statements of `binlog replace` and `binlog inject`.

use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_schema::{SqlMode, Statement, split_statements};

/// The statements of a request, one by one. Only DDL whose names have their schema is taken, as in DM.
pub fn ddl_statements(texts: &[String]) -> Result<Vec<String>, CodedError> {
    let mode = SqlMode::default();
    let mut statements = Vec::new();
    for sql in split_statements(&texts.join(" "), mode) {
        let statement = Statement::classify(&sql, "", mode);
        if !statement.is_ddl() {
            return Err(CodedError::new(
                codes::OPERATOR_STATEMENT,
                "only support replace or inject with DDL currently",
            )
            .statement(sql));
        }
        let unnamed = statement.tables.iter().any(|reference| reference.name.schema.is_empty())
            || statement.schemas.iter().any(|reference| reference.name.is_empty());
        if unnamed {
            return Err(CodedError::new(
                codes::SYNCER_UNIT_INJECT_DDL_WITHOUT_SCHEMA,
                format!("injected DDL {sql} without schema name not valid"),
            )
            .remedy("write every table as `schema`.`table`, with the source's names"));
        }
        statements.push(sql);
    }
    Ok(statements)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(text: &str) -> Result<Vec<String>, u32> {
        ddl_statements(&[text.to_owned()]).map_err(|error| error.code)
    }

    #[test]
    fn only_ddl_with_schemas_is_taken() {
        assert_eq!(
            take("ALTER TABLE a.b ADD c INT COMMENT 'x;y'; DROP TABLE a.d;"),
            Ok(vec!["ALTER TABLE a.b ADD c INT COMMENT 'x;y'".to_owned(), "DROP TABLE a.d".to_owned()])
        );
        assert_eq!(take("CREATE DATABASE a"), Ok(vec!["CREATE DATABASE a".to_owned()]));
        assert_eq!(take("  ; "), Ok(Vec::new()));
        assert_eq!(take("ALTER TABLE b ADD c INT"), Err(36024));
        assert_eq!(take("CREATE TABLE a.b LIKE c"), Err(36024));
        assert_eq!(take("ALTER DATABASE CHARACTER SET utf8mb4"), Err(36024));
        for refused in
            ["DELETE FROM a.b", "garbage", "CREATE VIEW a.v AS SELECT 1", "ALTER TABLE a.b ADD c INT 'x"]
        {
            assert_eq!(take(refused), Err(60501), "{refused}");
        }
    }
}
