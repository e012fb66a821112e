//! What is copied, and whether it arrived.

use anyhow::Result;
use dmnode_tests::chaos;
use dmnode_tests::server::{Flavor, Server};

/// The schema of every data set.
pub(crate) const SCHEMA: &str = "bench";

/// Rows of one INSERT … SELECT: small enough for a binlog transaction that every mover's source can hold.
const ROWS_PER_STATEMENT: u64 = 100_000;
/// Rows of a small table.
const SMALL_TABLE_ROWS: u64 = 100;

/// Tables to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataSet {
    /// Eight equal tables as sysbench makes them: two integers, two texts, a secondary index.
    Tables,
    /// All rows in one such table.
    OneTable,
    /// The mixed tables of the demo: every common type, a table without a key.
    Mixed,
    /// Many tables of a hundred rows.
    Many,
}

impl DataSet {
    /// All of them.
    pub(crate) const ALL: &[Self] = &[Self::Tables, Self::OneTable, Self::Mixed, Self::Many];

    /// The name on the command line and in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tables => "tables",
            Self::OneTable => "one-table",
            Self::Mixed => "mixed",
            Self::Many => "many",
        }
    }

    /// Whether its tables are sysbench's, with an integer key from 1.
    pub(crate) fn is_sysbench(self) -> bool {
        matches!(self, Self::Tables | Self::OneTable)
    }

    /// Makes the tables and fills them; how many rows there are.
    pub(crate) async fn fill(self, source: &Server, rows: u64) -> Result<u64> {
        source.execute(&[&format!("DROP DATABASE IF EXISTS {SCHEMA}")]).await?;
        if self == Self::Mixed {
            chaos::seed_data(source, SCHEMA, rows, 7).await?;
        } else {
            source.execute(&[&format!("CREATE DATABASE {SCHEMA}")]).await?;
            let tables = match self {
                Self::Tables => 8,
                Self::OneTable => 1,
                Self::Mixed | Self::Many => rows / SMALL_TABLE_ROWS,
            };
            for number in 1..=tables.max(1) {
                fill_table(source, number, rows / tables.max(1)).await?;
            }
        }
        let mut count = 0;
        for table in source.tables(SCHEMA).await? {
            count += source.query_one::<u64>(&format!("SELECT COUNT(*) FROM {SCHEMA}.`{table}`")).await?;
        }
        Ok(count)
    }
}

async fn fill_table(source: &Server, number: u64, rows: u64) -> Result<()> {
    let mut root = source.root().await?;
    let mut run = async |sql: String| mysql_async::prelude::Queryable::query_drop(&mut root, sql).await;
    run(format!(
        "CREATE TABLE {SCHEMA}.sbtest{number} (id INT NOT NULL AUTO_INCREMENT, k INT NOT NULL DEFAULT 0, \
         c CHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT '', PRIMARY KEY (id), KEY k_{number} (k))"
    ))
    .await?;
    let recursion = match source.flavor {
        Flavor::Mysql => "SET SESSION cte_max_recursion_depth = 4294967295",
        Flavor::Mariadb => "SET SESSION max_recursive_iterations = 4294967295",
    };
    run(recursion.to_owned()).await?;
    let group = "LPAD(FLOOR(RAND() * 99999999999), 11, '0')";
    let (c, pad) = ([group; 10].join(", "), [group; 5].join(", "));
    let mut first = 1;
    while first <= rows {
        let last = rows.min(first + ROWS_PER_STATEMENT - 1);
        run(format!(
            "INSERT INTO {SCHEMA}.sbtest{number} WITH RECURSIVE n AS (SELECT {first} AS id UNION ALL SELECT id + 1 FROM n \
             WHERE id < {last}) SELECT id, 1 + FLOOR(RAND() * {rows}), CONCAT_WS('-', {c}), CONCAT_WS('-', {pad}) FROM n"
        ))
        .await?;
        first = last + 1;
    }
    root.disconnect().await?;
    Ok(())
}

/// Tables that are missing or have another content, by the servers' own checksums of all rows.
pub(crate) async fn differences(source: &Server, target: &Server) -> Result<Vec<String>> {
    let tables = source.tables(SCHEMA).await?;
    let there = target.tables(SCHEMA).await?;
    if tables != there {
        return Ok(vec![format!("{} tables instead of {}", there.len(), tables.len())]);
    }
    let mut differences = Vec::new();
    for some in tables.chunks(200) {
        let list: Vec<String> = some.iter().map(|table| format!("{SCHEMA}.`{table}`")).collect();
        let sql = format!("CHECKSUM TABLE {} EXTENDED", list.join(", "));
        let (here, there) = (
            source.query::<(String, Option<u64>)>(&sql).await?,
            target.query::<(String, Option<u64>)>(&sql).await?,
        );
        differences.extend(
            here.iter()
                .zip(&there)
                .filter(|(here, there)| here != there || here.1.is_none())
                .map(|(here, there)| format!("{} {:?} {:?}", here.0, here.1, there.1)),
        );
    }
    Ok(differences)
}
