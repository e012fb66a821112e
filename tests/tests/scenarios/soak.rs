//! Random DML and DDL on tables of every type, from both flavors at once, while nodes and servers are killed and tasks
//! are paused; in the end source and target are the same, definitions included. See docs/soak.md.
//!
//! | variable | meaning |
//! |---|---|
//! | `DMNODE_SOAK_SECONDS` | how long, instead of the short time of each test |
//! | `DMNODE_TEST_SEED` | repeats the random choices of an earlier run |
//! | `DMNODE_SOAK_WITHOUT` | kinds of statements to leave out, separated by blanks |
//! | `DMNODE_SOAK_FLAVOR` | `mysql` or `mariadb`: only this one |
//! | `DMNODE_SOAK_DDL_IN_COPY` | when set, DDL begins before the full copy is over |
//! | `DMNODE_KEEP_DATA` | when set, the servers' data stays until the next run |
//! | `DMNODE_SOAK_CALM` | when set, nothing is killed or paused |

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use dmnode_tests::chaos::Soak;
use dmnode_tests::cluster::Cluster;
use dmnode_tests::compare;
use dmnode_tests::files::{SourceFile, TaskFile};
use dmnode_tests::server::{Flavor, Server};
use dmnode_tests::wait::wait_until;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const COPY_LIMIT: Duration = Duration::from_secs(180);
const CATCH_UP_LIMIT: Duration = Duration::from_secs(600);
const SCHEMA: &str = "soak";
const RSS_BYTES_MAX: u64 = 200 * 1000 * 1000;

/// A source, its target and the task between them.
struct Pair {
    id: String,
    source: Server,
    target: Server,
    task: TaskFile,
}

fn seconds(default: u64) -> u64 {
    std::env::var("DMNODE_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The same seed every time: what was found with it stays fixed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak_fixed_seed() -> Result<()> {
    run("soak_fixed", 20_261_122, seconds(12), &[Flavor::Mariadb]).await
}

/// Another seed every time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "another run every time; by hand, like scripts/soak --minutes 1"]
async fn soak_random_seed() -> Result<()> {
    run("soak_random", random_seed(), seconds(20), &[Flavor::Mariadb]).await
}

/// What `scripts/soak` runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long; run by scripts/soak"]
async fn soak_long() -> Result<()> {
    let only = std::env::var("DMNODE_SOAK_FLAVOR").unwrap_or_default();
    let flavors: Vec<Flavor> = [Flavor::Mysql, Flavor::Mariadb]
        .into_iter()
        .filter(|flavor| only.is_empty() || only == flavor.name())
        .collect();
    run("soak_long", random_seed(), seconds(1800), &flavors).await
}

fn random_seed() -> u64 {
    std::env::var("DMNODE_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs()))
}

async fn run(name: &str, seed: u64, seconds: u64, flavors: &[Flavor]) -> Result<()> {
    println!("DMNODE_TEST_SEED={seed} DMNODE_SOAK_SECONDS={seconds}");
    let mut rng = StdRng::seed_from_u64(seed ^ 0x50a4);
    let mut cluster = Cluster::start(name, 3).await?;
    let mut pairs = Vec::new();
    let mut soaks = Vec::new();
    for &flavor in flavors {
        let source = Server::start(flavor, &["--local-infile=1"]).await?;
        let target = Server::start(flavor, &["--local-infile=1"]).await?;
        let id = format!("{name}-{}", flavor.name());
        // A short run must come by everything, a long one does so anyway.
        let ddl_every = if seconds < 300 { 5 } else { 25 };
        soaks.push(
            Soak::start(&source, SCHEMA, seed, ddl_every, Duration::from_millis(10), &cluster.dir).await?,
        );
        let task = TaskFile::new(&id, "all", &target, &id, SCHEMA);
        cluster.create_source(&SourceFile::new(&id, &source, true)).await?;
        pairs.push(Pair { id, source, target, task });
    }
    // A copy cannot end while every table changes several times in a second.
    if std::env::var_os("DMNODE_SOAK_DDL_IN_COPY").is_some() {
        cluster.write("ddl", "")?;
    }
    for pair in &pairs {
        cluster.start_task(&pair.task).await?;
    }
    for pair in &pairs {
        cluster.wait_stage(&pair.task.name, &pair.id, "Running", Some("Sync"), COPY_LIMIT).await?;
    }
    cluster.write("ddl", "")?;

    let mut seen = Seen::default();
    let end = Instant::now() + Duration::from_secs(seconds);
    let longest_pause_ms = if seconds < 300 { 4000 } else { 15_000 };
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(rng.random_range(500..longest_pause_ms))).await;
        revive(&pairs, &mut seen).await?;
        look(&cluster, &pairs, &mut seen).await?;
        soaks.iter_mut().try_for_each(Soak::ensure_running)?;
        if std::env::var_os("DMNODE_SOAK_CALM").is_none() {
            let pair = &pairs[rng.random_range(0..pairs.len())];
            disturb(&mut rng, &mut cluster, pair, &mut seen).await?;
        }
    }

    let (mut missing, mut known) = (Vec::new(), 0);
    for soak in soaks {
        let report = soak.stop().await?;
        println!(
            "{}: {} transactions, {} statements, {} rolled back, {} reconnects",
            report["server"],
            report["committed"],
            report["statements"],
            report["rolled_back"],
            report["reconnects"]
        );
        let kinds = report["kinds"].as_object().context("no kinds")?;
        known += kinds.len();
        let counts: Vec<String> =
            kinds.iter().map(|(kind, count)| format!("{kind} {}", count["ok"])).collect();
        println!("  {}", counts.join(", "));
        println!(
            "  refused by error number: {}, outside of a statement: {}",
            report["refused"], report["unexpected"]
        );
        for kind in report["missing"].as_array().context("no list of missing kinds")? {
            missing.push(format!("{kind} on {}: {}", report["server"], kinds[kind.as_str().unwrap_or("")]));
        }
    }
    for pair in &pairs {
        settle(&cluster, pair, &mut seen).await?;
    }
    println!(
        "peak memory of a node {} MB, longest lag seen {} s, {:?}",
        seen.memory / 1_000_000,
        seen.lag,
        seen.events
    );
    ensure!(seen.memory < RSS_BYTES_MAX, "a node took {} bytes", seen.memory);
    // A short run on a slow machine does not come by everything.
    let missing_max = if seconds < 300 { known / 2 } else { 0 };
    ensure!(
        missing.len() <= missing_max,
        "kinds that never succeeded, so the run shows nothing about them: {missing:#?}"
    );
    cluster.finish().await
}

/// What was seen on the way.
#[derive(Default)]
struct Seen {
    memory: u64,
    lag: u64,
    events: std::collections::BTreeMap<&'static str, u32>,
}

/// A MySQL server crashes now and then under such statements (signal 11): one more thing that the task must survive.
async fn revive(pairs: &[Pair], seen: &mut Seen) -> Result<()> {
    for server in pairs.iter().flat_map(|pair| [&pair.source, &pair.target]) {
        if let Some(end) = server.ended().await {
            println!("{} ended by itself and is started again: {end}", server.flavor.name());
            *seen.events.entry("server crashed by itself").or_default() += 1;
            server.crash_and_restart().await?;
        }
    }
    Ok(())
}

/// Nothing may have stopped by itself.
async fn look(cluster: &Cluster, pairs: &[Pair], seen: &mut Seen) -> Result<()> {
    for index in 0..cluster.nodes.len() {
        if let Ok(process) = cluster.running(index) {
            seen.memory = seen.memory.max(process.memory_bytes("VmHWM")?);
        }
    }
    for pair in pairs {
        let Ok(status) = cluster.subtask(&pair.task.name, &pair.id).await else { continue };
        ensure_no_error(pair, &status)?;
        seen.lag = seen.lag.max(
            status["sync"]["secondsBehindMaster"].as_str().and_then(|lag| lag.parse().ok()).unwrap_or(0),
        );
    }
    Ok(())
}

fn ensure_no_error(pair: &Pair, status: &serde_json::Value) -> Result<()> {
    let errors = &status["result"]["errors"];
    let has_error = errors.as_array().is_some_and(|errors| !errors.is_empty());
    ensure!(!(status["stage"] == "Paused" && has_error), "{} stopped: {errors:#}", pair.id);
    Ok(())
}

async fn disturb(rng: &mut StdRng, cluster: &mut Cluster, pair: &Pair, seen: &mut Seen) -> Result<()> {
    let what = [
        "kill owner",
        "kill leader",
        "stop node",
        "pause task",
        "crash source",
        "crash target",
        "freeze owner",
    ][rng.random_range(0..7)];
    println!("{what} ({})", pair.id);
    *seen.events.entry(what).or_default() += 1;
    match what {
        "kill owner" | "kill leader" => {
            let victim =
                if what == "kill owner" { cluster.owner(&pair.id).await? } else { cluster.leader().await? };
            cluster.kill(victim)?;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..5000))).await;
            cluster.launch(victim)?;
        }
        "stop node" => {
            let victim = rng.random_range(0..cluster.nodes.len());
            cluster.terminate(victim).await?;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..3000))).await;
            cluster.launch(victim)?;
        }
        "pause task" => {
            ask(cluster, "pause-task", pair).await?;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..2000))).await;
            ask(cluster, "resume-task", pair).await?;
        }
        "crash source" => crash_source(cluster, pair).await?,
        "crash target" => crash(&pair.target).await?,
        _ => {
            let victim = cluster.owner(&pair.id).await?;
            cluster.freeze(victim)?;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..8000))).await;
            cluster.thaw(victim)?;
        }
    }
    cluster.wait_ready().await
}

/// The answer tells of what the unit has met of late as well, as DM's does: a server that is just coming back is no
/// failure of the command.
async fn ask(cluster: &Cluster, command: &str, pair: &Pair) -> Result<()> {
    let answer = cluster.ctl(&[command, &pair.task.name]).await?;
    let done = answer.code == 0 || answer.json().is_ok_and(|json| json["result"] == true);
    ensure!(done, "{command}: {answer}");
    Ok(())
}

/// A MariaDB server does not come back when the log since its last checkpoint has a table that was made and then renamed
/// (MDEV-40728, MDEV-41152: "Tablespace … was not found"), so there is a checkpoint right before.
async fn crash(server: &Server) -> Result<()> {
    if server.flavor == Flavor::Mariadb {
        // A server that is away already is started again below.
        let _ = server.execute(&["SET GLOBAL innodb_log_checkpoint_now = 1"]).await;
    }
    server.crash_and_restart().await
}

/// MariaDB may lose an `ALTER TABLE … PARTITION` from the binlog, but not from the table, when it is killed in the
/// middle of one: such a statement must be over. All others are killed wherever they are.
async fn crash_source(cluster: &Cluster, pair: &Pair) -> Result<()> {
    if pair.source.flavor == Flavor::Mariadb {
        cluster.write("no-partitions", "")?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let sql = "SELECT COUNT(*) FROM information_schema.processlist \
                   WHERE info LIKE 'ALTER TABLE%PARTITION%' AND id <> CONNECTION_ID()";
        wait_until("no ALTER TABLE of partitions", COPY_LIMIT, async || {
            let running: u64 = pair.source.query_one(sql).await?;
            Ok(if running == 0 { Ok(()) } else { Err(format!("{running} are under way")) })
        })
        .await?;
    }
    crash(&pair.source).await?;
    match std::fs::remove_file(cluster.dir.join("no-partitions")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The last thing the source wrote has arrived; then both sides are the same.
async fn settle(cluster: &Cluster, pair: &Pair, seen: &mut Seen) -> Result<()> {
    pair.source
        .execute(&[
            &format!("CREATE TABLE {SCHEMA}.last_one (id INT PRIMARY KEY)"),
            &format!("INSERT INTO {SCHEMA}.last_one VALUES (1)"),
        ])
        .await?;
    wait_until("everything has arrived", CATCH_UP_LIMIT, async || {
        look(cluster, std::slice::from_ref(pair), seen).await?;
        let arrived = pair.target.query_one::<u64>(&format!("SELECT COUNT(*) FROM {SCHEMA}.last_one")).await;
        if matches!(arrived, Ok(1)) {
            return Ok(Ok(()));
        }
        let status = cluster.subtask(&pair.task.name, &pair.id).await;
        Ok(Err(status.map_or_else(|err| format!("{err:#}"), |status| status.to_string())))
    })
    .await?;
    let diff = cluster.diff(&pair.task.name).await?;
    let mut problems = compare::schemas(&pair.source, SCHEMA, &pair.target, SCHEMA).await?;
    for table in pair.source.tables(SCHEMA).await? {
        let show = format!("SHOW CREATE TABLE `{SCHEMA}`.`{table}`");
        let (_, at_source): (String, String) = pair.source.query_one(&show).await?;
        let at_target = pair.target.query_one::<(String, String)>(&show).await.map(|(_, create)| create);
        let at_target = at_target.unwrap_or_else(|err| format!("{err:#}"));
        if without_counter(&at_source) != without_counter(&at_target) {
            problems.push(format!("{at_source}\nagainst\n{at_target}"));
        }
    }
    ensure!(problems.is_empty(), "{}: {}\ndiff said: {diff}", pair.id, problems.join("\n"));
    ensure!(diff.code == 0, "{}: {diff}", pair.id);
    Ok(())
}

/// The next auto-increment value is not part of a table's shape.
fn without_counter(create: &str) -> String {
    create.split(' ').filter(|word| !word.starts_with("AUTO_INCREMENT=")).collect::<Vec<_>>().join(" ")
}
