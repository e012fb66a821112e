//! Online schema changes by gh-ost and pt-online-schema-change: what a statement means for them.
//!
//! The tools build a shadow table with the new structure beside the real one, fill it, and put it into the real one's
//! place by RENAME. Neither shadow tables nor what is left over is migrated: a shadow's statements are collected, and
//! executed on the real table when the shadow takes its place. What is collected is kept in `<task>_onlineddl`, whose rows
//! DM understands and whose rows of DM are understood; it changes in the transaction in which the watermark
//! passes the statement. [`super::online_swap`] does the work of the last step.

use std::collections::{BTreeMap, BTreeSet};

use dmnode_model::codes;
use dmnode_model::config::SubtaskConfig;
use dmnode_model::error::CodedError;
use dmnode_model::ids::{SourceId, TaskName};
use dmnode_model::{Flavor, TableName};
use dmnode_mysql::{Connection, QueryEvent, SqlError};
use dmnode_schema::{
    NameRole, SqlMode, Statement, StatementKind, TableRole, has_words, only_renames,
    strip_create_select_suffix,
};
use serde::{Deserialize, Serialize};

use super::ddl::lower_case;
use super::scope::Scope;
use crate::progress::{table_name, text_literal};
use crate::target::target_error;

/// Suffix of the meta table.
pub(crate) const SUFFIX: &str = "onlineddl";

/// A statement with what its meaning depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sql: String,
    /// Default schema of the session.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub schema: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql_mode: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explicit_defaults: Option<bool>,
}

impl Kept {
    fn new(sql: &str, query: &QueryEvent) -> Self {
        Self {
            sql: sql.to_owned(),
            schema: query.schema.clone(),
            sql_mode: query.sql_mode,
            flags: query.flags2,
            explicit_defaults: query.explicit_defaults_for_timestamp,
        }
    }
}

/// What DM's rows do not have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Own {
    /// The shadow's CREATE TABLE; none when it was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<Kept>,
    /// The sessions of [`Record::ddls`], without their text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<Kept>,
    /// Of a real table that is gone from the source while the target still has it: the name it went to, empty if it
    /// was dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_to: Option<String>,
}

/// One row: the statements on a shadow table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The real table, as its name is read out of the shadow's.
    pub schema: String,
    pub table: String,
    #[serde(default)]
    pub ddls: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dmnode: Option<Own>,
}

impl Record {
    /// Nothing is missing: its beginning was seen, here or by DM.
    pub fn is_complete(&self) -> bool {
        self.dmnode.as_ref().is_none_or(|own| own.create.is_some())
    }

    /// The collected statements in order.
    pub fn statements(&self) -> Vec<Kept> {
        let sessions = self.dmnode.as_ref().map(|own| own.sessions.as_slice()).unwrap_or_default();
        let session = |index: usize| sessions.get(index).cloned().unwrap_or_default();
        self.ddls.iter().enumerate().map(|(index, sql)| Kept { sql: sql.clone(), ..session(index) }).collect()
    }

    fn collect(&mut self, kept: &Kept) {
        let own = self.dmnode.get_or_insert_default();
        own.sessions.resize(self.ddls.len(), Kept::default());
        own.sessions.push(Kept { sql: String::new(), ..kept.clone() });
        self.ddls.push(kept.sql.clone());
    }
}

/// What a statement means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Move {
    /// A shadow table begins.
    Begin { shadow: TableName, create: Kept },
    /// A statement on a shadow.
    Collect { shadow: TableName, kept: Kept },
    /// A shadow is gone.
    Forget(TableName),
    /// A database is gone.
    ForgetSchema(String),
    /// A real table is gone from the source, for a shadow to take its place: to a left-over, or dropped.
    Leave { real: TableName, to: Option<TableName> },
    /// It is back as it was.
    Return(TableName),
    /// A shadow, or a left-over, takes a real table's place.
    Swap { helper: TableName, real: TableName },
    /// Something else takes the place of a real table that is gone: the target's is dropped now.
    Settle(TableName),
}

/// A statement that concerns online schema changes.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub moves: Vec<Move>,
    /// What is left for the ordinary way.
    pub rest: Option<QueryEvent>,
}

/// What is collected for one source.
pub(crate) struct Online {
    table: String,
    source: String,
    rows: BTreeMap<TableName, Record>,
}

impl Online {
    /// The statement that makes the meta table, in DM's layout.
    pub fn create_sql(quoted_table: &str) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {quoted_table} (\
             id VARCHAR(64) NOT NULL, ghost_schema VARCHAR(128) NOT NULL, ghost_table VARCHAR(128) NOT NULL, \
             ddls LONGTEXT, \
             update_time timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, \
             UNIQUE KEY uk_id_schema_table (id, ghost_schema, ghost_table)) \
             ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
        )
    }

    /// DM's own table is narrower.
    pub async fn upgrade_layout(conn: &mut Connection, quoted_table: &str) -> Result<(), SqlError> {
        let column = conn.query_one(format!("SHOW COLUMNS FROM {quoted_table} LIKE 'ddls'")).await?;
        if column.and_then(|row| row.string(1)).is_some_and(|kind| kind.eq_ignore_ascii_case("text")) {
            conn.execute(format!("ALTER TABLE {quoted_table} MODIFY COLUMN ddls LONGTEXT")).await?;
        }
        Ok(())
    }

    /// The statement that forgets everything: the task begins elsewhere.
    pub fn forget_all_sql(meta_schema: &str, task: &TaskName, source: &SourceId) -> String {
        format!(
            "DELETE FROM {} WHERE id = {}",
            table_name(meta_schema, task, SUFFIX),
            text_literal(source.as_str())
        )
    }

    /// Takes what another task of the same source has collected.
    pub fn take_sql(task: &SubtaskConfig, other: &SubtaskConfig) -> String {
        format!(
            "INSERT INTO {} (id, ghost_schema, ghost_table, ddls) \
             SELECT id, ghost_schema, ghost_table, ddls FROM {} AS other WHERE other.id = {} \
             ON DUPLICATE KEY UPDATE ddls = other.ddls",
            table_name(&task.meta_schema, &task.task, SUFFIX),
            table_name(&other.meta_schema, &other.task, SUFFIX),
            text_literal(other.source_id.as_str())
        )
    }

    /// Nothing is collected, and nothing is to be stored.
    pub(super) fn empty() -> Self {
        Self { table: String::new(), source: String::new(), rows: BTreeMap::new() }
    }

    /// What is stored.
    pub async fn load(
        conn: &mut Connection,
        meta_schema: &str,
        task: &TaskName,
        source: &SourceId,
    ) -> Result<Self, CodedError> {
        let table = table_name(meta_schema, task, SUFFIX);
        let source = text_literal(source.as_str());
        let sql = format!("SELECT ghost_schema, ghost_table, ddls FROM {table} WHERE id = {source}");
        let mut rows = BTreeMap::new();
        for row in conn.query(sql).await.map_err(|error| target_error(&error))? {
            let text = |index: usize| row.string(index).unwrap_or_default();
            let name = TableName::new(text(0), text(1));
            let record = serde_json::from_str(&text(2)).map_err(|error| {
                CodedError::new(codes::SYNCER_UNIT_ONLINE_DDL_INVALID_META, "online ddl meta invalid")
                    .object(format!("{name} in {table}"))
                    .cause(error)
                    .remedy("correct the row's JSON, or delete the row: what it held is looked up again")
            })?;
            rows.insert(name, record);
        }
        Ok(Self { table, source, rows })
    }

    /// What was collected of a shadow.
    pub(super) fn record(&self, shadow: &TableName) -> Option<&Record> {
        self.rows.get(shadow).filter(|record| gone_to(record).is_none())
    }

    /// The real tables that are gone from the source while the target still has them.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &TableName> {
        self.rows.iter().filter(|(_, record)| gone_to(record).is_some()).map(|(name, _)| name)
    }

    /// Where a real table went that the target still has.
    fn gone(&self, real: &TableName) -> Option<&str> {
        self.rows.get(real).and_then(gone_to)
    }

    /// Changes what is kept; the statements belong into the transaction in which the watermark passes.
    pub(super) fn apply(&mut self, scope: &Scope, moves: &[Move]) -> Vec<String> {
        let mut changed = BTreeSet::new();
        for step in moves {
            match step {
                Move::Begin { shadow, create } => {
                    let mut record = fresh(scope, shadow);
                    record.dmnode = Some(Own { create: Some(create.clone()), ..Own::default() });
                    self.rows.insert(shadow.clone(), record);
                    changed.insert(shadow.clone());
                }
                Move::Collect { shadow, kept } => {
                    self.rows
                        .entry(shadow.clone())
                        .or_insert_with(|| Record { dmnode: Some(Own::default()), ..fresh(scope, shadow) })
                        .collect(kept);
                    changed.insert(shadow.clone());
                }
                Move::Forget(name) | Move::Return(name) | Move::Settle(name) => {
                    self.rows.remove(name);
                    changed.insert(name.clone());
                }
                Move::ForgetSchema(schema) => {
                    let names: Vec<TableName> =
                        self.rows.keys().filter(|name| name.schema == *schema).cloned().collect();
                    for name in names {
                        self.rows.remove(&name);
                        changed.insert(name);
                    }
                }
                Move::Leave { real, to } => {
                    let to = to.as_ref().map(|to| to.table.clone()).unwrap_or_default();
                    let record = Record {
                        schema: real.schema.clone(),
                        table: real.table.clone(),
                        ddls: Vec::new(),
                        dmnode: Some(Own { gone_to: Some(to), ..Own::default() }),
                    };
                    self.rows.insert(real.clone(), record);
                    changed.insert(real.clone());
                }
                Move::Swap { helper, real } => {
                    for name in [helper, real] {
                        self.rows.remove(name);
                        changed.insert(name.clone());
                    }
                }
            }
        }
        changed.into_iter().map(|name| self.sql(&name)).collect()
    }

    /// The statement that stores what is known of a table now.
    fn sql(&self, name: &TableName) -> String {
        let (schema, table) = (text_literal(&name.schema), text_literal(&name.table));
        match self.rows.get(name) {
            Some(record) => format!(
                "INSERT INTO {} (id, ghost_schema, ghost_table, ddls) VALUES ({}, {schema}, {table}, {}) \
                 ON DUPLICATE KEY UPDATE ddls = VALUES(ddls)",
                self.table,
                self.source,
                text_literal(&serde_json::to_string(record).unwrap_or_default())
            ),
            None => format!(
                "DELETE FROM {} WHERE id = {} AND ghost_schema = {schema} AND ghost_table = {table}",
                self.table, self.source
            ),
        }
    }

    /// What a statement means; `None` when it has nothing to do with online schema changes.
    pub(super) fn judge(
        &self,
        scope: &Scope,
        query: &QueryEvent,
        flavor: Flavor,
    ) -> Result<Option<Judged>, CodedError> {
        if scope.online().is_empty() {
            return Ok(None);
        }
        let Some(text) = query.sql_text() else { return Ok(None) };
        let mode = query.sql_mode.map(|bits| SqlMode::from_bits(bits, flavor)).unwrap_or_default();
        let text = strip_create_select_suffix(&text, mode);
        let mut statement = Statement::classify(&text, &query.schema, mode);
        if scope.lower_case {
            lower_case(&mut statement);
        }
        let helper = |name: &TableName| scope.online().is_helper(&name.table);
        let concerned = statement.is_ddl()
            && (statement.changed_tables().any(|name| helper(name) || self.rows.contains_key(name))
                || matches!(
                    statement.kind,
                    StatementKind::DropTable { temporary: false } | StatementKind::DropDatabase
                ) && !self.rows.is_empty());
        if !concerned {
            return Ok(None);
        }
        let judge = Judge { online: self, scope, query, text: &text, mode, statement: &statement };
        let judged = match &statement.kind {
            StatementKind::CreateTable { temporary: true, .. }
            | StatementKind::DropTable { temporary: true } => None,
            StatementKind::RenameTable(pairs) => Some(judge.renames(pairs, false)?),
            StatementKind::AlterTable if !statement.renames().is_empty() => {
                judge.alter_and_rename(&statement.renames())?
            }
            StatementKind::CreateTable { .. } => judge.create()?,
            StatementKind::DropTable { .. } => judge.drop()?,
            StatementKind::DropDatabase => judge.drop_database(),
            StatementKind::AlterTable | StatementKind::CreateIndex | StatementKind::DropIndex => {
                judge.alter()?
            }
            _ => None,
        };
        let whole = |judged: &Judged| judged.rest.as_ref().is_some_and(|rest| rest.sql == query.sql);
        Ok(judged.filter(|judged| !judged.moves.is_empty() || !whole(judged)))
    }
}

fn gone_to(record: &Record) -> Option<&str> {
    record.dmnode.as_ref()?.gone_to.as_deref()
}

fn fresh(scope: &Scope, shadow: &TableName) -> Record {
    let names = scope.online().real_names(shadow);
    let in_scope = names.iter().find(|name| scope.has_table(name).unwrap_or(false));
    let real = in_scope.or(names.first()).unwrap_or(shadow);
    Record { schema: real.schema.clone(), table: real.table.clone(), ..Record::default() }
}

/// One statement under judgement.
struct Judge<'a> {
    online: &'a Online,
    scope: &'a Scope,
    query: &'a QueryEvent,
    text: &'a str,
    mode: SqlMode,
    statement: &'a Statement,
}

impl Judge<'_> {
    fn role(&self, name: &TableName) -> TableRole {
        self.scope.online().role(&name.table)
    }

    fn stop(&self, code: u32, message: String) -> CodedError {
        CodedError::new(code, message).statement(self.text)
    }

    fn whole(&self) -> Option<QueryEvent> {
        Some(self.query.clone())
    }

    fn rewritten(&self, sql: String) -> Option<QueryEvent> {
        Some(QueryEvent { sql: sql.into(), client_collation: None, ..self.query.clone() })
    }

    /// `odd`: the statement does more than to rename.
    fn renames(&self, pairs: &[(TableName, TableName)], odd: bool) -> Result<Judged, CodedError> {
        use TableRole::{Real, Shadow, Trash};
        let mut judged = Judged::default();
        let mut gone: BTreeMap<&TableName, Option<&TableName>> = BTreeMap::new();
        let replaced =
            |real: &TableName| pairs.iter().any(|(from, to)| to == real && self.role(from) != Real);
        let mut ordinary = Vec::new();
        for (from, to) in pairs {
            match (self.role(from), self.role(to)) {
                (Real, Real) => {
                    let (takes, gives) = (self.scope.has_table(to)?, self.scope.has_table(from)?);
                    if gives && !takes && replaced(from) {
                        judged.moves.push(Move::Leave { real: from.clone(), to: Some(to.clone()) });
                        gone.insert(from, Some(to));
                        continue;
                    }
                    if gives && replaced(from) {
                        return Err(self
                            .stop(
                                codes::CONFIG_ONLINE_DDL_MISTAKE_REGEX,
                                format!("online ddl sql '{}' invalid, table {to} fail to match 'trash' online ddl regex", self.text),
                            )
                            .object(from)
                            .remedy("add a pattern for the former table's name to `trash-table-rules`, then resume-task"));
                    }
                    if takes && (gone.contains_key(to) || self.online.gone(to).is_some()) {
                        judged.moves.push(Move::Settle(to.clone()));
                        gone.remove(to);
                    }
                    ordinary.push((from, to));
                }
                (Real, Trash) => {
                    if self.scope.has_table(from)? {
                        judged.moves.push(Move::Leave { real: from.clone(), to: Some(to.clone()) });
                        gone.insert(from, Some(to));
                    }
                }
                (Real, Shadow) => {
                    if self.scope.has_table(from)? {
                        return Err(self
                            .stop(
                                codes::SYNCER_UNIT_GHOST_RENAME_TO_GHOST_TABLE,
                                format!("rename table to gh-ost temporary table {to} not supported"),
                            )
                            .object(from)
                            .remedy(
                                "do in the target by hand what was meant, then `binlog skip` the statement",
                            ));
                    }
                }
                (Shadow, Real) => {
                    if self.scope.has_table(to)? {
                        if odd {
                            // What else the statement does is not collected: the result is asked for.
                            judged.moves.push(Move::Forget(from.clone()));
                        }
                        judged.moves.push(Move::Swap { helper: from.clone(), real: to.clone() });
                        gone.remove(to);
                    } else {
                        judged.moves.push(Move::Forget(from.clone()));
                    }
                }
                (Shadow, Trash) => judged.moves.push(Move::Forget(from.clone())),
                (Shadow | Trash, Shadow) => {
                    if self.scope.belongs(from)? || self.scope.belongs(to)? {
                        return Err(self
                            .stop(
                                codes::SYNCER_UNIT_GHOST_RENAME_GHOST_TBL_TO_OTHER,
                                format!("rename gh-ost temporary table to other temporary table {to} not supported"),
                            )
                            .object(from)
                            .remedy("`binlog skip` the statement: what the new shadow is like is looked up when it takes the real table's place"));
                    }
                }
                (Trash, Real) => {
                    if self.scope.has_table(to)? {
                        let was = match gone.get(to) {
                            Some(was) => was.map(|was| was.table.as_str()),
                            None => self.online.gone(to),
                        };
                        match was {
                            Some(was) if was == from.table => judged.moves.push(Move::Return(to.clone())),
                            // Another left-over than the one it became: the target's rows are those of the former.
                            Some(_) => {
                                judged.moves.push(Move::Swap { helper: from.clone(), real: to.clone() });
                            }
                            None => {
                                return Err(self
                                    .stop(
                                        codes::DDL_UNSUPPORTED,
                                        "what an online schema change has left over becomes a table of the task; its rows are not in the target".to_owned(),
                                    )
                                    .object(to)
                                    .remedy("copy the table into the target by hand, then `binlog skip` the statement"));
                            }
                        }
                        gone.remove(to);
                    }
                }
                (Trash, Trash) => {
                    let real = self.online.rows.iter().find(|(name, record)| {
                        name.schema == from.schema && gone_to(record) == Some(from.table.as_str())
                    });
                    if let Some((real, _)) = real {
                        judged.moves.push(Move::Leave { real: real.clone(), to: Some(to.clone()) });
                    }
                }
            }
        }
        if ordinary.len() == pairs.len() {
            judged.rest = self.whole();
        } else if !ordinary.is_empty() {
            let list: Vec<String> =
                ordinary.iter().map(|(from, to)| format!("{} TO {}", from.quoted(), to.quoted())).collect();
            let if_exists = has_words(self.text, self.mode, &["IF", "EXISTS"]);
            let if_exists = if if_exists { "IF EXISTS " } else { "" };
            judged.rest = self.rewritten(format!("RENAME TABLE {if_exists}{}", list.join(", ")));
        }
        Ok(judged)
    }

    /// `ALTER TABLE … RENAME`, as gh-ost's cut-over in two steps writes it.
    fn alter_and_rename(&self, pairs: &[(TableName, TableName)]) -> Result<Option<Judged>, CodedError> {
        let odd = !only_renames(self.text, self.statement, self.mode);
        let real = pairs
            .iter()
            .all(|(from, to)| self.role(from) == TableRole::Real && self.role(to) == TableRole::Real);
        if odd && !real && self.role(&pairs[0].0) == TableRole::Real && self.scope.has_table(&pairs[0].0)? {
            return Err(self
                .stop(
                    codes::DDL_UNSUPPORTED,
                    "one ALTER changes a table and renames it into a left-over of online schema changes"
                        .to_owned(),
                )
                .object(&pairs[0].0)
                .remedy("do in the target by hand what is needed, then `binlog skip` the statement"));
        }
        self.renames(pairs, odd).map(Some)
    }

    fn create(&self) -> Result<Option<Judged>, CodedError> {
        let Some(name) = self.statement.changed_tables().next() else { return Ok(None) };
        Ok(match self.role(name) {
            TableRole::Shadow if self.scope.has_shadow(name)? => {
                let create = Kept::new(self.text, self.query);
                Some(Judged { moves: vec![Move::Begin { shadow: name.clone(), create }], rest: None })
            }
            TableRole::Real if self.online.gone(name).is_some() && self.scope.has_table(name)? => {
                Some(Judged { moves: vec![Move::Settle(name.clone())], rest: self.whole() })
            }
            _ => None,
        })
    }

    fn drop(&self) -> Result<Option<Judged>, CodedError> {
        let mut judged = Judged::default();
        let (mut stay, mut held_back) = (Vec::new(), false);
        let dropped: Vec<&TableName> = self.statement.changed_tables().collect();
        for name in &dropped {
            match self.role(name) {
                TableRole::Shadow => {
                    if let Some(record) = self.online.record(name) {
                        judged.moves.push(Move::Forget((*name).clone()));
                        let real = TableName::new(record.schema.as_str(), record.table.as_str());
                        // It was dropped for this shadow, which will not come.
                        if self.online.gone(&real) == Some("") {
                            judged.moves.push(Move::Settle(real));
                        }
                    }
                }
                TableRole::Trash => {}
                TableRole::Real => {
                    let waits = self.online.gone(name).is_some();
                    let shadow = self.online.rows.iter().any(|(shadow, record)| {
                        shadow != *name
                            && gone_to(record).is_none()
                            && !dropped.contains(&shadow)
                            && record.schema == name.schema
                            && record.table == name.table
                    });
                    if !self.scope.has_table(name)? {
                        continue;
                    }
                    held_back |= waits || shadow;
                    if waits {
                        // The source has no such table: IF EXISTS.
                    } else if shadow {
                        judged.moves.push(Move::Leave { real: (*name).clone(), to: None });
                    } else {
                        stay.push(name.quoted());
                    }
                }
            }
        }
        if !held_back {
            judged.rest = self.whole();
        } else if !stay.is_empty() {
            judged.rest = self.rewritten(format!("DROP TABLE IF EXISTS {}", stay.join(", ")));
        }
        Ok(Some(judged))
    }

    fn drop_database(&self) -> Option<Judged> {
        let schema = &self.statement.schemas.first()?.name;
        self.online
            .rows
            .keys()
            .any(|name| name.schema == *schema)
            .then(|| Judged { moves: vec![Move::ForgetSchema(schema.clone())], rest: self.whole() })
    }

    fn alter(&self) -> Result<Option<Judged>, CodedError> {
        let target = self.statement.tables.iter().find(|table| table.role == NameRole::Target);
        let Some(name) = target.map(|target| &target.name) else { return Ok(None) };
        if !self.scope.has_shadow(name)? {
            return Ok(None);
        }
        if self.statement.tables.iter().any(|table| table.role == NameRole::Exchange) {
            return Err(self
                .stop(
                    codes::DDL_UNSUPPORTED,
                    "a partition of an online schema change's table is exchanged: its rows are in no event"
                        .to_owned(),
                )
                .object(name)
                .remedy("do in the target by hand what is needed, then `binlog skip` the statement"));
        }
        if has_words(self.text, self.mode, &["TRUNCATE", "PARTITION"]) {
            // It empties the shadow only.
            return Ok(Some(Judged::default()));
        }
        let kept = Kept::new(self.text, self.query);
        Ok(Some(Judged { moves: vec![Move::Collect { shadow: name.clone(), kept }], rest: None }))
    }
}
