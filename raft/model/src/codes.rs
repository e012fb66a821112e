//! The error codes: DM's numbers where the condition is DM's, ours from 60000 elsewhere. Codes are never reused.
//!
//! To add a code, add one line to the table below and its page to the `explain` pages.

use serde::{Deserialize, Serialize};

/// What the supervisor does with a unit that failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Policy {
    /// Start it again by itself, with back-off.
    Retry,
    /// Pause it until somebody resumes the task.
    WaitForOperator,
    /// Nothing can help but a change of configuration or program.
    Fatal,
}

/// Whose error it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Scope {
    /// Not known.
    NotSet,
    /// The source server.
    Upstream,
    /// The target server.
    Downstream,
    /// dmnode or its configuration.
    Internal,
}

impl Scope {
    /// DM's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::NotSet => "not-set",
            Scope::Upstream => "upstream",
            Scope::Downstream => "downstream",
            Scope::Internal => "internal",
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Level {
    /// A refusal without consequences.
    Low,
    /// Something must be corrected.
    Medium,
    /// Work has stopped.
    High,
}

impl Level {
    /// DM's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Low => "low",
            Level::Medium => "medium",
            Level::High => "high",
        }
    }
}

/// What is known about a code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodeInfo {
    /// The number.
    pub code: u32,
    /// DM's symbolic name without `Err`, or ours.
    pub name: &'static str,
    /// The area, in DM's spelling.
    pub class: &'static str,
    /// Whose error it usually is.
    pub scope: Scope,
    /// How bad.
    pub level: Level,
    /// What the supervisor does.
    pub policy: Policy,
    /// General advice, may be empty.
    pub workaround: &'static str,
}

macro_rules! codes {
    ($($code:literal $constant:ident $name:literal $class:literal $scope:ident $level:ident $policy:ident $workaround:literal;)*) => {
        $(#[doc = concat!($name, " (", $class, ").")] pub const $constant: u32 = $code;)*

        /// Every code, in order of number.
        pub const ALL: &[CodeInfo] = &[$(CodeInfo {
            code: $code, name: $name, class: $class, scope: Scope::$scope, level: Level::$level,
            policy: Policy::$policy, workaround: $workaround,
        }),*];
    };
}

/// What is known about the code.
pub fn info(code: u32) -> Option<&'static CodeInfo> {
    // In any order: a line in the wrong place must not change what happens after an error.
    ALL.iter().find(|info| info.code == code)
}

/// What to do after an error with the code; an unknown one waits for the operator.
pub fn policy(code: u32) -> Policy {
    info(code).map_or(Policy::WaitForOperator, |info| info.policy)
}

// Ranges of our own codes: 60000 model and configuration, 61000 cluster, 62000 servers and binlog, 63000 schema,
// 64000 supervision and full copy, 65000 replication, 66000 check and diff, 67000 node, HTTP and ctl.
//
// number  constant  DM's name  class  scope  level  policy  workaround
#[rustfmt::skip]
codes! {
    10001 DB_DRIVER_ERROR "DBDriverError" "database" NotSet High Retry "check that the server is reachable and the connection settings are right";
    10002 DB_BAD_CONN "DBBadConn" "database" NotSet High Retry "fix the connection; the task goes on by itself when the server answers again";
    10003 DB_INVALID_CONN "DBInvalidConn" "database" NotSet High Retry "fix the connection; the task goes on by itself when the server answers again";
    10004 DB_UNEXPECT "DBUnExpect" "database" NotSet High WaitForOperator "";
    10005 DB_QUERY_FAILED "DBQueryFailed" "database" NotSet High WaitForOperator "";
    10006 DB_EXECUTE_FAILED "DBExecuteFailed" "database" NotSet High WaitForOperator "";
    10007 DB_EXECUTE_FAILED_BEGIN "DBExecuteFailedBegin" "database" NotSet High Retry "";
    11006 PARSE_SQL "ParseSQL" "functional" Internal High WaitForOperator "";
    11010 NOT_SUPPORTED_FLAVOR "NotSupportedFlavor" "functional" Internal High WaitForOperator "check `flavor` in source.yaml: mysql or mariadb";
    11015 INVALID_SERVER_ID "InvalidServerID" "functional" Internal High WaitForOperator "set a `server-id` in source.yaml that no other replica of the source uses";
    11043 GEN_TABLE_ROUTER "GenTableRouter" "functional" Internal High WaitForOperator "check `routes` in task.yaml";
    11047 CIPHERTEXT_LEN_NOT_VALID "CiphertextLenNotValid" "functional" Internal High WaitForOperator "";
    11048 CIPHERTEXT_CONTEXT_NOT_VALID "CiphertextContextNotValid" "functional" Internal High WaitForOperator "";
    11049 INVALID_BINLOG_POS_STR "InvalidBinlogPosStr" "functional" Internal High WaitForOperator "";
    11050 ENC_CIPHER_TEXT_BASE64_DECODE "EncCipherTextBase64Decode" "functional" Internal High WaitForOperator "";
    11054 BINLOG_EVENT_DECODE "BinlogEventDecode" "functional" Internal High WaitForOperator "";
    11058 BINLOG_GTID_SET_NOT_VALID "BinlogGTIDSetNotValid" "functional" Internal High WaitForOperator "";
    11059 BINLOG_GTID_MYSQL_NOT_VALID "BinlogGTIDMySQLNotValid" "functional" Internal High WaitForOperator "";
    11060 BINLOG_GTID_MARIADB_NOT_VALID "BinlogGTIDMariaDBNotValid" "functional" Internal High WaitForOperator "";
    11103 BACKOFF_ARGS_NOT_VALID "BackoffArgsNotValid" "functional" Internal Medium WaitForOperator "check `checker` in source.yaml";
    11112 CONN_INVALID_TLS_CONFIG "ConnInvalidTLSConfig" "functional" Internal Medium WaitForOperator "check ssl-ca, ssl-cert and ssl-key";
    11125 NO_MASTER_STATUS "NoMasterStatus" "functional" Upstream Medium WaitForOperator "switch the binary log on, and grant the privilege to read its status";
    11126 BINLOG_NOT_LOG_COLUMN "BinlogNotLogColumn" "binlog-op" Upstream High WaitForOperator "set binlog_row_image = FULL on the source, and start again from a position after that";
    20001 CONFIG_CHECK_ITEM_NOT_SUPPORT "ConfigCheckItemNotSupport" "config" Internal Medium WaitForOperator "check `ignore-checking-items` in task.yaml";
    20002 CONFIG_TOML_TRANSFORM "ConfigTomlTransform" "config" Internal Medium WaitForOperator "correct the TOML file";
    20003 CONFIG_YAML_TRANSFORM "ConfigYamlTransform" "config" Internal Medium WaitForOperator "correct the YAML file";
    20005 CONFIG_EMPTY_SOURCE_ID "ConfigEmptySourceID" "config" Internal Medium WaitForOperator "check `source-id`";
    20006 CONFIG_TOO_LONG_SOURCE_ID "ConfigTooLongSourceID" "config" Internal Medium WaitForOperator "a `source-id` has at most 32 characters";
    20007 CONFIG_ONLINE_SCHEME_NOT_SUPPORT "ConfigOnlineSchemeNotSupport" "config" Internal Medium WaitForOperator "`online-ddl-scheme` is gh-ost or pt; better use `online-ddl: true`";
    20008 CONFIG_INVALID_TIMEZONE "ConfigInvalidTimezone" "config" Internal Medium WaitForOperator "`timezone` is a name such as Europe/Paris or an offset between -12:59 and +14:00";
    20011 CONFIG_META_INVALID "ConfigMetaInvalid" "config" Internal Medium WaitForOperator "check `meta`";
    20013 CONFIG_MYSQL_INSTS_AT_LEAST_ONE "ConfigMySQLInstsAtLeastOne" "config" Internal Medium WaitForOperator "check `mysql-instances`";
    20014 CONFIG_MYSQL_INST_SAME_SOURCE_ID "ConfigMySQLInstSameSourceID" "config" Internal Medium WaitForOperator "check `mysql-instances`";
    20015 CONFIG_MYDUMPER_CFG_CONFLICT "ConfigMydumperCfgConflict" "config" Internal Medium WaitForOperator "give either `mydumper-config-name` or `mydumper`";
    20016 CONFIG_LOADER_CFG_CONFLICT "ConfigLoaderCfgConflict" "config" Internal Medium WaitForOperator "give either `loader-config-name` or `loader`";
    20017 CONFIG_SYNCER_CFG_CONFLICT "ConfigSyncerCfgConflict" "config" Internal Medium WaitForOperator "give either `syncer-config-name` or `syncer`";
    20018 CONFIG_READ_CFG_FROM_FILE "ConfigReadCfgFromFile" "config" Internal Medium WaitForOperator "";
    20019 CONFIG_NEED_UNIQUE_TASK_NAME "ConfigNeedUniqueTaskName" "config" Internal Medium WaitForOperator "check `name`";
    20020 CONFIG_INVALID_TASK_MODE "ConfigInvalidTaskMode" "config" Internal Medium WaitForOperator "check `task-mode`";
    20021 CONFIG_NEED_TARGET_DB "ConfigNeedTargetDB" "config" Internal Medium WaitForOperator "check `target-database`";
    20023 CONFIG_ROUTE_RULE_NOT_FOUND "ConfigRouteRuleNotFound" "config" Internal Medium WaitForOperator "check `route-rules`";
    20024 CONFIG_FILTER_RULE_NOT_FOUND "ConfigFilterRuleNotFound" "config" Internal Medium WaitForOperator "check `filter-rules`";
    20026 CONFIG_BA_LIST_NOT_FOUND "ConfigBAListNotFound" "config" Internal Medium WaitForOperator "check `block-allow-list`";
    20027 CONFIG_MYDUMPER_CFG_NOT_FOUND "ConfigMydumperCfgNotFound" "config" Internal Medium WaitForOperator "check `mydumper-config-name`";
    20028 CONFIG_MYDUMPER_PATH_NOT_VALID "ConfigMydumperPathNotValid" "config" Internal Medium WaitForOperator "check `mydumper-path`";
    20029 CONFIG_LOADER_CFG_NOT_FOUND "ConfigLoaderCfgNotFound" "config" Internal Medium WaitForOperator "check `loader-config-name`";
    20030 CONFIG_SYNCER_CFG_NOT_FOUND "ConfigSyncerCfgNotFound" "config" Internal Medium WaitForOperator "check `syncer-config-name`";
    20031 CONFIG_SOURCE_ID_NOT_FOUND "ConfigSourceIDNotFound" "config" Internal Medium WaitForOperator "add the source with `operate-source create`";
    20032 CONFIG_DUPLICATE_CFG_ITEM "ConfigDuplicateCfgItem" "config" Internal Medium WaitForOperator "check `mysql-instances`";
    20033 CONFIG_SHARD_MODE_NOT_SUPPORT "ConfigShardModeNotSupport" "config" Internal Medium WaitForOperator "`shard-mode` is pessimistic or optimistic, or empty";
    20037 CONFIG_BINLOG_EVENT_FILTER "ConfigBinlogEventFilter" "config" Internal High WaitForOperator "check `filters`";
    20038 CONFIG_GLOBAL_CONFIGS_UNUSED "ConfigGlobalConfigsUnused" "config" Internal High WaitForOperator "use the named entries in `mysql-instances`, or remove them";
    20039 CONFIG_EXPR_FILTER_MANY_EXPR "ConfigExprFilterManyExpr" "config" Internal High WaitForOperator "write one filter for each kind of change";
    20040 CONFIG_EXPR_FILTER_NOT_FOUND "ConfigExprFilterNotFound" "config" Internal High WaitForOperator "check `expression-filters`";
    20041 CONFIG_EXPR_FILTER_WRONG_GRAMMAR "ConfigExprFilterWrongGrammar" "config" Internal High WaitForOperator "check `expression-filter`";
    20042 CONFIG_EXPR_FILTER_EMPTY_NAME "ConfigExprFilterEmptyName" "config" Internal High WaitForOperator "check `expression-filter`";
    20043 CONFIG_CHECKER_MAX_TOO_SMALL "ConfigCheckerMaxTooSmall" "config" Internal High WaitForOperator "`checker.backoff-max` is at least 1s";
    20044 CONFIG_GEN_BA_LIST "ConfigGenBAList" "config" Internal High WaitForOperator "check `block-allow-list`";
    20045 CONFIG_GEN_TABLE_ROUTER "ConfigGenTableRouter" "config" Internal High WaitForOperator "check `routes`";
    20047 CONFIG_INVALID_CHUNK_FILE_SIZE "ConfigInvalidChunkFileSize" "config" Internal High WaitForOperator "`chunk-filesize` is a number of MiB, or a size such as 64MB";
    20048 CONFIG_ONLINE_DDL_INVALID_REGEX "ConfigOnlineDDLInvalidRegex" "config" Internal High WaitForOperator "each rule is a regular expression with exactly one capture group, the real table name";
    20049 CONFIG_ONLINE_DDL_MISTAKE_REGEX "ConfigOnlineDDLMistakeRegex" "config" Internal High WaitForOperator "correct `shadow-table-rules` or `trash-table-rules`";
    20052 CONFIG_COLLATION_COMPATIBLE_NOT_SUPPORT "ConfigCollationCompatibleNotSupport" "config" Internal Medium WaitForOperator "`collation_compatible` is loose or strict";
    20053 CONFIG_INVALID_LOAD_MODE "ConfigInvalidLoadMode" "config" Internal Medium WaitForOperator "`import-mode` is logical, physical or import-into";
    20054 CONFIG_INVALID_DUPLICATE_RESOLUTION "ConfigInvalidDuplicateResolution" "config" Internal Medium WaitForOperator "`on-duplicate-logical` is replace, error or ignore";
    20055 CONFIG_VALIDATION_MODE "ConfigValidationMode" "config" Internal High WaitForOperator "a validator's `mode` is none, fast or full";
    20056 CONTINUOUS_VALIDATOR_CFG_NOT_FOUND "ContinuousValidatorCfgNotFound" "config" Internal Medium WaitForOperator "check `validator-config-name`";
    20057 CONFIG_START_TIME_TOO_LATE "ConfigStartTimeTooLate" "config" Internal High WaitForOperator "";
    20058 CONFIG_LOADER_DIR_INVALID "ConfigLoaderDirInvalid" "config" Internal High WaitForOperator "check the loader's `dir`";
    20060 CONFIG_INVALID_SAFE_MODE_DURATION "ConfigInvalidSafeModeDuration" "config" Internal Medium WaitForOperator "`safe-mode-duration` is a duration such as 60s";
    20061 CONFIG_CONFLICT_SAFE_MODE "ConfigConfictSafeModeDurationAndSafeMode" "config" Internal Low WaitForOperator "set `safe-mode: false` or a `safe-mode-duration` above 0s";
    20062 CONFIG_INVALID_PHYSICAL_DUPLICATE_RESOLUTION "ConfigInvalidPhysicalDuplicateResolution" "config" Internal Medium WaitForOperator "`on-duplicate-physical` is none or manual";
    20063 CONFIG_INVALID_PHYSICAL_CHECKSUM "ConfigInvalidPhysicalChecksum" "config" Internal Medium WaitForOperator "`checksum-physical` is required, optional or off";
    20064 CONFIG_COLUMN_MAPPING_DEPRECATED "ConfigColumnMappingDeprecated" "config" Internal High WaitForOperator "use `extract-table`, `extract-schema` and `extract-source` in routes";
    20065 CONFIG_INVALID_LOAD_ANALYZE "ConfigInvalidLoadAnalyze" "config" Internal Medium WaitForOperator "`analyze` is required, optional or off";
    20066 CONFIG_STRICT_OPTIMISTIC_SHARD_MODE "ConfigStrictOptimisticShardMode" "config" Internal Medium WaitForOperator "`strict-optimistic-shard-mode` needs `shard-mode: optimistic`";
    20067 CONFIG_SECRET_KEY_PATH "ConfigSecretKeyPath" "config" Internal High WaitForOperator "check the path, the permission and the content of the key file";
    20068 CONFIG_IMPORT_INTO_SHARDING_NOT_SUPPORT "ConfigImportIntoShardingNotSupport" "config" Internal High WaitForOperator "use `import-mode: logical` for several sources";
    20069 CONFIG_IMPORT_INTO_REQUIRES_SHARED_STORAGE "ConfigImportIntoRequiresSharedStorage" "config" Internal High WaitForOperator "use `import-mode: logical`, or a `dir` such as s3://bucket/path";
    20070 CONFIG_UNSUPPORTED_FOREIGN_KEY_CHECKS_OPTION "ConfigUnsupportedForeignKeyChecksOption" "config" Internal Medium WaitForOperator "switch off foreign_key_checks or this syncer option";
    26001 TASK_CHECK_SAME_TABLE_NAME "TaskCheckSameTableName" "task-check" Internal Medium WaitForOperator "check `target-table` in `routes`";
    26002 TASK_CHECK_FAILED_OPEN_DB "TaskCheckFailedOpenDB" "task-check" Internal High WaitForOperator "check host, port, user and password";
    26003 TASK_CHECK_GEN_TABLE_ROUTER "TaskCheckGenTableRouter" "task-check" Internal Medium WaitForOperator "check `routes`";
    26005 TASK_CHECK_SYNC_CONFIG_ERROR "TaskCheckSyncConfigError" "task-check" Internal Medium WaitForOperator "";
    26006 TASK_CHECK_GEN_BA_LIST "TaskCheckGenBAList" "task-check" Internal Medium WaitForOperator "check `block-allow-list`";
    26007 SOURCE_CHECK_GTID "SourceCheckGTID" "task-check" Internal Medium WaitForOperator "set gtid_mode = ON on the source, or `enable-gtid: false` in source.yaml";
    32001 DUMP_UNIT_RUNTIME "DumpUnitRuntime" "dump-unit" Internal High WaitForOperator "";
    32004 DUMP_UNIT_GLOBAL_LOCK "DumpUnitGlobalLock" "dump-unit" Internal High WaitForOperator "grant RELOAD (FLUSH TABLES WITH READ LOCK) or LOCK TABLES to the source user";
    36001 SYNCER_UNIT_PANIC "SyncerUnitPanic" "sync-unit" Internal High Retry "";
    36015 SYNCER_UNIT_BINLOG_EVENT_FILTER "SyncerUnitBinlogEventFilter" "sync-unit" Internal High WaitForOperator "skip the event, or change the filter";
    36024 SYNCER_UNIT_INJECT_DDL_WITHOUT_SCHEMA "SyncerUnitInjectDDLWithoutSchema" "sync-unit" Internal Low WaitForOperator "write every table as `schema`.`table`";
    36027 SYNCER_UNIT_DML_COLUMN_NOT_MATCH "SyncerUnitDMLColumnNotMatch" "sync-unit" Internal High WaitForOperator "was a DDL skipped or was the target table changed by hand? make the target table like the source's, then resume-task";
    36039 SYNCER_UNIT_ONLINE_DDL_INVALID_META "SyncerUnitOnlineDDLInvalidMeta" "sync-unit" Internal High WaitForOperator "correct the row of `<task>_onlineddl`, or delete it";
    36044 SYNCER_UNIT_GHOST_RENAME_TO_GHOST_TABLE "SyncerUnitGhostRenameToGhostTable" "sync-unit" Internal High WaitForOperator "do in the target by hand what was meant, then `binlog skip`";
    36045 SYNCER_UNIT_GHOST_RENAME_GHOST_TBL_TO_OTHER "SyncerUnitGhostRenameGhostTblToOther" "sync-unit" Internal High WaitForOperator "`binlog skip` the statement";
    36046 SYNCER_UNIT_GHOST_ONLINE_DDL_ON_GHOST_TBL "SyncerUnitGhostOnlineDDLOnGhostTbl" "sync-unit" Internal High WaitForOperator "execute the schema change on the target's table by hand, then `binlog skip` the statement";
    36065 SYNCER_OPERATOR_NOT_EXIST "SyncerOperatorNotExist" "sync-unit" Internal Low WaitForOperator "`binlog list` shows what was decided";
    36067 SYNCER_PARSE_DDL "SyncerParseDDL" "sync-unit" Internal High WaitForOperator "";
    36068 SYNCER_UNSUPPORTED_STMT "SyncerUnsupportedStmt" "sync-unit" Internal High WaitForOperator "";
    36069 SYNCER_GET_EVENT "SyncerGetEvent" "sync-unit" Upstream High Retry "verify the binlog file with mysqlbinlog";
    36070 SYNCER_DOWNSTREAM_TABLE_NOT_FOUND "SyncerDownstreamTableNotFound" "sync-unit" Internal High WaitForOperator "create the table in the target, then resume-task";
    38032 MASTER_OPER_RESP_NOT_SUCCESS "MasterOperRespNotSuccess" "dm-master" Internal High WaitForOperator "Please execute `query-status` to check status.";
    38041 MASTER_INVALID_OPERATE_OP "MasterInvalidOperateOp" "dm-master" Internal Medium WaitForOperator "";
    38043 MASTER_REQUEST_IS_NOT_FORWARD_TO_LEADER "MasterRequestIsNotForwardToLeader" "dm-master" Internal High Retry "";
    38045 MASTER_FAIL_TO_GET_EXPECT_RESULT "MasterFailToGetExpectResult" "dm-master" Internal Medium WaitForOperator "";
    38058 MASTER_START_TASK "MasterStartTask" "dm-master" Internal High WaitForOperator "";
    40005 WORKER_NEED_SOURCE_ID "WorkerNeedSourceID" "dm-worker" Internal Medium WaitForOperator "check `source-id` in source.yaml";
    40006 WORKER_TOO_LONG_SOURCE_ID "WorkerTooLongSourceID" "dm-worker" Internal Medium WaitForOperator "a `source-id` has at most 32 characters";
    40007 WORKER_RELAY_BINLOG_NAME "WorkerRelayBinlogName" "dm-worker" Internal Medium WaitForOperator "`relay-binlog-name` is a name such as mysql-bin.000001";
    40050 WORKER_NOT_RUNNING_STAGE "WorkerNotRunningStage" "dm-worker" Internal High WaitForOperator "";
    40051 WORKER_NOT_PAUSED_STAGE "WorkerNotPausedStage" "dm-worker" Internal High WaitForOperator "";
    40054 WORKER_SUB_TASK_NOT_FOUND "WorkerSubTaskNotFound" "dm-worker" Internal High WaitForOperator "";
    40056 WORKER_OPER_SYNC_UNIT_ONLY "WorkerOperSyncUnitOnly" "dm-worker" Internal High WaitForOperator "";
    40070 WORKER_NO_START "WorkerNoStart" "dm-worker" Internal High WaitForOperator "";
    44001 SCHEMA_ROW "SchemaTrackerInvalidJSON" "schema-tracker" Downstream High WaitForOperator "remove the table's definition with `binlog-schema delete`: it is derived again; then resume-task";
    44005 SCHEMA_TABLE_OUT_OF_SCOPE "SchemaTrackerCannotGetTable" "schema-tracker" Internal High WaitForOperator "name a table of the source as the source spells it; `check-task` lists those of the task";
    44007 SCHEMA_TRACKER_CANNOT_FETCH "SchemaTrackerCannotFetchDownstreamTable" "schema-tracker" Downstream Medium WaitForOperator "create the table, or give its definition in a file";
    44009 SCHEMA_TRACKER_INVALID_CREATE_TABLE "SchemaTrackerInvalidCreateTableStmt" "schema-tracker" Internal Medium WaitForOperator "give one CREATE TABLE statement";
    46004 SCHEDULER_WORKER_NOT_EXIST "SchedulerWorkerNotExist" "scheduler" Internal Medium WaitForOperator "";
    46006 SCHEDULER_WORKER_INVALID_TRANS "SchedulerWorkerInvalidTrans" "scheduler" Internal Medium WaitForOperator "list-member shows which nodes are up";
    46007 SCHEDULER_SOURCE_CFG_EXIST "SchedulerSourceCfgExist" "scheduler" Internal Medium WaitForOperator "";
    46008 SCHEDULER_SOURCE_CFG_NOT_EXIST "SchedulerSourceCfgNotExist" "scheduler" Internal Medium WaitForOperator "";
    46009 SCHEDULER_SOURCES_UNBOUND "SchedulerSourcesUnbound" "dm-master" Internal Medium WaitForOperator "";
    46010 SCHEDULER_SOURCE_OP_TASK_EXIST "SchedulerSourceOpTaskExist" "dm-master" Internal Medium WaitForOperator "stop-task first";
    46014 SCHEDULER_SUB_TASK_EXIST "SchedulerSubTaskExist" "scheduler" Internal Medium WaitForOperator "list the tasks with query-status";
    46017 SCHEDULER_SUB_TASK_OP_SOURCE_NOT_EXIST "SchedulerSubTaskOpSourceNotExist" "dm-master" Internal Medium WaitForOperator "list the tasks with query-status";
    46018 SCHEDULER_TASK_NOT_EXIST "SchedulerTaskNotExist" "scheduler" Internal Medium WaitForOperator "list the tasks with query-status";
    46024 SCHEDULER_LATCH_IN_USE "SchedulerLatchInUse" "scheduler" Internal Low Retry "retry later";
    46025 SCHEDULER_SOURCE_CFG_UPDATE "SchedulerSourceCfgUpdate" "scheduler" Internal Low WaitForOperator "pause-task first";
    46034 SCHEDULER_SUB_TASK_NOT_EXIST "SchedulerSubTaskNotExist" "scheduler" Internal Medium WaitForOperator "create it first with start-task";
    50000 NOT_SET "NotSet" "not-set" NotSet High WaitForOperator "";
    60001 INTERNAL "Internal" "dmnode" Internal High Retry "this is a defect of dmnode; please report it with the log";
    60002 NODE_CONFIG_INVALID "NodeConfigInvalid" "dmnode" Internal Medium Fatal "correct the node's configuration file or flags";
    60003 CONFIG_TOO_LARGE "ConfigTooLarge" "dmnode" Internal Medium WaitForOperator "a configuration file has at most 1 MiB";
    60004 CONFIG_VALUE_INVALID "ConfigValueInvalid" "dmnode" Internal Medium WaitForOperator "";
    60201 FENCED "Fenced" "sync-unit" Downstream Low Retry "none needed: the node that owns the source goes on";
    60202 PROGRESS_ROW "ProgressRow" "sync-unit" Downstream High WaitForOperator "the progress table was changed by hand or by a newer version; restore it, or start with --remove-meta";
    60203 TAKE_OVER "TakeOver" "sync-unit" Downstream High Retry "end the former owner's connections in the target";
    60204 TARGET_CONNECTION "TargetConnection" "sync-unit" Downstream High Retry "check that the target is reachable; the task goes on by itself";
    60205 UNIT_CANCELLED "UnitCancelled" "sync-unit" Internal Low Retry "";
    60206 ROW_NOT_FOUND "RowNotFound" "sync-unit" Downstream High WaitForOperator "the target's rows were changed by somebody else; compare with `diff`, correct them, then resume-task";
    60207 TABLE_NOT_TRANSACTIONAL "TableNotTransactional" "sync-unit" Downstream High WaitForOperator "ALTER TABLE … ENGINE=InnoDB in the target, then resume-task";
    60208 STATEMENT_FORMAT "StatementFormat" "sync-unit" Upstream High WaitForOperator "set binlog_format = ROW on the source for every session, and start again from a position after this statement";
    60209 BINLOG_UNSUPPORTED "BinlogUnsupported" "sync-unit" Upstream High WaitForOperator "";
    60210 BINLOG_PURGED "BinlogPurged" "sync-unit" Upstream High WaitForOperator "copy again: stop-task, then start-task --remove-meta; keep binlogs longer on the source";
    60211 SOURCE_CONNECTION "SourceConnection" "sync-unit" Upstream High Retry "check that the source is reachable; the task goes on by itself";
    60212 DDL_REFUSED "DdlRefused" "sync-unit" Downstream High WaitForOperator "make the target accept the statement, or do its work by hand, then resume-task";
    60213 DDL_UNSUPPORTED "DdlUnsupported" "sync-unit" Upstream High WaitForOperator "";
    60214 START_LOCATION "StartLocation" "sync-unit" Internal High WaitForOperator "give `meta` in task.yaml";
    60215 DDL_DURING_COPY "DdlDuringCopy" "sync-unit" Upstream High WaitForOperator "copy the table again: stop-task, then start-task --remove-meta";
    60216 ROW_REFUSED "RowRefused" "sync-unit" Downstream High WaitForOperator "compare with `diff`, correct the target, then resume-task";
    60301 UNIT_PANICKED "UnitPanicked" "unit" Internal High Retry "this is a defect of dmnode; please report it with the log. The unit is started again by itself";
    60302 UNIT_HUNG "UnitHung" "unit" Internal High Retry "the unit is started again by itself; when it recurs, look whether the source or the target is stuck";
    60303 FAILPOINT "Failpoint" "unit" Internal Low Retry "only tests make this error";
    60311 COPY_RANGE_UNKNOWN "CopyRangeUnknown" "full-copy" Internal High WaitForOperator "start the task again with --remove-meta and an empty target table";
    60312 COPY_TARGET_MISMATCH "CopyTargetMismatch" "full-copy" Downstream High WaitForOperator "give the target table the columns of the source table, or drop it and let the task create it";
    60313 COPY_TABLE_CHANGED "CopyTableChanged" "full-copy" Upstream High WaitForOperator "empty the target table and start the task again with --remove-meta";
    60314 COPY_SNAPSHOT_REFUSED "CopySnapshotRefused" "full-copy" Upstream High WaitForOperator "grant RELOAD (for a momentary FLUSH TABLES WITH READ LOCK) or LOCK TABLES on the copied schemas to the source's user";
    60315 COPY_ROWS_REFUSED "CopyRowsRefused" "full-copy" Downstream High WaitForOperator "compare the definitions of the source and the target table";
    60316 COPY_SOURCE_READ "CopySourceRead" "full-copy" Upstream High WaitForOperator "let the source's user read the table, then resume-task; finished chunks are kept";
    60317 COPY_DUPLICATE "CopyDuplicate" "full-copy" Downstream High WaitForOperator "the target table held rows with these keys before: empty it, or check whether two source tables are merged that have equal keys";
    60318 COPY_DDL_REFUSED "CopyDDLRefused" "full-copy" Downstream High WaitForOperator "create the object in the target by hand, then resume-task";
    60319 COPY_TABLE_UNSUPPORTED "CopyTableUnsupported" "full-copy" Upstream High WaitForOperator "leave the table out with the block-allow-list";
    60320 COPY_SNAPSHOT_UNSTABLE "CopySnapshotUnstable" "full-copy" Upstream Medium Retry "tables are created, altered or dropped too often for a snapshot; the copy is tried again by itself";
    60322 COPY_META "CopyMeta" "full-copy" Downstream High WaitForOperator "the rows of the copy's plan were changed by hand or by a newer version; restore them, or start with --remove-meta";
    60331 DUMP_DIRECTORY "DumpDirectory" "dump-unit" Internal Medium WaitForOperator "give another `dir` (`loaders`), or remove the directory, then resume-task";
    60332 DUMP_WRITE "DumpWrite" "dump-unit" Internal High WaitForOperator "make room or give the node's user the right to write there, then resume-task";
    60333 DUMP_STORAGE "DumpStorage" "dump-unit" Internal Medium WaitForOperator "give a local directory as `dir` (`loaders`)";
    60334 DUMP_FILES "DumpFiles" "load-unit" Internal High WaitForOperator "correct the directory (docs/dump.md), then resume-task";
    60401 TARGET_COLUMN_WITHOUT_DEFAULT "TargetColumnWithoutDefault" "schema-tracker" Downstream High WaitForOperator "give the column a default, let it be NULL, or drop it; then resume-task";
    60501 OPERATOR_STATEMENT "OperatorStatement" "sync-unit" Internal Low WaitForOperator "give DDL statements with schema-qualified names";
    60601 EXPRESSION_UNDECIDED "ExpressionUndecided" "sync-unit" Internal High WaitForOperator "write the expression so that it is certain for every row (docs/rules.md), stop the task and start it with the changed file";
    60602 CHECK_ONLINE_DDL "CheckOnlineDDL" "task-check" Upstream High WaitForOperator "wait until the schema change has ended, or drop what a broken one has left";
    60701 ROW_TOO_LARGE "RowTooLarge" "sync-unit" Downstream High WaitForOperator "SET GLOBAL max_allowed_packet in the target to more than the row needs (at most 1 GB), then resume-task";
    60702 TARGET_NOT_READY "TargetNotReady" "sync-unit" Downstream High Retry "the target refuses work for the moment (read-only, out of space or memory, too many connections, a killed statement); the task goes on by itself when that ends";
    60703 DUPLICATE_FOREIGN_WRITER "DuplicateForeignWriter" "sync-unit" Downstream High WaitForOperator "find who else writes to the target's table; compare with `diff`, correct the row, then resume-task";
    60704 DUPLICATE_SHARDS "DuplicateShards" "sync-unit" Downstream High WaitForOperator "make the key distinct over the merged tables (extract-table, extract-schema, or a key without it in the target), or route them to different tables";
    60705 DUPLICATE_COLLATION "DuplicateCollation" "sync-unit" Downstream High WaitForOperator "give the target's key the source's collation and length, then resume-task";
    60706 DUPLICATE_REPLAY "DuplicateReplay" "sync-unit" Downstream High WaitForOperator "the target holds what comes after the task's start position: start from the right position, or pass it with `safe-mode` or `on-missing-row: repair`";
    60707 SAFE_MODE_KEYLESS "SafeModeKeyless" "sync-unit" Downstream High WaitForOperator "give the table a key, leave it out with the block-allow-list, or end safe mode";
    60708 DUPLICATE_KEY_DIFFERS "DuplicateKeyDiffers" "sync-unit" Downstream High WaitForOperator "give the target the unique keys that the source has, then resume-task";
    60709 COPY_CASCADE_TORN "CopyCascadeTorn" "sync-unit" Downstream High WaitForOperator "copy again: stop-task, empty the tables that the foreign keys connect, start-task --remove-meta";
    60801 START_TIME_WITH_COPY "StartTimeWithCopy" "sync-unit" Internal Medium WaitForOperator "leave --start-time out, or use task-mode: incremental";
    60802 META_NEWER "MetaNewer" "sync-unit" Downstream High WaitForOperator "upgrade this node, or start with --remove-meta";
    60803 SOURCE_CHANGED "SourceChanged" "sync-unit" Upstream High WaitForOperator "point the source's address to the former server, or start again with a new `meta` after comparing with `diff`";
    60804 DM_CHECKPOINT "DmCheckpoint" "sync-unit" Downstream High WaitForOperator "finish the task in DM up to a clean stop-task, or give its checkpoint up with --remove-meta";
    60805 UPDATE_REFUSED "UpdateRefused" "dmnode" Internal Medium WaitForOperator "stop the task and start it with the new file, or leave the setting as it is";
    60806 CLEAN_TARGET "CleanTarget" "dmnode" Downstream Medium WaitForOperator "drop by hand what is not wanted any more";
    60807 TABLES_REFUSED "TablesRefused" "dmnode" Internal Medium WaitForOperator "the message says what is in the way; nothing was changed";
    60901 XA_PREPARE_UNKNOWN "XAPrepareUnknown" "sync-unit" Upstream High WaitForOperator "its changes cannot be known any more: go past it and compare the tables with `diff`, or copy again: stop-task, then start-task --remove-meta";
    60902 XA_TOO_LARGE "XATooLarge" "sync-unit" Upstream High WaitForOperator "make its changes in smaller transactions, or in ONE PHASE; to go on, start again from a position after its XA COMMIT and bring its rows over by hand";
    61001 NODE_REFUSED "NodeRefused" "cluster" Internal High WaitForOperator "the message names the possible reasons and the commands";
    61002 OUTCOME_UNKNOWN "OutcomeUnknown" "cluster" Internal Medium Retry "repeat the command under the same request id: it is applied once and the answer tells";
    61003 COMMAND_TOO_LARGE "CommandTooLarge" "cluster" Internal Medium WaitForOperator "make the configuration smaller";
    61004 CONTROL_STOPPED "ControlStopped" "cluster" Internal High Retry "look into the log of the node and start it again; other nodes go on";
    61005 BAD_RPC "BadRPC" "cluster" Internal Medium Retry "check that all nodes run versions that fit together and that the addresses are right";
    61006 CHANGED_MEANWHILE "ChangedMeanwhile" "cluster" Internal Medium Retry "look at the present state and decide again";
    61007 REQUEST_ID_REUSED "RequestIDReused" "cluster" Internal Medium Fatal "use a fresh request id for every command";
    61008 INVALID_COMMAND "InvalidCommand" "cluster" Internal Medium Fatal "";
    61101 SOURCE_BUSY "SourceBusy" "database" Upstream High Retry "look at the cause: the task goes on by itself when the source answers again";
    63001 DIALECT_NOT_IN_TARGET "DialectNotInTarget" "schema" Upstream High WaitForOperator "create the object in the target by hand, or leave it out with the block-allow-list";
    66001 CHECK_PRIVILEGE "CheckPrivilege" "task-check" NotSet High WaitForOperator "grant the privilege";
    66002 CHECK_BINLOG_OFF "CheckBinlogOff" "task-check" Upstream High WaitForOperator "start the source with log_bin";
    66003 CHECK_BINLOG_FORMAT "CheckBinlogFormat" "task-check" Upstream High WaitForOperator "SET GLOBAL binlog_format = ROW on the source, reconnect its clients, and keep it in the server's configuration";
    66004 CHECK_ROW_IMAGE "CheckRowImage" "task-check" Upstream High WaitForOperator "SET GLOBAL binlog_row_image = FULL on the source, reconnect its clients, and keep it in the server's configuration";
    66005 CHECK_START_POSITION "CheckStartPosition" "task-check" Upstream High WaitForOperator "correct `meta` in task.yaml";
    66006 CHECK_VERSION "CheckVersion" "task-check" NotSet Medium WaitForOperator "";
    66007 CHECK_CONNECTIONS "CheckConnections" "task-check" NotSet High WaitForOperator "raise max_connections of the server";
    66008 CHECK_EXTENDED_COLUMNS "CheckExtendedColumns" "task-check" Downstream High WaitForOperator "create the target's table with the columns of the route's extract rules";
    66009 CHECK_SHARD_TABLES "CheckShardTables" "task-check" Upstream High WaitForOperator "give the merged tables the same columns, or ignore `schema_of_shard_tables`";
    66101 DIFF_SOURCE_READ "DiffSourceRead" "diff" Upstream High WaitForOperator "check that the source is reachable and its user may read the tables, then run diff again";
    66102 DIFF_TARGET_READ "DiffTargetRead" "diff" Downstream High WaitForOperator "check that the target is reachable and its user may read the tables, then run diff again";
    66103 DIFF_CANCELLED "DiffCancelled" "diff" Internal Low WaitForOperator "run diff again";
    66104 DIFF_TABLE_CHANGED "DiffTableChanged" "diff" NotSet Medium WaitForOperator "run diff again when no DDL is executed on the table";
    66105 DIFF_NO_TABLE "DiffNoTable" "diff" Internal Low WaitForOperator "name target tables of the task as schema.table";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_unique() {
        assert!(ALL.windows(2).all(|pair| pair[0].code < pair[1].code), "sorted, no number twice");
        let mut names: Vec<_> = ALL.iter().map(|info| info.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len(), "no name twice");
    }

    #[test]
    fn every_code_is_found() {
        for expected in ALL {
            assert_eq!(info(expected.code), Some(expected));
        }
        assert_eq!(policy(1), Policy::WaitForOperator);
    }
}
