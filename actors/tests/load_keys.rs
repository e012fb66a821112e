//! Tables with keys of every kind are cut into chunks of about equal numbers of rows; interrupted, changed and continued,
//! they arrive row for row, and no finished chunk is read again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use dmnode_actors::subtask;
use support::rig::Rig;
use support::{Kind, Server};

/// Rows that are asked for in a chunk.
const ROWS: u64 = 400;
/// Tables with the columns of their keys, and how many of these are needed to cut them.
const TABLES: [(&str, &str, usize); 11] = [
    // Four fifths of the rows share the first column.
    ("heavy", "tenant, id", 2),
    // Most keys are next to each other, the others as far away as can be.
    ("sparse", "id", 1),
    ("price", "a", 1),
    // Dates that do not exist among them.
    ("moments", "at, who", 2),
    ("stamps", "at", 1),
    ("hashes", "h", 1),
    ("paths", "p", 1),
    // A key that is not the primary one.
    ("uniques", "u", 1),
    // Only the source knows the order of these.
    ("names", "k", 1),
    ("codes", "tenant, code", 2),
    // No key: one chunk.
    ("keyless", "", 0),
];

async fn fill(server: &Server) {
    let mut statements: Vec<String> = [
        "CREATE DATABASE k",
        "USE k",
        "CREATE TABLE k.seq (i INT PRIMARY KEY)",
        "CREATE TABLE k.heavy (tenant INT, id BIGINT UNSIGNED, n INT, PRIMARY KEY (tenant, id))",
        "CREATE TABLE k.sparse (id BIGINT PRIMARY KEY, n INT)",
        "CREATE TABLE k.price (a DECIMAL(24,4) PRIMARY KEY, n INT)",
        "CREATE TABLE k.moments (at DATETIME(3), who VARBINARY(16), n INT, PRIMARY KEY (at, who))",
        "CREATE TABLE k.stamps (at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), n INT, PRIMARY KEY (at))",
        "CREATE TABLE k.hashes (h BINARY(16) PRIMARY KEY, n INT)",
        "CREATE TABLE k.paths (p VARBINARY(60) PRIMARY KEY, n INT)",
        "CREATE TABLE k.uniques (v INT, u INT UNSIGNED NOT NULL, n INT, UNIQUE KEY (u))",
        "CREATE TABLE k.names (k VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci PRIMARY KEY, n INT)",
        "CREATE TABLE k.codes (tenant INT, code CHAR(20) CHARACTER SET latin1 COLLATE latin1_german2_ci, n INT, PRIMARY KEY (tenant, code))",
        "CREATE TABLE k.keyless (a INT, n INT)",
        "INSERT INTO k.seq VALUES (0)",
    ]
    .map(str::to_owned)
    .to_vec();
    for power in 0..12 {
        statements.push(format!("INSERT INTO k.seq SELECT i + {} FROM k.seq", 1 << power));
    }
    statements.extend(
        [
            "INSERT INTO k.heavy SELECT IF(i MOD 5 = 0, i, 777), i * 3, 0 FROM k.seq",
            "INSERT INTO k.sparse SELECT CASE WHEN i < 3000 THEN i WHEN i < 3500 THEN -9223372036854775807 + i * 1000000007 \
             ELSE 9223372036854775807 - i * 1000000000007 END, 0 FROM k.seq",
            "INSERT INTO k.price SELECT (i - 1000) * 1000003.0625, 0 FROM k.seq",
            "INSERT INTO k.moments SELECT IF(i MOD 40 = 0, '0000-00-00', '2020-02-29 23:59:59.5' + INTERVAL (i DIV 8) * 77.123 SECOND), \
             UNHEX(CONCAT(LPAD(HEX(i), 4, '0'), SUBSTR(SHA2(i, 256), 1, 2 * (i MOD 10)))), 0 FROM k.seq WHERE i > 0",
            "INSERT INTO k.stamps SELECT '2001-03-04 05:06:07' + INTERVAL i * 100000.000017 SECOND, 0 FROM k.seq",
            "INSERT INTO k.hashes SELECT UNHEX(CONCAT(SUBSTR(SHA2(i, 256), 1, 16 + 2 * (i MOD 5)), '00')), 0 FROM k.seq",
            "INSERT INTO k.paths SELECT CONCAT('/a/', REPEAT(CHAR(i MOD 7), i MOD 5), i), 0 FROM k.seq",
            "INSERT INTO k.uniques SELECT i, 4294967295 - i, 0 FROM k.seq",
            "INSERT INTO k.names SELECT CONCAT(ELT(1 + i MOD 8, 'Zo', 'ñu', 'zó', 'straße ', 'AE', 'Ærø', '名', '_ '), i), 0 FROM k.seq",
            "INSERT INTO k.codes SELECT i MOD 3, CONCAT(ELT(1 + i MOD 5, 'a', 'Ä', 'ae', 'ß', 'z'), i), 0 FROM k.seq",
            "INSERT INTO k.keyless SELECT i MOD 50, 0 FROM k.seq",
        ]
        .map(str::to_owned),
    );
    statements.extend(TABLES.map(|(table, _, _)| format!("ANALYZE TABLE k.{table}")));
    // Dates that do not exist are let in by a session without its modes.
    let mut conn = server.connect().await;
    for sql in statements {
        conn.query(sql.as_str()).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// Changes, removes and adds rows everywhere, and moves some to other ends of their keys.
async fn change(server: &Server, round: u32) {
    let mut conn = server.connect().await;
    let mut statements: Vec<String> =
        TABLES.iter().map(|(table, ..)| format!("UPDATE k.{table} SET n = n + 1 + n * {round}")).collect();
    statements.extend([
        format!("DELETE FROM k.heavy WHERE id MOD 13 = {round}"),
        format!("UPDATE k.heavy SET tenant = tenant + 1 WHERE id MOD 17 = {round}"),
        format!("INSERT INTO k.heavy SELECT 777, 1000000000000 + i * 10 + {round}, 5 FROM k.seq WHERE i < 50"),
        format!("UPDATE k.sparse SET id = -id - 1 WHERE id BETWEEN {round} * 100 AND {round} * 100 + 90"),
        format!("UPDATE k.price SET a = -a - 0.5 WHERE a BETWEEN {round}00000000.0 AND {round}90000000.0"),
        format!("INSERT INTO k.price SELECT i + 0.000{round}, 7 FROM k.seq WHERE i < 70"),
        format!("UPDATE k.moments SET at = '2020-03-02 10:00:00.001', who = CONCAT(who, '{round}') WHERE n MOD 7 = {round} LIMIT 60"),
        format!("DELETE FROM k.moments WHERE at = '0000-00-00' AND LENGTH(who) = {round}"),
        format!("UPDATE k.stamps SET at = at + INTERVAL 3000 DAY WHERE MICROSECOND(at) BETWEEN {round}000 AND {round}999"),
        format!("UPDATE k.hashes SET h = REVERSE(h) WHERE h < CHAR({round} * 8)"),
        format!("INSERT INTO k.paths SELECT CONCAT('/a/', i, CHAR(0), {round}), 9 FROM k.seq WHERE i < 99"),
        format!("UPDATE k.paths SET p = CONCAT(CHAR({round}), p) WHERE p LIKE '/a/{round}%'"),
        format!("UPDATE k.uniques SET u = v + {round} * 10000 WHERE v MOD 29 = {round}"),
        format!("UPDATE k.names SET k = CONCAT(ELT(1 + n MOD 3, 'ÿ', '0', 'm'), ' {round} ', k) WHERE k LIKE 'zo{round}%' OR k LIKE 'ae{round}%'"),
        format!("INSERT INTO k.names SELECT CONCAT('ZÓ ', i, ' {round}'), 4 FROM k.seq WHERE i < 60"),
        format!("UPDATE k.codes SET code = CONCAT('Ö{round}', code) WHERE code LIKE 'ä{round}%'"),
        format!("DELETE FROM k.codes WHERE code LIKE 'z%{round}'"),
        format!("DELETE FROM k.keyless WHERE a = {round} LIMIT 3"),
    ]);
    for sql in statements {
        conn.query(sql.as_str()).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// What the plan says of finished chunks.
async fn finished(rig: &Rig) -> Vec<Vec<Option<String>>> {
    rig.chunks().await.into_iter().filter(|row| row[2].as_deref() == Some("1")).collect()
}

async fn every_key_is_cut(kind: Kind) {
    let mut rig = Rig::new(kind, kind).await;
    rig.rows = ROWS;
    fill(&rig.source).await;
    let spec = rig.spec();
    let start = |epoch| {
        tokio::spawn(subtask::run(rig.context(epoch), Arc::clone(&spec.source), Arc::clone(&spec.subtask)))
    };
    let mut kept = Vec::new();
    for round in 1..4 {
        let unit = start(u64::from(round));
        let limit = Instant::now() + Duration::from_secs(60);
        while rig.done_chunks().await < u64::from(round) * 20 && !unit.is_finished() {
            assert!(Instant::now() < limit, "no chunk in a minute");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        unit.abort();
        if let Ok(ended) = unit.await {
            panic!("{ended:?}");
        }
        kept = finished(&rig).await;
        change(&rig.source, round).await;
    }
    let unit = start(4);
    let limit = Instant::now() + Duration::from_secs(90);
    let sums = async |server: &Server| {
        let sums = TABLES.map(|(table, ..)| format!("(SELECT CONCAT(COUNT(*), ' ', SUM(n)) FROM k.{table})"));
        let mut conn = server.connect().await;
        let row = conn.query_one(&format!("SELECT CONCAT_WS(',', {})", sums.join(", "))).await;
        row.ok().flatten().and_then(|row| row.string(0))
    };
    let wanted = sums(&rig.source).await;
    while sums(&rig.target).await != wanted {
        assert!(!unit.is_finished(), "{:?}", unit.await);
        assert!(Instant::now() < limit, "{wanted:?} / {:?}", sums(&rig.target).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let pairs = TABLES.map(|(table, ..)| ("k", table, "k", table));
    rig.assert_equal(&pairs).await;
    unit.abort();
    let all = finished(&rig).await;
    for row in &kept {
        assert!(all.contains(row), "a finished chunk was read again: {row:?}");
    }
    let positions = "SELECT COUNT(DISTINCT position_file, position_pos) FROM dm_meta.t_dmnode_chunk";
    assert!(rig.target.number(positions).await >= 3, "all rounds have copied something");
    for (table, columns, parts) in TABLES {
        let of_table = format!("FROM dm_meta.t_dmnode_chunk WHERE src_table = '{table}'");
        let chunks = rig.target.number(&format!("SELECT COUNT(*) {of_table}")).await;
        let most = rig.target.number(&format!("SELECT MAX(row_count) {of_table}")).await;
        if parts == 0 {
            assert_eq!(chunks, 1, "{table}");
            continue;
        }
        assert!((5..40).contains(&chunks), "{table} ({columns}): {chunks} chunks");
        assert!(most < 5 * ROWS, "{table} ({columns}): {most} rows in a chunk");
        let key = rig.target.query(&format!("SELECT MAX(key_column) {of_table}")).await;
        let key = key[0][0].clone().unwrap();
        assert!(columns.split(", ").take(parts).all(|column| key.contains(column)), "{table}: {key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn f20_every_key_is_cut_and_continued_mysql() {
    every_key_is_cut(Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn f20_every_key_is_cut_and_continued_mariadb() {
    every_key_is_cut(Kind::Mariadb).await;
}
