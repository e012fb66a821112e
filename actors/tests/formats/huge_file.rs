//! A real binlog file of more than 4 GiB, with transactions behind that. By hand: it writes 9 GB to the disk.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dmnode_actors::sync::{self, SyncSpec};
use dmnode_actors::unit::{UnitContext, UnitDone};
use dmnode_model::{BinlogPosition, Epoch, Location, SourceId, TaskName};
use dmnode_mysql::{BinlogReader, BinlogStart, EventBody, ServerInfo};

use crate::stream_rig::{SOURCE, StreamRig, TASK};
use crate::support::{Kind, Server};

const LIMIT: u64 = 1 << 32;

/// Ends of the transactions behind 4 GiB.
async fn ends_beyond(server: &Server, file: &str) -> Vec<u64> {
    let info = ServerInfo::probe(&mut server.connect().await).await.unwrap();
    let start = BinlogStart::Position(BinlogPosition::new(file, 4));
    let mut reader = BinlogReader::open(&server.endpoint(), &info, 0x5000_0000, start).await.unwrap();
    let mut ends = Vec::new();
    loop {
        let event = reader.next().await.unwrap();
        match event.body {
            EventBody::Xid { .. } if event.end_pos > LIMIT => ends.push(event.end_pos),
            EventBody::Rotate { artificial: false, .. } | EventBody::Heartbeat => return ends,
            _ => {}
        }
    }
}

/// What commits while a very large transaction is written to the binlog comes behind it into the same file. A task that
/// stops there goes on there: no transaction is lost, none comes twice.
async fn goes_on_beyond_4_gib(gtid: bool) {
    let mut rig = StreamRig::with(Kind::Mysql, &["--max-allowed-packet=1G"], Kind::Mariadb, &[], gtid).await;
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.small (id INT PRIMARY KEY AUTO_INCREMENT, n INT)",
            "CREATE DATABASE elsewhere",
            // It keeps nothing; the binlog has it all.
            "CREATE TABLE elsewhere.big (v LONGBLOB) ENGINE=BLACKHOLE",
        ])
        .await;
    let stop = AtomicBool::new(false);
    let write = async {
        let mut conn = rig.source.connect().await;
        while !stop.load(Ordering::Relaxed) {
            conn.execute("INSERT INTO app.small (n) VALUES (1)").await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let large = async {
        let numbers = (0..75).map(|n| format!("SELECT {n}")).collect::<Vec<_>>().join(" UNION ALL ");
        let sql = format!("INSERT INTO elsewhere.big SELECT REPEAT('x', 60000000) FROM ({numbers}) AS n");
        rig.source.execute(&[&sql]).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(write, large);
    let files = rig.source.query("SHOW BINARY LOGS").await;
    let size = |row: &Vec<Option<String>>| row[1].as_ref().unwrap().parse::<u64>().unwrap();
    let file = files.iter().find(|row| size(row) > LIMIT).expect("a file over 4 GiB")[0].clone().unwrap();
    let ends = ends_beyond(&rig.source, &file).await;
    println!("{} transactions behind 4 GiB in {file}: {ends:?}", ends.len());
    assert!(!ends.is_empty(), "nothing was committed while the large transaction was written; try again");

    let middle = BinlogPosition::new(file.clone(), ends[ends.len() / 2]);
    let until = Some(Location::new(middle.clone(), None));
    let ctx = UnitContext::detached(TaskName::new(TASK), SourceId::new(SOURCE), Epoch(1));
    let done = sync::run(ctx.clone(), SyncSpec { until, ..rig.spec() }).await.unwrap();
    assert_eq!(done, UnitDone::Finished);
    let rows = async |server: &Server| server.number("SELECT COUNT(*) FROM app.small").await;
    let (all, some) = (rows(&rig.source).await, rows(&rig.target).await);
    assert!(some <= all, "{some} of {all}");
    let position = "SELECT CONCAT(watermark_file, ' ', watermark_pos) FROM dm_meta.t_dmnode_progress WHERE watermark_file IS NOT NULL ORDER BY watermark_no DESC LIMIT 1";
    let position = rig.target.query(position).await;
    println!("{some} of {all} rows, the watermark is at {position:?}, it was asked for {middle}");
    // Twice: what is remembered as evidence of the source's history lies behind 4 GiB, too.
    for _ in 0..2 {
        let mut running = rig.start();
        rig.caught_up(&mut running).await;
        rig.assert_equal().await;
        running.stop().await;
    }
    assert_eq!(rows(&rig.target).await, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes 9 GB to the disk, takes minutes"]
async fn a_file_over_4_gib_by_position() {
    goes_on_beyond_4_gib(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes 9 GB to the disk, takes minutes"]
async fn a_file_over_4_gib_by_gtid() {
    goes_on_beyond_4_gib(true).await;
}
