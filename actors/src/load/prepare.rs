//! Makes tables ready to be copied: their targets exist and fit, their chunks are planned durably.
//!
//! Tables are prepared in groups: the servers are asked about all tables of a group at once, and their plans are one
//! transaction.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use dmnode_model::codes;
use dmnode_model::config::DumpConfig;
use dmnode_model::error::CodedError;
use dmnode_model::gtid::Flavor;
use dmnode_model::ids::{TableName, quote_ident};
use dmnode_model::policy::Fault;
use dmnode_mysql::{Connection, ServerInfo, SqlError, TableInfo};
use dmnode_schema::{
    Router, SqlMode, Statement, rewrite_routed, translate_collation, translate_with_default,
    with_utf8mb4_collation,
};

use super::chunks::{ChunkTable, PlannedTable};
use super::columns::{CopyColumn, map_columns};
use super::inventory::{Scope, SourceSchema, SourceTable, identities, show_create, source_error};
use super::plan::{Size, cut};
use crate::computed::Computed;
use crate::definitions::{DefinitionTable, Followed, Origin, definition_of};
use crate::extended::without;
use crate::failpoint;
use crate::fit::{target_only, undefaulted, undefaulted_sql};
use crate::progress::ProgressUpdate;
use crate::target::{ApplierConnection, ApplyBody, ApplyError, NoRows, TargetTransaction};

/// Storage engines of target tables that roll back.
const TRANSACTIONAL: [&str; 6] = ["innodb", "rocksdb", "tokudb", "ndbcluster", "xtradb", "tidb"];

/// A table with what is left to do.
pub(super) struct Prepared {
    pub source: SourceTable,
    pub plan: PlannedTable,
    /// Empty when nothing is left to do.
    pub columns: Vec<CopyColumn>,
    /// What the target computes by itself.
    pub computed: Computed,
}

/// What all tables share.
pub(super) struct Workshop {
    pub scope: Scope,
    pub chunks: ChunkTable,
    /// Definitions for the stream that follows.
    pub definitions: DefinitionTable,
    pub from: Flavor,
    /// The source's default collation of utf8mb4, where it is not the one of its flavour today.
    pub utf8mb4: Option<&'static str>,
    pub target: ServerInfo,
    pub dump: DumpConfig,
    /// Tables appeared or disappeared since an earlier generation planned: a finished table whose identity changed may
    /// have been renamed, and is copied again.
    pub drifted: bool,
    /// Tables whose target tables are emptied before they are planned; see [`dmnode_model::tables::TableChoice`].
    pub emptied: BTreeMap<TableName, bool>,
}

/// The source connections of one worker: one that speaks utf8mb4, one that is given raw bytes.
pub(super) struct Desk {
    pub text: Connection,
    pub raw: Connection,
}

/// Plan rows in one transaction.
struct WritePlan {
    statements: Vec<Vec<u8>>,
}

#[async_trait]
impl ApplyBody for WritePlan {
    async fn run(&mut self, transaction: &mut TargetTransaction<'_>) -> Result<(), ApplyError> {
        for sql in &self.statements {
            transaction.execute(sql).await?;
        }
        Ok(())
    }
}

/// A table to be prepared, with what an earlier generation has planned.
pub(super) type Wanted = (SourceTable, Option<PlannedTable>);

/// A table of a group that is not ready yet.
struct Candidate {
    table: SourceTable,
    digest: String,
    /// What is planned already and still holds.
    plan: Option<PlannedTable>,
    /// The plan there was is to be replaced.
    replan: bool,
    /// The target table has just been made.
    created: bool,
}

/// Executes a statement that commits by itself. It runs on the connection that has just passed the compare-and-set,
/// which a successor ends before it does anything: a former owner's DDL never comes late.
pub(super) async fn fenced_ddl(applier: &mut ApplierConnection, sql: &str) -> Result<(), ApplyError> {
    applier.apply(&ProgressUpdate::unchanged(), &mut NoRows).await?;
    further_ddl(applier, sql).await
}

/// Executes a further one, on the same connection: the successor ends that one, whenever it comes.
async fn further_ddl(applier: &mut ApplierConnection, sql: &str) -> Result<(), ApplyError> {
    let conn = applier.same_connection()?;
    match conn.execute(sql).await {
        Ok(_) => Ok(()),
        Err(error) if error.fault() != Fault::Refused => Err(error.into()),
        Err(error) => {
            Err(CodedError::new(codes::COPY_DDL_REFUSED, "the target refused a statement of the full copy")
                .statement(sql)
                .cause(error)
                .into())
        }
    }
}

impl Workshop {
    fn target_version(&self) -> (u32, u32, u32) {
        let (major, minor, patch) = self.target.version;
        (major.into(), minor.into(), patch.into())
    }

    /// Makes a database in the target.
    pub async fn make_schema(
        &self,
        applier: &mut ApplierConnection,
        schema: &SourceSchema,
    ) -> Result<(), ApplyError> {
        let (collation, note) =
            translate_collation(&schema.collation, self.from, self.target.flavor, self.target_version());
        if let Some(note) = note {
            tracing::info!(schema = schema.target, note, "collation translated");
        }
        let sql = format!(
            "CREATE DATABASE IF NOT EXISTS {} DEFAULT CHARACTER SET {} COLLATE {collation}",
            quote_ident(&schema.target),
            schema.charset
        );
        fenced_ddl(applier, &sql).await
    }

    /// Prepares tables of one database; those that have vanished meanwhile are left out. Calls `pause` now and then,
    /// which ends it with an error when the copy is being stopped.
    pub async fn prepare(
        &self,
        desk: &mut Desk,
        applier: &mut ApplierConnection,
        group: Vec<Wanted>,
        pause: &(dyn Fn() -> Result<(), ApplyError> + Sync),
    ) -> Result<Vec<Prepared>, ApplyError> {
        let Some(schema) = group.first().map(|(table, _)| table.name.schema.clone()) else {
            return Ok(Vec::new());
        };
        let (mut ready, mut candidates) = self.look(desk, applier, &schema, group).await?;
        pause()?;
        let names: Vec<&str> =
            candidates.iter().map(|candidate| candidate.table.name.table.as_str()).collect();
        let sources = infos(&mut desk.text, &schema, &names)
            .await
            .map_err(|err| source_error(&err).object(quote_ident(&schema)))?;
        candidates.retain(|candidate| sources.contains_key(&candidate.table.name.table));
        // What is there must fit before anything is made.
        let mut targets =
            target_infos(applier, candidates.iter().map(|candidate| &candidate.table.target)).await?;
        let mut columns = BTreeMap::new();
        for Candidate { table, plan, .. } in &candidates {
            let Some(source) = sources.get(&table.name.table) else { continue };
            match targets.get(&table.target) {
                Some(target) => {
                    columns.insert(table.name.clone(), self.columns(applier, table, source, target).await?);
                }
                None if plan.is_some() => return Err(target_gone(table).into()),
                None => {}
            }
        }
        let missing: BTreeSet<TableName> = candidates
            .iter()
            .filter(|candidate| !targets.contains_key(&candidate.table.target))
            .map(|candidate| candidate.table.name.clone())
            .collect();
        // Tables that were made get their plans even when a later one of the group failed: only a plan says that they are ours.
        let failure = self.make_missing(desk, applier, &mut candidates, &missing, pause).await?;
        let made = candidates.iter().filter(|candidate| missing.contains(&candidate.table.name));
        targets.extend(target_infos(applier, made.map(|candidate| &candidate.table.target)).await?);
        let mut planned = Vec::new();
        for candidate in candidates {
            let table = &candidate.table;
            let Some(source) = sources.get(&table.name.table) else { continue };
            let (columns, computed) = match columns.remove(&table.name) {
                Some(columns) => columns,
                None => {
                    let target = targets.get(&table.target).ok_or_else(|| target_gone(table))?;
                    self.columns(applier, table, source, target).await?
                }
            };
            match candidate.plan.clone() {
                Some(plan) => ready.push(Prepared { source: candidate.table, plan, columns, computed }),
                None => {
                    let plan = self.plan(desk, &candidate, source, pause).await?;
                    planned.push((candidate, plan, columns, computed));
                }
            }
        }
        failpoint::hit("load.before_plan").await?;
        self.write_plans(applier, &planned, &sources).await?;
        ready.extend(planned.into_iter().map(|(candidate, plan, columns, computed)| Prepared {
            source: candidate.table,
            plan,
            columns,
            computed,
        }));
        failure.map_or(Ok(ready), Err)
    }

    /// Which tables of a group are done with, and which are not.
    async fn look(
        &self,
        desk: &mut Desk,
        applier: &mut ApplierConnection,
        schema: &str,
        group: Vec<Wanted>,
    ) -> Result<(Vec<Prepared>, Vec<Candidate>), ApplyError> {
        let names: Vec<&TableName> = group.iter().map(|(table, _)| &table.name).collect();
        let mut digests = identities(&mut desk.raw, schema, &names).await?;
        let (mut ready, mut candidates) = (Vec::new(), Vec::new());
        for (table, planned) in group {
            let Some(digest) = digests.remove(&table.name) else { continue };
            let mut candidate = Candidate { table, digest, plan: None, replan: false, created: false };
            let table = &candidate.table;
            let Some(plan) = planned else {
                if let Some(is_ours) = self.emptied.get(&table.name) {
                    self.empty_target(applier, &table.target, *is_ours).await?;
                }
                candidates.push(candidate);
                continue;
            };
            let changed = plan.digest != candidate.digest;
            if plan.target != table.target {
                return Err(changed_table(&table.name, "its route has changed since its copy began").into());
            }
            if plan.is_done() && !(changed && self.drifted) {
                let (columns, computed) = (Vec::new(), Computed::default());
                ready.push(Prepared { source: candidate.table, plan, columns, computed });
                continue;
            }
            if changed {
                self.drop_target(applier, &table.name, &plan).await?;
                candidate.replan = true;
            } else {
                candidate.plan = Some(plan);
            }
            candidates.push(candidate);
        }
        Ok((ready, candidates))
    }

    /// Makes the target tables that are missing. Candidates whose table has vanished are taken out; so are those that could
    /// not be made, and the answer is why.
    async fn make_missing(
        &self,
        desk: &mut Desk,
        applier: &mut ApplierConnection,
        candidates: &mut Vec<Candidate>,
        missing: &BTreeSet<TableName>,
        pause: &(dyn Fn() -> Result<(), ApplyError> + Sync),
    ) -> Result<Option<ApplyError>, ApplyError> {
        let mut failure = None;
        let (mut databases, mut made_targets) = (BTreeSet::new(), BTreeSet::new());
        let mut begun = false;
        let mut kept = Vec::new();
        for mut candidate in std::mem::take(candidates) {
            // Several tables may be routed into one.
            if !missing.contains(&candidate.table.name) || made_targets.contains(&candidate.table.target) {
                kept.push(candidate);
                continue;
            }
            if failure.is_some() {
                continue;
            }
            if let Err(error) = pause() {
                failure = Some(error);
                continue;
            }
            if let Some(extended) = self.scope.extended(&candidate.table.name)?.first() {
                failure = Some(no_target(&candidate.table, &extended.column).into());
                continue;
            }
            let statements = match self.make_statements(desk, &candidate.table, &mut databases).await {
                Ok(Some(statements)) => statements,
                Ok(None) => continue,
                Err(error) => {
                    failure = Some(error);
                    continue;
                }
            };
            for sql in &statements {
                let made =
                    if begun { further_ddl(applier, sql).await } else { fenced_ddl(applier, sql).await };
                begun = true;
                if let Err(error) = made {
                    failure = Some(error);
                    break;
                }
            }
            if failure.is_none() {
                candidate.created = true;
                made_targets.insert(candidate.table.target.clone());
                kept.push(candidate);
            }
        }
        if !begun {
            *candidates = kept;
            return Ok(failure);
        }
        let names: Vec<&TableName> = kept
            .iter()
            .filter(|candidate| candidate.created)
            .map(|candidate| &candidate.table.name)
            .collect();
        let schema = names.first().map(|name| name.schema.clone()).unwrap_or_default();
        let digests = identities(&mut desk.raw, &schema, &names).await?;
        let mut uses: BTreeMap<TableName, u32> = BTreeMap::new();
        for candidate in &kept {
            *uses.entry(candidate.table.target.clone()).or_default() += 1;
        }
        for candidate in kept {
            let name = &candidate.table.name;
            if !candidate.created || digests.get(name) == Some(&candidate.digest) {
                candidates.push(candidate);
                continue;
            }
            // What was just made is the table of a moment ago, and no plan says that it is ours.
            if uses.get(&candidate.table.target) == Some(&1) {
                fenced_ddl(applier, &format!("DROP TABLE IF EXISTS {}", candidate.table.target)).await?;
            }
            let error = CodedError::new(
                codes::COPY_SNAPSHOT_UNSTABLE,
                "the table was altered, renamed or dropped while its copy was prepared",
            )
            .object(name);
            failure.get_or_insert(error.into());
        }
        Ok(failure)
    }

    /// Cuts a table.
    async fn plan(
        &self,
        desk: &mut Desk,
        candidate: &Candidate,
        source: &TableInfo,
        pause: &(dyn Fn() -> Result<(), ApplyError> + Sync),
    ) -> Result<PlannedTable, ApplyError> {
        let table = &candidate.table;
        let size = Size {
            rows: table.rows,
            bytes: table.bytes,
            chunk_rows: self.dump.rows,
            chunk_bytes: self.dump.chunk_filesize,
        };
        let (key, chunks) = cut(&mut desk.raw, source, size, pause).await?;
        Ok(PlannedTable {
            target: table.target.clone(),
            key,
            digest: candidate.digest.clone(),
            created: candidate.created,
            chunks,
        })
    }

    /// One transaction for the plans of a group.
    async fn write_plans(
        &self,
        applier: &mut ApplierConnection,
        planned: &[(Candidate, PlannedTable, Vec<CopyColumn>, Computed)],
        sources: &BTreeMap<String, TableInfo>,
    ) -> Result<(), ApplyError> {
        if planned.is_empty() {
            return Ok(());
        }
        let replaced = planned.iter().filter(|(candidate, ..)| candidate.replan);
        let mut statements: Vec<Vec<u8>> =
            replaced.map(|(candidate, ..)| self.chunks.delete_sql(&candidate.table.name)).collect();
        let plans = planned.iter().map(|(candidate, plan, ..)| (&candidate.table.name, plan));
        statements.extend(self.chunks.insert_sql(plans));
        // What the stream will find when the copy ends: the digest tells of any change until then.
        let followed: Vec<(&TableName, Followed)> = planned
            .iter()
            .filter_map(|(candidate, ..)| {
                let name = &candidate.table.name;
                let definition = definition_of(sources.get(&name.table)?);
                Some((name, Followed { definition, origin: Origin::Copy, location: "full copy".to_owned() }))
            })
            .collect();
        let followed = followed.iter().map(|(name, followed)| (*name, followed));
        statements.extend(self.definitions.put_all_sql(followed).into_iter().map(String::into_bytes));
        applier.apply(&ProgressUpdate::unchanged(), &mut WritePlan { statements }).await
    }

    /// Writes a finished plan for a table that is gone from the source: what the stream says of it up to `plan`'s
    /// position is already history.
    pub async fn bury(
        &self,
        applier: &mut ApplierConnection,
        table: &TableName,
        plan: &PlannedTable,
    ) -> Result<(), ApplyError> {
        let mut statements = vec![self.chunks.delete_sql(table)];
        statements.extend(self.chunks.insert_sql([(table, plan)]));
        applier.apply(&ProgressUpdate::unchanged(), &mut WritePlan { statements }).await
    }

    /// A reader has found that a table changed, which its definition may not show (TRUNCATE makes a table anew and
    /// leaves the time it was made): it is planned again.
    pub async fn outdate(
        &self,
        applier: &mut ApplierConnection,
        table: &TableName,
    ) -> Result<(), ApplyError> {
        let statements = vec![self.chunks.outdate_sql(table)];
        applier.apply(&ProgressUpdate::unchanged(), &mut WritePlan { statements }).await
    }

    /// Drops a target table that was made by this plan and that nothing else is planned into.
    pub async fn drop_target(
        &self,
        applier: &mut ApplierConnection,
        table: &TableName,
        plan: &PlannedTable,
    ) -> Result<(), ApplyError> {
        let others = self.chunks.others(applier.connection().await?, table, &plan.target).await?;
        if !plan.created || others > 0 {
            return Err(changed_table(
                table,
                "it was altered, renamed or dropped in the source while it was copied",
            )
            .into());
        }
        tracing::warn!(%table, target_table = %plan.target,
            "the table changed in the source while it was copied; its copy begins anew");
        fenced_ddl(applier, &format!("DROP TABLE IF EXISTS {}", plan.target)).await?;
        failpoint::hit("load.after_drop").await?;
        Ok(())
    }

    /// Empties a target table that is to be copied again; it holds nothing of the copy that begins.
    async fn empty_target(
        &self,
        applier: &mut ApplierConnection,
        target: &TableName,
        is_ours: bool,
    ) -> Result<(), ApplyError> {
        let found = target_infos(applier, std::iter::once(target)).await?;
        if !found.contains_key(target) {
            return Ok(());
        }
        tracing::warn!(target_table = %target, drop = is_ours, "the target table is emptied, to be copied again");
        let statement = if is_ours { "DROP TABLE IF EXISTS" } else { "TRUNCATE TABLE" };
        fenced_ddl(applier, &format!("{statement} {target}")).await
    }

    /// The statements that make the target table; `None` when the table has vanished from the source.
    async fn make_statements(
        &self,
        desk: &mut Desk,
        table: &SourceTable,
        databases: &mut BTreeSet<String>,
    ) -> Result<Option<Vec<String>>, ApplyError> {
        let Some(create) = show_create(&mut desk.text, &table.name).await? else { return Ok(None) };
        let dialects = Dialects {
            from: self.from,
            to: self.target.flavor,
            version: self.target_version(),
            utf8mb4: self.utf8mb4,
        };
        let (names, router) = ((&table.name, &table.target), self.scope.router());
        let mut statements = create_statements(&create, names, router, &dialects)?;
        if table.target.schema != table.name.schema && databases.insert(table.target.schema.clone()) {
            // The database a route leads to may have no counterpart in the source.
            let schema = quote_ident(&table.target.schema);
            statements.insert(0, format!("CREATE DATABASE IF NOT EXISTS {schema}"));
        }
        Ok(Some(statements))
    }

    async fn columns(
        &self,
        applier: &mut ApplierConnection,
        table: &SourceTable,
        source: &TableInfo,
        target: &TableInfo,
    ) -> Result<(Vec<CopyColumn>, Computed), ApplyError> {
        if !TRANSACTIONAL.contains(&target.engine.to_ascii_lowercase().as_str()) {
            return Err(CodedError::new(
                codes::TABLE_NOT_TRANSACTIONAL,
                format!("the target table has the engine {}, which cannot roll back", target.engine),
            )
            .object(&target.name)
            .into());
        }
        let route = self.scope.extended(&table.name)?;
        let columns = map_columns(source, target, &route)?;
        let further = target_only(source, &without(target, &route));
        if !further.is_empty() {
            let rows = applier.connection().await?.query(undefaulted_sql(&target.name)).await?;
            if let Some(error) = undefaulted(&further, &rows, &source.name, &target.name) {
                return Err(error.into());
            }
        }
        Ok((columns, Computed::of(target)))
    }
}

/// Whose words a definition is in, and who is to understand them.
pub(super) struct Dialects {
    pub from: Flavor,
    pub to: Flavor,
    /// The target's.
    pub version: (u32, u32, u32),
    /// The source's default collation of utf8mb4, where it is not the one of its flavour today.
    pub utf8mb4: Option<&'static str>,
}

/// The statements that make a target table out of the source's `CREATE TABLE`, written in a session without `sql_mode`. The
/// database is there already.
pub(super) fn create_statements(
    create: &str,
    (name, target): (&TableName, &TableName),
    router: &Router,
    dialects: &Dialects,
) -> Result<Vec<String>, CodedError> {
    let mode = SqlMode::default();
    let statement = Statement::classify(create, &name.schema, mode);
    let routed = rewrite_routed(create, &statement, router)?;
    let Dialects { from, to, version, utf8mb4 } = *dialects;
    let routed = match utf8mb4 {
        Some(collation) if to == from => with_utf8mb4_collation(&routed, mode, collation),
        _ => routed,
    };
    let translated =
        translate_with_default(&routed, mode, from, to, version, utf8mb4).map_err(|err| err.object(name))?;
    for note in &translated.notes {
        tracing::info!(table = %name, target_table = %target, note, "definition translated");
    }
    let mut statements = translated.prelude;
    statements.push(match translated.sql.strip_prefix("CREATE TABLE ") {
        Some(rest) if !rest.starts_with("IF ") => format!("CREATE TABLE IF NOT EXISTS {rest}"),
        _ => translated.sql,
    });
    Ok(statements)
}

/// Descriptions of tables of a database by the names that are asked for; what does not exist is left out.
async fn infos(
    conn: &mut Connection,
    schema: &str,
    tables: &[&str],
) -> Result<BTreeMap<String, TableInfo>, SqlError> {
    let mut found = BTreeMap::new();
    let mut listed = BTreeSet::new();
    for info in TableInfo::load_some(conn, schema, tables).await? {
        listed.insert(info.name.table.to_lowercase());
        found.insert(info.name.table.clone(), info);
    }
    for name in tables {
        // On a server that stores names in lower case.
        if !found.contains_key(*name)
            && listed.contains(&name.to_lowercase())
            && let Some(info) = TableInfo::load(conn, &TableName::new(schema, *name)).await?
        {
            found.insert((*name).to_owned(), info);
        }
    }
    Ok(found)
}

/// Descriptions of target tables, as far as they exist.
async fn target_infos<'a>(
    applier: &mut ApplierConnection,
    targets: impl Iterator<Item = &'a TableName>,
) -> Result<BTreeMap<TableName, TableInfo>, ApplyError> {
    let mut by_schema: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for target in targets {
        by_schema.entry(&target.schema).or_default().insert(&target.table);
    }
    let mut found = BTreeMap::new();
    for (schema, tables) in by_schema {
        let tables: Vec<&str> = tables.into_iter().collect();
        let infos = infos(applier.connection().await?, schema, &tables).await?;
        let wanted = infos.into_iter().filter(|(name, _)| tables.binary_search(&name.as_str()).is_ok());
        found.extend(wanted.map(|(name, info)| (TableName::new(schema, name), info)));
    }
    Ok(found)
}

fn target_gone(table: &SourceTable) -> CodedError {
    CodedError::new(codes::COPY_TARGET_MISMATCH, "the target table does not exist any more")
        .object(format!("{} into {}", table.name, table.target))
}

/// What column a name is put into is the user's to say.
fn no_target(table: &SourceTable, column: &str) -> CodedError {
    CodedError::new(
        codes::COPY_TARGET_MISMATCH,
        format!("a route adds the column {} to the rows of a table that the target does not have", quote_ident(column)),
    )
    .object(format!("{} into {}", table.name, table.target))
    .remedy("create the target's table with the source's columns and those of the route's extract rules, then resume-task")
}

fn changed_table(table: &TableName, why: &str) -> CodedError {
    CodedError::new(codes::COPY_TABLE_CHANGED, format!("the copy of a table cannot go on: {why}"))
        .object(table)
}
