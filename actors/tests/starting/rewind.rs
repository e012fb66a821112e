//! Going back: what was applied before comes again, in a window of safe mode that ends where the task was.

use std::time::Duration;

use dmnode_model::codes;
use dmnode_model::config::StartTime;

use crate::Rig;
use crate::support::Kind;

const KEYED: [&str; 2] =
    ["CREATE DATABASE app", "CREATE TABLE app.log (line VARCHAR(20) PRIMARY KEY, n INT DEFAULT 0)"];

async fn counts(rig: &Rig) -> Vec<Vec<Option<String>>> {
    rig.target.query("SELECT line, n FROM app.log ORDER BY line").await
}

/// By `--start-time` or by the checkpoint row.
async fn goes_back(kind: Kind, gtid: bool, by_time: bool) {
    let mut rig = Rig::new(kind, &[], gtid).await;
    rig.source.execute(&KEYED).await;
    rig.target.execute(&KEYED).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (time, place) = (
        rig.now().await,
        rig.source
            .query(if kind == Kind::Mysql { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" })
            .await
            .remove(0),
    );
    let (file, pos) = (place[0].clone().unwrap(), place[1].clone().unwrap());
    for sql in [
        "INSERT INTO app.log (line) VALUES ('1'), ('2'), ('3')",
        "UPDATE app.log SET n = n + 1",
        "DELETE FROM app.log WHERE line = '2'",
        "UPDATE app.log SET line = '4' WHERE line = '3'",
        "UPDATE app.log SET n = n + 10",
    ] {
        rig.source.execute(&[sql]).await;
    }
    rig.meta = format!("    meta:\n      binlog-name: {file}\n      binlog-pos: {pos}\n");
    let mut running = rig.start();
    rig.lines("4", &mut running).await;
    rig.log_keyed("5").await;
    rig.lines("5", &mut running).await;
    assert_eq!(running.status().safe_mode, None, "an ordinary start has none");
    running.stop().await;
    let before = counts(&rig).await;

    if by_time {
        rig.start_time = Some(StartTime { text: time, request: 7 });
    } else {
        let sql = format!(
            "UPDATE dm_meta.t_syncer_checkpoint SET binlog_name = '{file}', binlog_pos = {pos} WHERE is_global = 1"
        );
        rig.target.execute(&[&sql]).await;
    }
    // Somebody holds a row, so that the window can be looked at.
    let mut holder = rig.target.connect().await;
    holder.execute("BEGIN").await.unwrap();
    holder.query("SELECT * FROM app.log WHERE line = '1' FOR UPDATE").await.unwrap();
    let mut running = rig.start();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let status = loop {
        let status = running.status();
        if status.safe_mode.is_some() {
            break status;
        }
        assert!(
            !running.handle.is_finished() && tokio::time::Instant::now() < deadline,
            "no window: {status:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let window = status.safe_mode.clone().unwrap();
    assert!(
        window.reason.contains(if by_time { "--start-time went back" } else { "checkpoint row was changed" }),
        "{window:?}"
    );
    assert!(window.until.contains("position: (bin."), "{window:?}");
    assert!(status.warnings.iter().any(|note| note.contains("the task goes on at")), "{:?}", status.warnings);
    holder.execute("ROLLBACK").await.unwrap();
    rig.log_keyed("6").await;
    rig.lines("6", &mut running).await;
    rig.log_keyed("7").await;
    rig.lines("7", &mut running).await;
    assert_eq!(running.status().safe_mode, None, "it is passed");
    let mut expected = before;
    expected.extend(["6", "7"].map(|line| vec![Some(line.to_owned()), Some("0".to_owned())]));
    assert_eq!(counts(&rig).await, expected);
    running.stop().await;
    // Neither the window nor the jump comes again, the note stays.
    let mut running = rig.start();
    rig.log_keyed("8").await;
    rig.lines("8", &mut running).await;
    assert_eq!(running.status().safe_mode, None);
    assert!(!running.status().warnings.is_empty());
    running.stop().await;
}

impl Rig {
    async fn log_keyed(&self, line: &str) {
        self.source.execute(&[&format!("INSERT INTO app.log (line) VALUES ('{line}')")]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_back_to_a_time_on_mysql_repeats_without_harm() {
    goes_back(Kind::Mysql, true, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_back_to_a_time_on_mariadb_repeats_without_harm() {
    goes_back(Kind::Mariadb, false, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_back_by_the_checkpoint_repeats_without_harm() {
    goes_back(Kind::Mysql, true, false).await;
}

/// Rows of a table without a key cannot be told apart: the task stops before one of them is doubled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_back_never_doubles_rows_without_a_key() {
    let mut rig = Rig::new(Kind::Mariadb, &[], true).await;
    rig.source.execute(&crate::LOG).await;
    rig.meta = "    meta:\n      binlog-name: bin.000001\n      binlog-pos: 4\n".into();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let time = rig.now().await;
    rig.log(&["1", "2"]).await;
    let mut running = rig.start();
    rig.lines("2", &mut running).await;
    running.stop().await;
    rig.start_time = Some(StartTime { text: time, request: 7 });
    let error = rig.start().error().await;
    assert_eq!(error.code, codes::SAFE_MODE_KEYLESS, "{error}");
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.log").await, 2);
}
