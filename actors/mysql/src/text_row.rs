//! Rows of the text protocol.

use std::borrow::Cow;

use mysql_async::{Row, Value};

/// A row of a result, its values as the server's text.
#[derive(Debug, Clone)]
pub struct TextRow {
    values: Vec<Value>,
}

impl From<Vec<Option<Vec<u8>>>> for TextRow {
    fn from(values: Vec<Option<Vec<u8>>>) -> Self {
        Self { values: values.into_iter().map(|value| value.map_or(Value::NULL, Value::Bytes)).collect() }
    }
}

impl TextRow {
    pub(crate) fn new(row: Row) -> Self {
        Self { values: row.unwrap() }
    }

    /// Number of columns.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// True when there are no columns.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value's bytes; `None` for NULL and for a column that is not there.
    pub fn bytes(&self, index: usize) -> Option<&[u8]> {
        match self.values.get(index) {
            Some(Value::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// Takes the value's bytes out of the row.
    pub fn take(&mut self, index: usize) -> Option<Vec<u8>> {
        match std::mem::replace(self.values.get_mut(index)?, Value::NULL) {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The value as text; damaged UTF-8 is shown as such.
    pub fn str(&self, index: usize) -> Option<Cow<'_, str>> {
        self.bytes(index).map(String::from_utf8_lossy)
    }

    /// The value as owned text.
    pub fn string(&self, index: usize) -> Option<String> {
        self.str(index).map(Cow::into_owned)
    }

    /// The value as a number.
    pub fn u64(&self, index: usize) -> Option<u64> {
        self.parse(index)
    }

    /// The value as a number.
    pub fn i64(&self, index: usize) -> Option<i64> {
        self.parse(index)
    }

    /// The value as a number.
    pub fn i128(&self, index: usize) -> Option<i128> {
        self.parse(index)
    }

    /// The value as a number.
    pub fn f64(&self, index: usize) -> Option<f64> {
        self.parse(index)
    }

    fn parse<T: std::str::FromStr>(&self, index: usize) -> Option<T> {
        std::str::from_utf8(self.bytes(index)?).ok()?.trim().parse().ok()
    }
}
