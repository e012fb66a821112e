use super::*;
use crate::lex::SqlMode;
use crate::statement::Statement;

fn rule(schema: &str, table: &str, events: &[&str], patterns: &[&str], action: &str) -> FilterRule {
    FilterRule {
        name: "f".into(),
        schema_pattern: schema.into(),
        table_pattern: table.into(),
        events: events.iter().map(|e| e.to_string()).collect(),
        sql_pattern: patterns.iter().map(|e| e.to_string()).collect(),
        action: action.into(),
    }
}

fn filter(rules: &[FilterRule]) -> EventFilter {
    EventFilter::new(rules, false).unwrap()
}

/// What is left of a statement on database `s`.
fn left(filter: &EventFilter, sql: &str, before: Option<&str>) -> String {
    let mode = SqlMode::default();
    let statement = Statement::classify(sql, "s", mode);
    let filtered = StatementFilter { filter, sql, mode, statement: &statement, schema: "s", before }
        .apply(&|name| Ok(name.schema != "out"));
    match filtered {
        Ok(FilteredStatement::Whole) => "whole".to_owned(),
        Ok(FilteredStatement::Nothing(_)) => "nothing".to_owned(),
        Ok(FilteredStatement::Part { sql, .. }) => sql,
        Err(err) => format!("error {}", err.code),
    }
}

fn row(filter: &EventFilter, table: &str, event: Event) -> &'static str {
    let subject = Subject { schema: "s", table: Some(table), events: &[event], text: None };
    match filter.decide(subject).unwrap() {
        Verdict::Do => "do",
        Verdict::Ignore(_) => "ignore",
        Verdict::Error(_) => "error",
    }
}

#[test]
fn rows_by_kind() {
    let ignoring = filter(&[rule("s*", "log_*", &["Delete", "truncate table"], &[], "Ignore")]);
    assert_eq!(row(&ignoring, "log_1", Event::DELETE), "ignore");
    assert_eq!(row(&ignoring, "log_1", Event::INSERT), "do");
    assert_eq!(row(&ignoring, "other", Event::DELETE), "do");
    let only = filter(&[rule("s", "t", &["insert"], &[], "Do")]);
    assert_eq!(row(&only, "t", Event::INSERT), "do");
    assert_eq!(row(&only, "t", Event::UPDATE), "ignore");
    let error = filter(&[rule("s", "", &["all dml"], &[], "Error")]);
    assert_eq!(row(&error, "t", Event::UPDATE), "error");
    // As in DM, an empty list matches nothing: with Do, nothing passes.
    assert_eq!(row(&filter(&[rule("s", "", &[], &["x"], "Do")]), "t", Event::INSERT), "ignore");
    assert_eq!(row(&filter(&[rule("s", "", &[], &["x"], "Ignore")]), "t", Event::INSERT), "do");
}

#[test]
fn lists_are_read_in_order_and_rules_of_the_database_come_first() {
    let ordered = filter(&[rule("s", "t", &["none dml", "all"], &[], "Ignore")]);
    assert_eq!(row(&ordered, "t", Event::INSERT), "do");
    assert_eq!(left(&ordered, "TRUNCATE t", None), "nothing");
    let both =
        filter(&[rule("s", "t", &["insert"], &[], "Error"), rule("s", "", &["insert"], &[], "Ignore")]);
    assert_eq!(row(&both, "t", Event::INSERT), "ignore");
}

#[test]
fn every_name_of_a_ddl() {
    let create = "CREATE TABLE `t` (\n  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,\n  `a` varchar(20) CHARACTER SET latin1 DEFAULT 'x',\n  `d` decimal(10,2) DEFAULT NULL,\n  `e` enum('a','b') DEFAULT NULL,\n  `b` binary(4) DEFAULT NULL,\n  `n` int(11) DEFAULT 5,\n  PRIMARY KEY (`id`),\n  UNIQUE KEY `u` (`a`),\n  KEY `k` (`d`)\n) ENGINE=InnoDB";
    for (event, sql) in [
        ("create database", "CREATE SCHEMA s"),
        ("alter schema", "ALTER DATABASE s CHARACTER SET utf8mb4"),
        ("modify schema charset and collate", "ALTER DATABASE CHARACTER SET utf8mb4"),
        ("drop schema", "DROP DATABASE IF EXISTS s"),
        ("create table", "CREATE TABLE t (a INT)"),
        ("create table", "CREATE TABLE t LIKE u"),
        ("drop table", "DROP TABLE t"),
        ("truncate table", "TRUNCATE TABLE t"),
        ("rename table", "RENAME TABLE t TO u"),
        ("rename table", "ALTER TABLE t RENAME TO u"),
        ("create index", "CREATE UNIQUE INDEX i ON t (a)"),
        ("create index", "ALTER TABLE t ADD INDEX i (a)"),
        ("modify constraint", "ALTER TABLE t ADD INDEX i (a)"),
        ("drop index", "DROP INDEX i ON t"),
        ("drop unique key", "DROP INDEX u ON t"),
        ("drop unique key", "ALTER TABLE t DROP KEY u"),
        ("drop index", "ALTER TABLE t DROP KEY k"),
        ("alter table", "ALTER TABLE t ADD COLUMN c INT"),
        ("add column", "ALTER TABLE t ADD (c INT, d INT)"),
        ("drop column", "ALTER TABLE t DROP a"),
        ("drop column", "ALTER TABLE t DROP COLUMN a"),
        ("rename column", "ALTER TABLE t RENAME COLUMN a TO z"),
        ("rename column", "ALTER TABLE t CHANGE a z varchar(20) CHARACTER SET latin1 DEFAULT 'x'"),
        ("rename index", "ALTER TABLE t RENAME KEY k TO z"),
        ("drop primary key", "ALTER TABLE t DROP PRIMARY KEY"),
        ("add primary key", "ALTER TABLE t ADD CONSTRAINT PRIMARY KEY (id)"),
        ("add foreign key", "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (n) REFERENCES p (id)"),
        ("drop foreign key", "ALTER TABLE t DROP FOREIGN KEY f"),
        ("modify default value", "ALTER TABLE t ALTER COLUMN n SET DEFAULT 6"),
        ("set default value", "ALTER TABLE t ALTER n DROP DEFAULT"),
        ("modify default value", "ALTER TABLE t MODIFY n INT DEFAULT 6"),
        ("alter table", "ALTER TABLE t MODIFY n INT DEFAULT 5"),
        ("modify columns order", "ALTER TABLE t MODIFY n INT DEFAULT 5 FIRST"),
        ("value range decrease", "ALTER TABLE t MODIFY n SMALLINT DEFAULT 5"),
        ("value range decrease", "ALTER TABLE t MODIFY a varchar(10) DEFAULT 'x'"),
        ("value range decrease", "ALTER TABLE t MODIFY e enum('b','a')"),
        ("alter table", "ALTER TABLE t MODIFY e enum('a','b','c')"),
        ("precision decrease", "ALTER TABLE t MODIFY d decimal(12,2)"),
        ("precision decrease", "ALTER TABLE t MODIFY n INT UNSIGNED DEFAULT 5"),
        ("precision decrease", "ALTER TABLE t MODIFY b BINARY(8)"),
        ("modify column", "ALTER TABLE t MODIFY n TEXT"),
        ("modify column", "ALTER TABLE t MODIFY a CHAR(20) DEFAULT 'x'"),
        ("alter table", "ALTER TABLE t MODIFY n BIGINT DEFAULT 5"),
        ("remove auto increment", "ALTER TABLE t MODIFY id INT UNSIGNED NOT NULL"),
        ("modify charset", "ALTER TABLE t MODIFY a varchar(20) CHARACTER SET utf8mb4 DEFAULT 'x'"),
        ("modify charset", "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4"),
        ("modify table charset and collate", "ALTER TABLE t DEFAULT COLLATE utf8mb4_bin"),
        ("modify collation", "ALTER TABLE t COLLATE = utf8mb4_bin"),
        ("modify storage engine", "ALTER TABLE t ENGINE=InnoDB"),
        ("modify table comment", "ALTER TABLE t COMMENT='x'"),
        ("rebase auto id", "ALTER TABLE t AUTO_INCREMENT=5"),
        ("alter index visibility", "ALTER TABLE t ALTER INDEX k INVISIBLE"),
        ("add table partition", "ALTER TABLE t ADD PARTITION (PARTITION p VALUES LESS THAN (9))"),
        ("drop table partition", "ALTER TABLE t DROP PARTITION p1, p2"),
        ("truncate table partition", "ALTER TABLE t TRUNCATE PARTITION p1, p2"),
        (
            "reorganize table partition",
            "ALTER TABLE t REORGANIZE PARTITION a, b INTO (PARTITION c VALUES IN (1))",
        ),
        ("rebuild table partition", "ALTER TABLE t REBUILD PARTITION a, b"),
        ("coalesce table partition", "ALTER TABLE t COALESCE PARTITION 2"),
        ("exchange table partition", "ALTER TABLE t EXCHANGE PARTITION p WITH TABLE u"),
        ("alter table partitioning", "ALTER TABLE t PARTITION BY HASH (id) PARTITIONS 4"),
        ("remove table partitioning", "ALTER TABLE t REMOVE PARTITIONING"),
        ("all ddl", "ALTER TABLE t ADD COLUMN c INT"),
        ("incompatible ddl changes", "ALTER TABLE t DROP COLUMN a"),
    ] {
        let filter = filter(&[rule("s", "", &[&event.to_uppercase()], &[], "Ignore")]);
        assert_eq!(left(&filter, sql, Some(create)), "nothing", "{event}: {sql}");
    }
    // What DM does not count among them.
    let filter = filter(&[rule("s", "", &["incompatible ddl changes"], &[], "Ignore")]);
    for sql in [
        "ALTER TABLE t ADD COLUMN c INT",
        "CREATE TABLE t (a INT)",
        "ALTER TABLE t MODIFY n BIGINT DEFAULT 5",
    ] {
        assert_eq!(left(&filter, sql, Some(create)), "whole", "{sql}");
    }
}

#[test]
fn only_what_is_meant_is_left_out() {
    let drops = filter(&[rule("s", "", &["drop column", "drop table", "rename table"], &[], "Ignore")]);
    assert_eq!(
        left(&drops, "ALTER TABLE t ADD a INT, DROP COLUMN b, ADD KEY (a, c) PARTITION BY HASH (a)", None),
        "ALTER TABLE t ADD a INT, ADD KEY (a, c) PARTITION BY HASH (a)"
    );
    assert_eq!(
        left(&drops, "ALTER TABLE t DROP b, COMMENT='x, DROP c' /*!80000 , DROP c, ADD d INT */", None),
        "ALTER TABLE t COMMENT='x, DROP c', ADD d INT"
    );
    assert_eq!(left(&drops, "DROP TABLE t, out.u", None), "DROP TABLE IF EXISTS `out`.`u`");
    assert_eq!(
        left(&drops, "RENAME TABLE out.a TO out.b, a TO b", None),
        "RENAME TABLE `out`.`a` TO `out`.`b`"
    );
    assert_eq!(left(&drops, "DROP TABLE out.u", None), "whole");
    assert_eq!(left(&drops, "DROP TEMPORARY TABLE t", None), "whole");
    let error = filter(&[rule("s", "t", &["drop column"], &[], "Error")]);
    assert_eq!(left(&error, "ALTER TABLE t DROP b", None), "error 36015");
    assert_eq!(left(&error, "ALTER TABLE u DROP b", None), "whole");
}

#[test]
fn statements_by_their_text() {
    let by_text = filter(&[rule("*", "", &[], &["drop\\s+column", "^(?!alter).*weird"], "Ignore")]);
    assert_eq!(left(&by_text, "ALTER TABLE t ADD a INT, DROP  COLUMN b", None), "ALTER TABLE t ADD a INT");
    assert_eq!(left(&by_text, "FROB weird", None), "nothing");
    assert_eq!(left(&by_text, "FROB", None), "whole");
    let spanning = filter(&[rule("s", "", &[], &["add a .*drop column b"], "Ignore")]);
    assert_eq!(left(&spanning, "ALTER TABLE t ADD a INT, DROP COLUMN b", None), "nothing");
    let only = filter(&[rule("s", "", &["all"], &["create table", "add a .*add b"], "Do")]);
    assert_eq!(left(&only, "DROP TABLE t", None), "nothing");
    assert_eq!(left(&only, "CREATE TABLE t (a INT)", None), "whole");
    assert_eq!(left(&only, "ALTER TABLE t ADD a INT, ADD b INT", None), "whole");
    assert_eq!(row(&only, "t", Event::INSERT), "do");
}

#[test]
fn bad_rules_are_refused_with_their_place() {
    let err = EventFilter::new(&[rule("s", "", &[], &["ab(c"], "Ignore")], false).unwrap_err();
    assert_eq!(err.code, codes::CONFIG_BINLOG_EVENT_FILTER);
    assert!(err.to_string().contains("character 3"), "{err}");
    assert!(EventFilter::new(&[rule("s[", "", &[], &[], "Ignore")], false).is_err());
    assert!(EventFilter::new(&[rule("s", "", &[], &[], "ignore")], false).is_err());
}
