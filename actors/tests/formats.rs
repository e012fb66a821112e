//! Binlogs as servers write them under other settings than usual.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

#[path = "formats/huge_file.rs"]
mod huge_file;
#[path = "formats/older.rs"]
mod older;
#[path = "support/stream_rig.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod stream_rig;
mod support;

use dmnode_model::codes;
use dmnode_mysql::json_types_sql;
use stream_rig::StreamRig;
use support::{Kind, Server};

/// The documents with their types.
async fn documents(server: &Server) -> Vec<Vec<Option<String>>> {
    let types = ["c", "d"].map(|column| json_types_sql(column).join(", "));
    let mut conn = server.connect().await;
    conn.execute("SET SESSION group_concat_max_len = 1000000").await.unwrap();
    let mut all = Vec::new();
    for table in ["shop.j", "shop.n"] {
        let sql = format!("SELECT id, c, d, n, {}, {} FROM {table} ORDER BY id", types[0], types[1]);
        for row in conn.query(sql).await.unwrap() {
            all.push((0..row.len()).map(|index| row.string(index)).collect());
        }
    }
    all
}

#[tokio::test]
async fn partial_updates_of_json() {
    for metadata in ["--binlog-row-metadata=FULL", "--binlog-row-metadata=MINIMAL"] {
        let arguments = ["--binlog-row-value-options=PARTIAL_JSON", metadata];
        let mut rig = StreamRig::with(Kind::Mysql, &arguments, Kind::Mysql, &[], true).await;
        let document = r#"JSON_OBJECT('a', 1, 'list', JSON_ARRAY(1, 'two', JSON_OBJECT('x', 1.50, 'y', CAST('2026-08-01' AS DATE))),
            'pad', REPEAT('p', 300), 'k "q" \\ ü.[0]', JSON_OBJECT('deep', JSON_ARRAY(JSON_ARRAY(1, 2), 3)), 'n', NULL)"#;
        let mut statements = vec!["CREATE DATABASE shop".to_owned()];
        for (table, key) in [("j", "id INT PRIMARY KEY"), ("n", "id INT")] {
            statements.push(format!(
                "CREATE TABLE shop.{table} ({key}, c JSON, n INT, d JSON, g INT AS (c->'$.a') VIRTUAL)"
            ));
            statements.push(format!(
                "INSERT INTO shop.{table} (id, c, n, d) VALUES (1, {document}, 1, {document}), (2, {document}, 2, NULL), (3, NULL, 3, {document}), (4, {document}, 4, '[]')"
            ));
            for set in [
                "c = JSON_SET(c, '$.a', 2)",
                "c = JSON_SET(c, '$.a', 70000), d = JSON_SET(d, '$.list[1]', 'drei')",
                "d = JSON_REMOVE(d, '$.list[0]'), n = n + 1",
                "c = JSON_SET(c, '$.\"k \\\\\"q\\\\\" \\\\\\\\ ü.[0]\".deep[0][1]', 1.25)",
                "c = JSON_SET(c, '$.neu', JSON_OBJECT('b', 1, 'aa', 2)), d = JSON_REPLACE(d, '$.pad', 'short')",
                "c = JSON_REPLACE(c, '$.pad', REPEAT('q', 200), '$.list[2].x', 9.75), d = JSON_SET(d, '$.list[9]', CAST('12:00:01' AS TIME))",
                "c = JSON_REMOVE(c, '$.list[2].y', '$.n')",
                "n = 9",
                "c = NULL, d = JSON_SET(d, '$.a', 'was')",
            ] {
                statements.push(format!("UPDATE shop.{table} SET {set}"));
            }
        }
        let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
        rig.source.execute(&statements).await;
        let mut running = rig.start();
        rig.caught_up(&mut running).await;
        assert_eq!(documents(&rig.source).await, documents(&rig.target).await, "{metadata}");
        let partial = rig.source.query("SHOW BINLOG EVENTS IN 'bin.000001'").await;
        let partial = partial.iter().filter(|row| row[2].as_deref() == Some("Update_rows_partial")).count();
        assert!(partial > 10, "{partial} partial updates");
        running.stop().await;
    }
}

#[tokio::test]
async fn an_alter_in_two_phases_is_executed_once() {
    let mut rig = StreamRig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    rig.source
        .execute(&[
            "SET GLOBAL binlog_alter_two_phase = 1",
            "CREATE DATABASE shop",
            "CREATE TABLE shop.t (id INT PRIMARY KEY, a INT)",
            "INSERT INTO shop.t VALUES (1, 1), (2, 1)",
        ])
        .await;
    let mut conn = rig.source.connect().await;
    let mut running = rig.start();
    conn.execute("SET SESSION binlog_alter_two_phase = 1").await.unwrap();
    conn.execute("ALTER TABLE shop.t ADD COLUMN b INT DEFAULT 7").await.unwrap();
    conn.execute("ALTER TABLE shop.t ADD UNIQUE KEY (a)").await.expect_err("duplicates");
    conn.execute("INSERT INTO shop.t VALUES (3, 3, 3)").await.unwrap();
    conn.execute("ALTER TABLE shop.t DROP COLUMN a").await.unwrap();
    conn.execute("INSERT INTO shop.t VALUES (4, 4)").await.unwrap();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    let events = rig.source.query("SHOW BINLOG EVENTS IN 'bin.000001'").await;
    assert!(events.iter().any(|row| row[5].as_deref().is_some_and(|info| info.contains("START ALTER"))));
    running.stop().await;
}

#[tokio::test]
async fn transactions_without_gtid_and_without_checksums() {
    let arguments = [
        "--gtid-mode=OFF",
        "--enforce-gtid-consistency=OFF",
        "--binlog-checksum=NONE",
        "--binlog-rows-query-log-events=ON",
    ];
    let mut rig = StreamRig::with(Kind::Mysql, &arguments, Kind::Mariadb, &[], false).await;
    let file = std::env::temp_dir().join(format!("dmnode-formats-{}", std::process::id()));
    std::fs::write(&file, "1\teins\n2\tzwei\n").unwrap();
    rig.source
        .execute(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, s VARCHAR(20))"])
        .await;
    let mut running = rig.start();
    let load = format!("LOAD DATA INFILE '{}' INTO TABLE shop.t", file.display());
    let loaded = rig.source.connect().await.execute(&load).await;
    // The server may be forbidden to read files.
    if loaded.is_err() {
        rig.source.execute(&["INSERT INTO shop.t VALUES (1, 'eins'), (2, 'zwei')"]).await;
    }
    rig.source
        .execute(&[
            "UPDATE shop.t SET s = 'x' WHERE id = 1",
            "FLUSH BINARY LOGS",
            "DELETE FROM shop.t WHERE id = 2",
        ])
        .await;
    rig.caught_up(&mut running).await;
    running.crash().await;
    rig.source.execute(&["INSERT INTO shop.t VALUES (5, 'y')"]).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    running.stop().await;
    let _ = std::fs::remove_file(file);
}

#[tokio::test]
async fn a_session_that_does_not_log_whole_rows_stops_the_task() {
    for kind in [Kind::Mysql, Kind::Mariadb] {
        for (setting, code) in [
            ("binlog_row_image = 'MINIMAL'", codes::BINLOG_NOT_LOG_COLUMN),
            ("binlog_format = 'STATEMENT'", codes::STATEMENT_FORMAT),
        ] {
            let mut rig = StreamRig::new(kind, Kind::Mariadb, true).await;
            rig.source
                .execute(&[
                    "CREATE DATABASE shop",
                    "CREATE TABLE shop.t (id INT PRIMARY KEY, a INT, b INT)",
                    "INSERT INTO shop.t VALUES (1, 1, 1)",
                ])
                .await;
            let mut running = rig.start();
            rig.caught_up(&mut running).await;
            let mut conn = rig.source.connect().await;
            conn.execute(format!("SET SESSION {setting}")).await.unwrap();
            conn.execute("UPDATE shop.t SET a = 424242").await.unwrap();
            let error = running.error().await;
            assert_eq!(error.code, code, "{error:?}");
            let text = format!("{error:?}");
            assert!(text.contains("bin.000001"), "{text}");
            assert!(!text.contains("424242"), "no values: {text}");
            // MariaDB's binlog does not tell who writes rows.
            if kind == Kind::Mysql || code == codes::STATEMENT_FORMAT {
                assert!(text.contains(&format!("connection {} ", conn.id())), "{text}");
            }
        }
    }
}
