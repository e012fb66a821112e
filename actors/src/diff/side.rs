//! A server that takes part in the comparison.

use std::time::Duration;

use dmnode_model::codes;
use dmnode_model::config::{Endpoint, SourceConfig};
use dmnode_model::error::CodedError;
use dmnode_mysql::{Connection, ServerInfo, SessionOptions, SqlError, TextRow};

/// A lost connection is opened again so many times in a row.
const RECONNECTS_MAX: u32 = 5;
const RECONNECT_WAIT: Duration = Duration::from_millis(500);
/// Without these words of MySQL and MariaDB a statement means something else: quotes are strings, zero dates are
/// values, CHAR comes without its padding.
const SQL_MODE: &str = "ALLOW_INVALID_DATES";

/// Unknown table, unknown column, table changed while it was read: a DDL came in between.
const DEFINITION_CHANGED: [u16; 5] = [1146, 1054, 1412, 1049, 1176];

/// One server, with one connection to it.
pub(super) struct Side {
    name: String,
    endpoint: Endpoint,
    conn: Connection,
    server: ServerInfo,
    code: u32,
}

impl Side {
    pub async fn source(source: &SourceConfig) -> Result<Self, CodedError> {
        Self::open(source.source_id.to_string(), &source.from, codes::DIFF_SOURCE_READ).await
    }

    pub async fn target(endpoint: &Endpoint) -> Result<Self, CodedError> {
        Self::open(String::new(), endpoint, codes::DIFF_TARGET_READ).await
    }

    async fn open(name: String, endpoint: &Endpoint, code: u32) -> Result<Self, CodedError> {
        let mut endpoint = endpoint.clone();
        // The user's session variables must not change how values are written.
        endpoint.session.clear();
        let failed = |error: SqlError| refused(code, &name, &error);
        let mut conn = connect(&endpoint).await.map_err(failed)?;
        let server = ServerInfo::probe(&mut conn).await.map_err(failed)?;
        Ok(Self { name, endpoint, conn, server, code })
    }

    /// The source's id; empty for the target.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn server(&self) -> &ServerInfo {
        &self.server
    }

    /// The connection, opened again if it is lost.
    pub async fn connection(&mut self) -> Result<&mut Connection, CodedError> {
        let mut attempt = 0;
        while self.conn.is_closed() {
            match connect(&self.endpoint).await {
                Ok(conn) => self.conn = conn,
                Err(error) if attempt < RECONNECTS_MAX && error.is_connection_lost() => {
                    attempt += 1;
                    tokio::time::sleep(RECONNECT_WAIT).await;
                }
                Err(error) => return Err(self.error(&error)),
            }
        }
        Ok(&mut self.conn)
    }

    /// Runs a query with a result of bounded size, again when the connection is lost.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<TextRow>, CodedError> {
        let mut attempt = 0;
        loop {
            match self.connection().await?.query(sql).await {
                Ok(rows) => return Ok(rows),
                Err(error) if error.is_connection_lost() && attempt < RECONNECTS_MAX => {
                    attempt += 1;
                    tracing::debug!(error = %error, source = %self.name, "a comparison's connection was lost");
                    tokio::time::sleep(RECONNECT_WAIT).await;
                }
                Err(error) => return Err(self.error(&error)),
            }
        }
    }

    /// Hands over the rows of a query one by one.
    pub async fn rows(&mut self, sql: &str, mut take: impl FnMut(&TextRow)) -> Result<(), CodedError> {
        let conn = self.connection().await?;
        let result = async {
            let mut stream = conn.stream(sql).await?;
            while let Some(row) = stream.next().await? {
                take(&row);
            }
            Ok::<(), SqlError>(())
        }
        .await;
        result.map_err(|error| self.error(&error))
    }

    /// A failed read as a coded error.
    pub fn error(&self, error: &SqlError) -> CodedError {
        refused(self.code, &self.name, error)
    }

    pub async fn close(self) {
        self.conn.close().await;
    }
}

fn refused(code: u32, name: &str, error: &SqlError) -> CodedError {
    if error.code().is_some_and(|code| DEFINITION_CHANGED.contains(&code)) {
        return CodedError::new(
            codes::DIFF_TABLE_CHANGED,
            "the table's definition changed while it was compared",
        )
        .cause(error);
    }
    let (what, object) = if name.is_empty() {
        ("the target cannot be read", "target-database".to_owned())
    } else {
        ("the source cannot be read", format!("source {name}"))
    };
    CodedError::new(code, what).object(object).cause(error)
}

async fn connect(endpoint: &Endpoint) -> Result<Connection, SqlError> {
    let options = SessionOptions {
        time_zone: Some("+00:00".to_owned()),
        sql_mode: Some(SQL_MODE.to_owned()),
        charset: "utf8mb4",
        isolation_read_committed: true,
        ..SessionOptions::default()
    };
    Connection::connect(endpoint, &options).await
}
