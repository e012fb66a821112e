//! Files of real servers, whole and damaged. `corpus/` has one of each flavor with all column layouts, DDL, XA,
//! statements, compressed transactions and rows.

use std::collections::BTreeSet;

use bytes::Bytes;
use dmnode_model::TableName;

use super::{
    event::{EventBody, EventHeader, types},
    parse::{Damage, ParserState},
    payload::PayloadEvents,
    rows::RowsEvent,
};
use crate::{
    charset::Collations,
    decode::{DecodeError, RowDecoder, RowImages},
    table::{ColumnInfo, ColumnType, TableInfo},
    value::Value,
};

const MYSQL: &[u8] = include_bytes!("../../corpus/mysql-9.7.binlog");
const MARIADB: &[u8] = include_bytes!("../../corpus/mariadb-10.11.binlog");

const COMMON: &[&str] = &[
    "id int",
    "a tinyint",
    "b smallint unsigned",
    "c mediumint",
    "d int unsigned",
    "e bigint",
    "f float",
    "g double",
    "h decimal(20,5)",
    "i bit(17)",
    "j year",
    "k date",
    "l time(3)",
    "m datetime(6)",
    "n timestamp(2)",
    "o char(20):utf8mb4",
    "p varchar(300):latin1",
    "q binary(8)",
    "r varbinary(9)",
    "s text:utf8mb4",
    "u blob",
    "v enum('x','y'):utf8mb4",
    "w set('x','y','z'):utf8mb4",
    "x geometry",
];
const MYSQL_ONLY: &[&str] = &["y json", "z vector(2)"];
const MARIADB_ONLY: &[&str] = &["y inet6", "z uuid", "y2 varchar(500):utf8mb4", "z2 blob"];

fn table(own: &[&str]) -> TableInfo {
    table_of(COMMON.iter().chain(own).copied())
}

/// A table with these columns, each a name, a type and, behind a colon, a character set.
pub(super) fn table_of<'a>(columns: impl Iterator<Item = &'a str>) -> TableInfo {
    let columns = columns.enumerate().map(|(index, text)| {
        let (name, kind) = text.split_once(' ').unwrap();
        let (kind, charset) =
            kind.split_once(':').map_or((kind, None), |(kind, charset)| (kind, Some(charset)));
        ColumnInfo {
            name: name.into(),
            ordinal: index + 1,
            data_type: ColumnType::parse(kind),
            unsigned: kind.contains("unsigned"),
            nullable: true,
            charset: charset.map(str::to_owned),
            collation: None,
            generated: false,
            invisible: false,
            auto_increment: false,
            compressed: false,
            column_type_text: kind.into(),
        }
    });
    TableInfo {
        name: TableName::new("d", "t"),
        columns: columns.collect(),
        keys: Vec::new(),
        engine: "InnoDB".into(),
        charset: None,
        collation: None,
        foreign_keys: Vec::new(),
        create_sql: None,
    }
}

pub(super) fn files() -> [(&'static [u8], TableInfo, bool); 2] {
    [(MYSQL, table(MYSQL_ONLY), false), (MARIADB, table(MARIADB_ONLY), true)]
}

/// The raw events of a file.
pub(super) fn events(file: &'static [u8]) -> Vec<(EventHeader, Bytes)> {
    let mut rest = Bytes::from_static(&file[4..]);
    let mut events = Vec::new();
    while !rest.is_empty() {
        let header = EventHeader::parse(&rest).unwrap();
        events.push((header, rest.split_to(header.size as usize)));
    }
    events
}

pub(super) fn decode(event: &RowsEvent, table: &TableInfo) -> Result<Vec<RowImages>, DecodeError> {
    let decoder = RowDecoder::new(&event.table, table)?;
    let mut rows = Vec::new();
    decoder.decode::<DecodeError>(event, |images| {
        rows.push(images);
        Ok(())
    })?;
    Ok(rows)
}

#[test]
fn real_files_are_understood_completely() {
    for (file, table, mariadb) in files() {
        let mut state = ParserState::new(false, mariadb, Collations::builtin());
        let mut seen = BTreeSet::new();
        let mut rows = Vec::new();
        let mut take = |state: &mut ParserState, header: &EventHeader, body: &Bytes| {
            seen.insert(header.event_type);
            match state.parse(header, body).unwrap() {
                EventBody::Unsupported { event_type, .. } => panic!("type {event_type}"),
                EventBody::Rows(event) => rows.extend(decode(&event, &table).unwrap()),
                _ => {}
            }
        };
        for (header, event) in events(file) {
            let body = state.body(&header, &event).unwrap();
            if header.event_type == types::TRANSACTION_PAYLOAD {
                let mut inner = PayloadEvents::open(&body).unwrap();
                while let Some((header, body)) = inner.next().unwrap() {
                    take(&mut state, &header, &body);
                }
            } else {
                take(&mut state, &header, &body);
            }
        }
        let expected: &[u8] = if mariadb {
            &[
                types::MARIADB_GTID,
                types::MARIADB_ANNOTATE,
                types::MARIADB_GTID_LIST,
                types::MARIADB_QUERY_COMPRESSED,
            ]
        } else {
            &[types::GTID, types::GTID_TAGGED, types::PREVIOUS_GTIDS, types::ROWS_QUERY]
        };
        for event_type in
            expected.iter().chain(&[types::XA_PREPARE, types::USER_VAR, types::XID, types::ROTATE])
        {
            assert!(seen.contains(event_type), "type {event_type} is not in the file: {seen:?}");
        }
        let first = &rows[0].after.as_ref().unwrap().values;
        assert_eq!(first[..4], [Value::Int(1), Value::Int(-1), Value::UInt(65_535), Value::Int(-8_388_608)]);
        assert_eq!(first[8], Value::Decimal("-12345.67890".into()));
        assert_eq!(first[12], Value::Time("-12:34:56.789".into()));
        assert_eq!(first[16], Value::Bytes("\u{f6}".chars().map(|c| c as u8).collect()));
        assert_eq!(first[17], Value::Bytes(Bytes::from_static(&[1, 0, 0, 0, 0, 0, 0, 0])));
        if mariadb {
            let uuid = 0x123e_4567_e89b_12d3_a456_4266_5544_0000_u128.to_be_bytes();
            assert_eq!(first[25], Value::Bytes(Bytes::copy_from_slice(&uuid)));
            assert_eq!(first[26], Value::Bytes("ab".repeat(200).into()));
        } else {
            let text = first[24].json_text().unwrap();
            let want = r#"{"a": [1, -70000, 1.5, true, null, "x\"y"], "d": "2026-08-01", "n": 1.10}"#;
            assert_eq!(text, want.as_bytes());
        }
        assert!(rows.len() > 8);
    }
}

#[test]
fn damage_is_found_by_the_checksum() {
    for (file, _, mariadb) in files() {
        let mut state = ParserState::new(false, mariadb, Collations::builtin());
        for (header, event) in events(file) {
            let body = state.body(&header, &event).unwrap();
            state.parse(&header, &body).ok();
            for at in 0..event.len() {
                let mut bad = event.to_vec();
                bad[at] ^= 0x10;
                let bad = Bytes::from(bad);
                let Ok(header) = EventHeader::parse(&bad) else { continue };
                // The type of the event decides whether and where there is a checksum: that of a file's first event
                // and of an artificial rotate is known before.
                if matches!(header.event_type, types::ROTATE | types::FORMAT_DESCRIPTION) {
                    continue;
                }
                assert!(
                    matches!(state.body(&header, &bad), Err(Damage::Checksum | Damage::Malformed(_))),
                    "byte {at} of type {}",
                    header.event_type
                );
            }
            for cut in 0..event.len() {
                if let Ok(header) = EventHeader::parse(&event[..cut]) {
                    assert!(state.body(&header, &event.slice(..cut)).is_err());
                }
            }
        }
    }
}

/// Parses a body that may be damaged and everything that hangs on it; only panics matter.
pub(super) fn try_all(
    state: &ParserState,
    header: &EventHeader,
    body: &Bytes,
    following: &[(EventHeader, Bytes)],
    table: &TableInfo,
) {
    let mut state = state.clone();
    if header.event_type == types::TRANSACTION_PAYLOAD {
        let Ok(mut inner) = PayloadEvents::open(body) else { return };
        while let Ok(Some((header, body))) = inner.next() {
            if let Ok(EventBody::Rows(event)) = state.parse(&header, &body) {
                let _ = decode(&event, table);
            }
        }
        return;
    }
    match state.parse(header, body) {
        Ok(EventBody::Rows(event)) => {
            let _ = decode(&event, table);
        }
        // A damaged table map must not make good rows dangerous.
        Ok(EventBody::TableMap(_)) => {
            for (header, event) in following.iter().take(2) {
                let Ok(body) = state.body(header, event) else { continue };
                if let Ok(EventBody::Rows(event)) = state.parse(header, &body) {
                    let _ = decode(&event, table);
                }
            }
        }
        Ok(EventBody::Query(query)) => {
            let _ = query.sql_text();
        }
        _ => {}
    }
}

#[test]
fn damaged_events_do_not_panic() {
    for (file, table, mariadb) in files() {
        let mut state = ParserState::new(false, mariadb, Collations::builtin());
        let events = events(file);
        for (index, (header, event)) in events.iter().enumerate() {
            let body = state.body(header, event).unwrap();
            let following = &events[index + 1..];
            for cut in 0..body.len() {
                try_all(&state, header, &body.slice(..cut), following, &table);
            }
            for at in 0..body.len() {
                for flip in [0x01, 0x08, 0x80, 0xff] {
                    let mut bad = body.to_vec();
                    bad[at] ^= flip;
                    try_all(&state, header, &bad.into(), following, &table);
                }
            }
            state.parse(header, &body).ok();
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes_as_any_event_do_not_panic(
        event_type in 0u8..=255,
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
    ) {
        let table = table(MYSQL_ONLY);
        let mut header = EventHeader { timestamp: 1, server_id: 1, event_type, log_pos: 1, flags: 0, size: 0 };
        header.size = u32::try_from(bytes.len()).unwrap();
        let state = ParserState::new(false, event_type >= 160, Collations::builtin());
        try_all(&state, &header, &bytes.into(), &[], &table);
    }
}

#[test]
#[ignore = "a measurement"]
fn speed_of_decoding() {
    let columns = ["id int", "k int", "c char(120):utf8mb4", "pad char(60):utf8mb4"];
    let mut info = table(&[]);
    info.columns.truncate(4);
    for (column, text) in info.columns.iter_mut().zip(columns) {
        let (name, kind) = text.split_once(' ').unwrap();
        let (kind, charset) =
            kind.split_once(':').map_or((kind, None), |(kind, charset)| (kind, Some(charset)));
        column.name = name.into();
        column.data_type = ColumnType::parse(kind);
        column.charset = charset.map(str::to_owned);
    }
    let mut map = vec![1, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0, 4, 3, 3, 254, 254, 4];
    map.extend([0xee, 0xe0, 0xfe, 0xf0, 0]);
    let mut state = ParserState::new(false, false, Collations::builtin());
    let header =
        |event_type| EventHeader { timestamp: 1, server_id: 1, event_type, log_pos: 1, flags: 0, size: 0 };
    state.parse(&header(types::TABLE_MAP), &map.into()).unwrap();
    let mut rows = vec![1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 4, 0xff];
    for id in 0..40u32 {
        rows.push(0);
        rows.extend(id.to_le_bytes());
        rows.extend(id.to_le_bytes());
        rows.extend(119u16.to_le_bytes());
        rows.extend([b'x'; 119]);
        rows.push(59);
        rows.extend([b'y'; 59]);
    }
    let rows = Bytes::from(rows);
    let begun = std::time::Instant::now();
    let mut count = 0;
    let mut sql = Vec::new();
    for _ in 0..10_000 {
        let EventBody::Rows(event) = state.parse(&header(types::WRITE_ROWS), &rows).unwrap() else {
            panic!()
        };
        let decoder = RowDecoder::new(&event.table, &info).unwrap();
        decoder
            .decode::<DecodeError>(&event, |images| {
                let row = images.after.unwrap();
                for (value, column) in row.values.iter().zip(&info.columns) {
                    crate::literal::write_literal(value, column, &mut sql);
                }
                count += 1;
                Ok(())
            })
            .unwrap();
        sql.clear();
    }
    eprintln!("{:.0} rows/s", count as f64 / begun.elapsed().as_secs_f64());
}
