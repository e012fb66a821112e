//! The answers of the control interface, in DM's protobuf JSON: every field in declared order, 64 bit numbers
//! as strings, an unset message as `null`, an unset member of a choice left out. What dmnode adds comes after
//! DM's own fields.

mod numbers;

use serde::{Deserialize, Serialize};

use numbers::{double, int64};

macro_rules! message {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
    };
}

/// Stage of a subtask, of a relay or of a validator.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum Stage {
    /// Unknown: nobody handles it at the moment.
    #[default]
    InvalidStage,
    /// Made, not started.
    New,
    /// At work.
    Running,
    /// Held by the operator or by an error.
    Paused,
    /// Ended by the operator.
    Stopped,
    /// Done.
    Finished,
    /// On the way to Paused.
    Pausing,
    /// On the way to Running.
    Resuming,
    /// On the way to Stopped.
    Stopping,
}

impl Stage {
    /// DM's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::InvalidStage => "InvalidStage",
            Stage::New => "New",
            Stage::Running => "Running",
            Stage::Paused => "Paused",
            Stage::Stopped => "Stopped",
            Stage::Finished => "Finished",
            Stage::Pausing => "Pausing",
            Stage::Resuming => "Resuming",
            Stage::Stopping => "Stopping",
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Kind of work a subtask is at.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum UnitType {
    /// None.
    #[default]
    InvalidUnit,
    /// Precheck.
    Check,
    /// Reading the source into files.
    Dump,
    /// Full copy into the target.
    Load,
    /// Continuous replication.
    Sync,
    /// Copying the binlog to disk.
    Relay,
}

impl UnitType {
    /// DM's name.
    pub fn as_str(self) -> &'static str {
        match self {
            UnitType::InvalidUnit => "InvalidUnit",
            UnitType::Check => "Check",
            UnitType::Dump => "Dump",
            UnitType::Load => "Load",
            UnitType::Sync => "Sync",
            UnitType::Relay => "Relay",
        }
    }
}

impl std::fmt::Display for UnitType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error as `query-status` shows it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessError {
    /// Number.
    #[serde(rename = "ErrCode")]
    pub code: u32,
    /// Area.
    #[serde(rename = "ErrClass")]
    pub class: String,
    /// `upstream`, `downstream`, `internal` or `not-set`.
    #[serde(rename = "ErrScope")]
    pub scope: String,
    /// `low`, `medium` or `high`.
    #[serde(rename = "ErrLevel")]
    pub level: String,
    /// What happened, where.
    #[serde(rename = "Message")]
    pub message: String,
    /// The error below.
    #[serde(rename = "RawCause")]
    pub raw_cause: String,
    /// What to do.
    #[serde(rename = "Workaround")]
    pub workaround: String,
}

message! {
    /// How a unit ended.
    ProcessResult {
        /// By pause or stop rather than by itself.
        is_canceled: bool,
        /// Why, if it failed.
        errors: Vec<ProcessError>,
        /// Never set.
        detail: Option<String>,
    }
}

message! {
    /// DM's CommonWorkerResponse: the answer for one source.
    CommonWorkerResponse {
        /// Whether it went well.
        result: bool,
        /// Why not, or a remark.
        msg: String,
        /// Source.
        source: String,
        /// Node that owns it.
        worker: String,
    }
}

message! {
    /// Answer of start-task.
    StartTaskResponse {
        /// Whether all went well.
        result: bool,
        /// Why not.
        msg: String,
        /// One answer for each source.
        sources: Vec<CommonWorkerResponse>,
        /// Text of the precheck.
        check_result: String,
    }
}

message! {
    /// Answer of binlog-schema.
    OperateSchemaResponse {
        /// Whether all went well.
        result: bool,
        /// Why not.
        msg: String,
        /// One answer for each source; its message is the definition.
        sources: Vec<CommonWorkerResponse>,
    }
}

message! {
    /// Answer of pause-task, resume-task and stop-task (`op` is Pause, Resume or Delete).
    OperateTaskResponse {
        /// The operation.
        op: String,
        /// Whether all went well.
        result: bool,
        /// Why not.
        msg: String,
        /// One answer for each source.
        sources: Vec<CommonWorkerResponse>,
    }
}

message! {
    /// One task in [`OperateTasksResponse`].
    OperatedTask {
        /// Task.
        task: String,
        /// The operation.
        op: String,
        /// Whether all went well.
        result: bool,
        /// Why not.
        msg: String,
        /// One answer for each source.
        sources: Vec<CommonWorkerResponse>,
    }
}

message! {
    /// Answer of a task operation over all tasks of one source.
    OperateTasksResponse {
        /// Whether all went well.
        result: bool,
        /// Why not.
        msg: String,
        /// In order of name.
        tasks: Vec<OperatedTask>,
    }
}

message! {
    /// Answer of operate-source.
    OperateSourceResponse {
        /// Whether all went well.
        result: bool,
        /// Why not.
        msg: String,
        /// One answer for each source.
        sources: Vec<CommonWorkerResponse>,
    }
}

message! {
    /// Answer without more to say: check-task, transfer-source, offline-member, operate-leader.
    PlainResponse {
        /// Whether it went well.
        result: bool,
        /// Why not, or the text.
        msg: String,
    }
}

message! {
    /// Answer of list-created.
    ListCreatedResponse {
        /// Whether it went well.
        result: bool,
        /// Why not.
        msg: String,
        /// Quoted names in the target, tables before databases.
        objects: Vec<String>,
    }
}

message! {
    /// Answer of check-task.
    CheckTaskResponse {
        /// Whether nothing forbids starting.
        result: bool,
        /// DM's text.
        msg: String,
        /// Every table in scope and where it goes (ours).
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tables: Vec<CheckedTable>,
        /// Patterns and rules that match nothing (ours).
        #[serde(skip_serializing_if = "Vec::is_empty")]
        unmatched: Vec<String>,
    }
}

message! {
    /// A table of a checked task.
    CheckedTable {
        /// Source.
        source: String,
        /// Its name there, quoted.
        from: String,
        /// Its name in the target, quoted.
        to: String,
    }
}

message! {
    /// Answer of config and get-config.
    GetConfigResponse {
        /// Whether it went well.
        result: bool,
        /// Why not.
        msg: String,
        /// The text, passwords masked.
        cfg: String,
    }
}

message! {
    /// Answer of encrypt.
    EncryptResponse {
        /// Whether it went well.
        result: bool,
        /// Why not.
        msg: String,
        /// The cipher text.
        ciphertext: String,
    }
}

message! {
    /// Answer of decrypt (not in DM).
    DecryptResponse {
        /// Whether it went well.
        result: bool,
        /// Why not.
        msg: String,
        /// The plain text: this one answer shows a password, because it was asked for.
        plaintext: String,
    }
}

message! {
    /// Full answer of query-status.
    QueryStatusListResponse {
        /// Whether every source answered.
        result: bool,
        /// Why not.
        msg: String,
        /// In order of source.
        sources: Vec<SourceStatusEntry>,
    }
}

message! {
    /// Short answer of query-status.
    QueryStatusSummary {
        /// Whether all went well.
        result: bool,
        /// Why not.
        msg: String,
        /// In order of name.
        tasks: Vec<TaskSummary>,
    }
}

message! {
    /// One task in [`QueryStatusSummary`].
    TaskSummary {
        /// Task.
        task_name: String,
        /// A stage, or a sentence beginning with `Error`.
        task_status: String,
        /// Its sources.
        sources: Vec<String>,
    }
}

message! {
    /// One source in the full answer of query-status.
    SourceStatusEntry {
        /// Whether the source's node answered.
        result: bool,
        /// Why not.
        msg: String,
        /// The source itself.
        source_status: Option<SourceStatus>,
        /// Its subtasks, in order of task name.
        sub_task_status: Vec<SubTaskStatus>,
    }
}

message! {
    /// State of a source on its node.
    SourceStatus {
        /// Source.
        source: String,
        /// Node that owns it.
        worker: String,
        /// Its error, if it has one.
        result: Option<ProcessResult>,
        /// The relay, if one runs.
        relay_status: Option<RelayStatus>,
    }
}

message! {
    /// State of a relay.
    RelayStatus {
        /// End of the source's binlog.
        master_binlog: String,
        /// The same as a GTID set.
        master_binlog_gtid: String,
        /// Directory of the relay log.
        relay_sub_dir: String,
        /// End of the relay log.
        relay_binlog: String,
        /// The same as a GTID set.
        relay_binlog_gtid: String,
        /// Whether the relay has all of the source.
        relay_catch_up_master: bool,
        /// Stage.
        stage: Stage,
        /// How it ended.
        result: Option<ProcessResult>,
    }
}

/// State of a subtask: one task on one source.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubTaskStatus {
    /// Task.
    pub name: String,
    /// Stage.
    pub stage: Stage,
    /// What it is at.
    pub unit: UnitType,
    /// How it ended.
    pub result: Option<ProcessResult>,
    /// Shard DDL lock it waits for.
    #[serde(rename = "unresolvedDDLLockID")]
    pub unresolved_ddl_lock_id: String,
    /// In place of a unit's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg: Option<String>,
    /// Set while the unit is Check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckStatus>,
    /// Set while the unit is Dump.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dump: Option<DumpStatus>,
    /// Set while the unit is Load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadStatus>,
    /// Set while the unit is Sync.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncStatus>,
    /// The validator, if one is on.
    pub validation: Option<ValidationStatus>,
    /// What DM does not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dmnode: Option<SubTaskExtra>,
}

message! {
    /// State of a precheck.
    CheckStatus {
        /// Whether nothing failed.
        passed: bool,
        /// Number of checks.
        total: i32,
        /// Without remark.
        successful: i32,
        /// Failed.
        failed: i32,
        /// With a warning.
        warning: i32,
        /// Never set.
        detail: Option<String>,
    }
}

message! {
    /// State of a dump.
    DumpStatus {
        /// Number of tables.
        #[serde(with = "int64")]
        total_tables: u64,
        /// Tables done.
        #[serde(with = "double")]
        completed_tables: f64,
        /// Bytes read.
        #[serde(with = "double")]
        finished_bytes: f64,
        /// Rows read.
        #[serde(with = "double")]
        finished_rows: f64,
        /// Rows there are, estimated.
        #[serde(with = "double")]
        estimate_total_rows: f64,
        /// Bytes a second.
        #[serde(with = "int64")]
        bps: u64,
        /// Such as `30.52 %`.
        progress: String,
    }
}

/// State of a full copy.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadStatus {
    /// Bytes written.
    #[serde(with = "int64")]
    pub finished_bytes: u64,
    /// Bytes there are, estimated.
    #[serde(with = "int64")]
    pub total_bytes: u64,
    /// Such as `25.44 %`.
    pub progress: String,
    /// Position of the snapshot.
    pub meta_binlog: String,
    /// The same as a GTID set.
    #[serde(rename = "metaBinlogGTID")]
    pub meta_binlog_gtid: String,
    /// Bytes a second.
    #[serde(with = "int64")]
    pub bps: u64,
}

/// State of a shard group that waits for a DDL.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ShardingGroup {
    /// Target table.
    pub target: String,
    /// The statements.
    #[serde(rename = "DDLs")]
    pub ddls: Vec<String>,
    /// Where the first was met.
    pub first_location: String,
    /// Tables that have met it.
    pub synced: Vec<String>,
    /// Tables that have not.
    pub unsynced: Vec<String>,
}

/// State of continuous replication.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncStatus {
    /// Rows and statements applied since the subtask started.
    #[serde(with = "int64")]
    pub total_events: u64,
    /// The same, a second, since the start.
    #[serde(with = "int64")]
    pub total_tps: u64,
    /// The same, a second, lately.
    #[serde(with = "int64")]
    pub recent_tps: u64,
    /// End of the source's binlog.
    pub master_binlog: String,
    /// The same as a GTID set.
    pub master_binlog_gtid: String,
    /// How far everything is applied.
    pub syncer_binlog: String,
    /// The same as a GTID set.
    pub syncer_binlog_gtid: String,
    /// DDL that waits for a shard lock.
    #[serde(rename = "blockingDDLs")]
    pub blocking_ddls: Vec<String>,
    /// Shard groups that wait.
    pub unresolved_groups: Vec<ShardingGroup>,
    /// Whether the source has nothing more.
    pub synced: bool,
    /// `remote` (from the source), `local` (from the relay) or `unknown`.
    pub binlog_type: String,
    /// Lag.
    #[serde(with = "int64")]
    pub seconds_behind_master: u64,
    /// Source and table that hold an optimistic conflict.
    #[serde(rename = "blockDDLOwner")]
    pub block_ddl_owner: String,
    /// The conflict.
    pub conflict_msg: String,
    /// As `totalEvents`.
    #[serde(with = "int64")]
    pub total_rows: u64,
    /// As `totalTps`.
    #[serde(with = "int64")]
    pub total_rps: u64,
    /// As `recentTps`.
    #[serde(with = "int64")]
    pub recent_rps: u64,
    /// Bytes written to the target.
    #[serde(rename = "ioTotalBytes", with = "int64")]
    pub io_total_bytes: u64,
    /// Bytes of it by the full copy.
    #[serde(rename = "dumpIOTotalBytes", with = "int64")]
    pub dump_io_total_bytes: u64,
    /// Changes that did not meet in the target what they met at the source, since the task began (ours).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<ConflictCount>,
    /// What somebody should look at, although the task goes on; the newest last (ours).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Safe mode, while it is on: why and until when (ours).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safe_mode: Option<SafeModeStatus>,
    /// The large transaction that is being streamed into the target (ours).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub large_transaction: Option<LargeTransactionStatus>,
    /// Statements on objects that are not migrated, since the subtask started (ours).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_migrated: Vec<NotMigratedCount>,
}

message! {
    /// Statements that were passed over because they carry no rows.
    NotMigratedCount {
        /// `view`, `trigger`, `routine`, `event`, `user`, `grant`, `sequence` and so on.
        kind: String,
        /// How many.
        count: u64,
    }
}

message! {
    /// How often something did not meet in the target what it met at the source.
    ConflictCount {
        /// `update-repaired`, `update-ignored`, `delete-ignored`, `insert-present`, `update-present`, `safe-mode-replaced`.
        kind: String,
        /// How often.
        count: u64,
    }
}

message! {
    /// Safe mode.
    SafeModeStatus {
        /// Why it is on.
        reason: String,
        /// Until where or when.
        until: String,
    }
}

message! {
    /// A transaction too large for memory on its way.
    LargeTransactionStatus {
        /// Where it was when it turned out to be large.
        location: String,
        /// Row changes sent to the target so far.
        rows: u64,
        /// Bytes of its binlog read so far.
        bytes: u64,
        /// Seconds since it began to be streamed.
        seconds: u64,
    }
}

impl Default for SyncStatus {
    fn default() -> Self {
        Self {
            total_events: 0,
            total_tps: 0,
            recent_tps: 0,
            // DM prints an unset position this way.
            master_binlog: "(, 0)".to_owned(),
            master_binlog_gtid: String::new(),
            syncer_binlog: "(, 0)".to_owned(),
            syncer_binlog_gtid: String::new(),
            blocking_ddls: Vec::new(),
            unresolved_groups: Vec::new(),
            synced: false,
            binlog_type: "unknown".to_owned(),
            seconds_behind_master: 0,
            block_ddl_owner: String::new(),
            conflict_msg: String::new(),
            total_rows: 0,
            total_rps: 0,
            recent_rps: 0,
            io_total_bytes: 0,
            dump_io_total_bytes: 0,
            conflicts: Vec::new(),
            warnings: Vec::new(),
            safe_mode: None,
            large_transaction: None,
            not_migrated: Vec::new(),
        }
    }
}

message! {
    /// State of a validator.
    ValidationStatus {
        /// Task.
        task: String,
        /// Source.
        source: String,
        /// `fast` or `full`.
        mode: String,
        /// Running or Stopped.
        stage: Stage,
        /// How far it is.
        validator_binlog: String,
        /// The same as a GTID set.
        validator_binlog_gtid: String,
        /// How it ended.
        result: Option<ProcessResult>,
        /// Counters as text.
        processed_rows_status: String,
        /// Counters as text.
        pending_rows_status: String,
        /// Counters as text.
        error_rows_status: String,
        /// Where the cutover happens.
        cutover_binlog_pos: String,
        /// The same as a GTID set.
        cutover_binlog_gtid: String,
    }
}

message! {
    /// What dmnode knows of a subtask beyond DM.
    SubTaskExtra {
        /// Which start of the unit this is.
        generation: u64,
        /// Why earlier generations ended, counted.
        restarts: RestartCounts,
        /// Cause of the last restart, empty for none.
        last_restart_cause: String,
        /// Full copy in numbers.
        copy: Option<CopyProgress>,
        /// Epoch of the source's assignment.
        epoch: u64,
        /// Decisions of operators about events before here have had their effect for good; empty when unknown.
        settled: String,
        /// The next attempt, while one is waited for after a failure.
        retry: Option<RetryStatus>,
        /// Tables on their way into the task, and those that have just joined.
        tables: Vec<JoiningTables>,
    }
}

message! {
    /// Tables that join a task after its start.
    JoiningTables {
        /// Number of the operation.
        number: u64,
        /// The command.
        op: String,
        /// The tables.
        tables: Vec<String>,
        /// `waiting`, `copying`, `catching up`, `joining`, `joined` or `stopped`.
        stage: String,
        /// Why it is stopped, or is tried again.
        error: Option<ProcessError>,
        /// The copy in numbers.
        copy: Option<CopyProgress>,
    }
}

message! {
    /// What is tried again by itself, and when.
    RetryStatus {
        /// Failures in a row, without a healthy time between.
        failures: u64,
        /// When the next attempt begins.
        next_try: String,
        /// The same, from now.
        next_try_in_seconds: u64,
    }
}

message! {
    /// Deaths of units by kind.
    RestartCounts {
        /// By panic.
        panics: u64,
        /// By an error.
        errors: u64,
        /// Without progress.
        hangs: u64,
    }
}

message! {
    /// A full copy in numbers.
    CopyProgress {
        /// Tables there are.
        tables_total: u64,
        /// Tables whose target exists and whose copy is planned.
        tables_prepared: u64,
        /// Tables done.
        tables_done: u64,
        /// Rows there are, estimated.
        rows_total: u64,
        /// Rows written.
        rows_done: u64,
        /// Bytes written.
        bytes_done: u64,
        /// Share of the work that is done, in hundredths of a percent; it does not fall while the copy goes on.
        share: u64,
        /// Seconds left, estimated; not while tables are being prepared.
        eta_seconds: Option<u64>,
    }
}

message! {
    /// Answer of list-member.
    ListMemberResponse {
        /// Whether it went well.
        result: bool,
        /// Why not.
        msg: String,
        /// Leader, masters and workers, as asked for.
        members: Vec<Members>,
    }
}

/// One part of [`ListMemberResponse`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Members {
    /// `{"leader": …}`
    Leader(LeaderMember),
    /// `{"master": …}`
    Master(MasterMembers),
    /// `{"worker": …}`
    Worker(WorkerMembers),
}

message! {
    /// The leader.
    LeaderMember {
        /// Why it is not known.
        msg: String,
        /// Node.
        name: String,
        /// Address.
        addr: String,
    }
}

message! {
    /// Nodes in their role as members of the Raft group.
    MasterMembers {
        /// Why they are not known.
        msg: String,
        /// In order of name.
        masters: Vec<MasterMember>,
    }
}

/// A node as a member of the Raft group.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MasterMember {
    /// Node.
    pub name: String,
    /// Its number.
    #[serde(rename = "memberID", with = "int64")]
    pub member_id: u64,
    /// Whether it answers.
    pub alive: bool,
    /// Addresses for peers.
    #[serde(rename = "peerURLs")]
    pub peer_urls: Vec<String>,
    /// Addresses for clients.
    #[serde(rename = "clientURLs")]
    pub client_urls: Vec<String>,
}

message! {
    /// Nodes in their role as workers.
    WorkerMembers {
        /// Why they are not known.
        msg: String,
        /// In order of name.
        workers: Vec<WorkerMember>,
    }
}

message! {
    /// A node as a worker.
    WorkerMember {
        /// Node.
        name: String,
        /// Address.
        addr: String,
        /// `offline`, `free`, `bound` or `relay`.
        stage: String,
        /// Its sources, separated by `, `; a DM worker has at most one.
        source: String,
    }
}

#[cfg(test)]
#[path = "status_test.rs"]
mod tests;
