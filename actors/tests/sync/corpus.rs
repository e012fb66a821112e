//! The corpus of DDL statements (`tests/ddl/*.sql`), executed at a source: both sides end with equal definitions.

use std::fmt::Write as _;

use dmnode_model::{StreamDecision, StreamOp};

use super::decisions::start_of;
use super::*;

/// Statements of a file, one a line; lines with `#` are remarks.
const COMMON: [&str; 4] = [
    include_str!("../ddl/shop.sql"),
    include_str!("../ddl/blog.sql"),
    include_str!("../ddl/erp.sql"),
    include_str!("../ddl/suite.sql"),
];
/// How many the corpus has at least, for each flavour.
const STATEMENTS_MIN: usize = 500;
const LIMIT: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_corpus_leaves_equal_definitions_mariadb() {
    run(Kind::Mariadb, include_str!("../ddl/mariadb.sql")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_corpus_leaves_equal_definitions_mysql() {
    run(Kind::Mysql, include_str!("../ddl/mysql.sql")).await;
}

async fn run(kind: Kind, own: &str) {
    let mut rig = Rig::new(kind, kind, true).await;
    let mut running = rig.start();
    let mut count = 0;
    let mut faults = String::new();
    for file in COMMON.iter().chain([&own]) {
        // A session of its own for each file: settings of one must not reach the next.
        let mut conn = rig.source.connect().await;
        for statement in file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            count += 1;
            if let Err(error) = conn.execute(statement).await {
                let _ = writeln!(faults, "the source refuses: {statement}\n    {error}");
            }
        }
        conn.close().await;
    }
    let mark = ["CREATE DATABASE app_end", "CREATE TABLE app_end.last_one (id INT PRIMARY KEY)"];
    rig.source.execute(&mark).await;
    let deadline = tokio::time::Instant::now() + LIMIT;
    // What stops the stream is noted and passed, so that one run tells all faults.
    loop {
        let mut target = rig.target.connect().await;
        if target.query("SELECT 1 FROM app_end.last_one").await.is_ok() {
            break;
        }
        target.close().await;
        if running.handle.is_finished() {
            let error = running.error().await;
            let _ = writeln!(faults, "the stream stops: {error}");
            assert!(
                error.location.as_deref().is_some_and(|at| at.contains("endLocation")),
                "{faults}\nthis cannot be passed"
            );
            rig.decisions.push(StreamDecision {
                position: start_of(&error),
                op: StreamOp::Skip,
                statements: Vec::new(),
                number: 1,
            });
            running = rig.start();
        }
        assert!(tokio::time::Instant::now() < deadline, "not in time; so far: {faults}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    running.stop().await;
    let (source, target) = (definitions(&rig.source).await, definitions(&rig.target).await);
    for name in source.keys().chain(target.keys().filter(|name| !source.contains_key(*name))) {
        let (at_source, in_target) = (source.get(name), target.get(name));
        if at_source != in_target {
            let _ = writeln!(faults, "{name}\n  source {at_source:?}\n  target {in_target:?}");
        }
    }
    assert!(faults.is_empty(), "{faults}");
    assert!(count >= STATEMENTS_MIN, "only {count} statements");
    assert!(source.len() > 100, "only {} definitions", source.len());
}

/// `SHOW CREATE` of all databases and tables of the tests.
async fn definitions(server: &Server) -> BTreeMap<String, String> {
    let mut conn = server.connect().await;
    let schemas = conn
        .query("SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'app%'")
        .await
        .unwrap();
    let tables = conn
        .query("SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema LIKE 'app%' AND table_type LIKE '%TABLE'")
        .await
        .unwrap();
    let mut names: Vec<(String, String)> = Vec::new();
    for schema in &schemas {
        let name = dmnode_model::quote_ident(&schema.str(0).unwrap());
        names.push((name.clone(), format!("SHOW CREATE DATABASE {name}")));
    }
    for table in &tables {
        let name = dmnode_model::TableName::new(table.str(0).unwrap(), table.str(1).unwrap()).quoted();
        names.push((name.clone(), format!("SHOW CREATE TABLE {name}")));
    }
    let mut all = BTreeMap::new();
    for (name, show) in names {
        let row = conn.query_one(&show).await.unwrap().unwrap();
        let text = row.string(1).unwrap();
        // The next value to be given is not part of a table's shape.
        let words: Vec<&str> = text.split(' ').filter(|word| !word.starts_with("AUTO_INCREMENT=")).collect();
        all.insert(name, words.join(" "));
    }
    all
}
