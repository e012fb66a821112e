//! What operators decide about events that a task cannot pass (F4).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dmnode_tests::cluster::{Cluster, CtlOutput};
use dmnode_tests::compare;
use dmnode_tests::files::{SourceFile, StartAt, TaskFile};
use dmnode_tests::server::{Flavor, shared_source, shared_target};
use dmnode_tests::wait::wait_until;

const LIMIT: Duration = Duration::from_secs(90);
const NAME: &str = "f04_ops";

/// The message of the only source's answer, which must be well.
fn said(output: &CtlOutput) -> Result<String> {
    let answer = output.json()?;
    let source = &answer["sources"][0];
    ensure!(answer["result"] == true && source["result"] == true, "{output}");
    Ok(source["msg"].as_str().context("no message")?.to_owned())
}

/// F4: a refused DDL is explained; a decision outlives the node it was given to, is carried out once, and goes when its
/// event is passed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f04_decisions_outlive_their_node() -> Result<()> {
    let (source, target) = (shared_source(Flavor::Mariadb).await?, shared_target(Flavor::Mariadb).await?);
    let mut cluster = Cluster::start(NAME, 3).await?;
    cluster.create_source(&SourceFile::new(NAME, source, true)).await?;
    let mut task = TaskFile::new(NAME, "incremental", target, NAME, NAME);
    task.sources = vec![(NAME.to_owned(), Some(StartAt::now(source).await?))];
    cluster.start_task(&task).await?;
    source
        .execute(&[
            "CREATE DATABASE f04_ops",
            "CREATE TABLE f04_ops.t (id INT PRIMARY KEY)",
            "INSERT INTO f04_ops.t VALUES (1)",
        ])
        .await?;
    compare::wait_equal(source, NAME, target, NAME, LIMIT).await?;

    // Beforehand: a decision waits for its event, is listed, and is taken back once.
    let list = async || said(&cluster.ctl(&["binlog", "list", NAME]).await?);
    ensure!(list().await? == "[]");
    let nothing = cluster.ctl(&["binlog", "skip", NAME]).await?;
    ensure!(nothing.text().contains("has no error"), "{nothing}");
    let future = ["-b", "bin|000007.999999:4"];
    said(&cluster.ctl(&[&["binlog", "skip", NAME][..], &future].concat()).await?)?;
    let expected = format!(r#"[{{"op":1,"task":"{NAME}","binlogPos":"(bin.999999, 4)"}}]"#);
    ensure!(list().await? == expected, "{}", list().await?);
    said(&cluster.ctl(&[&["binlog", "revert", NAME][..], &future].concat()).await?)?;
    let again = cluster.ctl(&[&["binlog", "revert", NAME][..], &future].concat()).await?;
    ensure!(again.text().contains("36065") && again.text().contains("error operator not exist"), "{again}");

    target.execute(&["ALTER TABLE f04_ops.t ADD b VARCHAR(9)"]).await?;
    source
        .execute(&[
            "ALTER TABLE f04_ops.t ADD b INT NOT NULL DEFAULT 7",
            "INSERT INTO f04_ops.t VALUES (2, 8)",
        ])
        .await?;
    let error = cluster.wait_error(NAME, NAME, LIMIT).await?;
    let (cause, workaround) = (error["RawCause"].to_string(), error["Workaround"].to_string());
    ensure!(cause.contains("at the source now: ") && cause.contains("in the target: "), "{error:#}");
    ensure!(workaround.contains(&format!("binlog skip {NAME} -b ")), "{error:#}");
    for (sql, code) in [("ALTER TABLE t DROP b", "36024"), ("DELETE FROM f04_ops.t", "60501")] {
        let refused = cluster.ctl(&["binlog", "replace", NAME, sql]).await?;
        ensure!(refused.code == 1 && refused.text().contains(code), "{refused}");
    }
    // The owner dies between the two statements, neither of which could be repeated.
    let owner = cluster.owner(NAME).await?;
    cluster.set_failpoint("sync.ddl_after_execute", "exit")?;
    let statements =
        "\"ALTER TABLE f04_ops.t DROP COLUMN b; ALTER TABLE f04_ops.t ADD b INT NOT NULL DEFAULT 7;\"";
    said(&cluster.ctl(&["binlog", "replace", NAME, statements]).await?)?;
    cluster.wait_failpoint("sync.ddl_after_execute", LIMIT).await?;
    compare::wait_equal(source, NAME, target, NAME, LIMIT).await?;
    ensure!(cluster.owner(NAME).await? != owner, "the source has moved");
    cluster.launch(owner)?;
    wait_until("the decision is settled", LIMIT, async || {
        let listed = said(&cluster.ctl(&["binlog", "list", NAME]).await?)?;
        Ok(if listed == "[]" { Ok(()) } else { Err(listed) })
    })
    .await?;

    // The old spelling, for statements whose work is done in the target already.
    target.execute(&["ALTER TABLE f04_ops.t ADD c INT"]).await?;
    source.execute(&["ALTER TABLE f04_ops.t ADD c INT", "INSERT INTO f04_ops.t VALUES (3, 9, 1)"]).await?;
    cluster.wait_error(NAME, NAME, LIMIT).await?;
    said(&cluster.ctl(&["handle-error", NAME, "skip"]).await?)?;
    compare::wait_equal(source, NAME, target, NAME, LIMIT).await?;
    target.execute(&["ALTER TABLE f04_ops.t DROP c"]).await?;
    source.execute(&["ALTER TABLE f04_ops.t DROP c"]).await?;
    cluster.wait_error(NAME, NAME, LIMIT).await?;
    said(&cluster.ctl(&["handle-error", NAME, "skip"]).await?)?;
    compare::wait_equal(source, NAME, target, NAME, LIMIT).await?;
    let diff = cluster.diff(NAME).await?;
    ensure!(diff.code == 0, "{diff}");
    cluster.finish().await
}
