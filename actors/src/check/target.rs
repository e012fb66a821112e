//! What the target must be and allow.

use std::collections::{BTreeMap, BTreeSet};

use dmnode_model::config::SubtaskConfig;
use dmnode_model::{CodedError, Scope, TableName, codes, quote_ident};
use dmnode_mysql::{ServerInfo, SqlError};

use super::connect::{self, failed, is_denied, lacking, limited};
use super::inventory::Table;
use super::{Item, Source, Target};

const SCOPE: Scope = Scope::Downstream;

pub(super) async fn open(subtask: &SubtaskConfig) -> Result<Target, CodedError> {
    let mut connection = connect::open(&subtask.target, SCOPE).await?;
    let info = limited(ServerInfo::probe(&mut connection)).await.map_err(|err| failed(&err, SCOPE))?;
    let account = connect::account(&mut connection).await.map_err(|err| failed(&err, SCOPE))?;
    let address = format!("{}:{}", subtask.target.host, subtask.target.port);
    Ok(Target { connection, info, account, address })
}

pub(super) async fn version(target: &Target) -> Option<Item> {
    let item =
        Item::new("target_version", "check whether the target's version is satisfied").at(&target.address);
    let oldest = if target.info.is_mariadb() { (10, 3, 0) } else { (5, 7, 0) };
    if target.info.version < oldest {
        let text = format!("version {} is older than any that is tested", target.info.version_string);
        return Some(item.warn(text, "use MySQL 5.7 or MariaDB 10.3 or newer"));
    }
    if target.info.read_only {
        return Some(item.warn(
            "the target is read_only: it refuses accounts without a special privilege",
            "SET GLOBAL read_only = OFF on the target, or make sure that the account may write all the same",
        ));
    }
    Some(item)
}

/// A table that does not exist. Servers look at privileges before they look for the table, so that each of these
/// statements tells whether it would be allowed and does nothing in either case.
const NO_SUCH_TABLE: &str = "dmnode_check_no_such_table";

fn privilege_probes(schema: &str) -> Vec<(&'static str, String)> {
    let table = TableName::new(schema, NO_SUCH_TABLE);
    let other = TableName::new(schema, format!("{NO_SUCH_TABLE}_2"));
    vec![
        ("SELECT", format!("SELECT 1 FROM {table}")),
        ("INSERT", format!("INSERT INTO {table} VALUES (1)")),
        ("UPDATE", format!("UPDATE {table} SET a = 1")),
        ("DELETE", format!("DELETE FROM {table}")),
        ("CREATE", format!("CREATE TABLE {other} LIKE {table}")),
        ("ALTER", format!("ALTER TABLE {table} ADD COLUMN a INT")),
        ("INDEX", format!("CREATE INDEX i ON {table} (a)")),
        ("DROP", format!("DROP TABLE {table}")),
    ]
}

/// Writing rows and structure to every target database, and to the one of the task's progress.
pub(super) async fn privileges(sources: &[Source<'_>], target: &mut Target) -> Option<Item> {
    let mut item = Item::new("target db privilege checker", "check if target DB has enough privileges")
        .at(&target.address);
    let mut schemas: BTreeSet<String> = BTreeSet::new();
    for source in sources {
        schemas.insert(source.subtask.meta_schema.clone());
        schemas.extend(source.inventory.tables.iter().map(|t| t.to.schema.clone()));
    }
    for schema in &schemas {
        match missing_privileges(target, schema).await {
            Ok(missing) if missing.is_empty() => {}
            Ok(missing) => {
                let on = format!("{}.*", quote_ident(schema));
                item = item.fail(lacking(&missing.join(", "), &on, &target.account, SCOPE));
            }
            Err(err) => return Some(item.fail(failed(&err, SCOPE))),
        }
    }
    Some(item)
}

async fn missing_privileges(target: &mut Target, schema: &str) -> Result<Vec<&'static str>, SqlError> {
    let mut missing = Vec::new();
    for (privilege, sql) in privilege_probes(schema) {
        match limited(target.connection.query(sql)).await {
            // CREATE … LIKE reads its model; without SELECT it says nothing about CREATE.
            Err(err)
                if is_denied(&err) && (privilege != "CREATE" || !err.message.contains("SELECT command")) =>
            {
                missing.push(privilege);
            }
            Err(err) if err.is_connection_lost() => return Err(err),
            _ => {}
        }
    }
    Ok(missing)
}

/// Rows, progress and fence are one transaction: every target table must be able to roll back.
pub(super) async fn transactional_tables(sources: &[Source<'_>], target: &mut Target) -> Option<Item> {
    let mut item = Item::new("target table engine checker", "check whether target tables are transactional");
    item = item.at(&target.address);
    let (existing, transactional) = match engines(target).await {
        Ok(facts) => facts,
        Err(err) => return Some(item.fail(failed(&err, SCOPE))),
    };
    let can_roll_back = |engine: &str| transactional.contains(&engine.to_ascii_uppercase());
    let folds = target.info.lower_case_table_names != 0;
    let fold = |name: &TableName| if folds { name.quoted().to_lowercase() } else { name.quoted() };
    let mut named = BTreeSet::new();
    for source in sources {
        for table in &source.inventory.tables {
            let found = existing.get(&fold(&table.to));
            if !named.insert(fold(&table.to)) {
                continue;
            }
            match found {
                Some(engine) if !can_roll_back(engine) => {
                    item = item.fail(not_transactional(&table.to, engine))
                }
                Some(_) => {}
                None if source.subtask.mode.has_full_copy()
                    && would_keep(target, source, table, &transactional) =>
                {
                    item = item.fail(source_not_transactional(table));
                }
                None => {}
            }
        }
    }
    Some(item)
}

/// The copy would create the target table with the source's engine, which cannot roll back.
fn would_keep(target: &Target, source: &Source<'_>, table: &Table, transactional: &BTreeSet<String>) -> bool {
    let engine = table.engine.to_ascii_uppercase();
    // Across flavours an engine that the target does not know becomes InnoDB.
    let common = ["MYISAM", "MEMORY", "CSV", "ARCHIVE", "BLACKHOLE", "MRG_MYISAM", "FEDERATED"]
        .contains(&engine.as_str());
    !transactional.contains(&engine) && (common || target.info.flavor == source.info.flavor)
}

fn not_transactional(table: &TableName, engine: &str) -> CodedError {
    CodedError::new(
        codes::TABLE_NOT_TRANSACTIONAL,
        format!("target table {table} has the engine {engine}, which cannot roll back"),
    )
    .object(table)
    .scope(SCOPE)
    .remedy(format!("ALTER TABLE {table} ENGINE=InnoDB; in the target"))
}

fn source_not_transactional(table: &Table) -> CodedError {
    let Table { from, to, engine, .. } = table;
    CodedError::new(
        codes::TABLE_NOT_TRANSACTIONAL,
        format!("source table {from} has the engine {engine}; a target table like it could not roll back"),
    )
    .object(to)
    .scope(SCOPE)
    .remedy(format!(
        "create {to} in the target with ENGINE=InnoDB, or ALTER TABLE {from} ENGINE=InnoDB; at the source"
    ))
}

/// Engine of every table by its quoted name, and the engines that can roll back.
async fn engines(target: &mut Target) -> Result<(BTreeMap<String, String>, BTreeSet<String>), SqlError> {
    let folds = target.info.lower_case_table_names != 0;
    let sql = "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE FROM information_schema.TABLES \
               WHERE TABLE_TYPE = 'BASE TABLE' AND ENGINE IS NOT NULL";
    let mut existing = BTreeMap::new();
    for row in limited(target.connection.query(sql)).await? {
        if let (Some(schema), Some(table), Some(engine)) = (row.string(0), row.string(1), row.string(2)) {
            let name = TableName::new(schema, table).quoted();
            existing.insert(if folds { name.to_lowercase() } else { name }, engine);
        }
    }
    let sql = "SELECT ENGINE FROM information_schema.ENGINES WHERE TRANSACTIONS = 'YES'";
    let rows = limited(target.connection.query(sql)).await?;
    let mut transactional: BTreeSet<String> =
        rows.iter().filter_map(|r| r.string(0)).map(|e| e.to_ascii_uppercase()).collect();
    transactional.insert("INNODB".to_owned());
    Ok((existing, transactional))
}

/// Facts about the target that nobody needs to act on.
pub(super) fn notes(target: &Target) -> Vec<String> {
    if target.info.local_infile {
        return Vec::new();
    }
    vec![
        "local_infile is OFF on the target: the full copy writes with INSERT, which is slower than LOAD DATA"
            .to_owned(),
    ]
}
