//! Safe mode: only in a window with a reason and an end.

use dmnode_model::codes;
use dmnode_model::config::SafeModeWindow;

use crate::stream_rig::StreamRig;
use crate::support::Kind;

/// The task is put back to where it was: what follows was applied before.
async fn rewound(from: Kind, to: Kind) {
    let mut rig = StreamRig::new(from, to, true).await;
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.t (id INT PRIMARY KEY, v VARCHAR(20), u INT, UNIQUE KEY (u))",
            "CREATE TABLE app.p (id INT PRIMARY KEY, v INT)",
            "CREATE TABLE app.c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES app.p (id) ON DELETE CASCADE ON UPDATE CASCADE)",
            "INSERT INTO app.t VALUES (1, 'one', 1), (2, 'two', 2), (3, 'three', 3)",
            "INSERT INTO app.p VALUES (1, 1), (2, 2)",
            "INSERT INTO app.c VALUES (10, 1), (20, 2)",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    running.stop().await;
    rig.target.execute(&["CREATE TABLE dm_meta.kept AS SELECT * FROM dm_meta.t_dmnode_progress"]).await;
    rig.source
        .execute(&[
            "INSERT INTO app.t VALUES (4, 'four', 4)",
            "UPDATE app.t SET v = 'zwei' WHERE id = 2",
            "DELETE FROM app.t WHERE id = 3",
            // A swap, and a new primary key.
            "BEGIN",
            "UPDATE app.t SET u = 100 WHERE id = 1",
            "UPDATE app.t SET u = 1 WHERE id = 2",
            "UPDATE app.t SET u = 2 WHERE id = 1",
            "COMMIT",
            "UPDATE app.t SET id = 40 WHERE id = 4",
            "UPDATE app.p SET id = 11 WHERE id = 1",
            "DELETE FROM app.p WHERE id = 2",
            "INSERT INTO app.p VALUES (3, 3)",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    running.stop().await;
    rig.target
        .execute(&[
            "DELETE FROM dm_meta.t_dmnode_progress",
            "INSERT INTO dm_meta.t_dmnode_progress SELECT * FROM dm_meta.kept",
        ])
        .await;
    let error = rig.start().error().await;
    assert!([codes::DUPLICATE_REPLAY, codes::ROW_NOT_FOUND].contains(&error.code), "{error}");

    rig.sync = vec!["safe-mode: true"];
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    // It is left when what lies in it is in the target, which the next transaction finds.
    rig.caught_up(&mut running).await;
    assert_eq!(running.status().safe_mode, None, "the window is passed");
    let counted = running.status().conflicts;
    assert!(counted.iter().any(|one| one.kind == "safe-mode-replaced" && one.count >= 1), "{counted:?}");

    // It stays passed, also for the next generation: nobody's row is replaced any more.
    for restart in [false, true] {
        if restart {
            rig.target.execute(&["DELETE FROM app.t WHERE id = 77"]).await;
            running = rig.start();
            rig.caught_up(&mut running).await;
            rig.source.execute(&["DELETE FROM app.t WHERE id = 77"]).await;
            rig.caught_up(&mut running).await;
        }
        rig.target.execute(&["INSERT INTO app.t VALUES (77, 'foreign', 77)"]).await;
        rig.source.execute(&["INSERT INTO app.t VALUES (77, 'ours', 77)"]).await;
        let error = running.error().await;
        assert_eq!(error.code, codes::DUPLICATE_FOREIGN_WRITER, "{error}");
        running = rig.start();
        running.ctx.cancel.cancel();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_safe_mode_is_bounded_mariadb() {
    rewound(Kind::Mariadb, Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_safe_mode_is_bounded_mysql() {
    rewound(Kind::Mysql, Kind::Mysql).await;
}

/// `--safe-mode-duration`: by the source's clock, from the first transaction, once for that start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_a_timed_window_ends() {
    let mut rig = StreamRig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    let duration = std::time::Duration::from_secs(60);
    rig.safe_mode_window = Some(SafeModeWindow { duration, request: 5 });
    rig.source.execute(&["CREATE DATABASE app", "CREATE TABLE app.t (id INT PRIMARY KEY, v INT)"]).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    let shown = running.status().safe_mode.expect("it has begun");
    assert!(shown.reason.contains("--safe-mode-duration"), "{shown:?}");
    rig.target.execute(&["INSERT INTO app.t VALUES (1, 0), (2, 0)"]).await;
    rig.source.execute(&["INSERT INTO app.t VALUES (1, 1)"]).await;
    rig.caught_up(&mut running).await;
    assert_eq!(rig.target.number("SELECT v FROM app.t WHERE id = 1").await, 1);
    // The next generation is in the same window, not in one of its own.
    running.crash().await;
    let running = rig.start();
    let mut conn = rig.source.connect().await;
    conn.execute("SET timestamp = UNIX_TIMESTAMP() + 100").await.unwrap();
    conn.execute("INSERT INTO app.t VALUES (2, 2)").await.unwrap();
    let error = running.error().await;
    assert_eq!(error.code, codes::DUPLICATE_FOREIGN_WRITER, "{error}");
}

/// While it is on, the status says why and until where; a table without a key stops it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_safe_mode_is_shown() {
    let mut rig = StreamRig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    rig.sync = vec!["safe-mode: true"];
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.t (id INT PRIMARY KEY)",
            "INSERT INTO app.t VALUES (1)",
            "CREATE TABLE app.keyless (a INT)",
            "INSERT INTO app.keyless VALUES (1)",
        ])
        .await;
    let running = rig.start();
    let status = std::sync::Arc::clone(&running.ctx.status);
    let error = running.error().await;
    assert_eq!(error.code, codes::SAFE_MODE_KEYLESS, "{error}");
    let shown = status.snapshot().1.sync.unwrap().safe_mode.expect("it is still in the window");
    assert!(shown.reason.contains("safe-mode: true") && shown.until.contains("bin.0"), "{shown:?}");
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.t").await, 1);
    // Without it the task goes on.
    rig.sync.clear();
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    running.stop().await;
}
