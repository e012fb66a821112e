//! Connections of checks, and what their errors mean.

use std::future::Future;
use std::time::Duration;

use dmnode_model::{CodedError, Endpoint, Scope, codes};
use dmnode_mysql::{Connection, SessionOptions, SqlError};

/// Longest time for one statement of a check.
const QUERY_LIMIT: Duration = Duration::from_secs(30);

/// Opens a connection; a failure names the address and says which of the settings is wrong.
pub(super) async fn open(endpoint: &Endpoint, scope: Scope) -> Result<Connection, CodedError> {
    Connection::connect(endpoint, &SessionOptions::default())
        .await
        .map_err(|err| cannot_open(endpoint, &err, scope))
}

/// DM's error for a server that cannot be reached or does not let us in.
pub(super) fn cannot_open(endpoint: &Endpoint, err: &SqlError, scope: Scope) -> CodedError {
    let Endpoint { host, port, user, .. } = endpoint;
    let remedy = match err.code() {
        Some(1045 | 1698) => "check user and password; the server answered, but refuses this account",
        Some(1044 | 1049) => "check the account's privileges",
        Some(1040 | 1203 | 1226) => {
            "the server has too many connections; raise its max_connections or close some"
        }
        Some(1129) => "the server blocks this host after too many errors; FLUSH HOSTS there",
        Some(1130) => "the server does not let this host in; create the account for it ('user'@'host')",
        Some(_) => "see what the server says",
        None => {
            "check host and port, that the server runs, and that nothing in between blocks the connection"
        }
    };
    CodedError::new(codes::TASK_CHECK_FAILED_OPEN_DB, format!("failed to open DSN {user}:***@{host}:{port}"))
        .scope(scope)
        .cause(err)
        .remedy(remedy)
}

/// A statement of a check failed for a reason that is none of the check's own.
pub(super) fn failed(err: &SqlError, scope: Scope) -> CodedError {
    CodedError::new(codes::DB_QUERY_FAILED, "query statement failed: a statement of the check")
        .scope(scope)
        .cause(err)
}

/// Runs a statement within the time limit.
pub(super) async fn limited<T>(work: impl Future<Output = Result<T, SqlError>>) -> Result<T, SqlError> {
    match tokio::time::timeout(QUERY_LIMIT, work).await {
        Ok(result) => result,
        Err(_) => Err(SqlError::timeout(format!("no answer within {} s", QUERY_LIMIT.as_secs()))),
    }
}

/// The server refused the statement for want of a privilege.
pub(super) fn is_denied(err: &SqlError) -> bool {
    // 1044 database, 1045 account, 1142 table, 1143 column, 1227 global, 1370 routine.
    matches!(err.code(), Some(1044 | 1045 | 1142 | 1143 | 1227 | 1370))
}

/// `'user'@'host'` as the server knows the account: what a GRANT is to name.
pub(super) async fn account(connection: &mut Connection) -> Result<String, SqlError> {
    let row = limited(connection.query_one("SELECT CURRENT_USER()")).await?;
    let text = row.and_then(|row| row.string(0)).unwrap_or_default();
    Ok(match text.rsplit_once('@') {
        Some((user, host)) => format!("'{}'@'{}'", user.replace('\'', "''"), host.replace('\'', "''")),
        None => format!("'{text}'"),
    })
}

/// The error for a missing privilege, with the statement that grants it.
pub(super) fn lacking(privilege: &str, on: &str, account: &str, scope: Scope) -> CodedError {
    CodedError::new(codes::CHECK_PRIVILEGE, format!("lack of {privilege} privilege on {on} for {account}"))
        .object(on)
        .scope(scope)
        .remedy(format!("GRANT {privilege} ON {on} TO {account};"))
}
