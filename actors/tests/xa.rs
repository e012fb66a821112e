//! Two-phase XA: prepared here, decided there, with other transactions, files, crashes and restarts in between.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

#[path = "support/stream_rig.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod stream_rig;
mod support;

use dmnode_mysql::Connection;
use stream_rig::StreamRig;
use support::{Kind, Server};

/// Prepares a transaction in a session of its own, which is gone afterwards.
async fn prepare(server: &Server, xid: &str, statements: &[&str]) {
    let mut conn = server.connect().await;
    run(&mut conn, &format!("XA START {xid}")).await;
    for sql in statements {
        run(&mut conn, sql).await;
    }
    run(&mut conn, &format!("XA END {xid}")).await;
    run(&mut conn, &format!("XA PREPARE {xid}")).await;
    conn.close().await;
}

/// Decides a prepared transaction; the session that prepared it may take a moment to let it go.
async fn decide(server: &Server, verb: &str, xid: &str) {
    let mut conn = server.connect().await;
    let mut tries = 0;
    while let Err(error) = conn.execute(format!("XA {verb} {xid}")).await {
        tries += 1;
        assert!(tries < 100, "XA {verb} {xid}: {error}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    conn.close().await;
}

async fn run(conn: &mut Connection, sql: &str) {
    conn.execute(sql).await.unwrap_or_else(|error| panic!("{error}\n{sql}"));
}

async fn count(server: &Server, table: &str) -> u64 {
    server.number(&format!("SELECT COUNT(*) FROM {table}")).await
}

async fn two_phases(from: Kind, to: Kind, gtid: bool) {
    let mut rig = StreamRig::new(from, to, gtid).await;
    rig.source
        .execute(&[
            "CREATE DATABASE shop",
            "CREATE DATABASE other",
            "CREATE TABLE shop.t (id INT PRIMARY KEY, n INT, s VARCHAR(20))",
            "CREATE TABLE shop.log (n INT, s VARCHAR(20))",
            "CREATE TABLE other.t (id INT PRIMARY KEY)",
            "INSERT INTO shop.t VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c')",
        ])
        .await;
    // Prepared before the task reads its first event.
    prepare(&rig.source, "'early','b',7", &["INSERT INTO shop.log VALUES (0, 'early')"]).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    let changes = ["UPDATE shop.t SET n = n + 10 WHERE id = 1", "INSERT INTO shop.log VALUES (1, 'xa')"];
    prepare(&rig.source, "'first'", &changes).await;
    let changes = ["DELETE FROM shop.t WHERE id = 2", "INSERT INTO shop.log VALUES (2, 'xa')"];
    prepare(&rig.source, "'second'", &changes).await;
    prepare(&rig.source, "'void'", &["INSERT INTO shop.log VALUES (3, 'void')"]).await;
    prepare(&rig.source, "'foreign'", &["INSERT INTO other.t VALUES (1)"]).await;
    rig.source.execute(&["INSERT INTO shop.log VALUES (4, 'between')"]).await;
    rig.caught_up(&mut running).await;
    assert_eq!(count(&rig.target, "shop.log").await, 1, "what is only prepared has no effect");

    // Decided in another order than prepared.
    decide(&rig.source, "COMMIT", "'second'").await;
    decide(&rig.source, "ROLLBACK", "'void'").await;
    decide(&rig.source, "COMMIT", "'early','b',7").await;
    rig.caught_up(&mut running).await;
    assert_eq!(count(&rig.target, "shop.log").await, 3);

    // Prepared, and then the task is killed and the source begins other files.
    let changes = ["INSERT INTO shop.t VALUES (9, 9, 'late')", "UPDATE shop.t SET s = 'z' WHERE id = 3"];
    prepare(&rig.source, "'late'", &changes).await;
    rig.caught_up(&mut running).await;
    running.crash().await;
    rig.source
        .execute(&["FLUSH BINARY LOGS", "INSERT INTO shop.log VALUES (5, 'between')", "FLUSH BINARY LOGS"])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    for xid in ["'late'", "'first'", "'foreign'"] {
        decide(&rig.source, "COMMIT", xid).await;
    }
    // The same XID again, with other rows.
    prepare(&rig.source, "'late'", &["INSERT INTO shop.log VALUES (6, 'again')"]).await;
    rig.caught_up(&mut running).await;
    running.stop().await;
    let mut running = rig.start();
    decide(&rig.source, "COMMIT", "'late'").await;
    let mut conn = rig.source.connect().await;
    for sql in [
        "XA START 'one'",
        "INSERT INTO shop.log VALUES (7, 'one phase')",
        "XA END 'one'",
        "XA COMMIT 'one' ONE PHASE",
    ] {
        run(&mut conn, sql).await;
    }
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    assert_eq!(count(&rig.target, "shop.log").await, 7);

    // Nothing twice, whenever it is killed: rows without a key would show it.
    for round in 0..4 {
        for number in 0..6 {
            let sql = format!("INSERT INTO shop.log VALUES ({number}, 'round {round}')");
            prepare(&rig.source, &format!("'r{round}n{number}'"), &[&sql]).await;
        }
        for number in [3, 0, 5, 2, 4, 1] {
            let verb = if number == 5 { "ROLLBACK" } else { "COMMIT" };
            decide(&rig.source, verb, &format!("'r{round}n{number}'")).await;
            if number == 2 {
                running.crash().await;
                running = rig.start();
            }
        }
    }
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    running.stop().await;
}

#[tokio::test]
async fn mysql_two_phases_by_gtid() {
    two_phases(Kind::Mysql, Kind::Mysql, true).await;
}

#[tokio::test]
async fn mariadb_two_phases_by_gtid() {
    two_phases(Kind::Mariadb, Kind::Mariadb, true).await;
}

#[tokio::test]
async fn mysql_two_phases_by_position() {
    two_phases(Kind::Mysql, Kind::Mariadb, false).await;
}

#[tokio::test]
async fn mariadb_two_phases_by_position() {
    two_phases(Kind::Mariadb, Kind::Mysql, false).await;
}
