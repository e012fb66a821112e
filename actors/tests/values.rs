//! Every column type with values at its edges, through the full copy and through the binlog: what is stored in the
//! target are the same bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

#[path = "../mysql/tests/real/all_types.rs"]
mod all_types;
mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use all_types::{Case, cases};
use dmnode_actors::subtask;
use dmnode_actors::unit::UnitResult;
use dmnode_model::{CodedError, Flavor, TableName};
use dmnode_mysql::{ColumnType, Connection, TableInfo, json_types_sql};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::rig::Rig;
use support::{Kind, Server};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(120);

fn flavor(kind: Kind) -> Flavor {
    match kind {
        Kind::Mysql => Flavor::Mysql,
        Kind::Mariadb => Flavor::Mariadb,
    }
}

/// One table of the corpus.
struct Corpus {
    name: String,
    create: String,
    /// Before the copy.
    copied: Vec<String>,
    /// After it: through the binlog.
    streamed: Vec<String>,
}

/// The type exists on both sides, with the same values.
fn exists_in(case: &Case, from: Kind, to: Kind) -> bool {
    if from == to {
        return true;
    }
    let foreign = ["VECTOR", "INET", "UUID", "POINT SRID", "CHARACTER SET gb18030"];
    !foreign.iter().any(|word| case.type_sql.contains(word))
}

/// A table with a key and one without for each type.
fn of_types(from: Kind, to: Kind) -> Vec<Corpus> {
    let mut corpus = Vec::new();
    for (number, case) in cases(flavor(from)).into_iter().enumerate() {
        if !exists_in(&case, from, to) || case.values.iter().any(|value| value.contains("2200000")) {
            continue;
        }
        let first = case.values.first().cloned().unwrap_or_else(|| "NULL".into());
        let rows = |base: usize| -> String {
            case.values.iter().enumerate().fold(format!("({base}, NULL)"), |mut rows, (index, value)| {
                let _ = write!(rows, ", ({}, {value})", base + 1 + index);
                rows
            })
        };
        let name = format!("t{number:03}");
        let mut streamed = vec![
            format!("INSERT INTO src.{name} VALUES {}", rows(100)),
            // From a value to NULL, from NULL to a value, from a value to another; gone.
            format!("INSERT INTO src.{name} VALUES {}", rows(200)),
            format!("UPDATE src.{name} SET c = NULL WHERE id = 101"),
            format!("DELETE FROM src.{name} WHERE id IN (1, 102)"),
        ];
        for (index, value) in case.values.iter().enumerate() {
            streamed.push(format!("UPDATE src.{name} SET c = {value} WHERE id = {}", 200 + index));
        }
        corpus.push(Corpus {
            create: format!("CREATE TABLE src.{name} (id INT PRIMARY KEY, c {})", case.type_sql),
            copied: vec![format!("INSERT INTO src.{name} VALUES {}", rows(1))],
            streamed,
            name,
        });
        let name = format!("n{number:03}");
        corpus.push(Corpus {
            create: format!("CREATE TABLE src.{name} (id INT, c {})", case.type_sql),
            copied: vec![format!("INSERT INTO src.{name} VALUES {}", rows(1))],
            streamed: vec![
                format!("INSERT INTO src.{name} VALUES {}", rows(100)),
                format!("UPDATE src.{name} SET c = {first} WHERE id > 2 AND id < 100"),
                format!("UPDATE src.{name} SET id = id + 1000 WHERE id >= 100"),
                format!("DELETE FROM src.{name} WHERE id < 100"),
            ],
            name,
        });
    }
    corpus
}

/// Tables that are special in their columns, not in their types.
fn special(from: Kind, to: Kind) -> Vec<Corpus> {
    let one = |name: &str, columns: &str, copied: &[&str], streamed: &[&str]| Corpus {
        name: name.into(),
        create: format!("CREATE TABLE src.{name} ({columns})"),
        copied: copied.iter().map(|sql| (*sql).to_owned()).collect(),
        streamed: streamed.iter().map(|sql| (*sql).to_owned()).collect(),
    };
    let mut corpus = vec![
        one(
            "generated",
            "id INT PRIMARY KEY, a INT, v INT AS (a + 1) VIRTUAL, s VARCHAR(20) AS (CONCAT('<', a, '>')) STORED, b INT",
            &["INSERT INTO src.generated (id, a, b) VALUES (1, 5, 6), (2, NULL, 7), (3, -1, NULL)"],
            &[
                "INSERT INTO src.generated (id, a, b) VALUES (11, 5, 6), (12, NULL, 7), (13, 1, 1)",
                "UPDATE src.generated SET a = 100, b = NULL WHERE id IN (1, 11)",
                "DELETE FROM src.generated WHERE id IN (2, 12)",
            ],
        ),
        one(
            "generated_no_key",
            "a INT, v INT AS (a + 1) VIRTUAL, s INT AS (a * 2) STORED, b INT",
            &["INSERT INTO src.generated_no_key (a, b) VALUES (1, 2), (1, 2), (NULL, 3)"],
            &[
                "INSERT INTO src.generated_no_key (a, b) VALUES (1, 2), (7, 8)",
                "UPDATE src.generated_no_key SET b = 9 WHERE a IS NULL",
                "DELETE FROM src.generated_no_key WHERE a = 1 LIMIT 1",
            ],
        ),
        one(
            "generated_key",
            "a INT NOT NULL, v INT AS (a + 1) STORED, b INT, UNIQUE KEY (v)",
            &["INSERT INTO src.generated_key (a, b) VALUES (1, 2), (2, 3), (3, 4)"],
            &[
                "INSERT INTO src.generated_key (a, b) VALUES (10, 2)",
                "UPDATE src.generated_key SET b = 9 WHERE a = 1",
                "UPDATE src.generated_key SET a = 20 WHERE a = 2",
                "DELETE FROM src.generated_key WHERE a = 3",
            ],
        ),
        one(
            "invisible",
            "id INT PRIMARY KEY, a INT INVISIBLE DEFAULT 7, b INT",
            &[
                "INSERT INTO src.invisible (id, a, b) VALUES (1, 1, 1), (2, NULL, 2)",
                "INSERT INTO src.invisible VALUES (3, 3)",
            ],
            &[
                "INSERT INTO src.invisible (id, a, b) VALUES (11, 1, 1), (12, NULL, 2)",
                "INSERT INTO src.invisible VALUES (13, 3)",
                "UPDATE src.invisible SET a = 99 WHERE id IN (1, 11)",
                "DELETE FROM src.invisible WHERE a = 7 AND id < 10",
            ],
        ),
        one(
            "defaults",
            "id INT PRIMARY KEY, a VARCHAR(40) DEFAULT (UUID()), b DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6) \
             ON UPDATE CURRENT_TIMESTAMP(6), c TIMESTAMP(3) NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3), \
             d INT",
            &["INSERT INTO src.defaults (id) VALUES (1), (2), (3)"],
            &[
                "INSERT INTO src.defaults (id) VALUES (11), (12)",
                "UPDATE src.defaults SET d = 5 WHERE id IN (1, 11)",
                "UPDATE src.defaults SET d = 6, b = b, c = c WHERE id IN (2, 12)",
            ],
        ),
        one(
            "numbered",
            "id INT PRIMARY KEY AUTO_INCREMENT, a INT",
            &[
                "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
                "INSERT INTO src.numbered VALUES (0, 1), (-5, 2), (7, 3)",
            ],
            &[
                "UPDATE src.numbered SET a = 9 WHERE id = 0",
                "UPDATE src.numbered SET id = 0, a = 10 WHERE id = 0",
                "DELETE FROM src.numbered WHERE id = 0",
                "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
                "INSERT INTO src.numbered VALUES (0, 11)",
                "INSERT INTO src.numbered (a) VALUES (12)",
            ],
        ),
        // A column that LOAD DATA has to convert beside the number.
        one(
            "numbered_text",
            "id INT PRIMARY KEY AUTO_INCREMENT, t VARCHAR(9) CHARACTER SET utf16, e ENUM('x', 'y')",
            &[
                "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
                "INSERT INTO src.numbered_text VALUES (0, 'a', 'y'), (-5, 'b', 'x'), (7, 'c', NULL)",
            ],
            &["UPDATE src.numbered_text SET t = 'd' WHERE id = 0"],
        ),
        one(
            "names",
            "`id` INT PRIMARY KEY, `a``b` INT, `select` INT, `ä ö` VARCHAR(10), `x.y` INT",
            &["INSERT INTO src.names VALUES (1, 2, 3, 'ü', 4)"],
            &[
                "INSERT INTO src.names VALUES (2, 2, 3, 'ü', 4)",
                "UPDATE src.names SET `ä ö` = 'é', `a``b` = 0",
                "DELETE FROM src.names WHERE `select` = 3 AND id = 1",
            ],
        ),
    ];
    if (from, to) == (Kind::Mysql, Kind::Mysql) {
        corpus.push(one(
            "expression_key",
            "id INT PRIMARY KEY, a VARCHAR(20), UNIQUE KEY e ((LOWER(a)))",
            &["INSERT INTO src.expression_key VALUES (1, 'A'), (2, 'b')"],
            &[
                "UPDATE src.expression_key SET a = 'C' WHERE id = 1",
                "INSERT INTO src.expression_key VALUES (3, 'a')",
            ],
        ));
    }
    corpus
}

/// Tables of random columns and keys with random changes.
fn random_tables(from: Kind, to: Kind, random: &mut StdRng) -> Vec<Corpus> {
    const TABLES: usize = 12;
    const CHANGES: usize = 40;
    let cases: Vec<Case> = cases(flavor(from))
        .into_iter()
        .filter(|case| exists_in(case, from, to) && !case.values.is_empty())
        // Rows have at most 64 KB beside BLOBs.
        .filter(|case| !case.type_sql.contains("16000") && !case.type_sql.contains("255)"))
        .filter(|case| !case.values.iter().any(|value| value.contains("0000)")))
        .collect();
    let can_be_key = |case: &Case| {
        let kinds = [
            "INT",
            "BIGINT",
            "DECIMAL(18",
            "DATE",
            "TIME(",
            "CHAR(30)",
            "VARCHAR(40)",
            "BINARY(4)",
            "ENUM('a'",
            "YEAR",
        ];
        kinds.iter().any(|kind| case.type_sql.starts_with(kind))
    };
    (0..TABLES)
        .map(|number| {
            let name = format!("r{number:02}");
            let columns: Vec<&Case> =
                (0..random.random_range(1..7)).map(|_| &cases[random.random_range(0..cases.len())]).collect();
            let mut create: String =
                columns.iter().enumerate().fold(String::new(), |mut text, (index, case)| {
                    let _ = write!(text, ", c{index} {}", case.type_sql);
                    text
                });
            let keyed = columns.iter().position(|case| can_be_key(case));
            match (random.random_range(0..4), keyed) {
                (0, _) => {}
                (1, Some(column)) => {
                    let _ = write!(create, ", UNIQUE KEY (c{column}, id)");
                }
                (2, Some(column)) => {
                    let _ = write!(create, ", PRIMARY KEY (id), UNIQUE KEY (id, c{column}), KEY (c{column})");
                }
                _ => create.push_str(", PRIMARY KEY (id)"),
            }
            let value = |random: &mut StdRng, column: usize| match random.random_range(0..6) {
                0 => "NULL".to_owned(),
                _ => columns[column].values[random.random_range(0..columns[column].values.len())].clone(),
            };
            let row = |random: &mut StdRng, id: usize| {
                let values: Vec<String> = (0..columns.len()).map(|column| value(random, column)).collect();
                format!("INSERT INTO src.{name} VALUES ({id}, {})", values.join(", "))
            };
            let copied = (0..20).map(|id| row(random, id)).collect();
            let mut streamed = Vec::new();
            for change in 0..CHANGES {
                let id = random.random_range(0..20 + change);
                streamed.push(match random.random_range(0..5) {
                    0 => format!("DELETE FROM src.{name} WHERE id = {id}"),
                    1 | 2 => {
                        let column = random.random_range(0..columns.len());
                        format!(
                            "UPDATE src.{name} SET c{column} = {} WHERE id >= {id} ORDER BY id LIMIT 3",
                            value(random, column)
                        )
                    }
                    3 => format!("UPDATE src.{name} SET id = id + 10000 WHERE id = {id}"),
                    _ => row(random, 100 + change),
                });
                if random.random_range(0..10) == 0 {
                    streamed.push("BEGIN".to_owned());
                }
                if random.random_range(0..5) == 0 {
                    streamed.push("COMMIT".to_owned());
                }
            }
            streamed.push("COMMIT".to_owned());
            Corpus {
                create: format!("CREATE TABLE src.{name} (id INT NOT NULL{create})"),
                name,
                copied,
                streamed,
            }
        })
        .collect()
}

/// All rows, as the bytes that are stored, sorted.
async fn contents(server: &Server, table: &str) -> (Vec<String>, Vec<Vec<Option<Vec<u8>>>>) {
    let name = TableName::new("src", table);
    let mut conn = server.connect().await;
    let info = TableInfo::load(&mut conn, &name).await.unwrap();
    let Some(info) = info else { return (Vec::new(), Vec::new()) };
    let mut columns = Vec::new();
    let mut types = Vec::new();
    for column in &info.columns {
        let quoted = dmnode_model::quote_ident(&column.name);
        types.push(column.column_type_text.clone());
        match &column.data_type {
            // The text of a FLOAT has six digits.
            ColumnType::Float => columns.push(format!("{quoted} * 1e0")),
            // An index, so that the error value differs from a member ''.
            ColumnType::Enum(_) | ColumnType::Set(_) => columns.push(format!("{quoted} | 0")),
            ColumnType::Json => {
                columns.push(quoted.clone());
                // Types that text does not tell apart.
                types.push("types of JSON".into());
                columns.push(format!("CONCAT_WS(' ', {})", json_types_sql(&quoted).join(", ")));
            }
            _ => columns.push(quoted),
        }
    }
    let mut conn: Connection = server.connect_raw().await;
    conn.execute("SET SESSION group_concat_max_len = 1000000").await.unwrap();
    let rows = conn.query(format!("SELECT {} FROM {name}", columns.join(","))).await.unwrap();
    let mut rows: Vec<Vec<Option<Vec<u8>>>> = rows
        .iter()
        .map(|row| (0..row.len()).map(|index| row.bytes(index).map(<[u8]>::to_vec)).collect())
        .collect();
    rows.sort();
    (types, rows)
}

/// JSON text without its formatting.
fn canonical(text: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(text).ok()
}

fn shown(value: Option<&Option<Vec<u8>>>) -> String {
    match value {
        None => "nothing".into(),
        Some(None) => "NULL".into(),
        Some(Some(bytes)) => {
            let cut = &bytes[..bytes.len().min(60)];
            format!("{} {}", hex(cut), String::from_utf8_lossy(cut).escape_debug())
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What differs in a table between both servers.
async fn differences(rig: &Rig, table: &str) -> Option<String> {
    let ((types, from), (_, to)) = (contents(&rig.source, table).await, contents(&rig.target, table).await);
    let mut found = String::new();
    if from.len() != to.len() {
        let _ = writeln!(found, "{table}: {} rows became {}", from.len(), to.len());
    }
    let cross = rig.source.kind != rig.target.kind;
    // The extra columns of JSON exist on one side only.
    let kept: Vec<usize> =
        (0..types.len()).filter(|index| !cross || types[*index] != "types of JSON").collect();
    let to_has_extra = cross && rig.target.kind == Kind::Mysql;
    for (a, b) in from.iter().zip(&to) {
        for (place, index) in kept.iter().enumerate() {
            let (value, other) = (&a[*index], b.get(if to_has_extra { place } else { *index }));
            let other = if cross && !to_has_extra { b.get(place) } else { other };
            if Some(value) == other {
                continue;
            }
            // MariaDB does not show the sign of a zero.
            let zero = |value: Option<&Option<Vec<u8>>>| {
                value.is_some_and(|it| it.as_deref().is_some_and(|it| it == b"-0" || it == b"0"))
            };
            if rig.target.kind == Kind::Mariadb && zero(Some(value)) && zero(other) {
                continue;
            }
            if cross
                && types[*index] == "json"
                && let (Some(a), Some(Some(b))) = (value, other)
                && canonical(a).is_some()
                && canonical(a) == canonical(b)
            {
                continue;
            }
            let _ = writeln!(
                found,
                "{table}.{index} ({}): row {} {} became {}",
                types[*index].chars().take(60).collect::<String>(),
                shown(a.first()),
                shown(Some(value)),
                shown(other)
            );
        }
    }
    (!found.is_empty()).then_some(found)
}

/// The table an error is about.
fn table_of(error: &CodedError) -> Option<String> {
    let text = format!("{error:?}");
    let at = text.find("`src`.`")? + "`src`.`".len();
    Some(text[at..].split('`').next()?.to_owned())
}

struct Run {
    rig: Rig,
    epoch: u64,
    /// Tables that cannot be migrated, and why.
    refused: BTreeMap<String, String>,
}

impl Run {
    fn start(&mut self) -> (dmnode_actors::unit::UnitContext, JoinHandle<UnitResult>) {
        self.epoch += 1;
        let mut rules = String::from("block-allow-list:\n  b:\n    do-dbs: [src]\n");
        if !self.refused.is_empty() {
            rules.push_str("    ignore-tables:\n");
            for table in self.refused.keys() {
                let _ = writeln!(rules, "      - {{db-name: src, tbl-name: {table}}}");
            }
        }
        self.rig.task = rules;
        self.rig.instance = "    block-allow-list: b\n".into();
        let spec = self.rig.spec();
        let ctx = self.rig.context(self.epoch);
        let handle = tokio::spawn(subtask::run(ctx.clone(), spec.source, spec.subtask));
        (ctx, handle)
    }

    /// Runs until `table` has so many rows in the target. What the task stops at is left out and noted.
    async fn until(&mut self, table: &str, rows: u64) {
        let limit = Instant::now() + PATIENCE;
        let (mut ctx, mut handle) = self.start();
        let mut conn = self.rig.target.connect().await;
        loop {
            if handle.is_finished() {
                let error = (&mut handle).await.unwrap().expect_err("runs on");
                let Some(refused) = table_of(&error) else { panic!("{error:?}") };
                let known = self.refused.insert(refused, format!("{error:?}"));
                assert!(known.is_none(), "{error:?}");
                (ctx, handle) = self.start();
            }
            let found = conn.query(format!("SELECT COUNT(*) FROM src.{table}")).await;
            let chunks = conn.query("SELECT COUNT(*) FROM dm_meta.t_dmnode_chunk WHERE done = 0").await;
            if found.is_ok_and(|found| found[0].u64(0) == Some(rows))
                && chunks.is_ok_and(|chunks| chunks[0].u64(0) == Some(0))
            {
                break;
            }
            assert!(Instant::now() < limit, "not caught up: {:?}", ctx.status.snapshot().1);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        ctx.cancel.cancel();
        handle.await.unwrap().unwrap();
    }

    async fn differences(&self, corpus: &[Corpus]) -> String {
        let mut found = String::new();
        for table in corpus.iter().filter(|table| !self.refused.contains_key(&table.name)) {
            found.extend(differences(&self.rig, &table.name).await);
        }
        found
    }
}

async fn all_values(from: Kind, source: &[&str], to: Kind, target: &[&str]) {
    let mut corpus = of_types(from, to);
    corpus.extend(special(from, to));
    both_paths(from, source, to, target, corpus).await;
}

async fn both_paths(from: Kind, source: &[&str], to: Kind, target: &[&str], corpus: Vec<Corpus>) {
    let rig = Rig::with(from, source, to, target).await;
    let begun = Instant::now();
    let mut conn = rig.source.connect().await;
    conn.execute("SET NAMES utf8mb4").await.unwrap();
    conn.execute("CREATE DATABASE src").await.unwrap();
    for table in &corpus {
        for sql in std::iter::once(&table.create).chain(&table.copied) {
            conn.execute(sql).await.unwrap_or_else(|error| panic!("{error}\n{sql}"));
        }
        conn.execute("SET sql_mode = ''").await.unwrap();
    }
    conn.execute("CREATE TABLE src.zz_mark (id INT PRIMARY KEY)").await.unwrap();
    conn.execute("INSERT INTO src.zz_mark VALUES (1)").await.unwrap();
    let mut run = Run { rig, epoch: 0, refused: BTreeMap::new() };
    run.until("zz_mark", 1).await;
    let copied = run.differences(&corpus).await;
    eprintln!("copied {:?}", begun.elapsed());
    for table in &corpus {
        for sql in &table.streamed {
            conn.execute(sql).await.unwrap_or_else(|error| panic!("{error}\n{sql}"));
        }
        conn.execute("SET sql_mode = ''").await.unwrap();
    }
    conn.execute("INSERT INTO src.zz_mark VALUES (2)").await.unwrap();
    run.until("zz_mark", 2).await;
    let streamed = run.differences(&corpus).await;
    eprintln!("streamed {:?}", begun.elapsed());
    let mut report = String::new();
    for (table, why) in &run.refused {
        let create = corpus.iter().find(|it| it.name == *table).map_or("", |it| it.create.as_str());
        let _ = writeln!(report, "{}\n  {why}", create.chars().take(200).collect::<String>());
    }
    assert!(
        report.is_empty() && copied.is_empty() && streamed.is_empty(),
        "refused:\n{report}\ncopied:\n{copied}\nstreamed:\n{streamed}"
    );
}

#[tokio::test]
async fn mysql_to_mysql() {
    all_values(Kind::Mysql, &[], Kind::Mysql, &[]).await;
}

#[tokio::test]
async fn mariadb_to_mariadb() {
    // Without LOAD DATA the copy takes another way.
    all_values(Kind::Mariadb, &[], Kind::Mariadb, &["--local-infile=0"]).await;
}

#[tokio::test]
async fn mysql_to_mariadb() {
    let source =
        ["--binlog-row-metadata=FULL", "--binlog-transaction-compression=ON", "--binlog-checksum=NONE"];
    all_values(Kind::Mysql, &source, Kind::Mariadb, &["--local-infile=0"]).await;
}

#[tokio::test]
async fn mariadb_to_mysql() {
    let source = ["--binlog-row-metadata=FULL", "--log-bin-compress=ON", "--log-bin-compress-min-len=10"];
    all_values(Kind::Mariadb, &source, Kind::Mysql, &[]).await;
}

/// The same tables in every run; others with `DMNODE_TEST_SEED=N`.
#[tokio::test]
async fn random_tables_and_changes() {
    let given = std::env::var("DMNODE_TEST_SEED").ok().and_then(|text| text.trim().parse().ok());
    let seed: u64 = given.unwrap_or(20_261_122);
    let mut random = StdRng::seed_from_u64(seed);
    for (from, to) in [(Kind::Mysql, Kind::Mysql), (Kind::Mariadb, Kind::Mariadb)] {
        let corpus = random_tables(from, to, &mut random);
        both_paths(from, &[], to, &[], corpus).await;
    }
}
