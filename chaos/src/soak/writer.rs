//! One connection of the soak.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::catalog::{Catalog, pick};
use super::{Flavor, Shared, ddl, dml};

/// How long the server may be away.
const AWAY_MAX: Duration = Duration::from_secs(120);
/// Refusals outside of a single statement that a writer survives; more of them mean that it does not work at all.
const UNEXPECTED_MAX: u32 = 200;
/// Things done with the same session settings.
const SETTINGS_FOR: u32 = 20;

/// While this file is beside that which lets DDL begin, there is none on partitions.
const NO_PARTITIONS: &str = "no-partitions";

/// How a statement ended.
enum Outcome {
    Done,
    /// The server refused it. The transaction is gone when `lost` is set.
    Refused {
        lost: bool,
    },
}

/// A writer; see [`super`].
pub struct Writer {
    number: u32,
    rng: StdRng,
    shared: Arc<Shared>,
    settings_left: u32,
    unexpected: u32,
}

impl Writer {
    /// The writer of that number.
    pub fn new(number: u32, shared: Arc<Shared>) -> Self {
        let seed = shared.options.seed.wrapping_mul(1_000_003).wrapping_add(u64::from(number) + 1);
        Self { number, rng: StdRng::seed_from_u64(seed), shared, settings_left: 0, unexpected: 0 }
    }

    /// Writes until the time is over; connects again whenever the server went away.
    pub async fn run(mut self) -> Result<()> {
        let mut connection = self.connect().await?;
        while !self.shared.is_over() {
            match self.turn(&mut connection).await {
                Ok(()) => {}
                Err(error) if is_lost(&error) => {
                    tracing::info!(writer = self.number, error = %error, "the server went away");
                    self.shared.report().reconnects += 1;
                    connection = self.connect().await?;
                    self.forget_prepared(&mut connection).await;
                    // Whatever fails here fails in the next turn as well.
                    let _ = self.reload(&mut connection).await;
                }
                // Random statements meet random refusals, at the commit as well. The source decides what is valid; the
                // writer begins again.
                Err(mysql_async::Error::Server(error)) if self.unexpected < UNEXPECTED_MAX => {
                    tracing::warn!(writer = self.number, code = error.code, message = %error.message, "an unexpected refusal");
                    self.unexpected += 1;
                    *self.shared.report().unexpected.entry(error.code).or_default() += 1;
                    let _ = connection.disconnect().await;
                    connection = self.connect().await?;
                    self.forget_prepared(&mut connection).await;
                    let _ = self.reload(&mut connection).await;
                }
                Err(error) => return Err(error).context("the soak met an unexpected error"),
            }
            if !self.shared.options.pause.is_zero() {
                tokio::time::sleep(self.shared.options.pause).await;
            }
        }
        let _ = connection.query_drop("ROLLBACK").await;
        connection.disconnect().await?;
        Ok(())
    }

    async fn connect(&mut self) -> Result<Conn> {
        self.settings_left = 0;
        let started = std::time::Instant::now();
        loop {
            let error = match self.shared.options.server.connect().await {
                Ok(mut connection) => {
                    let schema = crate::tables::quote_ident(&self.shared.options.schema);
                    match connection.query_drop(format!("USE {schema}")).await {
                        Ok(()) => return Ok(connection),
                        Err(error) => error.into(),
                    }
                }
                Err(error) => error,
            };
            if started.elapsed() > AWAY_MAX {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// XA transactions that were prepared outlive the server and hold their locks.
    async fn forget_prepared(&self, connection: &mut Conn) {
        let own = format!("soak-{}-", self.number);
        let prepared: Vec<mysql_async::Row> = connection.query("XA RECOVER").await.unwrap_or_default();
        for row in prepared {
            let Some(xid) = row.get::<String, _>(3).filter(|xid| xid.starts_with(&own)) else { continue };
            let _ = connection.query_drop(format!("XA ROLLBACK '{xid}'")).await;
        }
    }

    /// One thing: a transaction or a DDL.
    async fn turn(&mut self, connection: &mut Conn) -> Result<(), mysql_async::Error> {
        if self.settings_left == 0 {
            self.settings(connection).await?;
            self.settings_left = SETTINGS_FOR;
        }
        self.settings_left -= 1;
        let is_ddl = self.rng.random_range(0..self.shared.options.ddl_every.max(1)) == 0;
        let not_yet = self.shared.options.ddl_file.as_ref().is_some_and(|file| !file.exists());
        if is_ddl && !not_yet {
            self.ddl(connection).await
        } else if self.rng.random_range(0..60) == 0 {
            self.temporary_table(connection).await
        } else {
            self.transaction(connection).await
        }
    }

    /// A session is set up as this or that client does it.
    async fn settings(&mut self, connection: &mut Conn) -> Result<(), mysql_async::Error> {
        let partial_json = !self.is_without("partial-json");
        let rng = &mut self.rng;
        let modes = [
            "STRICT_TRANS_TABLES",
            "STRICT_TRANS_TABLES",
            "",
            "STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO",
            "ANSI_QUOTES,STRICT_TRANS_TABLES",
            "NO_BACKSLASH_ESCAPES,STRICT_TRANS_TABLES",
            "NO_AUTO_VALUE_ON_ZERO,STRICT_ALL_TABLES",
            "ALLOW_INVALID_DATES",
            "PIPES_AS_CONCAT,IGNORE_SPACE,STRICT_TRANS_TABLES",
        ];
        let mode = pick(rng, &modes).copied().unwrap_or_default();
        let zone = ["+00:00", "+05:30", "-11:00", "SYSTEM"][rng.random_range(0..4)];
        let names = ["utf8mb4", "utf8mb4", "utf8mb4 COLLATE utf8mb4_bin", "latin1"][rng.random_range(0..4)];
        let checks = u8::from(rng.random_range(0..10) > 0);
        let mut settings = format!(
            "SET NAMES {names}, time_zone = '{zone}', sql_mode = '{mode}', foreign_key_checks = {checks}, \
             lock_wait_timeout = 3, innodb_lock_wait_timeout = 2"
        );
        if self.shared.options.flavor == Flavor::Mysql {
            let compression = u8::from(rng.random_range(0..4) == 0);
            settings.push_str(&format!(", binlog_transaction_compression = {compression}"));
            if partial_json {
                let partial = if rng.random_range(0..3) == 0 { "PARTIAL_JSON" } else { "" };
                settings.push_str(&format!(", binlog_row_value_options = '{partial}'"));
            }
        } else {
            settings.push_str(", default_storage_engine = InnoDB");
        }
        // The generator reads names, in utf8mb4.
        settings.push_str(", character_set_results = utf8mb4");
        connection.query_drop(settings).await
    }

    fn is_without(&self, kind: &str) -> bool {
        self.shared.options.without.iter().any(|without| without == kind)
    }

    /// Any kind of `kinds`; half of the time the one that has succeeded least.
    fn choose(&mut self, kinds: &[&'static str]) -> Option<&'static str> {
        let kinds: Vec<&'static str> = kinds.iter().copied().filter(|kind| !self.is_without(kind)).collect();
        if self.rng.random() {
            return pick(&mut self.rng, &kinds).copied();
        }
        let report = self.shared.report();
        let count = |kind: &str| report.kinds.get(kind).map_or(0, |count| count.ok);
        let tries = |kind: &str| report.kinds.get(kind).map_or(0, |count| count.refused);
        // What is always refused must not keep the others from their turn.
        kinds.into_iter().min_by_key(|kind| count(kind) * 8 + tries(kind))
    }

    async fn transaction(&mut self, connection: &mut Conn) -> Result<(), mysql_async::Error> {
        let catalog = self.shared.catalog();
        let shape = self.rng.random_range(0..100);
        let xa = shape < 4 && !self.is_without("xa");
        let large = (4..6).contains(&shape);
        let autocommit = (6..25).contains(&shape);
        let count = if large { self.rng.random_range(100..400) } else { self.rng.random_range(1..8) };
        let xid = format!("'soak-{}-{}'", self.number, self.rng.random::<u32>());
        if xa {
            connection.query_drop(format!("XA START {xid}")).await?;
        } else if !autocommit {
            connection.query_drop("BEGIN").await?;
        }
        let mut savepoints = 0;
        let mut statements = 0;
        for _ in 0..count {
            if !autocommit && !xa && self.rng.random_range(0..12) == 0 {
                match self.rng.random_range(0..3) {
                    0 if savepoints > 0 => {
                        connection.query_drop(format!("ROLLBACK TO s{savepoints}")).await?;
                        self.shared.count("savepoint", None);
                    }
                    1 if savepoints > 0 => {
                        connection.query_drop(format!("RELEASE SAVEPOINT s{savepoints}")).await?;
                        savepoints -= 1;
                    }
                    _ => {
                        savepoints += 1;
                        connection.query_drop(format!("SAVEPOINT s{savepoints}")).await?;
                    }
                }
            }
            match self.change(connection, &catalog).await? {
                Outcome::Done => statements += 1,
                Outcome::Refused { lost: false } => {}
                Outcome::Refused { lost: true } => {
                    if xa {
                        // Rolled back by the server, but it still has a name.
                        let _ = connection.query_drop(format!("XA END {xid}")).await;
                        let _ = connection.query_drop(format!("XA ROLLBACK {xid}")).await;
                    } else {
                        connection.query_drop("ROLLBACK").await?;
                    }
                    self.shared.report().rolled_back += 1;
                    return self.reload(connection).await;
                }
            }
        }
        let roll_back = self.rng.random_range(0..15) == 0;
        if xa {
            connection.query_drop(format!("XA END {xid}")).await?;
            let one_phase = self.rng.random_range(0..3) == 0;
            if !one_phase {
                connection.query_drop(format!("XA PREPARE {xid}")).await?;
            }
            let end = match (roll_back, one_phase) {
                (true, _) => format!("XA ROLLBACK {xid}"),
                (false, true) => format!("XA COMMIT {xid} ONE PHASE"),
                (false, false) => format!("XA COMMIT {xid}"),
            };
            connection.query_drop(end).await?;
            self.shared.count("xa", None);
        } else if !autocommit {
            connection.query_drop(if roll_back { "ROLLBACK" } else { "COMMIT" }).await?;
        }
        if roll_back && !autocommit {
            self.shared.report().rolled_back += 1;
            self.shared.count("rollback", None);
        } else {
            self.shared.report().committed += 1;
            if large && statements > 50 {
                self.shared.count("large-transaction", None);
            }
        }
        Ok(())
    }

    /// One kind of change.
    async fn change(
        &mut self,
        connection: &mut Conn,
        catalog: &Catalog,
    ) -> Result<Outcome, mysql_async::Error> {
        let Some(kind) = self.choose(dml::statement_kinds()) else {
            return Ok(Outcome::Refused { lost: false });
        };
        let Some(statements) = dml::statements(&mut self.rng, kind, catalog) else {
            self.shared.count(kind, Some("no table was fit for it".to_owned()));
            return Ok(Outcome::Refused { lost: false });
        };
        if kind == "load-data" {
            let [statement, data] = statements.as_slice() else {
                return Ok(Outcome::Refused { lost: false });
            };
            let data = bytes::Bytes::from(data.clone());
            connection.set_infile_handler(async move {
                Ok(futures_util::stream::once(async move { Ok(data) }).boxed())
            });
            return self.run_statement(connection, kind, statement).await;
        }
        let mut outcome = Outcome::Done;
        for statement in &statements {
            outcome = self.run_statement(connection, kind, statement).await?;
            if matches!(outcome, Outcome::Refused { .. }) {
                break;
            }
        }
        Ok(outcome)
    }

    async fn run_statement(
        &mut self,
        connection: &mut Conn,
        kind: &str,
        statement: &str,
    ) -> Result<Outcome, mysql_async::Error> {
        match connection.query_drop(statement).await {
            Ok(()) => {
                self.shared.note(self.number, statement);
                self.shared.count(kind, None);
                Ok(Outcome::Done)
            }
            Err(mysql_async::Error::Server(error)) => {
                if error.code == 1064 {
                    tracing::warn!(kind, statement, error = %error.message, "a statement of the generator is no SQL");
                }
                self.shared.count(kind, Some(format!("{}: {}", error.code, error.message)));
                *self.shared.report().refused.entry(error.code).or_default() += 1;
                if is_fatal(error.code) {
                    return Err(mysql_async::Error::Server(error));
                }
                // Deadlock, lock wait, tables that changed meanwhile, an XA branch in a wrong state.
                Ok(Outcome::Refused {
                    lost: [1205, 1213, 1412, 1399, 1402, 1613, 1614, 1020].contains(&error.code),
                })
            }
            Err(error) => Err(error),
        }
    }

    async fn ddl(&mut self, connection: &mut Conn) -> Result<(), mysql_async::Error> {
        let flavor = self.shared.options.flavor;
        let kinds = ddl::kinds(flavor);
        let Some(kind) = self.choose(&kinds) else { return Ok(()) };
        // The server is about to be killed, and would not survive this one in one piece.
        let held = self.shared.options.ddl_file.as_ref().map(|file| file.with_file_name(NO_PARTITIONS));
        if kind.contains("partition") && held.is_some_and(|file| file.exists()) {
            return Ok(());
        }
        let catalog = self.shared.catalog();
        let Some(statements) = ddl::statements(&mut self.rng, kind, flavor, &catalog) else {
            self.shared.count(kind, Some("no table was fit for it".to_owned()));
            return Ok(());
        };
        for (index, statement) in statements.iter().enumerate() {
            // Only the last one is what the kind is about.
            let kind = if index + 1 < statements.len() { "before a DDL" } else { kind };
            if matches!(self.run_statement(connection, kind, statement).await?, Outcome::Refused { .. }) {
                break;
            }
        }
        self.reload(connection).await
    }

    /// Rows of temporary tables are nobody else's business.
    async fn temporary_table(&mut self, connection: &mut Conn) -> Result<(), mysql_async::Error> {
        let name = format!("tmp{}", self.number);
        let statements = [
            format!("CREATE TEMPORARY TABLE {name} (id INT PRIMARY KEY, v VARCHAR(20))"),
            format!("INSERT INTO {name} VALUES (1, 'one'), (2, NULL)"),
            "BEGIN".to_owned(),
            format!("INSERT INTO {name} VALUES (3, 'three')"),
            "UPDATE t00 SET id = id LIMIT 1".to_owned(),
            "COMMIT".to_owned(),
            format!("ALTER TABLE {name} ADD COLUMN w INT"),
            format!("DROP TEMPORARY TABLE {name}"),
        ];
        for statement in &statements {
            if matches!(
                self.run_statement(connection, "temporary-table", statement).await?,
                Outcome::Refused { .. }
            ) {
                let _ = connection.query_drop("ROLLBACK").await;
            }
        }
        Ok(())
    }

    async fn reload(&mut self, connection: &mut Conn) -> Result<(), mysql_async::Error> {
        match Catalog::load(connection, &self.shared.options.schema).await {
            Ok(catalog) => {
                *self.shared.catalog.write().unwrap_or_else(PoisonError::into_inner) = catalog;
                Ok(())
            }
            Err(error) => match error.downcast::<mysql_async::Error>() {
                // A table was dropped between two looks; the next change reads it again.
                Ok(mysql_async::Error::Server(error)) if !is_fatal(error.code) => Ok(()),
                Ok(error) => Err(error),
                Err(_) => Ok(()),
            },
        }
    }
}

/// The server shuts down or ends the connection.
fn is_fatal(code: u16) -> bool {
    [1053, 1152, 1158, 1159, 1160, 1161, 1927, 3169, 4031].contains(&code)
}

fn is_lost(error: &mysql_async::Error) -> bool {
    match error {
        mysql_async::Error::Io(_) | mysql_async::Error::Driver(_) => true,
        mysql_async::Error::Server(error) => is_fatal(error.code),
        _ => false,
    }
}
