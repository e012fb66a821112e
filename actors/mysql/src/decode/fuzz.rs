//! Fuzz targets of single values.

use dmnode_fuzz::fuzz_unguided;

use super::{decimal, json, json_diff, temporal};
use crate::{JsonTypes, binlog::Cursor, table::ColumnType, write_typed_json};

/// `[1, [2], true]`, an object, decimals and dates as the server stores them.
fn documents() -> Vec<Vec<u8>> {
    let mut object = vec![0, 2, 0, 41, 0, 18, 0, 1, 0, 19, 0, 1, 0, 2, 20, 0, 12, 37, 0, b'a', b'b'];
    object.extend([2, 0, 17, 0, 5, 1, 0, 11, 9, 0, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 3, b'x', b'"', b'y']);
    vec![
        object,
        vec![2, 3, 0, 23, 0, 5, 1, 0, 2, 13, 0, 4, 1, 0, 1, 0, 7, 0, 5, 2, 0, 0, 0, 0],
        vec![15, 246, 4, 3, 2, 0x81, 10],
        vec![15, 12, 8, 0, 0, 0, 0, 0, 0x80, 0xb2, 0x19],
        vec![15, 253, 2, 1, 2],
        vec![4, 1],
        vec![1, 0, 0, 0, 0, 8, 0, 0, 0],
    ]
}

#[test]
fn fuzz_json() {
    fuzz_unguided("json", &documents(), |input| {
        let text = json::to_text(input);
        let sql = json::to_sql(input);
        assert_eq!(text.is_ok(), sql.is_ok());
    });
}

#[test]
fn fuzz_json_differences() {
    let mut seeds = Vec::new();
    for document in documents() {
        for diffs in [
            &b"\x00\x04$[0]\x02\x04\x01"[..],
            b"\x01\x08$[1][99]\x03\x05\x09\x00\x02\x04$[2]",
            b"\x00\x03$.a\x02\x04\x00",
            b"\x01\x06$.\"\\\"\"\x02\x04\x02",
        ] {
            let mut seed = vec![u8::try_from(document.len()).unwrap()];
            seed.extend(&document);
            seed.extend(diffs);
            seeds.push(seed);
        }
    }
    fuzz_unguided("json differences", &seeds, |input| {
        let Some((len, input)) = input.split_first() else { return };
        let (document, diffs) = input.split_at(usize::from(*len).min(input.len()));
        if let Ok(changed) = json_diff::apply(document, diffs)
            && json::to_text(document).is_ok()
        {
            // What was parsed and written by us is read again; names and strings may not be UTF-8.
            let _ = json::to_text(&changed);
            assert!(json_diff::apply(&changed, &[]).is_ok());
        }
    });
}

#[test]
fn fuzz_json_types() {
    let seeds: Vec<Vec<u8>> = [
        "-D|DdB--|[1.10, \"2026-08-01\", \"base64:type15:AP8Q\", {\"x\": 2.5}]",
        "-||12.5",
        "---||{\"a\\\"b\": null, \"\\u0001\": true}",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    fuzz_unguided("json types", &seeds, |input| {
        let mut parts = input.splitn(3, |byte| *byte == b'|');
        let mut next = || parts.next().unwrap_or_default();
        let (members, elements, text) = (next(), next(), next());
        let mut out = Vec::new();
        write_typed_json(text, JsonTypes { root: b"-", members, elements }, &mut out);
    });
}

#[test]
fn fuzz_decimals_and_times() {
    let seeds = [
        vec![14, 4, 0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2],
        vec![
            65, 30, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0,
        ],
        vec![6, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ];
    fuzz_unguided("decimals and times", &seeds, |input| {
        let [first, second, rest @ ..] = input else { return };
        let text = decimal::decimal(&mut Cursor::new(rest), *first, *second);
        assert!(text.is_err() || (*first > 0 && first >= second));
        let digits = first % 7;
        for decode in [
            temporal::time2,
            temporal::datetime2,
            temporal::timestamp2,
            temporal::time_hires,
            temporal::datetime_hires,
            temporal::timestamp_hires,
        ] {
            let _ = decode(&mut Cursor::new(rest), digits);
        }
        for decode in [temporal::date, temporal::time, temporal::datetime, temporal::timestamp] {
            let _ = decode(&mut Cursor::new(rest));
        }
    });
}

#[test]
fn fuzz_column_types() {
    let seeds: Vec<Vec<u8>> = [
        "enum('a','b''c',',(')",
        "decimal(65,30) unsigned zerofill",
        "varchar(20) /*M!100301 COMPRESSED*/",
        "set('ä','\\\\')",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    fuzz_unguided("column types", &seeds, |input| {
        let _ = ColumnType::parse(&String::from_utf8_lossy(input));
    });
}
