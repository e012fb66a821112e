//! gh-ost: its statements as its applier writes them, in the order in which its migrator does.

use super::*;

/// The statements before the rows are copied.
pub async fn prepare(rig: &StreamRig, alter: &str) {
    rig.source
        .execute(&[
            "drop /* gh-ost */ table if exists `app`.`_t_gho`",
            "drop /* gh-ost */ table if exists `app`.`_t_ghc`",
            "create /* gh-ost */ table `app`.`_t_ghc` (id bigint unsigned auto_increment, \
             last_update timestamp not null DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, \
             hint varchar(64) charset ascii not null, value varchar(4096) charset ascii not null, \
             primary key(id), unique key hint_uidx(hint)) auto_increment=256",
            "create /* gh-ost */ table `app`.`_t_gho` like `app`.`t`",
            &format!("alter /* gh-ost */ table `app`.`_t_gho` {alter}"),
            "insert /* gh-ost */ into `app`.`_t_ghc` (id, hint, value) values (NULLIF(2, 0), 'state', 'GhostTableMigrated') \
             on duplicate key update last_update=NOW(), value=VALUES(value)",
        ])
        .await;
}

/// Rows are copied while the application writes; gh-ost applies what it reads in the binlog. `n` is called `number` in
/// the shadow.
pub async fn copy(rig: &StreamRig, number: &str) {
    let all = format!(
        "insert /* gh-ost `app`.`t` */ ignore into `app`.`_t_gho` (`id`, `name`, `{number}`) \
         (select `id`, `name`, `n` from `app`.`t` force index (`PRIMARY`) where id between 1 and 3 lock in share mode)"
    );
    let replace = format!(
        "replace /* gh-ost `app`.`_t_gho` */ into `app`.`_t_gho` (`id`, `name`, `{number}`) select id, name, n from app.t where id in (2, 5)"
    );
    let rest = all.replace("between 1 and 3", "> 3");
    rig.source
        .execute(&[
            &all,
            "UPDATE app.t SET n = 20 WHERE id = 2",
            "INSERT INTO app.t (id, name, n) VALUES (5, 'e', 5)",
            &replace,
            "insert /* gh-ost */ into `app`.`_t_ghc` (id, hint, value) values (NULLIF(1, 0), 'heartbeat', 'x') \
             on duplicate key update last_update=NOW(), value=VALUES(value)",
            &rest,
            "DELETE FROM app.t WHERE id = 1",
            "delete /* gh-ost `app`.`_t_gho` */ from `app`.`_t_gho` where ((`id` = 1))",
        ])
        .await;
}

/// The atomic cut-over: two connections, a lock and a sentry table.
pub async fn cut_over(rig: &StreamRig) {
    rig.source
        .execute(&[
            "drop /* gh-ost */ table if exists `app`.`_t_del`",
            "create /* gh-ost */ table `app`.`_t_del` (id int auto_increment primary key) engine=InnoDB comment='ghost-cut-over-sentry'",
        ])
        .await;
    let mut locker = rig.source.connect().await;
    locker.execute("lock /* gh-ost */ tables `app`.`t` write, `app`.`_t_del` write").await.unwrap();
    let mut renamer = rig.source.connect().await;
    let rename = tokio::spawn(async move {
        renamer
            .execute("rename /* gh-ost */ table `app`.`t` to `app`.`_t_del`, `app`.`_t_gho` to `app`.`t`")
            .await
            .unwrap();
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    locker.execute("drop /* gh-ost */ table if exists `app`.`_t_del`").await.unwrap();
    locker.execute("unlock tables").await.unwrap();
    rename.await.unwrap();
}

/// Afterwards the application goes on with the new structure, and gh-ost removes its tables.
pub async fn after(rig: &StreamRig, number: &str) {
    rig.source
        .execute(&[
            &format!("INSERT INTO app.t (name, {number}) VALUES ('after', 100)"),
            &format!("UPDATE app.t SET {number} = {number} + 1 WHERE id = 2"),
            "drop /* gh-ost */ table if exists `app`.`_t_ghc`",
            "drop /* gh-ost */ table if exists `app`.`_t_del`",
        ])
        .await;
}

pub const ALTER: &str = "ADD COLUMN extra INT NOT NULL DEFAULT 7 AFTER id, CHANGE n num BIGINT, DROP KEY by_name, ADD UNIQUE KEY u (name, id)";

async fn whole(from: Kind, to: Kind) {
    let (rig, mut running) = begun(from, to).await;
    prepare(&rig, ALTER).await;
    rig.source.execute(&["alter /* gh-ost */ table `app`.`_t_gho` auto_increment=5"]).await;
    copy(&rig, "num").await;
    rig.caught_up(&mut running).await;
    assert_eq!(collected(&rig).await, ["_t_gho"]);
    let tables = rig.target.query("SHOW TABLES FROM app").await;
    assert_eq!(tables.len(), 2, "only t and the mark: {tables:?}");
    cut_over(&rig).await;
    after(&rig, "num").await;
    rig.caught_up(&mut running).await;
    assert_same(&rig, &["app.t"]).await;
    assert_eq!(collected(&rig).await, Vec::<String>::new());
    assert_eq!(running.status().warnings, Vec::<String>::new());

    // A second one, of an ordinary statement on the result in between. Somebody alters the shadow once more.
    rig.source.execute(&["ALTER TABLE app.t ADD COLUMN between_them INT"]).await;
    prepare(&rig, "DROP COLUMN between_them, ENGINE=InnoDB, COMMENT='second'").await;
    rig.source
        .execute(&[
            "ALTER TABLE app._t_gho ALTER num SET DEFAULT 3",
            "insert ignore into app._t_gho select id, extra, name, num from app.t",
        ])
        .await;
    cut_over(&rig).await;
    after(&rig, "num").await;
    rig.caught_up(&mut running).await;
    assert_same(&rig, &["app.t"]).await;
    let warnings = running.status().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("was altered 2 times"), "{warnings:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gh_ost_on_mariadb() {
    whole(Kind::Mariadb, Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gh_ost_on_mysql() {
    whole(Kind::Mysql, Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gh_ost_from_mysql_to_mariadb() {
    whole(Kind::Mysql, Kind::Mariadb).await;
}

/// The cut-over in two steps, with the unit dying behind every statement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gh_ost_in_two_steps_with_deaths_in_between() {
    let (mut rig, mut running) = begun(Kind::Mariadb, Kind::Mariadb).await;
    prepare(&rig, ALTER).await;
    running.crash().await;
    running = rig.start();
    copy(&rig, "num").await;
    rig.caught_up(&mut running).await;
    rig.source.execute(&["alter /* gh-ost */ table `app`.`t` rename `app`.`_t_del`"]).await;
    rig.caught_up(&mut running).await;
    assert_eq!(collected(&rig).await, ["_t_gho", "t"]);
    let warnings = running.status().warnings;
    assert!(warnings.iter().any(|text| text.contains("nothing has taken its place")), "{warnings:?}");
    running.crash().await;
    // Back and away again: the table is as it was.
    rig.source
        .execute(&[
            "RENAME TABLE app._t_del TO app.t",
            "INSERT INTO app.t (name, n) VALUES ('back', 6)",
            "INSERT INTO app._t_gho (name, num) VALUES ('back', 6)",
            "alter /* gh-ost */ table `app`.`t` rename `app`.`_t_del`",
        ])
        .await;
    running = rig.start();
    rig.caught_up(&mut running).await;
    running.crash().await;
    rig.source.execute(&["alter /* gh-ost */ table `app`.`_t_gho` rename `app`.`t`"]).await;
    after(&rig, "num").await;
    for _ in 0..3 {
        running = rig.start();
        tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        running.crash().await;
    }
    running = rig.start();
    rig.caught_up(&mut running).await;
    assert_same(&rig, &["app.t"]).await;
    assert_eq!(collected(&rig).await, Vec::<String>::new());
    running.stop().await;
}

/// Filters and routes are about the real table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_are_about_the_real_table() {
    let mut rig = StreamRig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    rig.task = "routes:\n  r:\n    schema-pattern: app\n    table-pattern: t\n    target-schema: app\n    target-table: there\n".into();
    fill(&rig).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    prepare(&rig, ALTER).await;
    copy(&rig, "num").await;
    cut_over(&rig).await;
    after(&rig, "num").await;
    rig.caught_up(&mut running).await;
    let select = |table: &str| format!("SELECT id, extra, name, num FROM app.{table} ORDER BY id");
    assert_eq!(rig.source.query(&select("t")).await, rig.target.query(&select("there")).await);
    let (source, target) =
        (show_create(&rig.source, "app.t").await, show_create(&rig.target, "app.there").await);
    assert_eq!(source.replace("TABLE `t`", "TABLE `there`"), target);
    running.stop().await;
}
