//! `binlog-schema`: looking at the definition of a source table that a task follows, correcting it, forgetting it.
//!
//! The definitions are rows in the target, read when the unit starts. Who changes them makes sure that it does not run.

use dmnode_model::codes;
use dmnode_model::config::{SourceConfig, SubtaskConfig};
use dmnode_model::error::CodedError;
use dmnode_model::{Flavor, TableName};
use dmnode_mysql::{Connection, ServerInfo, SessionOptions, TableInfo};
use dmnode_schema::definition::{Context, Definition, Fate, interpret};
use dmnode_schema::{SqlMode, Statement, StatementKind};

use super::scope::Scope;
use crate::definitions::{DefinitionTable, Followed, Origin, SUFFIX, definition_of};
use crate::progress::table_name;
use crate::target::target_error;

/// What is done to the definition of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaOperation {
    /// Show it.
    List,
    /// Take this CREATE TABLE, whatever name stands in it.
    Update(String),
    /// Take what the source says now.
    UpdateFromSource,
    /// Take the target's table.
    UpdateFromTarget,
    /// Forget it: it is derived again when the next row comes.
    Delete,
}

/// Carries out `operation` on the definition of `table`, a table of the source. Answers the definition as one line of
/// SQL, or nothing when it was forgotten.
pub async fn operate_schema(
    source: &SourceConfig,
    subtask: &SubtaskConfig,
    table: &TableName,
    operation: &SchemaOperation,
) -> Result<String, CodedError> {
    let scope = Scope::new(subtask)?;
    if !scope.has_table(table)? {
        return Err(CodedError::new(
            codes::SCHEMA_TABLE_OUT_OF_SCOPE,
            format!(
                "cannot get table info for {table} from schema tracker: the task does not migrate this table"
            ),
        )
        .object(table));
    }
    let mut target = Connection::connect(&subtask.target, &SessionOptions::default())
        .await
        .map_err(|error| target_error(&error))?;
    let stored = DefinitionTable::new(&subtask.meta_schema, &subtask.task, &subtask.source_id);
    let answer = match operation {
        SchemaOperation::List => {
            match stored.find(&mut target, table).await.map_err(|error| target_error(&error))? {
                Some(row) => stored.read(&row)?.1.definition,
                // Not followed yet: what it would most likely be taken for.
                None => in_target(&mut target, &scope, table).await?,
            }
        }
        SchemaOperation::Delete => {
            match target.execute(stored.delete_sql(table)).await {
                Ok(_) => {}
                // No meta table yet, so nothing to forget.
                Err(error) if matches!(error.code(), Some(1049 | 1146)) => {}
                Err(error) => return Err(target_error(&error)),
            }
            target.close().await;
            return Ok(String::new());
        }
        update => {
            let definition = match update {
                SchemaOperation::Update(text) => given(source, text, table).await?,
                SchemaOperation::UpdateFromSource => in_source(source, table).await?,
                _ => in_target(&mut target, &scope, table).await?,
            };
            let followed = Followed {
                definition,
                origin: Origin::Operator,
                location: "binlog-schema update".to_owned(),
            };
            let meta = table_name(&subtask.meta_schema, &subtask.task, SUFFIX);
            for sql in [DefinitionTable::create_sql(&meta), stored.put_sql(table, &followed)] {
                target.execute(&sql).await.map_err(|error| {
                    target_error(&error)
                        .remedy("the task must have run before, so that its meta schema exists")
                })?;
            }
            followed.definition
        }
    };
    target.close().await;
    Ok(answer.create_sql(&table.quoted()))
}

async fn in_target(
    conn: &mut Connection,
    scope: &Scope,
    table: &TableName,
) -> Result<Definition, CodedError> {
    let target = scope.router().route(table)?;
    let info = TableInfo::load(conn, &target).await.map_err(|error| target_error(&error))?;
    let info = info.ok_or_else(|| {
        let text = format!(
            "cannot fetch downstream table schema of {target} to initialize upstream schema {table} in schema tracker: \
             there is no such table"
        );
        CodedError::new(codes::SCHEMA_TRACKER_CANNOT_FETCH, text).object(&target)
    })?;
    Ok(definition_of(&info))
}

fn source_error(source: &SourceConfig, error: &dmnode_mysql::SqlError) -> CodedError {
    CodedError::new(codes::SOURCE_CONNECTION, "the source cannot be asked")
        .object(format!("{}:{}", source.from.host, source.from.port))
        .cause(error)
}

async fn in_source(source: &SourceConfig, table: &TableName) -> Result<Definition, CodedError> {
    let failed = |error: dmnode_mysql::SqlError| source_error(source, &error);
    let mut conn = Connection::connect(&source.from, &SessionOptions::default()).await.map_err(failed)?;
    let info = TableInfo::load(&mut conn, table).await.map_err(failed)?;
    conn.close().await;
    let info = info.ok_or_else(|| {
        let text = format!(
            "cannot fetch upstream table schema of {table} in schema tracker: there is no such table"
        );
        CodedError::new(codes::SCHEMA_TRACKER_CANNOT_FETCH, text)
            .scope(dmnode_model::Scope::Upstream)
            .object(table)
    })?;
    Ok(definition_of(&info))
}

/// A CREATE TABLE as the source would read it.
async fn given(source: &SourceConfig, text: &str, table: &TableName) -> Result<Definition, CodedError> {
    let failed = |error: dmnode_mysql::SqlError| source_error(source, &error);
    let mut conn = Connection::connect(&source.from, &SessionOptions::default()).await.map_err(failed)?;
    let server = ServerInfo::probe(&mut conn).await.map_err(failed)?;
    conn.close().await;
    // The database's default may be anything: a text column without a character set takes the one of its rows.
    let context = Context {
        mariadb: server.flavor == Flavor::Mariadb,
        explicit_timestamps: true,
        ..Context::default()
    };
    let statement = Statement::classify(text, &table.schema, SqlMode::default());
    let plain =
        matches!(statement.kind, StatementKind::CreateTable { temporary: false, like: false, select: false });
    let fate =
        if plain { interpret(&statement, text, &context, &|_| None).into_values().next() } else { None };
    match fate {
        Some(Fate::Is(definition)) => Ok(definition),
        _ => Err(CodedError::new(
            codes::SCHEMA_TRACKER_INVALID_CREATE_TABLE,
            "the text is not a valid `CREATE TABLE` statement that can be followed",
        )
        .object(table)
        .remedy("give one CREATE TABLE statement with its list of columns, as SHOW CREATE TABLE prints it")),
    }
}
