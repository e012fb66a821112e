//! Online schema changes against real servers: gh-ost's statements in their order, and the real pt-online-schema-change.
//! Each ends with equal rows and, between servers of one kind, equal `SHOW CREATE TABLE`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod ghost;
mod middle;
mod names;
mod percona;
#[path = "../support/stream_rig.rs"]
mod stream_rig;
#[path = "../support/mod.rs"]
mod support;

use stream_rig::{Running, StreamRig};
use support::{Kind, Server};

const T: &str =
    "CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(20), n INT, KEY by_name (name))";

/// A rig whose source has `app.t` with some rows, up to which the task has come.
async fn begun(from: Kind, to: Kind) -> (StreamRig, Running) {
    let mut rig = StreamRig::new(from, to, true).await;
    fill(&rig).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    (rig, running)
}

async fn fill(rig: &StreamRig) {
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            T,
            "INSERT INTO app.t (name, n) VALUES ('a', 1), ('b', 2), ('c', NULL), ('d', 4)",
        ])
        .await;
}

async fn show_create(server: &Server, table: &str) -> String {
    let row = server.query(&format!("SHOW CREATE TABLE {table}")).await.remove(0);
    let text = row[1].clone().unwrap();
    // The next AUTO_INCREMENT value is no part of the structure.
    match text.find(" AUTO_INCREMENT=") {
        Some(at) => {
            let rest = text[at + 16..].trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{}{rest}", &text[..at])
        }
        None => text,
    }
}

/// Equal rows and definitions, and no table of the tools in the target.
async fn assert_same(rig: &StreamRig, tables: &[&str]) {
    rig.assert_equal().await;
    assert_same_definitions(rig, tables).await;
}

async fn assert_same_definitions(rig: &StreamRig, tables: &[&str]) {
    for table in tables {
        let (source, target) = (show_create(&rig.source, table).await, show_create(&rig.target, table).await);
        if rig.source.kind == rig.target.kind {
            assert_eq!(source, target, "{table}");
        }
    }
}

/// What is collected in the target: none when every schema change has ended.
async fn collected(rig: &StreamRig) -> Vec<String> {
    let rows = rig.target.query("SELECT ghost_table FROM dm_meta.t_onlineddl ORDER BY 1").await;
    rows.into_iter().map(|mut row| row.remove(0).unwrap()).collect()
}
