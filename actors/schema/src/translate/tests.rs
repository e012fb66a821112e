use super::*;

fn to_mariadb(sql: &str) -> Translated {
    translate(sql, SqlMode::default(), Flavor::Mysql, Flavor::Mariadb, (10, 11, 6)).unwrap()
}

fn to_mysql(sql: &str) -> Translated {
    translate(sql, SqlMode::default(), Flavor::Mariadb, Flavor::Mysql, (8, 4, 0)).unwrap()
}

/// Blanks do not matter to servers: compared with runs of blanks as one.
fn squeeze(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ").replace(" ,", ",").replace(" )", ")")
}

#[test]
fn statements_of_both_flavours_stay_byte_for_byte() {
    for sql in [
        "CREATE TABLE `t` (\n  `id` bigint(20) NOT NULL AUTO_INCREMENT,  PRIMARY KEY (`id`)) -- c",
        "ALTER TABLE t ADD COLUMN b INT /* x */ DEFAULT 5 AFTER a",
        "DROP TABLE IF EXISTS a, b",
        "INSERT INTO t VALUES ('COLLATE utf8mb4_0900_ai_ci')",
    ] {
        assert_eq!(to_mariadb(sql).sql, sql);
        assert_eq!(to_mysql(sql).sql, sql);
    }
}

/// As `SHOW CREATE TABLE` of 5.7 has it: the default collation of a character set is not named.
#[test]
fn a_definition_of_5_7_keeps_its_collations_on_a_newer_mysql() {
    let spelled = |sql: &str| with_utf8mb4_collation(sql, SqlMode::default(), "utf8mb4_general_ci");
    assert_eq!(
        spelled(
            "CREATE TABLE `t` (\n  `a` varchar(9) DEFAULT 'x, CHARSET=utf8mb4',\n  `b` varchar(9) CHARACTER SET latin1 DEFAULT NULL,\n  `c` varchar(9) COLLATE utf8mb4_bin DEFAULT NULL,\n  KEY `k` (`a`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COMMENT='COLLATE x'\n/*!50100 PARTITION BY KEY (a)\nPARTITIONS 2 */"
        ),
        "CREATE TABLE `t` (\n  `a` varchar(9) DEFAULT 'x, CHARSET=utf8mb4',\n  `b` varchar(9) CHARACTER SET latin1 DEFAULT NULL,\n  `c` varchar(9) COLLATE utf8mb4_bin DEFAULT NULL,\n  KEY `k` (`a`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_general_ci COMMENT='COLLATE x'\n/*!50100 PARTITION BY KEY (a)\nPARTITIONS 2 */"
    );
    assert_eq!(
        spelled(
            "CREATE TABLE t (a varchar(9) CHARACTER SET utf8mb4 DEFAULT NULL, b char(3)) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci"
        ),
        "CREATE TABLE t (a varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci DEFAULT NULL, b char(3)) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci"
    );
    let unchanged = "CREATE TABLE `t` (\n  `a` varchar(9)\n) DEFAULT CHARSET=latin1";
    assert_eq!(spelled(unchanged), unchanged);
}

#[test]
fn mysql_to_mariadb() {
    let cases = [
        (
            "CREATE TABLE t (a int DEFAULT NULL /*!80023 INVISIBLE */, b int NOT NULL /*!80023 INVISIBLE */) COLLATE=utf8mb4_0900_ai_ci",
            "CREATE TABLE t (a int DEFAULT NULL INVISIBLE, b int NOT NULL) COLLATE=utf8mb4_uca1400_nopad_ai_ci",
        ),
        (
            "CREATE TABLE t (a int, UNIQUE KEY k (a) COMMENT 'x' /*!80000 INVISIBLE */, KEY j (a) VISIBLE)",
            "CREATE TABLE t (a int, UNIQUE KEY k (a) COMMENT 'x' IGNORED, KEY j (a))",
        ),
        (
            "ALTER TABLE t ALTER INDEX k INVISIBLE, ALTER INDEX l VISIBLE",
            "ALTER TABLE t ALTER INDEX k IGNORED, ALTER INDEX l NOT IGNORED",
        ),
        (
            "CREATE TABLE t (a int, CONSTRAINT c CHECK ((a > 1)) /*!80016 NOT ENFORCED */, CHECK (a < 9) ENFORCED)",
            "CREATE TABLE t (a int, CHECK (a < 9))",
        ),
        ("CREATE TABLE t (a int, CHECK (a > 1) NOT ENFORCED)", "CREATE TABLE t (a int)"),
        (
            "CREATE TABLE t (a int CONSTRAINT c CHECK (a > 1) NOT ENFORCED COMMENT 'x')",
            "CREATE TABLE t (a int COMMENT 'x')",
        ),
        (
            "CREATE TABLE t (p point NOT NULL /*!80003 SRID 4326 */, g geomcollection)",
            "CREATE TABLE t (p point NOT NULL, g geometrycollection)",
        ),
        (
            "CREATE TABLE t (a int, b int GENERATED ALWAYS AS ((a + 1)) STORED NOT NULL)",
            "CREATE TABLE t (a int, b int GENERATED ALWAYS AS ((a + 1)) STORED)",
        ),
        (
            "CREATE TABLE t (a int) /*!80023 AUTOEXTEND_SIZE=4194304 */ ENGINE=InnoDB COMPRESSION='zlib' /*!80016 ENCRYPTION='Y' */ COMMENT='ENCRYPTION=1'",
            "CREATE TABLE t (a int) ENGINE=InnoDB COMMENT='ENCRYPTION=1'",
        ),
        (
            "CREATE DATABASE `d` /*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci */ /*!80016 DEFAULT ENCRYPTION='N' */",
            "CREATE DATABASE `d` DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_uca1400_nopad_ai_ci",
        ),
        (
            "CREATE DATABASE d CHARSET utf8mb4",
            "CREATE DATABASE d CHARSET utf8mb4 COLLATE utf8mb4_uca1400_nopad_ai_ci",
        ),
        (
            "CREATE TABLE t (a char(3) CHARACTER SET utf8mb4, b char(3) AS (cast(a as char charset utf8mb4)) STORED) DEFAULT CHARSET=utf8mb4",
            "CREATE TABLE t (a char(3) CHARACTER SET utf8mb4 COLLATE utf8mb4_uca1400_nopad_ai_ci, b char(3) AS (cast(a as char charset utf8mb4)) STORED) DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_uca1400_nopad_ai_ci",
        ),
        (
            "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4",
            "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_uca1400_nopad_ai_ci",
        ),
        ("ALTER TABLE t ADD a INT, ALGORITHM=INSTANT, LOCK=NONE", "ALTER TABLE t ADD a INT"),
        ("ALTER TABLE t ADD algorithm INT, DROP lock_a", "ALTER TABLE t ADD algorithm INT, DROP lock_a"),
        (
            "CREATE INDEX `lock` ON t (a) INVISIBLE ALGORITHM=INPLACE LOCK NONE",
            "CREATE INDEX `lock` ON t (a) IGNORED",
        ),
        ("ALTER TABLE t DROP CHECK c", "ALTER TABLE t DROP CONSTRAINT c"),
        (
            "ALTER TABLE t ADD b INT AS (j->'$.a'), ADD c CHAR(9) AS (j->>\"$.b\")",
            "ALTER TABLE t ADD b INT AS (JSON_EXTRACT(j,'$.a')), ADD c CHAR(9) AS (JSON_UNQUOTE(JSON_EXTRACT(j,\"$.b\")))",
        ),
        (
            "CREATE TABLE t (a text, FULLTEXT KEY f (a) /*!50100 WITH PARSER `ngram` */ )",
            "CREATE TABLE t (a text, FULLTEXT KEY f (a))",
        ),
        (
            "CREATE TABLE t (a int)\n/*!50100 PARTITION BY RANGE (a)\n(PARTITION p VALUES LESS THAN (1) ENGINE = InnoDB) */",
            "CREATE TABLE t (a int) PARTITION BY RANGE (a) (PARTITION p VALUES LESS THAN (1) ENGINE = InnoDB)",
        ),
        (
            "ALTER TABLE t CHANGE a a CHAR(3) CHARACTER SET utf8mb4 BINARY",
            "ALTER TABLE t CHANGE a a CHAR(3) CHARACTER SET utf8mb4 BINARY",
        ),
        ("ALTER DATABASE d DEFAULT ENCRYPTION='Y' READ ONLY=1", "DO 0"),
        (
            "ALTER TABLE t ADD returning INT AFTER offset, ADD KEY (x, offset(3))",
            "ALTER TABLE t ADD `returning` INT AFTER `offset`, ADD KEY (x, `offset`(3))",
        ),
        (
            "ALTER TABLE t ADD COLUMN (a INT VISIBLE, b JSON), ENCRYPTION='N'",
            "ALTER TABLE t ADD COLUMN (a INT, b JSON)",
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(squeeze(&to_mariadb(sql).sql), squeeze(expected), "{sql}");
    }
}

#[test]
fn mariadb_to_mysql() {
    let cases = [
        (
            "CREATE TABLE t (a int) DEFAULT CHARSET=utf8mb4",
            "CREATE TABLE t (a int) DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_general_ci",
        ),
        (
            "CREATE TABLE t (a varchar(9) /*M!100301 COMPRESSED*/ DEFAULT NULL, b text COMPRESSED=zlib NOT NULL) ENGINE=Aria PAGE_CHECKSUM=1 TRANSACTIONAL=1 ROW_FORMAT=PAGE",
            "CREATE TABLE t (a varchar(9) DEFAULT NULL, b text NOT NULL) ENGINE=InnoDB",
        ),
        (
            "CREATE TABLE t (a int DEFAULT current_timestamp(), b datetime(6) DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6), c char(36) DEFAULT uuid(), d date DEFAULT curdate(), e date DEFAULT CURRENT_DATE, f int DEFAULT (1 + 1), g int DEFAULT -1)",
            "CREATE TABLE t (a int DEFAULT (current_timestamp()), b datetime(6) DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6), c char(36) DEFAULT (uuid()), d date DEFAULT (curdate()), e date DEFAULT (CURRENT_DATE), f int DEFAULT (1 + 1), g int DEFAULT -1)",
        ),
        (
            "CREATE TABLE t (a text DEFAULT 'x', b blob NOT NULL DEFAULT X'00', c longtext DEFAULT _utf8mb4'y', d text DEFAULT NULL)",
            "CREATE TABLE t (a text DEFAULT ('x'), b blob NOT NULL DEFAULT (X'00'), c longtext DEFAULT (_utf8mb4'y'), d text DEFAULT NULL)",
        ),
        (
            "ALTER TABLE t ADD COLUMN IF NOT EXISTS j JSON DEFAULT '{}' AFTER a",
            "ALTER TABLE t ADD COLUMN j longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT ('{}') CHECK (json_valid(j)) AFTER a",
        ),
        (
            "CREATE TABLE t (a int, KEY k (a) IGNORED, KEY l (a) NOT IGNORED)",
            "CREATE TABLE t (a int, KEY k (a) INVISIBLE, KEY l (a) VISIBLE)",
        ),
        (
            "CREATE TABLE t (a int, CONSTRAINT `CONSTRAINT_1` CHECK (a > 1), CONSTRAINT own CHECK (a < 9))",
            "CREATE TABLE t (a int, CHECK (a > 1), CONSTRAINT own CHECK (a < 9))",
        ),
        ("ALTER ONLINE TABLE IF EXISTS t WAIT 5 DROP INDEX IF EXISTS i", "ALTER TABLE t DROP INDEX i"),
        (
            "CREATE TABLE IF NOT EXISTS t (a int AS (b) PERSISTENT)",
            "CREATE TABLE IF NOT EXISTS t (a int AS (b) STORED)",
        ),
        ("SET STATEMENT max_statement_time=0 FOR DROP TABLE t NOWAIT", "DROP TABLE t"),
        ("CREATE TABLE t (a int) `PAGE_COMPRESSED`='ON' COMMENT='x'", "CREATE TABLE t (a int) COMMENT='x'"),
        ("CREATE DATABASE d COMMENT 'x'", "CREATE DATABASE d"),
        (
            "CREATE TABLE t (rank INT, KEY rank (rank), `groups` INT)",
            "CREATE TABLE t (`rank` INT, KEY rank (`rank`), `groups` INT)",
        ),
        (
            "ALTER TABLE t DROP rows, CHANGE COLUMN row `row2` INT, ALTER KEY k IGNORED",
            "ALTER TABLE t DROP `rows`, CHANGE COLUMN `row` `row2` INT, ALTER INDEX k INVISIBLE",
        ),
        ("RENAME TABLE IF EXISTS a NOWAIT TO b", "RENAME TABLE a TO b"),
        ("ALTER TABLE t ALTER c SET DEFAULT uuid()", "ALTER TABLE t ALTER c SET DEFAULT (uuid())"),
    ];
    for (sql, expected) in cases {
        assert_eq!(squeeze(&to_mysql(sql).sql), squeeze(expected), "{sql}");
    }
    let replaced = to_mysql("CREATE OR REPLACE TABLE `a`.`b` (c int)");
    assert_eq!(squeeze(&replaced.sql), "CREATE TABLE `a`.`b` (c int)");
    assert_eq!(replaced.prelude, ["DROP TABLE IF EXISTS `a`.`b`"]);
}

#[test]
fn what_the_target_cannot_hold_is_refused_by_name() {
    let refused = |sql: &str, from, to, version| {
        let err = translate(sql, SqlMode::default(), from, to, version).unwrap_err();
        assert_eq!(err.code, codes::DIALECT_NOT_IN_TARGET, "{sql}");
        err.to_string()
    };
    for (sql, name) in [
        ("CREATE TABLE t (a int, `u``1` UUID)", "`u``1`"),
        ("ALTER TABLE t ADD ip INET6", "`ip`"),
        ("CREATE TABLE t (a int) WITH SYSTEM VERSIONING", "system versioning"),
        ("CREATE TABLE t (a int, s date, e date, PERIOD FOR p (s, e))", "PERIOD"),
        ("CREATE SEQUENCE s", "SEQUENCE"),
        ("CREATE TABLE t (a int DEFAULT nextval(`d`.`s`))", "`s`"),
        ("ALTER IGNORE TABLE t ADD UNIQUE (a)", "IGNORE"),
        ("CREATE TABLE t (v VECTOR(3))", "`v`"),
    ] {
        let text = refused(sql, Flavor::Mariadb, Flavor::Mysql, (8, 4, 0));
        assert!(text.contains(name), "{text}");
    }
    for (sql, name) in [
        ("CREATE TABLE t (a int, KEY k ((a + 1)))", "KEY k"),
        ("CREATE INDEX f ON t (a, (lower(b)))", "lower(b)"),
        ("CREATE TABLE t (v vector(3))", "`v`"),
        ("CREATE TABLE t (a int) CHARSET=gb18030", "gb18030"),
        ("ALTER TABLE t ALTER CHECK c NOT ENFORCED", "CHECK"),
        ("ALTER TABLE t ALTER COLUMN b SET INVISIBLE", "visibility"),
    ] {
        let text = refused(sql, Flavor::Mysql, Flavor::Mariadb, (10, 11, 6));
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn the_sessions_default_collation_is_spelled_out() {
    let sql = "CREATE TABLE t (a VARCHAR(9) CHARACTER SET utf8mb4) CHARSET=utf8mb4 COLLATE=utf8mb4_bin";
    let translated = |collation| {
        let (from, to) = (Flavor::Mysql, Flavor::Mariadb);
        translate_with_default(sql, SqlMode::default(), from, to, (10, 11, 6), collation).unwrap().sql
    };
    assert!(translated(Some("utf8mb4_general_ci")).contains("utf8mb4 COLLATE utf8mb4_general_ci)"));
    assert!(translated(None).contains("utf8mb4 COLLATE utf8mb4_uca1400_nopad_ai_ci)"));
}
