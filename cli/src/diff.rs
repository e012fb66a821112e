//! `diff`: progress on stderr, differing keys on stdout, 4 when something differs.

use dmnode_model::api::{DiffEvent, DiffKind, DiffRequest, DiffRow, DiffSummary};
use dmnode_model::status::ProcessError;
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::DiffArgs;
use crate::client::Client;
use crate::exit::{CtlError, Exit};
use crate::files;
use crate::output::{BAD, GOOD, Output, styled};
use crate::status::grouped;

/// Runs the comparison and prints it as it comes.
pub async fn run(
    client: &Client,
    output: Output,
    sources: Vec<String>,
    args: &DiffArgs,
) -> Result<Exit, CtlError> {
    let request = DiffRequest {
        task: files::task_name(&args.task),
        sources,
        tables: args.table.clone(),
        chunk_size: args.chunk_size,
        max_differences: args.max_differences,
        recheck_seconds: args.recheck_seconds,
    };
    let bar = ProgressBar::new_spinner();
    bar.set_style(
        ProgressStyle::with_template("{spinner} {elapsed} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    let mut verdict = Verdict::default();
    let streamed = client
        .stream(&request, |line| {
            let event: DiffEvent = serde_json::from_value(line.clone()).map_err(|err| {
                CtlError::Refused(format!("an event of the comparison is not understood: {err}"))
            })?;
            bar.tick();
            if let DiffEvent::Progress { .. } = &event {
                bar.set_message(shown(&event));
            } else {
                bar.suspend(|| print(output, &event, &line));
            }
            verdict.take(event);
            Ok(())
        })
        .await;
    bar.finish_and_clear();
    streamed?;
    verdict.exit()
}

/// Differences are data, the rest is for the person who waits.
fn print(output: Output, event: &DiffEvent, line: &serde_json::Value) {
    match event {
        DiffEvent::Difference(_) if output.is_table() => output.line(&shown(event)),
        DiffEvent::Difference(_) => output.line(&line.to_string()),
        DiffEvent::Summary(_) => {
            if !output.is_table() {
                output.line(&line.to_string());
            }
            output.note(&shown(event));
        }
        DiffEvent::TableDone { .. } => output.note(&shown(event)),
        DiffEvent::Progress { .. } | DiffEvent::Error { .. } => {}
    }
}

/// What the events amount to.
#[derive(Debug, Default)]
struct Verdict {
    differences: u64,
    summary: Option<DiffSummary>,
    error: Option<ProcessError>,
}

impl Verdict {
    fn take(&mut self, event: DiffEvent) {
        match event {
            DiffEvent::Difference(_) => self.differences += 1,
            DiffEvent::Summary(summary) => self.summary = Some(summary),
            DiffEvent::Error { error } => self.error = Some(error),
            DiffEvent::Progress { .. } | DiffEvent::TableDone { .. } => {}
        }
    }

    /// Equal only if everything that was said agrees on it.
    fn exit(self) -> Result<Exit, CtlError> {
        if let Some(error) = self.error {
            let mut text = format!("error {}: {}", error.code, error.message);
            for (label, part) in [("cause", error.raw_cause), ("remedy", error.workaround)] {
                if !part.is_empty() {
                    text.push_str(&format!("\n    {label}: {part}"));
                }
            }
            return Err(CtlError::Refused(text));
        }
        let Some(summary) = self.summary else {
            return Err(CtlError::NotReachable(
                "the comparison ended without a summary; run it again".to_owned(),
            ));
        };
        let is_equal = summary.equal && summary.complete && summary.differences == 0 && self.differences == 0;
        Ok(if is_equal { Exit::Done } else { Exit::Unhealthy })
    }
}

fn shown(event: &DiffEvent) -> String {
    match event {
        DiffEvent::Progress { table, tables_done, tables_total, rows_compared, differences } => format!(
            "tables {tables_done}/{tables_total}, {} rows compared, {differences} differences to look at; {table}",
            grouped(*rows_compared)
        ),
        DiffEvent::Difference(row) => difference(row),
        DiffEvent::TableDone { table, source_rows, target_rows, differences, .. } => {
            let verdict = verdict(*differences == 0, &format!("{differences} differences"));
            format!(
                "{table}: {} rows in the source, {} in the target: {verdict}",
                grouped(*source_rows),
                grouped(*target_rows)
            )
        }
        DiffEvent::Summary(summary) => {
            let verdict = verdict(
                summary.equal && summary.differences == 0,
                &format!("{} differences", summary.differences),
            );
            let mut text = format!(
                "{} tables, {} rows in the source, {} in the target: {verdict}",
                summary.tables,
                grouped(summary.source_rows),
                grouped(summary.target_rows)
            );
            if !summary.complete {
                text.push_str("; it ended early, there may be more: --max-differences shows more of them");
            }
            if summary.unstable > 0 {
                text.push_str(&format!("; {} kept changing while they were looked at", summary.unstable));
            }
            text
        }
        DiffEvent::Error { error } => error.message.clone(),
    }
}

fn verdict(is_equal: bool, differences: &str) -> String {
    if is_equal { styled(GOOD, "0 differences") } else { styled(BAD, differences) }
}

fn difference(row: &DiffRow) -> String {
    let kind = match row.kind {
        DiffKind::MissingInTarget => "missing in target",
        DiffKind::ExtraInTarget => "extra in target",
        DiffKind::ColumnsDiffer => "columns differ",
        DiffKind::TableMissingInTarget => "table missing in target",
        DiffKind::TableExtraInTarget => "table extra in target",
        DiffKind::SchemaDiffers => "schema differs",
    };
    let key: Vec<String> = row
        .key
        .iter()
        .map(|(column, value)| format!("{column}={}", value.as_deref().unwrap_or("NULL")))
        .collect();
    let mut text = format!("{}: {}", styled(BAD, kind), row.target_table);
    if !key.is_empty() {
        text.push_str(&format!(" ({})", key.join(", ")));
    }
    if !row.source.is_empty() {
        text.push_str(&format!(" from {} {}", row.source, row.source_table));
    }
    if !row.columns.is_empty() {
        text.push_str(&format!(", columns {}", row.columns.join(", ")));
    }
    if !row.detail.is_empty() {
        text.push_str(&format!(", {}", row.detail));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> DiffEvent {
        DiffEvent::Difference(DiffRow {
            kind: DiffKind::ColumnsDiffer,
            source: "s1".to_owned(),
            source_table: "`a`.`t`".to_owned(),
            target_table: "`db`.`t`".to_owned(),
            key: vec![("id".to_owned(), Some("5".to_owned())), ("x".to_owned(), None)],
            columns: vec!["v".to_owned()],
            detail: String::new(),
        })
    }

    fn summary(differences: u64) -> DiffEvent {
        DiffEvent::Summary(DiffSummary {
            equal: differences == 0,
            complete: true,
            differences,
            ..DiffSummary::default()
        })
    }

    fn exit(events: Vec<DiffEvent>) -> Result<Exit, CtlError> {
        let mut verdict = Verdict::default();
        events.into_iter().for_each(|event| verdict.take(event));
        verdict.exit()
    }

    #[test]
    fn a_difference_ends_with_four() {
        assert_eq!(exit(vec![summary(0)]).unwrap(), Exit::Done);
        assert_eq!(exit(vec![row(), summary(1)]).unwrap(), Exit::Unhealthy);
        // More were counted than shown.
        assert_eq!(exit(vec![summary(7)]).unwrap(), Exit::Unhealthy);
        // A summary that contradicts a shown difference does not hide it.
        assert_eq!(exit(vec![row(), summary(0)]).unwrap(), Exit::Unhealthy);
    }

    #[test]
    fn no_summary_is_never_success() {
        assert_eq!(exit(vec![]).unwrap_err().exit(), Exit::NotReachable);
        let error =
            ProcessError { code: 46018, message: "no such task".to_owned(), ..ProcessError::default() };
        let err = exit(vec![DiffEvent::Error { error }]).unwrap_err();
        assert_eq!((err.exit(), err.to_string()), (Exit::Refused, "error 46018: no such task".to_owned()));
    }

    #[test]
    fn a_difference_names_its_row() {
        let text = anstream::adapter::strip_str(&shown(&row())).to_string();
        assert_eq!(text, "columns differ: `db`.`t` (id=5, x=NULL) from s1 `a`.`t`, columns v");
    }
}
