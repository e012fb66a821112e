//! Two units of one task that start at once: what the target had before the task is written down by one of them.

use std::time::{Duration, Instant};

use dmnode_model::codes;

use crate::support::Kind;
use crate::{LOG, Rig};

const LOCK: &str = "CONCAT('dmnode ', SHA2('`dm_meta`.`t_dmnode_before`', 224))";

/// Held for too long it is an error that names the place and is tried again; let go in time, the start goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_the_lock_of_another_unit() {
    let mut rig = Rig::new(Kind::Mariadb, &[], true).await;
    rig.source.execute(&LOG).await;
    rig.log(&["1"]).await;
    rig.meta = "    meta:\n      binlog-name: bin.000001\n      binlog-pos: 4\n".into();
    let mut holder = rig.target.connect().await;
    let locked = holder.query_one(format!("SELECT GET_LOCK({LOCK}, 0)")).await.unwrap();
    assert_eq!(locked.unwrap().u64(0), Some(1));
    let error = rig.start().error().await;
    assert_eq!(error.code, codes::TAKE_OVER, "{error}");
    assert_eq!(codes::policy(error.code), codes::Policy::Retry);
    let text = error.to_string();
    assert!(text.contains("held the lock") && text.contains("t_dmnode_before"), "{text}");

    let mut running = rig.start();
    let deadline = Instant::now() + Duration::from_secs(20);
    while rig
        .target
        .number("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT GET_LOCK%'")
        .await
        == 0
    {
        assert!(Instant::now() < deadline, "nobody waits for the lock");
        assert!(!running.handle.is_finished(), "{:?}", (&mut running.handle).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        rig.target.number("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'app'").await,
        0
    );
    holder.query(format!("SELECT RELEASE_LOCK({LOCK})")).await.unwrap();
    assert_eq!(rig.lines("1", &mut running).await, ["1"]);
    running.stop().await;
}
