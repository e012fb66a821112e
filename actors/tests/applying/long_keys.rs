//! Unique keys over long values: MariaDB keeps hashes of them in columns that no definition has.

use crate::stream_rig::StreamRig;
use crate::support::Kind;

const STATEMENTS: &[&str] = &[
    "CREATE DATABASE app",
    "CREATE TABLE app.one (id INT PRIMARY KEY, t TEXT, UNIQUE KEY (t))",
    "CREATE TABLE app.two (a INT NOT NULL, b DATE NOT NULL, c VARCHAR(30), UNIQUE KEY a_b (a, b), UNIQUE KEY by_b (b, a))",
    "CREATE TABLE app.wide (v VARCHAR(1000) CHARACTER SET utf8mb4 NOT NULL, n INT, UNIQUE KEY (v))",
    "CREATE TABLE app.free (b BLOB NULL, n INT, UNIQUE KEY (b))",
    "INSERT INTO app.one VALUES (1, 'a'), (2, NULL), (3, REPEAT('x', 5000))",
    "INSERT INTO app.two VALUES (1, '2024-01-01', 'x'), (2, '2024-01-02', 'y')",
    "INSERT INTO app.wide VALUES ('a', 1), ('ö', 2)",
    "INSERT INTO app.free VALUES ('a', 1), (NULL, 2), (NULL, 2)",
    // Two keys become such keys in the middle of everything.
    "ALTER TABLE app.two CHANGE COLUMN b `we``ird` MEDIUMTEXT CHARACTER SET latin1 NULL",
    "INSERT INTO app.two VALUES (3, 'three', 'z'), (4, NULL, NULL)",
    "UPDATE app.two SET c = 'new' WHERE a IN (1, 3)",
    "UPDATE app.one SET t = REPEAT('y', 5000) WHERE id = 3",
    "UPDATE app.wide SET v = 'b' WHERE n = 1",
    "UPDATE app.free SET n = 3 WHERE b IS NULL LIMIT 1",
    "DELETE FROM app.two WHERE a = 2",
    "DELETE FROM app.one WHERE id = 1",
    "ALTER TABLE app.two ADD COLUMN k INT",
    "INSERT INTO app.two VALUES (5, 'five', 'z', 5)",
    "ALTER TABLE app.two DROP KEY a_b",
    "INSERT INTO app.two VALUES (6, 'six', 'z', 6)",
    "DELETE FROM app.two WHERE a = 5",
    "ALTER TABLE app.two DROP KEY by_b",
    "INSERT INTO app.two VALUES (6, 'six', 'z', 6)",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hashes_of_long_unique_keys_are_left_out() {
    for metadata in ["NO_LOG", "FULL"] {
        let argument = format!("--binlog-row-metadata={metadata}");
        let mut rig = StreamRig::with(Kind::Mariadb, &[&argument], Kind::Mariadb, &[], true).await;
        rig.source.execute(STATEMENTS).await;
        let mut running = rig.start();
        rig.caught_up(&mut running).await;
        rig.assert_equal().await;
        running.stop().await;
    }
}

/// Nothing was followed: the definition is derived from the rows, the source and the target.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_with_long_unique_keys_is_derived() {
    for metadata in ["NO_LOG", "FULL"] {
        let argument = format!("--binlog-row-metadata={metadata}");
        let mut rig = StreamRig::with(Kind::Mariadb, &[&argument], Kind::Mariadb, &[], true).await;
        let create =
            "CREATE TABLE app.one (id INT PRIMARY KEY, t TEXT, b BLOB, UNIQUE KEY (t), UNIQUE KEY (b))";
        rig.source.execute(&["SET sql_log_bin = 0", "CREATE DATABASE app", create]).await;
        rig.target.execute(&["CREATE DATABASE app", create]).await;
        rig.source
            .execute(&[
                "INSERT INTO app.one VALUES (1, 'a', NULL), (2, NULL, 'b'), (3, 'c', 'c')",
                "UPDATE app.one SET t = CONCAT(id, 'z') WHERE id < 3",
                "DELETE FROM app.one WHERE id = 3",
            ])
            .await;
        let mut running = rig.start();
        rig.caught_up(&mut running).await;
        rig.assert_equal().await;
        running.stop().await;
    }
}
