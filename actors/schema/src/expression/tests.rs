use super::*;

fn columns() -> Vec<ColumnMeaning> {
    [
        ("id", Kind::Int),
        ("name", Kind::Text),
        ("price", Kind::Decimal(2)),
        ("d", Kind::Temporal(TemporalKind::Date)),
        ("doc", Kind::Opaque),
        ("f", Kind::Double),
        ("missing", Kind::Int),
    ]
    .into_iter()
    .map(|(name, kind)| ColumnMeaning { name: name.into(), kind })
    .collect()
}

fn row(at: usize) -> Datum {
    match at {
        0 => Datum::Int(7),
        1 => Datum::Text("Möwe".into(), Collation::of_column("utf8mb4_general_ci")),
        2 => Datum::Decimal(Decimal::parse("12.50").unwrap()),
        3 => Datum::Temporal(Temporal::parse_date_time("2024-02-29").unwrap()),
        4 => Datum::Opaque,
        5 => Datum::Double(0.5),
        _ => Datum::Null,
    }
}

fn truth(text: &str) -> Result<Option<bool>, String> {
    let expression = Expression::compile(text, &columns()).map_err(|fault| fault.to_string())?;
    expression.truth(&row, None).map_err(|fault| fault.to_string())
}

#[test]
fn precedence_and_three_values() {
    for (text, expected) in [
        ("1 OR 0 AND 0", Some(true)),
        ("NOT 0 = 1", Some(true)),
        ("NOT id = 7 OR price > 12", Some(true)),
        ("2 + 3 * 4 = 14 AND 2 - -3 = 5", Some(true)),
        ("1 | 2 & 2 << 1 = 1", Some(true)),
        ("8 >> 1 = 4 && 5 ^ 1 = 4", Some(true)),
        ("missing > 1", None),
        ("missing > 1 OR id = 7", Some(true)),
        ("missing > 1 AND id = 8", Some(false)),
        ("NOT missing", None),
        ("missing IS NULL", Some(true)),
        ("missing IS NOT UNKNOWN", Some(false)),
        ("missing <=> NULL", Some(true)),
        ("(id = 8) IS FALSE", Some(true)),
        ("id IN (1, NULL)", None),
        ("id NOT IN (1, 2)", Some(true)),
        ("id BETWEEN 1 AND 7 AND id NOT BETWEEN 8 AND 9", Some(true)),
        ("`t`.`id` = 7 and s.t.ID = '7'", Some(true)),
        ("name LIKE 'm_w%' AND name = 'MOWE '", Some(true)),
        ("name LIKE '%|%' ESCAPE '|'", Some(false)),
        ("name REGEXP '^m(?!x)'", Some(true)),
        ("price = 12.5 AND price / 3 = 4.166667", Some(true)),
        ("d = '2024-02-29' AND d < 20240301 AND d + INTERVAL 1 YEAR = DATE'2025-02-28'", Some(true)),
        ("CASE id WHEN 1 THEN 'a' WHEN 7 THEN 'b' END = 'B'", Some(true)),
        ("IF(id > 3, price, 0) = 12.50 AND COALESCE(missing, id) = 7", Some(true)),
        ("0.1 + 0.2 = 0.3 AND 0.1e0 + 0.2e0 <> 0.3e0", Some(true)),
        ("'1abc' = 1 AND 'abc' = 0", Some(true)),
        ("id / 0", None),
        ("doc IS NOT NULL", Some(true)),
        ("18446744073709551615 > 9223372036854775807", Some(true)),
        ("x'41' = 'A' AND 0x0A = 10", Some(true)),
        ("'a' 'b' = 'ab' AND 'it''s' = \"it's\"", Some(true)),
        ("EXTRACT(YEAR FROM d) = 2024 AND WEEKDAY(d) = 3 AND DATEDIFF(d, '2024-01-01') = 59", Some(true)),
        ("SUBSTRING(name FROM 2 FOR 2) = 'öw' AND TRIM(LEADING 'x' FROM 'xxa') = 'a'", Some(true)),
    ] {
        assert_eq!(truth(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_not_certain_is_refused_with_its_place() {
    for (text, part) in [
        ("nmae = 1", "the table has no column `nmae`, at character 1"),
        ("id = 1 AND RAND() > 0", "the function RAND is not supported, at character 12"),
        ("id = (SELECT 1)", "subqueries cannot be evaluated for one row, at character 7"),
        ("id = ", "the expression ends"),
        ("id = 1)", "something follows that is not part of an expression, at character 7"),
        ("'abc", "does not end"),
        ("id @x", "something follows"),
        ("d = 'tomorrow'", "none, at character 3"),
        ("d = name", "use CAST"),
        ("doc = '1'", "can only be compared with NULL"),
        ("CONCAT(f, '')", "CAST it to DECIMAL"),
        ("IF(1, 2)", "has 2 arguments"),
        ("name REGEXP '('", "bad regular expression"),
        ("(1, 2) = (1, 2)", "rows of several values"),
        ("id + 1 DAY", "something follows"),
    ] {
        let refusal = truth(text).unwrap_err();
        assert!(refusal.contains(part), "{text}: {refusal}");
    }
    assert!(truth("9223372036854775807 + id").unwrap_err().contains("range"));
    assert!(truth(&"(".repeat(5000)).unwrap_err().contains("nested"));
    assert!(truth(&"NOT ".repeat(5000)).unwrap_err().contains("nested"));
    assert!(truth(&"- ".repeat(5000)).unwrap_err().contains("nested"));
}

#[test]
fn it_says_what_it_looks_at() {
    let compiled = Expression::compile("price > 1 AND (id = 2 OR price < 5)", &columns()).unwrap();
    assert_eq!(compiled.columns(), [0, 2]);
    assert!(compiled.is_boolean());
    assert!(!Expression::compile("id & 4", &columns()).unwrap().is_boolean());
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[-a-z0-9 ()'+*/%<>=!&|^~.,`@]{0,60}") {
        let _ = truth(&text);
    }

    #[test]
    fn no_words_panic(words in proptest::collection::vec(proptest::sample::select(vec![
        "id", "name", "price", "d", "missing", "f", "1", "0.5", "'a'", "NULL", "(", ")", "AND", "OR", "NOT", "=", "<", "IS",
        "IN", "BETWEEN", "LIKE", "+", "-", "*", "/", "DIV", "CASE", "WHEN", "THEN", "ELSE", "END", "IF(", ",", "CAST(", "AS SIGNED)",
        "SUBSTR(", "DATE'2024-01-01'", "+ INTERVAL 1 DAY", "COLLATE utf8mb4_bin", "REGEXP", "%", "<<", "^", "ROUND(", "LPAD(",
    ]), 0..14)) {
        let _ = truth(&words.join(" "));
    }
}
