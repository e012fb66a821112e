//! Frequent questions that must not arise; `docs/faq.md` says what happens instead.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dmnode_tests::chaos::{Workload, seed_data};
use dmnode_tests::cluster::{Cluster, read_log};
use dmnode_tests::compare;
use dmnode_tests::files::{SourceFile, TaskFile};
use dmnode_tests::process::{self, OwnedProcess};
use dmnode_tests::server::{Flavor, Server, shared_source, shared_target};
use dmnode_tests::wait::wait_until;
use dmnode_tests::workspace;
use mysql_async::prelude::Queryable;

const LIMIT: Duration = Duration::from_secs(90);

/// F12: a copy without a position cannot exist. Without the grants for a snapshot the task is refused, the grant is named,
/// and not one row is copied; with the grant it goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_no_copy_without_a_position() -> Result<()> {
    let (source, target) = (shared_source(Flavor::Mysql).await?, shared_target(Flavor::Mysql).await?);
    source
        .execute(&[
            "CREATE DATABASE f12",
            "CREATE TABLE f12.t (id INT PRIMARY KEY)",
            "INSERT INTO f12.t VALUES (1)",
            "CREATE USER 'f12'@'%' IDENTIFIED BY 'Poor-12'",
            "GRANT SELECT ON f12.* TO 'f12'@'%'",
            "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'f12'@'%'",
        ])
        .await?;
    let cluster = Cluster::start("f12", 1).await?;
    let mut file = SourceFile::new("f12", source, true);
    "f12".clone_into(&mut file.user);
    "Poor-12".clone_into(&mut file.password);
    cluster.create_source(&file).await?;
    let task = TaskFile::new("f12", "all", target, "f12", "f12");
    for refused in [cluster.check_task(&task).await?, cluster.try_start_task(&task).await?] {
        ensure!(refused.code == 1, "{refused}");
        ensure!(
            refused.text().contains("RELOAD") || refused.text().contains("LOCK TABLES"),
            "no grant is named: {refused}"
        );
    }
    let copied: Vec<String> = target.query("SHOW DATABASES LIKE 'f12'").await?;
    ensure!(copied.is_empty(), "something was copied without a position");
    source.execute(&["GRANT RELOAD ON *.* TO 'f12'@'%'"]).await?;
    cluster.start_task(&task).await?;
    cluster.wait_stage("f12", "f12", "Running", Some("Sync"), LIMIT).await?;
    compare::wait_equal(source, "f12", target, "f12", LIMIT).await?;
    cluster.finish().await
}

/// F14: the lag is always there. An idle source shows 0 without anything being written to it; a target that does not take
/// changes shows a growing one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_lag_is_known_while_the_source_is_idle() -> Result<()> {
    for flavor in [Flavor::Mysql, Flavor::Mariadb] {
        let tag = format!("f14_{}", flavor.name());
        let (source, target) = (Server::start(flavor, &[]).await?, shared_target(flavor).await?);
        source
            .execute(&[
                &format!("CREATE DATABASE {tag}"),
                &format!("CREATE TABLE {tag}.t (id INT PRIMARY KEY)"),
            ])
            .await?;
        let cluster = Cluster::start(&tag, 1).await?;
        cluster.create_source(&SourceFile::new(&tag, &source, true)).await?;
        cluster.start_task(&TaskFile::new(&tag, "all", target, &tag, &tag)).await?;
        cluster.wait_stage(&tag, &tag, "Running", Some("Sync"), LIMIT).await?;
        let lag = async || -> Result<u64> {
            let status = cluster.subtask(&tag, &tag).await?;
            status["sync"]["secondsBehindMaster"]
                .as_str()
                .context("no lag")?
                .parse()
                .context("lag is no number")
        };

        // Idle for longer than any rounding: still 0, and nothing was written to the source.
        let before = source.gtid_set().await?;
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            ensure!(lag().await? == 0, "an idle source shows a lag of {}", lag().await?);
        }
        ensure!(source.gtid_set().await? == before, "something was written to the source");
        let status = cluster.subtask(&tag, &tag).await?;
        ensure!(status["sync"]["synced"] == true, "{status:#}");

        // The target holds still: the lag grows, and is gone when it goes on.
        let mut blocker = target.root().await?;
        blocker.query_drop(format!("LOCK TABLES {tag}.t WRITE")).await?;
        source.execute(&[&format!("INSERT INTO {tag}.t VALUES (1)")]).await?;
        let seen = wait_until("the lag grows", LIMIT, async || {
            let lag = lag().await?;
            Ok(if lag >= 3 { Ok(lag) } else { Err(lag.to_string()) })
        })
        .await;
        blocker.query_drop("UNLOCK TABLES").await?;
        seen?;
        wait_until("the lag is gone", LIMIT, async || {
            let lag = lag().await?;
            Ok(if lag == 0 { Ok(()) } else { Err(lag.to_string()) })
        })
        .await?;
        cluster.finish().await?;
    }
    Ok(())
}

/// F19: after a kill and a restart the target sees ordinary statements, no REPLACE and no INSERT IGNORE, which
/// would hide that something is applied twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_no_replace_after_a_restart() -> Result<()> {
    let source = shared_source(Flavor::Mysql).await?;
    let target = Server::start(Flavor::Mariadb, &["--local-infile=1", "--log-output=TABLE"]).await?;
    let mut cluster = Cluster::start("f19", 1).await?;
    seed_data(source, "f19", 10_000, 2).await?;
    cluster.create_source(&SourceFile::new("f19", source, true)).await?;
    let live = Workload::start(&[source], "f19", 81, 3, Duration::from_millis(5))?;
    cluster.start_task(&TaskFile::new("f19", "all", &target, "f19", "f19")).await?;
    cluster.wait_stage("f19", "f19", "Running", Some("Sync"), LIMIT).await?;
    target.execute(&["SET GLOBAL general_log = ON"]).await?;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        cluster.kill(0)?;
        cluster.launch(0)?;
        cluster.wait_ready().await?;
        cluster.wait_stage("f19", "f19", "Running", Some("Sync"), LIMIT).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    live.stop().await?;
    compare::wait_equal(source, "f19", &target, "f19", LIMIT).await?;
    target.execute(&["SET GLOBAL general_log = OFF"]).await?;
    let seen: u64 = target
        .query_one("SELECT COUNT(*) FROM mysql.general_log WHERE argument LIKE '%INSERT INTO%f19%'")
        .await?;
    ensure!(seen > 0, "the log shows no insert at all, so nothing is shown");
    let hidden: Vec<String> = target
        .query(
            "SELECT LEFT(argument, 200) FROM mysql.general_log WHERE argument REGEXP \
             '(REPLACE|INSERT +IGNORE)( +INTO)? +`?f19`?[.]'",
        )
        .await?;
    ensure!(hidden.is_empty(), "statements that hide duplicates: {hidden:?}");
    cluster.finish().await
}

/// A node started from a TOML file in `dir`, with the working directory `cwd`.
fn start_by_file(dir: &Path, file: &str, cwd: &Path, log: &str) -> Result<OwnedProcess> {
    let mut command = process::command(workspace::binary("dmnode")?);
    command.arg("start").arg("--config").arg(dir.join(file)).current_dir(cwd);
    OwnedProcess::start("node", command, &dir.join(log))
}

/// F25: a node finds its data whatever directory it is started from; a known node on an empty or a foreign directory is
/// refused with the reasons.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f25_a_moved_data_directory_is_explained() -> Result<()> {
    let source = shared_source(Flavor::Mysql).await?;
    let dir = workspace::fresh_dir("f25")?;
    let ports = [workspace::free_port()?, workspace::free_port()?, workspace::free_port()?];
    let members: Vec<String> =
        (1..).zip(ports).map(|(number, port)| format!("n{number}=127.0.0.1:{port}")).collect();
    let members = members.join(",");
    let file = |node: usize, data: &str| {
        format!(
            "name = \"n{node}\"\ndata-dir = \"{data}\"\naddr = \"127.0.0.1:{}\"\ninitial-cluster = \"{members}\"\n",
            ports[node - 1]
        )
    };
    std::fs::write(dir.join("n1.toml"), file(1, "data/n1"))?;
    std::fs::write(dir.join("n2.toml"), file(2, "data/n2"))?;
    std::fs::write(dir.join("n3.toml"), file(3, "data/n3"))?;
    let addresses = ports.map(|port| format!("127.0.0.1:{port}")).join(",");
    let ctl = async |arguments: &[&str]| -> Result<(i32, String)> {
        let output = tokio::process::Command::new(workspace::binary("dmnode")?)
            .args(["ctl", "--master-addr", &addresses, "-o", "json"])
            .args(arguments)
            .output()
            .await?;
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ok((output.status.code().unwrap_or(-1), text))
    };
    let wait_ctl = async |arguments: &[&str]| {
        wait_until("ctl is answered", LIMIT, async || {
            let (code, text) = ctl(arguments).await?;
            Ok(if code == 0 { Ok(text) } else { Err(text) })
        })
        .await
    };

    // Relative paths mean: relative to the file.
    let mut first = start_by_file(&dir, "n1.toml", &dir, "n1.log")?;
    let mut second = start_by_file(&dir, "n2.toml", Path::new("/"), "n2.log")?;
    let _third = start_by_file(&dir, "n3.toml", Path::new("/"), "n3.log")?;
    std::fs::write(dir.join("source.yaml"), SourceFile::new("f25", source, true).yaml())?;
    let path = dir.join("source.yaml").to_string_lossy().into_owned();
    wait_ctl(&["operate-source", "create", &path]).await?;
    ensure!(dir.join("data/n1").is_dir() && dir.join("data/n2").is_dir(), "data is not beside the file");

    // With three votes the cluster goes on when one of them is away.
    wait_until("all three nodes vote", LIMIT, async || {
        let (_, text) = ctl(&["list-member", "--master"]).await?;
        Ok(if text.matches("\"memberID\"").count() == 3 { Ok(()) } else { Err(text) })
    })
    .await?;

    // Restarted from elsewhere it is the same node.
    for process in [&mut first, &mut second] {
        process.signal(nix::sys::signal::Signal::SIGTERM)?;
        process.wait(LIMIT).await?;
    }
    let _first = start_by_file(&dir, "n1.toml", Path::new("/"), "n1.log")?;
    let mut second = start_by_file(&dir, "n2.toml", &dir, "n2.log")?;
    ensure!(wait_ctl(&["operate-source", "show"]).await?.contains("f25"), "the state is gone");

    // A known node on an empty directory, and on the directory of another node: refused, explained, not joined.
    for (data, name) in [("data/empty", "empty"), ("data/n1-copy", "foreign")] {
        second.signal(nix::sys::signal::Signal::SIGTERM)?;
        second.wait(LIMIT).await?;
        if name == "foreign" {
            copy_dir(&dir.join("data/n1"), &dir.join(data)).await?;
        }
        std::fs::write(dir.join("wrong.toml"), file(2, data))?;
        let log = format!("{name}.log");
        let mut refused = start_by_file(&dir, "wrong.toml", &dir, &log)?;
        let status = refused.wait(LIMIT).await?;
        let text = read_log(&dir.join(&log));
        ensure!(!status.success(), "{name}: {text}");
        ensure!(text.contains(data), "{name}: the directory is not named: {text}");
        ensure!(text.contains("n2"), "{name}: the node is not named: {text}");
        second = start_by_file(&dir, "n2.toml", &dir, "n2.log")?;
        wait_ctl(&["operate-source", "show"]).await?;
    }
    Ok(())
}

async fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    let status = tokio::process::Command::new("cp").arg("-a").arg(from).arg(to).status().await?;
    ensure!(status.success(), "cannot copy {}", from.display());
    Ok(())
}

/// F26: proxy variables do not matter for the control tool nor between the nodes, and it says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f26_proxy_variables_do_not_matter() -> Result<()> {
    let source = shared_source(Flavor::Mysql).await?;
    let cluster = Cluster::start("f26", 1).await?;
    let dead = "http://127.0.0.1:1";
    let environment = [
        ("http_proxy", dead),
        ("https_proxy", dead),
        ("HTTPS_PROXY", dead),
        ("ALL_PROXY", dead),
        ("all_proxy", dead),
        ("DM_MASTER_ADDR", "127.0.0.1:2"),
    ];
    let file = cluster.write("source.yaml", &SourceFile::new("f26", source, true).yaml())?;
    let output = cluster
        .ctl_at(&cluster.addresses(), &["operate-source", "create", &file], &environment)
        .await?
        .success()?;
    ensure!(output.stderr.contains("proxy"), "it does not say that the variable is ignored: {output}");
    // A proxy that was asked for is used, and this one is dead.
    let asked = cluster.ctl_at(&cluster.addresses(), &["--proxy", dead, "query-status"], &[]).await?;
    ensure!(asked.code == 3, "{asked}");
    cluster.finish().await?;

    // Nodes among themselves.
    let dir = workspace::fresh_dir("f26_nodes")?;
    let ports = [workspace::free_port()?, workspace::free_port()?];
    let members = format!("n1=127.0.0.1:{},n2=127.0.0.1:{}", ports[0], ports[1]);
    let mut nodes = Vec::new();
    for (name, port) in [("n1", ports[0]), ("n2", ports[1])] {
        let mut command = process::command(workspace::binary("dmnode")?);
        command
            .args([
                "start",
                "--name",
                name,
                "--addr",
                &format!("127.0.0.1:{port}"),
                "--initial-cluster",
                &members,
            ])
            .arg("--data-dir")
            .arg(dir.join(name))
            .envs(environment);
        nodes.push(OwnedProcess::start(name, command, &dir.join(format!("{name}.log")))?);
    }
    wait_until("two nodes find each other", LIMIT, async || {
        let output = tokio::process::Command::new(workspace::binary("dmnode")?)
            .args([
                "ctl",
                "--master-addr",
                &format!("127.0.0.1:{}", ports[1]),
                "-o",
                "json",
                "operate-source",
                "create",
                &file,
            ])
            .envs(environment)
            .env_remove("DM_MASTER_ADDR")
            .output()
            .await?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        // The file lies in a directory that is gone by now; what counts is that the cluster answers at all.
        Ok(if output.status.code() == Some(3) { Err(text) } else { Ok(()) })
    })
    .await
}
