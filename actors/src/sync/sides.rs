//! Asks the source on which side of a chunk's boundary changed rows lie, where only it knows: text is ordered by a collation
//! of its own.

use std::collections::HashSet;
use std::time::Duration;

use dmnode_model::TableName;
use dmnode_model::config::Endpoint;
use dmnode_model::error::CodedError;
use dmnode_mysql::{Connection, SessionOptions, SqlError};

use crate::load::key::{Compared, Comparison, KeyValue};
use crate::load::{ChunkFilter, source_error};

/// Comparisons in one question.
const AT_ONCE: usize = 200;
/// How often a lost connection is replaced for one question.
const TRIES: u32 = 3;
/// How long the questions about one event may take.
pub const ASK_LIMIT: Duration = Duration::from_secs(300);

/// The session that is asked.
pub struct Sides {
    source: Endpoint,
    conn: Option<Connection>,
}

impl Sides {
    /// Nothing is asked yet.
    pub fn new(source: Endpoint) -> Self {
        Self { source, conn: None }
    }

    /// Asks until the filter can tell the range of each of the keys: as often as their number of ranges can be halved.
    pub async fn of(
        &mut self,
        filter: &ChunkFilter,
        table: &TableName,
        keys: &[Vec<KeyValue>],
    ) -> Result<Compared, CodedError> {
        let mut compared = Compared::new();
        loop {
            let questions: HashSet<Comparison> =
                keys.iter().filter_map(|key| filter.question(table, key, &compared)).collect();
            if questions.is_empty() {
                return Ok(compared);
            }
            let questions: Vec<Comparison> = questions.into_iter().collect();
            for some in questions.chunks(AT_ONCE) {
                self.ask(some, &mut compared).await.map_err(|err| source_error(&err).object(table))?;
            }
        }
    }

    async fn ask(&mut self, questions: &[Comparison], compared: &mut Compared) -> Result<(), SqlError> {
        let list: Vec<String> = questions.iter().map(Comparison::sql).collect();
        let sql = format!("SELECT {}", list.join(", "));
        let mut tries = 0;
        let row = loop {
            tries += 1;
            let answer = match self.connection().await {
                Ok(conn) => conn.query_one(&sql).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(row) => break row,
                Err(error) if tries < TRIES && error.is_connection_lost() => self.conn = None,
                Err(error) => return Err(error),
            }
        };
        for (index, question) in questions.iter().enumerate() {
            let order = row.as_ref().and_then(|row| row.i64(index));
            let order = order.ok_or_else(|| SqlError::protocol("a comparison has no answer"))?;
            compared.insert(question.clone(), order.cmp(&0));
        }
        Ok(())
    }

    async fn connection(&mut self) -> Result<&mut Connection, SqlError> {
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => {
                let options = SessionOptions { sql_mode: Some(String::new()), ..SessionOptions::default() };
                Connection::connect(&self.source, &options).await?
            }
        };
        Ok(self.conn.insert(conn))
    }
}
