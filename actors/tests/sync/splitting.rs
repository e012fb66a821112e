//! Statements of several operations that the target refuses as a whole (F3).

use super::*;

async fn columns(server: &Server, table: &str) -> Vec<String> {
    let sql = format!(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'app' AND table_name = '{table}' ORDER BY ordinal_position"
    );
    server.query(&sql).await.into_iter().map(|row| row[0].clone().unwrap()).collect()
}

/// MariaDB makes several FULLTEXT indexes in one statement, MySQL one at a time (error 1795).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f03_what_mysql_refuses_as_a_whole_is_split() {
    let mut rig = Rig::new(Kind::Mariadb, Kind::Mysql, true).await;
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.words (id INT PRIMARY KEY, a VARCHAR(20), b TEXT)",
            "INSERT INTO app.words VALUES (1, 'x', 'y')",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.source
        .execute(&[
            "ALTER TABLE app.words ADD COLUMN c INT DEFAULT 3, ADD FULLTEXT of_a (a), ADD FULLTEXT of_b (b)",
            "INSERT INTO app.words VALUES (2, 'z', 'w', 4)",
        ])
        .await;
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    assert_eq!(columns(&rig.target, "words").await, ["id", "a", "b", "c"]);
    let indexes = "SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = 'app' AND index_type = 'FULLTEXT'";
    assert_eq!(rig.target.number(indexes).await, 2);
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM dm_meta.t_dmnode_ddl").await, 0, "no traces are left");
    running.stop().await;
}

/// As a target that takes one operation at a time (TiDB before 6.5, and with some operations still).
fn is_several(sql: &str) -> bool {
    ["ALTER TABLE `app`", "RENAME TABLE `app`", "DROP TABLE IF EXISTS `app`"]
        .iter()
        .any(|head| sql.starts_with(head))
        && sql.contains(", ")
        && !sql.contains("ALGORITHM")
}

/// A crash before and after each operation resumes at the right one; the whole is not tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f03_a_crash_between_two_operations_resumes_at_the_right_one() {
    let mut rig = Rig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    let proxy = Proxy::start(rig.target.port).await;
    proxy.refuse(is_several);
    rig.target_port = proxy.port;
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.t (id INT PRIMARY KEY, v INT)",
            "CREATE TABLE app.a (id INT PRIMARY KEY)",
            "CREATE TABLE app.b LIKE app.a",
            "INSERT INTO app.a VALUES (1)",
            "INSERT INTO app.b VALUES (2)",
            "CREATE TABLE app.hinted (id INT PRIMARY KEY, v INT)",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    // The source's way of doing it is not the target's: its result is what counts.
    rig.target.execute(&["ALTER TABLE app.hinted ROW_FORMAT=COMPRESSED"]).await;
    rig.source
        .execute(&[
            "ALTER TABLE app.hinted ADD COLUMN w INT FIRST, ALGORITHM=INSTANT",
            "INSERT INTO app.hinted VALUES (3, 1, 2)",
        ])
        .await;
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;

    let mut round = 0;
    for crash in [true, false] {
        for only_the_answer in [true, false] {
            round += 1;
            for (lost, sql) in [
                (
                    "ALTER TABLE `app`.`t` ADD second",
                    format!(
                        "ALTER TABLE app.t ADD first{round} INT DEFAULT 1, ADD second{round} INT DEFAULT 2, ADD third{round} INT DEFAULT 3"
                    ),
                ),
                (
                    "RENAME TABLE `app`.`b` TO",
                    "RENAME TABLE app.a TO app.tmp, app.b TO app.a, app.tmp TO app.b".to_owned(),
                ),
                ("DROP TABLE IF EXISTS `app`.`gone2`", "DROP TABLE app.gone1, app.gone2".to_owned()),
            ] {
                rig.source
                    .execute(&[
                        "CREATE TABLE IF NOT EXISTS app.gone1 (a INT)",
                        "CREATE TABLE IF NOT EXISTS app.gone2 (a INT)",
                    ])
                    .await;
                rig.caught_up(&mut running).await;
                let before = proxy.lost();
                proxy.lose_next(lost, only_the_answer);
                let fill = [
                    format!("INSERT INTO app.t (id, v) VALUES ({}, 1)", proxy.lost() + 100),
                    format!("INSERT INTO app.a VALUES ({})", proxy.lost() + 100),
                ];
                rig.source.execute(&[&sql, &fill[0], &fill[1]]).await;
                let deadline = tokio::time::Instant::now() + PATIENCE;
                while proxy.lost() == before {
                    assert!(tokio::time::Instant::now() < deadline, "{lost} was not lost");
                    assert!(!running.handle.is_finished(), "{:?}", (&mut running.handle).await);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                if crash {
                    running.crash().await;
                    running = rig.start();
                }
                rig.caught_up(&mut running).await;
                rig.assert_equal().await;
                assert_eq!(columns(&rig.source, "t").await, columns(&rig.target, "t").await);
            }
        }
    }

    // What splitting cannot cure stops at its operation and says what is done.
    rig.target.execute(&["ALTER TABLE app.t ADD taken INT"]).await;
    rig.source.execute(&["ALTER TABLE app.t ADD free INT, ADD taken INT"]).await;
    let error = running.error().await;
    assert_eq!(error.code, codes::DDL_REFUSED, "{error}");
    let cause = error.cause.as_deref().unwrap();
    assert!(cause.starts_with("ERROR 1060: "), "{cause}");
    assert!(cause.contains("operation 2 of 2; executed are: ALTER TABLE `app`.`t` ADD free INT"), "{cause}");
    rig.target.execute(&["ALTER TABLE app.t DROP taken"]).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    assert_eq!(columns(&rig.source, "t").await, columns(&rig.target, "t").await);
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM dm_meta.t_dmnode_ddl").await, 0, "no traces are left");
    running.stop().await;
}
