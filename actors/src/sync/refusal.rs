//! What an operator needs to know about a DDL that the target refused: both definitions, and a way out.

use dmnode_model::config::Endpoint;
use dmnode_model::error::CodedError;
use dmnode_model::{BinlogPosition, TableName, TaskName};
use dmnode_mysql::{Connection, SessionOptions};
use dmnode_schema::{SqlMode, propose_replacement};

use super::ddl::{Object, show_create};

/// So much of a definition is shown.
const DEFINITION_BYTES: usize = 1200;

/// The refused statement and what it is about.
pub struct Refused<'a> {
    /// Task, for the commands that are proposed.
    pub task: &'a TaskName,
    /// Start of the event.
    pub start: &'a BinlogPosition,
    /// The tables at the source.
    pub sources: &'a [TableName],
    /// The objects in the target.
    pub objects: &'a [Object],
    /// The statement as the source has it.
    pub statement: &'a str,
    /// Default schema of its session.
    pub schema: &'a str,
    /// How it is to be read.
    pub mode: SqlMode,
}

/// The error with both definitions and the commands that help.
pub async fn explain(
    error: CodedError,
    refused: Refused<'_>,
    source: &Endpoint,
    target: &Endpoint,
) -> CodedError {
    let mut cause = error.cause.as_deref().unwrap_or_default().to_owned();
    let code = server_code(&cause);
    let sources: Vec<Object> = refused.sources.iter().cloned().map(Object::Table).collect();
    let shown =
        [("at the source now", source, sources.as_slice()), ("in the target", target, refused.objects)];
    for (whose, endpoint, objects) in shown {
        for definition in definitions(endpoint, objects).await {
            cause.push_str(&format!("\n{whose}: {definition}"));
        }
    }
    let start = format!("{}:{}", refused.start.file, refused.start.pos);
    let task = refused.task;
    let mut remedy = String::new();
    let proposed =
        code.and_then(|code| propose_replacement(code, refused.statement, refused.schema, refused.mode));
    match proposed {
        Some(sql) if sql.is_empty() => remedy.push_str(&format!(
            "the target seems to have it already; if it does: binlog skip {task} -b {start}; else "
        )),
        Some(sql) => {
            remedy.push_str(&format!("proposed: binlog replace {task} -b {start} {}; else ", quoted(&sql)))
        }
        None => {}
    }
    remedy.push_str(&format!(
        "make the target accept it, then resume-task {task}; or do its work by hand, then binlog skip {task} -b {start}; or binlog replace {task} -b {start} \"<DDL>\""
    ));
    error.cause(cause).remedy(remedy)
}

/// For a shell.
fn quoted(sql: &str) -> String {
    format!("'{}'", sql.replace('\'', r"'\''"))
}

fn server_code(cause: &str) -> Option<u16> {
    cause.strip_prefix("ERROR ")?.split(':').next()?.parse().ok()
}

/// What cannot be asked is left out: the refusal itself is the news.
async fn definitions(endpoint: &Endpoint, objects: &[Object]) -> Vec<String> {
    let mut shown = Vec::new();
    let Ok(mut conn) = Connection::connect(endpoint, &SessionOptions::default()).await else { return shown };
    for object in objects.iter().take(4) {
        match conn.query_one(show_create(object)).await {
            Ok(row) => {
                if let Some(text) = row.and_then(|row| row.string(1)) {
                    shown.push(cut(text));
                }
            }
            Err(error) if matches!(error.code(), Some(1049 | 1146)) => {
                shown.push(format!("{} does not exist", object.quoted()));
            }
            Err(error) => {
                tracing::debug!(error = %error, "a definition cannot be shown");
            }
        }
    }
    conn.close().await;
    shown
}

fn cut(mut text: String) -> String {
    if text.len() > DEFINITION_BYTES {
        let end = (0..=DEFINITION_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}
