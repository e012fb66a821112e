//! Cutting a table into chunks of about equal numbers of rows, whatever its keys look like.
//!
//! An integer key is cut by its width first; then the server's index tells by estimate how many rows lie in each piece, and
//! crowded pieces are halved, empty ones joined. Keys of other types, and the rows that share one integer, are walked along
//! their index. The boundaries need not be exact: that a row belongs to one chunk is for [`super::key`] to know.

use dmnode_model::error::CodedError;
use dmnode_model::ids::quote_ident;
use dmnode_mysql::{Connection, TableInfo, TextRow};

use super::chunks::Chunk;
use super::copy::read_error;
use super::key::{Bound, KeyKind, KeyPart, KeyValue, condition, is_plain, key_parts};

/// Rows of a chunk when the task says nothing.
const CHUNK_ROWS: u64 = 100_000;
/// Bytes of a chunk at most, by estimate.
const CHUNK_BYTES: u64 = 16 << 20;
/// A plan is rows in the target: not too many of them.
const CHUNKS_MAX: u64 = 50_000;
/// How many estimates a table may cost beyond a few for each piece: as many as find the crowded places of any key.
const ESTIMATES_MORE: u64 = 1000;
/// How often a boundary that cannot be used is looked for further on; then the rest is one chunk.
const STEPS_FURTHER: u32 = 8;
/// Columns of a boundary at most: every one makes the condition longer.
const PARTS_MAX: usize = 4;

/// Estimates of a table and wishes of the task.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub rows: u64,
    pub bytes: u64,
    /// `rows` of the task, 0 for the default.
    pub chunk_rows: u64,
    /// `chunk-filesize` of the task.
    pub chunk_bytes: u64,
}

/// Cuts a table, on a connection in UTC that is given raw bytes. Answers the columns it is cut by and the chunks; the
/// first is open below, the last above. Calls `pause` now and then.
pub(super) async fn cut<E: From<CodedError>>(
    conn: &mut Connection,
    table: &TableInfo,
    size: Size,
    pause: &(dyn Fn() -> Result<(), E> + Sync),
) -> Result<(Vec<KeyPart>, Vec<Chunk>), E> {
    let mut parts = key_parts(table);
    parts.truncate(PARTS_MAX);
    let pieces = pieces(size);
    let (Some(first), Some(index)) = (parts.first(), table.row_identity()) else {
        return Ok(chunks_of(parts, vec![]));
    };
    if pieces < 2 {
        return Ok(chunks_of(parts, Vec::new()));
    }
    let is_integer = first.kind == KeyKind::Integer;
    let wanted = (size.rows / pieces).max(1);
    let index = quote_ident(&index.name);
    let mut cutter = Cutter { conn, table, index, parts: &parts, wanted, bounds: Vec::new(), pause };
    if is_integer {
        cutter.by_estimate(pieces).await?;
    } else {
        cutter.walk(None, None).await?;
    }
    let bounds = cutter.bounds;
    Ok(chunks_of(parts, bounds))
}

/// Into how many ranges a table of this size is cut, if its keys allow it.
fn pieces(size: Size) -> u64 {
    let row_bytes = size.bytes.checked_div(size.rows).unwrap_or(0).max(1);
    let by_bytes = (size.chunk_bytes.clamp(1, CHUNK_BYTES) / row_bytes).max(1);
    let by_rows = if size.chunk_rows == 0 { CHUNK_ROWS } else { size.chunk_rows };
    size.rows.div_ceil(by_rows.min(by_bytes)).clamp(1, CHUNKS_MAX)
}

/// The ranges between boundaries, and the columns these have values of.
fn chunks_of(mut parts: Vec<KeyPart>, bounds: Vec<Bound>) -> (Vec<KeyPart>, Vec<Chunk>) {
    parts.truncate(bounds.iter().map(Vec::len).max().unwrap_or(0));
    let ends = bounds.into_iter().map(Some).chain([None]);
    let mut lower = None;
    let chunks = ends.zip(0..).map(|(upper, number)| {
        let chunk = Chunk { number, lower: lower.take(), upper: upper.clone(), done: None };
        lower = upper;
        chunk
    });
    let chunks = chunks.collect();
    (parts, chunks)
}

/// Finds the boundaries of one table.
struct Cutter<'a, E> {
    conn: &'a mut Connection,
    table: &'a TableInfo,
    /// The key's index, quoted.
    index: String,
    parts: &'a [KeyPart],
    /// Rows of a chunk.
    wanted: u64,
    /// What was found, ascending.
    bounds: Vec<Bound>,
    pause: &'a (dyn Fn() -> Result<(), E> + Sync),
}

impl<E: From<CodedError>> Cutter<'_, E> {
    async fn query(&mut self, sql: &str) -> Result<Option<TextRow>, E> {
        let row = self.conn.query_one(sql).await.map_err(|err| read_error(&err, &self.table.name))?;
        (self.pause)()?;
        Ok(row)
    }

    fn is_full(&self) -> bool {
        self.bounds.len() as u64 >= CHUNKS_MAX
    }

    /// Boundaries of an integer: pieces of equal width, which are halved and joined until the index has about as many
    /// rows as wanted in each.
    async fn by_estimate(&mut self, pieces: u64) -> Result<(), E> {
        let Some(column) = self.parts.first().map(|part| quote_ident(&part.name)) else { return Ok(()) };
        let row =
            self.query(&format!("SELECT MIN({column}), MAX({column}) FROM {}", self.table.name)).await?;
        let key = |index: usize| row.as_ref()?.i128(index);
        let Some((min, max)) = key(0).zip(key(1)) else { return Ok(()) };
        let mut left = equal_pieces(min, max, pieces);
        left.reverse();
        let mut estimates = pieces.saturating_mul(8).saturating_add(ESTIMATES_MORE);
        let mut filled: u64 = 0;
        while let Some((low, high)) = left.pop() {
            if self.is_full() || estimates == 0 {
                break;
            }
            estimates -= 1;
            let (from, to) = (vec![KeyValue::Integer(low)], vec![KeyValue::Integer(high)]);
            let rows = self.estimate(&from, &to).await?;
            let is_crowded = rows > self.wanted.saturating_mul(2);
            if is_crowded && high - low > 1 {
                let middle = low + (high - low) / 2;
                left.extend([(middle, high), (low, middle)]);
            } else if is_crowded && self.parts.len() > 1 {
                // One value with very many rows is cut by the columns behind it.
                self.push(from.clone(), min);
                self.walk(Some(&from), Some(&to)).await?;
                if high <= max {
                    self.push(to, min);
                }
                filled = 0;
            } else {
                if filled > 0 && filled + rows > self.wanted + self.wanted / 2 {
                    self.push(from, min);
                    filled = 0;
                }
                filled += rows;
            }
        }
        Ok(())
    }

    /// Below the smallest key there is nothing, and no boundary stands twice.
    fn push(&mut self, bound: Bound, min: i128) {
        if bound != [KeyValue::Integer(min)] && self.bounds.last() != Some(&bound) {
            self.bounds.push(bound);
        }
    }

    /// How many rows the index has between two keys, by the server's estimate.
    async fn estimate(&mut self, from: &Bound, to: &Bound) -> Result<u64, E> {
        let range = condition(self.parts, Some(from), Some(to));
        // Not FORCE INDEX: MySQL does not look into an index that it has to take anyway.
        let sql = format!(
            "EXPLAIN FORMAT=TRADITIONAL SELECT 1 FROM {} USE INDEX ({}) WHERE {range}",
            self.table.name, self.index
        );
        let row = self.query(&sql).await?;
        // `rows` stands before `Extra`; MySQL has `filtered` between them.
        let rows = row.and_then(|row| row.u64(if row.len() >= 12 { 9 } else { 8 }));
        Ok(rows.unwrap_or(0))
    }

    /// Boundaries along the index, from a key on and below another: every so many rows one.
    async fn walk(&mut self, from: Option<&Bound>, to: Option<&Bound>) -> Result<(), E> {
        let columns: Vec<String> = self.parts.iter().map(|part| quote_ident(&part.name)).collect();
        let columns = columns.join(", ");
        let mut low = from.cloned();
        let mut rows = self.wanted;
        let mut tries = 0;
        while !self.is_full() && tries <= STEPS_FURTHER {
            let range = condition(self.parts, low.as_ref(), to);
            let filter = if range.is_empty() { range } else { format!(" WHERE {range}") };
            let sql = format!(
                "SELECT {columns} FROM {} FORCE INDEX ({}){filter} ORDER BY {columns} LIMIT 1 OFFSET {rows}",
                self.table.name, self.index
            );
            if low.as_ref() == from && tries == 0 && self.is_sorted(&sql).await? {
                return Ok(());
            }
            let Some(row) = self.query(&sql).await? else { return Ok(()) };
            let values = self.parts.iter().enumerate();
            let bound: Option<Bound> = values.map(|(at, part)| part.read(row.bytes(at)?)).collect();
            match bound.filter(|bound| is_plain(bound) && low.as_ref() != Some(bound)) {
                Some(bound) => {
                    self.bounds.push(bound.clone());
                    (low, rows, tries) = (Some(bound), self.wanted, 0);
                }
                None => (rows, tries) = (rows.saturating_mul(2), tries + 1),
            }
        }
        Ok(())
    }

    /// Whether the server would sort the rows instead of walking along the index (its columns have different directions):
    /// then every step would cost as much as the whole table.
    async fn is_sorted(&mut self, sql: &str) -> Result<bool, E> {
        let row = self.query(&format!("EXPLAIN FORMAT=TRADITIONAL {sql}")).await?;
        let extra = row.and_then(|row| row.string(row.len().saturating_sub(1))).unwrap_or_default();
        Ok(extra.contains("filesort") || extra.contains("temporary"))
    }
}

/// The keys `min..=max` in ranges of about equal width, each with its smallest key and that of the next.
fn equal_pieces(min: i128, max: i128, pieces: u64) -> Vec<(i128, i128)> {
    let width = max - min + 1;
    let pieces = i128::from(pieces);
    let step = ((width + pieces - 1) / pieces).max(1);
    let mut ranges = Vec::new();
    let mut low = min;
    while low <= max {
        let high = (low + step).min(max + 1);
        ranges.push((low, high));
        low = high;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(rows: u64, bytes: u64) -> Size {
        Size { rows, bytes, chunk_rows: 0, chunk_bytes: 64 << 20 }
    }

    #[test]
    fn equal_pieces_follow_each_other_and_cover_everything() {
        for (min, max, pieces) in [
            (1, 1_000_000, 10),
            (i128::from(i64::MIN), i128::from(i64::MAX), 5),
            (0, i128::from(u64::MAX), 50_000),
            (1, 3, 9),
            (5, 5, 1),
        ] {
            let ranges = equal_pieces(min, max, pieces);
            assert!(ranges.len() as u64 <= pieces);
            assert_eq!((ranges[0].0, ranges.last().unwrap().1), (min, max + 1));
            assert!(ranges.windows(2).all(|pair| pair[0].1 == pair[1].0));
            assert!(ranges.iter().all(|(low, high)| low < high));
        }
    }

    #[test]
    fn chunks_are_the_ranges_between_boundaries() {
        let bound = |values: &[i128]| values.iter().copied().map(KeyValue::Integer).collect::<Bound>();
        let parts =
            ["a", "b", "c"].map(|name| KeyPart { name: name.to_owned(), kind: KeyKind::Integer }).to_vec();
        let (key, chunks) = chunks_of(parts.clone(), vec![bound(&[1]), bound(&[1, 5]), bound(&[2])]);
        assert_eq!(key.len(), 2);
        assert_eq!(chunks.len(), 4);
        assert!(chunks[0].lower.is_none() && chunks[3].upper.is_none());
        for pair in chunks.windows(2) {
            assert_eq!(pair[0].upper, pair[1].lower);
            assert_eq!(pair[0].number + 1, pair[1].number);
        }
        let (key, chunks) = chunks_of(parts, Vec::new());
        assert!(
            key.is_empty() && chunks.len() == 1 && chunks[0].lower.is_none() && chunks[0].upper.is_none()
        );
    }

    #[test]
    fn size_and_wishes_set_the_number_of_chunks() {
        assert_eq!(pieces(size(1_000_000, 100_000_000)), 10);
        // 16 MiB of 1 kB rows.
        assert_eq!(pieces(size(1_000_000, 1_000_000_000)), 60);
        assert_eq!(pieces(size(10_000_000_000, 1 << 45)), 50_000);
        assert_eq!(pieces(Size { chunk_rows: 1000, ..size(10_000, 100_000) }), 10);
        assert_eq!(pieces(size(0, 0)), 1);
    }
}
