//! Tables with a key: ranges of keys, then rows.

use std::collections::HashMap;

use dmnode_model::api::{DiffKind, DiffRow};
use dmnode_model::error::CodedError;
use dmnode_mysql::TextRow;

use super::Run;
use super::columns::is_equal;
use super::keys::{Key, KeyValues};
use super::table::{RowDigest, TableDiff, source};

/// Rows of a range held at once; larger ranges (the other side has far more rows) are looked at in slices.
const ENTRIES_MAX: u64 = 200_000;
/// Differing keys that are judged together, waiting for the target once.
const BATCH_KEYS: usize = 1000;
/// The same when rows carry documents.
const BATCH_KEYS_JSON: usize = 100;
/// Keys of one query.
const QUERY_KEYS: usize = 200;
/// A row that changes between all these looks is called unstable.
const ROUNDS: u32 = 8;

/// A row as canonical texts.
type Texts = Vec<Option<Vec<u8>>>;

/// Compares; gives the number of source and target rows.
pub(super) async fn compare(table: &TableDiff, key: &Key, run: &mut Run) -> Result<(u64, u64), CodedError> {
    let (mut source_rows, mut target_rows) = (0, 0);
    let mut low: Option<KeyValues> = None;
    loop {
        let high = boundary(table, key, run, low.as_ref()).await?;
        let range = key.range(low.as_ref(), high.as_ref());
        let (ours, theirs) = table.checksums(run, &range).await?;
        source_rows += ours.rows;
        target_rows += theirs.rows;
        run.progress(&table.target, ours.rows).await;
        if table.has_json() || !ours.proves_equal(&theirs) {
            let slices = ours.rows.max(theirs.rows).div_ceil(ENTRIES_MAX).max(1);
            for slice in 0..slices {
                let condition = match slices {
                    1 => format!("({range})"),
                    _ => format!(
                        "({range}) AND MOD(CRC32(CONCAT_WS(',', {})), {slices}) = {slice}",
                        key.select()
                    ),
                };
                let suspects = suspects(table, key, run, &condition).await?;
                judge(table, key, run, suspects).await?;
                if run.is_full() {
                    run.summary.complete = false;
                    return Ok((source_rows, target_rows));
                }
            }
        }
        match high {
            Some(high) => low = Some(high),
            None => return Ok((source_rows, target_rows)),
        }
    }
}

/// The key that ends the next range: no table has more than a chunk of rows before it, where keys can be ordered here.
async fn boundary(
    table: &TableDiff,
    key: &Key,
    run: &mut Run,
    low: Option<&KeyValues>,
) -> Result<Option<KeyValues>, CodedError> {
    let offset = run.params.chunk_rows.saturating_sub(1);
    let sql = |relation: &str| {
        format!(
            "SELECT {} FROM {relation} WHERE {} ORDER BY {} LIMIT 1 OFFSET {offset}",
            key.select(),
            key.range(low, None),
            key.order()
        )
    };
    let mut found: Option<KeyValues> = None;
    let target = table.target.quoted();
    let sources = table.sources.iter().zip(&table.relations);
    for (index, relation) in
        sources.map(|((index, _), relation)| (Some(*index), relation)).chain([(None, &target)])
    {
        let side = match index {
            Some(index) => source(&mut run.sources, index)?,
            None => &mut run.target,
        };
        let next = side.query(&sql(relation)).await?.first().map(|row| key.read(row));
        found = match (found, next) {
            (Some(a), Some(b)) => Some(key.smaller(a, b)),
            (a, b) => a.or(b),
        };
        if found.is_some() && !key.is_integer() {
            break;
        }
    }
    Ok(found)
}

/// Keys whose rows have different digests, or are on one side only, or twice in the sources.
async fn suspects(
    table: &TableDiff,
    key: &Key,
    run: &mut Run,
    condition: &str,
) -> Result<Vec<KeyValues>, CodedError> {
    let sql = |relation: &str| {
        format!(
            "SELECT {}, {}{} FROM {relation} WHERE {condition}",
            key.select(),
            table.digest(),
            table.json_select()
        )
    };
    let mut expected: HashMap<KeyValues, Option<RowDigest>> = HashMap::new();
    let mut suspects = Vec::new();
    for ((index, _), relation) in table.sources.iter().zip(&table.relations) {
        let side = source(&mut run.sources, *index)?;
        side.rows(&sql(relation), |row| {
            let values = key.read(row);
            let digest = table.row_digest(row, key.columns.len());
            if expected.insert(values.clone(), digest).is_some() {
                suspects.push(values);
            }
        })
        .await?;
    }
    run.target
        .rows(&sql(&table.target.quoted()), |row| {
            let values = key.read(row);
            let digest = table.row_digest(row, key.columns.len());
            match expected.remove(&values) {
                Some(wanted) if wanted.is_some() && wanted == digest => {}
                _ => suspects.push(values),
            }
        })
        .await?;
    suspects.extend(expected.into_keys());
    suspects.sort();
    suspects.dedup();
    Ok(suspects)
}

/// The rows of some keys on both sides.
#[derive(Default)]
struct Rows {
    /// With the index into the table's sources.
    sources: HashMap<KeyValues, Vec<(usize, Texts)>>,
    target: HashMap<KeyValues, Texts>,
}

/// Decides about the suspects: reads their rows, waits until the target has passed, reads again, until a row is equal
/// or its source row did not change while the target passed it.
async fn judge(
    table: &TableDiff,
    key: &Key,
    run: &mut Run,
    suspects: Vec<KeyValues>,
) -> Result<(), CodedError> {
    let size = if table.has_json() { BATCH_KEYS_JSON } else { BATCH_KEYS };
    for batch in suspects.chunks(size) {
        let mut open: Vec<KeyValues> = batch.to_vec();
        let mut seen = read(table, key, run, &open).await?;
        open.retain(|one| !matches(table, &seen, one));
        let mut round = 0;
        while !open.is_empty() {
            round += 1;
            let passed = run.lag.pass(&mut run.sources, &mut run.target, &table.indexes).await?;
            // The target is read first: what the source had before and after, the target had passed in between.
            let target = read_target(table, key, run, &open).await?;
            let sources = read_sources(table, key, run, &open).await?;
            let now = Rows { sources, target };
            let mut changing = Vec::new();
            for one in open {
                if matches(table, &now, &one) {
                    run.summary.resolved += 1;
                } else if seen.sources.get(&one) == now.sources.get(&one) || round == ROUNDS {
                    let stable = seen.sources.get(&one) == now.sources.get(&one);
                    run.summary.unstable += u64::from(!stable);
                    let row = describe(table, key, run, &now, &one, stable, passed);
                    run.difference(row).await;
                    if run.is_full() {
                        return Ok(());
                    }
                } else {
                    changing.push(one);
                }
            }
            open = changing;
            seen = now;
        }
    }
    Ok(())
}

fn matches(table: &TableDiff, rows: &Rows, key: &KeyValues) -> bool {
    match (rows.sources.get(key).map(Vec::as_slice), rows.target.get(key)) {
        (None, None) => true,
        (Some([(_, ours)]), Some(theirs)) => differing(table, ours, theirs).is_empty(),
        _ => false,
    }
}

fn differing(table: &TableDiff, ours: &Texts, theirs: &Texts) -> Vec<String> {
    table
        .columns
        .iter()
        .zip(ours.iter().zip(theirs))
        .filter(|(column, (a, b))| !is_equal(column.meaning, a.as_deref(), b.as_deref()))
        .map(|(column, _)| column.name.clone())
        .collect()
}

fn describe(
    table: &TableDiff,
    key: &Key,
    run: &Run,
    rows: &Rows,
    values: &KeyValues,
    stable: bool,
    passed: bool,
) -> DiffRow {
    let ours = rows.sources.get(values).map(Vec::as_slice).unwrap_or_default();
    let theirs = rows.target.get(values);
    let mut detail = Vec::new();
    let (kind, columns) = match (ours, theirs) {
        ([], _) => (DiffKind::ExtraInTarget, Vec::new()),
        (_, None) => (DiffKind::MissingInTarget, Vec::new()),
        ([(_, ours)], Some(theirs)) => (DiffKind::ColumnsDiffer, differing(table, ours, theirs)),
        (several, Some(_)) => {
            detail.push(format!("{} source rows have this key", several.len()));
            (DiffKind::ColumnsDiffer, Vec::new())
        }
    };
    if !stable {
        detail.push("the row changed at every look".to_owned());
    } else if !passed {
        detail.push("the task has not passed the source's position in the given time".to_owned());
    }
    let origin = ours.first().and_then(|(index, _)| table.sources.get(*index));
    DiffRow {
        kind,
        source: origin
            .and_then(|(index, _)| run.sources.get(*index))
            .map_or_else(String::new, |side| side.name().to_owned()),
        source_table: origin.map_or_else(String::new, |(_, name)| name.quoted()),
        target_table: table.target.quoted(),
        key: key.shown(values),
        columns,
        detail: detail.join("; "),
    }
}

async fn read(table: &TableDiff, key: &Key, run: &mut Run, keys: &[KeyValues]) -> Result<Rows, CodedError> {
    let sources = read_sources(table, key, run, keys).await?;
    let target = read_target(table, key, run, keys).await?;
    Ok(Rows { sources, target })
}

async fn read_sources(
    table: &TableDiff,
    key: &Key,
    run: &mut Run,
    keys: &[KeyValues],
) -> Result<HashMap<KeyValues, Vec<(usize, Texts)>>, CodedError> {
    let mut found: HashMap<KeyValues, Vec<(usize, Texts)>> = HashMap::new();
    for (ordinal, ((index, _), relation)) in table.sources.iter().zip(&table.relations).enumerate() {
        for part in keys.chunks(QUERY_KEYS) {
            let side = source(&mut run.sources, *index)?;
            for row in side.query(&rows_sql(table, key, relation, part)).await? {
                let (values, texts) = split(key, row);
                found.entry(values).or_default().push((ordinal, texts));
            }
        }
    }
    Ok(found)
}

async fn read_target(
    table: &TableDiff,
    key: &Key,
    run: &mut Run,
    keys: &[KeyValues],
) -> Result<HashMap<KeyValues, Texts>, CodedError> {
    let mut found = HashMap::new();
    let target = table.target.quoted();
    for part in keys.chunks(QUERY_KEYS) {
        for row in run.target.query(&rows_sql(table, key, &target, part)).await? {
            let (values, texts) = split(key, row);
            found.insert(values, texts);
        }
    }
    Ok(found)
}

fn rows_sql(table: &TableDiff, key: &Key, relation: &str, keys: &[KeyValues]) -> String {
    let columns: String = table.columns.iter().map(|column| format!(", {}", column.text())).collect();
    format!("SELECT {}{columns} FROM {relation} WHERE {}", key.select(), key.any_of(keys))
}

fn split(key: &Key, mut row: TextRow) -> (KeyValues, Texts) {
    let values = key.read(&row);
    let texts = (key.columns.len()..row.len()).map(|index| row.take(index)).collect();
    (values, texts)
}
