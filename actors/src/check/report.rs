//! What a check found, in DM's shapes.

use dmnode_model::{CodedError, codes};
use serde::Serialize;

use super::{CheckOptions, TableMapping};

/// How an item ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemState {
    /// Nothing found.
    Success,
    /// Something the user should know.
    Warn,
    /// The task cannot start.
    Fail,
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Fails the item, or warns.
    pub severity: ItemState,
    /// What was found; for a failure the coded error.
    pub short_error: String,
    /// Of two things that do not go together, the one.
    #[serde(rename = "self", skip_serializing_if = "String::is_empty")]
    pub own: String,
    /// And the other.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub other: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub instruction: String,
    /// The error's code; 0 for a warning.
    #[serde(skip_serializing_if = "is_zero")]
    pub code: u32,
}

fn is_zero(code: &u32) -> bool {
    *code == 0
}

/// One check and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Its number in the list.
    pub id: u64,
    /// DM's name of it.
    pub name: String,
    /// What is checked.
    pub desc: String,
    /// How it ended.
    pub state: ItemState,
    /// What it found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Finding>,
    /// What to do, of all findings.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub instruction: String,
    /// Where.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub extra: String,
}

impl Item {
    pub(super) fn new(name: &str, desc: &str) -> Item {
        Item {
            id: 0,
            name: name.to_owned(),
            desc: desc.to_owned(),
            state: ItemState::Success,
            errors: Vec::new(),
            instruction: String::new(),
            extra: String::new(),
        }
    }

    pub(super) fn at(mut self, address: &str) -> Item {
        self.extra = format!("address of db instance - {address}");
        self
    }

    pub(super) fn fail(self, err: CodedError) -> Item {
        self.fail_between(err, String::new(), String::new())
    }

    /// Two things do not go together.
    pub(super) fn fail_between(mut self, err: CodedError, own: String, other: String) -> Item {
        self.add(Finding {
            severity: ItemState::Fail,
            own,
            other,
            instruction: err.workaround().to_owned(),
            code: err.code,
            short_error: without_workaround(&err),
        });
        self
    }

    pub(super) fn warn(mut self, text: impl Into<String>, instruction: &str) -> Item {
        self.add(Finding {
            severity: ItemState::Warn,
            own: String::new(),
            other: String::new(),
            short_error: text.into(),
            instruction: instruction.to_owned(),
            code: 0,
        });
        self
    }

    fn add(&mut self, finding: Finding) {
        self.state = self.state.max(finding.severity);
        if !finding.instruction.is_empty() && !self.instruction.split("; ").any(|i| i == finding.instruction)
        {
            if !self.instruction.is_empty() {
                self.instruction.push_str("; ");
            }
            self.instruction.push_str(&finding.instruction);
        }
        self.errors.push(finding);
    }
}

/// An item's text has the advice in a field of its own.
fn without_workaround(err: &CodedError) -> String {
    let text = err.to_string();
    match text.rfind(", Workaround: ") {
        Some(at) if text.ends_with(err.workaround()) => text[..at].to_owned(),
        _ => text,
    }
}

/// Counts over all items, shown or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// No item failed.
    pub passed: bool,
    /// Items checked.
    pub total: u64,
    /// Items without a finding.
    pub successful: u64,
    /// Items that forbid starting.
    pub failed: u64,
    /// Items with warnings only.
    pub warning: u64,
}

/// The outcome of [`check_task`](super::check_task).
#[derive(Debug, Clone)]
pub struct CheckReport {
    /// Nothing forbids starting.
    pub passed: bool,
    /// DM's text for it; empty when nothing was to be checked.
    pub text: String,
    /// Why it did not pass.
    pub error: Option<CodedError>,
    /// Every item.
    pub items: Vec<Item>,
    /// Their counts.
    pub summary: Summary,
    /// Every table in scope and where it goes.
    pub tables: Vec<TableMapping>,
    /// Patterns and rules that match nothing.
    pub unmatched: Vec<String>,
    /// What is not migrated and other things worth knowing, one sentence each.
    pub notes: Vec<String>,
}

#[derive(Serialize)]
struct Detail<'a> {
    results: Vec<Item>,
    summary: &'a Summary,
}

impl CheckReport {
    pub(super) fn nothing_checked() -> CheckReport {
        CheckReport {
            passed: true,
            text: String::new(),
            error: None,
            items: Vec::new(),
            summary: Summary { passed: true, ..Summary::default() },
            tables: Vec::new(),
            unmatched: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(super) fn not_started(err: CodedError) -> CheckReport {
        let mut report = Self::nothing_checked();
        report.passed = false;
        report.summary.passed = false;
        report.text = err.to_string();
        report.error = Some(err);
        report
    }

    pub(super) fn of(
        mut items: Vec<Item>,
        tables: Vec<TableMapping>,
        notes: Vec<String>,
        options: &CheckOptions,
    ) -> CheckReport {
        let mut summary = Summary::default();
        for (id, item) in items.iter_mut().enumerate() {
            item.id = id as u64;
            summary.total += 1;
            match item.state {
                ItemState::Success => summary.successful += 1,
                ItemState::Warn => summary.warning += 1,
                ItemState::Fail => summary.failed += 1,
            }
        }
        summary.passed = summary.failed == 0;
        let mut report = CheckReport {
            passed: summary.passed,
            text: String::new(),
            error: None,
            items,
            summary,
            tables,
            unmatched: Vec::new(),
            notes,
        };
        if summary.failed + summary.warning == 0 {
            report.text = "pre-check is passed. ".to_owned();
            return report;
        }
        let detail = report.detail(options);
        if summary.passed {
            report.text = format!(
                "fail to check synchronization configuration with type: no errors but some warnings\n detail: {detail}"
            );
        } else {
            let err = CodedError::new(
                codes::TASK_CHECK_SYNC_CONFIG_ERROR,
                format!(
                    "fail to check synchronization configuration with type: check was failed, please see detail detail: {detail}"
                ),
            );
            report.text = err.to_string();
            report.error = Some(err);
        }
        report
    }

    /// The items with findings, cut to the number of findings that is to be shown, as JSON.
    fn detail(&self, options: &CheckOptions) -> String {
        let mut left = [options.errors_max, options.warnings_max];
        let mut results = Vec::new();
        for item in &self.items {
            let mut shown = item.clone();
            shown.errors.retain(|finding| {
                let left = &mut left[usize::from(finding.severity == ItemState::Warn)];
                *left = (*left).checked_sub(1).unwrap_or(*left);
                // A negative limit shows all and stays negative.
                *left >= 0 || options_unlimited(options, finding.severity)
            });
            if !shown.errors.is_empty() {
                results.push(shown);
            }
        }
        let detail = Detail { results, summary: &self.summary };
        let mut out = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(
            &mut out,
            serde_json::ser::PrettyFormatter::with_indent(b"\t"),
        );
        match detail.serialize(&mut serializer) {
            Ok(()) => String::from_utf8_lossy(&out).into_owned(),
            Err(err) => err.to_string(),
        }
    }
}

fn options_unlimited(options: &CheckOptions, severity: ItemState) -> bool {
    match severity {
        ItemState::Warn => options.warnings_max < 0,
        _ => options.errors_max < 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(items: Vec<Item>, errors_max: i64) -> CheckReport {
        let options = CheckOptions { errors_max, ..CheckOptions::default() };
        CheckReport::of(items, Vec::new(), Vec::new(), &options)
    }

    #[test]
    fn texts_are_dms() {
        assert_eq!(report(vec![Item::new("a", "b")], 10).text, "pre-check is passed. ");
        let warned =
            report(vec![Item::new("mysql_version", "check it").warn("too new", "upgrade").at("h:1")], 10);
        assert!(warned.passed);
        assert_eq!(
            warned.text,
            "fail to check synchronization configuration with type: no errors but some warnings\n detail: {\n\
             \t\"results\": [\n\t\t{\n\t\t\t\"id\": 0,\n\t\t\t\"name\": \"mysql_version\",\n\t\t\t\"desc\": \"check it\",\n\
             \t\t\t\"state\": \"warn\",\n\t\t\t\"errors\": [\n\t\t\t\t{\n\t\t\t\t\t\"severity\": \"warn\",\n\
             \t\t\t\t\t\"short_error\": \"too new\",\n\t\t\t\t\t\"instruction\": \"upgrade\"\n\t\t\t\t}\n\t\t\t],\n\
             \t\t\t\"instruction\": \"upgrade\",\n\t\t\t\"extra\": \"address of db instance - h:1\"\n\t\t}\n\t],\n\
             \t\"summary\": {\n\t\t\"passed\": true,\n\t\t\"total\": 1,\n\t\t\"successful\": 0,\n\t\t\"failed\": 0,\n\
             \t\t\"warning\": 1\n\t}\n}"
        );
        let failed = report(
            vec![
                Item::new("x", "y")
                    .fail(CodedError::new(codes::CHECK_BINLOG_OFF, "log_bin is OFF").remedy("switch it on")),
            ],
            10,
        );
        assert!(!failed.passed);
        assert!(failed.text.starts_with("[code=26005:"), "{}", failed.text);
        assert!(failed.text.contains("check was failed, please see detail detail: {"), "{}", failed.text);
        assert!(failed.text.contains("[code=66002:"), "{}", failed.text);
        assert_eq!(failed.items[0].errors[0].instruction, "switch it on");
        assert!(!failed.items[0].errors[0].short_error.contains("Workaround"));
    }

    #[test]
    fn limits_cut_findings_and_not_counts() {
        let item =
            |n: u32| Item::new("x", "y").fail(CodedError::new(codes::CHECK_VERSION, format!("finding {n}")));
        let cut = report(vec![item(1), item(2), item(3)], 2);
        assert!(cut.text.contains("finding 2") && !cut.text.contains("finding 3"));
        assert_eq!(cut.summary.failed, 3);
        let none = report(vec![item(1)], 0);
        assert!(!none.text.contains("finding 1") && !none.passed);
        assert!(report(vec![item(1), item(2)], -1).text.contains("finding 2"));
    }
}
