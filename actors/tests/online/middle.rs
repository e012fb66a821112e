//! F7: the task begins in the middle of an online schema change.

use dmnode_actors::unit::{UnitContext, UnitDone};
use dmnode_model::{Epoch, SourceId, TaskName};

use super::ghost::{ALTER, after, copy, cut_over, prepare};
use super::*;

/// Where the source is, as a `meta` of the task.
async fn place(rig: &StreamRig) -> (String, u64) {
    let status = if rig.source.kind == Kind::Mysql { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
    let row = rig.source.query(status).await.remove(0);
    (row[0].clone().unwrap(), row[1].clone().unwrap().parse().unwrap())
}

/// A task that begins at `place`, with the table as it is now in its target.
fn start_at(rig: &mut StreamRig, place: &(String, u64)) -> Running {
    rig.gtid = false;
    let mut spec = rig.spec();
    let meta = spec.subtask.meta.as_mut().unwrap();
    (meta.binlog_name, meta.binlog_pos) = (place.0.clone(), u32::try_from(place.1).unwrap());
    rig.epoch += 1;
    let ctx = UnitContext::detached(TaskName::new("t"), SourceId::new("s1"), Epoch(rig.epoch));
    let handle = tokio::spawn(dmnode_actors::sync::run(ctx.clone(), spec));
    Running { ctx, handle }
}

/// Removes the files before one. A server keeps a file for a while that it may need after a crash.
async fn purge(rig: &StreamRig, file: &str) {
    for _ in 0..100 {
        rig.source.execute(&[&format!("PURGE BINARY LOGS TO '{file}'")]).await;
        let first = rig.source.query("SHOW BINARY LOGS").await.remove(0).remove(0);
        if first.as_deref() == Some(file) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the binlog cannot be purged");
}

/// The target gets what the source has now.
async fn clone_table(rig: &StreamRig) {
    rig.target.execute(&["CREATE DATABASE app", T]).await;
    for row in rig.source.query("SELECT id, name, n FROM app.t").await {
        let value = |index: usize| row[index].clone().map_or("NULL".to_owned(), |text| format!("'{text}'"));
        let sql = format!("INSERT INTO app.t VALUES ({}, {}, {})", value(0), value(1), value(2));
        rig.target.execute(&[&sql]).await;
    }
}

/// The beginning is still in the binlog: found there, a renamed column included.
async fn searched(kind: Kind) {
    let mut rig = StreamRig::new(kind, kind, false).await;
    fill(&rig).await;
    prepare(&rig, ALTER).await;
    rig.source.execute(&["FLUSH BINARY LOGS", "FLUSH BINARY LOGS"]).await;
    clone_table(&rig).await;
    let begin = place(&rig).await;
    copy(&rig, "num").await;
    let mut running = start_at(&mut rig, &begin);
    rig.caught_up(&mut running).await;
    let warnings = running.status().warnings;
    assert!(
        warnings.iter().any(|text| text.contains("`app`.`_t_gho` (shadow, its beginning was not seen)")),
        "{warnings:?}"
    );
    cut_over(&rig).await;
    // Later changes of the table are not taken for the schema change's.
    rig.source.execute(&["ALTER TABLE app.t ADD COLUMN later INT"]).await;
    after(&rig, "num").await;
    rig.caught_up(&mut running).await;
    assert_same(&rig, &["app.t"]).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f07_the_beginning_is_searched_in_the_binlog_of_mariadb() {
    searched(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f07_the_beginning_is_searched_in_the_binlog_of_mysql() {
    searched(Kind::Mysql).await;
}

/// The beginning is purged: the source's table tells, and a renamed column is never guessed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f07_the_source_tells_when_the_binlog_is_purged() {
    for (alter, number) in [
        (
            "ADD COLUMN extra INT NOT NULL DEFAULT 7 AFTER id, MODIFY n BIGINT, DROP KEY by_name, ADD KEY k (name, n)",
            "n",
        ),
        (ALTER, "num"),
    ] {
        let mut rig = StreamRig::new(Kind::Mariadb, Kind::Mariadb, false).await;
        fill(&rig).await;
        prepare(&rig, alter).await;
        rig.source.execute(&["FLUSH BINARY LOGS", "FLUSH BINARY LOGS"]).await;
        clone_table(&rig).await;
        // What only the target has stays.
        rig.target.execute(&["ALTER TABLE app.t ADD COLUMN own INT DEFAULT 3, ADD KEY own (own)"]).await;
        let begin = place(&rig).await;
        purge(&rig, &begin.0).await;
        let mut running = start_at(&mut rig, &begin);
        copy(&rig, number).await;
        rig.caught_up(&mut running).await;
        cut_over(&rig).await;
        after(&rig, number).await;
        if number == "num" {
            let error = running.error().await;
            assert_eq!(error.code, dmnode_model::codes::SYNCER_UNIT_GHOST_ONLINE_DDL_ON_GHOST_TBL);
            assert!(
                error
                    .message
                    .contains("online ddl metadata for ghost temporary table `app`.`_t_gho` not found"),
                "{error}"
            );
            assert!(error.cause.as_deref().unwrap().contains("may have been renamed"), "{error}");
            continue;
        }
        rig.caught_up(&mut running).await;
        let select = "SELECT id, extra, name, n FROM app.t ORDER BY id";
        assert_eq!(rig.source.query(select).await, rig.target.query(select).await);
        rig.target.execute(&["ALTER TABLE app.t DROP COLUMN own"]).await;
        assert_same_definitions(&rig, &["app.t"]).await;
        running.stop().await;
    }
}

/// A task of DM that had collected a shadow's statements goes on with them, as DM wrote them down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_what_dm_has_collected_is_used() {
    let mut rig = StreamRig::new(Kind::Mariadb, Kind::Mariadb, false).await;
    fill(&rig).await;
    prepare(&rig, ALTER).await;
    rig.source.execute(&["FLUSH BINARY LOGS"]).await;
    clone_table(&rig).await;
    let begin = place(&rig).await;
    purge(&rig, &begin.0).await;
    copy(&rig, "num").await;
    cut_over(&rig).await;
    after(&rig, "num").await;
    let checkpoint = format!(
        "INSERT INTO dm_meta.t_syncer_checkpoint (id, cp_schema, cp_table, binlog_name, binlog_pos, binlog_gtid, table_info, is_global) \
         VALUES ('s1', '', '', '{}', {}, '', 'null', 1)",
        begin.0, begin.1
    );
    let record = format!(
        "INSERT INTO dm_meta.t_onlineddl (id, ghost_schema, ghost_table, ddls) VALUES ('s1', 'app', '_t_gho', \
         '{{\"schema\":\"app\",\"table\":\"t\",\"ddls\":[\"ALTER TABLE `app`.`_t_gho` {ALTER}\"]}}')"
    );
    rig.target
        .execute(&[
            "CREATE DATABASE dm_meta",
            "CREATE TABLE dm_meta.t_onlineddl (id VARCHAR(32) NOT NULL, ghost_schema VARCHAR(128) NOT NULL, \
             ghost_table VARCHAR(128) NOT NULL, ddls text, update_time timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, \
             UNIQUE KEY uk_id_schema_table (id, ghost_schema, ghost_table))",
            "CREATE TABLE dm_meta.t_syncer_checkpoint (id VARCHAR(32) NOT NULL, cp_schema VARCHAR(128) NOT NULL, \
             cp_table VARCHAR(128) NOT NULL, binlog_name VARCHAR(128), binlog_pos INT UNSIGNED, binlog_gtid TEXT, \
             exit_safe_binlog_name VARCHAR(128) DEFAULT '', exit_safe_binlog_pos INT UNSIGNED DEFAULT 0, \
             exit_safe_binlog_gtid TEXT, table_info JSON NOT NULL, is_global BOOLEAN, \
             UNIQUE KEY uk_id_schema_table (id, cp_schema, cp_table))",
            &checkpoint,
            &record,
        ])
        .await;
    rig.meta = false;
    let spec = rig.spec();
    let (source, subtask) = (std::sync::Arc::new(spec.source), std::sync::Arc::new(spec.subtask));
    let ctx = UnitContext::detached(TaskName::new("t"), SourceId::new("s1"), Epoch(2));
    let handle = tokio::spawn(dmnode_actors::subtask::run(ctx.clone(), source, subtask));
    let mut running = Running { ctx, handle };
    rig.caught_up(&mut running).await;
    assert_same(&rig, &["app.t"]).await;
    assert_eq!(collected(&rig).await, Vec::<String>::new());
    running.ctx.cancel.cancel();
    assert!(matches!(running.handle.await.unwrap(), Ok(UnitDone::Cancelled)));
}
