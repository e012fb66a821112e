//! The copying node is killed again and again, under live writes: what was copied stays, is not read a second time, and every
//! row arrives once, whatever the key of its table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dmnode_tests::cluster::Cluster;
use dmnode_tests::compare;
use dmnode_tests::files::{SourceFile, TaskFile};
use dmnode_tests::server::{Flavor, Server};
use dmnode_tests::wait::wait_until;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const LIMIT: Duration = Duration::from_secs(120);
const SOURCE: &str = "copied";
const SCHEMA: &str = "shop";
/// Readers of the copy.
const THREADS: u64 = 2;
/// An integer key, a character key, a composite key, and none.
const TABLES: [&str; 4] = ["ints", "names", "pairs", "keyless"];

/// `2^power` rows in each table.
async fn fill(source: &Server, power: u32) -> Result<()> {
    let mut statements = vec![
        "CREATE DATABASE shop".to_owned(),
        "CREATE TABLE shop.ints (id INT PRIMARY KEY, n INT, s VARCHAR(60))".to_owned(),
        "CREATE TABLE shop.names (k VARCHAR(40) CHARACTER SET utf8mb4 PRIMARY KEY, n INT)".to_owned(),
        "CREATE TABLE shop.pairs (a INT, b DATETIME, n INT, PRIMARY KEY (a, b))".to_owned(),
        "CREATE TABLE shop.keyless (a INT, n INT)".to_owned(),
        "INSERT INTO shop.ints VALUES (0, 0, 'x')".to_owned(),
    ];
    for power in 0..power {
        statements.push(format!(
            "INSERT INTO shop.ints SELECT id + {}, 0, CONCAT('row ', id) FROM shop.ints",
            1 << power
        ));
    }
    statements.extend(
        [
            "INSERT INTO shop.names SELECT CONCAT(IF(id MOD 2, 'Key ', 'kéy '), id), 0 FROM shop.ints",
            "INSERT INTO shop.pairs SELECT IF(id MOD 4, 7, id), '2026-01-01 00:00:00' + INTERVAL id SECOND, 0 FROM shop.ints",
            "INSERT INTO shop.keyless SELECT id, 0 FROM shop.ints",
            "ANALYZE TABLE shop.ints, shop.names, shop.pairs, shop.keyless",
        ]
        .map(str::to_owned),
    );
    source.execute(&statements.iter().map(String::as_str).collect::<Vec<_>>()).await
}

/// Changes, adds, removes and moves rows until told to stop.
async fn write(source: Arc<Server>, stop: Arc<AtomicBool>, rows: u32) -> Result<u32> {
    let mut rng = StdRng::seed_from_u64(77);
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let (x, y) = (rng.random_range(0..rows), rng.random_range(0..rows));
        count += 1;
        let new = rows + count;
        let statements = [
            "BEGIN".to_owned(),
            format!("UPDATE shop.ints SET n = n + 1 WHERE id = {x}"),
            format!("UPDATE shop.names SET n = n + 1 WHERE k = CONCAT(IF({x} MOD 2, 'Key ', 'kéy '), {x})"),
            format!(
                "UPDATE shop.pairs SET n = n + 1 WHERE a = 7 AND b = '2026-01-01 00:00:00' + INTERVAL {x} SECOND"
            ),
            format!("DELETE FROM shop.ints WHERE id = {y} AND n > 0"),
            format!("INSERT INTO shop.names VALUES ('zz {new}', {x}), ('AA {new}', {y})"),
            format!(
                "UPDATE shop.pairs SET a = 8 WHERE a = 7 AND b = '2026-01-01 00:00:00' + INTERVAL {y} SECOND"
            ),
            format!("INSERT INTO shop.ints VALUES ({new}, 1, 'live'), (-{new}, 1, 'live')"),
            format!("INSERT INTO shop.keyless VALUES ({x}, {y})"),
            "COMMIT".to_owned(),
        ];
        source.execute(&statements.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    Ok(count)
}

/// A finished chunk as the plan has it: table, number, position, rows, time.
type Chunk = (String, u32, String, u64, u64, String);

async fn finished(target: &Server, plan: &str) -> Result<BTreeSet<Chunk>> {
    let sql = format!(
        "SELECT src_table, chunk, position_file, position_pos, row_count, CAST(updated_at AS CHAR) FROM {plan} WHERE done = 1"
    );
    Ok(target.query(&sql).await?.into_iter().collect())
}

/// How often each chunk was read: each has its own statement.
async fn reads(source: &Server) -> Result<BTreeMap<String, u64>> {
    let sql = "SELECT CAST(argument AS CHAR) AS statement, COUNT(*) FROM mysql.general_log \
               WHERE command_type = 'Query' AND argument LIKE 'SELECT SQL_NO_CACHE %`shop`.%' GROUP BY statement";
    Ok(source.query(sql).await?.into_iter().collect())
}

/// Kills the owner `kills` times while it copies.
async fn run(name: &str, flavor: Flavor, nodes: usize, kills: u32, power: u32, seed: u64) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(seed);
    let source = Arc::new(Server::start(flavor, &["--log-output=TABLE"]).await?);
    let target = Server::start(flavor, &["--local-infile=1", "--log-bin-trust-function-creators=1"]).await?;
    fill(&source, power).await?;
    source.execute(&["SET GLOBAL general_log = 1"]).await?;
    let mut cluster = Cluster::start(name, nodes).await?;
    cluster.create_source(&SourceFile::new(SOURCE, &source, true)).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write(Arc::clone(&source), Arc::clone(&stop), 1 << power));

    let mut task = TaskFile::new(name, "all", &target, SOURCE, SCHEMA);
    task.mydumper = format!("    threads: {THREADS}\n    rows: {}\n", (1 << power) / (30 * u64::from(kills)));
    let plan = format!("`{}`.`{name}_dmnode_chunk`", task.meta_schema());
    cluster.set_failpoint("load.after_take_over", "pause 5000")?;
    cluster.start_task(&task).await?;
    cluster.wait_failpoint("load.after_take_over", LIMIT).await?;
    // Every chunk takes a while, so that the copy is not over before it is killed.
    let slow = format!(
        "CREATE TRIGGER `{}`.slow BEFORE UPDATE ON {plan} FOR EACH ROW DO SLEEP(0.05)",
        task.meta_schema()
    );
    target.execute(&[&slow]).await?;
    ensure!(finished(&target, &plan).await?.is_empty(), "the copy began before it was slowed down");

    let mut in_copy = 0;
    let (mut read_before, mut interrupted) = (0, 0);
    let mut kept: BTreeSet<Chunk> = BTreeSet::new();
    for kill in 0..kills {
        let before = finished(&target, &plan).await?.len();
        wait_until("the copy goes on", LIMIT, async || {
            let now = finished(&target, &plan).await?.len();
            Ok(if now > before { Ok(()) } else { Err(format!("{now} chunks are done")) })
        })
        .await?;
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..700))).await;
        let owner = cluster.owner(SOURCE).await?;
        cluster.kill(owner)?;
        // What was on its way to the servers has arrived, and nobody has taken over yet.
        tokio::time::sleep(Duration::from_millis(700)).await;
        let done = finished(&target, &plan).await?;
        let read = reads(&source).await?.values().sum::<u64>();
        let planned: u64 = target.query_one(&format!("SELECT COUNT(*) FROM {plan}")).await?;
        ensure!(kept.is_subset(&done), "kill {kill}: a finished chunk is not as it was");
        // What this generation has read is finished, or was under way in one of its readers.
        let finished_now = (done.len() - kept.len()) as u64;
        let under_way = (read - read_before).checked_sub(finished_now);
        println!("{name}: kill {kill}: {} of {planned} chunks are done, {under_way:?} under way", done.len());
        let under_way = under_way.context("the source's log does not have every read")?;
        ensure!(under_way <= THREADS, "kill {kill}: {under_way} reads came to nothing");
        interrupted += under_way;
        read_before = read;
        in_copy += u32::from((done.len() as u64) < planned);
        kept = done;
        cluster.launch(owner)?;
        cluster.wait_ready().await?;
    }
    target.execute(&[&format!("DROP TRIGGER `{}`.slow", task.meta_schema())]).await?;
    cluster.wait_stage(name, SOURCE, "Running", Some("Sync"), LIMIT).await?;

    // Every chunk was read once, but for those that were being read when their reader died.
    let all = finished(&target, &plan).await?;
    ensure!(kept.is_subset(&all), "a finished chunk is not as it was");
    let reads = reads(&source).await?;
    let (statements, total) = (reads.len(), reads.values().sum::<u64>());
    println!(
        "{name}: {} chunks, {total} reads, {interrupted} of them interrupted; {in_copy} of {kills} kills came in the copy",
        all.len()
    );
    ensure!(statements == all.len(), "{statements} different reads of {} chunks", all.len());
    ensure!(total == statements as u64 + interrupted, "finished chunks were read again");
    ensure!(in_copy * 2 > kills, "too few kills came before the copy was over");
    for table in TABLES {
        ensure!(all.iter().any(|chunk| chunk.0 == table), "{table} was not copied");
    }

    stop.store(true, Ordering::Relaxed);
    let written = writer.await.context("the writer panicked")??;
    ensure!(written > 50, "only {written} transactions were written");
    compare::wait_equal(&source, SCHEMA, &target, SCHEMA, LIMIT).await?;
    let diff = cluster.diff(name).await?;
    ensure!(diff.code == 0, "{diff}");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f20_no_finished_chunk_is_read_again_after_kills() -> Result<()> {
    run("f20_kills", Flavor::Mysql, 2, 2, 14, 20_261_123).await
}

/// Ten kills of every key, by hand: `--ignored f20_ten_kills --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn f20_ten_kills_mysql() -> Result<()> {
    run("f20_ten_mysql", Flavor::Mysql, 3, 10, 16, 20_261_124).await
}

/// See [`f20_ten_kills_mysql`].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn f20_ten_kills_mariadb() -> Result<()> {
    run("f20_ten_mariadb", Flavor::Mariadb, 3, 10, 16, 20_261_125).await
}
