//! Statements and rows of objects that are not migrated never stop a task (F5, F18).

use super::*;

fn counts(running: &Running) -> BTreeMap<String, u64> {
    let status = running.ctx.status.snapshot().1.sync.unwrap_or_default();
    status.not_migrated.into_iter().map(|entry| (entry.kind, entry.count)).collect()
}

fn warnings(running: &Running) -> Vec<String> {
    running.ctx.status.snapshot().1.sync.unwrap_or_default().warnings
}

async fn objects_without_rows(kind: Kind) {
    let mut rig = Rig::new(kind, kind, true).await;
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.t (id INT PRIMARY KEY, v INT)",
            "INSERT INTO app.t VALUES (1, 1)",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.source
        .execute(&[
            "USE app",
            "CREATE VIEW v AS SELECT * FROM t",
            "ALTER VIEW v AS SELECT id FROM t",
            "DROP VIEW v",
            "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW BEGIN SET NEW.v = 5; END",
            "DROP TRIGGER tr",
            "CREATE PROCEDURE p() BEGIN DELETE FROM t; DROP TABLE t; END",
            "ALTER PROCEDURE p COMMENT 'DELETE FROM t'",
            "DROP PROCEDURE p",
            "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 5",
            "DROP FUNCTION f",
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM t",
            "ALTER EVENT e ON SCHEDULE EVERY 2 HOUR ON COMPLETION PRESERVE",
            "ALTER DEFINER = root@localhost EVENT e RENAME TO e2",
            "ALTER EVENT e2 COMMENT 'x; DROP TABLE t' DO BEGIN INSERT INTO t VALUES (9, 9); UPDATE t SET v = 0; END",
            "DROP EVENT e2",
            "CREATE USER somebody IDENTIFIED BY 'f05-secret-of-somebody'",
            "GRANT SELECT ON app.* TO somebody",
            "REVOKE SELECT ON app.* FROM somebody",
            "RENAME USER somebody TO nobody_else",
            "DROP USER nobody_else",
            "CREATE ROLE readers",
            "DROP ROLE readers",
            "ANALYZE TABLE t",
            "INSERT INTO t VALUES (2, 2)",
        ])
        .await;
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    let counts = counts(&running);
    for (kind, count) in
        [("view", 3), ("trigger", 2), ("routine", 5), ("event", 5), ("user", 5), ("grant", 2)]
    {
        assert_eq!(counts.get(kind), Some(&count), "{kind} in {counts:?}");
    }
    assert_eq!(counts.len(), 6, "{counts:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f05_objects_without_rows_never_stop_a_task_mariadb() {
    objects_without_rows(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f05_f18_objects_without_rows_never_stop_a_task_mysql() {
    objects_without_rows(Kind::Mysql).await;
}

/// A sequence has state in the binlog that looks like rows of a table of that name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f05_sequences_are_passed_over_with_a_warning() {
    let mut rig = Rig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE SEQUENCE app.numbers START 5 CACHE 2",
            "CREATE TABLE app.t (id INT PRIMARY KEY, v BIGINT)",
            // A table that looks like a sequence is none.
            "CREATE TABLE app.alike (a BIGINT PRIMARY KEY, b BIGINT, c BIGINT, d BIGINT, e BIGINT, f BIGINT UNSIGNED, g TINYINT, h BIGINT)",
            "INSERT INTO app.alike VALUES (1, 2, 3, 4, 5, 6, 7, 8)",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.source
        .execute(&[
            "INSERT INTO app.t VALUES (1, NEXTVAL(app.numbers)), (2, NEXTVAL(app.numbers)), (3, NEXTVAL(app.numbers))",
            "DO NEXTVAL(app.numbers)",
            "DO SETVAL(app.numbers, 100)",
            "ALTER SEQUENCE app.numbers RESTART 200",
            "UPDATE app.alike SET b = 20",
        ])
        .await;
    rig.caught_up(&mut running).await;
    assert_eq!(counts(&running).get("sequence"), Some(&2));
    assert!(
        warnings(&running).iter().any(|text| text.contains("sequences are not migrated")),
        "{:?}",
        warnings(&running)
    );
    running.stop().await;
    // Gone before its state is read.
    rig.source
        .execute(&[
            "CREATE SEQUENCE app.short",
            "INSERT INTO app.t VALUES (4, NEXTVAL(app.short)), (5, NEXTVAL(app.numbers))",
            "DROP SEQUENCE app.short, app.numbers",
            "INSERT INTO app.t VALUES (6, 6)",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    running.stop().await;
}

/// The history of a system-versioned table comes as further rows, and a target with versions would write its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_system_versioned_table_stop_the_task() {
    for table in [
        "CREATE TABLE app.versions (id INT, v INT) WITH SYSTEM VERSIONING",
        "CREATE TABLE app.versions (id INT PRIMARY KEY, v INT, s TIMESTAMP(6) GENERATED ALWAYS AS ROW START, e TIMESTAMP(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING",
    ] {
        let mut rig = Rig::new(Kind::Mariadb, Kind::Mariadb, true).await;
        rig.source.execute(&["CREATE DATABASE app", table]).await;
        let mut running = rig.start();
        rig.caught_up(&mut running).await;
        rig.source
            .execute(&["INSERT INTO app.versions (id, v) VALUES (1, 1)", "UPDATE app.versions SET v = 2"])
            .await;
        let error = running.error().await;
        assert_eq!(error.code, codes::BINLOG_UNSUPPORTED, "{error}");
        assert!(error.object.as_deref().unwrap_or_default().contains("`app`.`versions`"), "{error}");
        assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.versions").await, 0);
    }
}
