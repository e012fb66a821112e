//! Source tables that are merged into one: whether they are alike, and whether their numbers may clash.

use std::collections::BTreeMap;

use dmnode_model::config::ShardMode;
use dmnode_model::{CodedError, Scope, TableName, codes};
use dmnode_mysql::TableInfo;

use super::connect::{failed, limited};
use super::{Item, Source};
use crate::fit::inconvertible;

/// Tables of one target table that are compared.
const TABLES_MAX: usize = 1000;

/// One item for each target table of several source tables.
pub(super) async fn check(sources: &mut [Source<'_>], consistency: bool, counters: bool) -> Vec<Item> {
    let mode = sources.first().map_or(ShardMode::None, |source| source.subtask.shard_mode);
    if mode == ShardMode::None || (!consistency && !counters) {
        return Vec::new();
    }
    let mut groups: BTreeMap<TableName, Vec<(usize, TableName)>> = BTreeMap::new();
    for (index, source) in
        sources.iter().enumerate().filter(|(_, source)| source.subtask.mode.has_full_copy())
    {
        for table in &source.inventory.tables {
            groups.entry(table.to.clone()).or_default().push((index, table.from.clone()));
        }
    }
    let mut items = Vec::new();
    for (target, tables) in groups.into_iter().filter(|(_, tables)| tables.len() > 1) {
        items.push(group(sources, mode, &target, &tables, consistency, counters).await);
    }
    items
}

/// A source table with its source, for people.
struct Shard {
    source: String,
    info: TableInfo,
}

impl Shard {
    fn with(&self, what: &str) -> String {
        format!("sourceID {} table {} {what}", self.source, self.info.name)
    }

    fn columns(&self) -> String {
        let names: Vec<&str> = self.info.columns.iter().map(|column| column.name.as_str()).collect();
        self.with(&format!("columns [{}]", names.join(" ")))
    }
}

async fn group(
    sources: &mut [Source<'_>],
    mode: ShardMode,
    target: &TableName,
    tables: &[(usize, TableName)],
    consistency: bool,
    counters: bool,
) -> Item {
    let (name, desc) = match mode {
        ShardMode::Optimistic => (
            format!("optimistic sharding table {target} consistency checking"),
            "check consistency of sharding table structures for Optimistic Sharding Merge",
        ),
        _ => (
            format!("sharding table {target} consistency checking"),
            "check consistency of sharding table structures",
        ),
    };
    let mut item = Item::new(&name, desc);
    item.extra = format!("sharding {target}");
    let mut first: Option<Shard> = None;
    for (index, table) in tables.iter().take(TABLES_MAX) {
        let Some(source) = sources.get_mut(*index) else { continue };
        let info = match limited(TableInfo::load(&mut source.connection, table)).await {
            Ok(Some(info)) => info,
            // Dropped meanwhile.
            Ok(None) => continue,
            Err(err) => return item.fail(failed(&err, Scope::Upstream)),
        };
        let shard = Shard { source: source.config.source_id.to_string(), info };
        if counters && item.errors.is_empty() && shard.info.columns.iter().any(|column| column.auto_increment)
        {
            item = item.warn(
                format!(
                    "sourceID {} table {table} of sharding {target} have auto-increment key, please make sure them don't conflict in target table!",
                    shard.source
                ),
                &format!(
                    "let the key of {target} have a column that tells the shards apart (`extract-table`, `extract-schema`, `extract-source` \
                     of the route), or another primary key"
                ),
            );
            item.extra = "auto-increment key checking".to_owned();
        }
        let Some(known) = &first else {
            first = Some(shard);
            continue;
        };
        let differs = match mode {
            ShardMode::Optimistic => disjoint(known, &shard),
            _ => unlike(known, &shard),
        };
        if let (true, Some((text, own, other, statement))) = (consistency, differs) {
            let err =
                CodedError::new(codes::CHECK_SHARD_TABLES, text).scope(Scope::Upstream).remedy(statement);
            return item.fail_between(err, own, other);
        }
    }
    item
}

type Difference = (String, String, String, String);

/// Pessimistic: the same columns in the same order.
fn unlike(one: &Shard, other: &Shard) -> Option<Difference> {
    let (ours, theirs) = (&one.info.columns, &other.info.columns);
    let name = &other.info.name;
    if ours.len() != theirs.len() {
        return Some((
            format!("column length mismatch (self: {} vs other: {})", ours.len(), theirs.len()),
            one.columns(),
            other.columns(),
            format!(
                "give {name} the columns of {} by ALTER TABLE {name} ADD or DROP COLUMN …; at the source",
                one.info.name
            ),
        ));
    }
    ours.iter().zip(theirs).find_map(|(a, b)| {
        let same = a.name.eq_ignore_ascii_case(&b.name) && a.column_type_text == b.column_type_text;
        (!same).then(|| {
            (
                "different column definition".to_owned(),
                one.with(&format!("column {} {}", a.name, a.column_type_text)),
                other.with(&format!("column {} {}", b.name, b.column_type_text)),
                format!(
                    "ALTER TABLE {name} CHANGE {} {} {}; at the source",
                    dmnode_model::quote_ident(&b.name),
                    dmnode_model::quote_ident(&a.name),
                    a.column_type_text
                ),
            )
        })
    })
}

/// Optimistic: columns of one name can be joined.
fn disjoint(one: &Shard, other: &Shard) -> Option<Difference> {
    one.info.columns.iter().find_map(|a| {
        let (_, b) = other.info.column(&a.name)?;
        let apart = inconvertible(a, b).is_some() && inconvertible(b, a).is_some();
        apart.then(|| {
            (
                format!(
                    "fail to join the table structures: column {} has types that cannot be joined",
                    a.name
                ),
                one.with(&format!("column {} {}", a.name, a.column_type_text)),
                other.with(&format!("column {} {}", b.name, b.column_type_text)),
                format!(
                    "ALTER TABLE {} MODIFY {} {}; at the source",
                    other.info.name,
                    dmnode_model::quote_ident(&b.name),
                    a.column_type_text
                ),
            )
        })
    })
}
