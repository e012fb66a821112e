//! Reader connections that see one consistent state of the source, whose exact position is known.
//!
//! MySQL: a momentary `FLUSH TABLES WITH READ LOCK` while the readers open their snapshots; if that is refused,
//! `LOCK TABLES … READ` of the tables in scope. MariaDB tells the position of a snapshot itself, without any lock; a
//! few tries give all readers the same one, else the lock, else every reader has a position of its own (which the
//! stream can deal with).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use dmnode_model::codes;
use dmnode_model::config::Endpoint;
use dmnode_model::error::CodedError;
use dmnode_model::gtid::{Flavor, GtidSet};
use dmnode_model::ids::TableName;
use dmnode_model::position::{BinlogPosition, Location};
use dmnode_mysql::{Connection, ServerInfo, SessionOptions, SqlError, current_location};

use super::inventory::{Scope, names, source_error};
use crate::unit::Heartbeat;

/// How often the lock-free way is tried before it is given up.
const LOCK_FREE_TRIES: u32 = 5;
/// How long a lock is waited for; while we wait, the source's writers wait behind us.
const LOCK_WAIT_SECONDS: u32 = 10;
const LOCK_TRIES: u32 = 3;
/// Access denied, in its variants.
const DENIED: [u16; 6] = [1044, 1045, 1142, 1143, 1227, 1370];
const OPEN: &str = "START TRANSACTION /*!40100 WITH CONSISTENT SNAPSHOT */";

/// One connection with an open snapshot.
pub(super) struct Reader {
    pub conn: Connection,
    pub location: Location,
}

/// Readers and what they see.
pub(super) struct Snapshot {
    pub readers: Vec<Reader>,
    /// The base tables in scope as of the snapshot.
    pub names: BTreeSet<TableName>,
}

/// The source as the copy reads it.
pub(super) struct SourceReader {
    endpoint: Endpoint,
    pub server: ServerInfo,
}

/// Session variables of the source's configuration that would change what is read.
const OWN_VARIABLES: [&str; 9] = [
    "sql_mode",
    "time_zone",
    "names",
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "collation_connection",
    "transaction_isolation",
    "tx_isolation",
];

impl SourceReader {
    /// Connects once and looks at the server.
    pub async fn open(endpoint: &Endpoint) -> Result<(Self, Connection), CodedError> {
        let mut endpoint = endpoint.clone();
        endpoint
            .session
            .retain(|name, _| !OWN_VARIABLES.contains(&name.trim().to_ascii_lowercase().as_str()));
        let mut conn = connect(&endpoint, "utf8mb4").await?;
        let server = ServerInfo::probe(&mut conn).await.map_err(|err| source_error(&err))?;
        Ok((Self { endpoint, server }, conn))
    }

    /// A connection for names and definitions.
    pub async fn connect(&self) -> Result<Connection, CodedError> {
        connect(&self.endpoint, "utf8mb4").await
    }

    /// A connection that is given values as raw bytes.
    pub async fn connect_raw(&self) -> Result<Connection, CodedError> {
        let mut conn = connect(&self.endpoint, "binary").await?;
        // The target may be slower than the server's patience.
        for sql in [
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "SET SESSION net_write_timeout = 7200, wait_timeout = 86400",
        ] {
            conn.execute(sql).await.map_err(|err| source_error(&err))?;
        }
        if self.server.flavor == Flavor::Mariadb {
            // While a session could write to the binlog, MariaDB keeps its metadata locks over ROLLBACK TO SAVEPOINT.
            // Without the privilege a DDL waits until the copy is done with the tables it has begun.
            if let Err(error) = conn.execute("SET SESSION sql_log_bin = 0").await {
                tracing::info!(error = %error, "DDL in the source may have to wait for the copy: BINLOG ADMIN is missing");
            }
        }
        Ok(conn)
    }

    async fn raw_connections(&self, count: usize) -> Result<Vec<Connection>, CodedError> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(self.connect_raw().await?);
        }
        Ok(connections)
    }

    /// Opens `count` readers. `tables` is what was in scope a moment ago.
    pub async fn snapshot(
        &self,
        count: usize,
        scope: &Scope,
        tables: &BTreeSet<TableName>,
        heartbeat: &Heartbeat,
    ) -> Result<Snapshot, CodedError> {
        let mut control = self.connect().await?;
        let mut readers = self.raw_connections(count).await?;
        let lock_free = self.server.flavor == Flavor::Mariadb && self.server.log_bin;
        let mut last = None;
        if lock_free {
            for _ in 0..LOCK_FREE_TRIES {
                heartbeat.beat();
                let before = names(&mut control, scope).await?;
                let mut locations = Vec::with_capacity(count);
                for conn in &mut readers {
                    match open_lock_free(conn).await.map_err(|err| source_error(&err))? {
                        Some(location) => locations.push(location),
                        None => break,
                    }
                }
                if locations.len() < count {
                    last = None;
                    break;
                }
                let after = names(&mut control, scope).await?;
                let equal = locations.windows(2).all(|pair| pair[0] == pair[1]);
                if before == after {
                    if equal {
                        return Ok(together(readers, locations, after));
                    }
                    last = Some((locations, after));
                } else {
                    last = None;
                }
            }
        }
        match self.locked(&mut control, &mut readers, scope, tables, heartbeat).await {
            Ok((location, names)) => {
                let locations = vec![location; readers.len()];
                Ok(together(readers, locations, names))
            }
            Err(error) if error.code == codes::COPY_SNAPSHOT_REFUSED => match last {
                // The failed lock did not touch the readers: they still hold the last lock-free snapshots.
                Some((locations, names)) => {
                    tracing::info!("the readers' snapshots are at different positions");
                    Ok(together(readers, locations, names))
                }
                None if lock_free => Err(CodedError::new(
                    codes::COPY_SNAPSHOT_UNSTABLE,
                    "tables came and went while a snapshot was taken",
                )),
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Opens the readers' snapshots under a lock.
    async fn locked(
        &self,
        control: &mut Connection,
        readers: &mut [Connection],
        scope: &Scope,
        tables: &BTreeSet<TableName>,
        heartbeat: &Heartbeat,
    ) -> Result<(Location, BTreeSet<TableName>), CodedError> {
        control
            .execute(format!("SET SESSION lock_wait_timeout = {LOCK_WAIT_SECONDS}"))
            .await
            .map_err(|err| source_error(&err))?;
        let global = match lock(control, "FLUSH TABLES WITH READ LOCK", heartbeat).await {
            Ok(()) => true,
            Err(error) if is_denied(&error) => {
                self.lock_tables(control, tables, &error, heartbeat).await?;
                false
            }
            Err(error) => return Err(source_error(&error)),
        };
        let locked_at = Instant::now();
        let result = self.open_under_lock(control, readers, scope, global, tables).await;
        let unlocked = control.execute("UNLOCK TABLES").await;
        tracing::info!(elapsed_ms = elapsed_ms(locked_at), global, "the source was locked for the snapshot");
        unlocked.map_err(|err| source_error(&err))?;
        result
    }

    async fn lock_tables(
        &self,
        control: &mut Connection,
        tables: &BTreeSet<TableName>,
        first: &SqlError,
        heartbeat: &Heartbeat,
    ) -> Result<(), CodedError> {
        if tables.is_empty() {
            return Ok(());
        }
        let list: Vec<String> = tables.iter().map(|table| format!("{table} READ")).collect();
        match lock(control, &format!("LOCK TABLES {}", list.join(", ")), heartbeat).await {
            Ok(()) => Ok(()),
            Err(error) if is_denied(&error) => Err(CodedError::new(
                codes::COPY_SNAPSHOT_REFUSED,
                "the source's user may neither FLUSH TABLES WITH READ LOCK nor LOCK TABLES, so no consistent snapshot \
                 can be taken",
            )
            .cause(format!("{first}; {error}"))
            .remedy("GRANT RELOAD ON *.* or GRANT LOCK TABLES, SELECT ON the copied schemas to the source's user")),
            // A table that has just been dropped: the inventory is old.
            Err(error) if error.code() == Some(1146) => Err(unstable(&error)),
            Err(error) => Err(source_error(&error)),
        }
    }

    async fn open_under_lock(
        &self,
        control: &mut Connection,
        readers: &mut [Connection],
        scope: &Scope,
        global: bool,
        tables: &BTreeSet<TableName>,
    ) -> Result<(Location, BTreeSet<TableName>), CodedError> {
        crate::failpoint::hit("load.snapshot_locked").await?;
        let before = if global { None } else { Some(self.names_elsewhere(scope).await?) };
        let location = current_location(control, &self.server).await.map_err(|err| source_error(&err))?;
        for conn in readers.iter_mut() {
            conn.execute(OPEN).await.map_err(|err| source_error(&err))?;
        }
        match before {
            None => Ok((location, names(control, scope).await?)),
            Some(before) => {
                // Table locks do not keep others from creating tables.
                let after = self.names_elsewhere(scope).await?;
                if before == after && before == *tables {
                    return Ok((location, after));
                }
                Err(CodedError::new(
                    codes::COPY_SNAPSHOT_UNSTABLE,
                    "tables came and went while a snapshot was taken",
                ))
            }
        }
    }

    /// A session under LOCK TABLES may read only what it has locked.
    async fn names_elsewhere(&self, scope: &Scope) -> Result<BTreeSet<TableName>, CodedError> {
        let mut conn = self.connect().await?;
        let found = names(&mut conn, scope).await;
        conn.close().await;
        found
    }

    /// Locks one table that no snapshot covers. It is locked until the connection is closed.
    pub async fn lock_one(&self, table: &TableName, heartbeat: &Heartbeat) -> Result<Reader, CodedError> {
        let mut conn = self.connect_raw().await?;
        lock(&mut conn, &format!("LOCK TABLES {table} READ"), heartbeat)
            .await
            .map_err(|err| if is_denied(&err) { refused(&err, table) } else { source_error(&err) })?;
        let mut position = self.connect().await?;
        let location =
            current_location(&mut position, &self.server).await.map_err(|err| source_error(&err))?;
        position.close().await;
        Ok(Reader { conn, location })
    }
}

fn refused(error: &SqlError, table: &TableName) -> CodedError {
    CodedError::new(
        codes::COPY_SNAPSHOT_REFUSED,
        "the table's engine has no snapshots and it may not be locked",
    )
    .object(table)
    .cause(error)
}

fn unstable(error: &SqlError) -> CodedError {
    CodedError::new(codes::COPY_SNAPSHOT_UNSTABLE, "tables came and went while a snapshot was taken")
        .cause(error)
}

fn together(readers: Vec<Connection>, locations: Vec<Location>, names: BTreeSet<TableName>) -> Snapshot {
    let readers =
        readers.into_iter().zip(locations).map(|(conn, location)| Reader { conn, location }).collect();
    Snapshot { readers, names }
}

async fn connect(endpoint: &Endpoint, charset: &'static str) -> Result<Connection, CodedError> {
    let options = SessionOptions {
        time_zone: Some("+00:00".to_owned()),
        sql_mode: Some(String::new()),
        charset,
        ..SessionOptions::default()
    };
    Connection::connect(endpoint, &options).await.map_err(|err| source_error(&err))
}

/// Takes a lock, a few times when others hold it too long.
async fn lock(conn: &mut Connection, sql: &str, heartbeat: &Heartbeat) -> Result<(), SqlError> {
    let mut tries = 1;
    loop {
        heartbeat.beat();
        match conn.execute(sql).await {
            Ok(_) => return Ok(()),
            // Lock wait time-out, deadlock.
            Err(error) if matches!(error.code(), Some(1205 | 1213)) && tries < LOCK_TRIES => {
                tries += 1;
                // Let those who waited behind us go on.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_denied(error: &SqlError) -> bool {
    error.code().is_some_and(|code| DENIED.contains(&code))
}

/// Opens a snapshot on MariaDB and asks for its position; `None` when the server does not tell.
async fn open_lock_free(conn: &mut Connection) -> Result<Option<Location>, SqlError> {
    conn.execute(OPEN).await?;
    let rows = conn.query("SHOW SESSION STATUS LIKE 'binlog_snapshot_%'").await?;
    let value = |name: &str| {
        rows.iter()
            .find(|row| row.str(0).is_some_and(|found| found.eq_ignore_ascii_case(name)))
            .and_then(|row| row.str(1).map(std::borrow::Cow::into_owned))
            .unwrap_or_default()
    };
    let file = value("binlog_snapshot_file");
    let pos: u64 = value("binlog_snapshot_position").parse().unwrap_or(0);
    if file.is_empty() || pos == 0 {
        return Ok(None);
    }
    let sql = format!("SELECT BINLOG_GTID_POS({}, {pos})", crate::progress::text_literal(&file));
    let gtid = conn.query_one(&sql).await?.and_then(|row| row.str(0).map(std::borrow::Cow::into_owned));
    let gtid_set = gtid.and_then(|text| GtidSet::parse(Flavor::Mariadb, &text).ok());
    Ok(Some(Location { position: BinlogPosition { file, pos }, gtid_set }))
}

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
