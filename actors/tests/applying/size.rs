//! Large transactions and large rows, within bounded memory, with progress shown. `DMNODE_LARGE_MB`,
//! `DMNODE_LARGE_ROWS` and `DMNODE_LARGE_ROW_MB` make them larger.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dmnode_model::config::SafeModeWindow;

use crate::stream_rig::StreamRig;
use crate::support::Kind;
use crate::support::rig::Rig;

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

/// As [`SERVER`], for both kinds.
fn server(kind: Kind) -> Vec<&'static str> {
    let redo = match kind {
        Kind::Mariadb => "--innodb-log-file-size=512M",
        Kind::Mysql => "--innodb-redo-log-capacity=1G",
    };
    vec!["--max-allowed-packet=1G", "--innodb-flush-log-at-trx-commit=0", "--local-infile=ON", redo]
}

const SUMS: &str = "SELECT CONCAT(id, ' ', LENGTH(v), ' ', SHA2(v, 256)) FROM app.blobs";

/// F9: a row near the packet limit goes through, within a few times its size.
async fn huge_row(from: Kind, to: Kind, megabytes: u64) {
    let _turn = TURN.lock().await;
    let megabytes = given("DMNODE_LARGE_ROW_MB", megabytes);
    // The event, the parameter made of its value, and two protocol frames of 16 MiB with what the allocator keeps of them.
    let limit = (megabytes << 10) * 3 + (96 << 10);
    let mut rig = StreamRig::with(from, &server(from), to, &server(to), true).await;
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
    run(&mut rig, "one row", &statements, limit).await;
    rig.source.execute(&["UPDATE app.blobs SET id = 2", "TRUNCATE TABLE app.done"]).await;
    let statements =
        ["UPDATE app.blobs SET v = CONCAT(v, 'x')".to_owned(), "INSERT INTO app.done VALUES (1)".to_owned()];
    // An update has both images.
    run(&mut rig, "one update", &statements, limit + (megabytes << 10)).await;
    assert_eq!(rig.source.query(SUMS).await, rig.target.query(SUMS).await);

    rig.source.execute(&["INSERT INTO app.blobs SELECT id + 1, v FROM app.blobs"]).await;
    let mut copy = Rig {
        source: rig.source,
        target: rig.target,
        task: "block-allow-list:\n  b:\n    do-dbs: [app]\n".to_owned(),
        rows: 5000,
        instance: "    block-allow-list: b\n".to_owned(),
        source_user: "root",
        target_user: "root",
    };
    for infile in [1, 0] {
        let infile = format!("SET GLOBAL local_infile = {infile}");
        copy.target.execute(&["DROP DATABASE app", "DROP DATABASE IF EXISTS dm_meta", infile.as_str()]).await;
        let (before, most) = (resident_kib(), AtomicU64::new(0));
        let watch = async {
            loop {
                most.fetch_max(resident_kib(), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            loaded = copy.load(1) => drop(loaded.unwrap_or_else(|error| panic!("{error}"))),
            () = watch => {}
        }
        let grown = most.into_inner().saturating_sub(before);
        println!("copy, {infile}: grown by {} MiB", grown >> 10);
        assert!(grown < limit, "{infile}: grown by {grown} KiB");
        assert_eq!(copy.source.query(SUMS).await, copy.target.query(SUMS).await, "{infile}");
    }
    copy.task.clear();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f09_a_huge_row_goes_through_into_mysql() {
    huge_row(Kind::Mariadb, Kind::Mysql, 64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f09_a_huge_row_goes_through_into_mariadb() {
    huge_row(Kind::Mysql, Kind::Mariadb, 20).await;
}

/// Long values of every kind, through the binlog: as parameters, with the bytes they have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_values_keep_their_bytes() {
    for kind in [Kind::Mariadb, Kind::Mysql] {
        let mut rig = StreamRig::with(kind, &server(kind), kind, &server(kind), true).await;
        let columns = "v LONGBLOB, a LONGTEXT CHARACTER SET latin1, g LONGTEXT CHARACTER SET gbk, \
                       w LONGTEXT CHARACTER SET utf16, u LONGTEXT CHARACTER SET utf8mb4, j JSON, \
                       e ENUM('x', 'y') CHARACTER SET latin1";
        let values = "REPEAT(x'5cff0027', 300000), REPEAT(_latin1 x'5ce427', 400000), \
                      REPEAT(_gbk x'd55c27', 400000), REPEAT(_utf16 x'd83dde000027', 200000), \
                      REPEAT('名\\'\\\\', 250000), CONCAT('[\"', REPEAT('名', 400000), '\"]')";
        rig.source
            .execute(&[
                "SET NAMES utf8mb4",
                "CREATE DATABASE app",
                &format!("CREATE TABLE app.`ke:y'ed ?` (id INT PRIMARY KEY, {columns}, UNIQUE (a(10)))"),
                &format!("CREATE TABLE app.keyless (id INT, {columns})"),
            ])
            .await;
        let mut running = rig.start();
        rig.caught_up(&mut running).await;
        for table in ["app.`ke:y'ed ?`", "app.keyless"] {
            rig.source
                .execute(&[
                    "SET NAMES utf8mb4",
                    "SET sql_mode = ''",
                    &format!("INSERT INTO {table} VALUES (1, {values}, 'x'), (2, '', 'b', '', '', '', '[]', 'y')"),
                    // The error value of an ENUM needs a lenient statement.
                    &format!("INSERT INTO {table} SELECT 3, v, 'c', g, w, u, j, '' FROM {table} WHERE id = 1"),
                    &format!("INSERT INTO {table} SELECT 4, v, 'd', g, w, u, j, 'y' FROM {table} WHERE id = 1"),
                    &format!("UPDATE {table} SET v = CONCAT('x', v), a = CONCAT('y', a), w = NULL, e = 'y' WHERE id = 1"),
                    &format!("UPDATE {table} SET id = 5, j = '[]' WHERE id = 4"),
                    &format!("DELETE FROM {table} WHERE id = 3"),
                ])
                .await;
        }
        rig.caught_up(&mut running).await;
        rig.assert_equal().await;
        assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.keyless").await, 3);
        running.stop().await;
    }
}

/// A long value in a row that a strict session would refuse for what the target computes from another column, and with an
/// error value of an ENUM: by the copy (without LOAD DATA), by the stream, and in safe mode.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_rows_of_computed_tables_are_taken() {
    const TABLE: &str = "CREATE TABLE app.c (id INT PRIMARY KEY, s VARCHAR(20), v LONGBLOB, e ENUM('x', 'y'), \
                         g INT AS (CAST(s AS SIGNED)) STORED)";
    for kind in [Kind::Mariadb, Kind::Mysql] {
        let mut settings = server(kind);
        settings.push("--local-infile=0");
        let copy = Rig::with(kind, &server(kind), kind, &settings).await;
        let rows = [
            "SET sql_mode = ''",
            "INSERT INTO app.c (id, s, v, e) VALUES (1, 'one', REPEAT('a', 2000000), 'x'), (2, '2', REPEAT('b', 2000000), '')",
            "INSERT INTO app.c (id, s, v, e) VALUES (3, 'three', 'c', ''), (4, '4', REPEAT('d', 2000000), 'y')",
        ];
        copy.source.execute(&["CREATE DATABASE app", TABLE]).await;
        copy.source.execute(&rows).await;
        copy.load(1).await.unwrap_or_else(|error| panic!("{error}"));
        copy.assert_equal(&[("app", "c", "app", "c")]).await;
        assert_eq!(copy.target.number("SELECT COUNT(*) FROM app.c WHERE e = 0").await, 2);

        let mut rig = StreamRig::with(kind, &server(kind), kind, &server(kind), true).await;
        rig.source.execute(&["CREATE DATABASE app", TABLE]).await;
        let mut running = rig.start();
        rig.source.execute(&rows).await;
        rig.source
            .execute(&[
                "SET sql_mode = ''",
                "UPDATE app.c SET s = 'eins', v = CONCAT(v, 'x'), e = '' WHERE id IN (1, 4)",
                "UPDATE app.c SET s = 'zwei' WHERE id = 2",
                "DELETE FROM app.c WHERE id = 4",
            ])
            .await;
        rig.caught_up(&mut running).await;
        rig.assert_equal().await;
        assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.c WHERE e = 0").await, 3);
        running.stop().await;

        // A row in the way is replaced, not refused.
        rig.safe_mode_window = Some(SafeModeWindow { duration: Duration::from_secs(600), request: 5 });
        rig.target.execute(&["INSERT INTO app.c (id, s, v) VALUES (5, '7', 'old'), (6, '7', 'old')"]).await;
        let mut running = rig.start();
        rig.source
            .execute(&[
                "SET sql_mode = ''",
                "INSERT INTO app.c (id, s, v, e) VALUES (5, 'five', REPEAT('e', 2000000), ''), (6, 'six', 'f', 'x')",
            ])
            .await;
        rig.caught_up(&mut running).await;
        rig.assert_equal().await;
        running.stop().await;
    }
}
