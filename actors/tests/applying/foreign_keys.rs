//! Actions of foreign keys: those of the source's binlog, and those that only the target can carry out.

use std::collections::BTreeMap;

use crate::stream_rig::{Running, StreamRig};
use crate::support::Kind;

/// Rows that refer to one another in a circle. Parents have no schema: they are those beside the child.
const CIRCLES: &[&str] = &[
    "CREATE DATABASE app",
    "CREATE TABLE app.n (id INT PRIMARY KEY, up INT, s VARCHAR(9), KEY (up), CONSTRAINT up FOREIGN KEY (up) REFERENCES n (id) ON DELETE CASCADE)",
    "INSERT INTO app.n VALUES (1, NULL, 'a'), (2, 1, 'b'), (3, 2, 'c'), (4, 3, 'd'), (5, 5, 'e'), (6, NULL, 'f'), (7, 6, 'g'), (8, 7, 'h'), (9, NULL, 'i')",
    "UPDATE app.n SET up = 3 WHERE id = 1",
    "UPDATE app.n SET up = 8 WHERE id = 6",
    // Two tables, each the other's parent; one without a word of the other.
    "CREATE TABLE app.a (id INT PRIMARY KEY, b INT, KEY (b))",
    "CREATE TABLE app.b (id INT PRIMARY KEY, a INT, KEY (a), CONSTRAINT ba FOREIGN KEY (a) REFERENCES a (id) ON DELETE CASCADE ON UPDATE CASCADE)",
    "ALTER TABLE app.a ADD CONSTRAINT ab FOREIGN KEY (b) REFERENCES b (id) ON DELETE SET NULL",
    "INSERT INTO app.a VALUES (1, NULL), (2, NULL), (3, NULL)",
    "INSERT INTO app.b VALUES (1, 1), (2, 2), (3, 1)",
    "UPDATE app.a SET b = id WHERE id < 3",
    "CREATE TABLE app.z (id INT PRIMARY KEY, up INT, KEY (up), CONSTRAINT zup FOREIGN KEY (up) REFERENCES z (id) ON DELETE SET NULL)",
    "INSERT INTO app.z VALUES (1, 1), (2, 1), (3, 2)",
    "UPDATE app.z SET up = 3 WHERE id = 1",
];

/// What fires the actions, at a source of any kind.
const DELETES: &[&str] = &[
    "DELETE FROM app.n WHERE id = 1",
    "DELETE FROM app.n WHERE id = 5",
    "BEGIN",
    "SAVEPOINT s",
    "DELETE FROM app.n WHERE id = 6",
    "ROLLBACK TO s",
    "DELETE FROM app.n WHERE id = 7",
    "INSERT INTO app.n VALUES (6, NULL, 'again'), (7, 6, 'again')",
    "UPDATE app.n SET up = 7 WHERE id = 6",
    "DELETE FROM app.n WHERE id = 6",
    "INSERT INTO app.n VALUES (6, NULL, 'again'), (7, 6, 'again')",
    "COMMIT",
    "DELETE FROM app.a WHERE id = 1",
    "UPDATE app.a SET id = 22 WHERE id = 2",
    "DELETE FROM app.z WHERE id = 1",
    "SET foreign_key_checks = 0",
    "DELETE FROM app.n WHERE id = 6",
];

fn conflicts(running: &Running) -> BTreeMap<String, u64> {
    running.status().conflicts.into_iter().map(|one| (one.kind, one.count)).collect()
}

/// MySQL 9.7 logs a row twice as deleted when its own cascade comes back to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_logged_twice_are_deleted_once() {
    for target in [Kind::Mysql, Kind::Mariadb] {
        let mut rig = StreamRig::new(Kind::Mysql, target, true).await;
        rig.source.execute(CIRCLES).await;
        let mut running = rig.start();
        rig.caught_up(&mut running).await;
        rig.source.execute(DELETES).await;
        rig.caught_up(&mut running).await;
        rig.assert_equal().await;
        assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.n WHERE id = 7 AND up = 6").await, 1);
        // Each circle of more than one row once; the one that was rolled back is not in the binlog.
        assert_eq!(conflicts(&running), BTreeMap::from([("repeated-delete".to_owned(), 3)]));
        running.stop().await;
    }
}

/// Two foreign keys on the same column; the statement deletes some rows of the circles itself, so that its own rows and
/// those of the actions share events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_logged_twice_among_the_statements_own() {
    let mut rig = StreamRig::new(Kind::Mysql, Kind::Mysql, true).await;
    rig.source.execute(CIRCLES).await;
    rig.source
        .execute(&[
            "ALTER TABLE app.n ADD CONSTRAINT two FOREIGN KEY (up) REFERENCES n (id) ON DELETE CASCADE",
            "INSERT INTO app.n VALUES (20, NULL, 'p'), (21, 20, 'q'), (22, NULL, 'r'), (23, 22, 's'), (24, NULL, 't')",
            "UPDATE app.n SET up = 21 WHERE id = 20",
            "UPDATE app.n SET up = 23 WHERE id = 22",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.source
        .execute(&[
            "DELETE FROM app.n WHERE id >= 20 ORDER BY id DESC",
            "DELETE FROM app.n WHERE id IN (2, 3, 9) ORDER BY id DESC",
        ])
        .await;
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    let counts = conflicts(&running);
    assert!(counts.keys().all(|kind| kind == "repeated-delete") && !counts.is_empty(), "{counts:?}");
    running.stop().await;
}

/// What is deleted twice by two statements is not the same row twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_appears_again_is_deleted_again() {
    let mut rig = StreamRig::new(Kind::Mysql, Kind::Mariadb, true).await;
    rig.source.execute(CIRCLES).await;
    rig.source
        .execute(&[
            // Statements of one transaction, and one that deletes and inserts the same row again and again.
            "SET foreign_key_checks = 0",
            "BEGIN",
            "DELETE FROM app.n WHERE id = 9",
            "INSERT INTO app.n VALUES (9, NULL, 'i')",
            "DELETE FROM app.n WHERE id = 9",
            "REPLACE INTO app.n VALUES (4, 3, 'd'), (4, 3, 'x'), (4, 3, 'd'), (4, 3, 'x'), (4, 3, 'y')",
            "COMMIT",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    assert_eq!(conflicts(&running), BTreeMap::new());
    // A row that is really not there still stops the task.
    rig.target.execute(&["SET foreign_key_checks = 0", "DELETE FROM app.n WHERE id = 2"]).await;
    rig.source.execute(&["DELETE FROM app.n WHERE id = 1"]).await;
    let error = running.error().await;
    assert_eq!(error.code, dmnode_model::codes::ROW_NOT_FOUND, "{error}");
}

/// A source that leaves the actions to the engine logs none of them. What it did when it wrote an event counts, not what
/// it would do now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actions_that_are_not_logged_take_place_in_the_target() {
    let mut rig =
        StreamRig::with(Kind::Mysql, &["--innodb-native-foreign-keys=ON"], Kind::Mysql, &[], true).await;
    rig.source.execute(CIRCLES).await;
    rig.source.execute(DELETES).await;
    rig.source
        .execute(&["INSERT INTO app.n VALUES (10, NULL, 'a'), (11, 10, 'b'), (12, NULL, 'c'), (13, 12, 'd')"])
        .await;
    rig.source.execute(&["DELETE FROM app.n WHERE id = 10"]).await;
    // Before anything was read the server changes its ways.
    rig.source.arguments = vec!["--innodb-native-foreign-keys=OFF".to_owned()];
    rig.source = rig.source.restart_after(|_| ()).await;
    rig.source.execute(&["DELETE FROM app.n WHERE id = 12"]).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    running.stop().await;
    // And back.
    rig.source
        .execute(&["INSERT INTO app.n VALUES (12, NULL, 'c'), (13, 12, 'd'), (14, NULL, 'e'), (15, 14, 'f')"])
        .await;
    rig.source.execute(&["DELETE FROM app.n WHERE id = 12"]).await;
    rig.source.arguments = vec!["--innodb-native-foreign-keys=ON".to_owned()];
    rig.source = rig.source.restart_after(|_| ()).await;
    rig.source.execute(&["DELETE FROM app.n WHERE id = 14"]).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.n WHERE id > 9").await, 0);
    running.stop().await;
}

/// A MariaDB source never logs them; a MySQL target carries them out above its engine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn circles_of_mariadb_are_deleted_by_a_mysql_target() {
    let mut rig = StreamRig::new(Kind::Mariadb, Kind::Mysql, true).await;
    rig.source.execute(CIRCLES).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.source.execute(DELETES).await;
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    running.stop().await;
}
