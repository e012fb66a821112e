//! `binlog-schema` and its old spelling.

use std::path::Path;

use dmnode_model::api::BinlogSchemaRequest;

use crate::args::{
    BinlogSchemaOperation, OldSchemaOperation, OperateSchemaArgs, SchemaTableArgs, SchemaUpdateArgs,
};
use crate::exit::CtlError;
use crate::files;

/// The request, and whether it changes anything.
pub fn request(
    operation: &BinlogSchemaOperation,
    sources: &[String],
) -> Result<(BinlogSchemaRequest, bool), CtlError> {
    let of = |op: &str, table: &SchemaTableArgs| BinlogSchemaRequest {
        op: op.to_owned(),
        task: table.task.clone(),
        sources: sources.to_vec(),
        database: table.database.clone(),
        table: table.table.clone(),
        ..BinlogSchemaRequest::default()
    };
    match operation {
        BinlogSchemaOperation::List(table) => Ok((of("list", table), false)),
        BinlogSchemaOperation::Delete(table) => Ok((of("delete", table), true)),
        BinlogSchemaOperation::Update(SchemaUpdateArgs { of: table, file, from_source, from_target }) => {
            let schema = content(file.as_deref(), *from_source || *from_target)?;
            let request = BinlogSchemaRequest {
                schema,
                from_source: *from_source,
                from_target: *from_target,
                ..of("update", table)
            };
            Ok((request, true))
        }
    }
}

/// The old spelling as the new one.
pub fn new_spelling(args: &OperateSchemaArgs) -> BinlogSchemaOperation {
    let of = SchemaTableArgs {
        task: args.task.clone(),
        database: args.database.clone(),
        table: args.table.clone(),
    };
    match args.operation {
        OldSchemaOperation::Get => BinlogSchemaOperation::List(of),
        OldSchemaOperation::Remove => BinlogSchemaOperation::Delete(of),
        OldSchemaOperation::Set => BinlogSchemaOperation::Update(SchemaUpdateArgs {
            of,
            file: args.file.clone(),
            from_source: false,
            from_target: false,
        }),
    }
}

fn content(file: Option<&Path>, from_server: bool) -> Result<String, CtlError> {
    match file {
        Some(file) => files::read_text(file),
        None if from_server => Ok(String::new()),
        None => Err(CtlError::Usage(
            "binlog-schema update: give a file with a CREATE TABLE statement, --from-source or --from-target"
                .to_owned(),
        )),
    }
}
