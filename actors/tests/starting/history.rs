//! F24: a server with the right name and enough transactions, and yet with another history.

use std::path::{Path, PathBuf};

use dmnode_model::{BinlogPosition, StreamDecision, StreamOp, codes};

use crate::origin::{VirtualAddress, replica_arguments, replicate, stop_replica};
use crate::support::{Kind, Server, copy_data};
use crate::{LOG, Rig};

const FROM_THE_START: &str = "    meta:\n      binlog-name: bin.000001\n      binlog-pos: 4\n";

/// Nothing of the other history has come, and nothing twice.
async fn untouched(rig: &Rig) {
    assert_eq!(rig.target.number("SELECT COUNT(*) - COUNT(DISTINCT line) FROM app.log").await, 0);
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.log WHERE line LIKE 'new%'").await, 0);
}

async fn write_anew(server: &Server, count: usize) {
    for round in 0..count {
        server.execute(&[&format!("INSERT INTO app.log VALUES ('new {round}')")]).await;
    }
}

fn scratch() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("backup-{}", uuid::Uuid::new_v4()))
}

/// An image of the server's disk from before the last transactions is put back; the server goes on, and has more
/// transactions and more binlog than the task has read.
async fn restored(kind: Kind, gtid: bool) {
    let mut rig = Rig::new(kind, &[], gtid).await;
    rig.source.execute(&LOG).await;
    rig.log(&["1", "2"]).await;
    rig.meta = FROM_THE_START.into();
    let backup = scratch();
    rig.source = rig.source.restart_after(|data| copy_data(data, &backup)).await;
    rig.log(&["3", "4", "5"]).await;
    let mut running = rig.start();
    assert_eq!(rig.lines("5", &mut running).await, ["1", "2", "3", "4", "5"]);
    // Again with another file: it is the same source.
    running.stop().await;
    let mut running = rig.start();
    rig.log(&["6"]).await;
    rig.lines("6", &mut running).await;
    running.stop().await;

    rig.source = rig.source.restart_after(|data| copy_data(&backup, data)).await;
    std::fs::remove_dir_all(&backup).unwrap();
    write_anew(&rig.source, 9).await;
    rig.source.execute(&["FLUSH BINARY LOGS", "FLUSH BINARY LOGS"]).await;
    write_anew(&rig.source, 9).await;
    let error = rig.start().error().await;
    assert_eq!(error.code, codes::SOURCE_CHANGED, "{error}");
    untouched(&rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_a_mysql_restored_from_a_backup_is_recognised_by_gtid() {
    restored(Kind::Mysql, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_a_mariadb_restored_from_a_backup_is_recognised_by_position() {
    restored(Kind::Mariadb, false).await;
}

/// Two servers with one data directory, and so with one name: each goes on by itself, with the same numbers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_a_cloned_server_with_the_same_uuid_is_recognised() {
    let mut rig = Rig::new(Kind::Mysql, &[], true).await;
    rig.source.execute(&LOG).await;
    rig.log(&["1", "2"]).await;
    let backup = scratch();
    rig.source = rig.source.restart_after(|data| copy_data(data, &backup)).await;
    let clone = Server::start_from(Kind::Mysql, &backup).await;
    std::fs::remove_dir_all(&backup).unwrap();
    let address = VirtualAddress::new(&rig.source).await;
    rig.source_port = address.port;
    rig.log(&["3", "4"]).await;
    rig.meta = FROM_THE_START.into();
    let mut running = rig.start();
    assert_eq!(rig.lines("4", &mut running).await, ["1", "2", "3", "4"]);
    write_anew(&clone, 9).await;
    address.move_to(&clone, true);
    let error = running.error().await;
    assert_eq!(error.code, codes::SOURCE_CHANGED, "{error}");
    assert!(error.to_string().contains("is not the one that the task has read"), "{error}");
    untouched(&rig).await;
}

/// The end of the binlog is lost in a crash, and the server has written more since.
async fn shortened(kind: Kind) {
    let mut rig = Rig::new(kind, &[], false).await;
    rig.source.execute(&LOG).await;
    rig.log(&["1", "2"]).await;
    let status = if kind == Kind::Mysql { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
    let row = rig.source.query(status).await.remove(0);
    let (file, pos) = (row[0].clone().unwrap(), row[1].clone().unwrap().parse::<u64>().unwrap());
    rig.log(&["3", "4"]).await;
    rig.meta = FROM_THE_START.into();
    let mut running = rig.start();
    rig.lines("4", &mut running).await;
    running.stop().await;
    rig.source = rig
        .source
        .restart_after(|data| {
            let binlog = std::fs::File::options().write(true).open(data.join(&file)).unwrap();
            binlog.set_len(pos).unwrap();
        })
        .await;
    write_anew(&rig.source, 20).await;
    let error = rig.start().error().await;
    assert_eq!(error.code, codes::SOURCE_CHANGED, "{error}");
    untouched(&rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_a_shortened_binlog_of_mysql_is_recognised() {
    shortened(Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_a_shortened_binlog_of_mariadb_is_recognised() {
    shortened(Kind::Mariadb).await;
}

/// The new source is a replica that lacks what was read, and has gone beyond its numbers by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_a_replica_with_other_transactions_under_the_same_numbers_is_recognised() {
    let mut rig = Rig::new(Kind::Mariadb, &[], true).await;
    let replica = Server::start(Kind::Mariadb, replica_arguments(Kind::Mariadb)).await;
    let address = VirtualAddress::new(&rig.source).await;
    rig.source_port = address.port;
    rig.source.execute(&LOG).await;
    rig.log(&["1"]).await;
    replicate(&rig.source, &replica).await;
    stop_replica(&replica).await;
    rig.log(&["2", "3"]).await;
    rig.meta = FROM_THE_START.into();
    let mut running = rig.start();
    rig.lines("3", &mut running).await;
    running.stop().await;
    write_anew(&replica, 9).await;
    address.move_to(&replica, true);
    let error = rig.start().error().await;
    assert_eq!(error.code, codes::SOURCE_CHANGED, "{error}");
    assert!(error.to_string().contains(&format!("missing: 0-{}-5", rig.source.port)), "{error}");
    untouched(&rig).await;
}

/// Where the last event with rows begins.
async fn last_rows(server: &Server) -> BinlogPosition {
    let row = server.query("SHOW BINARY LOG STATUS").await.remove(0);
    let file = row[0].clone().unwrap();
    let events = server.query(&format!("SHOW BINLOG EVENTS IN '{file}'")).await;
    let row = events.iter().rfind(|row| row[2].as_deref() == Some("Write_rows")).unwrap();
    BinlogPosition::new(file, row[1].clone().unwrap().parse().unwrap())
}

/// What was decided about a position of the former server is not done to what stands there on the new one; what is
/// decided afterwards is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_decisions_do_not_move_to_another_server() {
    let mut rig = Rig::new(Kind::Mysql, &[], true).await;
    let replica = Server::start(Kind::Mysql, &[]).await;
    let address = VirtualAddress::new(&rig.source).await;
    rig.source_port = address.port;
    rig.source.execute(&LOG).await;
    rig.log(&["1"]).await;
    replicate(&rig.source, &replica).await;
    stop_replica(&replica).await;
    rig.meta = FROM_THE_START.into();
    let mut running = rig.start();
    rig.lines("1", &mut running).await;
    running.stop().await;

    let skip =
        |position, number| StreamDecision { position, op: StreamOp::Skip, statements: Vec::new(), number };
    replica.execute(&["FLUSH BINARY LOGS", "INSERT INTO app.log VALUES ('2')"]).await;
    rig.decisions = vec![skip(last_rows(&replica).await, 5)];
    address.move_to(&replica, true);
    let mut running = rig.start();
    assert_eq!(rig.lines("2", &mut running).await, ["1", "2"], "not skipped");
    let warnings = running.status().warnings.join("\n");
    assert!(
        warnings.contains("another server answers") && warnings.contains("are not followed"),
        "{warnings}"
    );
    running.stop().await;
    replica.execute(&["INSERT INTO app.log VALUES ('3')", "INSERT INTO app.log VALUES ('4')"]).await;
    let mut position = last_rows(&replica).await;
    rig.decisions.push(skip(position.clone(), 9));
    // The former one would fit here: it stays void all the same.
    position.pos -= 4;
    rig.decisions.push(skip(position, 5));
    let mut running = rig.start();
    replica.execute(&["INSERT INTO app.log VALUES ('5')"]).await;
    assert_eq!(rig.lines("5", &mut running).await, ["1", "2", "3", "5"], "4 is skipped");
    running.stop().await;
}
