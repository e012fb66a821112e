//! Nodes are killed, frozen and restarted at random moments; no row is lost, doubled or wrong, and work goes on in time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dmnode_tests::chaos::{Workload, seed_data};
use dmnode_tests::cluster::Cluster;
use dmnode_tests::compare;
use dmnode_tests::files::{SourceFile, TaskFile};
use dmnode_tests::server::{Flavor, Server};
use dmnode_tests::wait::wait_until;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The promise: from the kill to the first commit of whoever goes on.
const FAILOVER_LIMIT: Duration = Duration::from_secs(10);
const CATCH_UP_LIMIT: Duration = Duration::from_secs(180);
const COPY_ROUNDS: usize = 10;
const REPLICATION_ROUNDS: usize = 22;

/// The generation that may commit for a source, and how much it has committed.
#[derive(Clone, Debug, PartialEq)]
struct Progress {
    epoch: u64,
    token: u64,
    commits: u64,
}

async fn progress(target: &Server, task: &TaskFile, source: &str) -> Result<Option<Progress>> {
    let sql = format!(
        "SELECT epoch, token, CAST(SUM(seq) AS UNSIGNED) FROM `{}`.`{}_dmnode_progress` WHERE source_id = '{source}' \
         GROUP BY epoch, token ORDER BY epoch DESC",
        task.meta_schema(),
        task.name
    );
    let rows: Vec<(u64, u64, u64)> = match target.query(&sql).await {
        Ok(rows) => rows,
        // The tables are made by the first generation.
        Err(_) => return Ok(None),
    };
    ensure!(rows.len() <= 1, "rows of one source carry several epochs or tokens: {rows:?}");
    Ok(rows.into_iter().next().map(|(epoch, token, commits)| Progress { epoch, token, commits }))
}

/// Waits until a generation other than `before` has taken over and committed something of its own.
async fn wait_first_commit(
    target: &Server,
    task: &TaskFile,
    source: &str,
    before: Option<&Progress>,
    killed: Instant,
) -> Result<Duration> {
    let mut taken_over: Option<Progress> = None;
    wait_until("the first commit after the kill", FAILOVER_LIMIT * 3, async || {
        let now = progress(target, task, source).await?;
        let Some(now) = now else { return Ok(Err("no progress rows".to_owned())) };
        let is_new = before.is_none_or(|before| (now.epoch, now.token) != (before.epoch, before.token));
        if !is_new {
            return Ok(Err(format!("still {now:?}")));
        }
        match &taken_over {
            Some(first) if first.token == now.token && now.commits > first.commits => {
                Ok(Ok(killed.elapsed()))
            }
            Some(first) if first.token == now.token => {
                Ok(Err(format!("taken over, nothing committed: {now:?}")))
            }
            _ => {
                taken_over = Some(now.clone());
                Ok(Err(format!("taken over: {now:?}")))
            }
        }
    })
    .await
}

fn seed() -> u64 {
    let seed =
        std::env::var("DMNODE_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_122);
    println!("DMNODE_TEST_SEED={seed}");
    seed
}

#[derive(Clone, Copy, Debug)]
enum Victim {
    Owner,
    Leader,
    Both,
}

struct Round<'a> {
    target: &'a Server,
    task: &'a TaskFile,
    source: &'a str,
    victim: Victim,
    /// Whether the killed nodes come back at once or after others have taken their work.
    restart_after: Duration,
}

impl Round<'_> {
    /// Kills, measures, restarts. The time from the kill to the next commit when the owner was among the killed.
    async fn run(&self, cluster: &mut Cluster) -> Result<Option<Duration>> {
        let (owner, leader) = (cluster.owner(self.source).await?, cluster.leader().await?);
        let mut victims = match self.victim {
            Victim::Owner => vec![owner],
            Victim::Leader => vec![leader],
            Victim::Both => vec![owner, leader],
        };
        victims.dedup();
        let before = progress(self.target, self.task, self.source).await?;
        for victim in &victims {
            cluster.kill(*victim)?;
        }
        let killed = Instant::now();
        // Two of three nodes gone is no majority: then they come back at once, as a service manager would do it.
        let restart_after = if victims.len() > 1 { Duration::from_millis(300) } else { self.restart_after };
        let restart = async {
            tokio::time::sleep(restart_after).await;
            victims.iter().try_for_each(|victim| cluster.launch(*victim))
        };
        let measure = async {
            if victims.contains(&owner) {
                wait_first_commit(self.target, self.task, self.source, before.as_ref(), killed)
                    .await
                    .map(Some)
            } else {
                Ok(None)
            }
        };
        let (restarted, measured) = tokio::join!(restart, measure);
        restarted?;
        cluster.wait_ready().await?;
        measured.with_context(|| format!("{:?} killed, source {}", self.victim, self.source))
    }
}

fn report(title: &str, mut times: Vec<Duration>) -> Result<()> {
    ensure!(!times.is_empty(), "{title}: no owner was killed, so nothing is shown");
    times.sort_unstable();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{title}: {} owner kills, first commit after median {median:?}, longest {longest:?}",
        times.len()
    );
    ensure!(longest <= FAILOVER_LIMIT, "{title}: the first commit came {longest:?} after the kill");
    Ok(())
}

/// Owner, leader or both are killed while a source is copied; several fresh copies, each then replicated to the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_in_copy() -> Result<()> {
    let mut rng = StdRng::seed_from_u64(seed());
    let source = Server::start(Flavor::Mysql, &[]).await?;
    let target = Server::start(Flavor::Mariadb, &["--local-infile=1"]).await?;
    seed_data(&source, "shop", 300_000, 3).await?;
    let mut cluster = Cluster::start("kills_in_copy", 3).await?;
    cluster.create_source(&SourceFile::new("copied", &source, true)).await?;
    let live = Workload::start(&[&source], "shop", 21, 2, Duration::from_millis(10))?;

    let mut times = Vec::new();
    let mut killed_in_copy = 0;
    for round in 0..COPY_ROUNDS {
        let mut task = TaskFile::new(&format!("copy{round}"), "all", &target, "copied", "shop");
        let target_schema = format!("shop_{round}");
        task.routes = vec![(
            "shop".to_owned(),
            format!("{{schema-pattern: \"shop\", target-schema: \"{target_schema}\"}}"),
        )];
        cluster.start_task(&task).await?;
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..2000))).await;
        let victim = [Victim::Owner, Victim::Owner, Victim::Leader, Victim::Both][rng.random_range(0..4)];
        let restart_after = Duration::from_millis(rng.random_range(0..6000));
        let status = cluster.subtask(&task.name, "copied").await?;
        killed_in_copy += usize::from(status["unit"] != "Sync");
        let round_run = Round { target: &target, task: &task, source: "copied", victim, restart_after };
        let time = round_run.run(&mut cluster).await?;
        println!(
            "round {round}: {victim:?} killed in {}, back after {restart_after:?}, next commit after {time:?}",
            status["unit"]
        );
        times.extend(time);
        cluster.wait_stage(&task.name, "copied", "Running", Some("Sync"), CATCH_UP_LIMIT).await?;
        if round + 1 < COPY_ROUNDS {
            let diff = cluster.diff(&task.name).await?;
            ensure!(diff.code == 0, "round {round}: {diff}");
            cluster.ctl(&["stop-task", &task.name]).await?.success()?;
            target.execute(&[&format!("DROP DATABASE {target_schema}")]).await?;
        }
    }

    // The writers stop, and the last copy must be the same to the row.
    live.stop().await?;
    let last = COPY_ROUNDS - 1;
    compare::wait_equal(&source, "shop", &target, &format!("shop_{last}"), CATCH_UP_LIMIT).await?;
    let diff = cluster.diff(&format!("copy{last}")).await?;
    ensure!(diff.code == 0, "{diff}");
    report("kills in copy", times)?;
    ensure!(killed_in_copy >= COPY_ROUNDS / 3, "only {killed_in_copy} kills came before the copy was over");
    cluster.finish().await
}

/// Owner, leader or both are killed while two sources are replicated under load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_in_replication() -> Result<()> {
    let mut rng = StdRng::seed_from_u64(seed().wrapping_add(1));
    let sources = [Server::start(Flavor::Mysql, &[]).await?, Server::start(Flavor::Mariadb, &[]).await?];
    let target = Server::start(Flavor::Mysql, &["--local-infile=1"]).await?;
    let mut cluster = Cluster::start("kills_in_replication", 3).await?;
    let mut tasks = Vec::new();
    let mut live = Vec::new();
    for (index, server) in sources.iter().enumerate() {
        let (source, schema) = (format!("source{index}"), format!("shop{index}"));
        seed_data(server, &schema, 5000, 4).await?;
        live.push(Workload::start(&[server], &schema, 31 + index as u64, 3, Duration::from_millis(5))?);
        // One source by GTID, the other by position.
        cluster.create_source(&SourceFile::new(&source, server, index == 0)).await?;
        let task = TaskFile::new(&format!("live{index}"), "all", &target, &source, &schema);
        cluster.start_task(&task).await?;
        cluster.wait_stage(&task.name, &source, "Running", Some("Sync"), CATCH_UP_LIMIT).await?;
        tasks.push((task, source));
    }

    let mut times = Vec::new();
    for round in 0..REPLICATION_ROUNDS {
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..2000))).await;
        let (task, source) = &tasks[rng.random_range(0..tasks.len())];
        let victim = [Victim::Owner, Victim::Owner, Victim::Leader, Victim::Both][rng.random_range(0..4)];
        let restart_after = Duration::from_millis(rng.random_range(0..6000));
        let round_run = Round { target: &target, task, source, victim, restart_after };
        let time = round_run.run(&mut cluster).await?;
        println!(
            "round {round}: {victim:?} of {source} killed, back after {restart_after:?}, next commit after {time:?}"
        );
        times.extend(time);
        live.iter_mut().try_for_each(Workload::ensure_running)?;
    }

    for workload in live {
        workload.stop().await?;
    }
    for (index, ((task, source), server)) in tasks.iter().zip(&sources).enumerate() {
        let schema = format!("shop{index}");
        compare::wait_equal(server, &schema, &target, &schema, CATCH_UP_LIMIT).await?;
        let diff = cluster.diff(&task.name).await?;
        ensure!(diff.code == 0, "{source}: {diff}");
    }
    report("kills in replication", times)?;
    cluster.finish().await
}

/// The owner is frozen, another node takes over, the owner thaws: it commits nothing more. Every change of a progress row
/// is recorded by a trigger in the target, so that the order of epochs can be audited (INV-5).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_frozen_owner_commits_nothing_more() -> Result<()> {
    let source = Server::start(Flavor::Mariadb, &[]).await?;
    let target =
        Server::start(Flavor::Mysql, &["--local-infile=1", "--log-bin-trust-function-creators=1"]).await?;
    seed_data(&source, "shop", 5000, 4).await?;
    let mut cluster = Cluster::start("kills_frozen", 3).await?;
    cluster.create_source(&SourceFile::new("frozen", &source, true)).await?;
    let live = Workload::start(&[&source], "shop", 41, 3, Duration::from_millis(5))?;
    let task = TaskFile::new("freeze", "all", &target, "frozen", "shop");
    cluster.start_task(&task).await?;
    cluster.wait_stage("freeze", "frozen", "Running", Some("Sync"), CATCH_UP_LIMIT).await?;
    let meta = task.meta_schema();
    target
        .execute(&[
            "CREATE DATABASE audit",
            "CREATE TABLE audit.epochs (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, epoch BIGINT UNSIGNED, token BIGINT UNSIGNED)",
            &format!(
                "CREATE TRIGGER `{meta}`.audit_update AFTER UPDATE ON `{meta}`.freeze_dmnode_progress FOR EACH ROW \
                 INSERT INTO audit.epochs (epoch, token) VALUES (NEW.epoch, NEW.token)"
            ),
            &format!(
                "CREATE TRIGGER `{meta}`.audit_insert AFTER INSERT ON `{meta}`.freeze_dmnode_progress FOR EACH ROW \
                 INSERT INTO audit.epochs (epoch, token) VALUES (NEW.epoch, NEW.token)"
            ),
        ])
        .await?;

    // Freeze, take-over, thaw.
    let before = progress(&target, &task, "frozen").await?.context("no progress rows")?;
    let old_owner = cluster.owner("frozen").await?;
    cluster.freeze(old_owner)?;
    let frozen = Instant::now();
    let time = wait_first_commit(&target, &task, "frozen", Some(&before), frozen).await?;
    println!("first commit of the new owner {time:?} after the freeze");
    tokio::time::sleep(Duration::from_secs(20).saturating_sub(frozen.elapsed())).await;
    cluster.thaw(old_owner)?;
    tokio::time::sleep(Duration::from_secs(6)).await;

    live.stop().await?;
    compare::wait_equal(&source, "shop", &target, "shop", CATCH_UP_LIMIT).await?;
    let epochs: Vec<u64> = target.query("SELECT epoch FROM audit.epochs ORDER BY id").await?;
    ensure!(
        epochs.first().is_some_and(|first| *first == before.epoch),
        "the old owner's commits were not recorded"
    );
    ensure!(epochs.last().is_some_and(|last| *last > before.epoch), "nobody took over");
    ensure!(epochs.is_sorted(), "an older epoch committed after a newer one");
    ensure!(time <= FAILOVER_LIMIT, "the first commit came {time:?} after the freeze");
    let diff = cluster.diff("freeze").await?;
    ensure!(diff.code == 0, "{diff}");
    cluster.finish().await
}
