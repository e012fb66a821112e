//! Row images to values.

use thiserror::Error;

use crate::{
    binlog::{RowsEvent, TableMap},
    table::TableInfo,
    value::Row,
};

/// Row images that cannot be decoded, or a table that is not the one they are of.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{what}", column.as_ref().map(|column| format!("column `{column}`: ")).unwrap_or_default())]
pub struct DecodeError {
    /// The column, if the error is about one.
    pub column: Option<String>,
    /// What is wrong.
    pub what: String,
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
pub struct RowDecoder {}

impl RowDecoder {
    /// A decoder for rows that come with this table map, into a table that looks like this.
    ///
    /// # Errors
    /// Number or types of the columns do not agree.
    pub fn new(_map: &TableMap, _table: &TableInfo) -> Result<Self, DecodeError> {
        todo!()
    }

    /// Decodes an event's rows in order and hands each to `row`, until that returns an error.
    ///
    /// # Errors
    /// The event is malformed, an image lacks columns, or `row` returned an error.
    pub fn decode<E: From<DecodeError>>(
        &self,
        _event: &RowsEvent,
        _row: impl FnMut(RowImages) -> Result<(), E>,
    ) -> Result<(), E> {
        todo!()
    }
}
