//! Fuzz targets of the event layer, with the recorded files as seeds.

use bytes::Bytes;
use dmnode_fuzz::fuzz_unguided;

use super::{
    cursor::Cursor,
    event::{EventBody, EventHeader, types},
    gtid,
    parse::{HEADER_LEN, ParserState},
    payload::PayloadEvents,
    query::{QueryEvent, unpack},
    table_map::TableMap,
    tests::{decode, events, files, try_all},
};
use crate::{charset::Collations, table::TableInfo};

/// Unpacked bytes of one payload that are looked at.
const UNPACKED_MAX: usize = 16 << 20;

/// The bodies of all events of a type in the files, those in payloads included.
fn bodies(wanted: impl Fn(u8) -> bool) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for (file, _, mariadb) in files() {
        let mut state = ParserState::new(false, mariadb, Collations::builtin());
        for (header, event) in events(file) {
            let body = state.body(&header, &event).unwrap();
            if wanted(header.event_type) {
                found.push(body.to_vec());
            }
            if header.event_type == types::TRANSACTION_PAYLOAD {
                let mut inner = PayloadEvents::open(&body).unwrap();
                while let Some((header, body)) = inner.next().unwrap() {
                    if wanted(header.event_type) {
                        found.push(body.to_vec());
                    }
                }
            }
            state.parse(&header, &body).ok();
        }
    }
    assert!(!found.is_empty(), "no such event in the files");
    found
}

/// A stream of events as a reader takes it, without checksums to protect it.
fn stream(input: &[u8], table: &TableInfo, mariadb: bool) {
    let mut state = ParserState::new(false, mariadb, Collations::builtin());
    let mut rest = Bytes::copy_from_slice(input);
    while rest.len() >= HEADER_LEN {
        let Ok(header) = EventHeader::parse(&rest) else { return };
        let size = (header.size as usize).clamp(HEADER_LEN, rest.len());
        let event = rest.split_to(size);
        // Once as it came, and once past the checksum.
        let _ = state.body(&header, &event);
        let body = event.slice(HEADER_LEN..event.len() - (event.len() - HEADER_LEN).min(4));
        if header.event_type == types::TRANSACTION_PAYLOAD {
            payload(&body);
            continue;
        }
        match state.parse(&header, &body) {
            Ok(EventBody::Rows(rows)) => {
                let _ = decode(&rows, table);
            }
            Ok(EventBody::Query(query)) => {
                let _ = query.sql_text();
            }
            _ => {}
        }
    }
}

fn payload(body: &Bytes) {
    let Ok(mut inner) = PayloadEvents::open(body) else { return };
    let mut unpacked = 0;
    while let Ok(Some((_, body))) = inner.next() {
        unpacked += body.len();
        if unpacked > UNPACKED_MAX {
            return;
        }
    }
}

#[test]
fn fuzz_event_streams() {
    // Some events of a file from each of several places on.
    let mut seeds = Vec::new();
    for (flavor, (file, ..)) in files().into_iter().enumerate() {
        let raw: Vec<Bytes> = events(file).into_iter().map(|(_, event)| event).collect();
        for start in 0..raw.len() {
            let mut seed = vec![flavor as u8];
            seed.extend(raw[start..].iter().take(6).flatten());
            seeds.push(seed);
        }
    }
    let tables = files().map(|(_, table, _)| table);
    fuzz_unguided("event stream", &seeds, |input| {
        let Some((flavor, input)) = input.split_first() else { return };
        let flavor = usize::from(flavor & 1);
        stream(input, &tables[flavor], flavor == 1);
    });
}

#[test]
fn fuzz_rows_of_real_table_maps() {
    for (file, table, mariadb) in files() {
        let mut state = ParserState::new(false, mariadb, Collations::builtin());
        let mut cases = Vec::new();
        for (header, event) in events(file) {
            let body = state.body(&header, &event).unwrap();
            let before = state.clone();
            if let Ok(EventBody::Rows(_)) = state.parse(&header, &body) {
                cases.push((header, body, before));
            }
        }
        let seeds: Vec<Vec<u8>> =
            cases.iter().enumerate().map(|(at, (_, body, _))| [&[at as u8][..], body].concat()).collect();
        fuzz_unguided("rows", &seeds, |input| {
            let Some((at, input)) = input.split_first() else { return };
            let (header, _, state) = &cases[usize::from(*at) % cases.len()];
            let mut header = *header;
            // A partial update now and then.
            if input.len() % 8 == 0 {
                header.event_type = types::PARTIAL_UPDATE_ROWS;
            }
            try_all(state, &header, &Bytes::copy_from_slice(input), &[], &table);
        });
    }
}

#[test]
fn fuzz_table_maps() {
    let seeds = bodies(|event_type| event_type == types::TABLE_MAP);
    let collations = Collations::builtin();
    fuzz_unguided("table map", &seeds, |input| {
        let body = Bytes::copy_from_slice(input);
        for mariadb in [false, true] {
            if let Ok(map) = TableMap::parse(1, &body, 6, mariadb, &collations) {
                for column in 0..map.column_count.min(64) {
                    let _ = (
                        map.column(column),
                        map.collation(column),
                        map.unsigned(column),
                        map.members(column),
                    );
                }
                for (_, table, _) in files() {
                    let _ = crate::decode::RowDecoder::new(&map, &table);
                }
            }
        }
    });
}

#[test]
fn fuzz_queries() {
    let seeds = bodies(|kind| matches!(kind, types::QUERY | types::MARIADB_QUERY_COMPRESSED));
    let collations = Collations::builtin();
    fuzz_unguided("query", &seeds, |input| {
        let body = Bytes::copy_from_slice(input);
        for compressed in [false, true] {
            if let Ok(query) = QueryEvent::parse(&body, compressed, &collations) {
                let _ = query.sql_text();
            }
        }
        let _ = unpack(input);
    });
}

#[test]
fn fuzz_payloads() {
    let events: Vec<u8> =
        files().iter().flat_map(|(file, ..)| file[4..].iter().copied()).take(3000).collect();
    let packed = zstd::encode_all(&events[..], 3).unwrap();
    let lenenc = |value: usize| [&[0xfe][..], &(value as u64).to_le_bytes()].concat();
    let body = [vec![3, 9], lenenc(events.len()), vec![2, 1, 0, 1, 9], lenenc(packed.len()), vec![0], packed]
        .concat();
    // One that unpacks to very much.
    let bomb = zstd::encode_all(&vec![0; 32 << 20][..], 3).unwrap();
    let bomb = [vec![2, 1, 0, 1, 9], lenenc(bomb.len()), vec![0], bomb].concat();
    let mut seeds = vec![body, bomb];
    seeds.extend(bodies(|kind| kind == types::TRANSACTION_PAYLOAD || kind == types::XID));
    fuzz_unguided("payload", &seeds, |input| payload(&Bytes::copy_from_slice(input)));
}

#[test]
fn fuzz_gtids() {
    use dmnode_model::{Flavor, Gtid, GtidSet};
    let mut seeds = bodies(|kind| {
        matches!(
            kind,
            types::GTID
                | types::GTID_TAGGED
                | types::ANONYMOUS_GTID
                | types::PREVIOUS_GTIDS
                | types::MARIADB_GTID
                | types::MARIADB_GTID_LIST
        )
    });
    seeds.extend(
        [
            "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:domain_a:1:3-9,4e11fa47-71ca-11e1-9e33-c80aa9429562:b:2",
            "3e11fa47-71ca-11e1-9e33-c80aa9429562:7-9223372036854775806",
            "0-1-5,7-2-18446744073709551615",
        ]
        .map(|text| text.as_bytes().to_vec()),
    );
    fuzz_unguided("GTIDs", &seeds, |input| {
        let _ = gtid::parse_mysql(input);
        let _ = gtid::parse_tagged(input);
        let _ = gtid::parse_mariadb(input, 1);
        let _ = gtid::parse_mariadb_list(input);
        if let Ok(GtidSet::Mysql(set)) = gtid::decode_set(input) {
            assert_eq!(gtid::decode_set(&gtid::encode_set(&set)).unwrap(), GtidSet::Mysql(set));
        }
        let text = String::from_utf8_lossy(input);
        for flavor in [Flavor::Mysql, Flavor::Mariadb] {
            let _ = Gtid::parse(flavor, &text);
            if let Ok(set) = GtidSet::parse(flavor, &text) {
                assert_eq!(GtidSet::parse(flavor, &set.to_string()).unwrap(), set);
            }
        }
        let _ = Cursor::new(input).lenenc();
    });
}

#[test]
fn fuzz_other_events() {
    let seeds: Vec<Vec<u8>> = files()
        .iter()
        .flat_map(|(file, ..)| events(file))
        .map(|(header, event)| [&[header.event_type][..], &event[HEADER_LEN..]].concat())
        .collect();
    let tables = files().map(|(_, table, _)| table);
    fuzz_unguided("events", &seeds, |input| {
        let Some((event_type, body)) = input.split_first() else { return };
        let header = EventHeader {
            timestamp: 1,
            server_id: 1,
            event_type: *event_type,
            log_pos: 1,
            flags: 0,
            size: 0,
        };
        let mariadb = *event_type >= 160;
        let state = ParserState::new(false, mariadb, Collations::builtin());
        if *event_type != types::TRANSACTION_PAYLOAD {
            try_all(&state, &header, &Bytes::copy_from_slice(body), &[], &tables[usize::from(mariadb)]);
        }
    });
}
