//! The fixtures themselves work: a failure here is a failure of the tests, not of the product.

use anyhow::Result;
use dmnode_tests::chaos::{Proxy, Workload, seed_data};
use dmnode_tests::compare;
use dmnode_tests::server::{Flavor, shared_source, shared_target};
use dmnode_tests::workspace;
use std::time::Duration;

/// The comparison finds a single changed value, a missing and a doubled row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fixtures_comparison_finds_what_differs() -> Result<()> {
    let (source, target) = (shared_source(Flavor::Mysql).await?, shared_target(Flavor::Mariadb).await?);
    seed_data(source, "fixture_compare", 5000, 1).await?;
    seed_data(target, "fixture_compare", 5000, 1).await?;
    let compared = async || compare::schemas(source, "fixture_compare", target, "fixture_compare").await;
    assert_eq!(compared().await?, Vec::<String>::new());
    for (change, table) in [
        (
            "UPDATE fixture_compare.documents SET score = score * 1.000001 WHERE score IS NOT NULL ORDER BY id LIMIT 1",
            "documents",
        ),
        ("DELETE FROM fixture_compare.orders LIMIT 1", "orders"),
        ("INSERT INTO fixture_compare.ledger SELECT * FROM fixture_compare.ledger LIMIT 1", "ledger"),
    ] {
        target.execute(&[change]).await?;
        let differences = compared().await?;
        assert!(
            differences.iter().any(|difference| difference.starts_with(table)),
            "{change}: {differences:?}"
        );
    }
    Ok(())
}

/// The proxy loses the answer of a COMMIT of a real server, and the server has committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fixtures_proxy_loses_the_answer_of_a_commit() -> Result<()> {
    use mysql_async::prelude::Queryable;
    for flavor in [Flavor::Mysql, Flavor::Mariadb] {
        let server = shared_target(flavor).await?;
        let proxy = Proxy::start(server, &workspace::fresh_dir("proxy")?).await?;
        server
            .execute(&["CREATE DATABASE IF NOT EXISTS fixture_proxy", "CREATE TABLE fixture_proxy.t (a INT)"])
            .await?;
        let options = mysql_async::OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(proxy.port)
            .user(Some("root"))
            .prefer_socket(false);
        let mut connection = mysql_async::Conn::new(options).await?;
        proxy.command("drop-commit 1 fixture_proxy").await?;
        connection.query_drop("BEGIN").await?;
        connection.query_drop("INSERT INTO fixture_proxy.t VALUES (1)").await?;
        assert!(connection.query_drop("COMMIT").await.is_err(), "the answer must be lost");
        assert_eq!(proxy.command("status").await?["commits_dropped"], 1);
        assert_eq!(server.query_one::<i64>("SELECT COUNT(*) FROM fixture_proxy.t").await?, 1);
    }
    Ok(())
}

/// The workload writes into every table and reports it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fixtures_workload_writes() -> Result<()> {
    for flavor in [Flavor::Mysql, Flavor::Mariadb] {
        let source = shared_source(flavor).await?;
        let workload = Workload::start(&[source], "fixture_workload", 7, 3, Duration::from_millis(1))?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let reports = workload.stop().await?;
        let ledger = source.query_one::<u64>("SELECT COUNT(*) FROM fixture_workload.ledger").await?;
        assert_eq!(reports[0]["ledger_rows"], ledger);
        let increments =
            source.query_one::<u64>("SELECT CAST(SUM(n) AS UNSIGNED) FROM fixture_workload.counters").await?;
        assert_eq!(reports[0]["counter_increments"], increments);
        for table in ["orders", "accounts", "documents", "marks"] {
            let rows =
                source.query_one::<u64>(&format!("SELECT COUNT(*) FROM fixture_workload.{table}")).await?;
            assert!(rows > 0, "{table}");
        }
    }
    Ok(())
}
