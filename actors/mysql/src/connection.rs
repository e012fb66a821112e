//! A session with a server.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use dmnode_model::Endpoint;
use futures_util::{FutureExt, StreamExt, stream};
use mysql_async::{
    Conn, OptsBuilder, Params, QueryResult, Row, Statement, TextProtocol, Value, prelude::Queryable,
};
use tokio::sync::mpsc;

use crate::{
    error::{MultiError, SqlError, SqlErrorKind},
    session::SessionOptions,
    text_row::TextRow,
    tls,
};

/// The largest packet the protocol has. The server's own limit still holds; without this the driver would ask
/// for it on each connect, and refuse rows that the server sends all the same.
const PACKET_MAX: usize = 1 << 30;
/// The driver forgets idle pool connections after this; ours are in no pool.
const WAIT_TIMEOUT: usize = 28_800;
/// A dead peer is noticed after this much silence and a few probes.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// What a statement did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecSummary {
    /// Rows inserted, changed (or matched, see [`SessionOptions::found_rows`]) or deleted.
    pub affected_rows: u64,
    /// The server's remark, e.g. `Records: 3  Duplicates: 0  Warnings: 0`.
    pub info: String,
    /// Number of warnings.
    pub warnings: u16,
    /// The first AUTO_INCREMENT value made, 0 for none.
    pub last_insert_id: u64,
}

/// A session. One command at a time.
///
/// When the future of a command is dropped before it is done, the answer would still be on its way and be taken
/// for that of the next command. So the connection is closed then: the next use reports a lost connection.
#[derive(Debug)]
pub struct Connection {
    conn: Option<Conn>,
    id: u32,
    /// `SET NAMES` of the session.
    charset: &'static str,
    /// A command was begun and not finished.
    busy: bool,
}

impl Connection {
    /// Opens a session.
    ///
    /// # Errors
    /// The server cannot be reached, refuses the account, or refuses a setting; TLS is configured and not
    /// possible.
    pub async fn connect(endpoint: &Endpoint, options: &SessionOptions) -> Result<Self, SqlError> {
        let opts = OptsBuilder::default()
            .ip_or_hostname(endpoint.host.clone())
            .tcp_port(endpoint.port)
            .user(Some(endpoint.user.clone()))
            .pass(Some(endpoint.password.expose().to_owned()))
            // Else a connection to this host would hop to whatever socket file the server names.
            .prefer_socket(false)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(KEEPALIVE))
            .max_allowed_packet(Some(PACKET_MAX))
            .wait_timeout(Some(WAIT_TIMEOUT))
            .stmt_cache_size(0)
            .client_found_rows(options.found_rows)
            .ssl_opts(tls::driver_options(endpoint)?)
            .setup(options.statements(&endpoint.session));
        let limit = options.connect_timeout;
        let conn = tokio::time::timeout(limit, Conn::new(opts))
            .await
            .map_err(|_| SqlError::timeout(format!("no connection within {limit:?}")))?
            .map_err(driver_error)?;
        Ok(Self { id: conn.id(), conn: Some(conn), charset: options.charset, busy: false })
    }

    /// The server's number of this connection, for `KILL`.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// True when the connection can no longer be used.
    pub fn is_closed(&self) -> bool {
        self.conn.is_none() || self.busy
    }

    /// Marks a command as begun. A mark left by an earlier command closes the connection.
    fn begin(&mut self) -> Result<&mut Conn, SqlError> {
        if self.busy
            && let Some(conn) = self.conn.take()
        {
            abandon(conn);
        }
        match &mut self.conn {
            Some(conn) => {
                self.busy = true;
                Ok(conn)
            }
            None => {
                Err(SqlError::connection_lost("the connection was closed, or a command on it was cancelled"))
            }
        }
    }

    /// Marks the command as done, unless the connection was lost by it.
    fn end<T>(&mut self, result: Result<T, SqlError>) -> Result<T, SqlError> {
        if result.as_ref().is_err_and(SqlError::is_connection_lost)
            && let Some(conn) = self.conn.take()
        {
            abandon(conn);
        }
        self.busy = false;
        result
    }

    /// Runs a statement that returns no rows; rows are thrown away.
    ///
    /// # Errors
    /// The statement fails or the connection is lost.
    pub async fn execute(&mut self, sql: impl AsRef<[u8]>) -> Result<ExecSummary, SqlError> {
        let mut done = self.execute_many(sql.as_ref().to_vec()).await?;
        Ok(if done.is_empty() { ExecSummary::default() } else { done.swap_remove(0) })
    }

    /// Runs several statements, separated by `;`, in one round trip, in order, up to the first that fails.
    ///
    /// # Errors
    /// Says which statement failed. When the connection is lost, that is the first one not known to be done.
    pub async fn execute_many(&mut self, sql: Vec<u8>) -> Result<Vec<ExecSummary>, MultiError> {
        let mut done = Vec::new();
        let result = match self.begin() {
            Ok(conn) => run_all(conn, sql, &mut done).await,
            Err(error) => Err(error),
        };
        match self.end(result) {
            Ok(()) => Ok(done),
            Err(error) => Err(MultiError { index: done.len(), error, done }),
        }
    }

    /// Runs one prepared statement and answers the rows of `SHOW WARNINGS`, too, when it gave any. The parameters are
    /// binary strings; large ones travel in pieces, so that neither the statement nor a packet has the size of all of
    /// them.
    ///
    /// The driver reads `:name` outside of quotes as a parameter; nothing that is written here has that.
    ///
    /// # Errors
    /// The statement fails or the connection is lost.
    pub async fn execute_prepared(
        &mut self,
        sql: &[u8],
        parameters: Vec<Vec<u8>>,
    ) -> Result<(ExecSummary, Vec<TextRow>), SqlError> {
        let statement = {
            let result = match self.begin() {
                Ok(conn) => conn.prep(sql).await.map_err(driver_error),
                Err(error) => Err(error),
            };
            self.end(result)?
        };
        // A server takes the driver's parameters for text in the client's character set, and some look whether they are.
        self.execute("SET NAMES binary").await?;
        let done = self.run_prepared(&statement, parameters).await;
        let listed = match &done {
            Ok(summary) if summary.warnings > 0 => self.query("SHOW WARNINGS").await?,
            _ => Vec::new(),
        };
        if done.as_ref().is_err_and(SqlError::is_connection_lost) {
            return done.map(|summary| (summary, listed));
        }
        // The parameters live in the server until the statement is closed.
        let result = match self.begin() {
            Ok(conn) => conn.close(statement).await.map_err(driver_error),
            Err(error) => Err(error),
        };
        self.end(result)?;
        self.execute(format!("SET NAMES {}", self.charset)).await?;
        Ok((done?, listed))
    }

    async fn run_prepared(
        &mut self,
        statement: &Statement,
        parameters: Vec<Vec<u8>>,
    ) -> Result<ExecSummary, SqlError> {
        let parameters = Params::Positional(parameters.into_iter().map(Value::Bytes).collect());
        let result = match self.begin() {
            Ok(conn) => exec(conn, statement, parameters).await,
            Err(error) => Err(error),
        };
        self.end(result)
    }

    /// Runs a query and collects its rows. For results of bounded size; see [`Connection::stream`].
    ///
    /// # Errors
    /// The query fails or the connection is lost.
    pub async fn query(&mut self, sql: impl AsRef<[u8]>) -> Result<Vec<TextRow>, SqlError> {
        let mut rows = Vec::new();
        let mut stream = self.stream(sql).await?;
        while let Some(row) = stream.next().await? {
            rows.push(row);
        }
        Ok(rows)
    }

    /// The first row of a query, if there is one.
    ///
    /// # Errors
    /// The query fails or the connection is lost.
    pub async fn query_one(&mut self, sql: impl AsRef<[u8]>) -> Result<Option<TextRow>, SqlError> {
        let mut stream = self.stream(sql).await?;
        let first = stream.next().await?;
        if first.is_some() {
            while stream.next().await?.is_some() {}
        }
        Ok(first)
    }

    /// Runs a query and yields its rows as they arrive. A stream that is dropped early closes the connection:
    /// the rest of the rows is not worth waiting for.
    ///
    /// # Errors
    /// The query fails or the connection is lost.
    pub async fn stream(&mut self, sql: impl AsRef<[u8]>) -> Result<RowStream<'_>, SqlError> {
        let conn = self.begin()?;
        // The borrow of the driver's result would last as long as the stream also when there is none. So it is
        // dropped, which leaves the rows pending, and taken up again below.
        let started = conn.query_iter(sql.as_ref()).await.map(drop).map_err(driver_error);
        if let Err(error) = started {
            return self.end(Err(error));
        }
        let Self { conn, busy, .. } = self;
        match conn {
            Some(conn) => Ok(RowStream { result: QueryResult::new(conn), busy, done: false }),
            None => Err(SqlError::connection_lost("the connection was closed")),
        }
    }

    /// Runs `LOAD DATA LOCAL INFILE` with the bytes that come through the channel; its end is the end of the
    /// data. The file name in the statement does not matter. No other request of a server for a file is ever
    /// answered.
    ///
    /// Who has to give up in the middle must drop this future, not only the sender: a closed channel means that
    /// all data was sent.
    ///
    /// # Errors
    /// The statement fails or the connection is lost.
    pub async fn load_data(
        &mut self,
        sql: &str,
        data: mpsc::Receiver<Bytes>,
    ) -> Result<ExecSummary, SqlError> {
        // The driver keeps a handler that was not used: a server that refuses the statement does not ask for the file.
        // So the channel is taken back afterwards, which tells the sender, and a later request finds nothing.
        let slot = Arc::new(Mutex::new(Some(data)));
        let conn = self.begin()?;
        let handler_slot = Arc::clone(&slot);
        conn.set_infile_handler(async move {
            let Some(data) = handler_slot.lock().unwrap_or_else(PoisonError::into_inner).take() else {
                return Err(mysql_async::LocalInfileError::NoHandler.into());
            };
            let chunks = stream::unfold(data, |mut data| async move {
                let chunk = data.recv().await?;
                Some((Ok(chunk), data))
            });
            Ok(chunks.boxed())
        });
        let mut done = Vec::new();
        let result = run_all(conn, sql.as_bytes().to_vec(), &mut done).await;
        drop(slot.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.end(result)?;
        Ok(done.pop().unwrap_or_default())
    }

    /// Ends another connection of the server.
    ///
    /// # Errors
    /// There is no such connection (1094), or it belongs to another account and the privilege is missing.
    pub async fn kill(&mut self, id: u64) -> Result<(), SqlError> {
        self.execute(format!("KILL {id}")).await.map(drop)
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn ping(&mut self) -> Result<(), SqlError> {
        let conn = self.begin()?;
        let result = conn.ping().await.map_err(driver_error);
        self.end(result)
    }

    /// Says good-bye. Errors do not matter any more.
    pub async fn close(mut self) {
        if let Some(conn) = self.conn.take() {
            if self.busy {
                abandon(conn);
            } else if let Err(error) = conn.disconnect().await {
                tracing::debug!(error = %error, "connection did not close cleanly");
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.busy
            && let Some(conn) = self.conn.take()
        {
            abandon(conn);
        }
    }
}

/// Rows of a query as they arrive.
#[derive(Debug)]
pub struct RowStream<'a> {
    result: QueryResult<'a, 'static, TextProtocol>,
    busy: &'a mut bool,
    done: bool,
}

impl RowStream<'_> {
    /// The next row, `None` after the last.
    ///
    /// # Errors
    /// The query fails in the middle or the connection is lost.
    pub async fn next(&mut self) -> Result<Option<TextRow>, SqlError> {
        if self.done {
            return Ok(None);
        }
        match self.advance().await {
            Ok(Some(row)) => Ok(Some(TextRow::new(row))),
            Ok(None) => {
                self.done = true;
                *self.busy = false;
                Ok(None)
            }
            Err(error) => {
                self.done = true;
                let error = driver_error(error);
                // Left marked as busy, a lost connection is thrown away at its next use.
                *self.busy = error.is_connection_lost();
                Err(error)
            }
        }
    }

    async fn advance(&mut self) -> mysql_async::Result<Option<Row>> {
        if let Some(row) = self.result.next().await? {
            return Ok(Some(row));
        }
        // What further statements return is not wanted; that one of them failed must not come out later.
        while self.result.columns().is_some() {
            while self.result.next().await?.is_some() {}
        }
        self.result.next().await
    }
}

/// Runs all statements of a text; `done` gets one summary for each that succeeded.
async fn run_all(conn: &mut Conn, sql: Vec<u8>, done: &mut Vec<ExecSummary>) -> Result<(), SqlError> {
    let mut result = conn.query_iter(sql).await.map_err(driver_error)?;
    // `columns` is Some as long as there is a result, empty or not; the error of a later statement makes it None
    // and comes out at the end.
    while let Some(columns) = result.columns() {
        if columns.is_empty() {
            done.push(ExecSummary {
                affected_rows: result.affected_rows(),
                info: result.info().into_owned(),
                warnings: result.warnings(),
                last_insert_id: result.last_insert_id().unwrap_or(0),
            });
            result.next().await.map_err(driver_error)?;
        } else {
            while result.next().await.map_err(driver_error)?.is_some() {}
            done.push(ExecSummary::default());
        }
    }
    result.drop_result().await.map_err(driver_error)
}

/// Runs a prepared statement that returns no rows.
async fn exec(conn: &mut Conn, statement: &Statement, parameters: Params) -> Result<ExecSummary, SqlError> {
    let result = conn.exec_iter(statement, parameters).await.map_err(driver_error)?;
    let summary = ExecSummary {
        affected_rows: result.affected_rows(),
        info: result.info().into_owned(),
        warnings: result.warnings(),
        last_insert_id: result.last_insert_id().unwrap_or(0),
    };
    result.drop_result().await.map_err(driver_error)?;
    Ok(summary)
}

/// Closes a connection without waiting for answers that are still to come.
fn abandon(mut conn: Conn) {
    // The driver drains pending results of a dropped connection in the background, however long that takes,
    // unless it is dropped in the middle of a command. So it is.
    let _ = conn.ping().now_or_never();
    drop(conn);
}

/// The driver's error in our terms. Its texts may quote packets, which hold values: those are not used.
fn driver_error(error: mysql_async::Error) -> SqlError {
    use mysql_async::{DriverError, Error, IoError};
    match error {
        Error::Server(server) => SqlError::server(server.code, server.state, server.message),
        Error::Io(IoError::Io(error)) => SqlError::connection_lost(error.to_string()),
        Error::Io(IoError::Tls(error)) => SqlError::new(SqlErrorKind::Configuration, format!("TLS: {error}")),
        Error::Driver(DriverError::ConnectionClosed) => SqlError::connection_lost("the connection is closed"),
        Error::Driver(DriverError::NoClientSslFlagFromServer) => tls::not_offered(),
        Error::Driver(DriverError::PacketOutOfOrder) => SqlError::protocol("packet out of order"),
        Error::Driver(DriverError::UnexpectedPacket { .. }) => SqlError::protocol("unexpected packet"),
        Error::Driver(DriverError::UnknownAuthPlugin { name }) => SqlError::new(
            SqlErrorKind::Configuration,
            format!("the account uses authentication plugin {name}, which is not supported"),
        ),
        Error::Driver(
            error @ (DriverError::MysqlOldPasswordDisabled
            | DriverError::CleartextPluginDisabled
            | DriverError::LocalInfile(_)),
        ) => SqlError::protocol(error.to_string()),
        Error::Driver(_) | Error::Other(_) | Error::Url(_) => SqlError::protocol("the driver gave up"),
    }
}
