//! The settings of the replication do what they say.

use crate::stream_rig::StreamRig;
use crate::support::{Kind, Server};

/// A counter of the server.
async fn counter(server: &Server, name: &str) -> u64 {
    server.query(&format!("SHOW GLOBAL STATUS LIKE '{name}'")).await[0][1].as_ref().unwrap().parse().unwrap()
}

/// How often the target was given statements of this kind while the task caught up with what waited for it.
async fn work(rig: &mut StreamRig, changes: &[String], sync: &[&'static str], name: &str) -> u64 {
    let statements: Vec<&str> = changes.iter().map(String::as_str).collect();
    rig.source.execute(&statements).await;
    rig.sync = sync.to_vec();
    let before = counter(&rig.target, name).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    let after = counter(&rig.target, name).await;
    running.stop().await;
    after - before
}

/// One transaction that inserts rows and then changes one of them many times.
fn transaction(round: u32) -> Vec<String> {
    let mut all = vec!["BEGIN".to_owned()];
    let base = round * 1000;
    all.extend((0..200).map(|id| format!("INSERT INTO app.t VALUES ({}, 0)", base + id)));
    all.extend((0..50).map(|_| format!("UPDATE app.t SET n = n + 1 WHERE id = {base}")));
    all.push("COMMIT".into());
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_merged_as_the_task_says() {
    for kind in [Kind::Mariadb, Kind::Mysql] {
        let mut rig = StreamRig::new(kind, kind, true).await;
        rig.source.execute(&["CREATE DATABASE app", "CREATE TABLE app.t (id INT PRIMARY KEY, n INT)"]).await;
        let running = &mut rig.start();
        rig.caught_up(running).await;
        running.ctx.cancel.cancel();
        let few = work(&mut rig, &transaction(1), &[], "Com_insert").await;
        assert!(few < 20, "merged without being asked: {few} statements");
        let few = work(&mut rig, &transaction(2), &["multiple-rows: true"], "Com_insert").await;
        assert!(few < 20, "{few} statements");
        let many = work(&mut rig, &transaction(3), &["multiple-rows: false"], "Com_insert").await;
        assert!(many >= 200, "a statement for each row: {many}");
        let few = work(&mut rig, &transaction(4), &["compact: true"], "Com_update").await;
        assert!(few < 40, "the net effect only: {few} statements");
        let many = work(&mut rig, &transaction(5), &["compact: false"], "Com_update").await;
        assert!(many >= 50, "every change: {many}");
        let many =
            work(&mut rig, &transaction(6), &["compact: false", "multiple-rows: false"], "Com_insert").await;
        assert!(many >= 200, "{many}");
        rig.assert_equal().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_and_workers_are_as_the_task_says() {
    let mut rig = StreamRig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    rig.source.execute(&["CREATE DATABASE app", "CREATE TABLE app.t (id INT PRIMARY KEY, n INT)"]).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    running.stop().await;
    let rows = |base: u32| -> Vec<String> {
        (0..100).map(|id| format!("INSERT INTO app.t VALUES ({}, 0)", base + id)).collect()
    };
    rig.workers = 1;
    let many = work(&mut rig, &rows(1000), &["batch: 5"], "Com_commit").await;
    assert!(many >= 20, "five rows in a transaction: {many} transactions");
    rig.workers = 7;
    let few = work(&mut rig, &rows(2000), &[], "Com_commit").await;
    assert!(few >= 1, "{few}");
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM dm_meta.t_dmnode_progress").await, 7);
    rig.assert_equal().await;
}

/// Observed by a trigger of the target: transactions take effect in the order of the source.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commit_order_is_kept_on_request() {
    let mut rig = StreamRig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    rig.workers = 16;
    rig.sync = vec!["strict-commit-order: true", "batch: 3"];
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.a (id INT PRIMARY KEY)",
            "CREATE TABLE app.b (id INT PRIMARY KEY)",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.target
        .execute(&[
            "CREATE DATABASE seen",
            "CREATE TABLE seen.log (no BIGINT PRIMARY KEY AUTO_INCREMENT, id INT)",
            "CREATE TRIGGER app.see_a AFTER INSERT ON app.a FOR EACH ROW INSERT INTO seen.log (id) VALUES (NEW.id)",
            "CREATE TRIGGER app.see_b AFTER INSERT ON app.b FOR EACH ROW INSERT INTO seen.log (id) VALUES (NEW.id)",
        ])
        .await;
    let rows: Vec<String> = (0..400)
        .map(|id| format!("INSERT INTO app.{} VALUES ({id})", if id % 3 == 0 { "a" } else { "b" }))
        .collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    rig.source.execute(&rows).await;
    rig.caught_up(&mut running).await;
    let seen = rig.target.query("SELECT id FROM seen.log ORDER BY no").await;
    let seen: Vec<i32> = seen.iter().map(|row| row[0].as_ref().unwrap().parse().unwrap()).collect();
    // Inside one target transaction the tables may be served one after the other.
    let mut place = vec![0; 400];
    seen.iter().enumerate().for_each(|(at, id)| place[usize::try_from(*id).unwrap()] = at);
    assert_eq!(seen.len(), 400);
    for (id, at) in place.iter().enumerate() {
        assert!(at.abs_diff(id) < 3, "transaction {id} came at place {at}");
    }
    running.stop().await;
}
