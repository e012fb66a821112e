//! The full copy between real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::time::Duration;

use dmnode_actors::load::key::{Compared, KeyValue};
use dmnode_actors::load::{self, DdlCopied, Loaded};
use dmnode_model::{BinlogPosition, TableName, codes};
use support::rig::Rig;
use support::{Kind, Server};

/// Tables of every common type and kind of key. What only one flavour has comes in addition.
async fn seed(server: &Server) {
    server
        .execute(&[
            "CREATE DATABASE shop DEFAULT CHARACTER SET latin1",
            "CREATE DATABASE `wei``rd 名` DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
            "CREATE DATABASE empty_one",
            "CREATE TABLE shop.ints (id BIGINT UNSIGNED PRIMARY KEY, a TINYINT, b TINYINT UNSIGNED, c SMALLINT, d MEDIUMINT, \
             e INT UNSIGNED ZEROFILL, f BIGINT, g DECIMAL(65,30), h FLOAT, i DOUBLE, j YEAR, k BIT(1), l BIT(17), m BIT(64), \
             n BOOLEAN, o FLOAT(7,3), p DECIMAL(5,2) UNSIGNED)",
            "INSERT INTO shop.ints VALUES \
             (0, -128, 255, -32768, -8388608, 0, -9223372036854775808, -12345678901234567890123456789012345.123456789012345678901234567890, \
              -3.4028234e38, -1.7976931348623157e308, 1901, b'0', b'10000000000000001', x'ffffffffffffffff', 1, -1234.567, 999.99), \
             (18446744073709551615, 127, 0, 32767, 8388607, 4294967295, 9223372036854775807, 0.000000000000000000000000000001, \
              1.17549435e-38, 2.2250738585072014e-308, 2155, b'1', b'0', x'00', 0, 0.001, 0), \
             (5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
             (6, 1, 1, 1, 1, 1, 1, 1.5, 0.1, 0.1, 0, b'1', b'1', b'1', 1, 3.14159, 1), \
             (7, 1, 1, 1, 1, 1, 1, 1.5, 16777217, 1e15, 2026, b'1', b'1', b'1', 1, 1, 1), \
             (8, 1, 1, 1, 1, 1, 1, 1.5, 123456.789, 0.30000000000000004, 2026, b'1', b'1', b'1', 1, 1, 1)",
            "INSERT INTO shop.ints (id, h, i) VALUES (9, -0e0, -0e0)",
            "CREATE TABLE shop.times (id INT PRIMARY KEY, a DATE, b TIME, c TIME(6), d DATETIME, e DATETIME(3), f TIMESTAMP NULL, \
             g TIMESTAMP(6) NULL)",
            "INSERT INTO shop.times VALUES \
             (1, '0000-00-00', '-838:59:59', '-00:00:00.000001', '0000-00-00 00:00:00', '9999-12-31 23:59:59.999', \
              '1970-01-01 00:00:01', '2038-01-19 03:14:07.999999'), \
             (2, '2026-02-30', '838:59:59', '00:00:00.1', '2026-00-10 01:02:03', '1000-01-01 00:00:00', '0000-00-00 00:00:00', NULL), \
             (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
            "CREATE TABLE shop.texts (id INT PRIMARY KEY, a VARCHAR(200) CHARACTER SET utf8mb4, b TEXT CHARACTER SET latin1, \
             c VARCHAR(50) CHARACTER SET gbk, d VARCHAR(50) CHARACTER SET sjis, e VARCHAR(50) CHARACTER SET ucs2, \
             f VARCHAR(50) CHARACTER SET utf16, g CHAR(10) CHARACTER SET utf8mb3, h LONGTEXT CHARACTER SET utf8mb4, \
             i VARCHAR(20) CHARACTER SET utf32, j VARCHAR(30) CHARACTER SET ascii, k VARCHAR(30) CHARACTER SET koi8r)",
            "INSERT INTO shop.texts VALUES \
             (1, '😀 tab\\t nl\\n cr\\r bs\\\\ q\\' dq\\\" nul\\0 end', _latin1 x'e4f6fcff5c0a09', _gbk x'd5f25c', _sjis x'955c8354', \
              'Ωя', '😀\\n', '漢 ', REPEAT('\\\\\\t\\n', 1000), '😀', 'plain', 'привет'), \
             (2, '', '', '', '', '', '', '', '', '', '', ''), \
             (3, '\\\\N', 'NULL', '\\\\', '0', 'x', 'y', 'z', '\\\\N', 'n', '\\'', '\\\\'), \
             (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
             (5, '  lead and trail  ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ')",
            "CREATE TABLE shop.bytes (id INT PRIMARY KEY, a BINARY(4), b VARBINARY(300), c BLOB, d LONGBLOB, e TINYBLOB)",
            "INSERT INTO shop.bytes VALUES (1, x'00090a5c', x'ff00270a5c09', REPEAT(x'00ff5c0a', 5000), REPEAT(x'5c4e', 300000), x''), \
             (2, 'a', '', '', '', ''), (3, NULL, NULL, NULL, NULL, NULL)",
            "CREATE TABLE shop.kinds (id INT PRIMARY KEY, a ENUM('x','y''z','3','','名') CHARACTER SET utf8mb4, \
             b SET('a','bc'), c JSON, d GEOMETRY, e POINT, f SET('1','2','3','4') CHARACTER SET latin1)",
            "INSERT INTO shop.kinds VALUES (1, 'y''z', 'a,bc', '{\"a\": [1, 2.5, \"\\\\u540d\\\\n\", null, true]}', \
              ST_GeomFromText('LINESTRING(0 0, 1 1.5)'), ST_GeomFromText('POINT(1 2)'), '1,4'), \
             (2, '名', '', '[]', ST_GeomFromText('POLYGON((0 0,0 1,1 1,0 0))'), NULL, ''), \
             (3, '', NULL, '\"text\"', NULL, NULL, '2'), (4, '3', 'a', 'null', NULL, NULL, '3')",
            // Beside a document whose types its text does not tell, in MySQL.
            "CREATE TABLE shop.documents (id INT PRIMARY KEY, j JSON)",
            "INSERT INTO shop.documents VALUES (1, JSON_OBJECT('d', 1.50)), (2, '\"text ü\"'), (3, 'null'), (4, 'true'), (5, '1.5'), \
             (6, '18446744073709551615'), (7, '{}'), (8, NULL), (9, '\"a \\\\\\\\ b\"')",
            "CREATE TABLE shop.two_keys (a INT, b VARCHAR(20) CHARACTER SET utf8mb4, v INT, PRIMARY KEY (a, b), UNIQUE (v))",
            "CREATE TABLE shop.char_key (k CHAR(20) CHARACTER SET utf8mb4 PRIMARY KEY, v TEXT)",
            "CREATE TABLE shop.unique_only (u INT NOT NULL, v INT, UNIQUE KEY (u))",
            "CREATE TABLE shop.no_key (a INT, b VARCHAR(20))",
            "INSERT INTO shop.no_key VALUES (1, 'same'), (1, 'same'), (1, 'same'), (NULL, NULL), (NULL, NULL)",
            "CREATE TABLE shop.nothing (id INT PRIMARY KEY)",
            "CREATE TABLE shop.generated (id INT PRIMARY KEY AUTO_INCREMENT, a INT, b INT GENERATED ALWAYS AS (a * 2) STORED, \
             c INT GENERATED ALWAYS AS (a + 1) VIRTUAL, d INT)",
            "INSERT INTO shop.generated (id, a, d) VALUES (10, 1, 2), (11, NULL, 3)",
            // Computed without strict mode from what is no number.
            "CREATE TABLE shop.computed (id INT PRIMARY KEY, a VARCHAR(20), b BIGINT GENERATED ALWAYS AS (a * 2) STORED)",
            "INSERT INTO shop.computed (id, a) VALUES (1, '5 pieces'), (2, 'none'), (3, '7')",
            "CREATE TABLE shop.parent (id INT PRIMARY KEY)",
            "CREATE TABLE shop.a_child (id INT PRIMARY KEY, p INT, CONSTRAINT fk FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)",
            "INSERT INTO shop.parent VALUES (1), (2)",
            "INSERT INTO shop.a_child VALUES (1, 1), (2, NULL)",
            "CREATE TABLE `wei``rd 名`.`ta.b``le 名` (`co``l 名` INT PRIMARY KEY, `select` VARCHAR(10) COMMENT 'AUTO_INCREMENT=5 ''x''')",
            "INSERT INTO `wei``rd 名`.`ta.b``le 名` VALUES (1, '名')",
            "CREATE TABLE shop.big (id INT PRIMARY KEY AUTO_INCREMENT, n INT, s VARCHAR(100) NOT NULL, KEY (n)) ENGINE=InnoDB",
            "INSERT INTO shop.big (n, s) VALUES (1, 'x')",
            "CREATE VIEW shop.a_view AS SELECT 1 AS one",
        ])
        .await;
    for _ in 0..15 {
        server
            .execute(&["INSERT INTO shop.big (n, s) SELECT id, CONCAT('row ', RAND()) FROM shop.big"])
            .await;
    }
    server
        .execute(&[
            "DELETE FROM shop.big WHERE id BETWEEN 300 AND 400",
            "INSERT INTO shop.big (id, n, s) VALUES (-5, 1, 'negative')",
            "INSERT INTO shop.two_keys SELECT id MOD 7, CONCAT('k', id), id FROM shop.big WHERE id BETWEEN 1 AND 200",
            "INSERT INTO shop.char_key SELECT CONCAT('k', id), s FROM shop.big WHERE id BETWEEN 1 AND 200",
            "INSERT INTO shop.unique_only SELECT id, n FROM shop.big WHERE id BETWEEN 1 AND 200",
            "ANALYZE TABLE shop.big",
        ])
        .await;
    match server.kind {
        Kind::Mysql => {
            server
                .execute(&[
                    "CREATE TABLE shop.only_mysql (id INT PRIMARY KEY, c VARCHAR(20) COLLATE utf8mb4_0900_ai_ci, hidden INT INVISIBLE DEFAULT 7)",
                    "INSERT INTO shop.only_mysql (id, c, hidden) VALUES (1, 'ä', 9)",
                ])
                .await;
        }
        Kind::Mariadb => {
            server
                .execute(&[
                    "CREATE TABLE shop.only_mariadb (id INT PRIMARY KEY, c VARCHAR(20) COLLATE utf8mb4_uca1400_ai_ci)",
                    "INSERT INTO shop.only_mariadb VALUES (1, 'ä')",
                ])
                .await;
        }
    }
}

const SHOP: [&str; 14] = [
    "ints",
    "times",
    "texts",
    "bytes",
    "kinds",
    "two_keys",
    "char_key",
    "unique_only",
    "no_key",
    "nothing",
    "generated",
    "parent",
    "a_child",
    "big",
];

fn all_tables(kind: Kind) -> Vec<(&'static str, &'static str, &'static str, &'static str)> {
    let own = match kind {
        Kind::Mysql => "only_mysql",
        Kind::Mariadb => "only_mariadb",
    };
    SHOP.into_iter()
        .chain([own])
        .map(|table| ("shop", table, "shop", table))
        .chain([("wei`rd 名", "ta.b`le 名", "wei`rd 名", "ta.b`le 名")])
        .collect()
}

async fn copies_everything(from: Kind, to: Kind, target: &[&str]) {
    let rig = Rig::with(from, &[], to, target).await;
    seed(&rig.source).await;
    if from == Kind::Mariadb && to == Kind::Mariadb {
        rig.source
            .execute(&[
                "CREATE TABLE shop.own_types (id INT PRIMARY KEY, u UUID, i INET6, j INET4, c TEXT COMPRESSED)",
                "INSERT INTO shop.own_types VALUES (1, '123e4567-e89b-12d3-a456-426614174000', '2001:db8::ff', '1.2.3.4', REPEAT('x', 500))",
            ])
            .await;
    }
    let loaded = rig.load(1).await.unwrap_or_else(|error| panic!("{error}"));
    let Loaded::Complete { consistent, latest } = loaded else { panic!("{loaded:?}") };
    assert!(consistent, "one snapshot for all");
    rig.assert_equal(&all_tables(from)).await;
    if from == Kind::Mariadb && to == Kind::Mariadb {
        rig.assert_equal(&[("shop", "own_types", "shop", "own_types")]).await;
    }
    assert_eq!(
        rig.target
            .number("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'empty_one'")
            .await,
        1
    );
    assert_eq!(
        rig.target.number("SELECT COUNT(*) FROM information_schema.views WHERE table_schema = 'shop'").await,
        0,
        "views are not migrated"
    );
    assert!(
        rig.chunks().await.iter().filter(|row| row[0].as_deref() == Some("big")).count() >= 5,
        "big is cut"
    );
    // A second run, by any epoch, has nothing to do.
    let before = rig.chunks().await;
    assert_eq!(rig.load(2).await.unwrap(), Loaded::Complete { consistent: true, latest: latest.clone() });
    assert_eq!(rig.chunks().await, before);
    let filter = rig.filter().await.unwrap();
    assert!(filter.is_uniform());
    assert_eq!(filter.min_location(), Some(&latest));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mariadb_to_mariadb() {
    copies_everything(Kind::Mariadb, Kind::Mariadb, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mysql_to_mysql() {
    copies_everything(Kind::Mysql, Kind::Mysql, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mysql_to_mariadb() {
    copies_everything(Kind::Mysql, Kind::Mariadb, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mariadb_to_mysql() {
    copies_everything(Kind::Mariadb, Kind::Mysql, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_local_infile_mariadb_to_mysql() {
    copies_everything(Kind::Mariadb, Kind::Mysql, &["--local-infile=0"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_local_infile_mysql_to_mariadb() {
    copies_everything(Kind::Mysql, Kind::Mariadb, &["--local-infile=0"]).await;
}

async fn fill(server: &Server, rows_log2: u32) {
    server
        .execute(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.big (id INT PRIMARY KEY AUTO_INCREMENT, n INT, s VARCHAR(100) NOT NULL)",
            "CREATE TABLE shop.log (a INT, s VARCHAR(100))",
            "INSERT INTO shop.big (n, s) VALUES (1, 'x')",
        ])
        .await;
    for _ in 0..rows_log2 {
        server
            .execute(&["INSERT INTO shop.big (n, s) SELECT id, CONCAT('row ', RAND()) FROM shop.big"])
            .await;
    }
    server
        .execute(&["INSERT INTO shop.log SELECT n, s FROM shop.big LIMIT 20000", "ANALYZE TABLE shop.big"])
        .await;
}

/// The unit is dropped in mid-copy, the source goes on; another epoch completes the copy.
async fn is_resumed(from: Kind, to: Kind) {
    let rig = Rig::new(from, to).await;
    fill(&rig.source, 17).await;
    let mut kept = Vec::new();
    let mut epoch = 0;
    for kills in 0..4 {
        epoch += 1;
        let before = rig.done_chunks().await;
        let unit = tokio::spawn(load::run(rig.context(epoch), rig.spec()));
        let limit = std::time::Instant::now() + Duration::from_secs(60);
        while rig.done_chunks().await < before + 3 && !unit.is_finished() {
            assert!(std::time::Instant::now() < limit, "no chunk in a minute");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        unit.abort();
        let _ = unit.await;
        let done: Vec<_> =
            rig.chunks().await.into_iter().filter(|row| row[2].as_deref() == Some("1")).collect();
        assert!(done.len() as u64 >= before, "finished chunks stay");
        kept = done;
        rig.source
            .execute(&[
                &format!("UPDATE shop.big SET n = -{epoch} WHERE id MOD 10 = {kills}"),
                "INSERT INTO shop.log VALUES (1, 'again')",
            ])
            .await;
    }
    let loaded = rig.load(epoch + 1).await.unwrap_or_else(|error| panic!("{error}"));
    let all = rig.chunks().await;
    for row in &kept {
        assert!(all.contains(row), "a finished chunk was read again: {row:?}");
    }
    // No row twice, none missing.
    assert_eq!(
        rig.target.number("SELECT COUNT(*) FROM shop.big").await,
        rig.source.number("SELECT COUNT(*) FROM shop.big").await
    );
    let sum: u64 = all.iter().map(|row| row[5].as_ref().unwrap().parse::<u64>().unwrap()).sum();
    let there = rig.target.number("SELECT COUNT(*) FROM shop.big").await
        + rig.target.number("SELECT COUNT(*) FROM shop.log").await;
    assert_eq!(sum, there);
    let filter = rig.filter().await.unwrap();
    let Loaded::Complete { consistent, latest } = loaded else { panic!("{loaded:?}") };
    assert_eq!((consistent, filter.max_location()), (filter.is_uniform(), Some(&latest)));
    assert!(!consistent, "the chunks of several generations have several positions");
    // An old owner cannot do anything any more.
    assert_eq!(
        rig.load(epoch).await.map_err(|error| error.code),
        Ok(Loaded::Complete { consistent, latest })
    );
    // The filter's answers are those of the chunk rows.
    let big = TableName::new("shop", "big");
    let flavored = filter.min_location().unwrap().position.clone();
    assert!(
        filter.row_is_copied(&big, Some(&[KeyValue::Integer(1)]), &Compared::new(), &flavored, None).is_ok()
    );
    let after = BinlogPosition::new(filter.max_location().unwrap().position.file.clone(), u64::MAX);
    assert_eq!(
        filter.row_is_copied(&big, Some(&[KeyValue::Integer(1)]), &Compared::new(), &after, None),
        Ok(false)
    );
    assert_eq!(filter.ddl_is_copied(&big, &after, None), DdlCopied::No);
    assert_eq!(
        filter.ddl_is_copied(&big, &BinlogPosition::new(flavored.file.clone(), 4), None),
        DdlCopied::Yes
    );
    assert_eq!(filter.key(&big).iter().map(|part| part.name.as_str()).collect::<Vec<_>>(), ["id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dropped_copy_is_resumed_mariadb() {
    is_resumed(Kind::Mariadb, Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dropped_copy_is_resumed_mysql() {
    is_resumed(Kind::Mysql, Kind::Mysql).await;
}

/// Two units at once: the one with the lower epoch is fenced, no row is copied twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_older_epoch_is_fenced() {
    let rig = Rig::new(Kind::Mariadb, Kind::Mariadb).await;
    fill(&rig.source, 16).await;
    let old = tokio::spawn(load::run(rig.context(5), rig.spec()));
    while rig.done_chunks().await < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    rig.load(6).await.unwrap_or_else(|error| panic!("{error}"));
    if let Err(error) = old.await.unwrap() {
        assert!([codes::FENCED, codes::TARGET_CONNECTION].contains(&error.code), "{error}");
    }
    rig.assert_equal(&[("shop", "big", "shop", "big"), ("shop", "log", "shop", "log")]).await;
}

/// A server that refuses the statement never asks for the data, of which there is more than fits the buffers.
async fn a_refused_load_ends(kind: Kind) {
    let mut rig = Rig::new(Kind::Mariadb, kind).await;
    rig.rows = 0;
    rig.source
        .execute(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.wide (id INT PRIMARY KEY, s LONGTEXT)",
            "INSERT INTO shop.wide VALUES (1, REPEAT('x', 1000000)), (2, REPEAT('x', 1000000)), (3, REPEAT('x', 1000000))",
        ])
        .await;
    rig.target
        .execute(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.wide (id INT PRIMARY KEY, s LONGTEXT)",
            "CREATE USER copier IDENTIFIED BY 'secret'",
            "GRANT SELECT, CREATE, ALTER, DROP, INDEX ON *.* TO copier",
            "GRANT ALL ON dm_meta.* TO copier",
        ])
        .await;
    if kind == Kind::Mysql {
        rig.target.execute(&["GRANT SESSION_VARIABLES_ADMIN ON *.* TO copier"]).await;
    }
    rig.target_user = "copier";
    let error = tokio::time::timeout(Duration::from_secs(30), rig.load(1)).await.expect("ends").unwrap_err();
    assert_eq!(error.code, codes::COPY_ROWS_REFUSED, "{error}");
    assert!(error.to_string().contains("1142"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refused_load_ends_mariadb() {
    a_refused_load_ends(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refused_load_ends_mysql() {
    a_refused_load_ends(Kind::Mysql).await;
}

/// A row that fits no packet of the target: LOAD DATA takes it all the same, INSERT cannot.
async fn rows_larger_than_a_packet(kind: Kind) {
    let packet = "--max-allowed-packet=1M";
    for (infile, fits) in [("--local-infile=1", true), ("--local-infile=0", false)] {
        let rig = Rig::with(Kind::Mariadb, &["--max-allowed-packet=64M"], kind, &[packet, infile]).await;
        rig.source
            .execute(&[
                "CREATE DATABASE shop",
                "CREATE TABLE shop.wide (id INT PRIMARY KEY, s LONGTEXT CHARACTER SET utf8mb4, b LONGBLOB)",
                "INSERT INTO shop.wide VALUES (1, 'a', ''), (2, REPEAT('x', 3000000), REPEAT('\\\\', 2000000)), (3, 'b', NULL)",
            ])
            .await;
        match rig.load(1).await {
            Ok(_) => {
                assert!(fits);
                let sums = "SELECT SUM(CRC32(s)), SUM(CRC32(b)), COUNT(*) FROM shop.wide";
                let length =
                    "SELECT CONCAT(SUM(LENGTH(s)), ' ', SUM(LENGTH(b)), ' ', COUNT(*)) FROM shop.wide";
                assert_eq!(rig.target.query(length).await, rig.source.query(length).await);
                assert_eq!(rig.target.query(sums).await, rig.source.query(sums).await);
            }
            Err(error) => {
                assert!(!fits, "{error}");
                assert_eq!(error.code, codes::COPY_ROWS_REFUSED, "{error}");
                let text = error.to_string();
                assert!(text.contains("max_allowed_packet") && text.contains("wide"), "{text}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rows_larger_than_a_packet_mariadb() {
    rows_larger_than_a_packet(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rows_larger_than_a_packet_mysql() {
    rows_larger_than_a_packet(Kind::Mysql).await;
}

/// `mydumpers.where` holds for every table that is copied, in each of its chunks.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_condition_chooses_the_rows() {
    let mut rig = Rig::new(Kind::Mariadb, Kind::Mariadb).await;
    fill(&rig.source, 14).await;
    rig.rows = 1000;
    rig.task = "    where: s LIKE '%7' OR s LIKE '%3'\n".into();
    rig.load(1).await.unwrap();
    for table in ["shop.big", "shop.log"] {
        let all = format!("SELECT COUNT(*) FROM {table}");
        let chosen = rig.source.number(&format!("{all} WHERE s LIKE '%7' OR s LIKE '%3'")).await;
        assert!(chosen > 0 && chosen < rig.source.number(&all).await, "{table}");
        assert_eq!(rig.target.number(&all).await, chosen, "{table}");
        assert_eq!(
            rig.target.number(&format!("{all} WHERE s NOT LIKE '%7' AND s NOT LIKE '%3'")).await,
            0,
            "{table}"
        );
    }
}
