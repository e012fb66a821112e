//! Fills the mixed tables with many rows, quickly: big multi-row INSERTs over a few connections.

use std::sync::Arc;

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;

use crate::server::ServerAddress;
use crate::tables;

/// Rows per statement.
const ROWS_PER_STATEMENT: u64 = 500;
/// Statements per transaction.
const STATEMENTS_PER_TRANSACTION: u64 = 10;

/// What to fill.
#[derive(Clone, Debug)]
pub struct SeedDataOptions {
    /// The server.
    pub server: ServerAddress,
    /// The schema; created if missing.
    pub schema: String,
    /// Rows over all tables, about.
    pub rows: u64,
    /// Seed of the random values.
    pub seed: u64,
    /// Connections used.
    pub connections: u64,
    /// Words in the long text of a document; makes rows wider.
    pub body_words: usize,
}

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct SeedDataReport {
    /// The server, without its password.
    pub server: String,
    /// Rows written.
    pub rows: u64,
}

/// Creates the tables and writes the rows.
pub async fn run(options: SeedDataOptions) -> Result<SeedDataReport> {
    let mut connection = options.server.connect().await?;
    for statement in tables::create_statements(&options.schema) {
        connection.query_drop(statement).await.context("cannot make the tables")?;
    }
    let options = Arc::new(options);
    let statement_count = options.rows.div_ceil(ROWS_PER_STATEMENT);
    let mut fillers = tokio::task::JoinSet::new();
    for index in 0..options.connections.max(1) {
        let connection = options.server.connect().await?;
        fillers.spawn(fill(Arc::clone(&options), connection, index, statement_count));
    }
    let mut rows = 0;
    while let Some(ended) = fillers.join_next().await {
        rows += ended.context("a filler died")??;
    }
    Ok(SeedDataReport { server: options.server.to_string(), rows })
}

async fn fill(
    options: Arc<SeedDataOptions>,
    mut connection: mysql_async::Conn,
    first: u64,
    end: u64,
) -> Result<u64> {
    let step = usize::try_from(options.connections.max(1))?;
    let mut rng = StdRng::seed_from_u64(options.seed.wrapping_add(first));
    let mut rows_written = 0;
    let mut in_transaction = 0;
    for number in (first..end).step_by(step) {
        if in_transaction == 0 {
            connection.query_drop("BEGIN").await?;
        }
        let rows = ROWS_PER_STATEMENT.min(options.rows - number * ROWS_PER_STATEMENT);
        let start = i64::try_from(number * ROWS_PER_STATEMENT)?;
        let statement = statement(&options, &mut rng, number, start, i64::try_from(rows)?);
        connection.query_drop(statement).await.context("cannot write seed rows")?;
        rows_written += rows;
        in_transaction += 1;
        if in_transaction == STATEMENTS_PER_TRANSACTION {
            connection.query_drop("COMMIT").await?;
            in_transaction = 0;
        }
    }
    if in_transaction > 0 {
        connection.query_drop("COMMIT").await?;
    }
    connection.disconnect().await?;
    Ok(rows_written)
}

fn statement(options: &SeedDataOptions, rng: &mut StdRng, number: u64, start: i64, rows: i64) -> String {
    let (columns, values): (&str, Vec<String>) = match number % 5 {
        0 | 1 => (
            "documents (id,token,title,body,payload,score,bits,born,at,made)",
            (start..start + rows)
                .map(|id| tables::document_row(rng, Some(id + 1), id.unsigned_abs(), options.body_words))
                .collect(),
        ),
        2 => (
            "orders (tenant,order_no,state,total,flags,items,note,created)",
            (start..start + rows)
                .map(|order| tables::order_row(rng, order % tables::TENANT_COUNT, order))
                .collect(),
        ),
        3 => (
            "accounts (code,email,name,balance)",
            (start..start + rows)
                .map(|account| {
                    let code = tables::account_code(rng, account);
                    tables::account_row(rng, &code)
                })
                .collect(),
        ),
        _ => (
            "ledger (writer,seq,digest,amount,noted)",
            (start..start + rows)
                .map(|seq| format!("(-1,{seq},'{seq:016x}',{},'2020-01-01 00:00:00.5')", tables::amount(rng)))
                .collect(),
        ),
    };
    format!("INSERT INTO {}.{columns} VALUES {}", tables::quote_ident(&options.schema), values.join(","))
}
