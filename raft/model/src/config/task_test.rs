//! What task.yaml may and may not say.

use std::time::Duration;

use super::*;
use crate::config::MissingRow;
use crate::config::{ImportMode, SourceConfig, ValidatorMode};

/// DM's own example.
const SAMPLE: &str = r#"
name: t1
task-mode: all
target-database: {host: 127.0.0.1, port: 4000, user: root, password: "s3cret"}
mysql-instances:
- source-id: mysql-01
  block-allow-list: ba
  route-rules: [r1]
  filter-rules: [f1]
  mydumper-config-name: global
block-allow-list: {ba: {do-dbs: ["~^shard_"]}}
routes: {r1: {schema-pattern: "shard_*", target-schema: merged}}
filters: {f1: {schema-pattern: "shard_*", events: ["truncate table"], action: Ignore}}
mydumpers: {global: {threads: 8, extra-args: "--consistency none"}}
"#;

fn parse(text: &str) -> Result<Parsed<TaskConfig>, CodedError> {
    TaskConfig::from_yaml(text, None)
}

/// A small task with further top-level lines and further lines of its instance.
fn task(top: &str, instance: &str) -> String {
    format!(
        "name: t\ntask-mode: all\ntarget-database: {{host: h, port: 1, user: u, password: p}}\n\
         mysql-instances:\n- source-id: a\n{instance}\n{top}\n"
    )
}

#[test]
fn dms_example_is_read() {
    let parsed = parse(SAMPLE).unwrap();
    let config = &parsed.value;
    assert_eq!(
        (config.name.as_str(), config.mode, config.meta_schema.as_str()),
        ("t1", TaskMode::All, "dm_meta")
    );
    assert_eq!(config.source_ids(), [SourceId::new("mysql-01")]);
    let subtask = config.subtask(&SourceId::new("mysql-01")).unwrap();
    assert_eq!(subtask.routes[0].target_schema, "merged");
    assert_eq!(subtask.block_allow_list.do_dbs, ["~^shard_"]);
    assert_eq!((subtask.dump.threads, subtask.load.pool_size, subtask.sync.worker_count), (8, 16, 16));
    assert!(!subtask.sync.batch_given && subtask.sync.batch == 100);
    assert_eq!(subtask.target.password.expose(), "s3cret");
    assert!(!parsed.warnings.iter().any(|one| one.contains("filters.f1")));
    assert_eq!(config.subtask(&SourceId::new("x")).unwrap_err().code, 20031);
    for shown in [format!("{config:?}"), serde_json::to_string(config).unwrap(), config.masked_yaml()] {
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    assert!(config.masked_yaml().contains("user: root, password: '******'}"));
}

#[test]
fn every_field_is_known() {
    let text = r#"
name: t
task-mode: all
is-sharding: true
shard-mode: optimistic
strict-optimistic-shard-mode: true
ignore-checking-items: [all]
meta-schema: meta
enable-heartbeat: true
heartbeat-update-interval: 1
heartbeat-report-interval: 10
timezone: Asia/Shanghai
case-sensitive: true
collation_compatible: strict
online-ddl: true
shadow-table-rules: ["_(.+)_x"]
trash-table-rules: ["^_(.+)_y$"]
online-ddl-scheme: pt
clean-dump-file: false
ansi-quotes: true
remove-meta: true
experimental: {async-checkpoint-flush: true}
target-database:
  host: h
  port: 1
  user: u
  password: p
  max-allowed-packet: 1
  session: {tidb_txn_mode: optimistic, N: 5, on: true}
  security: {ssl-ca: a}
mysql-instances:
- source-id: a
  meta: {binlog-name: bin.000001, binlog-pos: 4, binlog-gtid: ""}
  route-rules: [r]
  filter-rules: [f]
  expression-filters: [e]
  column-mapping-rules: [c]
  block-allow-list: b
  black-white-list: b
  mydumper-config-name: d
  mydumper-thread: 3
  loader-config-name: l
  loader-thread: 5
  syncer-config-name: s
  syncer-thread: 7
  validator-config-name: v
- source-id: b
  mydumper: {threads: 2}
  loader: {pool-size: 0}
  syncer: {batch: 50}
routes:
  r:
    schema-pattern: a
    table-pattern: b
    target-schema: c
    target-table: d
    extract-table: {table-regexp: "t_(.*)", target-column: c1}
    extract-schema: {schema-regexp: "s_(.*)", target-column: c2}
    extract-source: {source-regexp: "(.*)", target-column: c3}
filters: {f: {schema-pattern: a, table-pattern: b, events: [All DML], sql-pattern: ["^drop"], action: Do}}
expression-filter: {e: {schema: a, table: b, update-old-value-expr: x > 1, update-new-value-expr: x > 2}}
block-allow-list: {b: {do-dbs: [a], ignore-dbs: [b], do-tables: [{db-name: a, tbl-name: b}], ignore-tables: [{db-name: a, tbl-name: c}]}}
black-white-list: {}
column-mappings: {}
mydumpers: {d: {mydumper-path: x, threads: 9, chunk-filesize: 32MB, statement-size: 5, rows: 7, where: "1", skip-tz-utc: true, extra-args: ""}}
loaders:
  l: {pool-size: 4, dir: ./x, import-mode: loader, on-duplicate: x, on-duplicate-logical: ERROR, on-duplicate-physical: manual,
      sorting-dir-physical: s, disk-quota-physical: 1G, checksum-physical: "off", analyze: required, range-concurrency: 1,
      compress-kv-pairs: gz, pd-addr: x}
syncers:
  s: {meta-file: x, worker-count: 8, batch: 10, queue-size: 1, checkpoint-flush-interval: 5, compact: true, multiple-rows: true,
      on-missing-row: repair, strict-commit-order: true,
      max-retry: 1, auto-fix-gtid: true, disable-detect: true, enable-ansi-quotes: true, enable-gtid: true, safe-mode: true,
      safe-mode-duration: 1m}
validators:
  v: {mode: full, worker-count: 1, validate-interval: 1s, check-interval: 2s, row-error-delay: 3s, meta-flush-interval: 4s,
      batch-query-size: 5, max-pending-row-size: 1m, max-pending-row-count: 6}
"#;
    let parsed = parse(text).unwrap();
    let config = parsed.value;
    let (a, b) = (&config.instances[0], &config.instances[1]);
    assert_eq!((a.dump.threads, a.load.pool_size, a.sync.worker_count), (3, 5, 7));
    assert_eq!((a.dump.chunk_filesize, a.sync.checkpoint_flush_interval), (32 << 20, Duration::from_secs(5)));
    assert_eq!((a.load.import_mode, a.load.on_duplicate_logical.as_str()), (ImportMode::Logical, "error"));
    assert_eq!((a.validator.mode, a.validator.max_pending_row_size), (ValidatorMode::Full, 1 << 20));
    assert_eq!(a.filters[0].events, ["all dml"]);
    assert_eq!((b.dump.threads, b.load.pool_size), (2, 16));
    assert!(b.sync.batch_given && b.sync.batch == 50);
    assert_eq!((a.sync.compact, a.sync.multiple_rows), (Some(true), Some(true)));
    assert_eq!((a.sync.on_missing_row, a.sync.strict_commit_order), (MissingRow::Repair, true));
    assert_eq!(config.shadow_table_rules, ["^_(.+)_x$"]);
    assert_eq!(config.target.session.get("n").map(String::as_str), Some("5"));
    assert_eq!(config.target.session.get("on").map(String::as_str), Some("true"));
    assert_eq!(config.shard_mode, ShardMode::Optimistic);
    for name in [
        "shard-mode",
        "enable-heartbeat",
        "timezone",
        "collation_compatible",
        "clean-dump-file",
        "remove-meta",
        "experimental.async",
        "target-database.max-allowed-packet",
        "mydumpers.d.where",
        "loaders.l.dir",
        "loaders.l.analyze",
        "syncers.s.safe-mode",
        "validators.v",
        "meta` of a",
        "mysql-instances[0].column-mapping-rules",
    ] {
        let start = format!("`{name}");
        assert!(parsed.warnings.iter().any(|one| one.starts_with(&start)), "{name}: {:#?}", parsed.warnings);
    }
}

#[test]
fn dms_rules_have_dms_codes() {
    for (top, instance, code) in [
        ("shard-mode: x", "", 20033),
        ("is-sharding: false\nshard-mode: pessimistic", "", 20033),
        ("is-sharding: true\nshard-mode:", "", 20033),
        ("strict-optimistic-shard-mode: true", "", 20066),
        ("ignore-checking-items: [x]", "", 20001),
        ("timezone: SYSTEM", "", 20008),
        ("timezone: Local", "", 20008),
        ("timezone: '+14:01'", "", 20008),
        ("timezone: '-13:00'", "", 20008),
        ("timezone: Europe/Atlantis", "", 20008),
        ("collation_compatible: x", "", 20052),
        ("online-ddl-scheme: x", "", 20007),
        ("shadow-table-rules: ['_(a)_(b)']", "", 20048),
        ("trash-table-rules: ['(']", "", 20048),
        ("column-mappings: {a: {}}", "", 20064),
        ("routes: {r: {schema-pattern: a, target-schema: b}}", "", 20038),
        ("routes: {r: {schema-pattern: a}}", "  route-rules: [r]", 20045),
        ("", "  route-rules: [r]", 20023),
        ("", "  filter-rules: [r]", 20024),
        ("filters: {f: {schema-pattern: a, action: Do, events: [drop tabel]}}", "  filter-rules: [f]", 20037),
        ("filters: {f: {schema-pattern: a, action: Do, sql-pattern: ['(']}}", "  filter-rules: [f]", 20037),
        ("", "  expression-filters: [r]", 20040),
        ("expression-filter: {e: {schema: a}}", "  expression-filters: [e]", 20042),
        (
            "expression-filter: {e: {schema: a, table: b, insert-value-expr: x, delete-value-expr: y}}",
            "  expression-filters: [e]",
            20039,
        ),
        ("", "  block-allow-list: x", 20026),
        ("mydumpers: {d: {}}", "  mydumper-config-name: d\n  mydumper: {}", 0),
        ("mydumpers: {d: {}}", "  mydumper-config-name: d\n  mydumper: {threads: 1}", 20015),
        ("", "  mydumper-config-name: d", 20027),
        ("", "  mydumper: {mydumper-path: ''}", 20028),
        ("", "  mydumper: {chunk-filesize: x}", 20047),
        ("", "  loader-config-name: d", 20029),
        ("loaders: {d: {}}", "  loader-config-name: d\n  loader: {pool-size: 1}", 20016),
        ("", "  loader: {import-mode: x}", 20053),
        ("", "  loader: {on-duplicate-logical: x}", 20054),
        ("", "  loader: {on-duplicate-physical: x}", 20062),
        ("", "  loader: {checksum-physical: x}", 20063),
        ("", "  loader: {analyze: x}", 20065),
        ("", "  loader: {dir: 's3://'}", 20058),
        ("", "  loader: {import-mode: import-into}", 20069),
        ("shard-mode: pessimistic", "  loader: {import-mode: import-into, dir: 's3://b'}", 20068),
        ("", "  loader: {import-mode: import-into, dir: 's3://b'}\n- source-id: b", 20068),
        ("", "  loader: {import-mode: physical}\n- source-id: b", 20053),
        ("", "  syncer-config-name: d", 20030),
        ("syncers: {d: {}}", "  syncer-config-name: d\n  syncer: {batch: 1}", 20017),
        ("", "  syncer: {safe-mode-duration: x}", 20060),
        ("", "  syncer: {on-missing-row: maybe}", codes::CONFIG_VALUE_INVALID),
        ("", "  syncer: {safe-mode: true, safe-mode-duration: 0s}", 20061),
        ("", "  validator-config-name: d", 20056),
        ("validators: {d: {mode: x}}", "  validator-config-name: d", 20055),
        ("", "- source-id: a", 20014),
        ("", "- source-id: ''", 20005),
        ("", "- source-id: 123456789012345678901234567890123", 20006),
        ("routes: {r: {schema-pattern: a, target-schema: b}}", "  route-rules: [r, r]", 20032),
        ("unknown: 1", "", 20003),
        ("", "  unknown: 1", 20003),
        ("name: again", "", 20003),
        ("", "  syncer: {worker-count: 99999}", 60004),
    ] {
        let text = task(top, instance);
        match parse(&text) {
            Ok(_) => assert!(code == 0, "{top} {instance}"),
            Err(err) => assert_eq!(err.code, if code == 0 { 20015 } else { code }, "{top} {instance}: {err}"),
        }
    }
    let good = task("", "");
    for (from, to, code) in [
        ("name: t\n", "", 20019),
        ("name: t\n", "name: ''\n", 20019),
        ("name: t\n", "nmae: t\n", 20003),
        ("task-mode: all", "task-mode: x", 20020),
        ("task-mode: all\n", "", 20020),
        ("target-database:", "# ", 20021),
        ("mysql-instances:\n- source-id: a", "", 20013),
        ("task-mode: all", "task-mode: incremental", 0),
        ("user: u", "usr: u", 20003),
        ("port: 1", "port: '1'", 20003),
    ] {
        let text = good.replace(from, to);
        match parse(&text) {
            Ok(_) => assert_eq!(code, 0, "{to}"),
            Err(err) => assert_eq!(err.code, code, "{to}: {err}"),
        }
    }
}

#[test]
fn meta_counts_for_incremental_tasks_only() {
    let incremental = |instance: &str| task("", instance).replace("task-mode: all", "task-mode: incremental");
    let err = parse(&incremental("  meta: {binlog-pos: 4}")).unwrap_err();
    assert_eq!(err.code, 20011);
    let parsed = parse(&incremental("  meta: {binlog-name: b.000001, binlog-pos: 7}")).unwrap();
    let subtask = parsed.value.subtask(&SourceId::new("a")).unwrap();
    assert_eq!(subtask.meta.unwrap().binlog_pos, 7);
    assert!(parse(&incremental("")).unwrap().warnings[0].contains("present position"));
}

#[test]
fn null_entries_are_defaults_and_zeros_are_corrected() {
    let parsed = parse(&task(
        "mydumpers:\n  d:\nsyncers: {s: {queue-size: 0, checkpoint-flush-interval: 0, safe-mode-duration: '', worker-count: 0}}",
        "  mydumper-config-name: d\n  syncer-config-name: s",
    ))
    .unwrap();
    let instance = &parsed.value.instances[0];
    assert_eq!(instance.dump, DumpConfig::default());
    assert_eq!((instance.sync.queue_size, instance.sync.worker_count), (1024, 16));
    assert_eq!(instance.sync.checkpoint_flush_interval, Duration::from_secs(30));
    assert_eq!(instance.sync.safe_mode_duration, Duration::from_secs(60));
    assert!(parsed.warnings.iter().any(|one| one.contains("`syncers.s.worker-count` is 0")));
}

#[test]
fn foreign_key_checks_exclude_merging() {
    let text = task("", "  syncer: {compact: true}")
        .replace("password: p", "password: p, session: {FOREIGN_KEY_CHECKS: \"'ON'\"}");
    assert_eq!(parse(&text).unwrap_err().code, 20070);
}

#[test]
fn timezones_are_names_or_offsets() {
    for zone in ["Asia/Shanghai", "UTC", "+14:00", "-12:59", "+00:00", "America/New_York"] {
        parse(&task(&format!("timezone: '{zone}'"), "")).unwrap();
    }
}

#[test]
fn a_misspelt_key_is_named_with_line_column_and_suggestion() {
    let err = parse(&task("", "  syncer:\n    worker-cuont: 8")).unwrap_err();
    assert_eq!(err.location.as_deref(), Some("line 7, column 5"));
    assert!(err.message.contains("in `mysql-instances[0].syncer`; did you mean `worker-count`?"), "{err}");
    let err = parse(&task("routes: {r1: {schema-pattern: a, target-schema: b}}", "  route-rules: [r2]"))
        .unwrap_err();
    assert!(err.to_string().contains("did you mean"), "{err}");
}

#[test]
fn the_name_must_fit_into_table_names() {
    let text = task("", "").replace("name: t\n", &format!("name: {}\n", "x".repeat(47)));
    assert_eq!(parse(&text).unwrap_err().code, 60004);
}

#[test]
fn passwords_are_encrypted_and_decrypted() {
    let key = SecretKey::from_bytes([9; 32]);
    let stored = TaskConfig::encrypt_passwords_in_yaml(SAMPLE, &key).unwrap();
    assert!(!stored.contains("s3cret"));
    let config = TaskConfig::from_yaml(&stored, Some(&key)).unwrap().value;
    assert_eq!(config.target.password.expose(), "s3cret");
    assert_eq!(config.masked_yaml(), parse(SAMPLE).unwrap().value.masked_yaml());
}

#[test]
fn a_source_adds_its_filters_and_case() {
    let mut subtask = parse(SAMPLE).unwrap().value.subtask(&SourceId::new("mysql-01")).unwrap();
    let source = SourceConfig::from_yaml(
        "source-id: mysql-01\ncase-sensitive: true\nfilters:\n\
         - {schema-pattern: 'shard_*', action: Do}\n- {schema-pattern: other, action: Do}\n",
        None,
    )
    .unwrap();
    subtask.merge_source(&source.value);
    assert!(subtask.case_sensitive);
    let patterns: Vec<_> = subtask.filters.iter().map(|filter| filter.schema_pattern.as_str()).collect();
    assert_eq!(patterns, ["shard_*", "other"]);
    assert_eq!(subtask.filters[0].action, "Ignore", "the task's own filter wins");
}
