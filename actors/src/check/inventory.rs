//! What the source has, what of it is in scope, and where it goes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dmnode_model::config::SubtaskConfig;
use dmnode_model::{CodedError, Scope, SourceId, TableName, codes, quote_ident};
use dmnode_mysql::{Connection, SqlError};
use dmnode_schema::{BlockAllowList, EventFilter, ExtendedColumn, OnlineRules, Router, is_system_schema};

use super::Source;
use super::connect::{failed, limited};

/// A table in scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMapping {
    /// Source.
    pub source: SourceId,
    /// Its name there.
    pub from: TableName,
    /// Its name in the target.
    pub to: TableName,
}

/// A base table in scope.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub from: TableName,
    pub to: TableName,
    pub engine: String,
    pub has_key: bool,
    /// What its route adds to its rows.
    pub extended: Vec<ExtendedColumn>,
}

/// The source's databases and tables.
pub(super) struct Inventory {
    pub tables: Vec<Table>,
    /// All base tables of the source.
    pub all_tables: Vec<TableName>,
    /// Databases in scope.
    pub schemas: Vec<String>,
    /// Patterns and routes that match nothing, as text.
    pub unmatched: Vec<String>,
    /// Patterns that match fewer names than they seem to be meant for.
    pub misread: Vec<String>,
    /// Objects in scope that are not migrated: kind -> how many, and the first of them.
    pub not_migrated: BTreeMap<&'static str, (usize, String)>,
}

impl Inventory {
    pub async fn read(connection: &mut Connection, subtask: &SubtaskConfig) -> Result<Inventory, CodedError> {
        let list = BlockAllowList::of(subtask, subtask.case_sensitive)
            .map_err(|err| wrap(codes::TASK_CHECK_GEN_BA_LIST, "generate block allow list error", err))?;
        let router = Router::new(&subtask.routes, subtask.case_sensitive)
            .map_err(|err| wrap(codes::TASK_CHECK_GEN_TABLE_ROUTER, "generate table router error", err))?;
        let query_failed = |err: SqlError| failed(&err, Scope::Upstream);
        let (all_schemas, rows) = read_tables(connection).await.map_err(query_failed)?;
        let mut inventory = Inventory {
            tables: Vec::new(),
            all_tables: Vec::new(),
            schemas: Vec::new(),
            unmatched: Vec::new(),
            misread: Vec::new(),
            not_migrated: BTreeMap::new(),
        };
        let own = |schema: &str| schema == subtask.meta_schema || is_system_schema(schema);
        for schema in all_schemas.iter().filter(|schema| !own(schema)) {
            if list.schema_in_scope(schema)? {
                inventory.schemas.push(schema.clone());
            }
        }
        let online = OnlineRules::new(subtask)?;
        let mut names = Vec::new();
        for row in rows {
            names.push(row.name.clone());
            if own(&row.name.schema) || !list.table_in_scope(&row.name)? {
                continue;
            }
            if online.is_helper(&row.name.table) {
                inventory.leave_out("table of an online schema change", row.name.quoted());
                continue;
            }
            match row.kind.as_str() {
                "BASE TABLE" => {
                    let to = router.route(&row.name).map_err(|err| {
                        wrap(codes::TASK_CHECK_GEN_TABLE_ROUTER, "generate table router error", err)
                    })?;
                    let extended = router.extended(&row.name, &subtask.source_id)?;
                    inventory.tables.push(Table {
                        from: row.name,
                        to,
                        extended,
                        engine: row.engine,
                        has_key: row.has_key,
                    });
                }
                "SYSTEM VERSIONED" => inventory.leave_out("system-versioned table", row.name.quoted()),
                "SEQUENCE" => inventory.leave_out("sequence", row.name.quoted()),
                _ => inventory.leave_out("view", row.name.quoted()),
            }
        }
        inventory.unmatched = list.unmatched(&all_schemas, &names)?;
        let in_scope: Vec<TableName> = inventory.tables.iter().map(|t| t.from.clone()).collect();
        inventory
            .unmatched
            .extend(router.unmatched(&in_scope)?.into_iter().map(|text| format!("route {text}")));
        let filter = EventFilter::new(&subtask.filters, subtask.case_sensitive)?;
        inventory.unmatched.extend(filter.unmatched(&all_schemas, &in_scope)?);
        inventory.misread = list.misread(&all_schemas, &names)?;
        for text in router.misread(&all_schemas, &names)? {
            if !inventory.misread.contains(&text) {
                inventory.misread.push(text);
            }
        }
        inventory.all_tables = names;
        inventory.read_other_objects(connection).await.map_err(query_failed)?;
        Ok(inventory)
    }

    /// Objects that hold no rows.
    async fn read_other_objects(&mut self, connection: &mut Connection) -> Result<(), SqlError> {
        for (kind, sql) in [
            ("trigger", "SELECT TRIGGER_SCHEMA, TRIGGER_NAME FROM information_schema.TRIGGERS"),
            ("routine", "SELECT ROUTINE_SCHEMA, ROUTINE_NAME FROM information_schema.ROUTINES"),
            ("event", "SELECT EVENT_SCHEMA, EVENT_NAME FROM information_schema.EVENTS"),
        ] {
            for row in limited(connection.query(sql)).await? {
                let (Some(schema), Some(name)) = (row.string(0), row.string(1)) else { continue };
                if self.schemas.contains(&schema) {
                    self.leave_out(kind, TableName::new(schema, name).quoted());
                }
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, kind: &'static str, name: String) {
        self.not_migrated.entry(kind).or_insert((0, name)).0 += 1;
    }

    pub fn mappings(&self, source: &SourceId) -> Vec<TableMapping> {
        let mapping =
            |t: &Table| TableMapping { source: source.clone(), from: t.from.clone(), to: t.to.clone() };
        self.tables.iter().map(mapping).collect()
    }
}

struct TableRow {
    name: TableName,
    kind: String,
    engine: String,
    has_key: bool,
}

/// All databases, and all tables that the account can see.
async fn read_tables(connection: &mut Connection) -> Result<(Vec<String>, Vec<TableRow>), SqlError> {
    let schemas = limited(connection.query("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")).await?;
    let schemas: Vec<String> = schemas.iter().filter_map(|row| row.string(0)).collect();
    let mut keyed: HashMap<(String, String), bool> = HashMap::new();
    // A unique key identifies rows only if none of its columns is NULL.
    let keys = "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, MAX(NULLABLE = 'YES') FROM information_schema.STATISTICS \
                WHERE NON_UNIQUE = 0 GROUP BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME";
    for row in limited(connection.query(keys)).await? {
        if let (Some(schema), Some(table), Some(0)) = (row.string(0), row.string(1), row.u64(3)) {
            keyed.insert((schema, table), true);
        }
    }
    let sql = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, COALESCE(ENGINE, '') FROM information_schema.TABLES \
               ORDER BY TABLE_SCHEMA, TABLE_NAME";
    let mut tables = Vec::new();
    for row in limited(connection.query(sql)).await? {
        let (Some(schema), Some(table), Some(kind)) = (row.string(0), row.string(1), row.string(2)) else {
            continue;
        };
        let has_key = keyed.contains_key(&(schema.clone(), table.clone()));
        let engine = row.string(3).unwrap_or_default();
        tables.push(TableRow { name: TableName::new(schema, table), kind, engine, has_key });
    }
    Ok((schemas, tables))
}

fn wrap(code: u32, message: &str, err: CodedError) -> CodedError {
    let mut wrapped = CodedError::new(code, message).cause(&err).remedy(err.workaround());
    wrapped.object = err.object;
    wrapped
}

/// Two target tables whose names differ only by case, when case is not to matter, or does not to the target.
pub(super) fn names_that_clash(sources: &[Source<'_>], target_folds: bool) -> Option<CodedError> {
    let mut seen: HashMap<String, &TableName> = HashMap::new();
    for source in sources.iter().filter(|s| target_folds || !s.subtask.case_sensitive) {
        for table in &source.inventory.tables {
            let folded = table.to.quoted().to_lowercase();
            let first = *seen.entry(folded).or_insert(&table.to);
            if *first != table.to {
                let message = format!("same table name in case-insensitive {first} vs {}", table.to);
                let error = CodedError::new(codes::TASK_CHECK_SAME_TABLE_NAME, message);
                return Some(if target_folds {
                    error.cause("the target does not tell them apart (lower_case_table_names)")
                } else {
                    error
                });
            }
        }
    }
    None
}

/// The least privileges that the accounts need, as statements.
pub(super) fn grants(sources: &[Source<'_>], target_account: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let mut schemas = BTreeSet::new();
    for source in sources {
        let mode = source.subtask.mode;
        let mut global = Vec::new();
        if mode.has_sync() || mode.has_full_copy() {
            let monitor = source.info.is_mariadb() && source.info.version >= (10, 5, 2);
            global.push(if monitor { "BINLOG MONITOR" } else { "REPLICATION CLIENT" });
        }
        if mode.has_sync() {
            global.push("REPLICATION SLAVE");
        }
        if mode.has_full_copy() && !source.info.is_mariadb() {
            global.push("RELOAD");
        }
        let mut statements = vec![format!("GRANT {} ON *.* TO {};", global.join(", "), source.account)];
        for schema in &source.inventory.schemas {
            statements.push(format!("GRANT SELECT ON {}.* TO {};", quote_ident(schema), source.account));
        }
        notes.push(format!(
            "least privileges on source {}: {}",
            source.config.source_id,
            statements.join(" ")
        ));
        schemas.insert(source.subtask.meta_schema.clone());
        schemas.extend(source.inventory.tables.iter().map(|t| t.to.schema.clone()));
    }
    let statements: Vec<String> = schemas
        .iter()
        .map(|schema| {
            format!(
                "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP ON {}.* TO {target_account};",
                quote_ident(schema)
            )
        })
        .collect();
    notes.push(format!("least privileges on the target: {}", statements.join(" ")));
    notes
}

/// What is not migrated, one sentence for each kind and source.
pub(super) fn notes(sources: &[Source<'_>]) -> Vec<String> {
    let mut notes = Vec::new();
    for source in sources {
        for (kind, (count, first)) in &source.inventory.not_migrated {
            let more = if *count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            notes.push(format!("not migrated from source {}: {kind} {first}{more}", source.config.source_id));
        }
    }
    notes
}
