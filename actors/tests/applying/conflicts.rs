//! Changes that do not meet in the target what they met at the source.

use std::collections::BTreeMap;

use crate::stream_rig::{Running, StreamRig};
use crate::support::Kind;
use dmnode_model::codes;

const SCHEMA: &[&str] = &[
    "CREATE DATABASE app",
    "CREATE TABLE app.t (id INT PRIMARY KEY, n INT, s VARCHAR(20), u INT, UNIQUE KEY by_u (u)) CHARSET utf8mb4",
    "CREATE TABLE app.keyless (a INT, b VARCHAR(10)) CHARSET utf8mb4",
    "INSERT INTO app.t VALUES (1, 1, 'one', 1), (2, 2, 'two', 2), (3, 3, 'three', 3), (4, 4, 'four', 4), (5, 5, 'five', 5)",
    "INSERT INTO app.keyless VALUES (1, 'a'), (1, 'a'), (2, 'b')",
];

fn counts(running: &Running) -> BTreeMap<String, u64> {
    running.status().conflicts.into_iter().map(|one| (one.kind, one.count)).collect()
}

async fn rows(rig: &StreamRig) -> Vec<String> {
    let rows = rig.target.query("SELECT CONCAT_WS('/', id, n, s, u) FROM app.t ORDER BY id").await;
    rows.into_iter().filter_map(|row| row[0].clone()).collect()
}

/// What somebody did to the target, and then the source's changes to the same rows.
async fn disturb(rig: &StreamRig) {
    rig.target
        .execute(&[
            "DELETE FROM app.t WHERE id IN (2, 3)",
            "DELETE FROM app.keyless",
            "INSERT INTO app.t VALUES (7, 7, 'seven', 7)",
        ])
        .await;
    rig.source
        .execute(&[
            "BEGIN",
            "UPDATE app.t SET n = 20 WHERE id = 1",
            "UPDATE app.t SET n = 20 WHERE id = 2",
            "COMMIT",
            "DELETE FROM app.t WHERE id = 3",
            "UPDATE app.keyless SET b = 'z' WHERE a = 2",
            "DELETE FROM app.keyless WHERE a = 1 LIMIT 1",
            // Exactly the row that somebody else has put there.
            "INSERT INTO app.t VALUES (7, 7, 'seven', 7)",
            "UPDATE app.t SET n = 40 WHERE id = 4",
        ])
        .await;
}

/// UPDATE and DELETE that match no row stop the task unless it says otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_row_stops_a_strict_task() {
    let mut rig = StreamRig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    rig.source.execute(SCHEMA).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    disturb(&rig).await;
    let error = running.error().await;
    assert_eq!(error.code, codes::ROW_NOT_FOUND, "{error}");
    assert!(error.to_string().contains("key"), "{error}");
    assert_eq!(rig.target.number("SELECT n FROM app.t WHERE id = 1").await, 1, "nothing of it is half done");
    // The policy is changed, the task goes on, and what was done is counted.
    rig.sync = vec!["on-missing-row: repair"];
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    assert_eq!(counts(&running)["update-repaired"], 2);
    running.stop().await;
}

async fn repaired(from: Kind, to: Kind) {
    let mut rig = StreamRig::new(from, to, true).await;
    rig.sync = vec!["on-missing-row: repair"];
    rig.source.execute(SCHEMA).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    disturb(&rig).await;
    rig.caught_up(&mut running).await;
    assert_eq!(rows(&rig).await, ["1/20/one/1", "2/20/two/2", "4/40/four/4", "5/5/five/5", "7/7/seven/7"]);
    let found = counts(&running);
    let want = [("delete-ignored", 2), ("insert-present", 1), ("update-repaired", 2)];
    assert_eq!(found, want.map(|(kind, count)| (kind.to_owned(), count)).into());
    // The counts outlive the generation, and are told table by table in the target.
    running.crash().await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    assert_eq!(counts(&running), found);
    let by_table = rig
        .target
        .query("SELECT table_name, kind, SUM(n) FROM dm_meta.t_dmnode_conflict GROUP BY 1, 2 ORDER BY 1, 2")
        .await;
    assert_eq!(by_table.len(), 5, "{by_table:?}");

    // A row that differs is never overwritten.
    rig.target.execute(&["INSERT INTO app.t VALUES (8, 0, 'foreign', 8)"]).await;
    rig.source.execute(&["INSERT INTO app.t VALUES (8, 8, 'eight', 8)"]).await;
    let error = running.error().await;
    assert_eq!(error.code, codes::DUPLICATE_FOREIGN_WRITER, "{error}");
    assert_eq!(rows(&rig).await.last().map(String::as_str), Some("8/0/foreign/8"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_row_is_repaired_mariadb() {
    repaired(Kind::Mariadb, Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_row_is_repaired_mysql() {
    repaired(Kind::Mysql, Kind::Mysql).await;
}

/// `ignore` leaves the change out; in a large transaction as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_row_is_ignored() {
    let mut rig = StreamRig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    rig.sync = vec!["on-missing-row: ignore"];
    rig.source.execute(SCHEMA).await;
    rig.source
        .execute(&[
            "USE app",
            "CREATE TABLE app.big (id INT PRIMARY KEY, n INT, pad VARCHAR(1000)) CHARSET latin1",
            "INSERT INTO app.big SELECT seq, 0, REPEAT('x', 1000) FROM seq_1_to_20000",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    disturb(&rig).await;
    rig.target.execute(&["DELETE FROM app.big WHERE id IN (5, 15000)"]).await;
    rig.source.execute(&["UPDATE app.big SET n = n + 1"]).await;
    rig.caught_up(&mut running).await;
    assert_eq!(rows(&rig).await, ["1/20/one/1", "4/40/four/4", "5/5/five/5", "7/7/seven/7"]);
    let want = [("delete-ignored", 2), ("insert-present", 1), ("update-ignored", 4)];
    assert_eq!(counts(&running), want.map(|(kind, count)| (kind.to_owned(), count)).into());
    assert_eq!(rig.target.number("SELECT SUM(n) FROM app.big").await, 19_998);
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.big WHERE id IN (5, 15000)").await, 0);
    running.stop().await;
}

/// F9: a row above the target's `max_allowed_packet` is named before it is sent, with the setting to raise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f09_a_row_above_the_packet_limit_is_named() {
    for (from, to) in [(Kind::Mariadb, Kind::Mariadb), (Kind::Mariadb, Kind::Mysql)] {
        let (large, small) = (["--max-allowed-packet=64M"], ["--max-allowed-packet=1M"]);
        let mut rig = StreamRig::with(from, &large, to, &small, true).await;
        rig.source
            .execute(&[
                "CREATE DATABASE app",
                "CREATE TABLE app.wide (id INT PRIMARY KEY, v LONGBLOB, w LONGTEXT)",
            ])
            .await;
        let mut running = rig.start();
        rig.caught_up(&mut running).await;
        // Together more than a packet, each of them less: they are only cut.
        rig.source
            .execute(&[
                "USE app",
                "INSERT INTO app.wide SELECT seq, NULL, REPEAT('x', 300000) FROM seq_1_to_10",
            ])
            .await;
        rig.caught_up(&mut running).await;
        rig.source.execute(&["INSERT INTO app.wide VALUES (918273645, REPEAT('y', 3000000), 'z')"]).await;
        let error = running.error().await;
        assert_eq!(error.code, codes::ROW_TOO_LARGE, "{error}");
        let text = error.full_message();
        assert!(
            text.contains("wide") && text.contains("id") && text.contains("max_allowed_packet"),
            "{text}"
        );
        assert!(!text.contains("918273645"), "no value: {text}");
        rig.target.execute(&["SET GLOBAL max_allowed_packet = 67108864"]).await;
        let mut running = rig.start();
        rig.caught_up(&mut running).await;
        rig.assert_equal().await;
        running.stop().await;
    }
}

/// A source without strict mode computes columns from values that their expressions do not fit; the target computes the
/// same. A value that is written and does not fit stops the task all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn computed_columns_are_as_lenient_as_at_the_source() {
    for kind in [Kind::Mariadb, Kind::Mysql] {
        let mut rig = StreamRig::new(kind, kind, true).await;
        rig.source
            .execute(&[
                "CREATE DATABASE app",
                "CREATE TABLE app.c (id INT PRIMARY KEY, a VARCHAR(20), n INT, g BIGINT GENERATED ALWAYS AS (a * 2) STORED, \
                 v TINYINT GENERATED ALWAYS AS (n * 3) VIRTUAL, KEY by_v (v), UNIQUE KEY by_g (g, id)) CHARSET utf8mb4",
                "SET SESSION sql_mode = ''",
                "INSERT INTO app.c (id, a, n) VALUES (1, 'five', 1), (2, '7x', 2), (3, '8', 90)",
                "UPDATE app.c SET a = 'nine' WHERE id = 3",
                "UPDATE app.c SET n = 80 WHERE id = 1",
                "DELETE FROM app.c WHERE id = 2",
            ])
            .await;
        let mut running = rig.start();
        rig.caught_up(&mut running).await;
        rig.assert_equal().await;
        assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.c WHERE g = 0").await, 2);
        rig.target.execute(&["ALTER TABLE app.c MODIFY n TINYINT"]).await;
        rig.source
            .execute(&["SET SESSION sql_mode = ''", "INSERT INTO app.c (id, a, n) VALUES (4, 'x', 1000)"])
            .await;
        let error = running.error().await;
        assert_eq!(error.code, codes::ROW_REFUSED, "{error}");
        assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.c").await, 2, "{error}");
    }
}

/// The same for an index over an expression, whose value MySQL computes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functional_indexes_are_as_lenient_as_at_the_source() {
    let mut rig = StreamRig::new(Kind::Mysql, Kind::Mysql, true).await;
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.f (id INT PRIMARY KEY, d DECIMAL(65,30), v VARCHAR(20), j JSON, KEY f3 ((d + 1)), \
             KEY f4 ((CAST(v AS SIGNED))), KEY f5 ((CAST(v AS CHAR(3)))), KEY f6 ((CAST(j->'$.n' AS SIGNED)))) CHARSET utf8mb4",
            "SET SESSION sql_mode = ''",
            "INSERT INTO app.f (id, d) VALUES (1, 1), (2, REPEAT('9', 35))",
            "INSERT IGNORE INTO app.f (id, v) VALUES (3, 'five'), (4, '7 pieces')",
            "INSERT IGNORE INTO app.f (id, j) VALUES (5, '{\"n\": 5}'), (6, '{\"n\": \"six\"}')",
            "UPDATE app.f SET d = REPEAT('9', 35) WHERE id = 1",
            "DELETE FROM app.f WHERE id = 2",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.f WHERE d > 9").await, 1);
    running.stop().await;
}

/// Servers do not find a row by the number of a SET with its 54th member or a later one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_64_members_is_found() {
    for kind in [Kind::Mysql, Kind::Mariadb] {
        let mut rig = StreamRig::new(kind, kind, true).await;
        let members: Vec<String> = (1..=64).map(|number| format!("'m{number}'")).collect();
        let create = format!(
            "CREATE TABLE app.s (x SET({}) NOT NULL PRIMARY KEY, n INT) CHARSET latin1",
            members.join(",")
        );
        rig.source
            .execute(&[
                "CREATE DATABASE app",
                &create,
                "INSERT INTO app.s VALUES ('m1', 1), ('m64', 2), ('m1,m64', 3), ('m54', 4), ('m54,m1', 5), ('m55,m2', 6), ('m1,m2', 7)",
                "UPDATE app.s SET n = n + 10",
                "UPDATE app.s SET x = 'm63,m64' WHERE n = 13",
                "DELETE FROM app.s WHERE n IN (11, 12, 15)",
                "DELETE FROM app.s WHERE n IN (17)",
            ])
            .await;
        let mut running = rig.start();
        rig.caught_up(&mut running).await;
        rig.assert_equal().await;
        assert_eq!(rig.target.number("SELECT SUM(n) FROM app.s").await, 13 + 14 + 16);
        assert_eq!(counts(&running), BTreeMap::new());
        running.stop().await;
    }
}

/// MariaDB keeps the digits of values that were there before their column got a count of decimals; a lookup by the key
/// does not find them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_rounded_numbers_finds_what_was_not_rounded() {
    let mut rig = StreamRig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.f (x FLOAT NOT NULL PRIMARY KEY, n INT)",
            "CREATE TABLE app.d (x DOUBLE NOT NULL, n INT, UNIQUE KEY (x))",
            "INSERT INTO app.f VALUES (0.123456, 1), (0.123, 2), (7.5, 3), (1.23456, 4), (2.34567, 5)",
            "INSERT INTO app.d SELECT * FROM app.f",
            "ALTER TABLE app.f MODIFY x FLOAT(9,3) NOT NULL",
            "ALTER TABLE app.d MODIFY x DOUBLE(9,3) NOT NULL",
            "UPDATE app.f SET n = n + 10",
            "UPDATE app.d SET n = n + 10",
            "DELETE FROM app.f WHERE n IN (11, 14)",
            "DELETE FROM app.d WHERE n IN (11, 14)",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.f WHERE n IN (12, 13, 15)").await, 3);
    assert_eq!(counts(&running), BTreeMap::new());
    // What is really gone still stops the task.
    rig.target.execute(&["DELETE FROM app.f WHERE n = 15"]).await;
    rig.source.execute(&["UPDATE app.f SET n = 0 WHERE n = 15"]).await;
    let error = running.error().await;
    assert_eq!(error.code, codes::ROW_NOT_FOUND, "{error}");
}

/// The same in tables without a key, with rows that show the same values; beside what the copy has rounded.
async fn rounded_numbers_without_a_key(from: Kind, to: Kind) {
    let mut rig = StreamRig::new(from, to, true).await;
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.f (n INT, x FLOAT, y DOUBLE)",
            "INSERT INTO app.f VALUES (1, 498.75906, 498.7590612345), (2, 498.759, 498.759), (3, 7.5, NULL), (4, 1.23456, 1.23456)",
            "INSERT INTO app.f VALUES (5, 498.75906, 498.7590612345), (5, 498.759, 498.759)",
            "ALTER TABLE app.f MODIFY x FLOAT(9,3), MODIFY y DOUBLE(12,3)",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    // As the copy, or a row written by replication, would have it.
    rig.target.execute(&["UPDATE app.f SET x = 1.235, y = 1.235 WHERE n = 4"]).await;
    rig.source
        .execute(&[
            "DELETE FROM app.f WHERE n = 1",
            "UPDATE app.f SET n = 12 WHERE n = 2",
            "DELETE FROM app.f WHERE n = 3",
            "UPDATE app.f SET n = 14 WHERE n = 4",
            "DELETE FROM app.f WHERE n = 5 AND x * 1e0 > 498.75903",
        ])
        .await;
    rig.caught_up(&mut running).await;
    let rows = "SELECT n, x, y, x * 1e0 > 498.75903 FROM app.f ORDER BY n";
    assert_eq!(
        rig.target
            .query(rows)
            .await
            .iter()
            .map(|row| row.iter().map(|v| v.clone().unwrap()).collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>(),
        ["5 498.759 498.759 0", "12 498.759 498.759 0", "14 1.235 1.235 0"]
    );
    assert_eq!(counts(&running), BTreeMap::new());
    rig.target.execute(&["DELETE FROM app.f WHERE n = 14"]).await;
    rig.source.execute(&["UPDATE app.f SET n = 0 WHERE n = 14"]).await;
    let error = running.error().await;
    assert_eq!(error.code, codes::ROW_NOT_FOUND, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rounded_numbers_without_a_key_mysql() {
    rounded_numbers_without_a_key(Kind::Mysql, Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rounded_numbers_without_a_key_mariadb() {
    rounded_numbers_without_a_key(Kind::Mariadb, Kind::Mariadb).await;
}

/// A CHECK constraint compares text with a number: the source took the rows with a warning, a strict session would not.
/// Rows that break the constraint are refused all the same.
async fn constraints_that_warn(kind: Kind) {
    let mut rig = StreamRig::new(kind, kind, true).await;
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.c (id INT PRIMARY KEY, b VARCHAR(20), n INT, CONSTRAINT never CHECK (b <> 4711))",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.source
        .execute(&[
            "INSERT IGNORE INTO app.c VALUES (1, 'x', 1), (2, '12', 2), (3, 'y 3', 3)",
            "INSERT INTO app.c VALUES (4, '13', 4), (5, NULL, 5)",
            "UPDATE IGNORE app.c SET n = n + 10, b = CONCAT('z', n)",
            "DELETE FROM app.c WHERE id = 3",
        ])
        .await;
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.c WHERE b LIKE 'z%'").await, 4);
    rig.target.execute(&["ALTER TABLE app.c ADD CONSTRAINT small CHECK (n < 100)"]).await;
    rig.source.execute(&["UPDATE IGNORE app.c SET n = 1000 WHERE id = 1"]).await;
    let error = running.error().await;
    assert_eq!(error.code, codes::ROW_REFUSED, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn constraints_that_warn_mysql() {
    constraints_that_warn(Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn constraints_that_warn_mariadb() {
    constraints_that_warn(Kind::Mariadb).await;
}
