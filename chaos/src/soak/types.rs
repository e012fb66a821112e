//! Column types, as they stand in a definition.

use std::fmt::Write as _;

use rand::Rng;
use rand::rngs::StdRng;

use super::Flavor;
use super::catalog::pick;

const COMMON: &[&str] = &[
    "TINYINT",
    "TINYINT UNSIGNED",
    "SMALLINT",
    "MEDIUMINT",
    "MEDIUMINT UNSIGNED",
    "INT",
    "INT UNSIGNED",
    "INT(9) ZEROFILL",
    "BIGINT",
    "BIGINT UNSIGNED",
    "DECIMAL(10,2)",
    "DECIMAL(65,30)",
    "DECIMAL(20,0) UNSIGNED",
    "FLOAT",
    "FLOAT(9,3)",
    "DOUBLE",
    "BIT(1)",
    "BIT(17)",
    "BIT(64)",
    "YEAR",
    "DATE",
    "TIME",
    "TIME(6)",
    "DATETIME",
    "DATETIME(3)",
    "DATETIME(6)",
    "CHAR(10)",
    "CHAR(20) CHARACTER SET latin1",
    "CHAR(6) CHARACTER SET utf16",
    "VARCHAR(40)",
    "VARCHAR(300)",
    "VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
    "VARCHAR(30) CHARACTER SET latin1",
    "VARCHAR(30) CHARACTER SET latin1 COLLATE latin1_german2_ci",
    "VARCHAR(30) CHARACTER SET gbk",
    "VARCHAR(30) CHARACTER SET sjis",
    "VARCHAR(30) CHARACTER SET ucs2",
    "VARCHAR(30) CHARACTER SET ascii",
    "VARCHAR(30) CHARACTER SET cp1251",
    "BINARY(8)",
    "VARBINARY(50)",
    "TINYTEXT",
    "TEXT",
    "TEXT CHARACTER SET sjis",
    "MEDIUMTEXT CHARACTER SET latin1",
    "LONGTEXT",
    "TINYBLOB",
    "BLOB",
    "MEDIUMBLOB",
    "LONGBLOB",
    "ENUM('a','b','ü','x,y','it''s','')",
    "ENUM('one','two','three') CHARACTER SET latin1",
    "SET('red','green','blue','ä')",
    "SET('r','g','b') CHARACTER SET gbk",
    "JSON",
    "GEOMETRY",
    "POINT",
    "LINESTRING",
    "POLYGON",
];

const MYSQL: &[&str] = &[
    "VECTOR(4)",
    "VARCHAR(30) CHARACTER SET gb18030",
    "VARCHAR(30) COLLATE utf8mb4_0900_as_cs",
    "CHAR(30) COLLATE utf8mb4_0900_ai_ci",
    "POINT SRID 4326",
];

const MARIADB: &[&str] = &[
    "INET6",
    "INET4",
    "UUID",
    "VARCHAR(200) COMPRESSED",
    "BLOB COMPRESSED",
    "TEXT COMPRESSED CHARACTER SET latin1",
    "VARCHAR(30) COLLATE utf8mb4_nopad_bin",
    "VARCHAR(30) COLLATE uca1400_as_ci",
];

/// Types that come with a clause of their own and take none of the usual ones.
const WHOLE: &[&str] = &[
    "TIMESTAMP NULL",
    "TIMESTAMP(6) NULL DEFAULT NULL",
    "TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)",
    "DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP",
    "DATETIME(6) NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)",
    "DATE NOT NULL DEFAULT '1000-01-01'",
    "INT NOT NULL DEFAULT -7",
    "BIGINT UNSIGNED NOT NULL DEFAULT 18446744073709551615",
    "VARCHAR(20) NOT NULL DEFAULT 'it''s ü'",
    "DECIMAL(8,3) NOT NULL DEFAULT 12.345",
    "BIT(3) NOT NULL DEFAULT b'101'",
    "ENUM('x','y') NOT NULL DEFAULT 'y'",
    "INT DEFAULT (1 + 2)",
    "VARCHAR(20) DEFAULT (CONCAT('a', 'b'))",
    "BINARY(4) NOT NULL DEFAULT 'ab'",
];

/// How many types there are, to walk through all of them.
pub fn count(flavor: Flavor) -> usize {
    COMMON.len() + own(flavor).len() + WHOLE.len()
}

fn own(flavor: Flavor) -> &'static [&'static str] {
    match flavor {
        Flavor::Mysql => MYSQL,
        Flavor::Mariadb => MARIADB,
    }
}

/// The type of that number with random clauses behind it.
pub fn nth(rng: &mut StdRng, flavor: Flavor, number: usize) -> String {
    let number = number % count(flavor);
    let plain = COMMON.iter().chain(own(flavor)).nth(number);
    let Some(plain) = plain else {
        return WHOLE.get(number - COMMON.len() - own(flavor).len()).unwrap_or(&"INT").to_string();
    };
    with_clauses(rng, plain)
}

/// Any type with random clauses behind it.
pub fn any(rng: &mut StdRng, flavor: Flavor) -> String {
    match rng.random_range(0..40) {
        0 => return many_members(rng),
        1 => return "SET(".to_owned() + &members(64, "s") + ")",
        _ => {}
    }
    let number = rng.random_range(0..count(flavor));
    nth(rng, flavor, number)
}

/// A type of whole numbers, for keys.
pub fn integer(rng: &mut StdRng) -> &'static str {
    pick(rng, &["INT", "BIGINT", "INT UNSIGNED", "SMALLINT", "BIGINT UNSIGNED", "MEDIUMINT"])
        .copied()
        .unwrap_or("INT")
}

fn many_members(rng: &mut StdRng) -> String {
    let count = [255, 256, 300][rng.random_range(0..3)];
    format!("ENUM({})", members(count, "m"))
}

fn members(count: usize, prefix: &str) -> String {
    (0..count).map(|n| format!("'{prefix}{n}'")).collect::<Vec<_>>().join(",")
}

fn with_clauses(rng: &mut StdRng, plain: &str) -> String {
    let mut text = plain.to_owned();
    // A geometry or JSON added with NOT NULL holds a value that no statement can write; a vector, one that only a lenient
    // session can write.
    let never_empty = ["VECTOR", "GEOMETRY", "POINT", "LINESTRING", "POLYGON", "JSON"];
    let never_empty = never_empty.iter().any(|name| plain.starts_with(name));
    if rng.random_range(0..6) == 0
        && !plain.contains("CHARACTER")
        && !plain.contains("COLLATE")
        && !never_empty
    {
        // Values of new columns are the type's own: zero, '' or the first member.
        text.push_str(" NOT NULL");
    } else {
        text.push_str(" NULL");
    }
    if rng.random_range(0..8) == 0 {
        let _ = write!(text, " COMMENT 'c''est {} ü'", rng.random_range(0..100));
    }
    text
}
