//! Live writes into the mixed tables from many connections.
//!
//! Every connection is one writer with a random generator of its own, derived from the seed; what it does is the same for
//! the same seed, in which order the writers meet is not. Every committed transaction of a writer also appends a row to
//! `ledger`, so that a transaction that took effect twice or not at all shows as a wrong number of rows.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use crate::server::ServerAddress;
use crate::tables;

/// Errors that end a transaction but not the writer: duplicate key, lock wait time-out, deadlock.
const EXPECTED_ERRORS: [u16; 3] = [1062, 1205, 1213];

/// What to write, where and for how long.
#[derive(Clone, Debug)]
pub struct WorkloadOptions {
    /// The servers; each gets its own writers.
    pub servers: Vec<ServerAddress>,
    /// The schema the tables are in; created if missing.
    pub schema: String,
    /// Writers per server.
    pub connections: u32,
    /// Seed of everything random.
    pub seed: u64,
    /// Stop after so long.
    pub duration: Option<Duration>,
    /// Stop when this file exists.
    pub stop_file: Option<PathBuf>,
    /// Pause between two transactions of a writer.
    pub pause: Duration,
}

/// What was done on one server.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WorkloadReport {
    /// The server, without its password.
    pub server: String,
    /// Transactions committed.
    pub committed: u64,
    /// Transactions rolled back on purpose.
    pub rolled_back: u64,
    /// Transactions that met a duplicate key, a deadlock or a lock wait time-out.
    pub conflicts: u64,
    /// Rows appended to `ledger` by committed transactions.
    pub ledger_rows: u64,
    /// Increments of `counters.n` by committed transactions.
    pub counter_increments: u64,
}

#[derive(Default)]
struct Counts {
    committed: AtomicU64,
    rolled_back: AtomicU64,
    conflicts: AtomicU64,
    ledger_rows: AtomicU64,
    counter_increments: AtomicU64,
}

/// Runs the writers until the time is over or the stop file is there; fails when a server does something unexpected.
pub async fn run(options: WorkloadOptions) -> Result<Vec<WorkloadReport>> {
    let options = Arc::new(options);
    let started = Instant::now();
    let mut reports = Vec::new();
    let mut writers = tokio::task::JoinSet::new();
    for (server_index, server) in (0_u64..).zip(&options.servers) {
        let mut connection = server.connect().await?;
        for statement in tables::create_statements(&options.schema) {
            connection
                .query_drop(statement)
                .await
                .with_context(|| format!("cannot make the tables on {server}"))?;
        }
        let counts = Arc::new(Counts::default());
        reports.push((server.to_string(), Arc::clone(&counts)));
        for index in 0..options.connections {
            let number = server_index * 1000 + u64::from(index);
            let writer = Writer {
                rng: StdRng::seed_from_u64(options.seed.wrapping_mul(1_000_003).wrapping_add(number)),
                connection: server.connect().await?,
                number,
                base: i64::from(index) << 24,
                ledger_seq: 0,
                counts: Arc::clone(&counts),
                options: Arc::clone(&options),
            };
            writers.spawn(writer.run(started));
        }
    }
    while let Some(ended) = writers.join_next().await {
        ended.context("a writer died")??;
    }
    Ok(reports
        .into_iter()
        .map(|(server, counts)| WorkloadReport {
            server,
            committed: counts.committed.load(Ordering::Relaxed),
            rolled_back: counts.rolled_back.load(Ordering::Relaxed),
            conflicts: counts.conflicts.load(Ordering::Relaxed),
            ledger_rows: counts.ledger_rows.load(Ordering::Relaxed),
            counter_increments: counts.counter_increments.load(Ordering::Relaxed),
        })
        .collect())
}

struct Writer {
    rng: StdRng,
    connection: Conn,
    number: u64,
    /// Keys of this writer's own new rows start here, so that writers of one run do not fight over them.
    base: i64,
    ledger_seq: i64,
    counts: Arc<Counts>,
    options: Arc<WorkloadOptions>,
}

impl Writer {
    async fn run(mut self, started: Instant) -> Result<()> {
        while !self.is_over(started) {
            self.transaction().await?;
            if !self.options.pause.is_zero() {
                tokio::time::sleep(self.options.pause).await;
            }
        }
        self.connection.disconnect().await?;
        Ok(())
    }

    fn is_over(&self, started: Instant) -> bool {
        let time_is_over = self.options.duration.is_some_and(|duration| started.elapsed() >= duration);
        time_is_over || self.options.stop_file.as_ref().is_some_and(|file| file.try_exists().unwrap_or(true))
    }

    async fn transaction(&mut self) -> Result<()> {
        let mut statements = Vec::new();
        let mut increments = 0;
        // Mostly one kind of work, sometimes a transaction over everything.
        match self.rng.random_range(0..12) {
            0..=3 => increments = self.change_counters(&mut statements),
            4 | 5 => self.change_orders(&mut statements),
            6 | 7 => self.change_accounts(&mut statements),
            8 | 9 => self.change_documents(&mut statements),
            10 => self.change_marks(&mut statements),
            _ => {
                increments = self.change_counters(&mut statements);
                self.change_orders(&mut statements);
                self.change_accounts(&mut statements);
                self.change_documents(&mut statements);
                self.change_marks(&mut statements);
            }
        }
        let roll_back = self.rng.random_range(0..20) == 0;
        self.ledger_seq += 1;
        let amount = tables::amount(&mut self.rng);
        let (schema, writer, seq) = (self.schema(), self.number, self.ledger_seq);
        let digest = digest(self.options.seed, writer, seq);
        statements.push(format!(
            "INSERT INTO {schema}.ledger VALUES ({writer},{seq},'{digest:016x}',{amount},UTC_TIMESTAMP(6))"
        ));
        statements.push(if roll_back { "ROLLBACK".to_owned() } else { "COMMIT".to_owned() });

        self.connection.query_drop("BEGIN").await?;
        for statement in statements {
            match self.connection.query_drop(statement).await {
                Ok(()) => {}
                Err(mysql_async::Error::Server(error)) if EXPECTED_ERRORS.contains(&error.code) => {
                    self.connection.query_drop("ROLLBACK").await?;
                    self.counts.conflicts.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                Err(err) => return Err(err).context("the workload met an unexpected error"),
            }
        }
        if roll_back {
            self.counts.rolled_back.fetch_add(1, Ordering::Relaxed);
        } else {
            self.counts.committed.fetch_add(1, Ordering::Relaxed);
            self.counts.ledger_rows.fetch_add(1, Ordering::Relaxed);
            self.counts.counter_increments.fetch_add(increments, Ordering::Relaxed);
        }
        Ok(())
    }

    fn schema(&self) -> String {
        tables::quote_ident(&self.options.schema)
    }

    fn change_counters(&mut self, statements: &mut Vec<String>) -> u64 {
        let first = self.rng.random_range(0..tables::COUNTER_COUNT);
        let count = self.rng.random_range(1..4);
        let schema = self.schema();
        for id in (first..tables::COUNTER_COUNT).take(count) {
            statements.push(format!("UPDATE {schema}.counters SET n = n + 1 WHERE id = {id}"));
        }
        u64::try_from((tables::COUNTER_COUNT - first).min(i64::try_from(count).unwrap_or(0))).unwrap_or(0)
    }

    fn change_orders(&mut self, statements: &mut Vec<String>) {
        let schema = self.schema();
        let tenant = self.rng.random_range(0..tables::TENANT_COUNT);
        let order_no = 1_000_000_000 + self.base + self.rng.random_range(0..5000);
        let row_count = self.rng.random_range(1..6);
        let rows = (0..row_count)
            .map(|n| tables::order_row(&mut self.rng, tenant, order_no + n))
            .collect::<Vec<_>>()
            .join(",");
        statements.push(format!(
            "INSERT INTO {schema}.orders (tenant,order_no,state,total,flags,items,note,created) VALUES {rows} \
             ON DUPLICATE KEY UPDATE total = total + 1, note = VALUES(note)"
        ));
        statements.push(format!(
            "UPDATE {schema}.orders SET state = 'paid', total = total * 1.01 WHERE tenant = {tenant} AND order_no >= {order_no} \
             ORDER BY order_no LIMIT 3"
        ));
        if self.rng.random_range(0..3) == 0 {
            statements.push(format!(
                "DELETE FROM {schema}.orders WHERE tenant = {tenant} AND order_no >= {order_no} ORDER BY order_no LIMIT 2"
            ));
        }
    }

    fn change_accounts(&mut self, statements: &mut Vec<String>) {
        let schema = self.schema();
        let number = (1 << 34) + self.base + self.rng.random_range(0..2000);
        let code = tables::account_code(&mut self.rng, number);
        let new_code = tables::account_code(&mut self.rng, number + 2000);
        let row = tables::account_row(&mut self.rng, &code);
        let code = tables::quote_text(&code);
        statements.push(match self.rng.random_range(0..4) {
            0 => format!("DELETE FROM {schema}.accounts WHERE code = {code}"),
            // The key itself changes, in value or only in case.
            1 => format!("UPDATE {schema}.accounts SET code = {} WHERE code = {code}", tables::quote_text(&new_code)),
            2 => format!("UPDATE {schema}.accounts SET balance = balance / 3, code = UPPER(code) WHERE code = {code}"),
            _ => format!(
                "INSERT INTO {schema}.accounts (code,email,name,balance) VALUES {row} ON DUPLICATE KEY UPDATE balance = balance - 1"
            ),
        });
    }

    fn change_documents(&mut self, statements: &mut Vec<String>) {
        let schema = self.schema();
        let row_count = self.rng.random_range(1..4);
        let rows = (0..row_count)
            .map(|_| {
                let token = self.rng.random();
                tables::document_row(&mut self.rng, None, token, 40)
            })
            .collect::<Vec<_>>()
            .join(",");
        statements.push(format!(
            "INSERT INTO {schema}.documents (id,token,title,body,payload,score,bits,born,at,made) VALUES {rows}"
        ));
        let near = self.rng.random_range(0..10_000);
        statements.push(match self.rng.random_range(0..3) {
            0 => format!("DELETE FROM {schema}.documents WHERE id >= {near} ORDER BY id LIMIT 2"),
            1 => format!("UPDATE {schema}.documents SET title = CONCAT('re: ', LEFT(title, 60)) WHERE id >= {near} ORDER BY id LIMIT 2"),
            _ => format!("UPDATE {schema}.documents SET score = score / 3, bits = bits ^ 5, payload = NULL WHERE id = {near}"),
        });
    }

    fn change_marks(&mut self, statements: &mut Vec<String>) {
        let schema = self.schema();
        let kind = self.rng.random_range(0..8);
        statements.push(match self.rng.random_range(0..4) {
            0 => format!("DELETE FROM {schema}.marks WHERE kind = {kind} LIMIT 1"),
            1 => format!("UPDATE {schema}.marks SET label = 'moved' WHERE kind = {kind} LIMIT 1"),
            _ => format!("INSERT INTO {schema}.marks VALUES ({kind},'same'),({kind},NULL),({kind},'same')"),
        });
    }
}

fn digest(seed: u64, writer: u64, seq: i64) -> u64 {
    let mut value = seed ^ writer.rotate_left(40) ^ seq.unsigned_abs();
    for _ in 0..3 {
        value = (value ^ (value >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    value
}
