//! Cutting a table into chunks by ranges of an integer key.

use dmnode_mysql::TableInfo;

use super::chunks::Chunk;

/// Rows of a chunk when the task says nothing.
const CHUNK_ROWS: u64 = 100_000;
/// Bytes of a chunk at most, by estimate.
const CHUNK_BYTES: u64 = 16 << 20;
/// A plan is rows in the target: not too many of them.
const CHUNKS_MAX: u64 = 50_000;

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

/// The column a table can be cut by: the first one of its row identity, if it is an integer.
pub(super) fn cut_column(table: &TableInfo) -> Option<&str> {
    let first = table.row_identity()?.columns.first()?;
    let column = table.columns.get(first.column?)?;
    (column.data_type.is_integer() && !column.nullable && !column.generated).then_some(column.name.as_str())
}

/// Cuts the keys `min..=max` into ranges of about equal width; the first is open below, the last above.
pub(super) fn cut(bounds: Option<(i128, i128)>, size: Size) -> Vec<Chunk> {
    let whole = |lower, upper, number| Chunk { number, lower, upper, done: None };
    let Some((min, max)) = bounds.filter(|(min, max)| min < max) else { return vec![whole(None, None, 0)] };
    let pieces = i128::from(pieces(size));
    let width = max - min + 1;
    let step = ((width + pieces - 1) / pieces).max(1);
    let mut chunks = Vec::new();
    let mut lower = None;
    let mut number = 0;
    let mut bound = min + step;
    while bound <= max {
        chunks.push(whole(lower, Some(bound), number));
        lower = Some(bound);
        number += 1;
        bound += step;
    }
    chunks.push(whole(lower, None, number));
    chunks
}

/// Into how many ranges a table of this size is cut, if its keys allow it.
pub(super) fn pieces(size: Size) -> u64 {
    let row_bytes = size.bytes.checked_div(size.rows).unwrap_or(0).max(1);
    let by_bytes = (size.chunk_bytes.clamp(1, CHUNK_BYTES) / row_bytes).max(1);
    let by_rows = if size.chunk_rows == 0 { CHUNK_ROWS } else { size.chunk_rows };
    size.rows.div_ceil(by_rows.min(by_bytes)).clamp(1, CHUNKS_MAX)
}

/// The condition for the rows of a chunk; empty for the whole table.
pub(super) fn condition(quoted_column: &str, chunk: &Chunk) -> String {
    let lower = chunk.lower.map(|key| format!("{quoted_column} >= {key}"));
    let upper = chunk.upper.map(|key| format!("{quoted_column} < {key}"));
    lower.into_iter().chain(upper).collect::<Vec<_>>().join(" AND ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(rows: u64, bytes: u64) -> Size {
        Size { rows, bytes, chunk_rows: 0, chunk_bytes: 64 << 20 }
    }

    #[test]
    fn ranges_follow_each_other_and_cover_everything() {
        for (bounds, size) in [
            (Some((1, 1_000_000)), size(1_000_000, 200_000_000)),
            (Some((i128::from(i64::MIN), i128::from(i64::MAX))), size(500_000, 50_000_000)),
            (Some((0, i128::from(u64::MAX))), size(10_000_000_000, 1 << 45)),
            (Some((1, 3)), size(900_000, 90_000_000)),
            (Some((5, 5)), size(1, 100)),
            (None, size(0, 0)),
        ] {
            let chunks = cut(bounds, size);
            assert!(chunks.len() <= 50_001);
            assert_eq!(chunks.first().unwrap().lower, None);
            assert_eq!(chunks.last().unwrap().upper, None);
            for pair in chunks.windows(2) {
                assert_eq!(pair[0].upper, pair[1].lower);
                assert!(pair[0].lower.is_none_or(|lower| lower < pair[0].upper.unwrap()));
                assert_eq!(pair[0].number + 1, pair[1].number);
            }
        }
    }

    #[test]
    fn size_and_wishes_set_the_number_of_chunks() {
        assert_eq!(cut(Some((1, 1_000_000)), size(1_000_000, 100_000_000)).len(), 10);
        // 16 MiB of 1 kB rows.
        assert_eq!(cut(Some((1, 1_000_000)), size(1_000_000, 1_000_000_000)).len(), 60);
        let wish = Size { chunk_rows: 1000, ..size(10_000, 100_000) };
        assert_eq!(cut(Some((1, 10_000)), wish).len(), 10);
    }

    #[test]
    fn conditions_are_half_open() {
        let chunk = |lower, upper| Chunk { number: 0, lower, upper, done: None };
        assert_eq!(condition("`a`", &chunk(None, None)), "");
        assert_eq!(condition("`a`", &chunk(None, Some(-5))), "`a` < -5");
        assert_eq!(condition("`a`", &chunk(Some(1), Some(9))), "`a` >= 1 AND `a` < 9");
    }
}
