//! The only way to write to the target: a transaction that begins with a compare-and-set on a progress row.
//!
//! Each applier owns one row of the task's progress table. Every transaction raises that row's sequence under
//! the condition that epoch, token and sequence are still the ones this applier knows; the rows follow, then
//! COMMIT. Hence a fenced owner commits nothing, and a COMMIT whose answer was lost is resolved by repeating the
//! same compare-and-set: it waits for the old transaction and then tells whether it took effect.

mod transaction;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dmnode_model::codes::{self, Scope};
use dmnode_model::error::CodedError;
use dmnode_model::policy::{self, Fault, Side};
use dmnode_mysql::{Connection, MultiError, SqlError};
use tokio::time::Instant;

use crate::progress::{ProgressUpdate, TargetShared};

pub use transaction::TargetTransaction;
pub(crate) use transaction::packet_needed;

/// How many times one transaction is tried again after deadlocks or lock time-outs.
const CONFLICT_ATTEMPTS: u32 = 40;
/// How long a lost connection is tried to be replaced before the unit gives up (and is started again).
const RECONNECT_LIMIT: Duration = Duration::from_secs(60);
const BACK_OFF_FIRST: Duration = Duration::from_millis(10);
const BACK_OFF_MOST: Duration = Duration::from_secs(2);

/// Why a target transaction did not take effect.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Another owner or a newer generation has taken over: nothing may be written any more.
    #[error("fenced: {0}")]
    Fenced(String),
    /// The unit is being stopped.
    #[error("cancelled")]
    Cancelled,
    /// The compare-and-set did not match. [`ApplierConnection::apply`] finds out why; a body passes it on.
    #[error("the progress row has moved")]
    Moved,
    /// The server's answer to a statement; transient ones are retried by [`ApplierConnection::apply`].
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// One of several statements sent together failed.
    #[error(transparent)]
    Multi(#[from] MultiError),
    /// The transaction must not be applied.
    #[error(transparent)]
    Coded(#[from] Box<CodedError>),
    /// The body cannot be run a second time (a streamed transaction); the unit starts again from its watermark.
    #[error("the transaction must be read again: {0}")]
    CannotRepeat(String),
}

impl From<CodedError> for ApplyError {
    fn from(error: CodedError) -> Self {
        Self::Coded(Box::new(error))
    }
}

impl ApplyError {
    /// The server's error number, if a server spoke.
    pub fn server_code(&self) -> Option<u16> {
        self.sql().and_then(SqlError::code)
    }

    /// The server does not want the statement, and would not want it again.
    pub fn is_refusal(&self) -> bool {
        self.sql().is_some_and(|error| error.fault() == Fault::Refused)
    }

    fn sql(&self) -> Option<&SqlError> {
        match self {
            Self::Sql(error) => Some(error),
            Self::Multi(error) => Some(&error.error),
            Self::Fenced(_) | Self::Cancelled | Self::Moved | Self::Coded(_) | Self::CannotRepeat(_) => None,
        }
    }

    pub(crate) fn is_connection_lost(&self) -> bool {
        self.sql().is_some_and(SqlError::is_connection_lost)
    }

    fn is_conflict(&self) -> bool {
        self.sql().is_some_and(SqlError::is_transient_conflict)
    }

    /// As the error a unit returns.
    pub fn into_coded(self) -> CodedError {
        match self {
            Self::Coded(error) => *error,
            Self::Fenced(why) => {
                CodedError::new(codes::FENCED, format!("another owner writes to the target: {why}"))
                    .remedy("none needed: the node that owns the source goes on")
            }
            Self::Cancelled => CodedError::new(codes::UNIT_CANCELLED, "the unit was cancelled"),
            Self::Moved => {
                CodedError::new(codes::PROGRESS_ROW, "the progress row is not as this owner left it")
            }
            Self::Sql(error) => target_error(&error),
            Self::Multi(error) => target_error(&error.error),
            Self::CannotRepeat(why) => {
                CodedError::new(codes::TARGET_CONNECTION, "a streamed transaction was interrupted").cause(why)
            }
        }
    }
}

/// A failed statement in the target as a coded error.
pub fn target_error(error: &SqlError) -> CodedError {
    let what = match error.fault() {
        Fault::ConnectionGone => "the connection to the target was lost",
        Fault::Conflict => "other transactions in the target keep getting in the way",
        Fault::Passing => "the target does not take statements at the moment",
        Fault::Refused => "execute statement failed: the target refused a statement",
    };
    let code = policy::code(Side::Target, error.fault()).unwrap_or(codes::DB_EXECUTE_FAILED);
    CodedError::new(code, what).scope(Scope::Downstream).cause(error)
}

/// The work of one transaction. It may be run several times, each time in a new transaction.
#[async_trait]
pub trait ApplyBody: Send {
    /// Writes the rows. Errors of `transaction` are passed on as they are, so that transient ones can be retried.
    async fn run(&mut self, transaction: &mut TargetTransaction<'_>) -> Result<(), ApplyError>;
}

/// A body without rows: only the progress row changes.
pub struct NoRows;

#[async_trait]
impl ApplyBody for NoRows {
    async fn run(&mut self, _: &mut TargetTransaction<'_>) -> Result<(), ApplyError> {
        Ok(())
    }
}

/// One applier's connection to the target, with the state of its progress row.
pub struct ApplierConnection {
    shared: Arc<TargetShared>,
    index: u32,
    token: u64,
    sequence: u64,
    conn: Option<Connection>,
    /// Server-side id of the last connection used, so that a lost one can be killed.
    last_id: Option<u32>,
}

enum Attempt {
    Committed,
    /// COMMIT was sent, its answer did not come.
    Unknown(SqlError),
    /// Certainly not committed.
    Failed(ApplyError),
}

impl ApplierConnection {
    pub(crate) fn new(shared: Arc<TargetShared>, index: u32, token: u64, sequence: u64) -> Self {
        Self { shared, index, token, sequence, conn: None, last_id: None }
    }

    /// Which row of the progress table is this applier's.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// What is known of the target server.
    pub fn server(&self) -> &dmnode_mysql::ServerInfo {
        &self.shared.server
    }

    /// Applies one transaction exactly once: the progress row, then `body`, then COMMIT. Lost connections,
    /// deadlocks, lock time-outs and lost answers are dealt with here; what is returned is final.
    pub async fn apply(
        &mut self,
        update: &ProgressUpdate,
        body: &mut dyn ApplyBody,
    ) -> Result<(), ApplyError> {
        let begin = self.begin_sql(update);
        let mut in_doubt = false;
        let mut conflicts = 0;
        let mut lost_since: Option<Instant> = None;
        let mut back_off = BACK_OFF_FIRST;
        loop {
            if self.shared.abort.is_cancelled() {
                return Err(ApplyError::Cancelled);
            }
            self.shared.heartbeat.beat();
            let why = match self.attempt(&begin, in_doubt, body).await {
                Attempt::Committed => {
                    self.sequence += 1;
                    return Ok(());
                }
                Attempt::Unknown(error) => {
                    tracing::warn!(applier = self.index, error = %error, "the answer to a commit was lost, asking the target");
                    in_doubt = true;
                    self.conn = None;
                    error.to_string()
                }
                Attempt::Failed(ApplyError::Moved) => match self.look().await {
                    Ok(()) => {
                        self.sequence += 1;
                        tracing::info!(applier = self.index, "the transaction in doubt had been committed");
                        return Ok(());
                    }
                    Err(error) if error.is_connection_lost() => {
                        self.conn = None;
                        in_doubt = true;
                        error.to_string()
                    }
                    Err(error) => return Err(error),
                },
                Attempt::Failed(error) if error.is_connection_lost() => {
                    self.conn = None;
                    error.to_string()
                }
                Attempt::Failed(error) if error.is_conflict() && conflicts < CONFLICT_ATTEMPTS => {
                    conflicts += 1;
                    // A transaction in doubt may live on in the target and hold its locks.
                    if in_doubt {
                        self.kill_last().await;
                    }
                    tracing::debug!(applier = self.index, error = %error, "conflict in the target, once more");
                    self.pause(&mut back_off).await?;
                    continue;
                }
                Attempt::Failed(error) => return Err(error),
            };
            let since = *lost_since.get_or_insert_with(Instant::now);
            if since.elapsed() > RECONNECT_LIMIT {
                return Err(CodedError::new(codes::TARGET_CONNECTION, "the target cannot be reached")
                    .cause(why)
                    .into());
            }
            self.pause(&mut back_off).await?;
            match self.ready().await {
                Ok(_) => {}
                Err(error) if error.is_connection_lost() => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn pause(&self, back_off: &mut Duration) -> Result<(), ApplyError> {
        let wait = *back_off;
        *back_off = (wait * 2).min(BACK_OFF_MOST);
        tokio::select! {
            () = self.shared.abort.cancelled() => Err(ApplyError::Cancelled),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    /// One try: begin, compare-and-set, rows, commit.
    async fn attempt(&mut self, begin: &[u8], in_doubt: bool, body: &mut dyn ApplyBody) -> Attempt {
        let shared = Arc::clone(&self.shared);
        let conn = match self.ready().await {
            Ok(conn) => conn,
            Err(error) => return Attempt::Failed(error),
        };
        let mut transaction = TargetTransaction::new(conn, &shared.heartbeat, begin);
        // While a former try is in doubt the body must not be touched before that is settled.
        let mut result = if in_doubt { transaction.ensure_begun().await } else { Ok(()) };
        if result.is_ok() {
            result = body.run(&mut transaction).await;
        }
        if result.is_ok() {
            result = transaction.ensure_begun().await;
        }
        let (moved, swollen) = (transaction.has_moved(), transaction.is_swollen());
        if result.is_ok() && !moved {
            return match transaction.commit().await {
                Ok(()) => {
                    if swollen {
                        self.give_back().await;
                    }
                    Attempt::Committed
                }
                Err(error) => Attempt::Unknown(error),
            };
        }
        let lost = !transaction.rollback().await;
        if lost {
            self.conn = None;
        }
        match result {
            _ if moved => Attempt::Failed(ApplyError::Moved),
            Err(error) => Attempt::Failed(error),
            Ok(()) => Attempt::Failed(ApplyError::Moved),
        }
    }

    /// The compare-and-set did not match: the transaction had been committed (`Ok`), or somebody has taken over.
    async fn look(&mut self) -> Result<(), ApplyError> {
        let sql = format!(
            "SELECT epoch, token, seq FROM {} WHERE source_id = {} AND applier = {}",
            self.shared.progress_table, self.shared.source_literal, self.index
        );
        let (epoch, token, sequence) = (self.shared.epoch.0, self.token, self.sequence);
        let rows = self.ready().await?.query(&sql).await?;
        let Some(row) = rows.first() else {
            return Err(ApplyError::Fenced("the progress row is gone".into()));
        };
        let found = (row.u64(0), row.u64(1), row.u64(2));
        if found == (Some(epoch), Some(token), Some(sequence + 1)) {
            // Nobody but this connection writes under this token, so this is its own commit.
            return Ok(());
        }
        if found.0 == Some(epoch) && found.1 == Some(token) {
            return Err(CodedError::new(
                codes::PROGRESS_ROW,
                "the sequence of the progress row is neither the old nor the new one",
            )
            .object(format!("{}, applier {}", self.shared.progress_table, self.index))
            .remedy("the row was changed by hand; stop the task and start it again")
            .into());
        }
        Err(ApplyError::Fenced(format!(
            "epoch {} has taken over from epoch {epoch}",
            found.0.map_or_else(|| "?".into(), |other| other.to_string())
        )))
    }

    /// A usable connection, made anew when there is none. The former one is killed first, so that what it had
    /// begun is rolled back and its locks are free.
    async fn ready(&mut self) -> Result<&mut Connection, ApplyError> {
        let usable = self.conn.take().filter(|conn| !conn.is_closed());
        let conn = match usable {
            Some(conn) => conn,
            None => {
                let mut conn = self.shared.connect().await?;
                if let Some(id) = self.last_id.take() {
                    // It may be gone already, or the server may have been started anew: only hygiene.
                    if let Err(why) = self.shared.kill(&mut conn, id).await {
                        tracing::debug!(
                            applier = self.index,
                            connection = id,
                            why = %why,
                            "the former connection may live on"
                        );
                    }
                }
                self.last_id = Some(conn.id());
                conn
            }
        };
        Ok(self.conn.insert(conn))
    }

    async fn kill_last(&mut self) {
        self.conn = None;
        if let Err(error) = self.ready().await {
            tracing::debug!(applier = self.index, error = %error, "no connection to clean up with");
        }
    }

    /// The connection outside any transaction, for statements that commit by themselves (DDL) or only read.
    pub(crate) async fn connection(&mut self) -> Result<&mut Connection, ApplyError> {
        self.ready().await
    }

    /// The connection if it is still the one of the last transaction: a DDL must not run on another one than its
    /// intent, because that one may have been killed by a successor.
    pub(crate) fn same_connection(&mut self) -> Result<&mut Connection, ApplyError> {
        match self.conn.as_mut() {
            Some(conn) if !conn.is_closed() => Ok(conn),
            _ => {
                Err(SqlError::connection_lost("the connection was lost before the statement was sent").into())
            }
        }
    }

    /// After a loss: waits for the target, and makes sure that what the lost connection was doing has ended.
    pub(crate) async fn replace(&mut self) -> Result<(), ApplyError> {
        self.conn = None;
        let former = self.last_id.take();
        let started = Instant::now();
        let mut back_off = BACK_OFF_FIRST;
        loop {
            let result = match self.shared.connect().await {
                Ok(mut conn) => {
                    let gone = match former {
                        Some(id) => self.shared.kill(&mut conn, id).await.is_ok(),
                        None => true,
                    };
                    self.last_id = Some(conn.id());
                    self.conn = Some(conn);
                    if gone { Ok(()) } else { Err(SqlError::connection_lost("the lost connection lives on")) }
                }
                Err(error) => Err(error),
            };
            match result {
                Ok(()) => return Ok(()),
                Err(error) if error.is_connection_lost() && started.elapsed() < RECONNECT_LIMIT => {
                    self.pause(&mut back_off).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives the connection up; the next use makes a new one with a clean session.
    pub(crate) fn discard(&mut self) {
        self.conn = None;
        self.last_id = None;
    }

    /// The same without anything under way: the connection is closed in an orderly way.
    async fn give_back(&mut self) {
        self.last_id = None;
        if let Some(conn) = self.conn.take() {
            conn.close().await;
        }
    }

    /// What makes the statement for [`TargetTransaction::set_progress`] in the transaction that comes next.
    pub(crate) fn progress_template(&self) -> ProgressTemplate {
        ProgressTemplate {
            shared: Arc::clone(&self.shared),
            index: self.index,
            token: self.token,
            sequence: self.sequence + 1,
        }
    }

    /// `BEGIN` and the compare-and-set.
    fn begin_sql(&self, update: &ProgressUpdate) -> Vec<u8> {
        self.shared.begin_sql(self.index, self.token, self.sequence, update)
    }
}

/// Changes the progress row inside a transaction that has raised its sequence already.
pub(crate) struct ProgressTemplate {
    shared: Arc<TargetShared>,
    index: u32,
    token: u64,
    sequence: u64,
}

impl ProgressTemplate {
    /// The statement.
    pub(crate) fn sql(&self, update: &ProgressUpdate) -> Vec<u8> {
        self.shared.update_sql(self.index, self.token, self.sequence, self.sequence, update)
    }
}
