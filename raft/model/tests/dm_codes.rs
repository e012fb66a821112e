//! DM's codes are DM's: number, name, class, scope, level, and the words by which its users and their tools know a message.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use dmnode_model::codes;
use dmnode_model::config::TaskConfig;

/// Numbers from here on are ours.
const OURS_FROM: u32 = 60_000;

/// Number, name, class, scope, level and key phrase of every code of DM that is used, after DM's manual of errors. `{}`
/// stands for what differs from message to message.
#[rustfmt::skip]
const DM: &[(u32, &str, &str, &str, &str, &str)] = &[
    (10001, "DBDriverError", "database", "not-set", "high", "database driver"),
    (10002, "DBBadConn", "database", "not-set", "high", "database driver"),
    (10003, "DBInvalidConn", "database", "not-set", "high", "database driver"),
    (10004, "DBUnExpect", "database", "not-set", "high", "unexpect database error: {}"),
    (10005, "DBQueryFailed", "database", "not-set", "high", "query statement failed: {}"),
    (10006, "DBExecuteFailed", "database", "not-set", "high", "execute statement failed: {}"),
    (10007, "DBExecuteFailedBegin", "database", "not-set", "high", "execute statement failed: begin"),
    (11006, "ParseSQL", "functional", "internal", "high", "parse statement: {}"),
    (11010, "NotSupportedFlavor", "functional", "internal", "high", "flavor {} not supported"),
    (11015, "InvalidServerID", "functional", "internal", "high", "invalid server id {}"),
    (11043, "GenTableRouter", "functional", "internal", "high", "generate table router"),
    (11047, "CiphertextLenNotValid", "functional", "internal", "high", "ciphertext's length should be greater than {}, but got {} not valid"),
    (11048, "CiphertextContextNotValid", "functional", "internal", "high", "ciphertext's content not valid"),
    (11049, "InvalidBinlogPosStr", "functional", "internal", "high", "invalid mysql position string: {}"),
    (11050, "EncCipherTextBase64Decode", "functional", "internal", "high", "decode base64 encoded password"),
    (11054, "BinlogEventDecode", "functional", "internal", "high", "decode {}"),
    (11058, "BinlogGTIDSetNotValid", "functional", "internal", "high", "GTID set {} with flavor {} not valid"),
    (11059, "BinlogGTIDMySQLNotValid", "functional", "internal", "high", "GTID set string {} for MySQL not valid"),
    (11060, "BinlogGTIDMariaDBNotValid", "functional", "internal", "high", "GTID set string {} for MariaDB not valid"),
    (11103, "BackoffArgsNotValid", "functional", "internal", "medium", "backoff argument {} value {} not valid"),
    (11112, "ConnInvalidTLSConfig", "functional", "internal", "medium", "invalid TLS config"),
    (11125, "NoMasterStatus", "functional", "upstream", "medium", "upstream returns an empty result for SHOW MASTER STATUS"),
    (11126, "BinlogNotLogColumn", "binlog-op", "upstream", "high", "upstream didn't log enough columns in binlog"),
    (20001, "ConfigCheckItemNotSupport", "config", "internal", "medium", "checking item {} is not supported {}"),
    (20002, "ConfigTomlTransform", "config", "internal", "medium", "{}"),
    (20003, "ConfigYamlTransform", "config", "internal", "medium", "{}"),
    (20005, "ConfigEmptySourceID", "config", "internal", "medium", "empty source-id not valid"),
    (20006, "ConfigTooLongSourceID", "config", "internal", "medium", "too long source-id not valid"),
    (20007, "ConfigOnlineSchemeNotSupport", "config", "internal", "medium", "online scheme {} not supported"),
    (20008, "ConfigInvalidTimezone", "config", "internal", "medium", "invalid timezone string: {}"),
    (20011, "ConfigMetaInvalid", "config", "internal", "medium", "must specify `binlog-name` without GTID enabled for the source or specify `binlog-gtid` with GTID enabled"),
    (20013, "ConfigMySQLInstsAtLeastOne", "config", "internal", "medium", "must specify at least one mysql-instances"),
    (20014, "ConfigMySQLInstSameSourceID", "config", "internal", "medium", "mysql-instance ({}) and ({}) have same source-id ({})"),
    (20015, "ConfigMydumperCfgConflict", "config", "internal", "medium", "mydumper-config-name and mydumper should only specify one"),
    (20016, "ConfigLoaderCfgConflict", "config", "internal", "medium", "loader-config-name and loader should only specify one"),
    (20017, "ConfigSyncerCfgConflict", "config", "internal", "medium", "syncer-config-name and syncer should only specify one"),
    (20018, "ConfigReadCfgFromFile", "config", "internal", "medium", "read config file {}"),
    (20019, "ConfigNeedUniqueTaskName", "config", "internal", "medium", "must specify a unique task name"),
    (20020, "ConfigInvalidTaskMode", "config", "internal", "medium", "please specify right task-mode, support `full`, `incremental`, `all`, `dump`, `load`"),
    (20021, "ConfigNeedTargetDB", "config", "internal", "medium", "must specify target-database"),
    (20023, "ConfigRouteRuleNotFound", "config", "internal", "medium", "mysql-instance({})'s route-rules {} not exist in routes"),
    (20024, "ConfigFilterRuleNotFound", "config", "internal", "medium", "mysql-instance({})'s filter-rules {} not exist in filters"),
    (20026, "ConfigBAListNotFound", "config", "internal", "medium", "mysql-instance({})'s list {} not exist in block allow list"),
    (20027, "ConfigMydumperCfgNotFound", "config", "internal", "medium", "mysql-instance({})'s mydumper config {} not exist in mydumpers"),
    (20028, "ConfigMydumperPathNotValid", "config", "internal", "medium", "mysql-instance({})'s mydumper-path must specify a valid path to mydumper binary when task-mode is all or full"),
    (20029, "ConfigLoaderCfgNotFound", "config", "internal", "medium", "mysql-instance({})'s loader config {} not exist in loaders"),
    (20030, "ConfigSyncerCfgNotFound", "config", "internal", "medium", "mysql-instance({})'s syncer config {} not exist in syncer"),
    (20031, "ConfigSourceIDNotFound", "config", "internal", "medium", "source {} in deployment configuration not found"),
    (20032, "ConfigDuplicateCfgItem", "config", "internal", "medium", "the following mysql configs have duplicate items, please remove the duplicates: {}"),
    (20033, "ConfigShardModeNotSupport", "config", "internal", "medium", "shard mode {} not supported"),
    (20037, "ConfigBinlogEventFilter", "config", "internal", "high", "generate binlog event filter"),
    (20038, "ConfigGlobalConfigsUnused", "config", "internal", "high", "The configurations as following {} are set in global configuration but instances don't use them"),
    (20039, "ConfigExprFilterManyExpr", "config", "internal", "high", "expression filter can only specify one of (insert, update, delete) expressions, but {} has specified {}"),
    (20040, "ConfigExprFilterNotFound", "config", "internal", "high", "mysql-instance({})'s expression-filters {} not exist in expression-filter"),
    (20041, "ConfigExprFilterWrongGrammar", "config", "internal", "high", "expression-filter name({}) SQL({}) has wrong grammar"),
    (20042, "ConfigExprFilterEmptyName", "config", "internal", "high", "expression-filter {} has empty {}"),
    (20043, "ConfigCheckerMaxTooSmall", "config", "internal", "high", "`backoff-max` value {} is less than `backoff-min` value {}"),
    (20044, "ConfigGenBAList", "config", "internal", "high", "generate block allow list error"),
    (20045, "ConfigGenTableRouter", "config", "internal", "high", "generate table router error"),
    (20047, "ConfigInvalidChunkFileSize", "config", "internal", "high", "invalid `chunk-filesize` {}"),
    (20048, "ConfigOnlineDDLInvalidRegex", "config", "internal", "high", "config '{}' regex pattern '{}' invalid, reason: {}"),
    (20049, "ConfigOnlineDDLMistakeRegex", "config", "internal", "high", "online ddl sql '{}' invalid, table {} fail to match '{}' online ddl regex"),
    (20052, "ConfigCollationCompatibleNotSupport", "config", "internal", "medium", "collation compatible {} not supported"),
    (20053, "ConfigInvalidLoadMode", "config", "internal", "medium", "invalid load mode '{}'"),
    (20054, "ConfigInvalidDuplicateResolution", "config", "internal", "medium", "invalid load on-duplicate-logical or on-duplicate option '{}'"),
    (20055, "ConfigValidationMode", "config", "internal", "high", "invalid validation mode"),
    (20056, "ContinuousValidatorCfgNotFound", "config", "internal", "medium", "mysql-instance({})'s continuous validator config {} not exist"),
    (20057, "ConfigStartTimeTooLate", "config", "internal", "high", "start-time {} is too late, no binlog location matches it"),
    (20058, "ConfigLoaderDirInvalid", "config", "internal", "high", "loader's dir {} is invalid"),
    (20060, "ConfigInvalidSafeModeDuration", "config", "internal", "medium", "safe-mode-duration '{}' parsed failed: {}"),
    (20061, "ConfigConfictSafeModeDurationAndSafeMode", "config", "internal", "low", "safe-mode(true) conflicts with safe-mode-duration(0s)"),
    (20062, "ConfigInvalidPhysicalDuplicateResolution", "config", "internal", "medium", "invalid load on-duplicate-physical option '{}'"),
    (20063, "ConfigInvalidPhysicalChecksum", "config", "internal", "medium", "invalid load checksum-physical option '{}'"),
    (20064, "ConfigColumnMappingDeprecated", "config", "internal", "high", "column-mapping is not supported since v6.6.0"),
    (20065, "ConfigInvalidLoadAnalyze", "config", "internal", "medium", "invalid load analyze option '{}'"),
    (20066, "ConfigStrictOptimisticShardMode", "config", "internal", "medium", "cannot enable `strict-optimistic-shard-mode` while `shard-mode` is not `optimistic`"),
    (20067, "ConfigSecretKeyPath", "config", "internal", "high", "invalid secret key path or content: {}"),
    (20068, "ConfigImportIntoShardingNotSupport", "config", "internal", "high", "import-into mode does not support sharding (multi-source) scenario"),
    (20069, "ConfigImportIntoRequiresSharedStorage", "config", "internal", "high", "import-into mode requires shared storage (s3, gcs, azure, etc.) for loader's dir, but got local path '{}'"),
    (20070, "ConfigUnsupportedForeignKeyChecksOption", "config", "internal", "medium", "`{}` is not supported when foreign_key_checks=1"),
    (26001, "TaskCheckSameTableName", "task-check", "internal", "medium", "same table name in case-insensitive {}"),
    (26002, "TaskCheckFailedOpenDB", "task-check", "internal", "high", "failed to open DSN {}:***@{}:{}"),
    (26003, "TaskCheckGenTableRouter", "task-check", "internal", "medium", "generate table router error"),
    (26005, "TaskCheckSyncConfigError", "task-check", "internal", "medium", "{}: {} detail: {}"),
    (26006, "TaskCheckGenBAList", "task-check", "internal", "medium", "generate block allow list error"),
    (26007, "SourceCheckGTID", "task-check", "internal", "medium", "{} has GTID_MODE = {} instead of ON"),
    (32001, "DumpUnitRuntime", "dump-unit", "internal", "high", "mydumper/dumpling runs with error, with output (may empty): {}"),
    (32004, "DumpUnitGlobalLock", "dump-unit", "internal", "high", "Couldn't acquire global lock"),
    (36001, "SyncerUnitPanic", "sync-unit", "internal", "high", "panic error: {}"),
    (36015, "SyncerUnitBinlogEventFilter", "sync-unit", "internal", "high", ""),
    (36024, "SyncerUnitInjectDDLWithoutSchema", "sync-unit", "internal", "low", "injected DDL {} without schema name not valid"),
    (36027, "SyncerUnitDMLColumnNotMatch", "sync-unit", "internal", "high", "Column count doesn't match value count"),
    (36039, "SyncerUnitOnlineDDLInvalidMeta", "sync-unit", "internal", "high", "online ddl meta invalid"),
    (36044, "SyncerUnitGhostRenameToGhostTable", "sync-unit", "internal", "high", "rename table to gh-ost temporary table {} not supported"),
    (36045, "SyncerUnitGhostRenameGhostTblToOther", "sync-unit", "internal", "high", "rename gh-ost temporary table to other temporary table {} not supported"),
    (36046, "SyncerUnitGhostOnlineDDLOnGhostTbl", "sync-unit", "internal", "high", "online ddl metadata for ghost temporary table `{}`.`{}` not found"),
    (36065, "SyncerOperatorNotExist", "sync-unit", "internal", "low", "error operator not exist, position: {}"),
    (36067, "SyncerParseDDL", "sync-unit", "internal", "high", "parse DDL: {}"),
    (36068, "SyncerUnsupportedStmt", "sync-unit", "internal", "high", "`{}` statement not supported in {} mode"),
    (36069, "SyncerGetEvent", "sync-unit", "upstream", "high", "get binlog event error: {}"),
    (36070, "SyncerDownstreamTableNotFound", "sync-unit", "internal", "high", "downstream table {} not found"),
    (38032, "MasterOperRespNotSuccess", "dm-master", "internal", "high", "some error occurs in dm-worker: {}"),
    (38041, "MasterInvalidOperateOp", "dm-master", "internal", "medium", "invalid op {} on {}"),
    (38043, "MasterRequestIsNotForwardToLeader", "dm-master", "internal", "high", "master is not leader, and can't forward request to leader"),
    (38045, "MasterFailToGetExpectResult", "dm-master", "internal", "medium", "fail to get expected result"),
    (38058, "MasterStartTask", "dm-master", "internal", "high", "can not start task: {} reason: {}"),
    (40005, "WorkerNeedSourceID", "dm-worker", "internal", "medium", "dm-worker should bind a non-empty source ID which represents a MySQL/MariaDB instance or a replica group"),
    (40006, "WorkerTooLongSourceID", "dm-worker", "internal", "medium", "the length of source ID {} is more than max allowed value {}"),
    (40007, "WorkerRelayBinlogName", "dm-worker", "internal", "medium", "relay-binlog-name {} not valid"),
    (40050, "WorkerNotRunningStage", "dm-worker", "internal", "high", "current stage is {} but not running, invalid"),
    (40051, "WorkerNotPausedStage", "dm-worker", "internal", "high", "current stage is {} but not paused, invalid"),
    (40054, "WorkerSubTaskNotFound", "dm-worker", "internal", "high", "sub task with name {} not found"),
    (40056, "WorkerOperSyncUnitOnly", "dm-worker", "internal", "high", "such operation is only available for syncer, but now syncer is not running. current unit is {}"),
    (40070, "WorkerNoStart", "dm-worker", "internal", "high", "no mysql source is being handled in the worker"),
    (44001, "SchemaTrackerInvalidJSON", "schema-tracker", "downstream", "high", "saved schema of {} is not proper JSON"),
    (44005, "SchemaTrackerCannotGetTable", "schema-tracker", "internal", "high", "cannot get table info for {} from schema tracker"),
    (44007, "SchemaTrackerCannotFetchDownstreamTable", "schema-tracker", "downstream", "medium", "cannot fetch {} table schema of {} in schema tracker"),
    (44009, "SchemaTrackerInvalidCreateTableStmt", "schema-tracker", "internal", "medium", "{} is not a valid `CREATE TABLE` statement"),
    (46004, "SchedulerWorkerNotExist", "scheduler", "internal", "medium", "dm-worker with name {} not exists"),
    (46006, "SchedulerWorkerInvalidTrans", "scheduler", "internal", "medium", "invalid stage transformation for dm-worker {}, from {} to {}"),
    (46007, "SchedulerSourceCfgExist", "scheduler", "internal", "medium", "source config with ID {} already exists"),
    (46008, "SchedulerSourceCfgNotExist", "scheduler", "internal", "medium", "source config with ID {} not exists"),
    (46009, "SchedulerSourcesUnbound", "dm-master", "internal", "medium", "sources {} have not bound"),
    (46010, "SchedulerSourceOpTaskExist", "dm-master", "internal", "medium", "source with name {} need to operate has existing tasks {}"),
    (46014, "SchedulerSubTaskExist", "scheduler", "internal", "medium", "subtasks with name {} for sources {} already exist"),
    (46017, "SchedulerSubTaskOpSourceNotExist", "dm-master", "internal", "medium", "sources {} need to be operate not exist"),
    (46018, "SchedulerTaskNotExist", "scheduler", "internal", "medium", "task with name {} not exist"),
    (46024, "SchedulerLatchInUse", "scheduler", "internal", "low", "when {}, resource {} is in use by other client"),
    (46025, "SchedulerSourceCfgUpdate", "scheduler", "internal", "low", "source {} can only be updated when relay is disabled and no tasks are running for now"),
    (46034, "SchedulerSubTaskNotExist", "scheduler", "internal", "medium", "subtasks with name {} for sources {} not exist"),
    (50000, "NotSet", "not-set", "not-set", "high", ""),
];

/// Their messages are put together by a helper: [`composed_messages_have_their_phrases`] makes them.
const COMPOSED: &[u32] = &[20023, 20024, 20026, 20027, 20029, 20030, 20040, 20054, 20062, 20063, 20065];

/// A message is looked for so many lines before and behind the place that names its code.
const LINES_AROUND: usize = 14;

/// A code that is decided upon, not raised, in these files.
const DECIDES: &[&str] = &["raft/model/src/policy.rs", "raft/model/src/codes.rs"];

#[test]
fn codes_are_those_of_dm() {
    let used: BTreeSet<u32> =
        codes::ALL.iter().map(|info| info.code).filter(|code| *code < OURS_FROM).collect();
    let listed: BTreeSet<u32> = DM.iter().map(|(code, ..)| *code).collect();
    assert_eq!(used, listed, "every code of DM has its line in the table");
    for (code, name, class, scope, level, _) in DM {
        let info = codes::info(*code).unwrap();
        let own = (info.name, info.class, info.scope.as_str(), info.level.as_str());
        assert_eq!(own, (*name, *class, *scope, *level), "{code}");
    }
}

/// The parts of a phrase, in order.
fn has_phrase(text: &str, phrase: &str) -> bool {
    let mut rest = text;
    phrase.split("{}").all(|part| match rest.find(part.trim()) {
        Some(at) => {
            rest = &rest[at + part.trim().len()..];
            true
        }
        None => false,
    })
}

/// The string literals of a source with their places, without comments.
fn literals(source: &str) -> Vec<(usize, String)> {
    let bytes = source.as_bytes();
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        let rest = &source[at..];
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            at += rest[1..].find('\'').unwrap_or(0) + 2;
        } else if bytes[at] == b'"' {
            let begin = at;
            let mut text = String::new();
            let mut chars = rest.char_indices().skip(1).peekable();
            at = bytes.len();
            while let Some((index, c)) = chars.next() {
                match c {
                    '"' => {
                        at = begin + index + 1;
                        break;
                    }
                    '\\' => match chars.next() {
                        // The line goes on.
                        Some((_, '\n')) => while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {},
                        Some((_, c)) => text.push(c),
                        None => {}
                    },
                    c => text.push(c),
                }
            }
            found.push((begin, text));
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    found
}

fn sources(under: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(under).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir()
            && !matches!(name.as_str(), "target" | "tests" | "fuzz" | "chaos")
            && !name.starts_with('.')
        {
            sources(&path, into);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            into.push(path);
        }
    }
}

/// Places where `constant` stands as a whole word.
fn words<'s>(source: &'s str, constant: &'s str) -> impl Iterator<Item = usize> + 's {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    source.match_indices(constant).map(|(at, _)| at).filter(move |at| {
        !source[..*at].ends_with(part_of_word) && !source[at + constant.len()..].starts_with(part_of_word)
    })
}

/// The message of the use at `place`: the literal right behind it, else all literals around it.
fn message(source: &str, literals: &[(usize, String)], place: usize, end: usize) -> String {
    let behind = source[end..].trim_start();
    if let Some(argument) = behind.strip_prefix(',') {
        let argument = argument.trim_start();
        let argument = argument.strip_prefix("format!(").map_or(argument, str::trim_start);
        if argument.starts_with('"') {
            let next = literals.iter().find(|(at, _)| *at > end);
            return next.map(|(_, text)| text.clone()).unwrap_or_default();
        }
    }
    let line = |at: usize| source[..at].matches('\n').count();
    let near = literals.iter().filter(|(at, _)| line(*at).abs_diff(line(place)) <= LINES_AROUND);
    near.map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n")
}

#[test]
fn messages_have_the_phrases_of_dm() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let constants = fs::read_to_string(root.join("raft/model/src/codes.rs")).unwrap();
    let named: Vec<(&str, &str)> = constants
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let code: u32 = words.next()?.parse().ok()?;
            let constant = words.next()?;
            let (.., phrase) = DM.iter().find(|(known, ..)| *known == code && !COMPOSED.contains(&code))?;
            Some((constant, *phrase))
        })
        .collect();
    assert_eq!(named.len(), DM.len() - COMPOSED.len(), "the lines of codes.rs are understood");

    let mut files = Vec::new();
    sources(&root, &mut files);
    let (mut missing, mut checked) = (Vec::new(), 0);
    for file in files {
        let shown = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        if DECIDES.contains(&shown.as_str()) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(&text);
        let literals = literals(text);
        for (constant, phrase) in &named {
            for place in words(text, constant) {
                let before =
                    text[..place].trim_end_matches("dmnode_model::codes::").trim_end_matches("codes::");
                if before.trim_end().ends_with("==") {
                    continue;
                }
                checked += 1;
                if !has_phrase(&message(text, &literals, place, place + constant.len()), phrase) {
                    let line = text[..place].matches('\n').count() + 1;
                    missing.push(format!("{shown}:{line}: {constant} is raised without `{phrase}`"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(checked > 120, "only {checked} uses were found");
}

#[test]
fn composed_messages_have_their_phrases() {
    let instance = "name: t\ntask-mode: all\ntarget-database: {host: h, port: 3306, user: u}\n\
                    mysql-instances:\n  - source-id: s\n";
    for (line, code) in [
        ("    route-rules: [x]\n", 20023),
        ("    filter-rules: [x]\n", 20024),
        ("    block-allow-list: x\n", 20026),
        ("    mydumper-config-name: x\n", 20027),
        ("    loader-config-name: x\n", 20029),
        ("    syncer-config-name: x\n", 20030),
        ("    expression-filters: [x]\n", 20040),
        ("    loader: {on-duplicate-logical: x}\n", 20054),
        ("    loader: {on-duplicate-physical: x}\n", 20062),
        ("    loader: {checksum-physical: x}\n", 20063),
        ("    loader: {analyze: x}\n", 20065),
    ] {
        assert!(COMPOSED.contains(&code));
        let (.., phrase) = DM.iter().find(|(known, ..)| *known == code).unwrap();
        let err = TaskConfig::from_yaml(&format!("{instance}{line}"), None).unwrap_err();
        assert_eq!(err.code, code, "{line}: {err}");
        assert!(has_phrase(&err.message, phrase), "{code}: `{}` is not `{phrase}`", err.message);
    }
}

#[test]
fn phrases_are_found_in_literals_alone() {
    let source = "new(codes::A, \"x {y} \\\n   z\") // \"no\"\n\"\\\"q\"";
    let found: Vec<String> = literals(source).into_iter().map(|(_, text)| text).collect();
    assert_eq!(found, ["x {y} z", "\"q"]);
    assert!(has_phrase("x {y} z", "x {} z") && !has_phrase("z x", "x {} z"));
}
