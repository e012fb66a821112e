//! `diff`: progress on stderr, differing keys on stdout, 4 when something differs.

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::args::DiffArgs;
use crate::client::Client;
use crate::exit::{CtlError, Exit};
use crate::files;
use crate::output::{BAD, GOOD, Output, number, styled, text};
use crate::status::grouped;

/// Runs the comparison and prints it as it comes.
pub async fn run(client: &Client, output: Output, sources: Vec<String>, args: &DiffArgs) -> Result<Exit, CtlError> {
    let request = json!({"task": files::task_name(&args.task), "sources": sources, "tables": args.table});
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {elapsed} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let mut state = DiffState::default();
    let streamed = client
        .stream("diff", &request, |event| {
            bar.tick();
            if let Some(msg) = state.take(&event) {
                bar.set_message(msg);
            }
            bar.suspend(|| state.print(output, &event));
            Ok(())
        })
        .await;
    bar.finish_and_clear();
    streamed?;
    state.finish()
}

/// What the events said so far.
#[derive(Debug, Default)]
struct DiffState {
    differences: u64,
    summary: Option<Value>,
    error: Option<Value>,
}

/// The kind of an event and its fields, whether tagged from outside or by a `type` field.
fn kind_and_fields(event: &Value) -> (&str, &Value) {
    if let Some(kind) = event.get("type").or_else(|| event.get("event")).and_then(Value::as_str) {
        return (kind, event);
    }
    match event.as_object().and_then(|object| object.iter().next()) {
        Some((kind, fields)) => (kind, fields),
        None => ("", event),
    }
}

impl DiffState {
    /// Notes an event; the message for the progress line when it changes that.
    fn take(&mut self, event: &Value) -> Option<String> {
        let (kind, fields) = kind_and_fields(event);
        match kind {
            "difference" => self.differences += 1,
            "summary" => self.summary = Some(fields.clone()),
            "error" => self.error = Some(fields.clone()),
            "progress" => return Some(progress_message(fields)),
            _ => {}
        }
        None
    }

    fn print(&self, output: Output, event: &Value) {
        let (kind, fields) = kind_and_fields(event);
        if !output.is_table() {
            if kind == "difference" || kind == "summary" {
                output.line(&event.to_string());
            }
        } else if kind == "difference" {
            output.line(&difference_line(fields));
        }
        if kind == "table_done" {
            output.note(&table_line(fields));
        }
        if kind == "summary" && output.is_table() {
            output.note(&summary_line(fields));
        }
    }

    fn finish(self) -> Result<Exit, CtlError> {
        if let Some(error) = self.error {
            let msg = error.get("msg").or_else(|| error.get("message")).and_then(Value::as_str);
            return Err(CtlError::Refused(msg.map_or_else(|| error.to_string(), str::to_owned)));
        }
        let Some(summary) = self.summary else {
            return Err(CtlError::NotReachable("the comparison ended without a summary; run it again".to_owned()));
        };
        let counted = number(&summary, "differences").unwrap_or(self.differences).max(self.differences);
        let is_equal = summary.get("equal").and_then(Value::as_bool).unwrap_or(counted == 0);
        Ok(if is_equal && counted == 0 { Exit::Done } else { Exit::Unhealthy })
    }
}

fn progress_message(fields: &Value) -> String {
    let table = text(fields, "table");
    let count = |field| number(fields, field).map(grouped).unwrap_or_default();
    format!("tables {}/{}, {} rows compared {table}", count("tables_done"), count("tables_total"), count("rows_compared"))
}

fn difference_line(fields: &Value) -> String {
    let kind = match text(fields, "kind") {
        "" => text(fields, "difference"),
        kind => kind,
    };
    let key = match fields.get("key") {
        Some(Value::String(key)) => key.clone(),
        Some(key) => key.to_string(),
        None => String::new(),
    };
    let detail = [text(fields, "detail"), text(fields, "message")].into_iter().find(|part| !part.is_empty()).unwrap_or_default();
    let columns = fields.get("columns").filter(|value| value.as_array().is_some_and(|list| !list.is_empty()));
    let columns = columns.map(|value| format!(" columns {value}")).unwrap_or_default();
    let source = text(fields, "source");
    let table = text(fields, "table");
    format!("{} {source} {table} {key}{columns} {detail}", styled(BAD, kind)).trim_end().to_owned()
}

fn table_line(fields: &Value) -> String {
    let differences = number(fields, "differences").unwrap_or_default();
    let rows = number(fields, "rows").or_else(|| number(fields, "rows_source")).unwrap_or_default();
    let verdict = if differences == 0 { styled(GOOD, "equal") } else { styled(BAD, &format!("{differences} differences")) };
    format!("{} {}: {} rows, {verdict}", text(fields, "source"), text(fields, "table"), grouped(rows))
}

fn summary_line(fields: &Value) -> String {
    let differences = number(fields, "differences").unwrap_or_default();
    let tables = number(fields, "tables").unwrap_or_default();
    let rows = number(fields, "rows").or_else(|| number(fields, "rows_compared")).unwrap_or_default();
    let line = format!("{tables} tables, {} rows compared, {differences} differences", grouped(rows));
    if differences == 0 { styled(GOOD, &line) } else { styled(BAD, &line) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(events: &[Value]) -> Result<Exit, CtlError> {
        let mut state = DiffState::default();
        for event in events {
            state.take(event);
        }
        state.finish()
    }

    #[test]
    fn a_difference_ends_with_four() {
        let difference = json!({"type": "difference", "table": "`db`.`t`", "kind": "only in source", "key": "id=5"});
        let summary = |differences: u64| json!({"type": "summary", "tables": 1, "differences": differences});
        assert_eq!(outcome(&[summary(0)]).unwrap(), Exit::Done);
        assert_eq!(outcome(&[difference.clone(), summary(1)]).unwrap(), Exit::Unhealthy);
        // More were counted than shown.
        assert_eq!(outcome(&[summary(7)]).unwrap(), Exit::Unhealthy);
        // A summary that contradicts a shown difference does not hide it.
        assert_eq!(outcome(&[difference.clone(), summary(0)]).unwrap(), Exit::Unhealthy);
        assert!(difference_line(&difference).contains("`db`.`t` id=5"));
    }

    #[test]
    fn no_summary_is_never_success() {
        assert_eq!(outcome(&[]).unwrap_err().exit(), Exit::NotReachable);
        let err = outcome(&[json!({"type": "error", "msg": "no such task"})]).unwrap_err();
        assert_eq!((err.exit(), err.to_string()), (Exit::Refused, "no such task".to_owned()));
    }
}
