//! The tables of the stream: in scope or not, where they go, how their rows are decoded.
//!
//! The target has followed every DDL of the stream up to here, so the target's tables are the schema at this
//! position. Everything is forgotten when a DDL is executed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dmnode_model::codes;
use dmnode_model::config::Endpoint;
use dmnode_model::error::CodedError;
use dmnode_model::{Flavor, TableName, quote_ident};
use dmnode_mysql::{Connection, QueryEvent, RowDecoder, SessionOptions, SqlError, TableInfo, TableMap};
use dmnode_schema::{SqlMode, Statement};

use super::ddl_session::{DdlSession, explicit_defaults, explicit_defaults_setting};
use super::scope::Scope;
use super::table::{ForeignKeys, Table};
use super::tracker::Tracked;
use crate::fit::{Misfit, misfit};
use crate::load::ChunkFilter;
use crate::progress::{ProgressStore, text_literal};
use crate::target::target_error;

/// Engines whose changes roll back.
const TRANSACTIONAL: [&str; 5] = ["InnoDB", "RocksDB", "ROCKSDB", "TokuDB", "XtraDB"];
/// Connections tried for one look at the target.
const ATTEMPTS: u32 = 5;
/// How much later than a table's definition a change must be to be surely of that definition.
const SETTLED_SECONDS: u64 = 60;

/// A table in scope with its decoder.
pub struct Known {
    /// Source and target.
    pub table: Arc<Table>,
    /// Turns row images into values.
    pub decoder: RowDecoder,
}

/// The cache.
pub struct Tables {
    store: Arc<ProgressStore>,
    conn: Option<Connection>,
    tables: HashMap<TableName, Option<Arc<Table>>>,
    /// By the source's table number; cleared whenever numbers may be given anew.
    decoders: HashMap<u64, (TableName, Option<Arc<Known>>)>,
    foreign: Option<HashMap<TableName, ForeignKeys>>,
    /// The source, to ask what it does not write into its binlog.
    source: Option<Endpoint>,
    /// Source tables whose definition was seen to fit the target's.
    fitting: HashSet<TableName>,
    ddl_session: DdlSession,
    /// The source writes the changes made by actions of foreign keys to its binlog.
    source_logs_actions: bool,
    next_number: u32,
}

impl Tables {
    /// Nothing is known yet.
    pub fn new(store: Arc<ProgressStore>, source_logs_actions: bool) -> Self {
        Self {
            store,
            conn: None,
            tables: HashMap::new(),
            decoders: HashMap::new(),
            foreign: None,
            source: None,
            fitting: HashSet::new(),
            ddl_session: DdlSession::default(),
            source_logs_actions,
            next_number: 0,
        }
    }

    /// Where the binlog does not tell the columns' names, the definitions at this source are compared with the
    /// target's.
    #[must_use]
    pub fn comparing_with(self, source: Endpoint) -> Self {
        Self { source: Some(source), ..self }
    }

    /// A statement of the stream has been dealt with: executed in the target, found done, replaced, or skipped. The
    /// source has executed it in any case, so its tables are followed whatever became of it in the target; only
    /// what the copy contains is not told here. The answer belongs into the transaction in which the watermark
    /// passes the statement.
    pub async fn track(
        &mut self,
        scope: &Scope,
        query: &QueryEvent,
        flavor: Flavor,
        place: &str,
    ) -> Result<Tracked, CodedError> {
        let mode = query.sql_mode.map(|bits| SqlMode::from_bits(bits, flavor)).unwrap_or_default();
        let text = query.sql_text().unwrap_or_default();
        let statement = Statement::classify(&text, &query.schema, mode);
        let mut concerned =
            statement.schemas.iter().map(|_| Ok(true)).collect::<Vec<Result<bool, CodedError>>>();
        concerned.extend(statement.changed_tables().map(|name| scope.has_table(name)));
        for known in concerned {
            if known.map_err(|error| error.at(place))? {
                self.forget();
                break;
            }
        }
        Ok(Tracked::default())
    }

    /// A DDL was executed: look at everything again.
    fn forget(&mut self) {
        self.tables.clear();
        self.decoders.clear();
        self.fitting.clear();
        self.foreign = None;
    }

    /// The source may give its table numbers anew (a new binlog file, a new connection).
    pub fn forget_numbers(&mut self) {
        self.decoders.clear();
    }

    /// The table of a rows event; `None` when it is out of scope.
    pub async fn known(
        &mut self,
        scope: &Scope,
        copied: Option<&ChunkFilter>,
        map: &TableMap,
        place: &str,
    ) -> Result<Option<Arc<Known>>, CodedError> {
        if let Some((name, known)) = self.decoders.get(&map.table_id)
            && *name == map.name
        {
            return Ok(known.clone());
        }
        let known = match self.table(scope, copied, &map.name).await.map_err(|error| error.at(place))? {
            None => None,
            Some(table) => {
                let decoder = RowDecoder::new(map, &table.info).map_err(|error| {
                    CodedError::new(
                        codes::SYNCER_UNIT_DML_COLUMN_NOT_MATCH,
                        "the rows in the binlog do not fit the target's table",
                    )
                    .object(format!("{} (source {})", table.target(), table.source))
                    .at(place)
                    .cause(error)
                    .remedy("was a DDL skipped, or was the target's table changed by hand? make it like the source's at this position, then resume-task")
                })?;
                if let Some(misfit) = self.misfit_at_source(map, &table).await {
                    return Err(CodedError::new(
                        codes::SYNCER_UNIT_DML_COLUMN_NOT_MATCH,
                        "the target's table is not like the source's",
                    )
                    .object(format!("{} (source {})", table.target(), table.source))
                    .at(place)
                    .cause(format!("column {} {}", quote_ident(&misfit.column), misfit.why))
                    .remedy("the stream knows columns by their place only: give the target's table the same columns in the same order, then resume-task; or set binlog_row_metadata=FULL at the source"));
                }
                Some(Arc::new(Known { table, decoder }))
            }
        };
        self.decoders.insert(map.table_id, (map.name.clone(), known.clone()));
        Ok(known)
    }

    /// Settings of a DDL's session that the event alone does not tell.
    pub async fn ddl_settings(
        &mut self,
        query: &QueryEvent,
        timestamp: u32,
        flavor: Flavor,
        statements: &[String],
    ) -> Result<Vec<String>, CodedError> {
        let mut settings = Vec::new();
        if let Some(source) = &self.source {
            settings.extend(self.ddl_session.system_zone(query, timestamp, source).await?);
        }
        if let Some(wanted) = explicit_defaults(query, flavor, statements) {
            let mut attempt = 0;
            let setting = loop {
                let conn = self.connection().await?;
                match explicit_defaults_setting(conn, wanted).await {
                    Ok(setting) => break setting,
                    Err(error) => self.lost(&mut attempt, error)?,
                }
            };
            settings.extend(setting);
        }
        Ok(settings)
    }

    /// How the target's table differs from the source's, if the binlog does not tell and the difference is certain.
    async fn misfit_at_source(&mut self, map: &TableMap, table: &Table) -> Option<Misfit> {
        if map.column_names().is_some() || self.fitting.contains(&map.name) {
            return None;
        }
        let source = self.source.as_ref()?;
        match definition_at_source(source, &map.name).await {
            // An account without rights on the table does not see it.
            Ok(None) => None,
            Ok(Some((info, _))) if RowDecoder::new(map, &info).is_err() => None,
            Ok(Some((info, since))) => match misfit(&info, &table.info) {
                None => {
                    self.fitting.insert(map.name.clone());
                    None
                }
                // The source's table may have been altered later in the stream.
                Some(found)
                    if since.is_none_or(|since| u64::from(map.timestamp) < since + SETTLED_SECONDS) =>
                {
                    tracing::warn!(table = %map.name, column = found.column, why = found.why,
                        "the target's table is not like the source's is now; taken for the work of a later DDL");
                    None
                }
                certain => certain,
            },
            Err(error) => {
                tracing::warn!(table = %map.name, error = %error,
                    "the source's definition of a table cannot be compared with the target's");
                None
            }
        }
    }

    async fn table(
        &mut self,
        scope: &Scope,
        copied: Option<&ChunkFilter>,
        source: &TableName,
    ) -> Result<Option<Arc<Table>>, CodedError> {
        if let Some(table) = self.tables.get(source) {
            return Ok(table.clone());
        }
        let table =
            if scope.has_table(source)? { Some(self.load(scope, copied, source).await?) } else { None };
        self.tables.insert(source.clone(), table.clone());
        Ok(table)
    }

    async fn load(
        &mut self,
        scope: &Scope,
        copied: Option<&ChunkFilter>,
        source: &TableName,
    ) -> Result<Arc<Table>, CodedError> {
        let target = scope.router().route(source)?;
        let info = self.look(&target).await?.ok_or_else(|| {
            CodedError::new(codes::SYNCER_DOWNSTREAM_TABLE_NOT_FOUND, "the target has no such table")
                .object(format!("{target} (source {source})"))
                .remedy("create it in the target with the source's structure at this position, then resume-task; or take it out of the task's block-allow-list")
        })?;
        if !TRANSACTIONAL.iter().any(|engine| engine.eq_ignore_ascii_case(&info.engine)) {
            return Err(CodedError::new(
                codes::TABLE_NOT_TRANSACTIONAL,
                format!("the target's table has the engine {}, which cannot roll back", info.engine),
            )
            .object(&target));
        }
        let foreign = self.foreign_keys().await?.get(&info.name).copied().unwrap_or_default();
        self.next_number += 1;
        let copy_key = copied.and_then(|filter| filter.key_column(source));
        Ok(Arc::new(Table::new(self.next_number, source.clone(), info, foreign, copy_key)))
    }

    /// The target's description of a table.
    pub async fn look(&mut self, target: &TableName) -> Result<Option<TableInfo>, CodedError> {
        let mut attempt = 0;
        loop {
            let conn = self.connection().await?;
            match TableInfo::load(conn, target).await {
                Ok(info) => return Ok(info),
                Err(error) => self.lost(&mut attempt, error)?,
            }
        }
    }

    /// The target's `SHOW CREATE TABLE`.
    pub async fn definition(&mut self, target: &TableName) -> Result<Option<String>, CodedError> {
        let mut attempt = 0;
        loop {
            let conn = self.connection().await?;
            match TableInfo::load_with_create_sql(conn, target).await {
                Ok(info) => return Ok(info.and_then(|info| info.create_sql)),
                Err(error) => self.lost(&mut attempt, error)?,
            }
        }
    }

    async fn connection(&mut self) -> Result<&mut Connection, CodedError> {
        let conn = match self.conn.take().filter(|conn| !conn.is_closed()) {
            Some(conn) => conn,
            None => self.store.connect().await?,
        };
        Ok(self.conn.insert(conn))
    }

    fn lost(&mut self, attempt: &mut u32, error: SqlError) -> Result<(), CodedError> {
        *attempt += 1;
        self.conn = None;
        if error.is_connection_lost() && *attempt < ATTEMPTS { Ok(()) } else { Err(target_error(&error)) }
    }

    /// The graph of foreign keys in the target.
    async fn foreign_keys(&mut self) -> Result<&HashMap<TableName, ForeignKeys>, CodedError> {
        if self.foreign.is_none() {
            const SQL: &str = "SELECT constraint_schema, table_name, unique_constraint_schema, \
                referenced_table_name, update_rule, delete_rule FROM information_schema.referential_constraints";
            let mut attempt = 0;
            let rows = loop {
                let conn = self.connection().await?;
                match conn.query(SQL).await {
                    Ok(rows) => break rows,
                    Err(error) => self.lost(&mut attempt, error)?,
                }
            };
            let edges = rows.iter().map(|row| {
                let text = |index: usize| row.string(index).unwrap_or_default();
                let acts =
                    |index: usize| matches!(text(index).as_str(), "CASCADE" | "SET NULL" | "SET DEFAULT");
                Edge {
                    child: TableName::new(text(0), text(1)),
                    parent: TableName::new(text(2), text(3)),
                    acts: acts(4) || acts(5),
                }
            });
            self.foreign = Some(components(edges, self.source_logs_actions));
        }
        Ok(self.foreign.get_or_insert_default())
    }
}

/// A table as the source has it now, and since when, in seconds since 1970.
async fn definition_at_source(
    source: &Endpoint,
    name: &TableName,
) -> Result<Option<(TableInfo, Option<u64>)>, SqlError> {
    let options = SessionOptions { time_zone: Some("+00:00".into()), ..SessionOptions::default() };
    let mut conn = Connection::connect(source, &options).await?;
    // MySQL keeps old answers for a day; others do not know the variable.
    let _ = conn.execute("SET SESSION information_schema_stats_expiry = 0").await;
    let Some(info) = TableInfo::load(&mut conn, name).await? else { return Ok(None) };
    // Asked last: a DDL in between makes the definition look younger, not older.
    let sql = format!(
        "SELECT UNIX_TIMESTAMP(CREATE_TIME) FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        text_literal(&name.schema),
        text_literal(&name.table)
    );
    let since = conn.query_one(sql).await?.and_then(|row| row.u64(0));
    conn.close().await;
    Ok(Some((info, since)))
}

/// One foreign key.
struct Edge {
    child: TableName,
    parent: TableName,
    /// ON UPDATE or ON DELETE changes the child.
    acts: bool,
}

/// Connected tables share one component.
fn components(
    edges: impl Iterator<Item = Edge>,
    source_logs_actions: bool,
) -> HashMap<TableName, ForeignKeys> {
    let mut group: HashMap<TableName, u64> = HashMap::new();
    let mut acting = Vec::new();
    for (number, edge) in edges.enumerate() {
        let fresh = number as u64 + 1;
        let parent = *group.entry(edge.parent.clone()).or_insert(fresh);
        let child = *group.entry(edge.child.clone()).or_insert(parent);
        if child != parent {
            group.values_mut().filter(|value| **value == child).for_each(|value| *value = parent);
        }
        if edge.acts && !source_logs_actions {
            acting.push(edge.parent);
        }
    }
    let mut out: HashMap<TableName, ForeignKeys> = group
        .iter()
        .map(|(name, component)| {
            (name.clone(), ForeignKeys { component: Some(*component), ..ForeignKeys::default() })
        })
        .collect();
    for parent in acting {
        let component = group.get(&parent).copied();
        for keys in out.values_mut().filter(|keys| keys.component == component) {
            keys.cascades = true;
        }
        if let Some(keys) = out.get_mut(&parent) {
            keys.fires_actions = true;
        }
    }
    out
}

/// Whether the source writes the changes made by actions of foreign keys to its binlog, as MySQL does from 9.6 on.
pub async fn logs_foreign_key_actions(conn: &mut Connection, flavor: Flavor) -> Result<bool, SqlError> {
    if flavor == Flavor::Mariadb {
        return Ok(false);
    }
    match conn.query_one("SELECT @@GLOBAL.innodb_native_foreign_keys").await {
        Ok(row) => Ok(row.and_then(|row| row.u64(0)) == Some(0)),
        // 1193: older servers do not know the variable, and let the engine act unseen.
        Err(error) if error.code() == Some(1193) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(child: &str, parent: &str, acts: bool) -> Edge {
        Edge { child: TableName::new("s", child), parent: TableName::new("s", parent), acts }
    }

    #[test]
    fn connected_tables_form_components() {
        let edges = || {
            vec![edge("b", "a", false), edge("d", "c", true), edge("c", "b", false), edge("y", "x", false)]
                .into_iter()
        };
        let found = components(edges(), false);
        let of = |name: &str| found[&TableName::new("s", name)];
        assert_eq!(of("a").component, of("d").component);
        assert_ne!(of("a").component, of("x").component);
        assert_eq!(of("x").component, of("y").component);
        assert!(of("a").cascades && of("d").cascades && !of("x").cascades);
        assert!(of("c").fires_actions && !of("a").fires_actions);
        let logged = components(edges(), true);
        assert!(logged.values().all(|keys| !keys.cascades && !keys.fires_actions));
    }
}
