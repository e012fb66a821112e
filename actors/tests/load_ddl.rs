//! DDL of every kind on tables while they are copied: the copy ends with what the tables are by then, and the stream goes on
//! from there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use dmnode_actors::subtask;
use dmnode_model::codes;
use support::rig::Rig;
use support::{Kind, Server};

/// Each table with what happens to it while it is copied.
const CHANGES: [(&str, &[&str]); 7] = [
    // First: only a copy at work can see it.
    (
        "truncated",
        &["TRUNCATE TABLE d.truncated", "INSERT INTO d.truncated VALUES (3, 3, 'new'), (900000, 4, 'new')"],
    ),
    ("added", &["ALTER TABLE d.added ADD COLUMN more INT NOT NULL DEFAULT 5 FIRST"]),
    ("retyped", &["ALTER TABLE d.retyped MODIFY n BIGINT UNSIGNED NOT NULL, MODIFY s VARCHAR(300)"]),
    ("rekeyed", &["ALTER TABLE d.rekeyed DROP PRIMARY KEY, ADD PRIMARY KEY (s, id)"]),
    (
        "again",
        &[
            "DROP TABLE d.again",
            "CREATE TABLE d.again (id INT PRIMARY KEY, n INT NOT NULL, s VARCHAR(100) NOT NULL)",
            "INSERT INTO d.again VALUES (1, 1, 'new'), (800000, 2, 'new')",
        ],
    ),
    ("renamed", &["RENAME TABLE d.renamed TO d.renamed_away"]),
    ("gone", &["DROP TABLE d.gone"]),
];
/// What is there in the end.
const TABLES: [&str; 7] = ["added", "retyped", "rekeyed", "truncated", "again", "renamed_away", "still"];

async fn fill(server: &Server) {
    server
        .execute(&[
            "CREATE DATABASE d",
            "CREATE TABLE d.still (id INT PRIMARY KEY, n INT NOT NULL, s VARCHAR(100) NOT NULL)",
            "INSERT INTO d.still VALUES (0, 0, 'row')",
        ])
        .await;
    for power in 0..13 {
        let double =
            format!("INSERT INTO d.still SELECT id + {}, id, CONCAT('row ', id) FROM d.still", 1 << power);
        server.execute(&[&double]).await;
    }
    for (table, _) in CHANGES {
        server
            .execute(&[
                &format!("CREATE TABLE d.{table} LIKE d.still"),
                &format!("INSERT INTO d.{table} SELECT * FROM d.still"),
                &format!("ANALYZE TABLE d.{table}"),
            ])
            .await;
    }
    server.execute(&["ANALYZE TABLE d.still"]).await;
    // Servers know the second in which a table was made: one that is made again in the same second, with the same
    // definition, while nothing copies, cannot be told from the former.
    let past = "SELECT NOW() > MAX(CREATE_TIME) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'd'";
    while server.number(past).await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until every table has finished chunks.
async fn all_have_begun(rig: &Rig) {
    let limit = Instant::now() + Duration::from_secs(60);
    let sql = "SELECT COUNT(DISTINCT src_table) FROM dm_meta.t_dmnode_chunk WHERE done = 1";
    let mut conn = rig.target.connect().await;
    while conn.query(sql).await.ok().and_then(|rows| rows.first().and_then(|row| row.u64(0))) != Some(8) {
        assert!(Instant::now() < limit, "not all tables have begun");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// One row as text for each table.
async fn sums(server: &Server) -> Option<String> {
    let mut conn = server.connect().await;
    let sums = TABLES
        .map(|table| format!("(SELECT CONCAT(COUNT(*), ' ', SUM(n), ' ', SUM(LENGTH(s))) FROM d.{table})"));
    let row = conn.query_one(&format!("SELECT CONCAT_WS(',', {})", sums.join(", "))).await;
    row.ok().flatten().and_then(|row| row.string(0))
}

/// `statements` meet a copy in the middle, then rows go on changing; how many chunks of unchanged tables were kept.
async fn ddl_in_the_middle(kind: Kind) {
    let mut rig = Rig::new(kind, kind).await;
    rig.rows = 150;
    fill(&rig.source).await;
    let spec = rig.spec();
    let start = |epoch| {
        tokio::spawn(subtask::run(rig.context(epoch), Arc::clone(&spec.source), Arc::clone(&spec.subtask)))
    };
    let mut unit = start(1);
    all_have_begun(&rig).await;
    for (_, statements) in CHANGES {
        rig.source.execute(statements).await;
    }
    let unfinished = rig.target.number("SELECT COUNT(*) FROM dm_meta.t_dmnode_chunk WHERE done = 0").await;
    assert!(unfinished > 50, "the copy was nearly over: {unfinished} chunks are left");
    rig.source
        .execute(&[
            "UPDATE d.still SET n = n + 1 WHERE id MOD 3 = 0",
            "UPDATE d.added SET n = n + 1, more = id WHERE id MOD 3 = 0",
            "UPDATE d.renamed_away SET n = n + 1 WHERE id MOD 3 = 0",
            "DELETE FROM d.retyped WHERE id MOD 7 = 0",
            "INSERT INTO d.truncated VALUES (5, 5, 'later')",
            "UPDATE d.again SET n = 50",
        ])
        .await;
    let limit = Instant::now() + Duration::from_secs(90);
    let wanted = sums(&rig.source).await;
    let mut epoch = 1;
    loop {
        if unit.is_finished() {
            let error = unit.await.unwrap().expect_err("it goes on for ever");
            assert_eq!(error.code, codes::COPY_SNAPSHOT_UNSTABLE, "{error}");
            epoch += 1;
            assert!(epoch < 20, "the copy does not end: {error}");
            unit = start(epoch);
        }
        let now = sums(&rig.target).await;
        if now == wanted {
            break;
        }
        assert!(Instant::now() < limit, "{now:?} is not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(epoch > 1, "the changes met no copy");
    rig.assert_equal(&TABLES.map(|table| ("d", table, "d", table))).await;
    let left = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'd'";
    assert_eq!(rig.target.number(left).await, TABLES.len() as u64, "nothing else is left in the target");
    // The stream is at work with the definitions as they are now.
    rig.source
        .execute(&[
            "INSERT INTO d.added VALUES (9, 700000, 1, 'last')",
            "UPDATE d.rekeyed SET n = 1 WHERE id < 50",
        ])
        .await;
    let wanted = sums(&rig.source).await;
    while sums(&rig.target).await != wanted {
        assert!(!unit.is_finished(), "{:?}", unit.await);
        assert!(Instant::now() < limit, "the stream does not go on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    unit.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ddl_in_the_middle_mysql() {
    ddl_in_the_middle(Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ddl_in_the_middle_mariadb() {
    ddl_in_the_middle(Kind::Mariadb).await;
}
