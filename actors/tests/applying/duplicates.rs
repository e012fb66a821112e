//! F16: why a row is in the way.

use dmnode_model::{CodedError, codes};

use crate::stream_rig::StreamRig;
use crate::support::Kind;

/// The whole error as an operator reads it; no value of a row may be in it.
fn text(error: &CodedError) -> String {
    let text = error.to_string();
    for value in ["4711", "Abc", "abcX", "abcY", "blue"] {
        assert!(!text.contains(value), "a value: {text}");
    }
    assert!(text.contains("Error 1062") && text.contains("Duplicate entry"), "DM's words: {text}");
    assert!(error.location.is_some() && error.object.is_some(), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f16_a_foreign_writer_and_a_replay() {
    for kind in [Kind::Mariadb, Kind::Mysql] {
        let mut rig = StreamRig::new(kind, kind, true).await;
        rig.source
            .execute(&[
                "CREATE DATABASE app",
                "CREATE TABLE app.t (id INT PRIMARY KEY, v VARCHAR(20), u INT, UNIQUE KEY by_u (u)) CHARSET utf8mb4",
            ])
            .await;
        let mut running = rig.start();
        rig.caught_up(&mut running).await;
        // By a secondary key, and different.
        rig.target.execute(&["INSERT INTO app.t VALUES (1, 'blue', 4711)"]).await;
        rig.source.execute(&["INSERT INTO app.t VALUES (2, 'red', 4711)"]).await;
        let error = running.error().await;
        let seen = text(&error);
        assert_eq!(error.code, codes::DUPLICATE_FOREIGN_WRITER, "{seen}");
        assert!(seen.contains("by_u") && seen.contains("another writer") && seen.contains("id, v"), "{seen}");
        rig.target.execute(&["DELETE FROM app.t"]).await;

        // The very row: applied before.
        let mut running = rig.start();
        rig.caught_up(&mut running).await;
        rig.target.execute(&["INSERT INTO app.t VALUES (4711, 'blue', 3)"]).await;
        rig.source.execute(&["INSERT INTO app.t VALUES (4711, 'blue', 3)"]).await;
        let error = running.error().await;
        let seen = text(&error);
        assert_eq!(error.code, codes::DUPLICATE_REPLAY, "{seen}");
        rig.target.execute(&["DELETE FROM app.t WHERE id = 4711"]).await;

        // What the source has made of the row later is in the target already.
        let mut running = rig.start();
        rig.caught_up(&mut running).await;
        rig.target.execute(&["INSERT INTO app.t VALUES (5, 'blue', 5)"]).await;
        rig.source
            .execute(&[
                "INSERT INTO app.t VALUES (5, 'green', 5)",
                "UPDATE app.t SET v = 'blue' WHERE id = 5",
            ])
            .await;
        let error = running.error().await;
        let seen = text(&error);
        assert_eq!(error.code, codes::DUPLICATE_REPLAY, "{seen}");

        // A key that only the target has.
        rig.target.execute(&["DELETE FROM app.t WHERE id = 5"]).await;
        rig.source.execute(&["DELETE FROM app.t WHERE id > 2"]).await;
        let mut running = rig.start();
        rig.caught_up(&mut running).await;
        rig.target.execute(&["ALTER TABLE app.t ADD UNIQUE KEY only_here (v)"]).await;
        rig.source
            .execute(&[
                "INSERT INTO app.t VALUES (11, 'twin', 11)",
                "INSERT INTO app.t VALUES (12, 'twin', 12)",
            ])
            .await;
        let error = running.error().await;
        let seen = text(&error);
        assert_eq!(error.code, codes::DUPLICATE_KEY_DIFFERS, "{seen}");
        assert!(seen.contains("only_here"), "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f16_two_shards_share_a_key() {
    let mut rig = StreamRig::new(Kind::Mysql, Kind::Mariadb, true).await;
    rig.task = "routes:\n  r:\n    schema-pattern: app_*\n    target-schema: app_all\n".into();
    for shard in [1, 2, 3] {
        rig.source
            .execute(&[
                &format!("CREATE DATABASE app_{shard}"),
                &format!("CREATE TABLE app_{shard}.t (id INT PRIMARY KEY, v VARCHAR(20))"),
            ])
            .await;
    }
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.source
        .execute(&["INSERT INTO app_1.t VALUES (4711, 'blue')", "INSERT INTO app_3.t VALUES (4711, 'red')"])
        .await;
    let error = running.error().await;
    let seen = text(&error);
    assert_eq!(error.code, codes::DUPLICATE_SHARDS, "{seen}");
    assert!(seen.contains("`app_1`.`t`") && seen.contains("`app_3`.`t`"), "{seen}");
}

/// Collation, prefix and blanks: the target's key takes for equal what the source's keeps apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f16_a_wider_key_in_the_target() {
    let cases = [
        ("utf8mb4_bin", "MODIFY name VARCHAR(20) COLLATE utf8mb4_general_ci NOT NULL", "Abc", "abc"),
        ("utf8mb4_bin", "DROP KEY by_name, ADD UNIQUE KEY by_name (name(3))", "abcX", "abcY"),
        ("utf8mb4_nopad_bin", "MODIFY name VARCHAR(20) COLLATE utf8mb4_bin NOT NULL", "Abc", "Abc "),
    ];
    let mut rig = StreamRig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    rig.source.execute(&["CREATE DATABASE app"]).await;
    for (number, (collation, alter, a, b)) in cases.into_iter().enumerate() {
        let table = format!("app.t{number}");
        rig.source
            .execute(&[&format!(
                "CREATE TABLE {table} (id INT PRIMARY KEY, name VARCHAR(20) COLLATE {collation} NOT NULL, UNIQUE KEY by_name (name)) CHARSET utf8mb4"
            )])
            .await;
        let mut running = rig.start();
        rig.caught_up(&mut running).await;
        rig.target.execute(&[&format!("ALTER TABLE {table} {alter}")]).await;
        rig.source
            .execute(&[
                &format!("INSERT INTO {table} VALUES (1, '{a}')"),
                &format!("INSERT INTO {table} VALUES (2, '{b}')"),
            ])
            .await;
        let error = running.error().await;
        let seen = text(&error);
        assert_eq!(error.code, codes::DUPLICATE_COLLATION, "{seen}");
        assert!(seen.contains("`name`") && seen.contains("by_name"), "{seen}");
        let repair = format!(
            "ALTER TABLE {table} DROP KEY by_name, MODIFY name VARCHAR(20) COLLATE {collation} NOT NULL, ADD UNIQUE KEY by_name (name)"
        );
        rig.target.execute(&[&repair]).await;
        let mut running = rig.start();
        rig.caught_up(&mut running).await;
        running.stop().await;
    }
    rig.assert_equal().await;
}
