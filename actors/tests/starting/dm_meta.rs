//! F10 and F8: checkpoints that somebody else has written.

use crate::Rig;
use crate::support::Kind;

/// The table as DM v1.0 made it.
const V1: &str = "CREATE TABLE dm_meta.t_syncer_checkpoint (id VARCHAR(32) NOT NULL, cp_schema VARCHAR(128) NOT NULL, \
     cp_table VARCHAR(128) NOT NULL, binlog_name VARCHAR(128), binlog_pos INT UNSIGNED, table_info JSON NOT NULL, \
     is_global BOOLEAN, create_time timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, \
     update_time timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, \
     UNIQUE KEY uk_id_schema_table (id, cp_schema, cp_table))";
/// The table as DM v2.0 and later make it.
const V2: &str = "CREATE TABLE dm_meta.t_syncer_checkpoint (id VARCHAR(32) NOT NULL, cp_schema VARCHAR(128) NOT NULL, \
     cp_table VARCHAR(128) NOT NULL, binlog_name VARCHAR(128), binlog_pos INT UNSIGNED, binlog_gtid TEXT, \
     exit_safe_binlog_name VARCHAR(128) DEFAULT '', exit_safe_binlog_pos INT UNSIGNED DEFAULT 0, \
     exit_safe_binlog_gtid TEXT, table_info JSON NOT NULL, is_global BOOLEAN, \
     create_time timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, \
     update_time timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, \
     UNIQUE KEY uk_id_schema_table (id, cp_schema, cp_table))";
const OTHERS: [&str; 2] = [
    "CREATE TABLE dm_meta.t_lightning_checkpoint_list (task_name varchar(255) NOT NULL, source_name varchar(255) NOT NULL, \
     status varchar(10) NOT NULL DEFAULT 'init', PRIMARY KEY (task_name, source_name))",
    "CREATE TABLE dm_meta.t_syncer_sharding_meta (source_id VARCHAR(32) NOT NULL, target_table_id VARCHAR(144) NOT NULL, \
     source_table_id VARCHAR(144) NOT NULL, active_index INT, is_global BOOLEAN, data JSON, \
     UNIQUE uk_source_id_table_id_source (source_id, target_table_id, source_table_id))",
];

const TABLES: [&str; 3] = [
    "CREATE DATABASE app",
    "CREATE TABLE app.log (line VARCHAR(20) PRIMARY KEY)",
    "CREATE TABLE app.other (line VARCHAR(20) PRIMARY KEY)",
];

/// Where the source is.
async fn place(rig: &Rig) -> (String, String, String) {
    let status = if rig.source.kind == Kind::Mysql { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
    let row = rig.source.query(status).await.remove(0);
    let (file, pos) = (row[0].clone().unwrap(), row[1].clone().unwrap());
    let set = match rig.source.kind {
        Kind::Mysql => row[4].clone().unwrap(),
        Kind::Mariadb => {
            let sql = format!("SELECT BINLOG_GTID_POS('{file}', {pos})");
            rig.source.query(&sql).await[0][0].clone().unwrap()
        }
    };
    (file, pos, set)
}

async fn others(rig: &Rig) -> Vec<String> {
    let rows = rig.target.query("SELECT line FROM app.other ORDER BY line").await;
    rows.into_iter().filter_map(|mut row| row.remove(0)).collect()
}

/// A task is stopped in DM and started here: it goes on at DM's checkpoint, and tables that are ahead of it are not given
/// twice what they have. Then the checkpoint is changed by hand, the old way of adding a table.
async fn taken_over(kind: Kind, gtid: bool, layout: &str) {
    let mut rig = Rig::new(kind, &[], gtid).await;
    rig.source.execute(&TABLES).await;
    rig.target.execute(&TABLES).await;
    rig.target.execute(&["CREATE DATABASE dm_meta", layout]).await;
    rig.target.execute(&OTHERS).await;
    rig.target
        .execute(&["INSERT INTO dm_meta.t_lightning_checkpoint_list VALUES ('t', 's1', 'finished')"])
        .await;
    let other = async |line: &str| {
        rig.source.execute(&[&format!("INSERT INTO app.other VALUES ('{line}')")]).await;
    };
    rig.log(&["1"]).await;
    other("1").await;
    let global = place(&rig).await;
    rig.log(&["2"]).await;
    let table = place(&rig).await;
    other("2").await;
    let exit = place(&rig).await;
    rig.log(&["3"]).await;
    // What DM had done.
    rig.target
        .execute(&["INSERT INTO app.log VALUES ('1'), ('2')", "INSERT INTO app.other VALUES ('1')"])
        .await;
    let v2 = layout == V2;
    // As DM writes a position in a relay log.
    let relay = global.0.replace("bin.", "bin|000001.");
    let rows = [("", "", &relay, &global, 1), ("app", "log", &table.0, &table, 0)];
    for (schema, name, file, place, is_global) in rows {
        let (pos, set) = (&place.1, &place.2);
        let (columns, values) = match (v2, is_global) {
            (false, _) => ("", String::new()),
            (true, 0) => (", binlog_gtid", format!(", '{set}'")),
            (true, _) => (
                ", binlog_gtid, exit_safe_binlog_name, exit_safe_binlog_pos, exit_safe_binlog_gtid",
                format!(", '{set}', '{}', {}, '{}'", exit.0, exit.1, exit.2),
            ),
        };
        let sql = format!(
            "INSERT INTO dm_meta.t_syncer_checkpoint (id, cp_schema, cp_table, binlog_name, binlog_pos, table_info, is_global{columns}) \
             VALUES ('s1', '{schema}', '{name}', '{file}', {pos}, 'null', {is_global}{values})"
        );
        rig.target.execute(&[&sql]).await;
    }
    if v2 {
        // DM crashed: it had written more than its checkpoint says, up to its exit point.
        rig.target.execute(&["INSERT INTO app.other VALUES ('2')"]).await;
    }
    // A `meta` of the task file comes after the checkpoint.
    rig.meta = "    meta:\n      binlog-name: bin.000001\n      binlog-pos: 4\n".into();
    let mut running = rig.start();
    assert_eq!(rig.lines("3", &mut running).await, ["1", "2", "3"]);
    assert_eq!(others(&rig).await, ["1", "2"]);
    running.stop().await;

    // By hand: the other table is emptied and is to be read again; the log has everything.
    let now = place(&rig).await;
    rig.target
        .execute(&[
            "TRUNCATE TABLE app.other",
            &format!("UPDATE dm_meta.t_syncer_checkpoint SET binlog_name = '{}', binlog_pos = {}, binlog_gtid = '{}' WHERE cp_table = 'log'", now.0, now.1, if v2 { &now.2 } else { "" }),
            &format!("UPDATE dm_meta.t_syncer_checkpoint SET binlog_name = '{}', binlog_pos = {} WHERE is_global = 1", global.0, global.1),
        ])
        .await;
    rig.log(&["4"]).await;
    let mut running = rig.start();
    assert_eq!(rig.lines("4", &mut running).await, ["1", "2", "3", "4"]);
    assert_eq!(others(&rig).await, ["2"], "what comes after the edited position");
    running.stop().await;
    // The edit is followed once.
    let mut running = rig.start();
    rig.log(&["5"]).await;
    assert_eq!(rig.lines("5", &mut running).await, ["1", "2", "3", "4", "5"]);
    assert_eq!(others(&rig).await, ["2"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_a_task_of_dm_1_is_taken_over_by_position() {
    taken_over(Kind::Mysql, false, V1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_a_task_of_dm_2_is_taken_over_by_gtid() {
    taken_over(Kind::Mysql, true, V2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_a_task_of_dm_2_is_taken_over_from_mariadb() {
    taken_over(Kind::Mariadb, true, V2).await;
}
