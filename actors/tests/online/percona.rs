//! The real pt-online-schema-change, with writes while it works.

use std::process::Stdio;

use super::*;

/// Runs it on `app.{table}` while somebody writes to the table.
async fn change(rig: &StreamRig, table: &str, arguments: &[&str]) {
    let dsn = format!("h=127.0.0.1,P={},u=root,D=app,t={table}", rig.source.port);
    let child = tokio::process::Command::new("pt-online-schema-change")
        .args(arguments)
        .args([
            "--execute",
            "--no-version-check",
            "--no-check-replication-filters",
            "--recursion-method=none",
        ])
        .args(["--chunk-size=50", "--sleep=0.02", "--no-check-plan", &dsn])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("pt-online-schema-change of the package percona-toolkit");
    let mut conn = rig.source.connect().await;
    let done = child.wait_with_output();
    tokio::pin!(done);
    let mut number = 0;
    let output = loop {
        tokio::select! {
            output = &mut done => break output.unwrap(),
            () = tokio::time::sleep(std::time::Duration::from_millis(5)) => {
                number += 1;
                for sql in [
                    format!("INSERT INTO app.{table} (name, n) VALUES ('live', {number})"),
                    format!("UPDATE app.{table} SET n = n + 1 WHERE id = {}", number * 7 % 300 + 2),
                    format!("DELETE FROM app.{table} WHERE id = {}", 300 + number * 3),
                ] {
                    // In the moment of a swap without RENAME there is no such table.
                    let _ = conn.execute(sql).await;
                }
            }
        }
    };
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

async fn fill_many(rig: &StreamRig) {
    let rows: Vec<String> = (0..600).map(|n| format!("('name{n}', {n})")).collect();
    rig.source.execute(&[&format!("INSERT INTO app.t (name, n) VALUES {}", rows.join(", "))]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pt_online_schema_change_with_writes() {
    let (rig, mut running) = begun(Kind::Mariadb, Kind::Mariadb).await;
    fill_many(&rig).await;
    change(
        &rig,
        "t",
        &["--alter", "ADD COLUMN extra INT NOT NULL DEFAULT 7, MODIFY n BIGINT, ADD KEY by_n (n)"],
    )
    .await;
    rig.caught_up(&mut running).await;
    assert_same(&rig, &["app.t"]).await;
    assert_eq!(collected(&rig).await, Vec::<String>::new());

    // The former table stays, and the next change finds its names taken.
    change(&rig, "t", &["--alter", "DROP COLUMN extra", "--no-drop-old-table"]).await;
    change(&rig, "t", &["--alter", "ENGINE=InnoDB ROW_FORMAT=DYNAMIC", "--no-drop-old-table"]).await;
    rig.caught_up(&mut running).await;
    let left = rig.source.query("SHOW TABLES FROM app LIKE '%old'").await;
    assert_eq!(left.len(), 2, "{left:?}");
    rig.source.execute(&["DROP TABLE app._t_old, app.__t_old"]).await;
    rig.caught_up(&mut running).await;
    assert_same(&rig, &["app.t"]).await;
    running.stop().await;
}

/// The table has a parent and a child: foreign keys get other names, and point to the new table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pt_online_schema_change_with_foreign_keys() {
    let (rig, mut running) = begun(Kind::Mariadb, Kind::Mariadb).await;
    rig.source
        .execute(&[
            "CREATE TABLE app.parent (id INT PRIMARY KEY)",
            "INSERT INTO app.parent VALUES (1), (2)",
            "ALTER TABLE app.t ADD COLUMN p INT DEFAULT 1, ADD CONSTRAINT to_parent FOREIGN KEY (p) REFERENCES app.parent (id)",
            "CREATE TABLE app.child (id INT PRIMARY KEY, t INT, CONSTRAINT to_t FOREIGN KEY (t) REFERENCES app.t (id))",
            "INSERT INTO app.child VALUES (1, 2), (2, 3)",
        ])
        .await;
    let rebuild =
        ["--alter", "ADD COLUMN x INT DEFAULT 1", "--alter-foreign-keys-method=rebuild_constraints"];
    change(&rig, "t", &rebuild).await;
    rig.caught_up(&mut running).await;
    assert_same(&rig, &["app.t", "app.child"]).await;
    assert_eq!(collected(&rig).await, Vec::<String>::new());
    // The method `drop_swap` is refused for servers like this one: its last step is done by hand, as the tool writes it.
    let mut drop_swap =
        vec!["--alter", "ADD COLUMN y INT DEFAULT 2", "--alter-foreign-keys-method=none", "--force"];
    drop_swap.extend(["--no-swap-tables", "--no-drop-new-table", "--no-drop-triggers"]);
    change(&rig, "t", &drop_swap).await;
    let mut conn = rig.source.connect().await;
    for sql in [
        "SET foreign_key_checks=0",
        "DROP TABLE IF EXISTS `app`.`t`",
        "RENAME TABLE `app`.`_t_new` TO `app`.`t`",
    ] {
        conn.execute(sql).await.unwrap();
    }
    rig.caught_up(&mut running).await;
    assert_same(&rig, &["app.t", "app.child"]).await;
    assert_eq!(collected(&rig).await, Vec::<String>::new());
    rig.source
        .execute(&["INSERT INTO app.parent VALUES (3)", "UPDATE app.t SET p = 3, x = x + 1 WHERE id = 2"])
        .await;
    rig.caught_up(&mut running).await;
    assert_same(&rig, &["app.t", "app.child", "app.parent"]).await;
    running.stop().await;
}
