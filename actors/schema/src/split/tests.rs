use super::*;

fn parts(sql: &str) -> Option<Vec<String>> {
    split_operations(sql, SqlMode::default())
}

/// One row per multi-operation form: the statement, and what is left of its parts without their head `ALTER TABLE t`.
#[test]
fn f03_every_form_of_several_operations_is_split() {
    let cases: &[(&str, &[&str])] = &[
        ("ADD a INT, ADD COLUMN b INT DEFAULT 5", &["ADD a INT", "ADD COLUMN b INT DEFAULT 5"]),
        (
            "ADD (a INT, b ENUM('x,y', 'z)'), KEY k (a))",
            &["ADD a INT", "ADD b ENUM('x,y', 'z)')", "ADD KEY k (a)"],
        ),
        ("ADD COLUMN IF NOT EXISTS (a INT, b INT)", &["ADD a INT", "ADD b INT"]),
        ("ADD a DECIMAL(10,2), DROP b", &["ADD a DECIMAL(10,2)", "DROP b"]),
        ("ADD COLUMN a INT, DROP COLUMN a", &["DROP COLUMN a", "ADD COLUMN a INT"]),
        ("ADD a INT AFTER b, ADD b INT FIRST", &["ADD b INT FIRST", "ADD a INT AFTER b"]),
        ("ADD INDEX i (a), ADD a INT", &["ADD a INT", "ADD INDEX i (a)"]),
        ("ADD e INT, ADD INDEX e (e)", &["ADD e INT", "ADD INDEX e (e)"]),
        ("ADD KEY i (a), DROP KEY i", &["DROP KEY i", "ADD KEY i (a)"]),
        ("DROP COLUMN a, DROP INDEX ia", &["DROP INDEX ia", "DROP COLUMN a"]),
        (
            "DROP COLUMN a, DROP FOREIGN KEY f, DROP KEY f",
            &["DROP FOREIGN KEY f", "DROP KEY f", "DROP COLUMN a"],
        ),
        (
            "ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES p (id), DROP FOREIGN KEY f, ADD KEY ka (a)",
            &["DROP FOREIGN KEY f", "ADD KEY ka (a)", "ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES p (id)"],
        ),
        ("DROP CHECK c, ADD CONSTRAINT c CHECK (a > 1)", &["DROP CHECK c", "ADD CONSTRAINT c CHECK (a > 1)"]),
        ("DROP CONSTRAINT u, ADD UNIQUE KEY u (a, b)", &["DROP CONSTRAINT u", "ADD UNIQUE KEY u (a, b)"]),
        ("CHANGE a b INT, ADD KEY (b)", &["CHANGE a b INT", "ADD KEY (b)"]),
        ("ADD c INT AFTER b, CHANGE COLUMN a b INT", &["CHANGE COLUMN a b INT", "ADD c INT AFTER b"]),
        ("MODIFY a INT AFTER b, ADD b INT", &["ADD b INT", "MODIFY a INT AFTER b"]),
        ("MODIFY a BIGINT, MODIFY b BIGINT", &["MODIFY a BIGINT", "MODIFY b BIGINT"]),
        (
            "ALTER a SET DEFAULT 5, ALTER COLUMN b DROP DEFAULT",
            &["ALTER a SET DEFAULT 5", "ALTER COLUMN b DROP DEFAULT"],
        ),
        (
            "ALTER INDEX i INVISIBLE, ALTER INDEX j VISIBLE",
            &["ALTER INDEX i INVISIBLE", "ALTER INDEX j VISIBLE"],
        ),
        ("RENAME COLUMN a TO b, ADD a INT", &["RENAME COLUMN a TO b", "ADD a INT"]),
        ("RENAME COLUMN a TO b, RENAME COLUMN b TO c", &["RENAME COLUMN b TO c", "RENAME COLUMN a TO b"]),
        ("RENAME INDEX i TO j, ADD INDEX i (a)", &["RENAME INDEX i TO j", "ADD INDEX i (a)"]),
        ("RENAME TO u, ADD a INT", &["ADD a INT", "RENAME TO u"]),
        ("RENAME u, DROP a, COMMENT 'x'", &["DROP a", "COMMENT 'x'", "RENAME u"]),
        (
            "ADD a VARCHAR(9), CONVERT TO CHARACTER SET utf8mb4",
            &["CONVERT TO CHARACTER SET utf8mb4", "ADD a VARCHAR(9)"],
        ),
        (
            "ADD a VARCHAR(9), DEFAULT CHARSET=latin1 COMMENT='x'",
            &["DEFAULT CHARSET=latin1 COMMENT='x'", "ADD a VARCHAR(9)"],
        ),
        ("ENGINE=InnoDB, ADD a INT", &["ADD a INT", "ENGINE=InnoDB"]),
        ("ADD a INT, ORDER BY b, c", &["ADD a INT", "ORDER BY b, c"]),
        (
            "ADD a INT PARTITION BY RANGE (a) (PARTITION p VALUES LESS THAN (5), PARTITION q VALUES LESS THAN MAXVALUE)",
            &[
                "ADD a INT",
                "PARTITION BY RANGE (a) (PARTITION p VALUES LESS THAN (5), PARTITION q VALUES LESS THAN MAXVALUE)",
            ],
        ),
        ("ADD a INT REMOVE PARTITIONING", &["ADD a INT", "REMOVE PARTITIONING"]),
        ("ADD a INT, ADD b INT, ALGORITHM=INSTANT, LOCK NONE", &["ADD a INT", "ADD b INT"]),
        (
            "ADD FULLTEXT f (a), ADD FULLTEXT INDEX g (b), ADD SPATIAL KEY (p)",
            &["ADD FULLTEXT f (a)", "ADD FULLTEXT INDEX g (b)", "ADD SPATIAL KEY (p)"],
        ),
        (
            "ADD b INT GENERATED ALWAYS AS (a + 1) STORED, ADD a INT",
            &["ADD a INT", "ADD b INT GENERATED ALWAYS AS (a + 1) STORED"],
        ),
        // A primary key and columns that number themselves must not be parted.
        (
            "DROP PRIMARY KEY, ADD c INT, ADD PRIMARY KEY (b)",
            &["ADD c INT", "DROP PRIMARY KEY, ADD PRIMARY KEY (b)"],
        ),
        (
            "ADD id INT AUTO_INCREMENT FIRST, ADD c INT, ADD UNIQUE k (id)",
            &["ADD c INT", "ADD id INT AUTO_INCREMENT FIRST, ADD UNIQUE k (id)"],
        ),
    ];
    for (actions, expected) in cases {
        let found = parts(&format!("ALTER TABLE t {actions}")).unwrap_or_default();
        let found: Vec<&str> = found.iter().map(|sql| sql.strip_prefix("ALTER TABLE t ").unwrap()).collect();
        // Which of those that names leave free comes first is the stage's business, tested where it matters.
        assert_eq!(found, *expected, "{actions}");
    }
    let drops = parts("DROP TABLE IF EXISTS `a`.`b`, c.`d,e` CASCADE").unwrap();
    assert_eq!(drops, ["DROP TABLE IF EXISTS `a`.`b`", "DROP TABLE IF EXISTS c.`d,e`"]);
    let renames = parts("RENAME TABLES a.t TO a.x, a.u TO a.t, a.x TO a.u").unwrap();
    assert_eq!(renames, ["RENAME TABLE a.t TO a.x", "RENAME TABLE a.u TO a.t", "RENAME TABLE a.x TO a.u"]);
}

#[test]
fn f03_what_is_one_operation_or_cannot_be_parted_stays_whole() {
    for sql in [
        "ALTER TABLE t ADD a INT",
        "ALTER TABLE t ADD a INT, ALGORITHM=INPLACE",
        "ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN b TO a",
        "ALTER TABLE t CHANGE a b INT, CHANGE b a INT",
        "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (b)",
        "ALTER TABLE t DROP PARTITION p0, p1",
        "ALTER TABLE t TRUNCATE PARTITION p0, p1",
        "ALTER TABLE t ADD PARTITION (PARTITION a VALUES LESS THAN (1), PARTITION b VALUES LESS THAN (2))",
        "ALTER TABLE t REORGANIZE PARTITION a, b INTO (PARTITION c VALUES LESS THAN (9))",
        "ALTER TABLE t EXCHANGE PARTITION p WITH TABLE u, ALGORITHM=COPY",
        "ALTER TABLE t ADD COLUMN s TIMESTAMP(6) AS ROW START, ADD COLUMN e TIMESTAMP(6) AS ROW END, ADD PERIOD FOR SYSTEM_TIME (s, e), ADD SYSTEM VERSIONING",
        "DROP TABLE a",
        "DROP TEMPORARY TABLE a, b",
        "RENAME TABLE a TO b",
        "CREATE TABLE t (a INT, b INT)",
        "ALTER TABLE t",
        "",
    ] {
        assert_eq!(parts(sql), None, "{sql}");
    }
}

#[test]
fn hints_are_taken_off() {
    let plain = |sql| without_hints(sql, SqlMode::default());
    assert_eq!(
        plain("ALTER TABLE `a`.`t` ADD x INT, ALGORITHM = INSTANT, LOCK=NONE").as_deref(),
        Some("ALTER TABLE `a`.`t` ADD x INT")
    );
    assert_eq!(plain("ALTER TABLE t ADD algorithm INT, ADD `lock` INT"), None);
    assert_eq!(plain("ALTER TABLE t ADD x INT"), None);
}

#[test]
fn only_refusals_that_it_can_cure_lead_to_splitting() {
    let helps = |code, message, sql| splitting_may_help(code, message, sql, SqlMode::default());
    let two = "ALTER TABLE t ADD a INT, ADD KEY k (a)";
    assert!(helps(8200, "Unsupported multi schema change for xxx", two));
    assert!(helps(1072, "Key column 'a' doesn't exist in table", two));
    assert!(!helps(1072, "Key column 'z' doesn't exist in table", two));
    assert!(!helps(1060, "Duplicate column name 'a'", two));
    assert!(!helps(1142, "ALTER command denied to user", two));
    let again = "ALTER TABLE t DROP FOREIGN KEY f, ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES p (id)";
    assert!(helps(1005, "Can't create table (errno: 121)", again));
    assert!(!helps(1005, "Can't create table (errno: 121)", two));
}
