//! `dmnode ctl` against any node: mutations once, reads that see them, faults of nodes in between.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dmnode_tests::cluster::Cluster;
use dmnode_tests::files::{SourceFile, TaskFile};
use dmnode_tests::server::{Flavor, PASSWORD, shared_source, shared_target};
use dmnode_tests::wait::wait_until;

const LIMIT: Duration = Duration::from_secs(60);

/// What one node has acknowledged is seen on every other node at once (INV-8), also after the leader died.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_every_node_takes_commands_and_sees_them() -> Result<()> {
    let source = shared_source(Flavor::Mysql).await?;
    let mut cluster = Cluster::start("control", 3).await?;
    for round in 0..6 {
        let file = SourceFile::new(&format!("ctl{round}"), source, true);
        let path = cluster.write("source.yaml", &file.yaml())?;
        let running: Vec<String> = (0..3)
            .filter(|index| cluster.is_running(*index))
            .map(|index| cluster.nodes[index].addr.clone())
            .collect();
        let writer = &running[round % running.len()];
        cluster.ctl_at(writer, &["operate-source", "create", &path], &[]).await?.success()?;
        for reader in &running {
            let shown = cluster.ctl_at(reader, &["operate-source", "show"], &[]).await?.success()?;
            ensure!(
                shown.stdout.contains(&file.id),
                "{reader} does not see what {writer} acknowledged: {shown}"
            );
        }
        if round == 2 {
            // The leader dies: within ten seconds the next command is taken.
            let leader = cluster.leader().await?;
            cluster.kill(leader)?;
            let killed = Instant::now();
            cluster.wait_ready().await?;
            ensure!(killed.elapsed() < Duration::from_secs(10), "no leader for {:?}", killed.elapsed());
        }
    }
    for index in (0..3).filter(|index| !cluster.is_running(*index)).collect::<Vec<_>>() {
        cluster.launch(index)?;
    }
    // The node that was away has caught up and shows all of it.
    wait_until("all members are alive", LIMIT, async || {
        let members = cluster.ctl(&["list-member", "--master"]).await?;
        Ok(if members.stdout.matches("\"alive\": true").count() == 3 {
            Ok(())
        } else {
            Err(members.to_string())
        })
    })
    .await?;
    for index in 0..3 {
        let addr = cluster.nodes[index].addr.clone();
        let shown = cluster.ctl_at(&addr, &["operate-source", "show"], &[]).await?.success()?.json()?;
        ensure!(shown["sources"].as_array().context("no sources")?.len() == 6, "{addr}: {shown}");
    }
    cluster.finish().await
}

/// Configurations come back without passwords; sources in use are not removed; sources move on request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_configuration_and_transfer() -> Result<()> {
    let name = "control_config";
    let (source, target) = (shared_source(Flavor::Mariadb).await?, shared_target(Flavor::Mariadb).await?);
    source
        .execute(&[
            &format!("CREATE DATABASE {name}"),
            &format!("CREATE TABLE {name}.t (id INT PRIMARY KEY)"),
        ])
        .await?;
    let cluster = Cluster::start(name, 2).await?;
    cluster.create_source(&SourceFile::new(name, source, true)).await?;
    cluster.start_task(&TaskFile::new(name, "all", target, name, name)).await?;
    cluster.wait_stage(name, name, "Running", Some("Sync"), LIMIT).await?;
    for command in [["config", "task", name], ["config", "source", name], ["get-config", "task", name]] {
        let shown = cluster.ctl(&command).await?.success()?;
        ensure!(shown.stdout.contains("******"), "{command:?}: {shown}");
        ensure!(!shown.text().contains(PASSWORD), "{command:?} shows a password");
        ensure!(shown.json()?["cfg"].as_str().is_some_and(|text| text.contains(name)), "{shown}");
    }
    let in_use = cluster.ctl(&["operate-source", "stop", name]).await?;
    ensure!(in_use.code == 1 && in_use.text().contains("46010"), "{in_use}");

    let (owner, other) = match cluster.owner(name).await? {
        0 => (0, 1),
        _ => (1, 0),
    };
    let other_name = cluster.nodes[other].name.clone();
    cluster.ctl(&["transfer-source", name, &other_name]).await?.success()?;
    ensure!(cluster.owner(name).await? == other, "the source did not leave {}", cluster.nodes[owner].name);
    source.execute(&[&format!("INSERT INTO {name}.t VALUES (1)")]).await?;
    wait_until("the new owner goes on", LIMIT, async || {
        let rows = target.query_one::<u64>(&format!("SELECT COUNT(*) FROM {name}.t")).await?;
        Ok(if rows == 1 { Ok(()) } else { Err(format!("{rows} rows")) })
    })
    .await?;
    cluster.ctl(&["stop-task", name]).await?.success()?;
    cluster.ctl(&["operate-source", "stop", name]).await?.success()?;
    cluster.finish().await
}
