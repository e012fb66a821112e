//! Filters, expression filters, routes and lists between real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

#[path = "rules/extracted.rs"]
mod extracted;
#[path = "support/stream_rig.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod stream_rig;
mod support;

use std::time::Duration;

use dmnode_actors::sync::{self, SyncSpec};
use dmnode_actors::unit::UnitContext;
use dmnode_model::config::{SourceConfig, TaskConfig};
use dmnode_model::{Epoch, SourceId, TaskName, codes};
use stream_rig::Running;
use support::{Kind, Server};

const PATIENCE: Duration = Duration::from_secs(60);

/// A pair of servers, and how tasks between them are written.
struct Rules {
    source: Server,
    target: Server,
    /// Further lines of source.yaml.
    source_lines: String,
    /// Further lines of the only instance.
    instance: String,
    /// Further lines of task.yaml.
    task: String,
    epoch: u64,
}

impl Rules {
    async fn new(from: Kind, to: Kind) -> Self {
        let (source, target) = tokio::join!(Server::start(from, &[]), Server::start(to, &[]));
        let (source_lines, instance, task) = Default::default();
        Self { source, target, source_lines, instance, task, epoch: 1 }
    }

    fn spec(&self, name: &str) -> SyncSpec {
        let yaml = format!(
            "source-id: s1\nfrom: {{host: 127.0.0.1, port: {}, user: root, password: ''}}\n{}\n",
            self.source.port, self.source_lines
        );
        let source = SourceConfig::from_yaml(&yaml, None).unwrap_or_else(|err| panic!("{err}\n{yaml}")).value;
        let yaml = format!(
            "name: {name}\ntask-mode: incremental\ntarget-database: {{host: 127.0.0.1, port: {}, user: root, password: ''}}\n\
             mysql-instances:\n  - source-id: s1\n    meta: {{binlog-name: bin.000001, binlog-pos: 4}}\n    \
             syncer-config-name: g\n{}\nsyncers: {{g: {{worker-count: 2}}}}\n{}\n",
            self.target.port, self.instance, self.task
        );
        let task = TaskConfig::from_yaml(&yaml, None).unwrap_or_else(|err| panic!("{err}\n{yaml}")).value;
        let mut subtask = task.subtask(&SourceId::new("s1")).unwrap();
        subtask.merge_source(&source);
        SyncSpec { source, subtask, until: None }
    }

    fn start(&mut self, name: &str) -> Running {
        self.epoch += 1;
        let ctx = UnitContext::detached(TaskName::new(name), SourceId::new("s1"), Epoch(self.epoch));
        let handle = tokio::spawn(sync::run(ctx.clone(), self.spec(name)));
        Running { ctx, handle }
    }

    /// Waits until the target has a row that was written last, and the unit still runs.
    async fn caught_up(&self, running: &mut Running) {
        let mut conn = self.source.connect().await;
        conn.execute("CREATE DATABASE IF NOT EXISTS mark").await.unwrap();
        conn.execute("CREATE TABLE IF NOT EXISTS mark.mark (id INT PRIMARY KEY AUTO_INCREMENT)")
            .await
            .unwrap();
        let id = conn.execute("INSERT INTO mark.mark VALUES ()").await.unwrap().last_insert_id;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut target = self.target.connect().await;
        loop {
            if let Ok(rows) = target.query(format!("SELECT 1 FROM mark.mark WHERE id = {id}")).await
                && rows.len() == 1
            {
                return;
            }
            if running.handle.is_finished() {
                panic!("the unit ended: {:?}", (&mut running.handle).await);
            }
            assert!(tokio::time::Instant::now() < deadline, "not caught up");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Rows of the target, columns joined by a bar.
    async fn rows(&self, sql: &str) -> Vec<String> {
        let rows = self.target.query(sql).await;
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "NULL".into());
        rows.iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join("|")).collect()
    }
}

async fn event_filters(from: Kind, to: Kind) {
    let mut rig = Rules::new(from, to).await;
    rig.source_lines = "filters:\n\
        - {schema-pattern: 'app*', table-pattern: keep_*, events: [truncate table, drop table], action: Ignore}\n"
        .into();
    rig.instance = "    filter-rules: [no_delete, ddl, text, only, stop]\n    block-allow-list: b\n".into();
    rig.task = "block-allow-list: {b: {do-dbs: [app, mark]}}\n\
        filters:\n\
        \x20 no_delete: {schema-pattern: app, table-pattern: 'log_?', events: [delete], action: Ignore}\n\
        \x20 ddl: {schema-pattern: app, table-pattern: d, events: [drop column, value range decrease, rename index], action: Ignore}\n\
        \x20 text: {schema-pattern: '*', sql-pattern: ['^\\s*alter\\s+table\\s+\\S+\\s+add\\s+column\\s+secret_'], action: Ignore}\n\
        \x20 only: {schema-pattern: app, table-pattern: ins, events: [create table, insert], action: Do}\n\
        \x20 stop: {schema-pattern: app, table-pattern: holy, events: [update, truncate table], action: Error}\n"
        .into();
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "USE app",
            "CREATE TABLE log_1 (id INT PRIMARY KEY, v INT)",
            "INSERT INTO log_1 VALUES (1, 1), (2, 2)",
            "DELETE FROM log_1",
            "INSERT INTO log_1 VALUES (3, 3)",
            "UPDATE log_1 SET v = 4",
            "CREATE TABLE d (id INT PRIMARY KEY, gone INT, n INT, KEY k (n))",
            "INSERT INTO d VALUES (1, 2, 3)",
            // Of two operations one goes on.
            "ALTER TABLE d ADD COLUMN x INT DEFAULT 9, RENAME INDEX k TO kk",
            "ALTER TABLE d ADD COLUMN secret_1 INT",
            "ALTER TABLE d DROP COLUMN secret_1",
            "INSERT INTO d VALUES (2, 3, 4, 5)",
            "CREATE TABLE ins (id INT PRIMARY KEY, v INT)",
            "INSERT INTO ins VALUES (1, 1), (2, 2)",
            "UPDATE ins SET v = 7",
            "DELETE FROM ins WHERE id = 1",
            "TRUNCATE TABLE ins",
            "CREATE TABLE keep_1 (id INT PRIMARY KEY)",
            "INSERT INTO keep_1 VALUES (1)",
            "TRUNCATE TABLE keep_1",
            "INSERT INTO keep_1 VALUES (2)",
            "CREATE TABLE plain (id INT PRIMARY KEY)",
            "DROP TABLE keep_1, plain",
            "CREATE TABLE holy (id INT PRIMARY KEY, v INT)",
            "INSERT INTO holy VALUES (1, 1)",
        ])
        .await;
    let mut running = rig.start("f");
    rig.caught_up(&mut running).await;
    assert_eq!(rig.rows("SELECT * FROM app.log_1 ORDER BY id").await, ["1|1", "2|2", "3|4"]);
    assert_eq!(rig.rows("SELECT * FROM app.ins ORDER BY id").await, ["1|1", "2|2"]);
    assert_eq!(rig.rows("SELECT * FROM app.keep_1 ORDER BY id").await, ["1", "2"]);
    assert_eq!(rig.rows("SELECT id, gone, n, x FROM app.d ORDER BY id").await, ["1|2|3|9", "2|3|4|5"]);
    let columns = "SELECT GROUP_CONCAT(CONCAT(column_name, ' ', data_type) ORDER BY ordinal_position) \
                   FROM information_schema.columns WHERE table_schema = 'app' AND table_name = 'd'";
    assert_eq!(rig.rows(columns).await, ["id int,gone int,n int,x int"]);
    let index =
        "SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = 'app' AND index_name = 'k'";
    assert_eq!(rig.rows(index).await, ["1"]);
    let tables =
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'app' AND table_name = 'plain'";
    assert_eq!(rig.rows(tables).await, ["0"]);

    // An error names the rule, and nothing of the event is applied.
    rig.source.execute(&["UPDATE app.holy SET v = 2"]).await;
    let error = running.error().await;
    assert_eq!(error.code, codes::SYNCER_UNIT_BINLOG_EVENT_FILTER);
    assert!(error.to_string().contains("filters.stop"), "{error}");
    assert!(error.to_string().contains("bin.0000"), "{error}");
    assert_eq!(rig.rows("SELECT v FROM app.holy").await, ["1"]);
}

#[tokio::test]
async fn event_filters_leave_out_what_they_name_mysql() {
    event_filters(Kind::Mysql, Kind::Mariadb).await;
}

#[tokio::test]
async fn event_filters_leave_out_what_they_name_mariadb() {
    event_filters(Kind::Mariadb, Kind::Mysql).await;
}

async fn expression_filters(from: Kind, to: Kind) {
    let mut rig = Rules::new(from, to).await;
    rig.instance = "    expression-filters: [ins, ins2, upd, del, kinds]\n".into();
    rig.task = "timezone: '+02:00'\nexpression-filter:\n\
        \x20 ins: {schema: app, table: T, insert-value-expr: \"v > 10 OR name LIKE 'x%'\"}\n\
        \x20 ins2: {schema: app, table: t, insert-value-expr: 'id = 5'}\n\
        \x20 upd: {schema: app, table: t, update-old-value-expr: 'v > 10', update-new-value-expr: 'v > 20'}\n\
        \x20 del: {schema: app, table: t, delete-value-expr: 'name IS NULL'}\n\
        \x20 kinds: {schema: app, table: k, insert-value-expr: \"e = 'b' OR FIND_IN_SET('y', st) OR l COLLATE latin1_bin = 'caf\u{e9}' OR ts > '2024-06-01 01:00:00' OR bi & 2 OR bn = x'00ff'\"}\n"
        .into();
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "USE app",
            "CREATE TABLE t (id INT PRIMARY KEY, v INT, name VARCHAR(20))",
            "INSERT INTO t VALUES (1, 1, 'a'), (2, 11, 'b'), (3, 3, 'xyz'), (4, NULL, 'd'), (5, 5, 'e'), (6, 6, NULL), (7, 10, 'g')",
            // A row that goes above, and one that stays below.
            "UPDATE t SET v = 30 WHERE id = 1",
            "UPDATE t SET v = 31 WHERE id = 1",
            "UPDATE t SET v = 8 WHERE id = 7",
            "DELETE FROM t WHERE id IN (6, 7)",
            // The expressions follow the columns.
            "ALTER TABLE t ADD COLUMN first INT FIRST",
            "INSERT INTO t VALUES (0, 8, 12, 'h'), (0, 9, 9, 'i')",
            "CREATE TABLE k (id INT PRIMARY KEY, e ENUM('a','b'), st SET('x','y','z'), l VARCHAR(9) CHARACTER SET latin1, ts TIMESTAMP NULL, bi BIT(3), bn VARBINARY(5))",
            "INSERT INTO k VALUES (1, 'a', 'x,z', 'cafe', '2024-05-31 22:00:00', 5, x'00fe')",
            "INSERT INTO k VALUES (2, 'b', '', '', NULL, 0, ''), (3, 'a', 'x,y', '', NULL, 0, ''), (4, 'a', '', 'caf\u{e9}', NULL, 0, '')",
            // The session is in UTC: an hour earlier than it is in the task's zone.
            "INSERT INTO k VALUES (5, 'a', '', '', '2024-05-31 23:00:01', 0, ''), (6, 'a', '', '', NULL, 6, ''), (7, 'a', '', '', NULL, 0, x'00ff')",
            "INSERT INTO k VALUES (8, NULL, NULL, NULL, NULL, NULL, NULL)",
        ])
        .await;
    let mut running = rig.start("e");
    rig.caught_up(&mut running).await;
    let rows = rig.rows("SELECT id, v, name FROM app.t ORDER BY id").await;
    assert_eq!(rows, ["1|30|a", "4|NULL|d", "6|6|NULL", "9|9|i"]);
    assert_eq!(rig.rows("SELECT id FROM app.k ORDER BY id").await, ["1", "8"]);

    // A column that is gone: the task stops and says which.
    rig.source.execute(&["ALTER TABLE app.t DROP COLUMN v", "INSERT INTO app.t VALUES (0, 10, 'j')"]).await;
    let error = running.error().await;
    assert_eq!(error.code, codes::CONFIG_EXPR_FILTER_WRONG_GRAMMAR, "{error}");
    assert!(error.to_string().contains("no column `v`"), "{error}");
}

#[tokio::test]
async fn expression_filters_leave_out_rows_mysql() {
    expression_filters(Kind::Mysql, Kind::Mariadb).await;
}

#[tokio::test]
async fn expression_filters_leave_out_rows_mariadb() {
    expression_filters(Kind::Mariadb, Kind::Mysql).await;
}

#[tokio::test]
async fn f13_a_table_created_later_that_matches_nothing_is_told() {
    let mut rig = Rules::new(Kind::Mariadb, Kind::Mysql).await;
    rig.instance = "    block-allow-list: b\n    route-rules: [r]\n".into();
    rig.task = "block-allow-list: {b: {do-dbs: ['shard_[0-9]', mark], do-tables: [{db-name: 'shard_*', tbl-name: 't_[0-63]'}, {db-name: mark, tbl-name: '*'}]}}\n\
        routes: {r: {schema-pattern: 'shard_*', table-pattern: 't_[0-3]', target-schema: shard_1, target-table: t_0}}\n"
        .into();
    rig.source
        .execute(&[
            "CREATE DATABASE shard_1",
            "CREATE TABLE shard_1.t_0 (id INT PRIMARY KEY)",
            "INSERT INTO shard_1.t_0 VALUES (1)",
        ])
        .await;
    let mut running = rig.start("w");
    rig.caught_up(&mut running).await;
    let warnings = |running: &Running| {
        running.ctx.status.snapshot().1.sync.map(|sync| sync.warnings).unwrap_or_default()
    };
    assert_eq!(warnings(&running), Vec::<String>::new());
    rig.source
        .execute(&[
            "CREATE TABLE shard_1.t_17 (id INT PRIMARY KEY)",
            "CREATE TABLE shard_1.t_5 (id INT PRIMARY KEY)",
            "CREATE DATABASE shard_10",
            "CREATE TABLE shard_10.t_1 (id INT PRIMARY KEY)",
            "CREATE DATABASE unrelated",
            "CREATE TABLE unrelated.x (id INT PRIMARY KEY)",
        ])
        .await;
    rig.caught_up(&mut running).await;
    let told = warnings(&running);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].contains("`shard_1`.`t_17` was created") && told[0].contains("of 0-6 or 3"), "{told:?}");
    assert!(told[1].contains("`shard_1`.`t_5`") && told[1].contains("keeps its name"), "{told:?}");
    assert!(told[2].contains("`shard_10`.`t_1`") && told[2].contains("do-dbs"), "{told:?}");
}

/// What stops the task on a real server: a shard is dropped whose target holds the rows of others. A filter passes it.
#[tokio::test]
async fn f18_a_filter_passes_the_drop_of_a_shard() {
    let mut rig = Rules::new(Kind::Mariadb, Kind::Mysql).await;
    rig.instance = "    block-allow-list: b\n    route-rules: [r]\n".into();
    rig.task = "block-allow-list: {b: {do-dbs: [app, mark]}}\n\
        routes: {r: {schema-pattern: app, table-pattern: 't_*', target-schema: app, target-table: t}}\n"
        .into();
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.t_1 (id INT PRIMARY KEY)",
            "CREATE TABLE app.t_2 (id INT PRIMARY KEY)",
            "INSERT INTO app.t_1 VALUES (1)",
            "INSERT INTO app.t_2 VALUES (2)",
            "DROP TABLE app.t_1",
            "INSERT INTO app.t_2 VALUES (3)",
        ])
        .await;
    let error = rig.start("d").error().await;
    assert_eq!(error.code, codes::DDL_UNSUPPORTED, "{error}");
    rig.instance.push_str("    filter-rules: [f]\n");
    rig.task.push_str(
        "filters: {f: {schema-pattern: app, table-pattern: 't_*', events: [drop table], action: Ignore}}\n",
    );
    let mut running = rig.start("d");
    rig.caught_up(&mut running).await;
    assert_eq!(rig.rows("SELECT id FROM app.t ORDER BY id").await, ["1", "2", "3"]);
}

/// Servers that tell `T` from `t`: the lists and routes do so only when they are told to, in the task or in the source.
async fn case_of_names(from: Kind, to: Kind) {
    let mut rig = Rules::new(from, to).await;
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE DATABASE App",
            "CREATE TABLE app.T (id INT PRIMARY KEY)",
            "CREATE TABLE app.t (id INT PRIMARY KEY)",
            "CREATE TABLE App.T (id INT PRIMARY KEY)",
            "CREATE TABLE app.other (id INT PRIMARY KEY)",
            "INSERT INTO app.T VALUES (1)",
            "INSERT INTO app.t VALUES (2)",
            "INSERT INTO App.T VALUES (3)",
            "INSERT INTO app.other VALUES (4)",
        ])
        .await;
    let tables = async |rig: &Rules, schema: &str| {
        let tables = format!(
            "SELECT table_name FROM information_schema.tables WHERE BINARY table_schema = '{schema}' ORDER BY BINARY table_name"
        );
        rig.rows(&tables).await
    };
    let lists = |target: &str, place: &str| {
        format!(
            "{place}block-allow-list: {{b: {{do-tables: [{{db-name: app, tbl-name: T}}, {{db-name: mark, tbl-name: '*'}}]}}}}\n\
             routes: {{r: {{schema-pattern: app, table-pattern: T, target-schema: {target}, target-table: all_t}}}}\n"
        )
    };
    rig.instance = "    block-allow-list: b\n    route-rules: [r]\n".into();
    // Routes of tables make no databases.
    rig.target.execute(&["CREATE DATABASE folded", "CREATE DATABASE exact", "CREATE DATABASE exact2"]).await;
    // Without: all three are one table's shards.
    rig.task = lists("folded", "");
    let mut running = rig.start("folded");
    rig.caught_up(&mut running).await;
    assert_eq!(rig.rows("SELECT id FROM folded.all_t ORDER BY id").await, ["1", "2", "3"]);
    assert_eq!(tables(&rig, "folded").await, ["all_t"]);
    running.crash().await;
    // With, in the task and in the source: the one that is named. Each task begins at the first event.
    for (name, task, source) in
        [("exact", "case-sensitive: true\n", ""), ("exact2", "", "case-sensitive: true\n")]
    {
        rig.target.execute(&["DROP DATABASE mark"]).await;
        rig.task = lists(name, task);
        rig.source_lines = source.into();
        let mut running = rig.start(name);
        rig.caught_up(&mut running).await;
        assert_eq!(rig.rows(&format!("SELECT id FROM {name}.all_t ORDER BY id")).await, ["1"]);
        running.crash().await;
    }
    // A route that does not fit leaves the name as it is.
    rig.task = lists("never", "case-sensitive: true\n").replace("table-pattern: T", "table-pattern: t");
    rig.source_lines.clear();
    rig.target.execute(&["DROP DATABASE mark"]).await;
    let mut running = rig.start("kept");
    rig.caught_up(&mut running).await;
    assert_eq!(tables(&rig, "app").await, ["T"]);
    assert_eq!(tables(&rig, "App").await, Vec::<String>::new());
    assert_eq!(rig.rows("SELECT id FROM app.T").await, ["1"]);
    running.crash().await;
}

#[tokio::test]
async fn the_case_of_names_counts_when_asked_for_mysql() {
    case_of_names(Kind::Mysql, Kind::Mariadb).await;
}

#[tokio::test]
async fn the_case_of_names_counts_when_asked_for_mariadb() {
    case_of_names(Kind::Mariadb, Kind::Mysql).await;
}
