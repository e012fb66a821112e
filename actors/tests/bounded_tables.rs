//! F15: what a running task knows of its tables is bounded; what falls out of memory is read again and means the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

#[path = "support/stream_rig.rs"]
#[allow(dead_code, reason = "shared by several test binaries")]
mod stream_rig;
mod support;

use std::sync::atomic::Ordering;

use dmnode_actors::failpoint::CACHED_COLUMNS;
use stream_rig::StreamRig;
use support::Kind;

/// Two or three tables of this test fit.
const COLUMNS: usize = 30;
const TABLES: u64 = 12;

/// Changes to rows of all tables, several times around, so that each table falls out in between; every row is changed more than
/// once within what one target transaction takes together.
async fn change(rig: &StreamRig, rounds: std::ops::Range<u64>) {
    let mut conn = rig.source.connect().await;
    for round in rounds {
        for table in 0..TABLES {
            let text = format!(
                "INSERT INTO app.t{table} (id, v) VALUES ({round}, {round}); \
                 UPDATE app.t{table} SET v = v + 1 WHERE id <= {round}; \
                 DELETE FROM app.t{table} WHERE id = {}; \
                 INSERT INTO app.t{table} (id, v) VALUES ({}, 7)",
                round / 2,
                round / 2
            );
            conn.execute_many(text.into_bytes()).await.unwrap();
        }
    }
}

async fn forgets(kind: Kind) {
    CACHED_COLUMNS.store(COLUMNS, Ordering::Relaxed);
    let mut rig = StreamRig::new(kind, kind, true).await;
    rig.source.execute(&["CREATE DATABASE app"]).await;
    for table in 0..TABLES {
        let make = format!(
            "CREATE TABLE app.t{table} (id INT PRIMARY KEY, v INT, u INT UNSIGNED DEFAULT 4000000000)"
        );
        rig.source.execute(&[&make]).await;
    }
    change(&rig, 0..6).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    // Statements on tables whose definitions are not in memory.
    let all: Vec<String> = vec![
        "ALTER TABLE app.t3 ADD w TINYINT UNSIGNED DEFAULT 200, DROP u".into(),
        "RENAME TABLE app.t1 TO app.swap, app.t2 TO app.t1, app.swap TO app.t2".into(),
        "CREATE TABLE app.like_one LIKE app.t5".into(),
        "INSERT INTO app.like_one (id, v) VALUES (1, 1)".into(),
        "DROP TABLE app.t4".into(),
        "CREATE TABLE app.t4 (v BIGINT UNSIGNED DEFAULT 18446744073709551615, id INT PRIMARY KEY, x BIGINT UNSIGNED DEFAULT 9223372036854775808)".into(),
    ];
    rig.source.execute(&all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    change(&rig, 6..9).await;
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;

    // The next generation begins with names, and few definitions.
    running.stop().await;
    rig.source.execute(&["ALTER TABLE app.t6 CHANGE v n INT, ADD v INT DEFAULT 5 FIRST"]).await;
    change(&rig, 9..12).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    let rows = rig
        .target
        .query("SELECT table_name, origin FROM dm_meta.t_dmnode_schema WHERE origin <> 'ddl'")
        .await;
    assert_eq!(rows, Vec::<Vec<Option<String>>>::new(), "every definition was followed, none was derived");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f15_definitions_fall_out_of_memory_mysql() {
    forgets(Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f15_definitions_fall_out_of_memory_mariadb() {
    forgets(Kind::Mariadb).await;
}
