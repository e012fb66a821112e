//! Large transactions and large rows, within bounded memory, with progress shown. `DMNODE_LARGE_MB`,
//! `DMNODE_LARGE_ROWS` and `DMNODE_LARGE_ROW_MB` make them larger.

use std::time::{Duration, Instant};

use crate::stream_rig::StreamRig;
use crate::support::Kind;

fn given(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The memory of one must not be taken for that of the other.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

const SERVER: [&str; 4] = [
    "--max-allowed-packet=1G",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-log-file-size=256M",
    "--innodb-buffer-pool-size=256M",
];

/// Other tests of this binary may run at the same time and take memory of their own; alone it is about 40 MiB.
fn limit_kib() -> u64 {
    given("DMNODE_LARGE_LIMIT_MB", 250) << 10
}

/// Runs statements as one transaction of the source and waits for it; what was seen on the way.
async fn run(rig: &mut StreamRig, name: &str, statements: &[String], limit_kib: u64) -> u64 {
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    let before = resident_kib();
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    rig.source.execute(&statements).await;
    let started = Instant::now();
    let (mut most, mut shown, mut rows) = (before, 0, 0);
    let done = async {
        while !running.handle.is_finished() {
            most = most.max(resident_kib());
            if let Some(large) = running.status().large_transaction {
                shown += 1;
                rows = rows.max(large.rows);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            let count = rig.target.query("SELECT COUNT(*) FROM app.done").await;
            if count[0][0].as_deref() == Some("1") {
                return true;
            }
        }
        false
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(1800), done).await.expect("in time"),
        "the unit ended: {:?}",
        running.error().await
    );
    let grown = most.saturating_sub(before);
    println!(
        "{name}: {:.1} s, grown by {} MiB to {} MiB, progress seen {shown} times, up to {rows} rows",
        started.elapsed().as_secs_f64(),
        grown >> 10,
        most >> 10
    );
    assert!(grown < limit_kib, "{name}: grown by {grown} KiB");
    rig.caught_up(&mut running).await;
    running.stop().await;
    shown
}

/// INV-15.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_transaction_stays_within_its_memory() {
    let _turn = TURN.lock().await;
    let (megabytes, rows) = (given("DMNODE_LARGE_MB", 64), given("DMNODE_LARGE_ROWS", 200_000));
    let mut rig = StreamRig::with(Kind::Mariadb, &SERVER, Kind::Mariadb, &SERVER, true).await;
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.big (id INT PRIMARY KEY, n INT, pad VARBINARY(4000))",
            "CREATE TABLE app.many (id INT PRIMARY KEY, n INT)",
            "CREATE TABLE app.done (id INT)",
        ])
        .await;
    let wide = megabytes * 256;
    let statements = [
        "USE app".to_owned(),
        "BEGIN".to_owned(),
        format!("INSERT INTO app.big SELECT seq, 0, REPEAT(CHAR(seq % 256), 4000) FROM seq_1_to_{wide}"),
        "INSERT INTO app.done VALUES (1)".to_owned(),
        "COMMIT".to_owned(),
    ];
    let shown = run(&mut rig, "by bytes", &statements, limit_kib()).await;
    assert!(shown > 0, "its progress is shown");
    rig.source.execute(&["TRUNCATE TABLE app.done"]).await;
    let statements = [
        "USE app".to_owned(),
        "BEGIN".to_owned(),
        format!("INSERT INTO app.many SELECT seq, 0 FROM seq_1_to_{rows}"),
        "UPDATE app.many SET n = id WHERE id % 10 = 0".to_owned(),
        "INSERT INTO app.done VALUES (1)".to_owned(),
        "COMMIT".to_owned(),
    ];
    run(&mut rig, "by rows", &statements, limit_kib()).await;
    for sum in [
        "SELECT CONCAT(COUNT(*), ' ', SUM(CRC32(pad))) FROM app.big",
        "SELECT CONCAT(COUNT(*), ' ', SUM(n)) FROM app.many",
    ] {
        assert_eq!(rig.source.query(sum).await, rig.target.query(sum).await);
    }
}

/// F9: a row near the packet limit goes through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f09_a_huge_row_goes_through() {
    let _turn = TURN.lock().await;
    let megabytes = given("DMNODE_LARGE_ROW_MB", 16);
    let mut rig = StreamRig::with(Kind::Mariadb, &SERVER, Kind::Mariadb, &SERVER, true).await;
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.blobs (id INT PRIMARY KEY, v LONGBLOB)",
            "CREATE TABLE app.done (id INT)",
        ])
        .await;
    let statements = [
        format!("INSERT INTO app.blobs VALUES (1, REPEAT(x'00ff27', {}))", (megabytes << 20) / 3),
        "INSERT INTO app.done VALUES (1)".to_owned(),
    ];
    run(&mut rig, "one row", &statements, (megabytes << 10) * 10 + (200 << 10)).await;
    rig.source.execute(&["UPDATE app.blobs SET id = 2", "UPDATE app.blobs SET v = CONCAT(v, 'x')"]).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    let sum = "SELECT CONCAT(id, ' ', LENGTH(v), ' ', SHA2(v, 256)) FROM app.blobs";
    assert_eq!(rig.source.query(sum).await, rig.target.query(sum).await);
    running.stop().await;
}
