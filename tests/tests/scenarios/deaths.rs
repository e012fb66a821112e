//! The three deaths of a unit (panic, error, hang) on a running node: it is replaced as a new generation, the death is
//! counted and named, and neighbours do not notice.

use std::time::Duration;

use anyhow::{Result, ensure};
use dmnode_tests::chaos::{Workload, seed_data};
use dmnode_tests::cluster::Cluster;
use dmnode_tests::compare;
use dmnode_tests::files::{SourceFile, TaskFile};
use dmnode_tests::server::{Flavor, shared_source, shared_target};
use dmnode_tests::wait::wait_until;

const LIMIT: Duration = Duration::from_secs(90);

/// A failpoint's action, the counter that must show it, and what the cause must say.
const DEATHS: [(&str, &str, &str); 3] =
    [("panic", "panics", "panick"), ("error", "errors", "60303"), ("hang", "hangs", "60302")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deaths_in_replication_restart_one_unit_only() -> Result<()> {
    run("deaths_sync", &["sync.before_commit", "sync.after_commit"], false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deaths_in_copy_restart_one_unit_only() -> Result<()> {
    run("deaths_copy", &["load.chunk_rows"], true).await
}

async fn run(name: &str, failpoints: &[&str], in_copy: bool) -> Result<()> {
    let (source, target) = (shared_source(Flavor::Mysql).await?, shared_target(Flavor::Mysql).await?);
    let neighbour_source = shared_source(Flavor::Mariadb).await?;
    let cluster = Cluster::start(name, 1).await?;
    let (schema, neighbour) = (name.to_owned(), format!("{name}_neighbour"));
    seed_data(source, &schema, 20_000, 9).await?;
    seed_data(neighbour_source, &neighbour, 3_000, 9).await?;
    cluster.create_source(&SourceFile::new(&schema, source, true)).await?;
    cluster.create_source(&SourceFile::new(&neighbour, neighbour_source, true)).await?;
    let live = Workload::start(&[source], &schema, 61, 2, Duration::from_millis(5))?;
    let live_neighbour = Workload::start(&[neighbour_source], &neighbour, 62, 1, Duration::from_millis(20))?;

    // The neighbour first, so that failpoints meet it in the other unit or not at all.
    cluster.start_task(&TaskFile::new(&neighbour, "all", target, &neighbour, &neighbour)).await?;
    cluster.wait_stage(&neighbour, &neighbour, "Running", Some("Sync"), LIMIT).await?;

    let mut expected_generation = 1;
    if !in_copy {
        cluster.start_task(&TaskFile::new(name, "all", target, &schema, &schema)).await?;
        cluster.wait_stage(name, &schema, "Running", Some("Sync"), LIMIT).await?;
        // The neighbour would draw the shot as well: it holds still.
        cluster.ctl(&["pause-task", &neighbour]).await?.success()?;
    }
    for failpoint in failpoints {
        for (action, counter, cause) in DEATHS {
            if in_copy {
                cluster.set_failpoint(failpoint, action)?;
                let task = format!("{name}_{action}");
                let mut file = TaskFile::new(&task, "all", target, &schema, &schema);
                file.routes = vec![(
                    "r".to_owned(),
                    format!("{{schema-pattern: \"{schema}\", target-schema: \"{schema}_{action}\"}}"),
                )];
                // The answer may tell of the death already: done, but unhealthy.
                let started = cluster.try_start_task(&file).await?;
                ensure!([0, 4].contains(&started.code), "{started}");
                cluster.wait_failpoint(failpoint, LIMIT).await?;
                wait_counted(&cluster, &task, &schema, counter, 1, cause).await?;
                cluster.wait_stage(&task, &schema, "Running", Some("Sync"), LIMIT).await?;
            } else {
                let before = restarts(&cluster, name, &schema, counter).await?;
                cluster.set_failpoint(failpoint, action)?;
                cluster.wait_failpoint(failpoint, LIMIT).await?;
                wait_counted(&cluster, name, &schema, counter, before + 1, cause).await?;
                cluster.wait_stage(name, &schema, "Running", Some("Sync"), LIMIT).await?;
                expected_generation += 1;
            }
        }
    }
    if !in_copy {
        let status = cluster.subtask(name, &schema).await?;
        let generation = status["dmnode"]["generation"].as_u64().unwrap_or(0);
        ensure!(generation >= expected_generation, "generation {generation}: {status:#}");
        cluster.ctl(&["resume-task", &neighbour]).await?.success()?;
    }

    // The neighbour never restarted; everything is there once.
    live.stop().await?;
    live_neighbour.stop().await?;
    let status = cluster.subtask(&neighbour, &neighbour).await?;
    for (_, counter, _) in DEATHS {
        ensure!(status["dmnode"]["restarts"][counter] == 0, "the neighbour noticed: {status:#}");
    }
    compare::wait_equal(neighbour_source, &neighbour, target, &neighbour, LIMIT).await?;
    if in_copy {
        for (action, _, _) in DEATHS {
            compare::wait_equal(source, &schema, target, &format!("{schema}_{action}"), LIMIT).await?;
        }
    } else {
        compare::wait_equal(source, &schema, target, &schema, LIMIT).await?;
    }
    cluster.finish().await
}

async fn restarts(cluster: &Cluster, task: &str, source: &str, counter: &str) -> Result<u64> {
    Ok(cluster.subtask(task, source).await?["dmnode"]["restarts"][counter].as_u64().unwrap_or(0))
}

async fn wait_counted(
    cluster: &Cluster,
    task: &str,
    source: &str,
    counter: &str,
    count: u64,
    cause: &str,
) -> Result<()> {
    wait_until(&format!("{counter} of {task} is {count}"), LIMIT, async || {
        let status = cluster.subtask(task, source).await?;
        let extra = &status["dmnode"];
        let is_counted = extra["restarts"][counter].as_u64() == Some(count);
        let is_named = extra["lastRestartCause"].as_str().is_some_and(|text| text.contains(cause));
        Ok(if is_counted && is_named { Ok(()) } else { Err(extra.to_string()) })
    })
    .await
}
