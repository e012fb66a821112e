//! Conflicting transactions from several connections, applied by sixteen: whatever the keys, the target ends as the
//! source did. The seed is fixed; `DMNODE_TEST_SEED=N` gives other statements.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::stream_rig::StreamRig;
use crate::support::{Kind, Server};

const WRITERS: u64 = 5;
const TIME: Duration = Duration::from_secs(6);

const SCHEMA: &[&str] = &[
    "CREATE DATABASE app",
    // Case, accents and blanks at the end in unique keys; NULLs.
    "CREATE TABLE app.ci (id INT PRIMARY KEY, name VARCHAR(20) COLLATE utf8mb4_general_ci NULL, opt INT NULL, UNIQUE KEY (name), UNIQUE KEY (opt)) CHARSET utf8mb4",
    "CREATE TABLE app.uca (name VARCHAR(20) COLLATE utf8mb4_unicode_ci PRIMARY KEY, n INT) CHARSET utf8mb4",
    "CREATE TABLE app.bin (name VARCHAR(20) COLLATE utf8mb4_bin PRIMARY KEY, n INT) CHARSET utf8mb4",
    "CREATE TABLE app.latin (name CHAR(10) PRIMARY KEY, n INT) CHARSET latin1",
    // Prefixes, generated columns.
    "CREATE TABLE app.prefix (id INT PRIMARY KEY, t TEXT, b BLOB, UNIQUE KEY (t(3)), UNIQUE KEY (b(2))) CHARSET utf8mb4",
    "CREATE TABLE app.gen (id INT PRIMARY KEY, a INT, g INT GENERATED ALWAYS AS (a % 7) STORED, UNIQUE KEY (g))",
    // Two columns, other types.
    "CREATE TABLE app.pair (a DECIMAL(6,2), b DATETIME(3), n INT, UNIQUE KEY (n), PRIMARY KEY (a, b))",
    "CREATE TABLE app.keyless (a INT, b VARCHAR(10)) CHARSET utf8mb4",
    // Foreign keys with and without actions.
    "CREATE TABLE app.p (id INT PRIMARY KEY, v INT)",
    "CREATE TABLE app.c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES app.p (id) ON DELETE CASCADE ON UPDATE CASCADE)",
    "CREATE TABLE app.d (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES app.p (id) ON DELETE SET NULL)",
];
/// Only MySQL has keys over expressions.
const MYSQL: &[&str] = &[
    "CREATE TABLE app.func (id INT PRIMARY KEY, a INT, UNIQUE KEY ((a % 7)))",
    "CREATE TABLE app.nopad (name VARCHAR(20) COLLATE utf8mb4_0900_ai_ci PRIMARY KEY, n INT) CHARSET utf8mb4",
];
const MARIADB: &[&str] = &[
    "CREATE TABLE app.func (id INT PRIMARY KEY, a INT, g INT GENERATED ALWAYS AS (a % 7) VIRTUAL, UNIQUE KEY (g))",
    "CREATE TABLE app.nopad (name VARCHAR(20) COLLATE utf8mb4_nopad_bin PRIMARY KEY, n INT) CHARSET utf8mb4",
];

/// Names that are equal to one another under one collation and not under another.
const NAMES: [&str; 14] = ["a", "A", "ä", "á", "a ", "b", "B ", "ss", "ß", "SS", "æ", "ae", "Æ", "c"];

fn statement(rng: &mut StdRng) -> String {
    let id = rng.random_range(0..8);
    let other = rng.random_range(0..8);
    let n = rng.random_range(0..1000);
    let name = NAMES[rng.random_range(0..NAMES.len())];
    let new = NAMES[rng.random_range(0..NAMES.len())];
    let named = ["uca", "bin", "latin", "nopad"][rng.random_range(0..4)];
    // What latin1 lacks is left to the others.
    let named =
        if named == "latin" && (name.starts_with('Æ') || new.starts_with('Æ')) { "bin" } else { named };
    let maybe = if rng.random_bool(0.3) { "NULL".to_owned() } else { format!("'{name}'") };
    let opt = if rng.random_bool(0.3) { "NULL".to_owned() } else { other.to_string() };
    match rng.random_range(0..26) {
        0 | 1 => format!("INSERT INTO app.ci VALUES ({id}, {maybe}, {opt})"),
        2 => format!("UPDATE app.ci SET name = {maybe} WHERE id = {id}"),
        3 => format!("UPDATE app.ci SET opt = {opt} WHERE id = {id}"),
        4 => format!("DELETE FROM app.ci WHERE id = {id}"),
        5 => format!("UPDATE app.ci SET id = {id} WHERE id = {other}"),
        6 | 7 => format!("INSERT INTO app.{named} VALUES ('{name}', {n})"),
        8 => format!("UPDATE app.{named} SET name = '{new}', n = {n} WHERE name = '{name}'"),
        9 => format!("DELETE FROM app.{named} WHERE name = '{name}'"),
        10 => format!("INSERT INTO app.prefix VALUES ({id}, '{name}{new}{name}', x'0{other}0{id}{n:04}')"),
        11 => format!("UPDATE app.prefix SET t = CONCAT('{new}', t) WHERE id = {id}"),
        12 => format!("DELETE FROM app.prefix WHERE id = {id}"),
        13 => format!("INSERT INTO app.gen (id, a) VALUES ({id}, {n})"),
        14 => format!("UPDATE app.gen SET a = {n} WHERE id = {id}"),
        15 => format!("DELETE FROM app.gen WHERE id = {id}"),
        16 => format!("INSERT INTO app.func (id, a) VALUES ({id}, {n})"),
        17 => format!("UPDATE app.func SET a = {n} WHERE id = {id}"),
        18 => format!("DELETE FROM app.func WHERE id = {id}"),
        19 => format!("INSERT INTO app.pair VALUES ({id}.{other}, '2026-01-01 00:00:00.{other}', {n} % 9)"),
        20 => format!("UPDATE app.pair SET n = {n} % 9, a = a + 1 WHERE n = {id}"),
        21 => format!("INSERT INTO app.keyless VALUES ({id}, '{name}')"),
        22 => format!("UPDATE app.keyless SET a = {other} WHERE a = {id} ORDER BY b LIMIT 1"),
        23 => format!("DELETE FROM app.keyless WHERE a = {id} ORDER BY b LIMIT 1"),
        24 => match rng.random_range(0..4) {
            0 => format!("INSERT INTO app.p VALUES ({id}, {n})"),
            1 => format!("UPDATE app.p SET id = {other} WHERE id = {id}"),
            2 => format!("UPDATE app.p SET v = {n} WHERE id = {id}"),
            _ => format!("DELETE FROM app.p WHERE id = {id}"),
        },
        _ => {
            let child = ["c", "d"][rng.random_range(0..2)];
            match rng.random_range(0..3) {
                0 => format!("INSERT INTO app.{child} VALUES ({n} % 20, {id})"),
                1 => format!("UPDATE app.{child} SET p = {id} WHERE id = {n} % 20"),
                _ => format!("DELETE FROM app.{child} WHERE id = {n} % 20"),
            }
        }
    }
}

/// Whatever the source refuses is not done there either; a transaction it rolled back is gone.
async fn write(server: &Server, seed: u64) -> u64 {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut conn = server.connect().await;
    conn.execute("SET SESSION innodb_lock_wait_timeout = 1").await.unwrap();
    let started = Instant::now();
    let mut transactions = 0;
    while started.elapsed() < TIME {
        conn.execute("BEGIN").await.unwrap();
        if rng.random_bool(0.15) {
            // Two rows change their keys, by way of a third.
            let (a, b) = (rng.random_range(0..8), rng.random_range(0..8));
            for sql in [
                format!("UPDATE app.ci SET id = 99, opt = NULL WHERE id = {a}"),
                format!("UPDATE app.ci SET id = {a} WHERE id = {b}"),
                format!("UPDATE app.ci SET id = {b} WHERE id = 99"),
                "DELETE FROM app.ci WHERE id = 99".to_owned(),
            ] {
                let _ = conn.execute(sql).await;
            }
        }
        for _ in 0..rng.random_range(1..8) {
            let sql = statement(&mut rng);
            if let Err(error) = conn.execute(&sql).await {
                assert!(
                    matches!(error.code(), Some(1062 | 1205 | 1213 | 1452 | 1451 | 1020 | 1761)),
                    "{sql}: {error}"
                );
            }
        }
        let end = if rng.random_bool(0.1) { "ROLLBACK" } else { "COMMIT" };
        conn.execute(end).await.unwrap();
        transactions += 1;
    }
    transactions
}

async fn conflicting(from: Kind, to: Kind) {
    let given = std::env::var("DMNODE_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = given.unwrap_or(20_261_122);
    let mut rig = StreamRig::new(from, to, true).await;
    rig.workers = 16;
    rig.source.execute(SCHEMA).await;
    rig.source.execute(if from == Kind::Mysql { MYSQL } else { MARIADB }).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    let writers = (0..WRITERS).map(|number| write(&rig.source, seed.wrapping_add(number)));
    let transactions: u64 = futures_util::future::join_all(writers).await.into_iter().sum();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    println!("{transactions} transactions");
    running.stop().await;
    // Not merged, each change on its own: the same.
    rig.sync = vec!["compact: false", "multiple-rows: false", "batch: 7"];
    let mut running = rig.start();
    write(&rig.source, !seed).await;
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conflicts_keep_their_order_mariadb() {
    conflicting(Kind::Mariadb, Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conflicts_keep_their_order_mysql() {
    conflicting(Kind::Mysql, Kind::Mysql).await;
}
