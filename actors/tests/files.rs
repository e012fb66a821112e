//! `task-mode: load` and `load&sync` on real servers: directories of dmnode, of mydumper, and one as Dumpling writes it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dmnode_actors::load::LoadSpec;
use dmnode_actors::subtask;
use dmnode_actors::unit::UnitDone;
use dmnode_model::config::{SubtaskConfig, TaskMode};
use dmnode_model::{CodedError, codes};
use support::Kind;
use support::rig::Rig;

const LIMIT: Duration = Duration::from_secs(120);

/// A directory that is removed in the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("files-{}", uuid::Uuid::new_v4())))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn spec(rig: &Rig, dir: &Dir, mode: TaskMode) -> LoadSpec {
    let spec = rig.spec();
    let mut subtask = SubtaskConfig { mode, ..(*spec.subtask).clone() };
    subtask.load.dir = dir.0.display().to_string();
    subtask.load.pool_size = 3;
    LoadSpec { source: spec.source, subtask: Arc::new(subtask) }
}

async fn run(rig: &Rig, epoch: u64, spec: &LoadSpec) -> Result<UnitDone, CodedError> {
    let unit = subtask::run(rig.context(epoch), Arc::clone(&spec.source), Arc::clone(&spec.subtask));
    tokio::time::timeout(LIMIT, unit).await.expect("it must end")
}

async fn fill(rig: &Rig) {
    rig.source
        .execute(&[
            "CREATE DATABASE shop DEFAULT CHARACTER SET latin1",
            "CREATE TABLE shop.n (id INT PRIMARY KEY AUTO_INCREMENT, v INT NOT NULL, s VARCHAR(200))",
            "CREATE TABLE shop.heap (a INT, s VARCHAR(200))",
            "CREATE TABLE shop.t (id INT PRIMARY KEY, l VARCHAR(50), u VARCHAR(50) CHARACTER SET utf8mb4, b VARBINARY(50), \
             e ENUM('x','ä'), d DATETIME(3), ts TIMESTAMP(3) NULL, f FLOAT, g INT AS (id + 1) STORED)",
            "INSERT INTO shop.t (id, l, u, b, e, d, ts, f) VALUES \
             (1, 'ä;\n''\"\\\\', '名 😀', x'00ff0d0a5c221a27', 'ä', '2026-01-02 03:04:05.678', '2026-01-02 03:04:05.678', 0.1), \
             (0, '', '', '', 'x', '0000-00-00', NULL, -1.5), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
            "INSERT INTO shop.n (v, s) VALUES (0, REPEAT('x', 200))",
        ])
        .await;
    for _ in 0..14 {
        rig.source.execute(&["INSERT INTO shop.n (v, s) SELECT 0, CONCAT(s, '') FROM shop.n"]).await;
    }
    rig.source
        .execute(&["INSERT INTO shop.heap SELECT 1, s FROM shop.n LIMIT 5000", "ANALYZE TABLE shop.n"])
        .await;
}

const TABLES: [(&str, &str, &str, &str); 3] =
    [("shop", "n", "shop", "n"), ("shop", "heap", "shop", "heap"), ("shop", "t", "shop", "t")];

/// Starts `load&sync`, kills it while it loads, and again; then lets it go on until the target has what the source has.
async fn load_and_sync(rig: Rig, dir: &Dir) {
    let rig = Arc::new(rig);
    let spec = spec(&rig, dir, TaskMode::LoadAndSync);
    let loaded = async || {
        let mut conn = rig.target.connect().await;
        let sql = "SELECT COALESCE(SUM(row_count), 0) FROM dm_meta.t_dmnode_file";
        conn.query(sql).await.ok().and_then(|rows| rows[0].u64(0)).unwrap_or(0)
    };
    // What comes after the dump.
    rig.source
        .execute(&[
            "UPDATE shop.n SET v = v + 1 WHERE id < 500",
            "INSERT INTO shop.heap VALUES (2, 'later')",
            "DELETE FROM shop.t WHERE id = 2",
        ])
        .await;
    let start = |epoch| {
        tokio::spawn(subtask::run(rig.context(epoch), Arc::clone(&spec.source), Arc::clone(&spec.subtask)))
    };
    for epoch in 1..4 {
        let before = loaded().await;
        let unit = start(epoch);
        let limit = Instant::now() + LIMIT;
        while loaded().await <= before {
            if unit.is_finished() {
                panic!("round {epoch}: {:?}", unit.await);
            }
            assert!(Instant::now() < limit, "nothing is loaded");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        unit.abort();
        let _ = unit.await;
    }
    let unit = start(9);
    let limit = Instant::now() + LIMIT;
    let sums = "SELECT (SELECT CONCAT(COUNT(*), ' ', SUM(v)) FROM shop.n), (SELECT SUM(a) FROM shop.heap), \
                (SELECT COUNT(*) FROM shop.t)";
    let wanted = rig.source.query(sums).await;
    loop {
        let mut conn = rig.target.connect().await;
        let found = conn.query(sums).await.ok().map(|rows| {
            let row = &rows[0];
            vec![(0..row.len()).map(|index| row.string(index)).collect::<Vec<_>>()]
        });
        if found.as_ref() == Some(&wanted) {
            break;
        }
        if unit.is_finished() {
            panic!("{:?}", unit.await);
        }
        assert!(Instant::now() < limit, "{found:?} / {wanted:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    unit.abort();
    let _ = unit.await;
    rig.assert_equal(&TABLES).await;
}

async fn own_dump(kind: Kind, args: &str) {
    let rig = Rig::new(kind, kind).await;
    fill(&rig).await;
    let dir = Dir::new();
    let mut dump = spec(&rig, &dir, TaskMode::Dump);
    let mut subtask = (*dump.subtask).clone();
    subtask.dump.rows = 2000;
    if args == "zstd" {
        subtask.dump.compression = dmnode_model::config::DumpCompression::Zstd;
    }
    dump.subtask = Arc::new(subtask);
    assert_eq!(run(&rig, 1, &dump).await.unwrap(), UnitDone::Finished);
    load_and_sync(rig, &dir).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dump_of_dmnode_from_mysql() {
    own_dump(Kind::Mysql, "zstd").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dump_of_mydumper_from_mariadb() {
    let rig = Rig::new(Kind::Mariadb, Kind::Mariadb).await;
    fill(&rig).await;
    let dir = Dir::new();
    // Statements without column lists, too, but for tables with generated columns.
    let output = Command::new("mydumper")
        .args([
            "--host=127.0.0.1",
            "--user=root",
            "--threads=2",
            "--rows=2000",
            "--compress",
            "--database=shop",
        ])
        .args(["--statement-size=100000", "--outputdir"])
        .arg(&dir.0)
        .arg(format!("--port={}", rig.source.port))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    load_and_sync(rig, &dir).await;
}

/// As Dumpling writes it: UTF-8 behind `SET NAMES binary`, no time zone, no list of columns. And what cannot be loaded.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_directory_in_dumplings_layout() {
    let rig = Rig::new(Kind::Mysql, Kind::Mysql).await;
    let dir = Dir::new();
    std::fs::create_dir_all(&dir.0).unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.0.join(name), text).unwrap();
    let metadata =
        "Started dump at: 2026-01-02 03:04:05\nSHOW MASTER STATUS:\n\tLog: bin.000001\n\tPos: 4\n\tGTID:\n\n";
    let header = "/*!40014 SET FOREIGN_KEY_CHECKS=0*/;\n/*!40101 SET NAMES binary*/;\n";
    write(
        "a%2Eb-schema-create.sql",
        &format!("{header}CREATE DATABASE `a.b` /*!40100 DEFAULT CHARACTER SET latin1 */;\n"),
    );
    write(
        "a%2Eb.c-schema.sql",
        &format!(
            "{header}CREATE TABLE `c` (\n  `id` int NOT NULL,\n  `s` varchar(20) DEFAULT NULL,\n  `j` json DEFAULT NULL,\n  `t` timestamp NULL DEFAULT NULL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB DEFAULT CHARSET=latin1;\n"
        ),
    );
    let rows =
        "INSERT INTO `c` VALUES\n(1,'ä;\\n','{\"a\": \"名\"}','2026-01-02 03:04:05'),\n(0,NULL,NULL,NULL);\n";
    let file = "a%2Eb.c.000000000.sql";
    write(file, &format!("{header}{rows}"));
    let load = async |epoch: u64, timezone: &str| {
        let mut spec = spec(&rig, &dir, TaskMode::Load);
        let mut subtask = (*spec.subtask).clone();
        subtask.timezone = timezone.to_owned();
        spec.subtask = Arc::new(subtask);
        run(&rig, epoch, &spec).await
    };
    let refused = async |epoch: u64, timezone: &str, words: &str| {
        let error = load(epoch, timezone).await.unwrap_err();
        assert!(error.code == codes::DUMP_FILES && error.to_string().contains(words), "{error}");
    };
    refused(1, "", "no `metadata`").await;
    write("metadata", metadata);
    refused(2, "", "has not ended").await;
    write("metadata", &format!("{metadata}Finished dump at: 2026-01-02 03:04:06\n"));
    write("a%2Eb.c.000000001.csv", "1,2");
    refused(3, "", "another form").await;
    std::fs::remove_file(dir.0.join("a%2Eb.c.000000001.csv")).unwrap();
    refused(4, "", "time zone").await;
    assert_eq!(load(5, "+08:00").await.unwrap(), UnitDone::Finished);
    let found = rig.target.query("SELECT id, HEX(s), j->>'$.a', t FROM `a.b`.c ORDER BY id").await;
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        found,
        [
            vec![some("0"), None, None, None],
            vec![some("1"), some("E43B0A"), some("名"), some("2026-01-01 19:04:05")]
        ]
    );
    // Done is done.
    assert_eq!(load(6, "").await.unwrap(), UnitDone::Finished);
    // Begun anew with a file that is cut off: nothing of its last statement is there, and another file is not taken for it.
    rig.target.execute(&["DROP TABLE dm_meta.t_dmnode_file", "DELETE FROM `a.b`.c"]).await;
    write(file, &format!("{header}{}", &rows[..rows.len() - 3]));
    refused(7, "+08:00", "middle of a statement").await;
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM `a.b`.c").await, 0);
    write(file, &format!("{header}{rows}"));
    refused(8, "+08:00", "not those that the load began with").await;
}
