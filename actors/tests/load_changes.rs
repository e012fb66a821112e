//! The full copy when the source changes under it, and what it refuses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::time::{Duration, Instant};

use dmnode_actors::load::key::{Compared, KeyValue};
use dmnode_actors::load::{self, DdlCopied, Loaded};
use dmnode_actors::subtask;
use dmnode_model::{BinlogPosition, TableName, codes};
use support::rig::Rig;
use support::{Kind, Server};

/// `n` small tables and a big one.
async fn fill(server: &Server) {
    server
        .execute(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.big (id INT PRIMARY KEY AUTO_INCREMENT, n INT, s VARCHAR(100) NOT NULL)",
            "CREATE TABLE shop.small (id INT PRIMARY KEY)",
            "INSERT INTO shop.small VALUES (1), (2)",
            "INSERT INTO shop.big (n, s) VALUES (1, 'x')",
        ])
        .await;
    for _ in 0..17 {
        server
            .execute(&["INSERT INTO shop.big (n, s) SELECT id, CONCAT('row ', RAND()) FROM shop.big"])
            .await;
    }
    server.execute(&["CREATE TABLE shop.twin LIKE shop.big", "ANALYZE TABLE shop.big"]).await;
    server.execute(&["INSERT INTO shop.twin SELECT id, -n, 'twin' FROM shop.big LIMIT 1000"]).await;
}

/// Waits until a few chunks are in the target.
async fn some_chunks_done(rig: &Rig) {
    let limit = Instant::now() + Duration::from_secs(60);
    while rig.done_chunks().await < 4 {
        assert!(Instant::now() < limit, "no chunk in a minute");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Runs `ddl` when a few chunks are done; the generation that meets it must say so, the next ones must end well.
///
/// The DDL may have to wait for the readers until the copy is over; then there was no change under way, and the
/// case is tried again.
async fn changed_under_way(kind: Kind, ddl: &[&str]) -> Rig {
    for _ in 0..5 {
        if let Some(rig) = try_to_change_under_way(kind, ddl).await {
            return rig;
        }
    }
    panic!("the copy was always over before the change");
}

async fn try_to_change_under_way(kind: Kind, ddl: &[&str]) -> Option<Rig> {
    let mut rig = Rig::new(kind, kind).await;
    // Many small chunks: what happens after the first few happens long before the last.
    rig.rows = 500;
    fill(&rig.source).await;
    let unit = tokio::spawn(load::run(rig.context(1), rig.spec()));
    some_chunks_done(&rig).await;
    rig.source.execute(ddl).await;
    let first = unit.await.unwrap();
    let error = match first {
        Ok(Loaded::Complete { .. }) => return None,
        Ok(Loaded::Cancelled) => panic!("nobody cancelled"),
        Err(error) => error,
    };
    assert_eq!(error.code, codes::COPY_SNAPSHOT_UNSTABLE, "{error}");
    for _ in 0..5 {
        match rig.load(1).await {
            Ok(Loaded::Complete { .. }) => return Some(rig),
            Ok(Loaded::Cancelled) => panic!("nobody cancelled"),
            Err(error) => assert_eq!(error.code, codes::COPY_SNAPSHOT_UNSTABLE, "{error}"),
        }
    }
    panic!("the copy does not end");
}

fn late(rig_filter: &dmnode_actors::load::ChunkFilter) -> BinlogPosition {
    BinlogPosition::new(rig_filter.max_location().unwrap().position.file.clone(), u64::MAX)
}

async fn an_alter_restarts_the_table(kind: Kind) {
    let rig =
        changed_under_way(kind, &["ALTER TABLE shop.big ADD COLUMN extra INT NOT NULL DEFAULT 5"]).await;
    rig.assert_equal(&[
        ("shop", "big", "shop", "big"),
        ("shop", "small", "shop", "small"),
        ("shop", "twin", "shop", "twin"),
    ])
    .await;
    let filter = rig.filter().await.unwrap();
    let big = TableName::new("shop", "big");
    let max = filter.max_location().unwrap().position.clone();
    assert_eq!(filter.ddl_is_copied(&big, &max, None), DdlCopied::Yes, "all chunks are as new as the newest");
    assert_eq!(filter.ddl_is_copied(&big, &late(&filter), None), DdlCopied::No);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_alter_in_the_middle_restarts_the_table_mysql() {
    an_alter_restarts_the_table(Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_alter_in_the_middle_restarts_the_table_mariadb() {
    an_alter_restarts_the_table(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tables_of_equal_definition_that_are_swapped_are_told_apart() {
    for kind in [Kind::Mariadb, Kind::Mysql] {
        let swap = ["RENAME TABLE shop.big TO shop.old, shop.twin TO shop.big"];
        let rig = changed_under_way(kind, &swap).await;
        rig.assert_equal(&[("shop", "big", "shop", "big"), ("shop", "old", "shop", "old")]).await;
        let filter = rig.filter().await.unwrap();
        let max = filter.max_location().unwrap().position.clone();
        for table in ["big", "old", "twin"] {
            assert_eq!(
                filter.ddl_is_copied(&TableName::new("shop", table), &max, None),
                DdlCopied::Yes,
                "{table}"
            );
        }
        assert_eq!(
            rig.target
                .number("SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'twin'")
                .await,
            0
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dropped_table_leaves_only_its_history() {
    let rig = changed_under_way(
        Kind::Mariadb,
        &["DROP TABLE shop.big", "CREATE TABLE shop.fresh (id INT PRIMARY KEY)"],
    )
    .await;
    let filter = rig.filter().await.unwrap();
    let max = filter.max_location().unwrap().position.clone();
    assert_eq!(filter.ddl_is_copied(&TableName::new("shop", "big"), &max, None), DdlCopied::Yes);
    assert_eq!(
        filter.row_is_copied(
            &TableName::new("shop", "big"),
            Some(&[KeyValue::Integer(5)]),
            &Compared::new(),
            &max,
            None
        ),
        Ok(true)
    );
    assert_eq!(
        rig.target.number("SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'big'").await,
        0
    );
    assert_eq!(
        rig.target.number("SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'fresh'").await,
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_changed_table_whose_target_is_not_ours_stops_the_copy() {
    let mut rig = Rig::new(Kind::Mariadb, Kind::Mariadb).await;
    rig.rows = 500;
    fill(&rig.source).await;
    rig.target
        .execute(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.big (id INT PRIMARY KEY AUTO_INCREMENT, n INT, s VARCHAR(100) NOT NULL)",
        ])
        .await;
    let unit = tokio::spawn(load::run(rig.context(1), rig.spec()));
    some_chunks_done(&rig).await;
    rig.source.execute(&["ALTER TABLE shop.big ADD COLUMN extra INT NOT NULL DEFAULT 5"]).await;
    assert_eq!(unit.await.unwrap().unwrap_err().code, codes::COPY_SNAPSHOT_UNSTABLE);
    let error = rig.load(1).await.unwrap_err();
    assert_eq!(error.code, codes::COPY_TABLE_CHANGED, "{error}");
    assert!(error.to_string().contains("`shop`.`big`"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_cannot_be_copied_is_refused_by_name() {
    let rig = Rig::new(Kind::Mariadb, Kind::Mariadb).await;
    rig.source
        .execute(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(20))"])
        .await;
    rig.source.execute(&["INSERT INTO shop.t VALUES (1, 'cAnary'), (2, 'b')"]).await;
    rig.target.execute(&["CREATE DATABASE shop"]).await;
    let cases = [
        (
            "CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(20)) ENGINE=MyISAM",
            codes::TABLE_NOT_TRANSACTIONAL,
            "`shop`.`t`",
        ),
        ("CREATE TABLE shop.t (id INT PRIMARY KEY)", codes::COPY_TARGET_MISMATCH, "`v`"),
        ("CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(2))", codes::COPY_ROWS_REFUSED, "column 'v'"),
        ("CREATE TABLE shop.t (id INT PRIMARY KEY, v INT)", codes::COPY_TARGET_MISMATCH, "`v`"),
        (
            "CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(20) CHARACTER SET latin1)",
            codes::COPY_TARGET_MISMATCH,
            "`v`",
        ),
        (
            "CREATE TABLE shop.t (id INT UNSIGNED PRIMARY KEY, v VARCHAR(20))",
            codes::COPY_TARGET_MISMATCH,
            "`id`",
        ),
        (
            "CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(20), w INT NOT NULL)",
            codes::TARGET_COLUMN_WITHOUT_DEFAULT,
            "`w`",
        ),
        (
            "CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(20)) SELECT 1 AS id, 'cAnary' AS v",
            codes::COPY_DUPLICATE,
            "PRIMARY",
        ),
    ];
    for local_infile in [1, 0] {
        rig.target.execute(&[&format!("SET GLOBAL local_infile = {local_infile}")]).await;
        for (sql, code, named) in cases {
            rig.target
                .execute(&["DROP DATABASE IF EXISTS dm_meta", "DROP TABLE IF EXISTS shop.t", sql])
                .await;
            let before = rig.target.number("SELECT COUNT(*) FROM shop.t").await;
            let error = rig.load(1).await.expect_err(sql);
            assert_eq!(error.code, code, "{sql}: {error}");
            assert!(error.to_string().contains(named), "{sql}: {error}");
            assert!(!error.to_string().contains("cAnary"), "{sql}: a value in {error}");
            assert_eq!(
                rig.target.number("SELECT COUNT(*) FROM shop.t").await,
                before,
                "{sql}: nothing half done"
            );
        }
    }
}

/// Columns are matched by name, as in the stream: another order, further columns with a default, columns that only one
/// side computes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn columns_are_matched_by_name() {
    for kind in [Kind::Mariadb, Kind::Mysql] {
        let rig = Rig::new(kind, kind).await;
        rig.source
            .execute(&[
                "CREATE DATABASE shop",
                "CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(20), n INT, twice INT AS (n * 2) STORED, \
                 half INT, e ENUM('x', 'y'))",
                "INSERT INTO shop.t (id, v, n, half, e) VALUES (1, 'one', 10, 5, 'y'), (2, NULL, 20, 10, 'x')",
            ])
            .await;
        rig.target.execute(&["CREATE DATABASE shop"]).await;
        for infile in [1, 0] {
            let infile = format!("SET GLOBAL local_infile = {infile}");
            rig.target
                .execute(&[
                    infile.as_str(),
                    "DROP DATABASE IF EXISTS dm_meta",
                    "DROP TABLE IF EXISTS shop.t",
                    "CREATE TABLE shop.t (first INT NOT NULL DEFAULT 7, e ENUM('x', 'y', 'z'), twice BIGINT, n INT, \
                     made DATETIME DEFAULT CURRENT_TIMESTAMP, V VARCHAR(30), id INT PRIMARY KEY, \
                     half INT AS (n DIV 2) VIRTUAL, none INT)",
                ])
                .await;
            rig.load(1).await.unwrap_or_else(|error| panic!("{error}"));
            let rows = rig
                .target
                .query("SELECT CONCAT_WS(',', id, IFNULL(v, 'NULL'), n, twice, half, e, first, made > 0, none IS NULL) FROM shop.t ORDER BY id")
                .await;
            let rows: Vec<&str> = rows.iter().filter_map(|row| row[0].as_deref()).collect();
            assert_eq!(rows, ["1,one,10,20,5,y,7,1,1", "2,NULL,20,40,10,x,7,1,1"], "{infile}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_source_table_without_snapshots_is_read_under_a_lock() {
    for kind in [Kind::Mariadb, Kind::Mysql] {
        let rig = Rig::new(kind, kind).await;
        let innodb = "CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(20)) ENGINE=InnoDB";
        rig.source.execute(&["CREATE DATABASE shop", &innodb.replace("InnoDB", "MyISAM")]).await;
        rig.source.execute(&["INSERT INTO shop.t VALUES (1, 'a'), (2, 'b')"]).await;
        rig.target.execute(&["CREATE DATABASE shop", innodb]).await;
        rig.load(1).await.unwrap_or_else(|error| panic!("{error}"));
        rig.assert_equal(&[("shop", "t", "shop", "t")]).await;
        // Nothing is left locked.
        rig.source.execute(&["INSERT INTO shop.t VALUES (3, 'c')"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn few_privileges_on_mysql() {
    let mut rig = Rig::new(Kind::Mysql, Kind::Mysql).await;
    rig.source
        .execute(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.t (id INT PRIMARY KEY)",
            "INSERT INTO shop.t VALUES (1)",
            "CREATE USER poor@'%' IDENTIFIED BY 'secret'",
            "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO poor@'%'",
            "GRANT SELECT ON shop.* TO poor@'%'",
        ])
        .await;
    rig.source_user = "poor";
    let error = rig.load(1).await.unwrap_err();
    assert_eq!(error.code, codes::COPY_SNAPSHOT_REFUSED, "{error}");
    assert!(error.to_string().contains("RELOAD"), "{error}");
    rig.source.execute(&["GRANT LOCK TABLES ON shop.* TO poor@'%'"]).await;
    let loaded = rig.load(2).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(loaded, Loaded::Complete { consistent: true, .. }));
    rig.assert_equal(&[("shop", "t", "shop", "t")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn shards_are_merged_by_routes() {
    let mut rig = Rig::new(Kind::Mariadb, Kind::Mariadb).await;
    for shard in 0..3 {
        rig.source
            .execute(&[
                &format!("CREATE DATABASE shop_{shard}"),
                &format!("CREATE TABLE shop_{shard}.t_{shard} (id INT PRIMARY KEY, v INT, FOREIGN KEY (v) REFERENCES t_{shard} (id))"),
                &format!("INSERT INTO shop_{shard}.t_{shard} VALUES ({shard}, NULL), ({shard} + 10, {shard})"),
                &format!("CREATE TABLE shop_{shard}.out_of_scope (id INT PRIMARY KEY)"),
            ])
            .await;
    }
    rig.instance = "    route-rules: [r]\n    block-allow-list: b\n".into();
    rig.task = "routes:\n  r:\n    schema-pattern: shop_*\n    table-pattern: t_*\n    target-schema: all\n    target-table: t\n\
                block-allow-list:\n  b:\n    do-tables:\n    - {db-name: 'shop_*', tbl-name: 't_*'}\n"
        .into();
    rig.load(1).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM `all`.t").await, 6);
    assert_eq!(
        rig.target
            .number("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema LIKE 'shop%'")
            .await,
        0
    );
}

/// A copy is interrupted, a parent is deleted, and the copy goes on: what the source's CASCADE did to the child is in no
/// binlog, and only a part of the copy contains it. Unlike an equal change before or after the whole copy it stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cascade_between_two_parts_of_a_copy_stops_the_task() {
    for _ in 0..5 {
        if torn_cascade().await {
            return;
        }
    }
    panic!("the copy was always over before it was interrupted");
}

async fn torn_cascade() -> bool {
    let mut rig = Rig::new(Kind::Mariadb, Kind::Mysql).await;
    rig.rows = 500;
    fill(&rig.source).await;
    rig.source
        .execute(&[
            "CREATE TABLE shop.kid (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES shop.big (id) ON DELETE CASCADE)",
            "INSERT INTO shop.kid SELECT id, id FROM shop.big LIMIT 20",
        ])
        .await;
    let spec = rig.spec();
    let start =
        |epoch| tokio::spawn(subtask::run(rig.context(epoch), spec.source.clone(), spec.subtask.clone()));
    let first = start(1);
    some_chunks_done(&rig).await;
    first.abort();
    let _ = first.await;
    let unfinished = "SELECT COUNT(*) FROM dm_meta.t_dmnode_chunk WHERE done = 0";
    if rig.target.number(unfinished).await == 0 {
        return false;
    }
    rig.source.execute(&["DELETE FROM shop.big WHERE id = (SELECT MIN(p) FROM shop.kid)"]).await;
    let ended = tokio::time::timeout(Duration::from_secs(120), start(2)).await.expect("ends").unwrap();
    let error = ended.expect_err("an error");
    assert_eq!(error.code, codes::COPY_CASCADE_TORN, "{error}");
    let text = error.to_string();
    assert!(text.contains("`shop`.`big`") && text.contains("bin.0000"), "{text}");
    true
}
