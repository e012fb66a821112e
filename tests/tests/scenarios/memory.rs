//! Memory of a node stays bounded: a table of 1 GB is copied, a transaction of 500 MB is applied.

use std::time::Duration;

use anyhow::{Result, ensure};
use dmnode_tests::cluster::Cluster;
use dmnode_tests::files::{SourceFile, TaskFile};
use dmnode_tests::server::{Flavor, Server};
use dmnode_tests::wait::wait_until;

const LIMIT: Duration = Duration::from_secs(300);
const RSS_BYTES_MAX: u64 = 200 * 1000 * 1000;
/// Bytes of the padding of a row; twenty different rows, then copies of them.
const ROW_BYTES: u64 = 5_000;
const COPIED_ROWS: u64 = 200_000;
const TRANSACTION_ROWS: u64 = 100_000;

/// One transaction of more than 1 GB, and one of five million rows, from either flavor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and 10 GB of disk"]
async fn a_transaction_of_a_gigabyte() -> Result<()> {
    for flavor in [Flavor::Mysql, Flavor::Mariadb] {
        huge_transaction("gigabyte", flavor, 220_000, 5_000).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and 5 GB of disk"]
async fn a_transaction_of_five_million_rows() -> Result<()> {
    for flavor in [Flavor::Mysql, Flavor::Mariadb] {
        huge_transaction("rows", flavor, 5_000_000, 64).await?;
    }
    Ok(())
}

async fn huge_transaction(name: &str, flavor: Flavor, rows: u64, bytes: u64) -> Result<()> {
    let long = Duration::from_secs(1800);
    let settings = ["--innodb-buffer-pool-size=256M", "--max-allowed-packet=64M"];
    let source = Server::start(flavor, &settings).await?;
    let target = Server::start(flavor, &[&settings[..], &["--skip-log-bin"]].concat()).await?;
    let numbers =
        "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 10000) SELECT n FROM c";
    source
        .execute(&[
            "CREATE DATABASE big",
            "CREATE TABLE big.numbers (n INT NOT NULL PRIMARY KEY)",
            match flavor {
                Flavor::Mysql => "SET SESSION cte_max_recursion_depth = 10000",
                Flavor::Mariadb => "SET SESSION max_recursive_iterations = 10000",
            },
            &format!("INSERT INTO big.numbers {numbers}"),
            "CREATE TABLE big.huge (id INT NOT NULL PRIMARY KEY, padding MEDIUMTEXT NOT NULL)",
        ])
        .await?;
    let cluster = Cluster::start(&format!("{name}_{}", flavor.name()), 1).await?;
    cluster.create_source(&SourceFile::new(name, &source, true)).await?;
    cluster.start_task(&TaskFile::new(name, "all", &target, name, "big")).await?;
    cluster.wait_stage(name, name, "Running", Some("Sync"), LIMIT).await?;
    let statement = format!(
        "INSERT INTO big.huge SELECT a.n + 10000 * (b.n - 1) AS id, REPEAT(SHA2(a.n % 20, 256), {}) FROM big.numbers a \
         JOIN big.numbers b WHERE b.n <= {}",
        bytes / 64,
        rows / 10_000
    );
    source.execute(&[&statement]).await?;
    let started = std::time::Instant::now();
    wait_until("the huge transaction has arrived", long, async || {
        let found = target.query_one::<u64>("SELECT COUNT(*) FROM big.huge").await?;
        ensure!(found == 0 || found == rows, "half a transaction is visible: {found} rows");
        Ok(if found == rows { Ok(()) } else { Err(cluster.subtask(name, name).await?.to_string()) })
    })
    .await?;
    let peak = cluster.running(0)?.memory_bytes("VmHWM")?;
    println!(
        "{}: {rows} rows of {bytes} bytes in {:?}, peak {} MB",
        flavor.name(),
        started.elapsed(),
        peak / 1_000_000
    );
    ensure!(checksum(&source, "huge").await? == checksum(&target, "huge").await?, "{name} differs");
    ensure!(peak < RSS_BYTES_MAX, "{peak} bytes");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded_in_copy_and_in_a_huge_transaction() -> Result<()> {
    let quick = ["--innodb-buffer-pool-size=256M"];
    let source = Server::start(Flavor::Mysql, &quick).await?;
    let target = Server::start(
        Flavor::Mysql,
        &["--innodb-buffer-pool-size=256M", "--local-infile=1", "--skip-log-bin"],
    )
    .await?;

    // Made by the server itself, outside the binlog, so that only the copy can bring it.
    source
        .execute(&[
            "CREATE DATABASE big",
            "SET SESSION sql_log_bin = 0",
            "CREATE TABLE big.numbers (n INT NOT NULL PRIMARY KEY)",
            "SET SESSION cte_max_recursion_depth = 1000000",
            &format!("INSERT INTO big.numbers WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {COPIED_ROWS}) SELECT n FROM c"),
            "CREATE TABLE big.copied (id INT NOT NULL PRIMARY KEY, padding MEDIUMTEXT NOT NULL)",
            &format!("INSERT INTO big.copied SELECT n, REPEAT(SHA2(n % 20, 256), {}) FROM big.numbers", ROW_BYTES / 64),
            "CREATE TABLE big.huge (id INT NOT NULL PRIMARY KEY, padding MEDIUMTEXT NOT NULL)",
        ])
        .await?;
    let cluster = Cluster::start("memory", 1).await?;
    cluster.create_source(&SourceFile::new("memory", &source, true)).await?;
    cluster.start_task(&TaskFile::new("memory", "all", &target, "memory", "big")).await?;
    cluster.wait_stage("memory", "memory", "Running", Some("Sync"), LIMIT).await?;
    let after_copy = cluster.running(0)?.memory_bytes("VmHWM")?;
    println!("peak after copying 1 GB: {} MB", after_copy / 1_000_000);
    ensure!(
        checksum(&source, "copied").await? == checksum(&target, "copied").await?,
        "the copied table differs"
    );

    source
        .execute(&[&format!(
            "INSERT INTO big.huge SELECT id, padding FROM big.copied WHERE id <= {TRANSACTION_ROWS}"
        )])
        .await?;
    wait_until("the huge transaction has arrived", LIMIT, async || {
        let rows = target.query_one::<u64>("SELECT COUNT(*) FROM big.huge").await?;
        ensure!(rows == 0 || rows == TRANSACTION_ROWS, "half a transaction is visible: {rows} rows");
        Ok(if rows == TRANSACTION_ROWS { Ok(()) } else { Err("nothing yet".to_owned()) })
    })
    .await?;
    let after_transaction = cluster.running(0)?.memory_bytes("VmHWM")?;
    println!("peak after applying 500 MB in one transaction: {} MB", after_transaction / 1_000_000);
    ensure!(
        checksum(&source, "huge").await? == checksum(&target, "huge").await?,
        "the huge transaction differs"
    );
    ensure!(after_copy < RSS_BYTES_MAX, "{after_copy} bytes while copying");
    ensure!(after_transaction < RSS_BYTES_MAX, "{after_transaction} bytes while applying");
    cluster.finish().await
}

async fn checksum(server: &Server, table: &str) -> Result<(u64, u64)> {
    server
        .query_one(&format!(
            "SELECT COUNT(*), CAST(SUM(CRC32(CONCAT(id, ':', padding))) AS UNSIGNED) FROM big.{table}"
        ))
        .await
}
