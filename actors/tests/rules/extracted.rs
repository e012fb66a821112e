//! Columns that routes add to the rows, through copy, stream and comparison.

use std::sync::Arc;
use std::time::Duration;

use dmnode_actors::diff::{self, DiffParams};
use dmnode_actors::subtask;
use dmnode_actors::unit::UnitContext;
use dmnode_model::api::{DiffEvent, DiffKind, DiffRow};
use dmnode_model::config::TaskMode;
use dmnode_model::{Epoch, SourceId, TaskName, codes};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::support::Kind;
use super::{Rules, Running};

const ROUTES: &str = "routes:\n\
    \x20 r: {schema-pattern: 'shard_*', table-pattern: 't_*', target-schema: merged, target-table: t,\n\
    \x20   extract-table: {table-regexp: '^t_(.*)', target-column: c_table},\n\
    \x20   extract-schema: {schema-regexp: '^shard_(.*)$', target-column: c_schema},\n\
    \x20   extract-source: {source-regexp: '(.)(.)', target-column: C_Source}}\n\
    \x20 l: {schema-pattern: 'shard_*', table-pattern: 'log_*', target-schema: merged, target-table: log,\n\
    \x20   extract-table: {table-regexp: '_(.*)$', target-column: day}}\n\
    expression-filter:\n\
    \x20 f: {schema: shard_1, table: t_1, insert-value-expr: 'v = 666'}\n";

impl Rules {
    fn start_all(&mut self, name: &str) -> Running {
        self.epoch += 1;
        let ctx = UnitContext::detached(TaskName::new(name), SourceId::new("s1"), Epoch(self.epoch));
        let mut spec = self.spec(name);
        (spec.subtask.mode, spec.subtask.meta) = (TaskMode::All, None);
        let handle = tokio::spawn(subtask::run(ctx.clone(), Arc::new(spec.source), Arc::new(spec.subtask)));
        Running { ctx, handle }
    }

    async fn compare(&self, name: &str) -> Vec<DiffRow> {
        let spec = self.spec(name);
        let params = DiffParams {
            sources: vec![(spec.source, spec.subtask)],
            tables: vec!["merged.t".into(), "merged.log".into()],
            chunk_rows: 10,
            differences_max: 100,
            recheck_timeout: Duration::from_secs(3),
        };
        let (sender, mut receiver) = mpsc::channel(16);
        let running = tokio::spawn(diff::run(params, sender, CancellationToken::new()));
        let mut rows = Vec::new();
        while let Some(event) = receiver.recv().await {
            if let DiffEvent::Difference(row) = event {
                rows.push(row);
            }
        }
        running.await.unwrap().unwrap();
        rows
    }
}

async fn extracted_columns(from: Kind, to: Kind) {
    let mut rig = Rules::new(from, to).await;
    rig.instance = "    route-rules: [r, l]\n    expression-filters: [f]\n".into();
    rig.task = ROUTES.into();
    rig.source
        .execute(&[
            "CREATE DATABASE shard_1",
            "CREATE DATABASE `shard_é2`",
            "CREATE TABLE shard_1.t_01 (id INT PRIMARY KEY, v INT, n VARCHAR(20))",
            "CREATE TABLE shard_1.t_1 LIKE shard_1.t_01",
            "CREATE TABLE `shard_é2`.t_1 LIKE shard_1.t_01",
            "INSERT INTO shard_1.t_01 VALUES (1, 10, 'a'), (2, 20, NULL)",
            "INSERT INTO shard_1.t_1 VALUES (1, 11, 'a'), (2, 21, 'b'), (3, 31, 'c')",
            "INSERT INTO `shard_é2`.t_1 VALUES (1, 12, 'a')",
            "CREATE TABLE shard_1.log_20240101 (a INT, b TEXT)",
            "CREATE TABLE shard_1.log_20240102 LIKE shard_1.log_20240101",
            "INSERT INTO shard_1.log_20240101 VALUES (1, 'x'), (1, 'x'), (2, 'y')",
            "INSERT INTO shard_1.log_20240102 VALUES (1, 'x')",
        ])
        .await;
    // Nothing is made up: the target's table is the user's to create.
    let error = rig.start_all("e").error().await;
    assert_eq!(error.code, codes::COPY_TARGET_MISMATCH, "{error}");
    assert!(error.to_string().contains("adds the column"), "{error}");
    rig.target
        .execute(&[
            "DROP DATABASE IF EXISTS merged",
            "CREATE DATABASE merged",
            "CREATE TABLE merged.t (c_schema VARCHAR(20) CHARACTER SET latin1 NOT NULL, id INT, v INT, n VARCHAR(20), \
             c_table VARCHAR(10) NOT NULL, c_source VARBINARY(5) NOT NULL, PRIMARY KEY (c_schema, c_table, id))",
            "CREATE TABLE merged.log (a INT, b TEXT, day DATE NOT NULL)",
        ])
        .await;
    let mut running = rig.start_all("e");
    // The row that is written last may be a part of the copy itself.
    let copied = "SELECT (SELECT COUNT(*) FROM merged.t) + (SELECT COUNT(*) FROM merged.log)";
    let deadline = tokio::time::Instant::now() + super::PATIENCE;
    while rig.rows(copied).await != ["10"] {
        assert!(!running.handle.is_finished() && tokio::time::Instant::now() < deadline, "not copied");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    rig.caught_up(&mut running).await;
    let all = "SELECT id, v, n, c_table, c_schema, c_source FROM merged.t ORDER BY c_schema, c_table, id";
    assert_eq!(
        rig.rows(all).await,
        [
            "1|10|a|01|1|s1",
            "2|20|NULL|01|1|s1",
            "1|11|a|1|1|s1",
            "2|21|b|1|1|s1",
            "3|31|c|1|1|s1",
            "1|12|a|1|é2|s1"
        ]
    );
    let log = "SELECT a, b, day FROM merged.log ORDER BY day, a";
    assert_eq!(rig.rows(log).await, ["1|x|2024-01-01", "1|x|2024-01-01", "2|y|2024-01-01", "1|x|2024-01-02"]);
    rig.source
        .execute(&[
            "INSERT INTO shard_1.t_1 VALUES (4, 41, 'd'), (5, 666, 'left out')",
            "BEGIN",
            "UPDATE shard_1.t_1 SET v = v + 100 WHERE id IN (1, 2)",
            "UPDATE shard_1.t_01 SET id = 7 WHERE id = 2",
            "DELETE FROM shard_1.t_1 WHERE id = 3",
            "INSERT INTO shard_1.t_1 VALUES (3, 32, NULL)",
            "DELETE FROM shard_1.t_01 WHERE id = 1",
            "COMMIT",
            "DELETE FROM `shard_é2`.t_1",
            "INSERT INTO `shard_é2`.t_1 VALUES (1, 13, 'z')",
            "UPDATE `shard_é2`.t_1 SET n = 'zz'",
            // Of rows that are equal but for the route's column, those of the right table are found.
            "UPDATE shard_1.log_20240102 SET b = 'changed' WHERE a = 1",
            "DELETE FROM shard_1.log_20240101 WHERE a = 1 LIMIT 1",
            "INSERT INTO shard_1.log_20240102 VALUES (NULL, NULL)",
        ])
        .await;
    rig.caught_up(&mut running).await;
    assert_eq!(
        rig.rows(all).await,
        [
            "7|20|NULL|01|1|s1",
            "1|111|a|1|1|s1",
            "2|121|b|1|1|s1",
            "3|32|NULL|1|1|s1",
            "4|41|d|1|1|s1",
            "1|13|zz|1|é2|s1"
        ]
    );
    assert_eq!(
        rig.rows(log).await,
        ["1|x|2024-01-01", "2|y|2024-01-01", "NULL|NULL|2024-01-02", "1|changed|2024-01-02"]
    );
    let found = rig.compare("e").await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].kind, DiffKind::MissingInTarget, "what the filter left out: {found:?}");
    rig.source.execute(&["DELETE FROM shard_1.t_1 WHERE id = 5"]).await;
    let error = running.error().await;
    assert_eq!(error.code, codes::ROW_NOT_FOUND, "{error}");
    rig.source.execute(&["DROP TABLE `shard_é2`.t_1"]).await;
    rig.target
        .execute(&[
            "DELETE FROM merged.t WHERE c_schema = 'é2'",
            "UPDATE merged.t SET c_table = '001' WHERE id = 7",
            "UPDATE merged.log SET day = '2024-01-03' WHERE a = 2",
        ])
        .await;
    let kinds: Vec<DiffKind> = rig.compare("e").await.iter().map(|row| row.kind).collect();
    let count = |kind| kinds.iter().filter(|found| **found == kind).count();
    assert_eq!((count(DiffKind::MissingInTarget), count(DiffKind::ExtraInTarget)), (2, 2), "{kinds:?}");
}

#[tokio::test]
async fn extracted_columns_mysql_to_mariadb() {
    extracted_columns(Kind::Mysql, Kind::Mariadb).await;
}

#[tokio::test]
async fn extracted_columns_mariadb_to_mysql() {
    extracted_columns(Kind::Mariadb, Kind::Mysql).await;
}

/// In the stream, with tables that do not fit the route.
#[tokio::test]
async fn columns_that_cannot_be_added_stop_the_task() {
    let mut rig = Rules::new(Kind::Mariadb, Kind::Mariadb).await;
    rig.instance = "    route-rules: [r, l]\n    expression-filters: [f]\n".into();
    rig.task = ROUTES.into();
    rig.source
        .execute(&[
            "CREATE DATABASE shard_1",
            "CREATE TABLE shard_1.t_a (id INT PRIMARY KEY)",
            "INSERT INTO shard_1.t_a VALUES (1)",
        ])
        .await;
    rig.target.execute(&["CREATE DATABASE merged"]).await;
    for (change, words) in [
        (
            "SET @nothing = 1",
            "column `c_table` is filled by an extract rule of the route, and does not exist in the target",
        ),
        (
            "ALTER TABLE merged.t ADD c_table INT, ADD c_schema INT, ADD c_source CHAR(9)",
            "column `c_table` cannot hold what its extract rule finds in the name: it is not a number (int(11))",
        ),
        ("ALTER TABLE merged.t MODIFY c_table TIME", "its type must be a text"),
    ] {
        rig.target.execute(&[change]).await;
        let error = rig.start("m").error().await;
        assert_eq!(error.code, codes::SYNCER_UNIT_DML_COLUMN_NOT_MATCH, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    rig.target.execute(&["ALTER TABLE merged.t MODIFY c_table VARCHAR(5)"]).await;
    let mut running = rig.start("m");
    rig.caught_up(&mut running).await;
    assert_eq!(rig.rows("SELECT * FROM merged.t").await, ["1|a|1|s1"]);
    // The source gets a column of the name.
    rig.source
        .execute(&["ALTER TABLE shard_1.t_a ADD c_schema INT", "INSERT INTO shard_1.t_a VALUES (2, 2)"])
        .await;
    let error = running.error().await;
    assert!(error.to_string().contains("c_schema"), "{error}");
    assert_eq!(rig.rows("SELECT COUNT(*) FROM merged.t").await, ["1"]);
}
