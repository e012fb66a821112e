//! Values for a column, as SQL literals. Mostly from a small domain, so that keys collide; some at the type's boundaries.

use std::fmt::Write as _;

use rand::Rng;
use rand::rngs::StdRng;

use super::catalog::{Column, pick};
use crate::tables::quote_text;

/// A value for `column`; keys draw from a small domain.
pub fn value(rng: &mut StdRng, column: &Column, is_key: bool) -> String {
    if column.nullable && rng.random_range(0..if is_key { 12 } else { 6 }) == 0 {
        return "NULL".to_owned();
    }
    let small = is_key || rng.random_range(0..3) == 0;
    let unsigned = column.column_type.contains("unsigned") || column.column_type.contains("zerofill");
    match column.data_type.as_str() {
        "tinyint" => integer(rng, 8, unsigned, small),
        "smallint" => integer(rng, 16, unsigned, small),
        "mediumint" => integer(rng, 24, unsigned, small),
        "int" => integer(rng, 32, unsigned, small),
        "bigint" => integer(rng, 64, unsigned, small),
        "decimal" => decimal(rng, &column.column_type, unsigned, small),
        "float" | "double" => float(rng, column, small),
        "bit" => bits(rng, &column.column_type, small),
        "year" => any(rng, &["0", "1901", "2155", "2024", "1999", "1970"]),
        "date" => any(
            rng,
            &[
                "'0000-00-00'",
                "'1000-01-01'",
                "'9999-12-31'",
                "'2024-02-29'",
                "'2020-00-10'",
                "'1999-01-02'",
                "'2021-05-06'",
            ],
        ),
        "time" => any(
            rng,
            &[
                "'-838:59:59'",
                "'838:59:59'",
                "'00:00:00'",
                "'-00:00:01'",
                "'25:01:02.345678'",
                "'-12:34:56.7'",
                "'11:22:33'",
            ],
        ),
        "datetime" => any(
            rng,
            &[
                "'0000-00-00 00:00:00'",
                "'1000-01-01 00:00:00'",
                "'9999-12-31 23:59:59'",
                "'2024-02-29 12:13:14.151617'",
                "'2020-01-00 01:02:03'",
                "NOW(6)",
                "'1969-12-31 23:59:59.999999'",
            ],
        ),
        "timestamp" => any(
            rng,
            &[
                "'0000-00-00 00:00:00'",
                "'1971-01-01 00:00:00'",
                "'2037-12-31 23:59:59'",
                "'2024-03-31 02:30:00.123456'",
                "NOW(6)",
                "'2001-09-09 01:46:40'",
            ],
        ),
        "char" | "varchar" => text(rng, column, small),
        // MariaDB's JSON is one.
        "longtext" if rng.random_range(0..3) > 0 => json(rng),
        "tinytext" | "text" | "mediumtext" | "longtext" => long_text(rng, column, small),
        "binary" | "varbinary" => bytes(rng, length(&column.column_type).min(40), small),
        "tinyblob" => bytes(rng, 255, small),
        "blob" | "mediumblob" | "longblob" => {
            let limit = if rng.random_range(0..50) == 0 { 20_000 } else { 300 };
            bytes(rng, limit, small)
        }
        "enum" | "set" => members(rng, column),
        "json" => json(rng),
        "geometry" | "point" | "linestring" | "polygon" => geometry(rng, column),
        "vector" => {
            let numbers: Vec<String> =
                (0..4).map(|_| format!("{:.3}", rng.random::<f32>() * 9.0 - 4.5)).collect();
            format!("STRING_TO_VECTOR('[{}]')", numbers.join(","))
        }
        "inet6" => {
            any(rng, &["'::1'", "'::'", "'2001:db8::ff00:42:8329'", "'::ffff:192.0.2.128'", "'fe80::1'"])
        }
        "inet4" => any(rng, &["'0.0.0.0'", "'127.0.0.1'", "'255.255.255.255'", "'192.0.2.17'"]),
        "uuid" => {
            let low: u64 = if small { rng.random_range(0..40) } else { rng.random() };
            format!("'{:08x}-0000-1000-8000-{:012x}'", low & 0xffff_ffff, low >> 16)
        }
        _ => "DEFAULT".to_owned(),
    }
}

fn any(rng: &mut StdRng, values: &[&str]) -> String {
    pick(rng, values).copied().unwrap_or("NULL").to_owned()
}

fn integer(rng: &mut StdRng, bits: u32, unsigned: bool, small: bool) -> String {
    if small {
        return rng.random_range(if unsigned { 0 } else { -3 }..60).to_string();
    }
    let (low, high) = if unsigned {
        (0, (1_i128 << bits) - 1)
    } else {
        (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1)
    };
    match rng.random_range(0..4) {
        0 => low.to_string(),
        1 => high.to_string(),
        _ => rng.random_range(low..=high).to_string(),
    }
}

/// The numbers in the brackets of a type.
fn arguments(column_type: &str) -> Vec<usize> {
    let inside = column_type
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .map_or("", |(inside, _)| inside);
    inside.split(',').filter_map(|number| number.trim().parse().ok()).collect()
}

fn length(column_type: &str) -> usize {
    arguments(column_type).first().copied().unwrap_or(1)
}

fn digits(rng: &mut StdRng, count: usize) -> String {
    (0..count).map(|_| char::from(b'0' + rng.random_range(0..10_u8))).collect()
}

fn decimal(rng: &mut StdRng, column_type: &str, unsigned: bool, small: bool) -> String {
    let arguments = arguments(column_type);
    let (precision, scale) =
        (arguments.first().copied().unwrap_or(10), arguments.get(1).copied().unwrap_or(0));
    let whole = precision.saturating_sub(scale);
    if small && whole > 0 {
        return rng.random_range(0..10).to_string();
    }
    let sign = if !unsigned && rng.random() { "-" } else { "" };
    let (whole, fraction) = if rng.random_range(0..3) == 0 {
        ("9".repeat(whole), "9".repeat(scale))
    } else {
        let whole_digits = rng.random_range(0..=whole);
        let fraction_digits = rng.random_range(0..=scale);
        (digits(rng, whole_digits), digits(rng, fraction_digits))
    };
    format!("{sign}0{whole}.{fraction}0")
}

fn float(rng: &mut StdRng, column: &Column, small: bool) -> String {
    if small || column.column_type.contains('(') {
        return format!("{}.5", rng.random_range(-40..40));
    }
    let double = column.data_type == "double";
    match rng.random_range(0..6) {
        0 => "0".to_owned(),
        1 => "-0e0".to_owned(),
        2 if double => "1.7976931348623157e308".to_owned(),
        2 => "3.4028e38".to_owned(),
        3 if double => "2.2250738585072014e-308".to_owned(),
        3 => "1.17549e-38".to_owned(),
        _ => format!("{:e}", (rng.random::<f64>() - 0.5) * 10_f64.powi(rng.random_range(-5..12))),
    }
}

fn bits(rng: &mut StdRng, column_type: &str, small: bool) -> String {
    let length = length(column_type).min(64);
    let all = if length >= 64 { u64::MAX } else { (1 << length) - 1 };
    match rng.random_range(0..4) {
        0 => "0".to_owned(),
        1 => all.to_string(),
        _ if small => (rng.random_range(0..8) & all).to_string(),
        _ => (rng.random::<u64>() & all).to_string(),
    }
}

/// Words that the character set of the column has, most of the time.
fn words(column: &Column, rng: &mut StdRng) -> &'static str {
    const ANY: &[&str] = &[
        "",
        "a",
        "A",
        "b",
        "ab ",
        "Ab",
        "it's",
        "%_",
        "tab\there",
        "new\nline",
        "x  ",
        "\"q\"",
        "{}",
        "0",
        "null",
    ];
    const WIDE: &[&str] = &["ß", "ss", "Ä", "ä", "日本語", "čárka", "𝄞🎵", "å", "Я"];
    // A word that the character set does not have is refused in strict mode and becomes ? otherwise.
    let _ = column;
    let words = if rng.random_range(0..3) == 0 { WIDE } else { ANY };
    pick(rng, words).copied().unwrap_or("a")
}

fn text(rng: &mut StdRng, column: &Column, small: bool) -> String {
    let limit = length(&column.column_type);
    if small {
        let word: String =
            format!("{}{}", words(column, rng), rng.random_range(0..9)).chars().take(limit).collect();
        return quote(&word);
    }
    let mut text = String::new();
    for _ in 0..rng.random_range(0..6) {
        text.push_str(words(column, rng));
    }
    if rng.random_range(0..10) == 0 {
        text = "z".repeat(limit);
    }
    quote(&text.chars().take(limit).collect::<String>())
}

/// No backslashes in it: their meaning depends on `sql_mode`.
fn quote(text: &str) -> String {
    quote_text(text)
}

fn long_text(rng: &mut StdRng, column: &Column, small: bool) -> String {
    let mut text = words(column, rng).to_owned();
    if small {
        let _ = write!(text, "{}", rng.random_range(0..20));
    } else {
        for _ in 0..rng.random_range(0..20) {
            text.push_str(words(column, rng));
        }
    }
    let literal = quote(&text);
    if column.data_type != "tinytext" && rng.random_range(0..40) == 0 {
        return format!("REPEAT('long text, ', {})", rng.random_range(100..5000));
    }
    literal
}

fn bytes(rng: &mut StdRng, limit: usize, small: bool) -> String {
    if small {
        let tail = if limit < 2 { "" } else { ["", "00", "20"][rng.random_range(0..3)] };
        return format!("x'{:02x}{tail}'", rng.random_range(0..40));
    }
    let mut hex = String::from("x'");
    for _ in 0..rng.random_range(0..=limit) {
        let _ = write!(hex, "{:02x}", rng.random::<u8>());
    }
    hex + "'"
}

fn members(rng: &mut StdRng, column: &Column) -> String {
    let count = column.column_type.matches("','").count() + 1;
    if column.data_type == "enum" {
        // By number: the empty string of an invalid value has number 0, which strict mode refuses.
        return match rng.random_range(0..12) {
            0 => "0".to_owned(),
            _ => rng.random_range(1..=count).to_string(),
        };
    }
    let all = if count >= 64 { u64::MAX } else { (1 << count) - 1 };
    match rng.random_range(0..5) {
        0 => "0".to_owned(),
        1 => all.to_string(),
        _ => (rng.random::<u64>() & all).to_string(),
    }
}

fn json(rng: &mut StdRng) -> String {
    let number = rng.random_range(-5..100_000);
    match rng.random_range(0..10) {
        0 => "'null'".to_owned(),
        1 => format!("'{number}'"),
        2 => "'[]'".to_owned(),
        3 => "'\"text ü 日本\"'".to_owned(),
        4 => format!("'[1, 2.5, true, false, null, \"x\", {{\"deep\": [[[{number}]]]}}]'"),
        5 => format!("JSON_OBJECT('a', {number}, 'b', JSON_ARRAY(1, 'two', NULL), 'd', 1.25, 'e', 1e100)"),
        6 => {
            format!("JSON_OBJECT('big', 18446744073709551615, 'small', -9223372036854775808, 'n', {number})")
        }
        7 => format!("JSON_OBJECT('k', REPEAT('x', {}))", rng.random_range(0..2000)),
        8 => "'{}'".to_owned(),
        _ => format!("JSON_OBJECT('a', {number}, 'k', REPEAT('y', 50), 'list', JSON_ARRAY(1,2,3))"),
    }
}

fn geometry(rng: &mut StdRng, column: &Column) -> String {
    let point = |rng: &mut StdRng| format!("{} {}", rng.random_range(-80..80), rng.random_range(-80..80));
    let a = point(rng);
    let b = point(rng);
    let wkt = match column.data_type.as_str() {
        "point" => format!("POINT({a})"),
        "linestring" => format!("LINESTRING({a},{b},1.5 2.5)"),
        "polygon" => "POLYGON((0 0,10 0,10 10,0 10,0 0),(2 2,3 2,3 3,2 3,2 2))".to_owned(),
        _ => match rng.random_range(0..3) {
            0 => format!("MULTIPOINT({a},{b})"),
            1 => format!("GEOMETRYCOLLECTION(POINT({a}),LINESTRING({a},{b}))"),
            _ => format!("POINT({a})"),
        },
    };
    // A column may ask for this system of coordinates; others take it just as well.
    let srid = if rng.random_range(0..2) == 0 && column.data_type == "point" { ", 4326" } else { "" };
    format!("ST_GeomFromText('{wkt}'{srid})")
}
