//! `--start-time`.

use std::time::Duration;

use dmnode_model::codes;
use dmnode_model::config::StartTime;

use crate::Rig;
use crate::support::Kind;

/// What lies behind is repeated in safe mode, which needs a key.
const KEYED: [&str; 2] = ["CREATE DATABASE app", "CREATE TABLE app.log (line VARCHAR(20) PRIMARY KEY)"];

/// A start time leads to the first transaction at or after it, once; before the first binlog to the first one, after the
/// last event nowhere.
async fn start_time(from: Kind, gtid: bool) {
    let mut rig = Rig::new(from, &["--default-time-zone=+05:00"], gtid).await;
    rig.source.execute(&KEYED).await;
    rig.target.execute(&KEYED).await;
    rig.log(&["1"]).await;
    rig.source.execute(&["FLUSH BINARY LOGS"]).await;
    rig.log(&["2", "3"]).await;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let time = rig.now().await;
    rig.log(&["4"]).await;
    rig.source.execute(&["FLUSH BINARY LOGS"]).await;
    rig.log(&["5"]).await;
    rig.source.execute(&["FLUSH BINARY LOGS"]).await;

    rig.start_time = Some(StartTime { text: "2099-01-01 00:00:00".into(), request: 7 });
    let error = rig.start().error().await;
    assert_eq!(error.code, codes::CONFIG_START_TIME_TOO_LATE, "{error}");
    assert!(error.to_string().contains("start-time 2099-01-01 00:00:00 is too late"), "{error}");
    let known = "SELECT COUNT(*) FROM dm_meta.t_dmnode_progress WHERE watermark_file IS NOT NULL";
    assert_eq!(rig.target.number(known).await, 0, "nothing is decided");

    rig.start_time = Some(StartTime { text: time.clone(), request: 8 });
    let mut running = rig.start();
    assert_eq!(rig.lines("5", &mut running).await, ["4", "5"]);
    running.stop().await;
    // A resumed task does not begin at its start time again.
    rig.log(&["6"]).await;
    let mut running = rig.start();
    assert_eq!(rig.lines("6", &mut running).await, ["4", "5", "6"]);
    running.stop().await;
    // A new start does, whatever the task had reached. The same instant, told from UTC.
    let text = format!("{}+05:00", time.replace(' ', "T"));
    rig.start_time = Some(StartTime { text, request: 9 });
    rig.log(&["7"]).await;
    let mut running = rig.start();
    assert_eq!(rig.lines("7", &mut running).await, ["4", "5", "6", "7"]);
    running.stop().await;
    rig.target.execute(&["TRUNCATE TABLE app.log"]).await;
    // Before everything. The DDL of the beginning is undone, so that it can come again.
    rig.target.execute(&["DROP DATABASE app"]).await;
    rig.start_time = Some(StartTime { text: "2001-01-01 00:00:00".into(), request: 10 });
    let mut running = rig.start();
    while rig.target.number("SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'log' AND table_schema = 'app'").await == 0 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(!running.handle.is_finished(), "{:?}", running.handle.await);
    }
    assert_eq!(rig.lines("7", &mut running).await, ["1", "2", "3", "4", "5", "6", "7"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_time_leads_into_mysql_by_gtid() {
    start_time(Kind::Mysql, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_time_leads_into_mysql_by_position() {
    start_time(Kind::Mysql, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_time_leads_into_mariadb_by_gtid() {
    start_time(Kind::Mariadb, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_time_leads_into_mariadb_by_position() {
    start_time(Kind::Mariadb, false).await;
}
