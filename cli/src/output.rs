//! Where text goes: data to stdout, everything else to stderr, colours only where a terminal shows them.

use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use serde_json::Value;

use crate::args::OutputFormat;
use crate::exit::CtlError;
use crate::json::{self, EmptyList};

/// Green.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Yellow.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// Red.
pub const BAD: Style = AnsiColor::Red.on_default();

/// How this process prints.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    format: OutputFormat,
    is_explicit: bool,
}

impl Output {
    /// The format asked for, else a table on a terminal and JSON in a pipe.
    pub fn new(asked: Option<OutputFormat>) -> Self {
        let natural = if std::io::stdout().is_terminal() { OutputFormat::Table } else { OutputFormat::Json };
        Self { format: asked.unwrap_or(natural), is_explicit: asked.is_some() }
    }

    /// Tables, not JSON.
    pub fn is_table(self) -> bool {
        self.format == OutputFormat::Table
    }

    /// JSON was asked for by `-o json`, not only chosen because of a pipe.
    pub fn is_explicit_json(self) -> bool {
        self.is_explicit && !self.is_table()
    }

    /// A table was asked for by `-o table`.
    pub fn is_explicit_table(self) -> bool {
        self.is_explicit && self.is_table()
    }

    /// Prints a value as dmctl does.
    pub fn json(self, value: &Value, empty_list: EmptyList) -> Result<(), CtlError> {
        let text = json::to_text(value, empty_list)
            .map_err(|err| CtlError::Refused(format!("print the answer: {err}")))?;
        self.line(&text);
        Ok(())
    }

    /// Prints data on stdout. A closed pipe is the reader's decision, not an error.
    pub fn line(self, text: &str) {
        let mut out = anstream::stdout().lock();
        let _ = writeln!(out, "{text}");
    }

    /// Prints a note for the person at the keyboard on stderr.
    pub fn note(self, text: &str) {
        let mut out = anstream::stderr().lock();
        let _ = writeln!(out, "{text}");
    }
}

/// Puts `text` in a style.
pub fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// An empty table with these headings.
pub fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(headings);
    table
}

/// A text field of an object, empty when it is absent.
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A number of an object, printed as number or as text.
pub fn number(value: &Value, field: &str) -> Option<u64> {
    match value.get(field)? {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => {
            number.as_u64().or_else(|| number.as_f64().filter(|n| *n >= 0.0).map(|n| n as u64))
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A flag of an object, false when it is absent.
pub fn flag(value: &Value, field: &str) -> bool {
    value.get(field).and_then(Value::as_bool).unwrap_or_default()
}

/// A list of an object, empty when it is absent.
pub fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
