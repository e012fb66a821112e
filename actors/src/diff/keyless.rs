//! Tables without a common key: compared as multisets of rows.

use std::collections::HashMap;

use dmnode_model::api::{DiffKind, DiffRow};
use dmnode_model::error::CodedError;

use super::Run;
use super::side::Side;
use super::table::{RowDigest, TableDiff, source};

/// Different rows held at once; larger tables are looked at in slices.
const ENTRIES_MAX: u64 = 200_000;
/// Differing rows that are judged; a table with more is reported up to here.
const SUSPECTS_MAX: usize = 1000;
const ROUNDS: u32 = 8;

/// Digest by the server, and ours over it and the JSON values.
type Identity = (Vec<u8>, Option<RowDigest>);
/// How often a row occurs.
type Counts = HashMap<Identity, u64>;

/// Compares; gives the number of source and target rows.
pub(super) async fn compare(table: &TableDiff, run: &mut Run) -> Result<(u64, u64), CodedError> {
    let (ours, theirs) = table.checksums(run, "1 = 1").await?;
    run.progress(&table.target, ours.rows).await;
    if table.has_json() || !ours.proves_equal(&theirs) {
        let slices = ours.rows.max(theirs.rows).div_ceil(ENTRIES_MAX).max(1);
        for slice in 0..slices {
            let condition = format!("MOD(CRC32(COALESCE(h, '')), {slices}) = {slice}");
            let sources = count_sources(table, run, &condition).await?;
            let target = count_target(table, run, &condition).await?;
            let mut suspects: Vec<Identity> = sources
                .keys()
                .chain(target.keys())
                .filter(|one| sources.get(*one) != target.get(*one) || one.1.is_none())
                .cloned()
                .collect();
            suspects.sort();
            suspects.dedup();
            let too_many = suspects.len() > SUSPECTS_MAX;
            suspects.truncate(SUSPECTS_MAX);
            judge(table, run, suspects, sources).await?;
            if too_many || run.is_full() {
                run.summary.complete = false;
                break;
            }
        }
    }
    Ok((ours.rows, theirs.rows))
}

async fn judge(
    table: &TableDiff,
    run: &mut Run,
    mut open: Vec<Identity>,
    mut seen: Counts,
) -> Result<(), CodedError> {
    let mut round = 0;
    while !open.is_empty() {
        round += 1;
        let passed = run.lag.pass(&mut run.sources, &mut run.target, &table.indexes).await?;
        let digests: Vec<String> = open
            .iter()
            // A digest is hexadecimal; nothing else gets into the statement.
            .filter(|(digest, _)| digest.iter().all(u8::is_ascii_hexdigit))
            .map(|(digest, _)| format!("'{}'", String::from_utf8_lossy(digest)))
            .collect();
        let condition = format!("COALESCE(h, '') IN ({})", digests.join(", "));
        let target = count_target(table, run, &condition).await?;
        let sources = count_sources(table, run, &condition).await?;
        let mut changing = Vec::new();
        for one in open {
            let count = |counts: &Counts| counts.get(&one).copied().unwrap_or(0);
            let (ours, theirs) = (count(&sources), count(&target));
            let stable = count(&seen) == ours;
            if ours == theirs && one.1.is_some() {
                run.summary.resolved += 1;
            } else if stable || round == ROUNDS {
                run.summary.unstable += u64::from(!stable);
                run.difference(describe(table, run, &one, ours, theirs, stable, passed)).await;
                if run.is_full() {
                    return Ok(());
                }
            } else {
                changing.push(one);
            }
        }
        open = changing;
        seen = sources;
    }
    Ok(())
}

fn describe(
    table: &TableDiff,
    run: &Run,
    one: &Identity,
    ours: u64,
    theirs: u64,
    stable: bool,
    passed: bool,
) -> DiffRow {
    let kind = if ours > theirs { DiffKind::MissingInTarget } else { DiffKind::ExtraInTarget };
    let mut detail =
        format!("{ours} times in the source, {theirs} times in the target; the table has no key");
    if one.1.is_none() {
        detail.push_str("; the server could not digest the row, so it cannot be compared");
    }
    if !stable {
        detail.push_str("; the count changed at every look");
    } else if !passed {
        detail.push_str("; the task has not passed the source's position in the given time");
    }
    let digest: String = match &one.1 {
        Some(digest) => digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        None => String::new(),
    };
    let (origin, name) = match table.sources.as_slice() {
        [(index, name)] => (run.sources.get(*index).map_or("", Side::name).to_owned(), name.quoted()),
        _ => (String::new(), String::new()),
    };
    DiffRow {
        kind,
        source: origin,
        source_table: name,
        target_table: table.target.quoted(),
        key: vec![("row digest".to_owned(), Some(digest))],
        columns: Vec::new(),
        detail,
    }
}

async fn count_sources(table: &TableDiff, run: &mut Run, condition: &str) -> Result<Counts, CodedError> {
    let mut counts = Counts::new();
    for ((index, _), relation) in table.sources.iter().zip(&table.relations) {
        count(table, source(&mut run.sources, *index)?, relation, condition, &mut counts).await?;
    }
    Ok(counts)
}

async fn count_target(table: &TableDiff, run: &mut Run, condition: &str) -> Result<Counts, CodedError> {
    let mut counts = Counts::new();
    count(table, &mut run.target, &table.target.quoted(), condition, &mut counts).await?;
    Ok(counts)
}

/// Adds up the rows whose digest `h` meets the condition.
async fn count(
    table: &TableDiff,
    side: &mut Side,
    relation: &str,
    condition: &str,
    counts: &mut Counts,
) -> Result<(), CodedError> {
    let sql = format!(
        "SELECT * FROM (SELECT {} AS h{} FROM {relation}) AS d WHERE {condition}",
        table.digest(),
        table.json_select()
    );
    side.rows(&sql, |row| {
        let digest = row.bytes(0).unwrap_or_default().to_vec();
        *counts.entry((digest, table.row_digest(row, 0))).or_default() += 1;
    })
    .await
}
