//! F23: GTID sets with gaps.

use crate::origin::{VirtualAddress, replicate, stop_replica};
use crate::support::{Kind, Server};
use crate::{LOG, Rig};

/// The FAQ's example: transactions 6-7 come first, then 1-20 and 40-49, with holes in the numbers of a foreign server
/// and of the source's own. Each is applied once, whatever order the numbers have, and the set is the union.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f23_holes_in_the_gtid_set_lose_nothing() {
    const FOREIGN: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    let mut rig = Rig::new(Kind::Mysql, &[], true).await;
    rig.source.execute(&LOG).await;
    rig.meta = "    meta:\n      binlog-name: bin.000001\n      binlog-pos: 4\n".into();
    let write = async |rig: &Rig, numbers: &[u64]| {
        let mut conn = rig.source.connect().await;
        for number in numbers {
            for sql in [
                format!("SET gtid_next = '{FOREIGN}:{number}'"),
                format!("INSERT INTO app.log VALUES ('{number:03}')"),
                "SET gtid_next = 'AUTOMATIC'".to_owned(),
            ] {
                conn.execute(&sql).await.unwrap();
            }
        }
    };
    let names = |numbers: &[u64]| -> Vec<String> {
        let mut all: Vec<String> = numbers.iter().map(|number| format!("{number:03}")).collect();
        all.sort();
        all
    };
    let mut all = vec![6, 7];
    write(&rig, &all).await;
    let mut running = rig.start();
    assert_eq!(rig.lines("007", &mut running).await, names(&all));
    running.stop().await;
    // A new file, whose previous set has the gaps.
    rig.source.execute(&["FLUSH BINARY LOGS"]).await;
    let more: Vec<u64> = (1..=5).chain(8..=20).chain(40..=49).collect();
    write(&rig, &more[..10]).await;
    let mut running = rig.start();
    all.extend(&more[..10]);
    rig.lines(&format!("{:03}", more[9]), &mut running).await;
    // While it runs; the last one closes a gap of a moment ago.
    write(&rig, &more[10..]).await;
    all.extend(&more[10..]);
    rig.lines("049", &mut running).await;
    running.stop().await;
    write(&rig, &[30, 25]).await;
    all.extend([30, 25]);
    rig.source.execute(&["FLUSH BINARY LOGS"]).await;
    let mut running = rig.start();
    assert_eq!(rig.lines("025", &mut running).await, names(&all));
    running.stop().await;
    let sql = "SELECT watermark_gtid FROM dm_meta.t_dmnode_progress ORDER BY watermark_no DESC LIMIT 1";
    let set = rig.target.query(sql).await[0][0].clone().unwrap();
    assert!(set.contains(&format!("{FOREIGN}:1-20:25:30:40-49")), "{set}");
}

/// A replica whose executed set has gaps, as one that applies in parallel: it is waited for as long as it lacks something
/// that was read, and what it gets late, in any order, is applied once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f23_a_replica_with_gaps_becomes_the_source() {
    let mut rig = Rig::new(Kind::Mysql, &[], true).await;
    let replica = Server::start(Kind::Mysql, &[]).await;
    rig.source.execute(&LOG).await;
    rig.log(&["1", "2", "3", "4"]).await;
    rig.meta = "    meta:\n      binlog-name: bin.000001\n      binlog-pos: 4\n".into();
    replicate(&rig.source, &replica).await;
    stop_replica(&replica).await;
    let place = rig.source.query("SHOW BINARY LOG STATUS").await.remove(0);
    let (file, pos) = (place[0].clone().unwrap(), place[1].clone().unwrap());
    // Transactions 1 and 2 were the DDL, 3 to 6 the lines; the replica has 11 and 10 before 7 to 9.
    let uuid = rig.source.query("SELECT @@server_uuid").await[0][0].clone().unwrap();
    let mut conn = replica.connect().await;
    for (number, line) in [(11, "9"), (10, "8")] {
        for sql in [
            format!("SET gtid_next = '{uuid}:{number}'"),
            format!("INSERT INTO app.log VALUES ('{line}')"),
            "SET gtid_next = 'AUTOMATIC'".to_owned(),
        ] {
            conn.execute(&sql).await.unwrap();
        }
    }
    replica.execute(&["FLUSH BINARY LOGS"]).await;
    rig.log(&["5", "6"]).await;
    let address = VirtualAddress::new(&rig.source).await;
    rig.source_port = address.port;
    let mut running = rig.start();
    assert_eq!(rig.lines("6", &mut running).await, ["1", "2", "3", "4", "5", "6"]);
    running.stop().await;

    address.move_to(&replica, true);
    let mut running = rig.start();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(!running.handle.is_finished(), "it waits");
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.log").await, 6, "nothing is read meanwhile");
    rig.log(&["7"]).await;
    // By GTID the source would not serve a replica that has more of its numbers than itself.
    let change = format!(
        "CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION=0, SOURCE_LOG_FILE='{file}', SOURCE_LOG_POS={pos}"
    );
    replica.execute(&[&change, "START REPLICA"]).await;
    let all = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
    assert_eq!(rig.lines("7", &mut running).await, all, "7 comes last there");
    running.stop().await;
}
