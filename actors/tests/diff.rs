//! The comparison on real servers: equal data of every type gives no difference on every pair of servers, and an
//! injected difference in any type is found and named.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::time::Duration;

use dmnode_actors::diff::{self, DiffParams};
use dmnode_model::api::{DiffEvent, DiffKind, DiffRow, DiffSummary};
use dmnode_model::config::{SourceConfig, SubtaskConfig, TaskConfig};
use dmnode_model::error::CodedError;
use dmnode_model::ids::SourceId;
use support::{Kind, Server};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Column, type, a value, another value of it that must be told apart.
const TYPES: &[(&str, &str, &str, &str)] = &[
    ("c_tinyint", "TINYINT", "-128", "-127"),
    ("c_utinyint", "TINYINT UNSIGNED ZEROFILL", "7", "8"),
    ("c_smallint", "SMALLINT", "-32768", "32767"),
    ("c_mediumint", "MEDIUMINT", "-8388608", "8388607"),
    ("c_int", "INT", "-2147483648", "2147483647"),
    ("c_bigint", "BIGINT", "-9223372036854775808", "-9223372036854775807"),
    ("c_ubigint", "BIGINT UNSIGNED", "18446744073709551615", "18446744073709551614"),
    (
        "c_decimal",
        "DECIMAL(65,30)",
        "12345678901234567890123456789012345.000000000000000000000000000001",
        "12345678901234567890123456789012345.000000000000000000000000000002",
    ),
    ("c_udecimal", "DECIMAL(10,2) UNSIGNED ZEROFILL", "1.50", "1.51"),
    ("c_float", "FLOAT", "0.1", "0.10000001"),
    ("c_float_small", "FLOAT", "-1.1754944e-38", "-1.1754945e-38"),
    ("c_float_tiny", "FLOAT", "1.4e-45", "0"),
    ("c_float_plain", "FLOAT", "-0.000012345679", "-0.000012345678"),
    ("c_float_big", "FLOAT", "3.4028e38", "3.4027e38"),
    ("c_double", "DOUBLE", "0.1", "0.10000000000000002"),
    ("c_double_big", "DOUBLE", "-1.7976931348623157e308", "1e300"),
    ("c_double_long", "DOUBLE", "-1.2345678901234568e-300", "-1.2345678901234566e-300"),
    ("c_double_small", "DOUBLE", "5e-324", "1e-323"),
    ("c_bit1", "BIT(1)", "b'1'", "b'0'"),
    ("c_bit64", "BIT(64)", "0xFFFFFFFFFFFFFFFF", "0xFFFFFFFFFFFFFFFE"),
    ("c_year", "YEAR", "1901", "2155"),
    ("c_date", "DATE", "'1000-01-01'", "'9999-12-31'"),
    ("c_zero_date", "DATE", "'0000-00-00'", "'2020-01-00'"),
    ("c_time", "TIME", "'-838:59:59'", "'838:59:59'"),
    ("c_time6", "TIME(6)", "'-00:00:00.000001'", "'00:00:00.000001'"),
    ("c_datetime", "DATETIME", "'0000-00-00 00:00:00'", "'9999-12-31 23:59:59'"),
    ("c_datetime6", "DATETIME(6)", "'2020-02-29 12:00:00.123456'", "'2020-02-29 12:00:00.123457'"),
    ("c_timestamp", "TIMESTAMP NULL", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"),
    ("c_timestamp3", "TIMESTAMP(3) NULL", "'2020-02-29 12:00:00.123'", "'2020-02-29 12:00:00.124'"),
    ("c_char", "CHAR(20) CHARACTER SET utf8mb4", "'a'", "'A'"),
    ("c_char_space", "VARCHAR(20) CHARACTER SET utf8mb4", "'a'", "'a '"),
    ("c_varchar", "VARCHAR(100) CHARACTER SET utf8mb4", "'héllo 🎉'", "'hello 🎉'"),
    (
        "c_long_varchar",
        "VARCHAR(5000) CHARACTER SET utf8mb4",
        "REPEAT('é', 5000)",
        "CONCAT(REPEAT('é', 4999), 'e')",
    ),
    ("c_latin1", "VARCHAR(100) CHARACTER SET latin1", "'naïve'", "'naive'"),
    ("c_gbk", "VARCHAR(100) CHARACTER SET gbk", "'你好'", "'你'"),
    ("c_utf16", "VARCHAR(100) CHARACTER SET utf16", "'ß🎉'", "'ss🎉'"),
    ("c_ascii", "CHAR(36) CHARACTER SET ascii COLLATE ascii_bin", "'x'", "'X'"),
    ("c_text", "TEXT CHARACTER SET utf8mb4", "'a,b#n'", "'a,b#v'"),
    (
        "c_longtext",
        "LONGTEXT CHARACTER SET utf8mb4",
        "REPEAT('xy', 400000)",
        "CONCAT(REPEAT('xy', 399999), 'xz')",
    ),
    ("c_binary", "BINARY(4)", "x'00FF'", "x'00FF0001'"),
    ("c_varbinary", "VARBINARY(100)", "x'00FF'", "x'00FF00'"),
    ("c_blob", "BLOB", "x'27005C'", "x'27005D'"),
    ("c_longblob", "LONGBLOB", "REPEAT(x'00FE', 300000)", "CONCAT(REPEAT(x'00FE', 299999), x'00FF')"),
    ("c_enum", "ENUM('a','b','c''d') CHARACTER SET utf8mb4", "'c''d'", "'a'"),
    ("c_set", "SET('a','b','c') CHARACTER SET utf8mb4", "'a,c'", "''"),
    (
        "c_json",
        "JSON",
        r#"'{"b": [1, 2.5, "é", null, true], "a": {}, "n": 12345678901234}'"#,
        r#"'{"b": [1, 2.5, "é", null, true], "a": {}, "n": 12345678901235}'"#,
    ),
    ("c_json_text", "JSON", r#"'"1"'"#, "'1'"),
    (
        "c_geometry",
        "GEOMETRY",
        "ST_GeomFromText('LINESTRING(0 0,1 1,2 3)')",
        "ST_GeomFromText('LINESTRING(0 0,1 1,3 2)')",
    ),
    ("c_point", "POINT", "ST_GeomFromText('POINT(1.5 -2)')", "ST_GeomFromText('POINT(1.5 -2.0000000001)')"),
    ("c_null", "INT", "NULL", "0"),
    ("c_null_text", "VARCHAR(10) CHARACTER SET utf8mb4", "NULL", "''"),
    ("c_null_word", "VARCHAR(10) CHARACTER SET utf8mb4", "'n'", "NULL"),
];

const PAIRS: [(Kind, Kind); 4] = [
    (Kind::Mysql, Kind::Mysql),
    (Kind::Mariadb, Kind::Mariadb),
    (Kind::Mysql, Kind::Mariadb),
    (Kind::Mariadb, Kind::Mysql),
];

/// A task over these sources.
fn configs(sources: &[&Server], target: &Server, extra: &str) -> Vec<(SourceConfig, SubtaskConfig)> {
    let mut task = format!(
        "name: t\ntask-mode: all\ntarget-database: {{host: 127.0.0.1, port: {}, user: root}}\n\
         block-allow-list: {{ba: {{do-dbs: [\"db*\"]}}}}\n{extra}\nmysql-instances:\n",
        target.port
    );
    let routes = if extra.contains("routes:") { "\n  route-rules: [r]" } else { "" };
    for index in 0..sources.len() {
        task.push_str(&format!("- source-id: s{index}\n  block-allow-list: ba{routes}\n"));
    }
    let task = TaskConfig::from_yaml(&task, None).unwrap().value;
    let config = |(index, server): (usize, &&Server)| {
        let yaml =
            format!("source-id: s{index}\nfrom: {{host: 127.0.0.1, port: {}, user: root}}\n", server.port);
        let source = SourceConfig::from_yaml(&yaml, None).unwrap().value;
        (source, task.subtask(&SourceId::new(format!("s{index}"))).unwrap())
    };
    sources.iter().enumerate().map(config).collect()
}

async fn compare_with(params: DiffParams) -> Result<(DiffSummary, Vec<DiffRow>), CodedError> {
    let (sender, mut receiver) = mpsc::channel(16);
    let running = tokio::spawn(diff::run(params, sender, CancellationToken::new()));
    let mut rows = Vec::new();
    while let Some(event) = receiver.recv().await {
        if let DiffEvent::Difference(row) = event {
            rows.push(row);
        }
    }
    let summary = running.await.unwrap()?;
    assert_eq!(summary.differences, rows.len() as u64, "every difference is told");
    assert_eq!(summary.equal, rows.is_empty() && summary.complete);
    Ok((summary, rows))
}

fn params(configs: Vec<(SourceConfig, SubtaskConfig)>) -> DiffParams {
    DiffParams {
        sources: configs,
        tables: Vec::new(),
        chunk_rows: 50,
        differences_max: 1000,
        recheck_timeout: Duration::from_secs(20),
    }
}

async fn compare(source: &Server, target: &Server) -> (DiffSummary, Vec<DiffRow>) {
    compare_with(params(configs(&[source], target, ""))).await.unwrap()
}

async fn pair(kinds: (Kind, Kind)) -> (Server, Server) {
    tokio::join!(Server::start(kinds.0, &[]), Server::start(kinds.1, &[]))
}

fn create_types(table: &str, key: &str) -> String {
    let columns: Vec<String> = TYPES.iter().map(|(name, kind, _, _)| format!("{name} {kind}")).collect();
    format!("CREATE TABLE db.{table} (id INT NOT NULL, {}{key}) CHARACTER SET utf8mb4", columns.join(", "))
}

fn insert_types(table: &str, id: usize) -> String {
    let values: Vec<&str> = TYPES.iter().map(|(_, _, value, _)| *value).collect();
    format!("INSERT INTO db.{table} VALUES ({id}, {})", values.join(", "))
}

async fn every_type(kinds: (Kind, Kind)) {
    let (source, target) = pair(kinds).await;
    for server in [&source, &target] {
        let mut conn = server.connect().await;
        for sql in ["CREATE DATABASE db", &create_types("k", ", PRIMARY KEY (id)"), &create_types("n", "")] {
            conn.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        for id in 0..3 {
            for table in ["k", "n"] {
                let sql = insert_types(table, id);
                conn.execute(&sql).await.unwrap_or_else(|error| panic!("{error}"));
            }
        }
        conn.execute("INSERT INTO db.k (id) VALUES (100)").await.unwrap();
        conn.execute("INSERT INTO db.n (id) VALUES (100), (100), (100)").await.unwrap();
        conn.close().await;
    }
    let (summary, rows) = compare(&source, &target).await;
    assert!(summary.equal, "{kinds:?}: {rows:#?}");
    assert_eq!((summary.source_rows, summary.target_rows, summary.tables), (10, 10, 2));

    let mut conn = target.connect().await;
    for (name, _, _, other) in TYPES {
        for table in ["k", "n"] {
            let sql = format!("UPDATE db.{table} SET {name} = {other} WHERE id = 1");
            conn.execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        let (_, rows) = compare(&source, &target).await;
        let keyed: Vec<&DiffRow> = rows.iter().filter(|row| row.target_table == "`db`.`k`").collect();
        let keyless: Vec<&DiffRow> = rows.iter().filter(|row| row.target_table == "`db`.`n`").collect();
        assert_eq!(keyed.len(), 1, "{kinds:?} {name}: {rows:#?}");
        assert_eq!(keyed[0].kind, DiffKind::ColumnsDiffer);
        assert_eq!(keyed[0].columns, [*name]);
        assert_eq!(keyed[0].key, [("id".to_owned(), Some("1".to_owned()))]);
        let mut kinds_found: Vec<DiffKind> = keyless.iter().map(|row| row.kind).collect();
        kinds_found.sort_by_key(|kind| format!("{kind:?}"));
        assert_eq!(
            kinds_found,
            [DiffKind::ExtraInTarget, DiffKind::MissingInTarget],
            "{kinds:?} {name}: {rows:#?}"
        );
        for table in ["k", "n"] {
            conn.execute(format!("DELETE FROM db.{table} WHERE id = 1")).await.unwrap();
            conn.execute(insert_types(table, 1)).await.unwrap();
        }
    }
    assert!(compare(&source, &target).await.0.equal);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_mysql_to_mysql() {
    every_type(PAIRS[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_mariadb_to_mariadb() {
    every_type(PAIRS[1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_mysql_to_mariadb() {
    every_type(PAIRS[2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_mariadb_to_mysql() {
    every_type(PAIRS[3]).await;
}

fn found(rows: &[DiffRow]) -> Vec<(DiffKind, String, String)> {
    let mut found: Vec<_> = rows
        .iter()
        .map(|row| {
            let key: Vec<String> =
                row.key.iter().map(|(_, value)| value.clone().unwrap_or_default()).collect();
            (row.kind, row.target_table.clone(), key.join("/"))
        })
        .collect();
    found.sort_by_key(|(kind, table, key)| (table.clone(), key.clone(), format!("{kind:?}")));
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_tables_and_columns_on_one_side_only_are_named() {
    let (source, target) = pair(PAIRS[2]).await;
    let both = [
        "CREATE DATABASE db",
        "CREATE DATABASE other",
        "CREATE TABLE db.a (x INT, y VARCHAR(50) CHARACTER SET utf8mb4 NOT NULL, z INT NOT NULL, PRIMARY KEY (z, y))",
        "INSERT INTO db.a SELECT seq.n, CONCAT('k', seq.n), seq.n MOD 7 FROM (SELECT a.d + b.d * 10 + c.d * 100 AS n FROM \
         (SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) a, \
         (SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) b, \
         (SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) c) seq",
        "CREATE TABLE db.empty (id INT PRIMARY KEY)",
        "CREATE TABLE other.t (id INT PRIMARY KEY)",
    ];
    source.execute(&both).await;
    target.execute(&both).await;
    assert!(compare(&source, &target).await.0.equal);
    source.execute(&["CREATE TABLE db.only_source (id INT)", "INSERT INTO other.t VALUES (1)"]).await;
    source.execute(&["CREATE TABLE db.cols (id INT PRIMARY KEY, a INT, gone INT)"]).await;
    target.execute(&["CREATE TABLE db.only_target (id INT)", "INSERT INTO other.t VALUES (2)"]).await;
    target.execute(&["CREATE TABLE db.cols (id INT PRIMARY KEY, a INT, added INT)"]).await;
    target
        .execute(&[
            "DELETE FROM db.a WHERE x IN (0, 499, 999)",
            "INSERT INTO db.a VALUES (5, 'é', -1), (6, 'zzz', 99)",
        ])
        .await;
    target
        .execute(&["UPDATE db.a SET x = NULL WHERE x = 123", "INSERT INTO db.empty VALUES (-5), (7)"])
        .await;
    let (summary, rows) = compare(&source, &target).await;
    let expected = |kind, table: &str, key: &str| (kind, format!("`db`.`{table}`"), key.to_owned());
    let mut wanted = vec![
        expected(DiffKind::MissingInTarget, "a", "0/k0"),
        expected(DiffKind::MissingInTarget, "a", "2/k499"),
        expected(DiffKind::MissingInTarget, "a", "5/k999"),
        expected(DiffKind::ExtraInTarget, "a", "-1/é"),
        expected(DiffKind::ExtraInTarget, "a", "99/zzz"),
        expected(DiffKind::ColumnsDiffer, "a", "4/k123"),
        expected(DiffKind::SchemaDiffers, "cols", ""),
        expected(DiffKind::ExtraInTarget, "empty", "-5"),
        expected(DiffKind::ExtraInTarget, "empty", "7"),
        expected(DiffKind::TableMissingInTarget, "only_source", ""),
        expected(DiffKind::TableExtraInTarget, "only_target", ""),
    ];
    wanted.sort_by_key(|(kind, table, key)| (table.clone(), key.clone(), format!("{kind:?}")));
    assert_eq!(found(&rows), wanted);
    assert_eq!(summary.tables_different, 5);

    let limited = DiffParams { differences_max: 2, ..params(configs(&[&source], &target, "")) };
    let (summary, rows) = compare_with(limited).await.unwrap();
    assert!(rows.len() == 2 && !summary.complete && !summary.equal);
    let one = DiffParams { tables: vec!["db.empty".into()], ..params(configs(&[&source], &target, "")) };
    assert_eq!(compare_with(one).await.unwrap().1.len(), 2);
    let none = DiffParams { tables: vec!["db.nothing".into()], ..params(configs(&[&source], &target, "")) };
    assert_eq!(compare_with(none).await.unwrap_err().code, dmnode_model::codes::DIFF_NO_TABLE);
}

/// Keys that the two servers order, fold and store differently.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_every_kind_in_small_chunks() {
    let (source, target) = pair(PAIRS[3]).await;
    let keys = [
        (
            "kt",
            "VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            "VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
            "CONCAT(CHAR(97 + n MOD 26), '-é-', n)",
        ),
        ("kl", "VARCHAR(60) CHARACTER SET latin1", "VARCHAR(60) CHARACTER SET utf8mb4", "CONCAT('ü', n)"),
        ("kb", "VARBINARY(16)", "VARBINARY(16)", "UNHEX(LPAD(HEX(n * 7919), 8, '0'))"),
        ("ku", "BINARY(16)", "BINARY(16)", "UNHEX(LEFT(SHA2(n, 256), 32))"),
        ("kd", "DECIMAL(20,3)", "DECIMAL(20,3)", "(n - 150) / 8"),
        ("kdt", "DATETIME(3)", "DATETIME(3)", "TIMESTAMP('2020-01-01') + INTERVAL n * 37 SECOND"),
        (
            "kts",
            "TIMESTAMP NOT NULL",
            "DATETIME NOT NULL",
            "TIMESTAMP('2020-01-01') + INTERVAL n * 3700 SECOND",
        ),
        ("kbig", "BIGINT UNSIGNED", "BIGINT UNSIGNED", "18446744073709551615 - n"),
        ("kf", "DOUBLE", "DOUBLE", "n * 0.37e0"),
    ];
    for (server, of_source) in [(&source, true), (&target, false)] {
        server
            .execute(&["CREATE DATABASE db", "CREATE TABLE mysql.seq (n BIGINT UNSIGNED PRIMARY KEY)"])
            .await;
        let numbers: Vec<String> = (0..300).map(|n| format!("({n})")).collect();
        server.execute(&[&format!("INSERT INTO mysql.seq VALUES {}", numbers.join(","))]).await;
        for (name, ours, theirs, value) in keys {
            let kind = if of_source { ours } else { theirs };
            // The same instants and numbers whatever the session.
            server
                .execute(&[
                    &format!("CREATE TABLE db.{name} (k {kind}, v INT, PRIMARY KEY (k))"),
                    &format!(
                        "INSERT INTO db.{name} SELECT {}, n FROM mysql.seq",
                        value.replace("(n - 150)", "(CAST(n AS SIGNED) - 150)")
                    ),
                ])
                .await;
        }
        server
            .execute(&[
                "CREATE TABLE db.ke (k ENUM('z','y','x','w') NOT NULL, k2 INT NOT NULL, v INT, PRIMARY KEY (k, k2))",
                "INSERT INTO db.ke SELECT 1 + n MOD 4, n, n FROM mysql.seq",
            ])
            .await;
    }
    let (summary, rows) = compare(&source, &target).await;
    assert!(summary.equal, "{rows:#?}");
    assert_eq!((summary.tables, summary.source_rows, summary.target_rows), (10, 3000, 3000));
    let mut wanted = 0;
    for name in ["kt", "kl", "kb", "ku", "kd", "kdt", "kts", "kbig", "ke"] {
        target
            .execute(&[
                &format!("UPDATE db.{name} SET v = -1 WHERE v = 49"),
                &format!("DELETE FROM db.{name} WHERE v IN (50, 299)"),
            ])
            .await;
        wanted += 3;
    }
    let (_, rows) = compare(&source, &target).await;
    assert_eq!(rows.len(), wanted, "{rows:#?}");
    assert_eq!(
        rows.iter().filter(|row| row.kind == DiffKind::ColumnsDiffer && row.columns == ["v"]).count(),
        9
    );
    assert_eq!(rows.iter().filter(|row| row.kind == DiffKind::MissingInTarget).count(), 18);
    target.execute(&["UPDATE db.kf SET v = -1 WHERE v = 49"]).await;
    assert_eq!(compare(&source, &target).await.1.len(), wanted + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_sources_are_compared_as_their_union() {
    let ((one, two), target) = tokio::join!(pair(PAIRS[2]), Server::start(Kind::Mariadb, &[]));
    for (server, schema, first) in [(&one, "db_1", 0), (&two, "db_2", 1)] {
        server.execute(&[&format!("CREATE DATABASE {schema}")]).await;
        for table in ["t", "n"] {
            let key = if table == "t" { ", PRIMARY KEY (id)" } else { "" };
            server
                .execute(&[&format!(
                    "CREATE TABLE {schema}.{table} (id INT NOT NULL, j JSON, v VARCHAR(9){key})"
                )])
                .await;
            let rows: Vec<String> =
                (0..200).map(|n| format!("({}, '{{\"a\": {n}}}', 'x')", n * 2 + first)).collect();
            server.execute(&[&format!("INSERT INTO {schema}.{table} VALUES {}", rows.join(","))]).await;
        }
    }
    target.execute(&["CREATE DATABASE merged"]).await;
    for table in ["t", "n"] {
        let key = if table == "t" { ", PRIMARY KEY (id)" } else { "" };
        target
            .execute(&[&format!("CREATE TABLE merged.{table} (id INT NOT NULL, j JSON, v VARCHAR(9){key})")])
            .await;
        let rows: Vec<String> = (0..400).map(|n| format!("({n}, '{{\"a\":{}}}', 'x')", n / 2)).collect();
        target.execute(&[&format!("INSERT INTO merged.{table} VALUES {}", rows.join(","))]).await;
    }
    let route = "routes: {r: {schema-pattern: \"db_*\", target-schema: merged}}";
    let run = || compare_with(params(configs(&[&one, &two], &target, route)));
    let (summary, rows) = run().await.unwrap();
    assert!(summary.equal, "{rows:#?}");
    assert_eq!((summary.tables, summary.source_rows, summary.target_rows), (2, 800, 800));
    target
        .execute(&[
            "UPDATE merged.t SET j = '{\"a\": 0}' WHERE id = 11",
            "DELETE FROM merged.n WHERE id = 10",
        ])
        .await;
    // The same key in both sources is a difference whatever the target has.
    two.execute(&["INSERT INTO db_2.t SELECT 20, j, v FROM db_2.t WHERE id = 21"]).await;
    let (_, rows) = run().await.unwrap();
    assert_eq!(rows.len(), 3, "{rows:#?}");
    let t11 = rows.iter().find(|row| row.key[0].1.as_deref() == Some("11")).unwrap();
    assert_eq!((t11.source.as_str(), t11.source_table.as_str()), ("s1", "`db_2`.`t`"));
    assert_eq!(t11.columns, ["j"]);
    assert!(rows.iter().any(|row| row.detail.contains("2 source rows have this key")));
}

/// The target is behind when the difference is seen, and catches up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_difference_that_lag_explains_is_none() {
    for kinds in [PAIRS[1], PAIRS[0]] {
        let (source, target) = pair(kinds).await;
        for server in [&source, &target] {
            server
                .execute(&[
                    "CREATE DATABASE db",
                    "CREATE TABLE db.k (id INT PRIMARY KEY, v INT)",
                    "CREATE TABLE db.n (v INT)",
                    "INSERT INTO db.k VALUES (1, 1), (2, 2), (3, 3)",
                    "INSERT INTO db.n VALUES (1), (1)",
                ])
                .await;
        }
        target
            .execute(&[
                "CREATE DATABASE dm_meta",
                "CREATE TABLE dm_meta.t_dmnode_progress (source_id VARCHAR(64), applier INT, watermark_no BIGINT, \
                 watermark_file VARCHAR(255), watermark_pos BIGINT, watermark_gtid LONGTEXT, flavor VARCHAR(16))",
                "INSERT INTO dm_meta.t_dmnode_progress VALUES ('s0', 0, 1, 'bin.000001', 4, NULL, NULL)",
            ])
            .await;
        source
            .execute(&[
                "UPDATE db.k SET v = 20 WHERE id = 2",
                "INSERT INTO db.k VALUES (4, 4)",
                "INSERT INTO db.n VALUES (2)",
                "CREATE TABLE db.late (id INT PRIMARY KEY)",
            ])
            .await;
        // What the task would do, a little later.
        let catch_up = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            target.execute(&["CREATE TABLE db.late (id INT PRIMARY KEY)"]).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            target
                .execute(&[
                    "UPDATE db.k SET v = 20 WHERE id = 2",
                    "INSERT INTO db.k VALUES (4, 4)",
                    "INSERT INTO db.n VALUES (2)",
                    "UPDATE dm_meta.t_dmnode_progress SET watermark_no = 2, watermark_file = 'bin.999999'",
                ])
                .await;
        };
        let ((summary, rows), ()) = tokio::join!(compare(&source, &target), catch_up);
        assert!(summary.equal, "{kinds:?}: {rows:#?}");

        // A difference that is there when the target has passed stays one; a watermark that stands still is not
        // waited for again and again.
        source.execute(&["UPDATE db.k SET v = 30 WHERE id = 3"]).await;
        let (_, rows) = compare(&source, &target).await;
        assert_eq!(found(&rows), [(DiffKind::ColumnsDiffer, "`db`.`k`".to_owned(), "3".to_owned())]);
        assert_eq!(rows[0].detail, "");
        target.execute(&["UPDATE dm_meta.t_dmnode_progress SET watermark_file = 'bin.000001'"]).await;
        let short = DiffParams {
            recheck_timeout: Duration::from_secs(2),
            ..params(configs(&[&source], &target, ""))
        };
        let (_, rows) = compare_with(short).await.unwrap();
        assert!(rows.len() == 1 && rows[0].detail.contains("has not passed"), "{rows:#?}");
    }
}

/// The replication is played by the test: rows change all the time, the target follows a moment later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_writes_are_no_differences() {
    let (source, target) = pair(PAIRS[1]).await;
    for server in [&source, &target] {
        server.execute(&["CREATE DATABASE db", "CREATE TABLE db.k (id INT PRIMARY KEY, v INT)"]).await;
        let rows: Vec<String> = (0..2000).map(|n| format!("({n}, 0)")).collect();
        server.execute(&[&format!("INSERT INTO db.k VALUES {}", rows.join(","))]).await;
    }
    target
        .execute(&[
            "CREATE DATABASE dm_meta",
            "CREATE TABLE dm_meta.t_dmnode_progress (source_id VARCHAR(64), applier INT, watermark_no BIGINT, \
             watermark_file VARCHAR(255), watermark_pos BIGINT, watermark_gtid LONGTEXT, flavor VARCHAR(16))",
            "INSERT INTO dm_meta.t_dmnode_progress VALUES ('s0', 0, 1, 'bin.000001', 4, NULL, NULL)",
        ])
        .await;
    let stop = CancellationToken::new();
    let replicate = async {
        let (mut writer, mut applier) = (source.connect().await, target.connect().await);
        let mut behind: std::collections::VecDeque<(String, String)> = Default::default();
        for number in 0u64.. {
            let sql = format!("UPDATE db.k SET v = v + 1 WHERE id = {}", number * 7919 % 2000);
            writer.execute(&sql).await.unwrap();
            let row = writer.query_one("SHOW MASTER STATUS").await.unwrap().unwrap();
            let mark = format!(
                "UPDATE dm_meta.t_dmnode_progress SET watermark_no = {}, watermark_file = '{}', watermark_pos = {}",
                number + 2,
                row.string(0).unwrap(),
                row.string(1).unwrap()
            );
            behind.push_back((sql, mark));
            if behind.len() > 100 || stop.is_cancelled() {
                let (sql, mark) = behind.pop_front().unwrap();
                applier.execute(&sql).await.unwrap();
                applier.execute(&mark).await.unwrap();
            }
            if stop.is_cancelled() {
                return number;
            }
        }
        0
    };
    let comparison = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut resolved = 0;
        for _ in 0..3 {
            let (summary, rows) = compare(&source, &target).await;
            assert!(summary.equal, "{rows:#?}");
            resolved += summary.resolved;
        }
        stop.cancel();
        resolved
    };
    let (written, resolved) = tokio::join!(replicate, comparison);
    assert!(written > 0 && resolved > 0, "{written} rows written, {resolved} differences resolved");
}
