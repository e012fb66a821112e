//! Operators' decisions about events (F4).

use dmnode_model::{BinlogPosition, StreamDecision, StreamOp};

use super::*;

/// Start of the event that the error is about.
pub fn start_of(error: &CodedError) -> BinlogPosition {
    let location = error.location.as_deref().unwrap();
    let rest = location.split_once("startLocation: [position: ").unwrap_or_else(|| panic!("{error}")).1;
    rest.split_once(", gtid-set").unwrap().0.parse().unwrap()
}

fn decision(position: &BinlogPosition, op: StreamOp, statements: &[&str]) -> StreamDecision {
    let statements = statements.iter().map(|sql| (*sql).to_owned()).collect();
    StreamDecision { position: position.clone(), op, statements, number: 7 }
}

/// The error tells what the operator needs; each kind of decision gets the stream past the event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f04_a_refused_ddl_is_skipped_replaced_or_preceded() {
    let mut rig = Rig::new(Kind::Mariadb, Kind::Mariadb, true).await;
    rig.source.execute(SCHEMA).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;

    rig.target.execute(&["ALTER TABLE app.counter ADD COLUMN extra INT"]).await;
    rig.source
        .execute(&["ALTER TABLE app.counter ADD COLUMN extra INT", "UPDATE app.counter SET extra = id"])
        .await;
    let error = running.error().await;
    assert_eq!(error.code, codes::DDL_REFUSED, "{error}");
    let cause = error.cause.as_deref().unwrap();
    assert!(cause.starts_with("ERROR 1060: "), "{cause}");
    assert!(cause.contains("at the source now: CREATE TABLE `counter`"), "{cause}");
    assert!(cause.contains("in the target: CREATE TABLE `counter`"), "{cause}");
    let at = start_of(&error);
    let command = format!("binlog skip t -b {}:{}", at.file, at.pos);
    assert!(error.workaround().contains(&command), "{error}");
    rig.decisions = vec![decision(&at, StreamOp::Skip, &[])];
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    let settled = running.ctx.status.snapshot().1.settled.expect("a watermark");
    assert!(settled > at, "{settled} is not past {at}");

    // Replaced by statements that cannot be executed twice.
    rig.target.execute(&["ALTER TABLE app.counter ADD COLUMN more VARCHAR(5)"]).await;
    rig.source
        .execute(&["ALTER TABLE app.counter ADD COLUMN more INT", "UPDATE app.counter SET more = 5"])
        .await;
    let at = start_of(&running.error().await);
    let statements =
        ["ALTER TABLE app.counter DROP COLUMN more", "ALTER TABLE app.counter ADD COLUMN more INT"];
    rig.decisions = vec![decision(&at, StreamOp::Replace, &statements)];
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    running.crash().await;

    // Preceded by one that makes room; with the decision still there, nothing is done again.
    rig.target.execute(&["CREATE INDEX by_n ON app.counter (n)"]).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.source
        .execute(&["CREATE INDEX by_n ON app.counter (n)", "INSERT INTO app.counter (id, n) VALUES (9, 9)"])
        .await;
    let at = start_of(&running.error().await);
    rig.decisions.push(decision(&at, StreamOp::Inject, &["DROP INDEX by_n ON app.counter"]));
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.assert_equal().await;
    running.stop().await;
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM dm_meta.t_dmnode_ddl").await, 0, "no traces are left");
}

/// A change in statement format and an event with rows are dropped only by a decision of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f04_what_carries_rows_is_skipped_by_position_only() {
    let mut rig = Rig::new(Kind::Mariadb, Kind::Mariadb, false).await;
    rig.source.execute(SCHEMA).await;
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.source
        .execute(&["SET SESSION binlog_format = STATEMENT", "UPDATE app.counter SET n = 5 WHERE id = 1"])
        .await;
    let error = running.error().await;
    assert_eq!(error.code, codes::STATEMENT_FORMAT, "{error}");
    rig.decisions = vec![decision(&start_of(&error), StreamOp::Skip, &[])];
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    assert_eq!(rig.target.number("SELECT n FROM app.counter WHERE id = 1").await, 0);
    rig.target
        .execute(&["UPDATE app.counter SET n = 5 WHERE id = 1", "DELETE FROM app.counter WHERE id = 2"])
        .await;
    rig.source.execute(&["UPDATE app.counter SET n = 1 WHERE id = 2"]).await;
    let error = running.error().await;
    assert_eq!(error.code, codes::ROW_NOT_FOUND, "{error}");
    let events = rig.source.query("SHOW BINLOG EVENTS").await;
    let event = events.iter().rfind(|event| event[2].as_deref().unwrap().starts_with("Update_rows")).unwrap();
    let at = BinlogPosition::new(event[0].clone().unwrap(), event[1].as_ref().unwrap().parse().unwrap());
    rig.decisions.push(decision(&at, StreamOp::Skip, &[]));
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    rig.target.execute(&["INSERT INTO app.counter VALUES (2, 1)"]).await;
    rig.assert_equal().await;
    running.stop().await;
}
