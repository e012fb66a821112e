//! Every column type, with values at its edges.

use dmnode_model::Flavor;

/// A column type and SQL expressions of values for it. NULL is added to each.
pub struct Case {
    pub type_sql: String,
    pub values: Vec<String>,
}

fn case(type_sql: &str, values: &[&str]) -> Case {
    Case { type_sql: type_sql.into(), values: values.iter().map(|value| (*value).to_owned()).collect() }
}

/// The cases of one flavor.
pub fn cases(flavor: Flavor) -> Vec<Case> {
    let mut cases = numbers();
    cases.extend(temporals());
    cases.extend(texts(flavor));
    cases.extend(binaries());
    cases.extend(members());
    cases.extend(geometries(flavor));
    match flavor {
        Flavor::Mysql => cases.extend(mysql_only()),
        Flavor::Mariadb => cases.extend(mariadb_only()),
    }
    cases
}

fn numbers() -> Vec<Case> {
    let mut cases = vec![
        case(
            "FLOAT",
            &[
                "0",
                "-0e0",
                "0.1",
                "-0.1",
                "3.402823466E+38",
                "1.175494351E-38",
                "1e-45",
                "16777217",
                "123456.789",
            ],
        ),
        case("FLOAT(7,3)", &["0.001", "-1234.567", "9999.999"]),
        case("FLOAT UNSIGNED", &["0", "0.3"]),
        case(
            "DOUBLE",
            &[
                "0",
                "-0e0",
                "0.1",
                "1.7976931348623157E308",
                "2.2250738585072014E-308",
                "-123456789.12345679",
                "1e22",
            ],
        ),
        case("DOUBLE(10,2)", &["0.01", "-99999999.99"]),
        case("DOUBLE UNSIGNED", &["0.7"]),
        case(
            "DECIMAL(65,30)",
            &[
                "0",
                &format!("{}.{}", "9".repeat(35), "9".repeat(30)),
                &format!("-{}.{}", "9".repeat(35), "9".repeat(30)),
                "-0.000000000000000000000000000001",
                "1.5",
            ],
        ),
        case("DECIMAL(65,0)", &[&"9".repeat(65), "-1", "1000000000"]),
        case("DECIMAL(1,1)", &["0.0", "0.9", "-0.9"]),
        case("DECIMAL(18,9)", &["123456789.123456789", "-0.000000001", "1000000000e-9"]),
        case("DECIMAL(10,2) UNSIGNED ZEROFILL", &["0", "1.5", "99999999.99"]),
        case("DECIMAL(30,30)", &["0.1", "-0.123456789012345678901234567890"]),
        case("BIT(1)", &["b'0'", "b'1'"]),
        case("BIT(7)", &["0", "127"]),
        case("BIT(8)", &["0", "128", "255"]),
        case("BIT(17)", &["1", "131071"]),
        case("BIT(64)", &["0", "1", "18446744073709551615"]),
        case("YEAR", &["0", "1901", "2155", "2026"]),
        case("BOOL", &["TRUE", "FALSE"]),
    ];
    for (name, bits) in [("TINYINT", 8u32), ("SMALLINT", 16), ("MEDIUMINT", 24), ("INT", 32), ("BIGINT", 64)]
    {
        let max = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
        let values =
            [format!("-{}", max / 2 + 1), "-1".into(), "0".into(), "1".into(), (max / 2).to_string()];
        cases.push(Case { type_sql: name.into(), values: values.to_vec() });
        let values = ["0".into(), (max / 2 + 1).to_string(), max.to_string()];
        cases.push(Case { type_sql: format!("{name} UNSIGNED"), values: values.to_vec() });
    }
    cases.push(case("INT(5) ZEROFILL", &["7", "4294967295"]));
    cases
}

fn temporals() -> Vec<Case> {
    let mut cases = vec![case(
        "DATE",
        &[
            "'0000-00-00'",
            "'2026-00-10'",
            "'2026-02-00'",
            "'1000-01-01'",
            "'9999-12-31'",
            "'2024-02-29'",
            "'2023-02-31'",
        ],
    )];
    for fsp in 0..=6 {
        let nines = if fsp == 0 { String::new() } else { format!(".{}", "9".repeat(fsp)) };
        let one = if fsp == 0 { String::new() } else { format!(".{}1", "0".repeat(fsp - 1)) };
        let times = [
            "'-838:59:59'".to_owned(),
            "'838:59:59'".into(),
            format!("'-838:59:58{nines}'"),
            format!("'838:59:58{nines}'"),
            "'00:00:00'".into(),
            format!("'-00:00:00{one}'"),
            format!("'-00:00:01{one}'"),
            format!("'-01:00:00{nines}'"),
            format!("'12:34:56{one}'"),
            "'-12:34:56'".into(),
        ];
        // A negative zero is no value of its own.
        let times = times.into_iter().filter(|time| fsp > 0 || !time.starts_with("'-00:00:00"));
        cases.push(Case { type_sql: format!("TIME({fsp})"), values: times.collect() });
        let datetimes = [
            "'0000-00-00 00:00:00'".to_owned(),
            "'2026-00-00 00:00:00'".into(),
            "'1000-01-01 00:00:00'".into(),
            format!("'9999-12-31 23:59:59{nines}'"),
            format!("'2026-08-01 12:34:56{one}'"),
        ];
        cases.push(Case { type_sql: format!("DATETIME({fsp})"), values: datetimes.to_vec() });
        let timestamps = [
            "'0000-00-00 00:00:00'".to_owned(),
            "'1970-01-01 00:00:01'".into(),
            "'2038-01-19 03:14:07'".into(),
            "'2024-02-29 23:59:59'".into(),
            format!("'2026-08-01 12:34:56{one}'"),
            format!("'2026-10-25 00:30:00{nines}'"),
        ];
        cases.push(Case {
            type_sql: format!("TIMESTAMP({fsp}) NULL DEFAULT NULL"),
            values: timestamps.to_vec(),
        });
    }
    cases
}

fn texts(flavor: Flavor) -> Vec<Case> {
    let plain = ["''", "'a'", "'it''s'", r#"'back\\slash \'\" \0 \n \r \t \Z %'"#, "'--  two  '"];
    let mut cases = Vec::new();
    let western = ["'äöüß €'"];
    let cyrillic = ["'Привет'"];
    let chinese = ["'你好'", "'誠'"];
    let japanese = ["'日本語ソ表'", "'ｱ'"];
    let mut charsets: Vec<(&str, &[&str])> = vec![
        ("utf8mb4", &["'ä你😀'", "'￿'"]),
        ("utf8mb3", &["'ä你'"]),
        ("latin1", &western),
        ("latin2", &["'ąęłš'"]),
        ("cp1250", &["'ąęłš'"]),
        ("cp1251", &cyrillic),
        ("koi8r", &cyrillic),
        ("cp866", &cyrillic),
        ("greek", &["'αβγ'"]),
        ("hebrew", &["'שלום'"]),
        ("tis620", &["'ไทย'"]),
        ("gbk", &chinese),
        ("gb2312", &["'你好'"]),
        ("big5", &["'誠功蓋'"]),
        ("sjis", &japanese),
        ("cp932", &japanese),
        ("ujis", &japanese),
        ("eucjpms", &japanese),
        ("euckr", &["'한국어'"]),
        ("ucs2", &["'ä你'"]),
        ("utf16", &["'ä你😀'"]),
        ("utf16le", &["'ä你😀'"]),
        ("utf32", &["'ä你😀'"]),
        ("ascii", &[]),
        ("swe7", &["'Ängström'"]),
    ];
    if flavor == Flavor::Mysql {
        charsets.push(("gb18030", &["'你好😀'"]));
    }
    for (charset, own) in charsets {
        // swe7 has other characters in the places of backslash and brackets.
        let common: &[&str] = if charset == "swe7" { &["''", "'a'"] } else { &plain };
        let values: Vec<String> = common.iter().chain(own).map(|value| (*value).to_owned()).collect();
        for type_sql in ["CHAR(30)", "VARCHAR(40)", "TEXT"] {
            cases.push(Case {
                type_sql: format!("{type_sql} CHARACTER SET {charset}"),
                values: values.clone(),
            });
        }
    }
    cases.extend([
        case(
            "CHAR(255) CHARACTER SET utf8mb4",
            &["REPEAT('😀', 255)", "REPEAT('a', 255)", "REPEAT('ä', 100)"],
        ),
        case("CHAR(60) CHARACTER SET utf32", &["REPEAT('ä', 60)", "'x'"]),
        case("VARCHAR(255) CHARACTER SET latin1", &["REPEAT('a', 255)"]),
        case("VARCHAR(256) CHARACTER SET latin1", &["REPEAT('a', 256)", "'b  '"]),
        case("VARCHAR(16000) CHARACTER SET utf8mb4", &["REPEAT('ä', 16000)"]),
        case("TINYTEXT", &["REPEAT('t', 255)"]),
        case("MEDIUMTEXT", &["REPEAT('äö', 40000)"]),
        case("LONGTEXT", &["REPEAT('lä', 100000)"]),
        case("CHAR(0)", &["''"]),
    ]);
    cases
}

fn binaries() -> Vec<Case> {
    let edge = ["x''", "x'00'", "x'01'", "x'0100'", "x'ff27225c'"];
    vec![
        case(
            "BINARY(4)",
            &["x''", "x'01'", "x'01000000'", "x'00000000'", "x'ffffffff'", "x'20202020'", "x'27225c00'"],
        ),
        case("BINARY(255)", &["x''", "REPEAT(x'ff', 255)", "x'41'"]),
        case("VARBINARY(10)", &edge),
        case("VARBINARY(300)", &["REPEAT(x'00', 300)", "x'2020'"]),
        case("TINYBLOB", &edge),
        case("BLOB", &["x''", "REPEAT(x'5c27', 30000)"]),
        case("MEDIUMBLOB", &["REPEAT(x'00ff', 50000)"]),
        case("LONGBLOB", &["x''", "REPEAT(x'0102030405060708', 2200000)"]),
    ]
}

fn members() -> Vec<Case> {
    let many = |prefix: &str, count: usize| {
        (1..=count).map(|index| format!("'{prefix}{index}'")).collect::<Vec<_>>().join(",")
    };
    let mut cases = vec![
        case("ENUM('a','b''c','')", &["'a'", "'b''c'", "''", "3"]),
        case("ENUM('x','y')", &["'x'", "0"]),
        case("ENUM('ä','ö') CHARACTER SET latin1", &["'ö'"]),
        case("SET('a','b','c')", &["''", "'a'", "'a,c'", "7"]),
    ];
    cases.push(Case {
        type_sql: format!("ENUM({})", many("m", 300)),
        values: vec!["'m1'".into(), "'m255'".into(), "'m256'".into(), "'m300'".into()],
    });
    for count in [8, 9, 17, 33, 64] {
        cases.push(Case {
            type_sql: format!("SET({})", many("s", count)),
            values: vec!["''".into(), "'s1'".into(), format!("'s{count}'"), format!("'s1,s{count}'")],
        });
    }
    cases
}

fn geometries(flavor: Flavor) -> Vec<Case> {
    let mut cases = vec![
        case("GEOMETRY", &["ST_GeomFromText('POINT(1.5 -2)')", "ST_GeomFromText('LINESTRING(0 0,1 1)', 0)"]),
        case("POINT", &["ST_GeomFromText('POINT(0 0)')"]),
        case("POLYGON", &["ST_GeomFromText('POLYGON((0 0,0 3,3 3,0 0))')"]),
        case("MULTIPOINT", &["ST_GeomFromText('MULTIPOINT(1 1,2 2)')"]),
        case(
            "GEOMETRYCOLLECTION",
            &["ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))')"],
        ),
    ];
    if flavor == Flavor::Mysql {
        cases.push(case("POINT SRID 4326", &["ST_GeomFromText('POINT(12 34)', 4326)"]));
    }
    cases
}

fn mysql_only() -> Vec<Case> {
    let json = [
        r#"'null'"#,
        r#"'true'"#,
        r#"'{}'"#,
        r#"'[]'"#,
        r#"'{"a": [1, -1, 70000, -70000, 5000000000, 18446744073709551615, -9223372036854775808]}'"#,
        r#"'[0.1, 1.0, -0.0, 1e100, 1.7976931348623157e308, 5e-324, 123456789.12345679]'"#,
        r#"'"string with \\" quote, \\\\ backslash, \\n, ä 😀 and \\u0001"'"#,
        r#"'{"": 1, "kä": {"x": [[], {}, null, false]}}'"#,
        r#"JSON_OBJECT('big', REPEAT('x', 100000), 'n', 1)"#,
        r#"JSON_ARRAY(REPEAT('y', 127), REPEAT('y', 128), REPEAT('y', 16384))"#,
    ];
    // Types that JSON text does not have.
    let beyond = [
        "JSON_ARRAY(CAST(1.10 AS DECIMAL(10,2)), CAST(-0.001 AS DECIMAL(10,3)))",
        "JSON_ARRAY(CAST('2026-08-01' AS DATE), CAST('12:34:56.789' AS TIME(3)), CAST('-01:02:03' AS TIME))",
        "JSON_ARRAY(CAST('2026-08-01 12:34:56.789' AS DATETIME(3)))",
        "JSON_ARRAY(x'00ff10', b'101')",
        "CAST(CAST(12345678901234567890.123456789 AS DECIMAL(40,10)) AS JSON)",
        "CAST(CAST('2026-08-01' AS DATE) AS JSON)",
        r#"JSON_OBJECT('it''s \\ "quoted"', 1.0, 'n', NULL, 't', TRUE, 'e', JSON_OBJECT(), 'd', 5e-1, 'u', 18446744073709551615)"#,
    ];
    vec![
        case("JSON", &json),
        case("JSON", &beyond),
        case("VECTOR(3)", &["STRING_TO_VECTOR('[1,-2.5,3]')"]),
        case("VECTOR", &["STRING_TO_VECTOR('[0.1]')"]),
    ]
}

fn mariadb_only() -> Vec<Case> {
    vec![
        case("JSON", &[r#"'{"a": 1}'"#]),
        case("INET4", &["'0.0.0.0'", "'255.255.255.255'", "'192.168.0.0'"]),
        case("INET6", &["'::'", "'2001:db8::ff00'", "'::ffff:1.2.3.4'", "'ff00::'"]),
        case(
            "UUID",
            &[
                "'00000000-0000-0000-0000-000000000000'",
                "'123e4567-e89b-12d3-a456-426655440000'",
                "'550e8400-e29b-41d4-a716-446655440000'",
                "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
                "'01890a5d-ac96-774b-bcce-b302099a8057'",
                "'1ec9414c-232a-6b00-b3c8-9e6bdeced846'",
                "'00112233-4455-6677-8899-aabbccddeeff'",
                "'00112233-4455-6677-0899-aabbccddeeff'",
            ],
        ),
        case("VARCHAR(1000) COMPRESSED CHARACTER SET utf8mb4", &["''", "'kurz'", "REPEAT('ä', 500)"]),
        case("VARCHAR(100) COMPRESSED CHARACTER SET latin1", &["''", "'ä'", "REPEAT('a', 99)"]),
        case("BLOB COMPRESSED", &["x''", "x'00'", "REPEAT('z', 20000)", "x'80'"]),
        case("LONGTEXT COMPRESSED", &["REPEAT('ä', 100000)"]),
    ]
}
