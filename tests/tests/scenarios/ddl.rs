//! The common DDL, each followed by rows that only fit the new shape, between all pairs of servers.

use std::time::Duration;

use anyhow::{Result, ensure};
use dmnode_tests::cluster::Cluster;
use dmnode_tests::compare;
use dmnode_tests::files::{SourceFile, StartAt, TaskFile};
use dmnode_tests::server::{Flavor, Server, shared_source, shared_target};
use dmnode_tests::wait::wait_until;

const LIMIT: Duration = Duration::from_secs(120);

/// `@` stands for the schema.
const STATEMENTS: &[&str] = &[
    "CREATE DATABASE @ DEFAULT CHARACTER SET utf8mb4",
    "USE @",
    "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20) NOT NULL DEFAULT 'x', b DECIMAL(10,2)) COMMENT 'it''s @.t'",
    "INSERT INTO t VALUES (1, 'one', 1.5), (2, 'two', NULL)",
    "ALTER TABLE t ADD COLUMN c INT NOT NULL DEFAULT 7 AFTER a",
    "INSERT INTO t VALUES (3, 'three', 33, 3)",
    "ALTER TABLE t MODIFY COLUMN a VARCHAR(200) CHARACTER SET latin1, ADD COLUMN d DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3)",
    "INSERT INTO t (id, a) VALUES (4, REPEAT('ü', 150))",
    "ALTER TABLE t CHANGE COLUMN c cc BIGINT UNSIGNED NULL",
    "UPDATE t SET cc = 18446744073709551615 WHERE id = 1",
    "ALTER TABLE t RENAME COLUMN cc TO ccc",
    "UPDATE t SET ccc = NULL WHERE id = 2",
    "ALTER TABLE t DROP COLUMN b",
    "INSERT INTO t (id, a, ccc) VALUES (5, 'five', 5)",
    "CREATE UNIQUE INDEX by_ccc ON t (ccc)",
    "ALTER TABLE t ADD INDEX by_a (a(10)), ALGORITHM=INPLACE, LOCK=NONE",
    "DROP INDEX by_a ON t",
    "CREATE TABLE u LIKE t",
    "INSERT INTO u SELECT * FROM t WHERE id > 3",
    "CREATE TABLE w (PRIMARY KEY (id)) SELECT id, a FROM t",
    "RENAME TABLE t TO t_swap, u TO t, t_swap TO u",
    "INSERT INTO t (id, a) VALUES (99, 'was u')",
    "INSERT INTO u (id, a) VALUES (98, 'was t')",
    "ALTER TABLE w RENAME TO ww",
    "INSERT INTO ww VALUES (1000, 'renamed')",
    "CREATE TABLE gone (id INT PRIMARY KEY)",
    "INSERT INTO gone VALUES (1)",
    "TRUNCATE TABLE gone",
    "INSERT INTO gone VALUES (2)",
    "CREATE TABLE dropped (id INT PRIMARY KEY)",
    "DROP TABLE IF EXISTS dropped, never_there",
    "CREATE TABLE parent (id INT PRIMARY KEY) ENGINE=InnoDB",
    "CREATE TABLE child (id INT PRIMARY KEY, parent INT, FOREIGN KEY by_parent (parent) REFERENCES parent (id) ON DELETE CASCADE)",
    "INSERT INTO parent VALUES (1), (2)",
    "INSERT INTO child VALUES (10, 1), (20, 2)",
    "DELETE FROM parent WHERE id = 1",
    "CREATE TABLE `we``ird; DROP` (`a b` INT PRIMARY KEY, `from` TEXT)",
    "INSERT INTO `we``ird; DROP` VALUES (1, 'x')",
    "CREATE TABLE parted (id INT NOT NULL, y INT NOT NULL, PRIMARY KEY (id, y)) PARTITION BY RANGE (y) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)",
    "INSERT INTO parted VALUES (1, 5), (2, 50)",
    "ALTER TABLE parted TRUNCATE PARTITION p0",
    "CREATE TABLE autos (id INT AUTO_INCREMENT PRIMARY KEY, v INT)",
    "INSERT INTO autos (v) VALUES (1), (2)",
    "ALTER TABLE autos AUTO_INCREMENT = 500",
    "INSERT INTO autos (v) VALUES (3)",
    "CREATE VIEW v AS SELECT id FROM t",
    "CREATE TRIGGER trg BEFORE INSERT ON autos FOR EACH ROW SET NEW.v = NEW.v + 1000",
    "INSERT INTO autos (v) VALUES (4)",
    "CREATE TEMPORARY TABLE scratch (id INT)",
    "DROP TEMPORARY TABLE scratch",
    "ANALYZE TABLE t",
    "CREATE USER 'ddl_@'@'%' IDENTIFIED BY 'Secret-ddl-1'",
    "DROP USER 'ddl_@'@'%'",
    "DROP TRIGGER trg",
    "DROP VIEW v",
    "ALTER DATABASE @ CHARACTER SET latin1",
    "CREATE TABLE inherits (id INT PRIMARY KEY, text VARCHAR(20))",
    "INSERT INTO inherits VALUES (1, 'ÿ')",
    "CREATE DATABASE @_two",
    "CREATE TABLE @_two.x (id INT PRIMARY KEY)",
    "DROP DATABASE @_two",
    "CREATE TABLE last_one (id INT PRIMARY KEY)",
    "INSERT INTO last_one VALUES (1)",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_mysql_to_mysql() -> Result<()> {
    run("ddl_my_my", Flavor::Mysql, Flavor::Mysql).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_mariadb_to_mariadb() -> Result<()> {
    run("ddl_ma_ma", Flavor::Mariadb, Flavor::Mariadb).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_mysql_to_mariadb() -> Result<()> {
    run("ddl_my_ma", Flavor::Mysql, Flavor::Mariadb).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_mariadb_to_mysql() -> Result<()> {
    run("ddl_ma_my", Flavor::Mariadb, Flavor::Mysql).await
}

async fn run(name: &str, source: Flavor, target: Flavor) -> Result<()> {
    let (source, target) = (shared_source(source).await?, shared_target(target).await?);
    let cluster = Cluster::start(name, 1).await?;
    cluster.create_source(&SourceFile::new(name, source, true)).await?;
    let mut task = TaskFile::new(name, "incremental", target, name, name);
    task.schemas.push(format!("{name}_two"));
    task.sources = vec![(name.to_owned(), Some(StartAt::now(source).await?))];
    cluster.start_task(&task).await?;
    let statements: Vec<String> = STATEMENTS.iter().map(|statement| statement.replace('@', name)).collect();
    // 'ddl_@'@'%' has had its second @ replaced as well.
    let statements: Vec<String> =
        statements.iter().map(|statement| statement.replace(&format!("'{name}'%'"), "'@'%'")).collect();
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    source.execute(&statements).await?;

    wait_arrived(&cluster, name, target).await?;
    compare::wait_equal(source, name, target, name, Duration::from_secs(20)).await?;
    let second: u64 = target
        .query_one(&format!(
            "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = '{name}_two'"
        ))
        .await?;
    ensure!(second == 0, "the dropped database is still there");
    let views: u64 = target
        .query_one(&format!("SELECT COUNT(*) FROM information_schema.views WHERE table_schema = '{name}'"))
        .await?;
    ensure!(views == 0, "views are not migrated");
    if source.flavor == target.flavor {
        for table in source.tables(name).await? {
            let show = format!("SHOW CREATE TABLE `{name}`.`{}`", table.replace('`', "``"));
            let (_, at_source): (String, String) = source.query_one(&show).await?;
            let (_, at_target): (String, String) = target.query_one(&show).await?;
            ensure!(
                without_counter(&at_source) == without_counter(&at_target),
                "{at_source}\nagainst\n{at_target}"
            );
        }
    }
    let diff = cluster.diff(name).await?;
    ensure!(diff.code == 0, "{diff}");
    cluster.finish().await
}

/// The table made last is there with its row, or the subtask says why not.
async fn wait_arrived(cluster: &Cluster, name: &str, target: &Server) -> Result<()> {
    wait_until("the last table has arrived", LIMIT, async || {
        let status = cluster.subtask(name, name).await?;
        ensure!(status["stage"] != "Paused", "the task stopped: {:#}", status["result"]);
        let arrived = target.query_one::<u64>(&format!("SELECT COUNT(*) FROM {name}.last_one")).await;
        Ok(if matches!(arrived, Ok(1)) { Ok(()) } else { Err(status.to_string()) })
    })
    .await
}

/// The next auto-increment value is not part of a table's shape.
fn without_counter(create: &str) -> String {
    create.split(' ').filter(|word| !word.starts_with("AUTO_INCREMENT=")).collect::<Vec<_>>().join(" ")
}
