//! The tables of the stream: in scope or not, where they go, how their rows are decoded.
//!
//! Rows are read with the source's definition at their position ([`super::tracker`]) and written by the target's
//! ([`super::mapping`]). Everything about the target is forgotten when a DDL is executed. With very many tables, what was
//! not used for longest is forgotten, too, and looked at again when it is needed.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use dmnode_model::codes;
use dmnode_model::config::Endpoint;
use dmnode_model::error::CodedError;
use dmnode_model::{Flavor, TableName, quote_ident};
use dmnode_mysql::{Connection, QueryEvent, RowDecoder, SqlError, TableInfo, TableMap};
use dmnode_schema::definition::Definition;

use super::bounded::{Bounded, COLUMNS_MOST};
use super::ddl_session::{
    DdlSession, explicit_defaults, explicit_defaults_setting, utf8mb4_collation, utf8mb4_collation_setting,
};
use super::derive::derive;
use super::kind::table_kind;
use super::mapping::Mapping;
use super::scope::Scope;
use super::table::{ForeignKeys, Table};
use super::tracker::{Tracked, Tracker};
use crate::definitions::{Origin, info_of};
use crate::extended::{constants, without};
use crate::fit::{Misfit, undefaulted, undefaulted_sql};
use crate::load::ChunkFilter;
use crate::progress::ProgressStore;
use crate::target::target_error;

/// Engines whose changes roll back.
const TRANSACTIONAL: [&str; 5] = ["InnoDB", "RocksDB", "ROCKSDB", "TokuDB", "XtraDB"];
/// What to do about columns that a route adds.
const EXTENDED_REMEDY: &str = "give the target's table the column with a fitting type (the source's must not have it), or change the route; then resume-task";
/// Descriptions of shadows' rows that are kept.
const SHADOWS_MAX: usize = 1000;
/// Names of tables out of scope that are kept.
const OUTSIDE_MAX: usize = 20_000;
/// Connections tried for one look at the target.
const ATTEMPTS: u32 = 5;

/// A table in scope with its decoder.
pub struct Known {
    /// Source and target.
    pub table: Arc<Table>,
    /// Turns row images into values.
    pub decoder: RowDecoder,
}

/// A table in scope with its mapping.
struct Mapped {
    table: Arc<Table>,
    /// The columns as they are in the binlog.
    source: TableInfo,
}

/// The cache.
pub struct Tables {
    store: Arc<ProgressStore>,
    conn: Option<Connection>,
    /// By the source's name.
    tables: Bounded<Arc<Mapped>>,
    /// Tables that are not in scope.
    outside: HashSet<TableName>,
    /// Numbers of tables that fell out of `tables`: what is under way of such a table must be known as its.
    numbers: HashMap<TableName, (u32, u64)>,
    /// By the source's table number; cleared whenever numbers may be given anew.
    decoders: HashMap<u64, (TableName, Option<Arc<Known>>)>,
    foreign: Option<HashMap<TableName, ForeignKeys>>,
    /// The source, to ask what it does not write into its binlog.
    source: Option<Endpoint>,
    /// The source's definitions at this position.
    tracker: Tracker,
    /// The last description of rows of each shadow of online schema changes.
    shadows: HashMap<TableName, TableMap>,
    ddl_session: DdlSession,
    /// The source writes the changes made by actions of foreign keys to its binlog.
    source_logs_actions: bool,
    next_number: u32,
}

impl Tables {
    /// Nothing is known yet.
    pub fn new(store: Arc<ProgressStore>, tracker: Tracker, source_logs_actions: bool) -> Self {
        Self {
            store,
            conn: None,
            tables: Bounded::new(crate::failpoint::cached_columns(COLUMNS_MOST)),
            outside: HashSet::new(),
            numbers: HashMap::new(),
            decoders: HashMap::new(),
            foreign: None,
            source: None,
            tracker,
            shadows: HashMap::new(),
            ddl_session: DdlSession::default(),
            source_logs_actions,
            next_number: 0,
        }
    }

    /// What neither the binlog nor earlier statements tell is asked at this source.
    #[must_use]
    pub fn comparing_with(self, source: Endpoint) -> Self {
        Self { source: Some(source), ..self }
    }

    /// A statement of the stream has been dealt with: executed in the target, found done, replaced, or skipped. The
    /// source has executed it in any case, so its tables are followed whatever became of it in the target; those that
    /// the copy read later (`copied`) are left as they are. The answer belongs into the transaction in which the
    /// watermark passes the statement.
    pub async fn track(
        &mut self,
        scope: &Scope,
        query: &QueryEvent,
        flavor: Flavor,
        place: &str,
        copied: &(dyn Fn(&TableName) -> bool + Sync),
    ) -> Result<Tracked, CodedError> {
        for name in self.tracker.forgotten_by(scope, query, flavor) {
            self.recall(&name).await.map_err(|error| error.at(place))?;
        }
        let tracked = self
            .tracker
            .follow(scope, self.source.as_ref(), query, flavor, place, copied)
            .await
            .map_err(|error| error.at(place))?;
        if !tracked.is_empty() {
            self.forget();
        }
        Ok(tracked)
    }

    /// How the rows of a shadow of an online schema change looked last, if any were seen.
    pub fn shadow_map(&self, shadow: &TableName) -> Option<&TableMap> {
        self.shadows.get(shadow)
    }

    /// The source's definition of a table, if it is followed.
    pub async fn followed(&mut self, name: &TableName) -> Result<Option<&Definition>, CodedError> {
        self.recall(name).await?;
        Ok(self.tracker.get(name).map(|followed| &followed.definition))
    }

    /// Reads a definition that fell out of memory.
    async fn recall(&mut self, name: &TableName) -> Result<(), CodedError> {
        if !self.tracker.is_forgotten(name) {
            return Ok(());
        }
        let table = self.tracker.table();
        let mut attempt = 0;
        let row = loop {
            let conn = self.connection().await?;
            match table.find(conn, name).await {
                Ok(row) => break row,
                Err(error) => self.lost(&mut attempt, error)?,
            }
        };
        self.tracker.recall(name, row.as_ref())
    }

    /// Inside a transaction there is no watermark to pass with: following the statement again changes nothing, so it may
    /// be stored earlier.
    pub fn keep(&mut self, tracked: Tracked) {
        self.tracker.keep(tracked);
    }

    /// Definitions that were derived and are not in the target yet, as statements; `due` says that only those are
    /// wanted that have waited for a while.
    pub fn unsaved(&mut self, due: bool) -> Vec<String> {
        self.tracker.unsaved(due)
    }

    /// A DDL was executed: look at everything again.
    fn forget(&mut self) {
        self.tables.clear();
        self.outside.clear();
        self.numbers.clear();
        self.decoders.clear();
        self.foreign = None;
    }

    /// The source may give its table numbers anew (a new binlog file, a new connection).
    pub fn forget_numbers(&mut self) {
        self.decoders.clear();
    }

    /// Every rows event tells how its server deals with the actions of foreign keys. The server says so too, but what it
    /// says now need not be what it did when it wrote the event.
    pub fn actions_are_logged(&mut self, logged: bool) {
        if self.source_logs_actions && !logged {
            self.source_logs_actions = false;
            self.forget();
        }
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
            // It is in use.
            self.tables.get(name);
            return Ok(known.clone());
        }
        let mapped = self.mapped(scope, copied, map, place).await.map_err(|error| error.at(place))?;
        let known = match mapped {
            None => {
                if scope.has_shadow(&map.name)?
                    && (self.shadows.len() < SHADOWS_MAX || self.shadows.contains_key(&map.name))
                {
                    self.shadows.insert(map.name.clone(), map.clone());
                }
                None
            }
            Some(mapped) => {
                let decoder = RowDecoder::new(map, &mapped.source).map_err(|error| {
                    unlike(&map.name, "the rows in the binlog do not fit the table's definition")
                        .at(place)
                        .cause(error)
                })?;
                Some(Arc::new(Known { table: Arc::clone(&mapped.table), decoder }))
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
        if let Some(wanted) = utf8mb4_collation(query, flavor, statements) {
            let mut attempt = 0;
            let setting = loop {
                let conn = self.connection().await?;
                match utf8mb4_collation_setting(conn, wanted).await {
                    Ok(setting) => break setting,
                    Err(error) => self.lost(&mut attempt, error)?,
                }
            };
            settings.extend(setting);
        }
        Ok(settings)
    }

    /// The mapping of a table, made anew when it does not fit the rows.
    async fn mapped(
        &mut self,
        scope: &Scope,
        copied: Option<&ChunkFilter>,
        map: &TableMap,
        place: &str,
    ) -> Result<Option<Arc<Mapped>>, CodedError> {
        if self.outside.contains(&map.name) {
            return Ok(None);
        }
        if let Some(mapped) = self.tables.get(&map.name)
            && RowDecoder::new(map, &mapped.source).is_ok()
        {
            return Ok(Some(Arc::clone(mapped)));
        }
        self.recall(&map.name).await?;
        if !scope.has_table(&map.name)? || self.is_sequence(scope, map).await? {
            if self.outside.len() >= OUTSIDE_MAX {
                self.outside.clear();
                self.decoders.clear();
            }
            self.tables.remove(&map.name);
            self.outside.insert(map.name.clone());
            return Ok(None);
        }
        let mapped = Arc::new(self.load(scope, copied, map, place).await?);
        let columns = mapped.source.columns.len() + mapped.table.info.columns.len();
        self.tables.insert(map.name.clone(), Arc::clone(&mapped), columns);
        self.shrink();
        Ok(Some(mapped))
    }

    /// Forgets tables that have not been used for longest, if there are too many.
    fn shrink(&mut self) {
        let gone = self.tables.shrink();
        if !gone.is_empty() {
            // They hold tables, too, and are soon made.
            self.decoders.clear();
        }
        for (name, mapped) in gone {
            let number = mapped.table.number;
            self.numbers.insert(name, (number, shape_of(&mapped.source, &mapped.table.info)));
        }
        self.tracker.shrink();
    }

    /// Whether rows are the state of a sequence (MariaDB), which is not migrated. A table that looks like one is
    /// followed, or is a table at the source, or is in the target.
    async fn is_sequence(&mut self, scope: &Scope, map: &TableMap) -> Result<bool, CodedError> {
        if !map.is_like_a_sequence() || self.tracker.get(&map.name).is_some() {
            return Ok(false);
        }
        let at_source = match &self.source {
            Some(source) => table_kind(source, &map.name).await?,
            None => None,
        };
        let is = match at_source.as_deref() {
            Some(kind) => kind == "SEQUENCE",
            // It is gone from the source since.
            None => self.look(&scope.router().route(&map.name)?).await?.is_none(),
        };
        if is {
            tracing::info!(sequence = %map.name, "the state of a sequence is in the binlog: it is not migrated");
        }
        Ok(is)
    }

    /// The rows of a system-versioned table come with their history, which another one would write anew.
    async fn refuse_versions(&mut self, map: &TableMap, target: &TableName) -> Result<(), CodedError> {
        if !map.has_two_exact_timestamps() {
            return Ok(());
        }
        let Some(source) = &self.source else { return Ok(()) };
        if table_kind(source, &map.name).await?.as_deref() != Some("SYSTEM VERSIONED") {
            return Ok(());
        }
        Err(CodedError::new(
            codes::BINLOG_UNSUPPORTED,
            "rows of a system-versioned table cannot be applied: the target would write their history a second time",
        )
        .object(format!("{target} (source {})", map.name))
        .remedy("take the table out of the block-allow-list; or ALTER TABLE … DROP SYSTEM VERSIONING at the source, copy the table by hand, and `binlog skip` this event by its position"))
    }

    async fn load(
        &mut self,
        scope: &Scope,
        copied: Option<&ChunkFilter>,
        map: &TableMap,
        place: &str,
    ) -> Result<Mapped, CodedError> {
        let source = &map.name;
        let target = scope.router().route(source)?;
        let info = self.look(&target).await?.ok_or_else(|| {
            CodedError::new(codes::SYNCER_DOWNSTREAM_TABLE_NOT_FOUND, format!("downstream table {target} not found"))
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
        self.refuse_versions(map, &target).await?;
        let alone = !scope.router().is_shared(source)?;
        let route = scope.extended(source)?;
        let mapping = self.mapping(map, &without(&info, &route), alone, place).await?;
        let added = constants(&route, &mapping.source, &info)
            .map_err(|misfit| unfit(source, &info, &misfit).remedy(EXTENDED_REMEDY))?;
        let mapping = mapping.extended(&info, &added);
        self.check_target_only(&mapping.target_only, &target, source).await?;
        if mapping.hidden {
            tracing::info!(table = %source,
                "the source has a hidden key column in its binlog that the target does not have: it is left out");
        }
        let foreign = self.foreign_keys().await?.get(&info.name).copied().unwrap_or_default();
        let copy_key = copied.map_or(&[][..], |filter| filter.key(source));
        let number = match self.numbers.remove(source) {
            Some((number, shape)) if shape == shape_of(&mapping.source, &mapping.table) => number,
            _ => {
                self.next_number += 1;
                self.next_number
            }
        };
        let mut table = Table::new(number, source.clone(), mapping.table, foreign, copy_key);
        table.extended = added.into_iter().map(|constant| constant.value).collect();
        if mapping.source_key {
            table.found_by_source_key();
        }
        Ok(Mapped { table: Arc::new(table), source: mapping.source })
    }

    /// The source's definition at this position, mapped onto the target.
    async fn mapping(
        &mut self,
        map: &TableMap,
        target: &TableInfo,
        alone: bool,
        place: &str,
    ) -> Result<Mapping, CodedError> {
        let misfit = |misfit: Misfit| {
            unfit(&map.name, target, &misfit)
                .remedy("was a DDL skipped, or was the target's table changed by hand? give it the column, or tell the source's definition at this position with `binlog-schema update`; then resume-task")
        };
        if let Some(followed) = self.tracker.get(&map.name) {
            let info = info_of(&map.name, &followed.definition);
            // Of another number of columns, with other types or names: it is not of these rows.
            let mapped = Mapping::new(map, &info, target, alone);
            let fits = match &mapped {
                Ok(mapping) => RowDecoder::new(map, &mapping.source).map(|_| ()),
                Err(_) => RowDecoder::new(map, &info).map(|_| ()),
            };
            match fits {
                Ok(()) => return mapped.map_err(misfit),
                Err(error) if followed.origin == Origin::Operator => {
                    return Err(unlike(&map.name, "the definition given for a table does not fit its rows")
                        .cause(error)
                        .remedy("`binlog-schema update` it with the source's definition at this position, or `binlog-schema delete` it; then resume-task"));
                }
                Err(error) => {
                    tracing::warn!(table = %map.name, location = %place, error = %error, origin = followed.origin.as_str(),
                        "the definition that was followed does not fit the rows; it is derived again");
                }
            }
        }
        let derived = derive(self.source.as_ref(), map, target, alone).await?;
        tracing::info!(table = %map.name, location = %place, origin = derived.origin.as_str(),
            "the definition of a source table was derived");
        let mapping = derived.mapping.map_err(misfit)?;
        self.tracker.derived(&map.name, derived.definition, derived.origin, place);
        Ok(mapping)
    }

    /// Columns that only the target has must be able to stand without a value.
    async fn check_target_only(
        &mut self,
        columns: &[String],
        target: &TableName,
        source: &TableName,
    ) -> Result<(), CodedError> {
        if columns.is_empty() {
            return Ok(());
        }
        let sql = undefaulted_sql(target);
        let mut attempt = 0;
        let rows = loop {
            let conn = self.connection().await?;
            match conn.query(&sql).await {
                Ok(rows) => break rows,
                Err(error) => self.lost(&mut attempt, error)?,
            }
        };
        undefaulted(columns, &rows, source, target).map_or(Ok(()), Err)
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

/// Tells two definitions of a table apart.
fn shape_of(source: &TableInfo, target: &TableInfo) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{:?} {:?} {:?}", source.columns, target.columns, target.keys).hash(&mut hasher);
    hasher.finish()
}

fn unlike(table: &TableName, message: &'static str) -> CodedError {
    CodedError::new(
        codes::SYNCER_UNIT_DML_COLUMN_NOT_MATCH,
        format!("Column count doesn't match value count, or a type: {message}"),
    )
        .object(table)
        .remedy("was a DDL skipped? tell the source's definition at this position with `binlog-schema update`, then resume-task")
}

fn unfit(source: &TableName, target: &TableInfo, misfit: &Misfit) -> CodedError {
    unlike(source, "the target's table cannot take the source's rows")
        .object(format!("{} (source {source})", target.name))
        .cause(format!("column {} {}", quote_ident(&misfit.column), misfit.why))
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
