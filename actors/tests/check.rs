//! Checks against real servers: each kind of bad input gives its coded error, and nothing is left behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod support;

use dmnode_actors::check::{CheckOptions, CheckReport, ItemState, check_task, probe_source};
use dmnode_model::config::{SourceConfig, SubtaskConfig, TaskConfig};
use dmnode_model::{Flavor, Secret, SourceId, codes};
use support::{Kind, Server};

struct Rig {
    source: Server,
    target: Server,
}

/// A source and a task; tests change what they are about.
struct Plan {
    source: SourceConfig,
    subtask: SubtaskConfig,
}

impl Rig {
    async fn new(from: Kind, source: &[&str], to: Kind) -> Self {
        let (source, target) = tokio::join!(Server::start(from, source), Server::start(to, &[]));
        Self { source, target }
    }

    fn plan(&self, mode: &str, task: &str) -> Plan {
        let yaml = format!(
            "source-id: s1\nfrom:\n  host: 127.0.0.1\n  port: {}\n  user: root\n  password: ''\n",
            self.source.port
        );
        let source = SourceConfig::from_yaml(&yaml, None).unwrap().value;
        let yaml = format!(
            "name: t\ntask-mode: {mode}\ntarget-database:\n  host: 127.0.0.1\n  port: {}\n  user: root\n  password: ''\n\
             mysql-instances:\n  - source-id: s1\n{task}\n",
            self.target.port
        );
        let task = TaskConfig::from_yaml(&yaml, None).unwrap_or_else(|err| panic!("{err}\n{yaml}")).value;
        let subtask = task.subtask(&SourceId::new("s1")).unwrap();
        Plan { source, subtask }
    }
}

impl Plan {
    async fn check(&self) -> CheckReport {
        check_task(&[(self.source.clone(), self.subtask.clone())], &CheckOptions::default()).await
    }

    /// The report fails with exactly these codes.
    async fn fails_with(&self, expected: &[u32]) -> CheckReport {
        let report = self.check().await;
        assert!(!report.passed, "{}", report.text);
        let found: Vec<u32> = report
            .items
            .iter()
            .flat_map(|i| &i.errors)
            .filter(|f| f.severity == ItemState::Fail)
            .map(|f| f.code)
            .collect();
        assert_eq!(found, expected, "{}", report.text);
        assert!(report.text.starts_with("[code=26005:"), "{}", report.text);
        report
    }
}

trait Findings {
    fn finds_nothing_but_the_missing_key(&self);
}

impl Findings for CheckReport {
    /// Of the tables in [`SCHEMA`] one has no key.
    fn finds_nothing_but_the_missing_key(&self) {
        assert!(self.passed, "{}", self.text);
        let found = self.items.iter().flat_map(|item| &item.errors).map(|one| one.short_error.as_str());
        assert!(found.eq(["table `shop`.`log` primary/unique key does not exist"]), "{}", self.text);
    }
}

const SCHEMA: [&str; 4] = [
    "CREATE DATABASE shop",
    "CREATE TABLE shop.orders (id INT PRIMARY KEY, n INT)",
    "CREATE TABLE shop.log (line TEXT)",
    "CREATE VIEW shop.v AS SELECT 1 AS a",
];
const LIST: &str = "    block-allow-list: b\nblock-allow-list: {b: {do-dbs: [shop]}}";

async fn good_task(from: Kind, to: Kind) {
    let rig = Rig::new(from, &[], to).await;
    rig.source.execute(&SCHEMA).await;
    let before = rig.target.query("SHOW DATABASES").await;
    for mode in ["all", "full", "incremental"] {
        let report = rig.plan(mode, LIST).check().await;
        report.finds_nothing_but_the_missing_key();
        let tables: Vec<String> = report.tables.iter().map(|t| format!("{} {}", t.from, t.to)).collect();
        assert_eq!(tables, ["`shop`.`log` `shop`.`log`", "`shop`.`orders` `shop`.`orders`"]);
        assert!(report.notes.iter().any(|n| n.contains("view `shop`.`v`")), "{:?}", report.notes);
    }
    let mut plan = rig.plan("all", "    block-allow-list: b\nblock-allow-list: {b: {do-dbs: [shop, shpo], do-tables: [{db-name: shop, tbl-name: \"o[q-s]*\"}]}}");
    let report = plan.check().await;
    assert!(report.passed);
    assert!(report.text.contains("no errors but some warnings\n detail: {"), "{}", report.text);
    assert!(report.text.contains("do-dbs `shpo` matches nothing"), "{}", report.text);
    assert_eq!(report.tables.len(), 1);
    plan.subtask.ignore_checking_items = vec!["all".into()];
    plan.source.from.port = 1;
    assert_eq!(plan.check().await.text, "");
    assert_eq!(rig.target.query("SHOW DATABASES").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_task_passes_from_mysql_to_mariadb() {
    good_task(Kind::Mysql, Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_task_passes_from_mariadb_to_mysql() {
    good_task(Kind::Mariadb, Kind::Mysql).await;
}

async fn unreachable_and_wrong_password(rig: &Rig) {
    type Change = fn(&mut Plan);
    let changes: [(Change, &str, &str); 4] = [
        (|p| p.source.from.port = 1, "scope=upstream", "check host and port"),
        (|p| p.subtask.target.port = 1, "scope=downstream", "check host and port"),
        (|p| p.source.from.password = Secret::new("wrong"), "scope=upstream", "check user and password"),
        (|p| p.subtask.target.password = Secret::new("wrong"), "scope=downstream", "check user and password"),
    ];
    for (change, scope, remedy) in changes {
        let mut plan = rig.plan("all", LIST);
        change(&mut plan);
        let report = plan.check().await;
        let err = report.error.expect(scope);
        assert_eq!(err.code, codes::TASK_CHECK_FAILED_OPEN_DB, "{err}");
        assert!(report.text.contains(scope) && report.text.contains(remedy), "{}", report.text);
        assert!(!report.text.contains("wrong"), "{}", report.text);
        assert!(report.text.contains("fail to initialize checker: "), "{}", report.text);
    }
    let mut source = rig.plan("all", LIST).source;
    source.from.password = Secret::new("wrong");
    assert_eq!(probe_source(&source).await.unwrap_err().code, codes::TASK_CHECK_FAILED_OPEN_DB);
}

async fn settings_of_the_source(rig: &Rig) {
    rig.source.execute(&["SET GLOBAL binlog_row_image = MINIMAL"]).await;
    let report = rig.plan("all", LIST).fails_with(&[codes::CHECK_ROW_IMAGE]).await;
    assert!(report.text.contains("binlog_row_image is MINIMAL"), "{}", report.text);
    rig.source.execute(&["SET GLOBAL binlog_row_image = FULL", "SET GLOBAL binlog_format = MIXED"]).await;
    let report = rig.plan("incremental", LIST).fails_with(&[codes::CHECK_BINLOG_FORMAT]).await;
    assert!(report.text.contains("SET GLOBAL binlog_format = ROW"), "{}", report.text);
    let mut plan = rig.plan("incremental", LIST);
    plan.subtask.ignore_checking_items = vec!["binlog_format".into()];
    assert!(plan.check().await.passed);
    rig.source.execute(&["SET GLOBAL binlog_format = ROW"]).await;

    let mut plan = rig.plan("all", LIST);
    plan.source.flavor = Some(match rig.source.kind {
        Kind::Mysql => Flavor::Mariadb,
        Kind::Mariadb => Flavor::Mysql,
    });
    plan.fails_with(&[codes::NOT_SUPPORTED_FLAVOR]).await;
    assert_eq!(probe_source(&plan.source).await.unwrap_err().code, codes::NOT_SUPPORTED_FLAVOR);
    plan.source.flavor = None;
    plan.source.server_id = u32::from(rig.source.port);
    assert_eq!(probe_source(&plan.source).await.unwrap_err().code, codes::INVALID_SERVER_ID);
    plan.source.server_id = 0;
    let filled = probe_source(&plan.source).await.unwrap();
    assert!(filled.server_id != 0 && filled.flavor.is_some());
}

/// Accounts of the source, each a little more trusted than the one before.
async fn grants_of_the_source(rig: &Rig) {
    let mysql = rig.source.kind == Kind::Mysql;
    rig.source
        .execute(&[
            "CREATE USER low@localhost IDENTIFIED BY 'secret'",
            "CREATE USER low@'%' IDENTIFIED BY 'secret'",
        ])
        .await;
    let mut plan = rig.plan("all", LIST);
    plan.source.from = rig.source.endpoint_of("low");
    let report = plan.check().await;
    assert!(!report.passed);
    assert!(report.text.contains("GRANT REPLICATION SLAVE, "), "{}", report.text);
    assert!(report.text.contains("TO 'low'@"), "{}", report.text);
    assert!(report.text.contains("no table and no database is in scope"), "{}", report.text);

    let grant = |what: &str| ["localhost", "%"].map(|host| format!("GRANT {what} TO low@'{host}'"));
    let run = async |what: &str| {
        let [a, b] = grant(what);
        rig.source.execute(&[&a, &b]).await;
    };
    run("INSERT ON shop.orders").await;
    run("SELECT ON shop.log").await;
    run("REPLICATION CLIENT ON *.*").await;
    let report = plan.check().await;
    assert!(report.text.contains("GRANT SELECT ON `shop`.`orders` TO 'low'@"), "{}", report.text);
    assert!(report.text.contains("GRANT REPLICATION SLAVE ON *.* TO 'low'@"), "{}", report.text);
    run("SELECT ON shop.*").await;
    run("REPLICATION SLAVE ON *.*").await;
    if mysql {
        let report = plan.fails_with(&[codes::CHECK_PRIVILEGE]).await;
        assert!(report.text.contains("GRANT RELOAD ON *.* TO 'low'@"), "{}", report.text);
        run("LOCK TABLES ON shop.*").await;
        let report = plan.check().await;
        assert!(report.passed && report.text.contains("locked one by one"), "{}", report.text);
        run("RELOAD ON *.*").await;
    }
    plan.check().await.finds_nothing_but_the_missing_key();
    // The lock of the check is gone.
    rig.source
        .execute(&["INSERT INTO shop.orders VALUES (77, 1)", "DELETE FROM shop.orders WHERE id = 77"])
        .await;
}

async fn grants_of_the_target(rig: &Rig) {
    rig.target
        .execute(&[
            "CREATE USER low@localhost IDENTIFIED BY 'secret'",
            "CREATE USER low@'%' IDENTIFIED BY 'secret'",
        ])
        .await;
    let mut plan = rig.plan("all", LIST);
    plan.subtask.target = rig.target.endpoint_of("low");
    let report = plan.fails_with(&[codes::CHECK_PRIVILEGE, codes::CHECK_PRIVILEGE]).await;
    let all = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP";
    for schema in ["dm_meta", "shop"] {
        assert!(report.text.contains(&format!("GRANT {all} ON `{schema}`.* TO 'low'@")), "{}", report.text);
    }
    for host in ["localhost", "%"] {
        let sql = [
            format!("GRANT ALL ON dm_meta.* TO low@'{host}'"),
            format!("GRANT SELECT, INSERT, UPDATE, CREATE, ALTER, INDEX, DROP ON shop.* TO low@'{host}'"),
        ];
        rig.target.execute(&[&sql[0], &sql[1]]).await;
    }
    let report = plan.fails_with(&[codes::CHECK_PRIVILEGE]).await;
    assert!(report.text.contains("GRANT DELETE ON `shop`.* TO 'low'@"), "{}", report.text);
    for host in ["localhost", "%"] {
        rig.target.execute(&[&format!("GRANT DELETE ON shop.* TO low@'{host}'")]).await;
    }
    plan.check().await.finds_nothing_but_the_missing_key();
}

async fn tables_that_cannot_roll_back(rig: &Rig) {
    rig.source.execute(&["CREATE TABLE shop.old (id INT PRIMARY KEY) ENGINE=MyISAM"]).await;
    let report = rig.plan("all", LIST).fails_with(&[codes::TABLE_NOT_TRANSACTIONAL]).await;
    assert!(report.text.contains("`shop`.`old`"), "{}", report.text);
    rig.target
        .execute(&["CREATE DATABASE shop", "CREATE TABLE shop.old (id INT PRIMARY KEY) ENGINE=InnoDB"])
        .await;
    assert!(rig.plan("all", LIST).check().await.passed);
    rig.target.execute(&["CREATE TABLE shop.orders (id INT PRIMARY KEY, n INT) ENGINE=MyISAM"]).await;
    let mut plan = rig.plan("incremental", LIST);
    plan.subtask.ignore_checking_items = vec!["table_schema".into(), "target_privilege".into()];
    let report = plan.fails_with(&[codes::TABLE_NOT_TRANSACTIONAL]).await;
    assert!(report.text.contains("ALTER TABLE `shop`.`orders` ENGINE=InnoDB"), "{}", report.text);
    rig.target.execute(&["DROP DATABASE shop"]).await;
    rig.source.execute(&["DROP TABLE shop.old"]).await;
}

async fn start_positions(rig: &Rig) {
    let mysql = rig.source.kind == Kind::Mysql;
    let status = if mysql { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
    let row = rig.source.query(status).await;
    let (file, pos) = (row[0][0].clone().unwrap(), row[0][1].clone().unwrap());
    let meta =
        |file: &str, pos: &str| format!("    meta: {{binlog-name: {file}, binlog-pos: {pos}}}\n{LIST}");
    assert!(rig.plan("incremental", &meta(&file, &pos)).check().await.passed);
    let beyond = (pos.parse::<u64>().unwrap() + 100_000).to_string();
    for bad in [meta("bin.000999", "4"), meta(&file, &beyond), meta("nonsense", "4")] {
        rig.plan("incremental", &bad).fails_with(&[codes::BINLOG_PURGED]).await;
    }
    let report =
        rig.plan("incremental", &meta(&file, &(pos.parse::<u64>().unwrap() - 7).to_string())).check().await;
    assert!(!report.passed, "a position inside of an event: {}", report.text);

    rig.source
        .execute(&["FLUSH BINARY LOGS", "INSERT INTO shop.orders VALUES (1, 1)", "FLUSH BINARY LOGS"])
        .await;
    let last = rig.source.query(status).await[0][0].clone().unwrap();
    // A reader of a moment ago may still hold the old file.
    for _ in 0..100 {
        rig.source.execute(&[&format!("PURGE BINARY LOGS TO '{last}'")]).await;
        if rig.source.query("SHOW BINARY LOGS").await.len() == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let report = rig.plan("incremental", &meta(&file, "4")).fails_with(&[codes::BINLOG_PURGED]).await;
    assert!(report.text.contains(&format!("({file}, 4)")), "{}", report.text);
    let set = if mysql { "00000000-0000-0000-0000-00000000abcd:1" } else { "0-99-1" };
    let mut plan = rig.plan("incremental", &format!("    meta: {{binlog-gtid: '{set}'}}\n{LIST}"));
    plan.source.enable_gtid = true;
    plan.fails_with(&[codes::BINLOG_PURGED]).await;
    let mut plan = rig.plan("incremental", &format!("    meta: {{binlog-gtid: 'nonsense'}}\n{LIST}"));
    plan.source.enable_gtid = true;
    plan.fails_with(&[codes::CHECK_START_POSITION]).await;

    let start_time = async |mode: &str, text: &str| {
        let plan = rig.plan(mode, LIST);
        let options = CheckOptions { start_time: Some(text.into()), ..CheckOptions::default() };
        check_task(&[(plan.source, plan.subtask)], &options).await
    };
    let report = start_time("incremental", "2099-01-01 00:00:00").await;
    assert!(!report.passed && report.text.contains("code=20057"), "{}", report.text);
    let report = start_time("incremental", "2001-01-01T00:00:00").await;
    assert!(report.passed && report.text.contains("before the first binlog"), "{}", report.text);
    let report = start_time("all", "2001-01-01 00:00:00").await;
    assert!(!report.passed && report.text.contains("code=60801"), "{}", report.text);
}

async fn bad_input(from: Kind, to: Kind) {
    let rig = Rig::new(from, &[], to).await;
    rig.source.execute(&SCHEMA).await;
    let before = rig.target.query("SHOW DATABASES").await;
    unreachable_and_wrong_password(&rig).await;
    settings_of_the_source(&rig).await;
    grants_of_the_source(&rig).await;
    grants_of_the_target(&rig).await;
    tables_that_cannot_roll_back(&rig).await;
    start_positions(&rig).await;
    assert_eq!(rig.target.query("SHOW DATABASES").await, before, "a check leaves nothing behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_has_coded_errors_from_mysql_to_mysql() {
    bad_input(Kind::Mysql, Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_has_coded_errors_from_mariadb_to_mariadb() {
    bad_input(Kind::Mariadb, Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_binlog_or_gtids_is_refused() {
    let rig = Rig::new(Kind::Mariadb, &["--skip-log-bin"], Kind::Mariadb).await;
    rig.source.execute(&SCHEMA).await;
    rig.plan("all", LIST).fails_with(&[codes::CHECK_BINLOG_OFF]).await;
    let rig = Rig::new(Kind::Mysql, &["--gtid-mode=OFF"], Kind::Mariadb).await;
    rig.source.execute(&SCHEMA).await;
    let mut plan = rig.plan("all", LIST);
    assert!(plan.check().await.passed);
    plan.source.enable_gtid = true;
    let report = plan.fails_with(&[codes::SOURCE_CHECK_GTID]).await;
    assert!(report.text.contains("has GTID_MODE = OFF instead of ON"), "{}", report.text);
    assert_eq!(probe_source(&plan.source).await.unwrap_err().code, codes::SOURCE_CHECK_GTID);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_the_other_flavor_cannot_hold_are_named() {
    let rig = Rig::new(Kind::Mariadb, &[], Kind::Mysql).await;
    rig.source
        .execute(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.u (id UUID PRIMARY KEY)",
            "CREATE SEQUENCE shop.s",
        ])
        .await;
    let report = rig.plan("all", LIST).fails_with(&[codes::DIALECT_NOT_IN_TARGET]).await;
    assert!(report.text.contains("column `id` of type UUID"), "{}", report.text);
    assert!(report.notes.iter().any(|n| n.contains("sequence `shop`.`s`")), "{:?}", report.notes);
    // Two routes that match one table, and two targets that differ by case only.
    let routes = "    block-allow-list: b\n    route-rules: [r1, r2]\nblock-allow-list: {b: {do-dbs: [shop]}}\nroutes:\n  \
                  r1: {schema-pattern: shop, table-pattern: u, target-schema: x}\n  \
                  r2: {schema-pattern: 'sh*', table-pattern: 'u*', target-schema: y}\n";
    let report = rig.plan("all", routes).check().await;
    assert_eq!(report.error.unwrap().code, codes::TASK_CHECK_GEN_TABLE_ROUTER);
}

async fn look_around(from: Kind, to: Kind) {
    let rig = Rig::new(from, &[], to).await;
    rig.source
        .execute(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.orders (id INT PRIMARY KEY)",
            "CREATE TABLE shop.tmp_1 (id INT PRIMARY KEY)",
        ])
        .await;
    let list = |pattern: &str| {
        format!(
            "    block-allow-list: b\nblock-allow-list: {{b: {{do-tables: [{{db-name: shop, tbl-name: '{pattern}'}}]}}}}"
        )
    };
    let report = rig.plan("all", &list("~^(?!tmp_)")).check().await;
    assert!(report.passed, "{}", report.text);
    let tables: Vec<String> = report.tables.iter().map(|t| t.from.to_string()).collect();
    assert_eq!(tables, ["`shop`.`orders`"]);
    for (pattern, place) in [("~^(?!tmp_", "character"), ("~ab(c", "character 3"), ("t_[0-9", "character 3")]
    {
        let report = rig.plan("all", &list(pattern)).check().await;
        assert!(!report.passed);
        let error = report.error.unwrap();
        assert_eq!(error.code, codes::TASK_CHECK_GEN_BA_LIST, "{error}");
        assert!(error.to_string().contains(place) && error.to_string().contains(pattern), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f02_lists_take_look_around_and_bad_patterns_are_refused_with_their_place() {
    look_around(Kind::Mysql, Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_a_class_that_is_taken_for_a_range_of_numbers_is_explained() {
    let rig = Rig::new(Kind::Mariadb, &[], Kind::Mysql).await;
    let mut schema = vec!["CREATE DATABASE shop".to_owned()];
    schema.extend((0..64).map(|n| format!("CREATE TABLE shop.t_{n} (id INT PRIMARY KEY)")));
    rig.source.execute(&schema.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let routes = "    route-rules: [r]\n    block-allow-list: b\nblock-allow-list: {b: {do-dbs: [shop]}}\n\
        routes: {r: {schema-pattern: shop, table-pattern: 't_[0-63]', target-schema: merged, target-table: t}}";
    let report = rig.plan("all", routes).check().await;
    assert!(report.passed, "{}", report.text);
    assert!(report.text.contains("it matches 7 of the 64 names that begin with `t_`"), "{}", report.text);
    let target = |from: &str| report.tables.iter().find(|t| t.from.table == from).unwrap().to.to_string();
    assert_eq!((target("t_6"), target("t_17")), ("`merged`.`t`".to_owned(), "`shop`.`t_17`".to_owned()));
    let nothing = routes.replace("t_[0-63]", "x_*");
    let report = rig.plan("all", &nothing).check().await;
    assert!(report.unmatched.iter().any(|text| text.contains("`x_*`")), "{:?}", report.unmatched);
    assert!(report.text.contains("matches nothing"), "{}", report.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_and_what_is_under_way_is_told_and_can_be_waived() {
    let rig = Rig::new(Kind::Mysql, &[], Kind::Mariadb).await;
    rig.source
        .execute(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.orders (id INT PRIMARY KEY, n INT, code VARCHAR(9), UNIQUE KEY (code))",
            "CREATE TABLE shop._orders_gho (id INT PRIMARY KEY)",
        ])
        .await;
    rig.target
        .execute(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.orders (id INT PRIMARY KEY, code VARCHAR(9), more INT NOT NULL, UNIQUE KEY (more))",
        ])
        .await;
    let task = "    block-allow-list: b\n    expression-filters: [e]\nblock-allow-list: {b: {do-dbs: [shop]}}\n\
        expression-filter: {e: {schema: shop, table: orders, insert-value-expr: 'nn > 1 AND SLEEP(1)'}}";
    let mut plan = rig.plan("incremental", task);
    let report = plan.fails_with(&[codes::CHECK_ONLINE_DDL, codes::CONFIG_EXPR_FILTER_WRONG_GRAMMAR]).await;
    for part in [
        "`_orders_gho` is a shadow of `shop`.`orders`",
        "no column `nn`, at character 1",
        "upstream has more columns than downstream, columns: [n]",
        "ADD COLUMN `n` int",
        "that require values to insert records, table name: orders, columns: [more]",
        "upstream has more PK or NOT NULL UK than downstream, index name: code, columns: [code]",
    ] {
        assert!(report.text.contains(part), "{part}: {}", report.text);
    }
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("GRANT REPLICATION CLIENT, REPLICATION SLAVE ON *.* TO 'root'@")),
        "{:?}",
        report.notes
    );
    assert!(report.notes.iter().any(|note| note.contains("GRANT SELECT ON `shop`.*")), "{:?}", report.notes);
    plan.subtask.ignore_checking_items = vec!["online_ddl".into(), "table_schema".into()];
    plan.subtask.expression_filters[0].insert_value_expr = "n > 1".into();
    let report = plan.check().await;
    assert!(report.passed, "{}", report.text);
    assert!(!report.text.contains("upstream has more"), "{}", report.text);
}

const MERGED: &str = "    block-allow-list: b\n    route-rules: [r]\nblock-allow-list: {b: {do-dbs: [shop]}}\n\
    routes: {r: {schema-pattern: shop, table-pattern: 't_*', target-schema: shop, target-table: t,\n\
    \x20 extract-table: {table-regexp: 't_(.*)', target-column: shard}}}\n";

/// The findings about table structures, in DM's words; each is gone when its item is waived.
#[tokio::test(flavor = "multi_thread")]
async fn table_structures_are_compared_in_dms_words() {
    let rig = Rig::new(Kind::Mariadb, &["--max-allowed-packet=33554432"], Kind::Mariadb).await;
    rig.source
        .execute(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.a (id INT PRIMARY KEY, u INT NOT NULL, extra INT, b LONGTEXT, UNIQUE KEY u (u)) CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci",
            "INSERT INTO shop.a VALUES (1, 1, 1, REPEAT('x', 20000000))",
            "CREATE TABLE shop.b (id INT PRIMARY KEY, n VARCHAR(9)) CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci",
            "CREATE TABLE shop.nokey (id INT)",
            "CREATE TABLE shop.t_1 (id INT PRIMARY KEY AUTO_INCREMENT, v INT)",
            "CREATE TABLE shop.t_2 (id INT PRIMARY KEY AUTO_INCREMENT, v INT UNSIGNED)",
            "CREATE TABLE shop.t_3 (id INT PRIMARY KEY, v INT, shard INT)",
        ])
        .await;
    rig.target
        .execute(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.a (id INT, u INT NOT NULL, b LONGTEXT, w INT NOT NULL, UNIQUE KEY w (w)) CHARSET=latin1",
            "CREATE TABLE shop.b (id INT PRIMARY KEY, n VARCHAR(9)) CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
            "CREATE TRIGGER shop.tr AFTER INSERT ON shop.b FOR EACH ROW SET @a = 1",
        ])
        .await;
    let texts = |report: &CheckReport| -> Vec<String> {
        let errors = report.items.iter().flat_map(|item| &item.errors);
        errors.map(|one| one.short_error.clone()).collect()
    };
    let mut plan = rig.plan("all", &format!("{MERGED}shard-mode: pessimistic\n"));
    let report = plan.check().await;
    let found = texts(&report);
    for (expected, instruction) in [
        (
            "table `shop`.`a` charset is not same, upstream: (a utf8mb4), downstream: (a latin1)",
            "CONVERT TO CHARACTER SET utf8mb4",
        ),
        (
            "table `shop`.`b` collation is not same, upstream: (b utf8mb4_general_ci), downstream: (b utf8mb4_bin)",
            "COLLATE utf8mb4_general_ci;",
        ),
        (
            "table `shop`.`a` upstream has more PK or NOT NULL UK than downstream, index name: PRIMARY, columns: [id]",
            "ADD PRIMARY KEY (`id`);",
        ),
        (
            "table `shop`.`a` upstream has more PK or NOT NULL UK than downstream, index name: u, columns: [u]",
            "ADD UNIQUE KEY `u` (`u`);",
        ),
        (
            "table `shop`.`a` downstream has more PK or NOT NULL UK than upstream, table name: a, index name: w, columns: [w]",
            "DROP INDEX `w`;",
        ),
        (
            "table `shop`.`a` upstream has more columns than downstream, columns: [extra]",
            "ADD COLUMN `extra` int(11);",
        ),
        (
            "table `shop`.`a` downstream has more columns than upstream that require values to insert records, table name: a, columns: [w]",
            "MODIFY `w` int(11) NULL;",
        ),
        ("table `shop`.`nokey` primary/unique key does not exist", "ADD PRIMARY KEY"),
        (
            "table `shop`.`t_1` upstream table t_1 who has extended columns [shard] does not exist in downstream table",
            "CREATE TABLE `shop`.`t`",
        ),
        ("different column definition", "ALTER TABLE `shop`.`t_2` CHANGE `v` `v` int(11);"),
        (
            "sourceID s1 table `shop`.`t_1` of sharding `shop`.`t` have auto-increment key, please make sure them don't conflict in target table!",
            "extract-table",
        ),
        ("table `shop`.`b` in the target has the trigger `shop`.`tr` (INSERT)", "DROP TRIGGER `shop`.`tr`;"),
        (
            "max_allowed_packet is 33554432 at source s1 and 16777216 in the target",
            "SET GLOBAL max_allowed_packet = 33554432;",
        ),
        ("table `shop`.`a` at source s1 has a row of about 20000000 bytes", "SET GLOBAL max_allowed_packet"),
    ] {
        let one =
            report.items.iter().flat_map(|item| &item.errors).find(|one| one.short_error.contains(expected));
        let one = one.unwrap_or_else(|| panic!("no finding `{expected}` in {found:#?}"));
        assert!(one.instruction.contains(instruction), "{expected}: {}", one.instruction);
    }
    let shards = report
        .items
        .iter()
        .find(|item| item.name == "sharding table `shop`.`t` consistency checking")
        .unwrap();
    let differing = shards.errors.iter().find(|one| one.code == codes::CHECK_SHARD_TABLES).unwrap();
    assert_eq!(differing.own, "sourceID s1 table `shop`.`t_1` column v int(11)");
    assert_eq!(differing.other, "sourceID s1 table `shop`.`t_2` column v int(10) unsigned");
    assert!(!report.passed);

    // With the target's table there, the rows of the source's that fit are no finding.
    rig.target.execute(&["CREATE TABLE shop.t (id INT, v INT, PRIMARY KEY (id))"]).await;
    let found = texts(&plan.check().await);
    let has = |found: &[String], text: &str| found.iter().any(|one| one.contains(text));
    assert!(
        has(&found, "table `shop`.`t_1` downstream table must contain extended columns [shard]"),
        "{found:#?}"
    );
    assert!(
        has(&found, "table `shop`.`t_3` upstream table must not contain extended column [shard]"),
        "{found:#?}"
    );
    rig.target
        .execute(&[
            "ALTER TABLE shop.t ADD shard VARCHAR(9) NOT NULL, DROP PRIMARY KEY, ADD PRIMARY KEY (id, shard)",
        ])
        .await;
    rig.source.execute(&["DROP TABLE shop.t_3"]).await;
    let found = texts(&plan.check().await);
    assert!(
        !has(&found, "extended") && !has(&found, "require values to insert records, table name: t,"),
        "{found:#?}"
    );

    for (item, gone) in [
        ("table_schema", "nokey"),
        ("schema_of_shard_tables", "different column definition"),
        ("auto_increment_ID", "auto-increment"),
        ("target_triggers", "trigger"),
        ("packet_size", "max_allowed_packet"),
    ] {
        assert!(has(&found, gone), "{gone}: {found:#?}");
        plan.subtask.ignore_checking_items = vec![item.into()];
        let left = texts(&plan.check().await);
        assert!(!has(&left, gone), "{item}: {left:#?}");
    }
    // Of types that can be joined the optimistic mode says nothing.
    let plan = rig.plan("all", &format!("{MERGED}shard-mode: optimistic\n"));
    assert!(!has(&texts(&plan.check().await), "joined"));
    rig.source.execute(&["ALTER TABLE shop.t_2 MODIFY v DATE"]).await;
    let report = plan.check().await;
    assert!(has(&texts(&report), "fail to join the table structures: column v"), "{:#?}", texts(&report));
    assert!(report.items.iter().any(|item| item.name.starts_with("optimistic sharding table")));
}

/// Two tables whose names differ by case only: DM's refusal, unless case counts and the target sees it.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_differ_by_case_only_do_not_meet_in_one_table() {
    let source = ["--lower-case-table-names=0"];
    let target = ["--lower-case-table-names=1"];
    let (source, exact, folding) = tokio::join!(
        Server::start(Kind::Mysql, &source),
        Server::start(Kind::Mysql, &[]),
        Server::start(Kind::Mariadb, &target)
    );
    source
        .execute(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.T (id INT PRIMARY KEY)",
            "CREATE TABLE shop.t (id INT PRIMARY KEY)",
            "CREATE TABLE shop.u (id INT PRIMARY KEY)",
        ])
        .await;
    let list =
        |more: &str| format!("    block-allow-list: b\nblock-allow-list: {{b: {{do-dbs: [shop]}}}}\n{more}");
    let routes = "case-sensitive: true\nroutes: {r: {schema-pattern: shop, table-pattern: T, target-schema: shop, target-table: big}}";
    let mut rig = Rig { source, target: exact };
    let report = rig.plan("all", &list("")).check().await;
    let error = report.error.unwrap();
    assert_eq!(error.code, codes::TASK_CHECK_SAME_TABLE_NAME, "{error}");
    assert!(
        error.to_string().contains("same table name in case-insensitive `shop`.`T` vs `shop`.`t`"),
        "{error}"
    );
    let report = rig.plan("all", &list("case-sensitive: true")).check().await;
    assert!(report.passed, "{}", report.text);
    rig.target = folding;
    let report = rig.plan("all", &list("case-sensitive: true")).check().await;
    let error = report.error.unwrap();
    assert_eq!(error.code, codes::TASK_CHECK_SAME_TABLE_NAME, "{error}");
    assert!(error.to_string().contains("lower_case_table_names"), "{error}");
    let routed =
        list(routes).replacen("    block-allow-list", "    route-rules: [r]\n    block-allow-list", 1);
    let report = rig.plan("all", &routed).check().await;
    assert!(report.passed, "{}", report.text);
}
