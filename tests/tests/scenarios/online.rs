//! An online schema change whose task dies at each step of its end: what was collected is executed exactly once.

use std::time::Duration;

use anyhow::{Result, ensure};
use dmnode_tests::cluster::Cluster;
use dmnode_tests::compare;
use dmnode_tests::files::{SourceFile, StartAt, TaskFile};
use dmnode_tests::server::{Flavor, shared_source, shared_target};
use dmnode_tests::wait::wait_until;

const NAME: &str = "online_steps";
const LIMIT: Duration = Duration::from_secs(60);

/// Where it dies, and how.
const STEPS: [(&str, &str); 5] = [
    ("sync.ddl_after_intent", "panic"),
    ("sync.ddl_after_execute", "exit"),
    ("sync.ddl_after_execute", "panic"),
    ("sync.ddl_before_passed", "panic"),
    ("sync.ddl_after_passed", "panic"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_online_schema_change_survives_a_death_at_each_step() -> Result<()> {
    let (source, target) = (shared_source(Flavor::Mariadb).await?, shared_target(Flavor::Mariadb).await?);
    source
        .execute(&[
            "CREATE DATABASE online_steps",
            "CREATE TABLE online_steps.t (id INT PRIMARY KEY AUTO_INCREMENT, a INT)",
            "INSERT INTO online_steps.t (a) VALUES (1), (2)",
        ])
        .await?;
    let mut cluster = Cluster::start(NAME, 3).await?;
    cluster.create_source(&SourceFile::new(NAME, source, true)).await?;
    let mut task = TaskFile::new(NAME, "all", target, NAME, NAME);
    task.sources = vec![(NAME.to_owned(), None::<StartAt>)];
    cluster.start_task(&task).await?;
    compare::wait_equal(source, NAME, target, NAME, LIMIT).await?;

    for (round, (failpoint, action)) in STEPS.into_iter().enumerate() {
        source
            .execute(&[
                "CREATE TABLE online_steps._t_gho LIKE online_steps.t",
                // Neither can be executed twice.
                &format!("ALTER TABLE online_steps._t_gho ADD COLUMN first{round} INT DEFAULT 7"),
                &format!("ALTER TABLE online_steps._t_gho CHANGE first{round} last{round} BIGINT DEFAULT 7"),
            ])
            .await?;
        let columns = (0..round).map(|n| format!(", last{n}")).collect::<String>();
        wait_until("the statements are collected", LIMIT, async || {
            let sql = format!(
                "SELECT COUNT(*) FROM {}.{NAME}_onlineddl WHERE ddls LIKE '%last{round}%'",
                task.meta_schema()
            );
            let found = target.query_one::<u64>(&sql).await;
            Ok(if matches!(found, Ok(1)) { Ok(()) } else { Err(format!("{found:?}")) })
        })
        .await?;
        let owner = cluster.owner(NAME).await?;
        cluster.set_failpoint(failpoint, action)?;
        source
            .execute(&[
                &format!("INSERT INTO online_steps._t_gho (id, a{columns}) SELECT id, a{columns} FROM online_steps.t"),
                "RENAME TABLE online_steps.t TO online_steps._t_del, online_steps._t_gho TO online_steps.t",
                &format!("INSERT INTO online_steps.t (a, last{round}) VALUES ({round}, 5000000000)"),
                "DROP TABLE online_steps._t_del",
            ])
            .await?;
        cluster.wait_failpoint(failpoint, LIMIT).await?;
        compare::wait_equal(source, NAME, target, NAME, LIMIT).await?;
        if action == "exit" {
            cluster.launch(owner)?;
        }
        let show = "SHOW CREATE TABLE online_steps.t";
        let (_, at_source): (String, String) = source.query_one(show).await?;
        let (_, at_target): (String, String) = target.query_one(show).await?;
        let shape = |text: &str| text.split(" AUTO_INCREMENT=").next().unwrap_or_default().to_owned();
        ensure!(shape(&at_source) == shape(&at_target), "{failpoint}: {at_source}\nagainst\n{at_target}");
    }
    let diff = cluster.diff(NAME).await?;
    ensure!(diff.code == 0, "{diff}");
    cluster.finish().await
}
