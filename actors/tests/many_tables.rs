//! F15: a full copy of very many small tables. The work for each of them is a few statements, whatever their number.
//!
//! The size of the promise by hand, with the time it takes:
//! `DMNODE_MANY_TABLES=10000 cargo test --workspace --features dmnode-actors/failpoints --test many_tables -- --nocapture --test-threads=1`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::time::{Duration, Instant};

use dmnode_actors::load;
use dmnode_actors::unit::UnitContext;
use dmnode_model::status::CopyProgress;
use support::rig::Rig;
use support::{Kind, Server};

const TABLES: u64 = 200;

fn table_count() -> u64 {
    std::env::var("DMNODE_MANY_TABLES").ok().and_then(|text| text.parse().ok()).unwrap_or(TABLES)
}

/// Small tables with two rows each, made on two connections.
async fn fill(source: &Server, count: u64) {
    source.execute(&["CREATE DATABASE many"]).await;
    let mut makers = tokio::task::JoinSet::new();
    for maker in 0..2 {
        let mut conn = source.connect().await;
        makers.spawn(async move {
            conn.execute("SET SESSION sql_log_bin = 0").await.unwrap();
            for number in (maker..count).step_by(2) {
                let make = format!(
                    "CREATE TABLE many.t{number:05} (id INT PRIMARY KEY, v INT NOT NULL, note VARCHAR(20), KEY (v)); \
                     INSERT INTO many.t{number:05} VALUES (1, 10, 'a'), (2, 20, NULL)"
                );
                conn.execute_many(make.into_bytes()).await.unwrap();
            }
        });
    }
    while let Some(made) = makers.join_next().await {
        made.unwrap();
    }
}

async fn questions(server: &Server) -> u64 {
    server.query("SHOW GLOBAL STATUS LIKE 'Questions'").await[0][1].as_ref().unwrap().parse().unwrap()
}

/// What the unit shows, and whether it goes only forward.
#[derive(Default)]
struct Watched {
    last: CopyProgress,
    steps: u64,
}

impl Watched {
    fn look(&mut self, ctx: &UnitContext) {
        let report = ctx.status.snapshot().1;
        let Some(now) = report.copy else { return };
        let size = serde_json::to_vec(&(&now, &report.load)).unwrap().len();
        assert!(size < 2000, "what is shown does not grow with the tables: {size} bytes");
        let last = &self.last;
        assert!(
            now.share >= last.share
                && now.rows_done >= last.rows_done
                && now.tables_done >= last.tables_done
                && now.tables_prepared >= last.tables_prepared,
            "{last:?}, then {now:?}"
        );
        self.steps += u64::from(now != *last);
        self.last = now;
    }
}

/// The copy from an empty target, or what is left of it; `until` so many tables are done.
async fn copy(rig: &Rig, epoch: u64, until: u64) -> Watched {
    let ctx = rig.context(epoch);
    let mut watched = Watched::default();
    let mut run = tokio::spawn(load::run(ctx.clone(), rig.spec()));
    loop {
        tokio::select! {
            ended = &mut run => {
                ended.unwrap().unwrap_or_else(|error| panic!("{error}"));
                watched.look(&ctx);
                return watched;
            }
            () = tokio::time::sleep(Duration::from_millis(5)) => watched.look(&ctx),
        }
        if watched.last.tables_done >= until {
            run.abort();
            let _ = (&mut run).await;
            return watched;
        }
    }
}

async fn many_tables(kind: Kind) {
    let count = table_count();
    let mut rig = Rig::new(kind, kind).await;
    rig.rows = 0;
    let started = Instant::now();
    fill(&rig.source, count).await;
    println!("{}: {count} tables made in {:?}", kind.name(), started.elapsed());
    let before = (questions(&rig.source).await, questions(&rig.target).await);
    let started = Instant::now();
    let watched = copy(&rig, 1, u64::MAX).await;
    let elapsed = started.elapsed();
    let after = (questions(&rig.source).await, questions(&rig.target).await);
    let per_table = |after: u64, before: u64| (after - before) as f64 / count as f64;
    let (at_source, in_target) = (per_table(after.0, before.0), per_table(after.1, before.1));
    println!(
        "{}: copied in {elapsed:?}, {:.1} ms a table; statements a table: source {at_source:.2}, target {in_target:.2}; \
         {} steps of progress",
        kind.name(),
        elapsed.as_secs_f64() * 1000.0 / count as f64,
        watched.steps
    );
    // Three looks at its definition, its rows between two savepoints; CREATE, LOAD, done.
    assert!(at_source < 11.0, "{at_source} statements a table at the source");
    assert!(in_target < 6.0, "{in_target} statements a table in the target");
    let end = &watched.last;
    assert_eq!(
        (end.tables_total, end.tables_done, end.rows_done, end.share),
        (count, count, 2 * count, 10_000)
    );
    assert!(watched.steps > 20, "{} steps", watched.steps);
    assert_eq!(rows(&rig).await, (count, 2 * count));

    // Once more, given up in the middle: what is done stays, nothing comes twice.
    rig.target.execute(&["DROP DATABASE many", "DROP DATABASE dm_meta"]).await;
    let interrupted = copy(&rig, 2, count / 4).await;
    let done = rig.done_chunks().await;
    assert!(interrupted.last.tables_done <= done && done < count, "{done} done");
    let resumed = copy(&rig, 3, u64::MAX).await;
    assert_eq!((resumed.last.tables_done, resumed.last.rows_done), (count, 2 * count));
    assert_eq!(rows(&rig).await, (count, 2 * count));
    assert_eq!(rig.done_chunks().await, count);
}

/// Tables in the target, and the rows in them.
async fn rows(rig: &Rig) -> (u64, u64) {
    let tables = rig
        .target
        .query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'many'")
        .await;
    let mut conn = rig.target.connect().await;
    let mut sum = 0;
    for group in tables.chunks(50) {
        let counts: Vec<String> = group
            .iter()
            .map(|row| format!("(SELECT COUNT(*) FROM many.{})", row[0].as_ref().unwrap()))
            .collect();
        let row = conn.query_one(format!("SELECT {}", counts.join(" + "))).await.unwrap();
        sum += row.unwrap().u64(0).unwrap();
    }
    (tables.len() as u64, sum)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f15_many_tables_of_mysql() {
    many_tables(Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f15_many_tables_of_mariadb() {
    many_tables(Kind::Mariadb).await;
}
