//! Speed and memory of the full copy. Run by hand: `cargo test -p dmnode-actors --test load_speed -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::time::Instant;

use support::Kind;
use support::rig::Rig;

/// log2 of the rows.
const ROWS: u32 = 20;

fn proc_number(file: &str, key: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// CPU time of this process in milliseconds.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
}

async fn measure(kind: Kind) {
    let mut rig = Rig::new(kind, kind).await;
    rig.rows = 0;
    rig.source
        .execute(&[
            "CREATE DATABASE sb",
            "CREATE TABLE sb.t (id INT PRIMARY KEY AUTO_INCREMENT, k INT NOT NULL, c CHAR(120) NOT NULL, p CHAR(60) NOT NULL, KEY (k))",
            "INSERT INTO sb.t (k, c, p) VALUES (1, REPEAT('0123456789-', 10), REPEAT('abcdefghij-', 5))",
        ])
        .await;
    for _ in 0..ROWS {
        rig.source.execute(&["INSERT INTO sb.t (k, c, p) SELECT RAND() * 1000000, c, p FROM sb.t"]).await;
    }
    rig.source.execute(&["ANALYZE TABLE sb.t"]).await;
    let (started, cpu) = (Instant::now(), cpu_ms());
    rig.load(1).await.unwrap_or_else(|error| panic!("{error}"));
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_ms() - cpu);
    let rows = f64::from(1 << ROWS);
    println!(
        "{}: {rows} rows in {seconds:.1} s: {:.0} rows/s, {:.2} us CPU per row, peak {} MB",
        kind.name(),
        rows / seconds,
        cpu as f64 * 1000.0 / rows,
        proc_number("/proc/self/status", "VmHWM") / 1024
    );
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM sb.t").await, 1 << ROWS);
    assert!(proc_number("/proc/self/status", "VmHWM") < 150 * 1024, "memory is bounded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn mysql() {
    measure(Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn mariadb() {
    measure(Kind::Mariadb).await;
}
