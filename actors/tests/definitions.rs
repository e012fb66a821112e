//! The definitions of source tables are followed, and rows go by name into targets that look otherwise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

#[path = "support/stream_rig.rs"]
#[allow(dead_code, reason = "shared by several test binaries")]
mod stream_rig;
mod support;

use std::collections::BTreeMap;

use dmnode_actors::sync::{self, SchemaOperation, operate_schema};
use dmnode_actors::unit::UnitContext;
use dmnode_model::config::FilterRule;
use dmnode_model::{Epoch, SourceId, TableName, TaskName, codes};
use dmnode_mysql::{ColumnType, TableInfo};
use dmnode_schema::definition::{Context, Definition, Fate, KeyKind, interpret};
use dmnode_schema::{SqlMode, Statement};
use stream_rig::{Running, StreamRig};
use support::{Kind, Server};

/// Statements that both flavours execute; after each one every table must look as the interpreter says.
const STATEMENTS: &[&str] = &[
    "CREATE TABLE a (id INT UNSIGNED NOT NULL AUTO_INCREMENT, b VARCHAR(20) DEFAULT 'x,y)', c DECIMAL(8), d DEC, e DOUBLE PRECISION, f FLOAT(30), g BOOL NOT NULL, h CHAR, i BINARY, j BIT, k NUMERIC(10,3) UNSIGNED, PRIMARY KEY (id), KEY (b), UNIQUE KEY u (c, d))",
    "CREATE TABLE t (a TINYTEXT, b TEXT(100), c TEXT, d TEXT(70000), e MEDIUMTEXT, f BLOB(300), g LONG, h LONG VARBINARY, i NATIONAL VARCHAR(5), j NCHAR(3), k CHARACTER VARYING(9) CHARACTER SET latin1, l VARCHAR(9) COLLATE latin1_bin, m CHAR(4) CHARACTER SET binary, n TEXT CHARACTER SET binary, o ENUM('a,b','c)') NOT NULL, p SET('x','y') CHARACTER SET latin1, q CHAR(3) BINARY) DEFAULT CHARSET latin1",
    "CREATE TABLE m (a DATE, b TIME(3), c DATETIME(6), d TIMESTAMP(2) NULL DEFAULT CURRENT_TIMESTAMP(2) ON UPDATE CURRENT_TIMESTAMP(2), e YEAR, f INT GENERATED ALWAYS AS (YEAR(c)) VIRTUAL, g INT AS (MONTH(c)) STORED, h POINT NOT NULL, i GEOMETRY, UNIQUE (a), UNIQUE (a, b), KEY x (e))",
    "CREATE TABLE s (id SERIAL, v INT PRIMARY KEY COMMENT 'PRIMARY KEY, KEY (x)', w INT UNIQUE, x INT UNSIGNED, CHECK (v > 0), CONSTRAINT named UNIQUE (x))",
    "CREATE TABLE l LIKE a",
    "ALTER TABLE a ADD n1 INT FIRST, ADD COLUMN n2 INT NOT NULL AFTER b, ADD (n3 INT, n4 TEXT), ADD UNIQUE (n1), DROP COLUMN h",
    "ALTER TABLE a CHANGE n1 o1 BIGINT UNSIGNED AFTER n3, MODIFY n2 VARCHAR(30) CHARACTER SET latin1 FIRST, DROP KEY u, ADD UNIQUE KEY u (b(5), k)",
    "ALTER TABLE a RENAME COLUMN o1 TO o2, RENAME KEY u TO uu, ALTER COLUMN b SET DEFAULT 'q', ENGINE=InnoDB, COMMENT='a, DROP COLUMN b'",
    "ALTER TABLE a DROP PRIMARY KEY, MODIFY id INT UNSIGNED NOT NULL, ADD PRIMARY KEY (id, k)",
    "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, ADD z VARCHAR(4)",
    "ALTER TABLE t DEFAULT CHARACTER SET latin1, ADD y VARCHAR(4), ADD yy VARCHAR(4) CHARACTER SET utf8mb4",
    "CREATE UNIQUE INDEX ix ON m (e, b)",
    "DROP INDEX x ON m",
    "ALTER TABLE m DROP INDEX ix, DROP INDEX a_2",
    "RENAME TABLE l TO tmp, s TO l, tmp TO s",
    "ALTER TABLE l RENAME TO ll, ADD COLUMN q INT",
    "ALTER TABLE s ADD COLUMN IF_x INT, DROP KEY b, ADD KEY bb (b), ADD INDEX (c), ADD UNIQUE INDEX (c)",
    "CREATE TABLE p (id INT, d DATE NOT NULL, v INT, KEY (id, d)) PARTITION BY RANGE (TO_DAYS(d)) (PARTITION p0 VALUES LESS THAN (700000), PARTITION p1 VALUES LESS THAN MAXVALUE)",
    "ALTER TABLE p DROP PARTITION p0",
    "ALTER TABLE p REMOVE PARTITIONING",
    "ALTER TABLE p ADD COLUMN w INT /*!50606 NOT NULL */ DEFAULT 3, ADD CONSTRAINT cu UNIQUE (w, v)",
    "ALTER TABLE p DROP COLUMN id",
    "CREATE TABLE IF NOT EXISTS p (zzz INT)",
    "DROP TABLE s, ll",
    "TRUNCATE TABLE p",
];

const MARIADB: &[&str] = &[
    "CREATE OR REPLACE TABLE p (id INT PRIMARY KEY, j JSON, u UUID, i6 INET6, c VARCHAR(100) COMPRESSED, x INT INVISIBLE)",
    "ALTER TABLE p ADD COLUMN IF NOT EXISTS j INT, ADD COLUMN IF NOT EXISTS k INT, DROP COLUMN IF EXISTS nope, MODIFY COLUMN IF EXISTS nope INT, ADD INDEX IF NOT EXISTS k1 (k)",
    "ALTER TABLE p CHANGE COLUMN IF EXISTS k kk INT NOT NULL DEFAULT (1 + 2), DROP INDEX IF EXISTS k1",
];

const MYSQL: &[&str] = &[
    "CREATE TABLE y (id INT PRIMARY KEY, j JSON, c INT INVISIBLE, v VECTOR(3), e INT DEFAULT (1 + 2), UNIQUE KEY fx ((e + 1)), UNIQUE KEY ((e * 2), c))",
    "ALTER TABLE y ALTER COLUMN c SET VISIBLE, ALTER INDEX fx INVISIBLE, ADD UNIQUE KEY d (e DESC)",
    "ALTER TABLE y RENAME COLUMN j TO v, RENAME COLUMN v TO j",
    "ALTER TABLE y DROP CONSTRAINT d",
];

/// What matters of a table, from the server's description.
fn seen(info: &TableInfo) -> Vec<String> {
    let mut out: Vec<String> = info
        .columns
        .iter()
        .map(|column| {
            let charset = column.charset.as_deref().map(|name| if name == "utf8" { "utf8mb3" } else { name });
            format!(
                "{} {:?} unsigned={} null={} {:?} generated={} invisible={} counts={}",
                column.name,
                column.data_type,
                column.unsigned,
                column.nullable,
                charset,
                column.generated,
                column.invisible,
                column.auto_increment
            )
        })
        .collect();
    let mut keys: Vec<String> = info
        .keys
        .iter()
        .filter(|key| key.unique)
        .map(|key| {
            let parts: Vec<String> = key
                .columns
                .iter()
                .map(|part| {
                    let name = part.column.map_or("?", |index| info.columns[index].name.as_str());
                    format!("{name}:{:?}", part.prefix_len)
                })
                .collect();
            format!("{} {}", key.name, parts.join(","))
        })
        .collect();
    keys.sort();
    out.extend(keys);
    out
}

/// The same of what the interpreter says.
fn followed(definition: &Definition) -> Vec<String> {
    let mut out: Vec<String> = definition
        .columns
        .iter()
        .map(|column| {
            let lower = column.type_text.to_ascii_lowercase();
            let unsigned = lower.rsplit(')').next().unwrap().contains("unsigned");
            format!(
                "{} {:?} unsigned={unsigned} null={} {:?} generated={} invisible={} counts={}",
                column.name,
                ColumnType::parse(&column.type_text),
                column.nullable,
                column.charset.as_deref(),
                column.generated,
                column.invisible,
                column.auto_increment
            )
        })
        .collect();
    let mut keys: Vec<String> = definition
        .keys
        .iter()
        .filter(|key| key.kind != KeyKind::Index)
        .map(|key| {
            let parts: Vec<String> = key
                .parts
                .iter()
                .map(|part| format!("{}:{:?}", part.column.as_deref().unwrap_or("?"), part.prefix))
                .collect();
            format!("{} {}", key.name, parts.join(","))
        })
        .collect();
    keys.sort();
    out.extend(keys);
    out
}

async fn follow(kind: Kind, further: &[&str]) {
    let server = Server::start(kind, &[]).await;
    server.execute(&["CREATE DATABASE app DEFAULT CHARACTER SET utf8mb4"]).await;
    let mut conn = server.connect().await;
    conn.execute("USE app").await.unwrap();
    let context = Context {
        mariadb: kind == Kind::Mariadb,
        explicit_timestamps: true,
        charset: Some("utf8mb4".to_owned()),
        ..Context::default()
    };
    let mut tables: BTreeMap<TableName, Fate> = BTreeMap::new();
    for sql in STATEMENTS.iter().chain(further) {
        conn.execute(sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
        let statement = Statement::classify(sql, "app", SqlMode::default());
        let known = |name: &TableName| match tables.get(name) {
            Some(Fate::Is(definition)) => Some(definition.clone()),
            _ => None,
        };
        let fates = interpret(&statement, sql, &context, &known);
        assert!(!fates.values().any(|fate| *fate == Fate::Unknown), "not understood: {sql}");
        tables.extend(fates);
        tables.retain(|_, fate| *fate != Fate::Gone);
        let infos = TableInfo::load_schema_tables(&mut conn, "app").await.unwrap();
        assert_eq!(
            infos.iter().map(|info| &info.name.table).collect::<Vec<_>>(),
            tables.keys().map(|name| &name.table).collect::<Vec<_>>(),
            "{sql}"
        );
        for info in &infos {
            let Some(Fate::Is(definition)) = tables.get(&info.name) else { panic!("{sql}") };
            assert_eq!(followed(definition), seen(info), "{} after {sql}", info.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_are_followed_as_mariadb_executes_them() {
    follow(Kind::Mariadb, MARIADB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_are_followed_as_mysql_executes_them() {
    follow(Kind::Mysql, MYSQL).await;
}

/// Rows of a query as lines.
async fn lines(server: &Server, sql: &str) -> Vec<String> {
    let rows = server.query(sql).await;
    rows.into_iter().map(|row| row[0].clone().unwrap_or_default()).collect()
}

/// A target with more columns, other keys, another order and other types takes every row by name, also after DDL and
/// after a restart.
async fn maps_by_name(from: Kind, arguments: &[&str], to: Kind) {
    let mut rig = StreamRig::with(from, arguments, to, &[], true).await;
    rig.target
        .execute(&[
            "CREATE DATABASE app CHARACTER SET utf8mb4",
            "CREATE TABLE app.t (note VARCHAR(20) DEFAULT 'here', b VARCHAR(40) CHARACTER SET utf8mb4, num BIGINT NOT NULL AUTO_INCREMENT, c INT, a BIGINT NOT NULL, twice BIGINT AS (a * 2) STORED, at TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (num), UNIQUE KEY (a), KEY (c))",
            "CREATE TABLE app.k (v INT, extra INT NULL, id INT)",
            "CREATE TABLE app.w (y INT, x INT NOT NULL, z INT NOT NULL DEFAULT 9, PRIMARY KEY (x, z))",
        ])
        .await;
    rig.source
        .execute(&[
            "CREATE DATABASE app CHARACTER SET latin1",
            "CREATE TABLE IF NOT EXISTS app.t (a INT PRIMARY KEY, b VARCHAR(20), c INT)",
            "CREATE TABLE IF NOT EXISTS app.k (id INT, v INT)",
            "CREATE TABLE IF NOT EXISTS app.w (x INT PRIMARY KEY, y INT)",
            "SET NAMES utf8mb4",
            "INSERT INTO app.t VALUES (1, 'ä', 10), (2, 'b', 20), (3, 'c', 30)",
            "INSERT INTO app.k VALUES (1, 1), (1, 1), (2, 2)",
            "INSERT INTO app.w VALUES (1, 1), (2, 2), (3, 3)",
            "UPDATE app.t SET b = 'öö', c = c + 1 WHERE a < 3",
            "UPDATE app.w SET y = y + 10",
            "UPDATE app.w SET x = x + 10 WHERE x = 3",
            "DELETE FROM app.t WHERE a = 3",
            "DELETE FROM app.k WHERE id = 1 LIMIT 1",
            "ALTER TABLE app.t ADD COLUMN d VARCHAR(5) FIRST, MODIFY c INT AFTER a",
            "INSERT INTO app.t (a, b, c, d) VALUES (5, 'five', 50, 'd')",
            "UPDATE app.t SET d = 'ü' WHERE a = 1",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    running.stop().await;
    rig.source
        .execute(&[
            "INSERT INTO app.t (a, b, c, d) VALUES (6, 'six', 60, 'e')",
            "ALTER TABLE app.t CHANGE b bb VARCHAR(30), ADD UNIQUE KEY (c)",
            "UPDATE app.t SET bb = CONCAT(bb, '!') WHERE a > 1",
            "DELETE FROM app.w WHERE x = 2",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    for sql in [
        "SELECT CONCAT_WS('/', a, bb, c, d) FROM app.t ORDER BY a",
        "SELECT CONCAT_WS('/', id, v) FROM app.k ORDER BY id, v",
        "SELECT CONCAT_WS('/', x, y) FROM app.w ORDER BY x",
    ] {
        assert_eq!(lines(&rig.target, sql).await, lines(&rig.source, sql).await, "{sql}");
    }
    assert_eq!(
        rig.target.number("SELECT COUNT(*) FROM app.t WHERE note = 'here' AND twice = a * 2").await,
        4
    );
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.w WHERE z = 9").await, 2);
    assert_eq!(
        lines(&rig.target, "SELECT origin FROM dm_meta.t_dmnode_schema WHERE table_name = 't'").await,
        ["ddl"]
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_go_by_name_from_mariadb_to_mysql() {
    maps_by_name(Kind::Mariadb, &[], Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_go_by_name_from_mysql_with_full_metadata_to_mariadb() {
    maps_by_name(Kind::Mysql, &["--binlog-row-metadata=FULL"], Kind::Mariadb).await;
}

/// A column that only the target has and that cannot stand without a value stops the task, by name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_further_column_without_default_is_named() {
    let mut rig = StreamRig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    rig.target
        .execute(&["CREATE DATABASE app", "CREATE TABLE app.t (id INT PRIMARY KEY, must INT NOT NULL)"])
        .await;
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE IF NOT EXISTS app.t (id INT PRIMARY KEY)",
            "INSERT INTO app.t VALUES (1)",
        ])
        .await;
    let error = rig.start().error().await;
    assert_eq!(error.code, codes::TARGET_COLUMN_WITHOUT_DEFAULT, "{error}");
    assert!(error.to_string().contains("`must`"), "{error}");
    rig.target.execute(&["ALTER TABLE app.t MODIFY must INT NULL"]).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.t").await, 1);
    running.stop().await;
}

/// A DDL that a filter leaves out is followed all the same: the rows behind it are read as the source wrote them, before
/// and after a crash, and the target gets what it has columns for as soon as it has them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_behind_a_skipped_ddl_are_read_as_they_are() {
    let mut rig = StreamRig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    let start = |rig: &mut StreamRig| {
        rig.epoch += 1;
        let mut spec = rig.spec();
        spec.subtask.filters.push(FilterRule {
            name: "f".to_owned(),
            schema_pattern: "app".to_owned(),
            table_pattern: "t".to_owned(),
            events: Vec::new(),
            sql_pattern: vec!["^ALTER TABLE".to_owned()],
            action: "Ignore".to_owned(),
        });
        let (task, source) = (TaskName::new(stream_rig::TASK), SourceId::new(stream_rig::SOURCE));
        let ctx = UnitContext::detached(task, source, Epoch(rig.epoch));
        let handle = tokio::spawn(sync::run(ctx.clone(), spec));
        Running { ctx, handle }
    };
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.t (id INT PRIMARY KEY, a INT, b INT)",
            "INSERT INTO app.t VALUES (1, 10, 100)",
            "ALTER TABLE app.t DROP COLUMN b, MODIFY a BIGINT FIRST",
            "INSERT INTO app.t (id, a) VALUES (2, 20)",
            "UPDATE app.t SET a = 11 WHERE id = 1",
        ])
        .await;
    let mut running = start(&mut rig);
    rig.caught_up(&mut running).await;
    let rows = "SELECT CONCAT_WS('/', id, a, IFNULL(b, 'null')) FROM app.t ORDER BY id";
    assert_eq!(lines(&rig.target, rows).await, ["1/11/100", "2/20/null"]);
    running.crash().await;
    rig.source
        .execute(&[
            "INSERT INTO app.t (id, a) VALUES (3, 30)",
            "ALTER TABLE app.t ADD COLUMN c INT AFTER a",
            "INSERT INTO app.t (id, a, c) VALUES (4, 40, 400)",
        ])
        .await;
    let error = start(&mut rig).error().await;
    assert_eq!(error.code, codes::SYNCER_UNIT_DML_COLUMN_NOT_MATCH, "{error}");
    assert!(error.to_string().contains("`c`"), "{error}");
    rig.target.execute(&["ALTER TABLE app.t ADD COLUMN c INT FIRST"]).await;
    let mut running = start(&mut rig);
    rig.caught_up(&mut running).await;
    let rows = "SELECT CONCAT_WS('/', id, a, c) FROM app.t ORDER BY id";
    assert_eq!(lines(&rig.target, rows).await, ["1/11", "2/20", "3/30", "4/40/400"]);
    running.stop().await;
}

/// F1: a key column that the server adds to the binlog of a table without a key, and that no definition has, is left out
/// of the rows: MySQL's generated invisible primary key in front, a vendor's column at the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f01_a_hidden_key_column_is_left_out() {
    let hiding =
        ["--sql-generate-invisible-primary-key=ON", "--show-gipk-in-create-table-and-information-schema=OFF"];
    let mut rig = StreamRig::with(Kind::Mysql, &hiding, Kind::Mariadb, &[], true).await;
    let tables = ["CREATE DATABASE app", "CREATE TABLE app.t (a INT, b VARCHAR(10))"];
    rig.source.execute(&tables).await;
    rig.source
        .execute(&[
            "CREATE TABLE app.vendor (a INT, b VARCHAR(10), hidden BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY)",
            "RESET BINARY LOGS AND GTIDS",
        ])
        .await;
    rig.target.execute(&tables).await;
    rig.target.execute(&["CREATE TABLE app.vendor LIKE app.t", "CREATE DATABASE dm_meta"]).await;
    let spec = rig.spec();
    let vendor = TableName::new("app", "vendor");
    let update =
        SchemaOperation::Update("CREATE TABLE x (a INT, b VARCHAR(10) CHARACTER SET utf8mb4)".to_owned());
    operate_schema(&spec.source, &spec.subtask, &vendor, &update).await.unwrap();
    for table in ["t", "vendor"] {
        rig.source
            .execute(&[
                &format!("INSERT INTO app.{table} (a, b) VALUES (1, 'x'), (1, 'x'), (2, 'y')"),
                &format!("UPDATE app.{table} SET b = 'z' WHERE a = 2"),
                &format!("DELETE FROM app.{table} WHERE a = 1 LIMIT 1"),
            ])
            .await;
    }
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    for table in ["t", "vendor"] {
        let sql = format!("SELECT CONCAT_WS('/', a, b) FROM app.{table} ORDER BY a");
        assert_eq!(lines(&rig.target, &sql).await, ["1/x", "2/z"], "{table}");
    }
    running.stop().await;
}

/// What a person says about a definition counts, is stored, and can be taken back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_can_be_corrected() {
    let mut rig = StreamRig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    // The binlog begins after an ALTER whose result nobody can see any more.
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.t (id INT PRIMARY KEY, a INT, b INT)",
            "RESET MASTER",
        ])
        .await;
    rig.target
        .execute(&["CREATE DATABASE app", "CREATE TABLE app.t (id INT PRIMARY KEY, b INT, a INT)"])
        .await;
    rig.source
        .execute(&[
            "INSERT INTO app.t (id, a, b) VALUES (1, 2, 3)",
            "SET SESSION sql_log_bin = 0",
            "ALTER TABLE app.t ADD COLUMN c INT",
        ])
        .await;
    rig.target.execute(&["ALTER TABLE app.t ADD COLUMN d INT"]).await;
    let error = rig.start().error().await;
    assert_eq!(error.code, codes::SYNCER_UNIT_DML_COLUMN_NOT_MATCH, "{error}");
    assert!(error.to_string().contains("binlog-schema update"), "{error}");
    let spec = rig.spec();
    let (source, subtask) = (&spec.source, &spec.subtask);
    let table = TableName::new("app", "t");
    let wrong = SchemaOperation::Update("CREATE TABLE t (id INT, a INT)".to_owned());
    operate_schema(source, subtask, &table, &wrong).await.unwrap();
    let error = rig.start().error().await;
    assert!(error.to_string().contains("given"), "{error}");
    let error =
        operate_schema(source, subtask, &table, &SchemaOperation::Update("DROP TABLE t".to_owned())).await;
    assert_eq!(error.unwrap_err().code, codes::SCHEMA_TRACKER_INVALID_CREATE_TABLE);
    let right = SchemaOperation::Update("CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT)".to_owned());
    let shown = operate_schema(source, subtask, &table, &right).await.unwrap();
    assert_eq!(shown, "CREATE TABLE `app`.`t` (`id` int NOT NULL, `a` int, `b` int, PRIMARY KEY (`id`))");
    assert_eq!(operate_schema(source, subtask, &table, &SchemaOperation::List).await.unwrap(), shown);
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    running.stop().await;
    assert_eq!(lines(&rig.target, "SELECT CONCAT_WS('/', id, a, b) FROM app.t").await, ["1/2/3"]);
    operate_schema(source, subtask, &table, &SchemaOperation::Delete).await.unwrap();
    assert_eq!(
        rig.target.number("SELECT COUNT(*) FROM dm_meta.t_dmnode_schema WHERE table_name = 't'").await,
        0
    );
    let now = operate_schema(source, subtask, &table, &SchemaOperation::UpdateFromSource).await.unwrap();
    assert!(now.contains("`c` int"), "{now}");
    let other = TableName::new("elsewhere", "t");
    let error = operate_schema(source, subtask, &other, &SchemaOperation::List).await.unwrap_err();
    assert_eq!(error.code, codes::SCHEMA_TABLE_OUT_OF_SCOPE);
}
