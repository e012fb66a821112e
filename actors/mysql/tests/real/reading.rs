//! Reading binlogs: where events are, how streams begin and break, what is told and what is refused.

use std::time::{Duration, Instant};

use dmnode_model::{BinlogPosition, Flavor, Gtid, GtidSet, TableName};
use dmnode_mysql::{
    BinlogError, BinlogEvent, BinlogReader, BinlogStart, Connection, DecodeError, DecodeErrorKind, EventBody,
    RowDecoder, RowsKind, ServerInfo, TableInfo, Value, current_location,
};

use crate::servers::{Server, run, value};

async fn servers() -> Vec<Server> {
    let mut servers = vec![Server::mariadb().await];
    servers.extend(Server::mysql().await);
    servers
}

/// Events from a position to the end of the binlog.
async fn read_from(server: &Server, info: &ServerInfo, start: BinlogStart) -> Vec<BinlogEvent> {
    let mut connection = server.connect().await;
    let end = current_location(&mut connection, info).await.unwrap().position;
    let mut reader = BinlogReader::open(&server.endpoint, info, 99, start).await.unwrap();
    let mut events = Vec::new();
    while reader.position() < end {
        events.push(reader.next().await.unwrap());
    }
    events
}

async fn fresh(connection: &mut Connection) {
    run(connection, "DROP DATABASE IF EXISTS d").await;
    run(connection, "CREATE DATABASE d").await;
}

#[tokio::test]
async fn streams_begin_where_they_are_asked_to() {
    for server in servers().await {
        let mut connection = server.connect().await;
        let info = ServerInfo::probe(&mut connection).await.unwrap();
        assert_eq!(info.flavor, server.flavor);
        assert!(info.log_bin && info.has_gtids() && info.local_infile, "{info:?}");
        fresh(&mut connection).await;
        run(&mut connection, "CREATE TABLE d.t (id INT PRIMARY KEY, v INT)").await;
        let mut middles = Vec::new();
        for id in 1..=6 {
            if id == 4 {
                run(&mut connection, "FLUSH BINARY LOGS").await;
            }
            run(&mut connection, &format!("INSERT INTO d.t VALUES ({id}, 0)")).await;
            middles.push(current_location(&mut connection, &info).await.unwrap());
        }
        let ids = |events: &[BinlogEvent]| {
            events.iter().filter(|event| matches!(event.body, EventBody::Xid { .. })).count()
        };
        for (index, middle) in middles.iter().enumerate() {
            if index + 1 == middles.len() {
                break;
            }
            let rest = middles.len() - index - 1;
            let by_position = read_from(&server, &info, BinlogStart::Position(middle.position.clone())).await;
            assert_eq!(ids(&by_position), rest, "{middle}");
            let by_gtid =
                read_from(&server, &info, BinlogStart::Gtid(middle.gtid_set.clone().unwrap())).await;
            assert_eq!(ids(&by_gtid), rest, "{middle}");
            // The end of each transaction is where the server said it was.
            let ends: Vec<BinlogPosition> = by_position
                .iter()
                .filter(|event| matches!(event.body, EventBody::Xid { .. }))
                .map(|event| BinlogPosition::new(event.file.as_ref(), event.end_pos))
                .collect();
            let told: Vec<BinlogPosition> =
                middles[index + 1..].iter().map(|it| it.position.clone()).collect();
            assert_eq!(ends, told);
            // And no byte between two events is unaccounted for.
            for pair in by_position.windows(2) {
                if pair[0].file == pair[1].file && pair[1].start_pos < pair[1].end_pos && pair[0].end_pos > 4
                {
                    assert_eq!(pair[0].end_pos, pair[1].start_pos, "{:?}", pair[1]);
                }
            }
        }
        // From the very beginning: an empty set.
        let all = read_from(&server, &info, BinlogStart::Gtid(GtidSet::empty(server.flavor))).await;
        assert!(ids(&all) >= 6);
        assert!(all.iter().any(|event| matches!(&event.body, EventBody::Query(query)
            if query.sql_text().unwrap().starts_with("CREATE TABLE d.t"))));
    }
}

#[tokio::test]
async fn transactions_statements_and_sessions_are_told() {
    for server in servers().await {
        let mut connection = server.connect().await;
        let info = ServerInfo::probe(&mut connection).await.unwrap();
        fresh(&mut connection).await;
        run(&mut connection, "USE d").await;
        let start = current_location(&mut connection, &info).await.unwrap();
        run(
            &mut connection,
            "SET sql_mode = 'ANSI_QUOTES,STRICT_TRANS_TABLES', time_zone = '+02:00', foreign_key_checks = 0",
        )
        .await;
        run(&mut connection, "SET NAMES latin1 COLLATE latin1_bin").await;
        // The text is UTF-8, and the server takes it for latin1: two characters.
        run(
            &mut connection,
            "CREATE TABLE \"t\" (id INT PRIMARY KEY, c TIMESTAMP DEFAULT '2026-01-01 10:00:00' COMMENT 'ä')",
        )
        .await;
        run(&mut connection, "SET NAMES utf8mb4").await;
        run(&mut connection, "XA START 'gt','bq',7").await;
        run(&mut connection, "INSERT INTO t (id) VALUES (1)").await;
        run(&mut connection, "XA END 'gt','bq',7").await;
        run(&mut connection, "XA PREPARE 'gt','bq',7").await;
        run(&mut connection, "XA COMMIT 'gt','bq',7").await;
        run(&mut connection, "SET SESSION binlog_format = 'STATEMENT'").await;
        run(&mut connection, "SET @user_variable = 5").await;
        run(&mut connection, "INSERT INTO t (id) VALUES (@user_variable)").await;
        let events = read_from(&server, &info, BinlogStart::Position(start.position)).await;
        let create = events
            .iter()
            .find_map(|event| match &event.body {
                EventBody::Query(query) if query.sql.starts_with(b"CREATE TABLE") => Some(query),
                _ => None,
            })
            .unwrap();
        assert_eq!(create.schema, "d");
        assert_eq!(create.sql_mode.unwrap() & 4, 4, "ANSI_QUOTES");
        assert_eq!(create.foreign_key_checks(), Some(false));
        assert_eq!(create.unique_checks(), Some(true));
        assert_eq!(create.time_zone.as_deref(), Some("+02:00"));
        assert_eq!(&*create.client_collation.as_ref().unwrap().charset, "latin1");
        assert_eq!(&*create.collation_connection.as_ref().unwrap().name, "latin1_bin");
        assert_eq!(&*create.collation_server.as_ref().unwrap().charset, "utf8mb4");
        assert!(create.sql_text().unwrap().contains("'Ã¤'"), "{:?}", create.sql_text());
        assert_eq!(create.unknown_status, None);
        assert_eq!(create.thread_id, connection.id());
        let prepared = events.iter().find_map(|event| match &event.body {
            EventBody::XaPrepare { one_phase, format_id, gtrid, bqual } => {
                Some((*one_phase, *format_id, gtrid.clone(), bqual.clone()))
            }
            _ => None,
        });
        assert_eq!(prepared, Some((false, 7, "gt".into(), "bq".into())));
        assert!(
            events
                .iter()
                .any(|event| matches!(&event.body, EventBody::UserVar { name } if name == "user_variable"))
        );
        for event in &events {
            assert!(!matches!(event.body, EventBody::Unsupported { .. }), "{event:?}");
            // MySQL 9.7 writes one that is not documented (21) for statements that change rows.
            if let EventBody::Query(query) = &event.body {
                assert!(matches!(query.unknown_status, None | Some(21)), "{query:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_idle_source_beats_and_a_stopped_one_is_noticed() {
    for server in servers().await {
        let mut connection = server.connect().await;
        let info = ServerInfo::probe(&mut connection).await.unwrap();
        let start = current_location(&mut connection, &info).await.unwrap();
        let start = BinlogStart::Position(start.position);
        let mut reader = BinlogReader::open(&server.endpoint, &info, 99, start).await.unwrap();
        let begun = Instant::now();
        let mut beats = 0;
        while beats < 3 {
            if matches!(reader.next().await.unwrap().body, EventBody::Heartbeat) {
                beats += 1;
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        // Dropping a call of `next` in the middle loses nothing.
        for _ in 0..20 {
            let _ = tokio::time::timeout(Duration::from_millis(3), reader.next()).await;
        }
        fresh(&mut connection).await;
        loop {
            if matches!(reader.next().await.unwrap().body, EventBody::Query(query) if query.sql.starts_with(b"CREATE"))
            {
                break;
            }
        }
        drop(server);
        let error = loop {
            match reader.next().await {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(error.is_connection_lost(), "{error}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_an_error_of_its_own() {
    for server in servers().await {
        let mut connection = server.connect().await;
        let info = ServerInfo::probe(&mut connection).await.unwrap();
        let first_error = async |start: BinlogStart| -> BinlogError {
            let mut reader = BinlogReader::open(&server.endpoint, &info, 99, start).await.unwrap();
            loop {
                match reader.next().await {
                    Ok(_) => {}
                    Err(error) => break error,
                }
            }
        };
        let error = first_error(BinlogStart::Position(BinlogPosition::new("binlog.999999", 4))).await;
        assert!(error.is_position_lost() && !error.is_connection_lost(), "{error}");
        let here = current_location(&mut connection, &info).await.unwrap().position;
        let beyond = BinlogPosition::new(here.file.clone(), here.pos + 1_000_000);
        let error = first_error(BinlogStart::Position(beyond)).await;
        assert!(error.is_position_lost(), "{error}");

        // A transaction whose file is gone.
        fresh(&mut connection).await;
        let before = GtidSet::empty(server.flavor);
        run(&mut connection, "FLUSH BINARY LOGS").await;
        run(&mut connection, "CREATE TABLE d.later (id INT)").await;
        let here = current_location(&mut connection, &info).await.unwrap().position;
        run(&mut connection, &format!("PURGE BINARY LOGS TO '{}'", here.file)).await;
        let error = first_error(BinlogStart::Gtid(before)).await;
        assert!(error.is_position_lost(), "{error}");
        let other = match server.flavor {
            Flavor::Mysql => GtidSet::parse(Flavor::Mariadb, "0-1-1").unwrap(),
            Flavor::Mariadb => GtidSet::empty(Flavor::Mysql),
        };
        let error =
            BinlogReader::open(&server.endpoint, &info, 99, BinlogStart::Gtid(other)).await.unwrap_err();
        assert!(!error.is_connection_lost(), "{error}");
    }
}

#[tokio::test]
async fn tagged_transactions_are_read_and_skipped_by_their_tag() {
    let Some(server) = Server::mysql().await else { return };
    let mut connection = server.connect().await;
    let info = ServerInfo::probe(&mut connection).await.unwrap();
    fresh(&mut connection).await;
    run(&mut connection, "CREATE TABLE d.t (id INT PRIMARY KEY)").await;
    let uuid = info.server_uuid.clone().unwrap();
    let before = current_location(&mut connection, &info).await.unwrap();
    for (number, tag) in ["", "blue", "blue", "red"].into_iter().enumerate() {
        let next = if tag.is_empty() { "AUTOMATIC".to_owned() } else { format!("AUTOMATIC:{tag}") };
        run(&mut connection, &format!("SET gtid_next = '{next}'")).await;
        run(&mut connection, &format!("INSERT INTO d.t VALUES ({number})")).await;
    }
    run(&mut connection, "SET gtid_next = 'AUTOMATIC'").await;
    let gtids = |events: &[BinlogEvent]| -> Vec<String> {
        events
            .iter()
            .filter_map(|event| match &event.body {
                EventBody::Gtid(gtid) => Some(gtid.gtid.to_string()),
                _ => None,
            })
            .collect()
    };
    let all = read_from(&server, &info, BinlogStart::Position(before.position.clone())).await;
    let all = gtids(&all);
    assert_eq!(all[1..], [format!("{uuid}:blue:1"), format!("{uuid}:blue:2"), format!("{uuid}:red:1")]);
    let mut set = before.gtid_set.clone().unwrap();
    set.insert(&Gtid::parse(Flavor::Mysql, &all[0]).unwrap()).unwrap();
    set.insert(&Gtid::parse(Flavor::Mysql, &all[2]).unwrap()).unwrap();
    let rest = gtids(&read_from(&server, &info, BinlogStart::Gtid(set)).await);
    assert_eq!(rest, [all[1].clone(), all[3].clone()]);
    // A file written later lists them at its start.
    run(&mut connection, "FLUSH BINARY LOGS").await;
    run(&mut connection, "INSERT INTO d.t VALUES (50)").await;
    let here = current_location(&mut connection, &info).await.unwrap();
    let start = BinlogStart::Position(BinlogPosition::new(here.position.file.clone(), 4));
    let previous = read_from(&server, &info, start).await.into_iter().find_map(|event| match event.body {
        EventBody::PreviousGtids(set) => Some(set),
        _ => None,
    });
    let previous = previous.unwrap();
    for gtid in &all {
        assert!(previous.contains(&Gtid::parse(Flavor::Mysql, gtid).unwrap()), "{gtid} in {previous}");
    }
}

#[tokio::test]
async fn rows_that_do_not_fit_the_table_are_refused() {
    for server in servers().await {
        let mut connection = server.connect().await;
        let info = ServerInfo::probe(&mut connection).await.unwrap();
        fresh(&mut connection).await;
        run(&mut connection, "CREATE TABLE d.t (id INT PRIMARY KEY, a VARCHAR(20), b DATETIME, v INT AS (id + 1) VIRTUAL, s INT AS (id + 2) STORED)")
            .await;
        for (name, columns) in [
            ("other_count", "id INT PRIMARY KEY, a VARCHAR(20)"),
            ("other_type", "id INT PRIMARY KEY, a VARCHAR(20), b TIMESTAMP NULL, v INT, s INT"),
            ("other_kind", "id INT PRIMARY KEY, a DECIMAL(20,0), b DATETIME, v INT, s INT"),
        ] {
            run(&mut connection, &format!("CREATE TABLE d.{name} ({columns})")).await;
        }
        let start = current_location(&mut connection, &info).await.unwrap();
        run(&mut connection, "INSERT INTO d.t (id, a) VALUES (1, 'x')").await;
        run(&mut connection, "UPDATE d.t SET a = 'y'").await;
        run(&mut connection, "SET SESSION binlog_row_image = 'MINIMAL'").await;
        run(&mut connection, "UPDATE d.t SET a = 'z'").await;
        let events = read_from(&server, &info, BinlogStart::Position(start.position)).await;
        let rows: Vec<_> = events
            .into_iter()
            .filter_map(|event| match event.body {
                EventBody::Rows(rows) => Some(rows),
                _ => None,
            })
            .collect();
        assert_eq!(
            rows.iter().map(|it| it.kind).collect::<Vec<_>>(),
            [RowsKind::Insert, RowsKind::Update, RowsKind::Update]
        );
        let mut table = async |name: &str| {
            TableInfo::load(&mut connection, &TableName::new("d", name)).await.unwrap().unwrap()
        };
        let decoder = RowDecoder::new(&rows[0].table, &table("t").await).unwrap();
        let mut seen = Vec::new();
        for event in &rows[..2] {
            decoder
                .decode::<DecodeError>(event, |images| {
                    seen.push(images);
                    Ok(())
                })
                .unwrap();
        }
        let after = &seen[1].after.as_ref().unwrap().values;
        assert_eq!(after[1], Value::Bytes("y".into()));
        assert!(matches!(after[3], Value::Int(2) | Value::Absent), "virtual: {:?}", after[3]);
        assert_eq!(after[4], Value::Int(3), "stored");
        let minimal = decoder.decode::<DecodeError>(&rows[2], |_| Ok(())).unwrap_err();
        assert_eq!(minimal.kind, DecodeErrorKind::PartialImage, "{minimal}");
        for name in ["other_count", "other_type", "other_kind"] {
            let error = RowDecoder::new(&rows[0].table, &table(name).await).unwrap_err();
            assert_eq!(error.kind, DecodeErrorKind::Mismatch, "{name}: {error}");
        }
        assert_eq!(value(&mut connection, "SELECT a FROM d.t").await.as_deref(), Some("z"));
    }
}
