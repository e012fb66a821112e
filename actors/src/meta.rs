//! The task's meta tables in the target.

use dmnode_model::config::SubtaskConfig;
use dmnode_model::error::CodedError;
use dmnode_model::ids::quote_ident;
use dmnode_mysql::{Connection, SessionOptions};

use crate::progress::table_name;
use crate::target::target_error;

/// Suffixes of the tables of dmnode and of DM.
const SUFFIXES: [&str; 16] = [
    "dmnode_progress",
    "dmnode_chunk",
    "dmnode_ddl",
    "dmnode_conflict",
    "dmnode_meta",
    "dmnode_safe_mode",
    "dmnode_schema",
    "syncer_checkpoint",
    "loader_checkpoint",
    "lightning_checkpoint_list",
    "onlineddl",
    "syncer_sharding_meta",
    "validator_checkpoint",
    "validator_pending_change",
    "validator_error_change",
    "validator_table_status",
];

/// Removes everything dmnode and DM keep in the target for this subtask's task (`start-task --remove-meta`).
pub async fn remove_meta(subtask: &SubtaskConfig) -> Result<(), CodedError> {
    let mut conn = Connection::connect(&subtask.target, &SessionOptions::default())
        .await
        .map_err(|error| target_error(&error))?;
    let mut tables: Vec<String> =
        SUFFIXES.iter().map(|suffix| table_name(&subtask.meta_schema, &subtask.task, suffix)).collect();
    for name in crate::sync::marker_names(&subtask.task, &subtask.source_id) {
        tables.push(format!("{}.{}", quote_ident(&subtask.meta_schema), quote_ident(&name)));
    }
    let statements = [
        format!("DROP TABLE IF EXISTS {}", tables.join(", ")),
        format!(
            "DROP DATABASE IF EXISTS {}",
            quote_ident(&format!("{}_{}", subtask.meta_schema, subtask.task))
        ),
    ];
    for sql in statements {
        if let Err(error) = conn.execute(&sql).await {
            // Without the meta schema there is nothing to remove; servers differ in how they say so.
            if error.code() == Some(1049) {
                continue;
            }
            return Err(target_error(&error).object(quote_ident(&subtask.meta_schema)).statement(sql));
        }
    }
    conn.close().await;
    Ok(())
}
