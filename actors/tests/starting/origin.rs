//! F24: the server at the source's address is not the source any more, or has another history.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use dmnode_model::codes;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::{Kind, Server};
use crate::{LOG, Rig, Running};

/// An address that can be made to lead to another server.
pub struct VirtualAddress {
    pub port: u16,
    leads_to: Arc<AtomicU16>,
    /// Cuts the connections that exist.
    cut: tokio::sync::broadcast::Sender<()>,
}

impl VirtualAddress {
    pub async fn new(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let leads_to = Arc::new(AtomicU16::new(server.port));
        let cut = tokio::sync::broadcast::Sender::new(1);
        let (target, cutter) = (Arc::clone(&leads_to), cut.clone());
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let port = target.load(Ordering::SeqCst);
                let mut cut = cutter.subscribe();
                connections.spawn(async move {
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = cut.recv() => {}
                    }
                });
            }
        });
        Self { port, leads_to, cut }
    }

    /// Moves to another server. Connections to the former one live on unless they are cut.
    pub fn move_to(&self, server: &Server, cut: bool) {
        self.leads_to.store(server.port, Ordering::SeqCst);
        if cut {
            let _ = self.cut.send(());
        }
    }
}

/// Makes a server a replica of the rig's source that has all of it.
pub async fn replicate(from: &Server, to: &Server) {
    let port = from.port;
    let change = match from.kind {
        Kind::Mysql => format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={port}, SOURCE_USER='root', SOURCE_PASSWORD='', SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1"
        ),
        Kind::Mariadb => format!(
            "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, MASTER_USER='root', MASTER_PASSWORD='', MASTER_USE_GTID=slave_pos"
        ),
    };
    let start = if from.kind == Kind::Mysql { "START REPLICA" } else { "START SLAVE" };
    to.execute(&[&change, start]).await;
    let mut conn = from.connect().await;
    let location = match from.kind {
        Kind::Mysql => conn.query_one("SELECT @@GLOBAL.gtid_executed").await,
        Kind::Mariadb => conn.query_one("SELECT @@GLOBAL.gtid_binlog_pos").await,
    };
    let set = location.unwrap().unwrap().string(0).unwrap();
    let wait = match from.kind {
        Kind::Mysql => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{set}', 60)"),
        Kind::Mariadb => format!("SELECT MASTER_GTID_WAIT('{set}', 60)"),
    };
    assert_eq!(to.number(&wait).await, 0, "the replica catches up");
}

pub async fn stop_replica(server: &Server) {
    let stop = if server.kind == Kind::Mysql { "STOP REPLICA" } else { "STOP SLAVE" };
    server.execute(&[stop]).await;
}

pub fn replica_arguments(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Mysql => &[],
        Kind::Mariadb => &["--log-slave-updates"],
    }
}

/// The address moves to a replica that has everything: the stream goes on there by GTID, nothing is lost or doubled,
/// whether the old connection was cut or lives on in silence. By position it stops.
async fn moves(kind: Kind) {
    let mut rig = Rig::new(kind, &[], true).await;
    let replica = Server::start(kind, replica_arguments(kind)).await;
    let address = VirtualAddress::new(&rig.source).await;
    rig.source_port = address.port;
    rig.source.execute(&LOG).await;
    rig.log(&["1"]).await;
    replicate(&rig.source, &replica).await;
    rig.meta = "    meta:\n      binlog-name: bin.000001\n      binlog-pos: 4\n".into();
    let mut running = rig.start();
    assert_eq!(rig.lines("1", &mut running).await, ["1"]);

    // Files of the new source have other numbers and positions.
    stop_replica(&replica).await;
    replica.execute(&["FLUSH BINARY LOGS", "FLUSH BINARY LOGS"]).await;
    address.move_to(&replica, true);
    replica.execute(&["INSERT INTO app.log VALUES ('2')"]).await;
    assert_eq!(rig.lines("2", &mut running).await, ["1", "2"]);
    // And back, with the old connection alive: the new one is found all the same.
    replicate(&replica, &rig.source).await;
    stop_replica(&rig.source).await;
    address.move_to(&rig.source, false);
    rig.log(&["3"]).await;
    assert_eq!(rig.lines("3", &mut running).await, ["1", "2", "3"]);
    running.stop().await;

    // While the task is stopped; then one that lacks what was read.
    replicate(&rig.source, &replica).await;
    stop_replica(&replica).await;
    address.move_to(&replica, true);
    replica.execute(&["INSERT INTO app.log VALUES ('4')"]).await;
    let mut running = rig.start();
    assert_eq!(rig.lines("4", &mut running).await, ["1", "2", "3", "4"]);
    address.move_to(&rig.source, true);
    let error = running.error().await;
    assert_eq!(error.code, codes::SOURCE_CHANGED, "{error}");
    assert!(error.to_string().contains("missing: "), "{error}");

    rig.gtid = false;
    let error = rig.start().error().await;
    assert_eq!(error.code, codes::SOURCE_CHANGED, "{error}");
    assert!(error.to_string().contains("reads by position"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_the_address_moves_to_another_mysql() {
    moves(Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_the_address_moves_to_another_mariadb() {
    moves(Kind::Mariadb).await;
}

/// The new source has all that was read, but no longer the binlog that would show that it is the same: the task goes on,
/// and says so, now and after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_a_switch_that_cannot_be_compared_is_told() {
    let mut rig = Rig::new(Kind::Mysql, &[], true).await;
    let replica = Server::start(Kind::Mysql, &[]).await;
    let address = VirtualAddress::new(&rig.source).await;
    rig.source_port = address.port;
    rig.source.execute(&LOG).await;
    rig.log(&["1"]).await;
    replicate(&rig.source, &replica).await;
    stop_replica(&replica).await;
    rig.meta = "    meta:\n      binlog-name: bin.000001\n      binlog-pos: 4\n".into();
    let mut running = rig.start();
    rig.lines("1", &mut running).await;
    replica.execute(&["FLUSH BINARY LOGS"]).await;
    let files = replica.query("SHOW BINARY LOGS").await;
    let last = files.last().unwrap()[0].clone().unwrap();
    replica.execute(&[&format!("PURGE BINARY LOGS TO '{last}'")]).await;
    address.move_to(&replica, true);
    replica.execute(&["INSERT INTO app.log VALUES ('2')"]).await;
    assert_eq!(rig.lines("2", &mut running).await, ["1", "2"]);
    let told = |running: &Running| {
        let warnings = running.status().warnings.join("\n");
        assert!(warnings.contains("cannot be looked up (ERROR 1236"), "{warnings}");
    };
    told(&running);
    running.stop().await;
    let mut running = rig.start();
    replica.execute(&["INSERT INTO app.log VALUES ('3')"]).await;
    assert_eq!(rig.lines("3", &mut running).await, ["1", "2", "3"]);
    told(&running);
    running.stop().await;
}

/// The same server with another history: reset (and ahead of the task again), or shortened. Never a silent stream.
async fn another_history(kind: Kind, gtid: bool) {
    let mut rig = Rig::new(kind, &[], gtid).await;
    rig.source.execute(&LOG).await;
    rig.log(&["1", "2", "3"]).await;
    rig.meta = "    meta:\n      binlog-name: bin.000001\n      binlog-pos: 4\n".into();
    let mut running = rig.start();
    rig.lines("3", &mut running).await;
    running.stop().await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let reset = if kind == Kind::Mysql { "RESET BINARY LOGS AND GTIDS" } else { "RESET MASTER" };
    rig.source.execute(&[reset]).await;
    let error = rig.start().error().await;
    assert_eq!(error.code, codes::SOURCE_CHANGED, "{error}");

    // It has more than before by now: neither position nor GTIDs tell any more.
    for round in 0..30 {
        rig.log(&[&format!("new {round}")]).await;
    }
    let error = rig.start().error().await;
    assert_eq!(error.code, codes::SOURCE_CHANGED, "{error}");
    assert!(error.to_string().contains("is not the one that the task has read"), "{error}");
    let doubled = rig.target.number("SELECT COUNT(*) - COUNT(DISTINCT line) FROM app.log").await;
    assert_eq!(doubled, 0);
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.log WHERE line LIKE 'new%'").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_a_reset_mysql_is_recognised_by_gtid() {
    another_history(Kind::Mysql, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_a_reset_mysql_is_recognised_by_position() {
    another_history(Kind::Mysql, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_a_reset_mariadb_is_recognised_by_gtid() {
    another_history(Kind::Mariadb, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_a_reset_mariadb_is_recognised_by_position() {
    another_history(Kind::Mariadb, false).await;
}

/// Reset while the stream is connected: it does not stay healthy and silent.
async fn reset_under_the_stream(kind: Kind) {
    let mut rig = Rig::new(kind, &[], true).await;
    rig.source.execute(&LOG).await;
    rig.log(&["1", "2", "3"]).await;
    rig.meta = "    meta:\n      binlog-name: bin.000001\n      binlog-pos: 4\n".into();
    let mut running = rig.start();
    rig.lines("3", &mut running).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let reset = if kind == Kind::Mysql { "RESET BINARY LOGS AND GTIDS" } else { "RESET MASTER" };
    rig.source.execute(&[reset]).await;
    rig.log(&["4"]).await;
    let error = running.error().await;
    assert_eq!(error.code, codes::SOURCE_CHANGED, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_a_reset_under_the_stream_is_recognised_on_mysql() {
    reset_under_the_stream(Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_a_reset_under_the_stream_is_recognised_on_mariadb() {
    reset_under_the_stream(Kind::Mariadb).await;
}
