//! A table with a column of every common type, with values at their edges.

use anyhow::Result;

use crate::server::Server;

/// A column of the table `types`.
pub struct TypedColumn {
    /// Its name.
    pub name: &'static str,
    /// Its type, as in CREATE TABLE.
    pub sql_type: &'static str,
    /// SQL literals of values it takes.
    pub values: &'static [&'static str],
    /// A SQL literal that differs a little from all values: what a bug would leave behind.
    pub other: &'static str,
}

const fn column(
    name: &'static str,
    sql_type: &'static str,
    values: &'static [&'static str],
    other: &'static str,
) -> TypedColumn {
    TypedColumn { name, sql_type, values, other }
}

/// The columns.
#[rustfmt::skip]
pub const COLUMNS: &[TypedColumn] = &[
    column("c_tinyint", "TINYINT", &["-128", "127", "0"], "-127"),
    column("c_tinyint_u", "TINYINT UNSIGNED", &["255", "0", "128"], "254"),
    column("c_smallint", "SMALLINT", &["-32768", "32767", "0"], "32766"),
    column("c_mediumint", "MEDIUMINT", &["-8388608", "8388607", "-1"], "8388606"),
    column("c_mediumint_u", "MEDIUMINT UNSIGNED", &["16777215", "8388608", "0"], "16777214"),
    column("c_int", "INT", &["-2147483648", "2147483647", "0"], "2147483646"),
    column("c_int_u", "INT UNSIGNED", &["4294967295", "2147483648", "0"], "4294967294"),
    column("c_bigint", "BIGINT", &["-9223372036854775808", "9223372036854775807", "0"], "9223372036854775806"),
    column("c_bigint_u", "BIGINT UNSIGNED", &["18446744073709551615", "9223372036854775808", "0"], "18446744073709551614"),
    column("c_decimal", "DECIMAL(65,30)", &["12345678901234567890123456789012345.123456789012345678901234567890", "-0.000000000000000000000000000001", "0"], "0.000000000000000000000000000002"),
    column("c_decimal_small", "DECIMAL(10,2)", &["-99999999.99", "99999999.99", "0.01"], "0.02"),
    column("c_float", "FLOAT", &["3.4028234e38", "-1.1754944e-38", "0.1"], "0.10000001"),
    column("c_double", "DOUBLE", &["1.7976931348623157e308", "-2.2250738585072014e-308", "0.1"], "0.10000000000000002"),
    column("c_bit", "BIT(64)", &["18446744073709551615", "0", "b'1010'"], "b'1011'"),
    column("c_date", "DATE", &["'1000-01-01'", "'9999-12-31'", "'2024-02-29'"], "'2024-02-28'"),
    column("c_time", "TIME", &["'-838:59:59'", "'838:59:59'", "'00:00:00'"], "'00:00:01'"),
    column("c_time6", "TIME(6)", &["'-838:59:58.999999'", "'-00:00:00.000001'", "'23:59:59.5'"], "'23:59:59.500001'"),
    column("c_datetime", "DATETIME", &["'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'", "'2024-03-31 02:30:00'"], "'2024-03-31 02:30:01'"),
    column("c_datetime6", "DATETIME(6)", &["'1000-01-01 00:00:00.000001'", "'9999-12-31 23:59:59.999999'", "'2024-03-31 02:30:00.1'"], "'2024-03-31 02:30:00.100001'"),
    column("c_timestamp", "TIMESTAMP NULL", &["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'2024-10-27 00:30:00'"], "'2024-10-27 01:30:00'"),
    column("c_timestamp6", "TIMESTAMP(6) NULL", &["'1970-01-01 00:00:01.000001'", "'2038-01-19 03:14:07.999999'", "'2024-10-27 01:30:00.5'"], "'2024-10-27 00:30:00.5'"),
    column("c_year", "YEAR", &["1901", "2155", "2024"], "2023"),
    column("c_char", "CHAR(10) CHARACTER SET utf8mb4", &["'日本語 𝄞'", "''", "'trailing  '"], "'trailinG'"),
    column("c_char_latin1", "CHAR(10) CHARACTER SET latin1", &["'Ångström'", "'€'", "'ÿ'"], "'angstrom'"),
    column("c_varchar", "VARCHAR(300) CHARACTER SET utf8mb4", &["'quote '' backslash \\\\ percent %'", "REPEAT('é', 300)", "'trailing  '"], "'trailing '"),
    column("c_varchar_gbk", "VARCHAR(20) CHARACTER SET gbk", &["'中文字符'", "'縗'", "''"], "'中文字苻'"),
    column("c_varchar_sjis", "VARCHAR(20) CHARACTER SET sjis", &["'表示'", "'ソ'", "'abc'"], "'abd'"),
    column("c_varchar_ucs2", "VARCHAR(20) CHARACTER SET ucs2", &["'日本'", "'a'", "''"], "'b'"),
    column("c_varchar_utf32", "VARCHAR(20) CHARACTER SET utf32", &["'𝄞'", "'a'", "''"], "'A'"),
    column("c_varchar_bin", "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", &["'Case'", "'cAse'", "''"], "'CASE'"),
    column("c_binary", "BINARY(6)", &["x'000000000000'", "x'616263000000'", "x'ffffffffffff'"], "x'616263000001'"),
    column("c_varbinary", "VARBINARY(300)", &["x'00'", "x'5c27221a0a0d00'", "''"], "x'0000'"),
    column("c_tinytext", "TINYTEXT CHARACTER SET utf8mb4", &["'tiny'", "''", "'\\t\\n\\r\\0\\Z'"], "'tinY'"),
    column("c_text", "TEXT CHARACTER SET utf8mb4", &["REPEAT('text ', 1000)", "''", "'\\\\N'"], "'N'"),
    column("c_mediumtext", "MEDIUMTEXT CHARACTER SET utf8mb4", &["REPEAT('𝄞', 30000)", "''", "'m'"], "'n'"),
    column("c_longtext", "LONGTEXT CHARACTER SET latin1", &["REPEAT('ÿ', 30000)", "''", "'l'"], "'k'"),
    column("c_blob", "BLOB", &["x'00ff00ff0a0d275c22'", "''", "REPEAT(x'ff', 60000)"], "x'00ff00ff0a0d275c23'"),
    column("c_longblob", "LONGBLOB", &["REPEAT(x'00', 100000)", "''", "x'01'"], "x'02'"),
    column("c_enum", "ENUM('small','Größe','it''s','')", &["'small'", "'Größe'", "'it''s'"], "''"),
    column("c_set", "SET('a','b','c','ü')", &["'a,c,ü'", "''", "'b'"], "'a'"),
    column("c_json", "JSON", &["'{\"k\": [1, 2.5, -3, true, null, \"é𝄞\\\\\"\"], \"big\": 18446744073709551615}'", "'[]'", "'\"text\"'"], "'{\"k\": [1, 2.5, -3, false, null]}'"),
    column("c_point", "POINT", &["ST_GeomFromText('POINT(1 2.5)')", "ST_GeomFromText('POINT(-180 90)')", "NULL"], "ST_GeomFromText('POINT(1 2.6)')"),
];

/// `CREATE TABLE` statements: `types` with a primary key, `types_keyless` without any.
pub fn create_statements(schema: &str) -> Vec<String> {
    let columns: Vec<String> =
        COLUMNS.iter().map(|column| format!("{} {}", column.name, column.sql_type)).collect();
    let columns = columns.join(", ");
    vec![
        format!("CREATE DATABASE IF NOT EXISTS `{schema}` CHARACTER SET utf8mb4"),
        format!("CREATE TABLE `{schema}`.types (id INT NOT NULL PRIMARY KEY, {columns}) ENGINE=InnoDB"),
        format!("CREATE TABLE `{schema}`.types_keyless ({columns}) ENGINE=InnoDB"),
    ]
}

/// Inserts one row per value index, and one of NULLs, with ids from `first_id`.
pub async fn insert_rows(server: &Server, schema: &str, first_id: u64) -> Result<()> {
    let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
    let names = names.join(", ");
    let mut statements = Vec::new();
    for index in 0..4 {
        let values: Vec<&str> =
            COLUMNS.iter().map(|column| column.values.get(index).copied().unwrap_or("NULL")).collect();
        let values = values.join(", ");
        statements.push(format!(
            "INSERT INTO `{schema}`.types (id, {names}) VALUES ({}, {values})",
            first_id + index as u64
        ));
        statements.push(format!("INSERT INTO `{schema}`.types_keyless ({names}) VALUES ({values})"));
    }
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    server.execute(&statements).await
}

/// Changes, swaps and deletes rows of both tables.
pub async fn change_rows(server: &Server, schema: &str, first_id: u64) -> Result<()> {
    let mut statements = Vec::new();
    for column in COLUMNS {
        let (name, other) = (column.name, column.other);
        statements.push(format!("UPDATE `{schema}`.types SET {name} = {other} WHERE id = {first_id}"));
        statements.push(format!("UPDATE `{schema}`.types SET {name} = NULL WHERE id = {}", first_id + 1));
    }
    statements.push(format!("DELETE FROM `{schema}`.types WHERE id = {}", first_id + 2));
    statements.push(format!(
        "UPDATE `{schema}`.types SET id = {} WHERE id = {}",
        first_id + 1_000_000,
        first_id + 3
    ));
    statements
        .push(format!("UPDATE `{schema}`.types_keyless SET c_int = 77 WHERE c_int = -2147483648 LIMIT 1"));
    statements.push(format!(
        "UPDATE `{schema}`.types_keyless SET c_float = 1.5, c_json = '[3]' WHERE c_int IS NULL LIMIT 1"
    ));
    statements.push(format!("DELETE FROM `{schema}`.types_keyless WHERE c_int = 2147483647 LIMIT 1"));
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    server.execute(&statements).await
}
