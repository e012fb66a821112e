//! `task-mode: dump` on real servers: what is written is loaded by the servers' own clients and by myloader, and is
//! compared with the source.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

#[path = "../mysql/tests/real/all_types.rs"]
mod all_types;
mod support;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dmnode_actors::load::LoadSpec;
use dmnode_actors::subtask;
use dmnode_actors::unit::{UnitContext, UnitDone};
use dmnode_model::config::{SubtaskConfig, TaskMode};
use dmnode_model::status::UnitType;
use dmnode_model::{CodedError, Flavor, codes};
use support::rig::Rig;
use support::{Kind, Server};

const LIMIT: Duration = Duration::from_secs(120);

/// A directory that is removed in the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("dump-{}", uuid::Uuid::new_v4())))
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8(std::fs::read(self.0.join(name)).unwrap()).unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn spec(rig: &Rig, dir: &Dir, args: &str) -> LoadSpec {
    let spec = rig.spec();
    let mut subtask = SubtaskConfig { mode: TaskMode::Dump, ..(*spec.subtask).clone() };
    subtask.load.dir = dir.0.display().to_string();
    // What the file says is read as with the mode it names.
    let yaml = format!(
        "name: t\ntask-mode: dump\ntarget-database: {{host: h, port: 1, user: u}}\nmysql-instances:\n\
         - source-id: s1\n  mydumper: {{extra-args: '{args}', threads: 3}}\n"
    );
    let parsed = dmnode_model::config::TaskConfig::from_yaml(&yaml, None).unwrap();
    assert_eq!(parsed.warnings, Vec::<String>::new());
    subtask.dump = parsed.value.instances[0].dump.clone();
    LoadSpec { source: spec.source, subtask: Arc::new(subtask) }
}

async fn run(ctx: UnitContext, spec: &LoadSpec) -> Result<UnitDone, CodedError> {
    let unit = subtask::run(ctx, Arc::clone(&spec.source), Arc::clone(&spec.subtask));
    tokio::time::timeout(LIMIT, unit).await.expect("the dump must end")
}

async fn dump(rig: &Rig, dir: &Dir, args: &str) -> Result<UnitDone, CodedError> {
    run(rig.context(1), &spec(rig, dir, args)).await
}

/// The flavour's own client.
fn client(server: &Server) -> Command {
    let program = match server.kind {
        Kind::Mariadb => PathBuf::from("mariadb"),
        Kind::Mysql => {
            let tree = std::env::var_os("DMNODE_MYSQL_TREE")
                .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/mysql"), PathBuf::from);
            tree.join("bin/mysql")
        }
    };
    let mut command = Command::new(program);
    command.args(["--no-defaults", "--host=127.0.0.1", "--user=root", "--max-allowed-packet=1G"]);
    command.arg(format!("--port={}", server.port));
    command
}

fn feed(server: &Server, schema: Option<&str>, sql: Vec<u8>) {
    let mut command = client(server);
    command.args(schema).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&sql));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// As Dumpling unescapes them.
fn unescaped(name: &str) -> String {
    name.replace("%2E", ".").replace("%2D", "-").replace("%25", "%")
}

/// Databases, then tables, then rows, for each database in one session.
fn load_by_client(server: &Server, dir: &Dir) {
    let names = dir.names();
    let schema_of = |name: &str| unescaped(name.split('.').next().unwrap());
    let read = |name: &String| std::fs::read(dir.0.join(name)).unwrap();
    let mut later: std::collections::BTreeMap<String, (Vec<u8>, Vec<u8>)> = Default::default();
    for name in &names {
        let is_data =
            name.strip_suffix(".sql").and_then(|name| name.rsplit_once('.')).is_some_and(|(_, number)| {
                number.len() == 13 && number.bytes().all(|byte| byte.is_ascii_digit())
            });
        if name.ends_with("-schema-create.sql") {
            feed(server, None, read(name));
        } else if name.ends_with("-schema.sql") {
            later.entry(schema_of(name)).or_default().0.extend(read(name));
        } else if is_data {
            later.entry(schema_of(name)).or_default().1.extend(read(name));
        }
    }
    for (schema, (tables, rows)) in later {
        feed(server, Some(&schema), [tables, rows].concat());
    }
}

/// A table for each type, and tables that are special.
async fn fill(server: &Server) -> Vec<(String, String)> {
    let flavor = if server.kind == Kind::Mysql { Flavor::Mysql } else { Flavor::Mariadb };
    let mut tables = Vec::new();
    let mut conn = server.connect().await;
    let mut sql = vec!["CREATE DATABASE src DEFAULT CHARACTER SET latin1".to_owned()];
    for (number, case) in all_types::cases(flavor).into_iter().enumerate() {
        if case.values.iter().any(|value| value.contains("2200000")) {
            continue;
        }
        let rows: Vec<String> =
            (1..).zip(&case.values).map(|(id, value)| format!("({id}, {value})")).collect();
        let name = format!("t{number:03}");
        sql.push(format!("CREATE TABLE src.{name} (id INT PRIMARY KEY, c {})", case.type_sql));
        sql.push(format!("INSERT INTO src.{name} VALUES (0, NULL), {}", rows.join(", ")));
        tables.push(("src".to_owned(), name));
    }
    sql.extend(
        [
            "CREATE DATABASE `we.ird-schema 100% 名` DEFAULT CHARACTER SET utf8mb4",
            "CREATE TABLE `we.ird-schema 100% 名`.`ta.b``le-Schema 名` (`co``l 名` INT PRIMARY KEY, `select` VARCHAR(10) COMMENT ';\n')",
            "INSERT INTO `we.ird-schema 100% 名`.`ta.b``le-Schema 名` VALUES (1, '名')",
            "CREATE TABLE src.g (id INT PRIMARY KEY AUTO_INCREMENT, a VARCHAR(20), b BIGINT GENERATED ALWAYS AS (a * 2) STORED, c INT)",
            "INSERT INTO src.g (id, a, c) VALUES (1, '5 pieces', 1), (2, 'none', 2)",
            "CREATE TABLE src.e (id INT PRIMARY KEY AUTO_INCREMENT, e ENUM('b','a','') CHARACTER SET ucs2, s SET('x','y''z') CHARACTER SET latin1)",
            "INSERT INTO src.e VALUES (1, 'a', 'x,y''z'), (2, '', ''), (3, 'nothing', NULL), (4, NULL, 'x'), (0, 'b', 'x')",
            "CREATE TABLE src.parent (id INT PRIMARY KEY)",
            "CREATE TABLE src.a_child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id))",
            "INSERT INTO src.parent VALUES (1)",
            "INSERT INTO src.a_child VALUES (1, 1)",
            "CREATE TABLE src.nothing (id INT PRIMARY KEY)",
            "CREATE VIEW src.v AS SELECT * FROM src.parent",
            "CREATE TABLE src.big (id INT PRIMARY KEY AUTO_INCREMENT, s VARCHAR(200) NOT NULL)",
            "INSERT INTO src.big (s) VALUES ('first')",
        ]
        .map(str::to_owned),
    );
    if server.kind == Kind::Mysql {
        sql.push("CREATE TABLE src.j (id INT PRIMARY KEY, j JSON)".to_owned());
        sql.push("INSERT INTO src.j VALUES (1, JSON_OBJECT('d', 1.50, 't', TIMESTAMP'2026-01-02 03:04:05', 's', 'it''s \\\\ \\n 名'))".to_owned());
        sql.push(
            "INSERT INTO src.j VALUES (2, '\"text ü\"'), (3, 'null'), (4, 'false'), (5, '1.5')".to_owned(),
        );
        tables.push(("src".into(), "j".into()));
    }
    // Sessions of the corpus are not strict.
    for statement in sql {
        conn.execute(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    for _ in 0..13 {
        conn.execute("INSERT INTO src.big (s) SELECT CONCAT(REPEAT('x', 100), id) FROM src.big")
            .await
            .unwrap();
    }
    conn.execute("ANALYZE TABLE src.big").await.unwrap();
    conn.execute("CREATE TABLE src.heap AS SELECT id, s FROM src.big").await.unwrap();
    for name in ["heap", "g", "e", "parent", "a_child", "nothing", "big"] {
        tables.push(("src".into(), name.into()));
    }
    tables.push(("we.ird-schema 100% 名".into(), "ta.b`le-Schema 名".into()));
    tables
}

async fn assert_equal(rig: &Rig, tables: &[(String, String)]) {
    let pairs: Vec<(&str, &str, &str, &str)> = tables
        .iter()
        .map(|(schema, table)| (schema.as_str(), table.as_str(), schema.as_str(), table.as_str()))
        .collect();
    rig.assert_equal(&pairs).await;
}

async fn every_value(kind: Kind) {
    let rig = Rig::new(kind, kind).await;
    let tables = fill(&rig.source).await;
    let dir = Dir::new();
    let ctx = rig.context(1);
    let status = Arc::clone(&ctx.status);
    assert_eq!(run(ctx, &spec(&rig, &dir, "-r 2000 -F 100KB -s 10000")).await.unwrap(), UnitDone::Finished);
    let (unit, report) = status.snapshot();
    let progress = report.dump.unwrap();
    assert_eq!((unit, progress.progress.as_str()), (UnitType::Dump, "100.00 %"));
    assert_eq!(
        (progress.total_tables, progress.completed_tables),
        (tables.len() as u64, tables.len() as f64)
    );
    let names = dir.names();
    assert!(names.iter().all(|name| !name.ends_with(".tmp") && !name.contains("src.v")), "{names:?}");
    assert!(
        names.iter().any(|name| name == "we%2Eird%2Dschema 100%25 名.ta%2Eb`le%2DSchema 名-schema.sql"),
        "{names:?}"
    );
    // Several chunks, and several files of a chunk where the table cannot be cut.
    assert!(names.iter().filter(|name| name.starts_with("src.big.")).count() > 4, "{names:?}");
    assert!(names.contains(&"src.heap.0000000000005.sql".to_owned()), "{names:?}");
    // Nothing was written meanwhile, so the position is the present one.
    let sql = match kind {
        Kind::Mysql => "SHOW BINARY LOG STATUS",
        Kind::Mariadb => "SHOW MASTER STATUS",
    };
    let position = rig.source.query(sql).await[0].clone();
    let (file, pos) = (position[0].clone().unwrap(), position[1].clone().unwrap());
    let metadata = dir.read("metadata");
    assert!(
        metadata.contains(&format!("SHOW MASTER STATUS:\n\tLog: {file}\n\tPos: {pos}\n\tGTID:")),
        "{metadata}"
    );
    assert!(
        metadata.starts_with("Started dump at: ") && metadata.contains("\nFinished dump at: "),
        "{metadata}"
    );
    load_by_client(&rig.target, &dir);
    assert_equal(&rig, &tables).await;
    if kind == Kind::Mysql {
        let types = "SELECT JSON_TYPE(j->'$.d'), JSON_TYPE(j->'$.t') FROM src.j";
        assert_eq!(rig.target.query(types).await, rig.source.query(types).await);
    }
    // A complete dump is left alone, and a dump with other settings does not replace it.
    rig.source.execute(&["INSERT INTO src.parent VALUES (2)"]).await;
    assert_eq!(dump(&rig, &dir, "-r 2000").await.unwrap(), UnitDone::Finished);
    assert_eq!((dir.names(), dir.read("metadata")), (names, metadata));
    let error = dump(&rig, &dir, "--filetype csv").await.unwrap_err();
    assert_eq!(error.code, codes::DUMP_DIRECTORY, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_value_mysql() {
    every_value(Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_value_mariadb() {
    every_value(Kind::Mariadb).await;
}

/// myloader takes it, compressed; a dump of part of the rows; CSV; a directory of somebody else; one that cannot be reached.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn forms_of_a_dump() {
    let rig = Rig::new(Kind::Mariadb, Kind::Mariadb).await;
    rig.source
        .execute(&[
            "CREATE DATABASE shop DEFAULT CHARACTER SET latin1",
            "CREATE TABLE shop.a (id INT PRIMARY KEY, s VARCHAR(50), b VARBINARY(50), u VARCHAR(50) CHARACTER SET utf8mb4, e ENUM('x','ä'), t TIMESTAMP NULL)",
            "INSERT INTO shop.a VALUES (1, 'ä;\n\"x\", \\\\', x'00ff0d0a5c22', '名', 'ä', '2026-01-02 03:04:05'), (2, NULL, NULL, NULL, NULL, NULL), (3, '', '', '', 'x', 0)",
        ])
        .await;
    let tables = [("shop".to_owned(), "a".to_owned())];
    let dir = Dir::new();
    dump(&rig, &dir, "--compress gzip").await.unwrap();
    assert_eq!(
        dir.names(),
        [
            ".dmnode-dump",
            "metadata",
            "shop-schema-create.sql.gz",
            "shop.a-schema.sql.gz",
            "shop.a.0000000000000.sql.gz"
        ]
    );
    let output = Command::new("myloader")
        .args(["--host=127.0.0.1", "--user=root", "--threads=2", "--directory"])
        .arg(&dir.0)
        .arg(format!("--port={}", rig.target.port))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_equal(&rig, &tables).await;

    // CSV in UTF-8, as the servers read it; a part of the rows.
    let csv = Dir::new();
    dump(&rig, &csv, "--filetype csv --where id<3").await.unwrap();
    let file = csv.0.join("shop.a.0000000000000.csv");
    assert_eq!(
        std::fs::read(&file).unwrap(),
        [
            &b"\"id\",\"s\",\"b\",\"u\",\"e\",\"t\"\r\n1,\"\xc3\xa4;\\n\\\"x\\\", \\\\\",\"\\0\xff\\r\\n\\\\\\\"\",\"\xe5\x90\x8d\",\"\xc3\xa4\",\"2026-01-02 03:04:05\"\r\n"[..],
            b"2,\\N,\\N,\\N,\\N,\\N\r\n"
        ]
        .concat()
    );

    let foreign = Dir::new();
    std::fs::create_dir_all(&foreign.0).unwrap();
    std::fs::write(foreign.0.join("precious.sql"), "x").unwrap();
    let error = dump(&rig, &foreign, "").await.unwrap_err();
    assert_eq!(error.code, codes::DUMP_DIRECTORY, "{error}");
    assert_eq!(foreign.names(), ["precious.sql"]);
    let mut remote = spec(&rig, &foreign, "");
    let mut subtask = (*remote.subtask).clone();
    subtask.load.dir = "s3://bucket/path".into();
    remote.subtask = Arc::new(subtask);
    assert_eq!(run(rig.context(1), &remote).await.unwrap_err().code, codes::DUMP_STORAGE);
    // What no snapshot covers has no place in it.
    rig.source.execute(&["CREATE TABLE shop.m (a INT) ENGINE=MyISAM"]).await;
    let error = dump(&rig, &Dir::new(), "").await.unwrap_err();
    assert_eq!(error.code, codes::COPY_TABLE_UNSUPPORTED, "{error}");
}

/// Interrupted, it never looks complete, and begins anew; the rows are those of the position in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn interrupted_and_begun_anew() {
    let rig = Arc::new(Rig::new(Kind::Mysql, Kind::Mysql).await);
    rig.source
        .execute(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.n (id INT PRIMARY KEY AUTO_INCREMENT, v INT NOT NULL, s VARCHAR(200))",
            "CREATE TABLE shop.gone (id INT PRIMARY KEY)",
            "INSERT INTO shop.gone VALUES (1)",
            "INSERT INTO shop.n (v, s) VALUES (0, REPEAT('x', 200))",
        ])
        .await;
    for _ in 0..15 {
        rig.source.execute(&["INSERT INTO shop.n (v, s) SELECT 0, s FROM shop.n"]).await;
    }
    rig.source.execute(&["ANALYZE TABLE shop.n"]).await;
    let dir = Dir::new();
    let spec = spec(&rig, &dir, "-r 1000");
    for (round, files) in [1, 4, 9].into_iter().enumerate() {
        let unit = tokio::spawn(subtask::run(
            rig.context(1 + round as u64),
            Arc::clone(&spec.source),
            Arc::clone(&spec.subtask),
        ));
        let limit = Instant::now() + LIMIT;
        loop {
            let written = if dir.0.exists() { dir.names() } else { Vec::new() };
            if written.iter().filter(|name| name.starts_with("shop.n.0")).count() >= files {
                break;
            }
            if unit.is_finished() {
                panic!("round {round}: {:?}", unit.await);
            }
            assert!(Instant::now() < limit, "{written:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        unit.abort();
        let ended = unit.await;
        assert!(ended.as_ref().is_err_and(tokio::task::JoinError::is_cancelled), "{ended:?}");
        assert!(!dir.0.join("metadata").exists());
    }
    // An older epoch has no say here any more.
    let late = run(rig.context(1), &spec).await.unwrap_err();
    assert_eq!(late.code, codes::FENCED, "{late}");
    // What was there before and is not there now is in no file.
    rig.source.execute(&["DROP TABLE shop.gone", "UPDATE shop.n SET v = 1"]).await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = {
        let (rig, stop) = (Arc::clone(&rig), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut conn = rig.source.connect().await;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                conn.execute("UPDATE shop.n SET v = v + 1 WHERE id < 20000").await.unwrap();
            }
        })
    };
    assert_eq!(run(rig.context(9), &spec).await.unwrap(), UnitDone::Finished);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.await.unwrap();
    let names = dir.names();
    assert!(names.iter().all(|name| !name.contains("gone") && !name.ends_with(".tmp")), "{names:?}");
    load_by_client(&rig.target, &dir);
    // One state: every row of the updated range has seen the same number of updates.
    let counts = rig.target.query("SELECT COUNT(*), COUNT(DISTINCT v) FROM shop.n WHERE id < 20000").await;
    let rows = rig.source.number("SELECT COUNT(*) FROM shop.n WHERE id < 20000").await;
    assert_eq!(counts, [[Some(rows.to_string()), Some("1".to_owned())]]);
    assert_eq!(
        rig.target.number("SELECT COUNT(*) FROM shop.n").await,
        rig.source.number("SELECT COUNT(*) FROM shop.n").await
    );
}

/// The programs the tests need are there.
#[test]
fn mydumper_is_installed() {
    let status = Command::new("mydumper").arg("--version").stdout(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "run scripts/setup");
}
