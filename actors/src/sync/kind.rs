//! What kind of object a name of the source stands for: a table, a sequence, a table with versions of its rows.

use dmnode_model::TableName;
use dmnode_model::codes;
use dmnode_model::config::Endpoint;
use dmnode_model::error::CodedError;
use dmnode_mysql::{Connection, SessionOptions, SqlError};

use crate::progress::text_literal;

/// `TABLE_TYPE` of an object of the source, as it is now.
pub async fn table_kind(source: &Endpoint, name: &TableName) -> Result<Option<String>, CodedError> {
    let failed = |error: SqlError| {
        CodedError::new(codes::SOURCE_CONNECTION, "the source cannot be asked what kind of table it has")
            .object(name)
            .cause(error)
    };
    let mut conn = Connection::connect(source, &SessionOptions::default()).await.map_err(failed)?;
    let sql = format!(
        "SELECT TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        text_literal(&name.schema),
        text_literal(&name.table)
    );
    let row = conn.query_one(sql).await.map_err(failed)?;
    conn.close().await;
    Ok(row.and_then(|row| row.string(0)))
}
