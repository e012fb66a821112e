//! Random DML and DDL on one schema from many connections: what real applications and their migrations do, and a good
//! deal that nobody sane would do.
//!
//! Every connection is one writer with a random generator of its own, derived from the seed. Statements are made from
//! the tables as they are at that moment (`information_schema`), so what the server refuses is not an error: random
//! statements may violate a key or alter what has just been dropped. What counts is that each kind of statement
//! succeeded at least once; [`SoakReport::missing`] names those that never did.

mod catalog;
mod ddl;
mod dml;
mod tables;
mod types;
mod values;
mod writer;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mysql_async::prelude::Queryable;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;

use crate::server::ServerAddress;
use catalog::Catalog;

/// Which server it is; some types and statements exist on one of them only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// MySQL 8.0 or later.
    Mysql,
    /// MariaDB 10.11 or later.
    Mariadb,
}

impl FromStr for Flavor {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "mysql" => Ok(Self::Mysql),
            "mariadb" => Ok(Self::Mariadb),
            other => bail!("`{other}` is no flavor; known: mysql, mariadb"),
        }
    }
}

/// What to do, where and for how long.
#[derive(Clone, Debug)]
pub struct SoakOptions {
    /// The server.
    pub server: ServerAddress,
    /// What it is.
    pub flavor: Flavor,
    /// The schema; made anew unless it is there.
    pub schema: String,
    /// Writers.
    pub connections: u32,
    /// Seed of everything random.
    pub seed: u64,
    /// Stop after so long.
    pub duration: Option<Duration>,
    /// Stop when this file exists.
    pub stop_file: Option<PathBuf>,
    /// Pause between two transactions of a writer.
    pub pause: Duration,
    /// One of so many things a writer does is DDL.
    pub ddl_every: u32,
    /// No DDL before this file exists.
    pub ddl_file: Option<PathBuf>,
    /// Where each statement that succeeded is noted, with the number of its writer.
    pub log: Option<PathBuf>,
    /// Kinds that are left out.
    pub without: Vec<String>,
}

/// How a kind of statement went.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KindCount {
    /// Succeeded.
    pub ok: u64,
    /// Refused by the server.
    pub refused: u64,
    /// Why it was refused last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// What was done.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SoakReport {
    /// The server, without its password.
    pub server: String,
    /// The seed.
    pub seed: u64,
    /// Transactions committed.
    pub committed: u64,
    /// Transactions rolled back, on purpose or by a conflict.
    pub rolled_back: u64,
    /// Statements that succeeded.
    pub statements: u64,
    /// Connections made again because the server went away.
    pub reconnects: u64,
    /// Refusals of single statements by the server's error number: what random statements meet.
    pub refused: BTreeMap<u16, u64>,
    /// Refusals outside of a single statement, a COMMIT's for one, by the server's error number.
    pub unexpected: BTreeMap<u16, u64>,
    /// Every kind of statement.
    pub kinds: BTreeMap<String, KindCount>,
    /// Kinds that never succeeded: the run has not shown what it is there for.
    pub missing: Vec<String>,
}

/// What the writers share.
struct Shared {
    options: SoakOptions,
    started: Instant,
    catalog: RwLock<Catalog>,
    report: Mutex<SoakReport>,
    log: Option<Mutex<std::fs::File>>,
}

impl Shared {
    fn is_over(&self) -> bool {
        let time_is_over = self.options.duration.is_some_and(|duration| self.started.elapsed() >= duration);
        time_is_over || self.options.stop_file.as_ref().is_some_and(|file| file.try_exists().unwrap_or(true))
    }

    fn report(&self) -> std::sync::MutexGuard<'_, SoakReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn catalog(&self) -> Catalog {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how a statement of `kind` went.
    fn count(&self, kind: &str, error: Option<String>) {
        let mut report = self.report();
        if error.is_none() {
            report.statements += 1;
        }
        let count = report.kinds.entry(kind.to_owned()).or_default();
        match error {
            None => count.ok += 1,
            Some(error) => {
                count.refused += 1;
                count.last_error = Some(error);
            }
        }
    }

    fn note(&self, writer: u32, statement: &str) {
        if let Some(log) = &self.log {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = writeln!(log, "{:.3} w{writer} {statement}", self.started.elapsed().as_secs_f64());
        }
    }
}

/// Runs the writers until the time is over or the stop file is there.
pub async fn run(options: SoakOptions) -> Result<SoakReport> {
    let mut connection = options.server.connect().await?;
    let mut rng = StdRng::seed_from_u64(options.seed);
    let schema = crate::tables::quote_ident(&options.schema);
    connection.query_drop(format!("CREATE DATABASE IF NOT EXISTS {schema} CHARACTER SET utf8mb4")).await?;
    connection.query_drop(format!("USE {schema}")).await?;
    let mut catalog = Catalog::load(&mut connection, &options.schema).await?;
    if catalog.tables.is_empty() {
        for number in 0..tables::TABLE_COUNT {
            let statement = tables::create(&mut rng, options.flavor, &tables::name(number), number);
            connection.query_drop(&statement).await.with_context(|| format!("refused: {statement}"))?;
        }
        catalog = Catalog::load(&mut connection, &options.schema).await?;
    }
    connection.disconnect().await?;
    let log = options.log.as_ref().map(std::fs::File::create).transpose().context("cannot write the log")?;
    let mut report =
        SoakReport { server: options.server.to_string(), seed: options.seed, ..SoakReport::default() };
    let kinds = dml::kinds(options.flavor).into_iter().chain(ddl::kinds(options.flavor));
    for kind in kinds.filter(|kind| !options.without.iter().any(|without| without == kind)) {
        report.kinds.insert(kind.to_owned(), KindCount::default());
    }
    let shared = Arc::new(Shared {
        started: Instant::now(),
        catalog: RwLock::new(catalog),
        report: Mutex::new(report),
        log: log.map(Mutex::new),
        options,
    });
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..shared.options.connections {
        writers.spawn(writer::Writer::new(number, Arc::clone(&shared)).run());
    }
    while let Some(ended) = writers.join_next().await {
        ended.context("a writer died")??;
    }
    let mut report = shared.report().clone();
    report.missing =
        report.kinds.iter().filter(|(_, count)| count.ok == 0).map(|(kind, _)| kind.clone()).collect();
    Ok(report)
}
