//! Makes one table ready to be copied: its target exists and fits, its chunks are planned durably.

use async_trait::async_trait;
use dmnode_model::codes;
use dmnode_model::config::DumpConfig;
use dmnode_model::error::CodedError;
use dmnode_model::gtid::Flavor;
use dmnode_model::ids::{TableName, quote_ident};
use dmnode_model::policy::Fault;
use dmnode_mysql::{Connection, ServerInfo, TableInfo};
use dmnode_schema::{
    Router, SqlMode, Statement, rewrite_routed, translate_collation, translate_with_default,
};

use super::chunks::{ChunkTable, PlannedTable};
use super::columns::{CopyColumn, map_columns};
use super::inventory::{Scope, SourceSchema, SourceTable, identity, show_create, source_error};
use super::plan::{Size, cut, cut_column};
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

/// Executes a statement that commits by itself. It runs on the connection that has just passed the compare-and-set,
/// which a successor ends before it does anything: a former owner's DDL never comes late.
pub(super) async fn fenced_ddl(applier: &mut ApplierConnection, sql: &str) -> Result<(), ApplyError> {
    applier.apply(&ProgressUpdate::unchanged(), &mut NoRows).await?;
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

    /// Prepares one table; `None` when it has vanished meanwhile.
    pub async fn prepare(
        &self,
        desk: &mut Desk,
        applier: &mut ApplierConnection,
        table: SourceTable,
        planned: Option<PlannedTable>,
    ) -> Result<Option<Prepared>, ApplyError> {
        let Some(digest) = identity(&mut desk.raw, &table.name).await? else { return Ok(None) };
        let mut replan = false;
        if let Some(plan) = planned {
            let changed = plan.digest != digest;
            if plan.target != table.target {
                return Err(changed_table(&table.name, "its route has changed since its copy began").into());
            }
            if plan.is_done() && !(changed && self.drifted) {
                let (columns, computed) = (Vec::new(), Computed::default());
                return Ok(Some(Prepared { source: table, plan, columns, computed }));
            }
            if !changed {
                let columns = self.columns(desk, applier, &table).await?;
                return Ok(columns.map(|(columns, computed)| Prepared {
                    source: table,
                    plan,
                    columns,
                    computed,
                }));
            }
            self.drop_target(applier, &table.name, &plan).await?;
            replan = true;
        }
        let created = match self.target_info(applier, &table.target).await? {
            Some(_) => false,
            None => {
                if let Some(extended) = self.scope.extended(&table.name)?.first() {
                    return Err(no_target(&table, &extended.column).into());
                }
                if !self.make_table(desk, applier, &table).await? {
                    return Ok(None);
                }
                true
            }
        };
        if created && identity(&mut desk.raw, &table.name).await?.as_ref() != Some(&digest) {
            // What was just made is the table of a moment ago, and no plan says that it is ours.
            fenced_ddl(applier, &format!("DROP TABLE IF EXISTS {}", table.target)).await?;
            return Err(CodedError::new(
                codes::COPY_SNAPSHOT_UNSTABLE,
                "the table was altered, renamed or dropped while its copy was prepared",
            )
            .object(&table.name)
            .into());
        }
        let Some((columns, computed)) = self.columns(desk, applier, &table).await? else { return Ok(None) };
        failpoint::hit("load.before_plan").await?;
        let Some(info) = source_info(desk, &table.name).await? else { return Ok(None) };
        let key_column = cut_column(&info).map(str::to_owned);
        let bounds = match &key_column {
            Some(column) => bounds(&mut desk.text, &table.name, column).await?,
            None => None,
        };
        let size = Size {
            rows: table.rows,
            bytes: table.bytes,
            chunk_rows: self.dump.rows,
            chunk_bytes: self.dump.chunk_filesize,
        };
        let chunks = cut(bounds, size);
        let key_column = key_column.filter(|_| chunks.len() > 1);
        let plan = PlannedTable { target: table.target.clone(), key_column, digest, created, chunks };
        let mut statements = self.chunks.insert_sql(&table.name, &plan);
        if replan {
            statements.insert(0, self.chunks.delete_sql(&table.name));
        }
        // What the stream will find when the copy ends: the digest tells of any change until then.
        let followed = Followed {
            definition: definition_of(&info),
            origin: Origin::Copy,
            location: "full copy".to_owned(),
        };
        statements.push(self.definitions.put_sql(&table.name, &followed).into_bytes());
        applier.apply(&ProgressUpdate::unchanged(), &mut WritePlan { statements }).await?;
        Ok(Some(Prepared { source: table, plan, columns, computed }))
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
        statements.extend(self.chunks.insert_sql(table, plan));
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

    async fn target_info(
        &self,
        applier: &mut ApplierConnection,
        target: &TableName,
    ) -> Result<Option<TableInfo>, ApplyError> {
        Ok(TableInfo::load(applier.connection().await?, target).await?)
    }

    /// `false` when the table has vanished from the source.
    async fn make_table(
        &self,
        desk: &mut Desk,
        applier: &mut ApplierConnection,
        table: &SourceTable,
    ) -> Result<bool, ApplyError> {
        let Some(create) = show_create(&mut desk.text, &table.name).await? else { return Ok(false) };
        let dialects = Dialects {
            from: self.from,
            to: self.target.flavor,
            version: self.target_version(),
            utf8mb4: self.utf8mb4,
        };
        create_table(applier, &create, (&table.name, &table.target), self.scope.router(), &dialects).await?;
        Ok(true)
    }

    async fn columns(
        &self,
        desk: &mut Desk,
        applier: &mut ApplierConnection,
        table: &SourceTable,
    ) -> Result<Option<(Vec<CopyColumn>, Computed)>, ApplyError> {
        let Some(source) = source_info(desk, &table.name).await? else { return Ok(None) };
        let Some(target) = self.target_info(applier, &table.target).await? else {
            return Err(CodedError::new(
                codes::COPY_TARGET_MISMATCH,
                "the target table does not exist any more",
            )
            .object(format!("{} into {}", table.name, table.target))
            .into());
        };
        if !TRANSACTIONAL.contains(&target.engine.to_ascii_lowercase().as_str()) {
            return Err(CodedError::new(
                codes::TABLE_NOT_TRANSACTIONAL,
                format!("the target table has the engine {}, which cannot roll back", target.engine),
            )
            .object(&target.name)
            .into());
        }
        let route = self.scope.extended(&table.name)?;
        let columns = map_columns(&source, &target, &route)?;
        let further = target_only(&source, &without(&target, &route));
        if !further.is_empty() {
            let rows = applier.connection().await?.query(undefaulted_sql(&target.name)).await?;
            if let Some(error) = undefaulted(&further, &rows, &source.name, &target.name) {
                return Err(error.into());
            }
        }
        Ok(Some((columns, Computed::of(&target))))
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

/// Makes a target table out of the source's `CREATE TABLE`, written in a session without `sql_mode`.
pub(super) async fn create_table(
    applier: &mut ApplierConnection,
    create: &str,
    (name, target): (&TableName, &TableName),
    router: &Router,
    dialects: &Dialects,
) -> Result<(), ApplyError> {
    let mode = SqlMode::default();
    let statement = Statement::classify(create, &name.schema, mode);
    let routed = rewrite_routed(create, &statement, router)?;
    let Dialects { from, to, version, utf8mb4 } = *dialects;
    let translated =
        translate_with_default(&routed, mode, from, to, version, utf8mb4).map_err(|err| err.object(name))?;
    for note in &translated.notes {
        tracing::info!(table = %name, note, "definition translated");
    }
    for sql in &translated.prelude {
        fenced_ddl(applier, sql).await?;
    }
    let sql = match translated.sql.strip_prefix("CREATE TABLE ") {
        Some(rest) if !rest.starts_with("IF ") => format!("CREATE TABLE IF NOT EXISTS {rest}"),
        _ => translated.sql,
    };
    if target.schema != name.schema {
        // The database a route leads to may have no counterpart in the source.
        let schema = quote_ident(&target.schema);
        fenced_ddl(applier, &format!("CREATE DATABASE IF NOT EXISTS {schema}")).await?;
    }
    fenced_ddl(applier, &sql).await
}

async fn source_info(desk: &mut Desk, table: &TableName) -> Result<Option<TableInfo>, CodedError> {
    TableInfo::load(&mut desk.text, table).await.map_err(|err| source_error(&err).object(table))
}

/// Smallest and largest key.
pub(super) async fn bounds(
    conn: &mut Connection,
    table: &TableName,
    column: &str,
) -> Result<Option<(i128, i128)>, CodedError> {
    let column = quote_ident(column);
    let sql = format!("SELECT MIN({column}), MAX({column}) FROM {table}");
    let row = conn.query_one(&sql).await.map_err(|err| source_error(&err).object(table))?;
    let key = |index: usize| row.as_ref()?.str(index)?.parse::<i128>().ok();
    Ok(key(0).zip(key(1)))
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
