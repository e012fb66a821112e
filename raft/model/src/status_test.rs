//! The answers in DM's words.

use super::*;

fn compact(text: &str) -> String {
    serde_json::from_str::<serde_json::Value>(text).unwrap().to_string()
}

#[track_caller]
fn round_trip<T: Serialize + for<'a> Deserialize<'a>>(dm: &str) {
    let message: T = serde_json::from_str(dm).unwrap();
    assert_eq!(serde_json::to_string(&message).unwrap(), compact(dm));
}

#[test]
fn dms_examples_survive_unchanged() {
    round_trip::<SubTaskStatus>(
        r#"{"name":"test","stage":"Running","unit":"Load","result":null,"unresolvedDDLLockID":"","load":{"finishedBytes":"115","totalBytes":"452","progress":"25.44 %","metaBinlog":"(mysql-bin.000001, 2022)","metaBinlogGTID":"","bps":"2734"},"validation":null}"#,
    );
    round_trip::<QueryStatusListResponse>(
        r#"{"result":true,"msg":"","sources":[{"result":true,"msg":"","sourceStatus":{"source":"mysql-replica-01","worker":"worker1","result":null,"relayStatus":null},"subTaskStatus":[{"name":"test","stage":"Running","unit":"Sync","result":null,"unresolvedDDLLockID":"","sync":{"totalEvents":"12","totalTps":"1","recentTps":"1","masterBinlog":"(bin.000001, 3234)","masterBinlogGtid":"c0149e17-…:1-14","syncerBinlog":"(bin.000001, 2525)","syncerBinlogGtid":"","blockingDDLs":[],"unresolvedGroups":[],"synced":false,"binlogType":"remote","secondsBehindMaster":"0","blockDDLOwner":"","conflictMsg":"","totalRows":"12","totalRps":"1","recentRps":"1","ioTotalBytes":"0","dumpIOTotalBytes":"0"},"validation":null}]}]}"#,
    );
    round_trip::<ShardingGroup>(
        r#"{"target":"`shard_db`.`shard_table`","DDLs":["ALTER TABLE …"],"firstLocation":"position: (bin|000001.000001, 3130), gtid-set: ","synced":["`db`.`t1`"],"unsynced":["`db`.`t2`"]}"#,
    );
    round_trip::<ListMemberResponse>(
        r#"{"result":true,"msg":"","members":[{"leader":{"msg":"","name":"master1","addr":"127.0.0.1:8261"}},{"master":{"msg":"","masters":[{"name":"master1","memberID":"11007177379717700053","alive":true,"peerURLs":["http://127.0.0.1:8291"],"clientURLs":["http://127.0.0.1:8261"]}]}},{"worker":{"msg":"","workers":[{"name":"worker1","addr":"127.0.0.1:8262","stage":"bound","source":"mysql-replica-01"}]}}]}"#,
    );
    round_trip::<ProcessResult>(
        r#"{"isCanceled":false,"errors":[{"ErrCode":44006,"ErrClass":"schema-tracker","ErrScope":"internal","ErrLevel":"high","Message":"m","RawCause":"c","Workaround":""}],"detail":null}"#,
    );
    round_trip::<StartTaskResponse>(
        r#"{"result": true, "msg": "", "sources": [{"result": true, "msg": "", "source": "mysql-replica-01", "worker": "worker1"}], "checkResult": "pre-check is passed. "}"#,
    );
    round_trip::<QueryStatusSummary>(
        r#"{"result": true, "msg": "", "tasks": [{"taskName": "test", "taskStatus": "Running", "sources": ["mysql-replica-01","mysql-replica-02"]}]}"#,
    );
    round_trip::<ValidationStatus>(
        r#"{"task":"test","source":"mysql-01","mode":"full","stage":"Running","validatorBinlog":"(mysql-bin.000001, 6571)","validatorBinlogGtid":"","result":null,"processedRowsStatus":"insert/update/delete: 2/0/0","pendingRowsStatus":"insert/update/delete: 0/0/0","errorRowsStatus":"new/ignored/resolved: 0/0/0","cutoverBinlogPos":"","cutoverBinlogGtid":""}"#,
    );
}

#[test]
fn defaults_are_emitted_and_extras_come_last() {
    let status = SubTaskStatus { dmnode: Some(SubTaskExtra::default()), ..SubTaskStatus::default() };
    let json = serde_json::to_string(&status).unwrap();
    assert!(json.starts_with(r#"{"name":"","stage":"InvalidStage","unit":"InvalidUnit","result":null,"unresolvedDDLLockID":"","validation":null,"dmnode":{"#), "{json}");
    let entry = serde_json::to_string(&SourceStatusEntry::default()).unwrap();
    assert_eq!(entry, r#"{"result":false,"msg":"","sourceStatus":null,"subTaskStatus":[]}"#);
    assert_eq!(serde_json::from_str::<LoadStatus>(r#"{"bps":7}"#).unwrap().bps, 7);
    assert!(serde_json::from_str::<LoadStatus>(r#"{"bps":"-7"}"#).is_err());
}

#[test]
fn dump_numbers_print_as_dm_prints_doubles() {
    let dump = DumpStatus { completed_tables: 3.0, total_tables: 10, ..DumpStatus::default() };
    let json = serde_json::to_string(&dump).unwrap();
    assert!(json.starts_with(r#"{"totalTables":"10","completedTables":3,"#), "{json}");
}
