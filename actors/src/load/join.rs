//! What a copy that was made beside a running task leaves to the task: its tables as copied up to where their own stream
//! has come, and what that stream has followed.

use std::collections::{BTreeMap, BTreeSet};

use dmnode_model::config::SubtaskConfig;
use dmnode_model::error::CodedError;
use dmnode_model::gtid::Flavor;
use dmnode_model::ids::TableName;
use dmnode_model::position::Location;
use dmnode_mysql::Connection;
use dmnode_schema::Router;

use super::chunks::{Chunk, ChunkTable, DoneChunk, JOINED, PlannedTable};
use crate::definitions::DefinitionTable;
use crate::sync::online::Online;
use crate::target::target_error;

fn chunks(subtask: &SubtaskConfig) -> ChunkTable {
    ChunkTable::new(&subtask.meta_schema, &subtask.task, &subtask.source_id)
}

/// The tables whose target tables the task's copy has made.
pub(crate) async fn made_by_copy(
    conn: &mut Connection,
    subtask: &SubtaskConfig,
    flavor: Flavor,
) -> Result<BTreeSet<TableName>, CodedError> {
    let plan = chunks(subtask).read(conn, flavor).await?;
    Ok(plan.into_iter().filter(|(_, planned)| planned.created).map(|(name, _)| name).collect())
}

/// The statements by which the tables of `side` become tables of `main`, copied as of `location`: together one
/// transaction. Makes the plan's table if there is none.
pub(crate) async fn join_statements(
    conn: &mut Connection,
    main: &SubtaskConfig,
    side: &SubtaskConfig,
    flavor: Flavor,
    tables: &BTreeSet<TableName>,
    location: &Location,
) -> Result<Vec<String>, CodedError> {
    let (own, from) = (chunks(main), chunks(side));
    conn.execute(own.create_sql()).await.map_err(|error| target_error(&error))?;
    let router = Router::new(&main.routes, main.case_sensitive)?;
    let mut copied = from.read(conn, flavor).await?;
    let mut plans = BTreeMap::new();
    let mut statements = Vec::new();
    for table in tables {
        let planned = copied.remove(table);
        let done = planned.iter().flat_map(|planned| &planned.chunks).filter_map(|chunk| chunk.done.as_ref());
        let (rows, bytes) = done.fold((0, 0), |(rows, bytes), done| (rows + done.rows, bytes + done.bytes));
        // A table that was gone already joins as well: what its stream said of it is history.
        let (target, created) = match planned {
            Some(planned) => (planned.target, planned.created),
            None => (router.route(table)?, false),
        };
        let done = Some(DoneChunk { location: location.clone(), rows, bytes });
        let chunks = vec![Chunk { number: 0, lower: None, upper: None, done }];
        let plan = PlannedTable { target, key: Vec::new(), digest: JOINED.to_owned(), created, chunks };
        statements.push(String::from_utf8_lossy(&own.delete_sql(table)).into_owned());
        plans.insert(table, plan);
    }
    let inserts = own.insert_sql(plans.iter().map(|(table, plan)| (*table, plan)));
    statements.extend(inserts.iter().map(|sql| String::from_utf8_lossy(sql).into_owned()));
    let definitions = |subtask: &SubtaskConfig| {
        DefinitionTable::new(&subtask.meta_schema, &subtask.task, &subtask.source_id)
    };
    statements.extend(definitions(main).take_sql(&definitions(side), tables));
    statements.push(Online::take_sql(main, side));
    Ok(statements)
}
