//! Row images to values.
//!
//! How a column's bytes are laid out is told by the table map, what they mean (unsigned or not, which character
//! set) by the table's own description: many sources do not write the latter. Where a source does, it must agree.

mod column;
mod decimal;
pub(crate) mod json;
mod temporal;

use thiserror::Error;

use self::column::ColumnPlan;
use crate::{
    binlog::{Cursor, Malformed, RowsEvent, RowsKind, TableMap},
    table::TableInfo,
    value::{Row, Value},
};

/// What kind of failure a [`DecodeError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeErrorKind {
    /// The table does not look as it did on the source when the rows were written.
    Mismatch,
    /// The row image lacks columns: the source's `binlog_row_image` is not FULL.
    PartialImage,
    /// The bytes are not what they should be.
    Malformed,
    /// A column type that cannot be decoded.
    Unsupported,
}

/// Row images that cannot be decoded, or a table that is not the one they are of.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{what}", column.as_ref().map(|column| format!("column `{column}`: ")).unwrap_or_default())]
pub struct DecodeError {
    /// What kind of failure it is.
    pub kind: DecodeErrorKind,
    /// The column, if the error is about one.
    pub column: Option<String>,
    /// What is wrong.
    pub what: String,
}

impl DecodeError {
    fn new(kind: DecodeErrorKind, column: Option<&str>, what: impl Into<String>) -> Self {
        Self { kind, column: column.map(str::to_owned), what: what.into() }
    }

    fn malformed(column: Option<&str>, error: &Malformed) -> Self {
        Self::new(DecodeErrorKind::Malformed, column, error.what.clone())
    }
}

/// The images of one changed row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowImages {
    /// The row before; not for inserts.
    pub before: Option<Row>,
    /// The row after; not for deletes.
    pub after: Option<Row>,
}

/// Decodes the rows of one table. Made once per table map and table; decoding then costs per value only.
#[derive(Debug, Clone)]
pub struct RowDecoder {
    columns: Vec<ColumnPlan>,
}

impl RowDecoder {
    /// A decoder for rows that come with this table map, into a table that looks like this.
    ///
    /// # Errors
    /// Number, types, names or character sets of the columns do not agree.
    pub fn new(map: &TableMap, table: &TableInfo) -> Result<Self, DecodeError> {
        if map.column_count != table.columns.len() {
            return Err(DecodeError::new(
                DecodeErrorKind::Mismatch,
                None,
                format!(
                    "{} has {} columns in the binlog, and {} has {}",
                    map.name,
                    map.column_count,
                    table.name,
                    table.columns.len()
                ),
            ));
        }
        let columns =
            table.columns.iter().enumerate().map(|(index, column)| ColumnPlan::new(map, index, column));
        Ok(Self { columns: columns.collect::<Result<_, _>>()? })
    }

    /// Decodes an event's rows in order and hands each to `row`, until that returns an error.
    ///
    /// # Errors
    /// The event is malformed, an image lacks columns, or `row` returned an error.
    pub fn decode<E: From<DecodeError>>(
        &self,
        event: &RowsEvent,
        mut row: impl FnMut(RowImages) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = Image::new(self, &event.present)?;
        let after = Image::new(self, &event.present_after)?;
        let mut cursor = Cursor::new(&event.rows);
        while !cursor.is_empty() {
            let start = cursor.position();
            let images = match event.kind {
                RowsKind::Insert => RowImages { before: None, after: Some(after.read(&mut cursor, event)?) },
                RowsKind::Delete => RowImages { before: Some(before.read(&mut cursor, event)?), after: None },
                RowsKind::Update => {
                    let before = before.read(&mut cursor, event)?;
                    RowImages { before: Some(before), after: Some(after.read(&mut cursor, event)?) }
                }
            };
            if cursor.position() == start {
                let what = Malformed::new("row images without bytes");
                return Err(DecodeError::malformed(None, &what).into());
            }
            row(images)?;
        }
        Ok(())
    }
}

/// One side of an event's rows: which columns are in it.
struct Image<'a> {
    columns: &'a [ColumnPlan],
    /// `None` when all are.
    present: Option<Vec<bool>>,
    nulls: usize,
}

impl<'a> Image<'a> {
    fn new(decoder: &'a RowDecoder, bitmap: &[u8]) -> Result<Self, DecodeError> {
        let columns = decoder.columns.as_slice();
        let in_bitmap =
            |index: usize| bitmap.get(index / 8).is_some_and(|byte| byte & (1 << (index % 8)) != 0);
        let present: Vec<bool> = (0..columns.len()).map(in_bitmap).collect();
        for (column, present) in columns.iter().zip(&present) {
            if !present && !column.generated {
                return Err(DecodeError::new(
                    DecodeErrorKind::PartialImage,
                    Some(&column.name),
                    "is not in the row image: the source's binlog_row_image is not FULL",
                ));
            }
        }
        let count = present.iter().filter(|present| **present).count();
        let present = (count < columns.len()).then_some(present);
        Ok(Self { columns, present, nulls: count.div_ceil(8) })
    }

    fn read(&self, cursor: &mut Cursor<'_>, event: &RowsEvent) -> Result<Row, DecodeError> {
        let nulls = cursor.take(self.nulls).map_err(|error| DecodeError::malformed(None, &error))?;
        let mut values = Vec::with_capacity(self.columns.len());
        // The NULL bitmap counts present columns only.
        let mut bit = 0;
        for (index, column) in self.columns.iter().enumerate() {
            if self.present.as_ref().is_some_and(|present| !present[index]) {
                values.push(Value::Absent);
                continue;
            }
            let null = nulls[bit / 8] & (1 << (bit % 8)) != 0;
            bit += 1;
            values.push(if null {
                Value::Null
            } else {
                column
                    .read(cursor, &event.rows)
                    .map_err(|error| DecodeError::malformed(Some(&column.name), &error))?
            });
        }
        Ok(Row { values })
    }
}
