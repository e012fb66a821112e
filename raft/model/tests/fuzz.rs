//! Fuzz targets of the vocabulary: files of users, positions and GTID sets, passwords, requests to the API.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::str::FromStr;

use dmnode_fuzz::{fuzz, sign};
use dmnode_model::api;
use dmnode_model::config::{NodeConfig, SourceConfig, StartInstant, TaskConfig};
use dmnode_model::error::CodedError;
use dmnode_model::gtid::{Flavor, Gtid, GtidSet};
use dmnode_model::ids::SourceId;
use dmnode_model::position::BinlogPosition;
use dmnode_model::secret::SecretKey;
use serde::Serialize;
use serde::de::DeserializeOwned;

const SOURCE: &str = "source-id: mysql-replica-01\nenable-gtid: true\nflavor: mysql\nserver-id: 7\ncase-sensitive: false\n\
from: {host: 127.0.0.1, port: 3306, user: root, password: \"s3cret\", session: {SQL_MODE: ''}}\n\
filters: [{schema-pattern: a, table-pattern: b, events: [insert, drop table], sql-pattern: ['^x'], action: Ignore}]\n\
checker: {check-enable: false, backoff-rollback: 1m, backoff-max: 2m, backoff-min: 1s, backoff-factor: 2}\n\
purge: {interval: 1, expires: 2, remain-space: 3}\n";

const TASK: &str = "name: t\ntask-mode: all\ntimezone: '+02:00'\nmeta-schema: dm_meta\nonline-ddl: true\n\
shadow-table-rules: ['^_(.+)_(?:new|gho)$']\n\
target-database:\n  host: 127.0.0.1\n  port: 4000\n  user: root\n  password: 'pw'\n  session: {foreign_key_checks: 0}\n\
mysql-instances:\n  - source-id: s\n    meta: {binlog-name: bin.000001, binlog-pos: 4, binlog-gtid: ''}\n    route-rules: [r]\n\
\x20   filter-rules: [f]\n    block-allow-list: b\n    expression-filters: [e]\n    mydumper: {threads: 4, chunk-filesize: 64}\n\
routes:\n  r: {schema-pattern: 'shop_*', table-pattern: 't_*', target-schema: shop, target-table: t,\n\
\x20   extract-table: {table-regexp: 't_(.*)', target-column: c}}\n\
filters:\n  f: {schema-pattern: '*', events: [truncate table], action: Ignore}\n\
expression-filter:\n  e: {schema: a, table: b, insert-value-expr: 'a > 1'}\n\
block-allow-list:\n  b: {do-dbs: ['~^shop'], ignore-tables: [{db-name: a, tbl-name: '~x'}]}\n\
mydumpers: {global: {threads: 4}}\nloaders: {global: {pool-size: 16}}\nsyncers: {global: {worker-count: 16, batch: 100}}\n";

const NODE: &str = "name = 'n1'\nadvertise-addr = '127.0.0.1:8261'\ninitial-cluster = 'n1=127.0.0.1:8261,n2=127.0.0.1:8262'\n\
log-level = 'INFO'\nlog-format = 'json'\nsecret-key-path = 'key'\nsource-lost-after = 3_000\n";

fn text(input: &[u8]) -> String {
    String::from_utf8_lossy(input).into_owned()
}

fn code<T>(result: &Result<T, CodedError>) -> Result<(), (u32, &str)> {
    result.as_ref().map(|_| ()).map_err(|error| (error.code, error.message.as_str()))
}

#[test]
fn fuzz_files_of_users() {
    let key = SecretKey::from_bytes([3; 32]);
    let words = [
        "source-id",
        "from",
        "- ",
        ": ",
        "? ",
        "&a ",
        "*a",
        "<<: *a",
        "!!binary ",
        "| ",
        ">\n",
        "---\n",
        "...\n",
        "\t",
        "{",
        "[",
        "password",
        "security",
        "ssl-ca",
        "routes",
        "filters",
        "mysql-instances",
        "block-allow-list",
        "true",
        "null",
        "1e9",
        "10m",
        "64MB",
        "~^(",
        "[[",
        "= '''",
        "\"\"\"",
        "[a.b]",
        "a.b.c = 1",
    ];
    fuzz("files of users", &[SOURCE.as_bytes(), TASK.as_bytes(), NODE.as_bytes()], &words, |input| {
        let text = text(input);
        let source = SourceConfig::from_yaml(&text, Some(&key));
        if let Ok(parsed) = &source {
            // What is stored and shown is read again as the same source.
            let stored = SourceConfig::encrypt_passwords_in_yaml(&text, &key).unwrap();
            let again = SourceConfig::from_yaml(&stored, Some(&key)).unwrap();
            assert_eq!(again.value.from.password.expose(), parsed.value.from.password.expose());
            SourceConfig::from_yaml(&parsed.value.masked_yaml(), None).unwrap();
        }
        let task = TaskConfig::from_yaml(&text, Some(&key));
        if let Ok(parsed) = &task {
            for source in parsed.value.source_ids() {
                let _ = parsed.value.subtask(&source);
            }
            let _ = parsed.value.subtask(&SourceId::new("other"));
            let stored = TaskConfig::encrypt_passwords_in_yaml(&text, &key).unwrap();
            TaskConfig::from_yaml(&stored, Some(&key)).unwrap();
        }
        let node = NodeConfig::from_toml(&text, Path::new("/"));
        let members = NodeConfig::parse_initial_cluster(&text);
        sign(&(code(&source), code(&task), code(&node), code(&members)))
    });
}

#[test]
fn fuzz_positions_and_gtid_sets() {
    let seeds: [&[u8]; 7] = [
        b"mysql-bin.000001:4",
        b"(mysql-bin.000001, 4)",
        b"3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7-9,4e11fa47-71ca-11e1-9e33-c80aa9429562:tag:1-3",
        b"0-1-270,1-2-5",
        b"2026-01-02T03:04:05+02:00",
        b"2026-01-02 03:04:05",
        b"18446744073709551615",
    ];
    let words =
        ["-", ":", ",", "0-1-", ":1-", "9223372036854775807", "4294967295", "tag", "+14:59", "Z", " "];
    fuzz("positions and GTID sets", &seeds, &words, |input| {
        let text = text(input);
        let position = BinlogPosition::from_str(&text);
        if let Ok(position) = &position {
            let _ = position.file_number();
            assert_eq!(BinlogPosition::from_str(&position.to_string()).as_ref(), Ok(position));
        }
        let mut outcome = vec![code(&position).is_ok()];
        for flavor in [Flavor::Mysql, Flavor::Mariadb] {
            let set = GtidSet::parse(flavor, &text);
            outcome.push(set.is_ok());
            if let Ok(set) = &set {
                assert_eq!(
                    GtidSet::parse(flavor, &set.to_string()).as_ref(),
                    Ok(set),
                    "a set is read as it is written"
                );
                let mut union = set.clone();
                union.union(set).unwrap();
                assert_eq!(&union, set);
                assert!(set.contains_set(set) && set.subtract(set).is_empty());
            }
            outcome.push(Gtid::parse(flavor, &text).is_ok());
        }
        let start = StartInstant::parse(&text);
        if let Ok(start) = &start {
            let _ = (start.unix_seconds(), start.sql_text());
        }
        outcome.push(start.is_ok());
        sign(&(outcome, code(&position)))
    });
}

#[test]
fn fuzz_passwords() {
    let key = SecretKey::from_bytes([3; 32]);
    let good = key.encrypt("s3cret");
    let hex = "00".repeat(32);
    fuzz("passwords", &[good.as_bytes(), hex.as_bytes(), b"plain"], &["=", "==", "@", "+", "/"], |input| {
        let text = text(input);
        assert_eq!(key.decrypt(&key.encrypt(&text)).as_deref(), Ok(text.as_str()));
        let _ = key.decrypt_or_plain(&text);
        sign(&(code(&key.decrypt(&text)), code(&SecretKey::from_hex(&text))))
    });
}

#[test]
fn fuzz_bodies_of_requests() {
    fn reads<T: DeserializeOwned + Serialize>(input: &[u8]) -> bool {
        let read = serde_json::from_slice::<T>(input);
        if let Ok(value) = &read {
            serde_json::to_vec(value).unwrap();
        }
        read.is_ok()
    }
    let seeds: [&[u8]; 4] = [
        br#"{"task":"name: t","sources":["s"],"removeMeta":true,"startTime":""}"#,
        br#"{"op":"Pause","name":"t","sources":[]}"#,
        br#"{"op":"StartSource","config":["x"],"sourceId":["s"],"workerName":"n"}"#,
        br#"{"task":"t","tables":["a.b"],"errCnt":-1,"leader":true,"plaintext":"p","kind":"task"}"#,
    ];
    let words = ["\"op\":", "\"Resume\"", "null", "1e400", "[", "{", "\\ud800", "\"config\":", "true"];
    fuzz("bodies of requests", &seeds, &words, |input| {
        sign(&[
            reads::<api::StartTaskRequest>(input),
            reads::<api::OperateTaskRequest>(input),
            reads::<api::OperateSourceRequest>(input),
            reads::<api::CheckTaskRequest>(input),
            reads::<api::QueryStatusRequest>(input),
            reads::<api::GetConfigRequest>(input),
            reads::<api::ListMemberRequest>(input),
            reads::<api::TransferSourceRequest>(input),
            reads::<api::EncryptRequest>(input),
            reads::<dmnode_model::status::SubTaskStatus>(input),
        ])
    });
}
