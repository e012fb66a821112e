use std::collections::BTreeMap;

use dmnode_model::TableName;

use super::*;
use crate::statement::Statement;

fn context() -> Context {
    Context {
        mariadb: true,
        explicit_timestamps: true,
        charset: Some("utf8mb4".to_owned()),
        ..Context::default()
    }
}

/// Runs statements on an empty server.
fn run(statements: &[&str]) -> BTreeMap<String, Fate> {
    let mut tables: BTreeMap<TableName, Fate> = BTreeMap::new();
    for sql in statements {
        let statement = Statement::classify(sql, "s", SqlMode::default());
        let known = |name: &TableName| match tables.get(name) {
            Some(Fate::Is(definition)) => Some(definition.clone()),
            _ => None,
        };
        let fates = interpret(&statement, sql, &context(), &known);
        tables.extend(fates);
    }
    tables.into_iter().map(|(name, fate)| (name.table, fate)).collect()
}

/// Columns and keys in short.
fn short(fate: &Fate) -> String {
    let Fate::Is(definition) = fate else { return format!("{fate:?}") };
    let columns = definition.columns.iter().map(|column| {
        let null = if column.nullable { "" } else { "!" };
        let charset = column.charset.as_deref().map(|charset| format!(" {charset}")).unwrap_or_default();
        let generated = if column.generated { " gen" } else { "" };
        format!("{}{null} {}{charset}{generated}", column.name, column.type_text)
    });
    let keys = definition.keys.iter().map(|key| {
        let parts: Vec<String> = key
            .parts
            .iter()
            .map(|part| {
                let prefix = part.prefix.map(|prefix| format!("({prefix})")).unwrap_or_default();
                format!("{}{prefix}", part.column.as_deref().unwrap_or("?"))
            })
            .collect();
        let kind = match key.kind {
            KeyKind::Primary => "pk",
            KeyKind::Unique => "uk",
            KeyKind::Index => "k",
        };
        format!("{kind} {}({})", key.name, parts.join(","))
    });
    columns.chain(keys).collect::<Vec<_>>().join("; ")
}

#[test]
fn statements_change_tables_as_servers_do() {
    for (statements, table, want) in [
        (
            &[
                "CREATE TABLE t (id INT PRIMARY KEY, `b c` VARCHAR(10) CHARACTER SET latin1 DEFAULT 'x,y)', UNIQUE (`b c`(4)), KEY (id)) ENGINE=InnoDB",
            ][..],
            "t",
            "id! int; b c varchar(10) latin1; pk PRIMARY(id); uk b c(b c(4)); k id(id)",
        ),
        (
            &[
                "create table t (a serial, b bool not null default true, c double precision, d dec(5), e text(70000), f national varchar(5), g char(3) binary, h json, i timestamp(3) null on update current_timestamp(3), j int as (a + 1) virtual)",
            ],
            "t",
            "a! bigint unsigned; b! tinyint(1); c double; d decimal(5,0); e mediumtext utf8mb4; f varchar(5) utf8mb3; g char(3) utf8mb4; h longtext utf8mb4; i timestamp(3); j int gen; uk a(a)",
        ),
        (
            &[
                "CREATE TABLE t (a INT, b INT, c INT, UNIQUE u (a, b), KEY (c))",
                "ALTER TABLE t ADD x INT FIRST, ADD y INT AFTER a, DROP COLUMN c, CHANGE b bb BIGINT FIRST, MODIFY a INT NOT NULL, RENAME INDEX u TO v",
            ],
            "t",
            "bb bigint; x int; a! int; y int; uk v(a,bb)",
        ),
        (
            &[
                "CREATE TABLE t (a INT, b INT, UNIQUE (a), UNIQUE (a, b))",
                "ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN b TO a",
                "CREATE UNIQUE INDEX z ON t (a DESC)",
                "DROP INDEX a ON t",
            ],
            "t",
            "b int; a int; uk a_2(b,a); uk z(a)",
        ),
        (
            &[
                "CREATE TABLE t (a TEXT, b VARCHAR(20) COLLATE latin1_bin, c TINYTEXT CHARACTER SET ascii, d BLOB) CHARACTER SET latin1",
                "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, ADD e CHAR(2)",
            ],
            "t",
            "a mediumtext utf8mb4; b varchar(20) utf8mb4; c text utf8mb4; d blob; e char(2) utf8mb4",
        ),
        (
            &[
                "CREATE TABLE t (a INT)",
                "CREATE TABLE u (b INT)",
                "RENAME TABLE t TO x, u TO t, x TO u",
                "ALTER TABLE u ADD c INT, RENAME TO w",
            ],
            "w",
            "a int; c int",
        ),
        (&["CREATE TABLE t (a INT)", "CREATE TABLE u LIKE t", "DROP TABLE t"], "u", "a int"),
        (&["CREATE TABLE t (a INT)", "CREATE TABLE u LIKE t", "DROP TABLE t"], "t", "Gone"),
        (
            &[
                "CREATE TABLE t (a SET('x', 'ä') CHARACTER SET utf8mb4)",
                "ALTER TABLE t CONVERT TO CHARACTER SET gbk",
            ],
            "t",
            "Unknown",
        ),
        (&["CREATE TABLE t AS SELECT 1"], "t", "Unknown"),
        (&["CREATE TABLE t (a INT)", "CREATE TABLE IF NOT EXISTS t (b INT)"], "t", "a int"),
        (&["CREATE TABLE t (a INT)", "CREATE OR REPLACE TABLE t (b INT)"], "t", "b int"),
        (&["ALTER TABLE t ADD b INT"], "t", "Unknown"),
        (
            &[
                "CREATE TABLE t (a INT)",
                "ALTER TABLE t ADD (b INT, c INT, UNIQUE (b)), ADD PRIMARY KEY (a, c), ENGINE=InnoDB, COMMENT 'x, ADD d INT'",
            ],
            "t",
            "a! int; b int; c! int; pk PRIMARY(a,c); uk b(b)",
        ),
        (
            &[
                "CREATE TABLE t (a INT, b INT, KEY (a)) PARTITION BY HASH (a) PARTITIONS 4",
                "ALTER TABLE t COALESCE PARTITION 2",
                "ALTER TABLE t DROP KEY a, ADD COLUMN IF NOT EXISTS b INT, DROP COLUMN IF EXISTS z",
            ],
            "t",
            "a int; b int",
        ),
        (
            &[
                "CREATE TABLE t (a INT /*!50606 STORAGE DISK */, b INT COMMENT ',', CONSTRAINT k UNIQUE (b), CONSTRAINT f FOREIGN KEY (a) REFERENCES p (a) ON DELETE SET NULL, CHECK (a > 0))",
            ],
            "t",
            "a int; b int; uk k(b)",
        ),
    ] {
        assert_eq!(short(&run(statements)[table]), want, "{statements:?}");
    }
}

#[test]
fn a_definition_survives_json() {
    let Fate::Is(definition) =
        &run(&["CREATE TABLE t (a INT PRIMARY KEY, b TEXT, c INT AS (a) INVISIBLE)"])["t"]
    else {
        panic!("not understood");
    };
    let text = serde_json::to_string(definition).unwrap();
    assert_eq!(&serde_json::from_str::<Definition>(&text).unwrap(), definition);
}

proptest::proptest! {
    #[test]
    fn foreign_text_never_panics(text in "(CREATE TABLE t|ALTER TABLE t|CREATE INDEX i ON t)[ -~]{0,120}") {
        let statement = Statement::classify(&text, "s", SqlMode::default());
        let definition = Definition::default();
        let _ = interpret(&statement, &text, &context(), &|_| Some(definition.clone()));
    }
}
