//! Whether the servers allow as many connections as the task opens.

use dmnode_model::{CodedError, Scope, codes};
use dmnode_mysql::{Connection, SqlError};

use super::connect::{failed, limited};
use super::{Item, Source, Target};

pub(super) async fn dumper(source: &mut Source<'_>) -> Option<Item> {
    let needed = u64::try_from(source.subtask.dump.threads).unwrap_or(0) + 2;
    let item = Item::new(
        "dumper_conn_number_checker",
        "check if connetion concurrency exceeds database's maximum connection limit",
    );
    Some(match max_connections(&mut source.connection).await {
        Ok(max) => judge(item, needed, max, "`threads` of the mydumper", Scope::Upstream),
        Err(err) => item.fail(failed(&err, Scope::Upstream)),
    })
}

pub(super) async fn loader(sources: &[Source<'_>], target: &mut Target) -> Option<Item> {
    let per_source = |s: &Source<'_>| {
        let load = if s.subtask.mode.has_full_copy() { s.subtask.load.pool_size } else { 0 };
        let sync = if s.subtask.mode.has_sync() { s.subtask.sync.worker_count } else { 0 };
        u64::try_from(load.max(sync)).unwrap_or(0) + 1
    };
    let needed = sources.iter().map(per_source).sum();
    let item = Item::new(
        "loader_conn_number_checker",
        "check if connetion concurrency exceeds database's maximum connection limit",
    );
    Some(match max_connections(&mut target.connection).await {
        Ok(max) => judge(
            item,
            needed,
            max,
            "`pool-size` of the loader or `worker-count` of the syncer",
            Scope::Downstream,
        ),
        Err(err) => item.fail(failed(&err, Scope::Downstream)),
    })
}

async fn max_connections(connection: &mut Connection) -> Result<u64, SqlError> {
    let row = limited(connection.query_one("SELECT @@GLOBAL.max_connections")).await?;
    Ok(row.and_then(|row| row.u64(0)).unwrap_or(0))
}

/// 0 is no limit.
fn judge(item: Item, needed: u64, max: u64, setting: &str, scope: Scope) -> Item {
    if max == 0 || needed <= max {
        return item;
    }
    item.fail(
        CodedError::new(
            codes::CHECK_CONNECTIONS,
            format!("the task needs {needed} connections, the server allows {max}"),
        )
        .scope(scope)
        .remedy(format!("set max_connections of the server to {needed} or more, or lower {setting}")),
    )
}
