//! Every type and value from a source's binlog through the decoder and the literals into a copy: the copy must be
//! equal, byte for byte, by the server's own judgement.

use std::collections::{BTreeMap, HashMap};

use dmnode_model::{Flavor, GtidSet, Location, TableName};
use dmnode_mysql::{
    BinlogReader, BinlogStart, Connection, EventBody, RowDecoder, RowsEvent, RowsKind, ServerInfo,
    SessionOptions, TableInfo, write_exact_match, write_ident, write_literal,
};

use crate::{
    all_types::{Case, cases},
    servers::{Server, run, value},
};

const SOURCE: &str = "src";
const COPY: &str = "cpy";

/// An applier's session: lenient about error values of ENUM, as this test has some.
fn applier() -> SessionOptions {
    SessionOptions {
        time_zone: Some("+00:00".into()),
        sql_mode: Some("NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES".into()),
        found_rows: true,
        ..SessionOptions::default()
    }
}

struct Copier {
    connection: Connection,
    tables: HashMap<String, TableInfo>,
    rows: usize,
}

impl Copier {
    async fn new(server: &Server) -> Self {
        let mut connection = server.connect_with(&applier()).await;
        run(&mut connection, "SET sql_log_bin = 0").await;
        let tables = TableInfo::load_schema_tables(&mut connection, COPY).await.unwrap();
        let tables = tables.into_iter().map(|table| (table.name.table.clone(), table)).collect();
        Self { connection, tables, rows: 0 }
    }

    async fn apply(&mut self, event: &RowsEvent) {
        let table = &self.tables[&event.table.name.table];
        let decoder = RowDecoder::new(&event.table, table).unwrap();
        let mut changes = Vec::new();
        decoder
            .decode::<dmnode_mysql::DecodeError>(event, |images| {
                changes.push(images);
                Ok(())
            })
            .unwrap();
        for images in changes {
            self.rows += 1;
            let mut sql = Vec::new();
            let writable = || table.columns.iter().enumerate().filter(|(_, column)| !column.generated);
            let quoted = table.name.quoted();
            match event.kind {
                RowsKind::Insert => {
                    sql.extend_from_slice(format!("INSERT INTO {quoted} (").as_bytes());
                    for (place, (_, column)) in writable().enumerate() {
                        sql.extend_from_slice(if place > 0 { b", " } else { b"" });
                        write_ident(&column.name, &mut sql);
                    }
                    sql.extend_from_slice(b") VALUES (");
                    let row = images.after.unwrap();
                    for (place, (index, column)) in writable().enumerate() {
                        sql.extend_from_slice(if place > 0 { b", " } else { b"" });
                        write_literal(&row.values[index], column, &mut sql);
                    }
                    sql.push(b')');
                }
                RowsKind::Update => {
                    sql.extend_from_slice(format!("UPDATE {quoted} SET ").as_bytes());
                    let row = images.after.unwrap();
                    for (place, (index, column)) in writable().enumerate() {
                        sql.extend_from_slice(if place > 0 { b", " } else { b"" });
                        write_ident(&column.name, &mut sql);
                        sql.extend_from_slice(b" = ");
                        write_literal(&row.values[index], column, &mut sql);
                    }
                }
                RowsKind::Delete => sql.extend_from_slice(format!("DELETE FROM {quoted}").as_bytes()),
            }
            if let Some(row) = images.before {
                // By all columns, as a table without a key would need it.
                sql.extend_from_slice(b" WHERE ");
                for (place, (index, column)) in writable().enumerate() {
                    sql.extend_from_slice(if place > 0 { b" AND " } else { b"" });
                    write_exact_match(&row.values[index], column, &mut sql);
                }
            }
            let shown = String::from_utf8_lossy(&sql[..sql.len().min(400)]).into_owned();
            match self.connection.execute(sql).await {
                Ok(summary) => {
                    assert_eq!(summary.affected_rows, 1, "{}: {shown}", table.columns[1].column_type_text);
                }
                Err(error) => panic!("{error}\n{}: {shown}", table.columns[1].column_type_text),
            }
        }
    }
}

/// Compares the copies with the sources; returns the number of rows.
async fn compare(connection: &mut Connection, tables: &BTreeMap<String, String>) -> u64 {
    let mut rows = 0;
    for (table, type_sql) in tables {
        let (source, copy) = (TableName::new(SOURCE, table), TableName::new(COPY, table));
        let info = TableInfo::load(connection, &source).await.unwrap().unwrap();
        let count = value(connection, &format!("SELECT COUNT(*) FROM {source}")).await.unwrap();
        assert_eq!(
            Some(&count),
            value(connection, &format!("SELECT COUNT(*) FROM {copy}")).await.as_ref(),
            "{type_sql}"
        );
        rows += count.parse::<u64>().unwrap();
        for column in &info.columns {
            let mut name = Vec::new();
            write_ident(&column.name, &mut name);
            let name = String::from_utf8(name).unwrap();
            // Equal by type, and equal in every byte of the text form. Vectors can neither be compared nor be text.
            let (by_type, bytes) = match column.data_type {
                dmnode_mysql::ColumnType::Vector(_) => {
                    (String::new(), ["a", "b"].map(|it| format!("HEX({it}.{name})")))
                }
                _ => (
                    format!("NOT (a.{name} <=> b.{name}) OR "),
                    ["a", "b"].map(|it| format!("HEX(CONCAT({it}.{name}))")),
                ),
            };
            let [left, right] = bytes;
            let different = value(
                connection,
                &format!(
                    "SELECT GROUP_CONCAT(a.id, ': ', LEFT(IFNULL({left}, 'NULL'), 100), ' became ', \
                     LEFT(IFNULL({right}, 'NULL'), 100)) FROM {source} a LEFT JOIN {copy} b ON a.id = b.id \
                     WHERE b.id IS NULL OR {by_type} NOT ({left} <=> {right})"
                ),
            )
            .await;
            assert_eq!(different, None, "{} of {type_sql}", column.name);
        }
    }
    rows
}

/// Reads from `start` to `end` and copies on the way.
async fn copy_range(
    server: &Server,
    info: &ServerInfo,
    start: BinlogStart,
    end: &Location,
    copier: &mut Copier,
) {
    let by_gtid = matches!(start, BinlogStart::Gtid(_));
    let mut seen = match &start {
        BinlogStart::Gtid(set) => set.clone(),
        BinlogStart::Position(_) => GtidSet::empty(info.flavor),
    };
    let mut reader = BinlogReader::open(&server.endpoint, info, 4711, start).await.unwrap();
    let mut current = None;
    loop {
        let event = reader.next().await.unwrap();
        assert!(event.start_pos <= event.end_pos);
        match event.body {
            EventBody::Rows(rows) if rows.table.name.schema == SOURCE => copier.apply(&rows).await,
            EventBody::Gtid(gtid) => current = Some(gtid.gtid),
            EventBody::Xid { .. } => seen.insert(&current.take().unwrap()).unwrap(),
            EventBody::Query(query) if &query.sql[..] != b"BEGIN" => {
                if let Some(gtid) = current.take() {
                    seen.insert(&gtid).unwrap();
                }
            }
            EventBody::Unsupported { event_type, name } => panic!("{name} ({event_type})"),
            _ => {}
        }
        // The events of a compressed transaction all have its end as theirs.
        if current.is_none() && reader.position() >= end.position {
            break;
        }
    }
    if by_gtid {
        let end = end.gtid_set.as_ref().unwrap();
        assert!(seen.contains_set(end), "{seen} is not all of {end}");
    }
}

/// Inserts, updates and deletes values of all types on the source, and copies them through its binlog.
async fn round_trip(
    server: &Server,
    label: &str,
    before: &[&str],
    by_gtid: bool,
    some: impl Fn(&Case) -> bool,
) {
    let mut source = server.connect_with(&applier()).await;
    for schema in [SOURCE, COPY] {
        run(&mut source, &format!("DROP DATABASE IF EXISTS {schema}")).await;
        run(&mut source, &format!("CREATE DATABASE {schema}")).await;
    }
    for statement in before {
        run(&mut source, statement).await;
    }
    // Global settings hold for new sessions.
    let mut source = server.connect_with(&applier()).await;
    let cases: Vec<Case> = cases(server.flavor).into_iter().filter(some).collect();
    let mut tables = BTreeMap::new();
    for (number, case) in cases.iter().enumerate() {
        let table = format!("t{number:03}");
        run(&mut source, &format!("CREATE TABLE {SOURCE}.{table} (id INT PRIMARY KEY, c {})", case.type_sql))
            .await;
        run(&mut source, &format!("CREATE TABLE {COPY}.{table} LIKE {SOURCE}.{table}")).await;
        tables.insert(table, case.type_sql.clone());
    }
    let info = ServerInfo::probe(&mut source).await.unwrap();
    let start = dmnode_mysql::current_location(&mut source, &info).await.unwrap();

    for (number, case) in cases.iter().enumerate() {
        let table = format!("{SOURCE}.t{number:03}");
        run(&mut source, &format!("INSERT INTO {table} VALUES (1, NULL)")).await;
        run(&mut source, "BEGIN").await;
        for (index, value) in case.values.iter().enumerate() {
            run(&mut source, &format!("INSERT INTO {table} VALUES ({}, {value})", index + 2)).await;
        }
        // Two rows more, to be changed and removed.
        let first = case.values.first().map_or("NULL", |value| value);
        run(&mut source, &format!("INSERT INTO {table} VALUES (100, {first}), (101, {first}), (102, NULL)"))
            .await;
        run(&mut source, "COMMIT").await;
        for (index, value) in case.values.iter().enumerate() {
            run(&mut source, &format!("INSERT INTO {table} VALUES ({}, NULL)", 200 + index)).await;
            run(&mut source, &format!("UPDATE {table} SET c = {value} WHERE id = {}", 200 + index)).await;
            run(&mut source, &format!("UPDATE {table} SET id = {} WHERE id = {}", 300 + index, 200 + index))
                .await;
        }
        run(&mut source, &format!("UPDATE {table} SET c = NULL WHERE id IN (100, 102)")).await;
        run(&mut source, &format!("DELETE FROM {table} WHERE id BETWEEN 100 AND 101")).await;
    }
    let end = dmnode_mysql::current_location(&mut source, &info).await.unwrap();
    assert_ne!(start, end);

    let mut copier = Copier::new(server).await;
    let from = if by_gtid {
        BinlogStart::Gtid(start.gtid_set.clone().unwrap())
    } else {
        BinlogStart::Position(start.position.clone())
    };
    copy_range(server, &info, from, &end, &mut copier).await;
    assert!(copier.rows > 0);
    let rows = compare(&mut source, &tables).await;
    assert!(rows > 2 * tables.len() as u64, "too little to compare");
    eprintln!("{label}: {} types, {} changes, {rows} rows equal", tables.len(), copier.rows);
}

fn small(case: &Case) -> bool {
    !case.values.iter().any(|value| value.contains("2200000"))
}

#[tokio::test]
async fn mysql_values_arrive_unchanged() {
    let Some(server) = Server::mysql().await else { return };
    let minimal = "SET GLOBAL binlog_row_metadata = MINIMAL";
    round_trip(&server, "mysql, gtid, crc32", &[minimal], true, |_| true).await;
    let plain = ["SET GLOBAL binlog_row_metadata = FULL", "SET GLOBAL binlog_checksum = NONE"];
    round_trip(&server, "mysql, position, no checksum, full metadata", &plain, false, small).await;
    let packed = ["SET GLOBAL binlog_checksum = CRC32", "SET GLOBAL binlog_transaction_compression = ON"];
    round_trip(&server, "mysql, gtid, compressed", &packed, true, |_| true).await;
    round_trip(&server, "mysql, position, compressed", &[], false, small).await;
}

#[tokio::test]
async fn mariadb_values_arrive_unchanged() {
    let server = Server::mariadb().await;
    assert_eq!(server.flavor, Flavor::Mariadb);
    round_trip(&server, "mariadb, gtid, no checksum", &["SET GLOBAL binlog_checksum = NONE"], true, |_| true)
        .await;
    let plain = ["SET GLOBAL binlog_checksum = CRC32", "SET GLOBAL binlog_row_metadata = FULL"];
    round_trip(&server, "mariadb, position, crc32, full metadata", &plain, false, small).await;
    let packed = ["SET GLOBAL log_bin_compress = ON", "SET GLOBAL log_bin_compress_min_len = 10"];
    round_trip(&server, "mariadb, gtid, compressed", &packed, true, |_| true).await;
    let old = ["SET GLOBAL log_bin_compress = OFF", "SET GLOBAL mysql56_temporal_format = OFF"];
    let temporal = |case: &Case| ["TIME", "DATE"].iter().any(|kind| case.type_sql.starts_with(kind));
    round_trip(&server, "mariadb, old temporal formats", &old, false, temporal).await;
}
