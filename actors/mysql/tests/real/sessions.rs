//! Sessions: settings, many statements at once, streams, loading data, and what happens when one is cut off.

use std::time::Duration;

use bytes::Bytes;
use dmnode_model::{SecurityConfig, TableName};
use dmnode_mysql::{Connection, SessionOptions, SqlErrorKind, TableInfo};
use tokio::{sync::mpsc, time::timeout};

use crate::servers::{Server, run, value};

async fn servers() -> Vec<Server> {
    let mut servers = vec![Server::mariadb().await];
    servers.extend(Server::mysql().await);
    servers
}

#[tokio::test]
async fn commands_do_what_they_say() {
    for server in servers().await {
        let options = SessionOptions {
            time_zone: Some("+03:00".into()),
            sql_mode: Some("NO_BACKSLASH_ESCAPES".into()),
            isolation_read_committed: true,
            found_rows: true,
            ..SessionOptions::default()
        };
        let mut connection = server.connect_with(&options).await;
        assert_eq!(value(&mut connection, "SELECT @@time_zone").await.as_deref(), Some("+03:00"));
        assert_eq!(
            value(&mut connection, "SELECT @@sql_mode").await.as_deref(),
            Some("NO_BACKSLASH_ESCAPES")
        );
        assert_eq!(value(&mut connection, "SELECT CONNECTION_ID()").await, Some(connection.id().to_string()));
        run(&mut connection, "CREATE DATABASE d").await;
        run(&mut connection, "CREATE TABLE d.t (id INT PRIMARY KEY, v INT)").await;

        many_statements(&mut connection).await;
        streams(&mut connection).await;
        loading(&server, &mut connection).await;
        cutting_off(&server).await;
        tables(&mut server.connect().await).await;
        security(&server).await;
    }
}

async fn many_statements(connection: &mut Connection) {
    let sql = "INSERT INTO d.t VALUES (1,0),(2,0);UPDATE d.t SET v = 0;SELECT * FROM d.t;DELETE FROM d.t WHERE id = 2";
    let done = connection.execute_many(sql.as_bytes().to_vec()).await.unwrap();
    let rows: Vec<u64> = done.iter().map(|summary| summary.affected_rows).collect();
    assert_eq!(rows, [2, 2, 0, 1]);
    assert!(done[0].info.contains("Records: 2"), "{:?}", done[0]);
    // The third of four fails.
    let sql = "INSERT INTO d.t VALUES (3,0);INSERT INTO d.t VALUES (4,0);INSERT INTO d.t VALUES (3,0);DELETE FROM d.t";
    let error = connection.execute_many(sql.as_bytes().to_vec()).await.unwrap_err();
    assert_eq!((error.index, error.error.code(), error.done.len()), (2, Some(1062), 2), "{error}");
    assert!(!error.error.is_connection_lost());
    let error =
        connection.execute_many(b"SELECT 1;SELECT 2 FROM nowhere.t;SELECT 3".to_vec()).await.unwrap_err();
    assert_eq!(error.index, 1, "{error}");
    let error = connection.execute_many(b"NONSENSE;SELECT 2".to_vec()).await.unwrap_err();
    assert_eq!((error.index, error.error.code()), (0, Some(1064)), "{error}");
    // The next command is not disturbed by what failed before it.
    assert_eq!(value(connection, "SELECT COUNT(*) FROM d.t").await.as_deref(), Some("3"));
    let warned = connection.execute("DROP TABLE IF EXISTS d.nothing").await.unwrap();
    assert_eq!(warned.warnings, 1);
}

async fn streams(connection: &mut Connection) {
    let mut stream = connection.stream("SELECT 1, NULL, 'x' UNION ALL SELECT 2, 'y', ''").await.unwrap();
    let row = stream.next().await.unwrap().unwrap();
    assert_eq!((row.len(), row.u64(0), row.bytes(1), row.str(2).as_deref()), (3, Some(1), None, Some("x")));
    let row = stream.next().await.unwrap().unwrap();
    assert_eq!((row.u64(0), row.bytes(1), row.bytes(2)), (Some(2), Some(&b"y"[..]), Some(&b""[..])));
    assert!(stream.next().await.unwrap().is_none());
    assert!(stream.next().await.unwrap().is_none());
    drop(stream);
    let error = connection.query("SELECT * FROM d.missing").await.unwrap_err();
    assert_eq!(error.code(), Some(1146));
    assert!(connection.query_one("SELECT 1 FROM d.t WHERE id = 99").await.unwrap().is_none());
    connection.ping().await.unwrap();
}

async fn loading(server: &Server, connection: &mut Connection) {
    run(connection, "CREATE TABLE d.l (id INT PRIMARY KEY, v VARBINARY(100))").await;
    let (sender, receiver) = mpsc::channel(2);
    let producer = tokio::spawn(async move {
        for chunk in 0..100 {
            let mut lines = String::new();
            for line in 0..100 {
                lines.push_str(&format!("{}\tvalue\n", chunk * 100 + line));
            }
            sender.send(Bytes::from(lines)).await.unwrap();
        }
    });
    let load = "LOAD DATA LOCAL INFILE 'x' INTO TABLE d.l CHARACTER SET binary";
    let summary = connection.load_data(load, receiver).await.unwrap();
    producer.await.unwrap();
    assert_eq!(summary.affected_rows, 10_000);
    // A server that asks for a file on its own gets none.
    let error = connection.execute("LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE d.l").await.unwrap_err();
    assert!(error.is_connection_lost(), "{error}");
    let mut connection = server.connect().await;
    // Neither does one whose own statement failed before it came to the data.
    let (_sender, receiver) = mpsc::channel(1);
    connection.load_data("LOAD DATA LOCAL INFILE 'x' INTO TABLE d.missing", receiver).await.unwrap_err();
    if !connection.is_closed() {
        let error =
            connection.execute("LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE d.l").await.unwrap_err();
        assert!(error.is_connection_lost(), "{error}");
    }
    // A load that is given up in the middle leaves nothing.
    let mut connection = server.connect().await;
    run(&mut connection, "TRUNCATE d.l").await;
    let (sender, receiver) = mpsc::channel(1);
    sender.send(Bytes::from_static(b"1\tx\n2\ty\n")).await.unwrap();
    assert!(timeout(Duration::from_millis(300), connection.load_data(load, receiver)).await.is_err());
    drop(connection);
    drop(sender);
    let mut connection = server.connect().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(value(&mut connection, "SELECT COUNT(*) FROM d.l").await.as_deref(), Some("0"));
}

async fn cutting_off(server: &Server) {
    let mut connection = server.connect().await;
    assert!(timeout(Duration::from_millis(200), connection.query("SELECT SLEEP(1), 7")).await.is_err());
    // The answer of the cancelled query must not be taken for this one's.
    let error = connection.query("SELECT 42").await.unwrap_err();
    assert_eq!(error.kind, SqlErrorKind::ConnectionLost, "{error}");
    assert!(connection.is_closed());

    let mut connection = server.connect().await;
    let endless = "SELECT a.id FROM d.l0 a, d.l0 b, d.l0 c";
    run(&mut connection, "CREATE TABLE d.l0 (id INT)").await;
    let numbers = (0..1000).map(|number| format!("({number})")).collect::<Vec<_>>().join(",");
    run(&mut connection, &format!("INSERT INTO d.l0 VALUES {numbers}")).await;
    let mut stream = connection.stream(endless).await.unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    let id = connection.id();
    assert!(connection.execute("DO 1").await.unwrap_err().is_connection_lost());
    // And the server is not kept busy by it.
    let mut other = server.connect().await;
    let still = format!("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = {id}");
    for attempt in 0.. {
        if value(&mut other, &still).await.as_deref() == Some("0") {
            break;
        }
        assert!(attempt < 100, "the query runs on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let mut victim = server.connect().await;
    other.kill(victim.id().into()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(victim.execute("DO 1").await.unwrap_err().is_connection_lost());
    assert_eq!(other.kill(99_999_999).await.unwrap_err().code(), Some(1094));
    other.close().await;
}

async fn tables(connection: &mut Connection) {
    run(connection, "CREATE TABLE d.parent (a INT, b INT, PRIMARY KEY (a, b)) ENGINE=InnoDB").await;
    run(
        connection,
        "CREATE TABLE d.child (`id``x` BIGINT UNSIGNED AUTO_INCREMENT, n VARCHAR(20) CHARACTER SET latin1 NOT NULL, \
         x INT, y INT, g INT AS (LENGTH(n)) STORED, e ENUM('unsigned','b') NOT NULL, \
         KEY plain (n(5), x), UNIQUE KEY u (n), UNIQUE KEY nullable (x), PRIMARY KEY (`id``x`), \
         CONSTRAINT fk FOREIGN KEY (x, y) REFERENCES d.parent (a, b) ON DELETE CASCADE) \
         DEFAULT CHARSET utf8mb3 COLLATE utf8mb3_bin",
    )
    .await;
    run(connection, "CREATE VIEW d.view_of AS SELECT 1").await;
    let name = TableName::new("d", "child");
    let table = TableInfo::load_with_create_sql(connection, &name).await.unwrap().unwrap();
    assert_eq!(table.engine, "InnoDB");
    assert_eq!(
        (table.charset.as_deref(), table.collation.as_deref()),
        (Some("utf8mb3"), Some("utf8mb3_bin"))
    );
    assert_eq!(table.columns.len(), 6);
    assert!(table.columns[0].auto_increment && table.columns[0].unsigned && !table.columns[0].nullable);
    assert_eq!(table.columns[1].charset.as_deref(), Some("latin1"));
    assert!(table.columns[4].generated && !table.columns[3].generated);
    assert!(!table.columns[5].unsigned, "a member's name is no attribute");
    let key = table.row_identity().unwrap();
    assert!(key.primary && key.columns[0].column == Some(0));
    let plain = table.keys.iter().find(|key| key.name == "plain").unwrap();
    assert_eq!(
        (plain.unique, plain.columns[0].prefix_len, plain.columns[1].prefix_len),
        (false, Some(5), None)
    );
    assert!(table.keys.iter().any(|key| key.name == "nullable" && key.nullable && key.unique));
    let foreign = &table.foreign_keys[0];
    assert_eq!(foreign.columns, ["x", "y"]);
    assert_eq!(
        (&foreign.referenced_table, foreign.on_delete.as_str()),
        (&TableName::new("d", "parent"), "CASCADE")
    );
    assert!(table.create_sql.unwrap().contains("CONSTRAINT"));
    assert!(TableInfo::load(connection, &TableName::new("d", "missing")).await.unwrap().is_none());
    assert!(TableInfo::load(connection, &TableName::new("d", "view_of")).await.unwrap().is_none());
    let all = TableInfo::load_schema_tables(connection, "d").await.unwrap();
    assert!(all.len() >= 4 && all.iter().any(|table| table.name == name));

    run(connection, "CREATE TABLE d.unique_only (a INT, b INT NOT NULL, c CHAR(9) NOT NULL, UNIQUE (a), UNIQUE p (c(3)), UNIQUE good (b, c))").await;
    let table = TableInfo::load(connection, &TableName::new("d", "unique_only")).await.unwrap().unwrap();
    assert_eq!(table.row_identity().unwrap().name, "good");
}

async fn security(server: &Server) {
    let mut endpoint = server.endpoint.clone();
    // Asked for and not possible: refused, not done in plain.
    endpoint.security =
        Some(SecurityConfig { ssl_ca: "/nowhere/ca.pem".into(), ..SecurityConfig::default() });
    let error = Connection::connect(&endpoint, &SessionOptions::default()).await.unwrap_err();
    assert_eq!(error.kind, SqlErrorKind::Configuration, "{error}");
    endpoint.security = None;
    endpoint.password = dmnode_model::Secret::new("wrong");
    let error = Connection::connect(&endpoint, &SessionOptions::default()).await.unwrap_err();
    assert_eq!(error.code(), Some(1045));
    endpoint.port = 1;
    let error = Connection::connect(&endpoint, &SessionOptions::default()).await.unwrap_err();
    assert!(error.is_connection_lost(), "{error}");
}
