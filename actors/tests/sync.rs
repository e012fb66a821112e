//! Continuous replication between real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

#[path = "sync/corpus.rs"]
mod corpus;
#[path = "sync/decisions.rs"]
mod decisions;
#[path = "sync/passing.rs"]
mod passing;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "sync/splitting.rs"]
mod splitting;
#[path = "support/stream_rig.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod stream_rig;
mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use dmnode_model::{CodedError, codes};
use proxy::Proxy;
use stream_rig::{Running, StreamRig as Rig};
use support::{Kind, Server};

const PATIENCE: Duration = Duration::from_secs(60);

const SCHEMA: &[&str] = &[
    "CREATE DATABASE app",
    "CREATE TABLE app.counter (id INT PRIMARY KEY, n INT NOT NULL)",
    "CREATE TABLE app.log (a INT, b VARCHAR(20), c FLOAT, d DOUBLE)",
    "CREATE TABLE app.users (id BIGINT UNSIGNED PRIMARY KEY, mail VARCHAR(50) NOT NULL, rank_no INT, touched TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, UNIQUE KEY (mail), UNIQUE KEY (rank_no)) CHARSET utf8mb4",
    "CREATE TABLE app.pair (a INT, b VARCHAR(10), v BLOB, PRIMARY KEY (a, b)) CHARSET utf8mb4",
    "CREATE TABLE app.kinds (id INT PRIMARY KEY AUTO_INCREMENT, t TINYINT, u BIGINT UNSIGNED, m MEDIUMINT, de DECIMAL(20,5), f FLOAT, d DOUBLE, da DATE, ti TIME(3), dt DATETIME(6), ts TIMESTAMP(3) NULL, y YEAR, e ENUM('a','b'), s SET('x','y','z'), bi BIT(10), l VARCHAR(20) CHARACTER SET latin1, tx TEXT, bl VARBINARY(20), g INT GENERATED ALWAYS AS (t + 1) STORED) CHARSET utf8mb4",
    "INSERT INTO app.counter VALUES (1, 0), (2, 0), (3, 0)",
];

/// One round of mixed changes; every statement is a transaction unless it says otherwise.
fn changes(round: u32) -> Vec<String> {
    let base = round * 100;
    let mut all = Vec::new();
    for i in 0..20 {
        all.push(format!("UPDATE app.counter SET n = n + 1 WHERE id = {}", i % 3 + 1));
        all.push(format!("INSERT INTO app.log VALUES ({}, 'x{}', {}.1, {} / 7)", i % 4, i % 2, i % 3, i));
        all.push(format!(
            "INSERT INTO app.users (id, mail, rank_no) VALUES ({0}, 'User{0}@example.org', {0})",
            base + i
        ));
        all.push(format!("INSERT INTO app.pair VALUES ({}, 'k{i}', REPEAT('b', {i}))", base));
    }
    all.push("BEGIN".into());
    for i in 0..10 {
        all.push(format!("UPDATE app.counter SET n = n + 10 WHERE id = {}", i % 3 + 1));
        all.push(format!("INSERT INTO app.kinds (t,u,m,de,f,d,da,ti,dt,ts,y,e,s,bi,l,tx,bl) VALUES ({i} - 5, 18446744073709551615 - {i}, -8388608 + {i}, -12.5 * {i}, 0.1 * {i}, 1e-300 * {i}, '2024-02-29', '-12:34:56.789', '2024-01-01 10:00:00.123456', '2024-06-01 12:00:00.5', 2000 + {i}, 'b', 'x,z', {i}, 'caf\u{e9}', 'quote '' and \u{1F600}', x'00ff27')"));
    }
    all.push("COMMIT".into());
    // A swap of values under two unique keys, and of the primary key.
    let (a, b) = (base + 1, base + 2);
    all.push("BEGIN".into());
    all.push(format!("UPDATE app.users SET mail = 'tmp' WHERE id = {a}"));
    all.push(format!("UPDATE app.users SET mail = 'User{a}@example.org' WHERE id = {b}"));
    all.push(format!("UPDATE app.users SET mail = 'user{b}@EXAMPLE.org' WHERE id = {a}"));
    all.push("COMMIT".into());
    all.push(format!("UPDATE app.users SET id = id + 1000000 WHERE id = {}", base + 3));
    all.push(format!("UPDATE app.users SET rank_no = NULL WHERE id = {}", base + 4));
    all.push(
        format!(
            "UPDATE app.users SET rank_no = rank_no + 1 WHERE id BETWEEN {} AND {} ORDER BY id DESC",
            base + 10,
            base + 12
        )
        .replace("rank_no + 1", "rank_no + 500000"),
    );
    all.push(format!("DELETE FROM app.users WHERE id = {}", base + 5));
    all.push(format!("INSERT INTO app.users (id, mail) VALUES ({}, 'again{}')", base + 5, base));
    all.push(format!("UPDATE app.pair SET b = CONCAT(b, '_') WHERE a = {base} AND b IN ('k3', 'k4')"));
    all.push(format!("DELETE FROM app.pair WHERE a = {base} AND b IN ('k5', 'k6', 'k7')"));
    all.push("DELETE FROM app.log WHERE a = 1 AND b = 'x1' LIMIT 2".into());
    all.push("UPDATE app.log SET d = d + 1 WHERE a = 2 LIMIT 3".into());
    all.push("UPDATE app.kinds SET f = f * 1.5, tx = NULL WHERE id % 3 = 0".into());
    all.push("BEGIN".into());
    all.push("INSERT INTO app.log VALUES (9, 'gone', 1, 1)".into());
    all.push("ROLLBACK".into());
    all
}

async fn write(server: &Server, statements: &[String]) {
    let mut conn = server.connect().await;
    for sql in statements {
        conn.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// Everything in one: types, keys, DDL, pause and resume, crashes.
async fn scenario(from: Kind, to: Kind, gtid: bool) {
    let mut rig = Rig::new(from, to, gtid).await;
    rig.source.execute(SCHEMA).await;
    let mut running = rig.start();
    write(&rig.source, &changes(0)).await;
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;

    // A pause at a transaction boundary; more changes; on.
    running.stop().await;
    write(&rig.source, &changes(1)).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;

    // Crashes while it works.
    for round in 2..8 {
        let statements = changes(round);
        let writer = write(&rig.source, &statements);
        let crash = async {
            tokio::time::sleep(Duration::from_millis(u64::from(round) * 37 % 150)).await;
            running.crash().await;
        };
        tokio::join!(writer, crash);
        running = rig.start();
    }
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;

    // DDL between rows.
    rig.source
        .execute(&[
            "CREATE DATABASE shop",
            "USE shop",
            "CREATE TABLE `odd ``name` (id INT PRIMARY KEY, v VARCHAR(10))",
            "INSERT INTO `odd ``name` VALUES (1, 'a'), (2, 'b')",
            "ALTER TABLE `odd ``name` ADD COLUMN w INT NOT NULL DEFAULT 7 FIRST, ADD INDEX (v)",
            "INSERT INTO `odd ``name` VALUES (1, 3, 'c')",
            "CREATE INDEX iw ON `odd ``name` (w)",
            "UPDATE `odd ``name` SET w = w + 1",
            "DROP INDEX iw ON `odd ``name`",
            "RENAME TABLE `odd ``name` TO plain",
            "INSERT INTO plain VALUES (1, 4, 'd')",
            "CREATE TABLE other LIKE plain",
            "INSERT INTO other SELECT * FROM plain",
            "RENAME TABLE plain TO tmp, other TO plain, tmp TO other",
            "DELETE FROM other WHERE id = 1",
            "TRUNCATE TABLE plain",
            "INSERT INTO plain VALUES (5, 5, 'e')",
            "ALTER TABLE plain RENAME TO plain2",
            "CREATE TABLE copy1 AS SELECT * FROM other",
            "CREATE TABLE gone (id INT PRIMARY KEY)",
            "DROP TABLE gone",
            "CREATE TEMPORARY TABLE scratch (id INT)",
            "DROP TEMPORARY TABLE scratch",
            "CREATE VIEW vv AS SELECT 1 AS one",
            "DROP VIEW vv",
            "CREATE DATABASE app_old",
            "CREATE TABLE app_old.x (id INT PRIMARY KEY)",
            "INSERT INTO app_old.x VALUES (1)",
            "DROP DATABASE app_old",
            "CREATE DATABASE elsewhere",
            "CREATE TABLE elsewhere.x (id INT PRIMARY KEY)",
            "INSERT INTO elsewhere.x VALUES (1)",
        ])
        .await;
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    let elsewhere = rig
        .target
        .number(
            "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name IN ('elsewhere', 'app_old')",
        )
        .await;
    assert_eq!(elsewhere, 0, "out of scope, or dropped");
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM dm_meta.t_dmnode_ddl").await, 0, "no intent is left");
    let status = running.ctx.status.snapshot().1.sync.unwrap();
    assert!(status.total_rows >= 20, "{status:?}");
    running.stop().await;
    if gtid {
        let known = rig.target.number("SELECT COUNT(watermark_gtid) FROM dm_meta.t_dmnode_progress").await;
        assert_eq!(known, 4, "every row knows its GTID set");
    }
    let checkpoint = rig
        .target
        .query("SELECT binlog_name, binlog_pos FROM dm_meta.t_syncer_checkpoint WHERE is_global = 1")
        .await;
    assert_eq!(checkpoint.len(), 1);
}

macro_rules! scenarios {
    ($($name:ident $from:ident $to:ident $gtid:literal;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            scenario(Kind::$from, Kind::$to, $gtid).await;
        }
    )*};
}

scenarios! {
    mariadb_to_mariadb_by_gtid Mariadb Mariadb true;
    mariadb_to_mysql_by_position Mariadb Mysql false;
    mysql_to_mariadb_by_gtid Mysql Mariadb true;
    mysql_to_mysql_by_position Mysql Mysql false;
}

/// INV-5: an old owner that is still running commits nothing more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_epoch_commits_nothing() {
    let mut rig = Rig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    rig.source.execute(SCHEMA).await;
    let mut old = rig.start();
    rig.caught_up(&mut old).await;
    let mut new = rig.start();
    write(&rig.source, &changes(0)).await;
    rig.caught_up(&mut new).await;
    rig.assert_equal().await;
    let error = old.error().await;
    assert_eq!(error.code, codes::FENCED, "{error}");
    // And it does not come back with its old epoch.
    let error = rig.start_as(rig.epoch - 1).error().await;
    assert_eq!(error.code, codes::FENCED, "{error}");
    new.stop().await;
}

/// A COMMIT whose answer is lost is applied once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_commit_answer_is_resolved() {
    let mut rig = Rig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    let proxy = Proxy::start(rig.target.port).await;
    rig.target_port = proxy.port;
    rig.source.execute(SCHEMA).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    for round in 0..6 {
        // Alternately: the COMMIT takes effect and its answer is lost; the COMMIT never arrives.
        proxy.lose_next("COMMIT", round % 2 == 0);
        write(&rig.source, &changes(round)).await;
        rig.caught_up(&mut running).await;
    }
    assert!(proxy.lost() >= 6, "{}", proxy.lost());
    rig.assert_equal().await;
    running.stop().await;
}

/// INV-15: a transaction of any size goes through bounded memory, whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_transaction_is_streamed() {
    let mut rig = Rig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    rig.source
        .execute(&["CREATE DATABASE app", "CREATE TABLE app.big (id INT PRIMARY KEY AUTO_INCREMENT, n INT, pad VARCHAR(1000)) CHARSET latin1"])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    let before = resident_kib();
    rig.source
        .execute(&[
            "USE app",
            "INSERT INTO app.big (n, pad) SELECT seq, REPEAT(CHAR(97 + seq % 26), 1000) FROM seq_1_to_120000",
            "UPDATE app.big SET n = n + 1 WHERE id < 60000",
        ])
        .await;
    rig.caught_up(&mut running).await;
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 120 << 10, "grown by {grown} KiB");
    let sum = "SELECT CONCAT(COUNT(*), ' ', SUM(n), ' ', SUM(CRC32(pad))) FROM app.big";
    assert_eq!(rig.source.query(sum).await, rig.target.query(sum).await);
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.big").await, 120_000);

    // A crash in the middle leaves nothing of it, and it comes once.
    rig.source.execute(&["UPDATE app.big SET n = n + 1"]).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    running.crash().await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    assert_eq!(rig.source.query(sum).await, rig.target.query(sum).await);
    running.stop().await;
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Actions of foreign keys that the source does not log take place in the target.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_key_actions_happen_in_the_target() {
    let mut rig = Rig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.p (id INT PRIMARY KEY, v INT)",
            "CREATE TABLE app.c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES app.p (id) ON DELETE CASCADE ON UPDATE CASCADE)",
            "CREATE TABLE app.g (id INT PRIMARY KEY, c INT, FOREIGN KEY (c) REFERENCES app.c (id) ON DELETE SET NULL)",
            "INSERT INTO app.p VALUES (1, 1), (2, 2), (3, 3)",
            "INSERT INTO app.c VALUES (10, 1), (11, 1), (20, 2), (30, 3)",
            "INSERT INTO app.g VALUES (100, 10), (200, 20)",
            "DELETE FROM app.p WHERE id = 1",
            "UPDATE app.p SET id = 22 WHERE id = 2",
            "SET foreign_key_checks = 0",
            "DELETE FROM app.p WHERE id = 3",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.c WHERE p = 3").await, 1);
    running.stop().await;
}

/// What cannot be applied stops the task with a code, an object and a position; nothing of it is half done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stops_are_coded_and_resumable() {
    let mut rig = Rig::new(Kind::Mariadb, Kind::Mariadb, false).await;
    rig.source.execute(SCHEMA).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;

    // A row that somebody else has changed in the target.
    rig.target.execute(&["DELETE FROM app.counter WHERE id = 2"]).await;
    rig.source
        .execute(&[
            "BEGIN",
            "UPDATE app.counter SET n = n + 1 WHERE id = 1",
            "UPDATE app.counter SET n = n + 1 WHERE id = 2",
            "COMMIT",
        ])
        .await;
    let error = running.error().await;
    assert_eq!(error.code, codes::ROW_NOT_FOUND, "{error}");
    assert_eq!(error.object.as_deref(), Some("`app`.`counter`"), "{error}");
    assert!(error.location.as_deref().is_some_and(|at| at.contains("bin.0")), "{error}");
    assert_eq!(rig.target.number("SELECT n FROM app.counter WHERE id = 1").await, 0, "nothing half done");
    rig.target.execute(&["INSERT INTO app.counter VALUES (2, 0)"]).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;

    // A row that is in the way.
    rig.target.execute(&["INSERT INTO app.counter VALUES (918273645, 5)"]).await;
    rig.source.execute(&["INSERT INTO app.counter VALUES (918273645, 0)"]).await;
    let error = running.error().await;
    assert_eq!(error.code, codes::DUPLICATE_FOREIGN_WRITER, "{error}");
    assert!(!error.to_string().contains("918273645"), "no row value: {error}");
    rig.target.execute(&["DELETE FROM app.counter WHERE id = 918273645"]).await;

    // A change in statement format.
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.source
        .execute(&["SET SESSION binlog_format = STATEMENT", "UPDATE app.counter SET n = 5 WHERE id = 1"])
        .await;
    let error = running.error().await;
    assert_eq!(error.code, codes::STATEMENT_FORMAT, "{error}");
}

/// A DDL that the target refuses stops the task; done by hand it is not done again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_ddl_can_be_done_by_hand() {
    let mut rig = Rig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    rig.source.execute(SCHEMA).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.target.execute(&["ALTER TABLE app.counter ADD COLUMN extra INT"]).await;
    rig.source
        .execute(&["ALTER TABLE app.counter ADD COLUMN extra INT", "UPDATE app.counter SET extra = id"])
        .await;
    let error = running.error().await;
    assert_eq!(error.code, codes::DDL_REFUSED, "{error}");
    assert!(error.statement.as_deref().is_some_and(|sql| sql.contains("ADD COLUMN extra")), "{error}");
    rig.target.execute(&["ALTER TABLE app.counter DROP COLUMN extra"]).await;
    rig.target.execute(&["ALTER TABLE app.counter ADD COLUMN extra INT, COMMENT 'by hand'"]).await;
    // Whatever was changed meanwhile: it is tried again and refused again. Then the operator says it is done.
    let error = rig.start().error().await;
    assert_eq!(error.code, codes::DDL_REFUSED, "{error}");
    rig.target.execute(&["UPDATE dm_meta.t_dmnode_ddl SET stage = 'done'"]).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    running.stop().await;
}

/// INV-1: without `meta` a task begins where the source was when it was started, also when it is interrupted
/// before it has met anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_without_meta_begins_once() {
    let mut rig = Rig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    rig.meta = false;
    let table = ["CREATE DATABASE app", "CREATE TABLE app.log (line VARCHAR(20))"];
    rig.source.execute(&table).await;
    rig.source.execute(&["INSERT INTO app.log VALUES ('before')"]).await;
    rig.target.execute(&table).await;
    let running = rig.start();
    let known = "SELECT COUNT(*) FROM dm_meta.t_dmnode_progress WHERE watermark_file IS NOT NULL";
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let mut conn = rig.target.connect().await;
        if conn.query(known).await.is_ok_and(|rows| rows[0].u64(0) > Some(0)) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the start is never written");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.crash().await;
    rig.source.execute(&["INSERT INTO app.log VALUES ('while it was down')"]).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    let lines = rig.target.query("SELECT line FROM app.log").await;
    assert_eq!(lines, [[Some("while it was down".to_owned())]]);
    running.stop().await;
}

/// INV-2: a large transaction without GTID is known by its end only, and is applied once all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_anonymous_transaction_is_applied_once() {
    let arguments = ["--enforce-gtid-consistency=OFF", "--gtid-mode=OFF"];
    let mut rig = Rig::with(Kind::Mysql, &arguments, Kind::Mariadb, &[], false).await;
    rig.source
        .execute(&["CREATE DATABASE app", "CREATE TABLE app.log (pad VARCHAR(1000)) CHARSET latin1"])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.source
        .execute(&[
            "SET SESSION cte_max_recursion_depth = 100000",
            "INSERT INTO app.log WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 20000) \
             SELECT REPEAT('x', 1000) FROM s",
        ])
        .await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while rig.target.number("SELECT COUNT(*) FROM app.log").await == 0 {
        assert!(tokio::time::Instant::now() < deadline, "it never comes");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.crash().await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.log").await, 20_000);
    running.stop().await;
}

/// The source vanishes for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_source_connection_is_made_anew() {
    let mut rig = Rig::new(Kind::Mariadb, Kind::Mariadb, false).await;
    rig.source.execute(SCHEMA).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    for round in 0..3 {
        write(&rig.source, &changes(round)).await;
        let dumps = rig
            .source
            .query("SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'")
            .await;
        for row in dumps {
            rig.source.execute(&[&format!("KILL {}", row[0].as_ref().unwrap())]).await;
        }
    }
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    running.stop().await;
}

/// INV-7: a DDL whose connection is lost, before or after it took effect, and whose owner then dies or lives, is
/// executed once.
async fn ddl_once(to: Kind) {
    let mut rig = Rig::new(Kind::Mariadb, to, true).await;
    let proxy = Proxy::start(rig.target.port).await;
    rig.target_port = proxy.port;
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.a (id INT PRIMARY KEY, v INT)",
            "CREATE TABLE app.b LIKE app.a",
            "INSERT INTO app.a VALUES (1, 1)",
            "INSERT INTO app.b VALUES (2, 2)",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    let mut column = 0;
    for crash in [false, true] {
        for only_the_answer in [true, false] {
            // Twin tables that change places: their definitions tell nothing, the marker does.
            for kind in ["RENAME TABLE", "ALTER TABLE", "TRUNCATE TABLE", "CREATE TABLE `app`.`copy"] {
                column += 1;
                let lost = proxy.lost();
                proxy.lose_next(kind, only_the_answer);
                let sql = match kind {
                    "RENAME TABLE" => {
                        "RENAME TABLE app.a TO app.tmp, app.b TO app.a, app.tmp TO app.b".to_owned()
                    }
                    "ALTER TABLE" => {
                        format!("ALTER TABLE app.a ADD COLUMN c{column} INT NOT NULL DEFAULT {column}")
                    }
                    "TRUNCATE TABLE" => "TRUNCATE TABLE app.b".to_owned(),
                    _ => format!("CREATE TABLE app.copy{column} AS SELECT * FROM app.a"),
                };
                // The twins must stay twins for the next exchange.
                let twin = format!("ALTER TABLE app.b ADD COLUMN c{column} INT NOT NULL DEFAULT {column}");
                let fill = format!("INSERT INTO app.b (id, v) VALUES ({column}00, 1)");
                rig.source.execute(&[&sql, &fill]).await;
                let deadline = tokio::time::Instant::now() + PATIENCE;
                while proxy.lost() == lost {
                    assert!(tokio::time::Instant::now() < deadline, "{sql} was not lost");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                if crash {
                    running.crash().await;
                    running = rig.start();
                }
                if kind == "ALTER TABLE" {
                    rig.source.execute(&[&twin]).await;
                }
                rig.caught_up(&mut running).await;
                rig.assert_equal().await;
            }
        }
    }
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM dm_meta.t_dmnode_ddl").await, 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ddl_is_executed_once_in_mariadb() {
    ddl_once(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ddl_is_executed_once_in_mysql() {
    ddl_once(Kind::Mysql).await;
}

/// MariaDB does not write columns' names into its binlog. Rows go by name all the same, into a table with the same
/// columns in another order too, since the stream has followed what the source's table looks like.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_in_another_order_are_matched_by_name() {
    let mut rig = Rig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.later (id INT PRIMARY KEY, a INT, b INT, s VARCHAR(20) CHARACTER SET latin1)",
            "INSERT INTO app.later VALUES (1, 2, 3, 'ä')",
            "ALTER TABLE app.later MODIFY a INT AFTER b, CONVERT TO CHARACTER SET utf8mb4",
            "INSERT INTO app.later (id, a, b, s) VALUES (2, 3, 4, 'ö')",
            "CREATE TABLE IF NOT EXISTS app.swapped (id INT PRIMARY KEY, a INT, b INT)",
            "INSERT INTO app.swapped VALUES (1, 2, 3)",
        ])
        .await;
    rig.target
        .execute(&["CREATE DATABASE app", "CREATE TABLE app.swapped (id INT PRIMARY KEY, b INT, a INT)"])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    for rows in [
        "SELECT CONCAT_WS(',', id, a, b, s) FROM app.later ORDER BY id",
        "SELECT CONCAT_WS(',', id, a, b) FROM app.swapped",
    ] {
        assert_eq!(rig.target.query(rows).await, rig.source.query(rows).await);
    }
    running.stop().await;
}

/// A DDL means in the target what it meant at the source: in the source's system time zone, with its rules for
/// TIMESTAMP columns, and with names as the source keeps them.
async fn ddl_means_the_same(from: Kind, to: Kind) {
    let arguments = ["TZ=Asia/Kolkata", "--lower-case-table-names=1"];
    // MySQL decides on the case of names when its data directory is made.
    let arguments = if from == Kind::Mysql { &arguments[..1] } else { &arguments[..] };
    let mut rig = Rig::with(from, arguments, to, &[], true).await;
    let mut names: Vec<String> = vec![
        "CREATE DATABASE app".into(),
        "CREATE TABLE app.zoned (id INT PRIMARY KEY)".into(),
        "INSERT INTO app.zoned VALUES (1)".into(),
        "ALTER TABLE app.zoned ADD d DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, ADD e TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP".into(),
    ];
    for explicit in [0, 1] {
        names.extend([
            format!("SET SESSION explicit_defaults_for_timestamp = {explicit}"),
            format!("CREATE TABLE app.stamps{explicit} (id INT PRIMARY KEY, t TIMESTAMP)"),
            format!("INSERT INTO app.stamps{explicit} (id) VALUES (1)"),
        ]);
    }
    // The server writes the definition of what was selected in UTF-8, whatever it names beside it.
    names.extend(
        [
            "SET NAMES utf8mb4",
            "CREATE TABLE app.words (id INT PRIMARY KEY, w VARCHAR(9) NOT NULL DEFAULT 'ü' COMMENT 'ö') CHARSET utf8mb4",
            "INSERT INTO app.words VALUES (1, 'é')",
            "SET NAMES latin1",
            "CREATE TABLE app.chosen (PRIMARY KEY (id)) SELECT id, w FROM app.words",
            "SET NAMES utf8mb4",
            // The same with backslashes, in a mode that knows none.
            r"CREATE TABLE app.bytes (id INT PRIMARY KEY, b BINARY(4) NOT NULL DEFAULT 'a\0\\', w VARCHAR(9) DEFAULT 'a\\''b')",
            "INSERT INTO app.bytes (id) VALUES (1)",
            "SET @mode = @@SESSION.sql_mode, SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',NO_BACKSLASH_ESCAPES')",
            "CREATE TABLE app.chosen_bytes (PRIMARY KEY (id)) SELECT id, b, w FROM app.bytes",
            "SET SESSION sql_mode = @mode",
            "INSERT INTO app.chosen_bytes (id) VALUES (2)",
        ]
        .map(str::to_owned),
    );
    if from == Kind::Mariadb {
        names.extend(
            [
                "CREATE DATABASE APP_two",
                "CREATE TABLE APP_two.Mixed (id INT PRIMARY KEY)",
                "ALTER TABLE app_TWO.mIXED ADD v INT",
                "RENAME TABLE app_two.MIXED TO App_Two.Renamed",
                "INSERT INTO app_two.RENAMED VALUES (1, 2)",
            ]
            .map(str::to_owned),
        );
    }
    let statements: Vec<&str> = names.iter().map(String::as_str).collect();
    rig.source.execute(&statements).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    let columns = "SELECT CONCAT_WS(' ', table_name, column_name, is_nullable, \
                   REPLACE(REPLACE(LOWER(extra), 'default_generated ', ''), '()', '')) \
                   FROM information_schema.columns WHERE table_schema = 'app' AND table_name LIKE 'stamps%' ORDER BY 1";
    assert_eq!(rig.target.query(columns).await, rig.source.query(columns).await);
    let texts = "SELECT HEX(TRIM(BOTH '\\'' FROM column_default)), HEX(column_comment) FROM information_schema.columns \
                 WHERE table_schema = 'app' AND table_name = 'chosen' ORDER BY ordinal_position";
    assert_eq!(rig.target.query(texts).await, rig.source.query(texts).await);
    // What the default is shows where it is used.
    rig.target.execute(&["INSERT INTO app.chosen_bytes (id) VALUES (3)"]).await;
    let given = "SELECT COUNT(DISTINCT HEX(b), HEX(w)), MAX(HEX(b)), MAX(w) FROM app.chosen_bytes";
    assert_eq!(
        rig.target.query(given).await,
        [[Some("1".into()), Some("61005C00".into()), Some(r"a\'b".into())]]
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ddl_means_the_same_mariadb() {
    ddl_means_the_same(Kind::Mariadb, Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ddl_means_the_same_mysql() {
    ddl_means_the_same(Kind::Mysql, Kind::Mariadb).await;
}

/// Dropping one shard must not drop the rows of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_merged_table_is_not_dropped_with_one_shard() {
    for sql in ["DROP TABLE app_1.t", "TRUNCATE TABLE app_1.t", "DROP DATABASE app_1"] {
        let mut rig = Rig::new(Kind::Mariadb, Kind::Mariadb, true).await;
        rig.task = "routes:\n  r:\n    schema-pattern: app_*\n    target-schema: app_all\n".into();
        for shard in [1, 2] {
            rig.source
                .execute(&[
                    &format!("CREATE DATABASE app_{shard}"),
                    &format!("CREATE TABLE app_{shard}.t (id INT PRIMARY KEY)"),
                    &format!("INSERT INTO app_{shard}.t VALUES ({shard})"),
                ])
                .await;
        }
        let mut running = rig.start();
        rig.caught_up(&mut running).await;
        rig.source.execute(&[sql]).await;
        let error = running.error().await;
        assert_eq!(error.code, codes::DDL_UNSUPPORTED, "{error}");
        assert_eq!(rig.target.number("SELECT COUNT(*) FROM app_all.t").await, 2, "{sql}");
    }
}
