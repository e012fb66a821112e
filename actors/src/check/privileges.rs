//! What the source's account must be allowed to do, tried out.

use dmnode_model::{BinlogPosition, CodedError, Scope, TableName};
use dmnode_mysql::{BinlogStart, SqlError, current_location};

use super::connect::{failed, is_denied, lacking, limited};
use super::position::read_one_event;
use super::{Item, Source};

/// Asking where the binlog ends, and reading an event of it.
pub(super) async fn replication(source: &mut Source<'_>) -> Option<Item> {
    let item =
        Item::new("source db replication privilege checker", "check replication privileges of source DB")
            .at(&source.address());
    let client = if source.info.is_mariadb() && source.info.version >= (10, 5, 2) {
        "BINLOG MONITOR"
    } else {
        "REPLICATION CLIENT"
    };
    let location = match limited(current_location(&mut source.connection, &source.info)).await {
        Ok(location) => location,
        Err(err) if is_denied(&err) => {
            // Whether the binlog may be read cannot be tried without a position; nearly always both are missing.
            return Some(
                item.fail(
                    lacking(&format!("REPLICATION SLAVE, {client}"), "*.*", &source.account, Scope::Upstream)
                        .cause(err),
                ),
            );
        }
        Err(err) => return Some(item.fail(failed(&err, Scope::Upstream))),
    };
    let start = BinlogStart::Position(BinlogPosition::new(location.position.file, 4));
    Some(match read_one_event(source, start).await {
        Ok(()) => item,
        Err(dmnode_mysql::BinlogError::Sql(err)) if is_denied(&err) => {
            item.fail(lacking("REPLICATION SLAVE", "*.*", &source.account, Scope::Upstream).cause(err))
        }
        Err(dmnode_mysql::BinlogError::Sql(err)) => item.fail(failed(&err, Scope::Upstream)),
        Err(err) => item.fail(
            CodedError::new(dmnode_model::codes::BINLOG_EVENT_DECODE, "decode of the source's binlog failed")
                .scope(Scope::Upstream)
                .cause(err),
        ),
    })
}

/// Reading every table, and a moment without writes that gives the snapshot its position.
pub(super) async fn dump(source: &mut Source<'_>) -> Option<Item> {
    let mut item = Item::new("source db dump privilege checker", "check dump privileges of source DB")
        .at(&source.address());
    match unreadable_tables(source).await {
        Ok(tables) => {
            for table in tables {
                item = item.fail(lacking("SELECT", &table.quoted(), &source.account, Scope::Upstream));
            }
        }
        Err(err) => return Some(item.fail(failed(&err, Scope::Upstream))),
    }
    match snapshot_lock(source).await {
        Ok(Lock::NotNeeded | Lock::Global) => Some(item),
        Ok(Lock::Tables) => Some(item.warn(
            "FLUSH TABLES WITH READ LOCK is refused; the tables of the task are locked one by one instead, for longer",
            &format!("GRANT RELOAD ON *.* TO {};", source.account),
        )),
        Ok(Lock::Refused(err)) => {
            Some(item.fail(lacking("RELOAD", "*.*", &source.account, Scope::Upstream).cause(err)))
        }
        Err(err) => Some(item.fail(failed(&err, Scope::Upstream))),
    }
}

/// Tables in scope that may not be read. Those of which the account may see nothing at all are not even listed by
/// the server; an empty scope is a finding of its own.
async fn unreadable_tables(source: &mut Source<'_>) -> Result<Vec<TableName>, SqlError> {
    let grants = limited(dmnode_mysql::grants(&mut source.connection)).await.unwrap_or_default();
    if grants.iter().any(|grant| reads_everything(grant)) {
        return Ok(Vec::new());
    }
    let mut unreadable = Vec::new();
    for table in &source.inventory.tables {
        match limited(source.connection.query(format!("SELECT * FROM {} LIMIT 0", table.from))).await {
            Err(err) if is_denied(&err) => unreadable.push(table.from.clone()),
            // Dropped meanwhile, or broken: the copy tells.
            Err(err) if err.is_connection_lost() => return Err(err),
            _ => {}
        }
    }
    Ok(unreadable)
}

fn reads_everything(grant: &str) -> bool {
    let Some((privileges, _)) = grant.split_once(" ON *.* TO ") else { return false };
    let Some(privileges) = privileges.strip_prefix("GRANT ") else { return false };
    privileges.split(',').map(str::trim).any(|p| p == "SELECT" || p == "ALL PRIVILEGES")
}

enum Lock {
    /// The server tells the position of a snapshot without a lock.
    NotNeeded,
    /// FLUSH TABLES WITH READ LOCK.
    Global,
    /// LOCK TABLES only.
    Tables,
    /// Neither.
    Refused(SqlError),
}

/// Takes the lock that the copy needs and lets it go at once. If somebody holds it off, it is not waited for.
async fn snapshot_lock(source: &mut Source<'_>) -> Result<Lock, SqlError> {
    if source.info.is_mariadb() {
        let sql = "SHOW GLOBAL STATUS LIKE 'binlog_snapshot_file'";
        if limited(source.connection.query_one(sql)).await?.is_some() {
            return Ok(Lock::NotNeeded);
        }
    }
    limited(source.connection.execute("SET SESSION lock_wait_timeout = 1")).await?;
    let refusal = match limited(source.connection.execute("FLUSH TABLES WITH READ LOCK")).await {
        Ok(_) => {
            limited(source.connection.execute("UNLOCK TABLES")).await?;
            return Ok(Lock::Global);
        }
        Err(err) if err.code() == Some(1205) => return Ok(Lock::Global),
        Err(err) if is_denied(&err) => err,
        Err(err) => return Err(err),
    };
    let Some(table) = source.inventory.tables.first() else { return Ok(Lock::Refused(refusal)) };
    let sql = format!("LOCK TABLES {} READ", table.from);
    match limited(source.connection.execute(sql)).await {
        Ok(_) => {
            limited(source.connection.execute("UNLOCK TABLES")).await?;
            Ok(Lock::Tables)
        }
        Err(err) if err.code() == Some(1205) => Ok(Lock::Tables),
        Err(err) if is_denied(&err) => Ok(Lock::Refused(refusal)),
        Err(err) => Err(err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn global_grants_are_read() {
        assert!(reads_everything("GRANT ALL PRIVILEGES ON *.* TO `a`@`%` WITH GRANT OPTION"));
        assert!(reads_everything("GRANT RELOAD, SELECT ON *.* TO `a`@`%`"));
        assert!(!reads_everything("GRANT RELOAD, SHOW DATABASES ON *.* TO `a`@`%`"));
        assert!(!reads_everything("GRANT SELECT ON `a`.* TO `a`@`%`"));
        assert!(!reads_everything("GRANT `role`@`%` TO `a`@`%`"));
    }
}
