//! One target table and its source tables, ready to be compared.

use std::collections::BTreeSet;

use dmnode_model::api::{DiffKind, DiffRow};
use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::ids::{TableName, quote_ident};
use dmnode_mysql::{KeyColumn, TableInfo, TextRow};
use sha2::{Digest as _, Sha256};

use super::columns::{Columns, ComparedColumn, Meaning};
use super::keys::Key;
use super::plan::TablePair;
use super::side::Side;
use super::{Run, json, keyed, keyless};
use crate::extended::{Constant, constants};

/// Digest of a row.
pub(super) type RowDigest = [u8; 32];

/// A table under comparison.
pub(super) struct TableDiff {
    pub target: TableName,
    /// Index of the source, and its table.
    pub sources: Vec<(usize, TableName)>,
    /// What is read of each of them, as it stands behind FROM.
    pub relations: Vec<String>,
    pub indexes: BTreeSet<usize>,
    pub columns: Vec<ComparedColumn>,
    pub key: Option<Key>,
}

impl TableDiff {
    /// Reads the definitions. Columns on one side only are reported here, when they stay so behind the lag.
    pub async fn prepare(run: &mut Run, pair: &TablePair) -> Result<TableDiff, CodedError> {
        let indexes = pair.source_indexes();
        let mut loaded = load(run, pair).await?;
        let mut columns = Columns::pair(&loaded.target, &loaded.sources);
        if !columns.missing.is_empty() || !columns.extra.is_empty() || !loaded.unfit.is_empty() {
            run.lag.pass(&mut run.sources, &mut run.target, &indexes).await?;
            loaded = load(run, pair).await?;
            columns = Columns::pair(&loaded.target, &loaded.sources);
        }
        let Loaded { target, sources: infos, relations, unfit } = loaded;
        let differing: Vec<String> = columns.missing.iter().chain(&columns.extra).cloned().collect();
        if !differing.is_empty() || !unfit.is_empty() {
            let mut detail = unfit;
            for (what, names) in
                [("not in the target", &columns.missing), ("only in the target", &columns.extra)]
            {
                if !names.is_empty() {
                    detail.push(format!("{what}: {}", names.join(", ")));
                }
            }
            run.difference(DiffRow {
                kind: DiffKind::SchemaDiffers,
                source: String::new(),
                source_table: String::new(),
                target_table: pair.target.quoted(),
                key: Vec::new(),
                columns: differing,
                detail: detail.join("; "),
            })
            .await;
        }
        Ok(TableDiff {
            key: Key::common(&target, &infos),
            target: target.name,
            sources: pair.sources.clone(),
            relations,
            indexes,
            columns: columns.common,
        })
    }

    /// Compares the rows; gives the number of source and target rows.
    pub async fn compare(&self, run: &mut Run) -> Result<(u64, u64), CodedError> {
        match &self.key {
            Some(key) => keyed::compare(self, key, run).await,
            None => keyless::compare(self, run).await,
        }
    }

    /// Whether some values can only be compared here, not by the servers.
    pub fn has_json(&self) -> bool {
        self.json().next().is_some()
    }

    fn json(&self) -> impl Iterator<Item = &ComparedColumn> {
        self.columns.iter().filter(|column| column.meaning == Meaning::Json)
    }

    /// The server's digest of a row, over all columns it can judge.
    pub fn digest(&self) -> String {
        let marked: Vec<String> = self
            .columns
            .iter()
            .filter(|column| column.meaning != Meaning::Json)
            .map(ComparedColumn::marked)
            .collect();
        if marked.is_empty() {
            return "SHA2('', 256)".to_owned();
        }
        format!("SHA2(CONCAT({}), 256)", marked.join(", ',', "))
    }

    /// Select list of the columns only we can judge, each with a leading comma.
    pub fn json_select(&self) -> String {
        self.json().enumerate().map(|(index, column)| format!(", {} AS j{index}", column.text())).collect()
    }

    /// The digest of a row whose server's digest is at `first` and whose JSON columns follow. `None` when the server
    /// could not make one.
    pub fn row_digest(&self, row: &TextRow, first: usize) -> Option<RowDigest> {
        let mut hash = Sha256::new();
        hash.update(row.bytes(first)?);
        for index in first + 1..row.len() {
            match row.bytes(index) {
                None => hash.update([0]),
                Some(text) => {
                    let text = json::canonical(text);
                    hash.update([1]);
                    hash.update((text.len() as u64).to_be_bytes());
                    hash.update(text);
                }
            }
        }
        Some(hash.finalize().into())
    }

    /// Count and sums over the digests of the rows that meet a condition. Sums, not XOR: rows may be equal.
    pub fn checksum_sql(&self, table: &str, condition: &str) -> String {
        let part =
            |start: u8| format!("SUM(CAST(CONV(SUBSTRING(h, {start}, 16), 16, 10) AS DECIMAL(20, 0)))");
        // The LIMIT keeps the server from computing the digest once for each sum.
        format!(
            "SELECT COUNT(*), COUNT(h), {}, {} FROM (SELECT {} AS h FROM {table} WHERE {condition} \
             LIMIT 18446744073709551615) AS d",
            part(1),
            part(17),
            self.digest()
        )
    }

    /// Checksums of both sides.
    pub async fn checksums(
        &self,
        run: &mut Run,
        condition: &str,
    ) -> Result<(Checksum, Checksum), CodedError> {
        let Run { target, sources, .. } = run;
        let of_sources = async {
            let mut sum = Checksum::default();
            for ((index, _), relation) in self.sources.iter().zip(&self.relations) {
                sum.add(&checksum(source(sources, *index)?, &self.checksum_sql(relation, condition)).await?);
            }
            Ok::<_, CodedError>(sum)
        };
        let target_sql = self.checksum_sql(&self.target.quoted(), condition);
        tokio::try_join!(of_sources, checksum(target, &target_sql))
    }
}

/// Checksum of a set of rows.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Checksum {
    pub rows: u64,
    /// Rows the server could not digest: never equal to anything.
    undigested: u64,
    sums: [u128; 2],
}

impl Checksum {
    fn add(&mut self, other: &Checksum) {
        self.rows += other.rows;
        self.undigested += other.undigested;
        for (own, other) in self.sums.iter_mut().zip(other.sums) {
            *own = own.wrapping_add(other);
        }
    }

    /// Whether the rows are certainly the same.
    pub fn proves_equal(&self, other: &Checksum) -> bool {
        self == other && self.undigested == 0
    }
}

async fn checksum(side: &mut Side, sql: &str) -> Result<Checksum, CodedError> {
    let rows = side.query(sql).await?;
    let number = |index: usize| rows.first().and_then(|row| row.u64(index)).unwrap_or(0);
    let sum = |index: usize| -> u128 {
        let text = rows.first().and_then(|row| row.string(index)).unwrap_or_default();
        text.parse().unwrap_or(0)
    };
    Ok(Checksum { rows: number(0), undigested: number(0).saturating_sub(number(1)), sums: [sum(2), sum(3)] })
}

/// A source of the task.
pub(super) fn source(sources: &mut [Side], index: usize) -> Result<&mut Side, CodedError> {
    sources
        .get_mut(index)
        .ok_or_else(|| CodedError::new(codes::INTERNAL, "a table of the comparison has no source"))
}

/// What the tables are; those of the sources with what their routes add.
struct Loaded {
    target: TableInfo,
    sources: Vec<TableInfo>,
    relations: Vec<String>,
    /// Columns of routes that cannot be compared.
    unfit: Vec<String>,
}

async fn load(run: &mut Run, pair: &TablePair) -> Result<Loaded, CodedError> {
    let target = load_one(&mut run.target, &pair.target).await?;
    let mut loaded = Loaded { target, sources: Vec::new(), relations: Vec::new(), unfit: Vec::new() };
    for ((index, name), route) in pair.sources.iter().zip(&pair.extended) {
        let mut info = load_one(source(&mut run.sources, *index)?, name).await?;
        let mut relation = name.quoted();
        match constants(route, &info, &loaded.target) {
            Ok(added) if added.is_empty() => {}
            Ok(added) => {
                relation = extended_relation(&info, &added);
                extend(&mut info, &added);
            }
            Err(misfit) => {
                loaded.unfit.push(format!("{name}: column {} {}", quote_ident(&misfit.column), misfit.why))
            }
        }
        loaded.sources.push(info);
        loaded.relations.push(relation);
    }
    Ok(loaded)
}

/// The source's rows with the constants of its route. Servers merge this into the query around it.
fn extended_relation(info: &TableInfo, added: &[Constant]) -> String {
    let own = info.columns.iter().map(|column| quote_ident(&column.name));
    let constants = added
        .iter()
        .map(|constant| format!("{} AS {}", constant.sql(false), quote_ident(&constant.column.name)));
    let list: Vec<String> = own.chain(constants).collect();
    format!("(SELECT {} FROM {}) AS source_rows", list.join(", "), info.name)
}

/// With the constants as columns. What is unique without them is so with any of them.
fn extend(info: &mut TableInfo, added: &[Constant]) {
    let own = info.columns.len();
    info.columns.extend(added.iter().map(Constant::at_source));
    let mut keys = Vec::new();
    for key in info.keys.iter().filter(|key| key.unique) {
        // At most three columns: the table's, the schema's and the source's.
        for chosen in 1..(1_u32 << added.len().min(3)) {
            let mut key = key.clone();
            let parts = (0..added.len()).filter(|place| chosen & (1 << place) != 0);
            key.columns.extend(parts.map(|place| KeyColumn {
                column: Some(own + place),
                prefix_len: None,
                expression: None,
            }));
            keys.push(key);
        }
    }
    info.keys.extend(keys);
}

async fn load_one(side: &mut Side, name: &TableName) -> Result<TableInfo, CodedError> {
    match TableInfo::load(side.connection().await?, name).await {
        Ok(Some(info)) => Ok(info),
        Ok(None) => Err(CodedError::new(
            codes::DIFF_TABLE_CHANGED,
            "the table was dropped or renamed while it was compared",
        )),
        Err(error) => Err(side.error(&error)),
    }
}
