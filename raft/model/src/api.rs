//! The requests of the control interface: `POST /api/ctl/<kebab-name>` with one of these as JSON body, answered
//! by a message of [`crate::status`]. Field names are DM's.

use serde::{Deserialize, Serialize};

use crate::status::ProcessError;
use crate::tables::TableOp;

/// Header with the client's id of a mutation: the same id again gives the first answer again.
pub const REQUEST_ID_HEADER: &str = "x-dmnode-request-id";
/// Header with the log index an answer reflects.
pub const LOG_INDEX_HEADER: &str = "x-dmnode-log-index";
/// Prefix of all request paths.
pub const CTL_PREFIX: &str = "/api/ctl";

/// A request and the path it is sent to.
pub trait CtlRequest: Serialize + for<'de> Deserialize<'de> {
    /// Last part of the path, such as `start-task`.
    const NAME: &'static str;
    /// Whether it changes anything (and carries a request id).
    const MUTATION: bool;
}

macro_rules! request {
    ($(#[$doc:meta])* $name:ident $path:literal $mutation:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        /// Only the name: requests carry configuration files with passwords.
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }

        impl CtlRequest for $name {
            const NAME: &'static str = $path;
            const MUTATION: bool = $mutation;
        }
    };
}

request! {
    /// start-task.
    StartTaskRequest "start-task" true {
        /// Text of task.yaml.
        task: String,
        /// Only these sources; empty for all.
        sources: Vec<String>,
        /// Drop the task's metadata in the target first.
        remove_meta: bool,
        /// Where to start an incremental task.
        start_time: String,
        /// How long replication begins in safe mode, such as `60s`; empty for not at all.
        safe_mode_duration: String,
        /// What to drop in the target first: objects that `list-created` has listed and somebody has confirmed.
        clean_target: Vec<String>,
    }
}

request! {
    /// What a task has created in the target and `start-task --clean-target` would drop.
    ListCreatedRequest "list-created" false {
        /// Text of task.yaml.
        task: String,
    }
}

request! {
    /// update-task.
    UpdateTaskRequest "update-task" true {
        /// Text of task.yaml.
        task: String,
    }
}

request! {
    /// add-table, remove-table, resync-table.
    OperateTableRequest "operate-table" true {
        /// Which of them.
        op: TableOp,
        /// Task.
        task: String,
        /// Only these sources; empty for all that have the tables.
        sources: Vec<String>,
        /// The source's tables, as `schema.table`.
        tables: Vec<String>,
    }
}

/// What to do with a task.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum TaskOp {
    /// None given.
    #[default]
    InvalidOp,
    /// pause-task.
    Pause,
    /// resume-task.
    Resume,
    /// stop-task.
    Delete,
}

impl TaskOp {
    /// DM's name.
    pub fn as_str(self) -> &'static str {
        match self {
            TaskOp::InvalidOp => "InvalidOp",
            TaskOp::Pause => "Pause",
            TaskOp::Resume => "Resume",
            TaskOp::Delete => "Delete",
        }
    }
}

request! {
    /// pause-task, resume-task, stop-task.
    OperateTaskRequest "operate-task" true {
        /// Which of them.
        op: TaskOp,
        /// Task; empty for all tasks of the one source.
        name: String,
        /// Only these sources; empty for all.
        sources: Vec<String>,
    }
}

/// What to do about an event that the task cannot pass.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum ErrorOp {
    /// None given.
    #[default]
    InvalidErrorOp,
    /// Drop it.
    Skip,
    /// Execute other statements in its place.
    Replace,
    /// Take an earlier decision back.
    Revert,
    /// Execute other statements before it.
    Inject,
    /// Show the decisions that wait.
    List,
}

request! {
    /// binlog skip, replace, revert, inject, list; handle-error.
    HandleErrorRequest "handle-error" true {
        /// Which of them.
        op: ErrorOp,
        /// Task.
        task: String,
        /// Only these sources; empty for all.
        sources: Vec<String>,
        /// Start of the event, as `mysql-bin.000001:4`; empty for the event of the present error.
        binlog_pos: String,
        /// The statements of replace and inject.
        sqls: Vec<String>,
    }
}

request! {
    /// query-status.
    QueryStatusRequest "query-status" false {
        /// Task; empty for all.
        name: String,
        /// Only these sources; empty for all.
        sources: Vec<String>,
    }
}

request! {
    /// check-task.
    CheckTaskRequest "check-task" false {
        /// Text of task.yaml.
        task: String,
        /// Errors to show.
        err_cnt: i64,
        /// Warnings to show.
        warn_cnt: i64,
        /// As in start-task.
        start_time: String,
    }
}

/// What to do with sources.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum SourceOp {
    /// None given.
    #[default]
    InvalidSourceOp,
    /// create.
    StartSource,
    /// update.
    UpdateSource,
    /// stop.
    StopSource,
    /// show.
    ShowSource,
}

request! {
    /// operate-source.
    OperateSourceRequest "operate-source" true {
        /// What.
        op: SourceOp,
        /// Texts of source.yaml files.
        config: Vec<String>,
        /// Sources by id.
        #[serde(rename = "sourceID")]
        source_id: Vec<String>,
        /// Node that shall own it.
        worker_name: String,
    }
}

request! {
    /// transfer-source.
    TransferSourceRequest "transfer-source" true {
        /// Source.
        source: String,
        /// New owner.
        worker: String,
    }
}

request! {
    /// list-member.
    ListMemberRequest "list-member" false {
        /// Show the leader.
        leader: bool,
        /// Show the members of the Raft group.
        master: bool,
        /// Show the workers.
        worker: bool,
        /// Only these; empty for all.
        names: Vec<String>,
    }
}

/// What configuration to show.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfigKind {
    /// A task's file.
    #[default]
    Task,
    /// A source's file.
    Source,
    /// A node's file.
    Master,
    /// A node's file.
    Worker,
    /// A task's file that was stored and never started.
    TaskTemplate,
}

request! {
    /// config, get-config.
    GetConfigRequest "get-config" false {
        /// What.
        #[serde(rename = "type")]
        kind: ConfigKind,
        /// Of which task, source or node.
        name: String,
    }
}

request! {
    /// encrypt.
    EncryptRequest "encrypt" false {
        /// The password.
        plaintext: String,
    }
}

request! {
    /// decrypt (not in DM).
    DecryptRequest "decrypt" false {
        /// The cipher text.
        ciphertext: String,
    }
}

request! {
    /// offline-member.
    OfflineMemberRequest "offline-member" true {
        /// `master` or `worker`.
        #[serde(rename = "type")]
        kind: String,
        /// Node.
        name: String,
    }
}

request! {
    /// operate-leader.
    OperateLeaderRequest "operate-leader" true {
        /// `evict` or `cancel-evict`.
        op: String,
    }
}

request! {
    /// binlog-schema: the definitions of source tables that a task follows.
    BinlogSchemaRequest "binlog-schema" true {
        /// `list`, `update` or `delete`.
        op: String,
        /// Task.
        task: String,
        /// Sources; empty for all of the task.
        sources: Vec<String>,
        /// Database of the source's table.
        database: String,
        /// The source's table.
        table: String,
        /// For `update`: a CREATE TABLE statement.
        schema: String,
        /// For `update`: take the table as the source has it now.
        from_source: bool,
        /// For `update`: take the target's table.
        from_target: bool,
    }
}

request! {
    /// diff: compares the tables of a task. Answered by lines of [`DiffEvent`].
    DiffRequest "diff" false {
        /// Task.
        task: String,
        /// Only these sources; empty for all.
        sources: Vec<String>,
        /// Only these target tables, as `schema.table`; empty for all.
        tables: Vec<String>,
        /// Rows per chunk; 0 for the default.
        chunk_size: u64,
        /// Differences to report; 0 for the default.
        max_differences: u64,
        /// How long to wait for the task to pass a difference before it counts; 0 for the default.
        recheck_seconds: u64,
    }
}

/// One line of a diff's answer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum DiffEvent {
    /// How far it is.
    Progress {
        /// Target table at hand.
        table: String,
        /// Tables done.
        tables_done: u64,
        /// Tables there are.
        tables_total: u64,
        /// Rows compared so far.
        rows_compared: u64,
        /// Differences so far, not yet re-checked ones included.
        differences: u64,
    },
    /// A final difference.
    Difference(DiffRow),
    /// A table is done.
    TableDone {
        /// Target table.
        table: String,
        /// Its source tables, as `source-id: schema.table`.
        sources: Vec<String>,
        /// Rows of the sources.
        source_rows: u64,
        /// Rows of the target.
        target_rows: u64,
        /// Final differences.
        differences: u64,
    },
    /// The end; nothing follows.
    Summary(DiffSummary),
    /// The comparison could not be finished; nothing follows.
    Error {
        /// Why.
        error: ProcessError,
    },
}

/// Kind of a difference.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiffKind {
    /// The source has the row, the target has not.
    MissingInTarget,
    /// The target has the row, no source has.
    ExtraInTarget,
    /// Both have it with different values.
    ColumnsDiffer,
    /// The source has the table, the target has not.
    TableMissingInTarget,
    /// The target has the table, no source has.
    TableExtraInTarget,
    /// The tables' columns cannot be compared.
    SchemaDiffers,
}

/// A difference.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiffRow {
    /// What.
    pub kind: DiffKind,
    /// Source of the row; empty when only the target has it.
    pub source: String,
    /// Source table, `` `schema`.`table` ``; empty likewise.
    pub source_table: String,
    /// Target table.
    pub target_table: String,
    /// Key columns and their values as text; for a table without key, the row's digest and counts.
    pub key: Vec<(String, Option<String>)>,
    /// Names of the columns that differ.
    pub columns: Vec<String>,
    /// A remark, such as how often a row without key occurs on each side.
    pub detail: String,
}

/// What a diff found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DiffSummary {
    /// Whether everything was compared and nothing differs.
    pub equal: bool,
    /// Whether everything was compared; a diff ends early when it has found as many differences as it may report.
    pub complete: bool,
    /// Target tables compared.
    pub tables: u64,
    /// Tables with a difference.
    pub tables_different: u64,
    /// Rows of the sources.
    pub source_rows: u64,
    /// Rows of the target.
    pub target_rows: u64,
    /// Final differences.
    pub differences: u64,
    /// How many of them were reported.
    pub reported: u64,
    /// Differences that went away when looked at again behind the lag.
    pub resolved: u64,
    /// Differences that kept changing until the rounds were used up; they count as differences.
    pub unstable: u64,
    /// Wall-clock time.
    pub elapsed_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_dms_names() {
        let request = StartTaskRequest { remove_meta: true, ..StartTaskRequest::default() };
        assert_eq!(
            serde_json::to_string(&request).unwrap(),
            r#"{"task":"","sources":[],"removeMeta":true,"startTime":"","safeModeDuration":"","cleanTarget":[]}"#
        );
        let request: OperateSourceRequest =
            serde_json::from_str(r#"{"op":"StopSource","sourceID":["a"]}"#).unwrap();
        assert_eq!((request.op, request.source_id), (SourceOp::StopSource, vec!["a".to_owned()]));
        assert!(!format!("{:?}", EncryptRequest { plaintext: "pw".to_owned() }).contains("pw"));
    }

    #[test]
    fn diff_events_are_lines_with_a_tag() {
        let event = DiffEvent::Summary(DiffSummary { equal: true, ..DiffSummary::default() });
        let json = serde_json::to_string(&event).unwrap();
        assert!(json.starts_with(r#"{"event":"summary","equal":true,"complete":false,"#), "{json}");
        assert_eq!(serde_json::from_str::<DiffEvent>(&json).unwrap(), event);
    }
}
