//! Which tables are migrated, and under which names: block-allow lists and plain table routes.

use std::time::Duration;

use anyhow::{Result, ensure};
use dmnode_tests::cluster::Cluster;
use dmnode_tests::compare;
use dmnode_tests::files::{SourceFile, TaskFile};
use dmnode_tests::server::{Flavor, shared_source, shared_target};
use dmnode_tests::wait::wait_until;

const LIMIT: Duration = Duration::from_secs(90);

/// Allow-listed schemas and tables only, patterns and regexes included, in the copy and in the stream, for rows and DDL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn selection_block_allow_list_limits_copy_and_stream() -> Result<()> {
    let (source, target) = (shared_source(Flavor::Mysql).await?, shared_target(Flavor::Mysql).await?);
    source
        .execute(&[
            "CREATE DATABASE sel_in",
            "CREATE DATABASE sel_out",
            "CREATE DATABASE sel_x1",
            "CREATE TABLE sel_in.kept (id INT PRIMARY KEY)",
            "CREATE TABLE sel_in.kept_too (id INT PRIMARY KEY)",
            "CREATE TABLE sel_in.tmp_1 (id INT PRIMARY KEY)",
            "CREATE TABLE sel_out.t (id INT PRIMARY KEY)",
            "CREATE TABLE sel_x1.t (id INT PRIMARY KEY)",
            "INSERT INTO sel_in.kept VALUES (1)",
            "INSERT INTO sel_in.tmp_1 VALUES (1)",
            "INSERT INTO sel_out.t VALUES (1)",
            "INSERT INTO sel_x1.t VALUES (1)",
        ])
        .await?;
    let cluster = Cluster::start("selection_allow", 1).await?;
    cluster.create_source(&SourceFile::new("sel", source, true)).await?;
    let mut task = TaskFile::new("selection", "all", target, "sel", "sel_in");
    task.schemas.push("~^sel_x[0-9]$".to_owned());
    task.allow_list_extra =
        "    ignore-tables:\n    - db-name: \"sel_in\"\n      tbl-name: \"tmp_*\"\n".to_owned();
    cluster.start_task(&task).await?;
    cluster.wait_stage("selection", "sel", "Running", Some("Sync"), LIMIT).await?;
    source
        .execute(&[
            "INSERT INTO sel_in.tmp_1 VALUES (2)",
            "INSERT INTO sel_out.t VALUES (2)",
            "ALTER TABLE sel_out.t ADD COLUMN a INT",
            "CREATE TABLE sel_in.tmp_2 (id INT PRIMARY KEY)",
            "CREATE DATABASE sel_x2",
            "CREATE TABLE sel_x2.t (id INT PRIMARY KEY)",
            "CREATE DATABASE sel_xx",
            "INSERT INTO sel_x2.t VALUES (7)",
            "INSERT INTO sel_x1.t VALUES (2)",
            "INSERT INTO sel_in.kept VALUES (2)",
        ])
        .await?;
    for (schema, table) in [("sel_in", "kept"), ("sel_in", "kept_too"), ("sel_x1", "t"), ("sel_x2", "t")] {
        wait_until(&format!("{schema}.{table} is equal"), LIMIT, async || {
            let differences = compare::tables(source, (schema, table), target, (schema, table)).await?;
            Ok(if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) })
        })
        .await?;
    }
    ensure!(target.tables("sel_in").await? == ["kept", "kept_too"], "tables outside the list were migrated");
    let schemas: Vec<String> = target.query("SHOW DATABASES LIKE 'sel\\_%'").await?;
    ensure!(schemas == ["sel_in", "sel_x1", "sel_x2"], "{schemas:?}");
    let diff = cluster.diff("selection").await?;
    ensure!(diff.code == 0, "{diff}");
    cluster.finish().await
}

/// Routes rename schemas and tables in the copy and in the stream, DDL included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn selection_routes_rename_schemas_and_tables() -> Result<()> {
    let (source, target) = (shared_source(Flavor::Mariadb).await?, shared_target(Flavor::Mariadb).await?);
    source
        .execute(&[
            "CREATE DATABASE rt_old",
            "CREATE TABLE rt_old.customers (id INT PRIMARY KEY, name VARCHAR(20))",
            "CREATE TABLE rt_old.other (id INT PRIMARY KEY)",
            "INSERT INTO rt_old.customers VALUES (1, 'one')",
            "INSERT INTO rt_old.other VALUES (1)",
        ])
        .await?;
    let cluster = Cluster::start("selection_routes", 1).await?;
    cluster.create_source(&SourceFile::new("rt", source, true)).await?;
    let mut task = TaskFile::new("routes", "all", target, "rt", "rt_old");
    task.routes = vec![
        (
            "table".to_owned(),
            "{schema-pattern: \"rt_old\", table-pattern: \"customers\", target-schema: \"rt_new\", target-table: \"clients\"}".to_owned(),
        ),
        ("schema".to_owned(), "{schema-pattern: \"rt_*\", target-schema: \"rt_rest\"}".to_owned()),
    ];
    cluster.start_task(&task).await?;
    cluster.wait_stage("routes", "rt", "Running", Some("Sync"), LIMIT).await?;
    source
        .execute(&[
            "ALTER TABLE rt_old.customers ADD COLUMN `rt_old` INT, ADD KEY by_name (name)",
            "INSERT INTO rt_old.customers VALUES (2, 'rt_old.customers', 3)",
            "USE rt_old",
            "CREATE TABLE fresh (id INT PRIMARY KEY, customer INT, CONSTRAINT c FOREIGN KEY (customer) REFERENCES customers (id))",
            "INSERT INTO fresh VALUES (5, 2)",
            "RENAME TABLE other TO another",
            "INSERT INTO another VALUES (2)",
            "DELETE FROM customers WHERE id = 1",
        ])
        .await?;
    for (table, routed) in [
        ("customers", ("rt_new", "clients")),
        ("fresh", ("rt_rest", "fresh")),
        ("another", ("rt_rest", "another")),
    ] {
        wait_until(&format!("{table} is equal"), LIMIT, async || {
            let differences = compare::tables(source, ("rt_old", table), target, routed).await?;
            Ok(if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) })
        })
        .await?;
    }
    let leftover: u64 = target
        .query_one("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'rt_old'")
        .await?;
    ensure!(leftover == 0, "something was written under the source's names");
    ensure!(target.tables("rt_rest").await? == ["another", "fresh"], "other was renamed, not copied");
    let diff = cluster.diff("routes").await?;
    ensure!(diff.code == 0, "{diff}");
    cluster.finish().await
}
