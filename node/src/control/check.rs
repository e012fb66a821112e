//! `check-task`, and the same check before `start-task` stores anything.

use std::time::Duration;

use dmnode_actors::check::{CheckOptions, check_task, probe_source};
use dmnode_model::api::CheckTaskRequest;
use dmnode_model::codes;
use dmnode_model::config::{SourceConfig, SubtaskConfig, TaskConfig};
use dmnode_model::error::CodedError;
use dmnode_model::secret::SecretKey;
use dmnode_model::status::{CheckTaskResponse, CheckedTable};
use dmnode_raft::State;

use super::task::parse_start_time;
use super::{CommandResult, Control, Reply};

/// DM's limit for a whole check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// DM's limit for looking at a source's server before it is stored.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

/// A task with the sources it names, ready to be checked.
pub(super) struct Plan {
    /// Every source of the file with its part of the task.
    pub subtasks: Vec<(SourceConfig, SubtaskConfig)>,
}

/// What a check says.
pub(super) struct Verdict {
    /// Nothing forbids starting.
    pub passed: bool,
    /// DM's text.
    pub text: String,
    /// What is not migrated, and other things worth knowing.
    pub notes: Vec<String>,
    /// Every table in scope and where it goes.
    pub tables: Vec<CheckedTable>,
    /// What matches nothing.
    pub unmatched: Vec<String>,
}

/// Resolves a task against the stored sources.
pub(super) fn plan(state: &State, config: &TaskConfig, key: Option<&SecretKey>) -> Result<Plan, CodedError> {
    let mut subtasks = Vec::new();
    for id in config.source_ids() {
        let entry = state.sources.get(&id).ok_or_else(|| {
            CodedError::new(
                codes::CONFIG_SOURCE_ID_NOT_FOUND,
                format!("source {id} in deployment configuration not found"),
            )
        })?;
        let source = SourceConfig::from_yaml(&entry.config, key)?.value;
        let mut subtask = config.subtask(&id)?;
        subtask.merge_source(&source);
        subtasks.push((source, subtask));
    }
    Ok(Plan { subtasks })
}

impl Control {
    /// `check-task`.
    pub async fn check_task(&self, request: &CheckTaskRequest) -> CommandResult<CheckTaskResponse> {
        let (state, index) = self.raft.read().await?;
        let refused =
            |msg: String| Reply::new(index, CheckTaskResponse { msg, ..CheckTaskResponse::default() });
        let start_time = match parse_start_time(&request.start_time) {
            Ok(start_time) => start_time,
            Err(msg) => return Ok(refused(msg)),
        };
        let parsed = TaskConfig::from_yaml(&request.task, self.settings.secret_key.as_ref());
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(err) => return Ok(refused(err.to_string())),
        };
        let plan = match plan(&state, &parsed.value, self.settings.secret_key.as_ref()) {
            Ok(plan) => plan,
            Err(err) => return Ok(refused(err.to_string())),
        };
        let options = CheckOptions {
            start_time,
            remove_meta: false,
            errors_max: request.err_cnt,
            warnings_max: request.warn_cnt,
        };
        let verdict = precheck(&plan, options).await;
        let mut msg = verdict.text;
        for warning in &parsed.warnings {
            msg.push_str(&format!("\nwarning: {warning}"));
        }
        for note in &verdict.notes {
            msg.push_str(&format!("\nnote: {note}"));
        }
        let (tables, unmatched) = (verdict.tables, verdict.unmatched);
        Ok(Reply::new(index, CheckTaskResponse { result: verdict.passed, msg, tables, unmatched }))
    }
}

/// Checks all the sources of a task and its target.
pub(super) async fn precheck(plan: &Plan, options: CheckOptions) -> Verdict {
    match tokio::time::timeout(CHECK_TIMEOUT, check_task(&plan.subtasks, &options)).await {
        Ok(report) => Verdict {
            passed: report.passed,
            text: report.text,
            notes: report.notes,
            tables: report
                .tables
                .into_iter()
                .map(|table| CheckedTable {
                    source: table.source.to_string(),
                    from: table.from.quoted(),
                    to: table.to.quoted(),
                })
                .collect(),
            unmatched: report.unmatched,
        },
        Err(_) => {
            let err = CodedError::new(
                codes::DB_QUERY_FAILED,
                "query statement failed: the check did not end in time",
            )
            .remedy("check whether the servers answer in time");
            Verdict {
                passed: false,
                text: err.to_string(),
                notes: Vec::new(),
                tables: Vec::new(),
                unmatched: Vec::new(),
            }
        }
    }
}

/// Whether the source's server can be reached and is fit to be a source.
pub(super) async fn probe(source: &SourceConfig) -> Result<(), CodedError> {
    match tokio::time::timeout(PROBE_TIMEOUT, probe_source(source)).await {
        // What the server says of itself is asked again whenever a unit starts: it may change.
        Ok(probed) => probed.map(|_| ()),
        Err(_) => {
            Err(CodedError::new(codes::DB_BAD_CONN, "database driver: the server did not answer in time")
                .object(format!("{}:{}", source.from.host, source.from.port)))
        }
    }
}
