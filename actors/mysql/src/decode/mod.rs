//! Row images to values.
//!
//! How a column's bytes are laid out is told by the table map, what they mean (unsigned or not, which character
//! set) by the table's own description: many sources do not write the latter. Where a source does, it must agree.

mod column;
mod decimal;
pub(crate) mod json;
mod json_diff;
mod temporal;

#[cfg(test)]
mod fuzz;

use bytes::Bytes;
use thiserror::Error;

use self::column::ColumnPlan;
use crate::{
    binlog::{Cursor, Malformed, RowsEvent, RowsKind, TableMap, share},
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
                RowsKind::Update if event.partial => {
                    let mut documents = Vec::new();
                    let before = before.read_with(&mut cursor, event, Documents::Collect(&mut documents))?;
                    let after = after.read_partial(&mut cursor, event, &documents)?;
                    RowImages { before: Some(before), after: Some(after) }
                }
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

/// What is done with JSON documents on the way.
enum Documents<'a> {
    Ignore,
    /// Of each JSON column, in binary form.
    Collect(&'a mut Vec<Option<Bytes>>),
    /// What some of them are differences to.
    Differences {
        before: &'a [Option<Bytes>],
        partial: &'a [u8],
    },
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
        self.read_with(cursor, event, Documents::Ignore)
    }

    /// The image after a partial update: before it stands which JSON columns have differences only.
    fn read_partial(
        &self,
        cursor: &mut Cursor<'_>,
        event: &RowsEvent,
        before: &[Option<Bytes>],
    ) -> Result<Row, DecodeError> {
        const PARTIAL_JSON: u64 = 1;
        let malformed = |error: Malformed| DecodeError::malformed(None, &error);
        let options = cursor.lenenc().map_err(malformed)?;
        let partial = if options & PARTIAL_JSON == 0 {
            &[][..]
        } else {
            cursor.take(before.len().div_ceil(8)).map_err(malformed)?
        };
        self.read_with(cursor, event, Documents::Differences { before, partial })
    }

    fn read_with(
        &self,
        cursor: &mut Cursor<'_>,
        event: &RowsEvent,
        mut documents: Documents<'_>,
    ) -> Result<Row, DecodeError> {
        let mut document = 0;
        let nulls = cursor.take(self.nulls).map_err(|error| DecodeError::malformed(None, &error))?;
        let mut values = Vec::with_capacity(self.columns.len());
        // The NULL bitmap counts present columns only.
        let mut bit = 0;
        for (index, column) in self.columns.iter().enumerate() {
            if self.present.as_ref().is_some_and(|present| !present[index]) {
                // The bits of a partial update count all JSON columns.
                if column.is_json() {
                    document += 1;
                    if let Documents::Collect(found) = &mut documents {
                        found.push(None);
                    }
                }
                values.push(Value::Absent);
                continue;
            }
            let null = nulls[bit / 8] & (1 << (bit % 8)) != 0;
            bit += 1;
            if column.is_json() {
                let number = document;
                document += 1;
                let malformed = |error: Malformed| DecodeError::malformed(Some(&column.name), &error);
                match &mut documents {
                    Documents::Ignore => {}
                    Documents::Collect(found) => {
                        let mut ahead = *cursor;
                        let bytes = (!null).then(|| column.json_document(&mut ahead)).transpose();
                        found.push(bytes.map_err(malformed)?.map(|bytes| share(&event.rows, bytes)));
                    }
                    Documents::Differences { before, partial } => {
                        let set = partial.get(number / 8).is_some_and(|byte| byte & (1 << (number % 8)) != 0);
                        if set && !null {
                            let before = before.get(number).and_then(Option::as_ref).ok_or_else(|| {
                                malformed(Malformed::new("differences to a document that is NULL"))
                            })?;
                            let diffs = column.json_document(cursor).map_err(malformed)?;
                            let after = json_diff::apply(before, diffs).map_err(malformed)?;
                            values.push(column::json_value(&after.into()).map_err(malformed)?);
                            continue;
                        }
                    }
                }
            }
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
