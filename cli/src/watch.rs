//! `query-status --watch`: the status once a second, with a bar for every copy.

use std::collections::BTreeMap;
use std::time::Duration;

use dmnode_model::api::QueryStatusRequest;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::client::{Client, Intent};
use crate::exit::{CtlError, Exit};
use crate::output::{Output, flag, list, text};
use crate::status;

/// Pause between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// Steps of a bar.
const BAR_STEPS: u64 = 1000;

/// Shows the status until every task shown is finished.
pub async fn run(client: &Client, output: Output, request: &QueryStatusRequest) -> Result<Exit, CtlError> {
    let mut screen = Screen::new();
    loop {
        let answer = client.call(&Intent::Read, request).await?;
        if !answer.is_ok() {
            return Err(CtlError::Refused(text(&answer.body, "msg").to_owned()));
        }
        if output.is_table() {
            screen.show(&answer.body);
        } else {
            // One document per line, so that a reader can follow.
            output.line(&answer.body.to_string());
        }
        if status::is_all_finished(&answer.body) {
            screen.close();
            if output.is_table() {
                output.line(&status::render(&answer.body));
            }
            return Ok(if status::is_unhealthy(&answer.body) { Exit::Unhealthy } else { Exit::Done });
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// One line per subtask, redrawn in place.
struct Screen {
    lines: MultiProgress,
    bars: BTreeMap<String, ProgressBar>,
}

impl Screen {
    fn new() -> Self {
        Self { lines: MultiProgress::new(), bars: BTreeMap::new() }
    }

    fn show(&mut self, answer: &Value) {
        let mut seen = Vec::new();
        for source in list(answer, "sources") {
            let source_id = text(&source["sourceStatus"], "source");
            if !flag(source, "result") {
                seen.push(self.line(source_id, None, text(source, "msg")));
            }
            for subtask in list(source, "subTaskStatus") {
                let name = format!("{} / {source_id}", text(subtask, "name"));
                let share = if text(subtask, "unit") == "Sync" { None } else { status::copy_share(subtask) };
                seen.push(self.line(&name, share, &message(source, subtask)));
            }
        }
        self.bars.retain(|name, bar| {
            let keep = seen.contains(name);
            if !keep {
                bar.finish_and_clear();
            }
            keep
        });
    }

    fn line(&mut self, name: &str, share: Option<f64>, message: &str) -> String {
        let lines = &self.lines;
        let bar = self.bars.entry(name.to_owned()).or_insert_with(|| {
            let bar = lines.add(ProgressBar::new(BAR_STEPS));
            bar.set_prefix(name.to_owned());
            bar
        });
        let template = if share.is_some() { "{prefix:24} [{bar:30}] {msg}" } else { "{prefix:24} {msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_position((share.unwrap_or_default() * BAR_STEPS as f64) as u64);
        bar.set_message(message.to_owned());
        bar.tick();
        name.to_owned()
    }

    fn close(&mut self) {
        for bar in self.bars.values() {
            bar.finish_and_clear();
        }
        self.bars.clear();
    }
}

fn message(source: &Value, subtask: &Value) -> String {
    let node = text(&source["sourceStatus"], "worker");
    let mut parts =
        vec![format!("{} {}", text(subtask, "unit"), text(subtask, "stage")), status::progress(subtask)];
    let lag = status::lag(subtask);
    if !lag.is_empty() {
        parts.push(format!("lag {lag}"));
    }
    parts.push(format!("on {node}"));
    if let Some(error) = list(&subtask["result"], "errors").first() {
        parts.push(format!("error: {}", text(error, "Message")));
    }
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}
