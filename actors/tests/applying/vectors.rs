//! Values that no expression has: the empty VECTOR that an ALTER leaves in a NOT NULL column.

use crate::stream_rig::StreamRig;
use crate::support::Kind;
use crate::support::rig::Rig;

const ROWS: &str =
    "SELECT CONCAT_WS(',', id, HEX(c), LENGTH(c), IFNULL(HEX(n), 'NULL'), e + 0) FROM app.v ORDER BY id";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_vectors_arrive_through_copy_and_stream() {
    let rig = Rig::new(Kind::Mysql, Kind::Mysql).await;
    let two = "x'0000803f00000040'";
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.v (id INT PRIMARY KEY, n VECTOR(2), e ENUM('a', 'b') NOT NULL)",
            "SET sql_mode = ''",
            &format!("INSERT INTO app.v VALUES (1, NULL, 1), (2, {two}, 0), (3, {two}, 2)"),
            "ALTER TABLE app.v ADD c VECTOR(2) NOT NULL",
            &format!("INSERT INTO app.v VALUES (4, {two}, 1, {two})"),
        ])
        .await;
    rig.load(1).await.unwrap_or_else(|error| panic!("{error}"));
    let want = rig.source.query(ROWS).await;
    assert_eq!(want.len(), 4);
    assert_eq!(want[0][0].as_deref(), Some("1,,0,NULL,1"));
    assert_eq!(want, rig.target.query(ROWS).await);

    // A column that has a default would get that instead: refused, nothing is written.
    rig.target
        .execute(&[
            "DROP DATABASE dm_meta",
            "DELETE FROM app.v",
            "ALTER TABLE app.v DROP c, ADD c VECTOR(2) NOT NULL DEFAULT (STRING_TO_VECTOR('[1,2]'))",
        ])
        .await;
    let error = rig.load(1).await.expect_err("another value");
    assert_eq!(error.code, dmnode_model::codes::COPY_ROWS_REFUSED, "{error}");
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.v").await, 0);

    let mut rig = StreamRig::new(Kind::Mysql, Kind::Mysql, true).await;
    rig.source
        .execute(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.v (id INT PRIMARY KEY, n VECTOR(2), e ENUM('a', 'b') NOT NULL, c VECTOR(2) NOT NULL)",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.source
        .execute(&[
            "SET sql_mode = ''",
            "INSERT INTO app.v (id, n, e) VALUES (1, NULL, 1), (2, NULL, 0), (3, NULL, 2)",
            &format!(
                "INSERT INTO app.v VALUES (4, {two}, 1, {two}), (5, {two}, 1, {two}), (6, NULL, 1, {two})"
            ),
            &format!("UPDATE app.v SET n = {two} WHERE id < 3"),
            "UPDATE app.v SET c = DEFAULT, e = 0 WHERE id IN (4, 5)",
            &format!("UPDATE app.v SET c = {two} WHERE id = 3"),
        ])
        .await;
    rig.caught_up(&mut running).await;
    assert_eq!(rig.source.query(ROWS).await, rig.target.query(ROWS).await);
    rig.target
        .execute(&["ALTER TABLE app.v DROP c, ADD c VECTOR(2) NOT NULL DEFAULT (STRING_TO_VECTOR('[1,2]'))"])
        .await;
    rig.source.execute(&["SET sql_mode = ''", "INSERT INTO app.v (id, n, e) VALUES (7, NULL, 1)"]).await;
    let error = running.error().await;
    assert_eq!(error.code, dmnode_model::codes::ROW_REFUSED, "{error}");
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.v WHERE id = 7").await, 0);
}
