//! A pair of servers with the full copy of a task between them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dmnode_actors::load::{self, ChunkFilter, LoadSpec, Loaded};
use dmnode_actors::unit::UnitContext;
use dmnode_model::config::{SourceConfig, TaskConfig};
use dmnode_model::gtid::Flavor;
use dmnode_model::{CodedError, Epoch, SourceId, TableName, TaskName};
use dmnode_mysql::TableInfo;

use super::{Kind, Server};

pub const SOURCE: &str = "s1";
pub const TASK: &str = "t";

/// A pair of servers with a task between them.
pub struct Rig {
    pub source: Server,
    pub target: Server,
    /// Further lines of the task file.
    pub task: String,
    /// Rows of a chunk; 0 for the default.
    pub rows: u64,
    /// Further lines of the task's only instance.
    pub instance: String,
    pub source_user: &'static str,
    pub target_user: &'static str,
}

impl Rig {
    pub async fn new(from: Kind, to: Kind) -> Self {
        Self::with(from, &[], to, &[]).await
    }

    pub async fn with(from: Kind, source: &[&str], to: Kind, target: &[&str]) -> Self {
        let (source, target) = tokio::join!(Server::start(from, source), Server::start(to, target));
        Self {
            source,
            target,
            task: String::new(),
            rows: 5000,
            instance: String::new(),
            source_user: "root",
            target_user: "root",
        }
    }

    pub fn spec(&self) -> LoadSpec {
        let endpoint = self.source.endpoint_of(self.source_user);
        let yaml = format!(
            "source-id: {SOURCE}\nfrom:\n  host: 127.0.0.1\n  port: {}\n  user: {}\n  password: '{}'\n",
            self.source.port,
            endpoint.user,
            endpoint.password.expose()
        );
        let source = SourceConfig::from_yaml(&yaml, None).unwrap().value;
        let yaml = format!(
            "name: {TASK}\ntask-mode: all\ntarget-database:\n  host: 127.0.0.1\n  port: {}\n  user: {}\n  password: '{}'\n\
             mysql-instances:\n  - source-id: {SOURCE}\n    mydumper-config-name: d\n{}mydumpers:\n  d:\n    threads: 3\n    rows: {}\n{}\n",
            self.target.port,
            self.target_user,
            self.target.endpoint_of(self.target_user).password.expose(),
            self.instance,
            self.rows,
            self.task
        );
        let task = TaskConfig::from_yaml(&yaml, None).unwrap_or_else(|err| panic!("{err}\n{yaml}")).value;
        let subtask = task.subtask(&SourceId::new(SOURCE)).unwrap();
        LoadSpec { source: Arc::new(source), subtask: Arc::new(subtask) }
    }

    pub fn context(&self, epoch: u64) -> UnitContext {
        UnitContext::detached(TaskName::new(TASK), SourceId::new(SOURCE), Epoch(epoch))
    }

    pub async fn load(&self, epoch: u64) -> Result<Loaded, CodedError> {
        let run = load::run(self.context(epoch), self.spec());
        tokio::time::timeout(Duration::from_secs(120), run).await.expect("the copy must end")
    }

    pub async fn filter(&self) -> Option<ChunkFilter> {
        let flavor = match self.source.kind {
            Kind::Mysql => Flavor::Mysql,
            Kind::Mariadb => Flavor::Mariadb,
        };
        let mut conn = self.target.connect().await;
        ChunkFilter::load(&mut conn, "dm_meta", &TaskName::new(TASK), &SourceId::new(SOURCE), flavor)
            .await
            .unwrap()
    }

    pub async fn chunks(&self) -> Vec<Vec<Option<String>>> {
        self.target
            .query(
                "SELECT src_table, chunk, done, position_file, position_pos, row_count, updated_at \
                 FROM dm_meta.t_dmnode_chunk ORDER BY src_schema, src_table, chunk",
            )
            .await
    }

    pub async fn done_chunks(&self) -> u64 {
        let mut conn = self.target.connect().await;
        let rows = conn.query("SELECT COUNT(*) FROM dm_meta.t_dmnode_chunk WHERE done = 1").await;
        rows.ok().and_then(|rows| rows[0].u64(0)).unwrap_or(0)
    }

    pub async fn assert_equal(&self, tables: &[(&str, &str, &str, &str)]) {
        for (schema, table, target_schema, target_table) in tables {
            let from = contents(&self.source, schema, table).await;
            let to = contents(&self.target, target_schema, target_table).await;
            assert_eq!(from.len(), to.len(), "{schema}.{table}: number of rows");
            for (row, (a, b)) in from.iter().zip(&to).enumerate() {
                for (column, value) in a {
                    // MariaDB does not show the sign of a zero.
                    if self.target.kind == Kind::Mariadb && value.as_deref() == Some(b"-0") {
                        continue;
                    }
                    assert_eq!(
                        Some(value),
                        b.get(column),
                        "{schema}.{table}.{column}, sorted row {row}: {:?} / {:?}",
                        text(value),
                        b.get(column).map(text)
                    );
                }
            }
        }
    }
}

pub type Row = BTreeMap<String, Option<Vec<u8>>>;

/// All rows in raw bytes, sorted.
pub async fn contents(server: &Server, schema: &str, table: &str) -> Vec<Row> {
    let name = TableName::new(schema, table);
    let info = TableInfo::load(&mut server.connect().await, &name).await.unwrap().expect("the table exists");
    let columns: Vec<String> = info
        .columns
        .iter()
        .map(|column| {
            let name = dmnode_model::quote_ident(&column.name);
            match column.data_type {
                dmnode_mysql::ColumnType::Float => format!("{name} * 1e0"),
                _ => name,
            }
        })
        .collect();
    let mut conn = server.connect_raw().await;
    let rows = conn.query(format!("SELECT {} FROM {name}", columns.join(","))).await.unwrap();
    let mut rows: Vec<Row> = rows
        .iter()
        .map(|row| {
            info.columns
                .iter()
                .enumerate()
                .map(|(index, column)| (column.name.clone(), row.bytes(index).map(<[u8]>::to_vec)))
                .collect()
        })
        .collect();
    rows.sort();
    rows
}

fn text(value: &Option<Vec<u8>>) -> Option<String> {
    value.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}
