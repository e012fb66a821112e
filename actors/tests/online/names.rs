//! What the names mean: `online-ddl: false`, rules of one's own, and statements that fit no tool.

use dmnode_model::codes;

use super::ghost::{ALTER, after, copy, cut_over, prepare};
use super::*;

/// With `online-ddl: false` the tables of the tools are tables like others, and the swap is a swap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_online_ddl_shadows_are_tables() {
    let mut rig = StreamRig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    rig.task = "online-ddl: false\n".into();
    fill(&rig).await;
    prepare(&rig, ALTER).await;
    copy(&rig, "num").await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    assert_same(&rig, &["app.t", "app._t_gho", "app._t_ghc"]).await;
    cut_over(&rig).await;
    rig.caught_up(&mut running).await;
    assert_same(&rig, &["app.t", "app._t_del"]).await;
    after(&rig, "num").await;
    rig.caught_up(&mut running).await;
    assert_same(&rig, &["app.t"]).await;
    running.stop().await;
}

/// Rules of one's own take the place of the built-in ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_of_ones_own() {
    let mut rig = StreamRig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    rig.task = "shadow-table-rules: ['^(.+)__building$']\ntrash-table-rules: ['^(.+)__gone$']\n".into();
    fill(&rig).await;
    rig.source
        .execute(&[
            // Ordinary with these rules.
            "CREATE TABLE app._x_new (id INT PRIMARY KEY)",
            "INSERT INTO app._x_new VALUES (1)",
            "CREATE TABLE app.t__building LIKE app.t",
            "CREATE INDEX k ON app.t__building (n)",
            "INSERT INTO app.t__building SELECT * FROM app.t",
            // Empties the shadow, never the table.
            "TRUNCATE TABLE app.t__building",
            "INSERT INTO app.t__building SELECT * FROM app.t",
            "RENAME TABLE app.t TO app.t__gone, app.t__building TO app.t",
            "INSERT INTO app.t (name) VALUES ('z')",
            "DROP TABLE app.t__gone",
        ])
        .await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    assert_same(&rig, &["app.t", "app._x_new"]).await;

    // A former table under a name that the rules do not have.
    rig.source
        .execute(&[
            "CREATE TABLE app.t__building LIKE app.t",
            "RENAME TABLE app.t TO app.elsewhere, app.t__building TO app.t",
        ])
        .await;
    let error = running.error().await;
    assert_eq!(error.code, codes::CONFIG_ONLINE_DDL_MISTAKE_REGEX, "{error}");
    assert!(error.message.contains("fail to match 'trash' online ddl regex"), "{error}");
}

/// Statements by hand on tables with such names stop the task where it could not be exact.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_exact_stops() {
    let (mut rig, mut running) = begun(Kind::Mariadb, Kind::Mariadb).await;
    for (statements, code) in [
        (vec!["RENAME TABLE app.t TO app._t_gho"], codes::SYNCER_UNIT_GHOST_RENAME_TO_GHOST_TABLE),
        (
            vec!["CREATE TABLE app._t_new (id INT)", "RENAME TABLE app._t_new TO app._t_gho"],
            codes::SYNCER_UNIT_GHOST_RENAME_GHOST_TBL_TO_OTHER,
        ),
        (
            vec!["CREATE TABLE app._other_old (id INT)", "RENAME TABLE app._other_old TO app.other"],
            codes::DDL_UNSUPPORTED,
        ),
        (
            vec!["CREATE TABLE app._other_new (id INT)", "RENAME TABLE app._other_new TO app.other"],
            codes::DDL_UNSUPPORTED,
        ),
    ] {
        rig.source.execute(&statements).await;
        let error = running.error().await;
        assert_eq!(error.code, code, "{error}");
        assert!(error.location.is_some(), "{error}");
        // Begun anew behind it.
        rig.target.execute(&["DROP DATABASE dm_meta", "DROP DATABASE app"]).await;
        rig.source.execute(&["DROP DATABASE app", "RESET MASTER"]).await;
        fill(&rig).await;
        running = rig.start();
        rig.caught_up(&mut running).await;
    }
    // A table that is dropped while a shadow of it is left over, and made anew.
    rig.source
        .execute(&[
            "CREATE TABLE app._t_new LIKE app.t",
            "DROP TABLE app.t",
            T,
            "INSERT INTO app.t (name) VALUES ('new')",
        ])
        .await;
    rig.caught_up(&mut running).await;
    rig.source.execute(&["DROP TABLE app._t_new"]).await;
    rig.caught_up(&mut running).await;
    assert_same(&rig, &["app.t"]).await;
    running.stop().await;
}
