//! Another server has taken the source's place, and the stream goes on there by GTID. What was remembered by positions
//! of the former server means nothing any more: the watermark's position, ends of safe mode, decisions of operators. It
//! goes before the first event of the new server is read.

use dmnode_model::ids::SourceId;
use dmnode_model::{BinlogPosition, StreamDecision};

use super::notes::Notes;
use super::origin::{Link, Origin};
use super::safe_mode::SafeMode;
use super::stream::{Halt, Stream};
use crate::progress::ProgressUpdate;
use crate::progress::meta::{EVIDENCE, Facts, SOURCE, Statements, VOID};

/// Decisions whose event is on a server that is not the source any more: one a line, as they are remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Void(Vec<String>);

impl Void {
    /// Reads what was written.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().map(str::to_owned).collect())
    }

    /// As it is remembered.
    pub fn text(&self) -> String {
        self.0.join("\n")
    }

    /// Whether the decision is one of them.
    pub fn contains(&self, decision: &StreamDecision) -> bool {
        self.0.contains(&line(decision))
    }

    /// All that wait now; those that are gone are forgotten.
    pub fn all(decisions: &[StreamDecision]) -> Self {
        Self(decisions.iter().map(line).collect())
    }
}

/// A decision that is given again, after the switch, has another number.
fn line(decision: &StreamDecision) -> String {
    format!("{} {}", decision.number, decision.position)
}

/// What a switch needs.
pub struct Switch {
    /// The subtask's facts.
    pub facts: Facts,
    /// Its notes.
    pub notes: Notes,
    /// Its source.
    pub source: SourceId,
    /// The table of windows of safe mode.
    pub windows: String,
    /// All decisions that wait.
    pub waiting: Vec<StreamDecision>,
}

impl Switch {
    /// The statements, and what to tell the operator.
    pub fn statements(
        &mut self,
        former: &str,
        link: &Link,
        safe_mode: &mut SafeMode,
    ) -> (Vec<String>, String) {
        let origin = link.origin.lock().clone();
        let origin = origin.unwrap_or(Origin { server: String::new(), anchor: None });
        let mut note = format!(
            "another server answers at the source's address: {} instead of {former}; it has all that was read, the task went on by GTID",
            origin.server
        );
        if let Some(unproven) = &*link.unproven.lock() {
            note.push_str(&format!("; {unproven}"));
        }
        if !self.waiting.is_empty() {
            let places: Vec<String> =
                self.waiting.iter().take(5).map(|one| one.position.to_string()).collect();
            note.push_str(&format!(
                "; {} decision(s) about positions of the former server are not followed ({}); `binlog revert` takes them back",
                self.waiting.len(),
                places.join(", ")
            ));
        }
        let mut statements = vec![
            self.facts.put_sql(SOURCE, &origin.to_string()),
            self.facts.put_sql(EVIDENCE, ""),
            self.facts.put_sql(VOID, &Void::all(&self.waiting).text()),
            self.notes.add(&self.facts, &note),
        ];
        statements.extend(safe_mode.switched(&self.windows, &self.source));
        (statements, note)
    }
}

impl Stream {
    /// The stream goes on at another server: what is in flight comes into the target first.
    pub(super) async fn change_over(&mut self, former: &str) -> Result<(), Halt> {
        self.barrier().await?;
        let (statements, note) = self.switch.statements(former, &self.link, &mut self.safe_mode);
        self.decisions.void();
        self.shared.window.lock().advance(&BinlogPosition::default());
        *self.shared.settled.lock() = None;
        let mut applier = self.appliers[0].lock().await;
        applier.flush(&self.shared, true).await?;
        applier.conn.apply(&ProgressUpdate::unchanged(), &mut Statements(statements)).await?;
        drop(applier);
        *self.shared.safe_mode.lock() = self.safe_mode.status();
        self.shared.warn(note);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use dmnode_model::StreamOp;

    use super::*;

    #[test]
    fn a_decision_given_again_is_not_void() {
        let decision = |number, pos| StreamDecision {
            position: BinlogPosition::new("bin.000001", pos),
            op: StreamOp::Skip,
            statements: Vec::new(),
            number,
        };
        let void = Void::parse(&Void::all(&[decision(7, 4), decision(8, 900)]).text());
        assert!(void.contains(&decision(7, 4)) && void.contains(&decision(8, 900)));
        assert!(!void.contains(&decision(9, 4)) && !void.contains(&decision(7, 900)));
        assert_eq!(Void::parse(""), Void::default());
    }
}
