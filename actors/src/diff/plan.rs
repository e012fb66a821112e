//! Which tables are compared with which.

use std::collections::{BTreeMap, BTreeSet};

use dmnode_model::codes;
use dmnode_model::config::{SourceConfig, SubtaskConfig};
use dmnode_model::error::CodedError;
use dmnode_model::ids::{SourceId, TableName};
use dmnode_schema::{BlockAllowList, ExtendedColumn, OnlineRules, Router, is_system_schema};

use super::DiffParams;
use super::lag::Lag;
use super::side::Side;

/// Tables that are on one side only are looked for again behind the lag so many times.
const ROUNDS: u32 = 3;

/// A target table and the source tables that go there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TablePair {
    pub target: TableName,
    pub in_target: bool,
    /// Index of the source, and its table.
    pub sources: Vec<(usize, TableName)>,
    /// What the route of each of them adds to its rows.
    pub extended: Vec<Vec<ExtendedColumn>>,
}

impl TablePair {
    pub fn source_indexes(&self) -> BTreeSet<usize> {
        self.sources.iter().map(|(index, _)| *index).collect()
    }
}

/// All comparisons, in order of the target's names.
#[derive(Default)]
pub(super) struct Plan {
    pub pairs: Vec<TablePair>,
    /// Target tables that a source table in scope would go to, if there were one.
    pub extra: Vec<TableName>,
}

impl Plan {
    fn is_settled(&self) -> bool {
        self.extra.is_empty() && self.pairs.iter().all(|pair| pair.in_target)
    }
}

/// What a task takes of one source.
struct Scope {
    allow: BlockAllowList,
    router: Router,
    online: OnlineRules,
    meta_schema: String,
    source: SourceId,
}

impl Scope {
    fn new(source: &SourceConfig, subtask: &SubtaskConfig) -> Result<Self, CodedError> {
        let case_sensitive = subtask.case_sensitive || source.case_sensitive;
        Ok(Self {
            allow: BlockAllowList::of(subtask, case_sensitive)?,
            router: Router::new(&subtask.routes, case_sensitive)?,
            online: OnlineRules::new(subtask)?,
            meta_schema: subtask.meta_schema.clone(),
            source: subtask.source_id.clone(),
        })
    }

    /// Where the table goes; `None` when it is not the task's.
    fn target_of(&self, table: &TableName) -> Result<Option<TableName>, CodedError> {
        if is_system_schema(&table.schema)
            || table.schema == self.meta_schema
            || !self.allow.table_in_scope(table)?
            || self.online.is_helper(&table.table)
        {
            return Ok(None);
        }
        self.router.route(table).map(Some)
    }
}

/// Makes the plan, again behind the lag while tables are on one side only.
pub(super) async fn settle(
    params: &DiffParams,
    sources: &mut [Side],
    target: &mut Side,
    lag: &mut Lag,
) -> Result<Plan, CodedError> {
    let mut round = 1;
    loop {
        let plan = filter(make(params, sources, target).await?, &params.tables)?;
        if plan.is_settled() || round == ROUNDS {
            return Ok(plan);
        }
        round += 1;
        let all = (0..sources.len()).collect();
        lag.pass(sources, target, &all).await?;
    }
}

async fn make(params: &DiffParams, sources: &mut [Side], target: &mut Side) -> Result<Plan, CodedError> {
    let mut scopes = Vec::with_capacity(sources.len());
    for (source, subtask) in &params.sources {
        scopes.push(Scope::new(source, subtask)?);
    }
    // A server that does not distinguish case keeps names in lower case, or finds them in any.
    let folds = target.server().lower_case_table_names != 0;
    let fold = |name: &TableName| {
        if folds {
            TableName::new(name.schema.to_lowercase(), name.table.to_lowercase())
        } else {
            name.clone()
        }
    };
    let in_target: BTreeMap<TableName, TableName> =
        tables(target).await?.into_iter().map(|name| (fold(&name), name)).collect();
    let mut pairs: BTreeMap<TableName, TablePair> = BTreeMap::new();
    let mut schemas: Vec<BTreeSet<String>> = Vec::with_capacity(sources.len());
    for (index, (side, scope)) in sources.iter_mut().zip(&scopes).enumerate() {
        for name in tables(side).await? {
            let Some(goes_to) = scope.target_of(&name)? else { continue };
            let folded = fold(&goes_to);
            let found = in_target.get(&folded);
            let pair = pairs.entry(folded).or_insert_with(|| TablePair {
                target: found.cloned().unwrap_or(goes_to),
                in_target: found.is_some(),
                sources: Vec::new(),
                extended: Vec::new(),
            });
            pair.extended.push(scope.router.extended(&name, &scope.source)?);
            pair.sources.push((index, name));
        }
        schemas.push(schemas_of(side).await?);
    }
    // A target table is the task's business when a source table of its name would go to it.
    let mut extra = Vec::new();
    for (folded, name) in &in_target {
        if pairs.contains_key(folded) || is_system_schema(&name.schema) {
            continue;
        }
        let mut expected = false;
        for (scope, schemas) in scopes.iter().zip(&schemas) {
            for schema in schemas {
                let imagined = TableName::new(schema.as_str(), name.table.as_str());
                expected |= scope.target_of(&imagined)?.is_some_and(|target| fold(&target) == *folded);
            }
        }
        if expected {
            extra.push(name.clone());
        }
    }
    Ok(Plan { pairs: pairs.into_values().collect(), extra })
}

async fn tables(side: &mut Side) -> Result<Vec<TableName>, CodedError> {
    let rows = side
        .query(
            "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES \
             WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY TABLE_SCHEMA, TABLE_NAME",
        )
        .await?;
    let name = |index: usize, row: &dmnode_mysql::TextRow| row.string(index).unwrap_or_default();
    Ok(rows.iter().map(|row| TableName::new(name(0, row), name(1, row))).collect())
}

async fn schemas_of(side: &mut Side) -> Result<BTreeSet<String>, CodedError> {
    let rows = side.query("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA").await?;
    Ok(rows.iter().filter_map(|row| row.string(0)).collect())
}

/// Keeps the tables that were asked for.
fn filter(plan: Plan, wanted: &[String]) -> Result<Plan, CodedError> {
    if wanted.is_empty() {
        return Ok(plan);
    }
    let is = |name: &TableName, wanted: &String| {
        *wanted == format!("{}.{}", name.schema, name.table) || *wanted == name.quoted()
    };
    for one in wanted {
        let known = plan.pairs.iter().any(|pair| is(&pair.target, one))
            || plan.extra.iter().any(|name| is(name, one));
        if !known {
            return Err(CodedError::new(
                codes::DIFF_NO_TABLE,
                format!("the task has no target table `{one}`"),
            ));
        }
    }
    Ok(Plan {
        pairs: plan.pairs.into_iter().filter(|pair| wanted.iter().any(|one| is(&pair.target, one))).collect(),
        extra: plan.extra.into_iter().filter(|name| wanted.iter().any(|one| is(name, one))).collect(),
    })
}
